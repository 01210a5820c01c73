"""The pure part: peers' figures, ratios and bars, and the comparison with a snapshot. No chain."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

PEERS_FILE = Path(__file__).parent / "peers.json"

MEAN_RATIO = 0.85
"""Most that the geometric mean of ours / best peer may be."""
HOOK_GAS = 200
"""Most that a hook may cost an operation while none is attached."""
STREAM_GAS = 16_000
"""Most that a reward stream may cost an operation of an account that had shares before."""
SUBMIT_GAS_PER_TOKEN = 14_000
"""Most that a funding round of 5 reporters and 20 tokens may cost a token."""
TOLERANCE = 0.005
"""A rise of an operation's gas above this part of it fails the check."""

PULLS = frozenset({"deposit_repeat", "supply_collateral_repeat", "repay_partial", "repay_full"})
PUSHES = frozenset(
    {"borrow_repeat", "withdraw_collateral_with_debt", "withdraw_partial", "redeem_full"}
)


@dataclass(frozen=True)
class Peers:
    """What other protocols' operations cost, from peers.json."""

    about: str
    names: Mapping[str, str]
    operations: Mapping[str, Mapping[str, int]]
    """Operation -> peer -> gas."""
    floor: Mapping[str, int]

    @classmethod
    def load(cls, path: Path = PEERS_FILE) -> Peers:
        """Read the figures; "best" in the file is not trusted but computed."""
        data = json.loads(path.read_text())
        operations = {
            name: {peer: int(gas) for peer, gas in row.items() if not peer.startswith("best")}
            for name, row in data["operations"].items()
        }
        floor = {name: gas for name, gas in data["floor"].items() if name != "note"}
        return cls(data["about"], data["peers"], operations, floor)

    def best(self, operation: str) -> int:
        """The cheapest peer's gas."""
        return min(self.operations[operation].values())

    def floor_of(self, operation: str) -> int | None:
        """What the operation could not be below: a user's slot and one transfer of a token."""
        if operation in PULLS:
            return self.floor["pull_repeat"]
        return self.floor["push_repeat"] if operation in PUSHES else None


@dataclass(frozen=True)
class Bar:
    """Something to reach."""

    name: str
    value: float
    limit: float

    @property
    def reached(self) -> bool:
        return self.value <= self.limit


@dataclass(frozen=True)
class Comparison:
    """Our gas beside the peers'. Raises KeyError when an operation was not measured."""

    peers: Peers
    ours: Mapping[str, int]
    """Every operation of the peers -> gas."""

    @cached_property
    def ratios(self) -> dict[str, float]:
        """Operation -> ours / best peer."""
        return {name: self.ours[name] / self.peers.best(name) for name in self.peers.operations}

    @property
    def mean(self) -> float:
        """Geometric mean of the ratios."""
        return geometric_mean(self.ratios)

    def bars(
        self, hook: Mapping[str, int], stream: Mapping[str, int], submit_per_token: float
    ) -> list[Bar]:
        """All that has to be reached.

        `hook` is what it costs each operation with none attached, `stream` what a reward stream
        costs it; empty where they were not measured.
        """
        extras = (
            ("a hook where none is attached", hook, HOOK_GAS),
            ("a reward stream", stream, STREAM_GAS),
        )
        return [
            *(
                Bar(f"{name} against the best peer's", self.ours[name], self.peers.best(name))
                for name in self.ratios
            ),
            Bar("geometric mean of ours / best peer", self.mean, MEAN_RATIO),
            *(
                Bar(
                    f"{what}, worst in {max(gas, key=lambda name: gas[name])}",
                    max(gas.values()),
                    limit,
                )
                for what, gas, limit in extras
                if gas
            ),
            Bar("a token in a round of funding", submit_per_token, SUBMIT_GAS_PER_TOKEN),
        ]


def geometric_mean(ratios: Mapping[str, float]) -> float:
    """Geometric mean of some positive numbers. Raises ValueError where there is none."""
    if not ratios:
        raise ValueError("there is nothing to take the mean of")
    return prod(ratios.values()) ** (1 / len(ratios))


# -- snapshot --


@dataclass(frozen=True)
class Change:
    """An operation whose gas is not what the snapshot says; None where it is on one side only."""

    name: str
    old: int | None
    new: int | None

    @property
    def part(self) -> float:
        """(new - old) / old; 0 where there is nothing to compare."""
        return (self.new - self.old) / self.old if self.old and self.new else 0.0

    @property
    def fails(self) -> bool:
        """A rise above the tolerance, or an operation that only one of the two knows."""
        return self.old is None or self.new is None or self.part > TOLERANCE


def changes(snapshot: Mapping[str, int], measured: Mapping[str, int]) -> list[Change]:
    """Operations whose gas differs, the measured ones' order first, then what is gone."""
    names = [*measured, *(name for name in snapshot if name not in measured)]
    found = [Change(name, snapshot.get(name), measured.get(name)) for name in names]
    return [change for change in found if change.old != change.new]


class SnapshotError(Exception):
    """The snapshot is missing or not one; the message says what to do."""


def read_snapshot(path: Path) -> dict[str, int]:
    """Operation -> gas. Raises SnapshotError."""
    try:
        gas = json.loads(path.read_text())["gas"]
        return {str(name): int(value) for name, value in gas.items()}
    except FileNotFoundError:
        raise SnapshotError(
            f"there is no gas snapshot {path}; `make bench-snapshot` writes it"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SnapshotError(
            f"{path} is no gas snapshot ({error}); `make bench-snapshot` writes a new one"
        ) from error


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write a file in one step, in a form that diffs well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps(data, indent=1) + "\n")
    draft.replace(path)
