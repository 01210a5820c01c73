"""`ReversePool.repay`."""

import pytest

from perpool.evm import Account, Contract, Evm, reverts
from tests.market import MAX, Market, deploy_market
from tests.pools import DAY, expect_event, totals
from tests.unit.reverse_pool.conftest import balances_of


@pytest.fixture
def borrower(market: Market) -> Account:
    """500 USDT against 100 tokens, a day ago."""
    account = market.borrow(collateral=market.tokens(100), usdt=market.usd(500))
    market.evm.warp(DAY)
    market.refresh_price()
    return account


def test_repay__no_debt(market: Market, pool: Contract, stranger: Account) -> None:
    with reverts("no debt"):
        pool.repay(market.usd(1), stranger, sender=stranger)


def test_repay__more_than_the_caller_has(market: Market, pool: Contract, borrower: Account) -> None:
    with reverts("insufficient balance"):
        pool.repay(MAX, borrower, sender=borrower)


def test_repay__nothing(pool: Contract, borrower: Account) -> None:
    with reverts("zero amount"):
        pool.repay(0, borrower, sender=borrower)


def test_repay__leaving_dust(
    market: Market, pool: Contract, borrower: Account, stranger: Account
) -> None:
    with market.evm.same_block():
        debt = pool.debt_of(borrower)
        for left in (1, market.usd(10) - 1):
            with reverts("below minimum debt"):
                pool.repay(debt - left, borrower, sender=stranger)
        pool.repay(debt - market.usd(10), borrower, sender=stranger)
        assert pool.debt_of(borrower) == market.usd(10)


def test_repay__a_part_for_somebody_else(
    decimal_market: Market,
) -> None:
    market, pool = decimal_market, decimal_market.reverse
    borrower = market.borrow(collateral=market.tokens(100), usdt=market.usd(500))
    market.borrow("other", collateral=market.tokens(100), usdt=market.usd(77.777))
    payer = market.give(market.evm.account("payer"), usdt=market.usd(1_000))
    market.evm.warp(DAY)
    state, debt_shares = pool.accrued_state(), pool.debt_shares_of(borrower)
    balances = balances_of(market, borrower, payer)
    amount = market.usd(123.456) + 1

    receipt = pool.repay.transact(amount, borrower, sender=payer)

    shares = amount * state.debt_shares // state.debt_assets
    assert receipt.return_value == (amount, shares)
    expect_event(
        receipt,
        "Repay",
        pool,
        caller=payer,
        on_behalf=borrower,
        assets=amount,
        shares=shares,
        total_debt=state.debt_assets - amount,
        total_debt_shares=state.debt_shares - shares,
    )
    assert len(receipt.events("Accrue", pool)) == 1
    assert pool.position(borrower) == (market.tokens(100), debt_shares - shares)
    assert totals(pool) == (
        state.supply_assets,
        state.supply_shares,
        state.debt_assets - amount,
        state.debt_shares - shares,
    )
    assert balances.changes(payer) == (0, -amount)
    assert balances.changes(borrower) == (0, 0)
    assert balances.changes(pool) == (0, amount)


@pytest.mark.parametrize("more_than_all", [MAX, 10**15])
def test_repay__all_leaves_no_dust(
    market: Market, pool: Contract, borrower: Account, stranger: Account, more_than_all: int
) -> None:
    market.borrow("other", collateral=market.tokens(100), usdt=market.usd(77.777))
    market.evm.warp(7)
    state, debt, shares = (
        pool.accrued_state(),
        pool.debt_of(borrower),
        pool.debt_shares_of(borrower),
    )
    balances = balances_of(market, stranger)

    receipt = pool.repay.transact(more_than_all, borrower, sender=stranger)

    assert receipt.return_value == (debt, shares)
    assert pool.position(borrower) == (market.tokens(100), 0)
    assert pool.debt_of(borrower) == 0
    assert balances.changes(stranger) == (0, -debt)
    assert totals(pool)[2:] == (state.debt_assets - debt, state.debt_shares - shares)


def test_repay__exactly_all(
    market: Market, pool: Contract, borrower: Account, stranger: Account
) -> None:
    with market.evm.same_block():
        debt = pool.debt_of(borrower)
        pool.repay(debt, borrower, sender=stranger)
    assert pool.position(borrower)[1] == 0
    assert totals(pool)[2:] == (0, 0)


def test_repay__never_lowers_the_others_price(
    market: Market, pool: Contract, borrower: Account, stranger: Account
) -> None:
    """What one repays does not raise what the others owe, nor what lenders own, by rounding."""
    other = market.borrow("other", collateral=market.tokens(100), usdt=market.usd(77.777))
    lender = market.evm.account("lender")
    market.evm.warp(DAY)
    with market.evm.same_block():
        owed, owned = pool.debt_of(other), pool.convertToAssets(pool.balanceOf(lender))
        for amount in (1, 3, 1_000_001, market.usd(123.456)):
            pool.repay(amount, borrower, sender=stranger)
        assert owed - 1 <= pool.debt_of(other) <= owed
        assert pool.convertToAssets(pool.balanceOf(lender)) == owned


def test_repay__a_part_of_usdt_with_a_fee(evm: Evm) -> None:
    """The debt falls by what arrived."""
    usdt = evm.deploy("FeeToken", 6, 0)
    market = deploy_market(evm, usdt=usdt)
    market.lend(usdt=market.usd(10_000))
    borrower = market.borrow(collateral=market.tokens(100), usdt=market.usd(500))
    usdt.set_fee(100)
    before = market.reverse.state()
    repaid, _ = market.reverse.repay(market.usd(200), borrower, sender=borrower)
    assert repaid == market.usd(198)
    state = market.reverse.state()
    interest = market.evm.last.events("Accrue")[0].interest
    assert state.debt_assets == before.debt_assets + interest - repaid
    assert usdt.balanceOf(market.reverse) == state.cash == before.cash + repaid
