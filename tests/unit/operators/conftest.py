"""The registry of operators, and who uses it."""

from collections.abc import Iterator

import pytest

from perpool.evm import Account, Contract, Evm


@pytest.fixture(scope="module")
def operators(chain: Evm) -> Iterator[Contract]:
    with chain.anchor():
        yield chain.deploy("Operators")


@pytest.fixture(autouse=True)
def _isolate(evm: Evm) -> None:
    """Undo what a test does."""


@pytest.fixture
def holder(evm: Evm) -> Account:
    return evm.account("holder")


@pytest.fixture
def operator(evm: Evm) -> Account:
    return evm.account("operator")
