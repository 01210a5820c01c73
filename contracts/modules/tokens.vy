# pragma version 0.4.3
"""
@title Token transfers
@license AGPL-3.0-only
@notice The only module that moves tokens. A token may return nothing; one that returns false reverts.
"""
from ethereum.ercs import IERC20


@internal
def _pull(token: address, amount: uint256) -> uint256:
    """
    @notice Takes `amount` from the caller.
    @return What arrived, which is less where the token takes a fee.
    """
    balance_before: uint256 = staticcall IERC20(token).balanceOf(self)
    assert extcall IERC20(token).transferFrom(msg.sender, self, amount, default_return_value=True)
    return staticcall IERC20(token).balanceOf(self) - balance_before


@internal
def _push(token: address, receiver: address, amount: uint256):
    assert extcall IERC20(token).transfer(receiver, amount, default_return_value=True)
