"""Where funding and prices come from: live exchanges, recorded history, or a synthetic market.

    panel = exchange_panel({"binance": {}, "okx": {}, "gate": {}})
    for observation in panel.observe(["ADA", "BTC"], now):
        observation.readings, observation.left_out

A `Venue` says what it has of each market, or why it has nothing of use. A `Panel` asks its venues
side by side, waits no longer than its timeout, and leaves out what its `Limits` do not allow. It
never fails as a whole and never makes anything up.
"""

from perpool.keeper.sources.exchanges import (
    EXCHANGES,
    ExchangeVenue,
    SourceError,
    exchange_panel,
)
from perpool.keeper.sources.history import HistoryVenue, history_panel, panel_of
from perpool.keeper.sources.panel import Limits, Panel, Venue, check
from perpool.keeper.sources.synthetic import SYNTHETIC, SyntheticVenue, synthetic_panel

__all__ = [
    "EXCHANGES",
    "SYNTHETIC",
    "ExchangeVenue",
    "HistoryVenue",
    "Limits",
    "Panel",
    "SourceError",
    "SyntheticVenue",
    "Venue",
    "check",
    "exchange_panel",
    "history_panel",
    "panel_of",
    "synthetic_panel",
]
