"""What the keeper does: medians, reports and upkeep as pure functions of state."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from perpool.keeper import decide
from perpool.keeper.aggregate import aggregate, median
from perpool.keeper.chain import next_block_time
from perpool.keeper.model import (
    Funding,
    FundingFeed,
    MarketState,
    Observation,
    ObservePrice,
    Policy,
    PoolClock,
    PriceRound,
    Reading,
    ReadingError,
    ReportFunding,
    ReportPrice,
    SyncFunding,
    Values,
)

NOW = 1_621_425_600
HOUR = 3_600
POLICY = Policy()
D = Decimal


def state(market: str = "ADA", **changes: object) -> MarketState:
    """A market that needs nothing: reported a minute ago, pools in step."""
    reported = NOW - 60
    calm = MarketState(
        market=market,
        time=NOW,
        funding=FundingFeed(D("0.11"), D("0.12"), reported),
        price=PriceRound(D("1.5"), reported, held=False, spacing=60),
        pools=(PoolClock("reverse", reported), PoolClock("forward", reported)),
        volatility_due=False,
    )
    return replace(calm, **changes)  # type: ignore[arg-type]


def values(market: str = "ADA", funding: str | None = "0.11", price: str | None = "1.5") -> Values:
    return Values(market, D(funding) if funding else None, D(price) if price else None)


def reports(*pairs: tuple[MarketState, Values], now: int = NOW) -> list[object]:
    return list(decide.reports([a for a, _ in pairs], [b for _, b in pairs], POLICY, now))


# -- medians --


def test_median__middle_or_mean_of_the_middle_two() -> None:
    assert median([D(3), D(1), D(2)]) == 2
    assert median([D(4), D(1), D(3), D(2)]) == D("2.5")
    with pytest.raises(ValueError, match="no values"):
        median([])


def reading(venue: str, rate: str | None, hours: int = 8, price: str | None = None) -> Reading:
    funding = None if rate is None else Funding(D(rate), timedelta(hours=hours))
    return Reading(venue, funding, None if price is None else D(price))


def test_aggregate__annual_rates_of_different_intervals() -> None:
    # the same 10.95 % a year, by the hour and by eight; and one venue far off
    readings = (
        reading("a", "0.0001", 8, "1.5"),
        reading("b", "0.0000125", 1, "1.6"),
        reading("c", "-0.0058", 8, "1.4"),
    )
    assert aggregate(Observation("ADA", readings), 3) == values(funding="0.1095", price="1.5")


def test_aggregate__too_few_venues() -> None:
    readings = (reading("a", "0.0001", price="1.5"), reading("b", None, price="1.7"))
    assert aggregate(Observation("ADA", readings), 2) == Values("ADA", None, D("1.6"))
    assert aggregate(Observation("ADA", ()), 0) == Values("ADA", None, None)


@pytest.mark.parametrize(
    ("rate", "hours"), [("NaN", 8), ("Infinity", 8), ("0.1", 0), ("0.1", -8), ("0.1", 25)]
)
def test_funding__of_no_use(rate: str, hours: int) -> None:
    with pytest.raises(ReadingError):
        Funding(D(rate), timedelta(hours=hours))


@pytest.mark.parametrize("price", ["0", "-1", "NaN", "Infinity"])
def test_reading__of_no_use(price: str) -> None:
    with pytest.raises(ReadingError):
        Reading("a", None, D(price))


# -- reports --


def test_reports__nothing_is_due() -> None:
    assert reports((state(), values())) == []


def test_reports__first_rounds() -> None:
    fresh = state(
        funding=FundingFeed(D(0), D(0), 0), price=PriceRound(D(0), 0, held=False, spacing=60)
    )
    assert reports((fresh, values())) == [
        ReportFunding(NOW, (("ADA", D("0.11")),)),
        ReportPrice("ADA", NOW, D("1.5")),
    ]


@pytest.mark.parametrize(("age", "due"), [(HOUR - 1, False), (HOUR, True)])
def test_reports__funding_heartbeat(age: int, due: bool) -> None:
    feed = FundingFeed(D("0.11"), D("0.12"), NOW - age)
    expected = [ReportFunding(NOW, (("ADA", D("0.11")),))] if due else []
    assert reports((state(funding=feed), values())) == expected


@pytest.mark.parametrize(("funding", "due"), [("0.2099", False), ("0.21", True), ("0.01", True)])
def test_reports__funding_change(funding: str, due: bool) -> None:
    assert bool(reports((state(), values(funding=funding)))) is due


def test_reports__one_round_for_all_markets() -> None:
    late = state("XRP", funding=FundingFeed(D(0), D(0), NOW - HOUR))
    [report] = reports(
        (state(), values()), (late, values("XRP")), (state("LTC"), values("LTC", funding=None))
    )
    assert report == ReportFunding(NOW, (("ADA", D("0.11")), ("XRP", D("0.11"))))


def test_reports__funding_of_this_moment_is_there_already() -> None:
    feed = FundingFeed(D("0.11"), D("0.12"), NOW)
    assert reports((state(funding=feed), values(funding="3"))) == []


@pytest.mark.parametrize(("age", "due"), [(1799, False), (1800, True)])
def test_reports__price_heartbeat(age: int, due: bool) -> None:
    last = PriceRound(D("1.5"), NOW - age, held=False, spacing=60)
    expected = [ReportPrice("ADA", NOW, D("1.5"))] if due else []
    assert reports((state(price=last), values())) == expected


@pytest.mark.parametrize(("price", "due"), [("1.5074", False), ("1.5075", True), ("1.4925", True)])
def test_reports__price_change(price: str, due: bool) -> None:
    assert bool(reports((state(), values(price=price)))) is due


def test_reports__price_within_the_spacing() -> None:
    last = PriceRound(D("1.5"), NOW - 59, held=False, spacing=60)
    assert reports((state(price=last), values(price="1"))) == []


def test_reports__price_that_was_held_back() -> None:
    last = PriceRound(D("1.2"), NOW - 60, held=True, spacing=60)
    assert reports((state(price=last), values(price="1.2"))) == [ReportPrice("ADA", NOW, D("1.2"))]


def test_reports__nothing_made_up() -> None:
    fresh = state(
        funding=FundingFeed(D(0), D(0), 0), price=PriceRound(D(0), 0, held=False, spacing=60)
    )
    assert reports((fresh, values(funding=None, price=None))) == []
    assert reports((fresh, values("XRP"))) == []


def test_reports__price_is_not_ours() -> None:
    assert reports((state(price=None), values(price="9"))) == []


# -- upkeep --


def test_upkeep__nothing_to_do() -> None:
    assert decide.upkeep([state()]) == []


def test_upkeep__pools_behind_and_volatility() -> None:
    pools = (PoolClock("reverse", NOW - 61), PoolClock("forward", NOW - 60))
    assert decide.upkeep([state(pools=pools, volatility_due=True)]) == [
        SyncFunding("ADA", "reverse"),
        ObservePrice("ADA"),
    ]


def test_upkeep__oracle_without_a_round() -> None:
    pools = (PoolClock("reverse", 0),)
    assert decide.upkeep([state(funding=FundingFeed(D(0), D(0), 0), pools=pools)]) == []


# -- the time to sign for --


@pytest.mark.parametrize(
    ("pending", "time"), [(None, NOW), (NOW + 12, NOW), (NOW + 60, NOW), (NOW + 61, NOW + 61)]
)
def test_next_block_time__pending_only_where_the_chain_stood_still(
    pending: int | None, time: int
) -> None:
    assert next_block_time(NOW, pending) == time
