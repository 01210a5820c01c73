"""Live exchanges, through ccxt's public endpoints; no key is needed.

    venue = ExchangeVenue.connect("okx")
    venue.read(["ADA", "BTC"], now)["ADA"].funding.annual

ccxt does the HTTP, the limits on requests, the lists of markets and the parsing of an entry. What
each exchange tells beyond that, where, is in a class of its own below. All markets of a round are
read by one to three requests, whatever their number.

A rate is worth nothing without its interval, and intervals change at run time. So they are taken
from the same answers as the rates, never from a list that was loaded once; where an exchange does
not tell, from its settlements: the running interval is the next settlement less the last one.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from typing import Any, ClassVar

import ccxt

from perpool.history import canonical_symbol
from perpool.keeper.bounded import bound
from perpool.keeper.model import Funding, LeftOut, Reading, ReadingError
from perpool.keeper.sources.panel import Panel

REQUEST_TIMEOUT = timedelta(seconds=5)
"""Of one request; a panel's is of all that a round takes."""
MOST_BYTES = 16 << 20
"""Of one answer, inflated; the longest lists of markets have a few million."""
LONGEST_ANSWER = 30.0
"""Seconds after which one that comes in drips is broken off."""
LIST_AGE = 3_600
"""Seconds after which the list of markets is loaded again: markets open and close."""
LIST_RETRY = 300
"""Seconds after which it is loaded again where that failed, or where a market is not in it."""
SETTLING = 600
"""Seconds that an exchange may take to show a settlement."""
HISTORY_LOOKUPS = 10
"""Markets a round whose past is asked for; the others have to wait for the next."""
LONGEST_PAUSE = 600
"""Seconds that an exchange may ask us to be silent."""
DIGITS = 30
"""Before or after the point, that a number may have; no arithmetic overflows by it."""

Entry = dict[str, Any]
"""All that an exchange says of one market, in its own words."""


class SourceError(ValueError):
    """There is no such source; the message says which there are."""


class AnswerError(ReadingError):
    """An answer that is of no use; `kind` is the reason's class."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


class ExchangeVenue:
    """One exchange. To be used by one thread at a time, as a panel does."""

    name: ClassVar[str]
    kind: ClassVar[str]
    """Its class in ccxt."""
    perpetuals: ClassVar[str]
    """What that calls perpetuals, of which alone it loads the list."""
    key: ClassVar[str]
    """The field of an entry that names the market."""
    tells_next: ClassVar[bool] = True
    """Whether its entries say when the running interval ends."""

    def __init__(self, exchange: Any) -> None:
        """`exchange` is a ccxt exchange object."""
        self.exchange = exchange
        self._listed_at = 0.0
        self._silent_until = 0.0
        self._intervals: dict[str, tuple[int, timedelta]] = {}
        """Symbol -> (end of the interval, interval), learnt from settlements."""
        self._lookups = 0
        """How many more of them may be asked for in this round."""

    @staticmethod
    def connect(name: str, **options: Any) -> ExchangeVenue:
        """An exchange by its name; `options` are merged into ccxt's.

        Raises SourceError for an unknown name.
        """
        try:
            venue = EXCHANGES[name]
        except KeyError:
            raise SourceError(
                f"there is no exchange {name!r}: there are {', '.join(EXCHANGES)}"
            ) from None
        settings = {
            "timeout": int(REQUEST_TIMEOUT.total_seconds() * 1000),
            "enableRateLimit": True,
            "number": str,  # numbers as they were written
            "has": {"fetchCurrencies": False},  # it would be asked with the markets
            "options": {
                "fetchMarkets": {"types": [venue.perpetuals]},
                "swap": {"fetchMarkets": {"settlementCurrencies": ["usdt"]}},  # gate's
            },
        }
        exchange = getattr(ccxt, venue.kind)(ccxt.Exchange.deep_extend(settings, options))
        bound(exchange.session, most=MOST_BYTES, seconds=LONGEST_ANSWER)
        return venue(exchange)

    def read(self, markets: Sequence[str], now: int) -> dict[str, Reading | LeftOut]:
        """What it says at present, whatever `now` is."""
        try:
            self._keep_silence()
            self._load_markets(markets)
            entries = _by_market(list(self._entries()), self.key)
        except Exception as error:  # of any shape: an answer may hold anything
            left_out = self._left_out(error)
            return dict.fromkeys(markets, left_out)
        self._lookups = HISTORY_LOOKUPS
        return {market: self._read(market, entries) for market in markets}

    def close(self) -> None:
        """Let go of its connections."""
        self.exchange.close()

    # -- what an exchange says, each in its own way --

    def _entries(self) -> Iterable[Entry]:
        """Everything it says of all markets at present."""
        raise NotImplementedError

    def _interval(self, entry: Entry) -> timedelta | None:
        """The running interval, where the exchange tells it."""
        raise NotImplementedError

    def _time(self, entry: Entry) -> Any:
        """When it said so, in milliseconds by its own clock."""
        return entry.get("time")

    def _prices(self, entry: Entry, said: Mapping[str, Any]) -> tuple[Any, Any]:
        """(index, mark), from the entry or from what ccxt made of it."""
        return said["indexPrice"], said["markPrice"]

    # -- what they have in common --

    def _read(self, market: str, entries: Mapping[str, list[Entry]]) -> Reading | LeftOut:
        try:
            found = self._find(market)
            if found is None:
                raise AnswerError("symbol", f"it has no perpetual of {canonical_symbol(market)}")
            of_market = entries.get(found["info"][self.key], [])
            if len(of_market) != 1:
                raise AnswerError("symbol", f"its answer has {len(of_market)} entries of {market}")
            return self._reading(found, of_market[0])
        except Exception as error:  # as above; the other markets go on
            return self._left_out(error)

    def _reading(self, market: Mapping[str, Any], entry: Entry) -> Reading:
        said = self.exchange.parse_funding_rate(entry)
        milliseconds = self._time(entry)
        if milliseconds is None:
            raise AnswerError("no value", "its answer has no time")
        at = int(milliseconds) // 1000
        rate = _number("funding rate", said["fundingRate"])
        if rate is None:
            raise AnswerError("no value", "its answer has no funding rate")
        interval = self._running_interval(market["symbol"], entry, said, at)
        try:
            funding = Funding(rate, interval)
        except ReadingError as error:
            raise AnswerError("interval", str(error)) from None
        if market["quote"] != "USDT":
            # its funding is as good as any, its prices are in another currency
            return Reading(self.name, funding, time=at)
        index, mark = (_number("price", each) for each in self._prices(entry, said))
        if index is None and mark is None:
            raise AnswerError("no value", "its answer has no price")
        return Reading(self.name, funding, index, mark, at)

    def _find(self, market: str) -> Mapping[str, Any] | None:
        """ccxt's description of a market that is open."""
        base = canonical_symbol(market)
        for symbol in (f"{base}/USDT:USDT", f"{base}/USDC:USDC"):
            found: Mapping[str, Any] | None = self.exchange.markets.get(symbol)
            if found is not None and found["active"] is not False:
                return found
        return None

    def _running_interval(
        self, symbol: str, entry: Entry, said: Mapping[str, Any], at: int
    ) -> timedelta:
        """The interval that the rate is for, in step with the next settlement."""
        told = self._interval(entry)
        if not self.tells_next:
            assert told is not None  # the rule of such an exchange
            return told
        if not said["fundingTimestamp"]:
            raise AnswerError("no value", "its answer does not say when it settles next")
        following = int(said["fundingTimestamp"]) // 1000
        if following < at - SETTLING:
            raise AnswerError("stale", f"its next settlement was {at - following} s ago")
        interval = self._settled_interval(symbol, following, at) if told is None else told
        if following - at > interval.total_seconds() + SETTLING:
            raise AnswerError(
                "interval", f"it settles in {following - at} s, and its interval is {interval}"
            )
        return interval

    def _settled_interval(self, symbol: str, following: int, at: int) -> timedelta:
        """From the next settlement and those before it; they are asked for once an interval."""
        end, interval = self._intervals.get(symbol, (0, timedelta()))
        if end == following:
            return interval
        if not self._lookups:
            raise AnswerError("interval", "its funding interval is not known yet")
        self._lookups -= 1
        try:
            past = self.exchange.fetch_funding_rate_history(symbol, limit=3)
        except Exception:
            self._lookups = 0  # no more of what takes long, or is too much for it
            raise
        settled = sorted(int(each["timestamp"]) // 1000 for each in past)
        if not settled:
            raise AnswerError("interval", "its funding interval is unknown")
        *past_hours, hours = (round((b - a) / 3600) for a, b in pairwise([*settled, following]))
        if past_hours and past_hours[-1] != hours and at % 3600 < SETTLING:
            # either the interval has changed, or the last settlement is not in its history yet
            raise AnswerError("interval", "a settlement is just being recorded")
        interval = timedelta(hours=hours)
        self._intervals[symbol] = (following, interval)
        return interval

    def _load_markets(self, markets: Sequence[str]) -> None:
        """The list of markets, when it is due. An old one does until there is a new one."""
        if self.exchange.markets:
            complete = all(self._find(market) for market in markets)
            age = time.monotonic() - self._listed_at
            if age < (LIST_AGE if complete else LIST_RETRY):
                return
        try:
            self.exchange.load_markets(reload=True)
        except Exception:
            if not self.exchange.markets:
                raise
            self._listed_at = time.monotonic() - LIST_AGE + LIST_RETRY
        else:
            self._listed_at = time.monotonic()

    def _keep_silence(self) -> None:
        remaining = self._silent_until - time.monotonic()
        if remaining > 0:
            raise AnswerError("unreachable", f"it asked not to be asked for {remaining:.0f} s more")

    def _left_out(self, error: Exception) -> LeftOut:
        """An error as the reason to leave it out; no addresses in it, which may hold keys."""
        match error:
            case AnswerError():
                return LeftOut(self.name, str(error), error.kind)
            case ccxt.RequestTimeout():
                return LeftOut(self.name, "it did not answer in time", "slow")
            case ccxt.RateLimitExceeded() | ccxt.DDoSProtection():
                self._silent_until = time.monotonic() + self._pause_asked()
                return LeftOut(self.name, "it has had too many requests from us", "unreachable")
            case ccxt.NetworkError():
                return LeftOut(self.name, _plain(error), "unreachable")
            case ReadingError():
                return LeftOut(self.name, str(error), "malformed")
            case _:
                return LeftOut(self.name, _plain(error), "malformed")

    def _pause_asked(self) -> int:
        """Seconds of its last answer's Retry-After."""
        asked = str((self.exchange.last_response_headers or {}).get("Retry-After", ""))
        return min(int(asked), LONGEST_PAUSE) if asked.isdecimal() else 0


class Binance(ExchangeVenue):
    """Its list of intervals has only markets whose interval or cap was ever changed."""

    name = "binance"
    kind = "binanceusdm"
    perpetuals = "linear"
    key = "symbol"

    def _entries(self) -> Iterable[Entry]:
        listed = _by_market(self.exchange.fapiPublicGetFundingInfo(), "symbol")
        for entry in _rows(self.exchange.fapiPublicGetPremiumIndex(), "symbol"):
            [terms] = listed.get(entry["symbol"], [{}])[:1]
            yield entry | {"fundingIntervalHours": terms.get("fundingIntervalHours")}

    def _interval(self, entry: Entry) -> timedelta | None:
        return _duration(entry["fundingIntervalHours"], 3_600)


class Bybit(ExchangeVenue):
    """ccxt has the interval of when the list of markets was loaded; the tickers have today's."""

    name = "bybit"
    kind = "bybit"
    perpetuals = "linear"
    key = "symbol"

    def _entries(self) -> Iterable[Entry]:
        answer = self.exchange.publicGetV5MarketTickers({"category": "linear"})
        rows = _rows(answer["result"]["list"], "symbol")
        return [entry | {"time": answer["time"]} for entry in rows]

    def _interval(self, entry: Entry) -> timedelta | None:
        return _duration(entry.get("fundingIntervalHour"), 3_600)


class Okx(ExchangeVenue):
    """Funding, mark prices and index prices are three requests.

    `fundingTime` is the next settlement, `nextFundingTime` the one after that. What ccxt calls the
    interval lies between these two; the running one began at `prevFundingTime`.
    """

    name = "okx"
    kind = "okx"
    perpetuals = "swap"
    key = "instId"

    def _entries(self) -> Iterable[Entry]:
        rates = self.exchange.publicGetPublicFundingRate({"instId": "ANY"})["data"]
        marks = self.exchange.publicGetPublicMarkPrice({"instType": "SWAP"})["data"]
        indices = self.exchange.publicGetMarketIndexTickers({"quoteCcy": "USDT"})["data"]
        mark_of, index_of = _by_market(marks, "instId"), _by_market(indices, "instId")
        for entry in _rows(rates, "instId"):
            market = entry["instId"]
            yield entry | {
                "mark": mark_of.get(market, []),
                "index": index_of.get(market.removesuffix("-SWAP"), []),
            }

    def _interval(self, entry: Entry) -> timedelta | None:
        start, end = (
            _number("time", entry.get(f"{each}Time")) for each in ("prevFunding", "funding")
        )
        return _duration((end - start) / 1000, 1) if start and end else None

    def _time(self, entry: Entry) -> Any:
        """Of the oldest of the three."""
        return min(int(each["ts"]) for each in (entry, *entry["mark"], *entry["index"]))

    def _prices(self, entry: Entry, said: Mapping[str, Any]) -> tuple[Any, Any]:
        [index] = entry["index"] or [{}]
        [mark] = entry["mark"] or [{}]
        return index.get("idxPx"), mark.get("markPx")


class Gate(ExchangeVenue):
    """Its contracts tell everything but the time, and ccxt does not know their 2 hours."""

    name = "gate"
    kind = "gate"
    perpetuals = "swap"
    key = "name"

    def _entries(self) -> Iterable[Entry]:
        now = self.exchange.fetch_time()
        contracts = self.exchange.publicFuturesGetSettleContracts({"settle": "usdt"})
        return [entry | {"time": now} for entry in _rows(contracts, "name")]

    def _interval(self, entry: Entry) -> timedelta | None:
        return _duration(entry.get("funding_interval"), 1)


class Hyperliquid(ExchangeVenue):
    """Every market settles each hour, in USDC; the names of markets and their state come apart."""

    name = "hyperliquid"
    kind = "hyperliquid"
    perpetuals = "swap"
    key = "name"
    tells_next = False

    def _entries(self) -> Iterable[Entry]:
        now = self.exchange.fetch_time()
        meta, states = self.exchange.publicPostInfo({"type": "metaAndAssetCtxs"})
        for asset, state in zip(meta["universe"], states, strict=True):
            if asset and not asset.get("isDelisted"):
                yield asset | (state or {}) | {"time": now}

    def _interval(self, entry: Entry) -> timedelta | None:
        return timedelta(hours=1)


EXCHANGES: dict[str, type[ExchangeVenue]] = {
    each.name: each for each in (Binance, Bybit, Okx, Gate, Hyperliquid)
}


def exchange_panel(venues: Mapping[str, Mapping[str, Any]], **options: Any) -> Panel:
    """Live exchanges: name -> ccxt's options; `options` go to Panel.

    Raises SourceError for an unknown name.
    """
    return Panel([ExchangeVenue.connect(name, **each) for name, each in venues.items()], **options)


def _rows(answer: Any, key: str) -> list[Entry]:
    """The entries of a list that name their market. Raises AnswerError where it is no list."""
    if not isinstance(answer, list):
        raise AnswerError("malformed", f"its answer is no list: {str(answer)[:40]!r}")
    return [each for each in answer if isinstance(each, dict) and isinstance(each.get(key), str)]


def _by_market(answer: Any, key: str) -> dict[str, list[Entry]]:
    """The entries of a list by the name of their market. An honest answer has one for each."""
    groups: dict[str, list[Entry]] = {}
    for entry in _rows(answer, key):
        groups.setdefault(entry[key], []).append(entry)
    return groups


def _number(name: str, value: Any) -> Decimal | None:
    """An exchange's number, exactly as it prints; None where there is none. Raises AnswerError."""
    if value is None or value == "":
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or abs(number.adjusted()) > DIGITS:
        raise AnswerError("malformed", f"the {name} is {str(value)[:40]!r}")
    return number


def _duration(count: Any, unit: int) -> timedelta | None:
    """`count` times `unit` seconds; None where there is no count. Raises AnswerError."""
    try:
        number = _number("funding interval", count)
        return None if number is None else timedelta(seconds=int(number * unit))
    except (AnswerError, OverflowError):
        raise AnswerError("interval", f"its funding interval is {str(count)[:40]!r}") from None


def _plain(error: Exception) -> str:
    """What an error says, in one short line without addresses."""
    text = " ".join(re.sub(r"\S+://\S+", "", str(error)).split())
    return f"{type(error).__name__}: {text[:120]}"
