"""Messages and mailboxes: what both stores promise, over SQLite and a real Redis server."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
from eth_utils import to_checksum_address

from perpool.keeper.mailbox import (
    LONGEST_MESSAGE,
    Mailbox,
    MailboxError,
    Message,
    open_mailbox,
)
from perpool.keeper.mailbox import redis as redis_store
from perpool.keeper.mailbox import sqlite as sqlite_store
from perpool.reports import SignedReport
from tests.redis_server import RedisServer

CHAIN = 31_337
ROOT = Path(__file__).parents[3]


def address(number: int) -> str:
    return to_checksum_address(f"0x{number + 0xABCDEF0000:040x}")


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
    mailbox = open_mailbox(url, CHAIN)
    yield mailbox
    mailbox.close()


def leave(url: str, body: bytes, observed_at: int = 1_000) -> None:
    """Put anything at all into a mailbox, as somebody can who has access to the store."""
    if url.startswith("redis"):
        redis_py.Redis.from_url(url).xadd(f"perpool:{CHAIN}:reports", {"message": body})
        return
    with sqlite3.connect(url.removeprefix("sqlite://")) as database:
        insert = "INSERT INTO message (chain_id, observed_at, body) VALUES (?, ?, ?)"
        database.execute(insert, (CHAIN, observed_at, body))
    database.close()


def test_read__empty(mailbox: Mailbox) -> None:
    assert mailbox.read(None) == ([], None)


def test_read__in_order_and_once(mailbox: Mailbox) -> None:
    first, second, third = (message(time) for time in (3_000, 1_000, 2_000))
    mailbox.post(first)
    mailbox.post(second)
    messages, position = mailbox.read(None)
    assert messages == [first, second]
    assert mailbox.read(position) == ([], position)
    mailbox.post(third)
    messages, later = mailbox.read(position)
    assert messages == [third]
    assert later != position
    # an old position, and none, stay good
    assert mailbox.read(position) == ([third], later)
    assert mailbox.read(None) == ([first, second, third], later)


def test_read__position_outlives_the_process(url: str) -> None:
    before = open_mailbox(url, CHAIN)
    before.post(message(1_000))
    _, position = before.read(None)
    before.post(message(2_000))
    before.close()
    after = open_mailbox(url, CHAIN)
    messages, position = after.read(position)
    assert messages == [message(2_000)]
    after.prune(3_000)
    after.close()
    # nor is a position used again for another message once it is forgotten
    last = open_mailbox(url, CHAIN)
    last.post(message(4_000))
    assert last.read(position)[0] == [message(4_000)]
    last.close()


def test_read__in_portions(mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    for store in (sqlite_store, redis_store):
        monkeypatch.setattr(store, "READ_LIMIT", 40)
    monkeypatch.setattr(redis_store, "PAGE", 20)
    for time in range(90):
        mailbox.post(message(time))
    found, position = [], None
    for portion in (40, 40, 10, 0):
        messages, position = mailbox.read(position)
        assert len(messages) == portion
        found += [each.report.observed_at for each in messages]
    assert found == list(range(90))


@pytest.mark.parametrize(
    "position",
    [
        "",
        "/",
        "1",
        "0-0",
        "elsewhere/1",
        "elsewhere/0-0",
        "{origin}/",
        "{origin}/-1",
        "{origin}/9",
        "{origin}/9999999999999999999",
        "{origin}/9999999999999999999-9999999999999999999",
        "{origin}/" + "9" * 5_000,
        "{origin}/٧-٧",
        "{origin}/$",
    ],
)
def test_read__unknown_position(mailbox: Mailbox, position: str) -> None:
    mailbox.post(message())
    _, current = mailbox.read(None)
    assert current is not None
    origin = current.partition("/")[0]
    assert mailbox.read(position.format(origin=origin)) == ([message()], current)


def test_read__posted_twice(mailbox: Mailbox) -> None:
    mailbox.post(message())
    mailbox.post(message())
    assert mailbox.read(None)[0] == [message(), message()]


def test_read__both_of_an_equivocator(mailbox: Mailbox) -> None:
    one, other = message(values=(1,)), message(values=(2,))
    mailbox.post(one)
    mailbox.post(other)
    assert mailbox.read(None)[0] == [one, other]


def test_read__malformed_skipped_and_counted(url: str, mailbox: Mailbox) -> None:
    mailbox.post(message(1_000))
    for body in NO_MESSAGES:
        leave(url, body)
    leave(url, message(chain_id=1).to_json().encode())
    mailbox.post(message(2_000))
    messages, position = mailbox.read(None)
    assert messages == [message(1_000), message(2_000)]
    assert mailbox.refused == len(NO_MESSAGES) + 1
    leave(url, b"more")
    messages, later = mailbox.read(position)
    assert (messages, mailbox.refused) == ([], len(NO_MESSAGES) + 2)
    assert mailbox.read(later) == ([], later)
    assert mailbox.refused == len(NO_MESSAGES) + 2


def test_post__another_chain(url: str, mailbox: Mailbox) -> None:
    with pytest.raises(MailboxError, match="for chain 1, not 31337: post it there"):
        mailbox.post(message(chain_id=1))
    other = open_mailbox(url, 1)
    other.post(message(chain_id=1))
    mailbox.post(message())
    assert mailbox.read(None)[0] == [message()]
    assert other.read(None)[0] == [message(chain_id=1)]
    assert (mailbox.refused, other.refused) == (0, 0)
    other.prune(2_000)
    assert mailbox.read(None)[0] == [message()]
    other.close()


def test_prune__those_observed_before(url: str, mailbox: Mailbox) -> None:
    leave(url, b"rubbish", observed_at=0)
    for time in (1_000, 2_000, 1_500, 3_000):
        mailbox.post(message(time))
    _, position = mailbox.read(None)
    mailbox.prune(2_000)
    kept, again = mailbox.read(None)
    assert [each.report.observed_at for each in kept] == [2_000, 3_000]
    assert again == position
    assert mailbox.refused == 1
    mailbox.prune(9_000)
    assert mailbox.read(None) == ([], None)
    assert mailbox.read(position) == ([], position)
    mailbox.post(message(9_000))
    assert mailbox.read(position)[0] == [message(9_000)]


def test_prune__many(mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_store, "PAGE", 10)
    for time in range(55):
        mailbox.post(message(time))
    mailbox.prune(47)
    assert [each.report.observed_at for each in mailbox.read(None)[0]] == list(range(47, 55))


def test_post__pushes_out_the_oldest(mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    for store in (sqlite_store, redis_store):
        monkeypatch.setattr(store, "KEPT", 150)
    for time in range(500):
        mailbox.post(message(time))
    kept = [each.report.observed_at for each in mailbox.read(None)[0]]
    assert kept == list(range(500 - len(kept), 500))
    assert 150 <= len(kept) < 300  # Redis forgets a hundred at a time


def test_close__used_again(mailbox: Mailbox) -> None:
    mailbox.post(message(1_000))
    mailbox.close()
    mailbox.close()
    mailbox.post(message(2_000))
    assert mailbox.read(None)[0] == [message(1_000), message(2_000)]


POSTER = """
import sys
from perpool.keeper.mailbox import open_mailbox
from tests.unit.perpool.test_keeper_mailbox import CHAIN, message

url, reporter, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
mailbox = open_mailbox(url, CHAIN)
for time in range(count):
    mailbox.post(message(time, reporter))
"""


def start_poster(url: str, reporter: int, count: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", POSTER, url, str(reporter), str(count)], cwd=ROOT
    )


def by_reporter(messages: list[Message]) -> dict[str, list[int]]:
    times: dict[str, list[int]] = {}
    for each in messages:
        times.setdefault(each.report.reporter, []).append(each.report.observed_at)
    return times


def test_post__two_processes_at_once(url: str) -> None:
    """They make the file together, and a reader who looks on meanwhile sees each message once."""
    posters = [start_poster(url, reporter, 1_000) for reporter in (1, 2)]
    reader = open_mailbox(url, CHAIN)
    found: list[Message] = []
    position: str | None = None
    while any(poster.poll() is None for poster in posters):
        messages, position = reader.read(position)
        found += messages
    found += reader.read(position)[0]
    reader.close()
    assert [poster.returncode for poster in posters] == [0, 0]
    assert by_reporter(found) == {address(number): list(range(1_000)) for number in (1, 2)}


def test_post__killed_meanwhile(url: str) -> None:
    """What was posted until then is there, whole; others go on."""
    poster = start_poster(url, 1, 10**6)
    reader = open_mailbox(url, CHAIN)
    while len(reader.read(None)[0]) < 20:
        assert poster.poll() is None
    poster.kill()
    poster.wait()
    reader.post(message(7, reporter=2))
    messages, _ = reader.read(None)
    times = by_reporter(messages[:-1])[address(1)]
    assert times == list(range(len(times)))
    assert messages[-1] == message(7, reporter=2)
    assert reader.refused == 0
    reader.close()


@pytest.mark.parametrize("shared", [True, False])
def test_post__threads(url: str, shared: bool) -> None:
    """With an object each, or all with one."""
    one = open_mailbox(url, CHAIN)
    failures: list[Exception] = []

    def work(reporter: int) -> None:
        mailbox = one if shared else open_mailbox(url, CHAIN)
        try:
            for time in range(25):
                mailbox.post(message(time, reporter))
                mailbox.read(None)
        except Exception as error:
            failures.append(error)
        if not shared:
            mailbox.close()

    in_threads([lambda number=number: work(number) for number in range(4)])
    assert failures == []
    expected = {address(number): list(range(25)) for number in range(4)}
    assert by_reporter(one.read(None)[0]) == expected
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
        open_mailbox(url, CHAIN)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("chain_id", [0, -1, 2**63])
def test_open_mailbox__no_chain(chain_id: int) -> None:
    with pytest.raises(MailboxError, match="no chain has the id"):
        open_mailbox("sqlite://", chain_id)
