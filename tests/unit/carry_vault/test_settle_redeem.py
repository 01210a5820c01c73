"""`CarryVault.settle_redeem`."""

from __future__ import annotations

import pytest

from perpool.evm import Account, Evm, reverts
from tests.market import wad
from tests.pools import Balances
from tests.vaults import KEEP, NEUTRAL, Vault, deploy_vault

NO_CAP = 2**128 - 1


def carrying(vault: Vault, alice: Account, bob: Account) -> Vault:
    """Two thirds Alice's, one third Bob's, at the target."""
    vault.deposit(alice, vault.tokens(1_000))
    vault.deposit(bob, vault.tokens(500))
    vault.carry()
    return vault


def test_settle_redeem__nothing_asked(plain: Vault, alice: Account) -> None:
    with reverts("no request"):
        plain.contract.settle_redeem(alice)


def test_settle_redeem__at_a_price_observed_before_it(plain: Vault, alice: Account) -> None:
    plain.deposit(alice, plain.tokens(1))
    plain.request_redeem(alice, 10**6)
    with reverts("too soon"):
        plain.contract.settle_redeem(alice)


def test_settle_redeem__lending(vault: Vault, alice: Account, bob: Account) -> None:
    contract, market = vault.contract, vault.market
    vault.deposit(alice, vault.tokens(100))
    vault.deposit(bob, vault.tokens(50))
    shares = contract.balanceOf(alice)
    rest = contract.totalSupply() - shares
    vault.request_redeem(alice, shares)
    vault.observe()
    before = Balances([market.token], contract, market.forward)
    assets = contract.settle_redeem(alice, sender=bob)
    (event,) = vault.evm.last.events("RedeemSettled", contract)
    assert event.args.as_dict() == {
        "controller": alice.address,
        "shares": shares,
        "assets": assets,
        "usdt_in": 0,
        "total_supply": rest,
    }
    assert vault.tokens(100) - 2 <= assets <= vault.tokens(100)
    assert before.changes(contract) == (assets,)
    assert before.changes(market.forward) == (-assets,)
    assert contract.totalSupply() == rest
    assert contract.maxWithdraw(alice) == assets
    assert contract.pendingRedeemRequest(0, alice) == 0
    assert not contract.is_due()


def test_settle_redeem__lending__as_many_as_the_forward_pool_can_pay(
    plain: Vault, alice: Account
) -> None:
    market, contract = plain.market, plain.contract
    plain.deposit(alice, plain.tokens(100))
    market.short(margin=plain.usd(2_000), tokens=plain.tokens(60))
    shares = contract.balanceOf(alice)
    plain.request_redeem(alice, shares, usdt=100, min_tokens=plain.tokens(99))
    plain.observe()
    assets = contract.settle_redeem(alice)
    assert assets == pytest.approx(plain.tokens(40), rel=1e-6)
    left = contract.pendingRedeemRequest(0, alice)
    assert left == pytest.approx(shares * 0.6, rel=1e-6)
    # what was brought goes with the parts
    assert contract.claimable_usdt(alice) in (39, 40)
    with reverts("insufficient cash"):
        contract.settle_redeem(alice)
    market.lend("another", tokens=plain.tokens(100))
    assert contract.settle_redeem(alice) == pytest.approx(plain.tokens(60), rel=1e-5)
    assert contract.claimable_usdt(alice) == 100
    assert contract.totalSupply() == 0


def test_settle_redeem__carrying__everybody_elses_ratios_stay(
    vault: Vault, alice: Account, bob: Account
) -> None:
    carrying(vault, alice, bob)
    vault.set_price(11)
    vault.rebalance()
    contract = vault.contract
    ratios = vault.ratios()
    held, supply = vault.holdings(), contract.totalSupply()
    worth = contract.totalAssets() / supply
    shares = contract.balanceOf(bob)
    got = vault.redeem(bob, shares)
    after = vault.holdings()
    rest = 1 - shares / supply
    assert after.short == pytest.approx(held.short * rest, rel=1e-6)
    assert after.collateral == pytest.approx(held.collateral * rest, rel=1e-6)
    assert after.debt == pytest.approx(held.debt * rest, rel=1e-5)
    assert vault.ratios() == pytest.approx(ratios, rel=1e-5)
    # he pays the venue's fee, and what the swap cost
    assert 0.997 * shares * worth < got < shares * worth
    assert contract.totalAssets() / contract.totalSupply() >= worth * (1 - 1e-7)
    assert not contract.is_due()
    assert vault.strategy.set_apart() == (0, 0)


def test_settle_redeem__carrying__with_usdt_for_his_debt(
    plain: Vault, alice: Account, bob: Account
) -> None:
    """He keeps all his tokens, and what he brought too much."""
    carrying(plain, alice, bob)
    plain.set_price(12)
    plain.rebalance()
    contract = plain.contract
    held, supply = plain.holdings(), contract.totalSupply()
    shares = contract.balanceOf(bob)
    brought = plain.usd(10_000)
    plain.request_redeem(bob, shares, usdt=brought)
    plain.observe()
    assets = contract.settle_redeem(bob)
    assert assets == held.collateral * shares // supply
    (event,) = plain.evm.last.events("RedeemSettled", contract)
    # his debt less what his part of the short paid
    equity = held.equity * shares // supply
    owed = held.debt * shares // supply
    fee = plain.value(held.short * shares // supply) * 0.0005
    assert event.args.usdt_in == pytest.approx(owed - equity + fee, rel=1e-5)
    assert contract.claimable_usdt(bob) == brought - event.args.usdt_in
    before = Balances([plain.market.token, plain.market.usdt], bob)
    plain.claim_tokens(bob)
    assert before.changes(bob) == (assets, brought - event.args.usdt_in)


def test_settle_redeem__carrying__a_surplus_buys_tokens(neutral: Vault, alice: Account) -> None:
    """After a fall the short has earned more than is owed."""
    bob = neutral.evm.account("bob")
    carrying(neutral, alice, bob)
    neutral.set_price(8)
    held, supply = neutral.holdings(), neutral.contract.totalSupply()
    shares = neutral.contract.balanceOf(bob)
    assets = neutral.redeem(bob, shares)
    assert assets > held.collateral * shares // supply
    assert assets == pytest.approx(
        neutral.contract.convertToAssets(neutral.contract.balanceOf(alice)) / 2, rel=3e-3
    )
    assert neutral.contract.claimable_usdt(bob) == 0


def test_settle_redeem__carrying__a_surplus_that_buys_nothing_is_paid_as_it_is(
    neutral: Vault, alice: Account, bob: Account
) -> None:
    carrying(neutral, alice, bob)
    for price in (8, 6, 4):
        neutral.set_price(price)
        neutral.rebalance()
    neutral.market.factory.allow_swapper(neutral.market.swapper, False, sender=neutral.owner)
    held, supply = neutral.holdings(), neutral.contract.totalSupply()
    shares = neutral.contract.balanceOf(bob)
    neutral.request_redeem(bob, shares)
    neutral.observe()
    assert neutral.contract.settle_redeem(bob) == pytest.approx(
        held.collateral * shares // supply, rel=1e-9
    )
    surplus = (held.equity + held.cash - held.debt) * shares // supply
    assert neutral.contract.claimable_usdt(bob) == pytest.approx(surplus, rel=3e-3)
    assert neutral.contract.claimable_usdt(bob) < surplus


def test_settle_redeem__carrying__what_is_due_is_done_first(
    neutral: Vault, alice: Account, bob: Account
) -> None:
    """After a crash the debt stands over what may be borrowed until the short has paid it."""
    carrying(neutral, alice, bob)
    neutral.set_price(6)
    assert neutral.ratios()[2] > 0.8
    worth = neutral.contract.totalAssets() * 500 // 1_500
    neutral.request_redeem(bob, neutral.contract.balanceOf(bob))
    neutral.observe()
    assert neutral.contract.settle_redeem(bob) == pytest.approx(worth, rel=5e-3)
    assert neutral.ratios()[2] < 0.55


def test_settle_redeem__the_last_one_takes_everything(
    vault: Vault, alice: Account, bob: Account
) -> None:
    carrying(vault, alice, bob)
    vault.redeem(bob, vault.contract.balanceOf(bob))
    keeper = vault.evm.account("keeper")
    vault.contract.transfer(alice, vault.contract.balanceOf(keeper), sender=keeper)
    worth = vault.contract.totalAssets()
    got = vault.redeem(alice, vault.contract.balanceOf(alice))
    assert 0.997 * worth < got <= worth
    assert vault.contract.totalSupply() == 0
    held = vault.holdings()
    # the debt that would have been too small for the pool is paid with his
    assert (held.short, held.debt, held.equity) == (0, 0, 0)
    assert vault.contract.totalAssets() <= 10 ** max(vault.market.token.decimals() - 6, 0)


def test_settle_redeem__a_debt_too_small_to_be_left(plain: Vault, alice: Account) -> None:
    """What is left would owe less than the pool's 10 USDT: it is paid out of what is left."""
    bob = plain.evm.account("bob")
    plain.deposit(alice, plain.tokens(1_000))
    plain.deposit(bob, plain.tokens(5))
    plain.carry()
    assert plain.holdings().debt > plain.usd(1_400)
    rest = plain.contract.convertToAssets(plain.contract.balanceOf(bob))
    plain.redeem(alice, plain.contract.balanceOf(alice))
    held = plain.holdings()
    assert held.debt == 0
    assert held.short == pytest.approx(plain.tokens(1.5), rel=1e-2)
    # the rest, and tips, is worth what it was
    assert plain.contract.convertToAssets(plain.contract.balanceOf(bob)) == pytest.approx(
        rest, rel=5e-3
    )


@pytest.mark.parametrize("lent", [1.4, 1.6])
def test_settle_redeem__carrying__dust_that_is_lent_keeps_nobody(
    plain: Vault, alice: Account, bob: Account, lent: float
) -> None:
    """What the forward pool cannot pay of a thousandth he leaves behind; for more he waits."""
    market, contract = plain.market, plain.contract
    plain.deposit(alice, plain.tokens(1_000))
    plain.deposit(bob, plain.tokens(500))
    market.short(margin=plain.usd(1_000), tokens=plain.tokens(lent))
    plain.carry()
    assert plain.holdings().lent == pytest.approx(plain.tokens(lent), rel=1e-3)
    plain.request_redeem(bob, contract.balanceOf(bob))
    plain.observe()
    if lent > 1.5:
        with reverts("insufficient cash"):
            contract.settle_redeem(bob)
    else:
        assert contract.settle_redeem(bob) > plain.tokens(490)
        assert plain.holdings().lent == pytest.approx(plain.tokens(lent), rel=1e-3)


def test_settle_redeem__too_few_tokens(plain: Vault, alice: Account, bob: Account) -> None:
    carrying(plain, alice, bob)
    shares = plain.contract.balanceOf(bob)
    with plain.evm.anchor():
        assets = plain.redeem(bob, shares)
    plain.request_redeem(bob, shares, min_tokens=assets + plain.tokens(1))
    plain.observe()
    with reverts("too few tokens"):
        plain.contract.settle_redeem(bob)
    assert plain.contract.pendingRedeemRequest(0, bob) == shares
    plain.evm.warp(86_400)
    plain.contract.cancel_redeem(bob, bob, sender=bob)
    plain.wait(1)
    assert plain.redeem(bob, shares, min_tokens=assets - plain.tokens("0.1")) > 0


def test_settle_redeem__refused_by_the_venue_it_waits(
    plain: Vault, alice: Account, bob: Account
) -> None:
    carrying(plain, alice, bob)
    plain.request_redeem(bob, plain.contract.balanceOf(bob))
    plain.observe()
    plain.venue.set_refusing(True, False)
    with reverts("order refused"):
        plain.contract.settle_redeem(bob)
    plain.venue.set_refusing(False, False)
    assert plain.contract.settle_redeem(bob) > 0


def test_settle_redeem__takes_no_room_at_the_venue(
    plain: Vault, alice: Account, bob: Account
) -> None:
    carrying(plain, alice, bob)
    plain.venue.set_room(0, 0)
    plain.request_redeem(bob, plain.contract.balanceOf(bob))
    plain.observe()
    assert plain.contract.settle_redeem(bob) > plain.tokens(490)
    assert plain.contract.pendingRedeemRequest(0, bob) == 0


def test_settle_redeem__the_products_venue_has_no_free_liquidity(
    evm: Evm, alice: Account, bob: Account
) -> None:
    vault = deploy_vault(evm, real_venue=True)
    carrying(vault, alice, bob)
    trader = vault.give("trader", usdt=vault.usd(20_000_000))
    vault.market.usdt.approve(vault.venue, NO_CAP, sender=trader)
    size = vault.venue.room()[0] * 999 // 1_000
    expiry = vault.evm.timestamp + 1_000
    vault.venue.request(-size, vault.usd(15_000_000), 0, expiry, sender=trader)
    # shorts receive four times as much, and the venue keeps a horizon of it
    vault.set_funding(200)
    assert vault.venue.room() == (0, 0)
    assert vault.redeem(bob, vault.contract.balanceOf(bob)) > vault.tokens(490)
    assert vault.holdings().short == pytest.approx(vault.tokens(300), rel=1e-3)


def test_settle_redeem__is_not_held_to_the_largest_trade(
    plain: Vault, alice: Account, bob: Account
) -> None:
    carrying(plain, alice, bob)
    plain.contract.set_limits(0, 1, sender=plain.owner)
    plain.contract.set_paused(True, sender=plain.market.guardian)
    assert plain.redeem(bob, plain.contract.balanceOf(bob)) > plain.tokens(490)


def test_settle_redeem__no_market_to_sell_on(plain: Vault, alice: Account, bob: Account) -> None:
    """Without USDT he waits; with it he needs no market."""
    carrying(plain, alice, bob)
    plain.set_price(12)
    plain.rebalance()
    plain.market.factory.allow_swapper(plain.market.swapper, False, sender=plain.owner)
    shares = plain.contract.balanceOf(bob)
    plain.request_redeem(bob, shares)
    plain.observe()
    with reverts("slippage"):
        plain.contract.settle_redeem(bob)
    plain.evm.warp(86_400)
    plain.contract.cancel_redeem(bob, bob, sender=bob)
    plain.wait(1)
    assert plain.redeem(bob, shares, usdt=plain.usd(1_000)) > plain.tokens(490)


# --- a venue that takes its time


def ordered(vault: Vault, alice: Account, bob: Account, *, price: float = 10, **asked: int) -> int:
    """Bob's redemption at a late venue, once the price has risen. Returns his shares."""
    carrying(vault, alice, bob)
    if price != 10:
        vault.set_price(price)
        vault.rebalance()
    vault.venue.set_late(True)
    shares = int(vault.contract.balanceOf(bob))
    vault.request_redeem(bob, shares, **asked)
    vault.observe()
    vault.venue.set_stalled(True)
    assert vault.contract.settle_redeem(bob) == 0
    return shares


def test_settle_redeem__late__while_it_waits(plain: Vault, alice: Account, bob: Account) -> None:
    contract = plain.contract
    shares = ordered(plain, alice, bob)
    supply = contract.totalSupply()
    assert plain.position().pending != 0
    assert contract.settle_redeem(bob) == 0
    assert not contract.is_due()
    assert not plain.rebalance()
    assert contract.totalSupply() == supply
    assert contract.pendingRedeemRequest(0, bob) == shares
    assert plain.strategy.set_apart() == (0, 0)


@pytest.mark.parametrize("who", ["settle_redeem", "rebalance", "the venue's settle"])
def test_settle_redeem__late__confirmed(
    plain: Vault, alice: Account, bob: Account, who: str
) -> None:
    contract = plain.contract
    shares = ordered(plain, alice, bob)
    supply, held = contract.totalSupply(), plain.holdings()
    worth = contract.totalAssets() * shares / supply
    plain.venue.set_stalled(False)
    if who == "rebalance":
        assert not plain.rebalance()
        # his part is nobody else's now
        assert contract.totalSupply() == supply - shares
        collateral, debt_shares = plain.strategy.set_apart()
        assert collateral == held.collateral * shares // supply
        assert debt_shares > 0
        assert plain.holdings().collateral == held.collateral - collateral
        assert contract.pendingRedeemRequest(0, bob) == shares
        assert not contract.is_due()
    elif who == "the venue's settle":
        plain.venue.settle(plain.position().pending)
    assets = contract.settle_redeem(bob, sender=plain.evm.account("anybody"))
    assert 0.997 * worth < assets < worth
    assert contract.totalSupply() == supply - shares
    assert plain.strategy.set_apart() == (0, 0)
    assert contract.maxRedeem(bob) == shares
    with reverts("no request"):
        contract.settle_redeem(bob)


def test_settle_redeem__late__failed(plain: Vault, alice: Account, bob: Account) -> None:
    contract = plain.contract
    shares = ordered(plain, alice, bob)
    held = plain.holdings()
    plain.venue.set_stalled(False)
    plain.venue.set_failing(True)
    with plain.evm.anchor():
        assert not plain.rebalance()
        assert plain.holdings().short == held.short
        assert contract.pendingRedeemRequest(0, bob) == shares
        assert plain.strategy.set_apart() == (0, 0)
    # a failed order is no reason to keep him, nor is a price that nobody knows
    plain.evm.warp(86_400)
    with reverts("stale price"):
        contract.totalAssets()
    assert contract.cancel_redeem(bob, bob, sender=bob) == shares
    assert contract.pendingRedeemRequest(0, bob) == 0
    assert contract.balanceOf(bob) == shares


def test_settle_redeem__late__failed_and_ordered_again(
    plain: Vault, alice: Account, bob: Account
) -> None:
    shares = ordered(plain, alice, bob)
    plain.venue.set_stalled(False)
    plain.venue.set_failing(True)
    plain.rebalance()
    plain.venue.set_failing(False)
    assert plain.contract.settle_redeem(bob) > 0
    assert plain.contract.maxRedeem(bob) == shares


def test_settle_redeem__late__a_second_half_that_cannot_be_done_stops_nobody(
    plain: Vault, alice: Account, bob: Account
) -> None:
    """Bob's tokens cannot be sold; the vault goes on, and so do others' redemptions."""
    contract, market = plain.contract, plain.market
    ordered(plain, alice, bob)
    plain.venue.set_stalled(False)
    plain.rebalance()
    market.factory.allow_swapper(market.swapper, False, sender=plain.owner)
    plain.set_price("12.2")
    apart = plain.strategy.set_apart()
    with reverts("slippage"):
        contract.settle_redeem(bob)
    assert contract.is_due()
    assert plain.rebalance()
    plain.rebalance()
    assert plain.ratios()[1] == pytest.approx(0.5, abs=2e-3)
    assert plain.strategy.set_apart() == apart
    plain.request_redeem(alice, contract.balanceOf(alice) // 2, usdt=plain.usd(2_000))
    plain.observe()
    assert contract.settle_redeem(alice) > plain.tokens(490)
    assert plain.strategy.set_apart() == apart
    market.factory.allow_swapper(market.swapper, True, sender=plain.owner)
    assert contract.settle_redeem(bob) > plain.tokens(400)
    assert plain.strategy.set_apart() == (0, 0)


def test_settle_redeem__late__liquidated_between_the_halves__all_parts_alike(
    plain: Vault, alice: Account, bob: Account
) -> None:
    """All of the loan is set apart, for two, and the pool liquidates it."""
    contract, pool = plain.contract, plain.market.reverse
    shares = {bob: ordered(plain, alice, bob)}
    plain.venue.set_stalled(False)
    plain.rebalance()
    shares[alice] = contract.totalSupply()
    keeper = plain.evm.account("keeper")
    contract.transfer(alice, contract.balanceOf(keeper), sender=keeper)
    plain.request_redeem(alice, shares[alice])
    plain.observe()
    plain.venue.set_stalled(True)
    contract.settle_redeem(alice)
    plain.venue.set_stalled(False)
    plain.rebalance()
    collateral, debt_shares = plain.strategy.set_apart()
    assert pool.position(plain.strategy)[:2] == (collateral, debt_shares)

    plain.set_price("1.8")
    liquidator = plain.market.give(plain.evm.account("liquidator"), usdt=plain.usd(10_000))
    pool.liquidate(plain.strategy, 2**256 - 1, liquidator, b"", sender=liquidator)
    assert 0 < pool.position(plain.strategy)[1] < debt_shares // 2
    plain.set_price(4)
    got = {who: contract.settle_redeem(who) / shares[who] for who in (bob, alice)}
    assert got[bob] == pytest.approx(got[alice], rel=5e-3)
    assert pool.debt_of(plain.strategy) == 0
    assert plain.strategy.set_apart() == (0, 0)


@pytest.mark.parametrize("percent", [0.9, -0.9, -8])
def test_settle_redeem__late__the_fill_is_his(
    plain: Vault, alice: Account, bob: Account, percent: float
) -> None:
    """Filled worse or better than expected: those who stay have what they had.

    What has not come out of the position for him he owes less.
    """
    contract = plain.contract
    ordered(plain, alice, bob)
    supply, shares = contract.totalSupply(), contract.pendingRedeemRequest(0, bob)
    worth = contract.totalAssets()
    plain.mark(percent)
    plain.venue.set_stalled(False)
    plain.rebalance()
    assert contract.totalAssets() == pytest.approx(worth * (supply - shares) / supply, rel=1e-7)
    plain.mark(0)
    assets = contract.settle_redeem(bob)
    loss = plain.tokens(150) * (percent / 100 + 0.0005)
    assert assets == pytest.approx(worth * shares / supply - loss, rel=5e-4)


@pytest.mark.parametrize("usdt", [300, -300])
@pytest.mark.parametrize("when", ["before the fill", "after it"])
def test_settle_redeem__late__funding_until_then_is_everybodys(
    plain: Vault, alice: Account, bob: Account, usdt: int, when: str
) -> None:
    """Not his alone, who asked for an order to be out while it accrued."""
    contract = plain.contract
    ordered(plain, alice, bob)
    supply, shares = contract.totalSupply(), contract.pendingRedeemRequest(0, bob)
    worth = contract.totalAssets()
    plain.venue.set_stalled(False)
    if when == "after it":
        plain.venue.settle(plain.position().pending)
    plain.venue.pay_funding(plain.strategy, plain.usd(usdt) if usdt > 0 else -plain.usd(-usdt))
    plain.rebalance()
    paid = plain.tokens(usdt / 10) if usdt > 0 else -plain.tokens(-usdt / 10)
    each = (worth + paid) / supply
    assert contract.totalAssets() == pytest.approx(each * (supply - shares), rel=1e-7)
    fee = plain.tokens(150) * 0.0005
    assert contract.settle_redeem(bob) == pytest.approx(each * shares - fee, rel=1e-3)


def test_settle_redeem__late__the_rise_after_the_fill_is_his(
    plain: Vault, alice: Account, bob: Account
) -> None:
    """His part is not hedged any more, theirs is."""
    contract = plain.contract
    ordered(plain, alice, bob)
    supply, shares = contract.totalSupply(), contract.pendingRedeemRequest(0, bob)
    plain.venue.set_stalled(False)
    pending = plain.position().pending
    with plain.evm.anchor():
        plain.venue.set_stalled(True)
        plain.set_price(11)
        hedged = contract.totalAssets() * (supply - shares) / supply
    plain.venue.settle(pending)
    plain.set_price(11)
    plain.venue.set_stalled(True)
    plain.rebalance()
    assert contract.totalAssets() == pytest.approx(hedged, rel=1e-7)


def test_settle_redeem__late__what_others_bring_for_him(
    plain: Vault, alice: Account, bob: Account
) -> None:
    """In either half: his tokens cannot be sold, and need not be."""
    contract, market = plain.contract, plain.market
    shares = ordered(plain, alice, bob, price=12, usdt=plain.usd(100))
    friend = plain.give("friend", usdt=plain.usd(1_000))
    contract.bring_usdt(bob, plain.usd(1), sender=friend)
    plain.venue.set_stalled(False)
    plain.rebalance()
    market.factory.allow_swapper(market.swapper, False, sender=plain.owner)
    with reverts("slippage"):
        contract.settle_redeem(bob)
    before = Balances([market.usdt], friend, contract)
    contract.bring_usdt(bob, plain.usd(900), sender=friend)
    (event,) = plain.evm.last.events("UsdtBrought", contract)
    assert event.args.as_dict() == {
        "caller": friend.address,
        "controller": bob.address,
        "usdt_amount": plain.usd(900),
    }
    assert before.changes(friend) == (-plain.usd(900),)
    assert before.changes(contract) == (plain.usd(900),)
    held = plain.strategy.set_apart()[0]
    assert contract.settle_redeem(bob) == held
    (event,) = plain.evm.last.events("RedeemSettled", contract)
    assert event.args.shares == shares
    assert contract.claimable_usdt(bob) == plain.usd(1_001) - event.args.usdt_in > 0
    assert plain.strategy.set_apart() == (0, 0)


def test_bring_usdt__nothing_asked(plain: Vault, alice: Account) -> None:
    plain.deposit(alice, plain.tokens(1))
    with reverts("no request"):
        plain.contract.bring_usdt(alice, 1)


def test_settle_redeem__late__a_part_that_owes_more_than_it_has(
    plain: Vault, alice: Account, bob: Account
) -> None:
    """Nobody finished it in a crash: it gets nothing, and what it lacks is the others' loss."""
    contract = plain.contract
    ordered(plain, alice, bob, price=12)
    plain.venue.set_stalled(False)
    plain.venue.set_late(False)
    before = Balances([plain.market.usdt], plain.strategy)
    plain.rebalance()
    collateral, debt_shares = plain.strategy.set_apart()
    owed = plain.market.reverse.debt_of(plain.strategy) * debt_shares
    owed //= plain.market.reverse.position(plain.strategy)[1]
    # less what has come out of the position for him
    owed -= before.changes(plain.strategy)[0]
    for price in (8, 5, 3, 2, 1, "0.4"):
        plain.set_price(price)
        plain.rebalance()
    assert plain.value(collateral) < owed
    worth, held = contract.totalAssets(), plain.holdings()
    assert contract.settle_redeem(bob) == 0
    lost = owed / 0.4 * 10**12 - collateral
    assert contract.totalAssets() == pytest.approx(worth - lost, rel=5e-3)
    assert plain.holdings().debt == pytest.approx(held.debt, abs=2)
    assert plain.strategy.set_apart() == (0, 0)
    assert contract.maxWithdraw(bob) == contract.claimable_usdt(bob) == 0


def test_settle_redeem__late__the_least_tokens_once_it_is_set_apart(
    plain: Vault, alice: Account, bob: Account
) -> None:
    """For an hour nobody but he, or whom he trusts, may take fewer for him."""
    contract = plain.contract
    anybody, trusted = plain.evm.account("anybody"), plain.evm.account("trusted")
    least = plain.tokens(472)
    shares = ordered(plain, alice, bob, price=12, usdt=7, min_tokens=least)
    contract.setOperator(trusted, True, sender=bob)
    waits = contract.redemption(bob)
    assert (waits.shares, waits.usdt, waits.min_tokens) == (shares, 7, least)
    assert (waits.apart_shares, waits.apart_at, waits.apart_usdt) == (0, 0, 0)
    plain.venue.set_stalled(False)
    plain.venue.settle(plain.position().pending)
    plain.set_price(8)
    # no hour would begin if the first call of a stranger undid that it is set apart
    assert contract.settle_redeem(bob, sender=anybody) == 0
    apart = contract.redemption(bob)
    assert (apart.shares, apart.usdt, apart.min_tokens) == (0, 0, 0)
    assert (apart.apart_shares, apart.apart_usdt, apart.apart_min_tokens) == (shares, 7, least)
    assert apart.apart_at == plain.evm.timestamp
    with reverts("too few tokens"):
        contract.settle_redeem(bob, sender=anybody)
    for who in (bob, trusted):
        with plain.evm.anchor():
            assert 0 < contract.settle_redeem(bob, sender=who) < least
    plain.wait(3_000)
    plain.evm.warp(apart.apart_at + 3_599 - plain.evm.timestamp)
    with reverts("too few tokens"):
        contract.settle_redeem(bob, sender=anybody)
    plain.evm.warp(1)
    assert 0 < contract.settle_redeem(bob, sender=anybody) < least


def test_settle_redeem__late__enough_tokens_at_once(
    plain: Vault, alice: Account, bob: Account
) -> None:
    """Whoever names no least, and himself, needs no second call."""
    least = plain.tokens(400)
    ordered(plain, alice, bob, min_tokens=least)
    plain.venue.set_stalled(False)
    with plain.evm.anchor():
        assert plain.contract.settle_redeem(bob, sender=bob) > least
    assert plain.contract.settle_redeem(bob) == 0
    assert plain.contract.settle_redeem(bob) > least


@pytest.mark.parametrize("price", [9, 6.8, 4])
def test_settle_redeem__late__a_gain_beyond_his_debt(
    plain: Vault, alice: Account, bob: Account, price: float
) -> None:
    """After a fall little or nothing is owed: what is his then comes in tokens."""
    contract = plain.contract
    carrying(plain, alice, bob)
    for step in (9, 8, 7.5, 6.8, 6, 5, 4):
        if step >= price:
            plain.set_price(step)
            plain.rebalance()
    shares = int(contract.balanceOf(bob))
    plain.venue.set_late(True)
    plain.request_redeem(bob, shares)
    plain.observe()
    plain.venue.set_stalled(True)
    assert contract.settle_redeem(bob) == 0
    closed = plain.holdings().short * shares // contract.totalSupply()
    worth, supply = contract.totalAssets(), contract.totalSupply()
    plain.mark(-8)
    plain.venue.set_stalled(False)
    plain.venue.settle(plain.position().pending)
    plain.mark(0)
    assets = contract.settle_redeem(bob)
    assert contract.totalAssets() == pytest.approx(worth * (supply - shares) / supply, rel=1e-6)
    gain = closed * (0.08 - 0.92 * 0.0005)
    assert assets == pytest.approx(worth * shares / supply + gain, rel=5e-4)


def test_settle_redeem__late__too_few_tokens_to_expect(
    plain: Vault, alice: Account, bob: Account
) -> None:
    carrying(plain, alice, bob)
    plain.venue.set_late(True)
    shares = plain.contract.balanceOf(bob)
    plain.request_redeem(bob, shares, min_tokens=plain.tokens(501))
    plain.observe()
    with reverts("too few tokens"):
        plain.contract.settle_redeem(bob)
    assert plain.position().pending == 0


@pytest.mark.parametrize("preset", [KEEP, NEUTRAL], ids=["keep", "neutral"])
def test_settle_redeem__late__at_the_products_venue(
    evm: Evm, alice: Account, bob: Account, preset: object
) -> None:
    vault = deploy_vault(evm, preset, real_venue=True, delay_blocks=2)  # type: ignore[arg-type]
    contract = vault.contract
    vault.deposit(alice, vault.tokens(1_000))
    vault.deposit(bob, vault.tokens(500))
    vault.set_funding(50)
    for _ in range(6):
        vault.rebalance()
        vault.wait(12)
    assert not contract.is_due()
    shares = contract.balanceOf(bob)
    worth = contract.totalAssets() * shares / contract.totalSupply()
    vault.request_redeem(bob, shares)
    vault.observe()
    assert contract.settle_redeem(bob) == 0
    vault.evm.mine(2)
    vault.wait(12)
    assets = contract.settle_redeem(bob)
    assert 0.996 * worth < assets < worth
    assert not contract.is_due()
    assert vault.ratios()[1] == pytest.approx(0.5, abs=wad(1) / wad(100))
