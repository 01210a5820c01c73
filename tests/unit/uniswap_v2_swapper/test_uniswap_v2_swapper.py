"""The v2 adapter only measures gas, so its tests are few: it swaps right, and fails by name."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

import pytest
from eth_utils import keccak

from perpool import uniswap
from perpool.build import load_npm_artifact
from perpool.evm import Contract, Evm, reverts
from tests.uniswap import V2_PAIR, ZERO_ADDRESS, UniswapV2, V2Pair

USDT = 10**6


@dataclass(frozen=True)
class Venue:
    """token with usdt, and usdt with other, in pairs."""

    v2: UniswapV2
    swapper: Contract
    caller: Contract
    token: Contract
    usdt: Contract
    other: Contract
    pair: V2Pair
    other_pair: V2Pair

    @property
    def long_route(self) -> bytes:
        return uniswap.encode_v2_route([each.address for each in self.tokens])

    @property
    def tokens(self) -> tuple[Contract, Contract, Contract]:
        return self.token, self.usdt, self.other

    def assert_empty(self) -> None:
        assert [each.balanceOf(self.swapper) for each in self.tokens] == [0, 0, 0]


@pytest.fixture(scope="module", params=[6, 8, 18, 24], ids="{} decimals".format)
def venue(chain: Evm, request: pytest.FixtureRequest) -> Iterator[Venue]:
    with chain.anchor():
        v2 = UniswapV2(chain)
        token = chain.deploy("TestToken", "Token", "TKN", request.param)
        usdt = chain.deploy("UsdtLike", 6)
        other = chain.deploy("TestToken", "Other", "OTH", 18)
        # 24 decimals leave little room below v2's 2**112
        pair = v2.create_pair(token, usdt, price=Decimal(10), quote_amount=10**5 * USDT)
        other_pair = v2.create_pair(other, usdt, price=Decimal(2), quote_amount=10**5 * USDT)
        caller = chain.deploy("SwapCaller")
        for each in (token, usdt, other):
            each.mint(caller, 10**6 * 10 ** each.decimals())
        swapper = chain.deploy("UniswapV2Swapper", v2.factory)
        yield Venue(v2, swapper, caller, token, usdt, other, pair, other_pair)


def sell(venue: Venue, route: bytes, amount: int) -> int:
    return int(venue.caller.sell(venue.swapper, venue.token, venue.usdt, amount, route))


def buy(venue: Venue, route: bytes, wanted: int, given: int) -> int:
    return int(venue.caller.buy(venue.swapper, venue.token, venue.usdt, wanted, given, route))


def whole(token: Contract) -> int:
    return 10 ** int(token.decimals())


def test_constructor__zero_factory(evm: Evm) -> None:
    with reverts("zero factory"):
        evm.deploy("UniswapV2Swapper", ZERO_ADDRESS)


def test_pair_init_code_hash__is_that_of_the_artifact(venue: Venue, evm: Evm) -> None:
    expected = keccak(load_npm_artifact(V2_PAIR).initcode)
    assert venue.swapper.PAIR_INIT_CODE_HASH() == expected
    assert expected == uniswap.V2_PAIR_INIT_CODE_HASH


@pytest.mark.parametrize("cut", [0, 20, 39])
def test_swaps__malformed_route(venue: Venue, evm: Evm, cut: int) -> None:
    route = venue.pair.route(venue.token)[:cut]
    with reverts("bad route"):
        sell(venue, route, 1)
    with reverts("bad route"):
        buy(venue, route, 1, 1)


def test_swaps__route_of_other_tokens(venue: Venue, evm: Evm) -> None:
    for route in (venue.pair.route(venue.usdt), venue.long_route):
        with reverts("wrong tokens in route"):
            sell(venue, route, 1)
        with reverts("wrong tokens in route"):
            buy(venue, route, 1, 1)


def test_swaps__no_such_pair(venue: Venue, evm: Evm) -> None:
    tokens = [venue.token.address, venue.other.address, venue.usdt.address]
    route = uniswap.encode_v2_route(tokens)
    with reverts("no such pool"):
        sell(venue, route, whole(venue.token))
    with reverts("no such pool"):
        buy(venue, route, USDT, whole(venue.token))


def test_swap_exact_out__more_than_the_pair_has(venue: Venue, evm: Evm) -> None:
    with reverts("insufficient output"):
        buy(venue, venue.pair.route(venue.token), 10**5 * USDT, whole(venue.token))


def test_swap_exact_out__costs_more_than_given(venue: Venue, evm: Evm) -> None:
    cost = uniswap.v2_amount_in(USDT, *venue.pair.reserves(venue.token))
    venue.token.mint(venue.swapper, cost)
    with reverts("excessive input"):
        buy(venue, venue.pair.route(venue.token), USDT, cost - 1)


@pytest.mark.parametrize("sold", ["token", "usdt"])
def test_swap_exact_in(venue: Venue, evm: Evm, sold: str) -> None:
    token_in, token_out = venue.token, venue.usdt
    if sold == "usdt":
        token_in, token_out = token_out, token_in
    amount = 50 * whole(token_in)
    expected = uniswap.v2_amount_out(amount, *venue.pair.reserves(token_in))
    before = token_in.balanceOf(venue.caller), token_out.balanceOf(venue.caller)

    received = venue.caller.sell(
        venue.swapper, token_in, token_out, amount, venue.pair.route(token_in)
    )

    assert received == expected
    assert token_in.balanceOf(venue.caller) == before[0] - amount
    assert token_out.balanceOf(venue.caller) == before[1] + expected
    venue.assert_empty()


def test_swap_exact_in__two_pairs(venue: Venue, evm: Evm) -> None:
    amount = 50 * whole(venue.token)
    middle = uniswap.v2_amount_out(amount, *venue.pair.reserves(venue.token))
    expected = uniswap.v2_amount_out(middle, *venue.other_pair.reserves(venue.usdt))
    before = venue.other.balanceOf(venue.caller)
    venue.caller.sell(venue.swapper, venue.token, venue.other, amount, venue.long_route)
    assert venue.other.balanceOf(venue.caller) == before + expected
    venue.assert_empty()


@pytest.mark.parametrize("spare", [0, 12_345])
@pytest.mark.parametrize("bought", ["token", "usdt"])
def test_swap_exact_out(venue: Venue, evm: Evm, bought: str, spare: int) -> None:
    token_in, token_out = venue.token, venue.usdt
    if bought == "token":
        token_in, token_out = token_out, token_in
    wanted = 50 * whole(token_out)
    cost = uniswap.v2_amount_in(wanted, *venue.pair.reserves(token_in))
    before = token_in.balanceOf(venue.caller), token_out.balanceOf(venue.caller)

    spent = venue.caller.buy(
        venue.swapper, token_in, token_out, wanted, cost + spare, venue.pair.route(token_in)
    )

    assert spent == cost
    assert token_in.balanceOf(venue.caller) == before[0] - cost
    assert token_out.balanceOf(venue.caller) == before[1] + wanted
    venue.assert_empty()


def test_swap_exact_out__two_pairs(venue: Venue, evm: Evm) -> None:
    wanted = 50 * 10**18
    middle = uniswap.v2_amount_in(wanted, *venue.other_pair.reserves(venue.usdt))
    cost = uniswap.v2_amount_in(middle, *venue.pair.reserves(venue.token))
    before = venue.other.balanceOf(venue.caller)
    spent = venue.caller.buy(
        venue.swapper, venue.token, venue.other, wanted, 2 * cost, venue.long_route
    )
    assert spent == cost
    assert venue.other.balanceOf(venue.caller) == before + wanted
    venue.assert_empty()
