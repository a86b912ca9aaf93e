"""A server that passes every message on to another, each client over a connection of its own."""

from __future__ import annotations

import logging
from typing import Any

from npipe.rpc.limits import Limits
from npipe.rpc.service.api import API
from npipe.rpc.service.dispatcher import Dispatcher
from npipe.rpc.session.forwarding import join_sessions
from npipe.rpc.threads.driver import Driver
from npipe.rpc.threads.endpoints import Endpoint, open_endpoint
from npipe.rpc.threads.runtime import Runtime
from npipe.rpc.threads.server import Server, ServerDriver
from npipe.rpc.threads.slow_calls import start_thread
from npipe.rpc.wire.codec import Codec
from npipe.rpc.wire.encoding import Encoding
from npipe.transport.base import Connection

__all__ = ["Proxy"]

log = logging.getLogger("npipe.rpc")


class Proxy(Server):
    """Stands in front of ``upstream``: keeps limits, changes the codec, lets others connect.

    Calls, batches, notifications, subscriptions, cancelling and progress go both ways. Nothing is
    decoded but the envelopes; ids are those of each side.
    """

    _descriptors_each = 4  # two connections, each with one to be woken by

    def __init__(
        self,
        upstream: Endpoint,
        *,
        limits: Limits | None = None,
        codec: str | Encoding | Codec = "json-stream",
        upstream_codec: str | Encoding | Codec = "json-stream",
        connect_timeout: float | None = 10.0,
        **options: Any,
    ) -> None:
        """``options`` are those of ``npipe.connect``, for the way upstream."""
        super().__init__(API(), limits=limits, codec=codec)
        self._upstream = upstream
        self._options = {"timeout": connect_timeout, **options}
        self._upstream_shell = Runtime(Dispatcher(API()), limits, upstream_codec, role="upstream")

    def serve_connection(self, connection: Connection) -> None:
        """Serve one client; return at once. Without an upstream its connection is closed."""
        start_thread(self._join, "npipe-proxy", connection)

    def stop(self, drain: float = 0.0) -> None:
        super().stop(drain)
        self._upstream_shell.stop()

    def _join(self, connection: Connection) -> None:
        try:
            upstream = open_endpoint(self._upstream, **self._options)
        except OSError as error:
            log.error("a client is turned away: no upstream: %s", error)
            connection.close()
            return
        link = self._open(connection)
        other = self._upstream_shell.open(
            upstream, link.session.connection_id, lambda _, reason: link.close(reason)
        )
        join_sessions(link.session, other.session)
        link.join(other)
        other.start()
        link.start()

    def _closed(self, link: ServerDriver, reason: str) -> None:
        super()._closed(link, reason)
        if isinstance(link, Driver) and link.peer_driver is not None:
            link.peer_driver.close(reason)
