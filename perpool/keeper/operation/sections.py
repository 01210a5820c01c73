"""Sections of `keeper.toml`, one a role: settings, their bounds, and what contradicts itself.

What a section finds wrong are its methods with `faults_of`, which `perpool.settings` calls.
"""

from __future__ import annotations

import re
import socket
import urllib.parse
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode

from perpool.keeper.signing import parse_account
from perpool.keeper.sources import EXCHANGES, SYNTHETIC
from perpool.keeper.transactions.fees import MAX_GAS
from perpool.settings import Address, Amount, Fee, Percent, Section, Span, closest, duration_text

HISTORY = "history"
PAST = (HISTORY, SYNTHETIC)
"""Sources that are not of the present."""
LEAST_GAS = 1_000_000
"""A lower cap on a transaction's gas than this is a slip."""
PRIVATE_OPTION = re.compile(r"(?i)api_?key|secret|password|uid|login|token|(private|wallet).*")
"""Options of ccxt that name an account."""


# -- values --


def _words(value: Any) -> Any:
    """One text, or one of the environment with several words, as a list."""
    return re.split(r"[\s,]+", value.strip(" ,\n")) if isinstance(value, str) else value


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str) and "," not in value else _words(value)


def _account(value: str) -> str:
    parse_account(value)
    return value


HOST_AND_PORT = re.compile(r"(?!\.{0,2}/)[\w.-]*[\w-]:\d{1,5}(/\d*)?")
"""What is meant for a URL, and would be taken for a path."""


def _endpoint(value: str) -> str:
    if "://" in value or HOST_AND_PORT.fullmatch(value):
        return _http_url(value)
    return str(Path(value).expanduser())


def _http_url(value: str) -> str:
    parts = urllib.parse.urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError('write the URL of a node, "https://...", or the path of an IPC socket')
    return value


def _store(value: str) -> str:
    scheme, found, _ = value.partition("://")
    if found and scheme not in ("sqlite", "redis", "rediss"):
        raise ValueError('write a path, "sqlite:///path", "redis://..." or "rediss://..."')
    if HOST_AND_PORT.fullmatch(value):
        raise ValueError('write "redis://host:port/0" for a server, "./path" for a file')
    return value


def _listen(value: Any) -> Any:
    match = re.fullmatch(r"\[?([\w.:-]+?)\]?:(\d{1,5})", value) if isinstance(value, str) else None
    if match is None or not int(match[2]) < 2**16:
        raise ValueError('write an address and a port, such as "127.0.0.1:9464"')
    return (match[1], int(match[2]))


def _source(value: str) -> str:
    known = [*EXCHANGES, *PAST]
    if value not in known:
        raise ValueError(f"there is no such source; {closest(value, known)} ({', '.join(known)})")
    return value


def _path(value: Path) -> Path:
    return value.expanduser()


AccountText = Annotated[str, AfterValidator(_account)]
Endpoint = Annotated[str, AfterValidator(_endpoint)]
Store = Annotated[str, AfterValidator(_store)]
Listen = Annotated[tuple[str, int], NoDecode, BeforeValidator(_listen)]
SourceName = Annotated[str, AfterValidator(_source)]
FilePath = Annotated[Path, AfterValidator(_path)]
Listed = (NoDecode, BeforeValidator(_words))
"""Marks a list that the environment may hold as words."""


def _outside(name: str, value: timedelta, least: int, most: int) -> Iterator[str]:
    """A fault where a duration is outside its bounds in seconds."""
    if not least <= value.total_seconds() <= most:
        yield f"{name}: has to be between {duration_text(least)} and {duration_text(most)}"


# -- sections --


class Mailbox(Section):
    """Where reports wait for the submitter, and where submitters keep their lease."""

    url: Store | None = Field(default=None, repr=False)


class LimitsSection(Section):
    """What a venue's answer has to keep to; otherwise it is left out of the round."""

    max_age: Span = timedelta(minutes=2)
    max_skew: Span = timedelta(seconds=30)
    max_rate: dict[SourceName, Percent] = Field(default_factory=dict)
    max_basis: Percent = Decimal("0.5")


class ReporterSection(Section):
    """Signs what venues say."""

    account: Annotated[list[AccountText], NoDecode, BeforeValidator(_one_or_many)] = Field(
        min_length=1, repr=False
    )
    sources: Annotated[list[SourceName], *Listed] = Field(
        default_factory=lambda: list(EXCHANGES), min_length=1
    )
    data: FilePath | None = None
    min_venues: int = Field(default=3, ge=1)
    cadence: Span = timedelta(seconds=60)
    timeout: Span = timedelta(seconds=10)
    limits: LimitsSection = LimitsSection()
    exchange: dict[SourceName, dict[str, Any]] = Field(default_factory=dict, repr=False)

    @property
    def least_venues(self) -> int:
        """Fewer than this, and nothing is signed; of history one, unless it is asked for more."""
        is_set = "min_venues" in self.model_fields_set
        return 1 if self.is_of_the_past and not is_set else self.min_venues

    @property
    def is_of_the_past(self) -> bool:
        """Whether its values are recorded or made up."""
        return any(each in PAST for each in self.sources)

    def faults_of_sources(self) -> Iterator[str]:
        if self.is_of_the_past and len(self.sources) > 1:
            yield (
                "sources: history is of the past, a synthetic market of no time, and exchanges are "
                "of the present: choose one of them"
            )
        if len(set(self.sources)) < len(self.sources):
            yield "sources: names one of them twice"
        unread = sorted(set(self.exchange) - set(self.sources))
        yield from (f"exchange.{each}: is not one of the sources" for each in unread)

    def faults_of_data(self) -> Iterator[str]:
        if HISTORY in self.sources and self.data is None:
            yield "data: history needs the folder of its files"
        if HISTORY not in self.sources and self.data is not None:
            yield 'data: is read by sources = ["history"] only'

    def faults_of_venues(self) -> Iterator[str]:
        if not self.is_of_the_past and self.least_venues > len(self.sources):
            yield (
                f"min_venues: there are {len(self.sources)} sources, and {self.least_venues} are "
                "asked for: name more of them"
            )

    def faults_of_accounts(self) -> Iterator[str]:
        if len(set(self.account)) < len(self.account):
            yield "account: names one of them twice"
        for venue, options in self.exchange.items():
            for name in options:
                if PRIVATE_OPTION.fullmatch(name):
                    yield (
                        f"exchange.{venue}.{name}: public data needs no account of the exchange; "
                        "take it out"
                    )

    def faults_of_times(self) -> Iterator[str]:
        yield from _outside("cadence", self.cadence, 10, 3_600)
        yield from _outside("timeout", self.timeout, 1, 600)
        if self.timeout >= self.cadence:
            yield "timeout: has to be shorter than the cadence"


class LaneSection(Section):
    """What every role that sends transactions has."""

    account: AccountText = Field(repr=False)
    max_fee: Fee = 100 * 10**9
    max_tip: Fee = 3 * 10**9
    max_gas: int = Field(default=MAX_GAS, ge=LEAST_GAS, le=MAX_GAS)
    patience: Span = timedelta(seconds=45)
    confirmations: int = Field(default=5, ge=0, le=64)
    every: Span = timedelta(seconds=5)

    def faults_of_fees(self) -> Iterator[str]:
        if not 0 < self.max_tip <= self.max_fee:
            yield "max_tip: is above 0 and at most max_fee, which includes it"

    def faults_of_times(self) -> Iterator[str]:
        yield from _outside("every", self.every, 1, 600)
        yield from _outside("patience", self.patience, 1, 3_600)


class SubmitterSection(LaneSection):
    """Sends reporters' rounds to the chain."""

    lease: Span = timedelta(seconds=30)
    name: str = Field(default_factory=socket.gethostname, min_length=1, max_length=64)
    funding_heartbeat: Span = timedelta(hours=1)
    funding_threshold: Percent = Decimal("0.1")
    price_heartbeat: Span = timedelta(minutes=30)
    price_threshold: Percent = Decimal("0.005")

    def faults_of_policy(self) -> Iterator[str]:
        for name in ("funding_heartbeat", "price_heartbeat"):
            yield from _outside(name, getattr(self, name), 60, 86_400)
        for name in ("funding_threshold", "price_threshold"):
            if getattr(self, name) <= 0:
                yield f"{name}: has to be above 0%"

    def faults_of_lease(self) -> Iterator[str]:
        if self.lease < 3 * self.every:
            yield "lease: has to be at least three times `every`, which renews it"


class SyncSection(Section):
    """Brings pools and volatility up to date, in the submitter's lane."""

    enabled: bool = True


class LiquidatorSection(LaneSection):
    """Liquidates with the pools' own money."""

    min_profit: Amount = Decimal(1)
    bad_debt_loss: Amount = Decimal(0)
    max_slippage: Percent = Decimal("0.1")
    ether_price: Amount | None = None
    ether_feed: Address | None = None
    ether_max_age: Span = timedelta(hours=25)
    receiver: Address | None = None

    def faults_of_ether(self) -> Iterator[str]:
        if (self.ether_price is None) == (self.ether_feed is None):
            yield "give either ether_price, USDT for an ether, or ether_feed, a feed of Chainlink"
        if self.ether_price == 0:
            yield "ether_price: has to be above 0"

    def faults_of_slippage(self) -> Iterator[str]:
        if not 0 <= self.max_slippage <= 1:
            yield "max_slippage: is a share of the gain, between 0% and 100%"

    def faults_of_ether_age(self) -> Iterator[str]:
        yield from _outside("ether_max_age", self.ether_max_age, 60, 30 * 86_400)


class RebalancerSection(LaneSection):
    """Keeps carry vaults where they should be, and settles requests to them."""

    budget: Fee = 5 * 10**17
    """Wei of gas in any 24 hours."""

    def faults_of_budget(self) -> Iterator[str]:
        if self.budget <= 0:
            yield "budget: has to be above 0"


class HttpSection(Section):
    """Serves /metrics and /healthz."""

    listen: Listen = ("127.0.0.1", 9464)
    grace: Span = timedelta(minutes=10)
