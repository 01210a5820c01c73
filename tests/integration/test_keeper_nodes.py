"""Several nodes as one: a real anvil behind proxies that are down, slow, behind, or lie."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from perpool.anvil import Anvil
from perpool.chain import Chain, Contract
from perpool.evm import Reverted
from perpool.keeper.chain.endpoint import MOST_BYTES, Silence
from perpool.keeper.chain.nodes import Disagreement, Head, Nodes, NodesError, Refused
from perpool.keeper.transactions.fees import GWEI
from tests.integration.lane_on_anvil import key
from tests.rpc_proxy import RpcProxy

TIMEOUT = timedelta(seconds=1)
KEY = key("keeper")


@pytest.fixture(scope="module")
def anvil() -> Iterator[Anvil]:
    with Anvil(base_fee=GWEI) as anvil:
        yield anvil


@pytest.fixture(scope="module")
def chain(anvil: Anvil) -> Chain:
    chain = Chain.connect(anvil.endpoint)
    chain.set_balance(KEY.address, 10**20)
    return chain


@pytest.fixture(scope="module")
def probe(chain: Chain) -> Contract:
    probe = chain.deploy("Probe", 3)
    chain.mine(30)
    return probe


@pytest.fixture
def three(anvil: Anvil, probe: Contract) -> Iterator[list[RpcProxy]]:
    proxies = [RpcProxy(anvil.http_url) for _ in range(3)]
    yield proxies
    for each in proxies:
        each.down()


def connect(*proxies: RpcProxy, **options: object) -> Nodes:
    options = {"timeout": TIMEOUT, **options}
    return Nodes([each.url for each in proxies], **options)  # type: ignore[arg-type]


Rewrite = Callable[[str, list[Any], dict[str, Any]], dict[str, Any]]


def refusing(
    method: str,
    message: str = "no more than 4 blocks at once",
    *,
    most_blocks: int = 0,
    code: int = -32_000,
) -> Rewrite:
    """A node that answers one method with an error, logs of up to so many blocks excepted."""

    def rewrite(asked: str, parameters: list[Any], answer: dict[str, Any]) -> dict[str, Any]:
        if asked != method:
            return answer
        if method == "eth_getLogs":
            blocks = int(parameters[0]["toBlock"], 16) - int(parameters[0]["fromBlock"], 16) + 1
            if blocks <= most_blocks:
                return answer
        return {**answer, "result": None, "error": {"code": code, "message": message}}

    return rewrite


def without_logs(method: str, parameters: list[Any], answer: dict[str, Any]) -> dict[str, Any]:
    """A node that leaves all events out."""
    return {**answer, "result": []} if method == "eth_getLogs" else answer


def signed(chain: Chain, nonce: int, gwei: int = 5) -> bytes:
    """A transfer of nothing to nobody."""
    transaction = {
        "type": 2,
        "chainId": chain.chain_id,
        "nonce": nonce,
        "to": key("somebody").address,
        "gas": 21_000,
        "maxFeePerGas": gwei * GWEI,
        "maxPriorityFeePerGas": gwei * GWEI,
    }
    return bytes(KEY.sign_transaction(transaction).raw_transaction)


# -- one node --


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


# -- nodes that fail --


@pytest.mark.parametrize(
    ("fault", "value"), [("status", 500), ("status", 429), ("html", True), ("throttle", True)]
)
def test_failover__a_node_without_sense(
    three: list[RpcProxy], probe: Contract, fault: str, value: object
) -> None:
    bad, good, _ = three
    setattr(bad, fault, value)
    nodes = connect(bad, good)
    assert nodes.read([probe.total.bind(1)]) == [321]
    assert nodes.metrics.node_up.labels(bad.url[7:])._value.get() == 0
    assert nodes.metrics.node_up.labels(good.url[7:])._value.get() == 1


@pytest.mark.parametrize(
    "message",
    [
        "daily request count exceeded, request rate limited",
        "Your app has exceeded its compute units per second capacity",
        "15/second request limit reached - reduce calls per second",
        "monthly quota is used up",
    ],
)
def test_failover__asked_too_often(three: list[RpcProxy], probe: Contract, message: str) -> None:
    """Such a node is down, and its range is not halved to ask it even more."""
    bad, *_ = three
    nodes = connect(bad)
    nodes.head()
    bad.rewrite = refusing("eth_getLogs", message)
    with pytest.raises(NodesError, match="too many requests") as caught:
        nodes.logs([probe.address], 1, 32)
    assert not isinstance(caught.value, Refused)
    assert bad.counts["eth_getLogs"] == 1
    assert nodes.metrics.node_up.labels(bad.url[7:])._value.get() == 0


def test_failover__a_node_that_refuses_its_newest_block(
    three: list[RpcProxy], probe: Contract
) -> None:
    bad, good, _ = three
    nodes = connect(bad, good)
    nodes.head()
    bad.rewrite = refusing("eth_getBlockByNumber", "project is suspended")
    head = nodes.head()
    assert nodes.metrics.node_up.labels(bad.url[7:])._value.get() == 0
    asked = bad.messages
    assert nodes.read([probe.total.bind(1)], head) == [321]
    assert bad.messages == asked


def test_failover__a_dead_node_is_asked_now_and_then(
    three: list[RpcProxy], probe: Contract
) -> None:
    dead, good, _ = three
    nodes = connect(dead, good, timeout=timedelta(seconds=0.3))
    nodes.head()
    dead.delay, dead.messages = 10, 0
    with capture_logs() as logs:
        started = time.monotonic()
        for _ in range(20):
            nodes.head()
        took = time.monotonic() - started
    assert dead.messages <= 1 + took
    assert took < 3
    assert [(each["event"], each["node"]) for each in logs] == [("node down", dead.url[7:])]


def test_failover__back_again(three: list[RpcProxy], probe: Contract) -> None:
    bad, good, _ = three
    bad.down()
    nodes = connect(bad, good)
    nodes.head()
    bad.up()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and not bad.counts["eth_getBlockByNumber"]:
        nodes.head()
        time.sleep(0.05)
    assert bad.counts["eth_getBlockByNumber"]
    assert bad.counts["eth_chainId"], "it has to show its chain again"


def test_failover__one_slow_of_three_is_not_waited_for(
    three: list[RpcProxy], probe: Contract
) -> None:
    slow, *_ = three
    nodes = connect(*three, timeout=timedelta(seconds=5))
    head = nodes.head()
    slow.delay = 2
    started = time.monotonic()
    assert nodes.read([probe.total.bind(1)], head) == [321]
    assert time.monotonic() - started < 0.5
    nodes.head()
    assert time.monotonic() - started < 1.5


def test_failover__a_black_hole_from_the_start(three: list[RpcProxy], probe: Contract) -> None:
    hole, *_ = three
    hole.delay = 60
    for chain_id in (31_337, None):
        nodes = connect(*three, chain_id=chain_id, timeout=timedelta(seconds=5))
        started = time.monotonic()
        for _ in range(3):
            assert nodes.read([probe.total.bind(1)]) == [321]
        assert time.monotonic() - started < 4


@pytest.mark.parametrize("count", [1, 2])
def test_failover__an_answer_in_drips(three: list[RpcProxy], probe: Contract, count: int) -> None:
    dripping, *_ = nodes_of = three[:count]
    nodes = connect(*nodes_of, timeout=timedelta(seconds=0.3))
    nodes.head()
    dripping.drip = 0.02
    started = time.monotonic()
    if count == 1:
        with pytest.raises(NodesError, match="no whole answer in time"):
            nodes.head()
    else:
        nodes.head()
        nodes.head()
    assert 0.5 < time.monotonic() - started < 2
    assert nodes.metrics.node_up.labels(dripping.url[7:])._value.get() == 0
    dripping.heal()
    deadline = time.monotonic() + 20
    while not nodes.metrics.node_up.labels(dripping.url[7:])._value.get():
        assert time.monotonic() < deadline
        time.sleep(0.1)
        with contextlib.suppress(NodesError):
            nodes.head()


def test_failover__endless_drips_hold_a_few_threads(three: list[RpcProxy], probe: Contract) -> None:
    dripping, *_ = three
    nodes = connect(dripping, timeout=timedelta(seconds=0.1))
    nodes.head()
    dripping.drip = 0.09
    before = threading.active_count()
    [node] = nodes._endpoints
    for _ in range(8):
        node._rests_until = 0.0
        with pytest.raises(NodesError):
            nodes.head()
    assert not node.ready
    # ours, and the proxy's one for each connection
    assert threading.active_count() - before <= 2 * 4
    assert dripping.counts["eth_getBlockByNumber"] <= 1 + 4
    dripping.drip = 0.0
    deadline = time.monotonic() + 10
    while not node.ready:
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize("compressed", [MOST_BYTES, 1_000])
def test_failover__an_answer_that_inflates_without_bound(
    three: list[RpcProxy], probe: Contract, compressed: int
) -> None:
    """A small one, that is compressed too, is as good as any."""
    bad, *_ = three
    nodes = connect(*three, timeout=timedelta(seconds=5))
    head = nodes.head()
    bad.bomb = compressed
    [endpoint, *_] = nodes._endpoints
    said = endpoint.submit(lambda node: node.newest()).result(timeout=20)
    if compressed < MOST_BYTES:
        assert said == head
    else:
        assert isinstance(said, Silence)
        assert "Unbounded" in str(said)
    assert nodes.head() == head
    assert nodes.read([probe.total.bind(1)]) == [321]


def test_failover__nobody_there(three: list[RpcProxy]) -> None:
    nodes = connect(*three)
    nodes.head()
    for each in three:
        each.down()
    with pytest.raises(NodesError, match="no node gives an answer"):
        nodes.head()
    started = time.monotonic()
    with pytest.raises(NodesError, match=r"127\.0\.0\.1:\d+: no answer"):
        nodes.head()
    assert time.monotonic() - started < 0.1


def test_chain_id__another_chain_is_not_believed(three: list[RpcProxy], probe: Contract) -> None:
    with Anvil(chain_id=5) as other, RpcProxy(other.http_url) as wrong:
        nodes = connect(wrong, three[0], chain_id=31_337)
        assert nodes.read([probe.total.bind(1)]) == [321]
        alone = connect(wrong, chain_id=31_337)
        with pytest.raises(NodesError, match="is of chain 5, not of 31337"):
            alone.head()
        with pytest.raises(Disagreement, match="nodes of different chains"):
            connect(wrong, three[0]).head()


def test_chain_id__changed_behind_an_endpoint(three: list[RpcProxy]) -> None:
    [proxy, *_] = three
    nodes = connect(proxy)
    nodes.head()
    proxy.down()
    with pytest.raises(NodesError):
        nodes.head()
    with Anvil(chain_id=5) as other:
        proxy.upstream = other.http_url
        proxy.up()
        deadline = time.monotonic() + 10
        while True:
            with pytest.raises(NodesError) as caught:
                nodes.head()
            if "is of chain 5" in str(caught.value):
                break
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_errors__keys_of_urls_are_not_repeated(three: list[RpcProxy]) -> None:
    [proxy, *_] = three
    url = f"http://user:HUSH-HUSH@{proxy.url[7:]}/v3/HUSH-PATH?key=HUSH-QUERY"

    def gossip(
        method: str, parameters: list[object], answer: dict[str, object]
    ) -> dict[str, object]:
        text = f"key HUSH-PATH (HUSH-QUERY) may not use {method}"
        return {**answer, "result": None, "error": {"code": -32000, "message": text}}

    nodes = Nodes([url], timeout=TIMEOUT)
    with capture_logs() as logs:
        nodes.head()
        proxy.rewrite = gossip
        with pytest.raises(NodesError, match=r"key \*\*\* \(\*\*\*\) may not use") as refused:
            nodes.head()
        proxy.down()
        with pytest.raises(NodesError, match=proxy.url[7:]) as silent:
            nodes.head()
    for text in (str(refused.value), str(silent.value), str(logs), nodes.metrics.text().decode()):
        assert "HUSH" not in text


# -- nodes that differ --


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


# -- sending --


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


def answering(method: str, result: object) -> Rewrite:
    """A node that answers one method with the same whatever is asked."""

    def rewrite(asked: str, parameters: list[Any], answer: dict[str, Any]) -> dict[str, Any]:
        return {**answer, "result": result} if asked == method else answer

    return rewrite


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


# -- threads --


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
