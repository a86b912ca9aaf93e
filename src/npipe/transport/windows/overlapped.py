"""Overlapped I/O on a Windows pipe: an operation, a direction of a connection, a call in a thread.

This module does not interpret the bytes. Its rules (Microsoft pages "Synchronous and Asynchronous
I/O", "CancelIoEx", "GetOverlappedResult"):

* The kernel writes into the OVERLAPPED and into the buffer until the operation has ended. An
  ``Operation`` therefore keeps both until the status shows the end, also after an interrupt.
* Only the thread that began an operation cancels it, and it uses the result that the kernel
  reports afterwards: an operation that ended before the cancellation has transferred its bytes.
* The kernel writes the status first and sets the event later. A set event therefore does not show
  that the operation has ended; only a status other than STATUS_PENDING does.
* A thread that changes the deadline, or closes, sets the event of the operation. The waiting
  thread wakes, finds that the operation has not ended, and checks the deadline and the closed
  flag. Since one event serves both purposes, a blocking call costs two kernel calls: begin, wait.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, Final

from npipe.errors import ClosedError
from npipe.transport.checks import deadline
from npipe.transport.windows.kernel32 import (
    INFINITE,
    STATUS_PENDING,
    WAIT_TIMEOUT,
    Kernel32,
    overlapped,
)
from npipe.transport.windows.winerror import (
    ERROR_IO_PENDING,
    ERROR_MORE_DATA,
    ERROR_NOT_FOUND,
    ERROR_OPERATION_ABORTED,
    error,
)

__all__ = ["REFUSED", "Direction", "Operation", "ThreadCall", "milliseconds", "new_event"]

REFUSED: Final = -1  # not a Windows code: the operation was not begun
_UNTOUCHED: Final = 0xE0000001  # no NTSTATUS of Windows: bit 29 marks those of applications
_LONGEST_WAIT: Final = 0x7FFFFFFF  # ms; a longer wait is repeated. 0xFFFFFFFF would mean INFINITE
# Python handles Ctrl-C in the main thread between two bytecodes, so not during a wait in the
# kernel. The main thread therefore waits at most this long at a time, in ms.
_INTERRUPT_CHECK: Final = 200
_MAIN_THREAD: Final = threading.main_thread().ident
# ms to wait for the end of an operation for which CancelIoEx reports ERROR_NOT_FOUND.
_PATIENCE: Final = 1000
_CANCEL_PATIENCE: Final = 1.0  # seconds to wait for a thread whose blocking call was cancelled


def new_event(api: Kernel32) -> int:
    """Return the handle of a new manual-reset event.

    Raises:
        OSError: The system cannot create an event.
    """
    code, event = api.CreateEvent()
    if code:
        raise error(code)
    return event


def milliseconds(due: float | None) -> int:
    """Return the length of the next wait for a deadline.

    Args:
        due: A value of ``time.monotonic()`` in seconds; None for no deadline.

    Returns:
        Milliseconds. The caller repeats the wait if ``due`` has not passed afterwards.
    """
    longest = INFINITE
    if threading.get_ident() == _MAIN_THREAD:
        longest = _INTERRUPT_CHECK
    if due is None:
        return longest
    # Rounded up, because a wait that ends before the deadline would have to be repeated.
    left = min(max(due - time.monotonic(), 0.0) * 1000.0, _LONGEST_WAIT)
    return min(int(left) + 1, longest)


class State(Enum):
    """State of an operation."""

    IDLE = auto()  # no operation: the kernel does not use the memory
    BEGUN = auto()  # the call is about to be made, or has returned and its code is not stored yet
    PENDING = auto()  # the operation has not ended


class Operation:
    """Overlapped calls on one handle, one at a time, with the OVERLAPPED, its event and the result.

    ``begin`` changes the state from IDLE to BEGUN and then to PENDING, or back to IDLE if the call
    ended at once; ``end`` and ``cancel`` change it to IDLE. An exception (Ctrl-C) may be raised
    between any two lines; it leaves a state from which ``cancel`` can finish. ``result`` is stored
    before the state becomes IDLE, so no interrupt loses it.
    """

    __slots__ = (
        "_api",
        "_arguments",
        "_handle",
        "_overlapped",
        "_reference",
        "event",
        "result",
        "state",
    )

    def __init__(self, api: Kernel32, handle: int, event: int) -> None:
        """Prepare operations on ``handle`` and ``event``, which the caller still owns."""
        self._api = api
        self._handle = handle
        self.event = event
        self._overlapped, self._reference = overlapped(event)
        self._arguments: tuple[Any, ...] = ()  # keeps the buffer alive
        self.state = State.IDLE
        self.result = (REFUSED, 0)  # (Windows code, bytes transferred) of the last operation

    def ended(self) -> bool:
        """Tell whether the kernel has written the status."""
        return bool(self._overlapped.Internal != STATUS_PENDING)

    def begin(self, call: Callable[..., int], *arguments: Any) -> int:
        """Make the call and return its code; set ``result`` if the call ended at once."""
        if self.state is not State.IDLE:
            self.cancel()  # an operation that an interrupt left unfinished
        self.result = (REFUSED, 0)
        self._arguments = arguments
        self._overlapped.Internal = _UNTOUCHED
        self.state = State.BEGUN
        code = call(self._handle, *arguments, self._reference)
        if code == ERROR_IO_PENDING:
            self.state = State.PENDING
        elif code in (0, ERROR_MORE_DATA):
            self.end()
        else:
            # The OVERLAPPED of a call that failed at once must not be read: its status may stay
            # STATUS_PENDING.
            self.result = (code, 0)
            self.state = State.IDLE
        return code

    def end(self) -> tuple[int, int]:
        """Store and return the result of an operation that has ended."""
        if self._overlapped.Internal == 0:  # STATUS_SUCCESS; saves a call
            self.result = (0, self._overlapped.InternalHigh)
        elif self._overlapped.Internal != _UNTOUCHED:  # else the call was not made
            self.result = self._api.GetOverlappedResult(self._handle, self._reference, False)
        self._arguments = ()
        self.state = State.IDLE
        return self.result

    def cancel(self) -> tuple[int, int]:
        """Cancel the operation, wait for its end and return its result."""
        if self.state is State.IDLE:
            return self.result
        api, event = self._api, self.event
        if not self.ended():
            code = api.CancelIoEx(self._handle, self._reference)
            # ERROR_NOT_FOUND: the operation is ending, and its event is about to be set. Or Ctrl-C
            # came after a call that failed at once, before its code was stored: then the event
            # is never set.
            patience = _PATIENCE if code == ERROR_NOT_FOUND else INFINITE
            while not self.ended() and api.WaitForSingleObject(event, patience) != WAIT_TIMEOUT:
                if self.ended():
                    break
                api.ResetEvent(event)  # set by another thread as a wake-up, no longer needed
        return self.end()


class Direction:
    """The reads, or the writes, of one handle. It owns its event, but not the handle.

    Invariant: ``begun`` is true only while the thread that holds ``turn`` is in ``transfer`` or
    ``run_aside``; ``_deadline`` and ``_closed`` change under ``_guard``, which is not held during a
    call that blocks.
    """

    __slots__ = ("_api", "_closed", "_deadline", "_guard", "_operation", "begun", "turn")

    def __init__(self, api: Kernel32, handle: int, event: int) -> None:
        self._api = api
        self._operation = Operation(api, handle, event)
        # Both are re-entrant because a signal handler may close the connection at any point in
        # this thread.
        self.turn = threading.RLock()  # held by the thread that runs the operation
        self._guard = threading.RLock()
        self._deadline: float | None = None
        self._closed = False
        self.begun = False  # an operation is about to begin or has not been found to end

    # -- for any thread

    def set_deadline(self, when: float | None) -> None:
        """Set the deadline, also for the operation in flight.

        Raises:
            ClosedError: The direction was closed.
            ValueError: ``when`` cannot be a deadline.
        """
        with self._guard:
            if self._closed:
                raise ClosedError
            self._deadline = deadline(when)
            self._wake()

    def close(self) -> None:
        """Refuse later operations and end the one in flight, without waiting for its end."""
        with self._guard:
            self._closed = True
            self._wake()

    def release(self) -> None:
        """Close the event. Call this only after ``close``, with ``turn`` held."""
        self._operation.cancel()  # an operation that several interrupts left unfinished
        self._api.CloseHandle(self._operation.event)

    def refusal(self, due: float | None = None) -> OSError | None:
        """Return the error that prevents an operation now.

        Args:
            due: An additional deadline, a value of ``time.monotonic()`` in seconds; None for none.

        Returns:
            ClosedError or TimeoutError; None if an operation may run.
        """
        if self._closed:
            return ClosedError()
        now = time.monotonic()
        for limit in (self._deadline, due):
            if limit is not None and now >= limit:
                return TimeoutError(errno.ETIMEDOUT, "the deadline has passed")
        return None

    def _wake(self) -> None:
        if self.begun:
            self._api.SetEvent(self._operation.event)

    # -- for the thread that holds `turn`

    @property
    def result(self) -> tuple[int, int]:
        """(code, bytes transferred) of the last transfer, also after an interrupted one."""
        return self._operation.result

    def forget(self) -> None:
        """Set ``result`` to (REFUSED, 0). Call this before ``transfer``.

        If an exception is raised before the first line of ``transfer``, its caller would otherwise
        read the result of an earlier transfer.
        """
        self._operation.result = (REFUSED, 0)

    def transfer(
        self, call: Callable[..., int], buffer: Any, size: int, due: float | None = None
    ) -> tuple[int, int]:
        """Run ReadFile or WriteFile until it ends, is refused or is cancelled.

        Args:
            call: The bound method of ``Kernel32``.
            buffer: The buffer argument of the call; kept until the operation has ended.
            size: Length of the buffer in bytes.
            due: An additional deadline, a value of ``time.monotonic()`` in seconds; None for none.

        Returns:
            (code, bytes transferred). REFUSED means that the operation was not begun, because of
            the error that ``refusal`` returns. ERROR_OPERATION_ABORTED means that it was begun and
            cancelled because of such an error. After an exception (Ctrl-C) ``result`` holds the
            result.
        """
        if self.begun:
            raise RuntimeError("a signal handler cannot use a connection that it interrupted")
        operation = self._operation
        try:
            with self._guard:
                self.begun = True
                checked = self._closed or due is not None or self._deadline is not None
                if checked and self.refusal(due):
                    return REFUSED, 0
                code = operation.begin(call, buffer, size)
            if code == ERROR_IO_PENDING:
                self._await(operation.ended, due)
                return operation.end() if operation.ended() else operation.cancel()
            return operation.result
        except BaseException:
            while operation.state is not State.IDLE:
                # After a second Ctrl-C the kernel must not keep writing to memory that is reused.
                try:  # noqa: SIM105  (to call suppress would be a place for an exception)
                    operation.cancel()
                except BaseException:
                    pass
            raise
        finally:
            # Under _guard, because another thread that found the operation begun may be about to
            # set the event. No Python function is called here: an exception at its entry would
            # leave `begun` set.
            with self._guard:
                self.begun = False

    def run_aside(self, call: Callable[[], int], name: str) -> int:
        """Run a blocking call that has no overlapped form in a thread; return its code.

        Deadline and close cancel it like an operation, with the same results. A call that cannot
        be cancelled continues in its thread until the handle is closed.

        Args:
            call: The call; returns a Windows error code.
            name: Name of the thread.

        Returns:
            The code; REFUSED or ERROR_OPERATION_ABORTED as for ``transfer``.
        """
        if self.begun:
            raise RuntimeError("a signal handler cannot use a connection that it interrupted")
        api, event = self._api, self._operation.event

        def done() -> None:
            with self._guard:
                if self.begun:
                    api.SetEvent(event)

        aside = ThreadCall(lambda: (call(), 0), name, api, done)
        try:
            with self._guard:
                self.begun = True
                if self.refusal():
                    return REFUSED
                api.ResetEvent(event)
            aside.start()
            self._await(aside.ended, None)
            return aside.finish()[0]
        except BaseException:
            aside.finish()
            raise
        finally:
            with self._guard:
                self.begun = False

    def _await(self, ended: Callable[[], bool], due: float | None) -> None:
        """Wait until the operation has ended, the deadline has passed or ``close`` was called."""
        api, event = self._api, self._operation.event
        while True:
            limit = self._deadline
            if due is not None:
                limit = due if limit is None else min(limit, due)
            api.WaitForSingleObject(event, milliseconds(limit))
            if ended():
                return
            with self._guard:
                # Reset before the check: an operation that ends in between sets the event again.
                api.ResetEvent(event)
                if ended() or self.refusal(due):
                    return


class ThreadCall:
    """A blocking call in a separate thread that can be cancelled or abandoned.

    It serves calls that have no overlapped form: FlushFileBuffers, and CreateFile on a pipe of
    another computer. CancelSynchronousIo usually ends them, but name resolution, for example,
    continues for a while (Microsoft page "CancelSynchronousIo"). A thread that continues is
    abandoned; ``unwanted`` closes the handle that it still gets.
    """

    def __init__(
        self,
        call: Callable[[], tuple[int, int]],
        name: str,
        api: Kernel32,
        done: Callable[[], object] = lambda: None,
        unwanted: Callable[[tuple[int, int]], object] = lambda result: None,
    ) -> None:
        """Prepare the call.

        Args:
            call: Returns (Windows error code, handle or 0).
            name: Name of the thread.
            api: The bindings.
            done: Called in the thread when the call has ended.
            unwanted: Called in the thread with a result that arrives after ``finish``.
        """
        self._call = call
        self._api = api
        self._done = done
        self._unwanted = unwanted
        self._lock = threading.Lock()
        self._result: tuple[int, int] | None = None
        self._given_up = False
        self.failure: BaseException | None = None  # the exception of the call
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def ended(self) -> bool:
        return self._result is not None

    def start(self) -> None:
        self._thread.start()

    def wait(self, due: float | None, cancel: threading.Event | None = None) -> None:
        """Wait until the call has ended, the deadline has passed or ``cancel`` is set.

        Ctrl-C ends the wait within 0.2 seconds, and ``cancel`` within 0.05.

        Args:
            due: A value of ``time.monotonic()`` in seconds; None for no deadline.
            cancel: An event that ends the wait.
        """
        longest = _LONGEST_WAIT if cancel is None else 50
        while not self.ended() and (due is None or time.monotonic() < due):
            if cancel is not None and cancel.is_set():
                return
            self._thread.join(min(milliseconds(due), longest) / 1000)

    def finish(self, patience: float = _CANCEL_PATIENCE) -> tuple[int, int]:
        """Return the result; cancel a call that has not ended.

        Args:
            patience: Seconds to wait for the end of a cancelled call.

        Returns:
            The result of the call; (ERROR_OPERATION_ABORTED, 0) if it was abandoned.
        """
        until = time.monotonic() + patience
        while self._thread.is_alive() and not self.ended():
            self._api.CancelSynchronousIo(self._thread.native_id or 0)
            self._thread.join(0.01)  # a cancellation before the thread is in its call is lost
            if time.monotonic() >= until:
                break
        with self._lock:
            if self._result is None:
                self._given_up = True
                return ERROR_OPERATION_ABORTED, 0
            return self._result

    def _run(self) -> None:
        result = (ERROR_OPERATION_ABORTED, 0)
        try:
            result = self._call()
        except Exception as failure:
            self.failure = failure
        finally:
            with self._lock:
                self._result = result
                if self._given_up:
                    self._unwanted(result)
            self._done()
