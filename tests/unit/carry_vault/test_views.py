"""What a carry vault and `CarryLens` show."""

from __future__ import annotations

import pytest

from perpool.evm import Account, Contract, reverts
from tests.market import MAX, WAD
from tests.vaults import CARRY, E36, LEND, Vault


@pytest.fixture
def lens(plain: Vault) -> Contract:
    return plain.evm.deploy("CarryLens")


def test_conversions(vault: Vault, alice: Account) -> None:
    contract = vault.contract
    unit = 10 ** (contract.decimals() - vault.market.token.decimals())
    assert contract.convertToShares(7) == 7 * unit
    assert contract.convertToAssets(7 * unit) == 7
    vault.deposit(alice, vault.tokens(1_000))
    vault.carry()
    vault.set_price(8)
    worth, supply = contract.totalAssets(), contract.totalSupply()
    assert worth > vault.tokens(1_000)
    amount = vault.tokens(3)
    assert contract.convertToShares(amount) == amount * (supply + unit) // (worth + 1)
    assert contract.convertToAssets(supply) == supply * (worth + 1) // (supply + unit)


def test_total_assets__by_the_holdings(vault: Vault, alice: Account) -> None:
    vault.deposit(alice, vault.tokens(1_000))
    vault.carry()
    for price in (12, 15, 9):
        vault.set_price(price)
        held = vault.holdings()
        money = held.equity + held.cash - held.debt
        tokens = held.idle + held.lent + held.collateral + money * E36 // held.price_e36
        assert vault.contract.totalAssets() == pytest.approx(
            tokens, abs=2 * E36 // held.price_e36 + 2
        )
        vault.rebalance()


def test_holdings__requests_are_in_none_of_it(plain: Vault, alice: Account, bob: Account) -> None:
    plain.deposit(alice, plain.tokens(100))
    before = plain.holdings(), plain.contract.totalAssets()
    plain.request_deposit(bob, plain.tokens(50))
    plain.request_redeem(alice, 10**20, usdt=plain.usd(5))
    held = plain.holdings()
    assert (held.idle, held.cash, held.collateral) == (0, 0, 0)
    assert held.lent == pytest.approx(before[0].lent, rel=1e-9)
    assert plain.contract.totalAssets() == pytest.approx(before[1], rel=1e-9)


def test_supports_interface(plain: Vault) -> None:
    for interface in ("01ffc9a7", "e3bc4e65", "ce3bbe50", "620ee8e4", "2f0a18c5"):
        assert plain.contract.supportsInterface(bytes.fromhex(interface))
    for interface in ("ffffffff", "00000000", "36372b07"):
        assert not plain.contract.supportsInterface(bytes.fromhex(interface))


def test_lens__lending(plain: Vault, lens: Contract, alice: Account) -> None:
    plain.deposit(alice, plain.tokens(100))
    view = lens.carry(plain.contract)
    assert view.as_dict() == {
        "mode": LEND,
        "price_e36": plain.market.price_e36(),
        "mark_e36": plain.market.price_e36(),
        "total_assets": plain.contract.totalAssets(),
        "hedge_ratio": 0,
        "delta": plain.contract.totalAssets(),
        "leverage": 0,
        "ltv": 0,
        "loan_liquidation_price_e36": 0,
        "short_liquidation_price_e36": 0,
        "net_carry": plain.contract.net_carry(),
        "is_due": False,
    }


def test_lens__carrying(plain: Vault, lens: Contract, alice: Account) -> None:
    plain.deposit(alice, plain.tokens(1_000))
    plain.carry()
    plain.mark(3)
    view = lens.carry(plain.contract)
    assert view.mode == CARRY
    assert view.mark_e36 == plain.market.price_e36() * 103 // 100
    assert view.hedge_ratio == pytest.approx(0.3 * WAD, rel=1e-9)
    assert view.delta == pytest.approx(plain.tokens(700), rel=1e-9)
    assert view.leverage == pytest.approx(2 * WAD, rel=1e-6)
    assert view.ltv == pytest.approx(0.15015 * WAD, rel=1e-6)
    assert not view.is_due
    # the loan: 1,501.5 of 80 % of 1,000 tokens; the short: 4,500 for 300 tokens and 5 %
    loan, short = (
        view.loan_liquidation_price_e36 / 10**24,
        view.short_liquidation_price_e36 / 10**24,
    )
    assert loan == pytest.approx(1.876875, rel=1e-5)
    assert short == pytest.approx(15 / 1.05, rel=1e-5)


def test_lens__the_loans_liquidation_price_is_where_the_pool_liquidates(
    plain: Vault, lens: Contract, alice: Account
) -> None:
    plain.deposit(alice, plain.tokens(1_000))
    plain.carry()
    price = lens.carry(plain.contract).loan_liquidation_price_e36
    market = plain.market
    liquidator = market.give(plain.evm.account("liquidator"), usdt=plain.usd(10_000))
    # the feed has eight decimals, and interest runs
    answer = price // 10**16
    market.feed.set(answer + 100)
    with reverts("healthy position"):
        market.reverse.liquidate(plain.strategy, MAX, liquidator, b"", sender=liquidator)
    market.feed.set(answer - 1)
    market.reverse.liquidate(plain.strategy, MAX, liquidator, b"", sender=liquidator)
    assert plain.holdings().collateral < plain.tokens(1_000)


def test_lens__nothing_left_at_the_venue(plain: Vault, lens: Contract, alice: Account) -> None:
    plain.deposit(alice, plain.tokens(1_000))
    plain.carry()
    plain.venue.pay_funding(plain.strategy, -plain.usd(1_600))
    assert lens.carry(plain.contract).leverage == MAX


def test_lens__without_a_price(plain: Vault, lens: Contract) -> None:
    plain.evm.warp(90_000)
    with reverts("stale price"):
        lens.carry(plain.contract)
