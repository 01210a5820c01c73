"""Anvil as a child process: what it is started with, and that only this one is ended."""

import os
import socket
from pathlib import Path

import pytest

from perpool import anvil as anvil_module
from perpool.anvil import VERSION, Anvil, AnvilError, find_anvil
from perpool.chain import Chain


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_options() -> None:
    with Anvil(
        chain_id=11_155_111,
        timestamp=1_617_235_200,
        block_number=1000,
        gas_limit=25_000_000,
        base_fee=7,
    ) as anvil:
        chain = Chain.connect(anvil.endpoint)
        assert chain.client == f"anvil/v{VERSION}"
        assert (chain.chain_id, chain.timestamp, chain.block_number) == (11155111, 1617235200, 1000)
        block = chain.rpc("eth_getBlockByNumber", "latest", False)
        assert int(block["gasLimit"], 16) == 25_000_000
        assert int(block["baseFeePerGas"], 16) == 7
        assert chain.gas_price == 14


def test_serves_ipc_and_http() -> None:
    with Anvil() as anvil:
        over_ipc, over_http = Chain.connect(anvil.ipc_path), Chain.connect(anvil.http_url)
        over_ipc.mine(3)
        assert over_http.block_number == 3


def test_two_run_side_by_side() -> None:
    with Anvil() as first, Anvil(chain_id=5) as second:
        assert first.port != second.port
        assert Chain.connect(first.endpoint).chain_id == 31_337
        assert Chain.connect(second.endpoint).chain_id == 5


def test_stop__ends_its_own_process_only() -> None:
    with Anvil() as other:
        anvil = Anvil().start()
        pid = anvil.pid
        assert pid is not None
        assert pid != os.getpid()
        assert anvil.start() is anvil
        assert anvil.pid == pid
        anvil.stop()
        anvil.stop()
        assert not alive(pid)
        assert not Path(anvil.ipc_path).parent.exists()
        assert other.pid is not None
        assert alive(other.pid)
        assert Chain.connect(other.endpoint).block_number == 0


def test_stop__when_forgotten() -> None:
    anvil = Anvil().start()
    pid = anvil.pid
    assert pid is not None
    del anvil
    assert not alive(pid)


def test_endpoint__not_running() -> None:
    with pytest.raises(AnvilError, match="not running"):
        _ = Anvil().endpoint


def test_start__refused() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        anvil = Anvil(port=taken.getsockname()[1])
        with pytest.raises(AnvilError, match="does not start"):
            anvil.start()
    assert anvil.pid is None


def test_find_anvil__missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(anvil_module, "__file__", str(tmp_path / "perpool" / "anvil.py"))
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    with pytest.raises(AnvilError, match="make setup"):
        find_anvil()
    with pytest.raises(AnvilError, match="make setup"):
        Anvil().start()
    binary = tmp_path / "anvil"
    binary.write_text("")
    binary.chmod(0o755)
    assert find_anvil() == binary
