"""The index of positions: equal to the contracts at the threshold, and to looking at everybody."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perpool.evm import Contract, Evm, Reverted
from perpool.keeper.liquidator.index import Leg, Moment, PositionIndex, is_liquidatable, values
from perpool.keeper.model import Position
from perpool.reference.arithmetic import PRICE_SCALE, PoolError
from perpool.reference.forward import ForwardPool
from perpool.reference.interest import LegParameters
from perpool.reference.ledger import State
from perpool.reference.reverse import ReversePool
from perpool.reference.world import Token, World
from tests import market as markets
from tests.market import MAX, WAD, Market, deploy_market, wad
from tests.pools import DAY, market_of_test_oracle

LTV = wad(80)
LEGS = st.sampled_from(Leg)

# -- against the contracts --


@pytest.fixture(scope="module", params=[(6, 6), (18, 6), (24, 6), (18, 18)], ids=str)
def market(request: pytest.FixtureRequest, chain: Evm) -> Iterator[Market]:
    """Several positions on both pools, with some interest, at prices that a test sets."""
    token_decimals, usdt_decimals = request.param
    with chain.anchor():
        market = market_of_test_oracle(
            deploy_market(chain, token_decimals=token_decimals, usdt_decimals=usdt_decimals)
        )
        market.lend("USDT lender", usdt=market.usd(100_000))
        market.lend("token lender", tokens=market.tokens(100_000))
        market.set_funding(35)
        for number, (collateral, debt) in enumerate(
            [("100", "480.123457"), ("33.333333", "150"), ("7", "10"), ("1001.000001", "5555.1")]
        ):
            market.borrow(
                f"borrower {number}", collateral=market.tokens(collateral), usdt=market.usd(debt)
            )
            market.short(
                f"shorter {number}",
                margin=market.usd(debt) * (10 + 2 * number) // 10,
                tokens=market.tokens(debt) // 8 + number,
            )
            chain.warp(3 * DAY + number)
        yield market


def position_of(pool: Contract, leg: Leg, name: str) -> Position:
    account = pool.evm.account(name)
    found = pool.position(account)
    opened = found.opened_block if leg is Leg.FORWARD else 0
    return Position(account.address, found[0], found[1], opened)


def moment_of(pool: Contract, price: int, block: int | None = None) -> Moment:
    state = pool.accrued_state()
    ltv = pool.config().leg.liquidation_ltv
    return Moment(price, state.debt_assets, state.debt_shares, ltv, block)


def threshold(leg: Leg, position: Position, moment: Moment) -> int:
    """The first price at which it is liquidatable, coming from the healthy side."""
    healthy, ill = (MAX >> 40, 0) if leg is Leg.REVERSE else (0, MAX >> 110)
    while abs(healthy - ill) > 1:
        middle = (healthy + ill) // 2
        if is_liquidatable(leg, position, replace(moment, price_e36=middle)):
            ill = middle
        else:
            healthy = middle
    return ill


def chain_says(market: Market, pool: Contract, position: Position, price: int) -> bool:
    """Whether the pool refuses a liquidation for the position's health, at that price."""
    market.oracle.set_prices(price, price, price)
    rich = market.evm.account("USDT lender")
    market.give(rich, tokens=market.tokens(100), usdt=market.usd(1_000))
    try:
        # whatever the terms: one unit
        pool.liquidate.call(position.account, 1, rich, b"", sender=rich)
    except Reverted as error:
        if error.reason != "healthy position":
            raise
        return False
    return True


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("leg", Leg)
def test_is_liquidatable__as_the_pool_to_the_unit(
    evm: Evm, market: Market, leg: Leg, number: int
) -> None:
    pool = market.reverse if leg is Leg.REVERSE else market.forward
    name = "borrower" if leg is Leg.REVERSE else "shorter"
    with evm.same_block():
        position = position_of(pool, leg, f"{name} {number}")
        moment = moment_of(pool, 0)
        first = threshold(leg, position, moment)
        said = []
        for price in range(first - 2, first + 3):
            mine = is_liquidatable(leg, position, replace(moment, price_e36=price))
            assert chain_says(market, pool, position, price) == mine, price - first
            said.append(mine)
        lower = leg is Leg.REVERSE
        assert said == [lower, lower, True, not lower, not lower]


@pytest.mark.parametrize("leg", Leg)
def test_liquidatable__as_the_lens_says(evm: Evm, market: Market, leg: Leg) -> None:
    """One after the other at prices between the positions' own."""
    lens = evm.deploy("Lens")
    pool = market.reverse if leg is Leg.REVERSE else market.forward
    name = "borrower" if leg is Leg.REVERSE else "shorter"
    positions = [position_of(pool, leg, f"{name} {number}") for number in range(4)]
    index = PositionIndex(leg, positions)
    lengths = set()
    price = market.price_e36()
    for percent in range(15, 201, 5):
        market.oracle.set_prices(*[price * percent // 100] * 3)
        with evm.same_block():
            moment = moment_of(pool, price * percent // 100)
            views = lens.positions(pool, [each.account for each in positions])
        ill = sorted((each for each in views if each.is_liquidatable), key=lambda each: -each.ltv)
        found = index.liquidatable(moment)
        assert [each.account for each in found] == [each.account for each in ill]
        assert [moment.debt_of(each) for each in found] == [each.debt for each in ill]
        lengths.add(len(found))
    assert {0, 4} < lengths


def test_is_liquidatable__not_in_the_block_of_opening(evm: Evm, market: Market) -> None:
    position = position_of(market.forward, Leg.FORWARD, "shorter 0")
    assert position.opened_block > 0
    ill = moment_of(market.forward, market.price_e36() * 3)
    for block, expected in [
        (position.opened_block, False),
        (position.opened_block + 1, True),
        (None, True),
    ]:
        at = replace(ill, block=block)
        assert is_liquidatable(Leg.FORWARD, position, at) is expected
        index = PositionIndex(Leg.FORWARD, [position])
        assert bool(index.liquidatable(at)) is expected


# -- against the reference model, with any numbers --


def amounts(bits: int) -> st.SearchStrategy[int]:
    """Of any size."""
    return st.integers(0, bits).flatmap(lambda size: st.integers(1, 2**size))


@st.composite
def pools(draw: st.DrawFn, leg: Leg, least_shares: int = 1) -> tuple[list[Position], Moment]:
    """Positions, many of them about the threshold, and the pool that they are in."""
    price = draw(st.integers(PRICE_SCALE // 10**20, PRICE_SCALE * 10**12))
    shares_of_asset = draw(st.sampled_from([1, 10**3, 10**6]))
    growth = draw(st.integers(10**6, 2 * 10**6))
    positions: list[Position] = []
    for number in range(draw(st.integers(1, 12))):
        debt = max(draw(amounts(80)), 1)
        shares = max(debt * shares_of_asset, least_shares)
        owed = shares * growth // (shares_of_asset * 10**6)
        # collateral of which 80 % are worth the debt, give or take a few units
        if leg is Leg.REVERSE:
            even = owed * PRICE_SCALE * 5 // (price * 4)
        else:
            even = owed * price * 5 // (PRICE_SCALE * 4)
        near = draw(st.integers(-5, 5) | st.integers(-(even // 2), even))
        collateral = min(max(even + near, 0), 2**96 - 1)
        positions.append(Position(f"account {number}", collateral, shares))
    all_shares = sum(each.debt_shares for each in positions)
    all_debt = -(-all_shares * growth // (shares_of_asset * 10**6))
    return positions, Moment(price, all_debt, all_shares, LTV)


@settings(max_examples=300, deadline=None)
@given(LEGS.flatmap(lambda leg: st.tuples(st.just(leg), pools(leg))))
def test_liquidatable__finds_what_looking_at_everybody_finds(
    drawn: tuple[Leg, tuple[list[Position], Moment]],
) -> None:
    leg, (positions, moment) = drawn
    found = PositionIndex(leg, positions).liquidatable(moment)
    expected = {each.account for each in positions if is_liquidatable(leg, each, moment)}
    assert {each.account for each in found} == expected
    assert len(found) == len(expected)
    for worse, better in itertools.pairwise(found):
        assert worse.debt_shares * better.collateral >= better.debt_shares * worse.collateral


@settings(max_examples=200, deadline=None)
@given(LEGS.flatmap(lambda leg: st.tuples(st.just(leg), pools(leg))))
def test_is_liquidatable__as_the_reference_model(
    drawn: tuple[Leg, tuple[list[Position], Moment]],
) -> None:
    leg, (positions, moment) = drawn
    for each in positions:
        pool = model(leg, each, moment)
        reason = ""
        try:
            pool.liquidate("liquidator", each.account, 0, "liquidator")
        except PoolError as error:
            reason = error.reason
        assert (reason != "healthy position") == is_liquidatable(leg, each, moment), reason


def model(leg: Leg, position: Position, moment: Moment) -> ReversePool | ForwardPool:
    """A pool of the reference model with that position in it."""
    world = World(Token("token", 18), Token("usdt", 6), now=10**9, block_number=1)
    world.prices.liquidation = moment.price_e36
    kind = ReversePool if leg is Leg.REVERSE else ForwardPool
    pool = kind(world, LegParameters(*markets.Leg(min_debt=1000).as_tuple()))
    pool.state = State(
        debt_assets=moment.debt_assets, debt_shares=moment.debt_shares, updated_at=10**9
    )
    pool.debt_shares[position.account] = position.debt_shares
    pool.collateral_of[position.account] = position.collateral
    return pool


# -- what it keeps --


def make(leg: Leg, *debts: int) -> PositionIndex:
    """Accounts "0", "1", ... with these debts and 100 of collateral each; a share is a unit."""
    return PositionIndex(
        leg, [Position(str(n), 100 * 10**6, d * 10**6) for n, d in enumerate(debts)]
    )


def at(price: float, debt: int = 10**9) -> Moment:
    return Moment(int(price * 10**6) * PRICE_SCALE // 10**6, debt, debt, LTV)


def accounts(found: list[Position]) -> list[str]:
    return [each.account for each in found]


def test_liquidatable__most_unhealthy_first() -> None:
    index = make(Leg.REVERSE, 50, 79, 60, 81, 70)
    assert accounts(index.liquidatable(at(1))) == ["3"]
    assert accounts(index.liquidatable(at(0.8))) == ["3", "1", "4"]
    index = make(Leg.FORWARD, 50, 79, 60, 81, 70)
    assert accounts(index.liquidatable(at(1))) == ["3"]
    assert accounts(index.liquidatable(at(1.2))) == ["3", "1", "4"]


def test_liquidatable__interest_moves_the_cut() -> None:
    """Half as much again of every debt."""
    index = make(Leg.REVERSE, 50, 79, 60, 81, 70)
    grown = Moment(PRICE_SCALE, 15 * 10**8, 10**9, LTV)
    assert accounts(index.liquidatable(grown)) == ["3", "1", "4", "2"]


def test_liquidatable__without_collateral_or_debt() -> None:
    index = make(Leg.REVERSE, 50)
    index.put("bare", 0, 1)
    assert accounts(index.liquidatable(at(10**6))) == ["bare"]
    assert index.liquidatable(Moment(PRICE_SCALE, 0, 0, LTV)) == []
    assert PositionIndex(Leg.FORWARD).liquidatable(at(1)) == []


@pytest.mark.parametrize("leg", Leg)
def test_liquidatable__price_of_nothing(leg: Leg) -> None:
    index = make(leg, 50, 60)
    expected = ["1", "0"] if leg is Leg.REVERSE else []
    assert accounts(index.liquidatable(at(0))) == expected


def test_put__moves_an_account() -> None:
    index = make(Leg.REVERSE, 50, 79)
    index.put("0", 100 * 10**6, 90 * 10**6)
    assert accounts(index.liquidatable(at(1))) == ["0"]
    index.put("0", 200 * 10**6, 90 * 10**6)
    assert index.liquidatable(at(1)) == []
    assert len(index) == 2
    assert index["0"].collateral == 200 * 10**6


def test_put__without_debt_removes() -> None:
    index = make(Leg.REVERSE, 81, 79)
    index.put("0", 100, 0)
    assert "0" not in index
    assert "1" in index
    assert index.liquidatable(at(1)) == []
    index.remove("0")
    index.remove("nobody")
    assert len(index) == 1


OPERATIONS = st.lists(
    st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 10**9), st.integers(0, 10**9)),
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@given(LEGS, OPERATIONS)
def test_put__any_sequence_gives_what_building_anew_gives(
    leg: Leg, operations: list[tuple[str, int, int]]
) -> None:
    index, last = PositionIndex(leg), {}
    for account, collateral, shares in operations:
        index.put(account, collateral, shares)
        last[account] = Position(account, collateral, shares)
    fresh = PositionIndex(leg, last.values())
    assert len(index) == len(fresh)
    moment = at(1)
    assert index.liquidatable(moment) == fresh.liquidatable(moment)
    assert index.examined == fresh.examined


def test_values__rounded_as_the_pools_do() -> None:
    third = Moment(PRICE_SCALE // 3, 10, 3, LTV)
    position = Position("a", 10, 1)
    assert values(Leg.REVERSE, position, third) == (4, 3)
    assert values(Leg.FORWARD, position, third) == (2, 10)
    assert WAD == 10**18


def test_remove__a_tiny_debt_widens_the_cut_no_longer() -> None:
    """Rounding is looked into as far as it matters to the smallest debt there is."""
    index = make(Leg.REVERSE, 79, 70, 60)
    index.put("tiny", 100, 3)
    assert index.liquidatable(at(1)) == []
    assert index.examined == 3
    index.remove("tiny")
    assert index.liquidatable(at(1)) == []
    assert index.examined == 0
