"""The one place where the keeper does I/O: ask the source, read the chain, sign, send."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, assert_never

import structlog

from perpool.keeper import decide
from perpool.keeper.aggregate import aggregate
from perpool.keeper.chain import Contracts, KeeperError, Remote
from perpool.keeper.model import (
    Action,
    MarketState,
    ObservePrice,
    Outcome,
    Policy,
    ReportFunding,
    ReportPrice,
    SyncFunding,
    Values,
)
from perpool.keeper.signing import Signer, signed_funding_round, signed_price_round
from perpool.keeper.sources import Source


class Keeper:
    """Serves the markets of `contracts` from one source.

    `signers` are reporters of the oracles, at least a quorum of them. `clock` gives the time to
    observe and sign for in unix seconds; it must not be ahead of the chain's next block, which
    refuses reports from the future.
    """

    def __init__(
        self,
        contracts: Contracts,
        source: Source,
        signers: Sequence[Signer],
        *,
        policy: Policy | None = None,
        clock: Callable[[], int] = lambda: int(time.time()),
        log: Any = None,
    ) -> None:
        self.contracts = contracts
        self.source = source
        self.signers = list(signers)
        self.policy = policy or Policy()
        self.clock = clock
        self.log = log or structlog.get_logger("perpool.keeper")
        self._check_signers()

    def run_once(self) -> Outcome:
        """One round: report what is due, then bring pools and volatility up to date.

        What fails is logged and left for the next round; the rest goes on.
        """
        now = self.clock()
        values = self._observe(now)
        outcome = self._carry_out(decide.reports(self._states(now), values, self.policy, now))
        after = self._carry_out(decide.upkeep(self._states(now)))
        unheard = tuple(
            each.market for each in values if each.funding is None or each.price is None
        )
        return Outcome(outcome.done + after.done, outcome.failed + after.failed, unheard)

    def run(self, every: timedelta, stop: threading.Event | None = None) -> None:
        """Rounds without end, until `stop` is set. A round that fails is logged."""
        stop = stop or threading.Event()
        while not stop.is_set():
            started = time.monotonic()
            try:
                self.run_once()
            except Exception as error:
                self.log.exception("round failed", error=str(error))
            stop.wait(max(0.0, every.total_seconds() - (time.monotonic() - started)))

    def _check_signers(self) -> None:
        quorum = int(self.contracts.funding_oracle.read("quorum"))
        reporters = self.contracts.funding_oracle.read("reporters")
        strangers = [each.address for each in self.signers if each.address not in reporters]
        if strangers:
            raise KeeperError(
                f"not a reporter of this deployment: {', '.join(strangers)}; leave the key out, or "
                "have the owner register it"
            )
        if len(self.signers) < quorum:
            raise KeeperError(
                f"a round takes {quorum} reporters and there are {len(self.signers)} keys: add "
                f"{quorum - len(self.signers)}"
            )

    def _states(self, now: int) -> list[MarketState]:
        return [self.contracts.state(symbol, now) for symbol in self.contracts.markets]

    def _observe(self, now: int) -> list[Values]:
        values = []
        for symbol in self.contracts.markets:
            observation = self.source.observe(symbol, now)
            for each in observation.left_out:
                self.log.warning(
                    "venue left out", market=symbol, venue=each.venue, reason=each.reason
                )
            value = aggregate(observation, self.policy.min_venues)
            if value.funding is None or value.price is None:
                self.log.warning(
                    "too few venues",
                    market=symbol,
                    venues=len(observation.readings),
                    funding=value.funding is not None,
                    price=value.price is not None,
                )
            values.append(value)
        return values

    def _carry_out(self, actions: Sequence[Action]) -> Outcome:
        done: list[Action] = []
        failed: list[tuple[Action, str]] = []
        for action in actions:
            name = type(action).__name__
            try:
                transaction = self._send(action)
            except Exception as error:
                failed.append((action, str(error)))
                self.log.error("action failed", action=name, error=str(error), **_facts(action))
            else:
                done.append(action)
                self.log.info("sent", action=name, transaction=transaction, **_facts(action))
        return Outcome(tuple(done), tuple(failed))

    def _seated(self, oracle: Remote) -> tuple[list[Signer], list[str]]:
        """Our signers among an oracle's reporters, and all of those, who may change."""
        reporters = list(oracle.read("reporters"))
        signers = [each for each in self.signers if each.address in reporters]
        quorum = int(oracle.read("quorum"))
        if len(signers) < quorum:
            raise KeeperError(
                f"{len(signers)} of our keys are reporters of {oracle.address}, and a round takes "
                f"{quorum}: have the owner register them"
            )
        return signers, reporters

    def _send(self, action: Action) -> str:
        markets = self.contracts.markets
        match action:
            case ReportFunding(observed_at, rates):
                by_token = [(markets[each].addresses.token, rate) for each, rate in rates]
                signers, reporters = self._seated(self.contracts.funding_oracle)
                funding = signed_funding_round(
                    signers,
                    reporters,
                    self.contracts.funding_domain,
                    observed_at,
                    by_token,
                )
                return self.contracts.funding_oracle.send("submit", *funding)
            case ReportPrice(symbol, observed_at, price):
                market = markets[symbol]
                assert market.price_feed is not None
                signers, reporters = self._seated(market.price_feed)
                prices = signed_price_round(
                    signers,
                    reporters,
                    self.contracts.price_domain(market),
                    observed_at,
                    (market.addresses.token, price),
                )
                return market.price_feed.send("submit", *prices)
            case SyncFunding(symbol, pool):
                return markets[symbol].pools[pool].send("sync_funding")
            case ObservePrice(symbol):
                return markets[symbol].price_oracle.send("observe")
        assert_never(action)


def _facts(action: Action) -> dict[str, Any]:
    """What a log line says of an action."""
    match action:
        case ReportFunding(observed_at, rates):
            said = {market: f"{rate:.4f}" for market, rate in rates}
            return {"observed_at": observed_at, "rates": said}
        case ReportPrice(market, observed_at, price):
            return {"market": market, "observed_at": observed_at, "price": str(price)}
        case SyncFunding(market, pool):
            return {"market": market, "pool": pool}
        case ObservePrice(market):
            return {"market": market}
    assert_never(action)
