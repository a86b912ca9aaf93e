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
deques are changed by the steps that ``atomic`` lists.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Sized
from typing import Any

from npipe.errors import (
    ParseError,
    ProtocolError,
    RPCError,
    Truncated,
)
from npipe.rpc.limits import Limits
from npipe.rpc.service.dispatcher import CANCELLED, TOO_LARGE, Dispatcher, ToThread
from npipe.rpc.session.atomic import snapshot
from npipe.rpc.session.flow_control import FlowControl
from npipe.rpc.session.outgoing_calls import OutgoingCalls
from npipe.rpc.session.pending_calls import Pending
from npipe.rpc.session.processor import Forward, MessageProcessor
from npipe.rpc.session.receive_queue import ReceiveQueue
from npipe.rpc.session.send_queue import SendQueue
from npipe.rpc.session.served_calls import BatchItem, ServedCall
from npipe.rpc.session.served_subscriptions import ServedSubscription, ServedSubscriptions
from npipe.rpc.session.statistics import Statistics
from npipe.rpc.wire.encoding import Encoding
from npipe.rpc.wire.envelopes import Message
from npipe.rpc.wire.framing import Framing
from npipe.rpc.wire.json_encoding import JSON
from npipe.rpc.wire.json_stream import JSONStream
from npipe.rpc.wire.json_text import reply
from npipe.rpc.wire.messages import parse, parse_lines, parse_valid
from npipe.security import PeerIdentity

__all__ = ["Session"]

log: logging.Logger = logging.getLogger("npipe.rpc")

JSON_ENCODING = JSON()  # stateless


class Session:
    """The state of one connection."""

    __slots__ = (  # more attributes than CPython stores inline in an object without slots
        "_active",
        "_ask_peer",
        "_last_taker",
        "_most",
        "_on_pushes",
        "_parse",
        "_processor",
        "_ready",
        "_receive_queue",
        "_takers",
        "all_async",
        "closed",
        "connection_id",
        "dispatcher",
        "encoding",
        "flow",
        "forwarded_calls",
        "framing",
        "get_remote",
        "in_write",
        "is_json",
        "is_proxy",
        "limits",
        "name",
        "on_answer",
        "outgoing_calls",
        "peer",
        "plain",
        "send",
        "send_queue",
        "statistics",
        "subscriptions",
        "to_thread",
        "write_reply",
    )

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
        self.statistics: Statistics = Statistics(
            connection_id, encoding, log_calls=dispatcher.log_calls
        )
        self.in_write: list[Pending] = []  # the calls that ``take`` returned last
        self.plain: bool = not (dispatcher.middleware or dispatcher.log_calls)
        self.all_async: bool = dispatcher.is_async
        self._processor = MessageProcessor(self, peer)
        known = peer is None or peer.uid is not None or peer.sid is not None
        self._ask_peer = None if known else ask_peer
        self._most = self.limits.reply_bytes
        self._on_pushes = on_pushes
        # Set by the driver:
        self.get_remote: Callable[[], Any] = _no_remote  # returns the ``Caller`` for the peer
        self.to_thread: ToThread | None = None  # runs a plain function in a thread
        self.on_answer: Callable[[ServedCall], object] | None = None  # called after ``answer``
        self._receive_queue = ReceiveQueue(self.limits.message_bytes, self._parse)
        self._ready: deque[ServedCall] = deque()  # bound, but not begun
        self._active: set[ServedCall] = set()
        self._takers: set[object] = set()  # threads in ``take_call``
        self._last_taker: object = None

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
            taken = self._process_lines(lines)
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

    def _process_lines(self, lines: list[bytes]) -> int:
        """Process messages up to the first that needs a call to be run; queue those after it.

        Returns:
            The number of lines that are messages, before the first that is not.
        """
        if len(lines) == 1:
            return int(self._process_line(lines[0]))
        flow, queue, take = self.flow, self.send_queue, self._processor.take
        put_aside = self._receive_queue.new.append
        waits = False
        messages = parse_lines(lines)
        for message in messages:
            if waits or queue.size > queue.high_water or flow.blocked or flow.held:
                waits = True
                put_aside(message)
                continue
            call = take(message, None)
            if call is not None:
                self._ready.append(call)
                waits = True
        return len(messages)

    def _process_line(self, data: bytes) -> bool:
        """Process a message; return False, and do nothing, if it must wait or is not valid."""
        flow, queue = self.flow, self.send_queue
        if queue.size > queue.high_water or flow.blocked or flow.held:
            return False
        if self.outgoing_calls.batches and self.outgoing_calls.settle_whole(data):
            return True
        message = parse_valid(data)
        if message is None:
            return False
        if isinstance(message, list):
            self._processor.take_other(message)
        else:
            call = self._processor.take(message, None)
            if call is not None:
                self._ready.append(call)
        return True

    def receive(self, messages: Iterable[bytes]) -> None:
        """Queue complete messages, already split by a framing, for ``next_call``."""
        if self._ask_peer is not None:
            self._identify(self._ask_peer)
        self._receive_queue.new.extend(messages)

    def _identify(self, ask: Callable[[], PeerIdentity | None]) -> None:
        self._ask_peer = None
        self.peer = ask() or self.peer
        self._processor.identify(self.peer)

    def next_call(self) -> ServedCall | None:
        """Answer the messages that can be answered at once; return the next call to run.

        Returns None also when the limit of calls in flight is reached, or when back-pressure defers
        calls: ask again when a call has ended, or when queued bytes have been written.
        """
        queue, ready, flow = self._receive_queue, self._ready, self.flow
        new, later, cancelled = queue.new, queue.later, queue.cancelled
        if not (ready or new or later or cancelled or flow.deferred):
            return None  # the usual case, after each call
        limit, active, send_queue = self.limits.calls, self._active, self.send_queue
        call: ServedCall | None
        # The first condition is a faster form of ``may_begin_call`` in the state OPEN.
        while (
            send_queue.size <= send_queue.high_water and not (flow.blocked or flow.held)
        ) or flow.may_begin_call:
            try:
                if ready and len(active) < limit:
                    call = ready.popleft()
                elif ready and len(ready) >= limit:
                    queue.look_ahead(self._processor.take_other)
                    return None
                elif new or later:
                    call = self._process_one(later.popleft() if later else new.popleft())
                    if call is None:  # answered: the common case
                        continue
                else:
                    cancelled.clear()  # later calls may have the same ids
                    return None
            except IndexError:  # another thread took the last message
                continue
            if call.cancelled or (cancelled and call.id in cancelled):
                self.statistics.measure(call.method.name, 0.0)
                call.fail(RPCError("cancelled", code=CANCELLED))
            elif len(active) >= limit:
                ready.append(call)
            else:
                return self._begin(call)
        flow.defer(bool(new or later or ready))
        if not self.is_proxy:
            queue.look_ahead(self._processor.take_other)
        return None

    def take_call(self) -> ServedCall | None:
        """Do the same as ``next_call``, for a driver whose threads take calls at the same time.

        Until it returns, ``has_waiting`` is true: what a thread has taken is in no queue, and its
        call is not active yet. The thread must check afterwards what others left to it.
        """
        taker = object()
        self._takers.add(taker)
        self._last_taker = taker  # after the line above, and before a message is taken
        try:
            return self.next_call()
        finally:
            self._takers.discard(taker)

    def _process_one(self, data: bytes | Message) -> ServedCall | None:
        """Process a message, or return its call to be run."""
        if isinstance(data, Message):
            return self._processor.take(data, None)
        if self.outgoing_calls.batches and self.outgoing_calls.settle_whole(data):
            return None
        message = self._parse(data)
        if type(message) is Message:
            return self._processor.take(message, None)
        self._processor.take_other(message)
        return None

    def _begin(self, call: ServedCall) -> ServedCall:
        self._active.add(call)
        if self.closed:  # by another thread, which may not have seen this call
            call.cancel()
        return call

    @property
    def awaiting(self) -> bool:
        """True while the peer has replies or notifications to send.

        The driver must then read, even while the peer reads slowly: otherwise each end could wait
        for the other to read. False for a proxy, whose two sides prevent this.
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
        # In the direction of a call through the session: another thread may move it on meanwhile.
        return not (
            self.has_waiting
            or self._active
            or len(self.forwarded_calls)
            or self.send_queue.messages
            or self.send_queue.has_pushes
        )

    @property
    def has_waiting(self) -> bool:
        """True while a received message has not been processed, or its call has not begun."""
        last = self._last_taker
        # Twice, because a taker may put a call back, and another one may take it.
        return (
            self._is_queued()
            or bool(self._takers)
            or self._is_queued()
            or last is not self._last_taker
        )

    def _is_queued(self) -> bool:
        return bool(self._receive_queue.new or self._receive_queue.later or self._ready)

    @property
    def in_flight(self) -> int:
        """The number of the peer's calls that run or wait to run."""
        waiting = len(self._ready) + len(self._receive_queue.later)
        return len(self._active) + waiting + len(self.forwarded_calls)

    def queue_call(self, call: ServedCall) -> None:
        """Queue a bound call, for ``next_call``."""
        self._ready.append(call)

    def cancel_served(self, id: bytes) -> None:
        """Cancel the calls of the peer with this id, also one that was not processed yet."""
        known = [c for c in (*snapshot(self._active), *self._ready.copy()) if c.id == id]
        for call in known:
            call.cancel()
        if not known:
            self._receive_queue.cancel_later(id)

    # Replies

    def answer(self, call: ServedCall, reply: bytes) -> None:
        """Queue the reply to a call returned by ``next_call``; empty: there is none."""
        if call.batch is None and len(reply) <= self._most:
            if reply:
                self.send_queue.add(reply)  # ``on_answer`` tells the driver
        elif not self.deliver(call.id, call.batch, reply):
            self.statistics.count_error(call.method.name, TOO_LARGE)
        self._active.discard(call)  # last: the session is not idle until the reply is queued
        if self.on_answer is not None:
            self.on_answer(call)

    def deliver(self, id: bytes, batch: BatchItem | None, reply: bytes) -> bool:
        """Send a reply, or add it to its batch; see ``MessageProcessor.deliver``."""
        return self._processor.deliver(id, batch, reply)

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

    def become_proxy(self, forward: Forward | None = None, forwarded_calls: Sized = ()) -> None:
        """Preserve the order of all messages, because they are forwarded to another connection.

        Args:
            forward: Receives all calls and notifications from now on. None: messages are kept until
                a later call of this method passes it.
            forwarded_calls: The forwarded calls without a reply.
        """
        self.is_proxy = True
        self.flow.forward()
        if forward is not None:
            self._processor.forward = forward
            self.forwarded_calls = forwarded_calls

    def pushes_from(self, subscription: ServedSubscription) -> None:
        """Register a subscription whose queue was empty and now has notifications."""
        if self.send_queue.put_pushes(subscription) and self._on_pushes is not None:
            self._on_pushes()

    # Closing

    def refuse(self, error: ProtocolError) -> None:
        """Handle a framing error, after which no message can be read. The driver closes afterwards.

        An error reply is queued for the peer, and outgoing calls raise ``error``; after a stream
        that ended within a message they raise ConnectionLost.
        """
        if not isinstance(error, Truncated):
            self.outgoing_calls.violation = error
        self.send(self.encoding.error_reply(b"", ParseError(str(error))))

    def fail_outgoing(self) -> None:
        """Fail the calls to the peer at the end of its stream; a driver may hold its write lock."""
        self.outgoing_calls.fail_all("the connection ended before the reply")

    def receive_eof(self) -> None:
        """Handle the end of the peer's stream: outgoing calls fail, the peer's calls continue.

        It runs the cancel callbacks of subscriptions, so no lock may be held.
        """
        self.fail_outgoing()
        self.subscriptions.end()

    def end_outgoing(self, reason: str) -> None:
        """Begin to close: drop the queues, and fail the calls to the peer. Idempotent.

        It runs no function of an API, so a driver may hold its write lock. ``close`` must follow.
        """
        self.closed = True
        self.send_queue.close()
        self._receive_queue.clear()
        self._ready.clear()
        for call in snapshot(self._active):
            call.cancelled = True  # before a function finds that its calls to the peer have failed
        self.outgoing_calls.fail_all(reason)

    def close(self, reason: str = "the connection was lost") -> None:
        """End all calls of both sides and all subscriptions, and drop the queues. Idempotent.

        It runs the cancel callbacks of functions, so no lock may be held.
        """
        self.end_outgoing(reason)
        for call in snapshot(self._active):
            call.cancel()
        self.subscriptions.end()


def _no_remote() -> Any:
    return None
