# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Swap adapter at a set price
@license AGPL-3.0-only
@author Perpool
@notice A stand-in for an adapter and its venue in one, exact to the last unit: it trades out of what it holds, at a
        price and a spread that anyone has set, always rounding for itself. It can be told to deliver less than asked.
"""
from contracts.modules import tokens
from interfaces import ISwapper

implements: ISwapper

WAD: constant(uint256) = 10**18
PRICE_SCALE: constant(uint256) = 10**36

TOKEN: immutable(address)

# USDT a token, scaled as PriceOracle's
price_e36: uint256
# what a buyer pays more and a seller gets less, WAD
spread: uint256
# what an exact output falls short of
shortfall: uint256


@deploy
def __init__(token: address):
    TOKEN = token


@external
def set_terms(price_e36: uint256, spread: uint256, shortfall: uint256):
    """
    @notice Anyone may.
    """
    self.price_e36 = price_e36
    self.spread = spread
    self.shortfall = shortfall


@external
def swap_exact_in(
    token_in: address, token_out: address, amount_in: uint256, route: Bytes[256]
) -> uint256:
    """
    @notice See ISwapper.
    """
    amount_out: uint256 = 0
    if token_in == TOKEN:
        amount_out = amount_in * self.price_e36 // PRICE_SCALE * (WAD - self.spread) // WAD
    else:
        amount_out = amount_in * WAD // (WAD + self.spread) * PRICE_SCALE // self.price_e36
    tokens._push(token_out, msg.sender, amount_out)
    return amount_out


@external
def swap_exact_out(
    token_in: address,
    token_out: address,
    amount_out: uint256,
    amount_in_max: uint256,
    route: Bytes[256],
) -> uint256:
    """
    @notice See ISwapper.
    """
    value: uint256 = 0
    if token_out == TOKEN:
        value = amount_out * self.price_e36 // PRICE_SCALE + 1
    else:
        value = amount_out * PRICE_SCALE // self.price_e36 + 1
    cost: uint256 = value * (WAD + self.spread) // WAD + 1
    assert cost <= amount_in_max, "too expensive"
    tokens._push(token_out, msg.sender, amount_out - min(amount_out, self.shortfall))
    tokens._push(token_in, msg.sender, amount_in_max - cost)
    return cost
