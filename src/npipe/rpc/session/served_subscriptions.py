"""Subscriptions as geth has them: what is pushed, and what comes in.

Sans-I/O. The generator is run by ``feeds``: it asks ``items()``, hands each to ``push`` and ends
with ``finish``. Each subscription has a queue of its own, and the session takes from all queues in
turn, after the replies. While a queue is ``full`` its generator is not asked for more: a generator
that is quicker than the wire is slowed down, and loses nothing. One whose reader takes nothing for
``Limits.subscription_timeout`` ends with an error; the connection and all else on it live on.

Threads: one thread at a time feeds a subscription, one takes from it, any may stop it. Each count
has one writer, and each step on the queue is atomic: so no lock.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from msgspec import Raw

from npipe.errors import InvalidParams, MethodNotFound, RPCError
from npipe.rpc.limits import Limits
from npipe.rpc.service.api import Method
from npipe.rpc.service.context import Context
from npipe.rpc.service.dispatcher import LIMIT_EXCEEDED, TOO_LARGE
from npipe.rpc.session.served_calls import ServedCall, Serving
from npipe.rpc.wire.encoding import Encoding
from npipe.rpc.wire.messages import BAD_DATA, Push

__all__ = ["Push", "ServedSubscription", "ServedSubscriptions"]


class SubscriptionHost(Serving, Protocol):
    """The session that a subscription belongs to."""

    limits: Limits
    closed: bool
    subscriptions: ServedSubscriptions

    def pushes_from(self, subscription: ServedSubscription) -> None: ...


class ServedSubscription:
    """One subscription that is being served."""

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
        self.session = session
        self.call = ServedCall(session, method, args, b"", None, trace=trace)
        self.on_room: Callable[[], object] = _nothing  # called when it may no longer be ``full``
        self.taken = self._put = 0  # bytes out of and into the queue, ever
        self._queue: deque[bytes] = deque()
        self._listed = False  # the session knows that there is something to take
        self._silent = False  # what is in the queue is no longer wanted
        # geth's form: 16 random bytes in hexadecimal without leading zeros. Not to be guessed.
        self.id = "0x" + os.urandom(16).hex().lstrip("0")
        self._write = session.encoding.pusher(f"{namespace}_subscription", self.id)
        self.is_async = (
            method.is_async or session.dispatcher.is_async
        )  # so use ``run_subscription_async``
        # At once, for then a refusal is the reply, and what listens misses nothing.
        self._items = None if session.dispatcher.is_async else self._call_function()

    def items(self) -> Any:
        """Return the generator; where the middleware is async, what is to be awaited for it."""
        return self._call_function() if self._items is None else self._items

    def _call_function(self) -> Any:
        call = self.call
        return call.session.dispatcher.invoke(Context(call), call.method, call.args)

    # For who feeds it

    def push(self, item: Any) -> bool:
        """Queue one item, though it be ``full``. False: it is over, stop. Raises as ``encode``
        does, and RPCError for an item of more than ``Limits.reply_bytes``."""
        if self.call.cancelled:
            return False
        text = self.session.encoding.encode(item)
        if len(text) > self.session.limits.reply_bytes:
            raise RPCError("the item is too large", code=TOO_LARGE)
        self._enqueue(self._write("result", text))
        return True

    @property
    def full(self) -> bool:
        """True while no more should be pushed: the other end has to read first."""
        queued = self._put - self.taken
        return queued >= self.session.limits.subscription_bytes and not self.call.cancelled

    def too_slow(self) -> RPCError:
        """Return what to ``finish`` with when the reader has taken nothing for too long. What is
        in the queue is still sent before it, should the reader come back."""
        seconds = self.session.limits.subscription_timeout
        return RPCError(f"dropped: nothing was read for {seconds} seconds", code=LIMIT_EXCEEDED)

    def finish(self, error: BaseException | None = None) -> None:
        """End it, and tell the subscriber unless it was the one to end it. An error cancels the
        context too, for what else works for the generator."""
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
        """Return the oldest message in the queue; empty: there is none, or none that is wanted."""
        if self._silent:
            self._queue.clear()
        message = self._queue.popleft() if self._queue else b""
        self.taken += len(message)
        if self._put - self.taken <= self.session.limits.subscription_bytes // 2:
            self.on_room()
        return message

    def has_more(self) -> bool:
        """Say whether there is more to take. If not, the session is told when there is again."""
        if not self._queue:
            self._listed = False
        if self._queue:  # no ``else``: what was put in before it was unlisted was not announced
            self._listed = True
        return bool(self._queue)

    def stop(self) -> None:
        """The subscriber wants no more, or is gone. From any thread."""
        self._silent = True
        self.call.cancel()
        self.on_room()


class ServedSubscriptions(dict[str, ServedSubscription]):
    """Those that a session serves, by their ids."""

    def __init__(
        self, session: SubscriptionHost, on_begin: Callable[[ServedSubscription], object]
    ) -> None:
        """``on_begin`` has its generator run."""
        self._session = session
        self._on_begin = on_begin

    def open(self, namespace: str, params: Raw, trace: bytes = b"") -> ServedSubscription:
        """Make the one that ``[name, *params]`` asks for; ``begin`` follows. Raises RPCError."""
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
        args = method.signature.bind_by(encoding)(Raw(encoding.array(items[1:])))
        subscription = ServedSubscription(session, namespace, method, args, trace)
        self[subscription.id] = subscription
        return subscription

    def begin(self, subscription: ServedSubscription, *, told: bool) -> None:
        """Have it run, now that its id is on the way. Not ``told``: another reply went in its
        place, so nobody could end it; it ends without an item."""
        # Closed just now, by another thread: that may have missed this one.
        if (not told or self._session.closed) and self.pop(subscription.id, None) is not None:
            subscription.stop()
        self._on_begin(subscription)

    def unsubscribe(self, params: Raw) -> bool:
        """End the one that ``[id]`` names. Raises RPCError."""
        subscription = self.pop(_id_to_end(params, self._session.encoding), None)
        if subscription is None:
            raise RPCError("subscription not found")
        subscription.stop()
        return True

    def end(self) -> None:
        """End all of them."""
        for subscription in tuple(self.values()):
            subscription.stop()
        self.clear()


def _nothing() -> None:
    pass


def _id_to_end(params: Raw, encoding: Encoding) -> str:
    """The id that an ``unsubscribe`` names; null is as good as one that nobody has.

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
