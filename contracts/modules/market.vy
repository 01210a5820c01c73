# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title What a pool is about, and who governs it
@license AGPL-3.0-only
@notice The pool reads its parameters from the factory that deploys it, so its init code has no arguments and its
        address follows from the factory's salt alone. They never change.
@dev ROLES. Whatever an owner or a guardian may change goes through the factory, which knows who they are and holds
     them to their bounds; the pool takes it from nobody else.
"""
from ethereum.ercs import IERC20Detailed
from interfaces import IOperators
from interfaces import IPool
from interfaces import IPoolFactory
from contracts.modules import errors

FACTORY: immutable(address)
CONFIG: immutable(IPool.Config)
SYMBOL: immutable(String[32])
DECIMALS: immutable(uint8)

# 10**min(6, max(0, 24 - decimals)): shares per asset in an empty pool. It makes inflating the price of an empty
# pool's shares cost this many times what it can take, and no token of up to 24 decimals overflows 128 bits.
VIRTUAL_SHARES: immutable(uint256)


@deploy
def __init__():
    FACTORY = msg.sender
    config: IPool.Config = empty(IPool.Config)
    symbol: String[32] = ""
    config, symbol = staticcall IPoolFactory(msg.sender).pool_config()
    CONFIG = config
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
def _name() -> String[40]:
    return concat("Perpool ", SYMBOL)


@internal
@view
def _check_factory():
    if msg.sender != FACTORY:
        errors._not_factory()


@internal
@view
def _check_operator(account: address):
    if msg.sender != account and not staticcall IOperators(CONFIG.operators).is_operator(
        account, msg.sender
    ):
        errors._not_authorised()
