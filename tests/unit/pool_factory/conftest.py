"""A factory with one market, capped at zero and no hook attached, and who has a say in it."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from perpool.evm import Account, Contract, Evm
from tests.market import Leg, Market, deploy_market

NOT_OWNER = "ownable: caller is not the owner"


@pytest.fixture(scope="module")
def market(chain: Evm) -> Iterator[Market]:
    with chain.anchor():
        yield deploy_market(chain, capped=True, make_hook=lambda *_: chain.deploy("TestHook"))


@pytest.fixture(autouse=True)
def _isolate(evm: Evm) -> None:
    """Undo what a test does."""


@pytest.fixture
def factory(market: Market) -> Contract:
    return market.factory


@pytest.fixture
def stranger(market: Market) -> Account:
    return market.evm.account("stranger")


FIELDS = (
    *("token", "usdt", "symbol", "funding_oracle", "price_oracle", "standard_hook"),
    *("reverse", "forward"),
)


def parameters_of(market: Market, **changes: Any) -> tuple[Any, ...]:
    """The market's parameters with some of the fields changed; legs are given as `Leg`."""
    given = dict(zip(FIELDS, market.parameters, strict=True)) | changes
    return tuple(value.as_tuple() if isinstance(value, Leg) else value for value in given.values())


def with_leg(market: Market, leg: str, **changes: int) -> tuple[Any, ...]:
    """The market's parameters with one leg, "reverse" or "forward", changed."""
    default = market.reverse_leg if leg == "reverse" else market.forward_leg
    return parameters_of(market, **{leg: replace(default, **changes)})
