"""Endpoints of a client: an address, a program to start, or a server in this process.

Each is opened as a driver over a transport of the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeGuard, TypeVar, Unpack, cast

import npipe.aio
from npipe.address import Address
from npipe.options import ConnectOptions
from npipe.rpc.aio.driver import Driver
from npipe.rpc.calling.endpoint import (
    check_reconnect,
    is_command,
    refuse_pipe_options,
    wrong_endpoint,
)
from npipe.rpc.remote import remote_module
from npipe.transport.base import Connection
from npipe.transport.memory import memory_pair
from npipe.transport.ssh import is_ssh, ssh_command
from npipe.transport.stdio import EXIT_SECONDS, StdioConnection, spawn, standard_streams

__all__ = ["Endpoint", "adopt_files", "check_endpoint", "open_endpoint"]

READ_SIZE = 65536  # bytes; the buffer size of a pipe

DriverT = TypeVar("DriverT", bound=Driver)


class InProcess(Protocol):
    """A server in this process, on this loop."""

    def protocol(self) -> asyncio.Protocol: ...


class InProcessThreads(Protocol):
    """A server in this process, with threads."""

    def serve_connection(self, connection: Connection) -> None: ...


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Endpoint = (
    str
    | os.PathLike[str]
    | Address
    | Sequence[str]
    | Connection
    | Streams
    | InProcess
    | InProcessThreads
)
"""The endpoints that ``connect`` takes; its documentation describes each."""


def check_endpoint(endpoint: object, reconnect: float | None) -> None:
    """Reject an object that is not an endpoint. Raises TypeError, ValueError."""
    exists = isinstance(endpoint, Connection) or _is_streams(endpoint)
    check_reconnect(reconnect, exists=exists)
    is_address = isinstance(endpoint, str | os.PathLike | Address)
    if not (is_address or exists or is_command(endpoint) or _is_server(endpoint)):
        raise wrong_endpoint(endpoint)


async def open_endpoint(
    endpoint: Endpoint,
    make_driver: Callable[[], DriverT],
    *,
    timeout: float | None,
    **options: Unpack[ConnectOptions],
) -> DriverT:
    """Connect to an endpoint. ``options`` are those of ``npipe.connect``, for pipes only."""
    if is_ssh(endpoint):
        endpoint = ssh_command(endpoint)
    driver: DriverT
    module = remote_module(endpoint)
    is_pipe = module is None and str(endpoint) != "stdio:"
    if isinstance(endpoint, str | Address | os.PathLike) and is_pipe:
        make_protocol = cast(Callable[[], asyncio.Protocol], make_driver)
        _, protocol = await npipe.aio.create_connection(
            make_protocol, endpoint, connect_timeout=timeout, **options
        )
        return cast(DriverT, protocol)
    refuse_pipe_options(options)
    if module is not None:
        driver = await module.open_driver(endpoint, make_driver, timeout=timeout)
        return driver
    if isinstance(endpoint, str | Address | os.PathLike):
        endpoint = standard_streams()
    if _is_streams(endpoint):
        return _adopt_streams(*endpoint, make_driver)
    if isinstance(endpoint, Connection):
        return await _adopt_connection(endpoint, make_driver)
    if is_command(endpoint):
        return await _adopt_connection(await _spawn(endpoint), make_driver)
    return await _adopt_server(endpoint, make_driver)


async def _adopt_server(server: Any, make_driver: Callable[[], DriverT]) -> DriverT:
    """Connect to a server in this process."""
    if not hasattr(server, "protocol"):  # one with threads
        here, there = memory_pair()
        server.serve_connection(there)
        return await _adopt_connection(here, make_driver)
    ours, theirs = socket.socketpair()
    try:
        await _adopt(theirs, server.protocol)
        driver: DriverT = await _adopt(ours, make_driver)
        return driver
    except BaseException:
        ours.close()
        theirs.close()
        raise


async def _spawn(command: Sequence[str]) -> StdioConnection:
    """Start a program; end it again if this is cancelled meanwhile."""
    started: list[StdioConnection] = []
    cancelled = False

    def start() -> StdioConnection:
        started.append(spawn(command))
        if cancelled:
            started[0].close()
        return started[0]

    try:
        return await asyncio.to_thread(start)
    except asyncio.CancelledError:
        cancelled = True
        for files in started:  # the thread may have looked before
            threading.Thread(target=files.close, name="npipe-stdio-end", daemon=True).start()
        raise


def _is_server(endpoint: object) -> bool:
    return hasattr(endpoint, "protocol") or hasattr(endpoint, "serve_connection")


def _is_streams(endpoint: object) -> TypeGuard[Streams]:
    return (
        isinstance(endpoint, tuple)
        and len(endpoint) == 2
        and isinstance(endpoint[0], asyncio.StreamReader)
        and isinstance(endpoint[1], asyncio.StreamWriter)
    )


async def _adopt_connection(connection: Connection, make_driver: Callable[[], DriverT]) -> DriverT:
    """Use a connection that only threads can read."""
    driver: DriverT
    driver, output = await adopt_files(connection, make_driver)
    driver.on_lost = partial(_end, connection, output)
    return driver


def _adopt_streams(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, make_driver: Callable[[], DriverT]
) -> DriverT:
    """Use the transport of two streams, and the bytes that the reader has buffered."""
    driver = make_driver()
    transport = writer.transport
    data = _read_what_is_there(reader)
    transport.set_protocol(cast(asyncio.Protocol, driver))
    driver.connection_made(transport)
    if data:
        driver.data_received(data)
    if reader.at_eof():
        driver.eof_received()
    return driver


def _read_what_is_there(reader: asyncio.StreamReader) -> bytes:
    """Return all bytes that a reader has buffered, without waiting for more."""
    parts: list[bytes] = []
    while True:
        step = reader.read(1 << 30)
        try:
            step.send(None)
        except StopIteration as end:
            if not end.value:
                break
            parts.append(end.value)
        else:  # the reader waits for more bytes
            step.close()
            break
    return b"".join(parts)


async def adopt_files(
    files: Connection, make_protocol: Callable[[], Any]
) -> tuple[Any, threading.Thread]:
    """Connect a ``Connection`` read by threads, such as standard input and output, to the loop.

    No loop supports such files on every system (a regular file on POSIX, an inherited pipe on
    Windows), so two threads copy their bytes to and from a socket, which every loop supports. The
    end of either is the end of the other; ``files`` are closed with the transport.

    Returns:
        The protocol, and the thread that ends when all output has been written.
    """
    ours, theirs = socket.socketpair()
    try:
        protocol = await _adopt(ours, make_protocol)
    except BaseException:
        ours.close()
        theirs.close()
        files.close()
        raise
    # Daemon threads: a thread that reads this program's standard input cannot be interrupted.
    threading.Thread(
        target=_carry_in, args=(files, theirs), name="npipe-stdin", daemon=True
    ).start()
    output = threading.Thread(
        target=_carry_out, args=(files, theirs), name="npipe-stdout", daemon=True
    )
    output.start()
    return protocol, output


def _carry_in(files: Connection, sock: socket.socket) -> None:
    with contextlib.suppress(OSError):  # whichever end fails, the other is closed
        while data := files.read(READ_SIZE):
            sock.sendall(data)
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_WR)


def _carry_out(files: Connection, sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := sock.recv(READ_SIZE):
            files.write(data)
    files.close()
    sock.close()


def _end(files: Connection, output: threading.Thread) -> threading.Thread:
    """Close the files of a connection that has ended, in a thread.

    The thread that writes to them may block for ever if they are not read. Returns the thread that
    ends when the files are closed and the child process has ended.
    """

    def end() -> None:
        output.join(EXIT_SECONDS)
        files.close()
        output.join()

    thread = threading.Thread(target=end, name="npipe-stdout-end", daemon=True)
    thread.start()
    return thread


async def _adopt(sock: socket.socket, make_protocol: Callable[[], Any]) -> Any:
    """Connect a socket to the loop."""
    loop = asyncio.get_running_loop()
    sock.setblocking(False)
    if sys.platform == "win32":
        _, protocol = await loop.create_connection(make_protocol, sock=sock)
    else:
        _, protocol = await loop.create_unix_connection(make_protocol, sock=sock)
    return protocol
