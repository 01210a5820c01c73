"""What the liquidator is made of, and how it reads back what it did."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from perpool.deployment import Record
from perpool.keeper.chain.contracts import KeeperError
from perpool.keeper.liquidator.index import Leg
from perpool.keeper.liquidator.pools import first_block, pools_of, read_back
from perpool.keeper.model import Intent
from perpool.uniswap import reverse_v3_route
from tests.unit.perpool.keeper_liquidator_role.scene import (
    Scene,
    borrow,
    short,
)


def test_pools_of__both_legs_with_their_routes(scene: Scene) -> None:
    market = scene.market
    reverse, forward = scene.pools
    assert (reverse.leg, forward.leg) == (Leg.REVERSE, Leg.FORWARD)
    assert reverse.route == market.sell_route
    assert forward.route == market.buy_route == reverse_v3_route(reverse.route)
    assert forward.numbers.min_debt == market.forward_leg.min_debt
    assert {each.usdt_unit for each in scene.pools} == {10**6}


def test_pools_of__without_a_liquidator(scene: Scene, tmp_path: Path) -> None:
    record = Record(tmp_path / "record.json", "local", 1)
    with pytest.raises(KeeperError, match="no Liquidator and no UniswapV3Swapper"):
        pools_of(scene.nodes, record)


def test_first_block__of_the_oldest_pool(tmp_path: Path) -> None:
    record = Record(tmp_path / "record.json", "local", 1)
    assert first_block(record) == 0
    for name, block in (("ADA.reverse", 30), ("ADA.forward", 30), ("XRP.reverse", 20)):
        record.contracts[name] = {"address": "", "block": block}
    record.contracts["XRP.forward"] = {"address": "", "block": 21}
    record.markets = {"ADA": {}, "XRP": {}}
    assert first_block(record) == 20
    assert first_block(record, ["ADA"]) == 30
    # one that was found on the chain, and not sent by the run that recorded it
    record.contracts["XRP.forward"]["block"] = None
    assert first_block(record) == 0


def test_read_back__whoever_owes_no_less(scene: Scene) -> None:
    borrower, shorter = borrow(scene), short(scene)
    unmet = read_back(scene.nodes)
    intents = []
    for pool, account in ((scene.market.reverse, borrower), (scene.market.forward, shorter)):
        subject = f"{pool.address}/{account.address}"
        shares = pool.debt_shares_of(account)
        intents.append(Intent("liquidation", subject, 1, str(shares)))
    head = scene.nodes.head()
    assert unmet(intents, head) == intents
    scene.market.set_price("8.4")
    scene.tick(scene.role())
    assert unmet(intents, scene.nodes.head()) == intents[1:]
    nowhere = replace(intents[0], subject=f"{scene.sender.address}/{borrower.address}")
    assert unmet([nowhere], scene.nodes.head()) == [nowhere]
