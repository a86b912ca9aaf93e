"""A JSON-RPC client with threads: a connection, its link, and the calls over it."""

from __future__ import annotations

import logging
from typing import Any, Self

from npipe.address import Address
from npipe.rpc import framing as framings
from npipe.rpc.api import API
from npipe.rpc.caller import Caller
from npipe.rpc.dispatcher import Dispatcher
from npipe.rpc.limits import Limits
from npipe.rpc.link import Link, Watch
from npipe.rpc.loop import LoopThread
from npipe.rpc.session import Session
from npipe.transport import connect as connect_transport
from npipe.transport.base import Connection

__all__ = ["Client", "connect"]

log = logging.getLogger("npipe.rpc")


class Client(Caller):
    """Calls a server over one connection, and serves an API to it where one is given."""

    def __init__(
        self,
        connection: Connection,
        *,
        api: API | None = None,
        limits: Limits | None = None,
        framing: str = "json-stream",
        timeout: float | None = None,
    ) -> None:
        """``timeout`` is that of every call that does not name one; None: none."""
        limits = limits or Limits()
        reader = framings.make(framing, max_bytes=limits.message_bytes, max_depth=limits.depth)
        session = Session(
            Dispatcher(api or API()), limits=limits, wrap=reader.wrap, peer=connection.peer
        )
        self._watch = Watch()
        self._loop = LoopThread()
        link = Link(
            connection,
            session,
            reader,
            self._watch,
            on_close=_log_end,
            run_async=self._loop.run_call,
        )
        super().__init__(link, timeout=timeout)
        session.remote = self
        self._closed = False
        link.start()

    def close(self) -> None:
        """Close the connection. Calls in flight end in ClosedError. Idempotent."""
        self._closed = True
        self._link.close("closed")
        self._watch.stop()
        self._loop.stop()

    @property
    def peer(self) -> Any:
        """Who serves, as the kernel tells it."""
        return self._link.session.peer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _log_end(link: Link, reason: str) -> None:
    log.debug("connection to %s closed (%s)", link.session.peer, reason)


def connect(
    endpoint: str | Address,
    *,
    timeout: float | None = None,
    api: API | None = None,
    limits: Limits | None = None,
    framing: str = "json-stream",
    connect_timeout: float | None = 10.0,
    **options: Any,
) -> Client:
    """Connect to a server. Other ``options`` are those of ``npipe.connect``, which also says
    what is raised."""
    connection = connect_transport(endpoint, timeout=connect_timeout, **options)
    return Client(connection, api=api, limits=limits, framing=framing, timeout=timeout)
