# pragma version 0.4.3
"""
@title Funding-indexed interest
@license AGPL-3.0-only
@notice borrow = min(base(utilisation) + premium(funding), cap), simple annual rates in WAD, compounded per second by
        a third-order Taylor series.
"""
from interfaces import IPool
from contracts.modules import wad_math

WAD: constant(uint256) = 10**18
YEAR: constant(uint256) = 365 * 86400


@internal
@pure
def _base_rate(leg: IPool.LegParameters, debt: uint256, assets: uint256) -> uint256:
    """
    @notice r0 + slope1 * min(u, kink) / kink + slope2 * max(u - kink, 0) / (1 - kink), u = debt / assets.
    @param debt At most `assets`.
    """
    if debt == 0:
        return leg.base_rate
    utilisation: uint256 = wad_math._mul_div_down(debt, WAD, assets)
    if utilisation <= leg.kink:
        return leg.base_rate + wad_math._mul_div_down(leg.slope1, utilisation, leg.kink)
    return (
        leg.base_rate
        + leg.slope1
        + wad_math._mul_div_down(leg.slope2, utilisation - leg.kink, WAD - leg.kink)
    )


@internal
@pure
def _premium(pass_through: uint256, directed_funding: int256) -> uint256:
    """
    @param directed_funding Funding as this leg's borrowers collect it: positive on the reverse leg when longs pay,
           on the forward leg when shorts pay.
    """
    if directed_funding <= 0:
        return 0
    return wad_math._share_of_down(convert(directed_funding, uint256), pass_through)


@internal
@pure
def _interest(debt: uint256, rate: uint256, elapsed: uint256) -> uint256:
    """
    @notice debt * (e**x - 1) to the third order, x = rate * elapsed / year; rounded up.
    @dev The factory holds the rate at 10**20 or below and the clock has 32 bits, so x is below 2**74, its cube below 2**222,
         and the growth below 2**100: nothing overflows.
    """
    x: uint256 = unsafe_div(unsafe_mul(rate, elapsed) + YEAR - 1, YEAR)
    square: uint256 = unsafe_mul(x, x)
    growth: uint256 = (
        x + unsafe_div(square, 2 * WAD) + unsafe_div(unsafe_mul(square, x), 6 * WAD * WAD)
    )
    return wad_math._mul_div_up(debt, growth, WAD)
