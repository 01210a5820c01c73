"""`set_controls` and `hook` of both pools."""

import pytest

from perpool.evm import reverts
from tests.market import CAPPED, HOOK, PAUSED, STANDARD_HOOK, WAD, ZERO_ADDRESS
from tests.pools import DAY, Price, Side, base_rate_of, expect_event, interest_of


def test_set_controls__not_the_factory(side: Side) -> None:
    for caller in (side.market.owner, side.market.guardian, side.evm.account("stranger")):
        with reverts("not factory"):
            side.pool.set_controls(PAUSED, ZERO_ADDRESS, sender=caller)


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("fee_permille", [0, 1, 250, 255])
@pytest.mark.parametrize("hooked", [0, HOOK, HOOK | STANDARD_HOOK])
@pytest.mark.parametrize("capped", [False, True])
def test_set_controls__sets_all_flags_and_nothing_else(
    side: Side, paused: bool, fee_permille: int, hooked: int, capped: bool
) -> None:
    hook = side.evm.account("hook").address if hooked else ZERO_ADDRESS
    side.fund(7)
    side.set_caps(**({} if capped else {"supply": 5}))
    before = side.pool.state()
    flags = PAUSED * paused | hooked | CAPPED * capped | fee_permille << 8

    side.pool.set_controls(flags, hook, sender=side.market.factory)

    state = side.pool.state()
    changed = {"flags": flags, "updated_at": side.evm.timestamp}
    assert state.as_dict() == before.as_dict() | changed
    assert side.pool.hook() == hook


def test_set_controls__charges_what_accrued_at_the_old_fee(side: Side) -> None:
    side.lend(1_000)
    side.owe(500)
    before = side.pool.state()
    side.evm.warp(30 * DAY)
    rate = base_rate_of(side.leg, before.debt_assets * WAD // before.supply_assets)
    interest = interest_of(before.debt_assets, rate, 30 * DAY)
    price = Price(
        before.supply_assets + interest - interest // 10 + 1, before.supply_shares + 10**6
    )

    receipt = side.market.factory.set_fee.transact(side.pool, 200, sender=side.market.owner)

    fee_shares = price.shares_down(interest // 10)
    expect_event(
        receipt, "Accrue", side.pool, borrow_rate_wad=rate, funding_wad=0, interest=interest
    )
    expect_event(
        receipt, "Transfer", side.pool, sender=ZERO_ADDRESS, receiver=side.pool, value=fee_shares
    )
    state = side.pool.state()
    assert state.supply_assets == state.charged_assets == before.supply_assets + interest
    assert state.debt_assets == before.debt_assets + interest
    assert state.reserve_shares == fee_shares == side.pool.balanceOf(side.pool)
    assert state.supply_shares == before.supply_shares + fee_shares

    # from here on a fifth
    side.evm.warp(DAY)
    later = side.pool.accrued_state()
    assert later.supply_assets == state.supply_assets + later.interest - later.interest // 5
    assert later.reserve_shares == fee_shares
    side.pool.sync_funding()
    charged = side.pool.state()
    earned = charged.supply_assets - state.supply_assets
    price = Price(charged.supply_assets - earned // 5 + 1, state.supply_shares + 10**6)
    assert charged.reserve_shares - fee_shares == price.shares_down(earned // 5)
