"""Reference model of the carry vault: shares, requests and claims over a strategy.

    venue = PerpVenue(market, parameters)
    vault = CarryVault(market, venue, KEEP)
    market.parts += [venue, vault.strategy, vault]
    vault.requestDeposit("holder", 10**18, "holder", "holder")
    vault.settle_deposit("anyone", "holder")
    vault.rebalance("anyone")

Accounts are names: the vault's is "vault", its strategy's "vault strategy", or by the name that
the vault is given. Raises PoolError with the reason of the chain.
"""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass, field, fields, replace
from typing import Any

from perpool.reference import interest
from perpool.reference.arithmetic import (
    MAX_UINT256,
    mul_div_down,
    mul_div_up,
    refuse,
    share_of_down,
    word,
)
from perpool.reference.carry import Book, CarryStrategy
from perpool.reference.ledger import virtual_shares
from perpool.reference.market import Market
from perpool.reference.perp import PerpVenue
from perpool.reference.pool import entry
from perpool.reference.targets import CarryParameters, most_tokens_for, tokens_down
from perpool.reference.wad import WAD
from perpool.reference.world import NOBODY, Event, World

TIP_PARTS = 4
"""Of the budget, what a due call gets: one in so many."""
PATIENCE = 86_400
"""Seconds after which a request that could not be settled may be taken back."""
MOST_TOKENS = 2**112
"""That a request may ask for."""
GRACE = 3_600
"""Seconds after which anybody may finish a redemption with fewer tokens than its least."""


@dataclass(frozen=True)
class DepositRequest:
    """Tokens that wait, and since when."""

    assets: int = 0
    requested_at: int = 0


@dataclass(frozen=True)
class RedeemRequest:
    """Shares that wait, since when, USDT brought, and the least tokens for all of them."""

    shares: int = 0
    requested_at: int = 0
    usdt: int = 0
    min_tokens: int = 0


@dataclass(frozen=True)
class Claims:
    """What a controller may claim."""

    assets_in: int = 0
    shares_out: int = 0
    shares_in: int = 0
    assets_out: int = 0
    usdt_out: int = 0


@dataclass(frozen=True)
class Half:
    """A redemption between its halves."""

    shares: int = 0
    usdt: int = 0
    """Brought."""
    min_tokens: int = 0
    apart_at: int = 0


@dataclass
class VaultMemory:
    """All that a call may change."""

    total: int = 0
    shares: Counter[str] = field(default_factory=Counter)
    allowances: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By (holder, spender)."""
    operators: set[tuple[str, str]] = field(default_factory=set)
    """(controller, operator)"""
    waiting: int = 0
    """Tokens of all deposit requests."""
    ordering: str = NOBODY
    """Whose order is at the venue."""
    ordered: int = 0
    """Shares that it is for."""
    requests_turn: bool = False
    """What was due had to be ordered before a request was settled."""
    deposits: dict[str, DepositRequest] = field(default_factory=dict)
    redeems: dict[str, RedeemRequest] = field(default_factory=dict)
    claims: dict[str, Claims] = field(default_factory=dict)
    parts: dict[str, Half] = field(default_factory=dict)
    tip_budget: int = 0
    tips_at: int = 0
    cap: int = 0
    paused: bool = False


class CarryVault:
    """The vault, which is the account `name`."""

    def __init__(
        self,
        market: Market,
        venue: PerpVenue,
        parameters: CarryParameters,
        name: str = "vault",
    ) -> None:
        self.world: World = market
        self.name = name
        self.strategy = CarryStrategy(market, venue, parameters, f"{name} strategy", name)
        self.tip_rate = parameters.tip_rate
        self.locked = False
        self.memory = VaultMemory(tips_at=market.now)
        self.virtual_shares = virtual_shares(market.token.decimals)

    def save(self) -> VaultMemory:
        """All that a call may change; what is stored is replaced, never changed in place."""
        kept = (copy.copy(getattr(self.memory, each.name)) for each in fields(VaultMemory))
        return VaultMemory(*kept)

    def restore(self, saved: VaultMemory) -> None:
        """Back to what `save` gave, in place: a call in progress holds on to its memory."""
        vars(self.memory).update(vars(saved))

    # -- anyone --

    @entry
    def rebalance(self, caller: str) -> bool:
        """The next steps. False where nothing was due, nothing could be done, or one is pending."""
        if not self._sync() or not self.strategy.rebalance():
            return False
        self._pay_tip(caller)
        return True

    @entry
    def settle_deposit(self, caller: str, controller: str) -> int:
        """Returns shares, rounded down; 0 while an order is pending."""
        idle = self._sync()
        memory = self.memory
        request = memory.deposits.get(controller, DepositRequest())
        self._check_settleable(request.assets, request.requested_at)
        if not idle or not self._rebalance_first(caller):
            return 0
        taken, gained, worth = self.strategy.enter(request.assets)
        if worth == 0 and memory.total:
            refuse("insolvent")
        shares = mul_div_down(gained, memory.total + self.virtual_shares, worth + 1)
        if shares == 0:
            refuse("zero amount")
        memory.deposits[controller] = replace(request, assets=request.assets - taken)
        memory.waiting -= taken
        claims = self.claims_of(controller)
        memory.claims[controller] = replace(
            claims, assets_in=claims.assets_in + taken, shares_out=claims.shares_out + shares
        )
        self._log(
            "DepositSettled",
            controller=controller,
            assets=taken,
            shares=shares,
            total_assets=worth + gained,
            total_supply=memory.total + shares,
        )
        self._count_tips()
        self._move_shares(NOBODY, self.name, shares)
        return shares

    @entry
    def settle_redeem(self, caller: str, controller: str) -> int:
        """Returns tokens, rounded down; 0 while an order is pending."""
        idle = self._sync()
        memory = self.memory
        half = memory.parts.get(controller, Half())
        if half.shares:
            fresh = half.apart_at == self.world.now
            if fresh and half.min_tokens and not self._is_his(caller, controller):
                return 0
            return self._finish(caller, controller, whole=False)
        if not idle:
            return 0
        request = memory.redeems.get(controller, RedeemRequest())
        self._check_settleable(request.shares, request.requested_at)
        if not self._rebalance_first(caller):
            return 0
        held = self.strategy.book()
        taken, apart, usdt = self.strategy.begin_exit(controller, request.shares, memory.total)
        if apart:
            self._burn(controller, taken)
            return self._finish(caller, controller, whole=True)
        usdt += mul_div_down(held.cash, taken, memory.total)
        least = mul_div_up(request.min_tokens, taken, request.shares)
        if least and self._expected(held, request, taken, usdt) < least:
            refuse("too few tokens")
        memory.ordering, memory.ordered = controller, taken
        return 0

    # -- holders --

    @entry
    def requestDeposit(  # noqa: N802
        self, caller: str, assets: int, controller: str, owner: str
    ) -> int:
        """Returns the request's id, 0."""
        if self.memory.paused:
            refuse("paused")
        self._check_operator(caller, owner)
        self._check_operator(caller, controller)
        self.world.token.move(owner, self.name, assets)
        if assets == 0:
            refuse("zero amount")
        request = self.memory.deposits.get(controller, DepositRequest())
        self.memory.deposits[controller] = DepositRequest(request.assets + assets, self.world.now)
        self.memory.waiting += assets
        self._log(
            "DepositRequest",
            controller=controller,
            owner=owner,
            requestId=0,
            sender=caller,
            assets=assets,
        )
        if self.strategy.book().nav + self.memory.waiting > self.memory.cap:
            refuse("supply cap")
        return 0

    @entry
    def request_redeem(  # noqa: PLR0917
        self,
        caller: str,
        shares: int,
        controller: str,
        owner: str,
        usdt_amount: int = 0,
        min_tokens: int = 0,
    ) -> int:
        """Returns the request's id, 0."""
        self._check_operator(caller, controller)
        if self.memory.ordering == controller:
            refuse("order pending")
        if min_tokens > MOST_TOKENS:
            refuse("amount too large")
        if (owner, caller) not in self.memory.operators:
            self._spend_allowance(caller, owner, shares)
        if shares == 0:
            refuse("zero amount")
        self.world.usdt.move(caller, self.name, usdt_amount)
        request = self.memory.redeems.get(controller, RedeemRequest())
        self.memory.redeems[controller] = RedeemRequest(
            request.shares + shares,
            self.world.now,
            request.usdt + usdt_amount,
            request.min_tokens + min_tokens,
        )
        self._log(
            "RedeemRequest",
            controller=controller,
            owner=owner,
            requestId=0,
            sender=caller,
            shares=shares,
        )
        self._move_shares(owner, self.name, shares)
        return 0

    @entry
    def bring_usdt(self, caller: str, controller: str, usdt_amount: int) -> None:
        """More of the caller's USDT for the debt of a redemption that is not settled yet."""
        memory = self.memory
        half = memory.parts.get(controller, Half())
        request = memory.redeems.get(controller, RedeemRequest())
        if half.shares == 0 and request.shares == 0:
            refuse("no request")
        self.world.usdt.move(caller, self.name, usdt_amount)
        if half.shares:
            memory.parts[controller] = replace(half, usdt=half.usdt + usdt_amount)
        else:
            memory.redeems[controller] = replace(request, usdt=request.usdt + usdt_amount)
        self._log("UsdtBrought", caller=caller, controller=controller, usdt_amount=usdt_amount)

    @entry
    def cancel_deposit(self, caller: str, controller: str, receiver: str) -> int:
        """Returns tokens."""
        self._check_operator(caller, controller)
        self._check_receiver(receiver)
        request = self.memory.deposits.get(controller, DepositRequest())
        self._check_patience(request.assets, request.requested_at)
        self.memory.deposits[controller] = DepositRequest()
        self.memory.waiting -= request.assets
        self._log("RequestCancelled", controller=controller, assets=request.assets, shares=0)
        self.world.token.move(self.name, receiver, request.assets)
        return request.assets

    @entry
    def cancel_redeem(self, caller: str, controller: str, receiver: str) -> int:
        """Returns shares."""
        self._check_operator(caller, controller)
        self._check_receiver(receiver)
        self._sync()
        request = self.memory.redeems.get(controller, RedeemRequest())
        self._check_patience(request.shares, request.requested_at)
        if self.memory.ordering == controller:
            refuse("order pending")
        self.memory.redeems[controller] = RedeemRequest()
        self._log("RequestCancelled", controller=controller, assets=0, shares=request.shares)
        self._move_shares(self.name, receiver, request.shares)
        self.world.usdt.move(self.name, receiver, request.usdt)
        return request.shares

    @entry
    def mint(self, caller: str, shares: int, receiver: str, controller: str) -> int:
        """Claim shares of a settled deposit. Returns its tokens, rounded up."""
        claims = self.claims_of(controller)
        if claims.shares_out == 0:
            refuse("not claimable")
        assets = mul_div_up(shares, claims.assets_in, claims.shares_out)
        self._check_operator(caller, controller)
        self._check_receiver(receiver)
        if assets > claims.assets_in or shares > claims.shares_out:
            refuse("not claimable")
        self.memory.claims[controller] = replace(
            claims, assets_in=claims.assets_in - assets, shares_out=claims.shares_out - shares
        )
        self._log("Deposit", sender=controller, owner=receiver, assets=assets, shares=shares)
        self._move_shares(self.name, receiver, shares)
        return assets

    @entry
    def redeem(self, caller: str, shares: int, receiver: str, controller: str) -> int:
        """Claim tokens of redeemed shares, and the USDT that is left. Returns tokens, down."""
        claims = self.claims_of(controller)
        if claims.shares_in == 0:
            refuse("not claimable")
        assets = mul_div_down(shares, claims.assets_out, claims.shares_in)
        self._check_operator(caller, controller)
        self._check_receiver(receiver)
        if assets > claims.assets_out or shares > claims.shares_in:
            refuse("not claimable")
        self.memory.claims[controller] = replace(
            claims,
            assets_out=claims.assets_out - assets,
            shares_in=claims.shares_in - shares,
            usdt_out=0,
        )
        self._log(
            "Withdraw",
            sender=caller,
            receiver=receiver,
            owner=controller,
            assets=assets,
            shares=shares,
        )
        self.world.token.move(self.name, receiver, assets)
        self.world.usdt.move(self.name, receiver, claims.usdt_out)
        return assets

    @entry
    def transfer(self, caller: str, receiver: str, shares: int) -> bool:
        """Move shares."""
        self._check_receiver(receiver)
        self._move_shares(caller, receiver, shares)
        return True

    # -- views --

    def tip(self) -> int:
        """Shares that the next due call gets."""
        return self._tip_budget() // TIP_PARTS

    def claims_of(self, controller: str) -> Claims:
        """What a controller may claim."""
        return self.memory.claims.get(controller, Claims())

    # -- settling --

    def _sync(self) -> bool:
        """Whether no order is pending."""
        idle, apart = self.strategy.sync()
        if idle and self.memory.ordering != NOBODY:
            if apart:
                self._burn(self.memory.ordering, self.memory.ordered)
            self.memory.ordering = NOBODY
        return idle

    def _rebalance_first(self, caller: str) -> bool:
        """Where that is due and was not the last to order. Whether no order is pending then."""
        if self.memory.requests_turn:
            self.memory.requests_turn = False
            return True
        if not self.world.attempt(self.strategy.rebalance):
            return True
        self._pay_tip(caller)
        idle = self._sync()
        self.memory.requests_turn = not idle
        return idle

    def _expected(self, held: Book, request: RedeemRequest, taken: int, usdt: int) -> int:
        """Tokens that shares should bring whose order is out: at the price, less slippage."""
        total, slippage = self.memory.total, self.strategy.parameters.max_slippage
        owed = mul_div_up(held.debt, taken, total)
        expected = mul_div_down(held.tokens, taken, total)
        if usdt > owed:
            return expected + share_of_down(tokens_down(usdt - owed, held.price), WAD - slippage)
        usdt += mul_div_down(request.usdt, taken, request.shares)
        sold = most_tokens_for(max(owed - usdt, 0), held.price, slippage)
        return max(expected - sold, 0)

    def _burn(self, controller: str, shares: int) -> None:
        """What the shares were for has been set apart."""
        memory = self.memory
        request = memory.redeems[controller]
        half = Half(
            shares,
            mul_div_down(request.usdt, shares, request.shares),
            mul_div_up(request.min_tokens, shares, request.shares),
            self.world.now,
        )
        memory.parts[controller] = half
        memory.redeems[controller] = replace(
            request,
            shares=request.shares - shares,
            usdt=request.usdt - half.usdt,
            min_tokens=request.min_tokens - half.min_tokens,
        )
        self._count_tips()
        # who leaves takes his part of the tips with him
        memory.tip_budget = mul_div_down(memory.tip_budget, memory.total - shares, memory.total)
        self._move_shares(self.name, NOBODY, shares)

    def _finish(self, caller: str, controller: str, *, whole: bool) -> int:
        """Returns tokens, which with the USDT that is left can be claimed."""
        memory = self.memory
        half = memory.parts[controller]
        memory.parts[controller] = Half()
        assets, usdt_out, usdt_in = self.strategy.finish_exit(controller, half.usdt)
        if whole and assets + usdt_out == 0:
            refuse("insolvent")
        early = self.world.now < half.apart_at + GRACE and not self._is_his(caller, controller)
        if assets < half.min_tokens and (whole or early):
            refuse("too few tokens")
        claims = self.claims_of(controller)
        memory.claims[controller] = replace(
            claims,
            shares_in=claims.shares_in + half.shares,
            assets_out=claims.assets_out + assets,
            usdt_out=claims.usdt_out + half.usdt + usdt_out - usdt_in,
        )
        self._log(
            "RedeemSettled",
            controller=controller,
            shares=half.shares,
            assets=assets,
            usdt_in=usdt_in,
            total_supply=memory.total,
        )
        return assets

    # -- tips --

    def _tip_budget(self) -> int:
        memory = self.memory
        yearly = share_of_down(memory.total, self.tip_rate)
        elapsed = self.world.now - memory.tips_at
        return memory.tip_budget + mul_div_down(yearly, elapsed, interest.YEAR)

    def _count_tips(self) -> None:
        """Before shares are minted or burnt."""
        self.memory.tip_budget, self.memory.tips_at = self._tip_budget(), self.world.now

    def _pay_tip(self, caller: str) -> None:
        self._count_tips()
        tip = self.memory.tip_budget // TIP_PARTS
        self.memory.tip_budget -= tip
        if tip:
            self._log("Tipped", caller=caller, shares=tip)
            self._move_shares(NOBODY, caller, tip)

    # -- shares --

    def _move_shares(self, sender: str, receiver: str, shares: int) -> None:
        """From or to NOBODY is a mint or a burn."""
        memory = self.memory
        if sender == NOBODY:
            memory.total = word(memory.total + shares)
        else:
            if memory.shares[sender] < shares:
                refuse("insufficient balance")
            memory.shares[sender] -= shares
        if receiver == NOBODY:
            memory.total -= shares
        else:
            memory.shares[receiver] += shares
        self._log("Transfer", sender=sender, receiver=receiver, value=shares)

    def _spend_allowance(self, caller: str, holder: str, shares: int) -> None:
        allowed = self.memory.allowances[holder, caller]
        if caller == holder or allowed == MAX_UINT256:
            return
        if allowed < shares:
            refuse("insufficient allowance")
        self.memory.allowances[holder, caller] = allowed - shares

    # -- checks --

    def _check_operator(self, caller: str, account: str) -> None:
        if caller != account and (account, caller) not in self.memory.operators:
            refuse("not authorised")

    def _is_his(self, caller: str, controller: str) -> bool:
        return caller == controller or (controller, caller) in self.memory.operators

    def _check_receiver(self, receiver: str) -> None:
        if receiver in (NOBODY, self.name):
            refuse("bad receiver")

    def _check_settleable(self, amount: int, requested_at: int) -> None:
        if amount == 0:
            refuse("no request")
        if self.world.prices.observed_at <= requested_at:
            refuse("too soon")

    def _check_patience(self, amount: int, requested_at: int) -> None:
        if amount == 0:
            refuse("no request")
        if self.world.now < requested_at + PATIENCE:
            refuse("too soon")

    def _log(self, name: str, **args: Any) -> None:
        self.world.events.append(Event(self.name, name, tuple(sorted(args.items()))))
