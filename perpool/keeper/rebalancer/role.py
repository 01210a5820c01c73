"""The rebalancer's role: look at every vault, do the one thing that is next, look again.

    vaults = vaults_of(nodes, record)
    follower = RequestFollower(nodes, [each.address for each in vaults], path, start=...)
    outbox = Outbox(nodes, journal, wallet, unmet=read_back(nodes, vaults))
    role = RebalancerRole(nodes, vaults, follower, outbox, sender=..., funding_oracle=...)
    role.tick(now)

A call is a transaction of its own: none fails with another, and the vault's tip is the account's.
Everything is tried on the newest block first, and what brings nothing there is not sent. It is done
whether the tip pays for it or not, within a budget for gas.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Protocol

import structlog

from perpool.chain import ChainError
from perpool.evm import Reverted
from perpool.keeper.chain.checkpoint import FollowError
from perpool.keeper.chain.nodes import Head
from perpool.keeper.health import Health
from perpool.keeper.metrics import Metrics
from perpool.keeper.rebalancer.decide import (
    LONGEST_REST,
    OVERDUE,
    Budget,
    Request,
    Stand,
    Task,
    Vault,
    Work,
    choose,
    due_since,
    is_ready,
    rest_after,
    tasks_of,
)
from perpool.keeper.rebalancer.requests import RequestFollower
from perpool.keeper.rebalancer.vaults import call_of, just_apart, parcel_of, stands_of, traces_of
from perpool.keeper.transactions import lane
from perpool.keeper.transactions.fees import MAX_GAS, gas_limit
from perpool.keeper.transactions.journal import Journal
from perpool.keeper.transactions.model import Transaction

DAY = 86_400
EXPIRY = 300
"""Seconds after which a call that was not sent is decided anew."""
TRIALS = 24
"""Requests that one tick tries, those that were not tried for longest first."""
FEW = 64
"""Transactions that are looked at first for what was spent."""
_FAILED = ("reverted", "refused", "unmet")


class Nodes(lane.Nodes, Protocol):
    """What is asked of the chain; `nodes.Nodes` is one."""

    def receipt(self, transaction_hash: str) -> Any:
        """With `gas_used` and `gas_price`, None where it has none."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a tick did."""

    stands: tuple[Stand, ...] = ()
    ready: tuple[Task, ...] = ()
    """What would bring something now, in the order in which it is to be done."""
    chosen: Task | None = None
    """Handed to the outbox; in a dry run only logged."""


@dataclass
class Spending:
    """What gas has cost, by a lane's journal and the receipts of what was mined."""

    nodes: Nodes
    journal: Journal
    _costs: dict[str, int] = field(default_factory=dict)

    def last_day(self, now: int) -> int:
        """Wei of what was planned in the last 24 hours. What has no receipt yet counts as what it
        offers."""
        spent = 0
        for each in self._since(now - DAY):
            if each.attempts and each.state != "abandoned":
                offered = (each.gas or 0) * each.attempts[-1].fees.max_fee
                spent += self._cost(each.mined.hash, offered) if each.mined else offered
        return spent

    def _since(self, time: int) -> list[Transaction]:
        """What was planned after a time."""
        count = FEW
        recent = self.journal.recent(count)
        while len(recent) == count and recent[-1].planned_at > time:
            count *= 4
            recent = self.journal.recent(count)
        return [each for each in recent if each.planned_at > time]

    def _cost(self, transaction_hash: str, offered: int) -> int:
        if transaction_hash not in self._costs:
            receipt = self.nodes.receipt(transaction_hash)
            if receipt is None:
                return offered
            self._costs[transaction_hash] = receipt.gas_used * receipt.gas_price
        return self._costs[transaction_hash]


class RebalancerRole:
    """Looks after some vaults. `outbox` None is a dry run: what it would do is logged.

    `spent` gives the wei that gas has cost in the 24 hours before a time.
    """

    name = "rebalancer"

    def __init__(
        self,
        nodes: Nodes,
        vaults: Sequence[Vault],
        follower: RequestFollower,
        outbox: lane.Lane | None,
        *,
        sender: str,
        funding_oracle: str,
        spent: Callable[[int], int] = lambda now: 0,
        budget: Budget,
        max_gas: int = MAX_GAS,
        metrics: Metrics | None = None,
        health: Health | None = None,
        log: Any = None,
    ) -> None:
        self.nodes = nodes
        self.vaults = list(vaults)
        self.follower = follower
        self.outbox = outbox
        self.sender = sender
        self.funding_oracle = funding_oracle
        self.spent = spent
        self.budget = budget
        self.max_gas = max_gas
        self.metrics = metrics or Metrics()
        self.health = health or Health()
        self.log = log or structlog.get_logger("perpool.keeper.rebalancer")
        self._due: dict[str, int] = {}
        """Since when, by a vault's name."""
        self._orders: dict[str, tuple[int, int]] = {}
        """The id of what is pending, and since when it has been seen."""
        self._asked: dict[str, int] = {}
        """Since when a request has been known, by its subject and kind."""
        self._turns: dict[tuple[Work, str], int] = {}
        self._tried: dict[tuple[Work, str], int] = {}
        self._rests: dict[tuple[Work, str], tuple[int, int]] = {}
        """Seconds, and when they are over."""
        self._last: Work | None = None
        self._offered: Task | None = None
        self._said: dict[str, str] = {}
        """What was last logged of something that lasts."""

    def tick(self, now: int) -> Outcome:
        """Look at all vaults, and do what is next.

        Where events cannot be had, vaults are looked after all the same; then it raises.
        """
        events = self.outbox.step() if self.outbox is not None else ()
        self._note(events, now)
        head = self.nodes.head()
        problem: Exception | None = None
        try:
            self.follower.advance(head)
        except (ChainError, FollowError) as error:
            problem = error
        stands, silent = stands_of(self.nodes, self.vaults, self.funding_oracle, head)
        for vault in self.vaults:
            self._say(f"no answer of {vault.name}", silent.get(vault.name))
        requests = {each.address: self.follower.indexes[each.address].all() for each in self.vaults}
        for stand in stands:
            self._publish(stand, requests[stand.vault.address], now)
        ready, chosen = [], None
        if self.outbox is None or not self.outbox.busy:
            ready = self._ready(stands, requests, head, now)
            chosen = self._go(ready, {each.vault: each for each in stands}, head, now)
        if problem is not None:
            raise problem
        return Outcome(tuple(stands), tuple(ready), chosen)

    # -- what there is to do --

    def _ready(
        self,
        stands: Sequence[Stand],
        requests: dict[str, list[Request]],
        head: Head,
        now: int,
    ) -> list[Task]:
        """What would bring something on a block, in the order of turns."""
        tasks = {
            task: stand
            for stand in stands
            for task in tasks_of(stand, requests[stand.vault.address])
            if self._rests.get(_key(task), (0, 0))[1] <= now
        }
        self._rests = {
            key: rest for key, rest in self._rests.items() if now < rest[1] + LONGEST_REST
        }
        for tried in (self._tried, self._turns):
            # of what is over nothing is kept
            for key in tried.keys() - {_key(each) for each in tasks} - self._rests.keys():
                del tried[key]
        safety = [each for each in tasks if each.work.is_safety]
        others = sorted(
            (each for each in tasks if not each.work.is_safety),
            key=lambda each: (self._tried.get(_key(each), 0), -each.usdt),
        )[:TRIALS]
        self._tried |= {_key(each): now for each in others}
        tried_now = [*safety, *others]
        calls = [
            replace(call_of(each, tasks[each].order)[1], sender=self.sender) for each in tried_now
        ]
        answers = self.nodes.read(calls, head)
        ready, unpaid = [], []
        for task, answer in zip(tried_now, answers, strict=True):
            if is_ready(task, tasks[task], answer):
                ready.append(task)
                if task.work is Work.REDEEM and answer == 0:
                    unpaid.append(task)
            if task.work.is_safety:
                self._say(f"{task.work.value} of {task.vault.name}", _obstacle(task, answer))
        waiting = just_apart(self.nodes, unpaid, head)
        return choose([each for each in ready if each not in waiting], self._turns, self._last)

    # -- doing it --

    def _go(
        self, ready: Sequence[Task], stands: dict[Vault, Stand], head: Head, now: int
    ) -> Task | None:
        """Hand over the first that can be afforded."""
        base_fee, tip = self.nodes.fees(head) if ready else (0, 0)
        spent = self.spent(now)
        self.metrics.spent.labels(self.name).set(float(Decimal(spent).scaleb(-18)))
        over = {True: False, False: False}
        chosen = None
        for task in ready:
            to, call = call_of(task, stands[task.vault].order)
            try:
                gas = gas_limit(self.nodes.estimate(to, call.data, self.sender), self.max_gas)
            except Reverted as error:
                self._rest(task, str(error), now)
                continue
            if self.budget.allows(task.work, spent, gas * (base_fee + tip)):
                chosen = task
                break
            over[task.work.is_safety] = True
        for is_safety, work in ((True, "vaults"), (False, "requests")):
            self.metrics.over_budget.labels(work).set(over[is_safety])
            self._say(f"gas for {work}", "the day's budget is used up" if over[is_safety] else None)
        if chosen is not None:
            self._offer(chosen, stands[chosen.vault], head, now)
        return chosen

    def _offer(self, task: Task, stand: Stand, head: Head, now: int) -> None:
        self._turns[_key(task)] = now
        self._last = task.work
        said = "would send" if self.outbox is None else "sending"
        self.log.info(said, work=task.work.value, vault=task.vault.name, **_whose(task))
        if self.outbox is None:
            self._rests[_key(task)] = (OVERDUE, now + OVERDUE)
            return
        [trace] = traces_of(self.nodes, [task], head)
        self._offered = task
        self.outbox.offer([parcel_of(task, stand.order, trace, head)], now + EXPIRY)
        self._note(self.outbox.step(), now)

    def _note(self, events: Iterable[Any], now: int) -> None:
        """Count what came of it; what failed is left alone for a while."""
        for event in events:
            task = self._offered
            about = [(each.kind, each.subject) for each in event.intents]
            if task is None or (task.work.value, task.subject) not in about:
                continue
            if event.name in _FAILED:
                self._rest(task, event.reason or event.name, now)
                self._count(task, "failed")
            elif event.name == "landed":
                self._rests.pop(_key(task), None)
                self._count(task, "landed")

    def _rest(self, task: Task, reason: str, now: int) -> None:
        before = self._rests.get(_key(task))
        seconds = rest_after(task.work, before[0] if before else None)
        self._rests[_key(task)] = (seconds, now + seconds)
        self.log.warning(
            "left alone",
            work=task.work.value,
            vault=task.vault.name,
            reason=reason,
            seconds=seconds,
            **_whose(task),
        )

    def _count(self, task: Task, outcome: str) -> None:
        if task.work is Work.REBALANCE:
            self.metrics.rebalances.labels(task.vault.name, outcome).inc()
        else:
            self.metrics.settlements.labels(task.vault.name, task.work.value, outcome).inc()

    # -- telling --

    def _publish(self, stand: Stand, requests: Sequence[Request], now: int) -> None:
        name = stand.vault.name
        since = due_since(stand, self._due.get(name), now)
        self._due.pop(name, None)
        if since is not None:
            self._due[name] = since
        self.metrics.vault_due.labels(name).set(since or 0)
        overdue = since is not None and now - since > OVERDUE
        self.health.trouble(
            f"vault {name}", f"due for {now - (since or now)} s" if overdue else None
        )

        order, ordered = self._orders.get(name, (0, now))
        if stand.order != order:
            order, ordered = stand.order, now
        self._orders[name] = (order, ordered)
        self.metrics.vault_order.labels(name).set(ordered if order else 0)

        self.metrics.publish_vault(
            name,
            ltv=float(stand.ltv),
            margin=None if stand.margin is None else float(stand.margin),
            hedge=float(stand.hedge),
            net_carry=float(Decimal(stand.net_carry).scaleb(-18)),
        )
        self._say(f"danger to {name}", "a liquidation is near" if stand.is_in_danger else None)
        for kind in ("deposit", "redemption"):
            waiting = {
                f"{stand.vault.address}/{each.controller} {kind}"
                for each in requests
                if (each.assets if kind == "deposit" else each.shares)
            }
            known = {
                each
                for each in self._asked
                if each.startswith(f"{stand.vault.address}/") and each.endswith(kind)
            }
            for each in known - waiting:
                del self._asked[each]
            for each in waiting - known:
                self._asked[each] = now
            oldest = min((self._asked[each] for each in waiting), default=0)
            self.metrics.vault_requests.labels(name, kind).set(len(waiting))
            self.metrics.vault_request.labels(name, kind).set(oldest)

    def _say(self, what: str, reason: str | None) -> None:
        """Log what lasts once, when it begins, changes or ends."""
        before = self._said.pop(what, None)
        if reason is not None:
            self._said[what] = reason
            if reason != before:
                self.log.warning(what, reason=reason)
        elif before is not None:
            self.log.info(f"{what}: over")


def _key(task: Task) -> tuple[Work, str]:
    return task.work, task.subject


def _whose(task: Task) -> dict[str, str]:
    return {"controller": task.controller} if task.controller else {}


def _obstacle(task: Task, answer: Any) -> str | None:
    """Why nothing comes of what is due; an order that simply waits is none."""
    if isinstance(answer, Reverted):
        return str(answer)
    if task.work is Work.REBALANCE and not answer:
        return "due, and pools, venue and market let nothing be done"
    return None
