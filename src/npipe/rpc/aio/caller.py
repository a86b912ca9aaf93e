"""Calls over one connection on an event loop: the base of ``Client``, and ``Context.remote``."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, TypeVar, overload

from msgspec import Raw

from npipe.errors import ClosedError, ConnectionLost, RPCError
from npipe.rpc.aio.driver import Driver
from npipe.rpc.aio.from_thread import CallerFromThread
from npipe.rpc.aio.subscription import ClientSubscription
from npipe.rpc.calling.deadline import Deadline
from npipe.rpc.calling.namespace import WithNamespaces
from npipe.rpc.calling.results import (
    decode_result,
    decode_results,
    encode_params,
    progress_reader,
)
from npipe.rpc.calling.retry import Retry
from npipe.rpc.calling.subscription_queue import QUEUE_SIZE
from npipe.rpc.session.outgoing_calls import Entry
from npipe.rpc.session.pending_calls import Outcome, Pending
from npipe.rpc.session.served_subscriptions import Push
from npipe.rpc.wire.encoding import Encoding

__all__ = ["Caller", "Entry"]

Reply = asyncio.Future[list[Outcome]]
Send = Callable[[Driver], tuple[Reply, Pending]]

T = TypeVar("T")


class Caller(WithNamespaces):
    """Makes calls over one connection. Any number of tasks of the loop may use it concurrently.

    ``await caller.calc.add(1, 2)`` is ``await caller.call("calc_add", 1, 2)``: see ``Namespace``.
    """

    _closed = False  # set by ``Client``
    _reconnect: float | None = None

    def __init__(
        self, driver: Driver | None, encoding: Encoding, *, timeout: float | None = None
    ) -> None:
        """Make a caller.

        Args:
            driver: The driver of the connection; None in a client, which opens it later.
            encoding: The encoding of the connection.
            timeout: Seconds for a call that gives no timeout; None is no limit.
        """
        self._loop = asyncio.get_running_loop()
        self._encoding = encoding
        self._timeout = timeout
        self._deadline(None)  # check the timeout now, not at the first call
        if driver is not None:
            self._driver = driver

    @overload
    async def call(
        self,
        method: str,
        /,
        *params: Any,
        named: Mapping[str, Any] | Raw | None = None,
        timeout: float | None = None,
        result_type: type[T],
        on_progress: Callable[[Any], object] | None = None,
        idempotent: bool = False,
    ) -> T: ...
    @overload
    async def call(
        self,
        method: str,
        /,
        *params: Any,
        named: Mapping[str, Any] | Raw | None = None,
        timeout: float | None = None,
        result_type: Any = Any,
        on_progress: Callable[[Any], object] | None = None,
        idempotent: bool = False,
    ) -> Any: ...
    async def call(
        self,
        method: str,
        /,
        *params: Any,
        named: Mapping[str, Any] | Raw | None = None,
        timeout: float | None = None,
        result_type: Any = Any,
        on_progress: Callable[[Any], object] | None = None,
        idempotent: bool = False,
    ) -> Any:
        """Call a method and return its result.

        Args:
            method: The full name, such as "calc_add".
            params: Parameters by position. A ``msgspec.Raw`` is sent as the JSON that it contains.
            named: All parameters by name, in place of ``params``; or a ``Raw`` that contains them.
            timeout: Seconds for the whole call: reconnecting, waiting until the send queue has
                space, sending, and the reply. When they have passed, the call is cancelled at the
                server and a late reply is dropped. None: the client's timeout.
            result_type: The type that the result is decoded to: any type that msgspec supports, or
                ``msgspec.Raw`` for the JSON as received.
            on_progress: Called with the value of each ``$/progress`` notification (LSP) of this
                call, on the loop.
            idempotent: Whether executing the call twice does no harm. If so, a client that
                reconnects may send it again.

        Returns:
            The result, decoded to ``result_type``.

        Raises:
            RPCError: The server answered with an error object (JSON-RPC 2.0, section 5.1).
            TimeoutError: The call took longer than ``timeout``.
            ConnectionLost: The connection ended before the reply.
            ProtocolError: The reply is not JSON-RPC, or not of ``result_type``.
            ClosedError: The client has been closed.
            OSError: Reconnecting failed, as in ``npipe.connect``.
            ValueError: The timeout is negative, NaN or infinite.
        """
        text = encode_params(self._encoding, params, named)
        progress = progress_reader(self._encoding, on_progress)
        deadline = self._deadline(timeout)

        def send(driver: Driver) -> tuple[Reply, Pending]:
            reply: Reply = self._loop.create_future()
            on_reply = partial(_resolve_one, reply)
            return reply, driver.session.outgoing_calls.call(method, text, on_reply, progress)

        (outcome,) = await self._exchange(send, deadline, idempotent=idempotent)
        return decode_result(self._encoding, outcome, result_type)

    async def notify(
        self,
        method: str,
        /,
        *params: Any,
        named: Mapping[str, Any] | Raw | None = None,
        timeout: float | None = None,
    ) -> None:
        """Send a notification (JSON-RPC 2.0, section 4.1). The server does not answer it.

        A return without an exception means that the notification was queued, not that it was
        executed.

        Args:
            method: The full name.
            params: Parameters by position.
            named: All parameters by name, in place of ``params``.
            timeout: Seconds for reconnecting and until the send queue has space. None: the
                client's timeout.

        Raises:
            TimeoutError, ConnectionLost, ClosedError, OSError, ValueError: As ``call``.
        """
        text = encode_params(self._encoding, params, named)
        deadline = self._deadline(timeout)
        driver = await self._live_driver(deadline)
        driver.session.outgoing_calls.notify(method, text)

    @overload
    async def batch(
        self,
        entries: Iterable[Entry],
        *,
        timeout: float | None = None,
        result_type: type[T],
        idempotent: bool = False,
    ) -> list[T | Exception]: ...
    @overload
    async def batch(
        self,
        entries: Iterable[Entry],
        *,
        timeout: float | None = None,
        result_type: Any = Any,
        idempotent: bool = False,
    ) -> list[Any]: ...
    async def batch(
        self,
        entries: Iterable[Entry],
        *,
        timeout: float | None = None,
        result_type: Any = Any,
        idempotent: bool = False,
    ) -> list[Any]:
        """Make many calls in one message (JSON-RPC 2.0, section 6); return their results in order.

        Args:
            entries: The calls: ``(method, params)``, where params are a sequence or a mapping.
            timeout: Seconds for the whole batch, as for ``call``.
            result_type: The type that each result is decoded to.
            idempotent: Whether executing the calls twice does no harm.

        Returns:
            The results in the order of the calls, with an exception in place of the result of each
            call that failed.

        Raises:
            TimeoutError, ClosedError, OSError, ValueError: As ``call``, for the batch as a whole.
        """
        calls = list(entries)
        deadline = self._deadline(timeout)
        if not calls:
            return []

        def send(driver: Driver) -> tuple[Reply, Pending]:
            reply: Reply = self._loop.create_future()
            return reply, driver.session.outgoing_calls.batch(calls, partial(_resolve, reply))

        outcomes = await self._exchange(send, deadline, idempotent=idempotent)
        if len(outcomes) < len(calls):  # the batch could not be sent
            outcomes *= len(calls)
        return decode_results(self._encoding, outcomes, result_type)

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
    ) -> ClientSubscription[T]: ...
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
    ) -> ClientSubscription[Any]: ...
    async def subscribe(
        self,
        namespace: str,
        name: str,
        /,
        *params: Any,
        timeout: float | None = None,
        result_type: Any = Any,
        queue_size: int = QUEUE_SIZE,
    ) -> ClientSubscription[Any]:
        """Subscribe to the items of a subscription: call ``<namespace>_subscribe``.

        Args:
            namespace: The namespace of the subscription, such as "eth".
            name: The name of the subscription in it, such as "newHeads".
            params: The parameters of the subscription.
            timeout: Seconds for subscribing, as for ``call``.
            result_type: The type that each item is decoded to.
            queue_size: The largest number of items that wait to be taken. One more ends the
                subscription: the iterator yields the queued items and then raises.

        Returns:
            The subscription: an asynchronous iterator. Close it after use.

        Raises:
            RPCError, TimeoutError, ConnectionLost, ClosedError, OSError, ValueError: As ``call``.
        """
        deadline = self._deadline(timeout)
        text = encode_params(self._encoding, (name, *params), None)
        driver = await self._live_driver(deadline)
        outgoing_calls = driver.session.outgoing_calls

        def unsubscribe(id: bytes) -> None:
            outgoing_calls.subscribers.discard(id)
            with contextlib.suppress(ConnectionLost):
                outgoing_calls.call(f"{namespace}_unsubscribe", self._encoding.array([id]), _ignore)

        def push(item: Push | Exception) -> None:
            subscription.push(ClosedError("client") if self._was_closed(item) else item)

        subscription: ClientSubscription[Any] = ClientSubscription(
            self._encoding, result_type, queue_size, unsubscribe
        )
        reply: Reply = self._loop.create_future()
        pending = outgoing_calls.subscribe(namespace, text, push, partial(_resolve_one, reply))
        (outcome,) = await self._wait(driver, reply, pending, deadline)
        if self._was_closed(outcome):
            raise ClosedError("client")
        subscription.begin(decode_result(self._encoding, outcome, Raw))
        return subscription

    async def modules(self, *, timeout: float | None = None) -> dict[str, str]:
        """Return the namespaces of the server.

        Calls ``rpc_modules``, or ``modules`` if the server does not have it.

        Args:
            timeout: Seconds for the call, as for ``call``.

        Returns:
            The version of each namespace, by its name.

        Raises:
            RPCError, TimeoutError, ConnectionLost, ClosedError, OSError, ValueError: As ``call``.
        """
        try:
            return await self.call("rpc_modules", timeout=timeout, result_type=dict[str, str])
        except RPCError as error:
            if error.code != -32601:
                raise
            return await self.call("modules", timeout=timeout, result_type=dict[str, str])

    def from_thread(self) -> CallerFromThread:
        """Return a caller for use in other threads than the loop's, where its methods block.

        Returns:
            An object with the methods of a ``Caller``.
        """
        return CallerFromThread(self, self._loop)

    def _deadline(self, timeout: float | None) -> Deadline:
        return Deadline(self._timeout if timeout is None else timeout, self._loop.time())

    async def _live_driver(self, deadline: Deadline) -> Driver:
        """Return the driver, once its send queue is below the high-water mark.

        Raises ConnectionLost, TimeoutError.
        """
        driver = self._driver
        if driver.behind:
            try:
                async with asyncio.timeout_at(deadline.end):
                    await driver.room()
            except TimeoutError:
                raise deadline.expired("could not be sent") from None
        if driver.transport.is_closing():
            raise ConnectionLost("the connection has ended", maybe_executed=False)
        return driver

    def _was_closed(self, outcome: object) -> bool:
        """Tell whether a ConnectionLost was caused by the program closing the client."""
        return self._closed and isinstance(outcome, ConnectionLost)

    async def _exchange(self, send: Send, deadline: Deadline, *, idempotent: bool) -> list[Outcome]:
        """Send calls and wait for their outcomes; send again after a loss where ``Retry`` permits.

        Fewer outcomes than calls: none of them could be sent.
        """
        retry: Retry | None = None
        while True:
            outcomes: list[Outcome]
            try:
                driver = await self._live_driver(deadline)
                reply, pending = send(driver)
            except ConnectionLost as error:
                outcomes = [error]
            else:
                outcomes = await self._wait(driver, reply, pending, deadline)
            if not any(isinstance(outcome, ConnectionLost) for outcome in outcomes):
                return outcomes
            if self._closed:
                return [ClosedError("client") if self._was_closed(o) else o for o in outcomes]
            retry = retry or Retry(self._reconnect, idempotent=idempotent)
            now = self._loop.time()
            pause = retry.pause(outcomes, now)
            if pause is None:
                return retry.explain(outcomes)
            left = deadline.left(now)
            await asyncio.sleep(pause if left is None else min(pause, left))

    async def _wait(
        self, driver: Driver, reply: Reply, pending: Pending, deadline: Deadline
    ) -> list[Outcome]:
        """Wait for the reply; after the deadline cancel the call and raise TimeoutError."""
        try:
            async with asyncio.timeout_at(deadline.end):
                return await reply
        except TimeoutError:
            driver.session.outgoing_calls.cancel(pending)
            raise deadline.expired("no answer") from None
        except asyncio.CancelledError:
            driver.session.outgoing_calls.cancel(pending)
            raise


def _resolve(reply: Reply, outcomes: list[Outcome]) -> None:
    if not reply.done():
        reply.set_result(outcomes)


def _resolve_one(reply: Reply, outcome: Outcome) -> None:
    _resolve(reply, [outcome])


def _ignore(outcome: Outcome) -> None:
    """Ignore the reply to an ``unsubscribe``: nothing depends on it."""
