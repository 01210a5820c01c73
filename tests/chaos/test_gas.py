"""Nonces that others use, fees that rise, and an account that cannot pay them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import pytest

from perpool.keeper.transactions.fees import GWEI
from perpool.keeper.transactions.model import Transaction
from tests.chaos.world import BLOCK, MAX_FEE, Desk, World
from tests.keeper_stage import key
from tests.rpc_proxy import RpcProxy

Record = Callable[[str, object], None]
PATIENCE = 45
ETHER = 10**18


@dataclass
class Scene:
    """A submitter at work, on one node that keeps what it is sent."""

    world: World
    desk: Desk
    node: RpcProxy
    base_fee: int | None = None
    """Held at each block, where it is given."""

    @property
    def address(self) -> str:
        return self.desk.wallet.address

    def mined_nonces(self) -> int:
        chain = self.world.stage.chain
        return int(chain.rpc("eth_getTransactionCount", self.address, "latest"), 16)

    def price_gas(self, wei: int) -> None:
        """Have this be the base fee of the blocks to come."""
        self.base_fee = wei
        self.hold_price()

    def hold_price(self) -> None:
        if self.base_fee is not None:
            chain = self.world.stage.chain
            chain.rpc("anvil_setNextBlockBaseFeePerGas", hex(self.base_fee))

    def in_flight(self) -> Transaction:
        """Step until something has been sent and is not mined yet."""
        for _ in range(40):
            for each in self.desk.journal.open():
                if each.state == "sent":
                    return each
            self.world.step()
        raise AssertionError("nothing was sent")

    def send_by_hand(self, nonce: int, *, gwei: int = 20) -> str:
        """A transaction of the submitter's key that it knows nothing of; gives its hash."""
        chain = self.world.stage.chain
        signed = key(f"submitter {self.desk.name}").sign_transaction(
            {
                "type": 2,
                "chainId": chain.chain_id,
                "nonce": nonce,
                "to": key("somebody").address,
                "value": 1,
                "gas": 21_000,
                "maxFeePerGas": gwei * GWEI,
                "maxPriorityFeePerGas": gwei * GWEI,
            }
        )
        raw = "0x" + bytes(signed.raw_transaction).hex()
        return str(chain.rpc("eth_sendRawTransaction", raw))

    def is_mined(self, hash_: str) -> bool:
        return self.world.stage.chain.rpc("eth_getTransactionReceipt", hash_) is not None


@pytest.fixture
def scene(world: World) -> Iterator[Scene]:
    with RpcProxy(world.stage.anvil.http_url) as node:
        world.add_plain_reporters()
        scene = Scene(world, world.add_desk(endpoints=[node.url]), node)
        world.before_tick.append(scene.hold_price)
        world.run(minutes=2)
        yield scene
        scene.price_gas(GWEI)


# -- nonces --


def test_nonce_gap__a_foreign_transaction_with_a_later_nonce(
    scene: Scene, record_property: Record
) -> None:
    with scene.world.fault():
        foreign = scene.send_by_hand(scene.mined_nonces() + 1)
        scene.world.step()
        # it waits for ours to fill the gap
        assert not scene.is_mined(foreign)
        scene.world.run(minutes=6)
    assert scene.is_mined(foreign)
    scene.world.finish(record_property)
    assert scene.desk.errors == []


def test_nonce_taken__by_a_foreign_transaction(scene: Scene, record_property: Record) -> None:
    with scene.world.fault():
        ours = scene.in_flight()
        assert ours.nonce is not None
        foreign = scene.send_by_hand(ours.nonce)
        scene.world.run(minutes=6)
    assert scene.is_mined(foreign)
    assert not scene.is_mined(ours.attempts[-1].hash)
    assert scene.desk.count("displaced") == 1
    scene.world.finish(record_property)
    assert scene.desk.errors == []


# -- fees --


def test_underpriced_answers(scene: Scene, record_property: Record) -> None:
    with scene.world.fault():
        scene.node.underpriced = 5
        scene.world.run(minutes=6)
    assert scene.node.underpriced == 0
    assert scene.desk.count("replaced") == 5
    for transaction in scene.desk.journal.recent(99):
        for before, after in pairwise(each.fees for each in transaction.attempts):
            assert after.max_fee * 10 >= before.max_fee * 11
            assert after.tip * 10 >= before.tip * 11
    scene.world.finish(record_property)
    assert scene.desk.errors == []


def test_stuck_transaction__base_fee_rises_after_sending(
    scene: Scene, record_property: Record
) -> None:
    with scene.world.fault():
        [before] = scene.in_flight().attempts
        sent_at = scene.world.now
        high = before.fees.max_fee + GWEI
        assert high < MAX_FEE
        scene.price_gas(high)
        scene.world.run(minutes=(PATIENCE + 3 * BLOCK) / 60)
        assert not scene.is_mined(before.hash)
        [now, *_] = [
            each
            for each in scene.desk.journal.recent(5)
            if each.attempts and each.attempts[0].hash == before.hash
        ]
        assert now.mined is not None
        after = next(each for each in now.attempts if each.hash == now.mined.hash)
        assert after.made_at - sent_at <= PATIENCE + BLOCK
        assert after.fees.max_fee >= before.fees.max_fee * 1.1
        assert after.fees.tip >= before.fees.tip * 1.1
        scene.world.run(minutes=5)
    scene.price_gas(GWEI)
    scene.world.finish(record_property)
    assert scene.desk.errors == []


@pytest.mark.parametrize("in_flight", [False, True], ids=["at_rest", "one_in_flight"])
def test_gas_spike_over_the_cap(scene: Scene, record_property: Record, in_flight: bool) -> None:
    world, desk = scene.world, scene.desk
    if in_flight:
        scene.in_flight()
    with world.fault(outage=True):
        scene.price_gas(2 * MAX_FEE)
        offered, nonces = set(scene.node.raws), scene.mined_nonces()
        world.run(minutes=8)
        # nothing new is offered
        assert set(scene.node.raws) == offered
        assert scene.mined_nonces() == nonces
        assert desk.count("held") > 0
    scene.price_gas(MAX_FEE // 2)
    world.finish(record_property)
    assert desk.errors == []
    fees = [each.fees.max_fee for tx in desk.journal.recent(99) for each in tx.attempts]
    assert max(fees) <= MAX_FEE


def test_account_without_ether__then_funded(scene: Scene, record_property: Record) -> None:
    world, desk = scene.world, scene.desk
    chain = world.stage.chain
    with world.fault(outage=True):
        chain.set_balance(scene.address, 0)
        nonces = scene.mined_nonces()
        world.run(minutes=8)
        assert scene.mined_nonces() == nonces
        assert desk.count("short of funds") > 0
        # a higher fee would be no remedy
        assert {len(each.attempts) for each in desk.journal.recent(99)} == {1}
    chain.set_balance(scene.address, ETHER)
    world.finish(record_property)
    assert desk.errors == []
