# pragma version 0.4.3
"""
@title Price oracle whose sources are apart
@license AGPL-3.0-only
@author Perpool
@notice A PriceOracle's prices, with bounds that anyone has moved away from them.
"""
from interfaces import IPriceOracle

WAD: constant(uint256) = 10**18

ORACLE: immutable(IPriceOracle)

below: uint256
above: uint256


@deploy
def __init__(oracle: address):
    ORACLE = IPriceOracle(oracle)


@external
def set_spread(below: uint256, above: uint256):
    """
    @notice Of the price, in WAD.
    """
    self.below = below
    self.above = above


@external
@view
def token() -> address:
    return staticcall ORACLE.token()


@external
@view
def usdt() -> address:
    return staticcall ORACLE.usdt()


@external
@view
def primary() -> IPriceOracle.Source:
    return staticcall ORACLE.primary()


@external
@view
def liquidation_price() -> uint256:
    return staticcall ORACLE.liquidation_price()


@external
@view
def volatility() -> uint256:
    return staticcall ORACLE.volatility()


@external
@view
def price_bounds() -> (uint256, uint256):
    return self._bounds()


@external
@view
def price_bounds_and_volatility() -> (uint256, uint256, uint256):
    lower: uint256 = 0
    upper: uint256 = 0
    lower, upper = self._bounds()
    return lower, upper, staticcall ORACLE.volatility()


@internal
@view
def _bounds() -> (uint256, uint256):
    price: uint256 = staticcall ORACLE.liquidation_price()
    return price * (WAD - self.below) // WAD, price * (WAD + self.above) // WAD
