# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title What the owner may set, within hard bounds, and what the guardian may stop
@license AGPL-3.0-only
@notice Caps, fee, hook and the reserve are the owner's. The guardian and the owner may pause new risk: deposits,
        borrowing, shorting, flash loans and taking collateral out from under a debt. Only the owner resumes. Nothing
        here can stop anybody from leaving.
@dev The reserve is the first to lose, so what the owner may take is only what exceeds `reserve_floor` of all assets,
     `RESERVE_DELAY` after he announced it.
"""
from interfaces import IPool
from interfaces import IPoolFactory
from contracts.modules import accounts
from contracts.modules import errors
from contracts.modules import ledger
from contracts.modules import market
from contracts.modules import packing
from contracts.modules import share_token
from contracts.modules import tokens
from contracts.modules import wad_math

uses: accounts
uses: ledger
uses: market

MAX_FEE_PERMILLE: constant(uint256) = 250
RESERVE_DELAY: constant(uint256) = 7 * 86400

# shares asked for | when they may be taken
reserve_request_word: uint256


@external
@view
@reentrant
def caps() -> (uint256, uint256):
    """
    @notice (supply cap, debt cap) in assets; 2**128 - 1 is none.
    """
    return (ledger.caps_word & packing.MAX_UINT128), (ledger.caps_word >> 128)


@external
@view
@reentrant
def hook() -> address:
    return accounts.hook


@external
@view
@reentrant
def reserve_request() -> (uint256, uint256):
    """
    @notice (shares asked for, earliest time to take them)
    """
    return (self.reserve_request_word & packing.MAX_UINT128), (self.reserve_request_word >> 128)


@external
def set_caps(supply_cap: uint256, debt_cap: uint256):
    """
    @notice Caps on all assets lent and on all debt. They stop deposits and new debt, never an exit. Anything from
            2**128 - 1 on is no cap.
    """
    market._check_owner()
    no_cap: uint256 = 2**128 - 1
    ledger.caps_word = packing._pack_halves(min(supply_cap, no_cap), min(debt_cap, no_cap))
    ledger._set_flag(packing.CAPPED_FLAG, min(supply_cap, debt_cap) < no_cap)
    log IPool.CapsSet(supply_cap=min(supply_cap, no_cap), debt_cap=min(debt_cap, no_cap))


@external
def set_fee(fee_permille: uint256):
    """
    @notice The reserve's share of interest, in thousandths, at most 250. What has accrued is charged at the old fee.
    """
    market._check_owner()
    if fee_permille > MAX_FEE_PERMILLE:
        errors._fee_too_high()
    state: IPool.State = ledger._accrue()
    state.flags = (state.flags & 255) | (fee_permille << 8)
    ledger._store(state)
    log IPool.FeeSet(fee_permille=fee_permille)


@external
def set_hook(new_hook: address):
    """
    @param new_hook From the factory's list; the zero address for none.
    """
    market._check_owner()
    attached: bool = new_hook != empty(address)
    if attached:
        if not staticcall IPoolFactory(market.FACTORY).is_hook(new_hook):
            errors._unknown_hook()
    accounts.hook = new_hook
    ledger._set_flag(packing.HOOK_FLAG, attached)
    log IPool.HookSet(hook=new_hook)


@external
def set_paused(paused: bool):
    if paused:
        if not market._is_owner_or_guardian(msg.sender):
            errors._not_guardian()
    else:
        market._check_owner()
    ledger._set_flag(packing.PAUSED_FLAG, paused)
    log IPool.PausedSet(caller=msg.sender, paused=paused)


@external
def request_reserve_withdrawal(shares: uint256):
    """
    @notice Announces that up to `shares` of the reserve will be taken; replaces an earlier request.
    """
    market._check_owner()
    ready_at: uint256 = block.timestamp + RESERVE_DELAY
    self.reserve_request_word = packing._pack_halves(shares, ready_at)
    log IPool.ReserveWithdrawalRequested(shares=shares, ready_at=ready_at)


@external
def withdraw_reserve(receiver: address) -> uint256:
    """
    @notice Pays out the announced shares once the delay is over, if what stays in the reserve is at least its floor.
    @return Assets, rounded down.
    """
    market._check_owner()
    share_token._check_receiver(receiver)
    shares: uint256 = self.reserve_request_word & packing.MAX_UINT128
    if block.timestamp < (self.reserve_request_word >> 128):
        errors._reserve_locked()
    self.reserve_request_word = 0

    state: IPool.State = ledger._accrue()
    if shares > state.reserve_shares:
        errors._insufficient_balance()
    assets: uint256 = ledger._to_assets_down(state, shares)
    ledger._check_cash(state, assets)
    state.supply_assets -= assets
    state.supply_shares -= shares
    state.reserve_shares -= shares
    kept: uint256 = wad_math._share_of_up(state.supply_assets, market.CONFIG.leg.reserve_floor)
    if ledger._to_assets_down(state, state.reserve_shares) < kept:
        errors._reserve_locked()
    ledger._store(state)
    log IPool.ReserveWithdrawn(receiver=receiver, assets=assets, shares=shares, total_assets=state.supply_assets)
    tokens._push(market.CONFIG.asset, receiver, assets)
    return assets
