"""A venue that never was: for trying a keeper on a local chain without a data folder."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

from perpool.history import DAY, MarketHistory, canonical_symbol, synthetic_market
from perpool.keeper.model import LeftOut, Reading
from perpool.keeper.sources.history import HistoryVenue
from perpool.keeper.sources.panel import Panel

SYNTHETIC = "synthetic"
PERIOD = 90 * DAY
"""After which a market begins again."""


class SyntheticVenue(HistoryVenue):
    """Markets with the statistics of real ones, each the same at a time whoever asks."""

    def __init__(self, markets: Sequence[str]) -> None:
        super().__init__(SYNTHETIC, {each: _market(each) for each in markets})

    def read(self, markets: Sequence[str], now: int) -> dict[str, Reading | LeftOut]:
        return super().read(markets, now % PERIOD)


def synthetic_panel(markets: Sequence[str], **options: Any) -> Panel:
    """The one venue; `options` go to Panel."""
    return Panel([SyntheticVenue(markets)], **options)


def _market(market: str) -> MarketHistory:
    symbol = canonical_symbol(market)
    # from a day earlier on, so that there is a price at once
    return synthetic_market(-DAY, PERIOD, seed=zlib.crc32(symbol.encode()), symbol=symbol)
