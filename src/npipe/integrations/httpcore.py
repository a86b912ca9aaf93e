"""Network backends for httpcore and httpcore2, on which ``httpx`` and ``httpx2`` are built.

Extension point: ``ConnectionPool(network_backend=)``, which is public in both. The classes are the
same for both packages, but their exceptions differ, and httpx does not convert exceptions of the
other package. So each backend gets the module ``core`` whose exceptions it raises.
"""

from __future__ import annotations

import asyncio
import select
import sys
import time
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

import npipe
from npipe import aio

if TYPE_CHECKING:
    from npipe.integrations.options import ConnectOptions

__all__ = ["AsyncBackend", "Backend"]

NO_TLS = "TLS over a pipe is not supported: write http:// (or ws://) in the URL"


def _mapped(
    error: OSError, timed_out: Callable[[str], Exception], failed: Callable[[str], Exception]
) -> Exception:
    """Return what httpx maps to its own exception for the error of a connection."""
    return (timed_out if isinstance(error, TimeoutError) else failed)(str(error))


def _deadline(seconds: float | None) -> float | None:
    return None if seconds is None else time.monotonic() + seconds


def _has_input(sock: Any) -> bool:
    """Tell whether a read of ``sock`` would return at once, which a busy loop may not know yet.

    Return False for None: a Windows pipe has no socket.
    """
    if sys.platform == "win32" or sock is None:
        return False
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


class Stream:
    """A connection as an ``httpcore.NetworkStream``. Timeouts are per call, in seconds."""

    def __init__(self, core: ModuleType, connection: npipe.Connection) -> None:
        self._core, self._connection = core, connection

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            self._connection.set_read_deadline(_deadline(timeout))
            return self._connection.read(max_bytes)
        except OSError as error:
            raise _mapped(error, self._core.ReadTimeout, self._core.ReadError) from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if not buffer:
            return
        try:
            self._connection.set_write_deadline(_deadline(timeout))
            self._connection.write(buffer)
        except OSError as error:
            raise _mapped(error, self._core.WriteTimeout, self._core.WriteError) from error

    def close(self) -> None:
        self._connection.close()

    def start_tls(self, *_: object, **__: object) -> NoReturn:
        self.close()  # httpcore expects the stream to do it
        raise self._core.UnsupportedProtocol(NO_TLS)

    def get_extra_info(self, info: str) -> Any:
        """Return "peer", the server's ``PeerIdentity``; "server_addr"; or None.

        httpcore uses "is_readable" of an idle connection to detect that the server has closed it.
        """
        match info:
            case "is_readable":
                return self._connection.closed or self._connection.has_gone()
            case "peer":
                return self._connection.peer
            case "server_addr":
                return str(self._connection.remote_address), 0
        return None


class Backend:
    """An ``httpcore.NetworkBackend`` that connects to one address and ignores the host."""

    def __init__(
        self, core: ModuleType, address: str | npipe.Address, options: ConnectOptions
    ) -> None:
        self._core, self._address, self._options = core, address, options

    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, **_: object
    ) -> Stream:
        try:
            connection = npipe.connect(self._address, connect_timeout=timeout, **self._options)
        except OSError as error:
            raise _mapped(error, self._core.ConnectTimeout, self._core.ConnectError) from error
        return Stream(self._core, connection)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class AsyncStream:
    """An asyncio stream as an ``httpcore.AsyncNetworkStream``."""

    def __init__(
        self, core: ModuleType, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._core, self._reader, self._writer = core, reader, writer

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            async with asyncio.timeout(timeout):
                return await self._reader.read(max_bytes)
        except OSError as error:
            raise _mapped(error, self._core.ReadTimeout, self._core.ReadError) from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        try:
            async with asyncio.timeout(timeout):
                self._writer.write(buffer)
                await self._writer.drain()
        except OSError as error:
            if isinstance(error, TimeoutError):
                self._writer.transport.abort()  # a close would wait to send what is not read
            raise _mapped(error, self._core.WriteTimeout, self._core.WriteError) from error

    async def aclose(self) -> None:
        self._writer.close()

    async def start_tls(self, *_: object, **__: object) -> NoReturn:
        await self.aclose()
        raise self._core.UnsupportedProtocol(NO_TLS)

    def get_extra_info(self, info: str) -> Any:
        """Return the same as ``Stream.get_extra_info``."""
        match info:
            case "is_readable":
                closed = self._reader.at_eof() or self._writer.is_closing()
                return closed or _has_input(self._writer.get_extra_info("socket"))
            case "peer":
                return self._writer.get_extra_info("peer")
            case "server_addr":
                return str(self._writer.get_extra_info("peername")), 0
        return None


class AsyncBackend:
    """An ``httpcore.AsyncNetworkBackend`` for asyncio that connects to one address."""

    def __init__(
        self, core: ModuleType, address: str | npipe.Address, options: ConnectOptions
    ) -> None:
        self._core, self._address, self._options = core, address, options

    async def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, **_: object
    ) -> AsyncStream:
        try:
            streams = await aio.open_connection(
                self._address, connect_timeout=timeout, **self._options
            )
        except OSError as error:
            raise _mapped(error, self._core.ConnectTimeout, self._core.ConnectError) from error
        return AsyncStream(self._core, *streams)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
