"""Accounts that sign for the keeper, wherever their keys are.

    account = open_account("keystore:reporter.json", keystore_password)
    account = open_account("ape:reporter", keystore_password)
    account = open_account("external:https://signer.example:9000#0x...", keystore_password)
    sign_report(account, domain, observed_at, tokens, values)
    raw, hash_ = account.sign_transaction({"type": 2, "chainId": 1, "nonce": 0, ...})

Another kind is a class with the members of `Account`, and a line in `open_account`. Keys and
passwords are in no message, log or repr of this module. What comes from outside this process is
checked before it is used: the signature has to be the account's, and on exactly what was asked.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import sys
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import click
import requests
from eth_account import Account as Keys
from eth_account.messages import encode_typed_data
from eth_account.signers.local import LocalAccount
from eth_account.typed_transactions import TypedTransaction
from eth_keys.constants import SECPK1_N
from eth_keys.exceptions import BadSignature
from eth_utils import keccak
from hexbytes import HexBytes

from perpool.reports import Signature, Signer
from perpool.settings import check_address

__all__ = [
    "PASSWORD_FILE_VARIABLE",
    "PASSWORD_VARIABLE",
    "Account",
    "AccountSpec",
    "ApeAccount",
    "ExternalAccount",
    "KeyAccount",
    "Signer",
    "SignerError",
    "Wallet",
    "account_address",
    "keystore_password",
    "load_keystore",
    "open_account",
    "parse_account",
]

PASSWORD_VARIABLE = "PERPOOL_KEYSTORE_PASSWORD"  # noqa: S105 - the name of a variable
PASSWORD_FILE_VARIABLE = "PERPOOL_KEYSTORE_PASSWORD_FILE"  # noqa: S105
TIMEOUT = 10.0
"""Seconds to wait for an external signer."""
LARGEST_JSON_INTEGER = 2**53
"""Integers above it lose digits in signers that read JSON numbers as floating point."""
TEST_ALIAS = "TEST::"
"""Begins the aliases of Ape's test accounts, whose keys everybody has."""


class SignerError(Exception):
    """A key that cannot be used; the message says what to do, and nothing of the key."""


class Wallet(Protocol):
    """Whoever pays for transactions."""

    @property
    def address(self) -> str:
        """Checksummed."""

    def sign_transaction(self, transaction: dict[str, Any]) -> tuple[bytes, str]:
        """The signed EIP-1559 transaction and its hash. Raises SignerError.

        `transaction` has type 2, chainId, nonce, to, value, data, gas, maxFeePerGas and
        maxPriorityFeePerGas, numbers as integers.
        """


class Account(Signer, Wallet, Protocol):
    """Signs reports and transactions."""


# -- naming an account --


@dataclass(frozen=True)
class AccountSpec:
    """An account as a configuration names it."""

    kind: str
    """keystore, ape or external."""
    where: str
    """Path, alias or URL."""
    address: str | None = None
    """Of an external account."""

    @property
    def is_public(self) -> bool:
        """Whether anybody has the key."""
        return self.kind == "ape" and self.where.startswith(TEST_ALIAS)


def parse_account(text: str) -> AccountSpec:
    """What `text` names. Raises ValueError, which does not repeat it: it may hold a secret."""
    kind, _, where = text.partition(":")
    if kind == "keystore" and where:
        return AccountSpec(kind, str(Path(where).expanduser()))
    if kind == "ape" and re.fullmatch(rf"{TEST_ALIAS}\d+|[\w.-]+", where):
        return AccountSpec(kind, where)
    if kind == "external":
        url, _, address = where.partition("#")
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError('an external account begins with "external:http://" or "...https://"')
        return AccountSpec(kind, url, check_address(address))
    raise ValueError(
        'name an account as "keystore:/path.json", "ape:alias" or "external:https://host:port#0x..."'
    )


def open_account(spec: str, password: Callable[[], str], *, timeout: float = TIMEOUT) -> Account:
    """The account that `spec` names. Raises SignerError.

    `password` is asked for the password of a keystore, see `keystore_password`.
    """
    try:
        parsed = parse_account(spec)
    except ValueError as error:
        raise SignerError(str(error)) from None
    if parsed.kind == "keystore":
        path = Path(parsed.where)
        _check_readable(path)
        return KeyAccount(load_keystore(path, password()))
    if parsed.kind == "ape":
        return ApeAccount.load(parsed.where)
    assert parsed.address is not None
    return ExternalAccount(parsed.where, parsed.address, timeout=timeout)


def account_address(spec: str) -> str:
    """The address that `spec` names, without unlocking anything. Raises SignerError."""
    parsed = parse_account(spec)
    if parsed.address is not None:
        return parsed.address
    if parsed.kind == "ape":
        return ApeAccount.load(parsed.where, unlock=False).address
    try:
        return check_address(
            "0x" + str(json.loads(Path(parsed.where).read_text())["address"])[-40:]
        )
    except OSError as error:
        raise SignerError(f"{parsed.where} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise SignerError(f"{parsed.where} is no keystore that tells its address") from None


# -- keystores --


class KeyAccount:
    """A key in this process."""

    def __init__(self, key: LocalAccount) -> None:
        self._key = key

    def __repr__(self) -> str:
        return f"KeyAccount({self.address})"

    @property
    def address(self) -> str:
        return str(self._key.address)

    def sign_typed_data(self, *, full_message: dict[str, Any]) -> Signature:
        return self._key.sign_typed_data(full_message=full_message)

    def sign_transaction(self, transaction: dict[str, Any]) -> tuple[bytes, str]:
        signed = self._key.sign_transaction(transaction)
        return bytes(signed.raw_transaction), signed.hash.to_0x_hex()


def load_keystore(path: Path, password: str) -> LocalAccount:
    """The key in an encrypted keystore file (Web3 Secret Storage). Raises SignerError."""
    try:
        key = Keys.decrypt(json.loads(path.read_text()), password)
    except OSError as error:
        raise SignerError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        # what the library says may hold parts of the file
        raise SignerError(f"{path} is no keystore, or the password is wrong") from None
    return cast(LocalAccount, Keys.from_key(key))


def keystore_password() -> str:
    """Of the keystores: from the environment, a file that it names, or the terminal.

    Raises SignerError where there is none of them, or others may read the file.
    """
    password = os.environ.get(PASSWORD_VARIABLE)
    if password is not None:
        return password
    named = os.environ.get(PASSWORD_FILE_VARIABLE)
    if named:
        return _read_password(Path(named))
    if not sys.stdin.isatty():
        raise SignerError(
            f"set {PASSWORD_VARIABLE} to the password of the keystores, or "
            f"{PASSWORD_FILE_VARIABLE} to a file with it"
        )
    return str(click.prompt("Password of the keystores", hide_input=True, err=True))


def _read_password(path: Path) -> str:
    try:
        if path.stat().st_mode & 0o007:
            raise SignerError(f"everybody may read the password in {path}: chmod 600 it")
        return path.read_text().removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise SignerError(f"the password in {path} cannot be read: {reason}") from None


def _check_readable(path: Path) -> None:
    """Before anybody is asked for a password. Raises SignerError."""
    try:
        path.open().close()
    except OSError as error:
        raise SignerError(f"{path} cannot be read: {error.strerror}") from None


# -- Ape --


class ApeAccount:
    """An Ape account. It asks its owner unless it has been set to sign by itself."""

    def __init__(self, account: Any) -> None:
        self.account = account

    @classmethod
    def load(cls, alias: str, *, unlock: bool = True) -> ApeAccount:
        """An account by its alias, "TEST::2" for a test account. Raises SignerError."""
        try:
            from ape import accounts
            from ape.exceptions import ApeException

            from perpool.deployment.ape import AccountError, load_account
        except ImportError:
            raise SignerError(
                "accounts of Ape need Ape: `make setup` installs it; or use a keystore"
            ) from None
        try:
            is_locked = not unlock and alias in accounts.aliases
            return cls(accounts.load(alias) if is_locked else load_account(alias))
        except (AccountError, ApeException) as error:
            raise SignerError(f"the Ape account {alias} cannot be used: {error}") from None

    def __repr__(self) -> str:
        return f"ApeAccount({self.address})"

    @property
    def address(self) -> str:
        return str(self.account.address)

    def sign_typed_data(self, *, full_message: dict[str, Any]) -> Signature:
        """Raises SignerError where the account refuses."""
        signature = self.account.sign_message(encode_typed_data(full_message=full_message))
        if signature is None:
            raise SignerError(f"{self.address} did not sign; unlock the account")
        r, s = (int.from_bytes(bytes(part), "big") for part in (signature.r, signature.s))
        return checked_signature(self.address, full_message, int(signature.v), r, s)

    def sign_transaction(self, transaction: dict[str, Any]) -> tuple[bytes, str]:
        from ape_ethereum.transactions import DynamicFeeTransaction

        asked = DynamicFeeTransaction.model_validate(transaction)
        signed = self.account.sign_transaction(asked)
        if signed is None:
            raise SignerError(f"{self.address} did not sign; unlock the account")
        return checked_transaction(self.address, transaction, signed.serialize_transaction())


# -- external signers --


class ExternalAccount:
    """An account of a signer that is asked over JSON-RPC, such as Web3Signer.

    It has to answer `eth_signTypedData` with a signature, `eth_signTransaction` with the signed
    transaction. An answer is believed only as far as it can be checked here.
    """

    def __init__(self, url: str, address: str, *, timeout: float = TIMEOUT) -> None:
        self.address = address
        self.timeout = timeout
        self._url = url
        parts = urllib.parse.urlsplit(url)
        self._host = f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
        self._session = requests.Session()
        self._numbers = itertools.count(1)

    def __repr__(self) -> str:
        return f"ExternalAccount({self.address} at {self._host})"

    def sign_typed_data(self, *, full_message: dict[str, Any]) -> Signature:
        """Raises SignerError where the signer refuses, is away, or answers something else."""
        text = json.dumps(_exact_in_json(full_message))
        signature = self._bytes(self._ask("eth_signTypedData", self.address, text))
        if len(signature) != 65:
            raise self._nonsense()
        r, s = (int.from_bytes(part, "big") for part in (signature[:32], signature[32:64]))
        return checked_signature(self.address, full_message, signature[64], r, s)

    def sign_transaction(self, transaction: dict[str, Any]) -> tuple[bytes, str]:
        asked = {name: _hex(value) for name, value in transaction.items()}
        answer = self._ask("eth_signTransaction", {"from": self.address, **asked})
        # Web3Signer answers with the transaction, nodes and Clef with more around it
        raw = answer.get("raw") if isinstance(answer, Mapping) else answer
        return checked_transaction(self.address, transaction, self._bytes(raw))

    def _ask(self, method: str, *params: Any) -> Any:
        request = {
            "jsonrpc": "2.0",
            "id": next(self._numbers),
            "method": method,
            "params": list(params),
        }
        try:
            response = self._session.post(
                self._url, json=request, timeout=self.timeout, allow_redirects=False
            )
            answer = response.json()
        except requests.JSONDecodeError:
            raise self._nonsense() from None
        except requests.RequestException as error:
            # its text may hold the credentials of the URL
            raise SignerError(
                f"no answer from the signer at {self._host} ({type(error).__name__}): is it "
                "running, and reachable from here?"
            ) from None
        if not isinstance(answer, Mapping):
            raise self._nonsense()
        fault = answer.get("error")
        if fault is not None:
            said = fault.get("message") if isinstance(fault, Mapping) else fault
            raise SignerError(
                f"the signer at {self._host} refused {method} for {self.address}: "
                f"{str(said)[:200]}; has it this key, and the right chain?"
            )
        return answer.get("result")

    def _bytes(self, answer: Any) -> bytes:
        if not isinstance(answer, str) or not re.fullmatch(r"0x(?:[0-9a-fA-F]{2})+", answer):
            raise self._nonsense()
        return bytes.fromhex(answer[2:])

    def _nonsense(self) -> SignerError:
        return SignerError(
            f"the signer at {self._host} answered what is no signature: is it a signer that speaks "
            "JSON-RPC?"
        )


def _hex(value: Any) -> Any:
    """A field of a transaction as JSON-RPC has it."""
    if isinstance(value, bytes):
        return "0x" + value.hex()
    return hex(value) if isinstance(value, int) else value


def _exact_in_json(value: Any) -> Any:
    """Typed data whose large integers are text, which every signer reads exactly."""
    if isinstance(value, dict):
        return {name: _exact_in_json(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_exact_in_json(each) for each in value]
    is_large = isinstance(value, int) and value >= LARGEST_JSON_INTEGER
    return str(value) if is_large else value


# -- checks of what was signed elsewhere --


@dataclass(frozen=True)
class _Parts:
    v: int
    r: int
    s: int


def checked_signature(
    address: str, full_message: dict[str, Any], v: int, r: int, s: int
) -> Signature:
    """The signature with v as 27 or 28. Raises SignerError unless `address` made it of this."""
    v = v + 27 if v in (0, 1) else v
    # each signature has a twin with a high s, which nobody needs
    if v in (27, 28) and 0 < r < SECPK1_N and 0 < s <= SECPK1_N // 2:
        message = encode_typed_data(full_message=full_message)
        with contextlib.suppress(BadSignature):
            if Keys.recover_message(message, vrs=(v, r, s)) == address:
                return _Parts(v, r, s)
    raise SignerError(
        f"the signature that came back is not one of {address} on this report: is it the account's "
        "own key that signs, and EIP-712 data that it signs?"
    )


def checked_transaction(address: str, transaction: dict[str, Any], raw: bytes) -> tuple[bytes, str]:
    """The transaction and its hash. Raises SignerError unless `address` signed exactly this."""
    try:
        v, r, s = TypedTransaction.from_bytes(HexBytes(raw)).vrs()
        expected = TypedTransaction.from_dict({**transaction, "v": v, "r": r, "s": s}).encode()
        if raw == expected and Keys.recover_transaction(raw) == address:
            return raw, "0x" + keccak(raw).hex()
    except Exception:  # noqa: S110 - whatever a foreign answer does to decoders, it is refused below
        pass
    raise SignerError(
        f"what came back signed is not the transaction that was asked of {address}: look at the "
        "signer's chain and key; nothing was sent"
    )
