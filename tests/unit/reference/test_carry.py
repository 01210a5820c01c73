"""The carry vault's targets: cases reckoned by hand, and equality with the contract."""

from __future__ import annotations

from dataclasses import astuple, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpool.evm import Contract, Evm
from perpool.reference import targets
from perpool.reference.presets import KEEP, NEUTRAL
from perpool.reference.targets import CarryParameters, Plan, is_off, nav, plan
from perpool.reference.wad import WAD
from perpool.replay.stage import leg

TOKEN, USDT = 10**18, 10**6
PRICE = 2 * 10**24
"""Two USDT a token."""


def usd(amount: float) -> int:
    return int(amount * USDT)


def tokens(amount: float) -> int:
    return int(amount * 10**9) * 10**9


# -- by hand: 1,000 tokens at 2 USDT are worth 2,000 --


def test_plan__whole_hedge_while_there_is_room() -> None:
    """keep: room = 50 % - 15 %, so 700 USDT may be owed."""
    for net in (0, -700):
        assert plan(KEEP, PRICE, tokens(1_000), usd(net), may_sell=False) == Plan(0, 0, tokens(300))


def test_plan__hedge_gives_way() -> None:
    """At 800 owed a margin of 1,000 - 800 is left, which carries 400 USDT short at 50 %."""
    assert plan(KEEP, PRICE, tokens(1_000), usd(-800), may_sell=False) == Plan(0, 0, tokens(200))
    assert plan(KEEP, PRICE, tokens(1_000), usd(-1_000), may_sell=False) == Plan(0, 0, 0)


def test_plan__sells_when_the_hedge_is_gone() -> None:
    """1,100 owed: 100 over the ceiling, at 50 % off the value with each USDT sold, so 200 worth."""
    assert plan(KEEP, PRICE, tokens(1_000), usd(-1_100), may_sell=False) == Plan(tokens(100), 0, 0)


def test_plan__sells_to_keep_the_hedge() -> None:
    """neutral: room = 55 % - 50 % = 100 USDT; 195 owed are 95 too many: 100 worth are sold."""
    assert plan(NEUTRAL, PRICE, tokens(1_000), usd(-195), may_sell=True) == Plan(
        tokens(50), 0, tokens(950)
    )
    # afterwards 95 are owed of a value of 1,900: just the room
    assert plan(NEUTRAL, PRICE, tokens(950), usd(-95), may_sell=True) == Plan(0, 0, tokens(950))


def test_plan__buys_with_what_the_margin_does_not_need() -> None:
    """neutral: 1,150 USDT and no debt; 1,000 are margin, 100 buy tokens, whose margin is 50."""
    assert plan(NEUTRAL, PRICE, tokens(1_000), usd(1_150), may_sell=True) == Plan(
        0, usd(100), tokens(1_050)
    )


@pytest.mark.parametrize(
    ("debt", "short", "equity", "off"),
    [
        (0, 300, 300, False),
        (0, 300, 330, False),
        (0, 300, 330.1, True),  # margin above its band of 5 points of 600
        (0, 300, 270, False),
        (0, 300, 269.9, True),
        (1_040, 300, 300, False),
        (1_040.1, 300, 300, True),  # 52 % of the value
        (0, 315, 315, False),
        (0, 316, 316, True),  # 5 % of a hedge of 300
        (0, 285, 285, False),
        (0, 284, 284, True),
        (0, 0, 0, True),
    ],
)
def test_is_off(debt: float, short: float, equity: float, off: bool) -> None:
    found = is_off(KEEP, PRICE, tokens(1_000), usd(debt), tokens(short), usd(equity), tokens(300))
    assert found is off


def test_nav() -> None:
    """A short of 300 sold at 2 USDT for 600 with 300 of margin, which are owed."""
    assert nav(tokens(1_000), tokens(300), usd(600), PRICE) == tokens(1_000)
    # at half the price the short has gained 300 USDT
    assert nav(tokens(1_000), tokens(300), usd(600), PRICE // 2) == tokens(1_300)
    assert nav(tokens(1_000), 0, -usd(3_000), PRICE) == 0


def test_presets__are_within_their_own_bounds() -> None:
    """What the vault's constructor demands of any parameters."""
    pool = leg(10)
    full_rate = pool.base_rate + pool.slope1 + pool.slope2
    for p in (KEEP, NEUTRAL):
        assert p.margin_share <= p.ltv_ceiling
        assert p.leave_rate < p.enter_rate
        assert p.worst_carry * WAD >= (p.ltv_ceiling + p.ltv_band) * full_rate
    assert KEEP.hedge_ratio + KEEP.margin_share + WAD // 20 <= KEEP.ltv_ceiling
    assert NEUTRAL.may_sell


# -- equal to the contract --


@pytest.fixture(scope="module")
def math() -> Contract:
    return Evm().deploy("CarryMath")


wads = st.integers(0, WAD)
amounts = st.integers(0, 10**32)
money = st.integers(-(10**18), 10**18)
prices = st.integers(1, 10**40)


@st.composite
def parameters(draw: st.DrawFn) -> CarryParameters:
    """Any hedge, and a ceiling under a whole hedge's margin never."""
    p = replace(
        draw(st.sampled_from([KEEP, NEUTRAL])),
        hedge_ratio=draw(st.integers(1, 2 * WAD)),
        margin_ratio=draw(st.integers(WAD // 4, WAD)),
    )
    ceiling = draw(st.integers(p.margin_share, max(p.margin_share, WAD * 6 // 10)))
    return replace(p, ltv_ceiling=min(ceiling, WAD - 1) if p.margin_share < WAD else ceiling)


@given(parameters(), prices, amounts, money, st.booleans())
def test_plan__equals_the_contract(
    math: Contract, p: CarryParameters, price: int, collateral: int, net: int, may_sell: bool
) -> None:
    if p.ltv_ceiling >= WAD or collateral * price >= 2**250:
        return
    found = math.plan(astuple(p), price, collateral, net, may_sell)
    expected = plan(p, price, collateral, net, may_sell=may_sell)
    assert (found.sell, found.buy, found.short) == expected


@given(parameters(), prices, amounts, amounts, amounts, money, amounts)
def test_is_off__equals_the_contract(
    math: Contract,
    p: CarryParameters,
    price: int,
    collateral: int,
    debt: int,
    short: int,
    equity: int,
    target: int,
) -> None:
    if max(collateral, short) * price >= 2**190:
        return
    given_ = (price, collateral, debt, short, equity, target)
    assert math.is_off(astuple(p), *given_) == is_off(p, *given_)


@given(amounts, amounts, money, prices)
def test_nav__equals_the_contract(
    math: Contract, held: int, short: int, usdt: int, price: int
) -> None:
    assert math.nav(held, short, usdt, price) == nav(held, short, usdt, price)


def test_rounding__is_against_the_vault() -> None:
    assert targets.value_down(1, 10**36 - 1) == 0
    assert targets.value_up(1, 1) == 1
    assert targets.tokens_down(1, 3 * 10**36) == 0
    assert targets.tokens_up(1, 3 * 10**36) == 1
