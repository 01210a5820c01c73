"""The table that a demo ends with, for a terminal."""

from __future__ import annotations

from itertools import groupby

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from perpool.demo.summary import Row, Summary
from perpool.text import percent, signed_percent

LEGS = {"reverse": "Reverse leg", "forward": "Forward leg"}
GROUPS = {
    "USDT lender": "Lenders of USDT",
    "token lender": "Lenders of tokens",
    "hedged holder": "Borrowers of USDT",
    "siloed holder": "Borrowers of USDT",
    "vault holder": "Carry vaults",
    "leveraged holder": "Borrowers of USDT",
    "shorter": "Shorters",
    "liquidator": "Liquidators",
    "Uniswap": "Uniswap, perp venues",
    "exchange": "Uniswap, perp venues",
    "rebalancer": "Keeper",
}
"""Role -> heading."""


def actor_table(summary: Summary) -> Table:
    """Everybody, with interest, funding, realised profit and the result."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("USDT", no_wrap=True)
    for name in ("Interest", "APR", "Funding", "Realised", "Liquid.", "Result"):
        table.add_column(name, justify="right", no_wrap=True)
    rows = [*summary.rows, *summary.others]
    for heading, members in groupby(rows, key=lambda row: GROUPS[row.role]):
        group = list(members)
        table.add_row(Text(heading, style="bold"), *_total(group, summary), style="bold")
        for row in group:
            table.add_row(
                f" {row.name}",
                money(row.interest),
                percent(row.apr, 1, missing=""),
                money(row.funding),
                money(row.realised),
                _times(row),
                money(row.result),
            )
    reserve = summary.legs["reverse"].reserve + (
        summary.legs["forward"].reserve * summary.price["last"]
    )
    table.add_row("Reserve of both pools", "", "", "", "", "", money(reserve), style="bold")
    table.add_row(
        "Insurance of the venue", "", "", "", "", "", money(summary.insurance), style="bold"
    )
    return table


def vault_table(summary: Summary) -> Table:
    """Carry vaults beside siloed holders and who only holds."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("Vaults", no_wrap=True)
    for head in VAULT_HEADS:
        table.add_column(head, justify="right", no_wrap=True)
    for cells in vault_cells(summary):
        table.add_row(*cells)
    return table


VAULT_HEADS = ("Tokens", "USDT", "Funding", "Interest", "Calls", "Least margin", "Highest LTV")


def vault_cells(summary: Summary) -> list[list[str]]:
    """Rows of the comparison, under a name and `VAULT_HEADS`."""
    figures = {each.name: each for each in summary.vaults}
    rows = {each.name: each for each in summary.rows}
    cells = []
    for each in summary.compared:
        vault, row = figures.get(each.name), rows.get(each.name)
        if vault is not None:
            parts = [money(vault.funding), money(vault.interest_earned - vault.interest_paid)]
            parts.append(str(vault.calls))
        else:
            assert row is not None
            parts = [money(row.funding), money(row.interest), ""]
        margin = percent(each.nearest.least_margin, 1, missing="")
        ltv = percent(each.nearest.highest_ltv, 1, missing="")
        cells.append(
            [
                each.name,
                signed_percent(each.tokens),
                signed_percent(each.usdt),
                *parts,
                "closed" if each.lost_leg == "short" else margin,
                "liquidated" if each.lost_leg == "loan" else ltv,
            ]
        )
    return [*cells, ["Holder", "0.0 %", signed_percent(summary.holder_usdt), *[""] * 5]]


def closing_lines(summary: Summary) -> list[str]:
    """What else there is to say, a sentence a line."""
    lines = [
        "Result: against just holding what one started with, at the last price. It sums to zero.",
        *(_leg_line(summary, leg, name) for leg, name in LEGS.items()),
    ]
    oracle = summary.oracle
    lines.append(
        f"Price feed: {count(oracle['price_rounds'], 'round')}, a move of at most "
        f"{percent(oracle['max_move'], 0)} each, {oracle['spacing_seconds']} s apart; "
        f"{oracle['rounds_held_back']} held back and caught up with in the next"
    )
    if summary.refused:
        refused = ", ".join(f"{reason} {times}" for reason, times in summary.refused.items())
        lines.append(f"Orders that the contracts refused: {refused}")
    lines.append(
        f"Money is conserved: at each of {summary.checks} checks all accounts and contracts "
        f"together held exactly what was minted ({int(summary.minted['usdt']):,} and "
        f"{int(summary.minted['tokens']):,} units), and each pool, the perp venue and each carry "
        "vault exactly its books"
    )
    return lines


def _leg_line(summary: Summary, leg: str, name: str) -> str:
    figures = summary.legs[leg]
    if figures.bad_debt:
        lost = (
            f"bad debt {figures.bad_debt:,.0f} {figures.asset}, of which the reserve bore "
            f"{figures.bad_debt_from_reserve:,.0f} and lenders "
            f"{figures.bad_debt_from_lenders:,.0f}"
        )
    else:
        lost = "no bad debt"
    return (
        f"{name}: lenders {percent(figures.lender_apr, 1)} a year, borrowers "
        f"{percent(figures.mean_borrow_rate, 1)} on average and "
        f"{percent(figures.highest_borrow_rate, 1)} at most; "
        f"{count(figures.liquidations, 'liquidation')}, {lost}"
    )


def closing(summary: Summary) -> RenderableType:
    """Table and lines."""
    lines = (Text(each) for each in closing_lines(summary))
    return Group(actor_table(summary), vault_table(summary), Text(), *lines)


def _total(group: list[Row], summary: Summary) -> list[str]:
    """The heading's own figures."""
    aprs = {
        "USDT lender": summary.legs["reverse"].lender_apr,
        "token lender": summary.legs["forward"].lender_apr,
    }
    liquidated = sum(row.liquidated for row in group)
    return [
        money(_sum([row.interest for row in group])),
        percent(aprs.get(group[0].role), 1, missing=""),
        money(_sum([row.funding for row in group])),
        money(_sum([row.realised for row in group])),
        str(liquidated) if liquidated else "",
        money(_sum([row.result for row in group])),
    ]


def _sum(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _times(row: Row) -> str:
    times = str(row.liquidated) if row.liquidated else ""
    return times + (" perp" if row.perp_closed else "")


def money(value: float | None) -> str:
    """Whole USDT with a sign; nothing for None."""
    if value is None:
        return ""
    return f"{value:+,.0f}" if round(value) else "0"


def count(number: int, noun: str) -> str:
    """1 loan, 2 loans."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
