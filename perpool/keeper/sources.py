"""Where funding and prices come from: recorded history, or live exchanges through ccxt.

Both are a `Source`: asked for a market at a time, it answers with one reading a venue and names the
venues it had to leave out, with the reason. It never fails as a whole and never makes anything up.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Protocol

import ccxt

from perpool.history import DataFolder, MarketHistory, canonical_symbol
from perpool.keeper.model import Funding, LeftOut, Observation, Reading, ReadingError

EXCHANGES: dict[str, tuple[str, str]] = {
    "binance": ("binanceusdm", "linear"),
    "bybit": ("bybit", "linear"),
    "okx": ("okx", "swap"),
    "gate": ("gate", "swap"),
    "hyperliquid": ("hyperliquid", "swap"),
}
"""Venue -> its class in ccxt, and what that calls perpetuals, of which alone it loads the list."""
MAX_AGE = timedelta(minutes=10)
"""Age past which a live answer is left out."""
MAX_SKEW = timedelta(seconds=30)
"""How far ahead of our clock a venue's may be."""
TIMEOUT = timedelta(seconds=10)


class Source(Protocol):
    """Anything that knows funding and prices."""

    def observe(self, market: str, now: int) -> Observation:
        """What the venues say of a market, "ADA", at a time in unix seconds."""


class SourceError(ValueError):
    """There is no such source; the message says which there are."""


# -- history --


class HistorySource:
    """Recorded markets: the funding settled last and the newest price that was known.

    `markets` holds each market's venues.
    """

    def __init__(self, markets: Mapping[str, Mapping[str, MarketHistory]]) -> None:
        self.markets = {canonical_symbol(name): dict(each) for name, each in markets.items()}

    @classmethod
    def of(cls, history: MarketHistory, venue: str = "history") -> HistorySource:
        """One market of one venue."""
        return cls({history.symbol: {venue: history}})

    @classmethod
    def from_folder(cls, path: Path, markets: Sequence[str]) -> HistorySource:
        """The market's own series as the venue "binance", from which the folder's are.

        Raises HistoryError for a market that the folder does not have.
        """
        folder = DataFolder(path)
        return cls({market: {"binance": folder.load(market)} for market in markets})

    def observe(self, market: str, now: int) -> Observation:
        readings = []
        left_out = []
        for venue, history in self.markets.get(canonical_symbol(market), {}).items():
            settled = history.settlement_at(now)
            price = history.price_at(now)
            if settled is None and price is None:
                left_out.append(LeftOut(venue, "no funding and no price at this time"))
                continue
            funding = None
            if settled is not None:
                funding = Funding(settled.rate, timedelta(hours=settled.hours))
            readings.append(Reading(venue, funding, price))
        return Observation(market, tuple(readings), tuple(left_out))


# -- live --


class ExchangeSource:
    """One live exchange, through ccxt's public endpoints; no key is needed.

    `exchange` is a ccxt exchange object. The rate is that of the running interval. It answers for
    the present whatever time it is asked for; `clock` is ours, against which answers are dated.
    """

    def __init__(
        self, venue: str, exchange: Any, *, clock: Callable[[], float] = time.time
    ) -> None:
        self.venue = venue
        self.exchange = exchange
        self.clock = clock

    @classmethod
    def connect(cls, venue: str, **options: Any) -> ExchangeSource:
        """An exchange by its name; `options` go to ccxt.

        Raises SourceError for an unknown name.
        """
        try:
            kind, perpetuals = EXCHANGES[venue]
        except KeyError:
            raise SourceError(
                f"there is no exchange {venue!r}: there are {', '.join(EXCHANGES)}"
            ) from None
        settings = {
            "timeout": int(TIMEOUT.total_seconds() * 1000),
            "enableRateLimit": True,
            "options": {"fetchMarkets": {"types": [perpetuals]}},
        }
        return cls(venue, getattr(ccxt, kind)(settings | options))

    def observe(self, market: str, now: int) -> Observation:
        try:
            return Observation(market, (self._read(market),))
        except ReadingError as error:
            reason = str(error)
        except (ccxt.BaseError, KeyError, TypeError, AttributeError) as error:
            # the last three: an answer of another shape than ccxt expects
            reason = f"{type(error).__name__}: {str(error)[:200]}"
        return Observation(market, (), (LeftOut(self.venue, reason),))

    def _read(self, market: str) -> Reading:
        symbol = self._symbol(market)
        answer = self.exchange.fetch_funding_rate(symbol)
        if answer.get("symbol") != symbol:
            raise ReadingError(f"asked for {symbol}, answered for {answer.get('symbol')}")
        self._check_time(answer.get("timestamp"))
        rate = _decimal("funding rate", answer.get("fundingRate"))
        prices = (answer.get("indexPrice"), answer.get("markPrice"))
        price = next((each for each in prices if each is not None), None)
        if not symbol.endswith(":USDT"):
            # its funding is as good as any, its price is in another currency
            price = None
        if rate is None and price is None:
            raise ReadingError("its answer has neither funding nor price")
        return Reading(
            self.venue,
            None if rate is None else Funding(rate, self._interval(symbol, answer)),
            _decimal("price", price),
        )

    def _symbol(self, market: str) -> str:
        self.exchange.load_markets()
        base = canonical_symbol(market)
        for symbol in (f"{base}/USDT:USDT", f"{base}/USDC:USDC"):
            if symbol in self.exchange.markets:
                return symbol
        raise ReadingError(f"it has no perpetual of {base}")

    def _interval(self, symbol: str, answer: Mapping[str, Any]) -> timedelta:
        """From the answer, else from the venue's list of intervals, else from its history."""
        if answer.get("interval"):
            return parse_interval(answer["interval"])
        has = self.exchange.has
        if has.get("fetchFundingInterval") or has.get("fetchFundingIntervals"):
            # binance lists only markets whose interval is not the usual one
            with contextlib.suppress(ccxt.NullResponse):
                told = self.exchange.fetch_funding_interval(symbol).get("interval")
                if told:
                    return parse_interval(told)
        past = self.exchange.fetch_funding_rate_history(symbol, limit=3)
        times = sorted(each["timestamp"] for each in past)
        if len(times) < 2:
            raise ReadingError("its funding interval is unknown")
        return timedelta(hours=round((times[-1] - times[-2]) / 3_600_000))

    def _check_time(self, timestamp: Any) -> None:
        if timestamp is None:
            return
        age = self.clock() - int(timestamp) / 1000
        if age > MAX_AGE.total_seconds():
            raise ReadingError(f"its answer is {age:.0f} s old")
        if age < -MAX_SKEW.total_seconds():
            raise ReadingError(f"its answer is from {-age:.0f} s in the future")


class CombinedSource:
    """Several sources as one; each venue is asked in turn."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = sources

    def observe(self, market: str, now: int) -> Observation:
        answers = [source.observe(market, now) for source in self.sources]
        return Observation(
            market,
            tuple(reading for answer in answers for reading in answer.readings),
            tuple(venue for answer in answers for venue in answer.left_out),
        )


def live_source(venues: Sequence[str]) -> CombinedSource:
    """Live exchanges by name. Raises SourceError for an unknown one."""
    return CombinedSource([ExchangeSource.connect(venue) for venue in venues])


def parse_interval(text: Any) -> timedelta:
    """The duration of "8h" or "30m". Raises ReadingError."""
    units = {"m": 60, "h": 3_600, "d": 86_400}
    try:
        seconds = int(str(text)[:-1]) * units[str(text)[-1]]
    except (ValueError, KeyError, IndexError):
        raise ReadingError(f"the funding interval is {text!r}") from None
    return timedelta(seconds=seconds)


def _decimal(name: str, value: Any) -> Decimal | None:
    """ccxt's number, exactly as it prints; None where there is none."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise ReadingError(f"the {name} is {value!r}")
    try:
        return Decimal(str(value))
    except InvalidOperation:
        raise ReadingError(f"the {name} is {value!r}") from None
