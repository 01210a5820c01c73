"""Deployments on the in-process EVM: who sends them, and the local example as data."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from perpool.deployment import (
    ConfigError,
    Deployment,
    Outcome,
    Record,
    SendError,
    Sent,
    parse_config,
)
from perpool.evm import Account, Contract, Evm, Reverted

EXAMPLES = Path(__file__).parents[1] / "deploy"


class EvmSender:
    """A sender on the in-process EVM, which can be made to fail."""

    def __init__(self, evm: Evm, account: Account) -> None:
        self.evm = evm
        self.account = account
        self.sent = 0
        self.fails_at: int | None = None
        """Fail instead of sending this transaction, counted from 0."""
        self.dies_at: int | None = None
        """End the process after this transaction was mined and before it returns."""

    @property
    def address(self) -> str:
        return self.account.address

    @property
    def chain_id(self) -> int:
        return self.evm.chain_id

    def nonce(self, block: str) -> int:
        return self.evm.nonce(self.account)

    def code(self, address: str) -> bytes:
        return self.evm.code(address)

    def call(self, to: str, data: bytes) -> bytes:
        return self.evm.call(to, data, sender=self.account)

    def send(self, to: str | None, data: bytes) -> Sent:
        if self.sent == self.fails_at:
            raise SendError("the node is gone")
        try:
            receipt = self.evm.transact(to, data, sender=self.account)
        except Reverted as error:
            raise SendError(str(error)) from error
        self.sent += 1
        if self.sent - 1 == self.dies_at:
            raise KeyboardInterrupt
        return Sent(f"0x{self.sent:064x}", receipt.block_number, receipt.contract_address)


def local_example(evm: Evm) -> dict[str, Any]:
    """deploy/local.toml, with actors of this chain."""
    data = tomllib.loads((EXAMPLES / "local.toml").read_text(), parse_float=str)
    data["guardian"] = evm.account("guardian").address
    data["reporters"]["addresses"] = [evm.account(f"reporter {n}").address for n in range(5)]
    return data


def faults_of(data: dict[str, Any]) -> list[str]:
    """What is wrong with a configuration."""
    with pytest.raises(ConfigError) as caught:
        parse_config(data, "file")
    return [line.removeprefix("file: ") for line in str(caught.value).split("\n")]


def deploy(data: dict[str, Any], sender: EvmSender, path: Path) -> Outcome:
    """Deploy as far as it goes."""
    return Deployment(parse_config(data), sender, path).run()


def contracts(evm: Evm, record: Record) -> dict[str, Contract]:
    """All that can be called, by name."""
    return {
        name: evm.at(entry["contract"], entry["address"])
        for name, entry in record.contracts.items()
        if entry["kind"] != "blueprint" and entry["contract"] != "UniswapV3Factory"
    }
