"""The hook of both pools: told after every change, and without any power over it."""

from typing import Any

import pytest

from perpool.evm import Account, Contract, Receipt, Reverted, reverts
from tests.market import MAX, ZERO_ADDRESS
from tests.pools import DAY, Side
from tests.unit.shared.conftest import BORROWERS, LENDERS, Change, repay

SHARES, DEBT = 1, 2
"""IHook.Side"""


@pytest.fixture
def lender(side: Side) -> Account:
    """With half of the pool's assets in hand for more."""
    side.give("lender", 1_000)
    return side.lend(1_000)


@pytest.fixture
def borrower(side: Side, lender: Account) -> Account:
    return side.owe(400)


@pytest.fixture(params=["standard", "another"])
def hook(
    request: pytest.FixtureRequest, side: Side, lender: Account, borrower: Account
) -> Contract:
    """The market's own, or one whose address the pool looks up."""
    return side.attach_hook(standard=request.param == "standard")


def told(receipt: Receipt, hook: Contract) -> list[tuple[Any, ...]]:
    """(account, side, told, shares, debt shares) of each call, in order; the last two as asked."""
    return [tuple(event.args)[1:-1] for event in receipt.events("Told", hook)]


def holdings(side: Side, account: Any) -> tuple[int, int]:
    """(shares, debt shares)"""
    return side.pool.balanceOf(account), side.pool.debt_shares_of(account)


# --- told


@pytest.mark.parametrize("change", LENDERS.values(), ids=LENDERS)
def test_hook__told_of_lenders(side: Side, hook: Contract, change: Change) -> None:
    lender = side.evm.account("lender")
    before = holdings(side, lender)
    receipt = change(side)
    after = holdings(side, lender)
    assert before[0] != after[0]
    assert told(receipt, hook) == [(lender.address, SHARES, after[0], *after)]


@pytest.mark.parametrize("change", BORROWERS.values(), ids=BORROWERS)
def test_hook__told_of_borrowers(side: Side, hook: Contract, change: Change) -> None:
    borrower = side.evm.account("borrower")
    before = holdings(side, borrower)
    receipt = change(side)
    after = holdings(side, borrower)
    assert before[1] != after[1]
    assert told(receipt, hook) == [(borrower.address, DEBT, after[1], *after)]


def test_hook__told_of_both_ends_of_a_transfer(side: Side, hook: Contract) -> None:
    lender, borrower = side.evm.account("lender"), side.evm.account("borrower")
    spender = side.evm.account("spender")
    side.pool.approve(spender, MAX, sender=lender)
    for call, sender in (
        (lambda **options: side.pool.transfer.transact(borrower, 7, **options), lender),
        (
            lambda **options: side.pool.transferFrom.transact(lender, borrower, 7, **options),
            spender,
        ),
    ):
        before = [holdings(side, account) for account in (lender, borrower)]
        receipt = call(sender=sender)
        after = [holdings(side, account) for account in (lender, borrower)]
        assert [now[0] - was[0] for now, was in zip(after, before, strict=True)] == [-7, 7]
        assert told(receipt, hook) == [
            (lender.address, SHARES, after[0][0], *after[0]),
            (borrower.address, SHARES, after[1][0], *after[1]),
        ]


def test_hook__told_once_of_a_transfer_to_oneself(side: Side, hook: Contract) -> None:
    """With what is held, not with what was held in between."""
    lender = side.evm.account("lender")
    before = holdings(side, lender)
    receipt = side.pool.transfer.transact(lender, before[0] // 2, sender=lender)
    assert told(receipt, hook) == [(lender.address, SHARES, before[0], *before)]


def test_hook__told_once_of_a_pair_of_actions(side: Side, hook: Contract) -> None:
    market, borrower = side.market, side.evm.account("borrower")
    if side.name == "forward":
        return
    market.give(borrower, tokens=market.tokens(10), usdt=market.usd(50))
    receipt = side.pool.supply_collateral_and_borrow.transact(
        market.tokens(10), market.usd(50), borrower, borrower, sender=borrower
    )
    now = holdings(side, borrower)
    assert told(receipt, hook) == [(borrower.address, DEBT, now[1], *now)]
    receipt = side.pool.repay_and_withdraw_collateral.transact(
        market.usd(50), market.tokens(10), borrower, borrower, sender=borrower
    )
    now = holdings(side, borrower)
    assert told(receipt, hook) == [(borrower.address, DEBT, now[1], *now)]


def test_hook__not_told_where_shares_and_debt_stay(side: Side, hook: Contract) -> None:
    market, borrower = side.market, side.evm.account("borrower")
    market.give(borrower, tokens=market.tokens(1), usdt=market.usd(1))
    side.evm.warp(DAY)
    market.refresh_price()
    add, remove, amount = {
        "reverse": ("supply_collateral", "withdraw_collateral", market.tokens(1)),
        "forward": ("add_margin", "remove_margin", market.usd(1)),
    }[side.name]
    for receipt in (
        side.pool.function(add).transact(amount, borrower, sender=borrower),
        side.pool.function(remove).transact(amount, borrower, borrower, sender=borrower),
        side.pool.approve.transact(borrower, 1, sender=borrower),
        side.pool.sync_funding.transact(),
    ):
        assert told(receipt, hook) == []


def test_hook__not_told_of_the_reserve(side: Side, hook: Contract) -> None:
    """Whose shares come with the fee and go with bad debt and the owner's withdrawal."""
    factory, owner = side.market.factory, side.market.owner
    for act in (
        side.pool.sync_funding.transact,
        lambda: factory.set_fee.transact(side.pool, 200, sender=owner),
        lambda: side.pool.withdraw_reserve.transact(10**9, owner, sender=factory),
    ):
        side.evm.warp(DAY)
        receipt = act()
        assert receipt.events("Transfer", side.pool)
        assert told(receipt, hook) == []
    # and of bad debt by the borrower's debt alone
    side.evm.warp(DAY)
    receipt = BORROWERS["liquidate"](side)
    assert len(receipt.events("Transfer", side.pool)) == 2
    assert [each[0] for each in told(receipt, hook)] == [side.evm.account("borrower").address]


def test_hook__told_before_tokens_move(side: Side, hook: Contract) -> None:
    lender = side.evm.account("lender")
    side.pool.withdraw(side.whole(1), lender, lender, sender=lender)
    names = [(event.name, event.address) for event in side.evm.last.logs]
    assert names == [
        ("Accrue", side.pool.address),
        ("Withdraw", side.pool.address),
        ("Transfer", side.pool.address),
        ("Told", hook.address),
        *([("Transfer", side.asset.address)]),
    ]


def test_hook__none_attached(side: Side, lender: Account) -> None:
    hook = side.attach_hook()
    side.market.factory.set_hook(side.pool, ZERO_ADDRESS, sender=side.market.owner)
    receipt = LENDERS["deposit"](side)
    assert told(receipt, hook) == []
    assert side.pool.hook() == ZERO_ADDRESS


def test_hook__one_after_the_other(side: Side, lender: Account) -> None:
    """Whichever is attached hears, and nobody else."""
    standard = side.attach_hook(standard=True)
    other = side.evm.deploy("TestHook")
    factory, owner = side.market.factory, side.market.owner
    factory.allow_hook(other, True, sender=owner)
    for attached, hearers in (
        (other, [other.address]),
        (standard, [standard.address]),
        (ZERO_ADDRESS, []),
        (standard, [standard.address]),
        (other, [other.address]),
    ):
        factory.set_hook(side.pool, attached, sender=owner)
        receipt = LENDERS["deposit"](side)
        assert [each.address for each in receipt.logs if each.name == "Told"] == hearers


# --- without power

EVERYTHING = LENDERS | BORROWERS


def _outcome(side: Side, change: Change, at: int) -> tuple[list[Any], list[Any]]:
    """What a change at that time leads to, and what the hook has to do with it."""
    with side.evm.anchor():
        side.evm.warp(at - side.evm.timestamp)
        receipt = change(side)
        hook_events = [each for each in receipt.logs if each.name in ("Told", "HookFailed")]
        holders = [side.evm.account(name) for name in ("lender", "borrower", "liquidator", "payer")]
        outcome = [
            receipt.return_value,
            [each for each in receipt.logs if each not in hook_events],
            side.pool.state(),
            [holdings(side, holder) for holder in holders],
            [side.asset.balanceOf(holder) for holder in holders],
            [side.collateral.balanceOf(holder) for holder in holders],
        ]
        return outcome, hook_events


@pytest.mark.parametrize("change", EVERYTHING.values(), ids=EVERYTHING)
@pytest.mark.parametrize("misdeed", ["fail", "burn_gas"])
def test_hook__failing_changes_nothing(
    side: Side, hook: Contract, change: Change, misdeed: str
) -> None:
    at = side.evm.timestamp + DAY // 2
    expected, (good,) = _outcome(side, change, at)
    assert good.name == "Told"

    hook.function(misdeed)()
    outcome, (bad,) = _outcome(side, change, at)

    assert outcome == expected
    assert (bad.name, bad.address) == ("HookFailed", side.pool.address)
    assert (bad.hook, bad.account) == (hook.address, good.account)


@pytest.mark.parametrize("change", EVERYTHING.values(), ids=EVERYTHING)
@pytest.mark.parametrize("entry", ["deposit", "transfer", "sync_funding", "repay"])
def test_hook__cannot_enter_the_pool(
    side: Side, hook: Contract, change: Change, entry: str
) -> None:
    """Though it has shares, assets and an allowance to enter with."""
    _arm(side, hook)
    data = {
        "deposit": side.pool.deposit.encode(side.whole(1), hook),
        "transfer": side.pool.transfer.encode(side.evm.account("thief"), 1),
        "sync_funding": side.pool.sync_funding.encode(),
        "repay": side.pool.repay.encode(side.whole(1), side.evm.account("borrower")),
    }[entry]
    # outside of a pool's call it all goes through
    side.evm.call(side.pool, data, sender=hook, static=False)
    hook.prepare_call(side.pool, data)

    receipt = change(side)

    assert [event.success for event in receipt.events("Called", hook)] == [False]
    assert len(told(receipt, hook)) == 1


def _arm(side: Side, hook: Contract) -> None:
    side.asset.mint(hook, side.whole(10), sender=side.market.owner)
    side.asset.approve(side.pool, MAX, sender=hook.address)
    side.pool.deposit(side.whole(5), hook, sender=hook.address)


def test_hook__may_use_the_other_pool(side: Side, hook: Contract) -> None:
    other = side.other
    hook.prepare_call(other.pool, other.pool.sync_funding.encode())
    receipt = LENDERS["deposit"](side)
    assert [event.success for event in receipt.events("Called", hook)] == [True]


def test_hook__without_code(side: Side, lender: Account) -> None:
    factory, owner = side.market.factory, side.market.owner
    nobody = side.evm.account("nobody")
    factory.allow_hook(nobody, True, sender=owner)
    factory.set_hook(side.pool, nobody, sender=owner)
    receipt = LENDERS["deposit"](side)
    assert receipt.events("HookFailed") == []


def test_hook__that_returns_megabytes(side: Side, hook: Contract) -> None:
    """Nobody pays for copying them."""
    with side.evm.same_block():
        expected = LENDERS["deposit"](side).gas_used
    # RETURN(0, 0x6000): 24,576 zeroes for 4,000 gas
    side.evm.set_code(hook, bytes.fromhex("6160005ff3"))
    with side.evm.same_block():
        receipt = LENDERS["deposit"](side)
    assert receipt.events("HookFailed") == []
    assert receipt.gas_used < expected


# --- gas


@pytest.mark.parametrize("change", [LENDERS["deposit"], repay], ids=["deposit", "repay"])
def test_hook__standard_one_is_not_looked_up(
    side: Side, lender: Account, borrower: Account, change: Change
) -> None:
    """Which would be a cold word: 2,100 gas, and what it takes to come to it."""
    side.give("payer", 50)
    spent = []
    for standard in (True, False):
        with side.evm.anchor():
            hook = side.attach_hook(standard=standard)
            side.evm.warp(DAY)
            receipt = change(side)
            (event,) = receipt.events("Told", hook)
            spent.append(receipt.gas_used + event.gas)
    assert 2_100 <= spent[1] - spent[0] <= 2_120


@pytest.mark.parametrize("change", [LENDERS["deposit"], repay], ids=["deposit", "repay"])
def test_hook__cannot_be_starved(side: Side, hook: Contract, change: Change) -> None:
    """With any gas limit a call fails whole, or the hook had all of its 100,000."""
    with side.evm.anchor():
        spent = change(side).gas_used
    full = side.evm.gas_limit
    try:
        outcomes = [
            _with_gas(side, hook, change, limit) for limit in range(60_000, spent + 150_000, 3_000)
        ]
    finally:
        side.evm.gas_limit = full
    assert set(outcomes) == {"OutOfGas", "insufficient gas", "told"}


def _with_gas(side: Side, hook: Contract, change: Change, limit: int) -> str:
    with side.evm.anchor():
        side.evm.gas_limit = limit
        try:
            receipt = change(side)
        except Reverted as error:
            return error.reason
        (event,) = receipt.events("Told", hook)
        # less what its entry costs
        assert event.gas > 99_000
        return "told"


def test_hook__starved_reverts_with_its_reason(side: Side, hook: Contract) -> None:
    lender = side.evm.account("lender")
    with reverts("insufficient gas"):
        side.pool.transfer(side.evm.account("receiver"), 1, sender=lender, gas=140_000)
