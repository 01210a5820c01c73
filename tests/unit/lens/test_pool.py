"""`pool`, `prices` and `rates_after`: equal to what the pools and oracles say themselves."""

from __future__ import annotations

import pytest

from perpool.evm import Contract
from tests.market import MAX, NO_BLOCK_CAP, NO_CAP, WAD, ZERO_ADDRESS, wad
from tests.unit.lens.conftest import YEAR, Scene

SIDES = ("reverse", "forward")


@pytest.fixture(params=SIDES)
def pool(request: pytest.FixtureRequest, scene: Scene) -> Contract:
    chosen: Contract = getattr(scene, request.param)
    return chosen


def test_pool__is_what_the_pool_says(scene: Scene, pool: Contract) -> None:
    scene.market.set_funding(30)
    scene.evm.warp(3_600)
    view, state = scene.lens.pool(pool), pool.accrued_state()
    config = pool.config()
    assert view.pool == pool.address
    assert view.is_reverse == (pool == scene.reverse)
    assert view.symbol == pool.symbol()
    assert view.config == config
    assert view.share_decimals == pool.decimals()
    token, usdt = scene.market.token.decimals(), scene.market.usdt.decimals()
    decimals = (usdt, token) if view.is_reverse else (token, usdt)
    assert (view.asset_decimals, view.collateral_decimals) == decimals
    assert view.total_assets == state.supply_assets == pool.totalAssets()
    # which the fee that is not charged yet is no part of
    assert view.total_assets < state.cash + state.debt_assets
    assert view.total_shares == state.supply_shares
    assert view.total_debt == state.debt_assets > 0
    assert view.total_debt_shares == state.debt_shares
    assert view.cash == state.cash
    assert view.share_price == pool.convertToAssets(10 ** pool.decimals())
    assert view.reserve_shares == state.reserve_shares
    assert view.reserve_assets == pool.convertToAssets(state.reserve_shares)
    assert (view.supply_cap, view.debt_cap, view.leg_cap) == tuple(pool.caps())
    assert view.supply_cap == NO_CAP
    assert view.leg_cap == (NO_CAP if view.is_reverse else NO_BLOCK_CAP)
    assert not view.paused
    assert view.fee_permille == 100
    assert view.hook == ZERO_ADDRESS
    assert view.funding_wad == wad(30)
    assert view.funding_time == state.funding_time
    assert view.funding_age == scene.evm.timestamp - state.funding_time
    assert view.prices == scene.lens.prices(pool)


def test_pool__flags(scene: Scene, pool: Contract) -> None:
    market = scene.market
    hook = scene.evm.deploy("Operators")
    market.factory.allow_hook(hook, True, sender=market.owner)
    market.factory.set_hook(pool, hook, sender=market.owner)
    market.factory.set_paused(pool, True, sender=market.guardian)
    market.factory.set_caps(pool, 1, 2, 3, sender=market.owner)
    view = scene.lens.pool(pool)
    assert view.paused
    assert view.hook == hook.address
    assert (view.supply_cap, view.debt_cap, view.leg_cap) == (1, 2, 3)


@pytest.mark.parametrize("funding", [0, 40, -40, 5_000, -5_000])
def test_pool__rates_are_those_of_the_next_accrual(
    scene: Scene, pool: Contract, funding: float
) -> None:
    scene.market.set_funding(funding)
    with scene.evm.same_block():
        scene.market.factory.set_fee(pool, 100, sender=scene.market.owner)  # accrues
        rates, state = scene.lens.pool(pool).rates, pool.state()
    scene.evm.warp(1)
    assert rates.borrow_rate == pool.accrued_state().borrow_rate
    assert rates.utilisation == state.debt_assets * WAD // (state.cash + state.debt_assets)
    directed = funding if pool == scene.reverse else -funding
    assert rates.premium == max(0, wad(directed) // 5)
    assert rates.borrow_rate == min(rates.base_rate + rates.premium, wad(300))


def test_pool__lending_rate_is_what_lenders_get(scene: Scene, pool: Contract) -> None:
    scene.market.set_funding(50 if pool == scene.reverse else -50)
    lender = scene.usdt_lender if pool == scene.reverse else scene.token_lender
    rate = scene.lens.pool(pool).rates.lending_rate
    before = pool.convertToAssets(pool.balanceOf(lender))
    scene.evm.warp(3_600)
    earned = pool.convertToAssets(pool.balanceOf(lender)) - before
    # the virtual shares take part, and compounding adds little within an hour
    assert earned == pytest.approx(before * rate * 3_600 // (WAD * YEAR), rel=1e-3, abs=2)
    assert rate > 0


def test_pool__premium_ends_with_the_age_of_funding(scene: Scene, pool: Contract) -> None:
    scene.market.set_funding(50 if pool == scene.reverse else -50)
    age = pool.config().leg.funding_max_age
    observed_at = pool.state().funding_time
    scene.evm.warp(observed_at + age - 1 - scene.evm.timestamp)
    assert scene.lens.pool(pool).rates.premium == wad(10)
    scene.evm.warp(1)
    view = scene.lens.pool(pool)
    assert view.funding_age == age
    assert view.rates.premium == 0
    assert view.rates.borrow_rate == view.rates.base_rate


def test_pool__funding_never_synced(scene: Scene, pool: Contract) -> None:
    view = scene.lens.pool(pool)
    assert (view.funding_time, view.funding_age) == (0, MAX)
    assert (view.oracle_funding_wad, view.oracle_funding_time) == (0, 0)


def test_pool__funding_that_waits_at_the_oracle(scene: Scene, pool: Contract) -> None:
    market = scene.market
    market.funding.set(market.token, wad(-7))
    view = scene.lens.pool(pool)
    assert view.oracle_funding_wad == wad(-7)
    assert view.oracle_funding_time == scene.evm.timestamp
    assert view.funding_wad == 0


def test_pool__funding_oracle_that_reverts(scene: Scene, pool: Contract) -> None:
    scene.evm.set_code(scene.market.funding, bytes.fromhex("5f5ffd"))
    assert scene.lens.pool(pool).oracle_funding_time == 0
    scene.evm.set_code(scene.market.funding, b"")
    assert scene.lens.pool(pool).oracle_funding_time == 0


def test_pool__without_debt(scene: Scene, pool: Contract) -> None:
    market = scene.market
    market.give(scene.borrower, usdt=market.usd(1_000))
    market.give(scene.shorter, tokens=market.tokens(30))
    for debtor, owed in ((scene.borrower, market.reverse), (scene.shorter, market.forward)):
        owed.repay(MAX, debtor, sender=debtor)
    rates = scene.lens.pool(pool).rates
    assert (rates.utilisation, rates.lending_rate) == (0, 0)
    assert rates.borrow_rate == rates.base_rate == wad(2)


# --- prices


def test_prices__of_the_oracle(scene: Scene, pool: Contract) -> None:
    prices = scene.lens.prices(pool)
    oracle = scene.market.oracle
    assert prices.has_price
    assert prices.price_e36 == oracle.liquidation_price() > 0
    assert prices.has_bounds
    assert (prices.lower_e36, prices.upper_e36) == tuple(oracle.price_bounds())
    assert prices.volatility == MAX == oracle.volatility()


def test_prices__different_bounds_and_volatility(scene: Scene, pool: Contract) -> None:
    oracle = scene.script_prices(9, 11, 10, wad(150))
    prices = scene.lens.prices(pool)
    assert prices.price_e36 == oracle.liquidation_price()
    assert (prices.lower_e36, prices.upper_e36) == tuple(oracle.price_bounds())
    assert prices.lower_e36 < prices.price_e36 < prices.upper_e36
    assert prices.volatility == wad(150)


def test_prices__without_bounds(scene: Scene, pool: Contract) -> None:
    scene.script_prices(9, 11).break_prices(True, False)
    prices = scene.lens.prices(pool)
    assert prices.has_price
    assert not prices.has_bounds
    assert (prices.lower_e36, prices.upper_e36) == (0, 0)


def test_prices__stale(scene: Scene, pool: Contract) -> None:
    scene.lose_price()
    prices = scene.lens.pool(pool).prices
    assert (prices.has_price, prices.has_bounds) == (False, False)
    assert prices.price_e36 == 0


def test_prices__oracle_without_code(scene: Scene, pool: Contract) -> None:
    scene.evm.set_code(scene.market.oracle, b"")
    view = scene.lens.pool(pool)
    assert (view.prices.has_price, view.prices.has_bounds) == (False, False)
    assert view.prices.volatility == MAX


@pytest.mark.parametrize(("volatility", "ltv"), [(80, 70), (150, 65), (300, 60)])
def test_borrow_ltv__follows_volatility_on_the_reverse_pool(
    scene: Scene, volatility: float, ltv: float
) -> None:
    scene.script_prices(10, 10, volatility=wad(volatility))
    assert scene.lens.pool(scene.reverse).borrow_ltv == scene.reverse.borrow_ltv() == wad(ltv)
    assert scene.lens.pool(scene.forward).borrow_ltv == wad(70)


def test_borrow_ltv__oracle_without_code(scene: Scene) -> None:
    scene.evm.set_code(scene.market.oracle, b"")
    assert scene.lens.pool(scene.reverse).borrow_ltv == wad(60)


# --- rates after


def test_rates_after__a_deposit_and_a_withdrawal(scene: Scene, pool: Contract) -> None:
    market = scene.market
    lender = scene.usdt_lender if pool == scene.reverse else scene.token_lender
    amount = pool.totalAssets() // 7
    with scene.evm.same_block():
        expected = scene.lens.rates_after(pool, -amount, 0)
        pool.withdraw(amount, lender, lender, sender=lender)
        assert scene.lens.pool(pool).rates == expected
    market.give(lender, **{"usdt" if pool == scene.reverse else "tokens": amount})
    with scene.evm.same_block():
        expected = scene.lens.rates_after(pool, amount, 0)
        pool.deposit(amount, lender, sender=lender)
        assert scene.lens.pool(pool).rates == expected


def test_rates_after__borrowing_and_repayment(scene: Scene) -> None:
    market = scene.market
    with scene.evm.same_block():
        expected = scene.lens.rates_after(scene.reverse, 0, market.usd(50))
        scene.reverse.borrow(market.usd(50), scene.borrower, scene.borrower, sender=scene.borrower)
        assert scene.lens.pool(scene.reverse).rates == expected
        expected = scene.lens.rates_after(scene.reverse, 0, -market.usd(80))
        market.give(scene.borrower, usdt=market.usd(80))
        scene.reverse.repay(market.usd(80), scene.borrower, sender=scene.borrower)
        assert scene.lens.pool(scene.reverse).rates == expected


def test_rates_after__more_than_there_is(scene: Scene, pool: Contract) -> None:
    rates = scene.lens.rates_after(pool, 0, -(2**255))
    assert (rates.utilisation, rates.borrow_rate) == (0, wad(2))
    # debt beyond the assets is full utilisation
    rates = scene.lens.rates_after(pool, -(2**255), 0)
    assert (rates.utilisation, rates.borrow_rate) == (WAD, wad(100))
