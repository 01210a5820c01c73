"""The perp venue equals its reference model in long random play: docs/invariants.md, VEN-1 on."""

from __future__ import annotations

import os

import pytest

from perpool.build import compile_patched
from perpool.evm import Evm
from tests.fuzz.perp_machine import RULES, Machine
from tests.market import wad
from tests.venues import Parameters, deploy_venue
from tests.weakness import documented

pytestmark = pytest.mark.fuzz

STEPS = int(os.environ.get("PERPOOL_FUZZ_STEPS", "500"))
SELDOM = {"liquidate", "crash", "auto_deleverage", "donate", "go_stale"}


MODULES = "contracts/modules/perp"
FAULTS = {
    "VEN-1": (f"{MODULES}/requests.vy", "    state.credits -= usdt_amount\n", ""),
    "VEN-2": (f"{MODULES}/positions.vy", "        after.state.short_size -= size\n", ""),
    "VEN-3": (
        f"{MODULES}/books.vy",
        "state.short_entries + state.long_gains + self._receipts(state)",
        "state.short_entries + self._receipts(state)",
    ),
    "VEN-4": (f"{MODULES}/funding.vy", "    after.state.dues_e36 -= due\n", ""),
    "VEN-5": (f"{MODULES}/trading.vy", "        return errors.EXPOSURE_CAP\n", "        pass\n"),
    "VEN-6": (
        f"{MODULES}/closing.vy",
        "    assert equity < self._maintenance(opened.position, mark), errors.HEALTHY\n",
        "",
    ),
    "VEN-7": (
        f"{MODULES}/closing.vy",
        "    if relief <= missing:\n",
        "    if relief > 0:\n",
    ),
    "VEN-8": (
        f"{MODULES}/positions.vy",
        "lower: uint256 = min(usdt_amount, before.position.entry_notional)",
        "lower: uint256 = min(usdt_amount, before.position.entry_notional) // 2",
    ),
    "VEN-9": (
        f"{MODULES}/liquidity.vy",
        "gains: int256 = max(self._unrealised(state), 0)",
        "gains: int256 = 0",
    ),
    "VEN-10": (
        f"{MODULES}/requests.vy",
        "prices.mark == 0 or terms._observed_at() <= asked.made_at",
        "prices.mark == 0",
    ),
    "VEN-11": (
        f"{MODULES}/closing.vy",
        "terms._mark_or(books.state_.mark_e36)",
        "terms._mark()",
    ),
}
"""What breaks which invariant: a file, and what is put for what in it."""


def run(evm: Evm, seed: int, parameters: Parameters, **decimals: int) -> Machine:
    """A whole run, with a feed of USDT's price beside the token's."""
    machine = Machine(deploy_venue(evm, parameters, usdt_usd=True, **decimals), parameters)
    try:
        machine.play(seed, STEPS)
    finally:
        machine.close()
    return machine


def check_successes(machine: Machine, rules: set[str], often: int) -> None:
    """Every rule went through often enough, so that the run tested what it says."""
    scale = STEPS / 500
    for rule in rules:
        least = max(int((1 if rule in SELDOM else often) * scale), 1)
        refused = {why: times for (which, why), times in machine.refusals.items() if which == rule}
        went = machine.successes[rule]
        assert went >= least, f"{rule} went through {went} times, not {least}; refused: {refused}"


@pytest.mark.parametrize(
    ("seed", "token_decimals", "usdt_decimals"),
    [(1, 18, 6), (2, 6, 6), (3, 8, 18), (4, 24, 6)],
)
def test_perp_venue__at_once(evm: Evm, seed: int, token_decimals: int, usdt_decimals: int) -> None:
    parameters = Parameters(exposure_cap=15_000)
    machine = run(evm, seed, parameters, token_decimals=token_decimals, usdt_decimals=usdt_decimals)

    check_successes(machine, set(RULES), 4)
    assert machine.scaled >= 1
    refused = {reason for rule, reason in machine.refusals if rule in ("increase", "decrease")}
    assert refused >= {
        "insufficient margin",
        "insufficient liquidity",
        "exposure cap",
        "side would flip",
        "beyond limit price",
        "stale price",
    }


@pytest.mark.parametrize(("seed", "delay"), [(11, 1), (12, 5)])
def test_perp_venue__with_a_delay(evm: Evm, seed: int, delay: int) -> None:
    parameters = Parameters(delay_blocks=delay, largest_long_gain=wad(50), fee_to_insurance=0)
    machine = run(evm, seed, parameters)

    # who is deleveraged does not depend on the delay, and fewer positions are there to be
    check_successes(machine, set(RULES) - {"auto_deleverage"}, 1)
    assert set(machine.reasons) >= {
        "deadline passed",
        "insufficient margin",
        "beyond limit price",
    }
    assert min(machine.logged["Confirmed"], machine.logged["Failed"]) >= 5


@pytest.mark.parametrize("invariant", FAULTS)
def test_perp_venue__weakened(evm: Evm, invariant: str) -> None:
    """The machine finds each fault by the invariant that it breaks, without the model."""
    path, good, bad = FAULTS[invariant]
    artifact = compile_patched("PerpVenue", {path: [(good, bad)]})
    parameters = Parameters(exposure_cap=3_000, delay_blocks=1 if invariant == "VEN-10" else 0)
    venue = deploy_venue(evm, parameters, usdt_usd=True, artifact=artifact)
    machine = Machine(venue, parameters, independent=True)
    try:
        with pytest.raises(AssertionError, match=f"{invariant}: "):
            machine.play(seed=1, steps=STEPS)
    finally:
        machine.close()


def test_perp_venue__all_invariants_can_fail() -> None:
    assert set(FAULTS) == documented("VEN")
