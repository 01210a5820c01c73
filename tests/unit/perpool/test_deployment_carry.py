"""Deployments of a perp venue, carry vaults and rewards: configuration, plan, record, owner."""

import copy
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from perpool.deployment import (
    ConfigError,
    Deployment,
    DeploymentError,
    Record,
    load_config,
    parse_config,
)
from perpool.evm import Account, Evm
from perpool.reference.presets import PRESETS
from tests.deployments import (
    EXAMPLES,
    EvmSender,
    contracts,
    deploy,
    faults_of,
    local_example,
)
from tests.market import NO_CAP, STANDARD_HOOK, deploy_market, wad
from tests.venues import Parameters as VenueParameters

CARRY = ("CarryStrategy", "CarryLens", "ADA.venue", "ADA.keep", "ADA.neutral")


@pytest.fixture
def sender(evm: Evm) -> EvmSender:
    return EvmSender(evm, evm.account("deployer"))


@pytest.fixture
def data(evm: Evm) -> dict[str, Any]:
    return local_example(evm)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deployments" / "local.json"


def market_of(data: dict[str, Any]) -> dict[str, Any]:
    market: dict[str, Any] = data["markets"]["ADA"]
    return market


# -- the configuration --


def test_config__presets_are_those_that_were_replayed(data: dict[str, Any]) -> None:
    vaults = parse_config(data).markets["ADA"].vaults
    assert {name: vault.parameters for name, vault in vaults.items()} == PRESETS


def test_config__any_number_of_a_preset_may_be_another(data: dict[str, Any]) -> None:
    market_of(data)["vaults"]["keep"] |= {
        "hedge_ratio": "25%",
        "min_stay": "5d",
        "may_sell": True,
        "tip_rate": "0%",
    }
    found = parse_config(data).markets["ADA"].vaults["keep"].parameters
    assert (found.hedge_ratio, found.min_stay, found.may_sell) == (wad(25), 5 * 86_400, True)
    assert found.tip_rate == 0
    assert found.margin_ratio == PRESETS["keep"].margin_ratio


def test_config__venue_s_defaults(data: dict[str, Any]) -> None:
    venue = parse_config(data).markets["ADA"].venue
    expected = VenueParameters()
    for name in set(VenueParameters.__dataclass_fields__) - {"exposure_cap"}:
        found = getattr(venue, name)
        units = found * 10**18 if isinstance(found, Decimal) else found
        assert units == getattr(expected, name), name


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"preset": "bold"}, 'vaults.keep.preset: write "keep" or "neutral"'),
        ({"hedge_ratio": "-1%"}, "hedge_ratio: may not be negative"),
        ({"hedge_ratio": "201%", "may_sell": True}, "hedge_ratio: has to be above 0%"),
        ({"hedge_band": "100%"}, "hedge_band: has to be above 0% and below 100%"),
        ({"margin_band": "0%"}, "margin_band: has to be above 0%"),
        ({"margin_ratio": "101%"}, "margin_ratio: has to be at most 100%"),
        ({"hedge_ratio": "150%", "may_sell": True}, "margin_ratio * hedge_ratio = 75%"),
        ({"hedge_ratio": "31%"}, "ltv_ceiling has to be 51.5% at least"),
        ({"leave_rate": "20%"}, "leave_rate has to be below enter_rate"),
        ({"min_stay": "91d"}, "min_stay: has to be at most 90d"),
        ({"max_slippage": "6%"}, "max_slippage: has to be above 0% and at most 5%"),
        ({"max_slippage": "4%"}, "max_slippage is above the reverse pool's, 3%"),
        ({"tip_rate": "2%"}, "tip_rate: has to be at most 1%"),
        ({"ltv_ceiling": "61%"}, "ltv_ceiling is above the reverse pool's stressed_ltv, 60%"),
        ({"worst_carry": "51.9%"}, "worst_carry has to be 52% at least"),
        ({"ltv_band": "26%"}, "5% below the reverse pool's liquidation_ltv, 80%"),
        ({"margin_ratio": "29%"}, "margin_ratio has to be 30% at least"),
        ({"min_stay": "1h"}, "the venue's fee of opening and closing, 0.1%"),
        ({"cap": -1}, "vaults.keep.cap: an amount is a number that is not negative"),
    ],
)
def test_config__vault_out_of_the_contract_s_rules(
    data: dict[str, Any], change: dict[str, Any], words: str
) -> None:
    market_of(data)["vaults"]["keep"] |= change
    faults = faults_of(data)
    assert any(words in fault for fault in faults), faults
    assert all("markets.ADA.vaults.keep" in fault for fault in faults)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"maintenance_margin": "10%"}, "maintenance_margin < initial_margin"),
        ({"fee": "6%"}, "fee is 6%, and has to be between 0% and 5%"),
        ({"penalty": "-1%"}, "penalty is -1%"),
        ({"fee_to_insurance": "101%"}, "fee_to_insurance is 101%"),
        ({"largest_long_gain": "9%"}, "largest_long_gain has to be"),
        ({"exposure_cap": 0}, "exposure_cap has to be above 0"),
        ({"funding_max_age": "8d"}, "funding_max_age has to be"),
        ({"adl_horizon": "0s"}, "adl_horizon has to be"),
        ({"delay_blocks": 1001}, "delay_blocks: has to be 1000 at most"),
    ],
)
def test_config__venue_out_of_the_contract_s_rules(
    data: dict[str, Any], change: dict[str, Any], words: str
) -> None:
    market_of(data)["venue"] |= change
    faults = faults_of(data)
    assert any(words in fault for fault in faults), faults
    assert all(fault.startswith("markets.ADA.venue") for fault in faults)


@pytest.mark.parametrize("name", ["Keep", "venue", "strategy", "a-b", "thirteenchars"])
def test_config__vault_s_name(data: dict[str, Any], name: str) -> None:
    vaults = market_of(data)["vaults"]
    vaults[name] = vaults.pop("keep")
    (fault,) = faults_of(data)
    assert fault.startswith(f"markets.ADA.vaults.{name}: ")
    assert "name" in fault


def test_config__vault_without_a_venue(data: dict[str, Any]) -> None:
    del market_of(data)["venue"]
    faults = faults_of(data)
    assert len(faults) == 2
    assert 'markets.ADA.vaults.keep: give "venue", the address of a perp venue' in faults[0]


def test_config__venue_of_ours_is_for_test_networks(data: dict[str, Any]) -> None:
    data["chain_id"] = 1
    assert any("a venue of ours is for test networks" in fault for fault in faults_of(data))


def test_config__liquidity_that_nobody_can_mint(data: dict[str, Any]) -> None:
    data["usdt"] = "0x" + 40 * "1"
    (fault,) = faults_of(data)
    assert fault.startswith("markets.ADA.venue.liquidity: is minted")


def test_load_config__faults_of_vaults_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "local.toml"
    text = (EXAMPLES / "local.toml").read_text()
    path.write_text(
        text.replace(
            'preset = "keep"', 'preset = "keep"\nltv_ceiling = "65%"\nworst_carry = "67%"'
        ).replace("exposure_cap = 1_000_000", "exposure_cap = 0")
    )
    lines = path.read_text().split("\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    venue, keep = (
        lines.index(each) + 1 for each in ("[markets.ADA.venue]", "[markets.ADA.vaults.keep]")
    )
    assert str(caught.value).split("\n") == [
        f"{path}:{venue}: markets.ADA.venue: exposure_cap has to be above 0",
        f"{path}:{keep}: markets.ADA.vaults.keep: ltv_ceiling is above the reverse pool's "
        "stressed_ltv, 60%: in a storm the pool would not lend that",
    ]


# -- the plan --


def test_plan__nothing_of_vaults_without_one(
    data: dict[str, Any], sender: EvmSender, path: Path
) -> None:
    del market_of(data)["vaults"]
    names = {step.name for step in Deployment(parse_config(data), sender, path).steps}
    assert names & set(CARRY) == {"ADA.venue"}


def test_plan__venue_of_others_that_is_none(
    data: dict[str, Any], sender: EvmSender, path: Path
) -> None:
    market_of(data)["vaults"]["keep"]["venue"] = "0x" + 40 * "1"
    with pytest.raises(ConfigError, match=r"keep: 0x1+ does not answer as a perp venue"):
        Deployment(parse_config(data), sender, path)


def test_plan__venue_of_others_that_does_not_fit(
    evm: Evm, data: dict[str, Any], sender: EvmSender, path: Path
) -> None:
    """The vault's numbers are held against the venue as the chain has it."""
    market = deploy_market(evm)
    other = evm.deploy("ScriptedVenue", market.usdt, market.token, 10**36)
    data["usdt"] = market.usdt.address
    data["markets"]["ADA"] |= {"token": market.token.address, "route": {"fees": ["0.05%"]}}
    del market_of(data)["venue"], market_of(data)["vaults"]["neutral"]
    market_of(data)["vaults"]["keep"] |= {"venue": other.address, "margin_ratio": "21%"}
    with pytest.raises(ConfigError) as caught:
        Deployment(parse_config(data), sender, path)
    assert any("not of this market" in fault for fault in caught.value.faults)
    assert any("margin_ratio has to be" in fault for fault in caught.value.faults)


# -- a run --


def test_run__venue_and_vaults(
    evm: Evm, data: dict[str, Any], sender: EvmSender, path: Path
) -> None:
    market_of(data)["vaults"]["neutral"] |= {"cap": 500, "rewards": True}
    market_of(data)["reverse"]["rewards"] = True
    outcome = deploy(data, sender, path)
    assert (outcome.for_owner, outcome.record.complete) == ([], True)
    record = Record.read(path)
    found = contracts(evm, record)

    venue, factory = found["ADA.venue"], found["PoolFactory"]
    assert (venue.token(), venue.usdt()) == (found["ADA"].address, found["USDT"].address)
    assert venue.price_oracle() == found["ADA.price_oracle"].address
    assert venue.funding_oracle() == found["FundingOracle"].address
    expected = VenueParameters(exposure_cap=1_000_000)
    assert tuple(venue.parameters()) == expected.as_tuple(6)
    assert venue.state().liquidity == 2_000_000 * 10**6
    assert venue.shares_of(sender.address) == venue.state().shares

    keep, neutral = found["ADA.keep"], found["ADA.neutral"]
    assert (keep.name(), keep.symbol()) == ("Perpool ADA keep", "pcADA-keep")
    assert keep.limits() == (NO_CAP, 100_000 * 10**6)
    assert neutral.limits() == (500 * 10**18, 100_000 * 10**6)
    assert neutral.parameters().hedge_ratio == wad(100)
    for name, vault in (("keep", keep), ("neutral", neutral)):
        strategy = found[f"ADA.{name}.strategy"]
        assert strategy.address == vault.strategy()
        assert strategy.vault() == vault.address
        assert strategy.legs() == tuple(
            found[f"ADA.{each}"].address for each in ("reverse", "forward", "venue")
        )
    stream = found["RewardStream"].address
    assert factory.is_hook(stream)
    assert (neutral.hook(), found["ADA.reverse"].hook()) == (stream, stream)
    assert found["ADA.reverse"].state().flags & STANDARD_HOOK
    assert int(keep.hook(), 16) == int(found["ADA.forward"].hook(), 16) == 0
    assert record.contracts["CarryStrategy"]["kind"] == "blueprint"
    assert record.markets["ADA"]["venue"] == venue.address
    assert record.markets["ADA"]["vaults"] == {
        name: {
            "vault": found[f"ADA.{name}"].address,
            "strategy": found[f"ADA.{name}.strategy"].address,
            "venue": venue.address,
        }
        for name in ("keep", "neutral")
    }


def test_run__vault_s_routes_are_the_market_s(
    evm: Evm, data: dict[str, Any], sender: EvmSender, path: Path
) -> None:
    record = deploy(data, sender, path).record
    sell, buy = record.calls["ADA: routes of the vault keep"]["args"][1:]
    token, usdt = (record.markets["ADA"][name][2:].lower() for name in ("token", "usdt"))
    assert (sell, buy) == (f"0x{token}0001f4{usdt}", f"0x{usdt}0001f4{token}")


def test_run__vault_at_a_venue_of_others(
    evm: Evm, data: dict[str, Any], sender: EvmSender, path: Path
) -> None:
    usdt, token = evm.deploy("UsdtLike", 6), evm.deploy("TestToken", "Token", "TKN", 18)
    venue = evm.deploy("ScriptedVenue", token, usdt, 10**25)
    data["usdt"] = usdt.address
    data["markets"]["ADA"] |= {"token": token.address}
    del market_of(data)["venue"]
    for vault in market_of(data)["vaults"].values():
        vault["venue"] = venue.address
    record = deploy(data, sender, path).record
    assert record.markets["ADA"]["venue"] is None
    assert record.markets["ADA"]["vaults"]["keep"]["venue"] == venue.address
    assert contracts(evm, record)["ADA.keep.strategy"].legs()[2] == venue.address


def test_run__a_second_time_sends_nothing(
    data: dict[str, Any], sender: EvmSender, path: Path
) -> None:
    deploy(data, sender, path)
    text = path.read_text()
    assert deploy(data, sender, path).sent == 0
    assert path.read_text() == text


def test_run__onto_a_deployment_without_vaults(
    evm: Evm, data: dict[str, Any], sender: EvmSender, path: Path
) -> None:
    before = copy.deepcopy(data)
    market_of(before).pop("venue"), market_of(before).pop("vaults")
    deploy(before, sender, path)
    outcome = deploy(data, sender, path)
    assert outcome.sent == len(CARRY) + 3 + 2 * 2
    assert set(outcome.record.markets["ADA"]["vaults"]) == {"keep", "neutral"}


def test_run__resumes_wherever_it_ended(
    data: dict[str, Any], sender: EvmSender, path: Path
) -> None:
    """The process ends between a transaction and its record, at every one of vaults and venue."""
    config = parse_config(data)
    plain = copy.deepcopy(data)
    market_of(plain).pop("venue"), market_of(plain).pop("vaults")
    deploy(plain, sender, path)
    start = sender.sent
    died_at: list[str] = []
    steps = [step.name for step in Deployment(config, sender, path).steps]
    while sender.dies_at is not None or not died_at:
        sender.dies_at = sender.sent
        try:
            Deployment(config, sender, path).run()
            sender.dies_at = None
        except KeyboardInterrupt:
            record = Record.read(path)
            known = {*record.contracts, *record.calls}
            died_at.append(next(name for name in steps if name not in known))
    record = Record.read(path)
    assert record.complete
    assert {"ADA.keep.strategy", "ADA.neutral.strategy"} <= set(record.contracts)
    assert len(set(died_at)) == len(died_at) == len(CARRY) + 3 + 2 * 2
    assert sender.sent - start == len(died_at)


def test_run__vault_s_numbers_cannot_change(
    data: dict[str, Any], sender: EvmSender, path: Path
) -> None:
    deploy(data, sender, path)
    market_of(data)["vaults"]["keep"]["enter_rate"] = "30%"
    with pytest.raises(DeploymentError, match=r"ADA\.keep: its constructor's arguments"):
        deploy(data, sender, path)


def test_run__vault_s_limits_can(
    evm: Evm, data: dict[str, Any], sender: EvmSender, path: Path
) -> None:
    deploy(data, sender, path)
    market_of(data)["vaults"]["keep"] |= {"cap": 7, "rewards": True}
    outcome = deploy(data, sender, path)
    assert outcome.sent == 2
    found = contracts(evm, outcome.record)
    assert found["ADA.keep"].limits()[0] == 7 * 10**18
    assert found["ADA.keep"].hook() == found["RewardStream"].address


# -- the owner --


def test_run__what_a_vault_s_owner_sends(
    evm: Evm, data: dict[str, Any], sender: EvmSender, path: Path
) -> None:
    """The owner of a vault is the factory's. Deploying, and the venue's liquidity, is anyone's."""
    timelock: Account = evm.account("timelock")
    data["owner"] = timelock.address
    before = copy.deepcopy(data)
    market_of(before).pop("venue"), market_of(before).pop("vaults")
    for call in deploy(before, sender, path).for_owner:
        evm.transact(call.to, call.data, sender=timelock)
    outcome = deploy(data, sender, path)
    assert [call.name for call in outcome.for_owner] == [
        f"ADA: {what} of the vault {name}"
        for name in ("keep", "neutral")
        for what in ("routes", "limits")
    ]
    found = contracts(evm, outcome.record)
    assert found["ADA.venue"].state().liquidity == 2_000_000 * 10**6
    assert found["ADA.keep"].limits() == (0, 0)
    for call in outcome.for_owner:
        evm.transact(call.to, call.data, sender=timelock)
    assert found["ADA.keep"].limits() == (NO_CAP, 100_000 * 10**6)
    outcome = deploy(data, sender, path)
    assert not outcome.for_owner
    assert outcome.record.complete
