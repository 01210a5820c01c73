"""The keeper over recorded history: the same roles, on an in-process chain, checked at each round.

Reporters observe the history hour by hour, sign and post; the submitter collects, decides and sends
to a real `FundingOracle` in an in-process EVM; and after each round the oracle's feeds are compared
with the reference model to the unit.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

import structlog
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils import keccak, to_checksum_address

from perpool.chain import Call
from perpool.evm import Contract, Evm, Reverted
from perpool.keeper.chain.contracts import Contracts, MarketAddresses
from perpool.keeper.chain.nodes import Head
from perpool.keeper.mailbox import open_mailbox
from perpool.keeper.model import Intent, Parcel, Policy, ReportFunding
from perpool.keeper.reporter import Reporter
from perpool.keeper.sources import Panel
from perpool.keeper.statements import Statements
from perpool.keeper.submitter import Submitter
from perpool.reference.oracle import FundingFeed
from perpool.reports import RATE_UNIT_WAD, ordered, rate_units

MAX_REPORT_AGE = 3_600
BOUND_UNITS = 10 * 10**9
"""Of a feed: 1,000 % a year either way, as deployments have it by default."""
TAU = 86_400
LEAD = 3_600
"""Seconds that the chain exists before the first round."""
QUIET = structlog.wrap_logger(
    structlog.PrintLogger(), wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR)
)
"""Years of warnings help nobody; what matters of them is counted."""


class ReplayError(Exception):
    """The chain and the reference model disagree."""


@dataclass
class MarketRecord:
    """What became of one market."""

    market: str
    times: list[int] = field(default_factory=list)
    """Of its rounds."""
    medians: list[float] = field(default_factory=list)
    """Annual rates, by round."""
    emas: list[float] = field(default_factory=list)
    """Of the oracle after each round."""
    widest_spread: Decimal = Decimal(0)
    unheard: int = 0
    """Observations with too few venues."""

    def missed(self, heartbeat: timedelta) -> int:
        """Heartbeats that passed without a round."""
        beat = int(heartbeat.total_seconds())
        gaps = (b - a for a, b in zip(self.times, self.times[1:], strict=False))
        return sum(-(-gap // beat) - 1 for gap in gaps)


class EvmReader:
    """An in-process chain as the keeper reads one."""

    def __init__(self, evm: Evm) -> None:
        self.evm = evm

    @property
    def chain_id(self) -> int:
        return self.evm.chain_id

    def head(self) -> Head:
        return Head(self.evm.block_number, "", self.evm.timestamp, 0)

    def read(self, calls: Sequence[Call], head: Head | None = None) -> list[Any]:
        """Always at the newest block."""
        return [self._read(call) for call in calls]

    def _read(self, call: Call) -> Any:
        try:
            data = self.evm.call(call.to, call.data, static=False)
        except Reverted as error:
            return error
        return data if call.function is None else call.function.decode(data)


class EvmOutbox:
    """Sends at once."""

    busy = False

    def __init__(self, evm: Evm) -> None:
        self.evm = evm
        self.sent: set[Intent] = set()
        self.refused: list[tuple[Parcel, str]] = []
        self.gas_used = 0

    def offer(self, parcels: Sequence[Parcel], expires_at: int | None) -> None:
        for parcel in parcels:
            self.gas_used += self.evm.transact(parcel.to, parcel.data).gas_used
            self.sent.update(parcel.intents)

    def knows(self, intent: Intent) -> bool:
        return intent in self.sent

    def refuse(self, parcel: Parcel, reason: str) -> None:
        self.refused.append((parcel, reason))

    def step(self) -> None:
        """Nothing is ever under way."""

    def watch(self) -> None:
        """Nothing is ever under way."""

    def adopt(self, note: str) -> None:
        """Nobody has anything in flight here."""


class Replay:
    """All markets of a panel from `start` to `end`, an observation each `cadence`.

    `reporters` sign, all of whom are the quorum.
    """

    def __init__(
        self,
        panel: Panel,
        markets: Sequence[str],
        start: int,
        end: int,
        *,
        min_venues: int,
        cadence: timedelta = timedelta(hours=1),
        policy: Policy | None = None,
        reporters: int = 3,
    ) -> None:
        self.cadence = int(cadence.total_seconds())
        self.start = -(-start // self.cadence) * self.cadence
        self.end = end
        self.policy = policy or Policy()
        self.records = {market: MarketRecord(market) for market in sorted(markets)}
        self.evm = Evm(timestamp=self.start - LEAD)
        keys = reporter_keys(reporters)
        tokens = {market: token_of(market) for market in markets}
        self.oracle = deploy_oracle(self.evm, keys, list(tokens.values()))
        contracts = Contracts(
            EvmReader(self.evm),
            self.oracle.address,
            {market: MarketAddresses(token) for market, token in tokens.items()},
        )
        mailbox = open_mailbox("sqlite://", self.evm.chain_id, self.oracle.address)
        self.outbox = EvmOutbox(self.evm)
        self.reporter = Reporter(
            contracts,
            panel,
            keys,
            mailbox,
            Statements(None, "replay"),
            min_venues=min_venues,
            cadence=cadence,
            log=QUIET,
        )
        self.submitter = Submitter(contracts, mailbox, self.outbox, policy=self.policy, log=QUIET)
        self._tokens = tokens
        self._reference = {
            market: FundingFeed(-BOUND_UNITS, BOUND_UNITS, TAU) for market in markets
        }

    def token(self, market: str) -> str:
        """The address that stands for a market."""
        return self._tokens[market]

    @property
    def steps(self) -> int:
        """How many observations there are."""
        return max(0, -(-(self.end - self.start) // self.cadence))

    def run(self) -> Iterator[int]:
        """Play it all; gives each observation's time. Raises ReplayError."""
        for time in range(self.start, self.end, self.cadence):
            self.evm.warp(time - self.evm.timestamp)
            self.reporter.tick(time)
            outcome = self.submitter.tick(time)
            for action, reason in outcome.refused:
                raise ReplayError(f"{type(action).__name__} at {time}: {reason}")
            for action in outcome.done:
                if isinstance(action, ReportFunding):
                    self._check(action)
            self._note(time)
            yield time

    def _note(self, time: int) -> None:
        for values in self.reporter.values:
            record = self.records[values.market]
            if values.funding is None:
                record.unheard += 1
            else:
                record.widest_spread = max(record.widest_spread, values.funding.spread)

    def _check(self, action: ReportFunding) -> None:
        """Fold the reporters' own medians into the reference, and compare with the chain."""
        observed_at = action.round.subject.observed_at
        observed = {each.market: each.funding for each in self.reporter.values}
        for market, _ in action.rates:
            funding = observed[market]
            assert funding is not None  # otherwise nobody would have signed it
            expected = self._reference[market].fold(observed_at, rate_units(funding.median))
            self._reference[market] = expected
            feed = self.oracle.feed(self._tokens[market])
            found = (feed.ema_wad, feed.median_wad, feed.observed_at)
            wanted = (
                expected.ema * RATE_UNIT_WAD,
                expected.median * RATE_UNIT_WAD,
                expected.observed_at,
            )
            if found != wanted:
                raise ReplayError(f"{market} at {observed_at}: chain {found}, reference {wanted}")
            record = self.records[market]
            record.times.append(observed_at)
            record.medians.append(expected.median / 10**9)
            record.emas.append(expected.ema / 10**9)


def reporter_keys(count: int) -> list[LocalAccount]:
    """Keys that are worth nothing outside a replay."""
    return [Account.from_key(keccak(text=f"perpool replay reporter {i}")) for i in range(count)]


def token_of(market: str) -> str:
    """An address that stands for a market's token; the oracle never calls it."""
    return to_checksum_address(keccak(text=f"perpool replay token {market}")[-20:])


def deploy_oracle(evm: Evm, keys: Sequence[LocalAccount], tokens: Sequence[str]) -> Contract:
    """A funding oracle with these reporters, all of them the quorum, and these tokens."""
    oracle = evm.deploy("FundingOracle", MAX_REPORT_AGE)
    oracle.set_reporters(ordered(each.address for each in keys), len(keys))
    bound = BOUND_UNITS * RATE_UNIT_WAD
    for token in tokens:
        oracle.set_feed(token, -bound, bound, TAU)
    return oracle


def rows(records: Mapping[str, MarketRecord], heartbeat: timedelta) -> list[tuple[str, ...]]:
    """A table's rows: market, rounds, missed heartbeats, too few venues, mean, last, spread."""
    return [
        (
            each.market,
            f"{len(each.times):,}",
            str(each.missed(heartbeat)),
            f"{each.unheard:,}",
            f"{sum(each.medians) / len(each.medians):.2%}" if each.medians else "-",
            f"{each.emas[-1]:.2%}" if each.emas else "-",
            f"{each.widest_spread:.0%}",
        )
        for each in records.values()
    ]
