"""JSON-RPC software that others wrote: as clients of our server, as servers of our client."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import npipe
from npipe import rpc
from npipe.errors import MethodNotFound, RPCError
from npipe.rpc import aio
from peers.require import NODE, node_environment, require, run_node

both_shells = pytest.mark.parametrize("shell", ["threads", "asyncio"])


class Calculator:
    """What the clients call."""

    def __init__(self) -> None:
        self.waiting = threading.Event()

    def subtract(self, minuend: int, subtrahend: int) -> int:
        return minuend - subtrahend

    def call_back(self, context: rpc.Context, number: int) -> Any:
        return context.remote.call("client/double", number, timeout=60)

    async def wait_for_cancel(self, context: rpc.Context) -> None:
        self.waiting.set()
        await asyncio.Event().wait()

    def waiting_now(self) -> bool:
        return self.waiting.wait(60)


def address_in(directory: Path, name: str) -> str:
    """Return an address of the test's own."""
    if sys.platform == "win32":
        return rf"\\.\pipe\{directory.name}-{name}"
    return str(directory / name)


@contextlib.contextmanager
def serving(shell: str, directory: Path, framing: str) -> Iterator[str]:
    api = rpc.API()
    api.register("math", Calculator())
    with serve(shell, api, address_in(directory, "s"), codec=framing) as address:
        yield address


@contextlib.contextmanager
def serve(shell: str, api: rpc.API, address: str, **options: Any) -> Iterator[str]:
    """Serve ``api`` with threads, or with asyncio in a thread of its own. Gives the full address.

    Node takes no short name: on Windows it would look for a file of that name.
    """
    if shell == "threads":
        with rpc.Server(api, **options) as server:
            yield str(server.serve(address))
        return
    ready: queue.SimpleQueue[tuple[str, Callable[[], object]]] = queue.SimpleQueue()

    async def main() -> None:
        over = asyncio.Event()
        async with aio.Server(api, **options) as server:
            path = str(await server.serve(address))
            loop = asyncio.get_running_loop()
            ready.put((path, lambda: loop.call_soon_threadsafe(over.set)))
            await over.wait()

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    path, stop = ready.get(timeout=60)
    try:
        yield path
    finally:
        stop()
        thread.join(60)


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
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@both_shells
def test_jayson_calls_us(shell: str, directory: Path) -> None:
    require("jayson")
    with serving(shell, directory, "json-stream") as address:
        assert run_node("jayson_client.cjs", address) == {
            "positional": 19,
            "named": 19,
            "missing": -32601,
            "batch": [0, 2],
        }


@both_shells
@pytest.mark.parametrize("framing", ["content-length", "auto"])
def test_vscode_jsonrpc_calls_us(shell: str, directory: Path, framing: str) -> None:
    require("vscode-jsonrpc")
    with serving(shell, directory, framing) as address:
        assert run_node("vscode_client.cjs", address) == {
            "positional": 19,
            "named": 19,
            "missing": -32601,
            "reverse": 42,
            "cancelled": -32800,
        }


def test_we_call_jayson(directory: Path) -> None:
    address = address_in(directory, "j")
    with jayson(address) as path, rpc.connect(path) as client:
        assert client.call("subtract", 42, 23, timeout=60) == 19
        with pytest.raises(RPCError) as caught:
            client.call("fail", timeout=60)
        assert (caught.value.code, caught.value.message) == (444, "testError")
        assert caught.value.data == {"reason": "asked"}
        assert client.batch([("subtract", [3, 1]), ("subtract", [1, 1])], timeout=60) == [2, 0]


def test_we_call_jayson_with_asyncio(directory: Path) -> None:
    async def main(path: str) -> None:
        async with await aio.connect(path, timeout=60) as client:
            assert await client.call("subtract", 42, 23) == 19
            with pytest.raises(RPCError) as caught:
                await client.call("fail")
            assert (caught.value.code, caught.value.data) == (444, {"reason": "asked"})
            assert await client.batch([("subtract", [3, 1]), ("subtract", [1, 1])]) == [2, 0]

    with jayson(address_in(directory, "j")) as path:
        asyncio.run(main(path))


def test_we_call_anvil(directory: Path) -> None:
    with anvil(directory) as path, rpc.connect(path) as client:
        assert client.call("eth_chainId", timeout=60) == hex(31337)
        _transfer_seen_as_new_head(client)
        numbers = client.batch([("eth_blockNumber", ()), ("eth_chainId", ())], timeout=60)
        assert numbers == ["0x1", hex(31337)]


def test_we_call_geth(directory: Path) -> None:
    with geth(directory) as path, rpc.connect(path) as client:
        assert client.call("eth_chainId", timeout=60) == hex(1337)
        assert "eth" in client.modules()
        _transfer_seen_as_new_head(client)
        with pytest.raises(MethodNotFound):
            client.call("eth_noSuchMethod", timeout=60)
        replies = client.batch([("eth_chainId", ()), ("eth_noSuchMethod", ())], timeout=60)
        assert replies[0] == hex(1337)
        assert isinstance(replies[1], MethodNotFound)


def test_we_call_geth_through_a_proxy(directory: Path) -> None:
    with geth(directory) as path, rpc.Proxy(path) as proxy:
        address = str(proxy.serve(address_in(directory, "p")))
        with rpc.connect(address) as client:
            _transfer_seen_as_new_head(client)
        asyncio.run(_call_node(address, 1337))


@pytest.mark.parametrize("node", ["anvil", "geth"])
def test_we_call_a_node_with_asyncio(directory: Path, node: str) -> None:
    with NODES[node](directory) as path:
        asyncio.run(_call_node(path, {"anvil": 31337, "geth": 1337}[node]))


@contextlib.contextmanager
def jayson(address: str) -> Iterator[str]:
    require("jayson")
    with running(address, require("node"), NODE / "jayson_server.cjs", address) as path:
        yield path


@contextlib.contextmanager
def anvil(directory: Path) -> Iterator[str]:
    address = address_in(directory, "a")
    with running(address, require("anvil"), "--silent", "--port", "0", "--ipc", address) as path:
        yield path


@contextlib.contextmanager
def geth(directory: Path) -> Iterator[str]:
    address = address_in(directory, "g")
    command = [
        *(require("geth"), "--dev", "--ipcpath", address, "--datadir", directory / "data"),
        *("--nodiscover", "--maxpeers", "0", "--port", "0", "--authrpc.port", "0"),
    ]
    with running(address, *map(str, command)) as path:
        yield path


NODES = {"anvil": anvil, "geth": geth}


def _transfer_seen_as_new_head(client: rpc.Client) -> None:
    """Send a transaction and get the block it makes from the subscription."""
    heads = client.subscribe("eth", "newHeads", timeout=60)
    sender = client.call("eth_accounts", timeout=60)[0]
    transaction = {"from": sender, "to": sender, "value": "0x1"}
    sent = client.call("eth_sendTransaction", transaction, timeout=60)
    head = next(iter(heads))
    block = client.call("eth_getBlockByHash", head["hash"], False, timeout=60)
    assert sent in block["transactions"]
    heads.close()


async def _call_node(path: str, chain_id: int) -> None:
    """Calls, a batch, and the head of the block that a transaction makes."""
    async with await aio.connect(path, timeout=60) as client:
        assert await client.call("eth_chainId") == hex(chain_id)
        with pytest.raises(RPCError):
            await client.call("eth_noSuchMethod")
        replies = await client.batch([("eth_chainId", ()), ("eth_noSuchMethod", ())])
        assert replies[0] == hex(chain_id)
        assert isinstance(replies[1], RPCError)
        async with await client.subscribe("eth", "newHeads") as heads:
            sender = (await client.call("eth_accounts"))[0]
            transaction = {"from": sender, "to": sender, "value": "0x1"}
            sent = await client.call("eth_sendTransaction", transaction)
            head = await asyncio.wait_for(anext(heads), 60)
        block = await client.call("eth_getBlockByHash", head["hash"], False)
        assert sent in block["transactions"]
