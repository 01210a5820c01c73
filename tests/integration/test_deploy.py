"""`ape run deploy` as people run it, on an anvil that carries Sepolia's chain id."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from eth_account import Account

from perpool.anvil import Anvil
from perpool.chain import Chain, Contract
from perpool.deployment import Record

ROOT = Path(__file__).parents[2]
SEPOLIA = 11_155_111
DEPLOYER = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"


@pytest.fixture(scope="module")
def anvil() -> Iterator[Anvil]:
    # fees as on a public chain, so that gas is estimated and priced
    with Anvil(chain_id=SEPOLIA, base_fee=10**9) as anvil:
        yield anvil


@pytest.fixture
def chain(anvil: Anvil) -> Iterator[Chain]:
    chain = Chain.connect(anvil.endpoint)
    with chain.anchor():
        yield chain


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "deployments" / "sepolia.json"


def command(output: Path, *options: str, account: str = "TEST::0") -> list[str]:
    ape = str(Path(sys.executable).with_name("ape"))
    network = ("--network", "ethereum:sepolia:node", "--account", account)
    return [ape, "run", "deploy", *network, "--output", str(output), *options]


def environment(anvil: Anvil, **variables: str) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"SEPOLIA_RPC_URL": anvil.http_url, "PATH": path} | variables


def deploy(
    anvil: Anvil, output: Path, *options: str, account: str = "TEST::0", **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(output, *options, account=account),
        check=False,
        cwd=ROOT,
        env=environment(anvil, **variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
    )


def sent(chain: Chain) -> int:
    """Transactions of the deployer so far."""
    return int(chain.rpc("eth_getTransactionCount", DEPLOYER, "latest"), 16)


def test_deploy__from_nothing_and_again(anvil: Anvil, chain: Chain, output: Path) -> None:
    plan = deploy(anvil, output, "--dry-run")
    assert plan.returncode == 0, plan.stderr
    assert "deploy ReversePool as a blueprint" in plan.stdout
    assert "deploy CarryVault(<CarryStrategy>, <ADA.reverse>, <ADA.forward>, <ADA.venue>" in (
        plan.stdout
    )
    assert "ADA: approve the venue's liquidity  <USDT>.approve(" in plan.stdout
    assert "nothing was sent" in plan.stdout
    assert (sent(chain), output.exists()) == (0, False)

    first = deploy(anvil, output)
    assert first.returncode == 0, first.stderr
    count = sent(chain)
    assert f"{count} transactions sent" in first.stdout
    record = Record.read(output)
    assert (record.chain_id, record.network, record.complete) == (SEPOLIA, "sepolia", True)
    market = record.markets["ADA"]
    factory = contract(chain, record, "PoolFactory")
    assert tuple(factory.market(0)) == tuple(
        market[name] for name in ("token", "usdt", "reverse", "forward")
    )
    reverse = chain.contract("ReversePool", market["reverse"])
    assert reverse.caps() == (10**12, 900_000 * 10**6, 2_000_000 * 10**18)
    view = contract(chain, record, "Lens").pool(market["forward"])
    assert (view.symbol, view.leg_cap) == ("ppADA", 50_000 * 10**18)
    vault = contract(chain, record, "ADA.keep")
    assert market["vaults"] == {
        "keep": {"vault": vault.address, "strategy": vault.strategy(), "venue": market["venue"]}
    }
    assert vault.limits() == (500_000 * 10**18, 20_000 * 10**6)
    assert vault.hook() == record.contracts["RewardStream"]["address"]
    assert contract(chain, record, "ADA.venue").free_liquidity() == (500_000 * 10**6, 0)

    content = output.read_text()
    second = deploy(anvil, output)
    assert second.returncode == 0, second.stderr
    assert "0 transactions sent" in second.stdout
    assert sent(chain) == count
    assert output.read_text() == content


def contract(chain: Chain, record: Record, name: str) -> Contract:
    entry = record.contracts[name]
    return chain.contract(entry["contract"], entry["address"])


def test_deploy__killed_in_the_middle_and_resumed(anvil: Anvil, chain: Chain, output: Path) -> None:
    start = sent(chain)
    with subprocess.Popen(
        command(output), cwd=ROOT, env=environment(anvil), stdout=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 240
        while contracts(output) < 4:
            assert process.poll() is None, "ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
    assert process.returncode < 0
    assert not Record.read(output).complete

    resumed = deploy(anvil, output)
    assert resumed.returncode == 0, resumed.stderr
    record = Record.read(output)
    assert record.complete
    transactions = len(record.contracts) + len(record.calls)
    # the market's transaction made both pools, the vault's its strategy, and no step was sent twice
    assert sent(chain) - start == transactions - 3
    assert deploy(anvil, output).stdout.count("sent;") == 1
    assert sent(chain) - start == transactions - 3


def contracts(output: Path) -> int:
    return len(json.loads(output.read_text())["contracts"]) if output.exists() else 0


def test_deploy__faults_are_one_line_each(anvil: Anvil, output: Path, tmp_path: Path) -> None:
    config = tmp_path / "sepolia.toml"
    text = (ROOT / "deploy" / "sepolia.toml").read_text()
    changed = text.replace('kink = "85%"', 'kink = "101%"').replace("quorum = 3", "quorum = 2")
    config.write_text(changed)
    run = deploy(anvil, output, "--config", str(config))
    assert run.returncode == 1
    assert "Traceback" not in run.stderr
    assert "markets.ADA.reverse: kink has to be above 0% and below 100%" in run.stderr
    assert "reporters: quorum has to be at least 3" in run.stderr
    assert not output.exists()


def test_deploy__from_a_keystore_unattended(
    anvil: Anvil, chain: Chain, output: Path, tmp_path: Path
) -> None:
    key = Account.create()
    chain.set_balance(key.address, 10**20)
    keystore = tmp_path / ".ape" / "accounts" / "mydeployer.json"
    keystore.parent.mkdir(parents=True)
    keystore.write_text(json.dumps(Account.encrypt(key.key, "secret", iterations=2)))
    where = {"account": "mydeployer", "APE_DATA_FOLDER": str(keystore.parents[1])}

    refused = deploy(anvil, output, **where)
    assert refused.returncode == 1
    assert "set APE_ACCOUNTS_mydeployer_PASSPHRASE" in refused.stderr
    assert "there is no account nobody" in deploy(anvil, output, account="nobody").stderr

    run = deploy(anvil, output, **where, APE_ACCOUNTS_mydeployer_PASSPHRASE="secret")
    assert run.returncode == 0, run.stderr
    record = Record.read(output)
    assert (record.deployer, record.complete) == (key.address, True)
    assert contract(chain, record, "PoolFactory").owner() == key.address
