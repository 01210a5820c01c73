"""Reference model of the oracles: medians, bounds, funding EMA, price feed, volatility.

Integers throughout, equal to the contracts to the last unit. A funding
rate is in units of 1e-9 a year (`RATE_UNIT_WAD` WAD), a price of `PriceFeed` in WAD, a price of
`PriceOracle` in 1e36 of USDT's smallest unit per smallest unit of token, a time in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isqrt

from perpool.reference.wad import WAD, ceil_div, wad_exp, wad_ln

RATE_UNIT_WAD = 10**9
"""WAD in one unit of a rate."""
E36 = 10**36
YEAR = 365 * 86_400
UNKNOWN_VOLATILITY = 2**256 - 1


def median(values: Sequence[int]) -> int:
    """The middle value, or the mean of the middle two rounded down.

    Raises ValueError when there are none.
    """
    if not values:
        raise ValueError("no values, no median")
    ranked = sorted(values)
    return (ranked[(len(ranked) - 1) // 2] + ranked[len(ranked) // 2]) // 2


def clamp(value: int, lower: int, upper: int) -> int:
    """The value, or the bound it is beyond."""
    return max(min(value, upper), lower)


# -- funding --


def weight_wad(elapsed: int, tau: int) -> int:
    """What a new value counts for in an average: 1 - exp(-elapsed / tau) in WAD.

    The exponent is rounded towards zero.
    """
    return WAD - wad_exp(-(elapsed * WAD // tau))


@dataclass(frozen=True)
class FundingFeed:
    """One token of the funding oracle, rates in units of 1e-9."""

    lower: int
    upper: int
    tau: int
    ema: int = 0
    median: int = 0
    observed_at: int = 0
    clamped: bool = False

    def fold(self, observed_at: int, rate: int) -> FundingFeed:
        """The feed after a round: ema += (median - ema) * weight, and first the median.

        The EMA is rounded to the nearest, halves up.
        """
        held = clamp(rate, self.lower, self.upper)
        ema = held
        if self.observed_at:
            weight = weight_wad(observed_at - self.observed_at, self.tau)
            ema = (self.ema * (WAD - weight) + held * weight + WAD // 2) // WAD
        return replace(self, ema=ema, median=held, observed_at=observed_at, clamped=held != rate)

    def reset(self, lower: int, upper: int, tau: int) -> FundingFeed:
        """The feed under other bounds: EMA and median are moved to the nearer one."""
        if not self.observed_at:
            return FundingFeed(lower, upper, tau)
        return FundingFeed(
            lower,
            upper,
            tau,
            clamp(self.ema, lower, upper),
            clamp(self.median, lower, upper),
            self.observed_at,
        )


@dataclass
class FundingOracle:
    """All tokens of a funding oracle, by address."""

    quorum: int
    feeds: dict[str, FundingFeed] = field(default_factory=dict)

    def set_feed(self, token: str, lower: int, upper: int, tau: int) -> None:
        """Set a token's bounds (units of 1e-9) and time constant (seconds)."""
        self.feeds[token] = self.feeds.get(token, FundingFeed(lower, upper, tau)).reset(
            lower, upper, tau
        )

    def submit(
        self,
        observed_at: int,
        tokens: Sequence[str],
        reports: Sequence[Sequence[int | None]],
    ) -> dict[str, FundingFeed]:
        """Take a round of a quorum's rates, one row a reporter. Returns the feeds updated.

        A token is skipped that was never set, has fewer rates than the quorum, or is not newer.
        """
        updated = {}
        for index, token in enumerate(tokens):
            rates = [rate for row in reports if (rate := row[index]) is not None]
            feed = self.feeds.get(token)
            if feed is None or len(rates) < self.quorum or observed_at <= feed.observed_at:
                continue
            self.feeds[token] = updated[token] = feed.fold(observed_at, median(rates))
        return updated


# -- prices --


@dataclass
class PriceFeed:
    """The signed price feed; prices and `max_move` in WAD."""

    spacing: int
    max_move: int
    price: int = 0
    observed_at: int = 0
    round_id: int = 0
    held: bool = False
    """Whether the largest move held the last price back."""

    def submit(self, observed_at: int, prices: Sequence[int]) -> int:
        """Take a round; returns its id. The largest move is rounded down.

        Raises ValueError where the chain reverts.
        """
        middle = median(prices)
        price = middle
        if self.round_id:
            if observed_at < self.observed_at + self.spacing:
                raise ValueError("round too soon")
            move = self.price * self.max_move // WAD
            price = clamp(middle, self.price - move, min(self.price + move, 2**128 - 1))
        elif not 0 < middle < 2**128:
            raise ValueError("price out of range")
        self.price, self.observed_at, self.held = price, observed_at, price != middle
        self.round_id += 1
        return self.round_id


def price_scale(token_decimals: int, usdt_decimals: int, feed_decimals: int) -> int:
    """What an answer of a feed in USDT is multiplied by to be a price."""
    scale: int = 10 ** (36 + usdt_decimals - token_decimals - feed_decimals)
    return scale


def price_bounds(
    price: tuple[int, int], average: int | None, tolerance_wad: int
) -> tuple[int, int]:
    """(lower, higher) of the feed's own bounds and a TWAP, all in 1e36.

    Raises ValueError where they are further apart than the tolerance allows, of the lower.
    """
    low, high = price
    if average is not None:
        low, high = min(low, average), max(high, average + 1)
        if (high - low) * WAD > low * tolerance_wad:
            raise ValueError("prices disagree")
    return low, high


def feed_price(
    answer: int,
    scale: int,
    usdt_answer: int | None = None,
    usdt_feed_decimals: int = 0,
) -> tuple[int, int]:
    """(lower, higher) price of a feed's answer, where given divided by USDT's.

    The lower is rounded down, the higher up. `scale` is `price_scale(...)`.
    """
    if usdt_answer is None:
        return answer * scale, answer * scale
    product = answer * scale * 10**usdt_feed_decimals
    return product // usdt_answer, ceil_div(product, usdt_answer)


# -- volatility --


@dataclass
class Volatility:
    """Realised volatility of a price in 1e36; variance and volatility in WAD a year."""

    WINDOW = 72 * 3600
    SPACING = 1800
    SILENCE = 12 * 3600
    LARGEST_VARIANCE = (2**40 - 1) ** 2
    LARGEST_COVERED = 2**24 - 1

    variance: int = 0
    observed_at: int = 0
    covered: int = 0
    """Seconds of history, at most `LARGEST_COVERED`."""
    log_price: int = 0

    def observe(self, now: int, price_e36: int) -> bool:
        """Take a price; False where the last was less than SPACING ago. Rounds up throughout."""
        elapsed = now - self.observed_at
        if elapsed < self.SPACING:
            return False
        log_price = wad_ln(price_e36)
        if self.observed_at and elapsed <= self.WINDOW:
            self.covered = min(self.covered + elapsed, self.LARGEST_COVERED)
            weight = max(weight_wad(elapsed, self.WINDOW), elapsed * WAD // self.covered)
            square = (log_price - self.log_price) ** 2
            sample = min(ceil_div(square * YEAR, elapsed * WAD), self.LARGEST_VARIANCE)
            self.variance = ceil_div(self.variance * (WAD - weight) + sample * weight, WAD)
        else:
            self.covered = self.variance = 0
        self.log_price, self.observed_at = log_price, now
        return True

    @property
    def units(self) -> int:
        """Square root of the variance in 1e-9, rounded up."""
        root = isqrt(self.variance)
        return root if root * root == self.variance else root + 1

    def volatility(self, now: int) -> int:
        """WAD a year; `UNKNOWN_VOLATILITY` without a whole window or after a silence."""
        if self.covered < self.WINDOW or now > self.observed_at + self.SILENCE:
            return UNKNOWN_VOLATILITY
        return self.units * 10**9


def funding_wad(feeds: Mapping[str, FundingFeed], token: str) -> tuple[int, int]:
    """What `FundingOracle.funding` returns: (EMA in WAD, its time), (0, 0) before a round."""
    feed = feeds.get(token)
    if feed is None or not feed.observed_at:
        return 0, 0
    return feed.ema * RATE_UNIT_WAD, feed.observed_at
