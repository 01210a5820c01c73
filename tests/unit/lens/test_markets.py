"""`markets` and `market_count`: a factory's registry, page by page."""

from __future__ import annotations

import pytest

from perpool.evm import Evm
from tests.market import MAX, deploy_market
from tests.unit.lens.conftest import Scene


def test_markets__one(scene: Scene) -> None:
    market = scene.market
    assert scene.lens.market_count(market.factory) == 1
    (view,) = scene.lens.markets(market.factory, 0, MAX)
    assert view.as_dict() == {
        "market_index": 0,
        "token": market.token.address,
        "usdt": market.usdt.address,
        "reverse_pool": market.reverse.address,
        "forward_pool": market.forward.address,
        "reverse_symbol": "ppUSDT-TKN",
        "forward_symbol": "ppTKN",
        "token_decimals": market.token.decimals(),
        "usdt_decimals": market.usdt.decimals(),
        "funding_oracle": market.funding.address,
        "price_oracle": market.oracle.address,
    }


@pytest.mark.parametrize(
    ("first", "count", "expected"),
    [(0, 2, [0, 1]), (1, 5, [1, 2]), (2, 0, []), (3, 1, []), (MAX, MAX, [])],
)
def test_markets__pages(evm: Evm, first: int, count: int, expected: list[int]) -> None:
    market = deploy_market(evm)
    lens = evm.deploy("Lens")
    for kink in (80, 90):
        legs = [list(leg) for leg in market.parameters[6:]]
        legs[0][3] = kink * 10**16
        market.factory.create_market((*market.parameters[:6], *legs), sender=market.owner)
    views = lens.markets(market.factory, first, count)
    assert [view.market_index for view in views] == expected
    for view in views:
        registered = market.factory.market(view.market_index)
        assert (view.reverse_pool, view.forward_pool) == tuple(registered)[2:]


def test_markets__none(evm: Evm) -> None:
    market = deploy_market(evm)
    lens = evm.deploy("Lens")
    config = market.reverse.config()
    factory = evm.deploy(
        "PoolFactory",
        *market.factory.blueprints(),
        bytes(32),
        bytes(32),
        config.operators,
    )
    assert lens.market_count(factory) == 0
    assert lens.markets(factory, 0, 50) == []
