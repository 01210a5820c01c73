"""What a contract stores, by the names that it has in the sources.

    stored = Stored(evm.at("CarryStrategy", address))
    stored.word("book", "idle")
    stored.entry(Part, "exits", "parts", key=account)

So an invariant holds of the words themselves, also of those that no view tells.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

from eth_utils.crypto import keccak

from perpool.evm import Contract
from perpool.evm.codec import canonical

T = TypeVar("T")


class Stored:
    """The storage of one contract, by its compiler's layout."""

    def __init__(self, contract: Contract) -> None:
        if contract.artifact is None:
            raise ValueError(f"{contract!r} has no layout: it was made from a bare ABI")
        self.contract = contract
        self.layout = contract.artifact.storage_layout["storage_layout"]

    def word(self, *names: str, key: Any = None) -> int:
        """A variable named below the module that it is in, or what a map by addresses has."""
        slot = self._slot(names)
        return self._read(slot if key is None else _place(slot, key))

    def entry(self, kind: type[T], *names: str, key: Any) -> T:
        """A struct of a map by addresses, as a dataclass that has its members, each a word."""
        first = _place(self._slot(names), key)
        count = len(fields(kind))  # type: ignore[arg-type]
        return kind(*(self._read(first + number) for number in range(count)))

    def _slot(self, names: tuple[str, ...]) -> int:
        found = self.layout
        for name in names:
            found = found[name]
        return int(found["slot"])

    def _read(self, slot: int) -> int:
        word = self.contract.evm.storage(self.contract, slot)
        # no amount comes near where negative numbers begin
        return word - 2**256 if word >> 255 else word


def _place(slot: int, key: Any) -> int:
    """Where a map has its value for an address."""
    words = slot.to_bytes(32, "big") + canonical(key).rjust(32, b"\0")
    return int.from_bytes(keccak(words), "big")
