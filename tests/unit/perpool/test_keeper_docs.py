"""What an operator copies from docs/keeper is right: it loads, and names only what exists."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import types
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import click
import pytest
import yaml
from pydantic import BaseModel

from perpool.cli import cli
from perpool.keeper.metrics import FAILED, Metrics
from perpool.keeper.metrics import PREFIX as METRIC
from perpool.keeper.operation.config import PREFIX, KeeperConfig, load_config

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
FOLDER = DOCS / "keeper"
SAMPLE = FOLDER / "keeper.toml"
UNIT = FOLDER / "perpool-keeper.service"
GUIDE = (DOCS / "keeper.md").read_text()
PROOF = Path(__file__).with_name("keeper_alerts.yml")
LOCAL_CHAIN = 31_337


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in os.environ if each.startswith(PREFIX)]:
        monkeypatch.delenv(name)


# -- the samples --


def section_of(annotation: Any) -> type[BaseModel] | None:
    """The table that a setting is, if it is one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, types.UnionType):
        return next((each for each in map(section_of, get_args(annotation)) if each), None)
    return None


def settings(model: type[BaseModel], place: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """All keys of the configuration, with their sections."""
    for name, field in model.model_fields.items():
        section = section_of(field.annotation)
        if section is None:
            yield (*place, name)
        else:
            yield from settings(section, (*place, name))


def sample_keys(*, uncommented: bool) -> set[tuple[str, ...]]:
    """Keys in the sample by section, those behind a "#" too unless `uncommented`."""
    found: set[tuple[str, ...]] = set()
    section: tuple[str, ...] = ()
    for line in SAMPLE.read_text().splitlines():
        text = line if uncommented else line.removeprefix("# ")
        if header := re.match(r"\[([\w.]+)\]", text):
            section = tuple(header[1].split("."))
            found |= {section[:end] for end in range(1, len(section) + 1)}
        elif key := re.match(r"(\w+) = ", text):
            found.add((*section, key[1]))
    return found


def test_sample__loads_and_has_every_role() -> None:
    config = load_config(SAMPLE)
    assert set(config.accounts) == {"reporter", "submitter", "liquidator", "rebalancer"}
    assert config.http is not None
    assert config.unfit(1) == config.warnings(1) == []


def test_sample__has_every_setting() -> None:
    assert set(settings(KeeperConfig)) - sample_keys(uncommented=False) == set()


OTHER_WAYS = {
    "deployment": "network = ",
    "ether_feed": "ether_price = ",
    "markets": None,
    "min_agreeing": None,
    "url": None,
    "max_rate": None,
    "name": None,
    "receiver": None,
    "state": None,
}
"""Settings behind a "#" that are not the default, and what they take the place of."""
OF_OTHERS = {"data", "https_proxy"}
"""Settings that are of use only beside others that the sample does not have."""


def commented() -> list[tuple[int, str]]:
    """Line and key of every setting behind a "#"."""
    lines = enumerate(SAMPLE.read_text().splitlines())
    found = [(number, re.match(r"# (\w+) = .+", line)) for number, line in lines]
    return [(number, match[1]) for number, match in found if match and match[1] not in OF_OTHERS]


@pytest.mark.parametrize(("number", "key"), commented())
def test_sample__what_is_behind_a_comment_is_the_default_or_another_way(
    number: int, key: str, tmp_path: Path
) -> None:
    rival = OTHER_WAYS.get(key)
    lines = [
        line.removeprefix("# ") if index == number else line
        for index, line in enumerate(SAMPLE.read_text().splitlines())
        if rival is None or not line.startswith(rival)
    ]
    path = tmp_path / "keeper.toml"
    path.write_text("\n".join(lines))
    assert (load_config(path) == load_config(SAMPLE)) == (key not in OTHER_WAYS)


def test_sample__says_where_the_state_is_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    state = re.search(r'^# state = "~/(.*)"', SAMPLE.read_text(), re.M)
    assert state is not None
    monkeypatch.setenv("HOME", "/somewhere")
    assert load_config(SAMPLE).state_folder == Path("/somewhere") / state[1]


def test_local__is_for_a_local_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config(FOLDER / "local.toml")
    assert config.warnings(LOCAL_CHAIN) == config.unfit(LOCAL_CHAIN) == []
    assert config.unfit(1)
    # as the README has it, for recorded history
    monkeypatch.setenv("PERPOOL_KEEPER_REPORTER__SOURCES", "history")
    monkeypatch.setenv("PERPOOL_KEEPER_REPORTER__DATA", "elsewhere")
    config = load_config(FOLDER / "local.toml")
    assert config.warnings(LOCAL_CHAIN) == config.unfit(LOCAL_CHAIN) == []
    assert config.reporter is not None
    assert config.reporter.sources == ["history"]
    assert config.reporter.data == Path("elsewhere")


# -- alerts --


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def metric_names() -> set[str]:
    return {
        family.name + ("_total" if family.type == "counter" else "")
        for family in Metrics().registry.collect()
    }


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_alert__is_complete_and_of_figures_that_exist(alert: dict[str, Any]) -> None:
    named = set(re.findall(rf"{METRIC}\w+", alert["expr"]))
    assert named <= metric_names()
    assert named or alert["expr"].startswith("up{")
    assert alert["labels"]["severity"] in ("page", "ticket")
    assert alert["annotations"]["summary"]
    assert set(alert) <= {"alert", "expr", "for", "labels", "annotations"}


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_alert__labels_in_its_text_survive_the_expression(alert: dict[str, Any]) -> None:
    wanted = set(re.findall(r"\$labels\.(\w+)", alert["annotations"]["summary"]))
    kept = re.search(r"^\s*(?:max|sum) by \(([^)]*)\)", alert["expr"])
    if kept is not None:
        assert wanted <= {each.strip() for each in kept[1].split(",")}
        return
    labels = {"instance", "job"}
    for name in re.findall(rf"{METRIC}\w+", alert["expr"]):
        labels |= labels_of(name)
    assert wanted <= labels


def labels_of(name: str) -> set[str]:
    metrics = Metrics()
    for each in vars(metrics).values():
        if getattr(each, "_name", None) in (name, name.removesuffix("_total")):
            return set(each._labelnames)
    return set()


def test_alerts__each_has_a_page_of_the_runbook() -> None:
    headings = re.findall(r"^### (\w+)$", GUIDE, re.M)
    assert [each["alert"] for each in alerts()] == headings


def test_alerts__outcomes_that_they_count_begin_at_0() -> None:
    [fails] = [each["expr"] for each in alerts() if each["alert"] == "TransactionsFail"]
    outcomes = re.search(r'outcome=~"(.*?)"', fails)
    assert outcomes is not None
    assert sorted(outcomes[1].split("|")) == sorted(FAILED)


def test_alerts__ages_grow_also_when_nobody_looks() -> None:
    used = {name for each in alerts() for name in re.findall(rf"{METRIC}\w+", each["expr"])}
    assert {each for each in used if "_age_" in each} == set()
    for name in [each for each in used if each.endswith("_timestamp_seconds")]:
        assert all(f"time() - {name}" in each["expr"] for each in alerts() if name in each["expr"])


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="there is no promtool: install the package prometheus"
)
@pytest.mark.parametrize(
    "command",
    [("check", "rules", "--lint-fatal", FOLDER / "alerts.yml"), ("test", "rules", PROOF)],
    ids=lambda command: command[0],
)
def test_alerts__do_what_is_shown_of_them(command: tuple[str | Path, ...]) -> None:
    run = subprocess.run(["promtool", *command], check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


@cache
def proofs() -> list[dict[str, Any]]:
    return yaml.safe_load(PROOF.read_text())["tests"]  # type: ignore[no-any-return]


def fires_in(group: dict[str, Any], alert: str) -> bool:
    tests = group.get("alert_rule_test", [])
    return any(each["alertname"] == alert and each.get("exp_alerts") for each in tests)


def is_silent_in(group: dict[str, Any], alert: str) -> bool:
    never = f'count_over_time(ALERTS{{alertname="{alert}",alertstate="firing"}}[1w])'
    tests = group.get("promql_expr_test", [])
    return any(each["expr"] == never and not each.get("exp_samples") for each in tests)


def figures_of(group: dict[str, Any]) -> list[tuple[str, set[str]]]:
    """Names of what a group has samples of, with labels that are not Prometheus' own."""
    series = [each["series"].split("{") for each in group["input_series"]]
    return [
        (name, set(re.findall(r'(\w+)="', labels)) - {"job", "instance"}) for name, labels in series
    ]


@pytest.mark.parametrize("shown", [fires_in, is_silent_in])
@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_alert__is_shown_to_fire_and_to_be_silent(
    alert: dict[str, Any], shown: Callable[[dict[str, Any], str], bool]
) -> None:
    groups = [each for each in proofs() if shown(each, alert["alert"])]
    assert groups
    used = set(re.findall(rf"{METRIC}\w+|^up\b", alert["expr"]))
    for group in groups:
        assert used <= {name for name, _ in figures_of(group)}


@pytest.mark.parametrize("group", proofs(), ids=lambda group: group["name"])
def test_alerts__are_shown_with_figures_as_the_keeper_has_them(group: dict[str, Any]) -> None:
    for name, labels in figures_of(group):
        assert name in metric_names() | {"up"}
        assert labels == labels_of(name)


# -- the guide --


def test_guide__names_every_figure_and_no_other() -> None:
    table = GUIDE.split("## Figures")[1].split("## Runbook")[0]
    named = {
        name
        for row in re.findall(r"^\| (`.*?) \|", table, re.M)
        for name in re.findall(r"`(\w+)`", row)
    }
    assert {METRIC + each for each in named} == metric_names()


def test_guide__links_to_files_that_exist() -> None:
    links = re.findall(r"\]\(([^)#]+)", GUIDE)
    assert links
    assert [each for each in links if not (DOCS / each).exists()] == []


def command_lines() -> list[str]:
    texts = [GUIDE, UNIT.read_text(), SAMPLE.read_text(), (FOLDER / "local.toml").read_text()]
    found = [each for text in texts for each in re.findall(r"perpool keeper [a-z][^`\n#]*", text)]
    return sorted({each.strip().rstrip(".;,") for each in found})


@pytest.mark.parametrize("line", command_lines())
def test_commands__exist_with_their_options(line: str) -> None:
    command: click.Command = cli
    context = click.Context(cli)
    words = shlex.split(line)[1:]
    while isinstance(command, click.Group):
        found = command.get_command(context, words.pop(0))
        assert found is not None, line
        command = found
    known = {option for each in command.params for option in each.opts}
    assert [word for word in words if word.startswith("--") and word not in known] == []


# -- the package --


@pytest.mark.parametrize(
    "package", ["", "chain", "liquidator", "operation", "rebalancer", "transactions"]
)
def test_package__its_map_has_every_module_and_no_other(package: str) -> None:
    folder = ROOT / "perpool" / "keeper" / package
    modules = {each.name for each in folder.glob("*.py")} - {"__init__.py"}
    modules |= {f"{each.parent.name}/" for each in folder.glob("*/__init__.py")}
    text = import_module(f"perpool.keeper.{package}".rstrip(".")).__doc__ or ""
    assert set(re.findall(r"[a-z_]+(?:\.py|/(?= ))", text)) == modules


# -- the unit --


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_unit__systemd_understands_it() -> None:
    run = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(UNIT)],
        check=False,
        capture_output=True,
        text=True,
    )
    # the program is not installed where the unit looks for it
    said = [line for line in run.stderr.splitlines() if "is not executable" not in line]
    assert said == []


def test_unit__sets_what_the_keeper_reads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = UNIT.read_text()
    for name, value in re.findall(r"^Environment=(\w+)=(.*)$", text, re.M):
        monkeypatch.setenv(name, value.replace("%d", "/run/credentials").replace("%S", "/var/lib"))
    config = load_config(SAMPLE)
    assert config.state_folder == Path("/var/lib/perpool")
    assert config.accounts == {
        role: [f"keystore:/run/credentials/{role}.json"]
        for role in ("reporter", "submitter", "liquidator", "rebalancer")
    }
    loaded = re.findall(r"^LoadCredential=([\w.-]+):", text, re.M)
    assert {f"{role}.json" for role in config.accounts} | {"keystore-password"} == set(loaded)
    assert os.environ["PERPOOL_KEYSTORE_PASSWORD_FILE"] == "/run/credentials/keystore-password"
