"""The fast instruction loop against py-evm's own: same result, gas, storage and logs."""

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from perpool.build import load_npm_artifact
from perpool.evm import Evm, Receipt, Reverted
from perpool.evm.state import Computation

PROGRAM = "0x00000000000000000000000000000000000c0de0"
CALLEE = "0x00000000000000000000000000000000000ca11e"
WORD = 2**256
INTERESTING = [0, 1, 2, 31, 32, 33, 64, 255, 256, 2**128, 2**255, 2**255 - 1, WORD - 1, WORD - 2]

# opcodes by the number of words that they take, of those that go on with the next instruction
TAKES: dict[int, bytes] = {
    0: bytes.fromhex("30 32 33 34 36 38 3a 3d 41 42 43 44 45 46 47 48 4a 58 59 5a 5b 5f"),
    1: bytes.fromhex("15 19 31 35 3b 3f 40 50 51 54 5c"),
    2: bytes.fromhex(
        "01 02 03 04 05 06 07 0a 0b 10 11 12 13 14 16 17 18 1a 1b 1c 1d 20 52 53 55 5d a0"
    ),
    3: bytes.fromhex("08 09 37 39 5e a1"),
    4: bytes.fromhex("3c a2"),
    6: bytes.fromhex("f4 fa"),
    7: bytes.fromhex("f1"),
}
WITHOUT_RESULT = bytes.fromhex("50 52 53 55 5b 5d 37 39 3c 5e a0 a1 a2")


def push(value: int) -> bytes:
    size = max(1, (value.bit_length() + 7) // 8)
    return bytes([0x5F + size]) + value.to_bytes(size, "big")


def both(
    evm: Evm, monkeypatch: pytest.MonkeyPatch, action: Callable[[], Any]
) -> list[tuple[Any, ...]]:
    """What an action leaves behind, with the fast loop and with py-evm's."""
    outcomes = []
    for reference in (False, True):
        monkeypatch.setattr(Computation, "reference", reference)
        with evm.anchor():
            try:
                result, failure = action(), None
            except Reverted as error:
                result, failure = None, error.reason
            receipt: Receipt = evm.last
            storages = {
                (address, slot): word
                for address, slots in evm.ledger.storages.items()
                for slot, word in slots.items()
                if word
            }
            facts = (receipt.gas_used, receipt.raw_logs, receipt.return_data)
            outcomes.append((result, failure, *facts, storages, dict(evm.ledger.balances)))
    return outcomes


def assert_same(evm: Evm, monkeypatch: pytest.MonkeyPatch, action: Callable[[], Any]) -> Any:
    fast, reference = both(evm, monkeypatch, action)
    assert fast == reference
    return fast


def run(evm: Evm, monkeypatch: pytest.MonkeyPatch, code: bytes, gas: int = 200_000) -> Any:
    evm.set_code(PROGRAM, code)
    data = bytes(range(1, 80))
    return assert_same(
        evm, monkeypatch, lambda: evm.transact(PROGRAM, data, gas=gas, value=3) and None
    )


@pytest.mark.parametrize("count", [1, 2, 3])
def test_instructions__on_interesting_words(
    evm: Evm, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """Every plain instruction on interesting words; its result is stored, so that it counts."""
    choose = random.Random(count)
    for opcode in TAKES[count]:
        # MSTORE at 0, RETURN 32 bytes
        store = b"" if opcode in WITHOUT_RESULT else bytes.fromhex("5f5260205ff3")
        for _ in range(30):
            words = b"".join(push(choose.choice(INTERESTING)) for _ in range(count))
            run(evm, monkeypatch, words + bytes([opcode]) + store)


def program(choose: random.Random) -> bytes:
    """A random program whose instructions mostly find their words on the stack."""
    code = bytearray()
    depth = 0
    for _ in range(choose.randrange(5, 60)):
        kind = choose.random()
        if kind < 0.35 or depth == 0:
            small = choose.choice([0, 1, 2, 32, 40, 64, 96, 100, 160])
            code += push(small if choose.random() < 0.92 else choose.choice(INTERESTING))
            depth += 1
        elif kind < 0.5:
            reach = choose.randrange(1, min(depth, 16) + 1 + (choose.random() < 0.005))
            swap = choose.random() < 0.4 and reach > 1
            code.append((0x90 + reach - 2) if swap else (0x80 + reach - 1))
            depth += 0 if swap else 1
        elif kind < 0.55:
            # a jump over an invalid instruction, taken or not
            code += push(choose.randrange(2))
            target = len(code) + 5
            code += bytes([0x61]) + target.to_bytes(2, "big") + b"\x57\xfe\x5b"
            if choose.random() < 0.7:
                code[-2] = 0x5B
        else:
            counts = [count for count in TAKES if count <= depth] or [0]
            count = choose.choice(counts)
            if count >= 15:
                # a call with a small input and output, to a contract or to nobody
                for word in (32, 0, 32, 0):
                    code += push(word)
                if count == 7:
                    code += push(choose.choice([0, 1]))
                code += push(choose.choice([int(CALLEE, 16), 0xDEAD, 4]))
                code += push(choose.choice([0, 1000, 100_000]))
                code.append(choose.choice(TAKES[count]))
                depth += 1
                continue
            opcode = choose.choice(TAKES[count])
            code.append(opcode)
            depth -= count - (opcode not in WITHOUT_RESULT)
    if depth and choose.random() < 0.6:
        code += b"\x5f\x52\x60\x40\x5f" + choose.choice([b"\xf3", b"\xfd"])
    return bytes(code)


@pytest.mark.parametrize("seed", range(10))
def test_programs__random(evm: Evm, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    choose = random.Random(seed)
    ended = 0
    for _ in range(100):
        evm.set_code(CALLEE, program(choose))
        gas = choose.choice([30_000, 60_000, 300_000])
        _, failure, *_ = run(evm, monkeypatch, program(choose), gas=gas)
        ended += failure is None or failure.startswith("0x")
    # programs that mostly stop early would compare little
    assert ended >= 25


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("01", "InsufficientStack"),
        ("5f01", "InsufficientStack"),
        ("80", "InsufficientStack"),
        ("5f90", "InsufficientStack"),
        ("5f54505f5f5f5f5f5f5f5f5f5f5f5f5f5f5f9f", "InsufficientStack"),
        ("5f56", "InvalidJumpDestination"),
        ("600456fe5f5b", "InvalidJumpDestination"),
        ("fe", "InvalidInstruction"),
        ("0c", "InvalidInstruction"),
        ("5b5f56", "OutOfGas"),  # a loop without end
        ("5b5f5f5f5f5f5f5f5f5f5f5f56", "FullStack"),
        ("63ffffffff51", "OutOfGas"),
        ("5f7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff52", "OutOfGas"),
        ("63ffffffff5f20", "OutOfGas"),
        ("63ffffffff5f5f39", "OutOfGas"),
        ("60205f5f3e", "OutOfBoundsRead"),
    ],
)
def test_faults(evm: Evm, monkeypatch: pytest.MonkeyPatch, code: str, fault: str) -> None:
    _, failure, *_ = run(evm, monkeypatch, bytes.fromhex(code))
    assert failure == fault


def test_jump__into_the_operand_of_a_push(evm: Evm, monkeypatch: pytest.MonkeyPatch) -> None:
    # PUSH1 4, JUMP, PUSH1 0x5b: the loops name the fault differently and agree on the rest
    evm.set_code(PROGRAM, bytes.fromhex("600456605b00"))
    fast, reference = both(evm, monkeypatch, lambda: evm.transact(PROGRAM) and None)

    assert (fast[1], reference[1]) == ("InvalidJumpDestination", "InvalidInstruction")
    assert fast[2:] == reference[2:]


def test_gas__running_out_at_every_point(evm: Evm, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token transfer with every gas limit that could matter ends alike."""
    token = evm.deploy("TestToken", "Token", "TKN", 18)
    lender, borrower = evm.account("lender"), evm.account("borrower")
    token.mint(lender, 100)
    failures = set()
    for gas in range(24_000, 52_000, 331):
        transfer = partial(token.transfer, borrower, 10, sender=lender, gas=gas)
        failures.add(assert_same(evm, monkeypatch, transfer)[1])
    assert failures == {None, "OutOfGas"}


def test_contracts__of_the_test_suite(evm: Evm, monkeypatch: pytest.MonkeyPatch) -> None:
    probe = evm.deploy("Probe", 3)
    blueprint = evm.deploy_blueprint("TestFeed")
    actions: list[Callable[[], Any]] = [
        lambda: probe.note("margin", -4),
        lambda: probe.recurse(5),
        lambda: probe.set_scratch(9),
        lambda: probe.fail("because"),
        lambda: probe.burn_gas(gas=300_000),
        lambda: probe.catch(probe, probe.fail_bare.encode()),
        lambda: probe.create(blueprint, 8, -5, bytes(32)),
        lambda: probe.echo_text.transact("text", bytes(50)).return_value,
        lambda: probe.sload_costs.transact().return_value,
        lambda: evm.deploy("HookToken", 18),
    ]
    for action in actions:
        assert_same(evm, monkeypatch, action)


def test_contracts__uniswap_v2(evm: Evm, monkeypatch: pytest.MonkeyPatch) -> None:
    lender = evm.account("lender")
    usdt = evm.deploy("UsdtLike", 6)
    token = evm.deploy("TestToken", "Token", "TKN", 18)
    factory = evm.deploy(load_npm_artifact("@uniswap/v2-core/build/UniswapV2Factory.json"), lender)
    assert_same(evm, monkeypatch, lambda: factory.createPair(token, usdt))
    factory.createPair(token, usdt)
    pair = evm.at(
        load_npm_artifact("@uniswap/v2-core/build/UniswapV2Pair.json"),
        evm.last.events("PairCreated")[0].pair,
    )
    token.mint(pair, 10**24)
    usdt.mint(pair, 10**12)
    assert_same(evm, monkeypatch, lambda: pair.mint(lender))
    pair.mint(lender)
    token.mint(pair, 10**18)
    out = (0, 990_000) if pair.token0() == token.address else (990_000, 0)
    _, failure, gas, *_ = assert_same(evm, monkeypatch, lambda: pair.swap(*out, lender, b""))
    assert failure is None
    assert gas > 60_000
    out = (0, 999_999) if pair.token0() == token.address else (999_999, 0)
    _, failure, *_ = assert_same(evm, monkeypatch, lambda: pair.swap(*out, lender, b""))
    assert failure == "UniswapV2: K"
