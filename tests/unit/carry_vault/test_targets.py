"""The arithmetic of `targets.vy` against exact fractions, and what it promises."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perpool.evm import Contract, Evm
from tests.market import WAD, wad
from tests.vaults import E36, KEEP, NEUTRAL, Parameters

PRICE = 10 * 10**24
"""10 USDT a token of 18 decimals, USDT of 6."""
TOKEN, USDT = 10**18, 10**6


@pytest.fixture
def carry_math(evm: Evm) -> Contract:
    return evm.deploy("CarryMath")


def plan(
    contract: Contract, p: Parameters, collateral: int, net: int, may_sell: bool | None = None
) -> tuple[int, int, int]:
    """(sell, buy, short)"""
    allowed = p.may_sell if may_sell is None else may_sell
    found = contract.plan(p.as_tuple(), PRICE, collateral, net, allowed)
    return found.sell, found.buy, found.short


def test_plan__inside_the_headroom(carry_math: Contract) -> None:
    collateral = 1_000 * TOKEN
    for net in (0, 1_500 * USDT, -3_500 * USDT):
        assert plan(carry_math, KEEP, collateral, net) == (0, 0, 300 * TOKEN)


def test_plan__headroom_used_up__the_hedge_gives_way(carry_math: Contract) -> None:
    # 4,250 owed of a ceiling of 5,000 leave a margin of 750: half of a notional of 1,500
    assert plan(carry_math, KEEP, 1_000 * TOKEN, -4_250 * USDT) == (0, 0, 150 * TOKEN)


def test_plan__headroom_used_up__tokens_are_sold(carry_math: Contract) -> None:
    # room is 5 %: 500 on 10,000; 690 owed more is 726.315790 worth of tokens, over 1 - 5 %
    sell, buy, short = plan(carry_math, NEUTRAL, 1_000 * TOKEN, -1_190 * USDT)
    assert buy == 0
    assert sell == 72_631_579 * 10**12
    assert short == 1_000 * TOKEN - sell


def test_plan__the_hedge_is_gone__tokens_are_sold_all_the_same(carry_math: Contract) -> None:
    # 5,500 owed: to owe half of what is left, 1,000 have to be sold
    assert plan(carry_math, KEEP, 1_000 * TOKEN, -5_500 * USDT) == (100 * TOKEN, 0, 0)


def test_plan__nothing_is_owed__tokens_are_bought(carry_math: Contract) -> None:
    # 1,150 over the margin of 1,500, and each bought token takes 15 % of it
    assert plan(carry_math, KEEP, 1_000 * TOKEN, 2_650 * USDT) == (0, 1_000 * USDT, 330 * TOKEN)


def test_plan__without_collateral(carry_math: Contract) -> None:
    assert plan(carry_math, KEEP, 0, 0) == (0, 0, 0)
    assert plan(carry_math, KEEP, 0, -USDT) == (0, 0, 0)
    assert plan(carry_math, KEEP, 0, 115 * USDT) == (0, 100 * USDT, 3 * TOKEN)


@given(
    collateral=st.integers(1, 10**9 * TOKEN),
    owed_share=st.integers(-WAD, WAD),
    is_neutral=st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_plan__holds_the_ceiling(
    chain: Evm, collateral: int, owed_share: int, is_neutral: bool
) -> None:
    """After the plan the debt is at the ceiling or below it, to a unit of rounding each step."""
    p = NEUTRAL if is_neutral else KEEP
    with chain.anchor():
        contract = chain.deploy("CarryMath")
        value = collateral * PRICE // E36
        net = value * owed_share // WAD
        sell, buy, short = plan(contract, p, collateral, net)
    assert not (sell and buy)
    assert sell <= collateral
    worth = Fraction(PRICE, E36)
    left = collateral - sell + buy / worth
    debt = short * worth * Fraction(p.margin_ratio, WAD) - (net + sell * worth - buy)
    assert debt <= left * worth * Fraction(p.ltv_ceiling, WAD) + 3
    assert short <= left * Fraction(p.hedge_ratio, WAD)
    if not sell and not buy and net >= 0:
        assert short == collateral * p.hedge_ratio // WAD


@pytest.mark.parametrize(
    ("percent_of_margin", "expected"), [(44.9, True), (45, False), (55, False), (55.1, True)]
)
def test_is_off__margin(carry_math: Contract, percent_of_margin: float, expected: bool) -> None:
    equity = 3_000 * USDT * wad(percent_of_margin) // wad(100)
    state = (1_000 * TOKEN, 0, 300 * TOKEN, equity, 300 * TOKEN)
    assert carry_math.is_off(KEEP.as_tuple(), PRICE, *state) is expected


@pytest.mark.parametrize(("debt", "expected"), [(5_200, False), (5_201, True)])
def test_is_off__debt(carry_math: Contract, debt: int, expected: bool) -> None:
    state = (1_000 * TOKEN, debt * USDT, 300 * TOKEN, 1_500 * USDT, 300 * TOKEN)
    assert carry_math.is_off(KEEP.as_tuple(), PRICE, *state) is expected


@pytest.mark.parametrize(
    ("target", "expected"), [(285, False), (284, True), (315, False), (316, True)]
)
def test_is_off__hedge(carry_math: Contract, target: int, expected: bool) -> None:
    state = (1_000 * TOKEN, 0, 300 * TOKEN, 1_500 * USDT, target * TOKEN)
    assert carry_math.is_off(KEEP.as_tuple(), PRICE, *state) is expected


def test_is_off__nothing_held(carry_math: Contract) -> None:
    assert not carry_math.is_off(KEEP.as_tuple(), PRICE, 0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("tokens", "short", "money", "expected"),
    [
        (100, 30, 40, 74),
        (100, 30, 49, 74),
        (100, 30, 0, 70),
        (100, 30, -40, 66),
        (100, 30, -41, 65),
        (100, 130, 299, 0),
        (10, 0, -101, 0),
    ],
)
def test_nav__rounds_down(
    carry_math: Contract, tokens: int, short: int, money: int, expected: int
) -> None:
    assert carry_math.nav(tokens, short, money, 10 * E36) == expected
