"""How a configuration becomes a rebalancer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from eth_account import Account
from structlog.testing import capture_logs

from perpool.deployment import Record
from perpool.keeper.health import Health
from perpool.keeper.metrics import Metrics
from perpool.keeper.operation import assembly
from perpool.keeper.operation.place import Place
from perpool.keeper.operation.sections import RebalancerSection
from perpool.keeper.rebalancer.decide import Budget
from perpool.keeper.rebalancer.role import RebalancerRole
from tests.chaos.world import figure
from tests.unit.perpool.test_keeper_rebalancer_role import ADA, ORACLE, SENDER, XRP


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Any]:
    """Two vaults of blocks 30 and 40."""
    record = Record(tmp_path / "record.json", "local", 1)
    for each, block in ((ADA, 40), (XRP, 30)):
        record.contracts[each.name] = {"address": each.address, "block": block}
    record.markets = {"ADA": {"token": ADA.token}}
    with ExitStack() as closing:
        yield SimpleNamespace(
            config=SimpleNamespace(state_folder=tmp_path / "state"),
            record=record,
            contracts=SimpleNamespace(markets={"ADA": None}, funding_oracle=ORACLE),
            nodes=SimpleNamespace(chain_id=1, learn=lambda abi: None, read=lambda calls: []),
            metrics=Metrics(),
            health=Health(),
            closing=closing,
        )


def rebalancer(place: Any, lane: Any = None, **settings: Any) -> RebalancerRole:
    section = RebalancerSection(account="keystore:key.json", **settings)
    return assembly._rebalancer(place, section, [ADA, XRP], SENDER, lane)


def test_requests__in_a_file(place: Any) -> None:
    lane: Any = SimpleNamespace(journal=SimpleNamespace(recent=lambda count: []))
    role = rebalancer(place, lane)
    assert (place.config.state_folder / assembly.REQUESTS).exists()
    assert role.spent(0) == 0


def test_requests__in_memory_in_a_dry_run(place: Any) -> None:
    assert rebalancer(place).outbox is None
    assert not place.config.state_folder.exists()


def test_start__of_the_first_vault(place: Any) -> None:
    assert rebalancer(place).follower.start == 30
    del place.record.contracts[XRP.name]["block"]
    assert rebalancer(place).follower.start == 0


def test_budget(place: Any) -> None:
    assert rebalancer(place).budget == Budget(5 * 10**17)
    role = rebalancer(place, budget="0.1 ether", max_gas=2_000_000)
    assert (role.budget, role.max_gas) == (Budget(10**17), 2_000_000)


def test_figures__begin_with_the_bounds(place: Any) -> None:
    rebalancer(place)
    assert figure(place.metrics, "vault_liquidation_ltv", vault="ADA keep") == 0.8
    assert figure(place.metrics, "vault_maintenance_margin", vault="ADA keep") == 0.01
    samples = [each for family in place.metrics.registry.collect() for each in family.samples]
    begun = {each.labels["vault"] for each in samples if "rebalances_total" in each.name}
    assert begun == {"ADA keep", "XRP keep"}


def test_vaults__of_a_record_of_before_there_were_any(place: Any) -> None:
    section = RebalancerSection(account="keystore:key.json")
    place.config = SimpleNamespace(
        reporter=None, submitter=None, liquidator=None, rebalancer=section
    )
    place.clock, place.vaults = (lambda: 0), lambda: Place.vaults(place)
    place.guard = lambda: None
    with capture_logs() as logs:
        built = assembly.build(place, {"rebalancer": [Account.from_key("0x" + "01" * 32)]})
    assert [each["event"] for each in logs] == ["there are no carry vaults"]
    assert [each.role.name for each in built.service.duties] == ["watch"]
    assert built.outboxes == {}
