"""Lines of a TOML file, for faults."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from perpool.toml_lines import Place, line_index

ROOT = Path(__file__).parents[3]
TEXT = '''\
# a comment with [brackets] = "and quotes
top = 1.5   # [not.a.table]
when = 1979-05-27 07:32:00
text = """
[no.table]
key = "none"
""""
raw = \'it\\\'

[ section . "quoted \\"key" ]   # comment
dotted.key.path = "a # b ] }"
list = [
    "one",   # ]
    ["two", { three = 3, four.five = [4] }],
]
empty = []
inline = { a = 1, b = { c = 2 } }

[[rows]]
name = "first"
[rows.detail]
x = 1
[[rows]]
name = "second"
[rows.detail]
y = 2
[rows.more.below]
z = true
'''


def places(value: Any, place: Place = ()) -> set[Place]:
    """All places of parsed values."""
    found = {place} if place else set()
    if isinstance(value, dict):
        return found.union(*(places(each, (*place, key)) for key, each in value.items()))
    if isinstance(value, list):
        return found.union(*(places(each, (*place, i)) for i, each in enumerate(value)))
    return found


@pytest.mark.parametrize(
    ("place", "line"),
    [
        (("top",), 2),
        (("when",), 3),
        (("text",), 4),
        (("raw",), 8),
        (("section",), 10),
        (("section", 'quoted "key', "dotted", "key", "path"), 11),
        (("section", 'quoted "key', "list", 0), 13),
        (("section", 'quoted "key', "list", 1, 1, "four", "five", 0), 14),
        (("section", 'quoted "key', "empty"), 16),
        (("section", 'quoted "key', "inline", "b", "c"), 17),
        (("rows", 0, "name"), 20),
        (("rows", 0, "detail", "x"), 22),
        (("rows", 1, "name"), 24),
        (("rows", 1, "detail", "y"), 26),
        (("rows", 1, "more", "below", "z"), 28),
    ],
    ids=str,
)
def test_line_index__line(place: Place, line: int) -> None:
    assert line_index(TEXT)[place] == line


def test_line_index__has_every_value_and_no_other() -> None:
    assert set(line_index(TEXT)) == places(tomllib.loads(TEXT))


@pytest.mark.parametrize(
    "path", sorted((ROOT / "deploy").glob("*.toml")), ids=lambda each: each.name
)
def test_line_index__of_real_files(path: Path) -> None:
    text = path.read_text()
    assert set(line_index(text)) == places(tomllib.loads(text))


def test_line_index__windows_and_no_last_newline() -> None:
    assert line_index("a = 1\r\n[b]\r\nc = 2") == {("a",): 1, ("b",): 2, ("b", "c"): 3}


def test_line_index__empty() -> None:
    assert line_index("") == {}
