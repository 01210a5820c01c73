"""The work from a new price to the list grows with what is found and the logarithm of all."""

from __future__ import annotations

from math import log2

import pytest
from click.testing import CliRunner

from perpool.bench import liquidator as bench
from perpool.keeper.liquidator.index import Leg

SIZES = (500, 5_000, 50_000)


@pytest.mark.parametrize("leg", Leg)
def test_operations__grow_with_the_logarithm_of_all_accounts(leg: Leg) -> None:
    counts = []
    for size in SIZES:
        examined, comparisons = bench.count_operations(
            leg, bench.population(size), bench.moment(leg, size, 10)
        )
        assert examined == 10
        assert comparisons <= 2 * log2(size) + 10
        counts.append(comparisons)
    # a hundred times the accounts
    assert counts[-1] - counts[0] <= 2 * log2(SIZES[-1] / SIZES[0]) + 2


@pytest.mark.parametrize("leg", Leg)
def test_operations__grow_with_what_is_found(leg: Leg) -> None:
    positions = bench.population(5_000)
    for near in (0, 1, 10, 100, 1_000):
        examined, comparisons = bench.count_operations(
            leg, positions, bench.moment(leg, 5_000, near)
        )
        assert examined == near
        assert comparisons <= 2 * log2(5_000) + 10


def test_measure_lists__a_row_a_size() -> None:
    rows = bench.measure_lists((100, 1_000), near=7, repeats=3)
    assert [(row["accounts"], row["near"], row["examined"]) for row in rows] == [
        (100, 7, 7),
        (1_000, 7, 7),
    ]
    assert all(0 < row["seconds"] <= row["worst_seconds"] for row in rows)


@pytest.mark.parametrize(("target", "code"), [(10**6, 0), (0, 1)])
def test_command__fails_past_the_target(
    monkeypatch: pytest.MonkeyPatch, target: float, code: int
) -> None:
    monkeypatch.setattr(bench, "TARGET_MS", target)
    monkeypatch.setattr(bench, "measure_lists", _rows)
    result = CliRunner().invoke(bench.main, ["--near", "3"])
    assert result.exit_code == code
    assert "comparisons" in result.output


def _rows(near: int) -> list[dict[str, float]]:
    return [
        {
            "accounts": 100,
            "near": near,
            "seconds": 0.001,
            "worst_seconds": 0.002,
            "examined": near,
            "comparisons": 9,
        }
    ]
