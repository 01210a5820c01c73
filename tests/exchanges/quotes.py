"""What there is to say of a market: always the same, or what was once recorded."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from perpool.history import HOUR, MarketHistory


@dataclass(frozen=True)
class Quote:
    """What an exchange says of a market, in the words of none; any field may be spoilt."""

    name: Any
    """The base token's symbol."""
    rate: Any
    """Of the running interval, a fraction, as text."""
    hours: Any
    """Of the running interval."""
    following: Any
    """When it ends, unix seconds."""
    index: Any
    mark: Any
    past: Sequence[tuple[int, str]] = ()
    """Settlements, (time, rate), oldest first."""
    mark_age: int = 0
    """Seconds; of these five only okx dates its prices apart."""
    open: bool = True
    """Whether it is traded; lists go on to name markets that are not."""
    listed: bool = True
    """Whether binance's list of intervals has it, and hyperliquid's list of names."""


@dataclass(frozen=True)
class Constant:
    """A market of which always the same is said."""

    quote: Quote
    previous_hours: int

    def at(self, now: float) -> Quote:
        interval = self.quote.hours * HOUR
        following = int(now // interval + 1) * interval
        started = following - interval
        past = [(started - n * self.previous_hours * HOUR, self.quote.rate) for n in (2, 1, 0)]
        return replace(self.quote, following=following, past=past)


@dataclass(frozen=True)
class Recording:
    """A market out of history; prices are the newest of `prices`, (time, price) in order."""

    history: MarketHistory
    prices: Sequence[tuple[int, Decimal]]
    times: list[int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "times", [each.time for each in self.history.settlements])

    def at(self, now: float) -> Quote | None:
        position = bisect_right(self.times, now)
        running = next(iter(self.history.settlements[position : position + 1]), None)
        if running is None or now < running.time - running.hours * HOUR:
            return None
        known = bisect_right(self.prices, now, key=lambda each: each[0])
        price = f"{self.prices[known - 1][1] if known else 1:f}"
        past = [
            (each.time, f"{each.rate:f}")
            for each in self.history.settlements[max(0, position - 100) : position]
        ]
        return Quote(
            name=self.history.symbol,
            rate=f"{running.rate:f}",
            hours=running.hours,
            following=running.time,
            index=price,
            mark=price,
            past=past,
        )
