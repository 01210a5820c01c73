"""The in-process EVM: values, events, failures, time, snapshots, gas."""

from enum import Enum
from typing import Any

import pytest
from eth_account.messages import encode_defunct
from eth_utils.crypto import keccak

from perpool.build import Artifact, project
from perpool.evm import STARTING_BALANCE, Contract, Event, Evm, Reverted, Struct, reverts
from perpool.evm.codec import checksum

ZERO = "0x" + 40 * "0"
STEP = 3
PROGRAM = "0x00000000000000000000000000000000000c0de0"


class Reason(Enum):
    """Reasons as an SDK would have them."""

    LIMIT = "limit too high"


@pytest.fixture
def probe(evm: Evm) -> Contract:
    return evm.deploy("Probe", STEP)


def run_code(evm: Evm, code: str, data: bytes = b"", **options: Any) -> int:
    """Put code at an address, call it in a transaction, give the gas used."""
    evm.set_code(PROGRAM, bytes.fromhex(code))
    return evm.transact(PROGRAM, data, **options).gas_used


def clock(probe: Contract) -> tuple[int, int, int]:
    """Time, number and chain that a contract sees."""
    context = probe.context()
    return context.timestamp, context.block_number, context.chain_id


# -- values --


def test_values__go_through_unchanged(evm: Evm, probe: Contract) -> None:
    who = evm.account("lender")

    assert probe.echo(True, -5, who, b"\1\2\3\4") == (True, -5, who.address, b"\1\2\3\4")
    assert probe.echo(False, -(2**127), probe, "0x01020304")[2] == probe.address
    assert probe.echo_text("grün", bytes(40)) == ("grün", bytes(40))
    assert probe.echo_text("", b"") == ("", b"")
    assert probe.nothing() is None


def test_values__structs_by_name_and_index(evm: Evm, probe: Contract) -> None:
    owner = evm.account("lender").address
    pair = probe.pair_of(owner)

    assert pair == (owner, STEP)
    assert (pair.owner, pair.share_amount, pair[1], pair["owner"]) == (owner, STEP, STEP, owner)
    assert pair.as_dict() == {"owner": owner, "share_amount": STEP}
    assert repr(pair) == f"(owner={owner!r}, share_amount={STEP})"
    with pytest.raises(AttributeError, match="no field 'debt' among owner, share_amount"):
        _ = pair.debt


def test_values__nested_structs_in_and_out(evm: Evm, probe: Contract) -> None:
    who = evm.account("lender")
    tag = keccak(b"tag")
    nests = [{"pair": {"owner": who, "share_amount": 7}, "tags": [tag, bytes(32)]}, ((who, 8), [])]

    first, second = probe.echo_nest(nests)
    assert (first.pair.owner, first.pair.share_amount, first.tags) == (
        who.address,
        7,
        [tag, bytes(32)],
    )
    assert second == ((who.address, 8), [])
    assert probe.echo_nest([first, second]) == [first, second]


def test_values__default_arguments_by_count_and_name(probe: Contract) -> None:
    assert probe.total(1) == 321
    assert probe.total(1, 2) == 303
    assert probe.total(1, 2, 3) == 6
    assert probe.total(a=1) == 321
    assert probe.total(1, c=5, b=4) == 10
    assert probe.total.select("total(uint256,uint256)")(1, 1) == 302


def test_values__wrong_arguments(probe: Contract) -> None:
    with pytest.raises(TypeError, match=r"wrong number of arguments for total\(uint256\) or"):
        probe.total()
    with pytest.raises(TypeError, match="takes the arguments a, b"):
        probe.total(1, c=5)
    with pytest.raises(ValueError, match="cannot encode"):
        probe.total(-1)
    with pytest.raises(ValueError, match="not an address"):
        probe.pair_of("0x1234")
    with pytest.raises(AttributeError, match="has no function 'totals'"):
        probe.totals()
    with pytest.raises(TypeError, match="the constructor of Probe takes"):
        probe.evm.deploy("Probe")


def test_encode__is_the_call_data(evm: Evm, probe: Contract) -> None:
    data = probe.total.encode(1, 2)

    assert data[:4] == keccak(text="total(uint256,uint256)")[:4]
    assert data[4:] == (1).to_bytes(32, "big") + (2).to_bytes(32, "big")
    assert int.from_bytes(evm.call(probe, data), "big") == 303


# -- calls and transactions --


def test_transaction__returns_and_keeps(probe: Contract) -> None:
    assert probe.set_word(5) == 0
    assert probe.set_word(6) == 5
    assert probe.evm.last.return_value == 5
    assert probe.word() == 6


def test_call__of_a_transaction_changes_nothing(evm: Evm, probe: Contract) -> None:
    probe.set_word(5)
    before = (evm.block_number, evm.timestamp, evm.nonce(evm.default), evm.last)

    assert probe.set_word.call(6) == 5
    assert probe.word() == 5
    assert (evm.block_number, evm.timestamp, evm.nonce(evm.default), evm.last) == before


def test_transact__of_a_view_has_a_receipt(probe: Contract) -> None:
    receipt = probe.total.transact(1)
    assert (receipt.success, receipt.return_value) == (True, 321)
    assert receipt.gas_used > 21_000


def test_view__is_static(evm: Evm, probe: Contract) -> None:
    disguised = [{**entry, "stateMutability": "view"} for entry in probe.abi if "name" in entry]
    with reverts("WriteProtection"):
        evm.at(disguised, probe).set_word(1)


def test_sender__default_and_given(evm: Evm, probe: Contract) -> None:
    lender = evm.account("lender")

    assert probe.context()[:2] == (evm.default.address, evm.default.address)
    assert probe.context(sender=lender)[:2] == (lender.address, lender.address)
    assert probe.OWNER() == evm.default.address
    # contracts may send as well
    assert probe.context(sender=probe).caller == probe.address


def test_value__moves_ether(evm: Evm, probe: Contract) -> None:
    lender = evm.account("lender")

    assert probe.deposit(sender=lender, value=7) == 7
    evm.transact(probe, value=5, sender=lender)
    assert evm.balance(probe) == probe.received() == 12
    assert evm.balance(lender) == STARTING_BALANCE - 12
    with pytest.raises(ValueError, match="has less than"):
        evm.transact(probe, value=2**100, sender=lender)


def test_transient_storage__ends_with_the_transaction(evm: Evm, probe: Contract) -> None:
    assert probe.set_scratch(9) == 0
    assert probe.set_scratch(8) == 0
    with evm.same_block():
        assert probe.set_scratch(7) == 0
        assert probe.set_scratch(6) == 0


def test_state__is_read_and_written_directly(evm: Evm, probe: Contract) -> None:
    slot = probe.artifact.storage_layout["storage_layout"]["word"]["slot"] if probe.artifact else 0
    evm.set_storage(probe, slot, 77)

    assert (probe.word(), evm.storage(probe, slot)) == (77, 77)
    evm.set_code(PROGRAM, evm.code(probe))
    assert evm.at("Probe", PROGRAM).OWNER() == evm.default.address
    evm.set_balance(PROGRAM, 123)
    assert evm.balance(PROGRAM) == 123


def test_account__is_deterministic_and_signs(evm: Evm) -> None:
    lender = evm.account("lender")

    assert lender is evm.account("lender")
    assert lender.address == Evm().account("lender").address
    assert lender.address != evm.account("borrower").address
    signed = lender.key.sign_message(encode_defunct(text="hello"))
    assert len(signed.signature) == 65
    assert len({account.address for account in evm.accounts}) == 10


def test_deploy__at_the_address_of_sender_and_nonce(evm: Evm) -> None:
    # address of the first contract of a well-known sender, from public chain data
    sender = "0x6ac7ea33f8831ea9dcc53393aaa88b25a785dbf0"
    assert evm.nonce(sender) == 0
    first = evm.deploy("TestFeed", 8, 1, sender=sender)
    assert first.address == checksum(bytes.fromhex("cd234a471b72ba2f1ccf0a70fcaba648a5eecd8d"))
    assert evm.nonce(sender) == 1


def test_deploy__with_value(evm: Evm) -> None:
    assert evm.balance(evm.deploy("Probe", 1, value=5)) == 5


def test_deploy__constructor_reverts(evm: Evm) -> None:
    with reverts("zero step"):
        evm.deploy("Probe", 0)


def test_deploy__over_the_code_size_limit(evm: Evm) -> None:
    # return a runtime code of 24,576 bytes, and of one more
    def initcode(size: int) -> bytes:
        return b"\x62" + size.to_bytes(3, "big") + bytes.fromhex("5ff3")

    evm.deploy(Artifact("Largest", "", [], initcode(24_576), b""))
    with reverts("OutOfGas") as caught:
        evm.deploy(Artifact("TooLarge", "", [], initcode(24_577), b""))
    assert "EIP170" in str(caught[0])


def test_deploy__over_the_initcode_size_limit(evm: Evm) -> None:
    evm.deploy(Artifact("Largest", "", [], bytes(49_152), b""))
    with reverts("OutOfGas") as caught:
        evm.deploy(Artifact("TooLarge", "", [], bytes(49_153), b""))
    assert "EIP-3860" in str(caught[0])


def test_blueprint__makes_contracts(evm: Evm, probe: Contract) -> None:
    blueprint = evm.deploy_blueprint("TestFeed")

    address = probe.create(blueprint, 8, -5, keccak(b"salt"))
    feed = evm.at("TestFeed", address)
    assert (feed.decimals(), feed.latestAnswer()) == (8, -5)
    assert feed != probe
    assert feed == evm.at("TestFeed", address)


# -- events --


def test_events__are_decoded(evm: Evm, probe: Contract) -> None:
    lender = evm.account("lender")
    probe.note("margin", -4, sender=lender)

    (event,) = evm.last.logs
    assert (event.name, event.address) == ("Noted", probe.address)
    assert event.args.who == event.who == lender.address
    assert event.topic == keccak(text="margin")  # an indexed text is there as its hash
    assert event.delta == -4
    assert event.pair.share_amount == STEP
    assert event == Event("Noted", Struct(("who",), event.args), probe.address)


def test_events__by_name_and_emitter(evm: Evm) -> None:
    lender, borrower = evm.account("lender"), evm.account("borrower")
    token = evm.deploy("FeeToken", 18, 100)
    token.mint(lender, 1000)
    token.transfer(borrower, 1000, sender=lender)

    assert [event.value for event in evm.last.events("Transfer")] == [990, 10]
    assert len(evm.last.events("Transfer", token)) == 2
    assert evm.last.events("Transfer", lender) == []
    assert evm.last.events("Approval") == []


def test_events__of_a_contract_that_is_not_known(evm: Evm) -> None:
    run_code(evm, "600160025fa100")  # LOG1 of two bytes, topic 1

    (event,) = evm.last.logs
    assert (event.name, event.topics, event.data) == ("", (1,), bytes(2))


def test_events__of_a_reverted_transaction_are_gone(evm: Evm, probe: Contract) -> None:
    with reverts():
        evm.transact(probe, probe.note.encode("x" * 33, 0))
    assert evm.last.logs == []


def test_events__unnamed_arguments_are_numbered(evm: Evm) -> None:
    inputs = [
        {"name": "", "type": "uint256", "indexed": False},
        {"name": "second", "type": "uint256", "indexed": False},
    ]
    evm.at([{"type": "event", "name": "Bare", "inputs": inputs, "anonymous": False}], PROGRAM)
    topic = keccak(text="Bare(uint256,uint256)").hex()
    run_code(evm, f"60055f526006602052 7f{topic} 60405fa100".replace(" ", ""))

    assert evm.last.logs[0].args.as_dict() == {"_0": 5, "second": 6}


# -- failures --


def test_revert__has_its_reason_and_undoes(evm: Evm, probe: Contract) -> None:
    with pytest.raises(Reverted) as caught:
        probe.fail("insufficient collateral")
    assert caught.value.reason == "insufficient collateral"
    assert caught.value.data[:4] == bytes.fromhex("08c379a0")
    assert probe.word() == 0
    assert not evm.last.success
    assert evm.nonce(evm.default) == 2  # of deployment and failure


def test_revert__kinds(evm: Evm, probe: Contract) -> None:
    error = [{"type": "error", "name": "TooLate", "inputs": [{"name": "at", "type": "uint256"}]}]
    evm.at(error, probe)
    too_late = keccak(text="TooLate(uint256)")[:4] + (7).to_bytes(32, "big")
    panic = keccak(text="Panic(uint256)")[:4] + (0x11).to_bytes(32, "big")

    with reverts(""):
        probe.fail_bare()
    with reverts("TooLate") as caught:
        probe.fail_raw(too_late)
    assert caught[0].data == too_late
    with reverts("panic 0x11"):
        probe.fail_raw(panic)
    with reverts("0x1234"):
        probe.fail_raw(b"\x12\x34")
    with reverts("OutOfGas"):
        probe.burn_gas(gas=100_000)
    with reverts("InvalidInstruction"):
        run_code(evm, "fe")


def test_reverts__is_exact(probe: Contract) -> None:
    with reverts(Reason.LIMIT):
        probe.fail_view(10)
    with reverts("limit too high"):
        probe.fail_view(10)
    with reverts():
        probe.fail_view(10)


@pytest.mark.parametrize("expected", ["limit", "limit too high!", ""])
def test_reverts__with_another_reason_fails(probe: Contract, expected: str) -> None:
    message = "reverted with 'limit too high', not"
    with pytest.raises(AssertionError, match=message), reverts(expected):
        probe.fail_view(10)


def test_reverts__without_a_revert_fails(probe: Contract) -> None:
    message = "did not revert with 'limit too high'"
    with pytest.raises(AssertionError, match=message), reverts("limit too high"):
        probe.fail_view(9)


def test_inner_failure__leaves_the_outer_call_whole(probe: Contract) -> None:
    probe.set_word(4)

    succeeded, word = probe.catch(probe, probe.fail.encode("x")[:36])
    assert (succeeded, word) == (False, 4)
    assert probe.catch(probe, probe.set_word.encode(9)) == (True, 9)


def test_gas_limit__below_the_call_data(evm: Evm) -> None:
    with pytest.raises(ValueError, match="does not cover"):
        evm.transact(PROGRAM, b"\1" * 100, gas=21_000)
    with pytest.raises(ValueError, match="does not cover"):
        evm.transact(PROGRAM, gas=20_999)


# -- time --


def test_blocks__one_for_each_transaction(probe: Contract) -> None:
    evm = probe.evm
    number, time = evm.block_number, evm.timestamp

    probe.set_word(1)
    assert (evm.block_number, evm.timestamp) == (number + 1, time + 12)
    assert clock(probe) == (time + 12, number + 1, 31_337)
    with reverts():
        probe.fail_bare()
    assert (evm.block_number, evm.timestamp) == (number + 2, time + 24)
    assert (evm.last.block_number, evm.last.timestamp) == (number + 2, time + 24)


def test_blocks__spacing_is_a_parameter() -> None:
    evm = Evm(spacing=2, timestamp=1000, block_number=50, chain_id=1)
    probe = evm.deploy("Probe", 1)

    assert clock(probe) == (1000, 50, 1)
    probe.set_word(1)
    assert clock(probe) == (1002, 51, 1)


def test_warp__is_where_the_next_transaction_goes(probe: Contract) -> None:
    evm = probe.evm
    number, time = evm.block_number, evm.timestamp

    evm.warp(1000)
    assert clock(probe)[:2] == (time + 1000, number + 1)
    probe.set_word(1)
    assert (evm.timestamp, evm.block_number) == (time + 1000, number + 1)
    probe.set_word(2)
    assert (evm.timestamp, evm.block_number) == (time + 1012, number + 2)
    with pytest.raises(ValueError, match="backwards"):
        evm.warp(-1)


def test_mine__goes_on_by_blocks(probe: Contract) -> None:
    evm = probe.evm
    number, time = evm.block_number, evm.timestamp

    evm.mine(3)
    assert (evm.block_number, evm.timestamp) == (number + 3, time + 36)
    probe.set_word(1)
    assert (evm.block_number, evm.timestamp) == (number + 3, time + 36)


def test_same_block__shares_number_and_time(probe: Contract) -> None:
    evm = probe.evm
    number, time = evm.block_number, evm.timestamp

    with evm.same_block():
        assert (evm.block_number, evm.timestamp) == (number + 1, time + 12)
        probe.set_word(1)
        with reverts():
            probe.fail_bare()
        probe.set_word(2)
        assert (evm.block_number, evm.timestamp) == (number + 1, time + 12)
        with pytest.raises(RuntimeError, match="time stands still"):
            evm.warp(1)
    probe.set_word(3)
    assert (evm.block_number, evm.timestamp) == (number + 2, time + 24)


def test_same_block__takes_the_block_that_warp_opened(probe: Contract) -> None:
    evm = probe.evm
    time = evm.timestamp

    evm.warp(100)
    with evm.same_block():
        probe.set_word(1)
        probe.set_word(2)
        assert evm.timestamp == time + 100


# -- snapshots --


def test_anchor__undoes_everything(evm: Evm, probe: Contract) -> None:
    lender = evm.account("lender")
    probe.set_word(5)
    last = evm.last
    before = (evm.block_number, evm.timestamp, evm.nonce(evm.default), evm.balance(lender))

    with evm.anchor():
        probe.set_word(6)
        probe.increment(100)
        evm.set_storage(probe, 100, 1)
        evm.set_code(PROGRAM, b"\0")
        probe.deposit(value=3, sender=lender)
        other = evm.deploy("Probe", 1)
        evm.warp(1000)
    assert (probe.word(), probe.count()) == (5, 0)
    assert (evm.storage(probe, 100), evm.code(PROGRAM), evm.code(other)) == (0, b"", b"")
    after = (evm.block_number, evm.timestamp, evm.nonce(evm.default), evm.balance(lender))
    assert after == before
    assert evm.last is last


def test_anchor__nests(evm: Evm, probe: Contract) -> None:
    with evm.anchor():
        probe.set_word(1)
        for word in range(2, 5):
            with evm.anchor():
                assert probe.set_word(word) == 1
        assert probe.word() == 1
    assert probe.word() == 0


def test_anchor__undoes_after_an_error(evm: Evm, probe: Contract) -> None:
    def fail_in_an_anchor() -> None:
        with evm.anchor():
            probe.set_word(1)
            raise LookupError

    with pytest.raises(LookupError):
        fail_in_an_anchor()
    assert probe.word() == 0


def test_anchor__left_in_the_wrong_order() -> None:
    evm = Evm()
    outer, inner = evm.anchor(), evm.anchor()
    outer.__enter__()
    inner.__enter__()

    with pytest.raises(RuntimeError, match="reverse order"):
        outer.__exit__(None, None, None)
    inner.__exit__(None, None, None)


def test_anchor__named_accounts_stay_funded(evm: Evm) -> None:
    with evm.anchor():
        newcomer = evm.account("newcomer of this test")
        evm.transact(PROGRAM, value=5, sender=newcomer)
    assert evm.balance(newcomer) == STARTING_BALANCE


def test_without_anchor__the_journal_stays_short() -> None:
    evm = Evm()
    probe = evm.deploy("Probe", 1)
    for word in range(1, 20):
        probe.set_word(word)
    assert len(evm.ledger.journal) < 20


# -- gas, against the figures of the yellow paper and the EIPs --


def test_gas__plain_transfer(evm: Evm) -> None:
    assert evm.transact(evm.account("lender"), value=1).gas_used == 21_000


def test_gas__call_data(evm: Evm) -> None:
    # to an account without code only the floor of EIP-7623 counts: 10 and 40 a byte
    assert evm.transact(PROGRAM, bytes(100)).gas_used == 21_000 + 100 * 10
    assert evm.transact(PROGRAM, b"\1" * 100).gas_used == 21_000 + 100 * 40
    # a contract that works enough pays 4 and 16: here for 1000 hashes of nothing
    loop = "6103e85b5f5f2050600190038060035700"
    busy = run_code(evm, loop)
    assert busy > 21_000 + 100 * 40
    assert run_code(evm, loop, b"\1" * 100) == busy + 100 * 16
    assert run_code(evm, loop, bytes(100)) == busy + 100 * 4


def test_gas__cold_and_warm_slots(evm: Evm) -> None:
    assert run_code(evm, "5f54") == 21_000 + 2 + 2100
    assert run_code(evm, "5f545f54") == 21_000 + 2 + 2100 + 2 + 100
    # cold again in the next transaction, also in the same block
    with evm.same_block():
        assert run_code(evm, "5f54") == 21_000 + 2 + 2100
        assert run_code(evm, "5f54") == 21_000 + 2 + 2100


def test_gas__cold_and_warm_slots_of_a_contract(probe: Contract) -> None:
    cold, warm = probe.sload_costs()
    assert 2000 <= cold - warm < 2010  # the slot, and how the compiler moves the two values


def test_gas__calls_are_as_cold_as_transactions(probe: Contract) -> None:
    assert probe.sload_costs() == probe.sload_costs() == probe.sload_costs.transact().return_value


def test_gas__storage_writes_and_refunds(evm: Evm) -> None:
    set_to_1, clear, set_to_2 = "60015f55", "5f5f55", "60025f55"

    assert run_code(evm, set_to_1) == 21_000 + 5 + 2100 + 20_000
    assert run_code(evm, set_to_1) == 21_000 + 5 + 2100 + 100
    assert run_code(evm, set_to_2) == 21_000 + 5 + 2100 + 2900
    # clearing gives back 4800, but at most a fifth of what was used
    assert run_code(evm, clear) == 21_000 + 4 + 2100 + 2900 - 4800
    # set and cleared in one transaction: 19,900 back, a fifth of it all at most
    used = 21_000 + 5 + 2100 + 20_000 + 4 + 100
    assert run_code(evm, set_to_1 + clear) == used - used // 5


def test_gas__cold_and_warm_accounts(evm: Evm) -> None:
    other = "73" + "ab" * 20 + "31"
    assert run_code(evm, other) == 21_000 + 3 + 2600
    assert run_code(evm, other + other) == 21_000 + 3 + 2600 + 3 + 100
    # the contract itself, the sender, the block builder and precompiles are warm
    assert run_code(evm, "3031") == 21_000 + 2 + 100
    assert run_code(evm, "3331") == 21_000 + 2 + 100
    assert run_code(evm, "4131") == 21_000 + 2 + 100
    assert run_code(evm, "600131") == 21_000 + 3 + 100


def test_gas__memory_and_hash(evm: Evm) -> None:
    # 1024 words: 3 each, and 1024^2 / 512
    assert run_code(evm, "5f617fe052") == 21_000 + 2 + 3 + 3 + 3 * 1024 + 2048
    assert run_code(evm, "60405f20") == 21_000 + 3 + 2 + 30 + 2 * 6 + 2 * 3


def test_gas__transient_storage(evm: Evm) -> None:
    assert run_code(evm, "60015f5d5f5c") == 21_000 + 5 + 100 + 2 + 100


def test_gas__creation(evm: Evm) -> None:
    # an init code of five bytes that leaves 32 bytes of zeroes: none of its own bytes is zero
    initcode = bytes.fromhex("60205ff3")
    evm.deploy(Artifact("Zeroes", "", [], initcode, b""))
    intrinsic = 21_000 + 32_000 + 4 * 16 + 2
    assert evm.last.gas_used == intrinsic + 3 + 2 + 3 + 32 * 200


def test_gas__of_a_refused_transaction(evm: Evm) -> None:
    with reverts("InvalidInstruction"):
        run_code(evm, "fe", gas=500_000)
    assert evm.last.gas_used == 500_000
    with reverts(""):
        run_code(evm, "5f5ffd", gas=500_000)
    assert evm.last.gas_used == 21_000 + 4


def test_gas__typical_token_transfer(evm: Evm) -> None:
    """Between the usual figures of ERC-20s: 51,000 to a new holder, 34,000 to an old one."""
    lender, borrower = evm.account("lender"), evm.account("borrower")
    for name, arguments in (("TestToken", ("Token", "TKN", 18)), ("UsdtLike", (6,))):
        token = evm.deploy(name, *arguments)
        token.mint(lender, 10**18)
        token.transfer(borrower, 10**9, sender=lender)
        assert 50_000 < evm.last.gas_used < 52_000
        token.transfer(borrower, 10**9, sender=lender)
        assert 33_000 < evm.last.gas_used < 35_000


# -- tracers --


class _Recorder:
    def __init__(self) -> None:
        self.steps: list[tuple[int, int]] = []
        self.depths: list[int] = []

    def enter(self, computation: Any) -> Any:
        self.depths.append(computation.msg.depth)
        if computation.msg.depth:
            return None
        return lambda pc, opcode: self.steps.append((pc, opcode))


def test_tracer__sees_every_instruction(evm: Evm, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = _Recorder()
    monkeypatch.setattr(evm, "trace", [recorder])

    run_code(evm, "6001600b57fe00000000005b5f54")
    jump = [(0, 0x60), (2, 0x60), (4, 0x57), (11, 0x5B)]
    assert recorder.steps == [*jump, (12, 0x5F), (13, 0x54), (14, 0x00)]


def test_tracer__changes_nothing(evm: Evm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evm, "trace", [_Recorder()])

    assert run_code(evm, "5f545f54") == 21_000 + 2 + 2100 + 2 + 100
    with reverts("OutOfGas"):
        run_code(evm, "5b5f56", gas=50_000)
    assert evm.last.gas_used == 50_000


def test_tracer__sees_every_frame(
    evm: Evm, probe: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = _Recorder()
    monkeypatch.setattr(Evm, "tracers", [recorder])

    probe.recurse(3)
    assert recorder.depths == [0, 1, 2, 3]
    assert len(recorder.steps) > 50


# -- the tokens of the tests --


@pytest.fixture
def usdt(evm: Evm) -> Contract:
    return evm.deploy("UsdtLike", 6)


def test_usdt_like__returns_nothing(evm: Evm, usdt: Contract) -> None:
    lender, borrower = evm.account("lender"), evm.account("borrower")
    usdt.mint(lender, 100)

    usdt.transfer(borrower, 40, sender=lender)
    assert evm.last.return_data == b""
    usdt.approve(borrower, 30, sender=lender)
    assert evm.last.return_data == b""
    usdt.transferFrom(lender, borrower, 30, sender=borrower)
    assert evm.last.return_data == b""
    assert (usdt.balanceOf(lender), usdt.balanceOf(borrower)) == (30, 70)
    assert (usdt.allowance(lender, borrower), usdt.decimals()) == (0, 6)
    (event,) = evm.last.events("Transfer")
    assert (event.sender, event.receiver, event.value) == (lender.address, borrower.address, 30)


def test_usdt_like__allowance_only_from_and_to_zero(evm: Evm, usdt: Contract) -> None:
    lender = evm.account("lender")

    usdt.approve(PROGRAM, 5, sender=lender)
    with reverts("allowance not zero"):
        usdt.approve(PROGRAM, 6, sender=lender)
    usdt.approve(PROGRAM, 0, sender=lender)
    usdt.approve(PROGRAM, 6, sender=lender)
    assert usdt.allowance(lender, PROGRAM) == 6


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("UsdtLike", (6,)),
        ("TestToken", ("Token", "TKN", 24)),
        ("FeeToken", (18, 0)),
        ("HookToken", (18,)),
    ],
)
def test_tokens__limits(evm: Evm, name: str, arguments: tuple[Any, ...]) -> None:
    lender, borrower = evm.account("lender"), evm.account("borrower")
    token = evm.deploy(name, *arguments)
    token.mint(lender, 100)
    assert token.totalSupply() == 100

    with reverts("insufficient balance"):
        token.transfer(borrower, 101, sender=lender)
    with reverts("insufficient allowance"):
        token.transferFrom(lender, borrower, 1, sender=borrower)
    token.approve(borrower, 2**256 - 1, sender=lender)
    token.transferFrom(lender, borrower, 60, sender=borrower)
    assert token.allowance(lender, borrower) == 2**256 - 1
    token.transfer(borrower, 40, sender=lender)
    assert token.balanceOf(borrower) == 100
    token.transfer(borrower, 100, sender=borrower)
    assert token.balanceOf(borrower) == 100


@pytest.mark.parametrize("decimals", [0, 6, 18, 24, 30])
def test_test_token__decimals(evm: Evm, decimals: int) -> None:
    token = evm.deploy("TestToken", "Token", "TKN", decimals)
    assert (token.name(), token.symbol(), token.decimals()) == ("Token", "TKN", decimals)


def test_fee_token__takes_its_share(evm: Evm) -> None:
    lender, borrower = evm.account("lender"), evm.account("borrower")
    token = evm.deploy("FeeToken", 18, 250)
    token.mint(lender, 10_000)

    token.transfer(borrower, 10_000, sender=lender)
    assert (token.balanceOf(borrower), token.balanceOf(token)) == (9750, 250)
    with reverts("fee too high"):
        token.set_fee(10_001)


def test_hook_token__calls_before_and_after(evm: Evm) -> None:
    lender, borrower = evm.account("lender"), evm.account("borrower")
    token = evm.deploy("HookToken", 18)
    recorder = evm.deploy(project().compile_source(HOOK, "Hook"), token)
    token.mint(lender, 100)
    token.set_hook(recorder, sender=borrower)

    token.transfer(borrower, 30, sender=lender)
    seen = [(event.moment, event.balance) for event in evm.last.events("Seen")]
    assert seen == [("before", 0), ("after", 30)]
    token.set_hook(ZERO, sender=borrower)
    token.set_hook_of(lender, recorder)
    token.transfer(borrower, 10, sender=lender)
    assert [event.balance for event in evm.last.events("Seen")] == [30, 40]


HOOK = """
# pragma version 0.4.3
from ethereum.ercs import IERC20

event Seen:
    moment: String[8]
    balance: uint256

token: IERC20

@deploy
def __init__(token: IERC20):
    self.token = token

@external
def before_transfer(owner: address, receiver: address, token_amount: uint256):
    log Seen(moment="before", balance=staticcall self.token.balanceOf(receiver))

@external
def after_transfer(owner: address, receiver: address, token_amount: uint256):
    log Seen(moment="after", balance=staticcall self.token.balanceOf(receiver))
"""


def test_test_feed__keeps_answer_and_time_in_one_word(evm: Evm) -> None:
    feed = evm.deploy("TestFeed", 18, 5 * 10**18)
    assert feed.latestRoundData() == (1, 5 * 10**18, evm.timestamp, evm.timestamp, 1)
    assert feed.decimals() == 18

    feed.set_at(-7, 1000)
    assert feed.latestRoundData() == (1, -7, 1000, 1000, 1)
    feed.set(2**191 - 1)
    assert feed.latestAnswer() == 2**191 - 1
    assert feed.latestRoundData()[3] == evm.timestamp
    feed.set(-(2**191))
    assert feed.latestAnswer() == -(2**191)
    with reverts():
        feed.set(2**191)
    with reverts():
        feed.set_at(1, 2**64)
