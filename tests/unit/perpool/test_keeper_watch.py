"""The role that looks after nodes, lease and ether."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from perpool.keeper.chain.nodes import Head, NodesError
from perpool.keeper.health import Health
from perpool.keeper.mailbox import LeaseState, MailboxError
from perpool.keeper.metrics import Metrics
from perpool.keeper.model import FundingFeed, MarketState, PriceRound
from perpool.keeper.operation.watch import Watch

NOW = 1_700_000_000
HEAD = Head(7, "0x" + 64 * "0", NOW, 1)
GAS = "0x" + 40 * "1"


class Nodes:
    """One that may be down; balances in wei."""

    def __init__(self) -> None:
        self.wei = 2 * 10**18
        self.down = False

    def head(self) -> Head:
        if self.down:
            raise NodesError("no node answers")
        return HEAD

    def balance(self, address: str, head: Head | None = None) -> int:
        assert (address, head) == (GAS, HEAD)
        return self.wei


class Lease:
    """One whose store may be away."""

    def __init__(self) -> None:
        self.away = False

    def state(self) -> LeaseState | None:
        if self.away:
            raise MailboxError("redis is away")
        return None


class Markets:
    """One, whose feeds were observed NOW and a quarter of an hour before."""

    def states(self, head: Head) -> list[MarketState]:
        assert head == HEAD
        funding, price = FundingFeed(0, 0, 0, 0, NOW), PriceRound(1, NOW - 900, False, 60)
        return [MarketState("ADA", "0x2", "0x3", funding, price, (), False)]


@pytest.fixture
def nodes() -> Nodes:
    return Nodes()


@pytest.fixture
def lease() -> Lease:
    return Lease()


@pytest.fixture
def watch(nodes: Nodes, lease: Any) -> Watch:
    return Watch(nodes, {"submitter": GAS}, lease, metrics=Metrics(), health=Health())


def test_tick__publishes_ether(watch: Watch) -> None:
    watch.tick(NOW)
    assert watch.metrics.balance.labels(GAS)._value.get() == 2
    assert watch.health.check(NOW) == []


def test_tick__no_node_is_trouble_until_one_answers(watch: Watch, nodes: Nodes) -> None:
    nodes.down = True
    watch.tick(NOW)
    assert watch.health.check(NOW) == ["nodes: no node answers"]
    nodes.down = False
    watch.tick(NOW)
    assert watch.health.check(NOW) == []


def test_tick__unknown_lease_is_trouble_until_it_is_known(watch: Watch, lease: Lease) -> None:
    lease.away = True
    watch.tick(NOW)
    assert watch.health.check(NOW) == ["lease: redis is away"]
    lease.away = False
    watch.tick(NOW)
    assert watch.health.check(NOW) == []


def test_tick__all_troubles_at_once(watch: Watch, nodes: Nodes, lease: Lease) -> None:
    nodes.down = lease.away = True
    watch.tick(NOW)
    assert len(watch.health.check(NOW)) == 2


def test_tick__little_ether_is_said_once_each_time(watch: Watch, nodes: Nodes) -> None:
    with capture_logs() as logs:
        for wei in (10**16, 10**16 - 1, 0, 10**17, 5):
            nodes.wei = wei
            watch.tick(NOW)
    assert [(each["event"], each["account"]) for each in logs] == [("little ether", GAS)] * 2
    assert logs[0]["ether"] == "0.009999999999999999"


def test_tick__feeds_where_there_is_no_submitter(nodes: Nodes) -> None:
    watch = Watch(nodes, {}, None, Markets(), metrics=Metrics(), health=Health())
    watch.tick(NOW)
    assert watch.metrics.feed_observed.labels("funding", "ADA")._value.get() == NOW
    assert watch.metrics.feed_observed.labels("price", "ADA")._value.get() == NOW - 900
    assert watch.metrics.feed_heartbeat.labels("price")._value.get() == 1_800
    nodes.down = True
    watch.tick(NOW)
    # they become overdue while nobody can look
    reasons = watch.health.check(NOW + 1_501)
    assert reasons == [
        "price of ADA: 2401 s old, due every 1800 s",
        "nodes: no node answers",
    ]


def test_tick__without_a_lease_or_payers(nodes: Nodes) -> None:
    watch = Watch(nodes, {}, None, metrics=Metrics(), health=Health())
    watch.tick(NOW)
    assert watch.health.check(NOW) == []
