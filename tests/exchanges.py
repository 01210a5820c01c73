"""A stand-in for exchanges on loopback: it speaks their formats, so that ccxt itself is tested.

with StandIn() as exchange:
    source = ExchangeSource.connect("binance", **exchange.binance())
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit


class StandIn:
    """Answers what `routes` has for a path: a value to send as JSON, or text as it is.

    A route may be a function of the request's body. Everything else is 404.
    """

    def __init__(self) -> None:
        self.routes: dict[str, Any] = {}
        self.asked: list[str] = []
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                stand_in.answer(self, None)

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                stand_in.answer(self, json.loads(self.rfile.read(length)))

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, handler: BaseHTTPRequestHandler, body: Any) -> None:
        path = urlsplit(handler.path).path
        self.asked.append(path)
        found = self.routes.get(path)
        answer = found(body) if callable(found) else found
        text = answer if isinstance(answer, str) else json.dumps(answer)
        handler.send_response(404 if found is None else 200)
        handler.send_header("Content-Type", "application/json")
        handler.end_headers()
        handler.wfile.write(text.encode())

    def __enter__(self) -> StandIn:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    # -- the formats of exchanges --

    def binance(self, base: str = "ADA", *, now: float, **premium: Any) -> dict[str, Any]:
        """Serve one market as Binance does; returns ccxt's options. `premium` overrides fields."""
        symbol = f"{base}USDT"
        prefix = "/fapi/v1"
        self.routes |= {
            f"{prefix}/exchangeInfo": {
                "symbols": [
                    {
                        "symbol": symbol,
                        "pair": symbol,
                        "contractType": "PERPETUAL",
                        "status": "TRADING",
                        "baseAsset": base,
                        "quoteAsset": "USDT",
                        "marginAsset": "USDT",
                        "pricePrecision": 5,
                        "quantityPrecision": 0,
                        "underlyingType": "COIN",
                        "filters": [],
                    }
                ]
            },
            f"{prefix}/premiumIndex": {
                "symbol": symbol,
                "markPrice": "1.19410000",
                "indexPrice": "1.19364000",
                "lastFundingRate": "0.00159800",
                "nextFundingTime": int(now * 1000) + 3_600_000,
                "time": int(now * 1000),
            }
            | premium,
            # only markets whose interval has been changed are in it
            f"{prefix}/fundingInfo": [],
            f"{prefix}/fundingRate": [
                {"symbol": symbol, "fundingRate": "0.0016", "fundingTime": int(each * 1000)}
                for each in (now - 60_000, now - 31_200, now - 2_400)
            ],
        }
        return {"urls": {"api": {"fapiPublic": f"{self.url}{prefix}"}}}

    def hyperliquid(self, base: str = "ADA", *, funding: str = "0.0000125") -> dict[str, Any]:
        """Serve one market as Hyperliquid does; returns ccxt's options."""
        asset = {
            "name": base,
            "szDecimals": 0,
            "maxLeverage": 10,
        }
        context = {
            "funding": funding,
            "markPx": "1.1939",
            "midPx": "1.1940",
            "oraclePx": "1.1937",
            "openInterest": "1000",
            "prevDayPx": "1.18",
            "dayNtlVlm": "1000",
        }
        answers: dict[str, Any] = {
            "meta": {"universe": [asset]},
            "metaAndAssetCtxs": [{"universe": [asset]}, [context]],
            "spotMeta": {"universe": [], "tokens": []},
        }
        info: Callable[[Any], Any] = lambda body: answers[body["type"]]  # noqa: E731
        self.routes["/info"] = info
        return {"urls": {"api": {"public": self.url, "private": self.url}}}
