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
from perpool.keeper.batches import AGGREGATE, BATCH_CALLS
from perpool.keeper.contracts import bind
from perpool.keeper.liquidator.profit import Gain
from perpool.keeper.nodes import Head

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
    """Attempts with looks at all balances before, between and after them."""

    attempts: Sequence[Attempt]
    tokens: list[str]
    calls: list[tuple[str, bool, bytes]]

    @classmethod
    def of(cls, attempts: Sequence[Attempt], receiver: str) -> _Row:
        tokens = sorted({token for each in attempts for token in (each.usdt, each.token)})
        fitting = attempts[: (BATCH_CALLS - len(tokens)) // (len(tokens) + 1)]
        looks = [
            (token, False, bind("TestToken", token, "balanceOf", receiver).data) for token in tokens
        ]
        calls = list(looks)
        for each in fitting:
            calls += [(each.to, True, each.data), *looks]
        return cls(fitting, tokens, calls)

    def gains(self, answer: Any) -> list[Gain | str]:
        """By the multicall's results, or its Reverted."""
        if isinstance(answer, Reverted):
            return [str(answer)] * len(self.attempts)
        results = iter(answer)
        before = self._balances(results)
        gains: list[Gain | str] = []
        for each in self.attempts:
            made = next(results)
            after = self._balances(results)
            if made.success:
                usdt, token = (after[name] - before[name] for name in (each.usdt, each.token))
                gains.append(Gain(usdt, token))
            else:
                gains.append(_REASONS.reason(made.returnData) or "reverted without a reason")
            before = after
        return gains

    def _balances(self, results: Iterator[Any]) -> dict[str, int]:
        return {token: int.from_bytes(next(results).returnData, "big") for token in self.tokens}
