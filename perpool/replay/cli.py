"""`perpool replay`: the carry vault over recorded history, hour by hour, contracts and model."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from perpool.build import BuildError
from perpool.history import (
    DAY,
    HOUR,
    DataFolder,
    HistoryError,
    MarketHistory,
    find_data,
    iso,
    parse_time,
    synthetic_market,
)
from perpool.reference.presets import PRESETS
from perpool.reference.targets import CarryParameters
from perpool.replay.report import write_report
from perpool.replay.run import Replay
from perpool.replay.stage import Conditions, StageError, percent
from perpool.replay.summary import Results, Summary, summarise
from perpool.replay.table import closing
from perpool.replay.timeline import timeline

WIDTH = 140
"""Columns that the table takes; a narrower terminal wraps."""
EVERYTHING = "all"
USDT = 10**6


@click.command(short_help="Replay the carry vault on recorded history.")
@click.option(
    "--market",
    "chosen",
    multiple=True,
    help="Symbol of a recorded market, or `all`; may be repeated. Default: ADA.",
)
@click.option("--from", "start", default="2019-09-01", show_default=True, help="First day, UTC.")
@click.option("--to", "end", default="2026-12-31", show_default=True, help="Last day, UTC.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Data folder, as for the demo; without one the market is synthetic.",
)
@click.option(
    "--preset",
    "presets",
    multiple=True,
    type=click.Choice(list(PRESETS)),
    help="May be repeated. Default: all of them.",
)
@click.option(
    "--enter",
    type=click.FloatRange(0, 1_000),
    help="Percent a year of funding above which it carries, instead of the preset's.",
)
@click.option("--leave", type=click.FloatRange(0, 1_000), help="The same, below which it lends.")
@click.option("--stay", type=click.IntRange(0, 90 * 24), help="Hours it stays on a side at least.")
@click.option(
    "--every",
    type=click.Choice(["1", "2", "4", "8"]),
    default="1",
    show_default=True,
    help="Hours between two calls.",
)
@click.option(
    "--marks",
    type=click.Choice(["close", "high-low"]),
    default="close",
    show_default=True,
    help="Prices of an hour at which liquidations are judged.",
)
@click.option("--deposit", default=100_000, show_default=True, help="USDT's worth, each vault.")
@click.option(
    "--utilisation",
    type=click.FloatRange(1, 95),
    default=50,
    show_default=True,
    help="Percent of all USDT lent out.",
)
@click.option(
    "--token-utilisation",
    type=click.FloatRange(1, 95),
    default=35,
    show_default=True,
    help="Percent of all tokens lent out.",
)
@click.option(
    "--slippage",
    type=click.FloatRange(0, 0.9),
    default=0.3,
    show_default=True,
    help="Percent that a swap costs against the oracle's price.",
)
@click.option(
    "--silo-ltv",
    type=click.FloatRange(10, 75),
    default=60,
    show_default=True,
    help="Percent at which siloed borrowers borrow.",
)
@click.option("--json", "as_json", is_flag=True, help="The summaries, as JSON, and nothing else.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("build/replay"),
    show_default=True,
    help="Folder for <MARKET>/summary.json and <MARKET>/report.html.",
)
def replay(  # noqa: PLR0917 - one for each option
    chosen: tuple[str, ...],
    start: str,
    end: str,
    data: Path | None,
    presets: tuple[str, ...],
    enter: float | None,
    leave: float | None,
    stay: int | None,
    every: str,
    marks: str,
    deposit: int,
    utilisation: float,
    token_utilisation: float,
    slippage: float,
    silo_ltv: float,
    as_json: bool,
    output: Path,
) -> None:
    """Replay the carry vault on recorded prices and funding, hour by hour.

    Pools, perp venue and vaults run on an in-process chain. The reference model says when a call is
    due, the contracts carry it out, and both are compared to the unit. Ends with yields by year,
    what they are made of, and how near a liquidation was; beside them a plain holder and borrowers
    who rebalance nothing.

    \b
        perpool replay --market ADA --from 2020-02-01 --to 2026-05-01
        perpool replay --market all --every 2
    """
    console = Console(stderr=as_json)
    if console.width < WIDTH:
        console = Console(width=WIDTH, stderr=as_json)
    conditions = Conditions(
        usdt_utilisation=percent(str(utilisation)),
        token_utilisation=percent(str(token_utilisation)),
        slippage=percent(str(slippage)),
        deposit=deposit * USDT,
    )
    found = []
    try:
        folder = find_data(data)
        first, last = parse_time(start), parse_time(end) + DAY
        for history in histories(folder, chosen, first, last):
            replay_of = Replay(
                history,
                timeline(history, first, last),
                conditions,
                presets={
                    name: changed(PRESETS[name], enter, leave, stay) for name in presets or PRESETS
                },
                every=int(every),
                wicks=marks == "high-low",
                silo_ltv=silo_ltv / 100,
            )
            console.print(first_line(history, replay_of), soft_wrap=True, highlight=False)
            results = play(replay_of, console)
            summary = write_results(results, output / history.symbol)
            found.append(summary)
            if not as_json:
                console.print(closing(summary))
                console.print(
                    f"{summary.transactions:,} transactions in {summary.seconds:.0f} s; see "
                    f"{output / history.symbol / 'report.html'}\n",
                    soft_wrap=True,
                    highlight=False,
                )
    except (HistoryError, StageError, BuildError) as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.BadParameter(str(error), param_hint="--output") from None
    if as_json:
        click.echo(json.dumps([each.to_json() for each in found], indent=2))


def changed(
    parameters: CarryParameters, enter: float | None, leave: float | None, stay: int | None
) -> CarryParameters:
    """A preset with other terms of switching, where they are given."""
    if enter is not None:
        parameters = replace(parameters, enter_rate=percent(str(enter)))
    if leave is not None:
        parameters = replace(parameters, leave_rate=percent(str(leave)))
    if stay is not None:
        parameters = replace(parameters, min_stay=stay * HOUR)
    return parameters


def histories(
    folder: DataFolder | None, chosen: tuple[str, ...], start: int, end: int
) -> list[MarketHistory]:
    """The markets asked for, or without a folder a synthetic one. Raises HistoryError."""
    if folder is None:
        return [synthetic_market(start, end)]
    if EVERYTHING in chosen:
        return [folder.load(market) for market in folder.markets]
    return [folder.load(market) for market in chosen or ("ADA",)]


def first_line(history: MarketHistory, replay_of: Replay) -> str:
    """What is about to be replayed."""
    moments = replay_of.moments
    what = "No data folder: replaying " if history.synthetic else f"Replaying {history.symbol}, "
    span = f"{iso(moments[0].time)} to {iso(moments[-1].time)}"
    return f"{what}{history.origin}, {span}, {len(moments):,} hours"


def play(replay_of: Replay, console: Console) -> Results:
    """With a bar of how far it is."""
    started = time.monotonic()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("hours", total=len(replay_of.moments))
        for moment in replay_of.run():
            progress.update(task, advance=1, description=iso(moment.time)[:10])
    results = replay_of.results()
    results.seconds = time.monotonic() - started
    return results


def write_results(results: Results, folder: Path) -> Summary:
    """summary.json and report.html in a folder."""
    summary = summarise(results)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.json").write_text(json.dumps(summary.to_json(), indent=2) + "\n")
    write_report(results, summary, folder / "report.html")
    return summary
