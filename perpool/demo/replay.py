"""The replay: step by step through recorded history, everybody acting in turn."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from perpool.chain import Call, Receipt, Reverted
from perpool.demo import actors as act
from perpool.demo.actors import Actor, Lender, Order, PoolView, VaultHolder, View
from perpool.demo.books import Bookkeeper, Books
from perpool.demo.carry import Comparison, Desk, Hour, VaultTally
from perpool.demo.holdings import TOKEN_UNIT, USDT_UNIT, Holding
from perpool.demo.stage import (
    ARBITRAGEUR,
    DEPLOYER,
    EXCHANGE,
    FEE,
    FEED_SPACING,
    MAX,
    POOL_FEE,
    PROVIDER,
    REBALANCER,
    TWAP_WINDOW,
    VENUE_PROVIDER,
    WAD,
    ZERO_ADDRESS,
    Party,
    Stage,
)
from perpool.demo.venue import BASIS_POINTS, MAINTENANCE, PerpVenue, VenueError
from perpool.history import DAY, HOUR, MarketHistory, Settlement
from perpool.keeper.local import LocalKeeper
from perpool.keeper.model import ReportFunding, ReportPrice
from perpool.keeper.sources import panel_of
from perpool.replay.record import Bounds

EXCHANGE_CAPITAL = 20_000_000
LIQUIDATOR_CAPITAL = 2_000_000
"""USDT, and tokens worth half of it at the first price."""
CATCH_UP_ROUNDS = 20
"""Rounds the keeper sends at most while the price feed follows a large move."""
FLASH, CAPITAL, PURCHASE = "Flash liquidator", "Capital liquidator", "Purchase caller"


class DemoError(Exception):
    """The demo cannot go on; the message says why."""


# -- what happened --


@dataclass(frozen=True)
class Step:
    """A moment of the replay; `settlement` where funding is paid then."""

    time: int
    settlement: Settlement | None
    for_vaults: bool = False
    """Between two others, because a carry vault is due."""


def timeline(history: MarketHistory, hourly_day: int | None) -> list[Step]:
    """Every settlement of the history, and every hour of one day."""
    settlements = {each.time: each for each in history.settlements}
    times = set(settlements)
    if hourly_day is not None:
        first, last = history.settlements[0].time, history.settlements[-1].time
        hours = range(hourly_day, hourly_day + DAY, HOUR)
        times.update(time for time in hours if first <= time <= last)
    return [Step(time, settlements.get(time)) for time in sorted(times)]


@dataclass(frozen=True)
class Liquidation:
    """One liquidation. Amounts in whole units: debt in the leg's asset, seized its collateral."""

    time: int
    leg: str
    borrower: str
    by: str
    ltv: float
    repaid: float
    seized: float
    price: float


@dataclass(frozen=True)
class LegRecord:
    """One leg at the end of a step. `assets` and `debt` in its asset, rates a year."""

    assets: float
    debt: float
    utilisation: float
    borrow_rate: float
    supply_rate: float
    premium: float
    share_price: float
    worst_ltv: float


@dataclass(frozen=True)
class Record:
    """The market at the end of a step."""

    time: int
    price: float
    funding: float
    """Settled last, a year."""
    funding_ema: float
    volatility: float | None
    borrow_ltv: float
    reverse: LegRecord
    forward: LegRecord
    perp_short: float
    """Tokens that all are short on the exchange and at the venue."""


@dataclass
class Tally:
    """What a borrower or shorter has done so far, in smallest units of the leg's asset."""

    borrowed: int = 0
    repaid: int = 0
    written_off: int = 0
    realised: int = 0
    """USDT, of closed shorts: proceeds less cost."""
    closed: int = 0
    liquidated: int = 0


@dataclass
class Results:
    """Everything that the report is made of."""

    history: MarketHistory
    steps: int
    hourly_day: int | None
    seed: int
    actors: list[Actor]
    records: list[Record] = field(default_factory=list)
    liquidations: list[Liquidation] = field(default_factory=list)
    bad_debt: Counter[str] = field(default_factory=Counter)
    """(leg, who bore it) as "reverse reserve" -> smallest units of the leg's asset."""
    tallies: dict[str, Tally] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    """Orders that the contracts refused, by reason."""
    rounds: Counter[str] = field(default_factory=Counter)
    """Oracle rounds: "funding", "price", "held back"."""
    lent_seconds: Counter[str] = field(default_factory=Counter)
    """Lender -> sum of what he had lent times seconds, in smallest units."""
    hours: list[Hour] = field(default_factory=list)
    """Carry vaults and siloed holders at each hour that has a price."""
    vaults: dict[str, VaultTally] = field(default_factory=dict)
    whose: dict[str, str] = field(default_factory=dict)
    """Account that is compared -> actor whose worth is shown with it."""
    steps_for_vaults: int = 0
    start: Books | None = None
    end: Books | None = None
    provided: dict[str, tuple[int, int]] = field(default_factory=dict)
    """"start" and "end" -> (tokens, USDT) of the Uniswap position."""
    perp: PerpVenue = field(default_factory=PerpVenue)
    transactions: int = 0
    checks: int = 0
    seconds: float = 0
    prices_missing: int = 0
    liquidation_ltv: float = 0
    """Of both legs."""
    maintenance_margin: float = 0
    """Of the venue, and of the exchange."""


# -- the replay --


class Replay:
    """Plays one history on a stage."""

    def __init__(
        self, stage: Stage, history: MarketHistory, *, seed: int, hourly_day: int | None
    ) -> None:
        self.stage = stage
        self.history = history
        self.dice = random.Random(f"perpool demo {seed}")  # noqa: S311 - actors, not keys
        self.actors = act.cast(self.dice.random)
        self.parties = {each.name: Party(each.name) for each in self.actors}
        self.liquidators = {name: Party(name) for name in (FLASH, CAPITAL, PURCHASE)}
        self.venue = PerpVenue()
        self.steps = timeline(history, hourly_day)
        everybody = [
            *self.parties.values(),
            *self.liquidators.values(),
            DEPLOYER,
            PROVIDER,
            ARBITRAGEUR,
            EXCHANGE,
            VENUE_PROVIDER,
            REBALANCER,
        ]
        lends = {each.name: each.leg for each in self.actors if isinstance(each, Lender)}
        holders = {each.name: each.vault for each in self.actors if isinstance(each, VaultHolder)}
        self.bookkeeper = Bookkeeper(
            stage,
            self.venue,
            everybody,
            lenders=lends,
            borrowers={a.name: a.leg for a in self.actors if a.name not in lends | holders},
            depositors=holders,
        )
        self.results = Results(history, len(self.steps), hourly_day, seed, self.actors)
        self.results.perp = self.venue
        strategies = {each.name: each.strategy for each in stage.vaults.values()}
        self.accounts: dict[str, Any] = {**self.parties, **strategies}
        """Who may have a position of a pool."""
        self.results.tallies = {name: Tally() for name in self.accounts}
        self.desk = Desk(stage, self.parties, self.actors, self._send, self.results.refused)
        self.results.vaults = self.desk.tallies
        self.legs = {leg: pool.config().leg for leg, pool in stage.pools.items()}
        self.results.liquidation_ltv = self.legs["reverse"].liquidation_ltv / WAD
        # the exchange closes positions at the same margin
        self.results.maintenance_margin = MAINTENANCE / BASIS_POINTS
        assert stage.perp_venue.maintenance_margin() == MAINTENANCE * WAD // BASIS_POINTS
        self.comparison = Comparison(
            self.actors, Bounds(self.results.maintenance_margin, self.results.liquidation_ltv)
        )
        self.results.whose = self.comparison.whose
        self.keeper = LocalKeeper(
            stage.anvil.endpoint,
            stage.record,
            panel_of(history),
            stage.reporters,
            stage.payer,
            clock=lambda: stage.chain.timestamp,
        )
        self._minted = (0, 0)
        self._turn = 0
        self._names = {account.address: name for name, account in self.accounts.items()}

    def prepare(self) -> None:
        """Fund everybody; nothing is minted after this."""
        stage = self.stage
        price = self._first_price()

        def worth(usdt_amount: float) -> int:
            return int(usdt_amount * TOKEN_UNIT / float(price))

        for actor in self.actors:
            party = self.parties[actor.name]
            size = actor.size * actor.endowment
            stage.fund(
                party,
                tokens=worth(size) if "tokens" in actor.endowed_in else 0,
                usdt_amount=int(size * USDT_UNIT) if "usdt" in actor.endowed_in else 0,
            )
            stage.approve(party, [stage.reverse, stage.forward, stage.dex.router])
            if isinstance(actor, VaultHolder):
                stage.approve(party, [stage.vaults[actor.vault].contract])
        capital = self.liquidators[CAPITAL]
        stage.fund(
            capital,
            tokens=worth(LIQUIDATOR_CAPITAL / 2),
            usdt_amount=LIQUIDATOR_CAPITAL * USDT_UNIT,
        )
        stage.approve(capital, [stage.reverse, stage.forward, stage.dex.router])
        stage.fund(EXCHANGE, usdt_amount=EXCHANGE_CAPITAL * USDT_UNIT)
        self.venue.house = EXCHANGE_CAPITAL * USDT_UNIT
        self.results.start = self._books = books = self.bookkeeper.read()
        self.results.provided["start"] = stage.dex.provided(PROVIDER)
        self._minted = books.minted
        self.bookkeeper.check(books, self._minted)

    def run(self) -> Iterator[Record]:
        """Play all steps; gives each one's record."""
        for step in self.steps:
            self._watch_until(step.time)
            yield self._play(step)
        self.results.end = self.bookkeeper.read()
        self.results.provided["end"] = self.stage.dex.provided(PROVIDER)
        self.results.transactions = self.stage.chain.block_number
        self.results.checks = self.bookkeeper.checks

    # -- one step --

    def _watch_until(self, end: int) -> None:
        """The hours until the next step: where a carry vault is due, a step of its own."""
        if not self.results.records:
            return
        for time in range(self.results.records[-1].time + HOUR, end, HOUR):
            price = self.history.price_at(time)
            if price is None:
                continue
            self._look(time, price)
            if self.desk.is_needed(self._books, e36(price)):
                self.results.steps += 1
                self.results.steps_for_vaults += 1
                self._play(Step(time, None, for_vaults=True))

    def _look(self, time: int, price: Decimal) -> None:
        assert self.results.start is not None
        hour = self.comparison.look(time, e36(price), self.results.start, self._books)
        self.results.hours.append(hour)

    def _play(self, step: Step) -> Record:
        chain = self.stage.chain
        price = self.history.price_at(step.time)
        chain.mine(timestamp=step.time)
        if price is None:
            self.results.prices_missing += 1
        else:
            if not step.for_vaults:
                self._look(step.time, price)
            self._settle_perps(step, price)
            self.stage.dex.swap_to(ARBITRAGEUR, price)
        self._report(step.time)
        # the average that new risk is checked against has followed by then
        chain.mine(timestamp=max(step.time + TWAP_WINDOW, chain.timestamp + 1))
        if price is not None:
            self.desk.work(self._books)
            if not step.for_vaults:
                self._act(step, price)
            self.stage.dex.swap_to(ARBITRAGEUR, price)
        return self._record(step)

    def _settle_perps(self, step: Step, price: Decimal) -> None:
        self.venue.mark(e36(price))
        if step.settlement is not None:
            self.venue.settle_funding(int(step.settlement.rate.scaleb(9)))

    def _report(self, time: int) -> None:
        """The keeper's rounds; liquidators after each, for the price may come in several."""
        for attempt in range(CATCH_UP_ROUNDS):
            outcome = self.keeper.round()
            for failed, reason in outcome.refused:
                raise DemoError(f"the keeper could not {type(failed).__name__}: {reason}")
            self.results.rounds["funding"] += sum(
                isinstance(each, ReportFunding) for each in outcome.done
            )
            self.results.rounds["price"] += sum(
                isinstance(each, ReportPrice) for each in outcome.done
            )
            if any(isinstance(each, ReportFunding) for each in outcome.done):
                # the venue goes by the new round from its next call on
                self._send(self.stage.perp_venue.settle_funding.bind(ZERO_ADDRESS), REBALANCER)
            if self.history.price_at(time) is not None:
                self._liquidate()
            round_id, *_, answered_in = self.stage.price_feed.latestRoundData()
            if answered_in >= round_id:
                return
            self.results.rounds["held back"] += 1
            next_round = time + (attempt + 1) * FEED_SPACING
            self.stage.chain.mine(timestamp=max(next_round, self.stage.chain.timestamp + 1))

    def _act(self, step: Step, price: Decimal) -> None:
        """Lenders first, everybody else in an order of the dice, on what all see beforehand."""
        books = self.bookkeeper.read()
        view = self._view(step, price, books)
        order = list(self.actors)
        self.dice.shuffle(order)
        order.sort(key=lambda each: not isinstance(each, Lender))
        for actor in order:
            party = self.parties[actor.name]
            for each in actor.decide(view, books.holdings[actor.name].me()):
                if not self._carry_out(actor, party, each, view):
                    break

    def _view(self, step: Step, price: Decimal, books: Books) -> View:
        first, last = self.steps[0].time, self.steps[-1].time
        closes = self.history.prices_between(step.time - 7 * DAY, step.time)
        ema, _ = self.stage.funding_oracle.funding(self.stage.token)

        def pool(leg: str) -> PoolView:
            rates = self._rates(leg, books)
            return PoolView(rates.utilisation, rates.borrow_rate, rates.supply_rate)

        return View(
            time=step.time,
            price=float(price),
            funding_ema=ema / WAD,
            borrow_ltv=self.stage.reverse.borrow_ltv() / WAD,
            reverse=pool("reverse"),
            forward=pool("forward"),
            progress=(step.time - first) / max(last - first, 1),
            closes=[float(each) for each in closes],
        )

    # -- orders --

    def _carry_out(self, actor: Actor, party: Party, order: Order, view: View) -> bool:
        """Carry an order out. False where it was refused, and then those after it are dropped."""
        try:
            self._perform(actor, party, order, view)
        except Reverted as error:
            self.results.refused[error.reason or str(error)] += 1
            return False
        except VenueError as error:
            self.results.refused[str(error)] += 1
            return False
        return True

    def _perform(self, actor: Actor, party: Party, order: Order, view: View) -> None:
        stage = self.stage
        # of vault holders there is none, and no order of theirs is for one
        pool: Any = stage.pools.get(actor.leg)
        asset = stage.usdt if actor.leg == "reverse" else stage.token
        match order:
            case act.Lend(amount):
                unit = USDT_UNIT if actor.leg == "reverse" else TOKEN_UNIT
                self._send(pool.deposit.bind(self._held(asset, party, amount, unit), party), party)
            case act.Withdraw():
                shares = pool.maxRedeem(party)
                if shares:
                    self._send(pool.redeem.bind(shares, party, party), party)
            case act.Borrow(tokens, usdt_amount):
                posted = self._held(stage.token, party, tokens, TOKEN_UNIT)
                borrowed = int(usdt_amount * USDT_UNIT)
                if posted:
                    call = pool.supply_collateral_and_borrow.bind(posted, borrowed, party, party)
                else:
                    call = pool.borrow.bind(borrowed, party, party)
                self._send(call, party)
            case act.Repay(usdt_amount):
                if pool.debt_shares_of(party):
                    held = MAX
                    if usdt_amount is not None:
                        held = self._held(stage.usdt, party, usdt_amount, USDT_UNIT)
                    self._send(pool.repay.bind(held, party), party)
            case act.AddCollateral(tokens):
                posted = self._held(stage.token, party, tokens, TOKEN_UNIT)
                self._send(pool.supply_collateral.bind(posted, party), party)
            case act.TakeCollateral(wanted):
                taken = MAX if wanted is None else int(wanted * TOKEN_UNIT)
                self._send(pool.withdraw_collateral.bind(taken, party, party), party)
            case act.Buy(usdt_amount):
                paid = self._held(stage.usdt, party, usdt_amount, USDT_UNIT)
                stage.dex.swap(party, stage.usdt, paid)
            case act.Sell(tokens):
                stage.dex.swap(
                    party, stage.token, self._held(stage.token, party, tokens, TOKEN_UNIT)
                )
            case act.OpenShort(margin, tokens):
                least = int(0.98 * tokens * view.price * USDT_UNIT)
                self._send(
                    pool.open_short.bind(
                        self._held(stage.usdt, party, margin, USDT_UNIT),
                        int(tokens * TOKEN_UNIT),
                        least,
                        MAX,
                        party,
                        stage.swapper,
                        stage.dex.route(stage.token),
                    ),
                    party,
                )
            case act.CloseShort():
                route = stage.dex.route(stage.usdt)
                self._send(
                    pool.close_short.bind(MAX, MAX, MAX, party, party, stage.swapper, route), party
                )
            case act.AddMargin(usdt_amount):
                added = self._held(stage.usdt, party, usdt_amount, USDT_UNIT)
                self._send(pool.add_margin.bind(added, party), party)
            case act.PerpTransfer(usdt_amount):
                self._transfer_to_exchange(party, usdt_amount)
            case act.PerpTrade(position):
                held = self.venue.account(party.name).position
                self.venue.trade(party.name, int(position * TOKEN_UNIT) - held)
            case act.RequestDeposit(tokens):
                given = self._held(stage.token, party, tokens, TOKEN_UNIT)
                self._send(_vault(stage, actor).requestDeposit.bind(given, party, party), party)
            case act.RequestRedeem():
                vault = _vault(stage, actor)
                shares = int(vault.balanceOf(party))
                self._send(vault.requestRedeem.bind(shares, party, party), party)

    def _transfer_to_exchange(self, party: Party, usdt_amount: float) -> None:
        usdt = self.stage.usdt
        if usdt_amount >= 0:
            paid = self._held(usdt, party, usdt_amount, USDT_UNIT)
            usdt.transfer(EXCHANGE, paid, sender=party)
            self.venue.deposit(party.name, paid)
            return
        equity = self.venue.account(party.name).equity
        asked = equity if math.isinf(usdt_amount) else int(-usdt_amount * USDT_UNIT)
        if asked > 0:
            self.venue.withdraw(party.name, asked)
            usdt.transfer(party, asked, sender=EXCHANGE)

    @staticmethod
    def _held(token: Any, party: Party, amount: float, unit: int) -> int:
        """An amount in smallest units, at most what the party holds."""
        return min(int(amount * unit), int(token.balanceOf(party)))

    def _send(self, call: Call, sender: Party) -> Receipt:
        chain = self.stage.chain
        receipt = chain.transact(Call(call.to, call.data, call.function, sender))
        self._take_note(receipt)
        return receipt

    def _take_note(self, receipt: Receipt) -> None:
        """Follow debts through the pools' events."""
        reverse = self.stage.reverse.address
        for event in receipt.logs:
            self.desk.take_note(event)
            match event.name:
                case "Borrow":
                    self._tally(event.on_behalf).borrowed += event.assets
                case "Repay":
                    self._tally(event.on_behalf).repaid += event.assets
                case "Deleverage":
                    self._tally(event.on_behalf).repaid += event.repaid
                case "OpenShort":
                    self._tally(event.on_behalf).borrowed += event.token_amount
                case "CloseShort":
                    tally = self._tally(event.on_behalf)
                    tally.repaid += event.token_amount
                    tally.realised += event.proceeds - event.cost
                    tally.closed += 1
                case "Liquidate" | "LiquidateByPurchase":
                    tally = self._tally(event.borrower)
                    tally.repaid += event.repaid
                    tally.liquidated += 1
                case "BadDebt":
                    leg = "reverse" if event.address == reverse else "forward"
                    self._tally(event.borrower).written_off += event.assets
                    self.results.bad_debt[f"{leg} reserve"] += event.from_reserve
                    self.results.bad_debt[f"{leg} lenders"] += event.from_lenders

    def _tally(self, address: str) -> Tally:
        return self.results.tallies[self._names[address]]

    # -- liquidations --

    def _liquidate(self) -> None:
        """Everybody who can be liquidated is, by whoever's turn it is and who earns by it."""
        books = self.bookkeeper.read()
        price_e36 = int(self.stage.price_oracle.liquidation_price())
        limit = {leg: each.liquidation_ltv / WAD for leg, each in self.legs.items()}
        for name in self.accounts:
            holding = books.accounts[name]
            reverse_ltv, short_ltv = ltvs(holding, price_e36)
            if reverse_ltv > limit["reverse"]:
                self._liquidate_one("reverse", name, reverse_ltv, price_e36)
            if short_ltv > limit["forward"]:
                self._liquidate_one("forward", name, short_ltv, price_e36)
        self.desk.liquidate(books, self.liquidators[FLASH])

    def _liquidate_one(self, leg: str, borrower: str, ltv: float, price_e36: int) -> None:
        stage = self.stage
        pool, victim = stage.pools[leg], self.accounts[borrower]
        received = stage.token if leg == "reverse" else stage.usdt
        capital, flash = self.liquidators[CAPITAL], self.liquidators[FLASH]
        route = stage.dex.route(received)
        ways: list[tuple[str, Call]] = [
            (
                FLASH,
                stage.liquidator.liquidate.bind(pool, victim, MAX, stage.swapper, route, 1, flash),
            ),
            (CAPITAL, pool.liquidate.bind(victim, MAX, capital, b"")),
        ]
        if leg == "forward":
            purchase = self.liquidators[PURCHASE]
            ways.append((PURCHASE, pool.liquidate_by_purchase.bind(victim, purchase)))
        self._turn += 1
        turn = self._turn % len(ways)
        for by, call in ways[turn:] + ways[:turn]:
            party = self.liquidators[by]
            try:
                if by == CAPITAL and not self._pays(leg, call):
                    continue
                receipt = self._send(call, party)
            except Reverted:
                # not worth it at Uniswap's price, or not enough in hand: the next one tries
                continue
            event = (receipt.events("Liquidate") + receipt.events("LiquidateByPurchase"))[0]
            debt_unit, paid_unit = (
                (USDT_UNIT, TOKEN_UNIT) if leg == "reverse" else (TOKEN_UNIT, USDT_UNIT)
            )
            seized = event.seized if event.name == "Liquidate" else event.cost + event.tip
            self.results.liquidations.append(
                Liquidation(
                    time=stage.chain.timestamp,
                    leg=leg,
                    borrower=borrower,
                    by=by,
                    ltv=ltv,
                    repaid=event.repaid / debt_unit,
                    seized=seized / paid_unit,
                    price=price_of(price_e36),
                )
            )
            if by == CAPITAL:
                self._rebalance(leg, event.seized, event.repaid)
            return

    def _pays(self, leg: str, call: Call) -> bool:
        """Whether the liquidator with capital would earn something, tried out and undone."""
        chain, usdt, capital = self.stage.chain, self.stage.usdt, self.liquidators[CAPITAL]
        before = int(usdt.balanceOf(capital))
        with chain.anchor():
            receipt = chain.transact(Call(call.to, call.data, call.function, capital))
            event = receipt.events("Liquidate")[0]
            self._rebalance(leg, event.seized, event.repaid)
            after = int(usdt.balanceOf(capital))
        return after > before

    def _rebalance(self, leg: str, seized: int, repaid: int) -> None:
        """The liquidator with capital goes back to what he had, at Uniswap's price."""
        stage, capital = self.stage, self.liquidators[CAPITAL]
        if leg == "reverse":
            stage.dex.swap(capital, stage.token, seized)
        else:
            order = (
                stage.usdt,
                stage.token,
                POOL_FEE,
                capital.address,
                MAX,
                repaid,
                stage.usdt.balanceOf(capital),
                0,
            )
            stage.dex.router.exactOutputSingle(order, sender=capital)

    # -- records --

    def _rates(self, leg: str, books: Books) -> LegRecord:
        """A leg's rates as the contract computes them, in floats."""
        pool, parameters = books.pools[leg], self.legs[leg]
        utilisation, kink = pool.utilisation, parameters.kink / WAD
        base = parameters.base_rate + parameters.slope1 * min(utilisation, kink) / kink
        base += parameters.slope2 * max(utilisation - kink, 0) / (1 - kink)
        fresh = books.time <= pool.funding_time + parameters.funding_max_age
        directed = pool.funding_wad if leg == "reverse" else -pool.funding_wad
        premium = parameters.pass_through / WAD * max(directed, 0) if fresh else 0.0
        borrow_rate = min(base + premium, parameters.rate_cap) / WAD
        unit = USDT_UNIT if leg == "reverse" else TOKEN_UNIT
        return LegRecord(
            assets=pool.assets / unit,
            debt=pool.debt / unit,
            utilisation=utilisation,
            borrow_rate=borrow_rate,
            supply_rate=borrow_rate * utilisation * (1 - float(FEE)),
            premium=premium / WAD,
            share_price=(pool.assets + 1) / (pool.shares + 10**6) * 10**6,
            worst_ltv=0.0,
        )

    def _record(self, step: Step) -> Record:
        """Check all books and write down where the market stands."""
        stage, chain = self.stage, self.stage.chain
        books = self.bookkeeper.read()
        self.bookkeeper.check(books, self._minted)
        if self.results.records:
            duration = step.time - self.results.records[-1].time
            for actor in self.actors:
                holding = self._books.holdings[actor.name]
                lent = holding.lent_usdt if actor.leg == "reverse" else holding.lent_tokens
                self.results.lent_seconds[actor.name] += lent * duration
        self._books = books
        ema, _, volatility, borrow_ltv, answer = chain.read(
            [
                stage.funding_oracle.feed.bind(stage.token),
                stage.price_feed.spacing.bind(),
                stage.price_oracle.volatility.bind(),
                stage.reverse.borrow_ltv.bind(),
                stage.price_feed.latestRoundData.bind(),
            ]
        )
        price_e36 = answer[1] * 10**6
        worst = [
            max((ltvs(each, price_e36)[side] for each in books.accounts.values()), default=0.0)
            for side in (0, 1)
        ]
        last = self.history.settlement_at(step.time)
        record = Record(
            time=step.time,
            price=price_of(price_e36),
            funding=float(last.annual_rate) if last else math.nan,
            funding_ema=ema.ema_wad / WAD,
            volatility=None if volatility == MAX else volatility / WAD,
            borrow_ltv=borrow_ltv / WAD,
            reverse=_with_ltv(self._rates("reverse", books), worst[0]),
            forward=_with_ltv(self._rates("forward", books), worst[1]),
            perp_short=sum(max(-each.perp_position, 0) for each in books.accounts.values())
            / TOKEN_UNIT,
        )
        self.results.records.append(record)
        return record

    def _first_price(self) -> Decimal:
        return first_price(self.history)


def first_price(history: MarketHistory) -> Decimal:
    """The price at the first settlement that has one."""
    for each in history.settlements:
        price = history.price_at(each.time)
        if price is not None:
            return price
    raise DemoError(f"{history.symbol} has no prices in this range")


def ltvs(holding: Holding, price_e36: int) -> tuple[float, float]:
    """LTV of a holding's loan and of its short; 0 where there is none."""
    value = holding.collateral * price_e36 // 10**36
    short_value = holding.short_debt * price_e36 / 10**36
    return (
        holding.debt / value if value else 0.0,
        short_value / holding.short_collateral if holding.short_collateral else 0.0,
    )


def e36(price: Decimal) -> int:
    """USDT a token in the contracts' scale."""
    return int(price.scaleb(36 + 6 - 18))


def price_of(price_e36: int) -> float:
    """USDT a token."""
    return price_e36 / 10**24


def _vault(stage: Stage, actor: Actor) -> Any:
    """The contract of the carry vault of somebody's choice."""
    assert isinstance(actor, VaultHolder)
    return stage.vaults[actor.vault].contract


def _with_ltv(record: LegRecord, worst_ltv: float) -> LegRecord:
    return LegRecord(**{**record.__dict__, "worst_ltv": worst_ltv})
