# pragma version 0.4.3
"""
@title Price oracle for tests
@license AGPL-3.0-only
@author Perpool
@notice Stands in for PriceOracle where a test sets prices and volatility itself.
"""

token: public(immutable(address))
usdt: public(immutable(address))

lower: uint256
upper: uint256
liquidation_price: public(uint256)
volatility: public(uint256)


@deploy
def __init__(market_token: address, market_usdt: address, price_e36: uint256):
    token = market_token
    usdt = market_usdt
    self.lower = price_e36
    self.upper = price_e36
    self.liquidation_price = price_e36


@external
def set_prices(lower: uint256, upper: uint256, liquidation_price: uint256):
    """
    @notice Scaled as PriceOracle's.
    """
    self.lower = lower
    self.upper = upper
    self.liquidation_price = liquidation_price


@external
def set_volatility(volatility: uint256):
    """
    @notice WAD a year; max_value(uint256) for unknown.
    """
    self.volatility = volatility


@external
@view
def price_bounds() -> (uint256, uint256):
    """
    @notice (lower, higher)
    """
    return self.lower, self.upper


@external
@view
def price_bounds_and_volatility() -> (uint256, uint256, uint256):
    """
    @notice (lower, higher, volatility)
    """
    return self.lower, self.upper, self.volatility
