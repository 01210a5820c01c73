"""Where a keeper works: the deployment of its configuration, through its nodes, and its files.

    with open_place(config) as place:
        place.contracts.states(place.nodes.head())
        place.read_journal("submitter")

Enough for looking: it has no accounts, and sends nothing.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from pathlib import Path

from perpool.chain import Chain, ChainError
from perpool.deployment import Record
from perpool.deployment.config import LOCAL_CHAINS
from perpool.keeper.chain.contracts import Contracts, KeeperError
from perpool.keeper.chain.endpoint import name_endpoints
from perpool.keeper.chain.nodes import Nodes, NodesError
from perpool.keeper.health import Health
from perpool.keeper.mailbox import Lease, Mailbox, MailboxError, open_lease, open_mailbox
from perpool.keeper.metrics import Metrics
from perpool.keeper.operation.config import KeeperConfig
from perpool.keeper.rebalancer import vaults as carry
from perpool.keeper.rebalancer.decide import Vault
from perpool.keeper.service import Ended
from perpool.keeper.submitter import IDLE_SECONDS
from perpool.keeper.transactions.journal import Journal
from perpool.keeper.transactions.outbox import identity

JOURNAL = "journal.db"
"""In the state folder, of all lanes."""
HEAD_AGE = timedelta(minutes=15)
"""A chain whose newest block is older stands still, or all nodes are behind."""

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

    def guard(self) -> Callable[[], None]:
        """What raises Ended once the chain is another than now. Raises NodesError.

        Only a local one can be: it is started anew. Of others nothing is asked.
        """
        if not self.is_local:
            return lambda: None
        number = 0 if self.nodes.block_hash(self.anchor) is None else self.anchor
        known = self.nodes.block_hash(number)

        def check() -> None:
            try:
                found = self.nodes.block_hash(number)
            except NodesError:
                return  # whoever needs the nodes says so
            if found != known:
                raise Ended(
                    f"the chain was started anew: it has no longer the block {number} that it had "
                    "when this keeper began. Deploy again, remove the folder "
                    f"{self.config.state_folder}, and start the keeper again"
                )

        return check

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
