"""The mailbox over a real Redis server: restarts, outages, refusals, TLS and passwords."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import logging
import re
import socket
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

from perpool.keeper.mailbox import LONGEST_BODY, MailboxError, open_lease, open_mailbox
from perpool.keeper.mailbox import redis as redis_store
from tests.redis_server import GUIDE, RedisServer, guide_options
from tests.unit.perpool.test_keeper_mailbox import CHAIN, ORACLE, address, message, said

KEY = f"perpool:{CHAIN}:{ORACLE}:{address(1)}"
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
    """Killed, not ended: nothing is lost, and nothing is new."""
    mailbox = open_mailbox(server.url, CHAIN, ORACLE)
    mailbox.post([message(1)])
    _, mark = mailbox.read(address(1))
    server.kill()
    server.start()
    assert mailbox.read(address(1), mark) == ([], mark)
    mailbox.post([message(3)])
    assert mailbox.read(address(1), mark)[0] == [message(3)]


def test_read__server_restarted_without_its_data(server: RedisServer) -> None:
    """Who posts again is heard again, also with the same."""
    reporter, reader = (open_mailbox(server.url, CHAIN, ORACLE) for _ in range(2))
    reporter.post([message(1)])
    _, mark = reader.read(address(1))
    server.kill()
    server.forget()
    server.start()
    assert reader.read(address(1), mark) == ([], None)
    reporter.post([message(1)])
    assert reader.read(address(1)) == ([message(1)], mark)


# -- outages --


def test_post__server_away_for_a_moment(server: RedisServer) -> None:
    """Too short for anybody to notice."""
    mailbox = open_mailbox(server.url, CHAIN, ORACLE)
    mailbox.post([message(1)])
    server.kill()
    back = threading.Timer(0.7, server.start)
    back.start()
    mailbox.post([message(2)])
    back.join()
    assert said(mailbox) == [message(2)]


@pytest.mark.parametrize("outage", ["down", "frozen"])
def test_post__server_away(server: RedisServer, outage: str) -> None:
    """An error within a bounded time, and it works again by itself."""
    mailbox = open_mailbox(server.url, CHAIN, ORACLE)
    mailbox.post([message(1)])
    (server.kill if outage == "down" else server.freeze)()
    before = time.monotonic()
    with pytest.raises(MailboxError, match=f"127.0.0.1:{server.port}/0: it cannot be reached"):
        mailbox.post([message(2)])
    assert time.monotonic() - before < BOUND_SECONDS
    (server.start if outage == "down" else server.thaw)()
    mailbox.post([message(3)])
    assert said(mailbox) == [message(3)]


@pytest.mark.usefixtures("impatient")
def test_open_mailbox__server_started_later(server: RedisServer) -> None:
    server.kill()
    mailbox = open_mailbox(server.url, CHAIN, ORACLE)
    with pytest.raises(MailboxError, match="start it, or check the URL and the network"):
        said(mailbox)
    server.start()
    assert said(mailbox) == []


@pytest.mark.usefixtures("impatient")
def test_open_mailbox__no_such_host() -> None:
    mailbox = open_mailbox("redis://user:secret@nowhere.invalid:1/0", CHAIN, ORACLE)
    before = time.monotonic()
    with pytest.raises(MailboxError, match=r"redis://nowhere.invalid:1/0: .* cannot be reached"):
        said(mailbox)
    assert time.monotonic() - before < BOUND_SECONDS


# -- refusals --


def test_post__server_out_of_memory(server: RedisServer) -> None:
    mailbox = open_mailbox(server.url, CHAIN, ORACLE)
    mailbox.post([message(1)])
    server.client().config_set("maxmemory", 1)
    with pytest.raises(MailboxError, match="out of memory: raise its maxmemory"):
        mailbox.post([message(2)])
    assert said(mailbox) == [message(1)]
    # what is there already may be posted
    mailbox.post([message(1)])
    server.client().config_set("maxmemory", 0)
    mailbox.post([message(3)])
    assert said(mailbox) == [message(3)]


def test_post__server_cannot_save() -> None:
    """As with a full disk under it."""
    with RedisServer(options=("--appendonly", "no", "--save", "3600 1")) as server:
        mailbox, admin = open_mailbox(server.url, CHAIN, ORACLE), server.client()
        mailbox.post([message(1)])
        # a folder where the snapshot should go
        obstacle = Path(str(admin.config_get("dir")["dir"]), "dump.rdb")
        obstacle.mkdir()
        admin.bgsave()
        while admin.info("persistence")["rdb_last_bgsave_status"] != "err":
            time.sleep(0.01)
        with pytest.raises(MailboxError, match="cannot save to its disk: free space there"):
            mailbox.post([message(2)])
        assert said(mailbox) == [message(1)]
        obstacle.rmdir()
        admin.bgsave()
        while admin.info("persistence")["rdb_last_bgsave_status"] != "ok":
            time.sleep(0.01)
        mailbox.post([message(3)])
        assert said(mailbox) == [message(3)]


def test_post__server_is_a_replica(server: RedisServer) -> None:
    mailbox = open_mailbox(server.url, CHAIN, ORACLE)
    mailbox.post([message(1)])
    server.client().replicaof("127.0.0.1", "1")
    with pytest.raises(MailboxError, match="is a replica: use the URL of the primary"):
        mailbox.post([message(2)])
    assert said(mailbox) == [message(1)]
    server.client().replicaof("NO", "ONE")
    mailbox.post([message(3)])
    assert said(mailbox) == [message(3)]


def test_read__key_of_something_else(server: RedisServer) -> None:
    """It is malformed like anything else, and no fault of the server's or of other reporters."""
    mailbox = open_mailbox(server.url, CHAIN, ORACLE)
    server.client().rpush(KEY, "x")
    messages, mark = mailbox.read(address(1))
    assert (messages, mailbox.refused) == ([], 1)
    assert mailbox.read(address(1), mark) == ([], mark)
    assert mailbox.refused == 1
    mailbox.post([message()])
    assert said(mailbox) == [message()]


# -- credentials --


def test_open_mailbox__password(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with RedisServer(password=PASSWORD) as closed:
        place = f"127.0.0.1:{closed.port}/0"
        mailbox = open_mailbox(f"redis://:{quote(PASSWORD, safe='')}@{place}", CHAIN, ORACLE)
        mailbox.post([message()])
        assert said(mailbox) == [message()]
        texts = [repr(mailbox), str(mailbox)]
        for user in ("", ":wrong-secret@", "somebody:wrong-secret@"):
            refused = open_mailbox(f"redis://{user}{place}", CHAIN, ORACLE)
            before = time.monotonic()
            with pytest.raises(MailboxError, match="refuses us: check user, password") as refusal:
                refused.post([message()])
            assert time.monotonic() - before < 1, "a refusal is not tried again"
            # a report with the variables of each frame would have it
            assert refusal.value.__cause__ is None
            assert refusal.value.__suppress_context__
            texts += ["".join(traceback.format_exception(refusal.value)), repr(refused)]
        closed.kill()
        with pytest.raises(MailboxError, match="cannot be reached") as outage:
            mailbox.post([message()])
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
        open_mailbox(url, CHAIN, ORACLE)
    assert "secret" not in str(refusal.value)
    assert "123" not in str(refusal.value)
    assert refusal.value.__suppress_context__, "what the library says may hold the password"


def test_read__user_who_may_only_read() -> None:
    with RedisServer() as server:
        open_mailbox(server.url, CHAIN, ORACLE).post([message(1)])
        rights = ["on", ">x", "~*", "+@read"]
        server.client().execute_command("ACL", "SETUSER", "reader", *rights)
        reader = open_mailbox(server.url.replace("//", "//reader:x@"), CHAIN, ORACLE)
        assert said(reader) == [message(1)]
        with pytest.raises(MailboxError, match="check user, password and their permissions"):
            reader.post([message(3)])


def test_docs__rights_of_users() -> None:
    """The guide's lines are enough for each. A reporter's reaches what is his own and no more, and
    a submitter's nothing that a reporter says."""
    lines = re.findall(r"^ACL SETUSER (\w+) (.*)$", GUIDE.read_text(), re.MULTILINE)
    rights = dict(lines)
    assert rights.pop("default") == "off"
    assert list(rights) == ["reporter", "submitter"]
    with RedisServer(options=guide_options()) as server:
        urls = {}

        def admit(name: str, line: str) -> None:
            for placeholder, value in (("ORACLE", ORACLE), ("REPORTER", address(1))):
                line = line.replace(placeholder, value)
            words = [">x" if word.startswith(">") else word for word in line.split()]
            server.client().execute_command("ACL", "SETUSER", name, *words)
            urls[name] = server.url.replace("//", f"//{name}:x@")

        for name, each in rights.items():
            admit(name, each)
        reporter, submitter = (open_mailbox(urls[name], CHAIN, ORACLE) for name in rights)
        anybody = open_mailbox(server.url, CHAIN, ORACLE)
        anybody.post([message(1, reporter=2)])
        for number in (1, 2, 1):
            reporter.post([message(number)])
            assert said(submitter) == [message(number)]
        # as `status` does
        assert said(reporter, 2) == said(submitter, 2) == [message(1, reporter=2)]
        for mailbox, whose in ((reporter, 2), (submitter, 1), (submitter, 2)):
            with pytest.raises(MailboxError, match="permissions"):
                mailbox.post([message(9, reporter=whose)])
        other = open_mailbox(urls["reporter"], CHAIN, address(98))
        with pytest.raises(MailboxError, match="permissions"):
            other.post([message(9)])
        client = redis_py.Redis.from_url(urls["reporter"])
        theirs = f"perpool:{CHAIN}:{ORACLE}:{address(2)}"
        for command in (
            ("DEL", theirs),
            ("DEL", KEY),
            ("EXPIRE", theirs, "1"),
            ("APPEND", theirs, "x"),
            ("APPEND", KEY, "x"),
            ("RENAME", KEY, theirs),
            ("RPUSH", KEY, "x"),
            ("SET", f"{KEY}:more", "x"),
            ("SET", f"perpool:lease:{CHAIN}/{ORACLE}", "x"),
            ("FLUSHALL",),
            ("CONFIG", "GET", "*"),
            ("EVAL", "return 1", "0"),
            ("MULTI",),
        ):
            with pytest.raises(redis_py.exceptions.NoPermissionError):
                client.execute_command(*command)
        lease = open_lease(urls["submitter"], f"{CHAIN}/{ORACLE}", "a", timedelta(seconds=9))
        assert lease.hold()
        assert lease.hold()
        lease.announce("in flight")
        assert lease.note() == "in flight"
        state = lease.state()
        assert state is not None
        assert state.holder == "a"
        stolen = open_lease(urls["reporter"], f"{CHAIN}/{ORACLE}", "b", timedelta(seconds=9))
        for use in (stolen.hold, stolen.state, stolen.note):
            with pytest.raises(MailboxError, match="permissions"):
                use()
        assert said(submitter, 2) == [message(1, reporter=2)]
        lease.release()
        assert lease.state() is None


def test_docs__what_a_reporter_can_take_of_the_memory() -> None:
    """With the guide's settings, one value of a few megabytes, whatever he does."""
    with RedisServer(options=guide_options()) as server:
        client = server.client()
        client.set(KEY, b"x" * (LONGEST_BODY - 1))
        # the server hangs up on a longer one, now or at the next command of the connection
        greedy = server.client()
        with pytest.raises(redis_py.RedisError):
            greedy.set(KEY, b"x" * (LONGEST_BODY + 1))
        assert client.strlen(KEY) == LONGEST_BODY - 1
        used = int(client.info("memory")["used_memory_dataset"])
        for number in range(100):
            client.set(KEY, str(number % 10) * (LONGEST_BODY - 1))
        grown = int(client.info("memory")["used_memory_dataset"]) - used
        assert grown < 2 * LONGEST_BODY


def test_docs__answers_that_a_reporter_does_not_read() -> None:
    """He asks for his own key over and over. All wait for him in the memory that there is, and the
    others' reports go through."""
    with (
        RedisServer(options=[*guide_options(), "--maxmemory", "128mb"]) as server,
        contextlib.ExitStack() as connections,
    ):
        admin = server.client()
        admin.set(KEY, b"x" * (LONGEST_BODY - 1))
        ask = b"*4\r\n" + b"".join(
            b"$%d\r\n%s\r\n" % (len(each), each)
            for each in (b"GETRANGE", KEY.encode(), b"0", b"-1")
        )
        mailbox = open_mailbox(server.url, CHAIN, ORACLE)
        # most of them ask for less than one connection may leave unread
        for number, asked in enumerate([10, *[3] * 30], 1):
            place = ("127.0.0.1", server.port)
            thief = connections.enter_context(socket.create_connection(place))
            thief.sendall(asked * ask)
            mailbox.post([message(number, reporter=2)])
            assert said(mailbox, 2) == [message(number, reporter=2)]
            taken = [int(each["tot-mem"]) for each in admin.client_list()]
            assert max(taken) < 2**24 + 2 * LONGEST_BODY
            assert sum(taken) < 2**26 + 2 * LONGEST_BODY


@pytest.mark.parametrize("options", ["protocol=3", "decode_responses=true", "socket_timeout=1.5"])
def test_open_mailbox__options_of_the_url(server: RedisServer, options: str) -> None:
    mailbox = open_mailbox(f"{server.url}?{options}", CHAIN, ORACLE)
    mailbox.post([message()])
    assert said(mailbox) == [message()]


def test_open_mailbox__database_of_the_url(server: RedisServer) -> None:
    other = server.url.removesuffix("0") + "3"
    open_mailbox(other, CHAIN, ORACLE).post([message()])
    assert said(open_mailbox(server.url, CHAIN, ORACLE)) == []
    assert said(open_mailbox(other, CHAIN, ORACLE)) == [message()]


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
        mailbox = open_mailbox(f"{url}?ssl_ca_certs={certificate}", CHAIN, ORACLE)
        mailbox.post([message()])
        assert said(mailbox) == [message()]
        assert repr(mailbox) == f"<RedisMailbox rediss://{place}, chain {CHAIN}>"
        # a server that nobody vouches for gets no password
        with pytest.raises(MailboxError, match="CERTIFICATE_VERIFY_FAILED"):
            said(open_mailbox(url, CHAIN, ORACLE))


def test_redis_server__has_tls(tmp_path: Path) -> None:
    """What the last test relies on: the server does not answer without it."""
    certificate, key = make_certificate(tmp_path)
    with (
        RedisServer(certificate=certificate, key=key) as server,
        pytest.raises(redis_py.ConnectionError),
    ):
        redis_py.Redis(port=server.port, retry=None).ping()
