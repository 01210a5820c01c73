"""What a redemption is held to whose order goes out, and what is asked in several requests."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from perpool.evm import Account, reverts
from tests.unit.perp_venue.conftest import E36, WAD, divide_up, share_up
from tests.vaults import Vault


def two_thirds_and_one(vault: Vault, alice: Account, bob: Account, price: float) -> Vault:
    """Alice's and Bob's, carrying, with nothing due at that price, and the venue late by now."""
    vault.deposit(alice, vault.tokens(1_000))
    vault.deposit(bob, vault.tokens(500))
    vault.carry()
    vault.set_price(price)
    for _ in range(5):
        vault.rebalance()
    assert not vault.contract.is_due()
    vault.venue.set_late(True)
    vault.venue.set_stalled(True)
    return vault


def margin_out(vault: Vault, shares: int) -> tuple[int, int]:
    """(tokens of the short closed, USDT that should come out of the position for it)"""
    held, total = vault.holdings(), vault.contract.totalSupply()
    closing = divide_up(held.short * shares, total)
    money = held.equity + divide_up(held.short * held.price_e36, E36)
    cost = divide_up(closing * max(held.price_e36, vault.venue.mark_price()), E36)
    cost += share_up(cost, vault.venue.fee())
    return closing, money * shares // total - cost


def sold_for(vault: Vault, usdt: int) -> int:
    """Tokens, as dear as the vault may sell."""
    most = WAD + vault.parameters.max_slippage
    return usdt * E36 // vault.holdings().price_e36 * most // WAD


def bought_for(vault: Vault, usdt: int) -> int:
    """Tokens, as dear as the vault may buy."""
    least = WAD - vault.parameters.max_slippage
    return usdt * E36 // vault.holdings().price_e36 * least // WAD


def balance(vault: Vault, shares: int) -> tuple[int, int]:
    """(tokens of the collateral, USDT with what the position brings less the debt)"""
    held, total = vault.holdings(), vault.contract.totalSupply()
    usdt = margin_out(vault, shares)[1] + held.cash * shares // total
    return held.collateral * shares // total, usdt - divide_up(held.debt * shares, total)


def held_to(vault: Vault, bob: Account, expected: Callable[[int], int], *, usdt: int = 0) -> None:
    """With just the expected tokens as the least his order goes out; with a unit more it does not.

    They are told, by his shares, as of the moment of settling, or the debt would have grown since.
    """
    contract, shares = vault.contract, vault.contract.balanceOf(bob)
    least = 0
    for step in ("told", "refused", "taken"):
        with vault.evm.anchor():
            asked = least + (step == "refused")
            vault.request_redeem(bob, shares, usdt=usdt, min_tokens=asked)
            vault.observe()
            with vault.evm.same_block():
                if step == "told":
                    least = expected(shares)
                elif step == "refused":
                    with reverts("too few tokens"):
                        contract.settle_redeem(bob)
                else:
                    assert contract.settle_redeem(bob) == 0
                    assert vault.position().pending != 0


def test_settle_redeem__late__least__his_debt_is_sold_for(
    plain: Vault, alice: Account, bob: Account
) -> None:
    """But for what comes out of the position for him."""
    vault = two_thirds_and_one(plain, alice, bob, 12)

    def expected(shares: int) -> int:
        tokens, usdt = balance(vault, shares)
        assert usdt < -vault.usd(100)
        return tokens - sold_for(vault, -usdt)

    held_to(vault, bob, expected)


@pytest.mark.parametrize("brought", [100, 10_000])
def test_settle_redeem__late__least__what_he_brings_is_not_sold_for(
    plain: Vault, alice: Account, bob: Account, brought: int
) -> None:
    """And buys nothing where it is more than he owes."""
    vault = two_thirds_and_one(plain, alice, bob, 12)

    def expected(shares: int) -> int:
        tokens, usdt = balance(vault, shares)
        rest = -usdt - vault.usd(brought)
        assert (rest > 0) is (brought == 100)
        return tokens - sold_for(vault, max(rest, 0))

    held_to(vault, bob, expected, usdt=vault.usd(brought))


@pytest.mark.parametrize("price", [8, 5], ids=["with a debt", "without one"])
def test_settle_redeem__late__least__a_surplus_buys_tokens(
    neutral: Vault, alice: Account, bob: Account, price: float
) -> None:
    """What is left of the position's once his debt is paid."""
    vault = two_thirds_and_one(neutral, alice, bob, price)
    assert (vault.holdings().debt > 0) is (price == 8)

    def expected(shares: int) -> int:
        tokens, usdt = balance(vault, shares)
        assert usdt > vault.usd(100)
        return tokens + bought_for(vault, usdt)

    held_to(vault, bob, expected)


@pytest.mark.parametrize("percent", [0.5, -0.5])
def test_settle_redeem__late__takes_out_what_a_fill_at_the_worse_price_leaves(
    plain: Vault, alice: Account, bob: Account, percent: float
) -> None:
    """Of the oracle's and the venue's, lest those who stay lend him what a worse fill costs."""
    vault = two_thirds_and_one(plain, alice, bob, 12)
    vault.mark(percent)

    def expected(shares: int) -> int:
        tokens, usdt = balance(vault, shares)
        return tokens - sold_for(vault, -usdt)

    held_to(vault, bob, expected)

    shares = vault.contract.balanceOf(bob)
    vault.request_redeem(bob, shares)
    vault.observe()
    with vault.evm.same_block():
        closing, out = margin_out(vault, shares)
        vault.contract.settle_redeem(bob)
    (event,) = vault.evm.last.events("Ordered", vault.strategy)
    assert (event.args.size_delta, event.args.margin_delta) == (closing, -out)


def test_request_redeem__twice__brings_the_usdt_of_both(plain: Vault, alice: Account) -> None:
    plain.deposit(alice, plain.tokens(100))
    half = plain.contract.balanceOf(alice) // 2
    for usdt in (30, 50):
        plain.request_redeem(alice, half, usdt=usdt)
    assert plain.contract.redemption(alice).usdt == 80
    plain.observe()
    plain.contract.settle_redeem(alice)
    # nothing is owed, so that all of it can be claimed
    assert plain.contract.claimable_usdt(alice) == 80


@pytest.mark.parametrize("least", [(52, 49), (49, 52)])
def test_request_redeem__twice__is_held_to_the_tokens_of_both(
    plain: Vault, alice: Account, least: tuple[int, int]
) -> None:
    """Of 100 there are no 101, whichever half was asked for first."""
    plain.deposit(alice, plain.tokens(100))
    half = plain.contract.balanceOf(alice) // 2
    for tokens in least:
        plain.request_redeem(alice, half, min_tokens=plain.tokens(tokens))
    assert plain.contract.redemption(alice).min_tokens == plain.tokens(101)
    plain.observe()
    with reverts("too few tokens"):
        plain.contract.settle_redeem(alice)
