"""A faulty node: an HTTP proxy in front of a real anvil, with faults that tests switch on and off.

with RpcProxy(anvil.http_url) as proxy:
    nodes = Nodes([anvil.endpoint, proxy.url])
    proxy.lag = 20              # and any number of other faults at once, see the attributes
    ...
    proxy.heal()
    proxy.counts["eth_call"]    # how often it was asked for that
"""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal

import requests
from eth_utils import keccak

Json = Any
Message = dict[str, Any]

SEND = "eth_sendRawTransaction"
NEWEST = ("latest", "pending", "safe", "finalized")
BLOCK_ARGUMENT = {
    "eth_call": 1,
    "eth_estimateGas": 1,
    "eth_getBalance": 1,
    "eth_getBlockByNumber": 0,
    "eth_getCode": 1,
    "eth_getStorageAt": 2,
    "eth_getTransactionCount": 1,
}
"""Where these methods have their block."""

NO_BLOCK = {"code": -32000, "message": "header not found"}
UNDERPRICED = {"code": -32000, "message": "replacement transaction underpriced"}
BROKEN = {"code": -32603, "message": "internal error"}


class RpcProxy:
    """A node of its own, listening on a free loopback port.

    What is wrong with it is in the attributes that `heal` sets back.
    """

    delay: float
    """Seconds before each answer."""
    drip: float
    """Seconds before each byte of an answer."""
    bomb: int
    """Blanks after each answer, which is compressed."""
    status: int | None
    """HTTP status of each answer, 500 or 429, with a page that is no JSON."""
    html: bool
    """A page in place of each answer, with status 200."""
    lag: int
    """Blocks that it is behind; it knows nothing of later ones."""
    boasts: int
    """Blocks that it makes up on top of the newest, with the newest one's state and time."""
    lies: set[Literal["calls", "hashes", "receipts", "nonces"]]
    """What it gets wrong: results of calls, hashes of blocks, success in receipts, nonces."""
    after_sending: Literal["error", "drop"] | None
    """Forwards a transaction, and then answers with an error or ends the connection."""
    swallows: bool
    """Takes a transaction, gives its hash, and forwards nothing; has never heard of any."""
    underpriced: int
    """How many transactions to find underpriced, without forwarding them."""
    batches: int | None
    """The most requests that it takes in one message; 0 for those that know no batches at all."""
    throttle: bool
    """Refuses with a JSON-RPC error that there were too many requests."""
    rewrite: Callable[[str, list[Any], Message], Message] | None
    """Any other fault: (method, parameters, answer) -> answer."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.counts: Counter[str] = Counter()
        """Requests by method, those within batches too."""
        self.messages = 0
        """HTTP requests."""
        self.raws: list[str] = []
        """Transactions that it was sent, whatever became of them."""
        self._mutex = threading.Lock()
        self._port = 0
        self._server: ThreadingHTTPServer | None = None
        self._sessions = threading.local()
        self.heal()
        self.up()

    @property
    def url(self) -> str:
        """Its address, which stays the same while it is down."""
        return f"http://127.0.0.1:{self._port}"

    def heal(self) -> None:
        """End all faults but that it is `down`."""
        self.delay = 0.0
        self.drip = 0.0
        self.bomb = 0
        self.status = None
        self.html = False
        self.lag = 0
        self.boasts = 0
        self.lies = set()
        self.after_sending = None
        self.swallows = False
        self.underpriced = 0
        self.batches = None
        self.throttle = False
        self.rewrite = None

    def down(self) -> None:
        """Refuse connections."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def up(self) -> None:
        """Listen, again on the same port."""
        if self._server is None:
            self._server = _Server(("127.0.0.1", self._port), self)
            self._port = self._server.server_address[1]
            threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def __enter__(self) -> RpcProxy:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.down()

    # -- answering --

    def count(self, body: Json) -> None:
        """A message has come, whether or not it is answered."""
        with self._mutex:
            self.messages += 1
            self.counts.update(
                each["method"] for each in (body if isinstance(body, list) else [body])
            )

    def answer(self, body: Json) -> Json:
        """To one message; None ends the connection without an answer."""
        batch = isinstance(body, list)
        requests_: list[Message] = body if batch else [body]
        if batch and self.batches is not None and len(body) > self.batches:
            error = {"code": -32600, "message": "batch is too large"}
            return {"jsonrpc": "2.0", "id": None, "error": error}
        honest = not (self.lag or self.boasts or self.swallows or self.throttle)
        if batch and honest and all(each["method"] != SEND for each in requests_):
            answers = self._answer_together(requests_)
        else:
            answers = [self._answer(each) for each in requests_]
        if None in answers:
            return None
        return answers if batch else answers[0]

    def _answer_together(self, requests_: list[Message]) -> list[Message | None]:
        """The same as one after the other, and several times as fast."""
        by_id = {each["id"]: each for each in self._post(requests_)}
        return [self._spoil(each, by_id[each["id"]]) for each in requests_]

    def _answer(self, request: Message) -> Message | None:
        method, parameters = request["method"], list(request.get("params") or [])
        if self.throttle:
            return _error(request, {"code": -32005, "message": "rate limit exceeded"})
        if method == SEND:
            return self._send(request, parameters[0])
        if self.lag:
            found = self._lagging(request, method, parameters)
        elif self.boasts:
            found = self._boasting(request, method, parameters)
        elif self.swallows and method == "eth_getTransactionByHash":
            found = _result(request, None)
        else:
            found = self._forward(request)
        return self._spoil(request, found)

    def _spoil(self, request: Message, answer: Message) -> Message:
        """As the lies have it."""
        method, parameters = request["method"], list(request.get("params") or [])
        found = self._lie(method, answer)
        return found if self.rewrite is None else self.rewrite(method, parameters, found)

    def _send(self, request: Message, raw: str) -> Message | None:
        with self._mutex:
            self.raws.append(raw)
            underpriced = self.underpriced > 0
            self.underpriced -= underpriced
        if underpriced:
            return _error(request, UNDERPRICED)
        if self.swallows:
            return _result(request, "0x" + keccak(hexstr=raw).hex())
        found = self._forward(request)
        if self.after_sending == "drop":
            return None
        return _error(request, BROKEN) if self.after_sending == "error" else found

    def _lie(self, method: str, answer: Message) -> Message:
        found = answer.get("result")
        if "calls" in self.lies and method == "eth_call" and isinstance(found, str):
            word = int(found[-64:] or "0", 16) ^ 1
            return {**answer, "result": found[:-64] + f"{word:064x}" if len(found) > 2 else found}
        if "nonces" in self.lies and method == "eth_getTransactionCount" and found:
            return {**answer, "result": hex(int(found, 16) + 1)}
        if not isinstance(found, dict):
            return answer
        if "hashes" in self.lies and method == "eth_getBlockByNumber":
            return {**answer, "result": {**found, "hash": _other(found["hash"])}}
        if "receipts" in self.lies and method == "eth_getTransactionReceipt":
            status = "0x0" if found["status"] == "0x1" else "0x1"
            return {**answer, "result": {**found, "status": status}}
        return answer

    def _lagging(self, request: Message, method: str, parameters: list[Any]) -> Message:
        """As a node would answer that has not seen the last `lag` blocks."""
        head = max(0, int(self._ask("eth_blockNumber"), 16) - self.lag)
        if method == "eth_blockNumber":
            return _result(request, hex(head))
        if method in BLOCK_ARGUMENT:
            position = BLOCK_ARGUMENT[method]
            parameters += ["latest"] * (position + 1 - len(parameters))
            if parameters[position] in NEWEST:
                parameters[position] = hex(head)
            elif _number(parameters[position]) > head:
                missing = method == "eth_getBlockByNumber"
                return _result(request, None) if missing else _error(request, NO_BLOCK)
        if method == "eth_getLogs":
            query = dict(parameters[0])
            newest = query.get("toBlock", "latest") in NEWEST
            query["toBlock"] = hex(head if newest else min(_number(query["toBlock"]), head))
            parameters = [query]
        answer = self._forward({**request, "params": parameters})
        found = answer.get("result")
        mined = isinstance(found, dict) and found.get("blockNumber")
        if mined and _number(mined) > head:
            return _result(request, None)
        return answer

    def _boasting(self, request: Message, method: str, parameters: list[Any]) -> Message:
        """As a node would answer that has `boasts` more blocks; up to there it is honest."""
        head = int(self._ask("eth_blockNumber"), 16)
        if method == "eth_blockNumber":
            return _result(request, hex(head + self.boasts))
        position = BLOCK_ARGUMENT.get(method, len(parameters))
        if position >= len(parameters):
            return self._forward(request)
        asked = parameters[position]
        number = head + self.boasts if asked in NEWEST else _number(asked)
        if not head < number <= head + self.boasts:
            return self._forward(request)
        parameters[position] = hex(head)
        answer = self._forward({**request, "params": parameters})
        if method == "eth_getBlockByNumber":
            found = answer["result"]
            made_up = {"number": hex(number), "hash": "0x" + keccak(number).hex()}
            answer = {**answer, "result": {**found, **made_up}}
        return answer

    def _ask(self, method: str, *parameters: Any) -> Any:
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(parameters)}
        return self._forward(message)["result"]

    def _forward(self, message: Message) -> Message:
        answer: Message = self._post(message)
        return answer

    def _post(self, message: Json) -> Json:
        session = getattr(self._sessions, "session", None)
        if session is None:
            session = self._sessions.session = requests.Session()
        return session.post(self.upstream, json=message, timeout=30).json()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], proxy: RpcProxy) -> None:
        self.proxy = proxy
        self.connections: set[Any] = set()
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is none of ours."""

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.add(request)
        super().process_request(request, client_address)

    def server_close(self) -> None:
        """Also end connections that clients keep open."""
        super().server_close()
        for each in list(self.connections):
            self.shutdown_request(each)

    def shutdown_request(self, request: Any) -> None:
        self.connections.discard(request)
        super().shutdown_request(request)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        proxy = self.server.proxy
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        proxy.count(body)
        if proxy.delay:
            time.sleep(proxy.delay)
        if proxy.status is not None or proxy.html:
            self._reply(proxy.status or 200, "text/html", "<html><h1>Try again later</h1></html>")
            return
        answer = proxy.answer(body)
        if answer is None:
            self.close_connection = True
            return
        self._reply(200, "application/json", json.dumps(answer))

    def _reply(self, status: int, kind: str, text: str) -> None:
        content = text.encode()
        self.send_response(status)
        if bomb := self.server.proxy.bomb:
            content = gzip.compress(content + b" " * bomb, 1)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if not self.server.proxy.drip:
            self.wfile.write(content)
            return
        for byte in content:
            time.sleep(self.server.proxy.drip)
            self.wfile.write(bytes([byte]))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        """Not to the terminal."""


def _result(request: Mapping[str, Any], result: Any) -> Message:
    return {"jsonrpc": "2.0", "id": request.get("id"), "result": result}


def _error(request: Mapping[str, Any], error: Mapping[str, Any]) -> Message:
    return {"jsonrpc": "2.0", "id": request.get("id"), "error": dict(error)}


def _number(quantity: Any) -> int:
    return 0 if quantity == "earliest" else int(quantity, 16)


def _other(hash_: str) -> str:
    return hash_[:-1] + ("0" if hash_[-1] != "0" else "1")
