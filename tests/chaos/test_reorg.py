"""Three blocks that are others after all, with a confirmed transaction in the first of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from perpool.keeper.transactions.fees import GWEI
from perpool.keeper.transactions.model import Transaction
from tests.chaos.world import BLOCK, Desk, World
from tests.keeper_stage import key

Record = Callable[[str, object], None]


@dataclass
class Fork:
    """A chain about to take another course, from before a transaction was mined."""

    world: World
    desk: Desk
    mark: str
    """Of the state before it was mined."""
    since: int
    """Of the last block that stays."""
    ours: Transaction
    """As it was before."""

    @property
    def raw(self) -> str:
        return "0x" + self.ours.attempts[-1].raw.hex()

    def take(self, *blocks: Sequence[str]) -> None:
        """The other course: blocks with these transactions, one more than there were.

        What was mined and is not among them is in no pool either.
        """
        chain = self.world.stage.chain
        chain.rpc("anvil_dropAllTransactions")
        assert chain.rpc("evm_revert", self.mark)
        for number, raws in enumerate(blocks):
            for raw in raws:
                chain.rpc("eth_sendRawTransaction", raw)
            # a second later than they were
            chain.mine(timestamp=self.since + (number + 1) * BLOCK + 1)
        self.world.now = chain.timestamp


@pytest.fixture
def scene(world: World) -> tuple[World, Desk]:
    world.add_plain_reporters()
    desk = world.add_desk()
    world.run(minutes=3)
    return world, desk


def mine_three(world: World, desk: Desk, depth: int = 3) -> Fork:
    """Wait for a transaction, and mine it and two blocks more, which are then to be undone."""
    for _ in range(40):
        waiting = [each for each in desk.journal.open() if each.state == "sent"]
        if waiting:
            break
        world.step()
    [ours] = waiting
    chain = world.stage.chain
    fork = Fork(world, desk, chain.rpc("evm_snapshot"), world.now, ours)
    for _ in range(depth):
        world.step()
    state = desk.journal.get(ours.id).state
    assert state == ("mined" if depth <= 5 else "done")
    return fork


def where(world: World, transaction: Transaction) -> int | None:
    """Block that one of its attempts is in."""
    for each in transaction.attempts:
        receipt = world.stage.chain.rpc("eth_getTransactionReceipt", each.hash)
        if receipt is not None:
            return int(receipt["blockNumber"], 16)
    return None


def test_reorg_of_3_blocks__mined_again_in_another(
    scene: tuple[World, Desk], record_property: Record
) -> None:
    world, desk = scene
    with world.fault():
        fork = mine_three(world, desk)
        before = where(world, fork.ours)
        fork.take([], [], [fork.raw], [])
        world.step()
    after = where(world, fork.ours)
    assert before is not None
    assert after == before + 2
    mined = desk.journal.get(fork.ours.id).mined
    assert mined is not None
    assert mined.block == after
    world.finish(record_property)
    # nothing was signed anew
    assert len(desk.journal.get(fork.ours.id).attempts) == 1
    assert desk.errors == []


def test_reorg_of_3_blocks__lost(scene: tuple[World, Desk], record_property: Record) -> None:
    world, desk = scene
    with world.fault():
        fork = mine_three(world, desk)
        fork.take([], [], [], [])
        assert where(world, fork.ours) is None
        world.step()
        world.step()
    assert desk.count("reorganised") >= 1
    # the same content with the same nonce, perhaps with more for the gas
    now = desk.journal.get(fork.ours.id)
    assert where(world, now) is not None
    assert now.nonce == fork.ours.nonce
    world.finish(record_property)
    assert desk.errors == []


def test_reorg_of_3_blocks__its_nonce_taken_by_another(
    scene: tuple[World, Desk], record_property: Record
) -> None:
    world, desk = scene
    chain = world.stage.chain
    with world.fault():
        fork = mine_three(world, desk)
        signed = key("submitter first").sign_transaction(
            {
                "type": 2,
                "chainId": chain.chain_id,
                "nonce": fork.ours.nonce,
                "to": key("somebody").address,
                "value": 1,
                "gas": 21_000,
                "maxFeePerGas": 20 * GWEI,
                "maxPriorityFeePerGas": GWEI,
            }
        )
        fork.take([], ["0x" + bytes(signed.raw_transaction).hex()], [], [])
        world.run(minutes=2)
    assert where(world, fork.ours) is None
    assert desk.count("displaced") == 1
    assert desk.journal.get(fork.ours.id).state == "abandoned"
    world.finish(record_property)
    assert desk.errors == []


def test_reorg_deeper_than_the_confirmations__lost(
    scene: tuple[World, Desk], record_property: Record
) -> None:
    world, desk = scene
    with world.fault():
        fork = mine_three(world, desk, depth=7)
        fork.take(*[[]] * 8)
        assert where(world, fork.ours) is None
        world.run(minutes=1)
    assert where(world, desk.journal.get(fork.ours.id)) is not None
    world.finish(record_property)
    assert desk.errors == []
