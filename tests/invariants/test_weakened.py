"""A fuzz that cannot fail is a defect: each weakened copy of a pool breaks the invariant it should.

The machine runs `independent` here: where chain and model part it goes on from what the chain is,
so it is the invariant that notices, not the comparison with the model.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from perpool.build import Patches, compile_patched
from perpool.evm import Evm
from tests.invariants import rules
from tests.invariants.arena import Arena, deploy_arena
from tests.invariants.machine import playing, replay, shorten
from tests.invariants.steps import Step, Violation

STEPS = 2_000
SEEDS = (1, 2, 3, 4)
"""Tried in turn until one notices: a mistake may need a rare state."""
MODULES = "contracts/modules"


@dataclass(frozen=True)
class Weakness:
    """A mistake, by the pool that has it, and the invariants of which it breaks one first."""

    name: str
    pool: str
    file: str
    old: str
    new: str
    breaks: tuple[str, ...]

    @property
    def patches(self) -> Patches:
        return {f"{MODULES}/{self.file}": [(self.old, self.new)]}


WEAKNESSES = [
    Weakness(
        "accrual forgets the lenders",
        "ReversePool",
        "ledger.vy",
        "state.supply_assets = unsafe_add(state.supply_assets, interest)",
        "state.supply_assets = unsafe_add(state.supply_assets, 0)",
        ("INT-1",),
    ),
    Weakness(
        "a transfer to oneself doubles shares",
        "ForwardPool",
        "share_token.vy",
        "received: uint256 = self._credit(receiver, shares)",
        "received: uint256 = held if receiver == holder else accounts.shares_of[receiver]\n"
        "    accounts.shares_of[receiver] = received + shares",
        ("ACC-2", "RND-1", "SEQ-1"),
    ),
    Weakness(
        "a deposit rounds shares up",
        "ReversePool",
        "vault.vy",
        "shares: uint256 = ledger._to_shares_down(state, received)",
        "shares: uint256 = ledger._to_shares_up(state, received)",
        ("SHR-1",),
    ),
    Weakness(
        "a new debt rounds its shares down",
        "ReversePool",
        "ledger.vy",
        "return wad_math._mul_div_up(assets, all_debt_shares, all_debt)",
        "return wad_math._mul_div_down(assets, all_debt_shares, all_debt)",
        ("RND-1",),
    ),
    Weakness(
        "collateral counts twice",
        "ReversePool",
        "reverse/borrowing.vy",
        "loans._set_position(on_behalf, collateral + received, debt_shares)",
        "loans._set_position(on_behalf, collateral + 2 * received, debt_shares)",
        ("SEQ-1",),
    ),
    Weakness(
        "margin leaves without a look at the health",
        "ForwardPool",
        "forward/shorting.vy",
        "shorts._check_safe(debt, collateral, shorts._upper_price())",
        "assert debt > 0",
        ("HLT-1", "LTV-1"),
    ),
    Weakness(
        "new debt at the better of two prices",
        "ReversePool",
        "reverse/loans.vy",
        "wad_math._mul_div_down(collateral, lower, PRICE_SCALE)",
        "wad_math._mul_div_down(collateral, upper, PRICE_SCALE)",
        ("LTV-1",),
    ),
    Weakness(
        "a pause holds withdrawals",
        "ForwardPool",
        "vault.vy",
        "ledger._check_cash(state, assets)",
        "ledger._check_not_paused(state.flags)\n    ledger._check_cash(state, assets)",
        ("EXT-1",),
    ),
    Weakness(
        "a pause lets borrowing and shorting go on",
        "ForwardPool",
        "ledger.vy",
        "self._check_not_paused(state.flags)",
        "pass",
        ("PAU-1",),
    ),
    Weakness(
        "a debt cap that is not looked at",
        "ReversePool",
        "ledger.vy",
        "state.debt_assets > self.caps_word >> 128",
        "state.debt_assets > MAX_UINT128",
        ("CAP-1",),
    ),
    Weakness(
        "debts may become dust",
        "ForwardPool",
        "ledger.vy",
        "debt < market.CONFIG.leg.min_debt",
        "debt < 1",
        ("DST-1",),
    ),
    Weakness(
        "the bonus is not held to the surplus",
        "ReversePool",
        "liquidation.vy",
        "return min(bonus, max(surplus, leg.bonus_base))",
        "return bonus",
        ("LIQ-1",),
    ),
    Weakness(
        "the bonus is paid twice",
        "ReversePool",
        "reverse/liquidating.vy",
        "WAD + bonus",
        "WAD + 2 * bonus",
        ("LIQ-1", "LIQ-2"),
    ),
    Weakness(
        "liquidation from the limit of new debt on",
        "ReversePool",
        "reverse/liquidating.vy",
        "market.CONFIG.leg.liquidation_ltv",
        "market.CONFIG.leg.max_ltv",
        ("LIQ-4",),
    ),
    Weakness(
        "liquidation in the block of opening",
        "ForwardPool",
        "forward/liquidating.vy",
        "if block.number <= packing._short_block(word)",
        "if block.number < packing._short_block(word)",
        ("LIQ-4",),
    ),
    Weakness(
        "the reserve does not pay for bad debt",
        "ReversePool",
        "ledger.vy",
        "min(loss, self._to_assets_down(state, state.reserve_shares))",
        "min(loss, 0)",
        ("SHR-2",),
    ),
    Weakness(
        "the short seller gets the borrowed tokens too",
        "ForwardPool",
        "forward/trades.vy",
        "tokens._push(token, swapper, token_amount)",
        "tokens._push(token, msg.sender, token_amount)",
        ("SHORT-1",),
    ),
    Weakness(
        "the hook does not hear of who receives shares",
        "ForwardPool",
        "share_token.vy",
        "accounts._shares_changed(flags, receiver, received)",
        "pass",
        ("HOK-1",),
    ),
]


def weakened_arena(evm: Evm, weakness: Weakness) -> Arena:
    """A market in which one pool has the weakness."""
    artifact = compile_patched(weakness.pool, weakness.patches)
    if weakness.pool == "ReversePool":
        return deploy_arena(evm, reverse_pool=artifact)
    return deploy_arena(evm, forward_pool=artifact)


def first_violation(
    arena: Arena, seed: int, *, independent: bool = True
) -> tuple[Violation | None, list[Step]]:
    """Play until an invariant breaks; the trace up to there."""
    rng = random.Random(seed)
    with playing(arena, independent=independent) as machine:
        try:
            for step in rules.opening(machine):
                machine.run(step)
            while machine.count < STEPS:
                machine.run(rules.draw_moving(machine, rng))
        except Violation as violation:
            return violation, machine.trace
    return None, machine.trace


@pytest.mark.parametrize("weakness", WEAKNESSES, ids=lambda each: each.name.replace(" ", "-"))
def test_weakened__breaks_its_invariant(evm: Evm, weakness: Weakness) -> None:
    arena = weakened_arena(evm, weakness)

    found = (first_violation(arena, seed)[0] for seed in SEEDS)
    violation = next((violation for violation in found if violation), None)

    assert violation is not None, f"{len(SEEDS)} runs did not notice that {weakness.name}"
    assert violation.invariant in weakness.breaks, str(violation)


def test_weakened__the_model_notices_what_no_invariant_forbids(evm: Evm) -> None:
    """Interest rounded down is a unit, and nobody's loss but the lenders' to come."""
    file = {
        f"{MODULES}/rate_model.vy": [
            ("_mul_div_up(debt, growth, WAD)", "_mul_div_down(debt, growth, WAD)")
        ]
    }
    arena = deploy_arena(evm, reverse_pool=compile_patched("ReversePool", file))

    violation, _ = first_violation(arena, seed=1, independent=False)

    assert violation is not None
    assert violation.invariant == "MOD-1"


def test_weakened__trace_is_cut_short_and_fails_again(evm: Evm) -> None:
    weakness = next(each for each in WEAKNESSES if "margin" in each.name)
    arena = weakened_arena(evm, weakness)
    violation, trace = first_violation(arena, seed=1)
    assert violation is not None

    short = shorten(arena, trace, violation.invariant, independent=True, seconds=30)

    again = replay(arena, short, independent=True)
    assert again is not None
    assert again.invariant == violation.invariant
    # lend, open, and take the margin out, and what made that much of it free
    assert len(short) <= 12 < len(trace), "\n".join(str(step) for step in short)
    assert str(short[-1]).startswith(f"{short[-1].caller}: forward.remove_margin(")
