"""From HTTP to what reporters sign and to the average on chain, against the file itself.

ccxt itself, unpatched, talks to exchanges that are a stand-in on loopback, which plays the recorded
funding of three venues hour by hour. Medians and averages are computed once more straight from the
file.
"""

from __future__ import annotations

import csv
import gzip
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from perpool.anvil import Anvil
from perpool.history import DAY, HOUR, find_data, parse_time, synthetic_market
from perpool.keeper.aggregate import aggregate
from perpool.keeper.local import LocalKeeper
from perpool.keeper.model import Observation
from perpool.keeper.sources import Panel, exchange_panel
from perpool.reference.oracle import FundingFeed
from perpool.reports import rate_units
from tests.exchanges import StandIn
from tests.keeper_stage import Stage, key

VENUES = ("binance", "bybit", "hyperliquid")
MARKETS = ("APT", "BTC", "INJ", "TIA")
START = parse_time("2026-02-19T04:00")
BOUND = 10 * 10**9
"""Of a feed as it is deployed, in 1e-9 a year."""
HOURS = 36
"""At 16:00 bybit went from 8 hours to 1 for INJ, with -1 % in the settlement before; TIA has 4."""


@dataclass(frozen=True)
class Row:
    """A settlement, as the file has it."""

    time: int
    annual: Decimal
    hours: int


Rows = Mapping[tuple[str, str], list[Row]]
"""By market and venue, in the order of time."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder, or where there is none three synthetic venues of the same markets."""
    found = find_data(None)
    return found.path if found else synthetic_folder(tmp_path_factory.mktemp("data"))


def synthetic_folder(path: Path) -> Path:
    """Markets of 8 hours, and of 4 after a crash, whose third venue settles each hour."""
    (path / "funding").mkdir()
    with gzip.open(path / "multivenue_funding_synthetic.csv.gz", "wt", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["ts", "venue", "symbol", "rate", "interval_h", "mark_price"])
        for number, market in enumerate(MARKETS):
            for place, venue in enumerate(VENUES):
                history = synthetic_market(
                    START - 6 * DAY, START + 2 * DAY, seed=3 * number + place
                )
                for each in history.settlements:
                    hours = range(each.hours) if venue == "hyperliquid" else [0]
                    interval = 1 if venue == "hyperliquid" else each.hours
                    for hour in hours:
                        rate = each.rate * interval / each.hours
                        time = each.time - hour * HOUR
                        writer.writerow([time, venue, market, f"{rate:f}", interval, ""])
    return path


@pytest.fixture(scope="module")
def rows(folder: Path) -> Rows:
    """The file, read by nothing of ours."""
    found: defaultdict[tuple[str, str], list[Row]] = defaultdict(list)
    for path in sorted(folder.glob("multivenue_funding_*.csv.gz")):
        with gzip.open(path, "rt", newline="") as file:
            for line in csv.DictReader(file):
                time = int(line["ts"])
                if line["symbol"] not in MARKETS or not -DAY < time - START < 3 * DAY:
                    continue
                hours = int(line["interval_h"])
                row = Row(time, Decimal(line["rate"]) * 8_760 / hours, hours)
                found[line["symbol"], line["venue"]].append(row)
    return {key: sorted(each, key=lambda row: row.time) for key, each in found.items()}


@pytest.fixture(scope="module")
def played(folder: Path) -> Iterator[StandIn]:
    with StandIn() as exchanges:
        exchanges.play_folder(folder, MARKETS)
        yield exchanges


@pytest.fixture
def exchanges(played: StandIn) -> Iterator[StandIn]:
    """Exchanges that play the folder, from START on; the test's faults are mended after it."""
    played.time = START
    yield played
    for venue in VENUES:
        played.mend(venue)


@pytest.fixture
def panel(exchanges: StandIn) -> Panel:
    return exchange_panel(
        {venue: exchanges.options(venue) for venue in VENUES},
        clock=lambda: int(exchanges.time or 0),
    )


def running(rows: Rows, market: str, now: int) -> dict[str, Row]:
    """The settlement at the end of each venue's interval that a time lies in."""
    return {venue: next(row for row in rows[market, venue] if row.time > now) for venue in VENUES}


def replay(
    exchanges: StandIn, panel: Panel, before: Callable[[int], None] = lambda _hour: None
) -> Iterator[tuple[int, list[Observation]]]:
    """(time, what the panel observes), twice an hour: on it and within it."""
    for half in range(2 * HOURS):
        now = START + half * HOUR // 2
        exchanges.time = now
        before(half // 2)
        yield now, panel.observe(MARKETS, now)


def test_values__medians_of_the_file(exchanges: StandIn, panel: Panel, rows: Rows) -> None:
    intervals = defaultdict(set)
    for now, observations in replay(exchanges, panel):
        for observation in observations:
            market = observation.market
            assert observation.left_out == ()
            said = {each.venue: each.funding for each in observation.readings}
            expected = running(rows, market, now)
            assert {venue: each and each.annual for venue, each in said.items()} == {
                venue: row.annual for venue, row in expected.items()
            }
            annual = [row.annual for row in expected.values()]
            found = aggregate(observation, min_venues=3)
            assert found.funding is not None
            assert found.funding.median == statistics.median(annual)
            assert found.funding.spread == max(annual) - min(annual)
            assert found.funding.venues == 3
            # hyperliquid's prices are not in USDT, and two are not enough
            assert found.price is None
            for venue, row in expected.items():
                intervals[market, venue].add(row.hours)
    # it was no easy stretch: intervals differ, between venues and from one time to another
    assert {hours for each in intervals.values() for hours in each} >= {1, 4, 8}
    assert any(len(each) > 1 for each in intervals.values())


def test_values__with_a_venue_down_for_some_hours(
    exchanges: StandIn, panel: Panel, rows: Rows
) -> None:
    down = range(10, 14)

    def before(hour: int) -> None:
        if hour == down.start:
            exchanges.fault("bybit", "down")
        elif hour == down.stop:
            exchanges.mend("bybit")

    for now, observations in replay(exchanges, panel, before):
        missing = {"bybit"} if (now - START) // HOUR in down else set()
        for observation in observations:
            assert {each.venue for each in observation.left_out} == missing
            expected = running(rows, observation.market, now)
            annual = [row.annual for venue, row in expected.items() if venue not in missing]
            found = aggregate(observation, min_venues=2).funding
            assert found is not None
            assert (found.median, found.venues) == (statistics.median(annual), len(annual))
            # and of too few there is none, rather than one made up
            assert (aggregate(observation, min_venues=3).funding is None) == bool(missing)


# -- and on to the chain --

FAULTS: Mapping[int, tuple[str, str, Mapping[str, object]]] = {
    # hour -> exchange, what is wrong with it, details
    6: ("bybit", "down", {}),
    7: ("bybit", "html", {}),
    12: ("binance", "lying", {"rate": "0.9"}),
    13: ("hyperliquid", "null", {}),
    18: ("hyperliquid", "slow", {"seconds": 30}),
    24: ("binance", "limited", {}),
    25: ("bybit", "stale", {}),
    30: ("bybit", "truncated", {}),
}


def test_chain__the_average_of_the_file(exchanges: StandIn, rows: Rows, tmp_path: Path) -> None:
    def clock() -> int:
        return int(exchanges.time or 0)

    panel = exchange_panel(
        {venue: exchanges.options(venue) for venue in VENUES},
        timeout=timedelta(seconds=2),
        clock=clock,
    )
    with Anvil(timestamp=START - HOUR) as anvil:
        stage = Stage.set_up(anvil, tmp_path, MARKETS)
        chain, record = stage.chain, stage.record
        chain.rpc("evm_setAutomine", True)
        chain.set_balance(key("payer").address, 10**20)
        oracle = chain.contract("FundingOracle", record.address("FundingOracle"))
        reporters = [key(f"reporter {number}") for number in range(3)]
        feeds = dict.fromkeys(MARKETS, FundingFeed(-BOUND, BOUND, DAY))
        with LocalKeeper(
            anvil.endpoint, record, panel, reporters, key("payer"), clock=clock, min_venues=2
        ) as keeper:
            for hour in range(HOURS):
                now = START + hour * HOUR
                exchanges.time = now
                chain.mine(timestamp=now)
                faulty, fault, details = FAULTS.get(hour, ("", "", {}))
                if faulty:
                    exchanges.fault(faulty, fault, **details)
                outcome = keeper.round()
                if faulty:
                    exchanges.mend(faulty)
                assert outcome.refused == ()
                for market in MARKETS:
                    said = running(rows, market, now).items()
                    annual = [row.annual for venue, row in said if venue != faulty]
                    rate = rate_units(statistics.median(annual))
                    feeds[market] = feeds[market].fold(now, rate)
                    found = oracle.feed(record.markets[market]["token"])
                    assert found.observed_at == now
                    assert found.median_wad == feeds[market].median * 10**9
                    assert found.ema_wad == feeds[market].ema * 10**9
                    for leg in ("reverse", "forward"):
                        pool = chain.contract("ReversePool", record.markets[market][leg])
                        assert pool.state().funding_wad == found.ema_wad
