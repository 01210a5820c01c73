"""`liquidate`."""

from __future__ import annotations

import pytest

from perpool.evm import Account, Evm, reverts
from tests.market import ZERO_ADDRESS, wad
from tests.unit.perp_venue.conftest import (
    SHORTED,
    WAD,
    changes,
    check_books,
    check_state_event,
    event,
)
from tests.venues import MAX_AGE, Parameters, Venue, deploy_venue


@pytest.fixture
def keeper(venue: Venue) -> Account:
    return venue.evm.account("keeper")


def liquidate(venue: Venue, account: Account, keeper: Account) -> int:
    return int(venue.contract.liquidate(account, keeper, sender=keeper))


def test_liquidate__bad_receiver(venue: Venue, shorter: Account, keeper: Account) -> None:
    for receiver in (ZERO_ADDRESS, venue.contract):
        with reverts("bad receiver"):
            venue.contract.liquidate(shorter, receiver, sender=keeper)


def test_liquidate__without_a_price(venue: Venue, shorter: Account, keeper: Account) -> None:
    venue.evm.warp(MAX_AGE + 1)
    with reverts("stale price"):
        liquidate(venue, shorter, keeper)


def test_liquidate__no_position(venue: Venue, stranger: Account, keeper: Account) -> None:
    with reverts("no position"):
        liquidate(venue, stranger, keeper)


def test_liquidate__healthy(venue: Venue, shorter: Account, keeper: Account) -> None:
    """It stands as long as its equity is the maintenance margin."""
    spare = venue.contract.equity(shorter) - venue.usd(1_000)
    venue.request(shorter, 0, -spare)
    threshold = venue.contract.liquidation_price(shorter)
    assert abs(threshold - venue.price_e36("10.47619048")) <= venue.price_e36("0.00000001")
    venue.set_price("10.47619")
    with reverts("healthy position"):
        liquidate(venue, shorter, keeper)
    venue.set_price("10.476191")
    liquidate(venue, shorter, keeper)
    assert venue.position(shorter)["size"] == 0


def test_liquidate__exactly_the_maintenance_margin(
    venue: Venue, shorter: Account, keeper: Account
) -> None:
    """1,004 USDT of equity at 10 are 524 at 10.48, a twentieth of the notional."""
    venue.request(shorter, 0, venue.usd(1_004) - venue.contract.equity(shorter))
    venue.set_price("10.48")
    assert venue.contract.equity(shorter) == venue.usd(524)
    with reverts("healthy position"):
        liquidate(venue, shorter, keeper)


def test_liquidate__of_a_long(venue: Venue, keeper: Account) -> None:
    longer = venue.trade("longer", venue.tokens(SHORTED), venue.usd(2_005))
    assert venue.contract.equity(longer) == venue.usd(2_000)
    threshold = venue.contract.liquidation_price(longer)
    assert abs(threshold - venue.price_e36("8.42105263")) <= venue.price_e36("0.00000001")
    venue.set_price("8.421053")
    with reverts("healthy position"):
        liquidate(venue, longer, keeper)
    venue.set_price("8.421052")
    liquidate(venue, longer, keeper)
    assert venue.position(longer)["size"] == 0
    check_books(venue, longer, keeper)


def test_liquidate(venue: Venue, shorter: Account, keeper: Account) -> None:
    """The penalty is split, the holder keeps the rest, and the liquidity pool the loss."""
    price = venue.set_price("11.5")
    before, position = venue.state(), venue.position(shorter)
    equity = position["margin"] - venue.usd(1_500)
    assert venue.contract.equity(shorter) == equity > 0
    penalty = venue.usd(11_500) * venue.parameters.penalty // WAD
    reward = penalty // 2
    receiver = venue.evm.account("receiver")

    assert venue.contract.liquidate(shorter, receiver, sender=keeper) == reward
    assert event(venue, "Liquidated").as_dict() == {
        "caller": keeper.address,
        "account": shorter.address,
        "receiver": receiver.address,
        "size_delta": venue.tokens(SHORTED),
        "price_e36": price,
        "realised": -venue.usd(1_500),
        "funding": 0,
        "penalty": penalty,
        "reward": reward,
        "left": equity - penalty,
        "bad_debt": 0,
        "insured": 0,
    }
    check_state_event(venue)
    assert changes(before, venue.state()) == {
        "liquidity": venue.usd(1_500),
        "insurance": penalty - reward,
        "margins": -position["margin"],
        "credits": equity - penalty + reward,
        "short_size": -venue.tokens(SHORTED),
        "short_entries": -venue.usd(10_000),
    }
    assert venue.position(receiver)["credit"] == reward
    assert venue.position(shorter) == {
        "size": 0,
        "entry_notional": 0,
        "margin": 0,
        "funding": 0,
        "pending": 0,
        "escrow": 0,
        "credit": equity - penalty,
    }
    check_books(venue, shorter, receiver)
    assert venue.contract.withdraw(shorter, sender=shorter) == equity - penalty


def test_liquidate__penalty_is_at_most_the_equity(
    venue: Venue, shorter: Account, keeper: Account
) -> None:
    venue.set_price("11.99")
    equity = venue.contract.equity(shorter)
    assert 0 < equity < venue.usd(100)
    assert liquidate(venue, shorter, keeper) == equity // 2
    found = event(venue, "Liquidated")
    assert (found.penalty, found.left, found.bad_debt) == (equity, 0, 0)
    check_books(venue, shorter, keeper)


def test_liquidate__bad_debt_is_the_insurance_funds_first(
    venue: Venue, shorter: Account, keeper: Account
) -> None:
    """What is free never falls by it: the liquidity pool had locked more than it got less."""
    venue.set_price(13)
    before, margin, free = venue.state(), venue.position(shorter)["margin"], venue.free()
    missing = venue.usd(3_000) - margin
    assert before["insurance"] == venue.usd(1)
    assert liquidate(venue, shorter, keeper) == 0
    found = event(venue, "Liquidated")
    assert (found.penalty, found.left) == (0, 0)
    assert (found.bad_debt, found.insured) == (missing, venue.usd(1))
    assert changes(before, venue.state()) == {
        "liquidity": margin + venue.usd(1),
        "insurance": -venue.usd(1),
        "margins": -margin,
        "short_size": -venue.tokens(SHORTED),
        "short_entries": -venue.usd(10_000),
    }
    assert venue.free() >= free
    check_books(venue, shorter, keeper)


def test_liquidate__bad_debt_where_insurance_covers_it(evm: Evm) -> None:
    venue = deploy_venue(evm, Parameters(fee=wad(5), fee_to_insurance=wad(100)))
    venue.lend(venue.usd(100_000))
    shorter = venue.trade("shorter", -venue.tokens(1_000), venue.usd(2_500))
    assert venue.state()["insurance"] == venue.usd(500)
    venue.set_price("12.25")
    lender = evm.account("lender")
    value = venue.contract.liquidity_value(venue.contract.shares_of(lender))
    liquidate(venue, shorter, evm.account("keeper"))
    assert event(venue, "Liquidated").insured == venue.usd(250)
    assert venue.state()["insurance"] == venue.usd(250)
    now = venue.contract.liquidity_value(venue.contract.shares_of(lender))
    assert now == value + venue.usd(2_250) - 1  # the virtual shares' unit


def test_liquidate__funding_counts(venue: Venue, keeper: Account) -> None:
    """A position that stands by its margin and profit falls by what it owes."""
    longer = venue.trade("longer", venue.tokens(SHORTED), venue.usd(1_100))
    venue.fund(2_400)
    venue.set_price(10)
    with reverts("healthy position"):
        liquidate(venue, longer, keeper)
    venue.wait(86_400)
    assert venue.contract.liquidation_price(longer) > venue.price_e36(10)
    liquidate(venue, longer, keeper)
    assert event(venue, "Liquidated").funding < -venue.usd(640)
    assert event(venue, "Liquidated").realised == 0
    check_books(venue, longer, keeper)


def test_liquidate__leaves_a_pending_request(delayed: Venue) -> None:
    longer = delayed.trade("longer", delayed.tokens(100), delayed.usd(110))
    delayed.evm.mine(2)
    with delayed.evm.same_block():
        delayed.set_price(10)
        delayed.contract.settle(1)
    delayed.give(longer, delayed.usd(50))
    delayed.request(longer, 0, delayed.usd(50))
    delayed.set_price(9)
    keeper = delayed.evm.account("keeper")
    liquidate(delayed, longer, keeper)
    position = delayed.position(longer)
    assert (position["pending"], position["escrow"]) == (2, delayed.usd(50))
    check_books(delayed, longer, keeper)
    delayed.evm.mine(2)
    delayed.contract.settle(2)
    assert event(delayed, "Failed").reason == "no position"
    assert delayed.position(longer)["credit"] >= delayed.usd(50)
