"""Attacks on redemptions from a carry vault whose venue takes its time, between order and payment.

What one redeemer does, or what happens to position, loan and lenders' cash in the meantime, stops
nobody else and moves no value between him and those who stay.
"""

from __future__ import annotations

from typing import Any

import pytest

from perpool.evm import Account, Evm, reverts
from tests.market import MAX
from tests.vaults import KEEP, NEUTRAL, Vault, deploy_vault

BOTH = pytest.mark.parametrize("preset", [KEEP, NEUTRAL], ids=["keep", "neutral"])


def slow_vault(evm: Evm, preset: Any = KEEP, **options: Any) -> Vault:
    """Empty, at the product's venue with a block's delay."""
    return deploy_vault(evm, preset, real_venue=True, **({"delay_blocks": 1} | options))


def carry(vault: Vault) -> None:
    vault.set_funding(50)
    for _ in range(10):
        vault.rebalance()
        vault.wait(12)
    assert vault.holdings().short > 0
    assert not vault.contract.is_due()


def order(vault: Vault, who: Account, shares: int = 0, **asked: int) -> int:
    """His redemption's order goes out. Returns its id."""
    vault.request_redeem(who, shares or vault.contract.balanceOf(who), **asked)
    vault.observe()
    assert vault.contract.settle_redeem(who) == 0
    pending = int(vault.position().pending)
    assert pending
    return pending


def let_time_pass(vault: Vault) -> None:
    """A block, and a price after the order."""
    vault.evm.mine(2)
    vault.wait(12)


def paid(vault: Vault, who: Account) -> int:
    """Taken in, and paid out by himself."""
    vault.contract.settle_redeem(who, sender=who)
    return int(vault.contract.maxWithdraw(who))


# --- stopping everybody


def test_request__terms_added_while_the_order_is_out(evm: Evm) -> None:
    """They would have to be split as what is ordered is, and no least is too large for that."""
    vault = slow_vault(evm)
    contract = vault.contract
    vault.deposit("victim", vault.tokens(1_000))
    attacker = vault.deposit("attacker", vault.tokens(1))
    carry(vault)
    shares = contract.balanceOf(attacker)
    with reverts("amount too large"):
        vault.request_redeem(attacker, shares // 2, min_tokens=2**112 + 1)
    for _ in range(3):
        vault.request_redeem(attacker, shares // 8)
    order(vault, attacker, shares // 2)
    with reverts("order pending"):
        vault.request_redeem(attacker, 1)
    let_time_pass(vault)
    assert contract.settle_redeem(attacker) > 0


def test_request__the_largest_least(evm: Evm) -> None:
    """It keeps the order in, and nobody else from anything."""
    vault = slow_vault(evm)
    contract = vault.contract
    victim = vault.deposit("victim", vault.tokens(1_000))
    attacker = vault.deposit("attacker", vault.tokens(1))
    carry(vault)
    for _ in range(3):
        vault.request_redeem(attacker, contract.balanceOf(attacker) // 2, min_tokens=2**112)
    vault.observe()
    with reverts("too few tokens"):
        contract.settle_redeem(attacker)
    order(vault, victim)
    let_time_pass(vault)
    assert contract.settle_redeem(victim) > vault.tokens(990)


@pytest.mark.parametrize("shares", [1, 1_000, 10**6])
def test_dust__a_part_of_what_is_lent_that_is_worth_nothing(evm: Evm, shares: int) -> None:
    """The forward pool refuses to redeem it; that is in nobody's way."""
    vault = slow_vault(evm)
    contract, market = vault.contract, vault.market
    victim = vault.deposit("victim", vault.tokens(1_000))
    attacker = vault.deposit("attacker", vault.tokens("0.001"))
    market.short(margin=vault.usd(2_000), tokens=vault.tokens(100))
    carry(vault)
    assert vault.holdings().lent > vault.tokens(99)
    market.lend("attacker", tokens=vault.tokens(1))
    number = order(vault, attacker, shares)
    let_time_pass(vault)
    vault.venue.settle(number)
    vault.rebalance()
    assert contract.totalSupply() > 0
    assert contract.redemption(attacker).apart_shares == shares
    order(vault, victim, contract.balanceOf(victim) // 1_000)


@pytest.mark.parametrize("delay_blocks", [0, 1])
def test_dust__two_units_that_stay_lent(evm: Evm, delay_blocks: int) -> None:
    """Left so by who lends and has the vault take its tokens back within one block."""
    vault = slow_vault(evm, delay_blocks=delay_blocks)
    contract, market = vault.contract, vault.market
    vault.deposit("alice", vault.tokens(700))
    bob = vault.deposit("bob", vault.tokens(300))
    market.short(margin=vault.usd(6_000), tokens=vault.tokens(100))
    carry(vault)
    attacker = market.give(evm.account("attacker"), tokens=vault.tokens(200))
    with evm.same_block():
        missing = vault.holdings().lent - market.token.balanceOf(market.forward)
        market.forward.deposit(missing - 2, attacker, sender=attacker)
        assert vault.rebalance("attacker")
        assert 0 < vault.holdings().lent <= 2
    carry(vault)
    market.lend("attacker", tokens=vault.tokens(1))
    vault.request_redeem(bob, contract.balanceOf(bob))
    vault.observe()
    if contract.settle_redeem(bob) == 0:
        let_time_pass(vault)
        contract.settle_redeem(bob)
    assert contract.maxWithdraw(bob) > vault.tokens(297)


# --- taking from him, or from those who stay


def test_lenders_take_their_tokens_between_order_and_fill(evm: Evm) -> None:
    """What the forward pool cannot pay any more comes in collateral."""
    vault = slow_vault(evm)
    contract, market = vault.contract, vault.market
    attacker = vault.deposit("attacker", vault.tokens(900))
    bob = vault.deposit("bob", vault.tokens(100))
    market.short(margin=vault.usd(6_000), tokens=vault.tokens(400))
    carry(vault)
    lender = market.lend("lender", tokens=vault.tokens(9))
    assert not contract.is_due()
    shares = contract.balanceOf(bob) // 5
    fair = contract.convertToAssets(shares)
    stake = contract.convertToAssets(contract.balanceOf(attacker))
    order(vault, bob, shares, min_tokens=fair * 99 // 100)
    cash = market.token.balanceOf(market.forward)
    market.forward.withdraw(cash - 10, lender, lender, sender=lender)
    let_time_pass(vault)
    vault.rebalance()
    assert paid(vault, bob) > fair * 99 // 100
    gain = contract.convertToAssets(contract.balanceOf(attacker)) - stake
    # but for interest
    assert abs(gain) < vault.tokens("0.01")


@BOTH
@pytest.mark.parametrize("when", ["never", "before the fill", "after it"])
def test_deleveraged_between_order_and_payment(evm: Evm, preset: Any, when: str) -> None:
    """What closes the others' short is not taken for what closed his."""
    vault = slow_vault(evm, preset)
    contract, market, venue = vault.contract, vault.market, vault.venue
    vault.deposit("alice", vault.tokens(1_000))
    bob = vault.deposit("bob", vault.tokens(500))
    carry(vault)
    trader = vault.give("trader", usdt=vault.usd(20_000_000))
    market.usdt.approve(venue, MAX, sender=trader)
    size = venue.room()[0] * 999 // 1_000
    taken = venue.request(-size, vault.usd(15_000_000), 0, evm.timestamp + 1_000, sender=trader)
    let_time_pass(vault)
    venue.settle(taken)
    shares, supply = contract.balanceOf(bob), contract.totalSupply()
    fair, rest = (contract.totalAssets() * each // supply for each in (shares, supply - shares))
    number = order(vault, bob, shares)

    def deleverage() -> None:
        vault.set_funding(200)
        assert venue.auto_deleverage(vault.strategy, vault.holdings().short // 2) > 0

    evm.mine(2)
    vault.observe()
    if when == "before the fill":
        deleverage()
    venue.settle(number)
    if when == "after it":
        deleverage()
    assert paid(vault, bob) == pytest.approx(fair, rel=3e-3)
    assert contract.totalAssets() == pytest.approx(rest, rel=1e-3)


@BOTH
@pytest.mark.parametrize("taken_in", [True, False])
def test_liquidated_between_fill_and_payment(evm: Evm, preset: Any, taken_in: bool) -> None:
    """The others' short is; his has been closed, whether anybody has taken that in or not."""
    vault = slow_vault(evm, preset)
    contract, venue = vault.contract, vault.venue
    alice = vault.deposit("alice", vault.tokens(1_000))
    bob = vault.deposit("bob", vault.tokens(500))
    carry(vault)
    number = order(vault, bob)
    let_time_pass(vault)
    venue.settle(number)
    if taken_in:
        vault.rebalance()
    vault.set_price(15)
    venue.liquidate(vault.strategy, alice, sender=alice)
    # bought back at 10 and a rise of his own afterwards: what his debt was worth in tokens then
    assert paid(vault, bob) == pytest.approx(vault.tokens(500), rel=5e-3)
    assert contract.totalAssets() < vault.tokens(1_000) * (1 - preset.hedge_ratio / 10**18 / 4)


def test_liquidated_loan__what_is_supplied_afterwards_is_not_the_parts(evm: Evm) -> None:
    """A part waits while the loan is liquidated into it; who comes later does not fill it up."""
    vault = deploy_vault(evm, KEEP)
    contract, market = vault.contract, vault.market
    bob, alice = (vault.deposit(n, vault.tokens(k)) for n, k in (("bob", 1_000), ("alice", 100)))
    vault.carry()
    vault.set_price(14)
    for _ in range(6):
        vault.rebalance()
    vault.venue.set_late(True)
    vault.venue.set_stalled(True)
    vault.request_redeem(bob, contract.balanceOf(bob))
    vault.observe()
    contract.settle_redeem(bob)
    vault.venue.set_stalled(False)
    vault.rebalance()
    vault.venue.set_late(False)
    for price in (8, 6, 5, 4, 3.5):
        vault.set_price(price)
        vault.rebalance()
    liquidator = market.give(evm.account("liquidator"), usdt=vault.usd(100_000))
    market.reverse.liquidate(vault.strategy, MAX, liquidator, b"", sender=liquidator)
    held = market.reverse.position(vault.strategy)[0]
    assert held < vault.strategy.set_apart()[0]
    worth = contract.totalAssets()
    vault.rebalance()
    assert contract.totalAssets() > worth * 99 // 100
    assert market.reverse.position(vault.strategy)[0] == held
    assert contract.balanceOf(alice) > 0


# --- small ones


@pytest.mark.parametrize(
    ("decimals", "price", "tokens"),
    [
        (8, 10, "0.01"),
        (6, 10, "0.01"),
        (8, 50_000, "0.001"),
        (8, 50_000, "0.005"),
        (18, 10, "0.001"),
    ],
)
def test_small__what_it_owes_can_be_sold_for(
    evm: Evm, decimals: int, price: int, tokens: str
) -> None:
    vault = slow_vault(evm, token_decimals=decimals, price=price)
    vault.deposit("alice", vault.tokens(100))
    bob = vault.deposit("bob", vault.tokens(tokens))
    carry(vault)
    order(vault, bob)
    let_time_pass(vault)
    vault.rebalance()
    assert paid(vault, bob) > vault.tokens(tokens) * 9 // 10
    assert vault.strategy.set_apart() == (0, 0)


@pytest.mark.parametrize("decimals", [6, 8, 18])
def test_small__a_crumb_of_the_others_debt(evm: Evm, decimals: int) -> None:
    """He brings all he owes; what the others would owe is too small for the pool, and sold for."""
    vault = slow_vault(evm, token_decimals=decimals, delay_blocks=0)
    bob = vault.deposit("bob", vault.tokens(100))
    vault.deposit("attacker", vault.tokens("0.0001"))
    carry(vault)
    assert vault.redeem(bob, vault.contract.balanceOf(bob), usdt=vault.usd(1_000)) > vault.tokens(
        98
    )
