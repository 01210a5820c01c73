"""What a keeper has set out to do, on disk before it is done.

    journal = Journal(Path("keeper.db"), "submitter")
    transaction = journal.plan([Parcel(intents, to, data)], expires_at, now)
    journal.attempt(transaction.id, attempt, sender=..., nonce=..., gas=...)
    ...                                                 # only now it is broadcast
    journal.mined(transaction.id, mined, unmet)
    journal.final(transaction.id, now)

Every method is one committed SQLite transaction (WAL, synced), so that a process may be killed
between any two of them, and what is on disk is true: nothing reaches a node that is not here.

What is final (see `model.State`) is deleted after `KEEP_SECONDS`.

An intent is `open`; `met` or `unmet` by the transaction as it was mined; in the end `done`,
`failed` or `abandoned`. Unless it is `failed` or `abandoned`, the lane cannot plan it again: the
database itself refuses. Lanes that share a file know nothing of each other.
"""

from __future__ import annotations

import contextlib
import fcntl
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from perpool.keeper.database import transaction
from perpool.keeper.model import Intent, Parcel
from perpool.keeper.transactions.fees import Fees
from perpool.keeper.transactions.model import OPEN, Attempt, Mined, State, Transaction

KEEP_SECONDS = 14 * 86_400
"""How long final rows are kept."""

_VERSION = 2
_BUSY_SECONDS = 10
_SCHEMA = """
CREATE TABLE chain (identity TEXT NOT NULL);
CREATE TABLE transactions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    lane TEXT NOT NULL,
    adopted INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL,
    planned_at INTEGER NOT NULL,
    expires_at INTEGER,
    sender TEXT,
    nonce INTEGER,
    gas INTEGER,
    hash TEXT,
    block INTEGER,
    block_hash TEXT,
    success INTEGER,
    reason TEXT NOT NULL DEFAULT '',
    settled_at INTEGER
);
CREATE INDEX by_state ON transactions (lane, state);
CREATE TABLE parcels (
    id INTEGER PRIMARY KEY,
    owner INTEGER NOT NULL REFERENCES transactions (id) ON DELETE CASCADE,
    target TEXT NOT NULL,
    data BLOB NOT NULL
);
CREATE INDEX parcels_of ON parcels (owner);
CREATE TABLE intents (
    id INTEGER PRIMARY KEY,
    owner INTEGER NOT NULL REFERENCES transactions (id) ON DELETE CASCADE,
    parcel INTEGER,
    lane TEXT NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    time INTEGER NOT NULL,
    value TEXT NOT NULL,
    state TEXT NOT NULL
);
CREATE INDEX intents_of ON intents (owner);
CREATE INDEX same_intents ON intents (lane, kind, subject, time);
CREATE UNIQUE INDEX once ON intents (lane, kind, subject, time)
    WHERE state NOT IN ('failed', 'abandoned');
CREATE TABLE attempts (
    id INTEGER PRIMARY KEY,
    owner INTEGER NOT NULL REFERENCES transactions (id) ON DELETE CASCADE,
    hash TEXT NOT NULL,
    raw BLOB NOT NULL,
    max_fee INTEGER NOT NULL,
    tip INTEGER NOT NULL,
    made_at INTEGER NOT NULL,
    answer TEXT NOT NULL
);
CREATE INDEX attempts_of ON attempts (owner);
CREATE INDEX attempts_by_hash ON attempts (hash);
"""


class JournalError(Exception):
    """The journal cannot be read or written; the message says what to do. Nothing may be sent."""


class Repeated(JournalError):  # noqa: N818 - what happened, not what went wrong
    """An intent is under way or done already."""


class Journal:
    """The journal of one lane: one account's transactions, in a file that lanes may share.

    Only one process at a time can open a lane. With `read_only` it can be looked at meanwhile.
    Raises JournalError, here and in every method.
    """

    def __init__(self, path: Path | str, lane: str, *, read_only: bool = False) -> None:
        self.path = Path(path)
        self.lane = lane
        self._mutex = threading.RLock()
        self._lock = None if read_only else self._occupy()
        try:
            self._db = self._open(read_only=read_only)
        except BaseException:
            self._leave()
            raise

    def close(self) -> None:
        """Close the file, and let another process have the lane."""
        with self._mutex:
            self._db.close()
            self._leave()

    def bind(self, chain: str) -> None:
        """Belong to a chain for good. Raises JournalError where it belongs to another."""
        with self._writing() as db:
            row = db.execute("SELECT identity FROM chain").fetchone()
            if row is None:
                db.execute("INSERT INTO chain VALUES (?)", (chain,))
            elif row[0] != chain:
                raise JournalError(self._of_another_chain())

    def check(self, chain: str) -> None:
        """Raises JournalError where it belongs to another chain."""
        with self._reading() as db:
            row = db.execute("SELECT identity FROM chain").fetchone()
        if row is not None and row[0] != chain:
            raise JournalError(self._of_another_chain())

    # -- the life of a transaction --

    def plan(self, parcels: Sequence[Parcel], expires_at: int | None, now: int) -> Transaction:
        """Set out to send these in one transaction. Raises Repeated."""
        with self._writing() as db:
            number = self._insert("planned", expires_at, now)
            for parcel in parcels:
                row = db.execute(
                    "INSERT INTO parcels (owner, target, data) VALUES (?, ?, ?)",
                    (number, parcel.to, parcel.data),
                ).lastrowid
                for each in parcel.intents:
                    if self.knows(each):
                        raise Repeated(
                            f"{each.kind} of {each.subject} at {each.time} is under way or done"
                        )
                    self._insert_intent(number, row, each)
        return self.get(number)

    def adopt(
        self,
        parcel: Parcel,
        attempts: Sequence[Attempt],
        *,
        sender: str,
        nonce: int,
        gas: int,
        expires_at: int | None,
        now: int,
    ) -> Transaction:
        """Enter what another journal's lane has sent. Intents that are here already stay there."""
        with self._writing() as db:
            number = self._insert("sent", expires_at, now)
            db.execute(
                "UPDATE transactions SET adopted = 1, sender = ?, nonce = ?, gas = ? WHERE id = ?",
                (sender, nonce, gas, number),
            )
            row = db.execute(
                "INSERT INTO parcels (owner, target, data) VALUES (?, ?, ?)",
                (number, parcel.to, parcel.data),
            ).lastrowid
            for each in parcel.intents:
                if not self.knows(each):
                    self._insert_intent(number, row, each)
            for attempt in attempts:
                self._insert_attempt(number, attempt)
        return self.get(number)

    def attempt(self, number: int, attempt: Attempt, *, sender: str, nonce: int, gas: int) -> None:
        """A transaction has been signed, and is about to be broadcast.

        The same may have been signed before for one that was abandoned: an empty transaction, or
        the same content again.
        """
        with self._writing() as db:
            db.execute(
                "UPDATE transactions SET state = 'sent', sender = ?, nonce = ?, gas = ? "
                "WHERE id = ?",
                (sender, nonce, gas, number),
            )
            self._insert_attempt(number, attempt)

    def answered(self, attempt_hash: str, answer: str) -> None:
        """What nodes said to an attempt."""
        with self._writing() as db:
            db.execute("UPDATE attempts SET answer = ? WHERE hash = ?", (answer, attempt_hash))

    def mined(
        self, number: int, mined: Mined, unmet: Sequence[Intent] = (), reason: str = ""
    ) -> None:
        """It has a receipt, and has brought about all its intents but `unmet`."""
        with self._writing() as db:
            db.execute(
                "UPDATE transactions SET state = 'mined', hash = ?, block = ?, block_hash = ?, "
                "success = ?, reason = ? WHERE id = ?",
                (mined.hash, mined.block, mined.block_hash, mined.success, reason, number),
            )
            # what cannot be read back is not believed of an announcement
            db.execute(
                "UPDATE OR IGNORE intents SET state = CASE WHEN value = '' AND "
                "(SELECT adopted FROM transactions WHERE id = owner) THEN 'abandoned' ELSE 'met' "
                "END WHERE owner = ?",
                (number,),
            )
            for each in unmet:
                db.execute(
                    "UPDATE intents SET state = 'unmet' "
                    "WHERE owner = ? AND kind = ? AND subject = ? AND time = ?",
                    (number, each.kind, each.subject, each.time),
                )

    def displaced(self, number: int, block: int) -> None:
        """Another transaction has its nonce, as of a block."""
        self._move(number, "displaced", intents="open", block=block)

    def reopened(self, number: int) -> None:
        """A reorganisation undid its receipt, or the one that had displaced it."""
        self._move(number, "sent", intents="open")

    def final(self, number: int, now: int) -> None:
        """What was mined is deep enough to stay."""
        with self._writing() as db:
            db.execute(
                "UPDATE transactions SET settled_at = ?, state = CASE WHEN success AND NOT EXISTS "
                "(SELECT 1 FROM intents WHERE owner = transactions.id AND state = 'unmet') "
                "THEN 'done' ELSE 'failed' END WHERE id = ?",
                (now, number),
            )
            db.execute(
                "UPDATE intents SET state = CASE state WHEN 'met' THEN 'done' ELSE 'failed' END "
                "WHERE owner = ?",
                (number,),
            )
            self._prune(now)

    def abandon(self, number: int, reason: str, now: int) -> None:
        """It will not be mined; its intents may be planned again."""
        self._move(number, "abandoned", intents="abandoned", reason=reason, now=now)

    def refuse(self, number: int, reason: str, now: int) -> None:
        """It would fail, and is not sent; its intents may be planned again."""
        self._move(number, "refused", intents="abandoned", reason=reason, now=now)

    def trim(self, number: int, parcel: Parcel, reason: str, now: int) -> None:
        """Take a parcel that would fail out of a planned transaction; it is refused by itself."""
        with self._writing() as db:
            [row] = db.execute(
                "SELECT id FROM parcels WHERE owner = ? AND target = ? AND data = ?",
                (number, parcel.to, parcel.data),
            ).fetchone()
            refused = self._insert("refused", None, now)
            db.execute(
                "UPDATE transactions SET reason = ?, settled_at = ? WHERE id = ?",
                (reason, now, refused),
            )
            db.execute("UPDATE parcels SET owner = ? WHERE id = ?", (refused, row))
            db.execute(
                "UPDATE intents SET owner = ?, state = 'abandoned' WHERE parcel = ?", (refused, row)
            )

    def revive(self, sender: str, nonce: int) -> list[Transaction]:
        """Reopen what was taken to be final with this nonce or a later one.

        The account has mined fewer transactions than that: a reorganisation went deeper than the
        confirmations that were waited for.
        """
        query = (
            "SELECT id FROM transactions WHERE lane = ? AND sender = ? AND nonce >= ? "
            "AND state IN ('done', 'failed') AND hash IS NOT NULL ORDER BY id"
        )
        with self._reading() as db:
            numbers = [row for [row] in db.execute(query, (self.lane, sender, nonce))]
        for number in numbers:
            self.reopened(number)
        return [self.get(number) for number in numbers]

    # -- reading --

    def open(self) -> list[Transaction]:
        """All that is not final, the oldest first."""
        marks = ", ".join("?" * len(OPEN))
        return self._select(f"lane = ? AND state IN ({marks}) ORDER BY id", (self.lane, *OPEN))

    def get(self, number: int) -> Transaction:
        """A transaction by its number here."""
        [found] = self._select("id = ?", (number,))
        return found

    def recent(self, count: int) -> list[Transaction]:
        """The newest transactions, of whatever state, the newest first."""
        return self._select("lane = ? ORDER BY id DESC LIMIT ?", (self.lane, count))

    def knows(self, intent: Intent) -> bool:
        """Whether it is under way or done, and so must not be planned."""
        with self._reading() as db:
            row = db.execute(
                "SELECT 1 FROM intents WHERE lane = ? AND kind = ? AND subject = ? AND time = ? "
                "AND state NOT IN ('failed', 'abandoned')",
                (self.lane, intent.kind, intent.subject, intent.time),
            ).fetchone()
        return row is not None

    def state(self, intent: Intent) -> str | None:
        """The newest state of an intent, None where it was never planned."""
        with self._reading() as db:
            row = db.execute(
                "SELECT state FROM intents "
                "WHERE lane = ? AND kind = ? AND subject = ? AND time = ? "
                "ORDER BY id DESC LIMIT 1",
                (self.lane, intent.kind, intent.subject, intent.time),
            ).fetchone()
        return None if row is None else str(row[0])

    def has_attempt(self, attempt_hash: str) -> bool:
        """Whether a transaction of this hash is here."""
        with self._reading() as db:
            row = db.execute("SELECT 1 FROM attempts WHERE hash = ?", (attempt_hash,)).fetchone()
        return row is not None

    def highest_fees(self, sender: str, nonce: int) -> Fees | None:
        """The most that was ever offered for a nonce, by whatever content."""
        with self._reading() as db:
            row = db.execute(
                "SELECT max(max_fee), max(tip) FROM attempts JOIN transactions t ON t.id = owner "
                "WHERE sender = ? AND nonce = ?",
                (sender, nonce),
            ).fetchone()
        return None if row[0] is None else Fees(*row)

    # -- the file --

    def _insert(self, state: State, expires_at: int | None, now: int) -> int:
        row = self._db.execute(
            "INSERT INTO transactions (lane, state, planned_at, expires_at) VALUES (?, ?, ?, ?)",
            (self.lane, state, now, expires_at),
        ).lastrowid
        assert row is not None
        return row

    def _insert_intent(self, number: int, parcel: int | None, intent: Intent) -> None:
        self._db.execute(
            "INSERT INTO intents (owner, parcel, lane, kind, subject, time, value, state) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, 'open')",
            (number, parcel, self.lane, intent.kind, intent.subject, intent.time, intent.value),
        )

    def _insert_attempt(self, number: int, attempt: Attempt) -> None:
        fees = attempt.fees
        self._db.execute(
            "INSERT INTO attempts (owner, hash, raw, max_fee, tip, made_at, answer) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                number,
                attempt.hash,
                attempt.raw,
                fees.max_fee,
                fees.tip,
                attempt.made_at,
                attempt.answer,
            ),
        )

    def _move(
        self,
        number: int,
        state: State,
        *,
        intents: str,
        block: int | None = None,
        reason: str = "",
        now: int | None = None,
    ) -> None:
        """Into a state without a receipt."""
        with self._writing() as db:
            db.execute(
                "UPDATE transactions SET state = ?, hash = NULL, block = ?, block_hash = NULL, "
                "success = NULL, reason = ?, settled_at = ? WHERE id = ?",
                (state, block, reason, now, number),
            )
            # one that has failed may have been planned again in the meantime, and stays there
            db.execute("UPDATE OR IGNORE intents SET state = ? WHERE owner = ?", (intents, number))
            if now is not None:
                self._prune(now)

    def _prune(self, now: int) -> None:
        self._db.execute("DELETE FROM transactions WHERE settled_at < ?", (now - KEEP_SECONDS,))

    def _select(self, condition: str, values: Sequence[object]) -> list[Transaction]:
        with self._reading() as db:
            rows = db.execute(f"SELECT * FROM transactions WHERE {condition}", values)  # noqa: S608
            columns = [each[0] for each in rows.description]
            return [self._load(dict(zip(columns, row, strict=True))) for row in rows.fetchall()]

    def _load(self, row: Mapping[str, object]) -> Transaction:
        number = row["id"]
        intents: dict[int, list[Intent]] = {}
        for parcel, *fields in self._db.execute(
            "SELECT parcel, kind, subject, time, value FROM intents WHERE owner = ? ORDER BY id",
            (number,),
        ):
            intents.setdefault(parcel, []).append(Intent(*fields))
        parcels = self._db.execute(
            "SELECT id, target, data FROM parcels WHERE owner = ? ORDER BY id", (number,)
        )
        attempts = self._db.execute(
            "SELECT hash, raw, max_fee, tip, made_at, answer FROM attempts WHERE owner = ? "
            "ORDER BY id",
            (number,),
        )
        has_receipt = row["hash"] is not None
        known = {"id", "state", "planned_at", "expires_at", "sender", "nonce", "gas", "reason"}
        return Transaction(
            **{name: row[name] for name in known},  # type: ignore[arg-type]
            adopted=bool(row["adopted"]),
            mined=Mined(
                str(row["hash"]),
                row["block"],  # type: ignore[arg-type]
                str(row["block_hash"]),
                bool(row["success"]),
            )
            if has_receipt
            else None,
            displaced_at=None if has_receipt else row["block"],  # type: ignore[arg-type]
            parcels=tuple(
                Parcel(tuple(intents.get(each, ())), to, data) for each, to, data in parcels
            ),
            attempts=tuple(
                Attempt(name, raw, Fees(max_fee, tip), made_at, answer)
                for name, raw, max_fee, tip, made_at, answer in attempts
            ),
        )

    def _open(self, *, read_only: bool) -> sqlite3.Connection:
        with self._faults():
            if read_only:
                # quoted, because a path may hold what means something in a URI
                uri = f"{self.path.absolute().as_uri()}?mode=ro"
                return self._connect(uri, uri=True)
            db = self._connect(str(self.path), uri=False)
            try:
                self._prepare(db)
            except BaseException:
                db.close()
                raise
            return db

    def _connect(self, name: str, *, uri: bool) -> sqlite3.Connection:
        return sqlite3.connect(
            name, uri=uri, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )

    def _prepare(self, db: sqlite3.Connection) -> None:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
        [found] = db.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise JournalError(self._damaged(found))
        db.execute("BEGIN IMMEDIATE")
        [version] = db.execute("PRAGMA user_version").fetchone()
        [tables] = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if version == 0 and tables == 0:
            for statement in _SCHEMA.split(";"):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {_VERSION}")
        elif version != _VERSION:
            raise JournalError(
                f"{self.path} is no journal of this version of the keeper ({version}, and this is "
                f"{_VERSION}): wait until the account has nothing waiting to be mined, and name "
                "another file"
            )
        db.execute("COMMIT")

    def _occupy(self) -> IO[str]:
        """A lock that ends with the process, however it ends."""
        path = self.path.with_name(f"{self.path.name}.{self.lane}.lock")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("w")
        except OSError as error:
            raise JournalError(
                f"{self.path} cannot be written ({error.strerror}): the keeper needs a folder of "
                "its own on a local disk"
            ) from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise JournalError(
                f"another keeper is using the lane {self.lane} of {self.path}: stop it first"
            ) from None
        return file

    def _leave(self) -> None:
        if self._lock is not None:
            self._lock.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._mutex, self._faults(), transaction(self._db) as db:
            yield db

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._mutex, self._faults():
            yield self._db

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            said = str(error)
            if "malformed" in said or "not a database" in said:
                raise JournalError(self._damaged(said)) from None
            raise JournalError(
                f"{self.path} cannot be used ({said}): is the disk full, or is it somebody "
                "else's file? Nothing is sent until it can be written"
            ) from None

    def _of_another_chain(self) -> str:
        return (
            f"{self.path} is of another chain: if a local one was started anew, remove the folder "
            f"{self.path.parent}; if not, name another as `state`"
        )

    def _damaged(self, said: str) -> str:
        return (
            f"{self.path} is damaged ({said}): wait until the account has nothing waiting to be "
            "mined, move the file away, and start again"
        )
