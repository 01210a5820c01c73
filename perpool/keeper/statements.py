"""What reporters have undertaken to sign, on disk before they sign it.

    statements = Statements(folder / "statements.db", "31337/0xOracle")
    said = statements.keep(reporter, observed_at, {subject: values, ...})
    ...                                                 # only now it is signed and posted

A reporter who signs two different values for one moment contradicts himself, and counts for
nothing. So there is one statement for a moment, the first, and whoever wants another gets that one:
also after a restart, whatever has become of the mailbox, and also of two processes that share a
file. Each call is one committed SQLite transaction, synced.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from perpool.keeper.database import MEMORY, Database
from perpool.keeper.model import Subject
from perpool.keeper.transactions.journal import JournalError

AGE = 172_800
"""Seconds for which a statement is kept: no contract takes a report that is older than half of it,
and the other half is for clocks."""
KEPT = 240
"""Statements of a reporter that are kept at any age, those written last. So a clock that is far
ahead for a while does not take away what is true of the present."""

_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS statement (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        deployment TEXT NOT NULL,
        reporter TEXT NOT NULL,
        observed_at INTEGER NOT NULL,
        body TEXT NOT NULL,
        UNIQUE (deployment, reporter, observed_at)
    )""",
)

Statement = Mapping[Subject, tuple[int, ...]]
"""What a reporter says of one moment: the values of each report."""


class StatementsError(JournalError):
    """The file cannot be used; the message says what to do. Nothing may be signed."""


class Statements:
    """The file, or memory where `path` is None. `deployment` tells one from others in the file."""

    def __init__(self, path: Path | None, deployment: str) -> None:
        self.deployment = deployment
        self._database = Database(
            str(path or MEMORY), _SCHEMA, synchronous="FULL", error=StatementsError
        )

    def of(self, reporter: str, observed_at: int) -> Statement | None:
        """What he said of a moment, None for nothing yet. Raises StatementsError."""
        with self._database.transaction("DEFERRED") as database:
            row = database.execute(
                "SELECT body FROM statement"
                " WHERE deployment = ? AND reporter = ? AND observed_at = ?",
                (self.deployment, reporter, observed_at),
            ).fetchone()
        return None if row is None else _load(row[0], observed_at)

    def keep(self, reporter: str, observed_at: int, said: Statement) -> Statement:
        """Have him say this of a moment, unless he has said something; gives what he says.

        What is older than that by more than `AGE` is forgotten, but for the last `KEPT`. However
        much is written, nothing that still counts goes. Raises StatementsError.
        """
        key = (self.deployment, reporter, observed_at)
        with self._database.transaction() as database:
            database.execute(
                "INSERT OR IGNORE INTO statement (deployment, reporter, observed_at, body)"
                " VALUES (?, ?, ?, ?)",
                (*key, _dump(said)),
            )
            database.execute(
                "DELETE FROM statement WHERE deployment = ? AND reporter = ? AND observed_at < ?"
                " AND id NOT IN (SELECT id FROM statement WHERE deployment = ? AND reporter = ?"
                " ORDER BY id DESC LIMIT ?)",
                (*key[:2], observed_at - AGE, *key[:2], KEPT),
            )
        found = self.of(reporter, observed_at)
        assert found is not None
        return found

    def close(self) -> None:
        """Let go of the file; used again, it is opened again."""
        self._database.close()


def _dump(said: Statement) -> str:
    return json.dumps(
        [
            [subject.contract, subject.tokens, [hex(each) for each in values]]
            for subject, values in said.items()
        ],
        separators=(",", ":"),
    )


def _load(body: str, observed_at: int) -> Statement:
    return {
        Subject(contract, observed_at, tuple(tokens)): tuple(int(each, 16) for each in values)
        for contract, tokens, values in json.loads(body)
    }
