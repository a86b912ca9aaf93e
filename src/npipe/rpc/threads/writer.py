"""Writer of one connection, with threads: writes the queued messages, with deadlines.

A thread that queues a message writes it itself, together with messages that other threads have
queued. Threads that must not block (a reading thread while a reply is pending, a generator, a
caller with a deadline) leave it to a separate writing thread. Half a message can only be followed
by its other half: the connection is closed if the peer reads no byte of the data being written for
``Limits.write_timeout`` seconds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from npipe.rpc.session.session import Session
from npipe.rpc.threads.waiter import Wakeup
from npipe.transport.base import Connection

__all__ = ["Writer"]

PART = 65536  # bytes of one write; each has its own write timeout
SLACK = 1.1  # factor on ``Limits.write_timeout``, so that not every write sets a deadline
YIELD_SECONDS = 0.0002  # pause in which other threads acquire the write lock


class Writer:
    """Writes a session's bytes to its connection. Its methods may be called from any thread."""

    def __init__(
        self,
        connection: Connection,
        session: Session,
        *,
        name: str,
        on_failure: Callable[[str], object],
    ) -> None:
        """Make a writer.

        Args:
            connection: The connection.
            session: The session whose messages are written.
            name: The name of the writing thread.
            on_failure: Called with the reason when a write has failed.
        """
        self.lock: threading.RLock = (
            threading.RLock()
        )  # held while writing; reentrant, as a failed write closes
        self.writing: bool = False  # taken bytes have not been written yet
        self.bytes_out: int = 0
        # Whether a write can be ended by a deadline and reports how many bytes were written.
        self.can_cut: bool = connection.has_deadlines and connection.counts_partial_writes
        # Without deadlines a write may block for ever, so a caller with a deadline must not write.
        self.keeps_time: bool = connection.has_deadlines
        self._connection = connection
        self._session = session
        self._name = name
        self._on_failure = on_failure
        self.on_room: Callable[[], object] = _nothing  # called by the writing thread after a write
        self._rest: bytes | memoryview = b""  # remaining bytes of a write ended by its deadline
        self._waiting: list[None] = []  # one per thread that waits for the lock
        self._for_room: list[Wakeup] = []  # one per thread in ``await_room``
        self._timeout = session.limits.write_timeout
        self._deadline = 0.0  # the current write deadline of the connection
        self._closed = False
        self._start_lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._wanted = Wakeup()

    def flush(self, *, wait: bool = True, pushes: bool = False, until: float | None = None) -> None:
        """Write all queued messages. Never raises: see ``on_failure``.

        Args:
            wait: Wait for a thread that is writing; False: leave the messages to it.
            pushes: Also write some of the notifications of subscriptions.
            until: Time by time.monotonic(); the writing thread writes the remaining bytes after it
                (not on Windows, where the bytes of an aborted write are lost).
        """
        session, lock = self._session, self.lock
        messages = session.send_queue.messages  # the list object never changes
        while messages or self._rest or (pushes and session.has_pushes):
            if wait:
                self._waiting.append(None)
                try:
                    with lock:
                        self._write_output(pushes, until)
                finally:
                    self._waiting.pop()
            elif lock.acquire(False):
                try:
                    self._write_output(pushes, until)
                finally:
                    lock.release()
            else:
                return  # the thread that holds the lock checks the queue again
            if until is not None and self._rest:
                self.flush_in_writer()
                return
            pushes = wait = False

    def flush_replies(self) -> None:
        """Write the queued messages, or leave them to a writing thread if they are few."""
        send_queue = self._session.send_queue
        if send_queue.messages:
            self.flush(wait=self._session.flow.must_wait)

    def catch_up(self, until: float | None) -> bool:
        """Wait until the queued bytes are written. Return False at ``until``."""
        left = -1 if until is None else max(0, until - time.monotonic())
        self._waiting.append(None)
        try:
            if self.lock.acquire(timeout=left):
                self.lock.release()
        finally:
            self._waiting.pop()
        self.flush(wait=False, until=until)  # messages may have been queued before the release
        return not self._session.flow.must_wait

    def flush_in_writer(self) -> bool:
        """Have the writing thread write everything, notifications of subscriptions included.

        Returns False if no thread could be started.
        """
        if self._thread is None and not self._start():
            return False
        self._wanted.set()
        return True

    def await_room(self, until: float | None) -> bool:
        """Wait until the queue is below the high-water mark. Return False at ``until``."""
        session, room = self._session, Wakeup()
        self._for_room.append(room)
        try:
            while session.flow.must_wait and not self._closed:
                if not self.flush_in_writer():  # the thread that queued may have been interrupted
                    self.flush(until=until)
                left = None if until is None else max(0, until - time.monotonic())
                if not room.wait(left):
                    return False
        finally:
            self._for_room.remove(room)
        return True

    def close(self) -> None:
        """Wake all waiting threads after the connection was closed."""
        self._closed = True
        self._wanted.set()
        self._make_room()

    def _write_output(self, pushes: bool, until: float | None) -> None:
        session = self._session
        # Set before taking, or the queue would look empty and idle meanwhile. The calls of a
        # proxy are written to another connection and do not wait for this write.
        self.writing = True
        session.flow.write_begins()
        try:
            data = self._rest or session.take(pushes=pushes)
            if data:
                self._rest = self._write(data, until)
        except OSError as error:
            self._rest = b""
            slow = isinstance(error, TimeoutError)
            self._on_failure("the peer reads too slowly" if slow else str(error))
        except BaseException:  # KeyboardInterrupt: half a message may be written, so close
            self._rest = b""
            self.writing = False
            session.flow.write_ends()
            self._on_failure("interrupted while writing")
            raise
        if not self._rest:
            session.flow.write_ends()
            self.writing = False
            if self._for_room:
                self._make_room()

    def _write(self, data: bytes | memoryview, until: float | None) -> bytes | memoryview:
        """Write; return the bytes that were not written at ``until``."""
        if not self._connection.counts_partial_writes:
            until = None
        begun = bool(self._rest)
        while True:
            self._set_deadline(until)
            part = data if len(data) <= PART else memoryview(data)[:PART]
            try:
                sent = self._connection.write(part)
            except OSError as error:
                sent = getattr(error, "characters_written", -1)  # -1: unknown
                late = isinstance(error, TimeoutError) and sent >= 0
                if not late or not (sent or _is_over(until)):
                    if sent == 0 and not begun:
                        self._note_unsent()
                    raise
            self.bytes_out += sent
            if sent == len(data):
                return b""
            begun = begun or sent > 0
            data = memoryview(data)[sent:]
            if _is_over(until):
                return data

    def _set_deadline(self, until: float | None) -> None:
        timeout = self._timeout
        if timeout is not None:
            now = time.monotonic()
            if until is None and self._deadline >= now + timeout:
                return  # the current deadline is late enough
            end = now + timeout * SLACK
            until = end if until is None else min(end, until)
        elif not self._connection.counts_partial_writes:
            return
        self._connection.set_write_deadline(until)
        self._deadline = until or 0.0

    def _note_unsent(self) -> None:
        """Record that no byte was written: the calls may be sent again."""
        self._session.nothing_sent()

    def _make_room(self) -> None:
        for room in tuple(self._for_room):
            room.set()

    # The writing thread

    def _start(self) -> bool:
        with self._start_lock:
            if self._thread is None and not self._closed:
                thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                try:
                    thread.start()
                except RuntimeError:
                    return False
                self._thread = thread
        return True

    def _run(self) -> None:
        session = self._session
        while not self._closed:
            self._wanted.wait()
            while True:
                self.flush(pushes=True)
                self.on_room()  # in each round: subscriptions may push without end
                while self._waiting and not (self.writing or self._closed):  # locks are not fair
                    time.sleep(YIELD_SECONDS)
                if not (session.has_output or session.has_pushes or self._rest):
                    break


def _nothing() -> None:
    pass


def _is_over(until: float | None) -> bool:
    return until is not None and time.monotonic() >= until
