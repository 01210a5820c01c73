"""Files that a person writes: values with their units, and every fault of a file at once.

Percentages, durations and fees are written with their unit ("2.5%", "24h", "100 gwei"), amounts in
whole tokens; code passes `Decimal` fractions and `timedelta`s. Inside they are `Decimal` fractions,
seconds, wei, and `Decimal` amounts.
"""

from __future__ import annotations

import contextlib
import difflib
import re
import tomllib
from collections.abc import Iterable, Iterator
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self, get_args, get_origin

from eth_utils import is_checksum_address, is_hex_address, to_checksum_address
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ModelWrapValidatorHandler,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from perpool.toml_lines import Place, line_index

_WAD_DIGITS = 18
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_WEI = {"wei": 1, "gwei": 10**9, "ether": 10**18}


_WORDS = (
    ("bool_.*", "write true or false"),
    ("int_.*", "write a whole number"),
    ("string_type|path_type", "write a text in quotes"),
    ("list_type|tuple_type", 'write a list, such as ["...", "..."]'),
    ("dict_.*|model_.*", "is a table of settings, not a value"),
    ("literal_error", "write {expected}"),
    ("string_pattern_mismatch", "has to fit {pattern}"),
    ("string_too_short", "has to have {min_length} characters at least"),
    ("string_too_long", "has to have {max_length} characters at most"),
    ("too_short", "name {min_length} at least"),
    ("too_long", "name {max_length} at most"),
    ("greater_than_equal", "has to be {ge} at least"),
    ("greater_than", "has to be above {gt}"),
    ("less_than_equal", "has to be {le} at most"),
    ("less_than", "has to be below {lt}"),
)
"""Kinds of pydantic's faults, and what we say."""
_ABOUT_KEYS = ("missing", "extra_forbidden")
"""Kinds that say nothing of a value."""


class Fault(NamedTuple):
    """Something wrong, and where: a file, a file and its line, or an environment variable."""

    where: str
    text: str


class ConfigError(Exception):
    """A configuration that cannot be used; one line for every fault."""

    def __init__(self, source: str, faults: Iterable[str | Fault]) -> None:
        self.placed = [each if isinstance(each, Fault) else Fault(source, each) for each in faults]
        self.faults = [each.text for each in self.placed]
        super().__init__("\n".join(f"{each.where}: {each.text}" for each in self.placed))


# -- values --


def _percent(value: Any) -> Any:
    if isinstance(value, Decimal):
        return value
    match = (
        re.fullmatch(r"\s*(-?[\d_]+(?:\.\d+)?)\s*%\s*", value) if isinstance(value, str) else None
    )
    if match is None:
        raise ValueError('write a percentage as text with its sign, such as "2.5%"')
    fraction = Decimal(match[1].replace("_", "")) / 100
    if fraction != round(fraction, _WAD_DIGITS):
        raise ValueError("a percentage has at most 16 decimals")
    return fraction


def _duration(value: Any) -> Any:
    if isinstance(value, timedelta):
        return int(value.total_seconds())
    match = re.fullmatch(r"\s*(\d+)\s*([smhd])\s*", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('write a duration with its unit, s, m, h or d, such as "90s" or "24h"')
    return int(match[1]) * _SECONDS[match[2]]


def _span(value: Any) -> Any:
    return value if isinstance(value, timedelta) else timedelta(seconds=_duration(value))


def _amount(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise ValueError("write an amount as a number of whole tokens")
    try:
        amount = Decimal(str(value).replace("_", ""))
    except InvalidOperation:
        raise ValueError("write an amount as a number of whole tokens") from None
    if not amount.is_finite() or amount < 0:
        raise ValueError("an amount is a number that is not negative")
    return amount


def _fee(value: Any) -> Any:
    match = (
        re.fullmatch(r"\s*(\d[\d_]*(?:\.\d+)?)\s*(wei|gwei|ether)\s*", value)
        if isinstance(value, str)
        else None
    )
    if match is None:
        raise ValueError('write a fee with its unit, wei, gwei or ether, such as "100 gwei"')
    wei = Decimal(match[1].replace("_", "")) * _WEI[match[2]]
    if wei != int(wei):
        raise ValueError("a fee is a whole number of wei")
    return int(wei)


def _cap(value: Any) -> Any:
    if value is None or value == "none":
        return None
    return _amount(value)


def check_address(value: str) -> str:
    """The checksummed address. Raises ValueError for what is none, a misspelt one or zero."""
    if not is_hex_address(value) or not value.startswith("0x"):
        raise ValueError("write an address: 0x and 40 hexadecimal digits")
    digits = value[2:]
    if digits not in (digits.lower(), digits.upper()) and not is_checksum_address(value):
        raise ValueError("the address has a wrong checksum; copy it again")
    if int(value, 16) == 0:
        raise ValueError("this is the zero address")
    return str(to_checksum_address(value))


Percent = Annotated[Decimal, BeforeValidator(_percent)]
Duration = Annotated[int, BeforeValidator(_duration)]
Span = Annotated[timedelta, BeforeValidator(_span)]
"""A duration that stays a timedelta."""
Amount = Annotated[Decimal, BeforeValidator(_amount)]
Cap = Annotated[Decimal | None, BeforeValidator(_cap)]
Fee = Annotated[int, BeforeValidator(_fee)]
Address = Annotated[str, AfterValidator(check_address)]


def percent_text(fraction: Decimal) -> str:
    """A fraction as it is written in a file."""
    return f"{(fraction * 100).normalize():f}%"


def duration_text(seconds: int) -> str:
    """A duration as it is written in a file, in the largest unit that it is a multiple of."""
    unit = max(
        (each for each in _SECONDS if seconds % _SECONDS[each] == 0), key=_SECONDS.__getitem__
    )
    return f"{seconds // _SECONDS[unit]}{unit}"


class Section(BaseModel):
    """A table of the file: unknown keys are faults, and nothing changes after the check.

    Methods whose names begin with "faults" say what is wrong with several values together. Each is
    asked unless one of the values that it reads is wrong by itself.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    def faults(self) -> Iterable[str]:
        """What is wrong with these values together."""
        return []

    @model_validator(mode="wrap")
    @classmethod
    def _check(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Ask for faults even where a value is wrong already, so that all come at once."""
        found: list[InitErrorDetails] = []
        try:
            section = handler(data)
        except ValidationError as error:
            if not isinstance(data, dict):
                raise
            found = [_again(each) for each in error.errors()]
            section = cls._of_right_values(data)
        unread = [AttributeError] if found else []
        for name in dir(cls):
            if name.startswith("faults"):
                with contextlib.suppress(*unread):
                    for said in getattr(section, name)():
                        found.append(_said(said))
        if found:
            raise ValidationError.from_exception_data(cls.__name__, found)
        return section

    @classmethod
    def _of_right_values(cls, data: dict[str, Any]) -> Self:
        """A section without the values that are wrong: reading them is an AttributeError."""
        section = cls.model_construct()
        for name, field in cls.model_fields.items():
            section.__dict__.pop(name, None)
            with contextlib.suppress(ValidationError):
                if name in data:
                    adapter = TypeAdapter[Any](field.rebuild_annotation())
                    section.__dict__[name] = adapter.validate_python(data[name])
                elif not field.is_required():
                    section.__dict__[name] = field.get_default(call_default_factory=True)
        return section


def _said(text: str) -> InitErrorDetails:
    """A fault of our own."""
    return {"type": PydanticCustomError("said", "{text}", {"text": text}), "input": None}


def _again(detail: ErrorDetails) -> InitErrorDetails:
    """A fault that has been found, to be raised with others."""
    kind = detail["type"]
    again = (
        InitErrorDetails(type=kind, input=None) if kind in _ABOUT_KEYS else _said(_in_words(detail))
    )
    return again | {"loc": detail["loc"]}


# -- reading --


class Toml(NamedTuple):
    """A file as it was written."""

    text: str
    data: dict[str, Any]
    """Its values; what has a decimal point is text, so that it becomes an exact Decimal."""

    def line(self, place: Place) -> int:
        """Where a value stands, or the table that it is missing from; 1 for the file as a whole."""
        lines = line_index(self.text)
        return next(
            (lines[place[:end]] for end in range(len(place), 0, -1) if place[:end] in lines), 1
        )


def read_text(path: Path, model: type[BaseModel] | None = None, example: str = "an example") -> str:
    """The text of a file. Raises ConfigError, which names those beside it that fit the model."""
    try:
        return path.read_text()
    except FileNotFoundError:
        others = sorted(each for each in path.parent.glob("*.toml") if _may_be(each, model))
        known = f" (here: {', '.join(map(str, others))})" if others else ""
        raise ConfigError(
            str(path), [f"there is no such file; write one after {example}{known}"]
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), [f"cannot be read: {error}"]) from None


def _may_be(path: Path, model: type[BaseModel] | None) -> bool:
    """Whether a file has tables and keys of a model only."""
    if model is None:
        return True
    try:
        keys = set(tomllib.loads(path.read_text()))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return False
    return bool(keys) and keys <= set(model.model_fields)


def parse_toml(text: str, source: str) -> Toml:
    """A file's values. Raises ConfigError with the line of what is not TOML."""
    try:
        return Toml(text, tomllib.loads(text, parse_float=str))
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        where = f"{source}:{line[1] if line else text.count(chr(10)) + 1}"
        raise ConfigError(source, [Fault(where, f"cannot be read: {error}")]) from None


def fault_texts(detail: ErrorDetails, model: type[BaseModel]) -> Iterator[tuple[Place, str]]:
    """What pydantic found, as a person would say it: places, and texts without the values.

    A fault of a section may begin with the name of the setting that it is about.
    """
    place = tuple(part for part in detail["loc"] if part != "[key]")
    kind = detail["type"]
    if kind == "missing":
        yield place, f"{_dotted(place)}: is missing"
    elif kind == "extra_forbidden":
        yield place, f"{_dotted(place)}: there is no such setting; {_hint(place, model)}"
    else:
        for line in _in_words(detail).split("\n"):
            named = re.match(r"([\w.-]+): ", line)
            if named:
                yield (*place, *named[1].split(".")), _dotted((*place, line))
            else:
                yield place, f"{_dotted(place)}: {line}" if place else line


def _in_words(detail: ErrorDetails) -> str:
    """A fault as we say it; pydantic's own words are about Python."""
    kind = detail["type"]
    if kind in ("said", "value_error"):
        return detail["msg"].removeprefix("Value error, ")
    context = {name: str(each).replace("'", '"') for name, each in detail.get("ctx", {}).items()}
    known = (words for kinds, words in _WORDS if re.fullmatch(kinds, kind))
    return next(known, "is not what it has to be").format_map(context)


def _dotted(place: Place) -> str:
    return ".".join(str(part) for part in place)


def closest(word: str, known: Iterable[str]) -> str:
    """What may have been meant by a word that is not known."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean {near[0]}?" if near else "check its spelling"


def _hint(place: Place, model: type[BaseModel]) -> str:
    """A spelling hint for an unknown key, from the keys that its table has."""
    section: Any = model
    for part in place[:-1]:
        section = _below(section, part)
    known = section.model_fields if _is_model(section) else {}
    return closest(str(place[-1]), known)


def _below(annotation: Any, part: str | int) -> Any:
    """The type of what stands under a key; None where that is not a table of known keys."""
    if not _is_model(annotation):
        return None
    field = annotation.model_fields.get(part)
    return None if field is None else _table(field.annotation)


def _table(annotation: Any) -> Any:
    """The table in an optional one, or in those under any name."""
    if _is_model(annotation):
        return annotation
    inner = [_table(each) for each in get_args(annotation)]
    found = next((each for each in inner if each is not None), None)
    return None if get_origin(annotation) is None else found


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
