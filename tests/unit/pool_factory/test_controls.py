"""`set_caps`, `set_fee`, `set_hook`, `set_paused` and `set_liquidation_swapper`."""

import pytest

from perpool.evm import Account, Contract, reverts
from tests.market import (
    CAPPED,
    HOOK,
    MAX,
    NO_CAP,
    PAUSED,
    STANDARD_HOOK,
    ZERO_ADDRESS,
    Market,
)
from tests.pools import address_of, expect_event
from tests.unit.pool_factory.conftest import NOT_OWNER


@pytest.fixture(params=["reverse", "forward"])
def pool(request: pytest.FixtureRequest, market: Market) -> Contract:
    return market.reverse if request.param == "reverse" else market.forward


# --- set_caps


def test_set_caps__not_the_owner(
    market: Market, factory: Contract, pool: Contract, stranger: Account
) -> None:
    for caller in (stranger, market.guardian, pool.address):
        with reverts(NOT_OWNER):
            factory.set_caps(pool, 1, 1, 1, sender=caller)


def test_set_caps__unknown_pool(market: Market, factory: Contract, stranger: Account) -> None:
    for other in (stranger, ZERO_ADDRESS, factory):
        with reverts("unknown pool"):
            factory.set_caps(other, 1, 1, 1, sender=market.owner)


def test_set_caps__sets_them(market: Market, factory: Contract, pool: Contract) -> None:
    receipt = factory.set_caps.transact(pool, 5, MAX, 7, sender=market.owner)
    expect_event(receipt, "CapsSet", factory, pool=pool, supply_cap=5, debt_cap=MAX, leg_cap=7)
    assert pool.caps() == (5, NO_CAP, 7)


# --- set_fee


def test_set_fee__not_the_owner(
    market: Market, factory: Contract, pool: Contract, stranger: Account
) -> None:
    for caller in (stranger, market.guardian):
        with reverts(NOT_OWNER):
            factory.set_fee(pool, 1, sender=caller)


def test_set_fee__unknown_pool(market: Market, factory: Contract, stranger: Account) -> None:
    with reverts("unknown pool"):
        factory.set_fee(stranger, 1, sender=market.owner)


@pytest.mark.parametrize("fee", [251, 256, MAX])
def test_set_fee__too_high(market: Market, factory: Contract, pool: Contract, fee: int) -> None:
    with reverts("fee too high"):
        factory.set_fee(pool, fee, sender=market.owner)


@pytest.mark.parametrize("fee", [0, 1, 250])
def test_set_fee__keeps_pause_and_hook(
    market: Market, factory: Contract, pool: Contract, stranger: Account, fee: int
) -> None:
    factory.allow_hook(stranger, True, sender=market.owner)
    factory.set_hook(pool, stranger, sender=market.owner)
    factory.set_paused(pool, True, sender=market.owner)
    receipt = factory.set_fee.transact(pool, fee, sender=market.owner)
    expect_event(receipt, "FeeSet", factory, pool=pool, fee_permille=fee)
    assert pool.state().flags == PAUSED | HOOK | CAPPED | fee << 8
    assert pool.hook() == stranger.address


# --- set_hook


def test_set_hook__not_the_owner(
    market: Market, factory: Contract, pool: Contract, stranger: Account
) -> None:
    for caller in (stranger, market.guardian):
        with reverts(NOT_OWNER):
            factory.set_hook(pool, ZERO_ADDRESS, sender=caller)


def test_set_hook__unknown_pool(market: Market, factory: Contract, stranger: Account) -> None:
    with reverts("unknown pool"):
        factory.set_hook(stranger, ZERO_ADDRESS, sender=market.owner)


def test_set_hook__unknown_hook(
    market: Market, factory: Contract, pool: Contract, stranger: Account
) -> None:
    with reverts("unknown hook"):
        factory.set_hook(pool, stranger, sender=market.owner)
    factory.allow_hook(stranger, True, sender=market.owner)
    factory.allow_hook(stranger, False, sender=market.owner)
    with reverts("unknown hook"):
        factory.set_hook(pool, stranger, sender=market.owner)


def test_set_hook__keeps_pause_and_fee(
    market: Market, factory: Contract, pool: Contract, stranger: Account
) -> None:
    factory.set_paused(pool, True, sender=market.guardian)
    factory.allow_hook(stranger, True, sender=market.owner)
    for hook, flags in (
        (stranger.address, PAUSED | HOOK),
        (address_of(market.standard_hook), PAUSED | HOOK | STANDARD_HOOK),
        (stranger.address, PAUSED | HOOK),
        (ZERO_ADDRESS, PAUSED),
        (address_of(market.standard_hook), PAUSED | HOOK | STANDARD_HOOK),
        (ZERO_ADDRESS, PAUSED),
    ):
        receipt = factory.set_hook.transact(pool, hook, sender=market.owner)
        expect_event(receipt, "HookSet", factory, pool=pool, hook=hook)
        assert pool.hook() == hook
        assert pool.state().flags == flags | CAPPED | 100 << 8


def test_set_hook__standard_one_is_to_be_allowed_too(
    market: Market, factory: Contract, pool: Contract
) -> None:
    factory.allow_hook(market.standard_hook, False, sender=market.owner)
    with reverts("unknown hook"):
        factory.set_hook(pool, market.standard_hook, sender=market.owner)


def test_controls__keep_the_standard_hook(
    market: Market, factory: Contract, pool: Contract
) -> None:
    """The flag that says so is neither the caps' nor the fee's nor the pause's to change."""
    hook = address_of(market.standard_hook)
    factory.set_hook(pool, hook, sender=market.owner)
    factory.set_caps(pool, NO_CAP, NO_CAP, NO_CAP, sender=market.owner)
    assert pool.state().flags == HOOK | STANDARD_HOOK | 100 << 8
    factory.set_caps(pool, 1, 1, 1, sender=market.owner)
    factory.set_fee(pool, 250, sender=market.owner)
    assert pool.state().flags == HOOK | STANDARD_HOOK | CAPPED | 250 << 8
    factory.set_paused(pool, True, sender=market.guardian)
    assert pool.state().flags == HOOK | STANDARD_HOOK | CAPPED | PAUSED | 250 << 8
    factory.set_paused(pool, False, sender=market.owner)
    assert pool.state().flags == HOOK | STANDARD_HOOK | CAPPED | 250 << 8
    assert pool.hook() == hook


def test_controls__keep_the_caps_off(
    market: Market, factory: Contract, pool: Contract, stranger: Account
) -> None:
    """The pool's flag for them is neither the fee's nor the hook's nor the pause's to raise."""
    factory.set_caps(pool, NO_CAP, NO_CAP, NO_CAP, sender=market.owner)
    factory.allow_hook(stranger, True, sender=market.owner)
    flags = 100 << 8
    assert pool.state().flags == flags
    factory.set_paused(pool, True, sender=market.owner)
    assert pool.state().flags == flags | PAUSED
    factory.set_hook(pool, stranger, sender=market.owner)
    assert pool.state().flags == flags | PAUSED | HOOK
    factory.set_fee(pool, 250, sender=market.owner)
    assert pool.state().flags == 250 << 8 | PAUSED | HOOK
    factory.set_paused(pool, False, sender=market.owner)
    assert pool.state().flags == 250 << 8 | HOOK


def test_set_hook__taken_off_the_list_stays_attached(
    market: Market, factory: Contract, pool: Contract, stranger: Account
) -> None:
    factory.allow_hook(stranger, True, sender=market.owner)
    factory.set_hook(pool, stranger, sender=market.owner)
    factory.allow_hook(stranger, False, sender=market.owner)
    factory.set_fee(pool, 5, sender=market.owner)
    assert pool.hook() == stranger.address


# --- set_paused


def test_set_paused__unknown_pool(market: Market, factory: Contract, stranger: Account) -> None:
    for caller in (market.owner, market.guardian):
        with reverts("unknown pool"):
            factory.set_paused(stranger, True, sender=caller)


@pytest.mark.parametrize("paused", [False, True])
def test_set_paused__neither_owner_nor_guardian(
    market: Market, factory: Contract, pool: Contract, stranger: Account, paused: bool
) -> None:
    with reverts("not owner or guardian"):
        factory.set_paused(pool, paused, sender=stranger)


def test_set_paused__guardian_may_not_let_it_go_on(
    market: Market, factory: Contract, pool: Contract
) -> None:
    factory.set_paused(pool, True, sender=market.guardian)
    with reverts("not owner or guardian"):
        factory.set_paused(pool, False, sender=market.guardian)
    assert pool.state().flags & PAUSED


def test_set_paused__without_a_guardian(market: Market, factory: Contract, pool: Contract) -> None:
    factory.set_guardian(ZERO_ADDRESS, sender=market.owner)
    with reverts("not owner or guardian"):
        factory.set_paused(pool, True, sender=market.guardian)


@pytest.mark.parametrize("by", ["owner", "guardian"])
def test_set_paused__keeps_fee_and_hook(
    market: Market, factory: Contract, pool: Contract, stranger: Account, by: str
) -> None:
    factory.allow_hook(stranger, True, sender=market.owner)
    factory.set_hook(pool, stranger, sender=market.owner)
    caller = market.owner if by == "owner" else market.guardian
    for paused, sender in ((True, caller), (False, market.owner)):
        receipt = factory.set_paused.transact(pool, paused, sender=sender)
        expect_event(receipt, "PausedSet", factory, pool=pool, caller=sender, paused=paused)
        assert pool.state().flags == PAUSED * paused | HOOK | CAPPED | 100 << 8
        assert pool.hook() == stranger.address


def test_guardian__has_no_other_say(market: Market, factory: Contract, pool: Contract) -> None:
    guardian = market.guardian
    for call in (
        lambda: factory.create_market(market.parameters, sender=guardian),
        lambda: factory.set_caps(pool, 1, 1, 1, sender=guardian),
        lambda: factory.set_fee(pool, 1, sender=guardian),
        lambda: factory.set_hook(pool, ZERO_ADDRESS, sender=guardian),
        lambda: factory.set_liquidation_swapper(pool, market.swapper, b"", sender=guardian),
        lambda: factory.request_reserve_withdrawal(pool, 1, sender=guardian),
        lambda: factory.withdraw_reserve(pool, guardian, sender=guardian),
        lambda: factory.set_guardian(guardian, sender=guardian),
        lambda: factory.allow_hook(guardian, True, sender=guardian),
        lambda: factory.allow_swapper(guardian, True, sender=guardian),
        lambda: factory.transfer_ownership(guardian, sender=guardian),
    ):
        with reverts(NOT_OWNER):
            call()


# --- set_liquidation_swapper


def test_set_liquidation_swapper__not_the_owner(
    market: Market, factory: Contract, stranger: Account
) -> None:
    for caller in (stranger, market.guardian):
        with reverts(NOT_OWNER):
            factory.set_liquidation_swapper(
                market.forward, market.swapper, market.buy_route, sender=caller
            )


def test_set_liquidation_swapper__unknown_pool(
    market: Market, factory: Contract, stranger: Account
) -> None:
    with reverts("unknown pool"):
        factory.set_liquidation_swapper(
            stranger, market.swapper, market.buy_route, sender=market.owner
        )


def test_set_liquidation_swapper__unknown_swapper(
    market: Market, factory: Contract, stranger: Account
) -> None:
    for swapper in (stranger, ZERO_ADDRESS):
        with reverts("unknown swapper"):
            factory.set_liquidation_swapper(
                market.forward, swapper, market.buy_route, sender=market.owner
            )


def test_set_liquidation_swapper__sets_adapter_and_route(market: Market, factory: Contract) -> None:
    assert factory.liquidation_swapper(market.reverse) == (ZERO_ADDRESS, b"")
    for route in (b"\x01" * 256, b"", market.buy_route):
        receipt = factory.set_liquidation_swapper.transact(
            market.forward, market.swapper, route, sender=market.owner
        )
        expect_event(
            receipt,
            "LiquidationSwapperSet",
            factory,
            pool=market.forward,
            swapper=market.swapper,
            route=route,
        )
        assert factory.liquidation_swapper(market.forward) == (market.swapper.address, route)
