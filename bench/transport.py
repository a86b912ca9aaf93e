"""The cost of the transport, with threads: npipe against the standard library.

Each contestant is an echo (or a sink) in a process of its own and a client in this one, over the
same kind of socket. The peer's process runs ``python -m bench.peer KIND ADDRESS``.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing.connection
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator

import npipe

from .harness import Table, measure

PINGS = 3000
CHUNK = b"x" * 65536
CHUNKS = 2048  # in one stream
MORE = 5  # times the rounds, for what takes a few hundredths of a second and differs as much


@contextlib.contextmanager
def peer(kind: str) -> Iterator[str]:
    """The address of an echo server of this kind, in a process of its own."""
    directory = tempfile.mkdtemp(prefix="npb")
    address = os.path.join(directory, "s")
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.peer", kind, address], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield address
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(address)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(address + ".lock")
        os.rmdir(directory)


def dial(address: str, timeout: float | None) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(timeout)
    sock.connect(address)
    return sock


def ping_pong(
    send: Callable[[bytes], object], receive: Callable[[int], bytes], size: int, count: int
) -> float:
    """Microseconds a round trip."""
    data = b"p" * size
    send(struct.pack("<cII", b"e", size, count))
    start = time.perf_counter()
    for _ in range(count):
        send(data)
        left = size
        while left:
            left -= len(receive(left))
    return (time.perf_counter() - start) / count * 1e6


def stream(send: Callable[[bytes], object], receive: Callable[[int], bytes], count: int) -> float:
    """Megabytes a second, one way, in so many chunks of 64 KiB."""
    send(struct.pack("<cII", b"s", len(CHUNK), count))
    start = time.perf_counter()
    for _ in range(count):
        send(CHUNK)
    receive(1)
    return count * len(CHUNK) / (time.perf_counter() - start) / 1e6


def _socket(address: str, timeout: float | None = None):  # type: ignore[no-untyped-def]
    sock = dial(address, timeout)
    return sock.sendall, sock.recv, sock.close


def _npipe(address: str, timeout: float | None = None):  # type: ignore[no-untyped-def]
    conn = npipe.connect(address)
    if timeout is not None:
        conn.set_deadline(time.monotonic() + 3600)
    return conn.write, conn.read, conn.close


def _multiprocessing(address: str):  # type: ignore[no-untyped-def]
    conn = multiprocessing.connection.Client(address, "AF_UNIX")
    return conn.send_bytes, lambda _: conn.recv_bytes(), conn.close


def _run(connect, address: str, work, *args, **options) -> float:  # type: ignore[no-untyped-def]
    send, receive, close = connect(address, **options)
    try:
        return work(send, receive, *args)
    finally:
        close()


def _asyncio_ping(address: str, size: int, count: int) -> float:
    async def main() -> float:
        reader, writer = await asyncio.open_unix_connection(address, limit=1 << 20)
        writer.write(struct.pack("<cII", b"e", size, count))
        data = b"p" * size
        start = time.perf_counter()
        for _ in range(count):
            writer.write(data)
            await reader.readexactly(size)
        took = time.perf_counter() - start
        writer.close()
        await writer.wait_closed()
        return took / count * 1e6

    return asyncio.run(main())


def _asyncio_stream(address: str) -> float:
    async def main() -> float:
        reader, writer = await asyncio.open_unix_connection(address)
        writer.write(struct.pack("<cII", b"s", len(CHUNK), CHUNKS))
        start = time.perf_counter()
        for _ in range(CHUNKS):
            writer.write(CHUNK)
            await writer.drain()
        await reader.readexactly(1)
        took = time.perf_counter() - start
        writer.close()
        await writer.wait_closed()
        return CHUNKS * len(CHUNK) / took / 1e6

    return asyncio.run(main())


def _connects(connect: Callable[[], Callable[[], object]]) -> float:
    """Connections made and closed a second."""
    count = 2000
    start = time.perf_counter()
    for _ in range(count):
        connect()()
    return count / (time.perf_counter() - start)


def _many(connect, address: str, clients: int) -> float:  # type: ignore[no-untyped-def]
    """Round trips of 64 bytes a second, over this many connections, a thread each."""
    each = max(100, 4000 // clients)
    ready = threading.Barrier(clients + 1)

    def client() -> None:
        send, receive, close = connect(address)
        ready.wait()
        ping_pong(send, receive, 64, each)
        close()

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    ready.wait()
    start = time.perf_counter()
    for thread in threads:
        thread.join()
    return clients * each / (time.perf_counter() - start)


def tables(rounds: int) -> Iterator[Table]:
    with (
        peer("socket") as plain,
        peer("socket") as timed,
        peer("npipe") as ours,
        peer("multiprocessing") as mp,
        peer("asyncio") as aio,
    ):
        timeout = {"timeout": 3600.0}
        for size, count in ((64, PINGS), (65536, PINGS // 4)):
            pings: list[tuple[str, Callable[[], float]]] = [
                (
                    "socket, blocking",
                    lambda s=size, n=count: _run(_socket, plain, ping_pong, s, n),
                ),
                (
                    "npipe",
                    lambda s=size, n=count: _run(_npipe, ours, ping_pong, s, n),
                ),
                (
                    "npipe client, socket server",
                    lambda s=size, n=count: _run(_npipe, plain, ping_pong, s, n),
                ),
                (
                    "multiprocessing.connection",
                    lambda s=size, n=count: _run(_multiprocessing, mp, ping_pong, s, n),
                ),
                ("asyncio streams", lambda s=size, n=count: _asyncio_ping(aio, s, n)),
            ]
            yield measure(
                f"Ping-pong of {size} bytes, threads",
                "us a round trip (less is better)",
                pings,
                reference="socket, blocking",
                rounds=MORE * rounds,
                goal="64 bytes: at most 1.25 times blocking sockets" if size == 64 else "",
            )
        yield measure(
            "Ping-pong of 64 bytes with a timeout set, threads",
            "us a round trip (less is better)",
            [
                (
                    "socket, settimeout",
                    lambda: _run(_socket, timed, ping_pong, 64, PINGS, **timeout),
                ),
                (
                    "npipe, set_deadline (socket server)",
                    lambda: _run(_npipe, timed, ping_pong, 64, PINGS, **timeout),
                ),
            ],
            reference="socket, settimeout",
            rounds=MORE * rounds,
            goal="at most 1.05 times",
        )
        yield measure(
            "One-way stream of 64 KiB chunks",
            "MB/s (more is better)",
            [
                ("socket, blocking", lambda: _run(_socket, plain, stream, CHUNKS)),
                ("npipe", lambda: _run(_npipe, ours, stream, CHUNKS)),
                ("npipe client, socket server", lambda: _run(_npipe, plain, stream, CHUNKS)),
                ("multiprocessing.connection", lambda: _run(_multiprocessing, mp, stream, CHUNKS)),
                ("asyncio streams", lambda: _asyncio_stream(aio)),
            ],
            reference="socket, blocking",
            rounds=MORE * rounds,
            goal="at least 0.95 of raw sockets",
        )
        yield measure(
            "Connect and close",
            "connections/s (more is better)",
            [
                ("socket, blocking", lambda: _connects(lambda: dial(plain, None).close)),
                ("npipe", lambda: _connects(lambda: npipe.connect(ours).close)),
            ],
            reference="socket, blocking",
            rounds=rounds,
        )
        for clients in (1, 8, 64):
            yield measure(
                f"Ping-pong of 64 bytes on {clients} connections, a thread each",
                "round trips/s (more is better)",
                [
                    ("socket, blocking", lambda c=clients: _many(_socket, plain, c)),
                    ("npipe", lambda c=clients: _many(_npipe, ours, c)),
                ],
                reference="socket, blocking",
                rounds=rounds,
            )
