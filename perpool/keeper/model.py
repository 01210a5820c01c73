"""What the keeper knows, and what it may do. Plain values; no I/O.

What venues say is in Decimals: rates are simple annual rates, 1 = 100 %, positive when longs pay
shorts; prices are USDT for one whole token. What is signed and on chain is in integers: rates in
1e-9 a year, prices in WAD. Times are unix seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Literal

from perpool.chain import Call
from perpool.evm.codec import canonical
from perpool.reports import LANES, Domain, SignedReport

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


# -- reports --


@dataclass(frozen=True, slots=True)
class Subject:
    """What a report is about; reports of one subject make a round."""

    contract: str
    """The funding oracle or a price feed."""
    observed_at: int
    tokens: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Round:
    """Verified reports of one subject, of a quorum of its reporters at least."""

    kind: Literal["funding", "price"]
    subject: Subject
    reports: tuple[SignedReport, ...]
    medians: tuple[int | None, ...]
    """What the chain will find for each token, None where too few have a value: funding in 1e-9 a
    year, a price in WAD."""


# -- on chain --


@dataclass(frozen=True, slots=True)
class Seats:
    """Who may report to a contract."""

    kind: Literal["funding", "price"]
    domain: Domain
    reporters: tuple[str, ...]
    quorum: int
    max_report_age: int
    """Seconds."""
    tokens: frozenset[str]
    """What may be reported there."""

    def values_for(self, count: int) -> int:
        """How many values a report of `count` tokens has; rates are packed."""
        return -(-count // LANES) if self.kind == "funding" else count


@dataclass(frozen=True, slots=True)
class FundingFeed:
    """A token in the funding oracle, rates in 1e-9 a year; `observed_at` 0 before a round."""

    median: int
    ema: int
    lower: int
    upper: int
    observed_at: int


@dataclass(frozen=True, slots=True)
class PriceRound:
    """The newest round of a market's price feed; `observed_at` 0 before the first."""

    price_wad: int
    observed_at: int
    held: bool
    """The largest move a round held the price back, and another round should follow."""
    spacing: int
    """Least seconds to the next round."""


@dataclass(frozen=True, slots=True)
class PoolClock:
    """When the funding that a pool has cached was observed."""

    address: str
    funding_time: int


@dataclass(frozen=True, slots=True)
class MarketState:
    """A market on chain."""

    market: str
    token: str
    price_feed: str | None
    """None where the price is not ours to report (a Chainlink feed)."""
    funding: FundingFeed
    price: PriceRound | None
    pools: tuple[PoolClock, ...]
    volatility_due: bool
    """Whether the price oracle would take an observation now."""


@dataclass(frozen=True, slots=True)
class Position:
    """What an account has and owes in a pool; `opened_block` 0 on the reverse pool.

    Of a vault, what its controller waits for: assets to deposit, shares to redeem.
    """

    account: str
    collateral: int
    debt_shares: int
    opened_block: int = 0


# -- decisions --


@dataclass(frozen=True, slots=True)
class Policy:
    """When something is worth a transaction."""

    funding_heartbeat: timedelta = timedelta(hours=1)
    funding_threshold: Decimal = Decimal("0.1")
    """Change of the median, annual rate, that does not wait for the heartbeat."""
    price_heartbeat: timedelta = timedelta(minutes=30)
    price_threshold: Decimal = Decimal("0.005")
    """Change of the price, as a fraction of it, that does not wait for the heartbeat."""

    def heartbeat(self, feed: str) -> timedelta:
        """Of "funding" or "price"."""
        return self.funding_heartbeat if feed == "funding" else self.price_heartbeat


@dataclass(frozen=True, slots=True)
class ReportFunding:
    """Submit a round of the funding oracle."""

    round: Round
    rates: tuple[tuple[str, int], ...]
    """(market, median in 1e-9 a year after the bounds) of what it will change."""


@dataclass(frozen=True, slots=True)
class ReportPrice:
    """Submit a round of a market's price feed."""

    market: str
    round: Round
    price_wad: int
    """The median, before the largest move."""


@dataclass(frozen=True, slots=True)
class SyncFunding:
    """Have a pool take in the oracle's funding."""

    market: str
    pool: str
    observed_at: int
    """Of the funding that it lacks."""


@dataclass(frozen=True, slots=True)
class ObservePrice:
    """Have a price oracle fold its price into the realised volatility."""

    market: str
    time: int


Action = ReportFunding | ReportPrice | SyncFunding | ObservePrice


# -- what is sent --


@dataclass(frozen=True, slots=True)
class Intent:
    """One thing to bring about; kind, subject and time are its key."""

    kind: str
    """"funding", "price", "sync", "observe", "liquidation", or a `rebalancer.decide.Work`."""
    subject: str
    """A market's symbol, a pool's or vault's address, or with an account after a slash."""
    time: int
    """Of the observation or the block that it was decided on, in unix seconds."""
    value: str = ""


@dataclass(frozen=True, slots=True)
class Parcel:
    """A call, and what it is to bring about."""

    intents: tuple[Intent, ...]
    to: str
    data: bytes

    @property
    def call(self) -> Call:
        """For trying it on a node."""
        return Call(canonical(self.to), self.data)
