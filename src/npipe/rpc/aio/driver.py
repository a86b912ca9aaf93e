"""Driver of one connection on an event loop: the I/O of a ``Session``, for servers and clients.

A ``Driver`` is the protocol of the loop's transport: it has the methods of ``asyncio.Protocol``,
but does not derive from it, because mypyc compiles no class with such a base. The messages of one
read are answered with one write. ``executor`` decides where calls run; their replies are again
combined in one write. ``session`` interprets the messages.

Everything runs in the loop's thread, except ``wake`` and the session's methods for a call that ends
in a worker thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import select
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from npipe.errors import ProtocolError
from npipe.rpc.aio.executor import CallExecutor
from npipe.rpc.aio.timeouts import Timeouts
from npipe.rpc.aio.workers import ThreadPool
from npipe.rpc.handlers.concurrency import ConcurrencyLimits
from npipe.rpc.handlers.coroutine_feed import run_subscription_async
from npipe.rpc.handlers.thread_feed import start_subscription
from npipe.rpc.handlers.to_thread import run_in_thread
from npipe.rpc.limits import Limits
from npipe.rpc.service.dispatcher import Dispatcher
from npipe.rpc.session.pending_calls import Pending
from npipe.rpc.session.served_calls import ServedCall
from npipe.rpc.session.served_subscriptions import ServedSubscription
from npipe.rpc.session.session import Session
from npipe.rpc.wire.encoding import Encoding
from npipe.rpc.wire.framing import Framing

__all__ = ["Driver"]

log: logging.Logger = logging.getLogger("npipe.rpc")

WRITES = 4096  # number of latest writes whose calls are remembered
READ_SIZE = 32768  # bytes: about 500 small calls, before other connections have their turn
MUCH = 16384  # bytes in one write, above which the write timeout is checked
POLL_SECONDS = 0.1  # between two checks whether a half-closed peer has disconnected


class Driver:
    """Moves bytes between a transport and a session, and runs the session's calls."""

    __slots__ = (  # a server may have 10,000 idle connections
        "_at_end",
        "_awake",
        "_connection_id",
        "_dispatcher",
        "_draining",
        "_encoding",
        "_executor",
        "_framing",
        "_gone",
        "_loop_thread",
        "_on_close",
        "_on_open",
        "_process",
        "_reason",
        "_room",
        "_timeouts",
        "_workers",
        "_writes",
        "bytes_in",
        "bytes_out",
        "closed",
        "ending",
        "limits",
        "loop",
        "on_lost",
        "pumping",
        "reading",
        "remote",
        "session",
        "transport",
    )
    transport: asyncio.Transport
    session: Session

    def __init__(
        self,
        dispatcher: Dispatcher,
        limits: Limits,
        framing: Framing,
        encoding: Encoding,
        *,
        connection_id: int,
        workers: ThreadPool,
        concurrency: ConcurrencyLimits,
        on_open: Callable[[Driver], object],
        on_close: Callable[[Driver, str], object],
    ) -> None:
        """Make a driver.

        Args:
            dispatcher: The API to serve, with its middleware.
            limits: The limits on everything that the peer controls.
            framing: The framing of this connection.
            encoding: The encoding of values and envelopes.
            connection_id: The number of the connection in the log.
            workers: The threads for plain functions.
            concurrency: The concurrency limits of the methods.
            on_open: Called once as ``on_open(driver)``.
            on_close: Called once, afterwards, as ``on_close(driver, reason)``.
        """
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self.limits: Limits = limits
        self.bytes_in: int = 0
        self.bytes_out: int = 0
        self.closed: bool = False
        self.remote: Any = None  # the ``Caller`` for the peer
        self._gone: asyncio.Future[None] | None = None  # resolved when the transport is closed
        self._dispatcher = dispatcher
        self._framing = framing
        self._encoding = encoding
        self._connection_id = connection_id
        self._workers = workers
        self._executor = CallExecutor(
            workers, concurrency, self.loop, self.wake, lambda: self.behind
        )
        self._on_open = on_open
        self._on_close = on_close
        self._loop_thread = threading.get_ident()
        self._process = os.getpid()
        self._reason = ""  # of the end of the connection
        self.pumping: bool = False  # the loop is in ``pump``, which writes at its end
        self._awake = False  # ``pump`` is scheduled
        self._room: asyncio.Future[None] | None = None  # set while the peer does not read
        self.reading: bool = True
        self._at_end = False  # the peer has closed its direction
        self._draining = False  # close once all calls are answered
        self.on_lost: Callable[[], threading.Thread] | None = None  # closes the files
        self.ending: threading.Thread | None = None  # the thread that does so
        self._writes: deque[tuple[int, list[Pending]]] | None = None  # offsets and calls
        self._begin()

    def _begin(self) -> None:
        """Set the attributes of a subclass, which mypyc gives no ``__init__(*args, **options)``."""

    # Callbacks of the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        if hasattr(transport, "max_size"):  # asyncio's selector transport would read 256 KiB
            transport.max_size = READ_SIZE
        self.session = session = Session(
            self._dispatcher,
            limits=self.limits,
            framing=self._framing,
            encoding=self._encoding,
            connection_id=self._connection_id,
            peer=transport.get_extra_info("peer"),
            ask_peer=partial(transport.get_extra_info, "peer"),
            on_subscription=self._subscribed,
            on_pushes=self.wake,
        )
        session.get_remote = self._get_remote
        session.on_answer = self.ended
        session.send_queue.on_put = self.wake
        self.transport.set_write_buffer_limits(high=self.limits.queue_bytes)
        session.to_thread = partial(run_in_thread, self._workers.start)
        self._timeouts = Timeouts(self)
        if transport.get_extra_info("tells_undelivered"):
            self._writes = deque(maxlen=WRITES)
        self._on_open(self)

    def data_received(self, data: bytes | bytearray) -> None:
        self.bytes_in += len(data)
        session, framing = self.session, self._framing
        queue = session.send_queue
        queue.on_put = None  # ``pump`` writes immediate replies, without a wake-up
        try:
            complete = session.feed(bytes(data))  # asyncio's proactor brings a bytearray
        except ProtocolError as error:
            self._violated(error)
            return
        if complete:
            self.pump()
        else:
            queue.on_put = self.wake
            if queue.messages:  # queued meanwhile by another thread
                self.wake()
        self._timeouts.has_read(complete, framing.pending)
        if framing.error is not None:
            self._violated(framing.error)

    def eof_received(self) -> bool:
        """Handle the end of the peer's stream.

        Its calls still get replies, unless it disconnects.
        """
        try:
            self.session.feed_eof()
        except ProtocolError as error:
            self._reason = f"protocol error: {error}"
            self.session.refuse(error)
        self.pump()
        self.session.receive_eof()
        self._at_end = True
        self._timeouts.at_end()
        self._check_peer()
        return True  # keep the transport open for replies

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None and not self._reason:
            self._reason = str(exc)
        if self._writes is not None:
            self._mark_undelivered(getattr(exc, "undelivered_from", self.bytes_out))
        self.closed = True
        self._end_stream()
        self._timeouts.stop()
        reason = self._reason or "the peer closed the connection"
        self.session.close(reason)
        self._executor.close()
        self._make_room()
        if self._gone is not None:
            self._gone.set_result(None)
        if self.on_lost is not None:
            self.ending = self.on_lost()
        self._on_close(self, reason)

    def _end_stream(self) -> None:
        """End the stream although a forked child has a copy: see ``Connection.hang_up``."""
        sock = self.transport.get_extra_info("socket")
        if sock is not None and sys.platform != "win32" and self._process == os.getpid():
            with contextlib.suppress(OSError, TypeError):  # it has ended; uvloop has no shutdown
                sock.shutdown(socket.SHUT_RDWR)

    def _mark_undelivered(self, offset: int) -> None:
        """Record that no byte from ``offset`` on was delivered to the peer."""
        for start, calls in self._writes or ():
            if start >= offset:
                for call in calls:
                    call.sent = False

    def pause_writing(self) -> None:
        """Begin no more calls until the peer has read the written bytes."""
        self._room = self.loop.create_future()
        self._update_hold()
        self._timeouts.has_written()

    def resume_writing(self) -> None:
        self._make_room()
        self._update_hold()
        self.wake()

    def _update_hold(self) -> None:
        self.session.flow.hold(self.crowded)

    # Work

    def pump(self) -> None:
        """Process all messages that can be processed at once, and write the replies."""
        self._awake = False
        session, executor = self.session, self._executor
        if executor.threads is not None:
            executor.threads.settle()
        if self.transport.is_closing():  # no reply can be written, so no call begins
            return
        flow = session.flow
        self.pumping = True
        # A thread that reads None here has queued its message before the ``flush`` below.
        session.send_queue.on_put = None
        try:
            while True:
                while (call := session.next_call()) is not None:
                    executor.begin(call)
                if flow.held or not flow.deferred or self.transport.is_closing():
                    break  # when closing, no more bytes are written
                flow.resume()
                self.flush()
        finally:
            self.pumping = False
            session.send_queue.on_put = self.wake
            self.flush()
            if executor.threads is not None:
                executor.threads.resume()
        if session.may_read != self.reading:
            self._set_reading(session.may_read)
        if (self._at_end or self._draining) and session.idle:
            self.close(self._reason)

    def wake(self) -> None:
        """Have ``pump`` called soon. May be called from any thread."""
        if self._awake:
            return
        self._awake = True
        if self.on_loop:
            self.loop.call_soon(self.pump)
        else:
            with contextlib.suppress(RuntimeError):  # the loop has been closed
                self.loop.call_soon_threadsafe(self.pump)

    @property
    def tasks(self) -> set[asyncio.Task[None]]:
        """The tasks of this connection."""
        return self._executor.tasks

    @property
    def on_loop(self) -> bool:
        """True in the thread of the loop."""
        return threading.get_ident() == self._loop_thread

    def _get_remote(self) -> Any:
        """Return the caller for the peer: awaitable on the loop, blocking in other threads."""
        return self.remote if self.on_loop else self.remote.from_thread()

    def ended(self, call: ServedCall) -> None:
        """Handle a reply to a served call. May be called from any thread.

        The reply of the only call is written at once; those of several, together.
        """
        self._executor.ended(call)
        if not self.on_loop:
            self.wake()
        elif self.pumping:
            return
        elif self._is_last():
            self.flush()
        else:
            self.wake()

    def _is_last(self) -> bool:
        """Tell whether no other call runs or waits, so that there is nothing to do but to write."""
        session = self.session
        waiting = session.has_waiting or session.in_flight or not self.reading
        return not (waiting or self._at_end or self._draining)

    # Writing

    def flush(self) -> None:
        """Pass the queued bytes to the transport, which buffers unwritten ones."""
        if self.transport.is_closing():
            return
        data = self.session.take(pushes=self._room is None)
        if data:
            if self._writes is not None and self.session.in_write:
                self._writes.append((self.bytes_out, self.session.in_write))
            self.bytes_out += len(data)  # before the write: ``Timeouts`` subtracts the buffer size
            self.transport.write(data)
            if len(data) > MUCH and self._room is None:
                self._timeouts.has_written()
        if self._room is None and self.session.has_pushes:
            self.wake()  # later, so that other callbacks of the loop can run

    @property
    def behind(self) -> bool:
        """True while too many bytes are queued for a call to begin.

        From any thread.
        """
        return self._room is not None or self.session.send_queue.above_high_water

    @property
    def crowded(self) -> bool:
        """True while the peer does not read."""
        return self._room is not None

    async def room(self) -> None:
        """Wait until the peer reads and the queue is below the high-water mark."""
        while not self.transport.is_closing():
            if self._room is not None:
                await asyncio.shield(self._room)
            elif self.session.send_queue.above_high_water:  # many tasks call at the same time
                self.flush()
            else:
                return

    def _make_room(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        self._room = None

    def _set_reading(self, on: bool) -> None:
        on = on and not self._draining
        if on != self.reading and not self._at_end and not self.transport.is_closing():
            self.reading = on
            if on:
                self.transport.resume_reading()
            else:
                self.transport.pause_reading()

    # The end

    def _violated(self, error: ProtocolError) -> None:
        self.session.refuse(error)
        self.flush()
        self.close(f"protocol error: {error}")

    def _check_peer(self) -> None:
        """Close after the peer's EOF once all calls are answered, or when it has disconnected."""
        if self.session.idle:
            self.close(self._reason)
        elif self._peer_is_gone():
            self.abort("the peer has disconnected")
        else:
            self._timeouts.after(POLL_SECONDS, self._check_peer)

    def _peer_is_gone(self) -> bool:
        sock = self.transport.get_extra_info("socket")
        if sys.platform == "win32":  # a pipe reports it; a socket only on the next write
            return sock is None and bool(self.transport.get_extra_info("pipe").has_gone())
        if sock is None:
            return True
        poll = select.poll()
        poll.register(sock.fileno(), 0)  # HUP and ERR are always reported
        return bool(poll.poll(0))

    def drain(self, reason: str) -> None:
        """Accept no more calls; close once those in flight are answered."""
        self._draining = True
        self._reason = self._reason or reason
        self._set_reading(False)
        self.wake()

    def stop(self, reason: str) -> None:
        """Cancel the running calls, and close."""
        self._reason = reason
        self.session.close(reason)
        self.close(reason)

    def close(self, reason: str) -> None:
        """Close after the buffered bytes are written. Idempotent."""
        if not self.transport.is_closing():
            self._reason = self._reason or reason
            self.transport.close()
            self._timeouts.has_written()

    async def wait_closed(self) -> None:
        """Wait until the transport is closed."""
        if not self.closed:
            self._gone = self._gone or self.loop.create_future()
            await asyncio.shield(self._gone)

    def abort(self, reason: str) -> None:
        """Close at once."""
        self._reason = reason if not self.transport.is_closing() else self._reason or reason
        self.transport.abort()

    # Subscriptions

    def _subscribed(self, subscription: ServedSubscription) -> None:
        """Run a subscription. May be called from any thread: that of the last call of a batch."""
        if not self.on_loop:
            self.loop.call_soon_threadsafe(self._subscribed, subscription)
        elif subscription.is_async:
            task = self.loop.create_task(run_subscription_async(subscription))
            subscription.call.on_cancel(task.cancel)
            self._executor.keep(task)
        else:
            start_subscription(subscription)
