# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title What a carry vault is about, and who governs it
@license AGPL-3.0-only
@notice Its strategy and tokens; they never change. Owner and guardian are those of the pools' factory.
"""
from interfaces import ICarryStrategy
from interfaces import IPool
from interfaces import IPoolFactory
from interfaces import IPriceOracle
from contracts.modules import carry_errors

STRATEGY: immutable(ICarryStrategy)
FACTORY: immutable(IPoolFactory)
TOKEN: immutable(address)
USDT: immutable(address)
# of the price that requests wait for
PRICE_FEED: immutable(address)


@deploy
def __init__(strategy: address, reverse_pool: address):
    STRATEGY = ICarryStrategy(strategy)
    FACTORY = IPoolFactory(staticcall IPool(reverse_pool).factory())
    config: IPool.Config = staticcall IPool(reverse_pool).config()
    TOKEN = config.collateral
    USDT = config.asset
    PRICE_FEED = (staticcall IPriceOracle(config.price_oracle).primary()).feed


@internal
@view
def _check_owner():
    if msg.sender != staticcall FACTORY.owner():
        carry_errors._not_owner()
