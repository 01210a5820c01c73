"""An outbox on anvil under anything in any order: nothing is sent twice, and nothing stays stuck.

Rounds are offered, mined, dropped from the pool, reorganised away, expire; the base fee jumps, the
same key signs elsewhere, processes restart, the lease goes back and forth between two of them.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from perpool.anvil import Anvil
from perpool.chain import ChainError
from perpool.keeper.model import Intent
from perpool.keeper.transactions.fees import GWEI
from perpool.keeper.transactions.outbox import Outbox
from tests.integration.lane_on_anvil import Stage, evidence

ACTIONS = 60
DEEPEST = 4
"""Blocks of a reorganisation: fewer than the confirmations."""


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with Anvil(base_fee=GWEI) as anvil:
        stage = Stage.start(anvil, tmp_path)
        stage.mine(8)
        try:
            yield stage
        finally:
            stage.close()


class Weather:
    """What happens to the chain, by a seed."""

    def __init__(self, stage: Stage, seed: int) -> None:
        self.stage = stage
        self.dice = random.Random(seed)
        self.ground = stage.chain.block_number
        self.expiry: dict[int, int] = {}
        """Of each round."""

    def strike(self, kind: str) -> None:
        stage, dice = self.stage, self.dice
        match kind:
            case "round":
                number = len(self.expiry) + 1
                self.expiry[number] = stage.now + dice.choice([20, 100, 1_000])
            case "mine":
                stage.mine(dice.choice([1, 1, 2]))
            case "time":
                stage.now += dice.choice([10, 50])
            case "drop":
                stage.chain.rpc("anvil_dropAllTransactions")
            case "fees":
                stage.base_fee(dice.choice([1, 5, 40, 150]) * GWEI)
            case "reorganise":
                depth = dice.randint(1, DEEPEST)
                if stage.chain.block_number - depth > self.ground:
                    stage.reorganise(depth)
            case "by hand":
                with contextlib.suppress(ChainError):  # the pool may prefer what it has
                    nonce = stage.mined_nonces() + dice.choice([0, 0, 0, 1])
                    stage.send_by_hand(nonce, gwei=dice.choice([3, 10, 60]))

    def clear_up(self) -> None:
        """A quiet block, some time after the last."""
        self.stage.base_fee(GWEI)
        self.stage.now += 20


@pytest.mark.parametrize("seed", range(30))
def test_one_lane(stage: Stage, seed: int) -> None:
    weather = Weather(stage, seed)
    outbox = stage.outbox()
    kinds = ["mine", "time", "drop", "fees", "reorganise", "by hand", "restart", "again"]
    kinds += 2 * ["mine"] + 3 * ["round"] + 4 * ["step"]
    for _ in range(ACTIONS):
        kind = weather.dice.choice(kinds)
        weather.strike(kind)
        if kind == "step":
            outbox.step()
        elif kind == "restart":
            outbox = stage.restart(outbox)
        elif kind in ("round", "again") and weather.expiry:
            rounds = list(weather.expiry)
            number = rounds[-1] if kind == "round" else weather.dice.choice(rounds)
            outbox.offer([stage.parcel("ADA", number)], weather.expiry[number])

    for _ in range(40):
        weather.clear_up()
        outbox.step()
        if not outbox.journal.open():
            break
    assert outbox.journal.open() == []
    noted = stage.noted()
    assert set(noted.values()) <= {1}
    for number in weather.expiry:
        done = outbox.journal.state(Intent("price", "ADA", number)) == "done"
        assert done == (noted[evidence("ADA", number)] == 1)
    outbox.offer([stage.parcel("ADA", 10_000)], None)
    outbox.step()
    stage.mine()
    outbox.step()
    assert stage.times_noted("ADA", 10_000) == 1


class Pair:
    """Two keepers, one lease. The one that has it sends the newest round that is not there yet."""

    def __init__(self, weather: Weather) -> None:
        self.weather = weather
        self.stage = weather.stage
        self.holder = "keeper"
        self.note: str | None = None
        self.outboxes = {name: self.open(name) for name in ("keeper", "standby")}

    def open(self, name: str) -> Outbox:
        def announce(note: str) -> None:
            assert self.holder == name, "nothing is announced by who has no lease"
            self.note = note

        return self.stage.outbox(name=name, announce=announce)

    def restart(self, name: str) -> None:
        self.outboxes[name].journal.close()
        self.outboxes[name] = self.open(name)

    def tick(self, name: str) -> None:
        outbox, now = self.outboxes[name], self.stage.now
        if self.holder != name:
            outbox.watch()
            return
        if self.note:
            outbox.adopt(self.note)
        outbox.step()
        due = [
            number
            for number, expiry in self.weather.expiry.items()
            if now < expiry and not self.stage.times_noted("ADA", number)
        ]
        if due and not outbox.busy:
            outbox.offer([self.stage.parcel("ADA", due[-1])], self.weather.expiry[due[-1]])
            outbox.step()


@pytest.mark.parametrize("seed", range(20))
def test_two_lanes_and_one_lease(stage: Stage, seed: int) -> None:
    weather = Weather(stage, seed)
    pair = Pair(weather)
    kinds = ["round", "time", "drop", "reorganise", "restart", "other"]
    kinds += 2 * ["lease"] + 3 * ["mine"] + 4 * ["holder"]
    for _ in range(ACTIONS):
        kind = weather.dice.choice(kinds)
        weather.strike(kind)
        other = "standby" if pair.holder == "keeper" else "keeper"
        if kind == "lease":
            pair.holder = other
        elif kind == "restart":
            pair.restart(weather.dice.choice(["keeper", "standby"]))
        elif kind in ("holder", "other"):
            pair.tick(pair.holder if kind == "holder" else other)

    for _ in range(80):
        weather.clear_up()
        for name in pair.outboxes:
            pair.tick(name)
    assert set(stage.noted().values()) <= {1}
    assert pair.outboxes[pair.holder].journal.open() == []
