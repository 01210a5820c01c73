"""Attacks on who may do what: replayed approvals, false factories, fresh blueprints."""

from __future__ import annotations

import contextlib

import pytest
from eth_account import Account as EthAccount
from eth_utils import keccak

from perpool.build import BLUEPRINT_PREFIX, compile_contract
from perpool.evm import Account, Contract, Evm, Reverted, reverts
from perpool.reference.ledger import HOOKED, PAUSED
from tests.attacks.pools import FORWARD, market_without, weakened
from tests.market import MAX, Market

SET_OPERATOR = keccak(
    text="SetOperator(address account,address operator,bool approved,"
    "uint256 nonce,uint256 deadline)"
)


# --- replayed approval of an operator


def approval(market: Market, account: Account, operator: Account) -> bytes:
    """A signature without an end that makes somebody an operator, for the account's next nonce."""
    words = [
        SET_OPERATOR,
        *(bytes.fromhex(each.address[2:]).rjust(32, b"\0") for each in (account, operator)),
        *(value.to_bytes(32, "big") for value in (1, market.operators.nonces(account), MAX)),
    ]
    domain = market.operators.DOMAIN_SEPARATOR()
    digest = keccak(b"\x19\x01" + domain + keccak(b"".join(words)))
    signed = EthAccount.unsafe_sign_hash(digest, account.key.key)
    return bytes(signed.signature)


def return_after_dismissal(market: Market) -> int:
    """USDT that a former operator takes with the approval that was revoked long ago."""
    market.lend(tokens=market.tokens(10_000))
    victim = market.short("victim", margin=market.usd(5_000), tokens=market.tokens(100))
    attacker, operators = market.evm.account("attacker"), market.operators
    signature = approval(market, victim, attacker)
    operators.set_operator_by_signature(victim, attacker, True, MAX, signature)
    assert operators.is_operator(victim, attacker)
    operators.set_operator(attacker, False, sender=victim)
    operators.set_operator_by_signature(victim, attacker, True, MAX, signature, sender=attacker)
    market.forward.remove_margin(market.usd(4_000), victim, attacker, sender=attacker)
    return int(market.usdt.balanceOf(attacker))


def test_replayed_operator(evm: Evm) -> None:
    market = market_without(evm)
    with reverts("bad signature"):
        return_after_dismissal(market)
    with reverts("not authorised"):
        market.forward.remove_margin(
            1, evm.account("victim"), evm.account("attacker"), sender=evm.account("attacker")
        )


def test_replayed_operator__weakened(evm: Evm) -> None:
    market = market_without(evm)
    evm.set_code(market.operators, weakened("Operators", "nonce").runtime)
    assert return_after_dismissal(market) == market.usd(4_000)


def test_operator_of_one_is_nobody_to_another(evm: Evm) -> None:
    market = market_without(evm)
    market.lend(tokens=market.tokens(10_000))
    market.short("victim", margin=market.usd(5_000), tokens=market.tokens(100))
    victim, attacker = evm.account("victim"), evm.account("attacker")
    # the attacker approves himself, and is approved by the one he is not after
    market.operators.set_operator(attacker, True, sender=attacker)
    market.operators.set_operator(attacker, True, sender=evm.account("accomplice"))
    market.operators.set_operator(victim, True, sender=attacker)
    with reverts("not authorised"):
        market.forward.remove_margin(1, victim, attacker, sender=attacker)


# --- fresh blueprints and false factories


def test_blueprint_is_no_pool(evm: Evm) -> None:
    """Nothing can be called on it, so nobody can make himself its owner, or destroy it."""
    market = market_without(evm)
    for address in market.factory.blueprints():
        code = evm.code(address)
        blueprint = evm.at(FORWARD, address)
        for call in (
            lambda pool: pool.set_controls(0, market.owner),
            lambda pool: pool.config(),
            lambda pool: evm.transact(pool, b""),
        ):
            with pytest.raises(Reverted) as caught:
                call(blueprint)
            assert caught.value.reason == "InvalidInstruction"
        assert evm.code(address) == code


def initialise(evm: Evm, market: Market, blueprint: Contract) -> int:
    """Let the blueprint run its own constructor for a false factory; what its clock says then."""
    user = evm.deploy("BlueprintUser")
    with contextlib.suppress(Reverted):
        user.start(blueprint, market.forward.config())
    layout = compile_contract("ForwardPool").storage_layout["storage_layout"]
    return evm.storage(blueprint, layout["ledger"]["clock_word"]["slot"])


def test_blueprint_is_not_to_be_initialised(evm: Evm) -> None:
    """Its preamble alone stops it: the same code without runs for whoever calls."""
    market = market_without(evm)
    address = market.factory.blueprints()[1]
    assert initialise(evm, market, evm.at(FORWARD, address)) == 0

    evm.set_code(address, evm.code(address).removeprefix(BLUEPRINT_PREFIX))
    assert initialise(evm, market, evm.at(FORWARD, address)) > 0


def rob_as_a_factory(market: Market) -> int:
    """The reserve of a true pool, taken by who has made a pool of its blueprint himself."""
    evm, forward = market.evm, market.forward
    market.lend(tokens=market.tokens(10_000))
    market.short("shorter", margin=market.usd(20_000), tokens=market.tokens(1_000))
    evm.warp(365 * 86_400)
    forward.sync_funding()
    reserve = forward.state().reserve_shares
    assert reserve > 0

    attacker, user = evm.account("attacker"), evm.deploy("BlueprintUser")
    blueprint = market.factory.blueprints()[1]
    fake = user.create.call(blueprint, forward.config(), b"\x01" * 32)
    user.create(blueprint, forward.config(), b"\x01" * 32)
    pool = evm.at(FORWARD, fake)
    # he is the factory of what he has made, and it is in nobody's list
    assert pool.factory() == user.address
    user.call(pool, pool.set_controls.encode(PAUSED | HOOKED | 255 << 8, attacker))
    assert pool.hook() == attacker.address
    assert not market.factory.is_pool(pool)
    assert pool.address not in market.factory.predict_market(market.parameters)
    with reverts("unknown pool"):
        market.factory.set_fee(pool, 0, sender=market.owner)

    user.call(forward, forward.withdraw_reserve.encode(reserve, attacker))
    return int(market.token.balanceOf(attacker))


def test_false_factory(evm: Evm) -> None:
    with reverts("not factory"):
        rob_as_a_factory(market_without(evm))


def test_false_factory__weakened(evm: Evm) -> None:
    """A year's fees: a tenth of the interest on a thousand tokens."""
    market = market_without(evm, "factory only")
    assert market.tokens(2) < rob_as_a_factory(market) < market.tokens(4)


def test_market_of_a_stranger(evm: Evm) -> None:
    """Only the owner adds to the registry, whatever the parameters."""
    market = market_without(evm)
    attacker = evm.account("attacker")
    with reverts("ownable: caller is not the owner"):
        market.factory.create_market(market.parameters, sender=attacker)
    with reverts("market exists"):
        market.factory.create_market(market.parameters, sender=market.owner)


def test_constructor_outside_the_factory(evm: Evm) -> None:
    """A pool that anybody deploys by hand finds no parameters."""
    with reverts():
        evm.deploy(compile_contract(FORWARD), sender=evm.account("attacker"))
