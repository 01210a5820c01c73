"""A crowd of small accounts does not keep a large one waiting."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from perpool.evm import Evm
from perpool.keeper.liquidator.profit import LEAST_GAS
from tests.unit.perpool.keeper_liquidator_role.scene import (
    GWEI,
    EvmNodes,
    Scene,
    borrow,
    donate,
    open_market,
    said,
    scene_of,
    short,
)


@pytest.mark.parametrize("base_fee", [20 * GWEI, GWEI // 100], ids=["no_pay", "pay"])
def test_tick__a_large_one_among_hundreds_of_small_ones(
    scene: Scene, logs: list[Any], base_fee: int
) -> None:
    """Which owe as little as may be, and are all worse; whether they pay or not."""
    for number in range(300):
        borrow(scene, f"small {number}", tokens=1.5, ltv=69.9)
    large = borrow(scene, ltv=66)
    scene.market.set_price("8.2")
    scene.nodes.base_fee = base_fee
    role = scene.role(min_profit=Decimal("0.1"))
    outcome = scene.tick(role)
    assert outcome.found == 301
    first, *others = [each.candidate.position.account for each in outcome.chosen]
    assert first == large.address
    if base_fee == 20 * GWEI:
        assert (others, outcome.rested) == ([], {})
        [line] = said(logs, "left alone")
        assert line["accounts"] == scene.outcomes("reverse", "unprofitable") == 300
    else:
        assert len(others) == 6
        [line] = said(logs, "not tried yet")
        assert line["accounts"] == 301 - 24


def test_tick__who_is_too_small_rests(scene: Scene, logs: list[Any]) -> None:
    """As whoever is tried and does not pay."""
    borrow(scene, tokens=5)
    scene.market.set_price("8.4")
    role = scene.role()
    for _ in range(16):
        assert (scene.tick(role).rested, scene.nodes.estimates) == ({}, 0)
    assert len(said(logs, "left alone")) == scene.outcomes("reverse", "unprofitable") == 4
    # and is none any more
    scene.nodes.base_fee = GWEI // 100
    scene.evm.mine(16)
    assert len(scene.tick(scene.role(min_profit=Decimal("0.1"))).chosen) == 1


def test_tick__bad_debt_that_is_too_small(scene: Scene) -> None:
    """At a loss it is done where that is configured, after what pays."""
    small, large = borrow(scene, "small", tokens=2), borrow(scene, "large")
    scene.market.set_price(6)
    role = scene.role(bad_debt_loss=Decimal(20))
    order = [each.candidate.position.account for each in scene.tick(role).chosen]
    assert order == [large.address, small.address]


def test_least_gas__less_than_any_way_takes(scene: Scene) -> None:
    """Of much and of next to nothing, in part and whole, with bad debt and without."""
    for tokens in (2, 1_000):
        borrow(scene, f"borrower of {tokens}", tokens=tokens)
        short(scene, f"shorter of {tokens}", tokens=tokens)
    # it takes less where nobody's balance was zero
    donate(scene)
    scene.market.give(scene.receiver, usdt=1, tokens=1)
    role = scene.role(min_profit=Decimal(0), bad_debt_loss=Decimal(100))
    scene.tick(role)
    scene.nodes.base_fee = 0
    taken = []
    for price in ("8.4", "7.2", "6", "16.4", "19", "21"):
        with scene.evm.anchor():
            scene.market.set_price(price)
            scene.evm.mine()
            head = scene.nodes.head()
            candidates = role._candidates(role._found(head), head)
            assert len(candidates) == 2
            for each in candidates:
                for proposal in each.case.proposals[0]:
                    attempt = each.attempt(proposal, role.receiver)
                    taken.append(scene.nodes.estimate(attempt.to, attempt.data, role.sender))
    assert len(taken) == 3 * 2 + 3 * 2 * 2
    assert LEAST_GAS < min(taken) < LEAST_GAS * 4 // 3


@pytest.mark.parametrize("limit", ["CANDIDATES", "ESTIMATES"])
def test_tick__who_has_failed_is_not_put_behind_small_ones(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    """Else it would be enough to make the large one fail once."""
    monkeypatch.setattr(f"perpool.keeper.liquidator.role.{limit}", 1)
    large = borrow(scene, "large", tokens=2_000, ltv=68)
    for number in range(5):
        borrow(scene, f"small {number}", tokens=200)
    scene.market.set_price("8.4")
    role = scene.role()
    assert scene.lane is not None
    scene.lane.spoil = lambda: scene.market.pool.swap_to(Decimal("7.94"))
    assert [each.candidate.position.account for each in scene.tick(role).chosen] == [large.address]
    assert scene.outcomes("reverse", "failed") == 1
    scene.lane.spoil = lambda: None
    scene.market.pool.swap_to(Decimal("8.4"))
    scene.evm.mine(2)
    assert [each.candidate.position.account for each in scene.tick(role).chosen] == [large.address]
    assert scene.outcomes("reverse", "landed") == 1


def test_tick__who_fails_makes_way(
    evm: Evm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A market with nobody to sell to, and much at stake, does not keep the keeper from others."""
    monkeypatch.setattr("perpool.keeper.liquidator.role.CANDIDATES", 1)
    nodes = EvmNodes(evm, monkeypatch)
    start = evm.block_number
    dry = open_market(evm)
    for number in range(4):
        dry.borrow(f"borrower {number}", collateral=dry.tokens(2_000), usdt=dry.usd(13_800))
    good = open_market(evm, dry.usdt)
    good.borrow(collateral=good.tokens(1_200), usdt=good.usd(8_280))
    for market in (dry, good):
        market.set_price("8.4")
    scene = scene_of(evm, nodes, tmp_path, {"DRY": dry, "GOOD": good}, start)
    dry.pool.swap_to(Decimal(7))
    role = scene.role()
    chosen = [[each.candidate.pool.market for each in scene.tick(role).chosen] for _ in range(5)]
    assert chosen == [[], [], [], [], ["GOOD"]]
