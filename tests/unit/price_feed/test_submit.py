"""`submit`."""

from __future__ import annotations

import pytest

from perpool.evm import reverts
from perpool.reference import oracle as reference
from perpool.reports import Domain, price_round, sign_report
from tests.unit.price_feed.conftest import MAX_AGE, MAX_MOVE, PRICE, SPACING, WAD

CRASH = PRICE * 38 // 100
"""-62 %, the worst wick on record."""


@pytest.mark.parametrize("prices", [[PRICE] * 2, [PRICE] * 4])
def test_submit__wrong_number_of_values(bench, evm, prices: list[int]) -> None:
    at, _, seats = bench.panel.price_round(evm.timestamp, bench.token, [PRICE] * 3)
    with reverts("wrong number of values"):
        bench.feed.submit(at, prices, seats)


def test_submit__from_the_future(bench, evm) -> None:
    with reverts("report from the future"):
        bench.submit([PRICE] * 3, at=evm.timestamp + 1)


def test_submit__too_old(bench, evm) -> None:
    evm.warp(MAX_AGE + 1)
    with reverts("report too old"):
        bench.submit([PRICE] * 3, at=evm.timestamp - MAX_AGE - 1)


def test_submit__unknown_signer(bench, evm) -> None:
    at, _, seats = bench.panel.price_round(evm.timestamp, bench.token, [PRICE] * 3)
    with reverts("unknown or repeated signer"):
        bench.feed.submit(at, [PRICE, PRICE, PRICE + 1], seats)


def test_submit__price_of_another_token(bench, evm) -> None:
    other = bench.anyone.address
    with reverts("unknown or repeated signer"):
        bench.feed.submit(*bench.panel.price_round(evm.timestamp, other, [PRICE] * 3))


def test_submit__signed_for_a_funding_oracle(bench, evm) -> None:
    # the same address, the same values, another name
    domain = Domain.of_funding_oracle(evm.chain_id, bench.feed.address)
    reports = [
        sign_report(account.key, domain, evm.timestamp, [bench.token], [PRICE])
        for account in bench.panel.accounts[:3]
    ]
    with reverts("unknown or repeated signer"):
        bench.feed.submit(*price_round(reports, bench.panel.addresses))


def test_submit__below_quorum(bench, evm) -> None:
    with reverts("below quorum"):
        bench.submit([PRICE, PRICE])


@pytest.mark.parametrize("price", [0, 2**128, 2**256 - 1])
def test_submit__first_price_out_of_range(blank, evm, price: int) -> None:
    with reverts("price out of range"):
        blank.submit([price] * 3)


@pytest.mark.parametrize("late", [-SPACING, -1])
def test_submit__too_soon(bench, evm, late: int) -> None:
    *_, updated_at, _ = bench.feed.latestRoundData()
    with reverts("round too soon"):
        bench.submit([PRICE] * 3, at=updated_at + SPACING + late)


def test_submit__replayed(bench, evm) -> None:
    data = bench.panel.price_round(evm.timestamp, bench.token, [PRICE] * 3)
    bench.feed.submit(*data)
    with reverts("round too soon"):
        bench.feed.submit(*data)


@pytest.mark.parametrize("price", [1, PRICE, 2**128 - 1])
def test_submit__first_round(blank, evm, price: int) -> None:
    at = evm.timestamp
    receipt = blank.submit([price] * 3)
    assert receipt.return_value == 1
    assert tuple(blank.feed.latestRoundData()) == (1, price, at, at, 1)


@pytest.mark.parametrize(
    ("prices", "median"),
    [
        ([9 * WAD, 10 * WAD, 11 * WAD], 10 * WAD),
        ([9 * WAD, None, 9 * WAD + 2, 9 * WAD + 1], 9 * WAD + 1),
        ([9 * WAD, 9 * WAD + 1, 9 * WAD + 2, 9 * WAD + 3], 9 * WAD + 1),
        ([12 * WAD, 11 * WAD, 8 * WAD, 0, 2**256 - 1], 11 * WAD),
    ],
)
def test_submit__succeeds(bench, evm, prices: list[int | None], median: int) -> None:
    at = evm.timestamp
    receipt = bench.submit(prices)
    (event,) = receipt.logs
    assert event.name == "PriceUpdated"
    assert tuple(event.args) == (2, at, bench.anyone.address, median, median)
    assert receipt.return_value == 2
    assert tuple(bench.feed.latestRoundData()) == (2, median, at, at, 2)


@pytest.mark.parametrize(
    ("median", "price"),
    [
        (PRICE + PRICE // 5, PRICE + PRICE // 5),
        (PRICE + PRICE // 5 + 1, PRICE + PRICE // 5),
        (PRICE - PRICE // 5, PRICE - PRICE // 5),
        (PRICE - PRICE // 5 - 1, PRICE - PRICE // 5),
        (0, PRICE - PRICE // 5),
        (2**256 - 1, PRICE + PRICE // 5),
    ],
)
def test_submit__holds_a_large_move_back(bench, evm, median: int, price: int) -> None:
    at = evm.timestamp
    (event,) = bench.submit([median] * 3).logs
    assert (event.args.price_wad, event.args.median_wad) == (price, median)
    # behind its round where it was held back
    answered_in = 2 if price == median else 1
    assert tuple(bench.feed.latestRoundData()) == (2, price, at, at, answered_in)


def test_submit__follows_a_crash_within_minutes(bench, evm) -> None:
    rounds, model = 0, reference.PriceFeed(SPACING, MAX_MOVE, PRICE, 0, 1)
    while bench.feed.latestRoundData()[1] != CRASH:
        rounds += 1
        bench.submit([CRASH] * 3)
        model.submit(rounds * SPACING, [CRASH] * 3)
        round_id, price, *_, answered_in = bench.feed.latestRoundData()
        assert (round_id, price) == (model.round_id, model.price)
        assert (answered_in < round_id) == model.held
        evm.warp(SPACING)
    assert rounds == 5
    assert not model.held


@pytest.mark.parametrize("start", [1, 4, 5, 2**128 - 1])
def test_submit__holds_at_the_ends(blank, evm, start: int) -> None:
    blank.submit([start] * 3)
    for median in (0, 2**256 - 1):
        with evm.anchor():
            evm.warp(SPACING)
            blank.submit([median] * 3)
            price = blank.feed.latestRoundData()[1]
            move = start * MAX_MOVE // WAD
            assert price == (start - move if median == 0 else min(start + move, 2**128 - 1))
            assert 0 < price < 2**128


def test_submit__reference_refuses_what_the_feed_refuses() -> None:
    model = reference.PriceFeed(SPACING, MAX_MOVE)
    with pytest.raises(ValueError, match="price out of range"):
        model.submit(1_000, [0])
    model.submit(1_000, [PRICE])
    with pytest.raises(ValueError, match="round too soon"):
        model.submit(1_000 + SPACING - 1, [PRICE])
