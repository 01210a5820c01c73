"""The whole multi-venue year through the keeper: eleven assets, three venues, hour by hour.

Without the data folder three synthetic venues of two assets are replayed, for a month.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import timedelta
from decimal import Decimal
from statistics import median

import pytest

from perpool.history import HOUR, YEAR_HOURS, DataFolder, MarketHistory, find_data, synthetic_market
from perpool.keeper.replay import BOUND_UNITS, TAU, Replay
from perpool.keeper.sources import HistoryVenue, Panel
from perpool.reference.oracle import FundingFeed
from perpool.reports import rate_units

VENUES = ("binance", "bybit", "hyperliquid")
MARKETS = ("APT", "ARB", "BTC", "DOGE", "ETH", "INJ", "LINK", "SOL", "SUI", "TIA", "XRP")
MONTH = 30 * 24 * HOUR
Series = dict[str, dict[str, MarketHistory]]
"""Venue -> market -> what it printed."""


def recorded(folder: DataFolder) -> Series:
    """The data folder's year, turned about."""
    series: Series = {venue: {} for venue in VENUES}
    for market in MARKETS:
        for venue, history in folder.load_venues(market).items():
            series[venue][market] = history
    return series


def made_up() -> Series:
    """A month with the statistics of real ones."""
    start = 1_755_752_400 // (24 * HOUR) * 24 * HOUR
    return {
        venue: {
            market: synthetic_market(start, start + MONTH, seed=10 * i + j, symbol=market)
            for j, market in enumerate(MARKETS[:2])
        }
        for i, venue in enumerate(VENUES)
    }


def annual(history: MarketHistory, time: int) -> Decimal | None:
    """The rate settled last, as long as the one after it is not overdue."""
    settled = history.settlements
    index = bisect_right([each.time for each in settled], time) - 1
    if index < 0:
        return None
    last = settled[index]
    hours = max(each.hours for each in settled[index : index + 2])
    return last.rate * YEAR_HOURS / last.hours if time < last.time + hours * HOUR else None


@pytest.fixture(scope="module")
def series() -> Series:
    folder = find_data(None)
    return made_up() if folder is None else recorded(folder)


def test_replay__the_year_equals_a_direct_computation(series: Series) -> None:
    markets = sorted(series[VENUES[0]])
    everything = [each for venue in series.values() for each in venue.values()]
    # from when all venues have printed, for as long as all of them go on
    start = max(each.settlements[0].time for each in everything)
    end = min(each.settlements[-1].time for each in everything)
    panel = Panel([HistoryVenue(venue, each) for venue, each in series.items()])
    replay = Replay(panel, markets, start, end, min_venues=len(VENUES))
    steps = sum(1 for _ in replay.run())
    hours = range(-(-start // HOUR) * HOUR, end, HOUR)
    assert steps == len(hours)

    for market, record in replay.records.items():
        feed = FundingFeed(-BOUND_UNITS, BOUND_UNITS, TAU)
        expected = []
        for time in hours:
            rates = [annual(each[market], time) for each in series.values()]
            assert None not in rates
            feed = feed.fold(time, rate_units(median(rates)))
            expected.append((time, feed.median / 10**9, feed.ema / 10**9))
        assert list(zip(record.times, record.medians, record.emas, strict=True)) == expected
        assert record.missed(timedelta(hours=1)) == 0
        assert record.unheard == 0
        # the chain itself, once more, at the end
        found = replay.oracle.feed(replay.token(market))
        assert (found.ema_wad, found.observed_at) == (feed.ema * 10**9, feed.observed_at)
