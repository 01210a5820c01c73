"""Reporters that are dead, lie, contradict themselves, forget, or do not know what time it is.

Five processes of one reporter each; three reports make a round. Where it matters, so many others
are dead that a round needs every one of the rest.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from perpool.keeper.mailbox import Mailbox, Message
from perpool.keeper.reporter import Reporter
from perpool.keeper.sources import Limits, Panel
from perpool.reports import LARGEST_RATE, pack_rates, sign_report, unpack_rates
from tests.chaos.disk import Disk
from tests.chaos.mortal import REPORTING, report_and_die
from tests.chaos.world import MINUTE, VENUES, TruthfulVenue, World, figure, rounds_in
from tests.keeper_stage import MARKETS, REPORTERS, key

Record = Callable[[str, object], None]
SEATS = range(REPORTERS)


@pytest.fixture
def running(world: World) -> World:
    """Everything at work, and some rounds behind it."""
    world.add_reporters(world.plain_panel())
    world.add_desk()
    world.run(minutes=2)
    return world


@dataclass
class Skewed:
    """A reporter on a machine whose clock is off."""

    reporter: Reporter
    seconds: int

    def tick(self, now: int) -> None:
        self.reporter.tick(now + self.seconds)


@dataclass
class Dishonest:
    """The way to the mailbox of a reporter who signs something else as well, or instead."""

    mailbox: Mailbox
    reporter: Reporter
    change: Callable[[int], int]
    """Of a price in WAD, or a rate in 1e-9 a year."""
    instead: bool

    def read(self, reporter: str, seen: str | None = None) -> tuple[list[Message], str | None]:
        return self.mailbox.read(reporter, seen)

    def post(self, messages: Sequence[Message]) -> None:
        others = [self._changed(each) for each in messages]
        self.mailbox.post(others if self.instead else [*messages, *others])

    def _changed(self, message: Message) -> Message:
        report = message.report
        contracts = self.reporter.contracts
        if message.contract == contracts.funding_oracle:
            rates = unpack_rates(report.values, len(report.tokens))
            values = pack_rates([self.change(each or 0) for each in rates])
        else:
            values = [self.change(each) for each in report.values]
        domain = contracts.domain(message.contract)
        [signer] = self.reporter.signers
        other = sign_report(signer, domain, report.observed_at, report.tokens, values)
        return Message(message.chain_id, message.contract, other)


def corrupt(reporter: Reporter, change: Callable[[int], int], *, instead: bool) -> Mailbox:
    """Make a reporter dishonest; gives what makes him honest again."""
    honest = reporter.mailbox
    reporter.mailbox = Dishonest(honest, reporter, change, instead)  # type: ignore[assignment]
    return honest


def taking_part(world: World, since: int) -> list[set[int]]:
    """The reporters of each transaction's rounds; who takes no part is in them by his address."""
    transactions = [sent["input"] for sent in world.sent(since) if rounds_in(sent["input"])]
    assert transactions, "nothing was sent"
    found = []
    for calldata in transactions:
        absences = [calldata.count(f"{int(key(f'reporter {n}').address, 16):064x}") for n in SEATS]
        assert set(absences) <= {0, rounds_in(calldata)}
        found.append({n for n in SEATS if not absences[n]})
    return found


def finish(world: World, record: Record) -> None:
    """Recover, with everybody taking part in the end."""
    world.finish(record)
    assert taking_part(world, world.now - 4 * MINUTE)[-1] == set(SEATS)
    nothing_refused(world)


def nothing_refused(world: World) -> None:
    """Nobody failed, nothing was tried that the chain would not take, and what it took is what the
    submitter took it for."""
    [desk] = world.desks
    assert {each.name for each in desk.events}.isdisjoint({"refused", "reverted", "unmet"})
    assert world.errors == desk.errors == []
    assert figure(desk.submitter.metrics, "rounds", outcome="refused") == 0


# -- dead --


def test_reporters_dead__two_of_five(running: World, record_property: Record) -> None:
    alive = running.reporters
    with running.fault():
        begun = running.now
        running.reporters = alive[2:]
        running.run(minutes=7)
    assert taking_part(running, begun) == [{2, 3, 4}] * len(taking_part(running, begun))
    running.reporters = alive
    finish(running, record_property)


def test_reporters_dead__three_of_five(running: World, record_property: Record) -> None:
    alive = running.reporters
    with running.fault(outage=True):
        begun = running.now
        running.reporters = alive[3:]
        running.run(minutes=7)
    assert not [each for each in running.found() if each.observed_at > begun], "without a quorum"
    running.reporters = alive
    finish(running, record_property)


def test_reporter_restarts_all_the_time(running: World, record_property: Record) -> None:
    alive = running.reporters
    panel = alive[0].panel

    def restart() -> None:
        running.reporters.pop()
        running.add_reporter(4, panel)

    said: dict[tuple[str, int], set[Message]] = {}

    def look() -> None:
        for each in running.said(4):
            said.setdefault((each.contract, each.report.observed_at), set()).add(each)

    with running.fault():
        begun = running.now
        running.reporters = alive[2:]
        running.before_tick += [look, restart]
        running.run(minutes=7)
    running.before_tick.clear()
    assert {4} <= set.intersection(*taking_part(running, begun))
    assert {len(each) for each in said.values()} == {1}, "signed twice for a time"
    assert len(said) >= 7 * (1 + len(MARKETS))
    running.reporters += alive[:2]
    finish(running, record_property)


@pytest.mark.parametrize("moment", REPORTING)
def test_reporter_killed__and_the_mailbox_is_emptied(
    running: World, record_property: Record, moment: str
) -> None:
    """He starts again within the minute, and sees something else: he says what he said before."""
    running.reporters.pop()
    fewer = Panel([TruthfulVenue(each, running.clock) for each in VENUES[1:]], clock=running.clock)
    [desk] = running.desks

    def newest(number: int) -> list[Message]:
        return [m for m in running.said(number) if m.report.observed_at == running.now]

    with running.fault(without=VENUES[:1]):
        assert running.now % MINUTE == 0
        running.mine(MINUTE)
        report_and_die(running, 4, moment)
        before = newest(4)
        assert bool(before) == (moment == "post")
        with contextlib.closing(sqlite3.connect(running.folder / "mailbox.db")) as file, file:
            file.execute("DELETE FROM report")
        running.reporters[0].tick(running.now)
        reborn = running.add_reporter(4, fewer)
        reborn.tick(running.now)
        # as another does who hears all exchanges
        assert [m.report.values for m in newest(4)] == [m.report.values for m in newest(0)]
        assert not before or newest(4) == before
        for each in (running.reporters[0], reborn):
            each.tick(running.now + MINUTE)
        running.mine(MINUTE)
        assert [m.report.values for m in newest(4)] != [m.report.values for m in newest(0)]
        running.run(minutes=1)
        reborn.panel = running.reporters[0].panel
        running.run(minutes=1)
    assert figure(desk.submitter.metrics, "equivocations") == 0
    running.finish(record_property, exact=False)
    nothing_refused(running)


def test_reporter_with_a_full_disk(
    world: World, record_property: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What he cannot write down he does not sign; the others go on."""
    disk = Disk(monkeypatch, "reporter 0.db")
    world.add_reporters(world.plain_panel())
    world.add_desk()
    world.run(minutes=2)
    lame = world.reporters[0]
    with world.fault():
        disk.fill()
        begun = world.now
        signed = figure(lame.metrics, "signed")
        world.run(minutes=7)
    assert figure(lame.metrics, "signed") == signed
    assert taking_part(world, begun)[1:] == [{1, 2, 3, 4}] * (len(taking_part(world, begun)) - 1)
    assert world.errors
    assert all("reporter 0.db: the disk is full" in each for each in world.errors)
    disk.free()
    world.errors.clear()
    finish(world, record_property)


# -- dishonest --


def test_reporter_equivocates(running: World, record_property: Record) -> None:
    # without him there is just a quorum
    dead = running.reporters.pop()
    [desk] = running.desks
    metrics = desk.submitter.metrics
    traitor = running.reporters[0]
    with running.fault():
        begun = running.now
        honest = corrupt(traitor, lambda value: value + 1, instead=False)
        running.run(minutes=7)
    assert taking_part(running, begun) == [{1, 2, 3}] * len(taking_part(running, begun))
    name = key("reporter 0").address
    assert figure(metrics, "equivocations", reporter=name) == 9 * (1 + len(MARKETS)), (
        "of each minute, and of the two before, which he says again"
    )
    assert figure(metrics, "equivocations") == figure(metrics, "equivocations", reporter=name)
    traitor.mailbox = honest
    running.reporters.append(dead)
    finish(running, record_property)


@pytest.mark.parametrize(
    "lie",
    [lambda value: min(10 * value, LARGEST_RATE), lambda value: value * 101 // 100],
    ids=["wildly", "plausibly"],
)
def test_reporter_lying(running: World, record_property: Record, lie: Callable[[int], int]) -> None:
    alive = running.reporters
    with running.fault():
        begun = running.now
        running.reporters = alive[2:]
        honest = corrupt(alive[2], lie, instead=True)
        running.run(minutes=7)
    # he takes part, and two honest ones hold him
    assert taking_part(running, begun) == [{2, 3, 4}] * len(taking_part(running, begun))
    alive[2].mailbox = honest
    running.reporters = alive
    finish(running, record_property)


# -- clocks --


def wrong_clock(world: World, record: Record, seconds: int, kind: str) -> None:
    """Two reporters have a wrong clock. One dates the exchanges' answers, as reporters do, and the
    other takes them of whatever time, and signs them as of his."""
    alive = world.reporters
    careful, careless = alive[:2]
    venues = alive[0].panel.venues

    def panel(limits: Limits) -> Panel:
        return Panel(venues, limits, clock=lambda: world.now + seconds)

    right = careful.panel
    careful.panel = panel(Limits())
    careless.panel = panel(Limits(max_age=timedelta(hours=1), max_skew=timedelta(hours=1)))
    with world.fault():
        begun = world.now
        off: Sequence[Any] = [Skewed(careful, seconds), Skewed(careless, seconds)]
        world.reporters = [*off, *alive[2:]]
        world.run(minutes=7)
    assert taking_part(world, begun) == [{2, 3, 4}] * len(taking_part(world, begun))
    assert figure(careful.metrics, "left_out", kind=kind) > 0
    assert figure(careful.metrics, "signed") < figure(careless.metrics, "signed")
    # as soon as they know the time again, both are needed
    careful.panel = careless.panel = right
    with world.fault():
        begun = world.now
        world.reporters = [careful, careless, alive[2]]
        world.run(minutes=2)
    assert {0, 1, 2} in taking_part(world, begun)
    world.reporters = alive
    world.finish(record)
    nothing_refused(world)


def test_reporter_clock_ahead__ten_minutes(running: World, record_property: Record) -> None:
    wrong_clock(running, record_property, 10 * MINUTE, "stale")
    [desk] = running.desks
    assert figure(desk.submitter.metrics, "refused_reports", reason="from the future") > 0


def test_reporter_clock_behind__ten_minutes(running: World, record_property: Record) -> None:
    wrong_clock(running, record_property, -10 * MINUTE, "future")


def test_reporters_late__all_of_them(running: World, record_property: Record) -> None:
    # their exchanges answer 48 s after the minute
    on_time = running.reporters
    with running.fault():
        late: list[Any] = [Skewed(each, -48) for each in on_time]
        running.reporters = late
        running.run(minutes=7)
    running.reporters = on_time
    finish(running, record_property)
