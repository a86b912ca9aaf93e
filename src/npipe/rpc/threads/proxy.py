"""Proxy server with threads: forwards each message over one upstream connection per client."""

from __future__ import annotations

import logging
from typing import Any, Unpack

from npipe.options import ConnectOptions
from npipe.rpc.forwarding.relay import join_sessions
from npipe.rpc.limits import Limits
from npipe.rpc.service.api import API
from npipe.rpc.service.dispatcher import Dispatcher
from npipe.rpc.threads.driver import Driver
from npipe.rpc.threads.endpoints import Endpoint, open_endpoint
from npipe.rpc.threads.runtime import Runtime
from npipe.rpc.threads.server import Server, ServerDriver
from npipe.rpc.threads.slow_calls import start_thread
from npipe.rpc.wire.codec import Codec
from npipe.rpc.wire.encoding import Encoding
from npipe.transport.base import Connection

__all__ = ["Proxy"]

log: logging.Logger = logging.getLogger("npipe.rpc")


class Proxy(Server):
    """Serves clients by forwarding to ``upstream``; enforces limits and converts between codecs.

    Calls, batches, notifications, subscriptions, cancellation and progress are forwarded in both
    directions. Only the envelopes are decoded. Each side has its own ids.
    """

    _descriptors_each = 4  # two connections, each with one descriptor for wake-ups

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
        self._upstream_runtime = Runtime(Dispatcher(API()), limits, upstream_codec, role="upstream")

    def serve_connection(self, connection: Connection) -> None:
        """Serve one open connection; return at once.

        Args:
            connection: The connection, which the proxy then owns. It is closed if the upstream
                connection cannot be made.
        """
        start_thread(self._join, "npipe-proxy", connection)

    def stop(self, drain: float = 0.0, *, disconnect: bool = False) -> None:
        """Stop listening, wait for the calls in flight, close the connections of both sides.

        Args:
            drain: Seconds to wait for the calls in flight.
            disconnect: Disconnect the clients on Windows; see ``Server.stop``.
        """
        super().stop(drain, disconnect=disconnect)
        self._upstream_runtime.stop()

    def _join(self, connection: Connection) -> None:
        try:
            upstream = open_endpoint(self._upstream, **self._options)
        except OSError as error:
            log.error("refused a client: the upstream server cannot be reached: %s", error)
            connection.close()
            return
        driver = self._open(connection)
        other = self._upstream_runtime.open(
            upstream, driver.session.connection_id, lambda _, reason: driver.close(reason)
        )
        join_sessions(driver.session, other.session)
        driver.join(other)
        if driver.closed:  # the proxy stopped while this connected
            other.close("the proxy stopped")
            return
        other.start()
        driver.start()

    def _closed(self, driver: ServerDriver, reason: str) -> None:
        super()._closed(driver, reason)
        if isinstance(driver, Driver) and driver.peer_driver is not None:
            driver.peer_driver.close(reason)
