"""The constructor."""

from __future__ import annotations

import dataclasses

import pytest

from perpool.evm import Evm, reverts
from tests.market import ZERO_ADDRESS, wad
from tests.venues import Parameters, Venue, deploy_venue

DAY = 86_400


@pytest.mark.parametrize("missing", range(4))
def test_constructor__zero_address(plain: Venue, missing: int) -> None:
    places = [plain.token, plain.usdt, plain.oracle, plain.funding]
    places[missing] = ZERO_ADDRESS
    with reverts("zero address"):
        plain.evm.deploy("PerpVenue", *places, plain.parameters.as_tuple(6))


def test_constructor__equal_tokens(plain: Venue) -> None:
    with reverts("equal tokens"):
        plain.evm.deploy(
            "PerpVenue",
            *(plain.usdt, plain.usdt, plain.oracle, plain.funding),
            plain.parameters.as_tuple(6),
        )


def test_constructor__oracle_of_another_market(plain: Venue) -> None:
    other = deploy_venue(plain.evm)
    for token, usdt in ((other.token, plain.usdt), (plain.token, other.usdt)):
        with reverts("wrong oracle"):
            plain.evm.deploy(
                "PerpVenue",
                *(token, usdt, plain.oracle, plain.funding),
                plain.parameters.as_tuple(6),
            )


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("margins out of bounds", {"maintenance_margin": wad(10)}),
        ("margins out of bounds", {"maintenance_margin": 0}),
        ("margins out of bounds", {"initial_margin": wad(100) + 1}),
        ("fee out of bounds", {"fee": wad(5) + 1}),
        ("fee out of bounds", {"fee_to_insurance": wad(100) + 1}),
        ("penalty out of bounds", {"penalty": wad(5) + 1}),
        ("penalty out of bounds", {"penalty_to_caller": wad(100) + 1}),
        ("largest gain out of bounds", {"largest_long_gain": wad(10) - 1}),
        ("largest gain out of bounds", {"largest_long_gain": wad(1_000) + 1}),
        ("exposure cap out of bounds", {"exposure_cap": 0}),
        ("exposure cap out of bounds", {"exposure_cap": 2**112 // 10**6 + 1}),
        ("max age out of bounds", {"funding_max_age": 0}),
        ("max age out of bounds", {"funding_max_age": 7 * DAY + 1}),
        ("horizon out of bounds", {"adl_horizon": 0}),
        ("horizon out of bounds", {"adl_horizon": 30 * DAY + 1}),
        ("delay out of bounds", {"delay_blocks": 1_001}),
    ],
)
def test_constructor__parameters(evm: Evm, reason: str, change: dict[str, int]) -> None:
    with reverts(reason):
        deploy_venue(evm, dataclasses.replace(Parameters(), **change))


def test_constructor(plain: Venue) -> None:
    contract, parameters = plain.contract, plain.parameters
    assert contract.token() == plain.token.address
    assert contract.usdt() == plain.usdt.address
    assert contract.price_oracle() == plain.oracle.address
    assert contract.funding_oracle() == plain.funding.address
    assert tuple(contract.parameters()) == parameters.as_tuple(6)
    assert contract.initial_margin() == parameters.initial_margin
    assert contract.maintenance_margin() == parameters.maintenance_margin
    assert contract.fee() == parameters.fee
    assert contract.mark_price() == plain.price_e36(10)
    assert contract.last_request() == 0
