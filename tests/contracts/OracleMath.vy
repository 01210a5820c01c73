# pragma version 0.4.3
"""
@title Oracle maths
@license AGPL-3.0-only
@author Perpool
@notice The internal functions of the oracles' modules, for tests to call.
"""

from contracts.modules import medians
from contracts.modules import tick_math
from snekmate.utils import math


@external
@pure
def median_word(words: DynArray[uint256, 15], least: uint256) -> uint256:
    """
    @notice Median of every lane; 0 where fewer than `least` words have a value.
    """
    padded: uint256[15] = empty(uint256[15])
    for i: uint256 in range(len(words), bound=15):
        padded[i] = words[i]
    return medians._median_word(padded, len(words), least)


@external
@pure
def median(values: DynArray[uint256, 15]) -> uint256:
    """
    @notice Median of whole words.
    """
    return medians._median(values)


@external
@pure
def sqrt_price_x96(tick: int256) -> uint256:
    """
    @notice Square root of a tick's price.
    """
    return tick_math._sqrt_price_x96(tick)


@external
@pure
def price_e36(tick: int256, inverse: bool) -> uint256:
    """
    @notice A tick's price or its inverse, scaled by 1e36.
    """
    return tick_math._price_e36(tick, inverse)


@external
@pure
def wad_exp(x: int256) -> int256:
    """
    @notice exp(x), both WAD.
    """
    return math._wad_exp(x)


@external
@pure
def wad_ln(x: int256) -> int256:
    """
    @notice ln(x), both WAD.
    """
    return math._wad_ln(x)
