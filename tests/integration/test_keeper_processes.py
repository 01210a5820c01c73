"""Three reporters and two submitters as five processes, over a real Redis server and anvil."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from perpool.anvil import Anvil
from perpool.reports import rate_units, unpack_rates
from tests.exchanges import StandIn
from tests.keeper_stage import MARKETS, Stage, key
from tests.redis_server import RedisServer

VENUES = ("binance", "bybit", "okx", "gate")
PASSWORD = "of no account"
PERPOOL = str(Path(sys.executable).with_name("perpool"))
LEASE = 15
"""Seconds."""
PATIENCE = 60
"""Seconds to wait for what should happen within a few."""


def toml(value: Any) -> str:
    """A value as TOML has it."""
    if isinstance(value, dict):
        return (
            "{"
            + ", ".join(f"{json.dumps(name)} = {toml(each)}" for name, each in value.items())
            + "}"
        )
    return json.dumps(value)


@dataclass
class Office:
    """Everything the processes share, and the processes."""

    folder: Path
    stage: Stage
    redis: RedisServer
    exchanges: StandIn
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def quote(self, rate: str) -> None:
        """Have all exchanges say so, of eight hours."""
        for venue in VENUES:
            for market in MARKETS:
                self.exchanges.quote(venue, market, rate=rate, hours=8, index="1.2", mark="1.2")

    def start(self, name: str, section: str, settings: dict[str, Any]) -> None:
        """A keeper process with one role."""
        wallet = self.folder / f"{name}.json"
        if not wallet.exists():
            wallet.write_text(json.dumps(Account.encrypt(key(name).key, PASSWORD, "pbkdf2", 10)))
        top = {
            "deployment": str(self.stage.record.path),
            "rpc": [self.stage.anvil.http_url],
            "state": str(self.folder / name),
            "log": "json",
            section: {"account": f"keystore:{wallet}"} | settings,
        }
        config = self.folder / f"{name}.toml"
        config.write_text("".join(f"{name} = {toml(value)}\n" for name, value in top.items()))
        secrets = {
            "PERPOOL_KEYSTORE_PASSWORD": PASSWORD,
            "PERPOOL_KEEPER_MAILBOX__URL": self.redis.url,
        }
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [PERPOOL, "keeper", "run", "--config", str(config)],
                env=os.environ | secrets,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def start_reporter(self, number: int) -> None:
        """The reporter of a seat."""
        self.start(
            f"reporter {number}",
            "reporter",
            {
                "sources": list(VENUES),
                "exchange": {venue: self.exchanges.options(venue) for venue in VENUES},
                "cadence": "10s",
                "timeout": "5s",
            },
        )

    def start_submitter(self, name: str) -> None:
        """A submitter; which of them is active is for the lease to say."""
        self.start(
            f"submitter {name}",
            "submitter",
            {
                "name": name,
                "every": "1s",
                "lease": f"{LEASE}s",
                "funding_threshold": "1%",
                "confirmations": 2,
            },
        )

    def end(self, name: str, number: int = signal.SIGTERM) -> int:
        """End one of the processes; its exit code."""
        process = self.processes.pop(name)
        process.send_signal(number)
        return process.wait(30)

    def logs(self) -> str:
        """What all of them said, for a failure."""
        return "\n".join(
            f"--- {path.name}\n{path.read_text(errors='replace')[-3_000:]}"
            for path in sorted(self.folder.glob("*.log"))
        )

    # -- the chain --

    @property
    def oracle(self) -> Any:
        record = self.stage.record
        return self.stage.chain.contract("FundingOracle", record.address("FundingOracle"))

    def median(self, market: str) -> int:
        """Of the newest round, in 1e-9 a year."""
        token = self.stage.record.markets[market]["token"]
        return int(self.oracle.feed(token).median_wad) // 10**9

    def wait(self, what: str, condition: Callable[[], object]) -> float:
        """Seconds until something was the case."""
        started = time.monotonic()
        while not condition():
            assert time.monotonic() < started + PATIENCE, f"{what}: not in time\n{self.logs()}"
            for name, process in self.processes.items():
                assert process.poll() is None, f"{name} has ended\n{self.logs()}"
            time.sleep(0.2)
        return time.monotonic() - started

    def reported(self, rate: str) -> bool:
        """Whether all markets have this rate of eight hours on chain."""
        wanted = rate_units(Decimal(rate) * 1_095)
        return all(self.median(market) == wanted for market in MARKETS)

    def senders(self) -> Counter[str]:
        """How many rounds of funding each submitter has sent."""
        found: Counter[str] = Counter()
        names = {key(f"submitter {name}").address: name for name in ("first", "second")}
        for _, event in self.stage.chain.events([self.oracle], from_block=0):
            if event.name == "Round":
                found[names[event.submitter]] += 1
        return found


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with (
        RedisServer() as redis,
        StandIn() as exchanges,
        Anvil(base_fee=10**9) as anvil,
    ):
        stage = Stage.set_up(anvil, tmp_path)
        stage.chain.rpc("evm_setIntervalMining", 1)
        made = Office(tmp_path, stage, redis, exchanges)
        try:
            yield made
        finally:
            for process in made.processes.values():
                process.kill()
                process.wait()


def test_five_processes__the_active_submitter_is_killed(office: Office) -> None:
    office.quote("0.0001")
    for number in range(3):
        office.start_reporter(number)
    for name in ("first", "second"):
        office.start_submitter(name)
    office.wait("the first round", lambda: office.reported("0.0001"))
    office.quote("0.0003")
    office.wait("the second round", lambda: office.reported("0.0003"))
    [active] = office.senders()
    [standby] = {"first", "second"} - {active}

    office.end(f"submitter {active}", signal.SIGKILL)
    office.quote("-0.0002")
    taken = office.wait("the takeover", lambda: office.reported("-0.0002"))
    assert office.senders()[standby] == 1
    # the lease, an observation, and a few blocks
    assert taken < LEASE + 10 + 10

    # it is back, and stands by; Redis comes back from a restart, and all goes on
    office.start_submitter(active)
    office.redis.kill()
    office.redis.start()
    office.quote("0.0004")
    office.wait("a round after Redis was back", lambda: office.reported("0.0004"))

    seen: Counter[tuple[str, int]] = Counter()
    for _, event in office.stage.chain.events([office.oracle], from_block=0):
        if event.name == "Round":
            rates = unpack_rates(event.medians, len(event.tokens))
            assert None not in rates, "a round came twice, and was skipped the second time"
            seen.update((token, event.observed_at) for token in event.tokens)
    assert max(seen.values()) == 1
    codes = {name: office.end(name) for name in list(office.processes)}
    assert set(codes.values()) == {0}, f"{codes}\n{office.logs()}"
