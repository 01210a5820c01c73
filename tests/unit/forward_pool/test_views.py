"""`position`, `debt_of`, `debt_shares_of`, `books` and `sold_in_block`."""

from __future__ import annotations

from perpool.evm import Account, Evm
from tests.market import MAX, NO_BLOCK_CAP, NO_CAP, Market
from tests.unit.forward_pool.conftest import (
    MARGIN,
    SHORTED,
    cap,
    close_short,
    open_short,
)


def test_position__of_nobody(market: Market, stranger: Account) -> None:
    assert market.forward.position(stranger) == (0, 0, 0, 0, 0)
    assert market.forward.debt_of(stranger) == market.forward.debt_shares_of(stranger) == 0


def test_debt_of__grows_by_the_second(market: Market, shorter: Account, evm: Evm) -> None:
    """Without a transaction; the shares do not move."""
    amount, shares = market.tokens(SHORTED), market.forward.debt_shares_of(shorter)
    assert shares == market.forward.position(shorter).debt_shares
    previous = market.forward.debt_of(shorter)
    for _ in range(3):
        evm.warp(86_400)
        owed = market.forward.debt_of(shorter)
        assert owed > previous
        previous = owed
    # 2 % a year at next to no utilisation
    interest = previous - amount
    assert 0.019 < interest / amount * 365 / 3 < 0.022
    assert market.forward.debt_shares_of(shorter) == shares


def test_debt_of__adds_up_to_all_debt(market: Market, evm: Evm) -> None:
    """Each rounded up: the sum is never less, and more by less than a unit for each."""
    names = ("anna", "bert", "carl")
    for number, name in enumerate(names, start=1):
        market.short(name, margin=market.usd(777 * number), tokens=market.tokens(33 * number))
        evm.warp(10_000)
    owed = [market.forward.debt_of(evm.account(name)) for name in names]
    debt = market.forward.accrued_state().debt_assets
    assert debt <= sum(owed) < debt + len(names)


def test_position__mean_entry_price(market: Market, stranger: Account) -> None:
    """Sold and proceeds give the average over openings, and closing a part leaves it."""
    first = open_short(market, stranger)
    market.set_price(20)
    second = open_short(market, stranger, margin=market.usd(3 * MARGIN))
    position = market.forward.position(stranger)
    assert (position.sold, position.proceeds) == (2 * market.tokens(SHORTED), first + second)
    close_short(market, stranger, token_amount=market.tokens(50))
    after = market.forward.position(stranger)
    entry, entry_after = position.proceeds / position.sold, after.proceeds / after.sold
    assert abs(entry / entry_after - 1) < 1e-6
    assert 0.745 < after.sold / position.sold < 0.755


def test_books(market: Market, shorter: Account, stranger: Account, evm: Evm) -> None:
    """What the pool has ever sold and bought; deliveries are neither."""
    amount, forward = market.tokens(SHORTED), market.forward
    assert forward.books() == (amount, 0)
    forward.repay(market.tokens(10), shorter, sender=stranger)
    assert forward.books() == (amount, 0)
    close_short(market, shorter, token_amount=market.tokens(20))
    assert forward.books() == (amount, market.tokens(20))
    open_short(market, stranger)
    assert forward.books() == (2 * amount, market.tokens(20))
    evm.mine()
    debt = forward.debt_of(stranger)
    close_short(market, stranger)
    assert forward.books() == (2 * amount, market.tokens(20) + debt)


def test_books__liquidation_by_purchase(market: Market, shorter: Account) -> None:
    """What is bought in a liquidation counts, what is delivered does not."""
    market.set_price(17)
    with market.evm.same_block():
        bought, _ = market.forward.liquidate_by_purchase(shorter, shorter)
    assert market.forward.books() == (market.tokens(SHORTED), bought)


def test_sold_in_block(market: Market, evm: Evm, stranger: Account) -> None:
    """Of the last block with an opening under a cap, until the next one."""
    amount = market.tokens(SHORTED)
    cap(market, in_a_block=NO_BLOCK_CAP - 1)
    assert market.forward.sold_in_block() == (0, 0)
    open_short(market, stranger)
    opened_at = evm.block_number
    close_short(market, stranger)
    evm.mine(5)
    assert market.forward.sold_in_block() == (opened_at, amount)
    open_short(market, stranger, token_amount=amount // 2)
    assert market.forward.sold_in_block() == (evm.block_number, amount // 2)


def test_sold_in_block__counts_while_there_is_any_cap(
    market: Market, evm: Evm, stranger: Account
) -> None:
    """Supply and debt caps count too; without one nobody pays for counting."""
    amount = market.tokens(SHORTED)
    open_short(market, stranger)
    assert market.forward.sold_in_block() == (0, 0)
    for caps in ({"supply": NO_CAP - 1}, {"debt": NO_CAP - 1}, {"in_a_block": amount}):
        cap(market, **caps)
        open_short(market, stranger)
        assert market.forward.sold_in_block() == (evm.block_number, amount)
    counted_at = evm.block_number
    market.forward.set_caps(NO_CAP, NO_CAP, NO_BLOCK_CAP, sender=market.factory)
    assert (market.forward.sold_in_block(), evm.block_number > counted_at) == ((0, 0), True)
    open_short(market, stranger)
    assert market.forward.sold_in_block() == (0, 0)


def test_position__keeps_the_block_of_its_last_opening(
    market: Market, shorter: Account, stranger: Account
) -> None:
    """Nobody else can move it, and so put a liquidation off."""
    opened = market.forward.position(shorter).opened_block
    market.forward.add_margin(1, shorter, sender=stranger)
    market.forward.repay(market.tokens(1), shorter, sender=stranger)
    market.forward.remove_margin(1, shorter, shorter, sender=shorter)
    close_short(market, shorter, token_amount=market.tokens(1))
    assert market.forward.position(shorter).opened_block == opened
    close_short(market, shorter, token_amount=MAX)
    assert market.forward.position(shorter).opened_block == opened
