"""The liquidator's role: follow the pools, find who may be liquidated, and do what pays.

    pools = pools_of(nodes, record)
    legs = {each.address: each.leg for each in pools}
    follower = Follower(nodes, legs, path, start=first_block(record))
    outbox = Outbox(nodes, journal, wallet, unmet=read_back(nodes), multicall=record.multicall)
    role = LiquidatorRole(nodes, pools, follower, outbox, sender=..., multicall=..., ether=...)
    role.tick(now)

Each tick brings the positions up to the newest block, cuts their order at the price of that block,
tries the ways to liquidate those with the most at stake, and hands what pays to the outbox. Who
cannot be liquidated at a profit rests for some blocks, longer each time, unless the price changes.
Where his position changes he is tried at once, and rests longer all the same: a wei changes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import structlog

from perpool.evm import Reverted
from perpool.keeper.chain.contracts import bind
from perpool.keeper.chain.nodes import Head
from perpool.keeper.liquidator.ether import Ether, EtherPrice
from perpool.keeper.liquidator.follow import CONTRACTS, Follower
from perpool.keeper.liquidator.index import Moment
from perpool.keeper.liquidator.pools import Found, Pool, liquidatable, subject_of
from perpool.keeper.liquidator.profit import (
    SIZES,
    Appraisal,
    Case,
    Policy,
    Proposal,
    Rates,
    Way,
    terms_of,
)
from perpool.keeper.liquidator.trials import Attempt, Trials
from perpool.keeper.metrics import Metrics
from perpool.keeper.model import Intent, Parcel, Position
from perpool.keeper.transactions.lane import Lane, Nodes
from perpool.reference.wad import WAD

KIND = "liquidation"
CANDIDATES = 24
"""Accounts that one tick tries, those with the most at stake first: small ones cost their owner
next to nothing, and may be as unhealthy as he likes."""
EXPIRY = 60
"""Seconds after which a liquidation that was not sent is decided anew."""
ESTIMATES = 8
"""Accounts of which gas is estimated at once, the most profitable first; no more fit a row."""
FIRST_REST, LONGEST_REST = 2, 32
"""Blocks that an account is left alone; doubled each time."""
PRICE_CHANGE = WAD // 100
"""Share of the price after which an account is tried again all the same."""
_FAILED = ("reverted", "refused", "unmet")
_DRY_RUN = "dry run"
_TOO_SMALL = "the bonus is not worth the gas"
_SAID_OTHERWISE = (_DRY_RUN, _TOO_SMALL)
"""Reasons that have a line of their own in the log, not one for each account."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An account that may be liquidated, and by what terms."""

    pool: Pool
    position: Position
    case: Case

    @property
    def subject(self) -> str:
        return subject_of(self.pool, self.position)

    def attempt(self, proposal: Proposal, receiver: str, min_profit: int = 0) -> Attempt:
        """The call of a proposal."""
        pool, account = self.pool, self.position.account
        if proposal.way is Way.PURCHASE:
            call = bind("ForwardPool", pool.address, "liquidate_by_purchase", account, receiver)
            return Attempt(pool.address, call.data, pool.usdt, pool.token)
        arguments = (
            pool.address,
            account,
            proposal.max_repay,
            pool.swapper,
            pool.route,
            min_profit,
            receiver,
        )
        call = bind("Liquidator", pool.liquidator, "liquidate", *arguments)
        return Attempt(pool.liquidator, call.data, pool.usdt, pool.token)


@dataclass(frozen=True, slots=True)
class Choice:
    """What is to be done with a candidate."""

    candidate: Candidate
    appraisal: Appraisal
    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Rest:
    """Why an account is left alone, and until what."""

    reason: str
    blocks: int
    until: int
    position: Position
    price_e36: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a tick did."""

    behind: int
    """Blocks whose events have not been looked through yet."""
    found: int = 0
    """Accounts that may be liquidated."""
    chosen: tuple[Choice, ...] = ()
    """Handed to the outbox; in a dry run only logged."""
    rested: Mapping[str, str] = field(default_factory=dict)
    """Reasons of those that were tried and do not pay, by pool/account; without who is too small to
    be tried."""


class LiquidatorRole:
    """Liquidates in some pools. `outbox` None is a dry run: what it would do is logged.

    `sender` pays the gas, `receiver` (the sender if None) gets what is gained. Everything is tried
    by `multicall` first.
    """

    name = "liquidator"

    def __init__(
        self,
        nodes: Nodes,
        pools: Sequence[Pool],
        follower: Follower,
        outbox: Lane | None,
        *,
        sender: str,
        multicall: str,
        ether: Ether,
        receiver: str | None = None,
        policy: Policy | None = None,
        metrics: Metrics | None = None,
        log: Any = None,
    ) -> None:
        self.nodes = nodes
        self.pools = list(pools)
        self.follower = follower
        self.outbox = outbox
        self.sender = sender
        self.receiver = receiver or sender
        self.policy = policy or Policy()
        self.metrics = metrics or Metrics()
        self.log = log or structlog.get_logger("perpool.keeper.liquidator")
        self.ether = EtherPrice(nodes, ether, self.log)
        self.trials = Trials(nodes, multicall, self.receiver)
        self._rests: dict[str, Rest] = {}
        self._offered: dict[str, Candidate] = {}
        self._silent: dict[str, str] = {}
        """Why there is no price, by market."""

    def tick(self, now: int) -> Outcome:
        """Bring everything up to the newest block, and liquidate what pays."""
        events = self.outbox.step() if self.outbox is not None else ()
        head = self.nodes.head()
        self._note(events, head)
        behind = self.follower.advance(head).behind
        for address, index in self.follower.indexes.items():
            self.metrics.accounts.labels(address).set(len(index))
        if self.outbox is not None and self.outbox.busy:
            return Outcome(behind)
        found = self._found(head)
        chosen, rested = self._choose(self._candidates(found, head), head)
        if chosen:
            self._offer(chosen, head, now)
        return Outcome(behind, len(found), tuple(chosen), rested)

    # -- who --

    def _found(self, head: Head) -> list[Found]:
        """Everybody who may be liquidated at a block, the highest LTV first."""
        calls = [
            call
            for pool in self.pools
            for call in (
                bind("PriceOracle", pool.price_oracle, "liquidation_price"),
                bind(CONTRACTS[pool.leg], pool.address, "accrued_state"),
            )
        ]
        answers = self.nodes.read(calls, head)
        found, silent = liquidatable(self.pools, self.follower.indexes, answers, head.number)
        for market in sorted(silent.keys() | self._silent.keys()):
            reason = silent.get(market)
            if reason is None:
                self.log.info("price is back", market=market)
            elif reason != self._silent.get(market):
                self.log.warning("no price", market=market, reason=reason)
        self._silent = silent
        return found

    def _candidates(self, found: Sequence[Found], head: Head) -> list[Candidate]:
        """Those of them that are to be tried now, the most at stake first."""
        known = {subject_of(pool, position) for pool, _, position in found}
        self._rests = {name: rest for name, rest in self._rests.items() if name in known}
        fresh = [each for each in found if not self._is_resting(*each, head)]
        if not fresh:
            return []
        gas_price, ether_price = sum(self.nodes.fees(head)), self.ether.at(head)
        large: list[Candidate] = []
        small: list[Candidate] = []
        for pool, moment, position in fresh:
            terms = terms_of(pool.leg, pool.numbers, position, moment)
            rates = Rates(moment.price_e36, pool.usdt_unit, gas_price, ether_price)
            each = Candidate(pool, position, Case(pool.leg, terms, rates))
            (large if each.case.may_pay(self.policy) else small).append(each)
        for each in small:
            self._rest(each, _TOO_SMALL, head, "unprofitable")
        if small:
            self.log.info("left alone", reason=_TOO_SMALL, accounts=len(small))
        large.sort(key=lambda it: self._hope(it, it.case.stake), reverse=True)
        if len(large) > CANDIDATES:
            self.log.info("not tried yet", accounts=len(large) - CANDIDATES)
        return large[:CANDIDATES]

    # -- what is left alone --

    def _is_resting(self, pool: Pool, moment: Moment, position: Position, head: Head) -> bool:
        rest = self._rests.get(subject_of(pool, position))
        if rest is None:
            return False
        change = abs(moment.price_e36 - rest.price_e36) * WAD
        if change > rest.price_e36 * PRICE_CHANGE:
            del self._rests[subject_of(pool, position)]
            return False
        return position == rest.position and head.number < rest.until

    def _hope(self, candidate: Candidate, usdt: Decimal) -> Decimal:
        """What orders those that there is no time for: USDT, the fewer the longer he has rested.

        So who fails again and again makes way, and still not for hundreds of small ones.
        """
        rest = self._rests.get(candidate.subject)
        return usdt / (rest.blocks if rest else 1)

    def _rest(self, candidate: Candidate, reason: str, head: Head, outcome: str) -> None:
        before = self._rests.get(candidate.subject)
        blocks = min(2 * before.blocks, LONGEST_REST) if before else FIRST_REST
        self._rests[candidate.subject] = Rest(
            reason, blocks, head.number + blocks, candidate.position, candidate.case.rates.price_e36
        )
        self.metrics.liquidations.labels(candidate.pool.leg.value, outcome).inc()
        if reason not in _SAID_OTHERWISE and (before is None or before.reason != reason):
            self.log.info("left alone", reason=reason, **_facts(candidate))

    # -- what pays --

    def _choose(
        self, candidates: Sequence[Candidate], head: Head
    ) -> tuple[list[Choice], dict[str, str]]:
        """What pays in one transaction, and why the rest does not.

        Who is put off, because there are more than can be looked at or sent at once, is in neither.
        """
        chosen: dict[str, Appraisal] = {}
        reasons: dict[str, str] = {}
        pending = {each.subject: each for each in candidates}
        for size in range(SIZES):
            hopeful = []
            for each, gains, failure in self._try(list(pending.values()), size, head):
                if gains and each.case.pays(gains[0], self.policy):
                    hopeful.append((each, gains))
                else:
                    # of the largest size, which comes first
                    reasons.setdefault(each.subject, failure)
            hopeful.sort(key=lambda it: self._hope(it[0], it[1][0].profit), reverse=True)
            for each, _ in hopeful[ESTIMATES:]:
                del pending[each.subject]
            for each, gains in hopeful[:ESTIMATES]:
                found, failure = self._after_gas(each, gains)
                if found is not None and each.case.pays(found, self.policy):
                    chosen[each.subject] = found
                    del pending[each.subject]
                else:
                    reasons.setdefault(each.subject, failure)
        for each in pending.values():
            self._rest(each, reasons[each.subject], head, "unprofitable")
        order = [(each, chosen[each.subject]) for each in candidates if each.subject in chosen]
        row = [self._decide(*each) for each in self._in_a_row(order, head)]
        put_off = len(candidates) - len(row) - len(pending)
        if put_off:
            self.log.info("put off", accounts=put_off, chosen=len(row))
        return row, {subject: reasons[subject] for subject in pending}

    def _try(
        self, candidates: Sequence[Candidate], size: int, head: Head
    ) -> list[tuple[Candidate, list[Appraisal], str]]:
        """What proposals of a size are worth before gas, the best first, of those that succeed.

        With the reason for which there is nothing better.
        """
        tried = [
            (each, proposal)
            for each in candidates
            for alternatives in each.case.proposals[size : size + 1]
            for proposal in alternatives
        ]
        attempts = [each.attempt(proposal, self.receiver) for each, proposal in tried]
        found: dict[str, list[Appraisal]] = {each.subject: [] for each in candidates}
        failures: dict[str, str] = {}
        gains = self.trials.apart(attempts, head)
        for (each, proposal), gain in zip(tried, gains, strict=True):
            if isinstance(gain, str):
                failures[each.subject] = gain
            else:
                found[each.subject].append(each.case.appraise(proposal, gain, Decimal(0)))
        outcomes = []
        for each in candidates:
            appraisals = sorted(found[each.subject], key=lambda it: it.profit, reverse=True)
            failure = failures.get(each.subject, "nothing may be repaid")
            if appraisals:
                failure = _shortfall(appraisals[0], each.case.required(self.policy)) + " before gas"
            outcomes.append((each, appraisals, failure))
        return outcomes

    def _after_gas(
        self, candidate: Candidate, gains: Sequence[Appraisal]
    ) -> tuple[Appraisal | None, str]:
        """The best of proposals that are in order before gas, and why there is nothing better."""
        found: Appraisal | None = None
        failure = ""
        for each in gains:
            if found is not None and each.profit <= found.profit:
                break
            attempt = candidate.attempt(each.proposal, self.receiver)
            try:
                gas = self.nodes.estimate(attempt.to, attempt.data, self.sender)
            except Reverted as error:
                failure = str(error)
                continue
            cost = candidate.case.rates.gas_cost(gas)
            net = replace(each, profit=each.profit - cost, gas_cost=cost)
            if found is None or net.profit > found.profit:
                found = net
        if found is not None:
            failure = _shortfall(found, candidate.case.required(self.policy))
        return found, failure

    def _decide(self, candidate: Candidate, appraisal: Appraisal) -> Choice:
        least = candidate.case.least_gain(appraisal, self.policy)
        attempt = candidate.attempt(appraisal.proposal, self.receiver, least)
        return Choice(candidate, appraisal, attempt)

    def _in_a_row(
        self, chosen: Sequence[tuple[Candidate, Appraisal]], head: Head
    ) -> list[tuple[Candidate, Appraisal]]:
        """Those that fit and pay after the ones before them, which have moved the market.

        The others fail, for not being worth their gas. Of the rest the gain is the one in the row,
        which is also what they are held to. The first pays by itself, so whatever becomes of the
        row, it is done.
        """
        if len(chosen) < 2:
            return list(chosen)
        attempts = [
            each.attempt(apart.proposal, self.receiver, each.case.worth_its_gas(apart, self.policy))
            for each, apart in chosen
        ]
        gains = self.trials.in_a_row(attempts, head)
        found = [
            (each, each.case.appraise(apart.proposal, gain, apart.gas_cost))
            for (each, apart), gain in zip(chosen, gains, strict=False)
            if not isinstance(gain, str)
        ]
        return found or [chosen[0]]

    # -- doing it --

    def _offer(self, chosen: Sequence[Choice], head: Head, now: int) -> None:
        for each in chosen:
            facts = {
                "way": each.appraisal.proposal.way.value,
                "repaid": f"{each.appraisal.repaid:.2f}",
                "profit": f"{each.appraisal.profit:.2f}",
                "gas_cost": f"{each.appraisal.gas_cost:.2f}",
            }
            said = "would liquidate" if self.outbox is None else "liquidating"
            self.log.info(said, **_facts(each.candidate), **facts)
        if self.outbox is None:
            for each in chosen:
                self._rest(each.candidate, _DRY_RUN, head, "dry run")
            return
        self._offered = {each.candidate.subject: each.candidate for each in chosen}
        self.outbox.offer([_parcel(each, head) for each in chosen], now + EXPIRY)
        self._note(self.outbox.step(), head)

    def _note(self, events: Iterable[Any], head: Head) -> None:
        """Count what came of them; what failed is left alone for a while."""
        for event in events:
            for intent in event.intents:
                candidate = self._offered.get(intent.subject)
                if candidate is None:
                    continue
                if event.name in _FAILED:
                    self._rest(candidate, event.reason or event.name, head, "failed")
                elif event.name == "landed":
                    self._rests.pop(intent.subject, None)
                    self.metrics.liquidations.labels(candidate.pool.leg.value, "landed").inc()


def _parcel(choice: Choice, head: Head) -> Parcel:
    candidate = choice.candidate
    intent = Intent(KIND, candidate.subject, head.time, str(candidate.position.debt_shares))
    return Parcel((intent,), choice.attempt.to, choice.attempt.data)


def _facts(candidate: Candidate) -> dict[str, str]:
    pool = candidate.pool
    return {"market": pool.market, "leg": pool.leg.value, "account": candidate.position.account}


def _shortfall(appraisal: Appraisal, wanted: Decimal) -> str:
    """Why it is not worth it; in whole USDT, so that it is not another reason each time."""
    return f"brings {appraisal.profit:.0f} USDT of {wanted:.0f}"
