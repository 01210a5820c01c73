"""A submitter or a reporter in a process of its own, killed at a moment of the test's choice.

Really killed: SIGKILL, nothing is tidied up, and what was not on disk or on its way is gone. It
works on the world's chain, mailbox and journal, and moves the world's time on while it lives.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from perpool.chain import Chain
from perpool.deployment import Record
from tests.chaos.world import Desk, World
from tests.keeper_stage import Stage

MOMENTS = ("plan", "attempt", "announce", "send", "answered", "mined", "final")
"""All that a transaction goes through on its way, in order; "send" is the broadcast."""
REPORTING = ("keep", "sign", "post")
"""The same of a reporter's report."""
STEPS = 20
"""Blocks that a life lasts at most."""


def live_and_die(
    world: World, name: str, moment: str, count: int, endpoint: str | None = None
) -> bool:
    """Have a submitter live from now on until a moment has been there so many times.

    It is on anvil itself, unless a node is given. Gives whether it was killed; else it lived until
    all that was due had become final.
    """
    survived = world.folder / "survived"
    survived.unlink(missing_ok=True)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    stage = world.stage
    place = (stage.anvil.endpoint, str(stage.record.path), str(world.folder), world.now)
    life = (name, endpoint or stage.anvil.endpoint, moment, count)
    child = context.Process(target=_live, args=place + life)
    child.start()
    child.join(60)
    assert child.exitcode == (0 if survived.exists() else -signal.SIGKILL), child.exitcode
    world.now = world.stage.chain.timestamp
    return not survived.exists()


def report_and_die(world: World, number: int, moment: str) -> None:
    """Have a reporter, who hears all exchanges, live through one tick until a moment is there."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    stage = world.stage
    place = (stage.anvil.endpoint, str(stage.record.path), str(world.folder), world.now)
    child = context.Process(target=_report, args=(*place, number, moment))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL, child.exitcode


def _report(chain: str, record: str, folder: str, now: int, number: int, moment: str) -> None:
    world = _world(chain, record, folder, now)
    reporter = world.add_reporter(number, world.plain_panel())
    reporter._begin(world.now)
    reporter._begun = True
    owner: Any = {"keep": reporter.statements, "sign": reporter, "post": reporter.mailbox}[moment]
    name = "_sign" if moment == "sign" else moment
    setattr(owner, name, _deadly(getattr(owner, name), 1))
    reporter.tick(world.now)


def _world(chain: str, record: str, folder: str, now: int) -> World:
    """The test's, as this process has it."""
    anvil: Any = SimpleNamespace(endpoint=chain)
    nobody: Any = None
    stage = Stage(anvil, Chain.connect(chain), Record.read(Path(record)))
    return World(stage, Path(folder), nobody, now=now)


def _live(
    chain: str,
    record: str,
    folder: str,
    now: int,
    name: str,
    endpoint: str,
    moment: str,
    count: int,
) -> None:
    world = _world(chain, record, folder, now)
    desk = world.add_desk(name, endpoints=[endpoint])
    _die_after(desk, moment, count)
    for _ in range(STEPS):
        world.mine()
        desk.tick()
        if desk.errors:
            raise RuntimeError(desk.errors[-1])
        if desk.count("done") and not desk.journal.open():
            break
    world.close()
    Path(folder, "survived").touch()


def _die_after(desk: Desk, moment: str, count: int) -> None:
    if moment == "announce":
        desk.outbox._announce = _deadly(desk.lease.announce, count)
        return
    owner: Any = desk.nodes if moment == "send" else desk.journal
    setattr(owner, moment, _deadly(getattr(owner, moment), count))


def _deadly(function: Callable[..., Any], count: int) -> Callable[..., Any]:
    """The same, and after so many times there is nobody left."""
    passed = 0

    def called(*args: Any, **named: Any) -> Any:
        nonlocal passed
        value = function(*args, **named)
        passed += 1
        if passed == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return value

    return called
