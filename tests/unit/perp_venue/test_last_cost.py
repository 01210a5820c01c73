"""`last_cost`: what the last confirmed request paid for its change of size."""

from __future__ import annotations

import pytest

from perpool.evm import Account
from tests.unit.perp_venue.conftest import CONFIRMED, FAILED, PENDING, fee_of
from tests.venues import Venue

SIDES = pytest.mark.parametrize("side", [-1, 1], ids=["short", "long"])


def cost(venue: Venue, account: Account) -> int:
    return int(venue.contract.last_cost(account))


def paid(venue: Venue, usdt: int, direction: int) -> int:
    """For buying, or with -1 for selling, at so many whole USDT: the fee is paid either way."""
    notional = venue.usd(usdt)
    return direction * notional + fee_of(venue, notional)


@SIDES
def test_last_cost__opening_and_closing(venue: Venue, side: int) -> None:
    stranger = venue.give("stranger")
    trader = venue.trade("trader", side * venue.tokens(100), venue.usd(900))
    assert cost(venue, trader) == paid(venue, 1_000, side)
    venue.set_price(11)
    venue.request(trader, -side * venue.tokens(40))
    assert cost(venue, trader) == paid(venue, 440, -side)
    # of this change alone, whatever was open before and comes out with it
    venue.request(trader, side * venue.tokens(10), -venue.usd(1))
    assert cost(venue, trader) == paid(venue, 110, side)
    venue.request(trader, -side * venue.tokens(70))
    assert venue.position(trader)["size"] == 0
    assert cost(venue, trader) == paid(venue, 770, -side)
    assert cost(venue, stranger) == 0


@SIDES
@pytest.mark.parametrize("margin", [50, -50], ids=["added", "taken"])
def test_last_cost__of_margin_alone_is_nothing(venue: Venue, side: int, margin: int) -> None:
    """Also where a trade came before it."""
    trader = venue.trade("trader", side * venue.tokens(100), venue.usd(900))
    assert cost(venue, trader) != 0
    venue.give(trader, venue.usd(50))
    venue.request(trader, 0, venue.usd(margin))
    assert cost(venue, trader) == 0


def test_last_cost__is_what_a_short_falls_by(venue: Venue, shorter: Account) -> None:
    """Margin, funding and entry, and what was credited, whatever the price and the profit."""

    def money() -> int:
        position = venue.position(shorter)
        return sum(position[part] for part in ("margin", "funding", "entry_notional", "credit"))

    venue.give(shorter, venue.usd(10))
    venue.fund(50)
    for price, tokens, usdt in ((8, 300, -2_900), ("8.4", -50, 10), ("7.5", 100, 0), (9, 650, 0)):
        venue.wait(3_600)
        with venue.evm.same_block():
            venue.set_price(price)
            before = money()
            venue.request(shorter, venue.tokens(tokens), venue.usd(usdt))
            assert money() == before + venue.usd(max(usdt, 0)) - cost(venue, shorter)
    assert venue.position(shorter)["size"] == 0


@SIDES
def test_last_cost__once_it_is_confirmed(delayed: Venue, side: int) -> None:
    """At the price that it is filled at; what waits or fails leaves it as it was."""
    trader = delayed.trade("trader", side * delayed.tokens(100), delayed.usd(900))
    assert cost(delayed, trader) == 0
    assert _later(delayed, 11) == CONFIRMED
    filled = paid(delayed, 1_100, side)
    assert cost(delayed, trader) == filled

    limit = delayed.price_e36(11)
    delayed.request(trader, -side * delayed.tokens(40), limit_price_e36=limit)
    assert delayed.contract.status(2) == PENDING
    assert cost(delayed, trader) == filled
    # a short is bought back dearer, a long sold cheaper
    assert _later(delayed, 11 - side) == FAILED
    assert cost(delayed, trader) == filled


def test_last_cost__not_what_others_do_to_it(plain: Venue) -> None:
    trader = plain.trade("trader", -plain.tokens(100), plain.usd(200))
    filled = cost(plain, trader)
    plain.fund(50)
    plain.wait(3_600)
    plain.contract.settle_funding(trader)
    assert cost(plain, trader) == filled
    plain.set_price("11.8")
    keeper = plain.evm.account("keeper")
    plain.contract.liquidate(trader, keeper, sender=keeper)
    assert plain.position(trader)["size"] == 0
    assert cost(plain, trader) == filled == paid(plain, 1_000, -1)


def _later(venue: Venue, price: float) -> int:
    """The newest request's status two blocks later, at a price of then."""
    venue.evm.mine(2)
    with venue.evm.same_block():
        venue.set_price(price)
        number = venue.contract.last_request()
        return int(venue.contract.settle(number, sender=venue.evm.account("keeper")))
