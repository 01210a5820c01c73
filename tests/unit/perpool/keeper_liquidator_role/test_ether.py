"""The price of ether, which gas is paid in."""

from __future__ import annotations

from typing import Any

import pytest

from perpool.keeper.chain.contracts import KeeperError
from perpool.keeper.liquidator.ether import Ether
from tests.unit.perpool.keeper_liquidator_role.scene import (
    Scene,
    borrow,
    said,
)


def test_tick__ether_by_a_feed(scene: Scene) -> None:
    borrow(scene)
    scene.market.set_price("8.4")
    feed = scene.evm.deploy("TestFeed", 8, 3_000 * 10**8)
    feed.set(3_000 * 10**8)
    by_feed = Ether(feed=feed.address)
    with scene.evm.anchor():
        [fixed] = scene.tick(scene.role()).chosen
    with scene.evm.anchor():
        [read] = scene.tick(scene.role(ether=by_feed)).chosen
    assert read.appraisal == fixed.appraisal
    feed.set(10**6 * 10**8)
    assert scene.tick(scene.role(ether=by_feed)).chosen == ()


def test_tick__ether_by_a_feed_that_beats_once_a_day(scene: Scene, logs: list[Any]) -> None:
    """As many of Chainlink's do, give or take an hour."""
    borrow(scene)
    feed = scene.evm.deploy("TestFeed", 8, 3_000 * 10**8)
    feed.set(3_000 * 10**8)
    scene.evm.warp(86_400 + 3_000)
    scene.market.set_price("8.4")
    [choice] = scene.tick(scene.role(ether=Ether(feed=feed.address))).chosen
    assert choice.candidate.case.rates.ether_price == 3_000
    assert not said(logs, "no price of ether")


def test_tick__ether_by_a_feed_that_is_stale(scene: Scene, logs: list[Any]) -> None:
    """It goes on with twice the price that it last had, and says so once."""
    borrow(scene)
    feed = scene.evm.deploy("TestFeed", 8, 3_000 * 10**8)
    feed.set(3_000 * 10**8)
    scene.evm.warp(601)
    scene.market.set_price("8.4")
    role = scene.role(dry=True, ether=Ether(feed=feed.address, max_age=600))
    [choice] = scene.tick(role).chosen
    assert choice.candidate.case.rates.ether_price == 6_000
    [line] = said(logs, "no price of ether")
    assert (line["used"], line["log_level"]) == ("6000.00", "warning")
    scene.evm.mine(40)
    assert scene.tick(role).chosen
    assert len(said(logs, "no price of ether")) == 1
    # and when it is stale another time
    feed.set(3_000 * 10**8)
    scene.evm.mine(40)
    [choice] = scene.tick(role).chosen
    assert choice.candidate.case.rates.ether_price == 3_000
    scene.evm.warp(601)
    scene.evm.mine(40)
    scene.tick(role)
    assert len(said(logs, "no price of ether")) == 2


@pytest.mark.parametrize("answer", [0, -5, None])
def test_tick__ether_by_a_feed_that_has_nothing(scene: Scene, answer: int | None) -> None:
    """The last price known if there was one; else nothing is sent on a guess."""
    borrow(scene)
    scene.market.set_price("8.4")
    feed = scene.evm.deploy("TestFeed", 8, 3_000 * 10**8)
    feed.set(3_000 * 10**8)
    known = scene.role(dry=True, ether=Ether(feed=feed.address))
    scene.tick(known)
    if answer is None:
        nothing = scene.evm.deploy("Multicall").address
        known.ether.source = Ether(feed=nothing)
    else:
        feed.set(answer)
    scene.evm.mine(40)
    [choice] = scene.tick(known).chosen
    assert choice.candidate.case.rates.ether_price == 6_000
    with pytest.raises(KeeperError, match="has never had a price of ether"):
        scene.tick(scene.role(ether=known.ether.source))
