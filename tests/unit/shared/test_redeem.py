"""`redeem` of both pools."""

from perpool.evm import reverts
from tests.market import MAX, ZERO_ADDRESS
from tests.pools import DAY, Balances, Side, expect_event, totals


def test_redeem__to_nobody_or_the_pool(side: Side) -> None:
    lender = side.lend(5)
    for receiver in (ZERO_ADDRESS, side.pool):
        with reverts("bad receiver"):
            side.pool.redeem(10**6, receiver, lender, sender=lender)


def test_redeem__over_the_allowance(side: Side) -> None:
    lender, spender = side.lend(5), side.evm.account("spender")
    side.pool.approve(spender, 10**6 - 1, sender=lender)
    with reverts("insufficient allowance"):
        side.pool.redeem(10**6, spender, lender, sender=spender)


def test_redeem__nothing_or_less_than_one_asset(side: Side) -> None:
    lender = side.lend(5)
    for shares in (0, 10**6 - 1):
        with reverts("zero amount"):
            side.pool.redeem(shares, lender, lender, sender=lender)


def test_redeem__more_than_the_cash(side: Side) -> None:
    lender = side.lend(1_000)
    side.owe(400)
    with reverts("insufficient cash"):
        side.pool.redeem(side.pool.balanceOf(lender), lender, lender, sender=lender)


def test_redeem__more_than_the_holder_has(side: Side) -> None:
    lender = side.lend(5)
    side.lend(5, "other lender")
    with reverts("insufficient balance"):
        side.pool.redeem(side.pool.balanceOf(lender) + 1, lender, lender, sender=lender)


def test_redeem__more_than_there_are(side: Side) -> None:
    """Cash would pay for some of the virtual shares too."""
    lender = side.lend(5)
    for more in (1, 10**6 - 1):
        shares = side.pool.totalSupply() + more
        assert side.pool.previewRedeem(shares) <= side.pool.state().cash
        with reverts("insufficient balance"):
            side.pool.redeem(shares, lender, lender, sender=lender)


def test_redeem__the_reserve(side: Side) -> None:
    """Shares of the pool itself are nobody's to redeem."""
    side.lend(1_000)
    side.owe(500)
    side.evm.warp(30 * DAY)
    side.pool.sync_funding()
    reserve, thief = side.pool.balanceOf(side.pool), side.evm.account("thief")
    assert reserve > 0
    with reverts("insufficient allowance"):
        side.pool.redeem(reserve, thief, side.pool, sender=thief)


def test_redeem__at_a_risen_price(side_of_decimals: Side) -> None:
    side = side_of_decimals
    lender, receiver = side.lend(1_000), side.evm.account("receiver")
    side.owe(500)
    side.evm.warp(30 * DAY)
    before, price = side.pool.accrued_state(), side.price()
    balances = Balances([side.asset, side.pool], lender, receiver, side.pool)
    shares = side.pool.balanceOf(lender) // 3 + 1

    receipt = side.pool.redeem.transact(shares, receiver, lender, sender=lender)

    assets = price.assets_down(shares)
    assert receipt.return_value == assets
    assert assets > side.whole(1_000) // 3
    expect_event(
        receipt,
        "Withdraw",
        side.pool,
        sender=lender,
        receiver=receiver,
        owner=lender,
        assets=assets,
        shares=shares,
    )
    expect_event(receipt, "Transfer", side.pool, sender=lender, receiver=ZERO_ADDRESS, value=shares)
    assert balances.changes(lender) == (0, -shares)
    assert balances.changes(receiver) == (assets, 0)
    assert balances.changes(side.pool) == (-assets, 0)
    assert side.pool.state().charged_assets == before.charged_assets - assets
    assert totals(side.pool) == (
        before.supply_assets - assets,
        before.supply_shares - shares,
        before.debt_assets,
        before.debt_shares,
    )


def test_redeem__by_a_spender(side: Side) -> None:
    lender, spender = side.lend(1_000), side.evm.account("spender")
    shares = side.pool.balanceOf(lender)
    side.pool.approve(spender, shares, sender=lender)

    assets = side.pool.redeem(shares, spender, lender, sender=spender)

    assert side.asset.balanceOf(spender) == assets == side.whole(1_000)
    assert side.pool.allowance(lender, spender) == 0
    assert side.pool.balanceOf(lender) == 0


def test_redeem__unlimited_allowance_stays(side: Side) -> None:
    lender, spender = side.lend(1_000), side.evm.account("spender")
    side.pool.approve(spender, MAX, sender=lender)
    side.pool.redeem(side.pool.balanceOf(lender), spender, lender, sender=spender)
    assert side.pool.allowance(lender, spender) == MAX
