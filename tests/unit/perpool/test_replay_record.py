"""What becomes of a vault: attribution, distances, yields by year."""

from __future__ import annotations

import pytest

from perpool.history import DAY, HOUR
from perpool.replay.record import PARTS, TOKEN, USDT, Bounds, Held, Record, risk_of
from perpool.replay.timeline import WHOLE_PRICE, Moment

START = 1_609_459_200 - 2 * HOUR
"""Two hours before 2021."""
BOUNDS = Bounds(maintenance=0.05, liquidation_ltv=0.8)


def held(
    collateral: float = 0,
    debt: float = 0,
    short: float = 0,
    equity: float = 0,
    lent: float = 0,
    cash: float = 0,
    *,
    carrying: bool = True,
) -> Held:
    return Held(
        0,
        int(lent * TOKEN),
        int(collateral * TOKEN),
        int(debt * USDT),
        int(short * TOKEN),
        int(equity * USDT),
        int(cash * USDT),
        carrying,
    )


def moment(hours: int, price: float, *, low: float | None = None) -> Moment:
    whole = int(price * WHOLE_PRICE)
    lowest = whole if low is None else int(low * WHOLE_PRICE)
    return Moment(START + hours * HOUR, whole, lowest, whole, 0, 0, START)


def record(*, wicks: bool = False) -> Record:
    return Record("keep", BOUNDS, wicks)


def test_risk__of_both_legs() -> None:
    """300 tokens short at 1 USDT with 150 of equity; 150 owed on 1,000 tokens."""
    risk = risk_of(held(1_000, 150, 300, 150), 1.0, BOUNDS)
    assert risk.margin == pytest.approx(0.5)
    assert risk.rise == pytest.approx(450 / 315 - 1)
    assert risk.ltv == pytest.approx(0.15)
    assert risk.fall == pytest.approx(1 - 0.15 / 0.8)


def test_risk__at_another_price() -> None:
    """At 1.4 the short has lost 120 USDT, and 30 of 420 are left."""
    risk = risk_of(held(1_000, 150, 300, 150), 1.0, BOUNDS, 1.4)
    assert risk.margin == pytest.approx(30 / 420)
    assert risk_of(held(1_000, 150, 300, 150), 1.0, BOUNDS, 1.45).rise < 0


def test_risk__of_nothing() -> None:
    assert risk_of(held(1_000), 1.0, BOUNDS) == (None, None, None, None)


def test_record__parts_sum_to_the_change() -> None:
    """From 1 to 2 USDT with 300 short: 300 USDT lost, which are 150 tokens then."""
    book = record()
    start = held(1_000, 150, 300, 150)
    book.begin(moment(0, 1.0), start)
    assert book.put_in == pytest.approx(1_000)
    # equity: 150 - 300 of the price + 10 of funding; 2 of interest
    waiting = held(1_000, 152, 300, -140)
    # then 5 tokens of costs
    after = held(995, 152, 300, -140)
    book.hour(moment(1, 2.0), waiting, after)

    parts = book.total
    assert parts["funding"] == pytest.approx(5)
    assert parts["interest"] == pytest.approx(-1)
    assert parts["costs"] == pytest.approx(-5)
    assert parts["hedge"] == pytest.approx(-150)
    assert parts["lending"] == 0
    assert sum(parts.values()) == pytest.approx(after.worth(2.0) - start.worth(1.0))


def test_record__net_usdt_is_worth_fewer_tokens_when_they_rise() -> None:
    """100 USDT of cash are 100 tokens at 1 USDT, and 50 at 2."""
    book = record()
    book.begin(moment(0, 1.0), held(900, cash=100))
    same = held(900, cash=100)
    book.hour(moment(1, 2.0), same, same)
    assert book.total["hedge"] == pytest.approx(-50)


def test_record__lending() -> None:
    book = record()
    book.begin(moment(0, 1.0), held(lent=1_000, carrying=False))
    later = held(lent=1_001, carrying=False)
    book.hour(moment(1, 3.0), later, later)
    assert book.total == {part: pytest.approx(1 if part == "lending" else 0) for part in PARTS}
    assert book.hours == {"lend": 1}


def test_record__states_and_switches() -> None:
    book = record()
    book.begin(moment(0, 1.0), held(lent=1, carrying=False))
    states = [
        held(lent=1, carrying=False),
        held(1, 0.1, 0.3, 0.1),
        held(1, 0.1, 0.3, 0.1, carrying=False),
        held(lent=1, carrying=False),
    ]
    for hour, state in enumerate(states, start=1):
        book.hour(moment(hour, 1.0), state, state)
    assert book.switches == 2
    assert book.hours == {"lend": 2, "carry": 1, "unwinding": 1}


def test_record__years() -> None:
    """Up by a tenth in the first, down by a fifth of that in the second; the price doubles."""
    book = record()
    book.begin(moment(0, 1.0), held(lent=100, carrying=False))
    for hour, price, lent in ((1, 1.0, 110), (2, 2.0, 88), (3, 2.0, 88)):
        now = held(lent=lent, carrying=False)
        book.hour(moment(hour, price), now, now)
    assert [
        (year, *(pytest.approx(each) for each in yields)) for year, *yields in book.yields()
    ] == [(2020, 0.1, 0.1, 0.0), (2021, -0.2, 0.6, 1.0)]


def test_record__counts_hours_near_a_liquidation() -> None:
    position = held(1_000, 700, 0, 0)
    for wicks, expected in ((False, 0), (True, 1)):
        book = record(wicks=wicks)
        book.begin(moment(0, 1.0), position)
        book.hour(moment(1, 1.0, low=0.8), position, position)
        assert book.liquidatable["loan"] == expected
        assert book.fall.value == pytest.approx(1 - 0.7 / (0.64 if wicks else 0.8))
    assert book.highest_ltv == pytest.approx(0.875)


def test_record__worst_of_each_day() -> None:
    book = record()
    position = held(1_000, 400, 0, 0)
    book.begin(moment(0, 1.0), position)
    for hour, price in ((1, 0.9), (2, 1.0), (3, 0.8), (4, 1.0)):
        book.hour(moment(hour, price), position, position)
    assert [day.time % DAY for day in book.days] == [0, 0]
    assert [day.fall for day in book.days] == [
        pytest.approx(1 - 400 / 900 / 0.8),
        pytest.approx(1 - 400 / 800 / 0.8),
    ]


def test_record__tips_are_not_the_holders() -> None:
    book = record()
    book.begin(moment(0, 1.0), held(lent=100, carrying=False))
    now = held(lent=100, carrying=False)
    book.hour(moment(1, 1.0), now, now, holders=0.99)
    assert book.days[-1].worth == pytest.approx(0.99)
