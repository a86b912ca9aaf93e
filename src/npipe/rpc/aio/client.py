"""A JSON-RPC client on an event loop: a connection, its link, and the calls over it."""

from __future__ import annotations

import logging
from typing import Any, Self

import npipe.aio
from npipe.address import Address
from npipe.rpc import framing as framings
from npipe.rpc.aio.caller import Caller
from npipe.rpc.aio.link import Gates, Link
from npipe.rpc.aio.workers import Workers
from npipe.rpc.api import API
from npipe.rpc.dispatcher import Dispatcher
from npipe.rpc.limits import Limits

__all__ = ["Client", "connect"]

log = logging.getLogger("npipe.rpc")


class Client(Caller):
    """Calls a server over one connection, and serves an API to it where one is given."""

    def __init__(self, link: Link, *, timeout: float | None = None) -> None:
        """Use ``connect``. ``timeout`` is that of every call that does not name one."""
        super().__init__(link, timeout=timeout)
        link.session.remote = self

    @property
    def peer(self) -> Any:
        """Who serves, as the kernel tells it."""
        return self._link.session.peer

    async def close(self) -> None:
        """Close the connection. Calls in flight end in ClosedError. Idempotent."""
        self._link.closed_here = True
        self._link.close("closed")
        await self._link.gone.wait()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()


async def connect(
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
    limits = limits or Limits()
    reader = framings.make(framing, max_bytes=limits.message_bytes, max_depth=limits.depth)

    def protocol() -> Link:
        return Link(
            Dispatcher(api or API()),
            limits,
            reader,
            connection_id=0,
            workers=Workers(),
            gates=Gates(),
            on_open=lambda link: None,
            on_close=_closed,
            is_client=True,
        )

    _, link = await npipe.aio.create_connection(
        protocol, endpoint, timeout=connect_timeout, **options
    )
    return Client(link, timeout=timeout)


def _closed(link: Link, reason: str) -> None:
    log.debug("connection to %s closed (%s)", link.session.peer, reason)
