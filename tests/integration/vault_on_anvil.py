"""Carry vaults of a market on anvil, and a rebalancer as a process would have it.

Importable by a fresh process, which a test may kill.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from eth_account.signers.local import LocalAccount

from perpool import uniswap
from perpool.chain import Chain, Contract
from perpool.deployment import Record
from perpool.keeper.chain.nodes import Nodes
from perpool.keeper.health import Health
from perpool.keeper.metrics import Metrics
from perpool.keeper.rebalancer.decide import Budget
from perpool.keeper.rebalancer.requests import RequestFollower
from perpool.keeper.rebalancer.role import Outcome, RebalancerRole, Spending
from perpool.keeper.rebalancer.vaults import first_block, read_back, vaults_of
from perpool.keeper.signing import KeyAccount
from perpool.keeper.transactions.journal import Journal
from perpool.keeper.transactions.outbox import Outbox
from tests.integration.market_on_anvil import FEE, AnvilMarket, key
from tests.market import wad
from tests.vaults import KEEP
from tests.venues import Parameters as VenueParameters

LANE = "rebalancer"
USDT, TOKEN, MAX = 10**6, 10**18, 2**256 - 1
HOUR = 3_600
ETHER = 10**18
TERMS = replace(KEEP, enter_rate=wad(18))
"""The market's funding is 20 %."""


@dataclass(frozen=True)
class Carry:
    """One vault, its strategy and its venue."""

    market: AnvilMarket
    vault: Contract
    strategy: Contract
    venue: Contract

    @classmethod
    def deploy(cls, market: AnvilMarket, symbol: str, *, delay_blocks: int = 0) -> Carry:
        """With a venue of its own, in the record as the vault "keep" of a market `symbol`."""
        chain, owner = market.chain, market.chain.default
        names = ("ADA", "USDT", "ADA.price_oracle", "FundingOracle", "ADA.reverse", "ADA.forward")
        token, usdt, oracle, funding, reverse, forward = map(market.contract, names)
        terms = replace(VenueParameters(), exposure_cap=10**8, delay_blocks=delay_blocks)
        venue = chain.deploy("PerpVenue", token, usdt, oracle, funding, terms.as_tuple(6))
        usdt.mint(owner, 10**7 * USDT)
        usdt.approve(venue, MAX)
        venue.add_liquidity(10**7 * USDT, owner)
        blueprint = chain.deploy_blueprint("CarryStrategy")
        vault = chain.deploy(
            *("CarryVault", blueprint, reverse, forward, venue, TERMS.as_tuple()),
            *("Perpool Carry ADA", "pcADA"),
        )
        vault.set_limits(2**128, 10**8 * USDT)
        way = [token.address, usdt.address]
        routes = (uniswap.encode_v3_route(each, [FEE]) for each in (way, way[::-1]))
        vault.set_swapper(market.contract("UniswapV3Swapper"), *routes)
        strategy = chain.contract("CarryStrategy", vault.strategy())
        market.record.markets[symbol] = market.record.markets["ADA"] | {
            "venue": venue.address,
            "vaults": {
                "keep": {
                    "vault": vault.address,
                    "strategy": strategy.address,
                    "venue": venue.address,
                }
            },
        }
        market.record.save()
        return cls(market, vault, strategy, venue)

    @property
    def address(self) -> str:
        return str(self.vault.address)

    def request_deposit(self, name: str, tokens: int) -> LocalAccount:
        """Somebody asks to deposit whole tokens."""
        account = self.market.actor(name, tokens=tokens)
        self.market.contract("ADA").approve(self.vault, MAX, sender=account)
        self.vault.requestDeposit(tokens * TOKEN, account, account, sender=account)
        return account

    def deposit(self, name: str, tokens: int) -> LocalAccount:
        """The same, settled by hand and claimed."""
        account = self.request_deposit(name, tokens)
        price_of(self.market, "10")
        self.vault.settle_deposit(account)
        self.vault.deposit(self.vault.maxDeposit(account), account, sender=account)
        return account

    def margin(self) -> float:
        """Equity by notional, at the oracle's price."""
        held = self.vault.holdings()
        return float(held.equity * 10**36 / (held.short * held.price_e36))


def lend(market: AnvilMarket) -> None:
    """Two million USDT to borrow."""
    lender = market.actor("lender", usdt=2_000_000)
    reverse = market.contract("ADA.reverse")
    market.contract("USDT").approve(reverse, MAX, sender=lender)
    reverse.deposit(2_000_000 * USDT, lender, sender=lender)


def price_of(market: AnvilMarket, price: str) -> None:
    """Report a price, in steps that the feed takes in one round, and funding as it is."""
    oracle = market.contract("ADA.price_oracle")
    for _ in range(8):
        market.report(price=Decimal(price), funding=Decimal("0.2"))
        if oracle.liquidation_price() == Decimal(price) * 10**24:
            return
    raise AssertionError(f"the price did not arrive at {price}")


@dataclass
class Keeper:
    """A rebalancer as a process would have it, over files that outlive it."""

    chain: Chain
    record: Record
    endpoint: str
    folder: Path
    budget: int = ETHER
    metrics: Metrics = field(default_factory=Metrics)

    def __post_init__(self) -> None:
        self.nodes = Nodes([self.endpoint], self.chain.chain_id)
        self.payer = key("rebalancer")
        self.vaults = vaults_of(self.nodes, self.record)
        self.journal = Journal(self.folder / "journal.db", LANE)
        self.outbox = Outbox(
            self.nodes,
            self.journal,
            KeyAccount(self.payer),
            unmet=read_back(self.nodes, self.vaults),
            confirmations=2,
            clock=self.clock,
            metrics=self.metrics,
        )
        self.follower = RequestFollower(
            self.nodes,
            [each.address for each in self.vaults],
            self.folder / "requests.db",
            start=first_block(self.record, self.vaults),
        )
        self.health = Health()
        self.role = RebalancerRole(
            self.nodes,
            self.vaults,
            self.follower,
            self.outbox,
            sender=self.payer.address,
            funding_oracle=str(self.record.address("FundingOracle")),
            spent=Spending(self.nodes, self.journal).last_day,
            budget=Budget(self.budget),
            metrics=self.metrics,
            health=self.health,
        )

    def clock(self) -> int:
        return self.chain.timestamp

    def tick(self) -> Outcome:
        return self.role.tick(self.clock())

    def work(self, until: Callable[[], Any] = lambda: False, ticks: int = 40) -> None:
        """Tick until something is so, or else until there is nothing more to do."""
        for _ in range(ticks):
            outcome = self.tick()
            if until() or not (outcome.chosen or self.outbox.busy):
                return
            time.sleep(0.02)
            self.chain.mine()

    @property
    def sent(self) -> list[str]:
        """(kind of what was sent), the oldest first."""
        recent = reversed(self.journal.recent(99))
        return [intent.kind for each in recent for intent in each.intents if each.attempts]

    def stop(self) -> None:
        self.nodes.close()
        self.journal.close()
        self.follower.close()
