"""`open_short`."""

from __future__ import annotations

import pytest

from perpool.evm import Account, Contract, Evm, reverts
from tests.market import MAX, NO_CAP, ZERO_ADDRESS, Market, deploy_market
from tests.unit.forward_pool.conftest import (
    LENT,
    MARGIN,
    SHORTED,
    WAD,
    cap,
    check_balances,
    divide_up,
    event,
    make_stale,
    open_short,
    pause,
    pay,
    value_up,
)


def least_proceeds(market: Market, amount: int) -> int:
    """The oracle's value less the slippage allowed, rounded up."""
    worth = value_up(amount, market.price_e36())
    return divide_up(worth * (WAD - market.forward_leg.max_slippage), WAD)


@pytest.fixture
def trader(market: Market) -> Account:
    return market.give(market.evm.account("trader"), usdt=market.usd(10 * MARGIN))


# --- reverts


def test_open_short__past_the_deadline(market: Market, trader: Account, evm: Evm) -> None:
    with evm.same_block():
        with reverts("deadline passed"):
            open_short(market, trader, deadline=evm.timestamp - 1)
        open_short(market, trader, deadline=evm.timestamp)


def test_open_short__not_authorised(market: Market, trader: Account, stranger: Account) -> None:
    with reverts("not authorised"):
        open_short(market, stranger, on_behalf=trader)


def test_open_short__margin_that_the_caller_has_not(market: Market, trader: Account) -> None:
    with reverts("insufficient balance"):
        open_short(market, trader, margin=market.usd(10 * MARGIN) + 1)


def test_open_short__nothing(market: Market, trader: Account) -> None:
    with reverts("zero amount"):
        open_short(market, trader, token_amount=0)


def test_open_short__more_than_the_cash(market: Market, trader: Account) -> None:
    with reverts("insufficient cash"):
        open_short(market, trader, token_amount=market.tokens(LENT) + 1)


def test_open_short__paused(market: Market, trader: Account) -> None:
    pause(market)
    with reverts("paused"):
        open_short(market, trader)


def test_open_short__over_the_debt_cap(market: Market, trader: Account) -> None:
    cap(market, debt=market.tokens(SHORTED) - 1)
    with reverts("debt cap"):
        open_short(market, trader)
    cap(market, debt=market.tokens(SHORTED))
    open_short(market, trader)


def test_open_short__interest_fills_the_debt_cap(market: Market, trader: Account) -> None:
    """The cap is on what is short, by whoever it is, with the interest owed in tokens."""
    amount = market.tokens(SHORTED)
    open_short(market, trader)
    market.evm.warp(3_600)
    owed = market.forward.debt_of(trader)
    assert owed > amount
    cap(market, debt=owed + amount - 1)
    other = market.give(market.evm.account("other"), usdt=market.usd(MARGIN))
    with reverts("debt cap"):
        open_short(market, other)


def test_open_short__over_the_cap_a_block(market: Market, trader: Account, evm: Evm) -> None:
    amount = market.tokens(SHORTED)
    other = market.give(evm.account("other"), usdt=market.usd(MARGIN))
    cap(market, in_a_block=2 * amount)
    with reverts("block cap"):
        open_short(market, trader, token_amount=2 * amount + 1, margin=market.usd(2 * MARGIN))
    with evm.same_block():
        open_short(market, trader)
        assert market.forward.sold_in_block() == (evm.block_number, amount)
        open_short(market, other, token_amount=amount)
        assert market.forward.sold_in_block() == (evm.block_number, 2 * amount)
        with reverts("block cap"):
            open_short(market, trader, token_amount=1)
        # what is closed again does not count as if it had never been sold
        market.token.mint(trader, amount)
        market.forward.repay(amount // 2, trader, sender=trader)
        with reverts("block cap"):
            open_short(market, trader, token_amount=1)
    open_short(market, trader, token_amount=2 * amount, margin=market.usd(2 * MARGIN))
    assert market.forward.sold_in_block() == (evm.block_number, 2 * amount)
    assert market.forward.caps() == (NO_CAP, NO_CAP, 2 * amount)


def test_open_short__stale_price(market: Market, trader: Account) -> None:
    make_stale(market)
    with reverts("stale price"):
        open_short(market, trader)


def test_open_short__unknown_swapper(market: Market, trader: Account) -> None:
    with reverts("unknown swapper"):
        open_short(market, trader, swapper=ZERO_ADDRESS)
    market.factory.allow_swapper(market.swapper, False, sender=market.owner)
    with reverts("unknown swapper"):
        open_short(market, trader)


def test_open_short__the_swap_fails(market: Market, trader: Account) -> None:
    with reverts("wrong tokens in route"):
        open_short(market, trader, route=market.buy_route)


def test_open_short__less_than_the_caller_asks(market: Market, trader: Account) -> None:
    amount, route = market.tokens(SHORTED), market.sell_route
    proceeds = market.uniswap.quote_exact_in(route, amount)
    with reverts("slippage"):
        open_short(market, trader, min_proceeds=proceeds + 1)
    assert open_short(market, trader, min_proceeds=proceeds) == proceeds


def test_open_short__less_than_the_oracle_allows(
    market: Market, trader: Account, puppet: Contract
) -> None:
    least = least_proceeds(market, market.tokens(SHORTED))
    pay(puppet, "swap_exact_in", (market.usdt, market.forward, least - 1))
    with reverts("slippage"):
        open_short(market, trader, swapper=puppet)
    pay(puppet, "swap_exact_in", (market.usdt, market.forward, least))
    assert open_short(market, trader, swapper=puppet) == least


def test_open_short__the_market_is_below_the_oracle(market: Market, trader: Account) -> None:
    market.pool.swap_to(market.pool.price * 96 / 100)
    with reverts("slippage"):
        open_short(market, trader)


def test_open_short__the_adapter_keeps_everything(
    market: Market, trader: Account, puppet: Contract
) -> None:
    with reverts("slippage"):
        open_short(market, trader, swapper=puppet)
    assert market.token.balanceOf(puppet) == market.tokens(LENT)


def test_open_short__dust(market: Market, trader: Account) -> None:
    least = market.forward_leg.min_debt
    with reverts("below minimum debt"):
        open_short(market, trader, token_amount=least - 1)
    open_short(market, trader, token_amount=least)


def test_open_short__unhealthy(market: Market, trader: Account, puppet: Contract) -> None:
    amount = market.tokens(SHORTED)
    worth = value_up(amount, market.price_e36())
    least = divide_up(worth * WAD, market.forward_leg.max_ltv)
    proceeds = least_proceeds(market, amount)
    pay(puppet, "swap_exact_in", (market.usdt, market.forward, proceeds))
    with reverts("unhealthy position"):
        open_short(market, trader, swapper=puppet, margin=least - proceeds - 1)
    open_short(market, trader, swapper=puppet, margin=least - proceeds)
    assert market.forward.position(trader).collateral == least


def test_open_short__more_collateral_than_a_position_holds(market: Market, trader: Account) -> None:
    market.usdt.mint(trader, 2**96)
    with reverts("amount too large"):
        open_short(market, trader, margin=2**96)


# --- happy


def test_open_short(market: Market, evm: Evm) -> None:
    forward, amount, margin = market.forward, market.tokens(SHORTED), market.usd(MARGIN)
    trader = market.give(evm.account("trader"), usdt=margin)
    expected = market.uniswap.quote_exact_in(market.sell_route, amount)

    proceeds = open_short(market, trader, min_proceeds=expected)
    assert proceeds == expected
    shares = forward.state().debt_shares
    assert event(market, "OpenShort").as_dict() == {
        "caller": trader.address,
        "on_behalf": trader.address,
        "swapper": market.swapper.address,
        "margin": margin,
        "token_amount": amount,
        "shares": shares,
        "proceeds": proceeds,
        "total_debt": amount,
        "total_debt_shares": shares,
    }
    assert forward.position(trader).as_dict() == {
        "collateral": margin + proceeds,
        "debt_shares": shares,
        "opened_block": evm.block_number,
        "sold": amount,
        "proceeds": proceeds,
    }
    state = forward.state()
    assert (state.cash, state.debt_assets) == (market.tokens(LENT) - amount, amount)
    assert state.supply_assets == state.charged_assets == market.tokens(LENT)
    assert forward.debt_of(trader) == amount
    assert forward.books() == (amount, 0)
    # no cap, no count
    assert forward.sold_in_block() == (0, 0)
    assert (market.token.balanceOf(trader), market.usdt.balanceOf(trader)) == (0, 0)
    assert market.usdt.balanceOf(market.swapper) == market.token.balanceOf(market.swapper) == 0
    check_balances(market, trader)


def test_open_short__again(market: Market, trader: Account, evm: Evm) -> None:
    """More of the same position, after a day of interest and without margin for it."""
    forward, amount = market.forward, market.tokens(SHORTED)
    first = open_short(market, trader)
    evm.warp(86_400)
    market.refresh_price()
    owed = forward.debt_of(trader)
    assert owed > amount
    old = forward.state().debt_shares

    second = open_short(market, trader, margin=0, token_amount=amount // 4)
    opened = event(market, "OpenShort")
    debt = forward.accrued_state().debt_assets
    assert opened.margin == 0
    # interest goes on for the second between the two looks
    assert debt - amount // 4 >= owed
    assert opened.shares == divide_up(amount // 4 * old, debt - amount // 4)
    position = forward.position(trader)
    assert position.collateral == market.usd(MARGIN) + first + second
    assert position.debt_shares == old + opened.shares
    assert (position.sold, position.proceeds) == (amount + amount // 4, first + second)
    assert position.opened_block == evm.block_number
    assert forward.books() == (amount + amount // 4, 0)
    check_balances(market, trader)


def test_open_short__by_an_operator(market: Market, evm: Evm) -> None:
    """The operator pays the margin; the position is the account's."""
    trader = evm.account("trader")
    operator = market.give(evm.account("operator"), usdt=market.usd(MARGIN))
    market.operators.set_operator(operator, True, sender=trader)
    open_short(market, operator, on_behalf=trader)
    opened = event(market, "OpenShort")
    assert (opened.caller, opened.on_behalf) == (operator.address, trader.address)
    assert market.forward.debt_of(trader) == market.tokens(SHORTED)
    assert market.forward.position(operator).debt_shares == 0
    assert market.usdt.balanceOf(operator) == 0
    check_balances(market, trader)


def test_open_short__proceeds_that_need_no_margin(market: Market, trader: Account) -> None:
    """Sold well above the oracle's price, the proceeds alone carry the position."""
    market.pool.swap_to(market.pool.price * 3 / 2)
    proceeds = open_short(market, trader, margin=0)
    assert market.forward.position(trader).collateral == proceeds
    assert market.usdt.balanceOf(trader) == market.usd(10 * MARGIN)


def test_open_short__token_that_takes_a_fee(evm: Evm) -> None:
    """What the fee takes from the sale is the borrower's loss; he owes what left the pool."""
    token = evm.deploy("FeeToken", 18, 0)
    market = deploy_market(evm, token=token)
    market.lend("lender", tokens=market.tokens(LENT))
    token.set_fee(100)
    adapter = evm.deploy("Puppet")
    market.usdt.mint(adapter, market.usd(MARGIN))
    market.factory.allow_swapper(adapter, True, sender=market.owner)
    pay(adapter, "swap_exact_in", (market.usdt, market.forward, market.usd(990)))
    trader = market.give(evm.account("trader"), usdt=market.usd(MARGIN))

    assert open_short(market, trader, swapper=adapter) == market.usd(990)
    assert token.balanceOf(adapter) == market.tokens(99)
    assert market.forward.debt_of(trader) == market.tokens(100)
    check_balances(market, trader)


def test_open_short__deadline_without_end(market: Market, trader: Account) -> None:
    open_short(market, trader, deadline=MAX)
    assert market.forward.debt_of(trader) == market.tokens(SHORTED)
