"""Between the integers of contracts and the Decimals and timedeltas of people."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal, InvalidOperation

from perpool.sdk.errors import AmountError

WAD_DIGITS = 18
PRICE_DIGITS = 36
MAX = 2**256 - 1
NO_CAP = 2**128 - 1
NO_BLOCK_CAP = 2**112 - 1

Amount = Decimal | int | str
"""What callers may pass for an amount: never a float, whose digits are not what was written."""

_EXACT = Context(prec=120)
_LEAST_FRACTION = Decimal(1).scaleb(-WAD_DIGITS)


def to_units(amount: Amount, decimals: int, what: str = "amount") -> int:
    """An amount in a token's smallest unit. Raises AmountError."""
    if isinstance(amount, bool) or not isinstance(amount, Decimal | int | str):
        raise AmountError(f"{what}: pass a Decimal or text, not {amount!r}; a float is not exact")
    try:
        value = Decimal(amount)
    except InvalidOperation:
        raise AmountError(f"{what}: {amount!r} is not a number") from None
    if not value.is_finite() or value < 0:
        raise AmountError(f"{what}: {amount} is not an amount; give one that is not negative")
    units = value.scaleb(decimals, _EXACT)
    if units != units.to_integral_value():
        raise AmountError(f"{what}: the token has {decimals} decimals, {amount} has more; round it")
    return int(units)


def from_units(units: int, decimals: int) -> Decimal:
    """Whole tokens."""
    return Decimal(units).scaleb(-decimals, _EXACT)


def ratio(numerator: Decimal, denominator: Decimal) -> Decimal:
    """To 18 places, as the contracts' fractions."""
    return _EXACT.divide(numerator, denominator).quantize(_LEAST_FRACTION, context=_EXACT)


def from_wad(wad: int) -> Decimal:
    """A fraction: 1 is 100 %."""
    return from_units(wad, WAD_DIGITS)


def from_price(price_e36: int, token_decimals: int, usdt_decimals: int) -> Decimal:
    """USDT for one whole token."""
    return from_units(price_e36, PRICE_DIGITS + usdt_decimals - token_decimals)


def optional_wad(wad: int) -> Decimal | None:
    """A fraction, None for the largest integer, which stands for unknown or without bound."""
    return None if wad == MAX else from_wad(wad)


def cap(units: int, decimals: int) -> Decimal | None:
    """A cap in whole tokens, None for none."""
    return None if units in (NO_CAP, NO_BLOCK_CAP) else from_units(units, decimals)


def age(seconds: int) -> timedelta | None:
    """None for the largest integer, which stands for never."""
    return None if seconds == MAX else timedelta(seconds=seconds)


def moment(timestamp: int) -> datetime | None:
    """A time, None for 0."""
    return datetime.fromtimestamp(timestamp, UTC) if timestamp else None
