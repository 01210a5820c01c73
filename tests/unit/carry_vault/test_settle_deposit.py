"""`CarryVault.settle_deposit`."""

from __future__ import annotations

import pytest

from perpool.evm import Account, Evm, reverts
from tests.market import wad
from tests.pools import Balances
from tests.vaults import CARRY, Vault, deploy_vault


def test_settle_deposit__nothing_asked(plain: Vault, alice: Account) -> None:
    with reverts("no request"):
        plain.contract.settle_deposit(alice)


def test_settle_deposit__at_a_price_observed_before_or_with_it(
    plain: Vault, alice: Account
) -> None:
    with plain.evm.same_block():
        plain.request_deposit(alice, plain.tokens(1))
        plain.market.refresh_price()
    with reverts("too soon"):
        plain.contract.settle_deposit(alice)
    plain.market.refresh_price()
    # asking for more begins anew
    plain.request_deposit(alice, plain.tokens(1))
    with reverts("too soon"):
        plain.contract.settle_deposit(alice)
    plain.market.refresh_price()
    plain.contract.settle_deposit(alice)
    assert plain.contract.maxDeposit(alice) == plain.tokens(2)


def test_settle_deposit__with_an_order_pending(plain: Vault, alice: Account, bob: Account) -> None:
    plain.deposit(alice, plain.tokens(1_000))
    plain.venue.set_late(True)
    plain.venue.set_stalled(True)
    plain.set_funding(50)
    plain.rebalance()
    plain.request_deposit(bob, plain.tokens(1))
    plain.observe()
    assert plain.contract.settle_deposit(bob) == 0
    assert plain.contract.pendingDepositRequest(0, bob) == plain.tokens(1)
    plain.venue.set_stalled(False)
    assert plain.contract.settle_deposit(bob) > 0
    assert plain.contract.maxDeposit(bob) == plain.tokens(1)


def test_settle_deposit__so_little_that_it_is_no_share(
    plain: Vault, alice: Account, bob: Account
) -> None:
    """A gift has made shares dear."""
    plain.deposit(alice, 1)
    giver = plain.market.give(plain.evm.account("giver"), tokens=plain.tokens(100))
    plain.market.reverse.supply_collateral(plain.tokens(100), plain.strategy, sender=giver)
    share = plain.tokens(100) // (plain.contract.totalSupply() + 10**6) + 1
    plain.request_deposit(bob, share - 10)
    plain.observe()
    with reverts("zero amount"):
        plain.contract.settle_deposit(bob)
    plain.request_deposit(bob, 20)
    plain.observe()
    assert plain.contract.settle_deposit(bob) == 1


def test_settle_deposit__carrying__so_little_that_its_hedge_is_nothing(
    plain: Vault, alice: Account, bob: Account
) -> None:
    plain.deposit(alice, plain.tokens(1_000))
    plain.carry()
    plain.request_deposit(bob, 3)
    plain.observe()
    with reverts("order refused"):
        plain.contract.settle_deposit(bob)
    plain.request_deposit(bob, 1)
    plain.observe()
    assert plain.contract.settle_deposit(bob) > 0


def test_settle_deposit__lending(vault: Vault, alice: Account, keeper: Account) -> None:
    contract, market = vault.contract, vault.market
    assets = vault.tokens(100)
    vault.request_deposit(alice, assets)
    vault.observe()
    before = Balances([market.token], contract, vault.strategy, market.forward)
    shares = contract.settle_deposit(alice, sender=keeper)
    (event,) = vault.evm.last.events("DepositSettled", contract)
    assert event.args.as_dict() == {
        "controller": alice.address,
        "assets": assets,
        "shares": shares,
        "total_assets": contract.totalAssets(),
        "total_supply": shares,
    }
    unit = 10 ** (contract.decimals() - market.token.decimals())
    # lending may round a unit off
    assert assets * unit - unit <= shares <= assets * unit
    assert before.changes(contract) == (-assets,)
    assert before.changes(vault.strategy) == (0,)
    assert before.changes(market.forward) == (assets,)
    assert contract.balanceOf(contract) == contract.totalSupply() == shares
    assert contract.pendingDepositRequest(0, alice) == 0
    assert not contract.is_due()


def test_settle_deposit__lending__what_the_forward_pool_does_not_take(
    plain: Vault, alice: Account
) -> None:
    market = plain.market
    market.factory.set_caps(
        market.forward, plain.tokens(30), 2**128 - 1, 2**112 - 1, sender=market.owner
    )
    plain.deposit(alice, plain.tokens(100))
    held = plain.holdings()
    assert held.idle + held.lent == pytest.approx(plain.tokens(100), abs=2)
    assert held.idle >= plain.tokens(70) - 2
    assert not plain.contract.is_due()


def test_settle_deposit__carrying_keeps_every_ratio(
    vault: Vault, alice: Account, bob: Account
) -> None:
    contract = vault.contract
    vault.deposit(alice, vault.tokens(1_000))
    vault.carry()
    vault.set_price(11)
    vault.rebalance()
    hedge, margin, ltv = vault.ratios()
    before = vault.holdings()
    per_share = contract.totalAssets() / contract.totalSupply()
    vault.request_deposit(bob, vault.tokens(500))
    vault.observe()
    shares = contract.settle_deposit(bob)
    after = vault.holdings()
    assert after.collateral - before.collateral == vault.tokens(500)
    assert after.short - before.short == before.short * vault.tokens(500) // before.collateral
    found = vault.ratios()
    assert found[0] == pytest.approx(hedge, rel=1e-6)
    assert found[1] == pytest.approx(margin, rel=1e-5)
    # the debt ratio moves towards m * h, and here down
    assert 0.15 < found[2] < ltv
    # nobody else paid for it, and he not more than its cost
    assert contract.totalAssets() / contract.totalSupply() >= per_share * (1 - 1e-7)
    worth = contract.convertToAssets(shares)
    fee = vault.tokens(500) * 0.3 * 0.0005
    assert vault.tokens(500) - 1.1 * fee <= worth <= vault.tokens(500) - 0.9 * fee
    assert not contract.is_due()


@pytest.mark.parametrize("price", ["12.5", "8.5"])
def test_settle_deposit__carrying__what_is_due_is_done_first(
    plain: Vault, alice: Account, bob: Account, keeper: Account, price: str
) -> None:
    """And tipped; what the newcomer adds is at the target."""
    plain.deposit(alice, plain.tokens(1_000))
    plain.carry()
    plain.set_price(price)
    plain.request_deposit(bob, plain.tokens(1_000))
    plain.observe()
    assert plain.contract.is_due()
    plain.contract.settle_deposit(bob, sender=keeper)
    assert plain.evm.last.events("Rebalanced", plain.strategy)
    assert plain.contract.balanceOf(keeper) > 0
    assert plain.ratios()[:2] == pytest.approx((0.3, 0.5), rel=1e-5)
    assert plain.holdings().short == plain.tokens(600)
    assert not plain.contract.is_due()


def test_settle_deposit__carrying__within_the_bands_what_is_off_gets_nearer(
    plain: Vault, alice: Account, bob: Account
) -> None:
    """The hedge stays, and what the newcomer adds has its whole margin."""
    plain.deposit(alice, plain.tokens(1_000))
    plain.carry()
    plain.set_price("10.3")
    hedge, margin, _ = plain.ratios()
    assert margin < 0.46
    plain.deposit(bob, plain.tokens(1_000))
    assert plain.ratios()[0] == pytest.approx(hedge, rel=1e-6)
    assert plain.ratios()[1] == pytest.approx((margin + 0.5) / 2, rel=1e-4)


def test_settle_deposit__carrying__in_parts_of_one_trade(
    plain: Vault, alice: Account, bob: Account
) -> None:
    contract = plain.contract
    plain.deposit(alice, plain.tokens(1_000))
    plain.carry()
    # the hedge of 100 tokens
    contract.set_limits(2**128, plain.usd(300), sender=plain.owner)
    plain.request_deposit(bob, plain.tokens(250))
    plain.observe()
    for left in (150, 50, 0):
        contract.settle_deposit(bob)
        assert contract.pendingDepositRequest(0, bob) == pytest.approx(plain.tokens(left), abs=9)
    assert contract.maxDeposit(bob) >= plain.tokens(250) - 9


def test_settle_deposit__carrying__refused_by_the_venue_it_waits(
    plain: Vault, alice: Account, bob: Account
) -> None:
    plain.deposit(alice, plain.tokens(1_000))
    plain.carry()
    plain.request_deposit(bob, plain.tokens(100))
    plain.observe()
    plain.venue.set_refusing(True, False)
    with reverts("order refused"):
        plain.contract.settle_deposit(bob)
    plain.venue.set_refusing(False, False)
    plain.market.factory.set_paused(plain.market.reverse, True, sender=plain.market.guardian)
    with reverts("order refused"):
        plain.contract.settle_deposit(bob)
    assert plain.contract.pendingDepositRequest(0, bob) == plain.tokens(100)
    plain.market.factory.set_paused(plain.market.reverse, False, sender=plain.owner)
    plain.contract.settle_deposit(bob)


def test_settle_deposit__carrying__a_late_venue_costs_what_was_modelled(
    plain: Vault, alice: Account, bob: Account
) -> None:
    contract = plain.contract
    plain.deposit(alice, plain.tokens(1_000))
    plain.carry()
    plain.venue.set_late(True)
    # sold one half percent under the oracle's price
    plain.mark(-0.5)
    plain.request_deposit(bob, plain.tokens(100))
    plain.observe()
    before = contract.totalAssets() / contract.totalSupply()
    shares = contract.settle_deposit(bob)
    cost = plain.tokens(100) - int(shares * before)
    assert cost == pytest.approx(plain.tokens(30) * 0.0055, rel=1e-3)
    # nothing is due before the order is through, and those before him have lost nothing by it then
    assert not contract.is_due()
    assert not plain.rebalance()
    assert contract.totalAssets() / contract.totalSupply() >= before * (1 - 1e-7)
    assert plain.position().pending == 0
    assert plain.holdings().short == plain.tokens(330)


def test_settle_deposit__before_the_first_order(plain: Vault, alice: Account, bob: Account) -> None:
    plain.deposit(alice, plain.tokens(100))
    plain.set_funding(50)
    plain.venue.set_refusing(True, False)
    plain.rebalance()
    assert plain.contract.mode() == CARRY
    plain.deposit(bob, plain.tokens(50))
    held = plain.holdings()
    assert (held.short, held.idle) == (0, plain.tokens(50))


@pytest.mark.parametrize(("price", "paid"), [(7, 0), (20, 3_900)], ids=["money", "debt"])
def test_settle_deposit__at_the_price_at_which_the_vault_is_worth_more(
    evm: Evm, bob: Account, price: int, paid: int
) -> None:
    """With money on balance that is the lower of both prices, with debt the higher one.

    What the short was sold for pays 3,000 USDT of debt whatever the price, so only funding that it
    pays leaves some. The order may fill at the lower price.
    """
    vault = deploy_vault(evm, spread_oracle=True)
    contract = vault.contract
    vault.deposit("alice", vault.tokens(1_000))
    vault.carry()
    vault.set_price(price)
    vault.venue.pay_funding(vault.strategy, -vault.usd(paid))
    vault.rebalance()
    assert not contract.is_due()
    held, supply = vault.holdings(), contract.totalSupply()
    money = held.equity + vault.value(held.short) + held.cash - held.debt
    assert (money < 0) is (paid > 0)
    vault.request_deposit(bob, vault.tokens(100))
    vault.observe()
    shares = {}
    for below, above in ((0, 0), (4, 0), (0, 4)):
        with evm.anchor():
            vault.market.oracle.set_spread(wad(below), wad(above))
            shares[below, above] = contract.settle_deposit(bob)
        lower, upper = price * (1 - below / 100), price * (1 + above / 100)
        bound = lower if money > 0 else upper
        worth = held.collateral - held.short + money / bound * 10**12
        size = held.short * vault.tokens(100) / held.collateral
        cost = size * 0.0005 + size * (bound - lower) / bound
        expected = (vault.tokens(100) - cost) * supply / worth
        assert shares[below, above] == pytest.approx(expected, rel=1e-6)
    assert max(shares.values()) == shares[0, 0]
