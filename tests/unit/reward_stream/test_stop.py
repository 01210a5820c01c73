"""`RewardStream.stop`."""

from __future__ import annotations

import pytest

from perpool.evm import Account, reverts
from tests.market import WAD, ZERO_ADDRESS
from tests.pools import Balances, expect_event
from tests.rewards import DAY, MONTH, Rewards

# --- reverts


def test_stop__by_anyone_else(rewards: Rewards, programme: int) -> None:
    rewards.fund(programme, WAD)
    for sender in (rewards.market.owner, rewards.evm.account("lender")):
        with reverts("not the project"):
            rewards.stream.stop(programme, sender, sender=sender)


def test_stop__to_nobody_or_itself(rewards: Rewards, programme: int) -> None:
    rewards.fund(programme, WAD)
    for receiver in (ZERO_ADDRESS, rewards.stream):
        with reverts("bad receiver"):
            rewards.stream.stop(programme, receiver, sender=rewards.project)


# --- happy


def test_stop(rewards: Rewards, programme: int) -> None:
    stream, project = rewards.stream, rewards.project
    lender, receiver = rewards.lend("lender", 1_000), rewards.evm.account("receiver")
    ends_at = rewards.fund(programme, 300 * WAD)
    rewards.evm.warp((ends_at - rewards.evm.timestamp) // 3)
    earned = stream.earned(programme, lender)
    expected = stream.programme(programme).unstreamed
    balances = Balances([rewards.token], stream, receiver, project)

    receipt = stream.stop.transact(programme, receiver, sender=project)

    assert receipt.return_value == expected == pytest.approx(200 * WAD, rel=1e-6)
    expect_event(
        receipt, "Stopped", stream, id=programme, receiver=receiver, amount=receipt.return_value
    )
    assert balances.changes(stream) == (-expected,)
    assert balances.changes(receiver) == (expected,)
    assert balances.changes(project) == (0,)
    state = stream.programme(programme)
    assert (state.rate, state.ends_at, state.unstreamed) == (0, receipt.timestamp, 0)
    assert state.held == 300 * WAD - expected

    # what is earned stays, and does not grow
    rewards.evm.warp(MONTH)
    assert stream.earned(programme, lender) == earned
    assert rewards.claim(programme, lender) == earned
    assert stream.programme(programme).held < 10**6


def test_stop__takes_nothing_that_is_earned(rewards: Rewards, programme: int) -> None:
    """However often, before and after the end, and with unclaimed rewards of those who left."""
    lender = rewards.lend("lender", 1_000)
    rewards.fund(programme, 300 * WAD)
    rewards.evm.warp(10 * DAY)
    rewards.leave(lender)
    other = rewards.lend("other", 500)
    ends_at = rewards.stream.programme(programme).ends_at
    rewards.evm.warp(ends_at - rewards.evm.timestamp)
    earned = [rewards.stream.earned(programme, account) for account in (lender, other)]
    spare = rewards.stream.programme(programme).unstreamed
    assert spare < 300 * WAD // MONTH
    returned = [
        rewards.stream.stop(programme, rewards.project, sender=rewards.project) for _ in range(3)
    ]
    assert returned == [spare, 0, 0]
    assert [rewards.claim(programme, account) for account in (lender, other)] == earned
    assert min(earned) > 50 * WAD


def test_stop__with_nobody_there_returns_all(rewards: Rewards, programme: int) -> None:
    rewards.fund(programme, 300 * WAD)
    rewards.evm.warp(2 * MONTH)
    assert rewards.stream.stop(programme, rewards.project, sender=rewards.project) == 300 * WAD
    assert rewards.stream.programme(programme).held == 0


def test_stop__and_stream_again(rewards: Rewards, programme: int, lender: Account) -> None:
    rewards.lend("lender", 1_000)
    rewards.fund(programme, 300 * WAD)
    rewards.evm.warp(DAY)
    rewards.stream.stop(programme, rewards.project, sender=rewards.project)
    before = rewards.stream.earned(programme, lender)
    rewards.evm.warp(DAY)
    rewards.fund(programme, 30 * WAD)
    rewards.evm.warp(DAY)
    grown = rewards.stream.earned(programme, lender) - before
    assert grown == pytest.approx(WAD, rel=1e-4)
