"""Carry vaults, their venue and rewards through the SDK, on what the deployment made on anvil."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal

import pytest
from eth_account.signers.local import LocalAccount

from perpool import cli
from perpool.anvil import Anvil
from perpool.sdk import (
    ActionError,
    CarryVault,
    Market,
    Perpool,
    Standing,
    UnknownVaultError,
)
from tests.integration.market_on_anvil import AnvilMarket, key
from tests.integration.vault_on_anvil import Carry

DAY = 86_400
HOLDERS = 1
PRICE = Decimal(10)
LIMITS = {"cap": 1_000_000, "max_trade": 100_000}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnvilMarket]:
    with Anvil() as anvil:
        yield AnvilMarket.deploy(
            anvil,
            tmp_path_factory.mktemp("deployments") / "local.json",
            venue={"exposure_cap": 1_000_000, "liquidity": 2_000_000},
            vaults={
                # funding is 20 %
                "keep": {"preset": "keep", "enter_rate": "18%", "rewards": True, **LIMITS},
                "neutral": {"preset": "neutral", **LIMITS},
            },
        )


@pytest.fixture(autouse=True)
def _isolate(stage: AnvilMarket) -> Iterator[None]:
    with stage.chain.anchor():
        yield


@pytest.fixture
def perpool(stage: AnvilMarket) -> Perpool:
    return Perpool.connect(stage.anvil.http_url, deployment=stage.record.path)


@pytest.fixture
def market(perpool: Perpool) -> Market:
    return perpool.markets["ADA"]


@pytest.fixture
def vault(market: Market) -> CarryVault:
    return market.vaults["keep"]


@pytest.fixture
def keeper(stage: AnvilMarket) -> LocalAccount:
    return stage.actor("keeper")


@pytest.fixture
def holder(
    stage: AnvilMarket, market: Market, vault: CarryVault, keeper: LocalAccount
) -> LocalAccount:
    """With 1,000 tokens in the vault, settled and claimed, and USDT for it to borrow."""
    lender = stage.actor("usdt lender", usdt=100_000)
    market.reverse.deposit(100_000, account=lender.address).send(lender)
    holder = stage.actor("holder", tokens=1_500)
    vault.request_deposit(1_000, account=holder.address).send(holder)
    stage.report(price=PRICE)
    vault.settle_deposit(holder.address, account=keeper.address).send(keeper)
    vault.claim_shares(account=holder.address).send(holder)
    return holder


@pytest.fixture
def slow(stage: AnvilMarket, market: Market) -> Iterator[CarryVault]:
    """A vault at a venue that fills orders three blocks later, with USDT for it to borrow."""
    lender = stage.actor("usdt lender", usdt=100_000)
    market.reverse.deposit(100_000, account=lender.address).send(lender)
    markets = dict(stage.record.markets)
    Carry.deploy(stage, "SLOW", delay_blocks=3)
    place = Perpool.connect(stage.anvil.http_url, deployment=stage.record.path)
    yield place.markets["SLOW"].vaults["keep"]
    stage.record.markets = markets
    stage.record.save()


@pytest.fixture
def slow_holder(stage: AnvilMarket, slow: CarryVault, keeper: LocalAccount) -> LocalAccount:
    """With 100 USDT, and 1,000 tokens in the vault, which carries."""
    holder = stage.actor("slow holder", tokens=1_000, usdt=100)
    slow.request_deposit(1_000, account=holder.address).send(holder)
    stage.report(price=PRICE)
    slow.settle_deposit(holder.address, account=keeper.address).send(keeper)
    slow.claim_shares(account=holder.address).send(holder)
    for _ in range(10):
        stage.report(price=PRICE, funding=Decimal("0.2"))
        stage.chain.mine(3)
        slow.rebalance(account=keeper.address).send(keeper)
    assert standing(slow).hedge_ratio == pytest.approx(Decimal("0.3"))
    return holder


def carry(stage: AnvilMarket, vault: CarryVault, keeper: LocalAccount) -> None:
    """Rebalance until nothing is due."""
    for _ in range(10):
        stage.report(price=PRICE, funding=Decimal("0.2"))
        if not standing(vault).is_due:
            return
        vault.rebalance(account=keeper.address).send(keeper)
    raise AssertionError("still due after ten calls")


def standing(vault: CarryVault) -> Standing:
    found = vault.status().standing
    assert found is not None
    return found


# --- vaults


def test_vaults__by_name(market: Market) -> None:
    assert list(market.vaults) == ["keep", "neutral"]
    assert market.vaults["KEEP"] is market.vaults["keep"]
    with pytest.raises(UnknownVaultError, match="no vault bold here; there are: keep, neutral"):
        market.vaults["bold"]


def test_status__of_an_empty_vault(vault: CarryVault) -> None:
    status = vault.status()
    assert (status.symbol, status.asset, status.mode) == ("pcADA-keep", "ADA", "lend")
    assert (status.cap, status.max_trade) == (1_000_000, 100_000)
    assert (status.total_shares, status.tip) == (0, 0)
    assert not status.is_paused
    assert not status.is_order_pending
    stands = standing(vault)
    assert (stands.price, stands.mark, stands.share_price) == (10, 10, 1)
    assert (stands.hedge_ratio, stands.delta, stands.leverage, stands.ltv) == (0, 0, 0, 0)
    assert (stands.loan_liquidation_price, stands.short_liquidation_price) == (None, None)


def test_status__without_a_price(stage: AnvilMarket, vault: CarryVault, market: Market) -> None:
    stage.chain.warp(2 * DAY)
    assert vault.status().standing is None
    assert vault.position("0x" + 40 * "1").worth is None
    assert market.venue is not None
    assert market.venue.status().mark is None


def test_vault__from_deposit_over_carry_to_redemption(
    perpool: Perpool,
    stage: AnvilMarket,
    market: Market,
    vault: CarryVault,
    holder: LocalAccount,
    keeper: LocalAccount,
) -> None:
    position = vault.position(holder.address)
    assert (position.shares, position.worth) == (1_000, pytest.approx(1_000))
    assert (position.pending_deposit, position.claimable_shares) == (0, 0)
    assert perpool.vault_positions(holder.address) == [position]
    assert standing(vault).is_due

    carry(stage, vault, keeper)
    status, stands = vault.status(), standing(vault)
    held = stands.holdings
    assert status.mode == "carry"
    assert (held.idle, held.lent, held.collateral) == (0, 0, 1_000)
    assert held.short == pytest.approx(300)
    assert held.debt == pytest.approx(1_500, rel=Decimal("0.002"))
    assert held.equity == pytest.approx(1_500, rel=Decimal("0.002"))
    assert stands.hedge_ratio == pytest.approx(Decimal("0.3"))
    assert stands.delta == pytest.approx(700)
    assert stands.leverage == pytest.approx(2, rel=Decimal("0.01"))
    assert stands.ltv == pytest.approx(Decimal("0.15"), rel=Decimal("0.002"))
    assert stands.loan_liquidation_price == pytest.approx(Decimal("1.875"), rel=Decimal("0.002"))
    assert stands.short_liquidation_price is not None
    assert 14 < stands.short_liquidation_price < 15
    # 0.3 of funding less 0.15 of the borrow rate
    rate = market.reverse.status().rates.borrow
    expected = Decimal("0.06") - Decimal("0.15") * rate
    assert stands.net_carry == pytest.approx(expected, rel=Decimal("0.01"))
    assert vault.venue.position(vault.strategy_address).size == -held.short

    asked = vault.request_redeem(400, account=holder.address, min_tokens=350)
    assert [step.text for step in asked.steps()] == ["ADA keep: ask to redeem 400 shares"]
    asked.send(holder)
    assert vault.position(holder.address).pending_redeem == 400
    stage.report(price=PRICE)
    vault.settle_redeem(holder.address, account=keeper.address).send(keeper)
    position = vault.position(holder.address)
    assert (position.shares, position.pending_redeem) == (600, 0)
    assert position.claimable_tokens == pytest.approx(400, rel=Decimal("0.01"))
    before = market.forward.balance(holder.address)
    vault.claim_tokens(account=holder.address).send(holder)
    assert market.forward.balance(holder.address) == before + position.claimable_tokens

    # all the rest, with USDT in place of tokens for the debt
    stage.contract("USDT").mint(holder.address, 1_000 * 10**6)
    vault.request_redeem(account=holder.address, usdt_amount=900).send(holder)
    more = vault.bring_usdt(holder.address, 100, account=holder.address)
    assert [step.text for step in more.steps()][-1] == (
        f"ADA keep: bring 100 USDT for the redemption of {holder.address}"
    )
    more.send(holder)
    stage.report(price=PRICE)
    vault.settle_redeem(holder.address, account=keeper.address).send(keeper)
    assert vault.position(holder.address).claimable_tokens > 590
    vault.claim_tokens(account=holder.address).send(holder)
    assert vault.position(holder.address).is_empty
    assert perpool.vault_positions(holder.address) == []
    # what is left is the keeper's, who was tipped
    tip = vault.position(keeper.address).shares
    assert vault.status().total_shares == tip
    assert 0 < tip < Decimal("0.001")


def test_vault__what_is_not_settled(
    stage: AnvilMarket, vault: CarryVault, holder: LocalAccount, keeper: LocalAccount
) -> None:
    asked = vault.request_deposit("0.5", account=holder.address)
    assert [step.text for step in asked.steps()] == [
        "approve ADA",
        "ADA keep: ask to deposit 0.5 ADA",
    ]
    asked.send(holder)
    assert vault.position(holder.address).pending_deposit == Decimal("0.5")
    with pytest.raises(ActionError, match=r"too soon\. A request is settled at a price"):
        vault.settle_deposit(holder.address, account=keeper.address).send(keeper)
    with pytest.raises(ActionError, match="not claimable"):
        vault.claim_shares(account=holder.address)
    with pytest.raises(ActionError, match="not claimable"):
        vault.claim_tokens(account=holder.address)
    with pytest.raises(ActionError, match="no request"):
        vault.settle_redeem(holder.address, account=keeper.address).send(keeper)
    vault.request_redeem(10, account=holder.address).send(holder)
    stage.chain.warp(DAY)
    vault.cancel_deposit(account=holder.address).send(holder)
    vault.cancel_redeem(account=holder.address).send(holder)
    position = vault.position(holder.address)
    assert (position.shares, position.pending_deposit, position.pending_redeem) == (1_000, 0, 0)


def test_vault__a_redemption_at_a_venue_that_takes_its_time(
    stage: AnvilMarket,
    slow: CarryVault,
    slow_holder: LocalAccount,
    keeper: LocalAccount,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its holder can tell when it is his to finish, and what bringing USDT changes."""
    holder = slow_holder
    settle = slow.settle_redeem(holder.address, account=keeper.address)

    asked = slow.request_redeem(400, account=holder.address, min_tokens="399.5", usdt_amount=5)
    asked.send(holder)
    stage.report(price=PRICE)
    settle.send(keeper)
    position = slow.position(holder.address)
    assert (position.pending_redeem, position.apart) == (400, None)
    assert position.redemption is not None
    assert (position.redemption.shares, position.redemption.usdt) == (400, 5)
    assert position.redemption.min_tokens == Decimal("399.5")

    # the short is closed dearer than that allows for
    stage.report(price=Decimal("10.08"))
    stage.chain.mine(3)
    settle.send(keeper)
    filled_at = stage.chain.timestamp
    position = slow.position(holder.address)
    assert (position.pending_redeem, position.redemption) == (400, None)
    apart = position.apart
    assert apart is not None
    assert (apart.shares, apart.usdt, apart.min_tokens) == (400, 5, Decimal("399.5"))
    assert apart.since.timestamp() == filled_at
    assert apart.anybody_from.timestamp() == filled_at + 3_600
    assert apart.problem is None
    assert apart.brings is not None
    assert 398 < apart.brings < apart.min_tokens
    # blocks of one second are as one: in it the keeper's call does nothing
    stage.chain.warp(1)
    with pytest.raises(ActionError, match=r"too few tokens\..*anybody an hour after"):
        settle.send(keeper)
    with pytest.raises(ActionError, match=r"no request\..*cannot be cancelled any more"):
        slow.cancel_redeem(account=holder.address).send(holder)
    monkeypatch.setenv("PERPOOL_RPC_URL", stage.anvil.http_url)
    monkeypatch.setenv("PERPOOL_DEPLOYMENT", str(stage.record.path))
    cli.main(("position", holder.address))
    assert "set apart" in capsys.readouterr().out

    slow.bring_usdt(holder.address, 95, account=holder.address).send(holder)
    after = slow.position(holder.address).apart
    assert after is not None
    assert after.usdt == 100
    assert after.brings is not None
    assert after.brings > apart.min_tokens
    settle.send(keeper)
    position = slow.position(holder.address)
    assert (position.pending_redeem, position.apart) == (0, None)
    assert position.claimable_tokens == pytest.approx(after.brings, rel=Decimal("1e-6"))


def test_position__what_is_set_apart_and_cannot_be_finished(
    stage: AnvilMarket, slow: CarryVault, slow_holder: LocalAccount, keeper: LocalAccount
) -> None:
    holder = slow_holder
    slow.request_redeem(400, account=holder.address, min_tokens=1).send(holder)
    settle = slow.settle_redeem(holder.address, account=keeper.address)
    stage.report(price=PRICE)
    settle.send(keeper)
    stage.report(price=PRICE)
    stage.chain.mine(3)
    settle.send(keeper)
    stage.chain.warp(2 * DAY)
    apart = slow.position(holder.address).apart
    assert apart is not None
    assert apart.brings is None
    assert apart.problem is not None
    assert apart.problem.reason == "stale price"
    assert apart.problem.remedy


# --- the venue


def test_venue__a_short_there_and_back(stage: AnvilMarket, market: Market) -> None:
    venue = market.venue
    assert venue is not None
    status = venue.status()
    assert (status.mark, status.funding) == (10, Decimal("0.2"))
    assert (status.initial_margin, status.fee) == (Decimal("0.1"), Decimal("0.0005"))
    assert status.room_to_sell > 50_000
    trader = stage.actor("trader", usdt=2_000)
    venue.open_short(100, margin=500, account=trader.address).send(trader)
    venue.add_margin(100, account=trader.address).send(trader)
    position = venue.position(trader.address)
    assert (position.size, position.margin) == (-100, Decimal("599.5"))
    assert position.entry_price == pytest.approx(10)
    assert position.equity == pytest.approx(Decimal("599.5"), abs=Decimal("0.1"))
    assert position.liquidation_price is not None
    assert 15 < position.liquidation_price < 16
    assert position.pending is None
    venue.close_short(account=trader.address).send(trader)
    assert venue.position(trader.address).credit == pytest.approx(599, abs=Decimal("0.1"))
    venue.withdraw(account=trader.address).send(trader)
    assert venue.position(trader.address).is_empty
    assert market.reverse.balance(trader.address) == pytest.approx(1_999, abs=Decimal("0.1"))
    with pytest.raises(ActionError, match="no position"):
        venue.close_short(account=trader.address)


def test_venue__liquidity(stage: AnvilMarket, market: Market) -> None:
    venue = market.venue
    assert venue is not None
    lender = stage.actor("venue lender", usdt=1_000)
    venue.add_liquidity(1_000, account=lender.address).send(lender)
    venue.remove_liquidity(account=lender.address).send(lender)
    assert venue.position(lender.address).credit == pytest.approx(1_000)


# --- rewards


def stream(stage: AnvilMarket, source: str, a_day: int) -> None:
    """A project rewards who holds a source's shares with USDT, for ten days."""
    project, rewards = stage.actor("project", usdt=10 * a_day), stage.contract("RewardStream")
    usdt = stage.contract("USDT")
    rewards.add_programme(source, HOLDERS, usdt, project.address)
    (id_,) = rewards.programmes_of(source)
    usdt.approve(rewards, 10 * a_day * 10**6, sender=project)
    rewards.stream(id_, 10 * a_day * 10**6, 10 * DAY, sender=project)


def test_rewards__of_a_vault_s_holder(
    stage: AnvilMarket, perpool: Perpool, vault: CarryVault, holder: LocalAccount
) -> None:
    assert perpool.rewards.programmes() == perpool.rewards.of(holder.address) == []
    with pytest.raises(ActionError, match="not claimable"):
        perpool.rewards.claim(account=holder.address)
    stream(stage, vault.address, 24)
    # who was there before is heard of
    stage.contract("RewardStream").sync(vault.address, [holder.address])
    (programme,) = perpool.rewards.programmes()
    assert (programme.source, programme.side, programme.token) == ("ADA keep", "holders", "USDT")
    assert programme.project == key("project").address
    assert programme.a_day == pytest.approx(24, rel=Decimal("0.001"))
    assert programme.ends_at is not None

    stage.chain.warp(DAY // 2)
    (reward,) = perpool.rewards.of(holder.address)
    assert (reward.market, reward.share) == ("ADA", 1)
    assert reward.earned == pytest.approx(12, rel=Decimal("0.01"))
    claim = perpool.rewards.claim(account=holder.address)
    assert claim.text == f"rewards: claim {reward.earned} USDT"
    claim.send(holder)
    assert vault.context.usdt.amount(
        stage.contract("USDT").balanceOf(holder.address)
    ) == pytest.approx(12, rel=Decimal("0.01"))
    assert perpool.rewards.of("0x" + 40 * "1") == []


# --- the command line


def test_command_line__shows_vaults_claims_and_rewards(
    stage: AnvilMarket,
    vault: CarryVault,
    holder: LocalAccount,
    keeper: LocalAccount,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PERPOOL_RPC_URL", stage.anvil.http_url)
    monkeypatch.setenv("PERPOOL_DEPLOYMENT", str(stage.record.path))
    carry(stage, vault, keeper)
    stream(stage, vault.address, 24)
    stage.contract("RewardStream").sync(vault.address, [holder.address])
    vault.request_redeem(100, account=holder.address).send(holder)
    stage.report(price=PRICE)
    vault.settle_redeem(holder.address, account=keeper.address).send(keeper)

    def run(*args: str) -> str:
        cli.main(args)
        return capsys.readouterr().out

    shown = run("status")
    assert "Carry vaults" in shown
    assert "30.0 %" in shown
    *_, keep, neutral = json.loads(run("status", "--json"))
    assert (keep["vault"], keep["mode"]) == ("keep", "carry")
    assert (neutral["vault"], neutral["mode"]) == ("neutral", "lend")
    position, reward = json.loads(run("position", holder.address, "--json"))
    assert position["shares"] == "900.000000000000000000000000"
    assert Decimal(position["claimable_tokens"]) > 99
    assert reward["programme"]["token"] == "USDT"
    shown = run("position", holder.address)
    assert "Carry vaults" in shown
    assert "Rewards" in shown
