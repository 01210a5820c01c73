"""Each pool in turn: what the modules that both are made of promise holds for both."""

from collections.abc import Iterator
from itertools import product

import pytest

from perpool.evm import Evm
from tests.market import deploy_market
from tests.pools import Side

SIDES = ("reverse", "forward")


@pytest.fixture(scope="module", params=SIDES)
def side(request: pytest.FixtureRequest, chain: Evm) -> Iterator[Side]:
    """A pool of an 18-decimal token and 6-decimal USDT, a fee of 10 %, no caps."""
    with chain.anchor():
        yield Side.of(deploy_market(chain), request.param)


@pytest.fixture(autouse=True)
def _isolate(evm: Evm) -> None:
    """Undo what a test does."""


@pytest.fixture(params=list(product(SIDES, (6, 8, 18, 24))), ids=lambda p: f"{p[0]}-{p[1]}")
def side_of_decimals(request: pytest.FixtureRequest, evm: Evm) -> Side:
    """A pool whose asset has so many decimals."""
    name, decimals = request.param
    changed = "usdt_decimals" if name == "reverse" else "token_decimals"
    return Side.of(deploy_market(evm, **{changed: decimals}), name)
