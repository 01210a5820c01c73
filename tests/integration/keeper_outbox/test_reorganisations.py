"""Blocks that are not there any more."""

from __future__ import annotations

from tests.integration.lane_on_anvil import (
    ADA,
    CONFIRMATIONS,
    Stage,
    begin,
    evidence,
    fees,
    land,
    names,
)


def test_step__three_blocks_deep(stage: Stage) -> None:
    outbox = stage.outbox()
    land(stage, outbox)
    [before] = outbox.journal.open()
    stage.mine(2)
    assert names(outbox.step()) == []
    stage.reorganise(3)
    assert stage.times_noted() == 0
    assert names(outbox.step()) == ["reorganised", "rebroadcast"]
    assert outbox.busy
    assert stage.waiting() == {0: before.attempts[0].hash}
    stage.mine()
    assert names(outbox.step()) == ["landed"]
    stage.mine(CONFIRMATIONS)
    assert names(outbox.step()) == ["done"]
    assert (stage.times_noted(), stage.mined_nonces(), len(fees(outbox))) == (1, 1, 1)


def test_step__mined_again_in_another_block(stage: Stage) -> None:
    outbox = stage.outbox()
    land(stage, outbox)
    [before] = outbox.journal.open()
    raw = "0x" + before.attempts[0].raw.hex()
    stage.mine(2)
    stage.chain.rpc("anvil_reorg", 3, [[raw, 1]])
    assert names(outbox.step()) == ["landed"]
    [after] = outbox.journal.open()
    assert before.mined is not None
    assert after.mined is not None
    assert after.mined.block == before.mined.block + 1
    assert stage.times_noted() == 1


def test_step__deeper_than_our_confirmations(stage: Stage) -> None:
    outbox = stage.outbox()
    land(stage, outbox)
    stage.mine(CONFIRMATIONS)
    assert names(outbox.step()) == ["done"]
    stage.reorganise(CONFIRMATIONS + 1)
    assert names(outbox.step()) == ["reorganised", "rebroadcast"]
    assert outbox.journal.state(ADA) == "open"
    stage.mine()
    assert names(outbox.step()) == ["landed"]
    assert stage.times_noted() == 1


def test_step__the_one_in_flight_waits_for_the_one_that_came_back(stage: Stage) -> None:
    outbox = stage.outbox()
    land(stage, outbox, time=1)
    begin(stage, outbox, time=2)
    stage.reorganise(1)
    assert names(outbox.step()) == ["reorganised", "rebroadcast", "rebroadcast"]
    assert sorted(stage.waiting()) == [0, 1]
    stage.mine()
    assert names(outbox.step()) == ["landed", "landed"]
    assert stage.noted() == {evidence("ADA", 1): 1, evidence("ADA", 2): 1}


def test_step__the_planned_waits_for_the_one_that_came_back(stage: Stage) -> None:
    outbox = stage.outbox()
    land(stage, outbox, time=1)
    outbox.offer([stage.parcel(time=2)], None)
    stage.reorganise(1)
    assert names(outbox.step()) == ["reorganised", "rebroadcast"]
    stage.mine()
    assert names(outbox.step()) == ["landed", "sent"]
    stage.mine()
    assert names(outbox.step()) == ["landed"]
    assert stage.noted() == {evidence("ADA", 1): 1, evidence("ADA", 2): 1}


def test_step__a_foreign_transaction_after_the_reorganisation(stage: Stage) -> None:
    outbox = stage.outbox()
    land(stage, outbox)
    stage.reorganise(1)
    stage.send_by_hand(0)
    stage.mine()
    assert names(outbox.step()) == ["reorganised", "displaced"]
    stage.mine(CONFIRMATIONS)
    assert names(outbox.step()) == ["abandoned"]
    land(stage, outbox)
    assert (stage.times_noted(), stage.mined_nonces()) == (1, 2)
