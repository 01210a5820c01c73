"""The lenders' shares as an ERC-20."""

from perpool.evm import reverts
from tests.market import MAX, ZERO_ADDRESS
from tests.pools import DAY, Balances, Side, expect_event, totals


def test_metadata__of_both_pools(side: Side) -> None:
    symbol = {"reverse": "ppUSDT-TKN", "forward": "ppTKN"}[side.name]
    assert side.pool.symbol() == symbol
    assert side.pool.name() == f"Perpool {symbol}"


def test_decimals__as_many_as_the_virtual_shares_add(side_of_decimals: Side) -> None:
    side = side_of_decimals
    assert side.pool.decimals() == {6: 12, 8: 14, 18: 24, 24: 24}[side.decimals]


def test_total_supply__is_all_balances_with_the_reserves(side: Side) -> None:
    lender, other = side.lend(1_000), side.lend(50, "other lender")
    side.owe(500)
    side.evm.warp(30 * DAY)
    side.pool.sync_funding()
    pool = side.pool
    assert pool.balanceOf(pool) == pool.state().reserve_shares > 0
    assert pool.totalSupply() == sum(pool.balanceOf(a) for a in (lender, other, pool))


# --- approve


def test_approve__sets_and_replaces(side: Side) -> None:
    lender, spender = side.evm.account("lender"), side.evm.account("spender")
    for shares in (5, 7, MAX, 0):
        receipt = side.pool.approve.transact(spender, shares, sender=lender)
        assert receipt.return_value is True
        expect_event(receipt, "Approval", side.pool, owner=lender, spender=spender, value=shares)
        assert side.pool.allowance(lender, spender) == shares
    assert side.pool.allowance(spender, lender) == 0


# --- transfer


def test_transfer__more_than_held(side: Side) -> None:
    lender, receiver = side.lend(5), side.evm.account("receiver")
    with reverts("insufficient balance"):
        side.pool.transfer(receiver, side.pool.balanceOf(lender) + 1, sender=lender)


def test_transfer__to_nobody_or_the_pool(side: Side) -> None:
    lender = side.lend(5)
    # whatever is held
    for receiver in (ZERO_ADDRESS, side.pool):
        for shares in (0, 1, side.pool.balanceOf(lender) + 1):
            with reverts("bad receiver"):
                side.pool.transfer(receiver, shares, sender=lender)


def test_transfer__moves_shares(side: Side) -> None:
    lender, receiver = side.lend(5), side.evm.account("receiver")
    before = totals(side.pool)
    balances = Balances([side.pool], lender, receiver)

    receipt = side.pool.transfer.transact(receiver, 7, sender=lender)

    assert receipt.return_value is True
    expect_event(receipt, "Transfer", side.pool, sender=lender, receiver=receiver, value=7)
    assert (balances.changes(lender), balances.changes(receiver)) == ((-7,), (7,))
    assert totals(side.pool) == before


def test_transfer__while_paused(side: Side) -> None:
    lender, receiver = side.lend(5), side.evm.account("receiver")
    side.pause()
    side.set_caps(0, 0, 0)
    side.pool.transfer(receiver, 7, sender=lender)
    assert side.pool.balanceOf(receiver) == 7


def test_transfer__to_oneself_changes_nothing(side: Side) -> None:
    lender = side.lend(5)
    held = side.pool.balanceOf(lender)
    for shares in (0, 1, held):
        side.pool.transfer(lender, shares, sender=lender)
        assert side.pool.balanceOf(lender) == held
    with reverts("insufficient balance"):
        side.pool.transfer(lender, held + 1, sender=lender)


# --- transferFrom


def test_transfer_from__over_the_allowance(side: Side) -> None:
    lender, spender = side.lend(5), side.evm.account("spender")
    side.pool.approve(spender, 6, sender=lender)
    with reverts("insufficient allowance"):
        side.pool.transferFrom(lender, spender, 7, sender=spender)


def test_transfer_from__to_nobody_or_the_pool(side: Side) -> None:
    lender, spender = side.lend(5), side.evm.account("spender")
    side.pool.approve(spender, MAX, sender=lender)
    for receiver in (ZERO_ADDRESS, side.pool):
        with reverts("bad receiver"):
            side.pool.transferFrom(lender, receiver, MAX, sender=spender)


def test_transfer_from__the_reserve(side: Side) -> None:
    side.lend(1_000)
    side.owe(500)
    side.evm.warp(30 * DAY)
    side.pool.sync_funding()
    thief = side.evm.account("thief")
    with reverts("insufficient allowance"):
        side.pool.transferFrom(side.pool, thief, 1, sender=thief)


def test_transfer_from__more_than_held(side: Side) -> None:
    lender, spender = side.lend(5), side.evm.account("spender")
    side.pool.approve(spender, MAX, sender=lender)
    with reverts("insufficient balance"):
        side.pool.transferFrom(lender, spender, side.pool.balanceOf(lender) + 1, sender=spender)


def test_transfer_from__spends_the_allowance(side: Side) -> None:
    lender, spender = side.lend(5), side.evm.account("spender")
    receiver = side.evm.account("receiver")
    side.pool.approve(spender, 10, sender=lender)
    balances = Balances([side.pool], lender, spender, receiver)

    receipt = side.pool.transferFrom.transact(lender, receiver, 7, sender=spender)

    assert receipt.return_value is True
    expect_event(receipt, "Transfer", side.pool, sender=lender, receiver=receiver, value=7)
    assert balances.changes(lender) == (-7,)
    assert balances.changes(spender) == (0,)
    assert balances.changes(receiver) == (7,)
    assert side.pool.allowance(lender, spender) == 3


def test_transfer_from__unlimited_allowance_stays(side: Side) -> None:
    lender, spender = side.lend(5), side.evm.account("spender")
    side.pool.approve(spender, MAX, sender=lender)
    side.pool.transferFrom(lender, spender, 7, sender=spender)
    assert side.pool.allowance(lender, spender) == MAX


def test_transfer_from__oneself_needs_no_allowance(side: Side) -> None:
    lender, receiver = side.lend(5), side.evm.account("receiver")
    side.pool.transferFrom(lender, receiver, 7, sender=lender)
    assert side.pool.balanceOf(receiver) == 7
