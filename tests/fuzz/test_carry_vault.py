"""Carry vaults equal their reference model in long random play: docs/invariants.md, CAR-1 on."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from perpool.history import DAY
from perpool.reference.presets import KEEP, NEUTRAL
from perpool.reference.targets import CarryParameters
from perpool.replay.stage import venue_parameters
from tests.fuzz.carry_machine import RULES, Machine

pytestmark = pytest.mark.fuzz

STEPS = int(os.environ.get("PERPOOL_FUZZ_STEPS", "600"))
AT_ONCE = venue_parameters(DAY)
DELAYED = replace(AT_ONCE, delay_blocks=1)
SELDOM = {"liquidate_short", "liquidate_loan", "cancel"}


@pytest.mark.parametrize(("seed", "parameters"), [(1, KEEP), (2, NEUTRAL), (3, KEEP), (4, NEUTRAL)])
@pytest.mark.parametrize("delayed", [False, True])
def test_carry_vault(seed: int, parameters: CarryParameters, delayed: bool) -> None:
    machine = Machine(DELAYED if delayed else AT_ONCE, parameters, seed)
    machine.play(STEPS)

    scale = STEPS / 600
    for rule in RULES:
        least = 1 if rule in SELDOM else max(int(4 * scale), 1)
        if rule == "liquidate_loan" and parameters == KEEP:
            # it owes so little that no fall may get there
            least = 0
        refused = {why: n for (which, why), n in machine.refusals.items() if which == rule}
        went = machine.successes[rule]
        assert went >= least, f"{rule} went through {went} times, not {least}; refused: {refused}"
    # what somebody else settles is the strategy's to find out
    assert machine.states["settled by anybody"] >= 1 or not delayed
    # it stood on both sides
    assert machine.states["short"] > STEPS // 20
    assert machine.states["lend"] > STEPS // 20
