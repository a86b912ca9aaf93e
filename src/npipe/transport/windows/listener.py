"""The server's end of a Windows pipe: instances that wait for clients, and who gets the next one.

An instance is one seat for one client. The listener keeps several free, so that a client finds
one while another is being seated, and makes the next before it gives one away, so that the name
never vanishes.
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
from npipe.transport.windows.connection import WindowsConnection
from npipe.transport.windows.handles import PipeMaker
from npipe.transport.windows.kernel32 import STATUS_PENDING, Kernel32, overlapped
from npipe.transport.windows.overlapped import milliseconds, new_event
from npipe.transport.windows.winerror import (
    ERROR_BROKEN_PIPE,
    ERROR_IO_PENDING,
    ERROR_NETNAME_DELETED,
    ERROR_NO_DATA,
    ERROR_OPERATION_ABORTED,
    ERROR_PIPE_CONNECTED,
    ERROR_PIPE_NOT_CONNECTED,
    SHORTAGE,
    error,
)

__all__ = ["WindowsListener"]

_INSTANCES: Final = 4
_FEWEST_INSTANCES: Final = 2
# WaitForMultipleObjects takes 64 handles, and one of them is for waking up.
_MOST_INSTANCES: Final = 63
_CAME: Final = (0, ERROR_PIPE_CONNECTED)
_CAME_AND_WENT: Final = (
    ERROR_NO_DATA,
    ERROR_BROKEN_PIPE,
    ERROR_PIPE_NOT_CONNECTED,
    ERROR_NETNAME_DELETED,
)
# Seconds between two tries to make an instance when the system is full: at first, at most.
_FIRST_PAUSE: Final = 0.01
_LONGEST_PAUSE: Final = 1.0


class _Instance:
    """One seat. Clients can take it from its creation on; ``watch`` is how we hear of one."""

    __slots__ = ("_api", "_overlapped", "_reference", "_watched", "event", "handle", "taken")

    def __init__(self, api: Kernel32, handle: int, event: int) -> None:
        self._api = api
        self.handle = handle
        self.event = event
        self._overlapped, self._reference = overlapped(event)
        self._watched = False  # the kernel holds the OVERLAPPED
        self.taken = False  # a client sits here

    def watch(self) -> None:
        """Have the event set when a client comes; or find that one is here: ``taken``."""
        while not (self._watched or self.taken):
            code = self._api.ConnectNamedPipe(self.handle, self._reference)
            if code == ERROR_IO_PENDING:
                self._watched = True
            else:
                self._settle(code)

    def look(self) -> None:
        """See whether a client has come. Afterwards the seat is taken, or watched again."""
        if not self._watched or self._overlapped.Internal == STATUS_PENDING:
            return
        code, _ = self._api.GetOverlappedResult(self.handle, self._reference, False)
        self._watched = False
        # Aborted: the thread that began to watch has ended, and Windows ends its operations.
        if code != ERROR_OPERATION_ABORTED:
            self._settle(code)
        self.watch()

    def _settle(self, code: int) -> None:
        """Decide by the result of ConnectNamedPipe whether a client is here; else clear the seat.

        A client that came and went is nobody, unless it left something to read.
        """
        if code not in _CAME and code not in _CAME_AND_WENT:
            raise error(code)
        gone, left = self._api.PeekNamedPipe(self.handle)
        if left or (code in _CAME and not gone):
            self.taken = True
        else:
            self._api.DisconnectNamedPipe(self.handle)

    def close(self) -> None:
        """Cancel, see the end of it, and only then give the memory and the handles up."""
        if self._watched:
            self._api.CancelIoEx(self.handle, self._reference)
            self._api.GetOverlappedResult(self.handle, self._reference, True)
        self._api.CloseHandle(self.handle)
        self._api.CloseHandle(self.event)


class WindowsListener(Listener[WindowsConnection]):
    """Threads that accept take turns: one waits for all instances, the others wait for the turn."""

    def __init__(self, maker: PipeMaker, *, backlog: int | None = None) -> None:
        """Own ``maker``, claim its name and make ``backlog`` instances.

        At least 2 and at most 63 are made. Raises OSError: EADDRINUSE when the name is served,
        also by a connection that an earlier listener accepted and that still lives.
        """
        self._maker = maker
        self._api = maker.api
        # Re-entrant: a signal handler may close the listener in the middle of this thread's accept.
        self._turn = threading.RLock()
        self._accepting = False
        self._guard = threading.RLock()  # for the flag below, set once
        self._closed = False
        self._released = False
        self._instances: list[_Instance] = []
        self._wake = 0
        try:
            self._backlog = _instances(backlog)
            self._wake = new_event(self._api)
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
        due = None if timeout is None else time.monotonic() + timeout
        patience = -1 if timeout is None else min(max(timeout, 0), threading.TIMEOUT_MAX)
        if not self._turn.acquire(timeout=patience):
            raise _no_client()
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

    def close(self) -> None:
        with self._guard:
            if not self._closed:
                self._closed = True
                self._api.SetEvent(self._wake)
        self._release()

    # -- with the turn held

    def _accept(self, due: float | None) -> WindowsConnection:
        pause = _FIRST_PAUSE
        late = False
        while not self._closed:
            full = self._fill()
            taken = self._next_taken()
            # The last seat is not given away: without it the name would vanish.
            if taken and len(self._instances) > 1 and (connection := self._give(taken)):
                return connection
            if late:
                raise _no_client()
            late = due is not None and time.monotonic() >= due
            if full and not taken:
                self._wait(due)
            else:
                soon = time.monotonic() + pause
                self._wait(soon if due is None else min(soon, due))
                pause = min(2 * pause, _LONGEST_PAUSE)
        raise ClosedError("listener")

    def _next_taken(self) -> _Instance | None:
        """Return an instance that a client has taken; watch the others."""
        for instance in self._instances:
            instance.watch()
            if instance.taken:
                return instance
        return None

    def _wait(self, due: float | None) -> None:
        """Wait until a client comes, the listener is closed or the time is due."""
        waiting = [instance for instance in self._instances if not instance.taken]
        events = [self._wake, *(instance.event for instance in waiting)]
        self._api.WaitForMultipleObjects(events, milliseconds(due))
        for instance in waiting:
            instance.look()

    def _give(self, instance: _Instance) -> WindowsConnection | None:
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
                event=instance.event,
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
            self._instances.append(_Instance(self._api, handle, new_event(self._api)))
        except BaseException:
            self._api.CloseHandle(handle)
            raise

    def _release(self) -> None:
        """Give everything back once nobody accepts. The last one out does it."""
        with self._turn, self._guard:  # nor while the one who closes is about to set the event
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
        _warn(f"unclosed {self!r}", ResourceWarning, source=self)
        self.close()


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
