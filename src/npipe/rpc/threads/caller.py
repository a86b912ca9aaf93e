"""Calling the other end of a link, with threads: what a client and ``Context.remote`` share."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Raw

from npipe.errors import ConnectionLost, ProtocolError, RPCError
from npipe.rpc.session.outgoing_calls import Entry
from npipe.rpc.session.pending_calls import Outcome, Pending
from npipe.rpc.threads.driver import ConnectionDriver
from npipe.rpc.threads.subscription import ClientSubscription
from npipe.rpc.threads.waiter import ReplyWaiter
from npipe.rpc.wire.messages import BAD_JSON, encode

__all__ = ["Caller", "Entry"]

T = TypeVar("T")

QUEUE_SIZE = 20_000  # items that a subscription holds for a slow program; geth's client's number


class Caller:
    """Makes calls over one link. Any number of threads may use it at once."""

    def __init__(
        self, link: Callable[[], ConnectionDriver], *, timeout: float | None = None
    ) -> None:
        """``link()`` gives the link to use."""
        self._get_link = link
        self._timeout = timeout

    def call(
        self,
        method: str,
        /,
        *params: Any,
        named: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        result_type: Any = Any,
        on_progress: Callable[[Any], object] | None = None,
        idempotent: bool = False,
    ) -> Any:
        """Call a method and return its result.

        Parameters go by position, or all by name in ``named``. The result is decoded to
        ``result_type``: any type that msgspec knows, or ``msgspec.Raw`` for the JSON as it came.
        After ``timeout`` seconds the call is cancelled on the wire and TimeoutError raised; what
        still comes is dropped. ``on_progress`` gets what the server reports meanwhile, in the
        thread that reads. ``idempotent`` says that it does no harm if the call happens twice: a
        client that reconnects may then send it again.

        Raises RPCError as the server answered, ConnectionLost, TimeoutError, ProtocolError for
        an answer that is no JSON-RPC or not of ``result_type``.
        """
        text = encode_params(params, named)
        hear = None if on_progress is None else _hear(on_progress)
        deadline = Deadline(self._timeout if timeout is None else timeout)

        def send(link: ConnectionDriver) -> list[Outcome]:
            reply: ReplyWaiter[Outcome] = ReplyWaiter()
            _await_room(link, deadline)
            pending = link.session.outgoing_calls.call(method, text, reply, hear)
            return [_await(link, reply, pending, deadline)]

        (outcome,) = self._exchange(send, idempotent=idempotent)
        return decode_result(outcome, result_type)

    def notify(self, method: str, /, *params: Any, named: Mapping[str, Any] | None = None) -> None:
        """Send a notification: nothing is answered, nothing is known of what became of it."""
        text = encode_params(params, named)
        link = self._get_link()
        link.await_room(None)
        link.session.outgoing_calls.notify(method, text)
        link.flush()

    def batch(
        self,
        entries: Iterable[Entry],
        *,
        timeout: float | None = None,
        result_type: Any = Any,
        idempotent: bool = False,
    ) -> list[Any]:
        """Make many calls in one message; return their results in order.

        ``entries`` are ``(method, params)``. What failed is an exception in its place, so that
        the other results are not lost; only a timeout of the whole is raised.
        """
        calls = list(entries)
        if not calls:
            return []
        deadline = Deadline(self._timeout if timeout is None else timeout)

        def send(link: ConnectionDriver) -> list[Outcome]:
            reply: ReplyWaiter[list[Outcome]] = ReplyWaiter()
            _await_room(link, deadline)
            pending = link.session.outgoing_calls.batch(calls, reply)
            return _await(link, reply, pending, deadline)

        outcomes = self._exchange(send, idempotent=idempotent)
        if len(outcomes) < len(calls):  # nothing could be sent at all
            outcomes *= len(calls)
        return decode_results(outcomes, result_type)

    def subscribe(
        self,
        namespace: str,
        name: str,
        /,
        *params: Any,
        timeout: float | None = None,
        result_type: Any = Any,
        queue_size: int = QUEUE_SIZE,
    ) -> ClientSubscription:
        """Subscribe, and return an iterator over what is pushed.

        At most ``queue_size`` items wait for the program to take them; when one more comes, the
        subscription ends and the iterator raises, after the items that it has.
        """
        link = self._get_link()
        outgoing_calls = link.session.outgoing_calls

        def unsubscribe(id: bytes) -> None:
            outgoing_calls.forget_subscription(id)
            with contextlib.suppress(ConnectionLost):
                outgoing_calls.call(
                    f"{namespace}_unsubscribe", b"[" + id + b"]", lambda outcome: None
                )
                link.flush_aside()

        subscribed = ClientSubscription(
            lambda r: decode_result(r, result_type), queue_size, unsubscribe
        )
        reply: ReplyWaiter[Outcome] = ReplyWaiter()
        text = encode_params((name, *params), None)
        deadline = Deadline(self._timeout if timeout is None else timeout)
        _await_room(link, deadline)
        pending = outgoing_calls.subscribe(namespace, text, subscribed.push, reply)
        outcome = _await(link, reply, pending, deadline)
        if isinstance(outcome, Exception):
            raise outcome
        subscribed.begin(outcome)
        return subscribed

    def modules(self, *, timeout: float | None = None) -> dict[str, str]:
        """Return the namespaces of the server and their versions."""
        try:
            return self.call("rpc_modules", timeout=timeout, result_type=dict[str, str])  # type: ignore[no-any-return]
        except RPCError as error:
            if error.code != -32601:
                raise
            return self.call("modules", timeout=timeout, result_type=dict[str, str])  # type: ignore[no-any-return]

    def _exchange(
        self, send: Callable[[ConnectionDriver], list[Outcome]], *, idempotent: bool
    ) -> list[Outcome]:
        """Send over the link and return what became of it. Here a client decides to send again."""
        return send(self._get_link())


class Deadline:
    """One time limit over several waits."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self.end = None if seconds is None else time.monotonic() + seconds


def _await_room(link: ConnectionDriver, deadline: Deadline) -> None:
    """Wait until the other end has read what was sent before. Raises TimeoutError."""
    if not link.await_room(deadline.end):
        raise TimeoutError(f"could not be sent within {deadline.seconds} seconds")


def _await(
    link: ConnectionDriver, reply: ReplyWaiter[T], pending: Pending, deadline: Deadline
) -> T:
    """Send what was queued, wait for the reply. When it does not come in time: cancel it, raise
    TimeoutError."""
    try:
        link.flush(deadline.end)
        came = link.wait(reply, deadline.end)
    except BaseException:  # KeyboardInterrupt
        _give_up(link, pending)
        link.interrupted()
        raise
    if not came:
        _give_up(link, pending)
        if reply.outcome is None:  # it may have come just now
            raise TimeoutError(f"no answer within {deadline.seconds} seconds")
    assert reply.outcome is not None
    return reply.outcome


def _give_up(link: ConnectionDriver, pending: Pending) -> None:
    link.session.outgoing_calls.cancel(pending)
    link.flush_aside()


def encode_params(params: Sequence[Any], named: Mapping[str, Any] | None) -> bytes:
    """Encode parameters; none at all: left out."""
    if named is not None:
        if params:
            raise TypeError("parameters go by position or by name, not both")
        return encode(named)
    return encode(params) if params else b""


def decode_result(outcome: Outcome, kind: Any) -> Any:
    """Return a result as ``kind``, or raise what it is instead."""
    if isinstance(outcome, Exception):
        raise outcome
    if kind is Raw:
        return outcome
    try:
        return msgspec.json.decode(outcome, type=kind)
    except BAD_JSON as error:
        raise ProtocolError(f"the result is not what was asked for: {error}") from None


def decode_results(outcomes: list[Outcome], kind: Any) -> list[Any]:
    """Return the results of a batch as ``kind``; in the place of one that is none, its error."""
    if kind is not Raw and all(type(outcome) is Raw for outcome in outcomes):
        with contextlib.suppress(*BAD_JSON):  # all at one go, as it mostly is
            text = b"[" + b",".join(outcomes) + b"]"  # type: ignore[arg-type]
            return msgspec.json.decode(text, type=list[kind])
    return [_result_or_error(outcome, kind) for outcome in outcomes]


def _result_or_error(outcome: Outcome, kind: Any) -> Any:
    try:
        return decode_result(outcome, kind)
    except (RPCError, ProtocolError, ConnectionLost) as error:
        return error


def _hear(on_progress: Callable[[Any], object]) -> Callable[[Raw], object]:
    return lambda value: on_progress(msgspec.json.decode(value) if value else None)
