"""`RewardStream.claim` and `earned`."""

from __future__ import annotations

import pytest

from perpool.evm import Account, Evm, reverts
from tests.market import WAD, ZERO_ADDRESS
from tests.pools import Balances, expect_events
from tests.rewards import BORROWERS, DAY, MONTH, Rewards

# --- reverts


def test_claim__for_another(rewards: Rewards, programme: int) -> None:
    lender = rewards.lend("lender", 1_000)
    for caller in (rewards.project, rewards.market.owner):
        for receiver in (caller, lender):
            with reverts("not authorised"):
                rewards.stream.claim([programme], lender, receiver, sender=caller)


def test_claim__to_nobody_or_itself(rewards: Rewards, programme: int, lender: Account) -> None:
    for receiver in (ZERO_ADDRESS, rewards.stream):
        with reverts("bad receiver"):
            rewards.stream.claim([programme], lender, receiver, sender=lender)


# --- happy


def test_claim(rewards: Rewards, programme: int) -> None:
    stream, token = rewards.stream, rewards.token
    lender, receiver = rewards.lend("lender", 1_000), rewards.evm.account("receiver")
    other = rewards.add(rewards.market.reverse)
    rewards.fund(programme, 300 * WAD)
    rewards.fund(other, 30 * WAD)
    stream.sync(rewards.market.reverse, [lender], sender=lender)
    rewards.evm.warp(10 * DAY)
    earned = [stream.earned(id_, lender) for id_ in (programme, other)]
    balances = Balances([token], stream, lender, receiver)

    receipt = stream.claim.transact([programme, other], lender, receiver, sender=lender)

    assert receipt.return_value == earned
    assert earned == pytest.approx([100 * WAD, 10 * WAD], rel=1e-3)
    expect_events(
        receipt,
        "Claimed",
        stream,
        [
            {
                "id": id_,
                "account": lender,
                "receiver": receiver,
                "caller": lender,
                "amount": amount,
            }
            for id_, amount in zip((programme, other), earned, strict=True)
        ],
    )
    assert balances.changes(stream) == (-sum(earned),)
    assert balances.changes(receiver) == (sum(earned),)
    assert balances.changes(lender) == (0,)
    for id_, funded, paid in zip((programme, other), (300, 30), earned, strict=True):
        assert stream.programme(id_).held == funded * WAD - paid
        assert stream.earned(id_, lender) == 0


def test_claim__twice_in_a_call_or_a_block(rewards: Rewards, programme: int) -> None:
    lender = rewards.lend("lender", 1_000)
    rewards.fund(programme, 300 * WAD)
    rewards.evm.warp(10 * DAY)
    earned = rewards.stream.earned(programme, lender)
    with rewards.evm.same_block():
        ids = [programme, programme]
        assert rewards.stream.claim(ids, lender, lender, sender=lender) == [earned, 0]
        assert rewards.claim(programme, lender) == 0
    assert rewards.token.balanceOf(lender) == earned


def test_claim__by_an_operator(rewards: Rewards, programme: int) -> None:
    lender, operator = rewards.lend("lender", 1_000), rewards.evm.account("operator")
    rewards.fund(programme, 300 * WAD)
    rewards.evm.warp(10 * DAY)
    rewards.market.operators.set_operator(operator, True, sender=lender)
    (amount,) = rewards.stream.claim([programme], lender, operator, sender=operator)
    assert amount == rewards.token.balanceOf(operator) > 99 * WAD
    rewards.market.operators.set_operator(operator, False, sender=lender)
    with reverts("not authorised"):
        rewards.stream.claim([programme], lender, operator, sender=operator)


def test_claim__nothing(rewards: Rewards, programme: int, lender: Account) -> None:
    """Nothing moves, of programmes that there are and of others."""
    receipt = rewards.stream.claim.transact([programme, 0, 7], lender, lender, sender=lender)
    assert receipt.return_value == [0, 0, 0]
    assert receipt.logs == []


def test_claim__by_shares_and_seconds(rewards: Rewards, programme: int) -> None:
    """One day alone, one day beside twice as much, one day after the other has left."""
    first = rewards.lend("first", 1_000)
    rewards.fund(programme, 30 * WAD)
    rewards.evm.warp(DAY)
    second = rewards.lend("second", 2_000)
    rewards.evm.warp(DAY)
    rewards.leave(second)
    rewards.evm.warp(DAY)
    earned = [rewards.claim(programme, account) for account in (first, second)]
    assert earned == pytest.approx([7 * WAD / 3, 2 * WAD / 3], rel=1e-3)


def test_claim__of_borrowers_by_debt(rewards: Rewards) -> None:
    market = rewards.market
    programme = rewards.add(market.reverse, BORROWERS)
    lender = rewards.lend("lender", 10_000)
    rewards.fund(programme, 30 * WAD)
    first = market.borrow("first", collateral=market.tokens(100), usdt=market.usd(100))
    second = market.borrow("second", collateral=market.tokens(100), usdt=market.usd(300))
    rewards.evm.warp(DAY)
    earned = [rewards.claim(programme, account) for account in (first, second)]
    assert earned == pytest.approx([WAD / 4, 3 * WAD / 4], rel=1e-2)
    assert rewards.claim(programme, lender) == 0
    # repaid, and so by nobody any more
    market.give(first, usdt=market.usd(200))
    market.reverse.repay(2**256 - 1, first, sender=first)
    rewards.claim(programme, first)
    rewards.evm.warp(DAY)
    assert rewards.claim(programme, first) == 0
    assert rewards.claim(programme, second) == pytest.approx(WAD, rel=1e-3)


@pytest.mark.parametrize("decimals", [0, 6, 8, 18, 24])
def test_claim__decimals_of_the_token(evm: Evm, decimals: int) -> None:
    """What is below a unit stays the account's until there is a whole one."""
    rewards = Rewards.deploy(evm, decimals=decimals)
    programme = rewards.add(rewards.market.reverse)
    lender, other = rewards.lend("lender", 1_000), rewards.lend("other", 2_000)
    amount = 30_000 * rewards.whole
    ends_at = rewards.fund(programme, amount)
    claimed = 0
    for _ in range(7):
        evm.warp(MONTH // 7 // 3_600 * 3_600 + 61)
        claimed += rewards.claim(programme, lender)
    evm.warp(max(ends_at - evm.timestamp, 0))
    claimed += rewards.claim(programme, lender)
    assert claimed == pytest.approx(amount / 3, rel=1e-4, abs=1)
    claimed += rewards.claim(programme, other)
    left = rewards.stream.programme(programme).held
    assert left == amount - claimed == rewards.token.balanceOf(rewards.stream)
    assert 0 <= left <= max(amount // MONTH + 2, 2)
