"""Overlapped I/O on a Windows pipe: one operation, one direction of a connection, a call aside.

Nothing here knows what the bytes mean. The rules (Microsoft pages "Synchronous and Asynchronous
I/O", "CancelIoEx", "GetOverlappedResult"):

* The kernel writes into the OVERLAPPED and into the buffer until the operation has ended. So an
  ``Operation`` keeps both until it has seen the end, also after an interrupt.
* Only the thread that began an operation cancels it, and the result that the kernel reports
  afterwards counts: an operation that ended before the cancel reached it has moved its bytes.
* The kernel writes the status first and sets the event later. So a set event proves nothing, and
  a status that is not "pending" proves everything.
* Other threads change the deadline, or close, and then set the operation's own event. The waiting
  thread wakes, sees that the operation has not ended, and looks for the reason. One event serves
  for both, so a blocking call costs two kernel calls: begin, wait.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable
from enum import Enum, auto
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

__all__ = ["REFUSED", "Direction", "Operation", "ThreadCall", "milliseconds", "new_event"]

REFUSED: Final = -1  # not a Windows code: the operation was never begun
_UNTOUCHED: Final = 0xE0000001  # no NTSTATUS of Windows: bit 29 marks those of applications
_LONGEST_WAIT: Final = 0x7FFFFFFF  # ms; above it a wait is repeated. 0xFFFFFFFF would be "for ever"
# A thread that waits in the kernel does not see Ctrl-C, which Python delivers to the main thread
# between two bytecodes. So the main thread comes back this often, in ms, to look.
_INTERRUPT_CHECK: Final = 200
_MAIN_THREAD: Final = threading.main_thread().ident
# ms to wait for the end of an operation that the kernel does not know of (see ``cancel``).
_PATIENCE: Final = 1000
_CANCEL_PATIENCE: Final = 1.0  # seconds to wait for a thread whose blocking call was cancelled


def new_event(api: Kernel32) -> int:
    """Return the handle of a new manual-reset event.

    Raises:
        OSError: The system has no room for one.
    """
    code, event = api.CreateEvent()
    if code:
        raise error(code)
    return event


def milliseconds(due: float | None) -> int:
    """Return how long to wait in one go for a deadline, in milliseconds.

    Args:
        due: A value of ``time.monotonic()``; None for no deadline.
    """
    longest = INFINITE
    if threading.get_ident() == _MAIN_THREAD:
        longest = _INTERRUPT_CHECK
    if due is None:
        return longest
    # Rounded up: a wait that ends early would only be followed by another.
    left = min(max(due - time.monotonic(), 0.0) * 1000.0, _LONGEST_WAIT)
    return min(int(left) + 1, longest)


class State(Enum):
    """What is known of an operation."""

    IDLE = auto()  # none is under way: the memory is ours
    BEGUN = auto()  # the call is about to be made, or returned and its code was not seen
    PENDING = auto()  # the kernel works on it


class Operation:
    """Overlapped calls on one handle, one at a time: the OVERLAPPED, its event, the result.

    ``begin`` goes from IDLE over BEGUN to PENDING, or back to IDLE where the call ended at once;
    ``end`` and ``cancel`` lead back to IDLE. An exception (Ctrl-C) may come between any two lines:
    it leaves the operation in a state from which ``cancel`` goes on. ``result`` is stored before
    the state becomes IDLE, so no interrupt loses it.
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
        """Use ``handle`` and ``event``, which stay their owner's."""
        self._api = api
        self._handle = handle
        self.event = event
        self._overlapped, self._reference = overlapped(event)
        self._arguments: tuple[Any, ...] = ()  # among them the buffer, which has to stay
        self.state = State.IDLE
        self.result = (REFUSED, 0)  # (Windows code, bytes moved) of the last one that ended

    def ended(self) -> bool:
        """Tell whether the kernel has written the status."""
        return bool(self._overlapped.Internal != STATUS_PENDING)

    def begin(self, call: Callable[..., int], *arguments: Any) -> int:
        """Make the call and return its code. One that ended at once has its ``result`` set."""
        if self.state is not State.IDLE:
            self.cancel()  # left behind by an interrupt
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
            # The OVERLAPPED of a call that failed at once is not to be looked at: its status
            # says "pending" for ever.
            self.result = (code, 0)
            self.state = State.IDLE
        return code

    def end(self) -> tuple[int, int]:
        """Take the result of an operation that has ended, and return it."""
        if self._overlapped.Internal == 0:  # STATUS_SUCCESS; saves a call
            self.result = (0, self._overlapped.InternalHigh)
        elif self._overlapped.Internal != _UNTOUCHED:  # else an exception came before the call
            self.result = self._api.GetOverlappedResult(self._handle, self._reference, False)
        self._arguments = ()
        self.state = State.IDLE
        return self.result

    def cancel(self) -> tuple[int, int]:
        """Cancel what is under way, wait for its end and return what became of it."""
        if self.state is State.IDLE:
            return self.result
        api, event = self._api, self.event
        if not self.ended():
            code = api.CancelIoEx(self._handle, self._reference)
            # Not found: it is ending, and its event is about to be set. Or Ctrl-C came after a
            # call that failed at once, before its code was seen: then the event never will be.
            patience = _PATIENCE if code == ERROR_NOT_FOUND else INFINITE
            while not self.ended() and api.WaitForSingleObject(event, patience) != WAIT_TIMEOUT:
                if self.ended():
                    break
                api.ResetEvent(event)  # it was set to wake us, for a reason that no longer matters
        return self.end()


class Direction:
    """The reads, or the writes, of one handle. Owns its event; the handle is its owner's.

    Invariant: ``begun`` is true only while the thread that holds ``turn`` is in ``transfer`` or
    ``run_aside``; ``_deadline`` and ``_closed`` change under ``_guard``, which is held across no
    call that blocks.
    """

    __slots__ = ("_api", "_closed", "_deadline", "_guard", "_operation", "begun", "turn")

    def __init__(self, api: Kernel32, handle: int, event: int) -> None:
        self._api = api
        self._operation = Operation(api, handle, event)
        # Both are re-entrant for the sake of a signal handler, which may close the connection in
        # the middle of any of this, in this thread.
        self.turn = threading.RLock()  # held by the thread whose operation this is
        self._guard = threading.RLock()
        self._deadline: float | None = None
        self._closed = False
        self.begun = False  # an operation is about to begin, under way, or not yet seen to end

    # -- for any thread

    def set_deadline(self, when: float | None) -> None:
        """Set the deadline and have the operation in flight go by it.

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
        """Refuse operations from now on and end the one in flight; do not wait for it."""
        with self._guard:
            self._closed = True
            self._wake()

    def release(self) -> None:
        """Give the event back. Only after ``close``, and with the turn held."""
        self._operation.cancel()  # one that several interrupts in a row left behind
        self._api.CloseHandle(self._operation.event)

    def refusal(self, due: float | None = None) -> OSError | None:
        """Return the reason why an operation may not run now, if there is one.

        Args:
            due: A further deadline, beside the one that was set.
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

    # -- for the thread that holds the turn

    @property
    def result(self) -> tuple[int, int]:
        """(code, bytes moved) of the last transfer, also of one that an exception interrupted."""
        return self._operation.result

    def forget(self) -> None:
        """Make ``result`` say that nothing was begun. To be called before ``transfer``.

        An exception may come before the first line of ``transfer``; its caller would otherwise
        take the result of an earlier transfer for this one's.
        """
        self._operation.result = (REFUSED, 0)

    def transfer(
        self, call: Callable[..., int], buffer: Any, size: int, due: float | None = None
    ) -> tuple[int, int]:
        """Run ReadFile or WriteFile to its end.

        Args:
            call: The bound method of ``Kernel32``.
            buffer: What it takes for its buffer; kept until the operation has ended.
            size: In bytes.
            due: A further deadline, beside the one that was set.

        Returns:
            (code, bytes moved). REFUSED: it was not begun, for the reason that ``refusal`` gives.
            ERROR_OPERATION_ABORTED: it was begun and cut, for such a reason. After an exception
            (Ctrl-C) ``result`` has what became of it.
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
                # A second Ctrl-C must not leave the kernel with memory that is ours.
                try:  # noqa: SIM105  (to call suppress would be a place for an exception)
                    operation.cancel()
                except BaseException:
                    pass
            raise
        finally:
            # Not while another thread that saw the operation is about to set the event. No
            # function of Python's is called here: an exception could come in at its entry, and
            # leave it begun.
            with self._guard:
                self.begun = False

    def run_aside(self, call: Callable[[], int], name: str) -> int:
        """Run a call that blocks, and has no overlapped form, in a thread; return its code.

        It is cut like an operation, with the same results. A call that cannot be cut is left
        behind: the close of the handle ends it.
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
        """Wait for the end of what was begun, or for a reason not to wait for it any longer."""
        api, event = self._api, self._operation.event
        while True:
            limit = self._deadline
            if due is not None:
                limit = due if limit is None else min(limit, due)
            api.WaitForSingleObject(event, milliseconds(limit))
            if ended():
                return
            with self._guard:
                # First reset, then look: an end that comes in between sets the event again.
                api.ResetEvent(event)
                if ended() or self.refusal(due):
                    return


class ThreadCall:
    """A blocking call in a thread of its own, which can be given up.

    For calls that have no overlapped form: FlushFileBuffers, and CreateFile on a pipe of another
    computer. CancelSynchronousIo ends them as a rule, but name resolution and the like go on for
    a while (Microsoft page "CancelSynchronousIo"). A thread that goes on is left behind; the
    handle that it gets after all is closed by ``unwanted``.
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
            name: Of the thread.
            api: The bindings.
            done: Called in the thread when the call has ended.
            unwanted: Called in the thread with a result that came after ``finish``.
        """
        self._call = call
        self._api = api
        self._done = done
        self._unwanted = unwanted
        self._lock = threading.Lock()
        self._result: tuple[int, int] | None = None
        self._given_up = False
        self.failure: BaseException | None = None  # what the call raised
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def ended(self) -> bool:
        return self._result is not None

    def start(self) -> None:
        self._thread.start()

    def wait(self, due: float | None, cancel: threading.Event | None = None) -> None:
        """Wait until the call has ended, or the deadline has passed, or ``cancel`` is set.

        Ctrl-C is noticed within 0.2 seconds, and ``cancel`` within 0.05.
        """
        longest = _LONGEST_WAIT if cancel is None else 50
        while not self.ended() and (due is None or time.monotonic() < due):
            if cancel is not None and cancel.is_set():
                return
            self._thread.join(min(milliseconds(due), longest) / 1000)

    def finish(self, patience: float = _CANCEL_PATIENCE) -> tuple[int, int]:
        """Return the result; cancel a call that has not ended.

        Args:
            patience: How long to wait for the end of a cancelled call, in seconds.

        Returns:
            (ERROR_OPERATION_ABORTED, 0) if it was given up.
        """
        until = time.monotonic() + patience
        while self._thread.is_alive() and not self.ended():
            self._api.CancelSynchronousIo(self._thread.native_id or 0)
            self._thread.join(0.01)  # a cancel that comes before the thread is in its call is lost
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
