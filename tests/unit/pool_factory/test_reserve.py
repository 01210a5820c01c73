"""`request_reserve_withdrawal`, `withdraw_reserve` and `reserve_request`."""

import pytest

from perpool.evm import Account, Contract, Evm, reverts
from tests.market import MAX, YEAR, ZERO_ADDRESS, deploy_market, wad
from tests.pools import DAY, Balances, Side, expect_event, expect_events
from tests.unit.pool_factory.conftest import NOT_OWNER

DELAY = WINDOW = 7 * DAY


@pytest.fixture(params=["reverse", "forward"])
def side(request: pytest.FixtureRequest, evm: Evm) -> Side:
    """A pool whose reserve is well over its floor of 2 % of all assets."""
    side = Side.of(deploy_market(evm), request.param)
    side.market.factory.set_fee(side.pool, 250, sender=side.market.owner)
    side.lend(1_000)
    side.owe(990)
    evm.warp(YEAR // 2)
    side.pool.sync_funding()
    side.lend(500, "second lender")
    return side


@pytest.fixture
def factory(side: Side) -> Contract:
    return side.market.factory


@pytest.fixture
def owner(side: Side) -> Account:
    return side.market.owner


# --- request_reserve_withdrawal


def test_request__not_the_owner(side: Side, factory: Contract) -> None:
    for caller in (side.market.guardian, side.evm.account("stranger")):
        with reverts(NOT_OWNER):
            factory.request_reserve_withdrawal(side.pool, 1, sender=caller)


def test_request__unknown_pool(side: Side, factory: Contract, owner: Account) -> None:
    with reverts("unknown pool"):
        factory.request_reserve_withdrawal(side.evm.account("stranger"), 1, sender=owner)


def test_request__announces_and_replaces(side: Side, factory: Contract, owner: Account) -> None:
    assert factory.reserve_request(side.pool) == (0, 0)
    for shares in (5, MAX, 0):
        receipt = factory.request_reserve_withdrawal.transact(side.pool, shares, sender=owner)
        ready_at = side.evm.timestamp + DELAY
        expect_event(
            receipt,
            "ReserveWithdrawalRequested",
            factory,
            pool=side.pool,
            shares=shares,
            ready_at=ready_at,
        )
        assert factory.reserve_request(side.pool) == (shares, ready_at)
        side.evm.warp(DAY)
    assert factory.reserve_request(side.other.pool) == (0, 0)


# --- withdraw_reserve


def test_withdraw_reserve__not_the_owner(side: Side, factory: Contract) -> None:
    for caller in (side.market.guardian, side.evm.account("stranger")):
        with reverts(NOT_OWNER):
            factory.withdraw_reserve(side.pool, caller, sender=caller)


def test_withdraw_reserve__unknown_pool(side: Side, factory: Contract, owner: Account) -> None:
    with reverts("unknown pool"):
        factory.withdraw_reserve(side.evm.account("stranger"), owner, sender=owner)


def test_withdraw_reserve__to_nobody_or_the_pool(
    side: Side, factory: Contract, owner: Account
) -> None:
    for receiver in (ZERO_ADDRESS, side.pool):
        with reverts("bad receiver"):
            factory.withdraw_reserve(side.pool, receiver, sender=owner)


def test_withdraw_reserve__nothing_requested(side: Side, factory: Contract, owner: Account) -> None:
    with reverts("nothing requested"):
        factory.withdraw_reserve(side.pool, owner, sender=owner)
    factory.request_reserve_withdrawal(side.pool, 5, sender=owner)
    factory.request_reserve_withdrawal(side.pool, 0, sender=owner)
    side.evm.warp(DELAY)
    with reverts("nothing requested"):
        factory.withdraw_reserve(side.pool, owner, sender=owner)


def test_withdraw_reserve__before_the_delay_is_over(
    side: Side, factory: Contract, owner: Account
) -> None:
    shares = 10**6 * side.whole(1)
    factory.request_reserve_withdrawal(side.pool, shares, sender=owner)
    side.evm.warp(DELAY - 1)
    with reverts("reserve locked"):
        factory.withdraw_reserve(side.pool, owner, sender=owner)
    side.evm.warp(1)
    factory.withdraw_reserve(side.pool, owner, sender=owner)


def test_withdraw_reserve__a_week_after_the_delay(
    side: Side, factory: Contract, owner: Account
) -> None:
    """A request does not lie ready for ever."""
    shares = 10**6 * side.whole(1)
    factory.request_reserve_withdrawal(side.pool, shares, sender=owner)
    _, ready_at = factory.reserve_request(side.pool)
    side.evm.warp(ready_at + WINDOW - 1 - side.evm.timestamp)
    with side.evm.anchor():
        factory.withdraw_reserve(side.pool, owner, sender=owner)
    side.evm.warp(1)
    with reverts("request expired"):
        factory.withdraw_reserve(side.pool, owner, sender=owner)
    factory.request_reserve_withdrawal(side.pool, shares, sender=owner)
    side.evm.warp(DELAY)
    factory.withdraw_reserve(side.pool, owner, sender=owner)


def test_withdraw_reserve__new_request_starts_the_delay_anew(
    side: Side, factory: Contract, owner: Account
) -> None:
    factory.request_reserve_withdrawal(side.pool, 1, sender=owner)
    side.evm.warp(DELAY - 1)
    factory.request_reserve_withdrawal(side.pool, 10**6 * side.whole(1), sender=owner)
    side.evm.warp(2)
    with reverts("reserve locked"):
        factory.withdraw_reserve(side.pool, owner, sender=owner)


def test_withdraw_reserve__more_than_the_cash(
    side: Side, factory: Contract, owner: Account
) -> None:
    factory.request_reserve_withdrawal(side.pool, 10**6 * side.whole(1), sender=owner)
    for name in ("lender", "second lender"):
        lender = side.evm.account(name)
        most = side.pool.maxWithdraw(lender)
        if most:
            side.pool.withdraw(most, lender, lender, sender=lender)
    side.evm.warp(DELAY)
    with reverts("insufficient cash"):
        factory.withdraw_reserve(side.pool, owner, sender=owner)


def test_withdraw_reserve__all_of_it(side: Side, factory: Contract, owner: Account) -> None:
    factory.request_reserve_withdrawal(side.pool, MAX, sender=owner)
    side.evm.warp(DELAY)
    with reverts("reserve locked"):
        factory.withdraw_reserve(side.pool, owner, sender=owner)


def test_withdraw_reserve__down_to_the_floor(side: Side, factory: Contract, owner: Account) -> None:
    """A share of the assets that are left: x of the reserve R keeps R - x >= 2 % * (A - x)."""
    # without debt and with the fee charged the numbers stand still for the delay
    borrower = side.give("borrower", 2_000)
    side.pool.repay(MAX, borrower, sender=borrower)
    side.pool.sync_funding()
    state, price = side.pool.state(), side.price()
    most = (price.assets_down(state.reserve_shares) - state.supply_assets // 50) * 100 // 98
    for assets, locked in ((most + 100, True), (most - 100, False)):
        shares = price.shares_down(assets)
        factory.request_reserve_withdrawal(side.pool, shares, sender=owner)
        side.evm.warp(DELAY)
        if locked:
            with reverts("reserve locked"):
                factory.withdraw_reserve(side.pool, owner, sender=owner)
        else:
            factory.withdraw_reserve(side.pool, owner, sender=owner)
    state = side.pool.state()
    kept = side.pool.convertToAssets(state.reserve_shares)
    assert kept == pytest.approx(state.supply_assets // 50, abs=200)
    assert kept * 50 >= state.supply_assets


def test_withdraw_reserve__pays_out_what_was_asked(
    side: Side, factory: Contract, owner: Account
) -> None:
    receiver = side.evm.account("receiver")
    shares = side.price().shares_down(side.whole(10))
    factory.request_reserve_withdrawal(side.pool, shares, sender=owner)
    side.evm.warp(DELAY + 5 * DAY)
    before, charge = side.pool.accrued_state(), side.charge()
    balances = Balances([side.asset], receiver, side.pool)

    receipt = factory.withdraw_reserve.transact(side.pool, receiver, sender=owner)

    assets = charge.price.assets_down(shares)
    assert receipt.return_value == assets > side.whole(10)
    expect_event(
        receipt,
        "Withdraw",
        side.pool,
        sender=factory,
        receiver=receiver,
        owner=side.pool,
        assets=assets,
        shares=shares,
    )
    expect_events(
        receipt,
        "Transfer",
        side.pool,
        [
            {"sender": ZERO_ADDRESS, "receiver": side.pool, "value": charge.shares},
            {"sender": side.pool, "receiver": ZERO_ADDRESS, "value": shares},
        ],
    )
    assert balances.changes(receiver) == (assets,)
    assert balances.changes(side.pool) == (-assets,)
    assert charge.shares > 0
    assert side.pool.balanceOf(side.pool) == before.reserve_shares + charge.shares - shares
    # a request is good for one withdrawal
    assert factory.reserve_request(side.pool) == (0, 0)
    with reverts("nothing requested"):
        factory.withdraw_reserve(side.pool, receiver, sender=owner)


def test_withdraw_reserve__of_a_reserve_that_lost_meanwhile(evm: Evm) -> None:
    """At most all of what is left, where the market has no floor."""
    market = deploy_market(evm, reverse_leg={"reserve_floor": 0}, fee_permille=250)
    market.lend(usdt=market.usd(1_000))
    market.lend("second lender", usdt=market.usd(1_000))
    market.borrow("other", collateral=market.tokens(1_000), usdt=market.usd(900))
    evm.warp(YEAR)
    market.refresh_price()
    borrower = market.borrow(collateral=market.tokens(100), usdt=market.usd(590))
    pool, factory, owner = market.reverse, market.factory, market.owner
    pool.sync_funding()
    asked = pool.state().reserve_shares
    factory.request_reserve_withdrawal(pool, asked, sender=owner)
    # a loss of about 9 USDT, less than the reserve
    market.set_price("6.1", move_uniswap=False)
    liquidator = market.give(evm.account("liquidator"), usdt=market.usd(1_000))
    pool.liquidate(borrower, MAX, liquidator, b"", sender=liquidator)
    assert 0 < pool.state().reserve_shares < asked
    evm.warp(DELAY)
    left, charge = pool.accrued_state().reserve_shares, Side.of(market, "reverse").charge()
    assert charge.shares > 0
    # also with the fee that the withdrawal charges
    assert left + charge.shares < asked

    factory.withdraw_reserve(pool, owner, sender=owner)

    assert evm.last.events("Withdraw", pool)[0].shares == left + charge.shares
    assert pool.balanceOf(pool) == 0


def test_withdraw_reserve__of_a_fee_never_charged_before(evm: Evm) -> None:
    market = deploy_market(evm, reverse_leg={"reserve_floor": 0})
    market.lend(usdt=market.usd(1_000))
    market.borrow(collateral=market.tokens(100), usdt=market.usd(500))
    evm.warp(YEAR)
    pool, factory, owner = market.reverse, market.factory, market.owner
    factory.request_reserve_withdrawal(pool, MAX, sender=owner)
    evm.warp(DELAY)
    assert pool.accrued_state().reserve_shares == 0
    charge = Side.of(market, "reverse").charge()
    assets = factory.withdraw_reserve(pool, owner, sender=owner)
    assert 0 <= charge.fee - assets <= 1
    assert market.usdt.balanceOf(owner) == assets
    assert pool.balanceOf(pool) == 0


def test_withdraw_reserve__floor_of_everything(evm: Evm) -> None:
    """A market may promise never to pay its reserve out."""
    market = deploy_market(evm, reverse_leg={"reserve_floor": wad(100)}, fee_permille=250)
    market.lend(usdt=market.usd(1_000))
    market.borrow(collateral=market.tokens(100), usdt=market.usd(500))
    evm.warp(YEAR)
    factory, pool, owner = market.factory, market.reverse, market.owner
    pool.sync_funding()
    factory.request_reserve_withdrawal(pool, 10**9, sender=owner)
    evm.warp(DELAY)
    with reverts("reserve locked"):
        factory.withdraw_reserve(pool, owner, sender=owner)
