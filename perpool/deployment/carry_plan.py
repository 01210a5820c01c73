"""The part of a plan that is about carry vaults: a market's venue of ours, and its vaults."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from eth_utils import to_checksum_address

from perpool.build import compile_contract
from perpool.deployment.carry_config import Vault, Venue, VenueTerms
from perpool.deployment.encoding import function
from perpool.deployment.steps import (
    Call,
    Check,
    Created,
    Deploy,
    MarketNames,
    PackedRoute,
    Reader,
    Ref,
    Step,
    cap_units,
    scaled,
    wad,
)

REWARDS = Ref("RewardStream")
FACTORY = Ref("PoolFactory")


def shared_steps() -> Iterator[Step]:
    """What all vaults share."""
    yield Deploy("CarryStrategy", compile_contract("CarryStrategy"), blueprint=True)
    yield Deploy("CarryLens", compile_contract("CarryLens"))


def venue_steps(
    names: MarketNames, venue: Venue, usdt_decimals: int, deployer: str
) -> Iterator[Step]:
    """A venue of ours and its first liquidity, which is the deployer's."""
    target, artifact = Ref(f"{names.symbol}.venue"), compile_contract("PerpVenue")
    parameters = (
        wad(venue.initial_margin),
        wad(venue.maintenance_margin),
        wad(venue.fee),
        wad(venue.fee_to_insurance),
        wad(venue.penalty),
        wad(venue.penalty_to_caller),
        wad(venue.largest_long_gain),
        scaled(venue.exposure_cap, usdt_decimals),
        venue.funding_max_age,
        venue.adl_horizon,
        venue.delay_blocks,
    )
    oracles = (names.price_oracle, Ref("FundingOracle"))
    yield Deploy(target.name, artifact, (names.token, names.usdt, *oracles, parameters))

    amount = scaled(venue.liquidity, usdt_decimals)
    if amount == 0:
        return
    assert isinstance(names.usdt, Ref)
    usdt = compile_contract("UsdtLike")
    yield Call(
        f"{names.symbol}: mint the venue's liquidity",
        names.usdt,
        usdt,
        "mint",
        (deployer, amount),
        (Check("balanceOf", amount, (deployer,)),),
        by_anyone=True,
    )
    yield Call(
        f"{names.symbol}: approve the venue's liquidity",
        names.usdt,
        usdt,
        "approve",
        (target, amount),
        (Check("allowance", amount, (deployer, target)),),
        by_anyone=True,
    )
    yield Call(
        f"{names.symbol}: liquidity of the venue",
        target,
        artifact,
        "add_liquidity",
        (amount, deployer),
        (Check("shares_of", True, (deployer,), part=bool),),
        by_anyone=True,
    )


def vault_steps(
    names: MarketNames, name: str, vault: Vault, token_decimals: int, usdt_decimals: int
) -> Iterator[Step]:
    """A vault, which takes deposits once the last of them is done."""
    symbol, target = names.symbol, names.vault(name)
    artifact = compile_contract("CarryVault")
    parameters = vault.parameters
    yield Deploy(
        target.name,
        artifact,
        (
            Ref("CarryStrategy"),
            names.reverse,
            names.forward,
            names.venue_of(name),
            tuple(getattr(parameters, each) for each in parameters.__dataclass_fields__),
            f"Perpool {symbol} {name}",
            f"pc{symbol}-{name}",
        ),
        creates=(
            Created(names.strategy(name).name, compile_contract("CarryStrategy"), "strategy"),
        ),
    )
    adapter = (Ref("UniswapV3Swapper"), PackedRoute(names.route[::-1]), PackedRoute(names.route))
    strategy = names.strategy(name)
    yield Call(
        f"{symbol}: routes of the vault {name}",
        target,
        artifact,
        "set_swapper",
        adapter,
        (Check("swapper", adapter, target=strategy, artifact=compile_contract("CarryStrategy")),),
        authority=FACTORY,
    )
    if vault.rewards:
        yield Call(
            f"{symbol}: rewards of the vault {name}",
            target,
            artifact,
            "set_hook",
            (REWARDS,),
            (Check("hook", REWARDS),),
            authority=FACTORY,
        )
    limits = (cap_units(vault.cap, token_decimals), scaled(vault.max_trade, usdt_decimals))
    yield Call(
        f"{symbol}: limits of the vault {name}",
        target,
        artifact,
        "set_limits",
        limits,
        (Check("limits", limits),),
        authority=FACTORY,
    )


def given_venue_faults(
    vault: Vault, reader: Reader, token: str | Ref, usdt: str | Ref
) -> Iterator[str]:
    """What does not fit between a vault and the venue of others that it names, by the chain."""

    def ask(name: str) -> Any:
        view = function(compile_contract("PerpVenue").abi, name)
        return view.decode(reader.call(str(vault.venue), view.encode(())))

    try:
        traded = to_checksum_address(ask("token")), to_checksum_address(ask("usdt"))
        terms = VenueTerms(ask("initial_margin"), ask("maintenance_margin"), ask("fee"))
    except Exception:
        yield (
            f"{vault.venue} does not answer as a perp venue (IPerpVenue) on chain "
            f"{reader.chain_id}: check the address"
        )
        return
    # the addresses of test tokens are not known yet
    pairs = zip((token, usdt), traded, strict=True)
    if any(isinstance(ours, str) and ours != its for ours, its in pairs):
        yield f"the venue {vault.venue} is of {traded[0]} in {traded[1]}, not of this market"
    yield from vault.venue_faults(terms)
