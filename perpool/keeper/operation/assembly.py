"""From a configuration to a keeper that runs.

    with open_place(config) as place:
        keeper = build(place, open_accounts(config, password), dry_run=False)
        keeper.service.run(stop)

A `Place` is the deployment and its nodes, enough for looking; a `Keeper` has accounts and roles.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import structlog

from perpool.chain import Chain, ChainError
from perpool.deployment import Record
from perpool.deployment.config import LOCAL_CHAINS
from perpool.history import HistoryError
from perpool.keeper.chain.contracts import Contracts, KeeperError
from perpool.keeper.chain.endpoint import name_endpoints
from perpool.keeper.chain.nodes import Head, Nodes
from perpool.keeper.health import Health
from perpool.keeper.liquidator.follow import Follower
from perpool.keeper.liquidator.profit import Policy as LiquidatorPolicy
from perpool.keeper.liquidator.role import (
    Ether,
    LiquidatorRole,
    first_block,
    pools_of,
    read_back,
)
from perpool.keeper.mailbox import Lease, Mailbox, MailboxError, open_lease, open_mailbox
from perpool.keeper.metrics import Metrics
from perpool.keeper.model import Policy
from perpool.keeper.operation.config import PREFIX, SENDERS, KeeperConfig
from perpool.keeper.operation.sections import (
    HISTORY,
    LaneSection,
    LiquidatorSection,
    RebalancerSection,
    ReporterSection,
)
from perpool.keeper.operation.watch import Watch
from perpool.keeper.rebalancer import vaults as carry
from perpool.keeper.rebalancer.decide import Budget, Vault
from perpool.keeper.rebalancer.requests import RequestFollower
from perpool.keeper.rebalancer.role import RebalancerRole, Spending
from perpool.keeper.reporter import Reporter
from perpool.keeper.service import Duty, Service
from perpool.keeper.signing import Account, open_account
from perpool.keeper.sources import (
    SYNTHETIC,
    Limits,
    Panel,
    exchange_panel,
    history_panel,
    synthetic_panel,
)
from perpool.keeper.statements import Statements
from perpool.keeper.submitter import IDLE_SECONDS, Submitter
from perpool.keeper.transactions.fees import FeePolicy
from perpool.keeper.transactions.journal import Journal
from perpool.keeper.transactions.model import Intent
from perpool.keeper.transactions.outbox import Outbox, identity

JOURNAL = "journal.db"
ACCOUNTS = "accounts.db"
REQUESTS = "requests.db"
STATEMENTS = "statements.db"
"""Files in the state folder: of all lanes, of liquidator, rebalancer and reporter."""
HEAD_AGE = timedelta(minutes=15)
"""A chain whose newest block is older stands still, or all nodes are behind."""
WATCH_EVERY = timedelta(seconds=30)
REPORTER_EVERY = timedelta(seconds=2)
"""It observes once a cadence; it looks this often whether that has begun."""
SETTLE = timedelta(minutes=2)
"""For transactions to be mined, where the keeper runs once."""
PASSES = 6
"""Prices, funding and upkeep are transactions of their own; where the keeper runs once, it goes on
until nothing more is due, or this often."""

Clock = Callable[[], int]


@dataclass
class Place:
    """A deployment through its nodes, and what is told of it. Closed by `close`."""

    config: KeeperConfig
    record: Record
    nodes: Nodes
    contracts: Contracts
    clock: Clock
    metrics: Metrics
    health: Health
    closing: contextlib.ExitStack = field(default_factory=contextlib.ExitStack, repr=False)

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.close()

    @property
    def is_local(self) -> bool:
        """Whether the chain may stand still until somebody sends."""
        return _is_local(self.config, self.record.chain_id)

    @property
    def anchor(self) -> int:
        """The block by which the journal knows the chain again: local ones begin alike."""
        deployed = self.record.contracts["FundingOracle"].get("block", 0)
        return deployed if self.is_local else 0

    @property
    def lease_name(self) -> str:
        """One for all submitters of the deployment."""
        return f"{self.record.chain_id}/{self.contracts.funding_oracle}"

    def vaults(self) -> list[Vault]:
        """Carry vaults of the markets. Raises KeeperError."""
        return carry.vaults_of(self.nodes, self.record, list(self.contracts.markets))

    def mailbox(self) -> Mailbox:
        """The mailbox. Raises MailboxError."""
        oracle = self.contracts.funding_oracle
        found = open_mailbox(self.config.mailbox_url, self.record.chain_id, oracle)
        self.closing.callback(found.close)
        return found

    def lease(self, holder: str, ttl: timedelta) -> Lease:
        """The submitters' lease, given up in the end if it is ours. Raises MailboxError."""
        found = open_lease(self.config.mailbox_url, self.lease_name, holder, ttl)
        self.closing.callback(found.close)
        self.closing.callback(_release, found)
        return found

    def journal(self, lane: str, *, read_only: bool = False) -> Journal:
        """The journal of a lane. Raises JournalError."""
        found = Journal(self.config.state_folder / JOURNAL, lane, read_only=read_only)
        self.closing.callback(found.close)
        return found

    def read_journal(self, lane: str) -> Journal | None:
        """The journal of a lane for looking at, None where there is none yet. Raises JournalError,
        also where it is of another chain, and NodesError."""
        if not (self.config.state_folder / JOURNAL).exists():
            return None
        found = self.journal(lane, read_only=True)
        chain = identity(self.nodes, self.anchor)
        if chain is not None:
            found.check(chain)
        return found


def _release(lease: Lease) -> None:
    """So that another submitter need not wait for it to run out."""
    with contextlib.suppress(MailboxError):
        lease.release()


def read_record(config: KeeperConfig) -> Record:
    """The deployment's record. Raises RecordError, and KeeperError where it is of a chain that this
    configuration is not fit for."""
    record = Record.read(config.record_path)
    unfit = config.unfit(record.chain_id)
    if unfit:
        raise KeeperError("\n".join(f"chain {record.chain_id}: {each}" for each in unfit))
    return record


def open_place(config: KeeperConfig) -> Place:
    """Connect to the nodes, and make the state folder. Raises RecordError, NodesError and
    KeeperError."""
    return place_of(config, read_record(config))


def place_of(config: KeeperConfig, record: Record) -> Place:
    """The same of a record that has been read, whether the configuration is fit for it or not."""
    make_folder(config.state_folder)
    metrics = Metrics()
    grace = config.http.grace if config.http else timedelta(minutes=10)
    clock = keeper_clock(config)
    nodes = open_nodes(config, record.chain_id, clock, metrics)
    with contextlib.ExitStack() as stack:
        stack.callback(nodes.close)
        contracts = Contracts.of_record(nodes, record, config.markets or None)
        health = Health(grace=grace)
        return Place(config, record, nodes, contracts, clock, metrics, health, stack.pop_all())


def open_nodes(
    config: KeeperConfig, chain_id: int | None, clock: Clock, metrics: Metrics | None = None
) -> Nodes:
    """The nodes of a chain, or of whichever chain they are of. Nothing is asked yet."""
    may_stand_still = chain_id is None or _is_local(config, chain_id)
    return Nodes(
        config.rpc,
        chain_id,
        min_agreeing=config.min_agreeing,
        max_lag_blocks=config.max_lag_blocks,
        max_age=None if may_stand_still else HEAD_AGE,
        clock=clock,
        metrics=metrics,
    )


def _is_local(config: KeeperConfig, chain_id: int) -> bool:
    return chain_id in LOCAL_CHAINS or config.clock == "chain"


def make_folder(path: Path) -> None:
    """The state folder, for nobody else to read. Raises KeeperError."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise KeeperError(
            f"the state folder {path} cannot be made ({error.strerror}): change `state`"
        ) from None


def keeper_clock(config: KeeperConfig) -> Clock:
    """The time that a keeper goes by."""
    return chain_clock(config.rpc[0]) if config.clock == "chain" else system_clock


def system_clock() -> int:
    """This machine's time."""
    return int(time.time())


def chain_clock(endpoint: str) -> Clock:
    """The newest time that a local chain's next block will not find in the future.

    Such a chain plays another time than ours, and may stand still until somebody sends.
    """
    [name] = name_endpoints([endpoint])

    @cache
    def chain() -> Chain:
        return Chain.connect(endpoint, timeout=10)

    def now() -> int:
        try:
            latest, pending = (
                int(chain().rpc("eth_getBlockByNumber", block, False)["timestamp"], 16)
                for block in ("latest", "pending")
            )
        except ChainError:
            # its text has the whole URL, and advice to users of the SDK
            raise ChainError(f"no answer from {name}, by whose time the keeper goes") from None
        return pending if pending - latest > IDLE_SECONDS else latest

    return now


# -- accounts --


Accounts = Mapping[str, list[Account]]
"""By role."""


def open_accounts(config: KeeperConfig, password: Callable[[], str]) -> Accounts:
    """Every account of the configuration. Raises SignerError, and KeeperError where two roles would
    send from one account."""
    ask = cache(password)
    opened = cache(lambda spec: open_account(spec, ask))
    accounts = {role: [opened(each) for each in specs] for role, specs in config.accounts.items()}
    check_senders({role: [each.address for each in opened] for role, opened in accounts.items()})
    return accounts


def check_senders(addresses: Mapping[str, Sequence[str]]) -> None:
    """Raises KeeperError where two roles send from one address."""
    first: dict[str, str] = {}
    for role in SENDERS:
        for address in addresses.get(role, []):
            rival = first.setdefault(address, role)
            if rival != role:
                raise KeeperError(
                    f"{rival} and {role} both send from {address}: give each an account of its own"
                )


# -- roles --


class Rehearsal:
    """A reporter of a dry run: it observes and logs, and signs nothing."""

    name = "reporter"

    def __init__(self, reporter: Reporter, log: Any = None) -> None:
        self.reporter = reporter
        self.log = log or structlog.get_logger("perpool.keeper.reporter")
        self._observed_at = 0

    def tick(self, now: int) -> None:
        """Observe where the next observation is due."""
        observed_at = now // self.reporter.cadence * self.reporter.cadence
        if observed_at <= self._observed_at:
            return
        self._observed_at = observed_at
        self.reporter.values = self.reporter.observe(observed_at)
        for each in self.reporter.values:
            self.log.info(
                "would report",
                market=each.market,
                funding=each.funding and f"{each.funding.median:.6f}",
                price=each.price and f"{each.price.median.normalize():f}",
            )


@dataclass(frozen=True)
class Done:
    """What came of running once."""

    sent: Counter[tuple[str, str]]
    """Intents by kind and state of their transaction, such as ("price", "done")."""
    failed: list[tuple[str, str]]
    """(role, reason) of what failed in the last pass."""


@dataclass
class Keeper:
    """Everything that a configuration asks for."""

    service: Service
    reporter: Reporter | None
    submitter: Submitter | None
    outboxes: dict[str, Outbox]
    """By lane."""

    def once(self) -> Done:
        """Tick the roles until nothing more is due, `PASSES` times at most."""
        first = self._newest()
        failed: list[tuple[str, str]] = []
        for _ in range(PASSES):
            before = self._newest()
            failed = self.service.once() + self._settle()
            if self._newest() == before:
                break
        return Done(self._planned_after(first), failed)

    def _settle(self) -> list[tuple[str, str]]:
        """Wait until what was sent is mined; gives (lane, reason) of what failed."""
        failed = []
        for lane, outbox in self.outboxes.items():
            try:
                outbox.settle(SETTLE)
            except Exception as error:
                failed.append((lane, str(error) or type(error).__name__))
        return failed

    def _newest(self) -> dict[str, int]:
        """Number of each lane's newest transaction."""
        newest = {lane: outbox.journal.recent(1) for lane, outbox in self.outboxes.items()}
        return {lane: found[0].id if found else 0 for lane, found in newest.items()}

    def _planned_after(self, newest: Mapping[str, int]) -> Counter[tuple[str, str]]:
        return Counter(
            (intent.kind, transaction.state)
            for lane, outbox in self.outboxes.items()
            for transaction in outbox.journal.recent(1_000)
            if transaction.id > newest[lane]
            for intent in transaction.intents
        )

    def unheard(self) -> list[str]:
        """Markets of which the reporter could not say all that it should, when it last observed."""
        if self.reporter is None:
            return []
        return [each.market for each in self.reporter.values if self.reporter.missing(each)]

    @property
    def stands_by(self) -> bool:
        """Whether another submitter has the lease."""
        return self.submitter is not None and not self.submitter.active


def build(place: Place, accounts: Accounts, *, dry_run: bool = False) -> Keeper:
    """The roles of a configuration. Raises what cannot be opened."""
    config = place.config
    duties: list[Duty] = []
    outboxes: dict[str, Outbox] = {}
    reporter, submitter, lease = None, None, None
    needs_mailbox = config.reporter is not None or config.submitter is not None
    mailbox = place.mailbox() if needs_mailbox else None
    if config.reporter is not None:
        assert mailbox is not None
        # a dry run signs nothing
        path = None if dry_run else config.state_folder / STATEMENTS
        statements = Statements(path, place.lease_name)
        place.closing.callback(statements.close)
        reporter = _reporter(place, config.reporter, accounts["reporter"], mailbox, statements)
        duties.append(Duty(Rehearsal(reporter) if dry_run else reporter, REPORTER_EVERY))
    if config.submitter is not None:
        assert mailbox is not None
        section = config.submitter
        if not dry_run:
            lease = place.lease(f"{section.name}:{os.getpid()}", section.lease)
            outboxes["submitter"] = _outbox(
                place,
                "submitter",
                section,
                accounts["submitter"][0],
                unmet=place.contracts.unmet,
                multicall=place.record.multicall,
                announce=lease.announce,
            )
        submitter = Submitter(
            place.contracts,
            mailbox,
            outboxes.get("submitter"),
            lease=lease,
            policy=Policy(
                section.funding_heartbeat,
                section.funding_threshold,
                section.price_heartbeat,
                section.price_threshold,
            ),
            sync=config.sync.enabled,
            idles=place.is_local,
            metrics=place.metrics,
            health=place.health,
        )
        duties.append(Duty(submitter, section.every))
    if config.liquidator is not None:
        account = accounts["liquidator"][0]
        if not dry_run:
            outboxes["liquidator"] = _outbox(
                place,
                "liquidator",
                config.liquidator,
                account,
                unmet=read_back(place.nodes),
                multicall=place.record.multicall,
            )
        lane = outboxes.get("liquidator")
        duties.append(
            Duty(
                _liquidator(place, config.liquidator, account.address, lane),
                config.liquidator.every,
            )
        )
    vaults = place.vaults() if config.rebalancer is not None else []
    if config.rebalancer is not None and not vaults:
        log = structlog.get_logger("perpool.keeper.rebalancer")
        log.warning("there are no carry vaults", record=str(place.record.path))
    if config.rebalancer is not None and vaults:
        account = accounts["rebalancer"][0]
        if not dry_run:
            # without a multicall: a call is a transaction of its own
            outboxes["rebalancer"] = _outbox(
                place,
                "rebalancer",
                config.rebalancer,
                account,
                unmet=carry.read_back(place.nodes, vaults),
                multicall=None,
            )
        lane = outboxes.get("rebalancer")
        duties.append(
            Duty(
                _rebalancer(place, config.rebalancer, vaults, account.address, lane),
                config.rebalancer.every,
            )
        )
    payers = {role: accounts[role][0].address for role in accounts if role != "reporter"}
    watch = Watch(
        place.nodes,
        payers,
        lease,
        place.contracts if submitter is None else None,
        metrics=place.metrics,
        health=place.health,
    )
    service = Service(
        [Duty(watch, WATCH_EVERY), *duties],
        clock=place.clock,
        metrics=place.metrics,
        health=place.health,
    )
    return Keeper(service, reporter, submitter, outboxes)


def _reporter(
    place: Place,
    section: ReporterSection,
    accounts: list[Account],
    mailbox: Mailbox,
    statements: Statements,
) -> Reporter:
    panel = build_panel(section, list(place.contracts.markets), place.clock)
    place.closing.callback(panel.close)
    return Reporter(
        place.contracts,
        panel,
        accounts,
        mailbox,
        statements,
        min_venues=section.least_venues,
        cadence=section.cadence,
        metrics=place.metrics,
    )


def build_panel(section: ReporterSection, markets: Sequence[str], clock: Clock) -> Panel:
    """The venues of some markets. Raises HistoryError and SourceError."""
    options: dict[str, Any] = {
        "limits": Limits(
            section.limits.max_age,
            section.limits.max_skew,
            section.limits.max_rate,
            max_basis=section.limits.max_basis,
        ),
        "timeout": section.timeout,
        "clock": clock,
    }
    if HISTORY in section.sources:
        try:
            return history_panel(section.data or Path(), markets, **options)
        except HistoryError as error:
            raise HistoryError(
                f"reporter.data: {error}; change it in the file, or {PREFIX}REPORTER__DATA"
            ) from None
    if SYNTHETIC in section.sources:
        return synthetic_panel(markets, **options)
    venues = {name: section.exchange.get(name, {}) for name in section.sources}
    return exchange_panel(venues, **options)


def _outbox(
    place: Place,
    lane: str,
    section: LaneSection,
    wallet: Account,
    *,
    unmet: Callable[[Sequence[Intent], Head], Sequence[Intent]],
    multicall: str | None,
    announce: Callable[[str], None] | None = None,
) -> Outbox:
    place.metrics.expect_lane(lane)
    least_tip = min(FeePolicy().min_tip, section.max_tip)
    fees = FeePolicy(
        max_fee=section.max_fee,
        min_tip=least_tip,
        max_tip=section.max_tip,
        max_gas=section.max_gas,
    )
    outbox = Outbox(
        place.nodes,
        place.journal(lane),
        wallet,
        fees,
        unmet=unmet,
        multicall=multicall,
        confirmations=section.confirmations,
        patience=section.patience,
        clock=place.clock,
        metrics=place.metrics,
        announce=announce,
        anchor=place.anchor,
    )
    outbox.bind()  # now, because it would fail in every tick
    return outbox


def _liquidator(
    place: Place, section: LiquidatorSection, sender: str, lane: Outbox | None
) -> LiquidatorRole:
    place.metrics.expect_liquidations()
    symbols = list(place.contracts.markets)
    pools = pools_of(place.nodes, place.record, symbols)
    follower = Follower(
        place.nodes,
        {each.address: each.leg for each in pools},
        # a dry run changes nothing
        place.config.state_folder / ACCOUNTS if lane is not None else None,
        start=first_block(place.record, symbols),
    )
    place.closing.callback(follower.close)
    return LiquidatorRole(
        place.nodes,
        pools,
        follower,
        lane,
        sender=sender,
        multicall=place.record.multicall,
        ether=Ether(
            section.ether_price, section.ether_feed, int(section.ether_max_age.total_seconds())
        ),
        receiver=section.receiver,
        policy=LiquidatorPolicy(section.min_profit, section.bad_debt_loss, section.max_slippage),
        metrics=place.metrics,
    )


def _rebalancer(
    place: Place,
    section: RebalancerSection,
    vaults: Sequence[Vault],
    sender: str,
    lane: Outbox | None,
) -> RebalancerRole:
    for each in vaults:
        place.metrics.expect_vault(
            each.name, each.liquidation_ltv / 10**18, each.maintenance_margin / 10**18
        )
    follower = RequestFollower(
        place.nodes,
        [each.address for each in vaults],
        # a dry run changes nothing
        place.config.state_folder / REQUESTS if lane is not None else None,
        start=carry.first_block(place.record, vaults),
    )
    place.closing.callback(follower.close)
    spending = None if lane is None else Spending(place.nodes, lane.journal)
    return RebalancerRole(
        place.nodes,
        vaults,
        follower,
        lane,
        sender=sender,
        funding_oracle=place.contracts.funding_oracle,
        spent=(lambda now: 0) if spending is None else spending.last_day,
        budget=Budget(section.budget),
        max_gas=section.max_gas,
        metrics=place.metrics,
        health=place.health,
    )


def strangers(place: Place, accounts: Accounts) -> Iterator[str]:
    """Reporters' keys that the funding oracle does not know."""
    seats = place.contracts.seats(place.clock())[place.contracts.funding_oracle]
    for account in accounts.get("reporter", []):
        if account.address not in seats.reporters:
            yield account.address
