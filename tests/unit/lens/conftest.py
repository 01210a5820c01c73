"""A market with lenders, a borrower and a shorter, seen through the lens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from perpool.evm import Account, Contract, Evm
from tests.market import Market, deploy_market

YEAR = 365 * 86_400
PRICE_SCALE = 10**36


@dataclass(frozen=True)
class Scene:
    """Positions: 100 tokens against 500 USDT; 20 tokens shorted on 100 USDT; at 10 USDT a token."""

    market: Market
    lens: Contract
    usdt_lender: Account
    token_lender: Account
    borrower: Account
    shorter: Account
    stranger: Account

    @property
    def evm(self) -> Evm:
        return self.market.evm

    @property
    def reverse(self) -> Contract:
        return self.market.reverse

    @property
    def forward(self) -> Contract:
        return self.market.forward

    def position(self, pool: Contract, account: Account) -> Any:
        return self.lens.position(pool, account)

    def lose_price(self) -> None:
        """The feed grows stale."""
        self.evm.warp(self.market.oracle.primary().max_age + 1)

    def script_prices(
        self, lower: float, upper: float, price: float | None = None, volatility: int = 0
    ) -> Contract:
        """From now on the market's oracle says these prices, in USDT a token."""
        market = self.market
        scripted = self.evm.deploy("ScriptedOracle", market.token, market.usdt)
        self.evm.set_code(market.oracle, self.evm.code(scripted))
        oracle = self.evm.at("ScriptedOracle", market.oracle)
        scaled = [market.usd(each) * PRICE_SCALE // market.tokens(1) for each in (lower, upper)]
        liquidation = market.usd(price or lower) * PRICE_SCALE // market.tokens(1)
        oracle.set_prices(*scaled, liquidation, volatility)
        oracle.break_prices(False, False)
        return oracle


@pytest.fixture(scope="module", params=(6, 8, 18, 24), ids=lambda decimals: f"decimals-{decimals}")
def scene(request: pytest.FixtureRequest, chain: Evm) -> Iterator[Scene]:
    with chain.anchor():
        market = deploy_market(chain, token_decimals=request.param)
        yield Scene(
            market=market,
            lens=chain.deploy("Lens"),
            usdt_lender=market.lend("usdt lender", usdt=market.usd(10_000)),
            token_lender=market.lend("token lender", tokens=market.tokens(1_000)),
            borrower=market.borrow(collateral=market.tokens(100), usdt=market.usd(500)),
            shorter=market.short(margin=market.usd(100), tokens=market.tokens(20)),
            stranger=chain.account("stranger"),
        )


@pytest.fixture(autouse=True)
def _isolate(evm: Evm) -> None:
    """Undo what a test does."""
