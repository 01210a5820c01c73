"""`deployments/<network>.json`: what has been deployed, written after every step.

Everything that anybody needs to find the contracts again: addresses, constructor arguments,
transactions, the commit they were built from, and the markets by symbol.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from perpool.build import repository_root

FORMAT = 1
MULTICALL3 = "0xcA11bde05977b3631167028862bE2a173976CA11"
"""Where Multicall3 is on most public chains."""


class RecordError(Exception):
    """A record that is missing, damaged, or of something else; the message says what to do."""


@dataclass
class Record:
    """The content of the file, and where it is. Sections hold JSON values only."""

    path: Path
    network: str
    chain_id: int
    deployer: str = ""
    owner: str = ""
    commit: str = ""
    complete: bool = False
    contracts: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Name -> address, contract, kind, args, transaction, block, commit, code_hash."""
    calls: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Name of a step -> to, function, args, transaction."""
    markets: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Symbol -> token, usdt, reverse, forward, price_oracle, price_feed, route; venue, None where
    there is none of ours; vaults, by name: vault, strategy, venue."""
    pending: dict[str, Any] | None = None
    """The deployment that was about to be sent, and the address it would get."""

    @classmethod
    def load(cls, path: Path, network: str, chain_id: int) -> Record:
        """The record in a file, or a new one where there is none. Raises RecordError."""
        if not path.exists():
            return cls(path, network, chain_id)
        record = cls.read(path)
        if record.chain_id != chain_id:
            raise RecordError(
                f"{path} is of chain {record.chain_id}, not {chain_id}: give the deployment "
                "another name, or move the file away"
            )
        return record

    @classmethod
    def read(cls, path: Path) -> Record:
        """The record in a file. Raises RecordError where there is none or it is damaged."""
        try:
            data = json.loads(path.read_text())
            if data["format"] != FORMAT:
                raise RecordError(
                    f"{path} has format {data['format']}, this version reads {FORMAT}: use the "
                    "version that wrote it"
                )
            data.pop("format")
            return cls(path, **data)
        except FileNotFoundError:
            raise RecordError(
                f"there is no {path}: deploy first (`ape run deploy`), or name another file"
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RecordError(f"{path} cannot be read ({error}): restore it from git") from None

    def save(self) -> None:
        """Write the file in one step, so that it is whole whenever the process ends."""
        data = {"format": FORMAT} | {
            name: getattr(self, name) for name in self.__dataclass_fields__ if name != "path"
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_suffix(f".{os.getpid()}.tmp")
        with draft.open("w") as file:
            file.write(json.dumps(data, indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.path)

    def address(self, name: str) -> str | None:
        """The address of a contract, None while it has none."""
        entry = self.contracts.get(name)
        return None if entry is None else str(entry["address"])

    @property
    def multicall(self) -> str:
        """The contract for several calls in one: Multicall3, or ours where that is not deployed."""
        return self.address("Multicall") or MULTICALL3

    def clear(self) -> None:
        """Forget all that was deployed."""
        self.contracts.clear()
        self.calls.clear()
        self.markets.clear()
        self.pending, self.complete = None, False


def current_commit() -> str:
    """The commit of the sources, with "-dirty" where contracts differ from it; "" outside git."""
    root = repository_root()
    try:
        commit = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--", "contracts", "interfaces")
    except (OSError, subprocess.CalledProcessError):
        return ""
    return f"{commit}-dirty" if changed else commit


def _git(root: Path, *args: str) -> str:
    run = subprocess.run(["git", *args], cwd=root, check=True, capture_output=True, text=True)
    return run.stdout.strip()
