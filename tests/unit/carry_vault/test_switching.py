"""When a carry vault changes its side: `rebalance`, `is_due`, `net_carry`."""

from __future__ import annotations

from typing import Any

import pytest

from perpool.evm import Account
from tests.market import WAD, YEAR, wad
from tests.pools import HOUR, base_rate_of
from tests.vaults import CARRY, LEND, Vault

DAY = 24 * HOUR


@pytest.fixture
def lending(plain: Vault, alice: Account) -> Vault:
    """A thousand tokens, lent."""
    plain.deposit(alice, plain.tokens(1_000))
    return plain


@pytest.fixture
def carrying(lending: Vault) -> Vault:
    """The same, carried since now."""
    lending.carry()
    return lending


@pytest.mark.parametrize(
    ("percent", "mode"), [(19, LEND), (20, LEND), ("20.0001", CARRY), (500, CARRY), (-50, LEND)]
)
def test_enter__above_the_rate(lending: Vault, percent: Any, mode: int) -> None:
    lending.set_funding(percent)
    assert lending.contract.is_due() is (mode == CARRY)
    assert lending.rebalance() is (mode == CARRY)
    assert lending.contract.mode() == mode


def test_enter__its_event(lending: Vault) -> None:
    lending.set_funding(50)
    carry = lending.contract.net_carry()
    lending.rebalance()
    (event,) = lending.evm.last.events("ModeChanged", lending.strategy)
    assert event.args.as_dict() == {"mode": CARRY, "funding_wad": wad(50), "net_carry": carry}


def test_net_carry(lending: Vault) -> None:
    """h * F - debt / value * rate, with m * h where there is no short."""
    market = lending.market
    lending.set_funding(50)
    rate = market.reverse_leg.base_rate + wad(10)
    assert lending.contract.net_carry() == wad(15) - 15 * rate // 100
    lending.carry()
    lending.set_price(12)
    lending.rebalance()
    held = lending.holdings()
    state = market.reverse.accrued_state()
    utilisation = state.debt_assets * WAD // (state.debt_assets + state.cash)
    rate = base_rate_of(market.reverse_leg, utilisation) + wad(10)
    share = held.debt / lending.value(held.collateral)
    assert lending.contract.net_carry() == pytest.approx(wad(15) - share * rate, rel=1e-9)


def test_enter__not_where_the_loan_costs_more_than_the_short_earns(lending: Vault) -> None:
    """A reverse pool at full utilisation: a hundred percent, and 15 % of that."""
    market = lending.market
    market.borrow(collateral=market.tokens(200_000), usdt=market.usd(999_000))
    lending.set_funding(25)
    assert lending.contract.net_carry() < 0
    assert not lending.contract.is_due()
    assert not lending.rebalance()
    assert lending.contract.mode() == LEND


def test_enter__not_within_the_stay(carrying: Vault) -> None:
    carrying.wait(72 * HOUR)
    carrying.set_funding(4)
    carrying.rebalance()
    assert carrying.contract.mode() == LEND
    carrying.set_funding(50)
    carrying.wait(72 * HOUR - 100)
    assert not carrying.contract.is_due()
    carrying.wait(100)
    assert carrying.contract.is_due()
    assert carrying.rebalance()
    assert carrying.contract.mode() == CARRY


@pytest.mark.parametrize(("percent", "mode"), [(5, CARRY), ("4.9999", LEND), (-10, LEND)])
def test_leave__below_the_rate(carrying: Vault, percent: Any, mode: int) -> None:
    carrying.wait(72 * HOUR)
    carrying.set_funding(percent)
    carrying.rebalance()
    assert carrying.contract.mode() == mode


def test_leave__not_within_the_stay(carrying: Vault) -> None:
    carrying.wait(71 * HOUR)
    carrying.set_funding(-10)
    assert not carrying.contract.is_due()
    carrying.wait(HOUR)
    assert carrying.contract.is_due()


def test_leave__at_any_time_when_carrying_is_dear(carrying: Vault) -> None:
    # 30 % of -183 % and the loan's rate are just over 55 % a year
    carrying.set_funding(-182)
    assert carrying.contract.net_carry() == pytest.approx(-wad("54.9"), rel=1e-3)
    assert not carrying.contract.is_due()
    carrying.set_funding(-183)
    assert carrying.contract.net_carry() < -wad(55)
    assert carrying.rebalance()
    assert carrying.contract.mode() == LEND


def test_leave__never_because_somebody_borrows_all_there_is(neutral: Vault, alice: Account) -> None:
    """At the least funding that it stays for, a full hedge, and nearly the largest loan."""
    market = neutral.market
    neutral.deposit(alice, neutral.tokens(1_000))
    neutral.carry()
    neutral.set_price("11.4")
    neutral.carry()
    neutral.set_price("11.7")
    assert not neutral.contract.is_due()
    assert neutral.ratios()[2] > 0.53
    left = market.reverse.accrued_state().cash
    market.borrow(collateral=market.tokens(200_000), usdt=left)
    neutral.set_funding(5)
    assert neutral.contract.net_carry() < -wad(45)
    assert not neutral.contract.is_due()
    neutral.rebalance()
    assert neutral.contract.mode() == CARRY


def test_stale_funding__it_stays(lending: Vault) -> None:
    market, contract = lending.market, lending.contract
    lending.set_funding(50)
    lending.evm.warp(DAY + 1)
    market.refresh_price()
    assert contract.net_carry() == 0
    assert not contract.is_due()
    lending.set_funding(50)
    lending.carry()
    lending.set_funding(-500)
    lending.evm.warp(DAY + 1)
    market.refresh_price()
    lending.rebalance()
    assert contract.mode() == CARRY


def test_funding_of_the_future__it_stays(lending: Vault) -> None:
    lending.market.funding.set_at(lending.market.token, wad(50), lending.evm.timestamp + 1_000)
    assert not lending.contract.is_due()


def test_borrow_rate__in_a_block_in_which_the_pool_has_accrued(lending: Vault) -> None:
    """The pool shows no rate then, which must not make a dear loan look free."""
    market = lending.market
    market.borrow(collateral=market.tokens(200_000), usdt=market.usd(999_000))
    lending.set_funding(25)
    carry = lending.contract.net_carry()
    stranger = market.give(lending.evm.account("stranger"), usdt=10)
    with lending.evm.same_block():
        market.reverse.repay(1, lending.evm.account("borrower"), sender=stranger)
        assert market.reverse.accrued_state().borrow_rate == 0
        assert not lending.rebalance()
    assert lending.contract.net_carry() == pytest.approx(carry, rel=1e-6)


def test_an_empty_vault_changes_sides_too(plain: Vault, alice: Account) -> None:
    plain.set_funding(50)
    assert plain.rebalance()
    assert plain.contract.mode() == CARRY
    assert plain.contract.totalSupply() == 0
    plain.deposit(alice, plain.tokens(100))
    plain.carry()
    assert plain.ratios()[0] == pytest.approx(0.3)


def test_lending_earns(lending: Vault) -> None:
    """What the vault lends earns what the forward pool's lenders earn."""
    market = lending.market
    market.short(margin=lending.usd(40_000), tokens=lending.tokens(800))
    before = lending.contract.totalAssets()
    lending.wait(YEAR // 10)
    assert lending.contract.totalAssets() > before
