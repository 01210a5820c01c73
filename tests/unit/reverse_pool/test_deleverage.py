"""`ReversePool.deleverage`."""

import pytest

from perpool.evm import Account, Contract, Evm, reverts
from tests.market import MAX, ZERO_ADDRESS, Market, deploy_market, wad
from tests.pools import DAY, calm, expect_event, totals
from tests.unit.reverse_pool.conftest import balances_of


@pytest.fixture
def borrower(market: Market) -> Account:
    """600 USDT against 100 tokens, all of it still in hand."""
    return market.borrow(collateral=market.tokens(100), usdt=market.usd(600))


@pytest.fixture
def seller(market: Market) -> Contract:
    return market.evm.deploy("CollateralSeller")


def test_deleverage__for_somebody_else(
    market: Market, pool: Contract, borrower: Account, stranger: Account
) -> None:
    half = market.tokens(20), market.usd(300)
    with reverts("not authorised"):
        pool.deleverage(*half, borrower, stranger, b"", sender=stranger)
    market.operators.set_operator(stranger, True, sender=borrower)
    pool.deleverage(*half, borrower, stranger, b"", sender=stranger)


def test_deleverage__to_nobody_or_the_pool(
    market: Market, pool: Contract, borrower: Account
) -> None:
    for receiver in (ZERO_ADDRESS, pool):
        with reverts("bad receiver"):
            pool.deleverage(0, market.usd(300), borrower, receiver, b"", sender=borrower)


def test_deleverage__no_debt(market: Market, pool: Contract, stranger: Account) -> None:
    pool.supply_collateral(market.tokens(5), stranger, sender=stranger)
    with reverts("no debt"):
        pool.deleverage(1, 1, stranger, stranger, b"", sender=stranger)


def test_deleverage__more_collateral_than_there_is(
    market: Market, pool: Contract, borrower: Account
) -> None:
    with reverts("insufficient collateral"):
        pool.deleverage(market.tokens(100) + 1, MAX, borrower, borrower, b"", sender=borrower)


def test_deleverage__nothing(pool: Contract, borrower: Account) -> None:
    with reverts("zero amount"):
        pool.deleverage(0, 0, borrower, borrower, b"", sender=borrower)


def test_deleverage__without_a_fresh_primary_price(
    market: Market, pool: Contract, borrower: Account
) -> None:
    market.evm.warp(DAY + 1)
    with reverts("stale price"):
        pool.deleverage(0, market.usd(300), borrower, borrower, b"", sender=borrower)


def test_deleverage__worth_more_than_the_slippage_allows(
    market: Market, pool: Contract, borrower: Account
) -> None:
    # 100 USDT are 10 tokens, and 3 % more
    with reverts("slippage"):
        pool.deleverage(
            market.tokens("10.3") + 1, market.usd(100), borrower, borrower, b"", sender=borrower
        )
    pool.deleverage(
        market.tokens("10.3"), market.usd(100), borrower, borrower, b"", sender=borrower
    )
    assert pool.position(borrower)[0] == market.tokens("89.7")


def test_deleverage__leaving_dust(market: Market, pool: Contract, borrower: Account) -> None:
    with market.evm.same_block():
        debt = pool.debt_of(borrower)
        with reverts("below minimum debt"):
            pool.deleverage(0, debt - market.usd(10) + 1, borrower, borrower, b"", sender=borrower)
        pool.deleverage(0, debt - market.usd(10), borrower, borrower, b"", sender=borrower)


@pytest.mark.parametrize("price", ["6.1", "6", "4"])
def test_deleverage__may_not_raise_the_ltv(
    market: Market, pool: Contract, borrower: Account, price: str
) -> None:
    """Where the LTV is over 1 / (1 + max_slippage), the slippage alone would let it rise."""
    market.set_price(price, move_uniswap=False)
    with market.evm.same_block():
        debt = pool.debt_of(borrower)
        most = market.tokens(100) * market.usd(300) // debt
        allowed = market.usd(300) * 103 // 100 * 10**36 // market.price_e36()
        assert most < allowed
        with reverts("unhealthy position"):
            pool.deleverage(
                most + 2 * 10**14, market.usd(300), borrower, borrower, b"", sender=borrower
            )
        pool.deleverage(
            most - 2 * 10**14, market.usd(300), borrower, borrower, b"", sender=borrower
        )
        collateral, _ = pool.position(borrower)
        assert pool.debt_of(borrower) * market.tokens(100) <= debt * collateral


def test_deleverage__repays_from_the_caller(
    market: Market, pool: Contract, stranger: Account
) -> None:
    borrower = market.borrow(collateral=market.tokens(100), usdt=market.usd(500))
    operator = market.evm.account("operator")
    market.operators.set_operator(operator, True, sender=borrower)
    with reverts("insufficient allowance"):
        pool.deleverage(
            market.tokens(10), market.usd(100), borrower, operator, b"", sender=operator
        )


@pytest.mark.parametrize("out", [0, "29.9"])
def test_deleverage__a_part(decimal_market: Market, out: float | str) -> None:
    market, pool = decimal_market, decimal_market.reverse
    borrower = market.borrow(collateral=market.tokens(100), usdt=market.usd(600))
    market.borrow("other", collateral=market.tokens(100), usdt=market.usd(77.777))
    operator, receiver = market.evm.account("operator"), market.evm.account("receiver")
    market.give(operator, usdt=market.usd(300))
    market.operators.set_operator(operator, True, sender=borrower)
    market.evm.warp(DAY // 2)
    state, debt_shares = pool.accrued_state(), pool.debt_shares_of(borrower)
    balances = balances_of(market, borrower, operator, receiver)
    tokens, usdt = market.tokens(out), market.usd(300)

    receipt = pool.deleverage.transact(tokens, usdt, borrower, receiver, b"", sender=operator)

    shares = usdt * state.debt_shares // state.debt_assets
    assert receipt.return_value == usdt
    expect_event(
        receipt,
        "Deleverage",
        pool,
        caller=operator,
        on_behalf=borrower,
        receiver=receiver,
        collateral_out=tokens,
        repaid=usdt,
        shares=shares,
        collateral=market.tokens(100) - tokens,
        total_debt=state.debt_assets - usdt,
        total_debt_shares=state.debt_shares - shares,
    )
    assert pool.position(borrower) == (market.tokens(100) - tokens, debt_shares - shares)
    assert totals(pool) == (
        state.supply_assets,
        state.supply_shares,
        state.debt_assets - usdt,
        state.debt_shares - shares,
    )
    assert balances.changes(operator) == (0, -usdt)
    assert balances.changes(receiver) == (tokens, 0)
    assert balances.changes(borrower) == (0, 0)
    assert balances.changes(pool) == (-tokens, usdt)


@pytest.mark.parametrize("paused", [False, True])
def test_deleverage__whole_from_the_collateral_alone(
    market: Market, pool: Contract, borrower: Account, seller: Contract, paused: bool
) -> None:
    """A position at its limit winds itself down on Uniswap, without a unit of its holder's own."""
    if paused:
        market.factory.set_paused(pool, True, sender=market.guardian)
    market.operators.set_operator(seller, True, sender=borrower)
    with market.evm.same_block():
        debt = pool.debt_of(borrower)
        out = debt * 10**36 // market.price_e36() * 101 // 100
        balances = balances_of(market, borrower, seller)
        receipt = seller.deleverage.transact(
            pool, out, MAX, borrower, market.swapper, market.sell_route, sender=borrower
        )

    assert receipt.return_value == debt
    expect_event(
        receipt,
        "CalledBack",
        seller,
        pool=pool,
        account=borrower,
        due=debt,
        collateral_out=out,
        held=out,
    )
    event = receipt.events("Deleverage", pool)[0]
    assert (event.caller, event.receiver) == (seller.address, seller.address)
    assert (event.repaid, event.collateral_out) == (debt, out)
    assert pool.position(borrower) == (market.tokens(100) - out, 0)
    assert totals(pool)[2:] == (0, 0)
    assert balances.changes(borrower) == (0, 0)
    assert balances.changes(pool) == (-out, debt)
    # at most a percent of slippage came back as tokens
    tokens, usdt = balances.changes(seller)
    assert 0 <= tokens < out // 100
    assert usdt == 0


@pytest.mark.parametrize("price", [8, "7.5", "6.4"])
def test_deleverage__step_by_step_while_the_price_falls(
    market: Market, pool: Contract, seller: Contract, price: float | str
) -> None:
    """Down to an LTV of 97 %: by tenths of the debt, each step from the collateral."""
    calm(market)
    borrower = market.borrow(collateral=market.tokens(100), usdt=market.usd(620))
    market.operators.set_operator(seller, True, sender=borrower)
    market.set_price(price)
    for _ in range(5):
        with market.evm.same_block():
            debt, (collateral, _) = pool.debt_of(borrower), pool.position(borrower)
            repaid = debt // 10
            # no more than keeps the LTV
            out = min(repaid * 10**36 // market.price_e36() * 102 // 100, collateral // 10)
            seller.deleverage(pool, out, repaid, borrower, market.swapper, market.sell_route)
            left = pool.debt_of(borrower), pool.position(borrower)[0]
        assert left[0] * collateral <= debt * left[1]
    assert pool.debt_of(borrower) < market.usd(400)


def test_deleverage__needs_no_agreement_of_prices(stub_market: Market) -> None:
    market, pool = stub_market, stub_market.reverse
    borrower = market.borrow(collateral=market.tokens(100), usdt=market.usd(600))
    price = market.oracle.liquidation_price()
    # of new risk there is no talk at these
    market.oracle.set_prices(1, 1, price)
    market.oracle.set_volatility(MAX)
    pool.deleverage(market.tokens(20), market.usd(300), borrower, borrower, b"", sender=borrower)
    assert pool.position(borrower)[0] == market.tokens(80)


def test_deleverage__callback_of_an_account_without_code(
    market: Market, pool: Contract, borrower: Account
) -> None:
    with reverts(""):
        pool.deleverage(
            market.tokens(20), market.usd(300), borrower, borrower, b"x", sender=borrower
        )


def test_deleverage__does_not_call_the_receiver(
    market: Market, pool: Contract, borrower: Account, seller: Contract
) -> None:
    """The caller is called back, and only where there is data; the receiver never."""
    pool.deleverage(market.tokens(20), market.usd(300), borrower, seller, b"", sender=borrower)
    assert market.evm.last.events("CalledBack") == []
    assert market.token.balanceOf(seller) == market.tokens(20)


def test_deleverage__whole_at_a_larger_slippage(evm: Evm) -> None:
    """The bound is the market's own."""
    market = deploy_market(evm, reverse_leg={"max_slippage": wad(10)})
    market.lend(usdt=market.usd(10_000))
    borrower = market.borrow(collateral=market.tokens(100), usdt=market.usd(500))
    market.give(borrower, usdt=market.usd(1))
    with reverts("slippage"):
        market.reverse.deleverage(market.tokens(56), MAX, borrower, borrower, b"", sender=borrower)
    market.reverse.deleverage(market.tokens(55), MAX, borrower, borrower, b"", sender=borrower)
