"""Four days around the crash of 2025-10-10, as three venues printed funding, through the oracle.

Every hour five reporters sign what they saw: two read all venues, one lost a venue, one is an hour
late, one believes a single venue. The venues of one hour differ by hundreds of percent; the oracle
stays within what they say, and within its bounds. Without the data folder a made-up history with
the same statistics is replayed.
"""

from __future__ import annotations

import csv
import gzip
import random
import statistics
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest

from perpool.evm import Contract, Evm
from perpool.history import find_data
from perpool.reference import oracle as reference
from perpool.reports import Domain, rate_units, unpack_rates
from tests.oracles import Panel, token_list

FILE = "multivenue_funding_2025-08_2026-08.csv.gz"
START = 1_759_968_000  # 2025-10-09 00:00 UTC
HOURS = 96
HOUR = 3_600
VENUES = ("binance", "bybit", "hyperliquid")
BOUND = 5 * 10**9
"""500 % a year, in units of 1e-9."""
UNIT = 10**9

Prints = dict[str, dict[str, list[tuple[int, int]]]]
"""Symbol -> venue -> (time, rate in units) of each settlement, ascending."""


@dataclass(frozen=True)
class History:
    """What the venues printed, and what any of them last said at a time."""

    prints: Prints

    @property
    def symbols(self) -> list[str]:
        return sorted(self.prints)

    def seen(self, symbol: str, at: int) -> dict[str, int]:
        """The last rate of each venue that has one of the last eight hours."""
        last = {
            venue: max((time, rate) for time, rate in prints if time <= at)
            for venue, prints in self.prints[symbol].items()
            if any(time <= at for time, _ in prints)
        }
        return {venue: rate for venue, (time, rate) in last.items() if time > at - 8 * HOUR}


def recorded(file: Path) -> History:
    """The real prints."""
    prints: Prints = defaultdict(lambda: defaultdict(list))
    with gzip.open(file, "rt") as lines:
        for row in csv.DictReader(lines):
            time = int(row["ts"])
            if START - 12 * HOUR <= time <= START + HOURS * HOUR:
                rate = Decimal(row["rate"]) * 8_760 / Decimal(row["interval_h"])
                prints[row["symbol"]][row["venue"]].append((time, rate_units(rate)))
    for venues in prints.values():
        for each in venues.values():
            each.sort()
    return History(prints)


def made_up() -> History:
    """A steady market with venues that disagree, and one crash in which one of them runs wild."""
    rng = random.Random(1)
    prints: Prints = defaultdict(lambda: defaultdict(list))
    for symbol in ("AAA", "BBB", "CCC", "DDD", "EEE"):
        for venue in VENUES:
            interval = 1 if venue == "hyperliquid" else 8
            for hour in range(-16, HOURS + 1, interval):
                rate = int(rng.gauss(0.11, 0.08) * 10**9)
                if hour == 48:
                    rate = {"binance": 493, "bybit": -6_351, "hyperliquid": -1_139}[venue] * 10**6
                prints[symbol][venue].append((START + hour * HOUR, rate))
    return History(prints)


@pytest.fixture(scope="module")
def history() -> History:
    folder = find_data(None)
    return recorded(folder.path / FILE) if folder else made_up()


def row(history: History, symbol: str, reporter: int, at: int) -> int | None:
    """What a reporter says of a symbol, None where he has nothing."""
    rates = history.seen(symbol, at - HOUR if reporter == 3 else at)
    if reporter == 2:
        rates.pop("binance", None)
    if reporter == 4:
        rates = {venue: rate for venue, rate in rates.items() if venue == "hyperliquid"}
    return reference.median([*rates.values()]) if rates else None


@pytest.fixture(scope="module")
def oracle(chain: Evm) -> Iterator[Contract]:
    with chain.anchor():
        yield chain.deploy("FundingOracle", 900)


def test_replay__the_crash_of_2025_10_10(chain: Evm, oracle: Contract, history: History) -> None:
    panel = Panel.seat(chain, oracle, Domain.of_funding_oracle)
    tokens = token_list(chain, len(history.symbols))
    model = reference.FundingOracle(3)
    for token in tokens:
        oracle.set_feed(token, -BOUND * UNIT, BOUND * UNIT, 24 * HOUR)
        model.set_feed(token, -BOUND, BOUND, 24 * HOUR)
    chain.warp(START - chain.timestamp)
    apart, moved = 0, []
    for hour in range(HOURS):
        at = START + hour * HOUR
        chain.warp(max(0, at + 30 - chain.timestamp))
        rows = [
            [row(history, symbol, reporter, at) for symbol in history.symbols]
            for reporter in range(5)
        ]
        before = {token: model.feeds[token].ema for token in tokens}
        (event,) = oracle.submit.transact(*panel.funding_round(at, tokens, rows)).logs
        updated = model.submit(at, tokens, rows)
        emas = unpack_rates(event.args.emas, len(tokens))
        assert emas == [updated[t].ema if t in updated else None for t in tokens]
        for index, (symbol, token) in enumerate(zip(history.symbols, tokens, strict=True)):
            assert oracle.funding(token) == reference.funding_wad(model.feeds, token)
            said = [rows[reporter][index] for reporter in range(5)]
            rates = [rate for rate in said if rate is not None]
            feed = model.feeds[token]
            if token not in updated:
                assert len(rates) < 3
                continue
            # never beyond what somebody saw, whoever is late, blind or gullible
            middle = statistics.median(rates)
            assert min(rates) <= middle <= max(rates)
            assert abs(feed.median - reference.clamp(int(middle), -BOUND, BOUND)) <= 1
            assert feed.clamped == (abs(middle) > BOUND)
            if hour:
                moved.append(abs(feed.ema - before[token]))
            now = history.seen(symbol, at).values()
            apart += len(now) == 3 and max(now) - min(now) > 10**9
    # the venues were more than 100 % a year apart in some hours
    assert apart >= 5
    # an hour is worth 4 % of the average: no print moved it by more than that of the bounds' width
    assert max(moved) <= 2 * BOUND * 41 // 1_000
    assert statistics.median(moved) < 10**7


def test_history__made_up_has_the_shape_of_the_recorded(history: History) -> None:
    # so that a run without the data folder tests as much
    synthetic = made_up()
    for each in (history, synthetic):
        assert len(each.symbols) >= 5
        for symbol in each.symbols:
            assert set(each.prints[symbol]) <= set(VENUES)
    assert any(len(synthetic.seen(symbol, START)) == 3 for symbol in synthetic.symbols)
