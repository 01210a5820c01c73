"""Arithmetic of a 256-bit word that reverts, and the one exception of the model.

Amounts are integers in a token's smallest unit, fractions in WAD (1e18 = 100 %).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from perpool.reference.wad import WAD

MAX_UINT256 = 2**256 - 1
MAX_UINT128 = 2**128 - 1
PRICE_SCALE = 10**36
"""`token_amount * price_e36 // PRICE_SCALE` is USDT in its smallest unit."""


class PoolError(Exception):
    """A call that the chain reverts, with the same reason.

    The reason is "" where the chain gives none: an overflow, a division by zero, a lock.
    """

    def __init__(self, reason: str = "") -> None:
        self.reason = reason
        super().__init__(reason or "reverted without a reason")


_waived: set[str] = set()


def refuse(reason: str) -> None:
    """Raise PoolError, unless the reason is being waived."""
    if reason not in _waived:
        raise PoolError(reason)


@contextlib.contextmanager
def waiving(*reasons: str) -> Iterator[None]:
    """Pass over some reasons, to see which others there are: a call may be refused for several.

    What goes through meanwhile is worth nothing.
    """
    _waived.update(reasons)
    try:
        yield
    finally:
        _waived.difference_update(reasons)


def word(value: int) -> int:
    """The value, if it fits an unsigned word. Raises PoolError without a reason."""
    if not 0 <= value <= MAX_UINT256:
        raise PoolError
    return value


def half(value: int) -> int:
    """The value, if it fits half a word."""
    return bits(value, 128)


def bits(value: int, width: int) -> int:
    """The value, if it fits so many bits of a packed word."""
    if word(value) >> width:
        refuse("amount too large")
    return value


def mul_div_down(x: int, y: int, denominator: int) -> int:
    """x * y / denominator, rounded down; the product must fit a word."""
    product = word(x * y)
    if denominator == 0:
        raise PoolError
    return product // denominator


def mul_div_up(x: int, y: int, denominator: int) -> int:
    """x * y / denominator, rounded up; the product must fit a word."""
    product = word(x * y)
    if denominator == 0:
        raise PoolError
    return -(-product // denominator)


def share_of_down(amount: int, fraction_wad: int) -> int:
    """A fraction of an amount, rounded down."""
    return mul_div_down(amount, fraction_wad, WAD)


def share_of_up(amount: int, fraction_wad: int) -> int:
    """A fraction of an amount, rounded up."""
    return mul_div_up(amount, fraction_wad, WAD)
