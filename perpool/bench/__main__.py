"""The command behind `make bench`, `make bench-snapshot` and the gas check of `make check`."""

from __future__ import annotations

import sys

import click
from rich.console import Console

from perpool.anvil import VERSION, Anvil, AnvilError
from perpool.bench import report
from perpool.bench.compare import (
    TOLERANCE,
    Comparison,
    Peers,
    SnapshotError,
    changes,
    read_snapshot,
    write_json,
)
from perpool.bench.market import START
from perpool.bench.operations import Figures, run
from perpool.build import BuildError, repository_root
from perpool.chain import Chain, ChainError

SNAPSHOT = "bench/gas_snapshot.json"
GAS = "build/bench/gas.json"


def measure(console: Console, *, with_hook_cost: bool) -> tuple[Figures, str]:
    """(figures, client) of a run on an anvil of its own."""
    with console.status("measuring gas on anvil"), Anvil(timestamp=START) as anvil:
        chain = Chain.connect(anvil.endpoint)
        figures = run(chain, with_hook_cost=with_hook_cost)
    if not chain.client.endswith(VERSION):
        console.print(
            f"this is {chain.client}; the peers' figures and the snapshot are of anvil {VERSION}",
            style="yellow",
        )
    return figures, chain.client


def bench(console: Console, *, strict: bool) -> int:
    """Measure, print and write everything."""
    figures, client = measure(console, with_hook_cost=True)
    comparison = Comparison(Peers.load(), figures.compared)
    bars = comparison.bars(figures.hook, figures.stream, figures.submit_per_token)
    console.print(report.full(comparison, figures, bars, client))
    path = repository_root() / GAS
    write_json(path, report.as_data(comparison, figures, client))
    console.print(f"written: {path}", soft_wrap=True)
    return int(strict and any(not bar.reached for bar in bars))


def check(console: Console) -> int:
    """Compare with the snapshot, and with the peers."""
    snapshot = read_snapshot(repository_root() / SNAPSHOT)
    figures, _ = measure(console, with_hook_cost=False)
    comparison = Comparison(Peers.load(), figures.compared)
    missed = [bar for bar in comparison.bars({}, {}, figures.submit_per_token) if not bar.reached]
    for line in report.verdict(missed) if missed else ():
        console.print(line)
    found = changes(snapshot, figures.snapshot)
    failing = [change for change in found if change.fails]
    if found:
        console.print(report.changed(found))
    if failing:
        console.print(
            f"{len(failing)} operations rose by more than {TOLERANCE:.1%}, or are on one side only."
            " Where that is intended, accept it by `make bench-snapshot`, commit"
            f" {SNAPSHOT} and say why",
            style="red",
        )
    if failing or missed:
        return 1
    fallen = sum(change.part < -TOLERANCE for change in found)
    if fallen:
        console.print(f"gas of {fallen} operations fell: keep it so by `make bench-snapshot`")
    console.print(f"gas of {len(snapshot)} operations is within {TOLERANCE:.1%} of the snapshot")
    return 0


def accept(console: Console) -> int:
    """Write the snapshot."""
    figures, client = measure(console, with_hook_cost=False)
    path = repository_root() / SNAPSHOT
    try:
        found = changes(read_snapshot(path), figures.snapshot)
    except SnapshotError:
        found = []
    if found:
        console.print(report.changed(found))
    write_json(path, {"client": client, "gas": figures.snapshot})
    console.print(f"written: {path}", soft_wrap=True)
    return 0


@click.command()
@click.option("--check", "mode", flag_value="check", help="Fail where gas rose.")
@click.option("--snapshot", "mode", flag_value="snapshot", help="Accept today's gas.")
@click.option("--strict", is_flag=True, help="Exit with 1 when a bar is missed.")
def main(mode: str | None, strict: bool) -> None:
    """Measure receipt gas on anvil and print it beside other protocols'.

    --check also fails where a protocol's figure or a bar is not reached; what the hook costs, which
    takes a second compilation, only the full run measures, and only it judges what a stream costs.
    """
    # what is piped is not cut to the width of a terminal
    console = Console() if sys.stdout.isatty() else Console(width=140)
    try:
        if mode == "check":
            code = check(console)
        elif mode == "snapshot":
            code = accept(console)
        else:
            code = bench(console, strict=strict)
    except (AnvilError, BuildError, ChainError, SnapshotError) as error:
        console.print(str(error), style="red", markup=False, soft_wrap=True)
        code = 1
    sys.exit(code)


if __name__ == "__main__":
    main()
