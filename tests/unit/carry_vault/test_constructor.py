"""What a vault is deployed with, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from perpool.evm import reverts
from tests.market import WAD, ZERO_ADDRESS, wad
from tests.pools import HOUR, market_of_test_oracle
from tests.vaults import KEEP, LEND, NEUTRAL, Parameters, Vault, build_vault


def test_constructor__what_it_is_about(vault: Vault) -> None:
    market, contract, strategy = vault.market, vault.contract, vault.strategy
    assert contract.asset() == market.token.address
    assert contract.share() == contract.address
    assert strategy.vault() == contract.address
    assert strategy.legs() == (
        market.reverse.address,
        market.forward.address,
        vault.venue.address,
    )
    assert tuple(contract.parameters()) == KEEP.as_tuple()
    assert contract.mode() == LEND
    assert (contract.name(), contract.symbol()) == ("Perpool Carry TKN", "pcTKN")
    decimals = market.token.decimals()
    assert contract.decimals() == decimals + min(6, 24 - decimals)
    assert contract.totalSupply() == contract.totalAssets() == 0


def test_constructor__without_limits_it_takes_no_deposit(plain: Vault) -> None:
    contract, _ = build_vault(plain.market, plain.venue)
    alice = plain.evm.account("alice")
    plain.market.token.mint(alice, 10, sender=alice)
    plain.market.token.approve(contract, 10, sender=alice)
    with reverts("supply cap"):
        contract.requestDeposit(1, alice, alice, sender=alice)


@pytest.mark.parametrize("preset", [KEEP, NEUTRAL], ids=["keep", "neutral"])
def test_constructor__presets(plain: Vault, preset: Parameters) -> None:
    contract, _ = build_vault(plain.market, plain.venue, preset)
    assert tuple(contract.parameters()) == preset.as_tuple()


STEP = wad(1)


@pytest.mark.parametrize(
    ("preset", "changes", "fixed"),
    [
        (KEEP, {"hedge_ratio": 0}, {"hedge_ratio": 1}),
        (NEUTRAL, {"hedge_ratio": wad(110) + 1}, {"hedge_ratio": wad(110)}),
        (KEEP, {"hedge_band": 0}, {"hedge_band": 1}),
        (KEEP, {"hedge_band": WAD}, {"hedge_band": WAD - 1}),
        (KEEP, {"margin_band": 0}, {"margin_band": 1}),
        # the ceiling: below the hedge's margin, over the stressed LTV, too near to liquidation
        (NEUTRAL, {"ltv_ceiling": wad(50) - 1}, {"ltv_ceiling": wad(50)}),
        (NEUTRAL, {"ltv_ceiling": wad(60) + 1}, {"ltv_ceiling": wad(60)}),
        (KEEP, {"ltv_band": wad(25) + 1}, {"ltv_band": wad(25)}),
        # a hedge that gives way: h * (1 + m) and five points
        (KEEP, {"ltv_ceiling": wad(50) - 1}, {"ltv_ceiling": wad(50)}),
        # a loan of 52 % of the value at a rate of 100 %
        (KEEP, {"worst_carry": wad(52) - 1}, {"worst_carry": wad(52)}),
        # the margin: 5 % maintenance and 20 points below the band
        (KEEP, {"margin_band": wad(25) + 1}, {"margin_band": wad(25)}),
        (NEUTRAL, {"margin_ratio": WAD + 1, "hedge_ratio": wad(50)}, {"margin_ratio": WAD}),
        # switching
        (KEEP, {"leave_rate": wad(20)}, {"leave_rate": wad(7)}),
        (KEEP, {"min_stay": 58 * HOUR}, {"min_stay": 59 * HOUR}),
        (KEEP, {"min_stay": 90 * 24 * HOUR + 1}, {"min_stay": 90 * 24 * HOUR}),
        (KEEP, {"max_slippage": 0}, {"max_slippage": 1}),
        (KEEP, {"max_slippage": wad(3) + 1}, {"max_slippage": wad(3)}),
        (KEEP, {"tip_rate": wad(1) + 1}, {"tip_rate": wad(1)}),
    ],
)
def test_constructor__bad_parameters(
    plain: Vault, preset: Parameters, changes: dict[str, Any], fixed: dict[str, Any]
) -> None:
    bad = replace(preset, **({"worst_carry": WAD} | changes))
    with reverts("bad parameters"):
        build_vault(plain.market, plain.venue, bad)
    build_vault(plain.market, plain.venue, replace(bad, **fixed))


def test_constructor__a_venue_that_asks_for_more(plain: Vault) -> None:
    plain.venue.set_margins(wad(45) + 1, wad(5))
    with reverts("bad parameters"):
        build_vault(plain.market, plain.venue)
    plain.venue.set_margins(wad(45), wad(25))
    build_vault(plain.market, plain.venue)
    plain.venue.set_margins(wad(45), wad(25) + 1)
    with reverts("bad parameters"):
        build_vault(plain.market, plain.venue)


def test_constructor__a_fee_that_switching_does_not_earn(plain: Vault) -> None:
    # 15 points for 72 hours are 12.33 basis points: twice the fee
    plain.venue.set_fee(WAD * 617 // 10**6, 0)
    with reverts("bad parameters"):
        build_vault(plain.market, plain.venue)
    plain.venue.set_fee(WAD * 616 // 10**6, 0)
    build_vault(plain.market, plain.venue)


def test_constructor__wrong_market(plain: Vault) -> None:
    market, evm = plain.market, plain.evm
    other = market_of_test_oracle(market)
    pairs = [
        replace(market, forward=other.forward),
        replace(market, reverse=other.reverse),
        replace(market, reverse=market.forward, forward=market.reverse),
        replace(market, forward=market.reverse),
    ]
    for mixed in pairs:
        with reverts("wrong market"):
            build_vault(mixed, plain.venue)
    for token, usdt in ((market.usdt, market.usdt), (market.token, ZERO_ADDRESS)):
        venue = evm.deploy("ScriptedVenue", token, usdt, market.price_e36())
        with reverts("wrong market"):
            build_vault(market, venue)


def test_strategy__obeys_its_vault_alone(plain: Vault, alice: Any) -> None:
    strategy = plain.strategy
    for call in (
        strategy.sync,
        strategy.rebalance,
        lambda **sender: strategy.enter(1, **sender),
        lambda **sender: strategy.begin_exit(alice, 1, 1, **sender),
        lambda **sender: strategy.finish_exit(alice, 0, **sender),
        lambda **sender: strategy.set_max_trade(1, **sender),
        lambda **sender: strategy.set_swapper(alice, b"", b"", **sender),
    ):
        for sender in (alice, plain.owner):
            with reverts("not vault"):
                call(sender=sender)
    for sender in (alice, plain.owner, plain.market.reverse, plain.contract):
        with reverts("not self"):
            strategy.on_collateral(strategy, 0, 0, b"", sender=sender)
        with reverts("not self"):
            strategy.buy_tokens(1, 1, sender=sender)
