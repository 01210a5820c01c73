# pragma version 0.4.3
"""
@title Token transfers
@license AGPL-3.0-only
@notice The only module that moves tokens. A token may return nothing; one that returns false reverts.
"""
from ethereum.ercs import IERC20
from contracts.modules import errors


@internal
@view
def _balance(token: address) -> uint256:
    return staticcall IERC20(token).balanceOf(self)


@internal
def _pull(token: address, amount: uint256) -> (uint256, uint256):
    """
    @notice Takes `amount` from the caller.
    @return What arrived, which is less where the token takes a fee, and the balance afterwards.
    """
    balance_before: uint256 = self._balance(token)
    self._pull_from(token, msg.sender, amount)
    balance_after: uint256 = self._balance(token)
    return balance_after - balance_before, balance_after


@internal
def _pull_exactly(token: address, amount: uint256):
    """
    @notice Takes `amount` from the caller, and reverts where less arrives. Nothing moves for zero.
    """
    if amount > 0 and self._pull(token, amount)[0] < amount:
        errors._short_transfer()


@internal
def _pull_due(token: address, amount: uint256):
    """
    @notice Takes what a debt is paid with from the caller, so that `amount` arrives. Where the token
            takes a fee, what is missing is taken once more with the fee on top: a fee switched on
            later must not keep anybody from repaying or liquidating.
    """
    if amount == 0:
        return
    arrived: uint256 = self._pull(token, amount)[0]
    if arrived < amount:
        missing: uint256 = amount - arrived
        if self._pull(token, missing * amount // arrived + 1)[0] < missing:
            errors._short_transfer()


@internal
def _pull_from(token: address, sender: address, amount: uint256):
    """
    @dev Only for a sender who has agreed in this call: the caller, or whoever answered a flash loan.
    """
    assert extcall IERC20(token).transferFrom(sender, self, amount, default_return_value=True)


@internal
def _push(token: address, receiver: address, amount: uint256):
    """
    @notice Nothing moves for zero.
    """
    if amount > 0:
        assert extcall IERC20(token).transfer(receiver, amount, default_return_value=True)


@internal
def _approve(token: address, spender: address, amount: uint256):
    """
    @notice Sets what `spender` may pull. From above zero it can only go to zero, as USDT demands.
    """
    assert extcall IERC20(token).approve(spender, amount, default_return_value=True)
