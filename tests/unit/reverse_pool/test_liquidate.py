"""`ReversePool.liquidate`."""

from dataclasses import dataclass

import pytest

from perpool.evm import Account, Contract, Evm, reverts
from tests.market import MAX, WAD, ZERO_ADDRESS, Leg, Market, deploy_market, wad
from tests.pools import DAY, Charge, calm, ceil_div, expect_event, expect_events, totals
from tests.unit.reverse_pool.conftest import balances_of

PRICE_SCALE = 10**36


@dataclass(frozen=True)
class Terms:
    """Terms of a liquidation by the design's formulas, in USDT of a debt and of its collateral."""

    bonus: int
    most: int
    """Repayment that the terms allow."""
    exhausts: bool
    """Whether it takes all collateral and leaves debt."""

    @classmethod
    def of(cls, leg: Leg, debt: int, value: int) -> "Terms":
        ltv = debt * WAD // max(value, 1)
        bonus = leg.bonus_base + max(ltv - leg.liquidation_ltv, 0) * leg.bonus_slope // WAD
        surplus = max(value * WAD // debt - WAD, 0)
        bonus = min(bonus, leg.bonus_cap, max(surplus, leg.bonus_base))
        most = min(debt, value * WAD // (WAD + bonus))
        restoring = ceil_div(
            (debt - value * leg.max_ltv // WAD) * WAD,
            WAD - ceil_div((WAD + bonus) * leg.max_ltv, WAD),
        )
        if restoring >= most or debt - restoring < leg.min_debt:
            return cls(bonus, most, most < debt)
        return cls(bonus, restoring, False)


@pytest.fixture
def borrower(market: Market) -> Account:
    """690 USDT against 100 tokens, an LTV of 69 %."""
    calm(market)
    return market.borrow(collateral=market.tokens(100), usdt=market.usd(690))


@pytest.fixture
def liquidator(market: Market) -> Account:
    return market.give(market.evm.account("liquidator"), usdt=market.usd(10_000))


def value_of(market: Market, account: Account) -> int:
    """Collateral in USDT, rounded down."""
    collateral, _ = market.reverse.position(account)
    return collateral * market.oracle.liquidation_price() // PRICE_SCALE


def set_ltv(market: Market, account: Account, ltv: float) -> None:
    """Move the oracle's price to where the account has that LTV in percent."""
    collateral, _ = market.reverse.position(account)
    whole = collateral / market.tokens(1)
    debt = market.reverse.debt_of(account) / market.usd(1)
    market.set_price(f"{debt / whole / ltv * 100:.8f}", move_uniswap=False)


# --- reverts


def test_liquidate__to_nobody_or_the_pool(
    market: Market, pool: Contract, borrower: Account, liquidator: Account
) -> None:
    set_ltv(market, borrower, 85)
    for receiver in (ZERO_ADDRESS, pool):
        with reverts("bad receiver"):
            pool.liquidate(borrower, MAX, receiver, b"", sender=liquidator)


def test_liquidate__without_a_fresh_price(
    market: Market, pool: Contract, borrower: Account, liquidator: Account
) -> None:
    market.evm.warp(DAY + 1)
    with reverts("stale price"):
        pool.liquidate(borrower, MAX, liquidator, b"", sender=liquidator)


def test_liquidate__healthy(
    market: Market, pool: Contract, borrower: Account, liquidator: Account
) -> None:
    with market.evm.same_block():
        debt = pool.debt_of(borrower)
        # at an LTV of 80 % to the last unit of the feed's answer
        answer = ceil_div(debt * 10**8, market.usd(80))
        market.feed.set(answer)
        with reverts("healthy position"):
            pool.liquidate(borrower, MAX, liquidator, b"", sender=liquidator)
        market.feed.set(answer - 1)
        pool.liquidate(borrower, MAX, liquidator, b"", sender=liquidator)


def test_liquidate__nobody_or_without_debt(
    market: Market, pool: Contract, liquidator: Account, stranger: Account
) -> None:
    pool.supply_collateral(market.tokens(1), stranger, sender=stranger)
    for account in (stranger, market.evm.account("nobody")):
        with reverts("healthy position"):
            pool.liquidate(account, MAX, liquidator, b"", sender=liquidator)


def test_liquidate__nothing(
    market: Market, pool: Contract, borrower: Account, liquidator: Account
) -> None:
    set_ltv(market, borrower, 85)
    with reverts("zero amount"):
        pool.liquidate(borrower, 0, liquidator, b"", sender=liquidator)


def test_liquidate__leaving_dust(
    market: Market, pool: Contract, borrower: Account, liquidator: Account
) -> None:
    # deep enough that everything may be repaid
    set_ltv(market, borrower, 94)
    with market.evm.same_block():
        debt = pool.debt_of(borrower)
        with reverts("below minimum debt"):
            pool.liquidate(borrower, debt - market.usd(10) + 1, liquidator, b"", sender=liquidator)
        pool.liquidate(borrower, debt - market.usd(10), liquidator, b"", sender=liquidator)


def test_liquidate__not_paid(market: Market, pool: Contract, borrower: Account) -> None:
    set_ltv(market, borrower, 85)
    penniless = market.give(market.evm.account("penniless"), usdt=1)
    with reverts("insufficient balance"):
        pool.liquidate(borrower, MAX, penniless, b"", sender=penniless)


# --- terms


@pytest.mark.parametrize("ltv", [80.01, 81, 85, 88, 90, 90.4])
def test_liquidate__restores_max_ltv(decimal_market: Market, ltv: float) -> None:
    market, pool = decimal_market, decimal_market.reverse
    calm(market)
    borrower = market.borrow(collateral=market.tokens(100), usdt=market.usd(690))
    market.borrow("other", collateral=market.tokens(500), usdt=market.usd(1_234.5))
    liquidator = market.give(market.evm.account("liquidator"), usdt=market.usd(1_000))
    receiver = market.evm.account("receiver")
    set_ltv(market, borrower, ltv)
    market.evm.mine()
    state, (collateral, debt_shares) = pool.accrued_state(), pool.position(borrower)
    debt, value = pool.debt_of(borrower), value_of(market, borrower)
    price = market.oracle.liquidation_price()
    terms = Terms.of(market.reverse_leg, debt, value)
    balances = balances_of(market, borrower, liquidator, receiver)

    receipt = pool.liquidate.transact(borrower, MAX, receiver, b"", sender=liquidator)

    repaid = terms.most
    shares = repaid * state.debt_shares // state.debt_assets
    seized = repaid * (WAD + terms.bonus) // WAD * PRICE_SCALE // price
    assert 0 < repaid < debt
    assert receipt.return_value == (repaid, seized)
    expect_event(
        receipt,
        "Liquidate",
        pool,
        caller=liquidator,
        borrower=borrower,
        receiver=receiver,
        repaid=repaid,
        shares=shares,
        seized=seized,
        price_e36=price,
        collateral=collateral - seized,
        total_debt=state.debt_assets - repaid,
        total_debt_shares=state.debt_shares - shares,
    )
    assert receipt.events("BadDebt") == []
    assert pool.position(borrower) == (collateral - seized, debt_shares - shares)
    assert totals(pool) == (
        state.supply_assets,
        state.supply_shares,
        state.debt_assets - repaid,
        state.debt_shares - shares,
    )
    assert balances.changes(liquidator) == (0, -repaid)
    assert balances.changes(receiver) == (seized, 0)
    assert balances.changes(borrower) == (0, 0)
    assert balances.changes(pool) == (-seized, repaid)
    # back at 70 %, and healthy
    after = pool.debt_of(borrower) / value_of(market, borrower)
    assert after == pytest.approx(0.7, abs=2e-6)
    with reverts("healthy position"):
        pool.liquidate(borrower, MAX, receiver, b"", sender=liquidator)


@pytest.mark.parametrize(
    ("ltv", "bonus"),
    [
        # b0 and k per LTV above 80 %
        (80.5, 0.0525),
        (85, 0.075),
        (88, 0.09),
        # the cap
        (90.5, 0.1),
        # what the collateral still covers: C/D - 1
        (92, 1 / 0.92 - 1),
        (95, 1 / 0.95 - 1),
        # never under b0
        (96, 0.05),
        (99, 0.05),
        (150, 0.05),
    ],
)
def test_liquidate__bonus(
    market: Market,
    pool: Contract,
    borrower: Account,
    liquidator: Account,
    ltv: float,
    bonus: float,
) -> None:
    set_ltv(market, borrower, ltv)
    repaid, seized = pool.liquidate(borrower, market.usd(100), liquidator, b"", sender=liquidator)
    assert repaid == market.usd(100)
    worth = seized * market.oracle.liquidation_price() // PRICE_SCALE
    assert worth / repaid - 1 == pytest.approx(bonus, abs=2e-6)


@pytest.mark.parametrize("ltv", [81, 85, 90, 92, 94, 95])
@pytest.mark.parametrize("repay", [1, 1_000_003, 50_000_000, MAX])
def test_liquidate__never_raises_the_ltv_where_the_collateral_covers_the_bonus(
    market: Market,
    pool: Contract,
    borrower: Account,
    liquidator: Account,
    ltv: float,
    repay: int,
) -> None:
    """Below an LTV of 1 / (1 + b0) = 95.2 %; debt compared before it is rounded to units."""
    market.borrow("other", collateral=market.tokens(500), usdt=market.usd(1_234.5))
    set_ltv(market, borrower, ltv)
    market.evm.warp(1)
    state, (collateral, shares) = pool.accrued_state(), pool.position(borrower)

    pool.liquidate(borrower, repay, liquidator, b"", sender=liquidator)

    after, (collateral_left, shares_left) = pool.state(), pool.position(borrower)
    assert (
        shares_left * after.debt_assets * collateral * state.debt_shares
        # a debt share that rounding left
        <= (shares + 1) * state.debt_assets * collateral_left * after.debt_shares
    )


def test_liquidate__whole_where_the_rest_would_be_dust(
    market: Market, pool: Contract, liquidator: Account
) -> None:
    """14 USDT at 85 %: restoring 70 % would leave less than 10."""
    calm(market)
    borrower = market.borrow(collateral=market.tokens(2), usdt=market.usd(14))
    set_ltv(market, borrower, 85)
    market.evm.mine()
    debt, value = pool.debt_of(borrower), value_of(market, borrower)
    assert Terms.of(market.reverse_leg, debt, value).most == debt

    repaid, seized = pool.liquidate(borrower, MAX, liquidator, b"", sender=liquidator)

    assert repaid == debt
    # with the same bonus, and the rest of the collateral stays the borrower's
    assert seized / market.tokens(2) == pytest.approx(0.85 * 1.075, abs=2e-6)
    assert pool.position(borrower) == (market.tokens(2) - seized, 0)
    assert pool.state().debt_assets == 0
    pool.withdraw_collateral(MAX, borrower, borrower, sender=borrower)


def test_liquidate__up_to_max_repay(
    market: Market, pool: Contract, borrower: Account, liquidator: Account
) -> None:
    set_ltv(market, borrower, 85)
    before = pool.debt_of(borrower)
    repaid, _ = pool.liquidate(borrower, market.usd(50), liquidator, b"", sender=liquidator)
    assert repaid == market.usd(50)
    assert pool.debt_of(borrower) == pytest.approx(before - repaid, abs=10)


# --- bad debt


@pytest.mark.parametrize("ltv", [96, 99.9, 100.1, 150, 1_000])
@pytest.mark.parametrize("with_reserve", [False, True])
def test_liquidate__underwater_takes_all_and_writes_off_the_rest(
    market: Market,
    pool: Contract,
    borrower: Account,
    liquidator: Account,
    ltv: float,
    with_reserve: bool,
) -> None:
    """The reserve pays first, as far as it goes, then every share."""
    lender = market.evm.account("lender")
    if with_reserve:
        # 25 % of 10 years' interest: more than the smaller losses, less than the larger ones
        market.borrow("other", collateral=market.tokens(15_000), usdt=market.usd(90_000))
        market.factory.set_fee(pool, 250, sender=market.owner)
        # one half of the fee is charged before, the other half by the liquidation
        for half_day in range(20):
            market.evm.warp(DAY // 2)
            market.refresh_price()
            if half_day == 9:
                pool.sync_funding()
    set_ltv(market, borrower, ltv)
    market.evm.mine()
    state, (collateral, debt_shares) = pool.accrued_state(), pool.position(borrower)
    debt, value = pool.debt_of(borrower), value_of(market, borrower)
    terms = Terms.of(market.reverse_leg, debt, value)
    charge, owned = Charge.of(state, 6), pool.convertToAssets(pool.balanceOf(lender))
    reserve = state.reserve_shares + charge.shares
    assert (state.reserve_shares > 0) == with_reserve
    assert charge.shares > 0
    balances = balances_of(market, borrower, liquidator)

    receipt = pool.liquidate.transact(borrower, MAX, liquidator, b"", sender=liquidator)

    assert terms.exhausts
    repaid = terms.most
    assert receipt.return_value == (repaid, collateral)
    paid_shares = repaid * state.debt_shares // state.debt_assets
    left = debt_shares - paid_shares
    loss = ceil_div(left * (state.debt_assets - repaid), state.debt_shares - paid_shares)
    from_reserve = min(loss, charge.price.assets_down(reserve))
    burnt = min(charge.price.shares_up(from_reserve), reserve)
    all_assets = state.cash + state.debt_assets
    expect_event(
        receipt,
        "BadDebt",
        pool,
        borrower=borrower,
        assets=loss,
        from_reserve=from_reserve,
        from_lenders=loss - from_reserve,
        total_assets=all_assets - loss,
    )
    expect_events(
        receipt,
        "Transfer",
        pool,
        [
            {"sender": ZERO_ADDRESS, "receiver": pool, "value": charge.shares},
            {"sender": pool, "receiver": ZERO_ADDRESS, "value": burnt},
        ],
    )
    expect_event(
        receipt,
        "Liquidate",
        pool,
        caller=liquidator,
        borrower=borrower,
        receiver=liquidator,
        repaid=repaid,
        shares=paid_shares,
        seized=collateral,
        price_e36=market.oracle.liquidation_price(),
        collateral=0,
        total_debt=state.debt_assets - repaid - loss,
        total_debt_shares=state.debt_shares - debt_shares,
    )
    assert pool.position(borrower) == (0, 0)
    assert totals(pool) == (
        all_assets - loss,
        state.supply_shares + charge.shares - burnt,
        state.debt_assets - repaid - loss,
        state.debt_shares - debt_shares,
    )
    assert pool.balanceOf(pool) == reserve - burnt
    assert balances.changes(liquidator) == (collateral, -repaid)
    assert balances.changes(pool) == (-collateral, repaid)
    # what lenders own falls by what the reserve did not pay
    lost = owned - pool.convertToAssets(pool.balanceOf(lender))
    if from_reserve == loss:
        assert lost <= 0
    else:
        assert 0 < lost <= loss - from_reserve + 1
    # all claims are still covered
    after = pool.state()
    assert market.usdt.balanceOf(pool) == after.cash == state.cash + repaid
    assert after.cash + after.debt_assets == after.supply_assets == after.charged_assets


def test_liquidate__reserve_that_covers_a_loss_keeps_the_price(
    market: Market, pool: Contract, borrower: Account, liquidator: Account
) -> None:
    lender = market.evm.account("lender")
    market.borrow("other", collateral=market.tokens(15_000), usdt=market.usd(90_000))
    market.factory.set_fee(pool, 250, sender=market.owner)
    for _ in range(60):
        market.evm.warp(DAY)
        market.refresh_price()
    set_ltv(market, borrower, 97)
    market.evm.mine()
    owned = pool.convertToAssets(pool.balanceOf(lender))
    receipt = pool.liquidate.transact(borrower, MAX, liquidator, b"", sender=liquidator)
    (event,) = receipt.events("BadDebt")
    assert event.assets == event.from_reserve > 0
    assert event.from_lenders == 0
    assert 0 <= pool.convertToAssets(pool.balanceOf(lender)) - owned <= 1


def test_liquidate__without_a_reserve_burns_nothing_of_it(
    market: Market, pool: Contract, borrower: Account, liquidator: Account
) -> None:
    # the fee of what has accrued until now goes with the first loss
    market.factory.set_fee(pool, 0, sender=market.owner)
    other = market.borrow("other", collateral=market.tokens(100), usdt=market.usd(690))
    set_ltv(market, borrower, 150)
    pool.liquidate(borrower, MAX, liquidator, b"", sender=liquidator)
    assert 0 < pool.state().reserve_shares <= 10**6
    receipt = pool.liquidate.transact(other, MAX, liquidator, b"", sender=liquidator)
    (event,) = receipt.events("BadDebt")
    assert event.assets == event.from_lenders > event.from_reserve == 0
    expect_event(receipt, "Transfer", pool, sender=pool, receiver=ZERO_ADDRESS, value=0)


@pytest.mark.parametrize(("tokens", "worth"), [(100, 1), (10, 0)])
def test_liquidate__collateral_worth_nothing(
    market: Market, pool: Contract, stranger: Account, tokens: int, worth: int
) -> None:
    """At 1e-8 USDT a token, where a repayment with the bonus would be less than a unit."""
    calm(market)
    borrower = market.borrow(collateral=market.tokens(tokens), usdt=market.usd(tokens * 6))
    market.feed.set(1)
    market.evm.mine()
    debt = pool.debt_of(borrower)
    assert value_of(market, borrower) == worth
    balances = balances_of(market, stranger)

    receipt = pool.liquidate.transact(borrower, MAX, stranger, b"", sender=stranger)

    assert receipt.return_value == (0, market.tokens(tokens))
    assert receipt.events("BadDebt", pool)[0].assets == debt
    assert pool.position(borrower) == (0, 0)
    assert totals(pool)[2:] == (0, 0)
    assert balances.changes(stranger) == (market.tokens(tokens), 0)


def test_liquidate__dust_of_collateral_does_not_keep_bad_debt_open(
    market: Market, pool: Contract, borrower: Account, liquidator: Account
) -> None:
    """Somebody repays nearly all that an underwater position allows, and leaves a crumb."""
    set_ltv(market, borrower, 200)
    with market.evm.same_block():
        terms = Terms.of(market.reverse_leg, pool.debt_of(borrower), value_of(market, borrower))
        pool.liquidate(borrower, terms.most - 1, liquidator, b"", sender=liquidator)
        collateral, shares = pool.position(borrower)
        assert 0 < collateral < market.tokens("0.00001")
        assert shares > 0
        pool.liquidate(borrower, MAX, liquidator, b"", sender=liquidator)
        assert pool.position(borrower) == (0, 0)
        assert len(market.evm.last.events("BadDebt", pool)) == 1


def test_liquidate__everything_lent_is_lost(evm: Evm) -> None:
    """A pool whose lenders lost all can still be entered and left."""
    market = deploy_market(evm)
    lender = market.lend(usdt=market.usd(600))
    calm(market)
    borrower = market.borrow(collateral=market.tokens(100), usdt=market.usd(600))
    liquidator = market.give(evm.account("liquidator"), usdt=market.usd(1))
    market.feed.set(1)
    pool = market.reverse
    pool.liquidate(borrower, MAX, liquidator, b"", sender=liquidator)
    assert totals(pool)[0] == 0 == totals(pool)[2]
    assert pool.maxWithdraw(lender) == 0
    newcomer = market.lend("newcomer", usdt=market.usd(100))
    # the old shares are worth next to nothing beside the new ones
    assert pool.maxWithdraw(lender) < market.usd("0.01")
    pool.redeem(pool.balanceOf(newcomer), newcomer, newcomer, sender=newcomer)
    assert market.usdt.balanceOf(newcomer) >= market.usd("99.99")


# --- callback and liveness


def test_liquidate__pays_out_of_the_collateral(
    market: Market, pool: Contract, borrower: Account
) -> None:
    """A liquidator without a unit of his own sells on Uniswap and keeps the bonus."""
    seller = market.evm.deploy("CollateralSeller")
    market.set_price("8.2")
    market.evm.mine()
    terms = Terms.of(market.reverse_leg, pool.debt_of(borrower), value_of(market, borrower))
    balances = balances_of(market, seller)

    receipt = seller.liquidate.transact(pool, borrower, MAX, market.swapper, market.sell_route)

    repaid, seized = receipt.return_value
    assert repaid == terms.most
    expect_event(
        receipt,
        "CalledBack",
        seller,
        pool=pool,
        account=borrower,
        due=repaid,
        collateral_out=seized,
        held=seized,
    )
    assert balances.changes(pool) == (-seized, repaid)
    kept, usdt = balances.changes(seller)
    assert usdt == 0
    # the bonus, less fee and slippage of the sale
    assert kept / seized == pytest.approx(terms.bonus / (WAD + terms.bonus), abs=0.001)


def test_liquidate__callback_that_cannot_pay(
    market: Market, pool: Contract, borrower: Account
) -> None:
    """On a Uniswap that has fallen further than the oracle."""
    seller = market.evm.deploy("CollateralSeller")
    market.set_price("8.2", move_uniswap=False)
    market.pool.swap_to(7)
    with reverts("excessive input"):
        seller.liquidate(pool, borrower, MAX, market.swapper, market.sell_route)
    assert pool.position(borrower)[0] == market.tokens(100)


def test_liquidate__needs_the_liquidation_price_only(stub_market: Market) -> None:
    market, pool = stub_market, stub_market.reverse
    borrower = market.borrow(collateral=market.tokens(100), usdt=market.usd(690))
    liquidator = market.give(market.evm.account("liquidator"), usdt=market.usd(1_000))
    price = market.oracle.liquidation_price()
    # whatever prices new risk is judged by
    for lower, upper, fails in ((1, 1, True), (price, price, False)):
        market.oracle.set_prices(lower, upper, price if fails else price * 8 // 10)
        if fails:
            with reverts("healthy position"):
                pool.liquidate(borrower, MAX, liquidator, b"", sender=liquidator)
        else:
            pool.liquidate(borrower, MAX, liquidator, b"", sender=liquidator)


def test_liquidate__while_paused_and_capped(
    market: Market, pool: Contract, borrower: Account, liquidator: Account
) -> None:
    market.factory.set_paused(pool, True, sender=market.guardian)
    market.factory.set_caps(pool, 0, 0, 0, sender=market.owner)
    set_ltv(market, borrower, 85)
    pool.liquidate(borrower, MAX, liquidator, b"", sender=liquidator)


def test_liquidate__oneself(market: Market, pool: Contract, borrower: Account) -> None:
    set_ltv(market, borrower, 85)
    repaid, seized = pool.liquidate(borrower, MAX, borrower, b"", sender=borrower)
    assert repaid > 0
    assert market.token.balanceOf(borrower) == seized


def test_liquidate__by_interest_alone(market: Market, pool: Contract, liquidator: Account) -> None:
    """A year's interest brings a full pool's borrower from 69 % to over 80 %."""
    calm(market)
    lender = market.evm.account("lender")
    borrower = market.borrow(collateral=market.tokens(100), usdt=market.usd(690))
    pool.withdraw(pool.maxWithdraw(lender), lender, lender, sender=lender)
    days = 0
    while pool.debt_of(borrower) <= market.usd(800):
        with reverts("healthy position"):
            pool.liquidate(borrower, MAX, liquidator, b"", sender=liquidator)
        market.evm.warp(10 * DAY)
        market.refresh_price()
        days += 10
    assert 30 < days < 365
    repaid, _ = pool.liquidate(borrower, MAX, liquidator, b"", sender=liquidator)
    assert repaid > 0


def test_liquidate__logs_in_order(
    market: Market, pool: Contract, borrower: Account, liquidator: Account
) -> None:
    set_ltv(market, borrower, 150)
    receipt = pool.liquidate.transact(borrower, MAX, liquidator, b"", sender=liquidator)
    assert [(event.name, event.address) for event in receipt.logs] == [
        ("Accrue", pool.address),
        ("Transfer", pool.address),  # the fee becomes shares of the reserve
        ("Transfer", pool.address),  # and they pay
        ("BadDebt", pool.address),
        ("Liquidate", pool.address),
        ("Transfer", market.token.address),
        ("Transfer", market.usdt.address),
    ]
    expect_events(
        receipt,
        "Transfer",
        market.usdt,
        [{"sender": liquidator, "receiver": pool, "value": receipt.return_value[0]}],
    )


def test_terms__of_the_design() -> None:
    """690 against 850: b = 5.588 %, R = (690 - 595) / (1 - 0.7 * 1.05588) = 364.15."""
    terms = Terms.of(Leg(), 690 * 10**6, 850 * 10**6)
    assert terms.bonus == pytest.approx(wad("5.5882353"), rel=1e-7)
    assert terms.most == pytest.approx(364_154_000, rel=1e-4)
    assert not terms.exhausts
