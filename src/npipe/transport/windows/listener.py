"""The server's end of a Windows pipe: instances that wait for clients, and which thread gets one.

One pipe instance serves one client. The listener keeps several free, so that a client finds one
while another is being accepted, and makes the next before it hands one out, so that the name
never vanishes (Microsoft pages "CreateNamedPipe", "ConnectNamedPipe").
"""

from __future__ import annotations

import errno
import threading
import time
import warnings
from typing import Any, Final

from npipe.address import Address
from npipe.errors import ClosedError
from npipe.transport.base import Listener, deadline, duration
from npipe.transport.windows.connection import WindowsConnection
from npipe.transport.windows.handles import NameHeld, PipeMaker, claim_pauses
from npipe.transport.windows.instance import Instance
from npipe.transport.windows.kernel32 import WAIT_TIMEOUT
from npipe.transport.windows.overlapped import milliseconds, new_event
from npipe.transport.windows.winerror import SHORTAGE

__all__ = ["WindowsListener"]

_INSTANCES: Final = 4
_FEWEST_INSTANCES: Final = 2
# WaitForMultipleObjects takes 64 handles, and one of them is for waking up.
_MOST_INSTANCES: Final = 63
# Seconds between two tries to make an instance when the system is full: at first, at most.
_FIRST_PAUSE: Final = 0.01
_LONGEST_PAUSE: Final = 1.0


class WindowsListener(Listener[WindowsConnection]):
    """Accepts from several threads: one waits for all instances, the others for their turn.

    Invariant: ``_instances`` changes only in the thread that holds ``_turn``, and is never empty
    between the first claim of the name and ``close``.
    """

    def __init__(self, maker: PipeMaker, *, backlog: int | None = None) -> None:
        """Own ``maker``, claim its name and make ``backlog`` instances (2 to 63).

        Raises:
            OSError: EADDRINUSE: the name is served, also by a connection that an earlier listener
                accepted and that still lives.
            ValueError: ``backlog`` is no number of clients.
        """
        self._maker = maker
        self._api = maker.api
        # Re-entrant: a signal handler may close the listener in the middle of this thread's accept.
        self._turn = threading.RLock()
        self._accepting = False
        self._guard = threading.RLock()  # for the next two
        self._deadline: float | None = None
        self._closed = False
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
        with self._guard:
            if not self._closed:
                self._closed = True
                self._api.SetEvent(self._wake)
        self._release()

    def _claim(self) -> None:
        """Make the first instance; wait a second for clients of a dead server to leave."""
        for pause in claim_pauses():
            try:
                self._add()
            except NameHeld:
                time.sleep(pause)
            else:
                return
        self._add()

    def _take_turn(self, due: float | None) -> None:
        """Acquire the turn. Ctrl-C does not end that on Windows: wait in pieces that let it in."""
        while True:
            # The thread that has the turn goes by the deadline too, and then passes the turn on.
            piece = min(milliseconds(due) / 1000, threading.TIMEOUT_MAX)
            if self._turn.acquire(timeout=piece):
                return
            if due is not None and time.monotonic() >= due:
                raise _no_client()

    # -- with the turn held

    def _accept(self, timeout_due: float | None) -> WindowsConnection:
        pause = _FIRST_PAUSE
        late = False
        while not self._closed:
            due = _earlier(timeout_due, self._deadline)
            full = self._fill()
            taken, armed = self._next_taken()
            # The last instance is not given away: without it the name would vanish.
            if taken and len(self._instances) > 1 and (connection := self._give(taken)):
                return connection
            late_now = due is not None and time.monotonic() >= due
            if late and late_now:  # a client that came at the last moment was looked for
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
        """Return (an instance that a client has taken, all others are armed).

        One that cannot be armed does not block the rest. Where the system lacks resources it is
        kept, since a client may have taken it; on another error it is closed, unless it is the
        last. That error is raised if no client has come.
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
        """Wait until a client comes, the listener is closed or the time is due."""
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
        """Make another instance, then a connection of this one; None: the system is too full."""
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
        """Make the instances that are missing; False: the system has no room for them now."""
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
        """Give everything back once no thread accepts. The last thread out does it."""
        with self._turn, self._guard:  # nor while the closing thread is about to set the event
            # Accepting: this is a signal handler, in the middle of this thread's accept.
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
    return TimeoutError(errno.ETIMEDOUT, "no client came in time")
