"""Nodes that are down, behind, slow or lying, and such that do not do what they say."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from perpool.keeper.chain import endpoint
from tests.chaos.world import MINUTE, Desk, World, figure
from tests.rpc_proxy import RpcProxy

Record = Callable[[str, object], None]
SECONDS = 20
"""Of a step."""
LONG = 6
"""Minutes of a fault: longer than every heartbeat."""
PATIENT = timedelta(seconds=10)
"""A timeout that nobody should sit out."""


@dataclass
class Scene:
    """A submitter at work behind nodes that a test spoils."""

    world: World
    desk: Desk
    nodes: list[RpcProxy]

    def run(self, minutes: int) -> None:
        """In fewer steps than elsewhere: every node is asked a lot at each."""
        self.world.run(minutes=minutes, seconds=SECONDS)

    def finish(self, record: Record) -> None:
        self.run(LONG)
        self.world.finish(record, minutes=0)

    def heal(self) -> None:
        for each in self.nodes:
            each.heal()
            each.up()

    def raws(self) -> set[str]:
        """What any node was sent."""
        return {raw for each in self.nodes for raw in each.raws}

    def sent_since(self, time: int) -> int:
        """Rounds on chain that were observed after a time."""
        return sum(each.observed_at > time for each in self.world.found())


@pytest.fixture
def open_scene(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], Scene]]:
    """Give it so many nodes. They rest after failures on the world's clock."""
    monkeypatch.setattr(endpoint, "time", SimpleNamespace(monotonic=world.clock))
    with contextlib.ExitStack() as stack:

        def open_one(count: int) -> Scene:
            upstream = world.stage.anvil.http_url
            nodes = [stack.enter_context(RpcProxy(upstream)) for _ in range(count)]
            world.add_plain_reporters()
            desk = world.add_desk(endpoints=[each.url for each in nodes])
            scene = Scene(world, desk, nodes)
            scene.run(2)
            return scene

        yield open_one


@pytest.fixture
def three(open_scene: Callable[[int], Scene]) -> Scene:
    return open_scene(3)


@pytest.fixture
def two(open_scene: Callable[[int], Scene]) -> Scene:
    return open_scene(2)


def spoil(nodes: Sequence[RpcProxy], **faults: Any) -> None:
    """Give nodes a fault each."""
    for node in nodes:
        for name, value in faults.items():
            setattr(node, name, value)


# -- not there --


def test_rpc_down__one_of_three(three: Scene, record_property: Record) -> None:
    with three.world.fault():
        three.nodes[0].down()
        three.run(LONG)
    three.nodes[0].up()
    three.finish(record_property)
    assert three.desk.errors == []


def test_rpc_down__one_of_two(two: Scene, record_property: Record) -> None:
    with two.world.fault():
        two.nodes[0].down()
        two.run(LONG)
    two.nodes[0].up()
    two.finish(record_property)
    assert two.desk.errors == []


def test_rpc_down__all_for_minutes(three: Scene, record_property: Record) -> None:
    world = three.world
    with world.fault(outage=True):
        for each in three.nodes:
            each.down()
        three.run(LONG)
    assert "no node gives an answer" in three.desk.errors[-1]
    errors = len(three.desk.errors)
    three.heal()
    three.finish(record_property)
    # at most until the last of the rests is over
    assert len(three.desk.errors) <= errors + 15 // SECONDS + 1


@pytest.mark.parametrize(
    "fault",
    [{"status": 500}, {"status": 429}, {"html": True}, {"throttle": True}],
    ids=["http_500", "http_429", "html", "throttled"],
)
def test_rpc_answers_nonsense__one_then_all(
    three: Scene, record_property: Record, fault: dict[str, Any]
) -> None:
    world = three.world
    with world.fault():
        spoil(three.nodes[:1], **fault)
        three.run(LONG)
    assert three.desk.errors == []
    with world.fault(outage=True):
        spoil(three.nodes, **fault)
        three.run(LONG)
    assert three.desk.errors != []
    three.heal()
    three.finish(record_property)


def test_rpc_slow__one_of_three(
    three: Scene, record_property: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # a slow node is slow on the real clock, and so it rests on it
    with three.world.fault():
        three.nodes[0].delay = 1.5
        three.run(LONG)
    three.heal()
    three.finish(record_property)
    assert three.desk.errors == []


def test_rpc_black_hole__one_of_three(
    three: Scene, record_property: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # it never answers on the real clock, and so it rests on it
    world, desk = three.world, three.desk
    with world.fault():
        three.nodes[0].delay = 600
        desk.crash()
        desk.start(timeout=PATIENT)  # with no connection yet
        ticks = []
        for _ in range(LONG * MINUTE // SECONDS):
            begun = time.monotonic()
            world.step(SECONDS)
            ticks.append(time.monotonic() - begun)
    # it is waited for at moments where all answers count, and never for as long as it might take
    assert max(ticks) < PATIENT.total_seconds() / 2
    assert sum(ticks) < len(ticks) * 1.5
    three.heal()
    three.finish(record_property)
    assert desk.errors == []


# -- behind --


def test_rpc_lagging__one_of_three(three: Scene, record_property: Record) -> None:
    with three.world.fault():
        three.nodes[0].lag = 20
        three.run(LONG)
    three.heal()
    three.finish(record_property)
    assert three.desk.errors == []


def test_rpc_lagging__one_of_two(two: Scene, record_property: Record) -> None:
    with two.world.fault():
        two.nodes[0].lag = 20
        two.run(LONG)
    two.heal()
    two.finish(record_property)
    assert two.desk.errors == []


# -- lying --

LIES = ("calls", "hashes", "receipts", "nonces")


@pytest.mark.parametrize("lie", LIES)
def test_rpc_lying__one_of_three(three: Scene, record_property: Record, lie: str) -> None:
    with three.world.fault():
        spoil(three.nodes[:1], lies={lie})
        # he is the first to answer
        spoil(three.nodes[1:], delay=0.01)
        three.run(LONG)
    if lie == "hashes":
        assert figure(three.desk.nodes.metrics, "disagreements") > 0
    three.heal()
    three.finish(record_property)
    assert three.desk.errors == []
    assert three.desk.count("reverted") + three.desk.count("unmet") == 0


def test_rpc_lying__one_of_two(two: Scene, record_property: Record) -> None:
    world = two.world
    begun = world.now
    with world.fault(outage=True):
        spoil(two.nodes[:1], lies=set(LIES))
        two.run(LONG)
    # which of the two is the liar cannot be told
    assert two.sent_since(begun) == 0
    assert "nodes differ" in two.desk.errors[-1]
    two.heal()
    two.finish(record_property)


def refuse_calls(method: str, parameters: list[Any], answer: dict[str, Any]) -> dict[str, Any]:
    """As a node that has dropped the state of a block."""
    error = {"code": -32_000, "message": "missing trie node"}
    return {**answer, "result": None, "error": error} if method == "eth_call" else answer


def test_rpc_refuses_calls__one_of_three(three: Scene, record_property: Record) -> None:
    with three.world.fault():
        three.nodes[0].rewrite = refuse_calls
        three.run(LONG)
    three.heal()
    three.finish(record_property)
    assert three.desk.errors == []


def test_rpc_refuses_calls__one_of_two_and_the_other_lies(
    two: Scene, record_property: Record
) -> None:
    begun, raws = two.world.now, len(two.raws())
    with two.world.fault(outage=True):
        two.nodes[0].rewrite = refuse_calls
        two.nodes[1].lies = {"calls"}
        two.run(LONG)
    assert len(two.raws()) == raws
    assert two.sent_since(begun) == 0
    assert "as others refuse" in two.desk.errors[-1]
    two.heal()
    two.finish(record_property)


def test_rpc_makes_up_blocks__one_of_two(two: Scene, record_property: Record) -> None:
    world, liar = two.world, two.nodes[0]
    begun, raws = world.now, len(two.raws())
    with world.fault(outage=True):
        liar.boasts = 100
        two.run(LONG)
    assert len(two.raws()) == raws
    assert two.sent_since(begun) == 0
    assert "nodes differ on the newest block" in two.desk.errors[-1]
    two.heal()
    two.finish(record_property)


def test_rpc_makes_up_blocks__one_of_three(three: Scene, record_property: Record) -> None:
    with three.world.fault():
        spoil(three.nodes[:1], boasts=100, lies={"calls", "receipts", "nonces"})
        three.run(LONG)
    three.heal()
    three.finish(record_property)
    assert three.desk.errors == []
    assert three.desk.count("reverted") + three.desk.count("unmet") == 0


# -- not doing what they say --


@pytest.mark.parametrize("fault", ["error", "drop"])
def test_rpc_fails_after_accept__all(three: Scene, record_property: Record, fault: str) -> None:
    with three.world.fault():
        spoil(three.nodes, after_sending=fault)
        three.run(LONG)
    three.heal()
    three.finish(record_property)
    # none was signed anew because of it
    assert len(three.raws()) == three.desk.count("done") + len(three.desk.journal.open())
    assert three.desk.count("abandoned") == 0


def test_rpc_swallows_transactions__one_of_three(three: Scene, record_property: Record) -> None:
    with three.world.fault():
        three.nodes[0].swallows = True
        three.run(LONG)
    three.heal()
    three.finish(record_property)
    assert three.desk.errors == []


def test_rpc_swallows_transactions__all(three: Scene, record_property: Record) -> None:
    world = three.world
    with world.fault(outage=True):
        spoil(three.nodes, swallows=True)
        three.run(LONG)
    assert three.desk.count("rebroadcast") > 0
    three.heal()
    three.finish(record_property)


def test_transaction_dropped_from_every_pool(three: Scene, record_property: Record) -> None:
    world = three.world
    dropped = []

    def drop() -> None:
        for each in three.desk.journal.open():
            hash_ = each.attempts[-1].hash
            if each.state == "sent" and hash_ not in dropped:
                world.stage.chain.rpc("anvil_dropTransaction", hash_)
                dropped.append(hash_)

    with world.fault():
        for _ in range(LONG * MINUTE // SECONDS):
            world.step(SECONDS)
            drop()
    assert len(dropped) > 2
    three.finish(record_property)
    # as they were, not signed anew
    assert three.desk.count("rebroadcast") >= len(dropped)
    assert three.desk.count("replaced") == 0
