"""Ownership in two steps, `set_guardian`, `allow_hook` and `allow_swapper`."""

import pytest

from perpool.evm import Account, Contract, reverts
from tests.market import ZERO_ADDRESS, Market
from tests.pools import expect_event
from tests.unit.pool_factory.conftest import NOT_OWNER

# --- ownership


def test_transfer_ownership__not_the_owner(
    market: Market, factory: Contract, stranger: Account
) -> None:
    with reverts(NOT_OWNER):
        factory.transfer_ownership(stranger, sender=stranger)


def test_accept_ownership__not_named(market: Market, factory: Contract, stranger: Account) -> None:
    factory.transfer_ownership(market.evm.account("new owner"), sender=market.owner)
    for caller in (stranger, market.owner):
        with reverts("ownable_2step: caller is not the new owner"):
            factory.accept_ownership(sender=caller)


def test_ownership__passes_when_accepted(
    market: Market, factory: Contract, stranger: Account
) -> None:
    new_owner = market.evm.account("new owner")
    factory.transfer_ownership(new_owner, sender=market.owner)
    assert factory.owner() == market.owner.address
    assert factory.pending_owner() == new_owner.address
    # not yet
    with reverts(NOT_OWNER):
        factory.set_guardian(stranger, sender=new_owner)
    # the old owner may think again
    factory.transfer_ownership(stranger, sender=market.owner)
    with reverts("ownable_2step: caller is not the new owner"):
        factory.accept_ownership(sender=new_owner)
    factory.transfer_ownership(new_owner, sender=market.owner)

    factory.accept_ownership(sender=new_owner)

    assert factory.owner() == new_owner.address
    assert factory.pending_owner() == ZERO_ADDRESS
    with reverts(NOT_OWNER):
        factory.set_guardian(stranger, sender=market.owner)
    factory.set_caps(market.reverse, 1, 1, 1, sender=new_owner)


def test_ownership__cannot_be_given_up(factory: Contract) -> None:
    """Nobody would be left to let a paused pool go on."""
    names = {entry["name"] for entry in factory.abi if entry["type"] == "function"}
    assert "renounce_ownership" not in names


# --- guardian and lists


def test_set_guardian__not_the_owner(market: Market, factory: Contract, stranger: Account) -> None:
    for caller in (stranger, market.guardian):
        with reverts(NOT_OWNER):
            factory.set_guardian(caller, sender=caller)


def test_set_guardian__replaces(market: Market, factory: Contract, stranger: Account) -> None:
    for guardian in (stranger.address, ZERO_ADDRESS):
        receipt = factory.set_guardian.transact(guardian, sender=market.owner)
        expect_event(receipt, "GuardianSet", factory, guardian=guardian)
        assert factory.guardian() == guardian
    with reverts("not owner or guardian"):
        factory.set_paused(market.reverse, True, sender=market.guardian)


LISTS = {
    "allow_hook": ("is_hook", "HookAllowed", "hook"),
    "allow_swapper": ("is_swapper", "SwapperAllowed", "swapper"),
}


@pytest.mark.parametrize("name", LISTS)
def test_allow__not_the_owner(
    market: Market, factory: Contract, stranger: Account, name: str
) -> None:
    for caller in (stranger, market.guardian):
        with reverts(NOT_OWNER):
            factory.function(name)(stranger, True, sender=caller)


@pytest.mark.parametrize("name", LISTS)
def test_allow__zero_address(market: Market, factory: Contract, name: str) -> None:
    with reverts("zero address"):
        factory.function(name)(ZERO_ADDRESS, True, sender=market.owner)


@pytest.mark.parametrize("name", LISTS)
def test_allow__puts_on_the_list_and_takes_off(
    market: Market, factory: Contract, stranger: Account, name: str
) -> None:
    view, event, field = LISTS[name]
    for allowed in (True, True, False, False):
        receipt = factory.function(name).transact(stranger, allowed, sender=market.owner)
        expect_event(receipt, event, factory, **{field: stranger}, allowed=allowed)
        assert factory.function(view)(stranger) is allowed
    # one list is not the other
    other = "is_swapper" if view == "is_hook" else "is_hook"
    assert factory.function(other)(stranger) is False


def test_allow_swapper__taken_off_the_list_stops_at_once(market: Market) -> None:
    factory, owner = market.factory, market.owner
    for pool in (market.reverse, market.forward):
        factory.set_caps(pool, 10**30, 10**30, 10**30, sender=owner)
    market.lend(tokens=market.tokens(1_000))
    shorter = market.short(margin=market.usd(200), tokens=market.tokens(10))
    factory.allow_swapper(market.swapper, False, sender=owner)
    with reverts("unknown swapper"):
        market.short(margin=market.usd(200), tokens=market.tokens(10))
    # repaying and taking the margin out go on
    market.give(shorter, tokens=market.tokens(11))
    market.forward.repay(2**256 - 1, shorter, sender=shorter)
    market.forward.remove_margin(2**256 - 1, shorter, shorter, sender=shorter)
