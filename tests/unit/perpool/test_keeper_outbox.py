"""What an outbox decides, without a chain: next steps, contents of transactions, announcements."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from eth_account import Account
from eth_utils.crypto import keccak

from perpool.keeper.model import Intent, Parcel
from perpool.keeper.transactions.announcement import NOTE_BYTES, read_note, write_note
from perpool.keeper.transactions.batches import AGGREGATE, BATCH_BYTES, BATCH_CALLS, choose, compose
from perpool.keeper.transactions.fees import GWEI, FeePolicy, Fees
from perpool.keeper.transactions.model import Attempt, Mined, State, Transaction
from perpool.keeper.transactions.steps import (
    Abandon,
    Displace,
    Fill,
    Finish,
    Hold,
    Land,
    Rebroadcast,
    Reopen,
    Rules,
    Send,
    Step,
    View,
    Wait,
    is_in_flight,
    next_step,
)

KEY = Account.from_key(32 * b"\x07")
ME = KEY.address
TARGET = "0x" + 40 * "2"
MULTICALL = "0x" + 40 * "3"
NOW = 1_000_000
PATIENCE = 45
RULES = Rules(FeePolicy(max_fee=100 * GWEI, min_tip=GWEI, max_tip=3 * GWEI), 5, PATIENCE)
FEES = Fees(42 * GWEI, 2 * GWEI)
RAISED = Fees(189 * GWEI // 4, 9 * GWEI // 4)
RECEIPT = Mined("0xa1", 95, "0xb95", success=True)


def parcel(subject: str = "ADA", data: bytes = b"call") -> Parcel:
    return Parcel((Intent("price", subject, 1),), TARGET, data)


def attempt(**changes: object) -> Attempt:
    return replace(Attempt("0xa1", b"raw", FEES, NOW, "accepted"), **changes)  # type: ignore[arg-type]


def signed_raw(**changes: object) -> str:
    fields = {
        "type": 2,
        "chainId": 31_337,
        "nonce": 7,
        "to": TARGET,
        "data": b"call",
        "gas": 50_000,
        "maxFeePerGas": FEES.max_fee,
        "maxPriorityFeePerGas": FEES.tip,
    }
    return bytes(KEY.sign_transaction(fields | changes).raw_transaction).hex()


def transaction(state: State = "sent", **changes: object) -> Transaction:
    """The first of the lane, with nonce 7 unless it is only planned."""
    planned = state == "planned"
    made = Transaction(
        id=1,
        state=state,
        planned_at=NOW,
        expires_at=NOW + 600,
        sender=None if planned else ME,
        nonce=None if planned else 7,
        gas=None if planned else 21_000,
        mined=RECEIPT if state == "mined" else None,
        displaced_at=95 if state == "displaced" else None,
        reason="",
        parcels=(parcel(),),
        attempts=() if planned else (attempt(),),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def step(made: Transaction, **changes: object) -> Step:
    """At block 100, seven transactions mined, base fee 20 gwei, tips of 2."""
    view = View(
        now=NOW,
        head=100,
        nonce=7,
        mined=None,
        known=True,
        base_fee=20 * GWEI,
        tip=2 * GWEI,
        offered=made.attempts[-1].fees if made.attempts else None,
        ours=True,
        others=(),
    )
    return next_step(made, replace(view, **changes), RULES)  # type: ignore[arg-type]


# -- planned --


def test_planned__sent_with_the_next_nonce() -> None:
    assert step(transaction("planned")) == Send(7, FEES)


def test_planned__over_the_cap() -> None:
    assert step(transaction("planned"), base_fee=101 * GWEI) == Hold()


def test_planned__in_the_place_of_what_expired() -> None:
    old = transaction(expires_at=NOW)
    new = transaction("planned", id=2)
    assert step(new, others=[old], offered=FEES) == Send(7, RAISED)
    assert step(old, others=[new]) == Wait()


def test_planned__waits_for_what_came_back() -> None:
    old, new = transaction(), transaction("planned", id=2)
    assert step(new, others=[old]) == Wait()
    assert step(old, others=[new], known=False) == Rebroadcast()


def test_planned__expired() -> None:
    assert step(transaction("planned"), now=NOW + 599) == Send(7, FEES)
    assert isinstance(step(transaction("planned"), now=NOW + 600), Abandon)


def test_planned__to_fill_a_gap_that_is_none_any_more() -> None:
    filler = transaction("planned", id=2, parcels=(), expires_at=None)
    assert step(filler, others=[transaction(nonce=8)]) == Send(7, FEES)
    assert isinstance(step(filler, others=[]), Abandon)
    assert isinstance(step(filler, others=[transaction(nonce=8)], nonce=9), Abandon)
    another = transaction("planned", id=3)
    assert isinstance(step(filler, others=[transaction(nonce=7), another]), Abandon)


def test_planned__does_not_fill_the_gap_that_it_waits_for() -> None:
    stuck, content = transaction(id=1, nonce=8), transaction("planned", id=2)
    filler = transaction("planned", id=3, parcels=(), expires_at=None)
    late = NOW + PATIENCE
    assert step(stuck, others=[content], now=late) == Fill()
    assert step(filler, others=[stuck, content], now=late) == Send(7, FEES)
    assert step(content, others=[stuck, filler], now=late) == Wait()


def test_planned__does_not_take_the_place_of_what_expired_before_something_urgent() -> None:
    expired, urgent = transaction(id=1, expires_at=NOW), transaction(id=2, nonce=8)
    content = transaction("planned", id=3)
    late = NOW + PATIENCE
    assert step(content, others=[expired, urgent], now=late) == Wait()
    assert step(expired, others=[urgent, content], now=late) == Fill()
    assert step(urgent, others=[expired, content], now=late) == Wait()


# -- sent --


@pytest.mark.parametrize(
    ("waited", "known", "expected"),
    [
        (PATIENCE - 1, True, Wait()),
        (PATIENCE - 1, False, Rebroadcast()),
        (PATIENCE, True, Send(7, RAISED)),
        (PATIENCE, False, Send(7, RAISED)),
    ],
)
def test_sent__waiting(waited: int, known: bool, expected: Step) -> None:
    assert step(transaction(), now=NOW + waited, known=known) == expected


def test_sent__patience_is_with_the_newest_attempt() -> None:
    made = transaction(attempts=(attempt(made_at=NOW - 100), attempt(hash="0xa2")))
    assert step(made) == Wait()


def test_planned__in_the_place_of_what_was_offered_near_the_cap() -> None:
    # which the pools may have forgotten long ago, so an ordinary offer is worth a try
    made = transaction("planned", id=2)
    assert step(made, offered=Fees(95 * GWEI, GWEI)) == Send(7, FEES)
    assert step(made, offered=Fees(95 * GWEI, GWEI), base_fee=101 * GWEI) == Hold()


@pytest.mark.parametrize(("known", "expected"), [(True, Hold()), (False, Rebroadcast(held=True))])
@pytest.mark.parametrize("changes", [{"offered": Fees(95 * GWEI, GWEI)}, {"base_fee": 101 * GWEI}])
def test_sent__at_the_cap(known: bool, expected: Step, changes: dict[str, object]) -> None:
    assert step(transaction(), now=NOW + PATIENCE, known=known, **changes) == expected


def test_sent__underpriced_does_not_wait() -> None:
    made = transaction(attempts=(attempt(answer="underpriced"),))
    assert step(made, known=False) == Send(7, RAISED)


def test_sent__short_of_funds_is_not_raised() -> None:
    made = transaction(attempts=(attempt(answer="insufficient funds"),))
    assert step(made, now=NOW + PATIENCE, known=False) == Rebroadcast()


def test_sent__mined() -> None:
    assert step(transaction(), mined=RECEIPT, nonce=8) == Land(RECEIPT)
    assert step(transaction(), mined=replace(RECEIPT, block=101), nonce=8) == Wait()


def test_sent__displaced() -> None:
    assert step(transaction(), nonce=8) == Displace()


@pytest.mark.parametrize(("late", "expected"), [(0, Wait()), (44, Wait()), (45, Fill())])
def test_sent__expired(late: int, expected: Step) -> None:
    assert step(transaction(), now=NOW + 600 + late, known=False) == expected


def test_sent__superseded_is_left_to_its_successor() -> None:
    old, new = transaction(expires_at=NOW), transaction(id=2)
    assert step(old, others=[new], now=NOW + 100, known=False) == Wait()
    assert step(new, others=[old], now=NOW + 100, known=False) == Send(7, RAISED)


def test_sent__with_a_gap_before_it() -> None:
    made = transaction(nonce=8)
    assert step(made, known=True) == Wait()
    assert step(made, known=False) == Rebroadcast()
    assert step(made, now=NOW + PATIENCE) == Fill()
    # which somebody else goes for
    before = transaction(id=2, nonce=7)
    filler = transaction("planned", id=2, parcels=())
    for other in (before, filler):
        assert step(made, now=NOW + PATIENCE, others=[other]) == Wait()
    assert step(made, now=NOW + PATIENCE, others=[transaction(id=2, nonce=9)]) == Fill()


def test_sent__a_filler_is_raised_like_others_and_gives_way() -> None:
    filler = transaction(parcels=(), expires_at=None)
    assert not is_in_flight(filler, NOW)
    assert step(filler, now=NOW + PATIENCE) == Send(7, RAISED)
    assert step(filler, others=[transaction("planned", id=2)], now=NOW + PATIENCE) == Wait()


# -- mined, displaced --


@pytest.mark.parametrize(("head", "expected"), [(95, Wait()), (99, Wait()), (100, Finish())])
def test_mined__confirmations(head: int, expected: Step) -> None:
    assert step(transaction("mined"), mined=RECEIPT, nonce=8, head=head) == expected


@pytest.mark.parametrize(
    "changes", [{"block": 96}, {"block_hash": "0xother"}, {"hash": "0xa2"}, {"success": False}]
)
def test_mined__again_and_otherwise(changes: dict[str, object]) -> None:
    other = replace(RECEIPT, **changes)  # type: ignore[arg-type]
    assert step(transaction("mined"), mined=other, nonce=8) == Land(other)


def test_mined__no_longer() -> None:
    assert step(transaction("mined"), nonce=7) == Reopen()
    assert step(transaction("mined"), nonce=8) == Reopen()


@pytest.mark.parametrize(("head", "final"), [(95, False), (99, False), (100, True)])
def test_displaced__until_that_is_final(head: int, final: bool) -> None:
    found = step(transaction("displaced"), nonce=8, head=head)
    assert isinstance(found, Abandon) if final else found == Wait()


def test_displaced__no_longer() -> None:
    assert step(transaction("displaced"), nonce=7) == Reopen()
    assert step(transaction("displaced"), nonce=8, mined=RECEIPT) == Land(RECEIPT)


# -- somebody else's --


def test_adopted__is_helped_and_never_signed() -> None:
    soon = NOW + PATIENCE - 1
    assert step(transaction(), ours=False, now=soon) == Wait()
    assert step(transaction(), ours=False, now=soon, known=False) == Rebroadcast()
    assert isinstance(step(transaction(expires_at=soon), ours=False, now=soon), Abandon)


@pytest.mark.parametrize("known", [True, False])
def test_adopted__only_as_long_as_our_patience_lasts(known: bool) -> None:
    late = NOW + PATIENCE
    assert isinstance(step(transaction(), ours=False, now=late, known=known), Abandon)
    for state in ("mined", "displaced"):
        gone = step(transaction(state), ours=False, now=late, nonce=8, known=known)
        assert isinstance(gone, Abandon)
    assert step(transaction(), ours=False, now=late, nonce=8, mined=RECEIPT) == Land(RECEIPT)


def test_adopted__that_never_expires() -> None:
    made = transaction(expires_at=None)
    assert step(made, ours=False, now=NOW + PATIENCE - 1) == Wait()
    assert isinstance(step(made, ours=False, now=NOW + PATIENCE), Abandon)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (transaction("planned"), True),
        (transaction("sent"), True),
        (transaction("mined"), False),
        (transaction("displaced"), False),
        (transaction("sent", expires_at=NOW), False),
        (transaction("sent", expires_at=None), True),
        (transaction("sent", parcels=()), False),
    ],
)
def test_is_in_flight(made: Transaction, expected: bool) -> None:
    assert is_in_flight(made, NOW) == expected


# -- contents --


def test_choose__as_many_as_fit() -> None:
    parcels = [parcel(str(number)) for number in range(30)]
    assert choose(parcels, batches=True) == parcels[:BATCH_CALLS]
    assert choose(parcels, batches=False) == parcels[:1]
    assert choose([], batches=True) == []


def test_choose__the_large_one_goes_alone() -> None:
    large, small = parcel("large", bytes(BATCH_BYTES + 1)), parcel("small", bytes(BATCH_BYTES))
    assert choose([large, small], batches=True) == [large]
    assert choose([small, large, small], batches=True) == [small, small]


def test_compose() -> None:
    assert compose([], ME, None) == (ME, b"")
    assert compose([parcel()], ME, MULTICALL) == (TARGET, b"call")
    for strict in (False, True):
        to, data = compose([parcel(), parcel(data=b"")], ME, MULTICALL, strict=strict)
        assert to == MULTICALL
        [calls] = AGGREGATE.inputs.decode(data[4:])
        assert [tuple(each) for each in calls] == [
            (TARGET, not strict, b"call"),
            (TARGET, not strict, b""),
        ]
        assert data[:4].hex() == "82ad56cb"


# -- announcements --


def signed(nonce: int, data: bytes = b"call") -> Attempt:
    raw = bytes.fromhex(signed_raw(nonce=nonce, data=data))
    return Attempt("0x" + keccak(raw).hex(), raw, FEES, NOW)


def test_note__what_is_in_it_comes_out() -> None:
    earlier, newest = signed(7, b"earlier"), signed(7)
    made = transaction(attempts=(earlier, newest))
    only_planned = transaction("planned")
    [found] = read_note(write_note([made, only_planned]), NOW + 9)
    assert (found.chain_id, found.sender, found.nonce, found.gas) == (31_337, ME, 7, 50_000)
    assert found.expires_at == made.expires_at
    assert found.parcel == Parcel(made.intents, TARGET, b"call")
    assert [each.hash for each in found.attempts] == [earlier.hash, newest.hash]
    assert found.attempts[-1] == replace(newest, made_at=NOW + 9)


def test_note__nothing_in_flight() -> None:
    assert read_note(write_note([]), NOW) == []


def entry(**changes: object) -> dict[str, object]:
    """An honest announcement's entry but for `changes`."""
    made = transaction(attempts=(signed(7),))
    return json.loads(write_note([made]))["transactions"][0] | changes


def note(*entries: dict[str, object]) -> str:
    return json.dumps({"transactions": entries})


@pytest.mark.parametrize(
    "changes",
    [
        {"hashes": ["zzz"]},
        {"hashes": ["0x" + 62 * "a"]},
        {"hashes": [7]},
        {"hashes": 33 * ["0x" + 64 * "a"]},
        {"raw": "00" * 2**17},
        {"expires_at": 2**70},
        {"expires_at": True},
        {"expires_at": "7"},
        {"expires_at": -1},
        {"intents": [["price", "ADA", NOW + 91, "1"]]},
        {"intents": [["price", "ADA", -1, "1"]]},
        {"intents": [["price", "ADA", 1.5, "1"]]},
        {"intents": [["liquidation", "ADA", 1, "1"]]},
        {"intents": [["price", "\ud800", 1, "1"]]},
        {"intents": [["price", 129 * "A", 1, "1"]]},
        {"intents": [["price", "", 1, "1"]]},
        {"intents": [["price", "ADA", 1, 129 * "1"]]},
        {"intents": [["price", "ADA", 1, 1]]},
        {"intents": [["price", "ADA", 1]]},
        {"intents": [["price", "ADA", 1, "1"], ["price", "BTC", 1, "1"]]},
        {"raw": signed_raw(maxFeePerGas=2**64)},
        {"raw": signed_raw(nonce=2**63)},
        {"raw": signed_raw(gas=2**63)},
        {"raw": signed_raw(chainId=2**63)},
        {"raw": signed_raw(to="")},
        {"raw": signed_raw(data=b"")},
    ],
)
def test_note__malformed_or_implausible(changes: dict[str, object]) -> None:
    assert len(read_note(note(entry()), NOW)) == 1
    with pytest.raises(ValueError, match="no announcement"):
        read_note(note(entry(), entry(**changes)), NOW)


def test_note__too_much_of_it() -> None:
    assert len(read_note(note(*(16 * [entry()])), NOW)) == 16
    for large in (note(*(17 * [entry()])), note(entry(more="a" * 2 * NOTE_BYTES))):
        with pytest.raises(ValueError, match="no announcement"):
            read_note(large, NOW)


def test_note__as_many_intents_as_the_call_has_words() -> None:
    intents = [["price", str(number), 1, "1"] for number in range(4)]
    for size, fits in ((4 * 32, True), (4 * 32 - 1, False)):
        made = note(entry(intents=intents, raw=signed(7, bytes(size)).raw.hex()))
        if fits:
            assert len(read_note(made, NOW)[0].parcel.intents) == 4
        else:
            with pytest.raises(ValueError, match="no announcement"):
                read_note(made, NOW)


def test_note__what_is_written_can_be_read() -> None:
    many = [Attempt(f"0x{number:064x}", b"", FEES, NOW) for number in range(99)]
    made = [transaction(id=n, attempts=(*many, signed(n))) for n in range(30)]
    found = read_note(write_note(made), NOW)
    assert [each.nonce for each in found] == list(range(14, 30))
    assert [each.hash for each in found[0].attempts[:-1]] == [each.hash for each in many[-31:]]


def test_note__expires_within_an_hour() -> None:
    for expires_at, expected in ((NOW + 9_999, NOW + 3_600), (NOW + 9, NOW + 9), (None, None)):
        [found] = read_note(note(entry(expires_at=expires_at)), NOW)
        assert found.expires_at == expected


def test_note__the_newest_of_too_many() -> None:
    large = bytes(NOTE_BYTES // 5)
    made = [transaction(id=n, attempts=(signed(n, large),)) for n in range(5)]
    note = write_note(made)
    assert len(note) < 2 * NOTE_BYTES
    assert [each.nonce for each in read_note(note, NOW)] == [3, 4]


@pytest.mark.parametrize(
    "note",
    [
        "",
        "{}",
        "[]",
        '{"transactions": 7}',
        '{"transactions": [{"raw": "02c0", "intents": [], "hashes": [], "expires_at": null}]}',
        write_note([transaction(attempts=(replace(signed(7), raw=b"\x02\xc0"),))]),
    ],
)
def test_note__what_is_none(note: str) -> None:
    with pytest.raises(ValueError, match="no announcement"):
        read_note(note, NOW)


def test_note__the_sender_is_whoever_signed() -> None:
    changed = bytearray(signed(7).raw)
    changed[-1] ^= 1
    made = transaction(attempts=(replace(signed(7), raw=bytes(changed)),))
    [found] = read_note(write_note([made]), NOW)
    assert found.sender != ME
