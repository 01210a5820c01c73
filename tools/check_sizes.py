"""Check the code size of every deployable contract.

Code on a chain, with its immutables, may have 24,576 bytes (EIP-170). Pools and carry strategies
are deployed from blueprints (ERC-5202), which hold the whole init code behind three bytes and are
limited in the same way; they keep some room for later. Exits with 1 when a contract is too large or
does not compile.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from perpool.build import CODE_SIZE_LIMIT, BuildError, compile_contract, repository_root

BLUEPRINTS = ("ReversePool", "ForwardPool", "CarryStrategy")
HEADROOM = 1_500
"""Bytes a blueprint leaves free."""


@dataclass(frozen=True)
class CodeSize:
    """Sizes of one contract in bytes; `blueprint` only where it is deployed from one."""

    path: str
    deployed: int
    blueprint: int | None

    @property
    def free(self) -> int:
        """Bytes left under the tighter of the limits, negative when over."""
        room = CODE_SIZE_LIMIT - self.deployed
        if self.blueprint is None:
            return room
        return min(room, CODE_SIZE_LIMIT - HEADROOM - self.blueprint)


def deployable_contracts() -> list[Path]:
    """Every contract below contracts/ but the modules, relative to the repository's root."""
    root = repository_root()
    contracts = root / "contracts"
    return sorted(
        path.relative_to(root)
        for path in contracts.rglob("*.vy")
        if path.relative_to(contracts).parts[0] != "modules"
    )


def measure(path: Path) -> CodeSize:
    """Compile one contract and measure it. Raises BuildError if it does not compile."""
    artifact = compile_contract(path)
    blueprint = artifact.blueprint_size if path.stem in BLUEPRINTS else None
    return CodeSize(str(path), artifact.deployed_size, blueprint)


def report(sizes: list[CodeSize]) -> Table:
    """The sizes as a table."""
    table = Table(title="Code size in bytes")
    table.add_column("contract")
    for heading in ("deployed", "blueprint", "free"):
        table.add_column(heading, justify="right")
    for size in sizes:
        blueprint = "" if size.blueprint is None else f"{size.blueprint:,}"
        style = "red" if size.free < 0 else None
        table.add_row(size.path, f"{size.deployed:,}", blueprint, f"{size.free:,}", style=style)
    table.caption = f"limit {CODE_SIZE_LIMIT:,}; blueprints also keep {HEADROOM:,} for later"
    return table


def main() -> int:
    """Measure, print, and tell by the exit code whether everything fits."""
    console = Console()
    paths = deployable_contracts()
    missing = sorted(set(BLUEPRINTS) - {path.stem for path in paths})
    if missing:
        console.print(f"not found below contracts/: {', '.join(missing)}", style="red")
        return 1
    try:
        sizes = [measure(path) for path in paths]
    except BuildError as error:
        console.print(str(error), style="red", markup=False)
        return 1
    console.print(report(sizes))
    return int(any(size.free < 0 for size in sizes))


if __name__ == "__main__":
    sys.exit(main())
