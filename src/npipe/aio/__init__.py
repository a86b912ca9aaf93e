"""npipe for asyncio: local pipes as streams and as protocols.

    reader, writer = await npipe.aio.open_connection("name")
    async with npipe.aio.start_server(callback, "name") as server:

The functions are named, called and used as those of asyncio; options, guarantees and errors are
those of ``npipe.connect`` and ``npipe.listen``. The transports are the running loop's own, so
every library that takes a reader and a writer, a transport or a protocol works on them. Timeouts
are asyncio's: ``async with asyncio.timeout(5): await reader.read(100)``.

``get_extra_info`` of a writer or transport knows, beside what asyncio tells ("socket", or "pipe"
on Windows): "peer", the ``PeerIdentity`` of the other end; "peername" and "sockname", each an
``Address``.

===================  ==========================================================================
POSIX                any loop: asyncio's own, uvloop
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
from collections.abc import Awaitable, Callable
from io import UnsupportedOperation
from typing import Any, TypeVar

from npipe.address import Address, parse
from npipe.aio.opening import Opening
from npipe.aio.server import Acceptor, Server
from npipe.security import PeerIdentity
from npipe.transport import server_check
from npipe.transport.base import Listener, require_mode
from npipe.transport.smb.options import Smb

if sys.platform == "win32":
    from npipe.aio import windows as backend
else:
    from npipe.aio import posix as backend

__all__ = ["Server", "create_connection", "create_server", "open_connection", "start_server"]

LIMIT = 65536  # bytes; asyncio's own default for a stream's buffer

ProtocolT = TypeVar("ProtocolT", bound=asyncio.BaseProtocol)
Verifier = str | Callable[[PeerIdentity], object] | None


async def open_connection(
    address: str | os.PathLike[str] | Address,
    *,
    limit: int = LIMIT,
    timeout: float | None = None,
    wait: bool = False,
    verify_server: Verifier = "auto",
    impersonation: str = "identification",
    mode: str = "rw",
    remote: Smb | None = None,
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to a server; return a stream to read from and one to write to.

    ``limit`` is the reader's buffer limit in bytes. The other options and the errors are those of
    ``npipe.connect``: ``timeout`` bounds the connecting only, in seconds.
    """
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=limit, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport, _ = await create_connection(
        lambda: protocol,
        address,
        timeout=timeout,
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
    timeout: float | None = None,
    wait: bool = False,
    verify_server: Verifier = "auto",
    impersonation: str = "identification",
    mode: str = "rw",
    remote: Smb | None = None,
) -> tuple[asyncio.Transport, ProtocolT]:
    """Connect to a server; return the loop's transport and the protocol made for it.

    Options and errors are those of ``npipe.connect``. A server that fails ``verify_server`` gets
    no byte, and no protocol is made for it.
    """
    verify_server = server_check(address, verify_server)
    if remote is not None:
        if mode != "rw":
            raise UnsupportedOperation("a pipe of another computer is opened for both directions")
        from npipe.aio import smb

        return await smb.connect(
            protocol_factory,
            _resolve(address),
            remote,
            timeout=timeout,
            wait=wait,
            verify_server=verify_server,
            impersonation=impersonation,
        )
    return await backend.connect(
        protocol_factory,
        _resolve(address),
        timeout=timeout,
        wait=wait,
        verify_server=verify_server,
        impersonation=impersonation,
        **_given(mode),
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

    ``await`` it, or enter it with ``async with``, which closes the server at the end. A coroutine
    function runs as a task per client. ``limit`` is the readers' buffer limit in
    bytes. The other options and the errors are those of ``npipe.listen``. The name is held from
    here on, also with ``start_serving=False``, where clients wait until ``start_serving()``.

    Instead of an address it may be an ``npipe.SambaListener``, which is the server's from then
    on; the options that concern listening are that one's own.
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
    """Serve ``address``: give each client a protocol from ``protocol_factory``.

    Options and errors are those of ``start_server``.
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
                **_given(mode),
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


def _given(mode: str) -> dict[str, Any]:
    """Return the options for the backend of this system."""
    if sys.platform != "win32":
        return {"mode": mode}
    require_mode(mode)
    if mode != "rw":
        raise UnsupportedOperation("asyncio has no one-way pipes on Windows: use npipe.connect")
    return {}


def _resolve(address: str | os.PathLike[str] | Address) -> Address:
    return address if isinstance(address, Address) else parse(address)


def _behind_samba(listener: Listener[Any]) -> Acceptor:
    if sys.platform != "win32":
        from npipe.aio.samba import SambaAcceptor, SambaListener

        if isinstance(listener, SambaListener):
            return SambaAcceptor(listener)
    raise TypeError(f"serve a str, an Address or a SambaListener, not {listener!r}")
