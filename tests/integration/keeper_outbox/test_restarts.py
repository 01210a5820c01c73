"""What a process leaves, when it ends, is killed, or cannot write."""

from __future__ import annotations

import multiprocessing
import signal

import pytest

from perpool.anvil import Anvil
from perpool.keeper.transactions.journal import JournalError
from tests.integration.lane_on_anvil import (
    ADA,
    CONFIRMATIONS,
    LATER,
    Stage,
    begin,
    land,
    live_and_be_killed,
    names,
)

# -- restarts --


def test_restart__what_was_only_planned_is_decided_anew(stage: Stage) -> None:
    outbox = stage.outbox()
    outbox.offer([stage.parcel()], stage.now + LATER)
    outbox = stage.restart(outbox)
    assert not outbox.busy
    assert not outbox.knows(ADA)


def test_restart__what_was_signed_goes_on(stage: Stage) -> None:
    outbox = stage.outbox()
    begin(stage, outbox)
    stage.chain.rpc("anvil_dropAllTransactions")
    outbox = stage.restart(outbox)
    assert outbox.busy
    assert names(outbox.step()) == ["rebroadcast"]
    stage.mine()
    assert names(outbox.step()) == ["landed"]
    assert (stage.times_noted(), stage.mined_nonces()) == (1, 1)


@pytest.mark.parametrize(
    ("fate", "meanwhile", "boundaries"),
    [
        ("plain", "nothing", 18),
        ("plain", "mined", 18),
        ("plain", "dropped", 18),
        ("reorganised", "mined", 28),
        ("replaced", "mined", 28),
    ],
)
def test_kill__between_any_two_steps(
    stage: Stage, fate: str, meanwhile: str, boundaries: int
) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.integration.lane_on_anvil"])
    addresses = (stage.probe.address, stage.multicall.address)
    survived = stage.folder / "survived"
    kill_at = 0
    while not survived.exists():
        kill_at += 1
        life = (kill_at, stage.anvil.ipc_path, str(stage.folder), addresses, kill_at, fate)
        child = context.Process(target=live_and_be_killed, args=life)
        child.start()
        child.join(60)
        assert child.exitcode == (0 if survived.exists() else -signal.SIGKILL)
        if meanwhile == "mined":
            stage.mine()
        elif meanwhile == "dropped":
            stage.chain.rpc("anvil_dropAllTransactions")

        outbox = stage.outbox()
        for _ in range(3):
            # what is due is decided by what is known
            outbox.offer([stage.parcel(name, kill_at) for name in ("ADA", "BTC")], None)
            outbox.step()
            stage.mine()
            outbox.step()
            stage.mine(CONFIRMATIONS)
            outbox.step()
        assert outbox.journal.open() == []
        outbox.journal.close()
        for name in ("ADA", "BTC"):
            assert stage.times_noted(name, kill_at) == 1
        assert stage.mined_nonces() == kill_at
    assert kill_at == boundaries + 1


def test_restart__on_a_chain_that_was_started_anew(stage: Stage) -> None:
    outbox = stage.outbox()
    land(stage, outbox)
    outbox.journal.close()
    with Anvil(timestamp=1_600_000_000) as other:
        outbox = stage.outbox([other.endpoint])
        with pytest.raises(JournalError, match="started anew"):
            outbox.step()


# -- the journal --


def test_restart__the_journal_is_one_processs(stage: Stage) -> None:
    stage.outbox()
    with pytest.raises(JournalError, match="another keeper is using the lane prices"):
        stage.outbox()


def test_journal__nothing_is_sent_that_is_not_in_it(stage: Stage) -> None:
    outbox = stage.outbox()
    outbox.offer([stage.parcel()], None)
    write = outbox.journal.attempt

    def full(*args: object, **named: object) -> None:
        raise JournalError("the disk is full")

    outbox.journal.attempt = full  # type: ignore[method-assign]
    with pytest.raises(JournalError):
        outbox.step()
    assert stage.waiting() == {}
    assert outbox.metrics.journal_errors._value.get() == 1
    outbox.journal.attempt = write  # type: ignore[method-assign]
    assert names(outbox.step()) == ["sent"]


def test_journal__a_full_disk(stage: Stage) -> None:
    outbox = stage.outbox()
    land(stage, outbox)
    database = outbox.journal._db
    [pages] = database.execute("PRAGMA page_count").fetchone()
    database.execute(f"PRAGMA max_page_count = {pages}")

    full = 0
    for number in range(2, 60):
        for action in (
            lambda time=number: outbox.offer([stage.parcel(time=time)], None),
            outbox.step,
            stage.mine,
            outbox.step,
        ):
            try:
                action()
            except JournalError:
                full += 1
    assert full > 10
    assert sum(stage.noted().values()) == stage.mined_nonces()
    assert set(stage.noted().values()) == {1}

    database.execute("PRAGMA max_page_count = 100000")
    for _ in range(2):
        outbox.step()
        stage.mine()
    land(stage, outbox, time=100)
    assert sum(stage.noted().values()) == stage.mined_nonces()
    assert set(stage.noted().values()) == {1}
