"""`repay`."""

from __future__ import annotations

from perpool.evm import Account, Evm, reverts
from tests.market import MAX, Market, deploy_market
from tests.unit.forward_pool.conftest import (
    MARGIN,
    SHORTED,
    check_balances,
    event,
    shut,
)


def test_repay__no_debt(market: Market, stranger: Account) -> None:
    with reverts("no debt"):
        market.forward.repay(MAX, stranger, sender=stranger)


def test_repay__more_than_the_caller_has(market: Market, shorter: Account) -> None:
    with reverts("insufficient balance"):
        market.forward.repay(1, shorter, sender=shorter)


def test_repay__nothing(market: Market, shorter: Account, stranger: Account) -> None:
    with reverts("zero amount"):
        market.forward.repay(0, shorter, sender=stranger)


def test_repay__leaves_dust(market: Market, shorter: Account, stranger: Account) -> None:
    most = market.tokens(SHORTED) - market.forward_leg.min_debt
    with reverts("below minimum debt"):
        market.forward.repay(most + market.tokens("0.01"), shorter, sender=stranger)
    market.forward.repay(most, shorter, sender=stranger)


def test_repay(market: Market, shorter: Account, stranger: Account, evm: Evm) -> None:
    """A part, by a stranger."""
    forward, part = market.forward, market.tokens(40)
    before, held = forward.position(shorter), market.token.balanceOf(stranger)
    evm.warp(86_400)
    state = forward.accrued_state()

    shares = part * state.debt_shares // state.debt_assets
    assert forward.repay(part, shorter, sender=stranger) == (part, shares)
    assert event(market, "Repay").as_dict() == {
        "caller": stranger.address,
        "on_behalf": shorter.address,
        "assets": part,
        "shares": shares,
        "total_debt": state.debt_assets - part,
        "total_debt_shares": state.debt_shares - shares,
    }
    left = before.debt_shares - shares
    assert forward.position(shorter).as_dict() == {
        "collateral": before.collateral,
        "debt_shares": left,
        "opened_block": before.opened_block,
        "sold": before.sold * left // before.debt_shares,
        "proceeds": before.proceeds * left // before.debt_shares,
    }
    assert forward.state().supply_assets == state.supply_assets
    assert market.token.balanceOf(stranger) == held - part
    # nothing was bought by the pool
    assert forward.books() == (market.tokens(SHORTED), 0)
    check_balances(market, shorter)


def test_repay__all(market: Market, shorter: Account, stranger: Account, evm: Evm) -> None:
    """No dust is left, and the collateral stays until its owner takes it out."""
    forward = market.forward
    before, held = forward.position(shorter), market.token.balanceOf(stranger)
    evm.warp(86_400)
    debt = forward.debt_of(shorter)
    assert debt > market.tokens(SHORTED)

    assert forward.repay(MAX, shorter, sender=stranger) == (debt, before.debt_shares)
    position = forward.position(shorter)
    assert (position.debt_shares, position.sold, position.proceeds) == (0, 0, 0)
    assert position.collateral == before.collateral
    assert market.token.balanceOf(stranger) == held - debt
    assert forward.state().debt_assets == forward.state().debt_shares == 0
    check_balances(market, shorter)
    forward.remove_margin(MAX, shorter, shorter, sender=shorter)
    assert market.usdt.balanceOf(shorter) == before.collateral


def test_repay__more_than_all(
    market: Market, shorter: Account, stranger: Account, evm: Evm
) -> None:
    """It takes what is owed, also of a position among others."""
    other = market.short("other", margin=market.usd(MARGIN), tokens=market.tokens(SHORTED))
    evm.warp(3_600)
    debt, held = market.forward.debt_of(shorter), market.token.balanceOf(stranger)
    assert market.forward.repay(debt + 1, shorter, sender=stranger)[0] == debt
    assert market.token.balanceOf(stranger) == held - debt
    assert market.forward.debt_of(other) > market.tokens(SHORTED)
    check_balances(market, shorter, other)


def test_repay__while_all_else_is_shut(market: Market, shorter: Account, stranger: Account) -> None:
    shut(market)
    market.forward.repay(market.tokens(50), shorter, sender=stranger)
    market.forward.repay(MAX, shorter, sender=stranger)
    assert market.forward.debt_of(shorter) == 0
    check_balances(market, shorter)


def test_repay__token_that_takes_a_fee(evm: Evm) -> None:
    """What arrives is what counts."""
    token = evm.deploy("FeeToken", 18, 0)
    market = deploy_market(evm, token=token)
    market.lend("lender", tokens=market.tokens(1_000))
    shorter = market.short("shorter", margin=market.usd(MARGIN), tokens=market.tokens(SHORTED))
    payer = market.give(evm.account("payer"), tokens=market.tokens(SHORTED))
    token.set_fee(100)
    assert market.forward.repay(market.tokens(50), shorter, sender=payer)[0] == market.tokens(
        "49.5"
    )
    check_balances(market, shorter)


def test_repay__token_that_brings_more_than_asked(evm: Evm) -> None:
    """Tokens that a transfer hook adds in the middle pay nobody's debt."""
    token = evm.deploy("HookToken", 18)
    market = deploy_market(evm, token=token)
    market.lend("lender", tokens=market.tokens(1_000))
    shorter = market.short("shorter", margin=market.usd(MARGIN), tokens=market.tokens(SHORTED))
    other = market.short("other", margin=market.usd(MARGIN), tokens=market.tokens(SHORTED))
    puppet = evm.deploy("Puppet")
    market.give(puppet, tokens=market.tokens(500))
    token.set_hook(puppet, sender=puppet)
    gift = [(token, token.transfer.encode(market.forward, market.tokens(50)), True)]
    repay = [(market.forward, market.forward.repay.encode(MAX, shorter), True)]
    puppet.prepare("before_transfer", gift)
    puppet.run(repay)
    assert market.forward.debt_of(shorter) == 0
    assert market.forward.debt_of(other) >= market.tokens(SHORTED)
    check_balances(market, shorter, other, given=market.tokens(50))
