"""keeper.toml: every fault at once with its line, and no secret repeated."""

from __future__ import annotations

import os
import re
import unicodedata
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from eth_account.hdaccount.mnemonic import Mnemonic

from perpool.keeper.operation.config import PREFIX, KeeperConfig, load_config
from perpool.keeper.operation.credentials import secret_lines
from perpool.keeper.operation.sections import (
    HttpSection,
    LimitsSection,
    LiquidatorSection,
    Mailbox,
    RebalancerSection,
    ReporterSection,
    SubmitterSection,
    SyncSection,
)
from perpool.keeper.sources import EXCHANGES
from perpool.settings import ConfigError

MAINNET, SEPOLIA, LOCAL = 1, 11_155_111, 31_337
KEY = "4f" * 32
ADDRESS = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
GWEI = 10**9
REPORTER = """
network = "sepolia"
rpc = ["http://127.0.0.1:8545"]

[reporter]
account = "keystore:r1.json"
"""
SUBMITTER = """
network = "sepolia"
rpc = ["http://127.0.0.1:8545"]

[submitter]
account = "keystore:gas.json"
"""
REBALANCER = """
network = "sepolia"
rpc = ["http://127.0.0.1:8545"]

[rebalancer]
account = "keystore:vaults.json"
"""
LIQUIDATOR = """
network = "sepolia"
rpc = ["http://127.0.0.1:8545"]

[liquidator]
account = "keystore:gas.json"
ether_price = 2500
"""


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in os.environ if each.startswith(PREFIX)]:
        monkeypatch.delenv(name)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keeper.toml"


def load(path: Path, text: str) -> KeeperConfig:
    path.write_text(text)
    return load_config(path)


def faults(path: Path, text: str) -> list[str]:
    """Faults of a file, "12: what" or "VARIABLE: what"."""
    with pytest.raises(ConfigError) as caught:
        load(path, text)
    assert caught.value.__cause__ is None
    return [line.removeprefix(f"{path}:") for line in str(caught.value).split("\n")]


# -- what is right --


def test_load__only_what_is_needed(path: Path) -> None:
    config = load(path, REPORTER)
    assert config.reporter is not None
    assert config.reporter.account == ["keystore:r1.json"]
    assert config.reporter.sources == list(EXCHANGES)
    assert config.reporter.least_venues == 3
    assert config.reporter.cadence == timedelta(minutes=1)
    assert (config.submitter, config.liquidator, config.http) == (None, None, None)
    assert config.record_path.parts[-2:] == ("deployments", "sepolia.json")
    assert config.accounts == {"reporter": ["keystore:r1.json"]}


def test_load__submitter_s_defaults(path: Path) -> None:
    submitter = load(path, SUBMITTER).submitter
    assert submitter is not None
    assert (submitter.max_fee, submitter.max_tip) == (100 * GWEI, 3 * GWEI)
    assert (submitter.funding_heartbeat, submitter.price_heartbeat) == (
        timedelta(hours=1),
        timedelta(minutes=30),
    )
    assert (submitter.funding_threshold, submitter.price_threshold) == (
        Decimal("0.1"),
        Decimal("0.005"),
    )


def test_load__values_with_units(path: Path) -> None:
    text = (
        SUBMITTER + 'max_fee = "0.5 gwei"\nmax_tip = "7 wei"\nevery = "2s"\nprice_threshold = "1%"'
    )
    submitter = load(path, text).submitter
    assert submitter is not None
    assert (submitter.max_fee, submitter.max_tip) == (GWEI // 2, 7)
    assert (submitter.every, submitter.price_threshold) == (timedelta(seconds=2), Decimal("0.01"))


def test_load__state_is_the_network_s(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    config = load(path, REPORTER)
    assert config.state_folder == Path("/somewhere/.local/share/perpool/sepolia")
    assert config.mailbox_url == "/somewhere/.local/share/perpool/sepolia/mailbox.db"
    other = load(path, 'state = "~/keeper"' + REPORTER)
    assert other.mailbox_url == "/somewhere/keeper/mailbox.db"


def test_load__record_by_path(path: Path) -> None:
    text = REPORTER.replace('network = "sepolia"', 'deployment = "elsewhere/base.json"')
    config = load(path, text)
    assert config.record_path == Path("elsewhere/base.json")
    assert config.state_folder.name == "base"


def test_load__history_takes_one_venue(path: Path) -> None:
    reporter = load(path, REPORTER + 'sources = ["history"]\ndata = "."').reporter
    assert reporter is not None
    assert reporter.least_venues == 1


def test_load__listen(path: Path) -> None:
    http = load(path, REPORTER + '[http]\nlisten = "[::1]:9000"').http
    assert http is not None
    assert http.listen == ("::1", 9000)


def test_load__frozen(path: Path) -> None:
    config = load(path, REPORTER)
    with pytest.raises(ValueError, match="frozen"):
        config.clock = "chain"  # type: ignore[misc]


# -- the environment --


def test_environment__wins_over_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "PERPOOL_KEEPER_RPC", "https://a.example/v3/0123456789abcdef, https://b.example"
    )
    monkeypatch.setenv("PERPOOL_KEEPER_MAILBOX__URL", "redis://:hunter2@10.0.0.5:6379/0")
    monkeypatch.setenv("PERPOOL_KEEPER_REPORTER__SOURCES", "binance okx bybit")
    monkeypatch.setenv("PERPOOL_KEEPER_REPORTER__EXCHANGE__OKX__HTTPS_PROXY", "http://u:p@proxy:1")
    monkeypatch.setenv("PERPOOL_KEEPER_HTTP__GRACE", "1h")
    monkeypatch.setenv("PERPOOL_KEEPER_HTTP__LISTEN", "10.0.0.1:80")
    config = load(path, REPORTER)
    assert config.rpc == ["https://a.example/v3/0123456789abcdef", "https://b.example"]
    assert config.mailbox_url == "redis://:hunter2@10.0.0.5:6379/0"
    assert config.reporter is not None
    assert config.reporter.sources == ["binance", "okx", "bybit"]
    assert config.reporter.exchange == {"okx": {"https_proxy": "http://u:p@proxy:1"}}
    assert config.reporter.account == ["keystore:r1.json"]
    assert config.http is not None
    assert (config.http.grace, config.http.listen) == (timedelta(hours=1), ("10.0.0.1", 80))


def test_environment__empty_is_not_set(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERPOOL_KEEPER_RPC", "")
    assert load(path, REPORTER).rpc == ["http://127.0.0.1:8545"]


def test_environment__faults_name_the_variable(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERPOOL_KEEPER_SUBMITER__MAX_FEE", "1 gwei")
    monkeypatch.setenv("PERPOOL_KEEPER_SUBMITTER__MAX_FEE", "1")
    monkeypatch.setenv("PERPOOL_KEEPER_SUBMITTER__MAXFEE", "1")
    monkeypatch.setenv("PERPOOL_KEEPER_RPC", "ftp://hunter2@x")
    found = faults(path, SUBMITTER)
    assert sorted(found) == [
        'PERPOOL_KEEPER_RPC: rpc.0: write the URL of a node, "https://...", or the path of an IPC '
        "socket",
        "PERPOOL_KEEPER_SUBMITER__MAX_FEE: there is no such setting; did you mean submitter?",
        "PERPOOL_KEEPER_SUBMITTER__MAXFEE: submitter.maxfee: there is no such setting; did you "
        "mean max_fee?",
        "PERPOOL_KEEPER_SUBMITTER__MAX_FEE: submitter.max_fee: write a fee with its unit, wei, "
        'gwei or ether, such as "100 gwei"',
    ]


def test_environment__what_is_no_json_is_not_repeated(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERPOOL_KEEPER_MAILBOX", "redis://:hunter2@10.0.0.5")
    assert faults(path, REPORTER) == [
        "PERPOOL_KEEPER_MAILBOX: cannot be read: write it in the file"
    ]


# -- faults --


def test_faults__all_at_once_with_their_lines(path: Path) -> None:
    text = f"""\
networks = "sepolia"
rpc = ["http://127.0.0.1:8545",
       "ws://127.0.0.1:8546"]
clock = "moon"

[reporter]
account = [
    "keystore:r1.json",
    "r2.json",
]
sources = ["binance", "bibit"]
cadence = "60"

[reporter.exchange.okx]
apiKey = "x"

[submitter]
account = "ape:gas"
max_fee = 100
lease = "2s"

[liquidator]
account = "ape:gas"
receiver = "{ADDRESS[:-1]}"
ether_price = "lots"

[http]
listen = "9464"
"""
    assert faults(path, text) == [
        "1: give either network, whose record is deployments/<network>.json, or deployment, "
        "another record",
        "1: networks: there is no such setting; did you mean network?",
        '3: rpc.1: write the URL of a node, "https://...", or the path of an IPC socket',
        '4: clock: write "system" or "chain"',
        '9: reporter.account.1: name an account as "keystore:/path.json", "ape:alias" or '
        '"external:https://host:port#0x..."',
        "11: reporter.sources.1: there is no such source; did you mean bybit? (binance, bybit, "
        "okx, gate, hyperliquid, history, synthetic)",
        "12: reporter.cadence: write a duration with its unit, s, m, h or d, such as "
        '"90s" or "24h"',
        '19: submitter.max_fee: write a fee with its unit, wei, gwei or ether, such as "100 gwei"',
        "20: submitter.lease: has to be at least three times `every`, which renews it",
        "24: liquidator.receiver: write an address: 0x and 40 hexadecimal digits",
        "25: liquidator.ether_price: write an amount as a number of whole tokens",
        '28: http.listen: write an address and a port, such as "127.0.0.1:9464"',
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "1: rpc: is missing"),
        (
            SUBMITTER.replace("[submitter]", "[sync]").replace("account", "enabled"),
            "6: sync.enabled",
        ),
        (
            SUBMITTER.replace('account = "keystore:gas.json"', ""),
            "5: submitter.account: is missing",
        ),
        ('deployment = "x.json"' + REPORTER, "1: give either network"),
        (
            REPORTER.replace("[reporter]", "[mailbox]").replace("account", "url"),
            "1: there is nothing",
        ),
        (REPORTER + "[sync]", "7: sync: is part of the submitter's work"),
        (
            REPORTER.replace('8545"', '8545", "http://127.0.0.1:8545"'),
            "3: rpc: names a node twice",
        ),
        ("min_agreeing = 0\n" + REPORTER, "1: min_agreeing: has to be 1 at least"),
        ("min_agreeing = 2\n" + REPORTER, "1: min_agreeing: 1 nodes in rpc allow 1 at most"),
        ("max_lag_blocks = 0\n" + REPORTER, "1: max_lag_blocks: has to be 1 at least"),
        ("max_lag_blocks = 1001\n" + REPORTER, "1: max_lag_blocks: has to be 1000 at most"),
        (SUBMITTER + "max_gas = 999999", "7: submitter.max_gas: has to be 1000000 at least"),
        (SUBMITTER + "max_gas = 16777217", "7: submitter.max_gas: has to be 16777216 at most"),
        (REPORTER + 'sources = ["okx", "history"]', "7: reporter.sources: history is of the past"),
        (REPORTER + 'sources = ["history", "synthetic"]', "7: reporter.sources: history is of"),
        (
            REPORTER + 'sources = ["synthetic"]\ndata = "."',
            "8: reporter.data: is read by",
        ),
        (REPORTER + 'sources = ["okx", "okx", "gate", "bybit"]', "7: reporter.sources: names one"),
        (REPORTER + 'sources = ["okx", "gate"]', "5: reporter.min_venues: there are 2 sources"),
        (REPORTER + "min_venues = 0", "7: reporter.min_venues: has to be 1 at least"),
        (REPORTER + 'sources = ["history"]', "5: reporter.data: history needs the folder"),
        (REPORTER + 'data = "."', "7: reporter.data: is read by"),
        (REPORTER + 'cadence = "5s"', "7: reporter.cadence: has to be between 10s and 1h"),
        (REPORTER + 'cadence = "10s"', "5: reporter.timeout: has to be shorter"),
        (
            REPORTER + '[reporter.limits]\nmax_rate = { okex = "1%" }',
            "8: reporter.limits.max_rate.okex: there is no such source; did you mean okx?",
        ),
        (
            REPORTER + '[reporter.limits]\nmax_rate = { okx = "1" }',
            "8: reporter.limits.max_rate.okx",
        ),
        (
            REPORTER + "[reporter.exchange.okx]\napiKey = 'x'",
            "8: reporter.exchange.okx.apiKey: public",
        ),
        (
            REPORTER + 'sources = ["binance", "gate", "bybit"]\n[reporter.exchange.okx]\na = 1',
            "8: ",
        ),
        (REPORTER.replace('"keystore:r1.json"', "[]"), "6: reporter.account: name 1 at least"),
        (
            REPORTER.replace('"keystore:r1.json"', '["ape:a", "ape:a"]'),
            "6: reporter.account: names one of them twice",
        ),
        (SUBMITTER + 'max_tip = "101 gwei"', "7: submitter.max_tip: is above 0"),
        (SUBMITTER + 'max_tip = "0 wei"', "7: submitter.max_tip: is above 0"),
        (SUBMITTER + 'lease = "14s"', "7: submitter.lease: has to be at least three times"),
        (SUBMITTER + 'every = "0s"', "7: submitter.every: has to be between 1s and 10m"),
        (SUBMITTER + 'price_threshold = "0%"', "7: submitter.price_threshold: has to be above"),
        (
            SUBMITTER + 'funding_heartbeat = "2d"',
            "7: submitter.funding_heartbeat: has to be between 1m and 1d",
        ),
        (SUBMITTER + "confirmations = -1", "7: submitter.confirmations: has to be 0 at least"),
        (LIQUIDATOR.replace("ether_price = 2500", ""), "5: liquidator: give either ether_price"),
        (LIQUIDATOR + f'ether_feed = "{ADDRESS}"', "5: liquidator: give either ether_price"),
        (LIQUIDATOR.replace("2500", "0"), "7: liquidator.ether_price: has to be above 0"),
        (LIQUIDATOR + 'ether_max_age = "31d"', "8: liquidator.ether_max_age: has to be between"),
        (LIQUIDATOR + 'bad_debt_loss = "all"', "8: liquidator.bad_debt_loss: write an amount"),
        (
            LIQUIDATOR + '[submitter]\naccount = "keystore:gas.json"',
            "6: liquidator.account: the submitter sends from it",
        ),
        (
            LIQUIDATOR + '[rebalancer]\naccount = "keystore:gas.json"',
            "9: rebalancer.account: the liquidator sends from it",
        ),
        (REBALANCER + 'budget = "0 ether"', "7: rebalancer.budget: has to be above 0"),
        (REBALANCER + "budget = 1", "7: rebalancer.budget: write a fee with its unit"),
        (REPORTER + '[http]\nlisten = "127.0.0.1:99999"', "8: http.listen: write an address"),
        (REPORTER + "[mailbox]\nurl = 'mysql://x'", "8: mailbox.url: write a path"),
        (REPORTER + "[mailbox]\nurl = '10.0.0.5:6379'", '8: mailbox.url: write "redis://host:port'),
        (REPORTER + "[mailbox]\nurl = 'redis.example.org:6379/0'", "8: mailbox.url: write"),
    ],
)
def test_faults__one(path: Path, text: str, expected: str) -> None:
    found = faults(path, text)
    assert any(each.startswith(expected) for each in found), found


def test_faults__not_toml(path: Path) -> None:
    [fault] = faults(path, REPORTER + "every =")
    assert fault.startswith("7: cannot be read:")


PLACES = [
    (section, name)
    for section, model in (
        ("", KeeperConfig),
        ("[mailbox]", Mailbox),
        ("[reporter]", ReporterSection),
        ("[reporter.limits]", LimitsSection),
        ("[submitter]", SubmitterSection),
        ("[sync]", SyncSection),
        ("[liquidator]", LiquidatorSection),
        ("[rebalancer]", RebalancerSection),
        ("[http]", HttpSection),
    )
    for name in model.model_fields
]
WRONG = ("true", "7", "-7", "2.5", '"?"', '""', "[]", "[7]", "{ a = 1 }")


@pytest.mark.parametrize(("section", "name"), PLACES)
def test_faults__in_our_own_words(path: Path, section: str, name: str) -> None:
    for wrong in WRONG:
        text = f"{section}\n{name} = {wrong}"
        found = faults(path, text)
        assert [each for each in found if re.search("Input|should|what it has to", each)] == []
        assert all(re.match(r"\d+: ", each) for each in found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("log = 7", '1: log: write "console" or "json"'),
        ("network = 7", "1: network: write a text in quotes"),
        ('network = "Sepolia"', "1: network: has to fit ^[a-z0-9-]+$"),
        ("rpc = []", "1: rpc: name 1 at least"),
        ("rpc = 7", '1: rpc: write a list, such as ["...", "..."]'),
        ("submitter = 7", "1: submitter: is a table of settings, not a value"),
        ("mailbox = 7", "1: mailbox: is a table of settings, not a value"),
        ('[sync]\nenabled = "perhaps"', "2: sync.enabled: write true or false"),
        ("[submitter]\nconfirmations = 2.5", "2: submitter.confirmations: write a whole number"),
        ("[submitter]\nconfirmations = 65", "2: submitter.confirmations: has to be 64 at most"),
        ('[submitter]\nname = ""', "2: submitter.name: has to have 1 characters at least"),
    ],
)
def test_faults__of_a_wrong_kind(path: Path, text: str, expected: str) -> None:
    assert expected in faults(path, text)


def test_faults__no_file(path: Path) -> None:
    (path.parent / "pyproject.toml").write_text("[project]\nname = 'perpool'")
    (path.parent / "broken.toml").write_text("rpc =")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    [fault] = caught.value.faults
    assert fault == "there is no such file; write one after docs/keeper/keeper.toml"
    (path.parent / "other.toml").write_text(REPORTER)
    with pytest.raises(ConfigError, match=f"here: {path.parent}/other.toml\\)$"):
        load_config(path)


# -- secrets --


MNEMONIC = "legal winner thank year wave sausage worth useful legal winner thank yellow"


@pytest.mark.parametrize(
    "line",
    [
        f'private_key = "0x{KEY}"',
        f'data = "{KEY}"',
        f"# old one: {KEY.upper()}",
        f'"{KEY}" = 1',
        f"{KEY}",
        f'mnemonic = "{MNEMONIC}"',
        f"# {MNEMONIC}",
        f"words = {MNEMONIC.split()}",
        f'seed = "{MNEMONIC.title()}"',
        "note = '" + " ".join(f"{i}. {each}" for i, each in enumerate(MNEMONIC.split(), 1)) + "'",
    ],
)
def test_secrets__refused_and_not_repeated(path: Path, line: str) -> None:
    found = faults(path, REPORTER + line + "\n[http]\nlisten = 1")
    assert found[0] == (
        "7: this looks like a private key or a mnemonic. Take it out, treat it as stolen, and use "
        "an encrypted keystore"
    )
    # everything else is said too, where the file can be read at all
    assert len(found) == (1 if line == KEY else 2)
    text = "\n".join(found).lower()
    assert KEY not in text
    assert "sausage" not in text


@pytest.mark.parametrize(
    "language", ["english", "spanish", "japanese", "korean", "chinese_simplified"]
)
def test_secret_lines__mnemonics_of_all_languages(language: str) -> None:
    words = Mnemonic(language).generate(num_words=12)
    for form in ("NFC", "NFKD"):
        assert secret_lines(f'\nseed = "{unicodedata.normalize(form, words)}"') == [2]


def test_secret_lines__words_on_lines_of_their_own() -> None:
    assert secret_lines("x = 1\n" + "\n".join(MNEMONIC.split())) == list(range(2, 14))


@pytest.mark.parametrize(
    "text",
    [
        " ".join(MNEMONIC.split()[:11]),
        f"to {ADDRESS}",
        KEY[:-1],
        "# a comment on what this file is for, and on when you should change what it says",
    ],
)
def test_secret_lines__ordinary_text(text: str) -> None:
    assert secret_lines(text) == []


@pytest.mark.parametrize(
    ("old", "new", "variable"),
    [
        ('"http://127.0.0.1:8545"', '"https://user:hunter2@node.example"', "RPC"),
        ('"http://127.0.0.1:8545"', '"https://node.example/v3/hunter2hunter2hunter2"', "RPC"),
        ('"http://127.0.0.1:8545"', '"https://node.example/?apikey=hunter2"', "RPC"),
        ("[reporter]", '[mailbox]\nurl = "redis://:hunter2@h"\n[reporter]', "MAILBOX__URL"),
        (
            '"keystore:r1.json"',
            f'"external:https://u:hunter2@signer.example#{ADDRESS}"',
            "REPORTER__ACCOUNT",
        ),
        (
            "[reporter]",
            '[reporter.exchange.okx]\nhttps_proxy = "http://u:hunter2@proxy:1"\n[reporter]',
            "REPORTER__EXCHANGE__OKX__HTTPS_PROXY",
        ),
    ],
)
def test_credentials__belong_in_the_environment(
    path: Path, old: str, new: str, variable: str
) -> None:
    [fault] = faults(path, REPORTER.replace(old, new))
    assert fault.endswith(
        f"holds what may be a password or a key; give it in PERPOOL_KEEPER_{variable}"
    )
    assert "hunter2" not in fault


@pytest.mark.parametrize(
    "url",
    [
        "https://ethereum-sepolia-rpc.publicnode.example",
        "http://10.0.0.1:8545/ext/bc/C/rpc",
        "/var/lib/node-0123456789abcdef/geth.ipc",
    ],
)
def test_credentials__plain_endpoints_are_fine(path: Path, url: str) -> None:
    assert load(path, REPORTER.replace("http://127.0.0.1:8545", url)).rpc == [url]


def test_repr__has_no_secrets(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERPOOL_KEEPER_RPC", "https://node.example/v3/hunter2hunter2hunter2")
    monkeypatch.setenv("PERPOOL_KEEPER_MAILBOX__URL", "redis://:hunter2hunter2@10.0.0.5/0")
    monkeypatch.setenv(
        "PERPOOL_KEEPER_REPORTER__ACCOUNT", f"external:https://u:hunter2@s#{ADDRESS}"
    )
    monkeypatch.setenv(
        "PERPOOL_KEEPER_REPORTER__EXCHANGE__OKX__HTTPS_PROXY", "http://hunter2:x@p:1"
    )
    config = load(path, REPORTER)
    assert "hunter2" not in f"{config!r} {config}"
    assert config.secrets() == ["hunter2", "hunter2hunter2", "hunter2hunter2hunter2", "x"]


# -- fitness for a chain --


def test_unfit__for_real_money(path: Path) -> None:
    text = 'clock = "chain"' + REPORTER.replace("keystore:r1.json", "ape:TEST::2")
    config = load(path, text + 'sources = ["history"]\ndata = "."')
    assert [each.split(":")[0] for each in config.unfit(MAINNET)] == [
        "reporter.account",
        "reporter.sources",
        "clock",
    ]
    assert config.unfit(SEPOLIA) == config.unfit(LOCAL) == []


def test_unfit__a_synthetic_market_anywhere_but_here(path: Path) -> None:
    config = load(path, REPORTER + 'sources = ["synthetic"]')
    assert config.reporter is not None
    assert config.reporter.least_venues == 1
    for chain_id in (MAINNET, SEPOLIA):
        [fault] = config.unfit(chain_id)
        assert fault.startswith("reporter.sources: a synthetic market is for local chains")
    assert config.unfit(LOCAL) == config.warnings(LOCAL) == []


def test_unfit__nothing_of_an_ordinary_one(path: Path) -> None:
    assert load(path, REPORTER).unfit(MAINNET) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            REPORTER.replace('"keystore:r1.json"', '["ape:a", "ape:b", "ape:c"]'),
            "3 REPORTERS' KEYS",
        ),
        (REPORTER + "min_venues = 2", "moved by one of them"),
        (
            REPORTER.replace("keystore:r1.json", f"external:http://signer.example#{ADDRESS}"),
            "over plain http",
        ),
        (SUBMITTER, "one node is believed"),
    ],
)
def test_warnings__outside_local_chains(path: Path, text: str, words: str) -> None:
    config = load(path, text)
    assert config.warnings(LOCAL) == []
    [line] = config.warnings(SEPOLIA)
    assert words in line
    assert config.warnings(MAINNET) == [line]


def test_warnings__none_for_careful_operators(path: Path) -> None:
    account = f"external:http://127.0.0.1:9000#{ADDRESS}"
    assert load(path, REPORTER.replace("keystore:r1.json", account)).warnings(MAINNET) == []
    nodes = SUBMITTER.replace('8545"', '8545", "https://a.example", "https://b.example"')
    assert load(path, nodes).warnings(MAINNET) == []
