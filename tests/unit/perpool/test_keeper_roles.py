"""Reporter and submitter on an in-process chain: what is signed, posted, sent, and what is not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any, cast

import pytest
from eth_account.signers.local import LocalAccount
from structlog.testing import capture_logs

from perpool.evm import Contract, Evm
from perpool.keeper import decide
from perpool.keeper.chain.contracts import Contracts, MarketAddresses, bind
from perpool.keeper.mailbox import Mailbox, MailboxError, Message, open_mailbox
from perpool.keeper.mailbox.sqlite import SqliteMailbox
from perpool.keeper.model import (
    Funding,
    LeftOut,
    Observation,
    ObservePrice,
    Reading,
    ReportFunding,
    ReportPrice,
)
from perpool.keeper.operation.metrics import REFUSED
from perpool.keeper.replay import EvmOutbox, EvmReader, deploy_oracle, reporter_keys, token_of
from perpool.keeper.reporter import CLAIMS, Reporter
from perpool.keeper.signing import SignerError
from perpool.keeper.submitter import Outcome, Submitter
from perpool.keeper.transactions.journal import Intent, JournalError, Parcel
from perpool.reports import Signature, ordered, sign_report, unpack_rates

NOW = 1_700_000_040
"""A multiple of a minute."""
WAD = 10**18
TOKENS = {"ADA": token_of("ADA"), "XRP": token_of("XRP")}
D = Decimal


class SaidVenues:
    """A panel whose venues say what a test wants: {market: {venue: (funding of 8 h, price)}}."""

    def __init__(self) -> None:
        self.says: dict[str, dict[str, tuple[str | None, str | None]]] = {
            "ADA": {"a": ("0.0001", "1.5"), "b": ("0.0002", "1.6"), "c": ("0.0003", "1.4")},
            "XRP": {"a": ("-0.0001", None), "b": ("-0.0001", None), "c": ("-0.0001", None)},
        }
        self.down = (LeftOut("d", "it is down"),)
        self.asked: list[int] = []

    def observe(self, markets: Sequence[str], now: int) -> list[Observation]:
        self.asked.append(now)
        found = []
        for market in markets:
            readings = tuple(
                Reading(
                    venue,
                    Funding(D(rate), timedelta(hours=8)) if rate else None,
                    D(price) if price else None,
                )
                for venue, (rate, price) in self.says[market].items()
            )
            found.append(Observation(market, readings, self.down))
        return found


@dataclass
class Setting:
    """Two markets, one of them with a price feed of ours, and three reporters."""

    evm: Evm
    oracle: Contract
    feed: Contract
    contracts: Contracts
    keys: list[LocalAccount]
    panel: SaidVenues
    mailbox: Mailbox

    def reporter(self, *keys: int, min_venues: int = 3) -> Reporter:
        signers = [self.keys[each] for each in keys]
        return Reporter(
            self.contracts,
            self.panel,  # type: ignore[arg-type]
            signers,
            self.mailbox,
            min_venues=min_venues,
        )

    def submitter(self, outbox: object = None) -> Submitter:
        return Submitter(self.contracts, self.mailbox, outbox or EvmOutbox(self.evm))  # type: ignore[arg-type]

    def posted(self) -> list[Message]:
        return self.mailbox.read(None)[0]

    def warp(self, time: int) -> None:
        self.evm.warp(time - self.evm.timestamp)


@pytest.fixture
def setting() -> Iterator[Setting]:
    evm = Evm(timestamp=NOW)
    keys = reporter_keys(4)
    oracle = deploy_oracle(evm, keys[:3], list(TOKENS.values()))
    feed = evm.deploy("PriceFeed", TOKENS["ADA"], "ADA / USDT", 3_600, 60, WAD // 5)
    feed.set_reporters(ordered(each.address for each in keys[:3]), 3)
    markets = {
        "XRP": MarketAddresses(TOKENS["XRP"]),
        "ADA": MarketAddresses(TOKENS["ADA"], price_feed=feed.address),
    }
    contracts = Contracts(EvmReader(evm), oracle.address, markets)
    mailbox = open_mailbox("sqlite://", evm.chain_id)
    evm.warp(NOW + 60 - evm.timestamp)
    yield Setting(evm, oracle, feed, contracts, keys, SaidVenues(), mailbox)
    mailbox.close()


# -- reporter --


def test_reporter__signs_all_markets_at_the_minute(setting: Setting) -> None:
    setting.reporter(0).tick(NOW + 119)
    funding, price = setting.posted()
    assert funding.contract == setting.oracle.address
    assert funding.report.observed_at == NOW + 60
    # in the order of the markets' names
    assert funding.report.tokens == (TOKENS["ADA"], TOKENS["XRP"])
    assert unpack_rates(funding.report.values, 2) == [219_000_000, -109_500_000]
    assert price.contract == setting.feed.address
    assert price.report.values == (3 * WAD // 2,)


def test_reporter__once_a_minute(setting: Setting) -> None:
    reporter = setting.reporter(0)
    for second in (60, 61, 119):
        reporter.tick(NOW + second)
    assert setting.panel.asked == [NOW + 60]
    reporter.tick(NOW + 120)
    assert setting.panel.asked == [NOW + 60, NOW + 120]


def test_reporter__a_restart_does_not_sign_the_same_time_again(setting: Setting) -> None:
    setting.reporter(0).tick(NOW + 60)
    setting.panel.says["ADA"]["b"] = ("0.0009", "2")
    setting.reporter(0).tick(NOW + 70)
    assert len(setting.posted()) == 2
    setting.reporter(0, 1).tick(NOW + 70)
    assert len(setting.posted()) == 4
    assert {each.report.reporter for each in setting.posted()[2:]} == {setting.keys[1].address}


def test_reporter__a_market_too_few_venues_know_of_is_left_open(setting: Setting) -> None:
    del setting.panel.says["XRP"]["a"]
    with capture_logs() as logs:
        setting.reporter(0).tick(NOW + 60)
    assert unpack_rates(setting.posted()[0].report.values, 2) == [219_000_000, None]
    said = [each for each in logs if each["event"] == "too few venues"]
    # XRP's price is not ours to say
    assert [(each["market"], each["missing"]) for each in said] == [("XRP", ["funding"])]


def test_reporter__logs_what_changes(setting: Setting) -> None:
    reporter = setting.reporter(0)

    def events(minute: int) -> list[str]:
        with capture_logs() as logs:
            reporter.tick(NOW + minute * 60)
        return [each["event"] for each in logs]

    assert events(1) == ["venue left out", "reported"]
    assert events(2) == ["reported"]
    del setting.panel.says["XRP"]["a"]
    assert events(3) == ["too few venues", "reported"]
    assert events(4) == ["reported"]
    setting.panel.says["XRP"]["a"] = ("0.0001", None)
    setting.panel.down = ()
    assert events(5) == ["venue is back", "enough venues again", "reported"]


def test_reporter__nothing_made_up(setting: Setting) -> None:
    reporter = setting.reporter(0, min_venues=4)
    reporter.tick(NOW + 60)
    assert setting.posted() == []
    assert reporter.metrics.unheard.labels("ADA")._value.get() == 1


def test_reporter__mailbox_down_signs_nothing(setting: Setting) -> None:
    class Down:
        def read(self, after: str | None) -> None:
            raise MailboxError("down")

    reporter = setting.reporter(0)
    reporter.mailbox = Down()  # type: ignore[assignment]
    with pytest.raises(MailboxError):
        reporter.tick(NOW + 60)
    assert setting.panel.asked == []


class Failing:
    """A mailbox that takes so many messages, and then no more."""

    def __init__(self, mailbox: Mailbox, taken: int) -> None:
        self.mailbox = mailbox
        self.left = taken

    def read(self, after: str | None) -> tuple[list[Message], str | None]:
        return self.mailbox.read(after)

    def post(self, message: Message) -> None:
        if not self.left:
            raise MailboxError("full")
        self.left -= 1
        self.mailbox.post(message)


def test_reporter__what_could_not_be_posted_is_not_signed_anew(setting: Setting) -> None:
    reporter = setting.reporter(0)
    reporter.mailbox = mailbox = Failing(setting.mailbox, 1)  # type: ignore[assignment]
    with pytest.raises(MailboxError):
        reporter.tick(NOW + 60)
    # a new observation would be another one, and he would contradict himself
    setting.panel.says["ADA"]["b"] = ("0.0009", "2")
    mailbox.left = 9
    reporter.tick(NOW + 72)
    funding, price = setting.posted()
    assert unpack_rates(funding.report.values, 2) == [219_000_000, -109_500_000]
    assert price.report.values == (3 * WAD // 2,)
    assert setting.panel.asked == [NOW + 60]


def test_reporter__what_could_not_be_posted_gives_way_to_the_next(setting: Setting) -> None:
    reporter = setting.reporter(0)
    reporter.mailbox = mailbox = Failing(setting.mailbox, 0)  # type: ignore[assignment]
    for minute in (1, 2):
        with pytest.raises(MailboxError):
            reporter.tick(NOW + minute * 60)
    mailbox.left = 9
    reporter.tick(NOW + 130)
    assert [each.report.observed_at for each in setting.posted()] == [NOW + 120] * 2


def test_reporter__one_signer_down_does_not_hold_up_the_others(setting: Setting) -> None:
    class Away:
        address = setting.keys[1].address
        away = True

        def sign_typed_data(self, *, full_message: dict[str, Any]) -> Signature:
            if self.away:
                raise SignerError("the signer does not answer")
            return setting.keys[1].sign_typed_data(full_message=full_message)

    signer = Away()
    reporter = setting.reporter(0, 2)
    reporter.signers.insert(1, signer)
    with pytest.raises(SignerError):
        reporter.tick(NOW + 60)
    reporters = [each.report.reporter for each in setting.posted()]
    assert reporters == [setting.keys[n].address for n in (0, 0, 2, 2)]
    signer.away = False
    reporter.tick(NOW + 72)
    assert [each.report.reporter for each in setting.posted()[4:]] == [signer.address] * 2
    # the venues were not asked again for it
    assert setting.panel.asked == [NOW + 60]


def test_reporter__a_forgery_does_not_silence_him(setting: Setting) -> None:
    far = NOW + 10**9
    tokens = list(TOKENS.values())
    domain = setting.contracts.domain(setting.oracle.address)
    forged = sign_report(setting.keys[3], domain, far, tokens, [1])
    forged = replace(forged, reporter=setting.keys[0].address)
    setting.mailbox.post(Message(domain.chain_id, domain.contract, forged))
    # one of his for another contract, as where two deployments share a mailbox
    other = setting.contracts.domain(setting.keys[3].address)
    elsewhere = sign_report(setting.keys[0], other, NOW + 60, tokens[:1], [1])
    setting.mailbox.post(Message(other.chain_id, other.contract, elsewhere))
    setting.reporter(0).tick(NOW + 60)
    assert len(setting.posted()) == 4


def test_reporter__a_clock_that_was_ahead(setting: Setting) -> None:
    setting.reporter(0).tick(NOW + 600)
    setting.panel.says["ADA"]["b"] = ("0.0009", "2")
    reporter = setting.reporter(0)
    for now in range(NOW + 60, NOW + 721, 60):
        reporter.tick(now)
    times = Counter(each.report.observed_at for each in setting.posted())
    # none is missing, and the one that he has signed is not signed again
    assert times == dict.fromkeys(range(NOW + 60, NOW + 721, 60), 2)


def test_reporter__a_page_of_junk_hides_nothing(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restart reads on behind it."""
    monkeypatch.setattr("perpool.keeper.mailbox.sqlite.READ_LIMIT", 3)
    with cast(SqliteMailbox, setting.mailbox)._database.transaction() as cursor:
        insert = "INSERT INTO message (chain_id, observed_at, body) VALUES (?, ?, ?)"
        cursor.executemany(insert, [(setting.evm.chain_id, NOW, b"junk")] * 3)
    setting.reporter(0).tick(NOW + 60)
    setting.panel.says["ADA"]["b"] = ("0.0009", "2")
    setting.reporter(0).tick(NOW + 70)
    posted, position = [], None
    for _ in range(4):
        messages, position = setting.mailbox.read(position)
        posted += messages
    assert len(posted) == 2


def test_reporter__a_mailbox_without_end(setting: Setting) -> None:
    """Somebody posts faster than he reads."""
    pages: list[int] = []

    class Endless:
        def read(self, after: str | None) -> tuple[list[Message], str]:
            pages.append(1)
            assert len(pages) < 100
            return [], str(len(pages))

        def post(self, message: Message) -> None:
            setting.mailbox.post(message)

    reporter = setting.reporter(0)
    reporter.mailbox = Endless()  # type: ignore[assignment]
    reporter.tick(NOW + 60)
    assert len(setting.posted()) == 2
    assert len(pages) == 20


def test_reporter__forgeries_of_his_name_are_checked_so_often(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = []
    monkeypatch.setattr("perpool.keeper.reporter.is_signed", lambda *each: checked.append(each))
    domain = setting.contracts.domain(setting.oracle.address)
    genuine = sign_report(setting.keys[3], domain, NOW + 60, list(TOKENS.values()), [1])
    for time in (NOW, NOW + 60, NOW + 61):
        forged = replace(genuine, reporter=setting.keys[0].address, observed_at=time)
        for _ in range(CLAIMS + 1):
            setting.mailbox.post(Message(domain.chain_id, domain.contract, forged))
    setting.reporter(0).tick(NOW + 60)
    # of the minutes still to be signed for only
    assert len(checked) == CLAIMS


# -- submitter --


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

        def read(self, after: str | None) -> None:
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
    database = cast(SqliteMailbox, setting.mailbox)._database
    with database.transaction() as cursor:
        insert = "INSERT INTO message (chain_id, observed_at, body) VALUES (?, ?, ?)"
        for body in (b"{}", b"no JSON"):
            cursor.execute(insert, (setting.evm.chain_id, NOW, body))
    submitter = setting.submitter()
    with capture_logs() as logs:
        for _ in range(2):
            submitter.tick(NOW + 60)
    assert figure(submitter, "refused_reports", "malformed") == 2
    assert [(each["event"], each["reason"], each["count"]) for each in logs] == [
        ("report refused", "malformed", 2)
    ]


class Slow:
    """A mailbox that takes two seconds for a message, by a clock that only it moves."""

    refused = 0

    def __init__(self, mailbox: Mailbox) -> None:
        self.mailbox = mailbox
        self.seconds = 0.0

    def read(self, after: str | None) -> tuple[list[Message], str | None]:
        messages, after = self.mailbox.read(after)
        self.seconds += 2 * len(messages)
        return messages, after

    def prune(self, before: int) -> None:
        self.mailbox.prune(before)

    def monotonic(self) -> float:
        return self.seconds


def test_submitter__a_flood_does_not_hold_him_up(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitter = setting.submitter()
    submitter.mailbox = slow = Slow(setting.mailbox)  # type: ignore[assignment]
    monkeypatch.setattr("perpool.keeper.submitter.system_time", slow)
    setting.reporter(0, 1, 2).tick(NOW + 60)
    # six messages, 12 seconds
    with capture_logs() as logs:
        assert submitter.tick(NOW + 60) == Outcome()
    assert ("reports left for the next tick", 6) in [(e["event"], e.get("unread")) for e in logs]
    assert len(submitter.tick(NOW + 65).done) == 2


def test_submitter__holds_the_lease_before_he_reads(setting: Setting) -> None:
    order = []

    class Noting(Lease):
        def hold(self) -> bool:
            order.append("hold")
            return True

    class Read(Slow):
        def read(self, after: str | None) -> tuple[list[Message], str | None]:
            order.append("read")
            if len(order) <= 6:
                raise MailboxError("down")
            return super().read(after)

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
    assert order[6:] == ["read", "hold"]
    submitter.tick(NOW + 60)
    assert order[8:] == ["hold", "read"]


def test_submitter__a_position_that_stays_ends_reading(setting: Setting) -> None:
    class Stuck(Slow):
        reads = 0

        def read(self, after: str | None) -> tuple[list[Message], str | None]:
            self.reads += 1
            assert self.reads < 9
            return self.mailbox.read(None)

    setting.reporter(0, 1, 2).tick(NOW + 60)
    submitter = setting.submitter()
    submitter.mailbox = Stuck(setting.mailbox)  # type: ignore[assignment]
    assert len(submitter.tick(NOW + 60).done) == 2


def test_submitter__says_a_reporters_fault_once_a_minute(setting: Setting) -> None:
    submitter = setting.submitter()
    domain = setting.contracts.domain(setting.oracle.address)
    tokens = list(TOKENS.values())
    for second in range(5):
        for rate in (1, 2):
            report = sign_report(setting.keys[0], domain, NOW + second, tokens[:1], [rate])
            setting.mailbox.post(Message(domain.chain_id, domain.contract, report))
    with capture_logs() as logs:
        submitter.tick(NOW + 60)
    assert [each["reason"] for each in logs if each["event"] == "report refused"] == [
        "equivocation"
    ]
    assert figure(submitter, "equivocations", setting.keys[0].address) == 5


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

        def read(self, after: str | None) -> None:
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


def test_submitter__dry_run_leaves_the_mailbox_as_it_is(setting: Setting) -> None:
    setting.reporter(0, 1, 2).tick(NOW + 60)
    later = NOW + 60 + 10 * 3_600
    setting.warp(later)
    submitter = setting.submitter()
    outbox, submitter.outbox = submitter.outbox, None
    submitter.tick(later)
    assert len(setting.posted()) == 6
    submitter.outbox = outbox
    submitter.tick(later)
    assert setting.posted() == []


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
