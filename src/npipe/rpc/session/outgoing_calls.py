"""Outgoing calls of one connection: ids, matching of replies, batches, notifications, progress.

Sans-I/O. One half of a ``Session``; the other half serves calls. Nothing here waits: a call takes a
callback, and the driver converts that to a wait of a thread or a task.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Raw

from npipe.errors import ConnectionLost, ProtocolError
from npipe.rpc.session.atomic import Numbers, pop_item, snapshot, take_all
from npipe.rpc.session.pending_calls import (
    OnBatch,
    OnReply,
    Outcome,
    Pending,
    PendingBatch,
    PendingCall,
)
from npipe.rpc.session.subscribers import OnPush, Subscribers
from npipe.rpc.wire.encoding import Encoding, is_nothing
from npipe.rpc.wire.envelopes import (
    ABSENT,
    MalformedReply,
    Message,
    UndecodableReply,
)
from npipe.rpc.wire.json_encoding import JSON
from npipe.rpc.wire.json_text import encode_members, request

__all__ = ["Entry", "Members", "OutgoingCalls"]

Entry = tuple[str, Sequence[Any] | Mapping[str, Any] | Raw]
"""One call of a batch: the method and its parameters, by position or by name, or as JSON."""

Members = Callable[[], Mapping[str, str]]
"""Returns further members of a request, such as the context of a trace."""


class OutgoingCalls:
    """The calls and subscriptions that this end has made."""

    def __init__(self, send: Callable[[bytes], object], encoding: Encoding) -> None:
        """Make an empty table.

        Args:
            send: Queues a message.
            encoding: The encoding of the connection.
        """
        self._encoding = encoding
        self._request = request if isinstance(encoding, JSON) else encoding.request
        self.unmatched: int = (
            0  # replies and notifications without a call: late, repeated or invalid
        )
        self.members: Members | None = None  # called in the thread or task that makes the call
        self._send = send
        self._ids = Numbers()
        self._pending: dict[bytes, Pending] = {}
        # Batches without a reply to a single call, by the ids of their first calls. Their calls
        # are not in ``_pending``: a batch is in exactly one of the two tables.
        self.batches: dict[int, PendingBatch] = {}
        self.unsent: list[Pending] = []  # queued, but not taken yet
        self.subscribers: Subscribers = Subscribers()  # of this end
        self._ended = ""  # the reason that no more replies will arrive
        self.violation: ProtocolError | None = None  # the peer's framing error, if that is it

    def __len__(self) -> int:
        """The number of calls without a reply; a batch counts as one until it is split."""
        return len(self._pending) + len(self.batches)

    @property
    def awaiting(self) -> bool:
        """True while the peer has replies or subscription notifications to send."""
        return bool(self._pending or self.batches or self.subscribers.receivers)

    @property
    def subscribed(self) -> bool:
        """True while the peer may send subscription notifications."""
        return bool(self.subscribers.receivers)

    def call(
        self,
        method: str,
        params: bytes,
        on_reply: OnReply,
        on_progress: Callable[[Raw], object] | None = None,
        *,
        members: bytes = b"",
    ) -> Pending:
        """Queue a call.

        Args:
            method: The name of the method.
            params: The encoded params; empty: none.
            on_reply: Called exactly once with the outcome, unless the call is cancelled.
            on_progress: Called with the encoded value of each ``$/progress``.
            members: Further encoded members of the request; see ``encode_members``.

        Raises:
            ConnectionLost: The connection has ended.
        """
        id = b"%d" % self._ids.take()
        call = PendingCall(id, on_reply, on_progress)
        self._expect(call)
        if self.members is not None:
            members += encode_members(self.members())
        self._send(self._request(method, params, id, members))
        return call

    def notify(self, method: str, params: bytes, *, members: bytes = b"") -> None:
        """Queue a notification."""
        if self.members is not None:
            members += encode_members(self.members())
        self._send(self._request(method, params, b"", members))

    def batch(self, entries: Sequence[Entry], on_reply: OnBatch) -> Pending:
        """Queue a batch of at least one call.

        Args:
            entries: The calls.
            on_reply: Called once with all outcomes, in the order of the calls.

        Raises:
            ValueError, TypeError: Parameters have no form in the encoding, or an entry is not a
                pair.
            ConnectionLost: The connection has ended.
        """
        numbers = self._ids.take_many(len(entries))
        try:
            text = self._traced_batch(entries, numbers) or self._encoding.requests(
                [
                    (number, method, params)
                    for number, (method, params) in zip(numbers, entries, strict=True)
                ]
            )
        except (TypeError, ValueError):
            _check_pairs(entries)
            raise
        batch = PendingBatch(numbers, on_reply)
        if self._ended:
            raise ConnectionLost(self._ended, maybe_executed=False)
        self.batches[numbers[0]] = batch
        self.unsent.append(batch)
        if self._ended:  # by another thread, which may not have seen this batch
            self.fail_all(self._ended)
        self._send(text)
        return batch

    def _traced_batch(self, entries: Sequence[Entry], numbers: Sequence[int]) -> bytes:
        """Encode a batch whose requests all have the further members; empty if there are none."""
        members = b"" if self.members is None else encode_members(self.members())
        if not members:
            return b""
        texts = (
            self._request(
                method,
                b"" if is_nothing(params) else self._encoding.encode(params),
                b"%d" % number,
                members,
            )
            for number, (method, params) in zip(numbers, entries, strict=True)
        )
        return self._encoding.batch(list(texts))

    def subscribe(
        self,
        namespace: str,
        params: bytes,
        on_push: OnPush,
        on_reply: OnReply,
    ) -> Pending:
        """Queue a ``<namespace>_subscribe`` call.

        The subscription is registered when the reply is processed, so no notification is missed.
        """

        def subscribed(outcome: Outcome) -> None:
            if not isinstance(outcome, Exception):
                self.subscribers.add(bytes(outcome), on_push)
            on_reply(outcome)

        return self.call(f"{namespace}_subscribe", params, subscribed)

    def cancel(self, pending: Pending) -> None:
        """Cancel a call: notify the peer and drop a late reply."""
        if type(pending) is PendingBatch:
            pending.cancelled = True  # set first: the thread that splits the batch checks it later
            self._split(pending)
        for id in pending.ids:
            if self._pending.pop(id, None) is not None:
                self._send(self._encoding.cancel(id))

    def taken(self) -> list[Pending]:
        """Mark all queued calls as sent and return them.

        Called by the session's ``take``. The driver resets ``sent`` if the write failed before its
        first byte.
        """
        unsent = take_all(self.unsent)
        for pending in unsent:
            pending.sent = True
        return unsent

    def fail_all(self, reason: str) -> None:
        """End every call with ConnectionLost, now and in future; no more replies will arrive.

        Calls in flight during a framing error of the peer end with that ``violation`` instead.
        """
        self._ended = self._ended or reason
        self.subscribers.end(self.violation or ConnectionLost(self._ended, maybe_executed=True))
        for batch in snapshot(self.batches.values()):
            self._split(batch)
        while (item := pop_item(self._pending)) is not None:
            id, pending = item
            lost = ConnectionLost(reason, maybe_executed=pending.sent)
            pending.settle(id, self.violation or lost)

    def settle_whole(self, data: bytes) -> bool:
        """Process a reply to a batch if every call succeeded and all replies are in order.

        Args:
            data: A message.

        Returns:
            False if it is another message; nothing was done.
        """
        replies = self._encoding.parse_results(data)
        if replies is None:
            return False
        batch = self.batches.get(replies[0].id) if replies else None
        if batch is None or [reply.id for reply in replies] != batch.numbers:
            return False
        if self.batches.pop(replies[0].id, None) is not batch:  # cancelled meanwhile
            return False
        batch.settle_all([reply.result for reply in replies])
        return True

    def _split(self, batch: PendingBatch) -> None:
        """Register each call of a batch under its own id, if that was not done before."""
        if self.batches.pop(batch.numbers[0], None) is not batch:
            return
        self._pending.update(dict.fromkeys(batch.ids, batch))
        # Another thread may have searched ``_pending`` just before the calls were added.
        if self._ended:
            self.fail_all(self._ended)
        elif batch.cancelled:
            self.cancel(batch)

    def _find(self, id: bytes) -> Pending | None:
        """Return the call that a reply with this id answers. A batch is split first."""
        pending = self._pending.get(id)
        if pending is None and self.batches:
            for batch in snapshot(self.batches.values()):
                if id in batch:
                    self._split(batch)
                    return batch
        return pending

    def settle(self, reply: Message) -> None:
        """Process a reply."""
        id = bytes(reply.id)
        if self.batches:
            self._find(id)
        pending = self._pending.pop(id, None)
        if pending is None:
            self._settle_stray(reply)
        else:
            pending.settle(id, _outcome(reply, self._encoding))

    def settle_batch(self, replies: list[Message]) -> None:
        """Process a reply to a batch; calls without a reply in it fail."""
        for reply in replies:
            self._find(bytes(reply.id))
        if self._settle_in_order(replies):
            return
        groups: dict[int, PendingBatch] = {}
        for reply in replies:
            pending = self._pending.get(bytes(reply.id))
            if type(pending) is PendingBatch:
                groups[id(pending)] = pending
            self.settle(reply)
        for group in groups.values():
            self._settle_all(group, ProtocolError("the reply to the batch lacks this call"))

    def _settle_in_order(self, replies: list[Message]) -> bool:
        """Process a reply that answers a whole batch in order, all at once.

        Return False, and do nothing, if the reply does not answer the batch in order.
        """
        ids = [bytes(reply.id) for reply in replies]
        group = self._pending.get(ids[0])
        if type(group) is not PendingBatch or list(group.ids) != ids:
            return False
        taken = {id for id in ids if self._pending.pop(id, None) is group}
        outcomes = [
            reply.result
            if reply.error is ABSENT and type(reply) is Message
            else _outcome(reply, self._encoding)
            for reply in replies
        ]
        if len(taken) == len(ids):
            group.settle_all(outcomes)
            return True
        for id, outcome in zip(ids, outcomes, strict=True):  # some were cancelled or answered
            if id in taken:
                group.settle(id, outcome)
            else:
                self.unmatched += 1
        return True

    def take_progress(self, params: Raw) -> None:
        """Process a ``$/progress`` notification. Raises one of ``BAD_DATA``."""
        progress = self._encoding.read_progress(params)
        token = bytes(progress.token)
        pending = self._pending.get(token)
        if pending is not None and pending.on_progress is not None:
            pending.on_progress(progress.value)
        elif pending is None and not any(
            token in batch for batch in snapshot(self.batches.values())
        ):
            self.unmatched += 1

    def _expect(self, pending: Pending) -> None:
        if self._ended:
            raise ConnectionLost(self._ended, maybe_executed=False)
        self._pending.update(dict.fromkeys(pending.ids, pending))
        self.unsent.append(pending)
        if self._ended:  # by another thread, which may not have seen this call
            self.fail_all(self._ended)

    def _settle_all(self, pending: Pending, outcome: Outcome) -> None:
        """End the calls of ``pending`` that have no outcome yet."""
        if type(pending) is PendingBatch:
            self._split(pending)
        for id in pending.ids:
            if self._pending.pop(id, None) is not None:
                pending.settle(id, outcome)

    def _settle_stray(self, reply: Message) -> None:
        """Process a reply without a call.

        An error with the id null answers a message that the peer could not parse (JSON-RPC 2.0,
        section 5). If only one call or batch is pending, it is the answer to that.
        """
        self.unmatched += 1
        waiting: list[Pending] = [*self._pending.values(), *self.batches.values()]
        if bytes(reply.id) not in (b"", self._encoding.null) or not reply.error or not waiting:
            return
        if all(pending is waiting[0] for pending in waiting):
            self._settle_all(waiting[0], _outcome(reply, self._encoding))


def _outcome(reply: Message, encoding: Encoding) -> Outcome:
    if type(reply) is MalformedReply:
        return UndecodableReply(reply)
    # JSON-RPC 1.0 has an error member of null beside the result.
    if reply.error and bytes(reply.error) != encoding.null:
        if reply.result and bytes(reply.result) != encoding.null:
            return ProtocolError("a reply with both a result and an error")
        return encoding.read_error(reply.error)
    return reply.result or ProtocolError("a reply with neither a result nor an error")


def _check_pairs(entries: Sequence[object]) -> None:
    """Raise TypeError if an entry of a batch is not a pair."""
    for entry in entries:
        if not isinstance(entry, tuple | list) or len(entry) != 2:
            raise TypeError(f"an entry of a batch is (method, params), not {entry!r}") from None
