"""`ReversePool.supply_collateral`."""

import pytest

from perpool.evm import Account, Contract, Evm, reverts
from tests.market import MAX, NO_CAP, ZERO_ADDRESS, Market, deploy_market
from tests.pools import MAX_UINT128, expect_event, totals
from tests.unit.reverse_pool.conftest import balances_of


def test_supply_collateral__for_nobody_or_the_pool(pool: Contract, stranger: Account) -> None:
    for on_behalf in (ZERO_ADDRESS, pool):
        with reverts("bad receiver"):
            pool.supply_collateral(1, on_behalf, sender=stranger)


def test_supply_collateral__more_than_the_caller_has(pool: Contract, stranger: Account) -> None:
    with reverts("insufficient balance"):
        pool.supply_collateral(MAX_UINT128, stranger, sender=stranger)


def test_supply_collateral__nothing(pool: Contract, stranger: Account) -> None:
    with reverts("zero amount"):
        pool.supply_collateral(0, stranger, sender=stranger)


def test_supply_collateral__over_the_cap(market: Market, pool: Contract, stranger: Account) -> None:
    market.factory.set_caps(pool, NO_CAP, NO_CAP, market.tokens(100), sender=market.owner)
    pool.supply_collateral(market.tokens(40), stranger, sender=stranger)
    with reverts("collateral cap"):
        pool.supply_collateral(market.tokens(60) + 1, stranger, sender=stranger)
    pool.supply_collateral(market.tokens(60), stranger, sender=stranger)
    with reverts("collateral cap"):
        pool.supply_collateral(1, stranger, sender=stranger)


def test_supply_collateral__gifts_count_towards_the_cap(
    market: Market, pool: Contract, stranger: Account
) -> None:
    market.factory.set_caps(pool, NO_CAP, NO_CAP, market.tokens(100), sender=market.owner)
    market.token.transfer(pool, market.tokens(90), sender=stranger)
    with reverts("collateral cap"):
        pool.supply_collateral(market.tokens(10) + 1, stranger, sender=stranger)
    pool.supply_collateral(market.tokens(10), stranger, sender=stranger)


def test_supply_collateral__more_than_a_position_holds(
    market: Market, pool: Contract, stranger: Account
) -> None:
    market.factory.set_caps(pool, NO_CAP, NO_CAP, MAX, sender=market.owner)
    market.token.mint(stranger, MAX_UINT128, sender=stranger)
    with reverts("collateral cap"):
        pool.supply_collateral(MAX_UINT128 + 1, stranger, sender=stranger)
    pool.supply_collateral(MAX_UINT128, stranger, sender=stranger)
    assert pool.position(stranger) == (MAX_UINT128, 0)


@pytest.mark.parametrize("amount", [77, 0.123456])
def test_supply_collateral__for_somebody_else(decimal_market: Market, amount: float) -> None:
    market = decimal_market
    pool, units = market.reverse, market.tokens(amount)
    payer = market.give(market.evm.account("payer"), tokens=2 * units)
    holder = market.evm.account("holder")
    balances, before = balances_of(market, payer, holder), totals(pool)

    receipt = pool.supply_collateral.transact(units, holder, sender=payer)

    assert receipt.return_value == units
    expect_event(
        receipt,
        "SupplyCollateral",
        pool,
        caller=payer,
        on_behalf=holder,
        token_amount=units,
        collateral=units,
    )
    assert pool.position(holder) == (units, 0)
    assert pool.position(payer) == (0, 0)
    assert totals(pool) == before
    assert balances.changes(payer) == (-units, 0)
    assert balances.changes(pool) == (units, 0)

    receipt = pool.supply_collateral.transact(units, holder, sender=payer)
    assert receipt.events("SupplyCollateral")[0].collateral == 2 * units
    assert pool.position(holder) == (2 * units, 0)


def test_supply_collateral__beside_a_debt(market: Market, pool: Contract) -> None:
    borrower = market.borrow(collateral=market.tokens(100), usdt=market.usd(500))
    debt_shares = pool.debt_shares_of(borrower)
    market.give(borrower, tokens=market.tokens(5))
    pool.supply_collateral(market.tokens(5), borrower, sender=borrower)
    assert pool.position(borrower) == (market.tokens(105), debt_shares)


def test_supply_collateral__of_a_token_with_a_fee(evm: Evm) -> None:
    """Credited with what arrived; the others' collateral stays covered."""
    token = evm.deploy("FeeToken", 18, 0)
    market = deploy_market(evm, token=token)
    market.give(evm.account("first"), tokens=market.tokens(100))
    second = market.give(evm.account("second"), tokens=market.tokens(100))
    first = evm.account("first")
    pool = market.reverse
    pool.supply_collateral(market.tokens(100), first, sender=first)
    token.set_fee(250)

    receipt = pool.supply_collateral.transact(market.tokens(100), second, sender=second)

    assert receipt.return_value == market.tokens("97.5")
    assert receipt.events("SupplyCollateral")[0].token_amount == market.tokens("97.5")
    assert pool.position(second) == (market.tokens("97.5"), 0)
    assert token.balanceOf(pool) == market.tokens("197.5")
    # a fee of everything leaves nothing to credit
    token.set_fee(10_000)
    token.mint(second, 10)
    with reverts("zero amount"):
        pool.supply_collateral(10, second, sender=second)
