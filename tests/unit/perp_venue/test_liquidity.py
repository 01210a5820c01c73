"""`add_liquidity` and `remove_liquidity`."""

from __future__ import annotations

from perpool.evm import Account, Evm, reverts
from tests.market import ZERO_ADDRESS
from tests.unit.perp_venue.conftest import (
    changes,
    check_books,
    check_state_event,
    event,
)
from tests.venues import LIQUIDITY, MAX_AGE, Parameters, Venue, deploy_venue


def virtual(venue: Venue) -> int:
    """Shares that an empty pool gives for a unit."""
    return int(10 ** min(6, 24 - venue.usdt_decimals))


def lender_of(venue: Venue) -> Account:
    return venue.evm.account("lender")


# --- adding


def test_add_liquidity__bad_receiver(venue: Venue, stranger: Account) -> None:
    for receiver in (ZERO_ADDRESS, venue.contract):
        with reverts("bad receiver"):
            venue.contract.add_liquidity(1, receiver, sender=stranger)


def test_add_liquidity__more_than_the_caller_has(venue: Venue, stranger: Account) -> None:
    with reverts("insufficient balance"):
        venue.contract.add_liquidity(venue.usd(LIQUIDITY) + 1, stranger, sender=stranger)


def test_add_liquidity__without_a_price(venue: Venue, shorter: Account, stranger: Account) -> None:
    venue.evm.warp(MAX_AGE + 1)
    with reverts("stale price"):
        venue.contract.add_liquidity(1, stranger, sender=stranger)


def test_add_liquidity__nothing(venue: Venue, stranger: Account) -> None:
    with reverts("zero amount"):
        venue.contract.add_liquidity(0, stranger, sender=stranger)


def test_add_liquidity__more_than_the_books_hold(plain: Venue) -> None:
    whale = plain.give("whale", 2**112)
    with reverts("amount too large"):
        plain.contract.add_liquidity(2**112 - plain.usd(LIQUIDITY) + 1, whale, sender=whale)
    plain.contract.add_liquidity(2**112 - plain.usd(LIQUIDITY), whale, sender=whale)


def test_add_liquidity(venue: Venue, stranger: Account) -> None:
    before, held = venue.state(), venue.usdt.balanceOf(stranger)
    receiver = venue.evm.account("receiver")
    amount = venue.usd(123)
    shares = amount * virtual(venue)
    assert before["shares"] == venue.usd(LIQUIDITY) * virtual(venue)

    assert venue.contract.add_liquidity(amount, receiver, sender=stranger) == shares
    assert event(venue, "AddLiquidity").as_dict() == {
        "caller": stranger.address,
        "receiver": receiver.address,
        "usdt_amount": amount,
        "shares": shares,
    }
    check_state_event(venue)
    assert changes(before, venue.state()) == {"liquidity": amount, "shares": shares}
    assert venue.contract.shares_of(receiver) == shares
    assert venue.contract.liquidity_value(shares) == amount
    assert venue.usdt.balanceOf(stranger) == held - amount
    check_books(venue)


def test_add_liquidity__not_before_the_positions_loss(venue: Venue, stranger: Account) -> None:
    """Whoever enters pays for what positions have lost and not paid, and not less for a profit."""
    venue.trade("shorter", -venue.tokens(1_000), venue.usd(4_000))
    state = venue.state()
    venue.set_price(12)
    value, amount = state["liquidity"] + venue.usd(2_000), venue.usd(1_000)
    expected = amount * (state["shares"] + virtual(venue)) // (value + 1)
    assert venue.contract.add_liquidity(amount, stranger, sender=stranger) == expected
    state = venue.state()
    venue.set_price(5)
    expected = amount * (state["shares"] + virtual(venue)) // (state["liquidity"] + 1)
    assert venue.contract.add_liquidity(amount, stranger, sender=stranger) == expected


def test_add_liquidity__usdt_that_takes_a_fee(evm: Evm) -> None:
    usdt = evm.deploy("FeeToken", 6, 0)
    venue = deploy_venue(evm, usdt=usdt)
    usdt.set_fee(100)
    lender = venue.lend(venue.usd(1_000))
    assert venue.state()["liquidity"] == venue.usd(990)
    assert venue.contract.liquidity_value(venue.contract.shares_of(lender)) == venue.usd(990)
    check_books(venue)


# --- removing


def test_remove_liquidity__bad_receiver(venue: Venue) -> None:
    for receiver in (ZERO_ADDRESS, venue.contract):
        with reverts("bad receiver"):
            venue.contract.remove_liquidity(1, receiver, sender=lender_of(venue))


def test_remove_liquidity__more_than_the_caller_has(venue: Venue, stranger: Account) -> None:
    with reverts("insufficient balance"):
        venue.contract.remove_liquidity(1, stranger, sender=stranger)


def test_remove_liquidity__without_a_price(venue: Venue, shorter: Account) -> None:
    """With positions open there is no telling what shares are worth."""
    lender = lender_of(venue)
    shares = venue.contract.shares_of(lender) // 2
    venue.evm.warp(MAX_AGE + 1)
    with reverts("stale price"):
        venue.contract.remove_liquidity(shares, lender, sender=lender)
    venue.set_price(10)
    venue.request(shorter, venue.tokens(1_000))
    venue.evm.warp(MAX_AGE + 1)
    venue.contract.remove_liquidity(shares, lender, sender=lender)


def test_remove_liquidity__worth_nothing(venue: Venue) -> None:
    lender = lender_of(venue)
    for shares in (0, virtual(venue) - 1):
        with reverts("zero amount"):
            venue.contract.remove_liquidity(shares, lender, sender=lender)
    venue.contract.remove_liquidity(virtual(venue), lender, sender=lender)


def test_remove_liquidity__locked(venue: Venue, shorter: Account) -> None:
    lender = lender_of(venue)
    shares = venue.contract.shares_of(lender)
    free = venue.free()
    state = venue.state()
    asked = (free + 1) * (state["shares"] + virtual(venue)) // (state["liquidity"] + 1)
    with reverts("insufficient liquidity"):
        venue.contract.remove_liquidity(shares, lender, sender=lender)
    with reverts("insufficient liquidity"):
        venue.contract.remove_liquidity(asked + virtual(venue), lender, sender=lender)
    assert venue.contract.remove_liquidity(asked, lender, sender=lender) == free
    assert venue.free() == 0


def test_remove_liquidity__the_horizon_stays(venue: Venue, shorter: Account) -> None:
    lender = lender_of(venue)
    venue.fund(365)
    venue.wait(12)
    state, (free, horizon) = venue.state(), venue.contract.free_liquidity()
    assert horizon == venue.usd(100)  # a day of 10,000 at a percent a day
    for amount, fits in ((free - horizon + venue.usd(1), False), (free - horizon * 2, True)):
        shares = amount * (state["shares"] + virtual(venue)) // (state["liquidity"] + 1)
        if fits:
            venue.contract.remove_liquidity(shares, lender, sender=lender)
        else:
            with reverts("insufficient liquidity"):
                venue.contract.remove_liquidity(shares, lender, sender=lender)


def test_remove_liquidity(venue: Venue) -> None:
    lender, receiver = lender_of(venue), venue.evm.account("receiver")
    before, amount = venue.state(), venue.usd(40_000)
    shares = amount * virtual(venue)

    assert venue.contract.remove_liquidity(shares, receiver, sender=lender) == amount
    assert event(venue, "RemoveLiquidity").as_dict() == {
        "caller": lender.address,
        "receiver": receiver.address,
        "usdt_amount": amount,
        "shares": shares,
    }
    check_state_event(venue)
    assert changes(before, venue.state()) == {
        "liquidity": -amount,
        "shares": -shares,
        "credits": amount,
    }
    assert venue.contract.shares_of(lender) == venue.usd(60_000) * virtual(venue)
    assert venue.position(receiver)["credit"] == amount
    assert venue.usdt.balanceOf(receiver) == 0
    check_books(venue, receiver)
    assert venue.contract.withdraw(receiver, sender=receiver) == amount


def test_remove_liquidity__not_before_the_positions_profit(venue: Venue, shorter: Account) -> None:
    """Whoever leaves bears his part of it, and gets none of a loss that has not been paid."""
    lender = lender_of(venue)
    state, part = venue.state(), venue.contract.shares_of(lender) // 10
    for price, gained in ((8, venue.usd(2_000)), (11, 0)):
        venue.set_price(price)
        value = state["liquidity"] - gained
        expected = part * (value + 1) // (state["shares"] + virtual(venue))
        assert venue.contract.liquidity_value(part) == expected
    venue.set_price(8)
    expected = venue.contract.liquidity_value(part)
    assert venue.contract.remove_liquidity(part, lender, sender=lender) == expected


def test_remove_liquidity__all_of_it(venue: Venue) -> None:
    lender = lender_of(venue)
    shares = venue.contract.shares_of(lender)
    assert venue.contract.remove_liquidity(shares, lender, sender=lender) == venue.usd(LIQUIDITY)
    state = venue.state()
    assert (state["liquidity"], state["shares"]) == (0, 0)


def test_liquidity__earns_fees_and_losses(evm: Evm) -> None:
    venue = deploy_venue(evm, Parameters(fee_to_insurance=0))
    lender = venue.lend(venue.usd(10_000))
    trader = venue.trade("trader", -venue.tokens(100), venue.usd(500))
    venue.set_price(11)
    venue.request(trader, venue.tokens(100))
    earned = venue.usd(100) + venue.usd("0.5") + venue.usd("0.55")
    value = venue.contract.liquidity_value(venue.contract.shares_of(lender))
    assert value == venue.usd(10_000) + earned - 1  # the virtual shares' unit
