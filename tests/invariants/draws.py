"""The next step of a machine: a rule by its weight, or what cannot wait."""

from __future__ import annotations

import random
from dataclasses import replace

from tests.invariants.arena import ACTORS, POOLS
from tests.invariants.hand import Hand
from tests.invariants.machine import Machine
from tests.invariants.rules import (
    CALLS,
    MOVES,
    TROUBLE,
    Rule,
    break_prices,
    follow_price,
    liquidate,
    liquidate_by_purchase,
    set_prices,
    unpause,
    withdraw_reserve,
)
from tests.invariants.steps import Step
from tests.market import MAX


def frozen(machine: Machine, rng: random.Random) -> Step:
    """A step at which neither time nor price moves."""
    return _draw(machine, rng, CALLS | {break_prices: 1, follow_price: 2})


def moving(machine: Machine, rng: random.Random) -> Step:
    """Any step."""
    return _draw(machine, rng, CALLS | TROUBLE | MOVES)


def uniswap(machine: Machine, rng: random.Random) -> Step:
    """Any step where the venue is Uniswap, which arbitrage takes to the oracle's price."""
    return _draw(machine, rng, CALLS | MOVES | {follow_price: 8, break_prices: 1})


def _draw(machine: Machine, rng: random.Random, rules: dict[Rule, int]) -> Step:
    hand = Hand(machine, rng)
    if set_prices in rules and (ambush := _ambush(hand)):
        return ambush
    while True:
        rule = _urgent(hand) or rng.choices(list(rules), list(rules.values()))[0]
        step = rule(hand)
        if step is not None:
            anew = step.target == "world" or hand.chance(0.7)
            return step if anew else replace(step, new_block=False)


def _ambush(hand: Hand) -> Step | None:
    """Now and then the price jumps in the very block of an opening, and the short is attacked."""
    machine = hand.machine
    seen = machine.seen.pools["forward"]
    fresh = [
        account
        for account in ACTORS
        if seen.opened_block[account] == machine.model.block_number and seen.debt_shares[account]
    ]
    ill = [account for account in fresh if ("forward", account) in hand.unhealthy()]
    if ill and hand.chance(0.7):
        caller = hand.anyone()
        if hand.chance(0.5):
            function, args = "liquidate", (ill[0], MAX, caller, b"")
        else:
            function, args = "liquidate_by_purchase", (ill[0], caller)
        return Step(function, "forward", function, args, caller, new_block=False)
    if fresh and not ill and hand.chance(0.06):
        price = hand.price * 8 // 5
        if price < 30 * machine.arena.start_price:
            args = (price, price, price, 0)
            return Step("set_prices", "world", "set_prices", args, new_block=False)
    return None


def _urgent(hand: Hand) -> Rule | None:
    """What is done about a state in which most rules would only be refused, or about nothing.

    Pauses and missing prices end soon, and unhealthy positions are liquidated before long.
    """
    machine = hand.machine
    prices = machine.model.prices
    if hand.chance(0.07) and any(hand.pool(name).state.paused for name in POOLS):
        return unpause
    if hand.chance(0.12) and (prices.bounds_error or prices.liquidation_error):
        return break_prices
    if hand.chance(0.4) and (found := hand.unhealthy()):
        pool = hand.rng.choice(found)[0]
        return liquidate_by_purchase if pool == "forward" and hand.chance(0.5) else liquidate
    if hand.chance(0.2) and hand.reserves_ready():
        return withdraw_reserve
    if hand.chance(0.2) and machine.venue.price != prices.liquidation:
        return follow_price
    return None
