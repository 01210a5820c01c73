"""Learns who has a debt in a pool, as `chain.follow` does.

follower = Follower(nodes, {reverse: Leg.REVERSE, forward: Leg.FORWARD}, Path("accounts.db"))
follower.advance(nodes.head())
follower.indexes[reverse].liquidatable(moment)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from perpool.chain import Call
from perpool.keeper.chain.checkpoint import Account
from perpool.keeper.chain.contracts import bind
from perpool.keeper.chain.follow import AccountFollower, Reader
from perpool.keeper.liquidator.index import Leg, PositionIndex
from perpool.keeper.model import Position

CONTRACTS = {Leg.REVERSE: "ReversePool", Leg.FORWARD: "ForwardPool"}


class Follower(AccountFollower[PositionIndex]):
    """Of the accounts with debt of some pools; `pools` maps addresses to legs."""

    role = "liquidator"
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
