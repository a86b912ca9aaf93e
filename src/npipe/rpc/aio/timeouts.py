"""The time limits of one connection on an event loop: what may take how long.

It watches a link and ends it. A timer is set once and, when it fires, looks whether the time is
really over: messages come and go without touching it.
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
    """A link, as its clock sees it."""

    loop: asyncio.AbstractEventLoop
    limits: Limits
    session: Session
    transport: asyncio.Transport
    reading: bool
    bytes_out: int

    def abort(self, reason: str) -> None: ...
    def close(self, reason: str) -> None: ...


class Timeouts:
    """Keeps ``message_timeout``, ``idle_timeout`` and ``write_timeout``."""

    __slots__ = ("_last_read", "_link", "_partial_since", "_timers", "_written")

    def __init__(self, link: TimedDriver) -> None:
        self._link = link
        self._partial_since = 0.0  # 0: no message is incomplete
        self._last_read = 0.0
        self._timers: dict[Callable[..., object], asyncio.TimerHandle] = {}
        self._touch()

    def stop(self) -> None:
        """Watch nothing any more."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def after(self, seconds: float, callback: Callable[..., object], *args: Any) -> None:
        """Call ``callback(*args)`` in some seconds, once; in place of an earlier such call."""
        self._cancel(callback)
        self._timers[callback] = self._link.loop.call_later(seconds, self._fire, callback, args)

    def _fire(self, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        del self._timers[callback]
        callback(*args)

    def _cancel(self, callback: Callable[..., object]) -> None:
        timer = self._timers.pop(callback, None)
        if timer is not None:
            timer.cancel()

    # Reading

    def has_read(self, completed: bool, pending: int) -> None:
        """Something was read: did it complete a message, and how much of the next one is there?"""
        if pending or self._partial_since:
            self._note_partial(completed, pending)
        if self._link.limits.idle_timeout is not None and (completed or pending):
            self._touch()

    def at_end(self) -> None:
        """Nothing more will be read."""
        self._partial_since = 0.0

    def _note_partial(self, completed: bool, pending: int) -> None:
        seconds = self._link.limits.message_timeout
        if not pending:
            self._partial_since = 0.0
        elif seconds is not None and (completed or not self._partial_since):
            self._partial_since = time.monotonic()
            if self._check_partial not in self._timers:
                self.after(seconds, self._check_partial, seconds)

    def _check_partial(self, seconds: float) -> None:
        if not self._partial_since:
            return
        if not self._link.reading:  # so it cannot get complete: its time begins anew
            self._partial_since = time.monotonic()
        left = self._partial_since + seconds - time.monotonic()
        if left > 0:
            self.after(left, self._check_partial, seconds)
        else:
            self._link.abort("no complete message in time")

    def _touch(self) -> None:
        self._last_read = time.monotonic()
        self._written = self._link.bytes_out
        seconds = self._link.limits.idle_timeout
        if seconds is not None and self._check_idle not in self._timers:
            self.after(seconds, self._check_idle, seconds)

    def _check_idle(self, seconds: float) -> None:
        session = self._link.session
        # Not ``in_flight``: a call that has just ended has its reply still to be written.
        busy = not session.idle or self._written != self._link.bytes_out
        if busy or session.subscriptions or self._partial_since:
            self._touch()
            return
        left = self._last_read + seconds - time.monotonic()
        if left > 0:
            self.after(left, self._check_idle, seconds)
        else:
            self._link.close("idle for too long")

    # Writing

    def has_written(self) -> None:
        """Something was written: if not all of it has left, see to it that it does. A peer that
        takes not a byte in ``write_timeout`` seconds is dropped."""
        if self._await_progress not in self._timers:
            self._await_progress(-1)

    def _await_progress(self, before: int) -> None:
        seconds = self._link.limits.write_timeout
        waiting = self._link.transport.get_write_buffer_size()
        left = self._link.bytes_out - waiting
        if not waiting or seconds is None:
            return
        if left == before:
            self._link.abort("the other end reads too slowly")
        else:
            self.after(seconds, self._await_progress, left)
