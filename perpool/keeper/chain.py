"""The keeper's view of the chain: one `Sender` for everything, whatever is behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

from perpool.build import compile_contract
from perpool.deployment import Record, Sender, SendError
from perpool.evm.codec import FunctionAbi
from perpool.keeper.model import FundingFeed, MarketState, PoolClock, PriceRound
from perpool.reports import Domain

ZERO_ADDRESS = "0x" + 40 * "0"
WAD = Decimal(10**18)
IDLE_SECONDS = 60


class KeeperError(Exception):
    """The keeper cannot work with this deployment; the message says what to do."""


@dataclass(frozen=True)
class MarketAddresses:
    """A market's contracts; `price_feed` None where it is not one of ours."""

    token: str
    price_oracle: str
    price_feed: str | None
    reverse: str
    forward: str


class Remote:
    """A contract's functions over a Sender."""

    def __init__(self, sender: Sender, contract: str, address: str) -> None:
        self.sender = sender
        self.address = address
        self._functions = {
            entry["name"]: FunctionAbi(entry)
            for entry in compile_contract(contract).abi
            if entry["type"] == "function"
        }

    def read(self, name: str, *args: Any) -> Any:
        """The value of a view, or what a function would return."""
        function = self._functions[name]
        return function.decode(self.sender.call(self.address, function.encode(args)))

    def send(self, name: str, *args: Any) -> str:
        """Send a transaction and give its hash. Raises SendError."""
        return self.sender.send(self.address, self._functions[name].encode(args)).transaction


class Market:
    """One market on chain."""

    def __init__(self, sender: Sender, symbol: str, addresses: MarketAddresses) -> None:
        self.symbol = symbol
        self.addresses = addresses
        self.price_oracle = Remote(sender, "PriceOracle", addresses.price_oracle)
        self.pools = {
            addresses.reverse: Remote(sender, "ReversePool", addresses.reverse),
            addresses.forward: Remote(sender, "ForwardPool", addresses.forward),
        }
        self.price_feed = (
            Remote(sender, "PriceFeed", addresses.price_feed) if addresses.price_feed else None
        )

    @cached_property
    def spacing(self) -> int:
        """Least seconds between two rounds of the price feed; fixed for its life."""
        assert self.price_feed is not None
        return int(self.price_feed.read("spacing"))

    def price_round(self) -> PriceRound | None:
        """The newest round of the price feed."""
        if self.price_feed is None:
            return None
        try:
            round_id, answer, _, updated_at, answered_in = self.price_feed.read("latestRoundData")
        except Exception as error:
            if "no such round" not in str(error):
                raise
            return PriceRound(Decimal(0), 0, held=False, spacing=self.spacing)
        held = answered_in < round_id
        return PriceRound(Decimal(answer) / WAD, updated_at, held, self.spacing)

    def volatility_due(self) -> bool:
        """Whether `observe` would take an observation. False while the oracle has no price."""
        try:
            return bool(self.price_oracle.read("observe"))
        except Exception:
            # it reverts without a fresh price; senders differ in how they say so
            return False


class Contracts:
    """Oracles and markets that one keeper serves."""

    def __init__(
        self, sender: Sender, funding_oracle: str, markets: Mapping[str, MarketAddresses]
    ) -> None:
        self.sender = sender
        self.funding_oracle = Remote(sender, "FundingOracle", funding_oracle)
        self.markets = {
            symbol: Market(sender, symbol, addresses) for symbol, addresses in markets.items()
        }

    @classmethod
    def of_record(
        cls, sender: Sender, record: Record, symbols: Sequence[str] | None = None
    ) -> Contracts:
        """The markets of a deployment, all or some. Raises KeeperError for an unknown one."""
        oracle = record.address("FundingOracle")
        if oracle is None:
            raise KeeperError(f"{record.path} has no FundingOracle: finish the deployment first")
        if record.chain_id != sender.chain_id:
            raise KeeperError(
                f"{record.path} is of chain {record.chain_id}, the node of {sender.chain_id}: "
                "choose the other network or the other file"
            )
        unknown = [symbol for symbol in symbols or () if symbol not in record.markets]
        if unknown:
            known = ", ".join(record.markets) or "none"
            raise KeeperError(
                f"{record.path} has no market {', '.join(unknown)}: there are {known}"
            )
        chosen = symbols or list(record.markets)
        return cls(sender, oracle, {each: addresses_of(record, each) for each in chosen})

    @property
    def funding_domain(self) -> Domain:
        return Domain.of_funding_oracle(self.sender.chain_id, self.funding_oracle.address)

    def price_domain(self, market: Market) -> Domain:
        """What reporters sign a market's price under."""
        assert market.price_feed is not None
        return Domain.of_price_feed(self.sender.chain_id, market.price_feed.address)

    def state(self, symbol: str, time: int) -> MarketState:
        """All that decisions are made of."""
        market = self.markets[symbol]
        feed = self.funding_oracle.read("feed", market.addresses.token)
        return MarketState(
            market=symbol,
            time=time,
            funding=FundingFeed(feed.median_wad / WAD, feed.ema_wad / WAD, feed.observed_at),
            price=market.price_round(),
            pools=tuple(
                PoolClock(address, pool.read("state").funding_time)
                for address, pool in market.pools.items()
            ),
            volatility_due=market.volatility_due(),
        )


def next_block_time(latest: int, pending: int | None) -> int:
    """The newest time that the next block will not find in the future.

    That of the latest block; of the pending one only on a chain that has stood still, as local ones
    do, where the latest is too old to report for.
    """
    if pending is not None and pending - latest > IDLE_SECONDS:
        return pending
    return latest


def addresses_of(record: Record, symbol: str) -> MarketAddresses:
    """A market's contracts from the deployment's record."""
    entry = record.markets[symbol]
    ours = record.address(f"{symbol}.price_feed")
    return MarketAddresses(
        entry["token"], entry["price_oracle"], ours, entry["reverse"], entry["forward"]
    )


__all__ = [
    "Contracts",
    "KeeperError",
    "Market",
    "MarketAddresses",
    "Remote",
    "SendError",
    "addresses_of",
    "next_block_time",
]
