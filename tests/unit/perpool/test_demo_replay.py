"""The demo's pure parts: its timeline, its books, its figures, and its options."""

from __future__ import annotations

import gzip
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from perpool.demo import cli
from perpool.demo.books import Books, PoolBooks, faults
from perpool.demo.carry_books import VaultBooks, VenueBooks
from perpool.demo.holdings import Holding
from perpool.demo.replay import DemoError, first_price, ltvs, price_of, timeline
from perpool.demo.stage import EXCHANGE, market_config, reporter_keys
from perpool.demo.summary import (
    Compared,
    Leg,
    Nearest,
    Row,
    Summary,
    VaultFigures,
    worst_fall,
)
from perpool.demo.table import closing, closing_lines, count, money, vault_cells
from perpool.deployment import parse_config
from perpool.history import DAY, HOUR, Candle, HistoryError, MarketHistory, Settlement, find_data
from perpool.reference.presets import PRESETS

START = 1_617_235_200
PRICE_E36 = 2 * 10**24


# -- timeline --


def history(hours: int = 48, *, candles: bool = True) -> MarketHistory:
    price = Decimal("1.5")
    return MarketHistory(
        "ADA",
        tuple(Settlement(START + hour * HOUR, Decimal(1), 8) for hour in range(0, hours, 8)),
        tuple(
            Candle(START + hour * HOUR, price, price, price, price)
            for hour in range(-1, hours)
            if candles
        ),
        "here",
    )


def test_timeline__settlements() -> None:
    steps = timeline(history(), None)
    assert [(each.time - START) // HOUR for each in steps] == [0, 8, 16, 24, 32, 40]
    assert all(each.settlement is not None for each in steps)


def test_timeline__hours_of_one_day() -> None:
    steps = timeline(history(), START)
    assert [(each.time - START) // HOUR for each in steps] == [*range(25), 32, 40]
    assert sum(each.settlement is not None for each in steps) == 6


def test_timeline__no_hours_outside_the_range() -> None:
    assert timeline(history(), START + 9 * DAY) == timeline(history(), None)
    last_day = timeline(history(), START + DAY)
    assert last_day[-1].time == START + 40 * HOUR


def test_first_price() -> None:
    assert first_price(history()) == Decimal("1.5")
    with pytest.raises(DemoError, match="ADA has no prices in this range"):
        first_price(history(candles=False))


def test_ltvs() -> None:
    holding = Holding(
        usdt=0,
        tokens=0,
        collateral=100 * 10**18,
        debt=100 * 10**6,
        short_collateral=300 * 10**6,
        short_debt=75 * 10**18,
    )
    assert ltvs(holding, PRICE_E36) == (0.5, 0.5)
    assert ltvs(Holding(1, 1), PRICE_E36) == (0.0, 0.0)
    assert price_of(PRICE_E36) == 2.0


# -- books --


def books(**changes: Any) -> Books:
    """One lender, one borrower and the exchange, all in order."""
    holdings = {
        "lender": Holding(usdt=0, tokens=0, lent_usdt=1_000),
        "borrower": Holding(usdt=400, tokens=10, collateral=90, debt=400),
        EXCHANGE.name: Holding(usdt=500, tokens=0),
    }
    reverse = PoolBooks(990, 10, 990, 10**9, 400, 4 * 10**8, 600, 90, 10, 0, 0)
    forward = PoolBooks(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    good = Books(
        time=START,
        holdings=holdings,
        pools={"reverse": reverse, "forward": forward},
        minted=(1_500, 100),
        found=(1_500, 100),
        share_sums={"reverse": (10**9, 4 * 10**8), "forward": (0, 0)},
        mark_e36=PRICE_E36,
        vaults={"Vault keep": VAULT},
        perp_venue=venue_books(),
    )
    return replace(good, **changes)


VAULT = VaultBooks(
    has=Holding(usdt=0, tokens=0),
    funding=0,
    shares=700,
    tips=1,
    share_sum=700,
    waiting=0,
    at_vault=(0, 0),
    apart=(0, 0),
    worth=(7, 7),
)


def venue_books(**changes: int) -> VenueBooks:
    """A short of 30 units, sold for 50 with a margin of 40, and a provider with 100."""
    state = {
        "liquidity": 100,
        "insurance": 5,
        "margins": 40,
        "escrows": 0,
        "credits": 3,
        "short_size": 30,
        "shares": 10**6,
    }
    position = SimpleNamespace(
        size=-30, margin=40, entry_notional=50, funding=2, escrow=0, credit=3
    )
    return VenueBooks(148, SimpleNamespace(**state | changes), (position,), provider_shares=10**6)


def test_faults__none() -> None:
    assert faults(books(), (1_500, 100), 500) == []


def test_utilisation__of_all_assets() -> None:
    """The fee that nobody has been charged is lent out too."""
    pools = books().pools
    assert (pools["reverse"].utilisation, pools["forward"].utilisation) == (0.4, 0.0)


def changed_pool(leg: str, **changes: int) -> dict[str, Any]:
    pools = books().pools
    return {"pools": pools | {leg: replace(pools[leg], **changes)}}


def changed_vault(**changes: Any) -> dict[str, Any]:
    return {"vaults": {"Vault keep": replace(VAULT, **changes)}}


def changed_venue(**changes: int) -> dict[str, Any]:
    return {"perp_venue": venue_books(**changes)}


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"minted": (1_501, 100), "found": (1_501, 100)}, "USDT minted: found 1501, expected 1500"),
        ({"found": (1_500, 99)}, "tokens of all accounts: found 99, expected 100"),
        (changed_pool("reverse", cash=599), "cash of the reverse pool"),
        (changed_pool("reverse", assets=991), "cash of the reverse pool"),
        (changed_pool("reverse", uncharged_fee=9), "cash of the reverse pool"),
        (changed_pool("reverse", lenders=991), "claims on the reverse pool"),
        (changed_pool("reverse", lenders=983), "claims on the reverse pool: found 983, expected"),
        (changed_pool("forward", cash=1), "cash of the forward pool"),
        (changed_pool("reverse", collateral=91), "collateral of the reverse pool"),
        (changed_pool("forward", collateral=1), "collateral of the forward pool"),
        (changed_pool("reverse", shares=1), "shares of the reverse pool"),
        (changed_pool("reverse", debt_shares=1), "debt shares of the reverse pool"),
        ({"share_sums": {"reverse": (10**9, 4 * 10**8), "forward": (1, 0)}}, "of the forward pool"),
        (changed_vault(share_sum=699), "shares of Vault keep: found 699, expected 700"),
        (changed_vault(at_vault=(1, 0)), "USDT and tokens that wait in Vault keep"),
        (changed_vault(waiting=1), "USDT and tokens that wait in Vault keep"),
        (changed_vault(apart=(0, 1)), "redemptions half done of Vault keep"),
        (changed_vault(worth=(8, 7)), "what Vault keep is worth: found 8, expected 7"),
        (changed_vault(has=Holding(usdt=0, tokens=0, collateral=1)), "collateral of the reverse"),
        (changed_venue(insurance=6), "USDT of the perp venue: found 148, expected 149"),
        (changed_venue(margins=41, liquidity=99), "margins at the perp venue"),
        (changed_venue(credits=4, liquidity=99), "credits at the perp venue"),
        (changed_venue(short_size=31), "shorts at the perp venue"),
        (changed_venue(shares=1), "shares of the venue's provider"),
    ],
)
def test_faults__each_equation(changes: dict[str, Any], fault: str) -> None:
    [found] = faults(books(**changes), (1_500, 100), 500)
    assert fault in found


def test_faults__wallet_of_the_exchange() -> None:
    assert faults(books(), (1_500, 100), 501) == [
        "wallet of the perp exchange: found 500, expected 501"
    ]


def test_faults__a_vault_without_a_price_is_not_compared() -> None:
    assert faults(books(**changed_vault(worth=None)), (1_500, 100), 500) == []


def test_venue__everything_is_somebodys() -> None:
    """A short of 30 at a price of 2 has cost 60, for what was sold for 50."""
    venue = venue_books()
    mark = 2 * 10**36
    assert venue.claims(mark) == [(40 + 2 + 50 - 60 + 3, 30)]
    assert venue.of_provider(mark) == 148 - 5 - 35


def test_holding__worth_at_another_price() -> None:
    """A short of 40 tokens, of which a vault has half, gains 40 USDT where the price halves."""
    holding = Holding(
        usdt=100 * 10**6, tokens=0, perp_position=-20 * 10**18, vault_position=-20 * 10**18
    )
    assert holding.worth(PRICE_E36, PRICE_E36) == pytest.approx(50.0)
    assert holding.worth(PRICE_E36 // 2, PRICE_E36) == pytest.approx(140.0)


def test_holding__net() -> None:
    holding = Holding(
        usdt=1,
        tokens=2,
        lent_usdt=10,
        lent_tokens=20,
        collateral=100,
        debt=300,
        short_collateral=1_000,
        short_debt=7,
        perp_equity=5,
        vault_usdt=-6,
        vault_tokens=50,
    )
    assert (holding.net_usdt, holding.net_tokens) == (710, 165)


# -- figures --


def test_worst_fall__from_any_price_to_a_later_one() -> None:
    assert worst_fall([1.0, 4.0, 3.0, 5.0, 2.0, 9.0]) == pytest.approx(-0.6)
    assert worst_fall([1.0, 2.0]) == 0.0


def test_words() -> None:
    assert [money(None), money(0.2), money(-1_234.5), money(5.6)] == ["", "0", "-1,234", "+6"]
    assert [count(1, "loan"), count(0, "loan")] == ["1 loan", "0 loans"]


def summary(**changes: Any) -> Summary:
    leg = Leg("USDT", 0.1, 0.5, 0.9, 0.2, 0.6, 0.1, 100.0, 10.0, 50.0, 10.0, 40.0, 1, 0.95)
    rows = [
        Row("Treasury", "USDT lender", "stays", 100.0, 110.0, 10.0, interest=10.0, apr=0.1),
        Row("Bear", "shorter", "shorts", 100.0, 70.0, -30.0, realised=-20.0, liquidated=2),
        Row("Siloed", "siloed holder", "waits", 90.0, 50.0, -40.0, funding=5.0, perp_closed=1),
    ]
    figures = Summary(
        market="ADA",
        synthetic=False,
        origin="here",
        seed=1,
        start="2021-04-01",
        end="2021-05-25",
        days=55.0,
        steps=186,
        steps_for_vaults=21,
        hourly_day=None,
        settlements=165,
        gaps=[],
        price={"first": 1.0, "last": 2.0, "lowest": 1.0, "highest": 2.0, "worst_fall": -0.5},
        funding={"mean": 0.7},
        legs={"reverse": leg, "forward": replace(leg, bad_debt=0.0, liquidations=2)},
        vaults=[VaultFigures("Vault keep", 9.0, 4.0, 1.0, 0.5, 3.0, 0.0, 12, 2, 0.0)],
        compared=[
            Compared("Vault keep", -0.05, 0.2, Nearest(0.412, None), ""),
            Compared("Siloed", -0.3, 0.1, Nearest(0.01, 0.7), "short"),
        ],
        holder_usdt=0.3,
        insurance=7.0,
        rows=rows,
        others=[Row("Flash liquidator", "liquidator", "", 0.0, 60.0, 60.0)],
        rounding={"usdt": 1, "tokens": 1},
        liquidations=[],
        oracle={
            "price_rounds": 187,
            "max_move": 0.2,
            "spacing_seconds": 60,
            "rounds_held_back": 2,
        },
        refused={"slippage": 1},
        minted={"usdt": "1500", "tokens": "100"},
        checks=187,
        transactions=2_144,
        seconds=15.0,
    )
    return replace(figures, **changes)


def test_table__fits_a_terminal() -> None:
    console = Console(width=100, record=True)
    with console.capture() as capture:
        console.print(closing(summary()))
    text = capture.get()
    assert "…" not in text
    for said in ("Treasury", "+10", "10.0 %", "perp", "-20", "Flash liquidator"):
        assert said in text


def test_vault_cells__beside_others() -> None:
    assert vault_cells(summary()) == [
        ["Vault keep", "-5.0 %", "+20.0 %", "+9", "-3", "12", "41.2 %", ""],
        ["Siloed", "-30.0 %", "+10.0 %", "+5", "", "", "closed", "70.0 %"],
        ["Holder", "0.0 %", "+30.0 %", "", "", "", "", ""],
    ]


def test_closing_lines__say_what_was_lost() -> None:
    lines = closing_lines(summary())
    assert (
        "1 liquidation, bad debt 50 USDT, of which the reserve bore 10 and lenders 40" in lines[1]
    )
    assert "2 liquidations, no bad debt" in lines[2]
    assert "at most 20 % each, 60 s apart; 2 held back" in lines[3]
    assert "slippage 1" in lines[4]
    assert "187 checks" in lines[5]
    assert len(closing_lines(summary(refused={}))) == len(lines) - 1


# -- options --


def test_market_config__is_one_that_deploys() -> None:
    stage = {
        "chain_id": 31_337,
        "guardian": "0x" + 40 * "1",
        "usdt": "0x" + 40 * "2",
        "token": "0x" + 40 * "3",
        "factory": "0x" + 40 * "4",
        "pool": "0x" + 40 * "5",
        "reporters": [each.address for each in reporter_keys(1)],
    }
    config = parse_config(market_config("ADA", Decimal("1.19"), stage))
    market = config.markets["ADA"]
    assert market.price.signed is not None
    assert (market.price.signed.max_move, market.price.signed.spacing) == (Decimal("0.2"), 60)
    assert market.price.twap is not None
    # ten USDT worth of tokens, rounded up
    assert market.forward.min_debt == Decimal("8.403362")
    assert {name: each.parameters for name, each in market.vaults.items()} == PRESETS


def test_reporter_keys__by_seed() -> None:
    assert reporter_keys(1) == reporter_keys(1)
    assert len({each.address for each in reporter_keys(1) + reporter_keys(2)}) == 10


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, row in (
        ("funding", f"ts,rate,interval_h\n{START},0.1,8\n"),
        ("perp_1h", f"ts,open,high,low,close\n{START - HOUR},1,1,1,1\n"),
    ):
        (tmp_path / name).mkdir()
        with gzip.open(tmp_path / name / "ADAUSDT.csv.gz", "wt") as file:
            file.write(row)
    return tmp_path


def test_find_data__named_or_from_the_environment(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = find_data(folder)
    assert found is not None
    assert found.path == folder
    monkeypatch.setenv("PERPOOL_DATA", str(folder))
    found = find_data(None)
    assert found is not None
    assert found.path == folder


def test_find_data__beside_the_clone_or_nowhere(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("PERPOOL_DATA", raising=False)
    clone = tmp_path / "clone"
    monkeypatch.setenv("PERPOOL_ROOT", str(clone))
    assert find_data(None) is None
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "data").symlink_to(folder)
    found = find_data(None)
    assert found is not None
    assert found.path == tmp_path / "shared" / "data"


def test_choose_history__synthetic_without_a_folder() -> None:
    market = cli.choose_history(None, "ADA", START, START + 3 * DAY, 7)
    assert market.synthetic
    line = cli.first_line(market)
    assert line.startswith("No data folder: replaying a synthetic market (seed 7)")


def test_choose_hourly_day() -> None:
    assert cli.choose_hourly_day(history(), None) == START
    assert cli.choose_hourly_day(history(), "2021-04-02T13:00") == START + DAY
    assert cli.choose_hourly_day(history(candles=False), None) is None
    with pytest.raises(HistoryError):
        cli.choose_hourly_day(history(), "soon")


def test_parse_range__a_day_counts_to_its_end() -> None:
    assert cli.parse_range("2021-04-01", "2021-04-01") == (START, START + DAY)
    assert cli.parse_range("2021-04-01", "2021-04-01T13:00") == (START, START + 13 * HOUR)
    with pytest.raises(HistoryError, match="range 2021-05-25 to 2021-04-01 is empty"):
        cli.parse_range("2021-05-25", "2021-04-01")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--market", "FOO"], "there is no market FOO in"),
        (["--from", "soon"], "'soon' is no date"),
        (["--from", "2021-05-01", "--to", "2021-04-01"], "is empty"),
        (["--from", "2024-05-01", "--to", "2024-05-02"], "ADA has no funding between"),
        (["--data", "/nowhere"], "/nowhere is no data folder"),
    ],
)
def test_demo__faults_are_one_line(folder: Path, options: list[str], reason: str) -> None:
    run = CliRunner().invoke(cli.demo, ["--data", str(folder), *options])
    assert run.exit_code == 1
    assert run.output.startswith("Error: ")
    assert reason in run.output
    assert run.output.count("\n") == 1
