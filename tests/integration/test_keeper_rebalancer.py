"""The rebalancer on anvil: nodes, journal, outbox, and the vaults with their own venue."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from perpool.anvil import Anvil
from tests.chaos.world import figure
from tests.integration.market_on_anvil import AnvilMarket, key
from tests.integration.vault_on_anvil import (
    ETHER,
    HOUR,
    TOKEN,
    Carry,
    Keeper,
    lend,
    price_of,
)

CARRY = 2


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnvilMarket]:
    with Anvil(base_fee=10**9) as anvil:
        made = AnvilMarket.deploy(anvil, tmp_path_factory.mktemp("deployments") / "local.json")
        lend(made)
        made.chain.set_balance(key("rebalancer").address, 10 * ETHER)
        yield made


@pytest.fixture
def world(market: AnvilMarket) -> Iterator[AnvilMarket]:
    with market.chain.anchor():
        markets = dict(market.record.markets)
        yield market
        market.record.markets = markets


Start = Callable[..., Keeper]


@pytest.fixture
def start(world: AnvilMarket, tmp_path: Path) -> Iterator[Start]:
    """Starts keepers over the same files, one after the other."""
    running: list[Keeper] = []

    def start(**changes: Any) -> Keeper:
        for each in running:
            each.stop()
        running[:] = [Keeper(world.chain, world.record, world.anvil.endpoint, tmp_path, **changes)]
        return running[0]

    yield start
    for each in running:
        each.stop()


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[Any]]:
    with capture_logs() as lines:
        yield lines


def carrying(world: AnvilMarket, start: Start, **options: Any) -> tuple[Carry, Keeper]:
    """A vault with 10,000 tokens, whose keeper has brought it to carry."""
    carry = Carry.deploy(world, "ADA", **options)
    carry.deposit("holder", 10_000)
    world.chain.warp(80 * HOUR)
    price_of(world, "10")
    keeper = start()
    settle(world, keeper)
    assert carry.vault.mode() == CARRY
    return carry, keeper


def settle(world: AnvilMarket, keeper: Keeper) -> None:
    """Work, with new prices for a venue that waits for one, until nothing is left."""
    for _ in range(6):
        keeper.work()
        price_of(world, "10")
    keeper.work()


def test_due__brought_to_carry_and_after_a_move_of_the_price_back(
    world: AnvilMarket, start: Start
) -> None:
    carry, keeper = carrying(world, start)
    assert not carry.vault.is_due()
    assert set(keeper.sent) <= {"rebalance", "venue funding"}
    assert carry.margin() == pytest.approx(0.5, abs=0.01)
    shares = carry.vault.balanceOf(key("rebalancer"))
    # as it pays its tip to whom it sees, that is not a multicall
    assert shares > 0

    price_of(world, "11")
    assert carry.vault.is_due()
    assert carry.margin() < 0.45
    landed = figure(keeper.metrics, "rebalances", vault="ADA keep", outcome="landed")
    keeper.work()
    assert not carry.vault.is_due()
    assert carry.margin() == pytest.approx(0.5, abs=0.01)
    assert figure(keeper.metrics, "rebalances", vault="ADA keep", outcome="landed") > landed
    assert figure(keeper.metrics, "rebalances", outcome="failed") == 0
    assert figure(keeper.metrics, "vault_due_timestamp_seconds") == 0
    assert figure(keeper.metrics, "vault_margin") == pytest.approx(0.5, abs=0.01)
    assert {each.state for each in keeper.journal.recent(99)} <= {"done", "mined"}
    assert figure(keeper.metrics, "spent_ether") > 0


def test_deposit__settled_at_the_next_price(world: AnvilMarket, start: Start) -> None:
    carry, keeper = carrying(world, start)
    account = carry.request_deposit("newcomer", 500)
    sent = len(keeper.sent)
    assert keeper.tick().ready == ()
    assert figure(keeper.metrics, "vault_requests", kind="deposit") == 1
    assert figure(keeper.metrics, "vault_request_timestamp_seconds", kind="deposit") > 0

    price_of(world, "10")
    keeper.work()
    assert keeper.sent[sent:].count("deposit") == 1
    assert carry.vault.maxDeposit(account) == 500 * TOKEN
    assert figure(keeper.metrics, "vault_requests", kind="deposit") == 0
    assert figure(keeper.metrics, "settlements", work="deposit", outcome="landed") == 1
    assert len(keeper.follower.indexes[carry.address]) == 0


def test_redemption__in_a_venue_that_takes_its_time(world: AnvilMarket, start: Start) -> None:
    """The order goes out, is confirmed at the next price, and then the redemption is finished."""
    carry, keeper = carrying(world, start, delay_blocks=3)
    holder = key("holder")
    shares = carry.vault.balanceOf(holder) // 4
    carry.vault.requestRedeem(shares, holder, holder, sender=holder)
    price_of(world, "10")
    sent = len(keeper.sent)
    keeper.work()
    assert carry.venue.position(carry.strategy).pending != 0
    assert carry.vault.maxRedeem(holder) == 0
    assert keeper.sent[sent:][-1] == "redemption"
    assert figure(keeper.metrics, "vault_order_timestamp_seconds") > 0

    # nobody else does any of it, and a new process does not know what the old one did
    keeper = start()
    price_of(world, "10")
    world.chain.mine(3)
    keeper.work()
    assert keeper.sent[sent:].count("redemption") == 2
    assert "order" in keeper.sent[sent:]
    assert carry.vault.maxRedeem(holder) == shares
    assert figure(keeper.metrics, "vault_requests", kind="redemption") == 0


def test_redemption__filled_at_a_price_that_brings_too_few_tokens(
    world: AnvilMarket, start: Start
) -> None:
    """It is set apart, holds up nobody for the hour in which its least counts, and is paid out."""
    carry, keeper = carrying(world, start, delay_blocks=3)
    holder, vault = key("holder"), carry.vault
    shares = vault.balanceOf(holder) // 4
    least = vault.convertToAssets(shares) - 3 * TOKEN
    vault.request_redeem(shares, holder, holder, 0, least, sender=holder)
    price_of(world, "10")
    sent = len(keeper.sent)
    keeper.work()
    assert keeper.sent[sent:].count("redemption") == 1

    # the short is closed dearer than the least allows for
    price_of(world, "10.08")
    world.chain.mine(3)
    keeper.work()
    apart = vault.redemption(holder)
    assert apart.apart_shares == shares
    assert world.chain.timestamp < apart.apart_at + HOUR
    assert keeper.sent[sent:].count("redemption") == 2
    assert vault.maxRedeem(holder) == 0

    account = carry.request_deposit("newcomer", 500)
    settle(world, keeper)
    assert vault.maxDeposit(account) == 500 * TOKEN
    assert keeper.sent[sent:].count("redemption") == 2
    assert vault.redemption(holder).apart_shares == shares

    world.chain.warp(HOUR)
    price_of(world, "10.08")
    keeper.work()
    assert vault.maxRedeem(holder) == shares
    assert 0.99 * least < vault.maxWithdraw(holder) < least
    assert figure(keeper.metrics, "settlements", work="redemption", outcome="landed") == 3
    assert figure(keeper.metrics, "settlements", outcome="failed") == 0


def test_venue_stalls__the_other_vault_goes_on(world: AnvilMarket, start: Start) -> None:
    stalled = Carry.deploy(world, "STALLED", delay_blocks=1_000)
    carry = Carry.deploy(world, "ADA")
    for each in (stalled, carry):
        each.deposit("holder", 10_000)
    world.chain.warp(80 * HOUR)
    price_of(world, "10")
    keeper = start()
    settle(world, keeper)
    order = stalled.venue.position(stalled.strategy).pending
    assert order != 0
    assert stalled.venue.position(stalled.strategy).size == 0
    assert not carry.vault.is_due()
    assert carry.venue.position(carry.strategy).size < 0

    price_of(world, "11")
    keeper.work()
    assert carry.margin() == pytest.approx(0.5, abs=0.01)
    # what it was due for has not come about
    world.chain.warp(2 * HOUR)
    keeper.tick()
    assert [each.partition(":")[0] for each in keeper.health.check(0)] == ["vault STALLED keep"]
    # past its time the order fails, and the next one goes out
    price_of(world, "11")
    keeper.work()
    assert stalled.venue.position(stalled.strategy).pending > order
    assert carry.margin() == pytest.approx(0.5, abs=0.01)


def test_budget__what_is_left_over_waits_for_tomorrow(world: AnvilMarket, start: Start) -> None:
    carry, keeper = carrying(world, start)
    spent = round(figure(keeper.metrics, "spent_ether") * ETHER)
    account = carry.request_deposit("newcomer", 500)
    keeper = start(budget=2 * spent)
    price_of(world, "11")
    keeper.work()
    # the vault has all of it, requests have half
    assert not carry.vault.is_due()
    assert carry.vault.maxDeposit(account) == 0
    assert figure(keeper.metrics, "over_budget", work="requests") == 1
    assert figure(keeper.metrics, "over_budget", work="vaults") == 0

    keeper = start(budget=spent)
    price_of(world, "12")
    keeper.work()
    assert carry.vault.is_due()
    assert figure(keeper.metrics, "over_budget", work="vaults") == 1

    world.chain.warp(24 * HOUR + 600)
    price_of(world, "12")
    keeper.work()
    assert not carry.vault.is_due()
    assert figure(keeper.metrics, "over_budget", work="vaults") == 0


def test_nothing_can_be_done__nothing_is_sent(
    world: AnvilMarket, start: Start, logs: list[Any]
) -> None:
    """Due, and the trial says that the call would bring nothing; when it would, it is sent."""
    carry, keeper = carrying(world, start)
    reverse, lender = world.contract("ADA.reverse"), key("lender")
    lent = reverse.maxWithdraw(lender)
    reverse.withdraw(lent, lender, lender, sender=lender)
    carry.vault.set_limits(2**128, 0)
    price_of(world, "11")
    sent = len(keeper.sent)
    keeper.work()
    assert carry.vault.is_due()
    assert "rebalance" not in keeper.sent[sent:]
    assert [each["reason"] for each in logs if each["event"] == "rebalance of ADA keep"] == [
        "due, and pools, venue and market let nothing be done"
    ]
    reverse.deposit(lent, lender, sender=lender)
    keeper.work()
    assert not carry.vault.is_due()
