"""What a replay comes to: plain figures for table, page and `summary.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from perpool.history import YEAR_HOURS, MarketHistory, iso
from perpool.replay.record import PARTS, STATES, Record, Worst
from perpool.replay.silo import HORIZONS, Chain, Survival
from perpool.replay.timeline import WHOLE_PRICE, Moment, interpolated


@dataclass
class Results:
    """Everything that table, page and summary are made of."""

    history: MarketHistory
    moments: list[Moment]
    every: int
    """Hours between two calls."""
    wicks: bool
    assumptions: dict[str, float]
    """Stated utilisations, slippage, the venue's fee. Fractions."""
    records: dict[str, Record]
    """By preset."""
    survival: Survival
    chain: Chain
    silo_ltv: float
    transactions: int = 0
    checks: int = 0
    """Times that contracts were compared with the model."""
    seconds: float = 0.0


@dataclass(frozen=True)
class Year:
    """A calendar year, or the part of it that was replayed. Fractions."""

    year: int
    tokens: float
    usdt: float
    holder_usdt: float
    parts: Mapping[str, float]
    """Tokens of each of PARTS, of a token put in."""


@dataclass(frozen=True)
class Distance:
    """A worst moment."""

    value: float | None
    at: str


@dataclass(frozen=True)
class Vault:
    """One preset."""

    name: str
    end_tokens: float
    """What a token put in has become."""
    end_usdt: float
    """What a USDT put in has become."""
    yield_tokens: float
    """A year, compounded."""
    yield_usdt: float
    parts: Mapping[str, float]
    """Tokens of each of PARTS over the whole time, of a token put in."""
    years: list[Year]
    hours: Mapping[str, int]
    rebalances: int
    switches: int
    gas: int
    tips: float
    """Part of all shares."""
    least_rise: Distance
    """Of the price, to the short's liquidation."""
    least_fall: Distance
    """Of the price, to the loan's."""
    least_margin: Distance
    highest_ltv: float
    liquidatable: Mapping[str, int]
    """Hours in which a leg could be liquidated."""

    @property
    def carried(self) -> float:
        """Part of the time."""
        return self.hours["carry"] / max(sum(self.hours.values()), 1)


@dataclass(frozen=True)
class Silo:
    """Borrowers who move nothing between their legs."""

    ltv: float
    starts: int
    dead: Mapping[str, tuple[int, int]]
    """Days -> (liquidated by then, watched for so long)."""
    by_leg: Mapping[str, int]
    """Of all starts, which leg went first."""
    restarts: int
    """Liquidations of one who starts again each time."""
    end_tokens: float
    """What a token of his has become."""


@dataclass(frozen=True)
class Summary:
    """All of it."""

    market: str
    origin: str
    synthetic: bool
    interpolated: bool
    """Whether hourly prices are a line between mark prices."""
    start: str
    end: str
    years: float
    hours: int
    every: int
    marks: str
    assumptions: Mapping[str, float]
    price: Mapping[str, float]
    vaults: list[Vault]
    silo: Silo
    transactions: int
    checks: int
    seconds: float
    gaps: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Plain values, in the order that they are declared in."""
        return asdict(self)


def summarise(results: Results) -> Summary:
    """The figures of a replay."""
    first, last = results.moments[0], results.moments[-1]
    span = (last.time - first.time) / 3_600 / YEAR_HOURS
    start, end = first.price_e36 / WHOLE_PRICE, last.price_e36 / WHOLE_PRICE
    gaps = [g for g in results.history.gaps() if first.time < g.end and g.start < last.time]
    return Summary(
        market=results.history.symbol,
        origin=results.history.origin,
        synthetic=results.history.synthetic,
        interpolated=interpolated(results.history),
        start=iso(first.time),
        end=iso(last.time),
        years=span,
        hours=len(results.moments),
        every=results.every,
        marks="high-low" if results.wicks else "close",
        assumptions=results.assumptions,
        price={"first": start, "last": end},
        vaults=[_vault(each, span, end / start) for each in results.records.values()],
        silo=_silo(results),
        transactions=results.transactions,
        checks=results.checks,
        seconds=results.seconds,
        gaps=[str(each) for each in gaps],
    )


def _vault(record: Record, span: float, price_ratio: float) -> Vault:
    end = record.days[-1].worth
    return Vault(
        name=record.name,
        end_tokens=end,
        end_usdt=end * price_ratio,
        yield_tokens=_annual(end, span),
        yield_usdt=_annual(end * price_ratio, span),
        parts=_per_token(record.total, record),
        years=[
            Year(year, tokens, usdt, held, _per_token(record.parts.get(year, {}), record))
            for year, tokens, usdt, held in record.yields()
        ],
        hours={state: record.hours[state] for state in STATES},
        rebalances=record.calls,
        switches=record.switches,
        gas=record.gas,
        tips=record.tips,
        least_rise=_distance(record.rise),
        least_fall=_distance(record.fall),
        least_margin=_distance(record.margin),
        highest_ltv=record.highest_ltv,
        liquidatable={leg: record.liquidatable[leg] for leg in ("short", "loan")},
    )


def _annual(ratio: float, span: float) -> float:
    """Compounded; all is lost at zero and below."""
    return ratio ** (1 / span) - 1 if ratio > 0 else -1.0


def _per_token(parts: Mapping[str, float], record: Record) -> dict[str, float]:
    return {part: parts.get(part, 0.0) / record.put_in for part in PARTS}


def _distance(worst: Worst) -> Distance:
    return Distance(worst.value, iso(worst.time) if worst.value is not None else "")


def _silo(results: Results) -> Silo:
    survival, chain = results.survival, results.chain
    ends = [death.leg for _, death in survival.deaths if death is not None]
    return Silo(
        ltv=results.silo_ltv,
        starts=survival.starts,
        dead={str(days): survival.dead(days) for days in HORIZONS},
        by_leg={leg: ends.count(leg) for leg in ("loan", "short")},
        restarts=len(chain.deaths),
        end_tokens=chain.worths[-1],
    )
