# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title What the factory may change in a pool for its owner
@license AGPL-3.0-only
@notice Pause, fee, hook and the reserve. The factory knows who may ask and holds them to their bounds; nothing here
        can stop anybody from leaving.
"""
from contracts.modules import accounts
from contracts.modules import market
from contracts.modules import packing
from contracts.modules import supply
from contracts.modules import vault

uses: accounts
uses: market
uses: supply
uses: vault


@external
@view
@reentrant
def hook() -> address:
    return accounts.hook


@external
def set_controls(flags: uint256, new_hook: address):
    """
    @param flags As in IPool.State; the factory changes one of them. What has accrued is charged at the old fee.
    @param new_hook The zero address for none.
    """
    market._check_factory()
    claims: supply.Claims = supply._charge(supply._accrue())
    claims.totals.clock = packing._with_flags(claims.totals.clock, flags)
    supply._store(claims)
    accounts.hook = new_hook


@external
def withdraw_reserve(shares: uint256, receiver: address) -> uint256:
    """
    @param shares At most; all that there are where they are less.
    @return Assets paid out, rounded down.
    """
    market._check_factory()
    claims: supply.Claims = supply._charge(supply._accrue())
    redeemed: uint256 = min(shares, accounts.shares_of[self])
    assets: uint256 = supply._to_assets_down(claims, redeemed)
    vault._leave(claims, assets, redeemed, receiver, self)
    return assets
