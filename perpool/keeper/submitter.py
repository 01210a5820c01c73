"""The submitter: turns reporters' rounds into transactions, and keeps the pools in step."""

from __future__ import annotations

import contextlib
import time as system_time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, assert_never

import structlog

from perpool.evm import Reverted
from perpool.keeper import decide
from perpool.keeper.chain.contracts import Contracts
from perpool.keeper.chain.nodes import Head
from perpool.keeper.health import Health, publish_feeds
from perpool.keeper.mailbox import Lease, Mailbox, MailboxError, Message
from perpool.keeper.metrics import Metrics
from perpool.keeper.model import (
    Action,
    Intent,
    MarketState,
    ObservePrice,
    Parcel,
    Policy,
    ReportFunding,
    ReportPrice,
    SyncFunding,
)
from perpool.keeper.rounds import Collector
from perpool.keeper.transactions.batches import BATCH_CALLS

IDLE_SECONDS = 60
"""Age of the newest block past which a chain is taken to stand still until somebody sends."""
TRANSACTIONS_A_TICK = 16
"""Where they are mined at once, as on local chains."""
FAILURES = 3
"""Ticks that fail in a row before a standby is let in."""
COLLECT_SECONDS = 5.0
"""Of a tick spent on reports; what is left waits for the next. The lease is longer."""
SAY_AGAIN_SECONDS = 60
"""Between two lines of the log about the same fault of the same reporter."""
EXPIRY_MARGIN = 30
"""Seconds before its time that a round counts as too old."""


class Lane(Protocol):
    """Where transactions are handed over; `outbox.Outbox` is one."""

    @property
    def busy(self) -> bool:
        """A transaction waits to be mined; nothing else is begun."""

    def offer(self, parcels: Sequence[Parcel], expires_at: int | None) -> None:
        """Send these in one transaction."""

    def knows(self, intent: Intent) -> bool:
        """Whether it is under way or done."""

    def refuse(self, parcel: Parcel, reason: str) -> None:
        """Keep in mind that it was tried and would fail."""

    def step(self) -> object:
        """Go on with what is under way."""

    def watch(self) -> object:
        """Look after what is under way without sending anything."""

    def adopt(self, note: str) -> object:
        """Take over what a predecessor announced."""


@dataclass(frozen=True)
class Outcome:
    """What a tick did."""

    done: tuple[Action, ...] = ()
    """Handed to the outbox, or in a dry run only logged."""
    refused: tuple[tuple[Action, str], ...] = ()
    """What the chain would not take, and why."""


class Submitter:
    """Collects reports, decides what is due, and sends it while it holds the lease.

    `outbox` None is a dry run: what would be sent is logged. `lease` None is a submitter without
    a standby. `idles` is whether the chain may stand still until somebody sends, as local ones do;
    elsewhere its time is that of its newest block, whatever our own clock says.
    """

    name = "submitter"

    def __init__(
        self,
        contracts: Contracts,
        mailbox: Mailbox,
        outbox: Lane | None,
        *,
        lease: Lease | None = None,
        policy: Policy | None = None,
        sync: bool = True,
        idles: bool = True,
        metrics: Metrics | None = None,
        health: Health | None = None,
        log: Any = None,
    ) -> None:
        self.contracts = contracts
        self.mailbox = mailbox
        self.outbox = outbox
        self.lease = lease
        self.policy = policy or Policy()
        self.sync = sync
        self.idles = idles
        self.metrics = metrics or Metrics()
        self.health = health or Health()
        self.log = log or structlog.get_logger("perpool.keeper.submitter")
        self.collector = Collector(contracts.reader.chain_id, {})
        self.states: list[MarketState] = []
        """The markets as of the newest tick."""
        self.active = False
        """Whether the lease was ours at the newest tick."""
        self._note: str | None = None
        """What was announced last, as far as we know."""
        self._failures = 0
        self._seen: dict[str, str | None] = {}
        """The mailbox's mark of what was read last of each reporter."""
        self._unread: dict[str, deque[Message]] = {}
        """Read of each reporter, and not looked at yet."""
        self._refusal_said: dict[tuple[str, str], int] = {}
        """When a reason was last logged of a reporter."""
        self._began = 0
        self._refused: set[Intent] = set()
        """By the chain, in this tick."""
        self._said: set[tuple[str, ...]] = set()
        """Refused and logged, of what is still due."""
        self._rehearsed: set[tuple[str, ...]] = set()
        """Logged in a dry run, of what is still due."""
        self._renewed = False
        """Whether this tick has renewed the lease."""
        self.metrics.expect_rounds()
        if lease is not None:
            self.metrics.lease_held.labels(self.name).set(False)

    def tick(self, now: int) -> Outcome:
        """Bring the chain up to date with the newest rounds, as far as that is possible now.

        Where that fails again and again, the lease is let go: a standby may be better off.
        """
        self._renewed = False
        try:
            outcome = self._tick(now)
        except Exception:
            self._failures += 1
            if not self._renewed and self.lease is not None:
                # it runs out, and for all we know another has it
                self.metrics.lease_held.labels(self.name).set(False)
            if self._failures >= FAILURES:
                self._step_down()
            raise
        self._failures = 0
        return outcome

    def _tick(self, now: int) -> Outcome:
        head = self.contracts.reader.head()
        # before reading, which may take a while; one who keeps failing shows first that he can
        holds = self._failures < FAILURES and self._hold()
        self.collect(self._time(head, now))
        if not holds and not (self._failures >= FAILURES and self._hold()):
            self._look(head)
            if self.outbox is not None:
                self.outbox.watch()
            return Outcome()
        done: list[Action] = []
        refused: list[tuple[Action, str]] = []
        self._refused.clear()
        if self.outbox is not None:
            self.outbox.step()
        for _ in range(TRANSACTIONS_A_TICK):
            head = self.contracts.reader.head()
            states = self._look(head)
            if self.outbox is not None and self.outbox.busy:
                break
            actions = self._due(states, self._time(head, now))
            passing = self._passing(actions, head, now, refused)
            if not actions:
                break
            if not passing:
                continue
            done += [action for action, _ in passing]
            if self.outbox is None:
                self._rehearse(passing)
                continue
            expires_at = self._expiry(passing, now - self._time(head, now))
            self.outbox.offer([parcel for _, parcel in passing], expires_at)
            self.outbox.step()
            for _, parcel in passing:
                if not any(self.outbox.knows(each) for each in parcel.intents):
                    # it would have failed after all; not again before the next tick
                    self._refused.update(parcel.intents)
        return Outcome(tuple(done), tuple(refused))

    def collect(self, time: int) -> None:
        """Take in what reporters say, as far as there is time for. `time` is that of the chain's
        next block.

        One of each reporter in turn, so that nobody's many hold up another's few; and what a
        reporter says now takes the place of what is left of what he said before.
        """
        self.collector.seats = self.contracts.seats(time)
        # also where the mailbox is down
        seated = self._watch_reporters(time)
        malformed = self.mailbox.refused
        for reporter in seated:
            messages, mark = self.mailbox.read(reporter, self._seen.get(reporter))
            if mark != self._seen.get(reporter):
                self._unread[reporter] = deque(messages)
                self._seen[reporter] = mark
        self._unread = {each: self._unread[each] for each in seated if self._unread.get(each)}
        deadline = system_time.monotonic() + COLLECT_SECONDS
        while self._unread and system_time.monotonic() < deadline:
            for reporter, unread in list(self._unread.items()):
                message = unread.popleft()
                if not unread:
                    del self._unread[reporter]
                refused = self.collector.add(message, time)
                if refused is not None:
                    self._note_refusal(message, refused, time)
        if self._unread:
            left = sum(len(each) for each in self._unread.values())
            self.log.warning("reports left for the next tick", unread=left)
        self._watch_reporters(time)
        self._note_malformed(self.mailbox.refused - malformed)
        self.collector.prune(time)

    def _watch_reporters(self, time: int) -> list[str]:
        """Publish since when each is silent: since his newest report, or since we began. Gives all
        who have a seat."""
        self._began = self._began or time
        seated = {each for seats in self.collector.seats.values() for each in seats.reporters}
        self.metrics.seat(seated)
        for reporter in seated:
            newest = self.collector.newest.get(reporter, self._began)
            self.metrics.report_observed.labels(reporter).set(newest)
        return sorted(seated)

    def _note_malformed(self, count: int) -> None:
        """Messages that the mailbox has skipped."""
        if count > 0:
            self.metrics.refused_reports.labels("malformed").inc(count)
            self.log.warning("report refused", reason="malformed", count=count)

    def _note_refusal(self, message: Message, reason: str, time: int) -> None:
        report = message.report
        self.metrics.refused_reports.labels(reason).inc()
        if reason == "equivocation":
            self.metrics.equivocations.labels(report.reporter).inc()
        key = (reason, report.reporter)
        if abs(time - self._refusal_said.get(key, -SAY_AGAIN_SECONDS)) < SAY_AGAIN_SECONDS:
            return
        self._refusal_said[key] = time
        # what somebody said last stays in the mailbox when he is gone
        log = self.log.debug if reason == "too old" else self.log.warning
        log(
            "report refused",
            reason=reason,
            reporter=report.reporter,
            contract=message.contract,
            observed_at=report.observed_at,
        )

    # -- one transaction --

    def _due(self, states: Sequence[MarketState], time: int) -> list[Action]:
        """The next transaction's worth of actions.

        Prices first, together with upkeep; then funding, a round of which fills a transaction of
        its own; then upkeep, which pools need because of it.
        """
        reports = decide.reports(states, self._rounds(time), self.policy)
        fresh = [each for each in reports if self._is_new(each)]
        upkeep = decide.upkeep(states, time) if self.sync else []
        # what is no longer due is news when it is due again
        due = {key for each in (*reports, *upkeep) for key in self._keys(each)}
        self._rehearsed &= due
        self._said &= due
        small = [each for each in upkeep if self._is_new(each)]
        prices: list[Action] = [each for each in fresh if isinstance(each, ReportPrice)]
        funding: list[Action] = [each for each in fresh if isinstance(each, ReportFunding)]
        if prices:
            return (prices + small)[:BATCH_CALLS]
        return funding[:1] or small[:BATCH_CALLS]

    def _rounds(self, time: int) -> Iterable[Any]:
        """Rounds that will not be too old by the time they are mined."""
        for each in self.collector.rounds(time):
            age = time - each.subject.observed_at
            if age <= self.collector.seats[each.subject.contract].max_report_age - EXPIRY_MARGIN:
                yield each

    def _is_new(self, action: Action) -> bool:
        """Not under way, and not done as far as the journal knows."""
        intents = self._parcel(action).intents
        if not self._refused.isdisjoint(intents):
            return False
        if not self._rehearsed.isdisjoint(self._keys(action)):
            return False
        return self.outbox is None or not any(self.outbox.knows(each) for each in intents)

    def _passing(
        self, actions: Sequence[Action], head: Head, now: int, refused: list[tuple[Action, str]]
    ) -> list[tuple[Action, Parcel]]:
        """Those that the chain would take, tried on the newest block."""
        found = [(action, self._parcel(action)) for action in actions]
        if self._time(head, now) != head.time:
            # a call on a block of long ago says nothing of the next
            return found
        answers = self.contracts.reader.read([parcel.call for _, parcel in found], head)
        passing = []
        for (action, parcel), answer in zip(found, answers, strict=True):
            if not isinstance(answer, Reverted):
                passing.append((action, parcel))
                continue
            refused.append((action, str(answer)))
            # reporters may have changed
            self.contracts.forget_seats()
            self._refused.update(parcel.intents)
            keys = self._keys(action)
            if self._said.isdisjoint(keys):
                self._said |= keys
                self.metrics.rounds.labels(parcel.intents[0].kind, "refused").inc()
                self.log.error("refused by the chain", reason=str(answer), **facts(action))
                if self.outbox is not None:
                    self.outbox.refuse(parcel, f"it would fail: {answer}")
        return passing

    def _parcel(self, action: Action) -> Parcel:
        match action:
            case ReportFunding():
                return self.contracts.report_funding(action)
            case ReportPrice():
                return self.contracts.report_price(action)
            case SyncFunding():
                return self.contracts.sync_funding(action)
            case ObservePrice():
                return self.contracts.observe_price(action)
        assert_never(action)

    def _expiry(self, found: Sequence[tuple[Action, Parcel]], ahead: int) -> int | None:
        """When the first of some rounds is too old; None where there is none among them.

        By our own clock, which is `ahead` of the chain's by some seconds: of a block, or because
        it is wrong.
        """
        times = [
            action.round.subject.observed_at
            + self.collector.seats[action.round.subject.contract].max_report_age
            for action, _ in found
            if isinstance(action, ReportFunding | ReportPrice)
        ]
        if not times:
            return None
        return min(times) + (ahead if abs(ahead) > IDLE_SECONDS else 0)

    def _rehearse(self, found: Sequence[tuple[Action, Parcel]]) -> None:
        for action, _ in found:
            self._rehearsed |= self._keys(action)
            self.log.info("would send", **facts(action))

    def _keys(self, action: Action) -> set[tuple[str, ...]]:
        """What an action is known by as long as it is due. An observation has no time of its own:
        it is due now, whenever that is."""
        return {
            (each.kind, each.subject, "" if each.kind == "observe" else str(each.time))
            for each in self._parcel(action).intents
        }

    # -- around it --

    def _time(self, head: Head, now: int) -> int:
        """Of the chain's next block."""
        return next_block_time(head, now) if self.idles else head.time

    def _hold(self) -> bool:
        """Whether this submitter is the active one; what its predecessor had in flight is taken
        over first."""
        if self.lease is None or self.outbox is None:
            self.active = True
            return True
        holds = self._renewed = self.lease.hold()
        self.metrics.lease_held.labels(self.name).set(holds)
        if holds:
            # also where we never noticed that another had it meanwhile
            note = self.lease.note()
            if note and note != self._note:
                self.outbox.adopt(note)
            self._note = note
        if holds != self.active:
            self.log.info("active" if holds else "standing by")
        self.active = holds
        return holds

    def _step_down(self) -> None:
        """Let another have the lease."""
        if self.lease is None:
            return
        if self.active:
            self.log.warning("standing down", failures=self._failures)
        self.active = False
        self.metrics.lease_held.labels(self.name).set(False)
        # also one that was not fit to take it over
        with contextlib.suppress(MailboxError):
            self.lease.release()

    def _look(self, head: Head) -> list[MarketState]:
        """Read the markets, and publish when their feeds were observed."""
        self.states = self.contracts.states(head)
        publish_feeds(self.states, self.policy, self.metrics, self.health)
        return self.states


def next_block_time(head: Head, now: int) -> int:
    """The newest time that the next block will not find in the future.

    That of the newest block; our own clock's only on a chain that has stood still, as local ones
    do, where the newest block is too old to report for.
    """
    return now if now - head.time > IDLE_SECONDS else head.time


def facts(action: Action) -> dict[str, Any]:
    """What a log line says of an action."""
    name = type(action).__name__
    match action:
        case ReportFunding(round_, rates):
            said = {market: f"{rate / decide.RATE_UNITS:.4f}" for market, rate in rates}
            observed_at = round_.subject.observed_at
            reports = len(round_.reports)
            return {
                "action": name,
                "observed_at": observed_at,
                "reports": reports,
                "rates": said,
            }
        case ReportPrice(market, round_, price_wad):
            return {
                "action": name,
                "market": market,
                "observed_at": round_.subject.observed_at,
                "reports": len(round_.reports),
                "price": f"{price_wad / 10**18:.6g}",
            }
        case SyncFunding(market, pool):
            return {"action": name, "market": market, "pool": pool}
        case ObservePrice(market):
            return {"action": name, "market": market}
    assert_never(action)
