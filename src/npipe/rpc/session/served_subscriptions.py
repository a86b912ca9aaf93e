"""Served subscriptions of one connection, in the form of geth's pub/sub.

Sans-I/O. ``handlers.thread_feed`` or ``handlers.coroutine_feed`` runs the generator: it calls
``items()``, passes each item to ``push`` and ends with ``finish``. Each subscription has its own
queue, and the session takes from all queues in turn, after the replies. While a queue is ``full``,
the generator is suspended: a generator that is faster than the connection is slowed down and loses
no item. If the peer reads nothing for ``Limits.subscription_timeout`` seconds, the subscription
ends with an error; the connection and its other calls continue.

Threads: one thread at a time feeds a subscription, one takes from it, any may stop it. Each counter
has one writer, and each step on the queue is atomic, so no lock is needed.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from msgspec import Raw

from npipe.errors import InvalidParams, MethodNotFound, RPCError
from npipe.rpc.limits import Limits
from npipe.rpc.service.context import Context
from npipe.rpc.service.dispatcher import LIMIT_EXCEEDED, TOO_LARGE
from npipe.rpc.service.method import Method
from npipe.rpc.session.atomic import snapshot
from npipe.rpc.session.served_calls import ServedCall, Serving
from npipe.rpc.wire.encoding import Encoding
from npipe.rpc.wire.envelopes import BAD_DATA, Push

__all__ = ["Push", "ServedSubscription", "ServedSubscriptions"]


class SubscriptionHost(Serving, Protocol):
    """The attributes and methods of a session that a subscription uses."""

    limits: Limits
    closed: bool
    subscriptions: ServedSubscriptions

    def pushes_from(self, subscription: ServedSubscription) -> None: ...


class ServedSubscription:
    """A subscription that is being served."""

    __slots__ = (
        "_items",
        "_listed",
        "_put",
        "_queue",
        "_silent",
        "_write",
        "call",
        "id",
        "is_async",
        "on_room",
        "session",
        "taken",
    )

    def __init__(
        self,
        session: SubscriptionHost,
        namespace: str,
        method: Method,
        args: tuple[Any, ...],
        trace: bytes = b"",
    ) -> None:
        self.session: SubscriptionHost = session
        self.call: ServedCall = ServedCall(session, method, args, b"", None, trace=trace)
        self.on_room: Callable[[], object] = _nothing  # called when ``full`` may be false again
        self.taken: int = 0
        self._put = 0  # total bytes taken from and put into the queue
        self._queue: deque[bytes] = deque()
        self._listed = False  # registered with the session as having queued messages
        self._silent = False  # unsubscribed: queued messages are dropped
        # As geth: 16 random bytes in hexadecimal without leading zeros, so it cannot be guessed.
        self.id: str = "0x" + os.urandom(16).hex().lstrip("0")
        self._write = session.encoding.pusher(f"{namespace}_subscription", self.id)
        self.is_async: bool = (
            method.is_async or session.dispatcher.is_async
        )  # if true, ``run_subscription_async`` runs it
        # Called now, so that an exception becomes the reply, and no event is missed.
        self._items = None if session.dispatcher.is_async else self._call_function()

    def items(self) -> Any:
        """Return the generator; an awaitable of it if the middleware is async."""
        return self._call_function() if self._items is None else self._items

    def _call_function(self) -> Any:
        call = self.call
        return call.session.dispatcher.invoke(Context(call), call.method, call.args)

    # For the feed

    def push(self, item: Any) -> bool:
        """Queue one item, even if the queue is ``full``.

        Returns False if the subscription was cancelled: stop. Raises as ``encode`` does, and
        RPCError for an item of more than ``Limits.reply_bytes``.
        """
        if self.call.cancelled:
            return False
        text = self.session.encoding.encode(item)
        if len(text) > self.session.limits.reply_bytes:
            raise RPCError("the item is too large", code=TOO_LARGE)
        self._enqueue(self._write("result", text))
        return True

    @property
    def full(self) -> bool:
        """True while no more items should be pushed: the peer has to read first."""
        queued = self._put - self.taken
        return queued >= self.session.limits.subscription_bytes and not self.call.cancelled

    def too_slow(self) -> RPCError:
        """Return the error to ``finish`` with when the peer has read nothing for too long.

        Queued items are still sent before it, should the peer read again.
        """
        seconds = self.session.limits.subscription_timeout
        return RPCError(f"dropped: nothing was read for {seconds} seconds", code=LIMIT_EXCEEDED)

    def finish(self, error: BaseException | None = None) -> None:
        """End the subscription, and notify the subscriber unless it has unsubscribed.

        An error also cancels the context, for other work on behalf of the generator.
        """
        if self.session.subscriptions.pop(self.id, None) is None:
            return
        encoding = self.session.encoding
        last = "end", encoding.encode(True)
        if error is not None:
            dispatcher, name = self.session.dispatcher, self.call.method.name
            rpc_error = dispatcher.to_rpc_error(name, self.session.connection_id, error)
            last = "error", encoding.error_object(rpc_error)
        self._enqueue(self._write(*last))
        if error is not None:
            self.call.cancel()

    def _enqueue(self, message: bytes) -> None:
        self._put += len(message)
        self._queue.append(message)
        if not self._listed:
            self._listed = True
            self.session.pushes_from(self)

    # For the session

    def take(self) -> bytes:
        """Return the oldest queued message; empty if there is none or after an unsubscribe."""
        if self._silent:
            self._queue.clear()
        message = self._queue.popleft() if self._queue else b""
        self.taken += len(message)
        if self._put - self.taken <= self.session.limits.subscription_bytes // 2:
            self.on_room()
        return message

    def has_more(self) -> bool:
        """Tell whether messages are queued. If not, the next one is announced to the session."""
        if not self._queue:
            self._listed = False
        if self._queue:  # no ``else``: a message queued before ``_listed`` changed, unannounced
            self._listed = True
        return bool(self._queue)

    def stop(self) -> None:
        """Cancel the subscription: its client has unsubscribed or disconnected. From any thread."""
        self._silent = True
        self.call.cancel()
        self.on_room()


class ServedSubscriptions(dict[str, ServedSubscription]):
    """The served subscriptions of a session, by id."""

    def __init__(
        self, session: SubscriptionHost, on_begin: Callable[[ServedSubscription], object]
    ) -> None:
        """Make an empty table.

        Args:
            session: The session.
            on_begin: Called with a subscription; it must run the generator.
        """
        self._session = session
        self._on_begin = on_begin

    def open(self, namespace: str, params: Raw, trace: bytes = b"") -> ServedSubscription:
        """Create the subscription for ``[name, *params]``; ``begin`` must follow.

        Raises RPCError.
        """
        session = self._session
        encoding = session.encoding
        most = session.limits.subscriptions
        if len(self) >= most:
            raise RPCError(f"at most {most} subscriptions", code=LIMIT_EXCEEDED)
        try:
            items = encoding.items(params)
        except BAD_DATA:
            raise InvalidParams("non-array args") from None
        try:
            name = encoding.decode(items[0], str)
        except (*BAD_DATA, IndexError):
            raise InvalidParams("expected subscription name as first argument") from None
        method = session.dispatcher.api.subscriptions.get((namespace, name))
        if method is None:
            raise MethodNotFound(f'no "{name}" subscription in {namespace} namespace')
        args = method.signature.binding(encoding).bind(Raw(encoding.array(items[1:])))
        subscription = ServedSubscription(session, namespace, method, args, trace)
        self[subscription.id] = subscription
        return subscription

    def begin(self, subscription: ServedSubscription, *, told: bool) -> None:
        """Run a subscription, after its id was queued.

        Not ``told``: an error was sent in place of the id, so the client cannot unsubscribe; the
        subscription ends without an item.
        """
        # A thread that closes the session now may not have seen this subscription.
        if (not told or self._session.closed) and self.pop(subscription.id, None) is not None:
            subscription.stop()
        self._on_begin(subscription)

    def unsubscribe(self, params: Raw) -> bool:
        """End the subscription for the params ``[id]``. Raises RPCError."""
        subscription = self.pop(_id_to_end(params, self._session.encoding), None)
        if subscription is None:
            raise RPCError("subscription not found")
        subscription.stop()
        return True

    def end(self) -> None:
        """End all subscriptions."""
        for subscription in snapshot(self.values()):
            subscription.stop()
        self.clear()


def _nothing() -> None:
    pass


def _id_to_end(params: Raw, encoding: Encoding) -> str:
    """Return the id in the params of an ``unsubscribe``; null counts as an unknown id.

    Raises InvalidParams.
    """
    try:
        items = encoding.items(params) if params else []
        if len(items) == 1:
            return encoding.decode(items[0], str | None) or ""
    except BAD_DATA:
        raise InvalidParams("invalid argument 0: it must be the subscription's id") from None
    if items:
        raise InvalidParams("too many arguments, want at most 1")
    raise InvalidParams("missing value for required argument 0")
