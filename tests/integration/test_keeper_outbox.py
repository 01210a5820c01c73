"""The outbox on a real anvil: fees, faults of nodes and pools, reorganisations, sudden death."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from perpool.anvil import Anvil
from perpool.keeper.chain.nodes import Disagreement, NodesError
from perpool.keeper.transactions.fees import GWEI, FeePolicy
from perpool.keeper.transactions.journal import Intent, JournalError, Parcel
from perpool.keeper.transactions.outbox import Outbox
from tests.integration.lane_on_anvil import (
    CONFIRMATIONS,
    PATIENCE,
    POLICY,
    KeyWallet,
    Stage,
    evidence,
    key,
    live_and_be_killed,
    names,
)
from tests.rpc_proxy import RpcProxy

ADA = Intent("price", "ADA", 1, "1")
LATER = 10_000


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with Anvil(base_fee=GWEI) as anvil:
        stage = Stage.start(anvil, tmp_path)
        try:
            yield stage
        finally:
            stage.close()


@pytest.fixture
def proxy(stage: Stage) -> Iterator[RpcProxy]:
    with RpcProxy(stage.anvil.http_url) as proxy:
        yield proxy


def begin(stage: Stage, outbox: Outbox, time: int = 1) -> None:
    """A round on its way, not mined yet."""
    outbox.offer([stage.parcel(time=time)], stage.now + LATER)
    outbox.step()


def land(stage: Stage, outbox: Outbox, time: int = 1) -> None:
    """A round on the chain, not final yet."""
    begin(stage, outbox, time)
    stage.mine()
    outbox.step()


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


# -- fees --


def fees(outbox: Outbox) -> list[tuple[int, int]]:
    """(max fee, tip) of what was signed."""
    wallet = outbox.wallet
    assert isinstance(wallet, KeyWallet)
    return [(each["maxFeePerGas"], each["maxPriorityFeePerGas"]) for each in wallet.signed]


def test_step__stuck_is_replaced_after_our_patience(stage: Stage) -> None:
    outbox = stage.outbox()
    begin(stage, outbox)
    stage.now += PATIENCE - 1
    assert names(outbox.step()) == []
    stage.now += 1
    assert names(outbox.step()) == ["replaced"]
    (old_fee, old_tip), (new_fee, new_tip) = fees(outbox)
    assert (new_fee, new_tip) == (-(-old_fee * 9 // 8), -(-old_tip * 9 // 8))
    assert len(stage.waiting()) == 1
    assert names(outbox.step()) == []
    stage.mine()
    assert names(outbox.step()) == ["landed"]
    assert (stage.times_noted(), stage.mined_nonces()) == (1, 1)


def test_step__a_base_fee_that_has_left_it_behind(stage: Stage) -> None:
    outbox = stage.outbox()
    begin(stage, outbox)
    stage.base_fee(20 * GWEI)  # and anvil forgets what offers less
    assert names(outbox.step()) == ["rebroadcast", "replaced"]
    assert fees(outbox)[1][0] >= 40 * GWEI
    stage.mine()
    assert names(outbox.step()) == ["landed"]
    assert (stage.times_noted(), stage.mined_nonces()) == (1, 1)


def test_step__the_older_attempt_is_mined_after_all(stage: Stage) -> None:
    outbox = stage.outbox()
    begin(stage, outbox)
    [first] = outbox.journal.open()[0].attempts
    stage.now += PATIENCE
    assert names(outbox.step()) == ["replaced"]
    stage.chain.rpc("anvil_dropAllTransactions")
    stage.chain.rpc("eth_sendRawTransaction", "0x" + first.raw.hex())
    stage.mine()
    [event] = outbox.step()
    assert (event.name, event.hash) == ("landed", first.hash)
    assert stage.times_noted() == 1


def test_step__nothing_above_the_cap(stage: Stage) -> None:
    outbox = stage.outbox()
    stage.base_fee(150 * GWEI)
    begin(stage, outbox)
    assert names(outbox.step()) == ["held"]
    assert stage.waiting() == {}
    assert fees(outbox) == []
    assert outbox.metrics.held.labels("prices")._value.get() == 1
    stage.base_fee(90 * GWEI)
    assert names(outbox.step()) == ["sent"]
    assert fees(outbox)[0][0] == 100 * GWEI
    assert outbox.metrics.held.labels("prices")._value.get() == 0
    stage.mine()
    assert names(outbox.step()) == ["landed"]


def test_step__newer_content_takes_the_place_of_what_was_held_too_long(stage: Stage) -> None:
    outbox = stage.outbox()
    stage.base_fee(150 * GWEI)
    outbox.offer([stage.parcel(time=1)], stage.now + 60)
    outbox.step()
    stage.now += 60
    assert not outbox.busy
    outbox.offer([stage.parcel(time=2)], stage.now + 60)
    assert names(outbox.step()) == ["abandoned", "held"]
    stage.base_fee(10 * GWEI)
    outbox.step()
    stage.mine()
    assert names(outbox.step()) == ["landed"]
    assert stage.noted() == {evidence("ADA", 2): 1}


def test_step__at_the_cap_it_is_kept_in_the_pool(stage: Stage) -> None:
    outbox = stage.outbox(fees=FeePolicy(max_fee=3 * GWEI, min_tip=GWEI, max_tip=GWEI))
    begin(stage, outbox)
    stage.now += PATIENCE
    assert names(outbox.step()) == ["held"]
    stage.chain.rpc("anvil_dropAllTransactions")
    assert names(outbox.step()) == ["rebroadcast", "held"]
    assert len(stage.waiting()) == 1
    stage.base_fee(20 * GWEI)
    assert names(outbox.step()) == ["rebroadcast", "held"]
    assert len(fees(outbox)) == 1
    stage.base_fee(GWEI)
    outbox.step()
    stage.mine()
    assert "landed" in names(outbox.step())
    assert stage.times_noted() == 1


def test_step__underpriced_is_raised_at_once(stage: Stage, proxy: RpcProxy) -> None:
    outbox = stage.outbox([proxy.url])
    proxy.underpriced = 2
    outbox.offer([stage.parcel()], stage.now + LATER)
    assert names(outbox.step()) == ["sent", "replaced", "replaced"]
    assert len(fees(outbox)) == 3
    for (old_fee, old_tip), (new_fee, new_tip) in pairwise(fees(outbox)):
        assert new_fee * 10 >= old_fee * 11
        assert new_tip * 10 >= old_tip * 11
    stage.mine()
    assert names(outbox.step()) == ["landed"]
    assert stage.times_noted() == 1


def test_step__always_underpriced_ends_at_the_cap(stage: Stage, proxy: RpcProxy) -> None:
    outbox = stage.outbox([proxy.url])
    proxy.underpriced = 10_000
    outbox.offer([stage.parcel()], stage.now + LATER)
    for _ in range(8):
        outbox.step()
    assert max(fee for fee, _ in fees(outbox)) <= 100 * GWEI
    signed = len(fees(outbox))
    outbox.step()
    assert len(fees(outbox)) == signed
    proxy.heal()
    outbox.step()
    stage.mine()
    assert names(outbox.step()) == ["landed"]


def test_step__without_ether(stage: Stage) -> None:
    outbox = stage.outbox()
    stage.chain.set_balance(key("keeper").address, 0)
    outbox.offer([stage.parcel()], stage.now + LATER)
    assert names(outbox.step()) == ["short of funds"]
    stage.now += 10 * PATIENCE
    # a higher fee would be no remedy
    assert names(outbox.step()) == ["short of funds"]
    assert len(fees(outbox)) == 1
    stage.chain.set_balance(key("keeper").address, 10**20)
    outbox.step()
    stage.mine()
    assert "landed" in names(outbox.step())
    assert stage.times_noted() == 1


# -- gas --


def gas_of(outbox: Outbox) -> list[int | None]:
    return [each.gas for each in reversed(outbox.journal.recent(9))]


def lie_about_gas(proxy: RpcProxy, gas: int) -> None:
    proxy.rewrite = lambda method, params, answer: (
        answer | {"result": hex(gas)} if method == "eth_estimateGas" else answer
    )


def test_step__an_absurd_estimate_is_capped(stage: Stage, proxy: RpcProxy) -> None:
    outbox = stage.outbox([proxy.url])
    lie_about_gas(proxy, 5 * 10**8)
    land(stage, outbox)
    assert gas_of(outbox) == [2**24]


def test_step__gas_within_what_is_configured(stage: Stage) -> None:
    outbox = stage.outbox(fees=replace(POLICY, max_gas=60_000))
    land(stage, outbox)
    [gas] = gas_of(outbox)
    assert gas is not None
    assert gas <= 60_000
    outbox = stage.restart(outbox, fees=replace(POLICY, max_gas=30_000))
    outbox.offer([stage.parcel(time=2)], None)
    outbox.step()
    assert gas_of(outbox)[-1] == 30_000


def test_step__an_estimate_that_nodes_refuse_is_not_kept(stage: Stage, proxy: RpcProxy) -> None:
    outbox = stage.outbox([proxy.url])
    lie_about_gas(proxy, 10_000)
    outbox.offer([stage.parcel()], None)
    [event] = outbox.step()
    assert event.reason.startswith("refused: ")
    proxy.rewrite = None
    assert names(outbox.step()) == ["replaced"]
    stage.mine()
    assert names(outbox.step()) == ["landed"]
    # at the fees that it had
    assert len(set(fees(outbox))) == 1


def test_step__an_estimate_beyond_what_the_account_can_pay_is_not_kept(
    stage: Stage, proxy: RpcProxy
) -> None:
    stage.chain.set_balance(key("keeper").address, 10**15)
    outbox = stage.outbox([proxy.url])
    lie_about_gas(proxy, 5 * 10**8)
    outbox.offer([stage.parcel()], None)
    assert names(outbox.step()) == ["short of funds"]
    proxy.rewrite = None
    assert names(outbox.step()) == ["replaced"]
    stage.mine()
    assert names(outbox.step()) == ["landed"]


def test_step__refused_for_good_ends_with_its_expiry(stage: Stage, proxy: RpcProxy) -> None:
    outbox = stage.outbox([proxy.url])
    lie_about_gas(proxy, 10_000)
    outbox.offer([stage.parcel()], None)
    outbox.step()
    for _ in range(13):
        assert outbox.busy
        stage.now += PATIENCE
        outbox.step()
    stage.now += 600 - 13 * PATIENCE
    assert not outbox.busy
    proxy.rewrite = None
    land(stage, outbox, time=2)
    stage.mine(CONFIRMATIONS)
    outbox.step()
    assert outbox.journal.open() == []
    assert not outbox.knows(ADA)


# -- nodes and pools --


def test_step__dropped_is_sent_again_as_it_was(stage: Stage) -> None:
    outbox = stage.outbox()
    begin(stage, outbox)
    before = stage.waiting()
    stage.chain.rpc("anvil_dropAllTransactions")
    assert stage.waiting() == {}
    assert names(outbox.step()) == ["rebroadcast"]
    assert stage.waiting() == before
    assert len(fees(outbox)) == 1


@pytest.mark.parametrize("fault", ["error", "drop"])
def test_step__failing_after_accept_is_not_sent_twice(
    stage: Stage, proxy: RpcProxy, fault: str
) -> None:
    outbox = stage.outbox([proxy.url])
    proxy.after_sending = fault  # type: ignore[assignment]
    outbox.offer([stage.parcel()], stage.now + LATER)
    with contextlib.suppress(NodesError):  # the node rests for a second after it broke off
        outbox.step()
    assert len(stage.waiting()) == 1
    proxy.heal()
    stage.mine()
    wait_for(proxy, outbox)
    assert outbox.journal.state(ADA) == "met"
    assert (stage.times_noted(), stage.mined_nonces(), len(fees(outbox))) == (1, 1, 1)


def wait_for(proxy: RpcProxy, outbox: Outbox) -> None:
    """Until the node is asked again, as it is a moment after a failure."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            outbox.step()
        except NodesError:
            time.sleep(0.1)
        else:
            return
    pytest.fail("the node is not asked any more")


def test_step__a_node_that_forwards_nothing(stage: Stage, proxy: RpcProxy) -> None:
    outbox = stage.outbox([proxy.url])
    proxy.swallows = True
    outbox.offer([stage.parcel()], stage.now + LATER)
    outbox.step()
    assert names(outbox.step()) == ["rebroadcast"]
    assert len(set(proxy.raws)) == 1
    assert stage.waiting() == {}
    proxy.heal()
    assert names(outbox.step()) == ["rebroadcast"]
    stage.mine()
    assert names(outbox.step()) == ["landed"]
    assert stage.times_noted() == 1


def test_step__one_node_of_two_forwards_nothing(stage: Stage, proxy: RpcProxy) -> None:
    outbox = stage.outbox([proxy.url, stage.anvil.endpoint])
    proxy.swallows = True
    begin(stage, outbox)
    stage.mine()
    assert "landed" in names(outbox.step())


def test_step__no_node_at_all(stage: Stage, proxy: RpcProxy) -> None:
    outbox = stage.outbox([proxy.url])
    outbox.offer([stage.parcel()], stage.now + LATER)
    proxy.down()
    with pytest.raises(NodesError):
        outbox.step()
    proxy.up()
    wait_for(proxy, outbox)
    stage.mine()
    outbox.step()
    assert stage.times_noted() == 1


def test_step__no_success_while_nodes_differ_on_the_value(stage: Stage, proxy: RpcProxy) -> None:
    outbox = stage.outbox([stage.anvil.endpoint, proxy.url])
    begin(stage, outbox)
    stage.mine()
    proxy.lies = {"receipts"}
    with pytest.raises(Disagreement):
        outbox.step()
    assert outbox.busy
    proxy.lies = set()
    assert names(outbox.step()) == ["landed"]


def test_step__a_lagging_node_does_not_hold_it_up(stage: Stage, proxy: RpcProxy) -> None:
    stage.chain.rpc("anvil_setBlockTimestampInterval", 30)
    try:
        stage.mine(20)
        outbox = stage.outbox([stage.anvil.endpoint, proxy.url])
        outbox.nodes._clock = lambda: stage.chain.timestamp
        proxy.lag = 10
        land(stage, outbox)
    finally:
        stage.chain.rpc("anvil_removeBlockTimestampInterval")
    assert outbox.journal.state(ADA) == "met"


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


# -- reorganisations --


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


def test_restart__the_journal_is_one_processs(stage: Stage) -> None:
    stage.outbox()
    with pytest.raises(JournalError, match="another keeper is using the lane prices"):
        stage.outbox()


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
    outbox = stage.restart(outbox, kinds={"liquidation"})
    assert names(outbox.adopt(forged(stage, [Intent("liquidation", "ADA", 1)]))) == ["adopted"]


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
