"""binance: intervals have a list of their own, which not every market is in."""

from __future__ import annotations

from typing import Any

from tests.exchanges.formats.format import Format, settled
from tests.exchanges.quotes import Quote


def answer(path: str, request: dict[str, Any], quotes: list[Quote], now: int) -> Any:
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
                for at, rate in settled(quotes, name, int(request.get("limit", 100)))
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


FORMAT = Format(
    {"fapiPublic": "/fapi/v1"},
    answer,
    '{"code": -1003, "msg": "Too many requests; current limit is 2400 requests per minute."}',
)
