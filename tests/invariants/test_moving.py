"""Both pools while time, prices and funding move, against the model: docs/invariants.md."""

import pytest

from perpool.evm import Evm
from tests.invariants import draws, playbooks
from tests.invariants.arena import deploy_arena
from tests.invariants.machine import no_prologue, play
from tests.invariants.profile import MOVING_RULES, STEPS, check_successes

pytestmark = pytest.mark.fuzz


@pytest.mark.parametrize(
    ("seed", "token_decimals", "usdt_decimals"),
    [(1, 18, 6), (2, 8, 6), (3, 6, 6), (4, 24, 18), (5, 18, 6)],
)
def test_moving__no_invariant_breaks(
    evm: Evm, seed: int, token_decimals: int, usdt_decimals: int
) -> None:
    arena = deploy_arena(evm, token_decimals=token_decimals, usdt_decimals=usdt_decimals)

    machine = play(arena, draws.moving, playbooks.leave, playbooks.opening, seed=seed, steps=STEPS)

    check_successes(machine, MOVING_RULES)


def test_moving__from_empty_pools(evm: Evm) -> None:
    arena = deploy_arena(evm)

    machine = play(arena, draws.moving, playbooks.leave, no_prologue, seed=6, steps=STEPS // 2)

    assert machine.successes["deposit"] > 0
    assert machine.successes["open_short"] > 0
