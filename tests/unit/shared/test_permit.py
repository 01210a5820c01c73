"""`permit` of both pools (ERC-2612)."""

from typing import Any

import pytest
from eth_account.messages import encode_typed_data

from perpool.evm import Account, reverts
from tests.market import MAX, ZERO_ADDRESS
from tests.pools import Side, Signature, digest_of, domain_of, expect_event

TYPES = {
    "Permit": [
        {"name": "owner", "type": "address"},
        {"name": "spender", "type": "address"},
        {"name": "value", "type": "uint256"},
        {"name": "nonce", "type": "uint256"},
        {"name": "deadline", "type": "uint256"},
    ]
}


def permit_digest(side: Side, holder: Any, spender: Any, /, **changes: Any) -> bytes:
    """What the holder signs for 100 shares without a deadline."""
    domain = domain_of(side.evm, side.pool, side.pool.name()) | changes.pop("domain", {})
    message = {
        "owner": holder.address,
        "spender": spender.address,
        "value": 100,
        "nonce": side.pool.nonces(holder),
        "deadline": MAX,
    }
    return digest_of(domain, TYPES, message | changes)


@pytest.fixture
def lender(side: Side) -> Account:
    return side.lend(5)


@pytest.fixture
def spender(side: Side) -> Account:
    return side.evm.account("spender")


def test_domain_separator__as_eip_712(side: Side) -> None:
    name = side.pool.name()
    signable = encode_typed_data(
        domain_of(side.evm, side.pool, name),
        TYPES,
        dict.fromkeys(("owner", "spender"), ZERO_ADDRESS)
        | dict.fromkeys(("value", "nonce", "deadline"), 0),
    )
    assert side.pool.DOMAIN_SEPARATOR() == signable.header
    assert signable.version == b"\x01"


def test_permit__past_the_deadline(side: Side, lender: Account, spender: Account) -> None:
    side.evm.mine()
    deadline = side.evm.timestamp
    signature = Signature.of(lender, permit_digest(side, lender, spender, deadline=deadline))
    side.pool.permit.call(lender, spender, 100, deadline, *signature.parts)
    side.evm.warp(1)
    with reverts("deadline passed"):
        side.pool.permit(lender, spender, 100, deadline, *signature.parts, sender=spender)


@pytest.mark.parametrize(
    "changes",
    [
        {"value": 101},
        {"nonce": 1},
        {"deadline": MAX - 1},
        {"owner": ZERO_ADDRESS},
        {"spender": ZERO_ADDRESS},
        {"domain": {"chainId": 1}},
        {"domain": {"version": "2"}},
        {"domain": {"name": "Perpool"}},
        {"domain": {"verifyingContract": ZERO_ADDRESS}},
    ],
    ids=str,
)
def test_permit__of_something_else(
    side: Side, lender: Account, spender: Account, changes: dict[str, Any]
) -> None:
    signature = Signature.of(lender, permit_digest(side, lender, spender, **changes))
    with reverts("bad signature"):
        side.pool.permit(lender, spender, 100, MAX, *signature.parts, sender=spender)


def test_permit__of_the_other_pool(side: Side, lender: Account, spender: Account) -> None:
    signature = Signature.of(lender, permit_digest(side.other, lender, spender))
    with reverts("bad signature"):
        side.pool.permit(lender, spender, 100, MAX, *signature.parts, sender=spender)


def test_permit__by_another_key(side: Side, lender: Account, spender: Account) -> None:
    signature = Signature.of(spender, permit_digest(side, lender, spender))
    with reverts("bad signature"):
        side.pool.permit(lender, spender, 100, MAX, *signature.parts, sender=spender)


def test_permit__for_the_zero_address(side: Side, spender: Account) -> None:
    """ecrecover's answer to nonsense is the zero address."""
    with reverts("bad signature"):
        side.pool.permit(ZERO_ADDRESS, spender, 100, MAX, 0, bytes(32), bytes(32), sender=spender)


def test_permit__with_the_high_s(side: Side, lender: Account, spender: Account) -> None:
    signature = Signature.of(lender, permit_digest(side, lender, spender))
    with reverts("bad signature"):
        side.pool.permit(lender, spender, 100, MAX, *signature.mirrored().parts, sender=spender)
    side.pool.permit(lender, spender, 100, MAX, *signature.parts, sender=spender)


def test_permit__replayed(side: Side, lender: Account, spender: Account) -> None:
    signature = Signature.of(lender, permit_digest(side, lender, spender))
    side.pool.permit(lender, spender, 100, MAX, *signature.parts, sender=spender)
    with reverts("bad signature"):
        side.pool.permit(lender, spender, 100, MAX, *signature.parts, sender=spender)


def test_permit__used_nonce_is_not_lost_by_a_refusal(
    side: Side, lender: Account, spender: Account
) -> None:
    with reverts("bad signature"):
        side.pool.permit(lender, spender, 100, MAX, 27, bytes(32), bytes(32), sender=spender)
    assert side.pool.nonces(lender) == 0


def test_permit__sets_the_allowance(side: Side, lender: Account, spender: Account) -> None:
    relayer = side.evm.account("relayer")
    for nonce, shares in enumerate((100, 0, MAX)):
        digest = permit_digest(side, lender, spender, value=shares, nonce=nonce)
        parts = Signature.of(lender, digest).parts

        receipt = side.pool.permit.transact(lender, spender, shares, MAX, *parts, sender=relayer)

        expect_event(receipt, "Approval", side.pool, owner=lender, spender=spender, value=shares)
        assert side.pool.allowance(lender, spender) == shares
        assert side.pool.nonces(lender) == nonce + 1
    assert side.pool.nonces(spender) == 0


def test_permit__after_a_chain_split(
    side: Side, lender: Account, spender: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A permit is worth nothing on a chain of another id, and one for that chain is."""
    there = Signature.of(lender, permit_digest(side, lender, spender, domain={"chainId": 999}))
    here = Signature.of(lender, permit_digest(side, lender, spender))
    monkeypatch.setattr(side.evm._block, "chain_id", 999)
    with reverts("bad signature"):
        side.pool.permit(lender, spender, 100, MAX, *here.parts, sender=spender)
    side.pool.permit(lender, spender, 100, MAX, *there.parts, sender=spender)
