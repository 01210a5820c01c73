"""Learns from events who has asked a vault for something, as `chain.follow` does.

A vault keeps requests by controller and lists none. An event only says whom to ask about: what is
pending is read from the vault.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perpool.chain import Call
from perpool.keeper.chain.checkpoint import Account
from perpool.keeper.chain.contracts import bind
from perpool.keeper.chain.follow import AccountFollower
from perpool.keeper.model import Position
from perpool.keeper.rebalancer.decide import Request


class RequestIndex:
    """What is pending in one vault, by controller; the file's two amounts are assets and shares."""

    def __init__(self, positions: Sequence[Position] = ()) -> None:
        self._requests: dict[str, Request] = {}
        for each in positions:
            self.put(each.account, each.collateral, each.debt_shares)

    def __len__(self) -> int:
        return len(self._requests)

    def put(self, account: str, collateral: int, debt_shares: int, opened_block: int = 0) -> None:
        """What a controller waits for now; who waits for nothing is forgotten."""
        self._requests.pop(account, None)
        if collateral or debt_shares:
            self._requests[account] = Request(account, collateral, debt_shares)

    def all(self) -> list[Request]:
        """Of every controller, who was read last at the end."""
        return list(self._requests.values())


class RequestFollower(AccountFollower[RequestIndex]):
    """Of the requests to some vaults."""

    role = "rebalancer"
    contracts = ("CarryVault",)
    whose = ("controller",)
    needless = "collateral = '0' AND debt_shares = '0'"

    def _index(self, pool: str, positions: Sequence[Position]) -> RequestIndex:
        return RequestIndex(positions)

    def _calls(self, account: Account) -> list[Call]:
        names = ("pendingDepositRequest", "pendingRedeemRequest")
        return [bind("CarryVault", account.pool, each, 0, account.address) for each in names]

    def _position(self, account: Account, answers: Sequence[Any]) -> Position:
        assets, shares = answers
        return Position(account.address, assets, shares)
