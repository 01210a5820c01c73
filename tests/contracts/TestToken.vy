# pragma version 0.4.3
"""
@title Test token
@license AGPL-3.0-only
@author Perpool
@notice A plain ERC-20 of any decimals that anyone may mint.
@dev An unlimited allowance is not written on transfer, as in most tokens in use.
"""

from ethereum.ercs import IERC20

implements: IERC20

name: public(String[32])
symbol: public(String[16])
decimals: public(immutable(uint8))

totalSupply: public(uint256)
balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])


@deploy
def __init__(token_name: String[32], token_symbol: String[16], token_decimals: uint8):
    self.name = token_name
    self.symbol = token_symbol
    decimals = token_decimals


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
    held: uint256 = self.balanceOf[owner]
    assert held >= token_amount, "insufficient balance"
    self.balanceOf[owner] = held - token_amount
    self.balanceOf[receiver] += token_amount
    log IERC20.Transfer(sender=owner, receiver=receiver, value=token_amount)
