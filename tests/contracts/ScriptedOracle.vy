# pragma version 0.4.3
"""
@title Price oracle of a fuzzed market
@license AGPL-3.0-only
@author Perpool
@notice Stands in for PriceOracle: says the prices and the volatility that anyone has set, or reverts with the reasons
        of PriceOracle for one of the two prices or both.
"""

token: public(immutable(address))
usdt: public(immutable(address))

lower: uint256
upper: uint256
liquidation: uint256
volatility: public(uint256)
bounds_broken: bool
liquidation_broken: bool


@deploy
def __init__(market_token: address, market_usdt: address):
    token = market_token
    usdt = market_usdt


@external
def set_prices(lower: uint256, upper: uint256, liquidation_price: uint256, volatility: uint256):
    """
    @notice Prices scaled as PriceOracle's, volatility in WAD a year.
    """
    self.lower = lower
    self.upper = upper
    self.liquidation = liquidation_price
    self.volatility = volatility


@external
def break_prices(bounds_broken: bool, liquidation_broken: bool):
    """
    @notice Which prices there are none of.
    """
    self.bounds_broken = bounds_broken
    self.liquidation_broken = liquidation_broken


@external
@view
def price_bounds() -> (uint256, uint256):
    """
    @notice (lower, higher)
    """
    return self._bounds()


@external
@view
def price_bounds_and_volatility() -> (uint256, uint256, uint256):
    """
    @notice (lower, higher, volatility)
    """
    lower: uint256 = 0
    upper: uint256 = 0
    lower, upper = self._bounds()
    return lower, upper, self.volatility


@external
@view
def liquidation_price() -> uint256:
    """
    @notice The price that must not stop.
    """
    assert not self.liquidation_broken, "stale price"
    return self.liquidation


@internal
@view
def _bounds() -> (uint256, uint256):
    assert not self.bounds_broken, "prices disagree"
    return self.lower, self.upper
