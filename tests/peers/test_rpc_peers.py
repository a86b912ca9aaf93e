"""JSON-RPC software that others wrote: as clients of our server, as servers of our client."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import npipe
from npipe import rpc
from npipe.errors import MethodNotFound, RPCError
from peers.require import NODE, node_environment, require, run_node


class Calculator:
    """What the clients call."""

    def __init__(self) -> None:
        self.waiting = threading.Event()

    def subtract(self, minuend: int, subtrahend: int) -> int:
        return minuend - subtrahend

    async def call_back(self, context: rpc.Context, number: int) -> Any:
        import asyncio

        call = context.remote.call
        return await asyncio.to_thread(call, "client/double", number, timeout=20)

    async def wait_for_cancel(self, context: rpc.Context) -> None:
        import asyncio

        self.waiting.set()
        await asyncio.Event().wait()

    def waiting_now(self) -> bool:
        return self.waiting.wait(20)


def address_in(directory: Path, name: str) -> str:
    """Return an address of the test's own."""
    if sys.platform == "win32":
        return rf"\\.\pipe\{directory.name}-{name}"
    return str(directory / name)


@contextlib.contextmanager
def serving(directory: Path, framing: str) -> Iterator[str]:
    api = rpc.API()
    api.register("math", Calculator())
    with rpc.Server(api, framing=framing) as server:
        yield str(server.serve(address_in(directory, "s")))


@contextlib.contextmanager
def running(address: str, *command: str | Path) -> Iterator[str]:
    """Run a server of someone else's until the end of the block; wait until it accepts."""
    process = subprocess.Popen(
        command,
        env=node_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 45
        while True:
            with contextlib.suppress(OSError):
                npipe.connect(address).close()
                break
            assert process.poll() is None, f"it ended with status {process.returncode}"
            assert time.monotonic() < deadline, "it does not listen"
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.05)
        yield address
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def test_jayson_calls_us(directory: Path) -> None:
    require("jayson")
    with serving(directory, "json-stream") as address:
        assert run_node("jayson_client.cjs", address) == {
            "positional": 19,
            "named": 19,
            "missing": -32601,
            "batch": [0, 2],
        }


@pytest.mark.parametrize("framing", ["content-length", "auto"])
def test_vscode_jsonrpc_calls_us(directory: Path, framing: str) -> None:
    require("vscode-jsonrpc")
    with serving(directory, framing) as address:
        assert run_node("vscode_client.cjs", address) == {
            "positional": 19,
            "named": 19,
            "missing": -32601,
            "reverse": 42,
            "cancelled": -32800,
        }


def test_we_call_jayson(directory: Path) -> None:
    require("jayson")
    address = address_in(directory, "j")
    with (
        running(address, require("node"), NODE / "jayson_server.cjs", address) as path,
        rpc.connect(path) as client,
    ):
        assert client.call("subtract", 42, 23, timeout=20) == 19
        with pytest.raises(RPCError) as caught:
            client.call("fail", timeout=20)
        assert (caught.value.code, caught.value.message) == (444, "testError")
        assert caught.value.data == {"reason": "asked"}
        assert client.batch([("subtract", [3, 1]), ("subtract", [1, 1])], timeout=20) == [2, 0]


def test_we_call_anvil(directory: Path) -> None:
    address = address_in(directory, "a")
    command = [require("anvil"), "--silent", "--port", "0", "--ipc", address]
    with running(address, *command) as path, rpc.connect(path) as client:
        assert client.call("eth_chainId", timeout=20) == hex(31337)
        _transfer_seen_as_new_head(client)
        numbers = client.batch([("eth_blockNumber", ()), ("eth_chainId", ())], timeout=20)
        assert numbers == ["0x1", hex(31337)]


def test_we_call_geth(directory: Path) -> None:
    address = address_in(directory, "g")
    command = [
        *(require("geth"), "--dev", "--ipcpath", address, "--datadir", directory / "data"),
        *("--nodiscover", "--maxpeers", "0", "--port", "0", "--authrpc.port", "0"),
    ]
    with running(address, *map(str, command)) as path, rpc.connect(path) as client:
        assert client.call("eth_chainId", timeout=20) == hex(1337)
        assert "eth" in client.modules()
        _transfer_seen_as_new_head(client)
        with pytest.raises(MethodNotFound):
            client.call("eth_noSuchMethod", timeout=20)
        replies = client.batch([("eth_chainId", ()), ("eth_noSuchMethod", ())], timeout=20)
        assert replies[0] == hex(1337)
        assert isinstance(replies[1], MethodNotFound)


def _transfer_seen_as_new_head(client: rpc.Client) -> None:
    """Send a transaction and get the block it makes from the subscription."""
    heads = client.subscribe("eth", "newHeads", timeout=20)
    sender = client.call("eth_accounts", timeout=20)[0]
    transaction = {"from": sender, "to": sender, "value": "0x1"}
    sent = client.call("eth_sendTransaction", transaction, timeout=20)
    head = next(iter(heads))
    block = client.call("eth_getBlockByHash", head["hash"], False, timeout=20)
    assert sent in block["transactions"]
    heads.close()
