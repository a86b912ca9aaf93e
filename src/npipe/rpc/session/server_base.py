"""Base of both servers: options, open connections and counters. No I/O."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from itertools import count
from typing import Any, Generic, TypeVar

from npipe.errors import InternalError
from npipe.rpc.limits import Limits
from npipe.rpc.service.api import API
from npipe.rpc.service.dispatcher import Dispatcher, Middleware
from npipe.rpc.session.atomic import snapshot
from npipe.rpc.session.server_stats import Counted, Stats
from npipe.rpc.wire.codec import Codec
from npipe.rpc.wire.encoding import Encoding

__all__ = ["ServerBase"]

log: logging.Logger = logging.getLogger("npipe.rpc")

DriverT = TypeVar("DriverT", bound=Counted)


class ServerBase(Generic[DriverT]):
    """A server without its listeners. A flavour makes the runtime and opens the connections."""

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
        """Make a server; it does not listen yet.

        Args:
            api: The functions to serve.
            limits: The limits on everything that a client controls.
            codec: How messages are written: a name or an object, see ``npipe.rpc.wire.codec``.
            middleware: Called around each call; the first one is the outermost.
            show_errors: Send the text of unexpected exceptions to the caller.
            error_code: The error code of the reply to a call that raised an unexpected exception.
            log_calls: Log each call to "npipe.rpc.calls", at level WARNING if it failed.
        """
        dispatcher = Dispatcher(
            api,
            middleware=middleware,
            show_errors=show_errors,
            error_code=error_code,
            log_calls=log_calls,
        )
        self.limits: Limits = limits or Limits()
        self._drivers: set[DriverT] = set()
        self._ids = count(1)
        self._stats = Stats()
        self._start(dispatcher, codec)

    def _start(self, dispatcher: Dispatcher, codec: str | Encoding | Codec) -> None:
        """Make what the flavour needs before it can serve."""
        raise NotImplementedError

    def stats(self) -> dict[str, Any]:
        """Return counters since the start.

        Returns:
            Numbers of connections, calls, errors, bytes and calls in flight, and ``methods``: for
            each method its calls, their total seconds, ``buckets`` (the number of calls up to each
            of ``npipe.rpc.prometheus.BOUNDS`` seconds, and above), and ``errors`` by code. Requests
            without a known method are counted under ``_OTHER``.
        """
        return self._stats.report(snapshot(self._drivers))

    def _is_full(self) -> bool:
        """Tell whether one more client is to be refused, which is then logged."""
        full = len(self._drivers) >= self.limits.connections
        if full:
            log.warning("refused a client: %d connections are open", len(self._drivers))
        return full

    def _count(self, driver: DriverT) -> None:
        """Count a connection that was opened."""
        self._drivers.add(driver)
        self._stats.connections += 1
        session = driver.session
        log.debug("connection %06d opened by %s", session.connection_id, session.peer)

    def _discount(self, driver: DriverT, reason: str) -> None:
        """Add the counters of a connection that has ended to those of the server."""
        if driver not in self._drivers:  # a signal handler has closed it in the middle of a close
            return
        log.debug("connection %06d closed (%s)", driver.session.connection_id, reason)
        self._drivers.discard(driver)
        self._stats.add(driver)
