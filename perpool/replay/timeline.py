"""The history as a vault meets it: an hour after the other, with what accrues and what is known.

    for moment in timeline(history, start, end): ...

A moment is the end of an hour. Its price is the close; where a market has no candles, the straight
line between the mark prices of two settlements. Its `accruing` is what the venue charges from then
until the next moment: the rate that settles at the end of the interval, so that what accrues
continuously over an interval is what was settled for it. Its `average` is the oracle's, of
settlements up to then, and so knows nothing of the one that is accruing.

In a gap of the prices there are no moments; where funding is missing nothing accrues. Rates are
annual in WAD, prices in 1e36 of USDT's smallest unit per smallest unit of the token.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import NamedTuple

from perpool.history import HOUR, HistoryError, MarketHistory, Settlement, iso
from perpool.reference.oracle import RATE_UNIT_WAD, FundingFeed
from perpool.reports import rate_units

TOKEN_DECIMALS, USDT_DECIMALS = 18, 6
PRICE_DIGITS = 12
"""Decimals of a price, as the feed on chain has them."""
TAU = 86_400
BOUND_UNITS = 10 * 10**9
"""Of the funding feed: 1,000 % a year either way, as deployments have it by default."""
WHOLE_PRICE: int = 10 ** (36 + USDT_DECIMALS - TOKEN_DECIMALS)
"""A price of one USDT a token, in 1e36 of the smallest units."""
_SCALE: int = 10 ** (36 + USDT_DECIMALS - TOKEN_DECIMALS - PRICE_DIGITS)


class Moment(NamedTuple):
    """The end of an hour."""

    time: int
    price_e36: int
    low_e36: int
    """Of the hour that ends; the close where there is no candle."""
    high_e36: int
    accruing_wad: int
    """Annual rate from now until the next moment, positive when longs pay shorts."""
    average_wad: int
    """The oracle's EMA."""
    observed_at: int
    """Time of the newest settlement in it; 0 before the first."""


def answer(price: Decimal) -> int:
    """A price as the feed on chain has it, rounded down."""
    return int(price.scaleb(PRICE_DIGITS))


def price_e36(price: Decimal) -> int:
    """A price as the price oracle has it."""
    return answer(price) * _SCALE


def answer_of(price: int) -> int:
    """The feed's answer that makes a price in 1e36."""
    return price // _SCALE


def timeline(history: MarketHistory, start: int, end: int) -> list[Moment]:
    """Moments from `start` to `end`, both included.

    Averages include what was settled before `start`. Raises HistoryError where nothing is left.
    """
    averages = _Averages(history.settlements)
    accruals = _Accruals(history.settlements)
    moments = [
        Moment(time, *prices, accruals.at(time), *averages.at(time))
        for time, prices in _prices(history)
        if start <= time <= end
    ]
    # without funding on both sides there is nothing to carry
    first, last = history.settlements[0].time, history.settlements[-1].time
    moments = [each for each in moments if first <= each.time <= last]
    if len(moments) < 2:
        raise HistoryError(
            f"{history.symbol} has no hours with both prices and funding between {iso(start)} "
            f"and {iso(end)}"
        )
    return moments


def interpolated(history: MarketHistory) -> bool:
    """Whether hourly prices are a line between mark prices."""
    return not history.candles


def _prices(history: MarketHistory) -> Iterator[tuple[int, tuple[int, int, int]]]:
    """Times and (close, low, high)."""
    if history.candles:
        for candle in history.candles:
            low, high = price_e36(candle.low), price_e36(candle.high)
            yield candle.closed_at, (price_e36(candle.close), low, high)
        return
    marked = [(s.time, s.mark_price) for s in history.settlements if s.mark_price is not None]
    for (time, price), (following, next_price) in pairwise(marked):
        hours = (following - time) // HOUR
        for hour in range(hours):
            between = price_e36(price + (next_price - price) * hour / hours)
            yield time + hour * HOUR, (between, between, between)
    if marked:
        time, price = marked[-1]
        yield time, (price_e36(price),) * 3


class _Accruals:
    """What accrues from a time on."""

    def __init__(self, settlements: Sequence[Settlement]) -> None:
        self.settlements = settlements
        self.times = [each.time for each in settlements]

    def at(self, time: int) -> int:
        """The rate of the interval that the time is in; 0 where none is known."""
        index = bisect_right(self.times, time)
        if index == len(self.times):
            return 0
        settlement = self.settlements[index]
        if time < settlement.time - settlement.hours * HOUR:
            return 0
        return int(settlement.annual_rate.scaleb(18))


class _Averages:
    """What the oracle says at a time."""

    def __init__(self, settlements: Sequence[Settlement]) -> None:
        feed = FundingFeed(-BOUND_UNITS, BOUND_UNITS, TAU)
        self.times: list[int] = []
        self.values: list[int] = []
        for each in settlements:
            feed = feed.fold(each.time, rate_units(each.annual_rate))
            self.times.append(each.time)
            self.values.append(feed.ema * RATE_UNIT_WAD)

    def at(self, time: int) -> tuple[int, int]:
        """(EMA in WAD, time of its newest settlement), (0, 0) before the first."""
        index = bisect_right(self.times, time) - 1
        return (self.values[index], self.times[index]) if index >= 0 else (0, 0)
