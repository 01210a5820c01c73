"""Logs: where, in which form, and without secrets."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog

from perpool.keeper.operation.logs import HIDDEN, Redaction, configure_logs

KEY = "1f" * 32
TRANSACTION = "0x" + "ab" * 32


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Logging as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def log_lines(
    style: Any = "json", level: str = "info", secrets: tuple[str, ...] = ()
) -> io.StringIO:
    stream = io.StringIO()
    configure_logs(style, level, secrets=secrets, stream=stream)
    return stream


def test_json__one_object_a_line() -> None:
    stream = log_lines()
    log = structlog.get_logger("perpool.keeper.reporter")
    log.info("reported", observed_at=60, values={"ADA": {"funding": "0.1"}})
    log.warning("venue left out", venue="okx")
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (
        first.items()
        >= {
            "event": "reported",
            "observed_at": 60,
            "values": {"ADA": {"funding": "0.1"}},
            "level": "info",
            "logger": "perpool.keeper.reporter",
        }.items()
    )
    time = datetime.fromisoformat(first["timestamp"])
    assert time.utcoffset().total_seconds() == 0  # type: ignore[union-attr]
    assert abs((datetime.now(UTC) - time).total_seconds()) < 60
    assert second["level"] == "warning"


def test_console__for_people() -> None:
    stream = log_lines("console")
    structlog.get_logger("perpool.keeper").info("reported", observed_at=60)
    assert "reported" in stream.getvalue()
    assert "observed_at=60" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()  # no colours where nobody sees them


@pytest.mark.parametrize(("level", "expected"), [("debug", 3), ("info", 2), ("error", 1)])
def test_level(level: str, expected: int) -> None:
    stream = log_lines(level=level)
    log = structlog.get_logger("perpool.keeper")
    log.debug("a")
    log.info("b")
    log.error("c")
    assert len(stream.getvalue().splitlines()) == expected


def test_other_libraries__warnings_in_the_same_form() -> None:
    stream = log_lines(secrets=("s3cret-path",))
    library = logging.getLogger("urllib3.connectionpool")
    library.info("nobody asked")
    library.warning("Retrying %d after %s", 2, "/v3/s3cret-path")
    [line] = stream.getvalue().splitlines()
    assert json.loads(line)["event"] == f"Retrying 2 after /v3/{HIDDEN}"


def test_configure__twice_logs_once() -> None:
    log_lines()
    stream = log_lines()
    structlog.get_logger("x").info("once")
    assert len(stream.getvalue().splitlines()) == 1


@pytest.mark.parametrize("style", ["json", "console"])
def test_tracebacks__without_values_of_variables(style: str) -> None:
    stream = log_lines(style, secrets=("hunter2hunter2",))
    key = "0x" + KEY
    try:
        raise ValueError("no answer from https://user:word@node.example/v2/path " + key)
    except ValueError as error:
        structlog.get_logger("x").exception("failed", error=error)
    text = stream.getvalue()
    assert "Traceback" in text
    assert "https://node.example/" in text
    for secret in (KEY, "user", "word@", "v2/path"):
        assert secret not in text


# -- redaction --


def redacted(secrets: tuple[str, ...] = (), **event: Any) -> Any:
    return Redaction(secrets)(None, "info", event)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("https://user:password@node.example:8545", "https://node.example:8545"),
        ("https://node.example/v3/abc?key=1 failed", f"https://node.example/{HIDDEN} failed"),
        ("at redis://:password@10.0.0.5:6379/0, again", f"at redis://10.0.0.5:6379/{HIDDEN} again"),
        ("url='https://token@node.example'", "url='https://node.example'"),
        ("http://127.0.0.1:8545/", "http://127.0.0.1:8545/"),
        (f"key {KEY}", f"key {HIDDEN}"),
        (f"key 0x{KEY}.", f"key {HIDDEN}."),
        (KEY + KEY, HIDDEN),
        (
            "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC",
            "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC",
        ),
        ("12:30 ratio 1/2 a@b", "12:30 ratio 1/2 a@b"),
        (7, 7),
        (None, None),
    ],
)
def test_redaction__of_values(value: Any, expected: Any) -> None:
    assert redacted(value=value) == {"value": expected}


def test_redaction__known_secrets_wherever_they_are() -> None:
    event = redacted(
        ("hunter2", "hunter2-longer", "short"),
        event="the password hunter2-longer",
        nested={"list": [("hunter2",)], "hunter2": 1},
        short="shorter",
    )
    assert event == {
        "event": f"the password {HIDDEN}",
        "nested": {"list": [[HIDDEN]], HIDDEN: 1},
        "short": "shorter",
    }


def test_redaction__hashes_by_name_only() -> None:
    assert redacted(transaction=TRANSACTION, key=TRANSACTION, hash=[TRANSACTION]) == {
        "transaction": TRANSACTION,
        "key": HIDDEN,
        "hash": [TRANSACTION],
    }


def test_redaction__objects_by_their_text() -> None:
    assert redacted(error=ValueError(KEY)) == {"error": HIDDEN}
