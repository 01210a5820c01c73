"""The benchmark's judgement: peers, ratios, bars, the snapshot, and the command's exit codes."""

import json
import math
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from perpool.anvil import AnvilError
from perpool.bench import __main__ as command
from perpool.bench.compare import (
    HOOK_GAS,
    PEERS_FILE,
    PULLS,
    PUSHES,
    STREAM_GAS,
    SUBMIT_GAS_PER_TOKEN,
    Bar,
    Change,
    Comparison,
    Peers,
    SnapshotError,
    changes,
    geometric_mean,
    read_snapshot,
    write_json,
)
from perpool.bench.operations import COMPARED, OTHERS, STREAMS, Figures

PEERS = Peers.load()


def figures(
    factor: float = 0.8,
    *,
    hook: int = 30,
    stream: int = 15_000,
    submit: int = 250_000,
    deposit: int | None = None,
) -> Figures:
    """Made-up figures, each operation at the same ratio to the best peer."""
    compared = {name: int(PEERS.best(name) * factor) for name in PEERS.operations}
    if deposit is not None:
        compared["deposit_repeat"] = deposit
    others = {operation.name: 50_000 for operation in OTHERS}
    return Figures(
        compared=compared,
        others={**others, "funding_submit": submit},
        extras={"with caps": {"deposit_repeat": 2_100}}
        | {
            circumstance: {**dict.fromkeys(names, stream), "transfer": 2 * stream}
            for circumstance, (_, names) in STREAMS.items()
        },
        hook={"transfer": hook, "deposit_repeat": 7},
        floor={"pull_repeat": 44_000, "push_repeat": 41_000},
    )


def plain(result: Result) -> str:
    """Output without the lines that a terminal's width makes."""
    return " ".join(result.output.split())


# -- peers --


def test_peers__best_is_the_cheapest() -> None:
    stated = json.loads(PEERS_FILE.read_text())["operations"]
    for name, row in stated.items():
        assert PEERS.best(name) == row["best"] == row[row["best_peer"]]
        assert set(PEERS.operations[name]) == set(row) - {"best", "best_peer"}


def test_peers__every_operation_is_measured() -> None:
    assert [operation.name for operation in COMPARED] == list(PEERS.operations)


def test_peers__floor() -> None:
    assert PULLS.isdisjoint(PUSHES)
    assert set(PEERS.operations) > PULLS | PUSHES
    assert PEERS.floor_of("deposit_repeat") == 44_425
    assert PEERS.floor_of("redeem_full") == 42_015
    assert PEERS.floor_of("open_short") is None
    for name, row in PEERS.operations.items():
        assert min(row.values()) > (PEERS.floor_of(name) or 0)


# -- ratios and bars --


def test_geometric_mean() -> None:
    assert geometric_mean({"a": 0.5, "b": 2.0}) == pytest.approx(1)
    assert geometric_mean({"a": 0.8}) == pytest.approx(0.8)
    with pytest.raises(ValueError, match="nothing"):
        geometric_mean({})


def test_comparison__ratios() -> None:
    ours = dict.fromkeys(PEERS.operations, 50_000)
    comparison = Comparison(PEERS, ours)
    assert comparison.ratios["deposit_repeat"] == 50_000 / 82_501
    logs = [math.log(ratio) for ratio in comparison.ratios.values()]
    assert comparison.mean == pytest.approx(math.exp(sum(logs) / len(logs)))


def test_comparison__operation_not_measured() -> None:
    with pytest.raises(KeyError, match="close_short"):
        _ = Comparison(PEERS, {name: 1 for name in PEERS.operations if name != "close_short"}).mean


@pytest.mark.parametrize(
    ("made", "missed"),
    [
        (figures(), []),
        (figures(deposit=82_501), []),
        (figures(deposit=82_502), ["deposit_repeat"]),
        (figures(0.86), ["geometric mean"]),
        (figures(hook=HOOK_GAS), []),
        (figures(hook=HOOK_GAS + 1), ["hook"]),
        (figures(stream=STREAM_GAS), []),
        (figures(stream=STREAM_GAS + 1), ["a reward stream"]),
        (figures(submit=20 * SUBMIT_GAS_PER_TOKEN), []),
        (figures(submit=20 * SUBMIT_GAS_PER_TOKEN + 1), ["round of funding"]),
    ],
)
def test_bars(made: Figures, missed: list[str]) -> None:
    bars = Comparison(PEERS, made.compared).bars(made.hook, made.stream, made.submit_per_token)
    assert len(bars) == len(PEERS.operations) + 4
    found = [bar.name for bar in bars if not bar.reached]
    assert len(found) == len(missed)
    assert all(part in name for part, name in zip(missed, found, strict=True))


def test_bar__at_its_limit() -> None:
    assert Bar("x", 0.85, 0.85).reached
    assert not Bar("x", 0.8501, 0.85).reached


# -- snapshot --


def test_changes() -> None:
    snapshot = {"deposit": 100_000, "repay": 70_000, "borrow": 80_000, "gone": 1, "same": 5}
    measured = {"same": 5, "borrow": 80_401, "repay": 69_000, "deposit": 100_500, "new": 9}
    found = {change.name: change for change in changes(snapshot, measured)}
    assert list(found) == ["borrow", "repay", "deposit", "new", "gone"]
    assert found["borrow"].fails
    assert found["borrow"].part == pytest.approx(0.0050125)
    assert not found["deposit"].fails, "0.5 % is within the tolerance"
    assert not found["repay"].fails, "a fall is no failure"
    assert found["new"] == Change("new", None, 9)
    assert found["gone"] == Change("gone", 1, None)
    assert found["new"].fails
    assert found["gone"].fails
    assert changes(snapshot, snapshot) == []


def test_snapshot__names_circumstances() -> None:
    made = figures()
    base = made.compared["deposit_repeat"]
    assert made.snapshot["deposit_repeat with caps"] == base + 2_100
    assert made.snapshot["transfer"] == 50_000
    assert made.snapshot["transfer with a stream to lenders"] == 80_000


def test_read_snapshot(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "snapshot.json"
    write_json(path, {"gas": {"deposit": 5}})
    assert read_snapshot(path) == {"deposit": 5}
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"gas": 5}', '{"gas": {"deposit": "much"}}'])
def test_read_snapshot__malformed(tmp_path: Path, text: str) -> None:
    path = tmp_path / "snapshot.json"
    path.write_text(text)
    with pytest.raises(SnapshotError, match="make bench-snapshot"):
        read_snapshot(path)


def test_read_snapshot__missing(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="make bench-snapshot"):
        read_snapshot(tmp_path / "none.json")


# -- the command --


class Bench:
    """The command on made-up figures, in a folder of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
        self.root = root
        self.figures = figures()
        self.hook_was_measured: bool | None = None
        monkeypatch.setenv("PERPOOL_ROOT", str(root))
        monkeypatch.setattr(command, "measure", self.measure)

    def measure(self, _: object, *, with_hook_cost: bool) -> tuple[Figures, str]:
        self.hook_was_measured = with_hook_cost
        return self.figures, "anvil/v1.7.1"

    def __call__(self, *options: str) -> Result:
        return CliRunner().invoke(command.main, options)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bench:
    return Bench(monkeypatch, tmp_path)


def test_command__prints_and_writes(bench: Bench) -> None:
    result = bench()
    assert result.exit_code == 0, result.output
    written = json.loads((bench.root / "build" / "bench" / "gas.json").read_text())
    assert written["operations"] == bench.figures.compared
    output = plain(result)
    assert "all 17 bars reached" in output
    assert "12,500 gas a token" in output
    for row in PEERS.operations.values():
        for gas in row.values():
            assert f"{gas:,}" in output
    assert bench.hook_was_measured


def test_command__strict(bench: Bench) -> None:
    assert bench("--strict").exit_code == 0
    bench.figures = figures(1.01)
    result = bench("--strict")
    assert result.exit_code == 1
    assert "14 of 17 bars missed" in plain(result)
    assert bench().exit_code == 0


def test_command__check_without_a_snapshot(bench: Bench) -> None:
    result = bench("--check")
    assert result.exit_code == 1
    assert "make bench-snapshot" in plain(result)


def test_command__check(bench: Bench) -> None:
    bench.figures = figures(deposit=70_000)
    assert bench("--snapshot").exit_code == 0
    result = bench("--check")
    assert result.exit_code == 0
    assert "within 0.5% of the snapshot" in plain(result)
    assert not bench.hook_was_measured

    bench.figures = figures(deposit=70_350)
    assert bench("--check").exit_code == 0

    bench.figures = figures(deposit=70_351)
    result = bench("--check")
    assert result.exit_code == 1
    assert "deposit repeat │ 70,000 │ 70,351 │ +0.50%" in plain(result)
    assert "make bench-snapshot" in plain(result)

    bench.figures = figures(deposit=60_000)
    result = bench("--check")
    assert result.exit_code == 0
    assert "-14.29%" in plain(result)
    assert "fell" in plain(result)

    bench.figures = figures(deposit=70_351)
    result = bench("--snapshot")
    assert "70,351" in plain(result), "accepting says what it accepts"
    assert bench("--check").exit_code == 0


def test_command__check_holds_the_bars(bench: Bench) -> None:
    bench.figures = figures(1.01)
    assert bench("--snapshot").exit_code == 0
    result = bench("--check")
    assert result.exit_code == 1
    assert "missed: deposit repeat against the best peer's" in plain(result)


def test_readme__has_the_snapshot_s_figures() -> None:
    """Gas, ratios and mean of the README are what `make bench` last gave."""
    root = Path(__file__).parents[3]
    snapshot = json.loads((root / "bench" / "gas_snapshot.json").read_text())["gas"]
    peers = Peers.load()
    ours = Comparison(peers, {name: snapshot[name] for name in peers.operations})
    text = (root / "README.md").read_text()
    rows = [line.split("|") for line in text.splitlines() if re.match(r"\| .* \| [\d,]+ \|", line)]
    found = [(row[2].strip(), row[4].strip()) for row in rows]
    assert found == [(f"{snapshot[name]:,}", f"{ratio:.3f}") for name, ratio in ours.ratios.items()]
    assert f"Geometric mean of the ratios: {ours.mean:.3f}." in text


def test_command__no_anvil(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise AnvilError("anvil is missing: run `make setup`")

    monkeypatch.setattr(command, "measure", missing)
    result = bench()
    assert result.exit_code == 1
    assert plain(result) == "anvil is missing: run `make setup`"
