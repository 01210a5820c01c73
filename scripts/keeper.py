"""Run the keeper with Ape accounts: read funding and prices, sign as reporters, submit, sync.

    ape run keeper --network ethereum:sepolia:node --reporter r1 --reporter r2 --reporter r3 \
        --submitter gas
    ape run keeper --network ethereum:local:foundry --reporter TEST::2 --reporter TEST::3 \
        --reporter TEST::4 --source history --data DIR --once

See `perpool.keeper`, and `perpool keeper run` for the same with keystore files.
"""

from __future__ import annotations

from pathlib import Path

import click
from ape import networks
from ape.cli import ConnectedProviderCommand

from perpool.build import repository_root
from perpool.deployment import Record
from perpool.deployment.ape import AccountError, ApeSender, load_account, network_name
from perpool.keeper.chain import next_block_time
from perpool.keeper.cli import ERRORS, build_keeper, serve, source_options
from perpool.keeper.signing import ApeAccount


def now() -> int:
    """The time to observe and sign for, by the chain's own blocks."""
    provider = networks.provider
    pending = provider.get_block("pending")
    return next_block_time(provider.get_block("latest").timestamp, pending.timestamp)


@click.command(cls=ConnectedProviderCommand)
@click.option(
    "--reporter", "reporters", multiple=True, required=True, help="Ape account; once for each."
)
@click.option("--submitter", help="Ape account that pays the gas. Default: the first reporter.")
@click.option("--deployment", type=click.Path(path_type=Path), help="Default: deployments/<...>.")
@source_options
def cli(  # noqa: PLR0917 - one for each option
    reporters: tuple[str, ...],
    submitter: str | None,
    deployment: Path | None,
    sources: tuple[str, ...],
    data: Path | None,
    symbols: tuple[str, ...],
    min_venues: int | None,
    once: bool,
    every: int,
) -> None:
    """Run the keeper with Ape accounts."""
    path = deployment or repository_root() / "deployments" / f"{network_name()}.json"
    try:
        keeper = build_keeper(
            ApeSender(load_account(submitter or reporters[0])),
            Record.read(path),
            [ApeAccount(load_account(alias)) for alias in reporters],
            now,
            sources=sources,
            data=data,
            symbols=symbols,
            min_venues=min_venues,
        )
        serve(keeper, once=once, every=every)
    except (*ERRORS, AccountError) as error:
        raise click.ClickException(str(error)) from error
