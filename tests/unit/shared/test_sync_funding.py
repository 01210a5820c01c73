"""`sync_funding` of both pools."""

import pytest

from perpool.evm import reverts
from tests.market import MAX, WAD, wad
from tests.pools import DAY, HOUR, Side, base_rate_of, expect_event, interest_of

LIMIT = (2**47 - 1) * 10**9
"""Largest funding that the clock word holds."""


def test_sync_funding__nothing_observed(side: Side) -> None:
    receipt = side.pool.sync_funding.transact()
    assert receipt.return_value is False
    assert receipt.logs == []
    assert side.pool.state().funding_time == 0


@pytest.mark.parametrize("percent", [-1_000, -0.5, 0, 12.34, 1_000])
def test_sync_funding__takes_in_what_is_newer(side: Side, percent: float) -> None:
    keeper = side.evm.account("keeper")
    side.evm.mine()
    observed_at = side.evm.timestamp - 7
    side.market.funding.set_at(side.market.token, wad(percent), observed_at)

    receipt = side.pool.sync_funding.transact(sender=keeper)

    assert receipt.return_value is True
    expect_event(
        receipt,
        "FundingSynced",
        side.pool,
        caller=keeper,
        funding_wad=wad(percent),
        observed_at=observed_at,
    )
    state = side.pool.state()
    assert (state.funding_wad, state.funding_time) == (wad(percent), observed_at)


def test_sync_funding__as_old_as_the_last(side: Side) -> None:
    side.fund(50)
    observed_at = side.pool.state().funding_time
    for at in (observed_at, observed_at - 1):
        side.market.funding.set_at(side.market.token, wad(99), at)
        assert side.pool.sync_funding() is False
        assert side.pool.state().funding_wad == side.direction * wad(50)


def test_sync_funding__of_the_future(side: Side) -> None:
    """It would hold its premium for longer than `funding_max_age`."""
    side.evm.mine()
    side.market.funding.set_at(side.market.token, wad(99), side.evm.timestamp + 12)
    assert side.pool.sync_funding.call() is False
    # in the very block it is from, it counts
    side.evm.mine()
    assert side.pool.sync_funding() is True


@pytest.mark.parametrize(
    ("funding", "kept"),
    [
        (1, 0),
        (-1, 0),
        (10**9 - 1, 0),
        (10**9, 10**9),
        (-(10**9) - 1, -(10**9)),
        (LIMIT, LIMIT),
        (LIMIT + 10**9, LIMIT),
        (-LIMIT - 10**9, -LIMIT),
        (2**255 - 1, LIMIT),
        (-(2**255), -LIMIT),
    ],
)
def test_sync_funding__cuts_to_the_word(side: Side, funding: int, kept: int) -> None:
    side.market.funding.set(side.market.token, funding)
    receipt = side.pool.sync_funding.transact()
    assert receipt.events("FundingSynced")[0].funding_wad == kept
    state = side.pool.state()
    assert state.funding_wad == kept
    # and touches nothing beside it
    assert state.updated_at == side.evm.timestamp
    assert (state.flags >> 8, state.reserve_shares) == (100, 0)


def test_sync_funding__accrues_at_the_old_funding_first(side: Side) -> None:
    side.fund(10)
    side.lend(1_000)
    side.owe(500)
    before = side.pool.state()
    side.evm.warp(HOUR)
    rate = base_rate_of(side.leg, before.debt_assets * WAD // before.supply_assets) + wad(2)
    interest = interest_of(before.debt_assets, rate, HOUR)
    with side.evm.same_block():
        side.market.funding.set(side.market.token, side.direction * wad(400))
        receipt = side.pool.sync_funding.transact()

    event = receipt.events("Accrue")[0]
    assert (event.borrow_rate_wad, event.interest) == (rate, interest)
    assert event.funding_wad == side.direction * wad(10)
    assert side.pool.state().debt_assets == before.debt_assets + interest


def test_sync_funding__while_paused_and_capped(side: Side) -> None:
    side.pause()
    side.set_caps(0, 0, 0)
    side.market.funding.set(side.market.token, wad(5))
    assert side.pool.sync_funding() is True


def test_sync_funding__broken_oracle_stops_nothing_else(side: Side) -> None:
    lender = side.lend(1_000)
    borrower = side.owe(500)
    side.evm.set_code(side.market.funding, b"\xfe")
    with reverts():
        side.pool.sync_funding()
    side.evm.warp(DAY)
    side.give("borrower", 600)
    side.pool.repay(MAX, borrower, sender=borrower)
    side.pool.redeem(side.pool.balanceOf(lender), lender, lender, sender=lender)
