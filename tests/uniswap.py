"""Real Uniswap v3 and v2, from their npm artifacts, on the in-process EVM.

    v3 = UniswapV3(evm)
    pool = v3.create_pool(token, usdt, fee=3_000, price=Decimal(10))
    pool.add_liquidity(1_000_000 * 10**6)
    pool.swap_to(Decimal("7.5"))

Tokens are test tokens that anyone may mint. Liquidity and arbitrage come from accounts of their
own, which mint what they need.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from perpool import uniswap
from perpool.build import load_npm_artifact
from perpool.evm import Account, Contract, Evm
from perpool.uniswap import TokenPair

V3_CORE = "@uniswap/v3-core/artifacts/contracts"
V3_PERIPHERY = "@uniswap/v3-periphery/artifacts/contracts"
V2_CORE = "@uniswap/v2-core/build"

V3_FACTORY = f"{V3_CORE}/UniswapV3Factory.sol/UniswapV3Factory.json"
V3_POOL = f"{V3_CORE}/UniswapV3Pool.sol/UniswapV3Pool.json"
V3_MANAGER = f"{V3_PERIPHERY}/NonfungiblePositionManager.sol/NonfungiblePositionManager.json"
V3_ROUTER = f"{V3_PERIPHERY}/SwapRouter.sol/SwapRouter.json"
V3_QUOTER = f"{V3_PERIPHERY}/lens/QuoterV2.sol/QuoterV2.json"
V2_FACTORY = f"{V2_CORE}/UniswapV2Factory.json"
V2_PAIR = f"{V2_CORE}/UniswapV2Pair.json"

ZERO_ADDRESS = "0x" + 40 * "0"
PLENTY = 2**100
"""More of any token than a test trades, and little enough for v2's 112-bit reserves."""


def token_pair(base: Contract, quote: Contract) -> TokenPair:
    """The pair of two token contracts."""
    return TokenPair(base.address, quote.address, base.decimals(), quote.decimals())


def fund(token: Contract, account: Account, spender: Contract, amount: int) -> None:
    """Give an account tokens and let `spender` take any number of them."""
    token.mint(account, amount, sender=account)
    if token.allowance(account, spender) == 0:
        token.approve(spender, 2**256 - 1, sender=account)


class UniswapV3:
    """Factory, position manager, router and quoter; the fee of 0.01 % enabled as on Ethereum."""

    def __init__(self, evm: Evm) -> None:
        self.evm = evm
        owner = evm.account("uniswap owner")
        self.factory = evm.deploy(load_npm_artifact(V3_FACTORY), sender=owner)
        self.factory.enableFeeAmount(100, 1, sender=owner)
        self.manager = evm.deploy(
            load_npm_artifact(V3_MANAGER), self.factory, ZERO_ADDRESS, ZERO_ADDRESS
        )
        self.router = evm.deploy(load_npm_artifact(V3_ROUTER), self.factory, ZERO_ADDRESS)
        self.quoter = evm.deploy(load_npm_artifact(V3_QUOTER), self.factory, ZERO_ADDRESS)

    def create_pool(self, base: Contract, quote: Contract, *, fee: int, price: Decimal) -> V3Pool:
        """A pool without liquidity at a price in quote per base."""
        pair = token_pair(base, quote)
        token0, token1 = uniswap.sort_tokens(pair.base, pair.quote)
        self.manager.createAndInitializePoolIfNecessary(
            token0, token1, fee, pair.sqrt_price_x96(price)
        )
        address = self.factory.getPool(token0, token1, fee)
        contract = self.evm.at(load_npm_artifact(V3_POOL), address)
        return V3Pool(self, contract, base, quote, pair, fee)

    def quote_exact_in(self, route: bytes, amount_in: int) -> int:
        """What Uniswap's quoter says that an input buys."""
        return int(self.quoter.quoteExactInput.call(route, amount_in)[0])

    def quote_exact_out(self, route: bytes, amount_out: int) -> int:
        """What Uniswap's quoter says that an output costs; the route is from input to output."""
        backwards = uniswap.reverse_v3_route(route)
        return int(self.quoter.quoteExactOutput.call(backwards, amount_out)[0])


@dataclass(frozen=True)
class V3Pool:
    """A v3 pool of a base token priced in a quote token."""

    uniswap: UniswapV3
    contract: Contract
    base: Contract
    quote: Contract
    pair: TokenPair
    fee: int

    @property
    def address(self) -> str:
        return self.contract.address

    @property
    def sqrt_price_x96(self) -> int:
        return int(self.contract.slot0()[0])

    @property
    def price(self) -> Decimal:
        """Quote per base."""
        return self.pair.price(self.sqrt_price_x96)

    def twap_price_e36(self, seconds: int) -> int:
        """The time-weighted mean price of the last seconds, in Perpool's scale."""
        cumulatives = self.contract.observe([seconds, 0])[0]
        tick = uniswap.mean_tick(*cumulatives, seconds)
        return self.pair.price_e36(uniswap.sqrt_price_at_tick(tick))

    def grow_observations(self, count: int) -> None:
        """Have the pool remember its last `count` prices."""
        self.contract.increaseObservationCardinalityNext(count)

    def add_liquidity(
        self,
        quote_amount: int,
        *,
        low: Decimal | None = None,
        high: Decimal | None = None,
        provider: Account | None = None,
    ) -> tuple[int, int]:
        """A position with this much of the quote and what goes with it of the base.

        Without `low` and `high` over the full range, else over the prices between them. Returns
        what the pool took, (base amount, quote amount).
        """
        evm, manager = self.uniswap.evm, self.uniswap.manager
        provider = provider or evm.account("liquidity provider")
        spacing = uniswap.TICK_SPACINGS[self.fee]
        if low is None or high is None:
            ticks = uniswap.full_range(spacing)
        else:
            ticks = self.pair.tick_range(low, high, spacing)
        wanted = self.pair.liquidity_amounts(self.sqrt_price_x96, *ticks, quote_amount)
        for token, amount in zip((self.base, self.quote), wanted, strict=True):
            fund(token, provider, manager, amount)
        position = manager.mint(
            (
                *uniswap.sort_tokens(self.pair.base, self.pair.quote),
                self.fee,
                *ticks,
                *self.pair.amounts(*wanted),
                0,
                0,
                provider,
                evm.timestamp + 3_600,
            ),
            sender=provider,
        )
        # the order of a pool's amounts is its own inverse
        taken = self.pair.amounts(position[2], position[3])
        return taken[0], taken[1]

    def swap_to(self, price: Decimal, *, trader: Account | None = None) -> None:
        """Move the price there as an arbitrageur does; nothing if it is there already."""
        target = self.pair.sqrt_price_x96(price)
        current = self.sqrt_price_x96
        if target == current:
            return
        evm, router = self.uniswap.evm, self.uniswap.router
        trader = trader or evm.account("arbitrageur")
        # selling token0 lowers the price
        sells_base = (target < current) == self.pair.base_is_token0
        sold, bought = (self.base, self.quote) if sells_base else (self.quote, self.base)
        fund(sold, trader, router, PLENTY)
        router.exactInputSingle(
            (sold, bought, self.fee, trader, evm.timestamp + 3_600, PLENTY, 0, target),
            sender=trader,
        )

    def route(self, token_in: Contract) -> bytes:
        """The packed path through this pool alone, for the adapter."""
        token_out = self.quote if token_in == self.base else self.base
        return uniswap.encode_v3_route([token_in.address, token_out.address], [self.fee])


class UniswapV2:
    """The factory, and pairs made and fed without a router."""

    def __init__(self, evm: Evm) -> None:
        self.evm = evm
        self.factory = evm.deploy(load_npm_artifact(V2_FACTORY), ZERO_ADDRESS)

    def create_pair(
        self, base: Contract, quote: Contract, *, price: Decimal, quote_amount: int
    ) -> V2Pair:
        """A pair with this much of the quote, and of the base what the price asks for."""
        evm = self.evm
        self.factory.createPair(base, quote)
        address = self.factory.getPair(base, quote)
        contract = evm.at(load_npm_artifact(V2_PAIR), address)
        pair = token_pair(base, quote)
        whole = Decimal(quote_amount) / price
        base_amount = int(whole.scaleb(pair.base_decimals - pair.quote_decimals))
        provider = evm.account("liquidity provider")
        base.mint(contract, base_amount, sender=provider)
        quote.mint(contract, quote_amount, sender=provider)
        contract.mint(provider, sender=provider)
        return V2Pair(self, contract, base, quote, pair)


@dataclass(frozen=True)
class V2Pair:
    """A v2 pair of a base token priced in a quote token."""

    uniswap: UniswapV2
    contract: Contract
    base: Contract
    quote: Contract
    pair: TokenPair

    @property
    def address(self) -> str:
        return self.contract.address

    def reserves(self, token_in: Contract) -> tuple[int, int]:
        """(reserve of `token_in`, reserve of the other)."""
        reserve0, reserve1, _ = self.contract.getReserves()
        is_token0 = (token_in == self.base) == self.pair.base_is_token0
        return (reserve0, reserve1) if is_token0 else (reserve1, reserve0)

    def route(self, token_in: Contract) -> bytes:
        """The packed path through this pair alone, for the adapter."""
        token_out = self.quote if token_in == self.base else self.base
        return uniswap.encode_v2_route([token_in.address, token_out.address])
