"""Rules that hold for the repository as a whole."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from tools.check_sizes import BLUEPRINTS, deployable_contracts, measure

ROOT = Path(__file__).parents[2]
PYTHON_LOCKS = ("requirements.lock", "requirements-node.lock")
VYPER_SOURCES = sorted(
    path.relative_to(ROOT)
    for folder in ("contracts", "interfaces", "tests/contracts")
    for pattern in ("*.vy", "*.vyi")
    for path in (ROOT / folder).rglob(pattern)
)


def committed_files() -> list[Path]:
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    return [ROOT / name for name in names.split("\0") if name]


# -- code size --


def test_deployable_contracts__include_the_pools_and_no_module() -> None:
    paths = deployable_contracts()
    assert set(BLUEPRINTS) <= {path.stem for path in paths}
    assert not [path for path in paths if "modules" in path.parts]


@pytest.mark.parametrize("path", deployable_contracts(), ids=lambda path: path.stem)
def test_code_size__under_the_limit(path: Path) -> None:
    size = measure(path)
    assert size.deployed > 0
    assert size.free >= 0, size


# -- lock files --


@pytest.mark.parametrize("name", [*PYTHON_LOCKS, "package-lock.json"])
def test_lock_file__names_no_address(name: str) -> None:
    text = (ROOT / name).read_text()
    assert "://" not in text
    assert not re.search(r"index-url|find-links|trusted-host|\"resolved\"", text)


@pytest.mark.parametrize("name", PYTHON_LOCKS)
def test_python_lock__pins_every_package_with_a_hash(name: str) -> None:
    lines = [
        line
        for line in (ROOT / name).read_text().splitlines()
        if line and not line.lstrip().startswith("#")
    ]
    packages = [index for index, line in enumerate(lines) if not line.startswith(" ")]
    assert packages
    for index in packages:
        assert re.match(r"[a-z0-9.-]+==\S+", lines[index]), lines[index]
        assert lines[index + 1].strip().startswith("--hash=sha256:"), lines[index]


def test_python_lock__covers_what_the_package_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = set(re.findall(r"^([a-z0-9.-]+)==", (ROOT / "requirements.lock").read_text(), re.M))
    needed = {re.split(r"[<>=!~\[; ]", entry)[0] for entry in project["dependencies"]}
    assert needed <= locked


def test_npm_lock__pins_every_package_with_a_hash() -> None:
    packages = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    installed = {name: entry for name, entry in packages.items() if name}
    assert installed
    assert not [name for name, entry in installed.items() if "integrity" not in entry]


def test_package_json__pins_exact_versions() -> None:
    package = json.loads((ROOT / "package.json").read_text())
    versions = {**package["devDependencies"], **package["optionalDependencies"]}
    assert not [name for name, version in versions.items() if not re.match(r"\d", version)]


# -- licences and compiler --


@pytest.mark.parametrize("path", VYPER_SOURCES, ids=str)
def test_vyper_source__states_licence_and_compiler(path: Path) -> None:
    text = (ROOT / path).read_text()
    licences = re.findall(r"(?:@license|SPDX-License-Identifier:)\s+(\S+)", text)
    assert licences == ["AGPL-3.0-only"]
    assert text.startswith("# pragma version 0.4.3\n")


def test_python_source__states_no_other_licence() -> None:
    stated = {
        path.relative_to(ROOT): set(re.findall(r"^# SPDX-License-Identifier:\s+(\S+)", text, re.M))
        for path in committed_files()
        if path.suffix == ".py" and path.is_file() and (text := path.read_text())
    }
    assert not [path for path, licences in stated.items() if licences - {"Apache-2.0"}]


@pytest.mark.parametrize(
    ("path", "heading"),
    [
        ("LICENSE", "Apache License"),
        ("contracts/LICENSE", "GNU AFFERO GENERAL PUBLIC LICENSE"),
        ("interfaces/LICENSE", "GNU AFFERO GENERAL PUBLIC LICENSE"),
    ],
)
def test_licence_file__is_the_full_text(path: str, heading: str) -> None:
    text = (ROOT / path).read_text()
    assert text.lstrip().startswith(heading)
    assert "END OF TERMS AND CONDITIONS" in text


# -- working tree --


def test_committed_files__have_no_absolute_path_of_a_machine() -> None:
    home = re.compile(rb"(?<![\w./])/(?:home|root|Users)/\w+")
    assert not [
        path.relative_to(ROOT)
        for path in committed_files()
        if path.is_file() and path != Path(__file__) and home.search(path.read_bytes())
    ]
