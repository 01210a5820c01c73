"""A mailbox that repeats itself, is full of lies and rubbish, full, damaged, gone, or restarted.

Only three of the five reporters are alive, and three make a round: a report that is lost, or that
something else is taken for, is a round that is lost. The password of the fourth, 3, is stolen.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import redis
import tenacity

from perpool.keeper.chain.contracts import Contracts
from perpool.keeper.mailbox import Mailbox, Message
from perpool.keeper.mailbox import redis as redis_mailbox
from perpool.reports import pack_rates, sign_report
from tests.chaos.disk import Disk
from tests.chaos.world import BLOCK, MINUTE, START, World, figure
from tests.keeper_stage import MARKETS, QUORUM, key
from tests.redis_server import GUIDE, RedisServer, guide_options

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


THIEF = 3
"""The reporter in whose place somebody else writes."""


def leave(world: World, reporter: int | str, *lines: bytes | str) -> None:
    """Put anything at all into the place of a reporter, or of anybody else by his address."""
    record = world.stage.record
    name = reporter if isinstance(reporter, str) else key(f"reporter {reporter}").address
    body = b"\n".join(each if isinstance(each, bytes) else each.encode() for each in lines)
    row = (record.chain_id, str(record.address("FundingOracle")), name, body)
    with contextlib.closing(sqlite3.connect(world.folder / "mailbox.db")) as database, database:
        database.execute("INSERT OR REPLACE INTO report VALUES (?, ?, ?, ?)", row)


def delays(world: World, since: int) -> set[int]:
    """Seconds from an observation to the block that has it, of what was observed later."""
    found = [each for each in world.found() if each.observed_at > since]
    assert found, "nothing was sent"
    return {world.stage.chain.block_timestamp(each.block) - each.observed_at for each in found}


def finish(world: World, record: Record) -> None:
    """Recover, and judge."""
    world.finish(record)
    [desk] = world.desks
    assert figure(desk.submitter.metrics, "equivocations") == 0
    assert figure(desk.submitter.metrics, "rounds", outcome="refused") == 0


# -- messages --


@dataclass
class Repeating:
    """A mailbox that has everything three times, and what was first in between."""

    mailbox: Mailbox
    taken: list[Message] = field(default_factory=list)

    def read(self, reporter: str, seen: str | None = None) -> tuple[list[Message], str | None]:
        return self.mailbox.read(reporter, seen)

    def post(self, messages: Sequence[Message]) -> None:
        self.taken += messages
        self.mailbox.post([m for each in messages for m in (each, each, self.taken[0], each)])


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
    old = {
        who: [m for age in ages for m in signed(contracts, who, START - age)] + running.said(who)
        for who in (*range(QUORUM), THIEF)
    }

    def replay() -> None:
        for messages in old.values():
            mailbox.post(messages)

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
    # all clocks were ahead for a moment, and the exchanges wild
    leads = (5 * MINUTE, 6 * MINUTE, 7 * MINUTE, 8 * MINUTE, 24 * HOUR, 2**39)

    def post() -> None:
        for who in range(QUORUM):
            reports = [m for lead in leads for m in signed(desk.contracts, who, begun + lead)]
            mailbox.post(reports)

    with running.fault():
        begun = running.now
        with meddling(running, post, place=QUORUM):
            running.step()
        running.run(minutes=10)
    assert refused(running, "from the future") == len(leads) * QUORUM * (1 + len(MARKETS))
    finish(running, record_property)


def test_messages_malformed(running: World, record_property: Record) -> None:
    [desk] = running.desks
    good = signed(desk.contracts, 0, running.now)[0].to_json()
    parts = json.loads(good)
    rubbish: list[bytes | str] = [
        b"",
        b"\xff\xfe\x00" * 99,
        "null",
        "{}",
        "[" * 5_000,
        "12345678901234567890" * 500,
        "7",
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

    def meddle() -> None:
        leave(running, THIEF, *rubbish, f"{running.now}")
        leave(running, "nobody", *rubbish)
        if running.now % MINUTE:
            # after the others have been heard, who put theirs up again
            leave(running, 0, *rubbish)
            leave(running, 1, b"x" * 2**23)

    with running.fault(), meddling(running, meddle):
        running.run(minutes=7)
    assert desk.mailbox.refused == (len(rubbish) + 1) * steps
    assert running.errors == desk.errors == []
    finish(running, record_property)


def test_messages_forged(running: World, record_property: Record) -> None:
    [desk] = running.desks
    contracts = desk.contracts
    panel = running.reporters[0].panel

    def forged_for(reporter: str, minute: int) -> list[Message]:
        real = [m for n in range(QUORUM) for m in signed(contracts, n, minute - HOUR // 2)]
        by_stranger = signed(contracts, "attacker", minute)
        forged = [
            # of nobody, signed for another time, with other values, for another contract or chain
            *by_stranger,
            *(replace(m, report=replace(m.report, observed_at=minute)) for m in real),
            *(replace(m, report=replace(m.report, values=_more(m.report.values))) for m in real),
            *signed(contracts, 0, minute, contract=key("attacker").address),
            *signed(contracts, 1, minute, contract=contracts.funding_oracle)[1:],
            *(replace(m, chain_id=1) for n in range(QUORUM) for m in signed(contracts, n, minute)),
            *(m for time in (minute + HOUR, 2**39) for m in signed(contracts, "attacker", time)),
        ]
        # and what is of somebody else than whose place it is in
        return [*forged, *(_in_name(each, reporter) for each in forged)]

    def forge() -> None:
        minute = running.now // MINUTE * MINUTE
        for who in (*range(QUORUM), THIEF):
            reporter = key(f"reporter {who}").address
            leave(running, who, *(m.to_json() for m in forged_for(reporter, minute)))
        leave(
            running, key("attacker").address, *(m.to_json() for m in signed(contracts, 0, minute))
        )

    with running.fault(), meddling(running, forge):
        running.run(minutes=2)
        for number in range(QUORUM):
            # he forgets what he has signed, and looks it up in the mailbox
            forgetful = running.reporters.pop(1)
            forgetful.statements.close()
            for each in running.folder.glob(f"reporter {number}.db*"):
                each.unlink()
            running.add_reporter(number, panel)
            running.run(minutes=1)
        running.run(minutes=2)
    for reason in ("bad signature", "from the future"):
        assert refused(running, reason) > 0
    assert desk.mailbox.refused > 0
    assert running.errors == []
    finish(running, record_property)


def forgeries(contracts: Contracts, reporter: str, minute: int, start: int) -> list[Message]:
    """As many as a place holds, and no two alike in any place."""
    genuine = signed(contracts, "attacker", minute)[1]
    return [
        replace(genuine, report=replace(genuine.report, reporter=reporter, r=start + n))
        for n in range(1, FLOOD + 1)
    ]


FLOOD = 1_000


def test_messages_flood__in_one_reporters_place_and_under_unknown_names(
    running: World, record_property: Record
) -> None:
    [desk] = running.desks
    thief = key(f"reporter {THIEF}").address
    with running.fault():
        begun = running.now
        running.run(minutes=4)
        usual = delays(running, begun)

    def flood() -> None:
        minute = running.now // MINUTE * MINUTE
        forged = forgeries(desk.contracts, thief, minute, running.now * FLOOD)
        leave(running, THIEF, *(each.to_json() for each in forged))
        for name in range(200):
            leave(running, f"{running.now} {name}", *(each.to_json() for each in forged[:5]))

    with running.fault(), meddling(running, flood):
        begun = running.now
        running.run(minutes=4)
    assert delays(running, begun) <= usual
    assert refused(running, "bad signature") == FLOOD * 4 * MINUTE // BLOCK
    assert running.errors == desk.errors == []
    finish(running, record_property)


def _in_name(message: Message, reporter: str) -> Message:
    return replace(message, report=replace(message.report, reporter=reporter))


def _more(values: Sequence[int]) -> tuple[int, ...]:
    return tuple(each + 1 for each in values)


# -- the file --


def test_mailbox_disk_full(
    world: World, record_property: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch, "mailbox.db")
    start(world)
    with world.fault(outage=True):
        disk.fill()
        begun = world.now
        world.run(minutes=7)
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
    with RedisServer(options=guide_options()) as server:
        yield server


@pytest.fixture
def over_redis(server: RedisServer, world: World) -> World:
    """Reports and lease over a server, and some rounds behind it."""
    world.mailbox_url = server.url
    return start(world)


def place_in(world: World, reporter: int | str) -> str:
    """The key of a reporter, or of anybody else by his address."""
    record = world.stage.record
    name = reporter if isinstance(reporter, str) else key(f"reporter {reporter}").address
    return f"perpool:{record.chain_id}:{record.address('FundingOracle')}:{name}"


def test_redis__rubbish_in_keys(
    over_redis: World, server: RedisServer, record_property: Record
) -> None:
    [desk] = over_redis.desks
    with server.client() as client, over_redis.fault():

        def rubbish() -> None:
            client.set(place_in(over_redis, THIEF), b"\xff" * 99 + str(over_redis.now).encode())
            client.set(place_in(over_redis, "nobody"), b"\xff" * 99)
            client.delete(place_in(over_redis, 4))
            client.rpush(place_in(over_redis, 4), "x")

        with meddling(over_redis, rubbish, place=1):
            over_redis.run(minutes=5)
    # the list is there once, and stays
    assert desk.mailbox.refused == 5 * MINUTE // BLOCK + 1
    assert over_redis.errors == desk.errors == []
    finish(over_redis, record_property)


def test_redis__flood_by_one_reporters_password(
    over_redis: World, server: RedisServer, record_property: Record
) -> None:
    """As fast as the server takes it, with the rights of the guide: into his own place whatever it
    holds, and into the others' and any other, where he is refused."""
    [desk] = over_redis.desks
    thief = key(f"reporter {THIEF}").address
    with over_redis.fault():
        begun = over_redis.now
        over_redis.run(minutes=4)
        usual = delays(over_redis, begun)
    [rights] = re.findall(r"^ACL SETUSER reporter (.*)$", GUIDE.read_text(), re.MULTILINE)
    oracle = str(over_redis.stage.record.address("FundingOracle"))
    rights = rights.replace("ORACLE", oracle).replace("REPORTER", thief)
    with server.client() as admin:
        admin.execute_command("ACL", "SETUSER", "thief", *rights.replace("PASSWORD", "x").split())
    minute = over_redis.now
    bodies = [
        "\n".join(m.to_json() for m in forgeries(desk.contracts, thief, minute, start * FLOOD))
        for start in range(1, 31)
    ]
    stop, done = threading.Event(), Counter[str]()

    def flood() -> None:
        client = redis.Redis.from_url(server.url.replace("//", "//thief:x@"))
        others = [place_in(over_redis, each) for each in (0, 1, 2, 4, "nobody")]
        for body in itertools.cycle(bodies):
            if stop.is_set():
                return
            client.set(place_in(over_redis, THIEF), body)
            done["own"] += 1
            for other in others:
                try:
                    client.set(other, body)
                except redis.exceptions.NoPermissionError:
                    done["refused"] += 1

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        with over_redis.fault():
            begun = over_redis.now
            over_redis.run(minutes=4)
    finally:
        stop.set()
        thread.join()
    assert done["own"] > 100
    assert done["refused"] == 5 * done["own"]
    assert delays(over_redis, begun) <= usual
    # it was read, and of no use
    assert refused(over_redis, "bad signature") >= FLOOD * 10
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

    # who has posted before posts again
    restarting(over_redis, go, every=1)
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
