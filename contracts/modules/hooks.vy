# pragma version 0.4.3
"""
@title Whom a pool tells
@license AGPL-3.0-only
@notice The hook that the owner has attached, any of the factory's list. Where that is the market's standard hook a flag says
        so, and its address is taken from the code: reading it from storage costs an operation 2,100 gas.
"""
from interfaces import IHook
from contracts.modules import accounts
from contracts.modules import market
from contracts.modules import packing

uses: accounts
uses: market


@internal
def _tell(clock: uint256, account: address, side: IHook.Side, shares: uint256):
    """
    @notice For who has seen in the clock that there is a hook.
    """
    hook: address = market.CONFIG.standard_hook
    if packing._clock_flags(clock) & packing.STANDARD_HOOK_FLAG == 0:
        hook = accounts.hook
    accounts._tell(hook, account, side, shares)
