"""Read token of a client's connection: selects the reading thread and wakes the follower.

A thread that calls becomes the leader if no other thread reads; it reads its own reply. The
follower, a thread of the driver, reads otherwise. The states:

| state     | reads    | the follower                                   |
|-----------|----------|------------------------------------------------|
| RESTING   | none     | sleeps for ``GRACE`` seconds                   |
| LED       | a caller | sleeps for ``GRACE`` seconds                   |
| PARKED    | a caller | sleeps until the leader releases the turn      |
| FOLLOWING | follower | reads, or is about to                          |
| CLOSED    | none     | ends                                           |

| event                      | from            | to                                            |
|----------------------------|-----------------|-----------------------------------------------|
| ``lead``                   | RESTING         | LED                                           |
| ``release``                | LED, PARKED     | FOLLOWING if a reader is needed, else RESTING |
| ``GRACE`` without a call   | RESTING         | FOLLOWING                                     |
| ``GRACE`` with one call    | LED             | PARKED                                        |
| ``keep_following``         | FOLLOWING       | RESTING if no reader is needed                |
| ``close``                  | any             | CLOSED                                        |

One lock guards all of it, also the question whether a reader is needed. A call is registered as
pending before its thread asks to lead. So either that thread leads, or the thread that reads finds
the call when it stops reading: every reply is read.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable

from npipe.rpc.threads.waiter import notify_all

__all__ = ["GRACE", "ReadTurn", "TurnState"]

GRACE = 0.01  # seconds; messages without a call wait at most twice as long


class TurnState(enum.Enum):
    """State of a ``ReadTurn``."""

    RESTING = enum.auto()
    LED = enum.auto()
    PARKED = enum.auto()
    FOLLOWING = enum.auto()
    CLOSED = enum.auto()


RESTING, LED, PARKED, FOLLOWING, CLOSED = TurnState


class ReadTurn:
    """Lets one thread at a time read a connection.

    Attributes:
        state: The state. Only the methods change it, holding the lock.
    """

    def __init__(self, needed: Callable[[], bool]) -> None:
        """Make a turn that no thread has.

        Args:
            needed: Tells whether a thread should be reading now. It is called with the lock held.
        """
        self.state: TurnState = RESTING
        self._needed = needed
        self._lock = threading.RLock()  # a signal handler may call ``close`` at any line
        self._closed = False
        self._changed = threading.Condition(self._lock)  # only the follower waits for it
        self._leader: object = None
        self._thread = 0  # of the leader
        self._turns = 0  # number of times that a caller became the leader

    def lead(self, leader: object) -> bool:
        """Take the turn for a caller; return False if another thread reads, or none may."""
        with self._lock:
            if self.state is not RESTING:
                return False
            self._leader, self._thread = leader, threading.get_ident()
            self.state = LED
            self._turns += 1
            return not self._stay_closed()

    def leads(self, leader: object) -> bool:
        """Tell whether a caller has the turn, or is about to get it or to give it back."""
        return self._leader is leader

    def release(self, leader: object) -> None:
        """Give the turn back, to the follower if a reader is needed.

        It does nothing if ``leader`` does not have the turn, and may be repeated after an
        exception (Ctrl-C) at any line of it: ``_leader`` changes last.
        """
        if self._leader is not leader:
            return
        with self._lock:
            if self._leader is not leader:  # the turn was given back, and another thread leads
                return
            if self.state in (LED, PARKED):
                needed = self._needed()
                if needed or self.state is PARKED:
                    self._changed.notify()  # the follower runs when the lock is free
                self.state = FOLLOWING if needed else RESTING
                self._stay_closed()
            self._leader = None

    @property
    def is_led_here(self) -> bool:
        """Whether this thread is the leader: a signal handler runs during its call."""
        return self._leader is not None and self._thread == threading.get_ident()

    def follow(self) -> bool:
        """Wait until the follower has to read. Return False after ``close``.

        While it is parked, a call that takes long costs no processor time.
        """
        with self._lock:
            seen = self._turns
            while self.state not in (FOLLOWING, CLOSED):
                woken = self._changed.wait(None if self.state is PARKED else GRACE)
                seen = self._after_sleep(woken, seen)
            return self.state is FOLLOWING

    def _after_sleep(self, woken: bool, seen: int) -> int:
        """Change the state after ``GRACE`` in which no caller began to lead."""
        if not woken and seen == self._turns:
            if self.state is RESTING:
                self.state = FOLLOWING
            elif self.state is LED:
                self.state = PARKED
        return self._turns

    def keep_following(self) -> bool:
        """Tell the follower, after a read, whether to read on; it has the turn then."""
        with self._lock:
            if self.state is FOLLOWING and not self._needed():
                self.state = RESTING
            return self.state is FOLLOWING

    def close(self) -> None:
        """End the follower. No thread gets the turn any more."""
        with self._lock:
            self._closed = True
            self.state = CLOSED
            notify_all(self._changed)

    def _stay_closed(self) -> bool:
        """Restore CLOSED if a signal handler has closed in the middle of a change of the state."""
        if self._closed:
            self.state = CLOSED
        return self._closed
