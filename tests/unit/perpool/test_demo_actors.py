"""The rules of the demo's actors: what they see -> what they order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from perpool.demo import actors as act
from perpool.demo.actors import DAY, Me, PoolView, View

NOW = 100 * DAY
CALM = PoolView(0.5, 0.06, 0.03)


def view(**changes: Any) -> View:
    """A calm market: price 2 for a week, funding at 11 %."""
    calm = View(
        time=NOW,
        price=2.0,
        funding_ema=0.11,
        borrow_ltv=0.7,
        reverse=CALM,
        forward=CALM,
        progress=0.1,
        closes=[2.0] * 168,
    )
    return replace(calm, **changes)


def actor(name: str) -> act.Actor:
    return next(each for each in act.cast(lambda: 0.0) if each.name == name)


# -- what they see --


def test_view__changes_and_means() -> None:
    rising = view(price=3.0, closes=[1.0, 2.0, 3.0])
    assert rising.change(1) == pytest.approx(0.5)
    assert rising.change(72) == pytest.approx(2.0)
    assert rising.mean(2) == pytest.approx(2.5)
    assert (view(closes=[]).change(24), view(closes=[]).mean(24)) == (0.0, 2.0)


def test_me__ltvs() -> None:
    me = Me(collateral=100, debt=100, short_collateral=300, short_debt=75)
    assert (me.ltv(2.0), me.short_ltv(2.0)) == (0.5, 0.5)
    assert (Me().ltv(2.0), Me().short_ltv(2.0)) == (0.0, 0.0)


# -- lenders --


def test_treasury__lends_and_stays() -> None:
    treasury = actor("Treasury")
    assert treasury.decide(view(), Me(usdt=5_000)) == [act.Lend(5_000)]
    assert treasury.decide(view(closes=[9.0, 2.0]), Me(lent=5_000)) == []


def test_yield_fund__comes_above_eight_and_leaves_below_four() -> None:
    fund = actor("Yield fund")

    def at(rate: float, me: Me) -> list[act.Order]:
        return fund.decide(view(reverse=replace(CALM, supply_rate=rate)), me)

    assert at(0.079, Me(usdt=5_000)) == []
    assert at(0.081, Me(usdt=5_000)) == [act.Lend(5_000)]
    assert at(0.05, Me(lent=5_000)) == []
    assert at(0.039, Me(lent=5_000)) == [act.Withdraw()]
    assert at(0.05, Me(usdt=5_000)) == []


def test_cautious_desk__flees_a_fall_and_comes_back_when_it_is_quiet() -> None:
    desk = actor("Cautious desk")
    fallen = view(price=1.6, closes=[2.0] * 20 + [1.6])
    assert desk.decide(fallen, Me(lent=5_000)) == [act.Withdraw()]
    assert desk.decide(view(time=NOW + DAY), Me(usdt=5_000)) == []
    assert desk.decide(view(time=NOW + 4 * DAY), Me(usdt=5_000)) == [act.Lend(5_000)]


def test_newcomer__comes_half_way() -> None:
    newcomer = actor("Newcomer")
    assert newcomer.decide(view(progress=0.49), Me(usdt=5_000)) == []
    assert newcomer.decide(view(progress=0.5), Me(usdt=5_000)) == [act.Lend(5_000)]


def test_token_lender__lends_tokens() -> None:
    assert actor("Foundation").decide(view(), Me(tokens=900)) == [act.Lend(900)]


# -- vault holders --


def test_vault_holder__puts_everything_in_on_the_first_day_and_stays() -> None:
    holder = actor("Holder in keep")
    assert holder.decide(view(progress=0.0), Me(tokens=900)) == [act.RequestDeposit(900)]
    assert holder.decide(view(progress=1.0), Me(shares=900)) == []


def test_vault_holder__comes_half_way() -> None:
    newcomer = actor("Newcomer in keep")
    assert newcomer.decide(view(progress=0.49), Me(tokens=900)) == []
    assert newcomer.decide(view(progress=0.5), Me(tokens=900)) == [act.RequestDeposit(900)]


def test_vault_holder__leaves_once() -> None:
    leaver = actor("Leaver of neutral")
    assert leaver.decide(view(progress=0.74), Me(shares=900)) == []
    assert leaver.decide(view(progress=0.75), Me(shares=900)) == [act.RequestRedeem()]
    assert leaver.decide(view(progress=0.76), Me(tokens=800)) == []


# -- hedged holders --


@pytest.fixture
def holder() -> act.HedgedHolder:
    return act.HedgedHolder("holder", 1_000, hedge=0.5, margin=0.5)


def test_hedged__enters_above_twenty_percent(holder: act.HedgedHolder) -> None:
    assert holder.decide(view(funding_ema=0.2), Me(tokens=1_000)) == []
    assert holder.decide(view(funding_ema=0.21), Me(tokens=1_000)) == [
        act.Borrow(1_000, 500),
        act.PerpTransfer(500),
        act.PerpTrade(-500),
    ]


# 500 of 1,000 tokens short at 2, with 500 USDT of margin wanted
HEDGED = Me(collateral=1_000, debt=500, perp_equity=500, perp_position=-500)


@pytest.mark.parametrize("equity", [455, 545])
def test_hedged__does_nothing_within_ten_percent(holder: act.HedgedHolder, equity: float) -> None:
    assert holder.decide(view(), replace(HEDGED, perp_equity=equity)) == []


def test_hedged__excess_margin_repays_the_loan(holder: act.HedgedHolder) -> None:
    orders = holder.decide(view(), replace(HEDGED, perp_equity=600))
    assert orders == [act.PerpTransfer(-100), act.Repay(100)]


def test_hedged__lack_of_margin_is_borrowed(holder: act.HedgedHolder) -> None:
    orders = holder.decide(view(), replace(HEDGED, perp_equity=300))
    assert orders == [act.Borrow(0, 200), act.PerpTransfer(200)]


def test_hedged__past_the_ceiling_sells_tokens_and_hedges_the_rest(
    holder: act.HedgedHolder,
) -> None:
    # a ceiling of 55 % of 2,000 USDT leaves room for 50, too little for an order
    take, sell, transfer, trade = holder.decide(
        view(), replace(HEDGED, debt=1_050, perp_equity=250)
    )
    assert isinstance(sell, act.Sell)
    # sold tokens bring 2 USDT each, and 0.5 less margin is wanted for each
    assert sell.tokens == pytest.approx(250 / 2.5)
    assert take == act.TakeCollateral(sell.tokens)
    assert transfer == act.PerpTransfer(pytest.approx(200 * 0.99))  # type: ignore[arg-type]
    assert trade == act.PerpTrade(-0.5 * (1_000 - sell.tokens))


def test_hedged__borrows_up_to_the_ceiling_first(holder: act.HedgedHolder) -> None:
    orders = holder.decide(view(), replace(HEDGED, debt=900, perp_equity=250))
    assert orders[:2] == [
        act.Borrow(0, pytest.approx(200)),  # type: ignore[arg-type]
        act.PerpTransfer(pytest.approx(200)),  # type: ignore[arg-type]
    ]
    assert orders[3] == act.Sell(pytest.approx(50 / 2.5))  # type: ignore[arg-type]


def test_hedged__leaves_below_five_percent_after_three_days(holder: act.HedgedHolder) -> None:
    holder.entered_at = NOW - 3 * DAY + 1
    assert holder.decide(view(funding_ema=0.04), HEDGED) == []
    holder.entered_at = NOW - 3 * DAY
    orders = holder.decide(view(funding_ema=0.04), replace(HEDGED, perp_equity=600))
    assert orders == [
        act.PerpTrade(0),
        act.PerpTransfer(-float("inf")),
        act.Repay(),
        act.TakeCollateral(),
    ]


def test_hedged__pays_a_loss_in_tokens(holder: act.HedgedHolder) -> None:
    orders = holder.decide(view(funding_ema=0.04), replace(HEDGED, perp_equity=400))
    sold = next(each.tokens for each in orders if isinstance(each, act.Sell))
    assert sold * 2.0 == pytest.approx(100, rel=0.1)
    assert orders[-2:] == [act.Repay(), act.TakeCollateral()]


# -- the other holders --


def test_siloed__enters_once_and_never_again() -> None:
    siloed = act.SiloedHolder("siloed", 1_000, ltv=0.6)
    hot = view(funding_ema=0.5)
    assert siloed.decide(view(), Me(tokens=1_000)) == []
    assert siloed.decide(hot, Me(tokens=1_000)) == [
        act.Borrow(1_000, 1_200),
        act.PerpTransfer(1_200),
        act.PerpTrade(-1_000),
    ]
    assert siloed.decide(hot, Me(collateral=1_000, debt=1_590)) == []


def test_leveraged__buys_in_a_rise_up_to_its_ltv_or_the_pools() -> None:
    holder = act.LeveragedHolder("leveraged", 1_000, ltv=0.5, tops_up=True)
    rising = view(price=2.2)
    assert holder.decide(view(), Me(tokens=1_000)) == []
    [borrow, buy] = holder.decide(rising, Me(tokens=10_000))
    assert borrow == act.Borrow(10_000, pytest.approx(11_000))  # type: ignore[arg-type]
    assert buy == act.Buy(pytest.approx(11_000))  # type: ignore[arg-type]
    [borrow, _] = holder.decide(replace(rising, borrow_ltv=0.4), Me(tokens=10_000))
    assert borrow == act.Borrow(10_000, pytest.approx(0.39 * 22_000))  # type: ignore[arg-type]


@pytest.mark.parametrize(("debt", "again"), [(8_400, False), (8_300, True)])
def test_leveraged__again_when_ltv_has_fallen(debt: float, again: bool) -> None:
    holder = act.LeveragedHolder("leveraged", 1_000, ltv=0.5, tops_up=True)
    me = Me(collateral=10_000, debt=debt)
    assert bool(holder.decide(view(price=2.2), me)) is again


@pytest.mark.parametrize("tops_up", [True, False])
def test_leveraged__top_up(tops_up: bool) -> None:
    holder = act.LeveragedHolder("leveraged", 1_000, ltv=0.5, tops_up=tops_up)
    me = Me(collateral=1_000, debt=1_450, tokens=300)
    assert holder.decide(view(), me) == ([act.AddCollateral(300)] if tops_up else [])
    assert holder.decide(view(), replace(me, tokens=0)) == []


# -- shorters --


def test_trend_seller__under_the_mean_and_back_over_it() -> None:
    seller = act.TrendSeller("seller", 10_000)
    low = view(price=1.9)
    [order] = seller.decide(low, Me(usdt=20_000))
    assert order == act.OpenShort(10_100, pytest.approx(10_000 / 1.9))  # type: ignore[arg-type]
    assert seller.decide(view(price=1.93), Me(usdt=20_000)) == []
    assert seller.decide(low, Me(short_debt=1)) == []
    assert seller.decide(view(price=2.01), Me(short_debt=1)) == [act.CloseShort()]


def test_shorter__no_more_than_the_cash_carries() -> None:
    seller = act.TrendSeller("seller", 10_000)
    [order] = seller.decide(view(price=1.9), Me(usdt=5_000))
    assert isinstance(order, act.OpenShort)
    assert order.margin <= 5_000
    assert seller.decide(view(price=1.9), Me(usdt=900)) == []


@pytest.mark.parametrize(("dice", "opens"), [(0.24, True), (0.26, False)])
def test_market_maker__every_fourth_step(dice: float, opens: bool) -> None:
    maker = act.MarketMaker("maker", 10_000, dice=lambda: dice)
    assert bool(maker.decide(view(), Me(usdt=20_000))) is opens


def test_market_maker__buys_back_a_day_later() -> None:
    maker = act.MarketMaker("maker", 10_000, dice=lambda: 0.0)
    maker.decide(view(), Me(usdt=20_000))
    assert maker.decide(view(time=NOW + DAY - 1), Me(short_debt=1)) == []
    assert maker.decide(view(time=NOW + DAY), Me(short_debt=1)) == [act.CloseShort()]


def test_stubborn_bear__adds_margin_until_it_is_gone() -> None:
    bear = act.StubbornBear("bear", 10_000)
    assert bear.decide(view(), Me(usdt=20_000))
    me = Me(usdt=5_000, short_debt=7_300, short_collateral=20_000)
    [order] = bear.decide(view(), me)
    assert order == act.AddMargin(pytest.approx(14_600 / 0.65 - 20_000))  # type: ignore[arg-type]
    assert bear.decide(view(), replace(me, usdt=1_000)) == [act.AddMargin(1_000)]
    assert bear.decide(view(), replace(me, usdt=50)) == []
    assert bear.decide(view(), Me(usdt=20_000)) == []


def test_hurried_bear__after_a_rise_and_not_again_for_five_days() -> None:
    bear = act.HurriedBear("bear", 10_000)
    risen = view(price=2.3)
    [order] = bear.decide(risen, Me(usdt=20_000))
    assert isinstance(order, act.OpenShort)
    assert bear.decide(view(price=2.1), Me(short_debt=1)) == []
    assert bear.decide(view(price=2.0), Me(short_debt=1)) == [act.CloseShort()]
    assert bear.decide(replace(risen, time=NOW + 5 * DAY), Me(usdt=20_000)) == []
    assert bear.decide(replace(risen, time=NOW + 5 * DAY + 1), Me(usdt=20_000))


def test_funding_desk__where_shorts_pay() -> None:
    desk = act.FundingDesk("desk", 10_000)
    assert desk.decide(view(funding_ema=-0.1), Me(usdt=20_000)) == []
    orders = desk.decide(view(funding_ema=-0.2), Me(usdt=20_000))
    assert [type(each) for each in orders] == [act.OpenShort, act.PerpTransfer, act.PerpTrade]
    assert orders[-1] == act.PerpTrade(5_000)
    short = Me(short_debt=5_000, perp_position=5_000)
    assert desk.decide(view(funding_ema=-0.01), short) == []
    assert desk.decide(view(funding_ema=0.01), short) == [
        act.CloseShort(),
        act.PerpTrade(0),
        act.PerpTransfer(-float("inf")),
    ]


# -- the cast --


def test_cast__everybody_has_a_name_a_role_and_a_rule() -> None:
    everybody = act.cast(lambda: 0.5)
    assert len({each.name for each in everybody}) == len(everybody)
    for each in everybody:
        assert each.role
        assert each.leg in ("reverse", "forward", "vault")
        assert each.endowed_in
        assert each.rule
