"""A disk that fills up under the files of one name."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from typing import Any

import pytest


class Disk:
    """Full means that no connection's file may have another page, and that each change takes some,
    as a log of changes does: so that SQLite itself says SQLITE_FULL."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self._connections: list[sqlite3.Connection] = []
        self._is_full = False
        connect = sqlite3.connect
        disk = self

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
                if disk._is_full and re.match(r"\s*(INSERT|UPDATE|DELETE)", sql):
                    super().execute("CREATE TABLE change AS SELECT zeroblob(65536) AS log")
                return super().execute(sql, *parameters)

        def connected(path: Any, *args: Any, **options: Any) -> sqlite3.Connection:
            if not str(path).endswith(name):
                return connect(path, *args, **options)
            connection = connect(path, *args, factory=Connection, **options)
            self._connections.append(connection)
            self._limit(connection)
            return connection

        monkeypatch.setattr(sqlite3, "connect", connected)

    def fill(self) -> None:
        self._set(is_full=True)

    def free(self) -> None:
        self._set(is_full=False)

    def _set(self, *, is_full: bool) -> None:
        self._is_full = is_full
        for connection in self._connections:
            with contextlib.suppress(sqlite3.ProgrammingError):  # it is closed
                self._limit(connection)

    def _limit(self, connection: sqlite3.Connection) -> None:
        # SQLite makes 1 what there is
        connection.execute(f"PRAGMA max_page_count = {1 if self._is_full else 2**30}")
