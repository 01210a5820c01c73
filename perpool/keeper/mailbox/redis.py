"""Mailbox and lease in Redis, for processes on several machines.

Settings of the server that matter: `maxmemory-policy noeviction`; `proto-max-bulk-len 4mb`, which
bounds the memory that a reporter's key can take; `client-output-buffer-limit normal 16mb 0 0` and
`maxmemory-clients 64mb`, which bound what his connections can take, whether he reads his answers or
not. What a restart loses is put up again.

What is transient (no connection, no answer, still loading) is tried again for `RETRY_SECONDS`;
then it is a MailboxError, and the next use connects anew. A call ends within some 8 seconds.
"""

from __future__ import annotations

import contextlib
import re
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TypeVar, cast
from urllib.parse import parse_qs, urlsplit

import redis
import tenacity
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.exceptions import LockError, RedisError, ResponseError
from redis.lock import Lock
from redis.retry import Retry

from perpool.keeper.mailbox import (
    LONGEST_BODY,
    LeaseLost,
    LeaseState,
    MailboxError,
    Message,
    check_note,
    mark_of,
    pack,
    unpack,
)

RETRY_SECONDS = 3.0
CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 2.0

_NO_STRING = b"?"
"""For what is there in place of reports, and malformed as it is."""

_DEFAULTS: dict[str, Any] = {
    "socket_connect_timeout": CONNECT_SECONDS,
    "socket_timeout": ANSWER_SECONDS,
}
_FIXED: dict[str, Any] = {
    "protocol": 2,
    "decode_responses": False,  # what is there may be anything
    "retry": Retry(NoBackoff(), 0),  # tenacity does it
}
"""What the URL does not choose."""
_REFUSALS = (
    redis.AuthenticationError,
    redis.exceptions.AuthorizationError,
    redis.exceptions.AuthenticationWrongNumberOfArgsError,
    redis.exceptions.NoPermissionError,
)
_ADVICE = {
    "MISCONF": "it cannot save to its disk: free space there",
    "LOADING": "it is loading its data: wait",
    "READONLY": "it is a replica: use the URL of the primary",
}

T = TypeVar("T")


class Server:
    """A Redis server by URL. Nothing is sent before the first `ask`."""

    def __init__(self, url: str) -> None:
        try:
            pool = redis.ConnectionPool(**(_DEFAULTS | _options(url) | _FIXED))
            pool.connection_class(**pool.connection_kwargs)  # options that do not exist
            self.client = redis.Redis.from_pool(pool)
        except (ValueError, TypeError, RedisError):
            # what the library says may hold parts of the password
            raise MailboxError(
                "no URL of a Redis server: write redis://[user:password@]host[:port][/db], options"
                " as redis-py has them, special characters of the password percent-encoded"
            ) from None
        host, port, number = (
            pool.connection_kwargs.get(name, default)
            for name, default in (("host", "localhost"), ("port", 6379), ("db", 0))
        )
        self.place = f"{url.partition(':')[0]}://{host}:{port}/{number}"
        """The URL without user, password and options."""

    def ask(self, operation: Callable[..., T], *arguments: Any) -> T:
        """The operation's result; all of it is done again where something transient gets in the
        way. Raises MailboxError."""
        try:
            return _PATIENTLY(operation, *arguments)
        except (RedisError, OSError) as error:
            self.client.connection_pool.disconnect(inuse_connections=False)
            # what is below a refusal has the password at hand
            cause = None if isinstance(error, _REFUSALS) else error
            raise MailboxError(f"{self.place}: {_advice(error)}") from cause

    def close(self) -> None:
        self.client.close()


def _options(url: str) -> dict[str, Any]:
    """What redis-py reads in a URL. Raises ValueError where a password may be taken for a host."""
    parts = urlsplit(url)
    if not parts.hostname or parts.fragment or not re.fullmatch(r"(/[0-9]*)?", parts.path):
        raise ValueError
    if parts.query:
        parse_qs(parts.query, strict_parsing=True)
    return cast(dict[str, Any], parse_url(url))  # type: ignore[no-untyped-call]


def _is_transient(error: BaseException) -> bool:
    lost = isinstance(error, (redis.ConnectionError, redis.TimeoutError, OSError))
    return lost and not isinstance(error, _REFUSALS)


_PATIENTLY = tenacity.Retrying(
    retry=tenacity.retry_if_exception(_is_transient),
    stop=tenacity.stop_after_delay(RETRY_SECONDS),
    wait=tenacity.wait_exponential_jitter(initial=0.05, max=0.5, jitter=0.05),
    reraise=True,
)


def _advice(error: Exception) -> str:
    if isinstance(error, _REFUSALS):
        return "it refuses us: check user, password and their permissions"
    if isinstance(error, redis.OutOfMemoryError):
        return "it is out of memory: raise its maxmemory"
    if isinstance(error, redis.ReadOnlyError):
        return _ADVICE["READONLY"]
    if isinstance(error, ResponseError):
        text = str(error)
        return _ADVICE.get(text.partition(" ")[0], f"it refuses: {text[:200]}")
    return f"it cannot be reached ({str(error)[:200]}): start it, or check the URL and the network"


# -- mailbox --


class RedisMailbox:
    """A `Mailbox` as keys, "perpool:CHAIN:ORACLE:REPORTER", one for each reporter.

    So the server's rights of users are those of reporters: each may write to the one key that is
    his, and whatever he does to it, the others' reports are where they were.
    """

    def __init__(self, url: str, chain_id: int, oracle: str) -> None:
        self.chain_id = chain_id
        self.oracle = oracle
        self.refused = 0
        self._server = Server(url)
        self._client = self._server.client

    def post(self, messages: Sequence[Message]) -> None:
        self._server.ask(self._post, *pack(messages, self.chain_id))

    def read(self, reporter: str, seen: str | None = None) -> tuple[list[Message], str | None]:
        body = self._server.ask(self._body, reporter)
        mark = mark_of(body)
        if mark == seen:
            return [], mark
        messages, refused = unpack(body, reporter, self.chain_id)
        self.refused += refused
        return messages, mark

    def close(self) -> None:
        self._server.close()

    def __repr__(self) -> str:
        return f"<RedisMailbox {self._server.place}, chain {self.chain_id}>"

    def _key(self, reporter: str) -> str:
        return f"perpool:{self.chain_id}:{self.oracle}:{reporter}"

    def _post(self, reporter: str, body: bytes) -> None:
        if self._body(reporter) != body:
            self._client.set(self._key(reporter), body)

    def _body(self, reporter: str) -> bytes:
        try:
            return cast(bytes, self._client.getrange(self._key(reporter), 0, LONGEST_BODY))
        except ResponseError as error:
            if not str(error).startswith("WRONGTYPE"):
                raise
            # somebody has made something else of it, which is the reporter's own affair
            return _NO_STRING


# -- lease --

_ANNOUNCE = """
if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('set', KEYS[2], ARGV[2])
return 1
"""


class RedisLease:
    """A `Lease` as redis-py's Lock. Time is the server's, so clocks of its users do not matter.

    A server that loses its data loses lease and announcement: another may then acquire it while
    the holder, until he next asks, believes it is his.
    """

    def __init__(self, url: str, name: str, holder: str, ttl: timedelta) -> None:
        self.name = name
        self.holder = holder
        self._server = Server(url)
        self._client = self._server.client
        self._key = f"perpool:lease:{name}"
        self._token = f"{holder}/{uuid.uuid4().hex}"
        self._lock = Lock(self._client, self._key, timeout=ttl.total_seconds(), thread_local=False)
        self._announce = self._client.register_script(_ANNOUNCE)

    def hold(self) -> bool:
        return self._server.ask(self._hold)

    def release(self) -> None:
        self._server.ask(self._release)

    def state(self) -> LeaseState | None:
        return self._server.ask(self._state)

    def announce(self, note: str) -> None:
        check_note(note)
        keys = [self._key, f"{self._key}:note"]
        if not self._server.ask(self._announce, keys, [self._token, note]):
            raise LeaseLost(f"the lease {self.name} is not held by {self.holder}: hold it first")

    def note(self) -> str | None:
        note = cast(bytes | None, self._server.ask(self._client.get, f"{self._key}:note"))
        return None if note is None else note.decode(errors="replace")

    def close(self) -> None:
        self._server.close()

    def __repr__(self) -> str:
        return f"<RedisLease {self.name} for {self.holder} at {self._server.place}>"

    def _hold(self) -> bool:
        # whoever has this token is us, also where the answer that said so was lost
        self._lock.local.token = self._token
        try:
            return self._lock.reacquire()
        except LockError:
            return bool(self._lock.acquire(blocking=False, token=self._token))

    def _release(self) -> None:
        self._lock.local.token = self._token
        with contextlib.suppress(LockError):
            self._lock.release()

    def _state(self) -> LeaseState | None:
        with self._client.pipeline() as both:
            both.get(self._key)
            both.pttl(self._key)
            token, left_ms = both.execute()
        if token is None:
            return None
        holder = token.decode(errors="replace").rpartition("/")[0]
        return LeaseState(holder, int(time.time() + left_ms / 1000))
