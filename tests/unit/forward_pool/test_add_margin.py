"""`add_margin`."""

from __future__ import annotations

from perpool.evm import Account, Evm, reverts
from tests.market import ZERO_ADDRESS, Market, deploy_market
from tests.unit.forward_pool.conftest import MARGIN, check_balances, event, ltv_of, shut


def test_add_margin__bad_receiver(market: Market, stranger: Account) -> None:
    for account in (ZERO_ADDRESS, market.forward):
        with reverts("bad receiver"):
            market.forward.add_margin(1, account, sender=stranger)


def test_add_margin__more_than_the_caller_has(market: Market, shorter: Account) -> None:
    with reverts("insufficient balance"):
        market.forward.add_margin(1, shorter, sender=shorter)


def test_add_margin__nothing(market: Market, stranger: Account) -> None:
    with reverts("zero amount"):
        market.forward.add_margin(0, stranger, sender=stranger)


def test_add_margin__more_than_a_position_holds(market: Market, stranger: Account) -> None:
    market.usdt.mint(stranger, 2**96)
    with reverts("amount too large"):
        market.forward.add_margin(2**96, stranger, sender=stranger)
    market.forward.add_margin(2**96 - 1, stranger, sender=stranger)
    assert market.forward.position(stranger).collateral == 2**96 - 1


def test_add_margin(market: Market, shorter: Account, stranger: Account) -> None:
    before, amount = market.forward.position(shorter), market.usd(250)
    held, ltv = market.usdt.balanceOf(stranger), ltv_of(market, shorter)
    totals = market.forward.state()

    assert market.forward.add_margin(amount, shorter, sender=stranger) == amount
    assert event(market, "AddMargin").as_dict() == {
        "caller": stranger.address,
        "on_behalf": shorter.address,
        "usdt_amount": amount,
        "collateral": before.collateral + amount,
    }
    after = before.as_dict() | {"collateral": before.collateral + amount}
    assert market.forward.position(shorter).as_dict() == after
    assert market.forward.state() == totals
    assert market.usdt.balanceOf(stranger) == held - amount
    assert ltv_of(market, shorter) < ltv
    check_balances(market, shorter)


def test_add_margin__without_debt(market: Market, stranger: Account) -> None:
    market.forward.add_margin(1, stranger, sender=stranger)
    position = market.forward.position(stranger)
    assert (position.collateral, position.debt_shares) == (1, 0)
    check_balances(market, stranger)


def test_add_margin__saves_from_liquidation(
    market: Market, shorter: Account, stranger: Account
) -> None:
    market.set_price(17)
    market.forward.add_margin(market.usd(MARGIN), shorter, sender=stranger)
    with reverts("healthy position"):
        market.forward.liquidate(shorter, 1, stranger, b"", sender=stranger)


def test_add_margin__while_all_else_is_shut(
    market: Market, shorter: Account, stranger: Account
) -> None:
    shut(market)
    market.forward.add_margin(market.usd(1), shorter, sender=stranger)
    check_balances(market, shorter)


def test_add_margin__usdt_that_takes_a_fee(evm: Evm) -> None:
    """USDT has a fee that its owner may switch on; what arrives is what counts."""
    usdt = evm.deploy("FeeToken", 6, 0)
    market = deploy_market(evm, usdt=usdt)
    holder = market.give(evm.account("holder"), usdt=market.usd(MARGIN))
    usdt.set_fee(20)
    arrived = market.usd(MARGIN) * 998 // 1000
    assert market.forward.add_margin(market.usd(MARGIN), holder, sender=holder) == arrived
    assert event(market, "AddMargin").usdt_amount == arrived
    check_balances(market, holder)
