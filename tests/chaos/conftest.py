"""Worlds for tests, and a table of what each fault came to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from perpool.anvil import Anvil
from tests.chaos.table import pytest_sessionfinish, pytest_terminal_summary
from tests.chaos.world import START, World
from tests.exchanges import StandIn
from tests.keeper_stage import Stage

__all__ = ["pytest_sessionfinish", "pytest_terminal_summary", "stage", "world"]


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
