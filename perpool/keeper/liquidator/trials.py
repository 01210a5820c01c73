"""What liquidations would bring: tried on a block, apart from each other or in a row.

Each is made by a multicall between two looks at the receiver's balances, in a call that changes
nothing. So what is measured is what arrives, whatever way it comes, with all fees and slippage.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from perpool.chain import Call
from perpool.evm import Reverted
from perpool.evm.codec import EventRegistry, canonical
from perpool.keeper.chain.contracts import bind
from perpool.keeper.chain.nodes import Head
from perpool.keeper.liquidator.profit import Gain
from perpool.keeper.transactions.batches import AGGREGATE, BATCH_CALLS

_REASONS = EventRegistry()


class Reader(Protocol):
    """What is asked of the chain; `nodes.Nodes` is one."""

    def read(self, calls: Sequence[Call], head: Head | None = None) -> list[Any]:
        """Values at one block, a Reverted in the place of each call that reverts."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A call, and the tokens that it may bring."""

    to: str
    data: bytes
    usdt: str
    token: str

    @property
    def tokens(self) -> tuple[str, str]:
        return self.usdt, self.token


@dataclass(frozen=True, slots=True)
class Trials:
    """Tries calls of anybody for a receiver."""

    reader: Reader
    multicall: str
    receiver: str

    def apart(self, attempts: Sequence[Attempt], head: Head) -> list[Gain | str]:
        """What each brings by itself, or the reason that it fails for."""
        rows = [_Row.of([each], self.receiver) for each in attempts]
        answers = self._ask(rows, head)
        return [
            gain for row, answer in zip(rows, answers, strict=True) for gain in row.gains(answer)
        ]

    def in_a_row(self, attempts: Sequence[Attempt], head: Head) -> list[Gain | str]:
        """What each of the first few brings after those before it; as many as fit a multicall."""
        row = _Row.of(attempts, self.receiver)
        [answer] = self._ask([row], head)
        return row.gains(answer)

    def _ask(self, rows: Sequence[_Row], head: Head) -> list[Any]:
        to = canonical(self.multicall)
        calls = [Call(to, AGGREGATE.encode([row.calls]), AGGREGATE) for row in rows]
        return self.reader.read(calls, head)


@dataclass(frozen=True, slots=True)
class _Row:
    """Attempts with looks at the balances that each may change, before and after it."""

    attempts: Sequence[Attempt]
    looks: list[list[str]]
    """Tokens looked at before each attempt: those that none before it has looked at."""
    calls: list[tuple[str, bool, bytes]]

    @classmethod
    def of(cls, attempts: Sequence[Attempt], receiver: str) -> _Row:
        """As many of the first as fit; one always does."""
        looks: list[list[str]] = []
        calls: list[tuple[str, bool, bytes]] = []
        seen: set[str] = set()
        for each in attempts:
            fresh = [token for token in each.tokens if token not in seen]
            more = [
                *(_look(token, receiver) for token in fresh),
                (each.to, True, each.data),
                *(_look(token, receiver) for token in each.tokens),
            ]
            if len(calls) + len(more) > BATCH_CALLS:
                break
            looks.append(fresh)
            calls += more
            seen.update(fresh)
        return cls(attempts[: len(looks)], looks, calls)

    def gains(self, answer: Any) -> list[Gain | str]:
        """By the multicall's results, or its Reverted."""
        if isinstance(answer, Reverted):
            return [str(answer)] * len(self.attempts)
        results = iter(answer)
        balances: dict[str, int] = {}
        gains: list[Gain | str] = []
        for each, fresh in zip(self.attempts, self.looks, strict=True):
            balances |= _balances(fresh, results)
            made = next(results)
            after = _balances(each.tokens, results)
            if made.success:
                usdt, token = (after[name] - balances[name] for name in each.tokens)
                gains.append(Gain(usdt, token))
            else:
                gains.append(_REASONS.reason(made.returnData) or "reverted without a reason")
            balances |= after
        return gains


def _look(token: str, receiver: str) -> tuple[str, bool, bytes]:
    return token, False, bind("TestToken", token, "balanceOf", receiver).data


def _balances(tokens: Sequence[str], results: Iterator[Any]) -> dict[str, int]:
    return {token: int.from_bytes(next(results).returnData, "big") for token in tokens}
