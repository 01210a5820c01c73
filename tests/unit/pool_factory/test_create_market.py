"""`create_market`, `predict_market`, `market`, `market_count`, `is_pool` and `pool_config`."""

from dataclasses import replace
from typing import Any

import pytest
from eth_abi import encode
from eth_utils.crypto import keccak

from perpool.build import compile_contract
from perpool.evm import Account, Contract, Evm, reverts
from tests.market import (
    CAPPED,
    MAX,
    NO_CAP,
    WAD,
    ZERO_ADDRESS,
    Leg,
    Market,
    deploy_factory,
    wad,
)
from tests.pools import address_of, expect_event, virtual_shares_of
from tests.unit.pool_factory.conftest import FIELDS, NOT_OWNER, parameters_of, with_leg

LEGS = ("reverse", "forward")
LEG_TYPE = f"({','.join(['uint256'] * 16)})"
MARKET_TYPE = f"(address,address,string,address,address,address,{LEG_TYPE},{LEG_TYPE})"


def encoded(parameters: tuple[Any, ...]) -> bytes:
    """The parameters as the factory hashes them to a salt."""
    plain = [
        address_of(value) if field not in ("symbol", *LEGS) else value
        for field, value in zip(FIELDS, parameters, strict=True)
    ]
    return bytes(encode([MARKET_TYPE], [plain]))


def create2_address(factory: Contract, salt: bytes, initcode: bytes) -> bytes:
    return keccak(b"\xff" + bytes.fromhex(factory.address[2:]) + salt + keccak(initcode))[12:]


# --- who may


def test_create_market__not_the_owner(market: Market, factory: Contract, stranger: Account) -> None:
    for caller in (stranger, market.guardian):
        with reverts(NOT_OWNER):
            factory.create_market(parameters_of(market, symbol="NEW"), sender=caller)


# --- unsafe parameters


@pytest.mark.parametrize("field", ["token", "usdt", "funding_oracle", "price_oracle"])
def test_create_market__zero_address(market: Market, factory: Contract, field: str) -> None:
    with reverts("zero address"):
        factory.create_market(parameters_of(market, **{field: ZERO_ADDRESS}), sender=market.owner)


def test_create_market__token_is_usdt(market: Market, factory: Contract) -> None:
    with reverts("token is usdt"):
        factory.create_market(parameters_of(market, token=market.usdt), sender=market.owner)


@pytest.mark.parametrize("field", ["token", "usdt"])
@pytest.mark.parametrize("decimals", [0, 5, 25, 255])
def test_create_market__decimals_out_of_bounds(
    market: Market, factory: Contract, field: str, decimals: int
) -> None:
    odd = market.evm.deploy("TestToken", "Odd", "ODD", decimals)
    with reverts("decimals not 6 to 24"):
        factory.create_market(parameters_of(market, **{field: odd}), sender=market.owner)


@pytest.mark.parametrize("field", ["token", "usdt"])
def test_create_market__oracle_of_another_market(
    market: Market, factory: Contract, field: str
) -> None:
    other = market.evm.deploy("TestToken", "Other", "OTH", 18)
    with reverts("oracle of another market"):
        factory.create_market(parameters_of(market, **{field: other}), sender=market.owner)


UNSAFE: list[tuple[str, dict[str, int]]] = [
    ("kink out of range", {"kink": 0}),
    ("kink out of range", {"kink": WAD}),
    ("kink out of range", {"kink": MAX}),
    # 2 % + 8 % + 90 %
    ("rate cap out of range", {"rate_cap": wad(100) - 1}),
    ("rate cap out of range", {"rate_cap": 100 * WAD + 1}),
    ("rate cap out of range", {"rate_cap": MAX}),
    ("rate cap out of range", {"base_rate": MAX, "slope1": 1, "slope2": 0}),
    ("rate cap out of range", {"slope1": MAX}),
    ("rate cap out of range", {"slope2": MAX}),
    ("pass-through too high", {"pass_through": wad(50) + 1}),
    ("pass-through too high", {"pass_through": MAX}),
    ("max age out of range", {"funding_max_age": 3_599}),
    ("max age out of range", {"funding_max_age": 7 * 86_400 + 1}),
    ("ltv out of order", {"stressed_ltv": 0}),
    ("ltv out of order", {"stressed_ltv": wad(70) + 1}),
    ("ltv out of order", {"max_ltv": wad(80)}),
    ("ltv out of order", {"max_ltv": wad(90)}),
    ("ltv out of order", {"liquidation_ltv": wad(70)}),
    ("ltv out of order", {"liquidation_ltv": WAD}),
    ("ltv out of order", {"liquidation_ltv": MAX}),
    ("bonus out of range", {"bonus_base": wad(2) - 1}),
    ("bonus out of range", {"bonus_base": wad(10) + 1}),
    ("bonus out of range", {"bonus_cap": WAD}),
    ("bonus out of range", {"bonus_cap": MAX}),
    ("bonus out of range", {"bonus_slope": 10 * WAD + 1}),
    # 80 % * (1 + 25 %) is 1
    ("bonus out of range", {"bonus_cap": wad(25)}),
    ("slippage out of range", {"max_slippage": 0}),
    ("slippage out of range", {"max_slippage": wad(10) + 1}),
    ("minimum debt too low", {"min_debt": 999}),
    ("reserve floor out of range", {"reserve_floor": WAD + 1}),
]


@pytest.mark.parametrize("leg", LEGS)
@pytest.mark.parametrize(("reason", "changes"), UNSAFE, ids=str)
def test_create_market__unsafe_leg(
    market: Market, factory: Contract, leg: str, reason: str, changes: dict[str, int]
) -> None:
    with reverts(reason):
        factory.create_market(with_leg(market, leg, **changes), sender=market.owner)


SAFE: list[dict[str, int]] = [
    {"kink": 1},
    {"kink": WAD - 1},
    {"rate_cap": wad(100)},
    {"rate_cap": 100 * WAD},
    {"base_rate": 0, "slope1": 0, "slope2": 0, "rate_cap": 0},
    {"pass_through": 0},
    {"pass_through": wad(50)},
    {"funding_max_age": 3_600},
    {"funding_max_age": 7 * 86_400},
    {"stressed_ltv": 1},
    {"stressed_ltv": wad(70)},
    {"max_ltv": wad(80) - 1},
    {"bonus_base": wad(2)},
    {"bonus_base": wad(10)},
    {"bonus_slope": 0},
    {"bonus_slope": 10 * WAD},
    {"bonus_cap": wad(25) - 2},
    {"max_slippage": 1},
    {"max_slippage": wad(10)},
    {"min_debt": 1_000},
    {"reserve_floor": 0},
    {"reserve_floor": WAD},
]


@pytest.mark.parametrize("changes", SAFE, ids=str)
def test_create_market__at_the_bounds(
    market: Market, factory: Contract, changes: dict[str, int]
) -> None:
    parameters = parameters_of(
        market,
        reverse=replace(market.reverse_leg, **changes),
        forward=replace(market.forward_leg, **changes),
    )
    reverse, forward = factory.create_market(parameters, sender=market.owner)
    for address, leg in ((reverse, parameters[6]), (forward, parameters[7])):
        assert tuple(market.evm.at("ReversePool", address).config().leg) == leg


# --- the standard hook


def test_create_market__hook_not_allowed(
    market: Market, factory: Contract, stranger: Account
) -> None:
    parameters = parameters_of(market, standard_hook=stranger)
    with reverts("unknown hook"):
        factory.create_market(parameters, sender=market.owner)
    factory.allow_hook(stranger, True, sender=market.owner)
    factory.allow_hook(stranger, False, sender=market.owner)
    with reverts("unknown hook"):
        factory.create_market(parameters, sender=market.owner)


def test_create_market__without_a_hook(market: Market, factory: Contract) -> None:
    parameters = parameters_of(market, standard_hook=ZERO_ADDRESS)
    for address in factory.create_market(parameters, sender=market.owner):
        pool = market.evm.at("ReversePool", address)
        assert pool.config().standard_hook == ZERO_ADDRESS
        # none is none, not the standard one
        factory.set_hook(pool, ZERO_ADDRESS, sender=market.owner)
        assert pool.state().flags == CAPPED


# --- addresses


def test_create_market__twice(market: Market, factory: Contract) -> None:
    with reverts("market exists"):
        factory.create_market(market.parameters, sender=market.owner)


@pytest.mark.parametrize("wrong", [0, 1])
def test_create_market__blueprint_of_another_hash(market: Market, evm: Evm, wrong: int) -> None:
    hashes = [keccak(compile_contract(name).initcode) for name in ("ReversePool", "ForwardPool")]
    hashes[wrong] = keccak(b"something else")
    factory = evm.deploy(
        "PoolFactory",
        *market.factory.blueprints(),
        *hashes,
        market.operators,
        sender=market.owner,
    )
    with reverts("blueprint hash mismatch"):
        factory.create_market(
            parameters_of(market, standard_hook=ZERO_ADDRESS), sender=market.owner
        )


def test_predict_market__by_create2(market: Market, factory: Contract) -> None:
    for parameters in (market.parameters, parameters_of(market, symbol="NEW")):
        salt = keccak(encoded(parameters))
        predicted = factory.predict_market(parameters)
        for address, name in zip(predicted, ("ReversePool", "ForwardPool"), strict=True):
            expected = create2_address(factory, salt, compile_contract(name).initcode)
            assert bytes.fromhex(address[2:]) == expected
    assert factory.predict_market(market.parameters) == (
        market.reverse.address,
        market.forward.address,
    )


@pytest.mark.parametrize("field", FIELDS)
def test_predict_market__every_parameter_counts(
    market: Market, factory: Contract, field: str
) -> None:
    changed: Any = market.evm.account("else")
    if field == "symbol":
        changed = "ELSE"
    elif field in LEGS:
        changed = replace(Leg(), min_debt=10**7 + 1)
    predicted = factory.predict_market(parameters_of(market, **{field: changed}))
    assert not set(predicted) & set(factory.predict_market(market.parameters))


def test_predict_market__of_another_factory(market: Market, evm: Evm) -> None:
    other, *_ = deploy_factory(evm)
    assert other.predict_market(market.parameters) != market.factory.predict_market(
        market.parameters
    )


# --- what it leads to


def test_create_market__deploys_and_registers(market: Market, factory: Contract) -> None:
    parameters = parameters_of(
        market, symbol="SIXTEEN LETTERS!", forward=replace(market.forward_leg, kink=wad(50))
    )
    predicted = factory.predict_market(parameters)
    count = factory.market_count()
    assert [factory.is_pool(address) for address in predicted] == [False, False]
    assert factory.market(count) == (ZERO_ADDRESS,) * 4

    receipt = factory.create_market.transact(parameters, sender=market.owner)

    assert receipt.return_value == predicted
    expect_event(
        receipt,
        "MarketCreated",
        factory,
        index=count,
        token=market.token,
        reverse_pool=predicted[0],
        forward_pool=predicted[1],
        salt=keccak(encoded(parameters)),
    )
    assert factory.market_count() == count + 1
    registered = factory.market(count)
    assert registered == (market.token.address, market.usdt.address, *predicted)
    assert (registered.reverse_pool, registered.forward_pool) == predicted
    assert [factory.is_pool(address) for address in predicted] == [True, True]

    both = zip(
        (market.evm.at("ReversePool", predicted[0]), market.evm.at("ForwardPool", predicted[1])),
        ((market.usdt, market.token), (market.token, market.usdt)),
        ("ppUSDT-SIXTEEN LETTERS!", "ppSIXTEEN LETTERS!"),
        (parameters[6], parameters[7]),
        (12, 24),
        strict=True,
    )
    for pool, (asset, collateral), symbol, leg, share_decimals in both:
        assert pool.factory() == factory.address
        assert pool.config() == (
            asset.address,
            collateral.address,
            market.token.address,
            market.funding.address,
            market.oracle.address,
            market.operators.address,
            address_of(market.standard_hook),
            share_decimals,
            virtual_shares_of(asset.decimals()),
            leg,
        )
        assert (pool.symbol(), pool.name()) == (symbol, f"Perpool {symbol}")
        assert pool.state().flags == CAPPED
        assert pool.state()[:6] == (0, 0, 0, 0, 0, 0)
        assert pool.state().updated_at == market.evm.timestamp
        assert pool.caps() == (0, 0, 0)
        assert pool.hook() == ZERO_ADDRESS


def test_market__past_the_last(factory: Contract) -> None:
    assert factory.market(factory.market_count()) == (ZERO_ADDRESS,) * 4
    assert factory.market(MAX) == (ZERO_ADDRESS,) * 4


def test_pool_config__while_none_is_created(market: Market, factory: Contract) -> None:
    with reverts("no pool is being created"):
        factory.pool_config()
    # also within the transaction that made one: it is taken back before the end
    factory.create_market(parameters_of(market, symbol="NEW"), sender=market.owner)
    with reverts("no pool is being created"):
        factory.pool_config()


# --- strangers with the blueprints


@pytest.mark.parametrize("leg", LEGS)
def test_blueprint__deployed_by_a_stranger_is_nobody(
    market: Market, factory: Contract, stranger: Account, leg: str
) -> None:
    """Its own factory obeys it; nothing of ours does, and it obeys nobody of ours."""
    evm = market.evm
    fake_factory = evm.deploy("BlueprintUser", sender=stranger)
    index = LEGS.index(leg)
    blueprint = factory.blueprints()[index]
    real = (market.reverse, market.forward)[index]
    salt = keccak(encoded(market.parameters))
    address = fake_factory.create(blueprint, real.config(), salt, sender=stranger)
    fake = evm.at(real.artifact, address)

    assert fake != real
    assert fake.factory() == fake_factory.address
    assert fake.config() == real.config()
    # our factory does not know it
    assert factory.is_pool(fake) is False
    for call in (
        lambda: factory.set_caps(fake, 1, 1, 1, sender=market.owner),
        lambda: factory.set_fee(fake, 1, sender=market.owner),
        lambda: factory.set_hook(fake, ZERO_ADDRESS, sender=market.owner),
        lambda: factory.set_paused(fake, True, sender=market.owner),
        lambda: factory.request_reserve_withdrawal(fake, 1, sender=market.owner),
        lambda: factory.withdraw_reserve(fake, stranger, sender=market.owner),
        lambda: factory.set_liquidation_swapper(fake, market.swapper, b"", sender=market.owner),
    ):
        with reverts("unknown pool"):
            call()
    # its factory has no say in ours
    for data in (
        real.set_caps.encode(MAX, MAX, MAX),
        real.set_controls.encode(0, fake_factory),
        real.withdraw_reserve.encode(1, stranger),
    ):
        with reverts("not factory"):
            fake_factory.call(real, data, sender=stranger)
    # what it does to its own pool shows on no other
    fake_factory.call(fake, fake.set_caps.encode(NO_CAP, NO_CAP, NO_CAP), sender=stranger)
    assert fake.caps()[:2] == (NO_CAP, NO_CAP)
    assert real.caps() == (0, 0, 0)
    assert factory.predict_market(market.parameters)[index] == real.address


def test_blueprint__squats_no_address(market: Market, factory: Contract, stranger: Account) -> None:
    """The salt is of our factory: a stranger cannot be first at a market's address."""
    parameters = parameters_of(market, symbol="NEW")
    fake_factory = market.evm.deploy("BlueprintUser", sender=stranger)
    for blueprint in factory.blueprints():
        fake_factory.create(blueprint, market.reverse.config(), keccak(encoded(parameters)))
    predicted = factory.predict_market(parameters)
    assert factory.create_market(parameters, sender=market.owner) == predicted
