# pragma version 0.4.3
"""
@title Funding oracle for tests
@license AGPL-3.0-only
@notice Stands in for FundingOracle where a test sets the funding itself. The last
        median is the average, too.
"""

from interfaces import IFundingOracle


struct Value:
    ema_wad: int256
    observed_at: uint256


values: HashMap[address, Value]


@external
@view
def funding(token: address) -> (int256, uint256):
    return self.values[token].ema_wad, self.values[token].observed_at


@external
@view
def feed(token: address) -> IFundingOracle.Feed:
    feed: IFundingOracle.Feed = empty(IFundingOracle.Feed)
    feed.ema_wad = self.values[token].ema_wad
    feed.median_wad = self.values[token].ema_wad
    feed.observed_at = self.values[token].observed_at
    return feed


@external
def set(token: address, ema_wad: int256):
    """
    @notice Observed now.
    """
    self.values[token] = Value(ema_wad=ema_wad, observed_at=block.timestamp)


@external
def set_at(token: address, ema_wad: int256, observed_at: uint256):
    self.values[token] = Value(ema_wad=ema_wad, observed_at=observed_at)
