from decimal import Decimal

import pytest

from perpool.evm import Evm, reverts


def test_swap_exact_in__malformed_route(venue, evm: Evm, bad_route: bytes) -> None:
    with reverts("bad route"):
        venue.caller.sell(venue.swapper, venue.token, venue.usdt, venue.whole, bad_route)


@pytest.mark.parametrize("ends", ["first", "last", "both"])
def test_swap_exact_in__route_of_other_tokens(venue, evm: Evm, ends: str) -> None:
    token_in = venue.middle if ends in ("first", "both") else venue.token
    token_out = venue.middle if ends in ("last", "both") else venue.usdt
    route = venue.pool.route(venue.token)
    with reverts("wrong tokens in route"):
        venue.caller.sell(venue.swapper, token_in, token_out, venue.whole, route)


def test_swap_exact_in__reversed_route(venue, evm: Evm) -> None:
    route = venue.pool.route(venue.usdt)
    with reverts("wrong tokens in route"):
        venue.caller.sell(venue.swapper, venue.token, venue.usdt, venue.whole, route)


def test_swap_exact_in__no_such_pool(venue, evm: Evm) -> None:
    route = venue.route(venue.token, 10_000, venue.usdt)
    with reverts("no such pool"):
        venue.caller.sell(venue.swapper, venue.token, venue.usdt, venue.whole, route)


def test_swap_exact_in__no_such_second_pool(venue, evm: Evm) -> None:
    route = venue.route(venue.token, 3_000, venue.middle, 10_000, venue.usdt)
    with reverts("no such pool"):
        venue.caller.sell(venue.swapper, venue.token, venue.usdt, venue.whole, route)


def test_swap_exact_in__zero_amount(venue, evm: Evm) -> None:
    # the pool's own reason
    with reverts("AS"):
        venue.caller.sell(venue.swapper, venue.token, venue.usdt, 0, venue.pool.route(venue.token))


def test_swap_exact_in__input_not_transferred(venue, evm: Evm) -> None:
    with reverts("insufficient balance"):
        venue.swapper.swap_exact_in(
            venue.token, venue.usdt, venue.whole, venue.pool.route(venue.token)
        )


def test_swap_exact_in__liquidity_runs_out(venue, evm: Evm) -> None:
    pool = venue.v3.create_pool(venue.token, venue.usdt, fee=500, price=Decimal(10))
    pool.add_liquidity(1_000 * 10**6, low=Decimal(9), high=Decimal(11))
    with reverts("input not all spent"):
        venue.caller.sell(
            venue.swapper, venue.token, venue.usdt, 1_000 * venue.whole, pool.route(venue.token)
        )


def test_swap_exact_in__liquidity_of_second_pool_runs_out(venue, evm: Evm) -> None:
    pool = venue.v3.create_pool(venue.middle, venue.usdt, fee=3_000, price=Decimal(2))
    pool.add_liquidity(1_000 * 10**6, low=Decimal("1.9"), high=Decimal("2.1"))
    route = venue.route(venue.token, 3_000, venue.middle, 3_000, venue.usdt)
    with reverts("input not all spent"):
        venue.caller.sell(venue.swapper, venue.token, venue.usdt, 1_000 * venue.whole, route)


def test_swap_exact_in__pool_without_liquidity(venue, evm: Evm) -> None:
    pool = venue.v3.create_pool(venue.token, venue.usdt, fee=500, price=Decimal(10))
    with reverts("input not all spent"):
        venue.caller.sell(
            venue.swapper, venue.token, venue.usdt, venue.whole, pool.route(venue.token)
        )


def test_swap_exact_in__input_takes_a_fee(venue, evm: Evm) -> None:
    token = evm.deploy("FeeToken", 18, 0)
    pool = venue.v3.create_pool(token, venue.usdt, fee=3_000, price=Decimal(10))
    pool.add_liquidity(10**12)
    token.mint(venue.caller, 10**18)
    token.set_fee(1)
    args = (venue.swapper, token, venue.usdt, 10**18, pool.route(token))
    with reverts("insufficient balance"):
        venue.caller.sell(*args)
    # with the missing part here, the pool misses the next one
    token.mint(venue.swapper, 10**18)
    with reverts("IIA"):
        venue.caller.sell(*args)


def test_swap_exact_in__output_takes_a_fee(venue, evm: Evm) -> None:
    token = evm.deploy("FeeToken", 18, 0)
    pool = venue.v3.create_pool(token, venue.usdt, fee=3_000, price=Decimal(10))
    pool.add_liquidity(10**12)
    token.set_fee(100)
    route = pool.route(venue.usdt)
    said = venue.caller.sell(venue.swapper, venue.usdt, token, 10**9, route)
    # which is why callers believe their own balances
    assert token.balanceOf(venue.caller) == said - said // 100


@pytest.mark.parametrize("sold", ["token", "usdt"])
def test_swap_exact_in(venue, evm: Evm, sold: str) -> None:
    token_in, token_out = venue.token, venue.usdt
    if sold == "usdt":
        token_in, token_out = token_out, token_in
    amount = 1_000 * 10 ** token_in.decimals()
    route = venue.pool.route(token_in)
    expected = venue.v3.quote_exact_in(route, amount)
    before = token_in.balanceOf(venue.caller), token_out.balanceOf(venue.caller)
    pool_before = token_in.balanceOf(venue.pool), token_out.balanceOf(venue.pool)

    received = venue.caller.sell(venue.swapper, token_in, token_out, amount, route)

    assert received == expected
    assert token_in.balanceOf(venue.caller) == before[0] - amount
    assert token_out.balanceOf(venue.caller) == before[1] + expected
    assert token_in.balanceOf(venue.pool) == pool_before[0] + amount
    assert token_out.balanceOf(venue.pool) == pool_before[1] - expected
    venue.assert_empty()


def test_swap_exact_in__two_pools(venue, evm: Evm) -> None:
    amount = 1_000 * venue.whole
    expected = venue.v3.quote_exact_in(venue.long_route, amount)
    before = [each.balanceOf(venue.caller) for each in (venue.token, venue.middle, venue.usdt)]

    received = venue.caller.sell(venue.swapper, venue.token, venue.usdt, amount, venue.long_route)

    assert received == expected
    assert [each.balanceOf(venue.caller) for each in (venue.token, venue.middle, venue.usdt)] == [
        before[0] - amount,
        before[1],
        before[2] + expected,
    ]
    venue.assert_empty()


def test_swap_exact_in__through_usdt(venue, evm: Evm) -> None:
    route = venue.route(venue.token, 3_000, venue.usdt, 500, venue.middle)
    expected = venue.v3.quote_exact_in(route, venue.whole)
    before = venue.middle.balanceOf(venue.caller)
    venue.caller.sell(venue.swapper, venue.token, venue.middle, venue.whole, route)
    assert venue.middle.balanceOf(venue.caller) == before + expected
    venue.assert_empty()


def test_swap_exact_in__ten_pools(venue, evm: Evm) -> None:
    steps = [venue.token, 3_000, venue.usdt, 500, venue.middle, 3_000] * 3
    route = venue.route(*steps, venue.token, 3_000, venue.usdt)
    assert len(route) == 250
    before = venue.usdt.balanceOf(venue.caller)
    amount = venue.whole

    received = venue.caller.sell(venue.swapper, venue.token, venue.usdt, amount, route)

    assert venue.usdt.balanceOf(venue.caller) == before + received
    # ten USDT a token, less the fees of ten pools and the price impact of one token
    fees = Decimal("0.997") ** 7 * Decimal("0.9995") ** 3
    assert Decimal(received) / 10**7 == pytest.approx(fees, rel=Decimal("0.001"))
    venue.assert_empty()


def test_swap_exact_in__leaves_alone_what_lies_here(venue, evm: Evm) -> None:
    strays = {venue.token: 5 * venue.whole, venue.middle: 10**18, venue.usdt: 7 * 10**6}
    for token, amount in strays.items():
        token.mint(venue.swapper, amount)
    venue.caller.sell(venue.swapper, venue.token, venue.usdt, venue.whole, venue.long_route)
    for token, amount in strays.items():
        assert token.balanceOf(venue.swapper) == amount
