"""CPython's own asyncio and multiprocessing as peers, in a process of their own.

    python echo.py LIBRARY serve ADDRESS    echoes each connection until its end
    python echo.py LIBRARY dial ADDRESS     sends its standard input, prints what comes back

LIBRARY is ``asyncio`` or ``multiprocessing`` (named pipes only).

It prints "ready" on standard error once the address is open, and runs until it is killed. Nothing
of npipe is imported here.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from multiprocessing.connection import Client, Connection, Listener

WINDOWS = sys.platform == "win32"
CHUNK = 8192  # bytes of one message, which fits the buffers of multiprocessing's pipes


class Echo(asyncio.Protocol):
    """Sends back what comes in."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class Dial(asyncio.Protocol):
    """Sends ``data``; keeps what comes back: all, or as much where there is no half-close."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.received = bytearray()
        self.done = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self.transport = transport
        transport.write(self.data)
        if transport.can_write_eof():
            transport.write_eof()

    def data_received(self, data: bytes) -> None:
        self.received += data
        if len(self.received) == len(self.data) and not self.transport.can_write_eof():
            self.done.set()

    def connection_lost(self, error: Exception | None) -> None:
        self.done.set()


async def asyncio_serve(address: str) -> None:
    loop = asyncio.get_running_loop()
    if WINDOWS:
        server = await loop.start_serving_pipe(Echo, address)  # type: ignore[attr-defined]
    else:
        server = await loop.create_unix_server(Echo, address)
    print("ready", file=sys.stderr, flush=True)
    await asyncio.Event().wait()
    del server


async def asyncio_dial(address: str, data: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    connect = loop.create_pipe_connection if WINDOWS else loop.create_unix_connection
    transport, protocol = await connect(lambda: Dial(data), address)
    await protocol.done.wait()
    transport.close()
    return bytes(protocol.received)


def multiprocessing_serve(address: str) -> None:
    def echo(connection: Connection) -> None:
        while True:
            try:
                connection.send_bytes(connection.recv_bytes())
            except (EOFError, OSError):
                return

    with Listener(address, "AF_PIPE") as listener:
        print("ready", file=sys.stderr, flush=True)
        while True:
            threading.Thread(target=echo, args=[listener.accept()], daemon=True).start()


def multiprocessing_dial(address: str, data: bytes) -> bytes:
    received = bytearray()
    with Client(address, "AF_PIPE") as connection:
        for start in range(0, len(data), CHUNK):
            connection.send_bytes(data[start : start + CHUNK])
            while len(received) < min(start + CHUNK, len(data)):
                received += connection.recv_bytes()
    return bytes(received)


def main(library: str, role: str, address: str) -> None:
    if role == "serve" and library == "asyncio":
        asyncio.run(asyncio_serve(address))
    elif role == "serve":
        multiprocessing_serve(address)
    else:
        data = sys.stdin.buffer.read()
        if library == "asyncio":
            answer = asyncio.run(asyncio_dial(address, data))
        else:
            answer = multiprocessing_dial(address, data)
        sys.stdout.buffer.write(answer)


if __name__ == "__main__":
    main(*sys.argv[1:])
