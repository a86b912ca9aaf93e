"""Writing what a session has queued, with threads: who writes, for how long, who waits.

Whoever has something to be written writes it, in its own thread, and with it what others have
queued meanwhile. Who must not wait (who reads while an answer is owed, a generator, a caller whose
time is limited) leaves it to a thread that does nothing else. Half a message is followed by its
other half or by nothing: the connection is closed when the other end takes not one byte of what is
written for ``Limits.write_timeout`` seconds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from npipe.rpc.session.session import Session
from npipe.transport.base import Connection

__all__ = ["Writer"]

PART = 65536  # bytes; as each leaves, the time for the next begins
SLACK = 1.1  # times ``Limits.write_timeout``, for as long is no new deadline set
YIELD_SECONDS = 0.0002  # for others to get the write lock


class Writer:
    """Moves bytes from a session to its connection. Its methods may be called from any thread."""

    def __init__(
        self,
        connection: Connection,
        session: Session,
        *,
        name: str,
        on_failure: Callable[[str], object],
    ) -> None:
        """``on_failure(reason)`` is called when it cannot be written to. ``name`` is that of the
        thread of ``flush_soon``."""
        self.lock = threading.RLock()  # held while writing; a write that fails closes
        self.writing = False  # what was taken has not left yet
        self.bytes_out = 0
        # Whether a deadline cuts a write short and its error says how much was sent.
        self.can_cut = connection.has_deadlines and connection.counts_partial_writes
        # Without it a write may take any time, so a thread with little time must not write.
        self.keeps_time = connection.has_deadlines
        self._connection = connection
        self._session = session
        self._name = name
        self._on_failure = on_failure
        self.on_room: Callable[[], object] = _nothing  # called when that has written some
        self._rest: bytes | memoryview = b""  # of a write whose caller had no more time
        self._waiting: list[None] = []  # one for each thread that waits for the lock
        self._for_room: list[threading.Event] = []  # one for each that waits for room
        self._timeout = session.limits.write_timeout
        self._deadline = 0.0  # the connection's
        self._closed = False
        self._start_lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._wanted = threading.Event()

    def flush(self, *, wait: bool = True, pushes: bool = False, until: float | None = None) -> None:
        """Write all that is queued. Never raises: see ``on_failure``.

        Without ``wait`` it is left to another thread that is writing. ``pushes``: also some of
        what subscriptions have queued. ``until``: what has not left by then another thread writes
        (not on Windows, where a write that is cut is lost)."""
        session, lock = self._session, self.lock
        messages = session.send_queue.messages  # it is always this list
        while messages or self._rest or (pushes and session.has_pushes):
            if wait:
                self._waiting.append(None)
                try:
                    with lock:
                        self._write_output(pushes, until)
                finally:
                    self._waiting.pop()
            elif lock.acquire(blocking=False):
                try:
                    self._write_output(pushes, until)
                finally:
                    lock.release()
            else:
                return  # who has the lock looks again after it
            if until is not None and self._rest:
                self.flush_soon()
                return
            pushes = wait = False

    def flush_replies(self) -> None:
        """Write what is queued, or leave it to who writes now unless that is much already."""
        send_queue = self._session.send_queue
        if send_queue.messages:
            self.flush(wait=self._session.flow.must_wait)

    def catch_up(self, until: float | None) -> bool:
        """Wait until what is queued has left. False: that took longer than ``until``."""
        left = -1 if until is None else max(0, until - time.monotonic())
        self._waiting.append(None)
        try:
            if self.lock.acquire(timeout=left):
                self.lock.release()
        finally:
            self._waiting.pop()
        self.flush(wait=False, until=until)  # it looks once more after it has let go of the lock
        return not self._session.flow.must_wait

    def flush_soon(self) -> bool:
        """Have everything written, what subscriptions have queued too, by a thread that does
        nothing else. False: no thread was to be had."""
        if self._thread is None and not self._start():
            return False
        self._wanted.set()
        return True

    def await_room(self, until: float | None) -> bool:
        """Wait until not much is queued. False: that took longer than ``until``."""
        session, room = self._session, threading.Event()
        self._for_room.append(room)
        try:
            while session.flow.must_wait and not self._closed:
                if not self.flush_soon():  # who queued it may have been interrupted before
                    self.flush(until=until)
                left = None if until is None else max(0, until - time.monotonic())
                if not room.wait(left):
                    return False
                room.clear()
        finally:
            self._for_room.remove(room)
        return True

    def close(self) -> None:
        """Let everybody go who waits. The connection has been closed."""
        self._closed = True
        self._wanted.set()
        self._make_room()

    def _write_output(self, pushes: bool, until: float | None) -> None:
        session = self._session
        # First, or it would seem that there is room, and nothing to be written. What a proxy is
        # asked goes out elsewhere: that does not wait for this.
        self.writing = True
        session.flow.write_begins()
        try:
            data = self._rest or session.take(pushes=pushes)
            if data:
                self._rest = self._write(data, until)
        except OSError as error:
            self._rest = b""
            slow = isinstance(error, TimeoutError)
            self._on_failure("the other end reads too slowly" if slow else str(error))
        except BaseException:  # KeyboardInterrupt: this may be half a message, so nothing follows
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
        """Write; return what has not left when the caller's time was up."""
        if not self._connection.counts_partial_writes:
            until = None
        begun = bool(self._rest)
        while True:
            self._set_deadline(until)
            part = data if len(data) <= PART else memoryview(data)[:PART]
            try:
                sent = self._connection.write(part)
            except OSError as error:
                sent = getattr(error, "characters_written", -1)  # or it cannot be known
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
                return  # not at each write
            end = now + timeout * SLACK
            until = end if until is None else min(end, until)
        elif not self._connection.counts_partial_writes:
            return
        self._connection.set_write_deadline(until)
        self._deadline = until or 0.0

    def _note_unsent(self) -> None:
        """Not one byte has left: who called may call again."""
        self._session.nothing_sent()

    def _make_room(self) -> None:
        for room in tuple(self._for_room):
            room.set()

    # The thread of its own

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
            self._wanted.clear()
            while True:
                self.flush(pushes=True)
                self.on_room()  # now: there may be pushes without an end
                while self._waiting and not (self.writing or self._closed):  # a lock is not fair
                    time.sleep(YIELD_SECONDS)
                if not (session.has_output or session.has_pushes or self._rest):
                    break


def _nothing() -> None:
    pass


def _is_over(until: float | None) -> bool:
    return until is not None and time.monotonic() >= until
