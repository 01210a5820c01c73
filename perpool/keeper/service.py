"""The one loop: every role in a thread of its own, ticking until told to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

import structlog

from perpool.keeper.chain.contracts import KeeperError
from perpool.keeper.health import Health
from perpool.keeper.mailbox import MailboxError
from perpool.keeper.metrics import Metrics
from perpool.keeper.transactions.journal import JournalError


class Ended(KeeperError):  # noqa: N818 - what happened, not what went wrong
    """No further tick would do any good, and some would do harm; the message says what to do."""


class Role(Protocol):
    """A part of the keeper's work."""

    @property
    def name(self) -> str: ...

    def tick(self, now: int) -> object:
        """Do what is due at a time, in unix seconds. May raise: it is tried again."""


@dataclass(frozen=True)
class Duty:
    """A role and how often it ticks."""

    role: Role
    every: timedelta


class Service:
    """Runs roles side by side; one that fails or hangs does not hold up the others.

    `guard` is asked before each tick. Where it raises Ended, all roles end.
    """

    def __init__(
        self,
        duties: Sequence[Duty],
        *,
        clock: Callable[[], int] = lambda: int(time.time()),
        metrics: Metrics | None = None,
        health: Health | None = None,
        guard: Callable[[], None] = lambda: None,
        log: Any = None,
    ) -> None:
        self.duties = list(duties)
        self.clock = clock
        self.metrics = metrics or Metrics()
        self.health = health or Health()
        self.guard = guard
        self.log = log or structlog.get_logger("perpool.keeper")
        self._ended: Ended | None = None

    def run(self, stop: threading.Event) -> None:
        """Tick every role until `stop` is set, then let each finish its tick. Raises Ended."""
        threads = [
            threading.Thread(target=self._run, args=(duty, stop), name=duty.role.name)
            for duty in self.duties
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._ended is not None:
            raise self._ended

    def once(self) -> list[tuple[str, str]]:
        """Tick every role once, in order; gives (role, reason) of what failed. Raises Ended."""
        failed = []
        for duty in self.duties:
            reason = self._tick(duty.role)
            if reason is not None:
                failed.append((duty.role.name, reason))
        return failed

    def _run(self, duty: Duty, stop: threading.Event) -> None:
        self.health.expect(duty.role.name, duty.every)
        self.metrics.expect_role(duty.role.name)
        while not stop.is_set():
            started = time.monotonic()
            try:
                self._tick(duty.role)
            except Ended as error:
                self._ended = error
                stop.set()
            stop.wait(max(0.1, duty.every.total_seconds() - (time.monotonic() - started)))

    def _tick(self, role: Role) -> str | None:
        try:
            self.guard()
            role.tick(self.clock())
        except Ended:
            raise
        except Exception as error:
            # whatever it is, the next tick is the remedy; who looks sees it in metric and health
            self.metrics.role_errors.labels(role.name).inc()
            if isinstance(error, JournalError):
                self.health.trouble(f"journal of {role.name}", str(error))
            elif isinstance(error, MailboxError):
                self.metrics.mailbox_errors.inc()
            self.log.error(
                "tick failed", role=role.name, error=str(error), kind=type(error).__name__
            )
            self.log.debug("where it failed", role=role.name, exc_info=True)
            return str(error) or type(error).__name__
        self.metrics.role_ticked.labels(role.name).set_to_current_time()
        self.health.ticked(role.name)
        self.health.trouble(f"journal of {role.name}", None)
        return None
