"""Local pipes for asyncio, as streams and as protocols.

    reader, writer = await npipe.aio.open_connection("name")
    async with npipe.aio.start_server(callback, "name") as server:

The functions have the names and signatures of those of asyncio; options, guarantees and errors are
those of ``npipe.connect`` and ``npipe.listen``. The transports are those of the running loop, so
every library that takes a reader and a writer, a transport or a protocol works on them. Timeouts
are those of asyncio: ``async with asyncio.timeout(5): await reader.read(100)``.

``get_extra_info`` of a writer or transport returns, in addition to the values of asyncio
("socket", or "pipe" on Windows): "peer", the ``PeerIdentity`` of the peer; "peername" and
"sockname", each an ``Address``.

===================  ==========================================================================
POSIX                any loop, such as those of asyncio and uvloop
Windows              asyncio's Proactor loop, which is the default there; on another loop two
                     threads for each connection carry the bytes
remote pipes         any loop, with ``remote=npipe.Smb(...)``
half-close           ``write_eof`` on POSIX; where ``can_write_eof()`` is false it raises
                     NotImplementedError, as asyncio's transports do
===================  ==========================================================================
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable
from io import UnsupportedOperation
from typing import Any, TypeVar

from npipe.address import Address, parse
from npipe.aio.opening import Opening
from npipe.aio.server import Acceptor, Server
from npipe.security import PeerIdentity
from npipe.transport import server_check
from npipe.transport.base import Listener
from npipe.transport.checks import duration
from npipe.transport.smb.options import Smb

if sys.platform == "win32":
    from npipe.aio import windows as backend
else:
    from npipe.aio import posix as backend

__all__ = [
    "Server",
    "create_connection",
    "create_server",
    "disconnect",
    "open_connection",
    "start_server",
]

LIMIT = 65536  # bytes; the default of asyncio for a stream's buffer
DISCONNECT_PAUSE = 0.01  # seconds between two queries whether a client has read everything

ProtocolT = TypeVar("ProtocolT", bound=asyncio.BaseProtocol)
Verifier = str | Callable[[PeerIdentity], object] | None


async def open_connection(
    address: str | os.PathLike[str] | Address,
    *,
    limit: int = LIMIT,
    connect_timeout: float | None = None,
    wait: bool = False,
    verify_server: Verifier = "auto",
    impersonation: str = "identification",
    mode: str = "rw",
    remote: Smb | None = None,
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    r"""Connect to a server and make a stream reader and a stream writer.

    Args:
        address: Address of the server: text, a path or an Address.
        limit: Limit of the reader's buffer in bytes, as in ``asyncio.open_connection``.
        connect_timeout: Seconds for connecting, all waits included; None sets no limit.
        wait: Whether to wait also for a server that does not exist yet.
        verify_server: Check of the server's identity before the first byte is sent; see
            ``npipe.connect``.
        impersonation: Degree to which the server may act as this user, on Windows; see
            ``npipe.connect``.
        mode: "rw"; "r" for a connection that only reads, "w" for one that only writes.
        remote: Logon to the computer of ``\\host\pipe\name`` over SMB (extra "smb").

    Returns:
        The reader and the writer. The caller closes the writer.

    Raises:
        ValueError: The address or an option is bad.
        OSError: The server cannot be reached, or ``verify_server`` refused it (PermissionError);
            see ``npipe.connect``.
        TimeoutError: ``connect_timeout`` has passed.
        io.UnsupportedOperation: A ``mode`` other than "rw" with ``remote``.
    """
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=limit, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport, _ = await create_connection(
        lambda: protocol,
        address,
        connect_timeout=connect_timeout,
        wait=wait,
        verify_server=verify_server,
        impersonation=impersonation,
        mode=mode,
        remote=remote,
    )
    if mode == "w":
        reader.feed_eof()
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def create_connection(
    protocol_factory: Callable[[], ProtocolT],
    address: str | os.PathLike[str] | Address,
    *,
    connect_timeout: float | None = None,
    wait: bool = False,
    verify_server: Verifier = "auto",
    impersonation: str = "identification",
    mode: str = "rw",
    remote: Smb | None = None,
) -> tuple[asyncio.Transport, ProtocolT]:
    r"""Connect to a server and make a transport of the running loop and a protocol.

    A server that fails ``verify_server`` receives no byte, and no protocol is made for it.

    Args:
        protocol_factory: Function that returns a new protocol.
        address: Address of the server: text, a path or an Address.
        connect_timeout: Seconds for connecting, all waits included; None sets no limit.
        wait: Whether to wait also for a server that does not exist yet.
        verify_server: Check of the server's identity before the first byte is sent; see
            ``npipe.connect``.
        impersonation: Degree to which the server may act as this user, on Windows; see
            ``npipe.connect``.
        mode: "rw"; "r" for a connection that only reads, "w" for one that only writes.
        remote: Logon to the computer of ``\\host\pipe\name`` over SMB (extra "smb").

    Returns:
        The transport and the protocol. The caller closes the transport.

    Raises:
        ValueError: The address or an option is bad.
        OSError: The server cannot be reached, or ``verify_server`` refused it (PermissionError);
            see ``npipe.connect``.
        TimeoutError: ``connect_timeout`` has passed.
        io.UnsupportedOperation: A ``mode`` other than "rw" with ``remote``.
    """
    verify_server = server_check(address, verify_server)
    if remote is not None:
        if mode != "rw":
            raise UnsupportedOperation(
                f'mode={mode!r}: a remote pipe is always opened with mode="rw"'
            )
        from npipe.aio import smb

        return await smb.connect(
            protocol_factory,
            _resolve(address),
            remote,
            timeout=connect_timeout,
            wait=wait,
            verify_server=verify_server,
            impersonation=impersonation,
        )
    return await backend.connect(
        protocol_factory,
        _resolve(address),
        timeout=connect_timeout,
        wait=wait,
        verify_server=verify_server,
        impersonation=impersonation,
        mode=mode,
    )


def start_server(
    client_connected_cb: Callable[
        [asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None] | None
    ],
    address: str | os.PathLike[str] | Address | Listener[Any],
    *,
    limit: int = LIMIT,
    access: str | int = "owner",
    backlog: int | None = None,
    message_mode: bool = False,
    reject_remote: bool = True,
    buffer_size: int = 65536,
    mode: str = "rw",
    start_serving: bool = True,
) -> Opening[Server]:
    """Serve ``address``: call ``client_connected_cb(reader, writer)`` for each client.

    ``await`` the result, or enter it with ``async with``, which closes the server at the end. The
    address is taken from then on, also with ``start_serving=False``.

    Args:
        client_connected_cb: Function that takes the reader and the writer of a client. A coroutine
            function runs as one task for each client.
        address: Address of the server: text, a path or an Address. Or an ``npipe.SambaListener``,
            which the server owns from then on; the options of listening do not apply to it.
        limit: Limit of each reader's buffer in bytes, as in ``asyncio.start_server``.
        access: The users that may connect; see ``npipe.listen``.
        backlog: Number of clients that may wait to be accepted; None takes the default of the
            system.
        message_mode: Whether to create a pipe of the message type, on Windows.
        reject_remote: Whether to refuse clients of other computers, on Windows.
        buffer_size: Size of the kernel's buffer in bytes, on Windows.
        mode: "rw"; "r" for connections that only read at this end, "w" for connections that only
            write at this end. On Windows a client then connects with the opposite mode.
        start_serving: Whether to accept at once. With False clients wait in the backlog until
            ``Server.start_serving`` is called.

    Returns:
        An awaitable for the server, which is also an asynchronous context manager that closes it.

    Raises:
        ValueError: The address or an option is bad.
        OSError: The address cannot be served; see ``npipe.listen``.
        TypeError: ``address`` is of another type.
    """

    def make_protocol() -> asyncio.StreamReaderProtocol:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=limit, loop=loop)
        if mode == "w":
            reader.feed_eof()
        return asyncio.StreamReaderProtocol(reader, client_connected_cb, loop=loop)

    return create_server(
        make_protocol,
        address,
        access=access,
        backlog=backlog,
        message_mode=message_mode,
        reject_remote=reject_remote,
        buffer_size=buffer_size,
        mode=mode,
        start_serving=start_serving,
    )


def create_server(
    protocol_factory: Callable[[], asyncio.BaseProtocol],
    address: str | os.PathLike[str] | Address | Listener[Any],
    *,
    access: str | int = "owner",
    backlog: int | None = None,
    message_mode: bool = False,
    reject_remote: bool = True,
    buffer_size: int = 65536,
    mode: str = "rw",
    start_serving: bool = True,
) -> Opening[Server]:
    """Serve ``address``: make a protocol from ``protocol_factory`` for each client.

    ``await`` the result, or enter it with ``async with``, which closes the server at the end. The
    address is taken from then on, also with ``start_serving=False``.

    Args:
        protocol_factory: Function that returns a new protocol; called once for each client.
        address: Address of the server: text, a path or an Address. Or an ``npipe.SambaListener``,
            which the server owns from then on; the options of listening do not apply to it.
        access: The users that may connect; see ``npipe.listen``.
        backlog: Number of clients that may wait to be accepted; None takes the default of the
            system.
        message_mode: Whether to create a pipe of the message type, on Windows.
        reject_remote: Whether to refuse clients of other computers, on Windows.
        buffer_size: Size of the kernel's buffer in bytes, on Windows.
        mode: "rw"; "r" for connections that only read at this end, "w" for connections that only
            write at this end. On Windows a client then connects with the opposite mode.
        start_serving: Whether to accept at once. With False clients wait in the backlog until
            ``Server.start_serving`` is called.

    Returns:
        An awaitable for the server, which is also an asynchronous context manager that closes it.

    Raises:
        ValueError: The address or an option is bad.
        OSError: The address cannot be served; see ``npipe.listen``.
        TypeError: ``address`` is of another type.
    """

    async def serve() -> Server:
        acceptor: Acceptor
        if isinstance(address, str | os.PathLike | Address):
            where = _resolve(address)
            acceptor = await backend.listen(
                where,
                access=access,
                backlog=backlog,
                message_mode=message_mode,
                reject_remote=reject_remote,
                buffer_size=buffer_size,
                mode=mode,
            )
        else:
            acceptor = _behind_samba(address)
            where = address.address
        server = Server(asyncio.get_running_loop(), where, acceptor, protocol_factory)
        if start_serving:
            try:
                await server.start_serving()
            except BaseException:
                server.close()
                raise
        return server

    return Opening(serve())


async def disconnect(
    connection: asyncio.WriteTransport | asyncio.StreamWriter, timeout: float = 0.0
) -> bool:
    """Disconnect a client that has read everything, at a server's end on Windows.

    The counterpart of ``npipe.Connection.disconnect``: it frees the name of the pipe although the
    client keeps its handle. Close the transport or the writer afterwards.

    Args:
        connection: The transport or the stream writer of a served connection.
        timeout: Seconds to wait until the client has read everything.

    Returns:
        True if the client was disconnected; False if it may have unread bytes, and on a connection
        whose client keeps no name in use (POSIX, a client's end).
    """
    transport = connection
    if isinstance(transport, asyncio.StreamWriter):
        transport = transport.transport
    pipe = transport.get_extra_info("pipe")
    due = time.monotonic() + (duration(timeout) or 0.0)
    while pipe is not None and not transport.is_closing():
        if not transport.get_write_buffer_size() and pipe.disconnect():
            return True
        left = due - time.monotonic()
        if left <= 0:
            break
        await asyncio.sleep(min(left, DISCONNECT_PAUSE))
    return False


def _resolve(address: str | os.PathLike[str] | Address) -> Address:
    return address if isinstance(address, Address) else parse(address)


def _behind_samba(listener: Listener[Any]) -> Acceptor:
    if sys.platform != "win32":
        from npipe.aio.samba import SambaAcceptor, SambaListener

        if isinstance(listener, SambaListener):
            return SambaAcceptor(listener)
    raise TypeError(f"an address is a str, a path, an Address or a SambaListener, not {listener!r}")
