"""The loop: roles side by side, and what is told of their ticks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta

from perpool.keeper.metrics import Metrics
from perpool.keeper.service import Duty, Service

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
