"""A reporter: asks the venues, signs what they agree on, and posts it for whoever submits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import structlog

from perpool.keeper.aggregate import aggregate
from perpool.keeper.contracts import Contracts, KeeperError
from perpool.keeper.mailbox import Mailbox, Message
from perpool.keeper.metrics import Metrics
from perpool.keeper.model import Observation, Subject, Values
from perpool.keeper.signing import Signer
from perpool.keeper.sources import Panel
from perpool.reports import pack_rates, price_units, rate_units, sign_report


class Reporter:
    """One observation each `cadence`, signed with each of the keys.

    All reporters observe at the same times, multiples of the cadence, and sign for the same tokens,
    so that their reports make rounds without their talking to each other. What has been signed is
    read from the mailbox on the first tick, so that a restart does not sign a second, different
    report for a time.
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
        self._signed: dict[str, int] | None = None

    def tick(self, now: int) -> None:
        """Observe, sign and post where the next observation is due.

        Raises MailboxError where the mailbox cannot be reached; nothing is signed then.
        """
        signed = self._newest_signed()
        observed_at = now // self.cadence * self.cadence
        waiting = [each for each in self.signers if signed.get(each.address, 0) < observed_at]
        if waiting:
            self.values = self.observe(observed_at)
            self._report(waiting, observed_at, self.values)

    def observe(self, observed_at: int) -> list[Values]:
        """What the venues agree on, logged and measured."""
        observations = self.panel.observe(list(self.contracts.markets), observed_at)
        return [self._value(each) for each in observations]

    def check_seats(self, now: int) -> None:
        """Raises KeeperError unless every key is a reporter's of the funding oracle."""
        seats = self.contracts.seats(now)[self.contracts.funding_oracle]
        strangers = [each.address for each in self.signers if each.address not in seats.reporters]
        if strangers:
            raise KeeperError(
                f"not a reporter of this deployment: {', '.join(strangers)}; leave the key out, or "
                "have the owner register it"
            )

    def _newest_signed(self) -> dict[str, int]:
        """Observation time of the newest report of each of our keys."""
        if self._signed is None:
            posted, _ = self.mailbox.read(None)
            ours = {each.address for each in self.signers}
            newest: dict[str, int] = {}
            for message in posted:
                report = message.report
                if report.reporter in ours:
                    latest = max(newest.get(report.reporter, 0), report.observed_at)
                    newest[report.reporter] = latest
            self._signed = newest
        return self._signed

    def _value(self, observation: Observation) -> Values:
        market = observation.market
        for each in observation.left_out:
            self.metrics.left_out.labels(market, each.venue, each.kind).inc()
            self.log.warning("venue left out", market=market, venue=each.venue, reason=each.reason)
        values = aggregate(observation, self.min_venues)
        consensus = {"funding": values.funding, "price": values.price}
        for name, found in consensus.items():
            self.metrics.venues.labels(market, name).set(found.venues if found else 0)
        if values.funding is not None:
            self.metrics.funding_rate.labels(market).set(float(values.funding.median))
            self.metrics.funding_spread.labels(market).set(float(values.funding.spread))
        if values.price is not None:
            self.metrics.price.labels(market).set(float(values.price.median))
            self.metrics.price_spread.labels(market).set(float(values.price.spread))
        missing = [name for name, found in consensus.items() if found is None]
        if missing:
            self.metrics.unheard.labels(market).inc()
            self.log.warning(
                "too few venues",
                market=market,
                missing=missing,
                venues=len(observation.readings),
                needed=self.min_venues,
            )
        return values

    def _report(self, signers: Sequence[Signer], observed_at: int, found: Sequence[Values]) -> None:
        assert self._signed is not None
        by_token = {self.contracts.markets[each.market].token: each for each in found}
        for subject in self.contracts.subjects(observed_at):
            values = self._units(subject, by_token)
            if values is None:
                continue
            domain = self.contracts.domain(subject.contract)
            for signer in signers:
                report = sign_report(signer, domain, observed_at, subject.tokens, values)
                self.mailbox.post(Message(domain.chain_id, subject.contract, report))
                self.metrics.signed.labels(domain.name).inc()
        for signer in signers:
            self._signed[signer.address] = observed_at
        said = {each.market: _text(each) for each in found if each.funding or each.price}
        self.log.info("reported", observed_at=observed_at, values=said)

    def _units(self, subject: Subject, by_token: Mapping[str, Values]) -> list[int] | None:
        """What is signed of a subject; None where there is nothing to say."""
        if subject.contract == self.contracts.funding_oracle:
            rates = [by_token[token].funding for token in subject.tokens]
            if not any(rates):
                return None
            return pack_rates([each and rate_units(each.median) for each in rates])
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
