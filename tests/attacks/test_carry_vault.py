"""Attacks on the carry vault: on its shares, its price, its venue, its tips, and its locks.

Each defence is shown to be one by the same attack on a vault without it. The defences:

- virtual shares: who comes first cannot make the next one's shares round to nothing;
- observed after: a request is settled at a price that nobody knew when it was made;
- oracle's price: the venue's mark decides where an order would fill, and values nothing;
- limit: no order fills further from the oracle's price than `max_slippage`;
- slippage: nor does a swap;
- bound: of two prices a newcomer gets the worse;
- gain: he gets shares for what he brings, not for what he brought;
- dust: gifts too small to matter make no call due;
- due first: settling does first what is due, so that nobody keeps the venue busy instead;
- locks, share lock: nobody comes in through a token, an adapter, a venue or a hook.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from perpool.build import Artifact, compile_patched
from perpool.evm import Account, Contract, Evm, reverts
from tests.market import MAX, WAD, wad
from tests.vaults import KEEP, NEUTRAL, Vault, deploy_vault

MODULES = "contracts/modules/carry"
WITHOUT: dict[str, tuple[str, str, list[tuple[str, str]]]] = {
    "virtual shares": (
        "CarryVault",
        f"{MODULES}/settling.vy",
        [
            (
                "gained, total + share_token.VIRTUAL_SHARES, worth + 1",
                "gained, max(total, 1), max(worth, 1)",
            )
        ],
    ),
    "observed after": (
        "CarryVault",
        f"{MODULES}/requests.vy",
        [("    if observed_at <= requested_at:\n", "    if observed_at == 0:\n")],
    ),
    "oracle's price": (
        "CarryStrategy",
        f"{MODULES}/book.vy",
        [("staticcall terms.PRICES.liquidation_price()", "staticcall terms.VENUE.mark_price()")],
    ),
    "limit": (
        "CarryStrategy",
        f"{MODULES}/orders.vy",
        [
            ("wad_math._share_of_up(price, WAD - slippage)", "0"),
            ("wad_math._share_of_down(price, WAD + slippage)", "max_value(uint256)"),
        ],
    ),
    "slippage": (
        "CarryStrategy",
        f"{MODULES}/trades.vy",
        [("WAD - terms.PARAMETERS.max_slippage", "0")],
    ),
    "bound": (
        "CarryStrategy",
        f"{MODULES}/entries.vy",
        [
            ("bound: uint256 = lower", "bound: uint256 = upper"),
            ("terms.VENUE.mark_price(), lower)", "terms.VENUE.mark_price(), bound)"),
        ],
    ),
    "gain": (
        "CarryStrategy",
        f"{MODULES}/entries.vy",
        [("min(taken - min(taken, cost), nav_after - min(nav_after, nav))", "taken")],
    ),
    "dust": (
        "CarryStrategy",
        f"{MODULES}/rebalancing.vy",
        [("dust: uint256 = nav // 1000", "dust: uint256 = 0")],
    ),
    "due first": (
        "CarryVault",
        f"{MODULES}/settling.vy",
        [
            ("if not is_idle or not self._rebalance_first()", "if not is_idle"),
            ("if not self._rebalance_first()", "if not is_idle"),
        ],
    ),
    "share lock": (
        "CarryVault",
        f"{MODULES}/shares.vy",
        [
            ("# pragma nonreentrancy on\n", "# pragma nonreentrancy off\n"),
            ("@reentrant\n", ""),
        ],
    ),
    "locks": (
        "CarryVault",
        "contracts/CarryVault.vy",
        [
            ("# pragma nonreentrancy on\n", "# pragma nonreentrancy off\n"),
            ("@reentrant\n", ""),
        ],
    ),
}


def without(missing: str) -> dict[str, Artifact]:
    """What `deploy_vault` takes for a vault without one defence; nothing for the whole one."""
    if not missing:
        return {}
    contract, file, edits = WITHOUT[missing]
    artifact = compile_patched(contract, {file: edits})
    return {"artifact" if contract == "CarryVault" else "strategy": artifact}


def vault_without(evm: Evm, missing: str = "", **options: Any) -> Vault:
    return deploy_vault(evm, options.pop("preset", KEEP), **without(missing), **options)


@pytest.fixture
def attacker(evm: Evm) -> Account:
    return evm.account("attacker")


@pytest.fixture
def victim(evm: Evm) -> Account:
    return evm.account("victim")


# --- shares


def inflate(vault: Vault, attacker: Account, victim: Account) -> tuple[int, int]:
    """A first depositor's gift. What both have in the end, less what they brought."""
    market, contract = vault.market, vault.contract
    gift = vault.tokens(100)
    vault.deposit(attacker, 1)
    market.give(attacker, tokens=gift)
    market.reverse.supply_collateral(gift, vault.strategy, sender=attacker)
    vault.deposit(victim, gift * 3 // 2)
    vault.rebalance()
    results = []
    for account, brought in ((attacker, gift + 1), (victim, gift * 3 // 2)):
        vault.redeem(account, contract.balanceOf(account))
        results.append(market.token.balanceOf(account) - brought)
    return results[0], results[1]


def test_first_depositor_inflates_the_price(evm: Evm, attacker: Account, victim: Account) -> None:
    vault = vault_without(evm)
    gained, lost = inflate(vault, attacker, victim)
    # the gift is the victim's too
    assert gained < -vault.tokens(30)
    assert lost > vault.tokens(30)


def test_first_depositor_inflates_the_price__weakened(
    evm: Evm, attacker: Account, victim: Account
) -> None:
    """The victim's share and a half are rounded to one, like the attacker's."""
    vault = vault_without(evm, "virtual shares")
    gained, lost = inflate(vault, attacker, victim)
    assert gained > vault.tokens(20)
    assert lost < -vault.tokens(20)


def test_a_request_is_counted_once(evm: Evm, attacker: Account, victim: Account) -> None:
    """In nobody's account, settled once, claimed once, cancelled or settled."""
    vault = vault_without(evm)
    contract = vault.contract
    vault.deposit(victim, vault.tokens(100))
    worth = contract.totalAssets()
    vault.request_deposit(attacker, vault.tokens(100))
    vault.observe()
    assert contract.totalAssets() == pytest.approx(worth, abs=2)
    contract.settle_deposit(attacker)
    for again in (contract.settle_deposit, contract.settle_redeem):
        with reverts("no request"):
            again(attacker)
    with reverts("no request"):
        contract.cancel_deposit(attacker, attacker, sender=attacker)
    vault.claim_shares(attacker)
    with reverts("not claimable"):
        contract.deposit(1, attacker, sender=attacker)
    shares = contract.balanceOf(attacker)
    vault.request_redeem(attacker, shares)
    with reverts("insufficient balance"):
        contract.transfer(victim, 1, sender=attacker)
    vault.observe()
    contract.settle_redeem(attacker)
    vault.evm.warp(86_400)
    with reverts("no request"):
        contract.cancel_redeem(attacker, attacker, sender=attacker)
    vault.wait(1)
    got = vault.claim_tokens(attacker)
    assert got <= vault.tokens(100)
    with reverts("not claimable"):
        contract.redeem(1, attacker, attacker, sender=attacker)
    assert contract.totalAssets() >= worth


def test_coming_and_going_gains_nothing(evm: Evm, attacker: Account, victim: Account) -> None:
    """At any price, in either mode, whatever was due."""
    vault = vault_without(evm)
    vault.deposit(victim, vault.tokens(1_000))
    for price in (10, "12.5", 9, 7, "8.5"):
        vault.set_price(price)
        brought = vault.tokens(800)
        before = vault.market.token.balanceOf(attacker)
        vault.deposit(attacker, brought)
        vault.redeem(attacker, vault.contract.balanceOf(attacker))
        usdt = vault.market.usdt.balanceOf(attacker)
        assert vault.market.token.balanceOf(attacker) - before <= brought
        assert usdt == 0
        vault.carry()


# --- requests timed on the price


def leave_ahead(vault: Vault, attacker: Account) -> int:
    """A fall that the market knows and the feed does not yet: out at the old price, if he can."""
    vault.deposit("victim", vault.tokens(1_000))
    vault.deposit(attacker, vault.tokens(1_000))
    vault.carry()
    vault.observe()
    vault.request_redeem(attacker, vault.contract.balanceOf(attacker))
    vault.market.pool.swap_to(12)
    vault.contract.settle_redeem(attacker)
    return int(vault.claim_tokens(attacker))


def test_leaving_ahead_of_a_loss(evm: Evm, attacker: Account) -> None:
    vault = vault_without(evm)
    with reverts("too soon"):
        leave_ahead(vault, attacker)


def test_leaving_ahead_of_a_loss__weakened(evm: Evm, attacker: Account) -> None:
    """He leaves with all, and a vault that is worth less in tokens to those who stay."""
    vault = vault_without(evm, "observed after")
    assert leave_ahead(vault, attacker) > vault.tokens(998)
    vault.set_price(12)
    assert vault.contract.convertToAssets(
        vault.contract.balanceOf(evm.account("victim"))
    ) < vault.tokens(955)


def test_coming_at_a_price_that_lags(evm: Evm, attacker: Account, victim: Account) -> None:
    """A fall makes the vault worth more tokens; who asks before the feed says so gets no part."""
    for missing, is_robbed in (("", False), ("observed after", True)):
        with evm.anchor():
            vault = vault_without(evm, missing)
            vault.deposit(victim, vault.tokens(1_000))
            vault.carry()
            vault.observe()
            vault.request_deposit(attacker, vault.tokens(1_000))
            if is_robbed:
                vault.contract.settle_deposit(attacker)
                vault.set_price(8)
            else:
                with reverts("too soon"):
                    vault.contract.settle_deposit(attacker)
                vault.set_price(8)
                vault.contract.settle_deposit(attacker)
            vault.claim_shares(attacker)
            worth = vault.contract.convertToAssets(vault.contract.balanceOf(attacker))
            assert (worth > vault.tokens(1_030)) is is_robbed


def test_nobody_puts_anothers_request_off(evm: Evm, attacker: Account, victim: Account) -> None:
    vault = vault_without(evm)
    vault.deposit(attacker, vault.tokens(10))
    vault.request_deposit(victim, vault.tokens(100))
    vault.observe()
    vault.give(attacker, tokens=10)
    with reverts("not authorised"):
        vault.contract.requestDeposit(1, victim, attacker, sender=attacker)
    with reverts("not authorised"):
        vault.contract.requestRedeem(1, victim, attacker, sender=attacker)
    assert vault.contract.settle_deposit(victim) > 0


# --- the venue's price


@pytest.mark.parametrize("percent", [-30, -5, 5, 30])
def test_mark_moved__values_nothing(evm: Evm, victim: Account, percent: float) -> None:
    """Without the defence each share's value, and what is due, follow the mark."""
    for missing in ("", "oracle's price"):
        with evm.anchor():
            vault = vault_without(evm, missing)
            vault.deposit(victim, vault.tokens(1_000))
            vault.carry()
            worth = vault.contract.totalAssets()
            vault.mark(percent)
            moved = abs(vault.contract.totalAssets() / worth - 1)
            if missing:
                assert moved > 0.005
                assert vault.contract.is_due()
            else:
                assert moved < 1e-6
                assert not vault.contract.is_due()
                assert not vault.rebalance()


@pytest.mark.parametrize("missing", ["", "limit"])
def test_mark_moved__orders(evm: Evm, victim: Account, attacker: Account, missing: str) -> None:
    """Nothing is bought or sold five percent off the oracle's price."""
    vault = vault_without(evm, missing)
    vault.deposit(victim, vault.tokens(1_000))
    vault.set_funding(50)
    vault.mark(-5)
    vault.rebalance()
    assert (vault.holdings().short > 0) is bool(missing)
    vault.mark(0)
    vault.rebalance()
    vault.request_redeem(victim, vault.contract.balanceOf(victim) // 2)
    vault.observe()
    vault.mark(5)
    if missing:
        assert vault.contract.settle_redeem(victim) > 0
    else:
        with reverts("order refused"):
            vault.contract.settle_redeem(victim)
        vault.deposit(attacker, vault.tokens(1))
        vault.mark(-5)
        vault.request_deposit(attacker, vault.tokens(100))
        vault.observe()
        with reverts("order refused"):
            vault.contract.settle_deposit(attacker)


def test_fills_at_the_limit_cost_the_newcomer(evm: Evm, victim: Account, attacker: Account) -> None:
    """A venue that always fills one percent worse; without the defence those who are there pay."""
    for missing in ("", "gain"):
        with evm.anchor():
            vault = vault_without(evm, missing, preset=NEUTRAL)
            vault.deposit(victim, vault.tokens(1_000))
            vault.carry()
            before = vault.contract.totalAssets() / vault.contract.totalSupply()
            vault.venue.set_fee(WAD // 2_000, wad("0.99"))
            vault.deposit(attacker, vault.tokens(1_000))
            after = vault.contract.totalAssets() / vault.contract.totalSupply()
            assert (after < before * 0.996) is bool(missing)
            assert missing or after > before * (1 - 1e-6)


# --- the spot market's price


@pytest.mark.parametrize("missing", ["", "slippage"])
def test_spot_market_moved__nothing_is_bought(
    evm: Evm, victim: Account, attacker: Account, missing: str
) -> None:
    """The attacker makes tokens dear, has the vault buy, and sells to it what he has."""
    vault = vault_without(evm, missing)
    vault.deposit(victim, vault.tokens(1_000))
    vault.carry()
    for price in (8, 6, 4):
        vault.set_price(price, move_uniswap=False)
        with evm.same_block():
            vault.market.pool.swap_to(price * 2)
            vault.rebalance()
    bought = vault.holdings().collateral > vault.tokens(1_000)
    assert bought is bool(missing)


# --- two prices


def come_by_sources(
    vault: Vault, attacker: Account, price: int, *, paid: int = 0, late: bool = False
) -> list[int]:
    """A newcomer's shares where both sources agree, and where the lower is four percent off.

    `paid` USDT of funding has come off what the short was sold for, which is 3,000 USDT.
    """
    vault.deposit("victim", vault.tokens(1_000))
    vault.carry()
    vault.set_price(price)
    vault.venue.pay_funding(vault.strategy, -vault.usd(paid))
    vault.rebalance()
    vault.venue.set_late(late)
    vault.request_deposit(attacker, vault.tokens(1_000))
    vault.observe()
    shares = []
    for spread in (0, wad(4)):
        with vault.evm.anchor():
            vault.market.oracle.set_spread(spread, 0)
            shares.append(vault.contract.settle_deposit(attacker))
    return shares


@pytest.mark.parametrize("missing", ["", "bound"])
def test_sources_apart__a_newcomer_gets_the_worse(
    evm: Evm, attacker: Account, missing: str
) -> None:
    """At the lower price the vault is worth more, as long as it has money on balance."""
    vault = vault_without(evm, missing, spread_oracle=True)
    agreed, apart = come_by_sources(vault, attacker, 8)
    assert (apart < agreed) is not bool(missing)


def test_sources_apart__a_newcomer_pays_for_a_fill_at_the_lower(
    evm: Evm, attacker: Account
) -> None:
    """Where the order is filled later, those who are there would pay for it.

    The vault owes USDT on balance, so it is worth more at the higher price, at which the fill is a
    cost.
    """
    vault = vault_without(evm, spread_oracle=True)
    agreed, apart = come_by_sources(vault, attacker, 20, paid=3_900, late=True)
    held, hedge = vault.holdings(), vault.ratios()[0]
    assert held.equity + vault.value(held.short) + held.cash < held.debt
    assert apart == pytest.approx(agreed * (1 - 0.04 * hedge / (1 - 0.0005 * hedge)), rel=1e-6)


# --- calls that nobody needs


def test_griefing_by_calling(evm: Evm, victim: Account, attacker: Account) -> None:
    """Two hundred calls at a price that stands still trade nothing and are paid nothing."""
    vault = vault_without(evm)
    vault.deposit(victim, vault.tokens(1_000))
    vault.carry()
    orders = vault.venue.last_id()
    for _ in range(200):
        vault.contract.rebalance(sender=attacker)
    assert vault.venue.last_id() == orders
    assert vault.contract.balanceOf(attacker) == 0


def farm(vault: Vault, attacker: Account, rounds: int) -> tuple[int, int]:
    """Gifts of single units, each to make a call due. Returns (calls paid, shares)."""
    market = vault.market
    vault.deposit("victim", vault.tokens(1_000))
    market.give(attacker, tokens=1_000)
    paid = 0
    for _ in range(rounds):
        vault.wait(600)
        market.reverse.supply_collateral(1, vault.strategy, sender=attacker)
        paid += vault.contract.rebalance(sender=attacker)
    return paid, vault.contract.balanceOf(attacker)


def test_tip_farming_by_gifts(evm: Evm, attacker: Account) -> None:
    assert farm(vault_without(evm), attacker, 20) == (0, 0)


def test_tip_farming_by_gifts__weakened(evm: Evm, attacker: Account) -> None:
    paid, shares = farm(vault_without(evm, "dust"), attacker, 20)
    assert paid == 20
    assert shares > 0


def test_tip_farming__never_more_than_the_rate(
    evm: Evm, victim: Account, attacker: Account
) -> None:
    """A price that jumps each hour for a month, every call the attacker's."""
    vault = vault_without(evm, preset=replace(KEEP, tip_rate=wad(1)))
    vault.deposit(victim, vault.tokens(1_000))
    supply, start = vault.contract.totalSupply(), vault.evm.timestamp
    vault.set_funding(50)
    for step in range(100):
        vault.wait(3_600)
        vault.set_price(10 + 2 * (step % 2))
        vault.contract.rebalance(sender=attacker)
    elapsed = vault.evm.timestamp - start
    tips = vault.contract.balanceOf(attacker)
    assert 0 < tips <= 1.01 * supply * elapsed / (100 * 365 * 86_400)


# --- a venue that lies, stalls or fails


def test_venue_stalls_for_ever__lenders_and_claims_are_not_its_prisoners(
    evm: Evm, victim: Account, attacker: Account
) -> None:
    """What was settled before is claimed; what was asked for is taken back after a day."""
    vault = vault_without(evm)
    contract = vault.contract
    vault.deposit(victim, vault.tokens(1_000))
    vault.request_deposit(attacker, vault.tokens(10))
    vault.observe()
    contract.settle_deposit(attacker)
    vault.set_funding(50)
    vault.venue.set_late(True)
    vault.venue.set_stalled(True)
    vault.rebalance()
    vault.claim_shares(attacker)
    vault.request_redeem(attacker, contract.balanceOf(attacker))
    vault.wait(86_400)
    assert contract.settle_redeem(attacker) == 0
    assert contract.cancel_redeem(attacker, attacker, sender=attacker) > 0
    assert contract.balanceOf(attacker) > 0


@pytest.mark.parametrize("missing", ["", "due first"])
def test_venue_kept_busy(evm: Evm, victim: Account, missing: str) -> None:
    """Dust is redeemed by one account after the other, each in the block in which the last is done.

    The price rises meanwhile, and the margin shrinks.
    """
    vault = vault_without(evm, missing, real_venue=True, delay_blocks=1)
    contract = vault.contract
    vault.deposit(victim, vault.tokens(1_000))
    crowd = [evm.account(f"attacker {n}") for n in range(12)]
    for each in crowd:
        vault.deposit(each, vault.tokens(1))
    vault.set_funding(50)
    for _ in range(4):
        vault.rebalance()
        vault.wait(12)
    assert vault.ratios()[1] == pytest.approx(0.5, abs=1e-3)
    for each in crowd:
        vault.request_redeem(each, contract.balanceOf(each))
    lowest = 1.0
    for step, each in enumerate(crowd):
        vault.evm.mine()
        with evm.same_block():
            vault.set_price(10 + step * 0.25)
            contract.settle_redeem(each)
            contract.rebalance()
        lowest = min(lowest, vault.ratios()[1])
    assert (lowest < 0.2) is bool(missing)
    assert missing or lowest > 0.4


def test_venue_inflates_its_margin__the_redeemer_gets_what_is_paid(
    evm: Evm, victim: Account, attacker: Account
) -> None:
    """The vault's collateral is never paid out for USDT that did not come."""
    vault = vault_without(evm)
    contract = vault.contract
    vault.deposit(victim, vault.tokens(1_000))
    vault.deposit(attacker, vault.tokens(1_000))
    vault.carry()
    held = vault.holdings()
    vault.venue.set_withholding(True)
    vault.venue.inflate(vault.strategy, vault.usd(5_000))
    vault.request_redeem(attacker, contract.balanceOf(attacker))
    vault.observe()
    # the order is filled and its proceeds withheld: he waits for them, with everything where it was
    assert contract.settle_redeem(attacker) == 0
    assert vault.holdings().collateral == held.collateral
    assert vault.strategy.set_apart() == (0, 0)
    assert contract.maxRedeem(attacker) == 0


# --- locks


@pytest.fixture
def locked(evm: Evm) -> Iterator[tuple[Vault, Contract]]:
    """A vault of a token that calls a puppet whenever one of its contracts sends or gets some."""
    with evm.anchor():
        token = evm.deploy("HookToken", 18)
        vault = deploy_vault(evm, NEUTRAL, token=token)
        vault.deposit("victim", vault.tokens(1_000))
        vault.carry()
        puppet = evm.deploy("Puppet")
        vault.give(evm.account("accomplice"), tokens=vault.tokens(100))
        yield vault, puppet


def entrances(vault: Vault, account: Any) -> list[tuple[Contract, bytes, bool]]:
    """Calls that an attacker would make in the middle of another."""
    contract, strategy = vault.contract, vault.strategy
    return [
        (contract, contract.rebalance.encode(), False),
        (contract, contract.settle_deposit.encode(account), False),
        (contract, contract.settle_redeem.encode(account), False),
        (contract, contract.transfer.encode(account, 0), False),
        (contract, contract.totalAssets.encode(), False),
        (strategy, strategy.holdings.encode(), False),
        (strategy, strategy.sync.encode(), False),
        (strategy, strategy.on_collateral.encode(strategy, 1, 1, b""), False),
    ]


@pytest.mark.parametrize("moment", ["before_transfer", "after_transfer"])
@pytest.mark.parametrize("through", ["vault", "strategy", "reverse pool", "uniswap"])
def test_reentered_through_the_token(
    locked: tuple[Vault, Contract], attacker: Account, through: str, moment: str
) -> None:
    """Every call fails, and what was under way is what it is without them."""
    vault, puppet = locked
    contract, market = vault.contract, vault.market
    place = {
        "vault": contract,
        "strategy": vault.strategy,
        "reverse pool": market.reverse,
        "uniswap": market.pool.contract,
    }[through]
    vault.request_deposit(attacker, vault.tokens(100))
    vault.request_redeem(
        vault.evm.account("victim"), contract.balanceOf(vault.evm.account("victim")) // 2
    )
    vault.observe()

    def act() -> tuple[int, int]:
        return (
            contract.settle_deposit(attacker),
            contract.settle_redeem(vault.evm.account("victim")),
        )

    with vault.evm.anchor():
        expected = act()
    market.token.set_hook_of(place, puppet, sender=attacker)
    puppet.prepare(moment, entrances(vault, attacker)[:8])
    assert act() == pytest.approx(expected, rel=1e-6)
    successes, _ = puppet.outcome()
    assert len(successes) == 8
    # what only asks is refused as well; nothing was let in but the pools' and tokens' own
    assert successes == [False] * 8


def test_reentered_through_the_venue(evm: Evm, victim: Account, attacker: Account) -> None:
    for call, missing in (("rebalance", ""), ("rebalance", "locks")):
        with evm.anchor():
            vault = vault_without(evm, missing)
            contract = vault.contract
            vault.deposit(victim, vault.tokens(1_000))
            vault.set_funding(50)
            vault.venue.prepare_call(contract, getattr(contract, call).encode())
            vault.rebalance()
            # the strategy has a lock of its own, so that without the vault's nothing comes of it
            assert not vault.evm.last.events("Reached", vault.venue)


def test_reentered_through_an_adapter(evm: Evm, victim: Account, attacker: Account) -> None:
    """One that the owner allowed, and that calls back in the middle of a sale."""
    vault = vault_without(evm, preset=NEUTRAL)
    market = vault.market
    vault.deposit(victim, vault.tokens(1_000))
    vault.carry()
    adapter = evm.deploy("Puppet")
    market.factory.allow_swapper(adapter, True, sender=market.owner)
    vault.contract.set_swapper(adapter, b"", b"", sender=market.owner)
    adapter.prepare("swap_exact_out", entrances(vault, attacker)[:8])
    vault.set_price("11.5")
    before = vault.holdings().collateral
    # it brings nothing, so the sale is as if it had not been
    assert vault.rebalance()
    assert vault.holdings().collateral == before
    assert market.token.balanceOf(adapter) == 0


@pytest.mark.parametrize("missing", ["", "share lock"])
def test_reentered_through_the_hook(
    evm: Evm, victim: Account, attacker: Account, missing: str
) -> None:
    """With the 100,000 gas that it has, which is enough for an approval of nothing."""
    vault = vault_without(evm, missing)
    contract = vault.contract
    hook = evm.deploy("Puppet")
    vault.market.factory.allow_hook(hook, True, sender=vault.owner)
    contract.set_hook(hook, sender=vault.owner)
    vault.deposit(victim, vault.tokens(1_000))
    # its words are written once before, or noting down what came of it would take all its gas
    hook.run([(contract, contract.totalSupply.encode(), True)])
    hook.run([])
    hook.prepare("on_change", [(contract, contract.approve.encode(attacker, 0), False)])
    contract.transfer(attacker, 5, sender=victim)
    assert hook.outcome()[0] == [bool(missing)]
    assert contract.balanceOf(attacker) == 5


def test_nobody_spends_what_an_adapter_or_a_pool_was_allowed(
    evm: Evm, victim: Account, attacker: Account
) -> None:
    """No allowance is left by anything that the vault does."""
    vault = vault_without(evm, preset=NEUTRAL)
    market = vault.market
    vault.deposit(victim, vault.tokens(1_000))
    vault.carry()
    for price in ("11.5", 9, 6):
        vault.set_price(price)
        vault.rebalance()
    vault.redeem(victim, vault.contract.balanceOf(victim) // 2, usdt=vault.usd(100))
    for holder in (vault.contract, vault.strategy):
        for token in (market.token, market.usdt):
            for spender in (
                *(market.reverse, market.forward, market.swapper),
                *(vault.venue, vault.strategy, vault.contract),
            ):
                assert token.allowance(holder, spender) == 0
    with reverts("not authorised"):
        market.reverse.withdraw_collateral(MAX, vault.strategy, attacker, sender=attacker)
    with reverts("not authorised"):
        market.reverse.deleverage(1, 1, vault.strategy, attacker, b"", sender=attacker)
