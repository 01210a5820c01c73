"""What the SDK answers: frozen values in Decimal, timedelta and datetime.

Amounts are whole tokens, prices USDT a token, rates and LTVs fractions (0.05 is 5 %, rates a year).
None stands for what there is not: no cap, no price, no debt.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal


@dataclass(frozen=True)
class Prices:
    """What the market's oracle says; None where it has no answer."""

    price: Decimal | None
    """Which liquidations go by."""
    low: Decimal | None
    """With `high` the prices that new risk is judged by; None while none may be taken."""
    high: Decimal | None
    volatility: Decimal | None
    """Realised, a year."""


@dataclass(frozen=True)
class Rates:
    """Interest of a pool, simple and a year."""

    utilisation: Decimal
    base: Decimal
    premium: Decimal
    """Of funding."""
    borrow: Decimal
    lending: Decimal
    """After the reserve's fee."""


@dataclass(frozen=True)
class PoolStatus:
    """A pool as of now."""

    address: str
    symbol: str
    """Of its shares."""
    asset: str
    """Symbol of what it lends."""
    collateral: str
    is_paused: bool
    total_assets: Decimal
    total_debt: Decimal
    cash: Decimal
    reserve: Decimal
    share_price: Decimal
    """Assets of one share."""
    supply_cap: Decimal | None
    debt_cap: Decimal | None
    leg_cap: Decimal | None
    """On collateral (reverse pool), or on tokens sold in a block (forward pool)."""
    fee: Decimal
    """The reserve's share of interest."""
    rates: Rates
    funding: Decimal | None
    """As the pool has it, a year; positive where longs pay shorts. None before the first."""
    funding_age: timedelta | None
    oracle_funding: Decimal | None
    """As the oracle has it: the next `sync_funding` brings it."""
    oracle_funding_at: datetime | None
    prices: Prices
    borrow_ltv: Decimal
    """For new debt now."""
    max_ltv: Decimal
    liquidation_ltv: Decimal
    min_debt: Decimal
    max_slippage: Decimal


@dataclass(frozen=True)
class Position:
    """An account in one pool."""

    account: str
    market: str
    leg: str
    """"reverse" or "forward"."""
    shares: Decimal
    lent: Decimal
    """What the shares are worth, in the pool's asset."""
    collateral: Decimal
    debt: Decimal
    """In the pool's asset."""
    collateral_value: Decimal | None
    """In USDT, as all values; None without a price."""
    debt_value: Decimal | None
    ltv: Decimal | None
    health: Decimal | None
    """Liquidatable below 1; None without debt or without a price."""
    is_liquidatable: bool
    liquidation_price: Decimal | None
    free_debt: Decimal
    """That could be borrowed on the collateral as it is, by LTV alone."""
    free_collateral: Decimal
    """That could be taken out, by LTV alone."""
    entry_price: Decimal | None = None
    """Average of a short."""
    unrealised_profit: Decimal | None = None
    """Of a short, net of interest."""
    interest: Decimal | None = None
    """Of a short, in tokens."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing lent, posted or owed."""
        return not (self.shares or self.collateral or self.debt)


@dataclass(frozen=True)
class Problem:
    """Why an action would not go through now."""

    reason: str
    """As the contracts say it."""
    remedy: str


@dataclass(frozen=True)
class BorrowQuote:
    """What borrowing USDT against tokens would give."""

    market: str
    collateral: Decimal
    """Tokens added."""
    usdt: Decimal
    """USDT borrowed."""
    rate: Decimal
    """Borrow rate afterwards."""
    rate_now: Decimal
    after: Position
    borrow_ltv: Decimal
    hedge_ratio: Decimal | None
    """Of the collateral, what a 1x short with all debt as margin hedges: the LTV, as long as the
    price stays. The rest goes up and down with the token."""
    funding: Decimal | None
    carry: Decimal | None
    """A year, of the collateral's value: what such a short collects less the interest, at today's
    funding and rate. Neither stays."""
    problems: tuple[Problem, ...]

    @property
    def is_possible(self) -> bool:
        """Whether it would go through now."""
        return not self.problems


@dataclass(frozen=True)
class ShortQuote:
    """What opening a short would give."""

    market: str
    token_amount: Decimal
    margin: Decimal
    proceeds: Decimal | None
    """USDT that selling brings in now; None where the market cannot be asked."""
    min_proceeds: Decimal | None
    """Proceeds less the slippage that is allowed for."""
    average_price: Decimal | None
    slippage: Decimal | None
    """Of the average price below the oracle's."""
    rate: Decimal
    rate_now: Decimal
    after: Position | None
    leverage: Decimal | None
    """Value sold per margin and surplus of the position."""
    funding: Decimal | None
    """Of the perp. A short here neither gets nor pays it; where it is negative the rate has a
    premium."""
    problems: tuple[Problem, ...]

    @property
    def is_possible(self) -> bool:
        """Whether it would go through now."""
        return not self.problems
