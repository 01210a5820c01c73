"""A machine: runs steps on the chain and on the reference model, and checks the invariants.

`Machine.run` takes one step. `play` draws steps from a seed, and when an invariant fails cuts the
trace down to the shortest that it can find still failing, and says how to run it again.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple
from typing import Any

from perpool.evm import Event as ChainEvent
from perpool.evm import Receipt, Reverted
from perpool.reference.arithmetic import PoolError, waiving
from perpool.reference.reverse import borrow_ltv
from perpool.reference.world import Event
from tests.invariants import checks, observation
from tests.invariants.arena import ACTORS, POOLS, PUPPET, VENUE, Arena, Venue
from tests.invariants.observation import Observation
from tests.invariants.steps import SWAPS, Outcome, Step, Violation, require

FULL_CHECK_EVERY = 25
SHRINK_SECONDS = 60.0
LONGEST_REPORT = 40
"""Steps of a trace that a failure prints."""
HOOK_FIELDS = ("account", "side", "told", "shares", "debt_shares")

Draw = Callable[["Machine", random.Random], Step]
Playbook = Callable[["Machine"], Iterator[Step]]


class Machine:
    """One run on one arena. Use it within `playing`, which undoes the run afterwards.

    `independent` lets chain and model part where they disagree, and goes on from what the chain is:
    the invariants then have to notice by themselves what is wrong with a weakened pool.
    """

    def __init__(self, arena: Arena, *, independent: bool = False) -> None:
        arena.evm.warp(0)  # a block of its own; from here on time moves only by `warp`
        self.arena = arena
        self.independent = independent
        self.model = arena.model()
        self.venue = self.model.swappers[VENUE]
        self.ledgers = {name: pool.ledger for name, pool in self.model.pools.items()}
        self.given: Counter[tuple[str, str]] = Counter()
        self.count = 0
        self.successes: Counter[str] = Counter()
        self.refusals: Counter[tuple[str, str]] = Counter()
        """By (rule, reason)."""
        self.logged: Counter[str] = Counter()
        """Events of both pools by name."""
        self.trace: list[Step] = []
        self._block = contextlib.ExitStack()
        self._block.enter_context(arena.evm.same_block())
        self.seen = self.observe()

    def close(self) -> None:
        """Let the chain's time go again."""
        self._block.close()

    # -- observing --

    def observe(self) -> Observation:
        """Everything, from the chain."""
        return observation.of_chain(self.arena, self.model.prices.liquidation, self.ledgers)

    def _refresh(self, step: Step) -> None:
        """Bring what is seen up to date where a step may have changed it."""
        touched = step.accounts & set(ACTORS)
        for name in POOLS:
            if name in step.targets or step.target == "factory":
                observation.read_pool(self.arena, name, self.seen.pools[name], touched)
        observation.read_balances(self.arena, self.seen, touched)

    # -- running --

    def run(self, step: Step) -> None:
        """Take a step. Raises Violation."""
        self.trace.append(step)
        self.count += 1
        if step.new_block:
            self._next_block(0)
        if step.target == "world":
            self._move_world(step)
        else:
            self._call(step)
        if self.count % FULL_CHECK_EVERY == 0:
            self.check_all()

    def _next_block(self, seconds: int) -> None:
        evm = self.arena.evm
        self._block.close()
        evm.warp(seconds)
        self._block.enter_context(evm.same_block())
        self.model.now, self.model.block_number = evm.timestamp, evm.block_number
        self.seen.now, self.seen.block_number = evm.timestamp, evm.block_number
        if seconds:
            for name, view in self.seen.pools.items():
                observation.read_pool(self.arena, name, view, ())

    def _call(self, step: Step) -> None:
        # an Observation and the facts are of before the step, in the step's block
        before = self.seen.copy()
        facts = checks.Facts(self.model, fair_venue=self._venue_is_fair())
        predicted = self._predict(step)
        actual = self._transact(step)
        if actual.success:
            self._refresh(step)
        if step.function == "donate" and actual.success:
            self.given[step.args[0], step.args[1]] += step.args[2]
        checks.check_step(step, actual, before, self.seen, facts)
        checks.check_books(self.seen, self.given)
        self._compare(step, predicted, actual)
        require(actual.success or not step.must_succeed, "EXT-1", f"refused with {actual.reason!r}")
        self.logged.update(event.name for event in actual.events.elements())
        for each in (step, *step.inner):
            if actual.reason is None:
                self.successes[each.rule] += 1
            else:
                self.refusals[each.rule, actual.reason] += 1

    def _venue_is_fair(self) -> bool:
        """Whether trading with the venue gains nobody anything, at the price that counts."""
        assert isinstance(self.venue, Venue)
        fair = self.venue.price == self.model.prices.liquidation and self.venue.shortfall == 0
        return fair and not self.arena.is_uniswap

    # -- the model's side --

    def _predict(self, step: Step) -> Outcome:
        model = self.model
        model.events.clear()
        model.notices.clear()
        try:
            value = self._apply(step)
        except PoolError as error:
            return Outcome(error.reason)
        return Outcome(
            None,
            value,
            Counter(model.events),
            Counter(tuple(notice) for notice in model.notices),
        )

    def _apply(self, step: Step) -> Any:
        model = self.model
        if step.function == "donate":
            pool, token, amount = step.args
            getattr(model, token).move(step.caller, pool, amount)
            return None
        args = list(step.args)
        if step.target == "operators":
            return model.set_operator(step.caller, *args)
        if step.target == "factory":
            return getattr(model, step.function)(step.caller, *args)
        if step.function in ("flashLoan", "deleverage", "liquidate"):
            data = args.pop()
            who = args[0] if step.function == "flashLoan" else step.caller
            args.append(self._callback(step, who) if data or step.function == "flashLoan" else None)
        return getattr(model.pools[step.target], step.function)(step.caller, *args)

    def _callback(self, step: Step, who: str) -> Callable[[], None]:
        def act() -> None:
            if who != PUPPET:
                raise PoolError  # no code to call
            for inner in step.inner:
                self._apply(inner)

        return act

    # -- the chain's side --

    def _transact(self, step: Step) -> Outcome:
        arena = self.arena
        if step.inner:
            moment = "onFlashLoan" if step.function == "flashLoan" else "on_collateral"
            calls = [(*self._encode(inner), True) for inner in step.inner]
            arena.puppet.run(
                []
            )  # forgets the outcomes of before, of which it can hold only so many
            arena.puppet.prepare(moment, calls)
        target, data = self._encode(step)
        try:
            receipt = arena.evm.transact(target, data, sender=arena.addresses[step.caller])
        except Reverted as error:
            if step.inner:
                arena.puppet.prepare(moment, [])
            return Outcome(error.reason)
        return self._outcome(step, receipt)

    def _encode(self, step: Step) -> tuple[str, bytes]:
        arena = self.arena
        if step.function == "donate":
            pool, token, amount = step.args
            contract = arena.contract(token)
            return contract.address, contract.transfer.encode(arena.addresses[pool], amount)
        contract = arena.contract(step.target)
        args = [arena.addresses[arg] if isinstance(arg, str) else arg for arg in step.args]
        return contract.address, contract.function(step.function).encode(*args)

    def _outcome(self, step: Step, receipt: Receipt) -> Outcome:
        outcome = Outcome()
        if step.target in POOLS and step.function != "donate":
            function = self.arena.contract(step.target).function(step.function)
            value = function.overloads[0].decode(receipt.return_data)
            outcome.value = tuple(value) if isinstance(value, tuple) else value
        names = self.arena.names
        for event in receipt.logs:
            emitter = names.get(event.address, "")
            if emitter in POOLS:
                outcome.events[self._named(emitter, event)] += 1
            elif event.name == "Told":
                told = [getattr(event, name) for name in HOOK_FIELDS]
                told[0] = names[told[0]]
                outcome.notices[(emitter, names[event.pool], *told)] += 1
        return outcome

    def _named(self, pool: str, event: ChainEvent) -> Event:
        names = self.arena.names
        args = {
            key: names.get(value, value) if isinstance(value, str) else value
            for key, value in event.args.as_dict().items()
        }
        return Event(pool, event.name, tuple(sorted(args.items())))

    # -- comparing --

    def _compare(self, step: Step, predicted: Outcome, actual: Outcome) -> None:
        """MOD-1 for one step: result or reason, events, what the hook heard, and what is now."""
        try:
            self._compare_strictly(step, predicted, actual)
        except Violation:
            unknown = self.arena.is_uniswap and step.functions & set(SWAPS)
            if not (self.independent or unknown):
                raise
            self._follow_chain()

    def _follow_chain(self) -> None:
        """Go on from what the chain is."""
        self.seen = self.observe()
        observation.load_into(self.seen, self.model)
        model, forward = self.model.forward, self.arena.contract("forward")
        model.ever_sold, model.ever_bought = forward.books()
        model.cap_block, model.sold_in_block = forward.sold_in_block()

    def _compare_strictly(self, step: Step, predicted: Outcome, actual: Outcome) -> None:
        require(
            predicted.reason == actual.reason or self._also(step, predicted, actual),
            "MOD-1",
            f"the model says {_say(predicted.reason)}, the chain {_say(actual.reason)}",
        )
        if not actual.success:
            return
        if step.target in POOLS and step.function != "donate":
            require(
                predicted.value == actual.value,
                "MOD-1",
                f"the model returns {predicted.value}, the chain {actual.value}",
            )
        missing, extra = predicted.events - actual.events, actual.events - predicted.events
        require(
            not missing and not extra,
            "MOD-1",
            f"the model logs {list(missing)}, the chain {list(extra)}",
        )
        told = Counter({notice[:5]: times for notice, times in actual.notices.items()})
        require(
            told == predicted.notices,
            "MOD-1",
            f"the model tells {dict(predicted.notices)}, the chain {dict(told)}",
        )
        self._compare_seen(step.accounts & set(ACTORS))

    def _compare_seen(self, accounts: Sequence[str] | set[str]) -> None:
        expected = observation.of_model(self.model)
        for name, view in self.seen.pools.items():
            model = expected.pools[name]
            require(
                view.state == model.state,
                "MOD-1",
                f"{name}: the model has {model.state}, the chain {view.state}",
            )
            require(
                view.accrued == model.accrued,
                "MOD-1",
                f"{name}: as of now the model has {model.accrued}, the chain {view.accrued}",
            )
            require(
                (view.claims, view.accrued_claims) == (model.claims, model.accrued_claims),
                "MOD-1",
                f"{name}: the model's claims are {model.claims} and {model.accrued_claims}, "
                f"the chain's {view.claims} and {view.accrued_claims}",
            )
            for account in accounts:
                for part in ("shares", "collateral", "debt_shares"):
                    self._same(f"{name}.{part}", account, getattr(model, part), getattr(view, part))
                if name == "forward":
                    for part in ("opened_block", "sold", "proceeds"):
                        self._same(part, account, getattr(model, part), getattr(view, part))
        for account in {*accounts, *POOLS, VENUE}:
            self._same("tokens", account, expected.tokens, self.seen.tokens)
            self._same("usdt", account, expected.usdt, self.seen.usdt)

    def _same(self, what: str, account: str, model: dict[str, int], chain: dict[str, int]) -> None:
        require(
            model[account] == chain[account],
            "MOD-1",
            f"{what} of {account}: the model has {model[account]}, the chain {chain[account]}",
        )

    def _also(self, step: Step, predicted: Outcome, actual: Outcome) -> bool:
        """Whether the chain's reason is another that applies: which comes first is left to it."""
        if predicted.reason is None or actual.reason is None:
            return False
        waived: list[str] = []
        reason = predicted.reason
        while reason not in waived:
            waived.append(reason)
            try:
                with waiving(*waived), self.model.transaction():
                    self._apply(step)
                    raise PoolError
            except PoolError as error:
                reason = error.reason
            if reason == actual.reason:
                return True
        return False

    def check_all(self) -> None:
        """Every account, and every view that promises something."""
        self.seen = self.observe()
        checks.check_books(self.seen, self.given)
        if self.independent:
            self._follow_chain()
            return
        self._compare_seen(ACTORS)
        for name in POOLS:
            self._compare_views(name)
        model, forward = self.model.forward, self.arena.contract("forward")
        books, in_block = forward.books(), forward.sold_in_block()
        expected = (model.ever_sold, model.ever_bought), (model.cap_block, model.sold_in_block)
        require(
            (books, in_block) == expected,
            "MOD-1",
            f"forward: books {books} and {in_block}, on the model {expected}",
        )

    def _compare_views(self, name: str) -> None:
        pool, model, addresses = self.arena.contract(name), self.model.pools[name], self.arena
        ledger = model.ledger
        accrual = ledger.accrue(model.state, self.model.now)
        state = accrual.state
        some = state.supply_assets // 3 + 1
        room = model.supply_room(state)
        leg_cap = (
            self.model.reverse.collateral_cap if name == "reverse" else self.model.forward.block_cap
        )
        expected = {
            ("accrued_state",): (*astuple(state), state.supply_assets, *accrual[1:]),
            ("state",): (*astuple(model.state), model.state.supply_assets, 0, 0),
            ("caps",): (model.supply_cap, model.debt_cap, leg_cap),
            ("totalAssets",): state.supply_assets,
            ("totalSupply",): model.state.supply_shares,
            ("balanceOf", name): model.state.reserve_shares,
            ("previewDeposit", some): ledger.to_shares_down(state, some),
            ("previewMint", some): ledger.to_assets_up(state, some),
            ("previewWithdraw", some): ledger.to_shares_up(state, some),
            ("previewRedeem", some): ledger.to_assets_down(state, some),
            ("convertToShares", some): ledger.to_shares_down(state, some),
            ("convertToAssets", some): ledger.to_assets_down(state, some),
            ("maxDeposit", PUPPET): room,
            ("maxMint", PUPPET): ledger.to_shares_down(state, room),
        }
        for account in ACTORS:
            expected["maxWithdraw", account] = model.max_withdraw(account)
            expected["maxRedeem", account] = model.max_redeem(account)
            expected["debt_of", account] = model.debt_of(account)
        if name == "reverse":
            expected["maxFlashLoan", "usdt"] = self.model.reverse.max_flash_loan()
            expected["borrow_ltv",] = borrow_ltv(model.leg, self.model.prices.volatility)
        for (view, *args), value in expected.items():
            told = pool.function(view)(*(addresses.addresses.get(arg, arg) for arg in args))
            require(told == value, "MOD-1", f"{name}.{view}({args}): {value} on the model, {told}")

    # -- the world --

    def _move_world(self, step: Step) -> None:
        before = self.seen.copy()
        getattr(self, f"_world_{step.function}")(*step.args)
        self.successes[step.rule] += 1
        checks.check_time(before, self.seen)

    def _world_warp(self, seconds: int) -> None:
        self._next_block(seconds)

    def _world_set_prices(self, lower: int, upper: int, price: int, volatility: int) -> None:
        self.arena.prices.set_prices(lower, upper, price, volatility)
        prices = self.model.prices
        prices.lower, prices.upper, prices.liquidation = lower, upper, price
        prices.volatility = volatility
        self.seen.price = price

    def _world_break_prices(self, bounds: bool, liquidation: bool) -> None:
        self.arena.prices.break_prices(bounds, liquidation)
        self.model.prices.bounds_error = "prices disagree" if bounds else ""
        self.model.prices.liquidation_error = "stale price" if liquidation else ""

    def _world_set_funding(self, funding_wad: int, observed_at: int) -> None:
        self.arena.market.funding.set_at(self.arena.market.token, funding_wad, observed_at)
        self.model.funding = (funding_wad, observed_at)

    def _world_give(self, account: str, token: str, amount: int) -> None:
        self.arena.contract(token).mint(self.arena.addresses[account], amount)
        getattr(self.model, token).mint(account, amount)
        observation.read_balances(self.arena, self.seen, (account,))

    def _world_set_terms(self, price: int, spread: int, shortfall: int) -> None:
        assert isinstance(self.venue, Venue)
        self.venue.price, self.venue.spread, self.venue.shortfall = price, spread, shortfall
        if self.arena.is_uniswap:
            market = self.arena.market
            market.pool.swap_to(self.arena.decimal(price))
            observation.read_balances(self.arena, self.seen, ())
            self.model.token.balances[VENUE] = self.seen.tokens[VENUE]
            self.model.usdt.balances[VENUE] = self.seen.usdt[VENUE]
        else:
            self.arena.venue.set_terms(price, spread, shortfall)


def _say(reason: str | None) -> str:
    return "goes through" if reason is None else f"reverts with {reason!r}"


# -- playing --


@contextlib.contextmanager
def playing(arena: Arena, *, independent: bool = False) -> Iterator[Machine]:
    """A machine on an arena as it was deployed, which it is again afterwards."""
    with arena.evm.anchor():
        machine = Machine(arena, independent=independent)
        try:
            yield machine
        finally:
            machine.close()


def replay(arena: Arena, steps: Sequence[Step], *, independent: bool = False) -> Violation | None:
    """Run given steps; the invariant that fails, if any does."""
    with playing(arena, independent=independent) as machine:
        for step in steps:
            try:
                machine.run(step)
            except Violation as violation:
                return violation
    return None


def shorten(
    arena: Arena,
    steps: Sequence[Step],
    invariant: str,
    *,
    independent: bool = False,
    seconds: float = SHRINK_SECONDS,
) -> list[Step]:
    """The shortest trace that still breaks the same invariant, of those tried in the time.

    Cuts out ever smaller pieces, from the end to the beginning, until nothing more can go.
    """
    deadline = time.monotonic() + seconds
    kept = list(steps)
    size = len(kept) // 2
    while size >= 1:
        before = len(kept)
        end = before - 1  # the last step is the one that fails
        while end > 0 and time.monotonic() < deadline:
            start = max(end - size, 0)
            shorter = kept[:start] + kept[end:]
            failure = replay(arena, shorter, independent=independent)
            if failure is not None and failure.invariant == invariant:
                kept = shorter
            end = start
        if size > 1 or len(kept) == before:
            size //= 2
    return kept


def explain(arena: Arena, violation: Violation, steps: Sequence[Step], origin: str) -> str:
    """The report of a failure: the shortest trace found."""
    short = shorten(arena, steps, violation.invariant)
    last = replay(arena, short) or violation  # the amounts of the cut trace
    lines = [f"    {number}. {step}" for number, step in enumerate(short, 1)][-LONGEST_REPORT:]
    cut = f"cut down to {len(short)}" + (", the last of them" if len(short) > len(lines) else "")
    return f"{last}\n  after {len(steps)} steps of {origin}, {cut}:\n" + "\n".join(lines)


def no_prologue(machine: Machine) -> Iterator[Step]:
    """Begin with empty pools."""
    return iter(())


def play(
    arena: Arena,
    draw: Draw,
    leave: Playbook,
    prologue: Playbook = no_prologue,
    *,
    seed: int,
    steps: int,
) -> Machine:
    """Run the prologue and then so many steps drawn from a seed; at the end everybody leaves.

    Raises AssertionError with the shortest failing trace found. Returns the machine, whose counters
    say what went through and what was refused.
    """
    rng = random.Random(seed)
    failure: Violation | None = None
    with playing(arena) as machine:
        try:
            for step in prologue(machine):
                machine.run(step)
            while machine.count < steps:
                machine.run(draw(machine, rng))
            machine.check_all()
            for step in leave(machine):
                machine.run(step)
        except Violation as violation:
            failure = violation
    if failure is not None:
        raise AssertionError(explain(arena, failure, machine.trace, f"seed {seed}")) from failure
    return machine
