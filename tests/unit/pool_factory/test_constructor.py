"""Constructor of the factory, `blueprints`, `operators`."""

import pytest
from eth_utils.crypto import keccak

from perpool.build import compile_contract
from perpool.evm import Contract, Evm, reverts
from tests.market import ZERO_ADDRESS, Market

HASHES = (bytes(32), bytes(32))


def test_constructor__no_blueprint(market: Market, evm: Evm) -> None:
    blueprint = market.factory.blueprints()[0]
    nobody = evm.account("nobody")
    for blueprints in ((nobody, blueprint), (blueprint, nobody), (ZERO_ADDRESS, blueprint)):
        with reverts("no blueprint"):
            evm.deploy("PoolFactory", *blueprints, *HASHES, market.operators)


def test_constructor__no_operators(market: Market, evm: Evm) -> None:
    with reverts("zero address"):
        evm.deploy("PoolFactory", *market.factory.blueprints(), *HASHES, ZERO_ADDRESS)


def test_constructor__sets_what_never_changes(market: Market, evm: Evm) -> None:
    deployer = evm.account("deployer")
    factory = evm.deploy(
        "PoolFactory", *market.factory.blueprints(), *HASHES, market.operators, sender=deployer
    )
    assert factory.blueprints() == market.factory.blueprints()
    assert factory.operators() == market.operators.address
    assert factory.owner() == deployer.address
    assert factory.pending_owner() == factory.guardian() == ZERO_ADDRESS
    assert factory.market_count() == 0


def test_blueprints__are_erc_5202(market: Market, factory: Contract, evm: Evm) -> None:
    for address, name in zip(factory.blueprints(), ("ReversePool", "ForwardPool"), strict=True):
        code = evm.code(address)
        initcode = compile_contract(name).initcode
        assert code == bytes.fromhex("fe7100") + initcode
        assert keccak(code[3:]) == keccak(initcode)
        # nobody can call one
        with reverts("InvalidInstruction"):
            evm.transact(address)


@pytest.mark.parametrize("leg", [0, 1])
def test_blueprints__deployed_by_themselves_are_not_pools(
    market: Market, factory: Contract, evm: Evm, leg: int
) -> None:
    """A pool asks who deploys it for its parameters; an account has none."""
    name = ("ReversePool", "ForwardPool")[leg]
    with reverts(""):
        evm.deploy(compile_contract(name), sender=evm.account("stranger"))
