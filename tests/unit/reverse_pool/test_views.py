"""`position`, `debt_shares_of`, `debt_of` and `borrow_ltv` of the reverse pool."""

import pytest

from perpool.evm import Contract, Evm, reverts
from tests.market import MAX, WAD, Market, deploy_market, wad
from tests.pools import DAY, HOUR, calm, ceil_div, swing


def test_position__of_nobody(market: Market, pool: Contract) -> None:
    nobody = market.evm.account("nobody")
    assert pool.position(nobody) == (0, 0)
    assert (pool.debt_of(nobody), pool.debt_shares_of(nobody)) == (0, 0)


def test_debt_of__as_of_now_and_rounded_up(market: Market, pool: Contract) -> None:
    first = market.borrow("first", collateral=market.tokens(100), usdt=market.usd(500))
    second = market.borrow("second", collateral=market.tokens(100), usdt=market.usd(77.777))
    market.evm.warp(DAY)
    state = pool.accrued_state()
    debts = [pool.debt_of(account) for account in (first, second)]
    for account, debt in zip((first, second), debts, strict=True):
        shares = pool.debt_shares_of(account)
        assert pool.position(account) == (market.tokens(100), shares)
        assert debt == ceil_div(shares * state.debt_assets, state.debt_shares)
    assert state.debt_assets <= sum(debts) <= state.debt_assets + 1
    assert state.debt_shares == pool.debt_shares_of(first) + pool.debt_shares_of(second)


# --- the volatility limit


def test_borrow_ltv__unknown(market: Market, pool: Contract) -> None:
    assert market.oracle.volatility() == MAX
    assert pool.borrow_ltv() == wad(60)


def test_borrow_ltv__calm(market: Market, pool: Contract) -> None:
    calm(market)
    assert market.oracle.volatility() == 0
    assert pool.borrow_ltv() == wad(70)


@pytest.mark.parametrize(
    ("move", "low", "high"), [(0.7, 60, 100), (1.3, 100, 150), (1.9, 150, 200), (2.6, 200, 400)]
)
def test_borrow_ltv__follows_what_the_oracle_observed(
    market: Market, pool: Contract, move: float, low: int, high: int
) -> None:
    """Moves of `move` % an hour, up and down, are a volatility between `low` and `high` %."""
    swing(market, move)
    volatility = market.oracle.volatility()
    assert wad(low) < volatility < wad(high)
    over = min(max(volatility - WAD, 0), WAD)
    assert pool.borrow_ltv() == wad(70) - ceil_div(wad(10) * over, WAD)
    if high <= 100:
        assert pool.borrow_ltv() == wad(70)
    if low >= 200:
        assert pool.borrow_ltv() == wad(60)


def test_borrow_ltv__is_stressed_again_when_nobody_observes(market: Market, pool: Contract) -> None:
    calm(market)
    market.evm.warp(12 * HOUR)
    assert pool.borrow_ltv() == wad(70)
    market.evm.warp(1)
    assert pool.borrow_ltv() == wad(60)


@pytest.mark.parametrize(
    ("volatility", "ltv"),
    [
        (0, wad(70)),
        (WAD, wad(70)),
        # rounded down
        (WAD + 1, wad(70) - 1),
        (WAD + 10, wad(70) - 1),
        (WAD + 11, wad(70) - 2),
        (wad(125), wad("67.5")),
        (wad(150), wad(65)),
        (2 * WAD - 1, wad(60)),
        (2 * WAD, wad(60)),
        (2 * WAD + 1, wad(60)),
        (MAX, wad(60)),
    ],
)
def test_borrow_ltv__at_the_corners(stub_market: Market, volatility: int, ltv: int) -> None:
    stub_market.oracle.set_volatility(volatility)
    assert stub_market.reverse.borrow_ltv() == ltv


def test_borrow_ltv__where_stress_changes_nothing(evm: Evm) -> None:
    market = deploy_market(evm, reverse_leg={"stressed_ltv": wad(70)})
    assert market.reverse.borrow_ltv() == wad(70)
    swing(market, 1.3)
    assert market.reverse.borrow_ltv() == wad(70)


def test_borrow_ltv__never_makes_a_position_liquidatable(market: Market, pool: Contract) -> None:
    calm(market)
    borrower = market.borrow(collateral=market.tokens(100), usdt=market.usd(700))
    swing(market, 5)
    assert pool.borrow_ltv() == wad(60)
    liquidator = market.give(market.evm.account("liquidator"), usdt=market.usd(1_000))
    with reverts("healthy position"):
        pool.liquidate(borrower, MAX, liquidator, b"", sender=liquidator)
