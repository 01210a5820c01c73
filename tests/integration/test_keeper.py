"""The keeper on a chain: its own loop, `perpool keeper run`, and `ape run keeper`."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import click
import pytest
import structlog
from click.testing import CliRunner
from eth_account import Account
from eth_account.hdaccount import ETHEREUM_DEFAULT_PATH
from eth_account.signers.local import LocalAccount
from structlog.testing import capture_logs

from perpool.anvil import Anvil
from perpool.chain import Chain, Contract
from perpool.deployment import ChainSender, Deployment, Record, load_config
from perpool.history import HOUR, Candle, MarketHistory, Settlement
from perpool.keeper.chain import Contracts, KeeperError
from perpool.keeper.cli import PASSWORD_VARIABLE, keeper, serve
from perpool.keeper.loop import Keeper
from perpool.keeper.model import (
    Observation,
    ObservePrice,
    Outcome,
    Policy,
    ReportFunding,
    ReportPrice,
    SyncFunding,
)
from perpool.keeper.sources import HistorySource, Source
from perpool.reference.oracle import FundingFeed
from perpool.reports import ordered, rate_units

ROOT = Path(__file__).parents[2]
SEPOLIA = 11_155_111
GENESIS = 1_617_230_000
START = 1_617_235_200  # 2021-04-01
MNEMONIC = "test test test test test test test test test test test junk"
WAD, UNIT = 10**18, 10**9
PASSWORD = "of no account"


def anvil_key(index: int) -> LocalAccount:
    """The key of anvil's account; 0 deploys, 2 to 6 are the reporters of deploy/sepolia.toml."""
    Account.enable_unaudited_hdwallet_features()
    path = f"{ETHEREUM_DEFAULT_PATH[:-1]}{index}"
    key: LocalAccount = Account.from_mnemonic(MNEMONIC, account_path=path)
    return key


REPORTERS = [anvil_key(index) for index in range(2, 7)]


@pytest.fixture(scope="module")
def anvil() -> Iterator[Anvil]:
    # fees as on a public chain, so that gas is estimated and priced
    with Anvil(chain_id=SEPOLIA, timestamp=GENESIS, base_fee=10**9) as anvil:
        yield anvil


@pytest.fixture(scope="module")
def record(anvil: Anvil, tmp_path_factory: pytest.TempPathFactory) -> Record:
    chain = Chain.connect(anvil.endpoint)
    path = tmp_path_factory.mktemp("deployments") / "sepolia.json"
    config = load_config(ROOT / "deploy" / "sepolia.toml")
    return Deployment(config, ChainSender(chain, anvil_key(0)), path).run().record


@dataclass(frozen=True)
class Setting:
    """A deployed market at the beginning of the history."""

    anvil: Anvil
    chain: Chain
    record: Record

    def contract(self, kind: str, name: str) -> Contract:
        return self.chain.contract(kind, self.record.contracts[name]["address"])

    @property
    def oracle(self) -> Contract:
        return self.contract("FundingOracle", "FundingOracle")

    @property
    def token(self) -> str:
        return str(self.record.markets["ADA"]["token"])

    @property
    def feed(self) -> Contract:
        return self.contract("PriceFeed", "ADA.price_feed")

    def keeper(self, source: Source, signers: list[LocalAccount] | None = None) -> Keeper:
        return Keeper(
            Contracts.of_record(ChainSender(self.chain, anvil_key(0)), self.record),
            source,
            REPORTERS[:3] if signers is None else signers,
            policy=Policy(min_venues=1),
            clock=lambda: self.chain.timestamp,
        )


@pytest.fixture
def setting(anvil: Anvil, record: Record) -> Iterator[Setting]:
    chain = Chain.connect(anvil.endpoint)
    with chain.anchor():
        chain.rpc("anvil_setBlockTimestampInterval", 1)
        chain.mine(timestamp=START)
        try:
            yield Setting(anvil, chain, record)
        finally:
            chain.rpc("anvil_removeBlockTimestampInterval")


def history(hours: int = 96, crash_at: int | None = None) -> MarketHistory:
    """Settlements every 8, then every 4 hours; a price that loses half within an hour."""
    times = [*range(0, 48, 8), *range(48, hours, 4)]
    settlements = tuple(
        Settlement(START + hour * HOUR, Decimal(hour - 40) / 50_000, 8 if hour <= 48 else 4)
        for hour in times
    )
    closes = [
        Decimal("0.6") if crash_at is not None and hour >= crash_at else Decimal("1.2")
        for hour in range(-1, hours)
    ]
    candles = tuple(
        Candle(START + hour * HOUR, price, price, price, price)
        for hour, price in zip(range(-1, hours), closes, strict=True)
    )
    return MarketHistory("ADA", settlements, candles, "made up")


def kinds(outcome: Outcome) -> list[type]:
    return [type(each) for each in outcome.done]


# -- the loop --


def test_run_once__history_to_the_pools_rates(setting: Setting) -> None:
    market = history()
    keeper_ = setting.keeper(HistorySource.of(market))
    reference = FundingFeed(-10 * UNIT, 10 * UNIT, 86_400)
    for settlement in market.settlements:
        setting.chain.mine(timestamp=settlement.time)
        outcome = keeper_.run_once()
        assert outcome.failed == ()
        assert ReportFunding in kinds(outcome)
        assert kinds(outcome).count(SyncFunding) == 2

        reference = reference.fold(settlement.time, rate_units(settlement.annual_rate))
        ema, observed_at = setting.oracle.funding(setting.token)
        assert (ema, observed_at) == (reference.ema * UNIT, settlement.time)
        for leg in ("reverse", "forward"):
            pool = setting.contract(f"{leg.capitalize()}Pool", f"ADA.{leg}")
            state = pool.state()
            assert (state.funding_wad, state.funding_time) == (ema, settlement.time)
    assert setting.feed.latestRoundData()[1] == 12 * WAD // 10
    # the price never moved, and more than three days of it are covered
    assert setting.contract("PriceOracle", "ADA.price_oracle").volatility() == 0


def test_run_once__nothing_twice(setting: Setting) -> None:
    keeper_ = setting.keeper(HistorySource.of(history()))
    first = keeper_.run_once()
    assert kinds(first) == [ReportFunding, ReportPrice, SyncFunding, SyncFunding, ObservePrice]
    assert keeper_.run_once() == Outcome()


def test_run_once__follows_a_crash_round_by_round(setting: Setting) -> None:
    keeper_ = setting.keeper(HistorySource.of(history(crash_at=0)))
    keeper_.run_once()
    setting.chain.mine(timestamp=START + HOUR)
    prices = []
    for minute in range(5):
        setting.chain.mine(timestamp=START + HOUR + minute * 61)
        keeper_.run_once()
        prices.append(setting.feed.latestRoundData()[1] / WAD)
    # a fifth a round, until the median is reached
    assert prices == pytest.approx([0.96, 0.768, 0.6144, 0.6, 0.6])


class Silent:
    """A source without venues."""

    def observe(self, market: str, now: int) -> Observation:
        return Observation(market, ())


def test_run_once__no_venue_no_report(setting: Setting) -> None:
    keeper_ = setting.keeper(Silent())
    structlog.reset_defaults()  # a command run earlier in this process may have filtered warnings
    with capture_logs() as logs:
        outcome = Keeper.run_once(keeper_)
    assert outcome == Outcome(unheard=("ADA",))
    assert [each["event"] for each in logs] == ["too few venues"]
    assert setting.oracle.funding(setting.token) == (0, 0)


def test_serve__once_without_a_report_is_a_failure(setting: Setting) -> None:
    with pytest.raises(click.ClickException, match="too few venues had a value for ADA"):
        serve(setting.keeper(Silent()), once=True, every=60)


def test_run_once__one_failure_does_not_stop_the_rest(setting: Setting) -> None:
    keeper_ = setting.keeper(HistorySource.of(history()))
    # the price's feed learns of new reporters, the funding oracle does not
    others = ordered(anvil_key(index).address for index in range(4, 9))
    setting.feed.set_reporters(others, 3, sender=anvil_key(0))
    outcome = keeper_.run_once()
    [(failed, reason)] = outcome.failed
    assert isinstance(failed, ReportPrice)
    assert "1 of our keys are reporters" in reason
    assert kinds(outcome) == [ReportFunding, SyncFunding, SyncFunding]


def test_keeper__too_few_keys(setting: Setting) -> None:
    with pytest.raises(KeeperError, match="takes 3 reporters and there are 2 keys: add 1"):
        setting.keeper(Silent(), REPORTERS[:2])


def test_keeper__key_of_nobody(setting: Setting) -> None:
    with pytest.raises(KeeperError, match="not a reporter of this deployment: 0x"):
        setting.keeper(Silent(), [*REPORTERS[:3], anvil_key(0)])


def test_contracts__unknown_market(setting: Setting) -> None:
    sender = ChainSender(setting.chain, anvil_key(0))
    with pytest.raises(KeeperError, match="has no market XRP: there are ADA"):
        Contracts.of_record(sender, setting.record, ["XRP"])


def test_contracts__record_of_another_chain(setting: Setting) -> None:
    with Anvil() as other:
        sender = ChainSender(Chain.connect(other.endpoint))
        with pytest.raises(KeeperError, match="is of chain 11155111, the node of 31337"):
            Contracts.of_record(sender, setting.record)


# -- the commands --


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The history as a data folder."""
    market = history()
    folder = tmp_path / "data"
    rows = {
        "funding": [
            "ts,rate,interval_h",
            *(f"{each.time},{each.rate},{each.hours}" for each in market.settlements),
        ],
        "perp_1h": [
            "ts,open,high,low,close,volume",
            *(f"{each.time},1,1,1,{each.close},1" for each in market.candles),
        ],
    }
    for name, lines in rows.items():
        (folder / name).mkdir(parents=True)
        with gzip.open(folder / name / "ADAUSDT.csv.gz", "wt") as file:
            file.write("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def keystores(tmp_path: Path) -> list[str]:
    """Encrypted keys of three reporters, as options."""
    options = []
    for number, key in enumerate(REPORTERS[:3]):
        path = tmp_path / f"reporter-{number}.json"
        path.write_text(json.dumps(Account.encrypt(key.key, PASSWORD, "pbkdf2", 10)))
        options += ["--reporter", str(path)]
    return options


def test_command__keystores(setting: Setting, data: Path, keystores: list[str]) -> None:
    options = ["--rpc", setting.anvil.http_url, "--deployment", str(setting.record.path)]
    options += [*keystores, "--source", "history", "--data", str(data), "--once"]
    run = CliRunner().invoke(keeper, ["run", *options], env={PASSWORD_VARIABLE: PASSWORD})
    assert run.exit_code == 0, run.output
    assert "sent ReportFunding 1, ReportPrice 1, SyncFunding 2, ObservePrice 1" in run.output
    assert setting.oracle.funding(setting.token)[1] >= START


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (["--market", "XRP"], "has no market XRP: there are ADA"),
        (["--source", "history"], "history needs --data"),
        (["--source", "history", "--source", "okx"], "choose one of them"),
        (["--deployment", "nowhere.json"], "there is no nowhere.json: deploy first"),
    ],
)
def test_command__faults_are_one_line(
    setting: Setting, keystores: list[str], changes: list[str], reason: str
) -> None:
    options = ["--rpc", setting.anvil.http_url, "--deployment", str(setting.record.path)]
    run = CliRunner().invoke(
        keeper, ["run", *options, *keystores, "--once", *changes], env={PASSWORD_VARIABLE: PASSWORD}
    )
    assert run.exit_code == 1
    assert run.output.startswith("Error: ")
    assert reason in run.output
    assert run.output.count("\n") == 1


def test_command__wrong_password(setting: Setting, keystores: list[str]) -> None:
    options = ["--rpc", setting.anvil.http_url, "--deployment", str(setting.record.path)]
    run = CliRunner().invoke(
        keeper, ["run", *options, *keystores], env={PASSWORD_VARIABLE: "another"}
    )
    assert "or the password is wrong" in run.output


def test_ape_run_keeper(setting: Setting, data: Path) -> None:
    ape = str(Path(sys.executable).with_name("ape"))
    command = [ape, "run", "keeper", "--network", "ethereum:sepolia:node"]
    for index in (2, 4, 6):
        command += ["--reporter", f"TEST::{index}"]
    command += ["--submitter", "TEST::0", "--deployment", str(setting.record.path)]
    command += ["--source", "history", "--data", str(data), "--once"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    run = subprocess.run(
        command,
        check=False,
        cwd=ROOT,
        env=os.environ | {"SEPOLIA_RPC_URL": setting.anvil.http_url, "PATH": path},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert run.returncode == 0, run.stderr
    assert "sent ReportFunding 1, ReportPrice 1, SyncFunding 2, ObservePrice 1" in run.stdout
    ema, observed_at = setting.oracle.funding(setting.token)
    assert ema == int(history().settlements[0].annual_rate * WAD)
    assert observed_at >= START
