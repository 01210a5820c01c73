"""ERC-4626's views: `preview*`, `convert*`, `max*`, `totalAssets`, `asset`."""

import pytest

from perpool.evm import reverts
from tests.market import MAX
from tests.pools import DAY, HEADROOM, MAX_UINT128, Side, interest_of


@pytest.fixture
def busy(side_of_decimals: Side) -> Side:
    """A pool a month after somebody borrowed half, with nothing accrued yet, in an open block."""
    side = side_of_decimals
    side.lend(1_000)
    side.owe(500)
    side.give("second lender", 1_000)
    side.evm.warp(30 * DAY)
    return side


@pytest.mark.parametrize("amount", [1, 77.777, 400])
def test_previews__are_what_happens(busy: Side, amount: float) -> None:
    lender = busy.evm.account("second lender")
    units = busy.whole(amount) + 1
    expected = busy.pool.previewDeposit(units)
    with busy.evm.same_block():
        assert busy.pool.deposit(units, lender, sender=lender) == expected
        shares = expected + 1
        expected = busy.pool.previewMint(shares)
        assert busy.pool.mint(shares, lender, sender=lender) == expected
        expected = busy.pool.previewWithdraw(units // 2)
        assert busy.pool.withdraw(units // 2, lender, lender, sender=lender) == expected
        expected = busy.pool.previewRedeem(shares // 2)
        assert busy.pool.redeem(shares // 2, lender, lender, sender=lender) == expected


def test_previews__round_against_the_caller(busy: Side) -> None:
    pool, price = busy.pool, busy.price()
    for amount in (1, 2, 3, 10**6 + 1, busy.whole(123.456) + 1):
        assert pool.previewDeposit(amount) == pool.convertToShares(amount)
        assert pool.previewDeposit(amount) == price.shares_down(amount)
        assert pool.previewWithdraw(amount) == price.shares_up(amount)
        assert pool.previewRedeem(amount) == pool.convertToAssets(amount)
        assert pool.previewRedeem(amount) == price.assets_down(amount)
        assert pool.previewMint(amount) == price.assets_up(amount)
        # there and back never gains
        assert pool.previewRedeem(pool.previewDeposit(amount)) <= amount
        assert pool.previewMint(pool.previewDeposit(amount)) <= amount
        assert pool.previewWithdraw(pool.previewRedeem(amount)) <= amount
        assert pool.previewDeposit(pool.previewMint(amount)) >= amount


def test_previews__of_too_much(side: Side) -> None:
    side.lend(5)
    for view in ("previewDeposit", "previewMint", "previewWithdraw", "previewRedeem"):
        with reverts(""):
            side.pool.function(view)(MAX)


def test_total_assets__counts_interest_that_nobody_collected_yet(side: Side) -> None:
    lender = side.lend(1_000)
    side.owe(500)
    before = side.pool.state()
    rate = side.leg.base_rate + side.leg.slope1 * (10**18 // 2) // side.leg.kink
    side.evm.warp(30 * DAY)

    interest = interest_of(before.debt_assets, rate, 30 * DAY)
    # but for the reserve's tenth of it
    fee = interest // 10
    assert side.pool.totalAssets() == before.supply_assets + interest - fee
    assert side.pool.state() == before
    worth = side.pool.convertToAssets(side.pool.balanceOf(lender))
    assert 0 <= before.supply_assets + interest - fee - worth <= 1


def test_asset__is_what_is_lent(side: Side) -> None:
    assert side.pool.asset() == side.asset.address


# --- max


def test_max_deposit__paused(side: Side) -> None:
    lender = side.lend(5)
    side.pause()
    assert (side.pool.maxDeposit(lender), side.pool.maxMint(lender)) == (0, 0)


def test_max_deposit__without_a_cap(side: Side) -> None:
    lender = side.evm.account("lender")
    virtual = side.price().shares
    # an empty pool's shares reach the headroom before its assets
    assert side.pool.maxDeposit(lender) == (HEADROOM - 1) // virtual
    assert side.pool.maxMint(lender) == (HEADROOM - 1) // virtual * virtual
    # below the price at the start, assets reach it first
    side.set_totals(cash=10**30, supply_shares=10**24)
    assert side.pool.maxDeposit(lender) == HEADROOM - 1 - 10**30


def test_max_deposit__of_a_full_pool(side: Side) -> None:
    lender = side.evm.account("lender")
    for assets, shares in (
        (HEADROOM - 1, 1),
        (HEADROOM, 1),
        (1, HEADROOM - 1),
        (1, HEADROOM),
        (MAX_UINT128, MAX_UINT128),
    ):
        side.set_totals(cash=assets, supply_shares=shares)
        assert (side.pool.maxDeposit(lender), side.pool.maxMint(lender)) == (0, 0)


def test_max_deposit__is_the_most_that_passes(busy: Side) -> None:
    lender = busy.evm.account("second lender")
    supplied = busy.pool.totalAssets()
    busy.set_caps(supply=supplied + busy.whole(77.777) + 1)
    busy.evm.warp(1)
    with busy.evm.same_block():
        room = busy.pool.maxDeposit(lender)
        assert 0 < room <= busy.whole(77.777) + 1
        with reverts("supply cap"):
            busy.pool.deposit(room + 1, lender, sender=lender)
        busy.pool.deposit(room, lender, sender=lender)
        assert busy.pool.maxDeposit(lender) == 0


def test_max_deposit__over_the_cap_by_interest(side: Side) -> None:
    lender = side.lend(1_000)
    side.owe(500)
    side.set_caps(supply=side.whole(1_000))
    side.evm.warp(DAY)
    assert (side.pool.maxDeposit(lender), side.pool.maxMint(lender)) == (0, 0)


def test_max_mint__is_the_most_that_passes(busy: Side) -> None:
    lender = busy.evm.account("second lender")
    busy.set_caps(supply=busy.pool.totalAssets() + busy.whole(77.777) + 1)
    busy.evm.warp(1)
    with busy.evm.same_block():
        room = busy.pool.maxMint(lender)
        # one more asset's worth of shares does not fit
        with reverts("supply cap"):
            busy.pool.mint(room + busy.price().shares_up(1), lender, sender=lender)
        busy.pool.mint(room, lender, sender=lender)


def test_max_withdraw__is_the_most_that_passes(busy: Side) -> None:
    pool, lender = busy.pool, busy.evm.account("lender")
    with busy.evm.same_block():
        most = pool.maxWithdraw(lender)
        state = pool.accrued_state()
        assert most == state.cash == busy.whole(500)
        with reverts("insufficient cash"):
            pool.withdraw(most + 1, lender, lender, sender=lender)
        pool.withdraw(most, lender, lender, sender=lender)
        assert pool.maxWithdraw(lender) == 0


def test_max_withdraw__of_a_small_holder(busy: Side) -> None:
    pool, lender = busy.pool, busy.evm.account("second lender")
    with busy.evm.same_block():
        pool.deposit(busy.whole(77.777), lender, sender=lender)
        most = pool.maxWithdraw(lender)
        assert most == pool.previewRedeem(pool.balanceOf(lender))
        assert 0 <= busy.whole(77.777) - most <= 1
        with reverts("insufficient balance"):
            pool.withdraw(most + 2, lender, lender, sender=lender)
        pool.withdraw(most, lender, lender, sender=lender)


def test_max_redeem__is_the_most_that_passes(busy: Side) -> None:
    pool, lender = busy.pool, busy.evm.account("lender")
    with busy.evm.same_block():
        most = pool.maxRedeem(lender)
        assert most == pool.previewDeposit(busy.whole(500))
        with reverts("insufficient cash"):
            pool.redeem(most + pool.previewWithdraw(2), lender, lender, sender=lender)
        pool.redeem(most, lender, lender, sender=lender)


def test_max_redeem__of_a_small_holder(busy: Side) -> None:
    pool, lender = busy.pool, busy.evm.account("second lender")
    with busy.evm.same_block():
        pool.deposit(busy.whole(77.777), lender, sender=lender)
        assert pool.maxRedeem(lender) == pool.balanceOf(lender)
        pool.redeem(pool.balanceOf(lender), lender, lender, sender=lender)
        assert pool.maxRedeem(lender) == 0


def test_max_redeem__of_dust(busy: Side) -> None:
    """Shares that are worth nothing cannot be redeemed."""
    pool, lender, holder = busy.pool, busy.evm.account("lender"), busy.evm.account("holder")
    with busy.evm.same_block():
        unit = busy.price().shares_up(1)
        # with 24 decimals there is none: a share is worth more than a unit
        assert (unit == 1) == (busy.decimals == 24)
        pool.transfer(holder, unit - 1, sender=lender)
        assert (pool.maxRedeem(holder), pool.maxWithdraw(holder)) == (0, 0)
        with reverts("zero amount"):
            pool.redeem(unit - 1, holder, holder, sender=holder)
        pool.transfer(holder, 1, sender=lender)
        assert (pool.maxRedeem(holder), pool.maxWithdraw(holder)) == (unit, 1)
        assert pool.redeem(unit, holder, holder, sender=holder) == 1


@pytest.mark.parametrize("cash", [0, 1])
def test_max_redeem__of_a_crumb_of_cash(busy: Side, cash: int) -> None:
    """Rounded down, the shares of one unit of it are worth nothing; withdrawing it works."""
    pool, lender = busy.pool, busy.evm.account("lender")
    with busy.evm.same_block():
        pool.withdraw(busy.whole(500) - cash, lender, lender, sender=lender)
        assert busy.price().assets_down(pool.convertToShares(cash)) == 0
        assert (pool.maxRedeem(lender), pool.maxWithdraw(lender)) == (0, cash)
        if cash:
            pool.withdraw(cash, lender, lender, sender=lender)


def test_max_withdraw__of_nobody(busy: Side) -> None:
    stranger = busy.evm.account("stranger")
    assert (busy.pool.maxWithdraw(stranger), busy.pool.maxRedeem(stranger)) == (0, 0)


def test_max_withdraw__of_the_reserve(busy: Side) -> None:
    """Its shares are counted as any holder's, though only the factory can have them redeemed."""
    pool = busy.pool
    with busy.evm.same_block():
        assert (pool.maxWithdraw(pool), pool.maxRedeem(pool)) == (0, 0)
        pool.sync_funding()
        shares = pool.balanceOf(pool)
        assert pool.maxWithdraw(pool) == pool.previewRedeem(shares) > 0
        assert pool.maxRedeem(pool) == shares > 0
