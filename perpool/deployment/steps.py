"""What a plan is made of: contracts to deploy, calls that set them up, and names for both.

Steps name each other's contracts by `Ref`, so that a whole plan exists, and can be printed, before
the first address is known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol

from eth_utils import keccak, to_checksum_address

from perpool.build import Artifact
from perpool.uniswap import encode_v3_route

NO_CAP = 2**128 - 1
NO_BLOCK_CAP = 2**112 - 1
WAD = 10**18
_RATE_UNIT = 10**9


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
class Created:
    """A contract that another's constructor creates, and the other's view of its address."""

    name: str
    artifact: Artifact
    view: str


@dataclass(frozen=True)
class Deploy:
    """A contract with its constructor's arguments, or a blueprint of one."""

    name: str
    artifact: Artifact
    args: tuple[Any, ...] = ()
    blueprint: bool = False
    creates: tuple[Created, ...] = ()


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
    """A transaction to a contract of the plan. Without checks it is sent unless it is recorded."""

    name: str
    target: Ref
    artifact: Artifact
    """Of the target."""
    function: str
    args: tuple[Any, ...]
    checks: tuple[Check, ...] = ()
    creates: tuple[tuple[str, Artifact], ...] = ()
    """Contracts that the call creates, at the addresses that `predict_market` gives."""
    authority: Ref | None = None
    """Whose owner has to send it, where that is not the target's."""
    by_anyone: bool = False


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
    venue: Ref | None = None
    """Ours, where there is one."""
    venues: Mapping[str, str] = field(default_factory=dict)
    """Name of each vault -> address of a venue of others, or "" for the market's."""

    @property
    def price_oracle(self) -> Ref:
        return Ref(f"{self.symbol}.price_oracle")

    @property
    def reverse(self) -> Ref:
        return Ref(f"{self.symbol}.reverse")

    @property
    def forward(self) -> Ref:
        return Ref(f"{self.symbol}.forward")

    def vault(self, name: str) -> Ref:
        """A carry vault."""
        return Ref(f"{self.symbol}.{name}")

    def strategy(self, name: str) -> Ref:
        """A carry vault's strategy."""
        return Ref(f"{self.symbol}.{name}.strategy")

    def venue_of(self, name: str) -> str | Ref | None:
        """Where a carry vault hedges."""
        return self.venues[name] or self.venue


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


def wad(fraction: Decimal) -> int:
    """A fraction in WAD."""
    return int(fraction * WAD)


def towards_zero(rate_wad: int) -> int:
    """A rate as contracts keep it, in 1e-9."""
    units = abs(rate_wad) // _RATE_UNIT * _RATE_UNIT
    return units if rate_wad >= 0 else -units


def scaled(amount: Decimal, decimals: int) -> int:
    """Whole tokens in the token's smallest unit."""
    return int(amount.scaleb(decimals))


def cap_units(amount: Decimal | None, decimals: int, none: int = NO_CAP) -> int:
    """A cap in the token's smallest unit, None as what stands for no cap."""
    return none if amount is None else min(scaled(amount, decimals), none)
