"""The mailbox in a file: what can be wrong with files, and that it goes on once they are right."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from perpool.keeper import database as store
from perpool.keeper.database import Database
from perpool.keeper.mailbox import MailboxError, open_lease, open_mailbox
from perpool.keeper.mailbox.sqlite import SqliteMailbox
from tests.unit.perpool.test_keeper_mailbox import (
    CHAIN,
    ORACLE,
    address,
    in_threads,
    leave,
    message,
    said,
)

NOBODY = 65_534
TTL = timedelta(seconds=30)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mailbox.db"


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """Files' permissions count for root, too."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that anybody may look into and write to."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    yield folder
    folder.chmod(0o777)
    shutil.rmtree(folder)


# -- URLs --


def test_open_mailbox__path_or_url(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    monkeypatch.setenv("HOME", str(path.parent))
    urls = [str(path), f"sqlite://{path}", f"sqlite:///{path}", path.name, f"sqlite://{path.name}"]
    for number, url in enumerate([*urls, f"sqlite://~/{path.name}"]):
        mailbox = open_mailbox(url, CHAIN, ORACLE)
        assert said(mailbox) == ([message(number - 1)] if number else []), url
        mailbox.post([message(number)])
        mailbox.close()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite://:memory:", ":memory:"])
def test_open_mailbox__in_memory(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    mailbox, other = open_mailbox(url, CHAIN, ORACLE), open_mailbox(url, CHAIN, ORACLE)
    mailbox.post([message()])
    assert said(mailbox) == [message()]
    assert said(other) == []
    lease = open_lease(url, "funding", "a", TTL)
    assert lease.hold()
    assert list(tmp_path.iterdir()) == []


def test_open_mailbox__mailbox_and_lease_in_one_file(path: Path) -> None:
    mailbox, lease = (
        open_mailbox(str(path), CHAIN, ORACLE),
        open_lease(str(path), "funding", "a", TTL),
    )
    assert lease.hold()
    mailbox.post([message()])
    assert lease.hold()
    assert said(mailbox) == [message()]
    mailbox.close()
    lease.close()


def test_open_mailbox__in_wal_mode(path: Path) -> None:
    mailbox = open_mailbox(str(path), CHAIN, ORACLE)
    mailbox.post([message()])
    with contextlib.closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        # somebody who reads for long holds up nobody
        database.execute("BEGIN")
        assert database.execute("SELECT count(*) FROM report").fetchone() == (1,)
        mailbox.post([message(2_000)])
    mailbox.close()


def test_open_mailbox__several_make_the_file(tmp_path: Path) -> None:
    """SQLite refuses some of those who switch one file to WAL at once; none of us is."""
    start = threading.Barrier(4, timeout=30)
    failures: list[Exception] = []

    def work() -> None:
        for number in range(60):
            start.wait()
            try:
                open_mailbox(str(tmp_path / f"{number}.db"), CHAIN, ORACLE).close()
            except MailboxError as error:
                failures.append(error)

    in_threads([work] * 4)
    assert failures == []
    for path in tmp_path.glob("*.db"):
        with contextlib.closing(sqlite3.connect(path)) as database:
            assert database.execute("SELECT count(*) FROM report").fetchone() == (0,)


# -- what can be wrong --


def test_open_mailbox__folder_missing(tmp_path: Path) -> None:
    path = tmp_path / "none" / "mailbox.db"
    with pytest.raises(MailboxError, match=f"{path}: there is no folder .*none: create it"):
        open_mailbox(str(path), CHAIN, ORACLE)
    assert not path.parent.exists()


def test_open_mailbox__is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(MailboxError, match="cannot be opened"):
        open_mailbox(str(tmp_path), CHAIN, ORACLE)


def test_open_mailbox__folder_not_ours(public_folder: Path) -> None:
    public_folder.chmod(0o555)
    with unprivileged(), pytest.raises(MailboxError, match="give the keeper's user"):
        open_mailbox(str(public_folder / "mailbox.db"), CHAIN, ORACLE)


def test_post__read_only_file(public_folder: Path) -> None:
    path = public_folder / "mailbox.db"
    open_mailbox(str(path), CHAIN, ORACLE).close()
    path.chmod(0o444)
    with unprivileged():
        mailbox = open_mailbox(str(path), CHAIN, ORACLE)
        with pytest.raises(MailboxError, match="cannot be written: give the keeper's"):
            mailbox.post([message()])
        mailbox.close()


def test_open_mailbox__no_database(path: Path) -> None:
    path.write_text("<html>" * 1_000)
    with pytest.raises(MailboxError, match="is no database: move it away"):
        open_mailbox(str(path), CHAIN, ORACLE)


def test_post__damaged_meanwhile(path: Path) -> None:
    """It says so each time, and goes on by itself once the file has been moved away."""
    mailbox = open_mailbox(str(path), CHAIN, ORACLE)
    for number in range(100):
        mailbox.post([message(reporter=number)])
    mailbox.close()
    damaged = bytearray(path.read_bytes())
    damaged[4_096:] = b"\xa5" * (len(damaged) - 4_096)
    path.write_bytes(damaged)
    for _ in range(2):
        with pytest.raises(MailboxError, match="is damaged: move it away"):
            mailbox.post([message()])
        with pytest.raises(MailboxError, match="is damaged: move it away"):
            said(mailbox)
    path.rename(path.with_suffix(".damaged"))
    mailbox.post([message(7)])
    assert said(mailbox) == [message(7)]
    mailbox.close()


def test_read__repaired_in_place(path: Path) -> None:
    """As by copying a backup over it, which keeps the file's identity."""
    open_mailbox(str(path), CHAIN, ORACLE).close()
    mailbox = open_mailbox(str(path), CHAIN, ORACLE)
    mailbox.post([message()])
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    sound = path.read_bytes()
    with path.open("r+b") as file:
        file.seek(4_096)
        file.write(b"\xa5" * (len(sound) - 4_096))
    with pytest.raises(MailboxError, match="is damaged"):
        said(mailbox)
    with path.open("r+b") as file:
        file.write(sound)
    assert said(mailbox) == [message()]
    mailbox.close()


def test_read__file_replaced(path: Path) -> None:
    """Nobody goes on with a file that has lost its name."""
    reporter, submitter = (open_mailbox(str(path), CHAIN, ORACLE) for _ in range(2))
    reporter.post([message(1)])
    _, mark = submitter.read(address(1))
    for each in path.parent.iterdir():
        each.unlink()
    assert submitter.read(address(1), mark) == ([], None)
    reporter.post([message(1)])
    assert submitter.read(address(1)) == ([message(1)], mark)
    reporter.close()
    submitter.close()


def test_read__folder_gone_for_a_while(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    mailbox = open_mailbox(str(folder / "mailbox.db"), CHAIN, ORACLE)
    mailbox.post([message()])
    folder.rename(tmp_path / "away")
    with pytest.raises(MailboxError, match="there is no folder"):
        said(mailbox)
    (tmp_path / "away").rename(folder)
    assert said(mailbox) == [message()]
    mailbox.close()


def test_post__disk_full(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite's own word for it, which a limit on the file brings about."""
    connected = Database._connected
    pages = 20

    def limited(database: Database) -> sqlite3.Connection:
        connection = connected(database)
        connection.execute(f"PRAGMA max_page_count = {pages}")
        return connection

    monkeypatch.setattr(Database, "_connected", limited)
    mailbox = open_mailbox(str(path), CHAIN, ORACLE)
    posted = 0

    def post_on() -> None:
        nonlocal posted
        while True:
            mailbox.post([message(reporter=posted)])
            posted += 1

    with pytest.raises(MailboxError, match=f"{path}: the disk is full: free space"):
        post_on()
    assert posted > 0
    pages = 1_000
    mailbox.post([message(reporter=posted)])
    assert all(said(mailbox, each) == [message(reporter=each)] for each in range(posted + 1))
    mailbox.close()


def post_many(mailbox: SqliteMailbox) -> None:
    for number in range(1, 1_000):
        mailbox.post([message(reporter=number)])


def test_post__memory_full() -> None:
    """What is in memory is not thrown away over an error."""
    mailbox = SqliteMailbox(":memory:", CHAIN, ORACLE)
    mailbox.post([message(reporter=0)])
    with mailbox._database.transaction() as database:
        database.execute("PRAGMA max_page_count = 8")
    with pytest.raises(MailboxError, match="full"):
        post_many(mailbox)
    assert said(mailbox, 0) == [message(reporter=0)]


def test_post__disk_without_room_for_what_sqlite_shares(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which SQLite does not tell from a disk that fails."""
    mailbox = open_mailbox(str(path), CHAIN, ORACLE)

    def failing(database: Database) -> sqlite3.Connection:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_SHMSIZE
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(Database, "_connected", failing)
        with pytest.raises(MailboxError, match=f"{path}: the disk is full or fails: check it"):
            mailbox.post([message()])
    mailbox.post([message()])
    assert said(mailbox) == [message()]
    mailbox.close()


def test_post__somebody_writes_for_too_long(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "BUSY_SECONDS", 0.3)
    mailbox = open_mailbox(str(path), CHAIN, ORACLE)
    mailbox.post([message(1)])
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        before = time.monotonic()
        with pytest.raises(MailboxError, match="another process has been writing for too long"):
            mailbox.post([message(2)])
        assert 0.3 <= time.monotonic() - before < 3
        assert said(mailbox) == [message(1)]
        other.execute("COMMIT")
    mailbox.post([message(2)])
    assert said(mailbox) == [message(2)]
    mailbox.close()


def test_transaction__undone_when_anything_is_raised(path: Path) -> None:
    database = Database(
        str(path), ("CREATE TABLE IF NOT EXISTS t (x)",), synchronous="NORMAL", error=OSError
    )

    def fail() -> None:
        with database.transaction() as connection:
            connection.execute("INSERT INTO t VALUES (1)")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with database.transaction() as connection:
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)
    database.close()


def test_transaction__raises_what_its_owner_wants(path: Path) -> None:
    path.write_text("no database" * 1_000)
    with pytest.raises(KeyError, match="is no database: move it away"):
        Database(str(path), (), synchronous="FULL", error=KeyError)


@pytest.mark.parametrize("body", ["CAST(x'fffe' AS TEXT)", "zeroblob(20000000)", "'[]'", "1.5"])
def test_read__no_bytes(path: Path, body: str) -> None:
    """What is no bytes, or too long, is malformed and no more."""
    mailbox = open_mailbox(str(path), CHAIN, ORACLE)
    leave(f"sqlite://{path}", b"")
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute(f"UPDATE report SET body = {body}")  # noqa: S608
    before = time.monotonic()
    assert said(mailbox) == []
    assert time.monotonic() - before < 1
    assert mailbox.refused == 1
    mailbox.close()
