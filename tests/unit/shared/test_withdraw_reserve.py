"""`withdraw_reserve` of both pools, which only the factory calls."""

import pytest

from perpool.evm import reverts
from tests.pools import DAY, Balances, Side, expect_event, totals


@pytest.fixture
def earned(side: Side) -> Side:
    """A pool with a reserve, everything accrued in the newest block."""
    side.lend(1_000)
    side.owe(500)
    side.evm.warp(90 * DAY)
    side.pool.sync_funding()
    return side


def test_withdraw_reserve__not_the_factory(earned: Side) -> None:
    for caller in (earned.market.owner, earned.evm.account("stranger")):
        with reverts("not factory"):
            earned.pool.withdraw_reserve(1, caller, sender=caller)


def test_withdraw_reserve__worth_nothing(earned: Side) -> None:
    with reverts("zero amount"):
        earned.pool.withdraw_reserve(1, earned.market.owner, sender=earned.market.factory)


def test_withdraw_reserve__more_than_the_cash(earned: Side) -> None:
    lender = earned.evm.account("lender")
    most = earned.pool.maxWithdraw(lender)
    earned.pool.withdraw(most, lender, lender, sender=lender)
    reserve = earned.pool.balanceOf(earned.pool)
    with reverts("insufficient cash"):
        earned.pool.withdraw_reserve(reserve, earned.market.owner, sender=earned.market.factory)


def test_withdraw_reserve__more_than_there_is(earned: Side) -> None:
    """Lenders' shares are out of reach, even of a factory gone wrong."""
    reserve = earned.pool.accrued_state().reserve_shares
    for shares in (2 * reserve, earned.pool.totalSupply() // 3):
        with reverts(""):
            earned.pool.withdraw_reserve(shares, earned.market.owner, sender=earned.market.factory)


def test_withdraw_reserve__pays_out(earned: Side) -> None:
    receiver = earned.evm.account("receiver")
    earned.evm.warp(DAY)
    before, price = earned.pool.accrued_state(), earned.price()
    balances = Balances([earned.asset], receiver, earned.pool)
    shares = before.reserve_shares - 5

    receipt = earned.pool.withdraw_reserve.transact(shares, receiver, sender=earned.market.factory)

    assets = price.assets_down(shares)
    assert receipt.return_value == assets > 0
    expect_event(
        receipt,
        "ReserveWithdrawn",
        earned.pool,
        receiver=receiver,
        assets=assets,
        shares=shares,
        total_assets=before.supply_assets - assets,
    )
    assert balances.changes(receiver) == (assets,)
    assert balances.changes(earned.pool) == (-assets,)
    assert totals(earned.pool) == (
        before.supply_assets - assets,
        before.supply_shares - shares,
        before.debt_assets,
        before.debt_shares,
    )
    assert earned.pool.balanceOf(earned.pool) == 5


def test_withdraw_reserve__while_paused(earned: Side) -> None:
    earned.pause()
    receiver = earned.evm.account("receiver")
    earned.pool.withdraw_reserve(
        earned.pool.balanceOf(earned.pool), receiver, sender=earned.market.factory
    )
    assert earned.asset.balanceOf(receiver) > 0
