"""ABI encoding and decoding: Python values to call data, return data and logs to Python values.

Integers are `int`, addresses checksummed `str`, bytes `bytes`, structs `Struct`, arrays lists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, SupportsIndex

from eth_abi.decoding import ContextFramesBytesIO, TupleDecoder
from eth_abi.encoding import TupleEncoder
from eth_abi.exceptions import DecodingError, EncodingError
from eth_abi.registry import registry
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from perpool.build import Abi

Converter = Callable[[Any], Any]
Param = Mapping[str, Any]
RawLog = tuple[bytes, tuple[int, ...], bytes]
"""Emitting address, topics, data."""


# eth_abi's classes are untyped
_shared: Any = registry
_REGISTRY: Any = _shared.copy()
"""Our own: others in the process (Ape) have the shared decoders take missing data for zeros."""
_TupleEncoder: Any = TupleEncoder
_TupleDecoder: Any = TupleDecoder
_Stream: Any = ContextFramesBytesIO


class Struct(tuple[Any, ...]):
    """A tuple whose items also have names: `position.debt`, `position["debt"]`, `position[1]`."""

    _fields: tuple[str, ...]

    def __new__(cls, fields: Iterable[str], values: Iterable[Any]) -> Struct:
        struct = super().__new__(cls, values)
        struct._fields = tuple(fields)
        return struct

    def __getattr__(self, name: str) -> Any:
        try:
            return self[self._fields.index(name)]
        except ValueError:
            raise AttributeError(f"no field {name!r} among {', '.join(self._fields)}") from None

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return self.__getattr__(key)
        index: SupportsIndex | slice = key
        return super().__getitem__(index)

    def as_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return dict(zip(self._fields, self, strict=True))

    def __repr__(self) -> str:
        return f"({', '.join(f'{name}={value!r}' for name, value in self.as_dict().items())})"


@dataclass(frozen=True)
class Event:
    """A decoded log. Arguments are attributes: `event.shares`, or `event.args.shares`.

    A log that no known ABI describes has the name "" and the arguments `topics` and `data`.
    """

    name: str
    args: Struct
    address: str

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.args, name)


@lru_cache(maxsize=65_536)
def checksum(address: bytes) -> str:
    """Checksummed text of a 20-byte address."""
    return str(to_checksum_address(address))


def canonical(account: Any) -> bytes:
    """The 20 bytes of anything that has or is an address."""
    address = getattr(account, "address", account)
    if isinstance(address, str):
        address = bytes.fromhex(address.removeprefix("0x"))
    if not isinstance(address, bytes) or len(address) != 20:
        raise ValueError(f"not an address: {account!r}")
    return address


def type_of(param: Param) -> str:
    """Canonical type of an ABI parameter, with structs as tuples: "(uint256,address)[]"."""
    kind: str = param["type"]
    if kind.startswith("tuple"):
        inner = ",".join(type_of(component) for component in param["components"])
        return f"({inner}){kind.removeprefix('tuple')}"
    return kind


def signature(entry: Param) -> str:
    """Signature of a function, event or error: "transfer(address,uint256)"."""
    return f"{entry['name']}({','.join(type_of(param) for param in entry['inputs'])})"


def selector(entry: Param) -> bytes:
    """First four bytes of the hash of the signature."""
    return keccak(text=signature(entry))[:4]


def _element(param: Param) -> Param:
    """The parameter that describes one element of an array."""
    kind: str = param["type"]
    return {**param, "type": kind[: kind.rindex("[")]}


def _same(value: Any) -> Any:
    return value


def _encodable(param: Param) -> Converter:
    """Turns what callers may pass for a parameter into what eth_abi takes."""
    kind: str = param["type"]
    if kind.endswith("]"):
        element = _encodable(_element(param))
        return lambda values: [element(value) for value in values]
    if kind == "tuple":
        names = [component["name"] for component in param["components"]]
        parts = [_encodable(component) for component in param["components"]]

        def from_struct(value: Any) -> tuple[Any, ...]:
            values = [value[name] for name in names] if isinstance(value, Mapping) else value
            return tuple(part(item) for part, item in zip(parts, values, strict=True))

        return from_struct
    if kind == "address":
        return canonical
    if kind.startswith("bytes"):
        return lambda value: (
            bytes.fromhex(value.removeprefix("0x")) if isinstance(value, str) else value
        )
    return _same


def _decoded(param: Param) -> Converter:
    """Turns what eth_abi gives for a parameter into what callers get."""
    kind: str = param["type"]
    if kind.endswith("]"):
        element = _decoded(_element(param))
        return lambda values: [element(value) for value in values]
    if kind == "tuple":
        return _decoded_tuple(param["components"])
    if kind == "address":
        return lambda value: checksum(bytes.fromhex(value[2:]))
    return _same


def _decoded_tuple(params: Sequence[Param]) -> Converter:
    names = tuple(param.get("name", "") for param in params)
    parts = [_decoded(param) for param in params]
    if all(names):
        return lambda values: Struct(
            names, [part(value) for part, value in zip(parts, values, strict=True)]
        )
    return lambda values: tuple(part(value) for part, value in zip(parts, values, strict=True))


class Codec:
    """Encodes and decodes one list of ABI parameters, such as a function's inputs."""

    def __init__(self, params: Sequence[Param]) -> None:
        self.types = [type_of(param) for param in params]
        self.names = [str(param.get("name", "")) for param in params]
        self._parts = [_encodable(param) for param in params]
        encoders = [_REGISTRY.get_encoder(kind) for kind in self.types]
        decoders = [_REGISTRY.get_decoder(kind, strict=False) for kind in self.types]
        self._encoder: Any = _TupleEncoder(encoders=encoders)
        self._decoder: Any = _TupleDecoder(decoders=decoders)
        self._result = _decoded_tuple(params)

    def encode(self, values: Sequence[Any]) -> bytes:
        """Encode values. Raises ValueError when they do not fit the types."""
        try:
            items = [part(value) for part, value in zip(self._parts, values, strict=True)]
            return bytes(self._encoder(items))
        except (EncodingError, TypeError, ValueError) as error:
            raise ValueError(
                f"cannot encode {tuple(values)!r} as ({', '.join(self.types)}): {error}"
            ) from error

    def decode(self, data: bytes) -> Any:
        """Decode to a Struct, or a plain tuple if not all have names. Raises DecodingError."""
        return self._result(self._decoder(_Stream(data)))


class FunctionAbi:
    """One function of an ABI, one overload of it if there are several."""

    def __init__(self, entry: Param) -> None:
        self.name: str = entry["name"]
        self.signature = signature(entry)
        self.selector = selector(entry)
        self.is_view = entry["stateMutability"] in ("view", "pure")
        self.inputs = Codec(entry["inputs"])
        self.outputs = Codec(entry["outputs"])

    def encode(self, values: Sequence[Any]) -> bytes:
        """Call data."""
        return self.selector + self.inputs.encode(values)

    def decode(self, data: bytes) -> Any:
        """Return value: None, a single value, or a tuple of several."""
        count = len(self.outputs.types)
        if count == 0:
            return None
        try:
            values = self.outputs.decode(data)
        except DecodingError as error:
            raise ValueError(f"{self.signature} returned {data.hex() or 'nothing'}") from error
        return values[0] if count == 1 else values


class EventAbi:
    """One event of an ABI."""

    def __init__(self, entry: Param) -> None:
        self.name: str = entry["name"]
        self.topic = int.from_bytes(keccak(text=signature(entry)), "big")
        inputs: Sequence[Param] = entry["inputs"]
        self._names = [param["name"] or f"_{index}" for index, param in enumerate(inputs)]
        indexed = [param for param in inputs if param["indexed"]]
        plain = [param for param in inputs if not param["indexed"]]
        self.topic_count = len(indexed) + 1
        # what does not fit a topic is there as its hash only
        self._topics = [
            Codec([param if _is_word(param["type"]) else {**param, "type": "bytes32"}])
            for param in indexed
        ]
        self._data = Codec(plain)
        self._indexed = [bool(param["indexed"]) for param in inputs]

    def decode(self, log: RawLog) -> Event:
        """Decode a log of this event. Raises DecodingError if the data does not fit."""
        address, topics, data = log
        words = zip(self._topics, topics[1:], strict=True)
        from_topics = iter([codec.decode(topic.to_bytes(32, "big"))[0] for codec, topic in words])
        from_data = iter(self._data.decode(data))
        values = [next(from_topics if indexed else from_data) for indexed in self._indexed]
        return Event(self.name, Struct(self._names, values), checksum(address))


def _is_word(kind: str) -> bool:
    return not (kind.endswith("]") or kind in ("string", "bytes") or kind.startswith("tuple"))


class EventRegistry:
    """Decodes the logs of all contracts known so far, the emitting contract's own ABI first."""

    def __init__(self) -> None:
        self._by_topic: dict[int, list[EventAbi]] = {}
        self._known: set[int] = set()
        self._errors: dict[bytes, str] = {}
        self._keep: list[Abi] = []

    def add(self, abi: Abi) -> None:
        """Learn the events and errors of an ABI."""
        if id(abi) in self._known:
            return
        self._known.add(id(abi))
        self._keep.append(abi)  # an id is unique only as long as its object lives
        for entry in abi:
            if entry["type"] == "event":
                event = EventAbi(entry)
                similar = self._by_topic.setdefault(event.topic, [])
                if all(other.topic_count != event.topic_count for other in similar):
                    similar.append(event)
            elif entry["type"] == "error":
                self._errors[selector(entry)] = entry["name"]

    def decode(self, log: RawLog) -> Event:
        """Decode a log; see `Event` for logs that nothing known describes."""
        address, topics, data = log
        for event in self._by_topic.get(topics[0], ()) if topics else ():
            if event.topic_count == len(topics):
                try:
                    return event.decode(log)
                except DecodingError:
                    continue
        return Event("", Struct(("topics", "data"), (topics, data)), checksum(address))

    def reason(self, data: bytes) -> str:
        """The reason in revert data: its text, a panic code, an error's name, or ""."""
        head, tail = data[:4], data[4:]
        if head == _ERROR:
            try:
                return str(_REASON.decode(tail)[0])
            except DecodingError:
                return f"0x{data.hex()}"
        if head == _PANIC and len(tail) == 32:
            return f"panic 0x{int.from_bytes(tail, 'big'):02x}"
        if head in self._errors:
            return self._errors[head]
        return f"0x{data.hex()}" if data else ""


_ERROR = bytes.fromhex("08c379a0")  # Error(string)
_PANIC = bytes.fromhex("4e487b71")  # Panic(uint256)
_REASON = Codec([{"type": "string", "name": "reason"}])
