"""The follower on a scripted chain: first sync, reorganisations, restarts, and what may fail."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from perpool.build import Abi
from perpool.chain import Call, ChainError
from perpool.evm import Event, Reverted, Struct
from perpool.evm.codec import checksum
from perpool.keeper.chain import follow
from perpool.keeper.chain.checkpoint import FollowError
from perpool.keeper.chain.follow import PIECE, TAIL, Progress
from perpool.keeper.chain.nodes import Head
from perpool.keeper.liquidator.follow import CONTRACTS, Follower
from perpool.keeper.liquidator.index import Leg

REVERSE, FORWARD = checksum(b"\x01" * 20), checksum(b"\x02" * 20)
POOLS = {REVERSE: Leg.REVERSE, FORWARD: Leg.FORWARD}
NAMES = [checksum(bytes([number]) * 20) for number in range(0xA0, 0xAC)]
ANNA, BERT, CARL, *_ = NAMES

Positions = dict[tuple[str, str], tuple[int, int]]
"""(pool, account) -> (collateral, debt shares)"""


class ScriptedChain:
    """Blocks that a test writes and takes back; each has its events and everybody's positions."""

    chain_id = 5

    def __init__(self, blocks: int = 1) -> None:
        self.fork = 0
        self.hashes: list[str] = []
        self.events: list[list[Event]] = []
        self.states: list[Positions] = []
        self.learnt = 0
        self.asked: list[tuple[int, int]] = []
        self.reads: list[int] = []
        self.most_blocks = 10**9
        """That a request for logs may cover."""
        self.left_out: set[int] = set()
        """Blocks whose events the node does not give."""
        self.before_read: Callable[[], None] = lambda: None
        for _ in range(blocks):
            self.mine()

    @property
    def height(self) -> int:
        return len(self.hashes) - 1

    @property
    def state(self) -> Positions:
        return self.states[-1]

    def mine(
        self, changes: Mapping[tuple[str, str], tuple[int, int]] | None = None, name: str = "Repay"
    ) -> None:
        """A block in which some positions change."""
        self.hashes.append(f"0x{len(self.hashes)}-{self.fork}")
        self.states.append({**(self.states[-1] if self.states else {}), **(changes or {})})
        whose = "borrower" if name == "Liquidate" else "on_behalf"
        self.events.append(
            [
                Event(name, Struct(("caller", whose, "assets"), (NAMES[-1], account, 1)), pool)
                for pool, account in changes or {}
            ]
        )

    def rewind(self, blocks: int) -> None:
        """Take the newest blocks back; others will follow."""
        self.fork += 1
        for content in (self.hashes, self.events, self.states):
            del content[len(content) - blocks :]

    def swap(self, changes: Mapping[tuple[str, str], tuple[int, int]]) -> None:
        """Another newest block than there was, under the same hash."""
        [hash_] = self.hashes[-1:]
        self.rewind(1)
        self.mine(changes)
        self.hashes[-1] = hash_

    def head(self) -> Head:
        return Head(self.height, self.hashes[-1], 1_000 + 12 * self.height, 0)

    # -- what the follower asks --

    def block_hash(self, number: int) -> str | None:
        return self.hashes[number] if 0 <= number <= self.height else None

    def logs(
        self, addresses: Sequence[str], from_block: int, to_block: int
    ) -> list[tuple[int, Event]]:
        self.asked.append((from_block, to_block))
        if to_block - from_block >= self.most_blocks:
            raise ChainError("query returned more than 10000 results")
        return [
            (number, event)
            for number in range(from_block, min(to_block, self.height) + 1)
            if number not in self.left_out
            for event in self.events[number]
            if event.address in addresses
        ]

    def read(self, calls: Sequence[Call], head: Head | None = None) -> list[Any]:
        self.before_read()
        assert head is not None
        self.reads.append(len(calls))
        state = self.states[min(head.number, self.height)]
        return [self._answer(state, checksum(call.to), checksum(call.data[-20:])) for call in calls]

    def _answer(self, state: Positions, pool: str, account: str) -> Any:
        collateral, shares = state.get((pool, account), (0, 0))
        if pool == REVERSE:
            return collateral, shares
        return Struct(
            ("collateral", "debt_shares", "opened_block", "sold", "proceeds"),
            (collateral, shares, shares % 7, 0, 0),
        )

    def learn(self, abi: Abi) -> None:
        self.learnt += any(entry["type"] == "event" for entry in abi)


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[Any]]:
    with capture_logs() as lines:
        yield lines


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "accounts.db"


@pytest.fixture
def chain() -> ScriptedChain:
    return ScriptedChain()


def follower_of(chain: ScriptedChain, path: Path, **changes: Any) -> Follower:
    return Follower(chain, changes.pop("pools", POOLS), path, **changes)


def known(follower: Follower) -> Positions:
    """What is in the indexes."""
    return {
        (pool, account): (index[account].collateral, index[account].debt_shares)
        for pool, index in follower.indexes.items()
        for account in NAMES
        if account in index
    }


def true_of(chain: ScriptedChain) -> Positions:
    return {key: value for key, value in chain.state.items() if value[1]}


def check(follower: Follower, chain: ScriptedChain) -> None:
    """File and memory are what the chain says."""
    assert known(follower) == true_of(chain)
    assert sum(map(len, follower.indexes.values())) == len(true_of(chain))
    assert all(chain.block_hash(each.number) == each.hash for each in follower._blocks)


# -- following --


def test_advance__learns_whom_events_name(chain: ScriptedChain, path: Path) -> None:
    chain.mine({(REVERSE, ANNA): (100, 60), (FORWARD, ANNA): (7, 3)})
    chain.mine({(REVERSE, BERT): (2**100, 2**127)}, name="Borrow")
    chain.mine({(FORWARD, CARL): (2**95, 2**126)}, name="OpenShort")
    follower = follower_of(chain, path)
    assert chain.learnt == len(CONTRACTS)
    progress = follower.advance(chain.head())
    assert progress == Progress(scanned=3, behind=0, read=4)
    check(follower, chain)
    assert follower.indexes[FORWARD][CARL].opened_block == 2**126 % 7
    assert follower.indexes[REVERSE][BERT].opened_block == 0


def test_advance__reads_only_who_was_touched_since(chain: ScriptedChain, path: Path) -> None:
    chain.mine({(REVERSE, ANNA): (100, 60), (REVERSE, BERT): (100, 50)})
    follower = follower_of(chain, path)
    follower.advance(chain.head())
    chain.mine({(REVERSE, BERT): (100, 0)}, name="Liquidate")
    assert follower.advance(chain.head()) == Progress(scanned=2, behind=0, read=1)
    # with what it has seen already, and does not read again
    assert chain.asked[1:] == [(0, 2)]
    check(follower, chain)
    assert ANNA in follower.indexes[REVERSE]
    # and asks for nothing where there is nothing new
    asked = list(chain.asked)
    assert follower.advance(chain.head()).read == 0
    assert chain.asked == asked


def test_advance__begins_at_the_start(path: Path) -> None:
    chain = ScriptedChain(blocks=50)
    follower = follower_of(chain, path, start=20)
    chain.mine({(REVERSE, ANNA): (1, 1)})
    follower.advance(chain.head())
    assert chain.asked == [(20, 50)]
    check(follower, chain)


def test_advance__before_there_is_a_start(chain: ScriptedChain, path: Path) -> None:
    follower = follower_of(chain, path, start=20)
    assert follower.advance(chain.head()) == Progress(scanned=19, behind=0)
    assert chain.asked == []


def test_advance__in_spans_with_a_bound_a_call(path: Path) -> None:
    chain = ScriptedChain()
    for number in range(1, 41):
        chain.mine({(REVERSE, NAMES[number % 12]): (100, number)})
    follower = follower_of(chain, path, span=10)
    assert follower.advance(chain.head(), chunks=2) == Progress(scanned=19, behind=21, read=19)
    assert follower.advance(chain.head(), chunks=2) == Progress(scanned=34, behind=6, read=15)
    assert follower.advance(chain.head(), chunks=2) == Progress(scanned=40, behind=0, read=6)
    # each call begins with half a span that it knows
    assert chain.asked == [(0, 9), (10, 19), (15, 24), (25, 34), (30, 39), (40, 40)]
    check(follower, chain)


def test_advance__smaller_spans_where_a_node_refuses(path: Path) -> None:
    """And larger ones again once it does not."""
    chain = ScriptedChain(blocks=100)
    chain.most_blocks = 30
    follower = follower_of(chain, path, span=80)
    for _ in range(2):
        with pytest.raises(ChainError):
            follower.advance(chain.head())
    chain.most_blocks = 40
    follower.advance(chain.head())
    assert chain.asked == [(0, 79), (0, 39), (0, 19), (20, 59), (60, 99)]


def test_advance__more_accounts_than_are_read_at_once(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert PIECE == 400
    monkeypatch.setattr(follow, "PIECE", 5)
    chain = ScriptedChain()
    chain.mine({(pool, each): (7, number) for number, each in enumerate(NAMES) for pool in POOLS})
    follower = follower_of(chain, path)
    assert follower.advance(chain.head()) == Progress(scanned=1, behind=0, read=24)
    assert chain.reads == [5, 5, 5, 5, 4]
    check(follower, chain)


def test_advance__smaller_spans_where_accounts_take_too_long(path: Path) -> None:
    chain = ScriptedChain()
    for name in NAMES:
        chain.mine({(REVERSE, name): (100, 1)})
    follower = follower_of(chain, path, span=16)

    def tire() -> None:
        [first, last] = chain.asked[-1]
        if last - first >= 4:
            raise ChainError("no answer within 5 s")

    chain.before_read = tire
    for _ in range(2):
        with pytest.raises(ChainError):
            follower.advance(chain.head())
    chain.before_read = lambda: None
    follower.advance(chain.head())
    assert chain.asked == [(0, 12), (0, 7), (0, 3), (4, 11), (12, 12)]
    check(follower, chain)


def test_advance__accounts_that_cannot_be_read(
    chain: ScriptedChain, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain.mine({(REVERSE, ANNA): (1, 1)})
    follower = follower_of(chain, path)
    with monkeypatch.context() as patch:
        patch.setattr(chain, "read", lambda calls, head: [Reverted("no") for _ in calls])
        with pytest.raises(Reverted):
            follower.advance(chain.head())
    follower.advance(chain.head())
    check(follower, chain)


# -- reorganisations --


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
def test_advance__after_a_reorganisation(path: Path, depth: int) -> None:
    """A debt that was repaid only on the lost fork is back, one that was taken on there is gone."""
    chain = ScriptedChain(blocks=5)
    chain.mine({(REVERSE, ANNA): (100, 60)})
    follower = follower_of(chain, path)
    follower.advance(chain.head())
    for block in range(depth):
        changes = {(REVERSE, ANNA): (100, 0), (FORWARD, BERT): (5, 5)} if block == 0 else {}
        chain.mine(changes)
        follower.advance(chain.head())
    check(follower, chain)
    assert (REVERSE, ANNA) not in known(follower)

    chain.rewind(depth)
    for block in range(depth + 1):
        chain.mine({(REVERSE, CARL): (9, 9)} if block == depth else {})
    assert follower.advance(chain.head()).read == 3
    check(follower, chain)
    assert set(known(follower)) == {(REVERSE, ANNA), (REVERSE, CARL)}


def test_advance__reads_again_only_what_was_read_on_the_lost_fork(path: Path) -> None:
    chain = ScriptedChain()
    follower = follower_of(chain, path)
    for account in NAMES[:6]:
        chain.mine({(REVERSE, account): (100, 60)})
        follower.advance(chain.head())
    chain.rewind(2)
    chain.mine()
    chain.mine()
    chain.mine()
    assert follower.advance(chain.head()).read == 2
    assert chain.asked[-1] == (0, 7)
    check(follower, chain)


def test_advance__a_long_sync_that_a_reorganisation_meets(path: Path) -> None:
    """Accounts of early events were read at a late block, which is lost."""
    chain = ScriptedChain()
    chain.mine({(REVERSE, ANNA): (100, 60)})
    for _ in range(30):
        chain.mine()
    chain.mine({(REVERSE, ANNA): (100, 10)})
    follower = follower_of(chain, path, span=10)
    assert follower.advance(chain.head(), chunks=1).scanned == 9
    assert known(follower) == {(REVERSE, ANNA): (100, 10)}
    chain.rewind(1)
    chain.mine()
    chain.mine()
    # once, in the first of several spans
    assert follower.advance(chain.head()) == Progress(scanned=33, behind=0, read=1)
    assert known(follower) == {(REVERSE, ANNA): (100, 60)}
    check(follower, chain)


def test_advance__a_reorganisation_beyond_the_window(path: Path) -> None:
    chain = ScriptedChain(blocks=3)
    follower = follower_of(chain, path, window=4)
    chain.mine({(REVERSE, BERT): (100, 60)})
    for account in NAMES[3:11]:
        chain.mine({(REVERSE, account): (100, 60), (REVERSE, ANNA): (1, 0)})
        follower.advance(chain.head())
    chain.rewind(8)
    for _ in range(9):
        chain.mine({(REVERSE, CARL): (100, 1)})
    follower.advance(chain.head())
    check(follower, chain)
    assert chain.asked[-1] == (0, 12)


def test_advance__another_chain_under_the_same_number(path: Path) -> None:
    """A local chain that was started anew, and is shorter than the one before."""
    chain = ScriptedChain(blocks=700)
    chain.mine({(REVERSE, ANNA): (100, 60)})
    follower_of(chain, path).advance(chain.head())
    anew = ScriptedChain()
    anew.fork = 7
    anew.rewind(1)
    anew.mine()
    anew.mine({(REVERSE, BERT): (100, 60)})
    follower = follower_of(anew, path)
    follower.advance(anew.head())
    check(follower, anew)


def test_advance__nodes_that_are_behind(path: Path) -> None:
    """Nothing is undone because a node does not have the newest blocks yet."""
    chain = ScriptedChain(blocks=5)
    follower = follower_of(chain, path)
    follower.advance(chain.head())
    chain.mine({(REVERSE, ANNA): (100, 60)})
    follower.advance(chain.head())
    ahead = [list(each) for each in (chain.hashes, chain.events, chain.states)]
    chain.rewind(2)
    assert follower.advance(chain.head()) == Progress(scanned=5, behind=0)
    assert (REVERSE, ANNA) in known(follower)
    chain.hashes, chain.events, chain.states = ahead  # type: ignore[assignment]
    assert follower.advance(chain.head()).read == 0
    check(follower, chain)


def test_advance__a_reorganisation_while_it_reads(path: Path) -> None:
    """Nothing of it is kept, and the next call has it right."""
    chain = ScriptedChain(blocks=3)
    chain.mine({(REVERSE, ANNA): (100, 60)})
    follower = follower_of(chain, path)

    def reorganise() -> None:
        chain.before_read = lambda: None
        chain.rewind(1)
        chain.mine()
        chain.mine({(REVERSE, BERT): (1, 1)})

    chain.before_read = reorganise
    assert follower.advance(chain.head()).read == 0
    assert known(follower) == {}
    follower.advance(chain.head())
    check(follower, chain)


# -- the last blocks once more --


@pytest.mark.parametrize(("blocks", "found"), [(1, True), (TAIL, True), (TAIL + 1, False)])
def test_tail__events_that_a_node_left_out(path: Path, blocks: int, found: bool) -> None:
    """Of so many blocks before the newest that had been looked through."""
    chain = ScriptedChain(blocks=100)
    follower = follower_of(chain, path)
    chain.mine({(REVERSE, ANNA): (100, 60)})
    chain.left_out = {chain.height}
    for _ in range(blocks - 1):
        chain.mine()
    assert follower.advance(chain.head()) == Progress(scanned=chain.height, behind=0)
    chain.left_out.clear()
    chain.mine({(FORWARD, BERT): (5, 5)})
    chain.asked.clear()
    assert follower.advance(chain.head()).read == 1 + found
    # in the one request that there is anyway
    assert chain.asked == [(chain.height - TAIL, chain.height)]
    assert ((REVERSE, ANNA) in known(follower)) == found
    # the next event of an account makes up for what was never seen
    chain.mine({(REVERSE, ANNA): (100, 50)})
    assert follower.advance(chain.head()).read == 1
    check(follower, chain)


def test_tail__what_is_in_it_is_read_once(path: Path) -> None:
    chain = ScriptedChain(blocks=100)
    chain.mine({(REVERSE, each): (100, 60) for each in NAMES})
    follower = follower_of(chain, path)
    assert follower.advance(chain.head()).read == len(NAMES)
    chain.asked.clear()
    for _ in range(TAIL + 2):
        chain.mine()
        assert follower.advance(chain.head()).read == 0
    assert len(chain.asked) == TAIL + 2
    check(follower, chain)
    # what has left it is not kept
    assert not follower._recent


def test_tail__begins_no_earlier_than_the_start(path: Path) -> None:
    chain = ScriptedChain(blocks=50)
    follower = follower_of(chain, path, start=45)
    follower.advance(chain.head())
    chain.mine()
    follower.advance(chain.head())
    assert chain.asked == [(45, 49), (45, 50)]


def test_tail__a_reorganisation_that_no_hash_shows(path: Path) -> None:
    """Who is in the lost block alone, in the new one alone, and in both."""
    chain = ScriptedChain(blocks=5)
    chain.mine({(REVERSE, CARL): (100, 60)})
    chain.mine({(REVERSE, ANNA): (100, 60), (REVERSE, CARL): (100, 70)})
    follower = follower_of(chain, path)
    follower.advance(chain.head())
    chain.swap({(FORWARD, BERT): (5, 5)})
    chain.mine()
    assert follower.advance(chain.head()).read == 3
    check(follower, chain)
    assert set(known(follower)) == {(REVERSE, CARL), (FORWARD, BERT)}
    chain.mine()
    assert follower.advance(chain.head()).read == 0


def test_tail__the_same_event_on_both_forks(path: Path) -> None:
    """In a block of one number, which the new fork has only later."""
    chain = ScriptedChain(blocks=6)
    follower = follower_of(chain, path)
    follower.advance(chain.head())
    chain.mine({(REVERSE, ANNA): (100, 60)})
    follower.advance(chain.head())
    chain.rewind(2)
    chain.mine()
    follower.advance(chain.head())
    check(follower, chain)
    assert known(follower) == {}
    chain.mine({(REVERSE, ANNA): (100, 61)})
    follower.advance(chain.head())
    check(follower, chain)


def test_tail__the_same_event_on_a_fork_beyond_the_window(path: Path) -> None:
    """Of an account that was without debt for so long that it is forgotten."""
    chain = ScriptedChain(blocks=6)
    follower = follower_of(chain, path, window=4)
    follower.advance(chain.head())
    chain.mine({(REVERSE, ANNA): (100, 0)})
    for _ in range(8):
        follower.advance(chain.head())
        chain.mine()
    chain.rewind(9)
    chain.mine({(REVERSE, ANNA): (100, 60)})
    for _ in range(9):
        chain.mine()
    follower.advance(chain.head())
    check(follower, chain)


def test_tail__is_not_done_with_before_it_is_kept(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = ScriptedChain(blocks=5)
    chain.mine({(REVERSE, ANNA): (100, 60)})
    chain.left_out = {chain.height}
    follower = follower_of(chain, path)
    follower.advance(chain.head())
    chain.left_out.clear()
    chain.mine()
    with monkeypatch.context() as patch:
        patch.setattr(chain, "read", lambda calls, head: [Reverted("no") for _ in calls])
        with pytest.raises(Reverted):
            follower.advance(chain.head())
    assert follower.advance(chain.head()).read == 1
    check(follower, chain)


STEPS = st.one_of(
    st.tuples(
        st.just("mine"),
        st.lists(
            st.tuples(st.sampled_from(list(POOLS)), st.sampled_from(NAMES[:5]), st.integers(0, 2)),
            max_size=3,
        ),
    ),
    st.tuples(st.just("rewind"), st.integers(1, 6)),
    st.tuples(st.just("advance"), st.integers(1, 3)),
    st.tuples(st.just("restart"), st.none()),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=30), st.integers(1, 4), st.integers(1, 8))
def test_advance__whatever_the_chain_does(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, Any]], span: int, window: int
) -> None:
    path = tmp_path_factory.mktemp("follow") / "accounts.db"
    chain = ScriptedChain(blocks=2)
    follower = follower_of(chain, path, span=span, window=window)
    for kind, value in steps:
        if kind == "mine":
            chain.mine({(pool, account): (10, shares) for pool, account, shares in value})
        elif kind == "rewind":
            depth = min(value, chain.height)
            chain.rewind(depth)
            for _ in range(depth + 1):
                chain.mine()
        elif kind == "advance":
            follower.advance(chain.head(), chunks=value)
        else:
            follower.close()
            follower = follower_of(chain, path, span=span, window=window)
    while follower.advance(chain.head()).behind:
        pass
    check(follower, chain)
    follower.close()
    again = follower_of(chain, path)
    check(again, chain)
    again.close()


# -- the file --


def test_restart__goes_on_where_it_was(chain: ScriptedChain, path: Path) -> None:
    chain.mine({(REVERSE, ANNA): (100, 60), (FORWARD, BERT): (2**90, 2**100)})
    first = follower_of(chain, path)
    first.advance(chain.head())
    first.close()
    chain.mine({(REVERSE, CARL): (5, 5)})
    chain.asked.clear()
    second = follower_of(chain, path)
    assert set(known(second)) == {(REVERSE, ANNA), (FORWARD, BERT)}
    assert second.indexes[FORWARD][BERT].opened_block == 2**100 % 7
    # once more those that it does not remember to have seen
    assert second.advance(chain.head()).read == 3
    assert chain.asked == [(0, 2)]
    check(second, chain)


@pytest.mark.parametrize("statement", range(1, 8))
def test_restart__after_a_crash_in_the_middle_of_writing(
    chain: ScriptedChain, path: Path, statement: int
) -> None:
    """Whatever statement is the last, what is on disk is whole."""
    chain.mine({(REVERSE, ANNA): (100, 60)})
    follower = follower_of(chain, path)
    follower.advance(chain.head())
    chain.mine({(REVERSE, ANNA): (100, 0), (REVERSE, BERT): (7, 7)})
    store = follower._store
    store._db = Crashing(store._db, statement)  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        follower.advance(chain.head())
    follower.close()
    again = follower_of(chain, path)
    assert set(known(again)) == {(REVERSE, ANNA)}
    assert again.advance(chain.head()).read == 2
    check(again, chain)


class Crashing:
    """A connection that is lost at its nth statement of a writing transaction."""

    in_transaction = False

    def __init__(self, inner: sqlite3.Connection, nth: int) -> None:
        self.inner = inner
        self.left: int | None = None
        self.nth = nth

    def execute(self, statement: str, *rest: Any) -> Any:
        if statement.startswith("BEGIN"):
            self.left = self.nth
        self._count()
        return self.inner.execute(statement, *rest)

    def executemany(self, statement: str, *rest: Any) -> Any:
        self._count()
        return self.inner.executemany(statement, *rest)

    def close(self) -> None:
        self.inner.close()

    def _count(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left == 0:
                self.inner.rollback()
                self.inner.close()
                raise KeyboardInterrupt


def test_restart__with_another_pool(chain: ScriptedChain, path: Path) -> None:
    """Its accounts are learnt from the start; those of one that is gone are forgotten."""
    chain.mine({(REVERSE, ANNA): (100, 60), (FORWARD, BERT): (1, 1)})
    first = follower_of(chain, path, pools={REVERSE: Leg.REVERSE})
    first.advance(chain.head())
    assert set(known(first)) == {(REVERSE, ANNA)}
    first.close()
    second = follower_of(chain, path)
    second.advance(chain.head())
    check(second, chain)
    second.close()
    third = follower_of(chain, path, pools={FORWARD: Leg.FORWARD})
    assert set(known(third)) == {(FORWARD, BERT)}
    third.close()
    fourth = follower_of(chain, path)
    fourth.advance(chain.head())
    check(fourth, chain)


def test_open__in_memory(chain: ScriptedChain, path: Path, tmp_path: Path) -> None:
    """As in a dry run: nothing is written, whatever another does to the file."""
    chain.mine({(REVERSE, ANNA): (100, 60)})
    live = follower_of(chain, path)
    live.advance(chain.head())
    written = sorted(tmp_path.rglob("*"))
    follower = Follower(chain, POOLS, None)
    follower.advance(chain.head())
    check(follower, chain)
    assert sorted(tmp_path.rglob("*")) == written


def test_open__while_another_has_it(chain: ScriptedChain, path: Path) -> None:
    first = follower_of(chain, path)
    with pytest.raises(FollowError, match=r"another keeper is using .*accounts.db: stop it first"):
        follower_of(chain, path)
    first.close()
    follower_of(chain, path).close()


def test_open__a_failure_leaves_it_to_others(chain: ScriptedChain, path: Path) -> None:
    follower_of(chain, path).close()
    chain.chain_id = 6
    with pytest.raises(FollowError) as failure:
        follower_of(chain, path)
    chain.chain_id = 5
    follower_of(chain, path).close()
    assert failure.value


def test_open__in_a_folder_of_somebody_else(chain: ScriptedChain, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FollowError, match="cannot be used"):
        follower_of(chain, tmp_path / "file" / "accounts.db")


def test_open__of_another_chain(chain: ScriptedChain, path: Path) -> None:
    follower_of(chain, path).close()
    chain.chain_id = 6
    with pytest.raises(FollowError, match="another chain than 6: name another file"):
        follower_of(chain, path)


def test_open__of_another_version(chain: ScriptedChain, path: Path) -> None:
    follower_of(chain, path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 9")
    with pytest.raises(FollowError, match="of this version"):
        follower_of(chain, path)


def test_open__damaged(chain: ScriptedChain, path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(FollowError, match="move it away"):
        follower_of(chain, path)


def test_advance__no_room_on_the_disk(chain: ScriptedChain, path: Path) -> None:
    """Nothing is half kept, and it goes on by itself."""
    follower = follower_of(chain, path)
    follower.advance(chain.head())
    chain.mine({(REVERSE, each): (2**100, 2**100) for each in NAMES})
    database = follower._store._db
    [pages] = database.execute("PRAGMA page_count").fetchone()
    database.execute(f"PRAGMA max_page_count = {pages}")
    for number in range(200):
        chain.mine({(REVERSE, checksum(number.to_bytes(20, "big"))): (2**100, 2**100)})
    with pytest.raises(FollowError, match=r"is full.*is the disk full"):
        follower.advance(chain.head())
    assert known(follower) == {}
    database.execute("PRAGMA max_page_count = 1000000")
    follower.advance(chain.head())
    assert len(follower.indexes[REVERSE]) == 212
