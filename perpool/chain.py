"""A thin layer over web3 for any chain, fast on a local anvil.

    chain = Chain.connect(anvil.endpoint)            # or the URL of a node
    pool = chain.contract("ReversePool", address)    # or an artifact, or an ABI
    receipt = pool.deposit(10**6, lender, sender=lender)
    receipt.events("Deposit")[0].shares
    pool.totalAssets()

Calling a view gives its value, decoded as in `perpool.evm`; calling anything else sends a
transaction, waits for it, and gives its receipt. What fails raises `Reverted` with the contract's
reason; a node that refuses or cannot be reached raises ChainError.

On anvil a transaction is one message there and one back: gas limit and price are fixed, and the
answer is the receipt. On other chains gas is estimated and priced unless it is given.
"""

from __future__ import annotations

import contextlib
import time
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NoReturn, TypeVar

import requests
from eth_account.signers.local import LocalAccount
from web3 import HTTPProvider, IPCProvider, Web3
from web3.exceptions import Web3Exception
from web3.providers.base import JSONBaseProvider

from perpool.build import Abi, Artifact, blueprint_initcode, compile_contract
from perpool.evm import Reverted
from perpool.evm.codec import (
    Codec,
    Event,
    EventRegistry,
    FunctionAbi,
    RawLog,
    canonical,
    checksum,
)

__all__ = ["Call", "Chain", "ChainError", "Contract", "Function", "Receipt", "Reverted"]

ANVIL_GAS = 2**24
"""Gas limit of a transaction on anvil where none is given: the most that Osaka allows."""

_Sent = TypeVar("_Sent")
_ESTIMATE_MARGIN = 1.2
_METHOD_MISSING = (-32601, -32602)
_SYNCHRONOUS = {
    "eth_sendTransaction": "eth_sendTransactionSync",
    "eth_sendRawTransaction": "eth_sendRawTransactionSync",
}
_FAULTS = {
    # anvil's words for them -> py-evm's
    "out of gas": "OutOfGas",
    "OutOfGas": "OutOfGas",
    "ReentrancySentryOOG": "OutOfGas",
    "MemoryOOG": "OutOfGas",
    "PrecompileOOG": "OutOfGas",
    "invalid opcode": "InvalidInstruction",
    "InvalidFEOpcode": "InvalidInstruction",
    "OpcodeNotFound": "InvalidInstruction",
}


class ChainError(Exception):
    """The node refused a request, cannot be reached, or a transaction was not mined in time."""


@dataclass(frozen=True)
class Receipt:
    """What a mined transaction did."""

    success: bool
    gas_used: int
    raw_logs: tuple[RawLog, ...]
    sender: str
    to: str | None
    block_number: int
    transaction_hash: str
    gas_price: int
    """Wei a unit of gas that was paid."""
    contract_address: str | None
    registry: EventRegistry = field(repr=False)

    @cached_property
    def logs(self) -> list[Event]:
        """All logs in order, decoded by the contracts that the chain object knows."""
        return [self.registry.decode(log) for log in self.raw_logs]

    def events(self, name: str, emitter: Any = None) -> list[Event]:
        """The events of a name, of one contract only if `emitter` is given."""
        address = None if emitter is None else checksum(canonical(emitter))
        return [
            event for event in self.logs if event.name == name and address in (None, event.address)
        ]


@dataclass(frozen=True)
class Call:
    """A call that is prepared but not made; see `Chain.read` and `Chain.send_block`."""

    to: bytes
    data: bytes
    function: FunctionAbi | None = None
    sender: Any = None
    value: int = 0
    gas: int | None = None


class Function:
    """A function of a contract, all its overloads.

    Arguments may be named as in the ABI; Vyper's default arguments may be left out.
    """

    def __init__(self, chain: Chain, address: bytes, overloads: Sequence[FunctionAbi]) -> None:
        self.chain = chain
        self.overloads = overloads
        self._address = address
        self._by_count = {len(each.inputs.types): each for each in overloads}

    def __call__(
        self, *args: Any, sender: Any = None, value: int = 0, gas: int | None = None, **named: Any
    ) -> Any:
        call = self.bind(*args, sender=sender, value=value, gas=gas, **named)
        if call.function is not None and call.function.is_view:
            return self.chain.call(call)
        return self.chain.transact(call)

    def bind(
        self, *args: Any, sender: Any = None, value: int = 0, gas: int | None = None, **named: Any
    ) -> Call:
        """The call with its arguments, for `Chain.read` and `Chain.send_block`."""
        function = self._by_count.get(len(args) + len(named))
        if function is None:
            raise TypeError(f"wrong number of arguments for {self._signatures()}")
        if named:
            names = function.inputs.names[len(args) :]
            if set(names) != set(named):
                takes = ", ".join(function.inputs.names)
                raise TypeError(f"{function.signature} takes the arguments {takes}")
            args = (*args, *(named[name] for name in names))
        return Call(self._address, function.encode(args), function, sender, value, gas)

    def call(
        self,
        *args: Any,
        sender: Any = None,
        value: int = 0,
        gas: int | None = None,
        block: int | str = "latest",
        **named: Any,
    ) -> Any:
        """What the function would return on top of a block, changing nothing."""
        call = self.bind(*args, sender=sender, value=value, gas=gas, **named)
        return self.chain.call(call, block=block)

    def transact(
        self, *args: Any, sender: Any = None, value: int = 0, gas: int | None = None, **named: Any
    ) -> Receipt:
        """Send a transaction, a view's too, and give its receipt."""
        return self.chain.transact(self.bind(*args, sender=sender, value=value, gas=gas, **named))

    def encode(self, *args: Any, **named: Any) -> bytes:
        """The call data."""
        return self.bind(*args, **named).data

    def select(self, signature: str) -> Function:
        """One overload by its signature, for overloads with equal numbers of arguments."""
        matches = [each for each in self.overloads if each.signature == signature]
        if not matches:
            raise TypeError(f"there is no {signature} among {self._signatures()}")
        return Function(self.chain, self._address, matches)

    def _signatures(self) -> str:
        return " or ".join(each.signature for each in self.overloads)

    def __repr__(self) -> str:
        return f"<function {self._signatures()} of {checksum(self._address)}>"


class Contract:
    """A contract at an address: its functions are attributes.

    `address`, `artifact` (None if made from a bare ABI), `abi` and `chain` are its own; a function
    of the contract with such a name is reached by `function(name)`.
    """

    def __init__(
        self, chain: Chain, abi: Abi, address: bytes, artifact: Artifact | None = None
    ) -> None:
        self.chain = chain
        self.abi = abi
        self.address = checksum(address)
        self.artifact = artifact
        overloads: dict[str, list[FunctionAbi]] = {}
        for each in chain.functions_of(abi):
            overloads.setdefault(each.name, []).append(each)
        self._functions = {
            name: Function(chain, address, functions) for name, functions in overloads.items()
        }

    def function(self, name: str) -> Function:
        """A function by name."""
        try:
            return self._functions[name]
        except KeyError:
            raise AttributeError(f"{self!r} has no function {name!r}") from None

    def __getattr__(self, name: str) -> Function:
        if name.startswith("__") or name == "_functions":
            raise AttributeError(name)
        return self.function(name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Contract) and other.address == self.address

    def __hash__(self) -> int:
        return hash(self.address)

    def __repr__(self) -> str:
        return f"<{self.artifact.name if self.artifact else 'contract'} {self.address}>"


class Chain:
    """A connection to one node.

    A sender is an eth-account key, anything with such a `key` (an `Account` of perpool.evm), or the
    address of an account that the node has unlocked: on anvil any address. Without one it is
    `default`, the node's first account. Nonces are counted here: a key belongs to one `Chain` at a
    time.

    `gas` and `gas_price` are used for every transaction; None asks the node each time. On anvil
    they default to `ANVIL_GAS` and, unless the node has a base fee, to a price of nothing.
    """

    def __init__(
        self,
        provider: JSONBaseProvider,
        *,
        gas: int | None = None,
        gas_price: int | None = None,
        timeout: float = 120,
    ) -> None:
        self.provider = provider
        self.timeout = timeout
        self.registry = EventRegistry()
        self.last: Receipt | None = None
        """Receipt of the newest transaction, also of one that reverted."""
        self._functions: dict[int, tuple[Abi, list[FunctionAbi]]] = {}
        self._nonces: dict[str, int] = {}
        self.client = str(self.rpc("web3_clientVersion"))
        self.is_anvil = self.client.lower().startswith("anvil")
        self.chain_id = int(self.rpc("eth_chainId"), 16)
        if self.is_anvil:
            gas = gas or ANVIL_GAS
            gas_price = self._anvil_price() if gas_price is None else gas_price
        self.gas = gas
        self.gas_price = gas_price
        self._synchronous = self.is_anvil

    @classmethod
    def connect(
        cls,
        endpoint: str,
        *,
        gas: int | None = None,
        gas_price: int | None = None,
        timeout: float = 120,
    ) -> Chain:
        """Connect to an http(s) URL or the path of an IPC socket. Raises ChainError.

        `timeout` is in seconds, for an answer and for a transaction to be mined.
        """
        provider: JSONBaseProvider
        if endpoint.startswith(("http://", "https://")):
            provider = HTTPProvider(endpoint, request_kwargs={"timeout": timeout})
        elif "://" in endpoint:
            raise ChainError(f"{endpoint}: give an http(s) URL or the path of an IPC socket")
        else:
            provider = IPCProvider(endpoint, timeout=int(timeout))
        return cls(provider, gas=gas, gas_price=gas_price, timeout=timeout)

    @cached_property
    def web3(self) -> Web3:
        """web3 over the same connection, for what is not here."""
        return Web3(self.provider)

    @cached_property
    def default(self) -> Any:
        """Who sends where no sender is given; may be set."""
        accounts = self.rpc("eth_accounts")
        if not accounts:
            raise ChainError("this node has no account of its own: pass sender=, or set `default`")
        return checksum(canonical(accounts[0]))

    # -- contracts --

    def deploy(
        self,
        contract: str | Artifact,
        *args: Any,
        sender: Any = None,
        value: int = 0,
        gas: int | None = None,
    ) -> Contract:
        """Deploy a contract, given by name or compiled, with its constructor's arguments."""
        artifact = _artifact(contract)
        constructor = artifact.constructor
        arguments = Codec(constructor["inputs"] if constructor else ())
        if len(args) != len(arguments.types):
            raise TypeError(
                f"the constructor of {artifact.name} takes ({', '.join(arguments.names)})"
            )
        self.registry.add(artifact.abi)
        code = artifact.initcode + arguments.encode(args)
        receipt = self.transact(Call(b"", code, sender=sender, value=value, gas=gas))
        return Contract(self, artifact.abi, canonical(receipt.contract_address), artifact)

    def deploy_blueprint(self, contract: str | Artifact, *, sender: Any = None) -> str:
        """Deploy a contract as an ERC-5202 blueprint; returns its address."""
        artifact = _artifact(contract)
        self.registry.add(artifact.abi)
        receipt = self.transact(Call(b"", blueprint_initcode(artifact), sender=sender))
        return str(receipt.contract_address)

    def contract(self, contract: str | Artifact | Abi, address: Any) -> Contract:
        """A contract that exists already, by name, artifact or ABI."""
        found = _artifact(contract) if isinstance(contract, str) else contract
        artifact = found if isinstance(found, Artifact) else None
        abi = found.abi if isinstance(found, Artifact) else found
        self.registry.add(abi)
        return Contract(self, abi, canonical(address), artifact)

    at = contract
    """The same, under its name in perpool.evm."""

    def functions_of(self, abi: Abi) -> list[FunctionAbi]:
        """The functions of an ABI, prepared once."""
        known = self._functions.get(id(abi))
        if known is None:
            functions = [FunctionAbi(entry) for entry in abi if entry["type"] == "function"]
            # the ABI is kept because an id is unique only as long as its object lives
            known = self._functions[id(abi)] = (abi, functions)
        return known[1]

    # -- reading --

    @property
    def block_number(self) -> int:
        """Number of the newest block."""
        return int(self.rpc("eth_blockNumber"), 16)

    @property
    def timestamp(self) -> int:
        """Time of the newest block, in seconds."""
        return self.block_timestamp("latest")

    def block_timestamp(self, block: int | str) -> int:
        """Time of a block, in seconds."""
        found = self.rpc("eth_getBlockByNumber", _block(block), False)
        if found is None:
            raise ChainError(f"the node has no block {block}")
        return int(found["timestamp"], 16)

    def balance(self, account: Any) -> int:
        """Wei of an account."""
        return int(self.rpc("eth_getBalance", _address(account), "latest"), 16)

    def code(self, account: Any) -> bytes:
        """Code of an account, empty if it is no contract."""
        return _bytes(self.rpc("eth_getCode", _address(account), "latest"))

    def storage(self, account: Any, slot: int) -> int:
        """A storage word."""
        return int(self.rpc("eth_getStorageAt", _address(account), hex(slot), "latest"), 16)

    def call(self, call: Call, *, block: int | str = "latest") -> Any:
        """Make a call on top of a block, changing nothing, and decode what it returns."""
        answer = self._request("eth_call", self._call_arguments(call, block))
        return self._called(call, answer)

    def read(self, calls: Iterable[Call], *, block: int | str | None = None) -> list[Any]:
        """Many calls in one message, all on top of the same block, by default the newest.

        Raises Reverted for the first that fails.
        """
        prepared = list(calls)
        if not prepared:
            return []
        number = self.block_number if block is None else block
        answers = self.batch(
            [("eth_call", self._call_arguments(call, number)) for call in prepared]
        )
        return [self._called(call, answer) for call, answer in zip(prepared, answers, strict=True)]

    def events(
        self, emitters: Sequence[Any], *, from_block: int, to_block: int | str = "latest"
    ) -> list[tuple[int, Event]]:
        """(block number, event) of everything that some contracts logged, in order."""
        query = {
            "address": [_address(emitter) for emitter in emitters],
            "fromBlock": hex(from_block),
            "toBlock": _block(to_block),
        }
        return [
            (int(log["blockNumber"], 16), self.registry.decode(_raw_log(log)))
            for log in self.rpc("eth_getLogs", query)
        ]

    def _call_arguments(self, call: Call, block: int | str) -> list[Any]:
        message: dict[str, Any] = {"data": "0x" + call.data.hex()}
        if call.to:
            message["to"] = checksum(call.to)
        if call.sender is not None:
            message["from"] = _address(call.sender)
        if call.value:
            message["value"] = hex(call.value)
        if call.gas is not None:
            message["gas"] = hex(call.gas)
        if self.is_anvil and self.gas_price:
            # otherwise anvil takes its own price and wants the caller to have the ether for it
            message["gasPrice"] = "0x0"
        return [message, _block(block)]

    def _called(self, call: Call, answer: Mapping[str, Any]) -> Any:
        data = _bytes(self._result("eth_call", answer))
        return data if call.function is None else call.function.decode(data)

    # -- sending --

    def transact(self, call: Call) -> Receipt:
        """Send a transaction and wait for its receipt; no `to` creates a contract.

        Raises Reverted, after which the receipt is in `last`.
        """
        return self._finish(self._sent(call, self._send_and_wait), call)

    def send(self, call: Call) -> str:
        """Send a transaction without waiting for it; returns its hash for `wait`."""
        return self._sent(call, lambda method, payload: str(self.rpc(method, payload)))

    def _send_and_wait(self, method: str, payload: Any) -> dict[str, Any]:
        receipt = self._send_synchronously(method, payload) if self._synchronous else None
        if receipt is None:
            receipt = self._wait(str(self.rpc(method, payload)))
        return receipt

    def _sent(self, call: Call, send: Callable[[str, Any], _Sent]) -> _Sent:
        """What `send` returns for the prepared call.

        Tried once more where the account has sent by another way since the last time.
        """
        try:
            return self._prepared(call, send)
        except ChainError as error:
            if "nonce too low" not in str(error):
                raise
        return self._prepared(call, send)

    def _prepared(self, call: Call, send: Callable[[str, Any], _Sent]) -> _Sent:
        method, payload, sender = self._prepare(call)
        try:
            return send(method, payload)
        except (ChainError, Reverted):
            self._nonces.pop(sender, None)
            raise

    def wait(self, transaction_hash: str) -> Receipt:
        """The receipt of a transaction once it is mined; it may have failed. Raises ChainError."""
        return self._receipt(self._wait(transaction_hash))

    def _prepare(self, call: Call) -> tuple[str, Any, str]:
        """(method, payload, sender's address) for sending, with nonce, gas and price."""
        who = self.default if call.sender is None else call.sender
        key = _key(who)
        sender = _address(key or who)
        transaction: dict[str, Any] = {"data": "0x" + call.data.hex(), "value": hex(call.value)}
        if call.to:
            transaction["to"] = checksum(call.to)
        gas = call.gas or self.gas or self._estimate({**transaction, "from": sender})
        transaction["gas"] = hex(gas)
        transaction |= self._price()
        if key is None:
            return "eth_sendTransaction", {**transaction, "from": sender}, sender
        nonce = self._nonces.get(sender)
        if nonce is None:
            nonce = int(self.rpc("eth_getTransactionCount", sender, "pending"), 16)
        self._nonces[sender] = nonce + 1
        transaction |= {"nonce": hex(nonce), "chainId": hex(self.chain_id)}
        signed = key.sign_transaction(transaction)
        return "eth_sendRawTransaction", "0x" + bytes(signed.raw_transaction).hex(), sender

    def _estimate(self, transaction: dict[str, Any]) -> int:
        estimate = int(self.rpc("eth_estimateGas", transaction), 16)
        return int(estimate * _ESTIMATE_MARGIN)

    def _anvil_price(self) -> int:
        """What is sure to be enough on anvil: nothing where it has no base fee."""
        base = int(self.rpc("eth_getBlockByNumber", "latest", False)["baseFeePerGas"], 16)
        return 2 * int(self.rpc("eth_gasPrice"), 16) if base else 0

    def _price(self) -> dict[str, str]:
        if self.gas_price is not None:
            return {"gasPrice": hex(self.gas_price)}
        # room for the base fee to double before it is mined
        tip = int(self.rpc("eth_maxPriorityFeePerGas"), 16)
        base = int(self.rpc("eth_getBlockByNumber", "latest", False)["baseFeePerGas"], 16)
        return {"maxPriorityFeePerGas": hex(tip), "maxFeePerGas": hex(2 * base + tip)}

    def _send_synchronously(self, method: str, payload: Any) -> dict[str, Any] | None:
        """The receipt (EIP-7966), or None on a node that has no such method."""
        answer = self._request(_SYNCHRONOUS[method], [payload])
        if _code(answer) in _METHOD_MISSING:
            self._synchronous = False
            return None
        receipt: dict[str, Any] = self._result(method, answer)
        return receipt

    def _wait(self, transaction_hash: str) -> dict[str, Any]:
        deadline = time.monotonic() + self.timeout
        pause = 0.002 if self.is_anvil else 1.0
        while True:
            receipt: dict[str, Any] | None = self.rpc("eth_getTransactionReceipt", transaction_hash)
            if receipt is not None:
                return receipt
            if time.monotonic() > deadline:
                raise ChainError(
                    f"{transaction_hash} is not mined after {self.timeout:.0f} s; look it up before"
                    " sending again, or raise the gas price"
                )
            time.sleep(pause)

    def _receipt(self, data: Mapping[str, Any]) -> Receipt:
        created = data.get("contractAddress")
        self.last = Receipt(
            success=int(data["status"], 16) == 1,
            gas_used=int(data["gasUsed"], 16),
            raw_logs=tuple(_raw_log(log) for log in data["logs"]),
            sender=checksum(canonical(data["from"])),
            to=checksum(canonical(data["to"])) if data.get("to") else None,
            block_number=int(data["blockNumber"], 16),
            transaction_hash=str(data["transactionHash"]),
            gas_price=int(data.get("effectiveGasPrice") or "0x0", 16),
            contract_address=checksum(canonical(created)) if created else None,
            registry=self.registry,
        )
        return self.last

    def _finish(self, data: Mapping[str, Any], call: Call) -> Receipt:
        receipt = self._receipt(data)
        if not receipt.success:
            self._raise_reason(receipt, call)
        return receipt

    def _raise_reason(self, receipt: Receipt, call: Call) -> NoReturn:
        """Ask the node why: by its trace, else by the same call on the state before."""
        options = {"tracer": "callTracer", "tracerConfig": {"onlyTopCall": True}}
        answer = self._request("debug_traceTransaction", [receipt.transaction_hash, options])
        trace = answer.get("result")
        if trace:
            said = str(trace.get("error", ""))
            if "revert" not in said:
                raise Reverted(_fault(said), fault=f"{_fault(said)}: {said}")
            data = _bytes(trace.get("output") or "0x")
            raise Reverted(self.registry.reason(data), data)
        arguments = self._call_arguments(call, receipt.block_number - 1)
        arguments[0]["from"] = receipt.sender
        self._result("eth_call", self._request("eth_call", arguments))
        # what passes on the state before has run out of gas, or met another transaction's doing
        raise Reverted("", fault=f"{receipt.transaction_hash} failed, the node cannot say why")

    # -- the time and state of anvil --

    def set_next_timestamp(self, timestamp: int) -> None:
        """The time of the next block, in seconds."""
        self.rpc("evm_setNextBlockTimestamp", timestamp)

    def warp(self, seconds: int) -> None:
        """Mine a block that much later than the newest one."""
        self.mine(timestamp=self.timestamp + seconds)

    def mine(self, blocks: int = 1, *, timestamp: int | None = None) -> None:
        """Mine empty blocks; `timestamp` is that of the first."""
        if timestamp is not None:
            self.set_next_timestamp(timestamp)
        self.rpc("anvil_mine", hex(blocks))

    def set_balance(self, account: Any, wei: int) -> None:
        """Give an account an amount of wei."""
        self.rpc("anvil_setBalance", _address(account), hex(wei))

    def set_code(self, account: Any, code: bytes) -> None:
        """Put code at an address, without running a constructor."""
        self.rpc("anvil_setCode", _address(account), "0x" + code.hex())

    def set_storage(self, account: Any, slot: int, word: int) -> None:
        """Write a storage word."""
        self.rpc("anvil_setStorageAt", _address(account), hex(slot), f"0x{word:064x}")

    @contextlib.contextmanager
    def anchor(self) -> Iterator[None]:
        """Undo at the end whatever happens within: state, blocks and time."""
        mark = self.rpc("evm_snapshot")
        try:
            yield
        finally:
            self._empty_pool()
            if not self.rpc("evm_revert", mark):
                raise ChainError(f"anvil has no snapshot {mark} any more")
            self._nonces.clear()

    def _empty_pool(self) -> None:
        """Let anvil forget what it has just mined.

        It does so a moment after it gives the receipt. A transaction that is still there when the
        state is reverted counts for its sender's next nonce, and so leaves a gap.
        """
        deadline = time.monotonic() + 1
        while int(self.rpc("txpool_status")["pending"], 16) and time.monotonic() < deadline:
            time.sleep(0.001)

    def send_block(self, calls: Iterable[Call], *, timestamp: int | None = None) -> list[Receipt]:
        """Send transactions that share one block, in this order, and give all their receipts.

        Those that failed are among them. Three messages for however many transactions.
        """
        prepared = [self._prepare(call) for call in calls]
        if not prepared:
            return []
        requests_: list[tuple[str, list[Any]]] = [("evm_setAutomine", [False])]
        requests_ += [(method, [payload]) for method, payload, _ in prepared]
        if timestamp is not None:
            requests_.append(("evm_setNextBlockTimestamp", [timestamp]))
        try:
            answers = self.batch(requests_)
            hashes = [
                str(self._result(method, answer))
                for (method, _), answer in zip(requests_[1:], answers[1:], strict=True)
            ]
            self.rpc("anvil_mine", "0x1")
        except (ChainError, Reverted):
            self._nonces.clear()
            self.rpc("anvil_dropAllTransactions")
            raise
        finally:
            self.rpc("evm_setAutomine", True)
        found = self.batch(
            [("eth_getTransactionReceipt", [each]) for each in hashes[: len(prepared)]]
        )
        receipts = [self._result("eth_getTransactionReceipt", answer) for answer in found]
        if None in receipts:
            raise ChainError("the transactions do not fit into one block; send fewer at a time")
        return [self._receipt(receipt) for receipt in receipts]

    # -- JSON-RPC --

    def rpc(self, method: str, *arguments: Any) -> Any:
        """Make a request and give its result. Raises ChainError, or Reverted."""
        return self._result(method, self._request(method, arguments))

    def batch(self, requests_: Sequence[tuple[str, Sequence[Any]]]) -> list[Mapping[str, Any]]:
        """Make many requests in one message; gives the answers, errors among them, in order."""
        with self._reachable():
            answers: Any = self.provider.make_batch_request(
                [(method, list(arguments)) for method, arguments in requests_]  # type: ignore[misc]
            )
        if isinstance(answers, Mapping):
            raise ChainError(f"the node takes no batch of requests: {answers.get('error')}")
        return list(answers)

    def _request(self, method: str, arguments: Sequence[Any]) -> Mapping[str, Any]:
        with self._reachable():
            answer: Any = self.provider.make_request(method, list(arguments))  # type: ignore[arg-type]
        return dict(answer)

    @contextlib.contextmanager
    def _reachable(self) -> Iterator[None]:
        try:
            yield
        except (OSError, requests.RequestException, Web3Exception) as error:
            uri = getattr(self.provider, "endpoint_uri", None)
            # paths and queries of URLs carry keys, and so do the texts of errors about them
            node = _host(str(uri)) if uri else getattr(self.provider, "ipc_path", "")
            raise ChainError(
                f"no answer from {node} ({type(error).__name__}): is the node running? "
                "Name another with --rpc"
            ) from None

    def _result(self, method: str, answer: Mapping[str, Any]) -> Any:
        error = answer.get("error")
        if error is None:
            return answer.get("result")
        message = str(error.get("message", error) if isinstance(error, Mapping) else error)
        data = error.get("data") if isinstance(error, Mapping) else None
        if "revert" in message:
            if isinstance(data, str) and data.startswith("0x"):
                raw = _bytes(data)
                raise Reverted(self.registry.reason(raw), raw)
            raise Reverted(message.partition("reverted")[2].removeprefix(":").strip())
        if message.startswith("EVM error"):
            said = message.removeprefix("EVM error").strip()
            raise Reverted(_fault(said), fault=f"{_fault(said)}: {said}")
        raise ChainError(f"the node refused {method}: {message}")


def _host(uri: str) -> str:
    """Scheme, host and port of a URL, without credentials."""
    parts = urllib.parse.urlsplit(uri)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}"


def _artifact(contract: str | Artifact) -> Artifact:
    return compile_contract(contract) if isinstance(contract, str) else contract


def _key(who: Any) -> LocalAccount | None:
    """The local key of a sender, if he has one."""
    if isinstance(who, LocalAccount):
        return who
    key = getattr(who, "key", None)
    return key if isinstance(key, LocalAccount) else None


def _address(account: Any) -> str:
    return checksum(canonical(account))


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def _block(block: int | str) -> str:
    return hex(block) if isinstance(block, int) else block


def _code(answer: Mapping[str, Any]) -> int | None:
    error = answer.get("error")
    return error.get("code") if isinstance(error, Mapping) else None


def _fault(said: str) -> str:
    return next((name for words, name in _FAULTS.items() if said.startswith(words)), said)


def _raw_log(log: Mapping[str, Any]) -> RawLog:
    topics = tuple(int(topic, 16) for topic in log["topics"])
    return canonical(log["address"]), topics, _bytes(log["data"])
