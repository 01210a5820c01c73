"""What a vault needs, whose turn it is, and what that may cost: pure functions of state.

    tasks = tasks_of(stand, requests)
    ready = [each for each in tasks if is_ready(each, stand, answer)]     # by a trial on a block
    task = choose(ready, turns, last)

What keeps a vault safe comes first, and yet not always: requests have every second turn, so that a
vault that is due again and again holds up nobody, and any number of small requests holds up no
vault by more than one transaction. For the same reason requests may cost half of what a day may
cost. Of requests that have waited for as many turns the largest is next, so that hundreds of small
ones, which cost next to nothing, do not keep a large one waiting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from typing import Any

from perpool.evm import Reverted
from perpool.reference.arithmetic import PRICE_SCALE
from perpool.reference.wad import WAD

SHARES = 10**30
"""Of a vault, so many that what they are worth is no small number of any token."""
PENDING = 1
"""IPerpVenue.Status"""
OVERDUE = 1_800
"""Seconds that a vault may be due before somebody has to look."""
NEAR = Decimal("0.05")
"""A loan or a short that is this near to its liquidation is in danger."""
FIRST_REST, LONGEST_REST = 60, 960
"""Seconds that a task is left alone after it failed, doubled each time of a request."""


class Work(Enum):
    """What can be done for a vault; the value is an intent's kind."""

    ORDER = "order"
    """Have the venue confirm or fail the order that is pending."""
    REBALANCE = "rebalance"
    REDEEM = "redemption"
    DEPOSIT = "deposit"
    FUNDING = "venue funding"
    """Have the venue take in the newest rate."""

    @property
    def is_safety(self) -> bool:
        """Whether a vault may come to harm without it."""
        return self in (Work.ORDER, Work.REBALANCE)


@dataclass(frozen=True, slots=True)
class Vault:
    """One carry vault of a market, with what is fixed of it."""

    name: str
    """Market and name, such as "ADA keep"."""
    address: str
    strategy: str
    reverse: str
    venue: str
    token: str
    liquidation_ltv: int
    """Of the reverse pool; WAD"""
    maintenance_margin: int
    """Of the venue; WAD"""


@dataclass(frozen=True, slots=True)
class Request:
    """What a controller has asked for, and what is not settled of it."""

    controller: str
    assets: int
    """Tokens to deposit."""
    shares: int
    """To redeem, with those whose order is confirmed and that are not paid out."""


@dataclass(frozen=True, slots=True)
class Stand:
    """How a vault stands at a block."""

    vault: Vault
    mode: str
    """"carry" or "lend"."""
    is_due: bool
    order: int
    """The id of what is pending at the venue; 0 is nothing."""
    price_e36: int
    collateral: int
    """All that the strategy has in the reverse pool, redemptions that are half done included."""
    debt: int
    tokens: int
    """Idle, lent and collateral, those of half-done redemptions not included."""
    short: int
    equity: int
    """At the oracle's price; USDT's smallest unit, as `debt`."""
    net_carry: int
    """A year; WAD"""
    funding_due: bool = False
    """The venue has not taken in the newest round of funding, and there is a short."""
    share: int = 0
    """Tokens that `SHARES` shares are worth; 0 where the vault does not say."""

    @property
    def ltv(self) -> Decimal:
        """Of the loan: at `liquidation_ltv` the reverse pool liquidates it. Infinite where debt has
        no collateral."""
        if self.debt == 0:
            return Decimal(0)
        value = self.collateral * self.price_e36 // PRICE_SCALE
        return Decimal(self.debt) / value if value else Decimal("Infinity")

    @property
    def margin(self) -> Decimal | None:
        """Of the short: below the maintenance margin the venue liquidates it. None without one."""
        notional = self.short * self.price_e36 // PRICE_SCALE
        return Decimal(self.equity) / notional if notional else None

    @property
    def hedge(self) -> Decimal:
        """Tokens short for each that it has."""
        return Decimal(self.short) / self.tokens if self.tokens else Decimal(0)

    def usdt(self, tokens: int) -> int:
        """What tokens are worth; USDT's smallest unit."""
        return tokens * self.price_e36 // PRICE_SCALE

    @property
    def is_in_danger(self) -> bool:
        """Whether a liquidation of its loan or its short is near."""
        limit = Decimal(self.vault.liquidation_ltv) / WAD - NEAR
        least = Decimal(self.vault.maintenance_margin) / WAD + NEAR
        return self.ltv > limit or (self.margin is not None and self.margin < least)


@dataclass(frozen=True, slots=True)
class Task:
    """Something to do for a vault, or for a controller's request to it."""

    work: Work
    vault: Vault
    controller: str = ""
    usdt: int = field(default=0, compare=False)
    """What a request, or the short whose funding it is, is worth; USDT's smallest unit."""

    @property
    def subject(self) -> str:
        """vault/controller, as intents and logs name it; the vault where it is about no request."""
        return f"{self.vault.address}/{self.controller}" if self.controller else self.vault.address


@dataclass(frozen=True, slots=True)
class Budget:
    """What gas may cost in any 24 hours, in wei."""

    wei: int

    def allows(self, work: Work, spent: int, cost: int) -> bool:
        """Whether there is as much left for it. Requests, which anybody can make, have half."""
        return spent + cost <= (self.wei if work.is_safety else self.wei // 2)


def tasks_of(stand: Stand, requests: Sequence[Request]) -> list[Task]:
    """All that there may be to do; a trial tells what of it is ready.

    While an order is pending nothing else can be begun, but the second half of a redemption can be
    done.
    """
    vault = stand.vault
    redemptions = [
        Task(Work.REDEEM, vault, each.controller, stand.usdt(each.shares * stand.share // SHARES))
        for each in requests
        if each.shares
    ]
    if stand.order:
        return [Task(Work.ORDER, vault), *redemptions]
    due = [Task(Work.REBALANCE, vault)] if stand.is_due else []
    deposits = [
        Task(Work.DEPOSIT, vault, each.controller, stand.usdt(each.assets))
        for each in requests
        if each.assets
    ]
    short = stand.usdt(stand.short)
    funding = [Task(Work.FUNDING, vault, usdt=short)] if stand.funding_due else []
    return [*due, *redemptions, *deposits, *funding]


def is_ready(task: Task, stand: Stand, answer: Any) -> bool:
    """Whether it would bring something, by what the call returns on a block, or its Reverted."""
    if isinstance(answer, Reverted):
        return False
    if task.work is Work.ORDER:
        return bool(answer != PENDING)
    if task.work is Work.REBALANCE:
        return bool(answer)
    if task.work is Work.REDEEM:
        # 0 is an order on its way, a part that is only set apart, or another's order
        return stand.order == 0 or bool(answer > 0)
    return True


def choose(
    ready: Sequence[Task], turns: Mapping[tuple[Work, str], int], last: Work | None
) -> list[Task]:
    """All that is ready in the order in which it is to be done.

    `turns` are times at which each was last chosen, `last` is what was done last. Who has waited
    longest for a turn has the next; of equals the largest, and of those who are given first.
    """
    others_first = last is not None and last.is_safety

    def rank(task: Task) -> tuple[bool, int, int]:
        turn = turns.get((task.work, task.subject), 0)
        return task.work.is_safety == others_first, turn, -task.usdt

    return sorted(ready, key=rank)


def due_since(stand: Stand, before: int | None, now: int) -> int | None:
    """When a vault became due, None where it is not.

    Its own order is a step, and no end: what was due before stays so while an order is pending.
    """
    if stand.is_due or (stand.order and before is not None):
        return now if before is None else before
    return None


def rest_after(work: Work, before: int | None) -> int:
    """Seconds to leave a task alone that has failed, `before` those of the last time.

    A vault's safety does not wait for longer each time: the budget is what holds its cost.
    """
    if work.is_safety or before is None:
        return FIRST_REST
    return min(2 * before, LONGEST_REST)
