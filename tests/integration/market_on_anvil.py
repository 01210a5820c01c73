"""A whole market on anvil as the deployment makes it, with price, funding and real Uniswap v3."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from eth_account import Account as EthAccount
from eth_account.signers.local import LocalAccount
from eth_utils import keccak

from perpool import uniswap
from perpool.anvil import Anvil
from perpool.build import load_npm_artifact
from perpool.chain import Chain, Contract
from perpool.deployment import ChainSender, Deployment, Record, parse_config
from perpool.reports import (
    Domain,
    funding_round,
    ordered,
    pack_rates,
    price_round,
    rate_units,
    sign_report,
)
from tests.uniswap import PLENTY, V3_MANAGER, ZERO_ADDRESS

FEE = 500


def key(name: str) -> LocalAccount:
    """An actor's key."""
    return EthAccount.from_key(keccak(text=f"integration {name}"))


REPORTERS = {account.address: account for account in (key(f"reporter {n}") for n in range(5))}


@dataclass(frozen=True)
class AnvilMarket:
    """The market, and how to move it."""

    anvil: Anvil
    chain: Chain
    record: Record

    @classmethod
    def deploy(
        cls, anvil: Anvil, path: Path, *, price: str = "10", **over: dict[str, Any]
    ) -> AnvilMarket:
        """Deploy ADA / USDT with 10 million USDT of liquidity, its price and funding of 20 %.

        `over` is what stands over the pools, as the configuration has it: a venue, vaults.
        """
        chain = Chain.connect(anvil.endpoint)
        caps = {"supply_cap": 100_000_000, "debt_cap": "none"}
        config = parse_config(
            {
                "chain_id": chain.chain_id,
                "owner": "deployer",
                "guardian": key("guardian").address,
                "usdt": "USDT",
                "uniswap": {"test": True},
                "test_tokens": {
                    "USDT": {"decimals": 6, "kind": "usdt_like"},
                    "ADA": {"decimals": 18},
                },
                "reporters": {"addresses": list(REPORTERS), "quorum": 3},
                "markets": {
                    "ADA": {
                        "token": "ADA",
                        "price": {"max_age": "1d", "min": "0.01", "max": 1000, "signed": {}},
                        "route": {"fees": ["0.05%"]},
                        "reverse": {"min_debt": 10, "collateral_cap": "none", **caps},
                        "forward": {"min_debt": 1, "block_cap": "none", **caps},
                        **over,
                    }
                },
            }
        )
        record = Deployment(config, ChainSender(chain), path).run().record
        market = cls(anvil, chain, record)
        market.add_liquidity(Decimal(price), 10_000_000 * 10**6)
        market.report(price=Decimal(price), funding=Decimal("0.2"))
        return market

    def contract(self, name: str) -> Contract:
        entry = self.record.contracts[name]
        if entry["contract"] == "UniswapV3Factory":
            path = "@uniswap/v3-core/artifacts/contracts/UniswapV3Factory.sol/UniswapV3Factory.json"
            return self.chain.contract(load_npm_artifact(path), entry["address"])
        return self.chain.contract(entry["contract"], entry["address"])

    def actor(self, name: str, *, tokens: int = 0, usdt: int = 0) -> LocalAccount:
        """A key with ether and whole tokens."""
        account = key(name)
        self.chain.set_balance(account.address, 10**20)
        if tokens:
            self.contract("ADA").mint(account.address, tokens * 10**18)
        if usdt:
            self.contract("USDT").mint(account.address, usdt * 10**6)
        return account

    def add_liquidity(self, price: Decimal, usdt_units: int) -> None:
        """A Uniswap pool at this price with a position over the full range."""
        chain, ada, usdt = self.chain, self.contract("ADA"), self.contract("USDT")
        factory = self.contract("UniswapV3Factory")
        manager = chain.deploy(load_npm_artifact(V3_MANAGER), factory, ZERO_ADDRESS, ZERO_ADDRESS)
        pair = uniswap.TokenPair(ada.address, usdt.address, 18, 6)
        token0, token1 = uniswap.sort_tokens(pair.base, pair.quote)
        root = pair.sqrt_price_x96(price)
        manager.createAndInitializePoolIfNecessary(token0, token1, FEE, root)
        ticks = uniswap.full_range(uniswap.TICK_SPACINGS[FEE])
        wanted = pair.liquidity_amounts(root, *ticks, usdt_units)
        for token in (ada, usdt):
            token.mint(chain.default, PLENTY)
            token.approve(manager, PLENTY)
        order = pair.amounts(*wanted)
        deadline = chain.timestamp + 3_600
        manager.mint((token0, token1, FEE, *ticks, *order, 0, 0, chain.default, deadline))

    def report(self, *, price: Decimal | None = None, funding: Decimal | None = None) -> None:
        """A round of all reporters on the price, on the funding, or both."""
        token, chain = self.contract("ADA").address, self.chain
        chain.warp(120)
        now = chain.timestamp
        seats = ordered(REPORTERS)
        if price is not None:
            feed = self.contract("ADA.price_feed")
            domain = Domain.of_price_feed(chain.chain_id, feed.address)
            value = int(price * 10**18)
            reports = [
                sign_report(each, domain, now, [token], [value]) for each in REPORTERS.values()
            ]
            feed.submit(*price_round(reports, seats))
        if funding is not None:
            oracle = self.contract("FundingOracle")
            domain = Domain.of_funding_oracle(chain.chain_id, oracle.address)
            words = pack_rates([rate_units(funding)])
            reports = [
                sign_report(each, domain, now, [token], words) for each in REPORTERS.values()
            ]
            oracle.submit(*funding_round(reports, seats))
            for pool in ("ADA.reverse", "ADA.forward"):
                self.contract(pool).sync_funding()
