"""The command line's commands, errors and exit codes, over a deployment that is not there."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import ModuleType, SimpleNamespace
from typing import Any

import click
import pytest

from perpool import cli
from perpool.sdk import (
    BorrowQuote,
    Holdings,
    PerpoolError,
    PoolStatus,
    Position,
    Prices,
    Problem,
    Programme,
    Rates,
    Redemption,
    Reward,
    SetApart,
    ShortQuote,
    Standing,
    UnknownMarketError,
    VaultPosition,
    VaultStatus,
)
from perpool.sdk.client import Perpool

ADDRESS = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
Run = Callable[..., tuple[int, str, str]]


def position(leg: str = "reverse", **changes: Any) -> Position:
    values: dict[str, Any] = {
        "account": ADDRESS,
        "market": "ADA",
        "leg": leg,
        "shares": Decimal(0),
        "lent": Decimal(0),
        "collateral": Decimal(100),
        "debt": Decimal(500),
        "collateral_value": Decimal(1000),
        "debt_value": Decimal(500),
        "ltv": Decimal("0.5"),
        "health": Decimal("1.6"),
        "is_liquidatable": False,
        "liquidation_price": Decimal("6.25"),
        "free_debt": Decimal(100),
        "free_collateral": Decimal("16.6"),
    }
    return Position(**values | changes)


def pool_status(leg: str) -> PoolStatus:
    return PoolStatus(
        address=ADDRESS,
        symbol="ppADA",
        asset="USDT" if leg == "reverse" else "ADA",
        collateral="ADA",
        is_paused=False,
        total_assets=Decimal(10_000),
        total_debt=Decimal(500),
        cash=Decimal(9_500),
        reserve=Decimal(1),
        share_price=Decimal(1),
        supply_cap=None,
        debt_cap=Decimal(700),
        leg_cap=None,
        fee=Decimal("0.1"),
        rates=Rates(*map(Decimal, ("0.05", "0.02", "0.04", "0.06", "0.003"))),
        funding=Decimal("0.2"),
        funding_age=timedelta(minutes=5),
        oracle_funding=None,
        oracle_funding_at=None,
        prices=Prices(Decimal(10), Decimal(10), Decimal(10), None),
        borrow_ltv=Decimal("0.6"),
        max_ltv=Decimal("0.7"),
        liquidation_ltv=Decimal("0.8"),
        min_debt=Decimal(10),
        max_slippage=Decimal("0.03"),
    )


class FakePool:
    def __init__(self, leg: str) -> None:
        self.leg = leg
        self.value = pool_status(leg)

    def status(self) -> PoolStatus:
        return self.value


class FakeVault:
    def __init__(self, value: VaultStatus) -> None:
        self.value = value

    def status(self) -> VaultStatus:
        return self.value


def vault_status() -> VaultStatus:
    holdings = Holdings(*map(Decimal, (0, 0, 1000, 1500, 300, 1490, 2)))
    standing = Standing(
        price=Decimal(10),
        mark=Decimal("10.01"),
        total_assets=Decimal("999.5"),
        share_price=Decimal("1.02"),
        holdings=holdings,
        hedge_ratio=Decimal("0.3"),
        delta=Decimal(700),
        leverage=Decimal("2.013"),
        ltv=Decimal("0.15"),
        loan_liquidation_price=Decimal("1.875"),
        short_liquidation_price=None,
        net_carry=Decimal("0.0412"),
        is_due=True,
    )
    return VaultStatus(
        address=ADDRESS,
        symbol="pcADA-keep",
        asset="ADA",
        mode="carry",
        is_paused=False,
        cap=None,
        max_trade=Decimal(100_000),
        total_shares=Decimal(980),
        tip=Decimal("0.01"),
        is_order_pending=False,
        standing=standing,
    )


def vault_position(**changes: Any) -> VaultPosition:
    values: dict[str, Any] = {"account": ADDRESS, "market": "ADA", "vault": "keep"}
    amounts: dict[str, Any] = {
        "shares": Decimal(98),
        "worth": Decimal("99.96"),
        "pending_deposit": Decimal(0),
        "pending_redeem": Decimal(7),
        "redemption": None,
        "apart": None,
        "claimable_shares": Decimal(0),
        "claimable_tokens": Decimal(33),
        "claimable_usdt": Decimal(44),
    }
    return VaultPosition(**values | amounts | changes)


def reward() -> Reward:
    programme = Programme(
        id=4,
        source="ADA keep",
        side="holders",
        token="GIFT",
        token_address=ADDRESS,
        project=ADDRESS,
        a_day=Decimal(12),
        ends_at=datetime(2030, 1, 2, 3, 4, tzinfo=UTC),
        unstreamed=Decimal(5),
    )
    return Reward(ADDRESS, "ADA", programme, Decimal("0.75"), Decimal("0.5"))


class FakeRewards:
    def __init__(self) -> None:
        self.found: list[Reward] = []

    def of(self, account: str) -> list[Reward]:
        return self.found


class FakeMarket:
    symbol = "ADA"

    def __init__(self) -> None:
        self.reverse, self.forward = FakePool("reverse"), FakePool("forward")
        self.found: list[Position] = []
        self.vaults: dict[str, FakeVault] = {}
        self.in_vaults: list[VaultPosition] = []
        self.asked: dict[str, Any] = {}
        self.problems: tuple[Problem, ...] = ()

    def positions(self, account: str) -> list[Position]:
        self.asked = {"account": account}
        return self.found

    def vault_positions(self, account: str) -> list[VaultPosition]:
        return self.in_vaults

    def quote_borrow(self, usdt: str, **options: Any) -> BorrowQuote:
        self.asked = {"usdt": usdt} | options
        rates = {"rate": Decimal("0.06"), "rate_now": Decimal("0.05")}
        return BorrowQuote(
            market="ADA",
            collateral=Decimal(options["collateral"]),
            usdt=Decimal(usdt),
            after=position(),
            borrow_ltv=Decimal("0.6"),
            hedge_ratio=Decimal("0.5"),
            funding=None,
            carry=None,
            problems=self.problems,
            **rates,
        )

    def quote_short(self, tokens: str, **options: Any) -> ShortQuote:
        self.asked = {"tokens": tokens} | options
        return ShortQuote(
            market="ADA",
            token_amount=Decimal(tokens),
            margin=Decimal(options["margin"]),
            proceeds=Decimal("199.9"),
            min_proceeds=Decimal(199),
            average_price=Decimal("9.995"),
            slippage=Decimal("0.0005"),
            rate=Decimal("0.03"),
            rate_now=Decimal("0.02"),
            after=None if self.problems else position("forward"),
            leverage=Decimal(2),
            funding=Decimal("-0.1"),
            problems=self.problems,
        )


@pytest.fixture
def market() -> FakeMarket:
    return FakeMarket()


@pytest.fixture
def rewards() -> FakeRewards:
    return FakeRewards()


@pytest.fixture
def connections(
    market: FakeMarket, rewards: FakeRewards, monkeypatch: pytest.MonkeyPatch
) -> list[tuple[Any, Any]]:
    """Every call of `Perpool.connect`: (where, deployment)."""
    made: list[tuple[Any, Any]] = []

    class Markets(dict[str, FakeMarket]):
        def __missing__(self, symbol: str) -> FakeMarket:
            raise UnknownMarketError(f"there is no market {symbol} here")

    def connect(where: str = "local", *, deployment: str | None = None) -> Any:
        made.append((where, deployment))
        return SimpleNamespace(
            markets=Markets(ADA=market),
            positions=market.positions,
            vault_positions=market.vault_positions,
            rewards=rewards,
        )

    monkeypatch.setattr(Perpool, "connect", connect)
    for name in ("NETWORK", "RPC_URL", "DEPLOYMENT", "TRACEBACK"):
        monkeypatch.delenv(f"PERPOOL_{name}", raising=False)
    return made


@pytest.fixture
def run(connections: object, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command line; gives (exit code, stdout, stderr)."""

    def run(*args: str) -> tuple[int, str, str]:
        code = 0
        try:
            cli.main(args)
        except SystemExit as error:
            code = int(error.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


# --- status


def test_status__shows_both_pools(run: Run) -> None:
    code, out, _ = run("status")
    assert code == 0
    assert "Rates a year" in out
    assert "Liquidity" in out
    assert out.count("reverse") == out.count("forward") == 2
    assert "20.00 %" in out
    assert "5 min" in out
    assert "9,500.00" in out


def test_status__warns(run: Run, market: FakeMarket) -> None:
    none = Prices(None, None, None, None)
    market.reverse.value = replace(
        market.reverse.value, is_paused=True, prices=none, funding=None, funding_age=None
    )
    market.forward.value = replace(
        market.forward.value, prices=Prices(Decimal(10), None, None, None)
    )
    out = run("status", "ADA")[1]
    assert "ADA reverse: new risk is paused" in out
    assert "ADA reverse: there is no fresh price" in out
    assert "ADA reverse: funding was never synced" in out
    assert "ADA forward: the price sources are stale or disagree" in out
    assert "never" in out


def test_status__in_json(run: Run) -> None:
    answer = json.loads(run("status", "--json")[1])
    assert [(each["market"], each["leg"]) for each in answer] == [
        ("ADA", "reverse"),
        ("ADA", "forward"),
    ]
    assert answer[0]["rates"]["borrow"] == "0.06"
    assert answer[0]["funding_age"] == 300


def test_status__of_vaults(run: Run, market: FakeMarket) -> None:
    market.vaults = {"keep": FakeVault(vault_status())}
    out = run("status")[1]
    for text in ("Carry vaults", "carry", "30.0 %", "2.01x", "1.875", "4.12 %", "yes", "999.5"):
        assert text in out, text
    *_, vault = json.loads(run("status", "--json")[1])
    assert (vault["market"], vault["vault"], vault["cap"]) == ("ADA", "keep", None)
    assert vault["standing"]["holdings"]["debt"] == "1500"
    assert vault["standing"]["short_liquidation_price"] is None


def test_status__warns_of_vaults(run: Run, market: FakeMarket) -> None:
    status = replace(vault_status(), is_paused=True, standing=None, is_order_pending=True)
    market.vaults = {"keep": FakeVault(status)}
    out = run("status")[1]
    for text in ("deposits are paused", "there is no fresh price", "an order is at the venue"):
        assert f"ADA keep: {text}" in out, text


def test_status__of_a_deployment_without_markets(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Perpool, "connect", lambda *_, **__: SimpleNamespace(markets={}))
    assert run("status") == (0, "this deployment has no markets yet\n", "")


# --- position


def test_position__of_all_kinds(run: Run, market: FakeMarket) -> None:
    market.found = [
        position(shares=Decimal(5), lent=Decimal("5.5"), is_liquidatable=True),
        position(
            "forward",
            entry_price=Decimal("9.99"),
            unrealised_profit=Decimal("-3.5"),
            interest=Decimal("0.1"),
        ),
    ]
    code, out, _ = run("position", ADDRESS)
    assert code == 0
    for text in ("Lent", "5.5 USDT", "Posted and borrowed", "liquidatable", "Shorts", "-3.5"):
        assert text in out, text
    assert market.asked == {"account": ADDRESS}
    assert json.loads(run("position", ADDRESS, "--json")[1])[0]["health"] == "1.6"
    assert run("position", ADDRESS, "--market", "ADA")[1] == out


def test_position__nothing(run: Run) -> None:
    code, out, _ = run("position", ADDRESS)
    assert (code, out) == (0, f"{ADDRESS} has nothing in these pools and vaults\n")


def test_position__in_vaults_and_of_rewards(
    run: Run, market: FakeMarket, rewards: FakeRewards
) -> None:
    market.in_vaults = [vault_position()]
    rewards.found = [reward()]
    code, out, _ = run("position", ADDRESS)
    assert code == 0
    for text in ("Carry vaults", "99.96 ADA", "33", "44", "Rewards", "0.75 GIFT", "50.00 %"):
        assert text in out, text
    assert "2030-01-02 03:04" in out
    vault, stream = json.loads(run("position", ADDRESS, "--json")[1])
    assert (vault["vault"], vault["pending_redeem"]) == ("keep", "7")
    assert (stream["programme"]["source"], stream["earned"]) == ("ADA keep", "0.75")
    assert run("position", ADDRESS, "--market", "ADA")[1] == out
    rewards.found = [replace(reward(), market="XRP")]
    assert "Rewards" not in run("position", ADDRESS, "--market", "ADA")[1]
    assert "Rewards" in run("position", ADDRESS)[1]


def test_position__redemptions(run: Run, market: FakeMarket) -> None:
    """One that waits for its order, and one that is set apart and can be finished or not."""
    market.in_vaults = [vault_position()]
    assert "Redemptions" not in run("position", ADDRESS)[1]
    since = datetime(2030, 1, 2, 3, 4, tzinfo=UTC)
    asked = Redemption(Decimal(3), since, Decimal(29), Decimal(17))
    apart = SetApart(
        shares=Decimal(4),
        since=since,
        min_tokens=Decimal(41),
        usdt=Decimal(5),
        anybody_from=since + timedelta(hours=1),
        brings=Decimal("39.5"),
        problem=None,
    )
    market.in_vaults = [vault_position(redemption=asked)]
    out = run("position", ADDRESS)[1]
    assert "asked for" in out
    assert "set apart" not in out
    market.in_vaults = [vault_position(redemption=asked, apart=apart)]
    rows = run("position", ADDRESS)[1].partition("Redemptions")[2]
    for text in ("asked for", "29", "17", "2030-01-02 03:04"):
        assert text in rows, text
    for text in ("set apart", "41", "39.5", "2030-01-02 04:04"):
        assert text in rows, text
    found = json.loads(run("position", ADDRESS, "--json")[1])[0]["apart"]
    assert (found["brings"], found["anybody_from"] - found["since"]) == ("39.5", 3_600)
    failed = replace(apart, brings=None, problem=Problem("slippage", "bring USDT"))
    market.in_vaults = [vault_position(apart=failed)]
    rows = run("position", ADDRESS)[1].partition("Redemptions")[2]
    assert "not now:" in rows
    assert "slippage" in rows


@pytest.mark.parametrize("address", ["0x12", "ada.eth", ADDRESS.replace("f39F", "f39f")])
def test_position__no_address(run: Run, address: str) -> None:
    code, _, err = run("position", address)
    assert code == 2
    assert "write an address" in err


# --- quotes


def test_quote_borrow(run: Run, market: FakeMarket) -> None:
    code, out, _ = run("quote", "borrow", "ADA", "500", "--collateral", "100")
    assert code == 0
    assert market.asked == {"usdt": "500", "collateral": "100", "account": None}
    for text in ("6.00 % a year, 5.00 % before", "hedge ratio", "50.0 %", "6.25 USDT"):
        assert text in out, text
    answer = json.loads(run("quote", "borrow", "ADA", "500", "--json")[1])
    assert answer["is_possible"] is True
    assert answer["after"]["ltv"] == "0.5"


def test_quote_short(run: Run, market: FakeMarket) -> None:
    code, out, _ = run(
        "quote", "short", "ADA", "20", "--margin", "100", "--slippage", "1", "--account", ADDRESS
    )
    assert code == 0
    assert market.asked == {
        "tokens": "20",
        "margin": "100",
        "account": ADDRESS,
        "slippage": Decimal("0.01"),
    }
    assert "199.9 USDT, at least 199" in out
    assert "2.00x" in out


@pytest.mark.parametrize(
    "command",
    [("borrow", "ADA", "5"), ("short", "ADA", "5", "--margin", "1")],
)
def test_quote__of_what_is_not_possible(
    run: Run, market: FakeMarket, command: tuple[str, ...]
) -> None:
    market.problems = (Problem("paused", "Wait."), Problem("debt cap", "Borrow less."))
    code, out, _ = run("quote", *command)
    assert code == cli.NOT_POSSIBLE
    assert "not possible now: paused. Wait.\nnot possible now: debt cap. Borrow less.\n" in out
    code, out, _ = run("quote", *command, "--json")
    assert code == cli.NOT_POSSIBLE
    assert json.loads(out)["is_possible"] is False


@pytest.mark.parametrize(
    "command", [("borrow", "ADA", "5"), ("short", "ADA", "5", "--margin", "1")]
)
def test_quote__for_no_address(run: Run, command: tuple[str, ...]) -> None:
    code, _, err = run("quote", *command, "--account", "me")
    assert code == 2
    assert "write an address" in err


def test_quote_short__wrong_usage(run: Run) -> None:
    assert run("quote", "short", "ADA", "5")[0] == 2
    code, _, err = run("quote", "short", "ADA", "5", "--margin", "1", "--slippage", "some")
    assert code == 2
    assert "write a number of percent" in err


# --- where


def test_connected__options_and_environment(
    run: Run, connections: list[tuple[Any, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run("status")
    run("status", "--network", "sepolia")
    run("status", "--rpc", "http://node", "--deployment", "file.json")
    monkeypatch.setenv("PERPOOL_NETWORK", "mainnet")
    run("status")
    monkeypatch.setenv("PERPOOL_RPC_URL", "http://other")
    run("status")
    assert connections == [
        ("local", None),
        ("sepolia", None),
        ("http://node", "file.json"),
        ("mainnet", None),
        ("http://other", None),
    ]


# --- errors


def test_main__expected_error_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_: Any, **__: Any) -> Any:
        raise PerpoolError("there is no node:\n  start it")

    monkeypatch.setattr(Perpool, "connect", connect)
    assert run("status") == (1, "", "perpool: there is no node: start it\n")


def test_main__unknown_market(run: Run) -> None:
    assert run("status", "XRP") == (1, "", "perpool: there is no market XRP here\n")


def test_main__fault_of_its_own_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Perpool, "connect", lambda *_, **__: 1 // 0)
    code, _, err = run("status")
    assert code == 1
    assert err.count("\n") == 1
    assert "internal error (ZeroDivisionError" in err
    monkeypatch.setenv("PERPOOL_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        cli.main(["status"])


def test_main__interrupted(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(Perpool, "connect", connect)
    code, _, err = run("status")
    assert code == 130
    assert err.strip().endswith("interrupted")


@pytest.mark.parametrize("args", [("nonsense",), ("status", "--colour"), ("quote", "borrow")])
def test_main__wrong_usage(run: Run, args: tuple[str, ...]) -> None:
    code, _, err = run(*args)
    assert code == 2
    assert "Error: " in err


# --- help and commands of others


@pytest.mark.parametrize(
    "command", [("status",), ("position",), ("quote", "borrow"), ("quote", "short")]
)
def test_help__teaches_with_an_example(run: Run, command: tuple[str, ...]) -> None:
    code, out, _ = run(*command, "--help")
    assert code == 0
    assert f"\n      perpool {' '.join(command)}" in out


def test_help__names_all_commands_without_importing_them(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, _, _ in cli.LAZY.values():
        monkeypatch.setitem(sys.modules, module, None)
    out = run("--help")[1]
    for name in ("demo", "keeper", "position", "quote", "replay", "status"):
        assert f"\n  {name} " in out


@pytest.mark.parametrize("name", ["demo", "keeper", "replay"])
def test_lazy__command_of_another_module(
    run: Run, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module_name, attribute, _ = cli.LAZY[name]
    module = ModuleType(module_name)

    @click.command()
    @click.argument("word")
    def command(word: str) -> None:
        click.echo(f"ran with {word}")

    setattr(module, attribute, command)
    monkeypatch.setitem(sys.modules, module_name, module)
    assert run(name, "this") == (0, "ran with this\n", "")


@pytest.mark.parametrize("name", ["demo", "keeper", "replay"])
def test_lazy__module_that_is_missing(run: Run, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, cli.LAZY[name][0], None)
    code, _, err = run(name)
    assert code == 1
    assert f"`perpool {name}` is not installed" in err
    assert "make setup" in err
