"""One direction of a connection: its operations, with a deadline that may change, and its close.

A thread that changes the deadline, or closes, sets the event of the operation. The waiting thread
wakes, finds that the operation has not ended, and checks the deadline and the closed flag. Since
one event serves both purposes, a blocking call costs two kernel calls: begin, wait.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable
from typing import Any

from npipe.errors import ClosedError
from npipe.transport.checks import deadline
from npipe.transport.windows.kernel32 import Kernel32
from npipe.transport.windows.overlapped import (
    REFUSED,
    Operation,
    State,
    milliseconds,
    new_event,
)
from npipe.transport.windows.thread_call import ThreadCall
from npipe.transport.windows.winerror import ERROR_IO_PENDING

__all__ = ["Direction"]


class Direction:
    """The reads, or the writes, of one handle. It owns its event, but not the handle.

    Invariant: ``begun`` is true only while the thread that holds ``turn`` is in ``transfer`` or
    ``run_aside``; ``_deadline`` and ``_closed`` change under ``_guard``, which is not held during a
    call that blocks.
    """

    __slots__ = ("_api", "_closed", "_deadline", "_guard", "_handle", "_operation", "begun", "turn")

    def __init__(self, api: Kernel32, handle: int, event: int) -> None:
        self._api = api
        self._handle = handle
        self._operation: Operation | None = Operation(api, handle, event)  # None: see ``rest``
        # Both are re-entrant because a signal handler may close the connection at any point in
        # this thread.
        self.turn: threading.RLock = threading.RLock()  # held by the thread that runs the operation
        self._guard = threading.RLock()
        self._deadline: float | None = None
        self._closed = False
        self.begun: bool = False  # an operation is about to begin or has not been found to end

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
        if self._operation is not None:
            self._operation.cancel()  # an operation that several interrupts left unfinished
            self._api.CloseHandle(self._operation.event)

    def rest(self) -> None:
        """Release the event and the OVERLAPPED until the next operation, if there is one.

        Reads and writes by a completion port need neither. Call this with ``turn`` held.
        """
        operation = self._operation
        if operation is not None and not self.begun:
            operation.cancel()
            self._operation = None
            self._api.CloseHandle(operation.event)

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
        if self.begun and self._operation is not None:
            self._api.SetEvent(self._operation.event)

    # -- for the thread that holds `turn`

    @property
    def result(self) -> tuple[int, int]:
        """(code, bytes transferred) of the last transfer, also after an interrupted one."""
        return (REFUSED, 0) if self._operation is None else self._operation.result

    def forget(self) -> None:
        """Set ``result`` to (REFUSED, 0). Call this before ``transfer``.

        If an exception is raised before the first line of ``transfer``, its caller would otherwise
        read the result of an earlier transfer.
        """
        if self._operation is not None:
            self._operation.result = (REFUSED, 0)

    def _prepared(self) -> Operation:
        """Return the operation, made anew after a ``rest``."""
        if self._operation is None:
            self._operation = Operation(self._api, self._handle, new_event(self._api))
        return self._operation

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
        try:
            with self._guard:
                self.begun = True
                checked = self._closed or due is not None or self._deadline is not None
                if checked and self.refusal(due):
                    return REFUSED, 0
                operation = self._prepared()
                code = operation.begin(call, buffer, size)
            if code == ERROR_IO_PENDING:
                self._await(operation, operation.ended, due)
                return operation.end() if operation.ended() else operation.cancel()
            return operation.result
        except BaseException:
            unfinished = self._operation
            while unfinished is not None and unfinished.state is not State.IDLE:
                # After a second Ctrl-C the kernel must not keep writing to memory that is reused.
                try:  # noqa: SIM105  (to call suppress would be a place for an exception)
                    unfinished.cancel()
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
        api = self._api

        def done() -> None:
            with self._guard:
                self._wake()

        aside = ThreadCall(lambda: (call(), 0), name, api, done)
        try:
            with self._guard:
                self.begun = True
                if self.refusal():
                    return REFUSED
                operation = self._prepared()
                api.ResetEvent(operation.event)
            aside.start()
            self._await(operation, aside.ended, None)
            return aside.finish()[0]
        except BaseException:
            aside.finish()
            raise
        finally:
            with self._guard:
                self.begun = False

    def _await(self, operation: Operation, ended: Callable[[], bool], due: float | None) -> None:
        """Wait until the operation has ended, the deadline has passed or ``close`` was called."""
        api, event = self._api, operation.event
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
