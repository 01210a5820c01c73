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
from collections.abc import Iterable, Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from perpool.deployment.config import LOCAL_CHAINS, TEST_CHAINS
from perpool.keeper.operation.credentials import (
    LEAKED,
    is_open,
    secret_lines,
    secret_parts,
    texts_in,
)
from perpool.keeper.operation.sections import (
    HISTORY,
    Endpoint,
    FilePath,
    HttpSection,
    LiquidatorSection,
    Listed,
    Mailbox,
    RebalancerSection,
    ReporterSection,
    SubmitterSection,
    SyncSection,
)
from perpool.keeper.signing import AccountSpec, parse_account
from perpool.keeper.sources import SYNTHETIC
from perpool.sdk.client import deployments_folder
from perpool.settings import (
    ConfigError,
    Fault,
    Section,
    closest,
    fault_texts,
    parse_toml,
    read_text,
)
from perpool.toml_lines import Place

PREFIX = "PERPOOL_KEEPER_"
SENDERS = ("submitter", "liquidator", "rebalancer")
"""Roles that send transactions, each from an account of its own."""
EXAMPLE = "docs/keeper/keeper.toml"


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
            if spec.kind == "external" and is_open(spec.where)
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
        urls += [text for _, text in texts_in(options)]
        return sorted({secret for url in urls for secret in secret_parts(url)})

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
        for place, value in texts_in(file.data)
        if secret_parts(value) and file.line(place) not in hidden
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


def _credential_fault(place: Place) -> str:
    """What to do about a URL with a key in it."""
    names = list(takewhile(lambda part: isinstance(part, str), place))
    variable = PREFIX + "__".join(str(each) for each in names).upper()
    return (
        f"{'.'.join(map(str, place))}: holds what may be a password or a key; give it in {variable}"
    )
