"""A keeper that has been put together: it runs on as its `service`, or once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from perpool.keeper.reporter import Reporter
from perpool.keeper.service import Service
from perpool.keeper.submitter import Submitter
from perpool.keeper.transactions.outbox import Outbox

SETTLE = timedelta(minutes=2)
"""For transactions to be mined, where the keeper runs once."""
PASSES = 6
"""Prices, funding and upkeep are transactions of their own; where the keeper runs once, it goes on
until nothing more is due, or this often."""


@dataclass(frozen=True)
class Done:
    """What came of running once."""

    sent: Counter[tuple[str, str]]
    """Intents by kind and state of their transaction, such as ("price", "done")."""
    failed: list[tuple[str, str]]
    """(role, reason) of what failed in the last pass."""


@dataclass
class Keeper:
    """Everything that a configuration asks for."""

    service: Service
    reporter: Reporter | None
    submitter: Submitter | None
    outboxes: dict[str, Outbox]
    """By lane."""

    def once(self) -> Done:
        """Tick the roles until nothing more is due, `PASSES` times at most."""
        first = self._newest()
        failed: list[tuple[str, str]] = []
        for _ in range(PASSES):
            before = self._newest()
            failed = self.service.once() + self._settle()
            if self._newest() == before:
                break
        return Done(self._planned_after(first), failed)

    def _settle(self) -> list[tuple[str, str]]:
        """Wait until what was sent is mined; gives (lane, reason) of what failed."""
        failed = []
        for lane, outbox in self.outboxes.items():
            try:
                outbox.settle(SETTLE)
            except Exception as error:
                failed.append((lane, str(error) or type(error).__name__))
        return failed

    def _newest(self) -> dict[str, int]:
        """Number of each lane's newest transaction."""
        newest = {lane: outbox.journal.recent(1) for lane, outbox in self.outboxes.items()}
        return {lane: found[0].id if found else 0 for lane, found in newest.items()}

    def _planned_after(self, newest: Mapping[str, int]) -> Counter[tuple[str, str]]:
        return Counter(
            (intent.kind, transaction.state)
            for lane, outbox in self.outboxes.items()
            for transaction in outbox.journal.recent(1_000)
            if transaction.id > newest[lane]
            for intent in transaction.intents
        )

    def unheard(self) -> list[str]:
        """Markets of which the reporter could not say all that it should, when it last observed."""
        if self.reporter is None:
            return []
        return [each.market for each in self.reporter.values if self.reporter.missing(each)]

    @property
    def stands_by(self) -> bool:
        """Whether another submitter has the lease."""
        return self.submitter is not None and not self.submitter.active
