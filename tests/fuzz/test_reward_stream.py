"""Random play on both pools with reward streams: the chain is the reference model to the unit.

Lenders and borrowers come, go, transfer and are liquidated, time passes, projects stream and stop,
accounts claim, and now and then the hook is detached for a while. After every step each programme
and each account in it is what `perpool.reference.rewards` says, and no programme owes more than it
holds.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from perpool.evm import Account, Contract, Evm, Reverted
from perpool.reference.rewards import Programme
from perpool.reference.wad import WAD
from tests.invariants.steps import require
from tests.market import MAX, ZERO_ADDRESS, Market
from tests.pools import calm
from tests.rewards import BORROWERS, DAY, HOLDERS, HOUR, MONTH, Rewards

NAMES = ("ann", "ben", "cat", "dan", "eve")
STEPS = 250
EXPECTED = frozenset(
    {"unhealthy position", "healthy position", "below minimum debt", "insufficient cash"}
)
"""Reasons for which a step may fail."""


@dataclass
class Play:
    """The chain, the model, and one step of each kind."""

    rewards: Rewards
    rng: random.Random
    models: dict[int, Programme] = field(default_factory=dict)
    attached: bool = True
    done: Counter[str] = field(default_factory=Counter)
    paid: Counter[tuple[int, str]] = field(default_factory=Counter)
    """By claims of the step, by programme and account."""
    rounding: Counter[int] = field(default_factory=Counter)
    """What may be lost by it so far, by programme."""

    def __post_init__(self) -> None:
        self.tokens = (self.rewards.token, self.evm.deploy("UsdtLike", 6))

    @property
    def market(self) -> Market:
        return self.rewards.market

    @property
    def evm(self) -> Evm:
        return self.rewards.evm

    @property
    def pools(self) -> tuple[Contract, Contract]:
        return self.market.reverse, self.market.forward

    @property
    def actors(self) -> list[Account]:
        return [self.evm.account(name) for name in NAMES]

    def add(self, pool: Contract, side: int, token: Contract) -> None:
        """A programme, on chain and in the model."""
        id_ = self.rewards.add(pool, side, token)
        self.models[id_] = Programme.start(
            self.evm.timestamp, pool.decimals(), int(token.decimals())
        )

    # --- what happens to the model

    def shares(self, id_: int, account: Account) -> int:
        programme = self.rewards.stream.programme(id_)
        pool = next(each for each in self.pools if each.address == programme.source)
        reader = pool.debt_shares_of if programme.side == BORROWERS else pool.balanceOf
        return int(reader(account))

    def holdings(self) -> dict[tuple[str, int, str], int]:
        """Shares by pool, side and account."""
        return {
            (pool.address, side, account.name): reader(account)
            for pool in self.pools
            for side, reader in ((HOLDERS, pool.balanceOf), (BORROWERS, pool.debt_shares_of))
            for account in self.actors
        }

    def hear(self, pool: str, side: int, name: str) -> None:
        for id_, model in self.models.items():
            programme = self.rewards.stream.programme(id_)
            if (programme.source, programme.side) == (pool, side):
                shares = self.shares(id_, self.evm.account(name))
                model.hear(self.evm.timestamp, name, shares, attached=self.attached)

    def act(self, call: Callable[[], Any], told: tuple[tuple[str, int, str], ...] = ()) -> None:
        """A call that moves shares; whoever has others after it was told of, and `told` too."""
        before = self.holdings()
        call()
        assert not self.evm.last.events("HookFailed")
        if self.attached:
            after = self.holdings()
            for key in dict.fromkeys((*told, *(key for key in after if after[key] != before[key]))):
                self.hear(*key)

    # --- steps

    def deposit(self) -> None:
        pool, account = self.rng.choice(self.pools), self.rng.choice(self.actors)
        amount = self.rng.choice([1, 10, 1_000, 50_000]) * 10 ** (
            6 if pool == self.market.reverse else 18
        )
        self.act(lambda: pool.deposit(amount, account, sender=account))

    def redeem(self) -> None:
        pool, account = self.rng.choice(self.pools), self.rng.choice(self.actors)
        shares = pool.maxRedeem(account)
        if shares:
            part = self.rng.choice([shares, shares, shares // 2 + 1])
            self.act(lambda: pool.redeem(part, account, account, sender=account))
            self.done["redeemed"] += 1

    def transfer(self) -> None:
        pool = self.rng.choice(self.pools)
        account, receiver = self.rng.choice(self.actors), self.rng.choice(self.actors)
        shares = pool.balanceOf(account)
        if shares:
            part = self.rng.choice([shares, shares // 3 + 1, 1])
            told = tuple((pool.address, HOLDERS, each.name) for each in (account, receiver))
            self.act(lambda: pool.transfer(receiver, part, sender=account), told)
            self.done["transferred"] += 1

    def borrow(self) -> None:
        account, amount = self.rng.choice(self.actors), self.rng.choice([20, 300, 2_000])
        collateral = self.market.tokens(amount / 5)
        self.act(
            lambda: self.market.reverse.supply_collateral_and_borrow(
                collateral, self.market.usd(amount), account, account, sender=account
            )
        )

    def short(self) -> None:
        account, amount = self.rng.choice(self.actors), self.rng.choice([2, 30, 200])
        price = self.market.feed.latestAnswer() // 10**8
        margin = self.market.usd(amount * price)
        self.act(
            lambda: self.market.short(
                account.name, margin=margin, tokens=self.market.tokens(amount)
            )
        )

    def repay(self) -> None:
        pool, account = self.rng.choice(self.pools), self.rng.choice(self.actors)
        if pool.debt_shares_of(account):
            self.act(lambda: pool.repay(MAX, account, sender=account))
            self.done["repaid"] += 1

    def liquidate(self) -> None:
        """At a price that makes somebody unhealthy, which then goes back."""
        pool, account = self.rng.choice(self.pools), self.rng.choice(self.actors)
        if not pool.debt_shares_of(account):
            return
        answer = self.market.feed.latestAnswer()
        moved = answer * 6 // 10 if pool == self.market.reverse else answer * 16 // 10
        self.market.feed.set(moved)
        liquidator = self.evm.account("liquidator")
        try:
            self.act(lambda: pool.liquidate(account, MAX, liquidator, b"", sender=liquidator))
            self.done["liquidated"] += 1
        finally:
            self.market.feed.set(answer)

    def wait(self) -> None:
        self.evm.warp(self.rng.choice([0, 1, HOUR, DAY, 3 * DAY]))
        self.market.refresh_price()

    def fund(self) -> None:
        id_ = self.rng.choice(list(self.models))
        model = self.models[id_]
        programme = self.rewards.stream.programme(id_)
        token = next(each for each in self.tokens if each.address == programme.token)
        amount = self.rng.randrange(1, 10**6) * model.whole // 1_000 + self.rng.randrange(1_000)
        duration = self.rng.choice([HOUR, DAY, MONTH, self.rng.randrange(HOUR, MONTH)])
        self.rewards.fund(id_, amount, duration, token=token)
        model.stream(self.evm.timestamp, amount, duration)

    def stop(self) -> None:
        id_ = self.rng.choice(list(self.models))
        project = self.rewards.project
        returned = self.rewards.stream.stop(id_, project, sender=project)
        assert returned == self.models[id_].stop(self.evm.timestamp)

    def claim(self) -> None:
        account = self.rng.choice(self.actors)
        ids = self.rng.sample(list(self.models), 3)
        amounts = self.rewards.stream.claim(ids, account, account, sender=account)
        expected = [self.models[id_].claim(self.evm.timestamp, account.name) for id_ in ids]
        assert amounts == expected
        self.paid.update(
            {(id_, account.name): paid for id_, paid in zip(ids, amounts, strict=True)}
        )
        self.done["paid"] += any(amounts)

    def switch(self) -> None:
        """Detach, or attach again."""
        self.rewards.attach(hook=ZERO_ADDRESS if self.attached else None)
        self.attached = not self.attached

    def sync(self) -> None:
        pool = self.rng.choice(self.pools)
        names = self.rng.sample(NAMES, 3)
        accounts = [self.evm.account(name) for name in names]
        self.rewards.stream.sync(pool, accounts, sender=self.rewards.project)
        for name in names:
            for side in (HOLDERS, BORROWERS):
                self.hear(pool.address, side, name)

    # --- whether both say the same

    def compare(self) -> None:
        held: Counter[str] = Counter()
        for id_, model in self.models.items():
            seen = self.rewards.stream.programme(id_)
            stored = (model.updated_at, model.left, model.index)
            model.advance(self.evm.timestamp)
            assert (seen.weight, seen.rate, seen.updated_at, seen.ends_at, seen.held) == (
                model.weight,
                model.rate if model.left else 0,
                model.updated_at,
                model.ends_at,
                model.held,
            )
            assert seen.unstreamed == model.unstreamed * model.whole // WAD
            weights = 0
            for account in self.actors:
                entry = model.entries[account.name]
                weights += entry.weight
                assert self.rewards.stream.weight_of(id_, account) == entry.weight
                earned = model.units_earned_by(account.name)
                assert self.rewards.stream.earned(id_, account) == earned
            require(weights == model.weight, "RWD-1", f"{weights} is not {model.weight}")
            dust = model.held * WAD // model.whole - model.owed(NAMES)
            require(dust >= 0, "RWD-2", f"it owes {-dust} more than it holds")
            self.rounding[id_] += (model.weight >> 16) + len(NAMES) + WAD // model.whole
            require(dust <= self.rounding[id_], "RWD-5", f"{dust} is lost")
            held[seen.token] += model.held
            model.updated_at, model.left, model.index = stored
        for token in self.tokens:
            balance = token.balanceOf(self.rewards.stream)
            require(balance == held[token.address], "RWD-3", f"{balance} for {held}")

    def earned(self) -> dict[tuple[int, str], int]:
        """Token units by programme and account, as of the newest block."""
        return {
            (id_, account.name): self.rewards.stream.earned(id_, account)
            for id_ in self.models
            for account in self.actors
        }

    def step(self, name: str) -> None:
        """One, in a block of its own."""
        if name == "wait":
            self.wait()
            return
        self.evm.mine()
        self.paid.clear()
        before = self.earned()
        with self.evm.same_block():
            getattr(self, name)()
        after = self.earned()
        for key, amount in before.items():
            now = after[key] + self.paid[key]
            require(now == amount, "RWD-4", f"{name} made {now} of {amount}")


@pytest.fixture(scope="module", params=[True, False], ids=["standard", "another"])
def rewards(chain: Evm, request: pytest.FixtureRequest) -> Iterator[Rewards]:
    """The pools' standard hook, or one whose address they look up."""
    with chain.anchor():
        rewards = Rewards.deploy(chain, standard=request.param)
        market = rewards.market
        for name in (*NAMES, "liquidator"):
            account = chain.account(name)
            market.give(account, usdt=market.usd(10**7), tokens=market.tokens(10**6))
        market.lend("always there", usdt=market.usd(10_000), tokens=market.tokens(1_000))
        calm(market)
        yield rewards


STEP_NAMES = (
    *("deposit", "redeem", "transfer", "borrow", "short", "repay", "liquidate"),
    *("wait", "wait", "fund", "stop", "claim", "claim", "switch", "sync"),
)


@pytest.mark.parametrize("seed", range(4))
def test_play__is_the_model(evm: Evm, rewards: Rewards, seed: int) -> None:
    play = Play(rewards, random.Random(seed))
    for pool in play.pools:
        for side, token in ((HOLDERS, 0), (BORROWERS, 1), (HOLDERS, 1)):
            play.add(pool, side, play.tokens[token])
    for _ in range(STEPS):
        step = play.rng.choice(STEP_NAMES)
        try:
            play.step(step)
            play.done[step] += 1
        except Reverted as reverted:
            if reverted.reason not in EXPECTED:
                raise
        play.compare()
    often = ("deposit", "borrow", "short", "wait", "fund", "stop", "switch", "sync")
    assert all(play.done[step] >= 5 for step in often), play.done
    rarer = ("redeemed", "transferred", "repaid", "liquidated", "paid")
    assert all(play.done[step] for step in rarer), play.done
