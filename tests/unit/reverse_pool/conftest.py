"""A reverse pool with 100,000 USDT of a lender, at 10 USDT a token."""

from collections.abc import Iterator

import pytest

from perpool.evm import Account, Contract, Evm
from tests.market import Market, deploy_market
from tests.pools import Balances, market_of_test_oracle


@pytest.fixture(scope="module")
def market(chain: Evm) -> Iterator[Market]:
    """A token of 18 decimals, USDT of 6, a fee of 10 %, no caps, volatility unknown."""
    with chain.anchor():
        market = deploy_market(chain)
        market.lend(usdt=market.usd(100_000))
        yield market


@pytest.fixture(autouse=True)
def _isolate(evm: Evm) -> None:
    """Undo what a test does."""


@pytest.fixture(params=[6, 8, 18, 24], ids=lambda decimals: f"{decimals} decimals")
def decimal_market(request: pytest.FixtureRequest, evm: Evm) -> Market:
    """The same with a token of so many decimals."""
    market = deploy_market(evm, token_decimals=request.param)
    market.lend(usdt=market.usd(100_000))
    return market


@pytest.fixture
def stub_market(market: Market) -> Market:
    """The same with prices and volatility that the test sets."""
    stub = market_of_test_oracle(market)
    stub.lend(usdt=stub.usd(100_000))
    return stub


@pytest.fixture
def pool(market: Market) -> Contract:
    return market.reverse


@pytest.fixture
def stranger(market: Market) -> Account:
    """Somebody with tokens, USDT and allowances, but no rights."""
    return market.give(
        market.evm.account("stranger"), tokens=market.tokens(1_000), usdt=market.usd(10_000)
    )


def balances_of(market: Market, *holders: object) -> Balances:
    """(tokens, USDT) of some holders and the pool."""
    return Balances([market.token, market.usdt], *holders, market.reverse)
