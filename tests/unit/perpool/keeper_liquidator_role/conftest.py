"""A scene to each test, and what is logged in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from perpool.evm import Evm
from tests.unit.perpool.keeper_liquidator_role.scene import (
    EvmNodes,
    Scene,
    open_market,
    scene_of,
)


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    with capture_logs() as lines:
        yield lines


@pytest.fixture(autouse=True)
def _quiet(logs: list[Any]) -> None:
    """Nothing is printed."""


@pytest.fixture
def scene(evm: Evm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """Prices of 10 USDT; the borrower is unhealthy from 8.62 on, the shorter from 16 on."""
    nodes = EvmNodes(evm, monkeypatch)
    start = evm.block_number
    return scene_of(evm, nodes, tmp_path, {"TKN": open_market(evm)}, start)
