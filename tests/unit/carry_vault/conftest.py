"""A carry vault over a whole market: several decimals, a scripted and the product's venue."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from perpool.evm import Account, Evm
from tests.vaults import KEEP, NEUTRAL, Vault, deploy_vault

KINDS = {
    "6 and 6 decimals": (6, 6, False),
    "18 and 6 decimals": (18, 6, False),
    "24 and 6 decimals": (24, 6, False),
    "18 and 18 decimals": (18, 18, False),
    "PerpVenue, 8 and 6 decimals": (8, 6, True),
    "PerpVenue, 18 and 6 decimals": (18, 6, True),
}
"""Decimals of token and USDT, both USDT-like, and whether the venue is the product's."""


@pytest.fixture(scope="module", params=KINDS.values(), ids=KINDS.keys())
def deployed(chain: Evm, request: pytest.FixtureRequest) -> Iterator[Vault]:
    """Vaults that keep their tokens, empty and lending, by decimals and venue."""
    token_decimals, usdt_decimals, real_venue = request.param
    with chain.anchor():
        yield deploy_vault(
            chain,
            KEEP,
            token_decimals=token_decimals,
            usdt_decimals=usdt_decimals,
            real_venue=real_venue,
        )


@pytest.fixture(scope="module")
def deployed_plain(chain: Evm) -> Iterator[Vault]:
    with chain.anchor():
        yield deploy_vault(chain, KEEP)


@pytest.fixture(scope="module")
def deployed_neutral(chain: Evm) -> Iterator[Vault]:
    with chain.anchor():
        yield deploy_vault(chain, NEUTRAL)


@pytest.fixture
def vault(evm: Evm, deployed: Vault) -> Vault:
    """One of every kind."""
    return deployed.refresh()


@pytest.fixture
def plain(evm: Evm, deployed_plain: Vault) -> Vault:
    """With 18 and 6 decimals and a venue that does as it is told."""
    return deployed_plain.refresh()


@pytest.fixture
def neutral(evm: Evm, deployed_neutral: Vault) -> Vault:
    """As `plain`, fully hedged and free to sell."""
    return deployed_neutral.refresh()


@pytest.fixture
def alice(evm: Evm) -> Account:
    return evm.account("alice")


@pytest.fixture
def bob(evm: Evm) -> Account:
    return evm.account("bob")


@pytest.fixture
def keeper(evm: Evm) -> Account:
    """Rebalances and settles; holds nothing."""
    return evm.account("keeper")
