"""A whole market on the in-process EVM: tokens, oracles, factory, both pools, and Uniswap.

Every test of the pools starts from `deploy_market`. The funding oracle is a stand-in that tests set
directly; everything else is the product on real Uniswap v3 bytecode.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from eth_utils import keccak

from perpool.build import Artifact, compile_contract
from perpool.evm import Account, Contract, Evm
from tests.uniswap import UniswapV3, V3Pool

WAD = 10**18
YEAR = 365 * 86_400
MAX = 2**256 - 1
NO_CAP = 2**128 - 1
NO_BLOCK_CAP = 2**112 - 1
ZERO_ADDRESS = "0x" + 40 * "0"

PAUSED, HOOK, CAPPED, STANDARD_HOOK = 1, 2, 4, 8
"""Bits of a pool's flags."""


def wad(percent: float | str) -> int:
    """A percentage in WAD."""
    return int(Decimal(str(percent)) * WAD / 100)


@dataclass(frozen=True)
class Leg:
    """IPool.LegParameters in its order; the defaults are the design's."""

    base_rate: int = wad(2)
    slope1: int = wad(8)
    slope2: int = wad(90)
    kink: int = wad(85)
    rate_cap: int = wad(300)
    pass_through: int = wad(20)
    funding_max_age: int = 86_400
    max_ltv: int = wad(70)
    stressed_ltv: int = wad(60)
    liquidation_ltv: int = wad(80)
    bonus_base: int = wad(5)
    bonus_slope: int = wad(50)
    bonus_cap: int = wad(10)
    max_slippage: int = wad(3)
    min_debt: int = 10_000_000
    reserve_floor: int = wad(2)

    def as_tuple(self) -> tuple[int, ...]:
        return tuple(getattr(self, name) for name in self.__dataclass_fields__)


@dataclass(frozen=True)
class Market:
    """What `deploy_market` made, with the few calls that most tests make."""

    evm: Evm
    owner: Account
    guardian: Account
    token: Contract
    usdt: Contract
    feed: Contract
    funding: Contract
    oracle: Contract
    operators: Contract
    factory: Contract
    reverse: Contract
    forward: Contract
    parameters: tuple[Any, ...]
    reverse_leg: Leg
    forward_leg: Leg
    uniswap: UniswapV3
    pool: V3Pool
    swapper: Contract

    @property
    def standard_hook(self) -> str | Contract:
        """The zero address for none."""
        hook: str | Contract = self.parameters[5]
        return hook

    # --- amounts

    def tokens(self, amount: float | str) -> int:
        """Whole tokens in the token's smallest unit."""
        return int(Decimal(str(amount)).scaleb(self.pool.pair.base_decimals))

    def usd(self, amount: float | str) -> int:
        """Whole USDT in its smallest unit."""
        return int(Decimal(str(amount)).scaleb(self.pool.pair.quote_decimals))

    # --- actors

    def give(self, account: Account, *, tokens: int = 0, usdt: int = 0) -> Account:
        """Mint to an account; both pools may take any number of either from it."""
        for contract, amount in ((self.token, tokens), (self.usdt, usdt)):
            if amount:
                contract.mint(account, amount, sender=account)
            for pool in (self.reverse, self.forward):
                if contract.allowance(account, pool) == 0:
                    contract.approve(pool, MAX, sender=account)
        return account

    def lend(self, name: str = "lender", *, tokens: int = 0, usdt: int = 0) -> Account:
        """Lend to the forward pool (tokens) or the reverse pool (USDT)."""
        account = self.give(self.evm.account(name), tokens=tokens, usdt=usdt)
        if tokens:
            self.forward.deposit(tokens, account, sender=account)
        if usdt:
            self.reverse.deposit(usdt, account, sender=account)
        return account

    def borrow(self, name: str = "borrower", *, collateral: int, usdt: int) -> Account:
        """Post tokens to the reverse pool and borrow USDT."""
        account = self.give(self.evm.account(name), tokens=collateral)
        self.reverse.supply_collateral_and_borrow(
            collateral, usdt, account, account, sender=account
        )
        return account

    def short(self, name: str = "shorter", *, margin: int, tokens: int, **changes: Any) -> Account:
        """Open a short in the forward pool through Uniswap v3."""
        account = self.give(self.evm.account(name), usdt=margin)
        call = {
            "min_proceeds": 0,
            "deadline": MAX,
            "on_behalf": account,
            "swapper": self.swapper,
            "route": self.sell_route,
        } | changes
        self.forward.open_short(margin, tokens, *call.values(), sender=account)
        return account

    @property
    def sell_route(self) -> bytes:
        return self.pool.route(self.token)

    @property
    def buy_route(self) -> bytes:
        return self.pool.route(self.usdt)

    # --- the world

    def set_price(self, price: float | str | Decimal, *, move_uniswap: bool = True) -> None:
        """USDT a token: the feed's answer as of now and, unless told not to, Uniswap's price."""
        self.feed.set(int(Decimal(str(price)) * 10**8))
        if move_uniswap:
            self.pool.swap_to(Decimal(str(price)))

    def set_funding(self, percent_a_year: float) -> None:
        """Funding as of now, taken in by both pools."""
        self.funding.set(self.token, wad(percent_a_year))
        self.reverse.sync_funding()
        self.forward.sync_funding()

    def refresh_price(self) -> None:
        """The same price, observed now."""
        self.feed.set(self.feed.latestAnswer())

    def price_e36(self) -> int:
        return int(self.oracle.liquidation_price())


def legs(token_decimals: int, usdt_decimals: int) -> tuple[Leg, Leg]:
    """The defaults with a minimum debt of 10 USDT and of 1 token."""
    return (
        Leg(min_debt=max(10 * 10**usdt_decimals, 1000)),
        Leg(min_debt=max(10**token_decimals, 1000)),
    )


def deploy_factory(
    evm: Evm,
    *,
    reverse_pool: str | Artifact = "ReversePool",
    forward_pool: str | Artifact = "ForwardPool",
) -> tuple[Contract, Contract, Artifact, Artifact]:
    """(factory, operators, reverse artifact, forward artifact), owned by the account "owner"."""
    owner = evm.account("owner")
    artifacts = [
        compile_contract(pool) if isinstance(pool, str) else pool
        for pool in (reverse_pool, forward_pool)
    ]
    operators = evm.deploy("Operators", sender=owner)
    blueprints = [evm.deploy_blueprint(artifact, sender=owner) for artifact in artifacts]
    hashes = [keccak(artifact.initcode) for artifact in artifacts]
    factory = evm.deploy("PoolFactory", *blueprints, *hashes, operators, sender=owner)
    return factory, operators, artifacts[0], artifacts[1]


def deploy_market(
    evm: Evm,
    *,
    token_decimals: int = 18,
    usdt_decimals: int = 6,
    token: str | Contract | None = None,
    usdt: Contract | None = None,
    price: float | str = 10,
    reverse_leg: Leg | dict[str, int] | None = None,
    forward_leg: Leg | dict[str, int] | None = None,
    reverse_pool: str | Artifact = "ReversePool",
    forward_pool: str | Artifact = "ForwardPool",
    fee_permille: int = 100,
    capped: bool = False,
    make_hook: Callable[[Contract, Contract], Contract] | None = None,
) -> Market:
    """A market at `price` USDT a token, uncapped unless `capped`, with a fee on interest.

    Both tokens are USDT-like (no return values) unless others are given. Uniswap holds 10 million
    USDT a side over the full range in the 0.05 % pool. A leg may be given whole, or as changes of
    the defaults. The pools may be given as artifacts: attack tests pass weakened copies. The
    standard hook is what `make_hook` makes of (factory, operators), and none without; it is
    allowed, and not attached.
    """
    owner, guardian = evm.account("owner"), evm.account("guardian")
    usdt = usdt or evm.deploy("UsdtLike", usdt_decimals)
    base = token if isinstance(token, Contract) else evm.deploy(token or "UsdtLike", token_decimals)
    uniswap = UniswapV3(evm)
    pool = uniswap.create_pool(base, usdt, fee=500, price=Decimal(str(price)))
    pool.add_liquidity(10_000_000 * 10**usdt_decimals)
    swapper = evm.deploy("UniswapV3Swapper", uniswap.factory)

    feed = evm.deploy("TestFeed", 8, int(Decimal(str(price)) * 10**8))
    # what the oracle can still represent in its scale
    largest_answer = min(10**30, 2**187 // 10 ** (28 + usdt_decimals - base.decimals()))
    oracle = evm.deploy(
        "PriceOracle",
        base,
        usdt,
        (feed, 86_400, 1, largest_answer),
        (ZERO_ADDRESS, 0, 0, 0),
        (ZERO_ADDRESS, 0, 0),
    )
    funding = evm.deploy("TestFundingOracle")

    default_legs = legs(token_decimals, usdt_decimals)
    given = (reverse_leg, forward_leg)
    chosen = [
        leg if isinstance(leg, Leg) else replace(default, **(leg or {}))
        for leg, default in zip(given, default_legs, strict=True)
    ]
    factory, operators, reverse_artifact, forward_artifact = deploy_factory(
        evm, reverse_pool=reverse_pool, forward_pool=forward_pool
    )
    hook: str | Contract = ZERO_ADDRESS
    if make_hook is not None:
        hook = make_hook(factory, operators)
        factory.allow_hook(hook, True, sender=owner)
    both_legs = (chosen[0].as_tuple(), chosen[1].as_tuple())
    parameters = (base, usdt, "TKN", funding, oracle, hook, *both_legs)
    reverse_address, forward_address = factory.create_market(parameters, sender=owner)
    factory.set_guardian(guardian, sender=owner)
    factory.allow_swapper(swapper, True, sender=owner)
    market = Market(
        evm=evm,
        owner=owner,
        guardian=guardian,
        token=base,
        usdt=usdt,
        feed=feed,
        funding=funding,
        oracle=oracle,
        operators=operators,
        factory=factory,
        reverse=evm.at(reverse_artifact, reverse_address),
        forward=evm.at(forward_artifact, forward_address),
        parameters=parameters,
        reverse_leg=chosen[0],
        forward_leg=chosen[1],
        uniswap=uniswap,
        pool=pool,
        swapper=swapper,
    )
    if not capped:
        factory.set_caps(market.reverse, NO_CAP, NO_CAP, NO_CAP, sender=owner)
        factory.set_caps(market.forward, NO_CAP, NO_CAP, NO_BLOCK_CAP, sender=owner)
    for pool_contract in (market.reverse, market.forward):
        factory.set_fee(pool_contract, fee_permille, sender=owner)
    factory.set_liquidation_swapper(market.forward, swapper, market.buy_route, sender=owner)
    return market
