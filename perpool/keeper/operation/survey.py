"""Looking without touching: what `perpool keeper status` finds out.

`survey` asks chain, mailbox and journal, and says of each part that it cannot reach why.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import TypeVar

from perpool.chain import ChainError
from perpool.keeper.chain.contracts import KeeperError
from perpool.keeper.mailbox import MailboxError, Message
from perpool.keeper.model import MarketState, Policy, Seats
from perpool.keeper.operation import status
from perpool.keeper.operation.place import Place, system_clock
from perpool.keeper.rebalancer import vaults as carry
from perpool.keeper.rounds import SKEW, Collector, is_signed, spreads
from perpool.keeper.signing import SignerError, account_address
from perpool.keeper.transactions.journal import JournalError
from perpool.keeper.transactions.model import Transaction

LEGS = ("reverse", "forward")
"""In the order in which a market's pools are listed."""
RECENT = 10
"""Transactions that are shown."""
SPENDING = timedelta(days=3)
"""Over which the use of ether is measured."""
SAMPLES = 10
"""Receipts that are looked at for it."""
CLAIMS = 500
"""Of a reporter's messages: those whose signature is checked."""
MOMENTS = 3
A_REPORTER = 4
"""Bounds on what is checked for a spread."""
UNKNOWN: status.Lease | None = status.Lease("", 0)
"""In place of a lease that cannot be looked at."""

T = TypeVar("T")


@dataclass(frozen=True)
class Reports:
    """What the mailbox tells."""

    quorum: int = 0
    reporters: tuple[status.Reporter, ...] = ()
    apart: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """See `newest_spreads`."""


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
        lanes = self.config.lanes
        history = {
            lane: self._try(functools.partial(self._journal, lane), list[Transaction]())
            for lane in lanes
        }
        reports = self._try(self._reports, Reports())
        lease = self._try(self._lease, UNKNOWN)
        return status.Status(
            network=self.config.network or place.record.network,
            chain_id=place.record.chain_id,
            time=self.now,
            block=None if head is None else head.number,
            feeds=tuple(feed for state in states for feed in self._feeds(state, reports.apart)),
            pools=tuple(pool for state in states for pool in _pools(state)),
            vaults=self._try(self._vaults, ()),
            payers=tuple(
                payer
                for lane in lanes
                if (payer := self._try(functools.partial(self._payer, lane, history[lane]), None))
            ),
            lease=None if lease is UNKNOWN else lease,
            has_lease=submitter is not None,
            lease_known=lease is not UNKNOWN,
            is_local=place.is_local,
            reporters=reports.reporters,
            quorum=reports.quorum,
            transactions=tuple(
                self._transaction(lane, each) for lane in lanes for each in history[lane][:RECENT]
            ),
            refused=tuple(
                self._transaction(lane, each)
                for lane in lanes
                for each in history[lane]
                if self._is_refused_round(each)
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

    def _is_refused_round(self, each: Transaction) -> bool:
        age = self.now - each.planned_at
        return (
            each.state == "refused"
            and age <= status.REFUSALS.total_seconds()
            and any(intent.kind in ("funding", "price") for intent in each.intents)
        )

    def _feeds(
        self, state: MarketState, apart: Mapping[tuple[str, str], int]
    ) -> Iterator[status.Feed]:
        submitter = self.config.submitter
        policy = Policy()
        heartbeats = (
            (submitter.funding_heartbeat, submitter.price_heartbeat)
            if submitter
            else (policy.funding_heartbeat, policy.price_heartbeat)
        )
        funding, price = state.funding, state.price
        rate = Decimal(funding.median).scaleb(-9) if funding.observed_at else None
        found = apart.get((self.place.contracts.funding_oracle, state.token))
        spread = None if found is None else Decimal(found).scaleb(-9)
        yield status.Feed("funding", state.market, rate, funding.observed_at, heartbeats[0], spread)
        if price is not None:
            value = Decimal(price.price_wad).scaleb(-18) if price.observed_at else None
            found = apart.get((state.price_feed or "", state.token))
            spread = None if found is None else Decimal(found).scaleb(-18)
            yield status.Feed(
                "price", state.market, value, price.observed_at, heartbeats[1], spread
            )

    def _vaults(self) -> tuple[status.Vault, ...]:
        """Also where somebody else looks after them."""
        place = self.place
        oracle = place.contracts.funding_oracle
        stands, silent = carry.stands_of(place.nodes, place.vaults(), oracle)
        self.troubles += [f"{name} cannot be looked at: {why}" for name, why in silent.items()]
        return tuple(
            status.Vault(
                name=each.vault.name,
                mode=each.mode,
                ltv=each.ltv,
                margin=each.margin,
                hedge=each.hedge,
                net_carry=Decimal(each.net_carry).scaleb(-18),
                state="order pending" if each.order else "due" if each.is_due else "",
                in_danger=each.is_in_danger,
            )
            for each in stands
        )

    def _journal(self, lane: str) -> list[Transaction]:
        journal = self.place.read_journal(lane)
        return [] if journal is None else journal.recent(1_000)

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

    def _reports(self) -> Reports:
        if self.config.reporter is None and self.config.submitter is None:
            return Reports()
        contracts, mailbox, until = self.place.contracts, self.place.mailbox(), self.now + SKEW
        seats = contracts.seats(self.now)
        oracle = seats[contracts.funding_oracle]
        messages = [m for each in oracle.reporters for m in mailbox.read(each)[0]]
        newest = newest_signed(messages, seats, oracle.reporters, until)
        apart = newest_spreads(messages, seats, self.place.record.chain_id, until)
        reporters = (status.Reporter(each, newest.get(each)) for each in oracle.reporters)
        return Reports(oracle.quorum, tuple(reporters), apart)

    def _transaction(self, lane: str, each: Transaction) -> status.Transaction:
        names = {
            address: f"{symbol} {leg}"
            for symbol, market in self.place.contracts.markets.items()
            for leg, address in zip(LEGS, market.pools, strict=False)
        }
        names |= {
            vault["vault"]: f"{symbol} {name}"
            for symbol in self.place.contracts.markets
            for name, vault in self.place.record.markets[symbol].get("vaults", {}).items()
        }
        subjects: dict[str, list[str]] = {}
        for intent in each.intents:
            pool, *account = intent.subject.split("/")
            subject = "/".join([names.get(pool, pool), *account])
            subjects.setdefault(intent.kind, []).append(subject)
        what = "; ".join(f"{kind} {', '.join(about)}" for kind, about in subjects.items())
        hash_ = each.mined.hash if each.mined else each.attempts[-1].hash if each.attempts else None
        return status.Transaction(
            each.planned_at, lane, each.state, what or "nothing", hash_, each.reason
        )


def newest_signed(
    messages: Iterable[Message], seats: Mapping[str, Seats], reporters: Sequence[str], until: int
) -> dict[str, int]:
    """When each reporter's newest report up to `until` was observed, by address.

    Whoever can write to a reporter's place may have put in anything, so signatures are checked, of
    the newest first, and of `CLAIMS` for each at most.
    """
    claims: dict[str, list[Message]] = {each: [] for each in reporters}
    for message in messages:
        report = message.report
        if report.reporter in claims and message.contract in seats and report.observed_at <= until:
            claims[report.reporter].append(message)
    newest = {}
    for reporter, claimed in claims.items():
        claimed.sort(key=lambda each: each.report.observed_at, reverse=True)
        for message in claimed[:CLAIMS]:
            if is_signed(message.report, seats[message.contract].domain):
                newest[reporter] = message.report.observed_at
                break
    return newest


def newest_spreads(
    messages: Iterable[Message], seats: Mapping[str, Seats], chain_id: int, until: int
) -> dict[tuple[str, str], int]:
    """How far reporters are apart, by (contract, token), in the newest round up to `until`: see
    `rounds.spreads`.

    Signatures are checked, as a submitter does: of the newest `MOMENTS` of each token list, and of
    `A_REPORTER` of what each reporter says of one.
    """
    found: dict[tuple[str, tuple[str, ...]], dict[int, dict[str, list[Message]]]] = {}
    for message in messages:
        report = message.report
        seat = seats.get(message.contract)
        if seat is None or report.observed_at > until or report.reporter not in seat.reporters:
            continue
        if not seat.tokens.issuperset(report.tokens):
            continue
        moments = found.setdefault((message.contract, report.tokens), {})
        said = moments.setdefault(report.observed_at, {}).setdefault(report.reporter, [])
        if len(said) < A_REPORTER:
            said.append(message)
        if len(moments) > MOMENTS:
            del moments[min(moments)]
    newest: dict[tuple[str, str], tuple[int, int]] = {}
    for (contract, tokens), moments in found.items():
        for observed_at in sorted(moments, reverse=True):
            collector = Collector(chain_id, {contract: seats[contract]})
            for message in itertools.chain(*moments[observed_at].values()):
                collector.add(message, observed_at)
            rounds = collector.rounds(observed_at)
            if rounds:
                apart = spreads(rounds[0].reports, seats[contract])
                for token, each in zip(tokens, apart, strict=True):
                    before = newest.get((contract, token), (0, 0))
                    if each is not None:
                        newest[contract, token] = max(before, (observed_at, each))
                break
    return {key: each for key, (_, each) in newest.items()}


def _pools(state: MarketState) -> Iterator[status.Pool]:
    for leg, pool in zip(LEGS, state.pools, strict=False):
        yield status.Pool(state.market, leg, pool.funding_time, state.funding.observed_at)
