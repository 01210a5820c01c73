"""A weakened copy of a contract: one mistake in its source, and the invariants that it breaks."""

from __future__ import annotations

import re
from dataclasses import dataclass

from perpool.build import Artifact, compile_patched, repository_root

MODULES = "contracts/modules"


@dataclass(frozen=True)
class Weakness:
    """A mistake, by the contract that has it, and the invariants of which it breaks one first."""

    name: str
    contract: str
    file: str
    """Below the modules."""
    old: str
    new: str
    breaks: tuple[str, ...]

    def compile(self) -> Artifact:
        """Raises BuildError where the source no longer has what the mistake is put for."""
        return compile_patched(self.contract, {f"{MODULES}/{self.file}": [(self.old, self.new)]})

    def __str__(self) -> str:
        """As a part of a test's name."""
        return self.name.replace(" ", "-")


def documented(kind: str) -> set[str]:
    """The IDs of a kind, "VEN" or another, in docs/invariants.md."""
    document = (repository_root() / "docs" / "invariants.md").read_text()
    return set(re.findall(rf"^\| ({kind}-\d+) \|", document, re.MULTILINE))
