"""The file of an `AccountFollower`: accounts, how far events were looked through, and when.

    checkpoint = Checkpoint(path, chain_id, pools, start, "debt_shares = '0'")
    checkpoint.keep(scanned, blocks, window, positions)
    checkpoint.positions(pool)

A pool is any contract that is followed. Amounts are text: SQLite's integers end at 2**63.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from perpool.keeper.database import transaction
from perpool.keeper.model import Position

_VERSION = 1
_SCHEMA = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE blocks (number INTEGER PRIMARY KEY, hash TEXT NOT NULL);
CREATE TABLE positions (
    pool TEXT NOT NULL,
    account TEXT NOT NULL,
    collateral TEXT NOT NULL,
    debt_shares TEXT NOT NULL,
    opened_block INTEGER NOT NULL,
    read_at INTEGER NOT NULL,
    PRIMARY KEY (pool, account)
) WITHOUT ROWID;
CREATE INDEX by_block ON positions (read_at);
"""


class FollowError(Exception):
    """The accounts cannot be followed; the message says what to do."""


class Account(NamedTuple):
    """Somebody in a pool."""

    pool: str
    address: str


class Block(NamedTuple):
    """One that positions were read at."""

    number: int
    hash: str


class Checkpoint:
    """The file, or memory without a path; nobody else's until `close`. Raises FollowError.

    `start` is the block before which there is nothing to look through, `needless` which positions
    need not be kept, in SQL.
    """

    def __init__(
        self, path: Path | None, chain_id: int, pools: Sequence[str], start: int, needless: str
    ) -> None:
        self.path = path
        self.needless = needless
        with contextlib.ExitStack() as opened, self._faults():
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                opened.enter_context(self._occupied(path))
            self._db = sqlite3.connect(
                path or ":memory:", isolation_level=None, check_same_thread=False
            )
            opened.callback(self._db.close)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            with self._writing() as db:
                self._prepare(db, chain_id, pools, start)
            self._opened = opened.pop_all()

    def close(self) -> None:
        self._opened.close()

    @staticmethod
    def _occupied(path: Path) -> IO[str]:
        """A lock that ends with the process, however it ends."""
        file = path.with_name(f"{path.name}.lock").open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise FollowError(
                f"another keeper is using {path}: stop it first, or give this one a `state` of its "
                "own"
            ) from None
        return file

    def scanned(self) -> int:
        return int(self._fact("scanned") or 0)

    def blocks(self) -> list[Block]:
        """Blocks that were read at, in order."""
        with self._faults():
            rows = self._db.execute("SELECT number, hash FROM blocks ORDER BY number")
            return [Block(*row) for row in rows]

    def positions(self, pool: str) -> list[Position]:
        """Of a pool, those that are needed."""
        with self._faults():
            rows = self._db.execute(
                "SELECT account, collateral, debt_shares, opened_block FROM positions "  # noqa: S608
                f"WHERE pool = ? AND NOT ({self.needless})",
                (pool,),
            )
            return [
                Position(account, int(collateral), int(shares), opened)
                for account, collateral, shares, opened in rows
            ]

    def read_after(self, block: int) -> set[Account]:
        """Accounts that were last read later than that."""
        with self._faults():
            rows = self._db.execute(
                "SELECT pool, account FROM positions WHERE read_at > ?", (block,)
            )
            return {Account(*row) for row in rows}

    def keep(
        self,
        scanned: int,
        blocks: Sequence[Block],
        window: range,
        positions: Iterable[tuple[str, Position]],
    ) -> None:
        """All that was learnt at the last of `blocks`, in one step.

        Of the blocks that are here the first stays, and those in the window: what is newer is no
        longer on the chain. What is needless stays as long, since after a
        reorganisation it may be needed.
        """
        with self._writing() as db:
            db.execute(
                "DELETE FROM blocks WHERE number >= ? OR number < ? "
                "AND number > (SELECT min(number) FROM blocks)",
                (window.stop, window.start),
            )
            db.executemany("INSERT OR REPLACE INTO blocks VALUES (?, ?)", blocks)
            db.executemany(
                "INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?, ?, ?)",
                (
                    (
                        pool,
                        each.account,
                        str(each.collateral),
                        str(each.debt_shares),
                        each.opened_block,
                        blocks[-1].number,
                    )
                    for pool, each in positions
                ),
            )
            db.execute(
                f"DELETE FROM positions WHERE ({self.needless}) AND read_at < ?",  # noqa: S608
                (window.start,),
            )
            self._set(db, scanned=scanned)

    def _prepare(
        self, db: sqlite3.Connection, chain_id: int, pools: Sequence[str], start: int
    ) -> None:
        [version] = db.execute("PRAGMA user_version").fetchone()
        [tables] = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if version == 0 and tables == 0:
            for statement in _SCHEMA.split(";"):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {_VERSION}")
            self._set(db, chain=chain_id, pools=[], scanned=start - 1)
        elif version != _VERSION:
            raise FollowError(f"{self.path} is no list of accounts of this version: name another")
        if int(self._fact("chain") or 0) != chain_id:
            raise FollowError(f"{self.path} is of another chain than {chain_id}: name another file")
        known = json.loads(self._fact("pools") or "[]")
        if not set(pools) <= set(known):
            # of new pools nothing has been seen yet
            self._set(db, scanned=start - 1)
        marks = ", ".join("?" * len(pools))
        db.execute(f"DELETE FROM positions WHERE pool NOT IN ({marks})", pools)  # noqa: S608
        self._set(db, pools=sorted(pools))

    def _fact(self, name: str) -> str | None:
        with self._faults():
            row = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
            return None if row is None else str(row[0])

    @staticmethod
    def _set(db: sqlite3.Connection, **facts: Any) -> None:
        rows = [(name, json.dumps(value)) for name, value in facts.items()]
        db.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", rows)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._faults(), transaction(self._db) as db:
            yield db

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            said = str(error)
            advice = "is the disk full, or the folder somebody else's?"
            if "malformed" in said or "not a database" in said:
                advice = "move it away, -wal and -shm too: a new one is filled from the chain"
            raise FollowError(f"{self.path} cannot be used ({said}): {advice}") from None
