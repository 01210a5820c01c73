"""hyperliquid: one path for all; markets and their states are two lists in one order."""

from __future__ import annotations

from typing import Any

from tests.exchanges.formats.format import Format
from tests.exchanges.quotes import Quote


def answer(path: str, request: dict[str, Any], quotes: list[Quote], now: int) -> Any:
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


FORMAT = Format({"public": ""}, answer, "null")
