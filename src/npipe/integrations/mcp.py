"""The Model Context Protocol over a pipe, with the official SDK: one server for many clients.

    async with mcp.Client(connect("name")) as client:
        await client.call_tool("add", {"a": 1, "b": 2})

    await serve("name", server)      # an MCPServer, or a low-level Server

A message is a line of JSON, as on standard streams; a connection is a session. A tool finds its
caller in ``context.request_context.request.peer``, a ``PeerIdentity``.

Extension points: the transport of ``mcp.Client``, and ``Server.run`` of the low-level
server, which an ``MCPServer`` has in ``_lowlevel_server``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Unpack

from npipe import aio
from npipe.integrations import missing

try:
    import anyio
    from mcp.shared.message import ServerMessageMetadata, SessionMessage
    from mcp_types import jsonrpc_message_adapter
except ModuleNotFoundError as _error:
    raise missing("mcp", _error) from None

if TYPE_CHECKING:
    from npipe.address import Address
    from npipe.integrations.options import ConnectOptions, ListenOptions
    from npipe.security import PeerIdentity

__all__ = ["Request", "connect", "serve"]

LIMIT: Final = 1 << 24  # bytes of a message; a longer one ends its session

logger: logging.Logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """The object in ``context.request_context.request`` of a tool."""

    peer: PeerIdentity


@asynccontextmanager
async def connect(
    address: str | Address,
    *,
    connect_timeout: float | None = None,
    **options: Unpack[ConnectOptions],
) -> AsyncIterator[tuple[Any, Any]]:
    """Connect to a server; yield the two streams for ``mcp.Client``.

    Args:
        address: Address of the server.
        connect_timeout: Seconds for connecting; None means no limit.
        options: Options of ``npipe.connect``.

    Raises:
        OSError: As ``npipe.connect``.
    """
    streams = await aio.open_connection(
        address, limit=LIMIT, connect_timeout=connect_timeout, **options
    )
    async with _session(*streams, metadata=None) as both:
        yield both


async def serve(address: str | Address, server: Any, **options: Unpack[ListenOptions]) -> None:
    """Serve each client at ``address`` in a session of its own, until cancelled.

    Args:
        address: Address to serve.
        server: An ``MCPServer``, or the low-level ``Server``.
        options: Options of ``npipe.listen``.

    Raises:
        OSError: As ``npipe.listen``.
    """
    low_level = getattr(server, "_lowlevel_server", server)

    async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        metadata = ServerMessageMetadata(request_context=Request(writer.get_extra_info("peer")))
        try:
            async with _session(reader, writer, metadata) as both:
                await low_level.run(*both, low_level.create_initialization_options())
        except Exception:  # the session of one client must not end the others
            logger.exception("a session at %s failed", address)

    # A task group, and not a coroutine function as the callback: no task may outlive this, and
    # CPython before 3.12.2 logs an error for each such task that is cancelled.
    async with asyncio.TaskGroup() as sessions:

        def start(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            sessions.create_task(session(reader, writer))

        async with aio.start_server(start, address, limit=LIMIT, **options) as listening:
            await listening.serve_forever()


@asynccontextmanager
async def _session(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, metadata: object
) -> AsyncIterator[tuple[Any, Any]]:
    """Yield a stream of the messages that arrive, and one for those to send."""
    arrived, read_stream = anyio.create_memory_object_stream(0)
    write_stream, leaving = anyio.create_memory_object_stream(0)
    try:
        async with anyio.create_task_group() as tasks, arrived, leaving, read_stream, write_stream:
            tasks.start_soon(_receive, reader, arrived, metadata)
            tasks.start_soon(_send, writer, leaving)
            try:
                yield read_stream, write_stream
            finally:
                tasks.cancel_scope.cancel()
    finally:
        writer.close()


async def _receive(reader: asyncio.StreamReader, arrived: Any, metadata: object) -> None:
    """Pass on each message. An invalid one is passed on as an exception, as the SDK expects."""
    async with arrived:
        while line := await _line(reader):
            try:
                message = jsonrpc_message_adapter.validate_json(line, by_name=False)
            except ValueError as error:
                await arrived.send(error)
            else:
                await arrived.send(SessionMessage(message, metadata))


async def _line(reader: asyncio.StreamReader) -> bytes:
    """Return the next line; b"" when the peer has disconnected, or its line is too long."""
    try:
        return await reader.readline()
    except (OSError, ValueError) as error:
        logger.warning("a session ends: %s", error)
        return b""


async def _send(writer: asyncio.StreamWriter, leaving: Any) -> None:
    async for message in leaving:
        text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
        try:
            writer.write(text.encode() + b"\n")
            await writer.drain()
        except OSError:  # the peer has disconnected, which reading reports too
            return
