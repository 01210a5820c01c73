"""Two keepers with one lane: what one announces, and what the other does with it."""

from __future__ import annotations

import json

import pytest

from perpool.keeper.chain.nodes import NodesError
from perpool.keeper.model import Intent
from perpool.keeper.transactions.fees import GWEI
from tests.integration.lane_on_anvil import (
    ADA,
    CONFIRMATIONS,
    PATIENCE,
    Stage,
    begin,
    evidence,
    key,
    land,
    names,
)

# -- standing by --


@pytest.mark.parametrize("waited", [0, PATIENCE])
def test_step__what_another_has_brought_is_not_sent_again(stage: Stage, waited: int) -> None:
    outbox, standby = stage.outbox(), stage.outbox(name="standby")
    begin(stage, outbox)
    stage.chain.rpc("anvil_dropAllTransactions")
    begin(stage, standby)
    stage.mine()
    stage.now += waited
    [event] = outbox.step()
    assert (event.name, event.reason) == ("abandoned", "the chain has its values already")
    assert (stage.times_noted(), stage.waiting()) == (1, {})
    # its nonce is free
    land(stage, outbox, time=2)
    assert stage.noted() == {evidence("ADA", 1): 1, evidence("ADA", 2): 1}
    assert stage.mined_nonces() == 1


def test_adopt__a_standby_does_not_send_it_again(stage: Stage) -> None:
    notes: list[str] = []
    outbox = stage.outbox(announce=notes.append)
    begin(stage, outbox)
    stage.chain.rpc("anvil_dropAllTransactions")

    standby = stage.outbox(name="standby")
    assert names(standby.adopt(notes[-1])) == ["adopted"]
    assert standby.adopt(notes[-1]) == []
    assert standby.busy
    assert standby.knows(ADA)
    assert names(standby.step()) == ["rebroadcast"]
    stage.mine()
    assert names(standby.step()) == ["landed"]
    assert not standby.busy
    stage.mine(CONFIRMATIONS)
    assert names(standby.step()) == ["done"]
    # and whoever comes back has not missed anything
    assert names(outbox.step()) == ["landed", "done"]
    assert (stage.times_noted(), stage.mined_nonces("standby")) == (1, 0)


def test_adopt__patience_with_a_predecessor_is_limited(stage: Stage) -> None:
    notes: list[str] = []
    outbox = stage.outbox(announce=notes.append)
    outbox.offer([stage.parcel(time=1)], stage.now + 600)
    outbox.step()
    stage.base_fee(20 * GWEI)

    standby = stage.outbox(name="standby")
    standby.adopt(notes[-1])
    standby.step()
    stage.now += PATIENCE
    assert not standby.busy
    land(stage, standby, time=2)
    # it is not kept from anybody for longer, and not adopted anew
    assert not standby.knows(ADA)
    assert standby.adopt(notes[-1]) == []
    standby = stage.restart(standby, name="standby")
    assert standby.adopt(notes[-1]) == []
    assert not standby.knows(ADA)
    assert stage.noted() == {evidence("ADA", 2): 1}


def test_adopt__ones_own_after_the_journal_is_lost(stage: Stage) -> None:
    notes: list[str] = []
    outbox = stage.outbox(announce=notes.append)
    begin(stage, outbox)
    outbox.journal.close()
    (stage.folder / "keeper.db").rename(stage.folder / "lost.db")
    outbox = stage.outbox()
    outbox.adopt(notes[-1])
    stage.base_fee(20 * GWEI)
    stage.now += PATIENCE
    assert names(outbox.step()) == ["replaced"]
    stage.mine()
    assert names(outbox.step()) == ["landed"]
    assert (stage.times_noted(), stage.mined_nonces()) == (1, 1)


# -- announcements that are none, or lie --


@pytest.mark.parametrize(
    "note", ["", "[]", "{}", '{"transactions": [{}]}', '{"transactions": [{"raw": "zz"}]}', "7"]
)
def test_adopt__what_is_no_announcement(stage: Stage, note: str) -> None:
    outbox = stage.outbox()
    assert outbox.adopt(note) == []
    assert not outbox.busy


def forged(stage: Stage, intents: list[Intent], nonce: int = 0, **changes: object) -> str:
    """A stranger's announcement, of a transaction that nothing is known of."""
    signed = key("somebody").sign_transaction(
        {
            "type": 2,
            "chainId": stage.chain.chain_id,
            "nonce": nonce,
            "to": key("somebody").address,
            "data": bytes(640),
            "gas": 60_000,
            "maxFeePerGas": 9 * GWEI,
            "maxPriorityFeePerGas": GWEI,
        }
    )
    entry = {
        "expires_at": stage.now + 10**9,
        "intents": [(each.kind, each.subject, each.time, each.value) for each in intents],
        "hashes": [],
        "raw": bytes(signed.raw_transaction).hex(),
    }
    return json.dumps({"transactions": [entry | changes]})


@pytest.mark.parametrize(
    "changes",
    [{"hashes": ["zzz"]}, {"expires_at": 2**70}, {"intents": [["price", "A", 2**40, ""]]}],
)
def test_adopt__forged_and_malformed(stage: Stage, changes: dict[str, object]) -> None:
    outbox = stage.outbox()
    note = json.loads(forged(stage, [ADA]))
    note["transactions"][0] |= changes
    assert outbox.adopt(json.dumps(note)) == []
    land(stage, outbox)


@pytest.mark.parametrize("funds", [0, 10**20])
@pytest.mark.parametrize("expires_at", [None, 10**12])
def test_adopt__forged_holds_up_nothing_beyond_our_patience(
    stage: Stage, funds: int, expires_at: int | None
) -> None:
    stage.chain.set_balance(key("somebody").address, funds)
    stage.base_fee(20 * GWEI)
    outbox = stage.outbox()
    note = forged(stage, [ADA], expires_at=expires_at)
    assert names(outbox.adopt(note)) == ["adopted"]
    outbox.step()
    assert outbox.knows(ADA)
    stage.now += PATIENCE
    assert names(outbox.step()) == ["abandoned"]
    assert not outbox.knows(ADA)
    land(stage, outbox)
    outbox = stage.restart(outbox)
    assert outbox.adopt(note) == []
    assert stage.times_noted() == 1


@pytest.mark.parametrize("value", ["1", ""])
def test_adopt__mined_without_what_was_announced(stage: Stage, value: str) -> None:
    stage.chain.set_balance(key("somebody").address, 10**20)
    outbox = stage.outbox()
    claim = ADA if value else Intent("observe", "ADA", 1)
    if not value:
        outbox._unmet = lambda intents, head: []  # it leaves nothing that can be read back
    outbox.adopt(forged(stage, [claim]))
    outbox.step()
    stage.mine()
    outbox.step()
    assert not outbox.knows(claim)
    assert not outbox.busy


def test_adopt__one_that_fails_in_any_way_keeps_nothing_up(stage: Stage) -> None:
    outbox = stage.outbox()
    receipt = outbox.nodes.receipt
    outbox.adopt(forged(stage, [ADA]))
    [adopted] = outbox.journal.open()
    [bad] = adopted.attempts

    def fails(transaction_hash: str) -> object:
        if transaction_hash == bad.hash:
            raise NodesError("invalid params")
        return receipt(transaction_hash)

    outbox.nodes.receipt = fails  # type: ignore[method-assign, assignment]
    assert outbox.step() == []
    stage.now += PATIENCE
    assert names(outbox.step()) == ["abandoned"]
    assert outbox.journal.open() == []
    land(stage, outbox)


def test_adopt__of_too_many_the_first(stage: Stage) -> None:
    outbox = stage.outbox()
    for number in range(40):
        outbox.adopt(forged(stage, [Intent("price", "ADA", number)], nonce=number))
    assert len(outbox.journal.open()) == 16


def test_adopt__intents_of_other_lanes(stage: Stage) -> None:
    outbox = stage.outbox()
    assert outbox.adopt(forged(stage, [Intent("liquidation", "ADA", 1)])) == []
    assert names(outbox.adopt(forged(stage, [Intent("price", "ADA", 1)]))) == ["adopted"]


# -- announcing --


def test_announce__before_anything_is_broadcast(stage: Stage) -> None:
    seen: list[tuple[str, dict[int, str]]] = []
    outbox = stage.outbox(announce=lambda note: seen.append((note, stage.waiting())))
    begin(stage, outbox)
    [(note, waiting)] = seen
    assert outbox.journal.open()[0].attempts[0].hash in note
    assert waiting == {}
    stage.mine()
    outbox.step()
    stage.mine(CONFIRMATIONS)
    outbox.step()
    assert seen[-1][0] == '{"transactions": []}'


def test_announce__nothing_is_broadcast_without(stage: Stage) -> None:
    def lost(note: str) -> None:
        raise RuntimeError("the lease is another's")

    outbox = stage.outbox(announce=lost)
    outbox.offer([stage.parcel()], None)
    with pytest.raises(RuntimeError, match="another's"):
        outbox.step()
    with pytest.raises(RuntimeError, match="another's"):
        outbox.step()
    assert stage.waiting() == {}


# -- watching --


def test_watch__sends_nothing(stage: Stage) -> None:
    outbox = stage.outbox()
    begin(stage, outbox)
    stage.chain.rpc("anvil_dropAllTransactions")
    stage.now += PATIENCE
    assert outbox.watch() == []
    assert stage.waiting() == {}
    outbox.step()
    stage.mine()
    assert names(outbox.watch()) == ["landed"]


def test_watch__what_is_only_planned_is_given_up(stage: Stage) -> None:
    outbox = stage.outbox()
    outbox.offer([stage.parcel()], None)
    assert names(outbox.watch()) == ["abandoned"]
    assert not outbox.knows(ADA)
