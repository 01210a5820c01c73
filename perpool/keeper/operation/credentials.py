"""What in a configuration is secret, or should not be in a file at all.

Keys and mnemonics are found wherever they are in a text, in comments too; in URLs it is the parts
that are, or look like, a password or a key.
"""

from __future__ import annotations

import re
import unicodedata
import urllib.parse
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from itertools import groupby
from typing import Any

from perpool.toml_lines import Place

SHORTEST_KEY = 16
"""Characters of a part of a URL that is long enough to be a key."""
SHORTEST_MNEMONIC = 12
"""Words in a row, of one of BIP-39's lists, that make a mnemonic."""
LEAKED = (
    "this looks like a private key or a mnemonic. Take it out, treat it as stolen, and use an "
    "encrypted keystore"
)


def secret_lines(text: str) -> list[int]:
    """Lines with 64 hexadecimal digits in a row or with words of a mnemonic; comments too."""
    # the lists are in this form
    text = unicodedata.normalize("NFKD", text)
    starts = [match.start() for match in re.finditer(r"[0-9a-fA-F]{64,}", text)]
    words = [
        (match[0].lower(), match.start())
        for match in re.finditer(r"""[^\s,;"'=#\[\](){}]+""", text)
        if not re.fullmatch(r"[\W\d]+", match[0])  # mnemonics are numbered at times
    ]
    for language in _wordlists():
        for is_known, run in groupby(words, lambda each: each[0] in language):  # noqa: B023
            found = [start for _, start in run]
            if is_known and len(found) >= SHORTEST_MNEMONIC:
                starts += found
    return sorted({text.count("\n", 0, start) + 1 for start in starts})


@cache
def _wordlists() -> tuple[frozenset[str], ...]:
    """BIP-39's, by language."""
    folder = resources.files("eth_account.hdaccount") / "wordlist"
    return tuple(frozenset(each.read_text("utf-8").split()) for each in folder.iterdir())


def texts_in(value: Any, place: Place = ()) -> Iterator[tuple[Place, str]]:
    """All texts below a place."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from texts_in(each, (*place, name))
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from texts_in(each, (*place, number))


def secret_parts(text: str) -> list[str]:
    """Passwords and what looks like a key in a URL."""
    url = text.removeprefix("external:")
    scheme, found, _ = url.partition("://")
    if not found or scheme == "sqlite":
        return []
    parts = urllib.parse.urlsplit(url)
    query = urllib.parse.parse_qsl(parts.query)
    named = [value for name, value in query if re.search(r"(?i)key|token|secret|pass|auth", name)]
    likely = [parts.username or "", *parts.path.split("/"), *(value for _, value in query)]
    keys = [each for each in likely if _looks_like_a_key(each)]
    return [each for each in (parts.password, *named, *keys) if each]


def _looks_like_a_key(text: str) -> bool:
    return (
        re.fullmatch(rf"[\w-]{{{SHORTEST_KEY},}}", text) is not None
        and re.search(r"\d", text) is not None
        and re.search(r"[A-Za-z]", text) is not None
    )


def is_open(url: str) -> bool:
    """Whether it goes over a network in the clear."""
    parts = urllib.parse.urlsplit(url)
    return parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "localhost", "::1")
