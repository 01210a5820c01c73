"""`withdraw`."""

from __future__ import annotations

from perpool.evm import Account, reverts
from tests.market import ZERO_ADDRESS
from tests.unit.perp_venue.conftest import (
    SHORTED,
    changes,
    check_books,
    check_state_event,
    event,
)
from tests.venues import MAX_AGE, Venue


def test_withdraw__bad_receiver(venue: Venue, shorter: Account) -> None:
    for receiver in (ZERO_ADDRESS, venue.contract):
        with reverts("bad receiver"):
            venue.contract.withdraw(receiver, sender=shorter)


def test_withdraw__nothing(venue: Venue, stranger: Account) -> None:
    assert venue.contract.withdraw(stranger, sender=stranger) == 0
    assert venue.evm.last.logs == []


def test_withdraw(venue: Venue, shorter: Account, stranger: Account) -> None:
    venue.request(shorter, venue.tokens(SHORTED))
    credit, before = venue.position(shorter)["credit"], venue.state()
    held = venue.usdt.balanceOf(stranger)
    assert credit > 0

    assert venue.contract.withdraw(stranger, sender=shorter) == credit
    assert event(venue, "Withdrawn").as_dict() == {
        "account": shorter.address,
        "receiver": stranger.address,
        "usdt_amount": credit,
    }
    check_state_event(venue)
    assert changes(before, venue.state()) == {"credits": -credit}
    assert venue.position(shorter)["credit"] == 0
    assert venue.usdt.balanceOf(stranger) == held + credit
    check_books(venue, shorter)
    assert venue.contract.withdraw(stranger, sender=shorter) == 0


def test_withdraw__without_a_price(venue: Venue, shorter: Account) -> None:
    venue.request(shorter, 0, -venue.usd(10))
    venue.evm.warp(MAX_AGE + 1)
    assert venue.contract.withdraw(shorter, sender=shorter) == venue.usd(10)
