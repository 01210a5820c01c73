"""The keeper on a chain: its own loop, `perpool keeper run`, and `ape run keeper`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest
from eth_account import Account
from eth_account.hdaccount import ETHEREUM_DEFAULT_PATH
from eth_account.signers.local import LocalAccount

from perpool.anvil import Anvil
from perpool.chain import Chain, Contract
from perpool.deployment import ChainSender, Deployment, Record, load_config
from perpool.history import HOUR, Candle, MarketHistory, Settlement
from perpool.keeper.chain.contracts import Contracts, KeeperError
from perpool.keeper.chain.nodes import Nodes
from perpool.keeper.local import LocalKeeper
from perpool.keeper.model import ObservePrice, ReportFunding, ReportPrice, SyncFunding
from perpool.keeper.sources import Panel, panel_of
from perpool.keeper.submitter import Outcome
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

    @contextmanager
    def keeper(self, panel: Panel) -> Iterator[LocalKeeper]:
        with LocalKeeper(
            self.anvil.endpoint,
            self.record,
            panel,
            REPORTERS[:3],
            anvil_key(9),
            clock=lambda: self.chain.timestamp,
        ) as keeper:
            yield keeper


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


# -- history to the chain --


def test_round__history_to_the_pools_rates(setting: Setting) -> None:
    market = history()
    reference = FundingFeed(-10 * UNIT, 10 * UNIT, 86_400)
    with setting.keeper(panel_of(market)) as keeper:
        for settlement in market.settlements:
            setting.chain.mine(timestamp=settlement.time)
            outcome = keeper.round()
            assert outcome.refused == ()
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


def test_round__nothing_twice(setting: Setting) -> None:
    with setting.keeper(panel_of(history())) as keeper:
        first = keeper.round()
        assert kinds(first) == [
            ReportPrice,
            ReportFunding,
            SyncFunding,
            SyncFunding,
            ObservePrice,
        ]
        sent = setting.chain.rpc("eth_getTransactionCount", anvil_key(9).address, "latest")
        assert keeper.round() == Outcome()
        assert setting.chain.rpc("eth_getTransactionCount", anvil_key(9).address, "latest") == sent
        # price, funding, and the rest as one
        assert int(sent, 16) == 3


def test_round__follows_a_crash_round_by_round(setting: Setting) -> None:
    prices = []
    with setting.keeper(panel_of(history(crash_at=0))) as keeper:
        keeper.round()
        setting.chain.mine(timestamp=START + HOUR)
        for minute in range(5):
            setting.chain.mine(timestamp=START + HOUR + minute * 61)
            keeper.round()
            prices.append(setting.feed.latestRoundData()[1] / WAD)
    # a fifth a round, until the median is reached
    assert prices == pytest.approx([0.96, 0.768, 0.6144, 0.6, 0.6])


def test_round__no_venue_no_report(setting: Setting) -> None:
    with setting.keeper(Panel([])) as keeper:
        assert keeper.round() == Outcome()
    assert setting.oracle.funding(setting.token) == (0, 0)


def test_round__one_refusal_does_not_stop_the_rest(setting: Setting) -> None:
    with setting.keeper(panel_of(history())) as keeper:
        keeper.contracts.seats(START)
        # the price's feed learns of new reporters after the keeper has read the old ones
        others = ordered(anvil_key(index).address for index in range(4, 9))
        setting.feed.set_reporters(others, 3, sender=anvil_key(0))
        outcome = keeper.round()
        [entry] = [each for each in keeper.journal.recent(9) if each.state == "refused"]
    assert entry.reason == "it would fail: unknown or repeated signer"
    [(refused, reason)] = outcome.refused
    assert isinstance(refused, ReportPrice)
    assert reason == "unknown or repeated signer"
    assert kinds(outcome) == [ReportFunding, SyncFunding, SyncFunding]


def test_contracts__unknown_market(setting: Setting) -> None:
    nodes = Nodes([setting.anvil.endpoint])
    with pytest.raises(KeeperError, match="has no market XRP: there are ADA"):
        Contracts.of_record(nodes, setting.record, ["XRP"])


def test_contracts__record_of_another_chain(setting: Setting) -> None:
    with Anvil() as other:
        nodes = Nodes([other.endpoint])
        with pytest.raises(KeeperError, match="is of chain 11155111, the node of 31337"):
            Contracts.of_record(nodes, setting.record)


def test_contracts__record_of_a_chain_that_was_started_anew(setting: Setting) -> None:
    with Anvil(chain_id=SEPOLIA) as other:
        nodes = Nodes([other.endpoint])
        with pytest.raises(KeeperError, match=r"there is no funding oracle at 0x.*deploy again"):
            Contracts.of_record(nodes, setting.record)
