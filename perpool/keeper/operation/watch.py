"""The role that looks after the keeper itself: nodes, lease, ether, and feeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Protocol

import structlog

from perpool.chain import ChainError
from perpool.keeper.chain.nodes import Head
from perpool.keeper.health import Health, publish_feeds
from perpool.keeper.mailbox import Lease, MailboxError
from perpool.keeper.metrics import Metrics
from perpool.keeper.model import MarketState, Policy

LITTLE = Decimal("0.01")
"""Ether of an account about which the log warns."""


class Nodes(Protocol):
    """What is asked of the chain; `nodes.Nodes` is one."""

    def head(self) -> Head: ...

    def balance(self, address: str, head: Head | None = None) -> int:
        """Wei."""


class Markets(Protocol):
    """What stands on chain; `contracts.Contracts` is one."""

    def states(self, head: Head) -> Sequence[MarketState]: ...


class Watch:
    """Tells health and metrics what no other role would: that nothing can be known any more.

    `payers` are accounts by role, `lease` that of the submitter, if there is one. `markets` are
    those whose feeds it reads, for a keeper without a submitter, which reads them itself.
    """

    name = "watch"

    def __init__(
        self,
        nodes: Nodes,
        payers: Mapping[str, str],
        lease: Lease | None,
        markets: Markets | None = None,
        *,
        metrics: Metrics,
        health: Health,
        log: Any = None,
    ) -> None:
        self.nodes = nodes
        self.payers = dict(payers)
        self.lease = lease
        self.markets = markets
        self.metrics = metrics
        self.health = health
        self.log = log or structlog.get_logger("perpool.keeper.watch")
        self._low: set[str] = set()

    def tick(self, now: int) -> None:
        """Look at everything once; what fails is trouble, not an error of this role."""
        self._check_nodes()
        self._check_lease()

    def _check_nodes(self) -> None:
        try:
            head = self.nodes.head()
            for role, address in self.payers.items():
                ether = Decimal(self.nodes.balance(address, head)).scaleb(-18)
                self.metrics.balance.labels(address).set(float(ether))
                self._warn(role, address, ether)
            if self.markets is not None:
                states = self.markets.states(head)
                publish_feeds(states, Policy(), self.metrics, self.health)
        except ChainError as error:
            self.health.trouble("nodes", str(error))
        else:
            self.health.trouble("nodes", None)

    def _warn(self, role: str, address: str, ether: Decimal) -> None:
        """Once for each time that it becomes little."""
        if ether >= LITTLE:
            self._low.discard(address)
        elif address not in self._low:
            self._low.add(address)
            self.log.warning("little ether", role=role, account=address, ether=f"{ether:f}")

    def _check_lease(self) -> None:
        if self.lease is None:
            return
        try:
            self.lease.state()
        except MailboxError as error:
            self.health.trouble("lease", str(error))
        else:
            self.health.trouble("lease", None)
