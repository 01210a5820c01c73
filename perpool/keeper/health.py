"""Whether the keeper is well, and why not.

    health = Health()
    health.expect("submitter", timedelta(seconds=5))
    health.ticked("submitter")
    health.check(now)                                   # reasons why it is not well, none if it is

Fed by the roles and read by `operation/server.py`; it does no I/O.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta

from perpool.keeper.metrics import Metrics
from perpool.keeper.model import MarketState, Policy


@dataclass
class _Beat:
    every: float
    newest: float


class Health:
    """Whether everything that should happen does. Fed by roles, asked by `/healthz`; never blocks.

    `grace` is how long after its heartbeat a feed counts as overdue; `periods` how many of its
    periods a role may go without a good tick, at least `patience`. Feeds are of the keeper's time,
    which may be that of a chain that plays history; roles are of this machine's.
    """

    def __init__(
        self,
        *,
        grace: timedelta = timedelta(minutes=10),
        periods: int = 5,
        patience: timedelta = timedelta(minutes=2),
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self.grace = int(grace.total_seconds())
        self.periods = periods
        self.patience = patience.total_seconds()
        self.steady = steady
        self._lock = threading.Lock()
        self._roles: dict[str, _Beat] = {}
        self._feeds: dict[tuple[str, str], tuple[int, int]] = {}
        self._troubles: dict[str, str] = {}

    def expect(self, role: str, every: timedelta) -> None:
        """A role has begun, and is to tick so often."""
        with self._lock:
            self._roles[role] = _Beat(every.total_seconds(), self.steady())

    def ticked(self, role: str) -> None:
        """A role has done its tick well."""
        with self._lock:
            if role in self._roles:
                self._roles[role].newest = self.steady()

    def feed(self, feed: str, market: str, observed_at: int, heartbeat: timedelta) -> None:
        """The newest value on chain is of `observed_at`, 0 for none, and is due every heartbeat."""
        with self._lock:
            self._feeds[feed, market] = (observed_at, int(heartbeat.total_seconds()))

    def trouble(self, part: str, reason: str | None) -> None:
        """What is wrong with a part, such as "nodes", "journal" or "lease"; None when it is well.

        The reason is shown to whoever can reach `/healthz`.
        """
        with self._lock:
            if reason is None:
                self._troubles.pop(part, None)
            else:
                self._troubles[part] = reason

    def check(self, now: int) -> list[str]:
        """Reasons why the keeper is not well, none if it is. `now` is the keeper's time."""
        with self._lock:
            return [*self._stuck(), *self._overdue(now), *self._troubled()]

    def _stuck(self) -> list[str]:
        steady = self.steady()
        return [
            f"role {role}: no good tick for {steady - beat.newest:.0f} s, due every "
            f"{beat.every:g} s"
            for role, beat in sorted(self._roles.items())
            if steady - beat.newest > max(self.periods * beat.every, self.patience)
        ]

    def _overdue(self, now: int) -> list[str]:
        reasons = []
        for (feed, market), (observed_at, heartbeat) in sorted(self._feeds.items()):
            if observed_at == 0:
                reasons.append(f"{feed} of {market}: never reported")
            elif now - observed_at > heartbeat + self.grace:
                reasons.append(
                    f"{feed} of {market}: {now - observed_at} s old, due every {heartbeat} s"
                )
        return reasons

    def _troubled(self) -> list[str]:
        return [f"{part}: {reason}" for part, reason in sorted(self._troubles.items())]


def publish_feeds(
    states: Iterable[MarketState], policy: Policy, metrics: Metrics, health: Health
) -> None:
    """Tell of when all feeds were observed, and of when they are due."""
    for state in states:
        times = {"funding": state.funding.observed_at}
        if state.price is not None:
            times["price"] = state.price.observed_at
        for feed, observed_at in times.items():
            heartbeat = policy.heartbeat(feed)
            metrics.feed_observed.labels(feed, state.market).set(observed_at)
            metrics.feed_heartbeat.labels(feed).set(heartbeat.total_seconds())
            health.feed(feed, state.market, observed_at, heartbeat)
