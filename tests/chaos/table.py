"""The table of `make chaos`: what each fault came to, those that could not be tried too.

Hooks of pytest, for a conftest to import.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

FOLDER = "tests/chaos/"
FIGURES = ("rounds", "longest gap")
LEAST = 25
"""Faults of a whole run; with fewer something is wrong with the run."""
OUTCOMES = ("passed", "xpassed", "xfailed", "skipped", "failed", "error")
"""Of several for one test, its fixtures' among them, the last counts."""

Rows = dict[str, tuple[str, str]]
"""Test -> outcome, figures."""


def rows_of(reporter: pytest.TerminalReporter) -> Rows:
    """All tests of the folder, and files that could not even be read."""
    rows: Rows = {}
    for outcome in OUTCOMES:
        for report in reporter.stats.get(outcome, ()):
            if FOLDER in report.nodeid:
                figures = dict(getattr(report, "user_properties", ()))
                said = ", ".join(f"{each} {figures[each]}" for each in FIGURES if each in figures)
                rows[report.nodeid] = (outcome, said)
    return rows


def is_whole(config: pytest.Config) -> bool:
    """Whether all of the folder was asked for."""
    chosen = ("keyword", "markexpr", "deselect", "ignore", "lf", "collectonly", "maxfail")
    if any(getattr(config.option, each, None) for each in chosen):
        return False
    folder = config.rootpath / FOLDER
    asked = [(config.invocation_params.dir / each).resolve() for each in config.args]
    return any(each == folder or each in folder.parents for each in asked)


def tried(rows: Rows) -> int:
    """Faults that were run to an end."""
    return sum(outcome in ("passed", "failed") for outcome, _ in rows.values())


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A whole run in which next to nothing was tried has failed."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    # workers of xdist have none of the others' tests
    if reporter is None or hasattr(session.config, "workerinput"):
        return
    few = is_whole(session.config) and tried(rows_of(reporter)) < LEAST
    if few and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    rows = rows_of(terminalreporter)
    if not rows:
        return
    terminalreporter.section("faults")
    named = sorted((_name(nodeid), *row) for nodeid, row in rows.items())
    width = max(len(name) for name, _, _ in named)
    for name, outcome, said in named:
        terminalreporter.write_line(f"{name:<{width}}  {outcome:<7}  {said}".rstrip())
    counts = Counter(outcome for outcome, _ in rows.values())
    others = [f", {counts[each]} {each}" for each in OUTCOMES[1:] if counts[each]]
    terminalreporter.write_line(f"{counts['passed']} of {len(rows)} survived{''.join(others)}")
    if is_whole(terminalreporter.config) and tried(rows) < LEAST:
        terminalreporter.write_line(f"only {tried(rows)} were tried; a whole run has {LEAST}")


def _name(nodeid: str) -> str:
    """For people: of a test its name, of a file the file's."""
    _, found, test = nodeid.rpartition("::")
    if not found:
        return Path(nodeid).name
    return test.removeprefix("test_").replace("__", ": ").replace("_", " ")
