"""`perpool keeper status`: from plain values to tables, JSON, and what asks for attention.

    status = Status(network="sepolia", chain_id=11_155_111, time=now, ...)
    tables(status)           # (title, heads, rows) each
    as_json(status)
    complaints(status)       # one line each; none when all is well

Pure: whoever has the node, the journal and the mailbox fills in the values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any, Literal

from perpool.text import duration, number, percent, plain

LOW = timedelta(days=7)
"""An account whose ether lasts less long than this is low."""
SILENT = timedelta(minutes=10)
"""A reporter who has posted nothing for so long is silent."""
GRACE = timedelta(minutes=10)
"""What a feed or a pool may be late."""
REFUSALS = timedelta(hours=1)
"""Over which rounds that the chain refused are counted."""
REPEATED = 2
"""Refusals in that time that are more than a race with another submitter."""

ATTENTION = 3
"""Exit code when there are complaints."""

Table = tuple[str, list[str], list[tuple[str, ...]]]
"""Title, heads and rows."""


@dataclass(frozen=True)
class Feed:
    """A market's funding or price on chain."""

    feed: Literal["funding", "price"]
    market: str
    value: Decimal | None
    """The newest median: funding as a fraction a year, a price in USDT. None before the first."""
    observed_at: int
    """Unix seconds, 0 before the first."""
    heartbeat: timedelta
    spread: Decimal | None = None
    """Largest less smallest of the reporters' values in the newest round in the mailbox: the larger
    it is, the less the median says. None where it is not known."""

    def age(self, now: int) -> timedelta | None:
        """None before the first value."""
        return timedelta(seconds=now - self.observed_at) if self.observed_at else None

    def due_in(self, now: int) -> timedelta | None:
        """Until the heartbeat; negative once it is overdue."""
        age = self.age(now)
        return None if age is None else self.heartbeat - age


@dataclass(frozen=True)
class Pool:
    """A pool, and when the funding that it has cached was observed; 0 for never."""

    market: str
    leg: str
    funding_time: int
    oracle_time: int
    """When the newest funding of the oracle was observed."""

    @property
    def behind(self) -> timedelta:
        """How much newer the oracle's funding is."""
        return timedelta(seconds=max(0, self.oracle_time - self.funding_time))


@dataclass(frozen=True)
class Vault:
    """A carry vault; ratios are fractions."""

    name: str
    mode: str
    ltv: Decimal
    margin: Decimal | None
    """Of the short; None without one."""
    hedge: Decimal
    net_carry: Decimal
    """A fraction a year."""
    state: str
    """"due", "order pending", or "" where there is nothing to do."""
    in_danger: bool
    """Whether its loan or its short is near its liquidation."""


@dataclass(frozen=True)
class Payer:
    """An account that pays for gas."""

    role: str
    address: str
    ether: Decimal
    ether_a_day: Decimal | None = None
    """What it has been spending lately, None where nothing is known."""

    @property
    def lasts(self) -> timedelta | None:
        """Until it is empty at that rate; None where there is no telling."""
        if not self.ether_a_day:
            return None
        return timedelta(days=min(int(self.ether / self.ether_a_day), 3_650))


@dataclass(frozen=True)
class Lease:
    """Who is the active submitter."""

    holder: str
    expires_at: int


@dataclass(frozen=True)
class Reporter:
    """A reporter of the oracle, and the observation time of his newest report in the mailbox."""

    address: str
    newest: int | None

    def is_silent(self, now: int) -> bool:
        """Whether nothing of him has come for too long."""
        return now - (self.newest or 0) > SILENT.total_seconds()


@dataclass(frozen=True)
class Transaction:
    """A transaction of the journal."""

    time: int
    lane: str
    state: str
    what: str
    """Such as "funding ADA, BTC"."""
    hash: str | None
    reason: str = ""
    """Why it was refused, abandoned or failed, as far as the journal knows."""


@dataclass(frozen=True)
class Status:
    """All of it, at a time. `troubles` are what could not be found out, and why."""

    network: str
    chain_id: int
    time: int
    block: int | None = None
    feeds: tuple[Feed, ...] = ()
    pools: tuple[Pool, ...] = ()
    vaults: tuple[Vault, ...] = ()
    payers: tuple[Payer, ...] = ()
    lease: Lease | None = None
    has_lease: bool = False
    """Whether there is one to be held: a submitter is configured."""
    lease_known: bool = True
    """Whether it could be looked at."""
    is_local: bool = False
    """Whether the chain stands still until somebody sends: nobody has to be active on it."""
    reporters: tuple[Reporter, ...] = ()
    quorum: int = 0
    transactions: tuple[Transaction, ...] = ()
    refused: tuple[Transaction, ...] = ()
    """Rounds that the chain refused lately, the newest first."""
    troubles: tuple[str, ...] = ()


def tables(status: Status) -> list[Table]:
    """What there is, as tables; those without rows are left out."""
    now = status.time
    found: list[Table] = [
        (
            "Feeds on chain",
            ["feed", "market", "newest", "spread", "age", "due in"],
            [
                (
                    each.feed,
                    each.market,
                    _value(each, each.value),
                    _value(each, each.spread),
                    duration(each.age(now)),
                    _due(each, now),
                )
                for each in status.feeds
            ],
        ),
        (
            "Funding in the pools",
            ["market", "pool", "observed", "behind the oracle"],
            [
                (each.market, each.leg, _ago(each.funding_time, now), duration(each.behind))
                for each in status.pools
            ],
        ),
        (
            "Carry vaults",
            ["vault", "mode", "LTV", "margin", "hedge", "net carry", ""],
            [
                (
                    each.name,
                    each.mode,
                    percent(each.ltv),
                    percent(each.margin),
                    percent(each.hedge),
                    percent(each.net_carry),
                    each.state,
                )
                for each in status.vaults
            ],
        ),
        (
            "Accounts that pay",
            ["role", "account", "ether", "ether a day", "lasts"],
            [
                (
                    each.role,
                    each.address,
                    number(each.ether),
                    number(each.ether_a_day),
                    "-" if each.lasts is None else duration(each.lasts),
                )
                for each in status.payers
            ],
        ),
        (
            "Active submitter",
            ["holder of the lease", "for another"],
            _lease_rows(status),
        ),
        (
            f"Reporters, {status.quorum} of {len(status.reporters)} make a round",
            ["reporter", "newest report", ""],
            [
                (
                    each.address,
                    _ago(each.newest or 0, now),
                    "silent" if each.is_silent(now) else "speaks",
                )
                for each in status.reporters
            ],
        ),
        (
            "Newest transactions",
            ["planned", "lane", "state", "what", "hash"],
            [
                (_ago(each.time, now), each.lane, each.state, each.what, _short(each.hash))
                for each in status.transactions
            ],
        ),
    ]
    return [each for each in found if each[2]]


def as_json(status: Status) -> dict[str, Any]:
    """All values, with what follows from them; Decimals as text, durations in seconds."""
    now = status.time
    follows: dict[str, list[dict[str, timedelta | None]]] = {
        "feeds": [{"age": each.age(now), "due_in": each.due_in(now)} for each in status.feeds],
        "pools": [{"behind": each.behind} for each in status.pools],
        "payers": [{"lasts": each.lasts} for each in status.payers],
    }
    made: dict[str, Any] = plain(status)
    for listed, more in follows.items():
        made[listed] = [
            each | {name: plain(value) for name, value in extra.items()}
            for each, extra in zip(made[listed], more, strict=True)
        ]
    return made | {"complaints": complaints(status)}


def complaints(status: Status) -> list[str]:
    """What asks for attention, the gravest first."""
    return [
        *status.troubles,
        *_in_danger(status.vaults),
        *_overdue(status),
        *_unheld(status),
        *_silent(status),
        *_refused(status.refused),
        *_behind(status),
        *_low(status.payers),
    ]


def _in_danger(vaults: Sequence[Vault]) -> list[str]:
    return [
        f"{each.name} is near a liquidation: LTV {percent(each.ltv)}, margin {percent(each.margin)}"
        for each in vaults
        if each.in_danger
    ]


def _overdue(status: Status) -> list[str]:
    lines = []
    for each in status.feeds:
        due = each.due_in(status.time)
        if due is None:
            lines.append(f"{each.feed} of {each.market} was never reported")
        elif due < -GRACE:
            lines.append(f"{each.feed} of {each.market} is overdue by {duration(-due)}")
    return lines


def _unheld(status: Status) -> list[str]:
    if not status.has_lease or status.is_local:
        return []
    if not status.lease_known:
        return ["nobody can tell who holds the lease, and whether a submitter is active"]
    if status.lease is None or status.lease.expires_at <= status.time:
        return ["nobody holds the lease: no submitter is active"]
    return []


def _silent(status: Status) -> list[str]:
    """Where they are so many that no round can be made; a quorum may as well be all there is."""
    silent = [each.address for each in status.reporters if each.is_silent(status.time)]
    speaking = len(status.reporters) - len(silent)
    if speaking >= status.quorum:
        return []
    return [
        f"only {speaking} reporters speak, and a round takes {status.quorum}: nothing can be "
        f"reported; silent are {', '.join(silent)}"
    ]


def _refused(refused: Sequence[Transaction]) -> list[str]:
    if len(refused) < REPEATED:
        return []
    newest = refused[0]
    return [
        f"the chain refused {len(refused)} rounds in the last {duration(REFUSALS)}, at last "
        f"{newest.what}: {newest.reason}"
    ]


def _behind(status: Status) -> list[str]:
    return [
        f"{each.market} {each.leg}: the pool's funding is {duration(each.behind)} behind the oracle"
        for each in status.pools
        if each.behind > GRACE
    ]


def _low(payers: Sequence[Payer]) -> list[str]:
    lines = []
    for each in payers:
        if each.ether == 0:
            lines.append(f"the {each.role}'s account {each.address} is empty")
        elif each.lasts is not None and each.lasts < LOW:
            lines.append(
                f"the {each.role}'s account {each.address} lasts {duration(each.lasts)}: send it "
                "ether"
            )
    return lines


def _short(hash_: str | None) -> str:
    """Enough of a hash to find it; JSON has all of it."""
    return "-" if hash_ is None else f"{hash_[:10]}..{hash_[-4:]}"


def _lease_rows(status: Status) -> list[tuple[str, ...]]:
    if status.has_lease and not status.lease_known:
        return [("not known", "-")]
    return [(each.holder, _left(each.expires_at - status.time)) for each in (status.lease,) if each]


def _value(feed: Feed, value: Decimal | None) -> str:
    return percent(value) if feed.feed == "funding" else number(value)


def _due(feed: Feed, now: int) -> str:
    due = feed.due_in(now)
    return "now" if due is None else _left(int(due.total_seconds()))


def _left(seconds: int) -> str:
    """A duration that may be over."""
    if seconds < 0:
        return f"{duration(timedelta(seconds=-seconds))} ago"
    return duration(timedelta(seconds=seconds))


def _ago(time: int, now: int) -> str:
    return f"{duration(timedelta(seconds=max(0, now - time)))} ago" if time else "never"
