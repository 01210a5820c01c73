"""`set_caps` and `caps` of both pools."""

import pytest

from perpool.evm import Evm, reverts
from tests.market import CAPPED, MAX, NO_BLOCK_CAP, NO_CAP, deploy_market
from tests.pools import DAY, MAX_UINT128, Side


def test_set_caps__not_the_factory(side: Side) -> None:
    for caller in (side.market.owner, side.market.guardian, side.evm.account("stranger")):
        with reverts("not factory"):
            side.pool.set_caps(1, 2, 3, sender=caller)


def test_set_caps__are_zero_at_first(evm: Evm) -> None:
    market = deploy_market(evm, capped=True)
    for name in ("reverse", "forward"):
        side = Side.of(market, name)
        assert side.pool.caps() == (0, 0, 0)
        assert side.pool.state().flags & CAPPED
        lender = side.give("lender", 5)
        assert side.pool.maxDeposit(lender) == 0
        with reverts("supply cap"):
            side.pool.deposit(1, lender, sender=lender)


@pytest.mark.parametrize(
    ("supply", "debt", "capped"),
    [
        (0, 0, True),
        (5, MAX_UINT128, True),
        (MAX_UINT128, 5, True),
        (MAX_UINT128 - 1, MAX_UINT128 - 1, True),
        (MAX_UINT128, MAX_UINT128, False),
        (MAX, MAX, False),
    ],
)
def test_set_caps__keeps_them(side: Side, supply: int, debt: int, capped: bool) -> None:
    before = side.pool.state()
    side.set_caps(supply, debt, MAX)
    no_leg_cap = NO_CAP if side.name == "reverse" else NO_BLOCK_CAP
    assert side.pool.caps() == (min(supply, MAX_UINT128), min(debt, MAX_UINT128), no_leg_cap)
    state = side.pool.state()
    assert bool(state.flags & CAPPED) is capped
    assert state.flags & ~CAPPED == before.flags & ~CAPPED
    # and back
    side.set_caps()
    assert side.pool.state().flags & CAPPED == 0


@pytest.mark.parametrize("leg_cap", [0, 77, NO_BLOCK_CAP - 1])
def test_set_caps__leg_cap_alone(side: Side, leg_cap: int) -> None:
    """The flag is up for the forward pool's, which is looked at under it alone."""
    side.set_caps(leg=leg_cap)
    assert side.pool.caps() == (NO_CAP, NO_CAP, leg_cap)
    assert bool(side.pool.state().flags & CAPPED) is (side.name == "forward")


@pytest.mark.parametrize("caps", [(MAX_UINT128 + 1, 5), (5, MAX_UINT128 + 1)])
def test_set_caps__larger_than_the_word(side: Side, caps: tuple[int, int]) -> None:
    """The factory asks for none instead."""
    with reverts("amount too large"):
        side.pool.set_caps(*caps, 5, sender=side.market.factory)
    side.set_caps(*caps)
    assert side.pool.caps()[:2] == tuple(min(cap, NO_CAP) for cap in caps)


def test_set_caps__largest_leg_cap(side: Side) -> None:
    side.set_caps(leg=MAX)
    assert side.pool.caps()[2] == (NO_CAP if side.name == "reverse" else NO_BLOCK_CAP)


def test_set_caps__leaves_the_accrual_to_later(side: Side) -> None:
    side.lend(1_000)
    side.owe(500)
    before = side.pool.state()
    side.evm.warp(DAY)
    expected = side.pool.accrued_state()
    side.set_caps(1, 1, 1)
    state = side.pool.state()
    assert state.updated_at == before.updated_at
    assert state.debt_assets == before.debt_assets
    assert side.pool.accrued_state().debt_assets == expected.debt_assets
