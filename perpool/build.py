"""Compile the Vyper contracts of this repository and load third-party artifacts from npm.

One call, `compile_contract("ReversePool")`, gives an `Artifact`: ABI, init code, runtime code and
the source maps that the coverage tool needs. Results are cached on disk under ``build/cache/``. A
cache entry records the content hash of every file the compiler read *and* the absence of every file
it looked for in vain, so that editing a module or an interface, or adding a file that shadows an
import, compiles again. Several processes may build at once: an entry is written under a lock and
moved into place in one step.

Sources: ERC-5202 (blueprints), EIP-170 and EIP-3860 (code sizes).
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import vyper
from vyper.compiler import outputs_from_compiler_data
from vyper.compiler.input_bundle import (
    FileInput,
    FilesystemInputBundle,
)
from vyper.compiler.phases import CompilerData
from vyper.compiler.settings import Settings, anchor_settings
from vyper.exceptions import VyperException
from vyper.ir.compile_ir import assembly_to_evm

EVM_VERSION = "prague"
CODE_SIZE_LIMIT = 24_576
"""Largest runtime code in bytes (EIP-170)."""
INITCODE_SIZE_LIMIT = 2 * CODE_SIZE_LIMIT
"""Largest init code in bytes (EIP-3860)."""
BLUEPRINT_PREFIX = bytes.fromhex("fe7100")
"""Preamble of an ERC-5202 blueprint, version 0, without data section."""

Abi = list[dict[str, Any]]
LineMap = dict[int, tuple[str, int]]
"""Program counter -> (source file, line)."""
Patches = Mapping[str, Sequence[tuple[str, str]]]
"""Source file -> exact replacements (old text, new text)."""

_CACHE_FORMAT = 1
_SOURCE_ROOTS = ("contracts", "tests/contracts")


class BuildError(Exception):
    """A contract or artifact is missing or does not compile; the message says what to do."""


def _end(layout: Mapping[str, Any]) -> int:
    """Where the last immutable of a code layout ends, those of modules included."""
    if isinstance(layout.get("offset"), int):
        return int(layout["offset"]) + int(layout["length"])
    return max(map(_end, layout.values()), default=0)


@dataclass(frozen=True, eq=False)
class Artifact:
    """A compiled contract.

    `path` is relative to the repository root for its own sources. `initcode_map` and `runtime_map`
    give the source line of each instruction that has one; both are empty for npm artifacts.
    `patched` marks a weakened copy, whose line numbers may differ from the file on disk.
    """

    name: str
    path: str
    abi: Abi
    initcode: bytes
    runtime: bytes
    method_identifiers: dict[str, str] = field(default_factory=dict)
    storage_layout: dict[str, Any] = field(default_factory=dict)
    initcode_map: LineMap = field(default_factory=dict)
    runtime_map: LineMap = field(default_factory=dict)
    patched: bool = False

    @cached_property
    def constructor(self) -> dict[str, Any] | None:
        """ABI entry of the constructor, if the contract has one."""
        return next((entry for entry in self.abi if entry["type"] == "constructor"), None)

    @property
    def deployed_size(self) -> int:
        """Size in bytes of the code on a chain: `runtime`, and the immutables behind it."""
        return len(self.runtime) + _end(self.storage_layout.get("code_layout", {}))

    @property
    def blueprint_size(self) -> int:
        """Size in bytes of this contract's blueprint, which EIP-170 limits like any code."""
        return len(self.initcode) + len(BLUEPRINT_PREFIX)

    def to_json(self) -> dict[str, Any]:
        """A JSON-compatible copy; `from_json` reads it back."""
        data = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        data["initcode"] = self.initcode.hex()
        data["runtime"] = self.runtime.hex()
        files = sorted(
            {file for file, _ in (*self.initcode_map.values(), *self.runtime_map.values())}
        )
        index = {file: position for position, file in enumerate(files)}
        data["files"] = files
        for key in ("initcode_map", "runtime_map"):
            line_map: LineMap = data[key]
            data[key] = [[pc, index[file], line] for pc, (file, line) in line_map.items()]
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Artifact:
        """Inverse of `to_json`."""
        fields = dict(data)
        files = fields.pop("files")
        fields["initcode"] = bytes.fromhex(fields["initcode"])
        fields["runtime"] = bytes.fromhex(fields["runtime"])
        for key in ("initcode_map", "runtime_map"):
            fields[key] = {pc: (files[index], line) for pc, index, line in fields[key]}
        return cls(**fields)


def blueprint_initcode(artifact: Artifact) -> bytes:
    """Init code that deploys `artifact` as an ERC-5202 blueprint: 0xFE7100 + its init code."""
    blueprint = BLUEPRINT_PREFIX + artifact.initcode
    if len(blueprint) > CODE_SIZE_LIMIT:
        raise BuildError(
            f"the blueprint of {artifact.name} has {len(blueprint)} bytes, over the "
            f"{CODE_SIZE_LIMIT} of EIP-170; make its init code smaller"
        )
    # PUSH2 size, RETURNDATASIZE, DUP2, PUSH1 10, RETURNDATASIZE, CODECOPY, RETURN
    return b"\x61" + len(blueprint).to_bytes(2, "big") + bytes.fromhex("3d81600a3d39f3") + blueprint


def instruction_starts(code: bytes) -> set[int]:
    """Program counters of instructions, as opposed to their operands."""
    starts = set()
    pc = 0
    while pc < len(code):
        starts.add(pc)
        # PUSH1 to PUSH32 are followed by 1 to 32 bytes
        pc += code[pc] - 0x5E if 0x60 <= code[pc] <= 0x7F else 1
    return starts


def _digest(text: str | bytes) -> str:
    data = text.encode() if isinstance(text, str) else text
    return hashlib.sha256(data).hexdigest()


def _patched(text: str, edits: Sequence[tuple[str, str]], file: str | Path) -> str:
    """A source text with replacements made in turn, each of which must find its text."""
    for old, new in edits:
        if old not in text:
            raise BuildError(f"{file} does not contain the text to patch: {old!r}")
        text = text.replace(old, new)
    return text


class _Sources(FilesystemInputBundle):  # type: ignore[misc]
    """The compiler's file access, recording what was read and what was looked for in vain."""

    def __init__(self, search_paths: list[Path], patches: Mapping[Path, Sequence[tuple[str, str]]]):
        super().__init__(search_paths)
        self.patches = patches
        self.found: dict[Path, str] = {}
        self.absent: set[Path] = set()

    def _normalize_path(self, path: Path) -> Path:
        try:
            return super()._normalize_path(path)  # type: ignore[no-any-return]
        except Exception:
            self.absent.add(path)
            raise

    def _load_from_path(self, resolved_path: Path, original_path: Path) -> Any:
        try:
            source = super()._load_from_path(resolved_path, original_path)
        except Exception:
            self.absent.add(resolved_path)
            raise
        self.found[resolved_path] = _digest(source.contents)
        edits = self.patches.get(resolved_path, ())
        text = _patched(source.contents, edits, original_path)
        return dataclasses.replace(source, contents=text)


@dataclass
class _Recipe:
    """What to compile: a file, or text under a name, with patches."""

    name: str
    path: Path
    text: str | None = None
    patches: dict[Path, list[tuple[str, str]]] = field(default_factory=dict)

    def key(self) -> str:
        """Names the cache entry; contents of files on disk are checked by the entry itself."""
        parts = [_CACHE_FORMAT, vyper.__version__, EVM_VERSION, str(self.path), self.text]
        patches = [[str(path), edits] for path, edits in sorted(self.patches.items())]
        return _digest(json.dumps([parts, patches]))[:20]


@dataclass
class _Memo:
    artifact: Artifact
    stamp: tuple[tuple[int, int] | None, ...]
    watched: tuple[Path, ...]


def _stamp(paths: Sequence[Path]) -> tuple[tuple[int, int] | None, ...]:
    """Cheap fingerprint: change time and size of each path, None where there is no such file."""
    stamps: list[tuple[int, int] | None] = []
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            stamps.append(None)
        else:
            stamps.append((status.st_mtime_ns, status.st_size))
    return tuple(stamps)


class Project:
    """A source tree: contracts below `root`, npm packages in its node_modules, one cache.

    `cache` defaults to build/cache below the root, `node_modules` to the directory of that name.
    """

    def __init__(
        self, root: Path, *, cache: Path | None = None, node_modules: Path | None = None
    ) -> None:
        self.root = root.resolve()
        self.cache = cache or self.root / "build" / "cache"
        self.node_modules = node_modules or self.root / "node_modules"
        self.compilations = 0
        """How often the compiler ran, as opposed to the cache answering."""
        self._memo: dict[str, _Memo] = {}

    @property
    def artifacts(self) -> list[Artifact]:
        """All artifacts that this process has compiled or loaded, in their newest state."""
        return [memo.artifact for memo in self._memo.values()]

    # -- finding sources --

    def find(self, contract: str | Path) -> Path:
        """The source file of a contract, given its name or its path relative to the root."""
        text = str(contract)
        if text.endswith(".vy") or "/" in text:
            path = self.root / text
            if path.is_file():
                return path.resolve()
            raise BuildError(f"there is no contract file {path}")
        matches = [
            path
            for folder in _SOURCE_ROOTS
            for path in sorted((self.root / folder).rglob(f"{text}.vy"))
        ]
        if not matches:
            places = " or ".join(f"{folder}/" for folder in _SOURCE_ROOTS)
            raise BuildError(f"there is no contract {text}.vy below {places} of {self.root}")
        if len(matches) > 1:
            names = ", ".join(self._relative(match) for match in matches)
            raise BuildError(f"the name {text} is ambiguous, give a path: {names}")
        return matches[0].resolve()

    def _relative(self, path: str | Path) -> str:
        try:
            return str(Path(path).relative_to(self.root))
        except ValueError:
            return str(path)

    # -- compiling --

    def compile_contract(self, contract: str | Path) -> Artifact:
        """Compile a contract given by name ("ReversePool") or path ("contracts/ReversePool.vy").

        Raises BuildError if it is missing or does not compile.
        """
        path = self.find(contract)
        return self._build(_Recipe(path.stem, path))

    def compile_source(self, text: str, name: str = "Source") -> Artifact:
        """Compile source text as if it were a file `name`.vy in the repository root."""
        return self._build(_Recipe(name, self.root / f"{name}.vy", text=text))

    def compile_patched(self, contract: str | Path, patches: Patches) -> Artifact:
        """Compile a weakened copy: `patches` maps source files to exact replacements.

        A file may be the contract itself or anything it imports, as a path relative to the root
        or to site-packages. Every occurrence of an old text is replaced.
        Raises BuildError if a text does not occur or a file is not part of the contract.
        """
        path = self.find(contract)
        recipe = _Recipe(path.stem, path)
        for file, edits in patches.items():
            candidates = [folder / file for folder in reversed(self._search_paths())]
            source = next((found for found in candidates if found.is_file()), None)
            if source is None:
                raise BuildError(f"there is no source file {file} to patch")
            _patched(source.read_text(), edits, file)
            recipe.patches[source.resolve()] = list(edits)
        return self._build(recipe)

    def _search_paths(self) -> list[Path]:
        """Where imports are looked up, lowest precedence first."""
        paths = sysconfig.get_paths()
        packages = dict.fromkeys((paths["platlib"], paths["purelib"]))
        return [*(Path(package) for package in packages), self.root]

    def _build(self, recipe: _Recipe) -> Artifact:
        key = recipe.key()
        memo = self._memo.get(key)
        if memo is not None and memo.stamp == _stamp(memo.watched):
            return memo.artifact
        self.cache.mkdir(parents=True, exist_ok=True)
        entry = self.cache / f"{recipe.name}-{key}.json"
        artifact = self._load(entry, key)
        if artifact is None:
            with _locked(entry.with_suffix(".lock")):
                # another process may have built it while this one waited
                artifact = self._load(entry, key)
                if artifact is None:
                    artifact, sources = self._compile(recipe)
                    self._store(entry, key, artifact, sources)
        return artifact

    def _load(self, entry: Path, key: str) -> Artifact | None:
        """The artifact of a cache entry, or None if there is none or any source has changed."""
        try:
            data = json.loads(entry.read_text())
        except (OSError, ValueError):
            return None
        found = {Path(path): digest for path, digest in data["found"].items()}
        absent = [Path(path) for path in data["absent"]]
        # taken before the contents are read: a later edit makes the stamp differ
        watched = (*found, *absent)
        stamp = _stamp(watched)
        if any(path.is_file() for path in absent):
            return None
        for path, digest in found.items():
            try:
                if _digest(path.read_text()) != digest:
                    return None
            except OSError:
                return None
        artifact = Artifact.from_json(data["artifact"])
        self._memo[key] = _Memo(artifact, stamp, watched)
        return artifact

    def _store(self, entry: Path, key: str, artifact: Artifact, sources: _Sources) -> None:
        data = {
            "found": {str(path): digest for path, digest in sources.found.items()},
            "absent": sorted(str(path) for path in sources.absent),
            "artifact": artifact.to_json(),
        }
        draft = entry.with_suffix(f".{os.getpid()}.tmp")
        draft.write_text(json.dumps(data))
        draft.replace(entry)
        watched = (*sources.found, *sources.absent)
        self._memo[key] = _Memo(artifact, _stamp(watched), watched)

    def _compile(self, recipe: _Recipe) -> tuple[Artifact, _Sources]:
        self.compilations += 1
        sources = _Sources(self._search_paths(), recipe.patches)
        try:
            if recipe.text is None:
                file = sources.load_file(recipe.path)
            else:
                file = FileInput(-1, Path(recipe.path.name), recipe.path, recipe.text)
            data = CompilerData(file, sources, settings=Settings(evm_version=EVM_VERSION))
            formats = ("abi", "bytecode", "bytecode_runtime", "method_identifiers", "layout")
            output = outputs_from_compiler_data(data, formats)
            with anchor_settings(data.settings):
                initcode_map, runtime_map = self._line_maps(data)
        except VyperException as error:
            raise BuildError(f"{self._relative(recipe.path)} does not compile: {error}") from None
        unused = [path for path in recipe.patches if path not in sources.found]
        if unused:
            names = ", ".join(self._relative(path) for path in unused)
            raise BuildError(f"{recipe.name} does not import the file to patch: {names}")
        artifact = Artifact(
            name=recipe.name,
            path=self._relative(recipe.path),
            abi=output["abi"],
            initcode=bytes.fromhex(output["bytecode"][2:]),
            runtime=bytes.fromhex(output["bytecode_runtime"][2:]),
            method_identifiers=output["method_identifiers"],
            storage_layout=json.loads(json.dumps(output["layout"])),
            initcode_map=initcode_map,
            runtime_map=runtime_map,
            patched=bool(recipe.patches),
        )
        return artifact, sources

    def _line_maps(self, data: Any) -> tuple[LineMap, LineMap]:
        """Source lines of init code (its embedded copy of the runtime left out) and runtime."""
        runtime_code, runtime_pcs = assembly_to_evm(data.assembly_runtime)
        init_code, init_pcs = assembly_to_evm(data.assembly)
        runtime_start = init_code.find(runtime_code)
        embedded = range(runtime_start, runtime_start + len(runtime_code))
        constructor_pcs = instruction_starts(init_code).difference(embedded)
        return (
            self._lines(init_pcs["pc_raw_ast_map"], constructor_pcs),
            self._lines(runtime_pcs["pc_raw_ast_map"], instruction_starts(runtime_code)),
        )

    def _lines(self, nodes: Mapping[int, Any], pcs: set[int]) -> LineMap:
        lines: LineMap = {}
        for pc, node in nodes.items():
            module = node.module_node
            # the compiler's map also names operands, and whole modules
            if pc in pcs and module is not None and node is not module:
                lines[pc] = (self._relative(module.resolved_path), node.lineno)
        return lines

    # -- npm --

    def load_npm_artifact(self, path: str) -> Artifact:
        """Load a compiled Solidity contract from node_modules.

        Reads Hardhat artifacts ("@uniswap/v3-core/artifacts/.../UniswapV3Factory.json") and the
        solc-style build files of Uniswap v2. Raises BuildError when the file or the code in it is
        missing, or when libraries would have to be linked.
        """
        file = self.node_modules / path
        memo = self._memo.get(str(file))
        if memo is not None:
            return memo.artifact
        try:
            data = json.loads(file.read_text())
        except OSError as error:
            raise BuildError(f"there is no npm artifact {file}; run `make setup`") from error
        evm = data.get("evm", {})
        code = _code_of(data, "bytecode") or _code_of(evm, "bytecode")
        runtime = _code_of(data, "deployedBytecode") or _code_of(evm, "deployedBytecode")
        if not code:
            raise BuildError(f"{path} has no bytecode: it is an interface or an abstract contract")
        try:
            artifact = Artifact(
                name=file.stem,
                path=path,
                abi=data["abi"],
                initcode=bytes.fromhex(code),
                runtime=bytes.fromhex(runtime),
            )
        except ValueError as error:
            raise BuildError(f"{path} has unlinked libraries, which is not supported") from error
        self._memo[str(file)] = _Memo(artifact, (), ())
        return artifact


def _code_of(data: Mapping[str, Any], key: str) -> str:
    code = data.get(key, "")
    if isinstance(code, dict):
        code = code.get("object", "")
    return str(code).removeprefix("0x")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file, across processes."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


# -- the repository's own project --


def repository_root() -> Path:
    """The directory that holds contracts/: PERPOOL_ROOT, the source tree, or where one stands."""
    named = os.environ.get("PERPOOL_ROOT")
    if named:
        return Path(named)
    tree = Path(__file__).resolve().parent.parent
    return tree if (tree / "contracts").is_dir() else Path.cwd()


@lru_cache(maxsize=1)
def project() -> Project:
    """The project of this repository."""
    return Project(repository_root())


def compile_contract(contract: str | Path) -> Artifact:
    """`Project.compile_contract` of this repository."""
    return project().compile_contract(contract)


def compile_source(text: str, name: str = "Source") -> Artifact:
    """`Project.compile_source` of this repository."""
    return project().compile_source(text, name)


def compile_patched(contract: str | Path, patches: Patches) -> Artifact:
    """`Project.compile_patched` of this repository."""
    return project().compile_patched(contract, patches)


def load_npm_artifact(path: str) -> Artifact:
    """`Project.load_npm_artifact` of this repository."""
    return project().load_npm_artifact(path)
