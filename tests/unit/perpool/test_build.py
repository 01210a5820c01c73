"""The compiler front end: cache, patches, blueprints, npm artifacts."""

import json
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from perpool.build import (
    BLUEPRINT_PREFIX,
    Artifact,
    BuildError,
    Project,
    blueprint_initcode,
    compile_contract,
    compile_patched,
    load_npm_artifact,
    project,
)
from perpool.evm import Evm, reverts

FACTORY = "@uniswap/v3-core/artifacts/contracts/UniswapV3Factory.sol/UniswapV3Factory.json"
MODULE = """
# pragma version 0.4.3
STEP: constant(uint256) = 1

@internal
@view
def _step() -> uint256:
    return STEP
"""
INTERFACE = """
@external
@view
def step() -> uint256: ...
"""
CONTRACT = """
# pragma version 0.4.3
from contracts.modules import steps
from interfaces import ISteps

implements: ISteps

@external
@view
def step() -> uint256:
    return steps._step()
"""


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    write(tmp_path / "contracts/Stepper.vy", CONTRACT)
    write(tmp_path / "contracts/modules/steps.vy", MODULE)
    write(tmp_path / "interfaces/ISteps.vyi", INTERFACE)
    return tmp_path


def step_of(evm: Evm, artifact: Artifact) -> int:
    return int(evm.deploy(artifact).step())


# -- finding --


def test_compile_contract__by_name_and_by_path(tree: Path) -> None:
    stepper = Project(tree)

    by_name = stepper.compile_contract("Stepper")
    assert stepper.compile_contract("contracts/Stepper.vy") is by_name
    assert (by_name.name, by_name.path) == ("Stepper", "contracts/Stepper.vy")
    assert [entry["name"] for entry in by_name.abi] == ["step"]
    assert by_name.method_identifiers == {"step()": "0xe25fe175"}
    assert by_name.runtime in by_name.initcode


@pytest.mark.parametrize("contract", ["Missing", "contracts/Missing.vy"])
def test_compile_contract__missing(tree: Path, contract: str) -> None:
    with pytest.raises(BuildError, match="there is no contract"):
        Project(tree).compile_contract(contract)


def test_compile_contract__ambiguous_name(tree: Path) -> None:
    write(tree / "tests/contracts/Stepper.vy", CONTRACT)

    with pytest.raises(BuildError, match="ambiguous, give a path"):
        Project(tree).compile_contract("Stepper")


def test_compile_contract__says_where_it_does_not_compile(tree: Path) -> None:
    write(tree / "contracts/Stepper.vy", CONTRACT.replace("steps._step()", "nowhere"))

    with pytest.raises(BuildError, match=r"contracts/Stepper.vy does not compile.*nowhere"):
        Project(tree).compile_contract("Stepper")


# -- cache --


def test_cache__serves_another_process(tree: Path) -> None:
    first, second = Project(tree), Project(tree)

    built = first.compile_contract("Stepper")
    cached = second.compile_contract("Stepper")
    assert (first.compilations, second.compilations) == (1, 0)
    assert cached.to_json() == built.to_json()


def test_cache__module_edit_compiles_again(tree: Path, evm: Evm) -> None:
    same, other = Project(tree), Project(tree)
    assert step_of(evm, same.compile_contract("Stepper")) == 1

    write(tree / "contracts/modules/steps.vy", MODULE.replace("= 1", "= 2"))
    assert step_of(evm, other.compile_contract("Stepper")) == 2
    assert step_of(evm, same.compile_contract("Stepper")) == 2
    assert other.compilations == 1


def test_cache__edit_that_keeps_size_and_time_compiles_again(tree: Path, evm: Evm) -> None:
    module = tree / "contracts/modules/steps.vy"
    before = module.stat()
    assert step_of(evm, Project(tree).compile_contract("Stepper")) == 1

    write(module, MODULE.replace("= 1", "= 7"))
    os.utime(module, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert step_of(evm, Project(tree).compile_contract("Stepper")) == 7


def test_cache__interface_edit_compiles_again(tree: Path) -> None:
    Project(tree).compile_contract("Stepper")

    write(tree / "interfaces/ISteps.vyi", INTERFACE.replace("step()", "strides()"))
    with pytest.raises(BuildError, match="does not compile"):
        Project(tree).compile_contract("Stepper")


def test_cache__new_file_that_shadows_an_import_compiles_again(tree: Path, evm: Evm) -> None:
    assert step_of(evm, Project(tree).compile_contract("Stepper")) == 1

    # a path relative to the importing contract comes before the repository root
    write(tree / "contracts/contracts/modules/steps.vy", MODULE.replace("= 1", "= 3"))
    assert step_of(evm, Project(tree).compile_contract("Stepper")) == 3


def test_cache__unrelated_edit_does_not_compile(tree: Path) -> None:
    Project(tree).compile_contract("Stepper")

    write(tree / "contracts/modules/other.vy", MODULE)
    again = Project(tree)
    again.compile_contract("Stepper")
    assert again.compilations == 0


def test_cache__damaged_entry_compiles_again(tree: Path) -> None:
    Project(tree).compile_contract("Stepper")
    (entry,) = (tree / "build/cache").glob("Stepper-*.json")
    entry.write_text(entry.read_text()[:100])

    again = Project(tree)
    again.compile_contract("Stepper")
    assert again.compilations == 1


def _compile_and_count(tree: Path, start: float) -> int:
    worker = Project(tree)
    time.sleep(max(0, start - time.time()))
    worker.compile_contract("Stepper")
    return worker.compilations


def test_cache__processes_at_once_compile_once(tree: Path) -> None:
    start = time.time() + 0.5
    with multiprocessing.get_context("fork").Pool(3) as pool:
        counts = pool.starmap(_compile_and_count, [(tree, start)] * 3)

    assert sum(counts) == 1
    (entry,) = (tree / "build/cache").glob("*.json")
    assert json.loads(entry.read_text())["artifact"]["name"] == "Stepper"


# -- patches --


def test_compile_patched__imported_module(tree: Path, evm: Evm) -> None:
    stepper = Project(tree)
    weak = stepper.compile_patched(
        "Stepper", {"contracts/modules/steps.vy": [("return STEP", "return STEP + 41")]}
    )

    assert step_of(evm, weak) == 42
    assert weak.patched
    assert step_of(evm, stepper.compile_contract("Stepper")) == 1


def test_compile_patched__contract_itself(tree: Path, evm: Evm) -> None:
    patch = {"contracts/Stepper.vy": [("steps._step()", "5 * steps._step()"), ("5 *", "6 *")]}

    assert step_of(evm, Project(tree).compile_patched("Stepper", patch)) == 6


def test_compile_patched__source_edit_compiles_again(tree: Path, evm: Evm) -> None:
    patch = {"contracts/modules/steps.vy": [("return STEP", "return STEP + 1")]}
    assert step_of(evm, Project(tree).compile_patched("Stepper", patch)) == 2

    write(tree / "contracts/modules/steps.vy", MODULE.replace("= 1", "= 10"))
    assert step_of(evm, Project(tree).compile_patched("Stepper", patch)) == 11


def test_compile_patched__text_that_does_not_occur(tree: Path) -> None:
    stepper = Project(tree)
    patch = {"contracts/modules/steps.vy": [("return STEP", "return 1")]}
    stepper.compile_patched("Stepper", patch)

    # also where a cached copy of the patched contract exists
    write(tree / "contracts/modules/steps.vy", MODULE.replace("return STEP", "return 1"))
    with pytest.raises(BuildError, match="does not contain the text to patch: 'return STEP'"):
        stepper.compile_patched("Stepper", patch)


def test_compile_patched__file_that_is_not_imported(tree: Path) -> None:
    write(tree / "contracts/modules/other.vy", MODULE)

    with pytest.raises(BuildError, match="does not import the file to patch"):
        Project(tree).compile_patched("Stepper", {"contracts/modules/other.vy": [("1", "2")]})


def test_compile_patched__file_that_does_not_exist(tree: Path) -> None:
    with pytest.raises(BuildError, match="no source file"):
        Project(tree).compile_patched("Stepper", {"contracts/gone.vy": [("1", "2")]})


def test_compile_patched__package_source(evm: Evm) -> None:
    source = """
# pragma version 0.4.3
from snekmate.utils import math

@external
@view
def step() -> uint256:
    return math._ceil_div(1, 3)
"""
    packages = Project(project().root)
    assert step_of(evm, packages.compile_source(source, "CeilDiv")) == 1


# -- sources in memory --


def test_compile_source__imports_from_the_tree(tree: Path, evm: Evm) -> None:
    text = CONTRACT.replace("steps._step()", "steps._step() + 99")
    artifact = Project(tree).compile_source(text, "Memory")

    assert step_of(evm, artifact) == 100
    assert artifact.name == "Memory"


def test_compile_source__uses_the_prague_instruction_set() -> None:
    source = "# pragma version 0.4.3\n@external\ndef f(a: Bytes[96]) -> Bytes[96]:\n    return a"
    assert b"\x5e" in project().compile_source(source).runtime  # MCOPY, since Cancun


def test_compile_source__keeps_the_pragma_of_the_file() -> None:
    body = "\n@external\ndef f(a: uint256) -> uint256:\n    return a * a + a * a * a"
    gas = project().compile_source(f"# pragma version 0.4.3{body}")
    size = project().compile_source(f"# pragma version 0.4.3\n# pragma optimize none{body}")
    assert len(size.runtime) > len(gas.runtime)


# -- source maps --


def test_source_map__names_modules_and_constructors() -> None:
    probe = compile_contract("Probe")
    source = (project().root / probe.path).read_text().splitlines()
    module = (project().root / "tests/contracts/modules/counter.vy").read_text().splitlines()

    def text(line: tuple[str, int]) -> str:
        lines = source if line[0] == probe.path else module
        return lines[line[1] - 1].strip()

    runtime = {text(line) for line in probe.runtime_map.values()}
    assert 'raise "over the limit"' in runtime
    assert "return a + b + c" in runtime
    constructor = {text(line) for line in probe.initcode_map.values()}
    assert 'assert step > 0, "zero step"' in constructor
    assert "self._step = step" in constructor
    assert "return a + b + c" not in constructor


def test_source_map__survives_the_cache() -> None:
    probe = compile_contract("Probe")
    copy = Artifact.from_json(json.loads(json.dumps(probe.to_json())))
    assert copy.runtime_map == probe.runtime_map
    assert copy.initcode_map == probe.initcode_map


# -- blueprints --


IMMUTABLES = """
# pragma version 0.4.3
from contracts.modules import limits

initializes: limits

OWNER: immutable(address)

@deploy
def __init__():
    limits.__init__()
    OWNER = msg.sender

@external
@view
def owner() -> (address, uint256):
    return OWNER, limits.LIMITS[1]
"""
LIMITS = """
# pragma version 0.4.3
LIMITS: immutable(uint256[2])

@deploy
def __init__():
    LIMITS = [1, 2]
"""


def test_deployed_size__is_of_the_code_on_a_chain(tree: Path, evm: Evm) -> None:
    """With the immutables behind it: one of the contract, two words of a module."""
    write(tree / "contracts/modules/limits.vy", LIMITS)
    artifact = Project(tree).compile_source(IMMUTABLES, "Owned")

    assert len(evm.code(evm.deploy(artifact))) == artifact.deployed_size
    assert artifact.deployed_size == len(artifact.runtime) + 3 * 32


def test_blueprint_initcode__deploys_prefixed_initcode(evm: Evm) -> None:
    artifact = compile_contract("TestFeed")

    address = evm.deploy_blueprint(artifact)
    assert evm.code(address) == BLUEPRINT_PREFIX + artifact.initcode
    assert len(evm.code(address)) == artifact.blueprint_size


def test_blueprint_initcode__over_the_size_limit() -> None:
    limit = 24_576 - 3
    fitting = Artifact("Large", "Large.vy", [], bytes(limit), b"")
    assert fitting.blueprint_size == 24_576
    assert blueprint_initcode(fitting).endswith(bytes(limit))

    large = Artifact("Large", "Large.vy", [], bytes(limit + 1), b"")
    with pytest.raises(BuildError, match="24577 bytes"):
        blueprint_initcode(large)


# -- npm --


def test_load_npm_artifact__hardhat(evm: Evm) -> None:
    factory = evm.deploy(load_npm_artifact(FACTORY), sender=evm.account("owner"))
    assert factory.owner() == evm.account("owner").address
    assert factory.feeAmountTickSpacing(3000) == 60


def test_load_npm_artifact__solc(evm: Evm) -> None:
    factory = evm.deploy(
        load_npm_artifact("@uniswap/v2-core/build/UniswapV2Factory.json"), evm.account("owner")
    )
    assert factory.feeToSetter() == evm.account("owner").address


def test_load_npm_artifact__missing() -> None:
    with pytest.raises(BuildError, match="run `make setup`"):
        load_npm_artifact("@uniswap/v9-core/artifacts/Missing.json")


def test_load_npm_artifact__interface() -> None:
    with pytest.raises(BuildError, match="has no bytecode"):
        load_npm_artifact("@uniswap/v2-core/build/IUniswapV2Factory.json")


def test_load_npm_artifact__unlinked(tmp_path: Path) -> None:
    write(tmp_path / "node_modules/Linked.json", '{"abi": [], "bytecode": "0x60__$ab$__"}')

    with pytest.raises(BuildError, match="unlinked"):
        Project(tmp_path).load_npm_artifact("Linked.json")


def test_patched_contract__reaches_the_test_that_it_weakens(evm: Evm) -> None:
    weak = compile_patched(
        "Probe",
        {
            "tests/contracts/modules/counter.vy": [
                ('        raise "over the limit"\n', "        pass\n")
            ]
        },
    )

    with reverts("over the limit"):
        evm.deploy("Probe", 5).increment(1)
    evm.deploy(weak, 5).increment(1)
