"""`/metrics` for Prometheus and `/healthz` for whoever restarts or pages, over HTTP.

    with StatusServer(("127.0.0.1", 9464), metrics, health, clock) as server:
        server.address

/healthz is 200 with {"healthy": true}, or 503 with the reasons. It has no secrets, but says what
this keeper is at: listen on a local address, and let a proxy decide who may ask.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST

from perpool.keeper.health import Health
from perpool.keeper.metrics import Metrics

TIMEOUT = 10
"""Seconds for a client to ask and to take the answer."""
JSON = "application/json"


class ServerError(Exception):
    """The address cannot be listened on; the message says what to do."""


class StatusServer:
    """Answers in threads of its own, from the moment it is entered until it is left.

    No role waits for it, and it waits for no role. `clock` gives the keeper's time.
    """

    def __init__(
        self,
        listen: tuple[str, int],
        metrics: Metrics,
        health: Health,
        clock: Callable[[], int],
    ) -> None:
        """Raises ServerError where `listen`, an address and a port, 0 for any, is not free."""
        host, port = listen

        class Server(ThreadingHTTPServer):
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Clients may go away at any time; that is no event."""

        try:
            self._server = Server(listen, _handler(metrics, health, clock))
        except OSError as error:
            raise ServerError(
                f"cannot listen on {host}:{port} ({error.strerror or error}): another keeper may "
                "have it; change [http] listen"
            ) from None
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.1},
            name="http",
            daemon=True,
        )

    @property
    def address(self) -> tuple[str, int]:
        """What it listens on."""
        host, port = self._server.server_address[:2]
        return str(host), int(port)

    def __enter__(self) -> StatusServer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


def health_answer(health: Health, clock: Callable[[], int]) -> tuple[HTTPStatus, dict[str, Any]]:
    """What /healthz answers."""
    try:
        reasons = health.check(clock())
    except Exception as error:
        # its text is for the log; here it is enough that the time cannot be had
        reasons = [f"the keeper's clock fails: {type(error).__name__}"]
    status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
    return status, {"healthy": not reasons, "reasons": reasons}


def _handler(
    metrics: Metrics, health: Health, clock: Callable[[], int]
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = TIMEOUT
        server_version = "perpool-keeper"
        sys_version = ""

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/metrics":
                self._answer(HTTPStatus.OK, CONTENT_TYPE_LATEST, metrics.text())
            elif path == "/healthz":
                status, body = health_answer(health, clock)
                self._answer(status, JSON, json.dumps(body, indent=2).encode() + b"\n")
            else:
                self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"see /metrics and /healthz\n")

        do_HEAD = do_GET  # noqa: N815 - as the base class calls it

        def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Every scrape would be a line."""

    return Handler
