"""Processor of received messages: replies at once, or returns a call to be run.

Sans-I/O. One half of a ``Session``; the other half holds the queues and decides when a message is
processed. Messages are requests, notifications of the protocol (LSP's ``$/cancelRequest`` and
``$/progress``, geth's subscriptions), replies, batches of these, or invalid.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, Protocol

from msgspec import UNSET, Raw

from npipe.errors import InvalidRequest, MethodNotFound, RPCError
from npipe.rpc.limits import Limits
from npipe.rpc.service.dispatcher import TOO_LARGE
from npipe.rpc.service.method import Method
from npipe.rpc.session.outgoing_calls import OutgoingCalls
from npipe.rpc.session.send_queue import SendQueue
from npipe.rpc.session.served_calls import BatchItem, ServedBatch, ServedCall, Serving
from npipe.rpc.session.served_subscriptions import ServedSubscriptions
from npipe.rpc.session.statistics import Statistics
from npipe.rpc.session.timing import Timing
from npipe.rpc.wire.encoding import Encoding
from npipe.rpc.wire.envelopes import ABSENT, BAD_DATA, BAD_JSON, InvalidMessage, Message, Parsed
from npipe.rpc.wire.json_encoding import JSON
from npipe.rpc.wire.json_text import reply as json_reply
from npipe.rpc.wire.json_text import trace_members

if TYPE_CHECKING:
    from npipe.security import PeerIdentity

__all__ = ["Forward", "MessageProcessor"]

# Names that compiled code finds without a look into the module's dict.
_now: Final = perf_counter
_UNSET: Final = UNSET
_ABSENT: Final = ABSENT
_UNUSED: Final = Timing()  # of calls that a ``ServedCall`` measures

Forward = Callable[[Message, bytes, BatchItem | None], None]
"""Receives a message of a proxy, its id, and the batch with its index in it."""


class ProcessingSession(Serving, Protocol):
    """The attributes and methods of a session that its processor uses."""

    limits: Limits
    send_queue: SendQueue
    outgoing_calls: OutgoingCalls
    subscriptions: ServedSubscriptions

    def queue_call(self, call: ServedCall) -> None: ...
    def cancel_served(self, id: bytes) -> None: ...


class Route:
    """What a call of one method needs, in one place: each attribute is read for each call."""

    __slots__ = (
        "bind_by_position",
        "bind_otherwise",
        "call",
        "fast",
        "method",
        "no_params",
        "takes_nothing",
        "timing",
    )

    def __init__(
        self, method: Method, encoding: Encoding, statistics: Statistics, *, fast: bool
    ) -> None:
        """Make a route.

        Args:
            method: The method.
            encoding: The encoding of the connection.
            statistics: Counts its calls.
            fast: Whether its function is called at once, without a ``ServedCall``.
        """
        binding = method.signature.binding(encoding)
        self.method: Method = method
        self.fast: bool = fast
        self.no_params: Raw = binding.no_params
        self.takes_nothing: bool = binding.takes_nothing
        self.call: Callable[..., Any] = method.signature.call
        self.bind_by_position: Callable[[Raw], tuple[Any, ...]] = binding.by_position
        self.bind_otherwise: Callable[[Raw, Exception], tuple[Any, ...]] = binding.otherwise
        self.timing: Timing = statistics.timing(method.name) if fast else _UNUSED


class MessageProcessor:
    """Processes the messages of one connection."""

    __slots__ = (
        "_bad_data",
        "_dispatcher",
        "_encoding",
        "_is_json",
        "_methods",
        "_most",
        "_outgoing_calls",
        "_plain",
        "_routes",
        "_send_queue",
        "_session",
        "_statistics",
        "_write_reply",
        "forward",
    )

    def __init__(self, session: ProcessingSession, peer: PeerIdentity | None) -> None:
        """Make a processor.

        Args:
            session: The session, with its other parts.
            peer: The identity of the peer.
        """
        self._session = session
        self._dispatcher = session.dispatcher
        self._encoding = session.encoding
        self._is_json = isinstance(session.encoding, JSON)
        self._bad_data = BAD_JSON if self._is_json else BAD_DATA
        self._write_reply = session.write_reply
        self._send_queue: SendQueue = session.send_queue
        self._statistics = session.statistics
        self._outgoing_calls = session.outgoing_calls
        self._plain = session.plain
        self._most = session.limits.reply_bytes
        self._methods = session.dispatcher.api.table(peer)
        self._routes: dict[str, Route] = {}  # of the methods that were called
        self.forward: Forward | None = None  # in a proxy: receives all calls and notifications

    def identify(self, peer: PeerIdentity | None) -> None:
        """Offer the methods that this peer may call, from now on."""
        self._methods = self._dispatcher.api.table(peer)
        self._routes.clear()

    def take_other(self, message: Parsed) -> None:
        """Process a message that begins no call or, as a batch, several."""
        if type(message) is InvalidMessage:
            if self.forward is not None and message.request is not None:
                self.take(message.request, None)
                return
            self._statistics.refuse(message.error.code)
            self._send_queue.put(self._encoding.error_reply(message.id, message.error))
        elif isinstance(message, Message):
            self.take(message, None)
        elif isinstance(message, list):
            self._process_batch(message)

    def take(self, message: Message, batch: BatchItem | None) -> ServedCall | None:
        """Process one message, or return its call to be run."""
        name = message.method
        if name is _UNSET:
            self._outgoing_calls.settle(message)
            return None
        id = b"" + message.id  # a copy in half the time of ``bytes``
        self._statistics.calls += 1
        started = 0.0
        try:
            if self.forward is not None:
                self.forward(message, id, batch)
                return None
            route = self._routes.get(name) or self._find_route(name)
            if route is None:
                self._process_special(message, id, batch)
                return None
            params = route.no_params if message.params is _ABSENT else message.params
            try:
                is_empty = route.takes_nothing and params == route.no_params
                args = () if is_empty else route.bind_by_position(params)
            except self._bad_data as error:
                args = route.bind_otherwise(params, error)
            if not route.fast:
                trace = b"" if message.traceparent is _ABSENT else trace_members(message)
                return ServedCall(self._session, route.method, args, id, batch, trace=trace)
            started = _now()
            try:
                result = route.call(*args) if args else route.call()
                reply = json_reply(id, result) if self._is_json else self._write_reply(id, result)
            finally:
                route.timing.count(_now() - started)
            if not id:
                reply = b""
        except (Exception, SystemExit) as error:
            reply = self._to_error_reply(message, id, error, has_run=started > 0)
        if not 0 < len(reply) <= self._most:
            if not self.deliver(id, batch, reply):
                self._statistics.count_error(str(message.method), TOO_LARGE)
        elif batch is None:
            self._send_queue.put(reply)
        else:
            batch[0].put_at_once(batch[1], id, reply)
        return None

    def _find_route(self, name: str) -> Route | None:
        """Return the route of a method, from now on in ``_routes``; None if it is special."""
        method = self._methods.get(name)
        if method is None or method.kind != "method":
            return None
        fast = method.fast and self._plain
        return self._routes.setdefault(
            name, Route(method, self._encoding, self._statistics, fast=fast)
        )

    def _to_error_reply(
        self, message: Message, id: bytes, error: Exception | SystemExit, *, has_run: bool
    ) -> bytes:
        rpc_error = self._dispatcher.to_rpc_error(
            str(message.method), self._session.connection_id, error
        )
        if has_run:
            self._statistics.errors += 1
            self._statistics.count_error(str(message.method), rpc_error.code)
        else:
            self._refuse(rpc_error, message, id)
        # An InvalidRequest has params of a wrong kind, so it does not count as a notification.
        if id or isinstance(error, InvalidRequest):
            return self._encoding.error_reply(id, rpc_error)
        return b""

    def deliver(self, id: bytes, batch: BatchItem | None, reply: bytes) -> bool:
        """Send a reply, or add it to its batch; empty: there is none.

        Returns False if the reply was too large and was replaced by an error.
        """
        fits = len(reply) <= self._most
        if not fits:
            self._statistics.errors += 1
            error = RPCError("the reply is too large", code=TOO_LARGE)
            reply = self._encoding.error_reply(id, error)
        if batch is not None:
            batch[0].put(batch[1], id, reply)
        elif reply:
            self._send_queue.put(reply)
        return fits

    def _process_special(
        self,
        message: Message,
        id: bytes,
        batch: BatchItem | None,
    ) -> None:
        name, params = str(message.method), message.params
        method = self._methods.get(name)
        if method is not None and method.kind == "subscribe":
            self._subscribe(name.removesuffix("_subscribe"), message, id, batch)
            return
        if method is not None:
            result = self._session.subscriptions.unsubscribe(params)
        elif not id:
            self._process_notification(name, params)
            result = True
        else:
            raise MethodNotFound(f"the method {name} does not exist/is not available")
        self.deliver(id, batch, self._write_reply(id, result) if id else b"")

    def _process_notification(self, name: str, params: Raw) -> None:
        """Process a notification of the protocol. Unknown ones are ignored."""
        try:
            if name.endswith("_subscription"):
                if not self._outgoing_calls.subscribers.push(self._encoding.read_push(params)):
                    self._outgoing_calls.unmatched += 1
            elif name == "$/progress":
                self._outgoing_calls.take_progress(params)
            elif name == "$/cancelRequest":
                self._session.cancel_served(self._encoding.read_cancelled(params))
        except BAD_DATA:
            self._outgoing_calls.unmatched += 1

    def _process_batch(self, items: list[Message | InvalidMessage]) -> None:
        if not items:
            self._statistics.refuse(InvalidRequest.code)
            self._send_queue.put(self._encoding.error_reply(b"", InvalidRequest("empty batch")))
            return
        if all(isinstance(item, Message) and item.method is _UNSET for item in items):
            self._outgoing_calls.settle_batch(items)  # type: ignore[arg-type]
            return
        if len(items) > self._session.limits.batch_items:
            self._statistics.refuse(InvalidRequest.code)
            ids = (bytes(i.id) for i in items if type(i) is Message and i.id)
            most = self._session.limits.batch_items
            error = InvalidRequest(f"batch too large: at most {most} calls in one")
            self._send_queue.put(
                self._encoding.batch([self._encoding.error_reply(next(ids, b""), error)])
            )
            return
        batch = ServedBatch(
            len(items), self._session.limits.reply_bytes, self._encoding, self._batch_done
        )
        for at, item in enumerate(items):
            if type(item) is Message:
                if item.method is _UNSET:
                    batch.put(at, b"", b"")
                call = self.take(item, (batch, at))
                if call is not None:
                    self._session.queue_call(call)
            elif type(item) is InvalidMessage:
                self._statistics.refuse(item.error.code)
                batch.put(at, item.id, self._encoding.error_reply(item.id, item.error))
        batch.end()

    def _batch_done(self, batch: ServedBatch, reply: bytes) -> None:
        if reply:
            self._send_queue.put(reply)
        for at, subscription in batch.subscriptions:
            self._session.subscriptions.begin(subscription, told=at not in batch.refused)

    def _subscribe(
        self, namespace: str, message: Message, id: bytes, batch: BatchItem | None
    ) -> None:
        if not id:
            self.deliver(id, batch, b"")  # a notification: no reply could carry the id
            return
        subscriptions = self._session.subscriptions
        subscription = subscriptions.open(namespace, message.params, trace_members(message))
        reply = self._write_reply(id, subscription.id)
        if batch is not None:  # the id is sent in the reply to the batch, the items after it
            batch[0].subscriptions.append((batch[1], subscription))
        fits = self.deliver(id, batch, reply)
        if batch is None:
            subscriptions.begin(subscription, told=fits)

    def _refuse(self, error: RPCError, message: Message, id: bytes) -> None:
        """Count a request that was answered with an error before any function was called."""
        name, trace = str(message.method), trace_members(message)
        is_method = name in self._methods
        self._statistics.refuse(error.code, name, id, trace, is_method=is_method)
