"""`perpool keeper check`: all that a configuration needs, and whether it is there.

    for finding in check(config, password, offline=False):
        finding.state, finding.text

Nothing is sent, and nothing that is missing hides what comes after it: what can be found out
without it still is.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence, Set
from concurrent.futures import wait
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import cache
from typing import Any, Literal

import structlog

from perpool.chain import ChainError
from perpool.deployment import Record, RecordError
from perpool.evm.codec import EventRegistry
from perpool.history import HistoryError
from perpool.keeper.aggregate import aggregate
from perpool.keeper.chain.contracts import KeeperError, our_feed
from perpool.keeper.chain.endpoint import Connection, Endpoint, Head, name_endpoints
from perpool.keeper.chain.nodes import Nodes
from perpool.keeper.mailbox import MailboxError, open_mailbox
from perpool.keeper.metrics import Metrics
from perpool.keeper.model import LeftOut, Observation
from perpool.keeper.operation.assembly import build_panel, check_senders
from perpool.keeper.operation.config import KeeperConfig
from perpool.keeper.operation.place import Place, keeper_clock, make_folder, open_nodes, place_of
from perpool.keeper.operation.sections import ReporterSection
from perpool.keeper.signing import ExternalAccount, SignerError, account_address, open_account
from perpool.keeper.sources import SourceError
from perpool.keeper.transactions.journal import JournalError
from perpool.reports import Domain, sign_report

FAULTS = (
    ChainError,
    HistoryError,
    JournalError,
    KeeperError,
    MailboxError,
    RecordError,
    SignerError,
    SourceError,
)
"""What the parts of a keeper raise, each with a message that says what to do."""
NODE_PATIENCE = timedelta(seconds=5)
"""For a node to answer."""
PROBE = "BTC"
"""What every exchange has: asked for where the deployment's markets are not known."""
LISTED = 8
"""Markets that a line names; more are counted."""


@dataclass(frozen=True)
class Finding:
    """Something that a keeper needs, or asks for care."""

    state: Literal["fine", "careful", "missing"]
    text: str


Findings = Iterator[Finding]
Waiting = Callable[[str], AbstractContextManager[object]]
"""Shows what is waited for, as long as it is."""


def fine(text: str) -> Finding:
    """It is there."""
    return Finding("fine", text)


def careful(text: str) -> Finding:
    """A keeper can run all the same."""
    return Finding("careful", text)


def missing(text: str) -> Finding:
    """A keeper cannot run as it should."""
    return Finding("missing", text)


def check(
    config: KeeperConfig,
    password: Callable[[], str],
    *,
    offline: bool,
    waiting: Waiting = contextlib.nullcontext,
) -> Findings:
    """Everything, in the order in which a keeper needs it. `offline` leaves out what is elsewhere:
    nodes, sources and the mailbox."""
    said: set[Finding] = set()
    for finding in _Check(config, password, waiting).findings(offline=offline):
        if finding not in said:  # several parts may lack the same thing
            said.add(finding)
            yield finding


class _Check:
    def __init__(self, config: KeeperConfig, password: Callable[[], str], waiting: Waiting) -> None:
        self.config = config
        self.password = password
        self.waiting = waiting
        self.clock = keeper_clock(config)
        self.addresses: dict[str, list[str]] = {}
        """Of accounts by role, as far as they are known."""

    def findings(self, *, offline: bool) -> Findings:
        record = yield from self._record()
        yield from self._accounts()
        if offline:
            return
        with contextlib.ExitStack() as opened:
            chain_id = yield from self._nodes(record, opened)
            place = yield from self._place(record, opened)
            if place is not None:
                yield from self._guarded(self._deployment(place))
            if self.config.reporter is not None:
                markets = self._markets(record, place)
                found = self._sources(self.config.reporter, markets, _priced_by_others(record))
                yield from self._guarded(found)
            yield from self._guarded(self._mailbox(chain_id))
            if place is not None:
                yield from self._guarded(self._state(place))

    @staticmethod
    def _guarded(findings: Findings) -> Findings:
        """What cannot be found out is a finding too."""
        try:
            yield from findings
        except FAULTS as error:
            yield missing(str(error))

    # -- here --

    def _record(self) -> Generator[Finding, None, Record | None]:
        try:
            record = Record.read(self.config.record_path)
        except RecordError as error:
            yield missing(str(error))
            return None
        yield from (
            missing(f"chain {record.chain_id}: {each}")
            for each in self.config.unfit(record.chain_id)
        )
        yield from map(careful, self.config.warnings(record.chain_id))
        return record

    def _accounts(self) -> Findings:
        """Open every account, and have external signers sign something that is of no use."""
        ask = cache(self.password)
        for role, specs in self.config.accounts.items():
            self.addresses[role] = []
            for spec in specs:
                with contextlib.suppress(SignerError):
                    self.addresses[role].append(account_address(spec))
                try:
                    account = open_account(spec, ask)
                    if isinstance(account, ExternalAccount):
                        # a contract that is none, and a report of nothing
                        nowhere = Domain("Perpool check", 0, "0x" + 39 * "0" + "1")
                        sign_report(account, nowhere, 0, [], [])
                except SignerError as error:
                    yield missing(f"{role}: {error}")
                else:
                    yield fine(f"{role} signs as {account.address}")
        try:
            check_senders(self.addresses)
        except KeeperError as error:
            yield missing(str(error))

    # -- the chain --

    def _nodes(
        self, record: Record | None, opened: contextlib.ExitStack
    ) -> Generator[Finding, None, int | None]:
        """A line a node, and what they agree on; the chain as far as it is known."""
        chain_id = None if record is None else record.chain_id
        nodes = open_nodes(self.config, chain_id, self.clock)
        opened.callback(nodes.close)
        head: Head | None = None
        trouble = None
        with self.waiting("asking the nodes"):
            said = ask_nodes(self.config.rpc, lambda node: (node.chain_id, node.block("latest")))
            try:
                head = nodes.head()
            except ChainError as error:
                trouble = str(error)
            hashes = dict.fromkeys(said) if head is None else self._hashes(head)
        chains = Counter(each[0] for each in said.values() if isinstance(each, tuple))
        expected = chain_id or next((each for each, _ in chains.most_common(1)), None)
        for name, answer in said.items():
            yield node_finding(name, answer, expected, head, hashes[name])
        if head is not None:
            yield fine(f"nodes agree on block {head.number} of chain {expected}")
            yield from self._guarded(self._ether(nodes, head))
        elif trouble is not None and chains:
            yield missing(trouble)
        return expected

    def _hashes(self, head: Head) -> dict[str, object]:
        number = hex(head.number)
        return ask_nodes(self.config.rpc, lambda node: node.block_hash(number))

    def _ether(self, nodes: Nodes, head: Head) -> Findings:
        for role in self.config.lanes:
            for address in self.addresses.get(role, []):
                wei = nodes.balance(address, head)
                ether = f"{round(Decimal(wei).scaleb(-18), 6):f}"
                text = f"{role} {address} has {ether} ether"
                yield fine(text) if wei else missing(text)

    def _place(
        self, record: Record | None, opened: contextlib.ExitStack
    ) -> Generator[Finding, None, Place | None]:
        if record is None:
            return None
        try:
            return opened.enter_context(place_of(self.config, record))
        except ChainError:
            return None  # the nodes have said so
        except KeeperError as error:
            yield missing(str(error))
            return None

    def _deployment(self, place: Place) -> Findings:
        markets = ", ".join(place.contracts.markets)
        text = f"markets of {place.record.path}: {markets or 'none'}"
        yield fine(text) if markets else missing(text)
        if self.config.rebalancer is not None:
            vaults = ", ".join(each.name for each in place.vaults())
            if vaults:
                yield fine(f"carry vaults: {vaults}")
            else:
                yield careful("there are no carry vaults: the rebalancer has nothing to do")
        seats = place.contracts.seats(place.clock())[place.contracts.funding_oracle]
        for address in self.addresses.get("reporter", []):
            if address in seats.reporters:
                yield fine(f"{address} is a registered reporter")
            else:
                text = "is no reporter of this deployment: have the owner register it"
                yield missing(f"{address} {text}")

    # -- sources --

    def _markets(self, record: Record | None, place: Place | None) -> list[str]:
        if place is not None:
            return list(place.contracts.markets)
        return self.config.markets or ([] if record is None else list(record.markets))

    def _sources(
        self, section: ReporterSection, markets: list[str], priced_by_others: Set[str]
    ) -> Findings:
        if not markets and section.is_of_the_past:
            yield careful("sources are not asked, as the markets are not known")
            return
        if not markets:
            yield careful(f"the markets are not known: sources are asked for {PROBE}")
            markets = [PROBE]
        panel = build_panel(section, markets, self.clock)
        with closing(panel), self.waiting(f"asking {', '.join(section.sources)}"):
            observations = panel.observe(markets, self.clock())
        for venue in panel.venues:
            yield venue_finding(venue.name, observations)
        yield from market_findings(observations, section.least_venues, priced_by_others)

    # -- what keepers share, and what is ours --

    def _mailbox(self, chain_id: int | None) -> Findings:
        if self.config.reporter is None and self.config.submitter is None:
            return
        make_folder(self.config.state_folder)
        with (
            self.waiting("asking the mailbox"),
            # one that can be reached answers for any deployment, and of anybody
            closing(open_mailbox(self.config.mailbox_url, chain_id or 1, "")) as mailbox,
        ):
            mailbox.read("")
        yield fine("the mailbox can be read")

    def _state(self, place: Place) -> Findings:
        for lane in self.config.lanes:
            journal = place.read_journal(lane)
            if journal is not None:
                yield fine(f"the {lane}'s journal is of this chain")
        if self.config.submitter is not None:
            state = place.lease("check", self.config.submitter.lease).state()
            yield fine(f"the lease is held by {state.holder if state else 'nobody'}")


def ask_nodes(urls: Sequence[str], question: Callable[[Connection], Any]) -> dict[str, object]:
    """What each node says by itself, by its host: an answer, or the exception that it has none."""
    registry, metrics = EventRegistry(), Metrics()
    log = structlog.get_logger("perpool.keeper.check")
    endpoints = [
        Endpoint(
            url,
            name,
            chain_id=None,
            timeout=NODE_PATIENCE.total_seconds(),
            registry=registry,
            metrics=metrics,
            log=log,
        )
        for url, name in zip(urls, name_endpoints(urls), strict=True)
    ]
    answers = [each.submit(question) for each in endpoints]
    wait(answers, 2 * NODE_PATIENCE.total_seconds())
    said: dict[str, object] = {}
    for endpoint, answer in zip(endpoints, answers, strict=True):
        said[endpoint.name] = answer.result() if answer.done() else endpoint.give_up(answer)
        endpoint.close()
    return said


def node_finding(
    name: str, said: object, chain_id: int | None, head: Head | None, block_hash: object
) -> Finding:
    """A node's line, from (chain, newest block) or the reason that it does not tell, from what the
    nodes agree on, and its own hash of that block."""
    if not isinstance(said, tuple):
        return missing(f"node {name} is down: {said}")
    chain, newest = said
    if chain != chain_id:
        return missing(f"node {name} is of the wrong chain: {chain}, not {chain_id}")
    text = f"node {name} answers with block {newest.number}"
    if head is None:
        return fine(f"{text}, {newest.hash[:10]}")
    if isinstance(block_hash, str) and block_hash != head.hash:
        return missing(f"node {name} disagrees: it has another block {head.number}")
    return fine(text)


def venue_finding(venue: str, observations: Iterable[Observation]) -> Finding:
    """A venue's line: what it has, and what it has not, with the reason."""
    good = []
    lacks: dict[str, list[str]] = {}
    for each in observations:
        if any(reading.venue == venue for reading in each.readings):
            good.append(each.market)
        for left_out in each.left_out:
            if left_out.venue == venue:
                lacks.setdefault(_reason(left_out), []).append(each.market)
    parts = [f"has {_listed(good)}"] if good else []
    parts += [f"{reason}: {_listed(markets)}" for reason, markets in lacks.items()]
    return (careful if lacks else fine)(f"source {venue}: {'; '.join(parts)}")


def _reason(left_out: LeftOut) -> str:
    if left_out.kind == "symbol":
        return "no such market"
    if left_out.kind in ("unreachable", "slow"):
        return f"does not answer ({left_out.reason})"
    return left_out.reason


def _priced_by_others(record: Record | None) -> Set[str]:
    """Markets whose price is not ours to report, as far as it is known."""
    if record is None:
        return set()
    return {each for each in record.markets if our_feed(record, each) is None}


def market_findings(
    observations: Iterable[Observation], least: int, priced_by_others: Set[str] = frozenset()
) -> Findings:
    """Whether enough venues have each market, and its price unless others report that."""
    good = []
    for each in observations:
        values = aggregate(each, least)
        needed: dict[str, object] = {"funding": values.funding}
        if each.market not in priced_by_others:
            needed["a price"] = values.price
        lacks = [name for name, found in needed.items() if found is None]
        if lacks:
            yield missing(f"{each.market}: fewer than {least} sources have {' and '.join(lacks)}")
        else:
            good.append(each.market)
    if good:
        yield fine(f"enough sources have {_listed(good)}")


def _listed(markets: Sequence[str]) -> str:
    return ", ".join(markets) if len(markets) <= LISTED else f"{len(markets)} markets"
