"""A submitter killed at any point of a round's way, and journals that cannot be written or read."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from perpool.keeper.transactions.journal import Journal, JournalError
from perpool.keeper.transactions.model import Transaction
from tests.chaos.mortal import MOMENTS, live_and_die
from tests.chaos.world import HEARTBEAT, Desk, World
from tests.rpc_proxy import RpcProxy

Record = Callable[[str, object], None]
TRANSACTIONS = 3
"""Of a round: prices, funding, and the pools that follow."""
NO_LIMIT = 2**30
PAGE = 4_096
SMALL_PAGE = 512
"""So that what is written needs pages of its own."""


@dataclass
class Scene:
    """A submitter at work, on one node that keeps what it is sent."""

    world: World
    desk: Desk
    node: RpcProxy

    def attempts(self) -> set[str]:
        """All that the journal has of what was signed."""
        recent = self.desk.journal.recent(99)
        return {"0x" + attempt.raw.hex() for each in recent for attempt in each.attempts}

    def wait_until_due(self) -> None:
        """Pass a time in which nobody sends, so that everything is due at its end."""
        self.desk.alive = False
        with self.world.fault(outage=True):
            self.world.step(max(HEARTBEAT.values()) - self.world.now % 60)

    def use_small_pages(self) -> None:
        self.desk.crash()
        with contextlib.closing(sqlite3.connect(self.desk.path)) as database:
            database.execute("PRAGMA journal_mode = DELETE")
            database.execute(f"PRAGMA page_size = {SMALL_PAGE}")
            database.execute("VACUUM")
        self.desk.start()

    def damage(self, start: int) -> None:
        """Overwrite the journal's file from a byte on."""
        with self.desk.path.open("r+b") as file:
            size = file.seek(0, os.SEEK_END)
            assert size > start
            file.seek(start)
            file.write(b"\xa5" * (size - start))

    def replace_journal(self) -> None:
        """As the message says to, when nothing waits to be mined."""
        self.world.mine()
        self.desk.path.rename(self.desk.path.with_suffix(".damaged"))
        for each in self.desk.path.parent.glob(f"{self.desk.path.name}-*"):
            each.unlink()
        self.desk.start()


@pytest.fixture
def scene(world: World) -> Iterator[Scene]:
    with RpcProxy(world.stage.anvil.http_url) as node:
        world.add_plain_reporters()
        desk = world.add_desk(endpoints=[node.url])
        world.run(minutes=2)
        yield Scene(world, desk, node)


# -- killed --


def left_behind(world: World) -> list[Transaction]:
    """What the journal says is on its way."""
    journal = Journal(world.folder / "first.db", "submitter", read_only=True)
    try:
        return [each for each in journal.open() if each.attempts]
    finally:
        journal.close()


@pytest.mark.parametrize("moment", MOMENTS)
def test_kill_9_after(scene: Scene, record_property: Record, moment: str) -> None:
    world, desk = scene.world, scene.desk
    killed, count = True, 0
    while killed:
        count += 1
        scene.wait_until_due()
        desk.crash()
        killed = live_and_die(world, "first", moment, count, scene.node.url)
        behind = left_behind(world)
        desk.start()
        # nothing was broadcast that is not in the journal
        assert set(scene.node.raws) <= scene.attempts()
        world.run(minutes=2)
        assert desk.errors == []
        # whatever had been signed was mined, as it was
        for each in behind:
            now = desk.journal.get(each.id)
            assert (now.state, now.nonce) == ("done", each.nonce)
    assert count > TRANSACTIONS
    world.finish(record_property)


# -- the journal's file --


def test_disk_full__journal(scene: Scene, record_property: Record) -> None:
    """At all sorts of points of a round: with no page left, then with a few, and so on."""
    world, desk = scene.world, scene.desk
    scene.use_small_pages()
    met: set[str] = set()
    for spare in range(0, 36, 5):
        scene.wait_until_due()
        database, errors = desk.journal._db, len(desk.errors)
        [pages] = database.execute("PRAGMA page_count").fetchone()
        database.execute(f"PRAGMA max_page_count = {pages + spare}")
        with world.fault(outage=True):
            desk.alive = True
            world.run(minutes=1)
        said = desk.errors[errors:]
        assert all("JournalError" in each and "is the disk full" in each for each in said)
        # nothing was broadcast that is not in the journal
        assert set(scene.node.raws) <= scene.attempts()
        if said:
            planned = any(each.state == "planned" for each in desk.journal.open())
            met.add("attempt" if planned else "another")
        database.execute(f"PRAGMA max_page_count = {NO_LIMIT}")
        errors = len(desk.errors)
        world.run(minutes=2)
        assert len(desk.errors) == errors
    assert met == {"attempt", "another"}
    world.finish(record_property)


@pytest.mark.parametrize("start", [0, 2 * PAGE], ids=["header", "pages"])
def test_damaged_journal__at_the_start(scene: Scene, record_property: Record, start: int) -> None:
    world, desk = scene.world, scene.desk
    sent = len(scene.node.raws)
    with world.fault(outage=True):
        desk.crash()
        scene.damage(start)
        with pytest.raises(JournalError, match=r"(?s)is damaged .* move the file away"):
            desk.start()
        world.run(minutes=6)
        assert len(scene.node.raws) == sent
        scene.replace_journal()
    world.finish(record_property)
    assert desk.errors == []


def test_damaged_journal__at_work(scene: Scene, record_property: Record) -> None:
    world, desk = scene.world, scene.desk
    sent = len(scene.node.raws)
    with world.fault(outage=True):
        desk.journal._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        desk.journal._db.execute("PRAGMA shrink_memory")
        scene.damage(0)
        world.run(minutes=6)
        assert {each.partition(":")[0] for each in desk.errors} == {"JournalError"}
        assert "is damaged" in desk.errors[-1]
        assert len(scene.node.raws) == sent
        desk.crash()
        scene.replace_journal()
    errors = len(desk.errors)
    world.finish(record_property)
    assert len(desk.errors) == errors
