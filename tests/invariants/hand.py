"""What the rules of the machines choose with: who, where, and how much."""

from __future__ import annotations

import random
from dataclasses import dataclass

from perpool.reference.arithmetic import PRICE_SCALE
from perpool.reference.market import RESERVE_WINDOW
from perpool.reference.pool import Pool
from perpool.reference.reverse import borrow_ltv
from perpool.reference.wad import WAD
from perpool.reference.world import NOBODY
from tests.invariants.arena import ACTORS, POOLS, PUPPET, VENUE, Venue
from tests.invariants.machine import Machine
from tests.market import MAX


@dataclass(frozen=True)
class Hand:
    """The machine and the dice, with what most rules need of them.

    `actor` and `only` narrow all choices of actors and pools to one.
    """

    machine: Machine
    rng: random.Random
    actor: str | None = None
    only: str | None = None

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def pool_name(self) -> str:
        return self.only or self.rng.choice(POOLS)

    def pool(self, name: str) -> Pool:
        return self.machine.model.pools[name]

    @property
    def price(self) -> int:
        return self.machine.model.prices.liquidation

    def anyone(self) -> str:
        return self.actor or self.rng.choice(ACTORS)

    def receiver(self, caller: str, pool: str) -> str:
        """Mostly the caller, sometimes somebody else, seldom nobody or the pool itself."""
        dice = self.rng.random()
        if self.actor or dice < 0.75:
            return caller
        if dice < 0.96:
            return self.anyone()
        return self.rng.choice((NOBODY, pool))

    def one_of(self, holders: dict[str, int]) -> str:
        """An actor with more than nothing in it, seldom one without."""
        found = [account for account in ACTORS if holders[account]]
        if self.actor or not found or self.chance(0.04):
            return self.anyone()
        return self.rng.choice(found)

    def acting_for(self, account: str) -> str:
        """The account itself, or anybody, most likely his operator."""
        if self.actor or self.chance(0.85):
            return account
        operators = [who for whom, who in self.machine.model.operators if whom == account]
        if operators and self.chance(0.8):
            return self.rng.choice(sorted(operators))
        return self.anyone()

    def amount(self, most: int, *, edges: float = 0.2) -> int:
        """Mostly a part of `most`; with the chance `edges` 0, 1, all of it, more, or MAX."""
        most = max(most, 0)
        dice = self.rng.random()
        if dice < edges:
            over = int(most * self.rng.uniform(1.0, 1.6))
            return self.rng.choice((0, 1, most, most, most, most + 1, over, over, MAX))
        if dice < 0.6:
            return int(most * self.rng.uniform(0.05, 1.0))
        return int(most * 10 ** self.rng.uniform(-3, 0))

    def usdt_value(self, token_amount: int) -> int:
        return token_amount * self.price // PRICE_SCALE

    def token_value(self, usdt_amount: int) -> int:
        return usdt_amount * PRICE_SCALE // self.price

    # -- what an account could do at most --

    def borrow_room(self, account: str, more_collateral: int = 0) -> int:
        """USDT that an account could still borrow from the reverse pool."""
        model = self.machine.model
        pool = model.reverse
        collateral = pool.collateral_of[account] + more_collateral
        value = collateral * model.prices.lower // PRICE_SCALE
        limit = value * borrow_ltv(pool.leg, model.prices.volatility) // WAD
        return min(limit - pool.debt_of(account), pool.accrued().cash)

    def short_room(self, account: str, margin: int) -> int:
        """Tokens that an account could short with so much more margin, or a little less."""
        model = self.machine.model
        pool, upper = model.forward, model.prices.upper
        venue = self.machine.venue
        assert isinstance(venue, Venue)
        collateral = pool.collateral_of[account] + margin
        debt_value = pool.debt_of(account) * upper // PRICE_SCALE
        free = collateral * pool.leg.max_ltv // WAD - debt_value
        proceeds = venue.price * (WAD - venue.spread) // WAD
        gap = upper - proceeds * pool.leg.max_ltv // WAD
        return min(max(free, 0) * PRICE_SCALE // max(gap, 1), pool.accrued().cash)

    def unhealthy(self) -> list[tuple[str, str]]:
        """(pool, account) of all that can be liquidated."""
        seen = self.machine.seen
        return [
            (name, account)
            for name in POOLS
            for account in ACTORS
            if seen.pools[name].debt_shares[account] and not seen.is_healthy(name, account)
        ]

    def ltv(self, name: str, account: str) -> float:
        debt, value = self.machine.seen.values(name, account)
        return debt / max(value, 1)

    def price_for_ltv(self, ltv: float) -> int | None:
        """The price at which a borrower's LTV would be this, unless that is far off."""
        seen, name = self.machine.seen, self.rng.choice(POOLS)
        debt, value = seen.values(name, self.one_of(seen.pools[name].debt_shares))
        if debt == 0 or value == 0:
            return None
        factor = debt / value / ltv
        if name == "forward":
            factor = 1 / factor
        return int(self.price * factor) if 0.5 < factor < 2 else None

    def weak(self, *names: str) -> tuple[str, str]:
        """(pool, account): mostly one that can be liquidated, else often the nearest to it."""
        seen = self.machine.seen
        found = [pair for pair in self.unhealthy() if pair[0] in names]
        if found and self.chance(0.93):
            return self.rng.choice(found)
        name = self.rng.choice(names)
        debtors = [account for account in ACTORS if seen.pools[name].debt_shares[account]]
        if debtors and self.chance(0.7):
            return name, max(debtors, key=lambda account: self.ltv(name, account))
        return name, self.one_of(self.pool(name).debt_shares)

    def reserves_ready(self) -> list[str]:
        """The pools of whose reserve something can be taken now."""
        model = self.machine.model
        return [
            name
            for name, (_, at) in model.requests.items()
            if at <= model.now < at + RESERVE_WINDOW
        ]

    def swapper(self) -> str:
        return VENUE if self.chance(0.98) else PUPPET
