"""`liquidation_price`: needs only a fresh primary feed."""

from __future__ import annotations

from decimal import Decimal

import pytest

from perpool.evm import reverts
from perpool.reference import oracle as reference
from tests.unit.price_oracle.conftest import ANSWER, MAX_AGE, USDT_MAX_AGE, WINDOW


def test_liquidation_price__stale(plain_market, evm) -> None:
    oracle = plain_market.oracle()
    evm.warp(MAX_AGE + 1)
    with reverts("stale price"):
        oracle.liquidation_price()


@pytest.mark.parametrize("answer", [-1, 0, ANSWER * 100 + 1])
def test_liquidation_price__out_of_range(plain_market, evm, answer: int) -> None:
    oracle = plain_market.oracle()
    plain_market.feed.set(answer)
    with reverts("price out of range"):
        oracle.liquidation_price()


def test_liquidation_price__of_the_feed_alone(market, evm) -> None:
    oracle = market.oracle()
    market.feed.set(ANSWER * 3 // 4)
    assert oracle.liquidation_price() == market.one_e36 * 15 // 2


def test_liquidation_price__divided_by_usdt_rounded_down(market, evm) -> None:
    oracle = market.oracle(usdt_usd=True)
    with evm.same_block():
        market.usdt_feed.set(99_999_999)
        market.feed.set(ANSWER)
    scale = reference.price_scale(market.token.decimals(), 6, 8)
    assert oracle.liquidation_price() == reference.feed_price(ANSWER, scale, 99_999_999, 8)[0]


def test_liquidation_price__takes_usdt_at_any_age(plain_market, evm) -> None:
    oracle = plain_market.oracle(usdt_usd=True)
    plain_market.usdt_feed.set(98 * 10**6)
    evm.warp(USDT_MAX_AGE + 1)
    plain_market.feed.set(ANSWER)
    with reverts("stale price"):
        oracle.price_bounds()
    assert oracle.liquidation_price() == 10 * plain_market.one_e36 * 100 // 98


@pytest.mark.parametrize(
    ("answer", "held"), [(0, 9 * 10**7), (-1, 9 * 10**7), (2 * 10**8, 11 * 10**7)]
)
def test_liquidation_price__holds_usdt_in_its_range(plain_market, evm, answer, held) -> None:
    oracle = plain_market.oracle(usdt_usd=True)
    plain_market.usdt_feed.set(answer)
    plain_market.feed.set(ANSWER)
    with reverts("price out of range"):
        oracle.price_bounds()
    assert oracle.liquidation_price() == 10 * plain_market.one_e36 * 10**8 // held


def test_liquidation_price__does_not_look_at_the_pool(plain_market, evm) -> None:
    oracle = plain_market.oracle(twap=True)
    plain_market.hold(Decimal(2), WINDOW)
    with reverts("prices disagree"):
        oracle.price_bounds()
    assert oracle.liquidation_price() == 10 * plain_market.one_e36
