"""Recorded and synthetic market history: funding settlements and hourly prices.

    folder = DataFolder(Path("data"))
    history = folder.load("ADA").between(start, end)
    history.settlement_at(time).annual_rate   # Decimal, 1 = 100 % a year, simple
    history.price_at(time)                    # newest price that was known then, or None

A data folder holds ``funding/<SYMBOL>USDT*.csv.gz`` (ts, rate, interval_h, and mark_price in some),
``perp_1h/<SYMBOL>USDT*.csv.gz`` (ts of the opening, open, high, low, close) and, for the three
venues of a keeper, ``multivenue_funding_*.csv.gz`` (ts, venue, symbol, rate, interval_h,
mark_price). Several files of a market are merged.

Nothing is filled in. Where hours are missing, `price_at` says None and `gaps` names them. A funding
interval is what its row says, else the distance to the nearest neighbour; it is never assumed.
Times are unix seconds, rates are fractions a settlement, prices USDT a token.
"""

from __future__ import annotations

import csv
import gzip
import math
import os
import random
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import cached_property
from itertools import pairwise
from operator import itemgetter
from pathlib import Path
from typing import TypeVar

from perpool.build import repository_root

HOUR = 3_600
DAY = 24 * HOUR
YEAR_HOURS = 8_760
LONGEST_INTERVAL = 24
"""Hours. No venue settles more rarely: a longer distance between two rows is a gap."""
MAX_PRICE_AGE = 2 * HOUR
"""Seconds after which a price is not called the price any more."""


class HistoryError(ValueError):
    """There is no such history; the message is one line and says what there is."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """Funding paid at a time: `rate` of the notional, for the `hours` before it."""

    time: int
    rate: Decimal
    hours: int
    mark_price: Decimal | None = None

    @property
    def annual_rate(self) -> Decimal:
        """Simple annual rate, 1 = 100 %; positive when longs pay shorts."""
        return self.rate * YEAR_HOURS / self.hours


@dataclass(frozen=True, slots=True)
class Candle:
    """One hour of trading, from `time` on."""

    time: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal

    @property
    def closed_at(self) -> int:
        return self.time + HOUR


Timed = TypeVar("Timed", Settlement, Candle)


@dataclass(frozen=True, slots=True)
class Gap:
    """Rows that are missing between two times."""

    series: str
    start: int
    end: int

    def __str__(self) -> str:
        hours = (self.end - self.start) // HOUR
        return f"{self.series} {iso(self.start)} to {iso(self.end)} ({hours} h)"


@dataclass(frozen=True)
class MarketHistory:
    """One market's settlements and candles, each in the order of time.

    A market without candles is priced by the mark prices of its settlements.
    """

    symbol: str
    settlements: tuple[Settlement, ...]
    candles: tuple[Candle, ...]
    origin: str
    """Where it comes from, for people."""
    synthetic: bool = False

    @cached_property
    def _settlement_times(self) -> list[int]:
        return [each.time for each in self.settlements]

    @cached_property
    def _prices(self) -> tuple[list[int], list[Decimal]]:
        """Times at which a price became known, and the prices."""
        if self.candles:
            return [each.closed_at for each in self.candles], [each.close for each in self.candles]
        marked = [(s.time, s.mark_price) for s in self.settlements if s.mark_price is not None]
        return [time for time, _ in marked], [price for _, price in marked]

    def between(self, start: int, end: int) -> MarketHistory:
        """The settlements from `start` to before `end`; candles from a day before `start` on.

        Raises HistoryError when that leaves nothing to replay.
        """
        if not start < end:
            raise HistoryError(
                f"the range {iso(start)} to {iso(end)} is empty: it has to start before it ends"
            )
        settlements = tuple(each for each in self.settlements if start <= each.time < end)
        candles = tuple(each for each in self.candles if start - DAY <= each.time < end)
        if not settlements:
            raise HistoryError(
                f"{self.symbol} has no funding between {iso(start)} and {iso(end)}: "
                f"{self._span('funding', [s.time for s in self.settlements])}"
            )
        cut = replace(self, settlements=settlements, candles=candles)
        if all(cut.price_at(each.time) is None for each in settlements):
            raise HistoryError(
                f"{self.symbol} has no prices between {iso(start)} and {iso(end)}: "
                f"{self._span('prices', self._prices[0])}"
            )
        return cut

    @staticmethod
    def _span(what: str, times: Sequence[int]) -> str:
        if not times:
            return f"there are no {what} at all"
        return f"its {what} are from {iso(times[0])} to {iso(times[-1])}"

    def settlement_at(self, time: int) -> Settlement | None:
        """The last settlement at or before a time; None in a gap and after the end."""
        index = bisect_right(self._settlement_times, time) - 1
        if index < 0:
            return None
        last, following = self.settlements[index], self.settlements[index + 1 : index + 2]
        hours = max(each.hours for each in (last, *following))
        return last if time < last.time + hours * HOUR else None

    def price_at(self, time: int, max_age: int = MAX_PRICE_AGE) -> Decimal | None:
        """The newest price that was known at a time; None where it was older than `max_age`."""
        times, prices = self._prices
        index = bisect_right(times, time) - 1
        if index < 0 or time - times[index] > max_age:
            return None
        return prices[index]

    def prices_between(self, start: int, end: int) -> list[Decimal]:
        """Prices that became known from `start` to `end`, both included, oldest first."""
        times, prices = self._prices
        return prices[bisect_left(times, start) : bisect_right(times, end)]

    def gaps(self) -> list[Gap]:
        """Where settlements or candles are missing."""
        found = [
            Gap("funding", a.time, b.time)
            for a, b in pairwise(self.settlements)
            if b.time - a.time > max(a.hours, b.hours) * HOUR
        ]
        found += [
            Gap("price", a.closed_at, b.time)
            for a, b in pairwise(self.candles)
            if b.time > a.closed_at
        ]
        return found

    def wildest_day(self) -> int:
        """The day (its first second, UTC) of the largest move between two hourly closes.

        The first day where there are no candles.
        """
        moves = [
            (abs(math.log(b.close / a.close)), b.time // DAY * DAY)
            for a, b in pairwise(self.candles)
            if b.time == a.closed_at and b.time >= self.settlements[0].time
        ]
        return max(moves, key=itemgetter(0))[1] if moves else self.settlements[0].time // DAY * DAY


@dataclass(frozen=True)
class DataFolder:
    """A folder of series, read on demand."""

    path: Path

    def __post_init__(self) -> None:
        if not (self.path / "funding").is_dir():
            raise HistoryError(f"{self.path} is no data folder: it has no folder `funding`")

    @property
    def markets(self) -> list[str]:
        """Symbols with a funding series, "ADA" for ADAUSDT.csv.gz."""
        return sorted({_symbol(file) for file in (self.path / "funding").glob("*.csv.gz")})

    def load(self, market: str) -> MarketHistory:
        """All of a market's history; "ADA", "ada" and "ADAUSDT" are the same.

        Raises HistoryError for an unknown market, a missing file or a row that cannot be read.
        """
        symbol = canonical_symbol(market)
        funding = self._files("funding", symbol)
        if not funding:
            raise HistoryError(
                f"there is no market {symbol} in {self.path}: there are {', '.join(self.markets)}"
            )
        prices = self._files("perp_1h", symbol)
        settlements = _merge(_read_settlements(file) for file in funding)
        candles = _merge(_read_candles(file) for file in prices)
        if not candles and all(each.mark_price is None for each in settlements):
            raise HistoryError(
                f"{symbol} has no prices: {self.path / 'perp_1h'}/{symbol}USDT.csv.gz is missing"
            )
        names = ", ".join(file.parent.name + "/" + file.name for file in (*funding, *prices))
        return MarketHistory(symbol, settlements, candles, names)

    def load_venues(self, market: str) -> dict[str, MarketHistory]:
        """Funding of a market by venue, for a median; empty where the folder has none.

        Each venue is priced by its own mark prices, where it has them.
        """
        symbol = canonical_symbol(market)
        return {
            venue: MarketHistory(symbol, _settlements(series.values()), (), f"{venue}, multivenue")
            for venue, series in sorted(self._venue_rows.get(symbol, {}).items())
        }

    def venue_markets(self) -> list[str]:
        """Symbols that `load_venues` knows."""
        return sorted(self._venue_rows)

    @cached_property
    def _venue_rows(self) -> dict[str, dict[str, dict[int, _Row]]]:
        """Rows of the multi-venue files by symbol, venue and time; read once."""
        rows: dict[str, dict[str, dict[int, _Row]]] = {}
        for file in sorted(self.path.glob("multivenue_funding_*.csv.gz")):
            for row in _rows(file, ("ts", "venue", "symbol", "rate", "interval_h")):
                venues = rows.setdefault(row.text("symbol"), {})
                venues.setdefault(row.text("venue"), {})[row.integer("ts")] = row
        return rows

    def _files(self, folder: str, symbol: str) -> list[Path]:
        files = sorted((self.path / folder).glob("*.csv.gz"))
        return [file for file in files if _symbol(file) == symbol]


def canonical_symbol(market: str) -> str:
    """The base token's symbol of a market's name."""
    name = market.strip().upper().replace("/", "").replace("-", "").split(":")[0]
    return name.removesuffix("USDT") or name


def iso(time: int) -> str:
    """2021-05-19 13:00, UTC; without the hour at midnight."""
    moment = datetime.fromtimestamp(time, UTC)
    return moment.strftime("%Y-%m-%d" if time % DAY == 0 else "%Y-%m-%d %H:%M")


def _symbol(file: Path) -> str:
    return canonical_symbol(file.name.removesuffix(".csv.gz").split("_")[0])


def _merge(series: Iterable[Sequence[Timed]]) -> tuple[Timed, ...]:
    """One series out of several, in the order of time; of equal times the first wins."""
    by_time: dict[int, Timed] = {}
    for each in series:
        for item in each:
            by_time.setdefault(item.time, item)
    return tuple(by_time[time] for time in sorted(by_time))


@dataclass(frozen=True, slots=True)
class _Row:
    """A line of a file, whose faults name file and line."""

    file: Path
    line: int
    values: dict[str, str]

    def text(self, name: str) -> str:
        return (self.values.get(name) or "").strip()

    def number(self, name: str) -> Decimal:
        text = self.text(name)
        try:
            value = Decimal(text)
        except InvalidOperation:
            value = Decimal("NaN")
        if not value.is_finite():
            raise HistoryError(f"{self.file} line {self.line}: {name} is no number: {text!r}")
        return value

    def integer(self, name: str) -> int:
        value = self.number(name)
        if value != value.to_integral_value():
            raise HistoryError(f"{self.file} line {self.line}: {name} is not whole: {value}")
        return int(value)

    def price(self, name: str) -> Decimal:
        value = self.number(name)
        if value <= 0:
            raise HistoryError(f"{self.file} line {self.line}: {name} is no price: {value}")
        return value


def _rows(file: Path, columns: Sequence[str]) -> Iterator[_Row]:
    try:
        with gzip.open(file, "rt", newline="") as handle:
            reader = csv.DictReader(handle)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise HistoryError(f"{file} has no column {', '.join(missing)}")
            for number, values in enumerate(reader, start=2):
                yield _Row(file, number, values)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise HistoryError(f"{file} cannot be read: {error}") from error


def _read_settlements(file: Path) -> tuple[Settlement, ...]:
    return _settlements(_rows(file, ("ts", "rate", "interval_h")))


def _settlements(rows: Iterable[_Row]) -> tuple[Settlement, ...]:
    ordered = sorted(rows, key=lambda row: row.integer("ts"))
    times = [row.integer("ts") for row in ordered]
    return tuple(
        Settlement(
            time=times[index],
            rate=row.number("rate"),
            hours=_interval(row, times, index),
            mark_price=row.price("mark_price") if row.text("mark_price") else None,
        )
        for index, row in enumerate(ordered)
    )


def _interval(row: _Row, times: Sequence[int], index: int) -> int:
    """Hours of a row's own column, or, where it has none, to the nearer of its neighbours."""
    if row.text("interval_h"):
        hours = row.integer("interval_h")
        if 0 < hours <= LONGEST_INTERVAL:
            return hours
    distances = [times[i + 1] - times[i] for i in (index - 1, index) if 0 <= i < len(times) - 1]
    nearest = min(distances, default=0) // HOUR
    if not 0 < nearest <= LONGEST_INTERVAL:
        raise HistoryError(f"{row.file} line {row.line}: its funding interval is unknown")
    return nearest


def _read_candles(file: Path) -> tuple[Candle, ...]:
    return tuple(
        Candle(
            row.integer("ts"),
            row.price("open"),
            row.price("high"),
            row.price("low"),
            row.price("close"),
        )
        for row in _rows(file, ("ts", "open", "high", "low", "close"))
    )


# -- a market that never was --


@dataclass(frozen=True)
class Regime:
    """A stretch of a synthetic market, with the statistics of real ones."""

    name: str
    funding: float
    """Mean annual rate."""
    swing: float
    """Its standard deviation from one settlement to the next."""
    drift: float
    """Of the price, a year."""
    volatility: float
    """Of the price, a year."""
    days: tuple[int, int]
    """Shortest and longest stay."""


ANCHOR = 0.1095
"""The exchanges' interest rate: 0.01 % each 8 hours."""
REGIMES = (
    Regime("calm", ANCHOR, 0.01, 0.2, 0.7, (3, 9)),
    Regime("bull", 0.35, 0.15, 3.5, 0.9, (6, 14)),
    Regime("mania", 1.3, 0.8, 6.0, 1.3, (2, 6)),
    Regime("bear", -0.08, 0.1, -1.0, 0.9, (5, 15)),
)
_NEXT = {
    "calm": ("bull", "bear"),
    "bull": ("mania", "calm"),
    "mania": ("bull", "bear"),
    "bear": ("calm", "bull"),
}
CRASH_AT = 0.88
"""Part of the range after which the crash comes."""
CRASH_HOURS = (-0.05, -0.08, -0.25, 0.13, 0.07, 0.05)
"""Hourly log returns of the crash; -0.25 is the worst hour by closes in six years."""
CRASH_FUNDING = -5.3


@dataclass
class _Walk:
    """The state of a synthetic market between two hours."""

    dice: random.Random
    price: float
    regime: Regime = REGIMES[1]
    hours_left: int = 10 * 24
    premium: float = field(default=0.0)

    def next_hour(self, shock: float | None) -> Candle:
        """Prices of an hour, without its time."""
        if self.hours_left == 0:
            name = self.dice.choice(_NEXT[self.regime.name])
            self.regime = next(each for each in REGIMES if each.name == name)
            self.hours_left = self.dice.randint(*self.regime.days) * 24
        self.hours_left -= 1
        sigma = self.regime.volatility / math.sqrt(YEAR_HOURS)
        # hourly returns have fat tails: one in fifty is three times as wide
        width = 3.0 if self.dice.random() < 0.02 else 0.92
        drift = (self.regime.drift - self.regime.volatility**2 / 2) / YEAR_HOURS
        move = drift + sigma * width * self.dice.gauss(0, 1) if shock is None else shock
        opened, self.price = self.price, self.price * math.exp(move)
        wick = abs(self.dice.gauss(0, sigma / 2))
        high = max(opened, self.price) * math.exp(wick)
        low = min(opened, self.price) * math.exp(-wick * (1 if shock is None else 6))
        return Candle(0, *(_price(value) for value in (opened, high, low, self.price)))

    def funding(self) -> float:
        """The annual rate of a settlement: it wanders about the regime's mean."""
        self.premium += 0.35 * (self.dice.gauss(0, self.regime.swing) - 0.4 * self.premium)
        rate = self.regime.funding + self.premium
        # in a calm market the exchanges' formula pins the rate to its anchor
        return ANCHOR if abs(rate - ANCHOR) < 0.05 else rate


def synthetic_market(start: int, end: int, *, seed: int = 1, symbol: str = "SYN") -> MarketHistory:
    """A market with the statistics of real ones: bull runs, spikes, negative stretches, one crash.

    The crash comes late in the range, a fall of a third within three hours and half of it back.
    A venue here settles every 8 hours, and every 4 while funding is beyond 100 % a year either
    way. Equal arguments give equal markets. Raises HistoryError when the range is under a day.
    """
    if end - start < DAY:
        raise HistoryError(
            f"the range {iso(start)} to {iso(end)} is under a day: it has to start before it ends"
        )
    first = start // HOUR * HOUR
    hours = (end - first) // HOUR
    crash = int(hours * CRASH_AT)
    walk = _Walk(random.Random(f"perpool {seed}"), 1.2)  # noqa: S311 - a market, not a key
    candles: list[Candle] = [replace(walk.next_hour(None), time=first - HOUR)]
    settlements: list[Settlement] = []
    interval, due = 8, first
    for hour in range(hours):
        time = first + hour * HOUR
        if time == due:
            after_crash = 0 <= hour - crash - 2 < interval
            rate = CRASH_FUNDING if after_crash else walk.funding()
            share = _rate(rate * interval / YEAR_HOURS)
            settlements.append(Settlement(time, share, interval))
            interval = 4 if abs(rate) > 1 else 8
            due = time + interval * HOUR
        shock = CRASH_HOURS[hour - crash] if 0 <= hour - crash < len(CRASH_HOURS) else None
        candles.append(replace(walk.next_hour(shock), time=time))
    name = f"a synthetic market (seed {seed})"
    return MarketHistory(symbol, tuple(settlements), tuple(candles), name, synthetic=True)


def _price(value: float) -> Decimal:
    return Decimal(f"{value:.6g}")


def _rate(value: float) -> Decimal:
    return Decimal(f"{value:.8f}")


# -- finding things --


def parse_time(text: str) -> int:
    """Unix seconds of "2021-05-19" or "2021-05-19T13:00", UTC.

    Raises HistoryError when it is no date.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise HistoryError(f"{text!r} is no date: write 2021-05-19 or 2021-05-19T13:00") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def find_data(named: Path | None) -> DataFolder | None:
    """The data folder: --data, PERPOOL_DATA, data/ here, or shared/data beside the checkout.

    None where nothing was named and there is none. Raises HistoryError where what was named is no
    data folder.
    """
    chosen = named or (Path(os.environ["PERPOOL_DATA"]) if "PERPOOL_DATA" in os.environ else None)
    if chosen is not None:
        try:
            return DataFolder(chosen)
        except HistoryError as error:
            raise HistoryError(f"{error}; name one with --data, or in PERPOOL_DATA") from None
    root = repository_root()
    for candidate in (root / "data", root.parent / "shared" / "data"):
        if (candidate / "funding").is_dir():
            return DataFolder(candidate)
    return None
