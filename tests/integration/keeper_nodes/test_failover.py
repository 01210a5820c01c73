"""Nodes that are down, slow, without sense, or of another chain."""

from __future__ import annotations

import contextlib
import threading
import time
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from perpool.anvil import Anvil
from perpool.chain import Contract
from perpool.keeper.chain.endpoint import MOST_BYTES, Silence
from perpool.keeper.chain.nodes import Disagreement, Nodes, NodesError, Refused
from tests.integration.keeper_nodes.faulty import (
    TIMEOUT,
    connect,
    refusing,
)
from tests.rpc_proxy import RpcProxy


@pytest.mark.parametrize(
    ("fault", "value"), [("status", 500), ("status", 429), ("html", True), ("throttle", True)]
)
def test_failover__a_node_without_sense(
    three: list[RpcProxy], probe: Contract, fault: str, value: object
) -> None:
    bad, good, _ = three
    setattr(bad, fault, value)
    nodes = connect(bad, good)
    assert nodes.read([probe.total.bind(1)]) == [321]
    assert nodes.metrics.node_up.labels(bad.url[7:])._value.get() == 0
    assert nodes.metrics.node_up.labels(good.url[7:])._value.get() == 1


@pytest.mark.parametrize(
    "message",
    [
        "daily request count exceeded, request rate limited",
        "Your app has exceeded its compute units per second capacity",
        "15/second request limit reached - reduce calls per second",
        "monthly quota is used up",
    ],
)
def test_failover__asked_too_often(three: list[RpcProxy], probe: Contract, message: str) -> None:
    """Such a node is down, and its range is not halved to ask it even more."""
    bad, *_ = three
    nodes = connect(bad)
    nodes.head()
    bad.rewrite = refusing("eth_getLogs", message)
    with pytest.raises(NodesError, match="too many requests") as caught:
        nodes.logs([probe.address], 1, 32)
    assert not isinstance(caught.value, Refused)
    assert bad.counts["eth_getLogs"] == 1
    assert nodes.metrics.node_up.labels(bad.url[7:])._value.get() == 0


def test_failover__a_node_that_refuses_its_newest_block(
    three: list[RpcProxy], probe: Contract
) -> None:
    bad, good, _ = three
    nodes = connect(bad, good)
    nodes.head()
    bad.rewrite = refusing("eth_getBlockByNumber", "project is suspended")
    head = nodes.head()
    assert nodes.metrics.node_up.labels(bad.url[7:])._value.get() == 0
    asked = bad.messages
    assert nodes.read([probe.total.bind(1)], head) == [321]
    assert bad.messages == asked


def test_failover__a_dead_node_is_asked_now_and_then(
    three: list[RpcProxy], probe: Contract
) -> None:
    dead, good, _ = three
    nodes = connect(dead, good, timeout=timedelta(seconds=0.3))
    nodes.head()
    dead.delay, dead.messages = 10, 0
    with capture_logs() as logs:
        started = time.monotonic()
        for _ in range(20):
            nodes.head()
        took = time.monotonic() - started
    assert dead.messages <= 1 + took
    assert took < 3
    assert [(each["event"], each["node"]) for each in logs] == [("node down", dead.url[7:])]


def test_failover__back_again(three: list[RpcProxy], probe: Contract) -> None:
    bad, good, _ = three
    bad.down()
    nodes = connect(bad, good)
    nodes.head()
    bad.up()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and not bad.counts["eth_getBlockByNumber"]:
        nodes.head()
        time.sleep(0.05)
    assert bad.counts["eth_getBlockByNumber"]
    assert bad.counts["eth_chainId"], "it has to show its chain again"


def test_failover__one_slow_of_three_is_not_waited_for(
    three: list[RpcProxy], probe: Contract
) -> None:
    slow, *_ = three
    nodes = connect(*three, timeout=timedelta(seconds=5))
    head = nodes.head()
    slow.delay = 2
    started = time.monotonic()
    assert nodes.read([probe.total.bind(1)], head) == [321]
    assert time.monotonic() - started < 0.5
    nodes.head()
    assert time.monotonic() - started < 1.5


def test_failover__a_black_hole_from_the_start(three: list[RpcProxy], probe: Contract) -> None:
    hole, *_ = three
    hole.delay = 60
    for chain_id in (31_337, None):
        nodes = connect(*three, chain_id=chain_id, timeout=timedelta(seconds=5))
        started = time.monotonic()
        for _ in range(3):
            assert nodes.read([probe.total.bind(1)]) == [321]
        assert time.monotonic() - started < 4


@pytest.mark.parametrize("count", [1, 2])
def test_failover__an_answer_in_drips(three: list[RpcProxy], probe: Contract, count: int) -> None:
    dripping, *_ = nodes_of = three[:count]
    nodes = connect(*nodes_of, timeout=timedelta(seconds=0.3))
    nodes.head()
    dripping.drip = 0.02
    started = time.monotonic()
    if count == 1:
        with pytest.raises(NodesError, match="no whole answer in time"):
            nodes.head()
    else:
        nodes.head()
        nodes.head()
    assert 0.5 < time.monotonic() - started < 2
    assert nodes.metrics.node_up.labels(dripping.url[7:])._value.get() == 0
    dripping.heal()
    deadline = time.monotonic() + 20
    while not nodes.metrics.node_up.labels(dripping.url[7:])._value.get():
        assert time.monotonic() < deadline
        time.sleep(0.1)
        with contextlib.suppress(NodesError):
            nodes.head()


def test_failover__endless_drips_hold_a_few_threads(three: list[RpcProxy], probe: Contract) -> None:
    dripping, *_ = three
    nodes = connect(dripping, timeout=timedelta(seconds=0.1))
    nodes.head()
    dripping.drip = 0.09
    before = threading.active_count()
    [node] = nodes._endpoints
    for _ in range(8):
        node._rests_until = 0.0
        with pytest.raises(NodesError):
            nodes.head()
    assert not node.ready
    # ours, and the proxy's one for each connection
    assert threading.active_count() - before <= 2 * 4
    assert dripping.counts["eth_getBlockByNumber"] <= 1 + 4
    dripping.drip = 0.0
    deadline = time.monotonic() + 10
    while not node.ready:
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize("compressed", [MOST_BYTES, 1_000])
def test_failover__an_answer_that_inflates_without_bound(
    three: list[RpcProxy], probe: Contract, compressed: int
) -> None:
    """A small one, that is compressed too, is as good as any."""
    bad, *_ = three
    nodes = connect(*three, timeout=timedelta(seconds=5))
    head = nodes.head()
    bad.bomb = compressed
    [endpoint, *_] = nodes._endpoints
    said = endpoint.submit(lambda node: node.newest()).result(timeout=20)
    if compressed < MOST_BYTES:
        assert said == head
    else:
        assert isinstance(said, Silence)
        assert "Unbounded" in str(said)
    assert nodes.head() == head
    assert nodes.read([probe.total.bind(1)]) == [321]


def test_failover__nobody_there(three: list[RpcProxy]) -> None:
    nodes = connect(*three)
    nodes.head()
    for each in three:
        each.down()
    with pytest.raises(NodesError, match="no node gives an answer"):
        nodes.head()
    started = time.monotonic()
    with pytest.raises(NodesError, match=r"127\.0\.0\.1:\d+: no answer"):
        nodes.head()
    assert time.monotonic() - started < 0.1


def test_chain_id__another_chain_is_not_believed(three: list[RpcProxy], probe: Contract) -> None:
    with Anvil(chain_id=5) as other, RpcProxy(other.http_url) as wrong:
        nodes = connect(wrong, three[0], chain_id=31_337)
        assert nodes.read([probe.total.bind(1)]) == [321]
        alone = connect(wrong, chain_id=31_337)
        with pytest.raises(NodesError, match="is of chain 5, not of 31337"):
            alone.head()
        with pytest.raises(Disagreement, match="nodes of different chains"):
            connect(wrong, three[0]).head()


def test_chain_id__changed_behind_an_endpoint(three: list[RpcProxy]) -> None:
    [proxy, *_] = three
    nodes = connect(proxy)
    nodes.head()
    proxy.down()
    with pytest.raises(NodesError):
        nodes.head()
    with Anvil(chain_id=5) as other:
        proxy.upstream = other.http_url
        proxy.up()
        deadline = time.monotonic() + 10
        while True:
            with pytest.raises(NodesError) as caught:
                nodes.head()
            if "is of chain 5" in str(caught.value):
                break
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_errors__keys_of_urls_are_not_repeated(three: list[RpcProxy]) -> None:
    [proxy, *_] = three
    url = f"http://user:HUSH-HUSH@{proxy.url[7:]}/v3/HUSH-PATH?key=HUSH-QUERY"

    def gossip(
        method: str, parameters: list[object], answer: dict[str, object]
    ) -> dict[str, object]:
        text = f"key HUSH-PATH (HUSH-QUERY) may not use {method}"
        return {**answer, "result": None, "error": {"code": -32000, "message": text}}

    nodes = Nodes([url], timeout=TIMEOUT)
    with capture_logs() as logs:
        nodes.head()
        proxy.rewrite = gossip
        with pytest.raises(NodesError, match=r"key \*\*\* \(\*\*\*\) may not use") as refused:
            nodes.head()
        proxy.down()
        with pytest.raises(NodesError, match=proxy.url[7:]) as silent:
            nodes.head()
    for text in (str(refused.value), str(silent.value), str(logs), nodes.metrics.text().decode()):
        assert "HUSH" not in text
