"""A step of a machine: a call as plain data, so that a trace can be cut, run again and printed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from perpool.reference.world import Event

LIQUIDATIONS = ("liquidate", "liquidate_by_purchase")
SWAPS = ("open_short", "close_short", "liquidate_by_purchase")


class Violation(AssertionError):  # noqa: N818  (what a test reports, by the invariant's ID)
    """An invariant does not hold."""

    def __init__(self, invariant: str, message: str) -> None:
        self.invariant = invariant
        super().__init__(f"{invariant}: {message}")


def require(holds: bool, invariant: str, message: str) -> None:
    """Raise Violation unless it holds."""
    if not holds:
        raise Violation(invariant, message)


@dataclass(frozen=True)
class Step:
    """`caller` calls `function` of `target` with `args`; accounts are names.

    `inner` is what the puppet does in the middle, `new_block` whether a block begins before. The
    target "world" stands for time, prices and whatever else is outside the protocol. A step that
    `must_succeed` breaks EXT-1 where it is refused.
    """

    rule: str
    target: str
    function: str
    args: tuple[Any, ...] = ()
    caller: str = "world"
    inner: tuple[Step, ...] = ()
    new_block: bool = True
    must_succeed: bool = False

    def __str__(self) -> str:
        args = ", ".join(_short(value) for value in self.args)
        text = f"{self.caller}: {self.target}.{self.function}({args})"
        if self.inner:
            text += " { " + "; ".join(str(step) for step in self.inner) + " }"
        return text if self.new_block else f"{text}  # same block"

    @property
    def functions(self) -> set[str]:
        """Its own and those of the inner steps."""
        return {self.function}.union(*(step.functions for step in self.inner))

    @property
    def accounts(self) -> set[str]:
        """Everybody who is named."""
        named = {value for value in self.args if isinstance(value, str)}
        return ({self.caller} | named).union(*(step.accounts for step in self.inner))

    @property
    def targets(self) -> set[str]:
        """The contracts called by it and its inner steps."""
        return {self.target}.union(*(step.targets for step in self.inner))


def _short(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        if value == 2**256 - 1:
            return "MAX"
        return f"{value:_}"
    return repr(value)


@dataclass
class Outcome:
    """What a step did. `reason` is None for a success."""

    reason: str | None = None
    value: Any = None
    events: Counter[Event] = field(default_factory=Counter)
    notices: Counter[tuple[Any, ...]] = field(default_factory=Counter)

    @property
    def success(self) -> bool:
        return self.reason is None

    def named(self, name: str) -> list[Event]:
        """The events of a name."""
        return [event for event in self.events if event.name == name]
