"""The loop: roles side by side, and what is told of their ticks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta

import pytest

from perpool.keeper.metrics import Metrics
from perpool.keeper.service import Duty, Ended, Service

SOON = timedelta(milliseconds=100)


class Role:
    """Does what a test wants."""

    def __init__(self, name: str, does: Callable[[], object] = lambda: None) -> None:
        self.name = name
        self.does = does

    def tick(self, now: int) -> None:
        self.does()


def fail() -> None:
    raise ValueError("out of luck")


def series(metrics: Metrics, name: str) -> dict[str, float]:
    """A figure's values by role, of those that are there."""
    return {role: each._value.get() for (role,), each in getattr(metrics, name)._metrics.items()}


def test_run__a_role_that_never_ticks_well_can_be_seen() -> None:
    metrics, stop, waits = Metrics(), threading.Event(), threading.Event()
    roles = [Role("hangs", waits.wait), Role("fails", fail)]
    # of another time, as that of a chain that plays history
    service = Service([Duty(each, SOON) for each in roles], clock=lambda: 5, metrics=metrics)
    began = time.time()
    thread = threading.Thread(target=service.run, args=(stop,))
    thread.start()
    try:
        deadline = time.monotonic() + 10
        while series(metrics, "role_errors").get("fails", 0) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        ticked = series(metrics, "role_ticked")
        assert set(ticked) == {"hangs", "fails"}
        assert all(began <= each <= began + 5 for each in ticked.values())
        assert series(metrics, "role_errors")["hangs"] == 0
    finally:
        stop.set()
        waits.set()
        thread.join(10)


def test_once__gives_what_failed() -> None:
    metrics = Metrics()
    service = Service([Duty(Role("a"), SOON), Duty(Role("b", fail), SOON)], metrics=metrics)
    assert service.once() == [("b", "out of luck")]
    assert set(series(metrics, "role_ticked")) == {"a"}
    assert series(metrics, "role_errors") == {"b": 1}


class Guard:
    """Lets so many ticks pass."""

    def __init__(self, ticks: int, error: Exception) -> None:
        self.ticks = ticks
        self.error = error
        self.lock = threading.Lock()

    def __call__(self) -> None:
        with self.lock:
            self.ticks -= 1
            if self.ticks < 0:
                raise self.error


def test_run__all_roles_end_where_no_tick_may_follow() -> None:
    ticked: list[str] = []
    roles = [Role(each, lambda each=each: ticked.append(each)) for each in "ab"]  # type: ignore[misc]
    guard, stop = Guard(4, Ended("started anew")), threading.Event()
    service = Service([Duty(each, SOON) for each in roles], guard=guard)
    began = time.monotonic()
    with pytest.raises(Ended, match="started anew"):
        service.run(stop)
    assert time.monotonic() - began < 10
    assert len(ticked) == 4
    assert stop.is_set()


def test_run__a_guard_that_fails_is_asked_again() -> None:
    ticked, stop = threading.Event(), threading.Event()
    asked: list[int] = []

    def guard() -> None:
        asked.append(0)
        if len(asked) == 1:
            raise ValueError("out of luck")

    def tick() -> None:
        ticked.set()
        stop.set()

    metrics = Metrics()
    service = Service([Duty(Role("a", tick), SOON)], guard=guard, metrics=metrics)
    thread = threading.Thread(target=service.run, args=(stop,))
    thread.start()
    try:
        assert ticked.wait(10)
    finally:
        stop.set()
        thread.join(10)
    assert series(metrics, "role_errors") == {"a": 1}


def test_once__where_no_tick_may_follow() -> None:
    ticked: list[str] = []
    roles = [Role(each, lambda each=each: ticked.append(each)) for each in "ab"]  # type: ignore[misc]
    service = Service([Duty(each, SOON) for each in roles], guard=Guard(1, Ended("anew")))
    with pytest.raises(Ended, match="anew"):
        service.once()
    assert ticked == ["a"]
