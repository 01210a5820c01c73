"""Both pools while neither time nor price moves, so that nobody may gain and nobody fall ill.

Each run begins with positions near their limits, half a month of interest and a move of the price
that leaves some of them unhealthy, and then stands still until everybody leaves.
"""

import pytest

from perpool.evm import Evm
from tests.invariants import draws, playbooks, rules
from tests.invariants.arena import deploy_arena
from tests.invariants.machine import play
from tests.invariants.profile import STEPS, check_successes

pytestmark = pytest.mark.fuzz

# by the move of the price there are not all kinds of liquidation, nor always a reserve to take
DEPENDING = (rules.liquidate, rules.liquidate_by_purchase, rules.withdraw_reserve)
RULES = {rule: weight for rule, weight in rules.CALLS.items() if rule not in DEPENDING}


@pytest.mark.parametrize(
    ("seed", "percent", "token_decimals", "usdt_decimals"),
    [(1, 70, 18, 6), (2, 135, 18, 6), (3, 55, 8, 6), (4, 190, 24, 18)],
)
def test_frozen__no_invariant_breaks(
    evm: Evm, seed: int, percent: int, token_decimals: int, usdt_decimals: int
) -> None:
    arena = deploy_arena(evm, token_decimals=token_decimals, usdt_decimals=usdt_decimals)
    started = evm.timestamp

    machine = play(
        arena, draws.frozen, playbooks.leave, playbooks.crash(percent), seed=seed, steps=STEPS
    )

    waits = machine.successes["warp"] * playbooks.CRASH_WAIT + playbooks.LAST_WAIT
    assert machine.model.now - started == waits
    assert machine.successes["set_prices"] == 1
    liquidations = machine.successes["liquidate"] + machine.successes["liquidate_by_purchase"]
    assert liquidations >= 1
    check_successes(machine, RULES)
