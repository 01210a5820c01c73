"""Exchanges that are slow, down, lying, or say nonsense."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.chaos.world import World

Record = Callable[[str, object], None]


@pytest.fixture
def running(world: World) -> World:
    """Everything at work, and some rounds behind it."""
    world.add_reporters()
    world.add_desk()
    world.run(minutes=6)
    return world


def finish(world: World, record: Record, *, exact: bool = True) -> None:
    """Let it recover, and judge."""
    world.run(minutes=8)
    for name, value in world.verify(exact=exact).items():
        record(name, value)


def test_exchange_down(running: World, record_property: Record) -> None:
    with running.fault(without=["okx"]):
        running.stand_in.fault("okx", "down")
        running.run(minutes=7)
    running.stand_in.mend("okx")
    finish(running, record_property)
