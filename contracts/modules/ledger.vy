# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Ledger of a pool
@license AGPL-3.0-only
@notice All of a pool's totals in three words: supply (assets | shares), debt (assets | shares), clock. A call loads
        them once into a State, accrues, changes the State and stores it.
@dev ASSUMPTIONS. A position owes nothing or at least the market's minimum debt, so the debt side needs no virtual
     shares: there is debt exactly while there are debt shares.
@dev LIVENESS. Accrual saturates and never reverts; it asks nobody. Funding is pushed in by `sync_funding`, and its
     premium ends exactly `funding_max_age` after its observation.
@dev ROUNDING. Interest and debt up, fee shares down, shares for assets in and assets for shares out down, shares for
     assets out and assets for shares in up.
"""
from interfaces import IFundingOracle
from interfaces import IPool
from contracts.modules import errors
from contracts.modules import market
from contracts.modules import packing
from contracts.modules import rate_model
from contracts.modules import wad_math

uses: market

MAX_UINT128: constant(uint256) = 2**128 - 1
MAX_UINT32: constant(uint256) = 2**32 - 1

# Deposits and borrows stop 8 bits below what a word can hold, so interest has room.
HEADROOM: constant(uint256) = 2**120

# +1 where the leg's borrowers collect positive funding (reverse), -1 where they collect negative (forward).
DIRECTION: immutable(int256)

supply_word: uint256
debt_word: uint256
clock_word: uint256

# supply cap | debt cap, read only while the CAPPED flag is up
caps_word: uint256


@deploy
def __init__(direction: int256):
    DIRECTION = direction
    # both caps are zero until the owner sets them
    self.clock_word = packing._pack_clock(block.timestamp, 0, 0, packing.CAPPED_FLAG, 0)


# --- external faces


@external
@view
@reentrant
def state() -> IPool.State:
    return self._load()


@external
@view
def accrued_state() -> IPool.State:
    return self._peek()


@external
def sync_funding() -> bool:
    """
    @notice Accrues at the old funding, then takes in the oracle's. False where the oracle has nothing newer.
    """
    funding_wad: int256 = 0
    observed_at: uint256 = 0
    funding_wad, observed_at = staticcall IFundingOracle(market.CONFIG.funding_oracle).funding(
        market.CONFIG.funding_token
    )
    state: IPool.State = self._accrue()
    # an observation of the future would keep its premium past max_age
    is_newer: bool = observed_at > state.funding_time and observed_at <= block.timestamp
    if is_newer:
        state.funding_wad = packing._cut_funding(funding_wad)
        state.funding_time = observed_at
        log IPool.FundingSynced(
            caller=msg.sender, funding_wad=state.funding_wad, observed_at=observed_at
        )
    self._store(state)
    return is_newer


# --- caps


@internal
def _set_caps(supply_cap: uint256, debt_cap: uint256):
    """
    @param supply_cap From 2**128 - 1 on no cap, and so the other.
    """
    supply: uint256 = min(supply_cap, MAX_UINT128)
    debt: uint256 = min(debt_cap, MAX_UINT128)
    self.caps_word = packing._pack_halves(supply, debt)
    state: IPool.State = self._load()
    state.flags |= packing.CAPPED_FLAG
    if supply & debt == MAX_UINT128:
        state.flags ^= packing.CAPPED_FLAG
    self._store(state)


# --- load, accrue, store


@internal
@view
def _load() -> IPool.State:
    supply: uint256 = self.supply_word
    debt: uint256 = self.debt_word
    clock: uint256 = self.clock_word
    return IPool.State(
        supply_assets=supply & MAX_UINT128,
        supply_shares=supply >> 128,
        debt_assets=debt & MAX_UINT128,
        debt_shares=debt >> 128,
        updated_at=clock & MAX_UINT32,
        funding_time=(clock >> 32) & MAX_UINT32,
        funding_wad=packing._unpack_funding(clock),
        flags=packing._unpack_flags(clock),
        reserve_shares=clock >> 128,
        borrow_rate=0,
        interest=0,
        fee_shares=0,
    )


@internal
@view
def _flags() -> uint256:
    return packing._unpack_flags(self.clock_word)


@internal
def _store(state: IPool.State):
    self.supply_word = packing._pack_halves(state.supply_assets, state.supply_shares)
    self.debt_word = packing._pack_halves(state.debt_assets, state.debt_shares)
    self.clock_word = packing._pack_clock(
        state.updated_at, state.funding_time, state.funding_wad, state.flags, state.reserve_shares
    )


@internal
def _accrue() -> IPool.State:
    """
    @notice The State as of now, with its event. The caller stores it.
    """
    state: IPool.State = self._peek()
    if state.interest > 0:
        log IPool.Accrue(
            borrow_rate_wad=state.borrow_rate,
            funding_wad=state.funding_wad,
            interest=state.interest,
            fee_shares=state.fee_shares,
        )
    return state


@internal
@view
def _peek() -> IPool.State:
    """
    @notice The State as of now, for what only reads.
    """
    state: IPool.State = self._load()
    started_at: uint256 = state.updated_at
    state.updated_at = block.timestamp
    if started_at == block.timestamp or state.debt_assets == 0:
        return state

    # while the funding was fresh the rate carried the premium, the rest of the time it did not
    fresh_until: uint256 = min(
        unsafe_add(state.funding_time, market.CONFIG.leg.funding_max_age), block.timestamp
    )
    base: uint256 = rate_model._base_rate(market.CONFIG.leg, state.debt_assets, state.supply_assets)
    state.borrow_rate = base
    interest: uint256 = 0
    if fresh_until > started_at:
        premium: uint256 = rate_model._premium(
            market.CONFIG.leg.pass_through, DIRECTION * state.funding_wad
        )
        state.borrow_rate = min(base + premium, market.CONFIG.leg.rate_cap)
        interest = rate_model._interest(
            state.debt_assets, state.borrow_rate, unsafe_sub(fresh_until, started_at)
        )
        started_at = fresh_until
    if started_at < block.timestamp:
        interest += rate_model._interest(
            state.debt_assets + interest, base, unsafe_sub(block.timestamp, started_at)
        )

    # debt is at most supply, and supply at most 2**128 - 1: with what still fits the supply neither overflows, and
    # the fee's share of it, at most 255/1000, is less than all of it
    interest = min(interest, unsafe_sub(MAX_UINT128, state.supply_assets))
    state.interest = interest
    state.debt_assets = unsafe_add(state.debt_assets, interest)
    state.supply_assets = unsafe_add(state.supply_assets, interest)
    fee_assets: uint256 = unsafe_div(unsafe_mul(interest, state.flags >> 8), 1000)
    if fee_assets > 0:
        fee_shares: uint256 = wad_math._mul_div_down(
            fee_assets,
            unsafe_add(state.supply_shares, market.VIRTUAL_SHARES),
            unsafe_add(unsafe_sub(state.supply_assets, fee_assets), 1),
        )
        fee_shares = min(fee_shares, unsafe_sub(MAX_UINT128, state.supply_shares))
        state.fee_shares = fee_shares
        state.supply_shares = unsafe_add(state.supply_shares, fee_shares)
        state.reserve_shares = unsafe_add(state.reserve_shares, fee_shares)
    return state


# --- shares of the supply


@internal
@view
def _to_shares_down(state: IPool.State, assets: uint256) -> uint256:
    return wad_math._mul_div_down(
        assets, state.supply_shares + market.VIRTUAL_SHARES, state.supply_assets + 1
    )


@internal
@view
def _to_shares_up(state: IPool.State, assets: uint256) -> uint256:
    return wad_math._mul_div_up(
        assets, state.supply_shares + market.VIRTUAL_SHARES, state.supply_assets + 1
    )


@internal
@view
def _to_assets_down(state: IPool.State, shares: uint256) -> uint256:
    return wad_math._mul_div_down(
        shares, state.supply_assets + 1, state.supply_shares + market.VIRTUAL_SHARES
    )


@internal
@view
def _to_assets_up(state: IPool.State, shares: uint256) -> uint256:
    return wad_math._mul_div_up(
        shares, state.supply_assets + 1, state.supply_shares + market.VIRTUAL_SHARES
    )


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
        return assets * market.VIRTUAL_SHARES
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


# --- changes of the State


@internal
@view
def _supply_room(state: IPool.State) -> uint256:
    """
    @notice Assets that a deposit may still bring in.
    """
    if state.flags & packing.PAUSED_FLAG != 0:
        return 0
    limit: uint256 = HEADROOM - 1
    if state.flags & packing.CAPPED_FLAG != 0:
        limit = min(limit, self.caps_word & MAX_UINT128)
    # shares reach the headroom first where they are worth less than at the start
    share_room: uint256 = self._to_assets_down(
        state, HEADROOM - 1 - min(state.supply_shares, HEADROOM - 1)
    )
    return min(limit - min(limit, state.supply_assets), share_room)


@internal
@pure
def _check_not_paused(flags: uint256):
    if flags & packing.PAUSED_FLAG != 0:
        errors._paused()


@internal
@pure
def _check_cash(state: IPool.State, assets: uint256):
    if assets == 0:
        errors._zero_amount()
    if assets > state.supply_assets - state.debt_assets:
        errors._insufficient_cash()


@internal
@view
def _check_supply_limits(state: IPool.State):
    """
    @notice For the State with a deposit in it.
    """
    self._check_not_paused(state.flags)
    if (state.supply_assets | state.supply_shares) >= HEADROOM:
        errors._too_large()
    if (
        state.flags & packing.CAPPED_FLAG != 0
        and state.supply_assets > self.caps_word & MAX_UINT128
    ):
        errors._supply_cap()


@internal
@view
def _check_debt_limits(state: IPool.State):
    """
    @notice For the State with new debt in it.
    """
    self._check_not_paused(state.flags)
    if state.debt_shares >= HEADROOM:
        errors._too_large()
    if state.flags & packing.CAPPED_FLAG != 0 and state.debt_assets > self.caps_word >> 128:
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
def _write_off(state: IPool.State, borrower: address, shares: uint256) -> IPool.State:
    """
    @notice Realises debt that nothing backs any more: the reserve pays with shares worth it as far as it goes, the
            rest is borne by every share.
    """
    changed: IPool.State = state
    loss: uint256 = self._owed(shares, state.debt_assets, state.debt_shares)
    from_reserve: uint256 = min(loss, self._to_assets_down(state, state.reserve_shares))
    burnt: uint256 = min(self._to_shares_up(state, from_reserve), state.reserve_shares)
    changed.debt_assets -= loss
    changed.debt_shares -= shares
    changed.supply_assets -= loss
    changed.supply_shares -= burnt
    changed.reserve_shares -= burnt
    log IPool.BadDebt(
        borrower=borrower,
        assets=loss,
        from_reserve=from_reserve,
        from_lenders=loss - from_reserve,
        reserve_shares_burnt=burnt,
        total_assets=changed.supply_assets,
    )
    return changed
