"""What each reporter says now, for whoever submits, and the lease that makes one submitter active.

    mailbox = open_mailbox("sqlite:///var/lib/perpool/mailbox.db", chain_id, oracle)
    mailbox.post([Message(chain_id, oracle, report), ...])   # in place of what he said before
    messages, mark = mailbox.read(reporter)
    messages, mark = mailbox.read(reporter, mark)            # [] where it is the same still

    lease = open_lease("redis://10.0.0.5:6379/0", "31337/funding", "host-a", timedelta(seconds=30))
    if lease.hold():                                 # again well before the time is over
        lease.announce(in_flight)

SQLite (`sqlite`) serves the processes of one machine, Redis (`redis`) those of several; the URL
chooses. A mailbox is a place to leave things, not an authority: signatures are the reader's to
check. Each reporter has a place of his own in it, for his reports of the newest two times and
nothing else. So there is nothing to flood: whatever is put into one place, by its reporter or by
whoever has his password, the others' reports are where they were, and what a reader has to look at
is bounded.

What a reporter said before that is gone, and not needed: a round is made of the newest, and a
submitter looks several times between two observations. A mailbox that has lost its data is whole
again as soon as every reporter has posted again, which he does every few seconds.

Every error is a MailboxError with what to do about it; passwords in a URL appear in none.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Annotated, Protocol

from eth_utils import is_checksum_address
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from perpool.reports import MAX_TOKENS, SignedReport

__all__ = [
    "Lease",
    "LeaseLost",
    "LeaseState",
    "Mailbox",
    "MailboxError",
    "Message",
    "open_lease",
    "open_mailbox",
]

LONGEST_MESSAGE = 16_384
"""Bytes of JSON; the largest report, 64 tokens and 64 values, takes under 8,000."""
MOST_MESSAGES = 4_000
"""Of one reporter: those of two times, for far more markets than there are."""
LONGEST_BODY = 2**22
"""Bytes of all his messages, with what separates them."""
LONGEST_NOTE = 2**20
"""Bytes of an announcement."""

_LATEST = 2**40
_LARGEST_CHAIN_ID = 2**63 - 1


class MailboxError(Exception):
    """The mailbox or lease cannot be used, or a message is malformed; the text says what to do."""


class LeaseLost(MailboxError):  # noqa: N818 - what happened, not what went wrong
    """The lease is not ours (any more): nothing was announced, and nothing should be sent."""


# -- messages --

_NUMBER = re.compile(r"0x[0-9a-f]{1,64}|0|[1-9][0-9]{0,77}", re.ASCII)


def _number(text: object) -> int:
    if not isinstance(text, str) or not _NUMBER.fullmatch(text):
        raise ValueError("not a decimal or hexadecimal number in a string")
    return int(text, 0)


def _address(text: str) -> str:
    if len(text) != 42 or not _is_checksummed(text):
        raise ValueError("not a checksummed address")
    return text


@lru_cache(maxsize=4_096)
def _is_checksummed(text: str) -> bool:
    return is_checksum_address(text)


_Address = Annotated[str, AfterValidator(_address)]
_Uint256 = Annotated[int, BeforeValidator(_number), Field(lt=2**256)]


class _Wire(BaseModel):
    """A message in JSON. Numbers are strings: values exceed what JSON's numbers hold everywhere."""

    model_config = ConfigDict(strict=True, extra="forbid")

    chain_id: Annotated[int, BeforeValidator(_number), Field(ge=1, le=_LARGEST_CHAIN_ID)]
    contract: _Address
    reporter: _Address
    observed_at: Annotated[int, BeforeValidator(_number), Field(lt=_LATEST)]
    tokens: Annotated[tuple[_Address, ...], Field(min_length=1, max_length=MAX_TOKENS)]
    values: Annotated[tuple[_Uint256, ...], Field(min_length=1, max_length=MAX_TOKENS)]
    v: Annotated[int, BeforeValidator(_number), Field(ge=27, le=28)]
    r: _Uint256
    s: Annotated[int, BeforeValidator(_number), Field(lt=2**255)]


@dataclass(frozen=True)
class Message:
    """A signed report and the contract on the chain that it is for."""

    chain_id: int
    contract: str
    report: SignedReport

    def to_json(self) -> str:
        """One line of JSON. Raises MailboxError where `from_json` would not take it."""
        report = self.report
        text = json.dumps(
            {
                "chain_id": str(self.chain_id),
                "contract": self.contract,
                "reporter": report.reporter,
                "observed_at": str(report.observed_at),
                "tokens": report.tokens,
                "values": [hex(value) for value in report.values],
                "v": str(report.v),
                "r": hex(report.r),
                "s": hex(report.s),
            },
            separators=(",", ":"),
        )
        Message.from_json(text)
        return text

    @classmethod
    def from_json(cls, text: str | bytes, chain_id: int | None = None) -> Message:
        """The message in `text`; with a `chain_id`, only if it is for that chain.

        Raises MailboxError on anything else than what `to_json` gives; the signature is not
        checked.
        """
        if len(text) > LONGEST_MESSAGE:
            raise MailboxError(f"no message: over {LONGEST_MESSAGE} bytes")
        try:
            wire = _Wire.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            # the names of fields are the poster's too, and need not be short
            where = ".".join(str(part) for part in first["loc"])[:40]
            raise MailboxError(f"no message: {where}: {first['msg'][:100]}") from None
        report = SignedReport(
            wire.reporter, wire.observed_at, wire.tokens, wire.values, wire.v, wire.r, wire.s
        )
        message = cls(wire.chain_id, wire.contract, report)
        return message if chain_id is None else message.on_chain(chain_id)

    def on_chain(self, chain_id: int) -> Message:
        """The message itself. Raises MailboxError unless it is for this chain."""
        if self.chain_id != chain_id:
            raise MailboxError(f"for chain {self.chain_id}, not {chain_id}: post it there")
        return self


class Mailbox(Protocol):
    """Where the reporters of one deployment leave messages. Several threads may use one object."""

    @property
    def refused(self) -> int:
        """Messages that this object has skipped as malformed, of another chain, or of somebody
        else than whose place they were in."""

    def post(self, messages: Sequence[Message]) -> None:
        """Have a reporter say this, all of it or nothing, in place of what he said before.

        Nothing is written where it is there already. Raises MailboxError, also where messages are
        of several reporters, or too many.
        """

    def read(self, reporter: str, seen: str | None = None) -> tuple[list[Message], str | None]:
        """What a reporter says, in the order of posting, and a mark of it; None of nothing.

        Nothing is given where the mark is still `seen`. Raises MailboxError.
        """

    def close(self) -> None:
        """Let go of the connection; used again, it makes another."""


def pack(messages: Sequence[Message], chain_id: int) -> tuple[str, bytes]:
    """Whose messages these are, and the lines of JSON that a mailbox keeps for him.

    Raises MailboxError where `unpack` would not give them back.
    """
    reporters = {each.report.reporter for each in messages}
    if len(reporters) != 1:
        raise MailboxError(f"of {len(reporters)} reporters: post those of one at a time")
    body = "\n".join(each.on_chain(chain_id).to_json() for each in messages).encode()
    if len(messages) > MOST_MESSAGES or len(body) > LONGEST_BODY:
        raise MailboxError(
            f"{len(messages)} messages of {len(body)} bytes are too many: a mailbox takes "
            f"{MOST_MESSAGES} of {LONGEST_BODY}"
        )
    return reporters.pop(), body


def unpack(body: bytes, reporter: str, chain_id: int) -> tuple[list[Message], int]:
    """The messages of a reporter in what a mailbox has for him, and how many lines are none.

    Of a body that is too long there are none at all.
    """
    if not body:
        return [], 0
    if len(body) > LONGEST_BODY:
        return [], 1
    messages = []
    lines = body.split(b"\n", MOST_MESSAGES)
    for line in lines[:MOST_MESSAGES]:
        with contextlib.suppress(MailboxError):
            message = Message.from_json(line, chain_id)
            if message.report.reporter == reporter:
                messages.append(message)
    return messages, len(lines) - len(messages)


def mark_of(body: bytes) -> str | None:
    """What tells a body from another."""
    return hashlib.sha256(body).hexdigest() if body else None


# -- leases --


@dataclass(frozen=True)
class LeaseState:
    """Who holds a lease and, unix seconds by this machine's clock, until when."""

    holder: str
    expires_at: int


class Lease(Protocol):
    """One of several may act. Several threads may use one object.

    The lease is held by an object: a second one is somebody else, even with the same holder's
    name, which is for people to read. So a holder that is killed and started again waits for its
    own lease to run out, as a standby would, and two that were given one name do not both act.
    """

    def hold(self) -> bool:
        """Acquire or renew. True: ours until `ttl` after we asked. Raises MailboxError."""

    def release(self) -> None:
        """Give it up if it is ours. Raises MailboxError."""

    def state(self) -> LeaseState | None:
        """None when nobody holds it. Raises MailboxError."""

    def announce(self, note: str) -> None:
        """Leave a text that outlives us, in place of the last one.

        Raises LeaseLost when the lease is not ours, MailboxError.
        """

    def note(self) -> str | None:
        """What was announced last, by whichever holder. Raises MailboxError."""

    def close(self) -> None:
        """Let go of the connection, not of the lease."""


# -- by URL --


def open_mailbox(url: str, chain_id: int, oracle: str) -> Mailbox:
    """The mailbox at `url` of a deployment: that of a funding oracle, by its address, on a chain.

    "sqlite:///var/lib/perpool/mailbox.db" or a path: a file on a local disk. What follows
    "sqlite://" is the path, so a relative one has two slashes. "sqlite://" alone is in memory, of
    this object only. "redis://[user:password@]host[:port][/db]", or "rediss://" for TLS, with
    redis-py's options as a query ("?ssl_ca_certs=/etc/ssl/redis.pem").

    Raises MailboxError on another URL, and where a file cannot be used. A Redis server is first
    asked when the mailbox is used, so that it may be started later.
    """
    if not 1 <= chain_id <= _LARGEST_CHAIN_ID:
        raise MailboxError(f"no chain has the id {chain_id}: use that of the deployment")
    if (path := _sqlite_path(url)) is not None:
        from perpool.keeper.mailbox.sqlite import SqliteMailbox

        return SqliteMailbox(path, chain_id, oracle)
    from perpool.keeper.mailbox.redis import RedisMailbox

    return RedisMailbox(url, chain_id, oracle)


def open_lease(url: str, name: str, holder: str, ttl: timedelta) -> Lease:
    """The lease `name` at `url` (as in `open_mailbox`), to be held as `holder` for `ttl` a time.

    Leases of different chains or duties need different names. Raises MailboxError as
    `open_mailbox` does.
    """
    if ttl < timedelta(milliseconds=100):
        raise MailboxError(f"a lease of {ttl} would never be ours: give it seconds")
    if (path := _sqlite_path(url)) is not None:
        from perpool.keeper.mailbox.sqlite import SqliteLease

        return SqliteLease(path, name, holder, ttl)
    from perpool.keeper.mailbox.redis import RedisLease

    return RedisLease(url, name, holder, ttl)


def _sqlite_path(url: str) -> str | None:
    """The path in a URL for SQLite, None in one for Redis."""
    scheme, found, rest = url.partition("://")
    if not found:
        return url
    if scheme == "sqlite":
        return rest
    if scheme in ("redis", "rediss"):
        return None
    # what follows the scheme may hold a password
    raise MailboxError(f"no mailbox at {scheme[:20]}://: use sqlite://, redis:// or rediss://")


def check_note(note: str) -> None:
    """Raises MailboxError where an announcement is too long."""
    if len(note.encode()) > LONGEST_NOTE:
        raise MailboxError(f"announcements are at most {LONGEST_NOTE} bytes: announce less at once")
