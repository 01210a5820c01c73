"""The report's part about carry vaults: how they fared beside others, and how near they were."""

from __future__ import annotations

from html import escape

from perpool.demo.carry import Hour
from perpool.demo.replay import Results
from perpool.demo.summary import Summary
from perpool.demo.table import VAULT_HEADS, count, vault_cells
from perpool.page import (
    BAD,
    FORWARD,
    GREY,
    REVERSE,
    Figure,
    Trace,
    axis_title,
    cell,
    level,
    line,
    moment,
    note,
    percent_axis,
    plot_layout,
)
from perpool.text import percent

SECTION = "vaults"
STYLES: dict[str, tuple[str, str]] = {
    "Vault keep": (REVERSE, "solid"),
    "Vault neutral": (FORWARD, "solid"),
    "Siloed at 40 %": (BAD, "solid"),
    "Siloed at 58 %": (BAD, "dot"),
}
"""Colour and dash of who is compared."""
HOLDER = {"dash": "dash", "width": 1.5}
UPPER, LOWER = [0.54, 1], [0, 0.46]
HEIGHT = 340
FARTHEST = 1.5
"""A margin beyond is drawn there: nothing threatens it."""


def section(summary: Summary) -> str:
    """Text, room for both plots, and the table."""
    heads = "".join(f"<th>{escape(head)}</th>" for head in ("", *VAULT_HEADS))
    rows = "".join(
        f"<tr><td>{escape(name)}</td>{''.join(map(cell, cells))}</tr>"
        for name, *cells in vault_cells(summary)
    )
    hours = count(summary.steps_for_vaults, "hour")
    return (
        f'<section id="{SECTION}"><h2>Vaults</h2><p>What a token has become in either carry '
        "vault, with a siloed borrower who shorts all of his tokens and never moves anything "
        "between loan and short, and with who only holds.</p>"
        f'<div id="{SECTION}-plot"></div><p>How near liquidations were, as found each hour before '
        "anything was done: the loan's debt of its collateral's value, and the short's equity of "
        "its notional. Both vaults hold the same margin.</p>"
        '<div id="distances-plot"></div></section>'
        '<section id="compared"><h2>Vaults in figures</h2><p>Funding, interest and calls are the '
        "whole vault's; tokens and USDT are of whoever was in it from the first day to the last. "
        f"Between the steps of everybody else, vaults were due or waited for in {hours}, and had a "
        "step of their own then.</p>"
        f'<div class="wide"><table><tr>{heads}</tr>{rows}</table></div></section>'
    )


def figures(results: Results) -> dict[str, Figure]:
    """Both plots, by the name of where they go."""
    return {f"{SECTION}-plot": _worths(results), "distances-plot": _distances(results)}


def _times(results: Results) -> list[str]:
    return [moment(hour.time) for hour in results.hours]


def _trace(results: Results, name: str, values: list[float | None], **more: object) -> Trace:
    colour, dash = STYLES.get(name, (GREY, "solid"))
    shape = {"shape": "linear", "dash": dash, "width": 1.5}
    return line(name, _times(results), values, colour, line=shape) | more


def _worths(results: Results) -> Figure:
    hours, times = results.hours, _times(results)
    first = hours[0].price
    data: list[Trace] = []
    for name in results.whose:
        worths = [hour.seen[name].worth for hour in hours]
        in_usdt = [worth * hour.price / first for worth, hour in zip(worths, hours, strict=True)]
        data += [
            _trace(results, name, list(worths), yaxis="y2"),
            _trace(results, name, list(in_usdt), showlegend=False),
        ]
    held = [hour.price / first for hour in hours]
    data += [
        line("Holder", times, [1.0] * len(times), GREY, line=HOLDER) | {"yaxis": "y2"},
        line("Holder", times, held, GREY, line=HOLDER | {"shape": "linear"}, showlegend=False),
    ]
    for trace in data:
        trace["hovertemplate"] = "%{y:.3f}"
    layout = plot_layout(
        HEIGHT,
        times,
        yaxis={"title": axis_title("USDT of one"), "domain": LOWER},
        yaxis2={"title": axis_title("tokens of one"), "domain": UPPER, "anchor": "x"},
    )
    return {"data": data, "layout": layout}


def _distances(results: Results) -> Figure:
    hours, times = results.hours, _times(results)
    data: list[Trace] = []
    for name in results.whose:
        ltvs, margins = _ratios(hours, name)
        data += [
            _trace(results, name, ltvs, yaxis="y2"),
            _trace(results, name, margins, showlegend=False),
        ]
    maintenance, liquidation = results.maintenance_margin, results.liquidation_ltv
    layout = plot_layout(
        HEIGHT,
        times,
        yaxis=percent_axis("short: margin", domain=LOWER, rangemode="tozero"),
        yaxis2=percent_axis(
            "loan: debt / value", domain=UPPER, anchor="x", range=[0, liquidation + 0.1]
        ),
    )
    layout["shapes"] = [level(maintenance, BAD), level(liquidation, BAD) | {"yref": "y2"}]
    layout["annotations"] = [
        note(maintenance, f"maintenance {percent(maintenance, 0)}"),
        note(liquidation, f"liquidation {percent(liquidation, 0)}") | {"yref": "y2"},
    ]
    return {"data": data, "layout": layout}


def _ratios(hours: list[Hour], name: str) -> tuple[list[float | None], list[float | None]]:
    """(LTV of the loan, margin of the short) by hours; None without one."""
    risks = [hour.seen[name].risk for hour in hours]
    margins = [None if each.margin is None else min(each.margin, FARTHEST) for each in risks]
    return [each.ltv for each in risks], margins
