"""The liquidator on anvil: nodes, journal, outbox, the deployed contracts and real Uniswap v3."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount
from structlog.testing import capture_logs

from perpool import uniswap
from perpool.abi import load_abi
from perpool.anvil import Anvil
from perpool.build import load_npm_artifact
from perpool.chain import Contract
from perpool.keeper.chain import endpoint
from perpool.keeper.chain.nodes import Nodes, NodesError
from perpool.keeper.liquidator.ether import Ether
from perpool.keeper.liquidator.follow import Follower
from perpool.keeper.liquidator.pools import first_block, pools_of, read_back
from perpool.keeper.liquidator.profit import Policy, Way
from perpool.keeper.liquidator.role import LiquidatorRole, Outcome
from perpool.keeper.metrics import Metrics
from perpool.keeper.signing import KeyAccount
from perpool.keeper.transactions.journal import Journal
from perpool.keeper.transactions.outbox import Outbox
from tests.integration.market_on_anvil import FEE, AnvilMarket, key
from tests.rpc_proxy import RpcProxy
from tests.uniswap import PLENTY, V3_POOL, V3_ROUTER, ZERO_ADDRESS

USDT, TOKEN, MAX = 10**6, 10**18, 2**256 - 1
LANE = "liquidator"


class World:
    """The market with lenders, and Uniswap's price in the test's hand."""

    def __init__(self, market: AnvilMarket) -> None:
        self.market = market
        self.chain = market.chain
        self.ada, self.usdt = self.contract("ADA"), self.contract("USDT")
        self.reverse, self.forward = self.contract("ADA.reverse"), self.contract("ADA.forward")
        factory = self.contract("UniswapV3Factory")
        self.router = self.chain.deploy(load_npm_artifact(V3_ROUTER), factory, ZERO_ADDRESS)
        self.pair = uniswap.TokenPair(self.ada.address, self.usdt.address, 18, 6)
        tokens = uniswap.sort_tokens(self.ada.address, self.usdt.address)
        address = factory.getPool(*tokens, FEE)
        self.venue = self.chain.contract(load_npm_artifact(V3_POOL), address)
        for token in (self.ada, self.usdt):
            token.mint(self.chain.default, PLENTY)
            token.approve(self.router, MAX)
        self._lend()

    def contract(self, name: str) -> Contract:
        return self.market.contract(name)

    def _lend(self) -> None:
        lender = self.market.actor("lender", tokens=200_000, usdt=2_000_000)
        for pool, token, amount in (
            (self.reverse, self.usdt, 2_000_000 * USDT),
            (self.forward, self.ada, 200_000 * TOKEN),
        ):
            token.approve(pool, MAX, sender=lender)
            pool.deposit(amount, lender, sender=lender)

    def borrow(self, name: str, *, tokens: int, usdt: int) -> LocalAccount:
        """Post tokens, and borrow."""
        account = self.market.actor(name, tokens=tokens)
        self.ada.approve(self.reverse, MAX, sender=account)
        self.reverse.supply_collateral_and_borrow(
            tokens * TOKEN, usdt * USDT, account, account, sender=account
        )
        return account

    def short(self, name: str, *, tokens: int, margin: int) -> LocalAccount:
        """Open a short through Uniswap."""
        account = self.market.actor(name, usdt=margin)
        self.usdt.approve(self.forward, MAX, sender=account)
        route = uniswap.encode_v3_route([self.ada.address, self.usdt.address], [FEE])
        swapper = self.contract("UniswapV3Swapper")
        order = (margin * USDT, tokens * TOKEN, 0, MAX, account, swapper, route)
        self.forward.open_short(*order, sender=account)
        return account

    def price(self, price: str) -> None:
        """On Uniswap, and reported, in steps that the feed takes in one round."""
        wanted = Decimal(price)
        target = self.pair.sqrt_price_x96(wanted)
        sells = (target < self.venue.slot0()[0]) == self.pair.base_is_token0
        sold, bought = (self.ada, self.usdt) if sells else (self.usdt, self.ada)
        order = (sold, bought, FEE, self.chain.default, MAX, PLENTY, 0, target)
        self.router.exactInputSingle(order)
        oracle = self.contract("ADA.price_oracle")
        for _ in range(8):
            self.market.report(price=wanted)
            if oracle.liquidation_price() == wanted * 10**24:
                return
        raise AssertionError(f"the price did not arrive at {price}")


@dataclass
class Keeper:
    """A liquidator as a process would have it, over files that outlive it."""

    world: World
    folder: Path
    endpoints: list[str] = field(default_factory=list)
    """By default anvil's."""
    ether: Decimal = Decimal(3_000)
    policy: Policy = field(default_factory=Policy)
    metrics: Metrics = field(default_factory=Metrics)

    def __post_init__(self) -> None:
        chain, record = self.world.chain, self.world.market.record
        endpoints = self.endpoints or [self.world.market.anvil.endpoint]
        self.nodes = Nodes(endpoints, chain.chain_id)
        self.payer = key("liquidator")
        self.journal = Journal(self.folder / "journal.db", LANE)
        self.outbox = Outbox(
            self.nodes,
            self.journal,
            KeyAccount(self.payer),
            unmet=read_back(self.nodes),
            multicall=record.multicall,
            confirmations=2,
            clock=self.clock,
            metrics=self.metrics,
        )
        pools = pools_of(self.nodes, record)
        self.follower = Follower(
            self.nodes,
            {each.address: each.leg for each in pools},
            self.folder / "accounts.db",
            start=first_block(record),
            span=25,
        )
        self.role = LiquidatorRole(
            self.nodes,
            pools,
            self.follower,
            self.outbox,
            sender=self.payer.address,
            receiver=key("treasury").address,
            multicall=record.multicall,
            ether=Ether(self.ether),
            policy=self.policy,
            metrics=self.metrics,
        )

    def clock(self) -> int:
        return self.world.chain.timestamp

    def tick(self) -> Outcome:
        return self.role.tick(self.clock())

    def finish(self) -> None:
        """Tick until what was sent is mined and deep enough."""
        deadline = time.monotonic() + 20
        while self.outbox.busy and time.monotonic() < deadline:
            time.sleep(0.02)
            self.tick()
        self.world.chain.mine(3)
        self.tick()

    @property
    def states(self) -> list[str]:
        """Of all transactions, the newest first."""
        return [each.state for each in self.journal.recent(10)]

    def stop(self) -> None:
        self.nodes.close()
        self.journal.close()
        self.follower.close()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with Anvil(base_fee=10**9) as anvil:
        path = tmp_path_factory.mktemp("deployments") / "local.json"
        market = AnvilMarket.deploy(anvil, path)
        market.chain.set_balance(key("liquidator").address, 10**19)
        yield World(market)


@pytest.fixture
def world(built: World) -> Iterator[World]:
    with built.chain.anchor():
        yield built


Start = Callable[..., Keeper]


@pytest.fixture
def start(world: World, tmp_path: Path) -> Iterator[Start]:
    """Starts keepers over the same files, one after the other."""
    running: list[Keeper] = []

    def start(**changes: Any) -> Keeper:
        for each in running:
            each.stop()
        running[:] = [Keeper(world, tmp_path, **changes)]
        return running[0]

    yield start
    for each in running:
        each.stop()


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[Any]]:
    with capture_logs() as lines:
        yield lines


def wealth(world: World, *accounts: LocalAccount) -> list[tuple[int, int]]:
    """(USDT, tokens) of each."""
    return [(world.usdt.balanceOf(each), world.ada.balanceOf(each)) for each in accounts]


def test_price_falls_and_rises__both_pools_without_capital(world: World, start: Start) -> None:
    """Who pays the gas never has a unit of either token, and the treasury earns."""
    borrower = world.borrow("borrower", tokens=10_000, usdt=59_000)
    careful = world.borrow("careful borrower", tokens=10_000, usdt=20_000)
    shorter = world.short("shorter", tokens=5_000, margin=50_000)
    payer, treasury = key("liquidator"), key("treasury")
    keeper = start()
    assert keeper.tick().found == 0
    assert {len(each) for each in keeper.follower.indexes.values()} == {1, 2}

    world.price("7.2")
    debts = [world.reverse.debt_of(each) for each in (borrower, careful)]
    [choice] = keeper.tick().chosen
    assert choice.candidate.position.account == borrower.address
    keeper.finish()
    assert keeper.states == ["done"]
    assert world.reverse.debt_of(borrower) < debts[0] * 7 // 10
    assert world.reverse.debt_of(careful) >= debts[1]
    [(usdt, tokens)] = wealth(world, treasury)
    assert usdt / USDT == pytest.approx(
        float(choice.appraisal.profit + choice.appraisal.gas_cost), rel=0.01
    )
    assert keeper.tick().found == 0

    world.price("16.5")
    debt = world.forward.debt_of(shorter)
    [choice] = keeper.tick().chosen
    assert (choice.candidate.pool.market, choice.appraisal.proposal.way) == ("ADA", Way.DELIVERY)
    keeper.finish()
    assert keeper.states == ["done", "done"]
    assert world.forward.debt_of(shorter) < debt
    [(_, tokens), nothing] = wealth(world, treasury, payer)
    assert tokens > 0
    assert nothing == (0, 0)
    liquidator = world.contract("Liquidator")
    for token in (world.usdt, world.ada):
        assert token.balanceOf(liquidator) == 0
        assert token.allowance(liquidator, world.reverse) == 0
    assert keeper.tick().found == 0


def test_many_at_once__in_one_transaction(world: World, start: Start) -> None:
    borrowers = [
        world.borrow(f"borrower {number}", tokens=1_000, usdt=5_700 + 100 * number)
        for number in range(3)
    ]
    keeper = start()
    world.price("7.1")
    debts = [world.reverse.debt_of(each) for each in borrowers]
    assert len(keeper.tick().chosen) == 3
    keeper.finish()
    assert keeper.states == ["done"]
    for account, debt in zip(borrowers, debts, strict=True):
        assert world.reverse.debt_of(account) < debt
    assert keeper.metrics.liquidations.labels("reverse", "landed")._value.get() == 3


def test_what_does_not_pay__is_not_sent(world: World, start: Start) -> None:
    """Gas at 2 gwei and a dear ether is more than the bonus of a small loan, once it is estimated,
    or dearer yet, before anything is tried."""
    borrower = world.borrow("borrower", tokens=100, usdt=590)
    keeper = start(ether=Decimal(60_000))
    world.price("7.2")
    outcome = keeper.tick()
    assert (outcome.found, outcome.chosen) == (1, ())
    [reason] = outcome.rested.values()
    assert reason.startswith("brings -")

    keeper = start(ether=Decimal(300_000))
    outcome = keeper.tick()
    assert (outcome.found, outcome.chosen, outcome.rested) == (1, (), {})
    assert keeper.metrics.liquidations.labels("reverse", "unprofitable")._value.get() == 1
    assert keeper.states == []
    assert world.chain.rpc("eth_getTransactionCount", keeper.payer.address, "pending") == "0x0"

    keeper = start()
    debt = world.reverse.debt_of(borrower)
    assert len(keeper.tick().chosen) == 1
    keeper.finish()
    assert world.reverse.debt_of(borrower) < debt


def test_reorganisation__what_was_learnt_is_unlearnt(world: World, start: Start) -> None:
    """A loan that was opened only on a fork that is gone, and one repaid only there."""
    chain = world.chain
    stays = world.borrow("stays", tokens=1_000, usdt=5_900)
    world.usdt.mint(stays, 10_000 * USDT)
    world.usdt.approve(world.reverse, MAX, sender=stays)
    keeper = start()
    keeper.tick()
    index = keeper.follower.indexes[world.reverse.address]
    mark = chain.rpc("evm_snapshot")
    world.reverse.repay(MAX, stays, sender=stays)
    gone = world.borrow("gone", tokens=1_000, usdt=5_900)
    keeper.tick()
    assert (stays.address in index, gone.address in index) == (False, True)

    assert chain.rpc("evm_revert", mark)
    chain._nonces.clear()
    chain.mine(5, timestamp=chain.timestamp + 100)
    keeper.tick()
    assert (stays.address in index, gone.address in index) == (True, False)

    world.price("7.2")
    [choice] = keeper.tick().chosen
    assert choice.candidate.position.account == stays.address
    keeper.finish()
    assert keeper.states == ["done"]


def test_restart__from_the_checkpoint(world: World, start: Start, logs: list[Any]) -> None:
    """It does not look through the chain again."""
    borrower = world.borrow("borrower", tokens=1_000, usdt=5_900)
    first = start()
    first.tick()
    assert [each for each in logs if each["event"] == "following"]
    scanned = first.follower.advance(first.nodes.head()).scanned
    logs.clear()

    second = start()
    assert borrower.address in second.follower.indexes[world.reverse.address]
    assert second.follower.advance(second.nodes.head()).scanned == scanned
    late = world.borrow("late", tokens=1_000, usdt=5_900)
    second.tick()
    assert late.address in second.follower.indexes[world.reverse.address]
    assert not [each for each in logs if each["event"] == "following"]


def test_restart__while_a_liquidation_waits(world: World, start: Start) -> None:
    """It is neither forgotten nor sent twice."""
    chain = world.chain
    borrower = world.borrow("borrower", tokens=1_000, usdt=5_900)
    first = start()
    world.price("7.2")
    debt = world.reverse.debt_of(borrower)
    chain.rpc("evm_setAutomine", False)
    try:
        assert len(first.tick().chosen) == 1
        assert first.states == ["sent"]
        second = start()
        assert second.tick() == Outcome(behind=0)
        assert int(chain.rpc("eth_getTransactionCount", second.payer.address, "pending"), 16) == 1
        chain.mine()
    finally:
        chain.rpc("evm_setAutomine", True)
    assert second.tick().found == 0
    second.finish()
    assert second.states == ["done"]
    assert world.reverse.debt_of(borrower) < debt
    assert int(chain.rpc("eth_getTransactionCount", second.payer.address, "latest"), 16) == 1


@pytest.fixture
def proxies(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[RpcProxy]]:
    """Three nodes to spoil. A second of theirs goes by whenever they are asked for the time."""
    seconds = itertools.count(1)
    monkeypatch.setattr(endpoint, "time", SimpleNamespace(monotonic=lambda: next(seconds)))
    with contextlib.ExitStack() as stack:
        upstream = world.market.anvil.http_url
        yield [stack.enter_context(RpcProxy(upstream)) for _ in range(3)]


@pytest.mark.parametrize("displaced", [False, True], ids=["sent_again", "displaced"])
def test_crash__nodes_that_fail_and_a_reorganisation(
    world: World, start: Start, proxies: list[RpcProxy], *, displaced: bool
) -> None:
    """More accounts than one transaction takes; both transactions are lost with their blocks.

    They are sent again, or where another has taken a nonce, the accounts are found anew.
    """
    chain = world.chain
    unhealthy = [
        world.borrow(f"borrower {number}", tokens=1_000, usdt=5_720 + 10 * number)
        for number in range(9)
    ]
    careful = world.borrow("careful borrower", tokens=1_000, usdt=2_000)
    keeper = start(endpoints=[each.url for each in proxies])
    keeper.tick()
    world.price("7.1")
    since = chain.block_number

    # one node fails, and does not matter
    proxies[0].status = 500
    first = keeper.tick()
    assert (first.found, len(first.chosen)) == (9, 7)
    [lost] = keeper.journal.open()
    assert chain.wait(lost.attempts[-1].hash).success
    # that they owe less is learnt, and will not be true
    second = keeper.tick()
    assert (second.found, len(second.chosen)) == (2, 2)

    # all fail, and when they are back the chain is another
    for each in proxies:
        each.down()
    for _ in range(3):
        with pytest.raises(NodesError, match="no node gives an answer"):
            keeper.tick()
    chain.rpc("anvil_reorg", chain.block_number - since, [])
    chain.rpc("anvil_dropAllTransactions")
    if displaced:
        chain.rpc("eth_sendRawTransaction", nothing(keeper.payer, lost.nonce, chain.chain_id))
    chain.mine()
    assert chain.rpc("eth_getTransactionReceipt", lost.attempts[-1].hash) is None
    assert liquidated(world, since) == []
    for each in proxies:
        each.heal()
        each.up()
    proxies[1].lag = 2
    for _ in range(30):
        # they may rest for a while yet
        with contextlib.suppress(NodesError):
            keeper.tick()
        chain.mine()
        if len(liquidated(world, since)) >= len(unhealthy) and not keeper.outbox.busy:
            break
    keeper.finish()

    assert sorted(liquidated(world, since)) == sorted(each.address for each in unhealthy)
    assert world.reverse.debt_of(careful) >= 2_000 * USDT
    assert keeper.tick().found == 0
    assert keeper.journal.get(lost.id).state == ("abandoned" if displaced else "done")
    assert set(keeper.states) - {"abandoned"} == {"done"}


def nothing(account: LocalAccount, nonce: int | None, chain_id: int) -> str:
    """A transaction that only takes a nonce."""
    signed = account.sign_transaction(
        {
            "type": 2,
            "chainId": chain_id,
            "nonce": nonce,
            "to": account.address,
            "value": 0,
            "gas": 21_000,
            "maxFeePerGas": 20 * 10**9,
            "maxPriorityFeePerGas": 10**9,
        }
    )
    return "0x" + bytes(signed.raw_transaction).hex()


def liquidated(world: World, since: int) -> list[str]:
    """Whom the newest course of the chain has liquidated after a block."""
    nodes = Nodes([world.market.anvil.endpoint], world.chain.chain_id)
    try:
        nodes.learn(load_abi("ReversePool"))
        found = nodes.logs([world.reverse.address], since + 1, world.chain.block_number)
    finally:
        nodes.close()
    return [event.args.borrower for _, event in found if event.name == "Liquidate"]
