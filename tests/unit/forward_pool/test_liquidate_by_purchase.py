"""`liquidate_by_purchase`."""

from __future__ import annotations

import pytest

from perpool.evm import Account, Contract, Evm, reverts
from tests.market import MAX, WAD, ZERO_ADDRESS, Market
from tests.unit.forward_pool.conftest import (
    MARGIN,
    SHORTED,
    TIP,
    cap,
    charge_of,
    check_balances,
    event,
    ltv_of,
    make_stale,
    pause,
    pay,
    terms_of,
    value_down,
)


def tip_for(market: Market, most: int) -> int:
    """What the caller gets: 1 % of the value of what the terms ask to be bought."""
    return value_down(most, market.price_e36()) * TIP // WAD


def use(market: Market, adapter: Contract) -> None:
    """Have the pool buy through another adapter."""
    market.factory.set_liquidation_swapper(market.forward, adapter, b"", sender=market.owner)


# --- reverts


def test_liquidate_by_purchase__bad_receiver(
    market: Market, shorter: Account, stranger: Account
) -> None:
    market.set_price(17)
    for receiver in (ZERO_ADDRESS, market.forward):
        with reverts("bad receiver"):
            market.forward.liquidate_by_purchase(shorter, receiver, sender=stranger)


def test_liquidate_by_purchase__in_the_block_of_opening(
    market: Market, stranger: Account, evm: Evm
) -> None:
    with evm.same_block():
        shorter = market.short("shorter", margin=market.usd(MARGIN), tokens=market.tokens(SHORTED))
        market.feed.set(17 * 10**8)
        with reverts("opened in this block"):
            market.forward.liquidate_by_purchase(shorter, stranger, sender=stranger)
    market.forward.liquidate_by_purchase(shorter, stranger, sender=stranger)


def test_liquidate_by_purchase__stale_price(
    market: Market, shorter: Account, stranger: Account
) -> None:
    market.set_price(17)
    make_stale(market)
    with reverts("stale price"):
        market.forward.liquidate_by_purchase(shorter, stranger, sender=stranger)


def test_liquidate_by_purchase__healthy(
    market: Market, shorter: Account, stranger: Account
) -> None:
    market.set_price("15.9")
    with reverts("healthy position"):
        market.forward.liquidate_by_purchase(shorter, stranger, sender=stranger)


def test_liquidate_by_purchase__adapter_off_the_list(
    market: Market, shorter: Account, stranger: Account
) -> None:
    """Delivering tokens goes on."""
    market.set_price(17)
    market.factory.allow_swapper(market.swapper, False, sender=market.owner)
    with reverts("unknown swapper"):
        market.forward.liquidate_by_purchase(shorter, stranger, sender=stranger)
    market.forward.liquidate(shorter, MAX, stranger, b"", sender=stranger)


def test_liquidate_by_purchase__the_market_is_too_dear(
    market: Market, shorter: Account, stranger: Account, evm: Evm
) -> None:
    """Cost and tip together stay within the oracle's value and the bonus."""
    market.set_price(17)
    market.pool.swap_to(market.pool.price * 107 / 100)
    with reverts("excessive input"):
        market.forward.liquidate_by_purchase(shorter, stranger, sender=stranger)
    market.pool.swap_to(market.pool.price * 106 / 107)
    market.forward.liquidate_by_purchase(shorter, stranger, sender=stranger)


def test_liquidate_by_purchase__the_adapter_brings_less(
    market: Market, shorter: Account, stranger: Account, puppet: Contract, evm: Evm
) -> None:
    use(market, puppet)
    market.set_price(17)
    evm.mine()
    _, most, _, _, _ = terms_of(market, shorter)
    with evm.same_block():
        pay(puppet, "swap_exact_out", (market.token, market.forward, most - 1))
        with reverts("slippage"):
            market.forward.liquidate_by_purchase(shorter, stranger, sender=stranger)
        pay(puppet, "swap_exact_out", (market.token, market.forward, most))
        market.forward.liquidate_by_purchase(shorter, stranger, sender=stranger)
    check_balances(market, shorter)


def test_liquidate_by_purchase__the_last_collateral_buys_too_little(
    market: Market, shorter: Account, stranger: Account, puppet: Contract, evm: Evm
) -> None:
    use(market, puppet)
    market.set_price(30, move_uniswap=False)
    evm.mine()
    _, most, _, _, exhausts = terms_of(market, shorter)
    assert exhausts
    with evm.same_block():
        pay(puppet, "swap_exact_in", (market.token, market.forward, most - 1))
        with reverts("slippage"):
            market.forward.liquidate_by_purchase(shorter, stranger, sender=stranger)
        pay(puppet, "swap_exact_in", (market.token, market.forward, most))
        market.forward.liquidate_by_purchase(shorter, stranger, sender=stranger)
    check_balances(market, shorter)


# --- happy


def test_liquidate_by_purchase(market: Market, shorter: Account, evm: Evm) -> None:
    forward = market.forward
    evm.warp(86_400)
    market.set_price(17)
    evm.mine()
    before, state = forward.position(shorter), forward.accrued_state()
    price, most, debt, _, exhausts = terms_of(market, shorter)
    assert most < debt
    assert not exhausts
    cost = market.uniswap.quote_exact_out(market.buy_route, most)
    tip = tip_for(market, most)
    caller, receiver = evm.account("caller"), evm.account("receiver")

    assert forward.liquidate_by_purchase(shorter, receiver, sender=caller) == (most, cost + tip)
    shares = most * state.debt_shares // state.debt_assets
    assert event(market, "LiquidateByPurchase").as_dict() == {
        "caller": caller.address,
        "borrower": shorter.address,
        "receiver": receiver.address,
        "repaid": most,
        "shares": shares,
        "cost": cost,
        "tip": tip,
        "price_e36": price,
        "total_debt": state.debt_assets - most,
        "total_debt_shares": state.debt_shares - shares,
    }
    assert not evm.last.events("BadDebt")
    left = before.debt_shares - shares
    assert forward.position(shorter).as_dict() == {
        "collateral": before.collateral - cost - tip,
        "debt_shares": left,
        "opened_block": before.opened_block,
        "sold": before.sold * left // before.debt_shares,
        "proceeds": before.proceeds * left // before.debt_shares,
    }
    # bought for less than the bonus allows, so healthier than asked
    assert ltv_of(market, shorter) < 0.7
    assert forward.state().supply_assets == state.supply_assets
    assert forward.books() == (market.tokens(SHORTED), most)
    assert (market.usdt.balanceOf(receiver), market.usdt.balanceOf(caller)) == (tip, 0)
    check_balances(market, shorter)


def test_liquidate_by_purchase__whole_debt(market: Market, evm: Evm) -> None:
    """Where the rest would be dust; what is left of the collateral is the borrower's."""
    shorter = market.short("shorter", margin=market.usd(30), tokens=market.tokens(3))
    market.set_price(18)
    evm.mine()
    held, debt = market.forward.position(shorter).collateral, market.forward.debt_of(shorter)
    repaid, spent = market.forward.liquidate_by_purchase(shorter, evm.account("caller"))
    assert repaid == debt
    position = market.forward.position(shorter)
    assert (position.debt_shares, position.collateral) == (0, held - spent)
    assert position.collateral > 0
    check_balances(market, shorter)


def test_liquidate_by_purchase__collateral_falls_short(
    market: Market, shorter: Account, evm: Evm
) -> None:
    """All of it is spent, and what it cannot buy is written off."""
    forward = market.forward
    evm.warp(86_400)
    market.set_price(30)
    evm.mine()
    before, state = forward.position(shorter), forward.accrued_state()
    price, most, debt, bonus, exhausts = terms_of(market, shorter)
    assert exhausts
    assert bonus == market.forward_leg.bonus_base
    tip, caller = tip_for(market, most), evm.account("caller")
    charge = charge_of(market)
    bought = market.uniswap.quote_exact_in(market.buy_route, before.collateral - tip)
    assert most < bought < debt

    result = forward.liquidate_by_purchase(shorter, caller, sender=caller)
    assert result == (bought, before.collateral)
    found, bad = event(market, "LiquidateByPurchase"), event(market, "BadDebt")
    assert (found.cost, found.tip, found.price_e36) == (before.collateral - tip, tip, price)
    assert (found.repaid, found.total_debt, found.total_debt_shares) == (bought, 0, 0)
    assert bad.assets == debt - bought == bad.from_reserve + bad.from_lenders
    assert bad.from_reserve == charge.price.assets_down(charge.shares) > 0
    total = state.cash + state.debt_assets - bad.assets
    assert forward.state().supply_assets == total == bad.total_assets
    position = forward.position(shorter)
    assert (position.collateral, position.debt_shares, position.sold) == (0, 0, 0)
    assert forward.books() == (market.tokens(SHORTED), bought)
    assert (market.usdt.balanceOf(caller), market.token.balanceOf(caller)) == (tip, 0)
    check_balances(market, shorter)


def test_liquidate_by_purchase__surplus_goes_to_the_receiver(
    market: Market, shorter: Account, evm: Evm
) -> None:
    """Short of debt and bonus, but not of the debt: what it buys beyond is part of the bonus."""
    forward = market.forward
    market.set_price("19.5")
    evm.mine()
    before, state = forward.position(shorter), forward.accrued_state()
    _, most, debt, _, exhausts = terms_of(market, shorter)
    assert exhausts
    tip = tip_for(market, most)
    bought = market.uniswap.quote_exact_in(market.buy_route, before.collateral - tip)
    assert bought > debt
    caller, receiver = evm.account("caller"), evm.account("receiver")

    result = forward.liquidate_by_purchase(shorter, receiver, sender=caller)

    assert result == (debt, before.collateral)
    assert not evm.last.events("BadDebt")
    assert market.token.balanceOf(receiver) == bought - debt
    assert market.usdt.balanceOf(receiver) == tip
    assert (market.token.balanceOf(caller), market.usdt.balanceOf(caller)) == (0, 0)
    # the lenders have what they were owed, and no word of theirs is touched
    after = forward.state()
    assert after.cash == state.cash + debt == state.cash + state.debt_assets
    assert after.debt_assets == after.debt_shares == 0
    assert (after.charged_assets, after.supply_shares) == state[3:5]
    assert after.supply_assets == state.supply_assets
    assert not evm.last.events("Transfer", forward)
    assert forward.books() == (market.tokens(SHORTED), debt)
    check_balances(market, shorter)


def test_liquidate_by_purchase__never_dearer_than_the_bonus(
    market: Market, shorter: Account, puppet: Contract, evm: Evm
) -> None:
    """An adapter that keeps whatever it is given gets no more than a liquidator would."""
    use(market, puppet)
    market.set_price(17)
    evm.mine()
    price, most, _, bonus, _ = terms_of(market, shorter)
    allowed = value_down(most, price) * (WAD + bonus) // WAD
    with evm.same_block():
        pay(puppet, "swap_exact_out", (market.token, market.forward, most))
        result = market.forward.liquidate_by_purchase(shorter, evm.account("caller"))
    assert result == (most, allowed)
    assert ltv_of(market, shorter) == pytest.approx(0.7, abs=1e-6)
    check_balances(market, shorter)


def test_liquidate_by_purchase__while_paused_and_capped(market: Market, shorter: Account) -> None:
    pause(market)
    cap(market, 0, 0, 0)
    market.set_price(17)
    market.forward.liquidate_by_purchase(shorter, market.owner)
    check_balances(market, shorter)
