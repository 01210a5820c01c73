# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Ledger of a pool: its cash, its debt and its clock
@license AGPL-3.0-only
@notice Two words (`packing` assets and clock). A call loads them once into Totals, accrues, changes them and stores it.
        All assets are cash + debt, so interest reaches the lenders without a word of theirs: `supply` has what they
        own of it, and only what they do, or bad debt, touches that.
@dev ASSUMPTIONS. A position owes nothing or at least the market's minimum debt, so the debt side needs no virtual
     shares: there is debt exactly while there are debt shares.
@dev LIVENESS. Accrual saturates and never reverts; it asks nobody. Funding is pushed in by `sync_funding`, and its
     premium ends exactly `funding_max_age` after its observation.
@dev ROUNDING. Interest, debt and its shares up; shares for a repayment down.
"""
from interfaces import IPool
from contracts.modules import errors
from contracts.modules import market
from contracts.modules import packing
from contracts.modules import rate_model
from contracts.modules import wad_math

uses: market

MAX_UINT128: constant(uint256) = 2**128 - 1

# Deposits and borrows stop 8 bits below what a word can hold, so interest has room.
HEADROOM: constant(uint256) = 2**120

# +1 where the leg's borrowers collect positive funding (reverse), -1 where they collect negative (forward).
DIRECTION: immutable(int256)


# The two words, taken apart.
struct Totals:
    cash: uint256
    debt_assets: uint256
    debt_shares: uint256
    clock: uint256  # `packing` clock
    # of the accrual that led here, zero as stored
    borrow_rate: uint256
    interest: uint256


# cash | debt assets
assets_word: uint256
# clock | debt shares
clock_word: uint256

# supply cap | debt cap, read only while the CAPPED flag is up
caps_word: uint256


@deploy
def __init__(direction: int256):
    DIRECTION = direction
    # all caps are zero until the owner sets them
    self.clock_word = packing.FIRST_CLOCK | block.timestamp


# --- load, accrue, store


@internal
@view
def _load() -> Totals:
    assets: uint256 = self.assets_word
    clock: uint256 = self.clock_word
    return Totals(
        cash=assets & MAX_UINT128,
        debt_assets=assets >> 128,
        debt_shares=clock >> 128,
        clock=clock & MAX_UINT128,
        borrow_rate=0,
        interest=0,
    )


@internal
def _store(totals: Totals):
    self.assets_word = packing._pack_halves(totals.cash, totals.debt_assets)
    self.clock_word = packing._pack_halves(totals.clock, totals.debt_shares)


@internal
def _accrue() -> Totals:
    """
    @notice The Totals as of now, with its event. The caller stores it.
    """
    totals: Totals = self._peek()
    if totals.interest > 0:
        log IPool.Accrue(
            borrow_rate_wad=totals.borrow_rate,
            funding_wad=packing._clock_funding(totals.clock),
            interest=totals.interest,
        )
    return totals


@internal
@view
def _peek() -> Totals:
    """
    @notice The Totals as of now, for what only reads.
    """
    totals: Totals = self._load()
    started_at: uint256 = packing._clock_time(totals.clock)
    totals.clock = packing._with_time(totals.clock, block.timestamp)
    if started_at == block.timestamp or totals.debt_assets == 0:
        return totals

    # while the funding was fresh the rate carried the premium, the rest of the time it did not; times have 32 bits
    fresh_until: uint256 = min(
        unsafe_add(packing._clock_funding_time(totals.clock), market.CONFIG.leg.funding_max_age),
        block.timestamp,
    )
    # both fit 128 bits, and so does their sum: `supply` and the interest below see to it
    assets: uint256 = unsafe_add(totals.cash, totals.debt_assets)
    base: uint256 = rate_model._base_rate(market.CONFIG.leg, totals.debt_assets, assets)
    totals.borrow_rate = base
    interest: uint256 = 0
    if fresh_until > started_at:
        premium: uint256 = rate_model._premium(
            market.CONFIG.leg.pass_through, DIRECTION * packing._clock_funding(totals.clock)
        )
        totals.borrow_rate = min(base + premium, market.CONFIG.leg.rate_cap)
        interest = rate_model._interest(
            totals.debt_assets, totals.borrow_rate, unsafe_sub(fresh_until, started_at)
        )
        started_at = fresh_until
    if started_at < block.timestamp:
        interest += rate_model._interest(
            totals.debt_assets + interest, base, unsafe_sub(block.timestamp, started_at)
        )
    totals.interest = min(interest, unsafe_sub(MAX_UINT128, assets))
    totals.debt_assets = unsafe_add(totals.debt_assets, totals.interest)
    return totals


# --- shares of the debt


@internal
@pure
def _owed(debt_shares: uint256, all_debt: uint256, all_debt_shares: uint256) -> uint256:
    """
    @notice What some of the debt shares owe, rounded up; all shares owe exactly all debt.
    """
    if debt_shares == 0:
        return 0
    return wad_math._mul_div_up(debt_shares, all_debt, all_debt_shares)


@internal
@view
def _debt_shares_up(assets: uint256, all_debt: uint256, all_debt_shares: uint256) -> uint256:
    if all_debt == 0:
        return assets * market.CONFIG.virtual_shares
    return wad_math._mul_div_up(assets, all_debt_shares, all_debt)


@internal
@pure
def _shares_repaid(
    assets: uint256,
    owed: uint256,
    debt_shares: uint256,
    all_debt: uint256,
    all_debt_shares: uint256,
) -> uint256:
    """
    @notice Of a position that owes `owed` for `debt_shares`, the shares that `assets` pay for.
    @return All of them where `assets` is all that is owed, else rounded down.
    """
    if assets == owed:
        return debt_shares
    return wad_math._mul_div_down(assets, all_debt_shares, all_debt)


@internal
@pure
def _lend(totals: Totals, assets: uint256, shares: uint256) -> Totals:
    """
    @param assets At most the cash: the sum of both stays as it is.
    """
    changed: Totals = totals
    changed.cash = unsafe_sub(totals.cash, assets)
    changed.debt_assets = unsafe_add(totals.debt_assets, assets)
    changed.debt_shares += shares
    return changed


@internal
@pure
def _take_back(totals: Totals, assets: uint256, shares: uint256) -> Totals:
    """
    @param assets At most what a position owes, and so of all debt: the sum of both stays as it is.
    @param shares At most the position's.
    """
    changed: Totals = totals
    changed.cash = unsafe_add(totals.cash, assets)
    changed.debt_assets = unsafe_sub(totals.debt_assets, assets)
    changed.debt_shares = unsafe_sub(totals.debt_shares, shares)
    return changed


# --- limits


@internal
@pure
def _check_not_paused(clock: uint256):
    if packing._clock_flags(clock) & packing.PAUSED_FLAG != 0:
        errors._paused()


@internal
@pure
def _is_capped(clock: uint256) -> bool:
    return packing._clock_flags(clock) & packing.CAPPED_FLAG != 0


@internal
@pure
def _check_cash(totals: Totals, assets: uint256):
    if assets == 0:
        errors._zero_amount()
    if assets > totals.cash:
        errors._insufficient_cash()


@internal
@view
def _check_debt_limits(totals: Totals):
    """
    @notice For the Totals with new debt in it.
    """
    self._check_not_paused(totals.clock)
    if totals.debt_shares >= HEADROOM:
        errors._too_large()
    if self._is_capped(totals.clock) and totals.debt_assets > self.caps_word >> 128:
        errors._debt_cap()


@internal
@view
def _check_dust(debt: uint256):
    """
    @notice A position owes nothing or at least `min_debt`.
    """
    if debt > 0 and debt < market.CONFIG.leg.min_debt:
        errors._dust()


@internal
def _set_caps(supply_cap: uint256, debt_cap: uint256, leg_capped: bool):
    """
    @param supply_cap 2**128 - 1 is no cap, and so is debt_cap; nothing above.
    @param leg_capped Whether a cap of the leg's own has to be looked at too.
    """
    self.caps_word = packing._pack_halves(supply_cap, debt_cap)
    totals: Totals = self._load()
    flags: uint256 = packing._clock_flags(totals.clock) | packing.CAPPED_FLAG
    if supply_cap & debt_cap == MAX_UINT128 and not leg_capped:
        flags ^= packing.CAPPED_FLAG
    totals.clock = packing._with_flags(totals.clock, flags)
    self._store(totals)
