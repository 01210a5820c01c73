"""Siloed borrowers: a loan posted as margin for a full hedge, and nobody moves profit between them.

A borrower of one token at LTV L borrows L of its value, posts that as margin and shorts one token.
The account as a whole is hedged, and yet either leg is liquidated by itself: the loan at the
pool's liquidation LTV, the short under the venue's maintenance margin. What is asked here is how
often and how soon, so figures are floats; nothing on chain is decided by them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from perpool.history import DAY, YEAR_HOURS
from perpool.replay.timeline import WHOLE_PRICE, Moment

RATE_UNIT = 10**18
HORIZONS = (30, 90)
"""Days."""
SECONDS = YEAR_HOURS * 3_600


@dataclass(frozen=True)
class Terms:
    """What a siloed borrower does and meets. Fractions; fees of the notional traded."""

    ltv: float
    liquidation_ltv: float
    bonus: float
    """Of the repaid debt, what a liquidation of the loan costs."""
    maintenance: float
    """Of the notional, equity under which the short is closed."""
    venue_fee: float
    slippage: float


@dataclass(frozen=True)
class Death:
    """The end of a leg."""

    time: int
    leg: str
    """"loan" or "short"."""


@dataclass
class Borrower:
    """Positions of one token of collateral at first; USDT a whole token."""

    terms: Terms
    tokens: float
    price: float
    """At which it opened."""
    funding: float = 0.0
    debt: float = 0.0

    def __post_init__(self) -> None:
        self.margin = self.debt = self.terms.ltv * self.tokens * self.price
        self.short = self.tokens
        self.margin -= self.terms.venue_fee * self.short * self.price

    def accrue(self, hours: float, price: float, borrow_rate: float, funding_rate: float) -> None:
        """Interest and funding of a stretch."""
        self.debt *= 1 + borrow_rate * hours / YEAR_HOURS
        self.funding += self.short * price * funding_rate * hours / YEAR_HOURS

    def equity(self, price: float) -> float:
        """Of the short."""
        return self.margin + self.funding + self.short * (self.price - price)

    def worth(self, price: float) -> float:
        """Tokens."""
        return self.tokens + (max(self.equity(price), 0) - self.debt) / price

    def failing(self, low: float, high: float) -> str | None:
        """Which leg is liquidated at the worst prices of an hour."""
        if self.debt > self.terms.liquidation_ltv * self.tokens * low:
            return "loan"
        if self.equity(high) < self.terms.maintenance * self.short * high:
            return "short"
        return None

    def closed(self, leg: str, price: float) -> float:
        """Tokens that are left when the leg has been liquidated and the rest closed by himself."""
        lost = self.terms.bonus * self.debt if leg == "loan" else 0.0
        fee = self.terms.venue_fee * self.short * price
        usdt = max(self.equity(price) - fee, 0) - self.debt - lost
        # what is owed is paid by selling tokens, what is left buys some
        cost = 1 - self.terms.slippage if usdt < 0 else 1 + self.terms.slippage
        return max(self.tokens + usdt / price / cost, 0.0)


@dataclass(frozen=True)
class Survival:
    """Of borrowers who started at the first hour of each month."""

    starts: int
    deaths: tuple[tuple[int, Death | None], ...]
    """(start, how it ended)"""
    end: int

    def dead(self, days: int) -> tuple[int, int]:
        """(dead, watched) within so many days, of those whose first so many are in the history."""
        watched = [(s, d) for s, d in self.deaths if s + days * DAY <= self.end]
        return sum(d is not None and d.time <= s + days * DAY for s, d in watched), len(watched)


def survival(moments: Sequence[Moment], rates: Sequence[float], terms: Terms) -> Survival:
    """A start a month. `rates` are the pool's a year, of each moment until the next."""
    starts = month_starts(moments)
    deaths = tuple(
        (moments[index].time, live(moments, rates, terms, index).death) for index in starts
    )
    return Survival(len(starts), deaths, moments[-1].time)


def month_starts(moments: Sequence[Moment]) -> list[int]:
    """Indices of the first moment of each month."""
    found, last = [], None
    for index, moment in enumerate(moments):
        day = datetime.fromtimestamp(moment.time, UTC)
        month = day.year, day.month
        if month != last:
            found.append(index)
        last = month
    return found


@dataclass(frozen=True)
class Life:
    """One borrower from start to end."""

    death: Death | None
    index: int
    """Of the moment of the end."""
    tokens: float
    """What one token has become, closed where it died."""


def live(
    moments: Sequence[Moment],
    rates: Sequence[float],
    terms: Terms,
    start: int,
    *,
    tokens: float = 1.0,
    wicks: bool = False,
    worths: list[float] | None = None,
) -> Life:
    """From the moment of index `start` until a leg is liquidated or the history ends.

    `worths` takes what he has in tokens, a value a moment.
    """
    borrower = Borrower(terms, tokens, moments[start].price_e36 / WHOLE_PRICE)
    if worths is not None:
        worths.append(borrower.worth(borrower.price))
    for index in range(start + 1, len(moments)):
        before, moment = moments[index - 1], moments[index]
        price = moment.price_e36 / WHOLE_PRICE
        hours = (moment.time - before.time) / 3_600
        borrower.accrue(hours, price, rates[index - 1], before.accruing_wad / RATE_UNIT)
        low = moment.low_e36 / WHOLE_PRICE if wicks else price
        high = moment.high_e36 / WHOLE_PRICE if wicks else price
        leg = borrower.failing(low, high)
        if leg is not None:
            left = borrower.closed(leg, low if leg == "loan" else high)
            if worths is not None:
                worths.append(left)
            return Life(Death(moment.time, leg), index, left)
        if worths is not None:
            worths.append(borrower.worth(price))
    return Life(None, len(moments) - 1, borrower.worth(moments[-1].price_e36 / WHOLE_PRICE))


@dataclass(frozen=True)
class Chain:
    """A borrower who starts again with what is left, each time he has been liquidated."""

    worths: list[float]
    """Tokens that one token has become, a value a moment."""
    deaths: list[Death]


def restarted(
    moments: Sequence[Moment], rates: Sequence[float], terms: Terms, *, wicks: bool = False
) -> Chain:
    """Of one token at first."""
    worths: list[float] = []
    deaths: list[Death] = []
    index, tokens = 0, 1.0
    while index < len(moments) - 1 and tokens > 0:
        life = live(moments, rates, terms, index, tokens=tokens, wicks=wicks, worths=worths)
        if life.death is None:
            return Chain(worths, deaths)
        deaths.append(life.death)
        index, tokens = life.index, life.tokens
        worths.pop()  # the restart gives this moment's value
    worths += [tokens] * (len(moments) - len(worths))
    return Chain(worths, deaths)
