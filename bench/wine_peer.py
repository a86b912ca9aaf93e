"""Both ends of the benchmarks under Wine, run there by Python as ``bench/wine.py`` asks.

    python -m bench.wine_peer KIND serve PIPE   the other end, as bench/peer.py describes it
    python -m bench.wine_peer KIND drive PIPE   takes orders from standard input, prints the results

The orders are those of ``tests/peers/go/pipebench``. KIND says what both ends are made with.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import site
import struct
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Client
from typing import Any

from . import peer
from .transport import CHUNK, ping_pong, stream

BUFFER = 65536  # bytes, of a pipe that pywin32 makes: what npipe asks for too
OPEN_EXISTING = 3  # of CreateFile
ERROR_IO_PENDING = 997  # where another code says that the client was there first


class Win32Pipe:
    """An overlapped pipe as a careful user of pywin32 writes it: an event for each direction."""

    def __init__(self, handle: Any) -> None:
        import pywintypes
        import win32event
        import win32file

        self.handle, self.api, self.error = handle, win32file, pywintypes.error
        self.reading, self.writing = pywintypes.OVERLAPPED(), pywintypes.OVERLAPPED()
        for each in (self.reading, self.writing):
            each.hEvent = win32event.CreateEvent(None, True, False, None)
        self.buffer = win32file.AllocateReadBuffer(BUFFER)

    def read(self, size: int) -> bytes:
        try:
            _, data = self.api.ReadFile(self.handle, self.buffer[: min(size, BUFFER)], self.reading)
            count = self.api.GetOverlappedResult(self.handle, self.reading, True)
        except self.error:  # it has closed
            return b""
        return bytes(data[:count])

    def write(self, data: bytes) -> None:
        self.api.WriteFile(self.handle, data, self.writing)
        self.api.GetOverlappedResult(self.handle, self.writing, True)

    def close(self) -> None:
        self.handle.Close()


def run_pywin32(address: str) -> None:
    import pywintypes
    import win32file
    import win32pipe

    def serve(pipe: Win32Pipe) -> None:
        peer.serve_stream(pipe.read, pipe.write)
        pipe.close()

    def instance() -> Win32Pipe:
        mode = win32pipe.PIPE_ACCESS_DUPLEX | win32file.FILE_FLAG_OVERLAPPED
        return Win32Pipe(win32pipe.CreateNamedPipe(address, mode, 0, 255, BUFFER, BUFFER, 0, None))

    pipe = instance()
    peer.ready()
    while True:
        try:
            if win32pipe.ConnectNamedPipe(pipe.handle, pipe.reading) == ERROR_IO_PENDING:
                win32file.GetOverlappedResult(pipe.handle, pipe.reading, True)
        except pywintypes.error:  # it came and went
            pipe.close()
        else:
            threading.Thread(target=serve, args=[pipe], daemon=True).start()
        pipe = instance()


def connect_pywin32(address: str) -> Win32Pipe:
    import pywintypes
    import win32file
    import win32pipe

    access = win32file.GENERIC_READ | win32file.GENERIC_WRITE
    flags = win32file.FILE_FLAG_OVERLAPPED
    while True:
        try:
            opened = win32file.CreateFile(address, access, 0, None, OPEN_EXISTING, flags, None)
        except pywintypes.error:  # all instances are busy, or there is none for a moment
            with contextlib.suppress(pywintypes.error):
                win32pipe.WaitNamedPipe(address, 1000)
        else:
            return Win32Pipe(opened)


# -- the driving end: each kind as (connect, what sends, what receives)


def _npipe(address: str) -> Any:
    import npipe

    conn = npipe.connect(address, connect_timeout=20)
    return conn.write, conn.read, conn.close


def _multiprocessing(address: str) -> Any:
    conn = Client(address)
    return conn.send_bytes, lambda _: conn.recv_bytes(), conn.close


def _pywin32(address: str) -> Any:
    pipe = connect_pywin32(address)
    return pipe.write, pipe.read, pipe.close


def drive(connect: Callable[[str], Any], address: str) -> None:
    for order in sys.stdin:
        job, *numbers = order.split()
        first, *rest = map(int, numbers)
        if job == "connect":
            start = time.perf_counter()
            for _ in range(first):
                connect(address)[2]()
            value = first / (time.perf_counter() - start)
        else:
            send, receive, close = connect(address)
            if job == "ping":
                value = ping_pong(send, receive, first, *rest)
            else:
                value = stream(send, receive, first)
            close()
        print(value, flush=True)


async def drive_asyncio(address: str) -> None:
    loop = asyncio.get_running_loop()

    async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader = asyncio.StreamReader(limit=1 << 20)
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.create_pipe_connection(lambda: protocol, address)
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    while order := await asyncio.to_thread(sys.stdin.readline):
        job, *numbers = order.split()
        first, *rest = map(int, numbers)
        if job == "connect":
            start = time.perf_counter()
            for _ in range(first):
                _, writer = await connect()
                writer.close()
                await writer.wait_closed()
            print(first / (time.perf_counter() - start), flush=True)
            continue
        reader, writer = await connect()
        size, count = (first, rest[0]) if job == "ping" else (len(CHUNK), first)
        data = bytes(size)
        writer.write(struct.pack("<cII", b"e" if job == "ping" else b"s", size, count))
        start = time.perf_counter()
        for _ in range(count):
            writer.write(data)
            await (reader.readexactly(size) if job == "ping" else writer.drain())
        if job == "stream":
            await reader.readexactly(1)
        took = time.perf_counter() - start
        print(took / count * 1e6 if job == "ping" else size * count / took / 1e6, flush=True)
        writer.close()
        await writer.wait_closed()


SERVERS = {
    "npipe": peer.run_npipe,
    "multiprocessing": peer.run_multiprocessing,
    "asyncio": peer.run_asyncio,
    "pywin32": run_pywin32,
}
CLIENTS = {"npipe": _npipe, "multiprocessing": _multiprocessing, "pywin32": _pywin32}


def main(kind: str, role: str, address: str) -> None:
    if kind == "pywin32":
        site.addsitedir(os.environ["NPIPE_BENCH_SITE"])  # installed for this alone
    if role == "serve":
        SERVERS[kind](address)
    elif kind == "asyncio":
        asyncio.run(drive_asyncio(address))
    else:
        drive(CLIENTS[kind], address)


if __name__ == "__main__":
    main(*sys.argv[1:])
