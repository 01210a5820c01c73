"""Attacks on the trades of the forward pool, on prices, and on liquidations of both pools.

Gains are in USDT of what the attacker holds, at the oracle's price, over what he began with.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from perpool.evm import Account, Evm, reverts
from tests.attacks.pools import (
    another_market,
    market_without,
    oracle_with_twap,
    own_venue,
    trade,
    trade_back,
    wealth,
)
from tests.market import MAX, Market

USDT = 10**6
TOKEN = 10**18


def open_short(market: Market, account: Account, margin: int, amount: int, **changes: Any) -> int:
    call = {
        "min_proceeds": 0,
        "deadline": MAX,
        "on_behalf": account,
        "swapper": market.swapper,
        "route": market.sell_route,
    } | changes
    return int(market.forward.open_short(margin, amount, *call.values(), sender=account))


def close_short(market: Market, account: Account, amount: int, **changes: Any) -> int:
    call = {
        "max_cost": MAX,
        "deadline": MAX,
        "on_behalf": account,
        "receiver": account,
        "swapper": market.swapper,
        "route": market.buy_route,
    } | changes
    return int(market.forward.close_short(amount, *call.values(), sender=account))


# --- sandwich


def sandwich(market: Market) -> float:
    """Gain of who sells before a careless short is opened, and buys back after it."""
    market.lend(tokens=20_000 * TOKEN)
    victim = market.give(market.evm.account("victim"), usdt=150_000 * USDT)
    attacker = market.give(market.evm.account("attacker"), tokens=200_000 * TOKEN)
    market.usdt.mint(attacker, 10**6 * USDT)
    before = wealth(market, attacker)
    with market.evm.same_block():
        trade(market, attacker, market.token, 150_000 * TOKEN, market.pool)
        # without a bound of his own
        open_short(market, victim, 150_000 * USDT, 10_000 * TOKEN, min_proceeds=0)
        trade_back(market, attacker, market.token, 150_000 * TOKEN, market.pool)
    return wealth(market, attacker) - before


def test_sandwich(evm: Evm) -> None:
    with reverts("slippage"):
        sandwich(market_without(evm))


def test_sandwich__within_the_slippage(evm: Evm) -> None:
    """What is left to take is what the market's parameters concede, of what is sold."""
    market = market_without(evm, forward_leg={"max_slippage": 10**17})
    market.lend(tokens=20_000 * TOKEN)
    victim = market.give(evm.account("victim"), usdt=150_000 * USDT)
    attacker = market.give(evm.account("attacker"), tokens=50_000 * TOKEN)
    market.usdt.mint(attacker, 10**6 * USDT)
    before = wealth(market, attacker)
    trade(market, attacker, market.token, 40_000 * TOKEN, market.pool)
    open_short(market, victim, 150_000 * USDT, 10_000 * TOKEN)
    trade_back(market, attacker, market.token, 40_000 * TOKEN, market.pool)
    assert wealth(market, attacker) - before < 100_000 * 0.1


def test_sandwich__weakened(evm: Evm) -> None:
    gain = sandwich(market_without(evm, "oracle's bound on proceeds"))
    assert 20_000 < gain < 30_000


# --- funding self-loop


def park_borrowed_tokens(market: Market) -> float:
    """What an attacker pays for the tokens he borrows, selling them to himself on his own venue.

    He then posts them to the reverse pool, to borrow USDT and collect the very funding that his
    debt is to pay for.
    """
    market.lend(tokens=10_000 * TOKEN)
    market.lend("usdt lender", usdt=100_000 * USDT)
    attacker = market.give(market.evm.account("attacker"), usdt=2_000 * USDT)
    venue = own_venue(market, attacker, 0.001, usdt=1)
    route = venue.route(market.token)
    paid = open_short(market, attacker, 1_500 * USDT, 100 * TOKEN, route=route)
    assert market.forward.position(attacker).collateral == 1_500 * USDT + paid

    taken = 99 * TOKEN
    trade_back(market, attacker, market.token, taken, venue)
    market.reverse.supply_collateral_and_borrow(
        taken, 590 * USDT, attacker, attacker, sender=attacker
    )
    return paid / USDT


def test_self_loop(evm: Evm) -> None:
    """At the oracle's price less the slippage he may, which is what anybody pays in the market."""
    market = market_without(evm)
    with reverts("slippage"):
        park_borrowed_tokens(market)

    attacker = evm.account("attacker")
    dear = market.uniswap.create_pool(
        market.token, market.usdt, fee=10_000, price=market.pool.price * 985 / 1000
    )
    dear.add_liquidity(10**6 * USDT, provider=attacker)
    proceeds = open_short(market, attacker, 500 * USDT, 100 * TOKEN, route=dear.route(market.token))
    assert proceeds >= 970 * USDT


def test_self_loop__weakened(evm: Evm) -> None:
    """Borrowed tokens reach the borrower for a tenth of a USDT."""
    market = market_without(evm, "oracle's bound on proceeds")
    assert park_borrowed_tokens(market) < 0.2
    assert market.reverse.position(evm.account("attacker"))[0] == 99 * TOKEN


# --- drain by partial close


def overpay_oneself(market: Market) -> float:
    """Gain of who buys one token of a hundred back from himself with all of the collateral."""
    market.lend(tokens=10_000 * TOKEN)
    attacker = market.short("attacker", margin=440 * USDT, tokens=100 * TOKEN)
    market.short("victim", margin=5_000 * USDT, tokens=100 * TOKEN)
    venue = own_venue(market, attacker, 1_400, usdt=10_000_000)
    before = wealth(market, attacker, venue) + 440
    close_short(market, attacker, TOKEN, route=venue.route(market.usdt))
    left = market.forward.position(attacker)
    assert market.forward.debt_of(attacker) > 98 * TOKEN
    assert left.collateral < 40 * USDT
    return wealth(market, attacker, venue) - before


def test_partial_close(evm: Evm) -> None:
    with reverts("slippage"):
        overpay_oneself(market_without(evm))


def test_partial_close__without_the_oracle(evm: Evm) -> None:
    """The rest has to stay healthy all the same."""
    market = market_without(evm, "oracle's bound on a part")
    with reverts("unhealthy position"):
        overpay_oneself(market)


def test_partial_close__without_health(evm: Evm) -> None:
    """The price has to be the market's all the same."""
    with reverts("slippage"):
        overpay_oneself(market_without(evm, "health of the rest"))


def test_partial_close__weakened(evm: Evm) -> None:
    """He leaves with what the tokens were sold for, the lenders with the debt."""
    market = market_without(evm, "oracle's bound on a part", "health of the rest")
    assert 940 < overpay_oneself(market) < 970


@pytest.mark.parametrize("price", [10, 13, 16, 18, 19, 21])
def test_partial_close__at_the_slippage_allowed(evm: Evm, price: int) -> None:
    """The most that he can overpay himself is his own equity, at any LTV."""
    market = market_without(evm)
    market.lend(tokens=10_000 * TOKEN)
    attacker = market.short("attacker", margin=1_000 * USDT, tokens=100 * TOKEN)
    venue = own_venue(market, attacker, price * 1.026, usdt=10_000_000)
    market.set_price(price)
    forward = market.forward

    def bad_debt() -> float:
        debt = forward.debt_of(attacker) / TOKEN * price
        return max(0.0, float(debt - forward.position(attacker).collateral / USDT))

    before, lost = wealth(market, attacker, venue, price=price), bad_debt()
    for part in (10, 20, 30):
        if price < 20:
            close_short(market, attacker, part * TOKEN, route=venue.route(market.usdt))
        else:
            with reverts("unhealthy position"):
                close_short(market, attacker, part * TOKEN, route=venue.route(market.usdt))
    assert bad_debt() <= lost + 0.01
    gain = wealth(market, attacker, venue, price=price) - before
    assert gain <= max(0, 2_000 - 100 * price)


# --- liquidation in the block of opening


def open_and_liquidate(market: Market) -> float:
    """Gain of who knows that the next report will say 15 where the oracle still says 10.

    He sells to himself at the old price, reports, and takes his own bonus from the lenders, at no
    risk since nobody can come between.
    """
    evm = market.evm
    market.lend(tokens=10_000 * TOKEN)
    market.short("victim", margin=5_000 * USDT, tokens=100 * TOKEN)
    attacker = market.give(evm.account("attacker"), tokens=100 * TOKEN, usdt=460 * USDT)
    venue = own_venue(market, attacker, 9.76, usdt=10_000_000)
    route = venue.route(market.token)
    before = wealth(market, attacker, venue, price=15)
    with evm.same_block():
        open_short(market, attacker, 460 * USDT, 100 * TOKEN, route=route)
        market.feed.set(15 * 10**8)
        market.forward.liquidate(attacker, MAX, attacker, b"", sender=attacker)
    return wealth(market, attacker, venue, price=15) - before


def test_liquidation_in_the_block_of_opening(evm: Evm) -> None:
    with reverts("opened in this block"):
        open_and_liquidate(market_without(evm))


def test_liquidation_in_the_block_of_opening__weakened(evm: Evm) -> None:
    gain = open_and_liquidate(market_without(evm, "block of opening"))
    assert 120 < gain < 150


# --- spot prices


def markets_with_a_twap(evm: Evm, *, spot: bool) -> Market:
    market = market_without(evm)
    market.pool.grow_observations(300)
    evm.warp(3_600)
    # a trade writes the observation that the average is taken from
    market.pool.swap_to(market.pool.price * 1_001 / 1_000)
    evm.warp(3_600)
    market.pool.swap_to(market.pool.price * 1_000 / 1_001)
    evm.warp(60)
    market.refresh_price()
    return another_market(market, oracle=oracle_with_twap(market, spot=spot))


def pump_and_liquidate(market: Market) -> float:
    """Gain of who lifts Uniswap to 17 for a moment and liquidates a healthy short."""
    evm = market.evm
    market.lend(tokens=100_000 * TOKEN)
    victim = market.give(evm.account("victim"), usdt=300_000 * USDT)
    for _ in range(3):
        open_short(market, victim, 100_000 * USDT, 10_000 * TOKEN)
        market.pool.swap_to(Decimal(10))
    attacker = market.give(evm.account("attacker"), tokens=40_000 * TOKEN, usdt=10_000_000 * USDT)
    before = wealth(market, attacker)
    with evm.same_block():
        bought = trade(market, attacker, market.usdt, 3_100_000 * USDT, market.pool)
        assert 16.5 < market.pool.price < 17.5
        market.forward.liquidate(victim, MAX, attacker, b"", sender=attacker)
        trade(market, attacker, market.token, bought, market.pool)
    return wealth(market, attacker) - before


def test_liquidation_by_spot(evm: Evm) -> None:
    with reverts("healthy position"):
        pump_and_liquidate(markets_with_a_twap(evm, spot=False))


def test_liquidation_by_spot__weakened(evm: Evm) -> None:
    assert 150_000 < pump_and_liquidate(markets_with_a_twap(evm, spot=True)) < 250_000


def pump_and_borrow(market: Market) -> float:
    """Gain of who lifts Uniswap for a moment, borrows against his tokens, and walks away."""
    evm = market.evm
    market.lend("usdt lender", usdt=500_000 * USDT)
    attacker = market.give(evm.account("attacker"), tokens=10_000 * TOKEN, usdt=10_000_000 * USDT)
    before = wealth(market, attacker)
    with evm.same_block():
        bought = trade(market, attacker, market.usdt, 5_000_000 * USDT, market.pool)
        assert market.pool.price > 22
        market.reverse.supply_collateral_and_borrow(
            10_000 * TOKEN, 130_000 * USDT, attacker, attacker, sender=attacker
        )
        trade(market, attacker, market.token, bought, market.pool)
    return wealth(market, attacker) - before


def test_borrowing_by_spot(evm: Evm) -> None:
    """A block's price is no part of an average that ends with it."""
    with reverts("unhealthy position"):
        pump_and_borrow(markets_with_a_twap(evm, spot=False))


def test_borrowing_by_spot__weakened(evm: Evm) -> None:
    """The tokens were worth 100,000 USDT; the loan is 130,000, and the trades cost some fees."""
    gain = pump_and_borrow(markets_with_a_twap(evm, spot=True))
    assert 20_000 < gain < 30_000


def test_price_held_for_long(evm: Evm) -> None:
    """Who moves the average too stops new risk for as long as he pays, and moves no liquidation."""
    market = markets_with_a_twap(evm, spot=False)
    market.lend("usdt lender", usdt=500_000 * USDT)
    market.lend(tokens=10_000 * TOKEN)
    shorter = market.short("shorter", margin=1_000 * USDT, tokens=100 * TOKEN)
    market.pool.swap_to(market.pool.price * 2)
    evm.warp(3_600)
    market.refresh_price()
    assert market.oracle.liquidation_price() == market.price_e36()
    borrower = market.give(evm.account("borrower"), tokens=100 * TOKEN)
    with reverts("prices disagree"):
        market.reverse.supply_collateral_and_borrow(
            100 * TOKEN, 500 * USDT, borrower, borrower, sender=borrower
        )
    with reverts("prices disagree"):
        market.forward.remove_margin(1, shorter, shorter, sender=shorter)
    with reverts("healthy position"):
        market.forward.liquidate(shorter, MAX, borrower, b"", sender=borrower)


# --- deleverage


def take_all_by_deleverage(market: Market) -> float:
    """Gain of who repays ten USDT of 590 and takes his collateral for it."""
    market.lend("usdt lender", usdt=100_000 * USDT)
    attacker = market.give(market.evm.account("attacker"), tokens=100 * TOKEN)
    before = wealth(market, attacker)
    market.reverse.supply_collateral_and_borrow(
        100 * TOKEN, 590 * USDT, attacker, attacker, sender=attacker
    )
    market.reverse.deleverage(99 * TOKEN, 10 * USDT, attacker, attacker, b"", sender=attacker)
    return wealth(market, attacker) - before


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        ((), "slippage"),
        (("ltv that does not rise",), "slippage"),
        (("bound on what is taken out",), "unhealthy position"),
    ],
    ids=str,
)
def test_deleverage(evm: Evm, missing: tuple[str, ...], reason: str) -> None:
    """Either of the two bounds holds alone."""
    with reverts(reason):
        take_all_by_deleverage(market_without(evm, *missing))


def test_deleverage__weakened(evm: Evm) -> None:
    market = market_without(evm, "ltv that does not rise", "bound on what is taken out")
    # the loan, less what is repaid and the token that stays
    assert take_all_by_deleverage(market) == pytest.approx(590 - 10 - 10)


# --- bad debt


def liquidate_oneself(market: Market) -> float:
    """Gain of who liquidates his own short at an LTV of 93 %, by the equity he had in it."""
    market.lend(tokens=10_000 * TOKEN)
    attacker = market.short("attacker", margin=1_000 * USDT, tokens=100 * TOKEN)
    market.give(attacker, tokens=101 * TOKEN)
    market.set_price("18.59")
    forward = market.forward
    equity = forward.position(attacker).collateral / USDT - 100 * 18.59
    before = wealth(market, attacker, price=18.59) + equity
    forward.liquidate(attacker, MAX, attacker, b"", sender=attacker)
    if forward.position(attacker).collateral > 0:
        forward.remove_margin(MAX, attacker, attacker, sender=attacker)
    return wealth(market, attacker, price=18.59) - before


def test_self_liquidation(evm: Evm) -> None:
    """The bonus is never more than the collateral covers, so it is his own."""
    assert liquidate_oneself(market_without(evm)) == pytest.approx(0, abs=0.01)


def test_self_liquidation__weakened(evm: Evm) -> None:
    """A solvent position turned into bad debt for the bonus."""
    market = market_without(evm, "bonus within the cover")
    assert 40 < liquidate_oneself(market) < 44


def hide_bad_debt(market: Market) -> float:
    """What a lender of half the pool gets out after its loss, in tokens, by hiding that loss."""
    evm, forward = market.evm, market.forward
    attacker = market.lend("attacker", tokens=1_000 * TOKEN)
    market.lend("victim", tokens=1_000 * TOKEN)
    borrower = market.short("borrower", margin=4_500 * USDT, tokens=1_000 * TOKEN)
    market.give(attacker, tokens=1_000 * TOKEN)
    market.set_price(30)
    held = market.token.balanceOf(attacker)
    with evm.same_block():
        repaid, _ = forward.liquidate(borrower, MAX, attacker, b"", sender=attacker)
        shares = forward.maxRedeem(attacker)
        forward.redeem(shares, attacker, attacker, sender=attacker)
    return float((market.token.balanceOf(attacker) - held + repaid) / TOKEN)


def test_hidden_bad_debt(evm: Evm) -> None:
    """Whoever liquidates all that there is to take realises the loss, and bears his half of it."""
    market = market_without(evm)
    kept = hide_bad_debt(market)
    assert market.forward.state().debt_assets == 0
    victim = evm.account("victim")
    assert kept == pytest.approx(market.forward.maxWithdraw(victim) / TOKEN, rel=1e-6)
    assert 700 < kept < 750


def test_hidden_bad_debt__weakened(evm: Evm) -> None:
    """The last units of collateral keep the debt alive on paper, and the other lender has it."""
    market = market_without(evm, "taking the last collateral whole")
    kept = hide_bad_debt(market)
    assert kept == pytest.approx(1_000, rel=1e-4)
    borrower = evm.account("borrower")
    assert market.forward.position(borrower).collateral < 100
    assert market.forward.debt_of(borrower) > 500 * TOKEN


# --- dust


def leave_dust(market: Market) -> tuple[int, int]:
    """(tokens owed, USDT for whoever liquidates it) of a debt too small to be worth the gas."""
    market.lend(tokens=10_000 * TOKEN)
    attacker = market.short("attacker", margin=1_000 * USDT, tokens=100 * TOKEN)
    forward, evm = market.forward, market.evm
    evm.mine()
    dust = 10**12
    with evm.same_block():
        close_short(market, attacker, forward.debt_of(attacker) - dust)
        held = forward.position(attacker).collateral
        forward.remove_margin(held - 20, attacker, attacker, sender=attacker)
    market.set_price(100)
    liquidator = market.give(evm.account("liquidator"), tokens=TOKEN)
    _, seized = forward.liquidate(attacker, MAX, liquidator, b"", sender=liquidator)
    return dust, int(seized)


def test_dust(evm: Evm) -> None:
    with reverts("below minimum debt"):
        leave_dust(market_without(evm))


def test_dust__weakened(evm: Evm) -> None:
    """Twenty millionths of a USDT, and a debt of five times that for the lenders."""
    dust, seized = leave_dust(market_without(evm, "minimum debt"))
    assert seized == 20
    assert dust * 100 * USDT // TOKEN == 5 * seized
    assert evm.last.events("BadDebt")


def test_dust__by_a_stranger(evm: Evm) -> None:
    """Nobody can repay for another down to dust, and so bar him from closing a part."""
    market = market_without(evm)
    market.lend(tokens=10_000 * TOKEN)
    victim = market.short("victim", margin=1_000 * USDT, tokens=100 * TOKEN)
    attacker = market.give(evm.account("attacker"), tokens=100 * TOKEN)
    with reverts("below minimum debt"):
        market.forward.repay(100 * TOKEN - 1, victim, sender=attacker)
    market.forward.repay(99 * TOKEN, victim, sender=attacker)
    close_short(market, victim, MAX)
    assert market.forward.debt_of(victim) == 0
