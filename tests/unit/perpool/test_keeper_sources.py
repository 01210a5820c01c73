"""The panel of venues: what it leaves out, how long it waits; and venues of recorded history."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from perpool.history import Candle, HistoryError, MarketHistory, Settlement
from perpool.keeper.model import Funding, LeftOut, Observation, Reading
from perpool.keeper.sources import (
    HistoryVenue,
    Limits,
    Panel,
    SyntheticVenue,
    check,
    history_panel,
    panel_of,
    synthetic_panel,
)

HOUR = 3_600
NOW = 1_760_000_400
D = Decimal


def reading(
    venue: str = "a",
    rate: str | None = "0.0001",
    hours: int = 8,
    *,
    price: str | None = "1.5",
    mark: str | None = None,
    at: int | None = NOW,
) -> Reading:
    funding = None if rate is None else Funding(D(rate), timedelta(hours=hours))
    prices = [None if each is None else D(each) for each in (price, mark)]
    return Reading(venue, funding, *prices, time=at)


class Scripted:
    """A venue that answers what it is told to."""

    def __init__(self, name: str, answer: Callable[[], Mapping[str, Reading | LeftOut]]) -> None:
        self.name = name
        self.answer = answer
        self.asked: list[tuple[tuple[str, ...], int]] = []

    def read(self, markets: Sequence[str], now: int) -> Mapping[str, Reading | LeftOut]:
        self.asked.append((tuple(markets), now))
        return self.answer()


def honest(name: str) -> Scripted:
    return Scripted(name, lambda: {"ADA": reading(name), "XRP": reading(name, "0.0002")})


def panel(*venues: Scripted, timeout: float = 5, limits: Limits | None = None) -> Panel:
    return Panel(venues, limits, timedelta(seconds=timeout), clock=lambda: NOW)


# -- limits --


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (reading(), None),
        (reading(at=NOW - 120), None),
        (reading(at=NOW - 121), "stale"),
        (reading(at=NOW + 30), None),
        (reading(at=NOW + 31), "future"),
        (reading(at=None), None),
        (reading(hours=1), None),
        (reading(hours=2), None),
        (reading(hours=4), None),
        (reading(hours=6), None),
        (reading(hours=9), "interval"),
        (reading(hours=24), "interval"),
        (reading("binance", "0.03"), None),
        (reading("binance", "-0.03"), None),
        (reading("binance", "0.030001"), "rate cap"),
        (reading("binance", "-0.030001"), "rate cap"),
        (reading("hyperliquid", "0.04", hours=1), None),
        (reading("hyperliquid", "0.0401", hours=1), "rate cap"),
        (reading("nobody knows it", "0.0401"), "rate cap"),
        (reading(mark="2.25"), None),
        (reading(mark="0.75"), None),
        (reading(mark="2.251"), "basis"),
        (reading(mark="0.749"), "basis"),
        (reading(price=None, mark="2.251"), None),
        (reading(rate=None), None),
        (reading(price=None), None),
        (reading(rate=None, price=None), "no value"),
    ],
)
def test_check__each_limit(said: Reading, kind: str | None) -> None:
    found = check(said, NOW, Limits())
    assert (found and found.kind) == kind
    assert found is None or (found.venue == said.venue and found.reason)


def test_limits__caps_of_the_operator_before_the_defaults() -> None:
    limits = Limits(max_rate={"okx": D("0.01")}, default_max_rate=D("0.5"))
    caps = [limits.cap(each) for each in ("okx", "binance", "unknown")]
    assert caps == [D("0.01"), D("0.03"), D("0.5")]


# -- the panel --


def test_observe__every_market_of_every_venue() -> None:
    a, b = honest("a"), honest("b")
    assert panel(a, b).observe(["XRP", "ADA"], 5) == [
        Observation("XRP", (reading("a", "0.0002"), reading("b", "0.0002"))),
        Observation("ADA", (reading("a"), reading("b"))),
    ]
    assert a.asked == b.asked == [(("XRP", "ADA"), 5)]


def test_observe__no_venues() -> None:
    assert panel().observe(["ADA"], 5) == [Observation("ADA", ())]


def test_observe__what_is_of_no_use_is_left_out_of_one_market_alone() -> None:
    refused = LeftOut("b", "it has no perpetual of ADA", "symbol")
    b = Scripted("b", lambda: {"ADA": refused, "XRP": reading("b")})
    c = Scripted("c", lambda: {"ADA": reading("c", at=NOW - 1_000), "XRP": reading("c")})
    d = Scripted("d", lambda: {"XRP": reading("d")})
    ada, xrp = panel(honest("a"), b, c, d).observe(["ADA", "XRP"], NOW)
    assert [each.venue for each in ada.readings] == ["a"]
    assert ada.left_out[0] == refused
    assert [(each.venue, each.kind) for each in ada.left_out[1:]] == [
        ("c", "stale"),
        ("d", "no value"),
    ]
    assert [each.venue for each in xrp.readings] == ["a", "b", "c", "d"]


def test_observe__venue_that_raises() -> None:
    def fail() -> Mapping[str, Reading | LeftOut]:
        raise RuntimeError("https://user:secret@nowhere")

    [found] = panel(Scripted("b", fail), honest("a")).observe(["ADA"], NOW)
    assert [each.venue for each in found.readings] == ["a"]
    [left_out] = found.left_out
    assert (left_out.venue, left_out.kind) == ("b", "unreachable")
    assert "RuntimeError" in left_out.reason
    assert "secret" not in left_out.reason


def test_observe__side_by_side() -> None:
    meeting = threading.Barrier(3)

    def meet() -> Mapping[str, Reading | LeftOut]:
        meeting.wait(5)  # for the other two, who have to be asked meanwhile
        return {"ADA": reading()}

    [found] = panel(*(Scripted(name, meet) for name in "abc")).observe(["ADA"], NOW)
    assert len(found.readings) == 3


@pytest.fixture
def hanging() -> Iterator[tuple[Scripted, threading.Event]]:
    """A venue that does not answer before the event."""
    released = threading.Event()

    def hang() -> Mapping[str, Reading | LeftOut]:
        released.wait(30)
        return {"ADA": reading("slow")}

    yield Scripted("slow", hang), released
    released.set()


def test_observe__slow_venue_is_not_waited_for(hanging: tuple[Scripted, threading.Event]) -> None:
    started = time.monotonic()
    [found] = panel(hanging[0], honest("a"), timeout=0.1).observe(["ADA"], NOW)
    assert time.monotonic() - started < 2
    assert [each.venue for each in found.readings] == ["a"]
    assert found.left_out == (LeftOut("slow", "no answer within 0.1 s", "slow"),)
    # nor does it keep the process from ending
    assert {each.daemon for each in threading.enumerate() if each.name == "venue slow"} == {True}


def test_observe__slow_venue_costs_one_thread(hanging: tuple[Scripted, threading.Event]) -> None:
    venue, released = hanging
    several = panel(venue, honest("a"), timeout=0.05)
    several.observe(["ADA"], NOW)
    threads = threading.active_count()
    for _ in range(5):
        [found] = several.observe(["ADA"], NOW)
        assert [each.kind for each in found.left_out] == ["slow"]
        assert "busy" in found.left_out[0].reason
    assert len(venue.asked) == 1
    assert threading.active_count() <= threads
    # and takes part again when it has answered
    released.set()
    for _ in range(100):
        [found] = several.observe(["ADA"], NOW)
        if not found.left_out:
            break
        time.sleep(0.01)
    assert {each.venue for each in found.readings} == {"slow", "a"}
    assert len(venue.asked) == 2


def test_observe__no_more_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    [found] = panel(honest("a")).observe(["ADA"], NOW)
    assert [each.kind for each in found.left_out] == ["unreachable"]


def test_observe__two_threads_at_once() -> None:
    def take_a_moment() -> Mapping[str, Reading | LeftOut]:
        time.sleep(0.05)
        return {"ADA": reading()}

    shared = panel(Scripted("a", take_a_moment))
    found: list[Observation] = []
    threads = [
        threading.Thread(target=lambda: found.extend(shared.observe(["ADA"], NOW)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # none is told that the venue is busy: each gets its turn
    assert [len(each.readings) for each in found] == [1, 1, 1]


def test_panel__venue_with_two_voices() -> None:
    with pytest.raises(ValueError, match="one voice"):
        panel(honest("a"), honest("a"))


def test_close__venues_that_hold_connections() -> None:
    class Connected(Scripted):
        closed = False

        def close(self) -> None:
            self.closed = True

    venue = Connected("b", dict)
    panel(honest("a"), venue).close()
    assert venue.closed


# -- history --


def history(hours: int, rate: str = "0.001") -> MarketHistory:
    settlements = tuple(Settlement(hour * HOUR, D(rate), hours) for hour in range(0, 9, hours))
    candles = tuple(Candle(hour * HOUR, *[D("1.5")] * 4) for hour in range(4))
    return MarketHistory("ADA", settlements, candles, "here")


@pytest.mark.parametrize("hours", [1, 2, 4, 8])
def test_history__annual_rate_by_its_own_interval(hours: int) -> None:
    # our clock is years on: what is recorded is as of the time that is asked for
    [found] = panel_of(history(hours)).observe(["ada"], HOUR)
    [said] = found.readings
    assert said.venue == "history"
    assert said.funding is not None
    assert said.funding.interval == timedelta(hours=hours)
    assert said.funding.annual == D("0.001") * 8_760 / hours
    assert (said.price, said.index_price) == (D("1.5"), None)


def test_history__price_too_old() -> None:
    [found] = panel_of(history(8)).observe(["ADA"], 7 * HOUR)
    [said] = found.readings
    assert said.price is None
    assert said.funding is not None


@pytest.mark.parametrize(
    ("market", "hour", "kind"), [("ADA", 20, "no value"), ("XRP", 1, "symbol")]
)
def test_history__nothing_known(market: str, hour: int, kind: str) -> None:
    [found] = panel_of(history(1)).observe([market], hour * HOUR)
    assert not found.readings
    assert [each.kind for each in found.left_out] == [kind]


def test_history__row_of_no_use() -> None:
    broken = MarketHistory("ADA", (Settlement(0, D("0.1"), 48),), (), "here")
    found = HistoryVenue("a", {"ADA": broken}).read(["ADA"], HOUR)["ADA"]
    assert isinstance(found, LeftOut)
    assert found.kind == "malformed"


def write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt") as file:
        file.write("\n".join(lines) + "\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """ADA on two venues with hourly prices, APT on one without, XRP as a series of its own."""
    write(
        tmp_path / "multivenue_funding_2025.csv.gz",
        "ts,venue,symbol,rate,interval_h,mark_price",
        "28800,binance,ADA,0.0001,8,1.4",
        "28800,bybit,ADA,0.0002,4,",
        "28800,bybit,APT,0.0004,8,",
    )
    write(
        tmp_path / "perp_1h/ADAUSDT.csv.gz", "ts,open,high,low,close,volume", "28800,1,1,1,1.25,1"
    )
    for symbol in ("ADA", "XRP"):
        write(
            tmp_path / f"funding/{symbol}USDT.csv.gz",
            "ts,datetime,rate,interval_h,apr,mark_price",
            "28800,,0.0003,8,,2.5",
        )
    return tmp_path


def test_history_panel__all_venues_where_the_folder_has_them(folder: Path) -> None:
    panel = history_panel(folder, ["ADA", "XRP", "APT"])
    ada, xrp, apt = panel.observe(["ADA", "XRP", "APT"], 28_800 + HOUR)
    said = [(each.venue, each.funding and each.funding.annual, each.price) for each in ada.readings]
    assert said == [
        ("binance", D("0.1095"), D("1.25")),
        ("bybit", D("0.438"), None),
    ]
    assert [(each.venue, each.price) for each in xrp.readings] == [("binance", D("2.5"))]
    assert [each.venue for each in apt.readings] == ["bybit"]
    assert [(each.venue, each.kind) for each in apt.left_out] == [("binance", "symbol")]


def test_history_panel__unknown_market(folder: Path) -> None:
    with pytest.raises(HistoryError, match="there is no market FOO"):
        history_panel(folder, ["FOO"])


# -- a synthetic market --


def test_synthetic__a_value_at_any_time() -> None:
    panel = synthetic_panel(["ADA"])
    for now in (0, 1_621_411_200, 1_621_411_200 // (90 * 86_400) * 90 * 86_400, 2_000_000_001):
        [observation] = panel.observe(["ADA"], now)
        assert observation.left_out == ()
        [reading] = observation.readings
        assert reading.venue == "synthetic"
        assert reading.funding is not None
        assert reading.price is not None


def test_synthetic__the_same_for_every_reporter_and_another_for_each_market() -> None:
    markets = ["ADA", "XRP"]
    now = 1_621_411_200
    first, second = SyntheticVenue(markets).read(markets, now), SyntheticVenue(["ADA"])
    assert first["ADA"] == second.read(["ADA"], now)["ADA"] != first["XRP"]
    assert isinstance(second.read(["XRP"], now)["XRP"], LeftOut)
