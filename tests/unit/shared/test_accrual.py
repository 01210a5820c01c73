"""Interest of both pools: rate, premium, saturation. `test_fee` has the fee on it."""

import pytest

from perpool.evm import Evm
from tests.market import MAX, WAD, YEAR, Leg, deploy_market, wad
from tests.pools import (
    DAY,
    HOUR,
    MAX_UINT128,
    Side,
    base_rate_of,
    expect_event,
    interest_of,
)

FLAT = {"base_rate": wad(10), "slope1": 0, "slope2": 0}
"""Interest that does not depend on utilisation."""


def side_with(evm: Evm, name: str, changes: dict[str, int]) -> Side:
    """A new market in which both legs are changed alike."""
    return Side.of(deploy_market(evm, reverse_leg=changes, forward_leg=changes), name)


@pytest.fixture(params=["reverse", "forward"])
def flat(request: pytest.FixtureRequest, evm: Evm) -> Side:
    side = side_with(evm, request.param, FLAT)
    side.lend(1_000)
    return side


def test_accrual__without_debt_earns_nothing(side: Side) -> None:
    side.lend(1_000)
    before = side.pool.state()
    side.evm.warp(YEAR)
    assert side.pool.accrued_state()[:6] == before[:6]
    receipt = side.pool.sync_funding.transact()
    assert receipt.events("Accrue") == []
    assert side.pool.state().updated_at == side.evm.timestamp


def test_accrual__twice_in_a_block_is_once(side: Side) -> None:
    side.lend(1_000)
    side.owe(500)
    side.evm.warp(DAY)
    with side.evm.same_block():
        side.pool.sync_funding()
        state = side.pool.state()
        receipt = side.pool.sync_funding.transact()
    assert receipt.events("Accrue") == []
    assert side.pool.state() == state


@pytest.mark.parametrize("utilisation", [10, 50, 84.9, 85, 85.1, 95, 100])
def test_accrual__rate_follows_utilisation(side: Side, utilisation: float) -> None:
    side.lend(1_000)
    borrower = side.owe(100)
    # the word instead of more borrowing, which full utilisation and Uniswap's depth would limit
    supply, shares = side.whole(1_000), side.pool.debt_shares_of(borrower)
    debt = side.whole(utilisation * 10)
    side.set_totals(cash=supply - debt, debt_assets=debt, debt_shares=shares)
    side.evm.warp(DAY)
    elapsed = side.evm.timestamp - side.pool.state().updated_at

    seen = side.pool.accrued_state()
    receipt = side.pool.sync_funding.transact()

    rate = base_rate_of(side.leg, debt * WAD // supply)
    interest = interest_of(debt, rate, elapsed)
    expect_event(
        receipt, "Accrue", side.pool, borrow_rate_wad=rate, funding_wad=0, interest=interest
    )
    # both views of it, before and after, and all of it is debt
    assert (seen.borrow_rate, seen.interest) == (rate, interest)
    assert (seen.cash, seen.debt_assets) == (supply - debt, debt + interest)
    assert seen.supply_assets == supply + interest - interest // 10
    state = side.pool.state()
    assert (state.cash, state.borrow_rate, state.interest) == (supply - debt, 0, 0)
    # the fee is charged by now
    assert state.supply_assets == supply + interest
    assert side.pool.debt_of(borrower) == side.pool.state().debt_assets == debt + interest


def test_accrual__design_rates() -> None:
    """2 % idle, 10 % at the kink of 85 %, 100 % when all is lent."""
    leg = Leg()
    assert [base_rate_of(leg, wad(u)) for u in (0, 85, 100)] == [wad(2), wad(10), wad(100)]


def test_accrual__reference_figures(flat: Side) -> None:
    """500 at 10 % for a year by the Taylor series: 500 * (0.1 + 0.005 + 0.001 / 6)."""
    flat.owe(500)
    debt = flat.pool.state().debt_assets
    flat.evm.warp(YEAR)
    earned = flat.pool.accrued_state().debt_assets - debt
    assert abs(earned - debt * 105_166_666 // 10**9) <= debt // 10**9 + 1


@pytest.mark.parametrize(
    ("funding", "premium"), [(50, 10), (1, 0.2), (0, 0), (-50, 0), (-1_000, 0)]
)
def test_premium__is_a_share_of_what_borrowers_collect(
    flat: Side, funding: float, premium: float
) -> None:
    flat.owe(500)
    flat.fund(funding)
    debt = flat.pool.state().debt_assets
    flat.evm.warp(HOUR)
    receipt = flat.pool.sync_funding.transact()
    event = receipt.events("Accrue")[0]
    assert event.borrow_rate_wad == wad(10) + wad(premium)
    assert event.funding_wad == flat.direction * wad(funding)
    assert event.interest == interest_of(debt, wad(10) + wad(premium), HOUR)


def test_premium__is_capped_with_the_rate(flat: Side) -> None:
    flat.owe(500)
    flat.fund(10_000)
    flat.evm.warp(HOUR)
    event = flat.pool.sync_funding.transact().events("Accrue")[0]
    assert event.borrow_rate_wad == flat.leg.rate_cap == wad(300)


@pytest.mark.parametrize("age", [0, HOUR, DAY - 1])
def test_premium__ends_exactly_at_expiry(flat: Side, age: int) -> None:
    """One accrual across the expiry charges what two do that meet in it."""
    flat.owe(500)
    flat.evm.warp(DAY)
    flat.fund(50, age=age)
    debt = flat.pool.state().debt_assets
    fresh, stale = DAY - age, 3 * DAY
    first = interest_of(debt, wad(20), fresh)
    second = interest_of(debt + first, wad(10), stale)

    with flat.evm.anchor():
        flat.evm.warp(fresh + stale)
        event = flat.pool.sync_funding.transact().events("Accrue")[0]
        in_one = flat.pool.state().debt_assets
    assert event.borrow_rate_wad == wad(20)
    assert event.interest == first + second

    flat.evm.warp(fresh)
    assert flat.pool.sync_funding.transact().events("Accrue")[0].interest == first
    flat.evm.warp(stale)
    event = flat.pool.sync_funding.transact().events("Accrue")[0]
    assert (event.interest, event.borrow_rate_wad) == (second, wad(10))
    assert flat.pool.state().debt_assets == in_one == debt + first + second


@pytest.mark.parametrize(("age", "fresh"), [(DAY - 1, 1), (DAY, 0), (DAY + 1, 0), (9 * DAY, 0)])
def test_premium__of_an_old_observation(flat: Side, age: int, fresh: int) -> None:
    flat.owe(500)
    flat.evm.warp(20 * DAY)
    flat.fund(50, age=age)
    debt = flat.pool.state().debt_assets
    flat.evm.warp(HOUR)
    first = interest_of(debt, wad(20), fresh) if fresh else 0
    assert flat.pool.accrued_state().debt_assets == debt + first + interest_of(
        debt + first, wad(10), HOUR - fresh
    )


def test_premium__is_not_charged_for_the_time_before_the_sync(flat: Side) -> None:
    flat.owe(500)
    debt = flat.pool.state().debt_assets
    flat.evm.warp(DAY)
    flat.fund(50, age=DAY - HOUR)
    assert flat.pool.state().debt_assets == debt + interest_of(debt, wad(10), DAY)


# --- extremes


def test_accrual__rounds_up(flat: Side) -> None:
    """A second's interest on the least debt is a unit at least."""
    flat.owe(10)
    debt = flat.pool.state().debt_assets
    flat.evm.warp(1)
    expected = interest_of(debt, wad(10), 1)
    assert flat.pool.accrued_state().debt_assets == debt + expected
    assert expected * YEAR * 10 >= debt


@pytest.mark.parametrize("supply", [2**120, MAX_UINT128 - 1, MAX_UINT128])
@pytest.mark.parametrize("years", [0.001, 1, 80])
@pytest.mark.parametrize("funding", [-140_000, 140_000])
def test_accrual__saturates(flat: Side, supply: int, years: float, funding: float) -> None:
    """At any debt, rate and time it fits the words, and goes on without a revert."""
    borrower = flat.owe(500)
    flat.fund(funding)
    before = flat.pool.state()
    debt_shares = before.debt_shares
    flat.set_totals(
        cash=0, debt_assets=supply, debt_shares=debt_shares, supply_shares=MAX_UINT128 - 5
    )
    flat.evm.warp(int(years * YEAR))

    seen, charge = flat.pool.accrued_state(), flat.charge()
    assert flat.pool.totalAssets() == seen.supply_assets == seen.debt_assets - charge.fee
    receipt = flat.pool.sync_funding.transact()

    state = flat.pool.state()
    assert receipt.success
    assert supply <= state.supply_assets == state.debt_assets <= MAX_UINT128
    assert state.reserve_shares == before.reserve_shares + charge.shares
    if years >= 80 and supply > 2**120:
        assert state.supply_assets == MAX_UINT128
    assert state.supply_shares <= MAX_UINT128
    assert state.reserve_shares - before.reserve_shares <= 5
    # who owes it can still be asked, and the next accrual goes on
    assert flat.pool.debt_of(borrower) == state.debt_assets
    flat.evm.warp(YEAR)
    flat.pool.sync_funding()


def test_accrual__at_the_largest_rate_for_eighty_years(evm: Evm, side: Side) -> None:
    """The factory's bounds on rates are what the arithmetic can take."""
    largest = {"base_rate": 100 * WAD, "slope1": 0, "slope2": 0, "rate_cap": 100 * WAD}
    extreme = side_with(evm, side.name, largest)
    extreme.lend(1_000)
    extreme.owe(500)
    extreme.set_totals(
        cash=0,
        debt_assets=MAX_UINT128 // 2,
        debt_shares=MAX_UINT128,
        supply_shares=MAX_UINT128 // 2,
    )
    extreme.evm.warp(80 * YEAR)
    assert extreme.pool.accrued_state().supply_assets == MAX_UINT128 - extreme.charge().fee
    extreme.pool.sync_funding()
    assert extreme.pool.state().supply_assets == MAX_UINT128


@pytest.mark.parametrize("all_interest", [False, True])
def test_accrual__a_full_word_still_lets_lenders_and_borrowers_out(
    flat: Side, all_interest: bool
) -> None:
    """Whether or not the fee on nearly all of it is still to be charged."""
    borrower = flat.owe(500)
    lender = flat.evm.account("lender")
    shares = flat.pool.state().debt_shares
    flat.set_totals(
        cash=flat.whole(500),
        debt_assets=MAX_UINT128 - flat.whole(500),
        debt_shares=shares,
        charged_assets=flat.whole(1_000) if all_interest else MAX_UINT128,
    )
    flat.asset.mint(borrower, MAX_UINT128, sender=borrower)
    flat.evm.warp(DAY)
    flat.pool.repay(MAX, borrower, sender=borrower)
    assert flat.pool.state().debt_assets == 0
    most = flat.pool.maxRedeem(lender)
    assert most == flat.pool.balanceOf(lender)
    charge = flat.charge()
    assert (charge.fee > 0) == all_interest
    flat.pool.redeem(most, lender, lender, sender=lender)
    assert flat.pool.totalSupply() == flat.pool.balanceOf(flat.pool) == charge.shares
