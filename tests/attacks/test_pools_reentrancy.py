"""Attacks in the middle of a call: by a token, an adapter's route, a flash loan, a hook.

The one lock of a pool stands before all of them. Where something else would stop the attack too,
a copy that lacks only the lock is shown to hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from perpool import uniswap
from perpool.evm import Account, Contract, Evm, Reverted, reverts
from tests.attacks.pools import market_without
from tests.market import MAX, Market


def market_of_hooks(evm: Evm, *missing: str) -> Market:
    """A market whose token calls whoever sends or receives it, if they wish."""
    return market_without(evm, *missing, token=evm.deploy("HookToken", 18))


def puppet_with(market: Market, **amounts: int) -> Contract:
    puppet = market.evm.deploy("Puppet")
    market.give(puppet, **amounts)
    return puppet


def number(answer: bytes) -> int:
    return int.from_bytes(answer[:32], "big")


# --- a token with hooks, while it is pulled


def deposit_within_a_deposit(market: Market) -> tuple[int, list[bool]]:
    """Gain of who deposits 100 tokens, and 100 more while the pool measures what arrives."""
    market.lend("victim", tokens=market.tokens(1_000))
    forward, amount = market.forward, market.tokens(100)
    puppet = puppet_with(market, tokens=2 * amount)
    market.token.set_hook(puppet, sender=puppet)
    deposit = (forward, forward.deposit.encode(amount, puppet), False)
    puppet.prepare("before_transfer", [deposit])
    puppet.run([deposit])
    successes = puppet.outcome()[0]
    forward.redeem(forward.balanceOf(puppet), puppet, puppet, sender=puppet)
    return int(market.token.balanceOf(puppet)) - 2 * amount, successes


def test_deposit_within_a_deposit(evm: Evm) -> None:
    gain, successes = deposit_within_a_deposit(market_of_hooks(evm))
    assert successes == [False, True]
    assert gain == 0


def test_deposit_within_a_deposit__weakened(evm: Evm) -> None:
    """The inner deposit arrives within the outer one, and is credited to both."""
    market = market_of_hooks(evm, "lock")
    gain, successes = deposit_within_a_deposit(market)
    assert successes == [True, True]
    assert gain == market.tokens(100)


def repay_with_a_gift(market: Market, pool: Contract, asset: Contract, borrower: Account) -> None:
    """A part is repaid, and while the pool measures it, more than all that is owed is given to it.

    Nothing but the debt is credited: the gift is nobody's.
    """
    puppet = puppet_with(market, tokens=market.tokens(1_000), usdt=market.usd(1_000))
    asset.set_hook(puppet, sender=puppet)
    before, gift = pool.accrued_state(), pool.debt_of(borrower)
    puppet.prepare("before_transfer", [(asset, asset.mint.encode(pool, gift), False)])
    puppet.run([(pool, pool.repay.encode(gift // 2, borrower), False)])
    assert puppet.outcome()[0] == [True, True]
    after = pool.state()
    assert pool.debt_of(borrower) == 0
    assert after.debt_assets == before.debt_assets - gift > 0
    assert after.cash == before.cash + gift


def test_gift_within_a_repayment(evm: Evm) -> None:
    market = market_of_hooks(evm)
    market.lend(tokens=market.tokens(10_000))
    market.short("another", margin=market.usd(20_000), tokens=market.tokens(200))
    shorter = market.short("shorter", margin=market.usd(20_000), tokens=market.tokens(100))
    with evm.same_block():
        repay_with_a_gift(market, market.forward, market.token, shorter)


def test_gift_within_a_repayment__of_usdt(evm: Evm) -> None:
    market = market_without(evm, usdt=evm.deploy("HookToken", 6))
    market.lend(usdt=market.usd(10_000))
    market.borrow("another", collateral=market.tokens(1_000), usdt=market.usd(200))
    borrower = market.borrow("borrower", collateral=market.tokens(1_000), usdt=market.usd(100))
    with evm.same_block():
        repay_with_a_gift(market, market.reverse, market.usdt, borrower)


@pytest.mark.parametrize("moment", ["before_transfer", "after_transfer"])
def test_every_entry_is_locked_while_a_token_moves(evm: Evm, moment: str) -> None:
    """Whatever changes the pool, and every view that would have to accrue."""
    market = market_of_hooks(evm)
    market.lend("victim", tokens=market.tokens(10_000))
    short = market.short("shorter", margin=market.usd(1_000), tokens=market.tokens(100))
    puppet = puppet_with(market, tokens=market.tokens(100), usdt=market.usd(1_000))
    market.token.set_hook(puppet, sender=puppet)
    pool, swapper = market.forward, market.swapper
    entries: Sequence[tuple[str, Sequence[Any]]] = (
        ("deposit", (1, puppet)),
        ("mint", (1, puppet)),
        ("withdraw", (1, puppet, puppet)),
        ("redeem", (10**6, puppet, puppet)),
        ("transfer", (market.owner, 0)),
        ("transferFrom", (puppet, market.owner, 0)),
        ("approve", (market.owner, 1)),
        ("repay", (1, short)),
        ("add_margin", (1, puppet)),
        ("remove_margin", (1, puppet, puppet)),
        ("open_short", (0, 1, 0, MAX, puppet, swapper, b"")),
        ("close_short", (1, 1, MAX, puppet, puppet, swapper, b"")),
        ("liquidate", (short, 1, puppet, b"")),
        ("liquidate_by_purchase", (short, puppet)),
        ("sync_funding", ()),
        ("totalAssets", ()),
        ("convertToAssets", (1,)),
        ("previewRedeem", (1,)),
        ("maxWithdraw", (puppet,)),
        ("debt_of", (short,)),
        ("accrued_state", ()),
    )
    pool.add_margin(1, puppet, sender=puppet)
    for start in range(0, len(entries), 7):
        steps = [
            (pool, pool.function(name).encode(*values), False)
            for name, values in entries[start : start + 7]
        ]
        puppet.prepare(moment, steps)
        puppet.run([(pool, pool.deposit.encode(market.tokens(1), puppet), True)])
        successes, answers = puppet.outcome()
        assert successes == [False] * len(steps) + [True]
        # of the lock, which has no words, and of nothing else
        assert [answer for answer in answers[:-1] if answer] == []


# --- what others see in the middle


def claims_while_paid(market: Market) -> int:
    """What an account still seems to own, in tokens, while it is being paid for it."""
    market.lend("victim", tokens=market.tokens(1_000))
    forward, amount = market.forward, market.tokens(100)
    puppet = puppet_with(market, tokens=amount)
    forward.deposit(amount, puppet, sender=puppet)
    market.token.set_hook(puppet, sender=puppet)
    shares = forward.balanceOf(puppet)
    puppet.prepare(
        "after_transfer",
        [
            (market.token, market.token.balanceOf.encode(puppet), True),
            (forward, forward.balanceOf.encode(puppet), True),
        ],
    )
    puppet.run([(forward, forward.redeem.encode(shares, puppet, puppet), True)])
    paid, shown = (number(answer) for answer in puppet.outcome()[1][:2])
    assert paid == amount
    return int(forward.convertToAssets(shown))


def test_read_only_reentrancy(evm: Evm) -> None:
    """A venue that lends against shares finds none once their tokens are out."""
    assert claims_while_paid(market_of_hooks(evm)) == 0


def test_read_only_reentrancy__weakened(evm: Evm) -> None:
    market = market_of_hooks(evm, "burning before paying")
    assert claims_while_paid(market) == market.tokens(100)


def test_read_only_reentrancy__of_a_swap(evm: Evm) -> None:
    """While a short is sold, its totals and position are still those before, all of them."""
    market = market_without(evm)
    market.lend("victim", tokens=market.tokens(1_000))
    forward = market.forward
    before = forward.state()
    puppet = puppet_with(market, usdt=market.usd(2_000))
    market.factory.allow_swapper(puppet, True, sender=market.owner)
    steps = [
        (forward, forward.totalSupply.encode(), True),
        (forward, forward.debt_shares_of.encode(puppet), True),
        (forward, forward.books.encode(), True),
        (market.usdt, market.usdt.transfer.encode(forward, market.usd(1_000)), True),
    ]
    puppet.prepare("swap_exact_in", steps)
    order = (market.usd(1_000), market.tokens(100), 0, MAX, puppet, puppet, b"")
    puppet.run([(forward, forward.open_short.encode(*order), True)])
    supply, debt_shares, sold = (number(answer) for answer in puppet.outcome()[1][:3])
    assert (supply, debt_shares, sold) == (before.supply_shares, 0, 0)
    assert forward.books() == (market.tokens(100), 0)


# --- through the route of an honest adapter


def margin_within_a_sale(market: Market) -> tuple[int, list[bool]]:
    """Collateral beyond what was paid for, by adding margin while the pool measures proceeds.

    Whoever opens a short chooses the route, and so a token of his own on it.
    """
    evm, v3, forward = market.evm, market.uniswap, market.forward
    market.lend("victim", tokens=market.tokens(100_000))
    market.short("other victim", margin=market.usd(20_000), tokens=market.tokens(1_000))
    evil = evm.deploy("HookToken", 18)
    first = v3.create_pool(market.token, evil, fee=3_000, price=Decimal(10))
    second = v3.create_pool(evil, market.usdt, fee=500, price=Decimal(1))
    first.add_liquidity(10**6 * 10**18)
    second.add_liquidity(market.usd(10**6))
    route = uniswap.encode_v3_route(
        [market.token.address, evil.address, market.usdt.address], [first.fee, second.fee]
    )
    margin, extra = market.usd(1_000), market.usd(5_000)
    puppet = puppet_with(market, usdt=margin + extra)
    evil.set_hook_of(market.swapper, puppet)
    puppet.prepare("after_transfer", [(forward, forward.add_margin.encode(extra, puppet), False)])
    order = (margin, market.tokens(100), 0, MAX, puppet, market.swapper, route)
    puppet.run([(forward, forward.open_short.encode(*order), True)])
    paid = margin + extra - int(market.usdt.balanceOf(puppet))
    proceeds = int(forward.position(puppet).proceeds)
    collateral = int(forward.position(puppet).collateral)
    # what the sale itself brought is what a sale of 100 tokens brings, a little under 1,000 USDT
    honest = min(proceeds, market.usd(1_000))
    return collateral - paid - honest, puppet.outcome()[0]


def test_adapter_reentrancy(evm: Evm) -> None:
    gain, successes = margin_within_a_sale(market_without(evm))
    assert successes == [False, True]
    assert gain == 0


def test_adapter_reentrancy__weakened(evm: Evm) -> None:
    """The margin counts as margin, and as proceeds once more: paid by the other shorts."""
    market = market_without(evm, "lock")
    gain, successes = margin_within_a_sale(market)
    assert successes == [True, True]
    assert market.usd(4_980) < gain <= market.usd(5_000)
    puppet = market.evm.last.to
    forward, held = market.forward, market.usdt.balanceOf(puppet)
    out = market.usd(10_000)
    forward.remove_margin(out, puppet, puppet, sender=puppet)
    assert market.usdt.balanceOf(puppet) - held == out


# --- flash loans


def deposit_the_loan(market: Market) -> tuple[int, list[bool]]:
    """Gain of who deposits what he was lent, and pays the loan back with the deposit."""
    market.lend("victim", usdt=market.usd(100_000))
    reverse, amount = market.reverse, market.usd(100_000)
    puppet = puppet_with(market)
    deposit = (reverse, reverse.deposit.encode(amount, puppet), False)
    puppet.prepare("onFlashLoan", [deposit])
    puppet.run([(reverse, reverse.flashLoan.encode(puppet, market.usdt, amount, b""), True)])
    successes = puppet.outcome()[0]
    if reverse.balanceOf(puppet) > 0:
        reverse.redeem(reverse.balanceOf(puppet), puppet, puppet, sender=puppet)
    return int(market.usdt.balanceOf(puppet)), successes


def test_flash_loan_side_entrance(evm: Evm) -> None:
    assert deposit_the_loan(market_without(evm)) == (0, [False, True])


def test_flash_loan_side_entrance__without_the_pull(evm: Evm) -> None:
    """The deposit fails, so the balance is short."""
    market = market_without(evm, "pull of the loan")
    with reverts("transfer fell short"):
        deposit_the_loan(market)


def test_flash_loan_side_entrance__without_the_pull_and_the_lock(evm: Evm) -> None:
    market = market_without(evm, "pull of the loan", "lock")
    gain, successes = deposit_the_loan(market)
    assert successes == [True, True]
    assert gain == market.usd(100_000)


# --- hooks of a pool


def hooked(market: Market) -> Contract:
    """A hook of the forward pool, from the owner's list."""
    hook = market.evm.deploy("TestHook")
    market.factory.allow_hook(hook, True, sender=market.owner)
    market.factory.set_hook(market.forward, hook, sender=market.owner)
    return hook


def liquidate_under_a_failing_hook(market: Market) -> int:
    """Repaid, where the borrower has found a way to make the hook fail for him."""
    market.lend("lender", tokens=market.tokens(10_000))
    hook = hooked(market)
    attacker = market.short("attacker", margin=market.usd(1_000), tokens=market.tokens(100))
    liquidator = market.give(market.evm.account("liquidator"), tokens=market.tokens(100))
    hook.fail()
    market.set_price(17)
    repaid, _ = market.forward.liquidate(attacker, MAX, liquidator, b"", sender=liquidator)
    return int(repaid)


def test_failing_hook(evm: Evm) -> None:
    market = market_without(evm)
    assert liquidate_under_a_failing_hook(market) > market.tokens(50)
    assert evm.last.events("HookFailed", market.forward)


def test_failing_hook__weakened(evm: Evm) -> None:
    """No liquidation, whatever the price: the lenders carry it all."""
    market = market_without(evm, "indifference to the hook")
    with reverts():
        liquidate_under_a_failing_hook(market)


def test_hook_that_burns_its_gas(evm: Evm) -> None:
    """It burns what it is given, which is no more than the pool says."""
    market = market_without(evm)
    lender = market.lend("lender", tokens=market.tokens(10_000))
    hook = hooked(market)
    hook.burn_gas()
    market.forward.transfer(evm.account("friend"), 1, sender=lender)
    assert len(evm.last.events("HookFailed", market.forward)) == 2
    assert evm.last.gas_used < 2 * 100_000 + 150_000


def starve_the_hook(market: Market, rewards: int) -> int | None:
    """A gas limit with which a debt shrinks and the hook, which pays rewards for it, fails."""
    evm, forward = market.evm, market.forward
    market.lend("lender", tokens=market.tokens(10_000))
    attacker = market.short("attacker", margin=market.usd(1_000), tokens=market.tokens(100))
    market.give(attacker, tokens=market.tokens(50))
    hook = hooked(market)
    points = [evm.deploy("TestToken", "Points", "PTS", 18) for _ in range(rewards)]
    pay = [(each, each.mint.encode(attacker, 1), True) for each in points]
    if rewards == 1:
        hook.prepare_call(points[0], pay[0][1])
    else:
        several = evm.deploy("Puppet")
        hook.prepare_call(several, several.run.encode(pay))
    told = False
    for gas in range(80_000, 1_500_000, 5_000):
        with evm.anchor():
            try:
                forward.repay(market.tokens(50), attacker, sender=attacker, gas=gas)
            except Reverted:
                continue
            if evm.last.events("HookFailed", forward):
                return gas
            told = True
    assert told
    return None


def test_starved_hook(evm: Evm) -> None:
    """With any gas limit either nothing happens or the hook is told."""
    assert starve_the_hook(market_without(evm), rewards=1) is None


def test_starved_hook__weakened(evm: Evm) -> None:
    """Ten times the gas and no question whether it is there: what a call holds back suffices."""
    market = market_without(evm, "gas for the hook")
    assert starve_the_hook(market, rewards=3) is not None


def test_hook_that_calls_the_pool(evm: Evm) -> None:
    """It finds the pool locked."""
    market = market_without(evm)
    hook = hooked(market)
    forward = market.forward
    hook.prepare_call(forward, forward.sync_funding.encode())
    market.lend("lender", tokens=market.tokens(10))
    (called,) = evm.last.events("Called")
    assert not called.success
    # after the call it may
    forward.sync_funding()
    assert forward.state().updated_at == evm.timestamp
