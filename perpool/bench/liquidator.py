"""From a new price to the accounts to liquidate: `python -m perpool.bench.liquidator`.

Accounts are spread evenly over liquidation prices; the price moves to where ten of them are
liquidatable, back and forth, as many times as it is measured. Beside the time stand the operations,
which do not depend on the machine: positions that were looked at, and comparisons of keys. They may
grow with the number found and the logarithm of all, and no faster.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from perpool.keeper.liquidator.index import Leg, Moment, Position, PositionIndex
from perpool.reference.arithmetic import PRICE_SCALE
from perpool.reference.wad import WAD

SIZES = (1_000, 10_000, 100_000)
NEAR = 10
REPEATS = 200
TARGET_MS = 10
"""At the largest size."""
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


def moment(leg: Leg, count: int, near: int) -> Moment:
    """The price at which so many of a population are liquidatable; a share owes a millionth."""
    part = WAD + (2 * near - 1) * WAD // (2 * count)
    price = PRICE_SCALE * WAD // part if leg is Leg.REVERSE else PRICE_SCALE * part // WAD
    return Moment(price, 10**24, 10**24 * _SHARES_OF_UNIT, _LTV)


def measure(leg: Leg, count: int, near: int = NEAR, repeats: int = REPEATS) -> Figures:
    """List `near` of `count` accounts many times, each time after a price at which none is."""
    positions = population(count)
    index = PositionIndex(leg, positions)
    far, close = moment(leg, count, 0), moment(leg, count, near)
    times = []
    for _ in range(repeats):
        index.liquidatable(far)
        started = time.perf_counter()
        found = index.liquidatable(close)
        times.append(time.perf_counter() - started)
    times.sort()
    examined, comparisons = count_operations(leg, positions, close)
    return Figures(leg, count, len(found), times[len(times) // 2], times[-1], examined, comparisons)


def count_operations(leg: Leg, positions: Sequence[Position], at: Moment) -> tuple[int, int]:
    """(positions looked at, comparisons of keys) of one listing."""
    index = CountedIndex(leg, positions)
    CountedKey.comparisons = 0
    index.liquidatable(at)
    return index.examined, CountedKey.comparisons


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


def table(rows: Sequence[dict[str, Any]]) -> Table:
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


@click.command()
@click.option("--near", default=NEAR, show_default=True, help="Accounts to be found.")
def main(near: int) -> None:
    """Measure 1,000, 10,000 and 100,000 accounts; exit with 1 where the largest takes too long."""
    rows = measure_lists(near=near)
    Console().print(table(rows))
    if rows[-1]["seconds"] * 1000 > TARGET_MS:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
