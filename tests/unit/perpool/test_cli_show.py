"""What the command line prints: numbers, tables, warnings, JSON."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from perpool.cli import show_json, show_table
from perpool.sdk import Prices, Problem
from perpool.text import duration, limit, number, percent, plain, signed_percent


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        ("0", "0"),
        ("1234567.891", "1,234,567.89"),
        ("-1000", "-1,000.00"),
        ("999.5555555", "999.556"),
        ("12.5", "12.5"),
        ("100", "100"),
        ("0.000001234567", "0.00000123457"),
        ("1e-18", "0.000000000000000001"),
    ],
)
def test_number(value: str | None, text: str) -> None:
    assert number(None if value is None else Decimal(value)) == text


def test_number__of_places() -> None:
    assert number(Decimal("1.23456"), 3) == "1.235"


def test_percent_limit_duration() -> None:
    assert percent(Decimal("0.05213")) == "5.21 %"
    assert percent(Decimal("-0.5"), 1) == "-50.0 %"
    assert percent(0.8, 0) == "80 %"
    assert [percent(None), percent(None, missing="")] == ["-", ""]
    assert [signed_percent(each) for each in (0.1234, -1, None)] == ["+12.3 %", "-100.0 %", "-"]
    assert limit(None) == "none"
    assert limit(Decimal(5)) == "5"
    assert duration(None) == "never"
    assert duration(timedelta(seconds=90)) == "90 s"
    assert duration(timedelta(seconds=150)) == "2 min"
    assert duration(timedelta(hours=47)) == "47 h"
    assert duration(timedelta(days=3)) == "3 d"


def test_plain__is_what_json_holds(capsys: pytest.CaptureFixture[str]) -> None:
    value = {
        "prices": plain(Prices(Decimal("1e-7"), None, None, Decimal(2))),
        "problems": plain((Problem("paused", "Wait."),)),
        "age": plain(timedelta(minutes=1)),
        "at": plain(datetime(1970, 1, 2, tzinfo=UTC)),
        "ids": plain([4, True, 2**160]),
    }
    show_json(value)
    assert json.loads(capsys.readouterr().out) == {
        "prices": {"price": "0.0000001", "low": None, "high": None, "volatility": "2"},
        "problems": [{"reason": "paused", "remedy": "Wait."}],
        "age": 60,
        "at": 86_400,
        "ids": [4, True, str(2**160)],
    }


def test_show_table__nothing_without_rows(capsys: pytest.CaptureFixture[str]) -> None:
    show_table("Title", ["head"], [])
    assert capsys.readouterr().out == ""
    show_table("Title", ["head", "count"], [("text", "1")])
    out = capsys.readouterr().out
    assert "Title" in out
    assert "text" in out
