# pragma version 0.4.3
"""
@title The carry vault's arithmetic, for tests
@license AGPL-3.0-only
@author Perpool
"""
from contracts.modules.carry import targets
from interfaces import ICarryVault


@external
@pure
def plan(
    p: ICarryVault.Parameters,
    price_e36: uint256,
    collateral: uint256,
    net: int256,
    may_sell: bool,
) -> targets.Plan:
    """
    @notice See the module.
    """
    return targets._plan(p, price_e36, collateral, net, may_sell)


@external
@pure
def is_off(
    p: ICarryVault.Parameters,
    price_e36: uint256,
    collateral: uint256,
    debt: uint256,
    short: uint256,
    equity: int256,
    target_short: uint256,
) -> bool:
    """
    @notice See the module.
    """
    return targets._is_off(p, price_e36, collateral, debt, short, equity, target_short)


@external
@pure
def nav(tokens: uint256, short: uint256, money: int256, price_e36: uint256) -> uint256:
    """
    @notice See the module.
    """
    return targets._nav(tokens, short, money, price_e36)
