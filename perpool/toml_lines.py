"""Where each value of a TOML file stands: what `tomllib`, which reads it, does not tell.

    line_index(text)[("submitter", "max_fee")]       # line, from 1

A place is the path of keys, with numbers for the elements of arrays. The text has to be valid TOML.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

Place = tuple[str | int, ...]

_TOKEN = re.compile(
    r"""(?P<text>"{3}(?:\\[\s\S]|[^\\])*?"{3,5}|'{3}[\s\S]*?'{3,5}|"(?:\\.|[^"\\\n])*"|'[^'\n]*')"""
    r"|(?P<skip>[ \t\r]+|#[^\n]*)"
    r"|(?P<end>\n)"
    r"|(?P<mark>[\[\]{}=,.])"
    r"""|(?P<bare>[^\s\[\]{}=,.#"']+)"""
)


class _Token(NamedTuple):
    kind: str
    text: str
    line: int


def _tokens(text: str) -> Iterator[_Token]:
    line = 1
    for match in _TOKEN.finditer(text):
        kind = str(match.lastgroup)
        if kind != "skip":
            yield _Token(kind, match[0], line)
        line += match[0].count("\n")
    yield _Token("end", "", line)


@lru_cache(maxsize=4)
def line_index(text: str) -> dict[Place, int]:
    """The line of every table, key and element."""
    return _Index(text).lines


class _Index:
    """One walk over the tokens."""

    def __init__(self, text: str) -> None:
        self.lines: dict[Place, int] = {}
        self._lengths: dict[Place, int] = {}
        """Of arrays of tables, so far."""
        self._tokens = list(_tokens(text))
        self._at = 0
        table: Place = ()
        while self._at < len(self._tokens):
            if self._next.kind == "end":
                self._at += 1
            elif self._next.text == "[":
                table = self._header()
            else:
                self._pair(table)

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self) -> _Token:
        self._at += 1
        return self._tokens[self._at - 1]

    def _skip(self, *marks: str) -> None:
        while self._next.text in marks:
            self._at += 1

    def _key(self) -> tuple[list[str], int]:
        """A dotted key and its line."""
        line, parts = self._next.line, []
        while True:
            token = self._take()
            is_text = token.kind == "text"
            parts.append(
                str(tomllib.loads(f"key = {token.text}")["key"]) if is_text else token.text
            )
            if self._next.text != ".":
                return parts, line
            self._at += 1

    def _header(self) -> Place:
        """[table] or [[element of an array]]."""
        self._take()
        is_array = self._next.text == "["
        self._skip("[")
        parts, line = self._key()
        self._skip("]")
        place: Place = ()
        for part in parts[:-1]:
            place = (*place, part)
            self.lines.setdefault(place, line)
            place = self._last(place)
        place = (*place, parts[-1])
        if is_array:
            self._lengths[place] = self._lengths.get(place, 0) + 1
        self.lines.setdefault(place, line)
        place = self._last(place)
        self.lines.setdefault(place, line)
        return place

    def _last(self, place: Place) -> Place:
        """The newest element, where this is an array of tables."""
        length = self._lengths.get(place)
        return place if length is None else (*place, length - 1)

    def _pair(self, table: Place) -> None:
        parts, line = self._key()
        for end in range(1, len(parts) + 1):
            self.lines.setdefault((*table, *parts[:end]), line)
        self._take()  # =
        self._value((*table, *parts))

    def _value(self, place: Place) -> None:
        self.lines.setdefault(place, self._next.line)
        if self._next.text == "[":
            self._take()
            self._elements(place)
        elif self._next.text == "{":
            self._take()
            self._skip("\n")
            while self._next.text != "}":
                self._pair(place)
                self._skip(",", "\n")
            self._take()
        else:
            while self._next.kind != "end" and self._next.text not in {",", "]", "}"}:
                self._at += 1

    def _elements(self, place: Place) -> None:
        number = 0
        self._skip("\n")
        while self._next.text != "]":
            self._value((*place, number))
            number += 1
            self._skip(",", "\n")
        self._take()
