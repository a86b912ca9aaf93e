"""One end of one connection: which message is what, and who gets it.

Sans-I/O: no socket, no thread, no clock. Both ends are alike, each may call and serve. A shell
(threads: ``link``; asyncio: ``aio``) drives it:

    session.feed(data)                        # what arrived
    while call := session.next_call():        # everything else has been answered by now
        ...run it: call.run() here or in a thread, await call.run_async() in a task...
    write(session.take())                     # once for all that one read brought
    while session.has_pushes: write(session.take(pushes=True))  # what subscriptions have, in turn

Where the other end reads more slowly than it asks, ``next_call`` gives out nothing and the session
is deferred (see ``flow_control``): what is queued has to leave first. It may be read from even so,
as long as it ``may_read``: what must not wait behind calls is found and done.

Threads: any method may be called from any thread at any time, except that ``take`` and what
follows it needs the shell's write lock. There is no lock in here: each shared thing is changed in
one step of a list, dict, set or deque.
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
from npipe.rpc.service.api import Method
from npipe.rpc.service.dispatcher import CANCELLED, TOO_LARGE, Dispatcher, ToThread
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
from npipe.rpc.wire.framing import Framing
from npipe.rpc.wire.json_encoding import JSON
from npipe.rpc.wire.json_stream import JSONStream
from npipe.rpc.wire.messages import (
    BAD_DATA,
    InvalidMessage,
    Message,
    Parsed,
    parse,
    parse_one,
    reply,
    trace_members,
)
from npipe.security import PeerIdentity

__all__ = ["Session"]

log = logging.getLogger("npipe.rpc")

Forward = Callable[[Message, bytes, tuple[ServedBatch, int] | None], None]


JSON_ENCODING = JSON()  # holds no state


class Session:
    """The state of one connection, as this end sees it."""

    __slots__ = (  # more than CPython keeps inline in an object without slots
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
    remote: Any = None  # the shell's face for calling the other end
    to_thread: ToThread | None = None  # the shell's way to run a plain function that is awaited

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
            dispatcher: What is served.
            limits: Of everything that the peer controls.
            framing: Tells messages apart in the bytes that are fed, and frames those that are
                taken; None: a JSON stream.
            encoding: Writes and reads values and envelopes.
            connection_id: The number of the connection in the log.
            peer: Who is at the other end.
            ask_peer: Called once something was read, if ``peer`` names no user: Windows tells
                the user of most clients of a pipe only then.
            on_subscription: Called with each subscription once its id is on the way; it has to
                run it.
            on_pushes: Called, from any thread, when ``has_pushes`` becomes true.
        """
        self.dispatcher = dispatcher
        self.limits = limits or Limits()
        self.connection_id = connection_id
        self.name = name or f"npipe-{connection_id:06d}"  # its threads' names start so
        self.peer = peer
        self.forward: Forward | None = None  # takes all calls and notifications: a proxy's
        self.is_proxy = False  # a proxy's: all keeps its order, and goes out elsewhere
        self.forwarded_calls: Sized = ()  # the calls that it took and has not answered
        self.closed = False
        self.framing = framing or JSONStream(self.limits.message_bytes, self.limits.depth)
        self.encoding = encoding
        self.is_json = isinstance(encoding, JSON)
        self._parse = parse if self.is_json else encoding.parse
        self.write_reply: Callable[[bytes, Any], bytes] = reply if self.is_json else encoding.reply
        self.send_queue = SendQueue(self.framing.wrap, self.limits.queue_bytes)
        self.flow = FlowControl(self.send_queue)
        self.send = self.send_queue.put  # queue a message to be written
        self.subscriptions = ServedSubscriptions(
            self, on_subscription or (lambda subscription: None)
        )
        self.outgoing_calls = OutgoingCalls(self.send, encoding)
        self.calls = self.errors = 0
        self.timings: dict[str, Timing] = {}  # by method
        self.in_write: list[Pending] = []  # the calls that ``take`` returned last
        self.plain = not (dispatcher.middleware or dispatcher.log_calls)
        self.all_async = dispatcher.is_async
        self._methods = dispatcher.api.table(peer)
        known = peer is None or peer.uid is not None or peer.sid is not None
        self._ask_peer = None if known else ask_peer
        self._most = self.limits.reply_bytes
        self._on_pushes = on_pushes
        self._receive_queue = ReceiveQueue(self.limits.message_bytes, self._parse)
        self._ready: deque[ServedCall] = deque()  # bound, and waiting for its turn
        self._active: set[ServedCall] = set()

    # What arrives

    def feed(self, data: bytes) -> bool:
        """Take bytes that were read. ``next_call`` then works on what they complete.

        Messages that can be answered at once are answered here, if nothing waits before them.

        Args:
            data: What was read; not empty. One thread at a time may feed.

        Returns:
            Whether a message was complete.

        Raises:
            ProtocolError: The peer broke a limit, and no message came before that.
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
        """Note that no more bytes will come; a last message may be complete only now.

        Raises:
            ProtocolError: The bytes ended in the middle of a message.
        """
        self._receive_queue.new.extend(self.framing.eof())

    def _take_guesses(self, lines: list[bytes]) -> int:
        """Do what messages ask until one has to be run, and queue those after it.

        Returns:
            How many lines are messages, before the first that is none.
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
        """Take complete messages, as framing found them. ``next_call`` then works on them."""
        if self._ask_peer is not None:
            self._identify(self._ask_peer)
        self._receive_queue.new.extend(messages)

    def _identify(self, ask: Callable[[], PeerIdentity | None]) -> None:
        self._ask_peer = None
        self.peer = ask() or self.peer
        self._methods = self.dispatcher.api.table(self.peer)

    def next_call(self) -> ServedCall | None:
        """Answer what can be answered at once; return the next call that has to be run, if any.

        None also when as many calls are in flight as may be, or when back-pressure defers them:
        ask again when one has ended, or when what is queued has left.
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
        # The first half is the second, quicker, in the state OPEN.
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
            except IndexError:  # another thread was quicker
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
        """Do what a message asks, or return the call that does."""
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
        if self.closed:  # just now, by another thread, which may have missed this one
            call.cancel()
        return call

    @property
    def awaiting(self) -> bool:
        """True while the other end owes something. Then it must be read from, however slowly it
        reads: it may be waiting for that in turn. (Of a proxy both ends see to that.)"""
        return self.outgoing_calls.awaiting and not self.is_proxy

    @property
    def may_read(self) -> bool:
        """False when nothing more should be read before a call has ended, or may begin."""
        return not self._receive_queue.new or not (
            self.flow.must_wait or len(self._ready) >= self.limits.calls
        )

    @property
    def idle(self) -> bool:
        """True when there is nothing to be done for the other end."""
        output = self.send_queue.messages or self.send_queue.has_pushes
        return not (self.has_waiting or self._active or output or len(self.forwarded_calls))

    @property
    def has_waiting(self) -> bool:
        """True while something that came has not been looked at, or not been begun."""
        return bool(self._receive_queue.new or self._receive_queue.later or self._ready)

    @property
    def in_flight(self) -> int:
        """How many of the other end's calls are running or waiting to."""
        waiting = len(self._ready) + len(self._receive_queue.later)
        return len(self._active) + waiting + len(self.forwarded_calls)

    def _take_other(self, message: Parsed) -> None:
        """Take what begins no call, or several."""
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
        """Do what one message asks, or return the call that does."""
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
        # An InvalidRequest has params of no kind: then it was no notification either.
        if id or isinstance(error, InvalidRequest):
            return self.encoding.error_reply(id, rpc_error)
        return b""

    def deliver(self, id: bytes, batch: tuple[ServedBatch, int] | None, reply: bytes) -> bool:
        """Send a reply, or hand it to its batch; empty: there is none. False: it was too large,
        and an error went in its place."""
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
        """Take what the two ends tell each other; what is unknown is ignored, as it must be."""
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
        """Take the reply to a call that ``next_call`` gave out; empty: there is none."""
        if call.batch is None and len(reply) <= self._most:
            if reply:
                self.send_queue.put(reply)
        elif not self.deliver(call.id, call.batch, reply):
            self.count_error(call.method.name, TOO_LARGE)
        self._active.discard(call)  # last: until its reply is queued, the session is not idle

    def take(self, *, pushes: bool = False) -> bytes:
        """Return all bytes to be written, each message framed; with ``pushes`` also some of what
        the subscriptions have queued. Under the shell's write lock."""
        self.in_write = self.outgoing_calls.taken() if self.outgoing_calls.unsent else []
        return self.send_queue.take(pushes=pushes)

    @property
    def has_output(self) -> bool:
        """True when there is something to be taken, pushes apart."""
        return bool(self.send_queue.messages)

    @property
    def has_pushes(self) -> bool:
        """True when a subscription has something to be taken."""
        return self.send_queue.has_pushes

    def nothing_sent(self) -> None:
        """Note that the write of what was taken last failed before its first byte: the calls in it
        may be made again."""
        for pending in self.in_write:
            pending.sent = False

    def become_proxy(self) -> None:
        """Keep the order of everything, for it goes out on another connection."""
        self.is_proxy = True
        self.flow.forward()

    def measure(self, method: Method, seconds: float, call: ServedCall | None = None) -> None:
        """Add one call to the statistics. (Two threads at once may lose one: they are no bill.)"""
        timing = self.timings.get(method.name)
        if timing is None:
            timing = self.timings.setdefault(method.name, Timing())
        timing.seconds += seconds
        timing.buckets[bisect_left(BOUNDS, seconds)] += 1
        if call is not None and self.dispatcher.log_calls:
            name, id = method.name, call.id
            log_call(name, id, self.connection_id, seconds, code=call.code, trace=call.trace)

    def count_error(self, name: str, code: int) -> None:
        """Add an error that a call of the method ``name`` was answered with to the statistics."""
        self.timings.setdefault(name, Timing()).count_error(code)

    def _refuse(self, code: int, name: str = OTHER, id: bytes = b"", trace: bytes = b"") -> None:
        """Count a message that was answered with an error before any function was called."""
        self.errors += 1
        timing = self.timings.setdefault(name if name in self._methods else OTHER, Timing())
        timing.count(0.0)
        timing.count_error(code)
        if self.dispatcher.log_calls:
            log_call(name, id, self.connection_id, 0.0, code=code, trace=trace)

    # Subscriptions that we serve

    def _subscribe(
        self, namespace: str, message: Message, id: bytes, batch: tuple[ServedBatch, int] | None
    ) -> None:
        if not id:
            self.deliver(id, batch, b"")  # nobody could be told the subscription's id
            return
        subscription = self.subscriptions.open(namespace, message.params, trace_members(message))
        reply = self.write_reply(id, subscription.id)
        if batch is not None:  # the id goes out with the batch's reply, the items after it
            batch[0].subscriptions.append((batch[1], subscription))
        fits = self.deliver(id, batch, reply)
        if batch is None:
            self.subscriptions.begin(subscription, told=fits)

    def pushes_from(self, subscription: ServedSubscription) -> None:
        """Note that a subscription has something to be taken, and had nothing."""
        if self.send_queue.put_pushes(subscription) and self._on_pushes is not None:
            self._on_pushes()

    # The end

    def refuse(self, error: ProtocolError) -> None:
        """Take a violation of the framing, after which nothing can be read: the other end is
        told, and our calls end with ``error``. The driver then closes. (One that just stopped in
        the midst of a message is lost.)"""
        if not isinstance(error, Truncated):
            self.outgoing_calls.violation = error
        self.send(self.encoding.error_reply(b"", ParseError(str(error))))

    def receive_eof(self) -> None:
        """The other end will send no more: our calls have no answer, its own still get theirs."""
        self.outgoing_calls.fail_all("the connection ended before the reply")
        self.subscriptions.end()

    def close(self, reason: str = "the connection was lost") -> None:
        """Everything ends: calls on both sides, subscriptions, what was queued. Idempotent."""
        self.closed = True
        self.send_queue.close()
        self._receive_queue.clear()
        self._ready.clear()
        for call in tuple(self._active):
            call.cancel()
        self.subscriptions.end()
        self.outgoing_calls.fail_all(reason)
