"""What a lane's transactions are made of. Plain values; no I/O.

The parcels that a role hands over make a `Transaction`, each signature on it is an `Attempt`, and
one of these is `Mined`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from perpool.keeper.model import Intent, Parcel
from perpool.keeper.transactions.fees import Fees


@dataclass(frozen=True, slots=True)
class Attempt:
    """A signed transaction."""

    hash: str
    raw: bytes
    fees: Fees
    made_at: int
    answer: str = ""
    """What nodes last said to it, "" before they were asked; see `nodes.SendAnswer`."""


@dataclass(frozen=True, slots=True)
class Mined:
    """Where and how a transaction was mined."""

    hash: str
    block: int
    block_hash: str
    success: bool


State = Literal["planned", "sent", "mined", "displaced", "done", "failed", "abandoned", "refused"]
"""`planned`, then `sent` from its first attempt on, `mined` once it has a receipt, or `displaced`
when another took its nonce. These are open: a reorganisation may lead back from each. `done`,
`failed`, `abandoned` and `refused`, which would have failed and was never sent, are final."""
OPEN: tuple[State, ...] = ("planned", "sent", "mined", "displaced")


@dataclass(frozen=True)
class Transaction:
    """A nonce's worth of work, and all that was signed for it."""

    id: int
    state: State
    planned_at: int
    expires_at: int | None
    """When its content is of no use any more; None for never."""
    sender: str | None
    """None as long as it is only planned, as are nonce and gas."""
    nonce: int | None
    gas: int | None
    mined: Mined | None
    displaced_at: int | None
    """Block at which another transaction was first seen to have taken the nonce."""
    reason: str
    parcels: tuple[Parcel, ...]
    """None of them: it only takes a nonce."""
    attempts: tuple[Attempt, ...]
    """The newest last."""
    adopted: bool = False
    """Whether it was announced by another process, and not planned by this one."""

    @cached_property
    def intents(self) -> tuple[Intent, ...]:
        return tuple(intent for parcel in self.parcels for intent in parcel.intents)

    @property
    def is_final(self) -> bool:
        return self.state not in OPEN

    def is_expired(self, now: int) -> bool:
        return self.expires_at is not None and now >= self.expires_at
