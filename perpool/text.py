"""Values as the command line and reports show them, to people and as JSON."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

_MISSING = "-"
_EXACT_IN_JSON = 2**53


def number(value: Decimal | None, places: int | None = None) -> str:
    """A number for people: thousands apart, 2 places from 1000 on, else 6 digits that count."""
    if value is None:
        return _MISSING
    if places is not None:
        return f"{value:,.{places}f}"
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.2f}"
    digits = max(2, 5 - value.adjusted())
    text = f"{value:,.{min(digits, 18)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def percent(value: Decimal | float | None, places: int = 2, *, missing: str = _MISSING) -> str:
    """A fraction in percent: 12.50 %."""
    return missing if value is None else f"{value * 100:.{places}f} %"


def signed_percent(value: Decimal | float | None, places: int = 1) -> str:
    """A change as a fraction in percent: +12.5 %."""
    return _MISSING if value is None else f"{value * 100:+.{places}f} %"


def limit(value: Decimal | None) -> str:
    """A cap."""
    return "none" if value is None else number(value)


def duration(value: timedelta | None) -> str:
    """A duration in its largest unit."""
    if value is None:
        return "never"
    seconds = int(value.total_seconds())
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def plain(value: Any) -> Any:
    """A value as JSON holds it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, timedelta):
        return int(value.total_seconds())
    if isinstance(value, datetime):
        return int(value.timestamp())
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, int) and not -_EXACT_IN_JSON < value < _EXACT_IN_JSON:
        return str(value)
    return value
