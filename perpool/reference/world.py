"""Reference model of what the pools stand in: tokens, prices, operators, adapters, time, the log.

Accounts are names. Amounts are in a token's smallest unit, prices in 1e36, times in seconds.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from perpool.reference.arithmetic import PoolError, refuse
from perpool.reference.oracle import UNKNOWN_VOLATILITY

NOBODY = "nobody"
"""The zero address."""
FACTORY = "factory"
"""What takes the reserve out of a pool for its owner."""


class Event(NamedTuple):
    """What a pool logs: its name, the event's, and the arguments in order of their names."""

    pool: str
    name: str
    args: tuple[tuple[str, Any], ...]


HOLDERS, BORROWERS = 1, 2
"""Whose shares a hook is told of: IHook.Side."""


class Notice(NamedTuple):
    """What a hook is told: what an account has now of the side that changed."""

    hook: str
    pool: str
    account: str
    side: int
    """HOLDERS or BORROWERS"""
    shares: int


@dataclass
class Token:
    """Balances of a token that takes no fee, in its smallest unit."""

    name: str
    decimals: int
    balances: Counter[str] = field(default_factory=Counter)

    def mint(self, account: str, amount: int) -> None:
        """Make some."""
        self.balances[account] += amount

    def move(self, sender: str, receiver: str, amount: int) -> None:
        """Transfer. Raises "insufficient balance" as the tests' tokens do."""
        if self.balances[sender] < amount:
            refuse("insufficient balance")
        self.balances[sender] -= amount
        self.balances[receiver] += amount


@dataclass
class Prices:
    """What the price oracle says, or the reason that it reverts with. Prices in 1e36."""

    lower: int = 10**36
    upper: int = 10**36
    liquidation: int = 10**36
    volatility: int = UNKNOWN_VOLATILITY
    bounds_error: str = ""
    liquidation_error: str = ""
    observed_at: int = 0
    """Of the primary feed's answer."""

    def bounds(self) -> tuple[int, int]:
        """(lower, upper), for new risk."""
        if self.bounds_error:
            raise PoolError(self.bounds_error)
        return self.lower, self.upper

    def for_liquidation(self) -> int:
        """The one price that must not stop."""
        if self.liquidation_error:
            raise PoolError(self.liquidation_error)
        return self.liquidation


class Swapper(Protocol):
    """A swap adapter that has been sent its input; output and rest go to the caller."""

    def swap_exact_in(self, caller: str, token_in: Token, token_out: Token, amount_in: int) -> None:
        """Swap all of the input."""

    def swap_exact_out(
        self, caller: str, token_in: Token, token_out: Token, amount_out: int, amount_in_max: int
    ) -> None:
        """Swap for an exact output."""


class Restorable(Protocol):
    """A part of the world that a failed transaction sets back."""

    def save(self) -> Any:
        """All that a call may change."""

    def restore(self, saved: Any) -> None:
        """Back to what `save` gave."""


class World:
    """Everything outside the pools that they can ask or change."""

    def __init__(self, token: Token, usdt: Token, *, now: int, block_number: int) -> None:
        self.token, self.usdt = token, usdt
        self.now, self.block_number = now, block_number
        self.prices = Prices()
        self.funding = (0, 0)
        """(EMA in WAD, its time) of the funding oracle; to the perp venue its last median."""
        self.operators: set[tuple[str, str]] = set()
        """(account, operator)"""
        self.swappers: dict[str, Swapper] = {}
        """The allowed adapters by name."""
        self.liquidation_swapper = NOBODY
        """What the forward pool buys through by itself."""
        self.standard_hook = NOBODY
        """What both pools have in their code."""
        self.failing_hooks: set[str] = set()
        self.events: list[Event] = []
        """What the pools have logged."""
        self.notices: list[Notice] = []
        """What hooks have been told."""
        self.parts: list[Restorable] = []
        self._depth = 0

    def is_operator(self, account: str, caller: str) -> bool:
        """Whether the caller may act for the account."""
        return caller == account or (account, caller) in self.operators

    def set_operator(self, caller: str, operator: str, approved: bool) -> None:
        """Let an operator act for the caller in both pools, or no longer."""
        self.operators.discard((caller, operator))
        if approved:
            self.operators.add((caller, operator))

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; inner ones are part of the outermost."""
        saved = self._save() if self._depth == 0 else None
        self._depth += 1
        try:
            yield
        except PoolError:
            if saved is not None:
                self._restore(*saved)
            raise
        finally:
            self._depth -= 1

    def attempt(self, call: Callable[[], Any]) -> Any:
        """What a call within a transaction returns; None where it fails and changes nothing."""
        saved = self._save()
        try:
            return call()
        except PoolError:
            self._restore(*saved)
            return None

    def _save(self) -> tuple[Any, ...]:
        balances = self.token.balances.copy(), self.usdt.balances.copy()
        parts = [part.save() for part in self.parts]
        return balances, len(self.events), len(self.notices), parts

    def _restore(self, balances: Any, events: int, notices: int, parts: list[Any]) -> None:
        self.token.balances, self.usdt.balances = balances
        del self.events[events:], self.notices[notices:]
        for part, saved in zip(self.parts, parts, strict=True):
            part.restore(saved)
