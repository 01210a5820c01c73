"""Worlds for tests, and a table of what each fault came to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from perpool.anvil import Anvil
from tests.chaos.world import START, Stage, World
from tests.exchanges import StandIn

FIGURES = ("rounds", "longest gap")


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Anvil(timestamp=START - 3_600, base_fee=10**9) as anvil:
        yield Stage.set_up(anvil, tmp_path_factory.mktemp("chaos"))


@pytest.fixture
def world(stage: Stage, tmp_path: Path, record_property: object) -> Iterator[World]:
    """Five reporters, one submitter on a node of its own, and time at START."""
    with stage.chain.anchor(), StandIn() as stand_in:
        stage.chain.mine(timestamp=START)
        made = World(stage, tmp_path, stand_in)
        try:
            yield made
        finally:
            made.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table of `make chaos`."""
    rows = []
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, ()):
            if "tests/chaos/" in report.nodeid and report.when == "call":
                name = report.nodeid.rpartition("::")[2].removeprefix("test_")
                figures = dict(report.user_properties)
                said = ", ".join(f"{each} {figures[each]}" for each in FIGURES if each in figures)
                rows.append((name.replace("__", ": ").replace("_", " "), outcome, said))
    if not rows:
        return
    terminalreporter.section("faults")
    width = max(len(name) for name, _, _ in rows)
    for name, outcome, said in sorted(rows):
        terminalreporter.write_line(f"{name:<{width}}  {outcome:<6}  {said}")
    survived = sum(outcome == "passed" for _, outcome, _ in rows)
    terminalreporter.write_line(f"{survived} of {len(rows)} survived")
