"""Deployments from a configuration: its checks, the plan, the record, resuming, and the owner."""

import copy
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from perpool.build import compile_contract
from perpool.deployment import (
    Call,
    ConfigError,
    Deploy,
    Deployment,
    DeploymentError,
    Record,
    RecordError,
    Status,
    describe,
    load_config,
    parse_config,
)
from perpool.deployment import run as run_module
from perpool.deployment.record import MULTICALL3
from perpool.evm import Account, Evm, reverts
from tests.deployments import (
    EXAMPLES,
    EvmSender,
    contracts,
    deploy,
    faults_of,
    local_example,
)
from tests.market import NO_BLOCK_CAP, NO_CAP, WAD, Leg, wad


@pytest.fixture
def deployer(evm: Evm) -> Account:
    return evm.account("deployer")


@pytest.fixture
def sender(evm: Evm, deployer: Account) -> EvmSender:
    return EvmSender(evm, deployer)


@pytest.fixture
def data(evm: Evm) -> dict[str, Any]:
    """The local example without what stands over its pools, with actors of this chain."""
    data = local_example(evm)
    del data["markets"]["ADA"]["venue"], data["markets"]["ADA"]["vaults"]
    return data


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deployments" / "local.json"


# -- the configuration --


def test_config__examples_are_valid() -> None:
    for name in ("local", "sepolia"):
        assert load_config(EXAMPLES / f"{name}.toml").markets


def test_config__who_deploys_owns_nothing_on_a_main_network(data: dict[str, Any]) -> None:
    data["chain_id"] = 1
    with pytest.raises(ConfigError) as caught:
        parse_config(data)
    assert any(fault.startswith("owner: a key that deploys") for fault in caught.value.faults)


def test_config__mainnet_example_is_refused_until_its_accounts_are_replaced() -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(EXAMPLES / "mainnet.toml")
    assert all("anybody can sign for" in fault for fault in caught.value.faults)
    assert len(caught.value.faults) == 9


def test_config__defaults_are_the_design_s(data: dict[str, Any]) -> None:
    leg = parse_config(data).markets["ADA"].reverse
    expected = Leg()
    for name in set(Leg.__dataclass_fields__) - {"min_debt", "funding_max_age"}:
        assert getattr(leg, name) * WAD == getattr(expected, name), name
    assert leg.funding_max_age == expected.funding_max_age


def test_config__reports_every_fault_on_a_line(data: dict[str, Any]) -> None:
    reverse = data["markets"]["ADA"]["reverse"]
    reverse |= {"kink": 0.5, "colour": "blue", "funding_max_age": 8}
    del reverse["min_debt"]
    data["markets"]["ADA"]["forward"] |= {"max_ltv": "85%", "fee": "30%"}
    data["guardian"] = "0x12"
    data["reporters"]["quorum"] = 2
    assert sorted(faults_of(data)) == sorted(
        [
            "guardian: write an address: 0x and 40 hexadecimal digits",
            "reporters: quorum has to be at least 3: a median of two is a mean, which one liar "
            "moves",
            "reporters: quorum 2 is no majority of 5 reporters: raise it to 3",
            'markets.ADA.reverse.kink: write a percentage as text with its sign, such as "2.5%"',
            "markets.ADA.reverse.funding_max_age: write a duration with its unit, s, m, h or d, "
            'such as "90s" or "24h"',
            "markets.ADA.reverse.min_debt: is missing",
            "markets.ADA.reverse.colour: there is no such setting; check its spelling",
            "markets.ADA.forward: 0% < stressed_ltv <= max_ltv < liquidation_ltv < 100% has to "
            "hold",
            "markets.ADA.forward: fee is 30%, and has to be between 0% and 25%",
        ]
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kink": "100%"}, "kink has to be"),
        ({"rate_cap": "99%"}, "raise it"),
        ({"base_rate": "-1%"}, "base_rate may not be negative"),
        ({"rate_cap": "10001%"}, "rate_cap is 10001%"),
        ({"pass_through": "51%"}, "pass_through is 51%"),
        ({"funding_max_age": "59m"}, "between 1h and 7d"),
        ({"stressed_ltv": "71%"}, "stressed_ltv <= max_ltv"),
        ({"bonus_base": "1%"}, "2% <= bonus_base"),
        ({"bonus_cap": "25%"}, "liquidation_ltv * (1 + bonus_cap)"),
        ({"bonus_slope": "1001%"}, "bonus_slope is 1001%"),
        ({"max_slippage": "11%"}, "max_slippage has to be"),
        ({"reserve_floor": "101%"}, "reserve_floor is 101%"),
        ({"fee": "12.55%"}, "at most one decimal"),
        ({"supply_cap": -1}, "not negative"),
        ({"debt_cap": "lots"}, "number of whole tokens"),
    ],
)
def test_config__leg_out_of_the_factory_s_rules(
    data: dict[str, Any], change: dict[str, Any], words: str
) -> None:
    data["markets"]["ADA"]["reverse"] |= change
    faults = faults_of(data)
    assert len(faults) == 1
    assert words in faults[0]


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("chain_id",), 1, "test_tokens are for test networks"),
        (("markets",), {}, "there are no markets"),
        (("usdt",), "DAI", "neither an address nor one of [test_tokens]"),
        (("usdt",), "ADA", "the token is USDT itself"),
        (("owner",), "0x" + 40 * "0", "zero address"),
        (("guardian",), "0x70997970C51812dc3A010C7d01b50e0d17dc79c8", "wrong checksum"),
        (("uniswap",), {}, 'give "factory"'),
        (("reporters", "quorum"), 6, "more than the 5 reporters"),
        (("reporters", "max_report_age"), "10s", "between 1m and 1d"),
        (("markets", "ADA", "price", "min"), 0, "0 < min < max"),
        (("markets", "ADA", "price", "max_age"), "8d", "at most 7d"),
        (("markets", "ADA", "price", "feed"), "0x" + 40 * "1", 'either "feed"'),
        (("markets", "ADA", "price", "signed"), {"spacing": "5s"}, "between 10s and 1h"),
        (("markets", "ADA", "route", "fees"), [], "one fee more"),
        (("markets", "ADA", "route", "fees"), ["0.00001%"], "a Uniswap fee is"),
        (("markets", "ADA", "funding"), {"lower": "1%", "upper": "1%"}, "lower < upper"),
        (("markets", "ADA", "funding"), {"tau": "31d"}, "between 1h and 30d"),
    ],
)
def test_config__fault(
    data: dict[str, Any], place: tuple[str, ...], value: Any, words: str
) -> None:
    section = data
    for name in place[:-1]:
        section = section[name]
    section[place[-1]] = value
    assert any(words in fault for fault in faults_of(data)), faults_of(data)


def test_config__repeated_reporter(data: dict[str, Any]) -> None:
    data["reporters"]["addresses"][1] = data["reporters"]["addresses"][0]
    assert "is named twice" in faults_of(data)[0]


def test_load_config__no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        load_config(tmp_path / "none.toml")


def test_load_config__not_toml(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("chain_id = 1\nowner = ")
    with pytest.raises(ConfigError, match=r"bad\.toml:2: cannot be read"):
        load_config(tmp_path / "bad.toml")


def test_load_config__every_fault_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "local.toml"
    text = (EXAMPLES / "local.toml").read_text()
    path.write_text(text.replace("quorum = 3", "quorums = 3").replace('"1h"', '"1"'))
    lines = path.read_text().split("\n")
    section, quorum, age = (
        lines.index(line) + 1 for line in ("[reporters]", "quorums = 3", 'max_age = "1"')
    )
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(caught.value).split("\n") == [
        f"{path}:{section}: reporters.quorum: is missing",
        f"{path}:{quorum}: reporters.quorums: there is no such setting; did you mean quorum?",
        f"{path}:{age}: markets.ADA.price.max_age: write a duration with its "
        'unit, s, m, h or d, such as "90s" or "24h"',
    ]


# -- the plan --


def test_plan__wrong_chain(data: dict[str, Any], sender: EvmSender, path: Path) -> None:
    data["chain_id"] = 1337
    with pytest.raises(ConfigError, match="chain_id is 1337, but the node is of chain 31337"):
        Deployment(parse_config(data), sender, path)


def test_plan__address_that_is_no_token(
    data: dict[str, Any], sender: EvmSender, path: Path
) -> None:
    data["usdt"] = "0x" + 40 * "1"
    with pytest.raises(ConfigError, match=r"usdt: 0x1+ does not answer decimals\(\)"):
        Deployment(parse_config(data), sender, path)


def test_plan__minimum_debt_of_dust(data: dict[str, Any], sender: EvmSender, path: Path) -> None:
    data["markets"]["ADA"]["reverse"]["min_debt"] = "0.0001"
    with pytest.raises(ConfigError, match="min_debt: has to be at least 1000"):
        Deployment(parse_config(data), sender, path)


def test_preview__sends_and_writes_nothing(
    data: dict[str, Any], sender: EvmSender, path: Path
) -> None:
    preview = Deployment(parse_config(data), sender, path).preview()
    assert {status for _, status in preview} == {Status.SENT}
    assert sender.sent == 0
    assert not path.exists()
    lines = [describe(step) for step, _ in preview]
    assert "deploy ReversePool as a blueprint" in lines
    assert "<PoolFactory>.set_caps(<ADA.reverse>, no cap, no cap, no cap)" in lines
    assert any(line.endswith("<UniswapV3Swapper>, <USDT> -0.05%- <ADA>)") for line in lines)


# -- a run --


def test_run__sets_everything_up(
    evm: Evm, data: dict[str, Any], sender: EvmSender, path: Path
) -> None:
    data["markets"]["ADA"]["reverse"] |= {
        "supply_cap": 1_000_000,
        "debt_cap": "900_000",
        "collateral_cap": "0.5",
        "fee": "12.5%",
        "rate_cap": "150%",
    }
    data["markets"]["ADA"]["funding"] = {"lower": "-500%", "upper": "600%", "tau": "12h"}
    outcome = deploy(data, sender, path)
    assert outcome.for_owner == []
    assert outcome.sent == sender.sent
    record = Record.read(path)
    assert record == outcome.record
    assert record.complete
    assert record.pending is None
    found = contracts(evm, record)
    factory, reverse, forward = found["PoolFactory"], found["ADA.reverse"], found["ADA.forward"]

    assert factory.owner() == sender.address
    assert factory.guardian() == data["guardian"]
    assert factory.is_swapper(found["UniswapV3Swapper"])
    assert factory.is_hook(found["RewardStream"])
    assert int(reverse.hook(), 16) == int(forward.hook(), 16) == 0
    for pool in (reverse, forward):
        assert pool.config().standard_hook == found["RewardStream"].address
    assert evm.code(found["Liquidator"]) == compile_contract("Liquidator").runtime
    assert tuple(factory.market(0)) == (
        found["ADA"].address,
        found["USDT"].address,
        reverse.address,
        forward.address,
    )
    assert reverse.caps() == (10**12, 900_000 * 10**6, 5 * 10**17)
    assert forward.caps() == (NO_CAP, NO_CAP, NO_BLOCK_CAP)
    assert reverse.state().flags >> 8 == 125
    assert forward.state().flags >> 8 == 100
    leg = Leg(rate_cap=wad(150), min_debt=10 * 10**6)
    assert tuple(reverse.config().leg) == leg.as_tuple()
    assert forward.config().leg.min_debt == 10 * 10**18
    swapper, route = factory.liquidation_swapper(forward)
    assert swapper == found["UniswapV3Swapper"].address
    assert route[:20] == bytes.fromhex(found["USDT"].address[2:])
    assert route[-20:] == bytes.fromhex(found["ADA"].address[2:])
    assert int.from_bytes(route[20:23], "big") == 500

    funding = found["FundingOracle"]
    assert set(funding.reporters()) == set(data["reporters"]["addresses"])
    assert funding.quorum() == 3
    assert tuple(funding.feed(found["ADA"]))[3:6] == (-5 * WAD, 6 * WAD, 12 * 3600)
    price_feed = found["ADA.price_feed"]
    assert price_feed.reporters() == funding.reporters()
    assert price_feed.token() == found["ADA"].address
    primary = found["ADA.price_oracle"].primary()
    assert tuple(primary) == (price_feed.address, 3600, 10**15, 1000 * 10**18)
    assert record.markets["ADA"] == {
        "token": found["ADA"].address,
        "usdt": found["USDT"].address,
        "price_feed": price_feed.address,
        "price_oracle": found["ADA.price_oracle"].address,
        "reverse": reverse.address,
        "forward": forward.address,
        "route": [found["USDT"].address, 500, found["ADA"].address],
        "venue": None,
        "vaults": {},
    }


def test_run__multicall_where_there_is_none(
    evm: Evm, data: dict[str, Any], sender: EvmSender, path: Path
) -> None:
    record = deploy(data, sender, path).record
    own = contracts(evm, record)["Multicall"]
    assert record.multicall == own.address
    # somebody deploys the other one later: ours stays
    evm.set_code(MULTICALL3, b"\x00")
    assert deploy(data, sender, path).sent == 0
    assert Record.read(path).multicall == own.address


def test_run__multicall_of_the_chain(
    evm: Evm, data: dict[str, Any], sender: EvmSender, path: Path
) -> None:
    evm.set_code(MULTICALL3, b"\x00")
    record = deploy(data, sender, path).record
    assert "Multicall" not in record.contracts
    assert record.multicall == MULTICALL3


def test_run__given_tokens_and_chainlink_feeds(
    evm: Evm, data: dict[str, Any], sender: EvmSender, path: Path
) -> None:
    usdt, token = evm.deploy("UsdtLike", 6), evm.deploy("TestToken", "Token", "TKN", 8)
    feed, usdt_feed = evm.deploy("TestFeed", 8, 10**9), evm.deploy("TestFeed", 6, 10**6)
    del data["test_tokens"]
    data["usdt"] = usdt.address
    market = data["markets"].pop("ADA")
    market["token"] = token.address
    market["price"] = {
        "feed": feed.address,
        "max_age": "1h",
        "min": "0.5",
        "max": 100,
        "usdt_usd": {"feed": usdt_feed.address, "max_age": "1d", "min": "0.9", "max": "1.1"},
    }
    data["markets"] = {"TKN": market, "TKN2": copy.deepcopy(market)}
    data["markets"]["TKN2"]["reverse"]["min_debt"] = 20
    record = deploy(data, sender, path).record
    found = contracts(evm, record)
    oracle = found["TKN.price_oracle"]
    assert tuple(oracle.primary()) == (feed.address, 3600, 5 * 10**7, 10**10)
    assert tuple(oracle.usdt_usd()) == (usdt_feed.address, 86_400, 900_000, 1_100_000)
    assert found["TKN.forward"].config().leg.min_debt == 10 * 10**8
    assert found["PoolFactory"].market_count() == 2
    assert "TKN.price_feed" not in record.contracts
    assert record.markets["TKN2"]["price_feed"] == feed.address


def test_run__not_from_changed_contracts_on_a_main_network(
    data: dict[str, Any], sender: EvmSender, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "TEST_CHAINS", frozenset())
    monkeypatch.setattr(run_module, "current_commit", lambda: "a" * 40 + "-dirty")
    with pytest.raises(DeploymentError, match="commit first"):
        deploy(data, sender, path)
    assert sender.sent == 0

    monkeypatch.setattr(run_module, "current_commit", lambda: "a" * 40)
    assert deploy(data, sender, path).sent > 0


def test_run__a_second_time_sends_nothing(
    data: dict[str, Any], sender: EvmSender, path: Path
) -> None:
    deploy(data, sender, path)
    text, sent = path.read_text(), sender.sent
    assert deploy(data, sender, path).sent == 0
    assert sender.sent == sent
    assert path.read_text() == text


def test_run__resumes_after_any_failure(
    evm: Evm, data: dict[str, Any], sender: EvmSender, path: Path
) -> None:
    with evm.anchor():
        total = deploy(data, sender, path).sent
        expected = Record.read(path)
    path.unlink()
    sender.sent = 0
    for number in range(total):
        sender.fails_at = number
        with pytest.raises(DeploymentError, match="the node is gone"):
            deploy(data, sender, path)
        assert not Record.read(path).complete
        sender.fails_at = number + 1
        if number + 1 == total:
            sender.fails_at = None
        else:
            with pytest.raises(DeploymentError):
                deploy(data, sender, path)
    assert deploy(data, sender, path).sent in (0, 1)
    assert sender.sent == total
    record = Record.read(path)
    assert record.complete
    addresses = {name: entry["address"] for name, entry in record.contracts.items()}
    assert addresses == {name: entry["address"] for name, entry in expected.contracts.items()}


def test_run__resumes_where_a_mined_transaction_was_not_recorded(
    data: dict[str, Any], sender: EvmSender, path: Path
) -> None:
    """The process ends between a transaction and its record, at every one of them."""
    config = parse_config(data)
    total = len(Deployment(config, sender, path).steps)
    for number in range(total):
        sender.dies_at = number
        with pytest.raises(KeyboardInterrupt):
            Deployment(config, sender, path).run()
    assert Deployment(config, sender, path).run().sent == 0
    assert sender.sent == total
    record = Record.read(path)
    assert record.complete
    assert set(record.markets) == {"ADA"}


def test_run__waits_for_a_transaction_in_flight(
    data: dict[str, Any], sender: EvmSender, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender.fails_at = 3
    with pytest.raises(DeploymentError):
        deploy(data, sender, path)
    latest = sender.nonce("latest")
    monkeypatch.setattr(sender, "nonce", lambda block: latest + (block == "pending"))
    with pytest.raises(DeploymentError, match="still waiting"):
        deploy(data, sender, path)


def test_run__changed_settings_are_sent(
    evm: Evm, data: dict[str, Any], sender: EvmSender, path: Path
) -> None:
    deploy(data, sender, path)
    data["markets"]["ADA"]["forward"]["block_cap"] = 7
    data["guardian"] = evm.account("another guardian").address
    outcome = deploy(data, sender, path)
    assert outcome.sent == 2
    found = contracts(evm, outcome.record)
    assert found["ADA.forward"].caps()[2] == 7 * 10**18
    assert found["PoolFactory"].guardian() == data["guardian"]


def test_run__leaves_what_the_owner_has_changed_since(
    evm: Evm, data: dict[str, Any], sender: EvmSender, path: Path, deployer: Account
) -> None:
    found = contracts(evm, deploy(data, sender, path).record)
    found["PoolFactory"].set_fee(found["ADA.reverse"], 200, sender=deployer)
    assert deploy(data, sender, path).sent == 0


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("reporters", "max_report_age"), "2h", "FundingOracle: its constructor's arguments"),
        (("markets", "ADA", "reverse", "kink"), "80%", "ADA: market: its parameters"),
    ],
)
def test_run__what_cannot_change_is_refused(
    data: dict[str, Any],
    sender: EvmSender,
    path: Path,
    place: tuple[str, ...],
    value: str,
    words: str,
) -> None:
    deploy(data, sender, path)
    section = data
    for name in place[:-1]:
        section = section[name]
    section[place[-1]] = value
    with pytest.raises(DeploymentError, match=words):
        deploy(data, sender, path)


# -- the owner --


@pytest.fixture
def timelock(evm: Evm, data: dict[str, Any]) -> Account:
    timelock = evm.account("timelock")
    data["owner"] = timelock.address
    return timelock


def test_run__hands_over_to_the_owner(
    evm: Evm, data: dict[str, Any], sender: EvmSender, path: Path, timelock: Account
) -> None:
    outcome = deploy(data, sender, path)
    assert not outcome.record.complete
    found = contracts(evm, outcome.record)
    owned = ("PoolFactory", "FundingOracle", "ADA.price_feed")
    assert [call.to for call in outcome.for_owner] == [found[name].address for name in owned]
    for name in owned:
        assert found[name].owner() == sender.address
        assert found[name].pending_owner() == timelock.address
    for call in outcome.for_owner:
        evm.transact(call.to, call.data, sender=timelock)
    for name in owned:
        assert found[name].owner() == timelock.address
    outcome = deploy(data, sender, path)
    assert (outcome.sent, outcome.for_owner) == (0, [])
    assert outcome.record.complete


def test_run__after_the_hand_over_gives_changes_to_the_owner(
    evm: Evm, data: dict[str, Any], sender: EvmSender, path: Path, timelock: Account
) -> None:
    for call in deploy(data, sender, path).for_owner:
        evm.transact(call.to, call.data, sender=timelock)
    data["markets"]["ADA"]["reverse"]["supply_cap"] = 5
    # a second market: its contracts are the deployer's to make, the factory's part the owner's
    data["test_tokens"]["XRP"] = {"decimals": 6}
    data["markets"]["XRP"] = copy.deepcopy(data["markets"]["ADA"]) | {"token": "XRP"}
    outcome = deploy(data, sender, path)
    assert {call.name for call in outcome.for_owner} >= {
        "ADA: caps of the reverse pool",
        "XRP: market",
        "XRP: caps of the forward pool",
        "XRP.price_feed: new owner accepts",
    }
    for call in outcome.for_owner:
        evm.transact(call.to, call.data, sender=timelock)
    outcome = deploy(data, sender, path)
    assert (outcome.sent, outcome.for_owner) == (0, [])
    assert set(outcome.record.markets) == {"ADA", "XRP"}
    found = contracts(evm, outcome.record)
    assert found["ADA.reverse"].caps()[0] == 5 * 10**6
    assert found["XRP.forward"].config().asset == found["XRP"].address


# -- the record --


def test_record__of_a_chain_that_is_gone(
    evm: Evm, data: dict[str, Any], sender: EvmSender, path: Path
) -> None:
    """A local chain begins anew; any other does not lose its contracts."""
    with evm.anchor():
        total = deploy(data, sender, path).sent
    assert deploy(data, sender, path).sent == total


def test_record__code_missing_on_a_public_chain(path: Path, data: dict[str, Any]) -> None:
    evm = Evm(chain_id=11_155_111)
    data |= {"chain_id": 11_155_111, "uniswap": {"factory": "0x" + 40 * "1"}}
    sender = EvmSender(evm, evm.account("deployer"))
    deploy(data, sender, path)
    evm.set_code(Record.read(path).contracts["Operators"]["address"], b"")
    with pytest.raises(DeploymentError, match=r"there is no code at 0x.* of Operators"):
        deploy(data, sender, path)


def test_record__other_code(evm: Evm, data: dict[str, Any], sender: EvmSender, path: Path) -> None:
    deploy(data, sender, path)
    evm.set_code(Record.read(path).contracts["Operators"]["address"], b"\0")
    with pytest.raises(DeploymentError, match="is not that of Operators any more"):
        deploy(data, sender, path)


def test_record__of_another_chain(data: dict[str, Any], sender: EvmSender, path: Path) -> None:
    deploy(data, sender, path)
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"chain_id": 1}))
    with pytest.raises(RecordError, match="is of chain 1, not 31337"):
        Deployment(parse_config(data), sender, path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "cannot be read"),
        ('{"format": 9}', "has format 9"),
        ('{"format": 1, "colour": 1}', "cannot be read"),
    ],
)
def test_record__damaged(path: Path, text: str, words: str) -> None:
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(RecordError, match=words):
        Record.read(path)


def test_record__none(path: Path) -> None:
    with pytest.raises(RecordError, match="deploy first"):
        Record.read(path)


def test_record__keeps_what_finds_the_contracts_again(
    data: dict[str, Any], sender: EvmSender, path: Path
) -> None:
    deploy(data, sender, path)
    content = json.loads(path.read_text())
    assert content["chain_id"] == 31_337
    assert content["deployer"] == sender.address
    assert len(content["commit"].removesuffix("-dirty")) == 40
    factory = content["contracts"]["PoolFactory"]
    blueprint = content["contracts"]["ReversePool"]
    assert factory["args"][0] == blueprint["address"]
    assert factory["args"][2] == blueprint["initcode_hash"]
    assert factory["transaction"].startswith("0x")
    market = content["calls"]["ADA: market"]
    # integers that JSON readers would round are text
    assert market["args"][0][6][4] == str(wad(300))
    assert Decimal(market["args"][0][6][6]) == 86_400


def test_steps__have_names_of_their_own(
    data: dict[str, Any], sender: EvmSender, path: Path
) -> None:
    steps = Deployment(parse_config(data), sender, path).steps
    assert len({step.name for step in steps}) == len(steps)
    assert {type(step) for step in steps} == {Deploy, Call}


def test_plan__uniswap_factory_without_code_on_a_public_chain(
    data: dict[str, Any], path: Path
) -> None:
    evm = Evm(chain_id=1)
    usdt, token = evm.deploy("UsdtLike", 6), evm.deploy("UsdtLike", 18)
    del data["test_tokens"]
    data |= {"chain_id": 1, "usdt": usdt.address, "uniswap": {"factory": "0x" + 40 * "1"}}
    data["owner"] = usdt.address
    data["markets"]["ADA"]["token"] = token.address
    with pytest.raises(ConfigError, match=r"uniswap\.factory: there is no code"):
        Deployment(parse_config(data), EvmSender(evm, evm.account("deployer")), path)


def test_send__reverted(
    evm: Evm, data: dict[str, Any], sender: EvmSender, path: Path, deployer: Account
) -> None:
    """A step that the chain refuses ends the run with its reason."""
    data["markets"]["ADA"]["route"]["fees"] = ["0.3%"]
    found = contracts(evm, deploy(data, sender, path).record)
    found["PoolFactory"].allow_swapper(found["UniswapV3Swapper"], False, sender=deployer)
    data["markets"]["ADA"]["route"]["fees"] = ["1%"]
    with pytest.raises(DeploymentError, match="ADA: liquidation route: unknown swapper"):
        deploy(data, sender, path)
    with reverts("unknown swapper"):
        found["PoolFactory"].set_liquidation_swapper(
            found["ADA.forward"], found["UniswapV3Swapper"], b"", sender=deployer
        )


@pytest.fixture(autouse=True)
def no_leftovers(path: Path) -> Iterator[None]:
    """No draft of a record stays behind."""
    yield
    assert not list(path.parent.glob("*.tmp"))
