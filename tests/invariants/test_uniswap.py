"""Both pools with real Uniswap v3 as the venue.

The model does not know Uniswap's prices, so a step that trades is only held to the invariants,
and the model goes on from what the chain is. All other steps are equal to the unit as ever.
"""

import pytest

from perpool.evm import Evm
from tests.invariants import draws, playbooks
from tests.invariants.arena import deploy_arena
from tests.invariants.machine import play
from tests.invariants.profile import DEFAULT_STEPS, STEPS

pytestmark = pytest.mark.fuzz


@pytest.mark.parametrize("seed", [1, 2])
def test_uniswap__no_invariant_breaks(evm: Evm, seed: int) -> None:
    arena = deploy_arena(evm, uniswap=True)

    machine = play(
        arena, draws.uniswap, playbooks.leave, playbooks.opening, seed=seed, steps=STEPS // 2
    )

    scale = STEPS / DEFAULT_STEPS
    for trade in ("open_short", "close_short"):
        assert machine.successes[trade] >= 4 * scale
    assert machine.successes["liquidate"] + machine.successes["liquidate_by_purchase"] >= 1
