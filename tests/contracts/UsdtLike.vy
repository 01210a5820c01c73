# pragma version 0.4.3
"""
@title USDT-like token
@license AGPL-3.0-only
@author Perpool
@notice A token with the two habits of USDT on Ethereum that break integrations: transfer,
        transferFrom and approve return nothing, and an allowance can only be set to or from zero.
@dev USDT has 6 decimals. Anyone may mint. An unlimited allowance is not written on transfer.
"""

from ethereum.ercs import IERC20

name: public(String[32])
symbol: public(String[16])
decimals: public(immutable(uint8))

totalSupply: public(uint256)
balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])


@deploy
def __init__(token_decimals: uint8):
    self.name = "Tether USD"
    self.symbol = "USDT"
    decimals = token_decimals


@external
def transfer(receiver: address, usdt_amount: uint256):
    self._move(msg.sender, receiver, usdt_amount)


@external
def transferFrom(owner: address, receiver: address, usdt_amount: uint256):
    allowed: uint256 = self.allowance[owner][msg.sender]
    if allowed != max_value(uint256):
        assert allowed >= usdt_amount, "insufficient allowance"
        self.allowance[owner][msg.sender] = allowed - usdt_amount
    self._move(owner, receiver, usdt_amount)


@external
def approve(spender: address, usdt_amount: uint256):
    assert (usdt_amount == 0 or self.allowance[msg.sender][spender] == 0), "allowance not zero"
    self.allowance[msg.sender][spender] = usdt_amount
    log IERC20.Approval(owner=msg.sender, spender=spender, value=usdt_amount)


@external
def mint(receiver: address, usdt_amount: uint256):
    self.totalSupply += usdt_amount
    self.balanceOf[receiver] += usdt_amount
    log IERC20.Transfer(sender=empty(address), receiver=receiver, value=usdt_amount)


@internal
def _move(owner: address, receiver: address, usdt_amount: uint256):
    held: uint256 = self.balanceOf[owner]
    assert held >= usdt_amount, "insufficient balance"
    self.balanceOf[owner] = held - usdt_amount
    self.balanceOf[receiver] += usdt_amount
    log IERC20.Transfer(sender=owner, receiver=receiver, value=usdt_amount)
