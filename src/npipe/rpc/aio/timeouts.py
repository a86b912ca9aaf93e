"""Time limits of one connection on an event loop.

``Timeouts`` observes a driver and closes it. A timer is set once; when it fires, it checks whether
the time is really over. Messages do not reset timers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Protocol

from npipe.rpc.limits import Limits
from npipe.rpc.session.session import Session

__all__ = ["Timeouts"]


class TimedDriver(Protocol):
    """The attributes and methods of a driver that its time limits use."""

    loop: asyncio.AbstractEventLoop
    limits: Limits
    session: Session
    transport: asyncio.Transport
    reading: bool
    bytes_out: int

    def abort(self, reason: str) -> None: ...
    def close(self, reason: str) -> None: ...


class Timeouts:
    """Enforces ``message_timeout``, ``idle_timeout`` and ``write_timeout``."""

    __slots__ = ("_driver", "_last_read", "_partial_since", "_timers", "_written")

    def __init__(self, driver: TimedDriver) -> None:
        self._driver = driver
        self._partial_since = 0.0  # 0: no message is incomplete
        self._last_read = 0.0
        self._timers: dict[Callable[..., object], asyncio.TimerHandle] = {}
        self._touch()

    def stop(self) -> None:
        """Cancel all timers."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def after(self, seconds: float, callback: Callable[..., object], *args: Any) -> None:
        """Call ``callback(*args)`` once after some seconds; replaces an earlier timer of it."""
        self._cancel(callback)
        self._timers[callback] = self._driver.loop.call_later(seconds, self._fire, callback, args)

    def _fire(self, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        del self._timers[callback]
        callback(*args)

    def _cancel(self, callback: Callable[..., object]) -> None:
        timer = self._timers.pop(callback, None)
        if timer is not None:
            timer.cancel()

    # Reading

    def has_read(self, completed: bool, pending: int) -> None:
        """Handle a read.

        Args:
            completed: Whether it completed a message.
            pending: The number of buffered bytes of the next message.
        """
        if pending or self._partial_since:
            self._note_partial(completed, pending)
        if self._driver.limits.idle_timeout is not None and (completed or pending):
            self._touch()

    def at_end(self) -> None:
        """Handle the end of the peer's stream."""
        self._partial_since = 0.0

    def _note_partial(self, completed: bool, pending: int) -> None:
        seconds = self._driver.limits.message_timeout
        if not pending:
            self._partial_since = 0.0
        elif seconds is not None and (completed or not self._partial_since):
            self._partial_since = time.monotonic()
            if self._check_partial not in self._timers:
                self.after(seconds, self._check_partial, seconds)

    def _check_partial(self, seconds: float) -> None:
        if not self._partial_since:
            return
        if not self._driver.reading:  # the message cannot be completed: restart its timeout
            self._partial_since = time.monotonic()
        left = self._partial_since + seconds - time.monotonic()
        if left > 0:
            self.after(left, self._check_partial, seconds)
        else:
            self._driver.abort("no complete message in time")

    def _touch(self) -> None:
        self._last_read = time.monotonic()
        self._written = self._driver.bytes_out
        seconds = self._driver.limits.idle_timeout
        if seconds is not None and self._check_idle not in self._timers:
            self.after(seconds, self._check_idle, seconds)

    def _check_idle(self, seconds: float) -> None:
        session = self._driver.session
        # Not ``in_flight``: the reply of an ended call may not have been written yet.
        busy = not session.idle or self._written != self._driver.bytes_out
        if busy or session.subscriptions or self._partial_since:
            self._touch()
            return
        left = self._last_read + seconds - time.monotonic()
        if left > 0:
            self.after(left, self._check_idle, seconds)
        else:
            self._driver.close("idle for too long")

    # Writing

    def has_written(self) -> None:
        """Handle a write: check that the peer reads the buffered bytes.

        A peer that reads no byte for ``write_timeout`` seconds is disconnected.
        """
        if self._await_progress not in self._timers:
            self._await_progress(-1)

    def _await_progress(self, before: int) -> None:
        seconds = self._driver.limits.write_timeout
        waiting = self._driver.transport.get_write_buffer_size()
        left = self._driver.bytes_out - waiting
        if not waiting or seconds is None:
            return
        if left == before:
            self._driver.abort("the peer reads too slowly")
        else:
            self.after(seconds, self._await_progress, left)
