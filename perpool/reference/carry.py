"""Reference model of the carry strategy: what a carry vault has, and what it does with it.

Accounts are names. Tokens and USDT in smallest units, prices in 1e36, ratios in WAD. Raises
PoolError with the reason of the chain. What it does to pools, venue and swap adapter may fail
without the call failing: then that changes nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any

from perpool.reference import interest
from perpool.reference.arithmetic import (
    mul_div_down,
    mul_div_up,
    refuse,
    share_of_down,
    share_of_up,
)
from perpool.reference.market import Market
from perpool.reference.perp import PerpVenue, Status
from perpool.reference.targets import (
    CarryParameters,
    is_off,
    margin_of,
    most_tokens_for,
    nav,
    plan,
    tokens_down,
    tokens_up,
    value_down,
    value_up,
)
from perpool.reference.wad import WAD, truncated_div
from perpool.reference.world import NOBODY, Event, World

ORDER_LIFE = 5_400
"""Seconds that an order may wait."""


@dataclass(frozen=True)
class Book:
    """What the vault has, without what is set apart for redemptions."""

    price: int
    idle: int
    lent: int
    collateral: int
    debt: int
    short: int
    money: int
    """The position without the short itself: margin, funding, what the short was sold for."""
    cash: int
    pending: int
    """The venue's request in flight; 0 for none."""

    @property
    def equity(self) -> int:
        """Of the position, rounded down."""
        return self.money - value_up(self.short, self.price)

    @property
    def net(self) -> int:
        """equity + cash - debt"""
        return self.equity + self.cash - self.debt

    @property
    def tokens(self) -> int:
        """However held."""
        return self.idle + self.lent + self.collateral

    @property
    def nav(self) -> int:
        """Tokens that everything is worth, rounded down."""
        return nav(self.tokens, self.short, self.money + self.cash - self.debt, self.price)


@dataclass(frozen=True)
class Part:
    """A redemption between its halves."""

    tokens: int = 0
    usdt: int = 0
    collateral: int = 0
    debt_shares: int = 0


@dataclass(frozen=True)
class Order:
    """The redemption whose order is at the venue; NOBODY's where there is none."""

    controller: str = NOBODY
    number: int = 0
    shares: int = 0
    total: int = 0
    closing: int = 0
    """Tokens of the short."""


@dataclass
class StrategyMemory:
    """All that a call may change."""

    idle: int = 0
    cash: int = 0
    forward_shares: int = 0
    apart_collateral: int = 0
    apart_debt_shares: int = 0
    carrying: bool = False
    entered_at: int = 0
    order: Order = Order()
    parts: dict[str, Part] = field(default_factory=dict)
    max_trade: int = 0
    swapper: str = NOBODY


class CarryStrategy:
    """What the account `name` has, for the vault that is the account `vault`."""

    def __init__(
        self,
        market: Market,
        venue: PerpVenue,
        parameters: CarryParameters,
        name: str = "strategy",
        vault: str = "vault",
    ) -> None:
        self.world: World = market
        self.market, self.venue, self.parameters = market, venue, parameters
        self.name, self.vault = name, vault
        self.memory = StrategyMemory()

    def save(self) -> StrategyMemory:
        """All that a call may change; what is stored is replaced, never changed in place."""
        kept = (copy.copy(getattr(self.memory, each.name)) for each in fields(StrategyMemory))
        return StrategyMemory(*kept)

    def restore(self, saved: StrategyMemory) -> None:
        """Back to what `save` gave, in place: a call in progress holds on to its memory."""
        vars(self.memory).update(vars(saved))

    # -- the vault's --

    def sync(self) -> tuple[bool, bool]:
        """(whether no order is pending, whether its redemption is set apart by this)."""
        if not self._settle_order():
            return False, False
        order = self.memory.order
        if order.controller == NOBODY:
            return True, False
        if self.venue.status(order.number) != Status.CONFIRMED:
            self.memory.order = Order()
            return True, False
        held = self.book()
        if held.cash > self.memory.cash:
            return False, False
        self.memory.order = Order()
        cost = self.venue.last_cost(self.name) - value_down(order.closing, held.price)
        self._set_apart(order.controller, order.shares, order.total, held, cost)
        return True, True

    def rebalance(self) -> bool:
        """The next steps, as far as others let them. False where nothing was due or done."""
        held = self.book()
        carrying, funding, carry = self._wanted(held)
        if not self._is_due(held, carrying):
            return False
        moved = carrying != self.memory.carrying
        if moved:
            self._switch(carrying, funding, carry)
        done = self._carry(held.price) if carrying else self._lend_all(held.price)
        if not (moved or done):
            return False
        held = self.book()
        self._log(
            "Rebalanced",
            mode=mode_of(carrying),
            price_e36=held.price,
            collateral=held.collateral,
            debt=held.debt,
            short=held.short,
            equity=held.equity,
            cash=held.cash,
        )
        return True

    def enter(self, assets: int) -> tuple[int, int, int]:
        """(tokens taken, tokens that the rest is worth more for it, what it was worth)."""
        lower, upper = self.world.prices.bounds()
        held = self.book()
        bound = upper if held.money + held.cash < held.debt else lower
        before = replace(held, price=bound).nav
        taken, cost = assets, 0
        hedged = self.memory.carrying and held.short > 0
        if hedged:
            taken = min(assets, self._largest_hedge(held))
        self.world.token.move(self.vault, self.name, taken)
        if hedged:
            cost = self._hedge(held, taken, lower, bound)
        else:
            self.memory.idle += taken
            if not self.memory.carrying:
                self._lend()
        after = replace(self.book(), price=bound).nav
        return taken, min(max(taken - cost, 0), max(after - before, 0)), before

    def begin_exit(self, controller: str, shares: int, total: int) -> tuple[int, bool, int]:
        """(shares that it is for, whether they are set apart already, USDT to come out if not)."""
        held = self.book()
        taken = self._payable(held, shares, total)
        closing = mul_div_up(held.short, taken, total)
        if closing == 0:
            self._set_apart(controller, taken, total, held, 0)
            return taken, True, 0
        number, margin_out = self._close(held, closing, part_down(held.money, taken, total))
        self.memory.order = Order(controller, number, taken, total, closing)
        return taken, self.sync()[1], margin_out

    def finish_exit(self, controller: str, brought: int) -> tuple[int, int, int]:
        """(tokens sent, USDT sent, USDT pulled)."""
        part = self.memory.parts[controller]
        self.memory.parts[controller] = Part()
        price = self.world.prices.for_liquidation()
        left, paid = self._pay_off(part, brought, price)
        pulled = max(paid - part.usdt, 0)
        surplus = max(part.usdt - paid, 0)
        bought = self._buy(surplus, price)
        if bought:
            surplus = 0
        sent = left + bought
        self.world.token.move(self.name, self.vault, sent)
        self.world.usdt.move(self.name, self.vault, surplus)
        return sent, surplus, pulled

    # -- views --

    def book(self) -> Book:
        """What there is, at the liquidation price. Raises without one."""
        memory = self.memory
        collateral, debt = self._loan()
        size, entry_notional, margin, funding, pending, escrow, credit = self.venue.position(
            self.name
        )
        return Book(
            price=self.world.prices.for_liquidation(),
            idle=memory.idle,
            lent=self._lent(memory.forward_shares) if memory.forward_shares else 0,
            collateral=collateral,
            debt=debt,
            short=max(-size, 0),
            money=margin + funding + entry_notional,
            cash=memory.cash + escrow + credit,
            pending=pending,
        )

    def is_due(self) -> bool:
        """Whether `rebalance` would have something to do."""
        held = self.book()
        if held.pending:
            return False
        return self._is_due(held, self._wanted(held)[0])

    def net_carry(self) -> int:
        """h * F - debt / value * borrow rate, WAD a year; 0 where funding is stale."""
        return self._wanted(self.book())[2]

    # -- which side --

    def _wanted(self, held: Book) -> tuple[bool, int, int]:
        """(whether to carry, funding, net carry)."""
        p, now, carrying = self.parameters, self.world.now, self.memory.carrying
        funding, observed_at = self.world.funding
        if observed_at > now or observed_at + self.market.reverse.leg.funding_max_age < now:
            return carrying, funding, 0
        carry = self._net_carry(held, funding)
        may_switch = now >= self.memory.entered_at + p.min_stay
        if not carrying:
            carrying = may_switch and funding > p.enter_rate and carry > 0
        elif (may_switch and funding < p.leave_rate) or carry < -p.worst_carry:
            carrying = False
        return carrying, funding, carry

    def _net_carry(self, held: Book, funding: int) -> int:
        p, pool = self.parameters, self.market.reverse
        leverage = p.margin_share
        value = value_down(held.collateral, held.price)
        if held.short and value:
            leverage = mul_div_up(held.debt, WAD, value)
        state = pool.accrued()
        used = interest.utilisation(state.debt_assets, state.all_assets)
        rate = interest.borrow_rate(pool.leg, used, funding)
        return truncated_div(p.hedge_ratio * funding, WAD) - share_of_up(rate, leverage)

    def _switch(self, carrying: bool, funding: int, carry: int) -> None:
        self.memory.carrying, self.memory.entered_at = carrying, self.world.now
        self._log("ModeChanged", mode=mode_of(carrying), funding_wad=funding, net_carry=carry)

    # -- what is due --

    def _is_due(self, held: Book, carrying: bool) -> bool:
        if carrying != self.memory.carrying:
            return True
        worth, price, p = held.nav, held.price, self.parameters
        if tokens_down(held.cash, price) > worth // 100:
            return True
        if not carrying:
            dust = worth // 1_000
            return (
                max(held.short, held.collateral) > dust
                or tokens_down(held.debt, price) > dust
                or self._lendable() > worth // 100
            )
        deployable = self._deployable()
        if deployable > worth // 100:
            return True
        collateral = held.collateral + deployable
        aim = plan(p, price, collateral, held.net, may_sell=p.may_sell)
        return is_off(p, price, collateral, held.debt, held.short, held.equity, aim.short)

    # -- the steps --

    def _carry(self, price: int) -> bool:
        p = self.parameters
        moved = self._deploy()
        held = self.book()
        aim = plan(p, price, held.collateral, held.net, may_sell=p.may_sell)
        if aim.sell:
            if self._sell(value_down(aim.sell, price), price):
                moved = True
                # what the sale did not take
                self._deploy()
            else:
                # what cannot be sold, the hedge gives way for
                aim = plan(p, price, held.collateral, held.net, may_sell=False)
        ordered, borrowed = self._adjust(aim.short)
        # what was borrowed for an order that was refused goes back, and counts for nothing
        repaid = self._repay() and not borrowed
        bought = False
        if aim.buy and self._loan()[1] == 0:
            bought = self._buy_tokens(price)
            self._deploy()
        return moved or ordered or repaid or bought

    def _lend_all(self, price: int) -> bool:
        moved = self._adjust(0)[0]
        moved = self._repay() or moved
        held = self.book()
        if held.short == 0 and held.pending == 0:
            if held.debt:
                moved = self._sell(held.debt, price) or moved
            if self._loan()[1] == 0:
                moved = self._withdraw_collateral() or moved
                moved = self._buy_tokens(price) or moved
        return self._lend() or moved

    def _adjust(self, target: int) -> tuple[bool, bool]:
        """(whether the venue took an order, whether anything was borrowed)."""
        held = self.book()
        short = self._reachable(held, target)
        need, borrowed = self._margin_needed(held, short), False
        if need > self.memory.cash:
            missing = need - self.memory.cash
            most = share_of_down(
                value_down(held.collateral, held.price), self.parameters.ltv_ceiling
            )
            headroom = max(most - held.debt, 0)
            borrowed = headroom > 0 and self._borrow(min(missing, headroom))
            if not borrowed or missing > headroom:
                short = self._reachable(held, min(short, self._affordable(held)))
                need = self._margin_needed(held, short)
        need = min(need, self.memory.cash)
        ordered = short != held.short and self._order(held.short - short, need, held.price)
        if not ordered:
            # without the size, its margin at least
            need = min(self._margin_needed(held, held.short), self.memory.cash)
            ordered = need and self._order(0, need, held.price)
        if ordered:
            self._settle_order()
        return bool(ordered), borrowed

    def _reachable(self, held: Book, target: int) -> int:
        """The short that one order can make of it on the way to the target."""
        largest = tokens_down(self.memory.max_trade, held.price)
        if target >= held.short:
            return held.short + min(target - held.short, self.venue.room()[0], largest)
        return held.short - min(held.short - target, largest)

    def _margin_needed(self, held: Book, short: int) -> int:
        """USDT to put in, or to take out, with an order that leaves so much of a short."""
        if short == 0:
            return 0
        margin = margin_of(short, held.price, self.parameters.margin_ratio)
        traded = value_up(abs(short - held.short), held.price)
        return margin + share_of_up(traded, self.venue.parameters.fee) - held.equity

    def _affordable(self, held: Book) -> int:
        """The short that equity and cash are the margin of; as it is where it nearly is."""
        money = max(held.equity + self.memory.cash, 0)
        short = tokens_down(mul_div_down(money, WAD, self.parameters.margin_ratio), held.price)
        return held.short if 0 < held.short - short < held.short // 100 else short

    # -- orders --

    def _settle_order(self) -> bool:
        """Whether nothing is pending any more."""
        *_, pending, _, credit = self.venue.position(self.name)
        if pending:
            self._attempt(lambda: self.venue.settle(self.name, pending))
            *_, pending, _, credit = self.venue.position(self.name)
            if pending:
                return False
        if credit:
            held = self._usdt
            self._attempt(lambda: self.venue.withdraw(self.name, self.name))
            self.memory.cash += self._usdt - held
        return True

    def _order(self, size_delta: int, margin_delta: int, price: int) -> int:
        """Returns its id; 0 where the venue did not take it."""
        slippage = self.parameters.max_slippage
        limit = price
        if size_delta < 0:
            limit = share_of_up(price, WAD - slippage)
        elif size_delta > 0:
            limit = share_of_down(price, WAD + slippage)
        held = self._usdt
        number: int = self._attempt(
            lambda: self.venue.request(
                self.name, size_delta, margin_delta, limit, self.world.now + ORDER_LIFE
            )
        )
        if margin_delta > 0:
            self.memory.cash -= held - self._usdt
        if number:
            self._log(
                "Ordered",
                id=number,
                size_delta=size_delta,
                margin_delta=margin_delta,
                confirmed=not self.venue.position(self.name)[4],
            )
        return number or 0

    # -- moves in the pools --

    def _loan(self) -> tuple[int, int]:
        """(collateral, debt) without what is set apart."""
        pool, memory = self.market.reverse, self.memory
        collateral, debt_shares = pool.collateral_of[self.name], pool.debt_shares[self.name]
        collateral -= min(collateral, memory.apart_collateral)
        ours = debt_shares - memory.apart_debt_shares
        if ours <= 0:
            return collateral, 0
        return collateral, mul_div_up(pool.debt_of(self.name), ours, debt_shares)

    def _lent(self, shares: int) -> int:
        pool = self.market.forward
        return pool.ledger.to_assets_down(pool.accrued(), shares)

    def _forward_shares_of(self, token_amount: int) -> int:
        pool = self.market.forward
        return pool.ledger.to_shares_down(pool.accrued(), token_amount)

    def _collateral_room(self) -> int:
        pool = self.market.reverse
        if pool.collateral_of[self.name] < self.memory.apart_collateral:
            return 0
        return max(pool.collateral_cap - self.world.token.balances[pool.name], 0)

    def _withdrawable(self) -> int:
        shares = self.memory.forward_shares
        return min(shares, self.market.forward.max_redeem(self.name)) if shares else 0

    def _deployable(self) -> int:
        found = self.memory.idle
        shares = self._withdrawable()
        if shares:
            found += self._lent(shares)
        return min(found, self._collateral_room())

    def _lendable(self) -> int:
        pool = self.market.forward
        return min(self.memory.idle, pool.supply_room(pool.accrued()))

    def _deploy(self) -> bool:
        """Lent and idle tokens become collateral. Whether there were any."""
        memory, room, shares = self.memory, self._collateral_room(), self._withdrawable()
        if shares and room > memory.idle:
            shares = min(shares, self._forward_shares_of(room - memory.idle))
            memory.idle += self._take_back(shares)
        token_amount = min(memory.idle, room)
        if token_amount == 0:
            return False
        memory.idle -= token_amount
        self.market.reverse.supply_collateral(self.name, token_amount, self.name)
        return True

    def _take_back(self, shares: int) -> int:
        """Returns tokens, for the caller to count."""
        if self._lent(shares) == 0:
            return 0
        self.memory.forward_shares -= shares
        return self.market.forward.redeem(self.name, shares, self.name, self.name)

    def _lend(self) -> bool:
        """Idle tokens go to the forward pool. Whether there were any."""
        token_amount = self._lendable()
        if token_amount == 0 or self._forward_shares_of(token_amount) == 0:
            return False
        self.memory.idle -= token_amount
        shares = self.market.forward.deposit(self.name, token_amount, self.name)
        self.memory.forward_shares += shares
        return True

    def _borrow(self, usdt_amount: int) -> bool:
        """Whether the pool lent it."""
        held = self._usdt
        pool = self.market.reverse
        done = self._attempt(lambda: pool.borrow(self.name, usdt_amount, self.name, self.name))
        self.memory.cash += self._usdt - held
        return done is not None

    def _repay(self) -> bool:
        """Cash pays debt, down to the pool's smallest where not all can be paid."""
        usdt_amount = min(self.memory.cash, self._loan()[1])
        usdt_amount = self._without_dust(usdt_amount) if usdt_amount else 0
        if usdt_amount == 0:
            return False
        self.memory.cash -= usdt_amount
        self.market.reverse.repay(self.name, usdt_amount, self.name)
        return True

    def _without_dust(self, usdt_amount: int) -> int:
        """The largest repayment up to this that does not leave a debt too small for the pool."""
        pool = self.market.reverse
        debt, least = pool.debt_of(self.name), pool.leg.min_debt
        if usdt_amount >= debt or debt - usdt_amount >= least:
            return usdt_amount
        return debt - min(debt, least)

    def _withdraw_collateral(self) -> bool:
        """Collateral without debt becomes idle."""
        collateral = self._loan()[0]
        if collateral == 0:
            return False
        pool = self.market.reverse
        out = self._attempt(
            lambda: pool.withdraw_collateral(self.name, collateral, self.name, self.name)
        )
        if out is None:
            return False
        self.memory.idle += collateral
        return True

    # -- trades --

    def _sell(self, worth: int, price: int) -> bool:
        """Collateral pays so much of the debt, or as much as one trade may be."""
        collateral, debt = self._loan()
        usdt_amount = self._without_dust(min(worth, debt, self.memory.max_trade))
        if usdt_amount == 0:
            return False
        collateral_out = min(self._most_tokens_for(usdt_amount, price), collateral)
        spent = self._sell_to_repay(collateral_out, usdt_amount, usdt_amount)
        if spent is None:
            return False
        self.memory.idle += collateral_out - spent
        return True

    def _sell_to_repay(self, collateral_out: int, usdt_amount: int, repaid: int) -> int | None:
        """Sells what it takes of the collateral for the USDT. Tokens spent; None if refused."""
        spent = 0

        def sell() -> None:
            nonlocal spent
            spent, got = self._swap(exact_in=False, amount_in=collateral_out, out=usdt_amount)
            if got < usdt_amount:
                refuse("slippage")
            self.memory.cash += got - usdt_amount

        pool = self.market.reverse
        done = self._attempt(
            lambda: pool.deleverage(self.name, collateral_out, repaid, self.name, self.name, sell)
        )
        if done is None:
            return None
        self._log("Traded", tokens_sold=spent, tokens_bought=0, usdt_amount=usdt_amount)
        return spent

    def _buy_tokens(self, price: int) -> bool:
        """Cash buys tokens, as far as one trade goes."""
        usdt_amount = min(self.memory.cash, self.memory.max_trade)
        bought = self._buy(usdt_amount, price)
        if bought == 0:
            return False
        self.memory.cash -= usdt_amount
        self.memory.idle += bought
        return True

    def _buy(self, usdt_amount: int, price: int) -> int:
        """Tokens bought, for the caller to count; 0 where that could not be done."""
        if usdt_amount == 0:
            return 0

        def buy() -> int:
            got = self._swap(exact_in=True, amount_in=usdt_amount)[1]
            if got < share_of_up(tokens_up(usdt_amount, price), WAD - self.parameters.max_slippage):
                refuse("slippage")
            self._log("Traded", tokens_sold=0, tokens_bought=got, usdt_amount=usdt_amount)
            return got

        return self._attempt(buy) or 0

    def _most_tokens_for(self, usdt_amount: int, price: int) -> int:
        return most_tokens_for(usdt_amount, price, self.parameters.max_slippage)

    def _swap(self, *, exact_in: bool, amount_in: int, out: int = 0) -> tuple[int, int]:
        """(what went out, what came in): USDT for tokens, or tokens for an exact USDT amount."""
        world, adapter = self.world, self.memory.swapper
        if adapter not in world.swappers:
            refuse("unknown swapper")
        token_in, token_out = (world.usdt, world.token) if exact_in else (world.token, world.usdt)
        before = token_in.balances[self.name], token_out.balances[self.name]
        if amount_in:
            token_in.move(self.name, adapter, amount_in)
        if exact_in:
            world.swappers[adapter].swap_exact_in(self.name, token_in, token_out, amount_in)
        else:
            world.swappers[adapter].swap_exact_out(self.name, token_in, token_out, out, amount_in)
        after = token_in.balances[self.name], token_out.balances[self.name]
        return before[0] - after[0], after[1] - before[1]

    # -- deposits --

    def _largest_hedge(self, held: Book) -> int:
        """Tokens whose hedge is one trade."""
        return mul_div_down(
            tokens_down(self.memory.max_trade, held.price), held.collateral, held.short
        )

    def _hedge(self, held: Book, assets: int, lower: int, bound: int) -> int:
        """Supplies tokens with their part of the hedge at its whole margin. What that costs."""
        if held.collateral == 0:
            refuse("order refused")
        self.market.reverse.supply_collateral(self.name, assets, self.name)
        size = mul_div_down(held.short, assets, held.collateral)
        fee = share_of_up(size, self.venue.parameters.fee)
        margin = margin_of(size, held.price, self.parameters.margin_ratio)
        margin += value_up(fee, held.price)
        if not self._borrow(margin):
            refuse("order refused")
        if not self._order(-size, margin, held.price):
            refuse("order refused")
        fill = min(self.world.prices.for_liquidation(), lower)
        return fee + mul_div_up(size, bound - fill, bound)

    # -- redemptions --

    def _payable(self, held: Book, shares: int, total: int) -> int:
        """Of the shares, those that the forward pool's cash allows now, dust aside."""
        most = shares
        if held.lent > held.collateral // 1_000:
            most = min(most, mul_div_down(self._withdrawable(), total, self.memory.forward_shares))
        if most == 0:
            refuse("insufficient cash")
        return most

    def _close(self, held: Book, closing: int, money: int) -> tuple[int, int]:
        """(id of the order, USDT that should come out of the part's `money`)."""
        price = max(held.price, self.world.prices.for_liquidation())
        cost = value_up(closing, price)
        cost += share_of_up(cost, self.venue.parameters.fee)
        margin_out = max(money - cost, 0)
        margin_delta = 0 if closing == held.short else -margin_out
        number = self._order(closing, margin_delta, held.price)
        if number == 0:
            refuse("order refused")
        return number, margin_out

    def _set_apart(self, controller: str, shares: int, total: int, held: Book, cost: int) -> None:
        """Takes the shares' part of everything out of what the rest has.

        `cost` is what closing their part of the short took beyond what it is worth now.
        """
        memory, pool = self.memory, self.market.reverse
        money = part_down(held.equity + memory.cash + cost, shares, total) - cost
        usdt = min(max(money, 0), memory.cash)
        memory.cash -= usdt
        tokens = mul_div_down(memory.idle, shares, total)
        memory.idle -= tokens
        lent_shares = mul_div_down(memory.forward_shares, shares, total)
        got = self._take_back(min(lent_shares, self._withdrawable()))
        tokens += got
        unpaid = max(mul_div_down(held.lent, shares, total) - got, 0)
        collateral, debt_shares = pool.collateral_of[self.name], pool.debt_shares[self.name]
        collateral -= min(collateral, memory.apart_collateral)
        debt_shares -= min(debt_shares, memory.apart_debt_shares)
        owed = mul_div_up(held.debt, shares, total) - (money - usdt)
        own = min(mul_div_down(collateral, shares, total) + unpaid, collateral)
        own_debt_shares = 0
        if owed < 0:
            own = min(own + tokens_down(-owed, held.price), collateral)
        elif held.debt:
            own_debt_shares = min(mul_div_up(owed, debt_shares, held.debt), debt_shares)
        part = Part(tokens, usdt, own, own_debt_shares)
        memory.apart_collateral += part.collateral
        memory.apart_debt_shares += part.debt_shares
        memory.parts[controller] = part
        self._log(
            "SetApart",
            controller=controller,
            tokens=part.tokens,
            usdt=part.usdt,
            collateral=part.collateral,
            debt_shares=part.debt_shares,
        )

    def _pay_off(self, part: Part, brought: int, price: int) -> tuple[int, int]:
        """(tokens of the part that are left, USDT that it took)."""
        memory, pool = self.memory, self.market.reverse
        collateral, debt_shares = pool.collateral_of[self.name], pool.debt_shares[self.name]
        mine = part.collateral
        if collateral < memory.apart_collateral:
            mine = mul_div_down(mine, collateral, memory.apart_collateral)
        mine += part.tokens
        apart = memory.apart_debt_shares
        memory.apart_collateral -= part.collateral
        memory.apart_debt_shares -= part.debt_shares
        debt, owed = pool.debt_of(self.name), 0
        if debt_shares:
            owed = mul_div_up(debt, part.debt_shares, max(debt_shares, apart))
        paid = min(part.usdt + brought, owed)
        if paid > part.usdt:
            self.world.usdt.move(self.vault, self.name, paid - part.usdt)
        dust = debt - owed
        if dust >= pool.leg.min_debt or owed == 0:
            dust = 0
        in_hand, sale = part.tokens, owed - paid + dust
        if sale:
            most = self._most_tokens_for(sale, price) + min(tokens_down(paid, price), 2)
            collateral_out = min(most, collateral)
            spent = self._sell_to_repay(collateral_out, sale, owed + dust)
            if spent is None:
                refuse("slippage")
                raise AssertionError
            in_hand += collateral_out - spent
            mine -= min(mine, mul_div_up(spent, owed - paid, sale))
        elif owed:
            pool.repay(self.name, owed, self.name)
        kept = min(mine, in_hand)
        memory.idle += in_hand - kept
        if mine > kept:
            pool.withdraw_collateral(self.name, mine - kept, self.name, self.name)
        return mine, paid

    # -- the world --

    @property
    def _usdt(self) -> int:
        return self.world.usdt.balances[self.name]

    def _attempt(self, call: Callable[[], Any]) -> Any:
        """What a call of others returns; None where it fails, and then it has changed nothing."""
        return self.world.attempt(call)

    def _log(self, name: str, **args: Any) -> None:
        self.world.events.append(Event(self.name, name, tuple(sorted(args.items()))))


def mode_of(carrying: bool) -> int:
    """ICarryVault.Mode."""
    return 2 if carrying else 1


def part_down(money: int, part: int, whole: int) -> int:
    """A part of money or of a debt, rounded down."""
    return -mul_div_up(-money, part, whole) if money < 0 else mul_div_down(money, part, whole)
