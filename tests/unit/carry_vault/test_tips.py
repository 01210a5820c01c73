"""Tips: `tip`, and what `rebalance` pays."""

from __future__ import annotations

import pytest

from perpool.evm import Account
from tests.market import YEAR
from tests.vaults import Vault

RATE = 10**15


@pytest.fixture
def lending(plain: Vault, alice: Account) -> Vault:
    plain.deposit(alice, plain.tokens(1_000))
    return plain


def test_tip__grows_with_time(lending: Vault) -> None:
    contract = lending.contract
    first, at = contract.tip(), lending.evm.timestamp
    lending.wait(YEAR // 12)
    supply = contract.totalSupply()
    grown = supply * RATE // 10**18 * (lending.evm.timestamp - at) // YEAR
    assert contract.tip() - first == pytest.approx(grown // 4, abs=1)


def test_tip__paid_for_what_was_due(lending: Vault, keeper: Account) -> None:
    contract = lending.contract
    lending.wait(YEAR // 12)
    lending.set_funding(50)
    supply, tip = contract.totalSupply(), contract.tip()
    assert tip > 0
    assert contract.rebalance(sender=keeper)
    (event,) = lending.evm.last.events("Tipped", contract)
    paid = event.args.shares
    # it grew in the block of the call
    assert tip <= paid <= tip + supply * RATE // 10**18 * 30 // YEAR
    assert tuple(event.args) == (keeper.address, paid)
    assert contract.balanceOf(keeper) == paid
    assert contract.totalSupply() == supply + paid
    # three quarters are left for the next
    assert contract.tip() == pytest.approx(paid * 3 / 4, rel=1e-6)


def test_tip__none_for_what_was_not_due(lending: Vault, keeper: Account) -> None:
    lending.wait(YEAR // 12)
    assert not lending.contract.rebalance(sender=keeper)
    lending.set_funding(50)
    lending.rebalance("another")
    for _ in range(3):
        assert not lending.contract.rebalance(sender=keeper)
    assert lending.contract.balanceOf(keeper) == 0


def test_tip__none_for_a_call_that_could_do_nothing(lending: Vault, keeper: Account) -> None:
    lending.set_funding(50)
    lending.venue.set_refusing(True, False)
    lending.rebalance("another")
    lending.wait(3_600)
    assert lending.contract.is_due()
    assert not lending.contract.rebalance(sender=keeper)
    assert lending.contract.balanceOf(keeper) == 0


def test_tip__a_deposit_does_not_raise_it_for_the_time_before(lending: Vault, bob: Account) -> None:
    lending.wait(YEAR // 2)
    before = lending.contract.tip()
    lending.deposit(bob, lending.tokens(100_000))
    # but for the seconds since
    assert lending.contract.tip() < before * 1.001


def test_tip__a_redemption_takes_its_part_of_it_along(lending: Vault, alice: Account) -> None:
    contract = lending.contract
    lending.wait(YEAR // 2)
    before, supply = contract.tip(), contract.totalSupply()
    lending.redeem(alice, contract.balanceOf(alice) * 99 // 100)
    left = contract.totalSupply()
    assert left == pytest.approx(supply / 100)
    # as much of all shares as it was, but for the seconds since
    assert before / supply <= contract.tip() / left <= before / supply * 1.001


def test_tip__the_last_one_leaves_nothing_of_it(lending: Vault, alice: Account) -> None:
    lending.wait(YEAR // 2)
    assert lending.contract.tip() > 0
    lending.redeem(alice, lending.contract.balanceOf(alice))
    assert lending.contract.tip() == 0


def test_tip__settling_makes_nothing_due(lending: Vault, alice: Account, bob: Account) -> None:
    for carried in (False, True):
        if carried:
            lending.carry()
        lending.deposit(bob, lending.tokens(700))
        assert not lending.contract.is_due()
        lending.redeem(alice, lending.contract.balanceOf(alice) // 2)
        assert not lending.contract.is_due()
