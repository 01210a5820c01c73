"""Reporters' signatures: local keys, encrypted keystores and Ape accounts as one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any, Protocol, cast

from eth_account import Account
from eth_account.messages import SignableMessage
from eth_account.signers.local import LocalAccount

from perpool.reports import (
    Domain,
    FundingRound,
    PriceRound,
    funding_round,
    pack_rates,
    price_round,
    rate_units,
    sign_report,
)

WAD = 10**18


class SignerError(Exception):
    """A key that cannot be used; the message says what to do, and nothing of the key."""


class Signature(Protocol):
    """v, r and s as integers."""

    @property
    def v(self) -> int: ...

    @property
    def r(self) -> int: ...

    @property
    def s(self) -> int: ...


class Signer(Protocol):
    """Whoever signs as a reporter: an eth-account key is one."""

    @property
    def address(self) -> str: ...

    def sign_message(self, message: SignableMessage, /) -> Signature: ...


@dataclass(frozen=True)
class _Parts:
    v: int
    r: int
    s: int


class ApeSigner:
    """An Ape account as a reporter. It asks its owner unless it has been set to sign by itself."""

    def __init__(self, account: Any) -> None:
        self.account = account

    @property
    def address(self) -> str:
        return str(self.account.address)

    def sign_message(self, message: SignableMessage) -> Signature:
        """Raises SignerError where the account refuses."""
        signature = self.account.sign_message(message)
        if signature is None:
            raise SignerError(f"{self.address} did not sign; unlock the account")
        r, s = (int.from_bytes(bytes(part), "big") for part in (signature.r, signature.s))
        return _Parts(int(signature.v), r, s)


def load_keystore(path: Path, password: str) -> LocalAccount:
    """The key in an encrypted keystore file (Web3 Secret Storage). Raises SignerError."""
    try:
        key = Account.decrypt(json.loads(path.read_text()), password)
    except OSError as error:
        raise SignerError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        # what the library says may hold parts of the file
        raise SignerError(f"{path} is no keystore, or the password is wrong") from None
    return cast(LocalAccount, Account.from_key(key))


def signed_funding_round(
    signers: Sequence[Signer],
    reporters: Sequence[str],
    domain: Domain,
    observed_at: int,
    rates: Sequence[tuple[str, Decimal]],
) -> FundingRound:
    """Arguments of `FundingOracle.submit`; `rates` are (token, annual rate) pairs."""
    tokens = [token for token, _ in rates]
    words = pack_rates([rate_units(rate) for _, rate in rates])
    reports = [
        sign_report(cast(LocalAccount, signer), domain, observed_at, tokens, words)
        for signer in signers
    ]
    return funding_round(reports, reporters)


def signed_price_round(
    signers: Sequence[Signer],
    reporters: Sequence[str],
    domain: Domain,
    observed_at: int,
    price: tuple[str, Decimal],
) -> PriceRound:
    """Arguments of `PriceFeed.submit`; `price` is (token, USDT for a whole token)."""
    token, value = price
    price_wad = int((value * WAD).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))
    reports = [
        sign_report(cast(LocalAccount, signer), domain, observed_at, [token], [price_wad])
        for signer in signers
    ]
    return price_round(reports, reporters)
