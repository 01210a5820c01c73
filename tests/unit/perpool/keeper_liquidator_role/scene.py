"""A market with the real contracts and Uniswap on an in-process chain, and a liquidator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from perpool.build import Abi
from perpool.chain import Call
from perpool.deployment import Record
from perpool.evm import Account, Contract, Event, Evm, Receipt, Reverted
from perpool.keeper.chain.nodes import Head
from perpool.keeper.liquidator.ether import Ether
from perpool.keeper.liquidator.follow import Follower
from perpool.keeper.liquidator.pools import Pool, pools_of
from perpool.keeper.liquidator.profit import Policy
from perpool.keeper.liquidator.role import LiquidatorRole, Outcome
from perpool.keeper.metrics import Metrics
from perpool.keeper.model import Intent, Parcel
from tests.market import Market, deploy_market
from tests.pools import calm

GWEI = 10**9


class EvmNodes:
    """The in-process chain as the role sees nodes; it remembers the logs that pass by."""

    def __init__(self, evm: Evm, monkeypatch: pytest.MonkeyPatch) -> None:
        self.evm = evm
        self.chain_id = evm.chain_id
        self.base_fee, self.tip = 20 * GWEI, 0
        self.estimates = 0
        self.found: list[tuple[int, Event]] = []
        inner = evm.transact

        def transact(*args: Any, **named: Any) -> Receipt:
            receipt = inner(*args, **named)
            self.found += [(receipt.block_number, each) for each in receipt.logs]
            return receipt

        monkeypatch.setattr(evm, "transact", transact)

    def head(self) -> Head:
        number = self.evm.block_number
        return Head(number, f"0x{number}", self.evm.timestamp, self.base_fee)

    def block_hash(self, number: int) -> str | None:
        return f"0x{number}"

    def logs(
        self, addresses: Sequence[str], from_block: int, to_block: int
    ) -> list[tuple[int, Event]]:
        return [
            (block, event)
            for block, event in self.found
            if event.address in addresses and from_block <= block <= to_block
        ]

    def read(self, calls: Sequence[Call], head: Head | None = None) -> list[Any]:
        return [self._outcome(call) for call in calls]

    def _outcome(self, call: Call) -> Any:
        assert call.function is not None
        try:
            return call.function.decode(self.evm.call(call.to, call.data, static=False))
        except Reverted as error:
            return error
        except ValueError as error:
            return Reverted("", fault=str(error))

    def learn(self, abi: Abi) -> None:
        pass

    def fees(self, head: Head | None = None) -> tuple[int, int]:
        return self.base_fee, self.tip

    def estimate(self, to: str, data: bytes, sender: str) -> int:
        self.estimates += 1
        found = len(self.found)
        with self.evm.anchor():
            try:
                return int(self.evm.transact(to, data, sender=sender).gas_used)
            finally:
                del self.found[found:]


@dataclass
class Happened:
    """As an outbox's event."""

    name: str
    intents: tuple[Intent, ...]
    reason: str = ""


@dataclass
class Lane:
    """Mines what it is offered at once, or keeps it until it is told to."""

    evm: Evm
    multicall: Contract
    sender: Account
    waits: bool = False
    spoil: Callable[[], None] = lambda: None
    """What happens before a transaction is mined."""
    offered: list[tuple[tuple[Parcel, ...], int | None]] = field(default_factory=list)
    waiting: list[Parcel] = field(default_factory=list)

    @property
    def busy(self) -> bool:
        return bool(self.waiting)

    def offer(self, parcels: Sequence[Parcel], expires_at: int | None) -> None:
        assert not self.busy
        self.offered.append((tuple(parcels), expires_at))
        self.waiting = list(parcels)

    def step(self) -> list[Happened]:
        if self.waits or not self.waiting:
            return []
        # the newest block is complete
        self.evm.mine()
        self.spoil()
        parcels, self.waiting = self.waiting, []
        calls = [(each.to, True, each.data) for each in parcels]
        results = self.multicall.aggregate3(calls, sender=self.sender)
        return [
            Happened(
                "landed" if result.success else "reverted",
                parcel.intents,
                "" if result.success else "profit too small",
            )
            for parcel, result in zip(parcels, results, strict=True)
        ]


@dataclass
class Scene:
    """A market with lenders, a role, and what it is made of."""

    market: Market
    nodes: EvmNodes
    pools: list[Pool]
    follower: Follower
    multicall: Contract
    sender: Account
    receiver: Account
    metrics: Metrics = field(default_factory=Metrics)
    lane: Lane | None = None

    @property
    def evm(self) -> Evm:
        return self.market.evm

    def role(
        self, *, dry: bool = False, ether: Ether | None = None, **policy: Any
    ) -> LiquidatorRole:
        """With a policy that asks for a USDT, unless told otherwise."""
        self.lane = Lane(self.evm, self.multicall, self.sender)
        return LiquidatorRole(
            self.nodes,
            self.pools,
            self.follower,
            None if dry else self.lane,
            sender=self.sender.address,
            receiver=self.receiver.address,
            multicall=self.multicall.address,
            ether=ether or Ether(Decimal(3_000)),
            policy=Policy(**policy),
            metrics=self.metrics,
        )

    def tick(self, role: LiquidatorRole) -> Outcome:
        self.evm.mine()
        return role.tick(self.evm.timestamp)

    def outcomes(self, leg: str, outcome: str) -> float:
        """Of the metric."""
        return self.metrics.liquidations.labels(leg, outcome)._value.get()

    def received(self) -> tuple[int, int]:
        """(USDT, tokens) of the receiver."""
        market = self.market
        return market.usdt.balanceOf(self.receiver), market.token.balanceOf(self.receiver)


def open_market(evm: Evm, usdt: Contract | None = None) -> Market:
    """With lenders."""
    market = deploy_market(evm, usdt=usdt)
    market.lend("USDT lender", usdt=market.usd(3_000_000))
    market.lend("token lender", tokens=market.tokens(100_000))
    calm(market)
    return market


def scene_of(
    evm: Evm, nodes: EvmNodes, folder: Path, markets: Mapping[str, Market], start: int
) -> Scene:
    """Of several markets the first is the scene's own."""
    first = next(iter(markets.values()))
    record = Record(folder / "record.json", "local", evm.chain_id)
    for name, contract in (
        ("Liquidator", evm.deploy("Liquidator")),
        ("UniswapV3Swapper", first.swapper),
    ):
        record.contracts[name] = {"address": contract.address}
    for symbol, market in markets.items():
        record.markets[symbol] = {
            "token": market.token.address,
            "usdt": market.usdt.address,
            "price_oracle": market.oracle.address,
            "reverse": market.reverse.address,
            "forward": market.forward.address,
            "route": [market.usdt.address, market.pool.fee, market.token.address],
        }
    # each market here has a Uniswap of its own
    pools = [
        replace(each, swapper=markets[each.market].swapper.address)
        for each in pools_of(nodes, record)
    ]
    legs = {each.address: each.leg for each in pools}
    follower = Follower(nodes, legs, folder / "accounts.db", start=start, span=10**6)
    sender, receiver = evm.account("liquidator"), evm.account("receiver")
    multicall = evm.deploy("Multicall")
    return Scene(first, nodes, pools, follower, multicall, sender, receiver)


def borrow(
    scene: Scene, name: str = "borrower", *, tokens: float = 1_000, ltv: float = 69
) -> Account:
    market = scene.market
    usdt = market.usd(tokens * ltv / 10)
    return market.borrow(name, collateral=market.tokens(tokens), usdt=usdt)


def short(
    scene: Scene, name: str = "shorter", *, tokens: float = 1_000, margin: float | None = None
) -> Account:
    """At an LTV of 50 % and a price of 10, unless told otherwise."""
    market = scene.market
    usdt = market.usd(tokens * 10 if margin is None else margin)
    return market.short(name, margin=usdt, tokens=market.tokens(tokens))


def said(logs: list[Any], event: str) -> list[Any]:
    return [each for each in logs if each["event"] == event]


def donate(scene: Scene) -> None:
    """As much as any of these liquidations brings, of both tokens."""
    market = scene.market
    market.usdt.mint(scene.pools[0].liquidator, market.usd(1_000))
    market.token.mint(scene.pools[0].liquidator, market.tokens(100))
