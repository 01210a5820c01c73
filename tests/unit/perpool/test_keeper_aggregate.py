"""From what venues say to one value: medians and their spread."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from perpool.keeper.aggregate import aggregate, consensus, median
from perpool.keeper.model import (
    Consensus,
    Funding,
    Observation,
    Reading,
    ReadingError,
    Values,
)

D = Decimal


def reading(
    venue: str,
    rate: str | None,
    hours: int = 8,
    index: str | None = None,
    mark: str | None = None,
) -> Reading:
    funding = None if rate is None else Funding(D(rate), timedelta(hours=hours))
    prices = [None if each is None else D(each) for each in (index, mark)]
    return Reading(venue, funding, *prices)


def test_median__middle_or_mean_of_the_middle_two() -> None:
    assert median([D(3), D(1), D(2)]) == 2
    assert median([D(4), D(1), D(3), D(2)]) == D("2.5")
    with pytest.raises(ValueError, match="no values"):
        median([])


@pytest.mark.parametrize("least", [-1, 0, 1, 2, 3])
def test_consensus__of_enough_venues(least: int) -> None:
    assert consensus([D(5), D(-1)], least) == (Consensus(D(2), D(6), 2) if least < 3 else None)


def test_consensus__of_none() -> None:
    assert consensus([], 0) is None


def test_aggregate__annual_rates_of_different_intervals() -> None:
    # the same 10.95 % a year, by the hour and by eight; and one venue far off
    readings = (
        reading("a", "0.0001", 8, "1.5"),
        reading("b", "0.0000125", 1, "1.6"),
        reading("c", "-0.0058", 8, "1.4"),
    )
    assert aggregate(Observation("ADA", readings), 3) == Values(
        "ADA",
        Consensus(D("0.1095"), D("0.1095") + D("0.0058") * 1_095, 3),
        Consensus(D("1.5"), D("0.2"), 3),
    )


def test_aggregate__liar_moves_the_spread_and_not_the_median() -> None:
    readings = [reading(name, "0.0001", index="1.5") for name in "abc"]
    liar = reading("d", "0.03", index="900")
    found = aggregate(Observation("ADA", (*readings, liar)), 3)
    assert found.funding == Consensus(D("0.1095"), D("0.0299") * 1_095, 4)
    assert found.price == Consensus(D("1.5"), D("898.5"), 4)


def test_aggregate__index_before_mark() -> None:
    readings = (
        reading("a", None, index="1.5", mark="9"),
        reading("b", None, mark="1.6"),
        reading("c", None, index="1.7"),
    )
    found = aggregate(Observation("ADA", readings), 3)
    assert found == Values("ADA", None, Consensus(D("1.6"), D("0.2"), 3))


def test_aggregate__too_few_venues() -> None:
    readings = (reading("a", "0.0001", index="1.5"), reading("b", None, index="1.7"))
    both = aggregate(Observation("ADA", readings), 2)
    assert both == Values("ADA", None, Consensus(D("1.6"), D("0.2"), 2))
    assert aggregate(Observation("ADA", readings), 3) == Values("ADA", None, None)
    assert aggregate(Observation("ADA", ()), 0) == Values("ADA", None, None)


@pytest.mark.parametrize(
    ("rate", "hours"), [("NaN", 8), ("Infinity", 8), ("0.1", 0), ("0.1", -8), ("0.1", 25)]
)
def test_funding__of_no_use(rate: str, hours: int) -> None:
    with pytest.raises(ReadingError):
        Funding(D(rate), timedelta(hours=hours))


@pytest.mark.parametrize("price", ["0", "-1", "NaN", "Infinity"])
def test_reading__of_no_use(price: str) -> None:
    for prices in ({"index_price": D(price)}, {"mark_price": D(price)}):
        with pytest.raises(ReadingError):
            Reading("a", None, **prices)
