"""Reference model of the perp venue.

    venue = PerpVenue(world, parameters)
    world.parts.append(venue)
    venue.add_liquidity("lender", 10**12, "lender")
    venue.request("shorter", -(10**18), 10**9, 0, MAX_UINT256)

Accounts are names, "perp" is the venue's. Sizes are in the token's smallest unit, money in USDT's,
prices in 1e36, fractions in WAD. Prices, their time and the last median of funding are the
world's. Raises PoolError with the reason of the chain.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from dataclasses import asdict, astuple, dataclass, field, fields, replace
from enum import IntFlag
from typing import Any

from perpool.reference.arithmetic import (
    PRICE_SCALE,
    PoolError,
    mul_div_down,
    mul_div_up,
    refuse,
    share_of_down,
    share_of_up,
)
from perpool.reference.oracle import YEAR, clamp
from perpool.reference.perp_books import Books, Held, PerpParameters, State, value_down, value_up
from perpool.reference.pool import entry
from perpool.reference.wad import WAD
from perpool.reference.world import NOBODY, Event, World

LARGEST_AMOUNT = 2**112
LARGEST_SIZE = 2**126
LARGEST_RATE = 100 * WAD
LONGEST_WAIT = 86_400


class Status(IntFlag):
    """What a request is; 0 where there was none."""

    PENDING = 1
    CONFIRMED = 2
    FAILED = 4


@dataclass(frozen=True)
class Request:
    """A request with what arrived of its margin."""

    account: str
    size_delta: int
    margin_delta: int
    limit_price_e36: int
    reduces: bool
    expires_at: int
    block_number: int
    made_at: int

    @property
    def escrow(self) -> int:
        """USDT handed over with it."""
        return max(self.margin_delta, 0)

    @property
    def adds_margin_only(self) -> bool:
        """Whether it needs no price."""
        return self.size_delta == 0 and self.margin_delta > 0


@dataclass(frozen=True)
class Prices:
    """Mark and bounds, 0 where a request needs none."""

    mark: int = 0
    low: int = 0
    high: int = 0


@dataclass
class Fill:
    """What a fill did beside the books."""

    price_e36: int = 0
    realised: int = 0
    fee: int = 0
    cost: int = 0
    credited: int = 0


@dataclass
class Memory:
    """All that a call may change."""

    state: State = field(default_factory=State)
    held: dict[str, Held] = field(default_factory=lambda: defaultdict(Held))
    credit: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    shares: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    requests: dict[int, Request] = field(default_factory=dict)
    statuses: dict[int, Status] = field(default_factory=dict)
    last_costs: dict[str, int] = field(default_factory=dict)
    pending: dict[str, int] = field(default_factory=dict)
    last_request: int = 0


class PerpVenue:
    """The venue: what accounts ask for, liquidity, and closing by others."""

    def __init__(self, world: World, parameters: PerpParameters, name: str = "perp") -> None:
        self.world, self.parameters, self.name = world, parameters, name
        self.locked = False
        self.memory = Memory()
        self.virtual_shares = 10 ** min(6, 24 - world.usdt.decimals)

    def save(self) -> Memory:
        """All that a call may change; what is stored is replaced, never changed in place."""
        return Memory(*(copy.copy(getattr(self.memory, each.name)) for each in fields(Memory)))

    def restore(self, saved: Memory) -> None:
        """Back to what `save` gave."""
        self.memory = saved

    # -- the account's --

    @entry
    def request(
        self,
        caller: str,
        size_delta: int,
        margin_delta: int,
        limit_price_e36: int,
        expires_at: int,
    ) -> int:
        """Ask for a change of size and margin. Returns the id."""
        if size_delta == 0 and margin_delta == 0:
            refuse("zero amount")
        if abs(size_delta) > LARGEST_SIZE:
            refuse("amount too large")
        if self.world.now > expires_at:
            refuse("deadline passed")
        if caller in self.memory.pending:
            refuse("request pending")
        if margin_delta > 0:
            self.world.usdt.move(caller, self.name, margin_delta)
            if margin_delta > LARGEST_AMOUNT:
                refuse("amount too large")
        delayed = self.parameters.delay_blocks > 0
        self.memory.last_request += 1
        number = self.memory.last_request
        asked = Request(
            account=caller,
            size_delta=size_delta,
            margin_delta=margin_delta,
            limit_price_e36=limit_price_e36,
            reduces=self.memory.held[caller].size * size_delta < 0,
            expires_at=min(expires_at, self.world.now + LONGEST_WAIT) if delayed else expires_at,
            block_number=self.world.block_number,
            made_at=self.world.now,
        )
        self._log(
            "Requested",
            account=caller,
            id=number,
            size_delta=size_delta,
            margin_delta=margin_delta,
            limit_price_e36=limit_price_e36,
            expires_at=asked.expires_at,
        )
        if not delayed:
            reason = self._execute(number, asked, self._prices(asked))
            if reason:
                refuse(reason)
            return number
        self.memory.requests[number] = asked
        self.memory.statuses[number] = Status.PENDING
        self.memory.pending[caller] = number
        if asked.escrow:
            state = replace(self.memory.state)
            state.escrows += asked.escrow
            self._store_state(state)
        return number

    @entry
    def settle(self, caller: str, number: int) -> Status:
        """Confirm or fail a request where that can be told by now."""
        status = self.memory.statuses.get(number, Status(0))
        if status != Status.PENDING:
            return status
        asked = self.memory.requests[number]
        if self.world.now > asked.expires_at:
            return self._fail(number, asked, "deadline passed")
        if self.world.block_number < asked.block_number + self.parameters.delay_blocks:
            return Status.PENDING
        prices = self._later_prices(asked)
        if prices is None:
            return Status.PENDING
        reason = self._execute(number, asked, prices)
        if reason:
            return self._fail(number, asked, reason)
        return Status.CONFIRMED

    @entry
    def withdraw(self, caller: str, receiver: str) -> int:
        """Pay the caller's credit out. Returns USDT."""
        self._check_receiver(receiver)
        usdt_amount = self.memory.credit[caller]
        if usdt_amount == 0:
            return 0
        self.memory.credit[caller] = 0
        state = replace(self.memory.state)
        state.credits -= usdt_amount
        self._store_state(state)
        self._log("Withdrawn", account=caller, receiver=receiver, usdt_amount=usdt_amount)
        self.world.usdt.move(self.name, receiver, usdt_amount)
        return usdt_amount

    # -- liquidity --

    @entry
    def add_liquidity(self, caller: str, usdt_amount: int, receiver: str) -> int:
        """Returns shares, rounded down."""
        self._check_receiver(receiver)
        self.world.usdt.move(caller, self.name, usdt_amount)
        state = self._accrued_for_liquidity()
        value = state.liquidity + max(-self._unrealised(state), 0)
        shares = mul_div_down(usdt_amount, state.shares + self.virtual_shares, value + 1)
        if shares == 0:
            refuse("zero amount")
        state.liquidity += usdt_amount
        state.shares += shares
        if state.liquidity > LARGEST_AMOUNT or state.shares > LARGEST_AMOUNT * self.virtual_shares:
            refuse("amount too large")
        self.memory.shares[receiver] += shares
        self._store_state(state)
        self._log(
            "AddLiquidity",
            caller=caller,
            receiver=receiver,
            usdt_amount=usdt_amount,
            shares=shares,
        )
        return shares

    @entry
    def remove_liquidity(self, caller: str, shares: int, receiver: str) -> int:
        """Returns USDT, the receiver's credit, rounded down."""
        self._check_receiver(receiver)
        if shares > self.memory.shares[caller]:
            refuse("insufficient balance")
        state = self._accrued_for_liquidity()
        usdt_amount = self._worth(state, shares)
        if usdt_amount == 0:
            refuse("zero amount")
        if usdt_amount + self._books(state).horizon(state.mark_e36) > state.free:
            refuse("insufficient liquidity")
        state.liquidity -= usdt_amount
        state.shares -= shares
        self.memory.shares[caller] -= shares
        self._credit(state, receiver, usdt_amount)
        self._store_state(state)
        self._log(
            "RemoveLiquidity",
            caller=caller,
            receiver=receiver,
            usdt_amount=usdt_amount,
            shares=shares,
        )
        return usdt_amount

    # -- anyone's --

    @entry
    def settle_funding(self, caller: str, account: str) -> int:
        """Returns what the account got; negative is what it paid."""
        books = self._open(account, self._mark_or_last())
        funding = books.settle_funding()
        self._store(books, account)
        self._log("FundingSettled", account=account, funding=funding, **_resulting(books.held))
        return funding

    @entry
    def liquidate(self, caller: str, account: str, receiver: str) -> int:
        """Close a position below its maintenance margin. Returns the receiver's reward."""
        self._check_receiver(receiver)
        mark = self.world.prices.for_liquidation()
        books = self._open(account, mark)
        funding = books.settle_funding()
        size = books.held.size
        if size == 0:
            refuse("no position")
        equity = books.held.equity(mark)
        terms = self.parameters
        if equity >= books.held.margin_needed(mark, terms.maintenance_margin):
            refuse("healthy position")
        notional = value_down(abs(size), mark)
        penalty = min(share_of_down(notional, terms.penalty), max(equity, 0))
        reward = share_of_down(penalty, terms.penalty_to_caller)
        bad_debt = max(-equity, 0)
        insured = min(bad_debt, books.state.insurance)
        realised = books.decrease(abs(size), mark)
        left = books.held.margin - penalty
        books.take_margin(books.held.margin)
        books.state.insurance += penalty - reward - insured
        books.state.liquidity += insured
        self._credit(books.state, receiver, reward)
        self._credit(books.state, account, left)
        self._store(books, account)
        self._log(
            "Liquidated",
            caller=caller,
            account=account,
            receiver=receiver,
            size_delta=-size,
            price_e36=mark,
            realised=realised,
            funding=funding,
            penalty=penalty,
            reward=reward,
            left=left,
            bad_debt=bad_debt,
            insured=insured,
        )
        return reward

    @entry
    def auto_deleverage(self, caller: str, account: str, size: int) -> int:
        """Close a part of a position that receives funding. Returns the size closed."""
        mark = self.world.prices.for_liquidation()
        books = self._open(account, mark)
        funding = books.settle_funding()
        held = books.held.size
        if held == 0:
            refuse("no position")
        if (held < 0) != (books.state.rate_wad > 0):
            refuse("wrong side")
        missing = books.horizon(mark) - books.state.free
        if missing <= 0:
            refuse("horizon intact")
        if books.held.equity(mark) < books.held.margin_needed(
            mark, self.parameters.maintenance_margin
        ):
            refuse("unhealthy position")
        relief = books.held.largest_gain - books.held.pnl(mark) + books.horizon_of(abs(held), mark)
        whole = abs(held)
        closed = min(size, whole if relief <= missing else mul_div_up(whole, missing, relief))
        if closed == 0:
            refuse("zero amount")
        realised = books.decrease(closed, mark)
        left = 0
        if books.held.size == 0:
            left = books.held.margin
            books.take_margin(left)
            self._credit(books.state, account, left)
        self._store(books, account)
        self._log(
            "AutoDeleveraged",
            caller=caller,
            account=account,
            size_delta=closed if held < 0 else -closed,
            price_e36=mark,
            realised=realised,
            funding=funding,
            left=left,
            **_resulting(books.held),
        )
        return closed

    # -- views --

    def accrued_state(self) -> State:
        """The state as of now, with the last mark where there is no fresh one."""
        return self._accrue(self.memory.state, self._mark_or_last())

    def status(self, number: int) -> Status:
        """What a request is; 0 where there was none."""
        return self.memory.statuses.get(number, Status(0))

    def last_cost(self, account: str) -> int:
        """USDT that the account's last confirmed request took for its change of size, fee included.

        A short's is rounded up; 0 where it changed none.
        """
        return self.memory.last_costs.get(account, 0)

    def funding_rate(self) -> int:
        """WAD a year."""
        return self._rate()[0]

    def position(self, account: str) -> tuple[int, ...]:
        """IPerpVenue.Position in its order."""
        held = self.memory.held[account]
        pending = self.memory.pending.get(account, 0)
        escrow = self.memory.requests[pending].escrow if pending else 0
        funding = self._books(self.accrued_state(), held).owed
        return (
            *(held.size, held.entry_notional, held.margin, funding),
            *(pending, escrow, self.memory.credit[account]),
        )

    def equity(self, account: str) -> int:
        """At mark; raises without a price."""
        mark = self.world.prices.for_liquidation()
        held = self.memory.held[account]
        owed = self._books(self._accrue(self.memory.state, mark), held).owed
        return owed + held.equity(mark)

    def liquidation_price(self, account: str) -> int:
        """Mark beyond which a position may be liquidated; 0 for none."""
        held = self.memory.held[account]
        if held.size == 0:
            return 0
        margin = held.margin + self._books(self.accrued_state(), held).owed
        maintenance = self.parameters.maintenance_margin
        if held.size < 0:
            backing = max(held.entry_notional + margin, 0)
            bare = mul_div_down(backing, PRICE_SCALE, -held.size)
            return max(mul_div_down(bare, WAD, WAD + maintenance), 1)
        if held.entry_notional <= margin:
            return 0
        owed = mul_div_up(held.entry_notional - margin, PRICE_SCALE, held.size)
        return mul_div_up(owed, WAD, WAD - maintenance)

    def room(self) -> tuple[int, int]:
        """Tokens by which an account could go (shorter, longer)."""
        prices = self.world.prices
        if prices.liquidation_error or prices.bounds_error:
            return 0, 0
        mark = prices.liquidation
        state = self._accrue(self.memory.state, mark)
        spare = state.free - self._books(state).horizon(mark)
        if spare <= 0:
            return 0, 0
        horizon_wad = mul_div_up(abs(state.rate_wad), self.parameters.adl_horizon, YEAR)
        short_wad, long_wad = WAD, self.parameters.largest_long_gain
        if state.rate_wad > 0:
            short_wad += horizon_wad
        else:
            long_wad += horizon_wad
        cap = max(mul_div_down(self.parameters.exposure_cap, PRICE_SCALE, mark), state.skew)

        def sizes_for(locked_wad: int, price: int) -> int:
            notional = mul_div_down(spare, WAD, locked_wad)
            return mul_div_down(max(notional - 3, 0), PRICE_SCALE, price)

        return (
            min(max(state.long_size + cap - state.short_size, 0), sizes_for(short_wad, mark)),
            min(
                max(state.short_size + cap - state.long_size, 0),
                sizes_for(long_wad, max(prices.upper, mark)),
            ),
        )

    def liquidity_value(self, shares: int) -> int:
        """What shares are worth to whoever leaves now."""
        return self._worth(self._accrued_for_liquidity(), shares)

    # -- funding --

    def last_round(self) -> tuple[int, int]:
        """(median in WAD, its time) of the funding oracle that the venue goes by."""
        return self.world.funding

    def _rate(self) -> tuple[int, int]:
        rate, observed_at = self.last_round()
        until = observed_at + self.parameters.funding_max_age
        if observed_at == 0 or until <= self.world.now:
            return 0, 0
        return clamp(rate, -LARGEST_RATE, LARGEST_RATE), until

    def _accrue(self, before: State, mark: int) -> State:
        state = replace(before)
        until = min(self.world.now, before.rate_until)
        if until > before.accrued_at and before.rate_wad:
            self._move_indices(state, mark, until - before.accrued_at)
        state.rate_wad, state.rate_until = self._rate()
        state.mark_e36, state.accrued_at = mark, self.world.now
        return state

    def _move_indices(self, state: State, mark: int, elapsed: int) -> None:
        """At the rate that held; scaled down to what is free."""
        shorts_receive = state.rate_wad > 0
        sides = (state.short_size, state.long_size)
        receiving, paying = sides if shorts_receive else sides[::-1]
        delta = mul_div_down(share_of_down(mark, abs(state.rate_wad)), elapsed, YEAR)
        if receiving:
            delta = min(delta, mul_div_down(state.free, PRICE_SCALE, receiving))
        if shorts_receive:
            state.positive_e36 += delta
        else:
            state.negative_e36 += delta
        state.receipts_e36 += receiving * delta
        state.dues_e36 += paying * delta

    # -- requests --

    def _prices(self, asked: Request) -> Prices:
        """What a request needs to be filled now. Raises without such a price."""
        if asked.adds_margin_only:
            return Prices()
        mark = self.world.prices.for_liquidation()
        if asked.size_delta and not asked.reduces:
            return Prices(mark, *self.world.prices.bounds())
        return Prices(mark)

    def _later_prices(self, asked: Request) -> Prices | None:
        """The same observed after it; None where there are none."""
        if not asked.adds_margin_only and self.world.prices.observed_at <= asked.made_at:
            return None
        try:
            return self._prices(asked)
        except PoolError:
            return None

    def _execute(self, number: int, asked: Request, prices: Prices) -> str:
        """Returns the reason why it cannot be filled; nothing is changed then."""
        books = self._open(asked.account, prices.mark or self._mark_or_last())
        funding = books.settle_funding()
        fill = Fill()
        reason = self._fill(books, asked, prices, fill)
        if reason:
            return reason
        if self.parameters.delay_blocks:
            books.state.escrows -= asked.escrow
            del self.memory.pending[asked.account]
        self.memory.statuses[number] = Status.CONFIRMED
        self._credit(books.state, asked.account, fill.credited)
        self._store(books, asked.account)
        self.memory.last_costs[asked.account] = fill.cost
        self._log(
            "Confirmed",
            account=asked.account,
            id=number,
            size_delta=asked.size_delta,
            price_e36=fill.price_e36,
            margin_paid=asked.escrow - fill.credited,
            realised=fill.realised,
            funding=funding,
            fee=fill.fee,
            **_resulting(books.held),
        )
        return ""

    def _fail(self, number: int, asked: Request, reason: str) -> Status:
        self.memory.statuses[number] = Status.FAILED
        del self.memory.pending[asked.account]
        if asked.escrow:
            state = replace(self.memory.state)
            state.escrows -= asked.escrow
            self._credit(state, asked.account, asked.escrow)
            self._store_state(state)
        self._log("Failed", account=asked.account, id=number, reason=reason, escrow=asked.escrow)
        return Status.FAILED

    def _fill(self, books: Books, asked: Request, prices: Prices, fill: Fill) -> str:
        held = books.held
        old_size = held.size
        books.add_margin(asked.escrow)
        if asked.size_delta:
            reason = self._trade(books, asked, prices, fill)
            if reason:
                return reason
        elif old_size == 0:
            return "no position"
        if held.size == 0:
            fill.credited = held.margin
            books.take_margin(fill.credited)
            return ""
        takes = asked.margin_delta < 0
        if takes:
            fill.credited = -asked.margin_delta
            profit = fill.credited - held.margin
            if profit > 0:
                if profit > held.pnl(prices.mark):
                    return "insufficient margin"
                books.realise(profit)
            books.take_margin(fill.credited)
        if asked.size_delta == 0 and not takes:
            return ""
        needed = 0
        if takes or not asked.reduces:
            needed = held.margin_needed(prices.mark, self.parameters.initial_margin)
        return "insufficient margin" if held.equity(prices.mark) < needed else ""

    def _trade(self, books: Books, asked: Request, prices: Prices, fill: Fill) -> str:
        held, size = books.held, abs(asked.size_delta)
        if asked.reduces != (held.size * asked.size_delta < 0):
            return "no position"
        if asked.reduces and size > abs(held.size):
            return "side would flip"
        sells = asked.size_delta < 0
        fill.price_e36 = prices.mark
        if not asked.reduces:
            fill.price_e36 = (
                min(prices.low, prices.mark) if sells else max(prices.high, prices.mark)
            )
        limit = asked.limit_price_e36
        if fill.price_e36 < limit if sells else fill.price_e36 > limit:
            return "beyond limit price"
        if asked.reduces:
            notional = value_up(size, prices.mark)
            fill.fee = share_of_up(notional, self.parameters.fee)
            if held.equity(prices.mark) < fill.fee:
                return "insufficient margin"
            fill.realised = books.decrease(size, prices.mark)
        else:
            skew = books.state.skew
            books.forfeit(prices.mark)
            notional = books.increase(asked.size_delta, fill.price_e36)
            fill.fee = share_of_up(notional, self.parameters.fee)
            reason = self._refused_increase(books, skew, notional, fill.fee, prices.mark)
            if reason:
                return reason
        fill.cost = fill.fee + (-notional if sells else notional)
        books.charge(fill.fee)
        insured = share_of_down(fill.fee, self.parameters.fee_to_insurance)
        books.state.liquidity -= insured
        books.state.insurance += insured
        return ""

    def _refused_increase(
        self, books: Books, old_skew: int, notional: int, fee: int, mark: int
    ) -> str:
        """Why the venue does not take an increase."""
        if notional == 0:
            return "zero amount"
        if abs(books.held.size) > LARGEST_SIZE:
            return "amount too large"
        if books.held.equity(mark) < fee:
            return "insufficient margin"
        skew = books.state.skew
        if skew > old_skew and value_up(skew, mark) > self.parameters.exposure_cap:
            return "exposure cap"
        if books.state.free < books.horizon(mark):
            return "insufficient liquidity"
        return ""

    # -- liquidity --

    def _accrued_for_liquidity(self) -> State:
        """At a fresh mark where there are positions. Raises without one."""
        state = self.memory.state
        mark = state.mark_e36
        if state.long_size + state.short_size:
            mark = self.world.prices.for_liquidation()
        return self._accrue(state, mark)

    def _unrealised(self, state: State) -> int:
        """What all positions have gained and not been paid, funding included, rounded up."""
        mark = state.mark_e36
        longs = min(value_up(state.long_size, mark) - state.long_entries, state.long_gains)
        shorts = state.short_entries - value_down(state.short_size, mark)
        return longs + shorts + state.receipts - state.dues_e36 // PRICE_SCALE

    def _worth(self, state: State, shares: int) -> int:
        value = max(state.liquidity - max(self._unrealised(state), 0), 0)
        return mul_div_down(shares, value + 1, state.shares + self.virtual_shares)

    # -- books --

    def _mark_or_last(self) -> int:
        prices = self.world.prices
        return self.memory.state.mark_e36 if prices.liquidation_error else prices.liquidation

    def _books(self, state: State, held: Held | None = None) -> Books:
        return Books(state, replace(held or Held()), self.parameters)

    def _open(self, account: str, mark: int) -> Books:
        return self._books(self._accrue(self.memory.state, mark), self.memory.held[account])

    def _store(self, books: Books, account: str) -> None:
        self.memory.held[account] = books.held
        self._store_state(books.state)

    def _store_state(self, state: State) -> None:
        if state.free < 0:
            raise PoolError
        self.memory.state = state
        self._log("StateChanged", state=astuple(state))

    def _credit(self, state: State, account: str, usdt_amount: int) -> None:
        state.credits += usdt_amount
        self.memory.credit[account] += usdt_amount

    def _check_receiver(self, receiver: str) -> None:
        if receiver in (NOBODY, self.name):
            refuse("bad receiver")

    def _log(self, name: str, **args: Any) -> None:
        self.world.events.append(Event(self.name, name, tuple(sorted(args.items()))))


def _resulting(held: Held) -> dict[str, int]:
    """What is left of a position, as events carry it."""
    kept = asdict(held)
    return {name: kept[name] for name in ("size", "entry_notional", "margin")}
