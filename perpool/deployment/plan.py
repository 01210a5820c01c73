"""A configuration as steps in order: contracts to deploy, and calls that set them up.

Steps name each other's contracts by `Ref`, so that the whole plan exists, and can be printed,
before the first address is known. Whether a call has been made already is asked of the chain by its
`Check`s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol

from eth_utils import keccak, to_canonical_address, to_checksum_address

from perpool.build import Artifact, compile_contract, load_npm_artifact
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
from perpool.evm.codec import FunctionAbi
from perpool.settings import ConfigError
from perpool.uniswap import encode_v3_route

ZERO_ADDRESS = "0x" + 40 * "0"
NO_CAP = 2**128 - 1
NO_BLOCK_CAP = 2**112 - 1
WAD = 10**18
_RATE_UNIT = 10**9
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


class Reader(Protocol):
    """What a plan asks of the chain."""

    @property
    def chain_id(self) -> int: ...

    @property
    def address(self) -> str:
        """The deployer."""

    def call(self, to: str, data: bytes) -> bytes:
        """The result of a call; any exception where it fails."""

    def code(self, address: str) -> bytes: ...


@dataclass(frozen=True)
class Ref:
    """The address of a contract of the plan."""

    name: str

    def __str__(self) -> str:
        return f"<{self.name}>"


@dataclass(frozen=True)
class InitcodeHash:
    """keccak256 of the init code in a blueprint of the plan."""

    name: str

    def __str__(self) -> str:
        return f"<init code hash of {self.name}>"


@dataclass(frozen=True)
class Deploy:
    """A contract with its constructor's arguments, or a blueprint of one."""

    name: str
    artifact: Artifact
    args: tuple[Any, ...] = ()
    blueprint: bool = False


@dataclass(frozen=True)
class Check:
    """A view that has a certain value once a call has been made.

    It is asked of the call's target, or of `target`, a contract of another `artifact`. `part` takes
    from its result what is compared with `value`.
    """

    function: str
    value: Any
    args: tuple[Any, ...] = ()
    part: Callable[[Any], Any] = lambda found: found
    target: Ref | None = None
    artifact: Artifact | None = None


@dataclass(frozen=True)
class Call:
    """A transaction to a contract of the plan."""

    name: str
    target: Ref
    artifact: Artifact
    """Of the target."""
    function: str
    args: tuple[Any, ...]
    checks: tuple[Check, ...] = ()
    creates: tuple[tuple[str, Artifact], ...] = ()
    """Contracts that the call creates, at the addresses that `predict_market` gives."""


Step = Deploy | Call


@dataclass(frozen=True)
class MarketNames:
    """How the plan calls a market's contracts, for the record."""

    symbol: str
    token: str | Ref
    usdt: str | Ref
    route: tuple[str | Ref | int, ...]
    """USDT, fee in millionths, ..., token."""
    price_feed: str | Ref

    @property
    def price_oracle(self) -> Ref:
        return Ref(f"{self.symbol}.price_oracle")

    @property
    def reverse(self) -> Ref:
        return Ref(f"{self.symbol}.reverse")

    @property
    def forward(self) -> Ref:
        return Ref(f"{self.symbol}.forward")


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

        max_report_age = self.config.reporters.max_report_age
        yield Deploy("FundingOracle", self.oracle, (max_report_age,))
        yield self._reporters(Ref("FundingOracle"), self.oracle)
        for symbol, market in self.config.markets.items():
            yield self._feed(symbol, market)
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
                    _wad(price.signed.max_move),
                ),
            )
            yield self._reporters(Ref(f"{symbol}.price_feed"), feed)
            decimals = _SIGNED_FEED_DECIMALS
        else:
            decimals = self._decimals(f"markets.{symbol}.price.feed", names.price_feed)
        primary = (
            names.price_feed,
            price.max_age,
            _scaled(price.min, decimals),
            _scaled(price.max, decimals),
        )
        usdt_usd: tuple[Any, ...] = (ZERO_ADDRESS, 0, 0, 0)
        if price.usdt_usd is not None:
            source = price.usdt_usd
            digits = self._decimals(f"markets.{symbol}.price.usdt_usd.feed", source.feed)
            answers = (_scaled(source.min, digits), _scaled(source.max, digits))
            usdt_usd = (source.feed, source.max_age, *answers)
        twap: tuple[Any, ...] = (ZERO_ADDRESS, 0, 0)
        if price.twap is not None:
            twap = (price.twap.pool, price.twap.window, _wad(price.twap.tolerance))
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

    def _pool(self, pool: Ref, leg: Leg, decimals: int, token_decimals: int) -> Iterator[Call]:
        symbol, _, kind = pool.name.rpartition(".")
        artifact = self.reverse if kind == "reverse" else self.forward
        if _scaled(leg.min_debt, decimals) < _LEAST_MIN_DEBT:
            self.faults.append(
                f"markets.{symbol}.{kind}.min_debt: has to be at least {_LEAST_MIN_DEBT} of the "
                f"asset's smallest units, which has {decimals} decimals"
            )
        caps = [_cap(leg.supply_cap, decimals), _cap(leg.debt_cap, decimals)]
        if isinstance(leg, ReverseLeg):
            caps.append(_cap(leg.collateral_cap, token_decimals))
        else:
            assert isinstance(leg, ForwardLeg)
            caps.append(_cap(leg.block_cap, token_decimals, NO_BLOCK_CAP))
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

    def _feed(self, symbol: str, market: Market) -> Call:
        token = self._token(market.token)
        lower, upper = _wad(market.funding.lower), _wad(market.funding.upper)
        tau = market.funding.tau
        kept = (_towards_zero(lower), _towards_zero(upper), tau)
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
        return MarketNames(symbol, token, usdt, tuple(route), feed)

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


@dataclass(frozen=True)
class PackedRoute:
    """A route of which tokens may be of the plan."""

    stops: tuple[str | Ref | int, ...]

    def __str__(self) -> str:
        return " ".join(
            f"-{each / 10_000:g}%-" if isinstance(each, int) else str(each) for each in self.stops
        )


def resolve(value: Any, address_of: Callable[[str], str], hash_of: Callable[[str], bytes]) -> Any:
    """A step's arguments with addresses and hashes in place of what stands for them."""
    if isinstance(value, Ref):
        return to_checksum_address(address_of(value.name))
    if isinstance(value, InitcodeHash):
        return hash_of(value.name)
    if isinstance(value, PackedRoute):
        stops = [resolve(each, address_of, hash_of) for each in value.stops]
        return encode_v3_route(stops[::2], stops[1::2])
    if isinstance(value, list | tuple):
        return type(value)(resolve(each, address_of, hash_of) for each in value)
    return value


def describe(step: Step) -> str:
    """One line for people."""
    args = ", ".join(_shown(each) for each in step.args)
    if isinstance(step, Deploy):
        if step.blueprint:
            return f"deploy {step.artifact.name} as a blueprint"
        return f"deploy {step.artifact.name}({args})"
    return f"{step.target}.{step.function}({args})"


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"({', '.join(_shown(each) for each in value)})"
    if value in (NO_CAP, NO_BLOCK_CAP):
        return "no cap"
    return str(value)


def initcode_hash(artifact: Artifact) -> bytes:
    """keccak256 of a contract's init code."""
    return bytes(keccak(artifact.initcode))


def _leg(leg: Leg, decimals: int) -> tuple[int, ...]:
    """IPool.LegParameters."""
    return (
        _wad(leg.base_rate),
        _wad(leg.slope1),
        _wad(leg.slope2),
        _wad(leg.kink),
        _wad(leg.rate_cap),
        _wad(leg.pass_through),
        leg.funding_max_age,
        _wad(leg.max_ltv),
        _wad(leg.stressed_ltv),
        _wad(leg.liquidation_ltv),
        _wad(leg.bonus_base),
        _wad(leg.bonus_slope),
        _wad(leg.bonus_cap),
        _wad(leg.max_slippage),
        _scaled(leg.min_debt, decimals),
        _wad(leg.reserve_floor),
    )


def _wad(fraction: Decimal) -> int:
    return int(fraction * WAD)


def _towards_zero(wad: int) -> int:
    units = abs(wad) // _RATE_UNIT * _RATE_UNIT
    return units if wad >= 0 else -units


def _scaled(amount: Decimal, decimals: int) -> int:
    return int(amount.scaleb(decimals))


def _cap(amount: Decimal | None, decimals: int, none: int = NO_CAP) -> int:
    return none if amount is None else min(_scaled(amount, decimals), none)


__all__: Sequence[str] = [
    "Call",
    "Check",
    "Deploy",
    "InitcodeHash",
    "MarketNames",
    "PackedRoute",
    "Plan",
    "Reader",
    "Ref",
    "Step",
    "describe",
    "initcode_hash",
    "make_plan",
    "resolve",
]
