"""`tick_math._sqrt_price_x96` against TickMath as it is compiled into the real pool.

A pool that is given a price computes its tick: the highest whose sqrt price is not above it. So a
sqrt price is TickMath's of tick t exactly if the pool says t there and t - 1 one unit below.
"""

import random

import pytest

from perpool import uniswap
from perpool.evm import Contract, Evm, reverts

EDGES = [-887_271, -500_000, -65_537, -1, 0, 1, 2, 65_536, 500_000, 887_271]
POWERS = [sign * 2**bit for bit in range(1, 20) for sign in (-1, 1)]


def tick_of(evm: Evm, pool: Contract, sqrt_price_x96: int) -> int:
    with evm.anchor():
        pool.initialize(sqrt_price_x96)
        return int(pool.slot0()[1])


@pytest.mark.parametrize("tick", [*EDGES, *POWERS])
def test_sqrt_price_x96__is_where_the_real_pool_changes_its_tick(
    evm: Evm, maths: Contract, blank_pool: Contract, tick: int
) -> None:
    root = maths.sqrt_price_x96(tick)
    assert tick_of(evm, blank_pool, root) == tick
    assert tick_of(evm, blank_pool, root - 1) == tick - 1


def test_sqrt_price_x96__random_ticks(evm: Evm, maths: Contract, blank_pool: Contract) -> None:
    rng = random.Random(1)
    for _ in range(100):
        tick = rng.randint(-887_271, 887_271)
        root = maths.sqrt_price_x96(tick)
        assert tick_of(evm, blank_pool, root) == tick
        assert tick_of(evm, blank_pool, root - 1) == tick - 1


def test_sqrt_price_x96__ends_of_the_range(evm: Evm, maths: Contract, blank_pool: Contract) -> None:
    lowest, highest = maths.sqrt_price_x96(-887_272), maths.sqrt_price_x96(887_272)
    assert (lowest, highest) == (uniswap.MIN_SQRT_PRICE_X96, uniswap.MAX_SQRT_PRICE_X96)
    assert tick_of(evm, blank_pool, lowest) == -887_272
    assert tick_of(evm, blank_pool, highest - 1) == 887_271
    for outside in (lowest - 1, highest):
        with reverts("R"):
            blank_pool.initialize(outside)


@pytest.mark.parametrize("tick", [-887_273, 887_273, -(2**255) + 1, 2**255 - 1])
def test_sqrt_price_x96__outside_the_range(evm: Evm, maths: Contract, tick: int) -> None:
    with reverts("tick out of bounds"):
        maths.sqrt_price_x96(tick)
