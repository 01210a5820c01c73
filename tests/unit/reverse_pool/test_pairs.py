"""`ReversePool.supply_collateral_and_borrow` and `repay_and_withdraw_collateral`."""

import pytest

from perpool.evm import Account, Contract, reverts
from tests.market import MAX, NO_CAP, ZERO_ADDRESS, Market
from tests.pools import DAY, expect_event, totals
from tests.unit.reverse_pool.conftest import balances_of


@pytest.fixture
def holder(market: Market) -> Account:
    return market.give(market.evm.account("holder"), tokens=market.tokens(100))


@pytest.fixture
def borrower(market: Market) -> Account:
    """500 USDT against 100 tokens, and enough to repay."""
    market.give(market.evm.account("borrower"), usdt=market.usd(100))
    return market.borrow(collateral=market.tokens(100), usdt=market.usd(500))


# --- supply_collateral_and_borrow


def test_supply_collateral_and_borrow__reasons_of_both(
    market: Market, pool: Contract, holder: Account, stranger: Account
) -> None:
    half = market.tokens(50), market.usd(250)
    with reverts("bad receiver"):
        pool.supply_collateral_and_borrow(*half, ZERO_ADDRESS, holder, sender=holder)
    with reverts("zero amount"):
        pool.supply_collateral_and_borrow(0, half[1], holder, holder, sender=holder)
    with reverts("not authorised"):
        pool.supply_collateral_and_borrow(*half, holder, stranger, sender=stranger)
    with reverts("bad receiver"):
        pool.supply_collateral_and_borrow(*half, holder, pool, sender=holder)
    with reverts("zero amount"):
        pool.supply_collateral_and_borrow(half[0], 0, holder, holder, sender=holder)
    with reverts("unhealthy position"):
        pool.supply_collateral_and_borrow(
            half[0], market.usd(300) + 1, holder, holder, sender=holder
        )
    market.factory.set_caps(pool, NO_CAP, NO_CAP, half[0] - 1, sender=market.owner)
    with reverts("collateral cap"):
        pool.supply_collateral_and_borrow(*half, holder, holder, sender=holder)
    market.factory.set_paused(pool, True, sender=market.guardian)
    market.factory.set_caps(pool, NO_CAP, NO_CAP, NO_CAP, sender=market.owner)
    with reverts("paused"):
        pool.supply_collateral_and_borrow(*half, holder, holder, sender=holder)
    # nothing of the first half stays where the second fails
    assert pool.position(holder) == (0, 0)


def test_supply_collateral_and_borrow__does_both(
    market: Market, pool: Contract, holder: Account
) -> None:
    operator, receiver = market.evm.account("operator"), market.evm.account("receiver")
    market.give(operator, tokens=market.tokens(50))
    market.operators.set_operator(operator, True, sender=holder)
    before, balances = totals(pool), balances_of(market, holder, operator, receiver)
    tokens, usdt = market.tokens(50), market.usd(250)

    receipt = pool.supply_collateral_and_borrow.transact(
        tokens, usdt, holder, receiver, sender=operator
    )

    assert receipt.return_value == usdt * 10**6
    expect_event(
        receipt,
        "SupplyCollateral",
        pool,
        caller=operator,
        on_behalf=holder,
        token_amount=tokens,
        collateral=tokens,
    )
    expect_event(
        receipt,
        "Borrow",
        pool,
        caller=operator,
        on_behalf=holder,
        receiver=receiver,
        assets=usdt,
        shares=usdt * 10**6,
        total_debt=usdt,
        total_debt_shares=usdt * 10**6,
    )
    assert pool.position(holder) == (tokens, usdt * 10**6)
    assert totals(pool) == (*before[:2], usdt, usdt * 10**6)
    assert balances.changes(holder) == (0, 0)
    assert balances.changes(operator) == (-tokens, 0)
    assert balances.changes(receiver) == (0, usdt)
    assert balances.changes(pool) == (tokens, -usdt)


# --- repay_and_withdraw_collateral


def test_repay_and_withdraw_collateral__reasons_of_both(
    market: Market, pool: Contract, borrower: Account, stranger: Account
) -> None:
    half = market.usd(250), market.tokens(50)
    call = pool.repay_and_withdraw_collateral
    with reverts("no debt"):
        call(*half, stranger, stranger, sender=stranger)
    with reverts("zero amount"):
        call(0, half[1], borrower, borrower, sender=borrower)
    with reverts("below minimum debt"):
        call(market.usd(495), half[1], borrower, borrower, sender=borrower)
    with reverts("not authorised"):
        call(*half, borrower, stranger, sender=stranger)
    with reverts("bad receiver"):
        call(*half, borrower, pool, sender=borrower)
    with reverts("zero amount"):
        call(half[0], 0, borrower, borrower, sender=borrower)
    with reverts("insufficient collateral"):
        call(half[0], market.tokens(100) + 1, borrower, borrower, sender=borrower)
    with reverts("unhealthy position"):
        call(half[0], market.tokens(60), borrower, borrower, sender=borrower)
    market.factory.set_paused(pool, True, sender=market.guardian)
    with reverts("paused"):
        call(half[0], 1, borrower, borrower, sender=borrower)
    assert pool.position(borrower)[0] == market.tokens(100)


@pytest.mark.parametrize("paused", [False, True])
def test_repay_and_withdraw_collateral__all_of_both(
    market: Market, pool: Contract, borrower: Account, paused: bool
) -> None:
    """Needs neither a price nor that the pool goes on."""
    market.evm.warp(2 * DAY)
    if paused:
        market.factory.set_paused(pool, True, sender=market.guardian)
    receiver = market.evm.account("receiver")
    balances = balances_of(market, borrower, receiver)
    shares = pool.debt_shares_of(borrower)
    with market.evm.same_block():
        debt = pool.debt_of(borrower)
        state = pool.accrued_state()
        receipt = pool.repay_and_withdraw_collateral.transact(
            MAX, MAX, borrower, receiver, sender=borrower
        )

    assert receipt.return_value == (debt, market.tokens(100))
    expect_event(
        receipt,
        "Repay",
        pool,
        caller=borrower,
        on_behalf=borrower,
        assets=debt,
        shares=shares,
        total_debt=0,
        total_debt_shares=0,
    )
    expect_event(
        receipt,
        "WithdrawCollateral",
        pool,
        caller=borrower,
        on_behalf=borrower,
        receiver=receiver,
        token_amount=market.tokens(100),
        collateral=0,
    )
    assert pool.position(borrower) == (0, 0)
    assert totals(pool) == (state.supply_assets, state.supply_shares, 0, 0)
    assert balances.changes(borrower) == (0, -debt)
    assert balances.changes(receiver) == (market.tokens(100), 0)
    assert balances.changes(pool) == (-market.tokens(100), debt)
