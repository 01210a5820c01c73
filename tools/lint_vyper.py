"""Lint Vyper sources with natrix's rules, and find imports that nothing uses.

natrix's own command stops at modules that `uses:` more than one other module, because it asks the
compiler for facts that only a whole contract has. Only the rule on memory needs them.
"""

from __future__ import annotations

import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
from natrix.ast_tools import vyper_compile
from natrix.rules.common import Issue, RuleRegistry
from rich.console import Console

IGNORED = {
    "NTX1": "memory of a function: needs the whole contract",
    "NTX2": "upper case for constants, also where an ERC names the getter",
    "NTX4": "view where a function calls another contract",
    "NTX5": "pure where an interface says view or payable",
    "NTX10": "unused arguments, also where an ERC prescribes them",
    "NTX11": "underscores before arguments",
}


def lint(path: Path) -> list[Issue]:
    """What natrix finds in one file. Raises whatever natrix does when it cannot read it."""
    tree = vyper_compile(str(path), "annotated_ast", extra_paths=(".",))
    issues = [issue for rule in RuleRegistry.get_rules() for issue in rule.run(tree)]
    return [issue for issue in issues if issue.code not in IGNORED]


def unused_imports(source: str) -> list[str]:
    """Names that a file imports and does not mention outside comments."""
    code = re.sub(r'""".*?"""|#[^\n]*', "", source, flags=re.DOTALL)
    imported = re.findall(r"^(?:from \S+ )?import (?:\S+ as )?(\w+)$", code, flags=re.MULTILINE)
    code = re.sub(r"^(?:from|import) .*$", "", code, flags=re.MULTILINE)
    return [name for name in imported if not re.search(rf"\b{name}\b", code)]


def _attempt(path: Path) -> list[str]:
    unused = [f"{name} is imported and not used" for name in unused_imports(path.read_text())]
    try:
        return unused + [
            f"{issue.code} line {issue.position}: {issue.message}" for issue in lint(path)
        ]
    except Exception as error:
        return [*unused, str(error)]


@click.command(help=__doc__)
@click.argument("places", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
def main(places: tuple[Path, ...]) -> None:
    console = Console(soft_wrap=True, markup=False)
    RuleRegistry.discover_rules()
    paths = sorted(path for place in places for path in place.rglob("*.vy"))
    with ThreadPoolExecutor() as pool:
        findings = dict(zip(paths, pool.map(_attempt, paths), strict=True))
    for path, problems in findings.items():
        for problem in problems:
            console.print(f"{path}: {problem}")
    count = sum(map(len, findings.values()))
    console.print(f"{len(paths)} Vyper files linted, {count} problems")
    sys.exit(count > 0)


if __name__ == "__main__":
    main()
