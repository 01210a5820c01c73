"""`settle_funding`, and how funding accrues."""

from __future__ import annotations

import pytest

from perpool.evm import Account, Evm
from tests.market import ZERO_ADDRESS, wad
from tests.unit.perp_venue.conftest import (
    E36,
    SHORTED,
    accrued,
    changes,
    check_books,
    check_state_event,
    event,
)
from tests.venues import DAY, MAX_AGE, Parameters, Venue, deploy_venue

HOUR = 3_600


@pytest.fixture
def longer(venue: Venue) -> Account:
    """Long 400 tokens beside the short of 1,000."""
    return venue.trade("longer", venue.tokens(400), venue.usd(2_000))


def settle(venue: Venue, account: Account) -> int:
    return int(venue.contract.settle_funding(account, sender=venue.evm.account("keeper")))


def test_settle_funding__without_a_position(venue: Venue, stranger: Account) -> None:
    assert settle(venue, stranger) == 0
    assert venue.contract.settle_funding(ZERO_ADDRESS) == 0


@pytest.mark.parametrize("percent", [50, -50])
def test_settle_funding(venue: Venue, shorter: Account, longer: Account, percent: int) -> None:
    """Receivers get what payers owe and the liquidity pool the difference, each by his size."""
    venue.fund(percent)
    venue.wait(12 * HOUR)
    price, before = venue.price_e36(10), venue.state()
    free = venue.free()
    short_part = accrued(venue, venue.tokens(SHORTED), abs(percent), 12 * HOUR, price)
    long_part = accrued(venue, venue.tokens(400), abs(percent), 12 * HOUR, price)
    receiver, payer = (shorter, longer) if percent > 0 else (longer, shorter)
    received, paid = (short_part, long_part) if percent > 0 else (long_part, short_part)
    margins = [venue.position(each)["margin"] for each in (receiver, payer)]
    with venue.evm.same_block():
        assert venue.position(receiver)["funding"] >= received
        equity = venue.contract.equity(receiver)
        # a block has passed since the accrual above
        got = settle(venue, receiver)
        settled = event(venue, "FundingSettled").as_dict()
        check_state_event(venue)
        assert venue.contract.equity(receiver) == equity
        gave = -settle(venue, payer)
    second = accrued(venue, venue.tokens(SHORTED), abs(percent), 1, price) * 13 + 13
    assert received <= got <= received + second
    assert paid < gave <= paid + second
    assert settled == {
        "account": receiver.address,
        "funding": got,
        "size": venue.position(receiver)["size"],
        "entry_notional": venue.position(receiver)["entry_notional"],
        "margin": margins[0] + got,
    }
    after = venue.state()
    assert after["receipts_e36"] == after["dues_e36"] == 0
    moved = changes(before, after)
    assert moved["margins"] == got - gave
    assert moved["liquidity"] == gave - got
    assert venue.position(payer)["margin"] == margins[1] - gave
    assert venue.free() >= free
    check_books(venue, shorter, longer)


def test_settle_funding__exactly(plain: Venue) -> None:
    """size * price * rate * time / year, to the unit, and nothing is paid before it accrues."""
    shorter = plain.trade("shorter", -plain.tokens("123.456789"), plain.usd(500))
    plain.fund("7.3")
    start = plain.evm.timestamp
    plain.set_price("13.37")
    plain.evm.warp(5 * HOUR)
    price = plain.price_e36("13.37")
    expected = accrued(plain, plain.tokens("123.456789"), 7.3, 5 * HOUR + 0, price)
    assert plain.evm.timestamp - start == 5 * HOUR + 12
    more = accrued(plain, plain.tokens("123.456789"), 7.3, 5 * HOUR + 12, price)
    assert expected < more
    assert settle(plain, shorter) == more


def test_settle_funding__a_round_is_not_for_the_past(plain: Venue) -> None:
    """A rate holds from when the venue takes it in, until it takes another in."""
    shorter = plain.trade("shorter", -plain.tokens(1_000), plain.usd(2_000))
    plain.evm.warp(10 * HOUR)
    plain.fund(50)
    assert plain.position(shorter)["funding"] == 0
    plain.evm.warp(HOUR)
    with plain.evm.same_block():
        plain.funding.set(plain.token, wad(5_000))
        expected = accrued(plain, plain.tokens(1_000), 50, HOUR, plain.price_e36(10))
        assert plain.position(shorter)["funding"] == expected
        assert settle(plain, shorter) == expected
    assert plain.contract.funding_rate() == wad(5_000)


def test_settle_funding__ends_when_the_round_expires(plain: Venue) -> None:
    shorter = plain.trade("shorter", -plain.tokens(1_000), plain.usd(2_000))
    plain.fund(50, age=HOUR)
    assert plain.contract.funding_rate() == wad(50)
    plain.wait(5 * DAY)
    assert plain.contract.funding_rate() == 0
    expected = accrued(plain, plain.tokens(1_000), 50, DAY - HOUR, plain.price_e36(10))
    assert settle(plain, shorter) == expected


def test_settle_funding__of_a_round_that_is_old_already(plain: Venue) -> None:
    shorter = plain.trade("shorter", -plain.tokens(1_000), plain.usd(2_000))
    plain.fund(50, age=DAY)
    plain.wait(HOUR)
    assert plain.contract.funding_rate() == settle(plain, shorter) == 0


def test_settle_funding__rate_is_capped(plain: Venue) -> None:
    for sign in (1, -1):
        plain.fund(sign * 10_000_000)
        assert plain.contract.funding_rate() == sign * wad(10_000)


def test_settle_funding__without_a_price_at_the_last_mark(plain: Venue) -> None:
    shorter = plain.trade("shorter", -plain.tokens(1_000), plain.usd(2_000))
    plain.set_price(8)
    plain.fund(50)
    plain.set_price(20)  # nobody has called since
    plain.evm.warp(MAX_AGE + 1)
    expected = accrued(plain, plain.tokens(1_000), 50, DAY, plain.price_e36(8))
    assert settle(plain, shorter) == expected
    assert plain.state()["mark_e36"] == plain.price_e36(8)


def test_settle_funding__only_what_is_free(evm: Evm) -> None:
    """The index rises by what can be paid, for payers too, and free ends at zero."""
    venue = deploy_venue(evm, Parameters(exposure_cap=10**6))
    venue.lend(venue.usd(10_100))
    shorter = venue.trade("shorter", -venue.tokens(1_000), venue.usd(2_000))
    free = venue.free()
    venue.fund(3_650)
    venue.wait(12 * HOUR)
    assert 0 <= venue.free() <= 1
    got = settle(venue, shorter)
    assert free - 1 <= got <= free
    assert got < venue.usd(500)  # of 5 % in half a day
    check_books(venue, shorter)


def test_settle_funding__out_of_the_profit(plain: Venue) -> None:
    """Where margin does not cover what is owed, the entry moves by the rest."""
    longer = plain.trade("longer", plain.tokens(1_000), plain.usd(2_000))
    plain.set_price(15)
    plain.request(longer, 0, -plain.position(longer)["margin"])
    plain.fund(100)
    plain.wait(6 * HOUR)
    with plain.evm.same_block():
        before, equity = plain.position(longer), plain.contract.equity(longer)
        gain, state = plain.contract.largest_gain(longer), plain.state()
        paid = -settle(plain, longer)
        assert paid > plain.usd(3)
        assert plain.contract.equity(longer) == equity
    after = plain.position(longer)
    assert after["entry_notional"] == before["entry_notional"] + paid
    assert after["margin"] == 0
    assert plain.contract.largest_gain(longer) == gain - paid
    assert plain.state()["liquidity"] == state["liquidity"]
    check_books(plain, longer)


def test_settle_funding__more_than_there_is(evm: Evm) -> None:
    """What a position owes beyond all that it could gain is lost, and gains it nothing."""
    venue = deploy_venue(evm)
    venue.lend(venue.usd(100_000))
    shorter = venue.trade("shorter", -venue.tokens(1_000), venue.usd(1_100))
    for _ in range(5):
        venue.fund(-10_000)
        venue.wait(DAY)
    assert venue.contract.equity(shorter) < -venue.usd(1_000)
    owed = -settle(venue, shorter)
    assert owed > venue.usd(11_100)
    after = venue.position(shorter)
    assert (after["entry_notional"], after["margin"]) == (0, 0)
    assert venue.contract.equity(shorter) == -venue.usd(10_000)
    keeper = evm.account("keeper")
    assert venue.contract.liquidate(shorter, keeper, sender=keeper) == 0
    assert event(venue, "Liquidated").left == 0
    assert venue.position(shorter)["credit"] == 0
    check_books(venue, shorter, keeper)


def test_settle_funding__index_is_a_price_a_token(plain: Venue) -> None:
    plain.fund(36.5)
    before = plain.state()
    plain.wait(10 * HOUR)
    after, price = plain.state(), plain.price_e36(10)
    rose = after["positive_e36"] - before["positive_e36"]
    elapsed = after["accrued_at"] - before["accrued_at"]
    assert rose == price * wad(36.5) // 10**18 * elapsed // (365 * DAY)
    assert rose * plain.tokens(1_000) // E36 == plain.usd("4.166666")
