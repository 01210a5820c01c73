"""Format Vyper sources with mamushi, or check that they are formatted (`--check`).

mamushi is slow and its own command cannot report a file that fails to parse from its worker
processes. This one remembers which contents are known to be formatted, names the file that does
not parse, and works around two bugs: a comment behind an indented block gets a second blank
line, and is lost when the result is formatted again. A result that lost a comment all the same
is refused.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import sys
import tokenize
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import click
from mamushi import __version__ as mamushi_version
from mamushi.formatting.format import format_tree
from mamushi.parsing.comparator import compare_ast
from mamushi.parsing.parser import Parser
from rich.console import Console

LINE_LENGTH = 100
MEMORY = Path("build/cache/formatted_vyper.json")
BLANK_LINES_IN_BLOCK = re.compile(r"\n(?:[ \t]*\n){2,}(?=[ \t]+\S)")


class FormatError(Exception):
    """A source that mamushi cannot format; the message says why."""


def _comments(source: str) -> Counter[str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return Counter(token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT)


def formatted(source: str) -> str:
    """The formatted source. Raises FormatError if that would change its meaning."""
    try:
        # a parser that is used again loses comments
        tree = Parser().parse(BLANK_LINES_IN_BLOCK.sub("\n\n", source))
        result = BLANK_LINES_IN_BLOCK.sub("\n\n", format_tree(tree, LINE_LENGTH))
        same = compare_ast(source, result)
    except Exception as error:  # mamushi and vyper raise many kinds
        raise FormatError(str(error).strip() or type(error).__name__) from error
    if not same:
        raise FormatError("formatting would change the code")
    lost = _comments(source) - _comments(result)
    if lost:
        raise FormatError(f"formatting would lose comments: {'; '.join(lost)}")
    return result


def _attempt(path: Path) -> tuple[str, str | None]:
    """The formatted source of a file, or the reason why there is none."""
    try:
        return formatted(path.read_text()), None
    except FormatError as error:
        return "", str(error)


def _digest(source: str) -> str:
    return hashlib.sha256(f"{mamushi_version} {LINE_LENGTH} {source}".encode()).hexdigest()


def _recall() -> set[str]:
    try:
        return set(json.loads(MEMORY.read_text()))
    except (OSError, ValueError):
        return set()


def _remember(digests: set[str]) -> None:
    MEMORY.parent.mkdir(parents=True, exist_ok=True)
    draft = MEMORY.with_suffix(f".{os.getpid()}.tmp")
    draft.write_text(json.dumps(sorted(digests)))
    draft.replace(MEMORY)


def _sources(places: tuple[Path, ...]) -> list[Path]:
    files = [place for place in places if place.is_file()]
    for place in places:
        files += [*place.rglob("*.vy"), *place.rglob("*.vyi")]
    return sorted(set(files))


@click.command(help=__doc__)
@click.option("--check", is_flag=True, help="Change nothing; fail if a file is not formatted.")
@click.argument("places", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
def main(check: bool, places: tuple[Path, ...]) -> None:
    console = Console(soft_wrap=True, markup=False)
    known = _recall()
    sources = {path: path.read_text() for path in _sources(places)}
    todo = [path for path, source in sources.items() if _digest(source) not in known]
    with ProcessPoolExecutor() as pool:
        attempts = list(pool.map(_attempt, todo)) if todo else []

    failures = 0
    for path, (result, problem) in zip(todo, attempts, strict=True):
        if problem is not None:
            failures += 1
            console.print(f"{path}: {problem}", style="red")
        elif result == sources[path]:
            known.add(_digest(result))
        elif check:
            failures += 1
            console.print(f"{path} is not formatted; run `make format`", style="red")
        else:
            path.write_text(result)
            console.print(f"formatted {path}")
    _remember(known)
    console.print(f"{len(sources)} Vyper files looked at, {failures} with a problem")
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
