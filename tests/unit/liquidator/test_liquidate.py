"""`Liquidator.liquidate`."""

from __future__ import annotations

from typing import Any

import pytest

from perpool.evm import Evm, reverts
from tests.market import MAX, ZERO_ADDRESS, deploy_market
from tests.pools import calm, expect_event
from tests.unit.liquidator.conftest import Case

# --- reverts


def test_liquidate__to_nobody_or_itself(case: Case) -> None:
    for receiver in (ZERO_ADDRESS, case.liquidator):
        with reverts("bad receiver"):
            case.liquidate(receiver=receiver)


def test_liquidate__what_is_no_pool(case: Case) -> None:
    for pool in (case.asset, case.caller, case.liquidator):
        with reverts(""):
            case.liquidate(pool=pool)


def test_liquidate__healthy(case: Case) -> None:
    case.market.set_price(10)
    with reverts("healthy position"):
        case.liquidate()


def test_liquidate__nothing(case: Case) -> None:
    with reverts("zero amount"):
        case.liquidate(max_repay=0)


def test_liquidate__without_a_route(case: Case) -> None:
    with reverts("bad route"):
        case.liquidate(route=b"")
    backwards = case.market.pool.route(case.asset)
    with reverts("wrong tokens in route"):
        case.liquidate(route=backwards)


def test_liquidate__a_sale_that_does_not_pay_the_debt(case: Case) -> None:
    """Uniswap is further from the oracle than the bonus reaches: the pool cannot be paid."""
    price = case.market.pool.price
    further = price * 9 / 10 if case.pool == case.market.reverse else price * 11 / 10
    case.market.pool.swap_to(further)
    before = case.balances()
    with reverts("insufficient allowance"):
        case.liquidate(min_profit=0)
    assert before.changes(case.pool) == (0, 0)


def test_liquidate__less_profit_than_asked_for(case: Case) -> None:
    with case.evm.same_block():
        with case.evm.anchor():
            profit = case.liquidate().return_value
        with reverts("profit too small"):
            case.liquidate(min_profit=profit + 1)
        assert case.liquidate(min_profit=profit).return_value == profit


# --- what it does


@pytest.mark.parametrize("part", [None, 0.3])
def test_liquidate__pays_out_of_the_collateral(case: Case, part: float | None) -> None:
    with case.evm.same_block():
        most, _ = case.with_capital()
        max_repay = MAX if part is None else int(most * part)
        repaid, seized = case.with_capital(max_repay)
        proceeds = case.market.uniswap.quote_exact_in(case.route, seized)
        shares = case.pool.debt_shares_of(case.borrower)
        before = case.balances()

        receipt = case.liquidate(max_repay=max_repay)

    assert repaid == min(max_repay, most)
    profit = proceeds - repaid
    # the bonus of 7 % or 7.5 % less the fee of 0.05 % and the slippage
    assert 0.065 < profit / repaid < 0.075
    assert receipt.return_value == profit
    expect_event(
        receipt,
        "Liquidation",
        case.liquidator,
        caller=case.caller,
        pool=case.pool,
        borrower=case.borrower,
        receiver=case.receiver,
        repaid=repaid,
        seized=seized,
        profit=profit,
    )
    assert before.changes(case.receiver) == (profit, 0)
    assert before.changes(case.caller) == (0, 0)
    assert before.changes(case.pool) == (repaid, -seized)
    assert 0 < case.pool.debt_shares_of(case.borrower) < shares
    check_empty(case)


def check_empty(case: Case) -> None:
    """Neither tokens nor allowances are left."""
    for token in (case.asset, case.collateral):
        for holder in (case.liquidator, case.market.swapper):
            assert token.balanceOf(holder) == 0
        for spender in (case.pool, case.market.swapper):
            assert token.allowance(case.liquidator, spender) == 0


def test_liquidate__what_lay_there_stays(case: Case) -> None:
    """It is neither sold nor paid with, and is no profit: a call does the same without it."""
    market, tokens = case.market, (case.asset, case.collateral)
    strays = [token.balanceOf(case.pool) // 100 for token in tokens]
    with case.evm.same_block():
        with case.evm.anchor():
            expected = case.liquidate().return_value
        for token, stray in zip(tokens, strays, strict=True):
            token.mint(case.liquidator, stray)
        before = case.balances()
        with reverts("profit too small"):
            case.liquidate(min_profit=expected + 1)
        assert case.liquidate().return_value == expected
    assert min(strays) > 0
    assert before.changes(case.receiver) == (expected, 0)
    assert before.changes(case.liquidator) == before.changes(market.swapper) == (0, 0)
    assert case.asset.allowance(case.liquidator, case.pool) == 0


def test_liquidate__one_position_after_another(case: Case) -> None:
    """USDT takes an allowance from zero only, so none may be left by the one before."""
    profits = [case.liquidate(max_repay=case.with_capital()[0] // 3).return_value for _ in "12"]
    assert 0 < profits[1] <= profits[0] * 1.01


def test_liquidate__bad_debt(case: Case) -> None:
    """All collateral is taken for what it is worth without the bonus, the rest written off."""
    case.market.set_price(5 if case.pool == case.market.reverse else 30)
    receipt = case.liquidate()
    assert receipt.return_value > 0
    assert len(receipt.events("BadDebt", case.pool)) == 1
    assert case.pool.debt_shares_of(case.borrower) == 0
    check_empty(case)


def test_liquidate__through_several_pools(case: Case) -> None:
    """The route is the adapter's own affair."""
    market = case.market
    middle = case.evm.deploy("TestToken", "Middle", "MID", 18)
    legs: list[Any] = []
    for token in (case.collateral, case.asset):
        venue = market.uniswap.create_pool(
            middle, token, fee=500, price=market.pool.price if token == market.usdt else 1
        )
        venue.add_liquidity(10**6 * 10 ** token.decimals())
        legs.append(venue)
    route = legs[0].route(case.collateral) + legs[1].route(middle)[20:]
    assert case.liquidate(route=route).return_value > 0
    check_empty(case)


def test_liquidate__while_paused_and_capped(case: Case) -> None:
    market = case.market
    market.factory.set_paused(case.pool, True, sender=market.guardian)
    market.factory.set_caps(case.pool, 0, 0, 0, sender=market.owner)
    assert case.liquidate().return_value > 0


def test_liquidate__with_a_fee_on_usdt(evm: Evm) -> None:
    """The pool pulls more than is due then, so that as much arrives."""
    market = deploy_market(evm, usdt=evm.deploy("FeeToken", 6, 0))
    market.lend(usdt=market.usd(10_000))
    calm(market)
    borrower = market.borrow(collateral=market.tokens(100), usdt=market.usd(690))
    market.set_price("8.2")
    market.usdt.set_fee(20)
    liquidator, receiver = evm.deploy("Liquidator"), evm.account("receiver")
    due = market.reverse.debt_of(borrower)

    profit = liquidator.liquidate(
        market.reverse, borrower, MAX, market.swapper, market.sell_route, 1, receiver
    )

    assert market.reverse.debt_of(borrower) < due
    # what the receiver gets pays the fee too
    assert market.usdt.balanceOf(receiver) == profit - profit * 20 // 10_000
    assert market.usdt.balanceOf(liquidator) == 0
    assert market.usdt.allowance(liquidator, market.reverse) == 0
