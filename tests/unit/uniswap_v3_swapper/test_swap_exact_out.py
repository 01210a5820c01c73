from decimal import Decimal

import pytest

from perpool.evm import Evm, reverts

WANTED = 1_000 * 10**6


def test_swap_exact_out__malformed_route(venue, evm: Evm, bad_route: bytes) -> None:
    with reverts("bad route"):
        venue.caller.buy(
            venue.swapper, venue.token, venue.usdt, WANTED, 1_000 * venue.whole, bad_route
        )


@pytest.mark.parametrize("ends", ["first", "last", "both"])
def test_swap_exact_out__route_of_other_tokens(venue, evm: Evm, ends: str) -> None:
    token_in = venue.middle if ends in ("first", "both") else venue.token
    token_out = venue.middle if ends in ("last", "both") else venue.usdt
    route = venue.pool.route(venue.token)
    with reverts("wrong tokens in route"):
        venue.caller.buy(venue.swapper, token_in, token_out, WANTED, venue.whole, route)


def test_swap_exact_out__reversed_route(venue, evm: Evm) -> None:
    route = venue.pool.route(venue.usdt)
    with reverts("wrong tokens in route"):
        venue.caller.buy(venue.swapper, venue.token, venue.usdt, WANTED, venue.whole, route)


@pytest.mark.parametrize("fees", [(10_000, 500), (3_000, 10_000)])
def test_swap_exact_out__no_such_pool(venue, evm: Evm, fees: tuple[int, int]) -> None:
    route = venue.route(venue.token, fees[0], venue.middle, fees[1], venue.usdt)
    with reverts("no such pool"):
        venue.caller.buy(venue.swapper, venue.token, venue.usdt, WANTED, 1_000 * venue.whole, route)


def test_swap_exact_out__zero_amount(venue, evm: Evm) -> None:
    # the pool's own reason
    with reverts("AS"):
        venue.caller.buy(
            venue.swapper, venue.token, venue.usdt, 0, venue.whole, venue.pool.route(venue.token)
        )


@pytest.mark.parametrize("pools", [1, 2])
def test_swap_exact_out__costs_more_than_given(venue, evm: Evm, pools: int) -> None:
    route = venue.pool.route(venue.token) if pools == 1 else venue.long_route
    cost = venue.v3.quote_exact_out(route, WANTED)
    # what lies here by mistake does not help out
    venue.token.mint(venue.swapper, cost)
    with reverts("excessive input"):
        venue.caller.buy(venue.swapper, venue.token, venue.usdt, WANTED, cost - 1, route)


def test_swap_exact_out__input_not_transferred(venue, evm: Evm) -> None:
    with reverts("insufficient balance"):
        venue.swapper.swap_exact_out(
            venue.token, venue.usdt, WANTED, 1_000 * venue.whole, venue.pool.route(venue.token)
        )


def test_swap_exact_out__input_transferred_in_part(venue, evm: Evm) -> None:
    # enough for the swap, but not for the refund of what was never given
    venue.token.mint(venue.swapper, 500 * venue.whole)
    with reverts("insufficient balance"):
        venue.swapper.swap_exact_out(
            venue.token, venue.usdt, WANTED, 1_000 * venue.whole, venue.pool.route(venue.token)
        )


def test_swap_exact_out__liquidity_runs_out(venue, evm: Evm) -> None:
    pool = venue.v3.create_pool(venue.token, venue.usdt, fee=500, price=Decimal(10))
    pool.add_liquidity(1_000 * 10**6, low=Decimal(9), high=Decimal(11))
    with reverts("insufficient output"):
        venue.caller.buy(
            venue.swapper,
            venue.token,
            venue.usdt,
            1_001 * 10**6,
            1_000 * venue.whole,
            pool.route(venue.token),
        )


def test_swap_exact_out__liquidity_of_first_pool_runs_out(venue, evm: Evm) -> None:
    pool = venue.v3.create_pool(venue.token, venue.middle, fee=500, price=Decimal(5))
    pool.add_liquidity(100 * 10**18, low=Decimal("4.9"), high=Decimal("5.1"))
    route = venue.route(venue.token, 500, venue.middle, 500, venue.usdt)
    with reverts("insufficient output"):
        venue.caller.buy(venue.swapper, venue.token, venue.usdt, WANTED, 1_000 * venue.whole, route)


def test_swap_exact_out__same_pool_twice(venue, evm: Evm) -> None:
    route = venue.route(venue.usdt, 3_000, venue.token, 3_000, venue.usdt)
    with reverts("LOK"):
        venue.caller.buy(venue.swapper, venue.usdt, venue.usdt, WANTED, 2 * WANTED, route)


@pytest.mark.parametrize("bought", ["token", "usdt"])
def test_swap_exact_out(venue, evm: Evm, bought: str) -> None:
    token_in, token_out = venue.token, venue.usdt
    if bought == "token":
        token_in, token_out = token_out, token_in
    wanted = 100 * 10 ** token_out.decimals()
    given = 10_000 * 10 ** token_in.decimals()
    route = venue.pool.route(token_in)
    cost = venue.v3.quote_exact_out(route, wanted)
    before = token_in.balanceOf(venue.caller), token_out.balanceOf(venue.caller)
    pool_before = token_in.balanceOf(venue.pool), token_out.balanceOf(venue.pool)

    spent = venue.caller.buy(venue.swapper, token_in, token_out, wanted, given, route)

    assert spent == cost
    assert token_in.balanceOf(venue.caller) == before[0] - cost
    assert token_out.balanceOf(venue.caller) == before[1] + wanted
    assert token_in.balanceOf(venue.pool) == pool_before[0] + cost
    assert token_out.balanceOf(venue.pool) == pool_before[1] - wanted
    venue.assert_empty()


def test_swap_exact_out__two_pools(venue, evm: Evm) -> None:
    cost = venue.v3.quote_exact_out(venue.long_route, WANTED)
    before = [each.balanceOf(venue.caller) for each in (venue.token, venue.middle, venue.usdt)]

    spent = venue.caller.buy(
        venue.swapper, venue.token, venue.usdt, WANTED, 2 * cost, venue.long_route
    )

    assert spent == cost
    assert [each.balanceOf(venue.caller) for each in (venue.token, venue.middle, venue.usdt)] == [
        before[0] - cost,
        before[1],
        before[2] + WANTED,
    ]
    venue.assert_empty()


def test_swap_exact_out__three_pools_through_usdt(venue, evm: Evm) -> None:
    other = venue.v3.create_pool(venue.token, venue.middle, fee=500, price=Decimal(5))
    other.add_liquidity(10**5 * 10**18)
    route = venue.route(venue.token, 3_000, venue.usdt, 500, venue.middle, 500, venue.token)
    cost = venue.v3.quote_exact_out(route, venue.whole)
    before = venue.token.balanceOf(venue.caller)

    spent = venue.caller.buy(
        venue.swapper, venue.token, venue.token, venue.whole, 2 * venue.whole, route
    )

    assert spent == cost
    assert venue.token.balanceOf(venue.caller) == before - cost + venue.whole
    venue.assert_empty()


def test_swap_exact_out__nothing_left_to_refund(venue, evm: Evm) -> None:
    route = venue.pool.route(venue.token)
    cost = venue.v3.quote_exact_out(route, WANTED)
    before = venue.token.balanceOf(venue.caller)

    receipt = venue.caller.buy.transact(venue.swapper, venue.token, venue.usdt, WANTED, cost, route)

    assert receipt.return_value == cost
    assert venue.token.balanceOf(venue.caller) == before - cost
    # to the adapter and on to the pool, and no empty refund
    assert len(receipt.events("Transfer", venue.token)) == 2
    venue.assert_empty()


def test_swap_exact_out__leaves_alone_what_lies_here(venue, evm: Evm) -> None:
    strays = {venue.token: 5 * venue.whole, venue.middle: 10**18, venue.usdt: 7 * 10**6}
    for token, amount in strays.items():
        token.mint(venue.swapper, amount)
    venue.caller.buy(
        venue.swapper, venue.token, venue.usdt, WANTED, 200 * venue.whole, venue.long_route
    )
    for token, amount in strays.items():
        assert token.balanceOf(venue.swapper) == amount
