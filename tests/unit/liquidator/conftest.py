"""Unhealthy positions of both pools, for several decimals, and a liquidator without a unit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from perpool.evm import Account, Contract, Evm
from tests.market import MAX, Market, deploy_market
from tests.pools import Balances, calm


@dataclass(frozen=True)
class Case:
    """One pool with a position at an LTV of 84 % or 85 %, Uniswap at the oracle's price."""

    market: Market
    liquidator: Contract
    pool: Contract
    asset: Contract
    collateral: Contract
    borrower: Account
    caller: Account
    receiver: Account

    @property
    def evm(self) -> Evm:
        return self.market.evm

    @property
    def route(self) -> bytes:
        """From collateral to asset."""
        return self.market.pool.route(self.collateral)

    def liquidate(self, **changes: Any) -> Any:
        """Receipt of `liquidate` of all that may be, by the caller, unless told otherwise."""
        call = {
            "pool": self.pool,
            "borrower": self.borrower,
            "max_repay": MAX,
            "swapper": self.market.swapper,
            "route": self.route,
            "min_profit": 1,
            "receiver": self.receiver,
        } | changes
        return self.liquidator.liquidate.transact(*call.values(), sender=self.caller)

    def with_capital(self, max_repay: int = MAX) -> tuple[int, int]:
        """(repaid, seized) of somebody with capital, in this block; nothing is changed."""
        rich = self.evm.account("rich")
        with self.evm.anchor():
            self.market.give(rich, tokens=self.market.tokens(10_000), usdt=self.market.usd(10**5))
            repaid, seized = self.pool.liquidate.call(
                self.borrower, max_repay, rich, b"", sender=rich
            )
        return repaid, seized

    def balances(self) -> Balances:
        """(asset, collateral) of all who may hold any."""
        holders = (self.liquidator, self.caller, self.receiver, self.pool, self.market.swapper)
        return Balances([self.asset, self.collateral], *holders)


@pytest.fixture(
    scope="module",
    params=[(6, 6), (8, 6), (18, 6), (24, 6), (18, 18)],
    ids=lambda each: f"{each[0]} and {each[1]} decimals",
)
def deployed(chain: Evm, request: pytest.FixtureRequest) -> Iterator[tuple[Market, Contract]]:
    """A market by the decimals of token and USDT, both USDT-like, and the liquidator."""
    token_decimals, usdt_decimals = request.param
    with chain.anchor():
        market = deploy_market(chain, token_decimals=token_decimals, usdt_decimals=usdt_decimals)
        market.lend("USDT lender", usdt=market.usd(100_000))
        market.lend("token lender", tokens=market.tokens(10_000))
        calm(market)
        market.borrow(collateral=market.tokens(100), usdt=market.usd(690))
        market.short(margin=market.usd(1_000), tokens=market.tokens(100))
        yield market, chain.deploy("Liquidator")


@pytest.fixture(params=["reverse", "forward"])
def case(evm: Evm, deployed: tuple[Market, Contract], request: pytest.FixtureRequest) -> Case:
    market, liquidator = deployed
    caller, receiver = evm.account("liquidator"), evm.account("receiver")
    if request.param == "reverse":
        market.set_price("8.2")
        sides = (market.reverse, market.usdt, market.token, evm.account("borrower"))
    else:
        market.set_price(17)
        sides = (market.forward, market.token, market.usdt, evm.account("shorter"))
    evm.mine()
    return Case(market, liquidator, *sides, caller, receiver)
