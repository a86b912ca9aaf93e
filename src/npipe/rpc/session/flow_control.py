"""Back-pressure of one connection: the only place where it is decided and remembered.

Sans-I/O. Three things are remembered, and nothing outside this class writes them:

* ``blocked``: what was taken out of the send queue has not left;
* ``held``: a driver said that the transport, or the other side of a proxy, takes nothing more;
* ``deferred``: a call was not begun because of back-pressure, so somebody has to ask again.

How many bytes are queued is the send queue's to know. Together they make one of three states:

=========  ===============================================================================
OPEN       at most ``high_water`` bytes are queued, and neither ``blocked`` nor ``held``
HIGH       more than ``high_water`` bytes are queued, and neither ``blocked`` nor ``held``
BLOCKED    ``blocked`` or ``held``
=========  ===============================================================================

The transitions ("-": the state stays as it is):

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

``defer`` notes in HIGH and BLOCKED whether calls wait. The rule that loses no wake-up: a thread
that defers a call tries to write after that; a thread that has written looks at ``deferred`` after
that. One of the two sees that the call may begin.

A proxy's session (``forwards``) begins calls in HIGH too, and its own writes never block it: what
it is asked goes out on another connection.

Threads: any thread may report any event and ask any question. Each attribute is written in one
step, and each answer is a snapshot; ``write_begins`` and ``write_ends`` belong to the thread that
holds the driver's write lock.
"""

from __future__ import annotations

from typing import Protocol

__all__ = ["FlowControl"]


class Queue(Protocol):
    """What flow control has to know of a send queue."""

    @property
    def above_high_water(self) -> bool: ...


class FlowControl:
    """The back-pressure of one session. Drivers ask ``may_begin_call``, ``must_wait``, and the
    session's ``may_read``."""

    __slots__ = ("_queue", "blocked", "deferred", "forwards", "held")

    def __init__(self, queue: Queue) -> None:
        """Begin in OPEN.

        Args:
            queue: The send queue of the same session.
        """
        self._queue = queue
        self.blocked = False
        self.held = False
        self.deferred = False
        self.forwards = False

    # Questions

    @property
    def may_begin_call(self) -> bool:
        """True when the peer's next call may begin."""
        if self.blocked or self.held:
            return False
        return self.forwards or not self._queue.above_high_water

    @property
    def must_wait(self) -> bool:
        """True while a thread that wants to call the peer has to wait."""
        return self.blocked or self.held or self._queue.above_high_water

    # Events

    def write_begins(self) -> None:
        """Note that all that is queued is about to be taken and written."""
        if not self.forwards and self._queue.above_high_water:
            self.blocked = True

    def write_ends(self) -> None:
        """Note that everything that was taken has left, or was dropped."""
        self.blocked = False

    def hold(self, on: bool) -> None:
        """Note that the transport takes nothing more, or takes bytes again.

        Args:
            on: True to begin nothing from now on.
        """
        self.held = on

    def defer(self, waiting: bool) -> None:
        """Note whether back-pressure left calls waiting.

        Args:
            waiting: False: there were none.
        """
        self.deferred = waiting

    def resume(self) -> None:
        """Note that the caller will ask for the deferred calls again."""
        self.deferred = False

    def take_deferred(self) -> bool:
        """Return whether a deferred call may begin now; the caller then has to begin it."""
        if self.deferred and self.may_begin_call:
            self.deferred = False
            return True
        return False

    def forward(self) -> None:
        """Behave as the session of a proxy from now on."""
        self.forwards = True
