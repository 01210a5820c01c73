"""What the keeper knows, and what it may do. Plain values; no I/O.

Rates are simple annual rates as Decimal, 1 = 100 %, positive when longs pay shorts. Prices are USDT
for one whole token. Times are unix seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal

YEAR_HOURS = 8_760
SHORTEST_INTERVAL = timedelta(minutes=1)
LONGEST_INTERVAL = timedelta(hours=24)


class ReadingError(ValueError):
    """What a venue says is of no use; the message says why."""


@dataclass(frozen=True, slots=True)
class Funding:
    """A funding rate with the interval it is paid for; intervals differ by venue and change."""

    rate: Decimal
    """Fraction of the notional a settlement."""
    interval: timedelta

    def __post_init__(self) -> None:
        if not self.rate.is_finite():
            raise ReadingError(f"the funding rate is {self.rate}")
        if not SHORTEST_INTERVAL <= self.interval <= LONGEST_INTERVAL:
            raise ReadingError(f"the funding interval is {self.interval}")

    @property
    def annual(self) -> Decimal:
        """rate * 8760 / hours of the interval."""
        return self.rate * YEAR_HOURS * 3_600 / int(self.interval.total_seconds())


@dataclass(frozen=True, slots=True)
class Reading:
    """What one venue says of one market; None where it has no such value."""

    venue: str
    funding: Funding | None
    index_price: Decimal | None = None
    """Of the spot markets that the venue follows."""
    mark_price: Decimal | None = None
    """By which the venue values positions."""
    time: int | None = None
    """Of the answer, by the venue's clock."""

    def __post_init__(self) -> None:
        for name, price in (("index", self.index_price), ("mark", self.mark_price)):
            if price is not None and not (price.is_finite() and price > 0):
                raise ReadingError(f"the {name} price is {price}")

    @property
    def price(self) -> Decimal | None:
        """The index price, which no order on the venue moves; the mark price where it has none."""
        return self.mark_price if self.index_price is None else self.index_price


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A venue that takes no part in a round, and why."""

    venue: str
    reason: str
    kind: str = "unreachable"
    """The reason's class, for a metric: "unreachable", "slow", "malformed", "stale", ..."""


@dataclass(frozen=True, slots=True)
class Observation:
    """A market as the venues have it at one moment."""

    market: str
    readings: tuple[Reading, ...]
    left_out: tuple[LeftOut, ...] = ()


@dataclass(frozen=True, slots=True)
class Consensus:
    """What several venues agree on."""

    median: Decimal
    spread: Decimal
    """The largest value less the smallest: the further apart venues are, the less it says."""
    venues: int


@dataclass(frozen=True, slots=True)
class Values:
    """What a reporter signs of a market; None where too few venues have a value."""

    market: str
    funding: Consensus | None
    price: Consensus | None


# -- on chain --


@dataclass(frozen=True, slots=True)
class FundingFeed:
    """A token in the funding oracle; `observed_at` 0 before its first round."""

    median: Decimal
    ema: Decimal
    observed_at: int


@dataclass(frozen=True, slots=True)
class PriceRound:
    """The newest round of a market's price feed; `observed_at` 0 before the first.

    `held` says that the largest move a round held it back, and a further one should follow.
    """

    price: Decimal
    observed_at: int
    held: bool
    spacing: int
    """Least seconds to the next round."""


@dataclass(frozen=True, slots=True)
class PoolClock:
    """When the funding that a pool has cached was observed."""

    address: str
    funding_time: int


@dataclass(frozen=True, slots=True)
class MarketState:
    """A market on chain at a time."""

    market: str
    time: int
    funding: FundingFeed
    price: PriceRound | None
    """None where the price is not ours to report (a Chainlink feed)."""
    pools: tuple[PoolClock, ...]
    volatility_due: bool
    """Whether the price oracle would take an observation now."""


# -- decisions --


@dataclass(frozen=True, slots=True)
class Policy:
    """When something is worth a transaction."""

    min_venues: int = 3
    """Fewer readings than this, and nothing is reported."""
    funding_heartbeat: timedelta = timedelta(hours=1)
    funding_threshold: Decimal = Decimal("0.1")
    """Change of the median, annual rate, that does not wait for the heartbeat."""
    price_heartbeat: timedelta = timedelta(minutes=30)
    price_threshold: Decimal = Decimal("0.005")
    """Change of the price, as a fraction of it, that does not wait for the heartbeat."""


@dataclass(frozen=True, slots=True)
class ReportFunding:
    """Sign and submit one round of the funding oracle."""

    observed_at: int
    rates: tuple[tuple[str, Decimal], ...]
    """(market, annual rate)"""


@dataclass(frozen=True, slots=True)
class ReportPrice:
    """Sign and submit one round of a market's price feed."""

    market: str
    observed_at: int
    price: Decimal


@dataclass(frozen=True, slots=True)
class SyncFunding:
    """Have a pool take in the oracle's funding."""

    market: str
    pool: str


@dataclass(frozen=True, slots=True)
class ObservePrice:
    """Have a price oracle fold its price into the realised volatility."""

    market: str


Action = ReportFunding | ReportPrice | SyncFunding | ObservePrice


@dataclass(frozen=True)
class Outcome:
    """What one round did."""

    done: tuple[Action, ...] = ()
    failed: tuple[tuple[Action, str], ...] = field(default=())
    """Actions and the reason of each."""
    unheard: tuple[str, ...] = ()
    """Markets for which too few venues had a value."""
