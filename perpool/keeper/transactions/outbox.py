"""One account's transactions, from the plan to the value read back from the chain.

    outbox = Outbox(nodes, journal, wallet, FeePolicy(), unmet=contracts.unmet)
    outbox.offer(parcels, expires_at)       # only where it is not busy
    outbox.step()                           # every few seconds: goes on with whatever is open

`steps` decides, `journal` remembers, and this does what has been decided. Nothing reaches a node
before it is in the journal and has been announced, so a process can be killed at any point: the
next one finds what there is, looks for it on the chain, and goes on from there.

ASSUMPTIONS. The account is this lane's alone. Where its key signs elsewhere too, what loses its
nonce to that is given up after the confirmations, and may then be planned again.

LIVENESS. Whatever fails (nodes, disk, wallet, announcement) raises from `step`, which is to be
called again: nothing is lost by it. Everything expires. What was adopted from an announcement may
be forged: it never raises, and is let go of when our patience ends or, if it is of our own account,
when it expires.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any, Protocol, assert_never

from eth_utils.crypto import keccak

from perpool.chain import Call, ChainError
from perpool.evm import Reverted
from perpool.evm.codec import canonical
from perpool.keeper.chain.nodes import Head, Nodes
from perpool.keeper.metrics import Metrics
from perpool.keeper.model import Intent, Parcel
from perpool.keeper.transactions.announcement import read_note, write_note
from perpool.keeper.transactions.batches import choose, compose
from perpool.keeper.transactions.events import Event, Name, Teller
from perpool.keeper.transactions.fees import FeePolicy, Fees, is_other_gas
from perpool.keeper.transactions.journal import Journal, JournalError
from perpool.keeper.transactions.model import Attempt, Mined, Transaction
from perpool.keeper.transactions.steps import (
    Abandon,
    Displace,
    Fill,
    Finish,
    Hold,
    Land,
    Rebroadcast,
    Reopen,
    Rules,
    Send,
    View,
    Wait,
    is_in_flight,
    next_step,
)
from perpool.keeper.transactions.trial import Trial

_STEPS = 8
"""Of one transaction in one go: as often are fees raised for nodes that find them too low."""
_PAUSE = 0.1
_EXPIRY_SECONDS = 600
"""Of what is offered, or announced, as never expiring."""
_ADOPTED = 16
"""Unfinished at a time; more are not looked at."""
_GAS_FAULTS = ("refused", "insufficient funds")
"""Answers that a wrong gas limit may be the cause of."""


class Wallet(Protocol):
    """Whoever signs for the account."""

    @property
    def address(self) -> str:
        """Checksummed."""

    def sign_transaction(self, transaction: dict[str, Any]) -> tuple[bytes, str]:
        """The signed transaction, as it is broadcast, and its hash."""


def identity(nodes: Nodes, anchor: int = 0) -> str | None:
    """What a journal is bound to: the chain with the hash of a block, None where it is not there.

    The genesis is enough on public chains. Local ones that are started for one time, one after the
    other, have the same; the block of a deployment tells them apart.
    """
    block_hash = nodes.block_hash(anchor)
    return None if block_hash is None else f"{nodes.chain_id} {block_hash}"


class Outbox:
    """One lane: transactions of one account, one in flight at a time.

    `unmet` reads back which intents the chain does not show at a block. `multicall` None sends one
    parcel at a time. `announce` is called with a note on what is in flight before any of it is
    broadcast; it raises where the lane is not ours any more. `anchor` is the block by whose hash
    the chain is known again. Times are unix seconds of `clock`.
    """

    def __init__(
        self,
        nodes: Nodes,
        journal: Journal,
        wallet: Wallet,
        fees: FeePolicy | None = None,
        *,
        unmet: Callable[[Sequence[Intent], Head], Sequence[Intent]],
        multicall: str | None = None,
        confirmations: int = 5,
        patience: timedelta = timedelta(seconds=45),
        clock: Callable[[], int] = lambda: int(time.time()),
        log: Any = None,
        metrics: Metrics | None = None,
        announce: Callable[[str], None] | None = None,
        anchor: int = 0,
    ) -> None:
        self.nodes = nodes
        self.journal = journal
        self.wallet = wallet
        self.rules = Rules(fees or FeePolicy(), confirmations, int(patience.total_seconds()))
        self.multicall = multicall
        self.clock = clock
        self.metrics = metrics or Metrics()
        self._teller = Teller(journal.lane, self.metrics, log)
        self.log = self._teller.log
        self._unmet = unmet
        self._announce = announce
        self._anchor = anchor
        self._announced: str | None = None
        self._bound = False
        self._nonces: dict[str, int] = {}
        self._nonces_at: Head | None = None
        self._mutex = threading.RLock()
        for each in journal.open():
            if each.state == "planned":
                # decided on what was known then; it is decided anew with what is known now
                journal.abandon(each.id, "planned by a process that ended", clock())

    # -- what roles use --

    @property
    def busy(self) -> bool:
        """A transaction waits to be mined; nothing else is begun."""
        now = self.clock()
        return any(self._is_in_flight(each, now) for each in self.journal.open())

    def knows(self, intent: Intent) -> bool:
        """Whether it is under way or done."""
        return self.journal.knows(intent)

    def offer(self, parcels: Sequence[Parcel], expires_at: int | None) -> None:
        """Plan one transaction of these, as many as fit; the rest is for another time.

        One parcel goes as it is, several through the multicall, where one that fails does not take
        the others along. What is under way or done already is left out. Ignored while busy. Where
        it never gets too old, it is given up after some minutes, to be planned anew.
        """
        with self._mutex, self._counting():
            fresh = [each for each in parcels if not any(map(self.knows, each.intents))]
            chosen = choose(fresh, batches=self.multicall is not None)
            if chosen and not self.busy:
                now = self.clock()
                if expires_at is None:
                    expires_at = now + _EXPIRY_SECONDS
                self.journal.plan(chosen, expires_at, now)

    def refuse(self, parcel: Parcel, reason: str) -> None:
        """Enter what was tried and would fail, and so is not offered."""
        with self._mutex, self._counting():
            planned = self.journal.plan([parcel], None, self.clock())
            self.journal.refuse(planned.id, reason, self.clock())

    def step(self) -> list[Event]:
        """Bring everything that is open as far as it will go now."""
        return self._go(sending=True)

    def watch(self) -> list[Event]:
        """The same without sending anything: somebody else is to."""
        return self._go(sending=False)

    def settle(self, timeout: timedelta) -> list[Event]:
        """Step until nothing waits to be mined, or the time is over."""
        deadline = time.monotonic() + timeout.total_seconds()
        events = self.step()
        while self.busy and time.monotonic() < deadline:
            time.sleep(_PAUSE)
            events += self.step()
        return events

    def adopt(self, note: str) -> list[Event]:
        """Take over what a predecessor announced, so as not to send the same again.

        It is rebroadcast and watched. The lane is busy with it, and its intents are taken, for as
        long as our patience lasts or until it is mined. What is known already, also if it was given
        up, is ignored, so that this may be called before every step.
        """
        events: list[Event] = []
        if note == self._announced:
            return events
        with self._mutex, self._counting():
            try:
                announced = read_note(note, self.clock())
            except ValueError as error:
                self.log.warning("unreadable announcement", reason=str(error))
                return []
            now = self.clock()
            room = _ADOPTED - sum(each.adopted for each in self.journal.open())
            for each in announced:
                here = any(self.journal.has_attempt(attempt.hash) for attempt in each.attempts)
                expires_at = now + _EXPIRY_SECONDS if each.expires_at is None else each.expires_at
                if here or each.chain_id != self.nodes.chain_id or expires_at <= now or room < 1:
                    continue
                room -= 1
                adopted = self.journal.adopt(
                    each.parcel,
                    each.attempts,
                    sender=each.sender,
                    nonce=each.nonce,
                    gas=each.gas,
                    expires_at=expires_at,
                    now=now,
                )
                self._teller.note(events, "adopted", adopted)
        return events

    def bind(self) -> None:
        """See that the journal is of this chain, which its nonces are of. Raises JournalError."""
        if not self._bound:
            chain = identity(self.nodes, self._anchor)
            if chain is not None:
                self.journal.bind(chain)
            self._bound = True

    # -- going on --

    def _go(self, *, sending: bool) -> list[Event]:
        events: list[Event] = []
        problem: Exception | None = None
        held = False
        with self._mutex, self._counting():
            head = self.nodes.head()
            self.bind()
            self._revive(head, events)
            for each in self.journal.open():
                try:
                    if each.state == "planned" and not sending:
                        self._abandon(each, "somebody else is to send now", events)
                    else:
                        held |= self._advance(each.id, head, events, sending=sending)
                except JournalError:
                    raise
                except Exception as error:
                    # one that cannot go on keeps no other from it
                    if each.adopted:
                        self._doubt(each, error, events)
                    else:
                        problem = problem or error
            if sending:
                self._tell_end()
            now = self.clock()
            waiting = [each for each in self.journal.open() if is_in_flight(each, now)]
            self._teller.measure(waiting, now, held=held)
        if problem is not None:
            raise problem
        return events

    def _revive(self, head: Head, events: list[Event]) -> None:
        """Reopen what a reorganisation undid that went deeper than our confirmations."""
        mined = self._nonce(self.wallet.address, head)
        for each in self.journal.revive(self.wallet.address, mined):
            self._teller.note(events, "reorganised", each)

    def _advance(self, number: int, head: Head, events: list[Event], *, sending: bool) -> bool:
        """Take a transaction's steps one after the other. Gives whether the cap holds it up."""
        given = False
        for _ in range(_STEPS):
            transaction = self.journal.get(number)
            step = next_step(transaction, self._look(transaction, head), self.rules)
            if isinstance(step, Send | Rebroadcast | Fill) and not sending:
                return False
            if isinstance(step, Rebroadcast) and given:
                step = Hold() if step.held else Wait()  # nodes were given it a moment ago
            if isinstance(step, Send | Rebroadcast) and self._is_needless(transaction, head):
                step = Abandon("the chain has its values already")
            match step:
                case Wait():
                    return False
                case Hold():
                    self._teller.note(events, "held", transaction)
                    return True
                case Send(nonce, fees):
                    self._send(transaction, nonce, fees, events)
                    given = True
                case Rebroadcast():
                    self._repeat(transaction, events)
                    given = True
                case Land(mined):
                    self._land(transaction, mined, head, events)
                case Reopen():
                    self.journal.reopened(number)
                    self._teller.note(events, "reorganised", transaction)
                case Displace():
                    self.journal.displaced(number, head.number)
                    self._teller.note(events, "displaced", transaction)
                case Finish():
                    self.journal.final(number, self.clock())
                    final = self.journal.get(number)
                    self._teller.note(events, "done" if final.state == "done" else "failed", final)
                case Abandon(reason):
                    self._abandon(transaction, reason, events)
                case Fill():
                    filler = self.journal.plan((), None, self.clock())
                    return self._advance(filler.id, head, events, sending=sending)
                case _:
                    assert_never(step)
            if self.journal.get(number).is_final:
                return False
            head = self.nodes.head()
        return False

    def _is_needless(self, transaction: Transaction, head: Head) -> bool:
        """Whether all the values of one that was signed earlier are there, brought by another.

        As when we were out of action, and a standby has sent the same in the meantime.
        """
        values = [each for each in transaction.intents if each.value]
        return bool(transaction.attempts and values) and not self._unmet(values, head)

    def _look(self, transaction: Transaction, head: Head) -> View:
        """All that the next step is decided on."""
        sender = transaction.sender or self.wallet.address
        # before the receipts: a nonce that is taken, by none of them, is taken by another
        nonce = self._nonce(sender, head)
        mined = self._mined(transaction)
        waits = mined is None and transaction.state in ("planned", "sent")
        base_fee, tip = self.nodes.fees(head) if waits else (0, 0)
        newest = transaction.attempts[-1] if transaction.attempts else None
        known = waits and newest is not None and self.nodes.transaction(newest.hash) is not None
        return View(
            now=self.clock(),
            head=head.number,
            nonce=nonce,
            mined=mined,
            known=known,
            base_fee=base_fee,
            tip=tip,
            offered=newest.fees if newest else self.journal.highest_fees(sender, nonce),
            ours=sender == self.wallet.address,
            others=[
                each
                for each in self.journal.open()
                if each.id != transaction.id and each.sender in (None, self.wallet.address)
            ],
        )

    def _nonce(self, sender: str, head: Head) -> int:
        """Transactions that an account has mined as of a block; asked once a block."""
        if self._nonces_at != head:
            self._nonces_at, self._nonces = head, {}
        if sender not in self._nonces:
            self._nonces[sender] = self.nodes.nonce(sender, head)
        return self._nonces[sender]

    def _mined(self, transaction: Transaction) -> Mined | None:
        """The receipt of whichever attempt was mined."""
        hashes = [each.hash for each in reversed(transaction.attempts)]
        if transaction.mined is not None:
            hashes.insert(0, transaction.mined.hash)
        for each in dict.fromkeys(hashes):
            receipt = self.nodes.receipt(each)
            if receipt is not None:
                return Mined(each, receipt.block_number, receipt.block_hash, receipt.success)
        return None

    # -- single steps --

    @property
    def _trial(self) -> Trial:
        return Trial(self.nodes, self.wallet.address, self.multicall, self.rules.fees.max_gas)

    def _send(self, transaction: Transaction, nonce: int, fees: Fees, events: list[Event]) -> None:
        if transaction.gas is None:
            gas = self._estimate(transaction, events)
        else:
            gas = self._gas_again(transaction)
        if gas is None:
            return
        transaction = self.journal.get(transaction.id)
        to, data = compose(transaction.parcels, self.wallet.address, self.multicall)
        raw, _ = self.wallet.sign_transaction(
            {
                "type": 2,
                "chainId": self.nodes.chain_id,
                "nonce": nonce,
                "to": to,
                "value": 0,
                "data": "0x" + data.hex(),
                "gas": gas,
                "maxFeePerGas": fees.max_fee,
                "maxPriorityFeePerGas": fees.tip,
            }
        )
        attempt = Attempt("0x" + keccak(raw).hex(), raw, fees, self.clock())
        self.journal.attempt(
            transaction.id, attempt, sender=self.wallet.address, nonce=nonce, gas=gas
        )
        replaces = bool(transaction.attempts)
        if replaces:
            self.metrics.replacements.labels(self.journal.lane).inc()
        transaction = self.journal.get(transaction.id)
        self._broadcast(transaction, attempt, "replaced" if replaces else "sent", events)

    def _repeat(self, transaction: Transaction, events: list[Event]) -> None:
        """Broadcast it as it is, unless it may have been refused for a wrong gas limit."""
        newest = transaction.attempts[-1]
        assert transaction.nonce is not None
        if self._is_foreign(transaction) or self._gas_again(transaction) == transaction.gas:
            self._broadcast(transaction, newest, "rebroadcast", events)
        else:
            self._send(transaction, transaction.nonce, newest.fees, events)

    def _gas_again(self, transaction: Transaction) -> int | None:
        """Gas for another attempt: as before, unless that may be what nodes refuse."""
        before, newest = transaction.gas, transaction.attempts[-1]
        if before is None or newest.answer not in _GAS_FAULTS:
            return before
        try:
            limit = self._trial.limit(transaction.parcels)
        except (Reverted, ChainError):
            return before
        return limit if is_other_gas(limit, before) else before

    def _broadcast(
        self, transaction: Transaction, attempt: Attempt, name: Name, events: list[Event]
    ) -> None:
        self._tell()
        answer = self.nodes.send(attempt.raw)
        self.journal.answered(attempt.hash, answer.kind)
        said = "" if answer.taken else f"{answer.kind}: {answer.text}"
        poor = answer.kind == "insufficient funds"
        self._teller.note(events, "short of funds" if poor else name, transaction, reason=said)

    def _estimate(self, transaction: Transaction, events: list[Event]) -> int | None:
        """Gas for a transaction, less those parcels that would fail; None where all would."""
        while True:
            try:
                return self._trial.limit(transaction.parcels)
            except Reverted as error:
                failing = self._trial.failing(transaction.parcels)
                if not 0 < len(failing) < len(transaction.parcels):
                    reason = f"it would fail: {error}"
                    self.journal.refuse(transaction.id, reason, self.clock())
                    self._teller.note(events, "refused", transaction, reason=reason)
                    return None
            for parcel, reason in failing:
                self.journal.trim(transaction.id, parcel, reason, self.clock())
                self._teller.note(
                    events, "refused", transaction, intents=parcel.intents, reason=reason
                )
            transaction = self.journal.get(transaction.id)

    def _land(
        self, transaction: Transaction, mined: Mined, head: Head, events: list[Event]
    ) -> None:
        """Read back what it did."""
        if not mined.success:
            reason = self._why(transaction, mined)
            self.journal.mined(transaction.id, mined, transaction.intents, reason)
            self._teller.note(events, "reverted", transaction, hash_=mined.hash, reason=reason)
            self._let_go(transaction, events)
            return
        intents = transaction.intents
        unmet = tuple(self._unmet(intents, head)) if intents else ()
        self.journal.mined(transaction.id, mined, unmet)
        if unmet:
            self._teller.note(events, "unmet", transaction, intents=unmet, hash_=mined.hash)
        if not unmet or len(unmet) < len(intents):
            met = tuple(each for each in intents if each not in unmet)
            self._teller.note(events, "landed", transaction, intents=met, hash_=mined.hash)
        if unmet:
            self._let_go(transaction, events)

    def _let_go(self, transaction: Transaction, events: list[Event]) -> None:
        """Of a stranger's that was mined, and has not done what was said of it."""
        if self._is_foreign(transaction):
            self._abandon(transaction, "it has not brought what was announced", events)

    def _why(self, transaction: Transaction, mined: Mined) -> str:
        receipt = self.nodes.receipt(mined.hash)
        if receipt is None:
            return "a reorganisation took it back"
        to, data = compose(transaction.parcels, self.wallet.address, self.multicall)
        return self.nodes.why(receipt, Call(canonical(to), data))

    def _abandon(self, transaction: Transaction, reason: str, events: list[Event]) -> None:
        self.journal.abandon(transaction.id, reason, self.clock())
        self._teller.note(events, "abandoned", transaction, reason=reason)

    def _doubt(self, transaction: Transaction, error: Exception, events: list[Event]) -> None:
        """Something adopted cannot go on: it may be forged, and is no reason to stop."""
        self.log.warning("adopted, and fails", number=transaction.id, reason=str(error))
        now = self.clock()
        impatient = now - transaction.planned_at >= self.rules.patience
        if transaction.is_expired(now) or (impatient and self._is_foreign(transaction)):
            self._abandon(transaction, "adopted, and it cannot be followed", events)

    def _is_foreign(self, transaction: Transaction) -> bool:
        return transaction.sender not in (None, self.wallet.address)

    # -- telling others --

    def _tell(self) -> None:
        """Announce what is in flight. Raises where that cannot be done, or is not ours to do."""
        if self._announce is not None:
            note = write_note(self.journal.open())
            self._announce(note)
            self._announced = note

    def _tell_end(self) -> None:
        """Announce that something is no longer in flight, for which nothing has to wait."""
        if self._announced is None or self._announced == write_note(self.journal.open()):
            return
        try:
            self._tell()
        except Exception as error:
            self.log.warning("not announced", reason=str(error))

    def _is_in_flight(self, transaction: Transaction, now: int) -> bool:
        patient = now - transaction.planned_at < self.rules.patience
        return is_in_flight(transaction, now) and (patient or not self._is_foreign(transaction))

    @contextlib.contextmanager
    def _counting(self) -> Iterator[None]:
        """Count failures of the journal."""
        try:
            yield
        except JournalError:
            self.metrics.journal_errors.inc()
            raise
