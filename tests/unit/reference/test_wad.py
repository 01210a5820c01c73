"""exp and ln of the reference model, against snekmate on the chain and against Decimal."""

import random
from collections.abc import Iterator
from decimal import Decimal, localcontext

import pytest

from perpool.evm import Contract, Evm, reverts
from perpool.reference.wad import WAD, ceil_div, truncated_div, wad_exp, wad_ln

EDGES = [
    -(2**255),
    -41_446_531_673_892_822_314,
    -41_446_531_673_892_822_313,
    -41_446_531_673_892_822_312,
    -WAD,
    -1,
    0,
    1,
    WAD,
    135_305_999_368_893_231_588,
]


@pytest.fixture(scope="module")
def maths(chain: Evm) -> Iterator[Contract]:
    with chain.anchor():
        yield chain.deploy("OracleMath")


def test_wad_exp__edges(maths: Contract) -> None:
    for x in EDGES:
        assert wad_exp(x) == maths.wad_exp(x)


def test_wad_exp__random(maths: Contract) -> None:
    rng = random.Random(1)
    for _ in range(200):
        x = rng.randint(-42 * WAD, 135 * WAD)
        assert wad_exp(x) == maths.wad_exp(x)


def test_wad_exp__overflow(maths: Contract) -> None:
    with reverts("math: wad_exp overflow"):
        maths.wad_exp(135_305_999_368_893_231_589)
    with pytest.raises(OverflowError):
        wad_exp(135_305_999_368_893_231_589)


def test_wad_ln__edges(maths: Contract) -> None:
    for x in (0, 1, 2, WAD - 1, WAD, WAD + 1, 2**187, 2**255 - 1):
        assert wad_ln(x) == maths.wad_ln(x)


def test_wad_ln__random(maths: Contract) -> None:
    rng = random.Random(2)
    for _ in range(200):
        x = rng.randint(1, 2 ** rng.randint(1, 255) - 1)
        assert wad_ln(x) == maths.wad_ln(x)


def test_wad_ln__of_a_negative_number(maths: Contract) -> None:
    with reverts("math: wad_ln undefined"):
        maths.wad_ln(-1)
    with pytest.raises(ValueError, match="undefined"):
        wad_ln(-1)


def test_wad_exp_and_ln__close_to_the_true_values() -> None:
    rng = random.Random(3)
    with localcontext() as context:
        context.prec = 60
        for _ in range(200):
            x = rng.randint(-20 * WAD, 0)
            assert abs(wad_exp(x) - (Decimal(x) / WAD).exp() * WAD) <= 1
            y = rng.randint(1, 2**187)
            assert abs(wad_ln(y) - (Decimal(y) / WAD).ln() * WAD) <= 2


def test_divisions__round_as_they_say() -> None:
    assert [truncated_div(7, 2), truncated_div(-7, 2), truncated_div(-7, -2)] == [3, -3, 3]
    assert [ceil_div(7, 2), ceil_div(8, 2), ceil_div(-7, 2)] == [4, 4, -3]
