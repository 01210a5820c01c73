"""`FundingOracle.__init__`."""

import pytest

from perpool.evm import Evm, reverts


@pytest.mark.parametrize("max_age", [0, 59, 86_401, 2**256 - 1])
def test_constructor__report_age_out_of_bounds(evm: Evm, max_age: int) -> None:
    with reverts("report age out of bounds"):
        evm.deploy("FundingOracle", max_age)


@pytest.mark.parametrize("max_age", [60, 900, 86_400])
def test_constructor__succeeds(evm: Evm, max_age: int) -> None:
    owner = evm.account("owner")
    oracle = evm.deploy("FundingOracle", max_age, sender=owner)
    assert oracle.max_report_age() == max_age
    assert oracle.owner() == owner.address
    assert oracle.reporters() == []
    assert oracle.quorum() == 0
    assert oracle.funding(owner) == (0, 0)


def test_constructor__no_round_before_there_are_reporters(evm: Evm) -> None:
    oracle = evm.deploy("FundingOracle", 900)
    with reverts("unknown or repeated signer"):
        oracle.submit(evm.timestamp, [], b"", [])
