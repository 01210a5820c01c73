"""Nonces that others take, and those of what expired."""

from __future__ import annotations

from perpool.keeper.model import Intent
from perpool.keeper.transactions.fees import GWEI, FeePolicy
from tests.integration.lane_on_anvil import (
    ADA,
    CONFIRMATIONS,
    LATER,
    PATIENCE,
    Stage,
    begin,
    evidence,
    fees,
    land,
    names,
)

# -- nonces --


def test_step__a_nonce_taken_by_hand(stage: Stage) -> None:
    outbox = stage.outbox()
    begin(stage, outbox)
    stage.chain.rpc("anvil_dropAllTransactions")
    stage.send_by_hand(0)
    stage.mine()
    assert names(outbox.step()) == ["displaced"]
    assert not outbox.busy
    # a reorganisation could still have it mined
    assert outbox.knows(ADA)
    stage.mine(CONFIRMATIONS)
    assert names(outbox.step()) == ["abandoned"]
    assert not outbox.knows(ADA)
    land(stage, outbox)
    assert (stage.times_noted(), stage.mined_nonces()) == (1, 2)


def test_step__a_nonce_taken_and_given_back(stage: Stage) -> None:
    outbox = stage.outbox()
    begin(stage, outbox)
    stage.chain.rpc("anvil_dropAllTransactions")
    stage.send_by_hand(0)
    stage.mine()
    assert names(outbox.step()) == ["displaced"]
    stage.reorganise(1)
    assert names(outbox.step()) == ["reorganised", "rebroadcast"]
    stage.mine()
    assert names(outbox.step()) == ["landed"]
    assert stage.times_noted() == 1


def test_step__a_gap_before_a_foreign_transaction_is_filled_by_the_next(stage: Stage) -> None:
    outbox = stage.outbox()
    stage.send_by_hand(1)
    stage.mine()
    assert stage.mined_nonces() == 0
    begin(stage, outbox)
    stage.mine()
    outbox.step()
    stage.mine()
    assert stage.mined_nonces() == 2
    land(stage, outbox, time=2)
    assert stage.noted() == {evidence("ADA", 1): 1, evidence("ADA", 2): 1}


def test_step__a_foreign_transaction_waits_with_our_nonce(stage: Stage) -> None:
    outbox = stage.outbox()
    stage.send_by_hand(0, gwei=8)
    begin(stage, outbox)
    stage.mine()
    outbox.step()
    stage.mine(CONFIRMATIONS + 1)
    outbox.step()
    if not outbox.knows(ADA):
        land(stage, outbox)
    assert stage.times_noted() == 1


def test_step__a_gap_that_nobody_else_fills(stage: Stage) -> None:
    stage.send_by_hand(0)
    stage.mine()
    outbox = stage.outbox()
    begin(stage, outbox)
    # the foreign transaction is gone, and ours has nonce 1
    stage.reorganise(1)
    assert names(outbox.step()) == ["rebroadcast"]
    assert list(stage.waiting()) == [1]
    stage.now += PATIENCE
    assert names(outbox.step()) == ["sent"]
    assert sorted(stage.waiting()) == [0, 1]
    assert outbox.busy
    stage.mine()
    assert names(outbox.step()) == ["landed", "landed"]
    assert (stage.times_noted(), stage.mined_nonces()) == (1, 2)


# -- expiry --


def test_step__the_next_content_takes_the_nonce_of_what_expired(stage: Stage) -> None:
    outbox = stage.outbox()
    outbox.offer([stage.parcel(time=1)], stage.now + 30)
    outbox.step()
    stage.now += 30
    assert not outbox.busy
    assert names(outbox.step()) == []
    outbox.offer([stage.parcel(time=2)], stage.now + LATER)
    assert names(outbox.step()) == ["sent"]
    assert list(stage.waiting()) == [0]
    (old_fee, old_tip), (new_fee, new_tip) = fees(outbox)
    assert (new_fee * 10 >= old_fee * 11, new_tip * 10 >= old_tip * 11) == (True, True)
    stage.mine()
    assert names(outbox.step()) == ["displaced", "landed"]
    assert stage.noted() == {evidence("ADA", 2): 1}
    stage.mine(CONFIRMATIONS)
    assert names(outbox.step()) == ["abandoned", "done"]


def test_step__what_expired_is_mined_all_the_same(stage: Stage) -> None:
    outbox = stage.outbox()
    outbox.offer([stage.parcel(time=1)], stage.now + 30)
    outbox.step()
    old = outbox.journal.open()[0].attempts[0]
    stage.now += 30
    outbox.offer([stage.parcel(time=2)], stage.now + LATER)
    outbox.step()
    stage.chain.rpc("anvil_dropAllTransactions")
    stage.chain.rpc("eth_sendRawTransaction", "0x" + old.raw.hex())
    stage.mine()
    assert names(outbox.step()) == ["landed", "displaced"]
    stage.mine(CONFIRMATIONS)
    outbox.step()
    assert not outbox.knows(Intent("price", "ADA", 2))
    land(stage, outbox, time=2)
    assert stage.noted() == {evidence("ADA", 1): 1, evidence("ADA", 2): 1}


def test_step__the_next_content_where_what_expired_offered_the_cap(stage: Stage) -> None:
    outbox = stage.outbox(fees=FeePolicy(max_fee=3 * GWEI, min_tip=GWEI, max_tip=GWEI))
    outbox.offer([stage.parcel(time=1)], stage.now + 30)
    outbox.step()
    stage.now += 30
    outbox.offer([stage.parcel(time=2)], stage.now + LATER)
    # there is no room to outbid it, and anvil still has it
    assert names(outbox.step()) == ["sent", "held"]
    assert names(outbox.step()) == ["rebroadcast", "held"]
    stage.chain.rpc("anvil_dropAllTransactions")
    assert names(outbox.step()) == ["rebroadcast"]
    stage.mine()
    assert names(outbox.step()) == ["displaced", "landed"]
    assert stage.noted() == {evidence("ADA", 2): 1}


def test_step__an_empty_transaction_where_nothing_else_is_offered(stage: Stage) -> None:
    outbox = stage.outbox()
    outbox.offer([stage.parcel()], stage.now + 30)
    outbox.step()
    stage.now += 30 + PATIENCE
    assert names(outbox.step()) == ["sent"]
    assert list(stage.waiting()) == [0]
    assert not outbox.busy
    stage.mine()
    assert names(outbox.step()) == ["displaced", "landed"]
    assert stage.noted() == {}
    assert stage.mined_nonces() == 1
