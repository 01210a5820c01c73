"""The in-process EVM against anvil: the same transactions, gas, outcome, logs and addresses."""

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from web3 import Web3

from perpool.build import load_npm_artifact
from perpool.evm import Evm, Receipt, Reverted
from perpool.evm.codec import FunctionAbi, canonical, checksum

PAIR = "@uniswap/v2-core/build/UniswapV2Pair.json"
PAIR_FACTORY = "@uniswap/v2-core/build/UniswapV2Factory.json"
POOL_FACTORY = "@uniswap/v3-core/artifacts/contracts/UniswapV3Factory.sol/UniswapV3Factory.json"


@pytest.fixture(scope="module")
def anvil() -> Iterator[Web3]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    binary = shutil.which("anvil")
    assert binary is not None, "anvil is not on PATH; run `make setup`"
    command = [binary, "--port", str(port), "--hardfork", "prague", "--auto-impersonate"]
    command += ["--base-fee", "0", "--gas-price", "0", "--gas-limit", "30000000"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        chain = Web3(Web3.HTTPProvider(f"http://127.0.0.1:{port}"))
        try:
            for _ in range(100):
                if chain.is_connected():
                    break
                time.sleep(0.1)
            yield chain
        finally:
            process.terminate()


class Twin(Evm):
    """Sends each transaction to anvil too and compares the receipts."""

    def __init__(self, anvil: Web3) -> None:
        self.anvil = anvil
        self.compared = 0
        super().__init__(timestamp=anvil.eth.get_block("latest")["timestamp"] + 1000)

    def transact(
        self,
        to: Any,
        data: bytes = b"",
        *,
        sender: Any = None,
        value: int = 0,
        gas: int | None = None,
        function: FunctionAbi | None = None,
    ) -> Receipt:
        try:
            return super().transact(
                to, data, sender=sender, value=value, gas=gas, function=function
            )
        finally:
            self.compare(to, data, value, gas or self.gas_limit)

    def request(self, method: str, *arguments: Any) -> Any:
        answer = self.anvil.provider.make_request(method, arguments)  # type: ignore[arg-type]
        assert "error" not in answer, answer
        return answer["result"]

    def compare(self, to: Any, data: bytes, value: int, gas: int) -> None:
        mine = self.last
        self.request("anvil_setBalance", mine.sender, hex(10**24))
        self.request("evm_setNextBlockTimestamp", mine.timestamp)
        transaction = {"from": mine.sender, "data": "0x" + data.hex(), "value": hex(value)}
        transaction["gas"] = hex(gas)
        if to is not None:
            transaction["to"] = checksum(canonical(to))
        sent = self.request("eth_sendTransaction", transaction)
        theirs = self.anvil.eth.wait_for_transaction_receipt(sent, poll_latency=0.01)

        logs = tuple(
            (
                canonical(log["address"]),
                tuple(int.from_bytes(topic, "big") for topic in log["topics"]),
                bytes(log["data"]),
            )
            for log in theirs["logs"]
        )
        assert mine.gas_used == theirs["gasUsed"]
        assert mine.success == bool(theirs["status"])
        assert mine.raw_logs == logs
        assert mine.contract_address == theirs["contractAddress"]
        self.compared += 1


@pytest.fixture(scope="module")
def twin(anvil: Web3) -> Iterator[Twin]:
    twin = Twin(anvil)
    yield twin
    assert twin.compared > 0


def attempt(action: Callable[[], Any]) -> None:
    with pytest.raises(Reverted):
        action()


def test_tokens(twin: Twin) -> None:
    lender, borrower = twin.accounts[:2]
    for name, arguments in (
        ("TestToken", ("Token", "TKN", 18)),
        ("UsdtLike", (6,)),
        ("FeeToken", (18, 100)),
        ("HookToken", (18,)),
    ):
        token = twin.deploy(name, *arguments)
        token.mint(lender, 1000)
        token.transfer(borrower, 400, sender=lender)
        token.transfer(borrower, 600, sender=lender)
        token.approve(lender, 5, sender=borrower)
        token.transferFrom(borrower, lender, 5, sender=lender)
        attempt(lambda token=token: token.transfer(borrower, 1001, sender=lender))


def test_probe(twin: Twin) -> None:
    probe = twin.deploy("Probe", 3)
    blueprint = twin.deploy_blueprint("TestFeed")
    for word in (5, 5, 6, 0):
        probe.set_word(word)
        probe.set_scratch(word)
        probe.note("margin", -word)
        probe.recurse(word)
        probe.create(blueprint, 8, -word, word.to_bytes(31, "big") + bytes([twin.compared % 256]))
        probe.deposit(value=word)
    probe.echo_text.transact("text", bytes(50))
    probe.sload_costs.transact()
    probe.catch(probe, probe.fail_bare.encode())
    attempt(lambda: probe.fail("because"))
    attempt(probe.fail_bare)
    attempt(lambda: probe.burn_gas(gas=200_000))
    attempt(lambda: twin.deploy("Probe", 0))


def test_plain_transactions(twin: Twin) -> None:
    receiver = twin.account("receiver")
    twin.transact(receiver, value=1)
    twin.transact(receiver, bytes(50) + b"\1" * 500)


def test_uniswap(twin: Twin) -> None:
    lender = twin.accounts[0]
    usdt, token = twin.deploy("UsdtLike", 6), twin.deploy("TestToken", "Token", "TKN", 18)
    twin.deploy(load_npm_artifact(PAIR_FACTORY), lender).createPair(token, usdt)
    pair = twin.at(load_npm_artifact(PAIR), twin.last.events("PairCreated")[0].pair)
    token.mint(pair, 10**24)
    usdt.mint(pair, 10**12)
    pair.mint(lender)
    out = (0, 900_000) if pair.token0() == token.address else (900_000, 0)
    for pause in (0, 1000, 0):
        twin.warp(pause)
        token.mint(pair, 10**18)
        pair.swap(*out, lender, b"")
    attempt(lambda: pair.swap(*out, lender, b""))
    twin.deploy(load_npm_artifact(POOL_FACTORY)).createPool(token, usdt, 3000)
