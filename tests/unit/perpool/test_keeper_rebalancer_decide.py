"""What a vault needs, whose turn it is, and what it may cost."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpool.evm import Reverted
from perpool.keeper.rebalancer.decide import (
    FIRST_REST,
    LONGEST_REST,
    PENDING,
    SHARES,
    Budget,
    Request,
    Stand,
    Task,
    Vault,
    Work,
    choose,
    due_since,
    is_ready,
    rest_after,
    tasks_of,
)

WAD = 10**18
VAULT = Vault("ADA keep", "0xa", "0xb", "0xc", "0xd", "0xe", 80 * WAD // 100, 5 * WAD // 100)
PRICE = 2 * 10**24
"""2 USDT a token, of 18 and 6 decimals."""
WELL = Stand(
    vault=VAULT,
    mode="carry",
    is_due=False,
    order=0,
    price_e36=PRICE,
    collateral=100 * WAD,
    debt=50 * 10**6,
    tokens=120 * WAD,
    short=30 * WAD,
    equity=30 * 10**6,
    net_carry=WAD // 20,
)
ANNA, BERT = "0x1", "0x2"
BOTH = [Request(ANNA, 5, 0), Request(BERT, 0, 7)]


def works(stand: Stand, requests: list[Request] | None = None) -> list[tuple[Work, str]]:
    return [(each.work, each.controller) for each in tasks_of(stand, requests or [])]


# -- how a vault stands --


def test_stand__ratios() -> None:
    assert WELL.ltv == Decimal("0.25")
    assert WELL.margin == Decimal("0.5")
    assert WELL.hedge == Decimal("0.25")
    assert not WELL.is_in_danger


def test_stand__of_nothing() -> None:
    empty = replace(WELL, collateral=0, debt=0, tokens=0, short=0, equity=0)
    assert (empty.ltv, empty.margin, empty.hedge) == (0, None, 0)
    assert not empty.is_in_danger
    # its collateral is gone, and a debt is left
    assert replace(empty, debt=1).ltv == Decimal("Infinity")
    assert replace(empty, debt=1).is_in_danger


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"debt": 150 * 10**6}, False),
        ({"debt": 150 * 10**6 + 1}, True),
        ({"equity": 6 * 10**6}, False),
        ({"equity": 6 * 10**6 - 1}, True),
        ({"equity": -1}, True),
    ],
)
def test_stand__is_in_danger_five_points_from_a_liquidation(
    changes: dict[str, Any], expected: bool
) -> None:
    assert replace(WELL, **changes).is_in_danger is expected


# -- what there is to do --


def test_tasks__nothing() -> None:
    assert works(WELL) == []


def test_tasks__all_at_once() -> None:
    assert works(replace(WELL, is_due=True, funding_due=True), BOTH) == [
        (Work.REBALANCE, ""),
        (Work.REDEEM, BERT),
        (Work.DEPOSIT, ANNA),
        (Work.FUNDING, ""),
    ]


def test_tasks__while_an_order_is_pending() -> None:
    stand = replace(WELL, order=3, funding_due=True)
    assert works(stand, BOTH) == [(Work.ORDER, ""), (Work.REDEEM, BERT)]


def test_tasks__both_of_one_controller() -> None:
    assert works(WELL, [Request(ANNA, 5, 7)]) == [(Work.REDEEM, ANNA), (Work.DEPOSIT, ANNA)]


def test_tasks__what_they_are_worth() -> None:
    """At 2 USDT a token, and one and a half tokens a share."""
    stand = replace(WELL, funding_due=True, is_due=True, share=3 * SHARES // 2)
    requests = [Request(ANNA, 5 * WAD, 0), Request(BERT, WAD // 10**6, 7 * WAD)]
    assert [(each.work, each.usdt) for each in tasks_of(stand, requests)] == [
        (Work.REBALANCE, 0),
        (Work.REDEEM, 21 * 10**6),
        (Work.DEPOSIT, 10 * 10**6),
        (Work.DEPOSIT, 2),
        (Work.FUNDING, 60 * 10**6),
    ]


@pytest.mark.parametrize(
    ("work", "order", "answer", "expected"),
    [
        (Work.REBALANCE, 0, True, True),
        (Work.REBALANCE, 0, False, False),
        (Work.ORDER, 3, PENDING, False),
        (Work.ORDER, 3, 2, True),
        (Work.ORDER, 3, 4, True),
        # an order on its way, or another's in the way
        (Work.REDEEM, 0, 0, True),
        (Work.REDEEM, 3, 0, False),
        (Work.REDEEM, 3, 9, True),
        (Work.DEPOSIT, 0, 9, True),
        (Work.FUNDING, 0, -9, True),
        *((each, 0, Reverted("too soon"), False) for each in Work),
    ],
)
def test_is_ready(work: Work, order: int, answer: Any, expected: bool) -> None:
    assert is_ready(Task(work, VAULT), replace(WELL, order=order), answer) is expected


# -- whose turn it is --

REBALANCE = Task(Work.REBALANCE, VAULT)
OTHER = Task(Work.REBALANCE, replace(VAULT, address="0xf"))
DEPOSITS = [Task(Work.DEPOSIT, VAULT, f"0x{number}") for number in range(50)]


def test_choose__vaults_first() -> None:
    assert choose([*DEPOSITS, REBALANCE], {}, None)[0] == REBALANCE
    assert choose([*DEPOSITS, REBALANCE], {}, Work.DEPOSIT)[0] == REBALANCE


def test_choose__every_second_turn_is_of_requests() -> None:
    assert choose([REBALANCE, *DEPOSITS], {}, Work.REBALANCE)[0] == DEPOSITS[0]
    assert choose([REBALANCE], {}, Work.REBALANCE) == [REBALANCE]


def test_choose__who_has_waited_longest() -> None:
    turns = {(Work.REBALANCE, REBALANCE.subject): 100, (Work.REBALANCE, OTHER.subject): 90}
    assert choose([REBALANCE, OTHER], turns, None) == [OTHER, REBALANCE]


def test_choose__of_equals_the_largest() -> None:
    small = [replace(each, usdt=2) for each in DEPOSITS]
    large = Task(Work.REDEEM, OTHER.vault, ANNA, 3)
    assert choose([*small, large], {}, None) == [large, *small]
    # and still each has its turn
    assert choose([*small, large], {(Work.REDEEM, large.subject): 1}, None) == [*small, large]


@given(st.lists(st.sampled_from([REBALANCE, OTHER, *DEPOSITS[:5]]), unique=True, min_size=1))
def test_choose__everybody_has_a_turn(ready: list[Task]) -> None:
    """Where all of them are ready again and again, no vault waits for more than two turns of each
    vault, and no request for more than two of each request."""
    turns: dict[tuple[Work, str], int] = {}
    last: Work | None = None
    order: list[Task] = []
    for time in range(1, 40):
        task = choose(ready, turns, last)[0]
        turns[task.work, task.subject], last = time, task.work
        order.append(task)
    for kind in (True, False):
        peers = [each for each in ready if each.work.is_safety is kind]
        for each in peers:
            times = [0, *(n for n, done in enumerate(order, 1) if done == each), 40]
            assert max(b - a for a, b in pairwise(times)) <= 2 * len(peers) + 1


# -- what it may cost --


def test_budget__all_of_it_for_vaults_and_half_for_requests() -> None:
    budget = Budget(100)
    for work in Work:
        most = 100 if work in (Work.ORDER, Work.REBALANCE) else 50
        assert budget.allows(work, most - 10, 10)
        assert not budget.allows(work, most - 10, 11)


# -- since when --


def test_due_since__its_own_order_does_not_end_it() -> None:
    due, order = replace(WELL, is_due=True), replace(WELL, order=3)
    assert due_since(WELL, None, 10) is None
    # an order of a deposit is none of it
    assert due_since(order, None, 10) is None
    assert due_since(due, None, 10) == 10
    assert due_since(due, 10, 20) == 10
    assert due_since(order, 10, 30) == 10
    assert due_since(WELL, 10, 40) is None


def test_rest__longer_each_time_for_requests() -> None:
    rests = [rest_after(Work.DEPOSIT, None)]
    while rests[-1] < LONGEST_REST:
        rests.append(rest_after(Work.DEPOSIT, rests[-1]))
    assert rests == [FIRST_REST * 2**n for n in range(len(rests))]
    assert rest_after(Work.REDEEM, LONGEST_REST) == LONGEST_REST


def test_rest__never_long_where_a_vault_may_come_to_harm() -> None:
    assert rest_after(Work.REBALANCE, FIRST_REST) == rest_after(Work.ORDER, None) == FIRST_REST
