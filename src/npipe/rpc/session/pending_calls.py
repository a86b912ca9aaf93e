"""Calls that wait for a reply: a single call, or the calls of one batch.

Sans-I/O. ``OutgoingCalls`` holds each under every one of its ids, and resolves each id once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Protocol

from msgspec import Raw

__all__ = ["OnBatch", "OnReply", "Outcome", "Pending", "PendingBatch", "PendingCall"]

Outcome = Raw | Exception
"""How a call ended: the result's JSON, RPCError, ProtocolError or ConnectionLost."""
OnReply = Callable[[Outcome], object]
OnBatch = Callable[[list[Outcome]], object]


class Pending(Protocol):
    """``sent``: some of its bytes may have left."""

    ids: Sequence[bytes]
    on_progress: Callable[[Raw], object] | None
    sent: bool

    def settle(self, id: bytes, outcome: Outcome) -> None: ...


class PendingCall:
    """A call without an answer yet."""

    __slots__ = ("_on_reply", "ids", "on_progress", "sent")

    def __init__(
        self, id: bytes, on_reply: OnReply, on_progress: Callable[[Raw], object] | None = None
    ) -> None:
        self.ids: Sequence[bytes] = (id,)
        self.on_progress = on_progress
        self.sent = False
        self._on_reply = on_reply

    def settle(self, id: bytes, outcome: Outcome) -> None:
        """Take how the call ended."""
        self._on_reply(outcome)


class PendingBatch:
    """The calls of a batch. ``on_reply`` gets all outcomes in order, once the last one is in."""

    __slots__ = ("_count", "_on_reply", "_outcomes", "ids", "on_progress", "sent")

    def __init__(self, ids: list[bytes], on_reply: OnBatch) -> None:
        self.ids: Sequence[bytes] = ids
        self.on_progress: Callable[[Raw], object] | None = None
        self.sent = False
        self._on_reply = on_reply
        self._outcomes: dict[bytes, Outcome] = {}
        self._count = count(1)  # next() is one step for every thread

    def settle(self, id: bytes, outcome: Outcome) -> None:
        """Take how one of the calls ended."""
        self._outcomes[id] = outcome
        if next(self._count) == len(self.ids):
            self._on_reply([self._outcomes[id] for id in self.ids])

    def settle_all(self, outcomes: list[Outcome]) -> None:
        """Take how all of the calls ended, in their order. In place of ``settle``, not beside."""
        self._on_reply(outcomes)
