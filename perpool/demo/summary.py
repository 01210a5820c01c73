"""From a replay's results to the figures that table, JSON and report show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from perpool.demo.actors import Actor, Lender, Shorter, VaultHolder
from perpool.demo.books import Books
from perpool.demo.carry import Hour
from perpool.demo.holdings import TOKEN_UNIT, USDT_UNIT
from perpool.demo.replay import CAPITAL, FLASH, PURCHASE, LegRecord, Record, Results
from perpool.demo.stage import (
    ARBITRAGEUR,
    EXCHANGE,
    FEED_MAX_MOVE,
    FEED_SPACING,
    PROVIDER,
    QUORUM,
    REBALANCER,
    REPORTERS,
    VENUE_PROVIDER,
)
from perpool.history import iso

YEAR = 365 * 86_400
OTHERS = {
    FLASH: "liquidator",
    CAPITAL: "liquidator",
    PURCHASE: "liquidator",
    PROVIDER.name: "Uniswap",
    ARBITRAGEUR.name: "Uniswap",
    EXCHANGE.name: "exchange",
    VENUE_PROVIDER.name: "exchange",
    REBALANCER.name: "rebalancer",
}


@dataclass(frozen=True)
class Row:
    """One actor. USDT unless said otherwise; None where a column says nothing of him.

    `result` is what he ended with over what he would have had by just holding what he started with,
    tokens at the last price. Over everybody it sums to zero.
    """

    name: str
    role: str
    rule: str
    started: float
    """Worth at the first price."""
    ended: float
    """Worth at the last price."""
    result: float
    interest: float | None = None
    """Earned, or with a minus paid; tokens at the last price."""
    apr: float | None = None
    """Of a lender, on what he had lent and for as long as he had."""
    funding: float | None = None
    """Collected on the exchange, net of what was paid."""
    realised: float | None = None
    """Of closed shorts, proceeds less the cost of buying back."""
    closed: int | None = None
    liquidated: int = 0
    """Times, on Perpool."""
    perp_closed: int = 0
    """Times the exchange closed his perp."""


@dataclass(frozen=True)
class Leg:
    """One leg over the whole replay. Amounts in its asset, rates a year."""

    asset: str
    lender_apr: float
    """Growth of a share, simple."""
    mean_utilisation: float
    highest_utilisation: float
    mean_borrow_rate: float
    highest_borrow_rate: float
    highest_premium: float
    interest: float
    reserve: float
    bad_debt: float
    bad_debt_from_reserve: float
    bad_debt_from_lenders: float
    liquidations: int
    worst_ltv: float


@dataclass(frozen=True)
class Nearest:
    """Where an account came nearest to a liquidation, over all hours; None without such a leg."""

    least_margin: float | None
    """Equity of the short, of its notional."""
    highest_ltv: float | None


@dataclass(frozen=True)
class Compared:
    """A vault by whoever was in it from first to last, or a siloed holder. USDT unless said."""

    name: str
    tokens: float
    """Change of his worth in tokens, a fraction."""
    usdt: float
    """The same in USDT."""
    nearest: Nearest
    lost_leg: str
    """"short", "loan", or "" where neither was liquidated."""


@dataclass(frozen=True)
class VaultFigures:
    """A carry vault over the whole replay. USDT; tokens at the last price."""

    name: str
    funding: float
    interest_paid: float
    interest_earned: float
    venue_fees: float
    tokens_sold: float
    """Whole tokens."""
    tokens_bought: float
    calls: int
    """Of `rebalance` that did something."""
    switches: int
    tips: float
    """Part of all shares that the caller of `rebalance` got."""


@dataclass(frozen=True)
class Summary:
    """All figures of one replay."""

    market: str
    synthetic: bool
    origin: str
    seed: int
    start: str
    end: str
    days: float
    steps: int
    steps_for_vaults: int
    """Of them, hours between two others at which a carry vault was due."""
    hourly_day: str | None
    settlements: int
    gaps: list[str]
    price: dict[str, float]
    funding: dict[str, float]
    legs: dict[str, Leg]
    vaults: list[VaultFigures]
    compared: list[Compared]
    holder_usdt: float
    """Change of the worth in USDT of who only holds."""
    insurance: float
    """Of the perp venue, USDT."""
    rows: list[Row]
    others: list[Row]
    rounding: dict[str, int]
    """What no account has a claim to, in smallest units: roundings for the pools, and Uniswap's."""
    liquidations: list[dict[str, Any]]
    oracle: dict[str, Any]
    refused: dict[str, int]
    minted: dict[str, str]
    checks: int
    transactions: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`."""
        return asdict(self)


def summarise(results: Results) -> Summary:
    """All figures of a finished replay."""
    start, end = results.start, results.end
    assert start is not None, "the replay has not run"
    assert end is not None, "the replay has not run"
    records, history = results.records, results.history
    first_price, last_price = records[0].price, records[-1].price
    prices = [each.price for each in records]
    settled = [float(each.annual_rate) for each in history.settlements]
    emas = [each.funding_ema for each in records]
    rows = [_row(actor, results, first_price, last_price) for actor in results.actors]
    others = [
        _plain_row(name, role, results, first_price, last_price) for name, role in OTHERS.items()
    ]
    seconds = records[-1].time - records[0].time
    return Summary(
        market=history.symbol,
        synthetic=history.synthetic,
        origin=history.origin,
        seed=results.seed,
        start=iso(records[0].time),
        end=iso(records[-1].time),
        days=seconds / 86_400,
        steps=results.steps,
        steps_for_vaults=results.steps_for_vaults,
        hourly_day=None if results.hourly_day is None else iso(results.hourly_day),
        settlements=len(settled),
        gaps=[str(gap) for gap in history.gaps()],
        price={
            "first": first_price,
            "last": last_price,
            "lowest": min(prices),
            "highest": max(prices),
            "worst_fall": worst_fall(prices),
        },
        funding={
            "mean": mean_funding(results),
            "lowest": min(settled),
            "highest": max(settled),
            "lowest_ema": min(emas),
            "highest_ema": max(emas),
        },
        legs={leg: _leg(leg, results) for leg in ("reverse", "forward")},
        vaults=[_vault(name, results, last_price) for name in results.vaults],
        compared=compared(results, first_price, last_price),
        holder_usdt=last_price / first_price - 1,
        insurance=end.perp_venue.state.insurance / USDT_UNIT,
        rows=rows,
        others=others,
        rounding=rounding(results),
        liquidations=[asdict(each) | {"at": iso(each.time)} for each in results.liquidations],
        oracle={
            "reporters": REPORTERS,
            "quorum": QUORUM,
            "funding_rounds": results.rounds["funding"],
            "price_rounds": results.rounds["price"],
            "rounds_held_back": results.rounds["held back"],
            "max_move": float(FEED_MAX_MOVE),
            "spacing_seconds": FEED_SPACING,
            "steps_without_a_price": results.prices_missing,
        },
        refused=dict(results.refused),
        minted={"usdt": str(end.minted[0]), "tokens": str(end.minted[1])},
        checks=results.checks,
        transactions=results.transactions,
        seconds=results.seconds,
    )


def worst_fall(prices: Sequence[float]) -> float:
    """The largest fall from any price to a later one, as a negative fraction."""
    highest, worst = prices[0], 0.0
    for price in prices:
        highest = max(highest, price)
        worst = min(worst, price / highest - 1)
    return worst


def mean_funding(results: Results) -> float:
    """Sum of all settlements over their hours, a year."""
    settlements = results.history.settlements
    hours = sum(each.hours for each in settlements)
    return float(sum(each.rate for each in settlements)) * 8_760 / hours


def net_changes(results: Results) -> dict[str, tuple[int, int]]:
    """Name -> what he has more than at the start, (USDT, tokens) in smallest units."""
    start, end = results.start, results.end
    assert start is not None
    assert end is not None
    changes = {}
    for name, after in end.holdings.items():
        before = start.holdings[name]
        changes[name] = (
            after.net_usdt - before.net_usdt,
            after.net_tokens - before.net_tokens,
        )
    (tokens_before, usdt_before) = results.provided["start"]
    (tokens_after, usdt_after) = results.provided["end"]
    usdt, tokens = changes[PROVIDER.name]
    changes[PROVIDER.name] = (
        usdt + usdt_after - usdt_before,
        tokens + tokens_after - tokens_before,
    )
    return changes


def rounding(results: Results) -> dict[str, int]:
    """Minus the sum of all changes and of the reserves: what has stayed with nobody."""
    changes = net_changes(results).values()
    start, end = results.start, results.end
    assert start is not None
    assert end is not None
    return {
        "usdt": -sum(usdt for usdt, _ in changes)
        - _reserve_change(start, end, "reverse")
        - (end.perp_venue.state.insurance - start.perp_venue.state.insurance),
        "tokens": -sum(tokens for _, tokens in changes) - _reserve_change(start, end, "forward"),
    }


def _reserve_change(start: Books, end: Books, leg: str) -> int:
    return end.pools[leg].reserve - start.pools[leg].reserve


def _plain_row(name: str, role: str, results: Results, first: float, last: float) -> Row:
    """Somebody without a rule, by what he started and ended with."""
    start = results.start
    assert start is not None
    usdt, tokens = net_changes(results)[name]
    before = start.holdings[name]
    usdt_before, tokens_before = before.net_usdt, before.net_tokens
    if name == PROVIDER.name:
        tokens_before += results.provided["start"][0]
        usdt_before += results.provided["start"][1]
    return Row(
        name=name,
        role=role,
        rule="",
        started=_worth(usdt_before, tokens_before, first),
        ended=_worth(usdt_before + usdt, tokens_before + tokens, last),
        result=_worth(usdt, tokens, last),
    )


def _row(actor: Actor, results: Results, first: float, last: float) -> Row:
    plain = _plain_row(actor.name, actor.role, results, first, last)
    figures = asdict(plain) | {"rule": actor.rule}
    if isinstance(actor, VaultHolder):
        return Row(**figures)
    if isinstance(actor, Lender):
        return Row(**figures | _lender_figures(actor, results, last))
    return Row(**figures | _borrower_figures(actor, results, last))


def _lender_figures(actor: Lender, results: Results, last: float) -> dict[str, Any]:
    usdt, tokens = net_changes(results)[actor.name]
    earned = usdt if actor.leg == "reverse" else tokens
    lent = results.lent_seconds[actor.name]
    return {
        "interest": _worth(usdt, tokens, last),
        "apr": earned * YEAR / lent if lent else None,
    }


def _borrower_figures(actor: Actor, results: Results, last: float) -> dict[str, Any]:
    end = results.end
    assert end is not None
    tally, client = results.tallies[actor.name], results.perp.clients.get(actor.name)
    interest = -interest_paid(actor.name, actor.leg, results)
    figures: dict[str, Any] = {
        "interest": _worth(interest, 0, last)
        if actor.leg == "reverse"
        else _worth(0, interest, last),
        "liquidated": tally.liquidated,
        "funding": client.funding_received / USDT_UNIT if client else None,
        "perp_closed": client.liquidations if client else 0,
    }
    if isinstance(actor, Shorter):
        figures |= {"realised": tally.realised / USDT_UNIT, "closed": tally.closed}
    return figures


def interest_paid(name: str, leg: str, results: Results) -> int:
    """Debt, repayments and what was written off, less what was borrowed; in the leg's asset."""
    end = results.end
    assert end is not None
    tally, holding = results.tallies[name], end.accounts[name]
    owed = holding.debt if leg == "reverse" else holding.short_debt
    return owed + tally.repaid + tally.written_off - tally.borrowed


def _leg(leg: str, results: Results) -> Leg:
    end = results.end
    assert end is not None
    unit = USDT_UNIT if leg == "reverse" else TOKEN_UNIT
    records = results.records
    sides: list[LegRecord] = [getattr(each, leg) for each in records]
    lost = {who: results.bad_debt[f"{leg} {who}"] / unit for who in ("reserve", "lenders")}
    borrowers = [a.name for a in results.actors if a.leg == leg and not isinstance(a, Lender)]
    if leg == "reverse":
        borrowers += results.vaults
    elapsed = records[-1].time - records[0].time
    growth = sides[-1].share_price / sides[0].share_price - 1
    return Leg(
        asset="USDT" if leg == "reverse" else results.history.symbol,
        lender_apr=growth * YEAR / elapsed if elapsed else 0.0,
        mean_utilisation=_time_mean(records, [each.utilisation for each in sides]),
        highest_utilisation=max(each.utilisation for each in sides),
        mean_borrow_rate=_time_mean(records, [each.borrow_rate for each in sides]),
        highest_borrow_rate=max(each.borrow_rate for each in sides),
        highest_premium=max(each.premium for each in sides),
        interest=sum(interest_paid(each, leg, results) for each in borrowers) / unit,
        reserve=end.pools[leg].reserve / unit,
        bad_debt=sum(lost.values()),
        bad_debt_from_reserve=lost["reserve"],
        bad_debt_from_lenders=lost["lenders"],
        liquidations=sum(each.leg == leg for each in results.liquidations),
        worst_ltv=max(
            [each.worst_ltv for each in sides]
            + [each.ltv for each in results.liquidations if each.leg == leg]
        ),
    )


def _vault(name: str, results: Results, last: float) -> VaultFigures:
    end, tally = results.end, results.vaults[name]
    assert end is not None
    books = end.vaults[name]
    earned = books.has.lent_tokens + tally.withdrawn - tally.lent
    return VaultFigures(
        name=name,
        funding=(tally.funding + books.funding) / USDT_UNIT,
        interest_paid=interest_paid(name, "reverse", results) / USDT_UNIT,
        interest_earned=_worth(0, earned, last),
        venue_fees=tally.fees / USDT_UNIT,
        tokens_sold=tally.sold / TOKEN_UNIT,
        tokens_bought=tally.bought / TOKEN_UNIT,
        calls=tally.calls,
        switches=tally.switches,
        tips=books.tips / books.shares if books.shares else 0.0,
    )


def compared(results: Results, first: float, last: float) -> list[Compared]:
    """Vaults and siloed holders, as they ended and where they were nearest to a liquidation."""
    start, end = results.start, results.end
    assert start is not None
    assert end is not None
    found = []
    for account, name in results.whose.items():
        usdt, tokens = net_changes(results)[name]
        began = start.holdings[name].net_tokens
        worth = 1 + _worth(usdt, tokens, last) / _worth(0, began, last)
        found.append(
            Compared(
                name=account,
                tokens=worth - 1,
                usdt=worth * last / first - 1,
                nearest=nearest(results.hours, account),
                lost_leg=_lost_leg(account, results),
            )
        )
    return found


def nearest(hours: Sequence[Hour], account: str) -> Nearest:
    """Over all hours, as the account was found."""
    risks = [hour.seen[account].risk for hour in hours]
    margins = [risk.margin for risk in risks if risk.margin is not None]
    ltvs = [risk.ltv for risk in risks if risk.ltv is not None]
    return Nearest(min(margins, default=None), max(ltvs, default=None))


def _lost_leg(account: str, results: Results) -> str:
    client, tally = results.perp.clients.get(account), results.vaults.get(account)
    if (client and client.liquidations) or (tally and tally.liquidated):
        return "short"
    return "loan" if results.tallies[account].liquidated else ""


def _time_mean(records: Sequence[Record], values: Sequence[float]) -> float:
    """Mean over time of what held from each record to the next."""
    spans = [b.time - a.time for a, b in pairwise(records)]
    if not spans:
        return values[0]
    weighted: float = sum(value * span for value, span in zip(values, spans, strict=False))
    return weighted / sum(spans)


def _worth(usdt: int, tokens: int, price: float) -> float:
    return usdt / USDT_UNIT + tokens / TOKEN_UNIT * price


__all__ = [
    "Compared",
    "Leg",
    "Nearest",
    "Row",
    "Summary",
    "VaultFigures",
    "interest_paid",
    "nearest",
    "rounding",
    "summarise",
]
