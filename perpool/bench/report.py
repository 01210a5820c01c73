"""Figures as tables for a terminal, and as data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from perpool.anvil import HARDFORK
from perpool.bench.compare import TOLERANCE, Bar, Change, Comparison
from perpool.bench.market import ROUND_TOKENS
from perpool.bench.operations import Figures

SHORTS = ("open_short", "close_short")


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column(headings[0])
    for heading in headings[1:]:
        table.add_column(heading, justify="right")
    return table


def _gas(gas: int | None) -> str:
    return "" if gas is None else f"{gas:,}"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _ratio(ratio: float) -> Text:
    return Text(f"{ratio:.3f}", style="green" if ratio <= 1 else "red")


def beside_peers(comparison: Comparison, client: str) -> Table:
    """Every operation of lending next to every peer and the floor."""
    peers = comparison.peers
    names = list(peers.names)
    table = _table(
        f"Gas of a transaction, receipts of {client} ({HARDFORK})",
        *("operation", "perpool", "/ best", *names, "floor"),
    )
    for name, ratio in comparison.ratios.items():
        if name in SHORTS:
            continue
        row = peers.operations[name]
        best = peers.best(name)
        cells = [
            Text(_gas(row.get(peer)), style="bold" if row.get(peer) == best else "")
            for peer in names
        ]
        table.add_row(
            _words(name),
            _gas(comparison.ours[name]),
            _ratio(ratio),
            *cells,
            _gas(peers.floor_of(name)),
        )
    return table


def shorts(comparison: Comparison, figures: Figures) -> Table:
    """Shorting next to the peers that sold on Uniswap v2, with ours on v3 beside."""
    peers = comparison.peers
    names = list(dict.fromkeys(peer for name in SHORTS for peer in peers.operations[name]))
    headings = [_words(peer) for peer in names]
    table = _table(
        "Shorting 5,000 tokens on 80,000 USDT, sold and bought back on Uniswap v2",
        *("operation", "perpool", "/ best", *headings, "perpool on v3"),
    )
    for name in SHORTS:
        row = peers.operations[name]
        table.add_row(
            _words(name),
            _gas(comparison.ours[name]),
            _ratio(comparison.ratios[name]),
            *(_gas(row.get(peer)) for peer in names),
            _gas(figures.others[f"{name}_v3"]),
        )
    return table


def others(figures: Figures) -> Table:
    """What no peer has, and what circumstances add."""
    table = _table("Other operations", "operation", "gas")
    for name, gas in figures.others.items():
        table.add_row(_words(name), _gas(gas))
    return table


def additions(figures: Figures) -> Table:
    """What circumstances add to an operation."""
    circumstances = list(figures.extras)
    rows = list(dict.fromkeys(name for extra in figures.extras.values() for name in extra))
    table = _table("Gas on top", "operation", *circumstances)
    for name in rows:
        table.add_row(
            _words(name), *(_gas(figures.extras[each].get(name)) for each in figures.extras)
        )
    return table


def notes(comparison: Comparison, figures: Figures) -> list[str]:
    """Single figures in a line each."""
    floor, ours = comparison.peers.floor, figures.floor
    return [
        f"a round of funding, 5 reporters and {ROUND_TOKENS} tokens:"
        f" {figures.submit_per_token:,.0f} gas a token",
        "a transfer of shares reads nothing of the pool but the hook's flag: 2,100 for a cold word",
        "of a reward stream's gas 12,600 is cold access: the call, two words read and written; an"
        " account's first word is 17,100 more, a hook that is not the market's standard one 2,100,"
        " and a transfer is of two accounts",
        f"the peers' floor with this benchmark's USDT: {ours['pull_repeat']:,} to pull"
        f" (theirs {floor['pull_repeat']:,}), {ours['push_repeat']:,} to push"
        f" (theirs {floor['push_repeat']:,})",
    ]


def verdict(bars: Iterable[Bar]) -> list[Text]:
    """One line for each bar that is missed, and one for the whole."""
    found = list(bars)
    missed = [bar for bar in found if not bar.reached]
    lines = [
        Text(
            f"missed: {_words(bar.name)}: {_number(bar.value)}, at most {_number(bar.limit)}", "red"
        )
        for bar in missed
    ]
    if missed:
        lines.append(Text(f"{len(missed)} of {len(found)} bars missed", "bold red"))
    else:
        lines.append(Text(f"all {len(found)} bars reached", "bold green"))
    return lines


def _number(value: float) -> str:
    return f"{value:.3f}" if value < 10 else f"{value:,.0f}"


def full(comparison: Comparison, figures: Figures, bars: Sequence[Bar], client: str) -> Group:
    """Everything that `make bench` prints."""
    return Group(
        beside_peers(comparison, client),
        shorts(comparison, figures),
        f"geometric mean of ours / best peer: {comparison.mean:.3f}\n",
        others(figures),
        additions(figures),
        *notes(comparison, figures),
        "",
        *verdict(bars),
    )


def changed(found: Sequence[Change]) -> Table:
    """What differs from the snapshot."""
    table = _table("Gas against the snapshot", "operation", "old", "new", "change")
    for change in found:
        style = "red" if change.fails else "green" if change.part < -TOLERANCE else None
        sign = (
            f"{change.part:+.2%}" if change.old and change.new else "gone" if change.old else "new"
        )
        table.add_row(_words(change.name), _gas(change.old), _gas(change.new), sign, style=style)
    return table


def as_data(comparison: Comparison, figures: Figures, client: str) -> dict[str, Any]:
    """build/bench/gas.json: gas by operation, and everything else that was measured."""
    return {
        "operations": dict(figures.compared),
        "ratios": {name: round(ratio, 4) for name, ratio in comparison.ratios.items()},
        "geometric_mean": round(comparison.mean, 4),
        "others": dict(figures.others),
        "on_top": {name: dict(extra) for name, extra in figures.extras.items()},
        "hook_where_none_is_attached": dict(figures.hook),
        "reward_stream": figures.stream,
        "funding_submit_per_token": figures.submit_per_token,
        "floor": dict(figures.floor),
        "client": client,
        "hardfork": HARDFORK,
    }
