"""What the keeper tells those who watch it in figures, for Prometheus.

    metrics = Metrics()
    metrics.feed_observed.labels("funding", "ADA").set(now)
    metrics.text()                                      # what /metrics answers

Fed by all parts of the keeper and read by `operation/server.py`; it does no I/O.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

PREFIX = "perpool_keeper_"
FAILED = ("failed", "refused", "reverted", "short of funds", "unmet")
"""What becomes of transactions that bring nothing."""
REFUSED = (
    "bad signature",
    "equivocation",
    "flood",
    "from the future",
    "malformed",
    "too old",
    "unknown contract",
    "unknown reporter",
    "unknown token",
    "wrong length",
)
"""Why reports count for nothing."""
ACTIONS = ("funding", "price", "sync", "observe")
"""What a submitter sends."""


class Metrics:
    """All figures of one keeper, in a registry of its own. Labels are given in the order here.

    A series is there from its first value on, and Prometheus sees no increase in that. What an
    alert counts has to begin at 0: the methods with `expect` see to it. What ages is exported as
    its time, so that it goes on ageing when nobody looks after it any more.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

        # sources
        self.left_out = self._counter(
            "left_out", "Venues left out of a round, by reason.", "market", "venue", "kind"
        )
        self.venues = self._gauge(
            "venues",
            "Venues in the newest median of funding or price; 0 where they were too few.",
            "market",
            "value",
        )
        self.unheard = self._counter(
            "unheard",
            "Rounds for which too few venues had a value, so nothing was signed.",
            "market",
        )
        self.funding_rate = self._gauge(
            "funding_rate", "Median funding as a fraction a year, 1 is 100 %.", "market"
        )
        self.funding_spread = self._gauge(
            "funding_spread", "Largest less smallest venue's funding, a fraction a year.", "market"
        )
        self.price = self._gauge("price_usdt", "Median price of a whole token.", "market")
        self.price_spread = self._gauge(
            "price_spread_usdt", "Largest less smallest venue's price of a whole token.", "market"
        )

        # reports
        self.signed = self._counter("signed", "Reports signed and posted.", "feed")
        self.refused_reports = self._counter(
            "refused_reports", "Reports in the mailbox that count for nothing, by reason.", "reason"
        )
        self.report_observed = self._gauge(
            "report_observed_timestamp_seconds",
            "Observation time of a reporter's newest report in the mailbox, unix time.",
            "reporter",
        )
        self.equivocations = self._counter(
            "equivocations",
            "Times that a reporter signed two different reports of one moment.",
            "reporter",
        )
        self.mailbox_errors = self._counter("mailbox_errors", "Failures of the mailbox or lease.")

        # on chain
        self.feed_observed = self._gauge(
            "feed_observed_timestamp_seconds",
            "Observation time of the newest value on chain, unix time, 0 before the first.",
            "feed",
            "market",
        )
        self.feed_heartbeat = self._gauge(
            "feed_heartbeat_seconds", "Age at which a new value is due, changed or not.", "feed"
        )
        self.rounds = self._counter(
            "rounds", "Rounds and upkeep that the chain would not take.", "feed", "outcome"
        )
        self.transactions = self._counter(
            "transactions", "Transactions of a lane, by outcome.", "lane", "outcome"
        )
        self.replacements = self._counter(
            "replacements", "Transactions sent again with a higher fee.", "lane"
        )
        self.held = self._gauge(
            "held", "1 while nothing is sent because fees are over the cap.", "lane"
        )
        self.in_flight_seconds = self._gauge(
            "in_flight_seconds", "Age of the transaction that waits to be mined, 0 without.", "lane"
        )
        self.balance = self._gauge("balance_ether", "Ether of an account that pays gas.", "account")

        # nodes, lease and state
        self.node_up = self._gauge(
            "node_up", "1 where a node answers, keeps up and agrees with the others.", "node"
        )
        self.disagreements = self._counter(
            "disagreements", "Answers on which nodes disagreed, so that nothing was done."
        )
        self.lease_held = self._gauge("lease_held", "1 on the active submitter.", "lane")
        self.journal_errors = self._counter("journal_errors", "Failed writes to the journal.")

        # liquidator
        self.liquidations = self._counter(
            "liquidations", "Liquidations tried, by outcome.", "leg", "outcome"
        )
        self.accounts = self._gauge("accounts", "Accounts with debt in a pool.", "pool")

        # rebalancer
        self.rebalances = self._counter(
            "rebalances", "Rebalancing of a vault that was sent, by outcome.", "vault", "outcome"
        )
        self.settlements = self._counter(
            "settlements",
            "What else was sent for a vault, by outcome.",
            "vault",
            "work",
            "outcome",
        )
        self.vault_due = self._gauge(
            "vault_due_timestamp_seconds",
            "Since when a vault has been due, unix time, 0 where it is not.",
            "vault",
        )
        self.vault_order = self._gauge(
            "vault_order_timestamp_seconds",
            "Since when a vault's order has been pending, unix time, 0 without one.",
            "vault",
        )
        self.vault_ltv = self._gauge("vault_ltv", "A vault's debt by its collateral.", "vault")
        self.vault_liquidation_ltv = self._gauge(
            "vault_liquidation_ltv", "LTV above which the loan may be liquidated.", "vault"
        )
        self.vault_margin = self._gauge(
            "vault_margin", "A short's equity by its notional, NaN without a short.", "vault"
        )
        self.vault_maintenance_margin = self._gauge(
            "vault_maintenance_margin", "Margin below which it may be liquidated.", "vault"
        )
        self.vault_hedge_ratio = self._gauge(
            "vault_hedge_ratio", "Tokens short by those held.", "vault"
        )
        self.vault_net_carry = self._gauge(
            "vault_net_carry", "What carrying brings, a fraction a year.", "vault"
        )
        self.vault_requests = self._gauge(
            "vault_requests", "Requests that are not settled.", "vault", "kind"
        )
        self.vault_request = self._gauge(
            "vault_request_timestamp_seconds",
            "Since when the oldest of them has been known here, unix time, 0 without any.",
            "vault",
            "kind",
        )
        self.spent = self._gauge(
            "spent_ether", "What a lane's gas has cost in the last 24 hours.", "lane"
        )
        self.over_budget = self._gauge(
            "over_budget", "1 while the day's budget for gas leaves something undone.", "work"
        )

        # roles
        self.role_errors = self._counter("role_errors", "Ticks of a role that failed.", "role")
        self.role_ticked = self._gauge(
            "role_ticked_timestamp_seconds", "When a role last ticked well, or began.", "role"
        )
        self._seated: set[str] = set()

    def expect_role(self, role: str) -> None:
        """A role begins."""
        self.role_errors.labels(role)
        self.role_ticked.labels(role).set_to_current_time()

    def expect_lane(self, lane: str) -> None:
        """Transactions will be sent in a lane."""
        self.held.labels(lane)
        self.in_flight_seconds.labels(lane)
        self.replacements.labels(lane)
        for outcome in FAILED:
            self.transactions.labels(lane, outcome)

    def expect_rounds(self) -> None:
        """Reports will be read, and rounds of them sent."""
        for reason in REFUSED:
            self.refused_reports.labels(reason)
        for action in ACTIONS:
            self.rounds.labels(action, "refused")

    def expect_liquidations(self) -> None:
        """Liquidations will be tried."""
        for leg in ("reverse", "forward"):
            self.liquidations.labels(leg, "failed")

    def expect_vault(self, vault: str, liquidation_ltv: float, maintenance_margin: float) -> None:
        """A vault will be looked after."""
        for outcome in ("landed", "failed"):
            self.rebalances.labels(vault, outcome)
        self.vault_due.labels(vault)
        self.vault_order.labels(vault)
        self.vault_liquidation_ltv.labels(vault).set(liquidation_ltv)
        self.vault_maintenance_margin.labels(vault).set(maintenance_margin)
        for work in ("vaults", "requests"):
            self.over_budget.labels(work)

    def publish_vault(
        self, vault: str, *, ltv: float, margin: float | None, hedge: float, net_carry: float
    ) -> None:
        """How a vault stands; `margin` None without a short."""
        self.vault_ltv.labels(vault).set(ltv)
        self.vault_margin.labels(vault).set(math.nan if margin is None else margin)
        self.vault_hedge_ratio.labels(vault).set(hedge)
        self.vault_net_carry.labels(vault).set(net_carry)

    def seat(self, reporters: Iterable[str]) -> None:
        """Who may report now. What there was of others is taken away."""
        seated = set(reporters)
        for each in seated - self._seated:
            self.equivocations.labels(each)
        for each in self._seated - seated:
            self.equivocations.remove(each)
            self.report_observed.remove(each)
        self._seated = seated

    def text(self) -> bytes:
        """All figures in Prometheus' text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, help_: str, *labels: str) -> Counter:
        return Counter(PREFIX + name, help_, labels, registry=self.registry)

    def _gauge(self, name: str, help_: str, *labels: str) -> Gauge:
        return Gauge(PREFIX + name, help_, labels, registry=self.registry)
