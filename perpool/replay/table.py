"""The table that a replay ends with, for a terminal."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from perpool.replay.record import PARTS, STATES
from perpool.replay.summary import Distance, Summary, Vault
from perpool.text import percent, signed_percent


def closing(summary: Summary) -> RenderableType:
    """Tables and lines."""
    return Group(vault_table(summary), year_table(summary), *map(Text, closing_lines(summary)))


def vault_table(summary: Summary) -> Table:
    """A row a preset, with what its yield is made of."""
    table = _table("Vault", "Tokens", "a year", "USDT", "a year")
    for part in PARTS:
        table.add_column(part.capitalize(), justify="right", no_wrap=True)
    for name in ("Carry", "Calls", "Switches", "Gas"):
        table.add_column(name, justify="right", no_wrap=True)
    for vault in summary.vaults:
        table.add_row(
            vault.name,
            signed_percent(vault.end_tokens - 1),
            signed_percent(vault.yield_tokens),
            signed_percent(vault.end_usdt - 1),
            signed_percent(vault.yield_usdt),
            *(signed_percent(vault.parts[part]) for part in PARTS),
            percent(vault.carried, 0),
            f"{vault.rebalances:,}",
            str(vault.switches),
            f"{vault.gas / 1e6:,.1f}M",
        )
    ratio = summary.price["last"] / summary.price["first"]
    held = ratio ** (1 / summary.years) - 1
    cells = map(signed_percent, (0.0, 0.0, ratio - 1, held))
    table.add_row("holder", *cells, *[""] * (len(PARTS) + 4))
    return table


def year_table(summary: Summary) -> Table:
    """A row a year: yield in tokens and in USDT of each preset, and the holder's."""
    names = [vault.name for vault in summary.vaults]
    table = _table("Year", *(f"{n} {u}" for n in names for u in ("tokens", "USDT")), "holder USDT")
    for index, year in enumerate(summary.vaults[0].years):
        rows = [vault.years[index] for vault in summary.vaults]
        cells = [signed_percent(value) for row in rows for value in (row.tokens, row.usdt)]
        table.add_row(str(year.year), *cells, signed_percent(year.holder_usdt))
    return table


def closing_lines(summary: Summary) -> list[str]:
    """What else there is to say, a sentence a line."""
    lines = [
        "Funding to hedge are of a token put in, over the whole time, and sum to its gain but for "
        "the callers' tips."
    ]
    lines += [_risk_line(vault) for vault in summary.vaults]
    silo = summary.silo
    dead = ", ".join(
        f"{dead} of {watched} within {days} days" for days, (dead, watched) in silo.dead.items()
    )
    lines += [
        f"Siloed at an LTV of {percent(silo.ltv, 0)}, begun every month: {dead}; the loan first "
        f"{silo.by_leg['loan']} times, the short {silo.by_leg['short']}. One who begins again "
        f"each time: {silo.restarts} liquidations, {silo.end_tokens:.3f} tokens of one",
        *assumption_lines(summary),
        f"Contracts equal the reference model to the unit at each of {summary.checks:,} "
        "comparisons",
    ]
    return lines


def assumption_lines(summary: Summary) -> list[str]:
    """What the figures assume."""
    given = summary.assumptions
    prices = (
        "lines between the mark prices of settlements"
        if summary.interpolated
        else "hourly closes of the perp"
    )
    lines = [
        f"Assumed: USDT lent out {percent(given['usdt_utilisation'], 0)}, tokens "
        f"{percent(given['token_utilisation'], 0)}, at the pools' own rates; swaps at the oracle's "
        f"price less {percent(given['slippage'], 2)}, the venue's fee {percent(given['fee'], 3)}; "
        f"a call every {'hour' if summary.every == 1 else f'{summary.every} hours'}; prices are "
        f"{prices}, and liquidations are judged at "
        + ("each hour's high and low" if summary.marks == "high-low" else "them"),
        "Funding accrues continuously at the rate that settles at the end of the interval, so that "
        "an interval brings what was settled for it; the switch knows past settlements only",
    ]
    if summary.gaps:
        lines.append(f"Missing, and no call there: {'; '.join(summary.gaps)}")
    return lines


def _risk_line(vault: Vault) -> str:
    hours, total = vault.liquidatable, max(sum(vault.hours.values()), 1)
    stays = ", ".join(f"{percent(vault.hours[state] / total, 1)} {state}" for state in STATES)
    return (
        f"{vault.name}: {stays}; nearest to the short's liquidation "
        f"{_worst(vault.least_rise)}, to the loan's {_worst(vault.least_fall)}; thinnest margin "
        f"{_worst(vault.least_margin)}, highest LTV {percent(vault.highest_ltv, 1)}; hours in "
        f"which it could be liquidated: short {hours['short']}, loan {hours['loan']}"
    )


def _worst(distance: Distance) -> str:
    return f"{percent(distance.value, 1)} ({distance.at})" if distance.at else "never"


def _table(first: str, *rest: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column(first, no_wrap=True)
    for name in rest:
        table.add_column(name, justify="right", no_wrap=True)
    return table
