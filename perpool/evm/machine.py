"""The machine: accounts, blocks, transactions, contracts. See `Evm`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any, ClassVar

from eth._utils.address import generate_contract_address
from eth.abc import ComputationAPI
from eth.constants import CREATE_CONTRACT_ADDRESS
from eth.exceptions import Revert, VMError
from eth.vm.forks.cancun.transaction_context import CancunTransactionContext
from eth.vm.message import Message
from eth_account import Account as EthAccount
from eth_account.signers.local import LocalAccount
from eth_typing import Address
from eth_utils.crypto import keccak

from perpool.build import Abi, Artifact, blueprint_initcode, compile_contract
from perpool.evm.codec import (
    Codec,
    Event,
    EventRegistry,
    FunctionAbi,
    RawLog,
    canonical,
    checksum,
)
from perpool.evm.state import BlockContext, Computation, Ledger, State, Tracer

TRANSACTION_GAS = 30_000_000
"""Gas limit of a transaction where none is given."""
STARTING_BALANCE = 10**24
"""Wei that a named account starts with."""

_BASE_GAS = 21_000
_CREATE_GAS = 32_000
_TOKEN_GAS = 4  # calldata is counted in tokens: one for a zero byte, four for any other
_FLOOR_TOKEN_GAS = 10  # EIP-7623
_REFUND_QUOTIENT = 5  # EIP-3529
_RESERVED = frozenset({"sender", "value", "gas"})


class Reverted(Exception):  # noqa: N818  (an outcome that tests expect, not a fault)
    """A call or transaction failed.

    `reason` is the text of Error(string), "panic 0x11" for a panic, the name of a known custom
    error, the data in hex for an unknown one, "" for a revert without data, and the name of the
    fault ("OutOfGas", "InvalidInstruction", ...) where the EVM stopped by itself.
    """

    def __init__(self, reason: str, data: bytes = b"", fault: str = "") -> None:
        self.reason = reason
        self.data = data
        super().__init__(fault or reason or "reverted without a reason")


class Account:
    """A named actor: address and key both follow from the name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.key: LocalAccount = EthAccount.from_key(keccak(text=f"perpool account {name}"))
        self.address: str = self.key.address

    def __repr__(self) -> str:
        return f"<{self.name} {self.address}>"


@dataclass(frozen=True)
class Receipt:
    """What a transaction did.

    `gas_used` is what a receipt on a chain says: intrinsic gas with the calldata floor of
    EIP-7623, refunds applied.
    """

    success: bool
    gas_used: int
    raw_logs: tuple[RawLog, ...]
    return_data: bytes
    sender: str
    to: str | None
    block_number: int
    timestamp: int
    registry: EventRegistry = field(repr=False)
    function: FunctionAbi | None = field(default=None, repr=False)
    contract_address: str | None = None

    @cached_property
    def logs(self) -> list[Event]:
        """All logs in order, decoded."""
        return [self.registry.decode(log) for log in self.raw_logs]

    def events(self, name: str, emitter: Any = None) -> list[Event]:
        """The events of a name, of one contract only if `emitter` is given."""
        address = None if emitter is None else checksum(canonical(emitter))
        return [
            event for event in self.logs if event.name == name and address in (None, event.address)
        ]

    @cached_property
    def return_value(self) -> Any:
        """The decoded return value of the function called."""
        return None if self.function is None else self.function.decode(self.return_data)


class Function:
    """A function of a contract, all its overloads.

    Calling a view gives its value; calling anything else sends a transaction and gives what it
    returned. Arguments may be named as in the ABI; Vyper's default arguments may be left out.
    """

    def __init__(self, evm: Evm, address: bytes, overloads: Sequence[FunctionAbi]) -> None:
        self.evm = evm
        self.overloads = overloads
        self._address = address
        self._by_count = {len(each.inputs.types): each for each in overloads}

    def __call__(
        self, *args: Any, sender: Any = None, value: int = 0, gas: int | None = None, **named: Any
    ) -> Any:
        function, data = self._bind(args, named)
        if function.is_view:
            output = self.evm.call(self._address, data, sender=sender, value=value, gas=gas)
            return function.decode(output)
        receipt = self.evm.transact(
            self._address, data, sender=sender, value=value, gas=gas, function=function
        )
        return receipt.return_value

    def call(
        self, *args: Any, sender: Any = None, value: int = 0, gas: int | None = None, **named: Any
    ) -> Any:
        """What the function would return in the current block, changing nothing."""
        function, data = self._bind(args, named)
        output = self.evm.call(
            self._address, data, sender=sender, value=value, gas=gas, static=function.is_view
        )
        return function.decode(output)

    def transact(
        self, *args: Any, sender: Any = None, value: int = 0, gas: int | None = None, **named: Any
    ) -> Receipt:
        """Send a transaction, a view's too, and give its receipt."""
        function, data = self._bind(args, named)
        return self.evm.transact(
            self._address, data, sender=sender, value=value, gas=gas, function=function
        )

    def encode(self, *args: Any, **named: Any) -> bytes:
        """The call data."""
        return self._bind(args, named)[1]

    def select(self, signature: str) -> Function:
        """One overload by its signature, for overloads with equal numbers of arguments."""
        matches = [each for each in self.overloads if each.signature == signature]
        if not matches:
            raise TypeError(f"there is no {signature} among {self._signatures()}")
        return Function(self.evm, self._address, matches)

    def _bind(self, args: Sequence[Any], named: dict[str, Any]) -> tuple[FunctionAbi, bytes]:
        function = self._by_count.get(len(args) + len(named))
        if function is None:
            raise TypeError(f"wrong number of arguments for {self._signatures()}")
        if named:
            names = function.inputs.names[len(args) :]
            if set(names) != set(named):
                takes = ", ".join(function.inputs.names)
                raise TypeError(f"{function.signature} takes the arguments {takes}")
            args = [*args, *(named[name] for name in names)]
        return function, function.encode(args)

    def _signatures(self) -> str:
        return " or ".join(each.signature for each in self.overloads)

    def __repr__(self) -> str:
        return f"<function {self._signatures()} of {checksum(self._address)}>"


class Contract:
    """A contract at an address: its functions are attributes.

    `address`, `artifact` (None if made from a bare ABI) and `evm` are its own; a function of the
    contract with such a name is reached by `function(name)`.
    """

    def __init__(
        self, evm: Evm, abi: Abi, address: bytes, artifact: Artifact | None = None
    ) -> None:
        self.evm = evm
        self.abi = abi
        self.address = checksum(address)
        self.artifact = artifact
        self._functions: dict[str, Function] = {}
        overloads: dict[str, list[FunctionAbi]] = {}
        for each in evm.functions_of(abi):
            overloads.setdefault(each.name, []).append(each)
        for name, functions in overloads.items():
            self._functions[name] = Function(evm, address, functions)

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


class Evm:
    """An in-process chain with Prague's rules, without consensus, fees or signatures.

    Time. Each transaction is in a block of its own, `spacing` seconds after the block before.
    `warp` and `mine` open a block and leave it open: calls see its time and number, and the next
    transaction goes into it. Calls run in the newest block.

    Gas price and base fee are zero. Any address may send, also that of a contract. Code size
    limits (EIP-170, EIP-3860) hold.
    """

    tracers: ClassVar[list[Tracer]] = []
    """Tracers of every machine, for tools that watch a whole test run."""

    def __init__(
        self,
        *,
        timestamp: int = 1_735_689_600,
        block_number: int = 21_500_000,
        spacing: int = 12,
        chain_id: int = 31_337,
        gas_limit: int = TRANSACTION_GAS,
    ) -> None:
        self.spacing = spacing
        self.chain_id = chain_id
        self.gas_limit = gas_limit
        self.ledger = Ledger()
        self.registry = EventRegistry()
        self._block = BlockContext(timestamp, block_number, chain_id, gas_limit)
        self._state = State(self.ledger, self._block)
        self._block_is_open = True
        self._sharing = False
        self._last: Receipt | None = None
        self._anchors: list[object] = []
        self._functions: dict[int, tuple[Abi, list[FunctionAbi]]] = {}
        self._named: dict[str, Account] = {}
        self.default = self.account("default")
        self.trace: list[Tracer] = []

    # -- accounts --

    @cached_property
    def accounts(self) -> tuple[Account, ...]:
        """Ten accounts without a role."""
        return tuple(self.account(f"account {index}") for index in range(10))

    def account(self, name: str) -> Account:
        """The account of that name, with ether from the moment it is first asked for."""
        account = self._named.get(name)
        if account is None:
            account = self._named[name] = Account(name)
            # not journalled: the account outlives the anchor that it may be created in
            self.ledger.balances.setdefault(canonical(account), STARTING_BALANCE)
        return account

    def balance(self, account: Any) -> int:
        """Wei of an account."""
        return self.ledger.get_balance(canonical(account))

    def set_balance(self, account: Any, wei: int) -> None:
        """Give an account an amount of wei."""
        self.ledger.set_balance(canonical(account), wei)

    def nonce(self, account: Any) -> int:
        """Transactions sent, or contracts created, by an account."""
        return self.ledger.get_nonce(canonical(account))

    def code(self, account: Any) -> bytes:
        """Code of an account, empty if it is no contract."""
        return self.ledger.get_code(canonical(account))

    def set_code(self, account: Any, code: bytes) -> None:
        """Put code at an address, without running a constructor."""
        self.ledger.set_code(canonical(account), code)

    def storage(self, account: Any, slot: int) -> int:
        """A storage word."""
        return self.ledger.get_storage(canonical(account), slot)

    def set_storage(self, account: Any, slot: int, word: int) -> None:
        """Write a storage word."""
        self.ledger.set_storage(canonical(account), slot, word)

    # -- time --

    @property
    def timestamp(self) -> int:
        """Time of the newest block, in seconds."""
        return self._block.timestamp

    @property
    def block_number(self) -> int:
        """Number of the newest block."""
        return self._block.block_number

    def warp(self, seconds: int) -> None:
        """Open a block that much later; the next transaction goes into it."""
        if seconds < 0:
            raise ValueError("time does not go backwards")
        self._open_block(1, seconds)

    def mine(self, blocks: int = 1) -> None:
        """Go on by some blocks at the usual spacing, and leave the last one open."""
        self._open_block(blocks, blocks * self.spacing)

    @contextlib.contextmanager
    def same_block(self) -> Iterator[None]:
        """All transactions within share one block, and so number and time."""
        if self._sharing:
            raise RuntimeError("same_block does not nest")
        if not self._block_is_open:
            self._open_block(1, self.spacing)
        self._sharing = True
        try:
            yield
        finally:
            self._sharing = False

    def _open_block(self, blocks: int, seconds: int) -> None:
        if self._sharing:
            raise RuntimeError("time stands still within same_block")
        self._block.block_number += blocks
        self._block.timestamp += seconds
        self._block_is_open = True

    # -- snapshots --

    @contextlib.contextmanager
    def anchor(self) -> Iterator[None]:
        """Undo at the end whatever happens within: state, blocks and time."""
        mark = self.ledger.record()
        block = (self._block.timestamp, self._block.block_number, self._block_is_open)
        last = self._last
        token = object()
        self._anchors.append(token)
        try:
            yield
        finally:
            if self._anchors[-1] is not token:
                raise RuntimeError("anchors must be left in the reverse order of entering them")
            self._anchors.pop()
            self.ledger.discard(mark)
            self._block.timestamp, self._block.block_number, self._block_is_open = block
            self._last = last

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
        artifact = compile_contract(contract) if isinstance(contract, str) else contract
        constructor = artifact.constructor
        arguments = Codec(constructor["inputs"] if constructor else ())
        if len(args) != len(arguments.types):
            raise TypeError(
                f"the constructor of {artifact.name} takes ({', '.join(arguments.names)})"
            )
        self.registry.add(artifact.abi)
        code = artifact.initcode + arguments.encode(args)
        receipt = self.transact(None, code, sender=sender, value=value, gas=gas)
        return Contract(self, artifact.abi, canonical(receipt.contract_address), artifact)

    def deploy_blueprint(self, contract: str | Artifact, *, sender: Any = None) -> str:
        """Deploy a contract as an ERC-5202 blueprint; returns its address."""
        artifact = compile_contract(contract) if isinstance(contract, str) else contract
        self.registry.add(artifact.abi)
        receipt = self.transact(None, blueprint_initcode(artifact), sender=sender)
        return str(receipt.contract_address)

    def at(self, contract: str | Artifact | Abi, address: Any) -> Contract:
        """A contract that exists already, by name, artifact or ABI."""
        found = compile_contract(contract) if isinstance(contract, str) else contract
        artifact = found if isinstance(found, Artifact) else None
        abi = found.abi if isinstance(found, Artifact) else found
        self.registry.add(abi)
        return Contract(self, abi, canonical(address), artifact)

    def functions_of(self, abi: Abi) -> list[FunctionAbi]:
        """The functions of an ABI, prepared once."""
        known = self._functions.get(id(abi))
        if known is None:
            functions = [FunctionAbi(entry) for entry in abi if entry["type"] == "function"]
            # the ABI is kept because an id is unique only as long as its object lives
            known = self._functions[id(abi)] = (abi, functions)
        return known[1]

    # -- execution --

    @property
    def last(self) -> Receipt:
        """Receipt of the newest transaction, also of one that reverted."""
        if self._last is None:
            raise RuntimeError("there has been no transaction yet")
        return self._last

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
        """Send a transaction; `to` None creates a contract. Raises Reverted."""
        if not (self._block_is_open or self._sharing):
            self._open_block(1, self.spacing)
        self._block_is_open = False
        if not self._anchors:
            self.ledger.journal.clear()
        origin = canonical(sender or self.default)
        target = None if to is None else canonical(to)
        gas = gas or self.gas_limit

        tokens = 4 * len(data) - 3 * data.count(0)
        intrinsic = _BASE_GAS + _TOKEN_GAS * tokens + (_CREATE_GAS if target is None else 0)
        floor = _BASE_GAS + _FLOOR_TOKEN_GAS * tokens
        if gas < max(intrinsic, floor):
            raise ValueError(f"a gas limit of {gas} does not cover the call data")
        if self.ledger.get_balance(origin) < value:
            raise ValueError(f"{sender!r} has less than {value} wei")

        self.ledger.begin()
        nonce = self.ledger.get_nonce(origin)
        self.ledger.increment_nonce(origin)
        created = generate_contract_address(Address(origin), nonce) if target is None else b""
        computation = self._execute(
            origin=origin,
            target=target,
            created=created,
            data=data,
            value=value,
            gas=gas - intrinsic,
        )

        used = gas - computation.get_gas_remaining()
        used -= min(computation.get_gas_refund(), used // _REFUND_QUOTIENT)
        for account in computation.get_accounts_for_deletion():
            self.ledger.delete_account(account)
        success = computation.is_success
        self._last = Receipt(
            success=success,
            gas_used=max(used, floor),
            raw_logs=computation.get_log_entries(),
            return_data=computation.output if target is not None or not success else b"",
            sender=checksum(origin),
            to=None if target is None else checksum(target),
            block_number=self.block_number,
            timestamp=self.timestamp,
            registry=self.registry,
            function=function,
            contract_address=checksum(created) if created else None,
        )
        self._raise_if_failed(computation)
        return self._last

    def call(
        self,
        to: Any,
        data: bytes = b"",
        *,
        sender: Any = None,
        value: int = 0,
        gas: int | None = None,
        static: bool = True,
    ) -> bytes:
        """Run a call in the newest block and undo it. Raises Reverted."""
        mark = self.ledger.record()
        self.ledger.begin()
        try:
            computation = self._execute(
                origin=canonical(sender or self.default),
                target=canonical(to),
                data=data,
                value=value,
                gas=gas or self.gas_limit,
                static=static,
            )
        finally:
            self.ledger.discard(mark)
        self._raise_if_failed(computation)
        return computation.output

    def _execute(
        self,
        *,
        origin: bytes,
        target: bytes | None,
        created: bytes = b"",
        data: bytes,
        value: int,
        gas: int,
        static: bool = False,
    ) -> ComputationAPI:
        """Run one message with a transaction's access lists; failed ones leave no trace."""
        ledger, state = self.ledger, self._state
        state.tracers = [*Evm.tracers, *self.trace]
        ledger.mark_address_warm(origin)
        ledger.mark_address_warm(target or created)
        mark = ledger.record()
        if target is None and ledger.account_has_code_or_nonce(created):
            raise RuntimeError(f"there is an account at {checksum(created)} already")
        context = CancunTransactionContext(gas_price=0, origin=Address(origin))
        message = Message(
            gas=gas,
            to=Address(target or CREATE_CONTRACT_ADDRESS),
            sender=Address(origin),
            value=value,
            data=b"" if target is None else data,
            code=data if target is None else ledger.get_code(target),
            create_address=Address(created) if target is None else None,  # type: ignore[arg-type]
            is_static=static,
        )
        try:
            if target is None:
                return Computation.apply_create_message(state, message, context)
            return Computation.apply_message(state, message, context)
        except VMError as error:
            # py-evm raises what makes a transaction invalid, such as too large an init code
            ledger.discard(mark)
            raise Reverted(type(error).__name__, fault=str(error)) from error

    def _raise_if_failed(self, computation: ComputationAPI) -> None:
        if computation.is_success:
            return
        error = computation.error
        if isinstance(error, Revert):
            data = computation.output
            raise Reverted(self.registry.reason(data), data)
        raise Reverted(type(error).__name__, fault=f"{type(error).__name__}: {error}")


@contextlib.contextmanager
def reverts(reason: str | Enum | None = None) -> Iterator[list[Reverted]]:
    """Expect the block to revert for exactly this reason, or for any if none is given.

    The list it gives holds the exception afterwards.
    """
    expected = reason.value if isinstance(reason, Enum) else reason
    caught: list[Reverted] = []
    try:
        yield caught
    except Reverted as error:
        caught.append(error)
        if expected is not None and error.reason != expected:
            raise AssertionError(f"reverted with {str(error)!r}, not {expected!r}") from error
    else:
        raise AssertionError(f"did not revert{f' with {expected!r}' if expected else ''}")
