"""JSON-RPC client on an event loop, with optional automatic reconnection.

``caller`` makes the calls over one connection; this module handles the loss of a connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Literal, Self, TypeVar, Unpack, overload

from npipe.aio.opening import Opening
from npipe.errors import ClosedError
from npipe.options import ConnectOptions
from npipe.rpc.aio.caller import Caller
from npipe.rpc.aio.driver import Driver
from npipe.rpc.aio.endpoints import Endpoint, check_endpoint, open_endpoint
from npipe.rpc.aio.runtime import Runtime
from npipe.rpc.aio.subscription import ClientSubscription, ResilientSubscription
from npipe.rpc.calling.client_base import ClientBase
from npipe.rpc.calling.deadline import Deadline, check_timeout
from npipe.rpc.calling.subscription_queue import QUEUE_SIZE
from npipe.rpc.limits import Limits
from npipe.rpc.service.api import API
from npipe.rpc.service.dispatcher import Dispatcher
from npipe.rpc.wire.codec import Codec
from npipe.rpc.wire.encoding import Encoding

__all__ = ["Client", "connect"]

CLOSING = 1.0  # seconds for the server to read the queued bytes, before the connection is aborted

T = TypeVar("T")
Dial = Callable[[Callable[[], Driver], float | None], Awaitable[Driver]]


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
        dial: Dial,
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
            dial: Makes a connection; called with a protocol factory and a timeout in seconds.
            api: The functions that the server may call.
            limits: The limits on everything that the server controls.
            codec: The codec of the connection.
            timeout: Seconds for a call that gives no timeout.
            connect_timeout: Seconds for the first connection.
            reconnect: Seconds to wait for the server; None: do not reconnect.
            on_disconnect: Called with the reason each time that the connection ends.
        """
        self._runtime = Runtime(Dispatcher(api or API()), limits, codec, Driver)
        super().__init__(None, self._runtime.codec.encoding, timeout=timeout)
        self._dial = dial
        self._begin(reconnect, on_disconnect)
        self._connect_timeout = check_timeout(connect_timeout, "connect_timeout")
        self._dialling = asyncio.Lock()

    async def open(self) -> Self:
        """Make the first connection and return the client."""
        first = self._connect_timeout if self._reconnect is None else self._reconnect
        self._driver = await self._open(first)
        return self

    async def close(self) -> None:
        """Close the connection. Calls in flight raise ClosedError. Idempotent."""
        self._closed = True
        driver = self._driver
        driver.close("closed")
        try:
            async with asyncio.timeout(CLOSING):
                await driver.wait_closed()
        except TimeoutError:
            driver.abort("closed")
            await driver.wait_closed()
        if driver.ending is not None:  # the server is a child process
            await asyncio.to_thread(driver.ending.join)

    @property
    def connected(self) -> bool:
        """True while there is a connection. A client that reconnects makes one at the next call."""
        return not self._driver.transport.is_closing()

    @overload
    async def subscribe(
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
    async def subscribe(
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
    async def subscribe(
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
    async def subscribe(
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
    async def subscribe(
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
    async def subscribe(
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
        """Subscribe and return an asynchronous iterator over the items: see ``Caller.subscribe``.

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

        async def subscribe(left: float | None) -> ClientSubscription[Any]:
            return await Caller.subscribe(
                self,
                namespace,
                name,
                *params,
                timeout=timeout if left is None else left,
                result_type=result_type,
                queue_size=queue_size,
            )

        current = await subscribe(None)
        return ResilientSubscription(current, subscribe) if renew else current

    async def _open(self, timeout: float | None) -> Driver:
        def make_driver() -> Driver:
            return self._runtime.new_driver(next(self._ids), on_close=self._ended)

        driver = await self._dial(make_driver, timeout)
        driver.remote = self
        driver.session.outgoing_calls.members = self._members
        return driver

    async def _live_driver(self, deadline: Deadline) -> Driver:
        if self._reconnect is not None and not (self.connected or self._closed):
            await self._dial_again(deadline, self._reconnect)
        if self._closed:
            self._driver.close("closed")
            raise ClosedError("client")
        return await super()._live_driver(deadline)

    async def _dial_again(self, deadline: Deadline, reconnect: float) -> None:
        try:
            async with asyncio.timeout_at(deadline.end), self._dialling:
                if not (self.connected or self._closed):
                    self._driver = await self._open(reconnect)
        except OSError as error:  # also a TimeoutError
            if deadline.left(self._loop.time()) == 0:
                raise deadline.expired("no connection") from error
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()


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
) -> Opening[Client]:
    """Connect to a server; await the result, or use it in ``async with``.

    Args:
        endpoint: An address (str, ``Address`` or path); ``"ssh://user@host/path"`` for a Unix
            socket of another machine, through ``npipe cat`` there; ``"stdio:"`` for this program's
            standard input and output; the command line of a program (list of str), which is started
            and connected by its standard input and output; a ``Server`` of either flavour; or an
            open connection, which the client then owns: a ``StreamReader`` and ``StreamWriter``
            in a tuple, or a ``Connection``.
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
            ``close``, on the loop. It must not block.
        options: Further options of ``npipe.connect``.

    Returns:
        An awaitable and asynchronous context manager that gives the client.

    Raises:
        OSError: The connection cannot be made, as in ``npipe.connect``.
        TypeError, ValueError: The endpoint, a timeout or an option is wrong.
    """
    check_endpoint(endpoint, reconnect)
    if reconnect is not None:
        options["wait"] = True

    async def dial(make_driver: Callable[[], Driver], timeout: float | None) -> Driver:
        return await open_endpoint(endpoint, make_driver, timeout=timeout, **options)

    async def open() -> Client:
        return await Client(
            dial,
            api=api,
            limits=limits,
            codec=codec,
            timeout=timeout,
            connect_timeout=connect_timeout,
            reconnect=reconnect,
            on_disconnect=on_disconnect,
        ).open()

    return Opening(open())
