"""A market on anvil whose gas is measured: tokens, oracles, factory, pools, Uniswap v2 and v3.

Everything that the measured operations run through is the product itself on real Uniswap bytecode;
only the two tokens and the price feed behind `PriceOracle` are test contracts, as plain as they can
be. Blocks are a second apart and keys follow from names, so figures are the same in every run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from itertools import cycle, islice

from eth_utils.crypto import keccak

from perpool import uniswap
from perpool.build import Artifact, compile_contract, load_npm_artifact
from perpool.chain import Call, Chain, Contract, Receipt
from perpool.evm import Account
from perpool.reports import (
    Domain,
    funding_round,
    ordered,
    pack_rates,
    price_round,
    rate_units,
    sign_report,
)
from perpool.uniswap import TokenPair

WAD = 10**18
TOKEN = 10**18
USDT = 10**6
HOUR = 3600
MAX = 2**256 - 1
NO_CAP = 2**128 - 1
NO_BLOCK_CAP = 2**112 - 1
ZERO_ADDRESS = "0x" + 40 * "0"

START = 1_735_689_600
PRICE = Decimal(10)
FEE_PERMILLE = 100
REPORTERS = 5
QUORUM = 3
ROUND_TOKENS = 20
DEPTH = 50_000_000 * USDT
"""USDT a side in each of Uniswap's pools."""
V3_FEE = 500

_V3_CORE = "@uniswap/v3-core/artifacts/contracts"
_V3_PERIPHERY = "@uniswap/v3-periphery/artifacts/contracts"
_V3_FACTORY = f"{_V3_CORE}/UniswapV3Factory.sol/UniswapV3Factory.json"
_V3_POOL = f"{_V3_CORE}/UniswapV3Pool.sol/UniswapV3Pool.json"
_V3_MANAGER = f"{_V3_PERIPHERY}/NonfungiblePositionManager.sol/NonfungiblePositionManager.json"
_V3_ROUTER = f"{_V3_PERIPHERY}/SwapRouter.sol/SwapRouter.json"
_V2_FACTORY = "@uniswap/v2-core/build/UniswapV2Factory.json"
_V2_PAIR = "@uniswap/v2-core/build/UniswapV2Pair.json"


def _percent(number: int) -> int:
    return number * WAD // 100


def leg(min_debt: int) -> tuple[int, ...]:
    """IPool.LegParameters with `perpool.deployment`'s defaults."""
    return (
        _percent(2),  # base rate
        _percent(8),  # slope 1
        _percent(90),  # slope 2
        _percent(85),  # kink
        _percent(300),  # rate cap
        _percent(20),  # pass-through
        86_400,  # largest age of funding
        _percent(70),  # largest LTV
        _percent(60),  # the same in stressed markets
        _percent(80),  # liquidation LTV
        _percent(5),  # bonus
        _percent(50),  # bonus per LTV
        _percent(10),  # largest bonus
        _percent(3),  # largest slippage
        min_debt,
        _percent(2),  # floor of the reserve
    )


@dataclass(frozen=True)
class Pools:
    """A pair of pools with the price oracle they go by."""

    reverse: Contract
    forward: Contract
    oracle: Contract


class Market:
    """Deploys everything and moves time, prices and funding."""

    def __init__(self, chain: Chain, reverse: Artifact, forward: Artifact) -> None:
        self.chain = chain
        self.owner = chain.default = Account("owner")
        self.funding_rate = Decimal(0)
        self.price = PRICE
        self.trades_on_v3 = False
        """Whether the v3 pool trades every minute of the hour before an operation."""
        self.receipts: dict[str, Receipt] = {}
        """Of what is measured while deploying."""
        chain.rpc("anvil_setBlockTimestampInterval", 1)
        self.token = chain.deploy("TestToken", "Token", "TKN", 18)
        self.usdt = chain.deploy("UsdtLike", 6)
        self.pair = TokenPair(self.token.address, self.usdt.address, 18, 6)
        self.feed = chain.deploy("TestFeed", 8, 0)
        self._deploy_oracles()
        self._deploy_uniswap()
        self.operators = chain.deploy("Operators")
        self._deploy_factory(reverse, forward)
        self.pools = self.create_market(self.deploy_price_oracle(), reverse, forward)

    # -- deploying --

    def _deploy_oracles(self) -> None:
        chain = self.chain
        self.reporters = [Account(f"reporter {number}") for number in range(REPORTERS)]
        seats = ordered(account.address for account in self.reporters)
        self.funding = chain.deploy("FundingOracle", HOUR)
        self.price_feed = chain.deploy("PriceFeed", self.token, "TKN/USDT", HOUR, 60, WAD // 5)
        for oracle in (self.funding, self.price_feed):
            oracle.set_reporters(seats, QUORUM)
        others = [Account(f"token {number}").address for number in range(1, ROUND_TOKENS)]
        self.round_tokens = [self.token.address, *others]
        for token in self.round_tokens:
            self.funding.set_feed(token, -5 * WAD, 5 * WAD, 86_400)

    def deploy_price_oracle(self, twap_pool: Contract | None = None) -> Contract:
        """The product's price oracle over the feed, optionally checked against a TWAP."""
        twap = (ZERO_ADDRESS, 0, 0) if twap_pool is None else (twap_pool, 1800, _percent(5))
        return self.chain.deploy(
            "PriceOracle",
            self.token,
            self.usdt,
            (self.feed, 86_400, 1, 10**30),
            (ZERO_ADDRESS, 0, 0, 0),
            twap,
        )

    def _deploy_uniswap(self) -> None:
        chain = self.chain
        provider = Account("liquidity provider")
        half = DEPTH * TOKEN // (int(PRICE) * USDT)
        # v2
        factory = chain.deploy(load_npm_artifact(_V2_FACTORY), ZERO_ADDRESS)
        created = factory.createPair(self.token, self.usdt).events("PairCreated")[0]
        self.v2_pair = chain.contract(load_npm_artifact(_V2_PAIR), created.pair)
        self.token.mint(self.v2_pair, half)
        self.usdt.mint(self.v2_pair, DEPTH)
        self.v2_pair.mint(provider)
        self.v2 = chain.deploy("UniswapV2Swapper", factory)
        # v3, over the full range
        factory = chain.deploy(load_npm_artifact(_V3_FACTORY))
        manager = chain.deploy(load_npm_artifact(_V3_MANAGER), factory, ZERO_ADDRESS, ZERO_ADDRESS)
        self.router = chain.deploy(load_npm_artifact(_V3_ROUTER), factory, ZERO_ADDRESS)
        sorted_tokens = uniswap.sort_tokens(self.pair.base, self.pair.quote)
        sqrt_price = self.pair.sqrt_price_x96(PRICE)
        manager.createAndInitializePoolIfNecessary(*sorted_tokens, V3_FEE, sqrt_price)
        address = factory.getPool(*sorted_tokens, V3_FEE)
        self.v3_pool = chain.contract(load_npm_artifact(_V3_POOL), address)
        for contract, spender in ((self.token, manager), (self.usdt, manager)):
            contract.mint(provider, 2**100)
            contract.approve(spender, MAX, sender=provider)
        ticks = uniswap.full_range(uniswap.TICK_SPACINGS[V3_FEE])
        amounts = self.pair.amounts(half, DEPTH)
        terms = (*sorted_tokens, V3_FEE, *ticks, *amounts, 0, 0, provider, MAX)
        manager.mint(terms, sender=provider)
        self.v3 = chain.deploy("UniswapV3Swapper", factory)

    def _deploy_factory(self, reverse: Artifact, forward: Artifact) -> None:
        blueprints = [self.chain.deploy_blueprint(artifact) for artifact in (reverse, forward)]
        hashes = [keccak(artifact.initcode) for artifact in (reverse, forward)]
        self.factory = self.chain.deploy("PoolFactory", *blueprints, *hashes, self.operators)
        for swapper in (self.v2, self.v3):
            self.factory.allow_swapper(swapper, True)
        self.rewards = self.chain.deploy("RewardStream", self.factory, self.operators)
        self.factory.allow_hook(self.rewards, True)

    def create_market(self, oracle: Contract, reverse: Artifact, forward: Artifact) -> Pools:
        """A pair of pools with a fee on interest and no caps."""
        legs = (leg(10 * USDT), leg(TOKEN))
        parameters = (self.token, self.usdt, "TKN", self.funding, oracle, self.rewards, *legs)
        receipt = self.factory.create_market(parameters)
        self.receipts.setdefault("create_market", receipt)
        created = receipt.events("MarketCreated")[0]
        pools = Pools(
            self.chain.contract(reverse, created.reverse_pool),
            self.chain.contract(forward, created.forward_pool),
            oracle,
        )
        self.set_caps(pools, NO_CAP, NO_CAP, NO_CAP, NO_BLOCK_CAP)
        for pool in (pools.reverse, pools.forward):
            self.factory.set_fee(pool, FEE_PERMILLE)
        self.factory.set_liquidation_swapper(pools.forward, self.v3, self.v3_route(self.usdt))
        return pools

    def set_caps(self, pools: Pools, supply: int, debt: int, collateral: int, block: int) -> None:
        """The caps of both pools, the third of the reverse and the fourth of the forward one."""
        self.factory.set_caps(pools.reverse, supply, debt, collateral)
        self.factory.set_caps(pools.forward, supply, debt, block)

    # -- routes --

    def _path(self, token_in: Contract) -> list[str]:
        token_out = self.usdt if token_in == self.token else self.token
        return [token_in.address, token_out.address]

    def v2_route(self, token_in: Contract) -> bytes:
        """The v2 adapter's route through the pair."""
        return uniswap.encode_v2_route(self._path(token_in))

    def v3_route(self, token_in: Contract) -> bytes:
        """The v3 adapter's route through the pool."""
        return uniswap.encode_v3_route(self._path(token_in), [V3_FEE])

    # -- actors --

    def actor(self, name: str, *, pools: Pools | None = None) -> Account:
        """An account with plenty of both tokens, which both pools may take."""
        account = Account(name)
        chosen = pools or self.pools
        for token, amount in ((self.token, 10**6 * TOKEN), (self.usdt, 10**7 * USDT)):
            token.mint(account, amount)
            for pool in (chosen.reverse, chosen.forward):
                if token.allowance(account, pool) == 0:
                    token.approve(pool, MAX, sender=account)
        return account

    # -- time, prices, funding --

    def step(self, seconds: int) -> None:
        """Let the next block be that much later than the newest."""
        self.chain.set_next_timestamp(self.chain.timestamp + seconds)

    def pass_hour(self) -> None:
        """Let the next transaction be an hour after the newest block."""
        if self.trades_on_v3:
            start = self.chain.timestamp
            self.trade_on_v3(59, seconds=60)
            self.chain.mine(timestamp=start + HOUR - 1)
        else:
            self.chain.mine(timestamp=self.chain.timestamp + HOUR - 1)

    def trade_on_v3(self, count: int, *, seconds: int) -> None:
        """Small swaps on v3, so far apart."""
        trader = Account("small trader")
        self.usdt.mint(trader, 2**80)
        if self.usdt.allowance(trader, self.router) == 0:
            self.usdt.approve(self.router, MAX, sender=trader)
        for _ in range(count):
            self.step(seconds)
            swap = (self.usdt, self.token, V3_FEE, trader, MAX, USDT, 0, 0)
            self.router.exactInputSingle(swap, sender=trader)

    def set_price(self, price: Decimal, *, on_v3: bool = False) -> None:
        """USDT a token, as of now; on Uniswap v3 too if asked."""
        self.price = price
        self.feed.set(int(price * 10**8))
        if on_v3:
            buys = price > self.pair.price(self.v3_pool.slot0()[0])
            trader = Account("arbitrageur")
            sold, bought = (self.usdt, self.token) if buys else (self.token, self.usdt)
            sold.mint(trader, 2**100)
            if sold.allowance(trader, self.router) == 0:
                sold.approve(self.router, MAX, sender=trader)
            limit = self.pair.sqrt_price_x96(price)
            swap = (sold, bought, V3_FEE, trader, MAX, 2**100, 0, limit)
            self.router.exactInputSingle(swap, sender=trader)

    def rates(self) -> list[list[int]]:
        """What each reporter says of each token: near the market's funding, in any order."""
        spread = cycle((3, -7, 0, 11, -2, 5, -13))
        base = rate_units(self.funding_rate)
        return [
            [base + 9_973 * part for part in islice(spread, ROUND_TOKENS)] for _ in self.reporters
        ]

    def submit_call(self) -> Call:
        """A round of all reporters on 20 tokens, observed now."""
        now = self.chain.timestamp
        domain = Domain.of_funding_oracle(self.chain.chain_id, self.funding.address)
        reports = [
            sign_report(account.key, domain, now, self.round_tokens, pack_rates(rates))
            for account, rates in zip(self.reporters, self.rates(), strict=True)
        ]
        return self.funding.submit.bind(*funding_round(reports, self._addresses))

    def submit_price_call(self) -> Call:
        """A round of all reporters on the token's price, observed now."""
        now = self.chain.timestamp
        domain = Domain.of_price_feed(self.chain.chain_id, self.price_feed.address)
        price = int(self.price * WAD)
        reports = [
            sign_report(account.key, domain, now, [self.token.address], [price + number * 10**14])
            for number, account in enumerate(self.reporters)
        ]
        return self.price_feed.submit.bind(*price_round(reports, self._addresses))

    @cached_property
    def _addresses(self) -> Sequence[str]:
        return [account.address for account in self.reporters]

    def tick(self, pools: Pools | None = None) -> None:
        """What keepers do every hour: price, volatility, a round of funding, both pools synced."""
        chosen = pools or self.pools
        self.feed.set(int(self.price * 10**8))
        chosen.oracle.observe()
        self.chain.transact(self.submit_call())
        chosen.reverse.sync_funding()
        chosen.forward.sync_funding()

    def learn_volatility(self, pools: Pools | None = None) -> None:
        """Three days of hourly observations, after which the volatility is known."""
        chosen = pools or self.pools
        for _ in range(74):
            self.step(HOUR)
            self.feed.set(int(self.price * 10**8))
            chosen.oracle.observe()


def product() -> tuple[Artifact, Artifact]:
    """(reverse pool, forward pool) as they are."""
    return compile_contract("ReversePool"), compile_contract("ForwardPool")
