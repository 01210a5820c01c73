"""HTTP on loopback: JSON in, whatever is said out."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Response:
    """What goes out."""

    text: str
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    compressed: bool = False


Respond = Callable[[str, dict[str, Any]], Response]
"""From a path, and the query or what is in the body."""


class Server:
    """Listens from the start, on a port that stays its own while it is closed."""

    def __init__(self, respond: Respond) -> None:
        self._respond = respond
        self._port = 0
        self._listening: ThreadingHTTPServer | None = None
        self.open()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._port}"

    def open(self) -> None:
        server = ThreadingHTTPServer((HOST, self._port), partial(_Handler, self._respond))
        self._port = server.server_port
        self._listening = server
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        """Nobody listens any more, until it is opened again."""
        if self._listening is not None:
            self._listening.shutdown()
            self._listening.server_close()
            self._listening = None


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, respond: Respond, *args: Any) -> None:
        self.respond = respond
        super().__init__(*args)

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        self._send(self.respond(url.path, query))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        self._send(self.respond(urlsplit(self.path).path, body))

    def _send(self, response: Response) -> None:
        body = response.text.encode()
        if response.compressed:
            body = gzip.compress(body, 1)
        try:
            self.send_response(response.status)
            self.send_header("Content-Type", response.content_type)
            self.send_header("Content-Length", str(len(body)))
            if response.compressed:
                self.send_header("Content-Encoding", "gzip")
            for name, value in response.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
        except ConnectionError:
            pass  # who asked did not wait for it

    def log_message(self, *_: Any) -> None:
        pass
