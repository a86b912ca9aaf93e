"""Overlapped I/O on a Windows pipe: one operation after the other.

This module does not interpret the bytes. Its rules (Microsoft pages "Synchronous and Asynchronous
I/O", "CancelIoEx", "GetOverlappedResult"):

* The kernel writes into the OVERLAPPED and into the buffer until the operation has ended. An
  ``Operation`` therefore keeps both until the status shows the end, also after an interrupt.
* Only the thread that began an operation cancels it, and it uses the result that the kernel
  reports afterwards: an operation that ended before the cancellation has transferred its bytes.
* The kernel writes the status first and sets the event later. A set event therefore does not show
  that the operation has ended; only a status other than STATUS_PENDING does.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, Final

from npipe.transport.windows.kernel32 import Kernel32
from npipe.transport.windows.kernel32.constants import INFINITE, STATUS_PENDING, WAIT_TIMEOUT
from npipe.transport.windows.kernel32.memory import overlapped
from npipe.transport.windows.winerror import (
    ERROR_IO_PENDING,
    ERROR_MORE_DATA,
    ERROR_NOT_FOUND,
    error,
)

__all__ = ["LONGEST_WAIT", "REFUSED", "Operation", "State", "milliseconds", "new_event"]

REFUSED: Final = -1  # not a Windows code: the operation was not begun
_UNTOUCHED: Final = 0xE0000001  # no NTSTATUS of Windows: bit 29 marks those of applications
LONGEST_WAIT: Final = 0x7FFFFFFF  # ms; a longer wait is repeated. 0xFFFFFFFF would mean INFINITE
# Python handles Ctrl-C in the main thread between two bytecodes, so not during a wait in the
# kernel. The main thread therefore waits at most this long at a time, in ms.
_INTERRUPT_CHECK: Final = 200
_MAIN_THREAD: Final = threading.main_thread().ident
# ms to wait for the end of an operation for which CancelIoEx reports ERROR_NOT_FOUND.
_PATIENCE: Final = 1000


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
    left = min(max(due - time.monotonic(), 0.0) * 1000.0, LONGEST_WAIT)
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
        self.event: int = event
        # With the low bit of the event set the operation queues no packet to a completion port that
        # the handle may be bound to (Microsoft page "GetQueuedCompletionStatus").
        self._overlapped, self._reference = overlapped(event | 1)
        self._arguments: tuple[Any, ...] = ()  # keeps the buffer alive
        self.state: State = State.IDLE
        self.result: tuple[int, int] = (
            REFUSED,
            0,
        )  # (Windows code, bytes transferred) of the last operation

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
