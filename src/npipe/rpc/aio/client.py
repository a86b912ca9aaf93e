"""A JSON-RPC client on an event loop: a link to a server, made anew when it was lost and that is
asked.

How calls are made over a link is in ``caller``; here is what happens when the link goes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import count
from typing import Any, Self

from npipe.errors import ClosedError, ConnectionLost
from npipe.rpc.aio.caller import Caller, Deadline
from npipe.rpc.aio.driver import Driver
from npipe.rpc.aio.endpoints import Endpoint, open_endpoint
from npipe.rpc.aio.runtime import Runtime
from npipe.rpc.aio.subscription import ClientSubscription
from npipe.rpc.limits import Limits
from npipe.rpc.service.api import API
from npipe.rpc.service.dispatcher import Dispatcher
from npipe.rpc.session.outgoing_calls import Members
from npipe.rpc.threads.client import FIRST_PAUSE, GAP, LONGEST_PAUSE
from npipe.security import PeerIdentity

__all__ = ["Client", "connect"]

log = logging.getLogger("npipe.rpc")

CLOSING = 1.0  # seconds for what was written to be read, before the connection is cut

Dial = Callable[[Callable[[], Driver], bool], Awaitable[Driver]]


class Client(Caller):
    """Calls a server over one connection, and serves an API to it where one is given.

    With ``reconnect`` (seconds) a lost connection is made again by the next call, which waits so
    long for the server to be there. A call that the loss caught is sent again when not one byte
    of it had been written, or when it was marked ``idempotent``; any other ends in ConnectionLost
    with ``maybe_executed`` true, for only you know whether it may happen twice.
    """

    def __init__(
        self,
        dial: Dial,
        *,
        api: API | None = None,
        limits: Limits | None = None,
        framing: str = "json-stream",
        timeout: float | None = None,
        reconnect: float | None = None,
    ) -> None:
        """Use ``connect``. ``dial(make_link, again)`` makes a connection, with that protocol."""
        self._dial = dial
        self._runtime = Runtime(Dispatcher(api or API()), limits, framing)
        self._reconnect = reconnect
        self._closed = False
        self._lock = asyncio.Lock()
        self._ids = count(1)
        self._members: Members | None = None
        self._timeout = timeout

    async def open(self) -> Self:
        """Connect for the first time."""
        self._link = await self._open(again=False)
        return self

    async def close(self) -> None:
        """Close the connection. Calls in flight end in ClosedError. Idempotent."""
        self._closed = True
        link = self._link
        link.close("closed")
        try:
            async with asyncio.timeout(CLOSING):
                await link.wait_closed()
        except TimeoutError:
            link.abort("closed")
            await link.wait_closed()
        if link.ending is not None:  # a program
            await asyncio.to_thread(link.ending.join)

    def set_members(self, members: Members | None) -> None:
        """Have each request carry the members that ``members()`` returns, beside its method.

        It is called in the thread or task that makes the call: what goes with a request may depend
        on where it comes from, as the context of a trace does.
        """
        self._members = members
        self._link.session.outgoing_calls.members = members

    @property
    def peer(self) -> PeerIdentity | None:
        """Who serves, as the kernel tells it."""
        return self._link.session.peer

    async def subscribe(
        self,
        namespace: str,
        name: str,
        /,
        *params: Any,
        timeout: float | None = None,
        result_type: Any = Any,
        queue_size: int | None = None,
        renew: bool = False,
    ) -> Any:
        """See ``Caller.subscribe``. With ``renew`` a subscription that the connection takes down
        with it is made again on the next one, with the item ``rpc.GAP`` where some are missing."""

        async def again() -> ClientSubscription:
            options: dict[str, Any] = {} if queue_size is None else {"queue_size": queue_size}
            return await Caller.subscribe(
                self, namespace, name, *params, timeout=timeout, result_type=result_type, **options
            )

        current = await again()
        return ResilientSubscription(current, again) if renew else current

    async def _open(self, *, again: bool) -> Driver:
        def make_link() -> Driver:
            return self._runtime.link(next(self._ids), on_close=_log_end, is_client=True)

        link = await self._dial(make_link, again)
        link.remote = self
        link.session.outgoing_calls.members = self._members
        return link

    async def _live_link(self, deadline: Deadline = None) -> Driver:
        if self._link.transport.is_closing() and self._reconnect is not None and not self._closed:
            async with self._lock:
                if self._link.transport.is_closing() and not self._closed:
                    self._link = await self._open(again=True)
        if self._closed:
            self._link.close("closed")
            raise ClosedError("client")
        return await super()._live_link(deadline)

    def _may_send_again(self, lost: list[ConnectionLost], *, idempotent: bool) -> bool:
        if self._closed or self._reconnect is None:
            return False
        return idempotent or all(not error.maybe_executed for error in lost)

    def _pauses(self) -> Iterator[float]:
        # A server that hangs up on everybody must not be dialled in a tight loop, nor for ever.
        pause, give_up = FIRST_PAUSE, self._link.loop.time() + (self._reconnect or 0)
        while (left := give_up - self._link.loop.time()) > 0:
            yield min(pause, left)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _explain_loss(self, error: ConnectionLost) -> Exception:
        return ClosedError("client") if self._closed else error

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()


class ResilientSubscription:
    """A subscription that outlives its connection. Iterate over it; close it."""

    def __init__(
        self, current: ClientSubscription, again: Callable[[], Awaitable[ClientSubscription]]
    ) -> None:
        self._current = current
        self._again = again

    async def close(self) -> None:
        await self._current.close()

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        try:
            return await anext(self._current)
        except ConnectionLost:
            self._current = await self._again()
            return GAP

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()


def _log_end(link: Driver, reason: str) -> None:
    log.debug("connection to %s closed (%s)", link.session.peer, reason)


async def connect(
    endpoint: Endpoint,
    *,
    timeout: float | None = None,
    api: API | None = None,
    limits: Limits | None = None,
    framing: str = "json-stream",
    connect_timeout: float | None = 10.0,
    reconnect: float | None = None,
    **options: Any,
) -> Client:
    """Connect to a server: by its address, or in this process.

    ``timeout`` is that of every call, in seconds; None: none. ``reconnect`` is explained at
    ``Client``. Other ``options`` are those of ``npipe.connect``, which also says what is raised.
    """

    async def dial(make_link: Callable[[], Driver], again: bool) -> Driver:
        if not again:
            return await open_endpoint(endpoint, make_link, timeout=connect_timeout, **options)
        waiting = {**options, "wait": True}
        return await open_endpoint(endpoint, make_link, timeout=reconnect, **waiting)

    client = Client(
        dial,
        api=api,
        limits=limits,
        framing=framing,
        timeout=timeout,
        reconnect=reconnect,
    )
    return await client.open()
