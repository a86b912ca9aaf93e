"""Session: the protocol state of one end of a connection.

Sans-I/O: no socket, no thread, no clock. Both ends are symmetric; each may call and serve. A driver
(``threads`` or ``aio``) uses it as follows::

    session.feed(data)                        # the received bytes
    while call := session.next_call():        # all other messages have been processed by now
        ...run it: call.run() here or in a thread, await call.run_async() in a task...
    write(session.take())                     # one write for all replies of one read
    while session.has_pushes: write(session.take(pushes=True))  # subscriptions, in turn

While the peer reads more slowly than it calls, ``next_call`` returns None and the session is
deferred (see ``flow_control``): queued bytes must be written first. The driver may continue to read
as long as ``may_read`` is true: messages that must not wait behind calls are processed.

Threads: any method may be called from any thread at any time, except that ``take`` and the write
that follows need the driver's write lock. The session has no lock: shared lists, dicts, sets and
deques are changed by atomic operations.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Sized
from time import perf_counter
from typing import Any

from msgspec import UNSET, Raw

from npipe.errors import (
    InvalidRequest,
    MethodNotFound,
    ParseError,
    ProtocolError,
    RPCError,
    Truncated,
)
from npipe.rpc.limits import Limits
from npipe.rpc.service.dispatcher import CANCELLED, TOO_LARGE, Dispatcher, ToThread
from npipe.rpc.service.method import Method
from npipe.rpc.session.call_log import log_call
from npipe.rpc.session.flow_control import FlowControl
from npipe.rpc.session.outgoing_calls import OutgoingCalls
from npipe.rpc.session.pending_calls import Pending
from npipe.rpc.session.receive_queue import ReceiveQueue
from npipe.rpc.session.send_queue import SendQueue
from npipe.rpc.session.served_calls import ServedBatch, ServedCall
from npipe.rpc.session.served_subscriptions import ServedSubscription, ServedSubscriptions
from npipe.rpc.session.timing import BOUNDS, OTHER, Timing
from npipe.rpc.wire.encoding import Encoding
from npipe.rpc.wire.envelopes import BAD_DATA, InvalidMessage, Message, Parsed
from npipe.rpc.wire.framing import Framing
from npipe.rpc.wire.json_encoding import JSON
from npipe.rpc.wire.json_stream import JSONStream
from npipe.rpc.wire.json_text import reply, trace_members
from npipe.rpc.wire.messages import parse, parse_one
from npipe.security import PeerIdentity

__all__ = ["Session"]

log: logging.Logger = logging.getLogger("npipe.rpc")

Forward = Callable[[Message, bytes, tuple[ServedBatch, int] | None], None]


JSON_ENCODING = JSON()  # stateless


class Session:
    """The state of one connection."""

    __slots__ = (  # more attributes than CPython stores inline in an object without slots
        "__dict__",
        "_active",
        "_ask_peer",
        "_methods",
        "_most",
        "_on_pushes",
        "_parse",
        "_ready",
        "_receive_queue",
        "all_async",
        "calls",
        "closed",
        "connection_id",
        "dispatcher",
        "encoding",
        "flow",
        "forward",
        "forwarded_calls",
        "framing",
        "in_write",
        "is_json",
        "is_proxy",
        "limits",
        "name",
        "outgoing_calls",
        "peer",
        "plain",
        "send",
        "send_queue",
        "subscriptions",
        "timings",
        "write_reply",
    )
    remote: Any = None  # the driver's ``Caller`` for the peer
    to_thread: ToThread | None = None  # the driver's way to run a plain function in a thread

    def __init__(
        self,
        dispatcher: Dispatcher,
        *,
        limits: Limits | None = None,
        framing: Framing | None = None,
        encoding: Encoding = JSON_ENCODING,
        connection_id: int = 0,
        name: str = "",
        peer: PeerIdentity | None = None,
        ask_peer: Callable[[], PeerIdentity | None] | None = None,
        on_subscription: Callable[[ServedSubscription], object] | None = None,
        on_pushes: Callable[[], object] | None = None,
    ) -> None:
        """Begin a session.

        Args:
            dispatcher: The API to serve, with its middleware.
            limits: The limits on everything that the peer controls.
            framing: Splits received bytes into messages, and frames messages to be sent; None: a
                JSON stream.
            encoding: The encoding of values and envelopes.
            connection_id: The number of the connection in the log.
            name: The prefix of the names of the connection's threads.
            peer: The identity of the peer.
            ask_peer: Called after the first read if ``peer`` has no user: Windows reports the user
                of most clients of a pipe only then.
            on_subscription: Called with each subscription once its id has been queued; it must run
                the generator.
            on_pushes: Called, from any thread, when ``has_pushes`` becomes true.
        """
        self.dispatcher: Dispatcher = dispatcher
        self.limits: Limits = limits or Limits()
        self.connection_id: int = connection_id
        self.name: str = name or f"npipe-{connection_id:06d}"  # prefix of its threads' names
        self.peer = peer
        self.forward: Forward | None = None  # in a proxy: receives all calls and notifications
        self.is_proxy: bool = False  # messages keep their order and are forwarded
        self.forwarded_calls: Sized = ()  # forwarded calls without a reply
        self.closed: bool = False
        self.framing: Framing | JSONStream = framing or JSONStream(
            self.limits.message_bytes, self.limits.depth
        )
        self.encoding: Encoding = encoding
        self.is_json: bool = isinstance(encoding, JSON)
        self._parse = parse if self.is_json else encoding.parse
        self.write_reply: Callable[[bytes, Any], bytes] = reply if self.is_json else encoding.reply
        self.send_queue: SendQueue = SendQueue(self.framing.wrap, self.limits.queue_bytes)
        self.flow: FlowControl = FlowControl(self.send_queue)
        self.send: Callable[[bytes], None] = self.send_queue.put  # queue a message to be written
        self.subscriptions: ServedSubscriptions = ServedSubscriptions(
            self, on_subscription or (lambda subscription: None)
        )
        self.outgoing_calls: OutgoingCalls = OutgoingCalls(self.send, encoding)
        self.calls: int = 0
        self.errors: int = 0
        self.timings: dict[str, Timing] = {}  # by method
        self.in_write: list[Pending] = []  # the calls that ``take`` returned last
        self.plain: bool = not (dispatcher.middleware or dispatcher.log_calls)
        self.all_async: bool = dispatcher.is_async
        self._methods = dispatcher.api.table(peer)
        known = peer is None or peer.uid is not None or peer.sid is not None
        self._ask_peer = None if known else ask_peer
        self._most = self.limits.reply_bytes
        self._on_pushes = on_pushes
        self._receive_queue = ReceiveQueue(self.limits.message_bytes, self._parse)
        self._ready: deque[ServedCall] = deque()  # bound, but not begun
        self._active: set[ServedCall] = set()

    # Received messages

    def feed(self, data: bytes) -> bool:
        """Add received bytes. ``next_call`` then processes the messages that they complete.

        Messages that can be answered at once are answered here, if no message waits before them.

        Args:
            data: The received bytes; not empty. Only one thread at a time may feed.

        Returns:
            Whether a message was completed.

        Raises:
            ProtocolError: The peer exceeded a limit, and no complete message preceded that.
        """
        if self._ask_peer is not None:
            self._identify(self._ask_peer)
        queue = self._receive_queue
        waiting = queue.new or queue.later or self._ready
        if self.is_json and not waiting and data.isascii():
            lines = self.framing.guess(data)
            taken = self._take_guesses(lines)
            if taken:
                if taken < len(lines):
                    data = b"\n".join(lines[taken:]) + b"\n"
                    queue.new.extend(self.framing.feed(data))
                return True
        messages = self.framing.feed(data)
        queue.new.extend(messages)
        return bool(messages)

    def feed_eof(self) -> None:
        """Mark the end of input; a last message may be complete only now.

        Raises:
            ProtocolError: The input ended within a message.
        """
        self._receive_queue.new.extend(self.framing.eof())

    def _take_guesses(self, lines: list[bytes]) -> int:
        """Process messages up to the first that needs a call to be run; queue those after it.

        Returns:
            The number of lines that are messages, before the first that is not.
        """
        taken, flow, queue = 0, self.flow, self.send_queue
        put_aside = self._receive_queue.new.append
        waits = False
        for line in lines:
            message = parse_one(line)
            if message is None:
                break
            taken += 1
            if waits or queue.size > queue.high_water or flow.blocked or flow.held:
                waits = True
                put_aside(message)
                continue
            call = self._take(message, None)
            if call is not None:
                self._ready.append(call)
                waits = True
        return taken

    def receive(self, messages: Iterable[bytes]) -> None:
        """Queue complete messages, already split by a framing, for ``next_call``."""
        if self._ask_peer is not None:
            self._identify(self._ask_peer)
        self._receive_queue.new.extend(messages)

    def _identify(self, ask: Callable[[], PeerIdentity | None]) -> None:
        self._ask_peer = None
        self.peer = ask() or self.peer
        self._methods = self.dispatcher.api.table(self.peer)

    def next_call(self) -> ServedCall | None:
        """Answer the messages that can be answered at once; return the next call to run.

        Returns None also when the limit of calls in flight is reached, or when back-pressure defers
        calls: ask again when a call has ended, or when queued bytes have been written.
        """
        limit = self.limits.calls
        new, later, given_up = (
            self._receive_queue.new,
            self._receive_queue.later,
            self._receive_queue.given_up,
        )
        ready, active = self._ready, self._active
        send_queue, flow = self.send_queue, self.flow
        call: ServedCall | None
        # The first condition is a faster form of ``may_begin_call`` in the state OPEN.
        while (
            send_queue.size <= send_queue.high_water and not (flow.blocked or flow.held)
        ) or flow.may_begin_call:
            try:
                if ready and len(active) < limit:
                    call = ready.popleft()
                elif ready and len(ready) >= limit:
                    self._receive_queue.look_ahead(self._take_other)
                    return None
                elif new or later:
                    call = self._take_data(later.popleft() if later else new.popleft())
                    if call is None:  # answered: the common case
                        continue
                else:
                    return None
            except IndexError:  # another thread took the last message
                continue
            if call.cancelled or (given_up and call.id in given_up):
                self.measure(call.method, 0.0)
                call.fail(RPCError("cancelled", code=CANCELLED))
            elif len(active) >= limit:
                ready.append(call)
            else:
                return self._begin(call)
        flow.defer(bool(new or later or ready))
        if not self.is_proxy:
            self._receive_queue.look_ahead(self._take_other)
        return None

    def _take_data(self, data: bytes | Message) -> ServedCall | None:
        """Process a message, or return its call to be run."""
        if isinstance(data, Message):
            return self._take(data, None)
        if data[:1] == b"[" and self.outgoing_calls.settle_whole(data):
            return None
        message = self._parse(data)
        if type(message) is Message:
            return self._take(message, None)
        self._take_other(message)
        return None

    def _begin(self, call: ServedCall) -> ServedCall:
        self._active.add(call)
        if self.closed:  # by another thread, which may not have seen this call
            call.cancel()
        return call

    @property
    def awaiting(self) -> bool:
        """True while the peer has replies or notifications to send. The driver must then read, even
        from a peer that reads slowly, because that peer may be waiting for it to read. False for a
        proxy, whose two sides ensure this.
        """
        return self.outgoing_calls.awaiting and not self.is_proxy

    @property
    def may_read(self) -> bool:
        """False when the driver must not read until a call has ended or may begin."""
        return not self._receive_queue.new or not (
            self.flow.must_wait or len(self._ready) >= self.limits.calls
        )

    @property
    def idle(self) -> bool:
        """True when no call, reply or notification is in progress."""
        output = self.send_queue.messages or self.send_queue.has_pushes
        return not (self.has_waiting or self._active or output or len(self.forwarded_calls))

    @property
    def has_waiting(self) -> bool:
        """True while a received message has not been processed, or its call has not begun."""
        return bool(self._receive_queue.new or self._receive_queue.later or self._ready)

    @property
    def in_flight(self) -> int:
        """The number of the peer's calls that run or wait to run."""
        waiting = len(self._ready) + len(self._receive_queue.later)
        return len(self._active) + waiting + len(self.forwarded_calls)

    def _take_other(self, message: Parsed) -> None:
        """Process a message that begins no call or, as a batch, several."""
        if type(message) is InvalidMessage:
            if self.forward is not None and message.request is not None:
                self._take(message.request, None)
                return
            self._refuse(message.error.code)
            self.send(self.encoding.error_reply(message.id, message.error))
        elif isinstance(message, Message):
            self._take(message, None)
        elif isinstance(message, list):
            self._take_batch(message)

    def _take(self, message: Message, batch: tuple[ServedBatch, int] | None) -> ServedCall | None:
        """Process one message, or return its call to be run."""
        if message.method is UNSET:
            self.outgoing_calls.settle(message)
            return None
        id = bytes(message.id)
        self.calls += 1
        started = 0.0
        try:
            if self.forward is not None:
                self.forward(message, id, batch)
                return None
            method = self._methods.get(message.method)
            if method is None or method.kind != "method":
                self._take_special(method, message, id, batch)
                return None
            signature = method.signature
            bind = signature.bind if self.is_json else signature.bind_by(self.encoding)
            args = bind(message.params)
            if not (method.fast and self.plain):
                trace = trace_members(message) if message.traceparent else b""
                return ServedCall(self, method, args, id, batch, trace=trace)
            started = perf_counter()
            try:
                reply = self.write_reply(id, signature.call(*args))
            finally:
                self.measure(method, perf_counter() - started)
            if not id:
                reply = b""
        except Exception as error:
            reply = self._to_error_reply(message, id, error, has_run=started > 0)
        if not 0 < len(reply) <= self._most:
            if not self.deliver(id, batch, reply):
                self.count_error(str(message.method), TOO_LARGE)
        elif batch is None:
            self.send(reply)
        else:
            batch[0].put(batch[1], id, reply)
        return None

    def _to_error_reply(
        self, message: Message, id: bytes, error: Exception, *, has_run: bool
    ) -> bytes:
        rpc_error = self.dispatcher.to_rpc_error(str(message.method), self.connection_id, error)
        if has_run:
            self.errors += 1
            self.count_error(str(message.method), rpc_error.code)
        else:
            self._refuse(rpc_error.code, str(message.method), id, trace_members(message))
        # An InvalidRequest has params of a wrong kind, so it does not count as a notification.
        if id or isinstance(error, InvalidRequest):
            return self.encoding.error_reply(id, rpc_error)
        return b""

    def deliver(self, id: bytes, batch: tuple[ServedBatch, int] | None, reply: bytes) -> bool:
        """Send a reply, or add it to its batch; empty: there is none.

        Returns False if the reply was too large and was replaced by an error.
        """
        fits = len(reply) <= self._most
        if not fits:
            self.errors += 1
            error = RPCError("the reply is too large", code=TOO_LARGE)
            reply = self.encoding.error_reply(id, error)
        if batch is not None:
            batch[0].put(batch[1], id, reply)
        elif reply:
            self.send(reply)
        return fits

    def _take_special(
        self,
        method: Method | None,
        message: Message,
        id: bytes,
        batch: tuple[ServedBatch, int] | None,
    ) -> None:
        name, params = str(message.method), message.params
        if method is not None and method.kind == "subscribe":
            self._subscribe(name.removesuffix("_subscribe"), message, id, batch)
            return
        if method is not None:
            result = self.subscriptions.unsubscribe(params)
        elif not id:
            self._take_notification(name, params)
            result = True
        else:
            raise MethodNotFound(f"the method {name} does not exist/is not available")
        self.deliver(id, batch, self.write_reply(id, result) if id else b"")

    def _take_notification(self, name: str, params: Raw) -> None:
        """Process a notification of the protocol. Unknown ones are ignored."""
        try:
            if name.endswith("_subscription"):
                self.outgoing_calls.take_push(params)
            elif name == "$/progress":
                self.outgoing_calls.take_progress(params)
            elif name == "$/cancelRequest":
                self._cancel_served(self.encoding.read_cancelled(params))
        except BAD_DATA:
            self.outgoing_calls.unmatched += 1

    def _cancel_served(self, id: bytes) -> None:
        known = [c for c in (*tuple(self._active), *tuple(self._ready)) if c.id == id]
        for call in known:
            call.cancel()
        if not known:
            self._receive_queue.give_up(id)

    def _take_batch(self, items: list[Message | InvalidMessage]) -> None:
        if not items:
            self._refuse(InvalidRequest.code)
            self.send(self.encoding.error_reply(b"", InvalidRequest("empty batch")))
            return
        if all(isinstance(item, Message) and item.method is UNSET for item in items):
            self.outgoing_calls.settle_batch(items)  # type: ignore[arg-type]
            return
        if len(items) > self.limits.batch_items:
            self._refuse(InvalidRequest.code)
            ids = (bytes(i.id) for i in items if type(i) is Message and i.id)
            most = self.limits.batch_items
            error = InvalidRequest(f"batch too large: at most {most} calls in one")
            self.send(self.encoding.batch([self.encoding.error_reply(next(ids, b""), error)]))
            return
        batch = ServedBatch(len(items), self.limits.reply_bytes, self.encoding, self._batch_done)
        for at, item in enumerate(items):
            if type(item) is Message:
                if item.method is UNSET:
                    batch.put(at, b"", b"")
                call = self._take(item, (batch, at))
                if call is not None:
                    self._ready.append(call)
            elif type(item) is InvalidMessage:
                self._refuse(item.error.code)
                batch.put(at, item.id, self.encoding.error_reply(item.id, item.error))

    def _batch_done(self, batch: ServedBatch, reply: bytes) -> None:
        if reply:
            self.send(reply)
        for at, subscription in batch.subscriptions:
            self.subscriptions.begin(subscription, told=at not in batch.refused)

    # Replies

    def answer(self, call: ServedCall, reply: bytes) -> None:
        """Queue the reply to a call returned by ``next_call``; empty: there is none."""
        if call.batch is None and len(reply) <= self._most:
            if reply:
                self.send_queue.put(reply)
        elif not self.deliver(call.id, call.batch, reply):
            self.count_error(call.method.name, TOO_LARGE)
        self._active.discard(call)  # last: the session is not idle until the reply is queued

    def take(self, *, pushes: bool = False) -> bytes:
        """Return all bytes to be written, framed; with ``pushes`` also some notifications.

        Call it only with the driver's write lock held.
        """
        self.in_write = self.outgoing_calls.taken() if self.outgoing_calls.unsent else []
        return self.send_queue.take(pushes=pushes)

    @property
    def has_output(self) -> bool:
        """True when messages are queued, notifications of subscriptions excluded."""
        return bool(self.send_queue.messages)

    @property
    def has_pushes(self) -> bool:
        """True when a subscription has queued notifications."""
        return self.send_queue.has_pushes

    def nothing_sent(self) -> None:
        """Record that the last write failed before its first byte: its calls may be sent again."""
        for pending in self.in_write:
            pending.sent = False

    def become_proxy(self) -> None:
        """Preserve the order of all messages, because they are forwarded to another connection."""
        self.is_proxy = True
        self.flow.forward()

    def measure(self, method: Method, seconds: float, call: ServedCall | None = None) -> None:
        """Add one call to the statistics. One of two concurrent additions may be lost."""
        timing = self.timings.get(method.name)
        if timing is None:
            timing = self.timings.setdefault(method.name, Timing())
        timing.seconds += seconds
        timing.buckets[bisect_left(BOUNDS, seconds)] += 1
        if call is not None and self.dispatcher.log_calls:
            name, id = method.name, call.id
            log_call(name, id, self.connection_id, seconds, code=call.code, trace=call.trace)

    def count_error(self, name: str, code: int) -> None:
        """Add the error code of a reply to the statistics of the method ``name``."""
        self.timings.setdefault(name, Timing()).count_error(code)

    def _refuse(self, code: int, name: str = OTHER, id: bytes = b"", trace: bytes = b"") -> None:
        """Count a message that was answered with an error before any function was called."""
        self.errors += 1
        timing = self.timings.setdefault(name if name in self._methods else OTHER, Timing())
        timing.count(0.0)
        timing.count_error(code)
        if self.dispatcher.log_calls:
            log_call(name, id, self.connection_id, 0.0, code=code, trace=trace)

    # Served subscriptions

    def _subscribe(
        self, namespace: str, message: Message, id: bytes, batch: tuple[ServedBatch, int] | None
    ) -> None:
        if not id:
            self.deliver(id, batch, b"")  # a notification: no reply could carry the id
            return
        subscription = self.subscriptions.open(namespace, message.params, trace_members(message))
        reply = self.write_reply(id, subscription.id)
        if batch is not None:  # the id is sent in the reply to the batch, the items after it
            batch[0].subscriptions.append((batch[1], subscription))
        fits = self.deliver(id, batch, reply)
        if batch is None:
            self.subscriptions.begin(subscription, told=fits)

    def pushes_from(self, subscription: ServedSubscription) -> None:
        """Register a subscription whose queue was empty and now has notifications."""
        if self.send_queue.put_pushes(subscription) and self._on_pushes is not None:
            self._on_pushes()

    # Closing

    def refuse(self, error: ProtocolError) -> None:
        """Handle a framing error, after which no message can be read. The driver closes afterwards.

        An error reply is queued for the peer, and outgoing calls raise ``error``; after a stream
        that
        ended within a message they raise ConnectionLost.
        """
        if not isinstance(error, Truncated):
            self.outgoing_calls.violation = error
        self.send(self.encoding.error_reply(b"", ParseError(str(error))))

    def receive_eof(self) -> None:
        """Handle the end of the peer's stream: outgoing calls fail, the peer's calls continue."""
        self.outgoing_calls.fail_all("the connection ended before the reply")
        self.subscriptions.end()

    def close(self, reason: str = "the connection was lost") -> None:
        """End all calls of both sides and all subscriptions, and drop the queues. Idempotent."""
        self.closed = True
        self.send_queue.close()
        self._receive_queue.clear()
        self._ready.clear()
        for call in tuple(self._active):
            call.cancel()
        self.subscriptions.end()
        self.outgoing_calls.fail_all(reason)
