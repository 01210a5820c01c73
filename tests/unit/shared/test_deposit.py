"""`deposit` of both pools."""

import pytest

from perpool.evm import Contract, Evm, reverts
from tests.market import MAX, ZERO_ADDRESS, deploy_market
from tests.pools import DAY, HEADROOM, MAX_UINT128, Balances, Side, expect_event, totals


def test_deposit__more_than_the_caller_has(side: Side) -> None:
    lender = side.give("lender", 5)
    with reverts("insufficient balance"):
        side.pool.deposit(side.whole(5) + 1, lender, sender=lender)


def test_deposit__nothing(side: Side) -> None:
    lender = side.give("lender", 5)
    with reverts("zero amount"):
        side.pool.deposit(0, lender, sender=lender)


def test_deposit__worth_no_share(side: Side) -> None:
    lender = side.give("lender", 5)
    # each share is worth two assets
    side.set_totals(cash=2 * 10**30, supply_shares=10**30)
    with reverts("zero amount"):
        side.pool.deposit(1, lender, sender=lender)


def test_deposit__paused(side: Side) -> None:
    lender = side.give("lender", 5)
    side.pause()
    with reverts("paused"):
        side.pool.deposit(1, lender, sender=lender)


@pytest.mark.parametrize("shares", [HEADROOM // 2, HEADROOM - 1], ids=["assets", "shares"])
def test_deposit__into_the_headroom(side: Side, shares: int) -> None:
    """Assets fill up first where a share is worth two of them, shares where it is worth half."""
    lender = side.give("lender", 5)
    room = side.whole(1)
    if shares == HEADROOM // 2:
        side.set_totals(cash=HEADROOM - 1 - room, supply_shares=shares)
    else:
        side.set_totals(cash=HEADROOM // 2, supply_shares=HEADROOM - 1 - 2 * room)
    with reverts("amount too large"):
        side.pool.deposit(room + 10**6, lender, sender=lender)
    assert side.pool.deposit(room, lender, sender=lender) > 0


def test_deposit__over_the_cap(side: Side) -> None:
    lender = side.lend(5)
    side.give("lender", 5)
    side.set_caps(supply=side.whole(6))
    with reverts("supply cap"):
        side.pool.deposit(side.whole(1) + 1, lender, sender=lender)
    side.pool.deposit(side.whole(1), lender, sender=lender)


def test_deposit__cap_counts_interest(side: Side) -> None:
    """All of it, with the fee that is nobody's yet."""
    lender = side.lend(1_000)
    side.owe(500)
    side.give("lender", 1_000)
    side.set_caps(supply=side.whole(1_100))
    side.evm.warp(DAY)
    with side.evm.same_block():
        state = side.pool.accrued_state()
        earned = state.cash + state.debt_assets - side.whole(1_000)
        assert earned > side.pool.totalAssets() - side.whole(1_000) > 0
        assert side.pool.maxDeposit(lender) == side.whole(100) - earned
        with reverts("supply cap"):
            side.pool.deposit(side.whole(100) - earned + 1, lender, sender=lender)
        side.pool.deposit(side.whole(100) - earned, lender, sender=lender)


@pytest.mark.parametrize("cap", [MAX_UINT128, MAX])
def test_deposit__without_a_cap(side: Side, cap: int) -> None:
    side.set_caps(supply=cap, debt=cap)
    assert side.pool.state().flags & 4 == 0
    side.lend(1_000)


def test_deposit__to_nobody_or_the_pool(side: Side) -> None:
    lender = side.give("lender", 5)
    for receiver in (ZERO_ADDRESS, side.pool):
        # whatever the amount
        for amount in (side.whole(1), 0):
            with reverts("bad receiver"):
                side.pool.deposit(amount, receiver, sender=lender)


def test_deposit__first(side_of_decimals: Side) -> None:
    side = side_of_decimals
    lender, receiver = side.give("lender", 1_000), side.evm.account("receiver")
    balances = Balances([side.asset, side.pool], lender, receiver, side.pool)
    amount = side.whole(1_000)

    receipt = side.pool.deposit.transact(amount, receiver, sender=lender)

    shares = amount * 10 ** min(6, 24 - side.decimals)
    assert receipt.return_value == shares
    expect_event(
        receipt, "Deposit", side.pool, sender=lender, owner=receiver, assets=amount, shares=shares
    )
    expect_event(
        receipt, "Transfer", side.pool, sender=ZERO_ADDRESS, receiver=receiver, value=shares
    )
    assert receipt.events("Accrue") == []
    assert balances.changes(lender) == (-amount, 0)
    assert balances.changes(receiver) == (0, shares)
    assert balances.changes(side.pool) == (amount, 0)
    assert totals(side.pool) == (amount, shares, 0, 0)


def test_deposit__at_a_risen_price(side_of_decimals: Side) -> None:
    side = side_of_decimals
    side.lend(1_000)
    side.owe(500)
    lender = side.give("second lender", 77.777)
    side.evm.warp(30 * DAY)
    before, price = side.pool.accrued_state(), side.price()
    balances = Balances([side.asset, side.pool], lender, side.pool)
    amount = side.whole(77.777)

    receipt = side.pool.deposit.transact(amount, lender, sender=lender)

    shares = price.shares_down(amount)
    assert receipt.return_value == shares
    assert shares < amount * 10 ** min(6, 24 - side.decimals)
    expect_event(
        receipt, "Deposit", side.pool, sender=lender, owner=lender, assets=amount, shares=shares
    )
    assert len(receipt.events("Accrue", side.pool)) == 1
    assert balances.changes(lender) == (-amount, shares)
    # the fee on the interest stays what it is, and who comes now has no part in it
    expect_event(receipt, "Transfer", side.pool, sender=ZERO_ADDRESS, receiver=lender, value=shares)
    assert balances.changes(side.pool) == (amount, 0)
    assert side.pool.state().charged_assets == before.charged_assets + amount
    assert totals(side.pool) == (
        before.supply_assets + amount,
        before.supply_shares + shares,
        before.debt_assets,
        before.debt_shares,
    )
    # and what it can be taken out for is no more than was put in
    assert side.pool.previewRedeem(shares) <= amount


def test_deposit__of_a_token_with_a_fee(evm: Evm) -> None:
    token = evm.deploy("FeeToken", 18, 0)
    market = deploy_market(evm, token=token)
    market.lend(tokens=market.tokens(100))
    newcomer = market.give(evm.account("newcomer"), tokens=market.tokens(100))
    token.set_fee(250)
    worth = market.forward.convertToAssets(10**24)

    shares = market.forward.deposit(market.tokens(100), newcomer, sender=newcomer)

    # credited with what arrived; nobody else pays
    assert shares == market.tokens("97.5") * 10**6
    assert market.forward.totalAssets() == market.tokens("197.5") == token.balanceOf(market.forward)
    assert market.forward.convertToAssets(10**24) == worth


def test_deposit__from_within_a_transfer(evm: Evm) -> None:
    token = evm.deploy("HookToken", 18)
    market = deploy_market(evm, token=token)
    lender = market.give(evm.account("lender"), tokens=market.tokens(100))
    attacker = evm.deploy("SwapThief")
    token.mint(attacker, market.tokens(1))
    _approve(token, attacker, market.forward)
    again = market.forward.deposit.encode(market.tokens(1), attacker)
    attacker.arm(market.forward, again, ZERO_ADDRESS)
    token.set_hook_of(lender, attacker)

    market.forward.deposit(market.tokens(100), lender, sender=lender)

    assert (attacker.attempts(), attacker.successes()) == (1, 0)
    assert market.forward.balanceOf(attacker) == 0
    assert market.forward.totalAssets() == market.tokens(100)


def _approve(token: Contract, owner: Contract, spender: Contract) -> None:
    token.approve(spender, MAX, sender=owner.address)
