"""The keeper's journal: what may be planned, what it remembers, what happens to its file."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from perpool.keeper.model import Intent, Parcel
from perpool.keeper.transactions.fees import Fees
from perpool.keeper.transactions.journal import KEEP_SECONDS, Journal, JournalError, Repeated
from perpool.keeper.transactions.model import Attempt, Mined, Transaction

NOW = 1_700_000_000
ME = "0x" + 40 * "1"
TARGET = "0x" + 40 * "2"


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "keeper.db", "prices")
    yield journal
    journal.close()


def parcel(subject: str = "ADA", time: int = 1) -> Parcel:
    return Parcel((Intent("price", subject, time, "9"),), TARGET, subject.encode())


def attempt(number: int, nonce: int = 0, fee: int = 10) -> Attempt:
    return Attempt(f"0x{nonce:032x}{number:032x}", bytes([number]), Fees(fee, 1), NOW)


def mined(transaction: Transaction, block: int = 100, *, success: bool = True) -> Mined:
    return Mined(transaction.attempts[-1].hash, block, "0xb10c", success)


def sent(journal: Journal, subject: str = "ADA", nonce: int = 0, time: int = 1) -> Transaction:
    planned = journal.plan([parcel(subject, time)], None, NOW)
    journal.attempt(planned.id, attempt(planned.id, nonce), sender=ME, nonce=nonce, gas=21_000)
    return journal.get(planned.id)


# -- the life of a transaction --


def test_plan(journal: Journal) -> None:
    parcels = [parcel("ADA"), parcel("BTC")]
    planned = journal.plan(parcels, NOW + 60, NOW)
    assert planned.state == "planned"
    assert planned.parcels == tuple(parcels)
    assert [each.subject for each in planned.intents] == ["ADA", "BTC"]
    assert (planned.expires_at, planned.planned_at) == (NOW + 60, NOW)
    assert (planned.sender, planned.nonce, planned.gas) == (None, None, None)
    assert planned.attempts == ()
    assert journal.open() == [planned]
    assert journal.state(planned.intents[0]) == "open"


def test_plan__never_twice(journal: Journal) -> None:
    journal.plan([parcel()], None, NOW)
    with pytest.raises(Repeated, match="price of ADA at 1 is under way or done"):
        journal.plan([parcel("BTC"), parcel()], None, NOW)
    assert len(journal.open()) == 1
    assert not journal.knows(Intent("price", "BTC", 1))
    # another value is the same intent; another time, kind or subject is not
    assert journal.knows(Intent("price", "ADA", 1, "another"))
    for other in (
        Intent("price", "ADA", 2),
        Intent("funding", "ADA", 1),
        Intent("price", "BTC", 1),
    ):
        assert not journal.knows(other)


def test_plan__twice_within_one_transaction(journal: Journal) -> None:
    with pytest.raises(Repeated):
        journal.plan([parcel(), parcel()], None, NOW)
    assert journal.open() == []


def test_plan__the_database_itself_refuses_to_repeat(journal: Journal) -> None:
    journal.plan([parcel()], None, NOW)
    journal.knows = lambda intent: False  # type: ignore[method-assign]
    with pytest.raises(JournalError, match="UNIQUE"):
        journal.plan([parcel()], None, NOW)


def test_plan__lanes_of_a_file_know_nothing_of_each_other(journal: Journal) -> None:
    other = Journal(journal.path, "liquidations")
    journal.plan([parcel()], None, NOW)
    assert not other.knows(parcel().intents[0])
    assert other.state(parcel().intents[0]) is None
    assert other.plan([parcel()], None, NOW).state == "planned"
    assert journal.knows(parcel().intents[0])
    other.close()


def test_attempt__newest_last_and_the_highest_fees_of_a_nonce(journal: Journal) -> None:
    planned = journal.plan([parcel()], None, NOW)
    first, second = attempt(1, fee=50), attempt(2, fee=60)
    journal.attempt(planned.id, first, sender=ME, nonce=7, gas=21_000)
    journal.attempt(planned.id, second, sender=ME, nonce=7, gas=21_000)
    journal.answered(first.hash, "accepted")
    found = journal.get(planned.id)
    assert (found.state, found.sender, found.nonce, found.gas) == ("sent", ME, 7, 21_000)
    assert [each.hash for each in found.attempts] == [first.hash, second.hash]
    assert [each.answer for each in found.attempts] == ["accepted", ""]
    assert found.attempts[1] == second
    assert journal.highest_fees(ME, 7) == Fees(60, 1)
    assert journal.highest_fees(ME, 8) is None
    assert journal.highest_fees(TARGET, 7) is None
    assert journal.has_attempt(first.hash)
    assert not journal.has_attempt("0x00")


def test_attempt__the_same_signed_again_for_another_transaction(journal: Journal) -> None:
    first = sent(journal)
    journal.abandon(first.id, "", NOW)
    again = journal.plan([parcel()], None, NOW)
    journal.attempt(again.id, first.attempts[0], sender=ME, nonce=0, gas=21_000)
    journal.answered(first.attempts[0].hash, "accepted")
    assert [each.hash for each in journal.get(again.id).attempts] == [first.attempts[0].hash]


def test_mined__some_met_and_some_not(journal: Journal) -> None:
    planned = journal.plan([parcel("ADA"), parcel("BTC")], None, NOW)
    journal.attempt(planned.id, attempt(1), sender=ME, nonce=0, gas=1)
    ada, btc = planned.intents
    receipt = mined(journal.get(planned.id))
    journal.mined(planned.id, receipt, [btc])
    found = journal.get(planned.id)
    assert (found.state, found.mined) == ("mined", receipt)
    assert (journal.state(ada), journal.state(btc)) == ("met", "unmet")
    assert journal.knows(btc), "a reorganisation may still have it succeed"

    journal.final(planned.id, NOW)
    assert (journal.state(ada), journal.state(btc)) == ("done", "failed")
    assert journal.get(planned.id).state == "failed"
    assert journal.open() == []
    assert journal.knows(ada)
    journal.plan([parcel("BTC")], None, NOW)
    with pytest.raises(Repeated):
        journal.plan([parcel("ADA")], None, NOW)


def test_final__all_met(journal: Journal) -> None:
    transaction = sent(journal)
    journal.mined(transaction.id, mined(transaction))
    journal.final(transaction.id, NOW)
    assert journal.get(transaction.id).state == "done"


def test_final__reverted(journal: Journal) -> None:
    transaction = sent(journal)
    receipt = mined(transaction, success=False)
    journal.mined(transaction.id, receipt, transaction.intents, "over the limit")
    journal.final(transaction.id, NOW)
    found = journal.get(transaction.id)
    assert (found.state, found.reason) == ("failed", "over the limit")
    assert journal.state(transaction.intents[0]) == "failed"


def test_reopened__after_a_reorganisation(journal: Journal) -> None:
    transaction = sent(journal)
    journal.mined(transaction.id, mined(transaction))
    journal.reopened(transaction.id)
    assert journal.get(transaction.id) == transaction
    assert journal.state(transaction.intents[0]) == "open"


def test_displaced(journal: Journal) -> None:
    transaction = sent(journal)
    journal.displaced(transaction.id, 90)
    found = journal.get(transaction.id)
    assert (found.state, found.displaced_at, found.mined) == ("displaced", 90, None)
    assert journal.knows(transaction.intents[0])
    journal.abandon(transaction.id, "taken", NOW)
    assert (journal.get(transaction.id).state, journal.get(transaction.id).reason) == (
        "abandoned",
        "taken",
    )
    assert not journal.knows(transaction.intents[0])
    again = journal.plan([parcel()], None, NOW)
    assert journal.state(again.intents[0]) == "open"


def test_revive__what_was_final_with_nonces_not_mined_any_more(journal: Journal) -> None:
    for nonce in range(3):
        transaction = sent(journal, nonce=nonce, time=nonce)
        journal.mined(transaction.id, mined(transaction, 100 + nonce))
        journal.final(transaction.id, NOW)
    assert journal.revive(ME, 3) == []
    assert [each.nonce for each in journal.revive(ME, 1)] == [1, 2]
    assert [each.nonce for each in journal.open()] == [1, 2]
    assert journal.state(Intent("price", "ADA", 0)) == "done"
    assert journal.state(Intent("price", "ADA", 1)) == "open"
    assert journal.revive(TARGET, 0) == []


def test_revive__an_intent_that_is_planned_again_stays_there(journal: Journal) -> None:
    transaction = sent(journal)
    receipt = mined(transaction, success=False)
    journal.mined(transaction.id, receipt, transaction.intents)
    journal.final(transaction.id, NOW)
    again = journal.plan([parcel()], None, NOW)
    journal.revive(ME, 0)
    assert [each.id for each in journal.open()] == [transaction.id, again.id]
    journal.abandon(again.id, "", NOW)
    assert not journal.knows(transaction.intents[0])


def test_trim(journal: Journal) -> None:
    planned = journal.plan([parcel("ADA"), parcel("BTC"), parcel("ETH")], None, NOW)
    journal.trim(planned.id, parcel("BTC"), "it would fail", NOW)
    found = journal.get(planned.id)
    assert [each.subject for each in found.intents] == ["ADA", "ETH"]
    assert [each.data for each in found.parcels] == [b"ADA", b"ETH"]
    [refused] = [each for each in journal.recent(2) if each.id != planned.id]
    assert (refused.state, refused.reason, refused.is_final) == ("refused", "it would fail", True)
    assert refused.parcels == (parcel("BTC"),)
    assert not journal.knows(Intent("price", "BTC", 1))


def test_refuse(journal: Journal) -> None:
    planned = journal.plan([parcel("ADA")], None, NOW)
    journal.refuse(planned.id, "it would fail", NOW)
    found = journal.get(planned.id)
    assert (found.state, found.reason, found.is_final) == ("refused", "it would fail", True)
    assert journal.open() == []
    journal.plan([parcel("ADA")], None, NOW)


def test_trim__what_was_taken_out_is_not_done_with_the_rest(journal: Journal) -> None:
    planned = journal.plan([parcel("ADA"), parcel("BTC")], None, NOW)
    journal.trim(planned.id, parcel("BTC"), "it would fail", NOW)
    journal.attempt(planned.id, attempt(1), sender=ME, nonce=0, gas=21_000)
    transaction = journal.get(planned.id)
    journal.mined(planned.id, mined(transaction))
    journal.final(planned.id, NOW)
    assert journal.knows(Intent("price", "ADA", 1))
    assert not journal.knows(Intent("price", "BTC", 1))


def test_adopt__what_cannot_be_read_back_is_free_again_once_it_is_mined(journal: Journal) -> None:
    ada, btc = Intent("price", "ADA", 1, "9"), Intent("observe", "BTC", 1)
    content = Parcel((ada, btc), TARGET, b"both")
    adopted = journal.adopt(
        content, [attempt(1)], sender=TARGET, nonce=4, gas=5, expires_at=NOW + 60, now=NOW
    )
    assert adopted.adopted
    assert journal.knows(btc)
    for block in (100, 101):  # also where that is planned anew, and a reorganisation moves it
        journal.mined(adopted.id, mined(adopted, block))
        assert journal.knows(ada)
        assert journal.knows(btc) == (block == 101)
        if block == 100:
            journal.plan([Parcel((btc,), TARGET, b"")], None, NOW)


def test_adopt(journal: Journal) -> None:
    journal.plan([parcel("BTC")], None, NOW)
    content = Parcel((*parcel("ADA").intents, *parcel("BTC").intents), TARGET, b"both")
    attempts = [Attempt("0x0a", b"", Fees(0, 0), 0), attempt(2, fee=70)]
    adopted = journal.adopt(
        content, attempts, sender=TARGET, nonce=4, gas=5, expires_at=NOW + 60, now=NOW
    )
    assert (adopted.state, adopted.sender, adopted.nonce, adopted.gas) == ("sent", TARGET, 4, 5)
    assert adopted.attempts == tuple(attempts)
    assert [each.subject for each in adopted.intents] == ["ADA"], "BTC is ours already"
    assert journal.highest_fees(TARGET, 4) == Fees(70, 1)
    with pytest.raises(Repeated):
        journal.plan([parcel("ADA")], None, NOW)


def test_recent(journal: Journal) -> None:
    for time in range(5):
        journal.plan([parcel(time=time)], None, NOW)
    assert [each.intents[0].time for each in journal.recent(2)] == [4, 3]
    assert journal.state(Intent("price", "ADA", 99)) is None


def test_prune__final_rows_after_their_time(journal: Journal) -> None:
    old = sent(journal, nonce=0, time=1)
    journal.mined(old.id, mined(old))
    journal.final(old.id, NOW)
    waiting = sent(journal, nonce=1, time=2)
    new = sent(journal, nonce=2, time=3)
    journal.mined(new.id, mined(new))

    journal.final(new.id, NOW + KEEP_SECONDS)
    assert journal.knows(old.intents[0])
    journal.reopened(new.id)
    journal.mined(new.id, mined(new))
    journal.final(new.id, NOW + KEEP_SECONDS + 1)
    assert not journal.knows(old.intents[0])
    assert [each.id for each in journal.recent(9)] == [new.id, waiting.id]
    assert not journal.has_attempt(old.attempts[0].hash)


# -- the file --


def test_bind__one_chain_for_good(journal: Journal) -> None:
    journal.bind("31337 0xaa")
    journal.bind("31337 0xaa")
    journal.check("31337 0xaa")
    for look in (journal.bind, journal.check):
        with pytest.raises(JournalError, match=f"remove the folder {journal.path.parent};"):
            look("31337 0xbb")


def test_check__one_that_is_not_bound_yet(journal: Journal) -> None:
    journal.check("31337 0xaa")
    # looking has bound it to nothing
    journal.bind("31337 0xbb")


def test_open__again_with_all_that_was_in_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "keeper.db"
    journal = Journal(path, "prices")
    before = sent(journal)
    journal.close()
    journal = Journal(path, "prices")
    assert journal.open() == [before]
    journal.close()


def test_open__another_process_has_the_lane(journal: Journal) -> None:
    with pytest.raises(JournalError, match="another keeper is using the lane prices"):
        Journal(journal.path, "prices")
    Journal(journal.path, "liquidations").close()


def test_open__read_only_beside_the_owner(journal: Journal) -> None:
    transaction = sent(journal)
    reader = Journal(journal.path, "prices", read_only=True)
    assert reader.recent(5) == [transaction]
    with pytest.raises(JournalError, match="readonly"):
        reader.plan([parcel("BTC")], None, NOW)
    reader.close()


def test_open__read_only_without_a_file(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="unable to open"):
        Journal(tmp_path / "none.db", "prices", read_only=True)


def test_open__not_a_database(tmp_path: Path) -> None:
    path = tmp_path / "keeper.db"
    path.write_bytes(b"what is this?" * 1000)
    with pytest.raises(JournalError, match=r"damaged .* move the file away"):
        Journal(path, "prices")
    # and the lane is free again
    path.unlink()
    Journal(path, "prices").close()


def test_open__damaged_in_the_middle(tmp_path: Path) -> None:
    path = tmp_path / "keeper.db"
    journal = Journal(path, "prices")
    for time in range(50):
        sent(journal, nonce=time, time=time)
    journal.close()
    content = bytearray(path.read_bytes())
    for page in range(2, len(content) // 4096):
        content[page * 4096 : page * 4096 + 64] = os.urandom(64)
    path.write_bytes(content)
    with pytest.raises(JournalError, match="damaged"):
        Journal(path, "prices")


def test_open__somebody_elses_database(tmp_path: Path) -> None:
    path = tmp_path / "keeper.db"
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE theirs (id INTEGER)")
    database.close()
    with pytest.raises(JournalError, match="no journal of this version"):
        Journal(path, "prices")


def test_open__of_an_earlier_version(tmp_path: Path) -> None:
    path = tmp_path / "keeper.db"
    Journal(path, "prices").close()
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 1")
    database.close()
    with pytest.raises(JournalError, match=r"no journal of this version .* name another file"):
        Journal(path, "prices")


def test_open__a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="a folder of its own"):
        Journal(tmp_path / "file" / "keeper.db", "prices")


def test_write__a_full_disk_changes_nothing(journal: Journal) -> None:
    transaction = sent(journal)
    [pages] = journal._db.execute("PRAGMA page_count").fetchone()
    journal._db.execute(f"PRAGMA max_page_count = {pages}")
    large = Attempt("0x0f", bytes(100_000), Fees(90, 9), NOW)
    with pytest.raises(JournalError, match="is the disk full"):
        journal.attempt(transaction.id, large, sender=ME, nonce=0, gas=1)
    assert journal.get(transaction.id) == transaction
    with pytest.raises(JournalError):
        journal.plan([Parcel((), TARGET, bytes(100_000))], None, NOW)
    assert journal.open() == [transaction]
    journal._db.execute(f"PRAGMA max_page_count = {pages + 100}")
    journal.attempt(transaction.id, large, sender=ME, nonce=0, gas=1)
    assert len(journal.get(transaction.id).attempts) == 2


def test_write__synced_to_the_disk(journal: Journal) -> None:
    assert journal._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert journal._db.execute("PRAGMA synchronous").fetchone() == (2,)
