"""`perpool keeper check`: what it finds of nodes and sources, each by its name."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from perpool.deployment import Record
from perpool.keeper.chain.endpoint import Head, Silence
from perpool.keeper.model import Funding, LeftOut, Observation, Reading
from perpool.keeper.operation import check as checks
from perpool.keeper.operation.check import (
    Finding,
    ask_nodes,
    careful,
    fine,
    market_findings,
    missing,
    node_finding,
    venue_finding,
)
from perpool.keeper.operation.config import KeeperConfig
from perpool.keeper.sources import Panel

CHAIN = 11_155_111
HEAD = Head(100, "0x" + "aa" * 32, 1_700_000_000, 7)
OTHER = "0x" + "bb" * 32
FUNDING = Funding(Decimal("0.0001"), timedelta(hours=8))


def reading(venue: str, *, price: str | None = "1.5") -> Reading:
    return Reading(venue, FUNDING, None if price is None else Decimal(price))


# -- nodes --


@pytest.mark.parametrize(
    ("said", "block_hash", "expected"),
    [
        ((CHAIN, HEAD), HEAD.hash, fine("node n answers with block 100")),
        ((CHAIN, HEAD), None, fine("node n answers with block 100")),
        (Silence("HTTP 401"), None, missing("node n is down: HTTP 401")),
        ((1, HEAD), None, missing(f"node n is of the wrong chain: 1, not {CHAIN}")),
        ((CHAIN, HEAD), OTHER, missing("node n disagrees: it has another block 100")),
    ],
)
def test_node(said: object, block_hash: str | None, expected: Finding) -> None:
    assert node_finding("n", said, CHAIN, HEAD, block_hash) == expected


def test_node__where_they_do_not_agree_each_with_its_block() -> None:
    found = node_finding("n", (CHAIN, HEAD), CHAIN, None, None)
    assert found == fine("node n answers with block 100, 0xaaaaaaaa")


def test_ask_nodes__by_host_alone() -> None:
    said = ask_nodes(
        ["http://user:secret@127.0.0.1:9/key-that-is-secret", "http://127.0.0.1:9"],
        lambda node: node.chain_id,
    )
    assert list(said) == ["127.0.0.1:9", "127.0.0.1:9#2"]
    assert [str(each) for each in said.values()] == ["no answer (ConnectionError)"] * 2


# -- sources --


def observed(market: str, *said: Reading | LeftOut) -> Observation:
    return Observation(
        market,
        tuple(each for each in said if isinstance(each, Reading)),
        tuple(each for each in said if isinstance(each, LeftOut)),
    )


def test_venue__a_line_with_what_it_has_and_has_not() -> None:
    observations = [
        observed("ADA", reading("okx"), reading("gate"), LeftOut("bybit", "no answer", "slow")),
        observed(
            "XRP",
            reading("okx"),
            LeftOut("gate", "it has no perpetual of XRP", "symbol"),
            LeftOut("bybit", "no answer", "slow"),
        ),
        observed(
            "FOO",
            LeftOut("okx", "its answer is 300 s old", "stale"),
            LeftOut("gate", "it has no perpetual of FOO", "symbol"),
            LeftOut("bybit", "no answer", "slow"),
        ),
    ]
    assert [venue_finding(each, observations) for each in ("okx", "gate", "bybit")] == [
        careful("source okx: has ADA, XRP; its answer is 300 s old: FOO"),
        careful("source gate: has ADA; no such market: XRP, FOO"),
        careful("source bybit: does not answer (no answer): ADA, XRP, FOO"),
    ]
    assert venue_finding("okx", observations[:2]) == fine("source okx: has ADA, XRP")


def test_venue__many_markets_are_counted() -> None:
    observations = [observed(f"M{number}", reading("okx")) for number in range(9)]
    assert venue_finding("okx", observations) == fine("source okx: has 9 markets")


def test_markets__of_too_few() -> None:
    observations = [
        observed("ADA", reading("a"), reading("b")),
        observed("XRP", reading("a"), reading("b", price=None)),
        observed("FOO", reading("a")),
    ]
    assert list(market_findings(observations, 2)) == [
        missing("XRP: fewer than 2 sources have a price"),
        missing("FOO: fewer than 2 sources have funding and a price"),
        fine("enough sources have ADA"),
    ]


def test_markets__of_a_price_that_others_report_only_funding() -> None:
    observations = [
        observed("ADA", reading("a", price=None), reading("b", price=None)),
        observed("XRP", reading("a", price=None)),
        observed("BTC", reading("a"), reading("b", price=None)),
    ]
    assert list(market_findings(observations, 2, {"ADA", "XRP"})) == [
        missing("XRP: fewer than 2 sources have funding"),
        missing("BTC: fewer than 2 sources have a price"),
        fine("enough sources have ADA"),
    ]


class FakeVenue:
    """Has every market, or never answers."""

    def __init__(self, name: str, *, hangs: bool = False, price: str | None = "1.5") -> None:
        self.name = name
        self.hangs = hangs
        self.price = price
        self.asked: list[tuple[str, ...]] = []

    def read(self, markets: Sequence[str], now: int) -> Mapping[str, Reading | LeftOut]:
        self.asked.append(tuple(markets))
        if self.hangs:
            threading.Event().wait(30)
        return {each: reading(self.name, price=self.price) for each in markets}


def test_check__asks_every_source_once_and_says_so_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    venues = [FakeVenue("okx"), FakeVenue("gate", hangs=True), FakeVenue("bybit")]
    asked = []

    def panel(section: object, markets: list[str], clock: object) -> Panel:
        asked.append(section)
        return Panel(venues, timeout=config.reporter.timeout)  # type: ignore[union-attr]

    monkeypatch.setattr(checks, "build_panel", panel)
    config = KeeperConfig.model_validate(
        {
            "deployment": str(tmp_path / "none.json"),
            "rpc": ["http://127.0.0.1:9"],
            "markets": ["ADA", "XRP"],
            "state": str(tmp_path / "state"),
            "reporter": {
                "account": f"keystore:{tmp_path}/none.json",
                "sources": ["okx", "gate", "bybit"],
                "timeout": "1s",
            },
        }
    )
    shown: list[str] = []
    ended: list[str] = []

    @contextmanager
    def waiting(text: str) -> Iterator[None]:
        shown.append(text)
        yield
        ended.append(text)

    begun = time.monotonic()
    found = list(checks.check(config, lambda: "", offline=False, waiting=waiting))
    assert time.monotonic() - begun < 10
    assert asked == [config.reporter]
    assert [each.asked for each in venues] == [[("ADA", "XRP")]] * 3
    assert found[3:] == [
        fine("source okx: has ADA, XRP"),
        careful("source gate: does not answer (no answer within 1 s): ADA, XRP"),
        fine("source bybit: has ADA, XRP"),
        missing("ADA: fewer than 3 sources have funding and a price"),
        missing("XRP: fewer than 3 sources have funding and a price"),
        fine("the mailbox can be read"),
    ]
    assert shown == ended == ["asking the nodes", "asking okx, gate, bybit", "asking the mailbox"]


def test_check__the_record_says_whose_price_is_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    venues = [FakeVenue(each, price=None) for each in ("okx", "gate", "bybit")]
    monkeypatch.setattr(checks, "build_panel", lambda *_: Panel(venues))
    record = Record(tmp_path / "record.json", "local", CHAIN)
    record.markets = {"ADA": {}, "XRP": {}}
    record.contracts["XRP.price_feed"] = {"address": "0x" + 40 * "1"}
    record.save()
    config = KeeperConfig.model_validate(
        {
            "deployment": str(record.path),
            "rpc": ["http://127.0.0.1:9"],
            "state": str(tmp_path / "state"),
            "reporter": {"account": f"keystore:{tmp_path}/none.json"},
        }
    )
    found = list(checks.check(config, lambda: "", offline=False))
    assert missing("XRP: fewer than 3 sources have a price") in found
    assert fine("enough sources have ADA") in found


def test_check__history_s_folder_by_its_setting(tmp_path: Path) -> None:
    config = KeeperConfig.model_validate(
        {
            "deployment": str(tmp_path / "none.json"),
            "rpc": ["http://127.0.0.1:9"],
            "markets": ["ADA"],
            "state": str(tmp_path / "state"),
            "reporter": {
                "account": f"keystore:{tmp_path}/none.json",
                "sources": ["history"],
                "data": str(tmp_path / "nowhere"),
            },
        }
    )
    found = checks.check(config, lambda: "", offline=False)
    assert missing(
        f"reporter.data: {tmp_path}/nowhere is no data folder: it has no folder `funding`; change "
        "it in the file, or PERPOOL_KEEPER_REPORTER__DATA"
    ) in list(found)
