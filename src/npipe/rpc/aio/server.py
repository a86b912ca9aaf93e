"""A JSON-RPC server on an event loop: it listens, and gives each connection a ``Driver``."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Iterable
from itertools import count
from typing import Any, Self

import npipe.aio
from npipe.address import Address
from npipe.errors import ClosedError, InternalError
from npipe.rpc.aio.caller import Caller
from npipe.rpc.aio.driver import Driver
from npipe.rpc.aio.endpoints import adopt_files
from npipe.rpc.aio.runtime import Runtime
from npipe.rpc.limits import Limits
from npipe.rpc.remote import remote_module
from npipe.rpc.service.api import API
from npipe.rpc.service.dispatcher import Dispatcher, Middleware
from npipe.rpc.session.server_stats import Stats
from npipe.rpc.wire.codec import Codec
from npipe.rpc.wire.encoding import Encoding
from npipe.transport.stdio import StdioConnection

__all__ = ["Server"]

log = logging.getLogger("npipe.rpc")

CLOSING = 1.0  # seconds at the end of ``stop`` for what was written to be read, and tasks to end


class Server:
    """Serves an API on any number of addresses.

    async with Server(api) as server:
        await server.serve("calculator")
        await server.serve_forever()
    """

    def __init__(
        self,
        api: API,
        *,
        limits: Limits | None = None,
        codec: str | Encoding | Codec = "json-stream",
        middleware: Iterable[Middleware] = (),
        show_errors: bool = False,
        error_code: int = InternalError.code,
        log_calls: bool = False,
    ) -> None:
        """Prepare a server; it serves nothing yet.

        Args:
            codec: How messages are written: a name, or an object; see ``npipe.rpc.wire.codec``.
            middleware: Called around every call, the first one outermost.
            show_errors: Send the text of unexpected exceptions to the caller.
            error_code: The code of the error that answers an unexpected exception.
            log_calls: Give each call a line in the log "npipe.rpc.calls", a warning if it failed.
        """
        dispatcher = Dispatcher(
            api,
            middleware=middleware,
            show_errors=show_errors,
            error_code=error_code,
            log_calls=log_calls,
        )
        self._runtime = Runtime(dispatcher, limits, codec)
        self.limits = self._runtime.limits
        self._listeners: list[npipe.aio.Server] = []
        self._services: list[Any] = []  # what it is to others than pipes: ``rpc.remote``
        self._links: set[Driver] = set()
        self._ids = count(1)
        self._stats = Stats()
        self._stopped = asyncio.Event()
        self._change = asyncio.Event()  # a link has ended

    @property
    def addresses(self) -> list[Address]:
        """Where it listens."""
        return [listener.address for listener in self._listeners]

    async def serve(self, address: str | Address, **options: Any) -> Address:
        """Listen on an address; clients are served by the loop from now on.

        ``options`` are those of ``npipe.listen``, which also says what is raised.
        """
        if self._stopped.is_set():
            raise ClosedError("server")
        if (module := remote_module(address)) is not None:
            service = await module.serve(address, self.protocol, stats=self.stats, **options)
            self._services.append(service)
            return Address("nats", str(service.target))
        listener = await npipe.aio.create_server(self.protocol, address, **options)
        self._listeners.append(listener)
        log.info("JSON-RPC service started (%s)", listener.address)
        return listener.address

    def protocol(self) -> asyncio.Protocol:
        """Return the protocol for one connection, to be given to a transport of your own."""
        return self._runtime.link(next(self._ids), on_open=self._opened, on_close=self._closed)

    async def serve_stdio(self) -> None:
        """Serve whoever started this program, over standard input and output, until its end.

        ``print`` would break the stream: standard output is turned to standard error first.
        """
        files = StdioConnection(sys.stdin.buffer, sys.stdout.buffer)
        sys.stdout = sys.stderr
        _, output = await adopt_files(files, self.protocol)
        await asyncio.to_thread(output.join)
        await self.stop()

    async def serve_forever(self) -> None:
        """Wait until ``stop`` is called."""
        await self._stopped.wait()

    async def stop(self, drain: float = 0.0) -> None:
        """Stop listening; give the calls in flight ``drain`` seconds; close the connections.

        Idempotent. What no longer ran is cancelled.
        """
        services, self._services = self._services, []
        for service in services:
            await service.leave()
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener.close()
            log.info("JSON-RPC service stopped (%s)", listener.address)
        self._stopped.set()
        links = tuple(self._links)
        for link in links:
            link.drain("server stopped")
        await self._wait_for_links(drain)
        for link in tuple(self._links):
            link.stop("server stopped with calls in flight")
        await self._wait_for_links(CLOSING)
        for link in tuple(self._links):
            link.abort("server stopped")
        await self._wait_for_links(CLOSING)
        tasks = [
            task for link in links for task in link.tasks if task is not asyncio.current_task()
        ]
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSING)
        for service in services:
            await service.close()

    def stats(self) -> dict[str, Any]:
        """Return counters since the start.

        Connections, calls, errors, bytes, what is in flight, and ``methods``: for each its calls,
        their seconds, ``buckets`` (how many took up to each of ``npipe.rpc.prometheus.BOUNDS``
        seconds, and longer), and ``errors`` by code. What had no method is under ``_OTHER``.
        """
        return self._stats.report(tuple(self._links))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def _wait_for_links(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                while self._links:
                    self._change.clear()
                    await self._change.wait()
        except TimeoutError:
            pass

    def _opened(self, link: Driver) -> None:
        if self._stopped.is_set():
            link.abort("server stopped")
        elif len(self._links) >= self.limits.connections:
            log.warning("refused a client: %d connections are open", len(self._links))
            link.abort("too many connections")
        session = link.session
        link.remote = Caller(link, self._runtime.codec.encoding)
        self._links.add(link)
        self._stats.connections += 1
        log.debug("connection %06d opened by %s", session.connection_id, session.peer)

    def _closed(self, link: Driver, reason: str) -> None:
        log.debug("connection %06d closed (%s)", link.session.connection_id, reason)
        self._links.discard(link)
        self._stats.add(link)
        self._change.set()
