"""Write perpool/abi/: functions and events of the contracts, for SDK, keeper, wallets and indexers.

python -m tools.export_abi            # write
python -m tools.export_abi --check    # fail where a file is not what the contracts say
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from perpool.build import compile_contract

FOLDER = Path(__file__).resolve().parent.parent / "perpool" / "abi"
CONTRACTS = (
    "CarryLens",
    "CarryStrategy",
    "CarryVault",
    "ForwardPool",
    "FundingOracle",
    "Lens",
    "Liquidator",
    "Multicall",
    "Operators",
    "PerpVenue",
    "PoolFactory",
    "PriceFeed",
    "PriceOracle",
    "ReversePool",
    "RewardStream",
    "TestToken",
    "UniswapV3Swapper",
)


def content(contract: str) -> str:
    """The file of a contract: its functions and then its events, sorted, one to a line."""
    kinds = ("function", "event")
    entries = [entry for entry in compile_contract(contract).abi if entry["type"] in kinds]
    entries.sort(key=lambda entry: (kinds.index(entry["type"]), entry["name"]))
    lines = ",\n".join(json.dumps(entry, sort_keys=True) for entry in entries)
    return f"[\n{lines}\n]\n"


def stale() -> list[str]:
    """Names of contracts whose file is missing or not up to date."""
    found = []
    for contract in CONTRACTS:
        path = FOLDER / f"{contract}.json"
        if not path.exists() or path.read_text() != content(contract):
            found.append(contract)
    return found


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail if stale")
    check = parser.parse_args().check
    changed = stale()
    if check and changed:
        print(f"perpool/abi is stale for {', '.join(changed)}: run python -m tools.export_abi")
        return 1
    FOLDER.mkdir(exist_ok=True)
    for contract in changed:
        (FOLDER / f"{contract}.json").write_text(content(contract))
    return 0


if __name__ == "__main__":
    sys.exit(main())
