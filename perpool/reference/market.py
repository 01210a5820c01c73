"""Reference model of a market: both pools, and what the factory does for owner and guardian.

    market = Market(decimals=(18, 6), legs=(reverse_leg, forward_leg))
    market.usdt.mint("lender", 10**12)
    market.reverse.deposit("lender", 10**12, "lender")

Accounts are names; the pools are the accounts "reverse" and "forward". Every call of a pool takes
the caller first and then what the contract's function takes. A call that raises PoolError leaves
everything as it was. What the pools log is in `events`, what their hooks hear in `notices`.
"""

from __future__ import annotations

from perpool.reference.arithmetic import refuse, share_of_up
from perpool.reference.forward import ForwardPool
from perpool.reference.interest import LegParameters
from perpool.reference.reverse import ReversePool
from perpool.reference.world import NOBODY, Token, World

MAX_FEE_PERMILLE = 250
RESERVE_DELAY = 7 * 86_400
RESERVE_WINDOW = RESERVE_DELAY


class Market(World):
    """Both pools of a market and everything that they ask."""

    def __init__(
        self,
        *,
        decimals: tuple[int, int],
        legs: tuple[LegParameters, LegParameters],
        now: int = 0,
        block_number: int = 0,
        owner: str = "owner",
        guardian: str = "guardian",
    ) -> None:
        """`decimals` of (token, USDT), `legs` of (reverse, forward)."""
        tokens = Token("token", decimals[0]), Token("usdt", decimals[1])
        super().__init__(*tokens, now=now, block_number=block_number)
        self.owner, self.guardian = owner, guardian
        self.hooks: set[str] = set()
        """The allowed hooks."""
        self.requests: dict[str, tuple[int, int]] = {}
        """Announced reserve withdrawals by pool: (shares, ready at)."""
        self.reverse = ReversePool(self, legs[0])
        self.forward = ForwardPool(self, legs[1])
        self.pools = {"reverse": self.reverse, "forward": self.forward}
        self.parts = [self.reverse, self.forward]

    def set_caps(
        self, caller: str, pool: str, supply_cap: int, debt_cap: int, leg_cap: int
    ) -> None:
        """Caps on assets, debt, and the leg's own."""
        self._check_owner(caller)
        self.pools[pool].set_caps(supply_cap, debt_cap, leg_cap)

    def set_fee(self, caller: str, pool: str, fee_permille: int) -> None:
        """The reserve's part of interest from now on."""
        self._check_owner(caller)
        if fee_permille > MAX_FEE_PERMILLE:
            refuse("fee too high")
        self.pools[pool].set_controls(fee_permille=fee_permille)

    def set_hook(self, caller: str, pool: str, hook: str) -> None:
        """Attach an allowed hook; NOBODY detaches."""
        self._check_owner(caller)
        if hook != NOBODY and hook not in self.hooks:
            refuse("unknown hook")
        self.pools[pool].set_controls(hook=hook)

    def set_paused(self, caller: str, pool: str, paused: bool) -> None:
        """The guardian may pause, the owner also end it."""
        if caller != self.owner and not (paused and caller == self.guardian):
            refuse("not owner or guardian")
        self.pools[pool].set_controls(paused=paused)

    def request_reserve_withdrawal(self, caller: str, pool: str, shares: int) -> None:
        """Announce that reserve shares will be taken."""
        self._check_owner(caller)
        self.requests[pool] = (shares, self.now + RESERVE_DELAY)

    def withdraw_reserve(self, caller: str, pool: str, receiver: str) -> int:
        """Take what was announced; the reserve keeps its floor, rounded up. Returns assets."""
        self._check_owner(caller)
        if receiver in (NOBODY, pool):
            refuse("bad receiver")
        shares, ready_at = self.requests.get(pool, (0, 0))
        if shares == 0:
            refuse("nothing requested")
        if self.now < ready_at:
            refuse("reserve locked")
        if self.now >= ready_at + RESERVE_WINDOW:
            refuse("request expired")
        at = self.pools[pool]
        with self.transaction():
            assets = at.withdraw_reserve(shares, receiver)
            kept = at.ledger.to_assets_down(at.state, at.state.reserve_shares)
            if kept < share_of_up(at.state.supply_assets, at.leg.reserve_floor):
                refuse("reserve locked")
        del self.requests[pool]
        return assets

    def _check_owner(self, caller: str) -> None:
        if caller != self.owner:
            refuse("ownable: caller is not the owner")
