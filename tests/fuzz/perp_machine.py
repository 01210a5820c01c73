"""Random play on a perp venue and on its reference model, and the invariants VEN-1 to VEN-11.

    machine = Machine(deploy_venue(evm, parameters), parameters)
    machine.play(seed=1, steps=1_000)

Each step is one call; everything that was or is is read from the chain, in the block of the call.
"""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from perpool.evm import Reverted
from perpool.reference.arithmetic import PoolError
from perpool.reference.perp import PerpVenue, Status
from perpool.reference.perp_books import Held, PerpParameters, State
from perpool.reference.world import Event, Token, World
from tests.invariants.steps import require
from tests.market import MAX, YEAR, wad
from tests.stored import Stored
from tests.venues import FEED_DECIMALS, Parameters, Venue

TRADERS = ("shorter", "longer", "farmer", "trader", "whale")
LENDERS = ("lender", "saver")
PEOPLE = (*TRADERS, *LENDERS, "keeper")
VENUE = "perp"
USDT_EACH = 1_000_000
ROUNDING = 4
"""Units of USDT by which sums of rounded values may be apart."""


@dataclass
class Observation:
    """What can be seen of the chain in one block."""

    state: State
    accrued: State
    free: int
    horizon: int
    balance: int
    usdt: dict[str, int] = field(default_factory=dict)
    positions: dict[str, tuple[int, ...]] = field(default_factory=dict)
    gains: dict[str, int] = field(default_factory=dict)
    equities: dict[str, int] = field(default_factory=dict)
    shares: dict[str, int] = field(default_factory=dict)

    def wealth(self, account: str) -> int:
        """USDT that are an account's, in its hands and in the venue, liquidity aside."""
        escrow, credit = self.positions[account][5:]
        return self.usdt[account] + escrow + credit + max(self.equities[account], 0)


class Machine:
    """One run. Use it within `chain.anchor()`, which undoes it afterwards.

    `independent` lets chain and model part: the invariants then have to notice by themselves what
    is wrong with a weakened venue.
    """

    def __init__(self, venue: Venue, parameters: Parameters, *, independent: bool = False) -> None:
        self.independent = independent
        self.venue, self.evm, self.contract = venue, venue.evm, venue.contract
        self.stored = Stored(venue.contract)
        self.parameters = parameters
        self.accounts = {name: venue.give(name, venue.usd(USDT_EACH)) for name in PEOPLE}
        self.addresses = {name: account.address for name, account in self.accounts.items()}
        self.addresses[VENUE] = self.contract.address
        self.names = {address: name for name, address in self.addresses.items()}
        self.given = 0
        self.successes: Counter[str] = Counter()
        self.refusals: Counter[tuple[str, str]] = Counter()
        self.logged: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        """Of failed requests."""
        self.scaled = 0
        """How often funding was held to what was free."""
        self.trace: list[str] = []
        self._seen: Observation | None = None
        self._block = contextlib.ExitStack()
        self.evm.warp(0)
        self._block.enter_context(self.evm.same_block())

        usdt = Token("usdt", venue.usdt_decimals)
        world = World(Token("token", venue.token_decimals), usdt, now=0, block_number=0)
        usdt.balances.update({name: venue.usd(USDT_EACH) for name in PEOPLE})
        terms = PerpParameters(*parameters.as_tuple(venue.usdt_decimals))
        self.model = PerpVenue(world, terms)
        self.world = world
        world.parts.append(self.model)
        self.sync()

    # -- the world --

    def sync(self) -> None:
        """Tell the model time, prices and funding."""
        self._seen = None
        prices, world = self.world.prices, self.world
        world.now, world.block_number = self.evm.timestamp, self.evm.block_number
        prices.liquidation_error = prices.bounds_error = ""
        try:
            prices.liquidation = self.venue.oracle.liquidation_price()
        except Reverted as error:
            prices.liquidation_error = error.reason
        try:
            prices.lower, prices.upper = self.venue.oracle.price_bounds()
        except Reverted as error:
            prices.bounds_error = error.reason
        prices.observed_at = self.venue.feed.latestRoundData()[3]
        world.funding = self.venue.funding.funding(self.venue.token)

    def wait(self, seconds: int) -> None:
        """A new block, that much later."""
        self._block.close()
        self.evm.warp(seconds)
        self._block.enter_context(self.evm.same_block())
        self.sync()
        self.scaled += self._is_scaled()

    def _is_scaled(self) -> bool:
        """Whether less funding accrues now than the rate asks for."""
        before, now = self.model.memory.state, self.model.accrued_state()
        elapsed = max(min(self.world.now, before.rate_until) - before.accrued_at, 0)
        asked = now.mark_e36 * abs(before.rate_wad) // 10**18 * elapsed // YEAR
        moved = now.positive_e36 + now.negative_e36 - before.positive_e36 - before.negative_e36
        return moved < asked

    def close(self) -> None:
        """Let the chain's time go again."""
        self._block.close()

    # -- observing --

    def observe(self) -> Observation:
        """Everything, from the chain."""
        venue = self.contract
        free, horizon = venue.free_liquidity()
        seen = Observation(
            State(*venue.state()),
            State(*venue.accrued_state()),
            free,
            horizon,
            self.venue.usdt.balanceOf(venue),
        )
        has_price = not self.world.prices.liquidation_error
        for name, account in self.accounts.items():
            seen.usdt[name] = self.venue.usdt.balanceOf(account)
            seen.positions[name] = tuple(venue.position(account))
            seen.gains[name] = venue.largest_gain(account)
            seen.shares[name] = venue.shares_of(account)
            seen.equities[name] = venue.equity(account) if has_price else 0
        return seen

    # -- a step --

    def call(self, rule: str, function: str, caller: str, *args: Any) -> str | None:
        """Call chain and model, compare, check. Returns the chain's reason, None for success."""
        self.trace.append(f"{caller}: {function}{args}")
        before = self._seen or self.observe()
        self.world.events.clear()
        try:
            expected, predicted = getattr(self.model, function)(caller, *args), None
        except PoolError as error:
            expected, predicted = None, error.reason
        sent = [self.addresses.get(arg, arg) if isinstance(arg, str) else arg for arg in args]
        actual, value, events = None, None, []
        try:
            receipt = self.contract.function(function).transact(*sent, sender=self.accounts[caller])
            value, events = receipt.return_value, self._events(receipt)
        except Reverted as error:
            actual = error.reason
        self._same(predicted == actual, f"model {predicted!r}, chain {actual!r}")
        self._seen = before
        if actual is not None:
            self.refusals[rule, actual] += 1
            return actual
        self.successes[rule] += 1
        self._same(expected == value, f"the model returns {expected}, the chain {value}")
        self._same(
            sorted(map(str, self.world.events)) == sorted(map(str, events)),
            f"the model logs {self.world.events}, the chain {events}",
        )
        self.logged.update(event.name for event in events)
        after = self._seen = self.observe()
        self.compare(after)
        self.check_books(after)
        self.check_call(caller, function, args, before, after, events)
        return None

    def _events(self, receipt: Any) -> list[Event]:
        found = []
        for event in receipt.logs:
            if self.names.get(event.address) != VENUE:
                continue
            args = {
                key: self.names.get(value, value)
                if isinstance(value, str)
                else (tuple(value) if isinstance(value, tuple) else value)
                for key, value in event.args.as_dict().items()
            }
            found.append(Event(VENUE, event.name, tuple(sorted(args.items()))))
        return found

    # -- what must hold --

    def compare(self, seen: Observation) -> None:
        """MOD-1: all that can be read is what the model has."""
        model, venue = self.model, self.contract
        pairs: list[tuple[str, Any, Any]] = [
            ("state", model.memory.state, seen.state),
            ("accrued state", model.accrued_state(), seen.accrued),
            ("room", model.room(), tuple(venue.room())),
            ("rate", model.funding_rate(), venue.funding_rate()),
            ("balance", self.world.usdt.balances[VENUE], seen.balance),
        ]
        has_price = not self.world.prices.liquidation_error
        for name, account in self.accounts.items():
            held = model.memory.held[name]
            pairs += [
                (f"position of {name}", model.position(name), seen.positions[name]),
                (f"gain of {name}", held.largest_gain, seen.gains[name]),
                (f"shares of {name}", model.memory.shares[name], seen.shares[name]),
                (f"last cost of {name}", model.last_cost(name), venue.last_cost(account)),
                (f"usdt of {name}", self.world.usdt.balances[name], seen.usdt[name]),
                (
                    f"liquidation price of {name}",
                    model.liquidation_price(name),
                    venue.liquidation_price(account),
                ),
            ]
            if has_price:
                mark = self.world.prices.liquidation
                pairs += [
                    (f"equity of {name}", model.equity(name), seen.equities[name]),
                    (f"pnl of {name}", held.pnl(mark), venue.pnl(account)),
                    (
                        f"liquidity of {name}",
                        model.liquidity_value(seen.shares[name]),
                        venue.liquidity_value(seen.shares[name]),
                    ),
                ]
        for what, expected, found in pairs:
            self._same(expected == found, f"{what}: model {expected}, chain {found}")

    def _same(self, holds: bool, message: str) -> None:
        require(holds or self.independent, "MOD-1", message)

    def check_books(self, seen: Observation) -> None:
        """What holds at any time."""
        state, positions = seen.state, seen.positions
        require(
            seen.balance - self.given == state.total,
            "VEN-1",
            f"holds {seen.balance} with gifts {self.given}, and says {state.total}",
        )
        sizes = [position[0] for position in positions.values()]
        longs = {name for name, position in positions.items() if position[0] > 0}
        sums = {
            "long_size": sum(size for size in sizes if size > 0),
            "short_size": -sum(size for size in sizes if size < 0),
            "long_entries": sum(positions[name][1] for name in longs),
            "short_entries": sum(each[1] for each in positions.values() if each[0] < 0),
            "long_gains": sum(seen.gains[name] for name in longs),
            "margins": sum(position[2] for position in positions.values()),
            "escrows": sum(position[5] for position in positions.values()),
            "credits": sum(position[6] for position in positions.values()),
            "shares": sum(seen.shares.values()),
        }
        for name, total in sums.items():
            require(getattr(state, name) == total, "VEN-2", f"{name} {state}, not {total}")
        claims = sum(seen.gains.values()) + sum(max(each[3], 0) for each in positions.values())
        require(
            seen.accrued.free >= 0 and claims <= seen.accrued.liquidity,
            "VEN-3",
            f"{claims} may be claimed of {seen.accrued}",
        )
        receipts = dues = 0
        for account in self.accounts.values():
            # the indices up to which a position is settled are in no view
            held = self.stored.entry(Held, "books", "positions", key=account)
            size = abs(held.size)
            moved = (
                size * (state.positive_e36 - held.positive_e36),
                size * (state.negative_e36 - held.negative_e36),
            )
            receipts += moved[0] if held.size < 0 else moved[1]
            dues += moved[1] if held.size < 0 else moved[0]
        require(
            (receipts, dues) == (state.receipts_e36, state.dues_e36),
            "VEN-4",
            f"{receipts} and {dues} are unsettled, not as in {state}",
        )

    def check_call(
        self,
        caller: str,
        function: str,
        args: tuple[Any, ...],
        before: Observation,
        after: Observation,
        events: list[Event],
    ) -> None:
        """What one call may do; nothing else moved since `before`."""
        by_name = {event.name: dict(event.args) for event in events}
        named = {caller, *(arg for arg in args if isinstance(arg, str))}
        if "Confirmed" in by_name:
            self._check_confirmed(by_name["Confirmed"], function, before, after)
            named.add(by_name["Confirmed"]["account"])
        if "Failed" in by_name:
            named.add(by_name["Failed"]["account"])
            self.reasons[by_name["Failed"]["reason"]] += 1
        if "Liquidated" in by_name:
            self._check_liquidated(by_name["Liquidated"], before, after)
        if "AutoDeleveraged" in by_name:
            self._check_deleveraged(by_name["AutoDeleveraged"], args[1], before, after)
        if not self.world.prices.liquidation_error and function not in (
            "add_liquidity",
            "remove_liquidity",
        ):
            self._check_wealth(function, args, named, before, after, by_name)
        if function in ("add_liquidity", "remove_liquidity"):
            price = self._share_price(before)
            risen = self._share_price(after)
            require(
                risen[0] * price[1] >= price[0] * risen[1],
                "VEN-9",
                f"shares are worth {risen}, not {price}",
            )

    def _check_wealth(
        self,
        function: str,
        args: tuple[Any, ...],
        named: set[str],
        before: Observation,
        after: Observation,
        by_name: dict[str, dict[str, Any]],
    ) -> None:
        rewarded = by_name.get("Liquidated", {}).get("reward", 0)
        paid = by_name.get("Withdrawn", {}).get("usdt_amount", 0)
        total = 0
        for name in PEOPLE:
            gained = after.wealth(name) - before.wealth(name)
            total += gained
            most = rewarded if "Liquidated" in by_name and name == args[1] else 0
            most += paid if "Withdrawn" in by_name and name == args[0] else 0
            require(gained <= most, "VEN-8", f"{name} gained {gained} by {function}{args}")
            require(name in named or gained == 0, "VEN-8", f"{name} lost {-gained} by {function}")
        require(total <= 0, "VEN-8", f"all together gained {total} by {function}{args}")

    def _share_price(self, seen: Observation) -> tuple[int, int]:
        """(USDT, shares) as they are for who leaves, virtual ones included."""
        unrealised = self.model._unrealised(seen.accrued)
        value = max(seen.accrued.liquidity - max(unrealised, 0), 0) + 1
        return value, seen.accrued.shares + self.model.virtual_shares

    def _check_confirmed(
        self, event: dict[str, Any], function: str, before: Observation, after: Observation
    ) -> None:
        name, delta = event["account"], event["size_delta"]
        old = before.positions[name][0]
        mark = self.world.prices.liquidation
        if delta and old * delta >= 0:
            margin = after.equities[name] * 10**18
            notional = abs(after.positions[name][0]) * mark // 10**36
            initial = self.parameters.initial_margin
            require(margin >= notional * initial, "VEN-5", f"{name} stands at {margin}/{notional}")
            require(after.free >= after.horizon, "VEN-5", f"free {after.free} < {after.horizon}")
            cap = self.parameters.exposure_cap * 10**self.venue.usdt_decimals
            skew = after.state.skew
            require(
                skew <= before.state.skew or skew * mark <= cap * 10**36,
                "VEN-5",
                f"{name} took longs and shorts {skew} tokens apart",
            )
            low, high = self.world.prices.lower, self.world.prices.upper
            worse = min(low, mark) if delta < 0 else max(high, mark)
            require(event["price_e36"] == worse, "VEN-5", f"{name} filled at {event['price_e36']}")
        elif delta:
            require(event["price_e36"] == mark, "VEN-5", f"{name} filled at {event['price_e36']}")
        if function == "settle":
            asked = self.model.memory.requests[event["id"]]
            passed = self.evm.block_number - asked.block_number
            observed = self.venue.feed.latestRoundData()[3]
            require(
                passed >= self.parameters.delay_blocks
                and self.evm.timestamp <= asked.expires_at
                and (delta == 0 or observed > asked.made_at),
                "VEN-10",
                f"{asked} was filled {passed} blocks later at a price of {observed}",
            )

    def _check_liquidated(
        self, event: dict[str, Any], before: Observation, after: Observation
    ) -> None:
        name = event["account"]
        equity, size = before.equities[name], abs(before.positions[name][0])
        notional = size * self.world.prices.liquidation // 10**36
        require(
            equity * 10**18 <= (notional + 1) * self.parameters.maintenance_margin + 10**18,
            "VEN-6",
            f"{name} was liquidated at an equity of {equity} for {notional}",
        )
        require(
            event["penalty"] <= notional * self.parameters.penalty // 10**18
            and event["left"] + event["penalty"] == max(equity, 0)
            and event["bad_debt"] == max(-equity, 0)
            and after.positions[name][:4] == (0, 0, 0, 0),
            "VEN-6",
            f"{name} had {equity} and was left {event}",
        )
        require(
            after.accrued.free >= before.accrued.free
            and event["insured"] == min(event["bad_debt"], before.state.insurance),
            "VEN-6",
            f"{event} of {before.accrued}",
        )

    def _check_deleveraged(
        self, event: dict[str, Any], most: int, before: Observation, after: Observation
    ) -> None:
        name, closed = event["account"], abs(event["size_delta"])
        size = abs(before.positions[name][0])
        missing = before.horizon - before.free
        relieved = (after.free - after.horizon) - (before.free - before.horizon)
        require(missing > 0, "VEN-7", f"{before.free} covers {before.horizon}")
        require(
            (before.positions[name][0] < 0) == (before.accrued.rate_wad > 0),
            "VEN-7",
            f"{name} does not receive {before.accrued.rate_wad}",
        )
        require(
            closed in (most, size) or relieved >= missing - ROUNDING,
            "VEN-7",
            f"{closed} of {size} relieved {relieved} of {missing}",
        )
        # the last token of it was needed, but for the rounding of what one token relieves
        require(
            relieved <= missing + ROUNDING + relieved // closed + 1,
            "VEN-7",
            f"{closed} of {size} relieved {relieved}, more than {missing}",
        )
        require(
            after.wealth(name) >= before.wealth(name) - ROUNDING,
            "VEN-7",
            f"{name} paid for it",
        )

    # -- rules --

    def must(self, rule: str, function: str, caller: str, *args: Any) -> None:
        """A call that nothing may stop."""
        reason = self.call(rule, function, caller, *args)
        require(reason is None, "VEN-11", f"{function}{args} was refused with {reason!r}")

    def play(self, seed: int, steps: int) -> None:
        """A few steps that are always taken, random ones, then everybody leaves."""
        dice = random.Random(seed)
        rules = [rule for rule, weight in RULES.items() for _ in range(weight)]
        self.call("add_liquidity", "add_liquidity", "lender", self.venue.usd(100_000), "lender")
        self.opening()
        for number in range(steps):
            rule = dice.choice(rules)
            try:
                getattr(self, rule)(dice)
            except AssertionError as error:
                recent = "\n".join(self.trace[-12:])
                raise AssertionError(
                    f"seed {seed}, step {number}, {rule}: {error}\n{recent}"
                ) from (error)
        self.leave()

    def opening(self) -> None:
        """One of each thing that a request can come to, whatever the dice say afterwards."""
        tokens, usd = self.venue.tokens, self.venue.usd
        beyond = self.parameters.exposure_cap // 9
        self._see_through("increase", "shorter", -tokens(100), usd(500))
        self._see_through("increase", "shorter", -tokens(1), 0, limit=MAX)
        self._see_through("increase", "trader", -tokens(100), usd(1))
        self._see_through("increase", "whale", -tokens(beyond), usd(self.parameters.exposure_cap))
        self._see_through("decrease", "shorter", tokens(101), 0)
        self._see_through("add_margin", "shorter", 0, usd(10))
        self.wait(12)
        self.venue.set_price(8)
        self._refresh()
        part = self.model.memory.shares["lender"] // 100
        self.call("remove_liquidity", "remove_liquidity", "lender", part, "lender")
        self._see_through("take_out", "shorter", 0, -usd(600))
        if not self.parameters.delay_blocks:
            feed = self.venue.feed
            feed.set_at(feed.latestAnswer(), self.evm.timestamp - 2 * 86_400)
            self.sync()
            self._see_through("increase", "shorter", -tokens(1), usd(10))
            self._refresh()
        self._see_through("decrease", "shorter", tokens(50), 0)
        self._see_through("decrease", "shorter", tokens(50), 0)

    def _see_through(
        self, rule: str, name: str, delta: int, margin: int, *, limit: int | None = None
    ) -> None:
        """Ask, and with a delay settle too early, without a later price, and with one."""
        if limit is None:
            limit = MAX if delta > 0 else 0
        self.call(rule, "request", name, delta, margin, limit, MAX)
        number = self.model.memory.pending.get(name, 0)
        if number:
            self.must("settle", "settle", "keeper", number)
            for _ in range(self.parameters.delay_blocks):
                self.wait(12)
            self.must("settle", "settle", "keeper", number)
            self._refresh()
            self.must("settle", "settle", "keeper", number)

    def leave(self) -> None:
        """A fresh price, everybody settled, closed and paid, and the pool empty but for dust."""
        self.wait(12)
        self._refresh()
        for name in TRADERS:
            pending = self.model.memory.pending.get(name, 0)
            if pending:
                self.wait(2 * 86_400)
                self._refresh()
                self.call("settle", "settle", "keeper", pending)
            size = self.model.memory.held[name].size
            if size == 0:
                continue
            if self._close(name, -size) is not None:
                self.must("liquidate", "liquidate", "keeper", name, "keeper")
        for name in LENDERS:
            shares = self.model.memory.shares[name]
            if shares and self.model.liquidity_value(shares):
                self.must("remove_liquidity", "remove_liquidity", name, shares, name)
        for name in PEOPLE:
            self.must("withdraw", "withdraw", name, name)
        state = State(*self.contract.state())
        require(
            state.total == state.liquidity + state.insurance
            and state.shares == sum(self.model.memory.shares.values()),
            "VEN-1",
            f"everybody has left, and there is {state}",
        )

    def _close(self, name: str, delta: int) -> str | None:
        limit = MAX if delta > 0 else 0
        reason = self.call("request", "request", name, delta, 0, limit, MAX)
        number = self.model.memory.pending.get(name, 0)
        if reason is None and number:
            for _ in range(self.parameters.delay_blocks):
                self.wait(12)
            self._refresh()
            self.call("settle", "settle", "keeper", number)
            if self.model.memory.statuses[number] == Status.FAILED:
                return "failed"
        return reason

    def _refresh(self) -> None:
        """Repeat both feeds' answers now."""
        for feed in (self.venue.feed, self.venue.usdt_feed):
            if feed is not None:
                feed.set(feed.latestAnswer())
        self.sync()

    def _size(self, dice: random.Random) -> int:
        tokens = dice.choice((1, 10, 100, 1_000, 3_000))
        return int(self.venue.tokens(tokens) * dice.uniform(0.2, 1.5))

    def _limit(self, dice: random.Random, delta: int) -> int:
        mark = self.world.prices.liquidation
        if dice.random() < 0.8:
            return MAX if delta > 0 else 0
        return int(mark * dice.uniform(0.98, 1.02))

    def _ask(self, rule: str, dice: random.Random, name: str, delta: int, margin: int) -> None:
        late = self.world.now - 1 if dice.random() < 0.02 else MAX
        soon = self.world.now + dice.choice((0, 30, 600)) if dice.random() < 0.2 else late
        asked = ("request", name, delta, margin, self._limit(dice, delta), soon)
        reason = self.call(rule, *asked)
        if reason is None and name in self.model.memory.pending and dice.random() < 0.8:
            for _ in range(self.parameters.delay_blocks):
                self.wait(12)
            if dice.random() < 0.9:
                self.move_price(dice)
            self.must("settle", "settle", "keeper", self.model.memory.last_request)

    def increase(self, dice: random.Random) -> None:
        name = dice.choice(TRADERS)
        side = 1 if self.model.memory.held[name].size > 0 else -1
        if self.model.memory.held[name].size == 0:
            side = dice.choice((-1, 1))
        size = self._size(dice)
        notional = size * self.world.prices.liquidation // 10**36
        margin = int(notional * dice.choice((0, 0.09, 0.11, 0.2, 0.5, 1.2)))
        self._ask("increase", dice, name, side * size, margin)

    def decrease(self, dice: random.Random) -> None:
        name = dice.choice(TRADERS)
        size = self.model.memory.held[name].size
        part = dice.choice((0.01, 0.3, 0.5, 0.9, 1, 1, 1.1))
        delta = -int(size * part) if part != 1 else -size
        margin = dice.choice((0, 0, 1, -1)) * self.venue.usd(dice.randint(1, 500))
        self._ask("decrease", dice, name, delta or dice.choice((0, 1)), margin)

    def take_out(self, dice: random.Random) -> None:
        name = dice.choice(TRADERS)
        held = self.model.memory.held[name]
        if self.world.prices.liquidation_error or held.size == 0:
            return
        spare = self.model.equity(name) - held.margin_needed(
            self.world.prices.liquidation, self.parameters.initial_margin
        )
        part = dice.choice((0.2, 0.9, 1, 1, 1.01))
        amount = spare if part == 1 else int(spare * part)
        self._ask("take_out", dice, name, 0, -max(amount, 1))

    def add_margin(self, dice: random.Random) -> None:
        name = dice.choice(TRADERS)
        held = self.model.memory.held[name]
        margin = self.venue.usd(dice.randint(1, 500))
        if held.size and name not in self.model.memory.pending:
            self.must("add_margin", "request", name, 0, margin, 0, MAX)
        else:
            self._ask("add_margin", dice, name, 0, margin)

    def settle(self, dice: random.Random) -> None:
        pending = list(self.model.memory.pending.values())
        last = self.model.memory.last_request
        number = dice.choice([*pending, *pending, *pending, dice.randint(0, last + 1)])
        self.must("settle", "settle", dice.choice(PEOPLE), number)

    def settle_funding(self, dice: random.Random) -> None:
        self.must("settle_funding", "settle_funding", "keeper", dice.choice(TRADERS))

    def withdraw(self, dice: random.Random) -> None:
        name = dice.choice(PEOPLE)
        self.must("withdraw", "withdraw", name, dice.choice((name, name, "keeper")))

    def liquidate(self, dice: random.Random) -> None:
        """The weakest, most of the time."""
        name = dice.choice(TRADERS)
        if not self.world.prices.liquidation_error and dice.random() < 0.9:
            mark = self.world.prices.liquidation

            def health(each: str) -> float:
                size = abs(self.model.memory.held[each].size) * mark // 10**36
                return self.model.equity(each) / size if size else 9.0

            name = min(TRADERS, key=health)
        self.call("liquidate", "liquidate", dice.choice(PEOPLE), name, dice.choice(PEOPLE))

    def crash(self, dice: random.Random) -> None:
        """The price goes where somebody falls, within what it may be, and he is liquidated."""
        held = self.model.memory.held
        falling = [name for name in TRADERS if held[name].size]
        if not falling:
            return
        name = dice.choice(falling)
        beyond = dice.uniform(1.001, 1.1)
        threshold = self.model.liquidation_price(name) * 10**FEED_DECIMALS
        answer = threshold / self.venue.price_e36(1)
        answer = answer * beyond if held[name].size < 0 else answer / beyond
        if not 10**FEED_DECIMALS < answer < 60 * 10**FEED_DECIMALS:
            return
        self.wait(12)
        self.venue.feed.set(int(answer))
        self._refresh()
        self.successes["crash"] += 1
        self.call("liquidate", "liquidate", "keeper", name, dice.choice(PEOPLE))

    def auto_deleverage(self, dice: random.Random) -> None:
        side = -1 if self.model.funding_rate() > 0 else 1
        held = self.model.memory.held
        receiving = [name for name in TRADERS if held[name].size * side > 0]
        name = dice.choice(receiving if receiving and dice.random() < 0.9 else TRADERS)
        size = dice.choice((MAX, MAX, self._size(dice), 0))
        self.call("auto_deleverage", "auto_deleverage", "keeper", name, size)

    def squeeze(self, dice: random.Random) -> None:
        """Lenders take what is free, a round of high funding comes in, somebody is deleveraged."""
        if self.world.prices.liquidation_error:
            return
        state = self.model.memory.state
        sign = 1 if state.short_size > state.long_size else -1
        for name in LENDERS:
            self._remove_free(name)
        rate = sign * wad(dice.choice((1_000, 3_000, 10_000)))
        self.venue.funding.set_at(self.venue.token, rate, self.evm.timestamp)
        self.sync()
        if dice.random() < 0.7:
            self.auto_deleverage(dice)
        else:
            # nobody is, until nothing is free
            self.settle_funding(dice)
            self.wait(80_000)
            self._refresh()
            self.settle_funding(dice)
        self.successes["squeeze"] += 1

    def _remove_free(self, name: str) -> None:
        shares = self.model.memory.shares[name]
        free, horizon = self.contract.free_liquidity()
        value = max(self.model.liquidity_value(shares), 1)
        asked = min(shares, shares * max(free - horizon, 0) // value)
        self.call("remove_liquidity", "remove_liquidity", name, asked, name)

    def add_liquidity(self, dice: random.Random) -> None:
        name = dice.choice(LENDERS)
        amount = self.venue.usd(dice.choice((0, 1, 1_000, 30_000)))
        self.call("add_liquidity", "add_liquidity", name, amount, dice.choice(LENDERS))

    def remove_liquidity(self, dice: random.Random) -> None:
        name = dice.choice(LENDERS)
        shares = self.model.memory.shares[name]
        part = dice.choice((0, 0.1, 0.5, 0.9, 1, 1.1))
        asked = shares if part == 1 else int(shares * part)
        receiver = dice.choice(PEOPLE)
        self.call("remove_liquidity", "remove_liquidity", name, asked, receiver)

    def donate(self, dice: random.Random) -> None:
        amount = self.venue.usd(dice.randint(0, 50))
        self.venue.usdt.transfer(self.contract, amount, sender=self.accounts["keeper"])
        self.world.usdt.move("keeper", VENUE, amount)
        self.given += amount
        self._seen = None
        self.successes["donate"] += 1

    def move_price(self, dice: random.Random) -> None:
        self.wait(dice.choice((12, 60, 600)))
        spread = dice.choice((0.01, 0.03, 0.1, 0.3))
        old = self.venue.feed.latestAnswer() / 10**FEED_DECIMALS
        # drawn back to 10, so that a run stays in range
        pull = min(max((10 / old) ** 0.1, 0.8), 1.25)
        self.venue.set_price(round(old * pull * dice.uniform(1 - spread, 1 + spread), 6))
        self._refresh()
        self.successes["move_price"] += 1

    def pass_time(self, dice: random.Random) -> None:
        self.wait(dice.choice((12, 600, 3_600, 40_000, 200_000)))
        if dice.random() < 0.85:
            self._refresh()
        self.successes["pass_time"] += 1

    def go_stale(self, dice: random.Random) -> None:
        """One of the feeds is too old until it is repeated."""
        self.wait(12)
        feeds = [feed for feed in (self.venue.feed, self.venue.usdt_feed) if feed is not None]
        feed = dice.choice(feeds)
        feed.set_at(feed.latestAnswer(), self.evm.timestamp - 2 * 86_400)
        self.sync()
        self.successes["go_stale"] += 1
        for rule in (self.settle_funding, self.add_margin, self.withdraw, self.increase):
            rule(dice)

    def fund(self, dice: random.Random) -> None:
        percent = dice.choice((0, 10, 10, 50, 300, 3_000, 20_000)) * dice.choice((-1, 1))
        age = dice.choice((0, 0, 0, 3_600, 90_000))
        self.venue.funding.set_at(self.venue.token, wad(percent), self.evm.timestamp - age)
        self.sync()
        self.successes["fund"] += 1


RULES = {
    "increase": 14,
    "decrease": 8,
    "take_out": 8,
    "add_margin": 3,
    "settle": 4,
    "settle_funding": 3,
    "withdraw": 2,
    "liquidate": 4,
    "crash": 3,
    "auto_deleverage": 5,
    "squeeze": 3,
    "add_liquidity": 4,
    "remove_liquidity": 3,
    "donate": 2,
    "move_price": 9,
    "pass_time": 5,
    "go_stale": 2,
    "fund": 5,
}
"""How often each is drawn."""
