"""The rebalancer's role over nodes and a lane that do as they are told."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from perpool.build import Abi
from perpool.chain import Call, ChainError
from perpool.evm import Event, Reverted, Struct
from perpool.evm.codec import checksum
from perpool.keeper.chain.nodes import Head
from perpool.keeper.health import Health
from perpool.keeper.metrics import Metrics
from perpool.keeper.model import Intent, Parcel
from perpool.keeper.rebalancer.decide import FIRST_REST, OVERDUE, SHARES, Budget, Task, Vault, Work
from perpool.keeper.rebalancer.requests import RequestFollower
from perpool.keeper.rebalancer.role import FEW, TRIALS, RebalancerRole, Spending
from perpool.keeper.rebalancer.vaults import (
    parcel_of,
    read_back,
    stands_of,
    traces_of,
    vaults_of,
)
from perpool.keeper.transactions.fees import Fees
from perpool.keeper.transactions.model import Attempt, Mined, Transaction
from tests.chaos.world import figure

NOW = 1_700_000_000
GWEI = 10**9
HOLDINGS = ("price_e36", "idle", "lent", "collateral", "debt", "short", "equity", "cash")
REDEMPTION = ("shares", "usdt", "apart_shares", "apart_at")
POSITION = ("size", "entry_notional", "margin", "funding", "pending", "escrow", "credit")


def address(number: int) -> str:
    return checksum(bytes([number]) * 20)


SENDER, ORACLE, REVERSE, TOKEN = (address(number) for number in (0xF0, 0xF1, 0xF2, 0xF3))
ADA = Vault("ADA keep", address(1), address(2), REVERSE, address(3), TOKEN, 8 * 10**17, 10**16)
XRP = Vault("XRP keep", address(4), address(5), REVERSE, address(6), TOKEN, 8 * 10**17, 10**16)


class Nodes:
    """Two vaults that carry, and are where they should be."""

    chain_id = 5

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], Any] = {}
        self.events: list[Event] = []
        self.height = 10
        self.deaf = False
        """Has no events."""
        self.gas = 1_000_000
        self.tried: list[Call] = []
        self.shares = dict[str, int]()
        """Of pending redemptions, by controller."""
        for each in (ADA, XRP):
            self.set(each.strategy, "mode", 2)
            self.set(each.strategy, "is_due", False)
            self.set(each.strategy, "holdings", holdings())
            self.set(each.strategy, "net_carry", 10**17)
            self.set(each.venue, "position", position())
            self.set(each.venue, "state", Reverted("no such function"))
            self.set(each.venue, "settle", 1)
            self.set(each.address, "convertToAssets", SHARES)
            self.set(each.address, "rebalance", True)
            self.set(each.address, "settle_deposit", 1)
            self.set(each.address, "settle_redeem", Reverted("too soon"))
            self.set(each.address, "redemption", redemption())
        self.set(REVERSE, "position", (10**20, 10**18))
        self.set(REVERSE, "debt_of", 10**8)
        self.set(ORACLE, "feed", SimpleNamespace(observed_at=0))
        self.set(TOKEN, "balanceOf", 0)

    def set(self, contract: str, name: str, answer: Any) -> None:
        self.answers[contract, name] = answer

    def request(self, vault: Vault, count: int = 1, shares: int = 0) -> None:
        """So many controllers ask for something."""
        for number in range(count):
            args = Struct(("controller",), (address(100 + number),))
            self.events.append(Event("DepositRequest", args, vault.address))
            self.shares[address(100 + number)] = shares
        self.set(vault.address, "pendingDepositRequest", 0 if shares else 7)

    # -- what is asked of it --

    def head(self) -> Head:
        return Head(self.height, hex(self.height), NOW, 10 * GWEI)

    def block_hash(self, number: int) -> str | None:
        return hex(number)

    def learn(self, abi: Abi) -> None: ...

    def logs(self, addresses: Sequence[str], first: int, last: int) -> list[tuple[int, Event]]:
        if self.deaf:
            raise ChainError("logs are not served")
        return [(first, each) for each in self.events]

    def read(self, calls: Sequence[Call], head: Head | None = None) -> list[Any]:
        return [self._answer(each) for each in calls]

    def _answer(self, call: Call) -> Any:
        assert call.function is not None
        name = call.function.name
        if call.sender is not None:
            self.tried.append(call)
        if name == "pendingRedeemRequest":
            return self.shares.get(checksum(call.data[-20:]), 0)
        return self.answers[checksum(call.to), name]

    def fees(self, head: Head | None = None) -> tuple[int, int]:
        return 10 * GWEI, GWEI

    def estimate(self, to: str, data: bytes, sender: str) -> int:
        return self.gas

    def receipt(self, transaction_hash: str) -> Any:
        return None


def holdings(**changes: int) -> Struct:
    base = dict.fromkeys(HOLDINGS, 0) | {
        "price_e36": 10**25,
        "collateral": 10**20,
        "short": 3 * 10**19,
        "equity": 15 * 10**7,
    }
    return Struct(HOLDINGS, [(base | changes)[name] for name in HOLDINGS])


def redemption(**changes: int) -> Struct:
    """Some fields of it; all of it waits for its order."""
    base = dict.fromkeys(REDEMPTION, 0) | {"shares": 7}
    return Struct(REDEMPTION, [(base | changes)[name] for name in REDEMPTION])


def position(**changes: int) -> Struct:
    base = dict.fromkeys(POSITION, 0) | {"size": -3 * 10**19}
    return Struct(POSITION, [(base | changes)[name] for name in POSITION])


@dataclass
class Lane:
    """Takes what it is offered, and says that what it is told to has happened."""

    offers: list[Intent] = field(default_factory=list)
    busy: bool = False
    outcome: str = "landed"

    def offer(self, parcels: Sequence[Parcel], expires_at: int | None) -> None:
        [parcel] = parcels
        self.offers += parcel.intents

    def step(self) -> list[Any]:
        newest = self.offers[-1:]
        return [SimpleNamespace(name=self.outcome, intents=newest, reason="it says so")]


@dataclass
class Scene:
    nodes: Nodes
    lane: Lane
    role: RebalancerRole

    def tick(self, now: int = NOW) -> Any:
        self.nodes.height += 1
        return self.role.tick(now)

    def done(self, now: int = NOW) -> list[tuple[str, str]]:
        """What one tick hands over."""
        before = len(self.lane.offers)
        self.tick(now)
        return [(each.kind, each.subject) for each in self.lane.offers[before:]]


@pytest.fixture
def nodes() -> Nodes:
    return Nodes()


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[Any]]:
    with capture_logs() as lines:
        yield lines


def scene_of(nodes: Nodes, **changes: Any) -> Scene:
    lane = Lane()
    follower = RequestFollower(nodes, [ADA.address, XRP.address], None)
    options: dict[str, Any] = {
        "sender": SENDER,
        "funding_oracle": ORACLE,
        "budget": Budget(10**18),
        "metrics": Metrics(),
        "health": Health(),
    }
    outbox = changes.pop("outbox", lane)
    role = RebalancerRole(nodes, [ADA, XRP], follower, outbox, **options | changes)
    return Scene(nodes, lane, role)


@pytest.fixture
def scene(nodes: Nodes) -> Scene:
    return scene_of(nodes)


# -- what is done --


def test_tick__nothing_to_do(scene: Scene) -> None:
    assert scene.done() == []
    assert scene.nodes.tried == []
    for name, expected in {
        "vault_ltv": 0.1,
        "vault_margin": 0.5,
        "vault_hedge_ratio": 0.3,
        "vault_net_carry": 0.1,
        "vault_due_timestamp_seconds": 0,
        "vault_order_timestamp_seconds": 0,
        "vault_requests": 0,
    }.items():
        assert figure(scene.role.metrics, name, vault="ADA keep") == pytest.approx(expected)


def test_tick__tried_as_whoever_sends_it(scene: Scene) -> None:
    scene.nodes.set(ADA.strategy, "is_due", True)
    assert scene.done() == [("rebalance", ADA.address)]
    assert [(checksum(each.to), each.sender) for each in scene.nodes.tried] == [
        (ADA.address, SENDER)
    ]
    assert figure(scene.role.metrics, "rebalances", vault="ADA keep", outcome="landed") == 1


def test_tick__nothing_while_something_is_in_flight(scene: Scene) -> None:
    scene.nodes.set(ADA.strategy, "is_due", True)
    scene.lane.busy = True
    assert scene.done() == []
    # and still it is told how they stand
    assert figure(scene.role.metrics, "vault_due_timestamp_seconds", vault="ADA keep") == NOW


def test_tick__what_brings_nothing_is_not_sent(scene: Scene, logs: list[Any]) -> None:
    scene.nodes.set(ADA.strategy, "is_due", True)
    scene.nodes.set(ADA.address, "rebalance", False)
    assert scene.done() == scene.done() == []
    scene.nodes.set(ADA.address, "rebalance", Reverted("stale price"))
    assert scene.done() == []
    said = [each.get("reason") for each in logs if each["event"] == "rebalance of ADA keep"]
    assert said == ["due, and pools, venue and market let nothing be done", "stale price"]


def test_tick__an_order_that_cannot_be_settled_holds_up_no_other_vault(scene: Scene) -> None:
    scene.nodes.set(ADA.venue, "position", position(pending=3))
    scene.nodes.set(XRP.strategy, "is_due", True)
    assert scene.done() == [("rebalance", XRP.address)]
    scene.nodes.set(XRP.strategy, "is_due", False)
    scene.nodes.set(ADA.venue, "settle", 2)
    assert scene.done() == [("order", ADA.address)]
    assert figure(scene.role.metrics, "settlements", work="order", outcome="landed") == 1


def test_tick__a_vault_that_cannot_be_looked_at_holds_up_no_other(
    scene: Scene, logs: list[Any]
) -> None:
    scene.nodes.set(ADA.strategy, "holdings", Reverted("stale price"))
    scene.nodes.set(XRP.strategy, "is_due", True)
    assert scene.done() == [("rebalance", XRP.address)]
    scene.nodes.set(ADA.strategy, "holdings", holdings())
    scene.tick()
    said = [each["event"] for each in logs if each["event"].startswith("no answer of")]
    assert said == ["no answer of ADA keep", "no answer of ADA keep: over"]


def test_tick__without_events_vaults_are_looked_after(scene: Scene) -> None:
    scene.nodes.deaf = True
    scene.nodes.set(ADA.strategy, "is_due", True)
    with pytest.raises(ChainError, match="logs are not served"):
        scene.tick()
    assert [each.kind for each in scene.lane.offers] == ["rebalance"]


def test_tick__requests_take_turns_with_a_vault_that_stays_due(scene: Scene) -> None:
    scene.nodes.set(ADA.strategy, "is_due", True)
    scene.nodes.request(ADA, 2)
    kinds = [kind for _ in range(4) for kind, _ in scene.done()]
    assert kinds == ["rebalance", "deposit", "rebalance", "deposit"]
    subjects = {each.subject for each in scene.lane.offers if each.kind == "deposit"}
    assert len(subjects) == 2


def test_tick__of_many_requests_all_are_tried_in_the_end(scene: Scene) -> None:
    scene.nodes.set(ADA.address, "settle_deposit", Reverted("too soon"))
    scene.nodes.request(ADA, 2 * TRIALS)
    for ticks in (1, 2):
        assert scene.done(NOW + ticks) == []
        assert len({each.data for each in scene.nodes.tried}) == ticks * TRIALS


def test_tick__many_small_requests_hold_up_no_large_one(scene: Scene) -> None:
    """In whichever vault; and those that are tried first are the largest too."""
    scene.nodes.request(ADA, 2 * TRIALS)
    scene.nodes.set(XRP.address, "pendingDepositRequest", 10**18)
    large = address(99)
    scene.nodes.events.append(
        Event("DepositRequest", Struct(("controller",), (large,)), XRP.address)
    )
    assert scene.done() == [("deposit", f"{XRP.address}/{large}")]


def test_tick__shares_of_which_nothing_is_said(scene: Scene) -> None:
    scene.nodes.set(ADA.address, "convertToAssets", Reverted("no price"))
    scene.nodes.set(ADA.address, "settle_redeem", 1)
    scene.nodes.request(ADA, shares=7)
    assert [kind for kind, _ in scene.done()] == ["redemption"]


def test_tick__a_redemption_set_apart_in_this_block_waits_for_the_next(scene: Scene) -> None:
    """Its settling gives 0 in it whatever comes after, while 0 is progress in all other cases."""
    scene.nodes.request(ADA, shares=7)
    scene.nodes.set(ADA.address, "settle_redeem", 0)
    apart = redemption(shares=0, apart_shares=7, apart_at=NOW)
    scene.nodes.set(ADA.address, "redemption", apart)
    assert scene.done() == []
    scene.nodes.set(ADA.address, "settle_redeem", 1)
    assert scene.done() == [("redemption", f"{ADA.address}/{address(100)}")]
    scene.nodes.set(ADA.address, "settle_redeem", 0)
    for past in (redemption(), redemption(shares=0, apart_shares=7, apart_at=NOW - 1)):
        scene.nodes.set(ADA.address, "redemption", past)
        assert scene.done() == [("redemption", f"{ADA.address}/{address(100)}")]


def test_tick__a_redemption_of_too_few_tokens_holds_up_nothing(scene: Scene) -> None:
    scene.nodes.request(ADA, shares=7)
    scene.nodes.set(ADA.address, "settle_redeem", Reverted("too few tokens"))
    scene.nodes.set(XRP.strategy, "is_due", True)
    assert scene.done() == scene.done() == [("rebalance", XRP.address)]
    scene.nodes.set(ADA.address, "settle_redeem", 1)
    # it has not rested, so that it has its turn as soon as it brings something
    assert scene.done() == [("redemption", f"{ADA.address}/{address(100)}")]


def test_tick__what_failed_rests(scene: Scene) -> None:
    scene.nodes.set(ADA.strategy, "is_due", True)
    scene.lane.outcome = "reverted"
    assert scene.done() == [("rebalance", ADA.address)]
    scene.lane.outcome = "sent"
    assert scene.done(NOW + FIRST_REST - 1) == []
    scene.lane.outcome = "unmet"
    scene.lane.offers.clear()
    assert scene.done(NOW + FIRST_REST) == [("rebalance", ADA.address)]
    scene.lane.outcome = "sent"
    assert scene.done(NOW + 2 * FIRST_REST) == [("rebalance", ADA.address)]
    assert figure(scene.role.metrics, "rebalances", outcome="failed") == 2


def test_tick__a_request_that_failed_rests_longer_each_time(scene: Scene) -> None:
    scene.nodes.request(ADA)
    for rest in (FIRST_REST, 2 * FIRST_REST, 4 * FIRST_REST):
        start = NOW + 2 * rest
        scene.lane.outcome = "reverted"
        scene.lane.offers.clear()
        assert [kind for kind, _ in scene.done(start)] == ["deposit"]
        scene.lane.outcome = "sent"
        assert scene.done(start + rest - 1) == []
    assert figure(scene.role.metrics, "settlements", work="deposit", outcome="failed") == 3


def test_tick__what_landed_begins_anew(scene: Scene) -> None:
    scene.nodes.request(ADA)
    scene.lane.outcome = "reverted"
    scene.tick(NOW)
    scene.lane.outcome = "landed"
    scene.tick(NOW + FIRST_REST)
    scene.lane.outcome = "reverted"
    scene.lane.offers.clear()
    assert [kind for kind, _ in scene.done(NOW + FIRST_REST + 1)] == ["deposit"]
    scene.lane.outcome = "sent"
    assert [kind for kind, _ in scene.done(NOW + 2 * FIRST_REST + 1)] == ["deposit"]


def test_tick__dry_run(nodes: Nodes, logs: list[Any]) -> None:
    scene = scene_of(nodes, outbox=None)
    nodes.set(ADA.strategy, "is_due", True)
    assert scene.tick().chosen is not None
    # once, and not each tick
    assert scene.tick().chosen is None
    assert [each["event"] for each in logs].count("would send") == 1


def test_tick__funding_that_has_not_reached_the_venue(scene: Scene) -> None:
    scene.nodes.set(ADA.venue, "state", SimpleNamespace(accrued_at=NOW - 60))
    scene.nodes.set(ADA.venue, "settle_funding", 5)
    scene.nodes.set(ORACLE, "feed", SimpleNamespace(observed_at=NOW - 60))
    assert scene.done() == []
    scene.nodes.set(ORACLE, "feed", SimpleNamespace(observed_at=NOW - 59))
    assert scene.done() == [("venue funding", ADA.address)]
    # without a short there is nothing to accrue
    scene.nodes.set(ADA.venue, "position", position(size=0))
    assert scene.done(NOW + FIRST_REST) == []


# -- what it costs --


@pytest.mark.parametrize(("spent", "sent"), [(86, True), (87, False)])
def test_budget__of_vaults(nodes: Nodes, spent: int, sent: bool) -> None:
    """A million units of gas and a quarter more, at 11 gwei: 0.01375 ether."""
    scene = scene_of(nodes, spent=lambda now: spent * 10**15, budget=Budget(10**17))
    nodes.set(ADA.strategy, "is_due", True)
    assert bool(scene.done()) is sent
    assert figure(scene.role.metrics, "over_budget", work="vaults") == (not sent)
    assert figure(scene.role.metrics, "spent_ether") == pytest.approx(spent / 1_000)


def test_budget__requests_leave_half_to_vaults(nodes: Nodes) -> None:
    scene = scene_of(nodes, spent=lambda now: 40 * 10**15, budget=Budget(10**17))
    nodes.request(ADA)
    assert scene.done() == []
    assert figure(scene.role.metrics, "over_budget", work="requests") == 1
    nodes.set(ADA.strategy, "is_due", True)
    assert scene.done() == [("rebalance", ADA.address)]


def transaction(state: Any, *, planned_at: int, hash_: str = "", attempts: int = 1) -> Transaction:
    mined = Mined(hash_, 1, "0x", True) if hash_ else None
    tried = tuple(Attempt("0x1", b"", Fees(7, 1), planned_at) for _ in range(attempts))
    facts = (None, SENDER, 1, 1_000, mined, None, "", ())
    return Transaction(1, state, planned_at, *facts, tried)


def test_spending__by_receipts_and_by_what_is_offered() -> None:
    asked: list[str] = []

    def receipt(name: str) -> Any:
        asked.append(name)
        return None if name == "pruned" else SimpleNamespace(gas_used=500, gas_price=4)

    recent = [
        transaction("planned", planned_at=NOW, attempts=0),
        transaction("sent", planned_at=NOW),
        transaction("done", planned_at=NOW - 10, hash_="there"),
        transaction("failed", planned_at=NOW - 20, hash_="pruned"),
        transaction("abandoned", planned_at=NOW - 20),
        transaction("done", planned_at=NOW - 86_400, hash_="yesterday's"),
    ]
    journal: Any = SimpleNamespace(recent=lambda count: recent[:count])
    nodes: Any = SimpleNamespace(receipt=receipt)
    spending = Spending(nodes, journal)
    assert spending.last_day(NOW) == 7_000 + 2_000 + 7_000
    # of what is known nobody is asked again
    assert spending.last_day(NOW) == 16_000
    assert asked == ["there", "pruned", "pruned"]


def test_spending__of_a_day_with_many_transactions() -> None:
    recent = [transaction("sent", planned_at=NOW - number) for number in range(5 * FEW)]
    old = [transaction("sent", planned_at=NOW - 86_400 - number) for number in range(5 * FEW)]
    journal: Any = SimpleNamespace(recent=lambda count: (recent + old)[:count])
    nodes: Any = SimpleNamespace()
    assert Spending(nodes, journal).last_day(NOW) == 5 * FEW * 7_000


# -- what is told --


def test_health__a_vault_that_stays_due(scene: Scene) -> None:
    scene.nodes.set(ADA.strategy, "is_due", True)
    scene.tick()
    # its own order does not end it
    scene.nodes.set(ADA.strategy, "is_due", False)
    scene.nodes.set(ADA.venue, "position", position(pending=3))
    scene.tick(NOW + OVERDUE)
    assert scene.role.health.check(NOW) == []
    scene.tick(NOW + OVERDUE + 1)
    assert scene.role.health.check(NOW) == ["vault ADA keep: due for 1801 s"]
    assert figure(scene.role.metrics, "vault_due_timestamp_seconds", vault="ADA keep") == NOW
    scene.nodes.set(ADA.venue, "position", position())
    scene.tick(NOW + OVERDUE + 2)
    assert scene.role.health.check(NOW) == []
    assert figure(scene.role.metrics, "vault_due_timestamp_seconds", vault="ADA keep") == 0


def test_figures__an_order_and_the_next(scene: Scene) -> None:
    for now, pending, since in ((NOW, 3, NOW), (NOW + 5, 3, NOW), (NOW + 9, 4, NOW + 9), (1, 0, 0)):
        scene.nodes.set(ADA.venue, "position", position(pending=pending))
        scene.tick(now)
        assert figure(scene.role.metrics, "vault_order_timestamp_seconds") == since


def test_figures__requests_and_the_oldest_of_them(scene: Scene) -> None:
    scene.nodes.request(ADA, 2, shares=7)
    scene.tick(NOW)
    scene.nodes.request(ADA, 3, shares=7)
    scene.tick(NOW + 60)
    labels = {"vault": "ADA keep", "kind": "redemption"}
    assert figure(scene.role.metrics, "vault_requests", **labels) == 3
    assert figure(scene.role.metrics, "vault_request_timestamp_seconds", **labels) == NOW


def test_figures__without_a_short_no_margin(scene: Scene) -> None:
    scene.nodes.set(ADA.strategy, "holdings", holdings(short=0, equity=0))
    scene.tick()
    assert math.isnan(figure(scene.role.metrics, "vault_margin", vault="ADA keep"))


# -- reading --


def test_vaults_of__a_record_that_is_of_something_else(nodes: Nodes) -> None:
    entry = {
        "reverse": REVERSE,
        "forward": address(9),
        "venue": ADA.venue,
        "token": TOKEN,
        "vaults": {"keep": {"vault": ADA.address, "strategy": ADA.strategy}},
    }
    record: Any = SimpleNamespace(markets={"ADA": entry, "XRP": {"reverse": REVERSE}}, path="r")
    config = SimpleNamespace(leg=SimpleNamespace(liquidation_ltv=ADA.liquidation_ltv))
    nodes.set(ADA.strategy, "legs", (REVERSE, address(9), ADA.venue))
    nodes.set(REVERSE, "config", config)
    nodes.set(ADA.venue, "maintenance_margin", ADA.maintenance_margin)
    assert vaults_of(nodes, record) == [ADA]
    assert vaults_of(nodes, record, ["XRP"]) == []
    nodes.set(ADA.strategy, "legs", (REVERSE, address(9), XRP.venue))
    with pytest.raises(Exception, match="the strategy of ADA keep is not of this market's pools"):
        vaults_of(nodes, record)


def test_stands_of__a_venue_without_funding_of_its_own(nodes: Nodes) -> None:
    stands, silent = stands_of(nodes, [ADA], ORACLE)
    assert not stands[0].funding_due
    assert silent == {}


CHANGES: dict[Work, tuple[str, str, Any]] = {
    Work.ORDER: (ADA.venue, "position", position(pending=3)),
    Work.REBALANCE: (REVERSE, "position", (10**20, 10**18 + 1)),
    Work.REDEEM: (ADA.venue, "position", position(pending=3)),
    Work.DEPOSIT: (ADA.address, "pendingDepositRequest", 6),
    Work.FUNDING: (ADA.venue, "state", SimpleNamespace(accrued_at=NOW + 1)),
}
"""What each is to bring about, for one."""


@pytest.mark.parametrize("work", Work)
def test_read_back__what_is_as_it_was_is_unmet(nodes: Nodes, work: Work) -> None:
    nodes.set(ADA.venue, "state", SimpleNamespace(accrued_at=NOW))
    nodes.request(ADA)
    task = Task(work, ADA, address(100) if work in (Work.DEPOSIT, Work.REDEEM) else "")
    [trace] = traces_of(nodes, [task])
    intents = parcel_of(task, 3, trace, nodes.head()).intents
    assert [(each.kind, each.subject) for each in intents] == [(work.value, task.subject)]
    unmet = read_back(nodes, [ADA])
    assert unmet(intents, nodes.head()) == [*intents]
    contract, name, answer = CHANGES[work]
    nodes.set(contract, name, answer)
    assert unmet(intents, nodes.head()) == []
    # what cannot be told is not believed
    nodes.set(contract, name, Reverted("gone"))
    assert unmet(intents, nodes.head()) == [*intents]


def test_read_back__a_redemption_that_is_only_set_apart_is_met(nodes: Nodes) -> None:
    """And USDT that somebody brings for it is none of what was done."""
    task = Task(Work.REDEEM, ADA, address(100))
    [trace] = traces_of(nodes, [task])
    intents = parcel_of(task, 0, trace, nodes.head()).intents
    unmet = read_back(nodes, [ADA])
    nodes.set(ADA.address, "redemption", redemption(usdt=1))
    assert unmet(intents, nodes.head()) == [*intents]
    nodes.set(ADA.address, "redemption", redemption(shares=0, apart_shares=7, apart_at=NOW))
    assert unmet(intents, nodes.head()) == []


def test_read_back__neither_time_nor_price_is_a_change(nodes: Nodes) -> None:
    task = Task(Work.REBALANCE, ADA)
    [trace] = traces_of(nodes, [task])
    nodes.set(ADA.strategy, "holdings", holdings(price_e36=2 * 10**25))
    nodes.set(ADA.venue, "position", position(funding=5))
    assert traces_of(nodes, [task]) == [trace]


def test_read_back__of_a_vault_that_is_not_served(nodes: Nodes) -> None:
    intent = Intent("rebalance", XRP.address, NOW, "it")
    assert read_back(nodes, [ADA])([intent], nodes.head()) == []
