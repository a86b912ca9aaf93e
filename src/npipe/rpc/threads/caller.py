"""Calling the other end of a connection, with threads: for ``Client`` and ``Context.remote``."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, overload

from msgspec import Raw

from npipe.errors import ConnectionLost, RPCError
from npipe.rpc.session.deadline import Deadline
from npipe.rpc.session.namespace import Namespace
from npipe.rpc.session.outgoing_calls import Entry
from npipe.rpc.session.pending_calls import Outcome, Pending
from npipe.rpc.session.results import (
    decode_result,
    decode_results,
    encode_params,
    progress_reader,
)
from npipe.rpc.session.subscription_queue import QUEUE_SIZE
from npipe.rpc.threads.driver import ConnectionDriver
from npipe.rpc.threads.subscription import ClientSubscription
from npipe.rpc.threads.waiter import ReplyWaiter
from npipe.rpc.wire.encoding import Encoding

__all__ = ["Caller", "Entry"]

T = TypeVar("T")


class Caller:
    """Makes calls over one connection. Any number of threads may use it at once.

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
            driver: Returns the driver to call over, within a deadline.
            encoding: How the connection writes values.
            timeout: Seconds that a call may take which names no timeout; None is no limit.
        """
        self._get_driver = driver
        self._encoding = encoding
        self._timeout = timeout
        self._deadline(None)  # a wrong timeout is an error here, not at the first call

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
            method: The whole name, such as "calc_add".
            params: Parameters by position. A ``msgspec.Raw`` goes as the JSON that it is.
            named: All parameters by name, in place of ``params``; or a ``Raw`` of them.
            timeout: Seconds for the whole of it: connecting again, waiting for other callers and
                for room, sending, and the reply. The call is then cancelled at the server, and
                what still comes is dropped. None: the client's.
            result_type: What the result is decoded to: any type that msgspec knows, or
                ``msgspec.Raw`` for the JSON as it came.
            on_progress: Called with what the server reports meanwhile, in the thread that reads.
            idempotent: Whether it does no harm if the call is executed twice: a client that
                reconnects may then send it again.

        Raises:
            RPCError: The server answered with an error.
            TimeoutError: It took longer than ``timeout``.
            ConnectionLost: The connection ended before the reply.
            ProtocolError: The answer is no JSON-RPC, or not of ``result_type``.
            ClosedError: The client has been closed.
            OSError: As ``npipe.connect``, where a client connects again.
            ValueError: The timeout is negative, NaN or infinite.
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
        """Send a notification: it is not answered, and nothing tells what became of it.

        Args:
            method: The whole name.
            params: Parameters by position.
            named: All parameters by name, in place of ``params``.
            timeout: Seconds for connecting again and waiting for room. None: the client's.

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
        """Make many calls in one message; return their results in order.

        Args:
            entries: The calls: ``(method, params)``, where params are a sequence or a mapping.
            timeout: Seconds for the whole of it, as for ``call``.
            result_type: What each result is decoded to.
            idempotent: Whether it does no harm if all of them are executed twice.

        Returns:
            The results in the order of the calls. What failed is an exception in its place, so
            that the others are not lost.

        Raises:
            TimeoutError, ClosedError, OSError, ValueError: As ``call``, for all at once.
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
        if len(outcomes) < len(calls):  # nothing could be sent at all
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
        """Subscribe, and return an iterator over what is pushed.

        Args:
            namespace: Where the subscription is, such as "eth".
            name: What it is called there, such as "newHeads".
            params: Its parameters.
            timeout: Seconds for subscribing, as for ``call``.
            result_type: What each item is decoded to.
            queue_size: Items that may wait for the program to take them. With one more the
                subscription ends, and the iterator raises after the items that it has.

        Raises:
            As ``call``.
        """
        deadline = self._deadline(timeout)
        driver = self._get_driver(deadline)
        outgoing_calls = driver.session.outgoing_calls

        def unsubscribe(id: bytes) -> None:
            outgoing_calls.forget_subscription(id)
            with contextlib.suppress(ConnectionLost):
                outgoing_calls.call(f"{namespace}_unsubscribe", self._encoding.array([id]), _ignore)
                driver.flush_aside()

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
        """Return the namespaces of the server and their versions. Options: as ``call``."""
        try:
            return self.call("rpc_modules", timeout=timeout, result_type=dict[str, str])
        except RPCError as error:
            if error.code != -32601:
                raise
            return self.call("modules", timeout=timeout, result_type=dict[str, str])

    def __getattr__(self, name: str) -> Namespace:
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return Namespace(self.call, name)

    def _deadline(self, timeout: float | None) -> Deadline:
        return Deadline(self._timeout if timeout is None else timeout, time.monotonic())

    def _exchange(
        self,
        send: Callable[[ConnectionDriver], list[Outcome]],
        deadline: Deadline,
        *,
        idempotent: bool,
    ) -> list[Outcome]:
        """Send over the connection and return what became of it. A client may send again."""
        return send(self._get_driver(deadline))


def _await_room(driver: ConnectionDriver, deadline: Deadline) -> None:
    """Wait until the other end has read what was sent before. Raises TimeoutError."""
    if not driver.await_room(deadline.end):
        raise deadline.expired("could not be sent")


def _await(
    driver: ConnectionDriver, reply: ReplyWaiter[T], pending: Pending, deadline: Deadline
) -> T:
    """Send what was queued, wait for the reply. When it does not come in time: cancel the call,
    raise TimeoutError."""
    try:
        driver.flush(deadline.end)
        came = driver.wait(reply, deadline.end)
    except BaseException:  # KeyboardInterrupt
        _give_up(driver, pending)
        driver.interrupted()
        raise
    if not came:
        _give_up(driver, pending)
        if reply.outcome is None:  # it may have come just now
            raise deadline.expired("no answer")
    assert reply.outcome is not None
    return reply.outcome


def _give_up(driver: ConnectionDriver, pending: Pending) -> None:
    driver.session.outgoing_calls.cancel(pending)
    driver.flush_aside()


def _ignore(outcome: Outcome) -> None:
    """Take the reply to an ``unsubscribe``: nothing depends on it."""
