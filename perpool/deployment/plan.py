"""A configuration as steps in order: contracts to deploy, and calls that set them up.

What a step is says `perpool.deployment.steps`; the carry vaults' are in
`perpool.deployment.carry_plan`. Whether a call has been made already is asked of the chain by its
`Check`s.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from eth_utils import to_canonical_address

from perpool.build import Artifact, compile_contract, load_npm_artifact
from perpool.deployment.carry_plan import (
    REWARDS,
    given_venue_faults,
    shared_steps,
    vault_steps,
    venue_steps,
)
from perpool.deployment.config import (
    DEPLOYER,
    TEST_CHAINS,
    DeploymentConfig,
    ForwardLeg,
    Leg,
    Market,
    ReverseLeg,
)
from perpool.deployment.record import MULTICALL3
from perpool.deployment.steps import (
    NO_BLOCK_CAP,
    Call,
    Check,
    Deploy,
    InitcodeHash,
    MarketNames,
    PackedRoute,
    Reader,
    Ref,
    Step,
    cap_units,
    scaled,
    towards_zero,
    wad,
)
from perpool.evm.codec import FunctionAbi
from perpool.settings import ConfigError

ZERO_ADDRESS = "0x" + 40 * "0"
_LEAST_MIN_DEBT = 1000
_SIGNED_FEED_DECIMALS = 18
_UNISWAP_FACTORY = "@uniswap/v3-core/artifacts/contracts/UniswapV3Factory.sol/UniswapV3Factory.json"
_DECIMALS = FunctionAbi(
    {
        "name": "decimals",
        "inputs": [],
        "outputs": [{"name": "", "type": "uint8"}],
        "stateMutability": "view",
    }
)


@dataclass(frozen=True)
class Plan:
    """All steps in order."""

    steps: tuple[Step, ...]
    markets: tuple[MarketNames, ...]
    owner: str
    owned: tuple[Ref, ...] = field(default=())
    """Contracts that end up with the owner."""


def make_plan(config: DeploymentConfig, reader: Reader) -> Plan:
    """The steps of a configuration on this chain.

    Raises ConfigError where the chain is another, or an address on it is no token or feed.
    """
    return _Planner(config, reader).plan()


class _Planner:
    def __init__(self, config: DeploymentConfig, reader: Reader) -> None:
        self.config = config
        self.reader = reader
        self.faults: list[str] = []
        self.owner = reader.address if config.owner == DEPLOYER else config.owner
        self.oracle = compile_contract("FundingOracle")
        self.factory = compile_contract("PoolFactory")
        self.reverse = compile_contract("ReversePool")
        self.forward = compile_contract("ForwardPool")
        self._known_decimals: dict[str, int] = {}

    def plan(self) -> Plan:
        if self.config.chain_id != self.reader.chain_id:
            raise ConfigError(
                "configuration",
                [
                    f"chain_id is {self.config.chain_id}, but the node is of chain "
                    f"{self.reader.chain_id}: choose the other network or the other file"
                ],
            )
        factory = self.config.uniswap.factory
        # a local chain that stands for a testnet has no Uniswap
        if factory and self.config.chain_id not in TEST_CHAINS and not self.reader.code(factory):
            self.faults.append(f"uniswap.factory: there is no code at {factory}: check the address")
        steps = list(self._steps())
        markets = tuple(self._names(symbol, each) for symbol, each in self.config.markets.items())
        if self.faults:
            raise ConfigError("configuration", self.faults)
        return Plan(tuple(steps), markets, self.owner, tuple(self._owned()))

    # -- steps --

    def _steps(self) -> Iterator[Step]:
        for name, token in self.config.test_tokens.items():
            if token.kind == "usdt_like":
                yield Deploy(name, compile_contract("UsdtLike"), (token.decimals,))
            else:
                args = (f"Test {name}"[:32], name[:16], token.decimals)
                yield Deploy(name, compile_contract("TestToken"), args)
        if self.config.uniswap.test:
            yield Deploy("UniswapV3Factory", load_npm_artifact(_UNISWAP_FACTORY))

        yield Deploy("Operators", compile_contract("Operators"))
        yield Deploy("ReversePool", self.reverse, blueprint=True)
        yield Deploy("ForwardPool", self.forward, blueprint=True)
        pools = ("ReversePool", "ForwardPool")
        yield Deploy(
            "PoolFactory",
            self.factory,
            (*map(Ref, pools), *map(InitcodeHash, pools), Ref("Operators")),
        )
        yield Deploy("Lens", compile_contract("Lens"))
        yield Deploy("Liquidator", compile_contract("Liquidator"))
        if not self.reader.code(MULTICALL3):
            yield Deploy("Multicall", compile_contract("Multicall"))
        yield Deploy(
            "UniswapV3Swapper",
            compile_contract("UniswapV3Swapper"),
            (self.config.uniswap.factory or Ref("UniswapV3Factory"),),
        )
        guardian = self.config.guardian
        yield self._on_factory("guardian", "set_guardian", (guardian,), Check("guardian", guardian))
        swapper = Ref("UniswapV3Swapper")
        yield self._on_factory(
            "swap adapter",
            "allow_swapper",
            (swapper, True),
            Check("is_swapper", True, (swapper,)),
        )
        yield Deploy(
            REWARDS.name,
            compile_contract("RewardStream"),
            (Ref("PoolFactory"), Ref("Operators")),
        )
        yield self._on_factory(
            "reward stream", "allow_hook", (REWARDS, True), Check("is_hook", True, (REWARDS,))
        )

        max_report_age = self.config.reporters.max_report_age
        yield Deploy("FundingOracle", self.oracle, (max_report_age,))
        yield self._reporters(Ref("FundingOracle"), self.oracle)
        for symbol, market in self.config.markets.items():
            yield self._feed(symbol, market)
        if any(market.vaults for market in self.config.markets.values()):
            yield from shared_steps()
        for symbol, market in self.config.markets.items():
            yield from self._market(symbol, market)
        if self.owner != self.reader.address:
            for target in self._owned():
                yield self._hand_over(target)

    def _market(self, symbol: str, market: Market) -> Iterator[Step]:
        names = self._names(symbol, market)
        price = market.price
        if price.signed is not None:
            feed = compile_contract("PriceFeed")
            yield Deploy(
                f"{symbol}.price_feed",
                feed,
                (
                    names.token,
                    f"{symbol} / USDT",
                    price.signed.max_report_age,
                    price.signed.spacing,
                    wad(price.signed.max_move),
                ),
            )
            yield self._reporters(Ref(f"{symbol}.price_feed"), feed)
            decimals = _SIGNED_FEED_DECIMALS
        else:
            decimals = self._decimals(f"markets.{symbol}.price.feed", names.price_feed)
        primary = (
            names.price_feed,
            price.max_age,
            scaled(price.min, decimals),
            scaled(price.max, decimals),
        )
        usdt_usd: tuple[Any, ...] = (ZERO_ADDRESS, 0, 0, 0)
        if price.usdt_usd is not None:
            source = price.usdt_usd
            digits = self._decimals(f"markets.{symbol}.price.usdt_usd.feed", source.feed)
            answers = (scaled(source.min, digits), scaled(source.max, digits))
            usdt_usd = (source.feed, source.max_age, *answers)
        twap: tuple[Any, ...] = (ZERO_ADDRESS, 0, 0)
        if price.twap is not None:
            twap = (price.twap.pool, price.twap.window, wad(price.twap.tolerance))
        yield Deploy(
            f"{symbol}.price_oracle",
            compile_contract("PriceOracle"),
            (names.token, names.usdt, primary, usdt_usd, twap),
        )

        usdt_decimals = self._decimals("usdt", names.usdt)
        token_decimals = self._decimals(f"markets.{symbol}.token", names.token)
        parameters = (
            names.token,
            names.usdt,
            symbol,
            Ref("FundingOracle"),
            names.price_oracle,
            REWARDS,
            _leg(market.reverse, usdt_decimals),
            _leg(market.forward, token_decimals),
        )
        yield Call(
            f"{symbol}: market",
            Ref("PoolFactory"),
            self.factory,
            "create_market",
            (parameters,),
            creates=((names.reverse.name, self.reverse), (names.forward.name, self.forward)),
        )
        yield from self._pool(names.reverse, market.reverse, usdt_decimals, token_decimals)
        yield from self._pool(names.forward, market.forward, token_decimals, token_decimals)
        adapter = (Ref("UniswapV3Swapper"), PackedRoute(names.route))
        yield self._on_factory(
            f"{symbol}: liquidation route",
            "set_liquidation_swapper",
            (names.forward, *adapter),
            Check("liquidation_swapper", adapter, (names.forward,)),
        )
        if market.venue is not None:
            yield from venue_steps(names, market.venue, usdt_decimals, self.reader.address)
        for name, vault in market.vaults.items():
            if vault.venue is not None:
                self.faults += [
                    f"markets.{symbol}.vaults.{name}: {fault}"
                    for fault in given_venue_faults(vault, self.reader, names.token, names.usdt)
                ]
            yield from vault_steps(names, name, vault, token_decimals, usdt_decimals)

    def _pool(self, pool: Ref, leg: Leg, decimals: int, token_decimals: int) -> Iterator[Call]:
        symbol, _, kind = pool.name.rpartition(".")
        artifact = self.reverse if kind == "reverse" else self.forward
        if scaled(leg.min_debt, decimals) < _LEAST_MIN_DEBT:
            self.faults.append(
                f"markets.{symbol}.{kind}.min_debt: has to be at least {_LEAST_MIN_DEBT} of the "
                f"asset's smallest units, which has {decimals} decimals"
            )
        caps = [cap_units(leg.supply_cap, decimals), cap_units(leg.debt_cap, decimals)]
        if isinstance(leg, ReverseLeg):
            caps.append(cap_units(leg.collateral_cap, token_decimals))
        else:
            assert isinstance(leg, ForwardLeg)
            caps.append(cap_units(leg.block_cap, token_decimals, NO_BLOCK_CAP))
        permille = int(leg.fee * 1000)
        yield self._on_factory(
            f"{symbol}: fee of the {kind} pool",
            "set_fee",
            (pool, permille),
            Check(
                "state",
                permille,
                part=lambda state: state.flags >> 8,
                target=pool,
                artifact=artifact,
            ),
        )
        yield self._on_factory(
            f"{symbol}: caps of the {kind} pool",
            "set_caps",
            (pool, *caps),
            Check("caps", tuple(caps), target=pool, artifact=artifact),
        )
        if leg.rewards:
            yield self._on_factory(
                f"{symbol}: rewards of the {kind} pool",
                "set_hook",
                (pool, REWARDS),
                Check("hook", REWARDS, target=pool, artifact=artifact),
            )

    def _feed(self, symbol: str, market: Market) -> Call:
        token = self._token(market.token)
        lower, upper = wad(market.funding.lower), wad(market.funding.upper)
        tau = market.funding.tau
        kept = (towards_zero(lower), towards_zero(upper), tau)
        return Call(
            f"{symbol}: funding feed",
            Ref("FundingOracle"),
            self.oracle,
            "set_feed",
            (token, lower, upper, tau),
            (Check("feed", kept, (token,), part=lambda found: found[3:6]),),
        )

    def _reporters(self, target: Ref, artifact: Artifact) -> Call:
        reporters = sorted(self.config.reporters.addresses, key=to_canonical_address)
        quorum = self.config.reporters.quorum
        return Call(
            f"{target.name}: reporters",
            target,
            artifact,
            "set_reporters",
            (reporters, quorum),
            (Check("reporters", reporters), Check("quorum", quorum)),
        )

    def _hand_over(self, target: Ref) -> Call:
        artifact = {"PoolFactory": self.factory, "FundingOracle": self.oracle}.get(target.name)
        artifact = artifact or compile_contract("PriceFeed")
        return Call(
            f"{target.name}: new owner",
            target,
            artifact,
            "transfer_ownership",
            (self.owner,),
            (Check("pending_owner", self.owner),),
        )

    def _on_factory(self, name: str, function: str, args: tuple[Any, ...], check: Check) -> Call:
        return Call(name, Ref("PoolFactory"), self.factory, function, args, (check,))

    def _owned(self) -> Iterator[Ref]:
        yield Ref("PoolFactory")
        yield Ref("FundingOracle")
        for symbol, market in self.config.markets.items():
            if market.price.signed is not None:
                yield Ref(f"{symbol}.price_feed")

    # -- tokens --

    def _names(self, symbol: str, market: Market) -> MarketNames:
        usdt, token = self._token(self.config.usdt), self._token(market.token)
        route: list[str | Ref | int] = [usdt]
        stops = [*map(self._token, market.route.via), token]
        for fee, stop in zip(market.route.fees, stops, strict=True):
            route += [int(fee * 1_000_000), stop]
        feed = market.price.feed or Ref(f"{symbol}.price_feed")
        venue = None if market.venue is None else Ref(f"{symbol}.venue")
        venues = {name: vault.venue or "" for name, vault in market.vaults.items()}
        return MarketNames(symbol, token, usdt, tuple(route), feed, venue, venues)

    def _token(self, name: str) -> str | Ref:
        return Ref(name) if name in self.config.test_tokens else name

    def _decimals(self, place: str, contract: str | Ref) -> int:
        """Decimals of a token or feed; a fault and 18 where there are none."""
        if isinstance(contract, Ref):
            return self.config.test_tokens[contract.name].decimals
        if contract not in self._known_decimals:
            try:
                answer = self.reader.call(contract, _DECIMALS.encode(()))
                self._known_decimals[contract] = int(_DECIMALS.decode(answer))
            except Exception:
                self._known_decimals[contract] = 18
                self.faults.append(
                    f"{place}: {contract} does not answer decimals() on chain "
                    f"{self.reader.chain_id}: check the address"
                )
        return self._known_decimals[contract]


def _leg(leg: Leg, decimals: int) -> tuple[int, ...]:
    """IPool.LegParameters."""
    return (
        wad(leg.base_rate),
        wad(leg.slope1),
        wad(leg.slope2),
        wad(leg.kink),
        wad(leg.rate_cap),
        wad(leg.pass_through),
        leg.funding_max_age,
        wad(leg.max_ltv),
        wad(leg.stressed_ltv),
        wad(leg.liquidation_ltv),
        wad(leg.bonus_base),
        wad(leg.bonus_slope),
        wad(leg.bonus_cap),
        wad(leg.max_slippage),
        scaled(leg.min_debt, decimals),
        wad(leg.reserve_floor),
    )
