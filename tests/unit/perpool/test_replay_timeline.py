"""The history as a replay of the carry vault meets it."""

from __future__ import annotations

from decimal import Decimal

import pytest

from perpool.history import HOUR, Candle, HistoryError, MarketHistory, Settlement
from perpool.reference.oracle import FundingFeed
from perpool.replay.timeline import BOUND_UNITS, TAU, answer_of, price_e36, timeline

START = 1_617_235_200
RATES = ("0.0001", "0.0003", "-0.0002", "0.0004")
"""Settled at hours 0, 8, 16 and 24."""


def settlements(*, marks: bool = False) -> tuple[Settlement, ...]:
    return tuple(
        Settlement(
            START + 8 * HOUR * index,
            Decimal(rate),
            8,
            Decimal(1 + index) if marks else None,
        )
        for index, rate in enumerate(RATES)
    )


def candle(hour: int, close: str = "1.5") -> Candle:
    price = Decimal(close)
    return Candle(START + hour * HOUR, price, price + 1, price - 1, price)


def history(*, missing: range = range(0), candles: bool = True) -> MarketHistory:
    hours = [hour for hour in range(-2, 24) if hour not in missing]
    made = tuple(candle(hour) for hour in hours) if candles else ()
    return MarketHistory("ADA", settlements(marks=not candles), made, "here")


def moments_of(source: MarketHistory, start: int = START, end: int = START + 24 * HOUR):
    return timeline(source, start, end)


def test_timeline__an_hour_after_the_other() -> None:
    moments = moments_of(history())
    assert [(each.time - START) // HOUR for each in moments] == list(range(25))
    first = moments[0]
    assert first.price_e36 == 15 * 10**23
    assert (first.low_e36, first.high_e36) == (5 * 10**23, 25 * 10**23)


def test_timeline__accrues_what_will_be_settled() -> None:
    """The sum over an interval is the rate that is settled at its end."""
    moments = moments_of(history())
    for index, settled in enumerate(RATES[1:]):
        hours = moments[8 * index : 8 * index + 8]
        assert len({each.accruing_wad for each in hours}) == 1
        total = sum(Decimal(each.accruing_wad) for each in hours) / 8_760 / 10**18
        assert abs(total - Decimal(settled)) < Decimal("1e-17")
    assert moments[-1].accruing_wad == 0, "nothing is known of what comes after the last"


def test_timeline__average_knows_the_past_only() -> None:
    feed = FundingFeed(-BOUND_UNITS, BOUND_UNITS, TAU)
    moments = moments_of(history())
    for index, rate in enumerate(RATES):
        feed = feed.fold(START + 8 * HOUR * index, int(Decimal(rate) * 1_095 * 10**9))
        for each in moments[8 * index : 8 * index + 8]:
            assert each.average_wad == feed.ema * 10**9
            assert each.observed_at == feed.observed_at


def test_timeline__average_is_warm_when_it_starts_later() -> None:
    assert moments_of(history(), START + 9 * HOUR) == moments_of(history())[9:]


def test_timeline__no_moments_without_a_price() -> None:
    """Candles that open at hours 5 to 9 are missing, so closes of 6 to 10."""
    moments = moments_of(history(missing=range(5, 10)))
    assert [(each.time - START) // HOUR for each in moments] == [*range(6), *range(11, 25)]


def test_timeline__a_line_between_mark_prices() -> None:
    moments = moments_of(history(candles=False))
    assert len(moments) == 25
    assert [each.price_e36 for each in moments[:9:4]] == [10**24, 15 * 10**23, 2 * 10**24]
    assert all(each.low_e36 == each.price_e36 == each.high_e36 for each in moments)


def test_timeline__nothing_accrues_in_a_gap_of_funding() -> None:
    late = Settlement(START + 100 * HOUR, Decimal(1), 8)
    source = MarketHistory(
        "ADA", (settlements()[0], late), tuple(map(candle, range(-1, 100))), "here"
    )
    accruing = [each.accruing_wad for each in timeline(source, START, START + 100 * HOUR)]
    assert accruing[:92] == [0] * 92
    assert accruing[92:100] == [1_095 * 10**18] * 8


def test_timeline__nothing_there() -> None:
    with pytest.raises(HistoryError, match="ADA has no hours with both prices and funding"):
        timeline(history(), START - 9 * HOUR, START - 8 * HOUR)


def test_price__as_the_feed_has_it() -> None:
    assert price_e36(Decimal("0.123456789012999")) == 123_456_789_012 * 10**12
    assert answer_of(price_e36(Decimal("1.5"))) == 15 * 10**11
