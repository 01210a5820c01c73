"""The fee on interest of both pools: nobody's until it is charged, then shares of the reserve."""

from collections import Counter
from collections.abc import Callable

import pytest

from perpool.evm import Receipt
from tests.market import MAX, ZERO_ADDRESS
from tests.pools import DAY, Charge, Price, Side, expect_event, expect_events
from tests.unit.shared.conftest import BORROWERS, LENDERS, Change, liquidate


@pytest.fixture
def busy(side: Side) -> Side:
    """A month of interest, of which 20 days have been charged and 10 have not."""
    side.give("lender", 1_000)
    side.lend(1_000)
    side.owe(400)
    side.evm.warp(20 * DAY)
    side.pool.sync_funding()
    side.evm.warp(10 * DAY)
    side.market.refresh_price()
    side.evm.mine()
    assert side.pool.state().reserve_shares > 0
    assert side.charge().shares > 0
    return side


def expect_charge(receipt: Receipt, side: Side, shares: int, *others: tuple[object, ...]) -> None:
    """A mint of so many shares to the reserve, and then these transfers of shares."""
    expect_events(
        receipt,
        "Transfer",
        side.pool,
        [
            dict(zip(("sender", "receiver", "value"), each, strict=True))
            for each in ((ZERO_ADDRESS, side.pool, shares), *others)
        ],
    )


# --- uncharged


@pytest.mark.parametrize("fee_permille", [0, 1, 250])
def test_fee__uncharged_is_nobodys(side_of_decimals: Side, fee_permille: int) -> None:
    """Neither the lenders' nor the reserve's; it is only kept out of what shares claim."""
    side = side_of_decimals
    pool = side.pool
    side.market.factory.set_fee(pool, fee_permille, sender=side.market.owner)
    lender = side.lend(1_000)
    side.owe(500)
    before = pool.state()
    side.evm.warp(90 * DAY)
    after = pool.accrued_state()

    interest = after.debt_assets - before.debt_assets
    fee = interest * fee_permille // 1_000
    assert interest > 0
    assert after.cash == before.cash
    assert after.charged_assets == before.charged_assets == side.whole(1_000)
    assert (after.supply_shares, after.reserve_shares) == (before.supply_shares, 0)
    assert pool.totalSupply() == before.supply_shares
    assert pool.totalAssets() == after.supply_assets == side.whole(1_000) + interest - fee
    assert Charge.of(after, side.decimals).fee == fee
    # the lender has the rest
    kept = pool.convertToAssets(pool.balanceOf(lender)) - side.whole(1_000)
    assert interest - fee - 2 <= kept <= interest - fee


@pytest.mark.parametrize("amount", [1, 77.777])
def test_fee__uncharged_of_newcomers(busy: Side, amount: float) -> None:
    """Who comes after the interest neither pays for the fee nor gets any of it."""
    newcomer = busy.give("newcomer", amount)
    with busy.evm.same_block():
        fee, price = busy.charge().fee, busy.price()
        shares = busy.pool.deposit(busy.whole(amount), newcomer, sender=newcomer)
        assert shares == price.shares_down(busy.whole(amount))
        assert busy.charge().fee == fee
        assert 0 <= busy.whole(amount) - busy.pool.maxWithdraw(newcomer) <= 1
        busy.pool.sync_funding()
        assert 0 <= busy.whole(amount) - busy.pool.maxWithdraw(newcomer) <= 1


@pytest.mark.parametrize("interest", [0, 9, 10, 19])
def test_fee__rounds_down(side: Side, interest: int) -> None:
    side.lend(1_000)
    side.set_totals(cash=side.whole(1_000) + interest, charged_assets=side.whole(1_000))
    fee = interest // 10
    assert side.pool.totalAssets() == side.whole(1_000) + interest - fee
    before = side.pool.state()
    receipt = side.pool.sync_funding.transact()
    price = Price.of(before, side.decimals)
    assert side.pool.state().charged_assets == side.whole(1_000) + interest
    if fee == 0:
        assert receipt.events("Transfer") == []
    else:
        expect_charge(receipt, side, price.shares_down(fee))


# --- charged


@pytest.mark.parametrize("fee_permille", [0, 1, 250])
def test_fee__charged_at_the_price_that_shares_have_without_it(
    side_of_decimals: Side, fee_permille: int
) -> None:
    side = side_of_decimals
    pool = side.pool
    side.market.factory.set_fee(pool, fee_permille, sender=side.market.owner)
    lender = side.lend(1_000)
    side.owe(500)
    side.evm.warp(90 * DAY)
    state, price, worth = pool.accrued_state(), side.price(), pool.maxWithdraw(lender)
    held = pool.balanceOf(lender)
    fee = (state.cash + state.debt_assets - side.whole(1_000)) * fee_permille // 1_000
    shares = price.shares_down(fee)

    receipt = pool.sync_funding.transact()

    if fee_permille == 0:
        assert (fee, receipt.events("Transfer")) == (0, [])
    else:
        assert shares > 0
        expect_charge(receipt, side, shares)
    charged = pool.state()
    assert charged.reserve_shares == pool.balanceOf(pool) == shares
    assert charged.supply_shares == pool.totalSupply() == held + shares
    assert charged.supply_assets == charged.charged_assets == state.cash + state.debt_assets
    assert charged.supply_assets == pool.totalAssets() == state.supply_assets + fee
    # the reserve has the fee and the lender what he had, but for less than a unit
    assert 0 <= fee - pool.convertToAssets(shares) <= 1
    assert 0 <= pool.maxWithdraw(lender) - worth <= 1


def test_fee__charging_never_lowers_the_price(side_of_decimals: Side) -> None:
    side = side_of_decimals
    side.lend(1_000)
    side.owe(500)
    for seconds in (1, 2, 5, 60, DAY, 365 * DAY):
        side.evm.warp(seconds)
        with side.evm.same_block():
            before = side.price()
            side.pool.sync_funding()
            after = side.price()
        assert after.assets * before.shares >= before.assets * after.shares
        # by less than a share's worth
        assert after.assets * before.shares < before.assets * (after.shares + 1)


def test_fee__charged_once(busy: Side) -> None:
    with busy.evm.same_block():
        busy.pool.sync_funding()
        state = busy.pool.state()
        receipt = busy.pool.sync_funding.transact()
    assert receipt.logs == []
    assert busy.pool.state() == state


def test_fee__earns_no_interest_until_charged(side: Side) -> None:
    """The same interest in one accrual or two; charging between them is what the reserve gains."""
    side.lend(1_000)
    side.owe(500)
    side.evm.warp(90 * DAY)
    with side.evm.anchor():
        side.pool.sync_funding()
        reserve = side.pool.balanceOf(side.pool)
        worth = side.pool.convertToAssets(reserve)
        side.evm.warp(90 * DAY)
        assert side.pool.convertToAssets(reserve) > worth
    side.evm.warp(90 * DAY)
    state = side.pool.accrued_state()
    earned = state.cash + state.debt_assets - side.whole(1_000)
    assert side.charge().fee == earned // 10


# --- where it is charged


def _set_fee(side: Side) -> Receipt:
    return side.market.factory.set_fee.transact(side.pool, 20, sender=side.market.owner)


def _pause(side: Side) -> Receipt:
    return side.market.factory.set_paused.transact(side.pool, True, sender=side.market.guardian)


def _set_hook(side: Side) -> Receipt:
    return side.market.factory.set_hook.transact(side.pool, ZERO_ADDRESS, sender=side.market.owner)


CHARGES_ALONE: dict[str, Callable[[Side], Receipt]] = {
    "sync_funding": lambda side: side.pool.sync_funding.transact(),
    "set_fee": _set_fee,
    "set_paused": _pause,
    "set_hook": _set_hook,
}


@pytest.mark.parametrize("act", CHARGES_ALONE.values(), ids=CHARGES_ALONE)
def test_fee__charged_and_nothing_else(busy: Side, act: Callable[[Side], Receipt]) -> None:
    """By taking funding in, and by the factory's controls, at the fee that was."""
    before = busy.pool.state()
    with busy.evm.same_block():
        state, charge = busy.pool.accrued_state(), busy.charge()
        receipt = act(busy)
    expect_charge(receipt, busy, charge.shares)
    after = busy.pool.state()
    assert after.reserve_shares == before.reserve_shares + charge.shares
    assert after.supply_shares == before.supply_shares + charge.shares
    assert after.charged_assets == after.supply_assets == state.cash + state.debt_assets
    assert (after.cash, after.debt_assets, after.debt_shares) == state[:3]


def test_fee__charged_by_taking_reserve_out(busy: Side) -> None:
    receiver, factory = busy.evm.account("receiver"), busy.market.factory
    with busy.evm.same_block():
        state, charge = busy.pool.accrued_state(), busy.charge()
        # more than there was before
        shares = state.reserve_shares + charge.shares // 2
        receipt = busy.pool.withdraw_reserve.transact(shares, receiver, sender=factory)
    expect_charge(receipt, busy, charge.shares, (busy.pool, ZERO_ADDRESS, shares))
    assets = charge.price.assets_down(shares)
    after = busy.pool.state()
    assert busy.asset.balanceOf(receiver) == assets
    assert after.reserve_shares == charge.shares - charge.shares // 2
    assert after.supply_shares == state.supply_shares + charge.shares - shares
    assert after.charged_assets == state.cash + state.debt_assets - assets
    assert after.supply_assets == after.charged_assets


def test_fee__charged_by_bad_debt(busy: Side) -> None:
    """So that it pays too: as much as if somebody had charged it just before."""
    before = busy.pool.state().reserve_shares
    with busy.evm.same_block():
        # the price at which the liquidation finds it, and the hour
        charge, all_shares = busy.charge(), busy.pool.totalSupply()
        with busy.evm.anchor():
            busy.pool.sync_funding()
            (expected,) = liquidate(busy).events("BadDebt")
            state = busy.pool.state()
        receipt = liquidate(busy)
    (bad,) = receipt.events("BadDebt")
    assert bad == expected
    assert busy.pool.state() == state
    reserve = before + charge.shares
    assert bad.from_reserve == min(bad.assets, charge.price.assets_down(reserve))
    burnt = charge.price.shares_up(bad.from_reserve)
    expect_charge(receipt, busy, charge.shares, (busy.pool, ZERO_ADDRESS, burnt))
    assert state.reserve_shares == reserve - burnt
    assert state.supply_shares == all_shares + charge.shares - burnt
    assert state.charged_assets == state.supply_assets == bad.total_assets


@pytest.fixture
def mostly_interest(side_of_decimals: Side) -> Side:
    """1,000 in cash, of which 600 are interest with a fee of 60 to be charged."""
    side = side_of_decimals
    side.lend(400)
    side.asset.mint(side.pool, side.whole(600), sender=side.market.owner)
    side.set_totals(cash=side.whole(1_000), charged_assets=side.whole(400))
    assert side.pool.totalAssets() == side.whole(940)
    return side


@pytest.mark.parametrize("name", ["withdraw", "redeem"])
def test_fee__charged_by_a_withdrawal_of_more_than_is_charged(
    mostly_interest: Side, name: str
) -> None:
    side, lender = mostly_interest, mostly_interest.evm.account("lender")
    state, price, charge = side.pool.state(), side.price(), side.charge()
    assert charge.fee == side.whole(60)
    if name == "withdraw":
        assets = side.whole(400) + 1
        shares = price.shares_up(assets)
        receipt = side.pool.withdraw.transact(assets, lender, lender, sender=lender)
        assert receipt.return_value == shares
    else:
        shares = price.shares_up(side.whole(400) + 1)
        assets = price.assets_down(shares)
        receipt = side.pool.redeem.transact(shares, lender, lender, sender=lender)
        assert receipt.return_value == assets
    assert assets > state.charged_assets

    # at the price that was, which the fee does not touch
    expect_charge(receipt, side, charge.shares, (lender, ZERO_ADDRESS, shares))
    assert side.asset.balanceOf(lender) == assets
    after = side.pool.state()
    assert after.cash == after.charged_assets == after.supply_assets
    assert after.cash == side.whole(1_000) - assets
    assert after.reserve_shares == charge.shares
    assert after.supply_shares == state.supply_shares + charge.shares - shares


def test_fee__not_charged_by_a_withdrawal_of_all_that_is_charged(mostly_interest: Side) -> None:
    side, lender = mostly_interest, mostly_interest.evm.account("lender")
    shares = side.pool.previewWithdraw(side.whole(400))
    receipt = side.pool.withdraw.transact(side.whole(400), lender, lender, sender=lender)
    expect_event(receipt, "Transfer", side.pool, sender=lender, receiver=ZERO_ADDRESS, value=shares)
    state = side.pool.state()
    assert (state.cash, state.charged_assets) == (side.whole(600), 0)
    assert state.supply_assets == side.whole(540)
    # the next one charges, whatever it takes
    receipt = side.pool.withdraw.transact(1, lender, lender, sender=lender)
    assert len(receipt.events("Transfer", side.pool)) == 2
    assert side.pool.state().charged_assets == side.whole(600) - 1


def test_fee__left_by_the_last_lender(mostly_interest: Side) -> None:
    """The reserve can take out what it is owed after all others are gone."""
    side, lender = mostly_interest, mostly_interest.evm.account("lender")
    owner, factory = side.market.owner, side.market.factory
    charge, expected = side.charge(), side.pool.maxWithdraw(lender)
    assets = side.pool.redeem(side.pool.balanceOf(lender), lender, lender, sender=lender)
    # the virtual shares keep what an asset has become, rounded up: 2.35 units
    assert assets == expected == side.whole(940) - 2
    assert side.pool.totalSupply() == side.pool.balanceOf(side.pool) == charge.shares
    out = side.pool.withdraw_reserve(charge.shares, owner, sender=factory)
    assert side.whole(60) - out in (0, 1)
    assert side.pool.totalSupply() == 0
    left = side.whole(1_000) - assets - out
    assert side.asset.balanceOf(side.pool) == side.pool.totalAssets() == left


# --- where it is not


@pytest.mark.parametrize("change", LENDERS.values(), ids=LENDERS)
def test_fee__not_charged_by_lenders(busy: Side, change: Change) -> None:
    with busy.evm.same_block():
        before = busy.pool.accrued_state()
        receipt = change(busy)
        after = busy.pool.state()
    assert len(receipt.events("Transfer", busy.pool)) == 1
    assert after.reserve_shares == before.reserve_shares
    moved = after.cash - before.cash
    assert moved != 0
    assert after.charged_assets == before.charged_assets + moved
    assert after.supply_assets == before.supply_assets + moved


def liquidate_in_time(side: Side) -> Receipt:
    """Where the collateral still covers the debt."""
    side.market.set_price("6" if side.name == "reverse" else "17", move_uniswap=False)
    liquidator = side.give("liquidator", 400)
    borrower = side.evm.account("borrower")
    return side.pool.liquidate.transact(borrower, MAX, liquidator, b"", sender=liquidator)


DEBT_ALONE = BORROWERS | {"liquidate": liquidate_in_time}


@pytest.mark.parametrize("change", DEBT_ALONE.values(), ids=DEBT_ALONE)
def test_fee__not_charged_by_borrowers(busy: Side, change: Change) -> None:
    """They touch no word of the lenders'."""
    stored = busy.pool.state()
    receipt = change(busy)
    after = busy.pool.state()
    assert len(receipt.events("Accrue", busy.pool)) == 1
    assert receipt.events("Transfer", busy.pool) == []
    assert after.debt_shares != stored.debt_shares
    assert after.charged_assets == stored.charged_assets
    assert after.supply_shares == stored.supply_shares
    assert after.reserve_shares == stored.reserve_shares
    # the interest is there all the same, but for the fee on it
    all_assets = after.cash + after.debt_assets
    assert all_assets > stored.cash + stored.debt_assets
    fee = (all_assets - stored.charged_assets) // 10
    assert busy.pool.totalAssets() == after.supply_assets == all_assets - fee


def test_fee__not_charged_by_transfers(busy: Side) -> None:
    before = busy.pool.state()
    lender = busy.evm.account("lender")
    busy.pool.transfer(busy.evm.account("receiver"), 7, sender=lender)
    assert busy.pool.state() == before


# --- what the events say


def test_fee__balances_are_the_sum_of_transfers(side: Side) -> None:
    """Of everybody, the reserve and all shares, through every way of changing them."""
    market, pool = side.market, side.pool
    factory, owner = market.factory, market.owner
    balances: Counter[str] = Counter()
    charged = burnt = 0

    def follow(receipt: Receipt) -> None:
        nonlocal charged, burnt
        for event in receipt.events("Transfer", pool):
            balances[event.sender] -= event.value
            balances[event.receiver] += event.value
            charged += event.value * (event.receiver == pool.address)
            burnt += event.value * (event.sender == pool.address)
        for holder in (*names, pool):
            assert balances[getattr(holder, "address", holder)] == pool.balanceOf(holder)
        assert pool.totalSupply() == -balances[ZERO_ADDRESS] == pool.state().supply_shares
        assert pool.state().reserve_shares == balances[pool.address] == charged - burnt

    lender, friend = side.give("lender", 3_000), side.evm.account("friend")
    names = (lender, friend, side.evm.account("borrower"))
    follow(pool.deposit.transact(side.whole(1_000), lender, sender=lender))
    side.owe(400)
    for change in (*LENDERS.values(), BORROWERS["borrow"], BORROWERS["repay"]):
        side.evm.warp(DAY)
        market.refresh_price()
        follow(change(side))
    assert charged == 0
    for act in (
        *CHARGES_ALONE.values(),
        lambda side: factory.set_paused.transact(pool, False, sender=owner),
        lambda side: pool.withdraw_reserve.transact(10**9, owner, sender=factory),
        lambda side: pool.transfer.transact(friend, 10**9, sender=lender),
        liquidate,
        LENDERS["withdraw"],
    ):
        side.evm.warp(10 * DAY)
        market.refresh_price()
        follow(act(side))
    assert charged > burnt > 10**9
