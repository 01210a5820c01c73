"""What nodes say of a transaction before it is signed: its gas, and which calls would fail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perpool.chain import Call
from perpool.evm import Reverted
from perpool.evm.codec import EventRegistry, canonical
from perpool.keeper.chain.nodes import Nodes
from perpool.keeper.model import Parcel
from perpool.keeper.transactions.batches import AGGREGATE, compose
from perpool.keeper.transactions.fees import gas_limit

_REASONS = EventRegistry()


@dataclass(frozen=True, slots=True)
class Trial:
    """Asks for an account that sends through a multicall; without one, parcels go one by one."""

    nodes: Nodes
    sender: str
    multicall: str | None
    max_gas: int

    def limit(self, parcels: Sequence[Parcel]) -> int:
        """Gas to send them with. Raises Reverted where one of them would fail."""
        # strict, because a multicall that is short of gas succeeds, and its calls fail
        to, data = compose(parcels, self.sender, self.multicall, strict=True)
        return gas_limit(self.nodes.estimate(to, data, self.sender, ample=True), self.max_gas)

    def failing(self, parcels: Sequence[Parcel]) -> list[tuple[Parcel, str]]:
        """Those of several parcels that would fail now, and why."""
        if len(parcels) < 2:
            return []
        to, data = compose(parcels, self.sender, self.multicall)
        [results] = self.nodes.read([Call(canonical(to), data, AGGREGATE, sender=self.sender)])
        if isinstance(results, Reverted):
            return []
        return [
            (parcel, f"it would fail: {_REASONS.reason(result.returnData)}")
            for parcel, result in zip(parcels, results, strict=True)
            if not result.success
        ]
