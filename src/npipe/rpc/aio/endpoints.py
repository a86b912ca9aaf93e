"""Where a client may connect to: a pipe's address, a program to start, a server in this process.

All of them come out as links over transports of the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import npipe.aio
from npipe.address import Address
from npipe.rpc.aio.driver import Driver
from npipe.rpc.threads import endpoints
from npipe.transport.base import Connection
from npipe.transport.stdio import EXIT_SECONDS

__all__ = ["Endpoint", "adopt_files", "open_endpoint"]

READ_SIZE = 65536  # bytes; as much as a pipe holds


class InProcess(Protocol):
    """A server in this process, on this loop."""

    def protocol(self) -> asyncio.Protocol: ...


Endpoint = str | Address | Sequence[str] | InProcess | endpoints.InProcess
"""An address; ``"stdio:"`` for this program's own standard input and output; the command line of
a program, as a list, to start and speak to over its; or a ``Server``, of either flavour."""


async def open_endpoint(
    endpoint: Endpoint, make_link: Callable[[], Driver], *, timeout: float | None, **options: Any
) -> Driver:
    """Connect to an endpoint. ``options`` are those of ``npipe.connect``, for addresses only."""
    link: Driver
    if isinstance(endpoint, str | Address) and endpoint != "stdio:":
        _, link = await npipe.aio.create_connection(make_link, endpoint, timeout=timeout, **options)
        return link
    if isinstance(endpoint, str | Address | Sequence) or not hasattr(endpoint, "protocol"):
        files = await asyncio.to_thread(endpoints.open_endpoint, endpoint, timeout=timeout)
        link, output = await adopt_files(files, make_link)
        link.on_lost = partial(_end, files, output)
        return link
    ours, theirs = socket.socketpair()
    try:
        await _adopt(theirs, endpoint.protocol)
        link = await _adopt(ours, make_link)
        return link
    except BaseException:
        ours.close()
        theirs.close()
        raise


async def adopt_files(
    files: Connection, make_protocol: Callable[[], Any]
) -> tuple[Any, threading.Thread]:
    """Hand standard input and output to the loop. Return the protocol, and the thread that ends
    when all output has been written.

    No loop waits for such files on every system (a regular file on POSIX, an inherited pipe on
    Windows), so two threads carry their bytes to and from a socket, for which all do. The end of
    either is the end of the other; ``files`` are closed with the transport.
    """
    ours, theirs = socket.socketpair()
    try:
        protocol = await _adopt(ours, make_protocol)
    except BaseException:
        ours.close()
        theirs.close()
        files.close()
        raise
    # Daemons: nothing can wake one that reads the standard input of this program.
    threading.Thread(
        target=_carry_in, args=(files, theirs), name="npipe-stdin", daemon=True
    ).start()
    output = threading.Thread(
        target=_carry_out, args=(files, theirs), name="npipe-stdout", daemon=True
    )
    output.start()
    return protocol, output


def _carry_in(files: Connection, sock: socket.socket) -> None:
    with contextlib.suppress(OSError):  # whichever end went: the other is told
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
    """Close files whose link has ended: who carries to them may wait for ever for who reads.
    Return the thread that ends when they are closed, and the program has ended."""

    def end() -> None:
        output.join(EXIT_SECONDS)
        files.close()
        output.join()

    thread = threading.Thread(target=end, name="npipe-stdout-end", daemon=True)
    thread.start()
    return thread


async def _adopt(sock: socket.socket, make_protocol: Callable[[], Any]) -> Any:
    """Hand a connected socket to the loop."""
    loop = asyncio.get_running_loop()
    sock.setblocking(False)
    if sys.platform == "win32":
        _, protocol = await loop.create_connection(make_protocol, sock=sock)
    else:
        _, protocol = await loop.create_unix_connection(make_protocol, sock=sock)
    return protocol
