"""A fuzz that cannot fail is a defect: each weakened copy of a vault breaks what it should.

The machine expects nothing here, and its model is told what is on the chain: so it is the invariant
that notices, not the comparison with the model.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from typing import Any

import pytest

from perpool.build import compile_contract
from perpool.history import DAY
from perpool.reference.perp_books import Held, State
from perpool.reference.presets import KEEP, NEUTRAL
from perpool.reference.targets import CarryParameters
from perpool.replay.stage import percent, venue_parameters
from tests.fuzz.carry_machine import STRATEGY, VAULT, Machine, Outcome, Seen
from tests.stored import Stored
from tests.weakness import Weakness, documented

pytestmark = pytest.mark.fuzz

STEPS = 400
SEEDS = 10
"""Tried in turn until one notices: a mistake may need a rare state."""
AT_ONCE = venue_parameters(DAY)
DELAYED = replace(AT_ONCE, delay_blocks=1)
CALM, DEAR = percent("0.3"), percent(2)
"""Spreads of the swaps that a run begins with."""


@dataclass(frozen=True)
class Case:
    """A weakened vault, and the run that shows it."""

    weakness: Weakness
    says: str
    """By the invariant that it breaks first of all, which may be of several things."""
    seed: int = 1
    """The first that is tried."""
    parameters: CarryParameters = KEEP
    is_delayed: bool = False
    """At a venue that takes its time."""
    spread: int = CALM

    def __str__(self) -> str:
        return str(self.weakness)


CASES = [
    Case(
        Weakness(
            "what a sale left is not counted",
            "CarryStrategy",
            "carry/pools.vy",
            "        book.idle += collateral_out - spent\n",
            "        pass\n",
            ("CAR-1",),
        ),
        "the strategy holds .* tokens",
        seed=2,
        parameters=NEUTRAL,
    ),
    Case(
        Weakness(
            "what the venue pays out is not counted",
            "CarryStrategy",
            "carry/orders.vy",
            "    book.cash += tokens._balance(terms.USDT) - held\n",
            "",
            ("CAR-1",),
        ),
        "the strategy holds .* USDT",
        seed=3,
    ),
    Case(
        Weakness(
            "lent tokens are taken back twice",
            "CarryStrategy",
            "carry/pools.vy",
            "    book.forward_shares -= shares\n",
            "    book.forward_shares -= min(2 * shares, book.forward_shares)\n",
            ("CAR-1",),
        ),
        "the strategy holds .* pool shares",
        seed=5,
    ),
    Case(
        Weakness(
            "left USDT can be claimed again",
            "CarryVault",
            "carry/claiming.vy",
            "    requests.claims[controller].usdt_out = 0\n",
            "",
            ("CAR-1",),
        ),
        "the vault holds .* USDT",
        seed=6,
    ),
    Case(
        Weakness(
            "a transfer to oneself doubles shares",
            "CarryVault",
            "carry/shares.vy",
            "received = accounts.shares_of[receiver]",
            "received = held if receiver == holder else accounts.shares_of[receiver]",
            ("CAR-2",),
        ),
        "shares {",
        seed=8,
    ),
    Case(
        Weakness(
            "shares of a deposit can be claimed again",
            "CarryVault",
            "carry/claiming.vy",
            "shares_out = claims.shares_out - shares",
            "shares_out = claims.shares_out",
            ("CAR-2",),
        ),
        "the vault holds .* shares",
    ),
    Case(
        Weakness(
            "what is set apart of the collateral is not written down",
            "CarryStrategy",
            "carry/exits.vy",
            "    book.apart_collateral += part.collateral\n",
            "",
            ("CAR-3",),
        ),
        "is set apart",
        seed=6,
        is_delayed=True,
    ),
    Case(
        Weakness(
            "the hedge is bought and not sold",
            "CarryStrategy",
            "carry/hedging.vy",
            "convert(held.short, int256) - convert(short, int256)",
            "convert(short, int256) - convert(held.short, int256)",
            ("CAR-4",),
        ),
        "the vault is long",
    ),
    Case(
        Weakness(
            "all pay for the hedge of a deposit",
            "CarryStrategy",
            "carry/entries.vy",
            "min(taken - min(taken, cost), nav_after - min(nav_after, nav))",
            "taken",
            ("CAR-5",),
        ),
        "settle_deposit: a share was worth",
    ),
    Case(
        Weakness(
            "swaps may cost 5 %",
            "CarryStrategy",
            "carry/trades.vy",
            "terms.PARAMETERS.max_slippage",
            "(WAD // 20)",
            # selling for the dust of a redemption costs more then, too
            ("CAR-6", "CAR-5"),
        ),
        " swapped",
        seed=6,
        spread=DEAR,
    ),
    Case(
        Weakness(
            "collateral is supplied for somebody else",
            "CarryStrategy",
            "carry/pools.vy",
            "supply_collateral(token_amount, self)",
            "supply_collateral(token_amount, terms.VAULT)",
            ("CAR-6",),
        ),
        " swapped",
    ),
    Case(
        Weakness(
            "borrowing looks at no ceiling",
            "CarryStrategy",
            "carry/hedging.vy",
            "pools._borrow(min(missing, headroom))",
            "pools._borrow(missing)",
            ("CAR-7",),
        ),
        "borrowed up to",
        parameters=NEUTRAL,
    ),
    Case(
        Weakness(
            "a tip stays in the budget",
            "CarryVault",
            "carry/tips.vy",
            "    self.budget -= tip\n",
            "",
            ("CAR-8",),
        ),
        "diluted by",
        seed=6,
    ),
    Case(
        Weakness(
            "who leaves leaves his tips behind",
            "CarryVault",
            "carry/tips.vy",
            "wad_math._mul_div_down(self.budget, total - shares, total)",
            "self.budget",
            ("CAR-8",),
        ),
        "diluted by",
        seed=5,
    ),
    Case(
        Weakness(
            "nothing due is tipped",
            "CarryStrategy",
            "carry/rebalancing.vy",
            "    if not self._is_due(held, mode):\n        return False\n",
            "    if not self._is_due(held, mode):\n        return True\n",
            ("CAR-8",),
        ),
        "a tip for nothing",
    ),
    Case(
        Weakness(
            "all pay for the fill of a redemption",
            "CarryStrategy",
            "carry/exits.vy",
            "        - cost\n",
            "",
            # where it is set apart and paid out in one call
            ("CAR-9", "CAR-5"),
        ),
        "is left for",
        seed=6,
        is_delayed=True,
    ),
]


class Independent(Machine):
    """A machine that expects nothing: its model is told what there is on the chain."""

    def __init__(
        self,
        seed: int,
        parameters: CarryParameters,
        *,
        is_delayed: bool,
        spread: int = CALM,
        weakness: Weakness | None = None,
    ) -> None:
        artifacts = {name: compile_contract(name) for name in ("CarryVault", "CarryStrategy")}
        if weakness:
            artifacts[weakness.contract] = weakness.compile()
        venue = DELAYED if is_delayed else AT_ONCE
        super().__init__(venue, parameters, seed, *artifacts.values())
        self.stage.conditions = replace(self.stage.conditions, slippage=spread)

    def follow(
        self, name: str, function: str, caller: str, args: tuple[Any, ...], outcome: Outcome
    ) -> None:
        """All that checks and dice ask the model for."""
        self.words.load_into(self.vault)
        stage = self.stage
        strategy, venue, model = stage.addresses[STRATEGY], stage.contracts["perp"], stage.model
        for pool_name, pool in model.pools.items():
            state = stage.contracts[pool_name].state()
            stored = {each.name: getattr(state, each.name) for each in fields(pool.state)}
            pool.state = replace(pool.state, **stored)
        loan = stage.contracts["reverse"].position(strategy)
        model.reverse.collateral_of[STRATEGY], model.reverse.debt_shares[STRATEGY] = loan
        memory, pending = stage.venue.memory, venue.position(strategy).pending
        memory.state = State(*venue.state())
        memory.held[STRATEGY] = Stored(venue).entry(Held, "books", "positions", key=strategy)
        memory.pending = {STRATEGY: pending} if pending else {}
        memory.last_request = venue.last_request()
        memory.last_costs[STRATEGY] = venue.last_cost(strategy)
        emitters = (VAULT, STRATEGY, "perp")
        model.events = self._events(stage.evm.last, emitters) if outcome[0] is None else []

    def compare(self, seen: Seen, people: set[str]) -> None:
        """With nothing."""


def first_violation(case: Case, seed: int) -> str:
    """Play until an invariant breaks. What it says, with its ID; "" where none does."""
    machine = Independent(
        seed,
        case.parameters,
        is_delayed=case.is_delayed,
        spread=case.spread,
        weakness=case.weakness,
    )
    try:
        machine.play(STEPS)
    except AssertionError as error:
        return str(error).splitlines()[0]
    return ""


@pytest.mark.parametrize("case", CASES, ids=str)
def test_carry_vault_weakened__breaks_its_invariant(case: Case) -> None:
    """That which it names first, in one of the runs; in others the rest may break before it."""
    weakness = case.weakness
    seen = []
    for seed in range(case.seed, case.seed + SEEDS):
        seen.append(said := first_violation(case, seed))
        invariant = said.partition(": ")[0]
        assert invariant in ("", *weakness.breaks), said
        if invariant == weakness.breaks[0]:
            assert re.search(case.says, said), said
            return
    pytest.fail(f"{SEEDS} runs did not notice that {weakness.name}: {seen}")


@pytest.mark.parametrize("is_delayed", [False, True])
@pytest.mark.parametrize("parameters", [KEEP, NEUTRAL], ids=["keep", "neutral"])
def test_carry_vault_weakened__the_whole_one_breaks_none(
    parameters: CarryParameters, is_delayed: bool
) -> None:
    machine = Independent(1, parameters, is_delayed=is_delayed)

    machine.play(100)

    assert machine.successes["settle_redeem"] > 0
    assert machine.successes["rebalance"] > 0


def test_carry_vault_weakened__all_invariants_can_fail() -> None:
    assert {case.weakness.breaks[0] for case in CASES} == documented("CAR")
