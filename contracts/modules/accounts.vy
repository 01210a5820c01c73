# pragma version 0.4.3
"""
@title Accounts of a pool
@license AGPL-3.0-only
@notice Two words an account: its lending shares, and its position with the debt shares in the high half. Whoever
        changes either tells the hook afterwards what it is now.
@dev LIVENESS. The hook gets a fixed amount of gas, which the call must have; whether it fails or not changes nothing.
"""
from interfaces import IHook
from interfaces import IPool
from contracts.modules import errors

# Enough for several reward streams. The call must hold 64/63 of it, so that nobody starves the hook on purpose.
HOOK_GAS: constant(uint256) = 100_000
HOOK_GAS_NEEDED: constant(uint256) = 110_000

shares_of: HashMap[address, uint256]
position_word: HashMap[address, uint256]
# whom changes are told, the zero address for nobody
hook: address


@internal
@view
def _debt_shares(account: address) -> uint256:
    return self.position_word[account] >> 128


@internal
def _tell(hook: address, account: address, side: IHook.Side, shares: uint256):
    """
    @notice Where there is a hook, which the caller knows; after the change is stored, and before a token goes out.
    """
    if msg.gas < HOOK_GAS_NEEDED:
        errors._insufficient_gas()
    success: bool = raw_call(
        hook,
        abi_encode(
            account, side, shares, method_id=method_id("on_change(address,uint256,uint256)")
        ),
        gas=HOOK_GAS,
        revert_on_failure=False,
    )
    if not success:
        log IPool.HookFailed(hook=hook, account=account)
