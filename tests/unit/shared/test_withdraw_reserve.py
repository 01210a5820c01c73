"""`withdraw_reserve` of both pools, which only the factory calls."""

import pytest

from perpool.evm import reverts
from tests.market import MAX, ZERO_ADDRESS
from tests.pools import DAY, Balances, Side, expect_event, expect_events, totals


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


def test_withdraw_reserve__to_nobody_or_the_pool(earned: Side) -> None:
    for receiver in (ZERO_ADDRESS, earned.pool):
        with reverts("bad receiver"):
            earned.pool.withdraw_reserve(10**12, receiver, sender=earned.market.factory)


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
    """All of it; lenders' shares are out of reach, even of a factory gone wrong."""
    owner, factory, lender = (
        earned.market.owner,
        earned.market.factory,
        earned.evm.account("lender"),
    )
    held = earned.pool.balanceOf(lender)
    with earned.evm.same_block():
        reserve = earned.pool.accrued_state().reserve_shares + earned.charge().shares
        outcomes = set()
        for shares in (reserve, reserve + 1, 2 * reserve, earned.pool.totalSupply() // 3, MAX):
            with earned.evm.anchor():
                outcomes.add(earned.pool.withdraw_reserve(shares, owner, sender=factory))
                assert earned.evm.last.events("Withdraw", earned.pool)[0].shares == reserve
                assert earned.pool.balanceOf(earned.pool) == 0
                assert earned.pool.totalSupply() == earned.pool.balanceOf(lender) == held
        assert len(outcomes) == 1


def test_withdraw_reserve__pays_out(earned: Side) -> None:
    receiver = earned.evm.account("receiver")
    earned.evm.warp(DAY)
    before, charge = earned.pool.accrued_state(), earned.charge()
    balances = Balances([earned.asset], receiver, earned.pool)
    # what there was, and most of what the fee since then brings
    shares = before.reserve_shares + charge.shares - 5
    assert min(before.reserve_shares, charge.shares) > 5

    receipt = earned.pool.withdraw_reserve.transact(shares, receiver, sender=earned.market.factory)

    assets = charge.price.assets_down(shares)
    assert receipt.return_value == assets > 0
    expect_event(
        receipt,
        "Withdraw",
        earned.pool,
        sender=earned.market.factory,
        receiver=receiver,
        owner=earned.pool,
        assets=assets,
        shares=shares,
    )
    expect_events(
        receipt,
        "Transfer",
        earned.pool,
        [
            {"sender": ZERO_ADDRESS, "receiver": earned.pool, "value": charge.shares},
            {"sender": earned.pool, "receiver": ZERO_ADDRESS, "value": shares},
        ],
    )
    assert balances.changes(receiver) == (assets,)
    assert balances.changes(earned.pool) == (-assets,)
    assert totals(earned.pool) == (
        before.cash + before.debt_assets - assets,
        before.supply_shares + charge.shares - shares,
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
