"""What is offered, until it is on the chain: the plain way, and content that fails."""

from __future__ import annotations

from datetime import timedelta

import pytest

from perpool.keeper.model import Intent, Parcel
from tests.integration.lane_on_anvil import (
    ADA,
    CONFIRMATIONS,
    LATER,
    Stage,
    begin,
    evidence,
    land,
    names,
)

# -- the plain way --


def test_step__from_the_plan_to_the_value_read_back(stage: Stage) -> None:
    outbox = stage.outbox()
    assert not outbox.busy
    outbox.offer([stage.parcel()], stage.now + LATER)
    assert outbox.busy
    assert names(outbox.step()) == ["sent"]
    assert names(outbox.step()) == []
    assert outbox.busy

    stage.mine()
    assert names(outbox.step()) == ["landed"]
    assert not outbox.busy
    assert outbox.knows(ADA)
    assert outbox.journal.state(ADA) == "met"

    stage.mine(CONFIRMATIONS - 1)
    assert names(outbox.step()) == []
    stage.mine()
    assert names(outbox.step()) == ["done"]
    assert outbox.journal.state(ADA) == "done"
    assert outbox.journal.open() == []
    assert stage.times_noted() == 1


def test_step__mined_at_once(stage: Stage) -> None:
    outbox = stage.outbox()
    stage.chain.rpc("evm_setAutomine", True)
    outbox.offer([stage.parcel()], None)
    assert names(outbox.step())[:1] == ["sent"]
    outbox.settle(timeout=timedelta(seconds=10))
    assert outbox.journal.state(ADA) == "met"


def test_offer__several_in_one_transaction(stage: Stage) -> None:
    outbox = stage.outbox()
    outbox.offer([stage.parcel(name) for name in ("ADA", "BTC", "ETH")], None)
    outbox.step()
    stage.mine()
    [event] = outbox.step()
    assert event.name == "landed"
    assert [each.subject for each in event.intents] == ["ADA", "BTC", "ETH"]
    assert stage.mined_nonces() == 1
    assert stage.noted() == {evidence(name, 1): 1 for name in ("ADA", "BTC", "ETH")}


def test_offer__nothing_while_one_is_in_flight(stage: Stage) -> None:
    outbox = stage.outbox()
    begin(stage, outbox)
    outbox.offer([stage.parcel("BTC")], None)
    assert len(outbox.journal.open()) == 1


def test_offer__what_is_under_way_or_done_is_left_out(stage: Stage) -> None:
    outbox = stage.outbox()
    land(stage, outbox)
    outbox.offer([stage.parcel()], None)
    assert not outbox.busy
    outbox.offer([stage.parcel(), stage.parcel("BTC")], None)
    [planned] = [each for each in outbox.journal.open() if each.state == "planned"]
    assert [each.subject for each in planned.intents] == ["BTC"]


def test_offer__one_at_a_time_without_multicall(stage: Stage) -> None:
    outbox = stage.outbox()
    outbox.multicall = None
    outbox.offer([stage.parcel("ADA"), stage.parcel("BTC")], None)
    outbox.step()
    stage.mine()
    outbox.step()
    assert stage.noted() == {evidence("ADA", 1): 1}
    assert not outbox.knows(Intent("price", "BTC", 1))


def test_step__wallet_that_does_not_sign(stage: Stage) -> None:
    outbox = stage.outbox()
    sign = outbox.wallet.sign_transaction

    def refuse(transaction: dict[str, object]) -> tuple[bytes, str]:
        raise RuntimeError("the signer is away")

    outbox.wallet.sign_transaction = refuse  # type: ignore[method-assign]
    outbox.offer([stage.parcel()], stage.now + LATER)
    with pytest.raises(RuntimeError, match="away"):
        outbox.step()
    outbox.wallet.sign_transaction = sign  # type: ignore[method-assign]
    assert names(outbox.step()) == ["sent"]


# -- content that fails --


def failing(stage: Stage, limit: int) -> Parcel:
    """Passes as long as the counter is below a limit."""
    intent = Intent("price", "LTC", 1, "1")
    return Parcel((intent,), stage.probe.address, stage.probe.increment.encode(limit))


def test_step__what_would_fail_is_not_sent(stage: Stage) -> None:
    outbox = stage.outbox()
    outbox.offer([failing(stage, 0)], None)
    [event] = outbox.step()
    assert (event.name, event.reason) == ("refused", "it would fail: over the limit")
    assert not outbox.busy
    assert stage.waiting() == {}
    assert outbox.journal.get(event.transaction).state == "refused"
    assert not outbox.journal.knows(Intent("price", "LTC", 1))


def test_step__one_that_would_fail_does_not_keep_the_others(stage: Stage) -> None:
    outbox = stage.outbox()
    outbox.offer([stage.parcel("ADA"), failing(stage, 0), stage.parcel("BTC")], None)
    events = outbox.step()
    assert names(events) == ["refused", "sent"]
    assert [each.subject for each in events[0].intents] == ["LTC"]
    assert events[0].reason == "it would fail: over the limit"
    stage.mine()
    assert names(outbox.step()) == ["landed"]
    assert stage.noted() == {evidence("ADA", 1): 1, evidence("BTC", 1): 1}


def test_step__one_that_fails_does_not_take_the_others_along(stage: Stage) -> None:
    outbox = stage.outbox()
    outbox.offer([stage.parcel("ADA"), failing(stage, 1), stage.parcel("BTC")], None)
    outbox.step()
    [hash_] = stage.waiting().values()
    # somebody is faster
    stage.chain.send(stage.probe.increment.bind(1, gas=100_000, sender=stage.chain.default))
    stage.chain.rpc("anvil_dropTransaction", hash_)
    stage.mine()
    outbox.step()
    stage.mine()
    events = outbox.step()
    assert names(events) == ["unmet", "landed"]
    assert [each.subject for each in events[0].intents] == ["LTC"]
    assert [each.subject for each in events[1].intents] == ["ADA", "BTC"]
    stage.mine(CONFIRMATIONS)
    assert names(outbox.step()) == ["failed"]
    assert outbox.journal.state(ADA) == "done"
    assert outbox.journal.state(Intent("price", "LTC", 1)) == "failed"


def test_step__a_reverted_transaction_and_its_reason(stage: Stage) -> None:
    outbox = stage.outbox()
    outbox.offer([failing(stage, 1)], None)
    outbox.step()
    [hash_] = stage.waiting().values()
    stage.chain.send(stage.probe.increment.bind(1, gas=100_000, sender=stage.chain.default))
    stage.chain.rpc("anvil_dropTransaction", hash_)
    stage.mine()
    outbox.step()
    stage.mine()
    [event] = outbox.step()
    assert (event.name, event.reason) == ("reverted", "over the limit")
    # a reorganisation could still have it succeed, so not the same again
    assert outbox.knows(Intent("price", "LTC", 1))
    assert not outbox.busy
    stage.mine(CONFIRMATIONS)
    assert names(outbox.step()) == ["failed"]
    assert not outbox.knows(Intent("price", "LTC", 1))
