"""Time limits of one connection on the event loop of a server.

Messages set times only; ``on_timer`` compares them with the clock when the earliest has come. Only
the leader of the loop calls it, after it has handled all earlier events.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from npipe.rpc.threads.loop.leader import Driver

if TYPE_CHECKING:
    from npipe.transport.base import Connection

__all__ = ["Timeouts"]

GONE_SECONDS = 0.05  # between two checks whether a half-closed peer has disconnected


class TimedDriver(Driver, Protocol):
    """The attributes and methods of a driver that its time limits use."""

    at_end: bool

    @property
    def connection(self) -> Connection: ...
    @property
    def idle(self) -> bool: ...
    @property
    def stalled(self) -> bool: ...
    @property
    def reading(self) -> bool: ...
    def write_unsent(self) -> bool: ...
    def close(self, reason: str) -> None: ...


class Scheduler(Protocol):
    """The method of a loop that its connections' time limits use."""

    def schedule(self, driver: Driver, when: float) -> None: ...


class Timeouts:
    """Enforces ``message_timeout``, ``idle_timeout`` and ``write_timeout``.

    It also closes the connection of a peer that half-closed it and has gone. All times are those
    of ``time.monotonic()``.
    """

    __slots__ = (
        "_active_at",
        "_clock",
        "_driver",
        "_loop",
        "_message_end",
        "_resumed_at",
        "_scheduled",
        "_session",
        "_write_end",
    )

    def __init__(
        self, driver: TimedDriver, loop: Scheduler, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Make the time limits; none applies before ``start``.

        Args:
            driver: The driver of the connection.
            loop: Calls the driver's ``on_timer``.
            clock: Returns the time.
        """
        self._clock = clock
        self._driver = driver
        self._session = driver.session
        self._loop = loop
        self._message_end: float | None = None  # for the rest of a message
        self._write_end = 0.0  # for the peer to read some bytes
        self._active_at = 0.0  # time of the last read or write
        self._resumed_at = 0.0  # time at which reading was last resumed
        self._scheduled: float | None = None  # the next call of ``on_timer``

    def start(self) -> None:
        """Begin the idle timeout."""
        seconds = self._session.limits.idle_timeout
        if seconds is not None:
            self._active_at = self._clock()
            self._schedule(self._active_at + seconds)

    def has_read(self, complete: bool) -> None:
        """Handle a read.

        Args:
            complete: Whether it completed a message.
        """
        session = self._session
        limits = session.limits
        partial = session.framing.pending > 0
        if not partial:
            self._message_end = None
        elif limits.message_timeout is not None and (complete or self._message_end is None):
            self._message_end = self._clock() + limits.message_timeout
            self._schedule(self._message_end)
        if limits.idle_timeout is not None and (complete or partial):
            self._active_at = self._clock()

    def has_written(self, *, stalled: bool = False) -> None:
        """Handle a write.

        Args:
            stalled: Whether the connection did not accept all bytes.
        """
        limits = self._session.limits
        if limits.idle_timeout is not None:
            self._active_at = self._clock()
        if stalled and limits.write_timeout is not None:
            self._write_end = self._clock() + limits.write_timeout
            self._schedule(self._write_end)

    def has_resumed(self) -> None:
        """Handle that reading was resumed: the message timeout begins again."""
        self._resumed_at = self._clock()

    def has_ended(self) -> None:
        """Handle the end of the peer's stream: check from now on whether the peer has gone."""
        self._schedule(self._clock() + GONE_SECONDS)

    def _schedule(self, when: float) -> None:
        if self._scheduled is None or when < self._scheduled:
            self._scheduled = when
            self._loop.schedule(self._driver, when)

    def on_timer(self, now: float) -> None:
        """Close the connection if a limit is exceeded.

        Args:
            now: The time; all earlier events were handled.
        """
        self._scheduled = None
        reason, ends = self._check(now)
        if reason:
            self._driver.close(reason)
        elif ends:
            self._schedule(min(ends))

    def _check(self, now: float) -> tuple[str, list[float]]:
        """Return the reason to close, or the times of the next checks."""
        driver, session = self._driver, self._session
        limits = session.limits
        ends: list[float] = []
        if driver.at_end:
            if _has_gone(driver.connection):
                return "the peer has disconnected", ends
            ends.append(now + GONE_SECONDS)
        if driver.stalled and limits.write_timeout is not None:
            # Free space below the kernel's threshold is not reported, so try once more.
            if now >= self._write_end and driver.write_unsent() and now >= self._write_end:
                return "the peer reads too slowly", ends
            ends.append(self._write_end)
        if self._message_end is not None and limits.message_timeout is not None:
            end = max(self._message_end, self._resumed_at + limits.message_timeout)
            if not driver.reading:  # reading is paused: its timeout restarts afterwards
                end = now + limits.message_timeout
            if now >= end:
                return "no complete message in time", ends
            ends.append(end)
        elif limits.idle_timeout is not None and not driver.at_end:
            busy = not driver.idle or bool(session.subscriptions)
            end = (now if busy else self._active_at) + limits.idle_timeout
            if now >= end:
                return "idle for too long", ends
            ends.append(end)
        return "", ends


def _has_gone(connection: Connection) -> bool:
    with contextlib.suppress(OSError):
        return connection.has_gone()
    return True
