"""`keeper.toml`: what a keeper does, where, and with which accounts; docs/keeper/keeper.toml.

    config = load_config(Path("keeper.toml"))

A role runs if its section is there. Every setting may come from the environment instead, and what
is secret has to: PERPOOL_KEEPER_RPC, PERPOOL_KEEPER_MAILBOX__URL, in general
PERPOOL_KEEPER_<SECTION>__<KEY>. It wins over the file. Lists are separated by spaces or commas
there. Relative paths start at the working directory, "~" is the home.

Every fault is reported at once, with its line or variable; a secret in the file is one, and no
message repeats what it may be part of.
"""

from __future__ import annotations

import os
import re
import socket
import unicodedata
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from functools import cache
from importlib import resources
from itertools import groupby, takewhile
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from perpool.deployment.config import LOCAL_CHAINS, TEST_CHAINS
from perpool.keeper.signing import AccountSpec, parse_account
from perpool.keeper.sources import EXCHANGES, SYNTHETIC
from perpool.keeper.transactions.fees import MAX_GAS
from perpool.sdk.client import deployments_folder
from perpool.settings import (
    Address,
    Amount,
    ConfigError,
    Fault,
    Fee,
    Percent,
    Section,
    Span,
    closest,
    duration_text,
    fault_texts,
    parse_toml,
    read_text,
)
from perpool.toml_lines import Place

PREFIX = "PERPOOL_KEEPER_"
HISTORY = "history"
PAST = (HISTORY, SYNTHETIC)
"""Sources that are not of the present."""
LEAST_GAS = 1_000_000
"""A lower cap on a transaction's gas than this is a slip."""
SENDERS = ("submitter", "liquidator", "rebalancer")
"""Roles that send transactions, each from an account of its own."""
EXAMPLE = "docs/keeper/keeper.toml"
SHORTEST_KEY = 16
"""Characters of a part of a URL that is long enough to be a key."""
PRIVATE_OPTION = re.compile(r"(?i)api_?key|secret|password|uid|login|token|(private|wallet).*")
"""Options of ccxt that name an account."""
SHORTEST_MNEMONIC = 12
"""Words in a row, of one of BIP-39's lists, that make a mnemonic."""


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


# -- the whole --


class KeeperConfig(Section, BaseSettings):
    """A whole file."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,
    )

    network: str | None = Field(default=None, pattern=r"^[a-z0-9-]+$")
    deployment: FilePath | None = None
    rpc: Annotated[list[Endpoint], *Listed] = Field(min_length=1, repr=False)
    min_agreeing: int | None = Field(default=None, ge=1)
    max_lag_blocks: int = Field(default=3, ge=1, le=1_000)
    state: FilePath | None = None
    clock: Literal["system", "chain"] = "system"
    markets: Annotated[list[str], *Listed] = Field(default_factory=list)
    log: Literal["console", "json"] = "console"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    mailbox: Mailbox = Mailbox()
    reporter: ReporterSection | None = None
    submitter: SubmitterSection | None = None
    sync: SyncSection = SyncSection()
    liquidator: LiquidatorSection | None = None
    rebalancer: RebalancerSection | None = None
    http: HttpSection | None = None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment, then the file."""
        return env_settings, init_settings

    def faults_of_place(self) -> Iterator[str]:
        if (self.network is None) == (self.deployment is None):
            yield (
                "give either network, whose record is deployments/<network>.json, or deployment, "
                "another record"
            )

    def faults_of_nodes(self) -> Iterator[str]:
        if len(set(self.rpc)) < len(self.rpc):
            yield "rpc: names a node twice, which would count as two that agree"
        majority = len(self.rpc) // 2 + 1
        if self.min_agreeing is not None and self.min_agreeing > majority:
            yield f"min_agreeing: {len(self.rpc)} nodes in rpc allow {majority} at most"

    def faults_of_roles(self) -> Iterator[str]:
        if not (self.reporter or self.lanes):
            yield (
                "there is nothing to do: add [reporter], [submitter], [liquidator] or [rebalancer]"
            )
        if "sync" in self.model_fields_set and self.sync.enabled and self.submitter is None:
            yield "sync: is part of the submitter's work: add [submitter], or take it out"

    def faults_of_accounts(self) -> Iterator[str]:
        first: dict[str, str] = {}
        for role in self.lanes:
            rival = first.setdefault(getattr(self, role).account, role)
            if rival != role:
                yield (
                    f"{role}.account: the {rival} sends from it already, and two that count one "
                    "account's transactions get in each other's way: give it another"
                )

    # -- what follows from it --

    @property
    def record_path(self) -> Path:
        """The record of the deployment."""
        return self.deployment or deployments_folder() / f"{self.network}.json"

    @property
    def state_folder(self) -> Path:
        """Where this keeper's files are, and the mailbox unless it has a URL."""
        name = self.network or self.record_path.stem
        return self.state or Path("~/.local/share/perpool").expanduser() / name

    @property
    def mailbox_url(self) -> str:
        """Of mailbox and lease."""
        return self.mailbox.url or str(self.state_folder / "mailbox.db")

    @property
    def accounts(self) -> dict[str, list[str]]:
        """Accounts as configured, by role."""
        reporters = {"reporter": self.reporter.account} if self.reporter else {}
        return reporters | {role: [getattr(self, role).account] for role in self.lanes}

    @property
    def lanes(self) -> list[str]:
        """Roles that send transactions."""
        return [role for role in SENDERS if getattr(self, role)]

    def unfit(self, chain_id: int) -> list[str]:
        """What this configuration must not do on a chain of real money."""
        faults = []
        if chain_id not in LOCAL_CHAINS and self.reporter and SYNTHETIC in self.reporter.sources:
            faults.append(
                "reporter.sources: a synthetic market is for local chains; nothing may be reported "
                "of it elsewhere"
            )
        if chain_id in TEST_CHAINS:
            return faults
        faults += [
            f"{role}.account: anybody has the key of {spec.where}; use an account of your own"
            for role, spec in self._specs()
            if spec.is_public
        ]
        if self.reporter and HISTORY in self.reporter.sources:
            faults.append("reporter.sources: history is of the past; nothing may be reported of it")
        if self.clock == "chain":
            faults.append('clock: "chain" is for local chains, whose time is not the present')
        return faults

    def warnings(self, chain_id: int) -> list[str]:
        """What is fit for a rehearsal only, or asks for care."""
        if chain_id in LOCAL_CHAINS:
            return []
        lines = []
        if self.reporter and len(self.reporter.account) > 1:
            lines.append(
                f"reporter.account: {len(self.reporter.account)} REPORTERS' KEYS ARE IN ONE PLACE. "
                "Whoever gets into this machine has all of them, and the quorum protects nothing: "
                "run one reporter a machine, each of another person"
            )
        if self.reporter and not self.reporter.is_of_the_past and self.reporter.least_venues < 3:
            lines.append(
                "reporter.min_venues: a median of less than three venues is moved by one of them"
            )
        lines += [
            f"{role}.account: the signer is asked over plain http; whoever is on the way can ask "
            "it too: use https outside one machine"
            for role, spec in self._specs()
            if spec.kind == "external" and _is_open(spec.where)
        ]
        if len(self.rpc) == 1 and self.lanes:
            lines.append(
                "rpc: one node is believed whatever it says; name three of different owners"
            )
        return lines

    def secrets(self) -> list[str]:
        """Parts of URLs and options that no log may show."""
        urls = [*self.rpc, self.mailbox.url or ""]
        urls += [spec.where for _, spec in self._specs() if spec.kind == "external"]
        options = self.reporter.exchange if self.reporter else {}
        urls += [text for _, text in _texts(options)]
        return sorted({secret for url in urls for secret in _secret_parts(url)})

    def _specs(self) -> list[tuple[str, AccountSpec]]:
        return [
            (role, parse_account(each)) for role, all_ in self.accounts.items() for each in all_
        ]


# -- reading --


def load_config(path: Path) -> KeeperConfig:
    """Read and check a file and the environment. Raises ConfigError with every fault."""
    text = read_text(path, KeeperConfig, EXAMPLE)
    hidden = secret_lines(text)
    in_file = [(line, LEAKED) for line in hidden]
    environment, in_environment = _environment()
    try:
        file = parse_toml(text, str(path))
    except ConfigError:
        if not hidden:
            raise
        # what is no TOML may be part of a secret
        raise ConfigError(str(path), _in_lines(path, in_file)) from None
    in_file += [
        (file.line(place), _credential_fault(place))
        for place, value in _texts(file.data)
        if _secret_parts(value) and file.line(place) not in hidden
    ]
    try:
        config = KeeperConfig(**file.data)
    except SettingsError:
        pass  # _environment has said so
    except ValidationError as error:
        for detail in error.errors(include_url=False, include_input=False):
            for place, fault in fault_texts(detail, KeeperConfig):
                variable, line = _variable(place, environment), file.line(place)
                if variable is not None:
                    in_environment.append(Fault(variable, fault))
                elif line not in hidden:
                    in_file.append((line, fault))
    if in_file or in_environment:
        raise ConfigError(str(path), [*_in_lines(path, in_file), *in_environment])
    return config


def _in_lines(path: Path, faults: Iterable[tuple[int, str]]) -> list[Fault]:
    return [Fault(f"{path}:{line}", text) for line, text in sorted(faults)]


def _environment() -> tuple[dict[str, Any], list[Fault]]:
    """What the environment sets, and variables of it that set nothing."""
    names = [each for each in os.environ if each.upper().startswith(PREFIX) and os.environ[each]]
    sections = list(KeeperConfig.model_fields)
    faults = [
        Fault(name, f"there is no such setting; {closest(section, sections)}")
        for name in names
        if (section := name[len(PREFIX) :].lower().split("__")[0]) not in sections
    ]
    try:
        return EnvSettingsSource(KeeperConfig)(), faults
    except SettingsError as error:
        # it names the field, and its cause would hold the value
        field = re.search(r'"(\w+)"', str(error))
        name = f"{PREFIX}{(field[1] if field else '').upper()}"
        return {}, [*faults, Fault(name, "cannot be read: write it in the file")]


def _variable(place: Place, environment: Mapping[str, Any]) -> str | None:
    """The variable that sets the value at a place; None where the file does."""
    value: Any = environment
    for count, part in enumerate(place, 1):
        if not isinstance(value, Mapping) or part not in value:
            return None
        value = value[part]
        if not isinstance(value, Mapping):
            return PREFIX + "__".join(str(each) for each in place[:count]).upper()
    return None


# -- secrets --


LEAKED = (
    "this looks like a private key or a mnemonic. Take it out, treat it as stolen, and use an "
    "encrypted keystore"
)


def secret_lines(text: str) -> list[int]:
    """Lines with 64 hexadecimal digits in a row or with words of a mnemonic; comments too."""
    # the lists are in this form
    text = unicodedata.normalize("NFKD", text)
    starts = [match.start() for match in re.finditer(r"[0-9a-fA-F]{64,}", text)]
    words = [
        (match[0].lower(), match.start())
        for match in re.finditer(r"""[^\s,;"'=#\[\](){}]+""", text)
        if not re.fullmatch(r"[\W\d]+", match[0])  # mnemonics are numbered at times
    ]
    for language in _wordlists():
        for is_known, run in groupby(words, lambda each: each[0] in language):  # noqa: B023
            found = [start for _, start in run]
            if is_known and len(found) >= SHORTEST_MNEMONIC:
                starts += found
    return sorted({text.count("\n", 0, start) + 1 for start in starts})


@cache
def _wordlists() -> tuple[frozenset[str], ...]:
    """BIP-39's, by language."""
    folder = resources.files("eth_account.hdaccount") / "wordlist"
    return tuple(frozenset(each.read_text("utf-8").split()) for each in folder.iterdir())


def _texts(value: Any, place: Place = ()) -> Iterator[tuple[Place, str]]:
    """All texts below a place."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from _texts(each, (*place, name))
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from _texts(each, (*place, number))


def _secret_parts(text: str) -> list[str]:
    """Passwords and what looks like a key in a URL."""
    url = text.removeprefix("external:")
    scheme, found, _ = url.partition("://")
    if not found or scheme == "sqlite":
        return []
    parts = urllib.parse.urlsplit(url)
    query = urllib.parse.parse_qsl(parts.query)
    named = [value for name, value in query if re.search(r"(?i)key|token|secret|pass|auth", name)]
    likely = [parts.username or "", *parts.path.split("/"), *(value for _, value in query)]
    keys = [each for each in likely if _looks_like_a_key(each)]
    return [each for each in (parts.password, *named, *keys) if each]


def _looks_like_a_key(text: str) -> bool:
    return (
        re.fullmatch(rf"[\w-]{{{SHORTEST_KEY},}}", text) is not None
        and re.search(r"\d", text) is not None
        and re.search(r"[A-Za-z]", text) is not None
    )


def _credential_fault(place: Place) -> str:
    """What to do about a URL with a key in it."""
    names = list(takewhile(lambda part: isinstance(part, str), place))
    variable = PREFIX + "__".join(str(each) for each in names).upper()
    return (
        f"{'.'.join(map(str, place))}: holds what may be a password or a key; give it in {variable}"
    )


def _is_open(url: str) -> bool:
    """Whether it goes over a network in the clear."""
    parts = urllib.parse.urlsplit(url)
    return parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "localhost", "::1")
