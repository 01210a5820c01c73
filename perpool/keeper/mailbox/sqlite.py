"""Mailbox and lease in an SQLite file, for the processes of one machine.

Whoever can write to the file can do anything to it: it is for processes that trust each other.
"""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import timedelta

from perpool.keeper.database import Database
from perpool.keeper.mailbox import (
    LONGEST_BODY,
    LeaseLost,
    LeaseState,
    MailboxError,
    Message,
    check_note,
    mark_of,
    pack,
    unpack,
)

# -- mailbox --

_MAILBOX = (
    """CREATE TABLE IF NOT EXISTS report (
        chain_id INTEGER NOT NULL,
        oracle TEXT NOT NULL,
        reporter TEXT NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (chain_id, oracle, reporter)
    )""",
)


class SqliteMailbox:
    """A `Mailbox` in a file: a row for each reporter.

    A power cut may take the newest reports with it; each reporter puts his up again.
    """

    def __init__(self, path: str, chain_id: int, oracle: str) -> None:
        self.chain_id = chain_id
        self.oracle = oracle
        self.refused = 0
        self._database = Database(path, _MAILBOX, synchronous="NORMAL", error=MailboxError)

    def post(self, messages: Sequence[Message]) -> None:
        reporter, body = pack(messages, self.chain_id)
        if self._body(reporter) == body:
            return
        with self._database.transaction() as database:
            database.execute(
                "INSERT INTO report VALUES (?, ?, ?, ?)"
                " ON CONFLICT DO UPDATE SET body = excluded.body",
                (self.chain_id, self.oracle, reporter, body),
            )

    def read(self, reporter: str, seen: str | None = None) -> tuple[list[Message], str | None]:
        body = self._body(reporter)
        mark = mark_of(body)
        if mark == seen:
            return [], mark
        messages, refused = unpack(body, reporter, self.chain_id)
        self.refused += refused
        return messages, mark

    def close(self) -> None:
        self._database.close()

    def __repr__(self) -> str:
        return f"<SqliteMailbox {self._database.path}, chain {self.chain_id}>"

    def _body(self, reporter: str) -> bytes:
        # it may be anything; what is too long does not leave the database whole
        query = """
            SELECT substr(CAST(body AS BLOB), 1, ?) FROM report
            WHERE chain_id = ? AND oracle = ? AND reporter = ?
        """
        values = (LONGEST_BODY + 1, self.chain_id, self.oracle, reporter)
        with self._database.transaction("DEFERRED") as database:
            row: tuple[bytes] | None = database.execute(query, values).fetchone()
        return row[0] if row else b""


# -- lease --

_LEASE = (
    """CREATE TABLE IF NOT EXISTS lease (
        name TEXT PRIMARY KEY,
        token TEXT NOT NULL,
        holder TEXT NOT NULL,
        expires_at INTEGER NOT NULL,
        ttl INTEGER NOT NULL,
        note TEXT
    ) WITHOUT ROWID""",
)


def uptime_ms() -> int:
    """Milliseconds since the machine started, also those asleep where the system counts them.

    All processes of a machine see the same, containers too, and setting the clock does not move
    it.
    """
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime_ns(clock) // 10**6


class SqliteLease:
    """A `Lease` in one row of a file.

    Time is the machine's uptime, which no change of its clock moves. It starts anew with the
    machine: a lease that claims to run for longer than it was given is from before, and is over.
    """

    def __init__(
        self,
        path: str,
        name: str,
        holder: str,
        ttl: timedelta,
        clock: Callable[[], int] = uptime_ms,
    ) -> None:
        self.name = name
        self.holder = holder
        self._ttl = ttl // timedelta(milliseconds=1)
        self._token = uuid.uuid4().hex
        self._clock = clock
        self._database = Database(path, _LEASE, synchronous="FULL", error=MailboxError)

    def hold(self) -> bool:
        with self._database.transaction() as database:
            now = self._clock()
            current = self._current(database, now)
            if current is not None and current[0] != self._token:
                return False
            database.execute(
                "INSERT INTO lease VALUES (?, ?, ?, ?, ?, NULL) ON CONFLICT DO UPDATE SET"
                " token = excluded.token, holder = excluded.holder,"
                " expires_at = excluded.expires_at, ttl = excluded.ttl",
                (self.name, self._token, self.holder, now + self._ttl, self._ttl),
            )
            return True

    def release(self) -> None:
        with self._database.transaction() as database:
            database.execute(
                "UPDATE lease SET token = '', ttl = 0 WHERE name = ? AND token = ?",
                (self.name, self._token),
            )

    def state(self) -> LeaseState | None:
        with self._database.transaction("DEFERRED") as database:
            current = self._current(database, self._clock())
        if current is None:
            return None
        _, holder, left = current
        return LeaseState(holder, int(time.time() + left / 1000))

    def announce(self, note: str) -> None:
        check_note(note)
        with self._database.transaction() as database:
            current = self._current(database, self._clock())
            if current is None or current[0] != self._token:
                raise LeaseLost(
                    f"the lease {self.name} is not held by {self.holder}: hold it first"
                )
            database.execute("UPDATE lease SET note = ? WHERE name = ?", (note, self.name))

    def note(self) -> str | None:
        with self._database.transaction("DEFERRED") as database:
            found = database.execute("SELECT note FROM lease WHERE name = ?", (self.name,))
            row: tuple[str | None] | None = found.fetchone()
        return row[0] if row else None

    def close(self) -> None:
        self._database.close()

    def __repr__(self) -> str:
        return f"<SqliteLease {self.name} for {self.holder} in {self._database.path}>"

    def _current(self, database: sqlite3.Connection, now: int) -> tuple[str, str, int] | None:
        """Token, holder and milliseconds left of a lease that is not over."""
        row = database.execute(
            "SELECT token, holder, expires_at - ?, ttl FROM lease WHERE name = ?", (now, self.name)
        ).fetchone()
        if row is None:
            return None
        token, holder, left, ttl = row
        return (token, holder, left) if 0 < left <= ttl else None
