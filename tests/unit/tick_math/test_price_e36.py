"""`tick_math._price_e36`: full precision at any tick."""

import random
from fractions import Fraction

import pytest

from perpool.evm import Contract
from perpool.uniswap import sqrt_price_at_tick

E36 = 10**36
# a root of 2**128 is at tick 443,636
TICKS = [-887_272, -500_000, -276_325, -1, 0, 1, 276_324, 443_635, 443_636, 443_637, 887_272]


def assert_precise(price: int, exact: Fraction, root: int) -> None:
    """Rounded down, and exact where the square of the root fits a word."""
    if root < 2**128:
        assert price == exact.__floor__()
    else:
        # the square has lost what is below 2**-128, of 2**64 or more
        assert abs(price - exact) <= exact / 2**190 + 1


@pytest.mark.parametrize("tick", TICKS)
def test_price_e36__edges(maths: Contract, tick: int) -> None:
    root = sqrt_price_at_tick(tick)
    square = Fraction(root**2, 2**192)
    assert_precise(maths.price_e36(tick, False), square * E36, root)
    assert_precise(maths.price_e36(tick, True), E36 / square, root)


def test_price_e36__random_ticks(maths: Contract) -> None:
    rng = random.Random(1)
    for _ in range(100):
        tick = rng.randint(-887_272, 887_272)
        root = sqrt_price_at_tick(tick)
        square = Fraction(root**2, 2**192)
        assert_precise(maths.price_e36(tick, False), square * E36, root)
        assert_precise(maths.price_e36(tick, True), E36 / square, root)


def test_price_e36__is_a_power_of_1_0001(maths: Contract) -> None:
    for tick in (-400_000, -7, 0, 12, 400_000):
        exact = Fraction(10_001, 10_000) ** tick * E36
        assert abs(maths.price_e36(tick, False) - exact) <= exact / 2**48 + 1
