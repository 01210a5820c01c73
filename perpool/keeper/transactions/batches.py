"""One call or several as the content of one transaction, several by Multicall3's `aggregate3`."""

from __future__ import annotations

from collections.abc import Sequence

from perpool.evm.codec import FunctionAbi
from perpool.keeper.model import Parcel

BATCH_CALLS = 24
BATCH_BYTES = 2_048
"""What contracts/Multicall.vy takes: calls, and bytes of each one."""
AGGREGATE = FunctionAbi(
    {
        "name": "aggregate3",
        "stateMutability": "payable",
        "inputs": [
            {
                "name": "calls",
                "type": "tuple[]",
                "components": [
                    {"name": "target", "type": "address"},
                    {"name": "allowFailure", "type": "bool"},
                    {"name": "callData", "type": "bytes"},
                ],
            }
        ],
        "outputs": [
            {
                "name": "results",
                "type": "tuple[]",
                "components": [
                    {"name": "success", "type": "bool"},
                    {"name": "returnData", "type": "bytes"},
                ],
            }
        ],
    }
)


def choose(parcels: Sequence[Parcel], *, batches: bool) -> list[Parcel]:
    """As many as go into one transaction: one that is too large for a batch goes alone."""
    small = [each for each in parcels if len(each.data) <= BATCH_BYTES]
    if not batches or not parcels or parcels[0] not in small:
        return list(parcels[:1])
    return small[:BATCH_CALLS]


def compose(
    parcels: Sequence[Parcel], sender: str, multicall: str | None, *, strict: bool = False
) -> tuple[str, bytes]:
    """(to, data) of a transaction: nothing, one call, or several by the multicall.

    Where `strict`, one that fails makes all of them fail.
    """
    if not parcels:
        return sender, b""
    if len(parcels) == 1:
        return parcels[0].to, parcels[0].data
    assert multicall is not None
    calls = [(each.to, not strict, each.data) for each in parcels]
    return multicall, AGGREGATE.encode([calls])
