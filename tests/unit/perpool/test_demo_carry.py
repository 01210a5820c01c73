"""Carry vaults in the demo: what is due by books alone is what the contract says."""

from __future__ import annotations

import pytest

from perpool.demo import actors as act
from perpool.demo.carry import Comparison, held_of, is_due_at
from perpool.demo.holdings import Holding
from perpool.demo.summary import nearest
from perpool.evm import Evm
from perpool.reference.presets import KEEP, NEUTRAL, PRESETS
from perpool.replay.record import Bounds, risk_of
from tests.unit.perpool.test_demo_replay import PRICE_E36, START, VAULT, books
from tests.vaults import Parameters, Vault, deploy_vault

BOUNDS = Bounds(maintenance=0.05, liquidation_ltv=0.8)


def short(margin: float) -> Holding:
    """100 tokens at 2 USDT, 30 of them short, the margin borrowed."""
    usdt = int(margin * 60 * 10**6)
    return Holding(
        usdt=0,
        tokens=0,
        collateral=100 * 10**18,
        debt=usdt,
        perp_equity=usdt,
        perp_position=-30 * 10**18,
    )


# -- what is due --


@pytest.mark.parametrize("preset", ["keep", "neutral"])
def test_is_due_at__as_the_contract_says(evm: Evm, preset: str) -> None:
    """At prices around the one at which it was balanced, and both answers are among them."""
    vault = deploy_vault(evm, Parameters(*vars(PRESETS[preset]).values()), real_venue=True)
    vault.deposit("holder", vault.tokens(1_000))
    vault.carry()
    has, mark = has_of(vault), vault.market.price_e36()
    answers = set()
    for percent in range(-12, 13):
        with evm.anchor():
            vault.set_price(10 * (1 + percent / 100))
            price = vault.market.price_e36()
            due = vault.contract.is_due()
            assert is_due_at(PRESETS[preset], has, mark, price) == due, percent
            answers.add(due)
    assert answers == {False, True}


def has_of(vault: Vault) -> Holding:
    held = vault.holdings()
    return Holding(
        usdt=held.cash,
        tokens=held.idle,
        collateral=held.collateral,
        debt=held.debt,
        perp_equity=held.equity,
        perp_position=-held.short,
    )


def test_is_due_at__without_a_short_no_price_matters() -> None:
    assert not is_due_at(KEEP, Holding(usdt=0, tokens=10**18), PRICE_E36, PRICE_E36 * 9)


def test_is_due_at__margin_and_hedge() -> None:
    assert not is_due_at(KEEP, short(0.5), PRICE_E36, PRICE_E36)
    assert is_due_at(KEEP, short(0.44), PRICE_E36, PRICE_E36)
    assert is_due_at(NEUTRAL, short(0.5), PRICE_E36, PRICE_E36)


# -- how they stand --


def test_comparison__who_is_watched() -> None:
    comparison = Comparison(act.cast(lambda: 0.0), BOUNDS)
    assert comparison.whose == {
        "Vault keep": "Holder in keep",
        "Vault neutral": "Holder in neutral",
        "Siloed at 40 %": "Siloed at 40 %",
        "Siloed at 58 %": "Siloed at 58 %",
    }


def test_comparison__at_the_price_of_the_hour() -> None:
    """The vault is all the holder's, and the price rises by a quarter."""
    comparison = Comparison([act.VaultHolder("Holder", 1, "keep")], BOUNDS)
    has = short(0.5)
    holder = Holding(
        usdt=0,
        tokens=0,
        vault_usdt=has.net_usdt,
        vault_tokens=has.net_tokens,
        vault_position=has.perp_position,
    )
    first = books(holdings=books().holdings | {"Holder": Holding(0, 50 * 10**18)})
    now = books(
        holdings=books().holdings | {"Holder": holder},
        vaults={"Vault keep": VAULT.__class__(**vars(VAULT) | {"has": has})},
    )
    hour = comparison.look(START, PRICE_E36 * 5 // 4, first, now)
    [seen] = hour.seen.values()
    assert (hour.price, hour.time) == (2.5, START)
    # 100 tokens less 15 USDT, for 50 tokens at first
    assert seen.worth == pytest.approx((100 - 15 / 2.5) / 50)
    assert seen.risk.margin == pytest.approx((30 - 15) / 75)
    assert seen.risk.ltv == pytest.approx(30 / 250)
    assert nearest([hour], "Vault keep").least_margin == seen.risk.margin


def test_held_of__no_leg_no_risk() -> None:
    risk = risk_of(held_of(Holding(usdt=0, tokens=10**18)), 2.0, BOUNDS)
    assert (risk.margin, risk.ltv, risk.rise, risk.fall) == (None, None, None, None)
