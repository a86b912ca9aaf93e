"""The messages that have come on one connection, and wait for their turn.

Sans-I/O. While calls have to wait, ``look_ahead`` passes over them to what must not wait behind
them: cancellations, and replies that the running calls may need to end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from msgspec import UNSET

from npipe.rpc.wire.messages import InvalidMessage, Message, Parsed

__all__ = ["Parsed", "ReceiveQueue"]

PARSED_BYTES = 512  # that a message takes in memory, once parsed, beyond its parameters
EACH_BYTES = 64  # that a message put aside takes in memory beyond its text: it may be "{}"


class ReceiveQueue:
    """Two queues of messages. Any thread may add to them and take from them."""

    __slots__ = ("_later_bytes", "_most", "_parse", "given_up", "later", "new")

    def __init__(self, most: int, parse: Callable[[bytes], Parsed]) -> None:
        """Make empty queues.

        Args:
            most: Bytes of memory that may be passed over.
            parse: Reads a message.
        """
        self._parse = parse
        # Not looked at, or just parsed.
        self.new: deque[bytes | Message] = deque()
        # Passed over; they come before the new ones.
        self.later: deque[bytes | Message] = deque()
        self.given_up: set[bytes] = set()  # the ids of calls there that were cancelled
        self._later_bytes = 0
        self._most = most

    def look_ahead(self, take: Callable[[Parsed], object]) -> None:
        """Pass over calls; ``take`` what is none."""
        new, later = self.new, self.later
        if not later:
            self._later_bytes = 0
            self.given_up.clear()
        while new and self._later_bytes < self._most:
            try:
                data = new.popleft()
            except IndexError:  # another thread was quicker
                return
            message = self._parse(data) if isinstance(data, bytes) else data
            if _is_about_calls(message):
                take(message)
            else:
                later.append(data)
                self._later_bytes += _memory(data)

    def give_up(self, id: bytes) -> None:
        """Note that a call is no longer wanted, which may be one of those passed over."""
        if self.later:
            self.given_up.add(id)
            self._later_bytes += len(id) + EACH_BYTES

    def clear(self) -> None:
        """Drop everything."""
        self.new.clear()
        self.later.clear()


def _memory(data: bytes | Message) -> int:
    """Return how many bytes a message takes that is put aside."""
    if isinstance(data, bytes):
        return len(data) + EACH_BYTES
    return len(bytes(data.params)) + PARSED_BYTES


def _is_about_calls(message: Parsed) -> bool:
    """Say whether it is about calls that were made before, and makes none."""
    if isinstance(message, list):
        return bool(message) and all(isinstance(m, Message) and m.method is UNSET for m in message)
    if isinstance(message, InvalidMessage):
        return False
    if message.method is UNSET:
        return True
    own = message.method in ("$/cancelRequest", "$/progress")
    return not message.id and (own or str(message.method).endswith("_subscription"))
