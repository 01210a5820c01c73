"""`position_after`: what an action would make of a position is what it then makes of it."""

from __future__ import annotations

import pytest

from perpool.evm import Reverted
from tests.market import MAX
from tests.unit.lens.conftest import Scene


def test_position_after__supply_and_borrow(scene: Scene) -> None:
    market, borrower = scene.market, scene.borrower
    market.give(borrower, tokens=market.tokens(10))
    scene.evm.warp(3_600)
    with scene.evm.same_block():
        expected, allowed = scene.lens.position_after(
            scene.reverse, borrower, market.tokens(10), market.usd(100)
        )
        assert allowed
        scene.reverse.supply_collateral_and_borrow(
            market.tokens(10), market.usd(100), borrower, borrower, sender=borrower
        )
        assert scene.position(scene.reverse, borrower) == expected


def test_position_after__repay_and_withdraw(scene: Scene) -> None:
    market, borrower = scene.market, scene.borrower
    market.give(borrower, usdt=market.usd(100))
    scene.evm.warp(3_600)
    with scene.evm.same_block():
        expected, allowed = scene.lens.position_after(
            scene.reverse, borrower, -market.tokens(5), -market.usd(77)
        )
        assert allowed
        scene.reverse.repay_and_withdraw_collateral(
            market.usd(77), market.tokens(5), borrower, borrower, sender=borrower
        )
        assert scene.position(scene.reverse, borrower) == expected


def test_position_after__repay_all_and_more(scene: Scene) -> None:
    market, borrower = scene.market, scene.borrower
    market.give(borrower, usdt=market.usd(600))
    scene.evm.warp(3_600)
    with scene.evm.same_block():
        expected, allowed = scene.lens.position_after(scene.reverse, borrower, 0, -(2**255))
        assert allowed
        assert (expected.debt, expected.debt_shares, expected.health) == (0, 0, MAX)
        scene.reverse.repay(MAX, borrower, sender=borrower)
        assert scene.position(scene.reverse, borrower) == expected


def test_position_after__first_debt_of_a_pool(scene: Scene) -> None:
    market, borrower = scene.market, scene.borrower
    market.give(borrower, usdt=market.usd(600))
    scene.reverse.repay(MAX, borrower, sender=borrower)
    with scene.evm.same_block():
        expected, allowed = scene.lens.position_after(scene.reverse, borrower, 0, market.usd(100))
        assert allowed
        scene.reverse.borrow(market.usd(100), borrower, borrower, sender=borrower)
        actual = scene.position(scene.reverse, borrower).as_dict()
    # shares of an empty pool's first debt are the pool's own affair
    expected_values = expected.as_dict()
    del actual["debt_shares"], expected_values["debt_shares"]
    assert actual == expected_values


def test_position_after__open_short(scene: Scene) -> None:
    market, shorter = scene.market, scene.shorter
    market.give(shorter, usdt=market.usd(50))
    scene.evm.warp(3_600)
    amount = market.tokens(8)
    with scene.evm.same_block():
        with scene.evm.anchor():
            proceeds = open_short(scene, market.usd(50), amount)
        expected, allowed = scene.lens.position_after(
            scene.forward, shorter, market.usd(50) + proceeds, amount
        )
        assert allowed
        assert open_short(scene, market.usd(50), amount) == proceeds
        actual = scene.position(scene.forward, shorter)
        for name in ("collateral", "debt", "debt_shares", "ltv", "health", "liquidation_price_e36"):
            assert actual[name] == expected[name], name


def open_short(scene: Scene, margin: int, amount: int) -> int:
    market, shorter = scene.market, scene.shorter
    return int(
        scene.forward.open_short(
            margin, amount, 0, MAX, shorter, market.swapper, market.sell_route, sender=shorter
        )
    )


@pytest.mark.parametrize("bounds", [(10, 10), (9, 11)])
def test_position_after__limit_is_the_pool_s(scene: Scene, bounds: tuple[float, float]) -> None:
    """Exactly the debt that is told to be allowed can be borrowed."""
    scene.script_prices(*bounds, 10)
    borrower = scene.borrower
    with scene.evm.same_block():
        free = scene.position(scene.reverse, borrower).free_debt
        outcomes = []
        for extra in (-1, 0, 1):
            _, allowed = scene.lens.position_after(scene.reverse, borrower, 0, free + extra)
            with scene.evm.anchor():
                assert allowed == attempt(scene, free + extra), extra
            outcomes.append(allowed)
        assert outcomes[0]
        assert not outcomes[-1]


def attempt(scene: Scene, amount: int) -> bool:
    """Whether the pool lends the borrower so much."""
    try:
        scene.reverse.borrow(amount, scene.borrower, scene.borrower, sender=scene.borrower)
    except Reverted as error:
        if error.reason != "unhealthy position":
            raise
        return False
    return True


def test_position_after__short_limit_takes_the_higher_price(scene: Scene) -> None:
    shorter = scene.shorter
    for upper in (10, 10.2):
        scene.script_prices(9, upper, 10)
        free = scene.position(scene.forward, shorter).free_collateral
        for taken, expected in ((free, True), (free + 2, False)):
            _, allowed = scene.lens.position_after(scene.forward, shorter, -taken, 0)
            assert allowed == expected


def test_position_after__without_bounds(scene: Scene) -> None:
    scene.lose_price()
    for pool, account in ((scene.reverse, scene.borrower), (scene.forward, scene.shorter)):
        view, allowed = scene.lens.position_after(pool, account, 0, 0)
        before = scene.position(pool, account)
        assert (view.debt, view.collateral) == (before.debt, before.collateral)
        assert (view.ltv, view.health) == (0, 0)
        assert (view.sold, view.proceeds, view.opened_block) == (0, 0, 0)
        assert not allowed
        _, allowed = scene.lens.position_after(pool, account, 0, -(2**255))
        assert allowed
