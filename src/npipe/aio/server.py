"""The server object of the asyncio face: its life, and who is connected.

One class for every loop and system, so that it behaves the same on asyncio, on uvloop and on
pipes. How clients are accepted is the acceptor's affair (``posix.py``, ``windows.py``); no
socket and no pipe is touched here.

It has the methods of the newest ``asyncio.Server`` on every Python version:

* ``wait_closed`` waits for the connections too, as asyncio's does since 3.12;
* ``close_clients`` and ``abort_clients`` are there before 3.13;
* a cancelled ``serve_forever`` closes the clients, and so does an ``async with`` that is left by
  an exception; else both could wait for them for ever.
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

__all__ = ["AcceptRetry", "Acceptor", "Client", "Server"]


class Client(Protocol):
    """An accepted connection that the loop has not yet made a transport of."""

    on_close: Callable[[], None] | None  # called once, when its descriptor or handle is closed

    def close(self) -> object: ...

    async def open(self, protocol: asyncio.BaseProtocol) -> asyncio.BaseTransport:
        """Hand it to the loop; return the loop's transport once ``protocol`` has met it."""


class Acceptor(Protocol):
    """What listens. It accepts on its own from ``start`` to ``close``."""

    @property
    def sockets(self) -> Sequence[trsock.TransportSocket]: ...

    def start(self, arrived: Callable[[Client], None]) -> None: ...

    def close(self) -> None:
        """Stop at once and give the name free."""


class AcceptRetry:
    """Accepts again after a pause when ``accept`` failed, so that no failure makes a busy loop.

    Of several failures in a row only the first is reported.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, address: Address) -> None:
        self._loop = loop
        self._address = address
        self._backoff = accept_backoff()

    def succeeded(self) -> None:
        """Note that a client was accepted."""
        self._backoff.succeeded()

    def failed(self, error: OSError, retry: Callable[[], None]) -> asyncio.TimerHandle:
        """Arrange for ``retry`` to be called after the pause; return the timer, to cancel it."""
        if not self._backoff.failures:
            message = f"accepting clients on {self._address} fails; trying again until it works"
            self._loop.call_exception_handler({"message": message, "exception": error})
        return self._loop.call_later(self._backoff.failed(), retry)


class Server(asyncio.AbstractServer):
    """A listening server, as ``start_server`` and ``create_server`` return it.

    As an asynchronous context manager it is closed at the end, and its connections waited for.
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
        self._finished = asyncio.Event()  # closed, and the last connection gone
        self._forever: asyncio.Future[None] | None = None
        self._opening: set[asyncio.Task[None]] = set()
        self._connections = 0
        # Weak, so that a transport which everybody has forgotten can still be collected.
        self._transports: weakref.WeakSet[Any] = weakref.WeakSet()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "serving" if self._serving else "idle"
        return f"<{type(self).__name__} {self._address} {state}>"

    # Public methods, those of asyncio.Server

    @property
    def address(self) -> Address:
        """Where it listens."""
        return self._address

    @property
    def sockets(self) -> tuple[trsock.TransportSocket, ...]:
        """The listening socket; empty once closed, and for a Windows pipe, which has none."""
        return () if self._closed else tuple(self._acceptor.sockets)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def is_serving(self) -> bool:
        return self._serving

    async def start_serving(self) -> None:
        """Begin to accept, if it was made with ``start_serving=False``. Idempotent.

        Clients that connected before this wait in the backlog.
        """
        self._check_open()
        if not self._serving:
            self._serving = True
            self._acceptor.start(self._arrived)
        await asyncio.sleep(0)

    async def serve_forever(self) -> None:
        """Accept until cancelled, or until ``close``; then raise CancelledError.

        When it is cancelled, the server and its clients are closed.
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
        """Stop accepting and give the name free. Connections live on. Idempotent."""
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
        """Close every connection once what was written to it is sent."""
        self._end_clients("close")

    def abort_clients(self) -> None:
        """Close every connection at once; what was not sent yet is lost."""
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

    def _arrived(self, client: Client) -> None:
        self._connections += 1
        client.on_close = self._left
        task = self._loop.create_task(self._open(client))
        self._opening.add(task)
        task.add_done_callback(partial(self._opened, client))

    async def _open(self, client: Client) -> None:
        self._transports.add(await client.open(self._protocol_factory()))

    def _opened(self, client: Client, task: asyncio.Task[None]) -> None:
        """Drop the client whose opening failed, or was cancelled, perhaps before it began."""
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
