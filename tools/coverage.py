"""Line coverage of the contracts, modules included, over a pytest run.

    python -m tools.coverage [pytest arguments]

Without arguments it runs what `make unit` runs. The in-process EVM reports every instruction that
it executes, in any frame of any transaction or call; the compiler's source map, whose entries name
their file, says which line the instruction comes from.

What is counted: a line is executable if it owns at least one instruction of the runtime code or of
the constructor in any contract compiled during the run, or in any deployable below contracts/; it
is covered once one of its instructions ran. A module counts once, whichever contract it is part of.
Constructors count where they ran as init code, from a blueprint too.

What is not counted: lines that own no instruction. Besides comments and declarations these are
statements whose instructions the compiler ascribes to the function's head, such as
`OWNER = msg.sender`, and whatever it optimises away. Copies compiled with patches do not count, nor
what runs on anvil. A covered `assert` line says that it was reached, not that it was ever refused.

Exits with 1 below the threshold, or with what pytest returned if tests failed. Writes
build/coverage/summary.json.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import pytest
from eth.abc import ComputationAPI
from rich.console import Console
from rich.table import Table

from perpool.build import Artifact, BuildError, LineMap, compile_contract, project
from perpool.evm import Evm
from perpool.evm.state import Step

SWITCH = "PERPOOL_COVERAGE"
"""Environment variable that names the folder for the hits, and so turns tracing on."""
THRESHOLD = 95.0
"""Per cent of all executable lines."""
DEFAULT_RUN = (
    *("-n", "auto", "--maxprocesses", "8", "--dist", "loadgroup", "-p", "no:ape_test", "-q"),
    *("tests", "--ignore=tests/integration", "--ignore=tests/fuzz", "--ignore=tests/invariants"),
)

Lines = dict[str, set[int]]


@dataclass
class Report:
    """Executable and covered lines by source file."""

    executable: Lines = field(default_factory=lambda: defaultdict(set))
    covered: Lines = field(default_factory=lambda: defaultdict(set))

    def add_executable(self, artifact: Artifact) -> None:
        """Count the lines of a contract and of the modules in it."""
        for lines in (artifact.runtime_map, artifact.initcode_map):
            for file, line in lines.values():
                self.executable[file].add(line)

    def add_hits(self, lines: LineMap, pcs: Iterable[int]) -> None:
        """Count what ran of one piece of code."""
        for pc in pcs:
            if pc in lines:
                file, line = lines[pc]
                self.covered[file].add(line)

    def merge(self, data: Mapping[str, Mapping[str, list[int]]]) -> None:
        """Add the report of another process, as `to_json` gave it."""
        for file, lines in data["executable"].items():
            self.executable[file].update(lines)
        for file, lines in data["covered"].items():
            self.covered[file].update(lines)

    def to_json(self) -> dict[str, dict[str, list[int]]]:
        """A JSON-compatible copy."""
        return {
            "executable": {file: sorted(lines) for file, lines in self.executable.items()},
            "covered": {file: sorted(lines) for file, lines in self.covered.items()},
        }

    def only(self, folder: str) -> Report:
        """The part about sources below a folder."""
        chosen = [file for file in self.executable if Path(file).is_relative_to(folder)]
        return Report(
            {file: self.executable[file] for file in sorted(chosen)},
            {file: self.covered.get(file, set()) & self.executable[file] for file in chosen},
        )

    def missed(self, file: str) -> list[int]:
        """Executable lines of a file that did not run."""
        return sorted(self.executable[file] - self.covered.get(file, set()))

    @property
    def line_count(self) -> int:
        """Executable lines of all files."""
        return sum(len(lines) for lines in self.executable.values())

    @property
    def missed_count(self) -> int:
        """Those of them that did not run."""
        return sum(len(self.missed(file)) for file in self.executable)

    @property
    def percent(self) -> float:
        """Covered share of all lines; nothing to cover is 0, so that it is noticed."""
        return 100 * (1 - self.missed_count / self.line_count) if self.line_count else 0.0


class CoverageTracer:
    """Notes which instructions ran, by the code that they are part of."""

    def __init__(self) -> None:
        self.hits: dict[bytes, set[int]] = {}

    def enter(self, computation: ComputationAPI) -> Step | None:
        """Note the instructions of one frame."""
        code = computation.msg.code
        if not code:
            return None
        add = self.hits.setdefault(code, set()).add
        return lambda pc, _opcode: add(pc)

    def report(self, artifacts: Iterable[Artifact]) -> Report:
        """Translate to lines, for code that belongs to one of the artifacts.

        Code in use is longer than what the compiler gave: immutables follow a runtime code, the
        constructor's arguments follow an init code.
        """
        report = Report()
        known: list[tuple[bytes, LineMap]] = []
        for artifact in artifacts:
            if not artifact.patched:
                report.add_executable(artifact)
                known.append((artifact.runtime, artifact.runtime_map))
                known.append((artifact.initcode, artifact.initcode_map))
        known = [(code, lines) for code, lines in known if code]
        known.sort(key=lambda pair: len(pair[0]), reverse=True)
        for code, pcs in self.hits.items():
            # sources that differ in comments or names can compile to the same code
            length = next((len(prefix) for prefix, _ in known if code.startswith(prefix)), None)
            for prefix, lines in known:
                if len(prefix) == length and code.startswith(prefix):
                    report.add_hits(lines, pcs)
        return report


# -- pytest plugin, in each process of the run --


class CoveragePlugin:
    """Traces all machines of a test process and leaves a report at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tracer = CoverageTracer()
        Evm.tracers.append(self.tracer)

    def pytest_sessionfinish(self) -> None:
        """Write the hits of this process."""
        Evm.tracers.remove(self.tracer)
        self.folder.mkdir(parents=True, exist_ok=True)
        report = self.tracer.report(project().artifacts)
        (self.folder / f"hits-{os.getpid()}.json").write_text(json.dumps(report.to_json()))


def pytest_configure(config: pytest.Config) -> None:
    """Trace if asked to."""
    folder = os.environ.get(SWITCH)
    if folder:
        config.pluginmanager.register(CoveragePlugin(Path(folder)), "perpool-coverage")


# -- command --


def deployables() -> list[str]:
    """Contracts below contracts/ that compile by themselves, as paths."""
    root = project().root
    return [
        str(path.relative_to(root))
        for path in sorted((root / "contracts").rglob("*.vy"))
        if "modules" not in path.parts
    ]


def collect(folder: Path) -> Report:
    """Merge what the processes left, and count the lines of all deployables."""
    report = Report()
    for path in sorted(folder.glob("hits-*.json")):
        report.merge(json.loads(path.read_text()))
    for contract in deployables():
        report.add_executable(compile_contract(contract))
    return report.only("contracts")


def _ranges(lines: list[int]) -> str:
    """[1, 2, 3, 7] as "1-3, 7"."""
    parts: list[list[int]] = []
    for line in lines:
        if parts and parts[-1][-1] == line - 1:
            parts[-1].append(line)
        else:
            parts.append([line])
    return ", ".join(f"{part[0]}-{part[-1]}" if len(part) > 1 else f"{part[0]}" for part in parts)


def summary(report: Report) -> dict[str, Any]:
    """The report for summary.json."""
    return {
        "lines": report.line_count,
        "missed": report.missed_count,
        "percent": round(report.percent, 2),
        "files": {
            file: {"lines": len(lines), "missed": report.missed(file)}
            for file, lines in report.executable.items()
        },
    }


def show(report: Report, console: Console) -> None:
    """Print the table."""
    table = Table(title="Line coverage of the contracts")
    table.add_column("file", no_wrap=True)
    table.add_column("lines", justify="right")
    table.add_column("missed", justify="right")
    table.add_column("covered", justify="right")
    table.add_column("missed lines")
    for file, lines in report.executable.items():
        missed = report.missed(file)
        share = 100 * (1 - len(missed) / len(lines))
        table.add_row(file, str(len(lines)), str(len(missed)), f"{share:.1f} %", _ranges(missed))
    table.add_section()
    total = f"{report.percent:.1f} %"
    table.add_row("total", str(report.line_count), str(report.missed_count), total, "")
    console.print(table)


@click.command(help=__doc__, context_settings={"ignore_unknown_options": True})
@click.argument("pytest_arguments", nargs=-1, type=click.UNPROCESSED)
def main(pytest_arguments: tuple[str, ...]) -> None:
    """Run pytest with tracing and report."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    folder = project().root / "build" / "coverage"
    shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, "-m", "pytest", "-p", "tools.coverage"]
    command += pytest_arguments or DEFAULT_RUN
    run = subprocess.run(command, env={**os.environ, SWITCH: str(folder)}, check=False)
    try:
        report = collect(folder)
    except BuildError as error:
        raise click.ClickException(str(error)) from error
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.json").write_text(json.dumps(summary(report), indent=2) + "\n")
    show(report, console)
    if run.returncode != 0:
        console.print(f"pytest failed with {run.returncode}; the coverage above is incomplete")
        sys.exit(run.returncode)
    if report.percent < THRESHOLD:
        console.print(f"coverage is below {THRESHOLD:.0f} %")
        sys.exit(1)


if __name__ == "__main__":
    main()
