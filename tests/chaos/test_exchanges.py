"""Exchanges that are slow, down, lying, or say nonsense.

Five keys sign what one panel reads through ccxt, over HTTP. A round has to be the median of exactly
those exchanges that are well: `world.verify` computes it from what they said.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from tests.chaos.world import BLOCK, MINUTE, START, VENUES, World, figure, truth
from tests.keeper_stage import MARKETS, REPORTERS

Record = Callable[[str, object], None]


@pytest.fixture
def running(world: World) -> World:
    """Everything at work, and some rounds behind it."""
    world.add_all_in_one(world.connect_panel())
    world.add_desk()
    world.run(minutes=2)
    return world


def live_through(
    world: World, record: Record, venue: str, fault: str, kind: str, **details: Any
) -> None:
    """Have an exchange out of order for longer than any heartbeat: it is left out, and comes
    back."""
    with world.fault(without=[venue]):
        world.stand_in.fault(venue, fault, **details)
        world.run(minutes=7)
    assert left_out(world, venue, kind) == 7 * len(MARKETS)
    world.stand_in.mend(venue)
    world.finish(record)
    assert counted(world) == len(VENUES)


def left_out(world: World, venue: str, kind: str) -> float:
    """How often an exchange was left out, markets counted apart."""
    return figure(world.reporters[0].metrics, "left_out", venue=venue, kind=kind)


def counted(world: World) -> float:
    """Exchanges in the newest median."""
    return min(
        figure(world.reporters[0].metrics, "venues", market=market, value=value)
        for market in MARKETS
        for value in ("funding", "price")
    )


# -- no answer --


def test_exchange_down(running: World, record_property: Record) -> None:
    live_through(running, record_property, "okx", "down", "unreachable")


def test_exchange_down__since_before_the_start(world: World, record_property: Record) -> None:
    world.mine(MINUTE - BLOCK)
    with world.fault(without=["bybit"]):
        world.stand_in.fault("bybit", "down")
        world.add_all_in_one(world.connect_panel())
        world.add_desk()
        world.run(minutes=7)
    assert left_out(world, "bybit", "unreachable") == 7 * len(MARKETS)
    world.stand_in.mend("bybit")
    world.finish(record_property)
    assert counted(world) == len(VENUES)


def test_exchange_refuses_connections(running: World, record_property: Record) -> None:
    live_through(running, record_property, "gate", "refused", "unreachable")


def test_exchange_slow(running: World, record_property: Record) -> None:
    panel = running.reporters[0].panel
    panel.timeout = timedelta(seconds=3)
    [okx] = [each for each in panel.venues if each.name == "okx"]
    okx.exchange.timeout = 600_000
    with running.fault(without=["okx"]):
        running.stand_in.fault("okx", "slow", seconds=600)
        running.run(minutes=7)
    assert left_out(running, "okx", "slow") == 7 * len(MARKETS)
    waiting = [each for each in threading.enumerate() if each.name == "venue okx"]
    assert len(waiting) == 1, "threads pile up"
    running.stand_in.mend("okx")
    # what was asked then is still under way, in real time
    for thread in waiting:
        thread.join(timeout=30)
    running.finish(record_property)
    assert counted(running) == len(VENUES)


def test_exchange_limits_requests(
    running: World, record_property: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the pause it asks for is in the world's time
    clock = SimpleNamespace(monotonic=running.clock)
    monkeypatch.setattr("perpool.keeper.sources.exchanges.time", clock)
    with running.fault(without=["okx"]):
        running.stand_in.fault("okx", "limited", seconds=5 * MINUTE)
        running.run(minutes=1)
        running.stand_in.mend("okx")
        asked = len(running.stand_in.asked["okx"])
        running.run(minutes=4)
        assert len(running.stand_in.asked["okx"]) == asked, "it has asked for a pause"
    assert left_out(running, "okx", "unreachable") == 5 * len(MARKETS)
    running.finish(record_property)
    assert counted(running) == len(VENUES)


def test_exchanges_down__two_of_four(running: World, record_property: Record) -> None:
    with running.fault(outage=True, without=["binance", "gate"]):
        begun = running.now
        running.stand_in.fault("binance", "down")
        running.stand_in.fault("gate", "html")
        running.run(minutes=7)
        silent_until = running.now
    times = {
        each.report.observed_at for number in range(REPORTERS) for each in running.said(number)
    }
    assert not any(begun < time <= silent_until for time in times), "something was made up"
    assert figure(running.reporters[0].metrics, "unheard") == 7 * len(MARKETS)
    running.stand_in.mend("binance")
    running.stand_in.mend("gate")
    running.finish(record_property)
    assert counted(running) == len(VENUES)


# -- an answer of no use --


def test_exchange_null_field(running: World, record_property: Record) -> None:
    live_through(running, record_property, "okx", "null", "no value")


def test_exchange_not_a_number(running: World, record_property: Record) -> None:
    live_through(running, record_property, "bybit", "nan", "malformed")


def test_exchange_text_for_a_number(running: World, record_property: Record) -> None:
    live_through(running, record_property, "gate", "text", "malformed")


def test_exchange_html(running: World, record_property: Record) -> None:
    live_through(running, record_property, "binance", "html", "malformed")


def test_exchange_ends_in_the_middle(running: World, record_property: Record) -> None:
    live_through(running, record_property, "okx", "truncated", "malformed")


def test_exchange_wrong_symbol(running: World, record_property: Record) -> None:
    live_through(running, record_property, "binance", "symbol", "symbol")


def test_exchange_an_hour_ago(running: World, record_property: Record) -> None:
    live_through(running, record_property, "gate", "stale", "stale")


def test_exchange_from_the_future(running: World, record_property: Record) -> None:
    live_through(running, record_property, "bybit", "future", "future")


# -- an answer that is wrong --


def test_exchange_lying__beyond_its_cap(running: World, record_property: Record) -> None:
    live_through(running, record_property, "gate", "lying", "rate cap", rate="0.9")


def test_exchange_lying__plausibly(running: World, record_property: Record) -> None:
    # honest are 0.0001 and 1.2
    with running.fault(without=["bybit"]):
        running.stand_in.spoil("bybit", rate="0.02", index="1.5", mark="1.5")
        running.run(minutes=7)
    assert counted(running) == len(VENUES), "the lie was to be believed"
    running.stand_in.mend("bybit")
    running.finish(record_property, exact=False)


def test_exchange_interval_change(world: World, record_property: Record) -> None:
    four, one = START + 5 * MINUTE, START + 10 * MINUTE

    def changing(market: str, venue: str, time: int) -> tuple[Decimal, int, Decimal]:
        """The rate of a settlement goes on as it was, and is settled the more often."""
        rate, hours, price = truth(market, venue, time)
        if venue != "okx":
            hours = 8 if time < four else 4 if time < one else 1
        return 3 * rate, hours, price

    world.truth = changing
    # nor does it tell its interval: it is learnt from its settlements
    world.stand_in.spoil("binance", listed=False)
    world.add_all_in_one(world.connect_panel())
    world.add_desk()
    with world.fault():
        world.run(minutes=11)
    for market in MARKETS:
        rounds = {
            each.observed_at: each.value / 10**9
            for each in world.found()
            if (each.kind, each.market) == ("funding", market)
        }
        # at once, and in proportion; that of the minute before is no older than a heartbeat
        before = max(time for time in rounds if time < four)
        assert rounds[four] == pytest.approx(2 * rounds[before], rel=0.1)
        assert rounds[one] == pytest.approx(4 * rounds[four], rel=0.1)
    world.finish(record_property)
    assert counted(world) == len(VENUES)
