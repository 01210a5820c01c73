"""What the keeper's files in SQLite have in common.

`transaction` is for who has a connection of his own: journal and list of accounts, which lock their
file and keep it open. `Database` makes its connection anew after an error, and when somebody has
put another file in its place, so that what was repaired while the keeper runs is used at once:
mailbox, lease and reporters' statements.

Files are in WAL mode, so they must be on a local disk: not on NFS or SMB.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

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
    sqlite3.SQLITE_IOERR: "the disk is full or fails: check it, and that it is a local one",
    sqlite3.SQLITE_BUSY: "another process has been writing for too long: find and stop it",
}


@contextlib.contextmanager
def transaction(
    database: sqlite3.Connection, kind: str = "IMMEDIATE"
) -> Iterator[sqlite3.Connection]:
    """All that is done within, or nothing of it. The connection has `isolation_level` None.

    Raises sqlite3.Error.
    """
    database.execute(f"BEGIN {kind}")
    try:
        yield database
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise


class Database:
    """A file, or memory, and the one connection to it. Several threads may use one object.

    `synchronous` is as SQLite has it; `error` is what is raised where the file cannot be used, with
    what to do about it.
    """

    def __init__(
        self,
        path: str,
        schema: tuple[str, ...],
        *,
        synchronous: str,
        error: Callable[[str], Exception],
    ) -> None:
        self.path = MEMORY if path in ("", MEMORY) else str(Path(path).expanduser().absolute())
        self._schema = schema
        self._synchronous = synchronous
        self._error = error
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        with self.transaction():
            pass  # so that a file that cannot be used is noticed now

    @contextlib.contextmanager
    def transaction(self, kind: str = "IMMEDIATE") -> Iterator[sqlite3.Connection]:
        """One transaction, committed at the end unless something is raised.

        "IMMEDIATE" is for writing, "DEFERRED" for reading.
        """
        with self._lock:
            try:
                with transaction(self._connected(), kind) as connection:
                    yield connection
            except sqlite3.Error as error:
                if self.path != MEMORY and _code(error) != sqlite3.SQLITE_BUSY:
                    self.close()
                raise self._error(f"{self.path}: {_advice(error)}") from error

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
            raise self._error(f"{self.path}: there is no folder {folder}: create it")
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


def _code(error: sqlite3.Error) -> int:
    """The primary result code, 0 where the module itself complains."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _advice(error: sqlite3.Error) -> str:
    return _ADVICE.get(_code(error), f"{error}: check the file")
