"""`sync_funding` on the forward leg, whose borrowers collect negative funding."""

from __future__ import annotations

import pytest

from perpool.evm import Account, Evm
from tests.market import WAD, Market, wad
from tests.unit.forward_pool.conftest import SHORTED, event

HOUR = 3_600


def base_rate(market: Market) -> int:
    """At the utilisation of now, which is below the kink."""
    leg, state = market.forward_leg, market.forward.accrued_state()
    utilisation = state.debt_assets * WAD / state.supply_assets
    return int(leg.base_rate + leg.slope1 * utilisation / leg.kink)


@pytest.mark.parametrize("funding", [-200, -30, -1, 0, 1, 30, 200])
def test_sync_funding__premium(market: Market, shorter: Account, evm: Evm, funding: int) -> None:
    """Shorts that are paid for being short pay the lenders a fifth more; paying ones nothing."""
    market.set_funding(funding)
    base = base_rate(market)
    evm.warp(HOUR)
    market.forward.sync_funding()
    accrued = event(market, "Accrue")
    assert accrued.funding_wad == wad(funding)
    premium = wad(max(-funding, 0)) * market.forward_leg.pass_through // WAD
    assert accrued.borrow_rate_wad == pytest.approx(base + premium, rel=1e-6)
    earned = market.tokens(SHORTED) * (base + premium) // WAD * HOUR // (365 * 86_400)
    assert accrued.interest == pytest.approx(earned, rel=1e-3, abs=2)


def test_sync_funding__the_two_legs_never_both(market: Market, shorter: Account, evm: Evm) -> None:
    """The same funding raises one leg's rate at most."""
    market.lend("usdt lender", usdt=market.usd(10**6))
    market.borrow("borrower", collateral=market.tokens(1_000), usdt=market.usd(1_000))
    rates = {}
    for funding in (-50, 50):
        market.set_funding(funding)
        evm.warp(HOUR)
        for pool in (market.forward, market.reverse):
            pool.sync_funding()
            (accrued,) = evm.last.events("Accrue", pool)
            rates[pool.address, funding] = accrued.borrow_rate_wad
    forward, reverse = market.forward.address, market.reverse.address
    assert rates[forward, -50] - rates[forward, 50] == pytest.approx(wad(10), rel=1e-3)
    assert rates[reverse, 50] - rates[reverse, -50] == pytest.approx(wad(10), rel=1e-3)


def test_sync_funding__the_premium_ends_with_the_observation(
    market: Market, shorter: Account, evm: Evm
) -> None:
    """Two days after a report that holds for one, the second day is at the base rate."""
    market.set_funding(-100)
    observed_at = market.forward.state().funding_time
    debt, base = market.forward.debt_of(shorter), base_rate(market)
    day = market.forward_leg.funding_max_age
    evm.warp(observed_at + day - evm.timestamp)
    first = market.forward.debt_of(shorter) - debt
    evm.warp(day)
    second = market.forward.debt_of(shorter) - debt - first
    assert first / debt == pytest.approx((base + wad(20)) / WAD / 365, rel=2e-3, abs=1e-8)
    assert second / debt == pytest.approx(base / WAD / 365, rel=2e-3, abs=1e-8)
