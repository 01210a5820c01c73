"""Amounts in and out of the SDK."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from perpool.sdk import AmountError
from perpool.sdk.units import (
    MAX,
    NO_BLOCK_CAP,
    NO_CAP,
    age,
    cap,
    from_price,
    from_units,
    from_wad,
    moment,
    optional_wad,
    to_units,
)


@pytest.mark.parametrize("decimals", [6, 8, 18, 24])
def test_to_units__there_and_back(decimals: int) -> None:
    for text in ("0", "1", "12345678901234567890.123456", "0.000001", "1e3"):
        units = to_units(text, decimals)
        assert from_units(units, decimals) == Decimal(text)
        assert to_units(Decimal(text), decimals) == units
    assert to_units(7, decimals) == 7 * 10**decimals
    assert from_units(1, decimals) == Decimal(1).scaleb(-decimals)


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        (0.1, "a float is not exact"),
        (True, "pass a Decimal"),
        (None, "pass a Decimal"),
        ("ten", "'ten' is not a number"),
        ("-1", "not negative"),
        ("nan", "not an amount"),
        ("Infinity", "not an amount"),
        ("0.0000001", "the token has 6 decimals, 0.0000001 has more; round it"),
    ],
)
def test_to_units__fault(amount: object, words: str) -> None:
    with pytest.raises(AmountError, match=words) as error:
        to_units(amount, 6, "USDT")  # type: ignore[arg-type]
    assert str(error.value).startswith("USDT: ")


def test_from_price__of_any_decimals() -> None:
    for token, usdt in ((6, 6), (18, 6), (24, 6), (8, 18)):
        price_e36 = 25 * 10 ** (35 + usdt - token)
        assert from_price(price_e36, token, usdt) == Decimal("2.5")


def test_optional__values() -> None:
    assert from_wad(-5 * 10**16) == Decimal("-0.05")
    assert optional_wad(MAX) is None
    assert optional_wad(10**18) == 1
    assert cap(NO_CAP, 6) is None
    assert cap(NO_BLOCK_CAP, 18) is None
    assert cap(5 * 10**6, 6) == 5
    assert age(MAX) is None
    assert age(90) == timedelta(seconds=90)
    assert moment(0) is None
    assert moment(1_700_000_000) == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
