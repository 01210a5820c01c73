"""`price_bounds` and `price_bounds_and_volatility`: what new risk is judged by."""

from __future__ import annotations

from decimal import Decimal

import pytest

from perpool.evm import Contract, reverts
from perpool.reference import oracle as reference
from perpool.reports import Domain
from tests.oracles import Panel
from tests.unit.price_oracle.conftest import (
    ANSWER,
    MAX_AGE,
    NO_SOURCE,
    NO_TWAP,
    PRICE,
    TOLERANCE,
    USDT_ANSWER,
    USDT_MAX_AGE,
    WAD,
    WINDOW,
)


def check(oracle: Contract, low: int, high: int) -> None:
    """Both views give these bounds."""
    assert oracle.price_bounds() == (low, high)
    assert oracle.price_bounds_and_volatility() == (low, high, reference.UNKNOWN_VOLATILITY)


def refuses(oracle: Contract, reason: str) -> None:
    """Both views revert for this reason."""
    for view in (oracle.price_bounds, oracle.price_bounds_and_volatility):
        with reverts(reason):
            view()


def scale(market) -> int:
    return reference.price_scale(market.token.decimals(), 6, market.feed.decimals())


# -- the primary feed --


@pytest.mark.parametrize("age", [MAX_AGE + 1, 10**6])
def test_price_bounds__stale(plain_market, evm, age: int) -> None:
    oracle = plain_market.oracle()
    plain_market.feed.set_at(ANSWER, evm.timestamp - age)
    evm.warp(0)
    plain_market.feed.set_at(ANSWER, evm.timestamp - age)
    refuses(oracle, "stale price")


@pytest.mark.parametrize("updated_at", ["never", "in the future"])
def test_price_bounds__impossible_time(plain_market, evm, updated_at: str) -> None:
    oracle = plain_market.oracle()
    plain_market.feed.set_at(ANSWER, 0 if updated_at == "never" else evm.timestamp + 100)
    refuses(oracle, "stale price")


@pytest.mark.parametrize(
    "answer", [0, -1, -(2**191), ANSWER // 100 - 1, ANSWER * 100 + 1, 2**191 - 1]
)
def test_price_bounds__out_of_range(plain_market, evm, answer: int) -> None:
    oracle = plain_market.oracle()
    plain_market.feed.set(answer)
    refuses(oracle, "price out of range")


def test_price_bounds__feed_that_catches_up(plain_market, evm) -> None:
    # a real PriceFeed in a crash: new risk waits, liquidations do not
    feed = evm.deploy("PriceFeed", plain_market.token, "TKN / USDT", 300, 60, WAD // 5)
    panel = Panel.seat(evm, feed, Domain.of_price_feed)
    source = (feed.address, MAX_AGE, 1, 10**24)
    oracle = evm.deploy(
        "PriceOracle", plain_market.token, plain_market.usdt, source, NO_SOURCE, NO_TWAP
    )
    prices = []
    for price in (10 * WAD, 7 * WAD, 7 * WAD):
        evm.warp(60)
        feed.submit(*panel.price_round(evm.timestamp, plain_market.token.address, [price] * 3))
        prices.append(oracle.liquidation_price())
        if prices[-1] == 8 * 10**24:
            refuses(oracle, "price is catching up")
        else:
            check(oracle, prices[-1], prices[-1])
    assert prices == [10 * 10**24, 8 * 10**24, 7 * 10**24]


def test_price_bounds__feed_that_reverts(plain_market, evm) -> None:
    source = (evm.deploy("PriceFeed", plain_market.token, "T", 300, 60, WAD // 5).address, 60, 1, 9)
    oracle = evm.deploy(
        "PriceOracle", plain_market.token, plain_market.usdt, source, NO_SOURCE, NO_TWAP
    )
    refuses(oracle, "no such round")


def test_price_bounds__feed_without_code(plain_market, evm) -> None:
    oracle = plain_market.oracle()
    evm.set_code(plain_market.feed, b"")
    refuses(oracle, "")


def test_price_bounds__of_the_feed_alone(market, evm) -> None:
    oracle = market.oracle()
    for answer in (ANSWER, ANSWER // 100, ANSWER * 100, 1_234_567_891):
        market.feed.set(answer)
        price = answer * market.one_e36 // 10**8
        assert price == answer * scale(market)
        check(oracle, price, price)


def test_price_bounds__just_fresh_enough(plain_market, evm) -> None:
    oracle = plain_market.oracle()
    plain_market.feed.set(ANSWER)
    evm.warp(MAX_AGE)
    check(oracle, 10**25, 10**25)
    evm.warp(1)
    refuses(oracle, "stale price")


@pytest.mark.parametrize("feed_decimals", [0, 6, 8, 18])
def test_price_bounds__any_feed_decimals(market, evm, feed_decimals: int) -> None:
    feed = evm.deploy("TestFeed", feed_decimals, 10 * 10**feed_decimals)
    source = (feed.address, MAX_AGE, 1, 100 * 10**feed_decimals)
    oracle = evm.deploy("PriceOracle", market.token, market.usdt, source, NO_SOURCE, NO_TWAP)
    check(oracle, 10 * market.one_e36, 10 * market.one_e36)


# -- USDT/USD --


def test_price_bounds__stale_usdt(plain_market, evm) -> None:
    oracle = plain_market.oracle(usdt_usd=True)
    evm.warp(USDT_MAX_AGE + 1)
    plain_market.feed.set(ANSWER)
    refuses(oracle, "stale price")


@pytest.mark.parametrize("answer", [0, -1, 9 * 10**7 - 1, 11 * 10**7 + 1])
def test_price_bounds__usdt_out_of_range(plain_market, evm, answer: int) -> None:
    oracle = plain_market.oracle(usdt_usd=True)
    plain_market.usdt_feed.set(answer)
    plain_market.feed.set(ANSWER)
    refuses(oracle, "price out of range")


@pytest.mark.parametrize("usdt_answer", [USDT_ANSWER, 99_999_999, 9 * 10**7, 100_000_007])
def test_price_bounds__divided_by_usdt(market, evm, usdt_answer: int) -> None:
    oracle = market.oracle(usdt_usd=True)
    for answer in (ANSWER, 1_234_567_891):
        with evm.same_block():
            market.usdt_feed.set(usdt_answer)
            market.feed.set(answer)
        low, high = reference.feed_price(answer, scale(market), usdt_answer, 8)
        assert high - low == (answer * scale(market) * 10**8 % usdt_answer != 0)
        check(oracle, low, high)


# -- TWAP --


def test_price_bounds__pool_too_young(plain_market, evm, v3) -> None:
    young = v3.create_pool(plain_market.token, plain_market.usdt, fee=500, price=PRICE)
    oracle = evm.deploy(
        "PriceOracle",
        *(plain_market.token, plain_market.usdt, plain_market.primary, NO_SOURCE),
        (young.address, WINDOW, TOLERANCE),
    )
    evm.warp(WINDOW - 100)
    plain_market.refresh()
    with evm.anchor():
        # Uniswap's own reason
        refuses(oracle, "OLD")
    evm.warp(100)
    plain_market.refresh()
    low, high = oracle.price_bounds()
    assert low <= 10 * plain_market.one_e36 <= high


@pytest.mark.parametrize("price", ["9", "11.2"])
def test_price_bounds__prices_disagree(plain_market, evm, price: str) -> None:
    oracle = plain_market.oracle(twap=True)
    plain_market.hold(Decimal(price), WINDOW)
    refuses(oracle, "prices disagree")
    # liquidations go by the feed
    assert oracle.liquidation_price() == 10 * plain_market.one_e36


@pytest.mark.parametrize("end", [Decimal("1e-20"), Decimal("1e36")])
def test_price_bounds__average_beyond_any_price(plain_market, evm, end: Decimal) -> None:
    oracle = plain_market.oracle(twap=True)
    plain_market.hold(end, 2 * WINDOW)
    refuses(oracle, "prices disagree")


@pytest.mark.parametrize("price", ["9.6", "10", "10.4"])
def test_price_bounds__the_worse_of_feed_and_average(market, evm, price: str) -> None:
    oracle = market.oracle(twap=True)
    market.hold(Decimal(price), 2 * WINDOW)
    average = market.pool.twap_price_e36(WINDOW)
    # the average is the price it was held at, to a tick of 0.01 %
    assert abs(average - int(Decimal(price) * market.one_e36)) <= average // 9_000
    exact = 10 * market.one_e36
    bounds = reference.price_bounds((exact, exact), average, TOLERANCE)
    assert bounds == (min(exact, average), max(exact, average + 1))
    check(oracle, *bounds)


def test_price_bounds__average_of_a_price_that_moves(plain_market, evm) -> None:
    oracle = plain_market.oracle(twap=True)
    for price in ("9.7", "10.3", "9.9", "10.2"):
        plain_market.hold(Decimal(price), WINDOW // 4)
    average = plain_market.pool.twap_price_e36(WINDOW)
    low, high = oracle.price_bounds()
    exact = 10 * plain_market.one_e36
    assert (low, high) == (min(exact, average), max(exact, average + 1))
    assert 99 * exact < 100 * average < 101 * exact


def test_price_bounds__tolerance_is_of_the_lower(plain_market, evm) -> None:
    oracle = plain_market.oracle(twap=True)
    average = plain_market.pool.twap_price_e36(WINDOW)
    answer_scale = scale(plain_market)
    # the highest answer that is within 5 % of the average, and the lowest that the average is
    highest = average * 21 // 20 // answer_scale
    lowest = -(-(average + 1) * 20 // 21 // answer_scale)
    for answer, fits in (
        (highest, True),
        (highest + 1, False),
        (lowest, True),
        (lowest - 1, False),
    ):
        plain_market.feed.set(answer)
        exact = answer * answer_scale
        if fits:
            check(oracle, *reference.price_bounds((exact, exact), average, TOLERANCE))
        else:
            refuses(oracle, "prices disagree")
            with pytest.raises(ValueError, match="prices disagree"):
                reference.price_bounds((exact, exact), average, TOLERANCE)


def test_price_bounds__of_all_three(market, evm) -> None:
    oracle = market.oracle(usdt_usd=True, twap=True)
    with evm.same_block():
        market.usdt_feed.set(99_000_001)
        market.feed.set(ANSWER)
    average = market.pool.twap_price_e36(WINDOW)
    price = reference.feed_price(ANSWER, scale(market), 99_000_001, 8)
    low, high = reference.price_bounds(price, average, TOLERANCE)
    assert low == average
    assert high == price[1]
    check(oracle, low, high)


# -- gas --


def test_price_bounds__costs_little(plain_market, evm) -> None:
    oracle = plain_market.oracle()
    plain_market.feed.set(ANSWER)
    receipt = oracle.price_bounds_and_volatility.transact()
    # a transaction with its selector; of the rest 6,800 are the call of the feed and the two words
    assert receipt.gas_used - 21_064 < 8_500
