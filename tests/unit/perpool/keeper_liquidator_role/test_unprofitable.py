"""What does not pay, and is left alone for a while."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from perpool.keeper.liquidator.index import Leg
from perpool.keeper.liquidator.profit import SIZES
from tests.unit.perpool.keeper_liquidator_role.scene import (
    GWEI,
    Scene,
    borrow,
    said,
    short,
)


def test_tick__gas_is_too_dear(scene: Scene, logs: list[Any]) -> None:
    borrow(scene, tokens=50)
    scene.market.set_price("8.4")
    outcome = scene.tick(scene.role())
    assert outcome.chosen == ()
    [reason] = outcome.rested.values()
    assert reason.startswith("brings -")
    assert scene.outcomes("reverse", "unprofitable") == 1
    assert [each["reason"] for each in logs if each["event"] == "left alone"] == [reason]
    # and is not any more
    scene.nodes.base_fee = GWEI // 100
    scene.evm.mine(5)
    assert len(scene.tick(scene.role()).chosen) == 1


def test_tick__less_than_the_policy_asks_for(scene: Scene) -> None:
    borrow(scene)
    scene.market.set_price("8.4")
    with scene.evm.anchor():
        [choice] = scene.tick(scene.role()).chosen
    profit = choice.appraisal.profit
    more = scene.role(min_profit=profit + 10)
    assert scene.tick(more).chosen == ()


def test_tick__a_failure_is_tried_again_later_and_later(scene: Scene, logs: list[Any]) -> None:
    """Uniswap has fallen far below the oracle: nobody could pay."""
    borrow(scene)
    scene.market.set_price("8.4")
    scene.market.pool.swap_to(Decimal(7))
    role = scene.role()
    tried = [bool(scene.tick(role).rested) for _ in range(16)]
    assert [number for number, each in enumerate(tried) if each] == [0, 2, 6, 14]
    [line] = [each for each in logs if each["event"] == "left alone"]
    assert line["reason"] == "insufficient allowance"
    # and at once when the price has moved
    scene.market.set_price("8.3", move_uniswap=False)
    assert scene.tick(role).rested
    assert not scene.tick(role).rested


def test_tick__a_changed_position_is_tried_at_once(scene: Scene) -> None:
    borrower = borrow(scene)
    scene.market.set_price("8.4")
    scene.market.pool.swap_to(Decimal(7))
    scene.market.give(borrower, tokens=1)
    role = scene.role()
    tried = [bool(scene.tick(role).rested) for _ in range(8)]
    assert tried[-2:] == [True, False]
    scene.evm.mine()
    scene.market.reverse.supply_collateral(1, borrower, sender=borrower)
    assert scene.tick(role).rested
    # and rests longer still, or a wei a block would have all the time there is
    tried = [bool(scene.tick(role).rested) for _ in range(16)]
    assert [number for number, each in enumerate(tried) if each] == [15]


def test_tick__who_was_liquidated_begins_anew(scene: Scene) -> None:
    borrow(scene)
    scene.market.set_price("8.4")
    scene.market.pool.swap_to(Decimal(7))
    role = scene.role()
    assert [bool(scene.tick(role).rested) for _ in range(2)] == [True, False]
    scene.market.pool.swap_to(Decimal("8.4"))
    assert scene.tick(role).chosen
    assert scene.outcomes("reverse", "landed") == 1
    assert role._rests == {}


def test_tick__who_was_healthy_in_between_is_tried_at_once(scene: Scene) -> None:
    borrow(scene)
    scene.market.set_price("8.4")
    scene.market.pool.swap_to(Decimal(7))
    role = scene.role()
    for _ in range(7):
        scene.tick(role)
    scene.market.set_price(10, move_uniswap=False)
    assert scene.tick(role).found == 0
    scene.market.set_price("8.4", move_uniswap=False)
    assert scene.tick(role).rested


def test_tick__the_price_moves_before_it_is_mined(scene: Scene) -> None:
    """The transaction demands what makes it worth its gas, so it does nothing."""
    borrower = borrow(scene)
    scene.market.set_price("8.4")
    role = scene.role()
    assert scene.lane is not None
    # it would be paid for, but for little more than that
    scene.lane.spoil = lambda: scene.market.pool.swap_to(Decimal("7.94"))
    shares = scene.market.reverse.debt_shares_of(borrower)
    assert len(scene.tick(role).chosen) == 1
    assert scene.market.reverse.debt_shares_of(borrower) == shares
    assert scene.outcomes("reverse", "failed") == 1
    assert scene.received() == (0, 0)
    # who failed rests
    scene.lane.spoil = lambda: None
    assert scene.tick(role).chosen == ()


def test_tick__bad_debt_at_a_loss_only_where_configured(scene: Scene) -> None:
    borrower = borrow(scene, tokens=2)
    scene.market.set_price(6)
    assert scene.tick(scene.role()).chosen == ()
    assert scene.tick(scene.role(bad_debt_loss=Decimal(1))).chosen == ()
    [choice] = scene.tick(scene.role(bad_debt_loss=Decimal(100))).chosen
    assert -100 < choice.appraisal.profit < -1
    assert scene.market.reverse.debt_shares_of(borrower) == 0


def test_tick__without_a_price(scene: Scene, logs: list[Any]) -> None:
    borrow(scene)
    scene.evm.warp(86_400 + 1)
    role = scene.role()
    for _ in range(3):
        assert scene.tick(role).found == 0
    # once, though it stays so
    [line] = said(logs, "no price")
    assert (line["market"], line["reason"]) == ("TKN", "stale price")
    scene.market.refresh_price()
    scene.tick(role)
    [line] = said(logs, "price is back")
    assert line["market"] == "TKN"
    scene.evm.warp(86_400 + 1)
    scene.tick(role)
    assert len(said(logs, "no price")) == 2


def test_tick__the_most_at_stake_first(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, logs: list[Any]
) -> None:
    """No more are tried in one tick than it has time for, and here none pays."""
    monkeypatch.setattr("perpool.keeper.liquidator.role.CANDIDATES", 2)
    for number in range(5):
        borrow(scene, f"borrower {number}", tokens=1_000 + 300 * number, ltv=69 - number / 10)
    scene.market.set_price("8.4")
    scene.market.pool.swap_to(Decimal(7))
    role = scene.role()
    named = {scene.evm.account(f"borrower {number}").address: number for number in range(5)}
    order = []
    for _ in range(2):
        outcome = scene.tick(role)
        assert outcome.found == 5
        order.append({named[subject.split("/")[1]] for subject in outcome.rested})
    assert order == [{4, 3}, {2, 1}]
    assert [each["accounts"] for each in said(logs, "not tried yet")] == [3, 1]


def test_tick__gas_of_the_most_profitable_first(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, logs: list[Any]
) -> None:
    """An estimate is a request to every node: a crash must not take as many as accounts."""
    monkeypatch.setattr("perpool.keeper.liquidator.role.ESTIMATES", 2)
    accounts = [
        borrow(scene, f"borrower {number}", tokens=tokens, ltv=69 - number / 10).address
        for number, tokens in enumerate((300, 500, 200, 600, 400))
    ]
    scene.market.set_price("8.4")
    role = scene.role()
    order = []
    for _ in range(3):
        scene.nodes.estimates = 0
        chosen = scene.tick(role).chosen
        order.append({accounts.index(each.candidate.position.account) for each in chosen})
        assert scene.nodes.estimates == len(chosen)
    assert order == [{3, 1}, {4, 0}, {2}]
    assert [each["accounts"] for each in said(logs, "put off")] == [3, 1]


def test_tick__gas_of_many_that_do_not_pay(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose gas is too dear makes way for the others."""
    monkeypatch.setattr("perpool.keeper.liquidator.role.ESTIMATES", 2)
    for number in range(5):
        borrow(scene, f"borrower {number}", tokens=50 + number)
    scene.market.set_price("8.4")
    role = scene.role()
    rested: set[str] = set()
    for _ in range(3):
        scene.nodes.estimates = 0
        rested |= set(scene.tick(role).rested)
        assert scene.nodes.estimates <= 2 * SIZES
    assert len(rested) == 5


def test_tick__no_gas_is_estimated_of_what_brings_too_little(scene: Scene) -> None:
    borrow(scene)
    scene.market.set_price("8.4")
    scene.market.pool.swap_to(Decimal("7.94"))
    [reason] = scene.tick(scene.role(min_profit=Decimal(100))).rested.values()
    assert reason.endswith("USDT of 100 before gas")
    assert scene.nodes.estimates == 0


@pytest.mark.parametrize("larger", Leg)
def test_tick__the_most_at_stake_of_both_pools_first(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, larger: Leg
) -> None:
    """A loan from when the price was 10 and a short from when it was 5, at a price of 8.2."""
    monkeypatch.setattr("perpool.keeper.liquidator.role.CANDIDATES", 1)
    borrow(scene, tokens=3_000 if larger is Leg.REVERSE else 300)
    scene.market.set_price(5)
    short(scene, margin=4_700)
    scene.market.set_price("8.2")
    outcome = scene.tick(scene.role())
    assert outcome.found == 2
    [choice] = outcome.chosen
    assert choice.candidate.pool.leg is larger
