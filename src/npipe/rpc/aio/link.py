"""One connection on an event loop: the shell around a ``Session``, for servers and clients.

A ``Link`` is the protocol of the loop's transport. What one read brings is answered with one
write. Functions run where they belong: ``inline`` ones at once, ``async def`` as tasks, plain
ones in the connection's ``Crew`` of threads; their replies meet in one write again. What a
message means is not known here: see ``session``.

Everything runs on the loop's thread, except ``wake`` and what the session does for a call that
ends in a worker's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import select
import sys
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, cast

from npipe.errors import ParseError, ProtocolError
from npipe.rpc.aio.clock import Clock
from npipe.rpc.aio.workers import Crew, Gates, Workers
from npipe.rpc.apart import run_apart
from npipe.rpc.dispatcher import Call, Dispatcher
from npipe.rpc.feeds import feed_async, start_feed
from npipe.rpc.framing import Framing
from npipe.rpc.limits import Limits
from npipe.rpc.messages import error_reply
from npipe.rpc.session import Session
from npipe.rpc.subscriptions import Subscription

__all__ = ["Link"]

log = logging.getLogger("npipe.rpc")

FLUSH_BYTES = 256 * 1024  # queued: write before anything more is begun
POLL_SECONDS = 0.1  # between two looks whether a half-closed peer has gone for good


class _Session(Session):
    """A session that tells its link when there is something to do."""

    link: Link

    @property
    def remote(self) -> Any:
        """The caller for the other end: one that is awaited on the loop, one that blocks in the
        thread of a plain function."""
        link = self.link
        return link.remote if link.on_loop else link.remote.from_thread()

    def send(self, message: bytes) -> None:
        if self.closed:
            return
        self._out.append(message)
        link = self.link
        link.queued += len(message)
        # A thread that sees ``pumping`` has queued its message before the pump's last look.
        if not link.pumping:
            link.wake()
        elif link.queued > FLUSH_BYTES:
            link.relieve()

    def answer(self, call: Call, reply: bytes) -> None:
        super().answer(call, reply)
        self.link.queued += len(reply)
        self.link.ended(call)


class Link(asyncio.Protocol):
    """Moves bytes between a transport and a session, and runs the session's calls."""

    __slots__ = (  # 10,000 idle connections are nothing special
        "_at_end",
        "_awake",
        "_clock",
        "_connection_id",
        "_crew",
        "_dispatcher",
        "_draining",
        "_framing",
        "_gates",
        "_gone",
        "_is_client",
        "_on_close",
        "_on_open",
        "_reason",
        "_room",
        "_thread",
        "_workers",
        "bytes_in",
        "bytes_out",
        "closed",
        "limits",
        "loop",
        "partner",
        "pumping",
        "queued",
        "reading",
        "remote",
        "session",
        "tasks",
        "transport",
    )
    transport: asyncio.Transport
    session: Session

    def __init__(
        self,
        dispatcher: Dispatcher,
        limits: Limits,
        framing: Framing,
        *,
        connection_id: int,
        workers: Workers,
        gates: Gates,
        on_open: Callable[[Link], object],
        on_close: Callable[[Link, str], object],
        is_client: bool = False,
    ) -> None:
        """``on_open(link)`` and ``on_close(link, reason)`` are each called once, in this order."""
        self.loop = asyncio.get_running_loop()
        self.limits = limits
        self.bytes_in = self.bytes_out = 0
        self.closed = False
        self.remote: Any = None  # the face for calling the other end
        self._gone: asyncio.Future[None] | None = None  # for those who wait for the end
        self.tasks: set[asyncio.Task[None]] = set()
        self._is_client = is_client
        self._dispatcher = dispatcher
        self._framing = framing
        self._connection_id = connection_id
        self._workers = workers
        self._gates = gates
        self._on_open = on_open
        self._on_close = on_close
        self._thread = threading.get_ident()
        self._crew: Crew | None = None
        self._reason = ""  # why it ends, once that is known
        self.pumping = False  # the loop is in ``pump``, which writes at its end
        self._awake = False  # ``pump`` has been asked for
        self.queued = 0  # bytes since the last write, roughly
        self._room: asyncio.Future[None] | None = None  # while the peer does not read
        self.reading = True
        self._at_end = False  # the other end has finished sending
        self._draining = False  # this end closes once all is answered
        self.partner: Link | None = None  # in a proxy: where what is read here goes

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.session = session = _Session(
            self._dispatcher,
            limits=self.limits,
            wrap=self._framing.wrap,
            connection_id=self._connection_id,
            peer=transport.get_extra_info("peer"),
            on_subscription=self._subscribed,
            on_pushes=self.wake,
        )
        session.link = self
        session.apart = partial(run_apart, self._workers.start)
        self._clock = Clock(self)
        self._on_open(self)

    def data_received(self, data: bytes) -> None:
        self.bytes_in += len(data)
        framing = self._framing
        try:
            messages = framing.feed(data)
        except ProtocolError as error:
            self._violated(error)
            return
        if messages:
            self.session.receive(messages)
            self.pump()
        self._clock.has_read(bool(messages), framing.pending)
        if framing.error is not None:
            self._violated(framing.error)

    def eof_received(self) -> bool:
        """The other end sends no more. It still gets its replies, unless it is gone."""
        try:
            self.session.receive(self._framing.eof())
        except ProtocolError as error:
            self._reason = f"protocol error: {error}"
            self.session.send(error_reply(b"null", ParseError(str(error))))
        self.pump()
        self.session.receive_eof()
        self._at_end = True
        self._clock.at_end()
        self._check_peer()
        return True  # this end closes by itself

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None and not self._reason:
            self._reason = str(exc)
        self.closed = True
        self._clock.stop()
        reason = self._reason or "the other end closed it"
        self.session.close(reason)
        if self._crew is not None:
            self._crew.close()
        self._make_room()
        if self._gone is not None:
            self._gone.set_result(None)
        self._on_close(self, reason)

    def pause_writing(self) -> None:
        """The peer reads slowly: do nothing more for it until it has caught up.

        A client reads on, though, or the two would wait for each other.
        """
        self._room = self.loop.create_future()
        if not self._is_client:
            self.hold()
        if self.partner is not None:  # what it reads is written here
            self.partner.hold()
        self._clock.await_progress()

    def resume_writing(self) -> None:
        self._clock.has_progress()
        self._make_room()
        self._release()
        if self.partner is not None:
            self.partner._release()

    def hold(self) -> None:
        """Begin nothing. What the next read brings is kept, for a call must have its turn as soon
        as there is room, before pushes fill it again; then nothing more is read."""
        self.session.blocked = True

    def _release(self) -> None:
        """Read again, unless there is another cause not to."""
        stopped = self.crowded and not self._is_client
        self.session.blocked = stopped or (self.partner is not None and self.partner.crowded)
        self.wake()

    def join(self, other: Link) -> None:
        """Write to the other what is read here, and the other way round. From now on: a link on
        ``hold`` is released."""
        self.partner, other.partner = other, self
        self._release()
        other._release()

    # Work

    def pump(self) -> None:
        """Do all that can be done at once, and write what it gave."""
        self._awake = False
        if self._crew is not None:
            self._crew.settle()
        if self.closed:
            return
        session = self.session
        self.pumping = True
        try:
            while (call := session.next_call()) is not None:
                self._begin(call)
        finally:
            self.pumping = False
            self.flush()
            if self._crew is not None:
                self._crew.resume()
        self._set_reading(not session.full)
        if (self._at_end or self._draining) and session.idle:
            self.close(self._reason)

    def wake(self) -> None:
        """Have ``pump`` called soon. From any thread."""
        if self._awake:
            return
        self._awake = True
        if self.on_loop:
            self.loop.call_soon(self.pump)
        else:
            with contextlib.suppress(RuntimeError):  # the loop has been closed
                self.loop.call_soon_threadsafe(self.pump)

    @property
    def on_loop(self) -> bool:
        """True in the thread of the loop."""
        return threading.get_ident() == self._thread

    def relieve(self) -> None:
        """Much has been queued while one read is worked on: write in between."""
        if self.on_loop:
            self.flush()

    def ended(self, call: Call) -> None:
        """A call has been answered. From any thread."""
        if call.method.options.concurrency is not None:
            with contextlib.suppress(RuntimeError):  # the loop has been closed
                self.loop.call_soon_threadsafe(self._gates.leave, call.method)
        if not (self.on_loop and self.pumping):
            self.wake()

    def _begin(self, call: Call) -> None:
        if call.method.options.concurrency is None:
            self._run(call)
        else:
            self._gates.enter(call.method, lambda: self._run(call))

    def _run(self, call: Call) -> None:
        method = call.method
        if call.cancelled:
            call.fail(asyncio.CancelledError())
        elif method.is_async or self.session.all_async:
            task = self._new_task(call.run_async())
            if task.done():
                self._task_done(task)
            else:
                self.tasks.add(task)
                call.on_cancel(task.cancel)
                task.add_done_callback(partial(self._call_done, call))
        elif method.options.inline:
            call.run()
        else:
            if self._crew is None:
                self._crew = Crew(self._workers, self.loop, self.wake, self._is_behind)
            self._crew.add(call)

    def _new_task(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Make a task that starts at once where Python can, so that what never waits costs less."""
        if sys.version_info >= (3, 12) and self.loop.get_task_factory() is None:
            return asyncio.Task(coroutine, loop=self.loop, eager_start=True)
        return self.loop.create_task(coroutine)

    def _call_done(self, call: Call, task: asyncio.Task[None]) -> None:
        call.fail(asyncio.CancelledError())  # if it was, before its first step
        self._task_done(task)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled():
            task.exception()  # answered and logged already: not asyncio's to complain about

    # Writing

    def flush(self) -> None:
        """Write what is queued. A connection whose peer lets too much pile up is dropped."""
        self.queued = 0
        if self.transport.is_closing():
            return
        data = self.session.take(pushes=self._room is None)
        if data:
            self.transport.write(data)
            self.bytes_out += len(data)
        if self._room is None:
            if self.session.has_pushes:  # later, so that others get their turn on the loop
                self.wake()
        elif self.transport.get_write_buffer_size() > self.limits.queue_bytes:
            self.abort("the other end reads too slowly")

    def _is_behind(self) -> bool:
        """Say whether plain calls are to wait: their replies could not be written. Any thread."""
        return self._room is not None or self.queued > FLUSH_BYTES

    @property
    def crowded(self) -> bool:
        """True while the peer does not read."""
        return self._room is not None

    async def room(self) -> None:
        """Wait until the peer reads and not much is queued. At once, if that is so."""
        while not self.closed:
            if self._room is not None:
                await asyncio.shield(self._room)
            elif self.queued > FLUSH_BYTES:  # many tasks call at the same time
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
        self.session.send(error_reply(b"null", ParseError(str(error))))
        self.flush()
        self.close(f"protocol error: {error}")

    def _check_peer(self) -> None:
        """After its end of sending: close when all is answered, or when the peer has gone."""
        if self.session.idle:
            self.close(self._reason)
        elif self._peer_is_gone():
            self.abort("the other end has gone")
        else:
            self._clock.after(POLL_SECONDS, self._check_peer)

    def _peer_is_gone(self) -> bool:
        sock = self.transport.get_extra_info("socket")
        if sys.platform == "win32":  # a pipe knows; of a socket it shows when it is written to
            return sock is None and bool(self.transport.get_extra_info("pipe").has_gone())
        if sock is None:
            return True
        poll = select.poll()
        poll.register(sock.fileno(), 0)  # HUP and ERR are always told
        return bool(poll.poll(0))

    def drain(self, reason: str) -> None:
        """Take no more calls; close once those in flight are answered."""
        self._draining = True
        self._reason = self._reason or reason
        self._set_reading(False)
        self.wake()

    def stop(self, reason: str) -> None:
        """Cancel what runs, and close."""
        self._reason = reason
        self.session.close(reason)
        self.close(reason)

    def close(self, reason: str) -> None:
        """Close after what has been written is sent. Idempotent."""
        if not self.transport.is_closing():
            self._reason = self._reason or reason
            self.transport.close()
            if self.transport.get_write_buffer_size():
                self._clock.await_progress()

    async def wait_closed(self) -> None:
        """Wait for the end of the transport."""
        if not self.closed:
            self._gone = self._gone or self.loop.create_future()
            await asyncio.shield(self._gone)

    def abort(self, reason: str) -> None:
        """Close at once."""
        self._reason = reason if not self.transport.is_closing() else self._reason or reason
        self.transport.abort()

    # Subscriptions

    def _subscribed(self, subscription: Subscription) -> None:
        """Run a subscription. From any thread: a batch ends where its last call did."""
        if not self.on_loop:
            self.loop.call_soon_threadsafe(self._subscribed, subscription)
        elif subscription.is_async:
            task = self.loop.create_task(feed_async(subscription))
            self.tasks.add(task)
            subscription.call.on_cancel(task.cancel)
            task.add_done_callback(self._task_done)
        else:
            start_feed(subscription)
