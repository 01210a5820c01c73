"""Random play on carry vaults and on their reference model, and the invariants CAR-1 to CAR-9.

    machine = Machine(venue_parameters(DAY), {"vault": KEEP})
    machine.play(seed=1, steps=400)

A step is one call, or time and prices that move. Vault, strategy, venue, pools and a fair swap
adapter are the contracts; each call is made in both worlds. What there is, is read from the chain,
and what is asked, brought and claimed from the model, which has to equal it (MOD-1).
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

from perpool.build import Artifact
from perpool.evm import Reverted
from perpool.history import DAY, HOUR
from perpool.reference.arithmetic import PoolError
from perpool.reference.carry import CarryStrategy
from perpool.reference.carry_vault import CarryVault, Claims, DepositRequest, Half, RedeemRequest
from perpool.reference.interest import YEAR
from perpool.reference.perp_books import PerpParameters
from perpool.reference.targets import CarryParameters, value_down
from perpool.reference.wad import WAD
from perpool.reference.world import NOBODY, Event
from perpool.replay.stage import HOLDER, KEEPER, Conditions, Stage, StageError, percent
from perpool.replay.timeline import WHOLE_PRICE, Moment
from tests.fuzz.carry_words import VaultWords
from tests.invariants.steps import require
from tests.market import ZERO_ADDRESS

TOKEN, USDT = 10**18, 10**6
START = 1_735_689_600
START_PRICE = 10
DEPOSIT = 100_000 * USDT
CONDITIONS = Conditions(percent(50), percent(35), percent("0.3"), DEPOSIT)
PEOPLE = (HOLDER, "saver", "whale")
STRANGER = "stranger"
VAULT, STRATEGY = "vault", "vault strategy"
TOKENS_EACH, USDT_EACH = 100_000, 1_000_000
RULES = (
    "wait",
    "request_deposit",
    "settle_deposit",
    "request_redeem",
    "settle_redeem",
    "claim_shares",
    "claim_tokens",
    "rebalance",
    "settle_order",
    "transfer",
    "cancel",
    "bring",
    "give",
    "limit",
    "liquidate_short",
    "liquidate_loan",
)
WEIGHTS = (30, 6, 10, 8, 12, 8, 8, 26, 6, 3, 3, 3, 4, 4, 6, 3)
REGIME = 50
"""Steps in which funding stays high, or low, so that the vault stands on either side."""
LOWEST, HIGHEST = WHOLE_PRICE, 10**3 * WHOLE_PRICE
RATIO = 10**36
"""Of what tips dilute by."""
DUST = 4
"""Units of rounding that sums of rounded values may be apart by."""

Outcome = tuple[str | None, Any, list[Event]]
"""The chain's reason, None for success; what was returned; what vault and strategy have logged."""


@dataclass
class Seen:
    """What there is in one block, from the chain."""

    holdings: tuple[int, ...]
    pending: int
    """The order at the venue; what comes of it is not the doing of the call that sees it."""
    leaving: bool
    """A redemption's order is out, or confirmed and its part not set apart: the next call does."""
    size: int
    """Of the position; negative is short."""
    loan: tuple[int, int]
    """(collateral, debt shares) of the reverse pool, with what is set apart."""
    apart: tuple[int, int]
    """What the strategy counts of that as set apart."""
    nav: int
    total: int
    balances: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Account -> (tokens, USDT) of vault and strategy."""
    shares: dict[str, int] = field(default_factory=dict)


class Machine:
    """One run on a chain of its own."""

    def __init__(
        self,
        venue: PerpParameters,
        parameters: CarryParameters,
        seed: int,
        artifact: str | Artifact = "CarryVault",
        strategy: str | Artifact = "CarryStrategy",
    ) -> None:
        self.dice = random.Random(f"carry {seed}")
        self.price, self.funding = START_PRICE * WHOLE_PRICE, WAD // 2
        self.now = START
        self.stage = Stage(self.moment(), CONDITIONS, venue)
        self.vault: CarryVault = self.stage.add_vault(VAULT, parameters, artifact, strategy)
        self.strategy: CarryStrategy = self.vault.strategy
        self.contract = self.stage.contracts[VAULT]
        self.strategy_contract = self.stage.evm.at(strategy, self.contract.strategy())
        self.parameters = parameters
        for name in (*PEOPLE, STRANGER):
            self.stage.addresses.setdefault(name, self.stage.evm.account(name))
            self.stage.fund(name, tokens=TOKENS_EACH * TOKEN, usdt=USDT_EACH * USDT)
        self.stage.addresses[NOBODY] = ZERO_ADDRESS
        self.names = {
            getattr(address, "address", address): name
            for name, address in self.stage.addresses.items()
        }
        self.words = VaultWords(self.contract, self.strategy_contract, self.stage.addresses, PEOPLE)
        self.gifts: Counter[str] = Counter()
        """Tokens and USDT that were sent to vault and strategy for nothing."""
        self.closed = (0, 0)
        """By the last order, if it closed a part of the short: tokens, and USDT with the fee."""
        self.apart: dict[str, tuple[int, int]] = {}
        """Controller -> (collateral, debt shares), by what was logged when it was set apart."""
        self.diluted = 0
        """By tips, each as a part of the shares that there were; RATIO."""
        self.steps = 0
        self.successes: Counter[str] = Counter()
        self.refusals: Counter[tuple[str, str]] = Counter()
        self.logged: Counter[str] = Counter()
        self.states: Counter[str] = Counter()
        self.trace: list[str] = []
        self._seen: Seen | None = None
        """Of the present, where it has been looked at."""
        self.look()

    # -- the world --

    def moment(self) -> Moment:
        return Moment(
            self.now, self.price, self.price, self.price, self.funding, self.funding, self.now
        )

    def look(self) -> None:
        """Bring both worlds to the present."""
        self.stage.look(self.moment())
        self.stage.move()

    def play(self, steps: int) -> None:
        """Random steps, once everybody is in; every one is checked."""
        for who in PEOPLE:
            self.call("request_deposit", VAULT, "requestDeposit", who, 2_000 * TOKEN, who, who)
        self.now += HOUR
        self._seen = None
        self.look()
        for who in PEOPLE:
            self.call("settle_deposit", VAULT, "settle_deposit", KEEPER, who)
            shares = self.vault.claims_of(who).shares_out
            self.call("claim_shares", VAULT, "mint", who, shares, who, who)
        for self.steps in range(steps):
            rule = self.dice.choices(RULES, WEIGHTS)[0]
            try:
                getattr(self, f"_{rule}")()
            except (AssertionError, StageError) as error:
                steps_before = "\n".join(self.trace[-12:])
                raise AssertionError(f"{error}\nafter\n{steps_before}") from error
            self.states["short"] += self.stage.venue.memory.held[STRATEGY].size < 0
            self.states["lend"] += not self.strategy.memory.carrying

    # -- a call --

    def call(self, rule: str, name: str, function: str, caller: str, *args: Any) -> str | None:
        """Both worlds, compared. Returns the chain's reason, None for success."""
        stage = self.stage
        self.trace.append(f"{caller}: {name}.{function}{args}")
        before = self._seen or self.observe()
        given = [stage.addresses[arg] if isinstance(arg, str) else arg for arg in args]
        actual, value, events = None, None, []
        contract = stage.contracts[name]
        try:
            sender = stage.addresses[caller]
            receipt = getattr(contract, function).transact(*given, sender=sender)
            value, events = receipt.return_value, self._events(receipt)
        except Reverted as error:
            actual = error.reason
        self.follow(name, function, caller, args, (actual, value, events))
        self._seen = before
        if actual is not None:
            self.refusals[rule, actual] += 1
            return actual
        self.successes[rule] += 1
        self.logged.update(event.name for event in events)
        self._take_in_parts(events)
        filled = self._take_in_fills()
        after = self._seen = self.observe()
        self.compare(after, {caller, *(arg for arg in args if isinstance(arg, str))})
        self.check_books(after)
        rebalanced = any(event.name == "Rebalanced" for event in events)
        self.check_tips(events, before, after, rebalanced)
        self.check_call(function, before, after, rebalanced)
        did = {event.name for event in events}
        if "SetApart" in did and not did & {"Rebalanced", "DepositSettled"}:
            self.check_set_apart(before, after, filled)
        return None

    def follow(
        self, name: str, function: str, caller: str, args: tuple[Any, ...], outcome: Outcome
    ) -> None:
        """The model's turn, in which the same has to come of it."""
        (actual, value, events), model = outcome, self.stage.model
        model.block_number = self.stage.evm.block_number
        model.events.clear()
        try:
            # data for the receiver is a callback of the model's, and nobody here is called back
            asked = [None if isinstance(arg, bytes) else arg for arg in args]
            told, predicted = getattr(self.stage.twin(name), function)(caller, *asked), None
        except PoolError as error:
            told, predicted = None, error.reason
        require(predicted == actual, "MOD-1", f"model {predicted!r}, chain {actual!r}")
        require(told == value, "MOD-1", f"the model returns {told}, the chain {value}")
        logged = [e for e in model.events if actual is None and e.pool in (VAULT, STRATEGY)]
        require(
            sorted(map(str, logged)) == sorted(map(str, events)),
            "MOD-1",
            f"the model logs {logged}, the chain {events}",
        )

    def _take_in_parts(self, events: list[Event]) -> None:
        """Redemptions that are between their halves by now."""
        for event in events:
            args = dict(event.args)
            if event.name == "SetApart":
                self.apart[args["controller"]] = args["collateral"], args["debt_shares"]
            elif event.name == "RedeemSettled":
                del self.apart[args["controller"]]

    def _take_in_fills(self) -> bool:
        """Whether an order of the strategy was filled by this call."""
        filled = False
        for event in self.stage.model.events:
            args = dict(event.args)
            if event.name not in ("Confirmed", "Failed") or args["account"] != STRATEGY:
                continue
            self.closed = (0, 0)
            filled = event.name == "Confirmed"
            if filled and args["size_delta"] > 0:
                self.closed = args["size_delta"], self.stage.venue.last_cost(STRATEGY)
        return filled

    def _events(self, receipt: Any, emitters: tuple[str, ...] = (VAULT, STRATEGY)) -> list[Event]:
        found = []
        for event in receipt.logs:
            name = self.names.get(event.address)
            if name not in emitters:
                continue
            args = {
                key: self.names.get(value, value) if isinstance(value, str) else value
                for key, value in event.args.as_dict().items()
            }
            found.append(Event(name, event.name, tuple(sorted(args.items()))))
        return found

    def observe(self) -> Seen:
        stage, contract = self.stage, self.contract
        position = stage.contracts["perp"].position(stage.addresses[STRATEGY])
        seen = Seen(
            holdings=tuple(contract.holdings()),
            pending=position.pending,
            leaving=self.vault.memory.ordering != NOBODY,
            size=position.size,
            loan=tuple(stage.contracts["reverse"].position(stage.addresses[STRATEGY]))[:2],
            apart=tuple(self.strategy_contract.set_apart()),
            nav=contract.totalAssets(),
            total=contract.totalSupply(),
        )
        for name in (VAULT, STRATEGY):
            at = stage.addresses[name]
            seen.balances[name] = stage.token.balanceOf(at), stage.usdt.balanceOf(at)
        for name in (*PEOPLE, STRANGER, KEEPER, VAULT):
            seen.shares[name] = contract.balanceOf(stage.addresses[name])
        return seen

    # -- what must hold --

    def compare(self, seen: Seen, people: set[str]) -> None:
        """MOD-1: all that can be read is what the model has, of the people who are named."""
        try:
            self.stage.compare()
        except StageError as error:
            require(False, "MOD-1", str(error))
        differing = self.words.differing(self.vault)
        require(differing == "", "MOD-1", differing)
        memory, at = self.vault.memory, self.stage.addresses
        contract = self.contract
        for name, shares in seen.shares.items():
            require(shares == memory.shares[name], "MOD-1", f"shares of {name}: {shares}")
        for name in people & set(PEOPLE):
            claims = memory.claims.get(name, Claims())
            half = memory.parts.get(name, Half())
            waiting = memory.redeems.get(name, RedeemRequest()).shares + half.shares
            pairs = (
                (claims.assets_in, contract.maxDeposit(at[name])),
                (claims.shares_out, contract.maxMint(at[name])),
                (claims.assets_out, contract.maxWithdraw(at[name])),
                (claims.shares_in, contract.maxRedeem(at[name])),
                (claims.usdt_out, contract.claimable_usdt(at[name])),
                (waiting, contract.pendingRedeemRequest(0, at[name])),
                (
                    memory.deposits.get(name, DepositRequest()).assets,
                    contract.pendingDepositRequest(0, at[name]),
                ),
            )
            for expected, found in pairs:
                require(expected == found, "MOD-1", f"{name}: model {expected}, chain {found}")

    def check_books(self, seen: Seen) -> None:
        """What holds at any time."""
        memory, strategy = self.vault.memory, self.strategy.memory
        claims = memory.claims.values()
        tokens, usdt = seen.balances[VAULT]
        require(
            tokens - self.gifts["vault tokens"]
            == memory.waiting + sum(each.assets_out for each in claims),
            "CAR-1",
            f"the vault holds {tokens} tokens",
        )
        brought = sum(each.usdt for each in memory.redeems.values())
        brought += sum(each.usdt for each in memory.parts.values())
        require(
            usdt - self.gifts["vault usdt"] == brought + sum(each.usdt_out for each in claims),
            "CAR-1",
            f"the vault holds {usdt} USDT",
        )
        tokens, usdt = seen.balances[STRATEGY]
        parts = strategy.parts.values()
        require(
            tokens - self.gifts["strategy tokens"]
            == strategy.idle + sum(each.tokens for each in parts),
            "CAR-1",
            f"the strategy holds {tokens} tokens",
        )
        require(
            usdt - self.gifts["strategy usdt"] == strategy.cash + sum(each.usdt for each in parts),
            "CAR-1",
            f"the strategy holds {usdt} USDT",
        )
        lent = self.stage.contracts["forward"].balanceOf(self.stage.addresses[STRATEGY])
        require(lent == strategy.forward_shares, "CAR-1", f"the strategy holds {lent} pool shares")
        require(sum(seen.shares.values()) == seen.total, "CAR-2", f"shares {seen.shares}")
        asked = sum(each.shares for each in memory.redeems.values())
        require(
            seen.shares[VAULT] == asked + sum(each.shares_out for each in claims),
            "CAR-2",
            f"the vault holds {seen.shares[VAULT]} shares",
        )
        require(
            seen.apart == tuple(map(sum, zip((0, 0), *self.apart.values(), strict=True))),
            "CAR-3",
            f"{seen.apart} is set apart, for {self.apart}",
        )
        require(
            seen.loan[1] == 0 or seen.loan[0] > 0,
            "CAR-3",
            f"a debt without collateral: {seen.loan}",
        )
        require(seen.size <= 0, "CAR-4", f"the vault is long: {seen.size}")

    def check_tips(self, events: list[Event], before: Seen, after: Seen, rebalanced: bool) -> None:
        """Whoever stays is diluted by the rate at most, whoever else comes and goes."""
        total, tipped = before.total, False
        for event in events:
            if event.name != "Transfer":
                continue
            args = dict(event.args)
            minted, burnt = args["sender"] == NOBODY, args["receiver"] == NOBODY
            # those for deposits wait in the vault
            if minted and args["receiver"] != VAULT:
                tipped = True
                self.diluted += args["value"] * RATIO // max(total, 1)
            total += args["value"] * (minted - burnt)
        require(total == after.total, "CAR-8", f"{after.total} shares, by the events {total}")
        most = self.parameters.tip_rate * (RATIO // WAD) * (self.now - START) // YEAR
        require(self.diluted <= most, "CAR-8", f"diluted by {self.diluted}, at most {most}")
        require(not tipped or rebalanced, "CAR-8", "a tip for nothing")

    def check_call(self, function: str, before: Seen, after: Seen, rebalanced: bool) -> None:
        """What one call may do, at a standing price and time; settling does first what is due."""
        if before.pending or before.leaving:
            return
        if not rebalanced and function in {
            "settle_deposit",
            "settle_redeem",
            "requestDeposit",
            "request_redeem",
        }:
            self._check_stayers(function, before, after)
        if function == "rebalance":
            self._check_rebalance(before, after)

    def _worth(self, seen: Seen) -> tuple[int, int]:
        """A share, as (tokens, shares)."""
        return seen.nav + 1, seen.total + self.vault.virtual_shares

    def _check_stayers(self, function: str, before: Seen, after: Seen) -> None:
        """Who comes or goes pays for it: a share of the others is worth no less.

        Who comes pays for virtual shares too, and who goes gets nothing for them.
        """
        (a, b), (c, d) = self._worth(before), self._worth(after)
        if function == "settle_redeem":
            (a, b), (c, d) = (before.nav, before.total), (after.nav, after.total)
        # units of USDT are rounded to the others' cost, each of which is so many tokens
        unit = 10**36 // after.holdings[0] + 1
        require(
            (c + DUST * unit + self._cost_of_dust(before, after)) * b >= a * d,
            "CAR-5",
            f"{function}: a share was worth {a}/{b}, and is {c}/{d}",
        )

    def _cost_of_dust(self, before: Seen, after: Seen) -> int:
        """Tokens that selling for a debt too small for the pool may cost."""
        price, total = before.holdings[0], max(before.total, 1)
        debt = before.holdings[4] * after.total // total
        if after.holdings[4] or debt >= self.stage.model.reverse.leg.min_debt:
            return 0
        return debt * 10**36 // price * self.parameters.max_slippage // WAD + 1

    def check_set_apart(self, before: Seen, after: Seen, filled: bool) -> None:
        """CAR-9: what their order was filled at is the redeemer's, all else is everybody's."""
        if before.pending and not before.leaving:
            # an order of the vault's own may have been filled first
            return
        price = after.holdings[0]
        size, cost = self.closed
        # what there would be, had the short been left alone
        worth = before.nav
        if before.leaving and not before.pending and not filled:
            worth += (cost - value_down(size, price)) * 10**36 // price
        unit = 10**36 // price + 1
        left, fair = after.nav * before.total, worth * after.total
        slack = (3 * DUST * unit + self._cost_of_dust(before, after)) * before.total
        # what the forward pool cannot pay of next to nothing stays
        dust = after.holdings[2] if after.holdings[2] <= after.holdings[3] // 1_000 else 0
        require(
            left + slack >= fair,
            "CAR-9",
            f"of {worth} for {before.total}, {after.nav} is left for {after.total}",
        )
        if after.total:
            self.states["set apart"] += 1
            require(
                left <= fair + slack + dust * before.total,
                "CAR-9",
                f"of {worth} for {before.total}, {after.nav} is left for {after.total}",
            )

    def _check_rebalance(self, before: Seen, after: Seen) -> None:
        price, fee = after.holdings[0], self.stage.venue_parameters.fee
        unit = 10**36 // price + 1
        traded = abs(after.holdings[5] - before.holdings[5])
        swapped = abs(sum(after.holdings[1:4]) - sum(before.holdings[1:4]))
        cost = traded * fee // WAD + swapped * self.parameters.max_slippage // WAD
        require(
            after.nav + cost + 2 * DUST * unit >= before.nav,
            "CAR-6",
            f"{before.nav} became {after.nav}: {traded} traded, {swapped} swapped",
        )
        value = value_down(after.holdings[3], price)
        ceiling = value * self.parameters.ltv_ceiling // WAD
        require(
            after.holdings[4] <= max(ceiling, before.holdings[4]) + DUST,
            "CAR-7",
            f"borrowed up to {after.holdings[4]} of {value}",
        )

    # -- rules --

    def _wait(self) -> None:
        dice = self.dice
        waits = [60, HOUR, HOUR, 8 * HOUR, 3 * DAY]
        if self.stage.venue.memory.pending and dice.random() < 0.8:
            waits = [60, 600]  # longer, and the order fails
        self.now += dice.choice(waits)
        wild = dice.random() < 0.06
        factor = dice.uniform(0.7, 1.35) if wild else dice.uniform(0.97, 1.03)
        price = int(self.price * factor)
        self.price = min(max(price, LOWEST), HIGHEST) // 10**12 * 10**12
        if dice.random() < 0.3:
            bull = self.steps // REGIME % 2 == 0
            self.funding = int(dice.choice([0.3, 0.6] if bull else [-0.4, 0.02, 0.1]) * WAD)
        self.successes["wait"] += 1
        self._go_on()

    def _go_on(self) -> None:
        """To the time, price and funding that are set."""
        self.trace.append(f"price {self.price / WHOLE_PRICE:.4f}, funding {self.funding / WAD}")
        self._seen = None
        self.look()
        for name in ("reverse", "forward"):
            self.stage.do(name, "sync_funding", KEEPER)
        self._seen = self.observe()
        self.compare(self._seen, set())

    def _somebody(self) -> str:
        return self.dice.choice(PEOPLE)

    def _request_deposit(self) -> None:
        who = self._somebody()
        tokens = int(self.dice.choice([0.001, 1, 100, 5_000, 5_000]) * self.dice.random() * TOKEN)
        self.call("request_deposit", VAULT, "requestDeposit", who, tokens, who, who)

    def _of(self, waiting: dict[str, bool]) -> str:
        """Mostly somebody for whom there is something to do."""
        chosen = [name for name, waits in waiting.items() if waits and name in PEOPLE]
        return self.dice.choice(chosen) if chosen and self.dice.random() < 0.9 else self._somebody()

    def _settle_deposit(self) -> None:
        asked = {name: each.assets > 0 for name, each in self.vault.memory.deposits.items()}
        self.call("settle_deposit", VAULT, "settle_deposit", KEEPER, self._of(asked))

    def _request_redeem(self) -> None:
        shares_of = self.vault.memory.shares
        who, dice = self._of({name: shares_of[name] > 0 for name in PEOPLE}), self.dice
        held = self.vault.memory.shares[who]
        shares = dice.choice([held, held // 3, held // 3, held // 10, held // 10, 1])
        usdt = dice.choice([0, 0, dice.randrange(10_000 * USDT)])
        least = 0
        if dice.random() < 0.3:
            worth, total = self._worth(self.observe())
            least = int(shares * worth // total * dice.uniform(0.8, 1.05))
        call = (shares, who, who, usdt, least)
        self.call("request_redeem", VAULT, "request_redeem", who, *call)

    def _settle_redeem(self) -> None:
        memory = self.vault.memory
        asked = {name: each.shares > 0 for name, each in memory.redeems.items()}
        for name, half in memory.parts.items():
            asked[name] = asked.get(name, False) or half.shares > 0
        who = self._of(asked)
        caller = KEEPER if self.dice.random() < 0.8 else who
        self.call("settle_redeem", VAULT, "settle_redeem", caller, who)

    def _bring(self) -> None:
        memory = self.vault.memory
        asked = {name: each.shares > 0 for name, each in (*memory.redeems.items(),)}
        asked |= {name: True for name, half in memory.parts.items() if half.shares > 0}
        usdt = self.dice.randrange(2_000 * USDT)
        self.call("bring", VAULT, "bring_usdt", STRANGER, self._of(asked), usdt)

    def _claim_shares(self) -> None:
        who = self._of({name: c.shares_out > 0 for name, c in self.vault.memory.claims.items()})
        shares = self.vault.claims_of(who).shares_out
        shares = self.dice.choice([shares, shares // 3])
        self.call("claim_shares", VAULT, "mint", who, shares, who, who)

    def _claim_tokens(self) -> None:
        who = self._of({name: c.shares_in > 0 for name, c in self.vault.memory.claims.items()})
        shares = self.vault.claims_of(who).shares_in
        shares = self.dice.choice([shares, shares // 3])
        self.call("claim_tokens", VAULT, "redeem", who, shares, who, who)

    def _rebalance(self) -> None:
        self.call("rebalance", VAULT, "rebalance", KEEPER)

    def _settle_order(self) -> None:
        venue = self.stage.venue
        number = venue.memory.last_request
        before = venue.status(number)
        self.call("settle_order", "perp", "settle", KEEPER, number)
        self.states["settled by anybody"] += venue.status(number) != before

    def _transfer(self) -> None:
        who = self._somebody()
        shares = self.vault.memory.shares[who] // self.dice.choice([2, 10])
        self.call("transfer", VAULT, "transfer", who, self._somebody(), shares)

    def _cancel(self) -> None:
        """Mostly once it may be, by somebody who has asked."""
        memory, dice = self.vault.memory, self.dice
        function = dice.choice(["cancel_deposit", "cancel_redeem"])
        asked = {name: each.shares > 0 for name, each in memory.redeems.items()}
        if function == "cancel_deposit":
            if not any(each.assets for each in memory.deposits.values()):
                self._request_deposit()
            asked = {name: each.assets > 0 for name, each in memory.deposits.items()}
        who = self._of(asked)
        if dice.random() < 0.7:
            self.now += DAY
            self._go_on()
        self.call("cancel", VAULT, function, who, who, who)

    def _give(self) -> None:
        """Strangers give tokens, USDT, collateral, or pay debt."""
        stage, dice = self.stage, self.dice
        kind = dice.choice(["token", "usdt", "collateral", "debt"])
        amount = int(dice.random() * 50 * (TOKEN if kind in ("token", "collateral") else USDT)) + 1
        if kind == "collateral":
            self.call("give", "reverse", "supply_collateral", STRANGER, amount, STRATEGY)
        elif kind == "debt":
            self.call("give", "reverse", "repay", STRANGER, amount, STRATEGY)
        else:
            to = dice.choice([VAULT, STRATEGY])
            contract, model = getattr(stage, kind), getattr(stage.model, kind)
            contract.transfer(stage.addresses[to], amount, sender=stage.addresses[STRANGER])
            model.move(STRANGER, to, amount)
            owner = "vault" if to == VAULT else "strategy"
            self.gifts[f"{owner} {'tokens' if kind == 'token' else 'usdt'}"] += amount
            self.successes["give"] += 1
            self._seen = self.observe()
            self.check_books(self._seen)

    def _limit(self) -> None:
        """Swaps get dear or cheap again, lending stops or goes on, trades get small or large."""
        stage, dice = self.stage, self.dice
        kind = dice.choice(["spread", "pause", "trade"])
        self.trace.append(f"limit: {kind}")
        self._seen = None
        if kind == "spread":
            spread = dice.choice([0, percent("0.3"), percent(2)])
            stage.conditions = replace(stage.conditions, slippage=spread)
            stage.swapper.set_terms(self.price, spread, 0, sender=stage.owner)
            stage.model.swappers["swapper"].spread = spread  # type: ignore[attr-defined]
        elif kind == "pause":
            paused = dice.random() < 0.25
            pool = dice.choice(["reverse", "forward"])
            stage.factory.set_paused(stage.contracts[pool], paused, sender=stage.owner)
            stage.model.set_paused("owner", pool, paused)
            stage.model.block_number = stage.evm.block_number
        else:
            largest = dice.choice([1_000, 20_000, 10**9]) * USDT
            self.contract.set_limits(2**128 - 1, largest, sender=stage.owner)
            self.strategy.memory.max_trade = largest
        self.successes["limit"] += 1

    def _liquidate_short(self) -> None:
        """A rise to where it can be done, before anybody has added margin; or without one."""
        self._jump(self.stage.venue.liquidation_price(STRATEGY), self.dice.uniform(1.001, 1.1))
        self.call("liquidate_short", "perp", "liquidate", STRANGER, STRATEGY, STRANGER)

    def _liquidate_loan(self) -> None:
        """A fall to where it can be done, before anything of the short's profit has repaid it."""
        pool = self.stage.model.reverse
        collateral, debt = pool.collateral_of[STRATEGY], pool.debt_of(STRATEGY)
        backing = collateral * pool.leg.liquidation_ltv // WAD
        self._jump(debt * 10**36 // max(backing, 1), self.dice.uniform(0.9, 0.999))
        call = (STRATEGY, 2**256 - 1, STRANGER, b"")
        self.call("liquidate_loan", "reverse", "liquidate", STRANGER, *call)

    def _jump(self, threshold: int, beyond: float) -> None:
        """The price goes so far beyond a threshold, where there is one that it can get to."""
        price = int(threshold * beyond)
        if LOWEST <= price <= HIGHEST and self.dice.random() < 0.8:
            self.now += 60
            self.price = price // 10**12 * 10**12
            self._go_on()
