"""`auto_deleverage`."""

from __future__ import annotations

import pytest

from perpool.evm import Account, Evm, reverts
from tests.market import MAX
from tests.unit.perp_venue.conftest import WAD, changes, check_books, check_state_event, event
from tests.venues import DAY, MAX_AGE, Parameters, Venue, deploy_venue


@pytest.fixture
def keeper(evm: Evm) -> Account:
    return evm.account("keeper")


@pytest.fixture
def tight(evm: Evm) -> Venue:
    """Shorts of 600 and 300 tokens lock 9,000 of 9,100 USDT; a long of 100 locks half of its."""
    venue = deploy_venue(evm, Parameters(fee=0, largest_long_gain=WAD // 2))
    venue.lend(venue.usd(9_600))
    venue.trade("shorter", -venue.tokens(600), venue.usd(3_000))
    venue.trade("other", -venue.tokens(300), venue.usd(1_500))
    venue.trade("longer", venue.tokens(100), venue.usd(500))
    return venue


def deleverage(venue: Venue, name: str, size: int = MAX) -> int:
    account, keeper = venue.evm.account(name), venue.evm.account("keeper")
    return int(venue.contract.auto_deleverage(account, size, sender=keeper))


def squeeze(venue: Venue, percent: float = 730) -> None:
    """2 % a day, so that a horizon needs more than is free."""
    with venue.evm.same_block():
        venue.funding.set(venue.token, int(percent * WAD / 100))
        venue.contract.settle_funding(venue.evm.account("keeper"))


def test_auto_deleverage__without_a_price(tight: Venue) -> None:
    tight.evm.warp(MAX_AGE + 1)
    with reverts("stale price"):
        deleverage(tight, "shorter")


def test_auto_deleverage__no_position(tight: Venue) -> None:
    with reverts("no position"):
        deleverage(tight, "nobody")


def test_auto_deleverage__of_who_pays(tight: Venue) -> None:
    squeeze(tight)
    with reverts("wrong side"):
        deleverage(tight, "longer")
    squeeze(tight, -730)
    with reverts("wrong side"):
        deleverage(tight, "shorter")


def test_auto_deleverage__while_a_horizon_is_free(tight: Venue) -> None:
    free, horizon = tight.contract.free_liquidity()
    assert (free, horizon) == (tight.usd(100), 0)
    with reverts("wrong side"):
        deleverage(tight, "shorter")
    squeeze(tight, 365)  # a percent a day of 9,000
    free, horizon = tight.contract.free_liquidity()
    assert free >= horizon == tight.usd(90)
    with reverts("horizon intact"):
        deleverage(tight, "shorter")


def test_auto_deleverage__of_who_may_be_liquidated(tight: Venue, keeper: Account) -> None:
    squeeze(tight)
    tight.set_price("14.5")
    with reverts("unhealthy position"):
        deleverage(tight, "shorter")
    tight.contract.liquidate(tight.evm.account("shorter"), keeper, sender=keeper)


def test_auto_deleverage__nothing(tight: Venue) -> None:
    squeeze(tight)
    with reverts("zero amount"):
        deleverage(tight, "shorter", 0)


def test_auto_deleverage(tight: Venue, keeper: Account) -> None:
    """A token closed frees its price and asks 2 % of it less."""
    shorter = tight.evm.account("shorter")
    price = tight.set_price(8)
    squeeze(tight)
    with tight.evm.same_block():
        before, position = tight.contract.accrued_state().as_dict(), tight.position(shorter)
        free, horizon = tight.contract.free_liquidity()
        equity = tight.contract.equity(shorter)
        missing = horizon - free
        assert missing > 0
        closed = deleverage(tight, "shorter")
        found = event(tight, "AutoDeleveraged").as_dict()
        check_state_event(tight)
        free_now, horizon_now = tight.contract.free_liquidity()
        assert tight.contract.equity(shorter) in (equity, equity - 1)
        with reverts("horizon intact"):
            deleverage(tight, "shorter")
    assert closed == pytest.approx(missing * 10**12 / 8.16, rel=1e-6)
    assert 0 <= free_now - horizon_now <= 2
    realised = found["realised"]
    assert realised == pytest.approx(closed * 2 // 10**12, abs=2)
    after = tight.position(shorter)
    assert found == {
        "caller": keeper.address,
        "account": shorter.address,
        "size_delta": closed,
        "price_e36": price,
        "realised": realised,
        "funding": position["funding"],
        "left": 0,
        "size": -tight.tokens(600) + closed,
        "entry_notional": after["entry_notional"],
        "margin": position["margin"] + position["funding"] + realised,
    }
    moved = changes(before, tight.state())
    assert moved["liquidity"] == -realised - position["funding"]
    assert moved["short_size"] == -closed
    assert moved["short_entries"] == after["entry_notional"] - position["entry_notional"]
    check_books(tight, shorter, *(tight.evm.account(name) for name in ("other", "longer")))


def test_auto_deleverage__no_more_than_asked(tight: Venue) -> None:
    squeeze(tight, 3_000)
    assert deleverage(tight, "other", tight.tokens(1)) == tight.tokens(1)
    assert tight.position(tight.evm.account("other"))["size"] == -tight.tokens(299)


def test_auto_deleverage__whole(evm: Evm) -> None:
    """Where all of it is not enough. What is left of it is the holder's credit."""
    venue = deploy_venue(evm, Parameters(fee=0))
    venue.lend(venue.usd(1_100))
    shorter = venue.trade("shorter", -venue.tokens(10), venue.usd(100))
    venue.trade("other", -venue.tokens(90), venue.usd(900))
    squeeze(venue, 10_000)  # 27 % a day of 1,000, and 100 are free
    venue.set_price(9)
    with evm.same_block():
        equity = venue.contract.equity(shorter)
        free, horizon = venue.contract.free_liquidity()
        assert deleverage(venue, "shorter") == venue.tokens(10)
        assert horizon - free > venue.usd(100)
    found = event(venue, "AutoDeleveraged")
    assert found.left == equity
    assert (found.size, found.entry_notional, found.margin) == (0, 0, 0)
    assert venue.position(shorter)["credit"] == equity
    check_books(venue, shorter, evm.account("other"))


def test_auto_deleverage__of_a_long(evm: Evm) -> None:
    """A long frees what it could still have gained; one at its largest gain only its horizon."""
    venue = deploy_venue(evm, Parameters(fee=0))
    venue.lend(venue.usd(10_100))
    longer = venue.trade("longer", venue.tokens(1_000), venue.usd(3_000))
    squeeze(venue, -730)
    venue.set_price(15)
    with evm.same_block():
        free, horizon = venue.contract.free_liquidity()
        missing = horizon - free
        assert missing > venue.usd(190)
        closed = deleverage(venue, "longer")
        free, horizon = venue.contract.free_liquidity()
    assert closed == pytest.approx(missing * 10**12 / 5.3, rel=1e-3)
    assert event(venue, "AutoDeleveraged").size_delta == -closed
    assert 0 <= free - horizon <= 2
    assert venue.position(longer)["size"] == venue.tokens(1_000) - closed


def test_auto_deleverage__stands_by_what_was_settled(tight: Venue) -> None:
    """It cannot be brought about by opening or by removing liquidity, only by rate or price."""
    squeeze(tight, 365)
    late = tight.give("late", tight.usd(1_000))
    with reverts("insufficient liquidity"):
        tight.request(late, -tight.tokens(2), tight.usd(100))
    lender = tight.evm.account("lender")
    with reverts("insufficient liquidity"):
        shares = tight.contract.shares_of(lender) // 500
        tight.contract.remove_liquidity(shares, lender, sender=lender)
    with reverts("horizon intact"):
        deleverage(tight, "shorter")
    tight.evm.warp(DAY - 100)
    assert tight.contract.settle_funding(late) == 0
