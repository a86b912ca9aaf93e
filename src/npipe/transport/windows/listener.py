"""Listener on a Windows pipe: the instances that wait for clients, and ``accept``.

One pipe instance serves one client. The listener keeps several instances free, so that a client can
connect while another is being accepted. It creates the next instance before it returns one, so that
the name always exists (Microsoft pages "CreateNamedPipe", "ConnectNamedPipe").
"""

from __future__ import annotations

import errno
import threading
import time
import warnings
from typing import Any, Final

from npipe.address import Address
from npipe.errors import ClosedError
from npipe.transport.base import Listener
from npipe.transport.checks import deadline, duration
from npipe.transport.windows.connection import WindowsConnection
from npipe.transport.windows.instance import Instance
from npipe.transport.windows.kernel32.constants import WAIT_TIMEOUT
from npipe.transport.windows.maker import NameHeld, PipeMaker, claim_pauses
from npipe.transport.windows.overlapped import milliseconds, new_event
from npipe.transport.windows.winerror import SHORTAGE

__all__ = ["WindowsListener"]

_INSTANCES: Final = 4
_FEWEST_INSTANCES: Final = 2
# WaitForMultipleObjects takes 64 handles, and one of them is the event that wakes the wait.
_MOST_INSTANCES: Final = 63
# Seconds between two attempts to create an instance when resources are short: first and longest.
_FIRST_PAUSE: Final = 0.01
_LONGEST_PAUSE: Final = 1.0


class WindowsListener(Listener[WindowsConnection]):
    """Listener whose ``accept`` several threads may call: one waits for a client at a time.

    The thread that holds ``_turn`` waits for all instances; the other threads wait for ``_turn``.

    Invariant: ``_instances`` changes only in the thread that holds ``_turn``, and is never empty
    between the creation of the first instance and ``close``.
    """

    def __init__(self, maker: PipeMaker, *, backlog: int | None = None) -> None:
        """Create the pipe and its instances.

        Args:
            maker: The factory of the instances, which the listener owns.
            backlog: Number of instances that wait for clients, 2 to 63; None means 4.

        Raises:
            OSError: The name is served (EADDRINUSE), also by a connection that an earlier
                listener accepted and that is still open.
            ValueError: ``backlog`` is not a number of clients.
        """
        self._maker = maker
        self._api = maker.api
        # Re-entrant: a signal handler may close the listener during the accept of its thread.
        self._turn = threading.RLock()
        self._accepting = False
        self._guard = threading.RLock()  # guards _deadline and _closed
        self._deadline: float | None = None
        self._closed = False
        self._closing = 0  # identifier of the thread that is in ``close``
        self._released = False
        self._instances: list[Instance] = []
        self._wake = 0
        try:
            self._backlog = _instances(backlog)
            self._wake = new_event(self._api)
            self._claim()
            while len(self._instances) < self._backlog:
                self._add()
        except BaseException:
            self._closed = True
            self._release()
            raise

    @property
    def address(self) -> Address:
        return self._maker.address

    def accept(self, timeout: float | None = None) -> WindowsConnection:
        timeout = duration(timeout)
        due = None if timeout is None else time.monotonic() + timeout
        self._take_turn(due)
        try:
            if self._accepting:
                raise RuntimeError("a signal handler cannot accept while its thread accepts")
            self._accepting = True
            try:
                return self._accept(due)
            finally:
                self._accepting = False
        finally:
            self._turn.release()
            if self._closed:
                self._release()

    def set_deadline(self, when: float | None) -> None:
        with self._guard:
            if self._closed:
                raise ClosedError("listener")
            self._deadline = deadline(when)
            self._api.SetEvent(self._wake)

    def close(self) -> None:
        # A signal handler that closes in the middle of this must not wait for a thread that
        # accepts, which waits for _guard: the interrupted call releases the handles.
        thread = threading.get_ident()
        interrupts = self._closing == thread
        self._closing = thread
        with self._guard:
            if not self._closed:
                self._closed = True
                self._api.SetEvent(self._wake)
        if not interrupts:
            self._closing = 0
            self._release()

    def _claim(self) -> None:
        """Create the first instance; wait one second for clients of an ended server to close."""
        for pause in claim_pauses():
            try:
                self._add()
            except NameHeld:
                time.sleep(pause)
            else:
                return
        self._add()

    def _take_turn(self, due: float | None) -> None:
        """Acquire ``_turn`` in short waits, because Ctrl-C does not end a lock wait on Windows."""
        while True:
            # The thread that holds _turn uses the same deadline, and then releases _turn.
            piece = min(milliseconds(due) / 1000, threading.TIMEOUT_MAX)
            if self._turn.acquire(timeout=piece):
                return
            if due is not None and time.monotonic() >= due:
                if self._closed:  # and the call in progress has not ended yet
                    raise ClosedError("listener")
                raise _no_client()

    # -- the caller holds _turn

    def _accept(self, timeout_due: float | None) -> WindowsConnection:
        pause = _FIRST_PAUSE
        late = False
        while not self._closed:
            due = _earlier(timeout_due, self._deadline)
            full = self._fill()
            taken, armed = self._next_taken()
            # The last instance is not returned: without it the name would no longer exist.
            if taken and len(self._instances) > 1 and (connection := self._give(taken)):
                return connection
            late_now = due is not None and time.monotonic() >= due
            if late and late_now:  # one more check for a client was made after the deadline
                raise _no_client()
            late = late_now
            if full and armed and not taken:
                self._wait(due)
            else:
                soon = time.monotonic() + pause
                self._wait(soon if due is None else min(soon, due))
                pause = min(2 * pause, _LONGEST_PAUSE)
        raise ClosedError("listener")

    def _next_taken(self) -> tuple[Instance | None, bool]:
        """Arm the instances; find one with a client.

        An instance that cannot be armed does not block the others. If resources are short it is
        kept, because a client may have connected to it; on another error it is closed, unless it
        is the last.

        Returns:
            (an instance with a client or None, whether all instances before it are armed).

        Raises:
            OSError: An instance could not be armed, and no client has connected.
        """
        failure: OSError | None = None
        armed = True
        for instance in list(self._instances):
            try:
                instance.arm()
            except OSError as problem:
                armed = False
                if not _is_shortage(problem):
                    failure = failure or problem
                    if len(self._instances) > 1:
                        self._instances.remove(instance)
                        instance.close()
            else:
                if instance.taken:
                    return instance, armed
        if failure:
            raise failure
        return None, armed

    def _wait(self, due: float | None) -> None:
        """Wait until a client connects, the listener is closed or ``due`` has passed."""
        waiting = [instance for instance in self._instances if not instance.taken]
        events = [self._wake, *(instance.event for instance in waiting)]
        woken = self._api.WaitForMultipleObjects(events, milliseconds(due))
        if 0 < woken < WAIT_TIMEOUT:
            waiting[woken - 1].settle_event()
        elif woken == 0:
            with self._guard:
                if not self._closed:  # a new deadline
                    self._api.ResetEvent(self._wake)
        for instance in waiting:
            instance.look()

    def _give(self, instance: Instance) -> WindowsConnection | None:
        """Create another instance and a connection from this one; None if resources are short."""
        self._instances.remove(instance)
        try:
            self._fill()
            return WindowsConnection(
                self._api,
                instance.handle,
                self.address,
                server_end=True,
                message_mode=self._maker.message_mode,
                mode=self._maker.mode,
                event=instance.event,
                proven_sid=self._maker.proven_sid,
            )
        except BaseException as exc:
            self._instances.append(instance)
            if _is_shortage(exc):
                return None
            raise

    def _fill(self) -> bool:
        """Create the missing instances; return False if resources are short."""
        try:
            while len(self._instances) < self._backlog:
                self._add()
        except OSError as exc:
            if not _is_shortage(exc):
                raise
            return False
        return True

    def _add(self) -> None:
        handle = self._maker.create()
        try:
            self._instances.append(Instance(self._api, handle, new_event(self._api)))
        except BaseException:
            self._api.CloseHandle(handle)
            raise

    def _release(self) -> None:
        """Close all handles once no thread accepts; the last thread to leave calls it."""
        with self._turn, self._guard:  # _guard: a closing thread may be about to set the event
            # If _accepting is set, a signal handler runs this during the accept of its thread.
            if self._released or self._accepting:
                return
            self._released = True
            for instance in self._instances:
                instance.close()
            self._instances.clear()
            if self._wake:
                self._api.CloseHandle(self._wake)
            self._maker.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address} {'closed' if self._closed else 'listening'}>"

    def __del__(self, _warn: Any = warnings.warn) -> None:
        if getattr(self, "_closed", True):
            return
        try:
            _warn(f"unclosed {self!r}", ResourceWarning, source=self)
        finally:  # -W error makes the warning an exception
            self.close()


def _earlier(one: float | None, other: float | None) -> float | None:
    return one if other is None else other if one is None else min(one, other)


def _instances(backlog: int | None) -> int:
    if backlog is None:
        return _INSTANCES
    if not isinstance(backlog, int) or backlog < 0:
        raise ValueError(f"backlog={backlog!r}: give a number of clients that may wait")
    return min(max(backlog, _FEWEST_INSTANCES), _MOST_INSTANCES)


def _is_shortage(exc: BaseException) -> bool:
    return getattr(exc, "winerror", None) in SHORTAGE


def _no_client() -> TimeoutError:
    return TimeoutError(errno.ETIMEDOUT, "no client connected before the deadline")
