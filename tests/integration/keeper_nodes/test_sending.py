"""Transactions through several nodes: sending them, finding them, their gas and fees."""

from __future__ import annotations

import time

import pytest

from perpool.anvil import Anvil
from perpool.chain import Chain, Contract
from perpool.evm import Reverted
from perpool.keeper.chain.nodes import Nodes, NodesError
from perpool.keeper.transactions.fees import GWEI
from tests.integration.keeper_nodes.faulty import (
    KEY,
    answering,
    connect,
    refusing,
    signed,
)
from tests.rpc_proxy import RpcProxy


def test_send__to_every_node(three: list[RpcProxy], chain: Chain) -> None:
    nodes = connect(*three)
    three[0].lag = 10  # one that is behind too
    raw = signed(chain, nodes.nonce(KEY.address) + 5)
    assert nodes.send(raw).taken
    deadline = time.monotonic() + 5
    while not all(each.raws for each in three) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [each.raws for each in three] == 3 * [["0x" + raw.hex()]]
    assert nodes.send(raw).kind == "known"
    chain.rpc("anvil_dropAllTransactions")


def test_send__one_that_takes_it_is_enough(three: list[RpcProxy], chain: Chain) -> None:
    first, second, _ = three
    nodes = connect(*three)
    nodes.head()
    first.down()
    second.underpriced = 1
    assert nodes.send(signed(chain, 6)).kind == "accepted"
    chain.rpc("anvil_dropAllTransactions")


@pytest.mark.parametrize("fault", ["error", "drop"])
def test_send__failing_after_accept(three: list[RpcProxy], chain: Chain, fault: str) -> None:
    [proxy, *_] = three
    nodes = connect(proxy)
    nodes.head()
    proxy.after_sending = fault  # type: ignore[assignment]
    raw = signed(chain, 5)
    assert nodes.send(raw).kind == ("refused" if fault == "error" else "no answer")
    assert chain.rpc("txpool_status")["queued"] == "0x1"
    chain.rpc("anvil_dropAllTransactions")


def test_send__what_anvil_says(anvil: Anvil, chain: Chain) -> None:
    nodes = Nodes([anvil.endpoint])
    chain.rpc("evm_setAutomine", False)
    try:
        assert nodes.send(signed(chain, 0, gwei=10)).kind == "accepted"
        assert nodes.send(signed(chain, 0, gwei=9)).kind == "underpriced"
        chain.mine()
        assert nodes.send(signed(chain, 0, gwei=20)).kind == "nonce too low"
        chain.set_balance(KEY.address, 1)
        assert nodes.send(signed(chain, 1)).kind == "insufficient funds"
        chain.set_balance(KEY.address, 10**20)
        assert nodes.send(b"\x02nonsense").kind == "refused"
    finally:
        chain.rpc("evm_setAutomine", True)


def test_transaction__not_before_the_majority_has_it(three: list[RpcProxy], chain: Chain) -> None:
    nodes = connect(*three)
    raw = signed(chain, 9)
    hash_ = chain.rpc("eth_sendRawTransaction", "0x" + raw.hex())
    three[0].swallows = three[1].swallows = True
    assert nodes.transaction(hash_) is None
    three[1].swallows = False
    found = nodes.transaction(hash_)
    assert found is not None
    assert int(found["nonce"], 16) == 9
    chain.rpc("anvil_dropAllTransactions")
    assert nodes.transaction(hash_) is None


@pytest.mark.parametrize("count", [2, 3])
def test_transaction__an_echo_of_what_is_asked(
    three: list[RpcProxy], probe: Contract, count: int
) -> None:
    hash_ = "0x" + 32 * "ab"
    nodes = connect(*three[:count])
    nodes.head()
    three[0].rewrite = answering("eth_getTransactionByHash", {"hash": hash_})
    assert nodes.transaction(hash_) is None


@pytest.mark.parametrize("answer", [True, 5, "abc", [], {}, {"hash": "0x" + 32 * "cd"}])
def test_transaction__an_answer_that_is_none(
    three: list[RpcProxy], chain: Chain, answer: object
) -> None:
    nodes = connect(*three)
    nodes.head()
    three[0].rewrite = answering("eth_getTransactionByHash", answer)
    hash_ = chain.rpc("eth_sendRawTransaction", "0x" + signed(chain, 9).hex())
    found = nodes.transaction(hash_)
    assert found is not None
    assert found["hash"] == hash_
    chain.rpc("anvil_dropAllTransactions")
    assert nodes.metrics.node_up.labels(three[0].url[7:])._value.get() == 0


def test_estimate(three: list[RpcProxy], chain: Chain, probe: Contract) -> None:
    nodes = connect(*three)
    call = probe.set_word.bind(3)
    expected = int(
        chain.rpc("eth_estimateGas", {"to": probe.address, "data": "0x" + call.data.hex()}), 16
    )
    assert nodes.estimate(probe.address, call.data, KEY.address) == expected
    with pytest.raises(Reverted, match="no"):
        nodes.estimate(probe.address, probe.fail.encode("no"), KEY.address)


def test_estimate__one_of_three_says_it_would_fail_while_others_refuse(
    three: list[RpcProxy], probe: Contract
) -> None:
    nodes = connect(*three)
    nodes.head()
    arguments = (probe.address, probe.set_word.encode(3), KEY.address)
    three[0].rewrite = refusing("eth_estimateGas", "execution reverted", code=3)
    for each in three[1:]:
        each.rewrite = refusing("eth_estimateGas", "header not found")
    with pytest.raises(NodesError, match="header not found"):
        nodes.estimate(*arguments)
    three[1].rewrite = three[0].rewrite
    with pytest.raises(Reverted):
        nodes.estimate(*arguments)


def test_estimate__one_liar_of_three(three: list[RpcProxy], probe: Contract) -> None:
    def inflate(
        method: str, parameters: list[object], answer: dict[str, object]
    ) -> dict[str, object]:
        return {**answer, "result": hex(10**8)} if method == "eth_estimateGas" else answer

    nodes = connect(*three)
    honest = nodes.estimate(probe.address, probe.set_word.encode(3), KEY.address)
    three[0].rewrite = inflate
    assert nodes.estimate(probe.address, probe.set_word.encode(3), KEY.address) == honest


@pytest.mark.parametrize("lie", [10**8, 30_000])
def test_estimate__one_liar_of_two(three: list[RpcProxy], probe: Contract, lie: int) -> None:
    """It makes nothing too dear to do, nor a limit too low to do it."""
    nodes = connect(*three[:2])
    arguments = (probe.address, probe.set_word.encode(3), KEY.address)
    honest = nodes.estimate(*arguments)
    three[0].rewrite = answering("eth_estimateGas", hex(lie))
    assert nodes.estimate(*arguments) == min(honest, lie)
    assert nodes.estimate(*arguments, ample=True) == max(honest, lie)
    third = connect(*three)
    assert third.estimate(*arguments) == third.estimate(*arguments, ample=True) == honest


def test_fees__the_median_tip(three: list[RpcProxy], chain: Chain, probe: Contract) -> None:
    nodes = connect(*three)
    head = nodes.head()
    for proxy, tip in zip(three, (1, 2, 500), strict=True):
        proxy.rewrite = lambda method, parameters, answer, tip=tip: (
            {**answer, "result": hex(tip * GWEI)}
            if method == "eth_maxPriorityFeePerGas"
            else answer
        )
    assert nodes.fees(head) == (head.base_fee, 2 * GWEI)
    three[1].down()
    assert nodes.fees(head) == (head.base_fee, GWEI)


def test_fees__and_estimates_below_nothing(three: list[RpcProxy], probe: Contract) -> None:
    nodes = connect(*three[:2])
    head = nodes.head()
    arguments = (probe.address, probe.set_word.encode(3), KEY.address)
    honest = nodes.estimate(*arguments), nodes.fees(head)
    for method in ("eth_estimateGas", "eth_maxPriorityFeePerGas"):
        three[0].rewrite = answering(method, "-0xfffffffffff")
        assert (nodes.estimate(*arguments), nodes.fees(head)) == honest
