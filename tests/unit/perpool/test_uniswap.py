"""Uniswap's arithmetic against Uniswap's own contracts."""

from collections.abc import Iterator
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perpool import uniswap
from perpool.build import load_npm_artifact
from perpool.evm import Contract, Evm
from perpool.uniswap import MAX_SQRT_PRICE_X96, MAX_TICK, MIN_SQRT_PRICE_X96, MIN_TICK, TokenPair
from tests.uniswap import V3_POOL, UniswapV2, UniswapV3

LOW = "0x" + 39 * "0" + "1"
HIGH = "0x" + 39 * "0" + "2"

prices = st.decimals("0.000001", "1000000", places=6)
decimals = st.sampled_from([6, 8, 18, 24])


@pytest.fixture(scope="module")
def v3(chain: Evm) -> Iterator[UniswapV3]:
    with chain.anchor():
        yield UniswapV3(chain)


@pytest.fixture(params=[6, 8, 18, 24], ids="{} decimals".format)
def token(evm: Evm, request: pytest.FixtureRequest) -> Contract:
    return evm.deploy("TestToken", "Token", "TKN", request.param)


@pytest.fixture
def usdt(evm: Evm) -> Contract:
    return evm.deploy("UsdtLike", 6)


def both_orders(base_decimals: int) -> list[TokenPair]:
    return [TokenPair(LOW, HIGH, base_decimals, 6), TokenPair(HIGH, LOW, base_decimals, 6)]


# -- ticks --


def test_sqrt_price_at_tick__ends() -> None:
    assert uniswap.sqrt_price_at_tick(MIN_TICK) == MIN_SQRT_PRICE_X96
    assert uniswap.sqrt_price_at_tick(MAX_TICK) == MAX_SQRT_PRICE_X96


@pytest.mark.parametrize("tick", [MIN_TICK - 1, MAX_TICK + 1])
def test_sqrt_price_at_tick__outside(tick: int) -> None:
    with pytest.raises(ValueError, match="outside"):
        uniswap.sqrt_price_at_tick(tick)


@pytest.mark.parametrize("sqrt_price_x96", [0, MIN_SQRT_PRICE_X96 - 1, MAX_SQRT_PRICE_X96])
def test_tick_at_sqrt_price__outside(sqrt_price_x96: int) -> None:
    with pytest.raises(ValueError, match="outside"):
        uniswap.tick_at_sqrt_price(sqrt_price_x96)


@given(st.integers(MIN_TICK, MAX_TICK - 1))
def test_tick_at_sqrt_price__first_price_of_each_tick(tick: int) -> None:
    first = uniswap.sqrt_price_at_tick(tick)
    assert uniswap.tick_at_sqrt_price(first) == tick
    if tick > MIN_TICK:
        assert uniswap.tick_at_sqrt_price(first - 1) == tick - 1


@pytest.mark.parametrize("tick", [MIN_TICK + 1, -500_000, -1, 0, 1, 99, 276_324, 887_000])
def test_tick_at_sqrt_price__as_the_pool(
    evm: Evm, v3: UniswapV3, usdt: Contract, tick: int
) -> None:
    for offset, expected in ((0, tick), (-1, tick - 1)):
        token = evm.deploy("TestToken", "Token", "TKN", 18)
        token0, token1 = uniswap.sort_tokens(token.address, usdt.address)
        v3.factory.createPool(token0, token1, 500)
        pool = evm.at(load_npm_artifact(V3_POOL), v3.factory.getPool(token0, token1, 500))
        pool.initialize(uniswap.sqrt_price_at_tick(tick) + offset)
        assert pool.slot0()[1] == expected


def test_full_range() -> None:
    assert uniswap.full_range(1) == (MIN_TICK, MAX_TICK)
    assert uniswap.full_range(60) == (-887_220, 887_220)


def test_mean_tick__rounds_down() -> None:
    assert uniswap.mean_tick(-10, -25, 10) == -2
    assert uniswap.mean_tick(0, 15, 10) == 1
    with pytest.raises(ValueError, match="different times"):
        uniswap.mean_tick(0, 15, 0)


# -- prices --


@given(prices, decimals)
def test_price__of_its_own_sqrt_price(price: Decimal, base_decimals: int) -> None:
    for pair in both_orders(base_decimals):
        sqrt_price_x96 = pair.sqrt_price_x96(price)
        # the square root is rounded down at 96 bits
        assert pair.price(sqrt_price_x96) == pytest.approx(price, rel=Decimal("1e-9"))


@given(prices, decimals, st.integers(1, 10**30))
def test_price_e36__values_base_amounts(
    price: Decimal, base_decimals: int, base_amount: int
) -> None:
    for pair in both_orders(base_decimals):
        price_e36 = pair.price_e36(pair.sqrt_price_x96(price))
        exact = pair.price(pair.sqrt_price_x96(price)).scaleb(6 - base_decimals) * base_amount
        assert base_amount * price_e36 // 10**36 <= exact
        assert base_amount * price_e36 / 10**36 == pytest.approx(float(exact), rel=1e-9)


@pytest.mark.parametrize("price", ["0", "1e-60", "1e60"])
def test_sqrt_price_x96__outside(price: str) -> None:
    for pair in both_orders(18):
        with pytest.raises(ValueError, match="outside the range"):
            pair.sqrt_price_x96(Decimal(price))


@given(prices, prices, decimals, st.sampled_from([1, 10, 60, 200]))
def test_tick_range__holds_the_prices(
    one: Decimal, other: Decimal, base_decimals: int, spacing: int
) -> None:
    low, high = sorted((one, other))
    for pair in both_orders(base_decimals):
        if low == high:
            with pytest.raises(ValueError, match="no range"):
                pair.tick_range(low, high, spacing)
            continue
        lower, upper = pair.tick_range(low, high, spacing)
        assert lower % spacing == upper % spacing == 0
        inside = sorted(pair.sqrt_price_x96(price) for price in (low, high))
        assert uniswap.sqrt_price_at_tick(lower) <= inside[0]
        assert inside[1] <= uniswap.sqrt_price_at_tick(upper)


# -- liquidity, against the position manager and the pool --


@pytest.mark.parametrize("bounds", [(None, None), ("7", "12"), ("9.99", "10.01"), ("2", "9")])
def test_liquidity__as_the_pool_takes_it(
    evm: Evm, v3: UniswapV3, token: Contract, usdt: Contract, bounds: tuple[str | None, str | None]
) -> None:
    pool = v3.create_pool(token, usdt, fee=3_000, price=Decimal(10))
    low, high = (None if bound is None else Decimal(bound) for bound in bounds)
    quote_amount = 123_456_789_012
    taken = pool.add_liquidity(quote_amount, low=low, high=high)

    ticks = uniswap.full_range(60)
    if low is not None and high is not None:
        ticks = pool.pair.tick_range(low, high, 60)
    price = pool.sqrt_price_x96
    wanted = pool.pair.liquidity_amounts(price, *ticks, quote_amount)
    liquidity = uniswap.liquidity_for_amounts(price, *ticks, *pool.pair.amounts(*wanted))
    minted = evm.last.events("Mint", pool)[0]
    assert minted.amount == liquidity
    assert pool.pair.amounts(*taken) == uniswap.amounts_for_liquidity(price, *ticks, liquidity)
    assert taken[1] == pytest.approx(quote_amount, rel=1e-6)
    assert taken[1] <= quote_amount


def test_liquidity_amounts__no_quote_at_this_price(
    v3: UniswapV3, evm: Evm, token: Contract, usdt: Contract
) -> None:
    pool = v3.create_pool(token, usdt, fee=3_000, price=Decimal(10))
    with pytest.raises(ValueError, match="base token only"):
        pool.add_liquidity(10**9, low=Decimal(11), high=Decimal(12))


# -- the test helpers on the same contracts --


@pytest.mark.parametrize("price", ["7.5", "10", "34"])
def test_swap_to(evm: Evm, v3: UniswapV3, token: Contract, usdt: Contract, price: str) -> None:
    pool = v3.create_pool(token, usdt, fee=3_000, price=Decimal(10))
    pool.add_liquidity(10**12)
    pool.swap_to(Decimal(price))
    assert pool.sqrt_price_x96 == pool.pair.sqrt_price_x96(Decimal(price))
    assert pool.price == pytest.approx(Decimal(price), rel=Decimal("1e-9"))


def test_twap_price_e36(evm: Evm, v3: UniswapV3, token: Contract, usdt: Contract) -> None:
    pool = v3.create_pool(token, usdt, fee=3_000, price=Decimal(10))
    pool.add_liquidity(10**12)
    pool.grow_observations(8)
    assert pool.contract.slot0()[4] == 8
    evm.warp(600)
    pool.swap_to(Decimal(40))
    evm.warp(600)
    # half of the time at 10, half at 40: the geometric mean
    expected = Decimal(20).scaleb(36 + 6 - pool.pair.base_decimals)
    assert pool.twap_price_e36(1_200) == pytest.approx(int(expected), rel=2e-4)


# -- v2 --


@pytest.mark.parametrize("reserves", [(10**12, 10**23), (10**23, 10**12), (1_000, 2_000)])
@given(share=st.integers(1, 10**6))
@settings(max_examples=50)
def test_v2_amounts__are_inverse(reserves: tuple[int, int], share: int) -> None:
    amount_out = max(1, reserves[1] * share // (10**6 + 1))
    cost = uniswap.v2_amount_in(amount_out, *reserves)
    assert uniswap.v2_amount_out(cost, *reserves) >= amount_out
    assert cost == 1 or uniswap.v2_amount_out(cost - 2, *reserves) <= amount_out


def test_v2_amount_in__more_than_there_is() -> None:
    with pytest.raises(ValueError, match="holds 2000"):
        uniswap.v2_amount_in(2_000, 1_000, 2_000)


# -- routes and addresses --


def test_pool_addresses__as_the_factories(
    evm: Evm, v3: UniswapV3, token: Contract, usdt: Contract
) -> None:
    v3_pool = v3.create_pool(token, usdt, fee=10_000, price=Decimal(10))
    v2 = UniswapV2(evm)
    v2_pair = v2.create_pair(token, usdt, price=Decimal(10), quote_amount=10**9)
    for order in ((token.address, usdt.address), (usdt.address, token.address)):
        assert uniswap.v3_pool_address(v3.factory.address, *order, 10_000) == v3_pool.address
        assert uniswap.v2_pair_address(v2.factory.address, *order) == v2_pair.address


def test_sort_tokens__same_token() -> None:
    with pytest.raises(ValueError, match="two different tokens"):
        uniswap.sort_tokens(LOW, LOW)


def test_encode_v3_route() -> None:
    route = uniswap.encode_v3_route([LOW, HIGH, LOW], [500, 10_000])
    assert route.hex() == 39 * "0" + "1" + "0001f4" + 39 * "0" + "2" + "002710" + 39 * "0" + "1"
    assert uniswap.reverse_v3_route(route) == uniswap.encode_v3_route(
        [LOW, HIGH, LOW], [10_000, 500]
    )


@pytest.mark.parametrize(("tokens", "fees"), [([LOW], []), ([LOW, HIGH], []), ([], [1])])
def test_encode_v3_route__malformed(tokens: list[str], fees: list[int]) -> None:
    with pytest.raises(ValueError, match="a v3 route"):
        uniswap.encode_v3_route(tokens, fees)


def test_encode_v2_route() -> None:
    assert uniswap.encode_v2_route([LOW, HIGH]).hex() == 39 * "0" + "1" + 39 * "0" + "2"
    with pytest.raises(ValueError, match="a v2 route"):
        uniswap.encode_v2_route([LOW])
