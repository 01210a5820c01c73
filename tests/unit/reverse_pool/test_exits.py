"""No cap, pause, price or funding stands between anybody and the way out."""

from collections.abc import Callable

import pytest

from perpool.evm import Account, Contract, reverts
from tests.market import MAX, Market
from tests.pools import DAY, Side, calm

Obstacle = Callable[[Market], None]


def pause(market: Market) -> None:
    market.factory.set_paused(market.reverse, True, sender=market.guardian)


def cap_at_zero(market: Market) -> None:
    market.factory.set_caps(market.reverse, 0, 0, 0, sender=market.owner)


def let_the_price_go_stale(market: Market) -> None:
    market.evm.warp(DAY + 1)


def let_the_funding_go_stale(market: Market) -> None:
    market.evm.warp(8 * DAY)
    market.refresh_price()


def break_the_funding_oracle(market: Market) -> None:
    market.evm.set_code(market.funding, b"\xfe")


def fill_the_accrual(market: Market) -> None:
    """A word that holds no more interest, and the USDT that it stands for."""
    state = market.reverse.state()
    Side.of(market, "reverse").set_totals(cash=2**128 - 1 - state.debt_assets)
    market.usdt.mint(market.reverse, 2**128, sender=market.owner)


def attach_a_bad_hook(market: Market) -> None:
    hook = Side.of(market, "reverse").attach_hook()
    hook.burn_gas()


def everything(market: Market) -> None:
    for obstacle in OBSTACLES.values():
        if obstacle not in (everything, fill_the_accrual):
            obstacle(market)
    let_the_price_go_stale(market)


OBSTACLES: dict[str, Obstacle] = {
    "paused": pause,
    "capped at zero": cap_at_zero,
    "price stale": let_the_price_go_stale,
    "funding stale": let_the_funding_go_stale,
    "funding oracle broken": break_the_funding_oracle,
    "accrual full": fill_the_accrual,
    "hook burns gas": attach_a_bad_hook,
    "all but full": everything,
}
NEEDS_PRICE = ("price stale", "all but full")


@pytest.fixture
def borrower(market: Market) -> Account:
    """690 USDT against 100 tokens, with 60 more in hand, under positive funding."""
    calm(market)
    market.set_funding(50)
    market.give(market.evm.account("borrower"), usdt=market.usd(60))
    return market.borrow(collateral=market.tokens(100), usdt=market.usd(690))


@pytest.fixture(params=OBSTACLES)
def obstacle(request: pytest.FixtureRequest, market: Market, borrower: Account) -> str:
    """The name of what stands in the way by now."""
    OBSTACLES[request.param](market)
    return str(request.param)


def test_exit__lender(market: Market, pool: Contract, obstacle: str) -> None:
    lender, friend = market.evm.account("lender"), market.evm.account("friend")
    pool.transfer(friend, 10**12, sender=lender)
    pool.withdraw(market.usd(1_000), lender, lender, sender=lender)
    assert pool.redeem(10**12, friend, friend, sender=friend) > 0


def test_exit__borrower_repays_and_takes_all(
    market: Market, pool: Contract, borrower: Account, obstacle: str
) -> None:
    market.usdt.mint(borrower, market.usd(10_000), sender=borrower)
    pool.repay(market.usd(100), borrower, sender=borrower)
    pool.repay(MAX, borrower, sender=borrower)
    assert pool.withdraw_collateral(MAX, borrower, borrower, sender=borrower) == market.tokens(100)
    assert pool.position(borrower) == (0, 0)


def test_exit__in_one_transaction(
    market: Market, pool: Contract, borrower: Account, obstacle: str
) -> None:
    pool.repay_and_withdraw_collateral(MAX, MAX, borrower, borrower, sender=borrower)
    assert pool.position(borrower) == (0, 0)


def test_exit__deleverage(market: Market, pool: Contract, borrower: Account, obstacle: str) -> None:
    if obstacle in NEEDS_PRICE:
        with reverts("stale price"):
            pool.deleverage(1, market.usd(100), borrower, borrower, b"", sender=borrower)
        market.refresh_price()
    pool.deleverage(market.tokens(10), market.usd(100), borrower, borrower, b"", sender=borrower)
    assert pool.position(borrower)[0] == market.tokens(90)


def test_exit__liquidation(
    market: Market, pool: Contract, borrower: Account, obstacle: str
) -> None:
    liquidator = market.give(market.evm.account("liquidator"), usdt=market.usd(1_000))
    if obstacle in NEEDS_PRICE:
        with reverts("stale price"):
            pool.liquidate(borrower, MAX, liquidator, b"", sender=liquidator)
    market.set_price("8.2", move_uniswap=False)
    repaid, seized = pool.liquidate(borrower, MAX, liquidator, b"", sender=liquidator)
    assert repaid > 0 < seized


def test_exit__adding_collateral(
    market: Market, pool: Contract, borrower: Account, obstacle: str
) -> None:
    """Only a cap on it stops it, which is no exit."""
    market.give(borrower, tokens=market.tokens(5))
    if obstacle in ("capped at zero", "all but full"):
        with reverts("collateral cap"):
            pool.supply_collateral(market.tokens(5), borrower, sender=borrower)
        return
    pool.supply_collateral(market.tokens(5), borrower, sender=borrower)
    assert pool.position(borrower)[0] == market.tokens(105)


def test_exit__new_risk_waits_meanwhile(market: Market, pool: Contract, borrower: Account) -> None:
    """What a pause stops, in full."""
    pause(market)
    lender = market.evm.account("lender")
    market.give(lender, usdt=market.usd(1))
    market.give(borrower, tokens=market.tokens(1))
    flash_borrower = market.evm.deploy("FlashBorrower")
    for refused in (
        lambda: pool.deposit(market.usd(1), lender, sender=lender),
        lambda: pool.mint(10**6, lender, sender=lender),
        lambda: pool.borrow(1, borrower, borrower, sender=borrower),
        lambda: pool.supply_collateral_and_borrow(
            market.tokens(1), 1, borrower, borrower, sender=borrower
        ),
        lambda: pool.withdraw_collateral(1, borrower, borrower, sender=borrower),
        lambda: pool.flashLoan(flash_borrower, market.usdt, 1, b""),
    ):
        with reverts("paused"):
            refused()
    pool.supply_collateral(market.tokens(1), borrower, sender=borrower)
