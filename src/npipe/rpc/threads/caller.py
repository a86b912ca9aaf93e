"""Calls over a connection, with threads: the base of ``Client``, and ``Context.remote``."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, overload

from msgspec import Raw

from npipe.errors import ConnectionLost, RPCError
from npipe.rpc.calling.deadline import Deadline
from npipe.rpc.calling.namespace import WithNamespaces
from npipe.rpc.calling.results import (
    decode_result,
    decode_results,
    encode_params,
    progress_reader,
)
from npipe.rpc.calling.subscription_queue import QUEUE_SIZE
from npipe.rpc.session.outgoing_calls import Entry
from npipe.rpc.session.pending_calls import Outcome, Pending
from npipe.rpc.threads.driver import ConnectionDriver
from npipe.rpc.threads.subscription import ClientSubscription
from npipe.rpc.threads.waiter import ReplyWaiter
from npipe.rpc.wire.encoding import Encoding

__all__ = ["Caller", "Entry"]

T = TypeVar("T")


class Caller(WithNamespaces):
    """Makes calls over one connection. Any number of threads may use it concurrently.

    ``caller.calc.add(1, 2)`` is ``caller.call("calc_add", 1, 2)``: see ``Namespace``.
    """

    def __init__(
        self,
        driver: Callable[[Deadline], ConnectionDriver],
        encoding: Encoding,
        *,
        timeout: float | None = None,
    ) -> None:
        """Make a caller.

        Args:
            driver: Returns the driver of the connection to use, before a deadline.
            encoding: The encoding of the connection.
            timeout: Seconds for a call that gives no timeout; None is no limit.
        """
        self._get_driver = driver
        self._encoding = encoding
        self._timeout = timeout
        self._deadline(None)  # check the timeout now, not at the first call

    @overload
    def call(
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
    def call(
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
    def call(
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
                call, in the thread that reads.
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
            RuntimeError: A signal handler calls in the middle of a call of its own thread.
        """
        text = encode_params(self._encoding, params, named)
        progress = progress_reader(self._encoding, on_progress)
        deadline = self._deadline(timeout)

        def send(driver: ConnectionDriver) -> list[Outcome]:
            reply: ReplyWaiter[Outcome] = ReplyWaiter()
            _await_room(driver, deadline)
            pending = driver.session.outgoing_calls.call(method, text, reply, progress)
            return [_await(driver, reply, pending, deadline)]

        (outcome,) = self._exchange(send, deadline, idempotent=idempotent)
        return decode_result(self._encoding, outcome, result_type)

    def notify(
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
        driver = self._get_driver(deadline)
        _await_room(driver, deadline)
        driver.session.outgoing_calls.notify(method, text)
        driver.flush(deadline.end)

    @overload
    def batch(
        self,
        entries: Iterable[Entry],
        *,
        timeout: float | None = None,
        result_type: type[T],
        idempotent: bool = False,
    ) -> list[T | Exception]: ...
    @overload
    def batch(
        self,
        entries: Iterable[Entry],
        *,
        timeout: float | None = None,
        result_type: Any = Any,
        idempotent: bool = False,
    ) -> list[Any]: ...
    def batch(
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

        def send(driver: ConnectionDriver) -> list[Outcome]:
            reply: ReplyWaiter[list[Outcome]] = ReplyWaiter()
            _await_room(driver, deadline)
            pending = driver.session.outgoing_calls.batch(calls, reply)
            return _await(driver, reply, pending, deadline)

        outcomes = self._exchange(send, deadline, idempotent=idempotent)
        if len(outcomes) < len(calls):  # the batch could not be sent
            outcomes *= len(calls)
        return decode_results(self._encoding, outcomes, result_type)

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
    ) -> ClientSubscription[T]: ...
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
    ) -> ClientSubscription[Any]: ...
    def subscribe(
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
            The subscription: an iterator. Close it after use.

        Raises:
            RPCError, TimeoutError, ConnectionLost, ClosedError, OSError, ValueError: As ``call``.
        """
        deadline = self._deadline(timeout)
        driver = self._get_driver(deadline)
        outgoing_calls = driver.session.outgoing_calls

        def unsubscribe(id: bytes) -> None:
            outgoing_calls.subscribers.discard(id)
            with contextlib.suppress(ConnectionLost):
                outgoing_calls.call(f"{namespace}_unsubscribe", self._encoding.array([id]), _ignore)
                driver.flush_in_background()

        subscription: ClientSubscription[Any] = ClientSubscription(
            self._encoding, result_type, queue_size, unsubscribe
        )
        reply: ReplyWaiter[Outcome] = ReplyWaiter()
        text = encode_params(self._encoding, (name, *params), None)
        _await_room(driver, deadline)
        pending = outgoing_calls.subscribe(namespace, text, subscription.push, reply)
        subscription.begin(
            decode_result(self._encoding, _await(driver, reply, pending, deadline), Raw)
        )
        return subscription

    def modules(self, *, timeout: float | None = None) -> dict[str, str]:
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
            return self.call("rpc_modules", timeout=timeout, result_type=dict[str, str])
        except RPCError as error:
            if error.code != -32601:
                raise
            return self.call("modules", timeout=timeout, result_type=dict[str, str])

    def _deadline(self, timeout: float | None) -> Deadline:
        return Deadline(self._timeout if timeout is None else timeout, time.monotonic())

    def _exchange(
        self,
        send: Callable[[ConnectionDriver], list[Outcome]],
        deadline: Deadline,
        *,
        idempotent: bool,
    ) -> list[Outcome]:
        """Send calls over the connection and return their outcomes. ``Client`` overrides this."""
        return send(self._get_driver(deadline))


def _await_room(driver: ConnectionDriver, deadline: Deadline) -> None:
    """Wait until the send queue is below its high-water mark. Raises TimeoutError."""
    if not driver.await_room(deadline.end):
        raise deadline.expired("could not be sent")


def _await(
    driver: ConnectionDriver, reply: ReplyWaiter[T], pending: Pending, deadline: Deadline
) -> T:
    """Send the queued messages and wait for the reply.

    At the deadline, the call is cancelled at the server and TimeoutError is raised.
    """
    try:
        driver.flush(deadline.end)
        came = driver.wait(reply, deadline.end)
    except BaseException:  # KeyboardInterrupt
        _cancel(driver, pending)
        driver.interrupted(reply)
        raise
    if not came:
        _cancel(driver, pending)
        if reply.outcome is None:  # the reply may have arrived after the wait ended
            raise deadline.expired("no answer")
    assert reply.outcome is not None
    return reply.outcome


def _cancel(driver: ConnectionDriver, pending: Pending) -> None:
    driver.session.outgoing_calls.cancel(pending)
    driver.flush_in_background()


def _ignore(outcome: Outcome) -> None:
    """Ignore the reply to an ``unsubscribe``: nothing depends on it."""
