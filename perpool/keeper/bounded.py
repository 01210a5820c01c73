"""Answers of HTTP that end: neither without bound, nor blown up by their compression, nor in drips.

    session = bound(requests.Session(), most=16 << 20, seconds=30)

requests reads a whole body, and inflates it, before anyone can look at its size. So a server that
is asked could take all our memory with a few kilobytes, or our thread for ever.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError, ReadTimeoutError

_REDIRECTS = 3
_CHUNK = 1 << 16
_GZIP = 16 + zlib.MAX_WBITS


class Unbounded(requests.ConnectionError):
    """An answer is larger than it may be."""


def bound(session: requests.Session, *, most: int, seconds: float) -> requests.Session:
    """Have a session's answers hold `most` bytes, inflated, and end within so many seconds.

    Its requests then raise Unbounded and requests.ReadTimeout. Each of a few redirects counts anew,
    and headers have but the request's own timeout, for each of their parts.
    """
    session.max_redirects = _REDIRECTS
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Adapter(most, seconds))
    return session


class _Adapter(HTTPAdapter):
    def __init__(self, most: int, seconds: float) -> None:
        super().__init__()
        self._most = most
        self._seconds = seconds

    def send(
        self, request: requests.PreparedRequest, *args: Any, **kwargs: Any
    ) -> requests.Response:
        deadline = time.monotonic() + self._seconds
        request.headers["Accept-Encoding"] = "gzip"
        response = super().send(request, *args, **{**kwargs, "stream": True})
        try:
            content = self._content(response, deadline)
        except BaseException:
            response.close()
            raise
        # as requests itself has it once a body is read
        response._content = content
        response._content_consumed = True  # type: ignore[attr-defined]
        return response

    def _content(self, response: requests.Response, deadline: float) -> bytes:
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in ("identity", "gzip"):
            raise requests.exceptions.ContentDecodingError("compressed as nobody asked for")
        inflate = zlib.decompressobj(_GZIP) if encoding == "gzip" else None
        content = bytearray()
        for part in _parts(response, deadline):
            try:
                most = self._most - len(content) + 1
                content += inflate.decompress(part, most) if inflate else part
            except zlib.error:
                raise requests.exceptions.ContentDecodingError("is not compressed") from None
            if len(content) > self._most:
                raise Unbounded(f"an answer of over {self._most} bytes")
        return bytes(content)


def _parts(response: requests.Response, deadline: float) -> Iterator[bytes]:
    """A body as it comes, without waiting for more than there is."""
    try:
        while part := response.raw.read1(_CHUNK, decode_content=False):
            if time.monotonic() > deadline:
                raise requests.ReadTimeout("no whole answer in time")
            yield part
    except ReadTimeoutError:
        raise requests.ReadTimeout("no whole answer in time") from None
    except HTTPError as error:
        raise requests.ConnectionError(f"broken off ({type(error).__name__})") from None
