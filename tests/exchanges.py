"""A stand-in for five exchanges on loopback. It is no exchange: it speaks their formats, so that
ccxt itself, unpatched, is tested against it.

    with StandIn() as exchanges:
        exchanges.quote("okx", "ADA", rate="0.0001", hours=8, index="1.2", mark="1.21")
        venue = ExchangeVenue.connect("okx", **exchanges.options("okx"))
        exchanges.fault("okx", "slow", seconds=3)
        exchanges.mend("okx")

What it says is set by `quote`, or taken from recorded history by `play`, at the time it is made to
believe in (`time`, else the real one). At a time within a funding interval the running rate of a
played market is the one that was settled at the interval's end, as if the exchange's prediction had
been right all along; its history has what was settled by then. A market is not listed while its
history has a gap.

Every exchange has a server and a port of its own. The formats are those of the exchanges' public
REST interfaces as ccxt calls them, with the fields that those answers have; values of no interest
are constants.
"""

from __future__ import annotations

import json
import threading
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

from perpool.history import HOUR, DataFolder, MarketHistory

FAULTS = {
    "slow": "answers after `seconds` (60), or once it is mended",
    "down": "HTTP `status` (503) without anything of use",
    "refused": "nobody listens on its port",
    "limited": "HTTP 429, with Retry-After where `seconds` are given",
    "html": "HTTP 200 with a page for people",
    "truncated": "JSON that ends in the middle",
    "null": "the funding rate is null",
    "nan": "the funding rate is NaN",
    "text": "the funding rate is a word",
    "symbol": "the entry is of another market",
    "lying": "the funding rate is `rate` (0.9)",
    "interval": "the funding interval is `hours` (4), on the grid of such an interval",
    "stale": "everything is of `seconds` (3600) ago",
    "future": "everything is of `seconds` (3600) ahead",
}
"""What may be wrong with an exchange. From "null" to "interval" it may be of one market only."""


@dataclass(frozen=True)
class Quote:
    """What an exchange says of a market, in the words of none; any field may be spoilt."""

    name: Any
    """The base token's symbol."""
    rate: Any
    """Of the running interval, a fraction, as text."""
    hours: Any
    """Of the running interval."""
    following: Any
    """When it ends, unix seconds."""
    index: Any
    mark: Any
    past: Sequence[tuple[int, str]] = ()
    """Settlements, (time, rate), oldest first."""
    mark_age: int = 0
    """Seconds; of these five only okx dates its prices apart."""
    open: bool = True
    """Whether it is traded; lists go on to name markets that are not."""
    listed: bool = True
    """Whether binance's list of intervals has it, and hyperliquid's list of names."""


@dataclass(frozen=True)
class _Constant:
    """A market of which always the same is said."""

    quote: Quote
    previous_hours: int

    def at(self, now: float) -> Quote:
        interval = self.quote.hours * HOUR
        following = int(now // interval + 1) * interval
        started = following - interval
        past = [(started - n * self.previous_hours * HOUR, self.quote.rate) for n in (2, 1, 0)]
        return replace(self.quote, following=following, past=past)


@dataclass(frozen=True)
class _Recording:
    """A market out of history; prices are the newest of `prices`, (time, price) in order."""

    history: MarketHistory
    prices: Sequence[tuple[int, Decimal]]
    times: list[int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "times", [each.time for each in self.history.settlements])

    def at(self, now: float) -> Quote | None:
        position = bisect_right(self.times, now)
        running = next(iter(self.history.settlements[position : position + 1]), None)
        if running is None or now < running.time - running.hours * HOUR:
            return None
        known = bisect_right(self.prices, now, key=lambda each: each[0])
        price = f"{self.prices[known - 1][1] if known else 1:f}"
        past = [
            (each.time, f"{each.rate:f}")
            for each in self.history.settlements[max(0, position - 100) : position]
        ]
        return Quote(
            name=self.history.symbol,
            rate=f"{running.rate:f}",
            hours=running.hours,
            following=running.time,
            index=price,
            mark=price,
            past=past,
        )


class StandIn:
    """Five exchanges. What is set may be changed at any time, by any thread."""

    def __init__(self) -> None:
        self.time: float | None = None
        """Unix seconds; None for the real time."""
        self.asked: defaultdict[str, list[str]] = defaultdict(list)
        """Exchange -> paths that were asked for, with what of the query tells them apart."""
        self._markets: dict[str, dict[str, _Constant | _Recording]] = {each: {} for each in FORMATS}
        self._faults: dict[str, tuple[str, dict[str, Any]]] = {}
        self._spoilt: defaultdict[str, dict[str | None, dict[str, Any]]] = defaultdict(dict)
        self._servers: dict[str, ThreadingHTTPServer] = {}
        self._addresses: dict[str, tuple[str, int]] = {}
        self._hurry: dict[str, threading.Event] = {}
        """Ends the waiting of one that is slow."""

    # -- what they say --

    def quote(
        self,
        venue: str,
        market: str,
        *,
        rate: str = "0.0001",
        hours: int = 8,
        index: str | None = "1.19364",
        mark: str | None = "1.1941",
        previous_hours: int | None = None,
        listed: bool = True,
    ) -> None:
        """Have an exchange say this of a market from now on.

        `rate` is of one settlement. Settlements lie on the grid of the interval from midnight, UTC;
        `previous_hours` is the interval of those that have been. `listed`: see Quote.
        """
        said = Quote(market, rate, hours, None, index, mark, listed=listed)
        self._markets[venue][market] = _Constant(said, previous_hours or hours)

    def play(self, venues: Mapping[str, Mapping[str, MarketHistory]]) -> None:
        """Have exchanges say what they once said: exchange -> market -> its history.

        A market's price is the newest mark price that any of its histories has, on all of them.
        """
        prices: defaultdict[str, dict[int, Decimal]] = defaultdict(dict)
        for markets in venues.values():
            for market, history in markets.items():
                marked = {s.time: s.mark_price for s in history.settlements if s.mark_price}
                prices[market] |= marked
        for venue, markets in venues.items():
            for market, history in markets.items():
                recording = _Recording(history, sorted(prices[market].items()))
                self._markets[venue][market] = recording

    def play_folder(self, path: Path, markets: Sequence[str]) -> None:
        """The multi-venue history of a data folder."""
        venues: defaultdict[str, dict[str, MarketHistory]] = defaultdict(dict)
        for market in markets:
            for venue, history in DataFolder(path).load_venues(market).items():
                venues[venue][market] = history
        self.play(venues)

    # -- what is wrong with them --

    def fault(self, venue: str, name: str, market: str | None = None, **details: Any) -> None:
        """Have something go wrong at an exchange, one of FAULTS, until it is mended.

        A fault of HTTP is of paths that `path` is in, if that is given.
        """
        spoilt: dict[str, Any] = {
            "null": {"rate": None},
            "nan": {"rate": "NaN"},
            "text": {"rate": "n/a"},
            "symbol": {"name": "ELSE"},
            "lying": {"rate": details.get("rate", "0.9")},
            "interval": {"hours": details.get("hours", 4)},
        }
        if name not in FAULTS:
            raise ValueError(f"there is no fault {name!r}: there are {', '.join(FAULTS)}")
        if name in spoilt:
            self.spoil(venue, market, **spoilt[name])
            return
        self._hurry.setdefault(venue, threading.Event())
        self._faults[venue] = (name, details)
        if name == "refused":
            self._close(venue)

    def spoil(self, venue: str, market: str | None = None, **fields: Any) -> None:
        """Have an exchange say something else in fields of Quote, of one market or of all.

        An interval that is a number of hours moves the next settlement to its grid.
        """
        self._spoilt[venue][market] = fields

    def mend(self, venue: str) -> None:
        """All is well again with an exchange."""
        self._spoilt.pop(venue, None)
        name, _ = self._faults.pop(venue, ("", {}))
        if venue in self._hurry:
            self._hurry.pop(venue).set()
        if name == "refused":
            self._serve(venue)

    # -- for who connects --

    def options(self, venue: str) -> dict[str, Any]:
        """ccxt's options of an exchange: where it is, and that it takes any number of requests.

        Plain values, so that they can be written into a file.
        """
        if venue not in self._addresses:
            self._serve(venue)
        host, port = self._addresses[venue]
        return {
            "urls": {"api": _prefixed(FORMATS[venue].api, f"http://{host}:{port}")},
            "enableRateLimit": False,
        }

    def __enter__(self) -> StandIn:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for each in self._hurry.values():
            each.set()
        for venue in list(self._servers):
            self._close(venue)

    # -- HTTP --

    def _serve(self, venue: str) -> None:
        address = self._addresses.get(venue, ("127.0.0.1", 0))
        server = ThreadingHTTPServer(address, partial(_Handler, self, venue))
        self._servers[venue] = server
        self._addresses[venue] = ("127.0.0.1", server.server_port)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

    def _close(self, venue: str) -> None:
        server = self._servers.pop(venue, None)
        if server is not None:
            server.shutdown()
            server.server_close()

    def _respond(self, venue: str, path: str, request: dict[str, Any]) -> _Response:
        """The answer to a request, faults and all."""
        told = request.get("type") or request.get("instId") or request.get("symbol")
        self.asked[venue].append(f"{path} {told}" if told else path)
        hurry = self._hurry.get(venue)
        name, details = self._faults.get(venue, ("", {}))
        if details.get("path", "") not in path:
            name = ""
        if name == "slow" and hurry is not None:
            hurry.wait(details.get("seconds", 60))
        if name == "down":
            page = "Service Unavailable\n" + "<p>We are working on it.</p>\n" * 50
            return _Response(page, details.get("status", 503), "text/html")
        if name == "limited":
            pause = {"Retry-After": str(details["seconds"])} if "seconds" in details else {}
            return _Response(FORMATS[venue].limited, 429, headers=pause)
        if name == "html":
            return _Response("<html><body>We will be back soon</body></html>", 200, "text/html")
        now = time.time() if self.time is None else self.time
        shift = details.get("seconds", 3_600)
        now += {"stale": -shift, "future": shift}.get(name, 0)
        answer = FORMATS[venue].answer(path, request, self._quotes(venue, now), int(now * 1000))
        if answer is None:
            return _Response("{}", 404)
        text = json.dumps(answer)
        return _Response(text[: len(text) // 2] if name == "truncated" else text)

    def _quotes(self, venue: str, now: float) -> list[Quote]:
        spoilt = self._spoilt.get(venue, {})
        quotes = []
        for market, source in list(self._markets[venue].items()):
            said = source.at(now)
            if said is None:
                continue
            fields = spoilt.get(None, {}) | spoilt.get(market, {})
            hours = fields.get("hours")
            if isinstance(hours, int) and hours > 0:
                following = int(now // (hours * HOUR) + 1) * hours * HOUR
                fields = {"following": following, **fields}
            quotes.append(replace(said, **fields))
        return quotes


@dataclass(frozen=True)
class _Response:
    text: str
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, stand_in: StandIn, venue: str, *args: Any) -> None:
        self.stand_in = stand_in
        self.venue = venue
        super().__init__(*args)

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        self._send(self.stand_in._respond(self.venue, url.path, query))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        self._send(self.stand_in._respond(self.venue, urlsplit(self.path).path, body))

    def _send(self, response: _Response) -> None:
        body = response.text.encode()
        try:
            self.send_response(response.status)
            self.send_header("Content-Type", response.content_type)
            self.send_header("Content-Length", str(len(body)))
            for name, value in response.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
        except ConnectionError:
            pass  # who asked did not wait for it

    def log_message(self, *_: Any) -> None:
        pass


def _prefixed(api: Any, url: str) -> Any:
    """The table of addresses with the server's before each."""
    if isinstance(api, str):
        return url + api
    return {name: _prefixed(each, url) for name, each in api.items()}


# -- the formats of exchanges --


@dataclass(frozen=True)
class Format:
    """How an exchange speaks.

    `api` is where ccxt finds it, path after path; `answer` gives, for a path, the query or body,
    the quotes and the exchange's time in milliseconds, what goes out as JSON, or None for 404.
    `limited` is what it says to who asks too much.
    """

    api: Mapping[str, Any]
    answer: Callable[[str, dict[str, Any], list[Quote], int], Any]
    limited: str


def _ms(seconds: Any) -> Any:
    """Milliseconds, as text; what is no time as it is."""
    return str(int(seconds * 1000)) if isinstance(seconds, int | float) else seconds


def _started(quote: Quote) -> Any:
    """When the running interval began."""
    if isinstance(quote.hours, int) and isinstance(quote.following, int):
        return quote.following - quote.hours * HOUR
    return None


def _past(quotes: list[Quote], name: Any, limit: int) -> list[tuple[int, str]]:
    """The last settlements of one market, oldest first."""
    return [each for quote in quotes if quote.name == name for each in quote.past][-limit:]


def _binance(path: str, request: dict[str, Any], quotes: list[Quote], now: int) -> Any:
    match path.removeprefix("/fapi/v1/"):
        case "exchangeInfo":
            return {"timezone": "UTC", "serverTime": now, "symbols": list(map(_contract, quotes))}
        case "premiumIndex":
            return [
                {
                    "symbol": f"{quote.name}USDT",
                    "markPrice": quote.mark,
                    "indexPrice": quote.index,
                    "estimatedSettlePrice": quote.index,
                    "lastFundingRate": quote.rate,
                    "interestRate": "0.00010000",
                    "nextFundingTime": quote.following and quote.following * 1000,
                    "time": now,
                }
                for quote in quotes
            ]
        case "fundingInfo":
            return [
                {
                    "symbol": f"{quote.name}USDT",
                    "adjustedFundingRateCap": "0.02000000",
                    "adjustedFundingRateFloor": "-0.02000000",
                    "fundingIntervalHours": quote.hours,
                    "disclaimer": False,
                }
                for quote in quotes
                if quote.listed
            ]
        case "fundingRate":
            name = request["symbol"].removesuffix("USDT")
            return [
                {
                    "symbol": request["symbol"],
                    "fundingTime": at * 1000 + 3,
                    "fundingRate": rate,
                    "markPrice": "1.19410000",
                }
                for at, rate in _past(quotes, name, int(request.get("limit", 100)))
            ]
    return None


def _contract(quote: Quote) -> dict[str, Any]:
    """A market in binance's list."""
    return {
        "symbol": f"{quote.name}USDT",
        "pair": f"{quote.name}USDT",
        "contractType": "PERPETUAL",
        "deliveryDate": 4_133_404_800_000,
        "onboardDate": 1_569_398_400_000,
        "status": "TRADING" if quote.open else "SETTLING",
        "baseAsset": quote.name,
        "quoteAsset": "USDT",
        "marginAsset": "USDT",
        "pricePrecision": 5,
        "quantityPrecision": 0,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": "0.0001",
                "maxPrice": "100",
                "tickSize": "0.0001",
            },
            {"filterType": "LOT_SIZE", "minQty": "1", "maxQty": "2000000", "stepSize": "1"},
        ],
        "orderTypes": ["LIMIT", "MARKET"],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX"],
    }


def _bybit(path: str, request: dict[str, Any], quotes: list[Quote], now: int) -> Any:
    rows: list[dict[str, Any]]
    match path.removeprefix("/v5/market/"):
        case "instruments-info":
            rows = [
                {
                    "symbol": f"{quote.name}USDT",
                    "contractType": "LinearPerpetual",
                    "status": "Trading" if quote.open else "Closed",
                    "baseCoin": quote.name,
                    "quoteCoin": "USDT",
                    "settleCoin": "USDT",
                    "launchTime": "1585526400000",
                    "deliveryTime": "0",
                    "deliveryFeeRate": "",
                    "priceScale": "4",
                    "leverageFilter": {
                        "minLeverage": "1",
                        "maxLeverage": "75.00",
                        "leverageStep": "0.01",
                    },
                    "priceFilter": {
                        "minPrice": "0.0001",
                        "maxPrice": "199.9998",
                        "tickSize": "0.0001",
                    },
                    "lotSizeFilter": {
                        "maxOrderQty": "2000000",
                        "minOrderQty": "1",
                        "qtyStep": "1",
                        "minNotionalValue": "5",
                    },
                    "unifiedMarginTrade": True,
                    "fundingInterval": 480,
                }
                for quote in quotes
                if "status" not in request
            ]
        case "tickers":
            rows = [
                {
                    "symbol": f"{quote.name}USDT",
                    "lastPrice": quote.mark,
                    "indexPrice": quote.index,
                    "markPrice": quote.mark,
                    "prevPrice24h": "1.18",
                    "price24hPcnt": "0.011",
                    "openInterest": "48069549",
                    "openInterestValue": "57369549.11",
                    "turnover24h": "4686694.8530",
                    "volume24h": "24373025",
                    "fundingRate": quote.rate,
                    "nextFundingTime": _ms(quote.following),
                    "predictedDeliveryPrice": "",
                    "basisRate": "",
                    "deliveryFeeRate": "",
                    "deliveryTime": "0",
                    "fundingIntervalHour": None if quote.hours is None else str(quote.hours),
                    "fundingCap": "0.02",
                }
                for quote in quotes
            ]
        case "funding/history":
            past = _past(quotes, request["symbol"].removesuffix("USDT"), int(request["limit"]))
            rows = [
                {
                    "symbol": request["symbol"],
                    "fundingRate": rate,
                    "fundingRateTimestamp": _ms(at),
                }
                for at, rate in reversed(past)
            ]
        case _:
            return None
    result = {"category": "linear", "list": rows, "nextPageCursor": ""}
    return {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": now}


def _okx(path: str, request: dict[str, Any], quotes: list[Quote], now: int) -> Any:
    rows: list[dict[str, Any]]
    match path.removeprefix("/api/v5/"):
        case "public/instruments":
            rows = [
                {
                    "alias": "",
                    "baseCcy": "",
                    "ctMult": "1",
                    "ctType": "linear",
                    "ctVal": "100",
                    "ctValCcy": quote.name,
                    "expTime": "",
                    "instFamily": f"{quote.name}-USDT",
                    "instId": f"{quote.name}-USDT-SWAP",
                    "instType": "SWAP",
                    "lever": "50",
                    "listTime": "1611916828000",
                    "lotSz": "0.1",
                    "minSz": "0.1",
                    "quoteCcy": "",
                    "settleCcy": "USDT",
                    "state": "live" if quote.open else "suspend",
                    "tickSz": "0.0001",
                    "uly": f"{quote.name}-USDT",
                }
                for quote in quotes
            ]
        case "public/funding-rate":
            rows = [
                {
                    "formulaType": "noRate",
                    "fundingRate": quote.rate,
                    "fundingTime": _ms(quote.following),
                    "impactValue": "20000.0000000000000000",
                    "instId": f"{quote.name}-USDT-SWAP",
                    "instType": "SWAP",
                    "interestRate": "0.0001000000000000",
                    "maxFundingRate": "0.015",
                    "method": "current_period",
                    "minFundingRate": "-0.015",
                    "nextFundingRate": "",
                    # the interval that follows is another one: who takes it for the running one
                    # is found out
                    "nextFundingTime": _ms(quote.following and quote.following + 6 * HOUR),
                    "premium": "-0.0003615161851200",
                    "prevFundingTime": _ms(_started(quote)),
                    "settFundingRate": "0.0001000000000000",
                    "settState": "settled",
                    "ts": str(now),
                }
                for quote in quotes
            ]
        case "public/mark-price":
            rows = [
                {
                    "instId": f"{quote.name}-USDT-SWAP",
                    "instType": "SWAP",
                    "markPx": quote.mark,
                    "ts": str(now - quote.mark_age * 1000),
                }
                for quote in quotes
            ]
        case "market/index-tickers":
            rows = [
                {
                    "instId": f"{quote.name}-USDT",
                    "idxPx": quote.index,
                    "high24h": "1.21",
                    "low24h": "1.17",
                    "open24h": "1.18",
                    "sodUtc0": "1.19",
                    "sodUtc8": "1.19",
                    "ts": str(now),
                }
                for quote in quotes
            ]
        case "public/funding-rate-history":
            past = _past(quotes, request["instId"].split("-")[0], int(request["limit"]))
            rows = [
                {
                    "instId": request["instId"],
                    "instType": "SWAP",
                    "fundingRate": rate,
                    "realizedRate": rate,
                    "fundingTime": _ms(at),
                    "method": "current_period",
                }
                for at, rate in reversed(past)
            ]
        case _:
            return None
    return {"code": "0", "data": rows, "msg": ""}


def _gate(path: str, request: dict[str, Any], quotes: list[Quote], now: int) -> Any:
    match path.removeprefix("/api/v4/"):
        case "spot/time":
            return {"server_time": now}
        case "futures/usdt/contracts":
            return [
                {
                    "name": f"{quote.name}_USDT",
                    "type": "direct",
                    "quanto_multiplier": "10",
                    "order_price_deviate": "0.2",
                    "mark_type": "index",
                    "last_price": quote.mark,
                    "mark_price": quote.mark,
                    "index_price": quote.index,
                    "funding_rate": quote.rate,
                    "funding_rate_indicative": "0.000219",
                    "funding_interval": quote.hours and quote.hours * HOUR,
                    "funding_next_apply": quote.following,
                    "funding_offset": 0,
                    "funding_rate_limit": "0.02",
                    "interest_rate": "0.0003",
                    "in_delisting": False,
                    "status": "trading" if quote.open else "delisted",
                    "maintenance_rate": "0.01",
                    "leverage_min": "1",
                    "leverage_max": "50",
                    "maker_fee_rate": "-0.0001",
                    "taker_fee_rate": "0.00075",
                    "order_price_round": "0.0001",
                    "mark_price_round": "0.0001",
                    "order_size_min": 1,
                    "order_size_max": 1_000_000,
                    "create_time": 1_609_899_548,
                }
                for quote in quotes
            ]
        case "futures/usdt/funding_rate":
            past = _past(quotes, request["contract"].split("_")[0], int(request["limit"]))
            return [{"r": rate, "t": at} for at, rate in reversed(past)]
    return None


def _hyperliquid(path: str, request: dict[str, Any], quotes: list[Quote], now: int) -> Any:
    universe = [
        {"name": quote.name, "szDecimals": 0, "maxLeverage": 10, "marginTableId": 10}
        | ({} if quote.open else {"isDelisted": True})
        for quote in quotes
        if quote.listed
    ]
    match request["type"]:
        case "exchangeStatus":
            return {"specialStatuses": None, "time": now}
        case "metaAndAssetCtxs":
            states = [
                {
                    "funding": quote.rate,
                    "openInterest": "46352182.0",
                    "prevDayPx": "1.18",
                    "dayNtlVlm": "27543211.9",
                    "premium": "0.0003",
                    "oraclePx": quote.index,
                    "markPx": quote.mark,
                    "midPx": quote.mark,
                    "impactPxs": [quote.mark, quote.mark],
                    "dayBaseVlm": "23064731.0",
                }
                for quote in quotes
            ]
            return [{"universe": universe, "marginTables": []}, states]
    return None


FORMATS: dict[str, Format] = {
    "binance": Format(
        {"fapiPublic": "/fapi/v1"},
        _binance,
        '{"code": -1003, "msg": "Too many requests; current limit is 2400 requests per minute."}',
    ),
    "bybit": Format(
        {"public": ""},
        _bybit,
        '{"retCode": 10006, "retMsg": "Too many visits!", "result": {}, "time": 1672712495660}',
    ),
    "okx": Format({"rest": ""}, _okx, '{"code": "50011", "data": [], "msg": "Too Many Requests"}'),
    "gate": Format(
        {"public": {"futures": "/api/v4", "spot": "/api/v4"}},
        _gate,
        '{"label": "TOO_MANY_REQUESTS", "message": "Request Rate limit Exceeded"}',
    ),
    "hyperliquid": Format({"public": ""}, _hyperliquid, "null"),
}
