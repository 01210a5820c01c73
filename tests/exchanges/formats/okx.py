"""okx: rates, mark prices and index prices are asked for apart, and each has its time."""

from __future__ import annotations

from typing import Any

from perpool.history import HOUR
from tests.exchanges.formats.format import Format, ms, settled, started
from tests.exchanges.quotes import Quote


def answer(path: str, request: dict[str, Any], quotes: list[Quote], now: int) -> Any:
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
                    "fundingTime": ms(quote.following),
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
                    "nextFundingTime": ms(quote.following and quote.following + 6 * HOUR),
                    "premium": "-0.0003615161851200",
                    "prevFundingTime": ms(started(quote)),
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
            past = settled(quotes, request["instId"].split("-")[0], int(request["limit"]))
            rows = [
                {
                    "instId": request["instId"],
                    "instType": "SWAP",
                    "fundingRate": rate,
                    "realizedRate": rate,
                    "fundingTime": ms(at),
                    "method": "current_period",
                }
                for at, rate in reversed(past)
            ]
        case _:
            return None
    return {"code": "0", "data": rows, "msg": ""}


FORMAT = Format({"rest": ""}, answer, '{"code": "50011", "data": [], "msg": "Too Many Requests"}')
