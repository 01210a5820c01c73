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
from interfaces import IOperators
from interfaces import IPool
from interfaces import IPoolFactory
from contracts.modules import errors

FACTORY: immutable(address)
CONFIG: immutable(IPool.Config)
SYMBOL: immutable(String[32])


@deploy
def __init__():
    FACTORY = msg.sender
    config: IPool.Config = empty(IPool.Config)
    symbol: String[32] = ""
    config, symbol = staticcall IPoolFactory(msg.sender).pool_config()
    CONFIG = config
    SYMBOL = symbol


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
