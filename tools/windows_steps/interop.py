"""The step of tools/windows_check.py in which programs that are not npipe call a server of npipe.

Each opens the pipe in its own way, and asks for ``rpc_modules``: the answer has ``admin`` if the
server knows that the client is its own user (W1).
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Final

from npipe import rpc
from windows_steps.report import ROOT, fact, is_wine, new_name, note, require_kernel

__all__ = ["STEPS"]

REQUEST: Final = '{"jsonrpc":"2.0","id":1,"method":"rpc_modules"}'
POWERSHELL: Final = """
$pipe = New-Object System.IO.Pipes.NamedPipeClientStream('.', '{name}', 'InOut')
$pipe.Connect(10000)
$writer = New-Object System.IO.StreamWriter($pipe)
$writer.AutoFlush = $true
$writer.WriteLine('{request}')
$buffer = New-Object byte[] 65536
$count = $pipe.Read($buffer, 0, 65536)
[System.Text.Encoding]::UTF8.GetString($buffer, 0, $count)
"""
NODE: Final = """
const [path, request] = process.argv.slice(-2);
const socket = require("net").connect(path, () => socket.write(request + "\\n"));
socket.on("data", (data) => process.stdout.write(data, () => process.exit(0)));
"""


def by_open(path: str) -> str:
    """Python's own ``open``."""
    with open(path, "r+b", buffering=0) as file:
        file.write(REQUEST.encode() + b"\n")
        return (file.read(65536) or b"").decode()


def by_asyncio(path: str) -> str:
    """asyncio's own pipes."""

    async def ask() -> str:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        transport, _ = await loop.create_pipe_connection(  # type: ignore[attr-defined,unused-ignore]
            lambda: asyncio.StreamReaderProtocol(reader), path
        )
        transport.write(REQUEST.encode() + b"\n")
        data = await reader.read(65536)
        transport.close()
        return data.decode()

    return asyncio.run(ask())


def by_node(path: str) -> str | None:
    """Node's net module."""
    node = shutil.which("node")
    return _run([node, "-e", NODE, path, REQUEST]) if node else None


def by_powershell(path: str) -> str | None:
    """.NET's NamedPipeClientStream, by PowerShell."""
    shell = shutil.which("powershell")
    if shell is None or is_wine():  # Wine's does nothing
        return None
    code = POWERSHELL.replace("{name}", path.rpartition("\\")[2]).replace("{request}", REQUEST)
    return _run([shell, "-NoProfile", "-NonInteractive", "-Command", code])


def by_npipe(path: str) -> str:
    """npipe's own client."""
    with rpc.connect(path, timeout=20) as client:
        return json.dumps({"result": client.call("rpc_modules")})


def _run(command: list[str]) -> str:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout or f"status {done.returncode}: {done.stderr.strip()[:200]}"


def interop() -> None:
    """W1: what clients that are not npipe see of the methods for the server's own user."""
    require_kernel("other programs cannot open its pipes")
    path = new_name()
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-m", "npipe.cli", "serve", path]
    with subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as server:
        try:
            rpc.connect(path, connect_timeout=90, wait=True).close()
            for ask in (by_npipe, by_open, by_asyncio, by_node, by_powershell):
                answer = ask(path)
                if answer is None:
                    note(f"{ask.__doc__}: not installed")
                    continue
                try:
                    seen = "admin" in json.loads(answer)["result"]
                except (ValueError, LookupError):
                    note(answer)
                    seen = False
                fact(f"{(ask.__doc__ or '').rstrip('.')} : admin is among its modules", True, seen)
        finally:
            server.kill()


STEPS: Final[tuple[Callable[[], None], ...]] = (interop,)
