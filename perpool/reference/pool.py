"""Reference model of what both pools share: the lenders' face, the factory's controls, the hook.

Amounts are in the asset's smallest unit, shares in theirs. Raises PoolError with the reason of the
chain; where several apply, in the chain's order.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast

from perpool.reference.arithmetic import MAX_UINT128, MAX_UINT256, PoolError, refuse, word
from perpool.reference.interest import LegParameters
from perpool.reference.ledger import (
    CAPPED,
    HEADROOM,
    HOOKED,
    PAUSED,
    STANDARD,
    Ledger,
    State,
    cut_funding,
    virtual_shares,
)
from perpool.reference.world import FACTORY, HOLDERS, NOBODY, Event, Notice, Token, World

Callback = Callable[[], None]
"""What the caller does in the middle of a call."""

_P = ParamSpec("_P")
_R = TypeVar("_R")


class Enterable(Protocol):
    """What has entry points."""

    world: World
    locked: bool


_Self = TypeVar("_Self", bound=Enterable)


def entry(
    function: Callable[Concatenate[_Self, _P], _R],
) -> Callable[Concatenate[_Self, _P], _R]:
    """An entry point: locked while it runs, and all or nothing."""

    @functools.wraps(function)
    def locked(self: _Self, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        if self.locked:
            raise PoolError
        with self.world.transaction():
            self.locked = True
            try:
                return function(self, *args, **kwargs)
            finally:
                self.locked = False

    return cast("Callable[Concatenate[_Self, _P], _R]", locked)


class Pool(ABC):
    """One pool. `name` is its account."""

    def __init__(
        self,
        world: World,
        name: str,
        leg: LegParameters,
        *,
        asset: Token,
        collateral: Token,
        direction: int,
    ) -> None:
        self.world = world
        self.name = name
        self.leg = leg
        self.asset = asset
        self.collateral = collateral
        self.ledger = Ledger(leg, direction, virtual_shares(asset.decimals))
        self.state = State(updated_at=world.now)
        self.supply_cap = 0
        self.debt_cap = 0
        self.hook = NOBODY
        self.locked = False
        self.shares: Counter[str] = Counter()
        self.allowances: Counter[tuple[str, str]] = Counter()
        """By (holder, spender)."""
        self.debt_shares: Counter[str] = Counter()
        self.collateral_of: Counter[str] = Counter()

    def save(self) -> dict[str, Any]:
        """All that a call may change."""
        return {
            key: value.copy() if isinstance(value, dict) else value
            for key, value in self.__dict__.items()
            if isinstance(value, dict | State | int | str)
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Back to what `save` gave."""
        self.__dict__.update(saved)

    # -- views --

    def accrued(self) -> State:
        """The State as of now."""
        return self.ledger.accrue(self.state, self.world.now).state

    def debt_of(self, account: str) -> int:
        """What an account owes as of now, rounded up."""
        return self.ledger.debt_of_shares(self.accrued(), self.debt_shares[account])

    def supply_room(self, state: State) -> int:
        """Assets that a deposit may still bring in."""
        if state.paused:
            return 0
        limit = min(HEADROOM - 1, self.supply_cap) if state.capped else HEADROOM - 1
        shares = HEADROOM - 1 - min(state.supply_shares, HEADROOM - 1)
        room = limit - min(limit, state.all_assets)
        return min(room, self.ledger.to_assets_down(state, shares))

    def max_withdraw(self, holder: str) -> int:
        """Assets that a holder can take out, rounded down."""
        state = self.accrued()
        return min(self.ledger.to_assets_down(state, self.shares[holder]), state.cash)

    def max_redeem(self, holder: str) -> int:
        """Shares that a holder can redeem, rounded down."""
        state = self.accrued()
        shares = min(self.shares[holder], self.ledger.to_shares_down(state, state.cash))
        return shares if self.ledger.to_assets_down(state, shares) else 0

    # -- lenders --

    @entry
    def deposit(self, caller: str, assets: int, receiver: str) -> int:
        """Returns shares, rounded down."""
        received = self._pull(self.asset, caller, assets)
        state = self._accrue()
        shares = self.ledger.to_shares_down(state, received)
        self._enter(caller, state, received, shares, receiver)
        return shares

    @entry
    def mint(self, caller: str, shares: int, receiver: str) -> int:
        """Returns assets paid, rounded up."""
        state = self._accrue()
        assets = self.ledger.to_assets_up(state, shares)
        self._pull(self.asset, caller, assets)
        self._enter(caller, state, assets, shares, receiver)
        return assets

    @entry
    def withdraw(self, caller: str, assets: int, receiver: str, holder: str) -> int:
        """Returns shares burnt, rounded up."""
        state = self._accrue()
        shares = self.ledger.to_shares_up(state, assets)
        self._spend_allowance(caller, holder, shares)
        self._leave(caller, state, assets, shares, receiver, holder)
        return shares

    @entry
    def redeem(self, caller: str, shares: int, receiver: str, holder: str) -> int:
        """Returns assets paid out, rounded down."""
        state = self._accrue()
        assets = self.ledger.to_assets_down(state, shares)
        self._spend_allowance(caller, holder, shares)
        self._leave(caller, state, assets, shares, receiver, holder)
        return assets

    @entry
    def approve(self, caller: str, spender: str, shares: int) -> bool:
        """Let a spender move shares of the caller."""
        self.allowances[caller, spender] = shares
        self._log("Approval", owner=caller, spender=spender, value=shares)
        return True

    @entry
    def transfer(self, caller: str, receiver: str, shares: int) -> bool:
        """Move shares."""
        self._transfer(caller, receiver, shares)
        return True

    @entry
    def transferFrom(self, caller: str, holder: str, receiver: str, shares: int) -> bool:  # noqa: N802
        """Move a holder's shares out of the caller's allowance."""
        self._spend_allowance(caller, holder, shares)
        self._transfer(holder, receiver, shares)
        return True

    # -- anyone --

    @entry
    def sync_funding(self, caller: str) -> bool:
        """Accrue at the old funding, charge, then take in the oracle's, if that is newer."""
        funding_wad, observed_at = self.world.funding
        state = self._charge(self._accrue())
        newer = self.state.funding_time < observed_at <= self.world.now
        if newer:
            cut = cut_funding(funding_wad)
            state = replace(state, funding_wad=cut, funding_time=observed_at)
            self._log("FundingSynced", caller=caller, funding_wad=cut, observed_at=observed_at)
        self.state = state
        return newer

    # -- the factory's --

    @abstractmethod
    def set_caps(self, supply_cap: int, debt_cap: int, leg_cap: int) -> None:
        """Caps on assets, debt, and the leg's own; none from 2**128 - 1 on."""

    @entry
    def set_controls(
        self,
        *,
        paused: bool | None = None,
        fee_permille: int | None = None,
        hook: str | None = None,
    ) -> None:
        """Change some of the controls, once what has accrued is charged at the old fee."""
        state = self._charge(self._accrue())
        stop = state.paused if paused is None else paused
        fee = state.fee_permille if fee_permille is None else fee_permille
        self.hook = self.hook if hook is None else hook
        flags = (state.flags & CAPPED) | PAUSED * stop | fee << 8
        if self.hook != NOBODY:
            flags |= HOOKED | STANDARD * (self.hook == self.world.standard_hook)
        self.state = replace(state, flags=flags)

    @entry
    def withdraw_reserve(self, shares: int, receiver: str) -> int:
        """Returns assets paid out, rounded down."""
        state = self._charge(self._accrue())
        shares = min(shares, state.reserve_shares)
        assets = self.ledger.to_assets_down(state, shares)
        self._leave(FACTORY, state, assets, shares, receiver, self.name)
        return assets

    # -- shared by the entry points --

    def _log(self, name: str, **args: Any) -> None:
        self.world.events.append(Event(self.name, name, tuple(sorted(args.items()))))

    def _accrue(self) -> State:
        state, rate, interest = self.ledger.accrue(self.state, self.world.now)
        if interest:
            self._log(
                "Accrue",
                borrow_rate_wad=rate,
                funding_wad=state.funding_wad,
                interest=interest,
            )
        return state

    def _charge(self, state: State) -> State:
        state, shares = self.ledger.charge(state)
        if shares:
            self._log("Transfer", sender=NOBODY, receiver=self.name, value=shares)
        return state

    def _store(self, state: State) -> None:
        self.ledger.check_packable(state)
        self.state = state

    def _set_caps(self, supply_cap: int, debt_cap: int, *, leg_capped: bool) -> None:
        self.supply_cap, self.debt_cap = min(supply_cap, MAX_UINT128), min(debt_cap, MAX_UINT128)
        flags = self.state.flags | CAPPED
        if self.supply_cap == self.debt_cap == MAX_UINT128 and not leg_capped:
            flags ^= CAPPED
        self.state = replace(self.state, flags=flags)

    def _pull(self, token: Token, caller: str, amount: int) -> int:
        token.move(caller, self.name, amount)
        return amount

    def _check_operator(self, caller: str, account: str) -> None:
        if not self.world.is_operator(account, caller):
            refuse("not authorised")

    def _check_receiver(self, receiver: str) -> None:
        if receiver in (NOBODY, self.name):
            refuse("bad receiver")

    def _check_supply_limits(self, state: State) -> None:
        self.ledger.check_not_paused(state)
        if max(state.all_assets, state.supply_shares) >= HEADROOM:
            refuse("amount too large")
        if state.capped and state.all_assets > self.supply_cap:
            refuse("supply cap")

    def _check_debt_limits(self, state: State) -> None:
        self.ledger.check_not_paused(state)
        if state.debt_shares >= HEADROOM:
            refuse("amount too large")
        if state.capped and state.debt_assets > self.debt_cap:
            refuse("debt cap")

    def _enter(self, caller: str, state: State, assets: int, shares: int, receiver: str) -> None:
        self._check_receiver(receiver)
        if shares == 0:
            refuse("zero amount")
        state = state.move(cash=assets, charged_assets=assets, supply_shares=shares)
        self._check_supply_limits(state)
        self._store(state)
        self._log("Deposit", sender=caller, owner=receiver, assets=assets, shares=shares)
        self._move_shares(NOBODY, receiver, shares)

    def _leave(  # noqa: PLR0917
        self, caller: str, state: State, assets: int, shares: int, receiver: str, holder: str
    ) -> None:
        self._check_receiver(receiver)
        self.ledger.check_cash(state, assets)
        if assets > state.charged_assets:
            state = self._charge(state)
        if shares > state.supply_shares:
            refuse("insufficient balance")
        state = state.move(cash=-assets, charged_assets=-assets, supply_shares=-shares)
        if holder == self.name:
            if shares > state.reserve_shares:
                refuse("insufficient balance")
            state = state.move(reserve_shares=-shares)
        self._store(state)
        self._log(
            "Withdraw",
            sender=caller,
            receiver=receiver,
            owner=holder,
            assets=assets,
            shares=shares,
        )
        self._move_shares(holder, NOBODY, shares)
        self.asset.move(self.name, receiver, assets)

    def _spend_allowance(self, caller: str, holder: str, shares: int) -> None:
        allowed = self.allowances[holder, caller]
        if caller == holder or allowed == MAX_UINT256:
            return
        if allowed < shares:
            refuse("insufficient allowance")
        self.allowances[holder, caller] = allowed - shares

    def _transfer(self, holder: str, receiver: str, shares: int) -> None:
        self._check_receiver(receiver)
        self._move_shares(holder, receiver, shares)

    def _move_shares(self, sender: str, receiver: str, shares: int) -> None:
        """From or to NOBODY is a mint or a burn, of which the other account is told."""
        changed = []
        if sender not in (NOBODY, self.name):
            if self.shares[sender] < shares:
                refuse("insufficient balance")
            self.shares[sender] -= shares
            if sender != receiver:
                changed.append(sender)
        if receiver != NOBODY:
            changed.append(receiver)
            self.shares[receiver] = word(self.shares[receiver] + shares)
        self._log("Transfer", sender=sender, receiver=receiver, value=shares)
        for account in changed:
            self._tell(account, HOLDERS, self.shares[account])

    def _tell(self, account: str, side: int, shares: int) -> None:
        """Call the hook; its failure changes nothing."""
        if not self.state.hooked:
            return
        if self.hook in self.world.failing_hooks:
            self._log("HookFailed", hook=self.hook, account=account)
        else:
            notice = Notice(self.hook, self.name, account, side, shares)
            self.world.notices.append(notice)

    def _write_off(self, state: State, account: str, shares: int) -> State:
        state, loss, from_reserve, burnt = self.ledger.write_off(self._charge(state), shares)
        self._log("Transfer", sender=self.name, receiver=NOBODY, value=burnt)
        self._log(
            "BadDebt",
            borrower=account,
            assets=loss,
            from_reserve=from_reserve,
            from_lenders=loss - from_reserve,
            total_assets=state.supply_assets,
        )
        return state
