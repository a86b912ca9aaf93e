"""A JSON-RPC client with threads: a link to a server, made anew when it was lost and that is asked.

How calls are made over a link is in ``caller``; here is what happens when the link goes.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, Self

from npipe.errors import ClosedError, ConnectionLost
from npipe.rpc.limits import Limits
from npipe.rpc.service.api import API
from npipe.rpc.service.dispatcher import Dispatcher
from npipe.rpc.session.outgoing_calls import Members
from npipe.rpc.session.pending_calls import Outcome
from npipe.rpc.threads.caller import Caller
from npipe.rpc.threads.driver import ConnectionDriver, Driver
from npipe.rpc.threads.endpoints import Endpoint, open_endpoint
from npipe.rpc.threads.leader_follower import LeaderFollowerDriver
from npipe.rpc.threads.runtime import Runtime
from npipe.rpc.threads.subscription import ClientSubscription
from npipe.security import PeerIdentity
from npipe.transport.base import Connection

__all__ = ["GAP", "Client", "Gap", "connect"]

log = logging.getLogger("npipe.rpc")

FIRST_PAUSE, LONGEST_PAUSE = 0.001, 0.5  # seconds before a call is sent again


class Gap:
    """The type of ``GAP``: stands between the items of a renewed subscription where some may be
    missing."""

    def __repr__(self) -> str:
        return "GAP"


GAP = Gap()


class Client(Caller):
    """Calls a server over one connection, and serves an API to it where one is given.

    With ``reconnect`` (seconds) a lost connection is made again by the next call, which waits so
    long for the server to be there. A call that the loss caught is sent again when not one byte
    of it had been written, or when it was marked ``idempotent``; any other ends in ConnectionLost
    with ``maybe_executed`` true, for only you know whether it may happen twice.
    """

    def __init__(
        self,
        dial: Callable[[bool], Connection],
        *,
        api: API | None = None,
        limits: Limits | None = None,
        framing: str = "json-stream",
        timeout: float | None = None,
        reconnect: float | None = None,
    ) -> None:
        """``dial(again)`` makes a connection. ``timeout`` is that of every call that names none."""
        self._dial = dial
        self._runtime = Runtime(Dispatcher(api or API()), limits, framing)
        self._lends = api is None and self._runtime.limits.idle_timeout is None
        self._reconnect = reconnect
        self._closed = False
        self._lock = threading.Lock()
        self._ids = count(1)
        self._members: Members | None = None
        self._link = self._open(again=False)
        super().__init__(self._live_link, timeout=timeout)

    def close(self) -> None:
        """Close the connection. Calls in flight end in ClosedError. Idempotent."""
        self._closed = True
        self._link.close("closed")
        self._runtime.stop()

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

    def subscribe(
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

        def again() -> ClientSubscription:
            options: dict[str, Any] = {} if queue_size is None else {"queue_size": queue_size}
            return Caller.subscribe(
                self, namespace, name, *params, timeout=timeout, result_type=result_type, **options
            )

        return ResilientSubscription(again) if renew else again()

    def _open(self, *, again: bool) -> Driver:
        connection = self._dial(again)
        # Callers read for themselves where nobody is to be served meanwhile and deadlines work.
        lending = self._lends and connection.has_deadlines
        kind = LeaderFollowerDriver if lending else Driver
        link = self._runtime.open(connection, next(self._ids), _log_end, kind=kind)
        link.session.remote = self
        link.session.outgoing_calls.members = self._members
        link.start()
        return link

    def _live_link(self) -> Driver:
        """Return the link; a new one where the old was lost and that is wanted."""
        link = self._link
        if link.closed and not self._closed and self._reconnect is not None:
            with self._lock:
                if self._link.closed and not self._closed:
                    self._link = self._open(again=True)
                link = self._link
        if self._closed:
            link.close("closed")
            raise ClosedError("client")
        return link

    def _exchange(
        self, send: Callable[[ConnectionDriver], list[Outcome]], *, idempotent: bool
    ) -> list[Outcome]:
        pause, give_up = FIRST_PAUSE, 0.0
        while True:
            try:
                outcomes = super()._exchange(send, idempotent=idempotent)
            except ConnectionLost as error:  # before anything was queued
                outcomes = [error]
            lost = [error for error in outcomes if isinstance(error, ConnectionLost)]
            if lost and self._closed:
                raise ClosedError("client")
            safe = idempotent or all(not error.maybe_executed for error in lost)
            if not lost or self._reconnect is None or not safe:
                return outcomes
            # A server that hangs up on everybody must not be dialled in a tight loop.
            now = time.monotonic()
            give_up = give_up or now + self._reconnect
            if now >= give_up:
                return outcomes
            time.sleep(min(pause, give_up - now))
            pause = min(2 * pause, LONGEST_PAUSE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class ResilientSubscription:
    """A subscription that outlives its connection. Iterate over it; close it."""

    def __init__(self, subscribe: Callable[[], ClientSubscription]) -> None:
        self._subscribe = subscribe
        self._current = subscribe()

    def next(self, timeout: float | None = None) -> Any:
        """See ``ClientSubscription.next``; GAP after the connection was lost and made again."""
        try:
            return self._current.next(timeout)
        except ConnectionLost:
            self._current = self._subscribe()
            return GAP

    def close(self) -> None:
        self._current.close()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return self.next()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _log_end(link: Driver, reason: str) -> None:
    log.debug("connection to %s closed (%s)", link.session.peer, reason)


def connect(
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
    """Connect to a server: by its address, as a program to start, or in this process.

    ``timeout`` is that of every call, in seconds; None: none. ``reconnect`` is explained at
    ``Client``. Other ``options`` are those of ``npipe.connect``, which also says what is raised.
    """

    def dial(again: bool) -> Connection:
        if not again:
            return open_endpoint(endpoint, timeout=connect_timeout, **options)
        return open_endpoint(endpoint, timeout=reconnect, **{**options, "wait": True})

    return Client(
        dial,
        api=api,
        limits=limits,
        framing=framing,
        timeout=timeout,
        reconnect=reconnect,
    )
