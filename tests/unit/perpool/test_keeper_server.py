"""/metrics and /healthz over HTTP."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
import requests

from perpool.keeper.health import Health
from perpool.keeper.metrics import Metrics
from perpool.keeper.operation.server import ServerError, StatusServer

ANYWHERE = ("127.0.0.1", 0)
NOW = 1_700_000_000


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
def server(metrics: Metrics, health: Health) -> Iterator[StatusServer]:
    with StatusServer(ANYWHERE, metrics, health, lambda: NOW) as server:
        yield server


def get(server: StatusServer, path: str, method: str = "GET") -> requests.Response:
    host, port = server.address
    return requests.request(method, f"http://{host}:{port}{path}", timeout=5)


def test_metrics__are_prometheus_text(server: StatusServer, metrics: Metrics) -> None:
    metrics.balance.labels("0x12").set(1.5)
    response = get(server, "/metrics")
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/plain; version=")
    assert b'perpool_keeper_balance_ether{account="0x12"} 1.5' in response.content


def test_healthz__well(server: StatusServer) -> None:
    response = get(server, "/healthz?verbose")
    assert response.status_code == 200
    assert response.json() == {"healthy": True, "reasons": []}
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Cache-Control"] == "no-store"


def test_healthz__says_what_is_wrong(server: StatusServer, health: Health) -> None:
    health.trouble("nodes", "none answers")
    response = get(server, "/healthz")
    assert response.status_code == 503
    assert response.json() == {"healthy": False, "reasons": ["nodes: none answers"]}
    health.trouble("nodes", None)
    assert get(server, "/healthz").status_code == 200


def test_healthz__clock_that_fails_is_a_reason(metrics: Metrics, health: Health) -> None:
    def clock() -> int:
        raise ConnectionError("https://user:password@node.example/key")

    with StatusServer(ANYWHERE, metrics, health, clock) as server:
        response = get(server, "/healthz")
    assert response.status_code == 503
    assert response.json()["reasons"] == ["the keeper's clock fails: ConnectionError"]


def test_head__has_no_body(server: StatusServer) -> None:
    response = get(server, "/healthz", "HEAD")
    assert (response.status_code, response.content) == (200, b"")
    assert int(response.headers["Content-Length"]) > 0


@pytest.mark.parametrize("path", ["/", "/metrics/x", "/health"])
def test_other_paths__not_found(server: StatusServer, path: str) -> None:
    assert get(server, path).status_code == 404


def test_other_methods__refused(server: StatusServer) -> None:
    assert get(server, "/healthz", "POST").status_code == 501


def test_silent_client__holds_up_nobody(server: StatusServer) -> None:
    with socket.create_connection(server.address):
        assert get(server, "/healthz").status_code == 200


def test_slow_clock__holds_up_no_metrics(metrics: Metrics, health: Health) -> None:
    gate = threading.Event()

    def clock() -> int:
        gate.wait()
        return NOW

    with StatusServer(ANYWHERE, metrics, health, clock) as server:
        answers: list[int] = []
        slow = threading.Thread(target=lambda: answers.append(get(server, "/healthz").status_code))
        slow.start()
        assert get(server, "/metrics").status_code == 200
        assert answers == []
        gate.set()
        slow.join(5)
    assert answers == [200]


def test_server__address_taken(server: StatusServer, metrics: Metrics, health: Health) -> None:
    with pytest.raises(ServerError, match=r"cannot listen on .* change \[http\] listen"):
        StatusServer(server.address, metrics, health, lambda: NOW)


def test_server__gone_after_it_is_left(metrics: Metrics, health: Health) -> None:
    with StatusServer(ANYWHERE, metrics, health, lambda: NOW) as server:
        address = server.address
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=1)
