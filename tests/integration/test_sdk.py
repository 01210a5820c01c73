"""The SDK against a market on anvil: what it says, quotes and sends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from eth_account.signers.local import LocalAccount

from perpool import cli
from perpool.anvil import Anvil
from perpool.build import load_npm_artifact
from perpool.sdk import ActionError, Market, Perpool, PerpoolError, UnknownMarketError
from perpool.uniswap import encode_v3_route, reverse_v3_route
from tests.integration.market_on_anvil import AnvilMarket
from tests.uniswap import V3_QUOTER, ZERO_ADDRESS

PERCENT = Decimal("0.01")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnvilMarket]:
    with Anvil() as anvil:
        path = tmp_path_factory.mktemp("deployments") / "local.json"
        yield AnvilMarket.deploy(anvil, path)


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
def lenders(stage: AnvilMarket, market: Market) -> tuple[LocalAccount, LocalAccount]:
    usdt_lender = stage.actor("usdt lender", usdt=10_000)
    token_lender = stage.actor("token lender", tokens=1_000)
    market.reverse.deposit(10_000, account=usdt_lender.address).send(usdt_lender)
    market.forward.deposit(1_000, account=token_lender.address).send(token_lender)
    return usdt_lender, token_lender


@pytest.fixture
def holder(stage: AnvilMarket, lenders: object) -> LocalAccount:
    return stage.actor("holder", tokens=1_000, usdt=1_000)


# --- connecting


def test_connect__by_name_and_environment(
    stage: AnvilMarket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deployments").mkdir()
    (tmp_path / "deployments" / "my-net.json").write_text(stage.record.path.read_text())
    monkeypatch.setenv("MY_NET_RPC_URL", stage.anvil.http_url)
    assert list(Perpool.connect("my-net").markets) == ["ADA"]
    # by the node's chain
    assert list(Perpool.connect(stage.anvil.endpoint).markets) == ["ADA"]
    (tmp_path / "deployments" / "twin.json").write_text(stage.record.path.read_text())
    with pytest.raises(PerpoolError, match="several deployments are on chain 31337"):
        Perpool.connect(stage.anvil.endpoint)


def test_connect__faults(
    stage: AnvilMarket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deployments").mkdir()
    with pytest.raises(PerpoolError, match="set SEPOLIA_RPC_URL"):
        Perpool.connect("sepolia")
    with pytest.raises(PerpoolError, match="there is no deployment on chain 31337"):
        Perpool.connect(stage.anvil.http_url)
    with pytest.raises(PerpoolError, match="deploy first"):
        Perpool.connect(stage.anvil.http_url, deployment=tmp_path / "none.json")
    with pytest.raises(PerpoolError, match="is the node running"):
        Perpool.connect("http://127.0.0.1:1", deployment=stage.record.path)
    other = tmp_path / "other.json"
    other.write_text(stage.record.path.read_text().replace('"chain_id": 31337', '"chain_id": 5'))
    with pytest.raises(PerpoolError, match="is of chain 5, the node of chain 31337"):
        Perpool.connect(stage.anvil.http_url, deployment=other)
    with Anvil() as empty, pytest.raises(PerpoolError, match="the chain was started anew"):
        Perpool.connect(empty.http_url, deployment=stage.record.path)


def test_connect__to_a_deployment_before_there_were_vaults(
    stage: AnvilMarket, tmp_path: Path
) -> None:
    data = json.loads(stage.record.path.read_text())
    del data["markets"]["ADA"]["vaults"], data["markets"]["ADA"]["venue"]
    del data["contracts"]["RewardStream"]
    path = tmp_path / "old.json"
    path.write_text(json.dumps(data))
    perpool = Perpool.connect(stage.anvil.http_url, deployment=path)
    market = perpool.markets["ADA"]
    assert (dict(market.vaults), market.venue) == ({}, None)
    assert perpool.rewards.programmes() == perpool.vault_positions("0x" + 40 * "1") == []


def test_markets__by_symbol_in_any_case(perpool: Perpool) -> None:
    assert perpool.markets["ada"] is perpool.markets["ADA"]
    assert "ADA" in perpool.markets
    assert "XRP" not in perpool.markets
    with pytest.raises(UnknownMarketError, match="there is no market XRP here; there are: ADA"):
        perpool.markets["XRP"]


# --- reading


def test_status__of_a_fresh_pool(market: Market) -> None:
    status = market.reverse.status()
    assert (status.symbol, status.asset, status.collateral) == ("ppUSDT-ADA", "USDT", "ADA")
    assert not status.is_paused
    assert status.total_assets == status.total_debt == 0
    assert (status.supply_cap, status.debt_cap, status.leg_cap) == (100_000_000, None, None)
    assert status.fee == Decimal("0.1")
    assert status.prices.price == status.prices.low == status.prices.high == 10
    assert status.prices.volatility is None
    assert status.funding == Decimal("0.2")
    assert status.funding_age is not None
    assert timedelta(0) <= status.funding_age < timedelta(minutes=10)
    assert status.rates.premium == Decimal("0.04")
    assert status.rates.borrow == Decimal("0.06")
    assert (status.borrow_ltv, status.max_ltv) == (Decimal("0.6"), Decimal("0.7"))
    assert market.forward.status().min_debt == 1


def test_status__without_a_price(stage: AnvilMarket, market: Market) -> None:
    stage.chain.warp(2 * 86_400)
    status = market.forward.status()
    assert (status.prices.price, status.prices.low, status.prices.high) == (None, None, None)
    assert status.rates.premium == 0


def test_position__of_nobody(perpool: Perpool, market: Market) -> None:
    nobody = "0x" + 40 * "1"
    position = market.reverse.position(nobody)
    assert position.is_empty
    assert (position.health, position.liquidation_price, position.ltv) == (None, None, 0)
    assert perpool.positions(nobody) == []


def test_positions__more_than_a_call_takes(market: Market) -> None:
    accounts = [f"0x{number:040x}" for number in range(1, 302)]
    positions = market.forward.positions(accounts)
    assert [int(each.account, 16) for each in positions] == list(range(1, 302))


# --- the reverse leg


def test_borrowing__from_quote_to_the_end(
    perpool: Perpool, stage: AnvilMarket, market: Market, holder: LocalAccount
) -> None:
    quote = market.quote_borrow("500.5", collateral=100, account=holder.address)
    assert quote.is_possible
    assert quote.hedge_ratio == quote.after.ltv == Decimal("0.5005")
    assert quote.rate > quote.rate_now
    assert quote.after.liquidation_price == pytest.approx(Decimal("6.25625"), abs=Decimal("1e-6"))
    assert quote.carry == quote.hedge_ratio * (Decimal("0.2") - quote.rate)

    action = market.reverse.supply_and_borrow(100, "500.5", account=holder.address)
    assert [step.text for step in action.steps()] == [
        "approve ADA",
        "ADA reverse: post 100 ADA and borrow 500.5 USDT",
    ]
    assert len(action.send(holder)) == 2
    position = market.reverse.position(holder.address)
    assert position.collateral == 100
    assert position.debt == pytest.approx(Decimal("500.5"), abs=Decimal("0.001"))
    assert position.health == pytest.approx(quote.after.health, abs=Decimal("1e-5"))
    assert market.reverse.balance(holder.address) == Decimal("1500.5")
    assert perpool.positions(holder.address) == [position]

    market.reverse.withdraw_collateral(5, account=holder.address).send(holder)
    stage.chain.warp(3_600)
    market.reverse.repay(100, account=holder.address).send(holder)
    market.reverse.supply_collateral(1, account=holder.address).send(holder)
    market.reverse.borrow(20, account=holder.address).send(holder)
    # the key as text
    market.reverse.repay(account=holder.address).send("0x" + holder.key.hex())
    assert market.reverse.position(holder.address).debt == 0
    market.reverse.withdraw_collateral(account=holder.address).send(holder)
    assert market.reverse.position(holder.address).is_empty


def test_quote_borrow__says_why_it_is_not_possible(
    stage: AnvilMarket, market: Market, holder: LocalAccount
) -> None:
    def reasons(usdt: str, collateral: str = "0") -> list[str]:
        quote = market.quote_borrow(usdt, collateral=collateral)
        assert quote.is_possible == (not quote.problems)
        assert all(problem.remedy for problem in quote.problems)
        return [problem.reason for problem in quote.problems]

    assert reasons("600", "100") == []
    assert reasons("600.01", "100") == ["unhealthy position"]
    assert reasons("9", "100") == ["below minimum debt"]
    assert reasons("10001", "10000") == ["insufficient cash"]
    factory, owner = stage.contract("PoolFactory"), stage.chain.default
    caps = (10**12, 400 * 10**6, 10**18)
    factory.set_caps(market.reverse.address, *caps, sender=owner)
    assert reasons("500", "100") == ["collateral cap", "debt cap"]
    stage.chain.warp(2 * 86_400)
    factory.set_paused(market.reverse.address, True, sender=owner)
    assert reasons("1", "1") == ["paused", "below minimum debt", "stale price"]


def test_borrow__what_is_refused_is_not_sent(
    stage: AnvilMarket, market: Market, holder: LocalAccount
) -> None:
    market.reverse.supply_collateral(10, account=holder.address).send(holder)
    action = market.reverse.borrow(61, account=holder.address)
    count = stage.chain.rpc("eth_getTransactionCount", holder.address, "latest")
    with pytest.raises(
        ActionError, match=r"unhealthy position\. The debt would be too high"
    ) as error:
        action.send(holder)
    assert error.value.reason == "unhealthy position"
    assert stage.chain.rpc("eth_getTransactionCount", holder.address, "latest") == count
    with pytest.raises(ActionError):
        action.check()


def test_send__with_another_s_key(stage: AnvilMarket, market: Market, holder: LocalAccount) -> None:
    stranger = stage.actor("stranger")
    with pytest.raises(PerpoolError, match="use its key"):
        market.reverse.borrow(1, account=holder.address).send(stranger)


def test_send__resets_an_approval_that_is_too_small(
    stage: AnvilMarket, market: Market, holder: LocalAccount
) -> None:
    stage.contract("USDT").approve(market.reverse.address, 1, sender=holder)
    action = market.reverse.deposit(5, account=holder.address)
    assert [step.text for step in action.steps()][:2] == [
        "reset the approval of USDT",
        "approve USDT",
    ]
    assert len(action.send(holder)) == 3
    assert market.reverse.position(holder.address).lent == 5


def test_lending__there_and_back(market: Market, holder: LocalAccount) -> None:
    market.reverse.deposit("100.25", account=holder.address).send(holder)
    market.reverse.withdraw("40.25", account=holder.address).send(holder)
    assert market.reverse.position(holder.address).lent == pytest.approx(60, abs=Decimal("1e-5"))
    market.reverse.withdraw(account=holder.address).send(holder)
    assert market.reverse.position(holder.address).is_empty


# --- the forward leg


def test_shorting__from_quote_to_the_end(
    stage: AnvilMarket, market: Market, holder: LocalAccount
) -> None:
    quote = market.quote_short(20, margin=100, account=holder.address)
    assert quote.is_possible
    assert quote.proceeds is not None
    assert Decimal("199.8") < quote.proceeds < Decimal("199.91")
    assert quote.min_proceeds == pytest.approx(quote.proceeds * Decimal("0.995"), abs=PERCENT)
    assert quote.slippage == 1 - quote.average_price / 10
    assert quote.slippage == pytest.approx(Decimal("0.0005"), abs=Decimal("0.0001"))
    assert quote.after.collateral == 100 + quote.proceeds
    assert quote.leverage == pytest.approx(2, abs=PERCENT)

    market.forward.open_short(20, margin=100, account=holder.address).send(holder)
    position = market.forward.position(holder.address)
    assert position.collateral == quote.after.collateral
    assert position.entry_price == pytest.approx(quote.average_price, abs=Decimal("1e-9"))
    assert position.liquidation_price == pytest.approx(
        quote.after.liquidation_price, abs=Decimal("1e-4")
    )
    assert position.unrealised_profit == pytest.approx(Decimal("-0.1"), abs=PERCENT)

    market.forward.add_margin(10, account=holder.address).send(holder)
    market.forward.remove_margin("4.5", account=holder.address).send(holder)
    market.forward.close_short(5, account=holder.address).send(holder)
    assert market.forward.position(holder.address).debt == pytest.approx(15, abs=PERCENT)
    stage.chain.warp(7_200)
    market.forward.repay(1, account=holder.address).send(holder)
    market.forward.close_short(account=holder.address).send(holder)
    assert market.forward.position(holder.address).is_empty
    with pytest.raises(ActionError, match="no debt"):
        market.forward.close_short(account=holder.address)


def test_quote_short__says_why_it_is_not_possible(
    stage: AnvilMarket, market: Market, lenders: object
) -> None:
    def reasons(tokens: int | str, margin: int | str) -> list[str]:
        quote = market.quote_short(tokens, margin=margin)
        return [problem.reason for problem in quote.problems]

    assert reasons(10, 50) == []
    assert reasons(10, 10) == ["unhealthy position"]
    assert reasons("0.5", 10) == ["below minimum debt"]
    assert reasons(1_001, 10_000) == ["insufficient cash"]
    factory, owner = stage.contract("PoolFactory"), stage.chain.default
    factory.set_caps(market.forward.address, 10**30, 10**30, 9 * 10**18, sender=owner)
    assert reasons(10, 50) == ["block cap"]
    assert reasons(9, 50) == []
    # the pool is 5 % below the oracle
    stage.report(price=Decimal("10.5"))
    assert reasons(9, 50) == ["slippage"]


def test_quote_short__deeper_than_the_market(market: Market, lenders: object) -> None:
    quote = market.quote_short(10**12, margin=50)
    assert "insufficient cash" in [problem.reason for problem in quote.problems]
    assert quote.slippage is not None
    assert quote.slippage > Decimal("0.99")


def test_venue__agrees_with_uniswap_s_quoter(stage: AnvilMarket, market: Market) -> None:
    quoter = stage.chain.deploy(
        load_npm_artifact(V3_QUOTER), stage.contract("UniswapV3Factory"), ZERO_ADDRESS
    )
    token, usdt = stage.contract("ADA").address, stage.contract("USDT").address
    sell = encode_v3_route([token, usdt], [500])
    venue = market.forward.venue
    for amount in (1, 10**18, 12_345 * 10**18, 10**24):
        expected = quoter.quoteExactInput.call(sell, amount)[0]
        assert venue.quote_exact_in((token, 500, usdt), amount) == expected
        buy = reverse_v3_route(encode_v3_route([usdt, token], [500]))
        if amount < 10**24:
            expected = quoter.quoteExactOutput.call(buy, amount)[0]
            assert venue.quote_exact_out((usdt, 500, token), amount) == expected
    with pytest.raises(ActionError, match="no such pool"):
        venue.quote_exact_in((token, 3_000, usdt), 1)
    with pytest.raises(ActionError, match="too shallow"):
        venue.quote_exact_out((usdt, 500, token), 10**30)


# --- the command line


def test_command_line__on_a_chain(
    stage: AnvilMarket,
    market: Market,
    holder: LocalAccount,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PERPOOL_RPC_URL", stage.anvil.http_url)
    monkeypatch.setenv("PERPOOL_DEPLOYMENT", str(stage.record.path))
    market.reverse.supply_and_borrow(100, 500, account=holder.address).send(holder)
    market.forward.open_short(20, margin=100, account=holder.address).send(holder)

    def run(*args: str) -> str:
        cli.main(args)
        return capsys.readouterr().out

    status = json.loads(run("status", "--json"))
    assert [each["total_debt"] for each in status] == ["500.000000", "20.000000000000000000"]
    assert "6.47 %" in run("status")
    shown = run("position", holder.address)
    assert "500 USDT" in shown
    assert "20 ADA" in shown
    assert "hedge ratio    25.0 %" in run("quote", "borrow", "ada", "250", "--collateral", "100")
    quote = run("quote", "short", "ADA", "10", "--margin", "50", "--account", holder.address)
    assert "short          10 ADA on 50 USDT" in quote
    with pytest.raises(SystemExit) as ended:
        cli.main(["quote", "borrow", "ADA", "250"])
    assert ended.value.code == cli.NOT_POSSIBLE
    assert "not possible now: unhealthy position" in capsys.readouterr().out
