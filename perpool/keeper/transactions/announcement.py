"""What a lane has in flight, as a text that outlives it: for whoever takes over from it.

The newest signed transaction is in it as it was broadcast, so that a successor can broadcast it
again, whoever signed it, and the hashes of all, so that it finds whichever is mined. It is not
authenticated: whoever can write to where leases are kept can forge one. So nothing in it is taken
that is not well-formed, bounded and plausible, and a false one makes nobody sign anything and holds
up what it claims for no longer than an outbox' patience.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eth_account import Account
from eth_account.typed_transactions import TypedTransaction
from eth_utils.crypto import keccak
from hexbytes import HexBytes

from perpool.evm.codec import checksum
from perpool.keeper.model import Intent, Parcel
from perpool.keeper.transactions.fees import Fees
from perpool.keeper.transactions.model import Attempt, Transaction

NOTE_BYTES = 2**19
"""Of a note at most; of many unfinished transactions the newest are in it."""
SUBMITTED = frozenset({"funding", "price", "sync", "observe"})
"""Kinds of intents of a submitter, who is the one that announces; of others none is read."""

_ENTRIES = 16
_HASHES = 32
_INTENTS = 64
_RAW_BYTES = 2**17
_AHEAD_SECONDS = 90
"""How far an intent's time may be ahead of our clock: clocks differ, and so do a chain's."""
_LONGEST_SECONDS = 3_600
_LARGEST = 2**63 - 1
_WORD = 32
_HASH = re.compile(r"0x[0-9a-f]{64}")
_SUBJECT = re.compile(r"[\x21-\x7e]{1,128}")
_VALUE = re.compile(r"[-+.0-9A-Za-z]{0,100}")


@dataclass(frozen=True, slots=True)
class Announced:
    """A transaction in somebody's announcement."""

    chain_id: int
    sender: str
    nonce: int
    gas: int
    expires_at: int | None
    parcel: Parcel
    attempts: tuple[Attempt, ...]


def write_note(transactions: Sequence[Transaction]) -> str:
    """All that was signed and is not final, the newest at least."""
    entries: list[str] = []
    for each in reversed([each for each in transactions if each.attempts][-_ENTRIES:]):
        entry = json.dumps(
            {
                "expires_at": each.expires_at,
                "intents": [(i.kind, i.subject, i.time, i.value) for i in each.intents],
                "hashes": [attempt.hash for attempt in each.attempts[-_HASHES:]],
                "raw": each.attempts[-1].raw.hex(),
            }
        )
        if sum(map(len, entries)) + len(entry) > NOTE_BYTES:
            break
        entries.append(entry)
    return f'{{"transactions": [{", ".join(reversed(entries))}]}}'


def read_note(note: str, now: int) -> list[Announced]:
    """What a note says, if all of it is well-formed and plausible. Raises ValueError."""
    try:
        _require(len(note) <= 2 * NOTE_BYTES)
        entries = json.loads(note)["transactions"]
        _require(isinstance(entries, list) and len(entries) <= _ENTRIES)
        return [_read_entry(each, now) for each in entries]
    except Exception as error:
        # it may come from anywhere, and eth-account raises all sorts of things
        raise ValueError(f"no announcement of transactions ({type(error).__name__})") from None


def _read_entry(entry: dict[str, Any], now: int) -> Announced:
    raw = bytes.fromhex(entry["raw"])
    _require(len(raw) <= _RAW_BYTES)
    signed = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
    to, data = bytes(signed["to"]), bytes(signed["data"])
    _require(len(to) == 20)
    newest = "0x" + keccak(raw).hex()
    hashes = [_text(each, _HASH) for each in entry["hashes"]]
    intents = tuple(_read_intent(each, now) for each in entry["intents"])
    # whatever it brings about, it says in its call: a word each at least
    room = min(_INTENTS, max(len(data) // _WORD, 1)) if data else 0
    _require(len(hashes) <= _HASHES and len(intents) <= room)
    expires_at = entry["expires_at"]
    if expires_at is not None:
        expires_at = min(_number(expires_at), now + _LONGEST_SECONDS)
    fees = Fees(_number(signed["maxFeePerGas"]), _number(signed["maxPriorityFeePerGas"]))
    return Announced(
        chain_id=_number(signed["chainId"]),
        sender=str(Account.recover_transaction(raw)),
        nonce=_number(signed["nonce"]),
        gas=_number(signed["gas"]),
        expires_at=expires_at,
        parcel=Parcel(intents, checksum(to), data),
        attempts=(
            *(Attempt(each, b"", Fees(0, 0), 0) for each in hashes if each != newest),
            Attempt(newest, raw, fees, now),
        ),
    )


def _read_intent(fields: Sequence[Any], now: int) -> Intent:
    kind, subject, time, value = fields
    _require(kind in SUBMITTED and _number(time) <= now + _AHEAD_SECONDS)
    return Intent(kind, _text(subject, _SUBJECT), time, _text(value, _VALUE))


def _number(value: Any) -> int:
    """One that fits the journal."""
    _require(type(value) is int and 0 <= value <= _LARGEST)
    return int(value)


def _text(value: Any, pattern: re.Pattern[str]) -> str:
    _require(isinstance(value, str) and pattern.fullmatch(value) is not None)
    return str(value)


def _require(condition: object) -> None:
    if not condition:
        raise ValueError
