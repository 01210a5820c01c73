"""A price feed with five reporters, a quorum of three, and a first price of 10."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from perpool.evm import Account, Contract, Evm, Receipt
from perpool.reports import Domain
from tests.oracles import Panel

WAD = 10**18
MAX_AGE = 300
SPACING = 60
MAX_MOVE = WAD // 5
PRICE = 10 * WAD


@dataclass(frozen=True)
class Bench:
    """The feed and who may do what with it."""

    evm: Evm
    feed: Contract
    panel: Panel
    owner: Account
    anyone: Account
    token: str

    def submit(self, prices: Sequence[int | None], at: int | None = None) -> Receipt:
        """Send a round, of this moment if no other is given."""
        at = self.evm.timestamp if at is None else at
        return self.feed.submit.transact(
            *self.panel.price_round(at, self.token, prices), sender=self.anyone
        )


@pytest.fixture(scope="module")
def blank(chain: Evm) -> Iterator[Bench]:
    """Without a round."""
    with chain.anchor():
        owner = chain.account("owner")
        token = chain.account("token").address
        feed = chain.deploy(
            "PriceFeed", token, "TKN / USDT", MAX_AGE, SPACING, MAX_MOVE, sender=owner
        )
        panel = Panel.seat(chain, feed, Domain.of_price_feed, owner=owner)
        yield Bench(chain, feed, panel, owner, chain.account("anyone"), token)


@pytest.fixture
def bench(blank: Bench, evm: Evm) -> Bench:
    """With a first price, a minute ago."""
    blank.submit([PRICE] * 3)
    evm.warp(SPACING)
    return blank
