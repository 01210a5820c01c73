"""Reports become rounds only when they are signed, in time, of a quorum, and said once."""

from __future__ import annotations

from dataclasses import replace
from typing import NoReturn

import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount

from perpool.keeper import rounds
from perpool.keeper.mailbox import Message
from perpool.keeper.model import Seats, Subject
from perpool.keeper.operation.survey import (
    A_REPORTER,
    CLAIMS,
    MOMENTS,
    newest_signed,
    newest_spreads,
)
from perpool.keeper.rounds import SKEW, SUBJECTS_A_REPORTER, Collector
from perpool.reports import Domain, SignedReport, ordered, pack_rates, sign_report

NOW = 1_700_000_000
CHAIN = 31_337
MAX_AGE = 3_600
SECP256K1_N = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141


def address(number: int) -> str:
    return Account.from_key(number.to_bytes(32, "big")).address  # type: ignore[no-any-return]


ORACLE, FEED = address(1001), address(1002)
TOKENS = (address(2001), address(2002))
REPORTERS: list[LocalAccount] = [Account.from_key(n.to_bytes(32, "big")) for n in range(1, 6)]
STRANGER: LocalAccount = Account.from_key((99).to_bytes(32, "big"))
FUNDING_DOMAIN = Domain.of_funding_oracle(CHAIN, ORACLE)
PRICE_DOMAIN = Domain.of_price_feed(CHAIN, FEED)
PANEL = tuple(ordered(each.address for each in REPORTERS))
SEATS = {
    ORACLE: Seats("funding", FUNDING_DOMAIN, PANEL, 3, MAX_AGE, frozenset(TOKENS)),
    FEED: Seats("price", PRICE_DOMAIN, PANEL, 3, MAX_AGE, frozenset(TOKENS[:1])),
}


@pytest.fixture
def collector() -> Collector:
    return Collector(CHAIN, SEATS)


def funding(
    reporter: int | LocalAccount, *rates: int | None, time: int = NOW, domain: Domain | None = None
) -> Message:
    key = REPORTERS[reporter] if isinstance(reporter, int) else reporter
    report = sign_report(
        key, domain or FUNDING_DOMAIN, time, TOKENS[: len(rates)], pack_rates(rates)
    )
    return Message(CHAIN, ORACLE, report)


def price(reporter: int, wad: int, time: int = NOW) -> Message:
    report = sign_report(REPORTERS[reporter], PRICE_DOMAIN, time, TOKENS[:1], [wad])
    return Message(CHAIN, FEED, report)


def add(collector: Collector, *messages: Message, now: int = NOW) -> list[str | None]:
    return [collector.add(each, now) for each in messages]


def test_rounds__median_of_a_quorum(collector: Collector) -> None:
    messages = [funding(0, 5, 7), funding(1, 9, None), funding(2, 6, 1)]
    assert add(collector, *messages[:2]) == [None, None]
    assert collector.rounds(NOW) == []
    assert add(collector, messages[2]) == [None]
    [found] = collector.rounds(NOW)
    # the second token has two values, and three are a quorum
    assert found.medians == (6, None)
    assert found.subject.tokens == TOKENS
    assert {each.reporter for each in found.reports} == {each.address for each in REPORTERS[:3]}


def test_rounds__prices(collector: Collector) -> None:
    add(collector, *(price(i, wad) for i, wad in enumerate((10, 12, 14, 11))))
    assert [each.medians for each in collector.rounds(NOW)] == [(11,)]


def test_rounds__each_time_for_itself(collector: Collector) -> None:
    add(collector, funding(0, 5), funding(1, 5), funding(2, 5, time=NOW - 60))
    assert collector.rounds(NOW) == []


def test_rounds__too_old_or_ahead(collector: Collector) -> None:
    add(collector, *(funding(i, 5) for i in range(3)))
    assert len(collector.rounds(NOW + MAX_AGE)) == 1
    assert collector.rounds(NOW + MAX_AGE + 1) == []
    # the chain is not there yet; it waits
    assert collector.rounds(NOW - 1) == []


def test_rounds__a_reporter_without_a_seat_any_more(collector: Collector) -> None:
    add(collector, *(funding(i, 5) for i in range(3)))
    left = tuple(each for each in PANEL if each != REPORTERS[0].address)
    collector.seats = {ORACLE: replace(SEATS[ORACLE], reporters=left)}
    assert collector.rounds(NOW) == []


def test_rounds__a_contract_that_has_no_reporters_holds_up_no_other(collector: Collector) -> None:
    """As on a local chain that is deployed anew while a keeper runs."""
    add(collector, *(funding(i, 5) for i in range(3)), *(price(i, 10) for i in range(3)))
    collector.seats = SEATS | {ORACLE: replace(SEATS[ORACLE], reporters=(), quorum=0)}
    assert [each.subject.contract for each in collector.rounds(NOW)] == [FEED]


def test_add__the_same_twice_counts_once(collector: Collector) -> None:
    assert add(collector, *(funding(0, 5) for _ in range(3))) == [None] * 3
    assert collector.rounds(NOW) == []


def test_add__equivocation_silences_him_for_that_time(collector: Collector) -> None:
    add(collector, *(funding(i, 5) for i in range(4)))
    assert add(collector, funding(0, 6)) == ["equivocation"]
    [found] = collector.rounds(NOW)
    assert REPORTERS[0].address not in {each.reporter for each in found.reports}
    assert len(found.reports) == 3
    assert add(collector, funding(1, 6)) == ["equivocation"]
    assert collector.rounds(NOW) == []
    later = NOW + 60
    add(collector, *(funding(i, 5, time=later) for i in range(3)), now=later)
    assert [each.subject.observed_at for each in collector.rounds(later)] == [later]


def test_add__somebody_else(collector: Collector) -> None:
    assert add(collector, funding(STRANGER, 5)) == ["unknown reporter"]


def test_add__in_the_name_of_another(collector: Collector) -> None:
    report = funding(STRANGER, 5).report
    forged = replace(report, reporter=REPORTERS[0].address)
    assert add(collector, Message(CHAIN, ORACLE, forged)) == ["bad signature"]
    # and it does not stand in the way of the real one
    assert add(collector, funding(0, 6)) == [None]


@pytest.mark.parametrize(
    "change",
    [
        lambda r: replace(r, values=tuple(pack_rates([6]))),
        lambda r: replace(r, observed_at=NOW - 1),
        lambda r: replace(r, tokens=TOKENS[1:]),
        lambda r: replace(r, v=29),
        lambda r: replace(r, r=0),
        lambda r: replace(r, s=0),
        # its other form recovers the same reporter, and has no room on chain
        lambda r: replace(r, s=SECP256K1_N - r.s, v=55 - r.v),
    ],
    ids=["values", "time", "tokens", "v", "r", "s", "higher s"],
)
def test_add__altered(collector: Collector, change: object) -> None:
    report: SignedReport = change(funding(0, 5).report)  # type: ignore[operator]
    assert add(collector, Message(CHAIN, ORACLE, report)) == ["bad signature"]


def test_add__for_another_chain_or_contract(collector: Collector) -> None:
    elsewhere = Domain.of_funding_oracle(1, ORACLE)
    assert add(collector, funding(0, 5, domain=elsewhere)) == ["bad signature"]
    assert add(collector, replace(funding(0, 5), chain_id=1)) == ["unknown contract"]
    assert add(collector, replace(funding(0, 5), contract=STRANGER.address)) == ["unknown contract"]


@pytest.mark.parametrize(
    ("time", "reason"),
    [
        (NOW - MAX_AGE, None),
        (NOW - MAX_AGE - 1, "too old"),
        (NOW + SKEW, None),
        (NOW + SKEW + 1, "from the future"),
    ],
)
def test_add__time(collector: Collector, time: int, reason: str | None) -> None:
    assert add(collector, funding(0, 5, time=time)) == [reason]


def test_add__tokens_and_lengths(collector: Collector) -> None:
    unknown = sign_report(REPORTERS[0], FUNDING_DOMAIN, NOW, [STRANGER.address], [1])
    assert add(collector, Message(CHAIN, ORACLE, unknown)) == ["unknown token"]
    none = sign_report(REPORTERS[0], FUNDING_DOMAIN, NOW, [], [])
    assert add(collector, Message(CHAIN, ORACLE, none)) == ["unknown token"]
    long = sign_report(REPORTERS[0], FUNDING_DOMAIN, NOW, TOKENS, [1, 2])
    assert add(collector, Message(CHAIN, ORACLE, long)) == ["wrong length"]
    two = sign_report(REPORTERS[0], PRICE_DOMAIN, NOW, TOKENS[:1] * 2, [1, 1])
    assert add(collector, Message(CHAIN, FEED, two)) == ["wrong length"]


def test_add__a_flood_of_token_lists(collector: Collector) -> None:
    lists = [TOKENS[:1] * length for length in range(1, SUBJECTS_A_REPORTER + 2)]
    messages = [
        Message(
            CHAIN,
            ORACLE,
            sign_report(REPORTERS[0], FUNDING_DOMAIN, NOW, each, pack_rates([1] * len(each))),
        )
        for each in lists
    ]
    assert add(collector, *messages) == [None] * SUBJECTS_A_REPORTER + ["flood"]


def test_add__a_flood_of_times(collector: Collector) -> None:
    """Of one reporter, who harms nobody but himself, and not for longer than reports last."""
    collector.seats = {ORACLE: replace(SEATS[ORACLE], max_report_age=30)}
    messages = [funding(0, 5, time=NOW - second) for second in range(7)]
    assert add(collector, *messages) == [None] * 6 + ["flood"]
    assert add(collector, funding(1, 5)) == [None]
    collector.prune(NOW + 29)
    assert add(collector, funding(0, 6, time=NOW + 29), now=NOW + 29) == [None]
    assert len(collector._found) == 3


def test_add__a_flood_is_counted_at_once(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each takes the same time, however many there are; none of the others is gone through."""
    monkeypatch.setattr(rounds, "is_signed", lambda *_: True)

    class Unlisted(dict):  # type: ignore[type-arg]
        def __iter__(self) -> NoReturn:
            raise AssertionError("gone through")

        items = keys = values = __iter__

    collector._found = Unlisted()
    report = funding(0, 5).report
    for second in range(20):
        message = Message(CHAIN, ORACLE, replace(report, observed_at=NOW - second))
        assert collector.add(message, NOW) is None


def test_add__more_equivocations_cost_nothing(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert add(collector, funding(0, 5), funding(0, 6)) == [None, "equivocation"]
    monkeypatch.delattr(rounds, "is_signed")
    assert add(collector, funding(0, 7), funding(0, 6)) == [None, None]
    with pytest.raises(NameError):
        add(collector, funding(1, 5))
    assert collector._found[Subject(ORACLE, NOW, TOKENS[:1])].equivocators


def test_newest_signed__forgeries_and_times_to_come() -> None:
    """What `status` says of reporters; a place may hold anything."""
    stranger = funding(STRANGER, 5, time=NOW + 50).report
    forged = Message(CHAIN, ORACLE, replace(stranger, reporter=REPORTERS[0].address))
    messages = [
        funding(0, 5, time=NOW - 60),
        price(0, 10, time=NOW - 30),
        funding(0, 5, time=NOW - 90),
        *[forged] * 3,
        funding(0, 5, time=NOW + 1_000),
        funding(1, 5, time=NOW + 60),
        replace(forged, report=replace(stranger, reporter=REPORTERS[2].address)),
        funding(STRANGER, 5),
    ]
    assert newest_signed(messages, SEATS, PANEL, NOW + 60) == {
        REPORTERS[0].address: NOW - 30,
        REPORTERS[1].address: NOW + 60,
    }


def test_newest_signed__checks_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    checked = []
    monkeypatch.setattr(
        "perpool.keeper.operation.survey.is_signed", lambda *each: checked.append(each)
    )
    report = funding(0, 5).report
    messages = (
        Message(CHAIN, ORACLE, replace(report, observed_at=NOW - second)) for second in range(600)
    )
    assert newest_signed(messages, SEATS, PANEL, NOW) == {}
    assert [each.observed_at for each, _ in checked] == list(range(NOW, NOW - CLAIMS, -1))


def test_newest_spreads__of_the_newest_moment_with_a_quorum() -> None:
    messages = [
        *(funding(i, 5 + 10 * i, 7, time=NOW - 60) for i in range(4)),
        *(price(i, 100 + i) for i in range(3)),
        *(price(i, 900 + 50 * i, time=NOW - 60) for i in range(3)),
        # newer, and of too few
        *(funding(i, 1, 2) for i in range(2)),
        # not yet
        *(funding(i, 1, 99 * i, time=NOW + 61) for i in range(3)),
    ]
    assert newest_spreads(messages, SEATS, CHAIN, NOW + 60) == {
        (ORACLE, TOKENS[0]): 30,
        (ORACLE, TOKENS[1]): 0,
        (FEED, TOKENS[0]): 2,
    }


def test_newest_spreads__no_forger_and_no_equivocator_counts() -> None:
    strange = funding(STRANGER, 900).report
    messages = [
        *(funding(i, 5 + i) for i in range(4)),
        funding(3, 700),
        Message(CHAIN, ORACLE, replace(strange, reporter=REPORTERS[4].address)),
        funding(STRANGER, 900),
    ]
    assert newest_spreads(messages, SEATS, CHAIN, NOW) == {(ORACLE, TOKENS[0]): 2}


def test_newest_spreads__checks_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    checked = []
    monkeypatch.setattr(rounds, "is_signed", lambda *each: checked.append(each))
    report = funding(0, 5).report
    messages = [
        Message(CHAIN, ORACLE, replace(report, observed_at=NOW - second, s=1 + again))
        for second in range(2 * MOMENTS)
        for again in range(2 * A_REPORTER)
    ]
    assert newest_spreads(messages, SEATS, CHAIN, NOW) == {}
    assert len(checked) == MOMENTS * A_REPORTER
    assert min(each.observed_at for each, _ in checked) == NOW - MOMENTS + 1


def test_newest_spreads__a_token_with_too_few_values() -> None:
    messages = [funding(0, 5, 7), funding(1, 9, None), funding(2, 6, 1)]
    assert newest_spreads(messages, SEATS, CHAIN, NOW) == {(ORACLE, TOKENS[0]): 4}


def test_prune__what_can_no_longer_be_sent(collector: Collector) -> None:
    add(collector, *(funding(i, 5) for i in range(3)))
    collector.prune(NOW + MAX_AGE)
    assert len(collector.rounds(NOW)) == 1
    collector.prune(NOW + MAX_AGE + 1)
    assert collector.rounds(NOW) == []
