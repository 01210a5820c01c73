"""`medians._median_word`: four medians at once."""

import itertools
import random
from collections.abc import Iterator

import pytest

from perpool.evm import Contract, Evm
from perpool.reference.oracle import median

LANE = 2**63 - 1
SENTINEL = 0


@pytest.fixture(scope="module")
def maths(chain: Evm) -> Iterator[Contract]:
    with chain.anchor():
        yield chain.deploy("OracleMath")


def pack(lanes: list[int]) -> int:
    return sum(lane << 64 * index for index, lane in enumerate(lanes))


def unpack(word: int) -> list[int]:
    return [word >> 64 * index & 2**64 - 1 for index in range(4)]


def expected(rows: list[list[int]], least: int) -> list[int]:
    """The medians of four lanes, by sorting."""
    lanes = []
    for column in zip(*rows, strict=True):
        values = [value for value in column if value != SENTINEL]
        lanes.append(median(values) if len(values) >= least else SENTINEL)
    return lanes


@pytest.mark.parametrize("count", range(1, 16))
def test_median_word__all_have_a_value(maths: Contract, count: int) -> None:
    rng = random.Random(count)
    for _ in range(4):
        rows = [[rng.randint(1, LANE) for _ in range(4)] for _ in range(count)]
        word = maths.median_word([pack(row) for row in rows], 1)
        assert unpack(word) == expected(rows, 1)


@pytest.mark.parametrize("count", range(3, 16))
def test_median_word__some_have_none(maths: Contract, count: int) -> None:
    rng = random.Random(count)
    least = count // 2 + 1
    seen = set()
    for _ in range(8):
        rows = [
            [rng.choice([SENTINEL, rng.randint(1, LANE)]) for _ in range(4)] for _ in range(count)
        ]
        word = maths.median_word([pack(row) for row in rows], least)
        medians = expected(rows, least)
        seen |= {lane == SENTINEL for lane in medians}
        assert unpack(word) == medians
    assert seen == {True, False}


def test_median_word__every_order_of_five(maths: Contract) -> None:
    # each lane goes through the orders from another start, so that lanes differ from one another
    orders = list(itertools.permutations(range(1, 6)))
    for start in range(0, len(orders), 4):
        columns = [orders[(start + shift) % len(orders)] for shift in range(4)]
        words = [pack([column[row] for column in columns]) for row in range(5)]
        assert unpack(maths.median_word(words, 3)) == [3, 3, 3, 3]


def test_median_word__equal_and_extreme_values(maths: Contract) -> None:
    rows = [
        [1, LANE, 7, 1],
        [LANE, LANE, 7, 1],
        [1, LANE, 7, LANE],
        [LANE, LANE, 7, 2],
        [1, LANE, 7, 2],
    ]
    assert unpack(maths.median_word([pack(row) for row in rows], 3)) == [1, LANE, 7, 2]


@pytest.mark.parametrize("count", [4, 5])
def test_median_word__the_highest_bit_of_a_lane_is_ignored(maths: Contract, count: int) -> None:
    rows = [[index + 1, 10 + index, 20 + index, 30 + index] for index in range(count)]
    words = [pack(row) for row in rows]
    # a reporter who sets highest bits must not reach a neighbouring lane
    loud = [words[0] | pack([2**63] * 4), *words[1:]]
    assert maths.median_word(loud, 3) == maths.median_word(words, 3)
    assert unpack(maths.median_word(loud, 3)) == expected(rows, 3)


@pytest.mark.parametrize(("low", "high"), [(1, 2), (5, 6), (LANE - 1, LANE), (1, LANE)])
def test_median_word__of_an_even_number_rounds_down(maths: Contract, low: int, high: int) -> None:
    rows = [[low] * 4, [high] * 4]
    assert unpack(maths.median_word([pack(row) for row in rows], 2)) == [(low + high) // 2] * 4


def test_median_word__a_value_short_of_the_quorum(maths: Contract) -> None:
    rows = [[5, 0, 5, 0], [6, 6, 0, 0], [7, 7, 7, 0], [0, 8, 0, 8], [0, 0, 0, 9]]
    assert unpack(maths.median_word([pack(row) for row in rows], 3)) == [6, 7, 0, 0]
