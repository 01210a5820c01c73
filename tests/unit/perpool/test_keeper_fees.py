"""What the keeper pays for gas: first offers, replacements, and the cap."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpool.keeper.transactions.fees import (
    GWEI,
    FeePolicy,
    Fees,
    bumped,
    first,
    gas_limit,
    is_other_gas,
)

POLICY = FeePolicy(max_fee=100 * GWEI, min_tip=GWEI // 10, max_tip=3 * GWEI)
amounts = st.integers(0, 200 * GWEI)


def test_first__room_for_the_base_fee_to_double() -> None:
    assert first(20 * GWEI, 2 * GWEI, POLICY) == Fees(42 * GWEI, 2 * GWEI)


@pytest.mark.parametrize(
    ("suggested", "tip"), [(0, GWEI // 10), (2 * GWEI, 2 * GWEI), (90 * GWEI, 3 * GWEI)]
)
def test_first__suggested_tips_are_held_within_the_policy(suggested: int, tip: int) -> None:
    assert first(10 * GWEI, suggested, POLICY) == Fees(20 * GWEI + tip, tip)


def test_first__cut_at_the_cap() -> None:
    assert first(60 * GWEI, GWEI, POLICY) == Fees(100 * GWEI, GWEI)
    assert first(100 * GWEI, GWEI, POLICY) == Fees(100 * GWEI, GWEI)


def test_first__nothing_above_the_cap() -> None:
    assert first(100 * GWEI + 1, GWEI, POLICY) is None


def test_first__tip_within_a_low_cap() -> None:
    policy = FeePolicy(max_fee=2 * GWEI, max_tip=5 * GWEI)
    assert first(0, 5 * GWEI, policy) == Fees(2 * GWEI, 2 * GWEI)


def test_bumped__an_eighth_more() -> None:
    last = Fees(40 * GWEI, 2 * GWEI)
    assert bumped(last, 10 * GWEI, GWEI, POLICY) == Fees(45 * GWEI, 9 * GWEI // 4)


def test_bumped__at_least_what_is_right_today() -> None:
    last = Fees(10 * GWEI, GWEI)
    assert bumped(last, 40 * GWEI, 3 * GWEI, POLICY) == Fees(83 * GWEI, 3 * GWEI)


def test_bumped__a_tenth_where_the_cap_has_no_room_for_an_eighth() -> None:
    assert bumped(Fees(90 * GWEI, GWEI), GWEI, 0, POLICY) == Fees(100 * GWEI, 9 * GWEI // 8)


def test_bumped__nothing_where_the_cap_has_no_room_for_a_tenth() -> None:
    assert bumped(Fees(91 * GWEI, GWEI), GWEI, 0, POLICY) is None
    assert bumped(Fees(50 * GWEI, 95 * GWEI), GWEI, 0, POLICY) is None


def test_bumped__nothing_while_the_base_fee_is_above_the_cap() -> None:
    assert bumped(Fees(10 * GWEI, GWEI), 101 * GWEI, GWEI, POLICY) is None


def test_bumped__beyond_the_largest_suggested_tip() -> None:
    raised = bumped(Fees(20 * GWEI, 3 * GWEI), GWEI, GWEI, POLICY)
    assert raised is not None
    assert raised.tip > POLICY.max_tip


@given(max_fee=amounts, tip=amounts, base_fee=amounts, suggested=amounts)
def test_bumped__what_nodes_take_and_we_can_pay(
    max_fee: int, tip: int, base_fee: int, suggested: int
) -> None:
    last = Fees(max_fee, min(tip, max_fee))
    raised = bumped(last, base_fee, suggested, POLICY)
    if raised is None:
        least = max(last.max_fee * 11, last.tip * 11)
        assert base_fee > POLICY.max_fee or least > (POLICY.max_fee - 1) * 10
        return
    assert raised.max_fee <= POLICY.max_fee
    assert raised.tip <= raised.max_fee
    assert raised.max_fee > last.max_fee
    assert raised.tip > last.tip
    assert raised.max_fee * 10 >= last.max_fee * 11
    assert raised.tip * 10 >= last.tip * 11


def test_gas_limit__a_quarter_more() -> None:
    assert gas_limit(100_000) == 125_000


def test_gas_limit__capped() -> None:
    assert gas_limit(5 * 10**8) == 2**24
    assert gas_limit(100_000, 110_000) == 110_000


@pytest.mark.parametrize("max_gas", [20_999, 2**24 + 1])
def test_policy__gas_that_is_none(max_gas: int) -> None:
    with pytest.raises(ValueError, match="max_gas"):
        FeePolicy(max_gas=max_gas)


@pytest.mark.parametrize(
    ("limit", "expected"), [(79_999, True), (80_000, False), (120_000, False), (120_001, True)]
)
def test_is_other_gas(limit: int, expected: bool) -> None:
    assert is_other_gas(limit, 100_000) == expected


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_fee": 0},
        {"min_tip": -1},
        {"min_tip": 4 * GWEI},
        {"min_tip": 2, "max_tip": 2, "max_fee": 1},
    ],
)
def test_policy__impossible_numbers(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"min_tip|max_fee"):
        FeePolicy(**wrong)
