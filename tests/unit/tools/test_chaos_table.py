"""The table of `make chaos` counts nothing as survived that was not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
HOOKS = "from tests.chaos.table import pytest_sessionfinish, pytest_terminal_summary\n"
ALL_SORTS = """
import pytest

@pytest.fixture
def broken():
    raise RuntimeError("no anvil")

@pytest.fixture
def absent():
    pytest.skip("there is no Redis")

@pytest.fixture
def leaking():
    yield
    raise RuntimeError("left over")

@pytest.mark.parametrize("number", range(PASSING))
def test_well__so(number, record_property):
    record_property("rounds", 7)

def test_badly(): assert False
def test_fixture(broken): pass
def test_redis(absent): pass
def test_after(leaking): pass
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "tests" / "chaos"
    folder.mkdir(parents=True)
    (folder / "conftest.py").write_text(HOOKS)
    return folder


def run(folder: Path, *options: str) -> tuple[int, list[str]]:
    """Exit code, and the lines of the table."""
    root = folder.parents[1]
    plain = ["-p", "no:ape_test", "-p", "no:cacheprovider", "-q", f"--rootdir={root}"]
    found = subprocess.run(
        [sys.executable, "-m", "pytest", *plain, *(options or ["tests/chaos"])],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = found.stdout.splitlines()
    start = next((n for n, line in enumerate(lines) if " faults " in line), len(lines))
    table = [line for line in lines[start + 1 :] if not line.startswith(("=", "FAILED", "ERROR"))]
    return found.returncode, [" ".join(line.split()) for line in table]


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "xdist"])
def test_table__errors_and_skips_are_not_survived(folder: Path, workers: tuple[str, ...]) -> None:
    (folder / "test_x.py").write_text(ALL_SORTS.replace("PASSING", "1"))
    code, table = run(folder, "tests/chaos", *workers)
    assert code == 1
    assert table[:5] == [
        "after error",
        "badly failed",
        "fixture error",
        "redis skipped",
        "well: so[0] passed rounds 7",
    ]
    assert table[5] == "1 of 5 survived, 1 skipped, 1 failed, 2 error"


def test_table__a_file_that_cannot_be_read(folder: Path) -> None:
    (folder / "test_x.py").write_text("import nothing_of_this_name\n")
    code, table = run(folder)
    assert code != 0
    assert table[:2] == ["test_x.py error", "0 of 1 survived, 1 error"]


ONE = "import pytest\n@pytest.mark.parametrize('n', range(COUNT))\ndef test_one(n): pass\n"


@pytest.mark.parametrize(("count", "code"), [(24, 1), (25, 0)])
def test_run__a_whole_one_with_few_faults_fails(folder: Path, count: int, code: int) -> None:
    (folder / "test_x.py").write_text(ONE.replace("COUNT", str(count)))
    found, table = run(folder)
    assert found == code
    assert f"{count} of {count} survived" in table
    assert ("only 24 were tried; a whole run has 25" in table) == (code == 1)
    assert run(folder, "tests/chaos", "-n", "1")[0] == code


def test_run__skipped_faults_are_not_tried(folder: Path) -> None:
    skips = "\n@pytest.mark.skip\ndef test_other(): pass\n"
    (folder / "test_x.py").write_text(ONE.replace("COUNT", "24") + skips)
    code, table = run(folder)
    assert code == 1
    assert "24 of 25 survived, 1 skipped" in table


def test_run__a_part_of_it_may_be_small(folder: Path) -> None:
    (folder / "test_x.py").write_text(ONE.replace("COUNT", "3"))
    for part in (["tests/chaos/test_x.py"], ["tests/chaos", "-k", "one"]):
        code, table = run(folder, *part)
        assert (code, table[3]) == (0, "3 of 3 survived")
    assert run(folder)[0] == 1
