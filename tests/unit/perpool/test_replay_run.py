"""A month of the carry vault's replay: contracts equal the model, nobody is near a liquidation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from perpool.history import DAY, MarketHistory, find_data, parse_time, synthetic_market
from perpool.reference.presets import PRESETS
from perpool.replay import cli
from perpool.replay.record import PARTS
from perpool.replay.report import write_report
from perpool.replay.run import CHECKED_EVERY, Replay
from perpool.replay.stage import Conditions, StageError, percent
from perpool.replay.summary import Results, Summary, summarise
from perpool.replay.table import closing_lines
from perpool.replay.timeline import timeline

START, END = parse_time("2021-04-25"), parse_time("2021-05-25")
"""With the crash of 2021-05-19, of whose hours the worst is -22 % by closes."""
CONDITIONS = Conditions(
    usdt_utilisation=percent(50),
    token_utilisation=percent(35),
    slippage=percent("0.3"),
    deposit=100_000 * 10**6,
)


def history() -> MarketHistory:
    """Recorded where there is a data folder, else made up with the same statistics."""
    folder = find_data(None)
    if folder is None or "ADA" not in folder.markets:
        return synthetic_market(START, END, seed=3)
    return folder.load("ADA")


def make(end: int = END, **changes: Any) -> Replay:
    source = history()
    terms = {"presets": PRESETS} | changes
    return Replay(source, timeline(source, START, end), CONDITIONS, **terms)


def play(**changes: Any) -> Results:
    replay = make(**changes)
    for _ in replay.run():
        pass
    return replay.results()


@pytest.fixture(scope="module")
def results() -> Results:
    return play()


@pytest.fixture(scope="module")
def summary(results: Results) -> Summary:
    return summarise(results)


def test_replay__compared_whenever_something_was_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """In every hour with a call that was due, and once in so many hours without."""
    called, compared = set(), set()
    call, compare = Replay._call, Replay._compare

    def counted_call(replay: Replay, *vault: Any) -> bool:
        is_due = call(replay, *vault)
        if is_due:
            called.add(replay.stage.model.now)
        return is_due

    def counted_compare(replay: Replay, **options: Any) -> None:
        compare(replay, **options)
        compared.add(replay.stage.model.now)

    monkeypatch.setattr(Replay, "_call", counted_call)
    monkeypatch.setattr(Replay, "_compare", counted_compare)
    results = play(end=START + 15 * DAY)
    assert len(called) >= 10
    assert called <= compared
    assert len(compared - called) > len(results.moments) // CHECKED_EVERY // 2
    assert results.transactions > 5 * results.checks


def test_replay__both_presets_carried_and_moved(summary: Summary) -> None:
    for vault in summary.vaults:
        assert vault.carried > 0.3
        assert vault.rebalances >= 10
        assert vault.gas > 200_000 * vault.rebalances
        assert vault.parts["funding"] > 0 > vault.parts["interest"]
        assert vault.parts["costs"] < 0 < vault.tips


def test_replay__nobody_is_near_a_liquidation(summary: Summary) -> None:
    for vault in summary.vaults:
        assert vault.liquidatable == {"short": 0, "loan": 0}
        for distance in (vault.least_rise, vault.least_fall):
            assert distance.value is not None
            assert distance.value > 0.1
        assert 0 < vault.highest_ltv < 0.7


def test_replay__parts_sum_to_the_gain(summary: Summary) -> None:
    for vault in summary.vaults:
        assert vault.parts.keys() == set(PARTS)
        gained = sum(vault.parts.values())
        # worth is the holder's: the tips are somebody else's
        assert vault.end_tokens == pytest.approx((1 + gained) * (1 - vault.tips), rel=1e-9)
        by_year = {part: sum(year.parts[part] for year in vault.years) for part in PARTS}
        assert by_year == pytest.approx(vault.parts)


def test_replay__hours_are_accounted_for(summary: Summary, results: Results) -> None:
    elapsed = (results.moments[-1].time - results.moments[0].time) // 3_600
    for vault in summary.vaults:
        assert sum(vault.hours.values()) == elapsed


SWITCHING = ("enter_rate", "leave_rate", "min_stay")
KEEP = {"keep": PRESETS["keep"]}
WEEK = START + 10 * DAY


def test_replay__fewer_calls_when_asked_less_often() -> None:
    often, rarely = (summarise(play(end=WEEK, every=every, presets=KEEP)) for every in (1, 8))
    assert 0 < rarely.vaults[0].rebalances < often.vaults[0].rebalances


def test_replay__wicks_are_nearer_than_closes() -> None:
    closes, wicks = (summarise(play(end=WEEK, wicks=each, presets=KEEP)) for each in (False, True))
    keep, other = closes.vaults[0], wicks.vaults[0]
    assert other.end_tokens == keep.end_tokens, "they are judged by, and nothing else"
    assert other.least_fall.value is not None
    assert keep.least_fall.value is not None
    assert other.least_fall.value < keep.least_fall.value


@pytest.mark.parametrize("weakened", ["hedge_ratio", "margin_band", "margin_ratio"])
def test_replay__a_model_that_differs_is_found(weakened: str) -> None:
    replay = make(presets=KEEP)
    hours = replay.run()
    next(hours)
    strategy = replay.stage.vaults["keep"].strategy
    changed = getattr(strategy.parameters, weakened) * 4 // 5
    strategy.parameters = replace(strategy.parameters, **{weakened: changed})
    with pytest.raises(StageError, match="model"):
        exhaust(hours)


def exhaust(hours: Iterator[Any]) -> None:
    for _ in hours:
        pass


def test_report__has_all_plots(results: Results, summary: Summary, tmp_path: Path) -> None:
    write_report(results, summary, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    for name in ("tokens", "usdt", "distance", "rates"):
        assert f'<div id="{name}-plot">' in page
        assert f'"{name}-plot":{{"data":[{{' in page
    assert "siloed" in page


def test_closing_lines__say_what_is_assumed(summary: Summary) -> None:
    text = "\n".join(closing_lines(summary))
    assert "USDT lent out 50 %" in text
    assert "Contracts equal the reference model to the unit" in text
    assert "hours in which it could be liquidated: short 0, loan 0" in text


# -- the command --


def test_command__json_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "find_data", lambda named: None)
    options = ["--from", "2021-05-01", "--to", "2021-05-12", "--preset", "keep", "--json"]
    result = CliRunner().invoke(cli.replay, [*options, "--output", str(tmp_path)])
    assert result.exit_code == 0, result.output
    # what is said on the way goes to stderr
    [told] = json.loads(result.output[result.output.index("[\n") :])
    assert told["market"] == "SYN"
    assert told["synthetic"]
    assert [each["name"] for each in told["vaults"]] == ["keep"]
    assert told["vaults"][0]["liquidatable"] == {"short": 0, "loan": 0}
    written = json.loads((tmp_path / "SYN" / "summary.json").read_text())
    assert written == told
    assert (tmp_path / "SYN" / "report.html").stat().st_size > 10**6


def test_changed__only_what_is_given() -> None:
    keep = PRESETS["keep"]
    assert cli.changed(keep, None, None, None) == keep
    other = cli.changed(keep, 0.5, 0.0, 2_160)
    assert (other.enter_rate, other.leave_rate) == (5 * 10**15, 0)
    assert other.min_stay == 90 * DAY
    assert replace(other, **{n: getattr(keep, n) for n in SWITCHING}) == keep


def test_command__unknown_market(tmp_path: Path) -> None:
    (tmp_path / "funding").mkdir()
    options = ["--data", str(tmp_path), "--market", "NOPE"]
    result = CliRunner().invoke(cli.replay, options)
    assert result.exit_code == 1
    assert "there is no market NOPE" in result.output


def test_timeline_of_the_month_is_long_enough() -> None:
    """The month is hourly, so that what is tested above is what is replayed."""
    moments = timeline(history(), START, END)
    assert (moments[-1].time - moments[0].time) > 29 * DAY
    assert len(moments) > 24 * 29
