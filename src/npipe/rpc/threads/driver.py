"""Driver of one connection with threads: the I/O of a ``Session``, for servers and clients.

One thread reads, and runs the calls that it reads: a call and its reply then cost one read, one
write and no thread switch. When a call takes longer than ``PATIENCE`` seconds, the
``SlowCallMonitor`` starts a new reading thread, so that later messages (other calls, replies, a
``$/cancelRequest``) are not delayed. The method is marked as slow, and its next calls run in their
own threads from the start. ``session`` interprets the messages.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from npipe.errors import ClosedError, ProtocolError
from npipe.rpc.handlers.concurrency import ConcurrencyLimits
from npipe.rpc.session.served_calls import ServedCall
from npipe.rpc.session.session import Session
from npipe.rpc.threads.executor import CallExecutor
from npipe.rpc.threads.slow_calls import SlowCallMonitor, start_thread
from npipe.rpc.threads.spin_read import SpinReader
from npipe.rpc.threads.waiter import ReplyWaiter, callback_error
from npipe.rpc.threads.writer import Writer
from npipe.transport.base import Connection

__all__ = ["ConnectionDriver", "Driver"]

log: logging.Logger = logging.getLogger("npipe.rpc")

READ_SIZE = 65536  # bytes; the default buffer of a Unix socket is about three times as large
GONE_SECONDS = 0.05  # between two checks whether a half-closed peer has disconnected


class ConnectionDriver(Protocol):
    """The methods of a driver that a caller uses."""

    session: Session

    @property
    def closed(self) -> bool: ...
    def await_room(self, until: float | None) -> bool: ...
    def flush(self, until: float | None = None) -> None: ...
    def flush_in_background(self) -> None: ...
    def flush_pushes(self) -> None: ...
    def wait(self, reply: ReplyWaiter[Any], until: float | None) -> bool: ...
    def interrupted(self, reply: object) -> None: ...
    def close(self, reason: str) -> None: ...


class Driver:
    """Moves bytes between a connection and its session, and runs the session's calls."""

    def __init__(
        self,
        connection: Connection,
        session: Session,
        monitor: SlowCallMonitor,
        concurrency: ConcurrencyLimits,
        *,
        on_close: Callable[[Driver, str], object],
        run_async: Callable[[CallExecutor, ServedCall], object] | None = None,
    ) -> None:
        """Make a driver; it does not read yet.

        Args:
            connection: The connection.
            session: Its protocol state.
            monitor: The monitor of slow calls.
            concurrency: The concurrency limits of the methods.
            on_close: Called once as ``on_close(driver, reason)``.
            run_async: Starts an ``async def`` call.
        """
        self.connection = connection
        self.session = session
        self.progress: int = 0  # odd while the reading thread runs a call
        self.peer_driver: Driver | None = None  # in a proxy: the driver that messages go to
        self.bytes_in: int = 0
        self._monitor = monitor
        self._on_close = on_close
        self._writer = Writer(
            connection,
            session,
            name=f"{session.name}-write",
            on_failure=self.close,
        )
        self._executor = CallExecutor(
            session,
            self._writer,
            concurrency,
            name=self._thread_name,
            run_async=run_async,
            on_pause=self._on_pause,
        )
        self._state_lock = threading.RLock()  # a signal handler may call ``close`` at any line
        self._reader: object = None  # token of the reading thread, compared by identity
        self._reader_id = 0  # identifier of its thread
        self._current: ServedCall | None = None
        self._seen = 0  # ``progress`` at the monitor's last check
        self._spin_reader = SpinReader(monitor.spin_lock)
        self._at_end = False  # the peer has closed its direction
        self._closed = False
        self._blank = False  # the last read returned only whitespace
        self._idle_end = 0.0  # end of the idle timeout, by time.monotonic()
        self._partial = False  # a read deadline is set for the rest of a message
        self._anew = False  # the message timeout begins again now

    def start(self) -> None:
        """Read and serve in a new thread."""
        start_thread(self.run, self.session.name)

    def run(self) -> None:
        """Read and serve in this thread, until the connection ends or another thread takes over."""
        token = self._reader = object()
        self._read_as(token)

    def wait(self, reply: ReplyWaiter[Any], until: float | None) -> bool:
        """Wait for the reply to a call. Return False if it has not arrived at ``until``."""
        reads_here = threading.get_ident() == self._reader_id and not self.progress & 1
        if reads_here and reply.outcome is None:
            raise callback_error()
        return reply.wait(until)

    def interrupted(self, reply: object) -> None:
        """Handle an exception (KeyboardInterrupt) that ended ``wait``; its calls are cancelled.

        Args:
            reply: What was passed to ``wait``.
        """

    def join(self, other: Driver) -> None:
        """Connect two drivers of a proxy: each writes the messages that the other reads."""
        self.peer_driver, other.peer_driver = other, self

    # Reading

    def _read_as(self, token: object) -> None:
        self._reader_id = threading.get_ident()
        try:
            while self._work(token):
                self._answer()
                if self.session.flow.deferred and self._executor.catch_up():
                    continue
                if self.peer_driver is not None:
                    self.peer_driver.flush()
                if not self._read_once():
                    self._finish(token)
                    return
        except Exception as error:
            self._fail(error)
        except BaseException:  # Ctrl-C in the main thread: the bytes just read may be lost
            self.close("interrupted")
            raise

    def _read_once(self) -> bool:
        """Read once and pass the bytes to the session. Raises as reading does.

        Returns False at the end of the stream.
        """
        framing, session = self.session.framing, self.session
        if framing.error is not None:  # the messages before it have been processed
            raise framing.error
        if not session.may_read:
            self._wait_for_room()
            self._anew = True
        if self._partial or framing.pending:
            # Not sooner: processing the last message may have taken long.
            self._set_message_deadline()
        data = self._read()
        if not data:
            return False
        self.bytes_in += len(data)
        self._anew = session.feed(data)
        self._blank = not (self._anew or framing.pending)
        return True

    def _fail(self, error: Exception) -> None:
        """Close the connection after an error of reading."""
        reason = "internal error"
        if isinstance(error, ProtocolError):
            self._refuse(error)
            reason = f"protocol error: {error}"
        elif isinstance(error, TimeoutError):
            reason = "no complete message in time" if self._partial else "idle for too long"
        elif isinstance(error, ClosedError):
            reason = "closed"
        elif isinstance(error, OSError):
            reason = str(error)
        else:
            log.error("connection %06d: reading failed", self.session.connection_id, exc_info=error)
        self.close(reason)

    def _read(self) -> bytes:
        if self.session.limits.idle_timeout is None:
            data = self._spin_reader.read(self.connection, READ_SIZE)
            return self.connection.read(READ_SIZE) if data is None else data
        while True:
            before = self.bytes_out
            if not self._partial:
                if not self._blank:
                    self._idle_end = time.monotonic() + self.session.limits.idle_timeout
                self.connection.set_read_deadline(self._idle_end)
            try:
                data = self._spin_reader.read(self.connection, READ_SIZE)
                return self.connection.read(READ_SIZE) if data is None else data
            except TimeoutError:
                # Not ``in_flight``: the reply of an ended call may not have been written yet.
                idle_now = self.idle and before == self.bytes_out
                if self._partial or (idle_now and not self.session.subscriptions):
                    raise
                self._blank = False

    def _set_message_deadline(self) -> None:
        """Set the read deadline for the rest of a message; remove it once it is complete."""
        partial = self.session.framing.pending > 0
        if partial != self._partial or (partial and self._anew):
            self._partial = partial
            seconds = self.session.limits.message_timeout
            if seconds is not None:
                self.connection.set_read_deadline(time.monotonic() + seconds if partial else None)

    def _wait_for_room(self, until: float | None = None) -> None:
        """Wait while the limit of waiting calls is reached. Raises TimeoutError."""
        room = self._executor.room
        while not (self.session.may_read or self._closed):
            left = None if until is None else max(0, until - time.monotonic())
            if not room.wait(left):
                raise TimeoutError

    # Calls

    def _work(self, token: object) -> bool:
        """Run the calls that are ready. Return False if another thread has taken over reading."""
        session = self.session
        call = session.take_call()
        if call is None:
            return True
        all_async = session.all_async
        monitor = self._monitor
        with contextlib.suppress(RuntimeError):  # no thread can be started: it is not monitored
            monitor.add(self)
        while call is not None:
            method = call.method
            if method.is_async or all_async or method.slow or method.own_thread:
                self._executor.start(call)
            else:
                self._current = call
                self.progress += 1
                try:
                    call.run()
                except BaseException:  # the call was answered
                    if threading.current_thread() is threading.main_thread():
                        raise  # Ctrl-C
                    log.exception("connection %06d: a function failed", session.connection_id)
                with self._state_lock:  # excludes _take_over, which could start a second reader
                    taken_over = self._reader is not token
                    if not taken_over:
                        self._current = None
                        self.progress += 1
                if taken_over:
                    self._executor.after_call()
                    return False
            call = session.take_call()
        monitor.discard(self)
        return True

    @property
    def busy(self) -> bool:
        """True while the reading thread runs a call."""
        return bool(self.progress & 1)

    def look(self) -> None:
        """Start a new reading thread if the same call runs as at the last check."""
        progress = self.progress
        if progress & 1 and progress == self._seen:
            self._take_over(progress)
        self._seen = progress

    def _take_over(self, progress: int) -> None:
        with self._state_lock:
            call, before, reader_id = self._current, self._reader, self._reader_id
            if progress != self.progress or call is None or self._closed:
                return
            # All changes precede the start of the thread, which may run the next call at once.
            self._reader, self._reader_id, self._current = object(), 0, None
            self.progress += 1
            self._monitor.discard(self)
            call.method.slow = True
            try:
                start_thread(self._read_as, self._thread_name, self._reader)
            except RuntimeError:  # no thread can be started: waiting messages continue to wait
                self._reader, self._reader_id, self._current = before, reader_id, call
                self.progress += 1  # odd again
                self._monitor.add(self)

    # Writing

    @property
    def bytes_out(self) -> int:
        """The number of bytes written."""
        return self._writer.bytes_out

    def flush(self, until: float | None = None) -> None:
        """Write the queued messages, or pass them to the writing thread. Never raises.

        A caller with a deadline does not wait for a peer that reads slowly.
        """
        writer = self._writer
        if until is None:
            writer.flush()
        elif (
            writer.keeps_time and not self.session.flow.must_wait
        ) or not writer.flush_in_writer():
            writer.flush(wait=False, until=until)

    def flush_in_background(self) -> None:
        """Have the writing thread write the messages that the reading thread queued.

        The reading thread must continue to read: if both ends waited in a write for the other to
        read, they would deadlock.
        """
        if self.session.has_output and not self._writer.flush_in_writer():
            self._writer.flush()

    def flush_pushes(self) -> None:
        """Have the writing thread write the notifications of subscriptions.

        A generator must not wait for a slow peer longer than ``subscription_timeout``; its thread
        writes only if no writing thread can be started.
        """
        if not self._writer.flush_in_writer():
            while self.session.has_pushes:
                self._writer.flush(pushes=True)

    def await_room(self, until: float | None) -> bool:
        """Wait until one more call may be queued. Return False at ``until``."""
        return not self.session.flow.must_wait or self._writer.await_room(until)

    def _answer(self) -> None:
        """Write the replies to the calls that the reading thread has run.

        The writing thread writes them if this one must continue to read, or reads for a proxy.
        """
        session = self.session
        if session.send_queue.messages:
            if session.outgoing_calls.awaiting or session.is_proxy:
                self.flush_in_background()
            else:
                self._writer.flush_replies()

    # Closing

    def _refuse(self, error: ProtocolError) -> None:
        self.session.refuse(error)
        self._writer.flush()

    def _finish(self, token: object) -> None:
        """Handle the end of the peer's stream. Its calls are still answered."""
        try:
            self.session.feed_eof()
        except ProtocolError as error:
            self._refuse(error)
        if not self._work(token):
            return  # the other thread will read the end of the stream again
        if self.session.flow.deferred and not self._executor.hold():
            self._executor.after_call()
        self._writer.flush()
        self._at_end = True
        with self._writer.lock:  # a write in progress first determines whether it wrote any byte
            self.session.fail_outgoing()
        self.session.receive_eof()
        self._writer.flush(pushes=True)
        while not self._closed and not self.idle:
            if self.connection.has_gone():
                self.close("the peer has disconnected")
            else:
                time.sleep(GONE_SECONDS)
        self.check_end()

    def _on_pause(self) -> None:
        if self.peer_driver is not None:
            self.peer_driver.flush()
        self.check_end()

    def check_end(self) -> None:
        """Close after the last reply, once the peer has closed its direction."""
        if self._at_end and self.idle:
            self.close("the peer closed the connection")

    def close(self, reason: str) -> None:
        """Close the connection and end all its calls. Idempotent; may be called from any thread."""
        with self._state_lock:
            if self._closed:
                return
            self._closed = True
        self._monitor.discard(self)
        with contextlib.suppress(OSError):
            self.connection.hang_up()
        with self._writer.lock:  # see _finish; the closed connection ends every write
            self.session.end_outgoing(reason)
        self.session.close(reason)
        self._executor.room.set()
        self._writer.close()
        self._on_close(self, reason)

    @property
    def idle(self) -> bool:
        """True when all calls of the peer are answered and written."""
        return self.session.idle and not self._writer.writing

    @property
    def closed(self) -> bool:
        """True once no call can be sent any more."""
        return self._closed or self._at_end

    @property
    def _thread_name(self) -> str:
        return f"{self.session.name}-call"
