"""Nodes and pools that lose, refuse, lie or lag."""

from __future__ import annotations

import contextlib
import time

import pytest

from perpool.keeper.chain.nodes import Disagreement, NodesError
from perpool.keeper.transactions.outbox import Outbox
from tests.integration.lane_on_anvil import ADA, LATER, Stage, begin, fees, land, names
from tests.rpc_proxy import RpcProxy


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
