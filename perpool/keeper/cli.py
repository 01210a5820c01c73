"""`perpool keeper`: run the keeper from keystores, over any node."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import click
from eth_account.signers.local import LocalAccount

from perpool.build import BuildError
from perpool.chain import Chain, ChainError
from perpool.deployment import ChainSender, Record, RecordError, Sender
from perpool.history import HistoryError
from perpool.keeper.chain import Contracts, KeeperError, next_block_time
from perpool.keeper.loop import Keeper
from perpool.keeper.model import Outcome, Policy
from perpool.keeper.signing import Signer, SignerError, load_keystore
from perpool.keeper.sources import EXCHANGES, HistorySource, Source, SourceError, live_source

HISTORY = "history"
PASSWORD_VARIABLE = "PERPOOL_KEYSTORE_PASSWORD"  # noqa: S105 - the name of a variable
ERRORS = (
    BuildError,
    ChainError,
    HistoryError,
    KeeperError,
    RecordError,
    SignerError,
    SourceError,
)
"""What ends a command with one line."""

Command = TypeVar("Command", bound=Callable[..., Any])


def source_options(command: Command) -> Command:
    """The options that every way to run the keeper has."""
    options = (
        click.option(
            "--source",
            "sources",
            multiple=True,
            type=click.Choice([*EXCHANGES, HISTORY]),
            default=tuple(EXCHANGES),
            help="Exchange to read, or the files of --data; may be repeated. Default: all "
            "exchanges.",
        ),
        click.option("--data", type=click.Path(path_type=Path), help="Data folder, for history."),
        click.option("--market", "symbols", multiple=True, help="Default: all of the deployment."),
        click.option(
            "--min-venues",
            type=click.IntRange(min=1),
            help="Fewer readings than this, and nothing is reported. Default: 3 of exchanges, "
            "since the median of two is moved by either; 1 of history.",
        ),
        click.option("--once", is_flag=True, help="One round, then end."),
        click.option(
            "--every",
            type=click.IntRange(min=1),
            default=60,
            show_default=True,
            help="Seconds between rounds.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def build_source(sources: Sequence[str], data: Path | None, symbols: Sequence[str]) -> Source:
    """History or exchanges. Raises SourceError and HistoryError."""
    if HISTORY not in sources:
        return live_source(sources)
    if len(sources) > 1:
        raise SourceError("history is of the past and exchanges of the present: choose one of them")
    if data is None:
        raise SourceError("history needs --data, the folder of its files")
    return HistorySource.from_folder(data, symbols)


def build_keeper(
    sender: Sender,
    record: Record,
    signers: Sequence[Signer],
    clock: Callable[[], int],
    *,
    sources: Sequence[str],
    data: Path | None,
    symbols: Sequence[str],
    min_venues: int | None,
) -> Keeper:
    """A keeper of some or all markets of a deployment. Raises one of ERRORS."""
    contracts = Contracts.of_record(sender, record, symbols or None)
    source = build_source(sources, data, list(contracts.markets))
    least = min_venues or (1 if HISTORY in sources else 3)
    return Keeper(contracts, source, signers, policy=Policy(min_venues=least), clock=clock)


def serve(keeper: Keeper, *, once: bool, every: int) -> None:
    """One round, or rounds until the process is told to end.

    Raises click.ClickException when the one round failed in part, or had nothing to report.
    """
    if once:
        outcome = keeper.run_once()
        click.echo(describe(outcome))
        if outcome.failed:
            raise click.ClickException("; ".join(reason for _, reason in outcome.failed))
        if outcome.unheard:
            raise click.ClickException(
                f"too few venues had a value for {', '.join(outcome.unheard)}: see the warnings "
                "above; history has to cover the chain's own time"
            )
        return
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    keeper.run(timedelta(seconds=every), stop)


def describe(outcome: Outcome) -> str:
    """What a round did, in one line."""
    if not outcome.done:
        return "nothing was sent" if outcome.unheard else "nothing was due"
    counts: dict[str, int] = {}
    for action in outcome.done:
        name = type(action).__name__
        counts[name] = counts.get(name, 0) + 1
    return "sent " + ", ".join(f"{name} {count}" for name, count in counts.items())


def read_password() -> str:
    """Of the keystores, from the environment or the terminal. Raises SignerError."""
    password = os.environ.get(PASSWORD_VARIABLE)
    if password is not None:
        return password
    if not sys.stdin.isatty():
        raise SignerError(f"set {PASSWORD_VARIABLE} to the password of the keystores")
    return str(click.prompt("Password of the keystores", hide_input=True))


def chain_clock(chain: Chain) -> Callable[[], int]:
    """The time to observe and sign for, by the chain's own blocks."""

    def now() -> int:
        pending = chain.rpc("eth_getBlockByNumber", "pending", False)
        return next_block_time(chain.timestamp, pending and int(pending["timestamp"], 16))

    return now


@click.group(short_help="Report funding and prices, and keep the pools in step.")
def keeper() -> None:
    """Report funding and prices, and keep the pools in step."""


@keeper.command()
@click.option("--rpc", required=True, help="URL of a node, or the path of an IPC socket.")
@click.option(
    "--deployment",
    required=True,
    type=click.Path(path_type=Path),
    help="Record of the deployment, deployments/<network>.json.",
)
@click.option(
    "--reporter",
    "reporters",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path),
    help="Encrypted keystore of a reporter; once for each.",
)
@click.option(
    "--submitter",
    type=click.Path(path_type=Path),
    help="Encrypted keystore of who pays the gas. Default: the first reporter.",
)
@source_options
def run(  # noqa: PLR0917 - one for each option
    rpc: str,
    deployment: Path,
    reporters: tuple[Path, ...],
    submitter: Path | None,
    sources: tuple[str, ...],
    data: Path | None,
    symbols: tuple[str, ...],
    min_venues: int | None,
    once: bool,
    every: int,
) -> None:
    """Read a source, sign as the reporters, submit, and sync the pools.

    The password of all keystores is PERPOOL_KEYSTORE_PASSWORD, or is asked for. A reporter needs no
    ether, the submitter does.

    \b
        perpool keeper run --rpc $SEPOLIA_RPC_URL --deployment deployments/sepolia.json \\
            --reporter r1.json --reporter r2.json --reporter r3.json --once
        perpool keeper run --rpc http://127.0.0.1:8545 --deployment deployments/local.json \\
            --reporter r1.json --reporter r2.json --reporter r3.json --source history --data DIR
    """
    try:
        record = Record.read(deployment)
        password = read_password()
        signers: list[LocalAccount] = [load_keystore(each, password) for each in reporters]
        payer = load_keystore(submitter, password) if submitter else signers[0]
        chain = Chain.connect(rpc)
        built = build_keeper(
            ChainSender(chain, payer),
            record,
            signers,
            chain_clock(chain),
            sources=sources,
            data=data,
            symbols=symbols,
            min_venues=min_venues,
        )
        serve(built, once=once, every=every)
    except ERRORS as error:
        raise click.ClickException(str(error)) from error
