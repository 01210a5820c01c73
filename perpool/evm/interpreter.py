"""The instruction loop: the hot instructions of the EVM in one function, the rest left to py-evm.

py-evm spends two microseconds an instruction, mostly on calls between its objects. This loop keeps
stack, memory, gas and program counter in local variables and does by itself what Vyper emits most;
every other opcode goes to py-evm's own implementation, with its objects brought up to date before.
Tests run both against each other, gas included.

Two liberties, invisible from outside a frame that stays within its limits, as a frame that runs out
of gas or stack is undone as a whole: gas is subtracted at once but compared with zero only where a
frame could end, jump, grow its memory or let its gas be seen; and the stack limit is looked at
where a frame jumps or leaves the loop.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from eth.exceptions import (
    FullStack,
    Halt,
    InsufficientStack,
    InvalidJumpDestination,
    OutOfGas,
    WriteProtection,
)
from eth.vm.logic.invalid import InvalidOpcode
from eth_utils.crypto import keccak

if TYPE_CHECKING:
    from perpool.evm.state import Ledger

_WORD = 2**256 - 1
_SIGN = 2**255
_STACK_LIMIT = 1024
_COLD_SLOT = 2100  # EIP-2929
_WARM_ACCESS = 100
_SET_SLOT = 20_000
_RESET_SLOT = 2900
_CLEARING_REFUND = 4800  # EIP-3529
_SSTORE_STIPEND = 2300  # EIP-2200
_PUSH1, _PUSH32, _JUMPDEST = 0x60, 0x7F, 0x5B


@lru_cache(maxsize=65_536)
def _hash_words(data: bytes) -> int:
    return int.from_bytes(keccak(data), "big")


class _Program:
    """What the loop needs to know of a piece of code, worked out once."""

    def __init__(self, code: bytes) -> None:
        self.operations = code + bytes(33)
        self.pushed: list[int] = [0] * len(code)
        self.jump_targets: set[int] = set()
        counter = 0
        while counter < len(code):
            opcode = code[counter]
            if _PUSH1 <= opcode <= _PUSH32:
                size = opcode - _PUSH1 + 1
                value = self.operations[counter + 1 : counter + 1 + size]
                self.pushed[counter] = int.from_bytes(value, "big")
                counter += size
            elif opcode == _JUMPDEST:
                self.jump_targets.add(counter)
            counter += 1


@lru_cache(maxsize=256)
def _program(code: bytes) -> _Program:
    return _Program(code)


def _memory_cost(words: int) -> int:
    return 3 * words + words * words // 512


def _grow(memory: Any, start: int, size: int, gas: int) -> int:
    """Extend memory to hold a range; returns the gas left. Raises OutOfGas before it allocates."""
    words = (start + size + 31) // 32
    gas -= _memory_cost(words) - _memory_cost(len(memory) // 32)
    if gas < 0:
        raise OutOfGas("memory")
    memory.extend(start, size)
    return gas


def _store(ledger: Ledger, meter: Any, address: bytes, slot: int, value: int) -> int:
    """Write a slot, note the refund; returns the gas for it (EIP-2200, EIP-2929, EIP-3529)."""
    cost = 0
    if not ledger.is_storage_warm(address, slot):
        ledger.mark_storage_warm(address, slot)
        cost = _COLD_SLOT
    current = ledger.get_storage(address, slot)
    if current == value:
        return cost + _WARM_ACCESS
    original = ledger.get_storage(address, slot, from_journal=False)
    refund = 0
    if original == current:
        cost += _SET_SLOT if original == 0 else _RESET_SLOT
        if value == 0:
            refund = _CLEARING_REFUND
    else:
        cost += _WARM_ACCESS
        if original != 0:
            if current == 0:
                refund = -_CLEARING_REFUND
            elif value == 0:
                refund = _CLEARING_REFUND
        if original == value:
            refund += (_SET_SLOT if original == 0 else _RESET_SLOT) - _WARM_ACCESS
    if refund:
        meter.refund_gas(refund)
    ledger.set_storage(address, slot, value)
    return cost


def run(computation: Any) -> None:
    """Execute the code of a computation to its end. Raises VMError as py-evm's loop does."""
    try:
        _loop(computation)
    except IndexError:
        raise InsufficientStack("stack underflow") from None


def _loop(computation: Any) -> None:
    message = computation.msg
    state = computation.state
    ledger = state.ledger
    watching = [step for tracer in state.tracers if (step := tracer.enter(computation))]

    program = _program(message.code)
    operations = program.operations
    pushed = program.pushed
    jump_targets = program.jump_targets
    fallback = computation.opcodes
    code = computation.code
    meter = computation._gas_meter
    values: list[Any] = computation._stack.values
    push = values.append
    pop = values.pop
    memory = computation._memory
    data = memory._bytes
    warm = ledger.warm
    address = message.storage_address
    input_data = message.data

    gas: int = meter.gas_remaining
    size = 0
    pc = 0
    while True:
        op = operations[pc]
        if watching:
            if gas < 0:
                raise OutOfGas("out of gas")
            meter.gas_remaining = gas
            for step in watching:
                step(pc, op)

        if op >= 0x60:
            if op < 0x80:  # PUSH
                push(pushed[pc])
                pc += op - 0x5E
                gas -= 3
                continue
            if op < 0x90:  # DUP
                push(values[0x7F - op])
                pc += 1
                gas -= 3
                continue
            if op < 0xA0:  # SWAP
                other = 0x8E - op
                values[-1], values[other] = values[other], values[-1]
                pc += 1
                gas -= 3
                continue

        elif op >= 0x50:
            if op == 0x5B:  # JUMPDEST
                pc += 1
                gas -= 1
                continue
            if op == 0x57:  # JUMPI
                target = pop()
                condition = pop()
                gas -= 10
                if gas < 0:
                    raise OutOfGas("JUMPI")
                if condition:
                    if target not in jump_targets:
                        raise InvalidJumpDestination("Invalid Jump Destination")
                    if len(values) > _STACK_LIMIT:
                        raise FullStack("Stack limit reached")
                    pc = target
                else:
                    pc += 1
                continue
            if op == 0x51:  # MLOAD
                start = pop()
                end = start + 32
                gas -= 3
                if end > size:
                    gas = _grow(memory, start, 32, gas)
                    data = memory._bytes
                    size = len(data)
                push(int.from_bytes(data[start:end], "big"))
                pc += 1
                continue
            if op == 0x52:  # MSTORE
                start = pop()
                value = pop()
                end = start + 32
                gas -= 3
                if end > size:
                    gas = _grow(memory, start, 32, gas)
                    data = memory._bytes
                    size = len(data)
                data[start:end] = value.to_bytes(32, "big")
                pc += 1
                continue
            if op == 0x50:  # POP
                pop()
                pc += 1
                gas -= 2
                continue
            if op == 0x56:  # JUMP
                target = pop()
                gas -= 8
                if gas < 0:
                    raise OutOfGas("JUMP")
                if target not in jump_targets:
                    raise InvalidJumpDestination("Invalid Jump Destination")
                if len(values) > _STACK_LIMIT:
                    raise FullStack("Stack limit reached")
                pc = target
                continue
            if op == 0x5F:  # PUSH0
                push(0)
                pc += 1
                gas -= 2
                continue
            if op == 0x54:  # SLOAD
                slot = pop()
                if (address, slot) in warm:
                    gas -= _WARM_ACCESS
                else:
                    ledger.mark_storage_warm(address, slot)
                    gas -= _COLD_SLOT
                push(ledger.get_storage(address, slot))
                pc += 1
                continue
            if op == 0x55:  # SSTORE
                if message.is_static:
                    raise WriteProtection("Cannot modify state while inside of a STATICCALL")
                slot = pop()
                value = pop()
                if gas <= _SSTORE_STIPEND:
                    raise OutOfGas("SSTORE below the stipend")
                gas -= _store(ledger, meter, address, slot, value)
                pc += 1
                continue
            if op == 0x5A:  # GAS
                gas -= 2
                if gas < 0:
                    raise OutOfGas("GAS")
                push(gas)
                pc += 1
                continue

        elif op < 0x20:
            if 0x10 <= op <= 0x1C:
                gas -= 3
                first = pop()
                if op == 0x15:  # ISZERO
                    push(0 if first else 1)
                elif op == 0x19:  # NOT
                    push(first ^ _WORD)
                else:
                    second = pop()
                    if op == 0x14:  # EQ
                        push(1 if first == second else 0)
                    elif op == 0x10:  # LT
                        push(1 if first < second else 0)
                    elif op == 0x11:  # GT
                        push(1 if first > second else 0)
                    elif op == 0x16:  # AND
                        push(first & second)
                    elif op == 0x1C:  # SHR
                        push(second >> first if first < 256 else 0)
                    elif op == 0x1B:  # SHL
                        push((second << first) & _WORD if first < 256 else 0)
                    elif op == 0x17:  # OR
                        push(first | second)
                    elif op == 0x18:  # XOR
                        push(first ^ second)
                    elif op == 0x12:  # SLT
                        push(1 if first ^ _SIGN < second ^ _SIGN else 0)
                    elif op == 0x13:  # SGT
                        push(1 if first ^ _SIGN > second ^ _SIGN else 0)
                    else:  # BYTE
                        push((second >> (248 - 8 * first)) & 0xFF if first < 32 else 0)
                pc += 1
                continue
            if op == 0x01:  # ADD
                push((pop() + pop()) & _WORD)
                pc += 1
                gas -= 3
                continue
            if op == 0x03:  # SUB
                push((pop() - pop()) & _WORD)
                pc += 1
                gas -= 3
                continue
            if op == 0x02:  # MUL
                push((pop() * pop()) & _WORD)
                pc += 1
                gas -= 5
                continue
            if op == 0x04:  # DIV
                first = pop()
                second = pop()
                push(first // second if second else 0)
                pc += 1
                gas -= 5
                continue
            if op == 0x06:  # MOD
                first = pop()
                second = pop()
                push(first % second if second else 0)
                pc += 1
                gas -= 5
                continue
            if op == 0x09:  # MULMOD
                product = pop() * pop()
                modulus = pop()
                push(product % modulus if modulus else 0)
                pc += 1
                gas -= 8
                continue

        elif op == 0x20:  # SHA3
            start = pop()
            length = pop()
            gas -= 30 + 6 * ((length + 31) // 32)
            if length and start + length > size:
                gas = _grow(memory, start, length, gas)
                data = memory._bytes
                size = len(data)
            if gas < 0:
                raise OutOfGas("SHA3")
            push(_hash_words(bytes(data[start : start + length])))
            pc += 1
            continue
        elif op == 0x35:  # CALLDATALOAD
            start = pop()
            word = bytes(input_data[start : start + 32]) if start < len(input_data) else b""
            push(int.from_bytes(word.ljust(32, b"\0"), "big"))
            pc += 1
            gas -= 3
            continue
        elif op == 0x36:  # CALLDATASIZE
            push(len(input_data))
            pc += 1
            gas -= 2
            continue
        elif op == 0x33:  # CALLER
            push(int.from_bytes(message.sender, "big"))
            pc += 1
            gas -= 2
            continue
        elif op == 0x34:  # CALLVALUE
            push(message.value)
            pc += 1
            gas -= 2
            continue
        elif op in (0x37, 0x39):  # CALLDATACOPY, CODECOPY
            start = pop()
            source = pop()
            length = pop()
            gas -= 3 + 3 * ((length + 31) // 32)
            if length:
                if start + length > size:
                    gas = _grow(memory, start, length, gas)
                    data = memory._bytes
                    size = len(data)
                if gas < 0:
                    raise OutOfGas("copy")
                origin = input_data if op == 0x37 else message.code
                piece = bytes(origin[source : source + length]) if source < len(origin) else b""
                data[start : start + length] = piece.ljust(length, b"\0")
            pc += 1
            continue

        # everything else: bring py-evm's objects up to date and let it do the instruction
        if gas < 0:
            raise OutOfGas("out of gas")
        if len(values) > _STACK_LIMIT:
            raise FullStack("Stack limit reached")
        meter.gas_remaining = gas
        code.program_counter = pc + 1
        operation = fallback.get(op) or InvalidOpcode(op)
        try:
            operation(computation)
        except Halt:
            return
        if values and values[-1].__class__ is bytes:
            values[-1] = int.from_bytes(values[-1], "big")
        gas = meter.gas_remaining
        pc = code.program_counter
        data = memory._bytes
        size = len(data)
