"""Reporters' keys: Ape accounts and keystores sign what eth-account signs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import SignableMessage

from perpool.keeper.signing import (
    ApeSigner,
    SignerError,
    load_keystore,
    signed_funding_round,
    signed_price_round,
)
from perpool.reports import Domain, pack_rates

KEYS = [Account.from_key(bytes([number]) * 32) for number in range(1, 6)]
REPORTERS = [key.address for key in KEYS]
ORACLE, TOKEN = "0x" + 40 * "1", "0x" + 40 * "2"
PASSWORD = "correct horse"


@dataclass(frozen=True)
class ApeSignature:
    """As ape.types.MessageSignature: r and s are bytes."""

    v: int
    r: bytes
    s: bytes


@dataclass(frozen=True)
class ApeAccount:
    """As an Ape account, over a key."""

    key: Any
    signs: bool = True

    @property
    def address(self) -> str:
        return str(self.key.address)

    def sign_message(self, message: SignableMessage) -> ApeSignature | None:
        if not self.signs:
            return None
        signed = self.key.sign_message(message)
        return ApeSignature(signed.v, signed.r.to_bytes(32, "big"), signed.s.to_bytes(32, "big"))


def test_funding_round__same_from_ape_accounts() -> None:
    domain = Domain.of_funding_oracle(1, ORACLE)
    rates = [(TOKEN, Decimal("0.1095"))]
    ape = [ApeSigner(ApeAccount(key)) for key in KEYS[:3]]
    round_ = signed_funding_round(ape, REPORTERS, domain, 1000, rates)
    assert round_ == signed_funding_round(KEYS[:3], REPORTERS, domain, 1000, rates)
    observed_at, tokens, values, seats = round_
    assert (observed_at, tokens, len(seats)) == (1000, [TOKEN], 5)
    assert values == pack_rates([109_500_000])[0].to_bytes(32, "big") * 3


def test_price_round__in_wad() -> None:
    domain = Domain.of_price_feed(1, ORACLE)
    price = (TOKEN, Decimal("1.19364"))
    _, prices, _ = signed_price_round(KEYS[:3], REPORTERS, domain, 1000, price)
    assert prices == [1_193_640_000_000_000_000] * 3


def test_ape_signer__refuses() -> None:
    with pytest.raises(SignerError, match="did not sign; unlock the account"):
        signed_price_round(
            [ApeSigner(ApeAccount(KEYS[0], signs=False))],
            REPORTERS,
            Domain.of_price_feed(1, ORACLE),
            1000,
            (TOKEN, Decimal(1)),
        )


def keystore(path: Path) -> Path:
    path.write_text(json.dumps(Account.encrypt(KEYS[0].key, PASSWORD, kdf="pbkdf2", iterations=10)))
    return path


def test_load_keystore__decrypts(tmp_path: Path) -> None:
    assert load_keystore(keystore(tmp_path / "key.json"), PASSWORD) == KEYS[0]


def test_load_keystore__wrong_password(tmp_path: Path) -> None:
    with pytest.raises(SignerError, match="or the password is wrong"):
        load_keystore(keystore(tmp_path / "key.json"), "wrong")


def test_load_keystore__says_nothing_of_the_key(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    path.write_text(KEYS[0].key.hex())
    with pytest.raises(SignerError) as caught:
        load_keystore(path, PASSWORD)
    assert KEYS[0].key.hex() not in repr(caught.value)


def test_load_keystore__missing(tmp_path: Path) -> None:
    with pytest.raises(SignerError, match="cannot be read"):
        load_keystore(tmp_path / "nowhere.json", PASSWORD)
