"""The contracts that a keeper serves: reading their state, and the calls that change it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from perpool.abi import load_abi
from perpool.chain import Call
from perpool.deployment import Record
from perpool.evm import Reverted
from perpool.evm.codec import FunctionAbi, canonical
from perpool.keeper.chain.nodes import Head
from perpool.keeper.model import (
    FundingFeed,
    Intent,
    MarketState,
    ObservePrice,
    Parcel,
    PoolClock,
    PriceRound,
    ReportFunding,
    ReportPrice,
    Seats,
    Subject,
    SyncFunding,
)
from perpool.reports import MAX_TOKENS, RATE_UNIT_WAD, Domain, funding_round, price_round

SEATS_AGE = 300
"""Seconds after which reporters and quorums are read again."""
NO_ROUND = "no such round"


class KeeperError(Exception):
    """The keeper cannot work with this deployment; the message says what to do."""


class Reader(Protocol):
    """What is asked of the chain; `nodes.Nodes` is one."""

    @property
    def chain_id(self) -> int: ...

    def head(self) -> Head: ...

    def read(self, calls: Sequence[Call], head: Head | None = None) -> list[Any]:
        """Values at one block, a Reverted in the place of each call that reverts."""


@dataclass(frozen=True, slots=True)
class MarketAddresses:
    """A market's contracts."""

    token: str
    price_oracle: str | None = None
    price_feed: str | None = None
    """None where it is not one of ours."""
    pools: tuple[str, ...] = ()
    """Reverse and forward; none where only the oracle is served."""


class Contracts:
    """Oracles and pools of some markets of a deployment, read through a `Reader`."""

    def __init__(
        self, reader: Reader, funding_oracle: str, markets: Mapping[str, MarketAddresses]
    ) -> None:
        self.reader = reader
        self.funding_oracle = funding_oracle
        self.markets = dict(sorted(markets.items()))
        self._spacings: dict[str, int] = {}
        self._seats: dict[str, Seats] = {}
        self._seats_read = 0

    @classmethod
    def of_record(
        cls, reader: Reader, record: Record, symbols: Sequence[str] | None = None
    ) -> Contracts:
        """The markets of a deployment, all or some. Raises KeeperError for an unknown one."""
        oracle = record.address("FundingOracle")
        if oracle is None:
            raise KeeperError(f"{record.path} has no FundingOracle: finish the deployment first")
        if record.chain_id != reader.chain_id:
            raise KeeperError(
                f"{record.path} is of chain {record.chain_id}, the node of {reader.chain_id}: "
                "choose the other network or the other file"
            )
        unknown = [symbol for symbol in symbols or () if symbol not in record.markets]
        if unknown:
            known = ", ".join(record.markets) or "none"
            raise KeeperError(
                f"{record.path} has no market {', '.join(unknown)}: there are {known}"
            )
        chosen = symbols or list(record.markets)
        contracts = cls(reader, oracle, {each: addresses_of(record, each) for each in chosen})
        [quorum] = reader.read([bind("FundingOracle", oracle, "quorum")])
        if isinstance(quorum, Exception):
            raise KeeperError(
                f"there is no funding oracle at {oracle}: {record.path} is of another chain, or of "
                "a local one that was started anew; deploy again"
            )
        return contracts

    # -- what to report --

    def subjects(self, observed_at: int) -> list[Subject]:
        """What every reporter signs at a time: all markets' funding, and each price of ours."""
        tokens = [each.token for each in self.markets.values()]
        chunks = [
            Subject(self.funding_oracle, observed_at, tuple(tokens[start : start + MAX_TOKENS]))
            for start in range(0, len(tokens), MAX_TOKENS)
        ]
        prices = [
            Subject(each.price_feed, observed_at, (each.token,))
            for each in self.markets.values()
            if each.price_feed is not None
        ]
        return chunks + prices

    def domain(self, contract: str) -> Domain:
        """What reports for a contract are signed under."""
        if contract == self.funding_oracle:
            return Domain.of_funding_oracle(self.reader.chain_id, contract)
        return Domain.of_price_feed(self.reader.chain_id, contract)

    def seats(self, now: int) -> dict[str, Seats]:
        """Who may report to each contract; read again after `SEATS_AGE`, or `forget_seats`."""
        if not 0 <= now - self._seats_read < SEATS_AGE:
            self._seats = self._read_seats()
            self._seats_read = now
        return self._seats

    def forget_seats(self) -> None:
        """Read them anew next time: a round was refused."""
        self._seats_read = 0

    def _read_seats(self) -> dict[str, Seats]:
        tokens: dict[str, frozenset[str]] = {
            each.price_feed: frozenset({each.token})
            for each in self.markets.values()
            if each.price_feed is not None
        }
        tokens[self.funding_oracle] = frozenset(each.token for each in self.markets.values())
        calls = [
            bind("FundingOracle", contract, name)
            for contract in tokens
            for name in ("reporters", "quorum", "max_report_age")
        ]
        answers = iter(values(self.reader.read(calls)))
        return {
            contract: Seats(
                kind="funding" if contract == self.funding_oracle else "price",
                domain=self.domain(contract),
                reporters=tuple(next(answers)),
                quorum=next(answers),
                max_report_age=next(answers),
                tokens=reported,
            )
            for contract, reported in tokens.items()
        }

    # -- state --

    def states(self, head: Head) -> list[MarketState]:
        """All that decisions are made of, at one block."""
        calls: list[Call] = []
        for market in self.markets.values():
            calls.append(bind("FundingOracle", self.funding_oracle, "feed", market.token))
            calls += [bind("ReversePool", pool, "state") for pool in market.pools]
            if market.price_oracle is not None:
                calls.append(bind("PriceOracle", market.price_oracle, "observe"))
            if market.price_feed is not None:
                calls.append(bind("PriceFeed", market.price_feed, "latestRoundData"))
        answers = iter(self.reader.read(calls, head))
        self._read_spacings()
        return [self._state(symbol, market, answers) for symbol, market in self.markets.items()]

    def _state(self, symbol: str, market: MarketAddresses, answers: Any) -> MarketState:
        feed = value(next(answers))
        pools = tuple(PoolClock(pool, value(next(answers)).funding_time) for pool in market.pools)
        volatility_due = False
        if market.price_oracle is not None:
            observation = next(answers)
            # it reverts without a fresh price, which is no reason to stop
            volatility_due = not isinstance(observation, Reverted) and bool(value(observation))
        price = None
        if market.price_feed is not None:
            price = _price_round(next(answers), self._spacings[market.price_feed])
        return MarketState(
            market=symbol,
            token=market.token,
            price_feed=market.price_feed,
            funding=FundingFeed(
                median=feed.median_wad // RATE_UNIT_WAD,
                ema=feed.ema_wad // RATE_UNIT_WAD,
                lower=feed.lower_wad // RATE_UNIT_WAD,
                upper=feed.upper_wad // RATE_UNIT_WAD,
                observed_at=feed.observed_at,
            ),
            price=price,
            pools=pools,
            volatility_due=volatility_due,
        )

    def _read_spacings(self) -> None:
        """Fixed for a feed's life."""
        feeds = [each.price_feed for each in self.markets.values() if each.price_feed is not None]
        unknown = [each for each in feeds if each not in self._spacings]
        if unknown:
            calls = [bind("PriceFeed", each, "spacing") for each in unknown]
            self._spacings |= zip(unknown, values(self.reader.read(calls)), strict=True)

    # -- calls --

    def report_funding(self, action: ReportFunding) -> Parcel:
        """The submission of a funding round."""
        subject = action.round.subject
        seats = self._seats[subject.contract]
        call = bind(
            "FundingOracle",
            subject.contract,
            "submit",
            *funding_round(action.round.reports, seats.reporters),
        )
        intents = tuple(
            Intent("funding", market, subject.observed_at, str(rate))
            for market, rate in action.rates
        )
        return Parcel(intents, subject.contract, call.data)

    def report_price(self, action: ReportPrice) -> Parcel:
        """The submission of a price round."""
        subject = action.round.subject
        seats = self._seats[subject.contract]
        call = bind(
            "PriceFeed",
            subject.contract,
            "submit",
            *price_round(action.round.reports, seats.reporters),
        )
        intent = Intent("price", action.market, subject.observed_at, str(action.price_wad))
        return Parcel((intent,), subject.contract, call.data)

    def sync_funding(self, action: SyncFunding) -> Parcel:
        """A pool's `sync_funding`."""
        call = bind("ReversePool", action.pool, "sync_funding")
        intent = Intent("sync", action.pool, action.observed_at, "")
        return Parcel((intent,), action.pool, call.data)

    def observe_price(self, action: ObservePrice) -> Parcel:
        """A price oracle's `observe`."""
        oracle = self.markets[action.market].price_oracle
        assert oracle is not None
        call = bind("PriceOracle", oracle, "observe")
        return Parcel((Intent("observe", action.market, action.time, ""),), oracle, call.data)

    # -- reading back --

    def unmet(self, intents: Sequence[Intent], head: Head) -> list[Intent]:
        """Those of which the chain does not show the effect.

        A round is there when its feed is as new, and if it is of the same time has its value. What
        leaves nothing of its own (a volatility observation), or is of a market that is not served
        here (a predecessor may have served more), has to do with its receipt.
        """
        asked = [
            each
            for each in intents
            if each.kind == "sync"
            or (each.kind in ("funding", "price") and each.subject in self.markets)
        ]
        answers = self.reader.read([self._evidence(each) for each in asked], head)
        return [
            intent
            for intent, answer in zip(asked, answers, strict=True)
            if not _met(intent, answer)
        ]

    def _evidence(self, intent: Intent) -> Call:
        if intent.kind == "sync":
            return bind("ReversePool", intent.subject, "state")
        market = self.markets[intent.subject]
        if intent.kind == "funding":
            return bind("FundingOracle", self.funding_oracle, "feed", market.token)
        assert market.price_feed is not None
        return bind("PriceFeed", market.price_feed, "latestRoundData")


def addresses_of(record: Record, symbol: str) -> MarketAddresses:
    """A market's contracts from the deployment's record."""
    entry = record.markets[symbol]
    pools = (entry["reverse"], entry["forward"])
    return MarketAddresses(entry["token"], entry["price_oracle"], our_feed(record, symbol), pools)


def our_feed(record: Record, symbol: str) -> str | None:
    """A market's price feed, None where it is not one of ours (a Chainlink feed)."""
    return record.address(f"{symbol}.price_feed")


@lru_cache
def function(contract: str, name: str) -> FunctionAbi:
    """A function of one of our contracts."""
    [entry] = [each for each in load_abi(contract) if each["name"] == name]
    return FunctionAbi(entry)


def bind(contract: str, address: str, name: str, *args: Any) -> Call:
    """A call of a contract's function."""
    found = function(contract, name)
    return Call(canonical(address), found.encode(args), found)


def value(answer: Any) -> Any:
    """An answer that has to be there; a revert is raised."""
    if isinstance(answer, Exception):
        raise answer
    return answer


def values(answers: Iterable[Any]) -> list[Any]:
    """Answers that have to be there."""
    return [value(each) for each in answers]


def _price_round(answer: Any, spacing: int) -> PriceRound:
    if isinstance(answer, Reverted) and NO_ROUND in str(answer):
        return PriceRound(0, 0, held=False, spacing=spacing)
    round_id, price, _, updated_at, answered_in = value(answer)
    return PriceRound(price, updated_at, answered_in < round_id, spacing)


def _met(intent: Intent, answer: Any) -> bool:
    if isinstance(answer, Exception):
        return False
    if intent.kind == "sync":
        return bool(answer.funding_time >= intent.time)
    if intent.kind == "funding":
        same = answer.median_wad == int(intent.value) * RATE_UNIT_WAD
        return bool(
            answer.observed_at > intent.time or (answer.observed_at == intent.time and same)
        )
    # the largest move may have held the price back from the median
    return bool(answer[3] >= intent.time)
