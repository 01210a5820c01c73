"""`ReversePool.withdraw_collateral`."""

import pytest

from perpool.evm import Account, Contract, reverts
from tests.market import MAX, ZERO_ADDRESS, Market, wad
from tests.pools import DAY, calm, ceil_div, expect_event, totals
from tests.unit.reverse_pool.conftest import balances_of


@pytest.fixture
def holder(market: Market) -> Account:
    """100 tokens of collateral and no debt."""
    account = market.give(market.evm.account("holder"), tokens=market.tokens(100))
    market.reverse.supply_collateral(market.tokens(100), account, sender=account)
    return account


@pytest.fixture
def borrower(market: Market) -> Account:
    """500 USDT against 100 tokens."""
    return market.borrow(collateral=market.tokens(100), usdt=market.usd(500))


def test_withdraw_collateral__for_somebody_else(
    market: Market, pool: Contract, holder: Account, stranger: Account
) -> None:
    with reverts("not authorised"):
        pool.withdraw_collateral(1, holder, stranger, sender=stranger)
    market.operators.set_operator(stranger, True, sender=holder)
    pool.withdraw_collateral(1, holder, stranger, sender=stranger)


def test_withdraw_collateral__to_nobody_or_the_pool(pool: Contract, holder: Account) -> None:
    for receiver in (ZERO_ADDRESS, pool):
        with reverts("bad receiver"):
            pool.withdraw_collateral(1, holder, receiver, sender=holder)


def test_withdraw_collateral__nothing(pool: Contract, holder: Account, stranger: Account) -> None:
    with reverts("zero amount"):
        pool.withdraw_collateral(0, holder, holder, sender=holder)
    # all of nothing
    with reverts("zero amount"):
        pool.withdraw_collateral(MAX, stranger, stranger, sender=stranger)


def test_withdraw_collateral__more_than_there_is(
    market: Market, pool: Contract, holder: Account
) -> None:
    with reverts("insufficient collateral"):
        pool.withdraw_collateral(market.tokens(100) + 1, holder, holder, sender=holder)
    with reverts("insufficient collateral"):
        pool.withdraw_collateral(MAX - 1, holder, holder, sender=holder)


def test_withdraw_collateral__paused(
    market: Market, pool: Contract, holder: Account, borrower: Account
) -> None:
    """From under a debt only."""
    market.factory.set_paused(pool, True, sender=market.guardian)
    with reverts("paused"):
        pool.withdraw_collateral(1, borrower, borrower, sender=borrower)
    pool.withdraw_collateral(MAX, holder, holder, sender=holder)


def test_withdraw_collateral__without_a_fresh_price(
    market: Market, pool: Contract, holder: Account, borrower: Account
) -> None:
    market.evm.warp(DAY + 1)
    with reverts("stale price"):
        pool.withdraw_collateral(1, borrower, borrower, sender=borrower)
    pool.withdraw_collateral(MAX, holder, holder, sender=holder)


def test_withdraw_collateral__all_from_under_a_debt(pool: Contract, borrower: Account) -> None:
    with reverts("unhealthy position"):
        pool.withdraw_collateral(MAX, borrower, borrower, sender=borrower)


@pytest.mark.parametrize("is_calm", [False, True])
def test_withdraw_collateral__down_to_the_limit(
    market: Market, pool: Contract, borrower: Account, is_calm: bool
) -> None:
    if is_calm:
        calm(market)
    ltv = wad(70) if is_calm else wad(60)
    market.evm.warp(1)
    with market.evm.same_block():
        value = ceil_div(pool.debt_of(borrower) * 10**18, ltv)
        least = ceil_div(value * 10**36, market.price_e36())
        out = market.tokens(100) - least
        with reverts("unhealthy position"):
            pool.withdraw_collateral(
                out + market.tokens("0.00001"), borrower, borrower, sender=borrower
            )
        pool.withdraw_collateral(out, borrower, borrower, sender=borrower)
    assert pool.position(borrower)[0] == least


def test_withdraw_collateral__interest_since_the_last_accrual_counts(
    market: Market, pool: Contract, borrower: Account
) -> None:
    for _ in range(90):
        market.evm.warp(DAY)
    market.refresh_price()
    with market.evm.same_block():
        stored = pool.state().debt_assets
        owed = pool.debt_of(borrower)
        assert owed > stored
        # enough for what is stored, not for what is owed
        keep = ceil_div(ceil_div(stored * 100, 60) * 10**36, market.price_e36())
        with reverts("unhealthy position"):
            pool.withdraw_collateral(market.tokens(100) - keep, borrower, borrower, sender=borrower)


def test_withdraw_collateral__by_the_lower_price(stub_market: Market) -> None:
    market, pool = stub_market, stub_market.reverse
    borrower = market.borrow(collateral=market.tokens(100), usdt=market.usd(300))
    price = market.oracle.liquidation_price()
    market.oracle.set_prices(price // 2, 2 * price, 2 * price)
    market.oracle.set_volatility(MAX)
    # 300 / (5 * 60 %) is 100 tokens
    with reverts("unhealthy position"):
        pool.withdraw_collateral(market.tokens(1), borrower, borrower, sender=borrower)
    market.oracle.set_prices(price, 2 * price, 1)
    pool.withdraw_collateral(market.tokens(49), borrower, borrower, sender=borrower)


@pytest.mark.parametrize("everything", [False, True])
def test_withdraw_collateral__without_debt(decimal_market: Market, everything: bool) -> None:
    market, pool = decimal_market, decimal_market.reverse
    holder = market.give(market.evm.account("holder"), tokens=market.tokens(100))
    operator, receiver = market.evm.account("operator"), market.evm.account("receiver")
    market.operators.set_operator(operator, True, sender=holder)
    pool.supply_collateral(market.tokens(100), holder, sender=holder)
    before, balances = totals(pool), balances_of(market, holder, operator, receiver)
    out = market.tokens(100) if everything else market.tokens("33.333333") + 1

    receipt = pool.withdraw_collateral.transact(
        MAX if everything else out, holder, receiver, sender=operator
    )

    left = market.tokens(100) - out
    assert receipt.return_value == out
    expect_event(
        receipt,
        "WithdrawCollateral",
        pool,
        caller=operator,
        on_behalf=holder,
        receiver=receiver,
        token_amount=out,
        collateral=left,
    )
    assert pool.position(holder) == (left, 0)
    assert totals(pool) == before
    assert balances.changes(receiver) == (out, 0)
    assert balances.changes(holder) == balances.changes(operator) == (0, 0)
    assert balances.changes(pool) == (-out, 0)


def test_withdraw_collateral__leaves_the_debt_alone(
    market: Market, pool: Contract, borrower: Account
) -> None:
    before, shares = pool.state(), pool.debt_shares_of(borrower)
    receipt = pool.withdraw_collateral.transact(
        market.tokens(10), borrower, borrower, sender=borrower
    )
    assert receipt.events("Accrue") == []
    assert pool.state() == before
    assert pool.position(borrower) == (market.tokens(90), shares)
