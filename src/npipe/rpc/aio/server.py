"""JSON-RPC server on an event loop: listens, accepts, and makes a ``Driver`` per connection."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
from typing import Any, Self, Unpack, cast

import npipe.aio
from npipe.address import Address
from npipe.errors import ClosedError
from npipe.options import ListenOptions, ServeOptions
from npipe.rpc.aio.caller import Caller
from npipe.rpc.aio.driver import Driver
from npipe.rpc.aio.endpoints import adopt_files
from npipe.rpc.aio.runtime import Runtime
from npipe.rpc.calling.deadline import check_timeout
from npipe.rpc.remote import remote_module
from npipe.rpc.service.dispatcher import Dispatcher
from npipe.rpc.session.server_base import ServerBase
from npipe.rpc.wire.codec import Codec
from npipe.rpc.wire.encoding import Encoding
from npipe.transport.stdio import StdioConnection

__all__ = ["Server"]

log: logging.Logger = logging.getLogger("npipe.rpc")

IDLE_PAUSE = 0.02  # seconds between two checks whether a connection is idle
CLOSING = 1.0  # seconds in ``stop`` for clients to read the queued bytes, and for tasks to end


class Server(ServerBase[Driver]):
    """Serves an API on any number of addresses.

    Example::

        async with Server(api) as server:
            await server.serve("calculator")
            await server.serve_forever()
    """

    _driver_kind: type[Driver] = Driver

    def _start(self, dispatcher: Dispatcher, codec: str | Encoding | Codec) -> None:
        self._runtime = Runtime(dispatcher, self.limits, codec, self._driver_kind)
        self._listeners: list[npipe.aio.Server] = []
        self._services: list[Any] = []  # services that are not pipes: see ``rpc.remote``
        self._stopped = asyncio.Event()
        self._change = asyncio.Event()  # a driver has ended

    @property
    def addresses(self) -> list[Address]:
        """The addresses that the server listens on."""
        return [listener.address for listener in self._listeners]

    async def serve(self, address: str | Address, **options: Unpack[ServeOptions]) -> Address:
        """Listen on an address. The loop serves its clients from now on.

        Args:
            address: The address, or an ``Address``.
            options: The options of ``npipe.listen``; for a ``nats://`` address see
                ``npipe.options.ServeOptions``.

        Returns:
            The address in its full form.

        Raises:
            ClosedError: The server was stopped.
            OSError, TypeError, ValueError: As ``npipe.listen``.
        """
        if self._stopped.is_set():
            raise ClosedError("server")
        if (module := remote_module(address)) is not None:
            service = await module.serve(address, self.protocol, stats=self.stats, **options)
            self._services.append(service)
            return Address("nats", str(service.target))
        listener = await npipe.aio.create_server(
            self.protocol, address, **cast(ListenOptions, options)
        )
        self._listeners.append(listener)
        log.info("JSON-RPC service started (%s)", listener.address)
        return listener.address

    def protocol(self) -> asyncio.Protocol:
        """Return a new protocol that serves one connection.

        Returns:
            The protocol, to be passed to ``loop.create_server`` or a transport.
        """
        driver = self._runtime.new_driver(
            next(self._ids), on_open=self._opened, on_close=self._closed
        )
        return cast(asyncio.Protocol, driver)

    async def serve_stdio(self) -> None:
        """Serve the parent process over standard input and output, until the end of input.

        ``sys.stdout`` is replaced by ``sys.stderr`` first, as output of ``print`` would corrupt the
        stream.
        """
        files = StdioConnection(sys.stdin.buffer, sys.stdout.buffer)
        sys.stdout = sys.stderr
        _, output = await adopt_files(files, self.protocol)
        await asyncio.to_thread(output.join)
        await self.stop()

    async def serve_forever(self) -> None:
        """Wait until ``stop`` is called."""
        await self._stopped.wait()

    async def stop(self, drain: float = 0.0, *, disconnect: bool = False) -> None:
        """Stop listening, wait for the calls in flight, close the connections.

        Idempotent. Calls that are still running after ``drain`` seconds are cancelled.

        Args:
            drain: Seconds to wait for the calls in flight.
            disconnect: Disconnect the clients that have read everything within ``drain``, on
                Windows, so that another server can listen at once although these clients still
                have open handles; see ``npipe.aio.disconnect``.

        Raises:
            TypeError: ``drain`` is not a number.
            ValueError: It is negative, NaN, infinite, or longer than thirty years.
        """
        check_timeout(drain, "drain")
        deadline = time.monotonic() + drain
        services = self._services[:]  # a stop that is cancelled leaves the rest to the next one
        for service in services:
            await service.leave()
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener.close()
            log.info("JSON-RPC service stopped (%s)", listener.address)
        self._stopped.set()
        drivers = tuple(self._drivers)
        if disconnect:
            await asyncio.gather(*(_disconnect(driver, deadline) for driver in drivers))
        for driver in drivers:
            driver.drain("server stopped")
        await self._wait_for_drivers(deadline - time.monotonic())
        for driver in tuple(self._drivers):
            driver.stop("server stopped with calls in flight")
        await self._wait_for_drivers(CLOSING)
        for driver in tuple(self._drivers):
            driver.abort("server stopped")
        await self._wait_for_drivers(CLOSING)
        tasks = [
            task
            for driver in drivers
            for task in driver.tasks
            if task is not asyncio.current_task()
        ]
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSING)
        for service in services:
            await service.close()
            if service in self._services:
                self._services.remove(service)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def _wait_for_drivers(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                while self._drivers:
                    self._change.clear()
                    await self._change.wait()
        except TimeoutError:
            pass

    def _opened(self, driver: Driver) -> None:
        if self._stopped.is_set():
            driver.abort("server stopped")
        elif self._is_full():
            driver.abort("too many connections")
        driver.remote = Caller(driver, self._runtime.codec.encoding)
        self._count(driver)

    def _closed(self, driver: Driver, reason: str) -> None:
        self._discount(driver, reason)
        self._change.set()


async def _disconnect(driver: Driver, deadline: float) -> None:
    """Disconnect a client that has read everything once its calls are answered."""
    while (left := deadline - time.monotonic()) > 0 and not driver.session.idle:
        await asyncio.sleep(min(left, IDLE_PAUSE))
    if driver.session.idle:
        with contextlib.suppress(OSError):  # the client has left
            await npipe.aio.disconnect(driver.transport, max(0.0, left))
