"""`perpool keeper`: what it says without a network."""

from __future__ import annotations

import io
import json
import logging
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
import structlog
from click.testing import CliRunner, Result
from eth_account import Account

from perpool.chain import Chain, ChainError
from perpool.keeper.chain.contracts import KeeperError
from perpool.keeper.cli import keeper, run_once, waiting
from perpool.keeper.operation.assembly import open_accounts
from perpool.keeper.operation.config import PREFIX, load_config
from perpool.keeper.operation.keeper import Done
from perpool.keeper.operation.place import chain_clock
from perpool.keeper.signing import PASSWORD_VARIABLE

KEY = Account.from_key(bytes([7]) * 32)
PASSWORD = "of no account"


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No settings from outside, and logging as it was."""
    for name in [each for each in os.environ if each.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A record of a deployment, and a keystore."""
    record = {
        "format": 1,
        "network": "test",
        "chain_id": 31_337,
        "contracts": {"FundingOracle": {"address": KEY.address}},
    }
    (tmp_path / "test.json").write_text(json.dumps(record))
    keystore = Account.encrypt(KEY.key, PASSWORD, kdf="pbkdf2", iterations=10)
    (tmp_path / "key.json").write_text(json.dumps(keystore))
    return tmp_path


SYNTHETIC = 'sources = ["synthetic"]\n'


def write(folder: Path, text: str = "", chain_id: int = 31_337) -> Path:
    """A configuration of a reporter, with more at its end."""
    record = folder / "test.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"chain_id": chain_id}))
    path = folder / "keeper.toml"
    path.write_text(
        f'deployment = "{record}"\nrpc = ["http://127.0.0.1:9"]\nstate = "{folder}/state"\n'
        f'[reporter]\naccount = "keystore:{folder}/key.json"\n{text}'
    )
    return path


def invoke(path: Path, *command: str, password: str = PASSWORD) -> Result:
    options = [*command, "--config", str(path)]
    return CliRunner().invoke(keeper, options, env={PASSWORD_VARIABLE: password})


@pytest.mark.parametrize("command", ["run", "status", "check"])
def test_command__every_fault_on_a_line_of_its_own(folder: Path, command: str) -> None:
    path = write(folder, "cadense = 1\n[http]\nlisten = 1\n")
    run = invoke(path, command)
    assert run.exit_code == 1
    first, second = run.output.splitlines()
    assert first.startswith(f"{path}:6: reporter.cadense: there is no such setting")
    assert second.startswith(f"{path}:8: http.listen: write an address")


@pytest.mark.parametrize("command", ["run", "status"])
def test_command__no_record(folder: Path, command: str) -> None:
    path = write(folder)
    (folder / "test.json").unlink()
    run = invoke(path, command)
    assert run.exit_code == 1
    assert run.output.startswith("Error: there is no ")
    assert run.output.count("\n") == 1


@pytest.mark.parametrize("command", ["run", "status", "check"])
def test_command__unfit_for_real_money(folder: Path, command: str) -> None:
    path = write(folder, 'sources = ["history"]\ndata = "."\n', chain_id=1)
    run = invoke(path, command)
    assert run.exit_code == 1
    assert "chain 1: reporter.sources: history is of the past" in run.output


def test_run__wrong_password(folder: Path) -> None:
    run = invoke(write(folder), "run", password="another")
    assert run.exit_code == 1
    assert "or the password is wrong" in run.output
    assert "another" not in run.output


@pytest.mark.parametrize("command", ["run", "status"])
def test_command__no_node(folder: Path, command: str) -> None:
    run = invoke(write(folder), command)
    assert run.exit_code == 1
    assert "Error: no node gives an answer (127.0.0.1:9" in run.output


def test_check__offline(folder: Path) -> None:
    run = invoke(write(folder), "check", "--offline")
    assert (run.exit_code, run.output) == (0, f"fine     reporter signs as {KEY.address}\n")


def test_check__every_account_s_fault(folder: Path) -> None:
    accounts = [f"keystore:{folder}/{name}.json" for name in ("key", "gone", "broken")]
    (folder / "broken.json").write_text("{}")
    path = write(folder, f'[submitter]\naccount = "{accounts[2]}"\n')
    text = path.read_text().replace(f'account = "{accounts[0]}"', f"account = {accounts}")
    path.write_text(text)
    run = invoke(path, "check", "--offline")
    assert run.exit_code == 1
    assert run.output.splitlines() == [
        f"fine     reporter signs as {KEY.address}",
        f"missing  reporter: {folder}/gone.json cannot be read: No such file or directory",
        f"missing  reporter: {folder}/broken.json is no keystore, or the password is wrong",
        f"missing  submitter: {folder}/broken.json is no keystore, or the password is wrong",
    ]


def test_check__a_missing_record_hides_nothing(folder: Path) -> None:
    path = write(folder, SYNTHETIC)
    (folder / "test.json").unlink()
    run = invoke(path, "check", password="another")
    assert run.exit_code == 1
    first, *rest = run.output.splitlines()
    assert first.startswith(f"missing  there is no {folder}/test.json: deploy first")
    assert [line.split(":")[0] for line in rest] == [
        "missing  reporter",
        "missing  node 127.0.0.1",
        "careful  sources are not asked, as the markets are not known",
        "fine     the mailbox can be read",
    ]


def test_check__unfit_for_real_money_and_on(folder: Path) -> None:
    path = write(folder, SYNTHETIC, chain_id=1)
    run = invoke(path, "check", "--offline", password="another")
    assert [line[:38] for line in run.output.splitlines()] == [
        "missing  chain 1: reporter.sources: a ",
        f"missing  reporter: {folder}"[:38],
    ]


def test_check__says_what_asks_for_care(folder: Path) -> None:
    path = write(folder, "min_venues = 2\n", chain_id=1)
    run = invoke(path, "check", "--offline")
    assert run.exit_code == 0
    assert run.output.splitlines()[0].startswith("careful  reporter.min_venues:")


def test_check__everything_missing_is_named(folder: Path) -> None:
    path = write(folder, SYNTHETIC)
    record = json.loads((folder / "test.json").read_text())
    market = dict.fromkeys(("token", "price_oracle", "reverse", "forward"), KEY.address)
    (folder / "test.json").write_text(json.dumps(record | {"markets": {"ADA": market}}))
    run = invoke(path, "check", password="another")
    assert run.exit_code == 1
    said = run.output.splitlines()
    assert [line[:30] for line in said] == [
        f"missing  reporter: {folder}"[:30],
        "missing  node 127.0.0.1:9 is down: no answer (ConnectionError)"[:30],
        "fine     source synthetic: has ADA"[:30],
        "fine     enough sources have ADA"[:30],
        "fine     the mailbox can be read"[:30],
    ]


def test_state_folder__that_cannot_be_made(folder: Path) -> None:
    (folder / "state").write_text("a file")
    run = invoke(write(folder), "run")
    assert run.exit_code == 1
    assert "cannot be made (File exists): change `state`" in run.output


def test_open_accounts__asks_for_the_password_once(folder: Path) -> None:
    (folder / "gas.json").write_text(
        json.dumps(Account.encrypt(bytes([8]) * 32, PASSWORD, kdf="pbkdf2", iterations=10))
    )
    config = load_config(write(folder, f'[submitter]\naccount = "keystore:{folder}/gas.json"'))
    asked = []

    def password() -> str:
        asked.append(1)
        return PASSWORD

    accounts = open_accounts(config, password)
    assert [each.address for each in accounts["reporter"]] == [KEY.address]
    assert len(accounts["submitter"]) == len(asked) == 1


def test_open_accounts__two_names_of_one_sender(folder: Path) -> None:
    (folder / "copy.json").write_text((folder / "key.json").read_text())
    text = "\n".join(
        f'[{role}]\naccount = "keystore:{folder}/{name}.json"\n{more}'
        for role, name, more in (
            ("submitter", "key", ""),
            ("liquidator", "copy", "ether_price = 1"),
        )
    )
    config = load_config(write(folder, text))
    with pytest.raises(KeeperError, match=f"both send from {KEY.address}"):
        open_accounts(config, lambda: PASSWORD)


def test_commands__replay_is_one_of_them() -> None:
    run = CliRunner().invoke(keeper, ["--help"])
    assert [line.split()[0] for line in run.output.split("Commands:")[1].split("\n") if line] == [
        "check",
        "replay",
        "run",
        "status",
    ]


def test_waiting__is_shown_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    for is_terminal in (True, False):
        shown = io.StringIO()
        shown.isatty = lambda is_terminal=is_terminal: is_terminal  # type: ignore[misc]
        monkeypatch.setattr("sys.stderr", shown)
        with waiting("asking okx"):
            pass
        assert ("asking okx" in shown.getvalue()) == is_terminal


@pytest.mark.parametrize("command", ["run", "status", "check"])
def test_command__no_secret_of_a_node_s_url(
    folder: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv(PREFIX + "RPC", "http://me:hushhush@127.0.0.1:9/a-hushhush-path")
    monkeypatch.setenv(PREFIX + "CLOCK", "chain")
    path = write(folder, SYNTHETIC)
    if command == "check":  # which goes on to what takes the chain's time
        monkeypatch.setenv(PREFIX + "MARKETS", "ADA")
    run = invoke(path, command)
    assert run.exit_code == 1
    assert "127.0.0.1:9" in run.output
    assert "hushhush" not in run.output
    if command == "check":
        assert "no answer from 127.0.0.1:9, by whose time the keeper goes" in run.output


def test_chain_clock__a_node_that_goes_away_is_named_by_its_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Node:
        answers = True

        def rpc(self, *_: object) -> dict[str, str]:
            if not self.answers:
                raise ChainError("no answer from http://127.0.0.1:9/hushhush. Try --rpc")
            return {"timestamp": hex(1_700_000_000)}

    node = Node()
    monkeypatch.setattr(Chain, "connect", lambda *_, **__: node)
    clock = chain_clock("http://127.0.0.1:9/hushhush")
    assert clock() == 1_700_000_000
    node.answers = False
    with pytest.raises(ChainError) as caught:
        clock()
    assert str(caught.value) == "no answer from 127.0.0.1:9, by whose time the keeper goes"


@dataclass
class Failed:
    """A keeper whose roles failed."""

    failed: list[tuple[str, str]]
    stands_by: bool = False

    def once(self) -> Done:
        return Done(Counter(), self.failed)


def test_run_once__one_reason_once_with_all_that_it_stopped() -> None:
    failed = [("submitter", "full"), ("liquidator", "full"), ("submitter", "full"), ("watch", "?")]
    with pytest.raises(click.ClickException) as caught:
        run_once(Failed(failed))  # type: ignore[arg-type]
    assert caught.value.message == "submitter, liquidator: full; watch: ?"


def test_run_once__a_submitter_that_failed_knows_of_no_other(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(click.ClickException):
        run_once(Failed([("submitter", "full")], stands_by=True))  # type: ignore[arg-type]
    assert capsys.readouterr().out == "nothing was sent\n"
    with pytest.raises(click.ClickException):
        run_once(Failed([("liquidator", "full")], stands_by=True))  # type: ignore[arg-type]
    assert capsys.readouterr().out == "another submitter is active\n"
