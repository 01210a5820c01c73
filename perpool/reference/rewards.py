"""Reference model of reward streams, equal to `RewardStream` to the last unit.

Rewards are in 1e-18 of a whole token unless they are said to be in token units, a rate is that a
second, weights are in a programme's units of shares, times in seconds. Amounts must fit the
contract's words: what it refuses as too large is not modelled.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from perpool.reference.wad import WAD, ceil_div

INDEX_UNIT = 2**16
"""Of the index, in one 1e-18 of a token for a weight of 1."""
INDEX_LIMIT = 2**88
MAX_WEIGHT = 2**72 - 1
MAX_EARNED = 2**96 - 1
WEIGHT_DECIMALS = 6
"""Of a whole share, that count."""


def unit_of(share_decimals: int) -> int:
    """Shares that have a weight of 1: the largest power of two up to a millionth of a whole one."""
    millionth = int(10 ** max(share_decimals - WEIGHT_DECIMALS, 0))
    return 1 << (millionth.bit_length() - 1)


def round_rate(rate: int) -> int:
    """The rate with its 16 highest bits alone."""
    rest = max(rate.bit_length() - 16, 0)
    return rate >> rest << rest


@dataclass
class Entry:
    """An account in a programme."""

    weight: int = 0
    index: int = 0
    earned: int = 0


@dataclass
class Programme:
    """One reward token for one side of one source."""

    unit: int
    whole: int
    """Token units in a whole token."""
    updated_at: int
    left: int = 0
    """Seconds that are still to be streamed."""
    index: int = 0
    weight: int = 0
    rate: int = 0
    held: int = 0
    """Token units: funded less returned less claimed."""
    spare: int = 0
    """Not streamed, because it lasts for less than a second."""
    entries: dict[str, Entry] = field(default_factory=lambda: defaultdict(Entry))

    @classmethod
    def start(cls, now: int, share_decimals: int, token_decimals: int) -> Programme:
        """One that nobody has funded yet."""
        return cls(unit_of(share_decimals), 10**token_decimals, now)

    @property
    def unstreamed(self) -> int:
        """What is still to come."""
        return self.rate * self.left + self.spare

    @property
    def ends_at(self) -> int:
        """When that is if somebody is there until then."""
        return self.updated_at + self.left

    def advance(self, now: int) -> None:
        """Go on in time; where nobody is there the stream waits."""
        if self.weight:
            passed = min(now - self.updated_at, self.left)
            self.index += self.rate * passed * INDEX_UNIT // self.weight
            self.index %= INDEX_LIMIT
            self.left -= passed
        self.updated_at = now

    def earned_by(self, account: str) -> int:
        """What the account has earned by now, its part since it was last heard of included."""
        entry = self.entries[account]
        since = (self.index - entry.index) % INDEX_LIMIT
        return min(entry.earned + entry.weight * since // INDEX_UNIT, MAX_EARNED)

    def units_earned_by(self, account: str) -> int:
        """The same in token units."""
        return self.earned_by(account) * self.whole // WAD

    def hear(self, now: int, account: str, shares: int, *, attached: bool = True) -> None:
        """The account has so many shares now. A weight that stays leaves everything as it was."""
        entry = self.entries[account]
        weight = shares // self.unit
        if weight == entry.weight or (weight > entry.weight and not attached):
            return
        self.advance(now)
        others = self.weight - entry.weight
        weight = min(weight, MAX_WEIGHT - others)
        self.entries[account] = Entry(weight, self.index, self.earned_by(account))
        self.weight = others + weight

    def stream(self, now: int, units: int, duration: int) -> None:
        """Take in token units, and spread all that is unstreamed over the time from now."""
        self.advance(now)
        total = units * WAD // self.whole + self.unstreamed
        self.rate = round_rate(total // duration)
        self.left, self.spare = divmod(total, self.rate)
        self.held += units

    def stop(self, now: int) -> int:
        """End the stream; gives the token units that go back."""
        self.advance(now)
        total = self.unstreamed
        units = total * self.whole // WAD
        self.rate, self.left = 0, 0
        self.spare = total - units * WAD // self.whole
        self.held -= units
        return units

    def claim(self, now: int, account: str) -> int:
        """Pay an account; gives the token units. What is below one stays the account's."""
        entry = self.entries[account]
        stored = (self.updated_at, self.left, self.index)
        self.advance(now)
        units = self.units_earned_by(account)
        if units:
            earned = self.earned_by(account) - ceil_div(units * WAD, self.whole)
            self.entries[account] = Entry(entry.weight, self.index, earned)
            self.held -= units
        # a claim writes no word of the programme's
        self.updated_at, self.left, self.index = stored
        return units

    def owed(self, accounts: Iterable[str]) -> int:
        """What the accounts have earned and what is still to come."""
        return sum(self.earned_by(account) for account in accounts) + self.unstreamed
