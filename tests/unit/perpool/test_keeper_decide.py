"""What the keeper submits: pure functions of rounds and the chain's state."""

from __future__ import annotations

from dataclasses import replace

import pytest

from perpool.keeper import decide
from perpool.keeper.chain.nodes import Head
from perpool.keeper.model import (
    FundingFeed,
    MarketState,
    ObservePrice,
    Policy,
    PoolClock,
    PriceRound,
    ReportFunding,
    ReportPrice,
    Round,
    Subject,
    SyncFunding,
)
from perpool.keeper.submitter import next_block_time

NOW = 1_621_425_600
HOUR = 3_600
POLICY = Policy()
ORACLE = "oracle"
WAD = 10**18
PERCENT = 10**7
"""Of a rate in 1e-9 a year."""
BOUND = 1_000 * PERCENT


def feed(
    median: int = 11 * PERCENT, age: int = 60, bounds: tuple[int, int] = (-BOUND, BOUND)
) -> FundingFeed:
    return FundingFeed(median, median, *bounds, NOW - age)


def price(wad: int = 3 * WAD // 2, age: int = 60, *, held: bool = False) -> PriceRound:
    return PriceRound(wad, NOW - age, held=held, spacing=60)


UNKNOWN_FEED = FundingFeed(0, 0, -BOUND, BOUND, 0)
UNKNOWN_PRICE = PriceRound(0, 0, held=False, spacing=60)


def state(market: str = "ADA", **changes: object) -> MarketState:
    """A market that needs nothing: reported a minute ago, pools in step."""
    calm = MarketState(
        market=market,
        token=f"{market} token",
        price_feed=f"{market} feed",
        funding=feed(),
        price=price(),
        pools=(PoolClock("reverse", NOW - 60), PoolClock("forward", NOW - 60)),
        volatility_due=False,
    )
    return replace(calm, **changes)  # type: ignore[arg-type]


def funding_round(time: int = NOW, **medians: int | None) -> Round:
    """A round of some markets' funding, in percent a year."""
    tokens = tuple(f"{market} token" for market in medians)
    rates = tuple(each if each is None else each * PERCENT for each in medians.values())
    return Round("funding", Subject(ORACLE, time, tokens), (), rates)


def price_round(wad: int | None, time: int = NOW, market: str = "ADA") -> Round:
    return Round("price", Subject(f"{market} feed", time, (f"{market} token",)), (), (wad,))


def reports(rounds: list[Round], *states: MarketState) -> list[object]:
    return list(decide.reports(states, rounds, POLICY))


# -- funding --


def test_reports__nothing_is_due() -> None:
    assert reports([funding_round(ADA=11), price_round(3 * WAD // 2)], state()) == []


def test_reports__first_rounds_and_prices_before_funding() -> None:
    funding, first = funding_round(ADA=11), price_round(WAD)
    fresh = state(funding=UNKNOWN_FEED, price=UNKNOWN_PRICE)
    assert reports([funding, first], fresh) == [
        ReportPrice("ADA", first, WAD),
        ReportFunding(funding, (("ADA", 11 * PERCENT),)),
    ]


@pytest.mark.parametrize(("age", "due"), [(HOUR - 1, False), (HOUR, True)])
def test_reports__funding_heartbeat(age: int, due: bool) -> None:
    assert bool(reports([funding_round(ADA=11)], state(funding=feed(age=age)))) is due


@pytest.mark.parametrize(("median", "due"), [(20, False), (21, True), (1, True), (2, False)])
def test_reports__funding_change(median: int, due: bool) -> None:
    assert bool(reports([funding_round(ADA=median)], state())) is due


def test_reports__one_round_for_all_markets() -> None:
    late = state("XRP", funding=feed(age=HOUR))
    found = funding_round(ADA=11, LTC=None, XRP=12)
    [report] = reports([found], state(), late, state("LTC"))
    assert report == ReportFunding(found, (("ADA", 11 * PERCENT), ("XRP", 12 * PERCENT)))


def test_reports__newest_round_of_several() -> None:
    rounds = [funding_round(NOW, ADA=50), funding_round(NOW - 60, ADA=40)]
    [report] = reports(rounds, state(funding=feed(age=HOUR)))
    assert report == ReportFunding(rounds[0], (("ADA", 50 * PERCENT),))


def test_reports__funding_of_this_moment_is_there_already() -> None:
    assert reports([funding_round(ADA=300)], state(funding=feed(age=0))) == []


def test_reports__median_beyond_the_bounds_is_not_a_change_for_ever() -> None:
    at_bound = feed(100 * PERCENT, bounds=(-100 * PERCENT, 100 * PERCENT))
    assert reports([funding_round(ADA=500)], state(funding=at_bound)) == []


def test_reports__rounds_of_unknown_tokens_and_feeds() -> None:
    assert reports([funding_round(XRP=500), price_round(WAD, market="XRP")], state()) == []


def test_reports__nothing_made_up() -> None:
    fresh = state(funding=UNKNOWN_FEED, price=UNKNOWN_PRICE)
    assert reports([funding_round(ADA=None), price_round(None)], fresh) == []
    assert reports([], fresh) == []


# -- prices --


@pytest.mark.parametrize(("age", "due"), [(1799, False), (1800, True)])
def test_reports__price_heartbeat(age: int, due: bool) -> None:
    found = price_round(3 * WAD // 2)
    expected = [ReportPrice("ADA", found, 3 * WAD // 2)] if due else []
    assert reports([found], state(price=price(age=age))) == expected


@pytest.mark.parametrize(("permille", "due"), [(4, False), (5, True), (-4, False), (-5, True)])
def test_reports__price_change(permille: int, due: bool) -> None:
    found = price_round(WAD + WAD * permille // 1000)
    assert bool(reports([found], state(price=price(WAD)))) is due


def test_reports__price_within_the_spacing() -> None:
    assert reports([price_round(WAD)], state(price=price(age=59))) == []


def test_reports__price_that_was_held_back() -> None:
    found = price_round(WAD)
    held = state(price=price(WAD, held=True))
    assert reports([found], held) == [ReportPrice("ADA", found, WAD)]


def test_reports__price_is_not_ours() -> None:
    assert reports([price_round(9 * WAD)], state(price=None, price_feed=None)) == []


# -- upkeep --


def test_upkeep__nothing_to_do() -> None:
    assert decide.upkeep([state()], NOW) == []


def test_upkeep__pools_behind_and_volatility() -> None:
    pools = (PoolClock("reverse", NOW - 61), PoolClock("forward", NOW - 60))
    assert decide.upkeep([state(pools=pools, volatility_due=True)], NOW) == [
        SyncFunding("ADA", "reverse", NOW - 60),
        ObservePrice("ADA", NOW),
    ]


def test_upkeep__oracle_without_a_round() -> None:
    empty = state(funding=UNKNOWN_FEED, pools=(PoolClock("reverse", 0),))
    assert decide.upkeep([empty], NOW) == []


# -- the time that the next block will have --


@pytest.mark.parametrize(("age", "expected"), [(12, NOW - 12), (60, NOW - 60), (61, NOW)])
def test_next_block_time__our_clock_only_where_the_chain_stood_still(
    age: int, expected: int
) -> None:
    assert next_block_time(Head(1, "0x01", NOW - age, 0), NOW) == expected
