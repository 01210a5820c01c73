"""Pages of a replay: plots and tables in one file that needs nothing else."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from plotly.offline import get_plotlyjs

# readable on white and on near black
REVERSE, FORWARD, FUNDING = "#1aa08f", "#e2853c", "#8577f2"
GREY, BAD = "#8a94a3", "#dc5562"
GRID = "rgba(138,148,163,0.22)"
Trace = dict[str, Any]
Figure = dict[str, Any]


def write_page(
    path: Path,
    figures: Mapping[str, Figure],
    *,
    title: str,
    lead: str,
    tiles: str,
    sections: Sequence[str],
    footer: str,
    cover: str,
) -> None:
    """Write a page with everything it needs in it.

    All but the figures is HTML. `#plot` shows the section `cover` alone, `#plot-name` another.
    """
    page = Template(Path(__file__).with_name("page.html").read_text())
    path.write_text(
        page.substitute(
            title=title,
            lead=lead,
            tiles=tiles,
            sections="\n".join(sections),
            footer=footer,
            cover=cover,
            figures=json.dumps(figures, separators=(",", ":")),
            plotly=get_plotlyjs(),
        )
    )


def tile(figure: str, text: str) -> str:
    """A figure in large with what it is."""
    return f"<div class=tile><b>{figure}</b><span>{escape(text)}</span></div>"


def moment(time: int) -> str:
    """A time as plots take it."""
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M")


def plot_section(name: str, title: str, text: str) -> str:
    """A section with room for the figure `<name>-plot`."""
    return (
        f'<section id="{name}"><h2>{escape(title)}</h2><p>{escape(text)}</p>'
        f'<div id="{name}-plot"></div></section>'
    )


def cell(text: str) -> str:
    """A cell of a table, marked where the figure is below zero."""
    return f'<td class="minus">{text}</td>' if text.startswith("-") else f"<td>{text}</td>"


def line(name: str, x: list[str], y: Sequence[float | None], colour: str, **more: Any) -> Trace:
    """A line that holds each value until the next, as rates on chain do."""
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": x,
        "y": [None if value is None or math.isnan(value) else round(value, 6) for value in y],
        "line": {"color": colour, "width": 2, "shape": "hv"} | more.pop("line", {}),
        "hovertemplate": "%{y:.1%}",
    } | more


def plot_layout(height: int, times: Sequence[str] = (), **axes: Any) -> dict[str, Any]:
    """A plot's layout, over time where `times` has its first and its last moment."""
    found: dict[str, Any] = {
        "height": height,
        "margin": {"l": 72, "r": 62, "t": 8, "b": 34},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": GREY},
        "hovermode": "x unified",
        "hoverlabel": {
            "bgcolor": "#1f2733",
            "font": {"color": "#f2f4f7"},
            "bordercolor": "#1f2733",
        },
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        "xaxis": {
            "type": "date",
            "gridcolor": GRID,
            "zeroline": False,
            "hoverformat": "%d %b %H:%M",
        },
    }
    for name, axis in axes.items():
        found[name] = {"gridcolor": GRID, "zeroline": False} | axis
    return found


def percent_axis(title: str, **more: Any) -> dict[str, Any]:
    """An axis of fractions."""
    return {"title": axis_title(title), "tickformat": ".0%"} | more


def axis_title(text: str) -> dict[str, Any]:
    """A title of an axis."""
    return {"text": text, "font": {"size": 13}, "standoff": 8}


def level(value: float, colour: str = GREY) -> dict[str, Any]:
    """A dotted line across the plot."""
    return {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": value,
        "y1": value,
        "line": {"color": colour, "width": 1, "dash": "dot"},
    }


def note(value: float, text: str) -> dict[str, Any]:
    """A word on such a line."""
    return {
        "xref": "paper",
        "x": 0,
        "xanchor": "left",
        "y": value,
        "yanchor": "bottom",
        "text": text,
        "showarrow": False,
        "font": {"size": 12, "color": GREY},
    }
