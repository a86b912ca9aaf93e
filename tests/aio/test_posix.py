"""Unix sockets on a loop: full backlogs, abstract names, one direction."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import uuid

import pytest

import npipe.aio
from npipe import address as addresses

if sys.platform == "win32":
    pytest.skip("Unix sockets", allow_module_level=True)

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="Linux has abstract sockets")


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"hello\n")
    writer.close()


async def greeting(address: str, **options: object) -> bytes:
    reader, writer = await npipe.aio.open_connection(address, **options)
    try:
        return await reader.readline()
    finally:
        writer.close()


async def test_stale_socket_refuses(address):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(address)
    with pytest.raises(ConnectionRefusedError):
        await npipe.aio.open_connection(address)


async def test_full_backlog_is_waited_for(address):
    """A connect that finds the backlog full gets its turn, not a socket that is not connected."""
    server = await npipe.aio.start_server(greet, address, backlog=1, start_serving=False)
    async with server:
        clients = [asyncio.ensure_future(greeting(address)) for _ in range(20)]
        await asyncio.sleep(0)  # the first attempt of each
        await server.start_serving()
        assert await asyncio.gather(*clients) == [b"hello\n"] * 20


async def test_full_backlog_is_waited_for_until_the_deadline(address):
    server = await npipe.aio.start_server(greet, address, backlog=0, start_serving=False)
    async with server:
        clients = [
            asyncio.ensure_future(greeting(address, connect_timeout=0.05)) for _ in range(20)
        ]
        results = await asyncio.gather(*clients[5:], return_exceptions=True)
        assert {type(result) for result in results} == {TimeoutError}
        for client in clients[:5]:
            client.cancel()
        await asyncio.wait(clients[:5])


@pytest.fixture
def abstract() -> addresses.Address:
    return addresses.parse(f"@npipe-test-{uuid.uuid4()}", abstract=True)


@linux_only
async def test_abstract_socket(abstract):
    async with await npipe.aio.start_server(greet, abstract):
        assert await greeting(abstract) == b"hello\n"


@linux_only
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs to be root")
@pytest.mark.parametrize(("access", "answer"), [("owner", b""), ("everyone", b"hello\n")])
async def test_abstract_socket_is_for_those_it_is_meant_for(abstract, access, answer):
    """It has no file whose mode could keep others out: another user's client is sent away."""
    made = 0

    class Greeter(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            nonlocal made
            made += 1
            transport.write(b"hello\n")
            transport.close()

    client = f"""
import socket, sys
with socket.socket(socket.AF_UNIX) as sock:
    sock.connect("\\0{abstract.path}")
    sys.stdout.buffer.write(sock.recv(100))
"""
    async with await npipe.aio.create_server(Greeter, abstract, access=access):
        other = await asyncio.to_thread(
            subprocess.run, ["python3", "-Ic", client], user=65534, capture_output=True, check=True
        )
        await asyncio.get_running_loop().shutdown_default_executor()
        assert other.stdout == answer
        assert made == bool(answer)
        assert await greeting(abstract) == b"hello\n"


async def test_a_protocol_that_only_writes_is_not_closed_by_the_end_that_it_would_read(address):
    lost = []

    class Writes(asyncio.Protocol):
        def connection_lost(self, exc):
            lost.append(exc)

    with npipe.listen(address) as listener:
        transport, _ = await npipe.aio.create_connection(Writes, address, mode="w")
        with listener.accept(60) as server:
            for _ in range(10):
                await asyncio.sleep(0)
            transport.write(b"still there")
            assert server.read(99) == b"still there"
            assert not lost
        transport.close()
