"""``ssh://`` endpoints through a real sshd on loopback, and a socket that ssh forwards."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from npipe import rpc
from npipe.errors import ConnectionLost
from peers.require import require
from peers.smbd import free_port

if sys.platform == "win32":
    pytest.skip("there is no sshd here", allow_module_level=True)


class Service:
    def add(self, a: int, b: int) -> int:
        return a + b


@pytest.fixture
def served(directory: Path) -> Iterator[str]:
    api = rpc.API()
    api.register("test", Service())
    server = rpc.Server(api)
    yield str(server.serve(str(directory / "far")))
    server.stop()


@pytest.fixture
def url(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Run sshd; have ``ssh`` use a key for it, and ``npipe`` found there. Yield its address."""
    sshd, ssh = require("sshd"), require("ssh")
    port = free_port()
    for name in ("host", "user"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / name]
        subprocess.run(command, check=True)
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # it wants it, and nothing is in it
    script(directory / "npipe", f'exec {sys.executable} -m npipe.cli "$@"')
    script(directory / "ssh", f'exec {ssh} -F {directory}/client "$@"')
    (directory / "client").write_text(
        f"IdentityFile {directory}/user\nIdentitiesOnly yes\nBatchMode yes\n"
        f"UserKnownHostsFile {directory}/known\nStrictHostKeyChecking accept-new\n"
    )
    source = Path(__file__).parents[2] / "src"
    (directory / "server").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {directory}/host\nPidFile none\n"
        f"AuthorizedKeysFile {directory}/user.pub\nStrictModes no\nUsePAM no\n"
        f"PasswordAuthentication no\nPermitRootLogin yes\n"
        f"SetEnv PATH={directory}:/usr/bin:/bin PYTHONPATH={source}\n"
    )
    process = subprocess.Popen(
        [sshd, "-D", "-e", "-f", directory / "server"], stderr=subprocess.PIPE, text=True
    )
    try:
        await_port(port, process)
        monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
        yield f"ssh://{getpass.getuser()}@127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate(timeout=30)


def script(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def await_port(port: int, process: subprocess.Popen[str]) -> None:
    for _ in range(600):
        if process.poll() is not None:
            raise AssertionError(f"sshd ended: {process.communicate()[1]}")
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        time.sleep(0.05)
    raise AssertionError("sshd does not listen")


def test_an_endpoint_with_threads_and_asyncio(url, served):
    with rpc.connect(url + served) as client:
        assert client.call("test_add", 2, 3, timeout=60) == 5

    async def on_asyncio() -> None:
        async with rpc.aio.connect(url + served) as client:
            assert await client.call("test_add", 3, 4, timeout=60) == 7

    import npipe.rpc.aio  # noqa: F401

    asyncio.run(on_asyncio())


def test_nobody_there_is_a_lost_connection(url, directory):
    with (
        rpc.connect(f"{url}{directory}/missing") as client,
        pytest.raises(ConnectionLost),
    ):
        client.call("test_add", 2, 3, timeout=60)


def test_a_forwarded_socket(url, served, directory):
    near, port = directory / "near", url.rpartition(":")[2]
    options = ("StreamLocalBindUnlink=yes", "ExitOnForwardFailure=yes")
    command = ["ssh", "-N", "-p", port, "-L", f"{near}:{served}", "127.0.0.1"]
    command[1:1] = [word for option in options for word in ("-o", option)]
    process = subprocess.Popen(command)
    try:
        with rpc.connect(str(near), connect_timeout=60, wait=True) as client:
            assert client.call("test_add", 2, 3, timeout=60) == 5
    finally:
        process.terminate()
        process.wait(30)
