"""The views."""

from __future__ import annotations

import pytest

from perpool.evm import Account, Evm, reverts
from tests.market import wad
from tests.unit.perp_venue.conftest import MARGIN, SHORTED, accrued, fee_of
from tests.venues import DAY, MAX_AGE, Parameters, Venue, deploy_venue

HOUR = 3_600


def test_views__without_a_price(plain: Venue) -> None:
    """What does not depend on the mark goes on, with the last one seen."""
    trader = plain.trade("trader", -plain.tokens(10), plain.usd(50))
    plain.fund(50)
    plain.evm.warp(MAX_AGE + 1)
    for call in (
        plain.contract.mark_price,
        lambda: plain.contract.equity(trader),
        lambda: plain.contract.pnl(trader),
        lambda: plain.contract.liquidity_value(1),
    ):
        with reverts("stale price"):
            call()
    expected = accrued(plain, plain.tokens(10), 50, DAY, plain.price_e36(10))
    assert plain.position(trader)["funding"] == expected
    assert plain.contract.room() == (0, 0)
    assert plain.contract.liquidation_price(trader) > plain.price_e36(10)
    assert plain.contract.accrued_state().mark_e36 == plain.price_e36(10)
    assert plain.contract.free_liquidity()[0] > 0


def test_views__of_nobody(venue: Venue, stranger: Account) -> None:
    assert set(venue.position(stranger).values()) == {0}
    assert venue.contract.equity(stranger) == venue.contract.pnl(stranger) == 0
    assert venue.contract.liquidation_price(stranger) == 0
    assert venue.contract.largest_gain(stranger) == 0
    assert venue.contract.shares_of(stranger) == 0


def test_equity__margin_funding_and_profit(venue: Venue, shorter: Account) -> None:
    venue.fund(50)
    venue.evm.warp(12 * HOUR)
    with venue.evm.same_block():
        price = venue.set_price(9)
        funding = accrued(venue, venue.tokens(SHORTED), 50, 12 * HOUR, price)
        margin = venue.usd(MARGIN) - fee_of(venue, venue.usd(10_000))
        assert venue.position(shorter)["funding"] == funding
        assert venue.contract.pnl(shorter) == venue.usd(1_000)
        assert venue.contract.equity(shorter) == margin + funding + venue.usd(1_000)


def test_accrued_state__is_what_the_next_call_stores(venue: Venue, shorter: Account) -> None:
    venue.fund(50)
    venue.evm.warp(12 * HOUR)
    with venue.evm.same_block():
        expected = venue.contract.accrued_state()
        assert expected != venue.contract.state()
        assert expected.receipts_e36 > 0 == expected.dues_e36
        venue.contract.settle_funding(venue.evm.account("nobody"))
        assert venue.contract.state() == expected


def test_state__is_solvent_by_what_it_locks(venue: Venue, shorter: Account) -> None:
    venue.trade("longer", venue.tokens(100), venue.usd(500))
    state = venue.state()
    locked = venue.usd(10_000) + venue.usd(1_000)
    assert state["short_entries"] + state["long_gains"] == locked
    assert venue.free() == state["liquidity"] - locked


@pytest.mark.parametrize("side", [-1, 1])
def test_liquidation_price(venue: Venue, side: int) -> None:
    """Equity at that mark is the maintenance margin, accrued funding included."""
    trader = venue.trade("trader", side * venue.tokens(SHORTED), venue.usd(MARGIN))
    venue.fund(100)
    venue.evm.warp(20 * HOUR)
    with venue.evm.same_block():
        venue.set_price(10)
        equity, price = venue.contract.equity(trader), venue.contract.liquidation_price(trader)
        moved = (price - venue.price_e36(10)) * side * venue.tokens(SHORTED) // 10**36
        needed = price * venue.tokens(SHORTED) // 10**36 * venue.parameters.maintenance_margin
        assert abs(equity + moved - needed // 10**18) <= 2
    assert (price > venue.price_e36(10)) == (side < 0)


def test_liquidation_price__none_below(venue: Venue) -> None:
    """A long whose margin is its whole entry cannot fall far enough."""
    longer = venue.trade("longer", venue.tokens(10), venue.usd(101))
    assert venue.contract.liquidation_price(longer) == 0


def test_liquidation_price__at_any(evm: Evm) -> None:
    """A short that owes all that it sold for, and its margin, stands at no price."""
    venue = deploy_venue(evm)
    venue.lend(venue.usd(100_000))
    shorter = venue.trade("shorter", -venue.tokens(1_000), venue.usd(1_100))
    for _ in range(5):
        venue.fund(-10_000)
        venue.wait(DAY)
    assert venue.contract.liquidation_price(shorter) == 1


# --- room


def test_room__exposure(venue: Venue) -> None:
    """By the cap alone: matched interest needs none of it."""
    assert venue.contract.room() == (venue.tokens(5_000), venue.tokens(5_000))
    venue.trade("shorter", -venue.tokens(1_000), venue.usd(2_000))
    assert venue.contract.room() == (venue.tokens(4_000), venue.tokens(6_000))
    venue.trade("longer", venue.tokens(3_000), venue.usd(6_000))
    assert venue.contract.room()[1] == venue.tokens(3_000)
    # above the cap by the price, it can still turn round as far
    venue.set_price(40)
    shorter, longer = venue.contract.room()
    assert longer == 0
    assert 0 < shorter <= venue.tokens(4_000)


@pytest.mark.parametrize("percent", [0, 400, -400])
@pytest.mark.parametrize("side", [0, 1])
def test_room__is_what_can_be_opened(venue: Venue, percent: int, side: int) -> None:
    """Where liquidity is what there is least of, with the horizon on the side that receives."""
    lender = venue.evm.account("lender")
    shares = venue.contract.shares_of(lender) * 9 // 10
    venue.contract.remove_liquidity(shares, lender, sender=lender)
    venue.trade("shorter", -venue.tokens(100), venue.usd(200))
    venue.trade("longer", venue.tokens(50), venue.usd(200))
    venue.fund(percent)
    price = venue.set_price("9.87654321")
    trader = venue.give("trader", venue.usd(100_000))
    with venue.evm.same_block():
        room = venue.contract.room()[side]
        sign = (-1, 1)[side]
        # a little more than the unit of USDT that rounding takes
        beyond = room + venue.tokens("0.01") + venue.usd("0.00002") * 10**36 // price
        with reverts("insufficient liquidity"):
            venue.request(trader, sign * beyond, venue.usd(20_000))
        venue.request(trader, sign * room, venue.usd(20_000))
    assert venue.tokens(400) < room < venue.tokens(1_000)


def test_room__where_nothing_is_free(evm: Evm) -> None:
    venue = deploy_venue(evm, Parameters(fee=0))
    assert venue.contract.room() == (0, 0)
    venue.lend(venue.usd(1_000))
    venue.trade("shorter", -venue.tokens(100), venue.usd(500))
    assert venue.contract.room() == (0, 0)


def test_room__without_bounds(evm: Evm) -> None:
    venue = deploy_venue(evm, usdt_usd=True)
    assert venue.usdt_feed is not None
    venue.lend(venue.usd(1_000))
    assert min(venue.contract.room()) > 0
    with evm.same_block():
        venue.usdt_feed.set_at(10**8, evm.timestamp - DAY - 1)
        assert venue.contract.room() == (0, 0)
    assert wad(10) == venue.contract.initial_margin()
