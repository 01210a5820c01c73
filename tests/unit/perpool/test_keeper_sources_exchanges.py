"""Live exchanges, through ccxt itself over a stand-in on loopback: each one's format and faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from perpool.keeper.model import LeftOut, Observation, Reading
from perpool.keeper.sources import (
    EXCHANGES,
    ExchangeVenue,
    SourceError,
    exchange_panel,
    exchanges,
)
from tests.exchanges import FAULTS, StandIn

HOUR = 3_600
NOON = 1_760_011_200
"""2025-10-09 12:00 UTC, a settlement of every interval but 8 hours."""
NOW = NOON + 1_800
ALL = tuple(EXCHANGES)
D = Decimal


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    """Every exchange has ADA and XRP, at half past twelve."""
    with StandIn() as stand_in:
        stand_in.time = NOW
        for venue in ALL:
            for market, rate in (("ADA", "0.0001"), ("XRP", "0.0002")):
                stand_in.quote(venue, market, rate=rate, hours=usual_hours(venue))
        yield stand_in


def usual_hours(venue: str) -> int:
    return 1 if venue == "hyperliquid" else 8


def connect(stand_in: StandIn, venue: str, **options: Any) -> ExchangeVenue:
    return ExchangeVenue.connect(venue, **stand_in.options(venue), **options)


def observe(stand_in: StandIn, *venues: str) -> dict[str, Observation]:
    """What a fresh panel of exchanges says of both markets."""
    panel = exchange_panel({venue: stand_in.options(venue) for venue in venues}, clock=lambda: NOW)
    return {each.market: each for each in panel.observe(["ADA", "XRP"], NOW)}


def reading(venue: ExchangeVenue, market: str = "ADA") -> Reading:
    said = venue.read([market], NOW)[market]
    assert isinstance(said, Reading), said
    return said


def left_out(venue: ExchangeVenue, market: str = "ADA") -> LeftOut:
    said = venue.read([market], NOW)[market]
    assert isinstance(said, LeftOut), said
    assert said.venue == venue.name
    return said


def annual(venue: ExchangeVenue, market: str = "ADA") -> Decimal:
    funding = reading(venue, market).funding
    assert funding is not None
    return funding.annual


# -- what they say --


@pytest.mark.parametrize(
    ("venue", "rate", "hours", "expected"),
    [
        ("binance", "0.00159800", 8, D("1.749810")),
        ("binance", "-0.00120000", 4, D("-2.628")),
        ("bybit", "0.00005986", 8, D("0.0655467")),
        ("bybit", "-0.01", 1, D("-87.6")),
        ("okx", "-0.0000798946257635", 4, D("-0.174969230422065")),
        ("okx", "0.0001000000000000", 2, D("0.438")),
        ("gate", "0.002053", 8, D("2.248035")),
        ("gate", "0.0001", 2, D("0.438")),
        ("hyperliquid", "0.0000125", 1, D("0.1095")),
        ("hyperliquid", "-0.0027956467", 1, D("-24.489865092")),
    ],
)
def test_read__annual_rate(
    stand_in: StandIn, venue: str, rate: str, hours: int, expected: Decimal
) -> None:
    stand_in.quote(venue, "ADA", rate=rate, hours=hours)
    said = reading(connect(stand_in, venue))
    assert said.venue == venue
    assert said.funding is not None
    assert (said.funding.rate, said.funding.interval) == (D(rate), timedelta(hours=hours))
    assert said.funding.annual == expected
    assert said.time == NOW


@pytest.mark.parametrize("venue", ["binance", "bybit", "okx", "gate"])
def test_read__index_and_mark_price(stand_in: StandIn, venue: str) -> None:
    stand_in.quote(venue, "ADA", index="1.193641", mark="1.2")
    said = reading(connect(stand_in, venue))
    assert (said.index_price, said.mark_price) == (D("1.193641"), D("1.2"))
    stand_in.quote(venue, "ADA", index=None, mark="1.2")
    assert reading(connect(stand_in, venue)).price == D("1.2")


def test_hyperliquid__no_price_in_usdt(stand_in: StandIn) -> None:
    assert reading(connect(stand_in, "hyperliquid")).price is None


@pytest.mark.parametrize(
    ("venue", "most"), [("binance", 2), ("bybit", 1), ("okx", 3), ("gate", 2), ("hyperliquid", 2)]
)
def test_read__few_requests_for_many_markets(stand_in: StandIn, venue: str, most: int) -> None:
    markets = [f"TOKEN{number}" for number in range(200)]
    for market in markets:
        stand_in.quote(venue, market, hours=usual_hours(venue))
    connected = connect(stand_in, venue)
    connected.read(markets, NOW)
    stand_in.asked.clear()
    said = connected.read(markets, NOW)
    assert all(isinstance(each, Reading) for each in said.values())
    assert len(stand_in.asked[venue]) == most


@pytest.mark.parametrize("name", ["ada", "ADAUSDT", "ADA/USDT"])
def test_read__other_names_of_a_market(stand_in: StandIn, name: str) -> None:
    assert annual(connect(stand_in, "okx"), name) == D("0.1095")


@pytest.mark.parametrize("venue", ALL)
def test_read__market_it_does_not_have(stand_in: StandIn, venue: str) -> None:
    connected = connect(stand_in, venue)
    assert left_out(connected, "DOGE") == LeftOut(venue, "it has no perpetual of DOGE", "symbol")
    reading(connected)


def test_connect__unknown_exchange() -> None:
    with pytest.raises(SourceError, match="there are binance, bybit, okx, gate, hyperliquid"):
        ExchangeVenue.connect("mtgox")


# -- intervals --


@pytest.mark.parametrize("venue", ["binance", "bybit", "okx", "gate"])
def test_interval__changes_at_run_time(stand_in: StandIn, venue: str) -> None:
    connected = connect(stand_in, venue)
    assert annual(connected) == D("0.1095")
    for hours in (4, 1, 2, 8):
        stand_in.quote(venue, "ADA", hours=hours, previous_hours=8)
        assert annual(connected) == D("0.0001") * 8_760 / hours


@pytest.mark.parametrize("venue", ["binance", "bybit", "okx", "gate"])
@pytest.mark.parametrize("hours", [1, 2, 4, 8])
def test_interval__from_history_where_it_is_not_told(
    stand_in: StandIn, venue: str, hours: int
) -> None:
    stand_in.quote(venue, "ADA", hours=hours)
    stand_in.spoil(venue, "ADA", hours=None)
    connected = connect(stand_in, venue)
    assert annual(connected) == D("0.0001") * 8_760 / hours
    # that is asked for once an interval
    assert annual(connected) == D("0.0001") * 8_760 / hours
    assert len(past_asked(stand_in, venue)) == 1


def past_asked(stand_in: StandIn, venue: str) -> list[str]:
    """Requests for settlements of the past."""
    words = ("fundingRate", "funding/history", "funding-rate-history", "usdt/funding_rate")
    return [each for each in stand_in.asked[venue] if any(word in each for word in words)]


def test_interval__of_a_market_that_binance_does_not_list(stand_in: StandIn) -> None:
    """From 8 hours to 4: known at once where both agree, else when the settlement is recorded."""
    stand_in.quote("binance", "ADA", hours=8, listed=False)
    stand_in.time = NOON + 3 * HOUR + 3_590
    connected = connect(stand_in, "binance")
    assert annual(connected) == D("0.1095")
    stand_in.quote("binance", "ADA", hours=4, previous_hours=8, listed=False)
    stand_in.time = NOON + 4 * HOUR + 590
    assert left_out(connected).kind == "interval"
    stand_in.time = NOON + 4 * HOUR + 600
    assert annual(connected) == D("0.219")
    # the next one is as long as the last, so nobody has to wait
    stand_in.quote("binance", "ADA", hours=4, listed=False)
    stand_in.time = NOON + 8 * HOUR
    assert annual(connected) == D("0.219")


def test_interval__settlement_that_is_not_recorded_yet(stand_in: StandIn) -> None:
    """One missing settlement looks like an interval of twice the length."""
    stand_in.time = NOON + 5
    stand_in.quote("binance", "ADA", hours=4, listed=False)
    late = [(NOON - hours * HOUR, "0.0001") for hours in (12, 8, 4)]
    stand_in.spoil("binance", "ADA", past=late)
    connected = connect(stand_in, "binance")
    assert left_out(connected).kind == "interval"
    stand_in.mend("binance")
    assert annual(connected) == D("0.219")


def test_interval__no_history(stand_in: StandIn) -> None:
    stand_in.spoil("bybit", "ADA", hours=None, past=())
    assert left_out(connect(stand_in, "bybit")).kind == "interval"


def test_interval__few_histories_a_round(stand_in: StandIn) -> None:
    markets = [f"TOKEN{number}" for number in range(25)]
    for market in markets:
        stand_in.quote("binance", market, listed=False)
    connected = connect(stand_in, "binance")
    known = []
    for _ in range(4):
        said = connected.read(markets, NOW)
        known.append(Counter(type(each).__name__ for each in said.values())["Reading"])
    assert known == [10, 20, 25, 25]
    assert len(past_asked(stand_in, "binance")) == 25


def test_interval__histories_that_fail_are_not_asked_for_one_after_the_other(
    stand_in: StandIn,
) -> None:
    stand_in.spoil("bybit", None, hours=None)
    stand_in.fault("bybit", "down", path="funding/history")
    said = connect(stand_in, "bybit").read(["ADA", "XRP"], NOW)
    assert [each.kind for each in said.values() if isinstance(each, LeftOut)] == [
        "unreachable",
        "interval",
    ]
    assert len(past_asked(stand_in, "bybit")) == 1


@pytest.mark.parametrize("venue", ["binance", "bybit", "okx", "gate"])
@pytest.mark.parametrize("hours", [-8, 0, 16, 24, 1_000_000_000])
def test_interval__that_there_is_not(stand_in: StandIn, venue: str, hours: int) -> None:
    stand_in.spoil(venue, "ADA", hours=hours, following=NOON + 4 * HOUR)
    found = observe(stand_in, venue)
    assert [each.kind for each in found["ADA"].left_out] == ["interval"]
    assert len(found["XRP"].readings) == 1


@pytest.mark.parametrize("venue", ["binance", "bybit", "okx", "gate"])
def test_interval__out_of_step_with_the_next_settlement(stand_in: StandIn, venue: str) -> None:
    stand_in.spoil(venue, "ADA", hours=1, following=NOW + HOUR + 601)
    assert left_out(connect(stand_in, venue)).kind == "interval"


@pytest.mark.parametrize("venue", ["binance", "bybit", "okx", "gate"])
@pytest.mark.parametrize(
    ("following", "kind"), [(NOW - 601, "stale"), (0, "no value"), (None, "no value")]
)
def test_read__next_settlement_of_no_use(
    stand_in: StandIn, venue: str, following: int | None, kind: str
) -> None:
    stand_in.spoil(venue, "ADA", following=following)
    assert left_out(connect(stand_in, venue)).kind == kind


# -- what goes wrong --

KINDS = {
    "slow": "slow",
    "down": "unreachable",
    "refused": "unreachable",
    "limited": "unreachable",
    "html": "malformed",
    "truncated": "malformed",
    "null": "no value",
    "nan": "malformed",
    "text": "malformed",
    "symbol": "symbol",
    "lying": "rate cap",
    "stale": "stale",
    "future": "future",
}
"""Fault -> the kind under which the venue is left out."""


def test_faults__each_has_a_test() -> None:
    # the change of an interval is no reason to leave a venue out; its tests are above
    # a bomb takes longer to make than the others; its tests are below
    assert set(FAULTS) == {*KINDS, "interval", "bomb"}


@pytest.mark.parametrize("venue", ALL)
@pytest.mark.parametrize("fault", KINDS)
def test_fault__left_out_with_its_kind_and_back_when_it_is_over(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, venue: str, fault: str
) -> None:
    monkeypatch.setattr(exchanges, "LIST_RETRY", 0)
    options = stand_in.options(venue) | {"timeout": 150}
    panel = exchange_panel({venue: options}, clock=lambda: NOW)
    for _ in range(2):  # the list of markets is not known the first time
        stand_in.fault(venue, fault)
        for observation in panel.observe(["ADA", "XRP"], NOW):
            assert observation.readings == ()
            [reason] = observation.left_out
            assert (reason.venue, reason.kind) == (venue, KINDS[fault])
            assert "127.0.0.1" not in reason.reason
            assert len(reason.reason) < 160
        stand_in.mend(venue)
        assert [len(each.readings) for each in panel.observe(["ADA", "XRP"], NOW)] == [1, 1]


@pytest.mark.parametrize("venue", ALL)
def test_fault__an_answer_that_inflates_without_bound(stand_in: StandIn, venue: str) -> None:
    connected = connect(stand_in, venue)
    stand_in.fault(venue, "bomb", bytes=exchanges.MOST_BYTES)
    said = left_out(connected)
    assert said.kind == "unreachable"
    assert "127.0.0.1" not in said.reason
    # compression alone is no fault
    stand_in.fault(venue, "bomb", bytes=1_000)
    reading(connected)


@pytest.mark.parametrize("venue", ALL)
@pytest.mark.parametrize("fault", ["null", "nan", "text", "symbol", "lying"])
def test_fault__of_one_market_leaves_the_others_alone(
    stand_in: StandIn, venue: str, fault: str
) -> None:
    stand_in.fault(venue, fault, market="ADA")
    found = observe(stand_in, venue)
    assert [each.kind for each in found["ADA"].left_out] == [KINDS[fault]]
    [said] = found["XRP"].readings
    assert said.funding is not None
    assert said.funding.rate == D("0.0002")


@pytest.mark.parametrize("venue", ALL)
def test_read__two_entries_of_one_market(stand_in: StandIn, venue: str) -> None:
    """Another market under ours' name: nobody can tell which of the two is ours."""
    connected = connect(stand_in, venue)
    reading(connected)
    stand_in.spoil(venue, "XRP", name="ADA")
    assert left_out(connected).kind == "symbol"


@pytest.mark.parametrize("venue", ["binance", "bybit", "okx", "gate"])
@pytest.mark.parametrize(
    ("index", "mark", "kind"),
    [
        ("-1", "1.2", "malformed"),
        ("0", "1.2", "malformed"),
        ("NaN", "1.2", "malformed"),
        ("1.2", "dear", "malformed"),
        ("1e99999999", "1.2", "malformed"),
        (None, None, "no value"),
        ("", "", "no value"),
    ],
)
def test_read__price_of_no_use(
    stand_in: StandIn, venue: str, index: str | None, mark: str | None, kind: str
) -> None:
    connected = connect(stand_in, venue)
    reading(connected)
    stand_in.spoil(venue, "ADA", index=index, mark=mark)
    assert left_out(connected).kind == kind
    reading(connected, "XRP")


@pytest.mark.parametrize("venue", ALL)
@pytest.mark.parametrize("rate", [True, [], {}, "", "1e99999999", "0x1", " "])
def test_read__rate_of_no_use(stand_in: StandIn, venue: str, rate: Any) -> None:
    stand_in.spoil(venue, "ADA", rate=rate)
    connected = connect(stand_in, venue)
    assert left_out(connected).kind in {"malformed", "no value"}
    reading(connected, "XRP")


def test_read__entry_that_ccxt_cannot_parse(stand_in: StandIn) -> None:
    """ccxt's own request for all funding rates fails as a whole by one such entry."""
    connected = connect(stand_in, "gate")
    reading(connected)
    stand_in.spoil("gate", "ADA", hours="?")
    assert left_out(connected).kind == "malformed"
    reading(connected, "XRP")


def test_okx__prices_older_than_the_rate(stand_in: StandIn) -> None:
    stand_in.spoil("okx", "ADA", mark_age=121)
    assert reading(connect(stand_in, "okx")).time == NOW - 121
    assert [each.kind for each in observe(stand_in, "okx")["ADA"].left_out] == ["stale"]


def test_hyperliquid__market_that_closed_since_the_list_was_loaded(stand_in: StandIn) -> None:
    connected = connect(stand_in, "hyperliquid")
    reading(connected)
    stand_in.spoil("hyperliquid", "ADA", open=False)
    assert left_out(connected).kind == "symbol"


def test_hyperliquid__name_that_is_none(stand_in: StandIn) -> None:
    connected = connect(stand_in, "hyperliquid")
    reading(connected)
    stand_in.spoil("hyperliquid", "ADA", name=[])
    assert left_out(connected).kind == "symbol"
    reading(connected, "XRP")


def test_hyperliquid__names_and_states_that_do_not_pair(stand_in: StandIn) -> None:
    connected = connect(stand_in, "hyperliquid")
    reading(connected)
    stand_in.spoil("hyperliquid", "ADA", listed=False)
    assert left_out(connected, "XRP").kind == "malformed"


def test_limited__silent_for_as_long_as_it_asks(stand_in: StandIn) -> None:
    connected = connect(stand_in, "okx")
    reading(connected)
    stand_in.fault("okx", "limited", seconds=30)
    assert "too many requests" in left_out(connected).reason
    stand_in.mend("okx")
    stand_in.asked.clear()
    assert "asked not to be asked" in left_out(connected).reason
    assert not stand_in.asked["okx"]
    connected._silent_until -= 30
    reading(connected)


def test_markets__new_ones_are_found_and_old_ones_kept(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected = connect(stand_in, "bybit")
    reading(connected)
    stand_in.quote("bybit", "SUI")
    assert left_out(connected, "SUI").kind == "symbol"
    monkeypatch.setattr(exchanges, "LIST_RETRY", 0)
    reading(connected, "SUI")
    # one that cannot be loaded again is no reason to stop, nor to ask for it each time
    monkeypatch.setattr(exchanges, "LIST_AGE", 0)
    stand_in.fault("bybit", "down", path="instruments-info")
    reading(connected, "SUI")
    monkeypatch.setattr(exchanges, "LIST_RETRY", 300)
    monkeypatch.setattr(exchanges, "LIST_AGE", 3_600)
    stand_in.asked.clear()
    reading(connected, "SUI")
    assert stand_in.asked["bybit"] == ["/v5/market/tickers"]


@pytest.mark.parametrize("venue", ALL)
def test_markets__that_have_closed(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, venue: str
) -> None:
    connected = connect(stand_in, venue)
    reading(connected)
    stand_in.spoil(venue, "ADA", open=False)
    monkeypatch.setattr(exchanges, "LIST_AGE", 0)
    assert left_out(connected).kind == "symbol"
    reading(connected, "XRP")


def test_options__are_added_to_our_own(stand_in: StandIn) -> None:
    venue = connect(stand_in, "gate", timeout=1, options={"brokerId": "x"})
    assert type(venue) is EXCHANGES["gate"]
    assert venue.exchange.timeout == 1
    assert venue.exchange.options["fetchMarkets"]["types"] == ["swap"]
    venue.close()
