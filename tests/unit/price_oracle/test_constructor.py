"""`PriceOracle.__init__` and what it fixes."""

from __future__ import annotations

from typing import Any

import pytest

from perpool.evm import Contract, reverts
from tests.oracles import ZERO_ADDRESS
from tests.unit.price_oracle.conftest import NO_SOURCE, NO_TWAP, WAD

WEEK = 7 * 86_400


def deploy(market, **changes: Any) -> Contract:
    """An oracle with every part, some of them changed."""
    parts = {
        "token": market.token,
        "usdt": market.usdt,
        "primary": market.primary,
        "usdt_usd": market.usdt_usd,
        "twap": market.twap,
    } | changes
    return market.evm.deploy("PriceOracle", *parts.values())


@pytest.mark.parametrize("part", ["token", "usdt"])
def test_constructor__zero_address(plain_market, evm, part: str) -> None:
    with reverts("zero address"):
        deploy(plain_market, **{part: ZERO_ADDRESS})


def test_constructor__no_primary_feed(plain_market, evm) -> None:
    with reverts("zero address"):
        deploy(plain_market, primary=NO_SOURCE)


def test_constructor__equal_tokens(plain_market, evm) -> None:
    with reverts("equal tokens"):
        deploy(plain_market, usdt=plain_market.token)


@pytest.mark.parametrize("source", ["primary", "usdt_usd"])
@pytest.mark.parametrize("max_age", [0, WEEK + 1, 2**256 - 1])
def test_constructor__max_age_out_of_bounds(plain_market, evm, source: str, max_age: int) -> None:
    feed, _, low, high = getattr(plain_market, source)
    with reverts("max age out of bounds"):
        deploy(plain_market, **{source: (feed, max_age, low, high)})


@pytest.mark.parametrize("source", ["primary", "usdt_usd"])
@pytest.mark.parametrize(("low", "high"), [(0, 10), (10, 10), (11, 10), (1, 2**187 + 1)])
def test_constructor__bad_price_range(plain_market, evm, source: str, low: int, high: int) -> None:
    feed, max_age, *_ = getattr(plain_market, source)
    with reverts("bad price range"):
        deploy(plain_market, **{source: (feed, max_age, low, high)})


@pytest.mark.parametrize("part", ["token", "usdt"])
def test_constructor__decimals_out_of_bounds(plain_market, evm, part: str) -> None:
    fine = evm.deploy("TestToken", "Fine", "FINE", 25)
    with reverts("decimals out of bounds"):
        deploy(plain_market, **{part: fine}, twap=NO_TWAP)


@pytest.mark.parametrize(("token", "usdt", "feed"), [(24, 6, 19), (24, 0, 13), (0, 24, 0)])
def test_constructor__scale_out_of_bounds(evm, plain_market, token, usdt, feed) -> None:
    # below 1, or beyond what a word holds
    with reverts("decimals out of bounds"):
        deploy(
            plain_market,
            token=evm.deploy("TestToken", "Token", "TKN", token),
            usdt=evm.deploy("UsdtLike", usdt),
            primary=(evm.deploy("TestFeed", feed, 1).address, 1, 1, 2),
            usdt_usd=(evm.deploy("TestFeed", 18, 1).address, 1, 1, 2) if not token else NO_SOURCE,
            twap=NO_TWAP,
        )


def test_constructor__prices_that_do_not_fit(plain_market, evm) -> None:
    # 36 + 6 - 18 - 8 + 8 decimals are gained
    feed, max_age, low, _ = plain_market.primary
    highest = 2**187 // 10**24
    with reverts("bad price range"):
        deploy(plain_market, primary=(feed, max_age, low, highest + 1))
    deploy(plain_market, primary=(feed, max_age, low, highest))


def test_constructor__prices_of_zero(plain_market, evm) -> None:
    # USDT at more than the token's lowest answer times the scale
    feed, max_age, *_ = plain_market.primary
    usdt_feed, usdt_max_age, *_ = plain_market.usdt_usd
    for usdt_highest, fits in ((10**24 + 1, False), (10**24, True)):
        parts = {
            "primary": (feed, max_age, 1, 100),
            "usdt_usd": (usdt_feed, usdt_max_age, 1, usdt_highest),
        }
        if fits:
            deploy(plain_market, **parts)
        else:
            with reverts("bad price range"):
                deploy(plain_market, **parts)


@pytest.mark.parametrize("strangers", ["token", "usdt"])
def test_constructor__wrong_pool(plain_market, evm, strangers: str) -> None:
    other = evm.deploy("UsdtLike", 6)
    with reverts("wrong pool"):
        deploy(plain_market, **{strangers: other})


@pytest.mark.parametrize("window", [0, 299, 86_401, 2**32 + 300])
def test_constructor__window_out_of_bounds(plain_market, evm, window: int) -> None:
    with reverts("window out of bounds"):
        deploy(plain_market, twap=(plain_market.pool.address, window, WAD // 20))


@pytest.mark.parametrize("tolerance", [0, WAD // 2 + 1])
def test_constructor__tolerance_out_of_bounds(plain_market, evm, tolerance: int) -> None:
    with reverts("tolerance out of bounds"):
        deploy(plain_market, twap=(plain_market.pool.address, 300, tolerance))


def test_constructor__succeeds(market, evm) -> None:
    oracle = deploy(market)
    assert (oracle.token(), oracle.usdt()) == (market.token.address, market.usdt.address)
    assert tuple(oracle.primary()) == market.primary
    assert tuple(oracle.usdt_usd()) == market.usdt_usd
    assert tuple(oracle.twap()) == market.twap


def test_constructor__without_the_optional_parts(market, evm) -> None:
    oracle = deploy(market, usdt_usd=NO_SOURCE, twap=NO_TWAP)
    assert tuple(oracle.usdt_usd()) == NO_SOURCE
    assert tuple(oracle.twap()) == NO_TWAP


def test_constructor__does_not_need_a_price(plain_market, evm) -> None:
    # a PriceFeed before its first round
    feed = evm.deploy("PriceFeed", plain_market.token, "TKN / USDT", 300, 60, WAD // 5)
    oracle = deploy(plain_market, primary=(feed.address, 3_600, 1, 10**24))
    with reverts("no such round"):
        oracle.liquidation_price()
