"""The work from a new price to the list grows with what is found and the logarithm of all."""

from __future__ import annotations

from math import log2
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from perpool.bench import keeper, liquidator
from perpool.keeper.liquidator.index import Leg, PositionIndex
from perpool.keeper.model import Position

SIZES = (500, 5_000, 50_000)
ROW = {
    "accounts": 100_000,
    "near": 10,
    "seconds": 0.001,
    "worst_seconds": 0.002,
    "examined": 10,
    "comparisons": 20,
}


@pytest.mark.parametrize("leg", Leg)
def test_operations__grow_with_the_logarithm_of_all_accounts(leg: Leg) -> None:
    counts = []
    for size in SIZES:
        examined, comparisons = liquidator.count_operations(leg, size, 10)
        assert examined == 10
        assert comparisons <= liquidator.most_comparisons(size)
        counts.append(comparisons)
    # a hundred times the accounts
    assert counts[-1] - counts[0] <= 2 * log2(SIZES[-1] / SIZES[0]) + 2


@pytest.mark.parametrize("leg", Leg)
def test_operations__grow_with_what_is_found(leg: Leg) -> None:
    for near in (0, 1, 10, 100, 1_000):
        examined, comparisons = liquidator.count_operations(leg, 5_000, near)
        assert examined == near
        assert comparisons <= liquidator.most_comparisons(5_000)


@pytest.mark.parametrize("leg", Leg)
def test_listing__the_worst_first_as_the_role_has_it(leg: Leg) -> None:
    bench = liquidator.Bench(leg, 100)
    assert bench.listing(bench.answers(0)) == []
    found = bench.listing(bench.answers(7))
    positions = [position for _, _, position in found]
    moment = found[0][1]
    assert (len(found), moment.block) == (7, 1)
    assert positions == sorted(positions, key=lambda it: it.collateral / it.debt_shares)


def test_measure_lists__a_row_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = liquidator.measure_lists((100, 1_000), near=7, repeats=3)
    assert [(row["accounts"], row["near"], row["examined"]) for row in rows] == [
        (100, 7, 7),
        (1_000, 7, 7),
    ]
    assert all(0 < row["seconds"] <= row["worst_seconds"] for row in rows)
    monkeypatch.setattr(liquidator, "TARGET_MS", 10**6)
    assert not liquidator.faults(rows)


def test_faults__what_looks_at_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    """An index that has no order."""

    def everybody(self: PositionIndex, _: object) -> list[Position]:
        return [self[each.account] for each in liquidator.population(len(self))]

    monkeypatch.setattr(PositionIndex, "_from_the_worst", everybody)
    monkeypatch.setattr(liquidator, "TARGET_MS", 10**6)
    [fault] = liquidator.faults(liquidator.measure_lists((500,), near=7, repeats=1))
    assert fault == "of 500 accounts 500 are looked at to find 7"


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"seconds": 0.0101}, "100,000 accounts take 10.100 ms, more than 10"),
        ({"comparisons": 44}, "100,000 accounts take 44 comparisons, more than 43"),
        ({"examined": 13}, "of 100,000 accounts 13 are looked at to find 10"),
    ],
)
def test_command__fails_past_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, changes: dict[str, float], fault: str
) -> None:
    assert run(monkeypatch, tmp_path, ROW) == (0, [])
    assert run(monkeypatch, tmp_path, ROW | changes) == (1, [fault])


def run(
    monkeypatch: pytest.MonkeyPatch, folder: Path, row: dict[str, Any]
) -> tuple[int, list[str]]:
    """(exit code, lines after the last of its tables) of the command, without rounds."""
    monkeypatch.setattr(keeper, "repository_root", lambda: folder)
    monkeypatch.setattr(keeper, "measure_rounds", lambda redis_url, repeats: [])
    monkeypatch.setattr(liquidator, "measure_lists", lambda: [row])
    result = CliRunner().invoke(keeper.main, [])
    assert result.output.count("From a new price to the accounts to liquidate") == 1
    assert (folder / keeper.OUTPUT).exists()
    lines = result.output.splitlines()
    written = next(number for number, each in enumerate(lines) if each.startswith("written: "))
    return result.exit_code, lines[written + 1 :]
