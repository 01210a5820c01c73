"""Root of the fixture tree: the chain that every test gets to itself."""

from collections.abc import Iterator

import pytest
import structlog

from perpool.evm import Evm


@pytest.fixture(scope="session")
def chain() -> Evm:
    """The machine behind all tests of one process.

    Fixtures of a wider scope than a test deploy on it once, within `chain.anchor()`, so that
    whatever they leave is undone when their scope ends.
    """
    return Evm()


@pytest.fixture
def evm(chain: Evm) -> Iterator[Evm]:
    """The chain as the wider fixtures left it; what the test does is undone."""
    with chain.anchor():
        yield chain


@pytest.fixture(autouse=True)
def plain_logs() -> Iterator[None]:
    """No test leaves its log's level and format to the next of the same process."""
    yield
    structlog.reset_defaults()
