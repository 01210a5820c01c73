"""The demo's perp exchange: whatever a client gains the house loses, to the unit."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpool.demo.venue import PerpVenue, VenueError

USDT, TOKEN = 10**6, 10**18
HOUSE = 10**9 * USDT


def price(usdt: float) -> int:
    """USDT units a token unit, by 1e36."""
    return int(Decimal(str(usdt)).scaleb(24))


@pytest.fixture
def venue() -> PerpVenue:
    """A client with 1,000 USDT at a price of 2, and a house that covers anything."""
    venue = PerpVenue(price_e36=price(2), house=HOUSE)
    venue.deposit("client", 1_000 * USDT)
    return venue


def test_short__gains_what_the_price_falls(venue: PerpVenue) -> None:
    venue.trade("client", -500 * TOKEN)
    fee = 1_000 * USDT * 5 // 10_000
    venue.mark(price(1.5))
    assert venue.account("client").equity == 1_250 * USDT - fee
    assert venue.house == HOUSE - 250 * USDT + fee
    assert venue.notional("client") == 750 * USDT


def test_long__loses_it(venue: PerpVenue) -> None:
    venue.trade("client", 500 * TOKEN)
    venue.mark(price(1.5))
    assert venue.account("client").equity == 750 * USDT - 500_000


@pytest.mark.parametrize(("position", "rate", "received"), [(-1, 1, 1), (1, 1, -1), (-1, -1, -1)])
def test_funding__longs_pay_shorts(
    venue: PerpVenue, position: int, rate: int, received: int
) -> None:
    venue.trade("client", position * 500 * TOKEN)
    before = venue.account("client").equity
    venue.settle_funding(rate * 100_000)  # 0.01 %
    assert venue.account("client").equity - before == received * 100_000
    assert venue.account("client").funding_received == received * 100_000


def test_mark__closes_below_maintenance(venue: PerpVenue) -> None:
    venue.trade("client", -500 * TOKEN)
    # equity 2,000 - notional, less the fee: under 5 % of the notional from about 3.81 on
    assert venue.mark(price(3.8)) == []
    assert venue.mark(price(3.82)) == ["client"]
    account = venue.account("client")
    assert (account.position, account.liquidations) == (0, 1)
    assert 0 < account.equity < 100 * USDT


def test_mark__client_cannot_owe(venue: PerpVenue) -> None:
    venue.trade("client", -500 * TOKEN)
    wallet = venue.wallet
    venue.mark(price(9))
    assert venue.account("client").equity == 0
    assert venue.wallet == wallet


def test_withdraw__leaves_twice_the_maintenance(venue: PerpVenue) -> None:
    venue.trade("client", -500 * TOKEN)
    free = venue.account("client").equity - 100 * USDT
    with pytest.raises(VenueError, match="not enough free margin"):
        venue.withdraw("client", free + 1)
    venue.withdraw("client", free)
    assert venue.account("client").equity == 100 * USDT


def test_withdraw__all_without_a_position(venue: PerpVenue) -> None:
    venue.withdraw("client", 1_000 * USDT)
    assert venue.wallet == HOUSE


@given(
    moves=st.lists(
        st.tuples(
            st.integers(-(10**24), 10**24),
            st.integers(1, 10**26),
            st.integers(-(10**8), 10**8),
        ),
        max_size=12,
    )
)
def test_wallet__nothing_appears_or_goes(moves: list[tuple[int, int, int]]) -> None:
    venue = PerpVenue(price_e36=price(1), house=HOUSE)
    venue.deposit("long", 7 * 10**9)
    venue.deposit("short", 5 * 10**9)
    for tokens, price_e36, rate in moves:
        venue.trade("long", abs(tokens))
        venue.trade("short", -abs(tokens) // 3)
        venue.mark(price_e36)
        venue.settle_funding(rate)
        assert venue.wallet == HOUSE + 12 * 10**9
