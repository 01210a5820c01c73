"""Learns the accounts of some contracts from their events, and remembers them across restarts.

    class Follower(AccountFollower[PositionIndex]):     # the liquidator's, of pools
        contracts = ("ReversePool", "ForwardPool")
        ...

    follower = Follower(nodes, pools, Path("accounts.db"))
    follower.advance(nodes.head())
    follower.indexes[pool]

Events only say whom to look at: what an account has and owes is read from the chain, for all
accounts that events touched, at one block that the nodes agree on. So nothing is computed twice,
and an event that is seen twice does no harm.

The file (`checkpoint`) holds every account with the block at which it was read, how far events have
been looked through, and the hashes of the newest blocks that were read at. When those are no longer
on the chain, the newest that still is, is where chain and file parted: what was read after it is
read again, and events are looked through again from there. Everything in the file can be had from
the chain once more, so a file that is lost costs nothing but time.

Whenever there are new blocks, the last `TAIL` before them are looked through again, in the same
request. Accounts of events that are new there, or are gone, are read again. So what a node left out
of blocks that it had only just got is found, and so is a reorganisation that no hash has shown.

ASSUMPTIONS. Of events that are older than `TAIL` blocks, nodes that agree have left out none: else
an account stays unknown until its next event. Reading it then makes up for all it has missed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import structlog

from perpool.abi import load_abi
from perpool.build import Abi
from perpool.chain import Call, ChainError
from perpool.evm.codec import Event
from perpool.keeper.chain.checkpoint import Account, Block, Checkpoint
from perpool.keeper.chain.contracts import values
from perpool.keeper.chain.nodes import Head
from perpool.keeper.model import Position

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


Sighting = tuple[int, Event]
"""Block number, event."""


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

    role: ClassVar[str]
    """Which of the keeper's logs."""
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
        self.log = log or structlog.get_logger(f"perpool.keeper.{self.role}")
        self._longest_span = self._span = span
        self._recent: set[Sighting] = set()
        """What has been seen in the last `TAIL` blocks; nothing of before a restart."""
        for contract in self.contracts:
            reader.learn(load_abi(contract))
        self._store = Checkpoint(path, reader.chain_id, pools, start, self.needless)
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
