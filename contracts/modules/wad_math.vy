# pragma version 0.4.3
"""
@title Multiplication and division with a named rounding side
@license AGPL-3.0-only
@notice Every factor that meets here is below 2**128 or is multiplied by one that keeps the product below 2**256;
        a product that is not reverts, it never wraps.
"""

WAD: constant(uint256) = 10**18


@internal
@pure
def _mul_div_down(x: uint256, y: uint256, denominator: uint256) -> uint256:
    return x * y // denominator


@internal
@pure
def _mul_div_up(x: uint256, y: uint256, denominator: uint256) -> uint256:
    product: uint256 = x * y
    quotient: uint256 = product // denominator
    # quotient * denominator is at most the product, and equal to it exactly where there is no remainder; where there
    # is one the denominator is above 1 and the quotient at most 2**255
    if unsafe_mul(quotient, denominator) == product:
        return quotient
    return unsafe_add(quotient, 1)


@internal
@pure
def _share_of_down(amount: uint256, fraction_wad: uint256) -> uint256:
    return amount * fraction_wad // WAD


@internal
@pure
def _share_of_up(amount: uint256, fraction_wad: uint256) -> uint256:
    return self._mul_div_up(amount, fraction_wad, WAD)
