"""The liquidator's role on the in-process EVM, with the real contracts and Uniswap."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from structlog.testing import capture_logs

from perpool.build import Abi
from perpool.chain import Call
from perpool.deployment import Record
from perpool.evm import Account, Contract, Event, Evm, Receipt, Reverted
from perpool.keeper.chain.contracts import KeeperError
from perpool.keeper.chain.nodes import Head
from perpool.keeper.liquidator.ether import Ether
from perpool.keeper.liquidator.follow import Follower
from perpool.keeper.liquidator.index import Leg
from perpool.keeper.liquidator.pools import Pool, first_block, pools_of, read_back
from perpool.keeper.liquidator.profit import LEAST_GAS, SIZES, Policy, Way
from perpool.keeper.liquidator.role import LiquidatorRole, Outcome
from perpool.keeper.metrics import Metrics
from perpool.keeper.model import Intent, Parcel
from perpool.uniswap import reverse_v3_route
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


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    with capture_logs() as lines:
        yield lines


@pytest.fixture(autouse=True)
def _quiet(logs: list[Any]) -> None:
    """Nothing is printed."""


@pytest.fixture
def scene(evm: Evm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """Prices of 10 USDT; the borrower is unhealthy from 8.62 on, the shorter from 16 on."""
    nodes = EvmNodes(evm, monkeypatch)
    start = evm.block_number
    return scene_of(evm, nodes, tmp_path, {"TKN": open_market(evm)}, start)


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


# -- what it is made of --


def test_pools_of__both_legs_with_their_routes(scene: Scene) -> None:
    market = scene.market
    reverse, forward = scene.pools
    assert (reverse.leg, forward.leg) == (Leg.REVERSE, Leg.FORWARD)
    assert reverse.route == market.sell_route
    assert forward.route == market.buy_route == reverse_v3_route(reverse.route)
    assert forward.numbers.min_debt == market.forward_leg.min_debt
    assert {each.usdt_unit for each in scene.pools} == {10**6}


def test_pools_of__without_a_liquidator(scene: Scene, tmp_path: Path) -> None:
    record = Record(tmp_path / "record.json", "local", 1)
    with pytest.raises(KeeperError, match="no Liquidator and no UniswapV3Swapper"):
        pools_of(scene.nodes, record)


def test_first_block__of_the_oldest_pool(tmp_path: Path) -> None:
    record = Record(tmp_path / "record.json", "local", 1)
    assert first_block(record) == 0
    for name, block in (("ADA.reverse", 30), ("ADA.forward", 30), ("XRP.reverse", 20)):
        record.contracts[name] = {"address": "", "block": block}
    record.contracts["XRP.forward"] = {"address": "", "block": 21}
    record.markets = {"ADA": {}, "XRP": {}}
    assert first_block(record) == 20
    assert first_block(record, ["ADA"]) == 30
    # one that was found on the chain, and not sent by the run that recorded it
    record.contracts["XRP.forward"]["block"] = None
    assert first_block(record) == 0


# -- what it does --


def test_tick__nobody(scene: Scene) -> None:
    borrow(scene)
    short(scene)
    assert scene.tick(scene.role()) == Outcome(behind=0)
    assert scene.metrics.accounts.labels(scene.market.reverse.address)._value.get() == 1


def test_tick__a_borrower_by_delivery(scene: Scene) -> None:
    borrower = borrow(scene)
    scene.market.set_price("8.4")
    debt = scene.market.reverse.debt_of(borrower)
    outcome = scene.tick(scene.role())
    [choice] = outcome.chosen
    assert outcome.found == 1
    assert choice.appraisal.proposal.way is Way.DELIVERY
    assert scene.market.reverse.debt_of(borrower) < debt
    usdt, tokens = scene.received()
    assert tokens == 0
    gained = Decimal(usdt) / 10**6
    assert gained == pytest.approx(
        choice.appraisal.profit + choice.appraisal.gas_cost, rel=Decimal("0.001")
    )
    assert scene.outcomes("reverse", "landed") == 1
    # and he is healthy
    assert scene.tick(scene.role()).found == 0


def test_tick__a_shorter_by_delivery(scene: Scene) -> None:
    """The bonus is worth more than the tip."""
    shorter = short(scene)
    scene.market.set_price("16.4")
    debt = scene.market.forward.debt_of(shorter)
    [choice] = scene.tick(scene.role()).chosen
    assert choice.appraisal.proposal.way is Way.DELIVERY
    assert scene.market.forward.debt_of(shorter) < debt
    usdt, tokens = scene.received()
    assert (usdt, tokens > 0) == (0, True)


def test_tick__a_shorter_by_purchase(scene: Scene) -> None:
    """Where Uniswap is so far above the oracle that no more is left of the bonus than the tip.

    That takes less gas.
    """
    short(scene, tokens=300)
    scene.market.set_price("16.4")
    scene.market.pool.swap_to(Decimal("17.205"))
    outcome = scene.tick(scene.role())
    [choice] = outcome.chosen
    assert choice.appraisal.proposal.way is Way.PURCHASE
    usdt, tokens = scene.received()
    assert (usdt > 0, tokens) == (True, 0)
    assert scene.outcomes("forward", "landed") == 1


def test_tick__several_in_one_transaction(scene: Scene) -> None:
    """The most unhealthy first."""
    for number, ltv in enumerate((66, 69, 67)):
        borrow(scene, f"borrower {number}", ltv=ltv)
    scene.market.set_price("8.2")
    outcome = scene.tick(scene.role())
    assert [each.candidate.position.account for each in outcome.chosen] == [
        scene.evm.account(f"borrower {number}").address for number in (1, 2, 0)
    ]
    assert scene.lane is not None
    [(parcels, expires_at)] = scene.lane.offered
    assert len(parcels) == 3
    assert expires_at is not None
    gained = sum(each.appraisal.profit + each.appraisal.gas_cost for each in outcome.chosen)
    assert scene.received() == (pytest.approx(int(gained * 10**6), rel=1e-4), 0)
    assert scene.outcomes("reverse", "landed") == 3


def test_tick__no_more_than_pay_one_after_the_other(scene: Scene) -> None:
    """Alone each would pay; but every sale lowers the price for the next."""
    for number in range(3):
        borrow(scene, f"borrower {number}", tokens=60_000)
    scene.market.set_price("8.4")
    outcome = scene.tick(scene.role())
    assert outcome.found == 3
    assert 1 <= len(outcome.chosen) < 3
    assert outcome.rested == {}
    assert scene.outcomes("reverse", "landed") == len(outcome.chosen)


def test_tick__at_most_so_many_at_once(scene: Scene) -> None:
    for number in range(9):
        borrow(scene, f"borrower {number}", tokens=500)
    scene.market.set_price("8.2")
    role = scene.role()
    first = scene.tick(role)
    # two balances around each call, in 24 calls
    assert (first.found, len(first.chosen)) == (9, 7)
    second = scene.tick(role)
    assert (second.found, len(second.chosen)) == (2, 2)


def test_tick__a_crash_of_twelve_markets(
    evm: Evm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logs: list[Any]
) -> None:
    """Some in each transaction until none is left, and what is put off is said."""
    nodes = EvmNodes(evm, monkeypatch)
    start = evm.block_number
    markets: dict[str, Market] = {}
    for number in range(12):
        usdt = next((each.usdt for each in markets.values()), None)
        markets[f"T{number:02}"] = market = open_market(evm, usdt)
        market.borrow(collateral=market.tokens(1_000), usdt=market.usd(6_900))
    scene = scene_of(evm, nodes, tmp_path, markets, start)
    for market in markets.values():
        market.set_price("8.4")
    role = scene.role()
    chosen = []
    while (outcome := scene.tick(role)).found:
        assert outcome.found == 12 - len(chosen)
        assert outcome.chosen
        chosen += [each.candidate.pool.market for each in outcome.chosen]
    assert sorted(chosen) == list(markets)
    assert scene.outcomes("reverse", "landed") == 12
    [first, *_] = [each for each in logs if each["event"] == "put off"]
    assert first["accounts"] == 12 - 5


def test_tick__the_first_where_a_row_cannot_be_tried(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node has less gas for a call than the row takes."""
    for number in range(2):
        borrow(scene, f"borrower {number}")
    scene.market.set_price("8.4")
    role = scene.role()
    role.trials = MagicMock(wraps=role.trials)
    role.trials.in_a_row = lambda attempts, head: ["out of gas"] * len(attempts)
    outcome = scene.tick(role)
    assert (outcome.found, len(outcome.chosen)) == (2, 1)
    assert scene.outcomes("reverse", "landed") == 1


def test_tick__a_part_where_the_market_is_too_shallow_for_all(scene: Scene) -> None:
    borrower = borrow(scene, tokens=150_000)
    scene.market.set_price("8.4")
    [choice] = scene.tick(scene.role()).chosen
    assert choice.appraisal.proposal.max_repay < 2**255
    assert choice.appraisal.profit > 1
    assert scene.market.reverse.debt_of(borrower) > 0
    assert scene.outcomes("reverse", "landed") == 1


def test_tick__sends_no_more_while_one_waits(scene: Scene) -> None:
    borrow(scene)
    scene.market.set_price("8.4")
    role = scene.role()
    assert scene.lane is not None
    scene.lane.waits = True
    assert len(scene.tick(role).chosen) == 1
    assert scene.tick(role) == Outcome(behind=0)
    scene.lane.waits = False
    assert scene.tick(role).found == 0
    assert len(scene.lane.offered) == 1


def test_tick__dry_run(scene: Scene, logs: list[Any]) -> None:
    borrower = borrow(scene)
    scene.market.set_price("8.4")
    shares = scene.market.reverse.debt_shares_of(borrower)
    role = scene.role(dry=True)
    assert len(scene.tick(role).chosen) == 1
    assert scene.market.reverse.debt_shares_of(borrower) == shares
    [said] = [each for each in logs if each["event"] == "would liquidate"]
    assert (said["leg"], said["account"], said["way"]) == (
        "reverse",
        borrower.address,
        "delivery",
    )
    # and does not say it again in the next block
    assert scene.tick(role).chosen == ()


# -- what does not pay --


def test_tick__gas_is_too_dear(scene: Scene, logs: list[Any]) -> None:
    borrow(scene, tokens=50)
    scene.market.set_price("8.4")
    outcome = scene.tick(scene.role())
    assert outcome.chosen == ()
    [reason] = outcome.rested.values()
    assert reason.startswith("brings -")
    assert scene.outcomes("reverse", "unprofitable") == 1
    assert [each["reason"] for each in logs if each["event"] == "left alone"] == [reason]
    # and is not any more
    scene.nodes.base_fee = GWEI // 100
    scene.evm.mine(5)
    assert len(scene.tick(scene.role()).chosen) == 1


def test_tick__less_than_the_policy_asks_for(scene: Scene) -> None:
    borrow(scene)
    scene.market.set_price("8.4")
    with scene.evm.anchor():
        [choice] = scene.tick(scene.role()).chosen
    profit = choice.appraisal.profit
    more = scene.role(min_profit=profit + 10)
    assert scene.tick(more).chosen == ()


def test_tick__a_failure_is_tried_again_later_and_later(scene: Scene, logs: list[Any]) -> None:
    """Uniswap has fallen far below the oracle: nobody could pay."""
    borrow(scene)
    scene.market.set_price("8.4")
    scene.market.pool.swap_to(Decimal(7))
    role = scene.role()
    tried = [bool(scene.tick(role).rested) for _ in range(16)]
    assert [number for number, each in enumerate(tried) if each] == [0, 2, 6, 14]
    [line] = [each for each in logs if each["event"] == "left alone"]
    assert line["reason"] == "insufficient allowance"
    # and at once when the price has moved
    scene.market.set_price("8.3", move_uniswap=False)
    assert scene.tick(role).rested
    assert not scene.tick(role).rested


def test_tick__a_changed_position_is_tried_at_once(scene: Scene) -> None:
    borrower = borrow(scene)
    scene.market.set_price("8.4")
    scene.market.pool.swap_to(Decimal(7))
    scene.market.give(borrower, tokens=1)
    role = scene.role()
    tried = [bool(scene.tick(role).rested) for _ in range(8)]
    assert tried[-2:] == [True, False]
    scene.evm.mine()
    scene.market.reverse.supply_collateral(1, borrower, sender=borrower)
    assert scene.tick(role).rested
    # and rests longer still, or a wei a block would have all the time there is
    tried = [bool(scene.tick(role).rested) for _ in range(16)]
    assert [number for number, each in enumerate(tried) if each] == [15]


def test_tick__who_was_liquidated_begins_anew(scene: Scene) -> None:
    borrow(scene)
    scene.market.set_price("8.4")
    scene.market.pool.swap_to(Decimal(7))
    role = scene.role()
    assert [bool(scene.tick(role).rested) for _ in range(2)] == [True, False]
    scene.market.pool.swap_to(Decimal("8.4"))
    assert scene.tick(role).chosen
    assert scene.outcomes("reverse", "landed") == 1
    assert role._rests == {}


def test_tick__who_was_healthy_in_between_is_tried_at_once(scene: Scene) -> None:
    borrow(scene)
    scene.market.set_price("8.4")
    scene.market.pool.swap_to(Decimal(7))
    role = scene.role()
    for _ in range(7):
        scene.tick(role)
    scene.market.set_price(10, move_uniswap=False)
    assert scene.tick(role).found == 0
    scene.market.set_price("8.4", move_uniswap=False)
    assert scene.tick(role).rested


def test_tick__the_price_moves_before_it_is_mined(scene: Scene) -> None:
    """The transaction demands what makes it worth its gas, so it does nothing."""
    borrower = borrow(scene)
    scene.market.set_price("8.4")
    role = scene.role()
    assert scene.lane is not None
    # it would be paid for, but for little more than that
    scene.lane.spoil = lambda: scene.market.pool.swap_to(Decimal("7.94"))
    shares = scene.market.reverse.debt_shares_of(borrower)
    assert len(scene.tick(role).chosen) == 1
    assert scene.market.reverse.debt_shares_of(borrower) == shares
    assert scene.outcomes("reverse", "failed") == 1
    assert scene.received() == (0, 0)
    # who failed rests
    scene.lane.spoil = lambda: None
    assert scene.tick(role).chosen == ()


def test_tick__bad_debt_at_a_loss_only_where_configured(scene: Scene) -> None:
    borrower = borrow(scene, tokens=2)
    scene.market.set_price(6)
    assert scene.tick(scene.role()).chosen == ()
    assert scene.tick(scene.role(bad_debt_loss=Decimal(1))).chosen == ()
    [choice] = scene.tick(scene.role(bad_debt_loss=Decimal(100))).chosen
    assert -100 < choice.appraisal.profit < -1
    assert scene.market.reverse.debt_shares_of(borrower) == 0


def test_tick__without_a_price(scene: Scene, logs: list[Any]) -> None:
    borrow(scene)
    scene.evm.warp(86_400 + 1)
    role = scene.role()
    for _ in range(3):
        assert scene.tick(role).found == 0
    # once, though it stays so
    [line] = said(logs, "no price")
    assert (line["market"], line["reason"]) == ("TKN", "stale price")
    scene.market.refresh_price()
    scene.tick(role)
    [line] = said(logs, "price is back")
    assert line["market"] == "TKN"
    scene.evm.warp(86_400 + 1)
    scene.tick(role)
    assert len(said(logs, "no price")) == 2


def test_tick__the_most_at_stake_first(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, logs: list[Any]
) -> None:
    """No more are tried in one tick than it has time for, and here none pays."""
    monkeypatch.setattr("perpool.keeper.liquidator.role.CANDIDATES", 2)
    for number in range(5):
        borrow(scene, f"borrower {number}", tokens=1_000 + 300 * number, ltv=69 - number / 10)
    scene.market.set_price("8.4")
    scene.market.pool.swap_to(Decimal(7))
    role = scene.role()
    named = {scene.evm.account(f"borrower {number}").address: number for number in range(5)}
    order = []
    for _ in range(2):
        outcome = scene.tick(role)
        assert outcome.found == 5
        order.append({named[subject.split("/")[1]] for subject in outcome.rested})
    assert order == [{4, 3}, {2, 1}]
    assert [each["accounts"] for each in said(logs, "not tried yet")] == [3, 1]


def test_tick__gas_of_the_most_profitable_first(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, logs: list[Any]
) -> None:
    """An estimate is a request to every node: a crash must not take as many as accounts."""
    monkeypatch.setattr("perpool.keeper.liquidator.role.ESTIMATES", 2)
    accounts = [
        borrow(scene, f"borrower {number}", tokens=tokens, ltv=69 - number / 10).address
        for number, tokens in enumerate((300, 500, 200, 600, 400))
    ]
    scene.market.set_price("8.4")
    role = scene.role()
    order = []
    for _ in range(3):
        scene.nodes.estimates = 0
        chosen = scene.tick(role).chosen
        order.append({accounts.index(each.candidate.position.account) for each in chosen})
        assert scene.nodes.estimates == len(chosen)
    assert order == [{3, 1}, {4, 0}, {2}]
    assert [each["accounts"] for each in said(logs, "put off")] == [3, 1]


def test_tick__gas_of_many_that_do_not_pay(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose gas is too dear makes way for the others."""
    monkeypatch.setattr("perpool.keeper.liquidator.role.ESTIMATES", 2)
    for number in range(5):
        borrow(scene, f"borrower {number}", tokens=50 + number)
    scene.market.set_price("8.4")
    role = scene.role()
    rested: set[str] = set()
    for _ in range(3):
        scene.nodes.estimates = 0
        rested |= set(scene.tick(role).rested)
        assert scene.nodes.estimates <= 2 * SIZES
    assert len(rested) == 5


def test_tick__no_gas_is_estimated_of_what_brings_too_little(scene: Scene) -> None:
    borrow(scene)
    scene.market.set_price("8.4")
    scene.market.pool.swap_to(Decimal("7.94"))
    [reason] = scene.tick(scene.role(min_profit=Decimal(100))).rested.values()
    assert reason.endswith("USDT of 100 before gas")
    assert scene.nodes.estimates == 0


@pytest.mark.parametrize("larger", Leg)
def test_tick__the_most_at_stake_of_both_pools_first(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, larger: Leg
) -> None:
    """A loan from when the price was 10 and a short from when it was 5, at a price of 8.2."""
    monkeypatch.setattr("perpool.keeper.liquidator.role.CANDIDATES", 1)
    borrow(scene, tokens=3_000 if larger is Leg.REVERSE else 300)
    scene.market.set_price(5)
    short(scene, margin=4_700)
    scene.market.set_price("8.2")
    outcome = scene.tick(scene.role())
    assert outcome.found == 2
    [choice] = outcome.chosen
    assert choice.candidate.pool.leg is larger


# -- a crowd of small ones --


@pytest.mark.parametrize("base_fee", [20 * GWEI, GWEI // 100], ids=["no_pay", "pay"])
def test_tick__a_large_one_among_hundreds_of_small_ones(
    scene: Scene, logs: list[Any], base_fee: int
) -> None:
    """Which owe as little as may be, and are all worse; whether they pay or not."""
    for number in range(300):
        borrow(scene, f"small {number}", tokens=1.5, ltv=69.9)
    large = borrow(scene, ltv=66)
    scene.market.set_price("8.2")
    scene.nodes.base_fee = base_fee
    role = scene.role(min_profit=Decimal("0.1"))
    outcome = scene.tick(role)
    assert outcome.found == 301
    first, *others = [each.candidate.position.account for each in outcome.chosen]
    assert first == large.address
    if base_fee == 20 * GWEI:
        assert (others, outcome.rested) == ([], {})
        [line] = said(logs, "left alone")
        assert line["accounts"] == scene.outcomes("reverse", "unprofitable") == 300
    else:
        assert len(others) == 6
        [line] = said(logs, "not tried yet")
        assert line["accounts"] == 301 - 24


def test_tick__who_is_too_small_rests(scene: Scene, logs: list[Any]) -> None:
    """As whoever is tried and does not pay."""
    borrow(scene, tokens=5)
    scene.market.set_price("8.4")
    role = scene.role()
    for _ in range(16):
        assert (scene.tick(role).rested, scene.nodes.estimates) == ({}, 0)
    assert len(said(logs, "left alone")) == scene.outcomes("reverse", "unprofitable") == 4
    # and is none any more
    scene.nodes.base_fee = GWEI // 100
    scene.evm.mine(16)
    assert len(scene.tick(scene.role(min_profit=Decimal("0.1"))).chosen) == 1


def test_tick__bad_debt_that_is_too_small(scene: Scene) -> None:
    """At a loss it is done where that is configured, after what pays."""
    small, large = borrow(scene, "small", tokens=2), borrow(scene, "large")
    scene.market.set_price(6)
    role = scene.role(bad_debt_loss=Decimal(20))
    order = [each.candidate.position.account for each in scene.tick(role).chosen]
    assert order == [large.address, small.address]


def test_least_gas__less_than_any_way_takes(scene: Scene) -> None:
    """Of much and of next to nothing, in part and whole, with bad debt and without."""
    for tokens in (2, 1_000):
        borrow(scene, f"borrower of {tokens}", tokens=tokens)
        short(scene, f"shorter of {tokens}", tokens=tokens)
    # it takes less where nobody's balance was zero
    donate(scene)
    scene.market.give(scene.receiver, usdt=1, tokens=1)
    role = scene.role(min_profit=Decimal(0), bad_debt_loss=Decimal(100))
    scene.tick(role)
    scene.nodes.base_fee = 0
    taken = []
    for price in ("8.4", "7.2", "6", "16.4", "19", "21"):
        with scene.evm.anchor():
            scene.market.set_price(price)
            scene.evm.mine()
            head = scene.nodes.head()
            candidates = role._candidates(role._found(head), head)
            assert len(candidates) == 2
            for each in candidates:
                for proposal in each.case.proposals[0]:
                    attempt = each.attempt(proposal, role.receiver)
                    taken.append(scene.nodes.estimate(attempt.to, attempt.data, role.sender))
    assert len(taken) == 3 * 2 + 3 * 2 * 2
    assert LEAST_GAS < min(taken) < LEAST_GAS * 4 // 3


@pytest.mark.parametrize("limit", ["CANDIDATES", "ESTIMATES"])
def test_tick__who_has_failed_is_not_put_behind_small_ones(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    """Else it would be enough to make the large one fail once."""
    monkeypatch.setattr(f"perpool.keeper.liquidator.role.{limit}", 1)
    large = borrow(scene, "large", tokens=2_000, ltv=68)
    for number in range(5):
        borrow(scene, f"small {number}", tokens=200)
    scene.market.set_price("8.4")
    role = scene.role()
    assert scene.lane is not None
    scene.lane.spoil = lambda: scene.market.pool.swap_to(Decimal("7.94"))
    assert [each.candidate.position.account for each in scene.tick(role).chosen] == [large.address]
    assert scene.outcomes("reverse", "failed") == 1
    scene.lane.spoil = lambda: None
    scene.market.pool.swap_to(Decimal("8.4"))
    scene.evm.mine(2)
    assert [each.candidate.position.account for each in scene.tick(role).chosen] == [large.address]
    assert scene.outcomes("reverse", "landed") == 1


def test_tick__who_fails_makes_way(
    evm: Evm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A market with nobody to sell to, and much at stake, does not keep the keeper from others."""
    monkeypatch.setattr("perpool.keeper.liquidator.role.CANDIDATES", 1)
    nodes = EvmNodes(evm, monkeypatch)
    start = evm.block_number
    dry = open_market(evm)
    for number in range(4):
        dry.borrow(f"borrower {number}", collateral=dry.tokens(2_000), usdt=dry.usd(13_800))
    good = open_market(evm, dry.usdt)
    good.borrow(collateral=good.tokens(1_200), usdt=good.usd(8_280))
    for market in (dry, good):
        market.set_price("8.4")
    scene = scene_of(evm, nodes, tmp_path, {"DRY": dry, "GOOD": good}, start)
    dry.pool.swap_to(Decimal(7))
    role = scene.role()
    chosen = [[each.candidate.pool.market for each in scene.tick(role).chosen] for _ in range(5)]
    assert chosen == [[], [], [], [], ["GOOD"]]


# -- what others would take --


@pytest.mark.parametrize(("market_price", "lands"), [("8.385", True), ("8.33", False)])
def test_tick__a_borrower_whose_sale_is_moved(scene: Scene, market_price: str, lands: bool) -> None:
    """With a tenth of the gain gone it had better fail, though it would pay for its gas."""
    borrow(scene)
    expect_of_a_moved_market(scene, "8.4", market_price, "reverse", lands=lands)


@pytest.mark.parametrize(("market_price", "lands"), [("16.45", True), ("16.6", False)])
def test_tick__a_shorter_whose_purchase_is_moved(
    scene: Scene, market_price: str, lands: bool
) -> None:
    short(scene)
    expect_of_a_moved_market(scene, "16.4", market_price, "forward", lands=lands)


def expect_of_a_moved_market(
    scene: Scene, price: str, market_price: str, leg: str, *, lands: bool
) -> None:
    scene.market.set_price(price)
    with scene.evm.anchor():
        careless = scene.role(max_slippage=Decimal(1))
        assert scene.lane is not None
        scene.lane.spoil = lambda: scene.market.pool.swap_to(Decimal(market_price))
        assert scene.tick(careless).chosen
        assert (scene.outcomes(leg, "landed"), scene.outcomes(leg, "failed")) == (1, 0)
    role = scene.role()
    scene.lane.spoil = lambda: scene.market.pool.swap_to(Decimal(market_price))
    assert scene.tick(role).chosen
    assert scene.outcomes(leg, "landed") == 1 + lands
    assert scene.outcomes(leg, "failed") == 1 - lands
    if not lands:
        # it is measured anew, and done for what it brings where the market stays there
        while not scene.tick(role).chosen:
            assert scene.outcomes(leg, "landed") == 1
        assert scene.outcomes(leg, "landed") == 2


def test_tick__several_are_held_to_what_each_brings_in_its_place(scene: Scene) -> None:
    """Every sale lowers the price for the next, by more than is left to others."""
    for number in range(3):
        borrow(scene, f"borrower {number}", tokens=6_000)
    scene.market.set_price("8.4")
    role = scene.role()
    gains = [each.appraisal.profit for each in scene.tick(role).chosen]
    assert len(gains) == 3
    assert gains[1] < gains[0] * 9 / 10
    assert scene.outcomes("reverse", "landed") == 3


def test_tick__several_whose_market_is_moved(scene: Scene) -> None:
    for number in range(3):
        borrow(scene, f"borrower {number}", tokens=3_000)
    scene.market.set_price("8.4")
    role = scene.role()
    assert scene.lane is not None
    scene.lane.spoil = lambda: scene.market.pool.swap_to(Decimal("8.2"))
    assert len(scene.tick(role).chosen) == 3
    assert scene.outcomes("reverse", "failed") == 3


# -- what lies in the liquidator --


@pytest.mark.parametrize("leg", Leg)
def test_tick__what_lies_in_the_liquidator_is_no_gain(scene: Scene, leg: Leg) -> None:
    """Whoever sends something there does not make a liquidation pay."""
    if leg is Leg.REVERSE:
        borrow(scene)
        scene.market.set_price("8.4")
    else:
        short(scene)
        scene.market.set_price("16.4")
    scene.nodes.base_fee = 0
    with scene.evm.anchor():
        [choice] = scene.tick(scene.role()).chosen
    donate(scene)
    outcome = scene.tick(scene.role(min_profit=choice.appraisal.profit + 1))
    assert outcome.chosen == ()
    [reason] = outcome.rested.values()
    assert reason.startswith(f"brings {choice.appraisal.profit:.0f} USDT of ")


@pytest.mark.parametrize("leg", Leg)
def test_tick__what_lies_in_the_liquidator_and_is_gone(scene: Scene, leg: Leg) -> None:
    """Taken out between trial and block, if that could be, it would make a good one fail."""
    market = scene.market
    if leg is Leg.REVERSE:
        borrow(scene)
        market.set_price("8.4")
    else:
        short(scene)
        market.set_price("16.4")
    donate(scene)
    rogue = scene.evm.deploy("RoguePool")
    liquidator = scene.evm.at("Liquidator", scene.pools[0].liquidator)
    attacker = scene.evm.account("attacker")

    def take() -> None:
        rogue.prepare(market.token, market.usdt, market.token, [])
        call = (rogue, attacker, 0, rogue, b"", 0, attacker)
        liquidator.liquidate(*call, sender=attacker)

    role = scene.role()
    assert scene.lane is not None
    scene.lane.spoil = take
    [choice] = scene.tick(role).chosen
    assert scene.outcomes(leg.value, "landed") == 1
    usdt, tokens = scene.received()
    gain = choice.appraisal.gain
    assert (usdt, tokens) == (
        pytest.approx(gain.usdt, rel=1e-3),
        pytest.approx(gain.tokens, rel=1e-3),
    )


def donate(scene: Scene) -> None:
    """As much as any of these liquidations brings, of both tokens."""
    market = scene.market
    market.usdt.mint(scene.pools[0].liquidator, market.usd(1_000))
    market.token.mint(scene.pools[0].liquidator, market.tokens(100))


def test_tick__not_in_the_block_of_opening(scene: Scene) -> None:
    """What is tried on a block is tried as of its number."""
    role = scene.role()
    scene.evm.mine()
    with scene.evm.same_block():
        short(scene)
        scene.market.set_price("16.4")
        assert role.tick(scene.evm.timestamp).found == 0
    assert scene.tick(role).found == 1


# -- the price of ether --


def test_tick__ether_by_a_feed(scene: Scene) -> None:
    borrow(scene)
    scene.market.set_price("8.4")
    feed = scene.evm.deploy("TestFeed", 8, 3_000 * 10**8)
    feed.set(3_000 * 10**8)
    by_feed = Ether(feed=feed.address)
    with scene.evm.anchor():
        [fixed] = scene.tick(scene.role()).chosen
    with scene.evm.anchor():
        [read] = scene.tick(scene.role(ether=by_feed)).chosen
    assert read.appraisal == fixed.appraisal
    feed.set(10**6 * 10**8)
    assert scene.tick(scene.role(ether=by_feed)).chosen == ()


def test_tick__ether_by_a_feed_that_beats_once_a_day(scene: Scene, logs: list[Any]) -> None:
    """As many of Chainlink's do, give or take an hour."""
    borrow(scene)
    feed = scene.evm.deploy("TestFeed", 8, 3_000 * 10**8)
    feed.set(3_000 * 10**8)
    scene.evm.warp(86_400 + 3_000)
    scene.market.set_price("8.4")
    [choice] = scene.tick(scene.role(ether=Ether(feed=feed.address))).chosen
    assert choice.candidate.case.rates.ether_price == 3_000
    assert not said(logs, "no price of ether")


def test_tick__ether_by_a_feed_that_is_stale(scene: Scene, logs: list[Any]) -> None:
    """It goes on with twice the price that it last had, and says so once."""
    borrow(scene)
    feed = scene.evm.deploy("TestFeed", 8, 3_000 * 10**8)
    feed.set(3_000 * 10**8)
    scene.evm.warp(601)
    scene.market.set_price("8.4")
    role = scene.role(dry=True, ether=Ether(feed=feed.address, max_age=600))
    [choice] = scene.tick(role).chosen
    assert choice.candidate.case.rates.ether_price == 6_000
    [line] = said(logs, "no price of ether")
    assert (line["used"], line["log_level"]) == ("6000.00", "warning")
    scene.evm.mine(40)
    assert scene.tick(role).chosen
    assert len(said(logs, "no price of ether")) == 1
    # and when it is stale another time
    feed.set(3_000 * 10**8)
    scene.evm.mine(40)
    [choice] = scene.tick(role).chosen
    assert choice.candidate.case.rates.ether_price == 3_000
    scene.evm.warp(601)
    scene.evm.mine(40)
    scene.tick(role)
    assert len(said(logs, "no price of ether")) == 2


@pytest.mark.parametrize("answer", [0, -5, None])
def test_tick__ether_by_a_feed_that_has_nothing(scene: Scene, answer: int | None) -> None:
    """The last price known if there was one; else nothing is sent on a guess."""
    borrow(scene)
    scene.market.set_price("8.4")
    feed = scene.evm.deploy("TestFeed", 8, 3_000 * 10**8)
    feed.set(3_000 * 10**8)
    known = scene.role(dry=True, ether=Ether(feed=feed.address))
    scene.tick(known)
    if answer is None:
        nothing = scene.evm.deploy("Multicall").address
        known.ether.source = Ether(feed=nothing)
    else:
        feed.set(answer)
    scene.evm.mine(40)
    [choice] = scene.tick(known).chosen
    assert choice.candidate.case.rates.ether_price == 6_000
    with pytest.raises(KeeperError, match="has never had a price of ether"):
        scene.tick(scene.role(ether=known.ether.source))


def said(logs: list[Any], event: str) -> list[Any]:
    return [each for each in logs if each["event"] == event]


# -- reading back --


def test_read_back__whoever_owes_no_less(scene: Scene) -> None:
    borrower, shorter = borrow(scene), short(scene)
    unmet = read_back(scene.nodes)
    intents = []
    for pool, account in ((scene.market.reverse, borrower), (scene.market.forward, shorter)):
        subject = f"{pool.address}/{account.address}"
        shares = pool.debt_shares_of(account)
        intents.append(Intent("liquidation", subject, 1, str(shares)))
    head = scene.nodes.head()
    assert unmet(intents, head) == intents
    scene.market.set_price("8.4")
    scene.tick(scene.role())
    assert unmet(intents, scene.nodes.head()) == intents[1:]
    nowhere = replace(intents[0], subject=f"{scene.sender.address}/{borrower.address}")
    assert unmet([nowhere], scene.nodes.head()) == [nowhere]
