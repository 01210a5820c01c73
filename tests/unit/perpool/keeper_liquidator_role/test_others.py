"""What others could take, or leave, around a liquidation."""

from __future__ import annotations

from decimal import Decimal

import pytest

from perpool.keeper.liquidator.index import Leg
from tests.unit.perpool.keeper_liquidator_role.scene import (
    Scene,
    borrow,
    donate,
    short,
)


@pytest.mark.parametrize(("market_price", "lands"), [("8.385", True), ("8.33", False)])
def test_tick__a_borrower_whose_sale_is_moved(scene: Scene, market_price: str, lands: bool) -> None:
    """With a tenth of the gain gone it had better fail, though it would pay for its gas."""
    borrow(scene)
    expect_of_a_moved_market(scene, "8.4", market_price, "reverse", lands=lands)


@pytest.mark.parametrize(("market_price", "lands"), [("16.45", True), ("16.6", False)])
def test_tick__a_shorter_whose_purchase_is_moved(
    scene: Scene, market_price: str, lands: bool
) -> None:
    short(scene)
    expect_of_a_moved_market(scene, "16.4", market_price, "forward", lands=lands)


def expect_of_a_moved_market(
    scene: Scene, price: str, market_price: str, leg: str, *, lands: bool
) -> None:
    scene.market.set_price(price)
    with scene.evm.anchor():
        careless = scene.role(max_slippage=Decimal(1))
        assert scene.lane is not None
        scene.lane.spoil = lambda: scene.market.pool.swap_to(Decimal(market_price))
        assert scene.tick(careless).chosen
        assert (scene.outcomes(leg, "landed"), scene.outcomes(leg, "failed")) == (1, 0)
    role = scene.role()
    scene.lane.spoil = lambda: scene.market.pool.swap_to(Decimal(market_price))
    assert scene.tick(role).chosen
    assert scene.outcomes(leg, "landed") == 1 + lands
    assert scene.outcomes(leg, "failed") == 1 - lands
    if not lands:
        # it is measured anew, and done for what it brings where the market stays there
        while not scene.tick(role).chosen:
            assert scene.outcomes(leg, "landed") == 1
        assert scene.outcomes(leg, "landed") == 2


def test_tick__several_are_held_to_what_each_brings_in_its_place(scene: Scene) -> None:
    """Every sale lowers the price for the next, by more than is left to others."""
    for number in range(3):
        borrow(scene, f"borrower {number}", tokens=6_000)
    scene.market.set_price("8.4")
    role = scene.role()
    gains = [each.appraisal.profit for each in scene.tick(role).chosen]
    assert len(gains) == 3
    assert gains[1] < gains[0] * 9 / 10
    assert scene.outcomes("reverse", "landed") == 3


def test_tick__several_whose_market_is_moved(scene: Scene) -> None:
    for number in range(3):
        borrow(scene, f"borrower {number}", tokens=3_000)
    scene.market.set_price("8.4")
    role = scene.role()
    assert scene.lane is not None
    scene.lane.spoil = lambda: scene.market.pool.swap_to(Decimal("8.2"))
    assert len(scene.tick(role).chosen) == 3
    assert scene.outcomes("reverse", "failed") == 3


# -- what lies in the liquidator --


@pytest.mark.parametrize("leg", Leg)
def test_tick__what_lies_in_the_liquidator_is_no_gain(scene: Scene, leg: Leg) -> None:
    """Whoever sends something there does not make a liquidation pay."""
    if leg is Leg.REVERSE:
        borrow(scene)
        scene.market.set_price("8.4")
    else:
        short(scene)
        scene.market.set_price("16.4")
    scene.nodes.base_fee = 0
    with scene.evm.anchor():
        [choice] = scene.tick(scene.role()).chosen
    donate(scene)
    outcome = scene.tick(scene.role(min_profit=choice.appraisal.profit + 1))
    assert outcome.chosen == ()
    [reason] = outcome.rested.values()
    assert reason.startswith(f"brings {choice.appraisal.profit:.0f} USDT of ")


@pytest.mark.parametrize("leg", Leg)
def test_tick__what_lies_in_the_liquidator_and_is_gone(scene: Scene, leg: Leg) -> None:
    """Taken out between trial and block, if that could be, it would make a good one fail."""
    market = scene.market
    if leg is Leg.REVERSE:
        borrow(scene)
        market.set_price("8.4")
    else:
        short(scene)
        market.set_price("16.4")
    donate(scene)
    rogue = scene.evm.deploy("RoguePool")
    liquidator = scene.evm.at("Liquidator", scene.pools[0].liquidator)
    attacker = scene.evm.account("attacker")

    def take() -> None:
        rogue.prepare(market.token, market.usdt, market.token, [])
        call = (rogue, attacker, 0, rogue, b"", 0, attacker)
        liquidator.liquidate(*call, sender=attacker)

    role = scene.role()
    assert scene.lane is not None
    scene.lane.spoil = take
    [choice] = scene.tick(role).chosen
    assert scene.outcomes(leg.value, "landed") == 1
    usdt, tokens = scene.received()
    gain = choice.appraisal.gain
    assert (usdt, tokens) == (
        pytest.approx(gain.usdt, rel=1e-3),
        pytest.approx(gain.tokens, rel=1e-3),
    )


def test_tick__not_in_the_block_of_opening(scene: Scene) -> None:
    """What is tried on a block is tried as of its number."""
    role = scene.role()
    scene.evm.mine()
    with scene.evm.same_block():
        short(scene)
        scene.market.set_price("16.4")
        assert role.tick(scene.evm.timestamp).found == 0
    assert scene.tick(role).found == 1
