"""A server at its limit of open files, with threads and on event loops."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time

import pytest

if sys.platform == "win32":
    pytest.skip("Windows has no such limit", allow_module_level=True)

import npipe

CALL = b'{"jsonrpc":"2.0","id":1,"method":"t_one"}\n'
REPLY = b'{"jsonrpc":"2.0","id":1,"result":1}\n'

START = """
import asyncio, logging, resource, sys
sys.path[:0] = {path!r}
from npipe import rpc
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
logging.basicConfig(stream=sys.stdout, level=logging.WARNING, format="%(levelname)s %(message)s")
api = rpc.API()
api.register("t", {{"one": lambda: 1}})
"""
THREADS = """
server = rpc.Server(api)
server.serve({address!r})
print("up", flush=True)
server.serve_forever()
"""
ASYNCIO = """
import npipe.rpc.aio
async def main():
    server = npipe.rpc.aio.Server(api)
    await server.serve({address!r})
    print("up", flush=True)
    await server.serve_forever()
"""
FLAVOURS = {
    "threads": START + THREADS,
    "asyncio": START + ASYNCIO + "asyncio.run(main())",
    "uvloop": START + ASYNCIO + "import uvloop; uvloop.run(main())",
}


def ask(connection: npipe.Connection) -> bool:
    """Return whether the server answers within a moment."""
    connection.set_read_deadline(time.monotonic() + 0.2)
    try:
        return connection.read(100) == REPLY
    except TimeoutError:
        return False


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_at_the_limit_no_client_is_cut_and_the_next_is_accepted_when_one_has_gone(
    address: str, flavour: str
) -> None:
    if flavour == "uvloop":
        pytest.importorskip("uvloop")
    program = FLAVOURS[flavour].format(path=sys.path, address=address)
    command = [sys.executable, "-c", program]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process,
        contextlib.ExitStack() as stack,
    ):
        stack.callback(process.kill)
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        clients = [stack.enter_context(npipe.connect(address)) for _ in range(120)]
        warning = process.stdout.readline()
        assert warning.startswith("WARNING no more clients are accepted")
        assert "ulimit -n" in warning
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
