"""`mint` of both pools."""

import pytest

from perpool.evm import Evm, reverts
from tests.market import ZERO_ADDRESS, deploy_market
from tests.pools import DAY, HEADROOM, Balances, Side, expect_event, totals


def test_mint__more_than_the_caller_can_pay(side: Side) -> None:
    lender = side.give("lender", 5)
    shares = side.pool.previewDeposit(side.whole(5))
    with reverts("insufficient balance"):
        side.pool.mint(shares + 1, lender, sender=lender)


def test_mint__of_a_token_with_a_fee(evm: Evm) -> None:
    token = evm.deploy("FeeToken", 18, 0)
    market = deploy_market(evm, token=token)
    lender = market.give(evm.account("lender"), tokens=market.tokens(100))
    token.set_fee(1)
    with reverts("transfer fell short"):
        market.forward.mint(10**24, lender, sender=lender)


def test_mint__nothing(side: Side) -> None:
    lender = side.give("lender", 5)
    with reverts("zero amount"):
        side.pool.mint(0, lender, sender=lender)


def test_mint__paused(side: Side) -> None:
    lender = side.give("lender", 5)
    side.pause()
    with reverts("paused"):
        side.pool.mint(1, lender, sender=lender)


def test_mint__into_the_headroom(side: Side) -> None:
    lender = side.give("lender", 5)
    side.set_totals(cash=HEADROOM // 2, supply_shares=HEADROOM - 100)
    with reverts("amount too large"):
        side.pool.mint(100, lender, sender=lender)
    side.pool.mint(99, lender, sender=lender)


def test_mint__over_the_cap(side: Side) -> None:
    lender = side.give("lender", 5)
    side.set_caps(supply=side.whole(3))
    shares = side.pool.previewDeposit(side.whole(3))
    with reverts("supply cap"):
        side.pool.mint(shares + 1, lender, sender=lender)
    side.pool.mint(shares, lender, sender=lender)


@pytest.mark.parametrize("to_pool", [False, True])
def test_mint__to_nobody_or_the_pool(side: Side, to_pool: bool) -> None:
    lender = side.give("lender", 5)
    # whatever the amount
    for shares in (10**6, 0):
        with reverts("bad receiver"):
            side.pool.mint(shares, side.pool if to_pool else ZERO_ADDRESS, sender=lender)


def test_mint__at_a_risen_price(side_of_decimals: Side) -> None:
    side = side_of_decimals
    side.lend(1_000)
    side.owe(500)
    lender, receiver = side.give("second lender", 100), side.evm.account("receiver")
    side.evm.warp(30 * DAY)
    before, price = side.pool.accrued_state(), side.price()
    balances = Balances([side.asset, side.pool], lender, receiver, side.pool)
    shares = side.whole(77.777) + 1

    receipt = side.pool.mint.transact(shares, receiver, sender=lender)

    assets = price.assets_up(shares)
    assert receipt.return_value == assets
    expect_event(
        receipt, "Deposit", side.pool, sender=lender, owner=receiver, assets=assets, shares=shares
    )
    expect_event(
        receipt, "Transfer", side.pool, sender=ZERO_ADDRESS, receiver=receiver, value=shares
    )
    assert balances.changes(lender) == (-assets, 0)
    assert balances.changes(receiver) == (0, shares)
    assert balances.changes(side.pool) == (assets, 0)
    assert side.pool.state().charged_assets == before.charged_assets + assets
    assert totals(side.pool) == (
        before.supply_assets + assets,
        before.supply_shares + shares,
        before.debt_assets,
        before.debt_shares,
    )
    assert side.pool.previewRedeem(shares) <= assets
