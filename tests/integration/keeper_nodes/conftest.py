"""A real anvil, and proxies before it that may be down, slow, behind, or lie."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from perpool.anvil import Anvil
from perpool.chain import Chain, Contract
from perpool.keeper.transactions.fees import GWEI
from tests.integration.keeper_nodes.faulty import KEY
from tests.rpc_proxy import RpcProxy


@pytest.fixture(scope="module")
def anvil() -> Iterator[Anvil]:
    with Anvil(base_fee=GWEI) as anvil:
        yield anvil


@pytest.fixture(scope="module")
def chain(anvil: Anvil) -> Chain:
    chain = Chain.connect(anvil.endpoint)
    chain.set_balance(KEY.address, 10**20)
    return chain


@pytest.fixture(scope="module")
def probe(chain: Chain) -> Contract:
    probe = chain.deploy("Probe", 3)
    chain.mine(30)
    return probe


@pytest.fixture
def three(anvil: Anvil, probe: Contract) -> Iterator[list[RpcProxy]]:
    proxies = [RpcProxy(anvil.http_url) for _ in range(3)]
    yield proxies
    for each in proxies:
        each.down()
