"""A reporter: asks the venues, signs what they agree on, and posts it for whoever submits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import structlog

from perpool.keeper.aggregate import aggregate
from perpool.keeper.chain.contracts import Contracts
from perpool.keeper.mailbox import Mailbox, Message
from perpool.keeper.metrics import Metrics
from perpool.keeper.model import Observation, Subject, Values
from perpool.keeper.rounds import is_signed
from perpool.keeper.signing import Signer, SignerError
from perpool.keeper.sources import Panel
from perpool.keeper.statements import Statement, Statements
from perpool.reports import pack_rates, price_units, rate_units, sign_report


class Reporter:
    """One observation each `cadence`, signed with each of the keys.

    All reporters observe at the same times, multiples of the cadence, and sign for the same tokens,
    so that their reports make rounds without their talking to each other.

    No key signs two different things for a time. What it is to sign is on disk before it signs, so
    that after a restart it signs the same again. What is posted, of the newest two times, is posted
    again at each tick, which costs nothing where it is there still.
    """

    name = "reporter"

    def __init__(
        self,
        contracts: Contracts,
        panel: Panel,
        signers: Sequence[Signer],
        mailbox: Mailbox,
        statements: Statements,
        *,
        min_venues: int = 3,
        cadence: timedelta = timedelta(minutes=1),
        metrics: Metrics | None = None,
        log: Any = None,
    ) -> None:
        self.contracts = contracts
        self.panel = panel
        self.signers = list(signers)
        self.mailbox = mailbox
        self.statements = statements
        self.min_venues = min_venues
        self.cadence = int(cadence.total_seconds())
        self.metrics = metrics or Metrics()
        self.log = log or structlog.get_logger("perpool.keeper.reporter")
        self.values: list[Values] = []
        """What the last observation gave."""
        self._observed_at = 0
        self._begun = False
        self._spoken: dict[str, int] = {}
        """For which time each key has signed all that it has to say."""
        self._posts: dict[str, list[Message]] = {}
        """What each key has signed for the newest two times."""
        self._left_out: dict[tuple[str, str], str] = {}
        self._unheard: dict[str, list[str]] = {}

    def tick(self, now: int) -> None:
        """Observe, sign and post where the next observation is due.

        Raises MailboxError where the mailbox cannot be reached, StatementsError where what is to
        be signed cannot be written down, and SignerError where a key cannot be used, once the
        other keys' reports are posted. The next tick goes on from there; what is not posted by the
        next observation gives way to it.
        """
        observed_at = now // self.cadence * self.cadence
        if not self._begun:
            self._begin(observed_at)
            self._begun = True
        waiting = [each for each in self.signers if self._spoken.get(each.address) != observed_at]
        for messages in self._posts.values():
            self.mailbox.post(messages)
        self._speak(waiting, observed_at)

    def observe(self, observed_at: int) -> list[Values]:
        """What the venues agree on, logged and measured."""
        observations = self.panel.observe(list(self.contracts.markets), observed_at)
        found = [self._value(each) for each in observations]
        self._log(observations, found)
        return found

    def _begin(self, observed_at: int) -> None:
        """Write down what the mailbox has of ours: all that is left where the file is lost.

        Of this time, the one before and the one after: what is older is not signed again, and
        whoever can write there has all that was ever signed.
        """
        contracts = {each.contract for each in self.contracts.subjects(0)}
        for signer in self.signers:
            found: dict[int, dict[Subject, tuple[int, ...]]] = {}
            for message in self.mailbox.read(signer.address)[0]:
                report, contract = message.report, message.contract
                if abs(report.observed_at - observed_at) > self.cadence:
                    continue
                # whoever can write there may have put in anything
                if contract in contracts and is_signed(report, self.contracts.domain(contract)):
                    subject = Subject(contract, report.observed_at, report.tokens)
                    found.setdefault(report.observed_at, {}).setdefault(subject, report.values)
            for time, said in found.items():
                self.statements.keep(signer.address, time, said)

    def _value(self, observation: Observation) -> Values:
        """What the venues agree on of a market, in figures for whoever watches."""
        market = observation.market
        values = aggregate(observation, self.min_venues)
        for each in observation.left_out:
            self.metrics.left_out.labels(market, each.venue, each.kind).inc()
        for name, found in (("funding", values.funding), ("price", values.price)):
            self.metrics.venues.labels(market, name).set(found.venues if found else 0)
        if values.funding is not None:
            self.metrics.funding_rate.labels(market).set(float(values.funding.median))
            self.metrics.funding_spread.labels(market).set(float(values.funding.spread))
        if values.price is not None:
            self.metrics.price.labels(market).set(float(values.price.median))
            self.metrics.price_spread.labels(market).set(float(values.price.spread))
        if self.missing(values):
            self.metrics.unheard.labels(market).inc()
        return values

    def missing(self, values: Values) -> list[str]:
        """What a reporter should say of a market and cannot."""
        missing = [] if values.funding is not None else ["funding"]
        if values.price is None and self.contracts.markets[values.market].price_feed is not None:
            missing.append("price")
        return missing

    def _log(self, observations: Sequence[Observation], found: Sequence[Values]) -> None:
        """What has changed since the last observation: a line for each, not for each minute."""
        left_out: dict[tuple[str, str, str], list[str]] = {}
        reasons: dict[tuple[str, str], str] = {}
        for observation in observations:
            for each in observation.left_out:
                place = (observation.market, each.venue)
                reasons[place] = each.kind
                if self._left_out.get(place) != each.kind:
                    said = (each.venue, each.kind, each.reason)
                    left_out.setdefault(said, []).append(observation.market)
        for (venue, kind, reason), markets in left_out.items():
            self.log.warning(
                "venue left out", venue=venue, kind=kind, reason=reason, markets=markets
            )
        back: dict[str, list[str]] = {}
        for market, venue in self._left_out.keys() - reasons.keys():
            back.setdefault(venue, []).append(market)
        for venue, markets in back.items():
            self.log.info("venue is back", venue=venue, markets=sorted(markets))
        self._left_out = reasons

        unheard = {each.market: missing for each in found if (missing := self.missing(each))}
        for market, missing in unheard.items():
            if self._unheard.get(market) != missing:
                self.log.error(
                    "too few venues", market=market, missing=missing, needed=self.min_venues
                )
        for market in self._unheard.keys() - unheard.keys():
            self.log.info("enough venues again", market=market)
        self._unheard = unheard

    def _speak(self, signers: Sequence[Signer], observed_at: int) -> None:
        failed = None
        observed_before = self._observed_at
        for signer in signers:
            said = self._statement(signer.address, observed_at)
            try:
                messages = [self._sign(signer, *each) for each in said.items()]
            except SignerError as error:
                self.log.error("cannot sign", reporter=signer.address, reason=str(error))
                failed = error
                continue
            self._spoken[signer.address] = observed_at
            if messages:
                # the one before it stays: others may not be as far yet
                before = [
                    each
                    for each in self._posts.get(signer.address, [])
                    if 0 < observed_at - each.report.observed_at <= self.cadence
                ]
                self._posts[signer.address] = messages + before
                self.mailbox.post(messages + before)
        if failed is not None:
            raise failed
        values = {each.market: text for each in self.values if (text := _text(each))}
        if self._observed_at != observed_before and values:
            self.log.info("reported", observed_at=observed_at, values=values)

    def _statement(self, reporter: str, observed_at: int) -> Statement:
        """What is to be signed, on disk: what we have said of this time already, or what the
        venues agree on."""
        said = self.statements.of(reporter, observed_at)
        if said is not None:
            if self._observed_at != observed_at:
                self.log.info("reported before", reporter=reporter, observed_at=observed_at)
            return said
        if self._observed_at != observed_at:
            self.values = self.observe(observed_at)
            self._observed_at = observed_at
        by_token = {self.contracts.markets[each.market].token: each for each in self.values}
        new = {
            subject: values
            for subject in self.contracts.subjects(observed_at)
            if (values := self._units(subject, by_token)) is not None
        }
        return self.statements.keep(reporter, observed_at, new) if new else {}

    def _sign(self, signer: Signer, subject: Subject, values: Sequence[int]) -> Message:
        domain = self.contracts.domain(subject.contract)
        report = sign_report(signer, domain, subject.observed_at, subject.tokens, values)
        is_funding = subject.contract == self.contracts.funding_oracle
        self.metrics.signed.labels("funding" if is_funding else "price").inc()
        return Message(domain.chain_id, subject.contract, report)

    def _units(self, subject: Subject, by_token: Mapping[str, Values]) -> tuple[int, ...] | None:
        """What is signed of a subject; None where there is nothing to say."""
        if subject.contract == self.contracts.funding_oracle:
            rates = [by_token[token].funding for token in subject.tokens]
            if not any(rates):
                return None
            return tuple(pack_rates([rate_units(each.median) if each else None for each in rates]))
        price = by_token[subject.tokens[0]].price
        return None if price is None else (price_units(price.median),)


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


def _text(values: Values) -> dict[str, str]:
    """For the log."""
    text = {}
    if values.funding is not None:
        text["funding"] = f"{values.funding.median:.6f}"
    if values.price is not None:
        text["price"] = f"{values.price.median.normalize():f}"
    return text
