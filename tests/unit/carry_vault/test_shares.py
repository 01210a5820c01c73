"""A carry vault's shares: ERC-20 and ERC-2612."""

from __future__ import annotations

from typing import Any

import pytest
from eth_account.messages import encode_typed_data

from perpool.evm import Account, reverts
from tests.market import MAX, ZERO_ADDRESS
from tests.pools import SECP256K1_ORDER, Signature, digest_of, domain_of
from tests.vaults import Vault

TYPES = {
    "Permit": [
        {"name": "owner", "type": "address"},
        {"name": "spender", "type": "address"},
        {"name": "value", "type": "uint256"},
        {"name": "nonce", "type": "uint256"},
        {"name": "deadline", "type": "uint256"},
    ]
}


@pytest.fixture
def held(plain: Vault, alice: Account) -> int:
    """Shares of Alice's, who has all of them."""
    plain.deposit(alice, plain.tokens(10))
    return int(plain.contract.balanceOf(alice))


def test_transfer(plain: Vault, alice: Account, bob: Account, held: int) -> None:
    contract = plain.contract
    for receiver in (ZERO_ADDRESS, contract):
        with reverts("bad receiver"):
            contract.transfer(receiver, 1, sender=alice)
    with reverts("insufficient balance"):
        contract.transfer(bob, held + 1, sender=alice)
    assert contract.transfer(bob, 10, sender=alice) is True
    (event,) = plain.evm.last.events("Transfer", contract)
    assert tuple(event.args) == (alice.address, bob.address, 10)
    assert (contract.balanceOf(alice), contract.balanceOf(bob)) == (held - 10, 10)
    contract.transfer(alice, held - 10, sender=alice)
    assert contract.balanceOf(alice) == held - 10
    assert contract.totalSupply() == held


def test_transfer_from(plain: Vault, alice: Account, bob: Account, held: int) -> None:
    contract = plain.contract
    with reverts("insufficient allowance"):
        contract.transferFrom(alice, bob, 1, sender=bob)
    assert contract.approve(bob, 10, sender=alice) is True
    (event,) = plain.evm.last.events("Approval", contract)
    assert tuple(event.args) == (alice.address, bob.address, 10)
    with reverts("bad receiver"):
        contract.transferFrom(alice, contract, 1, sender=bob)
    assert contract.transferFrom(alice, bob, 4, sender=bob) is True
    assert contract.allowance(alice, bob) == 6
    with reverts("insufficient allowance"):
        contract.transferFrom(alice, bob, 7, sender=bob)
    contract.approve(bob, MAX, sender=alice)
    contract.transferFrom(alice, bob, 4, sender=bob)
    assert contract.allowance(alice, bob) == MAX
    # of one's own, without one
    contract.transferFrom(alice, bob, 1, sender=alice)
    assert contract.balanceOf(bob) == 9


def digest(plain: Vault, holder: Account, spender: Account, /, **changes: Any) -> bytes:
    """What the holder signs for 100 shares without a deadline."""
    domain = domain_of(plain.evm, plain.contract, "Perpool Carry TKN") | changes.pop("domain", {})
    message = {
        "owner": holder.address,
        "spender": spender.address,
        "value": 100,
        "nonce": plain.contract.nonces(holder),
        "deadline": MAX,
    }
    return digest_of(domain, TYPES, message | changes)


def test_domain_separator(plain: Vault) -> None:
    signable = encode_typed_data(
        domain_of(plain.evm, plain.contract, plain.contract.name()),
        TYPES,
        dict.fromkeys(("owner", "spender"), ZERO_ADDRESS)
        | dict.fromkeys(("value", "nonce", "deadline"), 0),
    )
    assert plain.contract.DOMAIN_SEPARATOR() == signable.header


def test_permit(plain: Vault, alice: Account, bob: Account) -> None:
    signature = Signature.of(alice, digest(plain, alice, bob))
    plain.contract.permit(alice, bob, 100, MAX, *signature.parts, sender=bob)
    assert plain.contract.allowance(alice, bob) == 100
    assert plain.contract.nonces(alice) == 1
    with reverts("bad signature"):
        plain.contract.permit(alice, bob, 100, MAX, *signature.parts, sender=bob)


def test_permit__past_the_deadline(plain: Vault, alice: Account, bob: Account) -> None:
    deadline = plain.evm.timestamp
    signature = Signature.of(alice, digest(plain, alice, bob, deadline=deadline))
    plain.evm.warp(1)
    with reverts("deadline passed"):
        plain.contract.permit(alice, bob, 100, deadline, *signature.parts, sender=bob)


@pytest.mark.parametrize(
    "changes",
    [
        {"value": 101},
        {"nonce": 1},
        {"deadline": MAX - 1},
        {"spender": ZERO_ADDRESS},
        {"domain": {"chainId": 1}},
        {"domain": {"name": "Perpool"}},
        {"domain": {"verifyingContract": ZERO_ADDRESS}},
    ],
    ids=str,
)
def test_permit__of_something_else(
    plain: Vault, alice: Account, bob: Account, changes: dict[str, Any]
) -> None:
    signature = Signature.of(alice, digest(plain, alice, bob, **changes))
    with reverts("bad signature"):
        plain.contract.permit(alice, bob, 100, MAX, *signature.parts, sender=bob)


def test_permit__by_somebody_else(plain: Vault, alice: Account, bob: Account) -> None:
    signature = Signature.of(bob, digest(plain, alice, bob))
    with reverts("bad signature"):
        plain.contract.permit(alice, bob, 100, MAX, *signature.parts, sender=bob)
    with reverts("bad signature"):
        plain.contract.permit(ZERO_ADDRESS, bob, 100, MAX, 29, bytes(32), bytes(32), sender=bob)


def test_permit__the_mirrored_signature(plain: Vault, alice: Account, bob: Account) -> None:
    mirrored = Signature.of(alice, digest(plain, alice, bob)).mirrored()
    assert mirrored.s > SECP256K1_ORDER // 2
    with reverts("bad signature"):
        plain.contract.permit(alice, bob, 100, MAX, *mirrored.parts, sender=bob)
