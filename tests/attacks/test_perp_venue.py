"""Attacks on the perp venue: its prices, its liquidity, its funding, and who closes whom.

Gains are in USDT of all that the attacker has, over what he began with.
"""

from __future__ import annotations

from typing import Any

import pytest

from perpool.build import Artifact, compile_contract, compile_patched
from perpool.evm import Account, Contract, Evm, Reverted, reverts
from tests.market import wad
from tests.venues import DAY, Parameters, Venue, deploy_venue

MODULES = "contracts/modules/perp"
WITHOUT = {
    "later price": (f"{MODULES}/requests.vy", " or terms._observed_at() <= asked.made_at", ""),
    "entering price": (
        f"{MODULES}/liquidity.vy",
        "state.liquidity + convert(max(-self._unrealised(state), 0), uint256)",
        "state.liquidity",
    ),
    "leaving price": (
        f"{MODULES}/liquidity.vy",
        "gains: int256 = max(self._unrealised(state), 0)",
        "gains: int256 = 0",
    ),
    "virtual shares": (f"{MODULES}/liquidity.vy", "10**min(6, 24 - terms._usdt_decimals())", "1"),
    "horizon of lenders": (
        f"{MODULES}/liquidity.vy",
        "usdt_amount + funding._horizon(state, state.mark_e36)",
        "usdt_amount",
    ),
    "largest gain": (
        f"{MODULES}/positions.vy",
        "return min(profit, convert(position.gain_left, int256))",
        "return profit",
    ),
}


def weakened(missing: str = "") -> Artifact:
    """The venue without the named defence."""
    if not missing:
        return compile_contract("PerpVenue")
    path, good, bad = WITHOUT[missing]
    return compile_patched("PerpVenue", {path: [(good, bad)]})


def venue_without(evm: Evm, missing: str = "", lent: float = 100_000, **changes: Any) -> Venue:
    venue = deploy_venue(evm, Parameters(**changes), artifact=weakened(missing))
    if lent:
        venue.lend(venue.usd(lent))
    return venue


def wealth(venue: Venue, *accounts: Account) -> float:
    """USDT in hand, in credit, in positions at mark, and in liquidity to who leaves now."""
    total = 0
    for account in accounts:
        total += venue.usdt.balanceOf(account) + venue.position(account)["credit"]
        total += venue.position(account)["escrow"] + max(venue.contract.equity(account), 0)
        total += venue.contract.liquidity_value(venue.contract.shares_of(account))
    return total / 10**venue.usdt_decimals


# --- a price that lags


def trade_ahead(venue: Venue, percent: float) -> float:
    """Gain of who buys 1,000 tokens before the oracle follows the market up, and sells after."""
    attacker = venue.give("attacker", venue.usd(2_000))
    delay = venue.parameters.delay_blocks
    before = wealth(venue, attacker)
    for size, answer in ((1_000, 10 * (1 + percent / 100)), (-1_000, 10 * (1 + percent / 100))):
        margin = venue.usd(2_000) if size > 0 else 0
        number = venue.request(attacker, venue.tokens(size), margin)
        if delay:
            venue.evm.mine(delay)
            venue.contract.settle(number)
        venue.set_price(round(answer, 6))
        venue.contract.settle(number)
    return wealth(venue, attacker) - before


def test_trade_ahead__a_move_smaller_than_both_fees(evm: Evm) -> None:
    assert trade_ahead(venue_without(evm), 0.09) < 0


def test_trade_ahead__a_larger_one_pays_at_once(evm: Evm) -> None:
    """What the venue's documentation says of it: this is not held off without a delay."""
    assert trade_ahead(venue_without(evm), 1) == pytest.approx(90, abs=1)


def test_trade_ahead__not_where_the_price_is_later(evm: Evm) -> None:
    assert trade_ahead(venue_without(evm, delay_blocks=1), 1) < 0
    assert trade_ahead(venue_without(evm, "later price", delay_blocks=1), 1) > 80


# --- liquidity


def test_liquidity__first_shares_cannot_be_inflated(evm: Evm) -> None:
    """Gifts count for nothing; fees do, and virtual shares take what a rounding could."""
    losses = {}
    for missing in ("", "virtual shares"):
        venue = venue_without(evm, missing, lent=0, fee_to_insurance=0, fee=wad(5))
        attacker = venue.give("attacker", venue.usd(100_000))
        venue.contract.add_liquidity(1, attacker, sender=attacker)
        venue.usdt.transfer(venue.contract, venue.usd(1_000), sender=attacker)
        assert venue.state()["liquidity"] == 1
        # lends, pays himself fees and leaves with all shares but one
        venue.contract.add_liquidity(venue.usd(20_000), attacker, sender=attacker)
        for _ in range(3):
            venue.request(attacker, -venue.tokens(1_000), venue.usd(5_000))
            venue.request(attacker, venue.tokens(1_000))
            venue.contract.withdraw(attacker, sender=attacker)
        shares = venue.contract.shares_of(attacker)
        venue.contract.remove_liquidity(shares - 1, attacker, sender=attacker)
        victim = venue.lend(venue.usd(1_000), "victim")
        losses[missing] = 1_000 - wealth(venue, victim)
    assert losses[""] < 0.001
    assert losses[""] <= losses["virtual shares"]


def enter_before_a_loss(venue: Venue) -> float:
    """Gain of who lends just before a losing position is closed, and leaves after."""
    trader = venue.trade("trader", -venue.tokens(1_000), venue.usd(4_000))
    venue.set_price(12)
    attacker = venue.give("attacker", venue.usd(100_000))
    before = wealth(venue, attacker)
    with venue.evm.same_block():
        shares = venue.contract.add_liquidity(venue.usd(100_000), attacker, sender=attacker)
        venue.request(trader, venue.tokens(1_000))
        venue.contract.remove_liquidity(shares, attacker, sender=attacker)
    return wealth(venue, attacker) - before


def test_liquidity__entering_before_a_loss(evm: Evm) -> None:
    # half of the fee of 6 USDT is his; none of the 2,000
    assert enter_before_a_loss(venue_without(evm)) < 3
    assert enter_before_a_loss(venue_without(evm, "entering price")) > 900


def leave_before_a_profit(venue: Venue) -> float:
    """Loss of a lender whose fellow leaves before a winning position is closed."""
    fellow = venue.lend(venue.usd(100_000), "fellow")
    trader = venue.trade("trader", -venue.tokens(1_000), venue.usd(4_000))
    lender = venue.evm.account("lender")
    before = wealth(venue, lender)
    venue.set_price(8)
    with venue.evm.same_block():
        shares = venue.contract.shares_of(fellow)
        venue.contract.remove_liquidity(shares, fellow, sender=fellow)
        venue.request(trader, venue.tokens(1_000))
    return before - wealth(venue, lender)


def test_liquidity__leaving_before_a_profit(evm: Evm) -> None:
    assert leave_before_a_profit(venue_without(evm)) == pytest.approx(1_000, abs=10)
    assert leave_before_a_profit(venue_without(evm, "leaving price")) > 1_900


# --- funding and deleveraging


def test_funding__from_oneself(evm: Evm) -> None:
    """Long and short at once one gets from oneself what one pays, less the fees."""
    venue = venue_without(evm)
    accounts = [venue.give(name, venue.usd(5_000)) for name in ("attacker", "accomplice")]
    before = wealth(venue, *accounts)
    for account, side in zip(accounts, (1, -1), strict=True):
        venue.request(account, side * venue.tokens(1_000), venue.usd(5_000))
    venue.fund(1_000)
    venue.wait(DAY)
    for account, side in zip(accounts, (-1, 1), strict=True):
        venue.request(account, side * venue.tokens(1_000))
    assert -21 < wealth(venue, *accounts) - before < -19


def test_funding__a_round_known_before(evm: Evm) -> None:
    """Who opens right before a round of a high rate gets nothing of the time before."""
    venue = venue_without(evm)
    venue.wait(DAY)
    attacker = venue.give("attacker", venue.usd(5_000))
    before = wealth(venue, attacker)
    with evm.same_block():
        venue.request(attacker, -venue.tokens(1_000), venue.usd(5_000))
        venue.funding.set(venue.token, wad(10_000))
        venue.contract.settle_funding(attacker)
        venue.request(attacker, venue.tokens(1_000))
    assert wealth(venue, attacker) - before == pytest.approx(-10, abs=0.1)


def take_all_out(venue: Venue) -> Account:
    """A lender takes all that is free beside a short that receives funding; the short."""
    victim = venue.trade("victim", -venue.tokens(1_000), venue.usd(5_000))
    venue.fund(365)
    lender = venue.evm.account("lender")
    state, free = venue.state(), venue.free()
    shares = (free - venue.usd(1)) * (state["shares"] + 10**6) // (state["liquidity"] + 1)
    venue.contract.remove_liquidity(shares, lender, sender=lender)
    return victim


def test_auto_deleverage__by_taking_liquidity_out(evm: Evm) -> None:
    with reverts("insufficient liquidity"):
        take_all_out(venue_without(evm))
    venue = venue_without(evm, "horizon of lenders")
    victim = take_all_out(venue)
    assert venue.contract.auto_deleverage(victim, venue.tokens(1_000)) > 0


# --- liquidation


def test_liquidate__oneself(evm: Evm) -> None:
    """The reward comes out of the same pocket, and a bad debt gains nothing but its loss."""
    venue = venue_without(evm)
    for price in ("11.6", "13"):
        venue.set_price(10)
        accounts = [venue.give(name, venue.usd(2_000)) for name in ("attacker", "accomplice")]
        before = wealth(venue, *accounts)
        venue.request(accounts[0], -venue.tokens(1_000), venue.usd(2_000))
        venue.set_price(price)
        at_mark = wealth(venue, *accounts)
        venue.contract.liquidate(*accounts, sender=accounts[1])
        assert wealth(venue, *accounts) <= at_mark < before


def test_both_sides__gap_is_paid_by_the_liquidity_pool_within_what_it_has(evm: Evm) -> None:
    """Long and short of one person, one of them under water: the other is paid all the same.

    A gap beyond the margin is a loss of the insurance fund and the liquidity pool. It is as large
    as they locked, no larger, and everybody else can still be paid.
    """
    venue = venue_without(evm, lent=30_000)
    longer = venue.trade("attacker", venue.tokens(1_000), venue.usd(1_100))
    shorter = venue.trade("accomplice", -venue.tokens(1_000), venue.usd(1_100))
    other = venue.trade("other", -venue.tokens(500), venue.usd(2_000))
    venue.set_price(5)
    venue.contract.liquidate(longer, longer, sender=longer)
    for account, size in ((shorter, 1_000), (other, 500)):
        venue.request(account, venue.tokens(size))
    for account in (longer, shorter, other):
        venue.contract.withdraw(account, sender=account)
    state = venue.state()
    assert state["credits"] == state["margins"] == 0
    assert venue.usdt.balanceOf(venue.contract) == state["liquidity"] + state["insurance"]
    assert venue.usdt.balanceOf(shorter) > venue.usd(6_000)


def test_longs__cannot_gain_more_than_is_locked(evm: Evm) -> None:
    """Without the end of their profit the price would take from who had been promised his."""
    for missing in ("", "largest gain"):
        venue = venue_without(evm, missing, lent=11_000)
        longer = venue.trade("attacker", venue.tokens(1_000), venue.usd(2_000))
        venue.set_price(50)
        equity = venue.contract.equity(longer) / 10**6
        assert (equity <= 12_000) == (missing == "")


# --- callbacks, and receivers that refuse


@pytest.fixture
def hooked(evm: Evm) -> tuple[Venue, Contract]:
    """A venue whose USDT calls a puppet, which has a position in it."""
    usdt, puppet = evm.deploy("HookToken", 6), evm.deploy("Puppet")
    venue = deploy_venue(evm, usdt=usdt)
    venue.lend(venue.usd(100_000))
    usdt.mint(puppet, venue.usd(5_000))
    size, margin = -venue.tokens(1_000), venue.usd(2_000)
    puppet.run(
        [
            (usdt, usdt.approve.encode(venue.contract, 2**256 - 1), True),
            (venue.contract, venue.contract.request.encode(size, margin, 0, 2**256 - 1), True),
        ]
    )
    usdt.set_hook_of(puppet, puppet)
    return venue, puppet


@pytest.mark.parametrize("moment", ["before_transfer", "after_transfer"])
def test_reentrancy__every_entry_is_locked(hooked: tuple[Venue, Contract], moment: str) -> None:
    venue, puppet = hooked
    contract = venue.contract
    puppet.run([(contract, contract.request.encode(0, -venue.usd(500), 0, 2**256 - 1), True)])
    inner = [
        contract.withdraw.encode(puppet),
        contract.request.encode(venue.tokens(1_000), 0, 2**256 - 1, 2**256 - 1),
        contract.settle.encode(1),
        contract.settle_funding.encode(puppet),
        contract.add_liquidity.encode(10**6, puppet),
        contract.remove_liquidity.encode(1, puppet),
        contract.liquidate.encode(puppet, puppet),
        contract.equity.encode(puppet),
    ]
    puppet.prepare(moment, [(contract, call, False) for call in inner])
    before = venue.usdt.balanceOf(puppet)
    puppet.run([(contract, contract.withdraw.encode(puppet), True)])
    successes, _ = puppet.outcome()
    assert successes == [False] * len(inner) + [True]
    assert venue.usdt.balanceOf(puppet) == before + venue.usd(500)


def test_refusing_receiver__stops_nobody_else(hooked: tuple[Venue, Contract]) -> None:
    """USDT may blacklist anybody; his liquidation and the keeper's reward do not depend on him."""
    venue, puppet = hooked
    keeper = venue.evm.account("keeper")
    venue.set_price("11.5")
    # whatever the token does with him reverts
    issuer = venue.evm.deploy("Puppet")
    refused = venue.usdt.transferFrom.encode(keeper, issuer, 1)
    issuer.prepare("before_transfer", [(venue.usdt, refused, True)])
    venue.usdt.set_hook_of(puppet, issuer)
    reward = venue.contract.liquidate(puppet, keeper, sender=keeper)
    assert venue.contract.withdraw(keeper, sender=keeper) == reward > 0
    assert venue.contract.position(puppet).credit > 0
    with reverts("insufficient allowance"):
        puppet.run([(venue.contract, venue.contract.withdraw.encode(puppet), True)])


def test_starving_the_oracle_of_gas__does_not_pass_for_a_stale_price(evm: Evm) -> None:
    """Whatever gas a call gets, it accrues at the mark of now or reverts."""
    venue = venue_without(evm)
    shorter = venue.trade("shorter", -venue.tokens(1_000), venue.usd(2_000))
    venue.fund(50)
    mark = venue.set_price(8)
    settled = 0
    for gas in range(30_000, 260_000, 1_500):
        with evm.anchor():
            evm.warp(3_600)
            try:
                venue.contract.settle_funding(shorter, gas=gas)
            except Reverted:
                continue
            settled += 1
            assert venue.state()["mark_e36"] == mark
    assert settled > 10
