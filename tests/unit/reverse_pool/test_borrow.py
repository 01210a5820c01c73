"""`ReversePool.borrow`."""

import pytest

from perpool.evm import Account, Contract, Evm, reverts
from tests.market import MAX, NO_CAP, ZERO_ADDRESS, Market, deploy_market, wad
from tests.pools import DAY, HEADROOM, Side, calm, ceil_div, expect_event, totals
from tests.unit.reverse_pool.conftest import balances_of


@pytest.fixture
def holder(market: Market) -> Account:
    """100 tokens of collateral, worth 1,000 USDT, and no debt."""
    account = market.give(market.evm.account("holder"), tokens=market.tokens(100))
    market.reverse.supply_collateral(market.tokens(100), account, sender=account)
    return account


def test_borrow__for_somebody_else(
    market: Market, pool: Contract, holder: Account, stranger: Account
) -> None:
    with reverts("not authorised"):
        pool.borrow(market.usd(100), holder, stranger, sender=stranger)
    market.operators.set_operator(stranger, True, sender=holder)
    pool.borrow(market.usd(100), holder, stranger, sender=stranger)
    market.operators.set_operator(stranger, False, sender=holder)
    with reverts("not authorised"):
        pool.borrow(market.usd(100), holder, stranger, sender=stranger)


def test_borrow__to_nobody_or_the_pool(market: Market, pool: Contract, holder: Account) -> None:
    for receiver in (ZERO_ADDRESS, pool):
        with reverts("bad receiver"):
            pool.borrow(market.usd(100), holder, receiver, sender=holder)


def test_borrow__nothing(pool: Contract, holder: Account) -> None:
    with reverts("zero amount"):
        pool.borrow(0, holder, holder, sender=holder)


def test_borrow__more_than_the_cash(market: Market, pool: Contract, holder: Account) -> None:
    with reverts("insufficient cash"):
        pool.borrow(market.usd(100_000) + 1, holder, holder, sender=holder)
    with reverts("insufficient cash"):
        pool.borrow(MAX, holder, holder, sender=holder)


def test_borrow__gifts_are_not_cash(market: Market, pool: Contract, holder: Account) -> None:
    market.usdt.mint(pool, market.usd(50_000), sender=holder)
    with reverts("insufficient cash"):
        pool.borrow(market.usd(100_000) + 1, holder, holder, sender=holder)


def test_borrow__paused(market: Market, pool: Contract, holder: Account) -> None:
    market.factory.set_paused(pool, True, sender=market.guardian)
    with reverts("paused"):
        pool.borrow(market.usd(100), holder, holder, sender=holder)


def test_borrow__into_the_headroom(market: Market, pool: Contract, holder: Account) -> None:
    side = Side.of(market, "reverse")
    side.set_totals(debt_assets=market.usd(1_000), debt_shares=HEADROOM - 2)
    with reverts("amount too large"):
        pool.borrow(market.usd(100), holder, holder, sender=holder)


def test_borrow__over_the_cap(market: Market, pool: Contract, holder: Account) -> None:
    market.factory.set_caps(pool, NO_CAP, market.usd(300), NO_CAP, sender=market.owner)
    with reverts("debt cap"):
        pool.borrow(market.usd(300) + 1, holder, holder, sender=holder)
    pool.borrow(market.usd(300), holder, holder, sender=holder)
    # interest counts
    market.evm.warp(DAY)
    with reverts("debt cap"):
        pool.borrow(1, holder, holder, sender=holder)


def test_borrow__less_than_the_minimum(market: Market, pool: Contract, holder: Account) -> None:
    with reverts("below minimum debt"):
        pool.borrow(market.usd(10) - 1, holder, holder, sender=holder)
    pool.borrow(market.usd(10), holder, holder, sender=holder)
    # on top of a debt any amount will do
    pool.borrow(1, holder, holder, sender=holder)


def test_borrow__without_a_fresh_price(market: Market, pool: Contract, holder: Account) -> None:
    market.evm.warp(DAY + 1)
    with reverts("stale price"):
        pool.borrow(market.usd(100), holder, holder, sender=holder)
    market.refresh_price()
    pool.borrow(market.usd(100), holder, holder, sender=holder)


def test_borrow__over_the_stressed_limit(market: Market, pool: Contract, holder: Account) -> None:
    """Where the volatility is unknown."""
    assert market.oracle.volatility() == MAX
    with reverts("unhealthy position"):
        pool.borrow(market.usd(600) + 1, holder, holder, sender=holder)
    pool.borrow(market.usd(600), holder, holder, sender=holder)


def test_borrow__over_the_calm_limit(market: Market, pool: Contract, holder: Account) -> None:
    calm(market)
    with reverts("unhealthy position"):
        pool.borrow(market.usd(700) + 1, holder, holder, sender=holder)
    pool.borrow(market.usd(700), holder, holder, sender=holder)


def test_borrow__limit_counts_the_debt_there_is(
    market: Market, pool: Contract, holder: Account
) -> None:
    calm(market)
    pool.borrow(market.usd(500), holder, holder, sender=holder)
    market.evm.warp(3_600)
    with market.evm.same_block():
        room = market.usd(700) - pool.debt_of(holder)
        assert room < market.usd(200)
        # one unit of rounding stays with the pool
        with reverts("unhealthy position"):
            pool.borrow(room + 1, holder, holder, sender=holder)
        pool.borrow(room - 1, holder, holder, sender=holder)


@pytest.mark.parametrize("volatility", [0, wad(50), wad(100), wad(150), wad(200), MAX])
@pytest.mark.parametrize("lower", [9, "7.77"])
def test_borrow__by_the_lower_price_and_the_volatility(
    stub_market: Market, volatility: int, lower: float | str
) -> None:
    market, pool = stub_market, stub_market.reverse
    holder = market.give(market.evm.account("holder"), tokens=market.tokens(100))
    pool.supply_collateral(market.tokens(100), holder, sender=holder)
    price = market.oracle.liquidation_price()
    low = int(price * float(lower) / 10)
    market.oracle.set_prices(low, 2 * price, 3 * price)
    market.oracle.set_volatility(volatility)
    ltv = {wad(150): wad(65), wad(200): wad(60), MAX: wad(60)}.get(volatility, wad(70))
    most = market.tokens(100) * low // 10**36 * ltv // 10**18
    with reverts("unhealthy position"):
        pool.borrow(most + 1, holder, holder, sender=holder)
    pool.borrow(most, holder, holder, sender=holder)


def test_borrow__first_debt(decimal_market: Market) -> None:
    market, pool = decimal_market, decimal_market.reverse
    holder = market.give(market.evm.account("holder"), tokens=market.tokens(100))
    operator, receiver = market.evm.account("operator"), market.evm.account("receiver")
    pool.supply_collateral(market.tokens(100), holder, sender=holder)
    market.operators.set_operator(operator, True, sender=holder)
    before, balances = totals(pool), balances_of(market, holder, operator, receiver)
    amount = market.usd(500)

    receipt = pool.borrow.transact(amount, holder, receiver, sender=operator)

    shares = amount * 10**6
    assert receipt.return_value == shares
    expect_event(
        receipt,
        "Borrow",
        pool,
        caller=operator,
        on_behalf=holder,
        receiver=receiver,
        assets=amount,
        shares=shares,
        total_debt=amount,
        total_debt_shares=shares,
    )
    assert pool.position(holder) == (market.tokens(100), shares)
    assert totals(pool) == (*before[:2], amount, shares)
    assert balances.changes(receiver) == (0, amount)
    assert balances.changes(holder) == balances.changes(operator) == (0, 0)
    assert balances.changes(pool) == (0, -amount)


def test_borrow__second_debt_rounds_its_shares_up(market: Market, pool: Contract) -> None:
    market.borrow("first borrower", collateral=market.tokens(100), usdt=market.usd(500))
    holder = market.give(market.evm.account("holder"), tokens=market.tokens(100))
    pool.supply_collateral(market.tokens(100), holder, sender=holder)
    market.evm.warp(DAY // 2)
    state = pool.accrued_state()
    amount = market.usd(100) + 1

    receipt = pool.borrow.transact(amount, holder, holder, sender=holder)

    shares = ceil_div(amount * state.debt_shares, state.debt_assets)
    assert receipt.return_value == shares < amount * 10**6
    assert len(receipt.events("Accrue", pool)) == 1
    expect_event(
        receipt,
        "Borrow",
        pool,
        caller=holder,
        on_behalf=holder,
        receiver=holder,
        assets=amount,
        shares=shares,
        total_debt=state.debt_assets + amount,
        total_debt_shares=state.debt_shares + shares,
    )
    # what is owed is at least what was received
    assert amount <= pool.debt_of(holder) <= amount + 1


def test_borrow__again_after_all_debt_was_repaid(market: Market, pool: Contract) -> None:
    borrower = market.borrow(collateral=market.tokens(100), usdt=market.usd(500))
    market.evm.warp(DAY)
    market.give(borrower, usdt=market.usd(10))
    pool.repay(MAX, borrower, sender=borrower)
    assert totals(pool)[2:] == (0, 0)
    market.refresh_price()
    assert pool.borrow(market.usd(10), borrower, borrower, sender=borrower) == 10**13


def test_borrow__of_usdt_with_a_fee_pays_the_fee_itself(evm: Evm) -> None:
    usdt = evm.deploy("FeeToken", 6, 0)
    market = deploy_market(evm, usdt=usdt)
    market.lend(usdt=market.usd(10_000))
    usdt.set_fee(100)
    borrower = market.borrow(collateral=market.tokens(100), usdt=market.usd(500))
    assert usdt.balanceOf(borrower) == market.usd(495)
    assert market.reverse.state().debt_assets == market.usd(500)
