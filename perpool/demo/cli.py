"""`perpool demo`: replay real market history against the whole protocol on a local chain."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path

import click
import structlog
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)

from perpool.anvil import Anvil, AnvilError
from perpool.build import BuildError
from perpool.chain import ChainError
from perpool.demo.books import BooksError
from perpool.demo.replay import DemoError, Record, Replay, Results, first_price
from perpool.demo.report import write_report
from perpool.demo.stage import set_stage
from perpool.demo.summary import Summary, summarise
from perpool.demo.table import closing
from perpool.history import (
    DAY,
    DataFolder,
    HistoryError,
    MarketHistory,
    find_data,
    iso,
    parse_time,
    synthetic_market,
)

HEAD_START = 7_200
"""Seconds before the first step in which everything is set up."""
WIDTH = 100
"""Columns that table and progress bar take; a narrower terminal wraps."""
KEPT_STATES = 64
"""Past states that anvil keeps; all of them would fill the memory."""


def choose_history(
    folder: DataFolder | None, market: str, start: int, end: int, seed: int
) -> MarketHistory:
    """The recorded market, or without a folder a synthetic one. Raises HistoryError."""
    if folder is None:
        return synthetic_market(start, end, seed=seed)
    return folder.load(market).between(start, end)


def first_line(history: MarketHistory) -> str:
    """What is about to be replayed."""
    span = f"{iso(history.settlements[0].time)} to {iso(history.settlements[-1].time)}"
    if history.synthetic:
        return (
            f"No data folder: replaying {history.origin} with the statistics of real ones, "
            f"{span} (name a folder with --data)"
        )
    return f"Replaying {history.symbol}, {span}, from {history.origin}"


def play(history: MarketHistory, *, seed: int, hourly_day: int | None, console: Console) -> Results:
    """Set the stage, replay with a progress bar, and give the results."""
    started = time.monotonic()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[now]}"),
    )
    genesis = history.settlements[0].time - HEAD_START
    with (
        Anvil(timestamp=genesis, keep_states=KEPT_STATES) as anvil,
        Progress(*columns, console=console) as progress,
    ):
        task = progress.add_task("Setting up", total=None, now="compiling contracts")
        stage = set_stage(
            anvil,
            history.symbol,
            first_price(history),
            seed=seed,
            notify=lambda what: progress.update(task, now=what),
        )
        replay = Replay(stage, history, seed=seed, hourly_day=hourly_day)
        replay.prepare()
        progress.update(task, description="Replaying ", total=len(replay.steps), completed=0)
        for record in replay.run():
            progress.update(task, advance=1, now=_now(record, replay.results))
    replay.results.seconds = time.monotonic() - started
    return replay.results


def _now(record: Record, results: Results) -> str:
    return (
        f"{iso(record.time)}  {results.history.symbol} {record.price:.4g}  "
        f"funding {record.funding_ema:+.0%}  {len(results.liquidations)} liquidations"
    )


def write_results(results: Results, folder: Path) -> Summary:
    """summary.json and report.html in a folder."""
    summary = summarise(results)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.json").write_text(json.dumps(summary.to_json(), indent=2) + "\n")
    write_report(results, summary, folder / "report.html")
    return summary


@click.command(short_help="Replay real market history on a local chain.")
@click.option("--market", default="ADA", show_default=True, help="Symbol of a recorded market.")
@click.option("--from", "start", default="2021-04-01", show_default=True, help="First day, UTC.")
@click.option("--to", "end", default="2021-05-25", show_default=True, help="Last day, UTC.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Data folder. Default: $PERPOOL_DATA, data/ in the checkout, or shared/data beside it; "
    "without any of them the market is synthetic.",
)
@click.option("--seed", default=1, show_default=True, help="Of the actors' dice.")
@click.option("--hourly", metavar="DAY", help="Day to step hourly. Default: the wildest one.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("build/demo"),
    show_default=True,
    help="Folder for summary.json and report.html.",
)
def demo(  # noqa: PLR0917 - one for each option
    market: str,
    start: str,
    end: str,
    data: Path | None,
    seed: int,
    hourly: str | None,
    output: Path,
) -> None:
    """Replay a market against the whole protocol.

    Starts a local chain, deploys everything, and plays recorded funding and prices against lenders,
    borrowers, shorters and liquidators who each follow a simple rule. Ends with a table by actor,
    summary.json and report.html.
    """
    # what the history lacks is said once, not at every step
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    console = Console()
    if console.width < WIDTH:
        console = Console(width=WIDTH)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.BadParameter(
            f"no folder can be made there: {error}", param_hint="--output"
        ) from None
    try:
        first, last = parse_range(start, end)
        history = choose_history(find_data(data), market, first, last, seed)
        hourly_day = choose_hourly_day(history, hourly)
        console.print(first_line(history), soft_wrap=True, highlight=False)
        for gap in history.gaps():
            console.print(f"Missing: {gap}", soft_wrap=True, highlight=False)
        results = play(history, seed=seed, hourly_day=hourly_day, console=console)
    except (HistoryError, DemoError, AnvilError, BuildError, ChainError, BooksError) as error:
        raise click.ClickException(str(error)) from error
    summary = write_results(results, output)
    console.print()
    console.print(closing(summary))
    console.print(
        f"{summary.transactions:,} transactions in {summary.seconds:.0f} s; see "
        f"{output / 'report.html'} and {output / 'summary.json'}",
        soft_wrap=True,
        highlight=False,
    )


def choose_hourly_day(history: MarketHistory, named: str | None) -> int | None:
    """The day that is stepped hourly: the one named, else that of the largest hourly move.

    None where nobody has named one and there are no hourly prices. Raises HistoryError.
    """
    if named is not None:
        return parse_time(named) // DAY * DAY
    return history.wildest_day() if history.candles else None


def parse_range(start: str, end: str) -> tuple[int, int]:
    """Two dates as times; a last day counts to its end. Raises HistoryError when it is empty."""
    first, last = parse_time(start), parse_time(end)
    if last < first:
        raise HistoryError(f"the range {start} to {end} is empty: it has to start before it ends")
    return first, last + DAY if last % DAY == 0 else last
