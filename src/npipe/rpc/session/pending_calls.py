"""Pending calls: a single call or a batch that has no reply yet.

Sans-I/O. ``OutgoingCalls`` registers each under all of its ids, and settles each id once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Raw

from npipe.rpc.session.atomic import Numbers

__all__ = ["OnBatch", "OnReply", "Outcome", "Pending", "PendingBatch", "PendingCall"]

Outcome = Raw | Exception
"""The encoded result of a call, or an RPCError, ProtocolError or ConnectionLost."""
OnReply = Callable[[Outcome], object]
OnBatch = Callable[[list[Outcome]], object]


class Pending(Protocol):
    """A call or batch without a reply. ``sent``: some of its bytes may have been written."""

    @property
    def ids(self) -> Sequence[bytes]: ...

    on_progress: Callable[[Raw], object] | None
    sent: bool

    def settle(self, id: bytes, outcome: Outcome) -> None: ...


class PendingCall:
    """A single call without a reply."""

    __slots__ = ("_on_reply", "ids", "on_progress", "sent")

    def __init__(
        self, id: bytes, on_reply: OnReply, on_progress: Callable[[Raw], object] | None = None
    ) -> None:
        self.ids: Sequence[bytes] = (id,)
        self.on_progress: Callable[[Raw], object] | None = on_progress
        self.sent: bool = False
        self._on_reply = on_reply

    def settle(self, id: bytes, outcome: Outcome) -> None:
        """Pass the outcome of the call to its callback."""
        self._on_reply(outcome)


class PendingBatch:
    """The calls of a batch. ``on_reply`` receives all outcomes in order, after the last one."""

    __slots__ = (
        "_count",
        "_ids",
        "_on_reply",
        "_outcomes",
        "cancelled",
        "numbers",
        "on_progress",
        "sent",
    )

    def __init__(self, numbers: list[int], on_reply: OnBatch) -> None:
        """Make a pending batch.

        Args:
            numbers: The ids of the calls, in ascending order.
            on_reply: Called once with all outcomes.
        """
        self.numbers: list[int] = numbers
        self.cancelled: bool = False
        self._ids: list[bytes] = []
        self.on_progress: Callable[[Raw], object] | None = None
        self.sent: bool = False
        self._on_reply = on_reply
        self._outcomes: dict[bytes, Outcome] = {}
        self._count = Numbers()  # of outcomes

    @property
    def ids(self) -> Sequence[bytes]:
        """The ids as JSON, made on demand."""
        if not self._ids:
            self._ids = [b"%d" % number for number in self.numbers]
        return self._ids

    def __contains__(self, id: bytes) -> bool:
        """Tell whether a reply with this id answers one of the calls."""
        first, last = self.numbers[0], self.numbers[-1]
        return len(id) <= 20 and id.isdigit() and first <= int(id) <= last and id in self.ids

    def settle(self, id: bytes, outcome: Outcome) -> None:
        """Store the outcome of one of the calls."""
        self._outcomes[id] = outcome
        if self._count.take() == len(self.ids):
            self._on_reply([self._outcomes[id] for id in self.ids])

    def settle_all(self, outcomes: list[Outcome]) -> None:
        """Pass the outcomes of all calls, in order, to the callback. Replaces ``settle``."""
        self._on_reply(outcomes)
