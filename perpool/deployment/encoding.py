"""Call data, results, and arguments as JSON holds them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perpool.build import Abi, Artifact, blueprint_initcode
from perpool.evm.codec import Codec, FunctionAbi

_EXACT_IN_JSON = 2**53


def function(abi: Abi, name: str) -> FunctionAbi:
    """A function of an ABI by name; of overloads the first."""
    for entry in abi:
        if entry["type"] == "function" and entry["name"] == name:
            return FunctionAbi(entry)
    raise LookupError(f"there is no function {name} in this ABI")


def creation_code(artifact: Artifact, args: Sequence[Any], *, blueprint: bool) -> bytes:
    """What a transaction without receiver carries: init code with its arguments, or a blueprint."""
    if blueprint:
        return blueprint_initcode(artifact)
    inputs = artifact.constructor["inputs"] if artifact.constructor else ()
    return artifact.initcode + Codec(inputs).encode(args)


def to_json(value: Any) -> Any:
    """Arguments as a record keeps them: bytes in hex, integers beyond 2**53 as text."""
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, list | tuple):
        return [to_json(each) for each in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= _EXACT_IN_JSON:
        return str(value)
    return value
