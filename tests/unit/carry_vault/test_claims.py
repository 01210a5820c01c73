"""`deposit`, `mint`, `withdraw` and `redeem` of what has been settled."""

from __future__ import annotations

import pytest

from perpool.evm import Account, reverts
from tests.market import ZERO_ADDRESS
from tests.pools import Balances
from tests.vaults import Vault


@pytest.fixture
def settled(plain: Vault, alice: Account) -> tuple[int, int]:
    """(assets, shares) of a deposit that Alice may claim."""
    assets = plain.tokens(100)
    plain.request_deposit(alice, assets)
    plain.observe()
    shares = plain.contract.settle_deposit(alice)
    return assets, shares


@pytest.fixture
def redeemed(plain: Vault, alice: Account) -> tuple[int, int]:
    """(assets, shares) of a redemption that Alice may claim, with 50 units of USDT."""
    plain.deposit(alice, plain.tokens(100))
    shares = plain.contract.balanceOf(alice) // 2
    plain.request_redeem(alice, shares, usdt=50)
    plain.observe()
    assets = plain.contract.settle_redeem(alice)
    return assets, shares


def test_deposit__not_authorised(
    plain: Vault, alice: Account, bob: Account, settled: tuple[int, int]
) -> None:
    with reverts("not authorised"):
        plain.contract.deposit(1, bob, alice, sender=bob)
    with reverts("not authorised"):
        plain.contract.mint(1, bob, alice, sender=bob)


def test_deposit__more_than_was_settled(
    plain: Vault, alice: Account, bob: Account, settled: tuple[int, int]
) -> None:
    assets, shares = settled
    with reverts("not claimable"):
        plain.contract.deposit(assets + 1, alice, sender=alice)
    with reverts("not claimable"):
        plain.contract.mint(shares + 1, alice, sender=alice)
    with reverts("not claimable"):
        plain.contract.deposit(1, bob, sender=bob)
    with reverts("not claimable"):
        plain.contract.mint(1, bob, sender=bob)
    for receiver in (ZERO_ADDRESS, plain.contract):
        with reverts("bad receiver"):
            plain.contract.deposit(1, receiver, sender=alice)


def test_deposit__in_parts(
    plain: Vault, alice: Account, bob: Account, settled: tuple[int, int]
) -> None:
    contract = plain.contract
    assets, shares = settled
    assert (contract.maxDeposit(alice), contract.maxMint(alice)) == settled
    assert contract.claimableDepositRequest(0, alice) == assets
    assert contract.deposit(assets // 4, bob, sender=alice) == shares // 4
    (event,) = plain.evm.last.events("Deposit", contract)
    assert event.args.as_dict() == {
        "sender": alice.address,
        "owner": bob.address,
        "assets": assets // 4,
        "shares": shares // 4,
    }
    # a share costs a whole unit of the claim
    assert contract.mint(1, bob, alice, sender=alice) == 1
    contract.setOperator(bob, True, sender=alice)
    rest = contract.maxDeposit(alice)
    contract.deposit(rest, bob, alice, sender=bob)
    assert contract.balanceOf(bob) == shares
    assert (contract.maxDeposit(alice), contract.maxMint(alice)) == (0, 0)
    assert contract.balanceOf(contract) == 0


def test_redeem__not_authorised(
    plain: Vault, alice: Account, bob: Account, redeemed: tuple[int, int]
) -> None:
    with reverts("not authorised"):
        plain.contract.redeem(1, bob, alice, sender=bob)
    with reverts("not authorised"):
        plain.contract.withdraw(1, bob, alice, sender=bob)


def test_redeem__more_than_was_settled(
    plain: Vault, alice: Account, bob: Account, redeemed: tuple[int, int]
) -> None:
    assets, shares = redeemed
    with reverts("not claimable"):
        plain.contract.redeem(shares + 1, alice, alice, sender=alice)
    with reverts("not claimable"):
        plain.contract.withdraw(assets + 1, alice, alice, sender=alice)
    with reverts("not claimable"):
        plain.contract.redeem(1, bob, bob, sender=bob)
    with reverts("not claimable"):
        plain.contract.withdraw(1, bob, bob, sender=bob)
    with reverts("bad receiver"):
        plain.contract.redeem(1, plain.contract, alice, sender=alice)


def test_redeem__in_parts(
    plain: Vault, alice: Account, bob: Account, redeemed: tuple[int, int]
) -> None:
    contract, market = plain.contract, plain.market
    assets, shares = redeemed
    assert (contract.maxWithdraw(alice), contract.maxRedeem(alice)) == redeemed
    assert contract.claimableRedeemRequest(0, alice) == shares
    assert contract.claimable_usdt(alice) == 50
    before = Balances([market.token, market.usdt], alice, bob, contract)
    got = contract.redeem(shares // 3, bob, alice, sender=alice)
    assert got == assets * (shares // 3) // shares
    (event,) = plain.evm.last.events("Withdraw", contract)
    assert event.args.as_dict() == {
        "sender": alice.address,
        "receiver": bob.address,
        "owner": alice.address,
        "assets": got,
        "shares": shares // 3,
    }
    # the USDT comes with the first
    assert before.changes(bob) == (got, 50)
    assert contract.claimable_usdt(alice) == 0
    contract.setOperator(bob, True, sender=alice)
    used = contract.withdraw(1, bob, alice, sender=bob)
    assert used == -(-(shares - shares // 3) // (assets - got))
    contract.withdraw(contract.maxWithdraw(alice), alice, alice, sender=alice)
    assert before.changes(alice) == (assets - got - 1, 0)
    assert before.changes(bob) == (got + 1, 50)
    assert before.changes(contract) == (-assets, -50)
    assert (contract.maxWithdraw(alice), contract.maxRedeem(alice)) == (0, 0)
