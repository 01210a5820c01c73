# pragma version 0.4.3
"""
@title Hook token
@license AGPL-3.0-only
@author Perpool
@notice An ERC-20 that calls registered accounts before and after each of their transfers, as
        ERC-777 does: the token for reentrancy tests.
@dev An account registers the hook to be called for itself; the sender's is called first. Whether a
     hook that reverts stops the transfer is up to the token: here it does. Anyone may mint.
"""

from ethereum.ercs import IERC20

implements: IERC20


interface TransferHook:
    def before_transfer(owner: address, receiver: address, token_amount: uint256): nonpayable
    def after_transfer(owner: address, receiver: address, token_amount: uint256): nonpayable


name: public(String[32])
symbol: public(String[16])
decimals: public(immutable(uint8))

totalSupply: public(uint256)
balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])
hook_of: public(HashMap[address, address])


@deploy
def __init__(token_decimals: uint8):
    self.name = "Hook token"
    self.symbol = "HOOK"
    decimals = token_decimals


@external
def set_hook(hook: address):
    """
    @notice Have `hook` called for the caller's transfers; the zero address stops that.
    """
    self.hook_of[msg.sender] = hook


@external
def set_hook_of(account: address, hook: address):
    """
    @notice Register a hook for any account, such as a contract that would not do so itself.
    """
    self.hook_of[account] = hook


@external
def transfer(receiver: address, token_amount: uint256) -> bool:
    self._move(msg.sender, receiver, token_amount)
    return True


@external
def transferFrom(owner: address, receiver: address, token_amount: uint256) -> bool:
    allowed: uint256 = self.allowance[owner][msg.sender]
    if allowed != max_value(uint256):
        assert allowed >= token_amount, "insufficient allowance"
        self.allowance[owner][msg.sender] = allowed - token_amount
    self._move(owner, receiver, token_amount)
    return True


@external
def approve(spender: address, token_amount: uint256) -> bool:
    self.allowance[msg.sender][spender] = token_amount
    log IERC20.Approval(owner=msg.sender, spender=spender, value=token_amount)
    return True


@external
def mint(receiver: address, token_amount: uint256):
    self.totalSupply += token_amount
    self.balanceOf[receiver] += token_amount
    log IERC20.Transfer(sender=empty(address), receiver=receiver, value=token_amount)


@internal
def _move(owner: address, receiver: address, token_amount: uint256):
    sender_hook: address = self.hook_of[owner]
    receiver_hook: address = self.hook_of[receiver]
    if sender_hook != empty(address):
        extcall TransferHook(sender_hook).before_transfer(owner, receiver, token_amount)
    if receiver_hook != empty(address):
        extcall TransferHook(receiver_hook).before_transfer(owner, receiver, token_amount)

    assert self.balanceOf[owner] >= token_amount, "insufficient balance"
    self.balanceOf[owner] -= token_amount
    self.balanceOf[receiver] += token_amount
    log IERC20.Transfer(sender=owner, receiver=receiver, value=token_amount)

    if sender_hook != empty(address):
        extcall TransferHook(sender_hook).after_transfer(owner, receiver, token_amount)
    if receiver_hook != empty(address):
        extcall TransferHook(receiver_hook).after_transfer(owner, receiver, token_amount)
