"""Learns the accounts of pools from their events, and remembers them across restarts.

    follower = Follower(nodes, {reverse: Leg.REVERSE, forward: Leg.FORWARD}, Path("accounts.db"))
    follower.advance(nodes.head())
    follower.indexes[reverse].liquidatable(moment)

Events only say whom to look at: what an account has and owes is read from the chain, for all
accounts that events touched, at one block that the nodes agree on. So nothing is computed twice,
and an event that is seen twice does no harm.

The file holds every account with the block at which it was read, how far events have been looked
through, and the hashes of the newest blocks that were read at. When those are no longer on the
chain, the newest that still is, is where chain and file parted: what was read after it is read
again, and events are looked through again from there. Everything in the file can be had from the
chain once more, so a file that is lost costs nothing but time.

`AccountFollower` is what all of this is; `Follower` is the one of pools, and has what is of them.

Whenever there are new blocks, the last `TAIL` before them are looked through again, in the same
request. Accounts of events that are new there, or are gone, are read again. So what a node left out
of blocks that it had only just got is found, and so is a reorganisation that no hash has shown.

ASSUMPTIONS. Of events that are older than `TAIL` blocks, nodes that agree have left out none: else
an account stays unknown until its next event. Reading it then makes up for all it has missed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import sqlite3
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar

import structlog

from perpool.abi import load_abi
from perpool.build import Abi
from perpool.chain import Call, ChainError
from perpool.evm.codec import Event
from perpool.keeper.chain.contracts import bind, values
from perpool.keeper.chain.nodes import Head
from perpool.keeper.database import transaction
from perpool.keeper.liquidator.index import Leg, Position, PositionIndex

CONTRACTS = {Leg.REVERSE: "ReversePool", Leg.FORWARD: "ForwardPool"}
SPAN = 2_000
"""Blocks of which events are asked for at once; fewer after a failure."""
TAIL = 64
"""Blocks that are looked through again; half of what is asked for at once where that is less."""
PIECE = 400
"""Accounts that are read at once: however many a span has, no answer takes longer than that."""
CHUNKS = 20
"""Spans that one call of `advance` works through."""
WINDOW = 512
"""Blocks in which it is known where chain and file parted; past that all is read again."""

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


class Reader(Protocol):
    """What is asked of the chain; `nodes.Nodes` is one."""

    @property
    def chain_id(self) -> int: ...

    def block_hash(self, number: int) -> str | None:
        """None where there is no such block yet."""

    def logs(
        self, addresses: Sequence[str], from_block: int, to_block: int
    ) -> list[tuple[int, Event]]:
        """(block number, event) of all that some contracts logged."""

    def read(self, calls: Sequence[Call], head: Head | None = None) -> list[Any]:
        """Values at one block, a Reverted in the place of each call that reverts."""

    def learn(self, abi: Abi) -> None:
        """Let logs be decoded by an ABI."""


class Account(NamedTuple):
    """Somebody in a pool."""

    pool: str
    address: str


Sighting = tuple[int, Event]
"""Block number, event."""


class Block(NamedTuple):
    """One that positions were read at."""

    number: int
    hash: str


@dataclass(frozen=True, slots=True)
class Progress:
    """What a call of `advance` came to."""

    scanned: int
    """The last block whose events have been looked through."""
    behind: int
    """Blocks from there to the chain's newest."""
    read: int = 0
    """Accounts that were read."""


class Index(Protocol):
    """Where the positions of one contract are kept."""

    def __len__(self) -> int: ...

    def put(self, account: str, collateral: int, debt_shares: int, opened_block: int = 0) -> None:
        """What an account has now."""


I = TypeVar("I", bound=Index)  # noqa: E741 - of an index


class AccountFollower(Generic[I]):
    """The positions in some contracts of one chain, as of the newest `advance`.

    Before the block `start` there were none of them. The file is nobody else's until `close`;
    without a path, nothing is written. Raises FollowError; what is wrong with the nodes is raised
    as it comes, and changes nothing.
    """

    contracts: ClassVar[Sequence[str]]
    """Whose events they are."""
    whose: ClassVar[Sequence[str]]
    """Arguments of events that name whose position has changed."""
    needless: ClassVar[str]
    """Positions that need not be kept, in SQL."""

    def __init__(
        self,
        reader: Reader,
        pools: Sequence[str],
        path: Path | None,
        *,
        start: int = 0,
        span: int = SPAN,
        window: int = WINDOW,
        log: Any = None,
    ) -> None:
        self.reader = reader
        self.start = start
        self.window = window
        self.log = log or structlog.get_logger("perpool.keeper.liquidator")
        self._longest_span = self._span = span
        self._recent: set[Sighting] = set()
        """What has been seen in the last `TAIL` blocks; nothing of before a restart."""
        for contract in self.contracts:
            reader.learn(load_abi(contract))
        self._store = _Store(path, reader.chain_id, pools, start, self.needless)
        self._scanned = self._store.scanned()
        self._blocks = self._store.blocks()
        self.indexes = {each: self._index(each, self._store.positions(each)) for each in pools}
        """By address."""

    def _index(self, pool: str, positions: Sequence[Position]) -> I:
        """Of what is known of a contract."""
        raise NotImplementedError

    def _calls(self, account: Account) -> list[Call]:
        """What a position is read by."""
        raise NotImplementedError

    def _position(self, account: Account, answers: Sequence[Any]) -> Position:
        """From the answers to these calls."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the file."""
        self._store.close()

    def advance(self, head: Head, chunks: int = CHUNKS) -> Progress:
        """Look through events up to `head`, or through as many spans of them."""
        common = self._common(head.number)
        if common is None:
            return Progress(self._scanned, 0)
        scanned, recent = self._scanned, self._recent
        doubtful, read = set[Account](), 0
        if self._blocks and common < self._blocks[-1].number:
            scanned = min(scanned, common)
            doubtful = self._store.read_after(common)
            recent = {each for each in recent if each[0] <= common}
            self.log.warning("chain reorganised", common=common, accounts=len(doubtful))
        first = max(self.start, scanned + 1 - min(TAIL, self._span // 2))
        for _ in range(chunks):
            if scanned >= head.number:
                break
            last = min(first + self._span - 1, head.number)
            known = {each for each in recent if each[0] >= first}
            try:
                seen = self._sightings(first, last)
                accounts = doubtful.union(*(self._subjects(event) for _, event in seen ^ known))
                positions = self._positions(accounts, head)
            except ChainError:
                # maybe because these are too many
                self._span = max(1, self._span // 2)
                raise
            self._span = min(2 * self._span, self._longest_span)
            blocks = [*self._anchor(common), Block(head.number, head.hash)]
            if not self._is_there(blocks[-1]):
                # what was read may be of several forks
                break
            self._keep(last, blocks, common, positions)
            recent = {each for each in recent - known | seen if each[0] > last - TAIL}
            self._recent = recent
            read += len(positions)
            scanned, common, doubtful, first = last, head.number, set(), last + 1
            if last < head.number:
                self.log.info("following", scanned=last, head=head.number, accounts=len(positions))
        return Progress(self._scanned, head.number - self._scanned, read)

    def _common(self, height: int) -> int | None:
        """The newest of our blocks that is still there; None while the nodes are behind us."""
        if height < self.start:
            return None
        if not self._blocks:
            return self.start - 1
        visible = [each for each in self._blocks if each.number <= height]
        if self._is_there(visible[-1]):
            return visible[-1].number if len(visible) == len(self._blocks) else None
        same = bisect_left(visible, True, key=lambda each: not self._is_there(each))
        return visible[same - 1].number if same else self.start - 1

    def _anchor(self, common: int) -> list[Block]:
        """The first block of all, where it has to be looked up: it shows another chain as such."""
        if self._blocks and common >= self.start:
            return []
        return [Block(self.start, self.reader.block_hash(self.start) or "")]

    def _is_there(self, block: Block) -> bool:
        return self.reader.block_hash(block.number) == block.hash

    def _sightings(self, first: int, last: int) -> set[Sighting]:
        """Events of these blocks that are about somebody's position."""
        events = self.reader.logs(list(self.indexes), first, last)
        return {each for each in events if self._subjects(each[1])}

    def _positions(self, accounts: Iterable[Account], head: Head) -> list[tuple[str, Position]]:
        """(pool, position) of accounts at a block."""
        known, found = sorted(accounts), []
        for start in range(0, len(known), PIECE):
            piece = known[start : start + PIECE]
            calls = [self._calls(each) for each in piece]
            read = self.reader.read([call for each in calls for call in each], head)
            answers = iter(values(read))
            found += [
                (account.pool, self._position(account, [next(answers) for _ in each]))
                for account, each in zip(piece, calls, strict=True)
            ]
        return found

    def _subjects(self, event: Event) -> set[Account]:
        """Whose positions an event is about."""
        named = (name for name in self.whose if name in event.args._fields)
        return {Account(event.address, event.args[name]) for name in named}

    def _keep(
        self,
        scanned: int,
        blocks: Sequence[Block],
        common: int,
        positions: Sequence[tuple[str, Position]],
    ) -> None:
        """On disk first, so that a crash leaves what is older and true."""
        window = range(blocks[-1].number - self.window, common + 1)
        self._store.keep(scanned, blocks, window, positions)
        self._scanned, self._blocks = scanned, self._store.blocks()
        for pool, each in positions:
            index = self.indexes[pool]
            index.put(each.account, each.collateral, each.debt_shares, each.opened_block)


class Follower(AccountFollower[PositionIndex]):
    """Of the accounts with debt of some pools; `pools` maps addresses to legs."""

    contracts = tuple(CONTRACTS.values())
    whose = ("on_behalf", "borrower")
    needless = "debt_shares = '0'"

    def __init__(
        self, reader: Reader, pools: Mapping[str, Leg], path: Path | None, **options: Any
    ) -> None:
        self.pools = dict(pools)
        super().__init__(reader, list(pools), path, **options)

    def _index(self, pool: str, positions: Sequence[Position]) -> PositionIndex:
        return PositionIndex(self.pools[pool], positions)

    def _calls(self, account: Account) -> list[Call]:
        return [
            bind(CONTRACTS[self.pools[account.pool]], account.pool, "position", account.address)
        ]

    def _position(self, account: Account, answers: Sequence[Any]) -> Position:
        # the reverse pool's answer has no block of opening
        [answer] = answers
        return Position(account.address, *answer[:2], *answer[2:3])


class _Store:
    """The file, or memory. Amounts are text: SQLite's integers end at 2**63."""

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
