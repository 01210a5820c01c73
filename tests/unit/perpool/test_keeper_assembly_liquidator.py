"""How a configuration becomes a liquidator."""

from __future__ import annotations

from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from perpool.deployment import Record
from perpool.keeper.liquidator.ether import Ether
from perpool.keeper.liquidator.profit import Policy
from perpool.keeper.liquidator.role import LiquidatorRole
from perpool.keeper.metrics import Metrics
from perpool.keeper.operation import assembly
from perpool.keeper.operation.sections import LiquidatorSection

MARKETS = ("ADA", "XRP")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A deployment of two markets in blocks 30 and 40, its oracles and tokens before them."""
    monkeypatch.setattr(assembly, "pools_of", lambda nodes, record, symbols: [])
    record = Record(tmp_path / "record.json", "local", 1)
    record.contracts["USDT"] = {"address": "", "block": 3}
    for symbol, block in zip(MARKETS, (30, 40), strict=True):
        for leg in ("reverse", "forward"):
            record.contracts[f"{symbol}.{leg}"] = {"address": "", "block": block}
    record.markets = {each: {} for each in MARKETS}
    with ExitStack() as closing:
        yield SimpleNamespace(
            config=SimpleNamespace(state_folder=tmp_path / "state"),
            record=record,
            contracts=SimpleNamespace(markets=dict.fromkeys(MARKETS)),
            nodes=SimpleNamespace(chain_id=1, learn=lambda abi: None),
            metrics=Metrics(),
            closing=closing,
        )


def liquidator(place: Any, lane: Any = None, **settings: Any) -> LiquidatorRole:
    section = LiquidatorSection(account="keystore:key.json", **{"ether_price": 2500} | settings)
    return assembly._liquidator(place, section, "0x" + 40 * "1", lane)


def test_accounts__in_a_file(place: Any) -> None:
    liquidator(place, lane=SimpleNamespace())
    assert (place.config.state_folder / assembly.ACCOUNTS).exists()


def test_accounts__in_memory_in_a_dry_run(place: Any) -> None:
    assert liquidator(place).outbox is None
    assert not place.config.state_folder.exists()


def test_start__of_the_first_pool(place: Any) -> None:
    assert liquidator(place).follower.start == 30
    place.contracts.markets.pop("ADA")
    assert liquidator(place).follower.start == 40


def test_start__unknown_for_one_of_them(place: Any) -> None:
    """Its accounts may be older than all the others."""
    del place.record.contracts["XRP.reverse"]["block"]
    assert liquidator(place).follower.start == 0


def test_settings__reach_the_role(place: Any) -> None:
    feed = "0x" + 40 * "2"
    role = liquidator(
        place,
        ether_price=None,
        ether_feed=feed,
        ether_max_age="90m",
        min_profit=3,
        bad_debt_loss=40,
        max_slippage="2.5%",
    )
    assert role.policy == Policy(
        min_profit=Decimal(3), bad_debt_loss=Decimal(40), max_slippage=Decimal("0.025")
    )
    assert role.ether.source == Ether(feed=feed, max_age=5_400)


def test_settings__slippage_is_a_share(place: Any) -> None:
    for text in ("0%", "100%"):
        assert liquidator(place, max_slippage=text).policy.max_slippage == int(text[:-1]) // 100
    for text in ("-1%", "100.1%"):
        with pytest.raises(ValidationError, match="max_slippage: is a share of the gain"):
            liquidator(place, max_slippage=text)


def test_settings__by_default(place: Any) -> None:
    """Those of the role itself."""
    role = liquidator(place)
    assert role.policy == Policy()
    assert role.ether.source == Ether(price=Decimal(2_500))
