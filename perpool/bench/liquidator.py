"""From a new price to the accounts to liquidate, as the role goes about it; part of `bench.keeper`.

What is measured begins with the values that the chain answers, price and state of a pool, and ends
with the list by LTV. Accounts are spread evenly over liquidation prices; the price moves to where
ten of them are liquidatable, back and forth, as many times as it is measured. Beside the time stand
the operations, which do not depend on the machine: positions that were looked at, and comparisons
of keys. They may grow with the number found and the logarithm of all, and no faster.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from math import log2
from typing import Any

from rich.table import Table

from perpool.evm import Struct
from perpool.keeper.liquidator.index import Leg, PositionIndex
from perpool.keeper.liquidator.pools import Found, Pool, liquidatable
from perpool.keeper.model import Position
from perpool.reference.arithmetic import PRICE_SCALE
from perpool.reference.interest import LegParameters
from perpool.reference.wad import WAD

SIZES = (1_000, 10_000, 100_000)
NEAR = 10
REPEATS = 200
TARGET_MS = 10
"""At the largest size."""
SLACK = 2
"""Positions that may be looked at in vain, because of what the cut rounds."""
_LTV = WAD * 8 // 10
_SHARES_OF_UNIT = 10**6


class CountedKey(int):
    """A key that counts how often it is compared."""

    comparisons = 0

    def __lt__(self, other: int) -> bool:
        CountedKey.comparisons += 1
        return int(self) < int(other)

    def __gt__(self, other: int) -> bool:
        CountedKey.comparisons += 1
        return int(self) > int(other)

    def __eq__(self, other: object) -> bool:
        CountedKey.comparisons += 1
        return isinstance(other, int) and int(self) == int(other)

    __hash__ = int.__hash__


class CountedIndex(PositionIndex):
    """An index that counts what it does."""

    def _key(self, position: Position) -> int:
        return CountedKey(super()._key(position))


@dataclass(frozen=True)
class Figures:
    """One size on one pool."""

    leg: Leg
    accounts: int
    near: int
    """Found liquidatable."""
    seconds: float
    """From the price to the list, the median of many."""
    worst_seconds: float
    examined: int
    """Positions that were looked at."""
    comparisons: int
    """Of keys."""


def population(count: int) -> list[Position]:
    """Accounts that become liquidatable one by one as the price goes from 1 to 0.5, or to 2."""
    dice = random.Random(count)  # noqa: S311 - accounts, not keys
    order = list(range(count))
    dice.shuffle(order)
    positions = []
    for rank in order:
        debt = dice.randrange(10**8, 10**12)
        # liquidatable beyond this part of the price
        part = WAD + rank * WAD // count
        collateral = debt * part // _LTV
        positions.append(
            Position(f"0x{dice.getrandbits(160):040x}", collateral, debt * _SHARES_OF_UNIT)
        )
    return positions


class Bench:
    """A role's pool with so many accounts, and what the chain answers about it."""

    def __init__(self, leg: Leg, count: int, kind: type[PositionIndex] = PositionIndex) -> None:
        self.leg = leg
        self.count = count
        self.index = kind(leg, population(count))
        self.pool = Pool(
            market="ADA",
            address="",
            leg=leg,
            numbers=LegParameters(*[_LTV] * len(fields(LegParameters))),
            token="",
            usdt="",
            usdt_unit=10**6,
            price_oracle="",
            liquidator="",
            swapper="",
            route=b"",
        )

    def answers(self, near: int) -> list[Any]:
        """At the price at which so many are liquidatable; a share owes a millionth."""
        part = WAD + (2 * near - 1) * WAD // (2 * self.count)
        falls = self.leg is Leg.REVERSE
        price = PRICE_SCALE * WAD // part if falls else PRICE_SCALE * part // WAD
        state = Struct(("debt_assets", "debt_shares"), (10**24, 10**24 * _SHARES_OF_UNIT))
        return [price, state]

    def listing(self, answers: Sequence[Any]) -> list[Found]:
        """What the role does with the answers of a block."""
        found, _ = liquidatable([self.pool], {"": self.index}, answers, 1)
        return found


def measure(leg: Leg, count: int, near: int = NEAR, repeats: int = REPEATS) -> Figures:
    """List `near` of `count` accounts many times, each time after a price at which none is."""
    bench = Bench(leg, count)
    far, close = bench.answers(0), bench.answers(near)
    times = []
    for _ in range(repeats):
        bench.listing(far)
        started = time.perf_counter()
        found = bench.listing(close)
        times.append(time.perf_counter() - started)
    times.sort()
    examined, comparisons = count_operations(leg, count, near)
    return Figures(leg, count, len(found), times[len(times) // 2], times[-1], examined, comparisons)


def count_operations(leg: Leg, count: int, near: int = NEAR) -> tuple[int, int]:
    """(positions looked at, comparisons of keys) of one listing."""
    bench = Bench(leg, count, CountedIndex)
    CountedKey.comparisons = 0
    bench.listing(bench.answers(near))
    return bench.index.examined, CountedKey.comparisons


def measure_lists(
    sizes: Sequence[int] = SIZES, near: int = NEAR, repeats: int = REPEATS
) -> list[dict[str, Any]]:
    """A row for each size, of the slower pool: accounts, near, seconds, examined, comparisons."""
    rows = []
    for count in sizes:
        slower = max((measure(leg, count, near, repeats) for leg in Leg), key=lambda f: f.seconds)
        rows.append(
            {
                "accounts": slower.accounts,
                "near": slower.near,
                "seconds": slower.seconds,
                "worst_seconds": slower.worst_seconds,
                "examined": slower.examined,
                "comparisons": slower.comparisons,
            }
        )
    return rows


def most_comparisons(accounts: int) -> float:
    """Of keys: a search in a list of lists, and some to go on from there."""
    return 2 * log2(accounts) + 10


def faults(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is slower, or grows faster, than it may."""
    found = []
    last = max(rows, key=lambda row: row["accounts"])
    if last["seconds"] * 1000 > TARGET_MS:
        found.append(
            f"{last['accounts']:,} accounts take {last['seconds'] * 1000:.3f} ms, more than "
            f"{TARGET_MS}"
        )
    for row in rows:
        if row["examined"] > row["near"] + SLACK:
            found.append(
                f"of {row['accounts']:,} accounts {row['examined']} are looked at to find "
                f"{row['near']}"
            )
        most = most_comparisons(row["accounts"])
        if row["comparisons"] > most:
            found.append(
                f"{row['accounts']:,} accounts take {row['comparisons']} comparisons, more than "
                f"{most:.0f}"
            )
    return found


def table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """The rows for people."""
    found = Table(title="From a new price to the accounts to liquidate")
    for heading in ("accounts", "found", "milliseconds", "worst", "looked at", "comparisons"):
        found.add_column(heading, justify="right")
    for row in rows:
        found.add_row(
            f"{row['accounts']:,}",
            str(row["near"]),
            f"{row['seconds'] * 1000:.3f}",
            f"{row['worst_seconds'] * 1000:.3f}",
            str(row["examined"]),
            str(row["comparisons"]),
        )
    return found
