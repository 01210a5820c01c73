"""The replay's page: vaults against a holder, how near liquidations were, what is assumed."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import pairwise
from pathlib import Path

from perpool.history import DAY
from perpool.page import (
    BAD,
    FORWARD,
    FUNDING,
    GREY,
    REVERSE,
    Figure,
    axis_title,
    cell,
    level,
    line,
    moment,
    note,
    percent_axis,
    plot_layout,
    plot_section,
    tile,
    write_page,
)
from perpool.replay.record import PARTS, Day, Record
from perpool.replay.summary import Results, Summary, Vault
from perpool.replay.table import assumption_lines
from perpool.text import percent, signed_percent

COLOURS = {"keep": REVERSE, "neutral": FORWARD}
COVER = "tokens"
FARTHEST = 1.0
"""Distances beyond are drawn there: they threaten nobody."""


def write_report(results: Results, summary: Summary, path: Path) -> None:
    """Write the page, with everything it needs in it."""
    write_page(
        path,
        _figures(results, summary),
        title=escape(
            f"Carry vault on {summary.market}, {summary.start[:10]} to {summary.end[:10]}"
        ),
        lead=_lead(summary),
        tiles="".join(_tiles(summary)),
        sections=_sections(summary),
        footer=escape(f"Source: {summary.origin}. {summary.seconds:.0f} seconds."),
        cover=COVER,
    )


# -- text --


def _lead(summary: Summary) -> str:
    what = (
        "A synthetic market with the statistics of real ones"
        if summary.synthetic
        else "Recorded funding and prices"
    )
    return escape(
        f"{what}, hour by hour, through the vault's own contracts on an in-process chain: "
        f"{summary.hours:,} hours, {summary.transactions:,} transactions, each compared with the "
        "reference model to the unit."
    )


def _tiles(summary: Summary) -> list[str]:
    tiles = []
    for vault in summary.vaults:
        tiles += [
            tile(signed_percent(vault.yield_tokens), f"a year in tokens, {vault.name}"),
            tile(signed_percent(vault.yield_usdt), f"a year in USDT, {vault.name}"),
        ]
    dead, watched = summary.silo.dead["90"]
    return [
        *tiles,
        tile(
            str(sum(sum(v.liquidatable.values()) for v in summary.vaults)),
            "hours near enough to be liquidated, of both vaults",
        ),
        tile(
            f"{dead} of {watched}",
            f"siloed loans at {percent(summary.silo.ltv, 0)} LTV liquidated within 90 days",
        ),
    ]


def _sections(summary: Summary) -> list[str]:
    return [
        plot_section(
            COVER,
            "What a token has become, in tokens",
            "A holder keeps one. The siloed borrower starts again with what is left, each time he "
            "is liquidated.",
        ),
        plot_section("usdt", "What a USDT put in has become, in USDT", "Hedging costs upside."),
        plot_section(
            "distance",
            "How far the price is from a liquidation",
            "The nearest of each day: above, the rise that liquidates the short; below, the fall "
            "that liquidates the loan. Where a line is missing there is no such position.",
        ),
        plot_section(
            "rates",
            "Funding and the loan's rate",
            "The oracle's average, and what the pool charges.",
        ),
        _parts(summary),
        _years(summary),
        _assumptions(summary),
    ]


def _row(cells: Sequence[str]) -> str:
    return f"<tr><td>{escape(cells[0])}</td>{''.join(map(cell, cells[1:]))}</tr>"


def _grid(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(each)}</th>" for each in heads)
    return f'<div class="wide"><table><tr>{head}</tr>{"".join(map(_row, rows))}</table></div>'


def _parts(summary: Summary) -> str:
    heads = ("", "Tokens a year", "USDT a year", *(p.capitalize() for p in PARTS), "In carry")
    heads += ("Calls", "Switches", "Gas", "Nearest rise", "Nearest fall", "Highest LTV")
    rows = [_vault_cells(vault) for vault in summary.vaults]
    return (
        '<section id="parts"><h2>What the yield is made of</h2><p>Funding to hedge are tokens of a '
        "token put in, over the whole time.</p>" + _grid(heads, rows) + "</section>"
    )


def _vault_cells(vault: Vault) -> list[str]:
    return [
        vault.name,
        signed_percent(vault.yield_tokens),
        signed_percent(vault.yield_usdt),
        *(signed_percent(vault.parts[part]) for part in PARTS),
        percent(vault.carried, 0),
        f"{vault.rebalances:,}",
        str(vault.switches),
        f"{vault.gas / 1e6:,.1f}M",
        percent(vault.least_rise.value, 1),
        percent(vault.least_fall.value, 1),
        percent(vault.highest_ltv, 1),
    ]


def _years(summary: Summary) -> str:
    heads = ("Vault and year", "Tokens", "USDT", "Holder, USDT", *(p.capitalize() for p in PARTS))
    rows = [
        [
            f"{vault.name} {year.year}",
            signed_percent(year.tokens),
            signed_percent(year.usdt),
            signed_percent(year.holder_usdt),
            *(signed_percent(year.parts[part]) for part in PARTS),
        ]
        for vault in summary.vaults
        for year in vault.years
    ]
    return f'<section id="years"><h2>Year by year</h2>{_grid(heads, rows)}</section>'


def _assumptions(summary: Summary) -> str:
    items = "".join(f"<li>{escape(each)}.</li>" for each in assumption_lines(summary))
    return f'<section id="assumptions"><h2>Assumptions</h2><ul>{items}</ul></section>'


# -- plots --


def _figures(results: Results, summary: Summary) -> dict[str, Figure]:
    return {
        f"{COVER}-plot": _worths(results),
        "usdt-plot": _usdt(results, summary),
        "distance-plot": _distances(results),
        "rates-plot": _rates(results),
    }


def _times(record: Record) -> list[str]:
    return [moment(day.time) for day in record.days]


def _silo_days(results: Results) -> list[float]:
    """The siloed borrower's worth at the end of each day."""
    last = {m.time // DAY: w for m, w in zip(results.moments, results.chain.worths, strict=True)}
    return [last[day.time // DAY] for day in _any(results).days]


def _any(results: Results) -> Record:
    return next(iter(results.records.values()))


def _worths(results: Results) -> Figure:
    shape = {"line": {"shape": "linear"}}
    data = [
        line(name, _times(record), [day.worth for day in record.days], COLOURS[name], **shape)
        for name, record in results.records.items()
    ]
    times = _times(_any(results))
    data += [
        line("holder", times, [1.0] * len(times), GREY, line={"dash": "dash"}),
        line("siloed", times, _silo_days(results), BAD, **shape),
    ]
    for trace in data:
        trace["hovertemplate"] = "%{y:.3f}"
    return {"data": data, "layout": plot_layout(420, times, yaxis={"title": axis_title("tokens")})}


def _usdt(results: Results, summary: Summary) -> Figure:
    first = summary.price["first"]

    def value(days: Sequence[Day], worths: Sequence[float]) -> list[float | None]:
        return [w * day.price / first for day, w in zip(days, worths, strict=True)]

    data = [
        line(
            name,
            _times(record),
            value(record.days, [day.worth for day in record.days]),
            COLOURS[name],
        )
        for name, record in results.records.items()
    ]
    days = _any(results).days
    times = _times(_any(results))
    data += [
        line("holder", times, value(days, [1.0] * len(days)), GREY, line={"dash": "dash"}),
        line("siloed", times, value(days, _silo_days(results)), BAD),
    ]
    for trace in data:
        trace["hovertemplate"] = "%{y:.3g}"
    layout = plot_layout(360, times, yaxis={"title": axis_title("USDT"), "type": "log"})
    return {"data": data, "layout": layout}


def _distances(results: Results) -> Figure:
    data = []
    for name, record in results.records.items():
        times, colour = _times(record), COLOURS[name]
        rises = [_near(day.rise) for day in record.days]
        falls = [_near(day.fall, -1) for day in record.days]
        data += [
            line(f"{name}: rise to the short's", times, rises, colour),
            line(f"{name}: fall to the loan's", times, falls, colour, line={"dash": "dot"}),
        ]
    axis = percent_axis("move of the price", range=[-FARTHEST, FARTHEST])
    layout = plot_layout(420, _times(_any(results)), yaxis=axis)
    layout["shapes"] = [level(0, BAD)]
    layout["annotations"] = [note(0, "liquidation")]
    return {"data": data, "layout": layout}


def _near(distance: float | None, sign: int = 1) -> float | None:
    return None if distance is None else sign * min(distance, FARTHEST)


def _rates(results: Results) -> Figure:
    record = _any(results)
    times = _times(record)
    data = [
        line("Funding, average", times, [day.average for day in record.days], FUNDING),
        line("Borrow USDT", times, [day.borrow_rate for day in record.days], REVERSE),
    ]
    layout = plot_layout(320, times, yaxis=percent_axis("a year"))
    layout["shapes"] = [
        _band(moment(a), moment(b), COLOURS[name]) for name, a, b in _stays(results)
    ]
    return {"data": data, "layout": layout}


def _stays(results: Results) -> list[tuple[str, int, int]]:
    """When the first vault carried, by days."""
    name, record = next(iter(results.records.items()))
    days = [(day.time, day.state == "carry") for day in record.days]
    turns = [days[0], *(b for a, b in pairwise(days) if a[1] != b[1]), (days[-1][0], False)]
    return [(name, a[0], b[0]) for a, b in pairwise(turns) if a[1]]


def _band(start: str, end: str, colour: str) -> Figure:
    return {
        "type": "rect",
        "yref": "paper",
        "x0": start,
        "x1": end,
        "y0": 0,
        "y1": 1,
        "fillcolor": colour,
        "opacity": 0.1,
        "line": {"width": 0},
    }
