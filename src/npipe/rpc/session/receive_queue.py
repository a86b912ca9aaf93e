"""Receive queue: the messages of one connection that have not been processed.

Sans-I/O. While calls must wait, ``look_ahead`` moves them aside and processes the messages behind
them that must not wait: cancellations, and replies that running calls may need to end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from msgspec import UNSET

from npipe.rpc.session.atomic import pop_first
from npipe.rpc.wire.envelopes import InvalidMessage, Message, Parsed

__all__ = ["Parsed", "ReceiveQueue"]

PARSED_BYTES = 512  # memory of a parsed message, without its params
EACH_BYTES = 64  # memory of an unparsed message, without its text: it may be as short as "{}"


class ReceiveQueue:
    """Two queues of messages, new ones and those moved aside. Used by any thread."""

    __slots__ = ("_later_bytes", "_most", "_parse", "cancelled", "later", "new")

    def __init__(self, most: int, parse: Callable[[bytes], Parsed]) -> None:
        """Make empty queues.

        Args:
            most: The largest number of bytes of memory for messages moved aside.
            parse: Parses a message.
        """
        self._parse = parse
        # Not processed yet; some are parsed.
        self.new: deque[bytes | Message] = deque()
        # Moved aside; they precede the new ones.
        self.later: deque[bytes | Message] = deque()
        self.cancelled: set[bytes] = set()  # ids of calls in ``later`` that were cancelled
        self._later_bytes = 0
        self._most = most

    def look_ahead(self, take: Callable[[Parsed], object]) -> None:
        """Move calls aside and pass the other messages to ``take``."""
        new, later = self.new, self.later
        if not later:
            self._later_bytes = 0
            self.cancelled.clear()
        while new and self._later_bytes < self._most:
            data = pop_first(new)
            if data is None:  # another thread took the last message
                return
            message = self._parse(data) if isinstance(data, bytes) else data
            if _is_about_calls(message):
                take(message)
            else:
                later.append(data)
                self._later_bytes += _memory(data)

    def cancel_later(self, id: bytes) -> None:
        """Record that the call with this id was cancelled; it may be one of those moved aside."""
        if self.later:
            self.cancelled.add(id)
            self._later_bytes += len(id) + EACH_BYTES

    def clear(self) -> None:
        """Drop all messages."""
        self.new.clear()
        self.later.clear()


def _memory(data: bytes | Message) -> int:
    """Return the number of bytes of memory that a message moved aside takes."""
    if isinstance(data, bytes):
        return len(data) + EACH_BYTES
    return len(bytes(data.params)) + PARSED_BYTES


def _is_about_calls(message: Parsed) -> bool:
    """Tell whether a message refers to earlier calls only, and makes no call."""
    if isinstance(message, list):
        return bool(message) and all(isinstance(m, Message) and m.method is UNSET for m in message)
    if isinstance(message, InvalidMessage):
        return False
    if message.method is UNSET:
        return True
    own = message.method in ("$/cancelRequest", "$/progress")
    return not message.id and (own or str(message.method).endswith("_subscription"))
