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

    @property
    def ids(self) -> Sequence[bytes]: ...

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

    __slots__ = (
        "_count",
        "_ids",
        "_on_reply",
        "_outcomes",
        "given_up",
        "numbers",
        "on_progress",
        "sent",
    )

    def __init__(self, numbers: list[int], on_reply: OnBatch) -> None:
        """``numbers`` are the ids of the calls, in ascending order."""
        self.numbers = numbers
        self.given_up = False
        self._ids: list[bytes] = []
        self.on_progress: Callable[[Raw], object] | None = None
        self.sent = False
        self._on_reply = on_reply
        self._outcomes: dict[bytes, Outcome] = {}
        self._count = count(1)  # next() is one step for every thread

    @property
    def ids(self) -> Sequence[bytes]:
        """The ids as JSON. Mostly nothing asks for them."""
        if not self._ids:
            self._ids = [b"%d" % number for number in self.numbers]
        return self._ids

    def __contains__(self, id: bytes) -> bool:
        """Return whether a reply with this id answers one of the calls."""
        first, last = self.numbers[0], self.numbers[-1]
        return len(id) <= 20 and id.isdigit() and first <= int(id) <= last and id in self.ids

    def settle(self, id: bytes, outcome: Outcome) -> None:
        """Take how one of the calls ended."""
        self._outcomes[id] = outcome
        if next(self._count) == len(self.ids):
            self._on_reply([self._outcomes[id] for id in self.ids])

    def settle_all(self, outcomes: list[Outcome]) -> None:
        """Take how all of the calls ended, in their order. In place of ``settle``, not beside."""
        self._on_reply(outcomes)
