"""A stage to each test, and a node that may be faulty."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from perpool.anvil import Anvil
from perpool.keeper.transactions.fees import GWEI
from tests.integration.lane_on_anvil import Stage
from tests.rpc_proxy import RpcProxy


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with Anvil(base_fee=GWEI) as anvil:
        stage = Stage.start(anvil, tmp_path)
        try:
            yield stage
        finally:
            stage.close()


@pytest.fixture
def proxy(stage: Stage) -> Iterator[RpcProxy]:
    with RpcProxy(stage.anvil.http_url) as proxy:
        yield proxy
