"""Driver of one connection on the event loop of a server. It never blocks.

Thread rules:

* Only the leader of the loop reads, feeds the session and runs timers: ``on_event``, ``pump``,
  ``on_timer``, and the attribute ``_eof`` and the time limits.
* Any thread may write. The thread that acquires ``_write_lock`` writes all queued bytes; another
  thread leaves its bytes to the holder, which checks the queue again after the release. A write
  never blocks: bytes that the system does not accept stay in ``_unsent``, and the leader continues
  when the connection is writable.
* Reads and writes skip the locks of the connection: see ``Connection.unlocked``. It is therefore
  closed under ``_write_lock``; if the leader is in a read (``_reading``), by the leader afterwards.
  ``close`` sets ``_closed`` and then checks ``_reading``; the leader does it the other way round.
* ``_interest_lock`` guards the events that the loop waits for. They follow from the state, so a
  thread that changes the state calls ``_settle`` afterwards, and the last one sees all changes.
"""

from __future__ import annotations

import _socket
import contextlib
import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from npipe.errors import ClosedError, ProtocolError
from npipe.rpc.threads.loop.poller import READ, WRITE
from npipe.rpc.threads.loop.timeouts import Timeouts
from npipe.rpc.threads.waiter import Wakeup, callback_error

if TYPE_CHECKING:
    from npipe.rpc.session.session import Session
    from npipe.rpc.threads.loop.executor import LoopExecutor
    from npipe.rpc.threads.loop.leader import ServerLoop, Token
    from npipe.rpc.threads.waiter import ReplyWaiter
    from npipe.transport.base import Connection

__all__ = ["LoopDriver"]

log: logging.Logger = logging.getLogger("npipe.rpc")

READ_SIZE: Final = 16384  # bytes: about 250 small calls, which take less than a millisecond
LARGE_READ_SIZE: Final = 65536  # bytes, within a large message
CALLS_AT_ONCE: Final = 32  # calls that the leader runs before other connections have their turn
# Flags of sockets; Windows has neither. A write must not end a program that resets SIGPIPE. From
# ``_socket``, because ``socket`` makes `import npipe.rpc` longer.
READ_FLAGS: Final[int] = getattr(_socket, "MSG_DONTWAIT", 0)
WRITE_FLAGS: Final[int] = READ_FLAGS | getattr(_socket, "MSG_NOSIGNAL", 0)


class LoopDriver:
    """Moves bytes between a connection and its session, and begins the session's calls."""

    __slots__ = (  # a server may have 10,000 idle connections
        "_close_reason",
        "_closed",
        "_eof",
        "_executor",
        "_interest",
        "_interest_lock",
        "_loop",
        "_on_close",
        "_reading",
        "_receive",
        "_send",
        "_timeouts",
        "_unsent",
        "_waiting_for_room",
        "_write_lock",
        "_writing",
        "at_end",
        "bytes_in",
        "bytes_out",
        "connection",
        "fd",
        "heavy",
        "session",
    )
    writes_may_wait = False

    def __init__(
        self,
        connection: Connection,
        session: Session,
        loop: ServerLoop,
        executor: LoopExecutor,
        *,
        on_close: Callable[[LoopDriver, str], object],
    ) -> None:
        """Make a driver; it does nothing before ``start``.

        Args:
            connection: A connection that is ``selectable``.
            session: Its protocol state.
            loop: Waits for events of the connection.
            executor: Runs the calls that the leader does not run.
            on_close: Called once as ``on_close(driver, reason)``.
        """
        self.connection: Connection = connection
        self.session: Session = session
        self.fd: int = connection.fileno()
        self.bytes_in: int = 0
        self.bytes_out: int = 0
        self.heavy: bool = False  # the last read was full of messages: see ``ServerLoop``
        self._receive, self._send = connection.unlocked()
        self._reading = False  # the leader reads
        self._loop = loop
        self._executor = executor
        self._on_close = on_close
        self._closed = False
        self._eof = False  # the peer has closed its direction
        self.at_end: bool = False  # ... and the session was told
        self._close_reason = ""  # close once everything has been written
        self._write_lock = threading.Lock()
        self._writing = False  # taken bytes have not been written yet
        self._unsent: bytes | memoryview = b""
        self._waiting_for_room: list[Wakeup] = []
        self._interest_lock = threading.RLock()  # a signal handler may call ``close`` at any line
        self._interest = 0
        self._timeouts = Timeouts(self, loop)

    def start(self) -> None:
        """Serve the connection from now on."""
        self._loop.add(self)
        self._timeouts.start()
        self._update_interest()

    # Reading: only by the leader

    def on_event(self, event: int) -> bool:
        """Write or read what the connection is ready for.

        Args:
            event: READ, WRITE or both; other bits are an error or a hang-up.

        Returns:
            Whether the leader must call ``pump``.
        """
        interest, came = self._interest, False
        if event & ~READ and interest & WRITE:
            self._flush(unsent=True)
            came = True
        if event & ~WRITE and interest & READ:
            try:
                return self._read() or came
            except BaseException as error:
                self._fail(error)
        return came

    def _read(self) -> bool:
        """Read once. Return whether there may be messages to process."""
        session = self.session
        size = LARGE_READ_SIZE if session.framing.pending > READ_SIZE // 2 else READ_SIZE
        data: bytes | None = None
        self._reading = True
        if not self._closed:
            try:
                data = self._receive(size, READ_FLAGS)
            except OSError:  # also: there is nothing to read
                self._reading = False
                data = self.connection.read_now(size)
        self._reading = False
        self.heavy = False
        if self._closed:  # by another thread, which left the connection to this one
            self._close_connection()
            return False
        if data is None:
            return False
        if data:
            self.bytes_in += len(data)
            self._timeouts.has_read(session.feed(data))
            # A part of a large message takes little time, and the message has a time limit.
            self.heavy = len(data) == size and session.framing.pending <= READ_SIZE // 2
        else:
            self._eof = True
            try:
                session.feed_eof()
            except ProtocolError as error:
                session.refuse(error)
        return True

    def _fail(self, error: BaseException) -> None:
        """Close the connection after an error of reading; the leader continues in any case."""
        self._reading = False
        if self._closed:
            self._close_connection()
        elif isinstance(error, ProtocolError):
            self._violated(error)
        elif isinstance(error, ClosedError):
            self.close("closed")
        elif isinstance(error, OSError):
            self.close(str(error))
        else:
            log.error("connection %06d: reading failed", self.session.connection_id, exc_info=error)
            self.close("internal error")

    def _violated(self, error: ProtocolError) -> None:
        """Send the error to the peer, and close afterwards."""
        self.session.refuse(error)  # first: with a reason and no output, any thread closes
        self._close_reason = f"protocol error: {error}"
        self.flush()

    # Calls

    def pump(self, token: Token) -> bool:
        """Begin the calls that may begin, and write the replies. Only the leader calls it.

        Args:
            token: Identifies the leader.

        Returns:
            False if another thread has become the leader: this thread must return.
        """
        try:
            if not self._begin_calls(token):
                self.after_call()
                return False
            error = self.session.framing.error
            if error is not None and not (
                self._close_reason or self._eof or self.session.has_waiting
            ):
                self._violated(error)
            if self._eof and not self.at_end:
                self._finish()
            self._settle()
        except BaseException as error:  # an internal error closes this connection only
            self._fail(error)
        return True

    def _begin_calls(self, token: Token) -> bool:
        session, executor = self.session, self._executor
        all_async, left = session.all_async, CALLS_AT_ONCE
        while not (self._close_reason or self._closed):
            if not left:
                self._flush()
                self._loop.request(self)
                break
            call = session.take_call()
            if call is None:
                self._flush()
                if not session.flow.deferred or not session.flow.take_deferred():
                    break
            elif (method := call.method).slow or method.own_thread or method.is_async or all_async:
                executor.start(self, call)
            elif not self._loop.run_here(self, call, token):
                return False
            else:
                left -= 1
        return True

    def after_call(self) -> None:
        """Write the reply of a call that this thread ran, and begin calls that waited for it.

        For threads of the pool, in which functions may run.
        """
        session, flow, executor = self.session, self.session.flow, self._executor
        while True:
            self._flush()
            call = None if self._close_reason else session.take_call()
            if call is None:
                if not flow.take_deferred():
                    break
            elif executor.belongs_elsewhere(call):
                executor.start(self, call)
            else:
                executor.run(self, call)
        if session.framing.error is not None:  # the last message before it may have begun now
            self._loop.request(self)
        self._settle()

    def after_async_call(self) -> None:
        """Write the reply of a call; the leader begins calls that waited for it.

        For threads in which no function may run: that of the event loop, or of a generator.
        """
        self.flush()
        if self.session.has_waiting:
            self._loop.request(self)

    # Writing: any thread

    def flush(self, until: float | None = None) -> None:
        """Write the queued bytes, as far as the connection accepts them.

        Args:
            until: Ignored, because this never blocks.
        """
        self._flush()
        if self.session.flow.deferred and self.session.flow.may_begin_call:
            self._loop.request(self)
        self._settle()

    def flush_in_background(self) -> None:
        """Write the queued bytes; see ``flush``."""
        self.flush()

    def flush_pushes(self) -> None:
        """Write the notifications of subscriptions, as far as the connection accepts them."""
        self.flush()

    def _flush(self, *, unsent: bool = False) -> None:
        """Write the queued bytes; with ``unsent``, once, also bytes not accepted before."""
        send_queue = self.session.send_queue
        pushes = True  # once: a generator may produce items without end
        while (unsent or not self._unsent) and not self._closed:
            if not (send_queue.messages or self._unsent or (pushes and send_queue.has_pushes)):
                return
            if not self._write_lock.acquire(False):
                return  # the holder checks the queue again after the release
            try:
                failure = self._write() if unsent or not self._unsent else ""
            finally:
                self._write_lock.release()
            if failure:
                self.close(failure)
            unsent = pushes = False

    def _write(self) -> str:
        """Write once, with the write lock held. Return the reason of a failure, or ""."""
        session, begun = self.session, bool(self._unsent)
        if self._closed:  # before this thread acquired the lock
            return ""
        self._writing = True  # set first: taken bytes are no longer in the queue
        flow, send_queue = session.flow, session.send_queue
        if send_queue.size > send_queue.high_water:
            flow.write_begins()
        try:
            data = self._unsent or session.take(pushes=True)
            try:
                sent = self._send(data, WRITE_FLAGS) if data else 0
            except OSError:  # no room; or an error, which is raised again with its explanation
                sent = self.connection.write_now(data)
        except Exception as error:  # also MemoryError: what was taken is lost, so close
            self._unsent = b""
            if not begun:
                session.nothing_sent()
            if not isinstance(error, OSError):
                log.exception("connection %06d: writing failed", session.connection_id)
            return str(error) or "internal error"
        if sent == len(data):
            self._unsent = b""
            self.bytes_out += sent
            self._timeouts.has_written()
            if flow.blocked:
                flow.write_ends()
            self._writing = False
            if self._waiting_for_room:
                self._make_room()
        else:
            if sent or not begun:
                self.bytes_out += sent
                self._timeouts.has_written(stalled=True)
            self._unsent = memoryview(data)[sent:]  # last: the leader then applies that time limit
        return ""

    def _make_room(self) -> None:
        for room in tuple(self._waiting_for_room):
            room.set()

    def await_room(self, until: float | None) -> bool:
        """Wait until one more call may be queued.

        Args:
            until: Time by ``time.monotonic()``; None is no limit.

        Returns:
            False if that took too long.
        """
        flow = self.session.flow
        if not flow.must_wait:
            return True
        room = Wakeup()
        self._waiting_for_room.append(room)
        try:
            while flow.must_wait and not self._closed:
                self.flush()  # the thread that queued may have been interrupted
                if not flow.must_wait:
                    break
                if not room.wait(None if until is None else max(0, until - time.monotonic())):
                    return False
        finally:
            self._waiting_for_room.remove(room)
        return True

    # Waiting for replies, for ``Caller``

    def wait(self, reply: ReplyWaiter[Any], until: float | None) -> bool:
        """Wait for the reply to a call. Return False if it has not arrived at ``until``."""
        if reply.outcome is None and self._loop.is_led_here:
            raise callback_error()
        return reply.wait(until)

    def interrupted(self, reply: object) -> None:
        """Handle an exception (KeyboardInterrupt) that ended ``wait``. Nothing to do."""

    def on_timer(self, now: float) -> None:
        """Enforce the time limits. Only the leader calls it; it has handled all earlier events.

        Args:
            now: The time, by ``time.monotonic()``.
        """
        if not self._closed:
            self._timeouts.on_timer(now)

    def write_unsent(self) -> bool:
        """Write bytes that were not accepted before. Return whether some remain."""
        if self._unsent:
            self._flush(unsent=True)
        return bool(self._unsent)

    @property
    def stalled(self) -> bool:
        """True while the connection accepts no more bytes."""
        return bool(self._unsent)

    @property
    def reading(self) -> bool:
        """True while bytes that arrive are read."""
        return bool(self._interest & READ)

    # Events to wait for, and closing

    def _settle(self) -> None:
        """Close, or update the events to wait for, after a change of state. From any thread."""
        if self._close_reason and not self.session.has_output and not self._writing:
            self.close(self._close_reason)
        elif self.at_end and self.idle:
            self.close("the peer closed the connection")
        elif self._wanted() != self._interest:
            self._update_interest()

    def _update_interest(self) -> None:
        with self._interest_lock:
            interest = 0 if self._closed else self._wanted()
            before, self._interest = self._interest, interest
            if interest != before:
                if interest & ~before & READ:
                    self._timeouts.has_resumed()
                self._loop.change(self.fd, before, interest)

    def _wanted(self) -> int:
        interest = 0
        session = self.session
        if not (
            self._eof
            or self._close_reason
            or session.framing.error is not None  # the calls before it still begin
            or not session.may_read
        ):
            interest = READ
        if self._unsent or session.send_queue.has_pushes:
            interest |= WRITE
        return interest

    def _finish(self) -> None:
        """Tell the session about the end of the peer's stream. Its calls still get replies."""
        with self._write_lock:  # a write in progress first determines whether it wrote any byte
            self.at_end = True
            self.session.fail_outgoing()
        self.session.receive_eof()
        self._flush()
        self._timeouts.has_ended()

    def close(self, reason: str) -> None:
        """Close the connection and end all its calls. Idempotent; may be called from any thread."""
        with self._interest_lock:
            if self._closed:
                return
            self._closed = True
            before, self._interest = self._interest, 0
            self._loop.remove(self)
            if before:
                self._loop.change(self.fd, before, 0)
        with self._write_lock:
            self._unsent = b""
            self.session.end_outgoing(reason)
            if not self._reading:
                self._close_connection()
        self.session.close(reason)
        self._make_room()
        self._on_close(self, reason)

    def _close_connection(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.hang_up()

    @property
    def idle(self) -> bool:
        """True when all calls of the peer are answered and written."""
        return self.session.idle and not self._writing

    @property
    def closed(self) -> bool:
        """True once no call can be sent any more."""
        return self._closed or self.at_end
