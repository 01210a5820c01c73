# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title What the factory may change in a pool for its owner
@license AGPL-3.0-only
@notice Pause, fee, hook and the reserve. The factory knows who may ask and holds them to their bounds; nothing here
        can stop anybody from leaving.
"""
from interfaces import IPool
from contracts.modules import accounts
from contracts.modules import ledger
from contracts.modules import market
from contracts.modules import packing
from contracts.modules import tokens

uses: accounts
uses: ledger
uses: market


@external
@view
@reentrant
def hook() -> address:
    return accounts.hook


@external
def set_controls(paused: bool, fee_permille: uint256, new_hook: address):
    """
    @param fee_permille The reserve's share of interest in thousandths, below 256. What has accrued is charged at the
           old fee.
    @param new_hook The zero address for none.
    """
    market._check_factory()
    state: IPool.State = ledger._accrue()
    state.flags = (state.flags & packing.CAPPED_FLAG) | (fee_permille << 8)
    if paused:
        state.flags |= packing.PAUSED_FLAG
    if new_hook != empty(address):
        state.flags |= packing.HOOK_FLAG
    ledger._store(state)
    accounts.hook = new_hook


@external
def withdraw_reserve(shares: uint256, receiver: address) -> uint256:
    """
    @return Assets paid out, rounded down.
    """
    market._check_factory()
    state: IPool.State = ledger._accrue()
    assets: uint256 = ledger._to_assets_down(state, shares)
    ledger._check_cash(state, assets)
    state.supply_assets -= assets
    state.supply_shares -= shares
    state.reserve_shares -= shares
    ledger._store(state)
    log IPool.ReserveWithdrawn(
        receiver=receiver, assets=assets, shares=shares, total_assets=state.supply_assets
    )
    tokens._push(market.CONFIG.asset, receiver, assets)
    return assets
