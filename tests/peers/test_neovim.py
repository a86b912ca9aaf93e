"""MessagePack-RPC with Neovim as the server, and with pynvim as the client."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from npipe import rpc
from peers.require import require

LONG = 60.0


@pytest.fixture
def neovim(tmp_path: Path) -> Iterator[rpc.Client]:
    if sys.platform == "win32":
        pytest.skip("Neovim is not installed for Windows")
    require("nvim")
    address = str(tmp_path / "nvim.sock")
    command = ["nvim", "--headless", "--clean", "--listen", address]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with rpc.connect(address, codec="msgpack-rpc", timeout=LONG, reconnect=LONG) as client:
            yield client
    finally:
        process.kill()
        process.wait()


def test_neovim_as_the_server(neovim: rpc.Client) -> None:
    assert neovim.call("nvim_eval", "6*7", result_type=int) == 42
    buffer = neovim.call("nvim_get_current_buf")
    assert buffer.code == 0  # an extension type, which goes back as it came
    neovim.call("nvim_buf_set_lines", buffer, 0, -1, True, ["héllo", "world"])
    assert neovim.call("nvim_buf_get_lines", buffer, 0, -1, True) == ["héllo", "world"]
    assert neovim.call("nvim_eval", "0z00FF") == b"\x00\xff"
    with pytest.raises(rpc.RPCError, match="Not an editor command"):
        neovim.call("nvim_command", "nonsense")
    with pytest.raises(rpc.RPCError, match="Invalid method"):
        neovim.call("nope")
    two, error = neovim.batch([("nvim_eval", ["1+1"]), ("nvim_eval", ["2+"])])
    assert two == 2
    assert isinstance(error, rpc.RPCError)
    with pytest.raises(TimeoutError):
        neovim.call("nvim_eval", "wait(60000, 0)", timeout=0.1)


def test_a_large_reply_of_neovim(neovim: rpc.Client) -> None:
    assert neovim.call("nvim_eval", "repeat(['x'], 100000)") == ["x"] * 100_000


class Editor:
    """What pynvim asks of an editor."""

    @rpc.method(name="nvim_get_api_info")
    def info(self) -> list[Any]:
        types = {"Buffer": {"id": 0}, "Window": {"id": 1}, "Tabpage": {"id": 2}}
        version = {"major": 0, "minor": 10, "api_level": 12}
        return [7, {"version": version, "types": types, "functions": [], "error_types": {}}]

    @rpc.method(name="nvim_eval")
    def eval(self, text: str) -> Any:
        return 6 * 7 if text == "6*7" else text.upper()

    @rpc.method(name="nvim_command")
    def command(self, text: str) -> None:
        raise rpc.RPCError(f"E492: Not an editor command: {text}", code=0)

    @rpc.method(name="nvim_set_client_info")
    def client_info(self, *info: Any) -> None:
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="pynvim's pipes there are Neovim's")
def test_pynvim_as_the_client(tmp_path: Path) -> None:
    pytest.importorskip("pynvim", reason="the group peers")
    program = """
import sys, pynvim
nvim = pynvim.attach("socket", path=sys.argv[1])
print(nvim.eval("6*7"), nvim.eval("abc"))
try:
    nvim.command("nonsense")
except pynvim.NvimError as error:
    print(error)
nvim.close()
"""
    api = rpc.API()
    api.register("", Editor())
    address = str(tmp_path / "s")
    with rpc.Server(api, codec="msgpack-rpc") as server:
        server.serve(address)
        done = subprocess.run(
            [sys.executable, "-c", program, address],
            capture_output=True,
            text=True,
            timeout=LONG,
            check=False,
        )
    assert done.stdout.splitlines() == ["42 ABC", "E492: Not an editor command: nonsense"], (
        done.stderr
    )
