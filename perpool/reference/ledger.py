"""Reference model of a pool's totals: shares, accrual, the reserve's fee, what rounds which way.

    uncharged fee = (cash + debt - charged assets) * fee
    share price = (cash + debt - uncharged fee + 1) / (shares + virtual shares)

Assets and debt in the asset's smallest unit, shares in theirs, times in seconds, funding in WAD a
year (a multiple of 1e-9 of it). Interest and debt round up, fee shares down; shares for assets in
and assets for shares out down, shares for assets out and assets for shares in up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from perpool.reference import interest
from perpool.reference.arithmetic import (
    MAX_UINT128,
    half,
    mul_div_down,
    mul_div_up,
    refuse,
    word,
)
from perpool.reference.interest import LegParameters

FUNDING_UNIT = 10**9
LARGEST_FUNDING = (2**47 - 1) * FUNDING_UNIT
HEADROOM = 2**120
"""Deposits and borrows stop here, so that interest has room up to 2**128."""
PAUSED, HOOKED, CAPPED, STANDARD = 1, 2, 4, 8


@dataclass(frozen=True)
class State:
    """All totals of a pool, the stored part of `IPool.State` in its order."""

    cash: int = 0
    debt_assets: int = 0
    debt_shares: int = 0
    charged_assets: int = 0
    """Of all assets, those on whose interest the fee has been charged."""
    supply_shares: int = 0
    reserve_shares: int = 0
    updated_at: int = 0
    funding_time: int = 0
    funding_wad: int = 0
    flags: int = CAPPED

    @property
    def all_assets(self) -> int:
        """Cash and debt."""
        return self.cash + self.debt_assets

    @property
    def uncharged_fee(self) -> int:
        """The reserve's part of interest that is not yet shares, rounded down."""
        return (self.all_assets - self.charged_assets) * self.fee_permille // 1000

    @property
    def supply_assets(self) -> int:
        """What the shares claim."""
        return self.all_assets - self.uncharged_fee

    @property
    def fee_permille(self) -> int:
        """The reserve's part of interest, in thousandths."""
        return self.flags >> 8

    @property
    def paused(self) -> bool:
        """Whether new risk is stopped."""
        return bool(self.flags & PAUSED)

    @property
    def hooked(self) -> bool:
        """Whether a hook is told of changes."""
        return bool(self.flags & HOOKED)

    @property
    def capped(self) -> bool:
        """Whether the caps are looked at."""
        return bool(self.flags & CAPPED)

    def move(self, **changes: int) -> State:
        """The State with amounts added; below zero or past a word the chain reverts."""
        return replace(self, **{key: word(getattr(self, key) + by) for key, by in changes.items()})


class Accrual(NamedTuple):
    """An accrual and what it came to."""

    state: State
    rate: int
    """Borrow rate that it began with, WAD."""
    interest: int


class WriteOff(NamedTuple):
    """Bad debt realised, and who bore it."""

    state: State
    loss: int
    from_reserve: int
    burnt: int
    """Reserve shares."""


def cut_funding(funding_wad: int) -> int:
    """What the clock word can hold of a rate: whole units of 1e-9, cut towards zero."""
    units = abs(funding_wad) // FUNDING_UNIT * FUNDING_UNIT
    return min(units, LARGEST_FUNDING) * (1 if funding_wad >= 0 else -1)


def virtual_shares(decimals: int) -> int:
    """Shares per asset in an empty pool: 10**min(6, max(0, 24 - decimals))."""
    shares: int = 10 ** min(6, max(0, 24 - decimals))
    return shares


@dataclass(frozen=True)
class Ledger:
    """The arithmetic of one pool. `direction` is +1 on the reverse leg, -1 on the forward leg."""

    leg: LegParameters
    direction: int
    virtual: int

    # -- interest --

    def accrue(self, state: State, now: int) -> Accrual:
        """The State as of now. Saturates, never reverts."""
        elapsed = now - state.updated_at
        state = replace(state, updated_at=now)
        if elapsed == 0 or state.debt_assets == 0:
            return Accrual(state, 0, 0)
        fresh_until = state.funding_time + self.leg.funding_max_age
        fresh = min(max(fresh_until - (now - elapsed), 0), elapsed)
        used = interest.utilisation(state.debt_assets, state.all_assets)
        with_premium = interest.borrow_rate(self.leg, used, self.direction * state.funding_wad)
        without = interest.borrow_rate(self.leg, used, 0)
        gained = interest.interest(state.debt_assets, with_premium, fresh)
        gained += interest.interest(state.debt_assets + gained, without, elapsed - fresh)
        gained = min(gained, MAX_UINT128 - state.all_assets)
        return Accrual(state.move(debt_assets=gained), with_premium if fresh else without, gained)

    def charge(self, state: State) -> tuple[State, int]:
        """The fee becomes shares of the reserve, rounded down: the State and how many."""
        shares = self.to_shares_down(state, state.uncharged_fee)
        shares = min(shares, MAX_UINT128 - state.supply_shares)
        state = replace(state, charged_assets=state.all_assets)
        return state.move(supply_shares=shares, reserve_shares=shares), shares

    # -- shares of the supply --

    def to_shares_down(self, state: State, assets: int) -> int:
        """Shares that assets are worth, rounded down."""
        return mul_div_down(assets, state.supply_shares + self.virtual, state.supply_assets + 1)

    def to_shares_up(self, state: State, assets: int) -> int:
        """Shares that assets are worth, rounded up."""
        return mul_div_up(assets, state.supply_shares + self.virtual, state.supply_assets + 1)

    def to_assets_down(self, state: State, shares: int) -> int:
        """Assets that shares are worth, rounded down."""
        return mul_div_down(shares, state.supply_assets + 1, state.supply_shares + self.virtual)

    def to_assets_up(self, state: State, shares: int) -> int:
        """Assets that shares are worth, rounded up."""
        return mul_div_up(shares, state.supply_assets + 1, state.supply_shares + self.virtual)

    # -- shares of the debt --

    def debt_of_shares(self, state: State, shares: int) -> int:
        """What debt shares owe, rounded up."""
        return mul_div_up(shares, state.debt_assets, state.debt_shares) if shares else 0

    def debt_shares_up(self, state: State, assets: int) -> int:
        """Shares of a new debt, rounded up."""
        if state.debt_assets == 0:
            return word(assets * self.virtual)
        return mul_div_up(assets, state.debt_shares, state.debt_assets)

    def split_repayment(self, state: State, assets: int, position_shares: int) -> tuple[int, int]:
        """(assets, shares) that a position takes of a repayment: all, or shares rounded down."""
        owed = self.debt_of_shares(state, position_shares)
        if assets >= owed:
            return owed, position_shares
        return assets, mul_div_down(assets, state.debt_shares, state.debt_assets)

    def write_off(self, state: State, shares: int) -> WriteOff:
        """Realise debt that nothing backs, of a charged State: the reserve loses first."""
        loss = self.debt_of_shares(state, shares)
        from_reserve = min(loss, self.to_assets_down(state, state.reserve_shares))
        burnt = min(self.to_shares_up(state, from_reserve), state.reserve_shares)
        state = state.move(
            debt_assets=-loss,
            debt_shares=-shares,
            charged_assets=-loss,
            supply_shares=-burnt,
            reserve_shares=-burnt,
        )
        return WriteOff(state, loss, from_reserve, burnt)

    # -- limits --

    def check_not_paused(self, state: State) -> None:
        """Raises "paused"."""
        if state.paused:
            refuse("paused")

    def check_cash(self, state: State, assets: int) -> None:
        """An amount above zero, which the pool has."""
        if assets == 0:
            refuse("zero amount")
        if assets > state.cash:
            refuse("insufficient cash")

    def check_dust(self, debt: int) -> None:
        """A position owes nothing or at least `min_debt`."""
        if 0 < debt < self.leg.min_debt:
            refuse("below minimum debt")

    def check_packable(self, state: State) -> None:
        """All totals fit their half words."""
        for total in (
            state.cash,
            state.debt_assets,
            state.debt_shares,
            state.charged_assets,
            state.supply_shares,
        ):
            half(total)
