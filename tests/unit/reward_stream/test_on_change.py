"""`RewardStream.on_change`, told by pools, by a vault and by strangers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from eth_utils.crypto import keccak

from perpool.evm import Account
from tests.market import MAX, WAD, Market
from tests.pools import calm
from tests.rewards import BORROWERS, DAY, HOLDERS, MONTH, Rewards


@pytest.fixture
def market(rewards: Rewards) -> Market:
    """With lenders, a borrower and a short, who are heard of from here on."""
    market = rewards.market
    for pool in (market.reverse, market.forward):
        for side in (HOLDERS, BORROWERS):
            rewards.fund(rewards.add(pool, side), 300 * WAD)
    market.lend(usdt=market.usd(100_000))
    market.lend(tokens=market.tokens(10_000))
    calm(market)
    market.borrow(collateral=market.tokens(100), usdt=market.usd(690))
    market.short(margin=market.usd(1_000), tokens=market.tokens(100))
    return market


def expect_weights(rewards: Rewards, *names: str) -> None:
    """What is known of the accounts is what they have, and their sum is the programme's."""
    stream, market = rewards.stream, rewards.market
    for pool in (market.reverse, market.forward):
        for id_ in stream.programmes_of(pool):
            programme = stream.programme(id_)
            shares_of = pool.debt_shares_of if programme.side == BORROWERS else pool.balanceOf
            weights = []
            for name in names:
                account = market.evm.account(name)
                weights.append(stream.weight_of(id_, account))
                assert weights[-1] == shares_of(account) // programme.unit
            assert sum(weights) == programme.weight


def weights_of_all(rewards: Rewards) -> list[int]:
    """Of the programmes of both pools."""
    stream = rewards.stream
    return [
        stream.programme(id_).weight
        for pool in (rewards.market.reverse, rewards.market.forward)
        for id_ in stream.programmes_of(pool)
    ]


def _redeem(market: Market) -> None:
    lender = market.evm.account("lender")
    for pool in (market.reverse, market.forward):
        pool.redeem(pool.balanceOf(lender) // 2, lender, lender, sender=lender)


def _transfer(market: Market) -> None:
    lender = market.evm.account("lender")
    for pool, receiver in ((market.reverse, "borrower"), (market.forward, "lender")):
        half = pool.balanceOf(lender) // 2
        pool.transfer(market.evm.account(receiver), half, sender=lender)


def _repay(market: Market) -> None:
    payer = market.give(market.evm.account("payer"), usdt=market.usd(300), tokens=market.tokens(40))
    market.reverse.repay(market.usd(300), market.evm.account("borrower"), sender=payer)
    market.forward.repay(market.tokens(40), market.evm.account("shorter"), sender=payer)


def _liquidate(market: Market) -> None:
    liquidator = market.give(
        market.evm.account("liquidator"), usdt=market.usd(10_000), tokens=market.tokens(1_000)
    )
    for pool, price, account in ((market.reverse, 5, "borrower"), (market.forward, 30, "shorter")):
        market.set_price(price, move_uniswap=False)
        pool.liquidate(market.evm.account(account), MAX, liquidator, b"", sender=liquidator)
        assert pool.debt_shares_of(market.evm.account(account)) == 0


@pytest.mark.parametrize(
    "change", [_redeem, _transfer, _repay, _liquidate], ids=lambda each: each.__name__[1:]
)
def test_on_change__by_pools(
    rewards: Rewards, market: Market, change: Callable[[Market], None]
) -> None:
    names = ("lender", "borrower", "shorter", "liquidator", "payer")
    expect_weights(rewards, *names)
    before = weights_of_all(rewards)
    change(market)
    assert not market.evm.last.events("HookFailed")
    expect_weights(rewards, *names)
    after = weights_of_all(rewards)
    if change is not _transfer:
        # the reserve's shares, which grow and are burnt meanwhile, are nobody's
        assert sum(x != y for x, y in zip(before, after, strict=True)) == 2


def word_of(rewards: Rewards, programme: int) -> int:
    """The programme's word as it is stored."""
    artifact = rewards.stream.artifact
    assert artifact is not None
    slot = artifact.storage_layout["storage_layout"]["programmes"]["slot"]
    key = keccak(slot.to_bytes(32, "big") + programme.to_bytes(32, "big"))
    return rewards.evm.storage(rewards.stream, int.from_bytes(key, "big"))


def test_on_change__writes_no_word_that_need_not_change(rewards: Rewards, market: Market) -> None:
    """A borrowers' programme for a lender; anything for less than a unit of shares."""
    lender, other = market.evm.account("lender"), market.evm.account("other")
    holders, borrowers = rewards.stream.programmes_of(market.reverse)
    market.evm.warp(DAY)
    before = [word_of(rewards, id_) for id_ in (holders, borrowers)]
    assert 0 not in before
    market.reverse.transfer(lender, market.reverse.balanceOf(lender), sender=lender)
    assert [word_of(rewards, id_) for id_ in (holders, borrowers)] == before
    market.reverse.transfer(other, market.reverse.balanceOf(lender) // 2, sender=lender)
    assert word_of(rewards, holders) != before[0]
    assert word_of(rewards, borrowers) == before[1]


def test_on_change__by_a_vault(rewards: Rewards) -> None:
    """A source that knows shares alone. It is taken at its word, and not asked."""
    evm, stream = rewards.evm, rewards.stream
    vault = evm.deploy("UsdtLike", 18)
    holder = evm.account("holder")
    programme = rewards.add(vault)
    rewards.fund(programme, 30 * WAD)
    evm.set_code(vault, b"\xfe")
    stream.on_change(holder, HOLDERS, 5 * WAD, sender=vault)
    assert stream.weight_of(programme, holder) == 5 * WAD // stream.programme(programme).unit
    evm.warp(DAY)
    assert stream.earned(programme, holder) == pytest.approx(WAD, rel=1e-3)


def test_on_change__by_a_stranger(rewards: Rewards, programme: int) -> None:
    """Whoever calls speaks for himself: nothing of anybody else's changes."""
    lender = rewards.lend("lender", 1_000)
    rewards.fund(programme, 30 * WAD)
    before = rewards.stream.programme(programme)
    for stranger in (lender, rewards.project, rewards.market.forward):
        with rewards.evm.same_block():
            for side in (0, HOLDERS, BORROWERS, HOLDERS | BORROWERS):
                rewards.stream.on_change(lender, side, 2**255, sender=stranger)
            now = rewards.stream.programme(programme).as_dict()
        kept = ("weight", "rate", "held")
        assert [now[name] for name in kept] == [before.as_dict()[name] for name in kept]


def test_on_change__nobody_there(rewards: Rewards, programme: int) -> None:
    """Time without anybody is added to the end: the first who comes gets no more for it."""
    start = rewards.evm.timestamp
    ends_at = rewards.fund(programme, 30 * WAD)
    funded_at = rewards.evm.timestamp
    assert funded_at > start
    rewards.evm.warp(10 * DAY)
    lender = rewards.lend("lender", 1_000)
    came_at = rewards.evm.timestamp
    assert rewards.stream.earned(programme, lender) == 0
    assert rewards.stream.programme(programme).ends_at == ends_at + came_at - funded_at
    rewards.evm.warp(DAY)
    assert rewards.stream.earned(programme, lender) == pytest.approx(WAD, rel=1e-3)
    # and again
    rewards.leave(lender)
    earned = rewards.stream.earned(programme, lender)
    unstreamed = rewards.stream.programme(programme).unstreamed
    rewards.evm.warp(3 * MONTH)
    assert rewards.stream.programme(programme).unstreamed == unstreamed
    assert rewards.stream.earned(programme, lender) == earned
    other = rewards.lend("other", 1)
    assert rewards.stream.earned(programme, other) == 0
    rewards.evm.warp(2 * MONTH)
    total = sum(rewards.stream.earned(programme, account) for account in (lender, other))
    assert total == pytest.approx(30 * WAD, rel=1e-6)


def test_on_change__the_reserve_earns_nothing(rewards: Rewards, market: Market) -> None:
    """Nor does what is sent to the stream itself: the lender gets all that is streamed."""
    lender = market.evm.account("lender")
    programme, _ = rewards.stream.programmes_of(market.reverse)
    market.evm.warp(5 * DAY)
    market.reverse.sync_funding()
    assert market.reverse.balanceOf(market.reverse) > 0
    market.reverse.transfer(rewards.stream, 10**12, sender=lender)
    rewards.stream.sync(market.reverse, [market.reverse, rewards.stream], sender=lender)
    assert rewards.stream.weight_of(programme, market.reverse) == 0
    assert rewards.stream.weight_of(programme, rewards.stream) == 0
    state = rewards.stream.programme(programme)
    streamed = state.held - state.unstreamed
    assert rewards.stream.earned(programme, lender) == pytest.approx(streamed, rel=1e-9)


def test_on_change__more_than_a_weight_holds(rewards: Rewards) -> None:
    """The rest does not count; who comes later counts once there is room."""
    evm = rewards.evm
    vault = evm.deploy("UsdtLike", 6)
    programme = rewards.add(vault)
    whale, late = evm.account("whale"), evm.account("late")
    for account, shares in ((whale, 2**72 + 5), (late, 10**6)):
        rewards.stream.on_change(account, HOLDERS, shares, sender=vault)
    assert rewards.stream.weight_of(programme, whale) == 2**72 - 1
    assert rewards.stream.weight_of(programme, late) == 0
    for account, shares in ((whale, 5), (late, 10**6 + 2**72)):
        rewards.stream.on_change(account, HOLDERS, shares, sender=vault)
    assert rewards.stream.weight_of(programme, whale) == 5
    assert rewards.stream.weight_of(programme, late) == 2**72 - 1 - 5
    assert rewards.stream.programme(programme).weight == 2**72 - 1


def test_on_change__fits_the_gas_of_a_hook(rewards: Rewards) -> None:
    """The first of all accounts, in as many programmes as there can be: each word is new."""
    market = rewards.market
    for side in (HOLDERS, BORROWERS) * 3:
        rewards.fund(rewards.add(market.reverse, side), 300 * WAD)
    lender: Account = rewards.lend("lender", 1_000)
    assert not rewards.evm.last.events("HookFailed")
    borrower = market.borrow(collateral=market.tokens(100), usdt=market.usd(500))
    assert not rewards.evm.last.events("HookFailed")
    ids = rewards.stream.programmes_of(market.reverse)
    assert len(ids) == 6
    for account, those in ((lender, ids[:3]), (borrower, ids[3:])):
        assert all(rewards.stream.weight_of(id_, account) for id_ in those)


def test_on_change__of_one_side_leaves_the_other(rewards: Rewards, market: Market) -> None:
    """A lender who also owes keeps the weight of what did not change."""
    stream, borrower = rewards.stream, market.evm.account("borrower")
    holders, borrowers = stream.programmes_of(market.reverse)
    owed = stream.weight_of(borrowers, borrower)
    market.reverse.transfer(
        borrower,
        market.reverse.balanceOf(market.evm.account("lender")) // 2,
        sender=market.evm.account("lender"),
    )
    held = stream.weight_of(holders, borrower)
    assert held > 0
    assert stream.weight_of(borrowers, borrower) == owed > 0
    market.give(borrower, usdt=market.usd(300))
    market.reverse.repay(market.usd(300), borrower, sender=borrower)
    assert stream.weight_of(holders, borrower) == held
    assert 0 < stream.weight_of(borrowers, borrower) < owed
