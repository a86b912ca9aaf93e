"""The time of the chain: the system's time and an offset. Imports no py-evm."""

from __future__ import annotations

import time
from collections.abc import Callable

from npipe.ethereum.errors import ChainError

__all__ = ["Clock"]

_END = 2**63  # timestamps stay below it, because many programs use a signed number


class Clock:
    """Returns the timestamp of each block, in whole seconds since 1970."""

    def __init__(self, system: Callable[[], float] = time.time) -> None:
        self._system = system
        self.offset: int = 0  # seconds from the system's clock
        self.wanted: int | None = None  # the timestamp that was set for the next block
        self.interval: int | None = None  # seconds between blocks, in place of the real time

    def now(self) -> int:
        """Return the time, without regard to the parent's."""
        return int(self._system()) + self.offset

    def next(self, parent: int) -> int:
        """Return the timestamp of a block; it is later than ``parent``, its parent's."""
        if self.wanted is not None:
            return self.wanted
        if self.interval is not None:
            return parent + self.interval
        return max(self.now(), parent + 1)

    @property
    def state(self) -> tuple[int, int | None, int | None]:
        """Return all settings: offset, wanted time, interval."""
        return self.offset, self.wanted, self.interval

    @state.setter
    def state(self, state: tuple[int, int | None, int | None]) -> None:
        self.offset, self.wanted, self.interval = state

    def reset(self) -> None:
        """Return to the system's time."""
        self.offset, self.wanted, self.interval = 0, None, None

    def set(self, timestamp: int) -> int:
        """Set the time; return the offset from the system's time, in seconds."""
        if not 0 <= timestamp < _END:
            raise ChainError(f"the time cannot be set to {timestamp} seconds since 1970")
        self.offset = timestamp - int(self._system())
        return self.offset

    def advance(self, seconds: int, parent: int) -> int:
        """Move the time forward by ``seconds``; return the offset from the system's time.

        The time moves from ``parent``, the timestamp of the last block, if that is ahead of the
        clock: after many blocks in one second, the next block is still later by all of ``seconds``.
        """
        ahead = max(0, parent - self.now()) if seconds else 0
        if not 0 <= self.now() + ahead + seconds < _END:
            raise ChainError(f"the time cannot be moved by {seconds} seconds")
        self.offset += ahead + seconds
        return self.offset

    def want(self, timestamp: int, parent: int) -> None:
        """Set the timestamp of the next block.

        Raises ChainError if it is not later than ``parent``.
        """
        if not parent < timestamp < _END:
            raise ChainError(f"timestamp {timestamp} is not later than the last block's ({parent})")
        self.wanted = timestamp

    def passed(self, timestamp: int) -> None:
        """Continue from the timestamp of a new block, if that was set by ``want``."""
        if self.wanted is not None:
            self.offset = timestamp - int(self._system())
            self.wanted = None
