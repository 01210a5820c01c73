"""What a role needs that follows contracts and sends what it decides: nodes and a lane."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from perpool.keeper.chain import follow
from perpool.keeper.chain.nodes import Head
from perpool.keeper.model import Parcel


class Nodes(follow.Reader, Protocol):
    """What is asked of the chain; `nodes.Nodes` is one."""

    def head(self) -> Head: ...

    def fees(self, head: Head | None = None) -> tuple[int, int]:
        """(base fee, tip) in wei for one unit of gas."""

    def estimate(self, to: str, data: bytes, sender: str) -> int:
        """Gas. Raises Reverted."""


class Lane(Protocol):
    """Where transactions are handed over; `outbox.Outbox` is one."""

    @property
    def busy(self) -> bool: ...

    def offer(self, parcels: Sequence[Parcel], expires_at: int | None) -> None: ...

    def step(self) -> Iterable[Any]:
        """What has happened, `events.Event`s."""
