"""All of a keeper in one process, round by round: for demos, rehearsals and tests.

A quorum of keys in one place is one key. Where anything has a value, reporters run apart
(`perpool keeper run`, docs/keeper.md).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

from eth_account.signers.local import LocalAccount

from perpool.deployment import Record
from perpool.keeper.chain.contracts import Contracts
from perpool.keeper.chain.nodes import Nodes
from perpool.keeper.mailbox import open_mailbox
from perpool.keeper.model import Action, Policy
from perpool.keeper.reporter import Reporter
from perpool.keeper.signing import KeyAccount
from perpool.keeper.sources import Panel
from perpool.keeper.statements import Statements
from perpool.keeper.submitter import Outcome, Submitter
from perpool.keeper.transactions.journal import Journal
from perpool.keeper.transactions.outbox import Outbox

MINING = timedelta(seconds=10)
"""For a transaction to be mined on a local chain."""


class LocalKeeper:
    """Reporters and submitter over one node, mailbox and statements in memory, and a journal that
    goes.

    `reporters` sign, `payer` has the ether. `clock` gives the time to observe for.
    """

    def __init__(
        self,
        endpoint: str,
        record: Record,
        panel: Panel,
        reporters: Sequence[LocalAccount],
        payer: LocalAccount,
        *,
        clock: Callable[[], int],
        min_venues: int = 1,
        cadence: timedelta = timedelta(seconds=1),
        policy: Policy | None = None,
        log: Any = None,
    ) -> None:
        self.clock = clock
        self._folder = tempfile.TemporaryDirectory(prefix="perpool-keeper-")
        self.nodes = Nodes([endpoint], record.chain_id, clock=clock)
        self.contracts = Contracts.of_record(self.nodes, record)
        self.mailbox = open_mailbox("sqlite://", record.chain_id, self.contracts.funding_oracle)
        self.journal = Journal(Path(self._folder.name) / "journal.db", "submitter")
        self.outbox = Outbox(
            self.nodes,
            self.journal,
            KeyAccount(payer),
            unmet=self.contracts.unmet,
            multicall=record.multicall,
            confirmations=0,
            clock=clock,
            log=log,
        )
        self.reporter = Reporter(
            self.contracts,
            panel,
            reporters,
            self.mailbox,
            Statements(None, "local"),
            min_venues=min_venues,
            cadence=cadence,
            log=log,
        )
        self.submitter = Submitter(
            self.contracts, self.mailbox, self.outbox, policy=policy, log=log
        )

    def round(self) -> Outcome:
        """Observe, sign, and send what is due until nothing is, or `MINING` is over."""
        now = self.clock()
        self.reporter.tick(now)
        done: list[Action] = []
        refused: list[tuple[Action, str]] = []
        while True:
            outcome = self.submitter.tick(now)
            done += outcome.done
            refused += (each for each in outcome.refused if each not in refused)
            self.outbox.settle(MINING)
            if not outcome.done:
                return Outcome(tuple(done), tuple(refused))

    def close(self) -> None:
        """Let go of node, mailbox and journal."""
        self.nodes.close()
        self.mailbox.close()
        self.journal.close()
        self._folder.cleanup()

    def __enter__(self) -> LocalKeeper:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
