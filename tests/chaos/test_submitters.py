"""Two submitters: with a lease, one dying or hanging, and without one. And wrong clocks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from perpool.keeper.chain import endpoint
from perpool.keeper.transactions.model import Transaction
from tests.chaos.mortal import live_and_die
from tests.chaos.world import BLOCK, HEARTBEAT, LEASE, Desk, World
from tests.rpc_proxy import RpcProxy

Record = Callable[[str, object], None]
TAKEOVER = int(LEASE.total_seconds()) + BLOCK
"""Seconds until a standby has noticed that the lease is over."""
HUNG = 2
"""Minutes."""


@pytest.fixture
def both(world: World) -> tuple[World, Desk, Desk]:
    """The first at work, the second standing by."""
    world.add_plain_reporters()
    first, second = world.add_desk("first"), world.add_desk("second")
    world.run(minutes=2)
    assert first.submitter.active
    assert not second.submitter.active
    return world, first, second


def mined_nonces(desk: Desk) -> int:
    chain = desk.world.stage.chain
    return int(chain.rpc("eth_getTransactionCount", desk.wallet.address, "latest"), 16)


def wait_for_takeover(world: World, desk: Desk) -> int:
    """Seconds until a desk is the active one."""
    since = world.now
    while not desk.submitter.active:
        world.step()
        assert world.now - since <= 2 * TAKEOVER, "the standby does not take over"
    return world.now - since


def wait_for_sent(world: World, desk: Desk) -> Transaction:
    """Step until a desk has sent something that is not mined yet."""
    until = world.now + 2 * max(HEARTBEAT.values())
    while world.now < until:
        world.step()
        for each in desk.journal.open():
            if each.state == "sent":
                return each
    raise AssertionError("nothing was sent")


# -- with a lease --


def test_two_submitters__one_lease(both: tuple[World, Desk, Desk], record_property: Record) -> None:
    world, first, second = both
    world.finish(record_property)
    assert first.count("sent") > 2
    assert second.events == []
    assert mined_nonces(second) == 0
    assert first.errors + second.errors == []


@pytest.mark.parametrize(
    ("moment", "forgotten"),
    [("announce", False), ("send", False), ("send", True)],
    ids=["before_the_broadcast", "after_the_broadcast", "with_the_node_that_had_it"],
)
def test_active_submitter_killed(
    world: World, record_property: Record, moment: str, forgotten: bool
) -> None:
    world.add_plain_reporters()
    first = world.add_desk("first")
    world.run(minutes=1)
    first.crash()
    second = world.add_desk("second")
    second.alive = False
    with world.fault(outage=True):
        world.step(max(HEARTBEAT.values()) - world.now % 60)
    with world.fault():
        assert live_and_die(world, "first", moment, 1)
        if forgotten:
            world.stage.chain.rpc("anvil_dropAllTransactions")
        second.alive = True
        assert wait_for_takeover(world, second) <= TAKEOVER
        world.run(minutes=1)
        # the same transaction, signed by the other, and not a second one like it
        adopted = [each for each in second.events if each.name == "adopted"][-1]
        assert adopted.hash in {each.hash for each in second.events if each.name == "landed"}
    first.start()
    world.finish(record_property)
    assert first.errors + second.errors == []
    assert second.submitter.active
    assert not first.submitter.active


def hang(first: Desk) -> None:
    """The process stands still, the world goes on."""
    first.alive = False
    first.world.run(minutes=HUNG)
    first.alive = True


def hang_once(owner: Any, name: str, first: Desk) -> list[int]:
    """Have it stand still before it does something of this name; gives the time at which."""
    go, times = getattr(owner, name), []

    def called(*args: Any, **named: Any) -> Any:
        if not times:
            times.append(first.world.now)
            hang(first)
        return go(*args, **named)

    setattr(owner, name, called)
    return times


@pytest.mark.parametrize("before", ["tick", "signing", "announcing", "broadcasting"])
def test_active_submitter_hangs__and_comes_back_after_the_takeover(
    both: tuple[World, Desk, Desk], record_property: Record, before: str
) -> None:
    world, first, second = both
    with world.fault():
        if before == "tick":
            hang(first)
            world.step()
        else:
            owner, name = {
                "signing": (first.outbox.wallet, "sign_transaction"),
                "announcing": (first.outbox, "_announce"),
                "broadcasting": (first.nodes, "send"),
            }[before]
            hung = hang_once(owner, name, first)
            while not hung:
                world.step()
            world.step()
        assert second.submitter.active
        assert not first.submitter.active
        world.run(minutes=1)
        # and back again, while what it had in mind is not too old yet
        second.crash()
        assert wait_for_takeover(world, first) <= TAKEOVER
    world.finish(record_property)
    assert second.errors == []
    # at most what it was about to do
    assert len(first.errors) <= 1


def test_active_submitter_hangs__and_never_notices_two_takeovers(
    both: tuple[World, Desk, Desk], record_property: Record
) -> None:
    world, first, second = both
    chain = world.stage.chain
    with world.fault():
        first.alive = False
        [sent] = wait_for_sent(world, second).attempts
        second.crash()
        chain.rpc("anvil_dropAllTransactions")
        world.mine(TAKEOVER)
        first.alive = True
        world.step()
        # as the second signed it, although to the first nothing seems to have happened
        assert first.count("adopted") > 0
        world.step()
        assert chain.rpc("eth_getTransactionReceipt", sent.hash) is not None
    world.finish(record_property)
    assert first.errors == []


def test_active_submitter_without_nodes(
    world: World, record_property: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    # they rest on the world's clock
    monkeypatch.setattr(endpoint, "time", SimpleNamespace(monotonic=world.clock))
    world.add_plain_reporters()
    with RpcProxy(world.stage.anvil.http_url) as node:
        first, second = world.add_desk("first", endpoints=[node.url]), world.add_desk("second")
        world.run(minutes=2)
        with world.fault():
            node.down()
            assert wait_for_takeover(world, second) <= TAKEOVER
            world.run(minutes=6)
        node.up()
        world.finish(record_property)
        assert second.errors == []
        assert not first.submitter.active


def test_active_submitter_with_a_full_disk(
    both: tuple[World, Desk, Desk], record_property: Record
) -> None:
    world, first, second = both
    database = first.journal._db
    with world.fault():
        [pages] = database.execute("PRAGMA page_count").fetchone()
        database.execute(f"PRAGMA max_page_count = {pages}")
        world.run(minutes=8)
    assert any("is the disk full" in each for each in first.errors)
    assert second.submitter.active
    database.execute("PRAGMA max_page_count = 1000000000")
    world.finish(record_property)
    assert second.errors == []


# -- without --


def test_two_submitters__without_a_lease(world: World, record_property: Record) -> None:
    """Nobody is to run this. Each round may be paid for twice, and counts once.

    Funding that is there already is skipped, a price that is there already is refused within its
    batch; what comes first is the same as what comes second.
    """
    world.add_plain_reporters()
    first, second = (world.add_desk(name, leased=False) for name in ("first", "second"))
    with world.fault():
        world.run(minutes=12)
    world.finish(record_property, once=False)
    sent = Counter(world._submissions())
    assert max(sent.values()) == 2
    assert first.errors + second.errors == []
    # and whatever became of one, neither is held up by the other
    assert first.count("landed") > 4
    assert second.count("landed") > 4


# -- clocks --


@pytest.mark.parametrize("ahead", [600, -600], ids=["10_minutes_ahead", "10_minutes_behind"])
def test_submitter_clock(world: World, record_property: Record, ahead: int) -> None:
    world.add_plain_reporters()
    with world.fault():
        desk = world.add_desk(ahead=ahead)
        world.run(minutes=12)
    world.finish(record_property)
    assert desk.errors == []
