"""gate: a row has all there is of a market."""

from __future__ import annotations

from typing import Any

from perpool.history import HOUR
from tests.exchanges.formats.format import Format, settled
from tests.exchanges.quotes import Quote


def answer(path: str, request: dict[str, Any], quotes: list[Quote], now: int) -> Any:
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
            past = settled(quotes, request["contract"].split("_")[0], int(request["limit"]))
            return [{"r": rate, "t": at} for at, rate in reversed(past)]
    return None


FORMAT = Format(
    {"public": {"futures": "/api/v4", "spot": "/api/v4"}},
    answer,
    '{"label": "TOO_MANY_REQUESTS", "message": "Request Rate limit Exceeded"}',
)
