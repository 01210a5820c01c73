"""Deploy what `deploy/<network>.toml` describes, and go on where an earlier run stopped.

    ape run deploy --network ethereum:local:foundry
    ape run deploy --network ethereum:sepolia:node --account deployer --dry-run

Writes deployments/<network>.json after every step. See `perpool.deployment`.
"""

from __future__ import annotations

from pathlib import Path
from textwrap import shorten

import click
from ape.cli import ConnectedProviderCommand

from perpool.build import BuildError, repository_root
from perpool.deployment import (
    ConfigError,
    Deployment,
    DeploymentError,
    Outcome,
    RecordError,
    Status,
    Step,
    describe,
    load_config,
)
from perpool.deployment.ape import AccountError, ApeSender, load_account, network_name

__all__ = ["ApeSender", "cli", "load_account", "network_name"]


def show_plan(deployment: Deployment) -> None:
    """Every step, and what a run would do with it."""
    preview = deployment.preview()
    width = max((len(step.name) for step, _ in preview), default=0)
    for number, (step, status) in enumerate(preview, 1):
        verb = "send" if status is Status.SENT else status.value
        text = shorten(describe(step), 150, placeholder=" ...")
        click.echo(f"{number:3}  {verb:14}{step.name:{width}}  {text}")
    count = sum(status is Status.SENT for _, status in preview)
    click.echo(f"{count} transactions to send from {deployment.sender.address}; nothing was sent")


def show_outcome(outcome: Outcome) -> None:
    """What was done, and what is left to the owner."""
    click.echo(f"{outcome.sent} transactions sent; {outcome.record.path} is up to date")
    for symbol, market in outcome.record.markets.items():
        click.echo(f"{symbol}: reverse {market['reverse']}, forward {market['forward']}")
        for name, vault in market["vaults"].items():
            click.echo(f"{symbol} {name}: vault {vault['vault']}, venue {vault['venue']}")
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
        settings = load_config(config)
        for warning in settings.warnings:
            click.secho(f"warning: {warning}", fg="red", err=True)
        deployment = Deployment(settings, ApeSender(load_account(alias)), output)
        if dry_run:
            show_plan(deployment)
        else:
            show_outcome(deployment.run(show_step))
    except (AccountError, BuildError, ConfigError, DeploymentError, RecordError) as error:
        raise click.ClickException(str(error)) from error
