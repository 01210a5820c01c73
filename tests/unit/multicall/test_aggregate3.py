"""`Multicall.aggregate3`."""

from __future__ import annotations

from typing import Any

import pytest

from perpool.evm import Account, Contract, Evm, Struct, reverts

MAX_CALLS, MAX_CALL, MAX_ANSWER = 24, 2_048, 1_024
SELECTOR = bytes.fromhex("82ad56cb")
"""Of `aggregate3((address,bool,bytes)[])`, as Multicall3 has it."""


@pytest.fixture
def multicall(evm: Evm) -> Contract:
    return evm.deploy("Multicall")


@pytest.fixture
def probe(evm: Evm) -> Contract:
    return evm.deploy("Probe", 1)


@pytest.fixture
def caller(evm: Evm) -> Account:
    return evm.account("caller")


def reason(result: Struct) -> Any:
    """The text of a failed call's Error(string)."""
    data = result.returnData[4:]
    size = int.from_bytes(data[32:64], "big")
    return data[64 : 64 + size].decode()


# --- reverts


def test_aggregate3__with_ether(multicall: Contract, caller: Account) -> None:
    with reverts("no ether"):
        multicall.aggregate3([], value=1, sender=caller)


def test_aggregate3__a_call_that_has_to_succeed(
    multicall: Contract, probe: Contract, caller: Account
) -> None:
    """Nothing is done then, before it or after it."""
    calls = [
        (probe, False, probe.set_word.encode(1)),
        (probe, False, probe.fail.encode("no")),
        (probe, False, probe.set_word.encode(2)),
    ]
    with reverts("call failed"):
        multicall.aggregate3(calls, sender=caller)
    assert probe.word() == 0


def test_aggregate3__more_than_it_takes(
    multicall: Contract, probe: Contract, caller: Account
) -> None:
    call = (probe, False, probe.increment.encode(100))
    with reverts(""):
        multicall.aggregate3([call] * (MAX_CALLS + 1), sender=caller)
    with reverts(""):
        multicall.aggregate3([(probe, True, bytes(MAX_CALL + 1))], sender=caller)
    assert probe.count() == 0


def test_aggregate3__within_itself(multicall: Contract, probe: Contract, caller: Account) -> None:
    inner = multicall.aggregate3.encode([(probe, False, probe.increment.encode(100))])
    [result] = multicall.aggregate3([(multicall, True, inner)], sender=caller)
    assert tuple(result) == (False, b"")
    assert probe.count() == 0


# --- what it does


def test_aggregate3__has_multicall3_s_selector(multicall: Contract) -> None:
    assert multicall.aggregate3.encode([])[:4] == SELECTOR
    assert list(multicall.aggregate3([])) == []


def test_aggregate3__answers_in_order(
    multicall: Contract, probe: Contract, caller: Account
) -> None:
    calls = [
        (probe, False, probe.set_word.encode(5)),
        (probe, True, probe.fail.encode("not this one")),
        (probe, True, probe.set_word.encode(6)),
        (probe, False, probe.context.encode()),
        # as in Multicall3: there is no code to fail
        (caller, False, b"anything"),
    ]
    results = multicall.aggregate3(calls, sender=caller)
    assert [each.success for each in results] == [True, False, True, True, True]
    assert [int.from_bytes(results[n].returnData, "big") for n in (0, 2)] == [0, 5]
    assert reason(results[1]) == "not this one"
    # who is called sees the multicall
    assert results[3].returnData[12:32].hex() == multicall.address[2:].lower()
    assert results[4].returnData == b""
    assert probe.word() == 6


def test_aggregate3__takes_as_much_as_it_says(
    multicall: Contract, probe: Contract, caller: Account
) -> None:
    call = (probe, False, probe.increment.encode(100).ljust(MAX_CALL, b"\0"))
    results = multicall.aggregate3([call] * MAX_CALLS, sender=caller)
    assert len(results) == MAX_CALLS
    assert probe.count() == MAX_CALLS


def test_aggregate3__cuts_long_answers(
    evm: Evm, multicall: Contract, probe: Contract, caller: Account
) -> None:
    """A puppet's record of calls is far longer than what fits."""
    puppet = evm.deploy("Puppet")
    puppet.run([(probe, probe.context.encode(), True)] * 8)
    whole = evm.call(puppet.address, puppet.outcome.encode())
    assert len(whole) > MAX_ANSWER
    [result] = multicall.aggregate3([(puppet, False, puppet.outcome.encode())], sender=caller)
    assert result.returnData == whole[:MAX_ANSWER]


def test_aggregate3__one_that_burns_its_gas_leaves_some_for_the_rest(
    multicall: Contract, probe: Contract, caller: Account
) -> None:
    calls = [(probe, True, probe.burn_gas.encode()), (probe, True, probe.set_word.encode(9))]
    burnt, done = multicall.aggregate3(calls, sender=caller, gas=20_000_000)
    assert (burnt.success, done.success) == (False, True)
    assert probe.word() == 9
