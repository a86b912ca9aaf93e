"""The JSON-RPC servers that are compared: how to start each, and end it again.

What is not installed is left out by name, with the reason (``Absent``).
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMPILED = "npipe-compiled"  # the server with threads, in the compiled build
ASYNCIO_COMPILED = "npipe-asyncio-compiled"  # the one with asyncio, in the compiled build
COMPILED_PYTHON = ROOT / ".venv-compiled" / "bin" / "python"
PEERS = Path(os.environ.get("NPIPE_PEERS", ROOT / ".peers"))


class Absent(Exception):
    """This server is not installed here."""


def command(kind: str, address: str, directory: str) -> list[str]:
    """The command line that serves on this address."""
    if kind == "eth-tester":
        if not importlib.util.find_spec("eth_tester"):
            raise Absent("eth-tester is not installed")
        return [sys.executable, "-m", "bench.tester_server", address]
    if kind.startswith(("http-", "npipe", "python")):
        return python_command(kind, address)
    if kind == "anvil":
        return [find("anvil"), "--silent", "--port", "0", "--ipc", address]
    if kind == "geth":
        return [
            *(find("geth"), "--dev", "--ipcpath", address, "--datadir", directory + "/data"),
            *("--verbosity", "0", "--nodiscover", "--maxpeers", "0", "--port", "0"),
            *("--authrpc.port", "0"),
        ]
    if kind == "jayson":
        return [find("node"), str(ROOT / "bench" / "jayson_server.cjs"), address]
    raise ValueError(kind)


def python_command(kind: str, address: str) -> list[str]:
    """The command line of a server in Python, from this checkout or the compiled build of it."""
    if kind == "npipe-chain":
        return [sys.executable, "-m", "npipe.cli", "serve", address]
    is_compiled = kind in (COMPILED, ASYNCIO_COMPILED)
    if is_compiled and not COMPILED_PYTHON.exists():
        raise Absent("the compiled build is made by `python dev.py compiled`")
    python = str(COMPILED_PYTHON) if is_compiled else sys.executable
    module = "bench.http_server" if kind.startswith("http-") else "bench.rpc_server"
    return [python, "-m", module, kind.removeprefix("http-"), address]


def find(name: str) -> str:
    places = [*PEERS.glob("**/node_modules/.bin"), PEERS / "bin"]
    path = shutil.which(name, path=os.pathsep.join(map(str, places))) or shutil.which(name)
    if path is None:
        raise Absent(f"{name} is not installed; see CONTRIBUTING.md on peers")
    return path


@contextlib.contextmanager
def serve(kind: str) -> Iterator[str]:
    """The address of a server of this kind, in a process of its own, ready to answer."""
    directory = tempfile.mkdtemp(prefix="npb")
    address = os.path.join(directory, "s")
    environment = os.environ | {
        "NODE_PATH": os.pathsep.join(map(str, PEERS.glob("**/node_modules")))
    }
    process = None
    try:
        process = subprocess.Popen(
            command(kind, address, directory),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        _await_listening(address, process, kind)
        yield address
    finally:
        if process is not None:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(directory, ignore_errors=True)


def _await_listening(address: str, process: subprocess.Popen[bytes], kind: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as sock:
            sock.connect(address)
            return
        if process.poll() is not None:
            raise Absent(f"{kind} ended at start with status {process.returncode}")
        if time.monotonic() > deadline:
            raise Absent(f"{kind} did not listen within a minute")
        time.sleep(0.05)
