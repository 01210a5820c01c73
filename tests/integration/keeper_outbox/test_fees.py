"""What a transaction may cost: fees, and gas."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from perpool.keeper.transactions.fees import GWEI, FeePolicy
from perpool.keeper.transactions.outbox import Outbox
from tests.integration.lane_on_anvil import (
    ADA,
    CONFIRMATIONS,
    LATER,
    PATIENCE,
    POLICY,
    Stage,
    begin,
    evidence,
    fees,
    key,
    land,
    names,
)
from tests.rpc_proxy import RpcProxy

# -- fees --


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
