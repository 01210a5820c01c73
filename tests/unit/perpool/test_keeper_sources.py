"""Where the keeper's readings come from: history files, and ccxt over a loopback stand-in."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from perpool.history import Candle, MarketHistory, Settlement
from perpool.keeper.model import Observation, ReadingError
from perpool.keeper.sources import (
    EXCHANGES,
    CombinedSource,
    ExchangeSource,
    HistorySource,
    SourceError,
    live_source,
    parse_interval,
)
from tests.exchanges import StandIn

HOUR = 3_600


@pytest.fixture
def exchange() -> Iterator[StandIn]:
    with StandIn() as stand_in:
        yield stand_in


def history(hours: int, rate: str = "0.001") -> MarketHistory:
    settlements = tuple(
        Settlement(hour * HOUR, Decimal(rate), hours) for hour in range(0, 9, hours)
    )
    price = Decimal("1.5")
    candles = tuple(Candle(hour * HOUR, price, price, price, price) for hour in range(4))
    return MarketHistory("ADA", settlements, candles, "here")


def read(exchange: StandIn, venue: str, options: dict[str, Any]) -> Observation:
    return ExchangeSource.connect(venue, **options).observe("ADA", 0)


def left_out(observation: Observation) -> str:
    assert not observation.readings
    return observation.left_out[0].reason


# -- history --


@pytest.mark.parametrize("hours", [1, 2, 4, 8])
def test_history__annual_rate_by_its_own_interval(hours: int) -> None:
    [reading] = HistorySource.of(history(hours)).observe("ada", HOUR).readings
    assert reading.funding is not None
    assert reading.funding.interval == timedelta(hours=hours)
    assert reading.funding.annual == Decimal("0.001") * 8_760 / hours
    assert reading.price == Decimal("1.5")


def test_history__price_too_old() -> None:
    [reading] = HistorySource.of(history(8)).observe("ADA", 7 * HOUR).readings
    assert reading.price is None
    assert reading.funding is not None


def test_history__nothing_known() -> None:
    assert "no funding" in left_out(HistorySource.of(history(1)).observe("ADA", 20 * HOUR))


def test_history__unknown_market() -> None:
    assert HistorySource.of(history(1)).observe("XRP", HOUR) == Observation("XRP", ())


# -- exchanges, through ccxt --


def test_binance__rate_price_and_interval_from_history(exchange: StandIn) -> None:
    observation = read(exchange, "binance", exchange.binance(now=time.time()))
    assert observation.left_out == ()
    [reading] = observation.readings
    assert (reading.venue, reading.price) == ("binance", Decimal("1.19364"))
    assert reading.funding is not None
    assert reading.funding.rate == Decimal("0.001598")
    assert reading.funding.interval == timedelta(hours=8)
    assert reading.funding.annual == Decimal("0.001598") * 1095


def test_binance__interval_that_the_venue_tells(exchange: StandIn) -> None:
    options = exchange.binance(now=time.time())
    exchange.routes["/fapi/v1/fundingInfo"] = [
        {"symbol": "ADAUSDT", "fundingIntervalHours": 4, "adjustedFundingRateCap": "0.02"}
    ]
    [reading] = read(exchange, "binance", options).readings
    assert reading.funding is not None
    assert reading.funding.interval == timedelta(hours=4)
    assert "/fapi/v1/fundingRate" not in exchange.asked


def test_hyperliquid__hourly_and_no_price_in_usdt(exchange: StandIn) -> None:
    [reading] = read(exchange, "hyperliquid", exchange.hyperliquid()).readings
    assert reading.funding is not None
    assert reading.funding.interval == timedelta(hours=1)
    assert reading.funding.annual == Decimal("0.0000125") * 8_760
    assert reading.price is None


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"time": 1_600_000_000_000}, "old"),
        ({"time": 4_000_000_000_000}, "future"),
        ({"indexPrice": "-1"}, "the price is -1"),
        ({"indexPrice": "0"}, "the price is 0"),
        ({"lastFundingRate": "NaN"}, "the funding rate is"),
    ],
)
def test_binance__answers_of_no_use(exchange: StandIn, fields: dict[str, Any], reason: str) -> None:
    options = exchange.binance(now=time.time(), **fields)
    assert reason in left_out(read(exchange, "binance", options))


def test_binance__no_rate(exchange: StandIn) -> None:
    options = exchange.binance(now=time.time(), lastFundingRate=None)
    [reading] = read(exchange, "binance", options).readings
    assert reading.funding is None
    assert reading.price == Decimal("1.19364")


@pytest.mark.parametrize("answer", ["<html>busy</html>", "[]", "{"])
def test_binance__answers_that_are_none(exchange: StandIn, answer: str) -> None:
    options = exchange.binance(now=time.time())
    exchange.routes["/fapi/v1/premiumIndex"] = answer
    assert left_out(read(exchange, "binance", options))


def test_binance__market_it_does_not_have(exchange: StandIn) -> None:
    options = exchange.binance("XRP", now=time.time())
    assert left_out(read(exchange, "binance", options)) == "it has no perpetual of ADA"


def test_binance__interval_unknown(exchange: StandIn) -> None:
    options = exchange.binance(now=time.time())
    exchange.routes["/fapi/v1/fundingRate"] = []
    assert "interval is unknown" in left_out(read(exchange, "binance", options))


def test_exchange__down(exchange: StandIn) -> None:
    options = exchange.binance(now=time.time())
    exchange.routes.clear()
    assert left_out(read(exchange, "binance", options))


def test_combined__every_venue_that_answers(exchange: StandIn) -> None:
    binance = ExchangeSource.connect("binance", **exchange.binance(now=time.time()))
    other = ExchangeSource.connect("hyperliquid", **exchange.hyperliquid("XRP"))
    observation = CombinedSource([binance, other]).observe("ADA", 0)
    assert [each.venue for each in observation.readings] == ["binance"]
    assert [each.venue for each in observation.left_out] == ["hyperliquid"]


def test_connect__unknown_exchange() -> None:
    with pytest.raises(SourceError, match="there are binance, bybit, okx, gate, hyperliquid"):
        ExchangeSource.connect("mtgox")


def test_live_source__knows_every_exchange() -> None:
    assert len(live_source(list(EXCHANGES)).sources) == len(EXCHANGES)


@pytest.mark.parametrize("text", ["", "h", "8", "8x", None, "eight h"])
def test_parse_interval__no_interval(text: Any) -> None:
    with pytest.raises(ReadingError):
        parse_interval(text)
