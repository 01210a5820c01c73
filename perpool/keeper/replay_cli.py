"""`perpool keeper replay`: the keeper over recorded history, with a table and a page to look at."""

from __future__ import annotations

from pathlib import Path

import click
import plotly.graph_objects as go
from plotly.subplots import make_subplots
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from perpool.build import BuildError
from perpool.history import (
    DataFolder,
    HistoryError,
    MarketHistory,
    find_data,
    iso,
    parse_time,
)
from perpool.keeper.model import Policy
from perpool.keeper.replay import MarketRecord, Replay, ReplayError, rows
from perpool.keeper.sources import HistoryVenue, Panel, Venue, history_panel

HEADINGS = (
    "market",
    "rounds",
    "missed heartbeats",
    "too few venues",
    "mean funding",
    "average at the end",
    "venues furthest apart",
)
EVERY = 4
"""Hours between two points of a plot."""
MEDIAN, AVERAGE = "#b9c0cc", "#1aa08f"


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Data folder; needed here, see README.md. Default: as for the demo.",
)
@click.option("--market", "chosen", multiple=True, help="Default: all of several venues.")
@click.option("--from", "first", help="First day, UTC. Default: where all venues begin.")
@click.option("--to", "last", help="Last day, UTC. Default: where the first venue ends.")
@click.option(
    "--min-venues",
    type=click.IntRange(min=1),
    help="Fewer, and nothing is reported. Default: 3, or as many as the history has.",
)
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    default=Path("build/replay/keeper.html"),
    show_default=True,
    help="Page to write.",
)
def replay(  # noqa: PLR0917 - one for each option
    data: Path | None,
    chosen: tuple[str, ...],
    first: str | None,
    last: str | None,
    min_venues: int | None,
    plot: Path,
) -> None:
    """Play recorded funding through the keeper and the oracle, hour by hour.

    Reporters, submitter and the real oracle contract run in this process, without a node; after
    each round the chain is compared with the reference model to the unit.

    \b
        perpool keeper replay                                  all markets of three venues
        perpool keeper replay --market APT --from 2025-10-01 --to 2025-11-01
    """
    console = Console()
    try:
        folder = find_data(data)
        if folder is None:
            raise HistoryError("there is no data folder: name one with --data, or set PERPOOL_DATA")
        with console.status("reading the history"):
            markets = list(chosen) or several_venues(folder)
            panel = history_panel(folder.path, markets)
            start, end = span(panel, first, last)
        if end <= start:
            raise HistoryError(f"there is nothing between {iso(start)} and {iso(end)}")
        least = min_venues or min(3, len(panel.venues))
        player = Replay(panel, markets, start, end, min_venues=least)
        play(player, console)
        if not any(each.times for each in player.records.values()):
            raise HistoryError(
                f"no round between {iso(start)} and {iso(end)}: at no time {least} venues had a "
                "value; choose other days, or --min-venues"
            )
    except (HistoryError, ReplayError, BuildError) as error:
        raise click.ClickException(str(error)) from error
    console.print(table(player.records))
    console.print(
        f"{iso(start)} to {iso(end)}: {player.steps:,} hours; venues: "
        f"{', '.join(each.name for each in panel.venues)}, at least {least} for a median; "
        f"{player.outbox.gas_used:,} gas. The chain's averages equal the reference model's to the "
        "unit."
    )
    plot.parent.mkdir(parents=True, exist_ok=True)
    figure(player.records).write_html(plot, include_plotlyjs=True)
    console.print(f"written: {plot}", soft_wrap=True)


def several_venues(folder: DataFolder) -> list[str]:
    """Markets of the multi-venue file. Raises HistoryError where there are none."""
    markets = folder.venue_markets()
    if not markets:
        raise HistoryError(f"{folder.path} has no multi-venue file: name markets with --market")
    return markets


def span(panel: Panel, first: str | None, last: str | None) -> tuple[int, int]:
    """From when all venues have settled to when the first one ends, or as asked."""
    histories = [each for venue in panel.venues for each in _histories(venue)]
    start = parse_time(first) if first else max(each.settlements[0].time for each in histories)
    end = parse_time(last) if last else min(each.settlements[-1].time for each in histories)
    return start, end


def _histories(venue: Venue) -> list[MarketHistory]:
    assert isinstance(venue, HistoryVenue)
    return list(venue.markets.values())


def play(player: Replay, console: Console) -> None:
    """With a bar of how far it is."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("hours", total=player.steps)
        for time in player.run():
            progress.update(task, advance=1, description=iso(time)[:10])


def table(records: dict[str, MarketRecord]) -> Table:
    """A line a market."""
    found = Table(box=None)
    for heading in HEADINGS:
        found.add_column(heading, justify="left" if heading == "market" else "right")
    for row in rows(records, Policy().funding_heartbeat):
        found.add_row(*row)
    return found


def figure(records: dict[str, MarketRecord]) -> go.Figure:
    """Each market's medians and what the oracle made of them."""
    found = make_subplots(
        rows=len(records),
        cols=1,
        shared_xaxes=True,
        subplot_titles=list(records),
        vertical_spacing=0.02,
    )
    for row, each in enumerate(records.values(), start=1):
        times = [iso(time) for time in each.times[::EVERY]]
        for name, series, colour, width in (
            ("median of venues", each.medians, MEDIAN, 1),
            ("oracle, 24 h average", each.emas, AVERAGE, 2),
        ):
            found.add_scatter(
                x=times,
                y=series[::EVERY],
                name=name,
                legendgroup=name,
                showlegend=row == 1,
                line={"color": colour, "width": width},
                row=row,
                col=1,
            )
    found.update_yaxes(tickformat=".0%")
    found.update_layout(
        title="Funding a year, as venues had it and as the oracle has it",
        height=220 * len(records) + 120,
        template="plotly_white",
        hovermode="x unified",
    )
    return found
