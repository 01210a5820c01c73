"""Answers of HTTP that have no end, from a server on loopback."""

from __future__ import annotations

import gzip
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator

import pytest
import requests

from perpool.keeper.bounded import Unbounded, bound

MOST = 1 << 20
OK = b"HTTP/1.1 200 OK\r\n"
GZIP = OK + b"Content-Encoding: gzip\r\n"

Serve = Callable[[Iterable[bytes]], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """A server that sends these bytes to each who connects, one after the other; its URL."""
    listening: list[socket.socket] = []

    def start(said: Iterable[bytes]) -> str:
        server = socket.create_server(("127.0.0.1", 0))
        listening.append(server)

        def answer() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1 << 16)
                    try:
                        for part in said:
                            connection.sendall(part)
                    except OSError:
                        continue

        threading.Thread(target=answer, daemon=True).start()
        return f"http://127.0.0.1:{server.getsockname()[1]}"

    yield start
    for each in listening:
        each.shutdown(socket.SHUT_RDWR)
        each.close()


def get(url: str, seconds: float = 10) -> bytes:
    with bound(requests.Session(), most=MOST, seconds=seconds) as session:
        return session.get(url, timeout=2).content


def whole(body: bytes, head: bytes = OK) -> list[bytes]:
    return [head + b"Content-Length: %d\r\n\r\n" % len(body), body]


@pytest.mark.parametrize("size", [0, 1, MOST])
@pytest.mark.parametrize("compressed", [False, True])
def test_bound__up_to_the_most(serve: Serve, size: int, compressed: bool) -> None:
    body = b"7" * size
    said = whole(gzip.compress(body), GZIP) if compressed else whole(body)
    assert get(serve(said)) == body


@pytest.mark.parametrize("compressed", [False, True])
def test_bound__one_byte_more(serve: Serve, compressed: bool) -> None:
    body = b"7" * (MOST + 1)
    url = serve(whole(gzip.compress(body), GZIP) if compressed else whole(body))
    with pytest.raises(Unbounded, match=f"over {MOST} bytes"):
        get(url)


def test_bound__a_bomb_takes_no_memory(serve: Serve) -> None:
    bomb = gzip.compress(bytes(100 * MOST), 9)
    assert len(bomb) < MOST // 8
    url = serve(whole(bomb, GZIP))
    tracemalloc.start()
    try:
        with pytest.raises(Unbounded):
            get(url)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * MOST


def test_bound__chunks_without_end(serve: Serve) -> None:
    def said() -> Iterator[bytes]:
        yield OK + b"Transfer-Encoding: chunked\r\n\r\n"
        while True:
            yield b"400\r\n" + bytes(1 << 10) + b"\r\n"

    with pytest.raises(Unbounded):
        get(serve(said()))


@pytest.mark.parametrize("head", [OK, GZIP])
def test_bound__drips_without_end(serve: Serve, head: bytes) -> None:
    """Compressed ones are a name of a file, which inflates to nothing."""

    def said() -> Iterator[bytes]:
        yield head + b"\r\n"
        yield b"\x1f\x8b\x08\x08" + bytes(6)
        while True:
            time.sleep(0.02)
            yield b"a"

    started = time.monotonic()
    with pytest.raises(requests.ReadTimeout):
        get(serve(said()), seconds=0.3)
    assert 0.3 <= time.monotonic() - started < 1.5


@pytest.mark.parametrize(
    "said",
    [
        whole(b"no gzip", GZIP),
        whole(b"{}", OK + b"Content-Encoding: br\r\n"),
        whole(b"{}", OK + b"Content-Encoding: gzip, gzip\r\n"),
        [OK + b"Content-Length: 9\r\n\r\n", b"{}"],
    ],
)
def test_bound__answers_that_are_none(serve: Serve, said: list[bytes]) -> None:
    with pytest.raises(requests.RequestException):
        get(serve(said))


def test_bound__redirects_without_end(serve: Serve) -> None:
    url = serve([b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"])
    with pytest.raises(requests.TooManyRedirects):
        get(url)
