"""A pygls language server started with ``--pipe``, by two editors."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import npipe
from integrations.conftest import NODE, PATIENCE
from peers.require import require, run_node

pytest.importorskip("pygls")
from npipe.integrations.pygls import start_server

SERVER = str(Path(__file__).with_name("language_server.py"))


def test_vscode_jsonrpc_as_the_editor(address: str) -> None:
    require("vscode-jsonrpc")
    told = run_node(str(NODE / "editor.cjs"), address, sys.executable, SERVER)
    assert told == {
        "serverInfo": {"name": "demo", "version": "v1"},
        "hovers": ["line 7", "line 8"],
        "messages": ["hovering", "hovering"],
        "status": 0,
        "printed": "printed\nprinted" if os.name == "posix" else "printed\r\nprinted",
    }


@pytest.mark.parametrize("spelling", [["--pipe={}"], ["--pipe", "{}"]])
def test_npipe_rpc_as_the_editor(address: str, spelling: list[str]) -> None:
    rpc = pytest.importorskip("npipe.rpc")
    words = [word.format(address) for word in spelling]
    with npipe.listen(address) as listener:
        command = [sys.executable, SERVER, *words]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as server:
            connection = listener.accept(PATIENCE)
            with rpc.connect(connection, codec="content-length", timeout=PATIENCE) as editor:
                root = {"processId": None, "rootUri": None, "capabilities": {}}
                assert editor.call("initialize", named=root)["serverInfo"]["name"] == "demo"
                editor.call("shutdown")
                editor.notify("exit")
                assert server.wait(PATIENCE) == 0


def test_the_editor_hangs_up(address: str) -> None:
    with npipe.listen(address) as listener:
        command = [sys.executable, SERVER, f"--pipe={address}"]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL) as server:
            listener.accept(PATIENCE).close()
            assert server.wait(PATIENCE) == 0


class Recorder:
    """A server of pygls that records how it was started."""

    def __init__(self) -> None:
        self.started: list[Any] = []

    def start_io(self, *files: Any) -> None:
        self.started.append(files)

    def start_tcp(self, host: str, port: int) -> None:
        self.started.append((host, port))


def test_without_a_pipe_it_is_pygls_own() -> None:
    server = Recorder()
    start_server(server, [])
    start_server(server, ["--tcp", "--port", "2087", "--clientProcessId=1"])
    assert server.started == [(), ("127.0.0.1", 2087)]


def test_a_pipe_nobody_listens_on(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("npipe.integrations.pygls.TIMEOUT", 0.05)
    with pytest.raises(TimeoutError):
        start_server(Recorder(), [f"--pipe={address}"])
