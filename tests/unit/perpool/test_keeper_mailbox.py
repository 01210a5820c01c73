"""Messages and mailboxes: what both stores promise, over SQLite and a real Redis server."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
from eth_utils import to_checksum_address

from perpool.keeper.mailbox import (
    LONGEST_BODY,
    LONGEST_MESSAGE,
    MOST_MESSAGES,
    Mailbox,
    MailboxError,
    Message,
    open_mailbox,
)
from perpool.reports import SignedReport
from tests.redis_server import RedisServer

CHAIN = 31_337
ROOT = Path(__file__).parents[3]


def address(number: int) -> str:
    return to_checksum_address(f"0x{number + 0xABCDEF0000:040x}")


ORACLE = address(99)


def message(
    observed_at: int = 1_000,
    reporter: int = 1,
    values: tuple[int, ...] = (2**255 + 1,),
    chain_id: int = CHAIN,
) -> Message:
    report = SignedReport(
        address(reporter), observed_at, (address(100), address(101)), values, 27, 2**250, 3
    )
    return Message(chain_id, address(99), report)


GOOD: dict[str, Any] = {
    "chain_id": "31337",
    "contract": address(99),
    "reporter": address(1),
    "observed_at": "1000",
    "tokens": [address(100), address(101)],
    "values": [hex(2**255 + 1)],
    "v": "27",
    "r": hex(2**250),
    "s": "0x3",
}


# -- messages --


def test_to_json__every_number_in_a_string() -> None:
    assert json.loads(message().to_json()) == GOOD


def test_from_json__what_to_json_gave() -> None:
    largest = SignedReport(
        address(1),
        2**40 - 1,
        tuple(address(number) for number in range(64)),
        (2**256 - 1,) * 64,
        28,
        2**256 - 1,
        2**255 - 1,
    )
    for each in (message(), Message(2**63 - 1, address(3), largest)):
        text = each.to_json()
        assert len(text) < LONGEST_MESSAGE // 2
        assert Message.from_json(text) == each
        assert Message.from_json(text.encode()) == each


def test_from_json__decimal_or_hexadecimal() -> None:
    text = json.dumps(GOOD | {"values": ["12345678901234567890123"], "observed_at": "0x3e8"})
    assert Message.from_json(text) == message(values=(12345678901234567890123,))


NUMBER = "not a decimal or hexadecimal number in a string"
ADDRESS = "not a checksummed address"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"chain_id": 31337}, f"chain_id: .*{NUMBER}"),
        ({"chain_id": "0"}, "chain_id: .*greater"),
        ({"chain_id": str(2**63)}, "chain_id: .*less"),
        ({"observed_at": None}, f"observed_at: .*{NUMBER}"),
        ({"observed_at": "1e3"}, f"observed_at: .*{NUMBER}"),
        ({"observed_at": "-1"}, f"observed_at: .*{NUMBER}"),
        ({"observed_at": "007"}, f"observed_at: .*{NUMBER}"),
        ({"observed_at": " 7"}, f"observed_at: .*{NUMBER}"),
        ({"observed_at": "1_000"}, f"observed_at: .*{NUMBER}"),
        ({"observed_at": "٧"}, f"observed_at: .*{NUMBER}"),
        ({"observed_at": "7\n"}, f"observed_at: .*{NUMBER}"),
        ({"observed_at": True}, f"observed_at: .*{NUMBER}"),
        ({"observed_at": 2.0**40}, f"observed_at: .*{NUMBER}"),
        ({"observed_at": str(2**40)}, "observed_at: .*less"),
        ({"values": ["0xABC"]}, f"values.0: .*{NUMBER}"),
        ({"values": ["9" * 5_000]}, f"values.0: .*{NUMBER}"),
        ({"values": [str(2**256)]}, "values.0: .*less"),
        ({"values": []}, "values: .*at least 1"),
        ({"values": ["1"] * 65}, "values: .*at most 64"),
        ({"values": "1"}, "values: .*array"),
        ({"values": {"0": "1"}}, "values: .*array"),
        ({"tokens": []}, "tokens: .*at least 1"),
        ({"tokens": [address(5)] * 65}, "tokens: .*at most 64"),
        ({"tokens": [address(5).lower()]}, f"tokens.0: .*{ADDRESS}"),
        ({"tokens": [7]}, "tokens.0: .*string"),
        ({"contract": address(99).swapcase()}, f"contract: .*{ADDRESS}"),
        ({"contract": address(99)[2:]}, f"contract: .*{ADDRESS}"),
        ({"contract": ""}, f"contract: .*{ADDRESS}"),
        ({"reporter": address(1) + "00"}, f"reporter: .*{ADDRESS}"),
        ({"v": "26"}, "v: .*greater"),
        ({"v": "29"}, "v: .*less"),
        ({"r": hex(2**256)}, f"r: .*{NUMBER}"),
        ({"s": hex(2**255)}, "s: .*less"),
        ({"note": "more"}, "note: .*not permitted"),
        ({"a" * 9_000: "more"}, "a{40}: .*not permitted"),
        ({"note": "0" * LONGEST_MESSAGE}, "over 16384 bytes"),
    ],
)
def test_from_json__malformed(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(MailboxError, match=reason) as refusal:
        Message.from_json(json.dumps(GOOD | change))
    assert len(str(refusal.value)) < 200


@pytest.mark.parametrize("name", GOOD)
def test_from_json__field_missing(name: str) -> None:
    with pytest.raises(MailboxError, match=f"{name}: .*required"):
        Message.from_json(json.dumps({key: GOOD[key] for key in GOOD if key != name}))


NO_MESSAGES = [
    b"",
    b"null",
    b"[]",
    b"<html>502 Bad Gateway</html>",
    b"\xff\xfe\x00",
    b"[" * 10_000,
    json.dumps(GOOD).encode()[:-1],
    json.dumps(GOOD | {"observed_at": float("nan")}).encode(),
    json.dumps(GOOD | {"observed_at": "1" * LONGEST_MESSAGE}).encode(),
]


@pytest.mark.parametrize("body", NO_MESSAGES)
def test_from_json__no_message(body: bytes) -> None:
    with pytest.raises(MailboxError, match="no message"):
        Message.from_json(body)


def test_to_json__what_nobody_would_take() -> None:
    with pytest.raises(MailboxError, match=r"values: .*at most 64"):
        message(values=(1,) * 65).to_json()
    with pytest.raises(MailboxError, match=NUMBER):
        message(observed_at=-1).to_json()


# -- mailboxes --


@pytest.fixture(params=["sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite://{tmp_path}/mailbox.db"
    else:
        with RedisServer() as server:
            yield server.url


@pytest.fixture
def mailbox(url: str) -> Iterator[Mailbox]:
    mailbox = open_mailbox(url, CHAIN, ORACLE)
    yield mailbox
    mailbox.close()


def leave(url: str, body: bytes, reporter: int = 1) -> None:
    """Put anything at all into a reporter's place, as somebody can who may write there."""
    if url.startswith("redis"):
        key = f"perpool:{CHAIN}:{ORACLE}:{address(reporter)}"
        redis_py.Redis.from_url(url).set(key, body)
        return
    with sqlite3.connect(url.removeprefix("sqlite://")) as database:
        insert = "INSERT OR REPLACE INTO report VALUES (?, ?, ?, ?)"
        database.execute(insert, (CHAIN, ORACLE, address(reporter), body))
    database.close()


def said(mailbox: Mailbox, reporter: int = 1) -> list[Message]:
    return mailbox.read(address(reporter))[0]


def test_read__empty(mailbox: Mailbox) -> None:
    assert mailbox.read(address(1)) == ([], None)
    assert mailbox.read("") == ([], None)


def test_read__what_a_reporter_says_now(mailbox: Mailbox) -> None:
    first, second, third = (message(time) for time in (3_000, 1_000, 2_000))
    mailbox.post([first, second])
    messages, mark = mailbox.read(address(1))
    assert messages == [first, second]
    assert mailbox.read(address(1), mark) == ([], mark)
    mailbox.post([third])
    messages, later = mailbox.read(address(1), mark)
    assert messages == [third]
    assert mailbox.read(address(1), later) == ([], later)
    # an old mark, and none at all, are good for nothing and do no harm
    for seen in (mark, "", "?", None):
        assert mailbox.read(address(1), seen) == ([third], later)


def test_read__each_reporter_for_himself(mailbox: Mailbox) -> None:
    mailbox.post([message(1_000, reporter=1)])
    mailbox.post([message(2_000, reporter=2)])
    assert said(mailbox, 1) == [message(1_000, reporter=1)]
    assert said(mailbox, 2) == [message(2_000, reporter=2)]


def test_read__each_deployment_for_itself(url: str, mailbox: Mailbox) -> None:
    """One reporter may have a seat in two."""
    chain, oracle = open_mailbox(url, 1, ORACLE), open_mailbox(url, CHAIN, address(98))
    mailbox.post([message(1_000)])
    chain.post([message(2_000, chain_id=1)])
    oracle.post([message(3_000)])
    assert said(mailbox) == [message(1_000)]
    assert said(chain) == [message(2_000, chain_id=1)]
    assert said(oracle) == [message(3_000)]
    assert (mailbox.refused, chain.refused, oracle.refused) == (0, 0, 0)
    chain.close()
    oracle.close()


def test_read__mark_outlives_the_process(url: str) -> None:
    before = open_mailbox(url, CHAIN, ORACLE)
    before.post([message(1_000)])
    _, mark = before.read(address(1))
    before.close()
    after = open_mailbox(url, CHAIN, ORACLE)
    assert after.read(address(1), mark) == ([], mark)
    after.post([message(2_000)])
    assert after.read(address(1), mark)[0] == [message(2_000)]
    after.close()


def test_read__both_of_an_equivocator(mailbox: Mailbox) -> None:
    both = [message(values=(1,)), message(values=(2,))]
    mailbox.post(both)
    assert said(mailbox) == both


def test_read__malformed_skipped_and_counted(url: str, mailbox: Mailbox) -> None:
    bad = [
        *NO_MESSAGES,
        *(m.to_json().encode() for m in (message(chain_id=1), message(reporter=2))),
    ]
    lines = [message(1_000).to_json().encode(), *bad, message(2_000).to_json().encode()]
    leave(url, b"\n".join(lines))
    messages, mark = mailbox.read(address(1))
    assert messages == [message(1_000), message(2_000)]
    assert mailbox.refused == len(bad)
    # once
    assert mailbox.read(address(1), mark) == ([], mark)
    assert mailbox.refused == len(bad)


def test_read__bounded_whatever_is_there(url: str, mailbox: Mailbox) -> None:
    line = message().to_json().encode()
    leave(url, b"\n".join([line] * (MOST_MESSAGES + 500)))
    assert len(said(mailbox)) == MOST_MESSAGES
    assert mailbox.refused == 1
    # of what is too long nothing is taken, nor is all of it fetched
    leave(url, b"\n".join([line] * (LONGEST_BODY // len(line) + 1)))
    assert said(mailbox) == []
    assert mailbox.refused == 2
    leave(url, b"\n" * 30_000_000)
    before = time.monotonic()
    assert said(mailbox) == []
    assert time.monotonic() - before < 1
    assert mailbox.refused == 3


def test_post__largest(mailbox: Mailbox) -> None:
    """Funding and prices of a thousand markets, of two times."""
    report = SignedReport(
        address(1), 2**40 - 1, tuple(address(n) for n in range(64)), (2**256 - 1,) * 16, 28, 1, 1
    )
    funding = [Message(CHAIN, ORACLE, report)] * 32
    prices = [message(2**40 - 1)] * 2_000
    mailbox.post(funding + prices)
    assert said(mailbox) == funding + prices


def test_post__too_much(mailbox: Mailbox) -> None:
    mailbox.post([message()])
    with pytest.raises(MailboxError, match=r"4001 messages of [0-9]+ bytes are too many: .*4000"):
        mailbox.post([message()] * (MOST_MESSAGES + 1))
    assert said(mailbox) == [message()]


@pytest.mark.parametrize("reporters", [(), (1, 2)])
def test_post__of_one_reporter(mailbox: Mailbox, reporters: tuple[int, ...]) -> None:
    with pytest.raises(MailboxError, match=f"of {len(reporters)} reporters: post those of one"):
        mailbox.post([message(reporter=each) for each in reporters])


def test_post__another_chain(mailbox: Mailbox) -> None:
    with pytest.raises(MailboxError, match="for chain 1, not 31337: post it there"):
        mailbox.post([message(), message(chain_id=1)])
    assert said(mailbox) == []


def test_post__again_writes_nothing(url: str, mailbox: Mailbox) -> None:
    mailbox.post([message()])
    if url.startswith("redis"):
        # a server that takes no writing at all
        redis_py.Redis.from_url(url).replicaof("127.0.0.1", "1")
        mailbox.post([message()])
        with pytest.raises(MailboxError, match="replica"):
            mailbox.post([message(2_000)])
        return
    path = url.removeprefix("sqlite://")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        before = time.monotonic()
        mailbox.post([message()])
        assert time.monotonic() - before < 1


def test_close__used_again(mailbox: Mailbox) -> None:
    mailbox.post([message(1_000)])
    mailbox.close()
    mailbox.close()
    assert said(mailbox) == [message(1_000)]
    mailbox.post([message(2_000)])
    assert said(mailbox) == [message(2_000)]


POSTER = """
import sys
from perpool.keeper.mailbox import open_mailbox
from tests.unit.perpool.test_keeper_mailbox import CHAIN, ORACLE, message

url, reporter, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
mailbox = open_mailbox(url, CHAIN, ORACLE)
for time in range(count):
    mailbox.post([message(time, reporter)] * 20)
"""


def start_poster(url: str, reporter: int, count: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", POSTER, url, str(reporter), str(count)], cwd=ROOT
    )


def is_whole(messages: Sequence[Message]) -> bool:
    return not messages or messages == [messages[0]] * 20


def test_post__two_processes_at_once(url: str) -> None:
    """They make the file together, and a reader who looks on meanwhile sees all of a post or
    nothing, and never an older one after a newer one."""
    posters = [start_poster(url, reporter, 500) for reporter in (1, 2)]
    reader = open_mailbox(url, CHAIN, ORACLE)
    times: dict[int, list[int]] = {1: [], 2: []}
    while any(poster.poll() is None for poster in posters):
        for reporter, found in times.items():
            messages = said(reader, reporter)
            assert is_whole(messages)
            found += [each.report.observed_at for each in messages[:1]]
    for reporter, found in times.items():
        assert found == sorted(found)
        assert said(reader, reporter) == [message(499, reporter)] * 20
    assert [poster.returncode for poster in posters] == [0, 0]
    assert reader.refused == 0
    reader.close()


def test_post__killed_meanwhile(url: str) -> None:
    """What was posted until then is there, whole; others go on."""
    poster = start_poster(url, 1, 10**6)
    reader = open_mailbox(url, CHAIN, ORACLE)
    while not (messages := said(reader)) or messages[0].report.observed_at < 20:
        assert poster.poll() is None
    poster.kill()
    poster.wait()
    reader.post([message(7, reporter=2)])
    assert len(said(reader)) == 20
    assert is_whole(said(reader))
    assert said(reader, 2) == [message(7, reporter=2)]
    assert reader.refused == 0
    reader.close()


@pytest.mark.parametrize("shared", [True, False])
def test_post__threads(url: str, shared: bool) -> None:
    """With an object each, or all with one."""
    one = open_mailbox(url, CHAIN, ORACLE)
    failures: list[Exception] = []

    def work(reporter: int) -> None:
        mailbox = one if shared else open_mailbox(url, CHAIN, ORACLE)
        try:
            for time in range(25):
                mailbox.post([message(time, reporter)])
                assert said(mailbox, reporter) == [message(time, reporter)]
        except (AssertionError, MailboxError) as error:
            failures.append(error)
        if not shared:
            mailbox.close()

    in_threads([lambda number=number: work(number) for number in range(4)])
    assert failures == []
    one.close()


def in_threads(tasks: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=task) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("url", ["mongo://user:secret@host/1", "http://secret", "file://secret"])
def test_open_mailbox__another_scheme(url: str) -> None:
    with pytest.raises(MailboxError, match="use sqlite://, redis:// or rediss://") as refusal:
        open_mailbox(url, CHAIN, ORACLE)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("chain_id", [0, -1, 2**63])
def test_open_mailbox__no_chain(chain_id: int) -> None:
    with pytest.raises(MailboxError, match="no chain has the id"):
        open_mailbox("sqlite://", chain_id, ORACLE)
