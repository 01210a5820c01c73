"""`perpool keeper`: run, look, and check, from one configuration file."""

from __future__ import annotations

import contextlib
import functools
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import click
import structlog

from perpool.cli import Commands, show_json, show_table
from perpool.keeper.chain.checkpoint import FollowError
from perpool.keeper.operation import status as view
from perpool.keeper.operation.assembly import Accounts, build, open_accounts, strangers
from perpool.keeper.operation.check import FAULTS
from perpool.keeper.operation.check import check as look_through
from perpool.keeper.operation.config import KeeperConfig, load_config
from perpool.keeper.operation.keeper import Keeper
from perpool.keeper.operation.logs import configure_logs
from perpool.keeper.operation.place import Place, open_place, read_record
from perpool.keeper.operation.server import ServerError, StatusServer
from perpool.keeper.operation.survey import survey
from perpool.keeper.signing import keystore_password
from perpool.settings import ConfigError

ERRORS = (*FAULTS, FollowError, ServerError)
"""What ends a command with its message."""
COLOURS = {"careful": "yellow", "missing": "red"}


def configured(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command --config, and what it says as its argument `config`.

    Faults of the file are shown all at once, a line each.
    """

    @functools.wraps(command)
    def with_config(path: Path, **options: Any) -> None:
        try:
            config = load_config(path)
        except ConfigError as error:
            click.echo(str(error), err=True)
            sys.exit(1)
        try:
            command(config=config, **options)
        except ERRORS as error:
            raise click.ClickException(str(error)) from error

    return click.option(
        "--config",
        "path",
        type=click.Path(path_type=Path, dir_okay=False),
        default="keeper.toml",
        show_default=True,
        help="See docs/keeper/keeper.toml.",
    )(with_config)


class KeeperCommands(Commands):
    """Those of the keeper."""

    lazy: ClassVar = {
        "replay": ("perpool.keeper.replay_cli", "replay", "The keeper over recorded history."),
    }


@click.group(cls=KeeperCommands, short_help="Report funding and prices, liquidate.")
def keeper() -> None:
    """Report funding and prices, keep the pools in step, liquidate.

    docs/keeper.md is the operator's guide.
    """


@keeper.command()
@configured
@click.option("--dry-run", is_flag=True, help="Decide and log; sign, send and serve nothing.")
@click.option("--once", is_flag=True, help="Do all that is due now, then end.")
def run(config: KeeperConfig, *, dry_run: bool, once: bool) -> None:
    """Run the roles that the configuration has.

    Passwords of keystores come from PERPOOL_KEYSTORE_PASSWORD, from the file that
    PERPOOL_KEYSTORE_PASSWORD_FILE names, or are asked for. A dry run may go on beside the keeper
    whose file it has. --once goes through the roles until nothing more is due, six times at most.

    \b
        perpool keeper run --config keeper.toml --dry-run
        perpool keeper run --config keeper.toml
    """
    configure_logs(config.log, config.log_level, secrets=config.secrets())
    read_record(config)
    accounts = open_accounts(config, keystore_password)
    with open_place(config) as place:
        announce(place, accounts)
        built = build(place, accounts, dry_run=dry_run)
        if once:
            run_once(built)
        else:
            run_on(built, place, serve=not dry_run)


def announce(place: Place, accounts: Accounts) -> None:
    """Log who begins, where, and what asks for care."""
    log = structlog.get_logger("perpool.keeper")
    chain_id = place.record.chain_id
    addresses = {role: [each.address for each in opened] for role, opened in accounts.items()}
    log.info("keeper", chain=chain_id, markets=list(place.contracts.markets), **addresses)
    for line in place.config.warnings(chain_id):
        log.warning(line)
    for address in strangers(place, accounts):
        log.warning("not registered; its reports do not count until it is", reporter=address)


def run_once(built: Keeper) -> None:
    """Do what is due, and say what was done. Raises ClickException where anything failed."""
    done = built.once()
    counts = [f"{kind} {count} {state}" for (kind, state), count in sorted(done.sent.items())]
    # one that failed before it asked for the lease knows of no other
    if built.stands_by and not any(role == "submitter" for role, _ in done.failed):
        counts.append("another submitter is active")
    click.echo(", ".join(counts) or "nothing was sent")
    if done.failed:
        roles: dict[str, list[str]] = {}
        for role, reason in dict.fromkeys(done.failed):
            roles.setdefault(reason, []).append(role)
        raise click.ClickException(
            "; ".join(f"{', '.join(named)}: {reason}" for reason, named in roles.items())
        )
    unheard = built.unheard()
    if unheard:
        raise click.ClickException(
            f"too few venues had a value for {', '.join(unheard)}: see the warnings above; history "
            "has to cover the chain's own time"
        )


def run_on(built: Keeper, place: Place, *, serve: bool) -> None:
    """Run until the process is told to end."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with contextlib.ExitStack() as stack:
        if serve and place.config.http is not None:
            server = StatusServer(
                place.config.http.listen, place.metrics, place.health, place.clock
            )
            stack.enter_context(server)
        built.service.run(stop)


@keeper.command()
@configured
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def status(config: KeeperConfig, *, as_json: bool) -> None:
    """Feeds, ages, balances, lease, transactions.

    Exits with code 3 when something asks for attention. Nothing is unlocked for it.

    \b
        perpool keeper status --config keeper.toml
        perpool keeper status --json | jq .complaints
    """
    configure_logs("console", "error", secrets=config.secrets())
    with open_place(config) as place:
        found = survey(place)
    if as_json:
        show_json(view.as_json(found))
    else:
        block = "" if found.block is None else f", block {found.block}"
        click.echo(f"{found.network}, chain {found.chain_id}{block}\n")
        for table in view.tables(found):
            show_table(*table)
        for line in view.complaints(found):
            click.secho(line, fg="yellow")
    if view.complaints(found):
        sys.exit(view.ATTENTION)


@keeper.command()
@configured
@click.option("--offline", is_flag=True, help="Leave out nodes, sources and mailbox.")
def check(config: KeeperConfig, *, offline: bool) -> None:
    """Whether a keeper could run, and what is missing.

    Looks at file, deployment and accounts, asks every node and every source once, looks at mailbox
    and journal. Nothing is sent. Exits with code 1 when something is missing.

    \b
        perpool keeper check --config keeper.toml
    """
    configure_logs("console", "error", secrets=config.secrets())
    well = True
    for each in look_through(config, keystore_password, offline=offline, waiting=waiting):
        well &= each.state != "missing"
        click.secho(f"{each.state:<8} {each.text}", fg=COLOURS.get(each.state))
    if not well:
        sys.exit(1)


def waiting(text: str) -> contextlib.AbstractContextManager[object]:
    """Says on a terminal what is waited for, and nothing elsewhere."""
    from rich.console import Console

    console = Console(stderr=True)
    return console.status(text) if console.is_terminal else contextlib.nullcontext()
