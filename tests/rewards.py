"""A market with reward streams attached to both of its pools, and what tests do with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from perpool.build import Artifact
from perpool.evm import Account, Contract, Evm
from tests.market import MAX, Market, deploy_market

HOLDERS, BORROWERS = 1, 2
HOUR, DAY = 3_600, 86_400
MONTH = 30 * DAY
ROUNDING = 2**-15
"""Largest part by which a stream lasts longer than asked."""


@dataclass(frozen=True)
class Rewards:
    """Both pools tell `stream`; the reward token has as many decimals as was asked for."""

    market: Market
    stream: Contract
    token: Contract
    project: Account

    @classmethod
    def deploy(
        cls,
        evm: Evm,
        *,
        artifact: str | Artifact = "RewardStream",
        decimals: int = 18,
        attached: bool = True,
        standard: bool = True,
    ) -> Rewards:
        """On a market of its own, as its standard hook or any other of the factory's list."""

        def deploy_stream(factory: Contract, operators: Contract) -> Contract:
            return evm.deploy(artifact, factory, operators)

        market = deploy_market(evm, make_hook=deploy_stream if standard else None)
        stream = market.standard_hook
        if not isinstance(stream, Contract):
            stream = deploy_stream(market.factory, market.operators)
            market.factory.allow_hook(stream, True, sender=market.owner)
        rewards = cls(market, stream, evm.deploy("UsdtLike", decimals), evm.account("project"))
        if attached:
            rewards.attach()
        return rewards

    @property
    def evm(self) -> Evm:
        return self.market.evm

    @property
    def whole(self) -> int:
        """Units of a whole reward token."""
        return int(10 ** self.token.decimals())

    def attach(self, *, hook: Any = None) -> None:
        """To both pools; another hook, or the zero address for none, if given."""
        for pool in (self.market.reverse, self.market.forward):
            self.market.factory.set_hook(pool, hook or self.stream, sender=self.market.owner)

    def add(self, source: Contract, side: int = HOLDERS, token: Contract | None = None) -> int:
        """A programme's id."""
        return int(
            self.stream.add_programme(
                source, side, token or self.token, self.project, sender=self.market.owner
            )
        )

    def fund(
        self, id_: int, amount: int, duration: int = MONTH, *, token: Contract | None = None
    ) -> int:
        """Mint to the project and stream; gives the end."""
        token = token or self.token
        token.mint(self.project, amount, sender=self.project)
        if token.allowance(self.project, self.stream) < amount:
            token.approve(self.stream, MAX, sender=self.project)
        return int(self.stream.stream(id_, amount, duration, sender=self.project))

    def claim(self, id_: int, account: Account) -> int:
        """By the account, to itself."""
        (amount,) = self.stream.claim([id_], account, account, sender=account)
        return int(amount)

    def lend(self, name: str, usdt: float) -> Account:
        """To the reverse pool."""
        return self.market.lend(name, usdt=self.market.usd(usdt))

    def leave(self, account: Account) -> None:
        """With all shares of the reverse pool."""
        pool = self.market.reverse
        pool.redeem(pool.balanceOf(account), account, account, sender=account)
