"""What may be wrong with an exchange."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.exchanges.server import Response

FAULTS = {
    "slow": "answers after `seconds` (60), or once it is mended",
    "down": "HTTP `status` (503) without anything of use",
    "refused": "nobody listens on its port",
    "limited": "HTTP 429, with Retry-After where `seconds` are given",
    "html": "HTTP 200 with a page for people",
    "truncated": "JSON that ends in the middle",
    "bomb": "the answer, and `bytes` (17 MiB) of blanks after it, compressed to some kilobytes",
    "null": "the funding rate is null",
    "nan": "the funding rate is NaN",
    "text": "the funding rate is a word",
    "symbol": "the entry is of another market",
    "lying": "the funding rate is `rate` (0.9)",
    "interval": "the funding interval is `hours` (4), on the grid of such an interval",
    "stale": "everything is of `seconds` (3600) ago",
    "future": "everything is of `seconds` (3600) ahead",
}
"""From "null" to "interval" it may be of one market only."""


@dataclass(frozen=True)
class Fault:
    """One of FAULTS. One of HTTP is of paths that `path` of its details is in, if that is given.

    Raises ValueError where there is none of that name.
    """

    name: str
    details: Mapping[str, Any] = field(default_factory=dict)
    mended: threading.Event = field(default_factory=threading.Event)
    """Ends the waiting of one that is slow."""

    def __post_init__(self) -> None:
        if self.name not in FAULTS:
            raise ValueError(f"there is no fault {self.name!r}: there are {', '.join(FAULTS)}")

    def fields(self) -> dict[str, Any]:
        """What quotes say by it; nothing where it is not one of quotes."""
        spoilt: dict[str, dict[str, Any]] = {
            "null": {"rate": None},
            "nan": {"rate": "NaN"},
            "text": {"rate": "n/a"},
            "symbol": {"name": "ELSE"},
            "lying": {"rate": self.details.get("rate", "0.9")},
            "interval": {"hours": self.details.get("hours", 4)},
        }
        return spoilt.get(self.name, {})

    def concerns(self, path: str) -> bool:
        return self.details.get("path", "") in path

    def wait(self) -> None:
        """As long as an answer takes by it."""
        if self.name == "slow":
            self.mended.wait(self.details.get("seconds", 60))

    def shift(self) -> int:
        """Seconds by which all that is said is ahead of the time."""
        seconds: int = self.details.get("seconds", 3_600)
        return {"stale": -seconds, "future": seconds}.get(self.name, 0)

    def instead(self, limited: str) -> Response | None:
        """What is said in place of an answer, if anything; `limited` to who asks too much."""
        match self.name:
            case "down":
                page = "Service Unavailable\n" + "<p>We are working on it.</p>\n" * 50
                return Response(page, self.details.get("status", 503), "text/html")
            case "limited":
                told = "seconds" in self.details
                pause = {"Retry-After": str(self.details["seconds"])} if told else {}
                return Response(limited, 429, headers=pause)
            case "html":
                page = "<html><body>We will be back soon</body></html>"
                return Response(page, 200, "text/html")
        return None

    def cut(self, text: str) -> str:
        """What arrives of an answer."""
        if self.name == "bomb":
            return text + " " * self.details.get("bytes", 17 << 20)
        return text[: len(text) // 2] if self.name == "truncated" else text
