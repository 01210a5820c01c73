"""Venues that are recorded history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from perpool.history import DataFolder, HistoryError, MarketHistory, canonical_symbol
from perpool.keeper.model import Funding, LeftOut, Reading, ReadingError
from perpool.keeper.sources.panel import Panel


class HistoryVenue:
    """One venue's recorded markets: the funding settled last and the newest price then known.

    Its readings have no time of their own: they are as of the time that is asked for.
    """

    def __init__(self, name: str, markets: Mapping[str, MarketHistory]) -> None:
        self.name = name
        self.markets = {canonical_symbol(market): each for market, each in markets.items()}

    def read(self, markets: Sequence[str], now: int) -> dict[str, Reading | LeftOut]:
        return {market: self._read(market, now) for market in markets}

    def _read(self, market: str, now: int) -> Reading | LeftOut:
        history = self.markets.get(canonical_symbol(market))
        if history is None:
            return LeftOut(self.name, f"it has no history of {market}", "symbol")
        settled = history.settlement_at(now)
        price = history.price_at(now)
        if settled is None and price is None:
            return LeftOut(self.name, "it has no funding and no price at this time", "no value")
        try:
            funding = Funding(settled.rate, timedelta(hours=settled.hours)) if settled else None
            return Reading(self.name, funding, mark_price=price)
        except ReadingError as error:
            return LeftOut(self.name, str(error), "malformed")


def history_panel(path: Path, markets: Sequence[str], **options: Any) -> Panel:
    """The recorded venues of a data folder; `options` go to Panel.

    A market that is in the folder's multi-venue file has all venues of that file, where its own
    hourly prices, if there are any, are binance's, from which the folder has them. Any other market
    has its own series as its one venue, "binance". Raises HistoryError for a market that the folder
    does not have.
    """
    folder = DataFolder(path)
    venues: dict[str, dict[str, MarketHistory]] = {}
    for market in markets:
        for venue, history in _venues(folder, market).items():
            venues.setdefault(venue, {})[market] = history
    return Panel([HistoryVenue(venue, each) for venue, each in venues.items()], **options)


def panel_of(history: MarketHistory, venue: str = "history") -> Panel:
    """One market of one venue."""
    return Panel([HistoryVenue(venue, {history.symbol: history})])


def _venues(folder: DataFolder, market: str) -> dict[str, MarketHistory]:
    venues = folder.load_venues(market)
    if not venues:
        return {"binance": folder.load(market)}
    try:
        candles = folder.load(market).candles
    except HistoryError:
        candles = ()
    if candles and "binance" in venues:
        venues["binance"] = replace(venues["binance"], candles=candles)
    return venues
