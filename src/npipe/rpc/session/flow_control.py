"""Back-pressure of one connection: the only place that decides it and stores its state.

Sans-I/O. The state consists of three flags, which only this class writes:

* ``blocked``: bytes taken from the send queue have not been written completely;
* ``held``: a driver reported that the transport, or the other side of a proxy, accepts no more;
* ``deferred``: a call was not begun because of back-pressure, so ``next_call`` must be repeated.

The send queue counts its bytes. Flags and count make one of three states:

=========  ===============================================================================
OPEN       at most ``high_water`` bytes are queued, and neither ``blocked`` nor ``held``
HIGH       more than ``high_water`` bytes are queued, and neither ``blocked`` nor ``held``
BLOCKED    ``blocked`` or ``held``
=========  ===============================================================================

The transitions ("-": the state does not change):

======================  ==================  ==================  ============================
event                   in OPEN             in HIGH             in BLOCKED
======================  ==================  ==================  ============================
a message is queued     HIGH above mark     -                   -
``write_begins()``      -                   BLOCKED             -
the queue is taken      -                   OPEN                -
``write_ends()``        -                   -                   OPEN or HIGH, unless held
``hold(True)``          BLOCKED             BLOCKED             -
``hold(False)``         -                   -                   OPEN or HIGH, unless blocked
======================  ==================  ==================  ============================

``defer`` records in HIGH and BLOCKED whether calls wait. No wake-up is lost, because a thread that
defers a call tries to write afterwards, and a thread that has written checks ``deferred``
afterwards: at least one of them finds that the call may begin.

The session of a proxy (``forwards``) begins calls in HIGH too, and its own writes never block it,
because its calls are sent on another connection.

Threads: any thread may report any event and read any property. Each attribute is written
atomically, and each property is a snapshot. ``write_begins`` and ``write_ends`` are called only by
the thread that holds the driver's write lock.
"""

from __future__ import annotations

from typing import Protocol

__all__ = ["FlowControl"]


class Queue(Protocol):
    """The attribute of a send queue that flow control reads."""

    @property
    def above_high_water(self) -> bool: ...


class FlowControl:
    """The back-pressure of one session.

    Drivers read ``may_begin_call`` and ``must_wait``, and the session's ``may_read``.
    """

    __slots__ = ("_queue", "blocked", "deferred", "forwards", "held")

    def __init__(self, queue: Queue) -> None:
        """Begin in the state OPEN.

        Args:
            queue: The send queue of the session.
        """
        self._queue = queue
        self.blocked: bool = False
        self.held: bool = False
        self.deferred: bool = False
        self.forwards: bool = False

    # Properties

    @property
    def may_begin_call(self) -> bool:
        """True when the next call of the peer may begin."""
        if self.blocked or self.held:
            return False
        return self.forwards or not self._queue.above_high_water

    @property
    def must_wait(self) -> bool:
        """True while a thread that calls the peer must wait."""
        return self.blocked or self.held or self._queue.above_high_water

    # Events

    def write_begins(self) -> None:
        """Record that all queued bytes are about to be taken and written."""
        if not self.forwards and self._queue.above_high_water:
            self.blocked = True

    def write_ends(self) -> None:
        """Record that all taken bytes have been written or dropped."""
        self.blocked = False

    def hold(self, on: bool) -> None:
        """Record that the transport accepts no more bytes, or accepts bytes again.

        Args:
            on: True to begin no calls from now on.
        """
        self.held = on

    def defer(self, waiting: bool) -> None:
        """Record whether calls wait because of back-pressure.

        Args:
            waiting: True if calls wait.
        """
        self.deferred = waiting

    def resume(self) -> None:
        """Record that the caller will ask for the deferred calls again."""
        self.deferred = False

    def take_deferred(self) -> bool:
        """Tell whether a deferred call may begin now; if so, the caller must begin it."""
        if self.deferred and self.may_begin_call:
            self.deferred = False
            return True
        return False

    def forward(self) -> None:
        """Behave as the session of a proxy from now on."""
        self.forwards = True
