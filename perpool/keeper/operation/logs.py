"""Structured logs: lines for people or JSON for machines, in UTC, without secrets.

    configure_logs("json", "info", secrets=config.secrets())

What this package logs holds no secret to begin with. The last processor is for the day when
something does all the same, in the text of a library's error, say: it hides the secrets that are
known to this process wherever they stand, what stands after the host in a URL, and every run of 64
hexadecimal digits, which may be a private key, unless its name says that it is a hash. The lines of
other libraries pass through it too.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor

HIDDEN = "[hidden]"
SHORTEST_SECRET = 6
"""Characters; to hide shorter ones would make holes in ordinary words."""
HASHES = frozenset(
    {"block_hash", "commit", "hash", "replaced", "topic", "transaction", "transaction_hash"}
)
"""Names of values that are 64 hexadecimal digits by right."""
QUIET = ("urllib3", "web3", "ccxt", "asyncio")
"""Libraries of which warnings are enough."""

_URL = re.compile(r"\b([a-z][a-z0-9+.-]*://)(?:[^\s/?#@]*@)?([^\s/?#'\")\]]*)([^\s'\")\]]*)", re.I)
_HEX = re.compile(r"(?<![0-9a-fA-F])(0x)?[0-9a-fA-F]{64,}(?![0-9a-fA-F])")


class Redaction:
    """The processor that hides what no log may show."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = sorted({each for each in secrets if len(each) >= SHORTEST_SECRET}, key=len)
        self._known = re.compile("|".join(map(re.escape, reversed(known)))) if known else None

    def __call__(self, _logger: Any, _method: str, event: EventDict) -> EventDict:
        return {name: self._value(value, name) for name, value in event.items()}

    def _value(self, value: Any, name: str = "") -> Any:
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, Mapping):
            return {
                self._text(str(key), ""): self._value(each, str(key)) for key, each in value.items()
            }
        if isinstance(value, list | tuple | set | frozenset):
            return [self._value(each, name) for each in value]
        return self._text(str(value), name)

    def _text(self, text: str, name: str) -> str:
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        text = _URL.sub(_host_only, text)
        return text if name in HASHES else _HEX.sub(HIDDEN, text)


def _host_only(url: re.Match[str]) -> str:
    scheme, host, rest = url.groups()
    return f"{scheme}{host}{'/' + HIDDEN if rest.strip('/') else rest}"


def configure_logs(
    style: Literal["console", "json"] = "console",
    level: str = "info",
    *,
    secrets: Iterable[str] = (),
    stream: TextIO | None = None,
) -> None:
    """Log to `stream`, stderr by default, what is of `level` or above."""
    stream = stream or sys.stderr
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Processor
    if style == "json":
        renderer = structlog.processors.JSONRenderer(sort_keys=False)
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            # tracebacks become text before they are searched, without the values of variables
            structlog.processors.format_exc_info,
            Redaction(secrets),
            renderer,
        ],
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(root.level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
