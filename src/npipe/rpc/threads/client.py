"""JSON-RPC client for threads, with optional automatic reconnection.

``caller`` makes the calls over one connection; this module handles the loss of a connection.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Literal, Self, TypeVar, Unpack, overload

from npipe.errors import ClosedError, ConnectionLost
from npipe.options import ConnectOptions
from npipe.rpc.calling.client_base import ClientBase
from npipe.rpc.calling.deadline import Deadline, check_timeout
from npipe.rpc.calling.retry import Retry
from npipe.rpc.calling.subscription_queue import QUEUE_SIZE
from npipe.rpc.limits import Limits
from npipe.rpc.service.api import API
from npipe.rpc.service.dispatcher import Dispatcher
from npipe.rpc.session.pending_calls import Outcome
from npipe.rpc.threads.caller import Caller
from npipe.rpc.threads.driver import ConnectionDriver, Driver
from npipe.rpc.threads.endpoints import Endpoint, check_endpoint, open_endpoint
from npipe.rpc.threads.leader_follower import LeaderFollowerDriver
from npipe.rpc.threads.runtime import Runtime
from npipe.rpc.threads.subscription import ClientSubscription, ResilientSubscription
from npipe.rpc.wire.codec import Codec
from npipe.rpc.wire.encoding import Encoding
from npipe.transport.base import Connection

__all__ = ["Client", "connect"]

T = TypeVar("T")


class Client(ClientBase, Caller):
    """Calls a server over one connection, and serves an API to it if one is given.

    With ``reconnect`` (seconds), the next call after a loss makes a new connection, and waits up to
    that time for the server to listen. A call that was in flight is sent again if no byte of it had
    been written, or if it was marked ``idempotent``. Any other raises ConnectionLost with
    ``maybe_executed`` true: only the program can know whether the call may be executed twice.
    """

    _driver: Driver

    def __init__(
        self,
        dial: Callable[[float | None], Connection],
        *,
        api: API | None = None,
        limits: Limits | None = None,
        codec: str | Encoding | Codec = "json-stream",
        timeout: float | None = None,
        connect_timeout: float | None = None,
        reconnect: float | None = None,
        on_disconnect: Callable[[str], object] | None = None,
    ) -> None:
        """Use ``connect``, which makes a client.

        Args:
            dial: Makes a connection; called with a timeout in seconds.
            api: The functions that the server may call.
            limits: The limits on everything that the server controls.
            codec: The codec of the connection.
            timeout: Seconds for a call that gives no timeout.
            connect_timeout: Seconds for the first connection.
            reconnect: Seconds to wait for the server; None: do not reconnect.
            on_disconnect: Called with the reason each time that the connection ends.
        """
        self._dial = dial
        self._runtime = Runtime(Dispatcher(api or API()), limits, codec, role="client")
        self._callers_read = api is None and self._runtime.limits.idle_timeout is None
        self._begin(reconnect, on_disconnect)
        self._dialling = threading.Lock()
        super().__init__(self._live_driver, self._runtime.codec.encoding, timeout=timeout)
        first = check_timeout(connect_timeout, "connect_timeout")
        self._driver = self._open(first if reconnect is None else reconnect)

    def close(self) -> None:
        """Close the connection. Calls in flight raise ClosedError. Idempotent."""
        self._closed = True
        self._driver.close("closed")
        self._runtime.stop()

    @property
    def connected(self) -> bool:
        """True while there is a connection. A client that reconnects makes one at the next call."""
        return not self._driver.closed

    @overload
    def subscribe(
        self,
        namespace: str,
        name: str,
        /,
        *params: Any,
        timeout: float | None = None,
        result_type: type[T],
        queue_size: int = QUEUE_SIZE,
        renew: Literal[False] = False,
    ) -> ClientSubscription[T]: ...
    @overload
    def subscribe(
        self,
        namespace: str,
        name: str,
        /,
        *params: Any,
        timeout: float | None = None,
        result_type: type[T],
        queue_size: int = QUEUE_SIZE,
        renew: Literal[True],
    ) -> ResilientSubscription[T]: ...
    @overload
    def subscribe(
        self,
        namespace: str,
        name: str,
        /,
        *params: Any,
        timeout: float | None = None,
        result_type: Any = Any,
        queue_size: int = QUEUE_SIZE,
        renew: Literal[False] = False,
    ) -> ClientSubscription[Any]: ...
    @overload
    def subscribe(
        self,
        namespace: str,
        name: str,
        /,
        *params: Any,
        timeout: float | None = None,
        result_type: Any = Any,
        queue_size: int = QUEUE_SIZE,
        renew: Literal[True],
    ) -> ResilientSubscription[Any]: ...
    @overload
    def subscribe(
        self,
        namespace: str,
        name: str,
        /,
        *params: Any,
        timeout: float | None = None,
        result_type: Any = Any,
        queue_size: int = QUEUE_SIZE,
        renew: bool = False,
    ) -> ClientSubscription[Any] | ResilientSubscription[Any]: ...
    def subscribe(
        self,
        namespace: str,
        name: str,
        /,
        *params: Any,
        timeout: float | None = None,
        result_type: Any = Any,
        queue_size: int = QUEUE_SIZE,
        renew: bool = False,
    ) -> ClientSubscription[Any] | ResilientSubscription[Any]:
        """Subscribe and return an iterator over the items: see ``Caller.subscribe``.

        Args:
            namespace: The namespace of the subscription, such as "eth".
            name: The name of the subscription in it, such as "newHeads".
            params: The parameters of the subscription.
            timeout: Seconds for subscribing, as for ``call``.
            result_type: The type that each item is decoded to.
            queue_size: The largest number of items that wait to be taken.
            renew: Whether to subscribe again on the next connection after a loss. The item
                ``rpc.GAP`` then marks the place where items may be missing.

        Returns:
            A ``ClientSubscription``; with ``renew`` a ``ResilientSubscription``.

        Raises:
            RPCError, TimeoutError, ConnectionLost, ClosedError, OSError, ValueError: As ``call``.
        """

        def subscribe(left: float | None) -> ClientSubscription[Any]:
            return Caller.subscribe(
                self,
                namespace,
                name,
                *params,
                timeout=timeout if left is None else left,
                result_type=result_type,
                queue_size=queue_size,
            )

        return ResilientSubscription(subscribe) if renew else subscribe(None)

    def _open(self, timeout: float | None) -> Driver:
        connection = self._dial(timeout)
        # Without an API to serve, the calling threads read the connection themselves
        # (leader/follower), provided that reads take a deadline.
        kind = LeaderFollowerDriver if self._callers_read and connection.has_deadlines else Driver
        driver = self._runtime.open(connection, next(self._ids), self._ended, kind=kind)
        driver.session.get_remote = lambda: self
        driver.session.outgoing_calls.members = self._members
        driver.start()
        return driver

    def _live_driver(self, deadline: Deadline) -> Driver:
        """Return the driver, of a new connection if the last was lost and is to be made again."""
        driver = self._driver
        if driver.closed and not self._closed and self._reconnect is not None:
            driver = self._dial_again(deadline, self._reconnect)
        if self._closed:
            driver.close("closed")
            raise ClosedError("client")
        return driver

    def _dial_again(self, deadline: Deadline, reconnect: float) -> Driver:
        left = deadline.left(time.monotonic())
        if not self._dialling.acquire(timeout=-1 if left is None else left):
            raise deadline.expired("no connection")
        try:
            if self._driver.closed and not self._closed:
                left = deadline.left(time.monotonic())
                self._driver = self._open(reconnect if left is None else min(reconnect, left))
            return self._driver
        except OSError as error:
            if deadline.left(time.monotonic()) == 0:
                raise deadline.expired("no connection") from error
            raise
        finally:
            self._dialling.release()

    def _exchange(
        self,
        send: Callable[[ConnectionDriver], list[Outcome]],
        deadline: Deadline,
        *,
        idempotent: bool,
    ) -> list[Outcome]:
        retry: Retry | None = None
        while True:
            try:
                outcomes = send(self._live_driver(deadline))
            except ConnectionLost as error:  # before anything was queued
                outcomes = [error]
            if not any(isinstance(outcome, ConnectionLost) for outcome in outcomes):
                return outcomes
            if self._closed:
                raise ClosedError("client")
            retry = retry or Retry(self._reconnect, idempotent=idempotent)
            now = time.monotonic()
            pause = retry.pause(outcomes, now)
            if pause is None:
                return retry.explain(outcomes)
            left = deadline.left(now)
            time.sleep(pause if left is None else min(pause, left))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def connect(
    endpoint: Endpoint,
    *,
    timeout: float | None = None,
    api: API | None = None,
    limits: Limits | None = None,
    codec: str | Encoding | Codec = "json-stream",
    connect_timeout: float | None = 10.0,
    reconnect: float | None = None,
    on_disconnect: Callable[[str], object] | None = None,
    **options: Unpack[ConnectOptions],
) -> Client:
    """Connect to a server.

    Args:
        endpoint: An address (str, ``Address`` or path); ``"ssh://user@host/path"`` for a Unix
            socket of another machine, through ``npipe cat`` there; ``"stdio:"`` for this program's
            standard input and output; the command line of a program (list of str), which is started
            and connected by its standard input and output; a ``Server`` in this process; or an
            open ``Connection``, which the client then owns.
        timeout: Seconds for a call that gives no timeout; None is no limit.
        api: The functions that the server may call, over the same connection.
        limits: The limits on everything that the server controls.
        codec: How messages are written: "json-stream", "ndjson", "content-length", "auto",
            "msgpack", "msgpack-rpc", an ``Encoding`` or a ``Codec``.
        connect_timeout: Seconds for connecting, as in ``npipe.connect``; None is no limit. It
            has no effect with ``reconnect``, whose seconds are then the limit.
        reconnect: Seconds to wait for a server that does not listen yet, at first and after each
            loss of the connection; see ``Client``. None: the server must be listening, and a
            lost connection is not made again.
        on_disconnect: Called with the reason each time that the connection ends other than by
            ``close``, in the thread that detects it. It must not block.
        options: Further options of ``npipe.connect``.

    Returns:
        The connected client.

    Raises:
        OSError: The connection cannot be made, as in ``npipe.connect``.
        TypeError, ValueError: The endpoint, a timeout or an option is wrong.
    """
    check_endpoint(endpoint, reconnect)
    if reconnect is not None:
        options["wait"] = True

    def dial(timeout: float | None) -> Connection:
        return open_endpoint(endpoint, timeout=timeout, **options)

    return Client(
        dial,
        api=api,
        limits=limits,
        codec=codec,
        timeout=timeout,
        connect_timeout=connect_timeout,
        reconnect=reconnect,
        on_disconnect=on_disconnect,
    )
