"""Reward streams on both pools of a market."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from perpool.evm import Account, Contract, Evm
from tests.rewards import Rewards


@pytest.fixture(scope="module")
def deployed(chain: Evm) -> Iterator[Rewards]:
    with chain.anchor():
        yield Rewards.deploy(chain)


@pytest.fixture
def rewards(evm: Evm, deployed: Rewards) -> Rewards:
    """A reward token of 18 decimals without return values; nobody has lent yet."""
    return deployed


@pytest.fixture
def pool(rewards: Rewards) -> Contract:
    return rewards.market.reverse


@pytest.fixture
def programme(rewards: Rewards, pool: Contract) -> int:
    """For lenders of USDT, without a stream yet."""
    return rewards.add(pool)


@pytest.fixture
def lender(rewards: Rewards) -> Account:
    return rewards.evm.account("lender")
