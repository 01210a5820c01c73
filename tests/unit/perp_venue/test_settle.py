"""`request` and `settle` where a request is settled later."""

from __future__ import annotations

import pytest

from perpool.evm import Account, Evm
from tests.market import MAX
from tests.unit.perp_venue.conftest import (
    CONFIRMED,
    FAILED,
    PENDING,
    changes,
    check_books,
    check_state_event,
    confirmed,
    event,
    fee_of,
    insured,
)
from tests.venues import DAY, MAX_AGE, Parameters, Venue, deploy_venue


@pytest.fixture
def asked(delayed: Venue) -> Account:
    """Has asked for a short of 1,000 tokens with 2,000 USDT."""
    return delayed.trade("shorter", -delayed.tokens(1_000), delayed.usd(2_000))


def settle(venue: Venue, number: int = 1) -> int:
    """By anyone."""
    return int(venue.contract.settle(number, sender=venue.evm.account("keeper")))


def fill(venue: Venue, price: float | str = 10, number: int = 1) -> int:
    """Two blocks later at a price of then."""
    venue.evm.mine(2)
    with venue.evm.same_block():
        venue.set_price(price)
        return settle(venue, number)


def failed(venue: Venue, account: Account, reason: str, escrow: int) -> None:
    """The last transaction failed the newest request, and its escrow is credit."""
    number = venue.contract.last_request()
    assert event(venue, "Failed").as_dict() == {
        "account": account.address,
        "id": number,
        "reason": reason,
        "escrow": escrow,
    }
    assert venue.contract.status(number) == FAILED
    position = venue.position(account)
    assert (position["pending"], position["escrow"]) == (0, 0)


# --- asking


def test_request__waits(delayed: Venue) -> None:
    before, trader = delayed.state(), delayed.give("shorter", delayed.usd(2_000))
    assert delayed.request(trader, -delayed.tokens(1_000), delayed.usd(2_000)) == 1
    assert event(delayed, "Requested").as_dict() == {
        "account": trader.address,
        "id": 1,
        "size_delta": -delayed.tokens(1_000),
        "margin_delta": delayed.usd(2_000),
        "limit_price_e36": 0,
        "expires_at": delayed.evm.timestamp + DAY,
    }
    check_state_event(delayed)
    assert delayed.evm.last.events("Confirmed") == []
    assert delayed.contract.status(1) == PENDING
    assert changes(before, delayed.state()) == {"escrows": delayed.usd(2_000)}
    assert delayed.position(trader) == {
        "size": 0,
        "entry_notional": 0,
        "margin": 0,
        "funding": 0,
        "pending": 1,
        "escrow": delayed.usd(2_000),
        "credit": 0,
    }
    check_books(delayed, trader)


def test_request__waits_until_it_says(delayed: Venue) -> None:
    trader = delayed.give("shorter")
    with delayed.evm.same_block():
        until = delayed.evm.timestamp + 100
        delayed.request(trader, -1, expires_at=until)
    assert event(delayed, "Requested").expires_at == until


# --- not yet


def test_settle__unknown(delayed: Venue) -> None:
    for number in (0, 1, MAX):
        assert settle(delayed, number) == 0
        assert delayed.contract.status(number) == 0
    assert delayed.evm.last.logs == []


def test_settle__at_once_in_a_venue_without_delay(plain: Venue) -> None:
    plain.trade("trader", -plain.tokens(10), plain.usd(100))
    assert settle(plain, 1) == CONFIRMED
    assert settle(plain, 2) == plain.contract.status(0) == 0
    assert plain.evm.last.logs == []


def test_settle__too_early(delayed: Venue, asked: Account) -> None:
    made_in = delayed.evm.block_number
    delayed.evm.mine(1)
    with delayed.evm.same_block():
        delayed.set_price(10)
        assert settle(delayed) == PENDING
    delayed.evm.mine(1)
    assert delayed.evm.block_number == made_in + 2
    assert settle(delayed) == CONFIRMED
    assert delayed.position(asked)["size"] == -delayed.tokens(1_000)


def test_settle__price_observed_before(delayed: Venue, asked: Account) -> None:
    """Also one that has come in since, or is of the same moment."""
    made_at = delayed.evm.timestamp
    delayed.evm.mine(5)
    for observed_at in (made_at - 1, made_at):
        delayed.feed.set_at(11 * 10**8, observed_at)
        assert settle(delayed) == PENDING
    delayed.feed.set_at(11 * 10**8, made_at + 1)
    assert settle(delayed) == CONFIRMED
    assert event(delayed, "Confirmed").price_e36 == delayed.price_e36(11)
    assert delayed.position(asked)["size"] < 0


def test_settle__without_a_price(evm: Evm) -> None:
    """A mark without bounds is enough for less exposure, and not for more."""
    venue = deploy_venue(evm, Parameters(delay_blocks=1), usdt_usd=True)
    assert venue.usdt_feed is not None
    venue.lend(venue.usd(10_000))
    trader = venue.trade("trader", -venue.tokens(100), venue.usd(500))
    evm.mine(1)
    with evm.same_block():
        venue.feed.set_at(10 * 10**8, evm.timestamp - MAX_AGE - 1)
        assert settle(venue, 1) == PENDING
        venue.set_price(10)
        venue.usdt_feed.set_at(10**8, evm.timestamp - DAY - 1)
        assert settle(venue, 1) == PENDING
        venue.usdt_feed.set(10**8)
        assert settle(venue, 1) == CONFIRMED
    venue.request(trader, venue.tokens(100))
    evm.mine(1)
    with evm.same_block():
        venue.set_price(10)
        venue.usdt_feed.set_at(10**8, evm.timestamp - DAY - 1)
        assert settle(venue, 2) == CONFIRMED


# --- failing


def test_settle__expired(delayed: Venue, asked: Account) -> None:
    """Also without a price, and in a block in which it might have been filled."""
    before = delayed.state()
    delayed.evm.warp(DAY + 1)
    assert settle(delayed) == FAILED
    failed(delayed, asked, "deadline passed", delayed.usd(2_000))
    check_state_event(delayed)
    assert changes(before, delayed.state()) == {
        "escrows": -delayed.usd(2_000),
        "credits": delayed.usd(2_000),
    }
    assert delayed.position(asked)["credit"] == delayed.usd(2_000)
    check_books(delayed, asked)
    assert settle(delayed) == FAILED
    assert delayed.evm.last.logs == []


def test_settle__in_the_last_second(delayed: Venue, asked: Account) -> None:
    until = delayed.evm.timestamp + DAY
    delayed.evm.mine(1)
    delayed.evm.warp(until - delayed.evm.timestamp)
    with delayed.evm.same_block():
        delayed.set_price(10)
        assert settle(delayed) == CONFIRMED
    assert delayed.position(asked)["pending"] == 0


def test_settle__beyond_the_limit(delayed: Venue) -> None:
    trader = delayed.give("trader", delayed.usd(50))
    limit = delayed.price_e36(10)
    delayed.request(trader, -delayed.tokens(10), delayed.usd(50), limit_price_e36=limit)
    assert fill(delayed, "9.99") == FAILED
    failed(delayed, trader, "beyond limit price", delayed.usd(50))


def test_settle__margin_no_longer_enough(delayed: Venue) -> None:
    trader = delayed.give("trader", delayed.usd(101))
    delayed.request(trader, -delayed.tokens(100), delayed.usd(101))
    assert fill(delayed, 12) == FAILED
    failed(delayed, trader, "insufficient margin", delayed.usd(101))


def test_settle__no_room(delayed: Venue) -> None:
    trader = delayed.give("trader", delayed.usd(50_000))
    delayed.request(trader, -delayed.tokens(10_001), delayed.usd(50_000))
    assert fill(delayed) == FAILED
    failed(delayed, trader, "exposure cap", delayed.usd(50_000))
    lender = delayed.evm.account("lender")
    shares = delayed.contract.shares_of(lender)
    delayed.contract.remove_liquidity(shares * 99 // 100, lender, sender=lender)
    delayed.contract.withdraw(trader, sender=trader)
    delayed.request(trader, -delayed.tokens(101), delayed.usd(1_000))
    assert fill(delayed, number=2) == FAILED
    failed(delayed, trader, "insufficient liquidity", delayed.usd(1_000))
    assert delayed.position(trader)["credit"] == delayed.usd(1_000)


def test_settle__never_opens_what_was_to_be_closed(delayed: Venue) -> None:
    """Liquidated meanwhile, a request to sell the rest of a long does not become a short."""
    longer = delayed.trade("longer", delayed.tokens(1_000), delayed.usd(1_100))
    assert fill(delayed) == CONFIRMED
    delayed.give(longer, delayed.usd(5_000))
    delayed.request(longer, -delayed.tokens(500), delayed.usd(5_000))
    delayed.evm.mine(2)
    with delayed.evm.same_block():
        delayed.set_price("9.2")
        keeper = delayed.evm.account("keeper")
        delayed.contract.liquidate(longer, keeper, sender=keeper)
        assert settle(delayed, 2) == FAILED
    failed(delayed, longer, "no position", delayed.usd(5_000))
    check_books(delayed, longer, keeper)


def test_settle__opens_anew_after_a_liquidation(delayed: Venue) -> None:
    """What was to be added to is gone, and its own margin has to carry it."""
    longer = delayed.trade("longer", delayed.tokens(1_000), delayed.usd(1_100))
    fill(delayed)
    delayed.give(longer, delayed.usd(5_000))
    delayed.request(longer, delayed.tokens(500), delayed.usd(5_000))
    delayed.evm.mine(2)
    with delayed.evm.same_block():
        delayed.set_price("9.2")
        delayed.contract.liquidate(longer, longer, sender=longer)
        assert settle(delayed, 2) == CONFIRMED
    assert delayed.position(longer)["size"] == delayed.tokens(500)


# --- filling


def test_settle(delayed: Venue, asked: Account) -> None:
    before = delayed.state()
    assert fill(delayed, 11) == CONFIRMED
    notional, size = delayed.usd(11_000), delayed.tokens(1_000)
    fee = fee_of(delayed, notional)
    confirmed(
        delayed,
        asked,
        size_delta=-size,
        price_e36=delayed.price_e36(11),
        margin_paid=delayed.usd(2_000),
        fee=fee,
    )
    check_state_event(delayed)
    assert delayed.contract.status(1) == CONFIRMED
    assert changes(before, delayed.state()) == {
        "liquidity": fee - insured(delayed, fee),
        "insurance": insured(delayed, fee),
        "escrows": -delayed.usd(2_000),
        "margins": delayed.usd(2_000) - fee,
        "short_size": size,
        "short_entries": notional,
    }
    assert delayed.position(asked) == {
        "size": -size,
        "entry_notional": notional,
        "margin": delayed.usd(2_000) - fee,
        "funding": 0,
        "pending": 0,
        "escrow": 0,
        "credit": 0,
    }
    check_books(delayed, asked)


def test_settle__closes(delayed: Venue, asked: Account) -> None:
    fill(delayed)
    delayed.request(asked, delayed.tokens(1_000))
    assert fill(delayed, 9, number=2) == CONFIRMED
    assert event(delayed, "Confirmed").realised == delayed.usd(1_000)
    position = delayed.position(asked)
    assert position["credit"] == -event(delayed, "Confirmed").margin_paid
    assert position["size"] == position["margin"] == 0
    assert delayed.request(asked, -delayed.tokens(1)) == 3
    check_books(delayed, asked)


def test_settle__margin_needs_no_price(delayed: Venue, asked: Account) -> None:
    fill(delayed)
    margin = delayed.position(asked)["margin"]
    delayed.give(asked, delayed.usd(10))
    delayed.evm.warp(MAX_AGE + 1)
    delayed.request(asked, 0, delayed.usd(10))
    assert settle(delayed, 2) == PENDING
    delayed.evm.mine(1)
    assert settle(delayed, 2) == CONFIRMED
    assert delayed.position(asked)["margin"] == margin + delayed.usd(10)
    confirmed(delayed, asked, margin_paid=delayed.usd(10))
