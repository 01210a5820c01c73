"""Reference model of the perp venue's books: totals, positions, funding between the sides.

Sizes are in the token's smallest unit, money in USDT's, prices in 1e36, fractions in WAD.
"""

from __future__ import annotations

from dataclasses import dataclass

from perpool.reference.arithmetic import (
    PRICE_SCALE,
    mul_div_down,
    mul_div_up,
    share_of_down,
    share_of_up,
    word,
)
from perpool.reference.oracle import YEAR
from perpool.reference.wad import WAD, ceil_div


@dataclass(frozen=True)
class PerpParameters:
    """IPerpMarket.Parameters; fractions in WAD of the notional, times in seconds."""

    initial_margin: int
    maintenance_margin: int
    fee: int
    fee_to_insurance: int
    penalty: int
    penalty_to_caller: int
    largest_long_gain: int
    exposure_cap: int
    funding_max_age: int
    adl_horizon: int
    delay_blocks: int


@dataclass
class State:
    """IPerpMarket.State: everything but the accounts."""

    liquidity: int = 0
    shares: int = 0
    insurance: int = 0
    margins: int = 0
    escrows: int = 0
    credits: int = 0
    long_size: int = 0
    short_size: int = 0
    long_entries: int = 0
    short_entries: int = 0
    long_gains: int = 0
    positive_e36: int = 0
    negative_e36: int = 0
    receipts_e36: int = 0
    dues_e36: int = 0
    rate_wad: int = 0
    rate_until: int = 0
    mark_e36: int = 0
    accrued_at: int = 0

    @property
    def receipts(self) -> int:
        """Funding to be received and not settled, rounded up."""
        return ceil_div(self.receipts_e36, PRICE_SCALE)

    @property
    def free(self) -> int:
        """Liquidity that no position can claim."""
        return self.liquidity - self.short_entries - self.long_gains - self.receipts

    @property
    def total(self) -> int:
        """All USDT of the venue."""
        return self.liquidity + self.insurance + self.margins + self.escrows + self.credits

    @property
    def skew(self) -> int:
        """Tokens by which longs and shorts differ."""
        return abs(self.long_size - self.short_size)


@dataclass
class Held:
    """A position as it is stored."""

    size: int = 0
    entry_notional: int = 0
    margin: int = 0
    gain_left: int = 0
    """The most that a long can still gain."""
    positive_e36: int = 0
    negative_e36: int = 0

    @property
    def largest_gain(self) -> int:
        """The most that it can still gain."""
        return self.entry_notional if self.size < 0 else self.gain_left

    def pnl(self, mark: int) -> int:
        """Unrealised profit or loss, rounded down."""
        if self.size < 0:
            return self.entry_notional - value_up(-self.size, mark)
        return min(value_down(self.size, mark) - self.entry_notional, self.gain_left)

    def equity(self, mark: int) -> int:
        """Margin and unrealised profit, where funding is settled."""
        return self.margin + self.pnl(mark)

    def margin_needed(self, mark: int, margin_wad: int) -> int:
        """A fraction of the notional, rounded up."""
        return share_of_up(value_up(abs(self.size), mark), margin_wad)


@dataclass
class Books:
    """One account's position beside the totals, while a call works on both."""

    state: State
    held: Held
    parameters: PerpParameters

    # -- money --

    def add_margin(self, usdt_amount: int) -> None:
        """Into the margin, from outside or from another part of the books."""
        self.held.margin += usdt_amount
        self.state.margins += usdt_amount

    def take_margin(self, usdt_amount: int) -> None:
        """Out of the margin, for the caller to put somewhere else."""
        self.held.margin = word(self.held.margin - usdt_amount)
        self.state.margins -= usdt_amount

    def charge(self, usdt_amount: int) -> None:
        """What a position owes the liquidity pool: out of the margin, then of the profit."""
        from_margin = min(usdt_amount, self.held.margin)
        self.take_margin(from_margin)
        self.state.liquidity += from_margin
        self._worsen_entry(usdt_amount - from_margin)

    def realise(self, usdt_amount: int) -> None:
        """Turn profit into margin and leave the size."""
        self._worsen_entry(usdt_amount)
        self.state.liquidity -= usdt_amount
        self.add_margin(usdt_amount)

    def _worsen_entry(self, usdt_amount: int) -> None:
        if self.held.size < 0:
            lower = min(usdt_amount, self.held.entry_notional)
            self.held.entry_notional -= lower
            self.state.short_entries -= lower
        elif self.held.size > 0:
            gain = min(usdt_amount, self.held.gain_left)
            self.held.entry_notional += usdt_amount
            self.held.gain_left -= gain
            self.state.long_entries += usdt_amount
            self.state.long_gains -= gain

    # -- sizes --

    def forfeit(self, mark: int) -> None:
        """Before a long is added to, its entry moves up by what exceeds its largest gain."""
        held = self.held
        excess = value_down(max(held.size, 0), mark) - held.entry_notional - held.gain_left
        if held.size > 0 and excess > 0:
            held.entry_notional += excess
            self.state.long_entries += excess

    def increase(self, size_delta: int, price: int) -> int:
        """Returns the notional: sold for, rounded down, or bought for, rounded up."""
        size = abs(size_delta)
        if size_delta < 0:
            notional = value_down(size, price)
            self.state.short_size += size
            self.state.short_entries += notional
        else:
            notional = value_up(size, price)
            gain = share_of_down(notional, self.parameters.largest_long_gain)
            self.held.gain_left += gain
            self.state.long_size += size
            self.state.long_entries += notional
            self.state.long_gains += gain
        self.held.size += size_delta
        self.held.entry_notional += notional
        return notional

    def decrease(self, size: int, mark: int) -> int:
        """Returns profit or loss, which has gone into or out of the margin."""
        whole = abs(self.held.size)
        if self.held.size < 0:
            closed = mul_div_down(self.held.entry_notional, size, whole)
            realised = closed - value_up(size, mark)
            self.held.size += size
            self.state.short_size -= size
            self.state.short_entries -= closed
        else:
            closed = mul_div_up(self.held.entry_notional, size, whole)
            gain = mul_div_down(self.held.gain_left, size, whole)
            realised = min(value_down(size, mark) - closed, gain)
            self.held.size -= size
            self.held.gain_left -= gain
            self.state.long_size -= size
            self.state.long_entries -= closed
            self.state.long_gains -= gain
        self.held.entry_notional -= closed
        if realised < 0:
            self.charge(-realised)
        else:
            self.state.liquidity -= realised
            self.add_margin(realised)
        return realised

    # -- funding --

    def accrued_e36(self) -> tuple[int, int]:
        """(receives, pays) times 1e36."""
        size = abs(self.held.size)
        positive = size * (self.state.positive_e36 - self.held.positive_e36)
        negative = size * (self.state.negative_e36 - self.held.negative_e36)
        return (positive, negative) if self.held.size < 0 else (negative, positive)

    @property
    def owed(self) -> int:
        """Funding that the account gets, rounded down: what is paid is rounded up."""
        receipt, due = self.accrued_e36()
        return (receipt - due) // PRICE_SCALE

    def settle_funding(self) -> int:
        """Moves it into or out of the margin. Returns it."""
        receipt, due = self.accrued_e36()
        funding = self.owed
        self.state.receipts_e36 -= receipt
        self.state.dues_e36 -= due
        self.held.positive_e36 = self.state.positive_e36
        self.held.negative_e36 = self.state.negative_e36
        if funding < 0:
            self.charge(-funding)
        else:
            self.state.liquidity -= funding
            self.add_margin(funding)
        return funding

    def horizon(self, mark: int) -> int:
        """What the receiving side gets in `adl_horizon` at the present rate, rounded up."""
        size = self.state.short_size if self.state.rate_wad > 0 else self.state.long_size
        return self.horizon_of(size, mark)

    def horizon_of(self, size: int, mark: int) -> int:
        """The same for so many tokens."""
        rate_and_time = abs(self.state.rate_wad) * self.parameters.adl_horizon
        return mul_div_up(value_up(size, mark), rate_and_time, WAD * YEAR)


def value_down(size: int, price: int) -> int:
    """USDT, rounded down."""
    return mul_div_down(size, price, PRICE_SCALE)


def value_up(size: int, price: int) -> int:
    """USDT, rounded up."""
    return mul_div_up(size, price, PRICE_SCALE)
