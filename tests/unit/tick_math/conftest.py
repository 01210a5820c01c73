"""The maths under test, and a real pool that has no price yet."""

from collections.abc import Iterator

import pytest

from perpool.build import load_npm_artifact
from perpool.evm import Contract, Evm
from tests.uniswap import V3_FACTORY, V3_POOL


@pytest.fixture(scope="module")
def maths(chain: Evm) -> Iterator[Contract]:
    with chain.anchor():
        yield chain.deploy("OracleMath")


@pytest.fixture(scope="module")
def blank_pool(chain: Evm) -> Iterator[Contract]:
    with chain.anchor():
        factory = chain.deploy(load_npm_artifact(V3_FACTORY))
        tokens = (chain.deploy("TestToken", "Token", "TKN", 18) for _ in range(2))
        pool = factory.createPool(*tokens, 3_000)
        yield chain.at(load_npm_artifact(V3_POOL), pool)
