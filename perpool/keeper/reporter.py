"""A reporter: asks the venues, signs what they agree on, and posts it for whoever submits."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import structlog

from perpool.keeper.aggregate import aggregate
from perpool.keeper.chain.contracts import Contracts
from perpool.keeper.mailbox import Mailbox, Message, everything
from perpool.keeper.model import Observation, Subject, Values
from perpool.keeper.operation.metrics import Metrics
from perpool.keeper.rounds import is_signed
from perpool.keeper.signing import Signer, SignerError
from perpool.keeper.sources import Panel
from perpool.reports import pack_rates, price_units, rate_units, sign_report

REMEMBERED = 1_440
"""Observations of a key that it is known to have signed; a day's."""
AHEAD = 60
"""Observations to come that a key may have signed for already: its clock was ahead."""
CLAIMS = 50
"""Messages in a key's name whose signature is checked for one time; anybody may post such."""


class Reporter:
    """One observation each `cadence`, signed with each of the keys.

    All reporters observe at the same times, multiples of the cadence, and sign for the same tokens,
    so that their reports make rounds without their talking to each other.

    No key signs twice for a time. What has been signed is read from the mailbox on the first tick,
    so that a restart does not, and what could not be posted is kept, so that trying again does not.
    """

    name = "reporter"

    def __init__(
        self,
        contracts: Contracts,
        panel: Panel,
        signers: Sequence[Signer],
        mailbox: Mailbox,
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
        self.min_venues = min_venues
        self.cadence = int(cadence.total_seconds())
        self.metrics = metrics or Metrics()
        self.log = log or structlog.get_logger("perpool.keeper.reporter")
        self.values: list[Values] = []
        """What the last observation gave."""
        self._observed_at = 0
        self._signed: dict[str, deque[int]] | None = None
        self._unposted: list[Message] = []
        self._left_out: dict[tuple[str, str], str] = {}
        self._unheard: dict[str, list[str]] = {}

    def tick(self, now: int) -> None:
        """Observe, sign and post where the next observation is due.

        Raises MailboxError where the mailbox cannot be reached, and SignerError where a key cannot
        be used, once the other keys' reports are posted. The next tick goes on from there; what is
        not posted by the next observation gives way to it.
        """
        signed = self._signed_by_us(now)
        observed_at = now // self.cadence * self.cadence
        self._unposted = [each for each in self._unposted if each.report.observed_at == observed_at]
        self._post()
        waiting = [each for each in self.signers if observed_at not in signed[each.address]]
        if waiting:
            if self._observed_at != observed_at:
                self.values = self.observe(observed_at)
                self._observed_at = observed_at
            self._report(waiting, observed_at, self.values)

    def observe(self, observed_at: int) -> list[Values]:
        """What the venues agree on, logged and measured."""
        observations = self.panel.observe(list(self.contracts.markets), observed_at)
        found = [self._value(each) for each in observations]
        self._log(observations, found)
        return found

    def _signed_by_us(self, now: int) -> dict[str, deque[int]]:
        """Observation times, from now on, that each of our keys has signed for.

        Not merely the newest: that of a clock that was ahead would silence a reporter for as long.
        """
        if self._signed is None:
            signed = {each.address: deque[int](maxlen=REMEMBERED) for each in self.signers}
            claims: Counter[tuple[str, int]] = Counter()
            contracts = {each.contract for each in self.contracts.subjects(0)}
            first = now // self.cadence * self.cadence
            times = range(first, first + AHEAD * self.cadence + 1, self.cadence)
            for message in everything(self.mailbox):
                report, claim = (
                    message.report,
                    (message.report.reporter, message.report.observed_at),
                )
                known = signed.get(report.reporter)
                if known is None or report.observed_at in known or report.observed_at not in times:
                    continue
                if message.contract not in contracts or claims[claim] >= CLAIMS:
                    continue
                claims[claim] += 1
                if is_signed(report, self.contracts.domain(message.contract)):
                    known.append(report.observed_at)
            self._signed = signed
        return self._signed

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
        if self._missing(values):
            self.metrics.unheard.labels(market).inc()
        return values

    def _missing(self, values: Values) -> list[str]:
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

        unheard = {each.market: missing for each in found if (missing := self._missing(each))}
        for market, missing in unheard.items():
            if self._unheard.get(market) != missing:
                self.log.error(
                    "too few venues", market=market, missing=missing, needed=self.min_venues
                )
        for market in self._unheard.keys() - unheard.keys():
            self.log.info("enough venues again", market=market)
        self._unheard = unheard

    def _report(self, signers: Sequence[Signer], observed_at: int, found: Sequence[Values]) -> None:
        assert self._signed is not None
        by_token = {self.contracts.markets[each.market].token: each for each in found}
        subjects = [
            (subject, values)
            for subject in self.contracts.subjects(observed_at)
            if (values := self._units(subject, by_token)) is not None
        ]
        failed = None
        for signer in signers:
            try:
                signed = [self._sign(signer, *each) for each in subjects]
            except SignerError as error:
                self.log.error("cannot sign", reporter=signer.address, reason=str(error))
                failed = error
                continue
            self._signed[signer.address].append(observed_at)
            self._unposted += signed
            self._post()
        if failed is not None:
            raise failed
        said = {each.market: _text(each) for each in found if each.funding or each.price}
        if said:
            self.log.info("reported", observed_at=observed_at, values=said)

    def _sign(self, signer: Signer, subject: Subject, values: Sequence[int]) -> Message:
        domain = self.contracts.domain(subject.contract)
        report = sign_report(signer, domain, subject.observed_at, subject.tokens, values)
        return Message(domain.chain_id, subject.contract, report)

    def _post(self) -> None:
        """What has been signed, one after the other; what is not taken stays."""
        while self._unposted:
            message = self._unposted[0]
            self.mailbox.post(message)
            del self._unposted[0]
            is_funding = message.contract == self.contracts.funding_oracle
            self.metrics.signed.labels("funding" if is_funding else "price").inc()

    def _units(self, subject: Subject, by_token: Mapping[str, Values]) -> list[int] | None:
        """What is signed of a subject; None where there is nothing to say."""
        if subject.contract == self.contracts.funding_oracle:
            rates = [by_token[token].funding for token in subject.tokens]
            if not any(rates):
                return None
            return pack_rates([rate_units(each.median) if each else None for each in rates])
        price = by_token[subject.tokens[0]].price
        return None if price is None else [price_units(price.median)]


def _text(values: Values) -> dict[str, str]:
    """For the log."""
    text = {}
    if values.funding is not None:
        text["funding"] = f"{values.funding.median:.6f}"
    if values.price is not None:
        text["price"] = f"{values.price.median.normalize():f}"
    return text
