"""docs/invariants.md and the assertions name the same invariants."""

import re
from pathlib import Path

from perpool.build import repository_root

ID = re.compile(r"[A-Z]{3,5}-\d+")


def test_invariants__all_are_checked_and_documented() -> None:
    folder = Path(__file__).parent
    document = (repository_root() / "docs" / "invariants.md").read_text()
    documented = re.findall(rf"^\| ({ID.pattern}) \|", document, re.MULTILINE)
    checked = {
        invariant
        for name in (
            "checks.py",
            "machine.py",
            "../fuzz/test_reward_stream.py",
            "../fuzz/perp_machine.py",
            "../fuzz/carry_machine.py",
        )
        for invariant in re.findall(rf'"({ID.pattern})"', (folder / name).read_text())
    }

    assert len(documented) == len(set(documented))
    assert set(documented) == checked
