"""How long the machines run, and what has to go through for a run to count."""

from __future__ import annotations

import os

from tests.invariants.machine import Machine
from tests.invariants.rules import CALLS, MOVES, TROUBLE, Rule

DEFAULT_STEPS = 1_200
STEPS = int(os.environ.get("PERPOOL_FUZZ_STEPS", DEFAULT_STEPS))
"""Steps of one run. `PERPOOL_FUZZ_STEPS=50000 make fuzz` for a long one."""

SELDOM = {
    "liquidate": 1,
    "liquidate_by_purchase": 1,
    "withdraw_reserve": 1,
    "request_reserve_withdrawal": 1,
    "set_fee": 3,
    "set_hook": 3,
    "set_paused": 3,
    "set_caps": 3,
    "donate": 3,
    "break_prices": 1,
    "set_terms": 3,
}
"""Least successes in DEFAULT_STEPS of what is drawn seldom."""
OFTEN = 6
"""Least successes of everything else."""


def check_successes(machine: Machine, rules: dict[Rule, int], steps: int = STEPS) -> None:
    """Every rule went through often enough, so that the run tested what it says."""
    names = {"transfer_from": "transferFrom"}
    scale = steps / DEFAULT_STEPS
    for rule in rules:
        name = names.get(rule.__name__, rule.__name__)
        least = max(int(SELDOM.get(name, OFTEN) * scale), 1)
        went = machine.successes[name]
        assert went >= least, f"{name} went through {went} times, not {least}: {machine.refusals}"
    inner = sum(times for name, times in machine.successes.items() if name.startswith("inner"))
    assert inner >= 3 * scale, "too little is done in the middle of calls"
    assert machine.logged["HookFailed"] >= 1


MOVING_RULES = CALLS | TROUBLE | MOVES
