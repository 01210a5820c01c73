"""Mailbox and lease in Redis, for processes on several machines.

Needs Redis 5 or later. Settings of the server that matter: `appendonly yes` keeps messages across
a restart (else a round may have to be posted again by the next), `maxmemory-policy noeviction`,
and `proto-max-bulk-len 1mb`, which bounds what one entry by a hostile poster can cost a reader.

What is transient (no connection, no answer, still loading) is tried again for `RETRY_SECONDS`;
then it is a MailboxError, and the next use connects anew. A call ends within some 8 seconds.
"""

from __future__ import annotations

import contextlib
import re
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar, cast
from urllib.parse import parse_qs, urlsplit

import redis
import structlog
import tenacity
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.exceptions import LockError, RedisError, ResponseError
from redis.lock import Lock
from redis.retry import Retry

from perpool.keeper.mailbox import (
    KEPT,
    READ_LIMIT,
    LeaseLost,
    LeaseState,
    MailboxError,
    Message,
    check_note,
)

RETRY_SECONDS = 3.0
CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 2.0
PAGE = 500
"""Entries in one answer."""

_LOG = structlog.get_logger("perpool.keeper.mailbox")
_LAST_ID = (2**64 - 1, 2**64 - 1)
_EXHAUSTED = ("exhausted the last possible ID", "smaller than the target stream top item")
"""What servers say to a post behind the last possible id."""

_DEFAULTS: dict[str, Any] = {
    "socket_connect_timeout": CONNECT_SECONDS,
    "socket_timeout": ANSWER_SECONDS,
}
_FIXED: dict[str, Any] = {
    "protocol": 2,
    "decode_responses": False,  # entries may be anything
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
    """A `Mailbox` in a stream. A position is the stream's origin, a random name, and an entry's id.

    The origin is a key of its own: data that is gone took it along, so that the reader who makes
    another starts over. A server that comes back with older data (its last snapshot) still has
    the origin; its stream then ends before the position, which makes a reader start over too.
    """

    def __init__(self, url: str, chain_id: int) -> None:
        self.chain_id = chain_id
        self.refused = 0
        self._server = Server(url)
        self._client = self._server.client
        self._stream = f"perpool:{chain_id}:reports"
        self._origin = f"perpool:{chain_id}:origin"

    def post(self, message: Message) -> None:
        self._server.ask(self._post, message.on_chain(self.chain_id).to_json())

    def read(self, after: str | None) -> tuple[list[Message], str | None]:
        return self._server.ask(self._read, after)

    def prune(self, before: int) -> None:
        self._server.ask(self._prune, before)

    def close(self) -> None:
        self._server.close()

    def __repr__(self) -> str:
        return f"<RedisMailbox {self._server.place}, chain {self.chain_id}>"

    def _post(self, text: str) -> None:
        try:
            self._append(text)
        except ResponseError as error:
            if not any(each in str(error) for each in _EXHAUSTED):
                raise
            self._start_over()
            self._append(text)

    def _append(self, text: str) -> None:
        self._client.xadd(self._stream, {"message": text}, maxlen=KEPT, approximate=True)

    def _start_over(self) -> None:
        """Somebody has posted under the last possible id, and nothing can follow: make room."""

        def delete(pipe: Any) -> None:
            answer = pipe.xinfo_stream(self._stream)
            pipe.multi()
            # unless another has done so already
            if _order(answer["last-generated-id"].decode()) == _LAST_ID:
                pipe.delete(self._stream, self._origin)

        with contextlib.suppress(ResponseError):  # no such key any more
            self._client.transaction(delete, self._stream)
            _LOG.error("mailbox started over", reason="somebody used up its ids")

    def _read(self, after: str | None) -> tuple[list[Message], str | None]:
        origin = self._current_origin()
        since = self._entry_id(origin, after)
        messages: list[Message] = []
        refused = 0
        while len(messages) + refused < READ_LIMIT:
            answer: Any = self._client.xread({self._stream: since}, count=PAGE)
            if not answer:
                break
            [[_, entries]] = answer
            for _, fields in entries:
                try:
                    messages.append(self._message(fields))
                except MailboxError:
                    refused += 1
            since = entries[-1][0].decode()
            after = f"{origin}/{since}"
        self.refused += refused
        return messages, after

    def _prune(self, before: int) -> None:
        # entries are nearly in the order of their times: what follows a page with a newer one stays
        while True:
            page: Any = self._client.xrange(self._stream, count=PAGE)
            old = [entry_id for entry_id, fields in page if self._observed_at(fields) < before]
            if old:
                self._client.xdel(self._stream, *old)
            if not old or len(old) < len(page):
                return

    def _message(self, fields: dict[bytes, bytes]) -> Message:
        return Message.from_json(fields.get(b"message", b""), self.chain_id)

    def _observed_at(self, fields: dict[bytes, bytes]) -> int:
        try:
            return self._message(fields).report.observed_at
        except MailboxError:
            return -1

    def _current_origin(self) -> str:
        """Empty where there is none and the server takes none: full, or we may only read."""
        origin = cast(bytes | None, self._client.get(self._origin))
        if origin is None:
            with contextlib.suppress(ResponseError):
                self._client.set(self._origin, uuid.uuid4().hex, nx=True)
            origin = cast(bytes, self._client.get(self._origin) or b"")
        return origin.decode(errors="replace")

    def _entry_id(self, origin: str, position: str | None) -> str:
        """The entry to read on from: the first unless the position is of this stream."""
        of, _, entry_id = (position or "").partition("/")
        wanted = _order(entry_id)
        if of == origin and wanted is not None and wanted <= (_order(self._newest_id()) or (0, 0)):
            return entry_id
        return "0-0"

    def _newest_id(self) -> str:
        """Of the newest entry there ever was in this stream."""
        try:
            answer: Any = self._client.xinfo_stream(self._stream)
        except ResponseError:
            return ""  # no such key
        return cast(bytes, answer["last-generated-id"]).decode()


def _order(entry_id: str) -> tuple[int, int] | None:
    """An entry's id as two numbers of 64 bits; None where it is none."""
    parts = re.fullmatch(r"([0-9]{1,20})-([0-9]{1,20})", entry_id)
    return (int(parts[1]), int(parts[2])) if parts else None


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
