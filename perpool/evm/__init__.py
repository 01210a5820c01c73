"""An in-process EVM for tests and replays: `Evm`, over py-evm."""

from perpool.evm.codec import Event, Struct
from perpool.evm.machine import (
    STARTING_BALANCE,
    TRANSACTION_GAS,
    Account,
    Contract,
    Evm,
    Function,
    Receipt,
    Reverted,
    reverts,
)
from perpool.evm.state import Tracer

__all__ = [
    "STARTING_BALANCE",
    "TRANSACTION_GAS",
    "Account",
    "Contract",
    "Event",
    "Evm",
    "Function",
    "Receipt",
    "Reverted",
    "Struct",
    "Tracer",
    "reverts",
]
