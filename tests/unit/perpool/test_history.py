"""Loading recorded series: by market, with gaps, and with one clear line for each fault."""

from __future__ import annotations

import gzip
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest

from perpool.history import (
    DAY,
    HOUR,
    Candle,
    DataFolder,
    Gap,
    HistoryError,
    MarketHistory,
    Settlement,
    find_data,
    iso,
    parse_time,
    synthetic_market,
)

START = 1_617_235_200  # 2021-04-01
FUNDING = "ts,datetime,rate,interval_h,apr"
MARKED = FUNDING + ",mark_price"
PRICES = "ts,open,high,low,close,volume"
VENUES = "ts,venue,symbol,rate,interval_h,mark_price"


def write(path: Path, header: str, rows: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt") as file:
        file.write("\n".join([header, *rows]) + "\n")


def funding_row(hour: int, rate: str = "0.0001", interval: str = "8", *more: str) -> str:
    return ",".join([str(START + hour * HOUR), "", rate, interval, "", *more])


def price_row(hour: int, close: str = "1.5") -> str:
    return f"{START + hour * HOUR},1.4,1.6,1.3,{close},1000"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(
        tmp_path / "funding/ADAUSDT.csv.gz",
        FUNDING,
        [funding_row(hour, "-0.0005" if hour == 8 else "0.0001") for hour in (0, 8, 16)],
    )
    write(tmp_path / "perp_1h/ADAUSDT.csv.gz", PRICES, [price_row(hour) for hour in range(-1, 20)])
    return tmp_path


# -- a market --


def test_load__settlements_and_candles(folder: Path) -> None:
    history = DataFolder(folder).load("ADA")
    assert [each.time for each in history.settlements] == [START, START + 8 * HOUR, START + 57_600]
    assert history.settlements[1] == Settlement(START + 8 * HOUR, Decimal("-0.0005"), 8)
    assert history.candles[0] == Candle(
        START - HOUR, Decimal("1.4"), Decimal("1.6"), Decimal("1.3"), Decimal("1.5")
    )
    assert not history.synthetic
    assert "ADAUSDT.csv.gz" in history.origin


@pytest.mark.parametrize("name", ["ADA", "ada", "ADAUSDT", "ADA/USDT:USDT", " ada-usdt "])
def test_load__names_of_a_market(folder: Path, name: str) -> None:
    assert DataFolder(folder).load(name).symbol == "ADA"


def test_load__several_files_are_one_series(folder: Path) -> None:
    write(folder / "funding/SOLUSDT.csv.gz", FUNDING, [funding_row(0)])
    write(folder / "perp_1h/SOLUSDT_2024.csv.gz", PRICES, [price_row(1), price_row(2)])
    write(folder / "perp_1h/SOLUSDT_2025.csv.gz", PRICES, [price_row(2), price_row(5)])
    history = DataFolder(folder).load("SOL")
    assert [(each.time - START) // HOUR for each in history.candles] == [1, 2, 5]
    assert DataFolder(folder).markets == ["ADA", "SOL"]


@pytest.mark.parametrize(("interval", "times"), [("1", 8_760), ("2", 4_380), ("4", 2_190)])
def test_load__annual_rate_by_the_interval_of_the_row(
    folder: Path, interval: str, times: int
) -> None:
    write(folder / "funding/ADAUSDT.csv.gz", FUNDING, [funding_row(0, "0.0001", interval)])
    [settlement] = DataFolder(folder).load("ADA").settlements
    assert settlement.annual_rate == Decimal("0.0001") * times


@pytest.mark.parametrize("told", ["", "0", "328"])
def test_load__interval_unknown_is_the_distance_to_a_neighbour(folder: Path, told: str) -> None:
    rows = [funding_row(0, interval="4"), funding_row(4, interval=told), funding_row(12)]
    write(folder / "funding/ADAUSDT.csv.gz", FUNDING, rows)
    assert DataFolder(folder).load("ADA").settlements[1].hours == 4


def test_load__interval_that_nothing_tells(folder: Path) -> None:
    write(folder / "funding/ADAUSDT.csv.gz", FUNDING, [funding_row(0, interval="")])
    with pytest.raises(HistoryError, match=r"line 2: its funding interval is unknown"):
        DataFolder(folder).load("ADA")


def test_load__mark_prices_where_there_are_no_candles(folder: Path) -> None:
    rows = [funding_row(0, "0.1", "8", "4.5"), funding_row(8, "0.1", "8", "")]
    write(folder / "funding/APTUSDT_2025.csv.gz", MARKED, rows)
    history = DataFolder(folder).load("APT")
    assert history.price_at(START + HOUR) == Decimal("4.5")
    assert history.price_at(START + 8 * HOUR) is None
    assert history.wildest_day() == START


def test_load_venues__each_with_its_own_interval(folder: Path) -> None:
    rows = [
        f"{START},binance,ADA,0.0001,8,1.19",
        f"{START},hyperliquid,ADA,0.00001,1,",
        f"{START},bybit,XRP,0.0001,8,",
    ]
    write(folder / "multivenue_funding_2025.csv.gz", VENUES, rows)
    venues = DataFolder(folder).load_venues("ADA")
    assert {name: each.settlements[0].hours for name, each in venues.items()} == {
        "binance": 8,
        "hyperliquid": 1,
    }
    assert venues["binance"].price_at(START) == Decimal("1.19")
    assert DataFolder(folder).load_venues("DOGE") == {}


# -- faults --


def test_folder__is_none(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match=r"is no data folder: it has no folder `funding`$"):
        DataFolder(tmp_path / "nowhere")


def test_find_data__says_how_to_name_another(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match=r"name one with --data, or in PERPOOL_DATA$"):
        find_data(tmp_path / "nowhere")


def test_load__unknown_market(folder: Path) -> None:
    with pytest.raises(HistoryError, match=r"^there is no market FOO in .*: there are ADA$"):
        DataFolder(folder).load("foo")


def test_load__prices_missing(folder: Path) -> None:
    (folder / "perp_1h/ADAUSDT.csv.gz").unlink()
    with pytest.raises(HistoryError, match=r"ADA has no prices: .*ADAUSDT\.csv\.gz is missing"):
        DataFolder(folder).load("ADA")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (funding_row(0, "abc"), r"line 2: rate is no number: 'abc'"),
        (funding_row(0, "NaN"), r"line 2: rate is no number"),
        (funding_row(0, ""), r"line 2: rate is no number: ''"),
        (funding_row(0, "0.1", "1.5"), r"line 2: interval_h is not whole"),
    ],
)
def test_load__row_that_cannot_be_read(folder: Path, row: str, reason: str) -> None:
    write(folder / "funding/ADAUSDT.csv.gz", FUNDING, [row])
    with pytest.raises(HistoryError, match=reason):
        DataFolder(folder).load("ADA")


def test_load__price_of_zero(folder: Path) -> None:
    write(folder / "perp_1h/ADAUSDT.csv.gz", PRICES, [price_row(0, "0")])
    with pytest.raises(HistoryError, match=r"line 2: close is no price: 0"):
        DataFolder(folder).load("ADA")


def test_load__column_missing(folder: Path) -> None:
    write(folder / "funding/ADAUSDT.csv.gz", "ts,rate", ["1,2"])
    with pytest.raises(HistoryError, match="has no column interval_h"):
        DataFolder(folder).load("ADA")


def test_load__no_gzip(folder: Path) -> None:
    (folder / "funding/ADAUSDT.csv.gz").write_text("ts,rate\n")
    with pytest.raises(HistoryError, match="cannot be read"):
        DataFolder(folder).load("ADA")


# -- what was known when --


def test_price_at__close_of_the_last_whole_hour(folder: Path) -> None:
    rows = [price_row(0, "1.1"), price_row(1, "1.2")]
    write(folder / "perp_1h/ADAUSDT.csv.gz", PRICES, rows)
    history = DataFolder(folder).load("ADA")
    assert history.price_at(START + HOUR - 1) is None
    assert history.price_at(START + HOUR) == Decimal("1.1")
    assert history.price_at(START + 2 * HOUR - 1) == Decimal("1.1")
    assert history.price_at(START + 2 * HOUR) == Decimal("1.2")
    assert history.price_at(START + 4 * HOUR) == Decimal("1.2")
    assert history.price_at(START + 4 * HOUR + 1) is None
    assert history.prices_between(START, START + 2 * HOUR) == [Decimal("1.1"), Decimal("1.2")]


def test_settlement_at__none_once_the_next_is_overdue(folder: Path) -> None:
    history = DataFolder(folder).load("ADA")
    assert history.settlement_at(START - 1) is None
    assert history.settlement_at(START + 8 * HOUR - 1) == history.settlements[0]
    assert history.settlement_at(START + 8 * HOUR) == history.settlements[1]
    assert history.settlement_at(START + 24 * HOUR) is None


def test_settlement_at__interval_that_grows(folder: Path) -> None:
    rows = [funding_row(0, interval="4"), funding_row(8), funding_row(32)]
    write(folder / "funding/ADAUSDT.csv.gz", FUNDING, rows)
    history = DataFolder(folder).load("ADA")
    assert history.settlement_at(START + 8 * HOUR - 1) == history.settlements[0]
    assert history.settlement_at(START + 16 * HOUR) is None


def test_gaps__of_both_series(folder: Path) -> None:
    rows = [funding_row(0), funding_row(8), funding_row(32)]
    write(folder / "funding/ADAUSDT.csv.gz", FUNDING, rows)
    write(folder / "perp_1h/ADAUSDT.csv.gz", PRICES, [price_row(0), price_row(1), price_row(5)])
    gaps = DataFolder(folder).load("ADA").gaps()
    assert gaps == [
        Gap("funding", START + 8 * HOUR, START + 32 * HOUR),
        Gap("price", START + 2 * HOUR, START + 5 * HOUR),
    ]
    assert str(gaps[1]) == "price 2021-04-01 02:00 to 2021-04-01 05:00 (3 h)"


def test_gaps__shorter_interval_is_none(folder: Path) -> None:
    rows = [funding_row(0), funding_row(4, interval="4"), funding_row(8, interval="4")]
    write(folder / "funding/ADAUSDT.csv.gz", FUNDING, rows)
    assert DataFolder(folder).load("ADA").gaps() == []


# -- ranges --


def test_between__settlements_of_the_range_and_prices_of_the_day_before(folder: Path) -> None:
    history = DataFolder(folder).load("ADA").between(START + 8 * HOUR, START + 16 * HOUR)
    assert [each.time for each in history.settlements] == [START + 8 * HOUR]
    assert history.candles[0].time == START - HOUR
    assert history.candles[-1].time == START + 15 * HOUR


@pytest.mark.parametrize("end", [START, START - DAY])
def test_between__ends_before_it_starts(folder: Path, end: int) -> None:
    with pytest.raises(HistoryError, match="it has to start before it ends"):
        DataFolder(folder).load("ADA").between(START, end)


def test_between__no_funding(folder: Path) -> None:
    with pytest.raises(HistoryError, match=r"has no funding between .*: its funding are from 2021"):
        DataFolder(folder).load("ADA").between(START + 90 * DAY, START + 99 * DAY)


def test_between__no_prices(folder: Path) -> None:
    write(folder / "perp_1h/ADAUSDT.csv.gz", PRICES, [price_row(900)])
    with pytest.raises(HistoryError, match=r"has no prices between .*: its prices are from"):
        DataFolder(folder).load("ADA").between(START, START + DAY)


def test_wildest_day__of_the_range_only(folder: Path) -> None:
    closes = {-20: "9", 3: "1.5", 30: "0.7", 31: "1.5"}
    rows = [price_row(hour, closes.get(hour, "1.5")) for hour in range(-24, 48)]
    write(folder / "perp_1h/ADAUSDT.csv.gz", PRICES, rows)
    assert DataFolder(folder).load("ADA").wildest_day() == START + DAY


# -- a synthetic market --


@pytest.fixture(scope="module")
def market() -> MarketHistory:
    return synthetic_market(START, START + 365 * DAY, seed=3)


def test_synthetic__same_for_the_same_seed(market: MarketHistory) -> None:
    assert synthetic_market(START, START + 365 * DAY, seed=3) == market
    assert synthetic_market(START, START + 365 * DAY, seed=4) != market


def test_synthetic__says_so(market: MarketHistory) -> None:
    assert market.synthetic
    assert market.origin == "a synthetic market (seed 3)"


def test_synthetic__no_gaps_and_always_a_price(market: MarketHistory) -> None:
    assert market.gaps() == []
    assert all(market.price_at(each.time) is not None for each in market.settlements)


def test_synthetic__intervals_change(market: MarketHistory) -> None:
    assert Counter(each.hours for each in market.settlements).keys() == {4, 8}


def test_synthetic__funding_as_the_design_has_it(market: MarketHistory) -> None:
    rates = [float(each.annual_rate) for each in market.settlements]
    mean = sum(rates) / len(rates)
    negative = sum(rate < 0 for rate in rates) / len(rates)
    anchored = sum(abs(rate - 0.1095) < 1e-3 for rate in rates) / len(rates)
    assert -0.1 < mean < 0.6
    assert 0.1 < negative < 0.6
    assert anchored > 0.05
    assert max(rates) > 1.5
    assert min(rates) < -4


def test_synthetic__crash_with_a_rebound(market: MarketHistory) -> None:
    closes = [float(each.close) for each in market.candles]
    moves = [b / a - 1 for a, b in pairwise(closes)]
    assert -0.25 < min(moves) < -0.2
    crash = moves.index(min(moves))
    assert closes[crash + 4] > 1.15 * closes[crash + 1]
    assert market.wildest_day() == market.candles[crash + 1].time // DAY * DAY


def test_synthetic__range_under_a_day() -> None:
    with pytest.raises(HistoryError, match="under a day"):
        synthetic_market(START, START + DAY - 1)


# -- times --


@pytest.mark.parametrize(
    ("text", "hour"), [("2021-05-19", 0), ("2021-05-19T13:00", 13), ("2021-05-19T15:00+02:00", 13)]
)
def test_parse_time__utc(text: str, hour: int) -> None:
    assert parse_time(text) == datetime(2021, 5, 19, hour, tzinfo=UTC).timestamp()


@pytest.mark.parametrize("text", ["", "soon", "2021-13-01"])
def test_parse_time__no_date(text: str) -> None:
    with pytest.raises(HistoryError, match="is no date: write 2021-05-19"):
        parse_time(text)


def test_iso__hour_only_where_there_is_one() -> None:
    assert (iso(START), iso(START + 13 * HOUR)) == ("2021-04-01", "2021-04-01 13:00")
