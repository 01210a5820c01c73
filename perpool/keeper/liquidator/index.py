"""Positions of one pool in the order in which they become liquidatable.

A position of debt shares s and collateral c is liquidatable where its debt is worth more than the
share L of its collateral. Interest scales all debts of a pool alike, and one price values all
collateral, so neither time nor price ever changes the order of positions by s / c: only a
position's own change moves it. A new price is a cut through that order.

    reverse pool   ceil(s * D / S) > floor(floor(c * p) * L)
    forward pool   ceil(ceil(s * D / S) * p) > floor(c * L)

with D the pool's debt, S its debt shares, p the price.

The cut is exact but for what these round: at most two units of value, so the share 2 / (d + 2) of a
debt d. What is within that share below the cut, by the smallest debt there is, is looked at too,
one by one as the contracts do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

from sortedcontainers import SortedList

from perpool.keeper.model import Position
from perpool.reference.arithmetic import PRICE_SCALE
from perpool.reference.wad import WAD

KEY_BITS = 192
"""After the binary point of s / c in a key; more than the 128 of any amount."""
_INFINITE = 1 << 512


class Leg(Enum):
    """Which of a market's pools."""

    REVERSE = "reverse"
    FORWARD = "forward"


@dataclass(frozen=True, slots=True)
class Moment:
    """All that decides, beside the position, whether it may be liquidated."""

    price_e36: int
    """`liquidation_price()`"""
    debt_assets: int
    """Of the whole pool, accrued."""
    debt_shares: int
    liquidation_ltv: int
    """WAD"""
    block: int | None = None
    """In which it would be liquidated; None for any later one."""

    def debt_of(self, position: Position) -> int:
        """What a position owes, rounded up."""
        if position.debt_shares == 0:
            return 0
        return -(-position.debt_shares * self.debt_assets // self.debt_shares)


def values(leg: Leg, position: Position, moment: Moment) -> tuple[int, int]:
    """(debt, collateral) in USDT's smallest unit, rounded as the pools do."""
    debt = moment.debt_of(position)
    if leg is Leg.REVERSE:
        return debt, position.collateral * moment.price_e36 // PRICE_SCALE
    return -(-debt * moment.price_e36 // PRICE_SCALE), position.collateral


def is_liquidatable(leg: Leg, position: Position, moment: Moment) -> bool:
    """Whether the pool would let it be liquidated."""
    if moment.block is not None and moment.block <= position.opened_block:
        return False
    debt, collateral = values(leg, position, moment)
    return debt > collateral * moment.liquidation_ltv // WAD


class PositionIndex:
    """The positions with debt of one pool."""

    def __init__(self, leg: Leg, positions: Iterable[Position] = ()) -> None:
        self.leg = leg
        self._positions = {each.account: each for each in positions if each.debt_shares}
        known = self._positions.values()
        self.examined = 0
        """Positions that the newest listing looked at."""
        # a key for every position: s / c and then the account
        self._order = SortedList((self._key(each), each.account) for each in known)
        self._shares = SortedList(each.debt_shares for each in known)

    def __len__(self) -> int:
        return len(self._positions)

    def __contains__(self, account: object) -> bool:
        return account in self._positions

    def __getitem__(self, account: str) -> Position:
        return self._positions[account]

    def put(self, account: str, collateral: int, debt_shares: int, opened_block: int = 0) -> None:
        """What an account has now; without a debt it leaves the index."""
        self.remove(account)
        if debt_shares:
            position = Position(account, collateral, debt_shares, opened_block)
            self._positions[account] = position
            self._order.add((self._key(position), account))
            self._shares.add(debt_shares)

    def remove(self, account: str) -> None:
        """Forget an account, if it is known."""
        position = self._positions.pop(account, None)
        if position is not None:
            self._order.remove((self._key(position), account))
            self._shares.remove(position.debt_shares)

    def liquidatable(self, moment: Moment) -> list[Position]:
        """Positions that may be liquidated, the most unhealthy first.

        Takes time for those that it finds, and the logarithm of all.
        """
        near = list(self._from_the_worst(moment))
        self.examined = len(near)
        return [each for each in near if is_liquidatable(self.leg, each, moment)]

    def _from_the_worst(self, moment: Moment) -> Iterator[Position]:
        """Every position that may be unhealthy, and few others."""
        if not self._positions or moment.debt_assets == 0:
            return
        least = (self._cut(moment), "")
        for _, account in self._order.irange(minimum=least, reverse=True):
            yield self._positions[account]

    def _cut(self, moment: Moment) -> int:
        """The lowest key that an unhealthy position can have."""
        # L of a collateral is worth as much as the debt where s / c is
        if self.leg is Leg.REVERSE:
            above = moment.price_e36 * moment.liquidation_ltv * moment.debt_shares
            below = PRICE_SCALE * WAD * moment.debt_assets
        else:
            above = PRICE_SCALE * moment.liquidation_ltv * moment.debt_shares
            below = moment.price_e36 * WAD * moment.debt_assets
        # and by rounding an unhealthy one may be lower by so many parts of its own debt
        debt = self._shares[0] * moment.debt_assets // moment.debt_shares
        if self.leg is Leg.REVERSE:
            above, below = above * debt, below * (debt + 2)
        else:
            worth = debt * moment.price_e36
            above, below = above * worth, below * (worth + moment.price_e36 + PRICE_SCALE)
        return _INFINITE if below == 0 else (above << KEY_BITS) // below

    def _key(self, position: Position) -> int:
        """s / c, rounded down; above all others without collateral."""
        if position.collateral == 0:
            return _INFINITE
        return (position.debt_shares << KEY_BITS) // position.collateral
