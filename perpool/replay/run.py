"""The replay: hour by hour the model says what is due, the contracts do it, both are compared.

At each settlement the keeper tells pools and venue of the new funding, as it does in operation; and
lenders come or go where a pool has drifted from the utilisation that is stated. Every `every` hours
the model is asked of each vault whether a call is due. Only then is anything sent to the chain:
feeds, what is due, and the comparison of all that vaults, venue and pools store.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

from perpool.history import HOUR, MarketHistory
from perpool.reference.arithmetic import PRICE_SCALE
from perpool.reference.carry import CarryStrategy
from perpool.reference.carry_vault import CarryVault
from perpool.reference.interest import borrow_rate
from perpool.reference.targets import CarryParameters
from perpool.reference.wad import WAD
from perpool.replay import silo
from perpool.replay.record import Bounds, Held, Record
from perpool.replay.stage import HOLDER, KEEPER, Conditions, Stage, venue_parameters
from perpool.replay.summary import Results
from perpool.replay.timeline import Moment

CHECKED_EVERY = 24
"""Hours between two full comparisons where nothing is due."""
MOST_CALLS = 5
"""Of one vault in one hour; more would mean that what is due is never done."""


class Replay:
    """Plays one history. Fractions unless they are said to be WAD."""

    def __init__(
        self,
        history: MarketHistory,
        moments: list[Moment],
        conditions: Conditions,
        *,
        presets: Mapping[str, CarryParameters],
        every: int = 1,
        wicks: bool = False,
        silo_ltv: float = 0.6,
    ) -> None:
        self.history, self.moments, self.conditions = history, moments, conditions
        self.presets, self.every, self.wicks, self.silo_ltv = presets, every, wicks, silo_ltv
        self.records: dict[str, Record] = {}
        self.rates: list[float] = []
        """The pool's borrow rate, of each moment until the next."""
        self.checks = 0

    def run(self) -> Iterator[Moment]:
        """Play all hours; gives each when it is done. Raises StageError where the two differ."""
        interval = max(each.hours for each in self.history.settlements) * HOUR
        self.stage = Stage(self.moments[0], self.conditions, venue_parameters(interval))
        self._enter(self.moments[0], self.moments[1])
        self.rates.append(self._borrow_rate())
        yield self.moments[0]
        for index, (before, moment) in enumerate(pairwise(self.moments), start=1):
            self._play(index, before, moment)
            self.rates.append(self._borrow_rate())
            yield moment

    def _enter(self, first: Moment, second: Moment) -> None:
        """Each vault gets its deposit: asked for a minute early, settled at the first price."""
        stage, deposit = self.stage, self.conditions.deposit
        tokens = deposit * PRICE_SCALE // first.price_e36
        for name, parameters in self.presets.items():
            vault = stage.add_vault(name, parameters)
            stage.fund(HOLDER, tokens=tokens)
            stage.do(name, "requestDeposit", HOLDER, tokens, HOLDER, HOLDER)
        stage.look(first._replace(time=first.time + 60))
        stage.move()
        bounds = Bounds(
            stage.venue_parameters.maintenance_margin / WAD,
            stage.legs[0].liquidation_ltv / WAD,
        )
        for name, vault in stage.vaults.items():
            stage.do(name, "settle_deposit", KEEPER, HOLDER)
            shares = vault.memory.claims[HOLDER].shares_out
            stage.do(name, "mint", HOLDER, shares, HOLDER, HOLDER)
            self.records[name] = Record(name, bounds, self.wicks)
            self.records[name].begin(first, held(vault.strategy))
        self._compare()

    def _play(self, index: int, before: Moment, moment: Moment) -> None:
        stage = self.stage
        stage.look(moment)
        waiting = {name: held(vault.strategy) for name, vault in stage.vaults.items()}
        synced = acted = False
        if moment.observed_at != before.observed_at or moment.accruing_wad != before.accruing_wad:
            self._sync()
            synced = True
        if index % self.every == 0:
            for name, vault in stage.vaults.items():
                acted = self._call(name, vault) or acted
        if acted or index % CHECKED_EVERY == 0:
            stage.move()
            self._compare(views=index % CHECKED_EVERY == 0)
        elif synced:
            stage.compare_totals()
        rate = self._borrow_rate()
        for name, vault in stage.vaults.items():
            self.records[name].hour(
                moment,
                waiting[name],
                held(vault.strategy),
                holders=vault.memory.shares[HOLDER] / vault.memory.total,
                borrow_rate=rate,
            )

    def _sync(self) -> None:
        """The keeper's round."""
        stage = self.stage
        stage.move()
        stage.do("reverse", "sync_funding", KEEPER)
        stage.do("forward", "sync_funding", KEEPER)
        if stage.venue.memory.state.short_size:
            # whose account it is does not matter to the rate
            vault = next(iter(stage.vaults.values()))
            stage.do("perp", "settle_funding", KEEPER, vault.strategy.name)
        stage.hold_utilisation()

    def _call(self, name: str, vault: CarryVault) -> bool:
        """Calls while any is due. Whether there were any."""
        stage, record = self.stage, self.records[name]
        for calls in range(MOST_CALLS):
            if not vault.strategy.is_due():
                return calls > 0
            stage.move()
            done = stage.do(name, "rebalance", KEEPER)
            record.calls += 1
            record.gas += stage.receipt.gas_used
            if not done:
                return True
        return True

    def _compare(self, *, views: bool = True) -> None:
        self.stage.compare(views=views)
        self.checks += 1

    def _borrow_rate(self) -> float:
        """What the reverse pool charges from now on."""
        pool, stage = self.stage.model.reverse, self.stage
        return borrow_rate(pool.leg, stage.used("reverse"), pool.state.funding_wad) / WAD

    def results(self) -> Results:
        """After the run."""
        stage, leg = self.stage, self.stage.legs[0]
        terms = silo.Terms(
            ltv=self.silo_ltv,
            liquidation_ltv=leg.liquidation_ltv / WAD,
            bonus=leg.bonus_base / WAD,
            maintenance=stage.venue_parameters.maintenance_margin / WAD,
            venue_fee=stage.venue_parameters.fee / WAD,
            slippage=self.conditions.slippage / WAD,
        )
        for name, vault in stage.vaults.items():
            self.records[name].tips = vault.memory.shares[KEEPER] / vault.memory.total
        conditions = self.conditions
        return Results(
            history=self.history,
            moments=self.moments,
            every=self.every,
            wicks=self.wicks,
            assumptions={
                "usdt_utilisation": conditions.usdt_utilisation / WAD,
                "token_utilisation": conditions.token_utilisation / WAD,
                "slippage": conditions.slippage / WAD,
                "fee": stage.venue_parameters.fee / WAD,
            },
            records=self.records,
            survival=silo.survival(self.moments, self.rates, terms),
            chain=silo.restarted(self.moments, self.rates, terms, wicks=self.wicks),
            silo_ltv=self.silo_ltv,
            transactions=stage.transactions,
            checks=self.checks,
        )


def held(strategy: CarryStrategy) -> Held:
    """What a vault has by the model, as of now."""
    book = strategy.book()
    return Held(
        book.idle,
        book.lent,
        book.collateral,
        book.debt,
        book.short,
        book.equity,
        book.cash,
        strategy.memory.carrying,
    )
