# pragma version 0.4.3
"""
@title Fee-on-transfer token
@license AGPL-3.0-only
@author Perpool
@notice An ERC-20 that takes a share of every transfer, so that less arrives than was sent.
@dev The fee goes to the token itself. Anyone may mint and set the fee. Fees are in basis points.
"""

from ethereum.ercs import IERC20

implements: IERC20

BPS: constant(uint256) = 10_000

name: public(String[32])
symbol: public(String[16])
decimals: public(immutable(uint8))
fee_bps: public(uint256)

totalSupply: public(uint256)
balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])


@deploy
def __init__(token_decimals: uint8, fee_bps: uint256):
    self.name = "Fee token"
    self.symbol = "FEE"
    decimals = token_decimals
    self._set_fee(fee_bps)


@external
def set_fee(fee_bps: uint256):
    self._set_fee(fee_bps)


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
def _set_fee(fee_bps: uint256):
    assert fee_bps <= BPS, "fee too high"
    self.fee_bps = fee_bps


@internal
def _move(owner: address, receiver: address, token_amount: uint256):
    fee: uint256 = token_amount * self.fee_bps // BPS
    held: uint256 = self.balanceOf[owner]
    assert held >= token_amount, "insufficient balance"
    self.balanceOf[owner] = held - token_amount
    self.balanceOf[receiver] += token_amount - fee
    log IERC20.Transfer(sender=owner, receiver=receiver, value=token_amount - fee)
    if fee > 0:
        self.balanceOf[self] += fee
        log IERC20.Transfer(sender=owner, receiver=self, value=fee)
