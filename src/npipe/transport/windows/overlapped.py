"""One direction of a Windows pipe: one operation at a time, one event, one OVERLAPPED.

Every way to go wrong with overlapped I/O is shut here, and nothing here knows what the bytes mean.
The rules:

* The kernel writes into the OVERLAPPED and into the buffer until the operation has ended. So the
  thread that began an operation does not leave before its end was seen, whatever interrupts it.
* Only that thread cancels the operation, and what counts is what the kernel says afterwards: an
  operation that ended before the cancel reached it has moved its bytes.
* Other threads change the deadline, or close, and then set the operation's own event. Its thread
  wakes, sees that the operation has not ended, and looks why it was woken. One event serves for
  both, so a blocking call costs two kernel calls: begin it, wait for it.
"""

from __future__ import annotations

import contextlib
import errno
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from npipe.errors import ClosedError
from npipe.transport.base import deadline
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

__all__ = ["REFUSED", "Direction", "cut_thread", "milliseconds", "new_event"]

REFUSED: Final = -1  # not a Windows code: the operation was never begun
_UNTOUCHED: Final = 0xE0000001  # no NTSTATUS of Windows: bit 29 marks those of applications
_LONGEST_WAIT: Final = 0x7FFFFFFF  # ms; above it a wait is repeated. 0xFFFFFFFF would be "for ever"
# A thread that waits in the kernel does not see Ctrl-C, which Python delivers to the main thread
# between two bytecodes. So the main thread comes back this often, in ms, to look.
_INTERRUPT_CHECK: Final = 200
_MAIN_THREAD: Final = threading.main_thread().ident


def new_event(api: Kernel32) -> int:
    """Return the handle of a new manual-reset event."""
    code, event = api.CreateEvent()
    if code:
        raise error(code)
    return event


def milliseconds(due: float | None) -> int:
    """Return how long to wait in one go for a deadline."""
    longest = INFINITE
    if threading.get_ident() == _MAIN_THREAD:
        longest = _INTERRUPT_CHECK
    if due is None:
        return longest
    # Rounded up: a wait that ends early would only be followed by another.
    left = min(max(due - time.monotonic(), 0.0) * 1000.0, _LONGEST_WAIT)
    return min(int(left) + 1, longest)


def cut_thread(thread: threading.Thread, api: Kernel32) -> None:
    """End the blocking call that a thread is in, and the thread with it."""
    while thread.is_alive():
        api.CancelSynchronousIo(thread.native_id or 0)
        thread.join(0.01)  # a cancel that comes before the thread is in its call is lost


class Direction:
    """Reads, or writes, of one handle. The lane owns its event; the handle is its owner's."""

    __slots__ = (
        "_api",
        "_closed",
        "_deadline",
        "_event",
        "_guard",
        "_handle",
        "_overlapped",
        "_reference",
        "begun",
        "interrupted",
        "turn",
    )

    def __init__(self, api: Kernel32, handle: int, event: int) -> None:
        self._api = api
        self._handle = handle
        self._event = event
        self._overlapped, self._reference = overlapped(event)
        # Both are re-entrant for the sake of a signal handler, which may close the connection in
        # the middle of any of this, in this thread.
        self.turn = threading.RLock()  # held by the thread whose operation this is
        self._guard = threading.RLock()  # for the fields below; held across no call that blocks
        self._deadline: float | None = None
        self._closed = False
        self.begun = False  # an operation is about to begin, under way, or not yet seen to end
        self.interrupted = (REFUSED, 0)

    # -- for any thread

    def set_deadline(self, when: float | None) -> None:
        """Set the deadline and have the operation in flight go by it. Raises ClosedError."""
        with self._guard:
            if self._closed:
                raise ClosedError
            self._deadline = deadline(when)
            self._wake()

    def close(self) -> None:
        """Refuse operations from now on and cut the one in flight; do not wait for it."""
        with self._guard:
            self._closed = True
            self._wake()

    def release(self) -> None:
        """Give the event back. Only after ``close``, and with the turn held."""
        self._api.CloseHandle(self._event)

    def refusal(self) -> OSError | None:
        """Return the reason why an operation may not run now, if there is one."""
        if self._closed:
            return ClosedError()
        due = self._deadline
        if due is not None and time.monotonic() >= due:
            return TimeoutError(errno.ETIMEDOUT, "the deadline has passed")
        return None

    def _wake(self) -> None:
        if self.begun:
            self._api.SetEvent(self._event)

    # -- for the thread that holds the turn

    def transfer(
        self, function: Callable[[int, Any, int, Any], int], buffer: Any, size: int
    ) -> tuple[int, int]:
        """Run ReadFile or WriteFile to its end; return (code, bytes moved).

        REFUSED: it was not begun, for the reason that ``refusal`` gives. ERROR_OPERATION_ABORTED:
        it was begun and cut, for such a reason. What another exception (Ctrl-C) cut leaves its
        result in ``interrupted``, which the caller has set to ``(REFUSED, 0)``: the exception may
        come before the first line here.
        """
        if self.begun:
            raise RuntimeError("a signal handler cannot use a connection that it interrupted")
        issued = False
        try:
            with self._guard:
                self.begun = True
                if self._closed or (self._deadline is not None and self.refusal()):
                    return REFUSED, 0
                issued = True
                self._overlapped.Internal = _UNTOUCHED
                code = function(self._handle, buffer, size, self._reference)
            if code == ERROR_IO_PENDING:
                return self._finish()
            # The OVERLAPPED of a call that failed at once is not to be looked at.
            return self._result() if code in (0, ERROR_MORE_DATA) else (code, 0)
        except BaseException:
            while issued:
                # A second Ctrl-C must not leave the kernel with memory that is ours.
                with contextlib.suppress(BaseException):
                    self.interrupted = self._cancel()
                    issued = False
            raise
        finally:
            # Not while somebody who saw the operation is about to set the event. No function of
            # Python's is called here: an exception could come in at its entry, and leave it begun.
            with self._guard:
                self.begun = False

    def run_aside(self, call: Callable[[], int], name: str) -> int:
        """Run a call that blocks, and that has no overlapped form, in a thread; return its code.

        It is cut like an operation, with the same results.
        """
        result = ERROR_OPERATION_ABORTED
        api, event, state = self._api, self._event, self._overlapped

        def aside() -> None:
            nonlocal result
            try:
                result = call()
            finally:
                state.Internal = 0
                api.SetEvent(event)

        thread = threading.Thread(target=aside, name=name, daemon=True)
        try:
            with self._guard:
                self.begun = True
                if self.refusal():
                    return REFUSED
                api.ResetEvent(event)
                state.Internal = STATUS_PENDING
            thread.start()
            self._wait()
        finally:
            try:
                if state.Internal == STATUS_PENDING:
                    cut_thread(thread, api)
                if thread.ident is not None:
                    thread.join()  # it uses the event
            finally:
                with self._guard:
                    self.begun = False
        return result

    def _finish(self) -> tuple[int, int]:
        return self._result() if self._wait() else self._cancel()

    def _wait(self) -> bool:
        """Wait for the end of the operation. False: there is a reason not to wait for it."""
        api, event, state = self._api, self._event, self._overlapped
        while True:
            api.WaitForSingleObject(event, milliseconds(self._deadline))
            if state.Internal != STATUS_PENDING:
                return True
            with self._guard:
                # First reset, then look: an end that comes in between sets the event again.
                api.ResetEvent(event)
                if state.Internal != STATUS_PENDING:
                    return True
                if self.refusal():
                    return False

    def _cancel(self) -> tuple[int, int]:
        """Cancel the operation, see its end, return what became of it."""
        api, event, state = self._api, self._event, self._overlapped
        if state.Internal == STATUS_PENDING:
            code = api.CancelIoEx(self._handle, self._reference)
            # Nothing to cancel: it is ending, and its event is about to be set. Or Ctrl-C came
            # after a call that failed at once, before its code was seen: then it never will be.
            patience = 1000 if code == ERROR_NOT_FOUND else INFINITE
            while api.WaitForSingleObject(event, patience) != WAIT_TIMEOUT:
                if state.Internal != STATUS_PENDING:
                    break
                api.ResetEvent(event)  # somebody woke us, for a reason that no longer matters
                if state.Internal != STATUS_PENDING:
                    break
        return self._result()

    def _result(self) -> tuple[int, int]:
        state = self._overlapped
        if state.Internal == 0:  # STATUS_SUCCESS; spares a call
            return 0, state.InternalHigh
        if state.Internal == _UNTOUCHED:  # an exception came before the call
            return REFUSED, 0
        return self._api.GetOverlappedResult(self._handle, self._reference, False)
