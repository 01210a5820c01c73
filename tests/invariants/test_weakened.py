"""A fuzz that cannot fail is a defect: each weakened copy of a pool breaks the invariant it should.

The machine runs `independent` here: where chain and model part it goes on from what the chain is,
so it is the invariant that notices, not the comparison with the model.
"""

from __future__ import annotations

import random

import pytest

from perpool.build import compile_patched
from perpool.evm import Evm
from tests.invariants import draws, playbooks
from tests.invariants.arena import Arena, deploy_arena
from tests.invariants.machine import playing, replay, shorten
from tests.invariants.steps import Step, Violation
from tests.weakness import MODULES, Weakness

STEPS = 2_000
SEEDS = (1, 2, 3, 4)
"""Tried in turn until one notices: a mistake may need a rare state."""


WEAKNESSES = [
    Weakness(
        "accrual forgets the lenders",
        "ReversePool",
        "ledger.vy",
        "totals.debt_assets = unsafe_add(totals.debt_assets, totals.interest)",
        "totals.debt_assets = unsafe_add(totals.debt_assets, totals.interest)\n"
        "    totals.cash -= min(totals.cash, totals.interest)",
        ("INT-1",),
    ),
    Weakness(
        "the fee is taken of all assets",
        "ForwardPool",
        "supply.vy",
        "packing._fee_of(totals.clock, unsafe_sub(assets, charged))",
        "packing._fee_of(totals.clock, assets)",
        ("SHR-1", "ACC-1"),
    ),
    Weakness(
        "lenders claim the fee too",
        "ReversePool",
        "supply.vy",
        "assets=unsafe_sub(assets, fee)",
        "assets=assets",
        ("INT-1", "ACC-1"),
    ),
    Weakness(
        "a withdrawal is not taken from the cash",
        "ForwardPool",
        "vault.vy",
        "changed.totals.cash = unsafe_sub(changed.totals.cash, assets)",
        "changed.totals.cash = unsafe_sub(changed.totals.cash, assets - 1)",
        ("ACC-1", "SEQ-1"),
    ),
    Weakness(
        "a fee is charged again and again",
        "ReversePool",
        "supply.vy",
        "changed.charged = unsafe_add(claims.assets, claims.fee)\n"
        "    changed.assets = changed.charged\n"
        "    changed.fee = 0",
        "changed.fee = claims.fee",
        ("SHR-1",),
    ),
    Weakness(
        "the shares for the fee are rounded up",
        "ForwardPool",
        "supply.vy",
        "self._to_shares_down(claims, claims.fee)",
        "self._to_shares_up(claims, claims.fee)",
        ("SHR-1",),
    ),
    Weakness(
        "the reserve gets no shares for the fee",
        "ReversePool",
        "supply.vy",
        "self._to_shares_down(claims, claims.fee)",
        "self._to_shares_down(claims, 0)",
        ("RND-1",),
    ),
    Weakness(
        "a new fee is taken of what accrued before",
        "ForwardPool",
        "controls.vy",
        "supply._charge(supply._accrue())\n    claims.totals.clock",
        "supply._accrue()\n    claims.totals.clock",
        ("SHR-1", "RND-1"),
    ),
    Weakness(
        "bad debt before the fee is charged",
        "ReversePool",
        "supply.vy",
        "self._charge(self._claims_of(totals))",
        "self._claims_of(totals)",
        ("SHR-2", "ACC-1"),
    ),
    Weakness(
        "interest cannot be withdrawn before it is charged",
        "ReversePool",
        "vault.vy",
        "if assets > claims.charged:",
        "if assets > max_value(uint256) - 1:",
        ("EXT-1",),
    ),
    Weakness(
        "a transfer to oneself doubles shares",
        "ForwardPool",
        "share_token.vy",
        "received = accounts.shares_of[receiver]",
        "received = held if receiver == holder else accounts.shares_of[receiver]",
        ("ACC-2", "RND-1", "SEQ-1"),
    ),
    Weakness(
        "a deposit rounds shares up",
        "ReversePool",
        "vault.vy",
        "shares: uint256 = supply._to_shares_down(claims, received)",
        "shares: uint256 = supply._to_shares_up(claims, received)",
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
        "ledger._check_cash(claims.totals, assets)",
        "ledger._check_not_paused(claims.totals.clock)\n"
        "    ledger._check_cash(claims.totals, assets)",
        ("EXT-1",),
    ),
    Weakness(
        "a pause lets borrowing and shorting go on",
        "ForwardPool",
        "ledger.vy",
        "self._check_not_paused(totals.clock)",
        "pass",
        ("PAU-1",),
    ),
    Weakness(
        "a debt cap that is not looked at",
        "ReversePool",
        "ledger.vy",
        "totals.debt_assets > self.caps_word >> 128",
        "totals.debt_assets > MAX_UINT128",
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
        "supply.vy",
        "min(loss, self._to_assets_down(claims, reserve))",
        "min(loss, 0)",
        ("SHR-2",),
    ),
    Weakness(
        "the short seller gets the borrowed tokens too",
        "ForwardPool",
        "forward/trades.vy",
        "tokens._push(token_in, swapper, amount_in)",
        "tokens._push(token_in, msg.sender, amount_in)",
        ("SHORT-1",),
    ),
    Weakness(
        "the hook does not hear of who receives shares",
        "ForwardPool",
        "share_token.vy",
        "hooks._tell(clock, receiver, IHook.Side.HOLDERS, unsafe_add(received, shares))",
        "pass",
        ("HOK-1",),
    ),
]


def weakened_arena(evm: Evm, weakness: Weakness) -> Arena:
    """A market in which one pool has the weakness."""
    artifact = weakness.compile()
    if weakness.contract == "ReversePool":
        return deploy_arena(evm, reverse_pool=artifact)
    return deploy_arena(evm, forward_pool=artifact)


def first_violation(
    arena: Arena, seed: int, *, independent: bool = True
) -> tuple[Violation | None, list[Step]]:
    """Play until an invariant breaks, and at the end let everybody leave; the trace up to there."""
    rng = random.Random(seed)
    with playing(arena, independent=independent) as machine:
        try:
            for step in playbooks.opening(machine):
                machine.run(step)
            while machine.count < STEPS:
                machine.run(draws.moving(machine, rng))
            for step in playbooks.leave(machine):
                machine.run(step)
        except Violation as violation:
            return violation, machine.trace
    return None, machine.trace


@pytest.mark.parametrize("weakness", WEAKNESSES, ids=str)
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

    short = shorten(arena, trace, violation.invariant, independent=True, seconds=600)

    again = replay(arena, short, independent=True)
    assert again is not None
    assert again.invariant == violation.invariant
    # lend, open, and take the margin out, and what made that much of it free
    assert len(short) <= 12 < len(trace), "\n".join(str(step) for step in short)
    assert str(short[-1]).startswith(f"{short[-1].caller}: forward.remove_margin(")
