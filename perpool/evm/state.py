"""World state and message execution behind `Evm`: py-evm's Prague rules over plain dictionaries.

py-evm keeps accounts in Merkle tries. Nothing here needs a state root, so `Ledger` keeps them in
dictionaries with one undo journal, which makes a snapshot the length of a list. All gas and
execution rules are py-evm's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

from eth.abc import ComputationAPI, MessageAPI, StateAPI, TransactionContextAPI
from eth.constants import EMPTY_SHA3
from eth.exceptions import Halt
from eth.vm.computation import NO_RESULT
from eth.vm.forks.prague.computation import PragueComputation
from eth.vm.forks.prague.state import PragueState
from eth.vm.logic.invalid import InvalidOpcode
from eth_utils.crypto import keccak

from perpool.evm.interpreter import run

_MISSING: Any = object()

Step = Callable[[int, int], None]
"""Called with the program counter and the opcode before each instruction of one frame."""


class Tracer(Protocol):
    """Watches execution. See `Evm.tracers`."""

    def enter(self, computation: ComputationAPI) -> Step | None:
        """A frame starts, whose message is `computation.msg`; return what to call at each step."""


@lru_cache(maxsize=4096)
def _hash_of(code: bytes) -> bytes:
    return keccak(code)


class Ledger:
    """Balances, nonces, code and storage, plus what one transaction has touched.

    Every write appends (table, key, old value) to one journal; undoing means replaying it
    backwards. The methods that py-evm calls have its names.
    """

    def __init__(self) -> None:
        self.journal: list[tuple[dict[Any, Any], Any, Any]] = []
        self.balances: dict[bytes, int] = {}
        self.nonces: dict[bytes, int] = {}
        self.codes: dict[bytes, bytes] = {}
        self.storages: dict[bytes, dict[int, int]] = {}
        # of the current transaction
        self.originals: dict[tuple[bytes, int], int] = {}
        self.warm: dict[Any, bool] = {}
        self.transient: dict[tuple[bytes, int], bytes] = {}

    # -- snapshots --

    def begin(self) -> None:
        """A new transaction starts: nothing is warm, transient storage is empty."""
        self.originals = {}
        self.warm = {}
        self.transient = {}

    def record(self) -> int:
        """A mark to which `discard` can go back."""
        return len(self.journal)

    def discard(self, mark: int) -> None:
        """Undo everything since the mark."""
        journal = self.journal
        while len(journal) > mark:
            table, key, old = journal.pop()
            if old is _MISSING:
                del table[key]
            else:
                table[key] = old

    def _write(self, table: dict[Any, Any], key: Any, value: Any) -> None:
        self.journal.append((table, key, table.get(key, _MISSING)))
        table[key] = value

    # -- storage --

    def get_storage(self, address: bytes, slot: int, from_journal: bool = True) -> int:
        """A slot's value now, or as it was when the transaction began."""
        if not from_journal:
            original = self.originals.get((address, slot))
            if original is not None:
                return original
        slots = self.storages.get(address)
        return 0 if slots is None else slots.get(slot, 0)

    def set_storage(self, address: bytes, slot: int, value: int) -> None:
        slots = self.storages.get(address)
        if slots is None:
            slots = {}
            self._write(self.storages, address, slots)
        old = slots.get(slot, _MISSING)
        self.originals.setdefault((address, slot), 0 if old is _MISSING else old)
        self.journal.append((slots, slot, old))
        slots[slot] = value

    def delete_storage(self, address: bytes) -> None:
        if self.storages.get(address):
            self._write(self.storages, address, {})

    def is_storage_warm(self, address: bytes, slot: int) -> bool:
        return (address, slot) in self.warm

    def mark_storage_warm(self, address: bytes, slot: int) -> None:
        self._write(self.warm, (address, slot), True)

    def get_transient(self, address: bytes, slot: int) -> bytes:
        return self.transient.get((address, slot), b"")

    def set_transient(self, address: bytes, slot: int, value: bytes) -> None:
        self._write(self.transient, (address, slot), value)

    # -- accounts --

    def get_balance(self, address: bytes) -> int:
        return self.balances.get(address, 0)

    def set_balance(self, address: bytes, balance: int) -> None:
        self._write(self.balances, address, balance)

    def get_nonce(self, address: bytes) -> int:
        return self.nonces.get(address, 0)

    def set_nonce(self, address: bytes, nonce: int) -> None:
        self._write(self.nonces, address, nonce)

    def increment_nonce(self, address: bytes) -> None:
        self._write(self.nonces, address, self.nonces.get(address, 0) + 1)

    def get_code(self, address: bytes) -> bytes:
        return self.codes.get(address, b"")

    def set_code(self, address: bytes, code: bytes) -> None:
        self._write(self.codes, address, code)

    def delete_code(self, address: bytes) -> None:
        self._write(self.codes, address, b"")

    def get_code_hash(self, address: bytes) -> bytes:
        code = self.codes.get(address, b"")
        return _hash_of(code) if code else EMPTY_SHA3

    def account_has_code_or_nonce(self, address: bytes) -> bool:
        return bool(self.codes.get(address) or self.nonces.get(address))

    def account_is_empty(self, address: bytes) -> bool:
        return not (self.account_has_code_or_nonce(address) or self.balances.get(address))

    def account_exists(self, address: bytes) -> bool:
        # since EIP-161 there are no empty accounts
        return not self.account_is_empty(address)

    def delete_account(self, address: bytes) -> None:
        self.delete_storage(address)
        self._write(self.balances, address, 0)
        self._write(self.nonces, address, 0)
        self._write(self.codes, address, b"")

    def touch_account(self, address: bytes) -> None:
        """Nothing to do: touching matters only for deleting empty accounts of the past."""

    def is_address_warm(self, address: bytes) -> bool:
        return address in self.warm

    def mark_address_warm(self, address: bytes) -> None:
        if address not in self.warm:
            self._write(self.warm, address, True)


@dataclass
class BlockContext:
    """The block that transactions run in, with the attribute names of py-evm."""

    timestamp: int
    block_number: int
    chain_id: int
    gas_limit: int
    coinbase: bytes = keccak(text="perpool block builder")[:20]
    difficulty: int = 0
    base_fee_per_gas: int = 0
    excess_blob_gas: int = 0
    prev_hashes: tuple[bytes, ...] = field(default=())

    @property
    def mix_hash(self) -> bytes:
        """Randomness of the block, here a hash of its number."""
        return keccak(text=f"mix hash {self.block_number}")


class State(PragueState):
    """py-evm's Prague state over a `Ledger`."""

    def __init__(self, ledger: Ledger, context: BlockContext) -> None:
        self.ledger = ledger
        self.execution_context: Any = context
        self._account_db: Any = ledger
        self.tracers: list[Tracer] = []

    def snapshot(self) -> Any:
        return len(self.ledger.journal)

    def commit(self, snapshot: Any) -> None:
        pass

    def revert(self, snapshot: Any) -> None:
        self.ledger.discard(snapshot)

    def clear_transient_storage(self) -> None:
        self.ledger.transient = {}

    def get_transient_storage(self, address: Any, slot: int) -> bytes:
        return self.ledger.get_transient(address, slot)

    def set_transient_storage(self, address: Any, slot: int, value: bytes) -> None:
        self.ledger.set_transient(address, slot, value)

    def get_ancestor_hash(self, block_number: int) -> Any:
        if 0 < self.block_number - block_number <= 256:
            return keccak(text=f"block {block_number}")
        return b""


class Computation(PragueComputation):
    """py-evm's Prague computation, with tracers and the faster instruction loop."""

    reference = False
    """Use py-evm's own implementation of every instruction."""

    @classmethod
    def apply_computation(
        cls,
        state: StateAPI,
        message: MessageAPI,
        transaction_context: TransactionContextAPI,
        parent_computation: ComputationAPI | None = None,
    ) -> ComputationAPI:
        """Execute one message call or contract creation."""
        with cls(state, message, transaction_context) as computation:
            if parent_computation is None:
                computation.contracts_created = []
                if message.is_create:
                    cls.consume_initcode_gas_cost(computation)
            else:
                computation.contracts_created = parent_computation.contracts_created
            if message.is_create:
                computation.contracts_created.append(message.storage_address)

            precompile: Any = computation.precompiles.get(message.code_address, NO_RESULT)
            if precompile is not NO_RESULT:
                if not message.is_delegation:
                    precompile(computation)
                return computation
            if cls.reference:
                _reference_loop(computation)
            else:
                run(computation)
        return computation


def _reference_loop(computation: Any) -> None:
    """py-evm's own way through the code, to test the faster one against."""
    steps = [tracer.enter(computation) for tracer in computation.state.tracers]
    watching = [step for step in steps if step is not None]
    opcodes = computation.opcodes
    code = computation.code
    for opcode in code:
        for step in watching:
            step(code.program_counter - 1, opcode)
        operation = opcodes.get(opcode) or InvalidOpcode(opcode)
        try:
            operation(computation=computation)
        except Halt:
            break
