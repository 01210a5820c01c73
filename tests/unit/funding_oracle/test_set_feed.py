"""`set_feed`."""

import pytest

from perpool.evm import reverts
from tests.unit.funding_oracle.conftest import LOWER, TAU, UNIT, UPPER, WAD


def test_set_feed__not_the_owner(bench, evm) -> None:
    with reverts("ownable: caller is not the owner"):
        bench.oracle.set_feed(bench.tokens[0], -WAD, WAD, TAU, sender=bench.anyone)


@pytest.mark.parametrize(
    ("lower", "upper"),
    [
        (-100_000 * WAD - 1, WAD),
        (-WAD, 100_000 * WAD + 1),
        (-(2**255), 2**255 - 1),
        (WAD, WAD),
        (WAD, -WAD),
        # equal in 1e-9
        (WAD, WAD + UNIT - 1),
        (-UNIT + 1, UNIT - 1),
    ],
)
def test_set_feed__bad_rate_bounds(bench, evm, lower: int, upper: int) -> None:
    with reverts("bad rate bounds"):
        bench.oracle.set_feed(bench.tokens[0], lower, upper, TAU, sender=bench.owner)


@pytest.mark.parametrize("tau", [0, 3_599, 30 * 86_400 + 1, 2**256 - 1])
def test_set_feed__tau_out_of_bounds(bench, evm, tau: int) -> None:
    with reverts("tau out of bounds"):
        bench.oracle.set_feed(bench.tokens[0], -WAD, WAD, tau, sender=bench.owner)


@pytest.mark.parametrize(
    ("lower", "upper", "tau"),
    [
        (-100_000 * WAD, 100_000 * WAD, 3_600),
        (-WAD, -UNIT, 30 * 86_400),
        (UNIT, WAD, TAU),
        (-WAD - UNIT + 1, WAD + UNIT - 1, TAU),
    ],
)
def test_set_feed__succeeds(bench, evm, lower: int, upper: int, tau: int) -> None:
    token = evm.account("a new token").address
    receipt = bench.oracle.set_feed.transact(token, lower, upper, tau, sender=bench.owner)
    # towards zero, to 1e-9
    lower, upper = -(-lower // UNIT * UNIT) if lower < 0 else lower, upper // UNIT * UNIT
    (event,) = receipt.logs
    assert event.name == "FeedSet"
    assert tuple(event.args) == (token, lower, upper, tau)
    assert tuple(bench.oracle.feed(token)) == (0, 0, 0, lower, upper, tau, False)
    assert bench.oracle.funding(token) == (0, 0)


def test_set_feed__moves_the_average_into_new_bounds(bench, evm) -> None:
    evm.warp(60)
    high, low = 4 * 10**9, -4 * 10**9
    at = evm.timestamp
    bench.oracle.submit(*bench.panel.funding_round(at, bench.tokens[:2], [[high, low]] * 3))
    for token in bench.tokens[:2]:
        bench.oracle.set_feed(token, -WAD, 2 * WAD, 7_200, sender=bench.owner)
    assert tuple(bench.oracle.feed(bench.tokens[0])) == (
        *(2 * WAD, 2 * WAD, at),
        *(-WAD, 2 * WAD, 7_200, False),
    )
    assert tuple(bench.oracle.feed(bench.tokens[1])) == (
        *(-WAD, -WAD, at),
        *(-WAD, 2 * WAD, 7_200, False),
    )


def test_set_feed__keeps_an_average_inside_new_bounds(bench, evm) -> None:
    evm.warp(60)
    at = evm.timestamp
    bench.oracle.submit(*bench.panel.funding_round(at, bench.tokens[:1], [[10**9]] * 3))
    bench.oracle.set_feed(
        bench.tokens[0], LOWER * UNIT, UPPER * UNIT * 2, 7_200, sender=bench.owner
    )
    assert bench.funding() == (10**9, at)
