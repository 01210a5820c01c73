"""A real anvil as a child process: the local chain of tests, benchmark and demo.

    with Anvil(timestamp=1_617_235_200) as anvil:
        chain = Chain.connect(anvil.endpoint)

It listens on an IPC socket of its own and on a free loopback port, so that any number may run side
by side. Gas costs nothing on it unless asked for, and every address may send without a key.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

VERSION = "1.7.1"
"""The anvil of package-lock.json, which gas figures are of."""
HARDFORK = "prague"

_LISTENING = re.compile(r"Listening on [\d.]+:(\d+)")
_START_SECONDS = 30
_STOP_SECONDS = 5


class AnvilError(Exception):
    """anvil is missing or does not start; the message says what to do."""


def find_anvil() -> Path:
    """The anvil of this repository's node_modules or virtual environment, else that on PATH.

    Raises AnvilError where there is none.
    """
    packages = Path(__file__).resolve().parent.parent / "node_modules" / "@foundry-rs"
    candidates = [*sorted(packages.glob("anvil-*/bin/anvil")), Path(sys.prefix, "bin", "anvil")]
    for candidate in candidates:
        if shutil.which(candidate):
            return candidate
    found = shutil.which("anvil")
    if found is None:
        raise AnvilError(
            "anvil is missing: run `make setup`, or install Foundry so that `anvil` is on PATH"
        )
    return Path(found)


class Anvil:
    """One anvil process, from `start` to `stop` or within a `with` block.

    `timestamp` and `block_number` are of the genesis block; `gas_limit` is a block's. A `base_fee`
    (wei) of 0 stays 0. With `auto_impersonate` any address may send unsigned transactions.
    `keep_states` bounds how many past states stay in memory: None for all, which a long replay
    cannot afford. `port` 0 is any free one. `options` are further options of the command line.
    """

    def __init__(
        self,
        *,
        chain_id: int = 31_337,
        timestamp: int | None = None,
        block_number: int | None = None,
        gas_limit: int = 30_000_000,
        base_fee: int = 0,
        accounts: int = 10,
        hardfork: str = HARDFORK,
        auto_impersonate: bool = True,
        keep_states: int | None = None,
        port: int = 0,
        options: Sequence[str] = (),
    ) -> None:
        self.chain_id = chain_id
        self.port = port
        self.http_url = ""
        """Address for HTTP, known once anvil runs."""
        self.ipc_path = ""
        """Path of the IPC socket, twice as fast as HTTP."""
        self._options = [
            *("--chain-id", str(chain_id)),
            *("--hardfork", hardfork),
            *("--gas-limit", str(gas_limit)),
            *("--base-fee", str(base_fee)),
            *("--accounts", str(accounts)),
            *("--order", "fifo"),
            "--disable-min-priority-fee",
        ]
        if timestamp is not None:
            self._options += ["--timestamp", str(timestamp)]
        if block_number is not None:
            self._options += ["--number", str(block_number)]
        if auto_impersonate:
            self._options.append("--auto-impersonate")
        if keep_states is not None:
            self._options += ["--prune-history", str(keep_states)]
        self._options += options
        self._process: subprocess.Popen[bytes] | None = None
        self._release: weakref.finalize[..., Anvil] | None = None

    @property
    def endpoint(self) -> str:
        """What `Chain.connect` takes."""
        if self._process is None:
            raise AnvilError("anvil is not running: call start(), or use it in a `with` block")
        return self.ipc_path

    @property
    def pid(self) -> int | None:
        """Process id, None when it is not running."""
        return None if self._process is None else self._process.pid

    def start(self) -> Anvil:
        """Start and wait until it answers. Raises AnvilError."""
        if self._process is not None:
            return self
        binary = find_anvil()
        # a socket's path has room for about 100 characters only
        folder = Path(tempfile.mkdtemp(prefix="anvil-"))
        log = folder / "log"
        self.ipc_path = str(folder / "ipc")
        command = [str(binary), "--port", str(self.port), "--ipc", self.ipc_path, *self._options]
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
        self._process = process
        self._release = weakref.finalize(self, _end, process, folder)
        deadline = time.monotonic() + _START_SECONDS
        while True:
            listening = _LISTENING.search(log.read_text(errors="replace"))
            if listening and Path(self.ipc_path).exists():
                break
            if process.poll() is not None or time.monotonic() > deadline:
                said = log.read_text(errors="replace").strip().splitlines()
                self.stop()
                raise AnvilError(f"{binary} does not start: {' / '.join(said[-3:]) or 'no output'}")
            time.sleep(0.01)
        self.port = int(listening.group(1))
        self.http_url = f"http://127.0.0.1:{self.port}"
        return self

    def stop(self) -> None:
        """End this process, and no other. Does nothing when it is not running."""
        if self._release is not None:
            self._release()
        self._process = self._release = None

    def __enter__(self) -> Anvil:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<Anvil {self.http_url or 'not running'}, chain {self.chain_id}>"


def _end(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Also runs when the object is forgotten or the interpreter ends."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    with contextlib.suppress(OSError):
        shutil.rmtree(folder)
