"""`positions` and `position`: equal to the pools' own numbers, and to what they then allow."""

from __future__ import annotations

import pytest

from perpool.evm import Account, Contract, reverts
from tests.market import MAX, WAD, Market, wad
from tests.unit.lens.conftest import PRICE_SCALE, Scene

ROUNDS_UP = 1


def value_down(amount: int, price: int) -> int:
    return amount * price // PRICE_SCALE


def value_up(amount: int, price: int) -> int:
    return -(-amount * price // PRICE_SCALE)


def set_price_e36(market: Market, oracle: Contract, price: int) -> None:
    """The same price for everything, to the unit."""
    oracle.set_prices(price, price, price, 0)


# --- many


def test_positions__in_order_and_as_one_by_one(scene: Scene) -> None:
    accounts = [scene.stranger, scene.borrower, scene.usdt_lender, scene.borrower]
    views = scene.lens.positions(scene.reverse, accounts)
    assert [view.account for view in views] == [account.address for account in accounts]
    assert views == [scene.position(scene.reverse, account) for account in accounts]


def test_positions__none_and_two_hundred(scene: Scene) -> None:
    for pool in (scene.reverse, scene.forward):
        assert scene.lens.positions(pool, []) == []
        accounts = [f"0x{number:040x}" for number in range(1, 200)] + [scene.shorter.address]
        views = scene.lens.positions(pool, accounts)
        assert len(views) == 200
        assert (views[-1].debt > 0) == (pool == scene.forward)


# --- lenders


def test_position__of_a_lender(scene: Scene) -> None:
    scene.evm.warp(30 * 86_400)
    for pool, lender in (
        (scene.reverse, scene.usdt_lender),
        (scene.forward, scene.token_lender),
    ):
        view = scene.position(pool, lender)
        assert view.shares == pool.balanceOf(lender) > 0
        assert view.shares_worth == pool.previewRedeem(view.shares)
        assert (view.debt, view.collateral, view.ltv) == (0, 0, 0)
        assert view.health == MAX
        assert not view.is_liquidatable


def test_position__of_nobody(scene: Scene) -> None:
    for pool in (scene.reverse, scene.forward):
        view = scene.position(pool, scene.stranger)
        values = view.as_dict()
        assert values.pop("account") == scene.stranger.address
        assert values.pop("health") == MAX
        assert not any(values.values())


# --- borrowers


def test_position__of_a_borrower(scene: Scene) -> None:
    market = scene.market
    scene.evm.warp(3_600)
    view = scene.position(scene.reverse, scene.borrower)
    collateral, debt_shares = scene.reverse.position(scene.borrower)
    price = market.price_e36()
    assert (view.collateral, view.debt_shares) == (collateral, debt_shares)
    assert view.debt == view.debt_value == scene.reverse.debt_of(scene.borrower) > market.usd(500)
    assert view.collateral_value == value_down(collateral, price) == market.usd(1_000)
    assert view.ltv == -(-view.debt * WAD // view.collateral_value)
    limit = view.collateral_value * wad(80) // WAD
    assert view.health == limit * WAD // view.debt
    assert not view.is_liquidatable
    assert (view.liquidation_repay_value, view.liquidation_bonus) == (0, 0)
    assert (view.sold, view.proceeds, view.opened_block, view.unrealised_profit) == (0, 0, 0, 0)


def test_position__free_of_a_borrower_is_what_the_pool_gives(scene: Scene) -> None:
    scene.script_prices(9, 11, 10)
    market, borrower = scene.market, scene.borrower
    with scene.evm.same_block():
        view = scene.position(scene.reverse, borrower)
        # rounding the new debt up costs a unit
        with reverts("unhealthy position"):
            scene.reverse.borrow(view.free_debt + 1, borrower, borrower, sender=borrower)
        with scene.evm.anchor():
            scene.reverse.borrow(view.free_debt - 1, borrower, borrower, sender=borrower)
        with reverts("unhealthy position"):
            scene.reverse.withdraw_collateral(
                view.free_collateral + 1 + slack(market), borrower, borrower, sender=borrower
            )
        scene.reverse.withdraw_collateral(view.free_collateral, borrower, borrower, sender=borrower)


def slack(market: Market) -> int:
    """Tokens that less than a unit of USDT buys at any price of these tests."""
    return market.tokens(1) // market.usd(1)


def test_position__liquidation_price_of_a_borrower_is_exact(scene: Scene) -> None:
    market, borrower = scene.market, scene.borrower
    oracle = scene.script_prices(10, 10)
    with scene.evm.same_block():
        price = scene.position(scene.reverse, borrower).liquidation_price_e36
        assert 6 * 10**36 < price * market.tokens(1) // market.usd(1) < 7 * 10**36
        set_price_e36(market, oracle, price)
        view = scene.position(scene.reverse, borrower)
        assert not view.is_liquidatable
        assert view.health >= WAD
        with reverts("healthy position"):
            scene.reverse.liquidate(borrower, MAX, borrower, b"", sender=borrower)
        set_price_e36(market, oracle, price - 1)
        view = scene.position(scene.reverse, borrower)
        assert view.is_liquidatable
        assert view.health < WAD


def test_position__liquidation_of_a_borrower_is_as_told(scene: Scene) -> None:
    market, borrower = scene.market, scene.borrower
    liquidator = market.give(scene.evm.account("liquidator"), usdt=market.usd(1_000))
    scene.script_prices(6, 6)
    with scene.evm.same_block():
        view = scene.position(scene.reverse, borrower)
        repaid, seized = scene.reverse.liquidate(borrower, MAX, liquidator, b"", sender=liquidator)
        assert view.is_liquidatable
        assert repaid == view.liquidation_repay_value
        worth = value_down(seized, market.price_e36())
        assert worth == pytest.approx(repaid * (WAD + view.liquidation_bonus) // WAD, abs=1)
        after = scene.position(scene.reverse, borrower)
        assert not after.is_liquidatable
        # back to max_ltv, or no more than rounding below
        assert after.ltv == pytest.approx(wad(70), rel=1e-6)


def test_position__debt_without_collateral(scene: Scene) -> None:
    """Cannot come about in these pools; a reader must not break on it."""
    state = scene.position(scene.reverse, scene.borrower)
    view, allowed = scene.lens.position_after(scene.reverse, scene.borrower, -(2**255), 0)
    assert (view.collateral, view.debt) == (0, state.debt)
    assert (view.ltv, view.health, view.is_liquidatable) == (MAX, 0, True)
    assert view.liquidation_price_e36 == MAX
    assert not allowed


# --- short sellers


def test_position__of_a_shorter(scene: Scene) -> None:
    market = scene.market
    scene.evm.warp(30 * 86_400)
    market.set_price(9)
    view = scene.position(scene.forward, scene.shorter)
    short = scene.forward.position(scene.shorter)
    price = market.price_e36()
    assert view.collateral == view.collateral_value == short.collateral
    assert view.debt_shares == short.debt_shares
    assert view.debt == scene.forward.debt_of(scene.shorter) > market.tokens(20)
    assert view.debt_value == value_up(view.debt, price)
    assert view.ltv == -(-view.debt_value * WAD // view.collateral_value)
    assert view.health == short.collateral * wad(80) // WAD * WAD // view.debt_value
    assert view.opened_block == short.opened_block
    assert (view.sold, view.proceeds) == (short.sold, short.proceeds)
    assert view.sold == market.tokens(20)
    assert view.entry_price_e36 == short.proceeds * PRICE_SCALE // short.sold
    assert view.entry_price_e36 < price * 10 // 9 + ROUNDS_UP  # slippage and Uniswap's fee
    assert view.interest == view.debt - short.sold > 0
    assert view.unrealised_profit == short.proceeds - view.debt_value
    assert view.unrealised_profit > market.usd(19)


def test_position__unrealised_loss_of_a_shorter(scene: Scene) -> None:
    scene.market.set_price(11)
    view = scene.position(scene.forward, scene.shorter)
    assert -scene.market.usd(21) < view.unrealised_profit < -scene.market.usd(20)


def test_position__unrealised_profit_is_what_closing_realises(scene: Scene) -> None:
    """But for Uniswap's fee and the depth of its pool."""
    market, shorter = scene.market, scene.shorter
    market.set_price(9)
    view = scene.position(scene.forward, shorter)
    before = market.usdt.balanceOf(shorter)
    scene.forward.close_short(
        MAX, MAX, MAX, shorter, shorter, market.swapper, market.buy_route, sender=shorter
    )
    realised = market.usdt.balanceOf(shorter) - before - market.usd(100)
    assert realised == pytest.approx(view.unrealised_profit, rel=0.01)
    closed = scene.position(scene.forward, shorter)
    assert (closed.sold, closed.proceeds, closed.interest) == (0, 0, 0)
    assert (closed.entry_price_e36, closed.unrealised_profit) == (0, 0)


def test_position__liquidation_price_of_a_shorter_is_exact(scene: Scene) -> None:
    market, shorter = scene.market, scene.shorter
    oracle = scene.script_prices(10, 10)
    scene.evm.mine()
    with scene.evm.same_block():
        price = scene.position(scene.forward, shorter).liquidation_price_e36
        assert 11 * 10**36 < price * market.tokens(1) // market.usd(1) < 13 * 10**36
        set_price_e36(market, oracle, price)
        view = scene.position(scene.forward, shorter)
        assert not view.is_liquidatable
        with reverts("healthy position"):
            scene.forward.liquidate(shorter, MAX, shorter, b"", sender=shorter)
        set_price_e36(market, oracle, price + 1)
        assert scene.position(scene.forward, shorter).is_liquidatable


def test_position__liquidation_of_a_shorter_is_as_told(scene: Scene) -> None:
    market, shorter = scene.market, scene.shorter
    liquidator = market.give(scene.evm.account("liquidator"), tokens=market.tokens(100))
    scene.script_prices(12.5, 12.5)
    scene.evm.mine()
    with scene.evm.same_block():
        view = scene.position(scene.forward, shorter)
        repaid, seized = scene.forward.liquidate(shorter, MAX, liquidator, b"", sender=liquidator)
        price = market.price_e36()
        assert view.is_liquidatable
        assert value_up(repaid, price) == pytest.approx(view.liquidation_repay_value, abs=20)
        assert seized == pytest.approx(
            view.liquidation_repay_value * (WAD + view.liquidation_bonus) // WAD, abs=20
        )
        assert not scene.position(scene.forward, shorter).is_liquidatable


def test_position__free_of_a_shorter_is_what_the_pool_gives(scene: Scene) -> None:
    scene.script_prices(9, 10.2, 10)
    shorter = scene.shorter
    with scene.evm.same_block():
        view = scene.position(scene.forward, shorter)
        free = view.free_collateral
        assert free > 0
        with reverts("unhealthy position"):
            scene.forward.remove_margin(free + 2, shorter, shorter, sender=shorter)
        scene.forward.remove_margin(free, shorter, shorter, sender=shorter)
        after = scene.position(scene.forward, shorter)
        assert (after.free_collateral, after.free_debt // slack(scene.market)) == (0, 0)


def test_position__after_the_collateral_is_all_that_is_left(scene: Scene) -> None:
    market, borrower = scene.market, scene.borrower
    market.give(borrower, usdt=market.usd(600))
    scene.reverse.repay(MAX, borrower, sender=borrower)
    view = scene.position(scene.reverse, borrower)
    assert view.free_collateral == view.collateral == market.tokens(100)
    assert view.free_debt == view.collateral_value * wad(60) // WAD
    assert (view.ltv, view.liquidation_price_e36, view.health) == (0, 0, MAX)


# --- without prices


@pytest.fixture(params=("reverse", "forward"))
def debtor(request: pytest.FixtureRequest, scene: Scene) -> tuple[Contract, Account]:
    if request.param == "reverse":
        return scene.reverse, scene.borrower
    return scene.forward, scene.shorter


def test_position__without_any_price(scene: Scene, debtor: tuple[Contract, Account]) -> None:
    pool, account = debtor
    scene.lose_price()
    view = scene.position(pool, account)
    assert view.debt == pool.debt_of(account) > 0
    assert view.collateral > 0
    assert view.liquidation_price_e36 > 0
    assert (view.ltv, view.health, view.is_liquidatable) == (0, 0, False)
    assert (view.free_debt, view.free_collateral, view.unrealised_profit) == (0, 0, 0)


def test_position__without_bounds(scene: Scene, debtor: tuple[Contract, Account]) -> None:
    pool, account = debtor
    scene.script_prices(10, 10).break_prices(True, False)
    view = scene.position(pool, account)
    assert view.ltv > 0
    assert view.health > WAD
    assert (view.free_debt, view.free_collateral) == (0, 0)


def test_position__without_bounds_and_debt_all_collateral_is_free(scene: Scene) -> None:
    market = scene.market
    market.give(scene.stranger, tokens=market.tokens(3), usdt=market.usd(7))
    scene.reverse.supply_collateral(market.tokens(3), scene.stranger, sender=scene.stranger)
    scene.forward.add_margin(market.usd(7), scene.stranger, sender=scene.stranger)
    scene.lose_price()
    view = scene.position(scene.reverse, scene.stranger)
    assert (view.free_debt, view.free_collateral) == (0, market.tokens(3))
    view = scene.position(scene.forward, scene.stranger)
    assert (view.free_debt, view.free_collateral) == (0, market.usd(7))
