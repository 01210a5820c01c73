"""`RewardStream.stream`."""

from __future__ import annotations

import pytest

from perpool.evm import Account, reverts
from perpool.reference.rewards import round_rate
from tests.market import MAX, WAD
from tests.pools import Balances, expect_event
from tests.rewards import DAY, HOUR, MONTH, ROUNDING, Rewards

YEARS = 4 * 365 * DAY

# --- reverts


def test_stream__by_anyone_else(rewards: Rewards, programme: int) -> None:
    for sender in (rewards.market.owner, rewards.evm.account("lender")):
        with reverts("not the project"):
            rewards.stream.stream(programme, 1, DAY, sender=sender)


def test_stream__to_no_programme(rewards: Rewards, programme: int) -> None:
    with reverts("not the project"):
        rewards.stream.stream(programme + 1, 1, DAY, sender=rewards.project)


@pytest.mark.parametrize("duration", [0, HOUR - 1, YEARS + 1, MAX])
def test_stream__duration(rewards: Rewards, programme: int, duration: int) -> None:
    with reverts("duration out of range"):
        rewards.stream.stream(programme, 1, duration, sender=rewards.project)


def test_stream__without_allowance(rewards: Rewards, programme: int) -> None:
    rewards.token.mint(rewards.project, WAD, sender=rewards.project)
    with reverts("insufficient allowance"):
        rewards.stream.stream(programme, WAD, DAY, sender=rewards.project)


def test_stream__more_than_accounts_can_hold(rewards: Rewards, programme: int) -> None:
    rewards.fund(programme, 2**96 - 1 - 10**18)
    with reverts("amount too large"):
        rewards.fund(programme, 10**18 + 1)
    rewards.fund(programme, 10**18)


def test_stream__nothing(rewards: Rewards, programme: int) -> None:
    for amount in (0, HOUR - 1):
        with reverts("rate too low"):
            rewards.fund(programme, amount, HOUR)
    rewards.fund(programme, HOUR, HOUR)
    assert rewards.stream.programme(programme).rate == 1


# --- happy


@pytest.mark.parametrize("duration", [HOUR, MONTH, YEARS])
def test_stream(rewards: Rewards, programme: int, duration: int) -> None:
    stream, token, project = rewards.stream, rewards.token, rewards.project
    amount = 1_000_003 * WAD + 7
    token.mint(project, amount, sender=project)
    token.approve(stream, amount, sender=project)
    balances = Balances([token], stream, project)

    receipt = stream.stream.transact(programme, amount, duration, sender=project)

    state = stream.programme(programme)
    assert state.rate == round_rate(amount // duration)
    assert state.ends_at == receipt.timestamp + amount // state.rate
    assert 0 <= state.ends_at - receipt.timestamp - duration <= duration * ROUNDING + 1
    assert (state.held, state.unstreamed, state.updated_at) == (amount, amount, receipt.timestamp)
    expect_event(
        receipt,
        "Streamed",
        stream,
        id=programme,
        amount=amount,
        rate=state.rate,
        ends_at=state.ends_at,
    )
    assert receipt.return_value == state.ends_at
    assert balances.changes(stream) == (amount,)
    assert balances.changes(project) == (-amount,)


def test_stream__again_spreads_what_is_left(
    rewards: Rewards, programme: int, lender: Account
) -> None:
    rewards.lend("lender", 1_000)
    ends_at = rewards.fund(programme, 300 * WAD)
    rewards.evm.warp((ends_at - rewards.evm.timestamp) // 3)
    earned = rewards.stream.earned(programme, lender)
    assert earned == pytest.approx(100 * WAD, rel=1e-6)

    rewards.fund(programme, 100 * WAD, 10 * DAY)

    state = rewards.stream.programme(programme)
    assert state.unstreamed == pytest.approx(300 * WAD, rel=1e-4)
    assert state.rate == pytest.approx(30 * WAD / DAY, rel=1e-4)
    rewards.evm.warp(state.ends_at - rewards.evm.timestamp)
    over = rewards.stream.programme(programme)
    assert (over.rate, over.ends_at) == (0, over.updated_at)
    # what lasts for less than a second waits for the next stream
    spare = over.unstreamed
    assert spare < state.rate
    assert rewards.stream.earned(programme, lender) + spare == pytest.approx(400 * WAD, rel=1e-9)


def test_stream__with_nothing_new_changes_the_pace(rewards: Rewards, programme: int) -> None:
    rewards.fund(programme, 300 * WAD, MONTH)
    rewards.stream.stream(programme, 0, DAY, sender=rewards.project)
    state = rewards.stream.programme(programme)
    assert (state.held, state.unstreamed) == (300 * WAD, 300 * WAD)
    assert state.rate == pytest.approx(300 * WAD / DAY, rel=1e-4)


def test_stream__one_after_the_other(rewards: Rewards, programme: int, lender: Account) -> None:
    """Any number, each after the last is over; no time between them counts."""
    rewards.lend("lender", 1_000)
    for number in range(1, 6):
        ends_at = rewards.fund(programme, 10 * WAD, DAY)
        rewards.evm.warp(ends_at - rewards.evm.timestamp + 5 * DAY)
        earned = rewards.stream.earned(programme, lender)
        unstreamed = rewards.stream.programme(programme).unstreamed
        assert unstreamed < 10 * WAD // DAY
        assert earned + unstreamed == pytest.approx(number * 10 * WAD, rel=1e-9)


def test_stream__token_with_a_fee_counts_as_what_arrives(rewards: Rewards, lender: Account) -> None:
    token = rewards.evm.deploy("FeeToken", 18, 100)
    programme = rewards.add(rewards.market.reverse, token=token)
    rewards.lend("lender", 1_000)
    ends_at = rewards.fund(programme, 100 * WAD, token=token)
    arrived = token.balanceOf(rewards.stream)
    assert arrived == 99 * WAD
    state = rewards.stream.programme(programme)
    assert (state.held, state.unstreamed) == (arrived, arrived)
    rewards.evm.warp(ends_at - rewards.evm.timestamp)
    assert rewards.claim(programme, lender) == pytest.approx(arrived, rel=1e-6)
    assert token.balanceOf(rewards.stream) == rewards.stream.programme(programme).held
