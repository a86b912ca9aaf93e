"""Unix sockets for asyncio, on any loop that can watch a socket (asyncio, uvloop).

``npipe.transport.posix`` makes, binds and verifies the sockets; public methods of the loop make the
transports. No function here blocks.

This module accepts clients itself. When descriptors run out, the accept loop of asyncio logs a
hundred lines and that of libuv drops the client, and both make a transport also for a client that
may not connect. Here accepting stops while some descriptors are left for other uses.
"""

from __future__ import annotations

import sys

assert sys.platform != "win32"  # mypy then skips the file there

import asyncio
import contextlib
import logging
import socket
import time
from asyncio import trsock
from collections.abc import Callable
from typing import Any, TypeVar

from npipe.address import Address
from npipe.aio.extra_info import Introducer
from npipe.aio.server import AcceptedClient, AcceptRetry
from npipe.transport.checks import require_mode
from npipe.transport.connecting import Attempts
from npipe.transport.descriptors import are_scarce
from npipe.transport.posix import connect as posix
from npipe.transport.posix import files as unix_files
from npipe.transport.posix.connect import Verifier

__all__ = ["connect", "listen"]

log: logging.Logger = logging.getLogger("npipe.aio")

BATCH = 8  # clients accepted in a row before the loop runs its other callbacks
SCARCE_PAUSE = 0.1  # seconds between two checks whether descriptors are scarce

LOCK_PAUSE = 0.005  # seconds between two tries to take the lock of a name

ProtocolT = TypeVar("ProtocolT", bound=asyncio.BaseProtocol)


async def connect(
    protocol_factory: Callable[[], ProtocolT],
    address: Address,
    *,
    timeout: float | None,
    wait: bool,
    verify_server: Verifier,
    impersonation: str,
    mode: str,
) -> tuple[asyncio.Transport, ProtocolT]:
    """Connect to a Unix socket; see ``npipe.aio.create_connection``."""
    posix.check_options(verify_server, impersonation)
    require_mode(mode)
    sock = await dial(address, timeout=timeout, wait=wait)
    try:
        posix.verify(sock, address, verify_server)
        protocol = protocol_factory()
        introducer = await introduce(sock, protocol, info_about(sock, address), mode)
    except BaseException:
        sock.close()
        raise
    return introducer.transport, protocol


async def introduce(
    sock: socket.socket,
    protocol: asyncio.BaseProtocol,
    info: dict[str, Any],
    mode: str = "rw",
    *,
    half_close: bool = True,
) -> Introducer:
    """Make a transport for ``sock`` and connect it to ``protocol``.

    The direction that ``mode`` excludes is shut down, for both ends (man page shutdown(2)).

    A client does not use ``loop.create_unix_connection``: that of uvloop takes ownership of the
    socket only after ``connection_made``, and if that method closes the transport, the descriptor
    is closed twice.

    Args:
        sock: A connected non-blocking socket, which the loop owns from then on.
        protocol: The protocol.
        info: The extra info of the transport.
        mode: "r", "w" or "rw".
        half_close: Whether the transport has ``write_eof``.

    Returns:
        The introducer, which holds the transport.
    """
    if mode != "rw":
        with contextlib.suppress(OSError):  # macOS: ENOTCONN after the peer has closed
            sock.shutdown(socket.SHUT_WR if mode == "r" else socket.SHUT_RD)
    introducer = Introducer(protocol, info, reads="r" in mode, half_close=half_close)
    await asyncio.get_running_loop().connect_accepted_socket(lambda: introducer, sock)
    return introducer


async def dial(address: Address, *, timeout: float | None, wait: bool) -> socket.socket:
    """Return a connected socket; retry after pauses while the server is busy.

    Connecting a Unix socket never blocks, so only the pauses are awaited. ``loop.sock_connect`` is
    not used because that of asyncio takes a full backlog (EAGAIN) for a connection.
    """
    attempts = Attempts(address, timeout)
    while (sock := posix.try_connect(address, wait=wait)) is None:
        await asyncio.sleep(attempts.pause(posix.NOT_YET))
    return sock


async def listen(
    address: Address,
    *,
    access: str | int,
    backlog: int | None,
    message_mode: bool,
    reject_remote: bool,
    buffer_size: int,
    mode: str,
) -> SocketAcceptor:
    """Bind ``address`` and listen; see ``npipe.aio.create_server``.

    ``message_mode``, ``reject_remote`` and ``buffer_size`` have an effect on Windows only.
    """
    require_mode(mode)
    posix.check_size(buffer_size)
    del message_mode, reject_remote, buffer_size
    end = time.monotonic() + unix_files.LOCK_PATIENCE
    while True:
        try:
            bound = posix.bind(address, access=access, backlog=backlog, patience=0)
            return SocketAcceptor(bound, mode)
        except TimeoutError:  # another process is binding; ``bind`` itself would block the loop
            if time.monotonic() >= end:
                raise
        await asyncio.sleep(LOCK_PAUSE)


def info_about(sock: socket.socket, address: Address) -> dict[str, Any]:
    return {"peer": posix.peer_of(sock), "peername": address, "sockname": address}


class AcceptedSocket(socket.socket):
    """Socket of a client that calls ``on_close`` when the transport has closed it."""

    __slots__ = ("acceptor", "info", "mode", "on_close")

    acceptor: SocketAcceptor | None  # None: it came from Samba
    info: dict[str, Any]
    mode: str
    on_close: Callable[[], None] | None

    async def open(self, protocol: asyncio.BaseProtocol) -> asyncio.BaseTransport:
        return (await introduce(self, protocol, self.info, self.mode)).original

    def close(self) -> None:
        super().close()
        self._tell()

    def detach(self) -> int:  # called by uvloop after it has closed the descriptor
        descriptor = super().detach()
        self._tell()
        return descriptor

    def _tell(self) -> None:
        on_close, self.on_close = self.on_close, None
        if on_close is not None:
            on_close()
            if self.acceptor is not None:
                self.acceptor.descriptor_closed()


class SocketAcceptor:
    """Listening socket that accepts clients when the loop reports it as readable."""

    def __init__(self, bound: posix.BoundSocket, mode: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._bound = bound
        self._mode = mode
        self._retry = AcceptRetry(self._loop, bound.address)
        self._arrived: Callable[[AcceptedClient], None] | None = None  # None: not accepting
        self._pause: asyncio.TimerHandle | None = None
        self._was_scarce = False

    @property
    def sockets(self) -> tuple[trsock.TransportSocket, ...]:
        return (trsock.TransportSocket(self._bound.socket),)

    def start(self, arrived: Callable[[AcceptedClient], None]) -> None:
        self._arrived = arrived
        self._resume()

    def close(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        if self._arrived is not None:
            self._arrived = None
            self._loop.remove_reader(self._bound.socket)
        self._bound.release()  # first, while no other socket can reuse the inode
        self._bound.socket.close()

    def descriptor_closed(self) -> None:
        """Accept the next client if accepting was paused: a client has left."""
        if self._pause is not None:
            self._pause.cancel()
            self._resume()

    def _resume(self) -> None:
        self._pause = None
        self._loop.add_reader(self._bound.socket, self._accept)

    def _hold(self) -> None:
        """Accept no client until one leaves, or other files of the process are closed."""
        self._loop.remove_reader(self._bound.socket)
        self._pause = self._loop.call_later(SCARCE_PAUSE, self._resume_unless_scarce)
        if not self._was_scarce:  # log once: at the limit this recurs with each client
            self._was_scarce = True
            log.warning(
                "no more clients are accepted on %s for now: "
                "the limit of open files (ulimit -n) is nearly reached",
                self._bound.address,
            )

    def _resume_unless_scarce(self) -> None:
        if are_scarce(self._bound.socket.fileno()):
            self._pause = self._loop.call_later(SCARCE_PAUSE, self._resume_unless_scarce)
        else:
            self._resume()

    def _accept(self) -> None:
        for _ in range(BATCH):
            if self._arrived is None:
                return  # a client's protocol has closed the server
            try:
                sock, _ = self._bound.socket.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue  # the client disconnected before it was accepted
            except OSError as error:
                self._loop.remove_reader(self._bound.socket)
                self._pause = self._retry.failed(error, self._resume)
                return
            self._retry.succeeded()
            if are_scarce(sock.fileno()):
                self._hold()
            self._admit(sock, self._arrived)
            if self._pause is not None:
                return

    def _admit(self, sock: socket.socket, arrived: Callable[[AcceptedClient], None]) -> None:
        if not posix.admits(self._bound, sock):
            sock.close()
            return
        client = AcceptedSocket(sock.family, sock.type, sock.proto, sock.detach())
        client.setblocking(False)
        client.info = info_about(client, self._bound.address)
        client.mode = self._mode
        client.on_close = None
        client.acceptor = self
        arrived(client)
