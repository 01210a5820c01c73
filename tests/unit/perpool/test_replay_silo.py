"""Borrowers who move nothing between loan and hedge."""

from __future__ import annotations

import pytest

from perpool.history import DAY, HOUR
from perpool.replay.silo import Borrower, Terms, live, month_starts, restarted, survival
from perpool.replay.timeline import WHOLE_PRICE, Moment

START = 1_617_235_200
"""The first of April."""
TERMS = Terms(
    ltv=0.6, liquidation_ltv=0.8, bonus=0.05, maintenance=0.05, venue_fee=0.0, slippage=0.0
)


def moments(*prices: float, spacing: int = HOUR, low: float | None = None) -> list[Moment]:
    return [
        Moment(
            START + index * spacing,
            int(price * WHOLE_PRICE),
            int((low or price) * WHOLE_PRICE),
            int(price * WHOLE_PRICE),
            0,
            0,
            START,
        )
        for index, price in enumerate(prices)
    ]


def test_borrower__is_hedged_as_a_whole() -> None:
    """At 1 USDT he owes 0.6 and has 0.6 of margin: a token short makes up for any move."""
    borrower = Borrower(TERMS, 1.0, 1.0)
    assert borrower.worth(1.0) == pytest.approx(1.0)
    for price in (0.5, 0.8, 1.3):
        assert borrower.worth(price) * price == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("price", "leg"),
    [(0.76, None), (0.74, "loan"), (1.5, None), (1.53, "short")],
)
def test_borrower__dies_one_leg_at_a_time(price: float, leg: str | None) -> None:
    """The loan at 0.6 / 0.8 = 0.75, the short at 1.6 / 1.05 = 1.524."""
    assert Borrower(TERMS, 1.0, 1.0).failing(price, price) == leg


def test_borrower__interest_and_funding() -> None:
    borrower = Borrower(TERMS, 1.0, 2.0)
    borrower.accrue(876, 2.0, borrow_rate=0.1, funding_rate=0.5)
    assert borrower.debt == pytest.approx(1.2 * 1.01)
    assert borrower.funding == pytest.approx(2.0 * 0.05)


def test_borrower__closed_pays_the_bonus() -> None:
    """At 0.75: a token, 0.85 of equity, 0.6 owed and 0.03 of bonus on it."""
    assert Borrower(TERMS, 1.0, 1.0).closed("loan", 0.75) == pytest.approx(1 + 0.22 / 0.75)
    # at 1.6 nothing is left of the margin, and 0.6 are owed
    assert Borrower(TERMS, 1.0, 1.0).closed("short", 1.6) == pytest.approx(1 - 0.6 / 1.6)


def test_live__until_a_leg_is_liquidated() -> None:
    rates = [0.0] * 4
    life = live(moments(1, 0.9, 0.74, 1), rates, TERMS, 0)
    assert life.death is not None
    assert (life.death.time, life.death.leg) == (START + 2 * HOUR, "loan")
    assert live(moments(1, 0.9, 0.8, 1), rates, TERMS, 0).death is None


def test_live__at_wicks() -> None:
    fell = moments(1, 0.9, low=0.7)
    assert live(fell, [0.0, 0.0], TERMS, 0).death is None
    assert live(fell, [0.0, 0.0], TERMS, 0, wicks=True).death is not None


def test_restarted__with_what_is_left() -> None:
    chain = restarted(moments(1, 0.74, 0.74, 0.5, 0.5), [0.0] * 5, TERMS)
    assert [each.leg for each in chain.deaths] == ["loan", "loan"]
    assert len(chain.worths) == 5
    # the hedge gains tokens on the way down, but for the bonus
    assert chain.worths[0] == pytest.approx(1.0)
    assert 1.2 < chain.worths[1] < 1 / 0.74


def test_survival__starts_every_month() -> None:
    prices = [1.0] * 20 + [0.7] * 100
    days = moments(*prices, spacing=DAY)
    found = survival(days, [0.0] * len(days), TERMS)
    # April, May, June and July; the last two are not watched for 90 days
    assert found.starts == len(month_starts(days)) == 4
    assert found.dead(30) == (1, 3)
    assert found.dead(90) == (1, 1)
