# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title What a pool is about, and who governs it
@license AGPL-3.0-only
@notice The pool reads its parameters from the factory that deploys it, so its init code has no arguments and its
        address follows from the factory's salt alone. They never change.
@dev ROLES. The owner and the guardian are the factory's, asked for at each call: a hand-over there reaches every pool
     at once.
"""
from ethereum.ercs import IERC20Detailed
from interfaces import IPool
from interfaces import IPoolFactory
from contracts.modules import errors

FACTORY: immutable(address)
CONFIG: immutable(IPool.Config)
NAME: immutable(String[64])
SYMBOL: immutable(String[32])
DECIMALS: immutable(uint8)

# 10**min(6, max(0, 24 - decimals)): shares per asset in an empty pool. It makes inflating the price of an empty
# pool's shares cost this many times what it can take, and no token of up to 24 decimals overflows 128 bits.
VIRTUAL_SHARES: immutable(uint256)


@deploy
def __init__():
    FACTORY = msg.sender
    config: IPool.Config = empty(IPool.Config)
    name: String[64] = ""
    symbol: String[32] = ""
    config, name, symbol = staticcall IPoolFactory(msg.sender).pool_config()
    CONFIG = config
    NAME = name
    SYMBOL = symbol
    decimals: uint8 = staticcall IERC20Detailed(config.asset).decimals()
    offset: uint256 = min(6, 24 - convert(decimals, uint256))
    VIRTUAL_SHARES = 10**offset
    DECIMALS = decimals + convert(offset, uint8)


@external
@view
@reentrant
def config() -> IPool.Config:
    return CONFIG


@external
@view
@reentrant
def factory() -> address:
    return FACTORY


@internal
@view
def _check_owner():
    if msg.sender != staticcall IPoolFactory(FACTORY).owner():
        errors._not_owner()


@internal
@view
def _is_owner_or_guardian(account: address) -> bool:
    return account == staticcall IPoolFactory(FACTORY).owner() or account == staticcall IPoolFactory(FACTORY).guardian()
