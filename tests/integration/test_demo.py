"""The demo end to end on anvil: a few days, and everything adds up."""

from __future__ import annotations

import gzip
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from perpool.anvil import Anvil
from perpool.demo import cli
from perpool.demo.replay import Replay, first_price
from perpool.demo.stage import set_stage
from perpool.history import (
    HOUR,
    Candle,
    MarketHistory,
    Settlement,
    iso,
    parse_time,
    synthetic_market,
)

DAYS = ("2021-04-01", "2021-04-10")


def run(output: Path, *options: str) -> Result:
    result = CliRunner().invoke(
        cli.demo, ["--from", DAYS[0], "--to", DAYS[1], "--output", str(output), *options]
    )
    assert result.exit_code == 0, (result.output, result.exception)
    return result


def summary_of(folder: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return summary


def write_folder(history: MarketHistory, folder: Path) -> Path:
    """A history as a data folder of the market ADA."""
    lines = {
        "funding": [
            "ts,rate,interval_h",
            *(f"{each.time},{each.rate},{each.hours}" for each in history.settlements),
        ],
        "perp_1h": [
            "ts,open,high,low,close",
            *(
                f"{each.time},{each.open},{each.high},{each.low},{each.close}"
                for each in history.candles
            ),
        ],
    }
    for name, rows in lines.items():
        (folder / name).mkdir(parents=True)
        with gzip.open(folder / name / "ADAUSDT.csv.gz", "wt") as file:
            file.write("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def history() -> MarketHistory:
    """Ten days, of which the ninth crashes."""
    return synthetic_market(parse_time(DAYS[0]), parse_time("2021-04-11"), seed=2)


@pytest.fixture(scope="module")
def played(
    history: MarketHistory, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, str]:
    """(data folder, results, what was printed) of one run over files."""
    data = write_folder(history, tmp_path_factory.mktemp("data"))
    output = tmp_path_factory.mktemp("results")
    return data, output, run(output, "--data", str(data)).output


def test_demo__says_what_it_replays_and_who_earned_what(played: tuple[Path, Path, str]) -> None:
    output = played[2]
    first = output.splitlines()[0]
    assert first.startswith("Replaying ADA, 2021-04-01 to 2021-04-10")
    assert "funding/ADAUSDT.csv.gz" in first
    for heading in ("Lenders of USDT", "Borrowers of USDT", "Shorters", "Liquidators", "Reserve"):
        assert heading in output
    assert "Money is conserved" in output


def test_demo__money_is_conserved(played: tuple[Path, Path, str]) -> None:
    summary = summary_of(played[1])
    # every step, and once before the first
    assert summary["checks"] == summary["steps"] + 1
    assert summary["steps_for_vaults"] > 0
    # what is with nobody is roundings, in favour of pools, of a unit or so a transaction
    assert 0 <= summary["rounding"]["usdt"] < summary["transactions"]
    assert 0 <= summary["rounding"]["tokens"] < summary["transactions"]
    # so that all results and both reserves are nothing together
    results = sum(row["result"] for row in summary["rows"] + summary["others"])
    legs = summary["legs"]
    reserves = legs["reverse"]["reserve"] + legs["forward"]["reserve"] * summary["price"]["last"]
    assert results + reserves + summary["insurance"] == pytest.approx(0, abs=0.01)


def test_demo__interest_is_what_lenders_and_reserve_got(played: tuple[Path, Path, str]) -> None:
    summary = summary_of(played[1])
    for leg, role, price in (
        ("reverse", "USDT lender", 1.0),
        ("forward", "token lender", summary["price"]["last"]),
    ):
        figures = summary["legs"][leg]
        earned = sum(row["interest"] for row in summary["rows"] if row["role"] == role) / price
        if leg == "forward":
            earned += sum(each["interest_earned"] for each in summary["vaults"]) / price
        lost = figures["bad_debt_from_lenders"]
        assert earned + lost == pytest.approx(0.9 * figures["interest"], rel=1e-3)
        kept = figures["reserve"] + figures["bad_debt_from_reserve"]
        assert kept == pytest.approx(0.1 * figures["interest"], rel=1e-3)


def test_demo__vaults_carry_beside_others(played: tuple[Path, Path, str]) -> None:
    summary, printed = summary_of(played[1]), played[2]
    compared = {each["name"]: each for each in summary["compared"]}
    assert list(compared) == ["Vault keep", "Vault neutral", "Siloed at 40 %", "Siloed at 58 %"]
    assert all(f"\n {name} " in printed for name in compared)
    for vault in summary["vaults"]:
        # it hedged, was called for it, and neither leg came to harm
        assert vault["calls"] > 2
        assert vault["funding"] != 0
        assert vault["venue_fees"] > 0
        assert vault["interest_paid"] > 0
        nearest = compared[vault["name"]]["nearest"]
        assert compared[vault["name"]]["lost_leg"] == ""
        assert nearest["least_margin"] > 0.05
        assert nearest["highest_ltv"] < 0.8
    assert summary["holder_usdt"] == pytest.approx(
        summary["price"]["last"] / summary["price"]["first"] - 1
    )
    # what holders had on the way in and out cost them little, and the caller's tips are theirs
    rows = {row["name"]: row for row in summary["rows"] + summary["others"]}
    assert abs(rows["Newcomer in keep"]["result"]) < 0.1 * rows["Newcomer in keep"]["started"]
    assert rows["Rebalancer"]["ended"] > 0
    assert 0 < summary["vaults"][0]["tips"] < 0.001


def test_demo__requests_are_settled(history: MarketHistory, tmp_path: Path) -> None:
    """After three quarters of the time the leaver has tokens again, and no more shares."""
    with Anvil(timestamp=history.settlements[0].time - cli.HEAD_START) as anvil:
        stage = set_stage(anvil, history.symbol, first_price(history))
        replay = Replay(stage, history, seed=1, hourly_day=None)
        replay.prepare()
        for _ in replay.run():
            pass
    books = replay.results.end
    assert books is not None
    leaver, newcomer = books.holdings["Leaver of neutral"], books.holdings["Newcomer in keep"]
    assert (leaver.shares, leaver.asked_shares, leaver.vault_tokens) == (0, 0, 0)
    assert leaver.tokens > 0
    assert newcomer.shares > 0
    assert (newcomer.tokens, newcomer.asked_tokens) == (0, 0)
    # every hour was looked at once
    times = [hour.time for hour in replay.results.hours]
    assert times == list(range(times[0], times[-1] + 1, HOUR))
    # with steps of eight hours, margins were kept by the hours between
    steps = len(replay.steps)
    assert replay.results.steps == steps + replay.results.steps_for_vaults
    assert len(replay.results.records) == replay.results.steps


def test_demo__a_jump_liquidates_the_vaults_shorts(tmp_path: Path) -> None:
    """By 47 % within an hour, which no call comes in time for."""
    prices = [Decimal("1.2")] * 20 + [Decimal("1.764")] * 13
    run(tmp_path / "out", "--data", str(write_folder(market(prices), tmp_path / "data")))
    summary = summary_of(tmp_path / "out")
    vaults = [each for each in summary["compared"] if each["name"].startswith("Vault")]
    assert [each["lost_leg"] for each in vaults] == ["short", "short"]
    assert all(each["nearest"]["least_margin"] < 0.05 for each in vaults)
    assert summary["checks"] == summary["steps"] + 1
    liquidator = next(row for row in summary["others"] if row["name"] == "Flash liquidator")
    assert liquidator["result"] > 0


def market(prices: list[Decimal]) -> MarketHistory:
    """Hourly prices with high funding."""
    start = parse_time("2021-04-01")
    hours = range(0, len(prices), 8)
    return MarketHistory(
        "ADA",
        tuple(Settlement(start + hour * HOUR, Decimal("0.001"), 8) for hour in hours),
        tuple(Candle(start + (hour - 1) * HOUR, *[p] * 4) for hour, p in enumerate(prices)),
        "here",
    )


def test_demo__crash_liquidates_and_the_feed_follows(
    played: tuple[Path, Path, str], history: MarketHistory
) -> None:
    summary = summary_of(played[1])
    assert summary["hourly_day"] == iso(history.wildest_day())
    assert summary["settlements"] == len(history.settlements)
    assert {4, 8} == {each.hours for each in history.settlements}
    assert summary["oracle"]["rounds_held_back"] > 0
    assert summary["oracle"]["price_rounds"] > summary["steps"]
    assert summary["liquidations"]
    assert all(each["ltv"] > 0.8 for each in summary["liquidations"])
    assert summary["price"]["last"] == float(
        history.price_at(history.settlements[-1].time) or Decimal(0)
    )


def test_demo__rally_liquidates_shorts(tmp_path: Path) -> None:
    start = parse_time("2021-04-01")
    prices = [Decimal(1.2 * 1.0045**hour).quantize(Decimal("0.0001")) for hour in range(192)]
    rally = MarketHistory(
        "ADA",
        tuple(Settlement(start + hour * HOUR, Decimal("0.0001"), 8) for hour in range(0, 192, 8)),
        tuple(Candle(start + (hour - 1) * HOUR, *[p] * 4) for hour, p in enumerate(prices)),
        "here",
    )
    run(tmp_path / "out", "--data", str(write_folder(rally, tmp_path / "data")))
    summary = summary_of(tmp_path / "out")
    assert {each["leg"] for each in summary["liquidations"]} == {"forward"}
    assert len({each["by"] for each in summary["liquidations"]}) > 1
    bear = next(row for row in summary["rows"] if row["name"] == "Hurried bear")
    assert bear["liquidated"] > 1
    assert bear["result"] < 0


def test_demo__report_needs_nothing_else(played: tuple[Path, Path, str]) -> None:
    page = (played[1] / "report.html").read_text()
    assert len(page) < 6_000_000
    body = page[page.index("</script>") :]
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", body)
    for title in (
        "Funding against both pools",
        "Utilisation",
        "The weakest positions",
        "Short exposure",
        "Vaults",
        "Vaults in figures",
        "Who earned what",
        "The rules",
        "Money is conserved",
    ):
        assert title in body
    assert "$" not in re.sub(r"<script.*?</script>", "", body, flags=re.DOTALL)


def test_demo__same_again_for_the_same_seed(played: tuple[Path, Path, str], tmp_path: Path) -> None:
    data, output, _ = played
    run(tmp_path / "same", "--data", str(data))
    again, first = summary_of(tmp_path / "same"), summary_of(output)
    again.pop("seconds"), first.pop("seconds")
    assert again == first

    run(tmp_path / "other", "--data", str(data), "--seed", "2")
    assert summary_of(tmp_path / "other")["rows"] != first["rows"]


def test_demo__synthetic_without_a_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "find_data", lambda _named: None)
    result = run(tmp_path, "--to", "2021-04-03")
    first = result.output.splitlines()[0]
    assert first.startswith("No data folder: replaying a synthetic market (seed 1)")
    summary = summary_of(tmp_path)
    assert summary["synthetic"]
    assert summary["checks"] == summary["steps"] + 1


def test_demo__gaps_are_said_and_skipped(history: MarketHistory, tmp_path: Path) -> None:
    gone = range(parse_time("2021-04-02"), parse_time("2021-04-03"), 3_600)
    holed = MarketHistory(
        "ADA",
        history.settlements,
        tuple(each for each in history.candles if each.time not in gone),
        "here",
    )
    data = write_folder(holed, tmp_path / "data")
    output = run(tmp_path / "out", "--data", str(data), "--to", "2021-04-04").output
    assert "Missing: price 2021-04-02 to 2021-04-03 (24 h)" in output
    summary = summary_of(tmp_path / "out")
    assert summary["oracle"]["steps_without_a_price"] >= 2
    assert summary["oracle"]["price_rounds"] < summary["steps"]
    assert summary["gaps"] == ["price 2021-04-02 to 2021-04-03 (24 h)"]
