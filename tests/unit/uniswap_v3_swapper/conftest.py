"""The adapter, a token of each number of decimals in three pools, and a caller with plenty."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal

import pytest

from perpool import uniswap
from perpool.evm import Contract, Evm
from tests.uniswap import UniswapV3, V3Pool

PRICE = Decimal(10)
DEPTH = 1_000_000 * 10**6


@dataclass(frozen=True)
class Venue:
    """token and usdt in a pool of 0.3 %, and both with middle in pools of 0.3 % and 0.05 %."""

    v3: UniswapV3
    swapper: Contract
    caller: Contract
    token: Contract
    middle: Contract
    usdt: Contract
    pool: V3Pool
    token_middle: V3Pool
    middle_usdt: V3Pool

    @property
    def whole(self) -> int:
        """One whole token."""
        return 10 ** int(self.token.decimals())

    def route(self, *steps: Contract | int) -> bytes:
        """The packed path of tokens and fees as they are listed."""
        tokens = [step.address for step in steps[::2] if isinstance(step, Contract)]
        fees = [step for step in steps[1::2] if isinstance(step, int)]
        return uniswap.encode_v3_route(tokens, fees)

    @property
    def long_route(self) -> bytes:
        """token -> middle -> usdt."""
        return self.route(self.token, 3_000, self.middle, 500, self.usdt)

    def assert_empty(self) -> None:
        """The adapter holds nothing and has approved nobody."""
        pools = [self.pool, self.token_middle, self.middle_usdt]
        for token in (self.token, self.middle, self.usdt):
            assert token.balanceOf(self.swapper) == 0
            for spender in (*(pool.contract for pool in pools), self.caller, self.v3.router):
                assert token.allowance(self.swapper, spender) == 0


@pytest.fixture(scope="module")
def v3(chain: Evm) -> Iterator[UniswapV3]:
    with chain.anchor():
        yield UniswapV3(chain)


@pytest.fixture(scope="module", params=[6, 8, 18, 24], ids="{} decimals".format)
def venue(chain: Evm, v3: UniswapV3, request: pytest.FixtureRequest) -> Iterator[Venue]:
    with chain.anchor():
        token = chain.deploy("TestToken", "Token", "TKN", request.param)
        middle = chain.deploy("TestToken", "Middle", "MID", 18)
        usdt = chain.deploy("UsdtLike", 6)
        pool = v3.create_pool(token, usdt, fee=3_000, price=PRICE)
        token_middle = v3.create_pool(token, middle, fee=3_000, price=PRICE / 2)
        middle_usdt = v3.create_pool(middle, usdt, fee=500, price=Decimal(2))
        pool.add_liquidity(DEPTH)
        token_middle.add_liquidity(DEPTH // 2 * 10**12)
        middle_usdt.add_liquidity(DEPTH)

        caller = chain.deploy("SwapCaller")
        for each in (token, middle, usdt):
            each.mint(caller, 10**6 * 10 ** each.decimals())
        swapper = chain.deploy("UniswapV3Swapper", v3.factory)
        yield Venue(v3, swapper, caller, token, middle, usdt, pool, token_middle, middle_usdt)


MALFORMED: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda route: b"",
    "one token": lambda route: route[:20],
    "no output": lambda route: route[:23],
    "one byte short": lambda route: route[:-1],
    "one byte long": lambda route: route + b"\0",
    "a fee too many": lambda route: route + b"\0\x0b\xb8",
    "no fee": lambda route: route[:20] + route[23:],
}


@pytest.fixture(params=MALFORMED, ids=str)
def bad_route(venue: Venue, request: pytest.FixtureRequest) -> bytes:
    """A route that no packed path can be; the ends are right where there are any."""
    return MALFORMED[request.param](venue.pool.route(venue.token))
