"""`RewardStream.sync`: holders from before the hook, and while it was not attached."""

from __future__ import annotations

import pytest

from perpool.evm import Account, Evm, reverts
from tests.market import WAD, ZERO_ADDRESS
from tests.rewards import BORROWERS, DAY, Rewards

# --- reverts


def test_sync__of_what_is_no_source(rewards: Rewards, lender: Account) -> None:
    with reverts(""):
        rewards.stream.sync(lender, [lender], sender=lender)


# --- happy


def test_sync__who_was_there_before(evm: Evm) -> None:
    """Counts from then on, and not before: what was streamed meanwhile is others'."""
    rewards = Rewards.deploy(evm, attached=False)
    market = rewards.market
    early = rewards.lend("early", 1_000)
    borrower = market.borrow(collateral=market.tokens(100), usdt=market.usd(500))
    rewards.attach()
    lenders, borrowers = rewards.add(market.reverse), rewards.add(market.reverse, BORROWERS)
    for programme in (lenders, borrowers):
        rewards.fund(programme, 30 * WAD)
    rewards.lend("late", 1_000)
    evm.warp(DAY)
    assert rewards.stream.earned(lenders, early) == 0
    rewards.stream.sync(market.reverse, [early, borrower], sender=evm.account("anyone"))
    assert rewards.stream.earned(lenders, early) == 0
    assert rewards.stream.weight_of(lenders, borrower) == 0
    unit = rewards.stream.programme(borrowers).unit
    assert rewards.stream.weight_of(borrowers, borrower) == (
        market.reverse.debt_shares_of(borrower) // unit
    )
    evm.warp(DAY)
    assert rewards.stream.earned(lenders, early) == pytest.approx(WAD / 2, rel=1e-3)
    # nobody was there before: that day's are still to come
    assert rewards.stream.earned(borrowers, borrower) == pytest.approx(WAD, rel=1e-3)
    assert rewards.stream.programme(borrowers).unstreamed == pytest.approx(29 * WAD, rel=1e-3)


def test_sync__changes_nothing_where_all_was_heard(rewards: Rewards, programme: int) -> None:
    lender = rewards.lend("lender", 1_000)
    rewards.fund(programme, 30 * WAD)
    rewards.evm.warp(DAY)
    with rewards.evm.same_block():
        before = rewards.stream.earned(programme, lender)
        rewards.stream.sync(rewards.market.reverse, [lender, lender], sender=lender)
        assert rewards.stream.earned(programme, lender) == before > 0


@pytest.mark.parametrize("hook", [ZERO_ADDRESS, "other"])
def test_sync__while_detached_only_takes(rewards: Rewards, programme: int, hook: str) -> None:
    """Nobody would hear of who comes then leaving again; of who left, anyone may tell."""
    market, evm = rewards.market, rewards.evm
    gone, stays = rewards.lend("gone", 1_000), rewards.lend("stays", 1_000)
    rewards.fund(programme, 30 * WAD)
    if hook == "other":
        other = evm.deploy("TestHook")
        market.factory.allow_hook(other, True, sender=market.owner)
        rewards.attach(hook=other)
    else:
        rewards.attach(hook=ZERO_ADDRESS)
    rewards.leave(gone)
    came, rich = rewards.lend("came", 50_000), rewards.lend("stays", 9_000)
    assert rich == stays
    weight = rewards.stream.weight_of(programme, stays)
    rewards.stream.sync(market.reverse, [gone, stays, came], sender=stays)
    assert [rewards.stream.weight_of(programme, each) for each in (gone, stays, came)] == [
        0,
        weight,
        0,
    ]
    evm.warp(DAY)
    earned = [rewards.stream.earned(programme, account) for account in (gone, stays, came)]
    assert earned == pytest.approx([0, WAD, 0], rel=1e-2, abs=WAD // 100)

    rewards.attach()
    rewards.stream.sync(market.reverse, [stays, came], sender=stays)
    evm.warp(DAY)
    grown = [
        rewards.stream.earned(programme, account) - before
        for account, before in zip((gone, stays, came), earned, strict=True)
    ]
    assert grown == pytest.approx([0, WAD / 6, 5 * WAD / 6], rel=1e-2)


def test_sync__after_a_call_that_failed(evm: Evm) -> None:
    """A hook that got no answer is heard of later; `claim` asks nobody."""
    rewards = Rewards.deploy(evm)
    programme = rewards.add(rewards.market.reverse)
    lender = rewards.lend("lender", 1_000)
    rewards.fund(programme, 30 * WAD)
    code = evm.code(rewards.stream)
    evm.set_code(rewards.stream, b"\xfe")
    rewards.leave(lender)
    assert evm.last.events("HookFailed")
    evm.set_code(rewards.stream, code)
    evm.warp(DAY)
    assert rewards.claim(programme, lender) > 0
    rewards.stream.sync(rewards.market.reverse, [lender], sender=evm.account("anyone"))
    assert rewards.stream.weight_of(programme, lender) == 0
    rewards.claim(programme, lender)
    evm.warp(DAY)
    assert rewards.claim(programme, lender) == 0
