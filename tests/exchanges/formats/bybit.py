"""bybit: pages of rows; those of closed markets are asked for apart, settlements newest first."""

from __future__ import annotations

from typing import Any

from tests.exchanges.formats.format import Format, ms, settled
from tests.exchanges.quotes import Quote


def answer(path: str, request: dict[str, Any], quotes: list[Quote], now: int) -> Any:
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
                    "nextFundingTime": ms(quote.following),
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
            past = settled(quotes, request["symbol"].removesuffix("USDT"), int(request["limit"]))
            rows = [
                {
                    "symbol": request["symbol"],
                    "fundingRate": rate,
                    "fundingRateTimestamp": ms(at),
                }
                for at, rate in reversed(past)
            ]
        case _:
            return None
    result = {"category": "linear", "list": rows, "nextPageCursor": ""}
    return {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": now}


FORMAT = Format(
    {"public": ""},
    answer,
    '{"retCode": 10006, "retMsg": "Too many visits!", "result": {}, "time": 1672712495660}',
)
