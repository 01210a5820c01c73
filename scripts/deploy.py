"""Deploy what `deploy/<network>.toml` describes, and go on where an earlier run stopped.

    ape run deploy --network ethereum:local:foundry
    ape run deploy --network ethereum:sepolia:node --account deployer --dry-run

Writes deployments/<network>.json after every step. See `perpool.deployment`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from textwrap import shorten
from typing import Any

import click
from ape import accounts, networks
from ape.api import AccountAPI
from ape.cli import ConnectedProviderCommand
from ape.exceptions import ApeException

from perpool.build import BuildError, repository_root
from perpool.deployment import (
    ConfigError,
    Deployment,
    DeploymentError,
    Outcome,
    RecordError,
    SendError,
    Sent,
    Status,
    Step,
    describe,
    load_config,
)


class ApeSender:
    """Sends from an Ape account through the connected provider."""

    def __init__(self, account: AccountAPI) -> None:
        self.account = account
        self.provider: Any = networks.provider

    @property
    def address(self) -> str:
        return str(self.account.address)

    @property
    def chain_id(self) -> int:
        return int(self.provider.chain_id)

    def nonce(self, block: str) -> int:
        return int(self.provider.get_nonce(self.address, block_id=block))

    def code(self, address: str) -> bytes:
        return bytes(self.provider.get_code(address))

    def call(self, to: str, data: bytes) -> bytes:
        return bytes(self.provider.web3.eth.call({"to": to, "data": data, "from": self.address}))

    def send(self, to: str | None, data: bytes) -> Sent:
        ecosystem = self.provider.network.ecosystem
        target = {} if to is None else {"receiver": to}
        try:
            transaction = ecosystem.create_transaction(sender=self.address, data=data, **target)
            receipt = self.account.call(transaction)
        except ApeException as error:
            raise SendError(str(error).rstrip(".")) from error
        created = receipt.contract_address
        return Sent(str(receipt.txn_hash), int(receipt.block_number), created and str(created))


def load_account(alias: str | None) -> AccountAPI:
    """An account by alias, "TEST::0" for a test account; on local networks the first one."""
    if alias is None:
        if not networks.provider.network.is_local:
            known = ", ".join(str(each) for each in accounts.aliases) or "none"
            raise click.UsageError(
                f"give --account, an alias of `ape accounts list` (known: {known})"
            )
        alias = "TEST::0"
    if alias.startswith("TEST::"):
        return accounts.test_accounts[int(alias.removeprefix("TEST::"))]
    if alias not in accounts.aliases:
        raise click.UsageError(f"there is no account {alias}: `ape accounts import {alias}`")
    account = accounts.load(alias)
    if hasattr(account, "set_autosign"):
        variable = f"APE_ACCOUNTS_{alias}_PASSPHRASE"
        if variable not in os.environ and not sys.stdin.isatty():
            raise click.UsageError(f"set {variable} to the passphrase of the account {alias}")
        account.set_autosign(True)
    return account


def network_name() -> str:
    """How files are called: "sepolia", or "arbitrum-sepolia" where it is not Ethereum's."""
    network = networks.provider.network
    name = str(network.name).removesuffix("-fork")
    return name if network.ecosystem.name == "ethereum" else f"{network.ecosystem.name}-{name}"


def show_plan(deployment: Deployment) -> None:
    """Every step, and what a run would do with it."""
    preview = deployment.preview()
    for number, (step, status) in enumerate(preview, 1):
        verb = "send" if status is Status.SENT else status.value
        text = shorten(describe(step), 150, placeholder=" ...")
        click.echo(f"{number:3}  {verb:14}{step.name:32}{text}")
    count = sum(status is Status.SENT for _, status in preview)
    click.echo(f"{count} transactions to send from {deployment.sender.address}; nothing was sent")


def show_outcome(outcome: Outcome) -> None:
    """What was done, and what is left to the owner."""
    click.echo(f"{outcome.sent} transactions sent; {outcome.record.path} is up to date")
    for symbol, market in outcome.record.markets.items():
        click.echo(f"{symbol}: reverse {market['reverse']}, forward {market['forward']}")
    if outcome.for_owner:
        click.echo(f"left to the owner, {outcome.owner}:")
    for call in outcome.for_owner:
        click.echo(f"  {call.text}\n    to {call.to}\n    data 0x{call.data.hex()}")


def show_step(number: int, count: int, step: Step, status: Status) -> None:
    """One line of progress."""
    click.echo(f"{number:3}/{count}  {status.value:14}{step.name}")


@click.command(cls=ConnectedProviderCommand)
@click.option("--account", "alias", help="Ape account to deploy from; local networks have one.")
@click.option("--config", type=click.Path(path_type=Path), help="Default: deploy/<network>.toml.")
@click.option("--output", type=click.Path(path_type=Path), help="Default: deployments/<...>.json.")
@click.option("--dry-run", is_flag=True, help="Print the plan; send and write nothing.")
def cli(alias: str | None, config: Path | None, output: Path | None, dry_run: bool) -> None:
    """Deploy a configuration; a second run sends only what is missing."""
    name = network_name()
    config = config or repository_root() / "deploy" / f"{name}.toml"
    output = output or repository_root() / "deployments" / f"{config.stem}.json"
    try:
        deployment = Deployment(load_config(config), ApeSender(load_account(alias)), output)
        if dry_run:
            show_plan(deployment)
        else:
            show_outcome(deployment.run(show_step))
    except (BuildError, ConfigError, DeploymentError, RecordError) as error:
        raise click.ClickException(str(error)) from error
