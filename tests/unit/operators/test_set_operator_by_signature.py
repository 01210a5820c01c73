"""`Operators.set_operator_by_signature`, `nonces` and `DOMAIN_SEPARATOR`."""

from typing import Any

import pytest
from eth_account.messages import encode_typed_data

from perpool.build import compile_contract
from perpool.evm import Account, Contract, Evm, reverts
from tests.market import MAX, ZERO_ADDRESS
from tests.pools import Signature, digest_of, domain_of, expect_event

NAME = "Perpool Operators"
TYPES = {
    "SetOperator": [
        {"name": "account", "type": "address"},
        {"name": "operator", "type": "address"},
        {"name": "approved", "type": "bool"},
        {"name": "nonce", "type": "uint256"},
        {"name": "deadline", "type": "uint256"},
    ]
}


def operator_digest(operators: Contract, holder: Any, operator: Any, /, **changes: Any) -> bytes:
    """What the holder signs to approve the operator, without a deadline."""
    domain = domain_of(operators.evm, operators, NAME) | changes.pop("domain", {})
    message = {
        "account": holder.address,
        "operator": operator.address,
        "approved": True,
        "nonce": operators.nonces(holder),
        "deadline": MAX,
    }
    return digest_of(domain, TYPES, message | changes)


@pytest.fixture
def signature(operators: Contract, holder: Account, operator: Account) -> bytes:
    """The holder's, of an approval."""
    return Signature.of(holder, operator_digest(operators, holder, operator)).packed


def test_domain_separator__as_eip_712(operators: Contract) -> None:
    message = {
        "account": ZERO_ADDRESS,
        "operator": ZERO_ADDRESS,
        "approved": True,
        "nonce": 0,
        "deadline": 0,
    }
    signable = encode_typed_data(domain_of(operators.evm, operators, NAME), TYPES, message)
    assert operators.DOMAIN_SEPARATOR() == signable.header


# --- refused


def test_by_signature__past_the_deadline(
    operators: Contract, holder: Account, operator: Account
) -> None:
    operators.evm.mine()
    deadline = operators.evm.timestamp
    digest = operator_digest(operators, holder, operator, deadline=deadline)
    packed = Signature.of(holder, digest).packed
    operators.set_operator_by_signature.call(holder, operator, True, deadline, packed)
    operators.evm.warp(1)
    with reverts("deadline passed"):
        operators.set_operator_by_signature(holder, operator, True, deadline, packed)


@pytest.mark.parametrize(
    "changes",
    [
        {"approved": False},
        {"nonce": 1},
        {"deadline": MAX - 1},
        {"account": ZERO_ADDRESS},
        {"operator": ZERO_ADDRESS},
        {"domain": {"chainId": 1}},
        {"domain": {"version": "2"}},
        {"domain": {"name": "Perpool"}},
        {"domain": {"verifyingContract": ZERO_ADDRESS}},
    ],
    ids=str,
)
def test_by_signature__of_something_else(
    operators: Contract, holder: Account, operator: Account, changes: dict[str, Any]
) -> None:
    digest = operator_digest(operators, holder, operator, **changes)
    with reverts("bad signature"):
        operators.set_operator_by_signature(
            holder, operator, True, MAX, Signature.of(holder, digest).packed
        )


def test_by_signature__of_another_type(
    operators: Contract, holder: Account, operator: Account
) -> None:
    """The same domain and another type."""
    types = {"SetOperators": TYPES["SetOperator"]}
    message = {
        "account": holder.address,
        "operator": operator.address,
        "approved": True,
        "nonce": 0,
        "deadline": MAX,
    }
    digest = digest_of(domain_of(operators.evm, operators, NAME), types, message)
    with reverts("bad signature"):
        operators.set_operator_by_signature(
            holder, operator, True, MAX, Signature.of(holder, digest).packed
        )


def test_by_signature__by_another_key(
    operators: Contract, holder: Account, operator: Account
) -> None:
    digest = operator_digest(operators, holder, operator)
    with reverts("bad signature"):
        operators.set_operator_by_signature(
            holder, operator, True, MAX, Signature.of(operator, digest).packed
        )


def test_by_signature__with_the_high_s(
    operators: Contract, holder: Account, operator: Account
) -> None:
    signed = Signature.of(holder, operator_digest(operators, holder, operator))
    with reverts("bad signature"):
        operators.set_operator_by_signature(holder, operator, True, MAX, signed.mirrored().packed)


@pytest.mark.parametrize("v", [0, 1, 26, 29, 255])
def test_by_signature__with_an_unknown_v(
    operators: Contract, holder: Account, operator: Account, signature: bytes, v: int
) -> None:
    with reverts("bad signature"):
        operators.set_operator_by_signature(
            holder, operator, True, MAX, signature[:64] + bytes([v])
        )


@pytest.mark.parametrize("length", [0, 64, 66, 1024])
def test_by_signature__of_another_length(
    operators: Contract, holder: Account, operator: Account, signature: bytes, length: int
) -> None:
    with reverts("bad signature"):
        operators.set_operator_by_signature(
            holder, operator, True, MAX, signature.ljust(length, b"\0")[:length]
        )


def test_by_signature__for_the_zero_address(operators: Contract, operator: Account) -> None:
    """ecrecover's answer to nonsense is the zero address."""
    with reverts("bad signature"):
        operators.set_operator_by_signature(ZERO_ADDRESS, operator, True, MAX, bytes(65))


def test_by_signature__replayed(
    operators: Contract, holder: Account, operator: Account, signature: bytes
) -> None:
    operators.set_operator_by_signature(holder, operator, True, MAX, signature)
    operators.set_operator(operator, False, sender=holder)
    with reverts("bad signature"):
        operators.set_operator_by_signature(holder, operator, True, MAX, signature)
    assert operators.is_operator(holder, operator) is False


def test_by_signature__refusal_keeps_the_nonce(
    operators: Contract, holder: Account, operator: Account
) -> None:
    with reverts("bad signature"):
        operators.set_operator_by_signature(holder, operator, True, MAX, bytes(65))
    assert operators.nonces(holder) == 0


# --- accepted


def test_by_signature__of_a_key(operators: Contract, holder: Account, operator: Account) -> None:
    relayer = operators.evm.account("relayer")
    for nonce, approved in enumerate((True, False, True)):
        digest = operator_digest(operators, holder, operator, approved=approved, nonce=nonce)

        receipt = operators.set_operator_by_signature.transact(
            holder, operator, approved, MAX, Signature.of(holder, digest).packed, sender=relayer
        )

        expect_event(
            receipt, "OperatorSet", operators, account=holder, operator=operator, approved=approved
        )
        assert operators.is_operator(holder, operator) is approved
        assert operators.nonces(holder) == nonce + 1
    assert operators.is_operator(holder, relayer) is False
    assert operators.nonces(relayer) == 0


@pytest.mark.parametrize("signature", [b"", b"any", bytes(65), bytes(1024)], ids=len)
def test_by_signature__of_a_wallet(
    evm: Evm, operators: Contract, operator: Account, signature: bytes
) -> None:
    wallet = evm.deploy("TestWallet")
    with reverts("bad signature"):
        operators.set_operator_by_signature(wallet, operator, True, MAX, signature)
    wallet.accept(operator_digest(operators, wallet, operator))

    receipt = operators.set_operator_by_signature.transact(wallet, operator, True, MAX, signature)

    expect_event(
        receipt, "OperatorSet", operators, account=wallet, operator=operator, approved=True
    )
    assert operators.is_operator(wallet, operator) is True
    # the hash holds the nonce
    with reverts("bad signature"):
        operators.set_operator_by_signature(wallet, operator, True, MAX, signature)


def test_by_signature__of_a_wallet_for_another(
    evm: Evm, operators: Contract, operator: Account
) -> None:
    """Two wallets of one owner: what one signed is not the other's."""
    first, second = evm.deploy("TestWallet"), evm.deploy("TestWallet")
    for wallet in (first, second):
        wallet.accept(operator_digest(operators, first, operator))
    with reverts("bad signature"):
        operators.set_operator_by_signature(second, operator, True, MAX, b"")


def test_by_signature__of_an_account_with_delegated_code(
    evm: Evm, operators: Contract, holder: Account, operator: Account, signature: bytes
) -> None:
    """EIP-7702: key and code are both the account's."""
    evm.set_code(holder, compile_contract("TestWallet").runtime)
    with evm.anchor():
        operators.set_operator_by_signature(holder, operator, True, MAX, signature)
    wallet = evm.at("TestWallet", holder.address)
    with reverts("bad signature"):
        operators.set_operator_by_signature(holder, operator, True, MAX, b"by code")
    wallet.accept(operator_digest(operators, holder, operator))
    operators.set_operator_by_signature(holder, operator, True, MAX, b"by code")
    assert operators.is_operator(holder, operator) is True


@pytest.mark.parametrize("code", ["00", "fe", "60015ff3"], ids=["silent", "fails", "one byte"])
def test_by_signature__of_code_without_erc_1271(
    evm: Evm, operators: Contract, holder: Account, operator: Account, signature: bytes, code: str
) -> None:
    evm.set_code(holder, bytes.fromhex(code))
    with reverts():
        operators.set_operator_by_signature(holder, operator, True, MAX, b"by code")
    # its key is as good as before
    operators.set_operator_by_signature(holder, operator, True, MAX, signature)
    assert operators.is_operator(holder, operator) is True
