"""A real Redis server of a test's own, as a child process on a free loopback port.

    with RedisServer() as server:
        mailbox = open_mailbox(server.url, 1, oracle)

Its data is in a folder of its own; every write is on disk before it is answered, so that `kill`
loses nothing unless the test says so with `forget`.
"""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import pytest
import redis

GUIDE = Path(__file__).parents[1] / "docs" / "keeper.md"
_START_SECONDS = 20


def guide_options() -> list[str]:
    """The settings that the keeper's guide asks for, as `options` of a server."""
    [lines] = re.findall(r"^```\n(maxmemory-policy .*?)^```$", GUIDE.read_text(), re.M | re.S)
    return f"--{lines.strip()}".replace("\n", " --").split()


def need_redis() -> str:
    """The path of `redis-server`; skips the test where there is none, and only there."""
    found = shutil.which("redis-server")
    if found is None:
        pytest.skip("there is no Redis: install the package redis-server")
    return found


class RedisServer:
    """One server, from `start` to `stop` or within a `with` block; started again on the same port.

    `password` is what clients have to say. `certificate` and `key` are PEM files; with them the
    server speaks TLS only. `options` are further options of its command line.
    """

    def __init__(
        self,
        password: str | None = None,
        certificate: Path | None = None,
        key: Path | None = None,
        options: Sequence[str] = (),
    ) -> None:
        self._binary = need_redis()
        self._folder = Path(tempfile.mkdtemp(prefix="redis-"))
        self._password = password
        self._certificate = certificate
        self.port = _free_port()
        ports = ["--port", str(self.port)]
        if certificate is not None:
            ports = ["--port", "0", "--tls-port", str(self.port), "--tls-auth-clients", "no"]
            ports += ["--tls-cert-file", str(certificate), "--tls-key-file", str(key)]
        self._options = [
            *ports,
            *("--bind", "127.0.0.1"),
            *("--save", ""),
            *("--appendonly", "yes"),
            *("--appendfsync", "always"),
            *(("--requirepass", password) if password is not None else ()),
            *options,
        ]
        self._process: subprocess.Popen[bytes] | None = None
        # also when the object is forgotten or the interpreter ends
        self._release = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)

    @property
    def url(self) -> str:
        """What a client needs; without the password."""
        return f"{'redis' if self._certificate is None else 'rediss'}://127.0.0.1:{self.port}/0"

    def client(self) -> redis.Redis:
        """A client that may do anything, for tests to look and meddle."""
        tls = {} if self._certificate is None else {"ssl_ca_certs": str(self._certificate)}
        return redis.Redis.from_url(self.url, password=self._password, **tls)

    def start(self) -> RedisServer:
        """Start with the data of the last run and wait until it answers."""
        data = self._folder / "data"
        data.mkdir(exist_ok=True)
        log = self._folder / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [self._binary, "--dir", str(data), *self._options],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self._process = process
        self._kill = weakref.finalize(self, _end, process)
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if process.poll() is not None or time.monotonic() > deadline:
                said = log.read_text(errors="replace").strip().splitlines()[-3:]
                self.kill()
                raise RuntimeError(f"redis-server does not start: {said}")
            time.sleep(0.01)
        return self

    def kill(self) -> None:
        """End this process, and no other, as a power cut would."""
        if self._process is not None:
            self._kill()
        self._process = None

    def forget(self) -> None:
        """Throw the data away; only while the server is down."""
        assert self._process is None
        shutil.rmtree(self._folder / "data")

    def freeze(self) -> None:
        """Have it accept connections and never answer, until `thaw`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        self.kill()
        self._release()

    def __enter__(self) -> RedisServer:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _answers(self) -> bool:
        client = self.client()
        try:
            return bool(client.ping())
        except redis.ConnectionError:
            return False
        finally:
            client.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
