"""`perpool keeper replay` over a small folder of three venues."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from perpool.history import HOUR, parse_time
from perpool.keeper.replay_cli import replay

START = parse_time("2026-02-01")
RATES = {"binance": "0.0002", "bybit": "0.0001", "hyperliquid": "0.00000125"}
"""Of eight hours; hyperliquid's of one."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "funding").mkdir()
    with gzip.open(tmp_path / "multivenue_funding_x.csv.gz", "wt", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["ts", "venue", "symbol", "rate", "interval_h", "mark_price"])
        for venue, rate in RATES.items():
            hours = 1 if venue == "hyperliquid" else 8
            for time in range(START, START + 49 * HOUR, hours * HOUR):
                writer.writerow([time, venue, "ADA", rate, hours, ""])
    return tmp_path


def run(folder: Path, *options: str) -> Result:
    arguments = ["--data", str(folder), "--plot", str(folder / "out" / "page.html"), *options]
    return CliRunner().invoke(replay, arguments, env={"COLUMNS": "200"})


def test_replay__a_table_and_a_page(folder: Path) -> None:
    result = run(folder)
    assert result.exit_code == 0, result.output
    [row] = [line.split() for line in result.output.splitlines() if line.startswith(" ADA")]
    # 48 hours, the median of 21.9 %, 10.95 % and 1.095 % a year, and how far they are apart
    assert row == ["ADA", "48", "0", "0", "10.95%", "10.95%", "21%"]
    assert "plotly" in (folder / "out" / "page.html").read_text().lower()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--from", "2015-11-01", "--to", "2015-11-02"), "at no time 3 venues had a value"),
        (("--from", "2026-02-02", "--to", "2026-02-01"), "there is nothing between"),
        (("--market", "XRP"), "there is no market XRP"),
    ],
)
def test_replay__faults_are_one_line(folder: Path, options: tuple[str, ...], reason: str) -> None:
    result = run(folder, *options)
    assert result.exit_code == 1
    assert reason in result.output
    assert not (folder / "out").exists()
