"""Unix sockets on a loop: full backlogs, abstract names, one direction."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator

import pytest

import npipe.aio
from npipe import address as addresses
from npipe.transport.descriptors import RESERVE

if sys.platform == "win32":
    pytest.skip("Unix sockets", allow_module_level=True)

import resource

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


@contextlib.contextmanager
def descriptors_left(count: int) -> Iterator[None]:
    """Set the limit of open files so that ``count`` more are allowed, during the block."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as sock:
        lowest_free = sock.fileno()
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free + count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


class Guests:
    """The clients of a server, in the order in which they are accepted."""

    def __init__(self) -> None:
        self.accepted = asyncio.Queue[asyncio.StreamWriter]()

    def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted.put_nowait(writer)

    async def next(self) -> asyncio.StreamWriter:
        async with asyncio.timeout(10):
            return await self.accepted.get()

    async def none_comes(self) -> bool:
        """Wait longer than the pause between two checks of the acceptor."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.3):
                await self.accepted.get()
                return False
        return True


def connect(address: str, count: int, stack: contextlib.ExitStack) -> None:
    """Connect clients, which wait in the backlog: the loop does not run meanwhile."""
    for _ in range(count):
        stack.enter_context(socket.socket(socket.AF_UNIX)).connect(address)


async def test_where_descriptors_are_scarce_one_client_at_a_time_is_served(address, caplog):
    guests = Guests()
    async with await npipe.aio.start_server(guests, address):
        with contextlib.ExitStack() as stack:
            connect(address, 3, stack)
            with descriptors_left(RESERVE):
                first = await guests.next()
                assert await guests.none_comes()
                first.close()
                second = await guests.next()
                assert await guests.none_comes()
                second.close()
                third = await guests.next()
                third.close()
    (record,) = caplog.records  # it is said once
    assert record.levelname == "WARNING"
    assert record.getMessage() == (
        f"no more clients are accepted on {addresses.parse(address)} for now: "
        "the limit of open files (ulimit -n) is nearly reached"
    )


async def test_accepting_resumes_when_other_files_are_closed(address):
    guests = Guests()
    async with await npipe.aio.start_server(guests, address):
        with contextlib.ExitStack() as stack:
            connect(address, 2, stack)
            with contextlib.ExitStack() as others:
                for _ in range(8):
                    others.enter_context(socket.socket())
                with descriptors_left(RESERVE):
                    first = await guests.next()
                    assert await guests.none_comes()
                    others.close()
                    second = await guests.next()
                    first.close()
                    second.close()


async def test_a_server_closed_at_the_limit_accepts_no_more(address, reported):
    guests = Guests()
    server = await npipe.aio.start_server(guests, address)
    with contextlib.ExitStack() as stack:
        connect(address, 2, stack)
        with descriptors_left(RESERVE):
            first = await guests.next()
            server.close()
            first.close()
            async with asyncio.timeout(10):
                await server.wait_closed()
            assert await guests.none_comes()
    assert not reported
