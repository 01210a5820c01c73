"""`medians._median`: of whole words."""

import random
from collections.abc import Iterator

import pytest

from perpool.evm import Contract, Evm
from perpool.reference.oracle import median

LARGEST = 2**256 - 1


@pytest.fixture(scope="module")
def maths(chain: Evm) -> Iterator[Contract]:
    with chain.anchor():
        yield chain.deploy("OracleMath")


@pytest.mark.parametrize("count", range(1, 16))
def test_median__equals_the_middle_of_the_sorted(maths: Contract, count: int) -> None:
    rng = random.Random(count)
    for largest in (3, LARGEST):
        for _ in range(5):
            values = [rng.randint(0, largest) for _ in range(count)]
            assert maths.median(values) == median(values)


def test_median__sorted_and_reversed(maths: Contract) -> None:
    values = list(range(15))
    assert maths.median(values) == maths.median(values[::-1]) == 7


def test_median__of_the_two_largest_words(maths: Contract) -> None:
    assert maths.median([LARGEST, LARGEST - 1]) == LARGEST - 1
    assert maths.median([LARGEST, LARGEST]) == LARGEST


def test_median__reference_refuses_no_values() -> None:
    with pytest.raises(ValueError, match="no values"):
        median([])
