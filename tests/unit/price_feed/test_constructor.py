"""`PriceFeed.__init__` and what it fixes."""

import pytest

from perpool.evm import Evm, reverts
from tests.oracles import ZERO_ADDRESS

WAD = 10**18
TOKEN = "0x" + "77" * 20


def test_constructor__zero_address(evm: Evm) -> None:
    with reverts("zero address"):
        evm.deploy("PriceFeed", ZERO_ADDRESS, "TKN / USDT", 300, 60, WAD // 5)


@pytest.mark.parametrize("spacing", [0, 9, 3_601])
def test_constructor__spacing_out_of_bounds(evm: Evm, spacing: int) -> None:
    with reverts("spacing out of bounds"):
        evm.deploy("PriceFeed", TOKEN, "TKN / USDT", 300, spacing, WAD // 5)


@pytest.mark.parametrize("max_move", [0, WAD // 20 - 1, WAD // 2 + 1, WAD])
def test_constructor__max_move_out_of_bounds(evm: Evm, max_move: int) -> None:
    with reverts("max move out of bounds"):
        evm.deploy("PriceFeed", TOKEN, "TKN / USDT", 300, 60, max_move)


@pytest.mark.parametrize("max_age", [59, 86_401])
def test_constructor__report_age_out_of_bounds(evm: Evm, max_age: int) -> None:
    with reverts("report age out of bounds"):
        evm.deploy("PriceFeed", TOKEN, "TKN / USDT", max_age, 60, WAD // 5)


@pytest.mark.parametrize(("spacing", "max_move"), [(10, WAD // 20), (3_600, WAD // 2)])
def test_constructor__succeeds(evm: Evm, spacing: int, max_move: int) -> None:
    owner = evm.account("owner")
    feed = evm.deploy("PriceFeed", TOKEN, "TKN / USDT", 300, spacing, max_move, sender=owner)
    assert feed.token().lower() == TOKEN
    assert feed.description() == "TKN / USDT"
    assert (feed.decimals(), feed.version()) == (18, 1)
    assert (feed.max_report_age(), feed.spacing(), feed.max_move()) == (300, spacing, max_move)
    assert feed.owner() == owner.address
    assert feed.quorum() == 0


def test_constructor__no_round_before_there_are_reporters(evm: Evm) -> None:
    feed = evm.deploy("PriceFeed", TOKEN, "TKN / USDT", 300, 60, WAD // 5)
    with reverts("unknown or repeated signer"):
        feed.submit(evm.timestamp, [], [])
