"""Sockets that systemd binds and passes on: its own ``systemd-socket-activate`` starts the program.

It listens, waits for the first client, and then replaces itself by the program, which finds the
socket as descriptor 3 (sd_listen_fds(3)).
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import npipe
from npipe import rpc
from peers.require import has_module, require
from peers.smb_fixtures import smbd
from peers.smbd import PASSWORD, USER

if sys.platform == "win32":
    pytest.skip("there is no systemd for Windows", allow_module_level=True)

__all__ = ["smbd"]

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "activated.py"
BEHIND_SAMBA = """
import os, npipe
assert (os.environ["LISTEN_PID"], os.environ["LISTEN_FDS"]) == (str(os.getpid()), "1")
address = npipe.Address("unix", {path!r})
with npipe.SambaListener.adopt(3, address, access="everyone") as listener:
    for connection in listener:
        with connection:
            connection.write(f"{{connection.peer.account}}: ".encode() + connection.read(100))
"""


@contextlib.contextmanager
def activated(path: str, *program: str) -> Iterator[None]:
    """Have systemd listen at ``path`` for ``program``."""
    activate = require("systemd-socket-activate")
    process = subprocess.Popen(
        [activate, "--listen", path, sys.executable, *program],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert line.startswith("Listening on"), line
        yield
        assert process.poll() is None, process.stderr.read()
    finally:
        process.kill()
        process.communicate()


def test_a_listener_takes_the_socket_over(directory):
    """The program of docs/how-to.md, started by the first of its clients."""
    path = str(directory / "app.sock")
    with activated(path, str(EXAMPLE)):
        for _ in range(3):
            with rpc.connect(path, connect_timeout=30) as client:
                assert client.call("app_greet", "tea", timeout=30) == "hello tea"
    assert os.path.exists(path)  # it is systemd's to remove


def test_a_listener_behind_samba_takes_the_socket_over(smbd):
    if not has_module("smbprotocol"):
        pytest.skip('needs the extra "smb"')
    path = f"{smbd.sockets}/activated"
    remote = npipe.Smb(USER, PASSWORD, port=smbd.port)
    with activated(path, "-c", BEHIND_SAMBA.format(path=path)):
        for text in (b"first", b"second"):
            pipe = r"\\127.0.0.1\pipe\activated"
            with npipe.connect(pipe, remote=remote, connect_timeout=30) as client:
                client.write(text)
                assert client.read() == USER.encode() + b": " + text
