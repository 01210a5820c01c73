"""Mailbox and lease in an SQLite file, for the processes of one machine.

The file is in WAL mode, so it must be on a local disk: not on NFS or SMB. Each object has one
connection behind a lock. After an error, and when somebody has put another file in its place, the
connection is made anew, so that what was repaired while the keeper runs is used at once.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

from perpool.keeper.mailbox import (
    KEPT,
    LONGEST_MESSAGE,
    READ_LIMIT,
    LeaseLost,
    LeaseState,
    MailboxError,
    Message,
    check_note,
)

MEMORY = ":memory:"
BUSY_SECONDS = 5.0
"""How long to wait for another process to finish writing."""

_ADVICE = {
    sqlite3.SQLITE_FULL: "the disk is full: free space; it goes on by itself",
    sqlite3.SQLITE_READONLY: "it cannot be written: give the keeper's user the file and its folder",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: give the keeper's user the file and its folder",
    sqlite3.SQLITE_PERM: "it cannot be opened: give the keeper's user the file and its folder",
    sqlite3.SQLITE_CORRUPT: "it is damaged: move it away, -wal and -shm too; a new one is made",
    sqlite3.SQLITE_NOTADB: "it is no database: move it away or name another; a new one is made",
    sqlite3.SQLITE_IOERR: "the disk fails: check it, and that it is a local one",
    sqlite3.SQLITE_BUSY: "another process has been writing for too long: find and stop it",
}


class Database:
    """A file, or memory, and the one connection to it. `synchronous` as SQLite has it."""

    def __init__(self, path: str, schema: tuple[str, ...], synchronous: str) -> None:
        self.path = MEMORY if path in ("", MEMORY) else str(Path(path).expanduser().absolute())
        self._schema = schema
        self._synchronous = synchronous
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        with self.transaction():
            pass  # so that a file that cannot be used is noticed now

    @contextlib.contextmanager
    def transaction(self, kind: str = "IMMEDIATE") -> Iterator[sqlite3.Connection]:
        """One transaction, committed at the end unless something is raised.

        "IMMEDIATE" is for writing, "DEFERRED" for reading. Raises MailboxError.
        """
        with self._lock:
            try:
                connection = self._connected()
                connection.execute(f"BEGIN {kind}")
                yield connection
                connection.execute("COMMIT")
            except sqlite3.Error as error:
                self._undo()
                if self.path != MEMORY and _code(error) != sqlite3.SQLITE_BUSY:
                    self.close()
                raise MailboxError(f"{self.path}: {_advice(error)}") from error
            except BaseException:
                self._undo()
                raise

    def close(self) -> None:
        with self._lock, contextlib.suppress(sqlite3.Error):
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def _connected(self) -> sqlite3.Connection:
        if self._connection is not None and self.path != MEMORY and self._file != self._on_disk():
            self.close()
        if self._connection is None:
            self._open()
        assert self._connection is not None
        return self._connection

    def _open(self) -> None:
        folder = Path(self.path).parent
        if self.path != MEMORY and not folder.is_dir():
            raise MailboxError(f"{self.path}: there is no folder {folder}: create it")
        self._connection = connection = sqlite3.connect(
            self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        self._to_wal(connection)
        connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        connection.execute("BEGIN IMMEDIATE")
        for statement in self._schema:
            connection.execute(statement)
        connection.execute("COMMIT")
        self._file = self._on_disk()

    @staticmethod
    def _to_wal(connection: sqlite3.Connection) -> None:
        """Two that switch a new file at once: SQLite refuses one of them without waiting."""
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            else:
                return

    def _on_disk(self) -> tuple[int, int] | None:
        """Which file has our name now."""
        try:
            status = Path(self.path).stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _undo(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            if self._connection is not None and self._connection.in_transaction:
                self._connection.execute("ROLLBACK")


def _code(error: sqlite3.Error) -> int:
    """The primary result code, 0 where the module itself complains."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _advice(error: sqlite3.Error) -> str:
    return _ADVICE.get(_code(error), f"{error}: check the file")


# -- mailbox --

_MAILBOX = (
    "CREATE TABLE IF NOT EXISTS origin (id TEXT NOT NULL)",
    "INSERT INTO origin SELECT hex(randomblob(8)) WHERE NOT EXISTS (SELECT 1 FROM origin)",
    # AUTOINCREMENT: a number is not used again when its message is gone
    """CREATE TABLE IF NOT EXISTS message (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        chain_id INTEGER NOT NULL,
        observed_at INTEGER NOT NULL,
        body BLOB NOT NULL
    )""",
    "CREATE INDEX IF NOT EXISTS message_by_time ON message (chain_id, observed_at)",
)


class SqliteMailbox:
    """A `Mailbox` in a file. A position is the file's origin, a random name, and a row's number.

    A power cut may take the newest messages with it; each reporter's next round brings others.
    """

    def __init__(self, path: str, chain_id: int) -> None:
        self.chain_id = chain_id
        self.refused = 0
        self._database = Database(path, _MAILBOX, synchronous="NORMAL")

    def post(self, message: Message) -> None:
        body = message.on_chain(self.chain_id).to_json().encode()
        row = (self.chain_id, message.report.observed_at, body)
        with self._database.transaction() as database:
            insert = "INSERT INTO message (chain_id, observed_at, body) VALUES (?, ?, ?)"
            newest = database.execute(insert, row).lastrowid or 0
            database.execute("DELETE FROM message WHERE id <= ?", (newest - KEPT,))

    def read(self, after: str | None) -> tuple[list[Message], str | None]:
        messages = []
        # a body may be anything; what is too long does not leave the database
        query = """
            SELECT id, CASE WHEN length(body) <= ? THEN CAST(body AS BLOB) ELSE x'' END
            FROM message WHERE chain_id = ? AND id > ? ORDER BY id LIMIT ?
        """
        with self._database.transaction("DEFERRED") as database:
            [origin] = database.execute("SELECT id FROM origin").fetchone()
            since = _row_number(database, origin, after)
            rows = database.execute(query, (LONGEST_MESSAGE, self.chain_id, since, READ_LIMIT))
            for number, body in rows:
                after = f"{origin}/{number}"
                try:
                    messages.append(Message.from_json(body, self.chain_id))
                except MailboxError:
                    self.refused += 1
        return messages, after

    def prune(self, before: int) -> None:
        with self._database.transaction() as database:
            database.execute(
                "DELETE FROM message WHERE chain_id = ? AND observed_at < ?",
                (self.chain_id, before),
            )

    def close(self) -> None:
        self._database.close()

    def __repr__(self) -> str:
        return f"<SqliteMailbox {self._database.path}, chain {self.chain_id}>"


def _row_number(database: sqlite3.Connection, origin: str, position: str | None) -> int:
    """The row to read on from: 0 unless the position is of this file and within it."""
    of, _, number = (position or "").partition("/")
    if of != origin or not re.fullmatch(r"[0-9]{1,19}", number):
        return 0
    found = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'message'").fetchone()
    return int(number) if found and int(number) <= found[0] else 0


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
        self._database = Database(path, _LEASE, synchronous="FULL")

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
