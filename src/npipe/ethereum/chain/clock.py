"""The chain's time: the system's, moved by what was asked for. Imports no py-evm."""

from __future__ import annotations

import time
from collections.abc import Callable

from npipe.ethereum.errors import ChainError

__all__ = ["Clock"]

_END = 2**63  # timestamps stay below it: many a reader keeps them in a signed number


class Clock:
    """Tells each block its time. Whole seconds since 1970."""

    def __init__(self, system: Callable[[], float] = time.time) -> None:
        self._system = system
        self.offset: int = 0  # seconds from the system's clock
        self.wanted: int | None = None  # the time that the next block was given
        self.interval: int | None = None  # from each block to the next, whatever time it is

    def now(self) -> int:
        """The time, if a block were not bound to its parent's."""
        return int(self._system()) + self.offset

    def next(self, parent: int) -> int:
        """The time of a block whose parent has the time ``parent``: later than that."""
        if self.wanted is not None:
            return self.wanted
        if self.interval is not None:
            return parent + self.interval
        return max(self.now(), parent + 1)

    @property
    def state(self) -> tuple[int, int | None, int | None]:
        """All that can be set: offset, wanted time, interval."""
        return self.offset, self.wanted, self.interval

    @state.setter
    def state(self, state: tuple[int, int | None, int | None]) -> None:
        self.offset, self.wanted, self.interval = state

    def reset(self) -> None:
        """Be the system's clock again."""
        self.offset, self.wanted, self.interval = 0, None, None

    def set(self, timestamp: int) -> int:
        """Let it be this time now; returns the distance from the system's clock."""
        if not 0 <= timestamp < _END:
            raise ChainError(f"the time cannot be {timestamp}")
        self.offset = timestamp - int(self._system())
        return self.offset

    def advance(self, seconds: int, parent: int) -> int:
        """Move on by so many seconds; returns the whole distance from the system's clock.

        Seen from the last block, whose time is ``parent``: where many blocks came in a second that
        is ahead of the clock, and the next one must be later by all that was asked for.
        """
        ahead = max(0, parent - self.now()) if seconds else 0
        if not 0 <= self.now() + ahead + seconds < _END:
            raise ChainError(f"the time cannot be moved by {seconds} seconds")
        self.offset += ahead + seconds
        return self.offset

    def want(self, timestamp: int, parent: int) -> None:
        """Give the next block this time. Raises ChainError for one not later than ``parent``."""
        if not parent < timestamp < _END:
            raise ChainError(f"timestamp {timestamp} is not later than the last block's ({parent})")
        self.wanted = timestamp

    def passed(self, timestamp: int) -> None:
        """A block has been given this time: if it was asked for, go on from there."""
        if self.wanted is not None:
            self.offset = timestamp - int(self._system())
            self.wanted = None
