"""Looking without touching: what `perpool keeper status` and `check` find out.

`survey` asks chain, mailbox and journal, and says of each part that it cannot reach why.
`check_accounts` and `check_place` go through everything that a configuration needs, and say of each
whether it is there.
"""

from __future__ import annotations

import functools
import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TypeVar

from perpool.chain import ChainError
from perpool.keeper.chain.contracts import KeeperError
from perpool.keeper.mailbox import MailboxError, Message, everything
from perpool.keeper.model import MarketState, Policy, Seats
from perpool.keeper.operation import status
from perpool.keeper.operation.assembly import (
    JOURNAL,
    Accounts,
    Place,
    build_panel,
    open_accounts,
    strangers,
    system_clock,
)
from perpool.keeper.operation.config import KeeperConfig
from perpool.keeper.rounds import SKEW, is_signed
from perpool.keeper.signing import ExternalAccount, SignerError, account_address
from perpool.keeper.transactions.journal import Journal, JournalError, Transaction
from perpool.reports import Domain, sign_report

LEGS = ("reverse", "forward")
"""In the order in which a market's pools are listed."""
RECENT = 10
"""Transactions that are shown."""
SPENDING = timedelta(days=3)
"""Over which the use of ether is measured."""
SAMPLES = 10
"""Receipts that are looked at for it."""
CLAIMS = 500
"""Messages in a reporter's name whose signature is checked."""

T = TypeVar("T")


def survey(place: Place) -> status.Status:
    """What there is to say. What cannot be found out is among the troubles."""
    return _Survey(place).look()


class _Survey:
    def __init__(self, place: Place) -> None:
        self.place = place
        self.config = place.config
        self.now = place.clock()
        self.troubles: list[str] = []

    def look(self) -> status.Status:
        place, submitter = self.place, self.config.submitter
        head = self._try(place.nodes.head, None)
        states = self._try(lambda: place.contracts.states(place.nodes.head()), list[MarketState]())
        lanes = ["submitter"] if submitter else []
        lanes += ["liquidator"] if self.config.liquidator else []
        history = {
            lane: self._try(functools.partial(self._journal, lane), list[Transaction]())
            for lane in lanes
        }
        nobody: tuple[status.Reporter, ...] = ()
        quorum, reporters = self._try(self._reporters, (0, nobody))
        return status.Status(
            network=self.config.network or place.record.network,
            chain_id=place.record.chain_id,
            time=self.now,
            block=None if head is None else head.number,
            feeds=tuple(feed for state in states for feed in self._feeds(state)),
            pools=tuple(pool for state in states for pool in _pools(state)),
            payers=tuple(
                payer
                for lane in lanes
                if (payer := self._try(functools.partial(self._payer, lane, history[lane]), None))
            ),
            lease=self._try(self._lease, None),
            has_lease=submitter is not None,
            reporters=reporters,
            quorum=quorum,
            transactions=tuple(
                self._transaction(lane, each) for lane in lanes for each in history[lane][:RECENT]
            ),
            troubles=tuple(self.troubles),
        )

    def _try(self, look: Callable[[], T], otherwise: T) -> T:
        try:
            return look()
        except (ChainError, JournalError, KeeperError, MailboxError, SignerError) as error:
            if str(error) not in self.troubles:
                self.troubles.append(str(error))
            return otherwise

    def _feeds(self, state: MarketState) -> Iterator[status.Feed]:
        submitter = self.config.submitter
        policy = Policy()
        heartbeats = (
            (submitter.funding_heartbeat, submitter.price_heartbeat)
            if submitter
            else (policy.funding_heartbeat, policy.price_heartbeat)
        )
        funding, price = state.funding, state.price
        rate = Decimal(funding.median).scaleb(-9) if funding.observed_at else None
        yield status.Feed("funding", state.market, rate, funding.observed_at, heartbeats[0])
        if price is not None:
            value = Decimal(price.price_wad).scaleb(-18) if price.observed_at else None
            yield status.Feed("price", state.market, value, price.observed_at, heartbeats[1])

    def _journal(self, lane: str) -> list[Transaction]:
        path = self.config.state_folder / JOURNAL
        if not path.exists():
            return []
        journal: Journal = self.place.journal(lane, read_only=True)
        return journal.recent(1_000)

    def _payer(self, lane: str, history: Sequence[Transaction]) -> status.Payer:
        [spec] = self.config.accounts[lane]
        address = account_address(spec)
        ether = Decimal(self.place.nodes.balance(address)).scaleb(-18)
        return status.Payer(lane, address, ether, self._spent_a_day(history))

    def _spent_a_day(self, history: Sequence[Transaction]) -> Decimal | None:
        """From how many were mined lately, and what the newest of them cost."""
        since = self.now - int(SPENDING.total_seconds())
        mined = [each for each in history if each.mined and each.planned_at >= since]
        receipts = [
            self.place.nodes.receipt(each.mined.hash) for each in mined[:SAMPLES] if each.mined
        ]
        costs = [each.gas_used * each.gas_price for each in receipts if each is not None]
        if not costs:
            return None
        days = Decimal(max(self.now - mined[-1].planned_at, 3_600)) / 86_400
        return round(Decimal(sum(costs)).scaleb(-18) / len(costs) * len(mined) / days, 9)

    def _lease(self) -> status.Lease | None:
        section = self.config.submitter
        if section is None:
            return None
        state = self.place.lease("status", section.lease).state()
        # a lease is of this machine's time, all else of the keeper's
        shift = self.now - system_clock()
        return None if state is None else status.Lease(state.holder, state.expires_at + shift)

    def _reporters(self) -> tuple[int, tuple[status.Reporter, ...]]:
        if self.config.reporter is None and self.config.submitter is None:
            return 0, ()
        contracts = self.place.contracts
        seats = contracts.seats(self.now)
        oracle = seats[contracts.funding_oracle]
        newest = newest_signed(
            everything(self.place.mailbox()), seats, oracle.reporters, self.now + SKEW
        )
        return oracle.quorum, tuple(
            status.Reporter(address, newest.get(address)) for address in oracle.reporters
        )

    def _transaction(self, lane: str, each: Transaction) -> status.Transaction:
        names = {
            address: f"{symbol} {leg}"
            for symbol, market in self.place.contracts.markets.items()
            for leg, address in zip(LEGS, market.pools, strict=False)
        }
        subjects: dict[str, list[str]] = {}
        for intent in each.intents:
            pool, *account = intent.subject.split("/")
            subject = "/".join([names.get(pool, pool), *account])
            subjects.setdefault(intent.kind, []).append(subject)
        what = "; ".join(f"{kind} {', '.join(about)}" for kind, about in subjects.items())
        hash_ = each.mined.hash if each.mined else each.attempts[-1].hash if each.attempts else None
        return status.Transaction(each.planned_at, lane, each.state, what or "nothing", hash_)


def newest_signed(
    messages: Iterable[Message], seats: Mapping[str, Seats], reporters: Sequence[str], until: int
) -> dict[str, int]:
    """When each reporter's newest report up to `until` was observed, by address.

    Anybody may post in a reporter's name, so signatures are checked, of the newest first, and of
    `CLAIMS` for each at most.
    """
    claims: dict[str, list[tuple[int, int, Message]]] = {each: [] for each in reporters}
    for number, message in enumerate(messages):
        claimed = claims.get(message.report.reporter)
        if claimed is None or message.contract not in seats:
            continue
        if message.report.observed_at > until:
            continue
        claim = (message.report.observed_at, number, message)
        push = heapq.heappush if len(claimed) < CLAIMS else heapq.heappushpop
        push(claimed, claim)
    newest = {}
    for reporter, claimed in claims.items():
        for observed_at, _, message in sorted(claimed, reverse=True):
            if is_signed(message.report, seats[message.contract].domain):
                newest[reporter] = observed_at
                break
    return newest


def _pools(state: MarketState) -> Iterator[status.Pool]:
    for leg, pool in zip(LEGS, state.pools, strict=False):
        yield status.Pool(state.market, leg, pool.funding_time, state.funding.observed_at)


# -- check --


@dataclass(frozen=True)
class Finding:
    """Something that a keeper needs."""

    fine: bool
    text: str


def check_accounts(
    config: KeeperConfig, password: Callable[[], str]
) -> tuple[Accounts, list[Finding]]:
    """Open every account, and have external signers sign something that is of no use."""
    try:
        accounts = open_accounts(config, password)
    except (KeeperError, SignerError) as error:
        return {}, [Finding(False, str(error))]
    findings = []
    for role, each in ((role, each) for role, opened in accounts.items() for each in opened):
        if isinstance(each, ExternalAccount):
            try:
                # a contract that is none, and a report of nothing
                sign_report(each, Domain("Perpool check", 0, "0x" + 39 * "0" + "1"), 0, [], [])
            except SignerError as error:
                findings.append(Finding(False, f"{role}: {error}"))
                continue
        findings.append(Finding(True, f"{role} signs as {each.address}"))
    return accounts, findings


def check_place(place: Place, accounts: Accounts) -> Iterator[Finding]:
    """What there is on the network, as far as it can be seen without changing anything."""
    head = place.nodes.head()
    yield Finding(True, f"nodes agree on block {head.number} of chain {place.record.chain_id}")
    markets = ", ".join(place.contracts.markets)
    yield Finding(bool(markets), f"markets of {place.record.path}: {markets or 'none'}")
    unknown = set(strangers(place, accounts))
    for account in accounts.get("reporter", []):
        if account.address in unknown:
            text = "is no reporter of this deployment: have the owner register it"
            yield Finding(False, f"{account.address} {text}")
        else:
            yield Finding(True, f"{account.address} is a registered reporter")
    for role in ("submitter", "liquidator"):
        if role in accounts:
            address = accounts[role][0].address
            wei = place.nodes.balance(address, head)
            ether = f"{round(Decimal(wei).scaleb(-18), 6):f}"
            yield Finding(wei > 0, f"{role} {address} has {ether} ether")
    if place.config.reporter is not None:
        build_panel(place, place.config.reporter).close()
        yield Finding(True, f"sources: {', '.join(place.config.reporter.sources)}")
    if place.config.reporter is not None or place.config.submitter is not None:
        place.mailbox().read(None)
        yield Finding(True, "the mailbox can be read")
    if place.config.submitter is not None:
        state = place.lease("check", place.config.submitter.lease).state()
        yield Finding(True, f"the lease is held by {state.holder if state else 'nobody'}")
