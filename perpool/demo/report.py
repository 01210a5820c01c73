"""The demo's report: one page that needs nothing else, for a person to look at."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import groupby
from pathlib import Path

from perpool.demo import vault_report
from perpool.demo.replay import Record, Results
from perpool.demo.stage import (
    DEPTH,
    FEED_MAX_MOVE,
    FEED_SPACING,
    TWAP_TOLERANCE,
    TWAP_WINDOW,
    VENUE_LIQUIDITY,
    VENUE_PROVIDER,
)
from perpool.demo.summary import Row, Summary
from perpool.demo.table import GROUPS, count, money
from perpool.page import (
    BAD,
    FORWARD,
    FUNDING,
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
    plot_section,
    tile,
    write_page,
)
from perpool.text import percent

COLOURS = {
    "USDT lender": REVERSE,
    "hedged holder": "#3f8fd6",
    "siloed holder": "#3f8fd6",
    "vault holder": "#7a9c3a",
    "leveraged holder": "#3f8fd6",
    "token lender": FORWARD,
    "shorter": "#c9588f",
    "liquidator": GREY,
    "Uniswap": GREY,
    "exchange": GREY,
    "rebalancer": GREY,
}
COVER = "rates"
"""The section that `report.html#plot` shows alone."""


def write_report(results: Results, summary: Summary, path: Path) -> None:
    """Write the page, with everything it needs in it."""
    write_page(
        path,
        _figures(results, summary),
        title=escape(f"Perpool on {summary.market}, {summary.start[:10]} to {summary.end[:10]}"),
        lead=_lead(summary),
        tiles=_tiles(summary),
        sections=_sections(summary),
        footer=_footer(summary),
        cover=COVER,
    )


# -- text --


def _lead(summary: Summary) -> str:
    what = (
        f"A synthetic market with the statistics of real ones (seed {summary.seed})"
        if summary.synthetic
        else "Recorded funding and prices"
    )
    hourly = f", hourly on {summary.hourly_day}," if summary.hourly_day else ""
    return escape(
        f"{what}, replayed against the whole protocol on a local chain: "
        f"{summary.settlements} funding settlements over {summary.days:.0f} days, one step "
        f"each{hourly} and {count(summary.steps_for_vaults, 'hour')} between at which a carry "
        f"vault was due, {summary.transactions:,} transactions. Everybody follows a simple rule "
        "and knows nothing of the future."
    )


def _tiles(summary: Summary) -> str:
    reverse, forward = summary.legs["reverse"], summary.legs["forward"]
    price = summary.price
    tiles = [
        (percent(reverse.lender_apr, 1), "a year to lenders of USDT"),
        (percent(forward.lender_apr, 1), f"a year to lenders of {summary.market}"),
        (percent(summary.funding["mean"], 1), "mean funding a year, longs to shorts"),
        (
            f"{(price['last'] / price['first'] - 1) * 100:+.0f} %",
            f"price, with a fall of {percent(-price['worst_fall'], 0)} on the way",
        ),
        (
            str(reverse.liquidations + forward.liquidations),
            f"liquidations: {count(reverse.liquidations, 'loan')}, "
            f"{count(forward.liquidations, 'short')}",
        ),
        (
            f"{_bad_debt(summary):,.0f} USDT",
            f"bad debt, {_lenders_loss(summary):,.0f} of it borne by lenders",
        ),
    ]
    return "".join(tile(figure, text) for figure, text in tiles)


def _bad_debt(summary: Summary) -> float:
    reverse, forward = summary.legs["reverse"], summary.legs["forward"]
    return reverse.bad_debt + forward.bad_debt * summary.price["last"]


def _lenders_loss(summary: Summary) -> float:
    reverse, forward = summary.legs["reverse"], summary.legs["forward"]
    return reverse.bad_debt_from_lenders + forward.bad_debt_from_lenders * summary.price["last"]


def _sections(summary: Summary) -> list[str]:
    token = summary.market
    return [
        plot_section(
            COVER,
            "Funding against both pools' rates",
            "Above, what longs pay shorts on the exchange, as settled and as the oracle's average "
            "puts it on chain. Below, what it makes of the pools: while shorts are paid, borrowers "
            "of USDT share it with their lenders; while shorts pay, lenders of the token do.",
        ),
        plot_section(
            "price",
            f"Price of {token}",
            "As the signed price feed had it. Triangles are liquidations, downward of loans, "
            "upward of shorts.",
        ),
        plot_section(
            "utilisation",
            "Utilisation",
            "Debt as a part of what lenders have put in. Above 85 % the rate climbs steeply.",
        ),
        plot_section(
            "ltv",
            "The weakest positions",
            "The highest loan to value on each leg after liquidators have been at work, with its "
            "health on the right (liquidation LTV / LTV). The dashed line is what new loans are "
            "held to: realised volatility above 100 % a year lowers it.",
        ),
        plot_section(
            "exposure",
            "Short exposure",
            f"{token} sold through the forward pool and still owed, and beside it what holders of "
            "the reverse leg and carry vaults are short on the exchange and the venue.",
        ),
        plot_section(
            "earned",
            "Who earned what",
            "What everybody ended with, over what he would have had by just holding what he "
            "started with, and what it is made of. Over everybody, with Uniswap, liquidators, the "
            "exchange and the reserves, it sums to zero.",
        ),
        vault_report.section(summary),
        _actors(summary),
        _liquidations(summary),
        _rules(summary),
        _checks(summary),
    ]


def _actors(summary: Summary) -> str:
    heads = (
        "",
        "Worth at first",
        "Worth at last",
        "Interest",
        "APR",
        "Funding",
        "Realised",
        "Liquidated",
        "Result",
    )
    lines = ["<tr>" + "".join(f"<th>{head}</th>" for head in heads) + "</tr>"]
    for heading, group in groupby([*summary.rows, *summary.others], key=lambda r: GROUPS[r.role]):
        members = list(group)
        lines.append(
            f'<tr class="group" style="--group:{COLOURS[members[0].role]}">'
            f"<td>{escape(heading)}</td>{_group_cells(members, summary)}</tr>"
        )
        lines += [_actor(row) for row in members]
    return (
        '<section id="actors"><h2>Everybody</h2><p>USDT; tokens at the price of the day. Interest '
        "is earned or, with a minus, paid. Funding is what the exchange paid for perps held there. "
        "Realised is the profit of closed shorts.</p>"
        f'<div class="wide"><table>{"".join(lines)}</table></div></section>'
    )


def _group_cells(members: Sequence[Row], summary: Summary) -> str:
    aprs = {
        "USDT lender": summary.legs["reverse"].lender_apr,
        "token lender": summary.legs["forward"].lender_apr,
    }

    def total(values: Sequence[float | None]) -> str:
        known = [value for value in values if value is not None]
        return money(sum(known)) if known else ""

    cells = [
        f"{sum(row.started for row in members):,.0f}",
        f"{sum(row.ended for row in members):,.0f}",
        total([row.interest for row in members]),
        percent(aprs.get(members[0].role), 1, missing=""),
        total([row.funding for row in members]),
        total([row.realised for row in members]),
        str(sum(row.liquidated for row in members) or ""),
        total([row.result for row in members]),
    ]
    return "".join(map(cell, cells))


def _actor(row: Row) -> str:
    times = str(row.liquidated or "")
    if row.perp_closed:
        times = f"{times} perp".strip()
    cells = [
        f"{row.started:,.0f}",
        f"{row.ended:,.0f}",
        money(row.interest),
        percent(row.apr, 1, missing=""),
        money(row.funding),
        money(row.realised),
        times,
        money(row.result),
    ]
    return f"<tr><td>{escape(row.name)}</td>{''.join(map(cell, cells))}</tr>"


def _liquidations(summary: Summary) -> str:
    if not summary.liquidations:
        return '<section id="liquidations"><h2>Liquidations</h2><p>There were none.</p></section>'
    token = escape(summary.market)
    lines = [
        '<tr><th class="text">When (UTC)</th><th class="text">Leg</th><th class="text">Whose</th>'
        '<th class="text">By</th><th>LTV</th><th>Price</th><th>Repaid</th><th>Taken</th></tr>'
    ]
    for each in summary.liquidations:
        units = ("USDT", token) if each["leg"] == "reverse" else (token, "USDT")
        lines.append(
            f'<tr><td class="text">{each["at"]}</td><td class="text">{each["leg"]}</td>'
            f'<td class="text">{escape(each["borrower"])}</td>'
            f'<td class="text">{escape(each["by"].lower())}</td><td>{percent(each["ltv"], 1)}</td>'
            f"<td>{each['price']:.4g}</td><td>{each['repaid']:,.0f} {units[0]}</td>"
            f"<td>{each['seized']:,.0f} {units[1]}</td></tr>"
        )
    return (
        '<section id="liquidations"><h2>Liquidations</h2><p>Flash liquidators pay with the '
        "collateral itself within the transaction, those with capital deliver what is owed, and a "
        "purchase is the pool's own, for a tip.</p>"
        f'<div class="wide"><table>{"".join(lines)}</table></div></section>'
    )


def _rules(summary: Summary) -> str:
    """Equal rules once, with everybody's names."""
    lines = ['<tr><th class="text">Who</th><th class="text">Rule</th></tr>']
    by_rule: dict[str, list[str]] = {}
    for row in summary.rows:
        by_rule.setdefault(row.rule, []).append(row.name)
    fixed = {
        "Keeper": "Reports the settled funding and the last hourly close, signed by "
        f"{summary.oracle['quorum']} or more of {summary.oracle['reporters']} reporters, and "
        "syncs both pools; looks at carry vaults every hour, settles what is asked of them, and "
        "rebalances them while that is due",
        VENUE_PROVIDER.name: f"Gives {VENUE_LIQUIDITY:,} USDT to the perp venue on chain, against "
        "which carry vaults trade, and stays",
        "Arbitrageur": "Moves Uniswap to the recorded price when it is off by more than the fee",
        "Liquidators": "After each price try in turn, and do what earns something at Uniswap's "
        "price",
    }
    rules = [(", ".join(names), rule) for rule, names in by_rule.items()] + list(fixed.items())
    lines += [
        f'<tr><td class="text">{escape(names)}</td><td class="text">{escape(rule)}</td></tr>'
        for names, rule in rules
    ]
    return (
        '<section id="rules"><h2>The rules</h2><p>Nobody has hindsight: each sees the price, its '
        "last seven days, the oracle's average, both pools' rates, and his own accounts.</p>"
        f'<div class="wide"><table>{"".join(lines)}</table></div></section>'
    )


def _checks(summary: Summary) -> str:
    oracle = summary.oracle
    refused = "; ".join(f"{escape(why)}: {count}" for why, count in summary.refused.items())
    items = [
        f'<span class="ok">Money is conserved.</span> After each of {summary.checks} checks all '
        f"accounts and contracts together held exactly the {int(summary.minted['usdt']):,} units "
        f"of USDT and {int(summary.minted['tokens']):,} of {escape(summary.market)} that were "
        "minted at the start, each pool exactly its cash and its positions' collateral, the perp "
        "venue exactly its books, and carry vaults no shares but those of their holders.",
        f"With nobody at the end: {summary.rounding['usdt']:,} units of USDT and "
        f"{summary.rounding['tokens']:,} of {escape(summary.market)}, all of it rounding in favour "
        "of pools.",
        f"Price feed: at most {percent(float(FEED_MAX_MOVE), 0)} a round and {FEED_SPACING} s "
        "apart, so that a leaked quorum cannot name any price, yet a fall by half is four minutes "
        "away. "
        f"{oracle['rounds_held_back']} of {oracle['price_rounds']} rounds were held back, and the "
        "keeper followed with the next.",
        f"New risk also needs the {TWAP_WINDOW // 60}-minute average of Uniswap within "
        f"{percent(float(TWAP_TOLERANCE), 0)} of the feed; so people act half an hour after each "
        "report, and liquidators at once.",
        f"Uniswap holds {DEPTH:,.0f} USDT a side at first, over the full range.",
    ]
    if refused:
        items.append(f"Orders that the contracts refused: {refused}.")
    if oracle["steps_without_a_price"]:
        items.append(f"Steps without a recorded price: {oracle['steps_without_a_price']}.")
    items += [f"Missing in the record: {escape(gap)}." for gap in summary.gaps]
    listed = "".join(f"<li>{item}</li>" for item in items)
    return f'<section id="checks"><h2>What was checked</h2><ul>{listed}</ul></section>'


def _footer(summary: Summary) -> str:
    return escape(
        f"Source: {summary.origin}. Seed {summary.seed}. {summary.seconds:.0f} seconds. "
        "Drag over a plot to zoom into all of them, double-click to zoom out."
    )


# -- plots --


def _figures(results: Results, summary: Summary) -> dict[str, Figure]:
    records = results.records
    times = [moment(each.time) for each in records]
    return {
        f"{COVER}-plot": _rates(times, records),
        "price-plot": _price(times, records, results),
        "utilisation-plot": _utilisation(times, records),
        "ltv-plot": _ltv(times, records, results.liquidation_ltv),
        "exposure-plot": _exposure(times, records),
        "earned-plot": _earned(summary),
    } | vault_report.figures(results)


def _rates(times: list[str], records: list[Record]) -> Figure:
    upper = {"yaxis": "y2"}
    data = [
        line("Funding as settled", times, [r.funding for r in records], GREY, **upper)
        | {"line": {"color": GREY, "width": 1, "shape": "hv"}, "opacity": 0.75},
        line("Funding, average on chain", times, [r.funding_ema for r in records], FUNDING) | upper,
        line("Borrow USDT", times, [r.reverse.borrow_rate for r in records], REVERSE),
        line(
            "Lend USDT",
            times,
            [r.reverse.supply_rate for r in records],
            REVERSE,
            line={"dash": "dot"},
        ),
        line("Borrow token", times, [r.forward.borrow_rate for r in records], FORWARD),
        line(
            "Lend token",
            times,
            [r.forward.supply_rate for r in records],
            FORWARD,
            line={"dash": "dot"},
        ),
    ]
    layout = plot_layout(
        520,
        times,
        yaxis=percent_axis("pools' rates a year", domain=[0, 0.46], rangemode="tozero"),
        yaxis2=percent_axis(
            "funding a year",
            domain=[0.54, 1],
            anchor="x",
            zeroline=True,
            zerolinecolor=GREY,
            zerolinewidth=1,
        ),
    )
    return {"data": data, "layout": layout}


def _price(times: list[str], records: list[Record], results: Results) -> Figure:
    data = [
        line("Price", times, [r.price for r in records], FUNDING, line={"shape": "linear"})
        | {"hovertemplate": "%{y:.4g} USDT"}
    ]
    for leg, colour, symbol in (
        ("reverse", BAD, "triangle-down"),
        ("forward", FORWARD, "triangle-up"),
    ):
        hits = [each for each in results.liquidations if each.leg == leg]
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": "Loans liquidated" if leg == "reverse" else "Shorts liquidated",
                "x": [moment(each.time) for each in hits],
                "y": [round(each.price, 6) for each in hits],
                "text": [
                    f"{each.borrower}, LTV {percent(each.ltv, 1)}, by the {each.by.lower()}"
                    for each in hits
                ],
                "hovertemplate": "%{text}<extra></extra>",
                "marker": {"color": colour, "size": 12, "symbol": symbol},
            }
        )
    return {"data": data, "layout": plot_layout(320, times, yaxis={"title": axis_title("USDT")})}


def _utilisation(times: list[str], records: list[Record]) -> Figure:
    data = [
        line("USDT pool (reverse)", times, [r.reverse.utilisation for r in records], REVERSE),
        line("Token pool (forward)", times, [r.forward.utilisation for r in records], FORWARD),
    ]
    layout = plot_layout(280, times, yaxis=percent_axis("debt / assets", range=[0, 1.02]))
    layout["shapes"] = [level(0.85)]
    layout["annotations"] = [note(0.85, "kink 85 %")]
    return {"data": data, "layout": layout}


def _ltv(times: list[str], records: list[Record], liquidation: float) -> Figure:
    def known(values: list[float]) -> list[float | None]:
        return [value or None for value in values]

    data = [
        line("Loans (reverse)", times, known([r.reverse.worst_ltv for r in records]), REVERSE),
        line("Shorts (forward)", times, known([r.forward.worst_ltv for r in records]), FORWARD),
        line(
            "Limit for new loans",
            times,
            [r.borrow_ltv for r in records],
            GREY,
            line={"dash": "dash", "width": 1.5},
        ),
        # an axis is drawn only for a trace that is on it
        {
            "type": "scatter",
            "x": times[:1],
            "y": [liquidation],
            "yaxis": "y2",
            "mode": "lines",
            "hoverinfo": "skip",
            "showlegend": False,
        },
    ]
    ticks = [0.4, 0.5, 0.6, 0.7, 0.8]
    highest = max(max(r.reverse.worst_ltv, r.forward.worst_ltv) for r in records)
    bounds = [0.3, min(max(0.9, highest + 0.03), 1.5)]
    layout = plot_layout(
        320,
        times,
        yaxis=percent_axis("loan to value", range=bounds),
        yaxis2={
            "title": axis_title("health"),
            "overlaying": "y",
            "side": "right",
            "range": bounds,
            "tickvals": ticks,
            "ticktext": [f"{liquidation / tick:.2f}" for tick in ticks],
            "showgrid": False,
        },
    )
    layout["shapes"] = [level(liquidation, BAD)]
    layout["annotations"] = [note(liquidation, f"liquidation {percent(liquidation, 0)}")]
    return {"data": data, "layout": layout}


def _exposure(times: list[str], records: list[Record]) -> Figure:
    data = [
        line(
            "Owed to the forward pool",
            times,
            [r.forward.debt * r.price for r in records],
            FORWARD,
            fill="tozeroy",
            fillcolor="rgba(226,133,60,0.18)",
        ),
        line("Short as perps", times, [r.perp_short * r.price for r in records], "#3f8fd6"),
    ]
    for trace in data:
        trace["hovertemplate"] = "%{y:,.0f} USDT"
    return {
        "data": data,
        "layout": plot_layout(
            280, times, yaxis={"title": axis_title("USDT"), "rangemode": "tozero"}
        ),
    }


def _earned(summary: Summary) -> Figure:
    rows = summary.rows[::-1]
    names = [row.name for row in rows]
    funding = [row.funding or 0.0 for row in rows]
    interest = [row.interest or 0.0 for row in rows]
    rest = [row.result - a - b for row, a, b in zip(rows, funding, interest, strict=True)]
    data: list[Trace] = [
        {
            "type": "bar",
            "orientation": "h",
            "name": name,
            "x": [round(value, 2) for value in values],
            "y": names,
            "marker": {"color": colour},
            "hovertemplate": name + ": %{x:+,.0f} USDT<extra>%{y}</extra>",
        }
        for name, values, colour in (
            ("Funding", funding, FUNDING),
            ("Interest", interest, REVERSE),
            ("Price, trading, liquidation", rest, GREY),
        )
    ]
    data.append(
        {
            "type": "scatter",
            "mode": "markers",
            "name": "Result",
            "x": [round(row.result, 2) for row in rows],
            "y": names,
            "marker": {"symbol": "diamond", "size": 10, "color": BAD},
            "hovertemplate": "Result: %{x:+,.0f} USDT<extra>%{y}</extra>",
        }
    )
    layout = plot_layout(
        27 * len(rows) + 110,
        yaxis={"automargin": True, "showgrid": False},
        xaxis={
            "title": axis_title("USDT against just holding"),
            "tickformat": ",.0f",
            "zeroline": True,
            "zerolinecolor": GREY,
        },
    )
    layout |= {"hovermode": "closest", "barmode": "relative", "bargap": 0.35}
    layout["margin"] |= {"r": 24, "b": 48}
    return {"data": data, "layout": layout}
