"""Who has asked a vault for something, learnt from events on a scripted chain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from perpool.chain import Call
from perpool.evm import Event, Struct
from perpool.evm.codec import checksum
from perpool.keeper.chain.follow import WINDOW
from perpool.keeper.chain.nodes import Head
from perpool.keeper.rebalancer.decide import Request
from perpool.keeper.rebalancer.requests import RequestFollower
from tests.unit.perpool.test_keeper_liquidator_follow import ANNA, BERT, CARL, ScriptedChain

VAULT, OTHER = checksum(b"\x01" * 20), checksum(b"\x02" * 20)


class VaultChain(ScriptedChain):
    """What each controller waits for is (assets, shares), by vault and controller."""

    def mine(
        self,
        changes: Mapping[tuple[str, str], tuple[int, int]] | None = None,
        name: str = "DepositRequest",
    ) -> None:
        super().mine(changes, name)
        self.events[-1] = [
            Event(name, Struct(("controller", "assets"), (account, 1)), vault)
            for vault, account in changes or {}
        ]

    def read(self, calls: Sequence[Call], head: Head | None = None) -> list[Any]:
        assert head is not None
        state = self.states[min(head.number, self.height)]
        answers = []
        for call in calls:
            assert call.function is not None
            pending = state.get((checksum(call.to), checksum(call.data[-20:])), (0, 0))
            answers.append(pending[call.function.name == "pendingRedeemRequest"])
        return answers


@pytest.fixture
def chain() -> VaultChain:
    return VaultChain()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "requests.db"


def start(chain: VaultChain, path: Path) -> RequestFollower:
    return RequestFollower(chain, [VAULT, OTHER], path)


def known(follower: RequestFollower) -> dict[str, set[Request]]:
    return {vault: set(index.all()) for vault, index in follower.indexes.items()}


def test_requests__asked_added_to_and_settled(chain: VaultChain, path: Path) -> None:
    follower = start(chain, path)
    chain.mine({(VAULT, ANNA): (5, 0), (OTHER, BERT): (0, 7)})
    follower.advance(chain.head())
    assert known(follower) == {VAULT: {Request(ANNA, 5, 0)}, OTHER: {Request(BERT, 0, 7)}}
    chain.mine({(VAULT, ANNA): (5, 2**200)}, name="RedeemRequest")
    follower.advance(chain.head())
    assert known(follower)[VAULT] == {Request(ANNA, 5, 2**200)}
    chain.mine({(VAULT, ANNA): (0, 2**200)}, name="DepositSettled")
    chain.mine({(OTHER, BERT): (0, 0)}, name="RedeemSettled")
    follower.advance(chain.head())
    assert known(follower) == {VAULT: {Request(ANNA, 0, 2**200)}, OTHER: set()}


def test_requests__remembered_where_there_is_nothing_to_redeem(
    chain: VaultChain, path: Path
) -> None:
    """A deposit alone is kept in the file, long after its block; who waits for nothing is not."""
    follower = start(chain, path)
    chain.mine({(VAULT, ANNA): (5, 0), (VAULT, BERT): (6, 0)})
    follower.advance(chain.head())
    chain.mine({(VAULT, BERT): (0, 0)}, name="RequestCancelled")
    follower.advance(chain.head())
    for _ in range(WINDOW + 2):
        chain.mine()
    follower.advance(chain.head())
    follower.close()
    follower = start(chain, path)
    assert known(follower)[VAULT] == {Request(ANNA, 5, 0)}
    rows = follower._store._db.execute("SELECT account FROM positions").fetchall()
    assert rows == [(ANNA,)]


def test_requests__of_a_block_that_is_gone(chain: VaultChain, path: Path) -> None:
    follower = start(chain, path)
    chain.mine()
    follower.advance(chain.head())
    chain.mine({(VAULT, ANNA): (5, 0)})
    follower.advance(chain.head())
    chain.rewind(1)
    chain.mine({(VAULT, CARL): (9, 0)})
    chain.mine()
    follower.advance(chain.head())
    assert known(follower)[VAULT] == {Request(CARL, 9, 0)}


def test_requests__logged_by_the_rebalancer(
    chain: VaultChain, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named: list[str] = []
    monkeypatch.setattr("perpool.keeper.chain.follow.structlog.get_logger", named.append)
    start(chain, path)
    assert named == ["perpool.keeper.rebalancer"]
