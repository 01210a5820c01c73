"""`latestRoundData` and `getRoundData`."""

import pytest

from perpool.evm import reverts
from tests.unit.price_feed.conftest import PRICE, SPACING


def test_latest_round_data__no_such_round(blank, evm) -> None:
    with reverts("no such round"):
        blank.feed.latestRoundData()


def test_latest_round_data__time_is_when_it_was_observed(bench, evm) -> None:
    at = evm.timestamp
    evm.warp(100)
    bench.submit([PRICE] * 3, at=at)
    assert tuple(bench.feed.latestRoundData()) == (2, PRICE, at, at, 2)


@pytest.mark.parametrize("round_id", [0, 1, 3, 2**80 - 1])
def test_get_round_data__no_such_round(bench, evm, round_id: int) -> None:
    bench.submit([PRICE] * 3)
    with reverts("no such round"):
        bench.feed.getRoundData(round_id)


def test_get_round_data__no_such_round_before_the_first(blank, evm) -> None:
    with reverts("no such round"):
        blank.feed.getRoundData(0)


def test_get_round_data__of_the_last(bench, evm) -> None:
    evm.warp(SPACING)
    bench.submit([PRICE // 2] * 3)
    assert tuple(bench.feed.getRoundData(2)) == tuple(bench.feed.latestRoundData())
