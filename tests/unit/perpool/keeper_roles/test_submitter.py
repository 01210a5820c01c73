"""The submitter: what is sent, and what is not."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from perpool.evm import Evm
from perpool.keeper import decide
from perpool.keeper.chain.contracts import bind
from perpool.keeper.mailbox import Mailbox, MailboxError, Message
from perpool.keeper.metrics import REFUSED
from perpool.keeper.model import (
    Intent,
    ObservePrice,
    Parcel,
    ReportFunding,
    ReportPrice,
)
from perpool.keeper.replay import EvmOutbox, reporter_keys, token_of
from perpool.keeper.submitter import Outcome, Submitter
from perpool.keeper.transactions.journal import JournalError
from perpool.reports import ordered, sign_report
from tests.unit.perpool.keeper_roles.setting import NOW, TOKENS, WAD, Setting, leave


def test_submitter__rounds_to_the_chain(setting: Setting) -> None:
    setting.reporter(0, 1, 2).tick(NOW + 60)
    outcome = setting.submitter().tick(NOW + 60)
    assert [type(each) for each in outcome.done] == [ReportPrice, ReportFunding]
    assert setting.oracle.funding(TOKENS["ADA"]) == (219_000_000 * 10**9, NOW + 60)
    assert setting.oracle.funding(TOKENS["XRP"]) == (-109_500_000 * 10**9, NOW + 60)
    assert setting.feed.latestRoundData()[1] == 3 * WAD // 2


def test_submitter__nothing_twice(setting: Setting) -> None:
    setting.reporter(0, 1, 2).tick(NOW + 60)
    submitter = setting.submitter()
    submitter.tick(NOW + 60)
    assert submitter.tick(NOW + 65) == Outcome()
    # nor by another, who finds it on chain
    assert setting.submitter().tick(NOW + 65) == Outcome()


def test_submitter__waits_for_a_quorum(setting: Setting) -> None:
    submitter = setting.submitter()
    setting.reporter(0, 1).tick(NOW + 60)
    assert submitter.tick(NOW + 60) == Outcome()
    setting.reporter(2).tick(NOW + 62)
    assert len(submitter.tick(NOW + 62).done) == 2


def test_submitter__reports_wait_for_a_chain_that_misses_blocks(setting: Setting) -> None:
    submitter = setting.submitter()
    setting.reporter(0, 1, 2).tick(NOW + 120)
    # a block of a minute ago is the newest
    assert submitter.tick(NOW + 120).done == ()
    setting.warp(NOW + 125)
    assert len(submitter.tick(NOW + 125).done) == 2


def test_submitter__heartbeat_and_change(setting: Setting) -> None:
    reporter, submitter = setting.reporter(0, 1, 2), setting.submitter()
    sent = []
    for minute in range(1, 64):
        time = NOW + minute * 60
        setting.warp(time)
        if minute == 10:
            setting.panel.says["XRP"] = dict.fromkeys("abc", ("0.01", None))
        reporter.tick(time)
        sent += [(minute, type(each)) for each in submitter.tick(time).done]
    assert sent == [
        (1, ReportPrice),
        (1, ReportFunding),
        (10, ReportFunding),
        (31, ReportPrice),
        (61, ReportPrice),
    ]


def test_submitter__refused_by_the_chain(setting: Setting) -> None:
    submitter = setting.submitter()
    submitter.tick(NOW + 60)
    # the owner changes the reporters, and the keeper has read the old ones
    others = reporter_keys(8)[4:7]
    setting.oracle.set_reporters(ordered(each.address for each in others), 3)
    setting.warp(NOW + 80)
    setting.reporter(0, 1, 2).tick(NOW + 80)
    outcome = submitter.tick(NOW + 80)
    assert [type(each) for each in outcome.done] == [ReportPrice]
    [(action, reason)] = outcome.refused
    assert isinstance(action, ReportFunding)
    assert reason == "unknown or repeated signer"
    [(parcel, why)] = submitter.outbox.refused
    assert [each.kind for each in parcel.intents] == ["funding"] * 2
    assert why == "it would fail: unknown or repeated signer"
    # it has read the new ones now, to whom these reports are a stranger's
    assert submitter.tick(NOW + 85) == Outcome()


def figure(submitter: Submitter, name: str, *labels: str) -> float:
    """A figure of his that is there already."""
    metric = getattr(submitter.metrics, name)
    found = metric._metrics[labels]  # labels() would make it
    return float(found._value.get())


def test_submitter__publishes_who_is_silent(setting: Setting) -> None:
    submitter = setting.submitter()
    setting.reporter(0).tick(NOW + 60)
    submitter.tick(NOW + 65)
    setting.warp(NOW + 120)
    setting.reporter(1).tick(NOW + 120)
    submitter.tick(NOW + 130)
    newest = [figure(submitter, "report_observed", each.address) for each in setting.keys[:3]]
    # the third has never spoken, and is waited for since the first tick
    assert newest == [NOW + 60, NOW + 120, NOW + 60]


def test_submitter__who_lost_his_seat_is_no_longer_waited_for(setting: Setting) -> None:
    submitter = setting.submitter()
    submitter.tick(NOW + 60)
    stays, leaves = setting.keys[0].address, setting.keys[2].address
    others = [each.address for each in reporter_keys(8)[4:6]]
    for contract in (setting.oracle, setting.feed):
        contract.set_reporters(ordered([stays, *others]), 3)
    setting.contracts.forget_seats()
    submitter.tick(NOW + 65)
    assert [figure(submitter, "equivocations", each) for each in (stays, *others)] == [0, 0, 0]
    for name in ("report_observed", "equivocations"):
        assert (leaves,) not in getattr(submitter.metrics, name)._metrics


def test_submitter__waits_for_reporters_also_where_the_mailbox_is_down(setting: Setting) -> None:
    class Down:
        refused = 0

        def read(self, reporter: str, seen: str | None = None) -> None:
            raise MailboxError("down")

    submitter = setting.submitter()
    submitter.mailbox = Down()  # type: ignore[assignment]
    with pytest.raises(MailboxError):
        submitter.tick(NOW + 60)
    assert figure(submitter, "report_observed", setting.keys[0].address) == NOW + 60


def test_submitter__publishes_when_feeds_were_observed(setting: Setting) -> None:
    submitter = setting.submitter()
    submitter.tick(NOW + 60)
    assert figure(submitter, "feed_observed", "price", "ADA") == 0
    setting.reporter(0, 1, 2).tick(NOW + 60)
    submitter.tick(NOW + 60)
    for feed, market in (("price", "ADA"), ("funding", "ADA"), ("funding", "XRP")):
        assert figure(submitter, "feed_observed", feed, market) == NOW + 60
    assert ("price", "XRP") not in submitter.metrics.feed_observed._metrics
    # it grows old also where nobody can look
    assert submitter.health.check(NOW + 60 + 3_600 + 601)


def test_submitter__counts_what_is_malformed(setting: Setting) -> None:
    leave(setting, 0, "{}", "no JSON")
    submitter = setting.submitter()
    with capture_logs() as logs:
        for _ in range(2):
            submitter.tick(NOW + 60)
    assert figure(submitter, "refused_reports", "malformed") == 2
    assert [(each["event"], each["reason"], each["count"]) for each in logs] == [
        ("report refused", "malformed", 2)
    ]


class Slow:
    """A mailbox whose messages take two seconds each to look at, by a clock that moves at every
    look."""

    refused = 0

    def __init__(self, mailbox: Mailbox) -> None:
        self.mailbox = mailbox
        self.seconds = 0.0

    def read(self, reporter: str, seen: str | None = None) -> tuple[list[Message], str | None]:
        return self.mailbox.read(reporter, seen)

    def monotonic(self) -> float:
        self.seconds += 2
        return self.seconds


def test_submitter__much_to_read_does_not_hold_him_up(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitter = setting.submitter()
    submitter.mailbox = slow = Slow(setting.mailbox)  # type: ignore[assignment]
    monkeypatch.setattr("perpool.keeper.submitter.system_time", slow)
    reporter = setting.reporter(0, 1, 2)
    for minute in (1, 2):
        setting.warp(NOW + minute * 60)
        reporter.tick(NOW + minute * 60)
    # twelve messages, of which there is time for six: the newest of each
    with capture_logs() as logs:
        assert len(submitter.tick(NOW + 120).done) == 2
    assert ("reports left for the next tick", 6) in [(e["event"], e.get("unread")) for e in logs]
    with capture_logs() as logs:
        submitter.tick(NOW + 125)
    assert [e["event"] for e in logs] == []


def test_submitter__nobodys_flood_holds_up_the_others(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One reporter's place is full of forgeries, of others at each tick, and there is time for a
    few only."""
    domain = setting.contracts.domain(setting.oracle.address)
    genuine = sign_report(setting.keys[3], domain, NOW + 60, list(TOKENS.values()), [1])
    flooded = setting.keys[0].address

    def flood(start: int) -> None:
        forged = (replace(genuine, reporter=flooded, r=start + n) for n in range(1, 500))
        leave(setting, 0, *(Message(domain.chain_id, domain.contract, f).to_json() for f in forged))

    setting.keys.append(reporter_keys(5)[4])
    everybody = ordered(each.address for each in setting.keys)
    for contract in (setting.oracle, setting.feed):
        contract.set_reporters(everybody, 3)
    submitter = setting.submitter()
    submitter.mailbox = slow = Slow(setting.mailbox)  # type: ignore[assignment]
    monkeypatch.setattr("perpool.keeper.submitter.system_time", slow)
    setting.reporter(1, 2, 3).tick(NOW + 60)
    flood(1)
    assert len(submitter.tick(NOW + 60).done) == 2
    # what is left of it is not looked at once there is something else in its place
    left = len(submitter._unread[flooded])
    flood(1_000)
    submitter.tick(NOW + 65)
    assert len(submitter._unread[flooded]) == left


def test_submitter__holds_the_lease_before_he_reads(setting: Setting) -> None:
    order = []

    class Noting(Lease):
        def hold(self) -> bool:
            order.append("hold")
            return True

    class Read(Slow):
        def read(self, reporter: str, seen: str | None = None) -> tuple[list[Message], str | None]:
            order.append("read")
            if len(order) <= 6:
                raise MailboxError("down")
            return super().read(reporter, seen)

    submitter = setting.submitter()
    submitter.lease = lease = Noting()  # type: ignore[assignment]
    submitter.mailbox = Read(setting.mailbox)  # type: ignore[assignment]
    for _ in range(3):
        with pytest.raises(MailboxError):
            submitter.tick(NOW + 60)
    assert order == ["hold", "read"] * 3
    assert lease.released == 1
    # who let it go for another takes it again only where he can read
    submitter.tick(NOW + 60)
    assert order[6:] == ["read"] * 3 + ["hold"]
    submitter.tick(NOW + 60)
    assert order[10:] == ["hold"] + ["read"] * 3


def test_submitter__says_a_reporters_fault_once_a_minute(setting: Setting) -> None:
    submitter = setting.submitter()
    domain = setting.contracts.domain(setting.oracle.address)
    tokens = list(TOKENS.values())
    reports = [
        sign_report(setting.keys[0], domain, NOW + second, tokens[:1], [rate])
        for second in range(5)
        for rate in (1, 2)
    ]
    setting.mailbox.post([Message(domain.chain_id, domain.contract, each) for each in reports])
    with capture_logs() as logs:
        submitter.tick(NOW + 60)
    assert [each["reason"] for each in logs if each["event"] == "report refused"] == [
        "equivocation"
    ]
    assert figure(submitter, "equivocations", setting.keys[0].address) == 5


def test_submitter__names_each_reporter_of_another_contract(setting: Setting) -> None:
    other = token_of("another contract")
    domain = setting.contracts.domain(other)
    for key in setting.keys[:2]:
        report = sign_report(key, domain, NOW, list(TOKENS.values())[:1], [1])
        setting.mailbox.post([Message(domain.chain_id, other, report)])
    submitter = setting.submitter()
    with capture_logs() as logs:
        submitter.tick(NOW + 60)
    said = {(each["reason"], each["reporter"]) for each in logs if "reporter" in each}
    assert said == {("unknown contract", each.address) for each in setting.keys[:2]}


def test_submitter__every_reason_is_counted_from_0(setting: Setting) -> None:
    submitter = setting.submitter()
    assert [figure(submitter, "refused_reports", each) for each in REFUSED] == [0] * len(REFUSED)
    assert figure(submitter, "rounds", "funding", "refused") == 0


class Lease:
    """A lease that a test gives and takes."""

    def __init__(self) -> None:
        self.ours = False
        self.said: str | None = None
        self.released = 0

    def hold(self) -> bool:
        return self.ours

    def note(self) -> str | None:
        return self.said

    def release(self) -> None:
        self.released += 1


class Recorded(EvmOutbox):
    """Also remembers what it was told."""

    def __init__(self, evm: Evm) -> None:
        super().__init__(evm)
        self.told: list[object] = []

    def watch(self) -> None:
        self.told.append("watch")

    def adopt(self, note: str) -> None:
        self.told.append(("adopt", note))

    def offer(self, parcels: Sequence[Parcel], expires_at: int | None) -> None:
        self.told.append(("offer", expires_at))
        super().offer(parcels, expires_at)


def test_submitter__stands_by_until_the_lease_is_his(setting: Setting) -> None:
    outbox, lease = Recorded(setting.evm), Lease()
    submitter = setting.submitter(outbox)
    submitter.lease = lease  # type: ignore[assignment]
    setting.reporter(0, 1, 2).tick(NOW + 60)
    assert submitter.tick(NOW + 60) == Outcome()
    assert outbox.told == ["watch"]
    lease.ours, lease.said = True, "what he had in flight"
    assert len(submitter.tick(NOW + 65).done) == 2
    # what a round may wait for: its age on chain
    offers = [("offer", NOW + 60 + 3_600)] * 2
    assert outbox.told == ["watch", ("adopt", "what he had in flight"), *offers]
    submitter.tick(NOW + 70)
    assert len(outbox.told) == 4


def test_submitter__takes_over_what_was_announced_while_he_was_away(setting: Setting) -> None:
    outbox, lease = Recorded(setting.evm), Lease()
    submitter = setting.submitter(outbox)
    submitter.lease = lease  # type: ignore[assignment]
    lease.ours, lease.said = True, "ours"
    for announced in ("ours", "ours", "another's", "another's"):
        # as far as he can tell it has been his all the time
        lease.said = announced
        submitter.tick(NOW + 60)
    assert outbox.told == [("adopt", "ours"), ("adopt", "another's")]


def test_submitter__lets_go_of_the_lease_where_he_cannot_use_it(setting: Setting) -> None:
    class Broken(Recorded):
        broken = False

        def step(self) -> None:
            if self.broken:
                raise JournalError("the disk is full")
            super().step()

    outbox, lease = Broken(setting.evm), Lease()
    submitter = setting.submitter(outbox)
    submitter.lease, lease.ours = lease, True  # type: ignore[assignment]
    for broken, released in [(True, 0), (True, 0), (False, 0), (True, 0), (True, 0), (True, 1)]:
        outbox.broken = broken
        with pytest.raises(JournalError) if broken else nullcontext():
            submitter.tick(NOW + 60)
        assert (lease.released, submitter.active) == (released, released == 0)
    outbox.broken = False
    submitter.tick(NOW + 60)
    assert (lease.released, submitter.active) == (1, True)


def test_submitter__says_at_once_that_the_lease_is_not_renewed(setting: Setting) -> None:
    class Away(Lease):
        away = False

        def hold(self) -> bool:
            if self.away:
                raise MailboxError("redis is away")
            return self.ours

    lease = Away()
    submitter = Submitter(
        setting.contracts,
        setting.mailbox,
        EvmOutbox(setting.evm),
        lease=lease,  # type: ignore[arg-type]
    )
    assert figure(submitter, "lease_held", "submitter") == 0
    for ours, away, held in [(1, 0, 1), (0, 0, 0), (1, 0, 1), (1, 1, 0), (1, 0, 1)]:
        lease.ours, lease.away = bool(ours), bool(away)
        with pytest.raises(MailboxError) if away else nullcontext():
            submitter.tick(NOW + 60)
        assert figure(submitter, "lease_held", "submitter") == held

    class Down:
        refused = 0

        def read(self, reporter: str, seen: str | None = None) -> None:
            raise MailboxError("down")

    submitter.mailbox = Down()  # type: ignore[assignment]
    with pytest.raises(MailboxError):
        submitter.tick(NOW + 60)
    # it is his all the same, until he has failed too often
    assert figure(submitter, "lease_held", "submitter") == 1
    for held in (1, 0):
        with pytest.raises(MailboxError):
            submitter.tick(NOW + 60)
        assert figure(submitter, "lease_held", "submitter") == held


@pytest.mark.parametrize("ahead", [7_200, -7_200])
def test_submitter__its_clock_is_hours_off(setting: Setting, ahead: int) -> None:
    outbox = Recorded(setting.evm)
    submitter = setting.submitter(outbox)
    submitter.idles = False
    setting.reporter(0, 1, 2).tick(NOW + 60)
    assert len(submitter.tick(NOW + 60 + ahead).done) == 2
    # the outbox has the same clock
    [(_, expires_at), _] = outbox.told
    assert expires_at == NOW + 60 + 3_600 + ahead


def test_submitter__one_transaction_at_a_time(setting: Setting) -> None:
    class Slow(Recorded):
        def step(self) -> None:
            self.busy = bool(self.told)

    outbox = Slow(setting.evm)
    setting.reporter(0, 1, 2).tick(NOW + 60)
    submitter = setting.submitter(outbox)
    assert [type(each) for each in submitter.tick(NOW + 60).done] == [ReportPrice]
    assert submitter.tick(NOW + 65) == Outcome()


def test_submitter__dry_run_says_each_thing_once(setting: Setting) -> None:
    setting.reporter(0, 1, 2).tick(NOW + 60)
    submitter = setting.submitter()
    submitter.outbox = None
    with capture_logs() as logs:
        for _ in range(4):
            submitter.tick(NOW + 60)
    said = [each["action"] for each in logs if each["event"] == "would send"]
    assert said == ["ReportPrice", "ReportFunding"]
    assert setting.oracle.funding(TOKENS["ADA"]) == (0, 0)


def test_submitter__dry_run_remembers_what_is_due_only(setting: Setting) -> None:
    reporter, submitter = setting.reporter(0, 1, 2), setting.submitter()
    submitter.outbox = None
    kept = []
    for minute in range(1, 30):
        setting.warp(NOW + minute * 60)
        reporter.tick(NOW + minute * 60)
        submitter.tick(NOW + minute * 60)
        kept.append(len(submitter._rehearsed))
    # two markets' funding and a price
    assert kept == [3] * 29


def test_submitter__dry_run_says_once_that_an_observation_is_due(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    due = False
    call = bind("PriceFeed", setting.feed.address, "spacing")
    monkeypatch.setattr(
        decide, "upkeep", lambda _, time: [ObservePrice("ADA", time)] if due else []
    )
    monkeypatch.setattr(
        setting.contracts,
        "observe_price",
        lambda action: Parcel((Intent("observe", "ADA", action.time),), call.to, call.data),
    )
    submitter = setting.submitter()
    submitter.outbox = None
    said = []
    for second in range(6):
        due = second != 3
        setting.warp(NOW + 60 + second)
        with capture_logs() as logs:
            submitter.tick(NOW + 60 + second)
        said += [(second, each["action"]) for each in logs if each["event"] == "would send"]
    # and again where it was not due meanwhile: somebody has sent it
    assert said == [(0, "ObservePrice"), (4, "ObservePrice")]


def test_submitter__what_the_outbox_refuses_waits_for_the_next_tick(setting: Setting) -> None:
    class Picky(Recorded):
        def offer(self, parcels: Sequence[Parcel], expires_at: int | None) -> None:
            self.told.append(tuple(each.to for each in parcels))

    outbox = Picky(setting.evm)
    setting.reporter(0, 1, 2).tick(NOW + 60)
    submitter = setting.submitter(outbox)
    submitter.tick(NOW + 60)
    assert outbox.told == [(setting.feed.address,), (setting.oracle.address,)]
    submitter.tick(NOW + 65)
    assert len(outbox.told) == 4


# -- reading back --


def test_unmet__what_the_chain_does_not_show(setting: Setting) -> None:
    setting.reporter(0, 1, 2).tick(NOW + 60)
    setting.submitter().tick(NOW + 60)
    head = setting.contracts.reader.head()
    there = Intent("funding", "ADA", NOW + 60, "219000000")
    older = Intent("funding", "ADA", NOW, "1")
    other = Intent("funding", "ADA", NOW + 60, "1")
    newer = Intent("price", "ADA", NOW + 120, str(WAD))
    unknown = Intent("price", "BTC", NOW + 120, str(WAD))
    observed = Intent("observe", "ADA", NOW)
    intents = [there, older, other, newer, unknown, observed]
    assert setting.contracts.unmet(intents, head) == [other, newer]
