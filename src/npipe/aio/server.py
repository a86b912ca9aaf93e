"""The server object of ``npipe.aio``: its states and its set of connections.

One class serves every loop and system, so that it behaves the same on asyncio, on uvloop and on
Windows pipes. The acceptor accepts clients (``posix.py``, ``windows.py``); this module does not
use a socket or a pipe directly.

The class has the methods of the newest ``asyncio.Server`` on every Python version:

* ``wait_closed`` also waits for the connections, as in asyncio since 3.12;
* ``close_clients`` and ``abort_clients`` exist before 3.13;
* a cancelled ``serve_forever`` closes the clients, and so does an ``async with`` block that ends
  with an exception; otherwise both could wait for the clients forever.
"""

from __future__ import annotations

import asyncio
import weakref
from asyncio import trsock
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

from npipe.address import Address
from npipe.transport.connecting import accept_backoff

__all__ = ["AcceptRetry", "AcceptedClient", "Acceptor", "Server"]


class AcceptedClient(Protocol):
    """An accepted connection for which the loop has not made a transport yet."""

    on_close: Callable[[], None] | None  # called once, when its descriptor or handle is closed

    def close(self) -> object: ...

    async def open(self, protocol: asyncio.BaseProtocol) -> asyncio.BaseTransport:
        """Make the loop's transport; return it after ``protocol.connection_made`` has run."""


class Acceptor(Protocol):
    """A listening endpoint that accepts clients from ``start`` to ``close``."""

    @property
    def sockets(self) -> Sequence[trsock.TransportSocket]: ...

    def start(self, arrived: Callable[[AcceptedClient], None]) -> None: ...

    def close(self) -> None:
        """Stop accepting at once and release the address."""


class AcceptRetry:
    """Retry of a failed ``accept`` after a pause, so that no failure causes a busy loop.

    Of several consecutive failures only the first is reported to the loop's exception handler.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, address: Address) -> None:
        self._loop = loop
        self._address = address
        self._backoff = accept_backoff()

    def succeeded(self) -> None:
        """Record that a client was accepted; the next failure is the first of a new series."""
        self._backoff.succeeded()

    def failed(self, error: OSError, retry: Callable[[], None]) -> asyncio.TimerHandle:
        """Schedule ``retry`` after the pause; return the timer, which the caller may cancel."""
        if not self._backoff.failures:
            message = f"accepting clients on {self._address} fails; trying again until it works"
            self._loop.call_exception_handler({"message": message, "exception": error})
        return self._loop.call_later(self._backoff.failed(), retry)


class Server(asyncio.AbstractServer):
    """A listening server, as ``start_server`` and ``create_server`` return it.

    As an asynchronous context manager it closes at the end and waits for its connections.

    Args:
        loop: The event loop that runs the server.
        address: The address that ``acceptor`` listens on.
        acceptor: The listening endpoint, which the server owns.
        protocol_factory: Function that returns a new protocol for each client.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        address: Address,
        acceptor: Acceptor,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
    ) -> None:
        self._loop = loop
        self._address = address
        self._acceptor = acceptor
        self._protocol_factory = protocol_factory
        self._serving = False
        self._closed = False
        self._finished = asyncio.Event()  # set when closed and the last connection has ended
        self._forever: asyncio.Future[None] | None = None
        self._opening: set[asyncio.Task[None]] = set()
        self._connections = 0
        # Weak references, so that a transport without other references can be collected.
        self._transports: weakref.WeakSet[Any] = weakref.WeakSet()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "serving" if self._serving else "idle"
        return f"<{type(self).__name__} {self._address} {state}>"

    # Public methods, those of asyncio.Server

    @property
    def address(self) -> Address:
        """The address that the server listens on."""
        return self._address

    @property
    def sockets(self) -> tuple[trsock.TransportSocket, ...]:
        """The listening socket; empty once closed, and on Windows, where a pipe has no socket."""
        return () if self._closed else tuple(self._acceptor.sockets)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the event loop that runs the server.

        Returns:
            The loop.
        """
        return self._loop

    def is_serving(self) -> bool:
        """Tell whether the server accepts clients.

        Returns:
            True between ``start_serving`` and ``close``.
        """
        return self._serving

    async def start_serving(self) -> None:
        """Begin to accept, after a start with ``start_serving=False``. A second call does nothing.

        Clients that connected before this call wait in the backlog.

        Raises:
            RuntimeError: The server is closed.
        """
        self._check_open()
        if not self._serving:
            self._serving = True
            self._acceptor.start(self._arrived)
        await asyncio.sleep(0)

    async def serve_forever(self) -> None:
        """Accept until the call is cancelled, or until ``close``; then raise CancelledError.

        Cancelling the call closes the server and its clients.

        Raises:
            asyncio.CancelledError: The call was cancelled, or the server was closed.
            RuntimeError: The server is closed already, or another task runs this method.
        """
        if self._forever is not None:
            raise RuntimeError(f"{self!r} is already being awaited on serve_forever()")
        self._check_open()
        self._forever = self._loop.create_future()
        try:
            await self.start_serving()
            await self._forever
        except asyncio.CancelledError:
            if not self._closed:
                self.close()
                self.close_clients()
            await self.wait_closed()
            raise
        finally:
            self._forever = None

    def close(self) -> None:
        """Stop accepting and release the address. Connections stay open.

        A second call does nothing.
        """
        if self._closed:
            return
        self._closed = True
        self._serving = False
        self._acceptor.close()
        if self._forever is not None:
            self._forever.cancel()
        if not self._connections:
            self._finished.set()

    async def wait_closed(self) -> None:
        """Wait until the server is closed and every connection has ended."""
        await self._finished.wait()

    def close_clients(self) -> None:
        """Close every connection after its written bytes have been sent."""
        self._end_clients("close")

    def abort_clients(self) -> None:
        """Close every connection at once; bytes that were not sent yet are lost."""
        self._end_clients("abort")

    async def __aenter__(self) -> Server:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.close()
        if any(exc):
            self.close_clients()
        await self.wait_closed()

    # Private methods

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError(f"{self!r} is closed")

    def _end_clients(self, how: str) -> None:
        for task in tuple(self._opening):
            task.cancel()
        for transport in tuple(self._transports):
            getattr(transport, how)()

    def _arrived(self, client: AcceptedClient) -> None:
        self._connections += 1
        client.on_close = self._left
        task = self._loop.create_task(self._open(client))
        self._opening.add(task)
        task.add_done_callback(partial(self._opened, client))

    async def _open(self, client: AcceptedClient) -> None:
        self._transports.add(await client.open(self._protocol_factory()))

    def _opened(self, client: AcceptedClient, task: asyncio.Task[None]) -> None:
        """Close a client whose opening failed or was cancelled, also before the task began."""
        self._opening.discard(task)
        error = None if task.cancelled() else task.exception()
        if task.cancelled() or error:
            client.close()
        if error:
            message = f"a client of {self._address} was dropped: its protocol could not be made"
            self._loop.call_exception_handler({"message": message, "exception": error})

    def _left(self) -> None:
        self._connections -= 1
        if self._closed and not self._connections:
            self._finished.set()
