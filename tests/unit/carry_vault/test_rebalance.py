"""`CarryVault.rebalance`, step by step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from perpool.evm import Account, Evm, reverts
from tests.market import NO_CAP, wad
from tests.pools import HOUR
from tests.vaults import CARRY, KEEP, LEND, Vault, deploy_vault


def funded(vault: Vault, alice: Account, amount: float = 1_000) -> Vault:
    """Alice's tokens, lent, while funding pays shorts."""
    vault.deposit(alice, vault.tokens(amount))
    vault.set_funding(50)
    return vault


def carrying(vault: Vault, alice: Account, amount: float = 1_000) -> Vault:
    """Alice's tokens, at the target."""
    funded(vault, alice, amount)
    vault.carry()
    return vault


def left_alone(vault: Vault) -> bool:
    """Nothing is due, and a call does nothing."""
    return not vault.contract.is_due() and not vault.rebalance()


def test_rebalance__empty(plain: Vault) -> None:
    assert left_alone(plain)


def test_rebalance__nothing_due(vault: Vault, alice: Account) -> None:
    vault.deposit(alice, vault.tokens(1_000))
    assert left_alone(vault)
    vault.set_funding(50)
    vault.carry()
    held = vault.holdings()
    assert left_alone(vault)
    assert vault.holdings().short == held.short


# --- into CARRY


def test_rebalance__opens_all_of_it_in_one_call(vault: Vault, alice: Account) -> None:
    funded(vault, alice)
    contract, strategy = vault.contract, vault.strategy
    worth = contract.totalAssets()
    assert contract.is_due()
    assert vault.rebalance()
    events = vault.evm.last
    held = vault.holdings()
    assert (held.idle, held.lent, held.cash) == (0, 0, 0)
    assert held.collateral == pytest.approx(vault.tokens(1_000), abs=2)
    assert held.short == held.collateral * 3 // 10
    notional = vault.value(held.short)
    assert held.equity == pytest.approx(notional // 2, abs=2)
    # the margin and the fee are borrowed
    assert held.debt == pytest.approx(notional * 5_005 // 10_000, abs=3)
    (ordered,) = events.events("Ordered", strategy)
    assert ordered.args.size_delta == -held.short
    assert ordered.args.margin_delta == pytest.approx(held.debt, abs=2)
    assert ordered.args.confirmed
    (done,) = events.events("Rebalanced", strategy)
    assert done.args.as_dict() == {
        "mode": CARRY,
        "price_e36": held.price_e36,
        "collateral": held.collateral,
        "debt": done.args.debt,
        "short": held.short,
        "equity": held.equity,
        "cash": 0,
    }
    assert contract.totalAssets() == pytest.approx(worth - held.short * 0.0005, rel=1e-6)
    assert left_alone(vault)


def test_rebalance__no_usdt_to_borrow__no_short(plain: Vault, alice: Account) -> None:
    market = plain.market
    funded(plain, alice)
    market.factory.set_paused(market.reverse, True, sender=market.guardian)
    assert plain.rebalance()
    held = plain.holdings()
    assert held.collateral == pytest.approx(plain.tokens(1_000), abs=2)
    assert (held.short, held.debt) == (0, 0)
    # it stays due, and a call that can do nothing is worth nothing
    assert plain.contract.is_due()
    assert not plain.rebalance()
    market.factory.set_paused(market.reverse, False, sender=market.owner)
    assert plain.rebalance()
    assert plain.ratios()[0] == pytest.approx(0.3)


def test_rebalance__collateral_that_the_pool_does_not_take_stays_lent(
    plain: Vault, alice: Account
) -> None:
    market = plain.market
    market.factory.set_caps(market.reverse, NO_CAP, NO_CAP, plain.tokens(400), sender=market.owner)
    carrying(plain, alice)
    held = plain.holdings()
    assert held.collateral == pytest.approx(plain.tokens(400), abs=2)
    assert held.lent + held.idle == pytest.approx(plain.tokens(600), abs=2)
    assert held.short == held.collateral * 3 // 10
    assert left_alone(plain)


def test_rebalance__tokens_that_the_forward_pool_cannot_pay_yet(
    plain: Vault, alice: Account
) -> None:
    market = plain.market
    plain.deposit(alice, plain.tokens(1_000))
    market.short(margin=plain.usd(9_000), tokens=plain.tokens(300))
    plain.set_funding(50)
    plain.carry()
    assert plain.holdings().collateral == pytest.approx(plain.tokens(700), rel=1e-3)
    assert left_alone(plain)
    market.lend("another", tokens=plain.tokens(500))
    assert plain.contract.is_due()
    plain.carry()
    assert plain.holdings().collateral == pytest.approx(plain.tokens(1_000), rel=1e-3)
    assert plain.ratios()[0] == pytest.approx(0.3)


def test_rebalance__the_venue_refuses(plain: Vault, alice: Account) -> None:
    funded(plain, alice)
    plain.venue.set_refusing(True, False)
    # the tokens are supplied, which is not undone; what was borrowed goes back
    assert plain.rebalance()
    held = plain.holdings()
    assert (held.short, held.cash) == (0, 0)
    assert held.debt <= 1
    assert held.collateral > 0
    for _ in range(2):
        assert plain.contract.is_due()
        assert not plain.rebalance()
    plain.venue.set_refusing(False, False)
    plain.carry()
    assert plain.ratios()[0] == pytest.approx(0.3)


def test_rebalance__as_much_as_the_venue_has_room_for(plain: Vault, alice: Account) -> None:
    funded(plain, alice)
    plain.venue.set_room(plain.tokens(100), 0)
    assert plain.rebalance()
    held = plain.holdings()
    assert held.short == plain.tokens(100)
    assert held.debt == pytest.approx(plain.usd("500.5"), abs=2)
    plain.venue.set_room(0, 0)
    assert not plain.rebalance()


def test_rebalance__one_trade_a_call(plain: Vault, alice: Account) -> None:
    funded(plain, alice)
    plain.contract.set_limits(NO_CAP, plain.usd(1_200), sender=plain.owner)
    for short in (120, 240, 300):
        assert plain.rebalance()
        held = plain.holdings()
        assert held.short == pytest.approx(plain.tokens(short), abs=2)
        assert held.equity == pytest.approx(plain.value(held.short) // 2, abs=2)
    assert left_alone(plain)


# --- the price moves


@pytest.mark.parametrize(("price", "due"), [("10.3", False), ("10.4", True), ("9.7", False)])
def test_rebalance__within_the_band_it_does_nothing(
    plain: Vault, alice: Account, price: str, due: bool
) -> None:
    carrying(plain, alice)
    plain.set_price(price)
    assert plain.contract.is_due() is due
    assert plain.rebalance() is due


def test_rebalance__a_rise__the_loan_pays_the_short(vault: Vault, alice: Account) -> None:
    carrying(vault, alice)
    before = vault.holdings()
    vault.set_price(12)
    assert vault.rebalance()
    held = vault.holdings()
    assert held.short == before.short
    # a loss of 2 USDT and a margin of 1 more on each token short
    lent_more = vault.usd(3) * held.short // vault.tokens(1)
    assert held.debt - before.debt == pytest.approx(lent_more, rel=1e-5)
    assert held.equity == pytest.approx(vault.value(held.short) // 2, abs=2)
    assert left_alone(vault)


def test_rebalance__a_fall__the_short_pays_the_loan(vault: Vault, alice: Account) -> None:
    carrying(vault, alice)
    before = vault.holdings()
    vault.set_price(8)
    assert vault.rebalance()
    held = vault.holdings()
    assert held.short == before.short
    assert before.debt - held.debt == pytest.approx(
        vault.usd(3) * held.short // vault.tokens(1), rel=1e-5
    )
    assert held.equity == pytest.approx(vault.value(held.short) // 2, abs=2)
    assert held.cash == 0
    assert left_alone(vault)


def test_rebalance__a_deep_fall__nothing_is_owed_and_tokens_are_bought(
    vault: Vault, alice: Account
) -> None:
    carrying(vault, alice)
    before = vault.holdings()
    worth = vault.contract.totalAssets()
    for price in (8, 6, 4):
        vault.set_price(price)
        vault.rebalance()
        vault.rebalance()
    held = vault.holdings()
    assert held.debt == 0
    assert held.collateral > before.collateral
    assert vault.ratios()[:2] == pytest.approx((0.3, 0.5), rel=1e-3)
    assert vault.contract.totalAssets() > worth
    assert left_alone(vault)


def test_rebalance__a_rise_without_usdt_to_borrow__the_short_is_made_smaller(
    plain: Vault, alice: Account
) -> None:
    carrying(plain, alice)
    before = plain.holdings()
    plain.market.factory.set_paused(plain.market.reverse, True, sender=plain.market.guardian)
    plain.set_price(12)
    equity = plain.holdings().equity
    assert plain.rebalance()
    held = plain.holdings()
    # the equity that is there carries as much: 900 of half of 12
    assert equity == plain.usd(900)
    assert held.short == pytest.approx(plain.tokens(150), rel=1e-3)
    assert held.debt == pytest.approx(before.debt, rel=1e-5)
    # it asks for what is missing again, and the ratios are in their bands meanwhile
    assert plain.ratios()[1] == pytest.approx(0.5, abs=1e-3)
    assert not plain.rebalance()


def test_rebalance__a_rise__the_venue_takes_no_size_but_margin(
    plain: Vault, alice: Account
) -> None:
    carrying(plain, alice)
    before = plain.holdings()
    plain.market.token.mint(alice, plain.tokens(500), sender=alice)
    plain.market.token.approve(plain.market.reverse, plain.tokens(500), sender=alice)
    # a gift, so that the short is too small as well
    plain.market.reverse.supply_collateral(plain.tokens(500), plain.strategy, sender=alice)
    plain.set_price(12)
    plain.venue.set_refusing(False, True)
    assert plain.rebalance()
    held = plain.holdings()
    assert held.short == before.short
    assert plain.ratios()[1] == pytest.approx(0.5, abs=1e-3)
    assert held.cash == 0


def test_rebalance__the_headroom_is_used_up__the_hedge_gives_way(
    plain: Vault, alice: Account
) -> None:
    """Years of paying funding eat the vault's own money."""
    carrying(plain, alice)
    plain.venue.pay_funding(plain.strategy, -plain.usd(1_400))
    plain.rebalance()
    plain.venue.pay_funding(plain.strategy, -plain.usd(1_400))
    plain.rebalance()
    assert plain.ratios()[2] == pytest.approx(0.4301, abs=2e-3)
    plain.venue.pay_funding(plain.strategy, -plain.usd(1_400))
    assert plain.rebalance()
    # 4,200 and the fee are lost of the 5,000 that may be owed: a margin of 800
    hedge, margin, ltv = plain.ratios()
    assert hedge == pytest.approx(0.16, abs=2e-3)
    assert margin == pytest.approx(0.5, abs=2e-3)
    assert ltv == pytest.approx(0.5, abs=2e-3)
    assert plain.holdings().collateral == pytest.approx(plain.tokens(1_000), abs=2)
    assert left_alone(plain)


def test_rebalance__the_hedge_is_gone__tokens_are_sold_all_the_same(
    plain: Vault, alice: Account
) -> None:
    carrying(plain, alice)
    for loss in (1_400, 1_400, 1_400, 700):
        plain.venue.pay_funding(plain.strategy, -plain.usd(loss))
        plain.rebalance()
    held = plain.holdings()
    assert 0 < held.short < plain.tokens(20)
    assert held.collateral == pytest.approx(plain.tokens(1_000), abs=2)
    # three years' interest on 5,000, at two percent
    plain.wait(3 * 365 * 24 * HOUR)
    for _ in range(3):
        plain.rebalance()
    held = plain.holdings()
    assert held.short == 0
    assert held.collateral < plain.tokens(980)
    assert plain.ratios()[2] == pytest.approx(0.5, abs=5e-3)
    assert left_alone(plain)


def test_rebalance__the_headroom_is_used_up__tokens_are_sold(
    neutral: Vault, alice: Account
) -> None:
    carrying(neutral, alice)
    before = neutral.holdings()
    neutral.set_price("11.5")
    assert neutral.rebalance()
    (sold,) = neutral.evm.last.events("Traded", neutral.strategy)
    held = neutral.holdings()
    assert held.collateral == before.collateral - sold.args.tokens_sold
    hedge, margin, ltv = neutral.ratios()
    assert hedge == pytest.approx(1, abs=3e-3)
    assert margin == pytest.approx(0.5, abs=1e-3)
    assert ltv == pytest.approx(0.55, abs=2e-3)
    # at most a percent less than the oracle's price
    assert sold.args.usdt_amount * 1.01 >= neutral.value(sold.args.tokens_sold)
    assert left_alone(neutral)


def test_rebalance__tokens_that_cannot_be_sold__the_hedge_gives_way(
    neutral: Vault, alice: Account
) -> None:
    carrying(neutral, alice)
    before = neutral.holdings()
    neutral.set_price("11.5")
    neutral.market.factory.allow_swapper(neutral.market.swapper, False, sender=neutral.owner)
    assert neutral.rebalance()
    held = neutral.holdings()
    assert held.collateral == before.collateral
    hedge, margin, ltv = neutral.ratios()
    assert hedge < 0.9
    assert margin == pytest.approx(0.5, abs=2e-3)
    assert ltv == pytest.approx(0.55, abs=2e-3)
    # as soon as it can be sold the hedge comes back
    neutral.market.factory.allow_swapper(neutral.market.swapper, True, sender=neutral.owner)
    neutral.rebalance()
    assert neutral.ratios()[0] == pytest.approx(1, abs=5e-3)


def test_rebalance__sells_one_trade_a_call(neutral: Vault, alice: Account) -> None:
    carrying(neutral, alice)
    neutral.set_price("11.5")
    neutral.contract.set_limits(NO_CAP, neutral.usd(300), sender=neutral.owner)
    assert neutral.rebalance()
    (sold,) = neutral.evm.last.events("Traded", neutral.strategy)
    assert sold.args.usdt_amount == neutral.usd(300)


def test_rebalance__a_market_off_the_oracle_is_not_traded_on(
    neutral: Vault, alice: Account
) -> None:
    carrying(neutral, alice)
    neutral.set_price("11.5", move_uniswap=False)
    neutral.mark()
    collateral = neutral.holdings().collateral
    # it would get 13 % less than the oracle says
    assert neutral.rebalance()
    assert not neutral.evm.last.events("Traded", neutral.strategy)
    assert neutral.holdings().collateral == collateral


# --- a venue that takes its time


def test_rebalance__late__goes_on_where_it_stands(plain: Vault, alice: Account) -> None:
    funded(plain, alice)
    plain.venue.set_late(True)
    plain.venue.set_stalled(True)
    assert plain.rebalance()
    pending = plain.position().pending
    held = plain.holdings()
    # each unit once
    assert held.short == 0
    assert held.cash == plain.position().escrow == pytest.approx(held.debt, abs=2)
    assert plain.contract.totalAssets() == pytest.approx(plain.tokens(1_000), rel=1e-6)
    assert left_alone(plain)
    assert plain.position().pending == pending
    plain.venue.set_stalled(False)
    # seen by the next call, which has nothing else to do
    assert not plain.rebalance()
    assert plain.holdings().short == pytest.approx(plain.tokens(300), abs=2)
    assert left_alone(plain)


def test_rebalance__late__a_failed_order_is_tried_again(plain: Vault, alice: Account) -> None:
    funded(plain, alice)
    plain.venue.set_late(True)
    plain.venue.set_stalled(True)
    assert plain.rebalance()
    held = plain.holdings()
    plain.venue.set_stalled(False)
    plain.venue.set_failing(True)
    plain.venue.settle(plain.position().pending)
    assert plain.position().credit == held.cash == plain.holdings().cash
    plain.venue.set_failing(False)
    assert plain.contract.is_due()
    assert plain.rebalance()
    # with the cash that came back, and nothing borrowed twice
    after = plain.holdings()
    assert after.debt == pytest.approx(held.debt, rel=1e-5)
    assert after.short == pytest.approx(plain.tokens(300), rel=1e-5)
    assert after.cash == 0


def test_rebalance__late__what_comes_out_pays_debt(plain: Vault, alice: Account) -> None:
    carrying(plain, alice)
    plain.venue.set_late(True)
    debt = plain.holdings().debt
    plain.set_price(8)
    plain.venue.set_stalled(True)
    assert plain.rebalance()
    assert plain.holdings().debt >= debt
    plain.venue.set_stalled(False)
    assert plain.rebalance()
    assert plain.holdings().debt == pytest.approx(debt - plain.usd(900), rel=1e-3)
    assert plain.holdings().cash == 0


def test_rebalance__late__an_expired_order_fails(plain: Vault, alice: Account) -> None:
    funded(plain, alice)
    plain.venue.set_late(True)
    plain.venue.set_stalled(True)
    plain.rebalance()
    plain.wait(5_401)
    plain.venue.set_stalled(False)
    plain.venue.set_late(False)
    assert plain.rebalance()
    assert plain.holdings().short == pytest.approx(plain.tokens(300), rel=1e-5)


def test_rebalance__late__credit_that_is_withheld_is_still_counted(
    plain: Vault, alice: Account
) -> None:
    carrying(plain, alice)
    plain.set_price(8)
    worth = plain.contract.totalAssets()
    plain.venue.set_withholding(True)
    assert plain.rebalance()
    held = plain.holdings()
    assert held.cash == plain.position().credit > 0
    assert plain.contract.totalAssets() == pytest.approx(worth, rel=1e-5)
    plain.venue.set_withholding(False)
    assert plain.rebalance()
    assert (plain.holdings().cash, plain.position().credit) == (0, 0)


# --- a position that others have changed


def test_rebalance__the_venue_has_liquidated_the_short(plain: Vault, alice: Account) -> None:
    carrying(plain, alice)
    plain.venue.seize(plain.strategy)
    assert plain.holdings().short == 0
    plain.carry()
    hedge, margin, ltv = plain.ratios()
    assert (hedge, margin) == pytest.approx((0.3, 0.5), rel=1e-3)
    assert ltv == pytest.approx(0.3, abs=2e-3)


def test_rebalance__the_pool_has_liquidated_the_loan(plain: Vault, alice: Account) -> None:
    """A crash between two calls, worse than any preset's: what is left goes on."""
    vault = plain
    carrying(vault, alice)
    # the venue lies low: the debt is the loan's alone
    vault.venue.seize(vault.strategy)
    vault.market.set_price("1.8")
    vault.mark()
    liquidator = vault.market.give(vault.evm.account("liquidator"), usdt=vault.usd(10_000))
    vault.market.reverse.liquidate(vault.strategy, 2**256 - 1, liquidator, b"", sender=liquidator)
    held = vault.holdings()
    assert held.collateral < vault.tokens(1_000)
    for _ in range(4):
        vault.rebalance()
    assert vault.ratios()[2] <= 0.53


# --- back to LEND


def leaving(vault: Vault, alice: Account, **changes: Any) -> Vault:
    """Carrying, when funding falls below the lower rate after the stay."""
    carrying(vault, alice, **changes)
    vault.wait(73 * HOUR)
    vault.set_funding(4)
    return vault


def test_rebalance__leaves__which_takes_no_room_at_the_venue(plain: Vault, alice: Account) -> None:
    leaving(plain, alice)
    plain.venue.set_room(0, 0)
    assert plain.rebalance()
    held = plain.holdings()
    assert (held.collateral, held.debt, held.short) == (0, 0, 0)


@pytest.mark.parametrize("price", [8, 10, 12])
def test_rebalance__leaves_in_one_call(vault: Vault, alice: Account, price: int) -> None:
    leaving(vault, alice)
    vault.set_price(price)
    worth = vault.contract.totalAssets()
    assert vault.contract.is_due()
    assert vault.rebalance()
    held = vault.holdings()
    assert (held.collateral, held.debt, held.short, held.equity) == (0, 0, 0, 0)
    assert vault.value(worth) > vault.value(held.lent) > 0.997 * vault.value(worth)
    assert held.idle <= 1
    assert held.cash <= vault.usd("0.01")
    assert vault.contract.mode() == LEND
    assert left_alone(vault)


def test_rebalance__leaves_one_trade_a_call(plain: Vault, alice: Account) -> None:
    leaving(plain, alice)
    plain.set_price(13)
    plain.contract.set_limits(NO_CAP, plain.usd(1_000), sender=plain.owner)
    shorts = [plain.holdings().short]
    for _ in range(12):
        if not plain.rebalance():
            break
        held = plain.holdings()
        shorts.append(held.short)
        if held.short > 0:
            assert plain.ratios()[1] == pytest.approx(0.5, abs=0.01)
    assert shorts[1:5] == pytest.approx(
        [shorts[0] - k * plain.tokens(1_000 / 13) for k in (1, 2, 3)] + [0], rel=1e-6, abs=10**6
    )
    held = plain.holdings()
    assert (held.collateral, held.debt, held.cash) == (0, 0, 0)
    assert left_alone(plain)


def test_rebalance__leaves__without_a_market_it_waits_with_the_debt(
    plain: Vault, alice: Account
) -> None:
    leaving(plain, alice)
    plain.set_price(12)
    plain.market.factory.allow_swapper(plain.market.swapper, False, sender=plain.owner)
    assert plain.rebalance()
    held = plain.holdings()
    assert held.short == 0
    assert held.debt == pytest.approx(plain.usd(605), rel=5e-3)
    assert held.collateral > 0
    assert plain.contract.is_due()
    assert not plain.rebalance()
    plain.market.factory.allow_swapper(plain.market.swapper, True, sender=plain.owner)
    assert plain.rebalance()
    assert plain.holdings().lent > plain.tokens(940)


def test_rebalance__leaves__while_the_reverse_pool_is_paused(plain: Vault, alice: Account) -> None:
    leaving(plain, alice)
    plain.market.factory.set_paused(plain.market.reverse, True, sender=plain.market.guardian)
    assert plain.rebalance()
    held = plain.holdings()
    assert (held.collateral, held.debt, held.short) == (0, 0, 0)


def test_rebalance__lends_what_came_idle(plain: Vault, alice: Account) -> None:
    market = plain.market
    cap = plain.tokens(300)
    market.factory.set_caps(market.forward, cap, NO_CAP, 2**112 - 1, sender=market.owner)
    plain.deposit(alice, plain.tokens(1_000))
    assert left_alone(plain)
    market.factory.set_caps(market.forward, NO_CAP, NO_CAP, 2**112 - 1, sender=market.owner)
    assert plain.contract.is_due()
    assert plain.rebalance()
    assert plain.holdings().idle == 0
    assert left_alone(plain)


def test_rebalance__gifts_make_nothing_due(plain: Vault, alice: Account) -> None:
    """Collateral and repayments by strangers, tokens and shares sent here."""
    plain.deposit(alice, plain.tokens(1_000))
    market = plain.market
    stranger = market.give(plain.evm.account("stranger"), tokens=plain.tokens(20))
    worth = plain.contract.totalAssets()
    market.token.transfer(plain.strategy, plain.tokens(5), sender=stranger)
    market.token.transfer(plain.contract, plain.tokens(5), sender=stranger)
    market.forward.deposit(plain.tokens(5), plain.strategy, sender=stranger)
    assert plain.contract.totalAssets() == pytest.approx(worth, abs=2)
    market.reverse.supply_collateral(plain.tokens("0.9"), plain.strategy, sender=stranger)
    assert left_alone(plain)
    # one that is worth it is taken
    market.reverse.supply_collateral(plain.tokens(2), plain.strategy, sender=stranger)
    assert plain.contract.is_due()
    assert plain.rebalance()
    assert plain.holdings().collateral == 0
    assert plain.contract.totalAssets() == pytest.approx(worth + plain.tokens("2.9"), rel=1e-6)


def test_rebalance__without_a_price(plain: Vault, alice: Account) -> None:
    carrying(plain, alice)
    plain.evm.warp(25 * HOUR)
    with reverts("stale price"):
        plain.rebalance()


def test_rebalance__another_preset_with_bands_of_its_own(evm: Evm, alice: Account) -> None:
    preset = replace(KEEP, margin_band=wad(10), margin_ratio=wad(60))
    preset = replace(preset, ltv_ceiling=wad(55), worst_carry=wad(57))
    vault = deploy_vault(evm, preset)
    carrying(vault, alice)
    assert vault.ratios() == pytest.approx((0.3, 0.6, 0.1801), abs=1e-3)
    vault.set_price("10.6")
    assert not vault.contract.is_due()
    vault.set_price("10.7")
    assert vault.contract.is_due()
