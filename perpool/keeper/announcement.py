"""What a lane has in flight, as a text that outlives it: for whoever takes over from it.

The newest signed transaction is in it as it was broadcast, so that a successor can broadcast it
again, whoever signed it, and the hashes of all, so that it finds whichever is mined. It is not
authenticated, and need not be: a false one can hold up some intents, and make nobody sign anything.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eth_account import Account
from eth_account.typed_transactions import TypedTransaction
from eth_utils.crypto import keccak
from hexbytes import HexBytes

from perpool.evm.codec import checksum
from perpool.keeper.fees import Fees
from perpool.keeper.journal import Attempt, Intent, Parcel, Transaction

NOTE_BYTES = 2**19
"""Of a note at most; of many unfinished transactions the newest are in it."""


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
    for each in reversed(transactions):
        if not each.attempts:
            continue
        entry = json.dumps(
            {
                "expires_at": each.expires_at,
                "intents": [(i.kind, i.subject, i.time, i.value) for i in each.intents],
                "hashes": [attempt.hash for attempt in each.attempts],
                "raw": each.attempts[-1].raw.hex(),
            }
        )
        if sum(map(len, entries)) + len(entry) > NOTE_BYTES:
            break
        entries.append(entry)
    return f'{{"transactions": [{", ".join(reversed(entries))}]}}'


def read_note(note: str, now: int) -> list[Announced]:
    """What a note says, if it is one. Raises ValueError."""
    try:
        return [_read_entry(each, now) for each in json.loads(note)["transactions"]]
    except Exception as error:
        # it may come from anywhere, and eth-account raises all sorts of things
        raise ValueError(f"no announcement of transactions ({type(error).__name__})") from None


def _read_entry(entry: dict[str, Any], now: int) -> Announced:
    raw = bytes.fromhex(entry["raw"])
    signed = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
    newest = "0x" + keccak(raw).hex()
    intents = tuple(
        Intent(str(kind), str(subject), int(time_), str(value))
        for kind, subject, time_, value in entry["intents"]
    )
    earlier = [Attempt(str(each), b"", Fees(0, 0), 0) for each in entry["hashes"]]
    fees = Fees(int(signed["maxFeePerGas"]), int(signed["maxPriorityFeePerGas"]))
    return Announced(
        chain_id=int(signed["chainId"]),
        sender=str(Account.recover_transaction(raw)),
        nonce=int(signed["nonce"]),
        gas=int(signed["gas"]),
        expires_at=None if entry["expires_at"] is None else int(entry["expires_at"]),
        parcel=Parcel(intents, checksum(bytes(signed["to"])), bytes(signed["data"])),
        attempts=(
            *(each for each in earlier if each.hash != newest),
            Attempt(newest, raw, fees, now),
        ),
    )
