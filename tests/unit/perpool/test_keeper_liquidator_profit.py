"""What a liquidation is worth: terms as the pools have them, gas, sizes, what has to come in."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from perpool.evm import Evm
from perpool.keeper.liquidator.index import Leg, Moment
from perpool.keeper.liquidator.profit import (
    SIZES,
    Case,
    Gain,
    Policy,
    Proposal,
    Rates,
    Terms,
    Way,
    terms_of,
)
from perpool.keeper.model import Position
from perpool.reference.arithmetic import MAX_UINT256, PRICE_SCALE
from perpool.reference.interest import LegParameters
from tests.market import MAX, Market, deploy_market
from tests.pools import calm, market_of_test_oracle

USDT, TOKEN = 10**6, 10**18
PRICE = 10 * PRICE_SCALE * USDT // TOKEN
"""10 USDT a token of 18 decimals."""
RATES = Rates(PRICE, USDT, gas_price=20 * 10**9, ether_price=Decimal(3_000))
DELIVERY = Proposal(Way.DELIVERY, MAX_UINT256)
PURCHASE = Proposal(Way.PURCHASE, MAX_UINT256)


def case(leg: Leg = Leg.REVERSE, most: int = 500 * USDT, *, is_bad: bool = False) -> Case:
    return Case(leg, Terms(most, is_bad, bonus=0), RATES)


# -- terms --


@pytest.fixture(params=[(6, 6), (18, 6), (18, 18)], ids=str)
def market(request: pytest.FixtureRequest, evm: Evm) -> Market:
    token_decimals, usdt_decimals = request.param
    base = deploy_market(evm, token_decimals=token_decimals, usdt_decimals=usdt_decimals)
    calm(base)
    market = market_of_test_oracle(base)
    market.oracle.set_volatility(0)
    market.lend("USDT lender", usdt=market.usd(100_000))
    market.lend("token lender", tokens=market.tokens(10_000))
    market.borrow(collateral=market.tokens(100), usdt=market.usd("690.123456"))
    market.short(margin=market.usd(1_000), tokens=market.tokens("99.123456"))
    return market


@pytest.mark.parametrize("percent", [81, 85, 90, 92, 95, 96, 99, 105, 300])
@pytest.mark.parametrize("leg", Leg)
def test_terms_of__as_the_pools_have_them(evm: Evm, market: Market, leg: Leg, percent: int) -> None:
    """At LTVs from where a part is repaid to where bad debt is left."""
    reverse = leg is Leg.REVERSE
    pool = market.reverse if reverse else market.forward
    account = evm.account("borrower" if reverse else "shorter")
    rich = market.give(evm.account("rich"), tokens=market.tokens(10_000), usdt=market.usd(100_000))
    evm.mine()
    with evm.same_block():
        owed, collateral = pool.debt_of(account), pool.position(account)[0]
        even = owed * PRICE_SCALE // collateral if reverse else collateral * PRICE_SCALE // owed
        price = even * 100 // percent if reverse else even * percent // 100
        market.oracle.set_prices(price, price, price)
        state, config = pool.accrued_state(), pool.config()
        moment = Moment(price, state.debt_assets, state.debt_shares, config.leg.liquidation_ltv)
        position = Position(account.address, *pool.position(account)[:2])
        terms = terms_of(leg, LegParameters(*config.leg), position, moment)
        receipt = pool.liquidate.transact(account, MAX, rich, b"", sender=rich)
    repaid, seized = receipt.return_value
    assert repaid == terms.most
    tokens, usdt = (seized, -repaid) if reverse else (-repaid, seized)
    assert terms.bonus == pytest.approx(tokens * price // PRICE_SCALE + usdt, rel=1e-5)
    assert bool(receipt.events("BadDebt")) == terms.is_bad == (percent > 95)


# -- what is worth trying --


def test_proposals__the_whole_and_its_halves() -> None:
    found = case(most=800).proposals
    assert [[each.max_repay for each in size] for size in found] == [
        [MAX_UINT256],
        [400],
        [200],
        [100],
    ]
    assert len(found) == SIZES
    assert {each.way for size in found for each in size} == {Way.DELIVERY}


def test_proposals__the_forward_pool_may_buy_itself() -> None:
    """The whole of it, and nothing else."""
    found = case(Leg.FORWARD, 800).proposals
    assert found[0] == [DELIVERY, PURCHASE]
    assert all(each.way is Way.DELIVERY for size in found[1:] for each in size)


def test_proposals__of_next_to_nothing() -> None:
    assert [size[0].max_repay for size in case(most=2).proposals] == [MAX_UINT256, 1]


# -- what is at stake --


def test_may_pay__the_bonus_for_the_least_gas() -> None:
    """At 20 gwei and 3,000 USDT that gas is 9 USDT."""
    policy = Policy(min_profit=Decimal(2))
    for bonus, expected in ((11 * USDT, True), (11 * USDT - 1, False)):
        found = Case(Leg.REVERSE, Terms(500 * USDT, is_bad=False, bonus=bonus), RATES)
        assert found.stake == Decimal(bonus) / USDT
        assert found.may_pay(policy) is expected


def test_may_pay__bad_debt_at_a_loss_only_where_configured() -> None:
    policy = Policy(bad_debt_loss=Decimal(8))
    for bonus, is_bad, expected in (
        (USDT, True, True),
        (USDT - 1, True, False),
        (USDT, False, False),
    ):
        found = Case(Leg.REVERSE, Terms(20 * USDT, is_bad, bonus), RATES)
        assert found.may_pay(policy) is expected
        assert not found.may_pay(Policy())


# -- what it is worth --


def test_appraise__gains_in_both_tokens_less_gas() -> None:
    """400,000 of gas at 20 gwei and 3,000 USDT are 24 USDT."""
    cost = RATES.gas_cost(400_000)
    assert cost == 24
    found = case().appraise(DELIVERY, Gain(30 * USDT, TOKEN // 2), cost)
    assert found.profit == 30 + 5 - 24
    assert (found.gas_cost, found.repaid) == (24, 500)


def test_appraise__a_loss() -> None:
    assert case().appraise(DELIVERY, Gain(0, 0), Decimal(24)).profit == -24


def test_appraise__what_is_repaid_of_the_forward_pool_is_tokens() -> None:
    forward = case(Leg.FORWARD, 50 * TOKEN)
    assert forward.appraise(DELIVERY, Gain(0, 0), Decimal(0)).repaid == 500
    part = Proposal(Way.DELIVERY, 20 * TOKEN)
    assert forward.appraise(part, Gain(0, 0), Decimal(0)).repaid == 200


@pytest.mark.parametrize("least", [0, 1, 3])
def test_pays__what_the_policy_asks_for(least: int) -> None:
    policy = Policy(min_profit=Decimal(least))
    cent = Decimal("0.01")
    assert case().required(policy) == least
    for profit, expected in ((least, True), (least - cent, False), (least + cent, True)):
        gain = Gain(int((profit + 24) * USDT), 0)
        found = case().appraise(DELIVERY, gain, Decimal(24))
        assert case().pays(found, policy) is expected


def test_pays__bad_debt_at_a_loss_only_where_configured() -> None:
    bad = case(is_bad=True)
    found = bad.appraise(DELIVERY, Gain(4 * USDT, 0), Decimal(24))
    assert found.profit == -20
    assert not bad.pays(found, Policy())
    assert not bad.pays(found, Policy(bad_debt_loss=Decimal("19.99")))
    assert bad.pays(found, Policy(bad_debt_loss=Decimal(20)))
    # and nothing else at all
    assert not case().pays(found, Policy(bad_debt_loss=Decimal(20)))


def test_least_gain__gas_and_profit_in_the_pool_s_asset() -> None:
    policy = Policy(min_profit=Decimal(6), max_slippage=Decimal(1))
    found = case().appraise(DELIVERY, Gain(100 * USDT, 0), Decimal(24))
    assert case().least_gain(found, policy) == 30 * USDT
    forward = case(Leg.FORWARD, 50 * TOKEN)
    found = forward.appraise(DELIVERY, Gain(0, 10 * TOKEN), Decimal(24))
    assert forward.least_gain(found, policy) == 3 * TOKEN


def test_least_gain__rounds_up() -> None:
    third = replace(RATES, price_e36=PRICE // 3)
    found = case().appraise(DELIVERY, Gain(USDT, 0), Decimal("0.0000001"))
    assert case().least_gain(found, Policy()) == USDT + 1
    forward = Case(Leg.FORWARD, Terms(TOKEN, is_bad=False, bonus=0), third)
    found = forward.appraise(DELIVERY, Gain(0, TOKEN // 4), Decimal(0))
    least = forward.least_gain(found, Policy())
    assert least * third.price_e36 >= USDT * PRICE_SCALE > (least - 1) * third.price_e36


def test_least_gain__most_of_what_was_measured() -> None:
    """Nine tenths, unless told otherwise, of what is in the pool's asset, whatever the price."""
    found = case().appraise(DELIVERY, Gain(100 * USDT, 5 * TOKEN), Decimal(24))
    assert case().least_gain(found, Policy()) == 90 * USDT
    strict = Policy(max_slippage=Decimal("0.01"))
    assert case().least_gain(found, strict) == 99 * USDT
    forward = case(Leg.FORWARD, 50 * TOKEN)
    found = forward.appraise(DELIVERY, Gain(3 * USDT, 10 * TOKEN), Decimal(24))
    assert forward.least_gain(found, Policy()) == 9 * TOKEN


def test_least_gain__no_less_than_gas_and_profit() -> None:
    found = case().appraise(DELIVERY, Gain(26 * USDT, 0), Decimal(24))
    assert case().least_gain(found, Policy()) == 25 * USDT


@pytest.mark.parametrize("gain", [1, 10**30 + 1, 2**127 - 1])
def test_least_gain__never_more_than_was_measured(gain: int) -> None:
    """Also of numbers that are too long for a Decimal."""
    exact = Policy(min_profit=Decimal(0), max_slippage=Decimal(0))
    found = case(Leg.FORWARD).appraise(DELIVERY, Gain(0, gain), Decimal(0))
    assert case(Leg.FORWARD).least_gain(found, exact) == gain
    assert case(Leg.FORWARD).least_gain(found, replace(exact, max_slippage=Decimal(1))) == 0


def test_least_gain__a_bad_debt_may_bring_nothing() -> None:
    bad = case(is_bad=True)
    policy = Policy(bad_debt_loss=Decimal(30))
    found = bad.appraise(DELIVERY, Gain(0, 0), Decimal(24))
    assert bad.least_gain(found, policy) == 0
    dearer = bad.appraise(DELIVERY, Gain(0, 0), Decimal(40))
    assert bad.least_gain(dearer, policy) == 10 * USDT


def test_least_gain__what_a_bad_debt_brings_is_not_given_away() -> None:
    """The loss that is allowed is gas."""
    bad = case(is_bad=True)
    policy = Policy(bad_debt_loss=Decimal(30))
    found = bad.appraise(DELIVERY, Gain(4 * USDT, 0), Decimal(24))
    assert bad.pays(found, policy)
    assert bad.least_gain(found, policy) == 36 * USDT // 10
