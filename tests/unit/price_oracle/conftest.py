"""Price oracles over a feed in USDT, a USDT/USD feed and a Uniswap v3 pool, at a price of 10."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

import pytest

from perpool.evm import Contract, Evm
from tests.oracles import ZERO_ADDRESS
from tests.uniswap import UniswapV3, V3Pool

WAD = 10**18
E36 = 10**36
FEED_DECIMALS = 8
PRICE = Decimal(10)
ANSWER = 10 * 10**FEED_DECIMALS
USDT_ANSWER = 10**8
WINDOW = 1_800
TOLERANCE = WAD // 20
MAX_AGE = 3_600
USDT_MAX_AGE = 86_400
DEPTH = 1_000_000 * 10**6
NO_SOURCE = (ZERO_ADDRESS, 0, 0, 0)
NO_TWAP = (ZERO_ADDRESS, 0, 0)


@dataclass(frozen=True)
class Market:
    """A token and USDT with their feeds and their pool."""

    evm: Evm
    token: Contract
    usdt: Contract
    feed: Contract
    usdt_feed: Contract
    pool: V3Pool

    @property
    def one_e36(self) -> int:
        """A price of 1 USDT for a whole token in the oracle's scale."""
        return int(E36 * 10 ** self.usdt.decimals() // 10 ** self.token.decimals())

    @property
    def primary(self) -> tuple[str, int, int, int]:
        return (self.feed.address, MAX_AGE, ANSWER // 100, ANSWER * 100)

    @property
    def usdt_usd(self) -> tuple[str, int, int, int]:
        return (self.usdt_feed.address, USDT_MAX_AGE, 9 * 10**7, 11 * 10**7)

    @property
    def twap(self) -> tuple[str, int, int]:
        return (self.pool.address, WINDOW, TOLERANCE)

    def oracle(self, *, usdt_usd: bool = False, twap: bool = False) -> Contract:
        """An oracle of the feed alone, or with the others."""
        return self.evm.deploy(
            "PriceOracle",
            self.token,
            self.usdt,
            self.primary,
            self.usdt_usd if usdt_usd else NO_SOURCE,
            self.twap if twap else NO_TWAP,
        )

    def hold(self, price: Decimal, seconds: int) -> None:
        """Trade the pool to a price and let it stay there; the feeds stay fresh."""
        self.pool.swap_to(price)
        self.evm.warp(seconds)
        self.refresh()

    def refresh(self) -> None:
        """Repeat both feeds' answers in this block."""
        with self.evm.same_block():
            for feed in (self.feed, self.usdt_feed):
                feed.set(feed.latestAnswer())


def deploy_market(chain: Evm, v3: UniswapV3, decimals: int, *, token_first: bool) -> Market:
    """A market whose token is the pool's token0 or its token1."""
    usdt = chain.deploy("UsdtLike", 6)
    token = chain.deploy("TestToken", "Token", "TKN", decimals)
    while (int(token.address, 16) < int(usdt.address, 16)) != token_first:
        token = chain.deploy("TestToken", "Token", "TKN", decimals)
    pool = v3.create_pool(token, usdt, fee=3_000, price=PRICE)
    pool.add_liquidity(DEPTH)
    pool.grow_observations(50)
    chain.warp(WINDOW)
    feed = chain.deploy("TestFeed", FEED_DECIMALS, ANSWER)
    usdt_feed = chain.deploy("TestFeed", 8, USDT_ANSWER)
    return Market(chain, token, usdt, feed, usdt_feed, pool)


@pytest.fixture(scope="module")
def v3(chain: Evm) -> Iterator[UniswapV3]:
    with chain.anchor():
        yield UniswapV3(chain)


@pytest.fixture(
    scope="module",
    params=itertools.product([6, 8, 18, 24], [True, False]),
    ids=lambda each: f"{each[0]} decimals, token{'0' if each[1] else '1'}",
)
def market(chain: Evm, v3: UniswapV3, request: pytest.FixtureRequest) -> Iterator[Market]:
    """Markets of all decimals, the token once token0 and once token1."""
    decimals, token_first = request.param
    with chain.anchor():
        yield deploy_market(chain, v3, decimals, token_first=token_first)


@pytest.fixture(scope="module", params=[True, False], ids=["token0", "token1"])
def plain_market(chain: Evm, v3: UniswapV3, request: pytest.FixtureRequest) -> Iterator[Market]:
    """Markets of 18 decimals, the token once token0 and once token1."""
    with chain.anchor():
        yield deploy_market(chain, v3, 18, token_first=request.param)
