"""A funding oracle with five reporters, a quorum of three and six tokens."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from perpool.evm import Account, Contract, Evm
from perpool.reports import Domain
from tests.oracles import Panel, token_list

WAD = 10**18
UNIT = 10**9
"""WAD in one unit of a rate."""
MAX_AGE = 900
LOWER, UPPER = -5 * 10**9, 5 * 10**9
"""Bounds of every token, in units: 500 % a year."""
TAU = 86_400


@dataclass(frozen=True)
class Bench:
    """The oracle, who may do what with it, and the tokens it knows."""

    evm: Evm
    oracle: Contract
    panel: Panel
    owner: Account
    anyone: Account
    tokens: list[str]

    def funding(self, token: int = 0) -> tuple[int, int]:
        """(EMA in units, its time) of a token."""
        ema_wad, observed_at = self.oracle.funding(self.tokens[token])
        assert ema_wad % UNIT == 0
        return ema_wad // UNIT, observed_at


@pytest.fixture(scope="module")
def bench(chain: Evm) -> Iterator[Bench]:
    with chain.anchor():
        owner = chain.account("owner")
        oracle = chain.deploy("FundingOracle", MAX_AGE, sender=owner)
        panel = Panel.seat(chain, oracle, Domain.of_funding_oracle, owner=owner)
        tokens = token_list(chain, 6)
        for token in tokens:
            oracle.set_feed(token, LOWER * UNIT, UPPER * UNIT, TAU, sender=owner)
        yield Bench(chain, oracle, panel, owner, chain.account("anyone"), tokens)
