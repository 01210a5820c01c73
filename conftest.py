"""What every test session needs, whatever it runs."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent
SOURCE_FOLDERS = ("contracts", "interfaces", "tests/contracts")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # else a worker of pytest-xdist, after the controller
        forget_stale_build(ROOT)
    if config.get_verbosity() <= 0 and config.pluginmanager.hasplugin("ape_test"):
        silence_ape()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep integration tests, which share one anvil and one build folder, on one worker."""
    for item in items:
        if ROOT / "tests" / "integration" in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("integration"))


def silence_ape() -> None:
    """Keep Ape's notes on starting and stopping anvil out of the test report."""
    from ape.logging import LogLevel, logger

    logger.set_level(LogLevel.ERROR)


def forget_stale_build(root: Path) -> None:
    """Make Ape compile again when any Vyper source differs from what it compiled last.

    Ape looks at each contract file alone, so it misses edits of the modules and interfaces that
    a contract imports.
    """
    sources = sorted(
        path
        for folder in SOURCE_FOLDERS
        for pattern in ("*.vy", "*.vyi")
        for path in (root / folder).rglob(pattern)
    )
    digest = hashlib.sha256()
    for path in sources:
        digest.update(f"{path.relative_to(root)}\0".encode())
        digest.update(path.read_bytes())
    build = root / ".build"
    manifest, stamp = build / "__local__.json", build / "sources.sha256"
    if manifest.exists():
        same = stamp.exists() and stamp.read_text() == digest.hexdigest()
        compiled_at = manifest.stat().st_mtime
        if not same or any(path.stat().st_mtime > compiled_at for path in sources):
            manifest.unlink()
    build.mkdir(exist_ok=True)
    stamp.write_text(digest.hexdigest())
