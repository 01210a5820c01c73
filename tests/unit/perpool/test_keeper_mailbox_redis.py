"""The mailbox over a real Redis server: restarts, outages, refusals, TLS and passwords."""

from __future__ import annotations

import datetime
import ipaddress
import logging
import re
import threading
import time
import traceback
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import redis as redis_py
import tenacity
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from structlog.testing import capture_logs

from perpool.keeper.mailbox import MailboxError, open_lease, open_mailbox
from perpool.keeper.mailbox import redis as redis_store
from tests.redis_server import RedisServer
from tests.unit.perpool.test_keeper_mailbox import CHAIN, message

STREAM = f"perpool:{CHAIN}:reports"
BOUND_SECONDS = 8
PASSWORD = "p@ss/w:rd#1?%20"


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less retrying, where that is not what the test is about."""
    monkeypatch.setattr(redis_store._PATIENTLY, "stop", tenacity.stop_after_delay(0.3))


# -- restarts --


def test_read__server_restarted_with_its_data(server: RedisServer) -> None:
    """Killed, not ended: nothing is lost, and nothing comes twice."""
    mailbox = open_mailbox(server.url, CHAIN)
    mailbox.post(message(1))
    _, position = mailbox.read(None)
    mailbox.post(message(2))
    server.kill()
    server.start()
    mailbox.post(message(3))
    messages, position = mailbox.read(position)
    assert messages == [message(2), message(3)]
    assert mailbox.read(position) == ([], position)


def test_read__server_restarted_without_its_data(server: RedisServer) -> None:
    """Whoever comes first, reporter or reader, and whoever has a position: nothing is missed."""
    reporter, reader, other = (open_mailbox(server.url, CHAIN) for _ in range(3))
    reporter.post(message(1))
    _, position = reader.read(None)
    server.kill()
    server.forget()
    server.start()
    assert reader.read(position) == ([], position)
    reporter.post(message(2))
    messages, after = reader.read(position)
    assert messages == [message(2)]
    assert other.read(position) == ([message(2)], after)
    assert reader.read(after) == ([], after)


@pytest.mark.parametrize("position", ["read", "not read"])
def test_read__server_restarted_without_its_data_and_its_clock_behind(
    server: RedisServer, position: str
) -> None:
    """New entries then have smaller ids than old ones."""
    mailbox = open_mailbox(server.url, CHAIN)
    ahead = f"{int(time.time() * 1000) + 60_000}-0"
    server.client().xadd(STREAM, {"message": message(1).to_json()}, id=ahead)
    messages, after = mailbox.read(None)
    assert messages == [message(1)]
    server.kill()
    server.forget()
    server.start()
    if position == "not read":
        # the new stream has even overtaken the position before anybody looks
        server.client().xadd(STREAM, {"message": message(2).to_json()})
        further = f"{int(time.time() * 1000) + 120_000}-0"
        server.client().xadd(STREAM, {"message": message(3).to_json()}, id=further)
        assert mailbox.read(after)[0] == [message(2), message(3)]
    else:
        mailbox.post(message(2))
        assert mailbox.read(after)[0] == [message(2)]


def test_read__server_restarted_from_a_snapshot() -> None:
    """It has the data of a while ago, and its clock is behind."""
    with RedisServer(options=("--appendonly", "no")) as server:
        mailbox = open_mailbox(server.url, CHAIN)
        mailbox.post(message(1))
        _, position = mailbox.read(None)
        server.client().save()
        ahead = f"{int(time.time() * 1000) + 60_000}-0"
        server.client().xadd(STREAM, {"message": message(2).to_json()}, id=ahead)
        messages, position = mailbox.read(position)
        assert messages == [message(2)]
        server.kill()
        server.start()
        mailbox.post(message(3))
        messages, position = mailbox.read(position)
        assert messages == [message(1), message(3)]
        assert mailbox.read(position) == ([], position)


def test_read__flushed(server: RedisServer) -> None:
    mailbox = open_mailbox(server.url, CHAIN)
    mailbox.post(message(1))
    _, position = mailbox.read(None)
    server.client().flushall()
    mailbox.post(message(2))
    assert mailbox.read(position)[0] == [message(2)]


# -- outages --


def test_post__server_away_for_a_moment(server: RedisServer) -> None:
    """Too short for anybody to notice."""
    mailbox = open_mailbox(server.url, CHAIN)
    mailbox.post(message(1))
    server.kill()
    back = threading.Timer(0.7, server.start)
    back.start()
    mailbox.post(message(2))
    back.join()
    assert mailbox.read(None)[0] == [message(1), message(2)]


@pytest.mark.parametrize("outage", ["down", "frozen"])
def test_post__server_away(server: RedisServer, outage: str) -> None:
    """An error within a bounded time, and it works again by itself."""
    mailbox = open_mailbox(server.url, CHAIN)
    mailbox.post(message(1))
    (server.kill if outage == "down" else server.freeze)()
    before = time.monotonic()
    with pytest.raises(MailboxError, match=f"127.0.0.1:{server.port}/0: it cannot be reached"):
        mailbox.post(message(2))
    assert time.monotonic() - before < BOUND_SECONDS
    (server.start if outage == "down" else server.thaw)()
    mailbox.post(message(3))
    messages = mailbox.read(None)[0]
    # what was posted to a frozen server it may find when it wakes up, each time it was tried
    assert [messages[0], messages[-1]] == [message(1), message(3)]
    assert set(messages[1:-1]) <= {message(2)}


@pytest.mark.usefixtures("impatient")
def test_open_mailbox__server_started_later(server: RedisServer) -> None:
    server.kill()
    mailbox = open_mailbox(server.url, CHAIN)
    with pytest.raises(MailboxError, match="start it, or check the URL and the network"):
        mailbox.read(None)
    server.start()
    assert mailbox.read(None) == ([], None)


@pytest.mark.usefixtures("impatient")
def test_open_mailbox__no_such_host() -> None:
    mailbox = open_mailbox("redis://user:secret@nowhere.invalid:1/0", CHAIN)
    before = time.monotonic()
    with pytest.raises(MailboxError, match=r"redis://nowhere.invalid:1/0: .* cannot be reached"):
        mailbox.read(None)
    assert time.monotonic() - before < BOUND_SECONDS


# -- refusals --


def test_post__server_out_of_memory(server: RedisServer) -> None:
    mailbox = open_mailbox(server.url, CHAIN)
    mailbox.post(message(1))
    server.client().config_set("maxmemory", 1)
    with pytest.raises(MailboxError, match="out of memory: raise its maxmemory"):
        mailbox.post(message(2))
    assert mailbox.read(None)[0] == [message(1)]
    server.client().config_set("maxmemory", 0)
    mailbox.post(message(3))
    assert mailbox.read(None)[0] == [message(1), message(3)]


def test_post__server_cannot_save() -> None:
    """As with a full disk under it."""
    with RedisServer(options=("--appendonly", "no", "--save", "3600 1")) as server:
        mailbox, admin = open_mailbox(server.url, CHAIN), server.client()
        mailbox.post(message(1))
        _, position = mailbox.read(None)
        # a folder where the snapshot should go
        obstacle = Path(str(admin.config_get("dir")["dir"]), "dump.rdb")
        obstacle.mkdir()
        admin.bgsave()
        while admin.info("persistence")["rdb_last_bgsave_status"] != "err":
            time.sleep(0.01)
        with pytest.raises(MailboxError, match="cannot save to its disk: free space there"):
            mailbox.post(message(2))
        assert mailbox.read(position) == ([], position)
        obstacle.rmdir()
        admin.bgsave()
        while admin.info("persistence")["rdb_last_bgsave_status"] != "ok":
            time.sleep(0.01)
        mailbox.post(message(3))
        assert mailbox.read(position)[0] == [message(3)]


def test_post__server_is_a_replica(server: RedisServer) -> None:
    mailbox = open_mailbox(server.url, CHAIN)
    mailbox.post(message(1))
    _, position = mailbox.read(None)
    server.client().replicaof("127.0.0.1", "1")
    with pytest.raises(MailboxError, match="is a replica: use the URL of the primary"):
        mailbox.post(message(2))
    assert mailbox.read(position) == ([], position)
    server.client().replicaof("NO", "ONE")
    mailbox.post(message(3))
    assert mailbox.read(position)[0] == [message(3)]


def test_post__key_of_something_else(server: RedisServer) -> None:
    server.client().set(STREAM, "x")
    mailbox = open_mailbox(server.url, CHAIN)
    with pytest.raises(MailboxError, match="it refuses: WRONGTYPE"):
        mailbox.post(message())
    with pytest.raises(MailboxError, match="it refuses: WRONGTYPE"):
        mailbox.read(None)


def test_read__entries_of_any_form(server: RedisServer) -> None:
    admin = server.client()
    admin.xadd(STREAM, {b"\xff": b"\xff", "n": 1})
    admin.xadd(STREAM, {"message": message().to_json(), "more": "x"})
    mailbox = open_mailbox(server.url, CHAIN)
    assert mailbox.read(None)[0] == [message()]
    assert mailbox.refused == 1


# -- credentials --


@pytest.mark.parametrize("entry_id", ["10000000000000000000-0", f"{2**64 - 1}-{2**64 - 2}"])
def test_read__entry_under_an_id_of_20_digits(server: RedisServer, entry_id: str) -> None:
    mailbox = open_mailbox(server.url, CHAIN)
    server.client().xadd(STREAM, {"message": message(1).to_json()}, id=entry_id)
    mailbox.post(message(2))
    messages, position = mailbox.read(None)
    assert messages == [message(1), message(2)]
    assert mailbox.read(position) == ([], position)


def test_post__last_possible_id_is_taken(server: RedisServer) -> None:
    """Nothing can follow it: the stream is made anew, and readers start over."""
    mailbox, other = (open_mailbox(server.url, CHAIN) for _ in range(2))
    mailbox.post(message(1))
    server.client().xadd(STREAM, {"message": message(2).to_json()}, id=f"{2**64 - 1}-{2**64 - 1}")
    _, position = other.read(None)
    with capture_logs() as logs:
        mailbox.post(message(3))
        other.post(message(4))
    assert [each["event"] for each in logs] == ["mailbox started over"]
    # also where the same is done again before anybody looks
    server.client().xadd(STREAM, {"message": message(5).to_json()}, id=f"{2**64 - 1}-{2**64 - 1}")
    assert other.read(position)[0] == [message(3), message(4), message(5)]


def test_open_mailbox__password(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with RedisServer(password=PASSWORD) as closed:
        place = f"127.0.0.1:{closed.port}/0"
        mailbox = open_mailbox(f"redis://:{quote(PASSWORD, safe='')}@{place}", CHAIN)
        mailbox.post(message())
        assert mailbox.read(None)[0] == [message()]
        texts = [repr(mailbox), str(mailbox)]
        for user in ("", ":wrong-secret@", "somebody:wrong-secret@"):
            refused = open_mailbox(f"redis://{user}{place}", CHAIN)
            before = time.monotonic()
            with pytest.raises(MailboxError, match="refuses us: check user, password") as refusal:
                refused.post(message())
            assert time.monotonic() - before < 1, "a refusal is not tried again"
            # a report with the variables of each frame would have it
            assert refusal.value.__cause__ is None
            assert refusal.value.__suppress_context__
            texts += ["".join(traceback.format_exception(refusal.value)), repr(refused)]
        closed.kill()
        with pytest.raises(MailboxError, match="cannot be reached") as outage:
            mailbox.post(message())
        texts += ["".join(traceback.format_exception(outage.value)), caplog.text]
    for text in texts:
        assert not any(word in text for word in (PASSWORD, quote(PASSWORD, safe=""), "secret"))


@pytest.mark.parametrize(
    "url",
    [
        "redis://",
        "redis:///0",
        "redis://:secret@",
        "redis://:secret/part@host:6379/0",
        "redis://:5ecret#part@host:6379/0",
        "redis://user:123/secret@host",
        "redis://user:123?secret@host",
        "redis://:123/4?secret@host",
        "redis://:secret@host:99999",
        "redis://:secret@host/main",
        "redis://:secret@host?socket_timeout=secret",
        "redis://:secret@host?no_such_option=secret",
        "rediss://:secret@host?ssl_cert_reqs=secret",
    ],
)
def test_open_mailbox__url_that_is_none(url: str) -> None:
    with pytest.raises(MailboxError, match="no URL of a Redis server: write redis://") as refusal:
        open_mailbox(url, CHAIN)
    assert "secret" not in str(refusal.value)
    assert "123" not in str(refusal.value)
    assert refusal.value.__suppress_context__, "what the library says may hold the password"


def test_read__user_who_may_only_read() -> None:
    """A position of his is good for as long as nobody makes an origin."""
    with RedisServer() as server:
        open_mailbox(server.url, CHAIN).post(message(1))
        rights = ["on", ">x", "~*", "+@read"]
        server.client().execute_command("ACL", "SETUSER", "reader", *rights)
        reader = open_mailbox(server.url.replace("//", "//reader:x@"), CHAIN)
        messages, position = reader.read(None)
        assert messages == [message(1)]
        open_mailbox(server.url, CHAIN).post(message(2))
        messages, position = reader.read(position)
        assert messages == [message(2)]
        assert reader.read(position) == ([], position)
        with pytest.raises(MailboxError, match="check user, password and their permissions"):
            reader.post(message(3))


GUIDE = Path(__file__).parents[3] / "docs" / "keeper.md"


def test_docs__rights_of_users() -> None:
    """The guide's lines are enough for each; a reporter's does not reach the lease."""
    lines = re.findall(r"^ACL SETUSER (\w+) (.*)$", GUIDE.read_text(), re.MULTILINE)
    rights = {name: line.replace("31337", str(CHAIN)).split() for name, line in lines}
    assert rights.pop("default") == ["off"]
    assert list(rights) == ["reporter", "submitter"]
    with RedisServer() as server:
        urls = {}
        for name, each in rights.items():
            words = [">x" if word.startswith(">") else word for word in each]
            server.client().execute_command("ACL", "SETUSER", name, *words)
            urls[name] = server.url.replace("//", f"//{name}:x@")
        reporter, submitter = (open_mailbox(urls[name], CHAIN) for name in rights)
        # nothing is there yet; then both read and post, also behind the last possible id
        assert reporter.read(None)[0] == []
        last = f"{2**64 - 1}-{2**64 - 1}"
        server.client().xadd(STREAM, {"message": message(9).to_json()}, id=last)
        reporter.post(message(1))
        messages, position = submitter.read(None)
        assert messages == [message(1)]
        assert submitter.read(position) == ([], position)
        submitter.prune(2**39)
        assert reporter.read(None)[0] == []
        lease = open_lease(urls["submitter"], f"{CHAIN}/0xAb", "a", timedelta(seconds=9))
        assert lease.hold()
        assert lease.hold()
        lease.announce("in flight")
        assert lease.note() == "in flight"
        state = lease.state()
        assert state is not None
        assert state.holder == "a"
        other = open_lease(urls["reporter"], f"{CHAIN}/0xAb", "b", timedelta(seconds=9))
        for use in (other.hold, other.state, other.note):
            with pytest.raises(MailboxError, match="permissions"):
                use()
        client = redis_py.Redis.from_url(urls["reporter"])
        for command in (("FLUSHALL",), ("CONFIG", "GET", "*"), ("SET", "other", "1")):
            with pytest.raises(redis_py.exceptions.NoPermissionError):
                client.execute_command(*command)
        lease.release()
        assert lease.state() is None


@pytest.mark.parametrize("options", ["protocol=3", "decode_responses=true", "socket_timeout=1.5"])
def test_open_mailbox__options_of_the_url(server: RedisServer, options: str) -> None:
    mailbox = open_mailbox(f"{server.url}?{options}", CHAIN)
    mailbox.post(message())
    assert mailbox.read(None)[0] == [message()]


def test_open_mailbox__database_of_the_url(server: RedisServer) -> None:
    other = server.url.removesuffix("0") + "3"
    open_mailbox(other, CHAIN).post(message())
    assert open_mailbox(server.url, CHAIN).read(None)[0] == []
    assert open_mailbox(other, CHAIN).read(None)[0] == [message()]


# -- TLS --


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1, signed by itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "redis")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "redis.pem", folder / "redis.key"
    pem: Any = serialization.Encoding.PEM
    paths[0].write_bytes(certificate.public_bytes(pem))
    paths[1].write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


@pytest.mark.usefixtures("impatient")
def test_open_mailbox__tls(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    with RedisServer(password=PASSWORD, certificate=certificate, key=key) as server:
        place = f"127.0.0.1:{server.port}/0"
        url = f"rediss://:{quote(PASSWORD, safe='')}@{place}"
        mailbox = open_mailbox(f"{url}?ssl_ca_certs={certificate}", CHAIN)
        mailbox.post(message())
        assert mailbox.read(None)[0] == [message()]
        assert repr(mailbox) == f"<RedisMailbox rediss://{place}, chain {CHAIN}>"
        # a server that nobody vouches for gets no password
        with pytest.raises(MailboxError, match="CERTIFICATE_VERIFY_FAILED"):
            open_mailbox(url, CHAIN).read(None)


def test_redis_server__has_tls(tmp_path: Path) -> None:
    """What the last test relies on: the server does not answer without it."""
    certificate, key = make_certificate(tmp_path)
    with (
        RedisServer(certificate=certificate, key=key) as server,
        pytest.raises(redis_py.ConnectionError),
    ):
        redis_py.Redis(port=server.port, retry=None).ping()
