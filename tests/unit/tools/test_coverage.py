"""The coverage tool: which lines it counts, and what a run with it leaves behind."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from perpool.build import Artifact, compile_contract, compile_patched, project
from perpool.evm import Contract, Evm
from tools.coverage import CoverageTracer, Report

PROBE = "tests/contracts/Probe.vy"
MODULE = "tests/contracts/modules/counter.vy"
CONTRACT = """
# pragma version 0.4.3
from contracts.modules import limits

LIMIT: immutable(uint256)

@deploy
def __init__(limit: uint256):
    limits._check(limit, 100)
    LIMIT = limit

@external
@view
def double(amount: uint256) -> uint256:
    if amount > LIMIT:
        return 2 * LIMIT
    return 2 * amount
"""
LIMITS = """
# pragma version 0.4.3

@internal
@pure
def _check(amount: uint256, limit: uint256):
    if amount > limit:
        raise "too much"
"""
TEST = """
import pytest
from perpool.evm import Evm, reverts

@pytest.mark.parametrize("part", range(2))
def test_part(part):
    evm = Evm()
    contract = evm.deploy("Doubler", 10)
    if part == 0:
        assert contract.double(5) == 10
    else:
        {second}
"""


@pytest.fixture
def tracer(evm: Evm, monkeypatch: pytest.MonkeyPatch) -> Iterator[CoverageTracer]:
    tracer = CoverageTracer()
    monkeypatch.setattr(evm, "trace", [tracer])
    return tracer


def text(file: str, lines: set[int]) -> set[str]:
    source = (project().root / file).read_text().splitlines()
    return {source[line - 1].strip() for line in lines}


def covered(tracer: CoverageTracer, *artifacts: Artifact) -> dict[str, set[str]]:
    report = tracer.report(artifacts)
    return {file: text(file, lines) for file, lines in report.covered.items()}


def test_tracer__constructors_and_functions(evm: Evm, tracer: CoverageTracer) -> None:
    artifact = compile_contract("Probe")
    probe = evm.deploy(artifact, 3)
    lines = covered(tracer, artifact)
    assert lines[MODULE] == {"self._step = step"}
    assert 'assert step > 0, "zero step"' in lines[PROBE]
    assert "return a + b + c" not in lines[PROBE]

    probe.total(1)
    assert "return a + b + c" in covered(tracer, artifact)[PROBE]


def test_tracer__branches_of_a_module(evm: Evm, tracer: CoverageTracer) -> None:
    artifact = compile_contract("Probe")
    probe = evm.deploy(artifact, 3)
    probe.increment(100)
    lines = covered(tracer, artifact)[MODULE]
    assert "self.count += self._step" in lines
    assert 'raise "over the limit"' not in lines

    with pytest.raises(Exception, match="over the limit"):
        probe.increment(4)
    assert 'raise "over the limit"' in covered(tracer, artifact)[MODULE]


def test_tracer__inner_frames_and_blueprints(evm: Evm, tracer: CoverageTracer) -> None:
    probe, feed = compile_contract("Probe"), compile_contract("TestFeed")
    contract = evm.deploy(probe, 3)
    contract.create(evm.deploy_blueprint(feed), 8, 5, bytes(32))

    # the factory ran the constructor, nobody has called the feed yet
    lines = covered(tracer, probe, feed)["tests/contracts/TestFeed.vy"]
    assert "self._set(answer, block.timestamp)" in lines
    assert "return 4" not in lines


def test_tracer__patched_copies_do_not_count(evm: Evm, tracer: CoverageTracer) -> None:
    plain = compile_contract("Probe")
    patched = compile_patched("Probe", {PROBE: [("return a + b + c", "return a + b + c + 1")]})
    contract: Contract = evm.deploy(patched, 3)
    assert contract.total(1) == 322

    assert covered(tracer, plain, patched) == {}


def test_report__counts() -> None:
    report = Report({"contracts/a.vy": {1, 2, 3, 9}, "x/b.vy": {1}}, {"contracts/a.vy": {1, 2, 70}})
    report = report.only("contracts")

    assert report.missed("contracts/a.vy") == [3, 9]
    assert (report.line_count, report.missed_count, report.percent) == (4, 2, 50.0)
    other = Report()
    other.merge(report.to_json())
    other.merge({"executable": {"contracts/a.vy": [4]}, "covered": {"contracts/a.vy": [3]}})
    assert other.missed("contracts/a.vy") == [4, 9]
    assert Report({}, {}).percent == 0.0


def run_tool(
    tree: Path, second: str, workers: int = 0
) -> tuple[int, dict[str, dict[str, object]], str]:
    """Run the tool over a small tree."""
    for path, content in {
        "contracts/Doubler.vy": CONTRACT,
        "contracts/modules/limits.vy": LIMITS,
        "tests/test_doubler.py": TEST.format(second=second),
    }.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(content)
    arguments = [
        "-n",
        str(workers),
        "-p",
        "no:ape_test",
        "-p",
        "no:cacheprovider",
        "-c",
        os.devnull,
    ]
    run = subprocess.run(
        [sys.executable, "-m", "tools.coverage", *arguments, f"{tree}/tests"],
        cwd=project().root,
        env={**os.environ, "PERPOOL_ROOT": str(tree)},
        capture_output=True,
        text=True,
        check=False,
    )
    summary = json.loads((tree / "build/coverage/summary.json").read_text())
    return run.returncode, summary, run.stdout


def test_run__below_the_threshold(tmp_path: Path) -> None:
    code, summary, output = run_tool(tmp_path, "pass")

    assert code == 1, output
    assert "coverage is below 95 %" in output
    assert summary["files"]["contracts/Doubler.vy"] == {"lines": 6, "missed": [16]}
    assert summary["files"]["contracts/modules/limits.vy"] == {"lines": 2, "missed": [8]}


def test_run__everything_covered(tmp_path: Path) -> None:
    second = 'contract.double(50)\n        with reverts("too much"): evm.deploy("Doubler", 101)'
    code, summary, output = run_tool(tmp_path, second, workers=2)

    assert code == 0, output
    assert (summary["percent"], summary["missed"]) == (100.0, 0)


def test_run__failing_tests(tmp_path: Path) -> None:
    code, summary, output = run_tool(tmp_path, "assert False")

    assert code == 1
    assert "the coverage above is incomplete" in output
    assert summary["missed"] == 2
