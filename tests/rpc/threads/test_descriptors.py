"""Tests of npipe.rpc.threads.descriptors, and of a server at its limit of open files."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time

import pytest

if sys.platform == "win32":
    pytest.skip("Windows has no such limit", allow_module_level=True)

import resource

import npipe
from npipe.rpc.threads import descriptors
from npipe.rpc.threads.descriptors import MOST, RESERVE, connections_allowed

CALL = b'{"jsonrpc":"2.0","id":1,"method":"t_one"}\n'
REPLY = b'{"jsonrpc":"2.0","id":1,"result":1}\n'


@pytest.mark.parametrize(
    ("soft", "open_now", "each", "allowed"),
    [
        (1024, 10, 1, 1024 - 10 - RESERVE),
        (1024, 10, 4, (1024 - 10 - RESERVE) // 4),
        (20, 10, 1, 1),
        (resource.RLIM_INFINITY, 10, 1, MOST),
        (1 << 40, 10, 1, MOST),
    ],
)
def test_how_many_are_allowed(
    monkeypatch: pytest.MonkeyPatch, soft: int, open_now: int, each: int, allowed: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (soft, soft))
    monkeypatch.setattr(descriptors.os, "listdir", lambda path: [""] * open_now)
    assert connections_allowed(each) == allowed


SERVER = """
import logging, resource, sys
sys.path[:0] = {path!r}
from npipe import rpc
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
logging.basicConfig(stream=sys.stdout, level=logging.WARNING, format="%(message)s")
api = rpc.API()
api.register("t", {{"one": lambda: 1}})
server = rpc.Server(api)
server.serve({address!r})
print("up", flush=True)
server.serve_forever()
"""


def ask(connection: npipe.Connection) -> bool:
    """Return whether the server answers within a moment."""
    connection.set_read_deadline(time.monotonic() + 0.2)
    try:
        return connection.read(100) == REPLY
    except TimeoutError:
        return False


def test_at_the_limit_no_client_is_cut_and_the_next_is_accepted_when_one_has_gone(
    address: str,
) -> None:
    command = [sys.executable, "-c", SERVER.format(path=sys.path, address=address)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process,
        contextlib.ExitStack() as stack,
    ):
        stack.callback(process.kill)
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        clients = [stack.enter_context(npipe.connect(address)) for _ in range(120)]
        assert "ulimit -n" in process.stdout.readline()
        for client in clients:
            client.write(CALL)
        served = 0
        while ask(clients[served]):
            served += 1
        assert 40 < served < 100
        for client in clients[:served]:  # those that were accepted live on
            client.write(CALL)
            assert ask(client)
        for client in clients[:10]:
            client.close()
        for client in clients[served : served + 10]:
            client.set_read_deadline(time.monotonic() + 60)
            assert client.read(100) == REPLY
        assert not ask(clients[served + 10])
        process.kill()
        assert process.stdout.read() == ""  # it was said once
