"""`close_short`."""

from __future__ import annotations

import pytest

from perpool.evm import Account, Contract, Evm, reverts
from tests.market import MAX, ZERO_ADDRESS, Market
from tests.unit.forward_pool.conftest import (
    LENT,
    MARGIN,
    SHORTED,
    WAD,
    check_balances,
    close_short,
    event,
    ltv_of,
    make_stale,
    open_short,
    pay,
    shut,
    value_down,
)


def most_cost(market: Market, amount: int) -> int:
    """The oracle's value and the slippage allowed, rounded down."""
    worth = value_down(amount, market.price_e36())
    return worth * (WAD + market.forward_leg.max_slippage) // WAD


def swap_for(market: Market, puppet: Contract, account: Account, amount: int, cost: int) -> None:
    """Have the adapter sell `amount` tokens and keep `cost` of what the position gives it."""
    change = int(market.forward.position(account).collateral) - cost
    pay(
        puppet,
        "swap_exact_out",
        (market.token, market.forward, amount),
        (market.usdt, market.forward, change),
    )


# --- reverts


def test_close_short__past_the_deadline(market: Market, shorter: Account, evm: Evm) -> None:
    with evm.same_block():
        with reverts("deadline passed"):
            close_short(market, shorter, deadline=evm.timestamp - 1)
        close_short(market, shorter, deadline=evm.timestamp)


def test_close_short__not_authorised(market: Market, shorter: Account, stranger: Account) -> None:
    with reverts("not authorised"):
        close_short(market, stranger, on_behalf=shorter)


def test_close_short__bad_receiver(market: Market, shorter: Account) -> None:
    for receiver in (ZERO_ADDRESS, market.forward):
        with reverts("bad receiver"):
            close_short(market, shorter, receiver=receiver)


def test_close_short__nothing(market: Market, shorter: Account) -> None:
    with reverts("zero amount"):
        close_short(market, shorter, token_amount=0)


def test_close_short__no_debt(market: Market, stranger: Account) -> None:
    with reverts("zero amount"):
        close_short(market, stranger)


def test_close_short__unknown_swapper(market: Market, shorter: Account) -> None:
    market.factory.allow_swapper(market.swapper, False, sender=market.owner)
    with reverts("unknown swapper"):
        close_short(market, shorter)


def test_close_short__dearer_than_the_caller_allows(
    market: Market, shorter: Account, evm: Evm
) -> None:
    evm.mine()
    debt = market.forward.debt_of(shorter)
    cost = market.uniswap.quote_exact_out(market.buy_route, debt)
    with evm.same_block():
        with reverts("excessive input"):
            close_short(market, shorter, max_cost=cost - 1)
        assert close_short(market, shorter, max_cost=cost) == cost


def test_close_short__dearer_than_the_collateral(market: Market, shorter: Account) -> None:
    """A position that is worth less than its debt needs margin, or a liquidator."""
    market.set_price(25)
    with reverts("excessive input"):
        close_short(market, shorter)
    market.give(shorter, usdt=market.usd(MARGIN))
    market.forward.add_margin(market.usd(MARGIN), shorter, sender=shorter)
    close_short(market, shorter)


def test_close_short__the_adapter_brings_less(
    market: Market, shorter: Account, puppet: Contract, evm: Evm
) -> None:
    evm.mine()
    debt = market.forward.debt_of(shorter)
    with evm.same_block():
        swap_for(market, puppet, shorter, debt - 1, 0)
        with reverts("slippage"):
            close_short(market, shorter, swapper=puppet)
        swap_for(market, puppet, shorter, debt, 0)
        assert close_short(market, shorter, swapper=puppet) == 0


def test_close_short__part_with_a_stale_price(market: Market, shorter: Account) -> None:
    make_stale(market)
    with reverts("stale price"):
        close_short(market, shorter, token_amount=market.tokens(50))


def test_close_short__part_above_the_oracle(
    market: Market, shorter: Account, puppet: Contract
) -> None:
    part = market.tokens(50)
    most = most_cost(market, part)
    swap_for(market, puppet, shorter, part, most + 1)
    with reverts("slippage"):
        close_short(market, shorter, token_amount=part, swapper=puppet)
    swap_for(market, puppet, shorter, part, most)
    assert close_short(market, shorter, token_amount=part, swapper=puppet) == most


def test_close_short__part_while_the_market_is_above_the_oracle(
    market: Market, shorter: Account
) -> None:
    market.pool.swap_to(market.pool.price * 104 / 100)
    with reverts("slippage"):
        close_short(market, shorter, token_amount=market.tokens(50))


def test_close_short__part_that_makes_it_worse(
    market: Market, shorter: Account, puppet: Contract
) -> None:
    """Above an LTV of 1 / (1 + slippage), a part bought at the limit leaves the rest worse."""
    market.set_price("19.7", move_uniswap=False)
    assert 1 / 1.03 < ltv_of(market, shorter) < 1
    part = market.tokens(50)
    swap_for(market, puppet, shorter, part, most_cost(market, part))
    with reverts("unhealthy position"):
        close_short(market, shorter, token_amount=part, swapper=puppet)
    swap_for(market, puppet, shorter, part, value_down(part, market.price_e36()))
    close_short(market, shorter, token_amount=part, swapper=puppet)


def test_close_short__part_that_spends_all_collateral(
    market: Market, shorter: Account, puppet: Contract
) -> None:
    """What it would leave is not written off for whoever closes."""
    market.short("other", margin=market.usd(MARGIN), tokens=market.tokens(SHORTED))
    market.set_price(30, move_uniswap=False)
    part = market.tokens(80)
    swap_for(market, puppet, shorter, part, int(market.forward.position(shorter).collateral))
    with reverts("unhealthy position"):
        close_short(market, shorter, token_amount=part, swapper=puppet)


def test_close_short__leaves_dust(market: Market, shorter: Account) -> None:
    most = market.tokens(SHORTED) - market.forward_leg.min_debt
    with reverts("below minimum debt"):
        close_short(market, shorter, token_amount=most + market.tokens("0.01"))
    close_short(market, shorter, token_amount=most)


# --- happy


@pytest.mark.parametrize("price", [8, 10, 13])
def test_close_short(market: Market, shorter: Account, evm: Evm, price: int) -> None:
    forward, amount = market.forward, market.tokens(SHORTED)
    before = forward.position(shorter)
    evm.warp(86_400)
    market.set_price(price)
    evm.mine()
    debt = forward.debt_of(shorter)
    expected = market.uniswap.quote_exact_out(market.buy_route, debt)
    supplied = forward.totalAssets()
    receiver = evm.account("receiver")

    cost = close_short(market, shorter, receiver=receiver, max_cost=expected)
    assert cost == expected
    closed = event(market, "CloseShort")
    assert closed.as_dict() == {
        "caller": shorter.address,
        "on_behalf": shorter.address,
        "swapper": market.swapper.address,
        "receiver": receiver.address,
        "token_amount": debt,
        "shares": before.debt_shares,
        "cost": cost,
        "proceeds": before.proceeds,
        "total_debt": 0,
        "total_debt_shares": 0,
    }
    # the realised profit, interest and fees included
    profit = closed.proceeds - closed.cost
    assert (profit > 0) == (price < 10)
    assert abs(profit / market.usd(SHORTED) - (10 - price)) < 0.02
    assert forward.position(shorter).as_dict() == {
        "collateral": 0,
        "debt_shares": 0,
        "opened_block": before.opened_block,
        "sold": 0,
        "proceeds": 0,
    }
    assert debt > amount
    assert forward.debt_of(shorter) == forward.state().debt_assets == 0
    assert forward.state().supply_assets == supplied > market.tokens(LENT)
    assert forward.books() == (amount, debt)
    assert market.usdt.balanceOf(receiver) == before.collateral - cost
    assert market.usdt.balanceOf(shorter) == 0
    assert market.usdt.balanceOf(market.swapper) == market.token.balanceOf(market.swapper) == 0
    check_balances(market, shorter)


def test_close_short__part(market: Market, shorter: Account, evm: Evm) -> None:
    forward, part = market.forward, market.tokens(25)
    before = forward.position(shorter)
    evm.warp(3_600)
    market.set_price("10.5")
    evm.mine()
    state = forward.accrued_state()
    cost = market.uniswap.quote_exact_out(market.buy_route, part)
    ltv = ltv_of(market, shorter)

    assert close_short(market, shorter, token_amount=part) == cost
    closed, after = event(market, "CloseShort"), forward.position(shorter)
    shares = part * state.debt_shares // state.debt_assets
    left = before.debt_shares - shares
    # what was sold and its proceeds go with the shares, in the position rounded down
    assert after.as_dict() == {
        "collateral": before.collateral - cost,
        "debt_shares": left,
        "opened_block": before.opened_block,
        "sold": before.sold * left // before.debt_shares,
        "proceeds": before.proceeds * left // before.debt_shares,
    }
    assert closed.as_dict() == {
        "caller": shorter.address,
        "on_behalf": shorter.address,
        "swapper": market.swapper.address,
        "receiver": shorter.address,
        "token_amount": part,
        "shares": shares,
        "cost": cost,
        "proceeds": before.proceeds - after.proceeds,
        "total_debt": state.debt_assets - part,
        "total_debt_shares": left,
    }
    assert forward.books() == (market.tokens(SHORTED), part)
    assert market.usdt.balanceOf(shorter) == 0
    assert ltv_of(market, shorter) < ltv
    check_balances(market, shorter)


def test_close_short__in_parts_adds_up(market: Market, shorter: Account) -> None:
    """The proceeds of the parts are those of the whole, whatever was rounded on the way."""
    proceeds = market.forward.position(shorter).proceeds
    released = 0
    for part in (market.tokens("33.3"), market.tokens("12.345"), MAX):
        close_short(market, shorter, token_amount=part)
        released += event(market, "CloseShort").proceeds
    assert released == proceeds
    check_balances(market, shorter)


def test_close_short__exactly_the_debt(market: Market, shorter: Account, evm: Evm) -> None:
    evm.mine()
    close_short(market, shorter, token_amount=market.forward.debt_of(shorter))
    assert market.forward.position(shorter).debt_shares == 0
    assert market.forward.position(shorter).collateral == 0
    assert market.usdt.balanceOf(shorter) > 0


def test_close_short__unhealthy_position_may_close(market: Market, shorter: Account) -> None:
    """In part too, as long as it gets healthier."""
    market.set_price(18)
    before = ltv_of(market, shorter)
    assert before > 0.8
    close_short(market, shorter, token_amount=market.tokens(20))
    assert market.forward_leg.max_ltv / WAD < ltv_of(market, shorter) < before
    close_short(market, shorter)
    assert market.forward.debt_of(shorter) == 0


def test_close_short__in_the_block_of_opening(market: Market, stranger: Account, evm: Evm) -> None:
    held = market.usdt.balanceOf(stranger)
    with evm.same_block():
        proceeds = open_short(market, stranger)
        cost = close_short(market, stranger)
    assert cost > proceeds
    assert market.usdt.balanceOf(stranger) == held - cost + proceeds


def test_close_short__while_all_else_is_shut(market: Market, shorter: Account) -> None:
    """Closing whole asks nobody for a price, and no switch stops it."""
    shut(market)
    close_short(market, shorter)
    assert market.forward.debt_of(shorter) == 0
    check_balances(market, shorter)


def test_close_short__part_while_paused_and_capped(market: Market, shorter: Account) -> None:
    shut(market)
    market.refresh_price()
    close_short(market, shorter, token_amount=market.tokens(50))
    check_balances(market, shorter)


def test_close_short__whole_at_any_price(
    market: Market, shorter: Account, puppet: Contract, evm: Evm
) -> None:
    """Nothing is left that the lenders could lose by it."""
    collateral = market.forward.position(shorter).collateral
    evm.mine()
    debt = market.forward.debt_of(shorter)
    with evm.same_block():
        swap_for(market, puppet, shorter, debt, collateral)
        assert close_short(market, shorter, swapper=puppet) == collateral
    assert market.forward.position(shorter).collateral == 0
    check_balances(market, shorter)


def test_close_short__the_adapter_keeps_the_change(
    market: Market, shorter: Account, puppet: Contract, evm: Evm
) -> None:
    """What it can keep is what the caller allowed for."""
    collateral = market.forward.position(shorter).collateral
    evm.mine()
    debt, allowed = market.forward.debt_of(shorter), market.usd(1_100)
    with evm.same_block():
        pay(puppet, "swap_exact_out", (market.token, market.forward, debt))
        assert close_short(market, shorter, swapper=puppet, max_cost=allowed) == allowed
    assert market.usdt.balanceOf(shorter) == collateral - allowed
    check_balances(market, shorter)


def test_close_short__the_adapter_brings_more(
    market: Market, shorter: Account, puppet: Contract, evm: Evm
) -> None:
    """The rest is nobody's: neither the lenders' claims nor the debt of others move by it."""
    other = market.short("other", margin=market.usd(MARGIN), tokens=market.tokens(SHORTED))
    evm.mine()
    debt, owed = market.forward.debt_of(shorter), market.forward.debt_of(other)
    supplied = market.forward.totalAssets()
    with evm.same_block():
        swap_for(market, puppet, shorter, debt + 1_000, market.usd(1_000))
        close_short(market, shorter, swapper=puppet)
    assert event(market, "CloseShort").token_amount == debt
    assert 0 <= owed - market.forward.debt_of(other) <= 1
    assert market.forward.totalAssets() == supplied
    check_balances(market, shorter, other, given=1_000)


def test_close_short__by_an_operator(market: Market, shorter: Account, stranger: Account) -> None:
    market.operators.set_operator(stranger, True, sender=shorter)
    close_short(market, stranger, on_behalf=shorter, receiver=shorter)
    closed = event(market, "CloseShort")
    assert (closed.caller, closed.on_behalf) == (stranger.address, shorter.address)
    assert market.usdt.balanceOf(shorter) > 0
    check_balances(market, shorter, stranger)
