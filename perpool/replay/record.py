"""What becomes of a vault over a replay: worth, what it came from, states, distances, calls.

Everything is derived from the vault's holdings at the end of each hour, before and after what was
done then. Between two hours only time and price move, so that

    change of worth = (funding - interest) / price + lending + hedge
    hedge           = net USDT * (1 / price - 1 / price before) - short * (price - before) / price

and what calls change at a standing price and time is their cost: fees, slippage, rounding. The five
sum to the change of worth. Worths are tokens, as floats: nothing on chain is decided by them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import NamedTuple

from perpool.history import DAY
from perpool.replay.timeline import TOKEN_DECIMALS, USDT_DECIMALS, WHOLE_PRICE, Moment

TOKEN: int = 10**TOKEN_DECIMALS
USDT: int = 10**USDT_DECIMALS
PARTS = ("funding", "interest", "lending", "costs", "hedge")
STATES = ("lend", "carry", "unwinding")


class Held(NamedTuple):
    """`ICarryVault.Holdings` without the price, and whether the mode is CARRY. Smallest units."""

    idle: int
    lent: int
    collateral: int
    debt: int
    short: int
    equity: int
    cash: int
    carrying: bool

    @property
    def state(self) -> str:
        """One of STATES: unwinding is LEND with a short or a debt left."""
        if self.carrying:
            return "carry"
        return "unwinding" if self.short or self.debt else "lend"

    @property
    def tokens(self) -> float:
        """Whole tokens, however held."""
        return (self.idle + self.lent + self.collateral) / TOKEN

    @property
    def net_usdt(self) -> float:
        """Whole USDT beside the tokens: equity and cash less debt."""
        return (self.equity + self.cash - self.debt) / USDT

    def worth(self, price: float) -> float:
        """In tokens."""
        return self.tokens + self.net_usdt / price


class Risk(NamedTuple):
    """How far a vault is from either liquidation, as moves of the price. None without a leg."""

    rise: float | None
    """Of the price, until the short is liquidated; below zero once it can be."""
    fall: float | None
    """Of the price, until the loan is liquidated; below zero once it can be."""
    margin: float | None
    """Equity over notional."""
    ltv: float | None


@dataclass(frozen=True)
class Bounds:
    """Where either leg is liquidated. Fractions."""

    maintenance: float
    liquidation_ltv: float


def risk_of(held: Held, price: float, bounds: Bounds, at: float | None = None) -> Risk:
    """Distances at a price `at` (that of `held.equity` where none is given)."""
    at = price if at is None else at
    rise = fall = margin = ltv = None
    if held.short:
        short = held.short / TOKEN
        # equity + short * price is what does not move with the price
        backing = held.equity / USDT + short * price
        margin = (backing - short * at) / (short * at)
        rise = backing / (short * (1 + bounds.maintenance)) / at - 1
    if held.debt:
        value = held.collateral / TOKEN * at
        ltv = held.debt / USDT / value if value else float("inf")
        fall = 1 - ltv / bounds.liquidation_ltv
    return Risk(rise, fall, margin, ltv)


@dataclass
class Worst:
    """The least of something, and when."""

    value: float | None = None
    time: int = 0

    def note(self, value: float | None, time: int) -> None:
        """Take one more into account."""
        if value is not None and (self.value is None or value < self.value):
            self.value, self.time = value, time


@dataclass
class Day:
    """A vault at the end of a day (UTC), and its worst on it."""

    time: int
    price: float
    worth: float
    """Tokens that a token put in has become."""
    rise: float | None = None
    fall: float | None = None
    state: str = "lend"
    borrow_rate: float = 0.0
    average: float = 0.0
    """Funding as the oracle has it, a year."""
    ltv: float | None = None


def year_of(time: int) -> int:
    """UTC."""
    return datetime.fromtimestamp(time, UTC).year


@dataclass
class Record:
    """One vault, from its deposit on."""

    name: str
    bounds: Bounds
    wicks: bool
    """Whether distances are judged at the hour's high and low instead of the close."""
    put_in: float = 0.0
    """Tokens."""
    parts: dict[int, dict[str, float]] = field(default_factory=dict)
    """By year: tokens of each of PARTS."""
    hours: Counter[str] = field(default_factory=Counter)
    """In each of STATES."""
    calls: int = 0
    switches: int = 0
    gas: int = 0
    tips: float = 0.0
    """Part of all shares that callers have got."""
    rise: Worst = field(default_factory=Worst)
    fall: Worst = field(default_factory=Worst)
    margin: Worst = field(default_factory=Worst)
    highest_ltv: float = 0.0
    liquidatable: Counter[str] = field(default_factory=Counter)
    """Hours in which the "short" or the "loan" could be liquidated."""
    days: list[Day] = field(default_factory=list)
    year_ends: dict[int, tuple[float, float]] = field(default_factory=dict)
    """By year: (worth of a token put in, price) at its last hour."""
    _before: tuple[Held, float, int] | None = None

    def begin(self, moment: Moment, held: Held) -> None:
        """After the deposit."""
        price = moment.price_e36 / WHOLE_PRICE
        self.put_in = held.worth(price)
        self._before = held, price, moment.time
        # what a year's yield is measured from
        self.year_ends[year_of(moment.time) - 1] = 1.0, price

    def hour(
        self,
        moment: Moment,
        waiting: Held,
        after: Held,
        *,
        holders: float = 1.0,
        borrow_rate: float = 0.0,
    ) -> None:
        """An hour's end: holdings as time and price left them, and after what was done.

        `holders` is the part of all shares that are not tips.
        """
        assert self._before is not None, "begin comes first"
        before, old, since = self._before
        price = moment.price_e36 / WHOLE_PRICE
        self._judge(moment, waiting, price)
        self._attribute(year_of(since), before, old, waiting, after, price)
        self.hours[before.state] += (moment.time - since) // 3_600
        self.switches += before.carrying != after.carrying
        worth = after.worth(price) * holders / self.put_in
        self.year_ends[year_of(moment.time)] = worth, price
        self._note_day(moment, after, price, worth, borrow_rate)
        self._before = after, price, moment.time

    def _attribute(  # noqa: PLR0917
        self, year: int, before: Held, old: float, waiting: Held, after: Held, price: float
    ) -> None:
        parts = self.parts.setdefault(year, dict.fromkeys(PARTS, 0.0))
        short = before.short / TOKEN
        moved = short * (price - old)
        funding = (waiting.equity + waiting.cash - before.equity - before.cash) / USDT + moved
        parts["funding"] += funding / price
        parts["interest"] -= (waiting.debt - before.debt) / USDT / price
        parts["lending"] += (waiting.lent - before.lent) / TOKEN
        parts["hedge"] += before.net_usdt * (1 / price - 1 / old) - moved / price
        parts["costs"] += after.worth(price) - waiting.worth(price)

    def _judge(self, moment: Moment, waiting: Held, price: float) -> None:
        high = moment.high_e36 / WHOLE_PRICE if self.wicks else price
        low = moment.low_e36 / WHOLE_PRICE if self.wicks else price
        up = risk_of(waiting, price, self.bounds, high)
        down = up if high == low else risk_of(waiting, price, self.bounds, low)
        self.rise.note(up.rise, moment.time)
        self.margin.note(up.margin, moment.time)
        self.fall.note(down.fall, moment.time)
        self.highest_ltv = max(self.highest_ltv, down.ltv or 0.0)
        if up.rise is not None and up.rise < 0:
            self.liquidatable["short"] += 1
        if down.fall is not None and down.fall < 0:
            self.liquidatable["loan"] += 1
        self._worst = up.rise, down.fall

    def _note_day(
        self, moment: Moment, after: Held, price: float, worth: float, borrow_rate: float
    ) -> None:
        day = moment.time // DAY * DAY
        rise, fall = self._worst
        if not self.days or self.days[-1].time != day:
            self.days.append(Day(day, price, worth))
        last = self.days[-1]
        last.price, last.worth, last.state = price, worth, after.state
        last.rise = _least(last.rise, rise)
        last.fall = _least(last.fall, fall)
        last.borrow_rate, last.average = borrow_rate, moment.average_wad / 10**18
        last.ltv = risk_of(after, price, self.bounds).ltv

    @property
    def total(self) -> dict[str, float]:
        """Tokens of each of PARTS, of all years."""
        return {part: sum(each[part] for each in self.parts.values()) for part in PARTS}

    def yields(self) -> Iterator[tuple[int, float, float, float]]:
        """Year, and over it the yield in tokens, that in USDT, and a holder's in USDT."""
        years = sorted(self.year_ends)
        for before, year in pairwise(years):
            worth, price = self.year_ends[before]
            worth_now, price_now = self.year_ends[year]
            tokens, held = worth_now / worth, price_now / price
            yield year, tokens - 1, tokens * held - 1, held - 1


def _least(a: float | None, b: float | None) -> float | None:
    if a is None or b is None:
        return b if a is None else a
    return min(a, b)
