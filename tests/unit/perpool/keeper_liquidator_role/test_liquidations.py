"""Who is liquidated, by which way, and how many at once."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

from perpool.evm import Evm
from perpool.keeper.liquidator.profit import Way
from perpool.keeper.liquidator.role import Outcome
from tests.market import Market
from tests.unit.perpool.keeper_liquidator_role.scene import (
    EvmNodes,
    Scene,
    borrow,
    open_market,
    scene_of,
    short,
)


def test_tick__nobody(scene: Scene) -> None:
    borrow(scene)
    short(scene)
    assert scene.tick(scene.role()) == Outcome(behind=0)
    assert scene.metrics.accounts.labels(scene.market.reverse.address)._value.get() == 1


def test_tick__a_borrower_by_delivery(scene: Scene) -> None:
    borrower = borrow(scene)
    scene.market.set_price("8.4")
    debt = scene.market.reverse.debt_of(borrower)
    outcome = scene.tick(scene.role())
    [choice] = outcome.chosen
    assert outcome.found == 1
    assert choice.appraisal.proposal.way is Way.DELIVERY
    assert scene.market.reverse.debt_of(borrower) < debt
    usdt, tokens = scene.received()
    assert tokens == 0
    gained = Decimal(usdt) / 10**6
    assert gained == pytest.approx(
        choice.appraisal.profit + choice.appraisal.gas_cost, rel=Decimal("0.001")
    )
    assert scene.outcomes("reverse", "landed") == 1
    # and he is healthy
    assert scene.tick(scene.role()).found == 0


def test_tick__a_shorter_by_delivery(scene: Scene) -> None:
    """The bonus is worth more than the tip."""
    shorter = short(scene)
    scene.market.set_price("16.4")
    debt = scene.market.forward.debt_of(shorter)
    [choice] = scene.tick(scene.role()).chosen
    assert choice.appraisal.proposal.way is Way.DELIVERY
    assert scene.market.forward.debt_of(shorter) < debt
    usdt, tokens = scene.received()
    assert (usdt, tokens > 0) == (0, True)


def test_tick__a_shorter_by_purchase(scene: Scene) -> None:
    """Where Uniswap is so far above the oracle that no more is left of the bonus than the tip.

    That takes less gas.
    """
    short(scene, tokens=300)
    scene.market.set_price("16.4")
    scene.market.pool.swap_to(Decimal("17.205"))
    outcome = scene.tick(scene.role())
    [choice] = outcome.chosen
    assert choice.appraisal.proposal.way is Way.PURCHASE
    usdt, tokens = scene.received()
    assert (usdt > 0, tokens) == (True, 0)
    assert scene.outcomes("forward", "landed") == 1


def test_tick__several_in_one_transaction(scene: Scene) -> None:
    """The most unhealthy first."""
    for number, ltv in enumerate((66, 69, 67)):
        borrow(scene, f"borrower {number}", ltv=ltv)
    scene.market.set_price("8.2")
    outcome = scene.tick(scene.role())
    assert [each.candidate.position.account for each in outcome.chosen] == [
        scene.evm.account(f"borrower {number}").address for number in (1, 2, 0)
    ]
    assert scene.lane is not None
    [(parcels, expires_at)] = scene.lane.offered
    assert len(parcels) == 3
    assert expires_at is not None
    gained = sum(each.appraisal.profit + each.appraisal.gas_cost for each in outcome.chosen)
    assert scene.received() == (pytest.approx(int(gained * 10**6), rel=1e-4), 0)
    assert scene.outcomes("reverse", "landed") == 3


def test_tick__no_more_than_pay_one_after_the_other(scene: Scene) -> None:
    """Alone each would pay; but every sale lowers the price for the next."""
    for number in range(3):
        borrow(scene, f"borrower {number}", tokens=60_000)
    scene.market.set_price("8.4")
    outcome = scene.tick(scene.role())
    assert outcome.found == 3
    assert 1 <= len(outcome.chosen) < 3
    assert outcome.rested == {}
    assert scene.outcomes("reverse", "landed") == len(outcome.chosen)


def test_tick__at_most_so_many_at_once(scene: Scene) -> None:
    for number in range(9):
        borrow(scene, f"borrower {number}", tokens=500)
    scene.market.set_price("8.2")
    role = scene.role()
    first = scene.tick(role)
    # two balances around each call, in 24 calls
    assert (first.found, len(first.chosen)) == (9, 7)
    second = scene.tick(role)
    assert (second.found, len(second.chosen)) == (2, 2)


def test_tick__a_crash_of_twelve_markets(
    evm: Evm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logs: list[Any]
) -> None:
    """Some in each transaction until none is left, and what is put off is said."""
    nodes = EvmNodes(evm, monkeypatch)
    start = evm.block_number
    markets: dict[str, Market] = {}
    for number in range(12):
        usdt = next((each.usdt for each in markets.values()), None)
        markets[f"T{number:02}"] = market = open_market(evm, usdt)
        market.borrow(collateral=market.tokens(1_000), usdt=market.usd(6_900))
    scene = scene_of(evm, nodes, tmp_path, markets, start)
    for market in markets.values():
        market.set_price("8.4")
    role = scene.role()
    chosen = []
    while (outcome := scene.tick(role)).found:
        assert outcome.found == 12 - len(chosen)
        assert outcome.chosen
        chosen += [each.candidate.pool.market for each in outcome.chosen]
    assert sorted(chosen) == list(markets)
    assert scene.outcomes("reverse", "landed") == 12
    [first, *_] = [each for each in logs if each["event"] == "put off"]
    assert first["accounts"] == 12 - 5


def test_tick__the_first_where_a_row_cannot_be_tried(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node has less gas for a call than the row takes."""
    for number in range(2):
        borrow(scene, f"borrower {number}")
    scene.market.set_price("8.4")
    role = scene.role()
    role.trials = MagicMock(wraps=role.trials)
    role.trials.in_a_row = lambda attempts, head: ["out of gas"] * len(attempts)
    outcome = scene.tick(role)
    assert (outcome.found, len(outcome.chosen)) == (2, 1)
    assert scene.outcomes("reverse", "landed") == 1


def test_tick__a_part_where_the_market_is_too_shallow_for_all(scene: Scene) -> None:
    borrower = borrow(scene, tokens=150_000)
    scene.market.set_price("8.4")
    [choice] = scene.tick(scene.role()).chosen
    assert choice.appraisal.proposal.max_repay < 2**255
    assert choice.appraisal.profit > 1
    assert scene.market.reverse.debt_of(borrower) > 0
    assert scene.outcomes("reverse", "landed") == 1


def test_tick__sends_no_more_while_one_waits(scene: Scene) -> None:
    borrow(scene)
    scene.market.set_price("8.4")
    role = scene.role()
    assert scene.lane is not None
    scene.lane.waits = True
    assert len(scene.tick(role).chosen) == 1
    assert scene.tick(role) == Outcome(behind=0)
    scene.lane.waits = False
    assert scene.tick(role).found == 0
    assert len(scene.lane.offered) == 1


def test_tick__dry_run(scene: Scene, logs: list[Any]) -> None:
    borrower = borrow(scene)
    scene.market.set_price("8.4")
    shares = scene.market.reverse.debt_shares_of(borrower)
    role = scene.role(dry=True)
    assert len(scene.tick(role).chosen) == 1
    assert scene.market.reverse.debt_shares_of(borrower) == shares
    [said] = [each for each in logs if each["event"] == "would liquidate"]
    assert (said["leg"], said["account"], said["way"]) == (
        "reverse",
        borrower.address,
        "delivery",
    )
    # and does not say it again in the next block
    assert scene.tick(role).chosen == ()
