"""Where a keeper works: whether the chain is still the one that it began on."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from perpool.deployment import Record
from perpool.keeper.chain.nodes import NodesError
from perpool.keeper.operation.place import Place
from perpool.keeper.service import Ended

LOCAL, MAINNET = 31_337, 1
DEPLOYED = 7


class FakeNodes:
    """Blocks by number; None where no node answers."""

    def __init__(self, *hashes: str) -> None:
        self.hashes: list[str] | None = list(hashes)
        self.asked = 0

    def block_hash(self, number: int) -> str | None:
        self.asked += 1
        if self.hashes is None:
            raise NodesError("no node gives an answer")
        return self.hashes[number] if number < len(self.hashes) else None


def chain(fork: str, blocks: int = 10) -> list[str]:
    """Hashes of a chain that has nothing in common with others but maybe its genesis."""
    return ["0xgenesis", *(f"0x{fork}{number}" for number in range(1, blocks))]


def place_on(nodes: FakeNodes, *, chain_id: int = LOCAL, clock: str = "system") -> Any:
    record = Record(Path("record.json"), "local", chain_id)
    record.contracts["FundingOracle"] = {"address": "0x", "block": DEPLOYED}
    config: Any = SimpleNamespace(clock=clock, state_folder=Path("/state"))
    contracts: Any = None
    rest: Any = {"clock": None, "metrics": None, "health": None}
    return Place(config, record, nodes, contracts, **rest)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "anew",
    [
        pytest.param([], id="another genesis, of a shorter chain"),
        pytest.param(["0xother", *chain("b")[1:]], id="another genesis"),
        pytest.param(chain("b"), id="the same genesis, and deployed again"),
        pytest.param(chain("b", DEPLOYED), id="the same genesis, and not deployed yet"),
    ],
)
def test_guard__a_chain_that_was_started_anew(anew: list[str]) -> None:
    nodes = FakeNodes(*chain("a"))
    guard = place_on(nodes).guard()
    guard()
    nodes.hashes = anew
    with pytest.raises(Ended) as raised:
        guard()
    assert str(raised.value) == (
        "the chain was started anew: it has no longer the block 7 that it had when this keeper "
        "began. Deploy again, remove the folder /state, and start the keeper again"
    )


def test_guard__a_reorganisation_after_the_deployment_is_none() -> None:
    nodes = FakeNodes(*chain("a"))
    guard = place_on(nodes).guard()
    nodes.hashes = [*chain("a")[: DEPLOYED + 1], "0xc8"]
    guard()


def test_guard__no_node_answers() -> None:
    nodes = FakeNodes(*chain("a"))
    guard = place_on(nodes).guard()
    nodes.hashes = None
    guard()
    nodes.hashes = chain("b")
    with pytest.raises(Ended):
        guard()


def test_guard__by_the_genesis_where_the_deployments_block_is_not_there() -> None:
    nodes = FakeNodes(*chain("a", 3))
    guard = place_on(nodes).guard()
    nodes.hashes = chain("a")
    guard()
    nodes.hashes = ["0xother", *chain("a")[1:]]
    with pytest.raises(Ended, match="the block 0 that"):
        guard()


def test_guard__nothing_is_asked_of_a_public_chain() -> None:
    nodes = FakeNodes(*chain("a"))
    guard = place_on(nodes, chain_id=MAINNET).guard()
    nodes.hashes = chain("b")
    guard()
    assert nodes.asked == 0
