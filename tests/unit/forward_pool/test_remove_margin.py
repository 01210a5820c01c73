"""`remove_margin`."""

from __future__ import annotations

import pytest

from perpool.evm import Account, Evm, reverts
from tests.market import MAX, ZERO_ADDRESS, Market
from tests.unit.forward_pool.conftest import (
    MARGIN,
    WAD,
    check_balances,
    divide_up,
    event,
    make_stale,
    pause,
    shut,
    value_up,
)


def least_collateral(market: Market, account: Account) -> int:
    """What new risk asks to be left behind the debt of now."""
    value = value_up(market.forward.debt_of(account), market.price_e36())
    return divide_up(value * WAD, market.forward_leg.max_ltv)


@pytest.fixture
def saver(market: Market, stranger: Account) -> Account:
    """With collateral and no debt."""
    market.forward.add_margin(market.usd(MARGIN), stranger, sender=stranger)
    return stranger


def test_remove_margin__not_authorised(market: Market, shorter: Account, stranger: Account) -> None:
    with reverts("not authorised"):
        market.forward.remove_margin(1, shorter, stranger, sender=stranger)


def test_remove_margin__bad_receiver(market: Market, shorter: Account) -> None:
    for receiver in (ZERO_ADDRESS, market.forward):
        with reverts("bad receiver"):
            market.forward.remove_margin(1, shorter, receiver, sender=shorter)


def test_remove_margin__nothing(market: Market, shorter: Account, stranger: Account) -> None:
    with reverts("zero amount"):
        market.forward.remove_margin(0, shorter, shorter, sender=shorter)
    with reverts("zero amount"):
        market.forward.remove_margin(MAX, stranger, stranger, sender=stranger)


def test_remove_margin__more_than_there_is(market: Market, saver: Account) -> None:
    with reverts("insufficient collateral"):
        market.forward.remove_margin(market.usd(MARGIN) + 1, saver, saver, sender=saver)


def test_remove_margin__paused(market: Market, shorter: Account) -> None:
    pause(market)
    with reverts("paused"):
        market.forward.remove_margin(1, shorter, shorter, sender=shorter)


def test_remove_margin__stale_price(market: Market, shorter: Account) -> None:
    make_stale(market)
    with reverts("stale price"):
        market.forward.remove_margin(1, shorter, shorter, sender=shorter)


def test_remove_margin__unhealthy(market: Market, shorter: Account, evm: Evm) -> None:
    """To the last unit, with the interest of a month that no transaction has accrued."""
    evm.warp(30 * 86_400)
    market.refresh_price()
    evm.mine()
    held = market.forward.position(shorter).collateral
    least = least_collateral(market, shorter)
    assert least > divide_up(market.usd(1_000) * WAD, market.forward_leg.max_ltv)
    with evm.same_block():
        with reverts("unhealthy position"):
            market.forward.remove_margin(held - least + 1, shorter, shorter, sender=shorter)
        market.forward.remove_margin(held - least, shorter, shorter, sender=shorter)
    assert market.forward.position(shorter).collateral == least


def test_remove_margin__all_with_debt(market: Market, shorter: Account) -> None:
    with reverts("unhealthy position"):
        market.forward.remove_margin(MAX, shorter, shorter, sender=shorter)


def test_remove_margin(market: Market, shorter: Account, evm: Evm) -> None:
    before, totals = market.forward.position(shorter), market.forward.state()
    receiver, amount = evm.account("receiver"), market.usd(300)

    assert market.forward.remove_margin(amount, shorter, receiver, sender=shorter) == amount
    assert event(market, "RemoveMargin").as_dict() == {
        "caller": shorter.address,
        "on_behalf": shorter.address,
        "receiver": receiver.address,
        "usdt_amount": amount,
        "collateral": before.collateral - amount,
    }
    after = before.as_dict() | {"collateral": before.collateral - amount}
    assert market.forward.position(shorter).as_dict() == after
    assert market.forward.state() == totals
    assert market.usdt.balanceOf(receiver) == amount
    assert market.usdt.balanceOf(shorter) == 0
    check_balances(market, shorter)


def test_remove_margin__profit_of_a_fall(market: Market, shorter: Account) -> None:
    """Half the price lets out more than the margin: the short has earned it."""
    market.set_price(5)
    market.forward.remove_margin(market.usd(1_250), shorter, shorter, sender=shorter)
    assert market.usdt.balanceOf(shorter) == market.usd(1_250)


def test_remove_margin__without_debt(market: Market, saver: Account, shorter: Account) -> None:
    """Whatever is paused, capped or stale."""
    shut(market)
    held = market.usdt.balanceOf(saver)
    market.forward.remove_margin(1, saver, saver, sender=saver)
    assert market.forward.remove_margin(MAX, saver, saver, sender=saver) == market.usd(MARGIN) - 1
    assert market.forward.position(saver).collateral == 0
    assert market.usdt.balanceOf(saver) == held + market.usd(MARGIN)
    check_balances(market, saver, shorter)


def test_remove_margin__by_an_operator(
    market: Market, shorter: Account, stranger: Account, evm: Evm
) -> None:
    market.operators.set_operator(stranger, True, sender=shorter)
    receiver = evm.account("receiver")
    market.forward.remove_margin(1, shorter, receiver, sender=stranger)
    removed = event(market, "RemoveMargin")
    assert (removed.caller, removed.on_behalf) == (stranger.address, shorter.address)
    assert market.usdt.balanceOf(receiver) == 1
    market.operators.set_operator(stranger, False, sender=shorter)
    with reverts("not authorised"):
        market.forward.remove_margin(1, shorter, receiver, sender=stranger)
