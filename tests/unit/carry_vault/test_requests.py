"""What is asked of a carry vault and taken back, by controllers and their operators."""

from __future__ import annotations

import pytest

from perpool.evm import Account, reverts
from tests.market import ZERO_ADDRESS
from tests.pools import Balances
from tests.vaults import Vault

DAY = 86_400


def test_request_deposit__not_the_owner_nor_his_operator(
    plain: Vault, alice: Account, bob: Account
) -> None:
    plain.give(alice, tokens=100)
    with reverts("not authorised"):
        plain.contract.requestDeposit(100, bob, alice, sender=bob)


def test_request_deposit__not_the_controller_nor_his_operator(
    plain: Vault, alice: Account, bob: Account
) -> None:
    plain.give(alice, tokens=100)
    with reverts("not authorised"):
        plain.contract.requestDeposit(100, bob, alice, sender=alice)


def test_request_deposit__paused(plain: Vault, alice: Account) -> None:
    plain.contract.set_paused(True, sender=plain.market.guardian)
    with reverts("paused"):
        plain.request_deposit(alice, 100)


def test_request_deposit__nothing(plain: Vault, alice: Account) -> None:
    plain.give(alice, tokens=1)
    with reverts("zero amount"):
        plain.contract.requestDeposit(0, alice, alice, sender=alice)


def test_request_deposit__over_the_cap(plain: Vault, alice: Account, bob: Account) -> None:
    plain.contract.set_limits(plain.tokens(10), plain.usd(1), sender=plain.owner)
    plain.deposit(alice, plain.tokens(4))
    plain.request_deposit(bob, plain.tokens(5))
    with reverts("supply cap"):
        plain.request_deposit(alice, plain.tokens(1) + 1)
    plain.request_deposit(alice, plain.tokens(1) - 1)


def test_request_deposit(vault: Vault, alice: Account) -> None:
    contract, token = vault.contract, vault.market.token
    vault.give(alice, tokens=300)
    before = Balances([token], alice, contract, vault.strategy)
    assert contract.requestDeposit(100, alice, alice, sender=alice) == 0
    (event,) = vault.evm.last.events("DepositRequest", contract)
    assert event.args.as_dict() == {
        "controller": alice.address,
        "owner": alice.address,
        "requestId": 0,
        "sender": alice.address,
        "assets": 100,
    }
    assert [before.changes(each) for each in (alice, contract, vault.strategy)] == [
        (-100,),
        (100,),
        (0,),
    ]
    assert contract.pendingDepositRequest(0, alice) == 100
    assert contract.claimableDepositRequest(0, alice) == contract.totalAssets() == 0
    contract.requestDeposit(200, alice, alice, sender=alice)
    assert contract.pendingDepositRequest(0, alice) == 300


def test_request_deposit__by_an_operator(plain: Vault, alice: Account, bob: Account) -> None:
    contract = plain.contract
    plain.give(alice, tokens=100)
    assert contract.setOperator(bob, True, sender=alice) is True
    (event,) = plain.evm.last.events("OperatorSet", contract)
    assert tuple(event.args) == (alice.address, bob.address, True)
    assert contract.isOperator(alice, bob)
    assert not contract.isOperator(bob, alice)
    contract.requestDeposit(60, alice, alice, sender=bob)
    # and he may take the owner's tokens for himself
    contract.requestDeposit(40, bob, alice, sender=bob)
    assert contract.pendingDepositRequest(0, alice) == 60
    assert contract.pendingDepositRequest(0, bob) == 40
    contract.setOperator(bob, False, sender=alice)
    with reverts("not authorised"):
        contract.requestDeposit(1, alice, alice, sender=bob)


# --- redeeming


def test_request_redeem__without_an_allowance(plain: Vault, alice: Account, bob: Account) -> None:
    plain.deposit(alice, plain.tokens(1))
    with reverts("insufficient allowance"):
        plain.contract.requestRedeem(1, bob, alice, sender=bob)
    with reverts("not authorised"):
        plain.contract.requestRedeem(1, bob, alice, sender=alice)
    with reverts("zero amount"):
        plain.contract.requestRedeem(0, alice, alice, sender=alice)
    with reverts("insufficient balance"):
        plain.contract.requestRedeem(
            plain.contract.balanceOf(alice) + 1, alice, alice, sender=alice
        )


def test_request_redeem(vault: Vault, alice: Account) -> None:
    contract = vault.contract
    vault.deposit(alice, vault.tokens(10))
    shares = contract.balanceOf(alice)
    vault.give(alice, usdt=70)
    before = Balances([contract, vault.market.usdt], alice, contract)
    assert contract.request_redeem(shares // 2, alice, alice, 70, 5, sender=alice) == 0
    (event,) = vault.evm.last.events("RedeemRequest", contract)
    assert event.args.as_dict() == {
        "controller": alice.address,
        "owner": alice.address,
        "requestId": 0,
        "sender": alice.address,
        "shares": shares // 2,
    }
    assert before.changes(alice) == (-(shares // 2), -70)
    assert before.changes(contract) == (shares // 2, 70)
    assert contract.requestRedeem(1, alice, alice, sender=alice) == 0
    assert contract.pendingRedeemRequest(0, alice) == shares // 2 + 1
    assert contract.claimableRedeemRequest(0, alice) == 0
    assert contract.totalSupply() == shares


def test_request_redeem__with_an_allowance(plain: Vault, alice: Account, bob: Account) -> None:
    plain.deposit(alice, plain.tokens(1))
    plain.contract.approve(bob, 10, sender=alice)
    plain.contract.requestRedeem(4, bob, alice, sender=bob)
    assert plain.contract.allowance(alice, bob) == 6
    assert plain.contract.pendingRedeemRequest(0, bob) == 4
    # an operator needs none
    plain.contract.setOperator(bob, True, sender=alice)
    plain.contract.requestRedeem(100, bob, alice, sender=bob)
    assert plain.contract.allowance(alice, bob) == 6


# --- taking back


def test_cancel_deposit__within_a_day_of_the_newest(plain: Vault, alice: Account) -> None:
    plain.request_deposit(alice, 100)
    plain.evm.warp(DAY - 100)
    plain.market.refresh_price()
    plain.request_deposit(alice, 100)
    plain.evm.warp(DAY - 1)
    with reverts("too soon"):
        plain.contract.cancel_deposit(alice, alice, sender=alice)


def test_cancel_deposit(plain: Vault, alice: Account, bob: Account) -> None:
    contract = plain.contract
    with reverts("no request"):
        contract.cancel_deposit(alice, alice, sender=alice)
    plain.request_deposit(alice, 100)
    plain.evm.warp(DAY)
    with reverts("not authorised"):
        contract.cancel_deposit(alice, bob, sender=bob)
    for receiver in (ZERO_ADDRESS, contract):
        with reverts("bad receiver"):
            contract.cancel_deposit(alice, receiver, sender=alice)
    before = Balances([plain.market.token], alice, bob, contract)
    # without a price, and paused
    contract.set_paused(True, sender=plain.market.guardian)
    plain.evm.warp(3 * DAY)
    assert contract.cancel_deposit(alice, bob, sender=alice) == 100
    (event,) = plain.evm.last.events("RequestCancelled", contract)
    assert event.args.as_dict() == {"controller": alice.address, "assets": 100, "shares": 0}
    assert [before.changes(each) for each in (alice, bob, contract)] == [(0,), (100,), (-100,)]
    assert contract.pendingDepositRequest(0, alice) == 0
    with reverts("no request"):
        contract.cancel_deposit(alice, bob, sender=alice)


def test_cancel_deposit__gives_the_cap_back(plain: Vault, alice: Account, bob: Account) -> None:
    plain.contract.set_limits(plain.tokens(10), plain.usd(1), sender=plain.owner)
    plain.request_deposit(alice, plain.tokens(10))
    plain.evm.warp(DAY)
    plain.contract.cancel_deposit(alice, alice, sender=alice)
    plain.market.refresh_price()
    plain.request_deposit(bob, plain.tokens(10))
    assert plain.contract.pendingDepositRequest(0, bob) == plain.tokens(10)


def test_cancel_redeem(plain: Vault, alice: Account, bob: Account) -> None:
    contract = plain.contract
    plain.deposit(alice, plain.tokens(1))
    with reverts("no request"):
        contract.cancel_redeem(alice, alice, sender=alice)
    plain.request_redeem(alice, 100, usdt=7)
    with reverts("too soon"):
        contract.cancel_redeem(alice, alice, sender=alice)
    plain.evm.warp(DAY)
    with reverts("not authorised"):
        contract.cancel_redeem(alice, bob, sender=bob)
    with reverts("bad receiver"):
        contract.cancel_redeem(alice, contract, sender=alice)
    before = Balances([contract, plain.market.usdt], alice, bob, contract)
    assert contract.cancel_redeem(alice, bob, sender=alice) == 100
    (event,) = plain.evm.last.events("RequestCancelled", contract)
    assert event.args.as_dict() == {"controller": alice.address, "assets": 0, "shares": 100}
    assert [before.changes(each) for each in (alice, bob, contract)] == [
        (0, 0),
        (100, 7),
        (-100, -7),
    ]


def test_cancel_redeem__once_an_order_is_out(plain: Vault, alice: Account) -> None:
    plain.deposit(alice, plain.tokens(1_000))
    plain.carry()
    plain.venue.set_late(True)
    plain.venue.set_stalled(True)
    plain.request_redeem(alice, plain.contract.balanceOf(alice) // 2)
    plain.observe()
    assert plain.contract.settle_redeem(alice) == 0
    plain.wait(DAY)
    with reverts("order pending"):
        plain.contract.cancel_redeem(alice, alice, sender=alice)


@pytest.mark.parametrize(
    "ask", ["previewDeposit", "previewMint", "previewWithdraw", "previewRedeem"]
)
def test_previews__nobody_knows(plain: Vault, ask: str) -> None:
    with reverts("asynchronous"):
        getattr(plain.contract, ask)(1)
