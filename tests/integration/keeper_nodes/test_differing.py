"""Nodes that differ: behind, on a fork, refusing, or lying."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from perpool.chain import Chain, Contract
from perpool.evm import Reverted
from perpool.keeper.chain.nodes import Disagreement, Head, NodesError, Refused
from tests.integration.keeper_nodes.faulty import (
    KEY,
    connect,
    refusing,
)
from tests.rpc_proxy import RpcProxy


def test_head__a_node_behind_is_left_out(three: list[RpcProxy], chain: Chain) -> None:
    late, *_ = three
    chain.mine(timestamp=chain.timestamp + 300)
    chain.mine(9)
    nodes = connect(*three[:2], clock=lambda: chain.timestamp)
    late.lag = 10
    with capture_logs() as logs:
        assert nodes.head().number == chain.block_number
    assert [each["event"] for each in logs] == ["node apart"]
    asked = late.counts["eth_getTransactionCount"]
    assert nodes.nonce(KEY.address) == 0
    assert late.counts["eth_getTransactionCount"] == asked
    late.lag = 0
    nodes.head()
    nodes.nonce(KEY.address)
    assert late.counts["eth_getTransactionCount"] == asked + 1


@pytest.mark.parametrize(("count", "behind"), [(2, 2), (3, 0)])
def test_head__a_little_behind(
    three: list[RpcProxy], chain: Chain, probe: Contract, count: int, behind: int
) -> None:
    three[0].lag = 2
    nodes = connect(*three[:count])
    head = nodes.head()
    assert head.number == chain.block_number - behind
    assert nodes.read([probe.total.bind(1)], head) == [321]


def test_head__so_many_blocks_apart_are_allowed(three: list[RpcProxy], chain: Chain) -> None:
    chain.mine(30)
    three[0].lag = 10
    wide = connect(*three[:2], max_lag_blocks=10, clock=lambda: chain.timestamp)
    assert wide.head().number == chain.block_number - 10
    narrow = connect(*three[:2], max_lag_blocks=9, clock=lambda: chain.timestamp)
    with pytest.raises(Disagreement, match="the newest block"):
        narrow.head()


def test_head__one_of_two_refuses_the_others_block(three: list[RpcProxy], chain: Chain) -> None:
    """So the liar, a little behind, is not believed alone, now or when asked for more; not even
    where the other was far behind until now."""
    liar, honest, _ = three
    chain.mine(timestamp=chain.timestamp + 300)
    chain.mine(9)
    nodes = connect(liar, honest, clock=lambda: chain.timestamp)
    honest.lag = 10
    assert nodes.head().number == chain.block_number
    honest.lag = 0
    liar.lag, liar.lies = 2, {"hashes", "nonces"}

    def refuse(method: str, parameters: list[Any], answer: dict[str, Any]) -> dict[str, Any]:
        pruned = refusing("eth_getBlockByNumber", "block is not available")
        return answer if parameters[:1] == ["latest"] else pruned(method, parameters, answer)

    honest.rewrite = refuse
    with pytest.raises(Refused, match="not available"):
        nodes.head()
    with pytest.raises(Disagreement):
        nodes.nonce(KEY.address, Head(chain.block_number - 2, "", 0, 0))


def test_head__one_of_three_claims_a_longer_chain(three: list[RpcProxy], chain: Chain) -> None:
    liar, *_ = three

    def boast(
        method: str, parameters: list[object], answer: dict[str, object]
    ) -> dict[str, object]:
        found = answer.get("result")
        if method == "eth_getBlockByNumber" and isinstance(found, dict):
            return {**answer, "result": {**found, "number": hex(10**9)}}
        return answer

    liar.rewrite = boast
    assert connect(*three).head().number == chain.block_number


def test_head__one_of_two_makes_up_a_higher_one(
    three: list[RpcProxy], chain: Chain, probe: Contract
) -> None:
    receipt = probe.note("ADA", 1)
    liar, honest, _ = three
    nodes = connect(liar, honest, clock=lambda: chain.timestamp)
    late = connect(liar, honest, clock=lambda: chain.timestamp)
    agreed = nodes.head()
    liar.boasts = 100
    for _ in range(2):
        with pytest.raises(Disagreement, match=r"the newest block, \d+ or \d+"):
            nodes.head()
    # neither is believed alone after it
    liar.lies = {"calls", "nonces", "receipts"}
    for ask in (
        lambda: nodes.read([probe.total.bind(1)], agreed),
        lambda: nodes.nonce(KEY.address, agreed),
        lambda: nodes.receipt(receipt.transaction_hash),
    ):
        with pytest.raises(Disagreement):
            ask()
    # a clock that is wrong by days makes neither of them the newer one
    late._clock = lambda: chain.timestamp + 10**6
    with pytest.raises(Disagreement):
        late.head()


def test_head__one_that_was_behind_has_a_say_when_it_contradicts(
    three: list[RpcProxy], chain: Chain, probe: Contract
) -> None:
    receipt = probe.note("ADA", 1)
    chain.mine(timestamp=chain.timestamp + 300)
    chain.mine(9)
    liar, honest, _ = three
    nodes = connect(liar, honest, clock=lambda: chain.timestamp)
    honest.lag = 10
    head = nodes.head()
    honest.lag = 0
    liar.boasts, liar.lies = 100, {"nonces", "receipts"}
    with pytest.raises(Disagreement):
        nodes.head()
    with pytest.raises(Disagreement):
        nodes.nonce(KEY.address, head)
    with pytest.raises(Disagreement):
        nodes.receipt(receipt.transaction_hash)


def test_head__one_of_two_behind_on_another_chain(
    three: list[RpcProxy], chain: Chain, probe: Contract
) -> None:
    late, other, _ = three
    chain.mine(timestamp=chain.timestamp + 300)
    chain.mine(9)
    nodes = connect(late, other, clock=lambda: chain.timestamp)
    late.lag = 10
    assert nodes.head().number == chain.block_number
    other.lies = {"hashes"}
    with pytest.raises(Disagreement, match="the newest block"):
        nodes.head()


def test_head__one_of_three_makes_up_a_higher_one(three: list[RpcProxy], chain: Chain) -> None:
    liar, honest, dead = three
    nodes = connect(*three, clock=lambda: chain.timestamp)
    liar.boasts = 100
    assert nodes.head().number == chain.block_number
    dead.down()
    with pytest.raises(Disagreement):
        nodes.head()
    honest.down()
    with pytest.raises(NodesError):
        nodes.head()


def test_head__above_the_others_without_their_block(three: list[RpcProxy], chain: Chain) -> None:
    def forget(
        method: str, parameters: list[object], answer: dict[str, object]
    ) -> dict[str, object]:
        of_a_number = method == "eth_getBlockByNumber" and parameters[0] != "latest"
        return {**answer, "result": None} if of_a_number else answer

    liar, *_ = three
    liar.boasts, liar.rewrite = 100, forget
    nodes = connect(*three)
    with capture_logs() as logs:
        assert nodes.head().number == chain.block_number
    [reason] = [each["reason"] for each in logs if each["event"] == "node apart"]
    assert "has no block" in reason


def test_agreement__one_left_of_three_is_not_believed(
    three: list[RpcProxy], chain: Chain, probe: Contract
) -> None:
    receipt = probe.note("ADA", 1)
    nodes = connect(*three)
    trusting = connect(*three, min_agreeing=1)
    head = nodes.head()
    trusting.head()
    three[0].down()
    assert nodes.read([probe.total.bind(1)], head) == [321]
    three[1].down()
    for ask in (
        nodes.head,
        lambda: nodes.read([probe.total.bind(1)], head),
        lambda: nodes.nonce(KEY.address, head),
        lambda: nodes.balance(KEY.address, head),
        lambda: nodes.receipt(receipt.transaction_hash),
        lambda: nodes.receipt("0x" + 32 * "00"),
        lambda: nodes.logs([probe.address], head.number, head.number),
        connect(*three).head,
    ):
        with pytest.raises(NodesError, match="of 3 nodes can be asked: 2 have to agree"):
            ask()
    assert trusting.read([probe.total.bind(1)]) == [321]


def test_agreement__two_that_trust_no_one_alone(three: list[RpcProxy], probe: Contract) -> None:
    nodes = connect(*three[:2], min_agreeing=2)
    assert nodes.read([probe.total.bind(1)]) == [321]
    three[0].down()
    with pytest.raises(NodesError, match="2 have to agree"):
        nodes.head()


@pytest.mark.parametrize(("count", "min_agreeing"), [(2, 1), (3, 1), (3, 2)])
def test_agreement__one_liar_is_not_believed_where_others_refuse(
    three: list[RpcProxy], chain: Chain, probe: Contract, count: int, min_agreeing: int
) -> None:
    receipt = probe.note("ADA", 1)
    liar, *others = three[:count]
    nodes = connect(liar, *others, min_agreeing=min_agreeing)
    head = nodes.head()
    liar.lies = {"hashes", "calls", "nonces", "receipts"}
    for method, ask in (
        ("eth_call", lambda: nodes.read([probe.total.bind(1)], head)),
        ("eth_getTransactionCount", lambda: nodes.nonce(KEY.address, head)),
        ("eth_getBalance", lambda: nodes.balance(KEY.address, head)),
        ("eth_getBlockByNumber", lambda: nodes.block_hash(head.number)),
        ("eth_getTransactionReceipt", lambda: nodes.receipt(receipt.transaction_hash)),
    ):
        for each in others:
            each.rewrite = refusing(method, "missing trie node")
        with pytest.raises(Refused, match=r"as others refuse \(.*missing trie node"):
            ask()
    assert nodes.metrics.disagreements._value.get() == 0


def test_agreement__one_of_three_may_refuse(
    three: list[RpcProxy], chain: Chain, probe: Contract
) -> None:
    nodes = connect(*three)
    head = nodes.head()
    three[0].rewrite = refusing("eth_call", "missing trie node")
    assert nodes.read([probe.total.bind(1)], head) == [321]
    # the other two are then one against one
    three[1].lies = {"calls"}
    with pytest.raises(Refused, match="missing trie node"):
        nodes.read([probe.total.bind(1)], head)
    assert nodes.metrics.disagreements._value.get() == 1


@pytest.mark.parametrize(
    "message", ["invalid opcode: INVALID", "stack underflow (0 <=> 1)", "invalid jump destination"]
)
def test_agreement__a_fault_of_the_evm_is_an_answer(
    three: list[RpcProxy], probe: Contract, message: str
) -> None:
    nodes = connect(*three)
    head = nodes.head()
    for each in three[:2]:
        each.rewrite = refusing("eth_call", message)
    [failed] = nodes.read([probe.total.bind(1)], head)
    assert isinstance(failed, Reverted)
    assert message in str(failed)


def test_agreement__the_gas_that_a_node_gives_is_its_own_matter(
    three: list[RpcProxy], probe: Contract
) -> None:
    nodes = connect(*three)
    head = nodes.head()
    for each in three[:2]:
        each.rewrite = refusing("eth_call", "out of gas")
    with pytest.raises(Refused, match="out of gas"):
        nodes.read([probe.total.bind(1)], head)


def test_head__all_behind(three: list[RpcProxy], chain: Chain) -> None:
    now = chain.timestamp + 601
    nodes = connect(*three, max_age=timedelta(minutes=10), clock=lambda: now)
    with pytest.raises(NodesError, match="601 s old"):
        nodes.head()
    now -= 1
    assert nodes.head().number == chain.block_number


@pytest.mark.parametrize("lie", ["hashes", "calls", "nonces", "receipts"])
def test_agreement__one_liar_of_three_is_outvoted(
    three: list[RpcProxy], chain: Chain, probe: Contract, lie: str
) -> None:
    receipt = probe.note("ADA", 1)
    three[0].lies = {lie}  # type: ignore[arg-type]
    nodes = connect(*three)
    head = nodes.head()
    assert head.hash == chain.rpc("eth_getBlockByNumber", "latest", False)["hash"]
    assert nodes.read([probe.total.bind(1)], head) == [321]
    assert nodes.nonce(KEY.address, head) == 0
    found = nodes.receipt(receipt.transaction_hash)
    assert found is not None
    assert found.success


def test_agreement__two_that_differ_decide_nothing(
    three: list[RpcProxy], chain: Chain, probe: Contract
) -> None:
    receipt = probe.note("ADA", 1)
    nodes = connect(*three[:2])
    head = nodes.head()
    three[0].lies = {"hashes", "calls", "nonces", "receipts"}
    for ask in (
        nodes.head,
        lambda: nodes.read([probe.total.bind(1)], head),
        lambda: nodes.nonce(KEY.address, head),
        lambda: nodes.receipt(receipt.transaction_hash),
    ):
        with pytest.raises(Disagreement, match="nothing is done until they agree"):
            ask()
    assert nodes.metrics.disagreements._value.get() == 4
    three[0].lies = set()
    assert nodes.read([probe.total.bind(1)]) == [321]


def test_head__one_of_three_on_another_fork(three: list[RpcProxy], probe: Contract) -> None:
    liar, *_ = three
    nodes = connect(*three)
    liar.lies = {"hashes"}
    head = nodes.head()
    asked = liar.counts["eth_call"]
    nodes.read([probe.total.bind(1)], head)
    assert liar.counts["eth_call"] == asked


@pytest.mark.parametrize("behind", [1, 3])
def test_head__one_of_three_on_another_fork_while_one_is_late(
    three: list[RpcProxy], chain: Chain, behind: int
) -> None:
    """One against one at the top; lower down all three have a say."""
    liar, late, _ = three
    nodes = connect(*three)
    liar.lies, late.lag = {"hashes"}, behind
    head = nodes.head()
    block = chain.rpc("eth_getBlockByNumber", hex(chain.block_number - behind), False)
    assert (head.number, head.hash) == (chain.block_number - behind, block["hash"])
    # the liar is apart
    asked = liar.counts["eth_getTransactionCount"]
    nodes.nonce(KEY.address, head)
    assert liar.counts["eth_getTransactionCount"] == asked


def test_head__one_of_three_on_another_fork_while_one_is_too_late(
    three: list[RpcProxy], chain: Chain
) -> None:
    liar, late, _ = three
    nodes = connect(*three)
    liar.lies, late.lag = {"hashes"}, 4
    with pytest.raises(Disagreement, match=f"block {chain.block_number}:"):
        nodes.head()


def test_head__a_fork_of_one_block_below_which_all_agree(
    three: list[RpcProxy], chain: Chain
) -> None:
    top = chain.block_number

    def fork(method: str, parameters: list[Any], answer: dict[str, Any]) -> dict[str, Any]:
        found = answer.get("result")
        if method == "eth_getBlockByNumber" and found and int(found["number"], 16) == top:
            return {**answer, "result": {**found, "hash": "0x" + 32 * "fa"}}
        return answer

    forked, late, _ = three
    nodes = connect(*three)
    forked.rewrite, late.lag = fork, 2
    with capture_logs() as logs:
        assert nodes.head().number == top - 2
    assert logs == []


def test_receipt__not_before_the_majority_has_it(
    three: list[RpcProxy], chain: Chain, probe: Contract
) -> None:
    nodes = connect(*three)
    nodes.head()
    receipt = probe.note("ADA", 1)
    three[0].lag = three[1].lag = 1
    assert nodes.receipt(receipt.transaction_hash) is None
    three[0].lag = 0
    found = nodes.receipt(receipt.transaction_hash)
    assert found is not None
    assert (found.block_number, found.block_hash) == (
        receipt.block_number,
        nodes.block_hash(receipt.block_number),
    )
    assert nodes.receipt("0x" + 32 * "00") is None


def test_receipt__not_before_both_of_two_have_it(
    three: list[RpcProxy], chain: Chain, probe: Contract
) -> None:
    nodes = connect(*three[:2])
    nodes.head()
    receipt = probe.note("ADA", 1)
    three[0].lag = 1
    assert nodes.receipt(receipt.transaction_hash) is None


def test_why(three: list[RpcProxy], chain: Chain, probe: Contract) -> None:
    nodes = connect(*three)
    call = probe.fail.bind("no", gas=100_000, sender=chain.default)
    receipt = nodes.receipt(chain.send(call))
    assert receipt is not None
    assert not receipt.success
    assert nodes.why(receipt, call) == "no"
