"""The layer over web3 on a real anvil: deploying, sending, reading, reverts, time."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from eth_account import Account as EthAccount

from perpool.anvil import Anvil
from perpool.chain import Call, Chain, ChainError, Contract
from perpool.evm import Account, Reverted, Struct, reverts
from perpool.evm.codec import canonical

LENDER = Account("lender")
ALICE = "0x" + 20 * "a1"


@pytest.fixture(scope="module")
def anvil() -> Iterator[Anvil]:
    with Anvil(timestamp=1_700_000_000) as running:
        yield running


@pytest.fixture
def chain(anvil: Anvil) -> Iterator[Chain]:
    chain = Chain.connect(anvil.endpoint)
    with chain.anchor():
        yield chain


@pytest.fixture
def probe(chain: Chain) -> Contract:
    return chain.deploy("Probe", 3)


# -- connecting --


def test_connect__nobody_there(tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(ChainError, match="is the node running"):
        Chain.connect("http://127.0.0.1:1", timeout=2)
    with pytest.raises(ChainError, match="is the node running"):
        Chain.connect(str(tmp_path_factory.mktemp("none") / "ipc"), timeout=2)


def test_connect__keys_of_the_url_are_not_repeated() -> None:
    with pytest.raises(ChainError) as caught:
        Chain.connect("http://user:HUSH@127.0.0.1:1/v3/HUSH?key=HUSH", timeout=2)
    assert "http://127.0.0.1:1 " in str(caught.value)
    assert "HUSH" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_connect__unknown_scheme() -> None:
    with pytest.raises(ChainError, match="IPC socket"):
        Chain.connect("ws://127.0.0.1:1")


def test_connect__over_http(anvil: Anvil, chain: Chain) -> None:
    probe = chain.deploy("Probe", 3)
    other = Chain.connect(anvil.http_url)
    same = other.contract("Probe", probe)
    same.set_word(8)
    assert probe.word() == 8
    assert other.read([same.word.bind(), same.total.bind(1)]) == [8, 321]
    assert other.web3.eth.block_number == chain.block_number


# -- contracts --


def test_deploy(chain: Chain) -> None:
    probe = chain.deploy("Probe", 3, sender=LENDER, value=0)
    assert probe.OWNER() == LENDER.address
    assert chain.code(probe) != b""
    assert chain.last is not None
    assert chain.last.contract_address == probe.address
    assert chain.at("Probe", probe.address) == probe
    assert chain.contract(probe.abi, probe).total(1) == 321


def test_deploy__wrong_arguments(chain: Chain) -> None:
    with pytest.raises(TypeError, match=r"takes \(step\)"):
        chain.deploy("Probe")


def test_deploy__reverts(chain: Chain) -> None:
    with reverts("zero step"):
        chain.deploy("Probe", 0)


def test_deploy_blueprint(chain: Chain) -> None:
    address = chain.deploy_blueprint("TestFeed")
    assert chain.code(address)[:3].hex() == "fe7100"


# -- sending --


def test_transact__with_a_key(chain: Chain, probe: Contract) -> None:
    key = EthAccount.from_key(b"\x05" * 32)
    for sender in (key, LENDER):
        for delta in (-1, 2):
            receipt = probe.note("margin", delta, sender=sender)
            assert receipt.success
            assert receipt.sender == sender.address
            event = receipt.events("Noted", emitter=probe)[0]
            assert (event.who, event.delta) == (sender.address, delta)
            assert isinstance(event.pair, Struct)
            assert event.pair.share_amount == 3
    assert receipt.events("Noted", emitter=ALICE) == []
    assert receipt.gas_price == 0


def test_transact__after_the_account_has_sent_by_another_way(
    anvil: Anvil, chain: Chain, probe: Contract
) -> None:
    """As a wallet beside it does; what the node has not taken is sent once more."""
    key = EthAccount.from_key(b"\x07" * 32)
    assert probe.set_word(1, sender=key).success
    wallet = Chain.connect(anvil.endpoint)
    assert wallet.contract(probe.abi, probe.address).set_word(2, sender=key).success
    assert probe.set_word(3, sender=key).success


def test_transact__unlocked(chain: Chain, probe: Contract) -> None:
    assert probe.note("margin", 1, sender=ALICE).sender.lower() == ALICE
    assert probe.set_word(5).sender == chain.default
    chain.default = LENDER
    assert probe.set_word(word=6).sender == LENDER.address


def test_transact__value(chain: Chain, probe: Contract) -> None:
    with pytest.raises(ChainError, match=r"(?i)insufficient funds"):
        probe.deposit(value=7, sender=LENDER)
    chain.set_balance(LENDER, 10)
    probe.deposit(value=7, sender=LENDER)
    assert (probe.received(), chain.balance(probe), chain.balance(LENDER)) == (7, 7, 3)


def test_transact__gas_of_the_receipt(chain: Chain, probe: Contract) -> None:
    receipt = probe.set_word(1)
    repeated = probe.set_word(2)
    assert receipt.gas_used - repeated.gas_used == 17_100


def test_transact__two_hundred_a_second(chain: Chain, probe: Contract) -> None:
    best = 0.0
    for _ in range(3):
        start = time.perf_counter()
        for word in range(100):
            probe.set_word(word, sender=LENDER)
        best = max(best, 100 / (time.perf_counter() - start))
    assert best > 200


def test_transact__estimates_where_no_gas_is_fixed(anvil: Anvil, chain: Chain) -> None:
    probe = chain.deploy("Probe", 3)
    chain.set_balance(LENDER, 10**20)
    live = Chain.connect(anvil.endpoint)
    live.gas = live.gas_price = None
    receipt = live.contract("Probe", probe).set_word(9, sender=LENDER)
    assert receipt.gas_price > 0
    assert probe.word() == 9
    with reverts("because"):
        live.contract("Probe", probe).fail("because", sender=LENDER)


def test_transact__without_synchronous_answers(chain: Chain, probe: Contract) -> None:
    chain._synchronous = False
    assert probe.set_word(9, sender=LENDER).success
    with reverts("because"):
        probe.fail("because", sender=LENDER)


def test_send_and_wait(chain: Chain, probe: Contract) -> None:
    sent = chain.send(probe.note.bind("margin", 1, sender=LENDER))
    receipt = chain.wait(sent)
    assert receipt.transaction_hash == sent
    assert receipt.events("Noted")[0].delta == 1


def test_wait__not_mined(chain: Chain) -> None:
    chain.timeout = 0.01
    with pytest.raises(ChainError, match="not mined"):
        chain.wait("0x" + 64 * "0")


def test_send_block(chain: Chain, probe: Contract) -> None:
    timestamp = chain.timestamp + 500
    receipts = chain.send_block(
        [
            probe.set_word.bind(1, sender=LENDER),
            probe.fail.bind("because", sender=LENDER),
            probe.note.bind("margin", 1, sender=ALICE),
            probe.set_word.bind(2, sender=LENDER),
        ],
        timestamp=timestamp,
    )
    assert [receipt.success for receipt in receipts] == [True, False, True, True]
    assert {receipt.block_number for receipt in receipts} == {chain.block_number}
    assert chain.timestamp == timestamp
    assert probe.word() == 2
    assert probe.set_word(3, sender=LENDER).success
    assert chain.send_block([]) == []


def test_send_block__refused(chain: Chain, probe: Contract) -> None:
    with pytest.raises(ChainError, match=r"(?i)insufficient funds"):
        chain.send_block(
            [probe.set_word.bind(1, sender=LENDER), probe.deposit.bind(value=1, sender=LENDER)]
        )
    assert probe.set_word(3, sender=LENDER).success
    assert probe.word() == 3


# -- reverts --


def test_reverted(chain: Chain, probe: Contract) -> None:
    for sender in (LENDER, ALICE):
        with reverts("because") as caught:
            probe.fail("because", sender=sender)
        assert caught[0].data[:4].hex() == "08c379a0"
        assert chain.last is not None
        assert not chain.last.success
        assert probe.set_word(1, sender=sender).success
    with reverts("because"):
        probe.fail.call("because")
    with reverts(""):
        probe.fail_bare()
    with reverts(""):
        probe.fail_bare.call()


def test_reverted__by_a_fault(chain: Chain, probe: Contract) -> None:
    for gas in (100_000, 200_000):
        with reverts("OutOfGas"):
            probe.burn_gas(gas=gas)
        with reverts("OutOfGas"):
            probe.burn_gas.call(gas=gas)
    for code in (b"\xfe", b"\x0c"):
        with reverts("InvalidInstruction"):
            chain.transact(Call(b"", code))
        with reverts("InvalidInstruction"):
            chain.call(Call(b"", code))


def test_reverted__node_without_traces(
    chain: Chain, probe: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = chain._request
    answers: dict[str, dict[str, Any]] = {"debug_traceTransaction": {"error": {"code": -32601}}}

    def limited(method: str, arguments: Sequence[Any]) -> Any:
        return answers.get(method) or request(method, arguments)

    monkeypatch.setattr(chain, "_request", limited)
    with reverts("because"):
        probe.fail("because", sender=LENDER)
    with reverts("zero step"):
        chain.deploy("Probe", 0)
    with reverts("OutOfGas"):
        probe.burn_gas(gas=100_000)
    # passes on the state before
    answers["eth_call"] = {"result": "0x"}
    with pytest.raises(Reverted, match="cannot say why"):
        probe.fail("because", sender=LENDER)


def test_refused(chain: Chain) -> None:
    with pytest.raises(ChainError, match="the node refused eth_nonsense"):
        chain.rpc("eth_nonsense")
    with pytest.raises(ChainError, match="no block"):
        chain.block_timestamp(10**9)


# -- reading --


def test_read(chain: Chain, probe: Contract) -> None:
    probe.set_word(4)
    before = chain.block_number
    probe.set_word(5)
    calls = [probe.word.bind(), probe.total.bind(1), probe.pair_of.bind(ALICE)]
    assert chain.read(calls)[:2] == [5, 321]
    assert chain.read(calls, block=before)[0] == 4
    assert chain.read(calls)[2].owner == chain.at("Probe", ALICE).address
    assert chain.read([]) == []
    assert probe.word.call(block=before) == 4
    with reverts("because"):
        chain.read([probe.word.bind(), probe.fail.bind("because")])


def test_read__overloads_and_names(probe: Contract) -> None:
    assert (probe.total(1), probe.total(1, 2), probe.total(1, b=2, c=3)) == (321, 303, 6)
    with pytest.raises(TypeError, match="wrong number"):
        probe.total()
    with pytest.raises(TypeError, match="takes the arguments"):
        probe.total(a=1, d=2)
    assert probe.total.select("total(uint256,uint256)")(1, 2) == 303
    with pytest.raises(TypeError, match="there is no"):
        probe.total.select("total()")
    with pytest.raises(AttributeError, match="no function"):
        _ = probe.nonsense
    assert probe.total.encode(1)[4:] == (1).to_bytes(32, "big")


def test_events(chain: Chain, probe: Contract) -> None:
    start = chain.block_number + 1
    probe.note("margin", 1)
    probe.set_word(1)
    probe.note("margin", 2)
    found = chain.events([probe], from_block=start)
    assert [(block - start, event.delta) for block, event in found] == [(0, 1), (2, 2)]
    assert len(chain.events([probe], from_block=start, to_block=start)) == 1


# -- time and state --


def test_time(chain: Chain, probe: Contract) -> None:
    now, number = chain.timestamp, chain.block_number
    chain.warp(3600)
    assert (chain.timestamp, chain.block_number) == (now + 3600, number + 1)
    chain.set_next_timestamp(now + 7200)
    probe.set_word(1)
    assert (chain.timestamp, chain.block_number) == (now + 7200, number + 2)
    chain.mine(5, timestamp=now + 9000)
    assert chain.block_number == number + 7
    assert chain.block_timestamp(number + 3) == now + 9000


def test_set_state(chain: Chain, probe: Contract) -> None:
    chain.set_balance(ALICE, 5)
    assert chain.balance(ALICE) == 5
    chain.set_code(ALICE, chain.code(probe))
    assert chain.contract("Probe", ALICE).total(1) == 321
    chain.set_storage(ALICE, 2, 77)
    assert chain.storage(ALICE, 2) == 77


def test_anchor(chain: Chain, probe: Contract) -> None:
    with chain.anchor():
        probe.set_word(1, sender=LENDER)
        chain.warp(100)
        assert probe.word() == 1
    assert probe.word() == 0
    probe.set_word(2, sender=LENDER)
    assert canonical(probe) == canonical(probe.address)


def test_anchor__right_after_a_transaction(chain: Chain, probe: Contract) -> None:
    for sender in (LENDER, ALICE):
        for word in range(1, 30):
            with chain.anchor():
                probe.set_word(word, sender=sender)
            assert int(chain.rpc("txpool_status")["pending"], 16) == 0
    assert probe.word() == 0
