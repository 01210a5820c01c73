"""Five exchanges, what they say and what is wrong with them."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from perpool.history import HOUR, DataFolder, MarketHistory
from tests.exchanges.faults import Fault
from tests.exchanges.formats import FORMATS
from tests.exchanges.quotes import Constant, Quote, Recording
from tests.exchanges.server import Response, Server


class StandIn:
    """Five exchanges. What is set may be changed at any time, by any thread."""

    def __init__(self) -> None:
        self.time: float | None = None
        """Unix seconds; None for the real time."""
        self.asked: defaultdict[str, list[str]] = defaultdict(list)
        """Exchange -> paths that were asked for, with what of the query tells them apart."""
        self._markets: dict[str, dict[str, Constant | Recording]] = {each: {} for each in FORMATS}
        self._faults: dict[str, Fault] = {}
        self._spoilt: defaultdict[str, dict[str | None, dict[str, Any]]] = defaultdict(dict)
        self._servers: dict[str, Server] = {}

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
        self._markets[venue][market] = Constant(said, previous_hours or hours)

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
                recording = Recording(history, sorted(prices[market].items()))
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
        fault = Fault(name, details)
        if fields := fault.fields():
            self.spoil(venue, market, **fields)
            return
        self._recover(venue)
        self._faults[venue] = fault
        if name == "refused":
            self._server(venue).close()

    def spoil(self, venue: str, market: str | None = None, **fields: Any) -> None:
        """Have an exchange say something else in fields of Quote, of one market or of all.

        An interval that is a number of hours moves the next settlement to its grid.
        """
        self._spoilt[venue][market] = fields

    def mend(self, venue: str) -> None:
        """All is well again with an exchange."""
        self._spoilt.pop(venue, None)
        self._recover(venue)

    def _recover(self, venue: str) -> None:
        """The end of a fault that is not of quotes, if there is one."""
        fault = self._faults.pop(venue, None)
        if fault is not None:
            fault.mended.set()
            if fault.name == "refused":
                self._server(venue).open()

    # -- for who connects --

    def options(self, venue: str) -> dict[str, Any]:
        """ccxt's options of an exchange: where it is, and that it takes any number of requests.

        Plain values, so that they can be written into a file.
        """
        return {
            "urls": {"api": _prefixed(FORMATS[venue].api, self._server(venue).url)},
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
        for fault in self._faults.values():
            fault.mended.set()
        for server in self._servers.values():
            server.close()

    # -- HTTP --

    def _server(self, venue: str) -> Server:
        """An exchange's, which listens from when it is first asked for."""
        if venue not in self._servers:
            self._servers[venue] = Server(partial(self._respond, venue))
        return self._servers[venue]

    def _respond(self, venue: str, path: str, request: dict[str, Any]) -> Response:
        """The answer to a request, faults and all."""
        told = request.get("type") or request.get("instId") or request.get("symbol")
        self.asked[venue].append(f"{path} {told}" if told else path)
        fault = self._faults.get(venue)
        if fault is None or not fault.concerns(path):
            return self._answer(venue, path, request)
        fault.wait()
        instead = fault.instead(FORMATS[venue].limited)
        if instead is not None:
            return instead
        answer = self._answer(venue, path, request, fault.shift())
        return replace(answer, text=fault.cut(answer.text), compressed=fault.name == "bomb")

    def _answer(self, venue: str, path: str, request: dict[str, Any], shift: int = 0) -> Response:
        """What it says so many seconds from now."""
        now = (time.time() if self.time is None else self.time) + shift
        answer = FORMATS[venue].answer(path, request, self._quotes(venue, now), int(now * 1000))
        return Response("{}", 404) if answer is None else Response(json.dumps(answer))

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


def _prefixed(api: Any, url: str) -> Any:
    """The table of addresses with the server's before each."""
    if isinstance(api, str):
        return url + api
    return {name: _prefixed(each, url) for name, each in api.items()}
