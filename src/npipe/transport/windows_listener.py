"""The server's end of a Windows pipe: instances that wait for clients, and who gets the next one.

An instance is one seat for one client. The listener keeps several free, so that a client finds
one while another is being seated, and makes the next before it gives one away, so that the name
never vanishes.
"""

from __future__ import annotations

import errno
import threading
import time
from typing import Final

from npipe.address import Address
from npipe.errors import ClosedError
from npipe.transport.base import Listener
from npipe.transport.kernel32 import Kernel32, overlapped
from npipe.transport.overlapped import milliseconds, new_event
from npipe.transport.windows_connection import WindowsConnection
from npipe.transport.windows_handles import PipeMaker
from npipe.transport.winerror import (
    ERROR_BROKEN_PIPE,
    ERROR_IO_PENDING,
    ERROR_NO_DATA,
    ERROR_OPERATION_ABORTED,
    ERROR_PIPE_CONNECTED,
    error,
)

__all__ = ["WindowsListener"]

_INSTANCES: Final = 4
_FEWEST_INSTANCES: Final = 2
# WaitForMultipleObjects takes 64 handles, and one of them is for waking up.
_MOST_INSTANCES: Final = 63
_LONGEST_PAUSE: Final = 1.0  # seconds between two tries to make an instance when the system is full


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
        """The event is set: see why. Afterwards the seat is taken, or watched again."""
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
        if code not in (0, ERROR_PIPE_CONNECTED, ERROR_NO_DATA, ERROR_BROKEN_PIPE):
            raise error(code)
        gone, left = self._api.PeekNamedPipe(self.handle)
        if left or not (gone or code in (ERROR_NO_DATA, ERROR_BROKEN_PIPE)):
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
        r"""Claim the name and make ``backlog`` instances (at least 2; at most 63 are made).

        Raises OSError: EADDRINUSE when the name is served, also by a connection that a listener
        before this one accepted and that still lives.
        """
        if backlog is None:
            backlog = _INSTANCES
        elif not isinstance(backlog, int) or backlog < 0:
            raise ValueError(f"backlog={backlog!r}: give a number of clients that may wait")
        self._maker = maker
        self._api = maker.api
        self._backlog = min(max(backlog, _FEWEST_INSTANCES), _MOST_INSTANCES)
        self._turn = threading.Lock()
        self._guard = threading.Lock()  # for _closed
        self._closed = False
        self._released = False
        self._instances: list[_Instance] = []
        self._wake = 0
        try:
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
        deadline = None if timeout is None else time.monotonic() + timeout
        if not self._turn.acquire(timeout=-1 if timeout is None else max(timeout, 0)):
            raise _no_client()
        try:
            return self._accept(deadline)
        finally:
            self._turn.release()

    def close(self) -> None:
        with self._guard:
            if not self._closed:
                self._closed = True
                self._api.SetEvent(self._wake)
        with self._turn:
            self._release()

    # -- with the turn held

    def _accept(self, deadline: float | None) -> WindowsConnection:
        pause = 0.01
        while not self._closed:
            full = self._fill()
            for instance in self._instances:
                instance.watch()
            taken = next((i for i in self._instances if i.taken), None)
            # The last seat is not given away: without it the name would vanish.
            if taken and len(self._instances) > 1:
                return self._give(taken)
            if full:
                self._wait(deadline)
            else:
                soon = time.monotonic() + pause
                self._wait(soon if deadline is None else min(soon, deadline))
                pause = min(pause * 2, _LONGEST_PAUSE)
            if deadline is not None and time.monotonic() >= deadline and not self._any_taken():
                raise _no_client()
        raise ClosedError("listener")

    def _wait(self, deadline: float | None) -> None:
        """Wait until a client comes, the listener is closed or the deadline passes."""
        events = [self._wake, *(i.event for i in self._instances if not i.taken)]
        index = self._api.WaitForMultipleObjects(events, milliseconds(deadline))
        if 0 < index < len(events):
            next(i for i in self._instances if i.event == events[index]).look()

    def _any_taken(self) -> bool:
        return len(self._instances) > 1 and any(i.taken for i in self._instances)

    def _give(self, instance: _Instance) -> WindowsConnection:
        self._instances.remove(instance)
        try:
            self._fill()
            return WindowsConnection(
                self._api, instance.handle, self.address, server_end=True, event=instance.event
            )
        except BaseException:
            self._instances.append(instance)
            raise

    def _fill(self) -> bool:
        """Make the instances that are missing; return whether none is missing now."""
        try:
            while len(self._instances) < self._backlog:
                self._add()
        except OSError:
            return False  # the system has no room; the others serve meanwhile, and we try again
        return True

    def _add(self) -> None:
        handle = self._maker.create()
        try:
            self._instances.append(_Instance(self._api, handle, new_event(self._api)))
        except BaseException:
            self._api.CloseHandle(handle)
            raise

    def _release(self) -> None:
        if self._released:
            return
        self._released = True
        for instance in self._instances:
            instance.close()
        self._instances.clear()
        if self._wake:
            self._api.CloseHandle(self._wake)
        self._maker.close()


def _no_client() -> TimeoutError:
    return TimeoutError(errno.ETIMEDOUT, "no client came before the deadline")
