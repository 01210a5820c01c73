"""`liquidate`."""

from __future__ import annotations

from decimal import Decimal

import pytest

from perpool.evm import Account, Contract, Evm, reverts
from tests.market import MAX, WAD, ZERO_ADDRESS, Market, deploy_market
from tests.pools import expect_events
from tests.unit.forward_pool.conftest import (
    LENT,
    MARGIN,
    SHORTED,
    cap,
    charge_of,
    check_balances,
    event,
    ltv_of,
    make_stale,
    open_short,
    pause,
    terms_of,
    value_down,
    value_up,
)


def liquidate(
    market: Market, borrower: Account, sender: Account, most: int = MAX
) -> tuple[int, int]:
    repaid, seized = market.forward.liquidate(borrower, most, sender, b"", sender=sender)
    return repaid, seized


# --- reverts


def test_liquidate__bad_receiver(market: Market, shorter: Account, stranger: Account) -> None:
    market.set_price(17)
    for receiver in (ZERO_ADDRESS, market.forward):
        with reverts("bad receiver"):
            market.forward.liquidate(shorter, MAX, receiver, b"", sender=stranger)


def test_liquidate__in_the_block_of_opening(market: Market, stranger: Account, evm: Evm) -> None:
    with evm.same_block():
        market.short("shorter", margin=market.usd(MARGIN), tokens=market.tokens(SHORTED))
        shorter = evm.account("shorter")
        market.feed.set(17 * 10**8)
        with reverts("opened in this block"):
            liquidate(market, shorter, stranger)
    liquidate(market, shorter, stranger)


def test_liquidate__in_the_block_of_adding_to_it(
    market: Market, shorter: Account, stranger: Account, evm: Evm
) -> None:
    with evm.same_block():
        open_short(market, market.give(shorter, usdt=market.usd(MARGIN)))
        market.feed.set(17 * 10**8)
        with reverts("opened in this block"):
            liquidate(market, shorter, stranger)


def test_liquidate__stale_price(market: Market, shorter: Account, stranger: Account) -> None:
    market.set_price(17)
    make_stale(market)
    with reverts("stale price"):
        liquidate(market, shorter, stranger)


def test_liquidate__healthy(market: Market, shorter: Account, stranger: Account) -> None:
    """An LTV of exactly liquidation_ltv is healthy still, and the smallest step more is not."""
    market.set_price(16, move_uniswap=False)
    market.evm.mine()
    debt, price = market.forward.debt_of(shorter), market.price_e36()
    held = market.forward.position(shorter).collateral
    value = value_up(debt, price)
    edge = -(-value * WAD // market.forward_leg.liquidation_ltv)
    with market.evm.same_block():
        market.give(shorter, usdt=edge - held)
        market.forward.add_margin(edge - held, shorter, sender=shorter)
        with reverts("healthy position"):
            liquidate(market, shorter, stranger)
        market.feed.set(market.feed.latestAnswer() + 1)
        liquidate(market, shorter, stranger)


def test_liquidate__no_position(market: Market, stranger: Account) -> None:
    with reverts("healthy position"):
        liquidate(market, stranger, stranger)


def test_liquidate__nothing(market: Market, shorter: Account, stranger: Account) -> None:
    market.set_price(17)
    with reverts("zero amount"):
        liquidate(market, shorter, stranger, 0)


def test_liquidate__leaves_dust(market: Market, shorter: Account, stranger: Account) -> None:
    market.set_price(19)
    debt = market.forward.debt_of(shorter)
    with reverts("below minimum debt"):
        liquidate(market, shorter, stranger, debt - market.tokens("0.5"))


def test_liquidate__caller_without_tokens(market: Market, shorter: Account, evm: Evm) -> None:
    market.set_price(17)
    liquidator = market.give(evm.account("liquidator"))
    with reverts("insufficient balance"):
        liquidate(market, shorter, liquidator)


def test_liquidate__token_that_takes_a_fee(evm: Evm) -> None:
    """The liquidator pays the fee on top, and what he is paid for arrives."""
    token = evm.deploy("FeeToken", 18, 0)
    market = deploy_market(evm, token=token)
    market.lend("lender", tokens=market.tokens(LENT))
    shorter = market.short("shorter", margin=market.usd(MARGIN), tokens=market.tokens(SHORTED))
    liquidator = market.give(evm.account("liquidator"), tokens=market.tokens(LENT))
    market.set_price(17)
    token.set_fee(20)
    before, held = token.balanceOf(market.forward), token.balanceOf(liquidator)
    repaid = liquidate(market, shorter, liquidator)[0]
    assert repaid > 0
    assert 0 <= token.balanceOf(market.forward) - before - repaid <= 1
    assert held - token.balanceOf(liquidator) > repaid


# --- happy


def test_liquidate(market: Market, shorter: Account, stranger: Account, evm: Evm) -> None:
    """As much as brings the LTV back to max_ltv."""
    forward = market.forward
    evm.warp(86_400)
    market.set_price(17)
    evm.mine()
    before, state = forward.position(shorter), forward.accrued_state()
    price, most, debt, bonus, exhausts = terms_of(market, shorter)
    assert most < debt
    assert not exhausts
    assert market.forward_leg.bonus_base < bonus < market.forward_leg.bonus_cap
    tokens_held = market.token.balanceOf(stranger)
    receiver = evm.account("receiver")

    repaid, seized = forward.liquidate(shorter, MAX, receiver, b"", sender=stranger)
    assert repaid == most
    assert seized == value_down(most, price) * (WAD + bonus) // WAD
    shares = most * state.debt_shares // state.debt_assets
    assert event(market, "Liquidate").as_dict() == {
        "caller": stranger.address,
        "borrower": shorter.address,
        "receiver": receiver.address,
        "repaid": repaid,
        "shares": shares,
        "seized": seized,
        "price_e36": price,
        "total_debt": state.debt_assets - repaid,
        "total_debt_shares": state.debt_shares - shares,
    }
    assert not evm.last.events("BadDebt")
    left = before.debt_shares - shares
    assert forward.position(shorter).as_dict() == {
        "collateral": before.collateral - seized,
        "debt_shares": left,
        "opened_block": before.opened_block,
        "sold": before.sold * left // before.debt_shares,
        "proceeds": before.proceeds * left // before.debt_shares,
    }
    assert ltv_of(market, shorter) == pytest.approx(0.7, abs=1e-6)
    assert forward.state().supply_assets == state.supply_assets
    assert forward.books() == (market.tokens(SHORTED), 0)
    assert market.token.balanceOf(stranger) == tokens_held - repaid
    assert market.usdt.balanceOf(receiver) == seized
    check_balances(market, shorter)
    with reverts("healthy position"):
        liquidate(market, shorter, stranger)


def test_liquidate__as_much_as_the_caller_likes(
    market: Market, shorter: Account, stranger: Account, evm: Evm
) -> None:
    """Whatever the part, the bonus is that of the position as it is found."""
    market.set_price(17)
    evm.mine()
    before, part = ltv_of(market, shorter), market.tokens(10)
    price, _, _, bonus, _ = terms_of(market, shorter)
    repaid, seized = liquidate(market, shorter, stranger, part)
    assert repaid == part
    assert seized == value_down(part, price) * (WAD + bonus) // WAD
    assert 0.8 < ltv_of(market, shorter) < before
    check_balances(market, shorter)


def test_liquidate__never_more_than_the_terms(
    market: Market, shorter: Account, stranger: Account, evm: Evm
) -> None:
    market.set_price(17)
    evm.mine()
    _, most, debt, _, _ = terms_of(market, shorter)
    assert liquidate(market, shorter, stranger, debt)[0] == most


@pytest.mark.parametrize(
    ("price", "bonus"),
    [("16.1", "5.26"), (17, "7.51"), (18, 10), ("18.18", "9.97"), ("18.6", "7.49"), (21, 5)],
)
def test_liquidate__bonus(
    market: Market, shorter: Account, stranger: Account, evm: Evm, price: str, bonus: str
) -> None:
    """Rising with the LTV to its cap, then held to what the collateral covers, at last b0."""
    market.set_price(price, move_uniswap=False)
    evm.mine()
    worth = value_down(market.tokens(10), market.price_e36())
    _, seized = liquidate(market, shorter, stranger, market.tokens(10))
    assert seized / worth - 1 == pytest.approx(float(bonus) / 100, abs=1e-4)


def test_liquidate__whole_where_the_rest_would_be_dust(
    market: Market, stranger: Account, evm: Evm
) -> None:
    """A short of three tokens: paying a part back would leave less than one."""
    shorter = market.short("shorter", margin=market.usd(30), tokens=market.tokens(3))
    market.set_price(18, move_uniswap=False)
    evm.mine()
    price, most, debt, bonus, exhausts = terms_of(market, shorter)
    assert most == debt
    assert not exhausts
    held = market.forward.position(shorter).collateral
    repaid, seized = liquidate(market, shorter, stranger)
    assert repaid == debt
    assert seized == value_down(debt, price) * (WAD + bonus) // WAD < held
    assert market.forward.debt_of(shorter) == 0
    # the rest of his collateral is the borrower's
    market.forward.remove_margin(MAX, shorter, shorter, sender=shorter)
    assert market.usdt.balanceOf(shorter) == held - seized
    check_balances(market, shorter)


def test_liquidate__at_the_edge_of_dust(market: Market, stranger: Account, evm: Evm) -> None:
    """Where the terms leave a position the least that it may owe, to the unit of value."""
    shorter = market.short("shorter", margin=market.usd(40), tokens=market.tokens(4))
    least = market.forward_leg.min_debt

    def left_at(answer: int) -> int:
        with evm.anchor():
            market.feed.set(answer)
            _, most, debt, _, _ = terms_of(market, shorter)
            return debt - most

    # the price above which nothing is left, as what is left would be dust
    low, high = 16 * 10**8, 18 * 10**8
    assert left_at(high) == 0 < least < left_at(low + 10**7)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if left_at(middle) == 0 else (middle, high)
    for answer in range(low - 40, high + 5):
        for by_purchase in (False, True):
            with evm.anchor():
                market.set_price(Decimal(answer) / 10**8)
                if by_purchase:
                    market.forward.liquidate_by_purchase(shorter, stranger, sender=stranger)
                else:
                    liquidate(market, shorter, stranger)
                owed = market.forward.debt_of(shorter)
                assert owed == 0 or owed >= least


@pytest.mark.parametrize("price", ["16.1", 17, 18, "18.5", "18.9", "19.03"])
def test_liquidate__never_worsens_a_solvent_position(
    market: Market, shorter: Account, stranger: Account, evm: Evm, price: str
) -> None:
    """Below an LTV of 1 / (1 + b0), in any number of parts."""
    market.set_price(price, move_uniswap=False)
    evm.mine()
    assert ltv_of(market, shorter) < 1 / 1.05
    with evm.same_block():
        for part in (1, market.tokens(1), market.tokens(7), market.tokens(20)):
            before = ltv_of(market, shorter)
            if before <= 0.8:
                break
            liquidate(market, shorter, stranger, part)
            # one unit of rounding in USDT is one part in a billion of the collateral
            assert ltv_of(market, shorter) <= before * (1 + 1e-9)
        assert not evm.last.events("BadDebt")
    check_balances(market, shorter)


def test_liquidate__collateral_falls_short(
    market: Market, shorter: Account, stranger: Account, evm: Evm
) -> None:
    """All of it goes for what it covers with the bonus, the rest of the debt is written off."""
    forward = market.forward
    evm.warp(86_400)
    market.set_price(30, move_uniswap=False)
    evm.mine()
    before, state = forward.position(shorter), forward.accrued_state()
    price, most, debt, bonus, exhausts = terms_of(market, shorter)
    assert exhausts
    assert bonus == market.forward_leg.bonus_base
    charge = charge_of(market)
    reserve = state.reserve_shares + charge.shares

    assert liquidate(market, shorter, stranger) == (most, before.collateral)
    assert value_down(most, price) == pytest.approx(before.collateral / 1.05, rel=1e-6)
    bad, loss = event(market, "BadDebt"), debt - most
    assert bad.borrower == shorter.address
    assert bad.assets == loss
    # first the reserve, which is nothing beside it and has its fee by now, then everybody
    assert 0 < bad.from_reserve == charge.price.assets_down(reserve) < loss
    assert bad.from_lenders == loss - bad.from_reserve
    total = state.cash + state.debt_assets - loss
    assert bad.total_assets == total == forward.state().supply_assets
    # of the reserve less than a unit is left
    burnt = charge.price.shares_up(bad.from_reserve)
    expect_events(
        evm.last,
        "Transfer",
        forward,
        [
            {"sender": ZERO_ADDRESS, "receiver": forward, "value": charge.shares},
            {"sender": forward, "receiver": ZERO_ADDRESS, "value": burnt},
        ],
    )
    assert forward.state().reserve_shares == reserve - burnt
    assert forward.convertToAssets(reserve - burnt) == 0
    assert forward.state().debt_assets == forward.state().debt_shares == 0
    found = event(market, "Liquidate")
    assert (found.total_debt, found.total_debt_shares) == (0, 0)
    position = forward.position(shorter)
    assert (position.collateral, position.debt_shares) == (0, 0)
    assert (position.sold, position.proceeds) == (0, 0)
    lender = evm.account("lender")
    assert forward.maxWithdraw(lender) == pytest.approx(total, rel=1e-9)
    check_balances(market, shorter)


def test_liquidate__bad_debt_of_one_leaves_the_debt_of_others(
    market: Market, shorter: Account, stranger: Account, evm: Evm
) -> None:
    other = market.short("other", margin=market.usd(4 * MARGIN), tokens=market.tokens(SHORTED))
    evm.warp(86_400)
    market.set_price(30, move_uniswap=False)
    evm.mine()
    owed = market.forward.debt_of(other)
    liquidate(market, shorter, stranger)
    assert event(market, "BadDebt").assets > 0
    assert abs(market.forward.debt_of(other) - owed) <= 1
    check_balances(market, shorter, other)


def test_liquidate__the_reserve_loses_first(market: Market, stranger: Account, evm: Evm) -> None:
    """A loss that the reserve can bear costs the lenders nothing."""
    forward = market.forward
    big = market.short("big", margin=market.usd(300_000), tokens=market.tokens(20_000))
    market.set_price(10)
    shorter = market.short("shorter", margin=market.usd(20), tokens=market.tokens(2))
    evm.warp(2 * 365 * 86_400)
    market.set_price(21, move_uniswap=False)
    evm.mine()
    price_before, state = forward.convertToAssets(10**30), forward.accrued_state()
    charge = charge_of(market)
    # all of it is still to be charged
    assert (state.reserve_shares, state.charged_assets) == (0, market.tokens(LENT))
    assert charge.fee > market.tokens(10)
    liquidate(market, shorter, stranger)
    bad = event(market, "BadDebt")
    assert bad.assets == bad.from_reserve > 0
    assert bad.from_lenders == 0
    burnt = charge.price.shares_up(bad.assets)
    assert forward.state().reserve_shares == charge.shares - burnt
    assert forward.convertToAssets(10**30) >= price_before
    check_balances(market, shorter, big)


def test_liquidate__part_of_what_falls_short(
    market: Market, shorter: Account, stranger: Account, evm: Evm
) -> None:
    """Leaving the last of the collateral leaves the debt open; anybody may end it."""
    market.set_price(30, move_uniswap=False)
    evm.mine()
    _, most, _, _, _ = terms_of(market, shorter)
    with evm.same_block():
        liquidate(market, shorter, stranger, most - market.tokens(1))
        assert not evm.last.events("BadDebt")
        position = market.forward.position(shorter)
        assert position.collateral > 0
        _, most, _, _, exhausts = terms_of(market, shorter)
        assert exhausts
        assert liquidate(market, shorter, stranger) == (most, position.collateral)
        assert event(market, "BadDebt").assets > 0
    assert market.forward.debt_of(shorter) == 0
    check_balances(market, shorter)


def test_liquidate__leaving_dust_of_collateral(
    market: Market, shorter: Account, stranger: Account, evm: Evm
) -> None:
    """One unit short of everything leaves little, and whoever takes that ends it."""
    market.set_price(30, move_uniswap=False)
    evm.mine()
    price, most, debt, _, _ = terms_of(market, shorter)
    with evm.same_block():
        liquidate(market, shorter, stranger, most - 1)
        written_off = sum(each.assets for each in evm.last.events("BadDebt"))
        dust = market.forward.position(shorter).collateral
        assert dust <= 2 * value_up(1, price) + 2
        # rounding may have taken the dust, and so ended it, already
        assert (dust == 0) == (written_off > 0)
        if dust:
            liquidate(market, shorter, stranger)
            written_off = event(market, "BadDebt").assets
    assert written_off == pytest.approx(debt - most, rel=1e-6)
    assert market.forward.debt_of(shorter) == 0
    check_balances(market, shorter)


def test_liquidate__with_a_callback(
    market: Market, shorter: Account, puppet: Contract, evm: Evm
) -> None:
    """Without capital: the USDT that comes first buys the tokens that are pulled after it."""
    market.set_price(17)
    worker = market.give(evm.deploy("Puppet"))
    evm.warp(60)
    _, most, _, _, _ = terms_of(market, shorter)
    cost = market.uniswap.quote_exact_out(market.buy_route, most)
    buy = market.swapper.swap_exact_out.encode(
        market.usdt, market.token, most, cost, market.buy_route
    )
    call = market.forward.liquidate.encode(shorter, MAX, worker, b"go")
    with evm.same_block():
        worker.prepare(
            "on_collateral",
            [
                (market.usdt, market.usdt.transfer.encode(market.swapper, cost), True),
                (market.swapper, buy, True),
            ],
        )
        worker.run([(market.forward, call, True)])
    found = event(market, "Liquidate")
    assert found.repaid == most
    assert market.usdt.balanceOf(worker) == found.seized - cost > 0
    assert market.token.balanceOf(worker) == 0
    check_balances(market, shorter)


def test_liquidate__callback_goes_to_the_caller_only(
    market: Market, shorter: Account, stranger: Account
) -> None:
    """An account without code cannot answer it."""
    market.set_price(17)
    with reverts():
        market.forward.liquidate(shorter, MAX, stranger, b"go", sender=stranger)


def test_liquidate__what_a_callback_sees(
    market: Market, shorter: Account, puppet: Contract, evm: Evm
) -> None:
    """The pool is locked, and what can be read of it is as it will be afterwards."""
    market.set_price(17)
    evm.mine()
    forward = market.forward
    worker = market.give(evm.deploy("Puppet"), tokens=market.tokens(LENT))
    worker.prepare(
        "on_collateral",
        [
            (forward, forward.liquidate.encode(shorter, MAX, worker, b""), False),
            (forward, forward.repay.encode(1, shorter), False),
            (forward, forward.totalAssets.encode(), False),
            (forward, forward.position.encode(shorter), True),
        ],
    )
    call = forward.liquidate.encode(shorter, MAX, worker, b"go")
    worker.run([(forward, call, True)])
    successes, answers = worker.outcome()
    assert successes == [False, False, False, True, True]
    collateral = int.from_bytes(answers[3][:32], "big")
    assert collateral == forward.position(shorter).collateral


def test_liquidate__while_paused_and_capped(
    market: Market, shorter: Account, stranger: Account
) -> None:
    pause(market)
    cap(market, 0, 0, 0)
    market.set_price(17)
    liquidate(market, shorter, stranger)
    check_balances(market, shorter)


def test_liquidate__by_interest_alone(
    market: Market, shorter: Account, stranger: Account, evm: Evm
) -> None:
    """The price stands still for fifteen years; the debt in tokens does not."""
    evm.warp(15 * 365 * 86_400)
    market.refresh_price()
    with reverts("healthy position"):
        liquidate(market, shorter, stranger)
    evm.warp(15 * 365 * 86_400)
    market.refresh_price()
    repaid, _ = liquidate(market, shorter, stranger)
    assert repaid > 0
    check_balances(market, shorter)


def test_liquidate__oneself(market: Market, shorter: Account) -> None:
    """The bonus is one's own collateral: nothing is gained."""
    market.set_price(17)
    market.give(shorter, tokens=market.tokens(SHORTED))
    market.evm.mine()
    _, most, _, _, _ = terms_of(market, shorter)
    before = market.forward.position(shorter).collateral
    _, seized = liquidate(market, shorter, shorter)
    assert market.usdt.balanceOf(shorter) == seized
    assert market.forward.position(shorter).collateral == before - seized
    assert market.token.balanceOf(shorter) == market.tokens(SHORTED) - most
