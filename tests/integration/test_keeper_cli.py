"""`perpool keeper run`, `status` and `check` on anvil, with the sample for local chains."""

from __future__ import annotations

import contextlib
import gzip
import json
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
import structlog
from click.testing import CliRunner, Result
from eth_account import Account

from perpool.anvil import Anvil
from perpool.chain import Chain
from perpool.deployment import ChainSender, Deployment, Record, load_config
from perpool.keeper.cli import keeper
from perpool.keeper.model import Intent, Parcel
from perpool.keeper.operation.config import PREFIX
from perpool.keeper.transactions.journal import Journal
from tests.external_signer import ExternalSigner

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "docs" / "keeper" / "local.toml"
START = 1_621_411_200
"""A multiple of the sample's cadence."""
HOUR = 3_600
STRANGER = Account.from_key(bytes([9]) * 32)
SENT = "funding 1 done, observe 1 done, price 1 done, sync 2 done\n"
PATIENCE = 30


@pytest.fixture(scope="module")
def anvil() -> Iterator[Anvil]:
    with Anvil(timestamp=START - 600) as anvil:
        yield anvil


@pytest.fixture(scope="module")
def record(anvil: Anvil, tmp_path_factory: pytest.TempPathFactory) -> Record:
    chain = Chain.connect(anvil.endpoint)
    path = tmp_path_factory.mktemp("deployments") / "local.json"
    sender = ChainSender(chain, chain.default)
    return Deployment(load_config(ROOT / "deploy" / "local.toml"), sender, path).run().record


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a day of one market."""
    folder = tmp_path_factory.mktemp("data")
    times = range(START // HOUR * HOUR - 12 * HOUR, START + 12 * HOUR, HOUR)
    series = {
        "funding": ["ts,rate,interval_h", *(f"{each},0.0001,8" for each in times[::8])],
        "perp_1h": ["ts,open,high,low,close,volume", *(f"{each},1,1,1,1.25,1" for each in times)],
    }
    for name, lines in series.items():
        (folder / name).mkdir()
        with gzip.open(folder / name / "ADAUSDT.csv.gz", "wt") as file:
            file.write("\n".join(lines) + "\n")
    return folder


@dataclass(frozen=True)
class Setting:
    """The sample's keeper on a fresh deployment, with settings from the environment."""

    chain: Chain
    record: Record
    config: Path
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return {PREFIX + name: value for name, value in self.settings.items()}

    def invoke(self, *command: str, settings: Mapping[str, str] | None = None) -> Result:
        more = {PREFIX + name: value for name, value in (settings or {}).items()}
        options = [*command, "--config", str(self.config)]
        return CliRunner(mix_stderr=False).invoke(keeper, options, env=self.environment | more)

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.invoke("status", "--json").stdout)
        return found

    @property
    def observed_at(self) -> int:
        """Of the funding on chain."""
        oracle = self.record.contracts["FundingOracle"]["address"]
        token = self.record.markets["ADA"]["token"]
        return int(self.chain.contract("FundingOracle", oracle).funding(token)[1])


@pytest.fixture
def setting(
    anvil: Anvil, record: Record, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Setting]:
    for name in [each for each in os.environ if each.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    config = tmp_path / "local.toml"
    text = SAMPLE.read_text()
    config.write_text(text.replace('network = "local"', f'deployment = "{record.path}"'))
    settings = {
        "RPC": anvil.http_url,
        "STATE": str(tmp_path / "state"),
        "REPORTER__SOURCES": "history",
        "REPORTER__DATA": str(data),
    }
    chain = Chain.connect(anvil.endpoint)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    with chain.anchor():
        chain.mine(timestamp=START)
        yield Setting(chain, record, config, settings)
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


# -- run --


def test_run__once_brings_the_chain_up_to_date(setting: Setting) -> None:
    run = setting.invoke("run", "--once")
    assert run.exit_code == 0, run.stderr
    assert run.stdout == SENT
    assert setting.observed_at == START


def test_run__the_sample_as_it_is_needs_no_data_folder(setting: Setting) -> None:
    for name in ("REPORTER__SOURCES", "REPORTER__DATA"):
        del setting.settings[name]
    run = setting.invoke("run", "--once")
    assert run.exit_code == 0, run.stderr
    # its funding is high enough for both vaults to carry
    assert run.stdout == SENT.replace("sync", "rebalance 2 done, sync")
    assert [each["mode"] for each in setting.status()["vaults"]] == ["carry", "carry"]
    assert setting.observed_at == START


def test_run__once_more_sends_nothing(setting: Setting) -> None:
    setting.invoke("run", "--once")
    run = setting.invoke("run", "--once")
    assert (run.exit_code, run.stdout) == (0, "nothing was sent\n")


def test_run__dry_run_decides_and_sends_nothing(setting: Setting) -> None:
    before = setting.chain.block_number
    run = setting.invoke("run", "--once", "--dry-run")
    assert (run.exit_code, run.stdout) == (0, "nothing was sent\n")
    assert "would report" in run.stderr
    assert (setting.chain.block_number, setting.observed_at) == (before, 0)
    # it would send what others have signed
    text = setting.config.read_text()
    setting.config.write_text(text[: text.index("[submitter]")])
    setting.invoke("run", "--once")
    setting.config.write_text(text)
    run = setting.invoke("run", "--once", "--dry-run")
    assert run.stderr.count("would send") == 2
    assert setting.observed_at == 0


def test_run__history_of_another_time(setting: Setting) -> None:
    setting.chain.mine(timestamp=START + 30 * 86_400)
    run = setting.invoke("run", "--once")
    assert run.exit_code == 1
    assert "too few venues had a value for ADA" in run.stderr


def test_run__one_reporter_is_no_round(setting: Setting) -> None:
    run = setting.invoke("run", "--once", settings={"REPORTER__ACCOUNT": "ape:TEST::2"})
    assert (run.exit_code, run.stdout) == (0, "nothing was sent\n")
    assert setting.observed_at == 0


def test_run__reports_of_separate_processes_make_a_round(setting: Setting) -> None:
    for index in (2, 3, 4):
        run = setting.invoke("run", "--once", settings={"REPORTER__ACCOUNT": f"ape:TEST::{index}"})
        assert run.exit_code == 0, run.stderr
    assert run.stdout == SENT
    assert setting.observed_at == START


def test_run__external_signer(setting: Setting) -> None:
    setting.chain.rpc("anvil_setBalance", STRANGER.address, hex(10**18))
    with ExternalSigner([STRANGER], chain_id=setting.record.chain_id) as signer:
        account = f"external:{signer.url}#{STRANGER.address}"
        run = setting.invoke("run", "--once", settings={"SUBMITTER__ACCOUNT": account})
    assert run.stdout == SENT, run.stderr
    assert {each["method"] for each in signer.asked} == {"eth_signTransaction"}
    assert setting.chain.rpc("eth_getTransactionCount", STRANGER.address, "latest") == "0x3"


def test_run__stranger_s_key_is_told_and_does_no_harm(setting: Setting) -> None:
    with ExternalSigner([STRANGER]) as signer:
        accounts = f"ape:TEST::2,ape:TEST::3,ape:TEST::4,external:{signer.url}#{STRANGER.address}"
        run = setting.invoke("run", "--once", settings={"REPORTER__ACCOUNT": accounts})
    assert "not registered" in run.stderr
    assert run.stdout == SENT


def test_run__another_holds_the_lease(setting: Setting) -> None:
    with running(setting) as process:
        wait_until_healthy(process.url)
        run = setting.invoke(
            "run",
            "--once",
            settings={"STATE": f"{setting.settings['STATE']}-2"}
            | {
                "MAILBOX__URL": f"{setting.settings['STATE']}/mailbox.db",
                "SUBMITTER__ACCOUNT": "ape:TEST::6",
            },
        )
    assert run.exit_code == 0, run.stderr
    assert run.stdout == "another submitter is active\n"


# -- as a process --


@dataclass(frozen=True)
class Process:
    """A keeper that runs on."""

    process: subprocess.Popen[str]
    url: str


def keeper_command(setting: Setting, *options: str) -> list[str]:
    perpool = str(Path(sys.executable).with_name("perpool"))
    return [perpool, "keeper", "run", "--config", str(setting.config), *options]


class running:  # noqa: N801 - reads as a word
    """`perpool keeper run` with its server."""

    def __init__(self, setting: Setting, port: int = 0) -> None:
        self.setting = setting
        self.port = port or free_port()

    def __enter__(self) -> Process:
        listen = {PREFIX + "HTTP__LISTEN": f"127.0.0.1:{self.port}"}
        self.process = subprocess.Popen(
            keeper_command(self.setting),
            env=os.environ | self.setting.environment | listen,
            stderr=subprocess.PIPE,
            text=True,
        )
        return Process(self.process, f"http://127.0.0.1:{self.port}")

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def wait_until_healthy(url: str) -> requests.Response:
    """What it answers in the end: before its first report of a new chain it may be unwell."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            response = requests.get(f"{url}/healthz", timeout=5)
            if response.status_code == 200 or time.monotonic() > deadline:
                return response
        except requests.ConnectionError:
            assert time.monotonic() < deadline
        time.sleep(0.2)


def test_run__serves_and_ends_when_it_is_told(setting: Setting) -> None:
    with running(setting) as keeper_:
        response = wait_until_healthy(keeper_.url)
        assert response.json() == {"healthy": True, "reasons": []}
        deadline = time.monotonic() + PATIENCE
        while setting.observed_at == 0 and time.monotonic() < deadline:
            time.sleep(0.2)
        assert setting.observed_at == START
        figures = requests.get(f"{keeper_.url}/metrics", timeout=5).text
        assert 'perpool_keeper_signed_total{feed="funding"} 3.0' in figures
        assert 'perpool_keeper_role_ticked_timestamp_seconds{role="liquidator"}' in figures
        assert setting.status()["lease"]["holder"].endswith(f":{keeper_.process.pid}")
        keeper_.process.send_signal(signal.SIGTERM)
        _, errors = keeper_.process.communicate(timeout=PATIENCE)
    assert keeper_.process.returncode == 0, errors
    assert "Traceback" not in errors
    # given up, not left to expire
    assert setting.status()["lease"] is None


def test_run__feeds_are_watched_without_a_submitter(setting: Setting) -> None:
    text = setting.config.read_text()
    begin, end = text.index("[reporter]"), text.index("[liquidator]")
    setting.config.write_text(text[:begin] + text[end:])
    for name in [each for each in setting.settings if each.startswith("REPORTER")]:
        del setting.settings[name]
    with running(setting) as process:
        deadline = time.monotonic() + PATIENCE
        reasons: list[str] = []
        while not reasons and time.monotonic() < deadline:
            time.sleep(0.2)
            with contextlib.suppress(requests.ConnectionError):
                reasons = requests.get(f"{process.url}/healthz", timeout=5).json()["reasons"]
    assert reasons == ["funding of ADA: never reported", "price of ADA: never reported"]


def test_run__dry_run_beside_a_keeper_that_runs(setting: Setting) -> None:
    with running(setting) as process:
        wait_until_healthy(process.url)
        settings = {"HTTP__LISTEN": process.url[7:]}
        run = setting.invoke("run", "--once", "--dry-run", settings=settings)
        assert run.exit_code == 0, run.stderr
        command = keeper_command(setting, "--dry-run")
        environment = os.environ | setting.environment
        environment[PREFIX + "HTTP__LISTEN"] = process.url[7:]
        beside = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        try:
            assert beside.stderr is not None
            said = next((line for line in beside.stderr if "would report" in line), None)
            beside.send_signal(signal.SIGTERM)
            _, errors = beside.communicate(timeout=PATIENCE)
        finally:
            beside.kill()
        assert said is not None, errors
        assert beside.returncode == 0, errors
        assert wait_until_healthy(process.url).status_code == 200


def test_run__port_taken(setting: Setting) -> None:
    with running(setting) as first:
        wait_until_healthy(first.url)
        settings = {"STATE": f"{setting.settings['STATE']}-2", "HTTP__LISTEN": first.url[7:]}
        run = setting.invoke("run", settings=settings)
    assert run.exit_code == 1
    assert "change [http] listen" in run.stderr


# -- status --


def test_status__after_a_round(setting: Setting) -> None:
    setting.invoke("run", "--once")
    found = setting.status()
    assert [(each["feed"], each["value"], each["observed_at"]) for each in found["feeds"]] == [
        ("funding", "0.109500000", START),
        ("price", "1.250000000000000000", START),
    ]
    assert [each["behind"] for each in found["pools"]] == [0, 0]
    assert [each["role"] for each in found["payers"]] == ["submitter", "liquidator", "rebalancer"]
    assert [(each["name"], each["mode"], each["state"]) for each in found["vaults"]] == [
        ("ADA keep", "lend", ""),
        ("ADA neutral", "lend", ""),
    ]
    assert float(found["payers"][0]["ether"]) < 10_000
    assert sorted(each["what"] for each in found["transactions"]) == [
        "funding ADA",
        "price ADA",
        "sync ADA reverse, ADA forward; observe ADA",
    ]
    assert {each["state"] for each in found["transactions"]} == {"done"}
    assert sum(each["newest"] == START for each in found["reporters"]) == found["quorum"] == 3
    assert found["troubles"] == []


def test_status__is_well_after_a_round(setting: Setting) -> None:
    """With two of five reporters never heard, and nobody who holds the lease between two runs."""
    setting.invoke("run", "--once")
    run = setting.invoke("status")
    assert run.exit_code == 0, run.output
    assert run.output.count("silent") == 2
    found = setting.status()
    assert found["complaints"] == []
    assert (found["lease"], found["lease_known"]) == (None, True)
    assert [each["spread"] for each in found["feeds"]] == [
        "0.000000000",
        "0.000000000000000000",
    ]


def test_status__a_lease_that_nobody_can_see(setting: Setting) -> None:
    setting.invoke("run", "--once")
    settings = {"MAILBOX__URL": "redis://127.0.0.1:9/0"}
    run = setting.invoke("status", "--json", settings=settings)
    assert run.exit_code == 3
    found = json.loads(run.stdout)
    assert (found["lease"], found["lease_known"]) == (None, False)
    [trouble] = found["complaints"]
    assert trouble.startswith("redis://127.0.0.1:9/0: it cannot be reached")


def test_status__rounds_that_the_chain_refuses_again_and_again(setting: Setting) -> None:
    folder = Path(setting.settings["STATE"])
    folder.mkdir()
    with contextlib.closing(Journal(folder / "journal.db", "submitter")) as journal:
        for age, kind in ((3_700, "price"), (900, "price"), (60, "funding"), (30, "observe")):
            parcel = Parcel((Intent(kind, "ADA", START - age),), STRANGER.address, b"")
            planned = journal.plan([parcel], None, START - age)
            journal.refuse(planned.id, f"it would fail: {age}", START - age)
    found = setting.status()
    assert [each["what"] for each in found["refused"]] == ["funding ADA", "price ADA"]
    assert {each["state"] for each in found["transactions"]} == {"refused"}
    line = "the chain refused 2 rounds in the last 60 min, at last funding ADA: it would fail: 60"
    assert line in found["complaints"]


# -- a local chain that was started anew --


def test_anew__the_journal_of_a_chain_that_is_gone(
    setting: Setting, tmp_path: Path, anvil: Anvil
) -> None:
    setting.invoke("run", "--once")
    with Anvil(timestamp=START - 600) as other:
        chain = Chain.connect(other.endpoint)
        genesis = chain.rpc("eth_getBlockByNumber", "0x0", False)
        assert genesis == setting.chain.rpc("eth_getBlockByNumber", "0x0", False)
        settings = {"RPC": other.http_url}
        for command in (["run", "--once"], ["status"]):
            run = setting.invoke(*command, settings=settings)
            assert run.exit_code == 1
            assert run.stderr.startswith("Error: there is no funding oracle at ")
            assert run.stderr.endswith("deploy again\n")
        chain.mine()  # a deployment at another time
        record = tmp_path / "again.json"
        Deployment(
            load_config(ROOT / "deploy" / "local.toml"), ChainSender(chain, chain.default), record
        ).run()
        chain.mine(timestamp=START)
        text = setting.config.read_text()
        setting.config.write_text(text.replace(str(setting.record.path), str(record)))
        folder = setting.settings["STATE"]
        advice = (
            f"{folder}/journal.db is of another chain: if a local one was started anew, remove the "
            f"folder {folder}; if not, name another as `state`"
        )
        run = setting.invoke("run", "--once", settings=settings)
        assert (run.exit_code, run.stderr.splitlines()[-1]) == (1, f"Error: {advice}")
        assert chain.block_number == Chain.connect(other.endpoint).block_number
        run = setting.invoke("status", settings=settings)
        assert (run.exit_code, advice in run.output.splitlines()) == (3, True)
        run = setting.invoke("check", settings=settings)
        assert (run.exit_code, run.output.splitlines()[-1]) == (1, f"missing  {advice}")
        shutil.rmtree(folder)
        run = setting.invoke("run", "--once", settings=settings)
        assert (run.exit_code, run.stdout) == (0, SENT)
        assert setting.invoke("status", settings=settings).exit_code == 0


@pytest.mark.parametrize("genesis", [START - 600, START - 500])
def test_anew__under_a_keeper_that_runs(setting: Setting, tmp_path: Path, genesis: int) -> None:
    record = tmp_path / "own.json"
    with Anvil(timestamp=START - 600) as own:
        chain = Chain.connect(own.endpoint)
        Deployment(
            load_config(ROOT / "deploy" / "local.toml"), ChainSender(chain, chain.default), record
        ).run()
        chain.mine(timestamp=START)
        text = setting.config.read_text()
        setting.config.write_text(text.replace(str(setting.record.path), str(record)))
        setting.settings["RPC"] = own.http_url
        with running(setting) as keeper_:
            deadline = time.monotonic() + PATIENCE
            deployed = chain.block_number
            while chain.block_number == deployed and time.monotonic() < deadline:
                time.sleep(0.2)
            own.stop()
            with Anvil(timestamp=genesis, port=own.port) as other:
                _, errors = keeper_.process.communicate(timeout=PATIENCE)
                sent = Chain.connect(other.endpoint).block_number
    assert keeper_.process.returncode == 1
    assert re.fullmatch(
        r"Error: the chain was started anew: it has no longer the block \d+ that it had when this "
        rf"keeper began. Deploy again, remove the folder {setting.settings['STATE']}, and start "
        "the keeper again",
        errors.splitlines()[-1],
    )
    assert "Traceback" not in errors
    assert sent == 0


def test_status__tables_and_an_exit_code_for_scripts(setting: Setting) -> None:
    run = setting.invoke("status")
    assert run.exit_code == 3
    assert run.output.startswith("local, chain 31337, block ")
    assert "Feeds on chain" in run.output
    assert "funding of ADA was never reported" in run.output


def test_status__unlocks_nothing(setting: Setting) -> None:
    with ExternalSigner([STRANGER]) as signer:
        account = f"external:{signer.url}#{STRANGER.address}"
        run = setting.invoke("status", "--json", settings={"SUBMITTER__ACCOUNT": account})
    assert json.loads(run.stdout)["payers"][0]["address"] == STRANGER.address
    assert signer.asked == []


# -- check --


def test_check__all_is_there(setting: Setting) -> None:
    before = setting.chain.block_number
    run = setting.invoke("check")
    assert run.exit_code == 0, run.stderr
    assert {line.split()[0] for line in run.output.splitlines()} == {"fine"}
    assert run.output.count("is a registered reporter") == 3
    assert "fine     carry vaults: ADA keep, ADA neutral\n" in run.output
    assert setting.chain.block_number == before


def test_check__what_is_missing(setting: Setting) -> None:
    with ExternalSigner([STRANGER]) as signer:
        account = f"external:{signer.url}#{STRANGER.address}"
        settings = {"REPORTER__ACCOUNT": account, "SUBMITTER__ACCOUNT": account}
        run = setting.invoke("check", settings=settings)
    assert run.exit_code == 1
    missing = [line for line in run.output.splitlines() if line.startswith("missing")]
    assert missing == [
        f"missing  submitter {STRANGER.address} has 0.000000 ether",
        f"missing  {STRANGER.address} is no reporter of this deployment: have the owner register "
        "it",
    ]


def test_check__every_node_by_its_host(setting: Setting) -> None:
    with Anvil(chain_id=5) as other:
        url = setting.settings["RPC"]
        nodes = f"{url} http://me:secret@127.0.0.1:9/a-secret-path {other.http_url}"
        run = setting.invoke("check", settings={"RPC": nodes, "MIN_AGREEING": "1"})
    assert run.exit_code == 1
    assert "secret" not in run.output
    block = setting.chain.block_number
    assert [line for line in run.output.splitlines() if "node" in line] == [
        f"fine     node {url[7:]} answers with block {block}",
        "missing  node 127.0.0.1:9 is down: no answer (ConnectionError)",
        f"missing  node {other.http_url[7:]} is of the wrong chain: 5, not 31337",
        f"fine     nodes agree on block {block} of chain 31337",
    ]


def test_check__nodes_that_disagree(setting: Setting) -> None:
    with Anvil(timestamp=START - 600) as other:
        Chain.connect(other.endpoint).mine(setting.chain.block_number)
        urls = [setting.settings["RPC"], other.http_url]
        run = setting.invoke("check", settings={"RPC": " ".join(urls)})
    said = [line for line in run.output.splitlines() if "node" in line]
    for line, url in zip(said[:2], urls, strict=True):
        assert line.startswith(f"fine     node {url[7:]} answers with block ")
    assert said[2].startswith("missing  nodes differ on ")
    # what does not take them goes on
    assert run.output.splitlines()[-1] == "fine     the mailbox can be read"


def test_check__without_a_record_what_does_not_take_one(setting: Setting) -> None:
    text = setting.config.read_text()
    setting.config.write_text(text.replace(str(setting.record.path), "/nowhere.json"))
    run = setting.invoke("check", settings={"MARKETS": "ADA"})
    assert run.exit_code == 1
    states = [line.split()[0] for line in run.output.splitlines()]
    assert states == ["missing"] + ["fine"] * (len(states) - 1)
    for each in (
        "agree on block",
        "submitter 0x",
        "source binance: has ADA",
        "mailbox can be read",
    ):
        assert each in run.output


def test_check__what_several_parts_lack_is_said_once(setting: Setting, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("no folder")
    run = setting.invoke("check")
    assert run.exit_code == 1
    assert run.stdout.count("cannot be made") == 1


def test_check__signer_without_the_key(setting: Setting) -> None:
    with ExternalSigner([]) as signer:
        account = f"external:{signer.url}#{STRANGER.address}"
        run = setting.invoke("check", "--offline", settings={"REPORTER__ACCOUNT": account})
    assert run.exit_code == 1
    assert "missing  reporter: the signer at 127.0.0.1" in run.output
