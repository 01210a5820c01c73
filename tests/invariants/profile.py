"""How long the machines run, and what has to go through for a run to count."""

from __future__ import annotations

import os

from tests.invariants.machine import Machine
from tests.invariants.rules import CALLS, MOVES, TROUBLE, Rule

DEFAULT_STEPS = 1_200
STEPS = int(os.environ.get("PERPOOL_FUZZ_STEPS", DEFAULT_STEPS))
"""Steps of one run. `PERPOOL_FUZZ_STEPS=50000 make fuzz` for a long one."""

SELDOM = {
    "liquidate",
    "liquidate_by_purchase",
    "withdraw_reserve",
    "request_reserve_withdrawal",
    "set_fee",
    "set_hook",
    "set_paused",
    "set_caps",
    "donate",
    "break_prices",
    "set_terms",
}
"""What has to go through once, however long the run: standing time limits some of it."""
OFTEN = 6
"""How often everything else has to go through in DEFAULT_STEPS."""


def check_successes(machine: Machine, rules: dict[Rule, int], steps: int = STEPS) -> None:
    """Every rule went through often enough, so that the run tested what it says."""
    names = {"transfer_from": "transferFrom"}
    scale = steps / DEFAULT_STEPS
    for rule in rules:
        name = names.get(rule.__name__, rule.__name__)
        least = 1 if name in SELDOM else max(int(OFTEN * scale), 1)
        went = machine.successes[name]
        refused = {why: times for (which, why), times in machine.refusals.items() if which == name}
        assert went >= least, f"{name} went through {went} times, not {least}; refused: {refused}"
    inner = sum(times for name, times in machine.successes.items() if name.startswith("inner"))
    assert inner >= 3 * scale, "too little is done in the middle of calls"
    assert machine.logged["HookFailed"] >= 1


MOVING_RULES = CALLS | TROUBLE | MOVES
