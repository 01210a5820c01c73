"""`set_caps` and `caps`."""

from __future__ import annotations

from perpool.evm import Account, Evm, reverts
from tests.market import CAPPED, MAX, NO_BLOCK_CAP, NO_CAP, Market, deploy_market
from tests.unit.forward_pool.conftest import MARGIN, SHORTED, cap, open_short


def test_set_caps__not_the_factory(market: Market) -> None:
    for sender in (market.owner, market.guardian, market.forward):
        with reverts("not factory"):
            market.forward.set_caps(1, 2, 3, sender=sender)


def test_set_caps(market: Market) -> None:
    market.forward.set_caps(1, 2, 3, sender=market.factory)
    assert market.forward.caps() == (1, 2, 3)
    assert market.forward.state().flags & CAPPED


def test_set_caps__none(market: Market) -> None:
    """From the largest number that fits on a cap is none, and so is whatever is larger."""
    cap(market, 1, 2, 3)
    cap(market, MAX, NO_CAP + 1, MAX)
    assert market.forward.caps() == (NO_CAP, NO_CAP, NO_BLOCK_CAP)
    assert not market.forward.state().flags & CAPPED


def test_set_caps__one_of_supply_and_debt(market: Market) -> None:
    for supply, debt in ((NO_CAP, 5), (5, NO_CAP), (NO_CAP - 1, NO_CAP)):
        cap(market, supply, debt)
        assert market.forward.caps() == (supply, debt, NO_BLOCK_CAP)
        assert market.forward.state().flags & CAPPED


def test_set_caps__a_block_alone(market: Market, stranger: Account) -> None:
    """It is looked at where it is the only one."""
    for in_a_block in (0, 5, NO_BLOCK_CAP - 1):
        cap(market, in_a_block=in_a_block)
        assert market.forward.caps() == (NO_CAP, NO_CAP, in_a_block)
        assert market.forward.state().flags & CAPPED
    cap(market, in_a_block=market.tokens(SHORTED) - 1)
    with reverts("block cap"):
        open_short(market, stranger)
    cap(market)
    assert not market.forward.state().flags & CAPPED
    open_short(market, stranger)


def test_set_caps__keeps_the_other_flags_and_totals(market: Market, shorter: Account) -> None:
    market.factory.set_paused(market.forward, True, sender=market.owner)
    before = market.forward.state()
    cap(market, 1, 2, 3)
    after = market.forward.state().as_dict()
    assert after == before.as_dict() | {"flags": before.flags | CAPPED}
    cap(market)
    assert market.forward.state() == before


def test_set_caps__forgets_what_was_sold_in_the_block(
    market: Market, stranger: Account, evm: Evm
) -> None:
    amount = market.tokens(SHORTED)
    cap(market, in_a_block=amount)
    with evm.same_block():
        open_short(market, stranger)
        assert market.forward.sold_in_block() == (evm.block_number, amount)
        with reverts("block cap"):
            open_short(market, stranger)
        cap(market, in_a_block=amount)
        assert market.forward.sold_in_block() == (0, 0)
        assert market.forward.caps() == (NO_CAP, NO_CAP, amount)
        open_short(market, stranger)
        assert market.forward.sold_in_block() == (evm.block_number, amount)
        with reverts("block cap"):
            open_short(market, stranger)


def test_set_caps__lower_than_what_is_there(market: Market, shorter: Account) -> None:
    """It stops what is new and touches nothing else."""
    cap(market, 1, 1, 1)
    with reverts("supply cap"):
        market.lend("late lender", tokens=market.tokens(1))
    with reverts("debt cap"):
        market.short("late shorter", margin=market.usd(MARGIN), tokens=market.tokens(SHORTED))
    lender = market.evm.account("lender")
    market.forward.withdraw(market.tokens(1), lender, lender, sender=lender)
    assert market.forward.debt_of(shorter) >= market.tokens(SHORTED)


def test_caps__of_a_new_pool(evm: Evm) -> None:
    """Nothing goes in before the owner has decided how much."""
    market = deploy_market(evm, capped=True)
    assert market.forward.caps() == (0, 0, 0)
    assert market.forward.state().flags & CAPPED
    with reverts("supply cap"):
        market.lend("lender", tokens=market.tokens(1))
    # an opening needs all three
    cap(market, NO_CAP, NO_CAP, 0)
    market.lend("lender", tokens=market.tokens(1_000))
    with reverts("block cap"):
        market.short("shorter", margin=market.usd(MARGIN), tokens=market.tokens(SHORTED))
