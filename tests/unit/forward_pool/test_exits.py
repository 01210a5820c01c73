"""What can never be stopped: every way out, with the pool paused, capped at zero and blind."""

from __future__ import annotations

from perpool.evm import Account, reverts
from tests.market import MAX, Market
from tests.unit.forward_pool.conftest import (
    LENT,
    MARGIN,
    SHORTED,
    check_balances,
    close_short,
    open_short,
    shut,
)


def test_exits(market: Market, shorter: Account, stranger: Account) -> None:
    """Lenders, shorters and savers all leave; the pool ends empty but for its reserve."""
    forward, lender = market.forward, market.evm.account("lender")
    saver = market.give(market.evm.account("saver"), usdt=market.usd(MARGIN))
    other = market.short("other", margin=market.usd(MARGIN), tokens=market.tokens(SHORTED))
    forward.add_margin(market.usd(MARGIN), saver, sender=saver)
    market.set_funding(-50)
    shut(market)

    forward.remove_margin(MAX, saver, saver, sender=saver)
    forward.add_margin(market.usd(1), other, sender=stranger)
    forward.repay(market.tokens(1), other, sender=stranger)
    forward.withdraw(market.tokens(1), lender, lender, sender=lender)
    close_short(market, shorter)
    forward.repay(MAX, other, sender=stranger)
    forward.remove_margin(MAX, other, other, sender=other)
    forward.redeem(forward.balanceOf(lender), lender, lender, sender=lender)

    assert market.token.balanceOf(lender) > market.tokens(LENT)
    assert market.usdt.balanceOf(forward) == 0
    assert forward.state().debt_assets == 0
    check_balances(market, shorter, other, saver)


def test_exits__with_nothing_but_a_fresh_price(
    market: Market, shorter: Account, stranger: Account
) -> None:
    """Parts and liquidations need the feed, and it alone."""
    shut(market)
    market.set_price(17)
    close_short(market, shorter, token_amount=market.tokens(1))
    market.forward.liquidate(shorter, market.tokens(1), stranger, b"", sender=stranger)
    market.forward.liquidate_by_purchase(shorter, stranger, sender=stranger)
    check_balances(market, shorter)


def test_exits__entries_are_shut(market: Market, shorter: Account, stranger: Account) -> None:
    shut(market)
    with reverts("paused"):
        market.forward.deposit(market.tokens(1), stranger, sender=stranger)
    with reverts("paused"):
        open_short(market, stranger)
    with reverts("paused"):
        market.forward.remove_margin(1, shorter, shorter, sender=shorter)
