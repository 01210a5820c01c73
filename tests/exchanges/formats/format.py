"""What a format is, and what several of them need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from perpool.history import HOUR
from tests.exchanges.quotes import Quote


@dataclass(frozen=True)
class Format:
    """How an exchange speaks.

    `api` is where ccxt finds it, path after path; `answer` gives, for a path, the query or body,
    the quotes and the exchange's time in milliseconds, what goes out as JSON, or None for 404.
    `limited` is what it says to who asks too much.
    """

    api: Mapping[str, Any]
    answer: Callable[[str, dict[str, Any], list[Quote], int], Any]
    limited: str


def ms(seconds: Any) -> Any:
    """Milliseconds, as text; what is no time as it is."""
    return str(int(seconds * 1000)) if isinstance(seconds, int | float) else seconds


def started(quote: Quote) -> Any:
    """When the running interval began."""
    if isinstance(quote.hours, int) and isinstance(quote.following, int):
        return quote.following - quote.hours * HOUR
    return None


def settled(quotes: list[Quote], name: Any, limit: int) -> list[tuple[int, str]]:
    """The last settlements of one market, oldest first."""
    return [each for quote in quotes if quote.name == name for each in quote.past][-limit:]
