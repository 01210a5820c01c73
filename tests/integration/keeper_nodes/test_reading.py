"""What is read through several nodes, also by several threads, where all of them are well."""

from __future__ import annotations

import threading

import pytest

from perpool.anvil import Anvil
from perpool.chain import Chain, Contract
from perpool.evm import Reverted
from perpool.keeper.chain.nodes import Disagreement, Head, Nodes, Refused
from tests.integration.keeper_nodes.faulty import (
    KEY,
    connect,
    refusing,
    without_logs,
)
from tests.integration.lane_on_anvil import key
from tests.rpc_proxy import RpcProxy


def test_nodes__over_ipc(anvil: Anvil, chain: Chain, probe: Contract) -> None:
    nodes = Nodes([anvil.ipc_path], chain.chain_id)
    head = nodes.head()
    block = chain.rpc("eth_getBlockByNumber", "latest", False)
    assert head == Head(
        chain.block_number,
        block["hash"],
        int(block["timestamp"], 16),
        int(block["baseFeePerGas"], 16),
    )
    assert nodes.chain_id == chain.chain_id
    assert nodes.block_hash(head.number) == head.hash
    assert nodes.block_hash(head.number + 9) is None
    assert nodes.balance(KEY.address) == chain.balance(KEY.address)
    assert nodes.read([probe.total.bind(1), probe.OWNER.bind()], head) == [321, chain.default]
    assert nodes.read([]) == []


def test_read__what_fails_has_its_reason_in_place(three: list[RpcProxy], probe: Contract) -> None:
    calls = [probe.total.bind(1), probe.fail_view.bind(12), probe.total.bind(2)]
    for nodes in (connect(three[0]), connect(*three)):
        first, failed, last = nodes.read(calls)
        assert (first, last) == (321, 322)
        assert isinstance(failed, Reverted)
        assert failed.reason == "limit too high"


def test_read__nothing_at_the_address(three: list[RpcProxy], chain: Chain, probe: Contract) -> None:
    nowhere = chain.contract("Probe", key("somebody").address)
    nodes = connect(*three)
    [missing, there] = nodes.read([nowhere.total.bind(1), probe.total.bind(1)])
    assert isinstance(missing, Reverted)
    assert there == 321
    assert nodes.read([probe.total.bind(1)]) == [321]


def test_read__at_a_block(three: list[RpcProxy], chain: Chain, probe: Contract) -> None:
    nodes = connect(*three)
    head = nodes.head()
    before = nodes.read([probe.word.bind()], head)
    probe.set_word(before[0] + 7)
    assert nodes.read([probe.word.bind()], head) == before
    assert nodes.read([probe.word.bind()]) == [before[0] + 7]


@pytest.mark.parametrize(("most", "messages"), [(None, 3), (100, 3), (10, 42), (0, 250)])
def test_read__batches_as_the_node_takes_them(
    three: list[RpcProxy], probe: Contract, most: int | None, messages: int
) -> None:
    [proxy, *_] = three
    nodes = connect(proxy)
    head = nodes.head()
    proxy.batches = most
    calls = [probe.total.bind(number) for number in range(250)]
    values = [320 + number for number in range(250)]
    assert nodes.read(calls, head) == values
    # it has learnt what the node takes
    before = proxy.messages
    assert nodes.read(calls, head) == values
    assert proxy.messages - before == messages


def test_logs(three: list[RpcProxy], chain: Chain, probe: Contract) -> None:
    nodes = connect(*three)
    nodes.learn(probe.abi)
    first = chain.block_number
    probe.note("ADA", 7)
    [(block, event)] = nodes.logs([probe.address], first, first + 1)
    assert (block, event.name, event.delta) == (first + 1, "Noted", 7)
    assert nodes.logs([probe.address], first - 1, first) == []


def test_logs__a_range_that_the_node_refuses(
    three: list[RpcProxy], chain: Chain, probe: Contract
) -> None:
    [proxy, *_] = three
    nodes = connect(proxy)
    nodes.learn(probe.abi)
    first = chain.block_number + 1
    for delta in range(1, 11):
        probe.note("ADA", delta)
    proxy.rewrite = refusing("eth_getLogs", most_blocks=3)
    found = nodes.logs([probe.address], first, first + 9)
    assert [(block, event.delta) for block, event in found] == [
        (first + delta - 1, delta) for delta in range(1, 11)
    ]
    # 10 in halves of 5, those of 3 and 2
    assert proxy.counts["eth_getLogs"] == 3 + 4


@pytest.mark.parametrize("status", [400, 413, None])
def test_logs__not_even_one_block(
    three: list[RpcProxy], probe: Contract, status: int | None
) -> None:
    [proxy, *_] = three
    nodes = connect(proxy)
    nodes.head()
    proxy.status = status
    proxy.rewrite = refusing("eth_getLogs")
    with pytest.raises(Refused, match="refused eth_getLogs"):
        nodes.logs([probe.address], 1, 32)
    assert proxy.counts["eth_getLogs"] == 6
    # it is not down for that
    assert nodes.metrics.node_up.labels(proxy.url[7:])._value.get() == 1


@pytest.mark.parametrize("min_agreeing", [1, 2])
def test_logs__one_that_leaves_out_events_while_others_refuse(
    three: list[RpcProxy], chain: Chain, probe: Contract, min_agreeing: int
) -> None:
    liar, *others = three
    nodes = connect(*three, min_agreeing=min_agreeing)
    nodes.learn(probe.abi)
    nodes.head()
    chain.mine(30)
    first = chain.block_number - 20
    probe.note("ADA", 7)
    liar.rewrite = without_logs
    for each in others:
        each.rewrite = refusing("eth_getLogs", most_blocks=4)
    [(block, event)] = nodes.logs([probe.address], first, first + 21)
    assert (block, event.delta) == (first + 21, 7)
    # one that agrees with the other as soon as it is asked for less is enough
    others[0].rewrite = None
    assert nodes.logs([probe.address], first, first + 21) == [(block, event)]
    # and where both refuse to the last, it is not believed
    for each in others:
        each.rewrite = refusing("eth_getLogs")
    with pytest.raises(Refused, match="as others refuse"):
        nodes.logs([probe.address], first, first + 21)


def test_logs__one_of_two_leaves_out_events_while_the_other_refuses(
    three: list[RpcProxy], chain: Chain, probe: Contract
) -> None:
    liar, honest, _ = three
    nodes = connect(liar, honest)
    nodes.head()
    chain.mine(30)
    probe.note("ADA", 7)
    last = chain.block_number
    liar.rewrite, honest.rewrite = without_logs, refusing("eth_getLogs", most_blocks=4)
    with pytest.raises(Disagreement, match=f"logs of blocks .* to {last}"):
        nodes.logs([probe.address], last - 20, last)


def test_logs__a_node_that_says_they_revert(three: list[RpcProxy], probe: Contract) -> None:
    """That is an answer to a call only."""
    nodes = connect(*three)
    for each in three:
        each.rewrite = refusing("eth_getLogs", "execution reverted", code=3)
    with pytest.raises(Refused, match="refused eth_getLogs: reverted"):
        nodes.logs([probe.address], 1, 2)


def test_nodes__shared_by_threads(three: list[RpcProxy], probe: Contract) -> None:
    nodes = connect(*three)
    three[2].lies = {"calls"}
    found: list[object] = []

    def work(number: int) -> None:
        try:
            found.extend(nodes.read([probe.total.bind(number)]) for _ in range(10))
        except Exception as error:
            found.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(map(str, found)) == sorted(
        f"[{320 + number}]" for number in range(4) for _ in range(10)
    )
