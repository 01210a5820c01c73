"""The pools of a deployment as the liquidator needs them, and who in them may be liquidated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from perpool.deployment import Record
from perpool.evm import Reverted
from perpool.keeper.chain.contracts import KeeperError, bind, value
from perpool.keeper.chain.contracts import values as all_values
from perpool.keeper.chain.follow import Reader
from perpool.keeper.chain.nodes import Head
from perpool.keeper.liquidator.index import Leg, Moment, PositionIndex, values
from perpool.keeper.model import Intent, Position
from perpool.reference.interest import LegParameters
from perpool.reference.wad import WAD
from perpool.uniswap import encode_v3_route, reverse_v3_route


@dataclass(frozen=True, slots=True)
class Pool:
    """One pool of a market."""

    market: str
    address: str
    leg: Leg
    numbers: LegParameters
    token: str
    usdt: str
    usdt_unit: int
    """Smallest units in a USDT."""
    price_oracle: str
    liquidator: str
    """The contract."""
    swapper: str
    route: bytes
    """From collateral to asset through the swapper."""


Found = tuple[Pool, Moment, Position]
"""Somebody who may be liquidated, and by what."""


def pools_of(nodes: Reader, record: Record, symbols: Sequence[str] | None = None) -> list[Pool]:
    """Both pools of all markets of a deployment, or of some. Raises KeeperError."""
    addresses = {name: record.address(name) for name in ("Liquidator", "UniswapV3Swapper")}
    missing = [name for name, address in addresses.items() if address is None]
    if missing:
        raise KeeperError(f"{record.path} has no {' and no '.join(missing)}: deploy it first")
    markets = {each: record.markets[each] for each in symbols or record.markets}
    calls = [
        call
        for entry in markets.values()
        for call in (
            bind("ReversePool", entry["reverse"], "config"),
            bind("ForwardPool", entry["forward"], "config"),
            bind("TestToken", entry["usdt"], "decimals"),
        )
    ]
    answers = iter(all_values(nodes.read(calls)))
    pools = []
    for symbol, entry in markets.items():
        reverse, forward, decimals = next(answers), next(answers), next(answers)
        route = encode_v3_route(entry["route"][::2], entry["route"][1::2])
        for leg, config, way in (
            (Leg.REVERSE, reverse, reverse_v3_route(route)),
            (Leg.FORWARD, forward, route),
        ):
            pools.append(
                Pool(
                    market=symbol,
                    address=entry[leg.value],
                    leg=leg,
                    numbers=LegParameters(*config.leg),
                    token=entry["token"],
                    usdt=entry["usdt"],
                    usdt_unit=10**decimals,
                    price_oracle=entry["price_oracle"],
                    liquidator=str(addresses["Liquidator"]),
                    swapper=str(addresses["UniswapV3Swapper"]),
                    route=way,
                )
            )
    return pools


def first_block(record: Record, symbols: Sequence[str] | None = None) -> int:
    """Before which there was none of the pools, 0 where the record does not say."""
    names = [f"{each}.{leg.value}" for each in symbols or record.markets for leg in Leg]
    blocks = [record.contracts.get(each, {}).get("block") for each in names]
    return min((each or 0 for each in blocks), default=0)


def read_back(nodes: Reader) -> Callable[[Sequence[Intent], Head], list[Intent]]:
    """What an `Outbox` takes as `unmet`: liquidations after which the account owes no less."""

    def unmet(intents: Sequence[Intent], head: Head) -> list[Intent]:
        subjects = [each.subject.split("/") for each in intents]
        calls = [bind("ReversePool", pool, "debt_shares_of", who) for pool, who in subjects]
        answers = nodes.read(calls, head)
        return [
            intent
            for intent, shares in zip(intents, answers, strict=True)
            if isinstance(shares, Reverted) or shares >= int(intent.value)
        ]

    return unmet


def liquidatable(
    pools: Sequence[Pool],
    indexes: Mapping[str, PositionIndex],
    answers: Sequence[Any],
    block: int,
) -> tuple[list[Found], dict[str, str]]:
    """Everybody who may be liquidated, the highest LTV first, and why markets have no price.

    `answers` are a liquidation price and an accrued state for each pool.
    """
    found: list[Found] = []
    silent: dict[str, str] = {}
    for pool, price, state in zip(pools, answers[::2], answers[1::2], strict=True):
        if isinstance(price, Reverted):
            silent[pool.market] = str(price)
            continue
        assets, shares = value(state).debt_assets, value(state).debt_shares
        moment = Moment(price, assets, shares, pool.numbers.liquidation_ltv, block)
        found += [(pool, moment, each) for each in indexes[pool.address].liquidatable(moment)]
    return sorted(found, key=_ltv, reverse=True), silent


def subject_of(pool: Pool, position: Position) -> str:
    """pool/account, as intents and logs name it."""
    return f"{pool.address}/{position.account}"


def _ltv(found: Found) -> int:
    pool, moment, position = found
    debt, collateral = values(pool.leg, position, moment)
    return debt * WAD // max(collateral, 1)
