"""What happens to a lane's transactions, told to the caller, to the log and in figures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import structlog

from perpool.keeper.metrics import Metrics
from perpool.keeper.model import Intent
from perpool.keeper.transactions.model import Transaction

_BAD = ("short of funds", "held", "unmet", "reverted", "refused", "reorganised", "displaced")

Name = Literal[
    "sent",  # signed, journalled and broadcast
    "replaced",  # the same nonce again with higher fees
    "rebroadcast",  # too few nodes had it any more
    "short of funds",  # the account cannot pay for it
    "held",  # it would cost more than the cap
    "landed",  # mined, and all its values read back
    "unmet",  # mined, and some of its values are not there
    "reverted",  # mined, and failed
    "refused",  # it would fail, so it was not sent
    "reorganised",  # mined no longer
    "displaced",  # its nonce was taken
    "abandoned",  # it will not be mined
    "done",  # deep enough to stay
    "failed",  # deep enough to stay, and some of its values are not there
    "adopted",  # taken over from a predecessor
]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a transaction."""

    name: Name
    transaction: int
    """Its number in the journal."""
    intents: tuple[Intent, ...] = ()
    """Those that it is about."""
    hash: str = ""
    reason: str = ""


class Teller:
    """Tells of one lane. What repeats itself is logged and counted once."""

    def __init__(self, lane: str, metrics: Metrics, log: Any = None) -> None:
        self.lane = lane
        self.metrics = metrics
        self.log = log or structlog.get_logger("perpool.keeper.outbox").bind(lane=lane)
        self._last: Event | None = None

    def note(
        self,
        events: list[Event],
        name: Name,
        transaction: Transaction,
        *,
        intents: tuple[Intent, ...] | None = None,
        hash_: str = "",
        reason: str = "",
    ) -> None:
        """Add an event to those for the caller. By default it is about all of the intents."""
        about = transaction.intents if intents is None else intents
        hash_ = hash_ or (transaction.attempts[-1].hash if transaction.attempts else "")
        event = Event(name, transaction.id, about, hash_, reason)
        events.append(event)
        if event == self._last:
            return
        self._last = event
        self.metrics.transactions.labels(self.lane, name).inc()
        log = self.log.warning if name in _BAD else self.log.info
        facts = {"hash": hash_} if hash_ else {}
        if reason:
            facts["reason"] = reason
        log(
            name,
            number=transaction.id,
            intents=[f"{each.kind} {each.subject} {each.time}" for each in about],
            **facts,
        )

    def measure(self, waiting: Iterable[Transaction], now: int, *, held: bool) -> None:
        """What waits to be mined, and whether the cap on fees holds it up."""
        oldest = min((each.planned_at for each in waiting), default=now)
        self.metrics.held.labels(self.lane).set(held)
        self.metrics.in_flight_seconds.labels(self.lane).set(now - oldest)
