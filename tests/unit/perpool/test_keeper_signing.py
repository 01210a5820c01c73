"""Accounts of the keeper: keystores, Ape accounts and external signers sign the same."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import SignableMessage
from eth_keys.constants import SECPK1_N

from perpool.keeper.signing import (
    PASSWORD_FILE_VARIABLE,
    PASSWORD_VARIABLE,
    ApeAccount,
    ExternalAccount,
    KeyAccount,
    SignerError,
    account_address,
    keystore_password,
    load_keystore,
    open_account,
    parse_account,
)
from perpool.reports import Domain, pack_rates, sign_report
from tests.external_signer import ExternalSigner

KEYS = [Account.from_key(bytes([number]) * 32) for number in range(1, 6)]
KEY = KEYS[0]
REPORTERS = [key.address for key in KEYS]
ORACLE, TOKEN = "0x" + 40 * "1", "0x" + 40 * "2"
DOMAIN = Domain.of_funding_oracle(1, ORACLE)
PASSWORD = "correct horse"
TRANSACTION = {
    "type": 2,
    "chainId": 1,
    "nonce": 7,
    "to": ORACLE,
    "value": 0,
    "data": b"\x01\x02",
    "gas": 100_000,
    "maxFeePerGas": 30 * 10**9,
    "maxPriorityFeePerGas": 10**9,
}


def no_password() -> str:
    raise AssertionError("nobody needs a password here")


@dataclass(frozen=True)
class ApeSignature:
    """As ape.types.MessageSignature: r and s are bytes."""

    v: int
    r: bytes
    s: bytes


@dataclass(frozen=True)
class Refusing:
    """As an Ape account whose owner says no."""

    address: str = KEY.address

    def sign_message(self, message: SignableMessage) -> None:
        return None

    def sign_transaction(self, transaction: Any) -> None:
        return None


@dataclass(frozen=True)
class Ledger:
    """As an Ape account that signs with another key than it shows, or with v as a parity."""

    key: Any
    address: str
    parity: bool = True

    def sign_message(self, message: SignableMessage) -> ApeSignature:
        signed = self.key.sign_message(message)
        v = signed.v - 27 if self.parity else signed.v
        return ApeSignature(v, signed.r.to_bytes(32, "big"), signed.s.to_bytes(32, "big"))


@pytest.fixture
def signer() -> Iterator[ExternalSigner]:
    with ExternalSigner([KEY]) as signer:
        yield signer


@pytest.fixture
def external(signer: ExternalSigner) -> ExternalAccount:
    return ExternalAccount(signer.url, KEY.address, timeout=2)


def report(account: Any) -> Any:
    """Signed by an account, with values that JSON numbers would not hold exactly."""
    return sign_report(account, DOMAIN, 1000, [TOKEN], pack_rates([109_500_000, None, -7]))


def keystore(path: Path) -> Path:
    path.write_text(json.dumps(Account.encrypt(KEY.key, PASSWORD, kdf="pbkdf2", iterations=10)))
    return path


# -- all kinds sign alike --


@pytest.fixture(params=["key", "ape", "external"])
def account(request: pytest.FixtureRequest) -> Any:
    """The same key behind each kind of account."""
    if request.param == "key":
        return KeyAccount(KEY)
    if request.param == "external":
        return request.getfixturevalue("external")
    from ape_accounts.accounts import ApeSigner

    return ApeAccount(ApeSigner(private_key=KEY.key.to_0x_hex()))


def test_account__signs_what_the_key_signs(account: Any) -> None:
    assert account.address == KEY.address
    assert report(account) == report(KEY)
    expected = KEY.sign_transaction(TRANSACTION)
    assert account.sign_transaction(TRANSACTION) == (
        bytes(expected.raw_transaction),
        expected.hash.to_0x_hex(),
    )


def test_account__shows_its_address_and_not_its_key(account: Any) -> None:
    assert KEY.address in repr(account)
    assert KEY.key.hex() not in f"{account!r} {account!s}"


# -- naming an account --


@pytest.mark.parametrize(
    ("text", "kind", "where", "address"),
    [
        ("keystore:/srv/r1.json", "keystore", "/srv/r1.json", None),
        ("ape:reporter-1", "ape", "reporter-1", None),
        ("ape:TEST::2", "ape", "TEST::2", None),
        (
            f"external:https://signer.example:9000#{KEY.address.lower()}",
            "external",
            "https://signer.example:9000",
            KEY.address,
        ),
    ],
)
def test_parse_account(text: str, kind: str, where: str, address: str | None) -> None:
    parsed = parse_account(text)
    assert (parsed.kind, parsed.where, parsed.address) == (kind, where, address)
    assert parsed.is_public == (text == "ape:TEST::2")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("reporter.json", "keystore:/path.json"),
        ("keystore:", "keystore:/path.json"),
        ("ape:", "keystore:/path.json"),
        ("ape:TEST::x", "keystore:/path.json"),
        ("external:signer.example#" + KEY.address, "begins with"),
        ("external:https://signer.example", "0x and 40"),
        (f"external:https://signer.example#{KEY.address[:-1]}", "0x and 40"),
        (KEY.key.to_0x_hex(), "keystore:/path.json"),
    ],
)
def test_parse_account__fault(text: str, words: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_account(text)
    assert words in str(caught.value)
    assert KEY.key.hex() not in str(caught.value)
    with pytest.raises(SignerError):
        open_account(text, no_password)


def test_parse_account__home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert parse_account("keystore:~/r1.json").where == str(tmp_path / "r1.json")


def test_open_account__keystore(tmp_path: Path) -> None:
    path = keystore(tmp_path / "key.json")
    assert open_account(f"keystore:{path}", lambda: PASSWORD).address == KEY.address


def test_open_account__missing_keystore_asks_for_no_password(tmp_path: Path) -> None:
    with pytest.raises(SignerError, match="cannot be read: No such file"):
        open_account(f"keystore:{tmp_path}/none.json", no_password)


def test_open_account__external_needs_no_password(signer: ExternalSigner) -> None:
    account = open_account(f"external:{signer.url}#{KEY.address}", no_password)
    assert report(account) == report(KEY)


def test_open_account__test_account_of_ape() -> None:
    account = open_account("ape:TEST::2", no_password)
    assert account.address == "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
    raw, _ = account.sign_transaction(TRANSACTION)
    assert Account.recover_transaction(raw) == account.address


def test_open_account__unknown_to_ape() -> None:
    with pytest.raises(SignerError, match="there is no account nobody-has-this"):
        open_account("ape:nobody-has-this", no_password)
    with pytest.raises(SignerError, match=r"test accounts are TEST::0 to TEST::9$"):
        open_account("ape:TEST::10", no_password)


# -- keystores --


def test_load_keystore__decrypts(tmp_path: Path) -> None:
    assert load_keystore(keystore(tmp_path / "key.json"), PASSWORD) == KEY


def test_load_keystore__wrong_password(tmp_path: Path) -> None:
    with pytest.raises(SignerError, match="or the password is wrong"):
        load_keystore(keystore(tmp_path / "key.json"), "wrong")


def test_load_keystore__says_nothing_of_the_key(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    path.write_text(KEY.key.hex())
    with pytest.raises(SignerError) as caught:
        load_keystore(path, PASSWORD)
    assert KEY.key.hex() not in repr(caught.value)


def test_load_keystore__missing(tmp_path: Path) -> None:
    with pytest.raises(SignerError, match="cannot be read"):
        load_keystore(tmp_path / "nowhere.json", PASSWORD)


@pytest.fixture
def password_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    path = tmp_path / "password"
    path.write_text(PASSWORD + "\n")
    path.chmod(0o600)
    monkeypatch.setenv(PASSWORD_FILE_VARIABLE, str(path))
    return path


def test_keystore_password__file(password_file: Path) -> None:
    assert keystore_password() == PASSWORD


def test_keystore_password__environment_comes_first(
    password_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, "of the environment")
    assert keystore_password() == "of the environment"


def test_keystore_password__file_that_everybody_reads(password_file: Path) -> None:
    password_file.chmod(0o644)
    with pytest.raises(SignerError, match="chmod 600") as caught:
        keystore_password()
    assert PASSWORD not in str(caught.value)


def test_keystore_password__file_missing(password_file: Path) -> None:
    password_file.unlink()
    with pytest.raises(SignerError, match="cannot be read: No such file"):
        keystore_password()


def test_keystore_password__nobody_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    monkeypatch.delenv(PASSWORD_FILE_VARIABLE, raising=False)
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    with pytest.raises(SignerError, match=f"set {PASSWORD_VARIABLE}"):
        keystore_password()


# -- Ape --


def test_ape_account__refuses() -> None:
    account = ApeAccount(Refusing())
    with pytest.raises(SignerError, match="did not sign; unlock the account"):
        report(account)
    with pytest.raises(SignerError, match="did not sign; unlock the account"):
        account.sign_transaction(TRANSACTION)


def test_ape_account__parity_becomes_v() -> None:
    assert report(ApeAccount(Ledger(KEY, KEY.address))) == report(KEY)


def test_ape_account__another_key() -> None:
    with pytest.raises(SignerError, match=f"not one of {KEY.address}"):
        report(ApeAccount(Ledger(KEYS[1], KEY.address)))


# -- external signers --


def test_external__is_asked_as_web3signer_wants_it(
    signer: ExternalSigner, external: ExternalAccount
) -> None:
    report(external)
    external.sign_transaction(TRANSACTION)
    typed, transaction = signer.asked
    address, text = typed["params"]
    assert (typed["method"], address) == ("eth_signTypedData", KEY.address)
    data = json.loads(text)
    assert data["primaryType"] == "Report"
    assert data["domain"] == {
        "name": "Perpool FundingOracle",
        "version": "1",
        "chainId": 1,
        "verifyingContract": ORACLE,
    }
    # a word of rates is far beyond what a JSON number holds
    assert data["message"] == {
        "observed_at": 1000,
        "tokens": [TOKEN],
        "values": [str(each) for each in pack_rates([109_500_000, None, -7])],
    }
    assert transaction["method"] == "eth_signTransaction"
    assert transaction["params"] == [
        {
            "from": KEY.address,
            "type": "0x2",
            "chainId": "0x1",
            "nonce": "0x7",
            "to": ORACLE,
            "value": "0x0",
            "data": "0x0102",
            "gas": hex(100_000),
            "maxFeePerGas": hex(30 * 10**9),
            "maxPriorityFeePerGas": hex(10**9),
        }
    ]
    assert transaction["id"] != typed["id"]


def test_external__transaction_with_more_around_it(
    signer: ExternalSigner, external: ExternalAccount
) -> None:
    signer.spoil = lambda raw: {"raw": raw, "tx": {}}
    assert external.sign_transaction(TRANSACTION)[0] == bytes(
        KEY.sign_transaction(TRANSACTION).raw_transaction
    )


def of_another_key(_: str) -> str:
    return str(report_signature(KEYS[1]))


def report_signature(key: Any) -> str:
    words = pack_rates([109_500_000, None, -7])
    return str(key.sign_message(DOMAIN.message(1000, [TOKEN], words)).signature.to_0x_hex())


def malleated(signature: str) -> str:
    """The twin with the high s, which recovers to the same address."""
    raw = bytes.fromhex(signature[2:])
    s = SECPK1_N - int.from_bytes(raw[32:64], "big")
    return "0x" + (raw[:32] + s.to_bytes(32, "big") + bytes([27 + 28 - raw[64]])).hex()


@pytest.mark.parametrize(
    "spoil",
    [
        of_another_key,
        malleated,
        lambda _: KEY.sign_message(DOMAIN.message(1001, [TOKEN], [0])).signature.to_0x_hex(),
        lambda signature: signature[:-2] + "05",
        lambda _: "0x" + 130 * "f",
        lambda _: "0x" + 128 * "0" + "1b",
    ],
    ids=["another key", "high s", "another report", "v of nothing", "out of range", "zero"],
)
def test_external__wrong_signature(
    signer: ExternalSigner, external: ExternalAccount, spoil: Callable[[str], str]
) -> None:
    signer.spoil = spoil
    with pytest.raises(SignerError, match=f"not one of {KEY.address} on this report"):
        report(external)


@pytest.mark.parametrize(
    "nonsense", [None, 7, "0x", "0x12", "hello", {"raw": None}, [], "0x" + "1" * 131]
)
def test_external__no_signature(
    signer: ExternalSigner, external: ExternalAccount, nonsense: Any
) -> None:
    signer.spoil = lambda _: nonsense
    with pytest.raises(SignerError, match="answered what is no signature"):
        report(external)


@pytest.mark.parametrize(
    "change",
    [
        {"nonce": 8},
        {"to": TOKEN},
        {"value": 1},
        {"data": b"\x01\x03"},
        {"gas": 100_001},
        {"maxFeePerGas": 31 * 10**9},
        {"maxPriorityFeePerGas": 2 * 10**9},
        {"chainId": 5},
        {"accessList": [{"address": TOKEN, "storageKeys": []}]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_external__another_transaction(
    signer: ExternalSigner, external: ExternalAccount, change: dict[str, Any]
) -> None:
    spoilt = KEY.sign_transaction(TRANSACTION | change).raw_transaction.to_0x_hex()
    signer.spoil = lambda _: spoilt
    with pytest.raises(SignerError, match="not the transaction that was asked"):
        external.sign_transaction(TRANSACTION)


def test_external__transaction_of_another_kind_or_key(
    signer: ExternalSigner, external: ExternalAccount
) -> None:
    legacy = {
        name: value for name, value in TRANSACTION.items() if not name.startswith(("max", "type"))
    }
    spoilt = [
        KEY.sign_transaction(legacy | {"gasPrice": 30 * 10**9}).raw_transaction.to_0x_hex(),
        KEYS[1].sign_transaction(TRANSACTION).raw_transaction.to_0x_hex(),
        KEY.sign_transaction(TRANSACTION).raw_transaction.to_0x_hex() + "00",
        "0x02c0",
    ]
    for each in spoilt:
        signer.spoil = lambda _, each=each: each
        with pytest.raises(SignerError, match="not the transaction that was asked"):
            external.sign_transaction(TRANSACTION)


def test_external__signer_of_another_chain(
    signer: ExternalSigner, external: ExternalAccount
) -> None:
    signer.chain_id = 5
    with pytest.raises(SignerError, match="look at the signer's chain"):
        external.sign_transaction(TRANSACTION)


def test_external__refuses(signer: ExternalSigner) -> None:
    with pytest.raises(SignerError, match="is not an unlocked account; has it this key"):
        report(ExternalAccount(signer.url, REPORTERS[1]))


def test_external__slow(signer: ExternalSigner) -> None:
    signer.delay = threading.Event()
    with pytest.raises(SignerError, match=r"no answer from the signer at 127\.0\.0\.1:"):
        report(ExternalAccount(signer.url, KEY.address, timeout=0.2))


def test_external__away_keeps_its_credentials() -> None:
    account = ExternalAccount("http://user:hunter2@127.0.0.1:9/secret-path", KEY.address)
    with pytest.raises(
        SignerError, match=r"no answer from the signer at 127\.0\.0\.1:9 "
    ) as caught:
        report(account)
    assert caught.value.__cause__ is None
    for text in (str(caught.value), repr(account)):
        assert "hunter2" not in text
        assert "secret-path" not in text


# -- addresses without keys --


def test_account_address__unlocks_nothing(tmp_path: Path) -> None:
    path = keystore(tmp_path / "key.json")
    assert account_address(f"keystore:{path}") == KEY.address
    assert account_address(f"external:https://nowhere.example#{KEY.address}") == KEY.address
    assert account_address("ape:TEST::2") == "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"


@pytest.mark.parametrize("text", ["{}", "[]", "no JSON", '{"address": "12"}'])
def test_account_address__no_keystore(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key.json"
    path.write_text(text)
    with pytest.raises(SignerError, match="no keystore that tells its address"):
        account_address(f"keystore:{path}")


def test_account_address__no_file(tmp_path: Path) -> None:
    with pytest.raises(SignerError, match="cannot be read: No such file"):
        account_address(f"keystore:{tmp_path}/none.json")
