"""A stand-in for an external signer such as Web3Signer: JSON-RPC over HTTP, in a thread."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from eth_account.signers.local import LocalAccount

ACCOUNT_MISSING = {"code": -32000, "message": "Signing from account is not an unlocked account"}


class ExternalSigner:
    """Signs for `keys`; `chain_id` is its own, which it signs with whatever it is asked.

    `spoil` changes a result before it is answered, `refusal` is an error answered to everything,
    `delay` an event that answers wait for. `asked` are the requests so far.
    """

    def __init__(self, keys: Iterable[LocalAccount], *, chain_id: int = 1) -> None:
        self.keys = {key.address: key for key in keys}
        self.chain_id = chain_id
        self.spoil: Callable[[Any], Any] = lambda result: result
        self.refusal: dict[str, Any] | None = None
        self.delay: threading.Event | None = None
        self.asked: list[dict[str, Any]] = []
        signer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if signer.delay is not None:
                    signer.delay.wait()
                body = json.dumps(signer.answer(request)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> ExternalSigner:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.delay is not None:
            self.delay.set()
        self._server.shutdown()
        self._server.server_close()

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """The response to a request."""
        self.asked.append(request)
        head = {"jsonrpc": "2.0", "id": request["id"]}
        sender = request["params"][0]
        address = sender["from"] if isinstance(sender, dict) else sender
        if self.refusal is not None or address not in self.keys:
            return head | {"error": self.refusal or ACCOUNT_MISSING}
        method = {
            "eth_signTypedData": self._typed_data,
            "eth_signTransaction": self._transaction,
        }[request["method"]]
        return head | {"result": self.spoil(method(self.keys[address], *request["params"]))}

    def _typed_data(self, key: LocalAccount, _: str, text: str) -> str:
        data = json.loads(text)
        data["message"]["observed_at"] = int(data["message"]["observed_at"])
        data["message"]["values"] = [int(each) for each in data["message"]["values"]]
        return key.sign_typed_data(full_message=data).signature.to_0x_hex()

    def _transaction(self, key: LocalAccount, asked: dict[str, Any]) -> str:
        fields = {name: value for name, value in asked.items() if name != "from"}
        return key.sign_transaction(fields | {"chainId": self.chain_id}).raw_transaction.to_0x_hex()
