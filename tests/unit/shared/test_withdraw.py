"""`withdraw` of both pools."""

import pytest

from perpool.evm import reverts
from tests.market import MAX, ZERO_ADDRESS
from tests.pools import DAY, Balances, Side, expect_event, totals


def test_withdraw__to_nobody_or_the_pool(side: Side) -> None:
    lender = side.lend(5)
    for receiver in (ZERO_ADDRESS, side.pool):
        with reverts("bad receiver"):
            side.pool.withdraw(1, receiver, lender, sender=lender)


def test_withdraw__over_the_allowance(side: Side) -> None:
    lender, spender = side.lend(5), side.evm.account("spender")
    side.pool.approve(spender, side.pool.previewWithdraw(side.whole(2)) - 1, sender=lender)
    with reverts("insufficient allowance"):
        side.pool.withdraw(side.whole(2), spender, lender, sender=spender)


def test_withdraw__operators_have_no_say_over_shares(side: Side) -> None:
    lender, operator = side.lend(5), side.evm.account("operator")
    side.market.operators.set_operator(operator, True, sender=lender)
    with reverts("insufficient allowance"):
        side.pool.withdraw(side.whole(1), operator, lender, sender=operator)


def test_withdraw__nothing(side: Side) -> None:
    lender = side.lend(5)
    with reverts("zero amount"):
        side.pool.withdraw(0, lender, lender, sender=lender)


def test_withdraw__more_than_the_cash(side: Side) -> None:
    lender = side.lend(1_000)
    side.owe(400)
    with reverts("insufficient cash"):
        side.pool.withdraw(side.whole(600) + 1, lender, lender, sender=lender)
    side.pool.withdraw(side.whole(600), lender, lender, sender=lender)


def test_withdraw__more_than_the_holder_has(side: Side) -> None:
    lender = side.lend(5)
    side.lend(5, "other lender")
    with reverts("insufficient balance"):
        side.pool.withdraw(side.whole(5) + 1, lender, lender, sender=lender)


@pytest.mark.parametrize("charged", [1_000, 400], ids=["charged", "uncharged"])
def test_withdraw__more_than_there_is(side: Side, charged: int) -> None:
    """There is cash, of which the virtual shares or the fee have a part."""
    lender = side.lend(500)
    side.asset.mint(side.pool, side.whole(500), sender=lender)
    side.set_totals(cash=side.whole(1_000), charged_assets=side.whole(charged))
    claimed = side.pool.totalAssets()
    assert claimed == side.whole(1_000) - side.whole(1_000 - charged) // 10
    worth = side.pool.maxWithdraw(lender)
    assert worth < claimed
    shares = side.pool.totalSupply()
    for assets in (side.whole(1_000), claimed, worth + 1):
        assert side.pool.previewWithdraw(assets) > shares
        with reverts("insufficient balance"):
            side.pool.withdraw(assets, lender, lender, sender=lender)
    side.pool.withdraw(worth, lender, lender, sender=lender)


def test_withdraw__at_a_risen_price(side_of_decimals: Side) -> None:
    side = side_of_decimals
    lender, receiver = side.lend(1_000), side.evm.account("receiver")
    side.owe(500)
    side.evm.warp(30 * DAY)
    before, price = side.pool.accrued_state(), side.price()
    balances = Balances([side.asset, side.pool], lender, receiver, side.pool)
    amount = side.whole(77.777) + 1

    receipt = side.pool.withdraw.transact(amount, receiver, lender, sender=lender)

    shares = price.shares_up(amount)
    assert receipt.return_value == shares
    expect_event(
        receipt,
        "Withdraw",
        side.pool,
        sender=lender,
        receiver=receiver,
        owner=lender,
        assets=amount,
        shares=shares,
    )
    expect_event(receipt, "Transfer", side.pool, sender=lender, receiver=ZERO_ADDRESS, value=shares)
    assert balances.changes(lender) == (0, -shares)
    assert balances.changes(receiver) == (amount, 0)
    assert balances.changes(side.pool) == (-amount, 0)
    assert side.pool.state().charged_assets == before.charged_assets - amount
    assert totals(side.pool) == (
        before.supply_assets - amount,
        before.supply_shares - shares,
        before.debt_assets,
        before.debt_shares,
    )


@pytest.mark.parametrize("unlimited", [False, True])
def test_withdraw__by_a_spender(side: Side, unlimited: bool) -> None:
    lender, spender = side.lend(1_000), side.evm.account("spender")
    shares = side.pool.previewWithdraw(side.whole(100))
    allowed = MAX if unlimited else shares + 7
    side.pool.approve(spender, allowed, sender=lender)
    balances = Balances([side.asset, side.pool], lender, spender)

    receipt = side.pool.withdraw.transact(side.whole(100), spender, lender, sender=spender)

    expect_event(
        receipt,
        "Withdraw",
        side.pool,
        sender=spender,
        receiver=spender,
        owner=lender,
        assets=side.whole(100),
        shares=shares,
    )
    assert balances.changes(lender) == (0, -shares)
    assert balances.changes(spender) == (side.whole(100), 0)
    assert side.pool.allowance(lender, spender) == (MAX if unlimited else 7)


def test_withdraw__all_of_a_lone_lender(side_of_decimals: Side) -> None:
    side = side_of_decimals
    lender = side.lend(1_000)
    balances = Balances([side.asset], lender)

    side.pool.withdraw(side.whole(1_000), lender, lender, sender=lender)

    assert balances.changes(lender) == (side.whole(1_000),)
    assert totals(side.pool) == (0, 0, 0, 0)
