"""Proxy server on an event loop: forwards each message over one upstream connection per client."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Unpack

from npipe.errors import ClosedError
from npipe.options import ConnectOptions
from npipe.rpc.aio.driver import Driver
from npipe.rpc.aio.endpoints import Endpoint, open_endpoint
from npipe.rpc.aio.forwarding_driver import ForwardingDriver, UpstreamDriver
from npipe.rpc.aio.runtime import Runtime
from npipe.rpc.aio.server import Server
from npipe.rpc.forwarding.relay import join_sessions
from npipe.rpc.limits import Limits
from npipe.rpc.service.api import API
from npipe.rpc.service.dispatcher import Dispatcher
from npipe.rpc.wire.codec import Codec
from npipe.rpc.wire.encoding import Encoding

__all__ = ["Proxy"]

log: logging.Logger = logging.getLogger("npipe.rpc")


class Proxy(Server):
    """Serves clients by forwarding to ``upstream``; enforces limits and converts between codecs.

    Calls, batches, notifications, subscriptions, cancellation and progress are forwarded in both
    directions. Only the envelopes are decoded. Each side has its own ids.
    """

    _driver_kind: type[Driver] = ForwardingDriver

    def __init__(
        self,
        upstream: Endpoint,
        *,
        limits: Limits | None = None,
        codec: str | Encoding | Codec = "json-stream",
        upstream_codec: str | Encoding | Codec = "json-stream",
        connect_timeout: float | None = 10.0,
        **options: Unpack[ConnectOptions],
    ) -> None:
        """Make a proxy; it does not listen yet.

        Args:
            upstream: The server, as ``connect`` takes it.
            limits: The limits for both sides.
            codec: The codec of the clients.
            upstream_codec: The codec of the server.
            connect_timeout: Seconds for connecting to the server; None is no limit.
            options: Further options of ``npipe.connect``, for the upstream connections.
        """
        super().__init__(API(), limits=limits, codec=codec)
        self._upstream = upstream
        self._options: dict[str, Any] = {"timeout": connect_timeout, **options}
        self._upstream_runtime = Runtime(Dispatcher(API()), limits, upstream_codec, UpstreamDriver)
        self._joining: set[asyncio.Task[None]] = set()

    async def stop(self, drain: float = 0.0, *, disconnect: bool = False) -> None:
        """Stop listening, wait for the calls in flight, close the connections of both sides.

        Args:
            drain: Seconds to wait for the calls in flight.
            disconnect: Disconnect the clients on Windows; see ``Server.stop``.
        """
        for task in tuple(self._joining):
            task.cancel()
        await super().stop(drain, disconnect=disconnect)

    def _opened(self, driver: Driver) -> None:
        assert isinstance(driver, ForwardingDriver)
        super()._opened(driver)
        if driver.transport.is_closing():  # refused
            return
        driver.session.become_proxy()
        driver.hold()  # no call begins before the upstream connection exists
        task = driver.loop.create_task(self._join(driver))
        self._joining.add(task)
        task.add_done_callback(self._joining.discard)

    async def _join(self, driver: ForwardingDriver) -> None:
        def make_driver() -> UpstreamDriver:
            return self._upstream_runtime.new_driver(
                driver.session.connection_id,
                on_close=lambda _, reason: driver.close(reason),
            )

        try:
            other = await open_endpoint(self._upstream, make_driver, **self._options)
        except (OSError, ClosedError) as error:
            log.error("refused a client: the upstream server cannot be reached: %s", error)
            driver.close("no upstream")
            return
        join_sessions(driver.session, other.session)
        driver.join(other)
        if driver.closed:  # while connecting upstream
            other.close("the peer closed the connection")

    def _closed(self, driver: Driver, reason: str) -> None:
        assert isinstance(driver, ForwardingDriver)
        super()._closed(driver, reason)
        if driver.peer_driver is not None:
            driver.peer_driver.close(reason)
