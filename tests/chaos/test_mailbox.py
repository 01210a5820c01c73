"""A mailbox that repeats itself, is full of lies and rubbish, full, damaged, gone, or restarted.

Only three of the five reporters are alive, and three make a round: a report that is lost, or that
something else is taken for, is a round that is lost.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import tenacity

from perpool.keeper.chain.contracts import Contracts
from perpool.keeper.mailbox import Mailbox, Message
from perpool.keeper.mailbox import redis as redis_mailbox
from perpool.reports import pack_rates, sign_report
from tests.chaos.world import BLOCK, MARKETS, MINUTE, QUORUM, START, World, figure, key
from tests.redis_server import RedisServer

Record = Callable[[str, object], None]
HOUR = 3_600
WAD = 10**18


def start(world: World) -> World:
    """Everything at work, and some rounds behind it."""
    world.add_reporters(world.plain_panel(), count=QUORUM)
    world.add_desk()
    world.run(minutes=2)
    return world


@pytest.fixture
def running(world: World) -> World:
    return start(world)


@dataclass
class Poster:
    """Somebody who does something to the mailbox each time before, or after, the reporters do."""

    act: Callable[[], object]

    def tick(self, now: int) -> None:
        self.act()


@contextlib.contextmanager
def meddling(world: World, act: Callable[[], object], *, place: int = 0) -> Iterator[None]:
    """While this is done at every step, before the reporter of this place has his turn."""
    poster: Any = Poster(act)
    world.reporters.insert(place, poster)
    yield
    world.reporters.remove(poster)


def signed(
    contracts: Contracts, who: int | str, observed_at: int, contract: str | None = None
) -> list[Message]:
    """Reports on everything that are duly signed, and wrong: 50 % a year, 2 USDT.

    With a `contract`, signed for that one in place of the contracts that they are posted to.
    """
    account = key(who if isinstance(who, str) else f"reporter {who}")
    messages = []
    for subject in contracts.subjects(observed_at):
        is_funding = subject.contract == contracts.funding_oracle
        count = len(subject.tokens)
        values = pack_rates([5 * 10**8] * count) if is_funding else [2 * WAD]
        domain = contracts.domain(contract or subject.contract)
        report = sign_report(account, domain, observed_at, subject.tokens, values)
        messages.append(Message(domain.chain_id, subject.contract, report))
    return messages


def refused(world: World, reason: str | None = None) -> float:
    """Reports that count for nothing."""
    [desk] = world.desks
    labels = {"reason": reason} if reason else {}
    return figure(desk.submitter.metrics, "refused_reports", **labels)


def insert(world: World, bodies: Sequence[object]) -> None:
    """Put anything at all into the mailbox's file."""
    chain_id = world.stage.record.chain_id
    with contextlib.closing(sqlite3.connect(world.folder / "mailbox.db")) as database, database:
        database.executemany(
            "INSERT INTO message (chain_id, observed_at, body) VALUES (?, ?, ?)",
            [(chain_id, world.now, body) for body in bodies],
        )


def finish(world: World, record: Record) -> None:
    """Recover, and judge."""
    world.finish(record)
    [desk] = world.desks
    assert figure(desk.submitter.metrics, "equivocations") == 0
    assert figure(desk.submitter.metrics, "rounds", outcome="refused") == 0


# -- messages --


@dataclass
class Repeating:
    """A mailbox that takes everything three times."""

    mailbox: Mailbox
    taken: list[Message] = field(default_factory=list)

    def read(self, after: str | None) -> tuple[list[Message], str | None]:
        return self.mailbox.read(after)

    def post(self, message: Message) -> None:
        self.taken.append(message)
        for each in (message, message, self.taken[0]):
            self.mailbox.post(each)


def test_messages_duplicated(running: World, record_property: Record) -> None:
    with running.fault():
        for reporter in running.reporters:
            reporter.mailbox = Repeating(reporter.mailbox)  # type: ignore[assignment]
        running.run(minutes=7)
    assert refused(running) == 0
    assert running.errors == []
    for reporter in running.reporters:
        reporter.mailbox = running.open_mailbox()
    finish(running, record_property)


def test_messages_old__replayed(running: World, record_property: Record) -> None:
    mailbox = running.open_mailbox()
    [desk] = running.desks
    contracts = desk.contracts
    # whole rounds that are valid, and older than what is on chain; some were never submitted
    ages = (2 * HOUR, HOUR // 2, MINUTE)
    old = [m for age in ages for who in range(QUORUM) for m in signed(contracts, who, START - age)]
    old += mailbox.read(None)[0]
    for message in old:
        mailbox.post(message)

    def replay() -> None:
        for message in old:
            mailbox.post(message)

    with running.fault(), meddling(running, replay):
        running.run(minutes=4)
        # who starts anew has to go by the chain and the journal
        desk.stop()
        desk.start()
        running.run(minutes=3)
    assert refused(running, "too old") > 0
    # and there is nothing but the old
    alive, running.reporters = running.reporters, []
    with running.fault(outage=True), meddling(running, replay):
        begun = running.now
        running.run(minutes=5)
        newest = [each.observed_at for each in running.found()]
    assert max(newest) <= begun
    running.reporters = alive
    finish(running, record_property)


def test_messages_from_the_future(running: World, record_property: Record) -> None:
    mailbox = running.open_mailbox()
    [desk] = running.desks
    begun = running.now
    # all clocks were ahead for a moment, and the exchanges wild
    leads = (5 * MINUTE, 6 * MINUTE, 7 * MINUTE, 8 * MINUTE, 24 * HOUR, 2**39)
    for lead in leads:
        for who in range(QUORUM):
            for message in signed(desk.contracts, who, begun + lead):
                mailbox.post(message)
    with running.fault():
        running.run(minutes=10)
    assert refused(running, "from the future") == len(leads) * QUORUM * (1 + len(MARKETS))
    finish(running, record_property)


def test_messages_malformed(running: World, record_property: Record) -> None:
    [desk] = running.desks
    good = signed(desk.contracts, 0, running.now)[0].to_json()
    parts = json.loads(good)
    rubbish: list[object] = [
        b"",
        b"\xff\xfe\x00" * 99,
        "null",
        "{}",
        "[" * 5_000,
        "12345678901234567890" * 500,
        7,
        1.5,
        good[:-1],
        good + good,
        good.encode("utf-16"),
        "x" * 2**20,
        *(json.dumps(parts | {name: None}) for name in parts),
        *(json.dumps({k: v for k, v in parts.items() if k != name}) for name in parts),
        json.dumps(parts | {"extra": 1}),
        json.dumps(parts | {"observed_at": "-1"}),
        json.dumps(parts | {"observed_at": "9" * 77}),
        json.dumps(parts | {"tokens": []}),
        json.dumps(parts | {"tokens": parts["tokens"] * 40}),
        json.dumps(parts | {"values": ["0x" + "f" * 65]}),
        json.dumps(parts | {"values": [float("nan")]}),
        json.dumps(parts | {"contract": parts["contract"].lower()}),
        json.dumps(parts | {"chain_id": "1"}),
        json.dumps(parts | {"v": "29"}),
    ]
    steps = 7 * MINUTE // BLOCK
    with running.fault(), meddling(running, lambda: insert(running, rubbish), place=1):
        running.run(minutes=7)
    assert desk.mailbox.refused == len(rubbish) * steps
    finish(running, record_property)


def test_messages_forged(running: World, record_property: Record) -> None:
    [desk] = running.desks
    contracts = desk.contracts
    panel = running.reporters[0].panel
    reporters = [key(f"reporter {n}").address for n in range(QUORUM)]

    def forge() -> None:
        minute = running.now // MINUTE * MINUTE
        real = [m for n in range(QUORUM) for m in signed(contracts, n, minute - HOUR // 2)]
        by_stranger = signed(contracts, "attacker", minute)
        forged = [
            # of nobody, and of nobody in the name of each reporter
            *by_stranger,
            *(_in_name(m, reporter) for reporter in reporters for m in by_stranger),
            # signed for another time, with other values, for another contract, for another chain
            *(replace(m, report=replace(m.report, observed_at=minute)) for m in real),
            *(replace(m, report=replace(m.report, values=_more(m.report.values))) for m in real),
            *signed(contracts, 0, minute, contract=key("attacker").address),
            *signed(contracts, 1, minute, contract=contracts.funding_oracle)[1:],
        ]
        others = [
            replace(m, chain_id=1) for n in range(QUORUM) for m in signed(contracts, n, minute)
        ]
        insert(running, [each.to_json() for each in (*forged, *others)])

    # who believed to have signed these would keep silent, until then or each time
    minutes = [running.now + (n + 1) * MINUTE for n in range(7)]
    future = [m for time in (*minutes, 2**39) for m in signed(contracts, "attacker", time)]
    claims = [_in_name(each, reporter) for reporter in reporters for each in future]
    insert(running, [each.to_json() for each in claims])
    with running.fault(), meddling(running, forge):
        running.run(minutes=2)
        for number in range(QUORUM):
            # he forgets what he has signed, and looks it up in the mailbox
            running.reporters.pop(1)
            running.add_reporter(number, panel)
            running.run(minutes=1)
        running.run(minutes=2)
    for reason in ("bad signature", "unknown reporter", "from the future"):
        assert refused(running, reason) > 0
    assert desk.mailbox.refused > 0
    assert running.errors == []
    finish(running, record_property)


def _in_name(message: Message, reporter: str) -> Message:
    return replace(message, report=replace(message.report, reporter=reporter))


def _more(values: Sequence[int]) -> tuple[int, ...]:
    return tuple(each + 1 for each in values)


# -- the file --


class Disk:
    """The disk under the mailbox. Full means that no connection's file may have another page, so
    that SQLite itself says SQLITE_FULL."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._connections: list[sqlite3.Connection] = []
        self._pages = 2**30
        connect = sqlite3.connect

        def connected(path: Any, *args: Any, **options: Any) -> sqlite3.Connection:
            connection = connect(path, *args, **options)
            if str(path).endswith("mailbox.db"):
                self._connections.append(connection)
                self._limit(connection)
            return connection

        monkeypatch.setattr(sqlite3, "connect", connected)

    def fill(self) -> None:
        self._set(1)  # SQLite makes it what there is

    def free(self) -> None:
        self._set(2**30)

    def _set(self, pages: int) -> None:
        self._pages = pages
        for connection in self._connections:
            with contextlib.suppress(sqlite3.ProgrammingError):  # it is closed
                self._limit(connection)

    def _limit(self, connection: sqlite3.Connection) -> None:
        connection.execute(f"PRAGMA max_page_count = {self._pages}")


def test_mailbox_disk_full(
    world: World, record_property: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    start(world)
    with world.fault(outage=True):
        disk.fill()
        # the last page has room for some more
        world.run(minutes=1)
        begun = world.now
        world.run(minutes=6)
        last = max(each.observed_at for each in world.found())
    assert last <= begun
    assert any("the disk is full" in each for each in world.errors)
    assert all("the disk is full" in each for each in world.errors)
    disk.free()
    [desk] = world.desks
    world.errors.clear()
    desk.errors.clear()
    finish(world, record_property)
    assert world.errors == desk.errors == []


def test_mailbox_damaged__then_moved_away(running: World, record_property: Record) -> None:
    path = running.folder / "mailbox.db"
    [desk] = running.desks
    with running.fault(outage=True):
        for each in running.folder.glob("mailbox.db-*"):
            each.unlink()
        path.unlink()
        path.write_bytes(b"no database at all" * 1_000)
        running.run(minutes=5)
    assert running.errors
    assert desk.errors
    assert all("it is no database" in each for each in (*running.errors, *desk.errors))
    path.unlink()
    running.errors.clear()
    desk.errors.clear()
    finish(running, record_property)
    assert running.errors == desk.errors == []


# -- Redis --


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def over_redis(server: RedisServer, world: World) -> World:
    """Reports and lease over a server, and some rounds behind it."""
    world.mailbox_url = server.url
    return start(world)


def test_redis__rubbish_in_the_stream(
    over_redis: World, server: RedisServer, record_property: Record
) -> None:
    [desk] = over_redis.desks
    stream = f"perpool:{over_redis.stage.record.chain_id}:reports"
    with server.client() as client, over_redis.fault():

        def rubbish() -> None:
            client.xadd(stream, {"message": b"\xff" * 99})
            client.xadd(stream, {"else": "{}"})

        with meddling(over_redis, rubbish, place=1):
            over_redis.run(minutes=5)
    assert desk.mailbox.refused == 2 * 5 * MINUTE // BLOCK
    assert over_redis.errors == desk.errors == []
    finish(over_redis, record_property)


def restarting(world: World, act: Callable[[], object], *, every: int) -> None:
    """For some minutes this is done, where one reporter has posted and the others have not."""
    [desk] = world.desks
    times = []

    def go() -> None:
        if world.now % MINUTE < BLOCK and world.now // MINUTE % every == 0:
            act()
            times.append(world.now)

    with world.fault(), meddling(world, go, place=1):
        world.run(minutes=6)
    assert len(times) == 6 // every
    assert world.errors == desk.errors == []


def test_redis_restarted__with_its_data(
    over_redis: World,
    server: RedisServer,
    record_property: Record,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # it is back in less time than is tried for, however slow this machine
    monkeypatch.setattr(redis_mailbox._PATIENTLY, "stop", tenacity.stop_after_delay(60))

    def return_later() -> None:
        time.sleep(0.2)
        server.start()

    def go() -> None:
        server.kill()
        threads.append(threading.Thread(target=return_later))
        threads[-1].start()

    def wait() -> None:
        for thread in threads:
            thread.join()

    threads: list[threading.Thread] = []
    with meddling(over_redis, wait, place=QUORUM):
        restarting(over_redis, go, every=1)
    finish(over_redis, record_property)


def test_redis_restarted__without_its_data(
    over_redis: World, server: RedisServer, record_property: Record
) -> None:
    def go() -> None:
        server.kill()
        server.forget()
        server.start()

    # one report of the minute is gone for good, and the others are too few: the next one's go
    restarting(over_redis, go, every=3)
    finish(over_redis, record_property)


def test_redis_down__for_minutes(
    over_redis: World,
    server: RedisServer,
    record_property: Record,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    [desk] = over_redis.desks
    # trying for seconds is of no use: here they do not pass
    monkeypatch.setattr(redis_mailbox._PATIENTLY, "stop", tenacity.stop_after_attempt(2))
    monkeypatch.setattr(redis_mailbox._PATIENTLY, "wait", tenacity.wait_none())
    with over_redis.fault(outage=True):
        server.kill()
        over_redis.run(minutes=7)
    assert over_redis.errors
    assert desk.errors
    assert all("it cannot be reached" in each for each in (*over_redis.errors, *desk.errors))
    server.start()
    over_redis.errors.clear()
    desk.errors.clear()
    finish(over_redis, record_property)
    assert over_redis.errors == desk.errors == []
