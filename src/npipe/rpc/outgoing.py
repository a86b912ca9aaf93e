"""The calls that this end makes: ids, replies matched to them, batches, pushes, progress.

Sans-I/O. One half of a ``Session``, the other being the calls that it serves. Nothing here waits:
whoever makes a call hands in a callback, and a shell turns that into a thread's or a task's wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count

import msgspec
from msgspec import Raw

from npipe.errors import ConnectionLost, ProtocolError
from npipe.rpc.messages import ABSENT, Message, read_error, request
from npipe.rpc.subscriptions import Push

__all__ = ["Outcome", "Outgoing", "Pending"]

Outcome = Raw | Exception
"""How a call ended: the result's JSON, RPCError, ProtocolError or ConnectionLost."""
OnReply = Callable[[Outcome], object]
OnPush = Callable[[Push | ConnectionLost], object]


class _Progress(msgspec.Struct, gc=False):
    token: Raw
    value: Raw = ABSENT


_decode_progress = msgspec.json.Decoder(_Progress).decode
_decode_push = msgspec.json.Decoder(Push).decode


class Pending:
    """A call without an answer yet. ``sent``: some of its bytes may have left."""

    __slots__ = ("group", "id", "on_progress", "on_reply", "sent")

    def __init__(
        self, id: bytes, on_reply: OnReply, on_progress: Callable[[Raw], object] | None = None
    ) -> None:
        self.id = id
        self.on_reply = on_reply
        self.on_progress = on_progress
        self.group: list[Pending] | None = None  # all calls of its batch
        self.sent = False


class Outgoing:
    """What this end asked of the other."""

    def __init__(self, send: Callable[[bytes], object]) -> None:
        self.strays = 0  # replies and pushes to nothing: late, doubled or made up
        self._send = send
        self._ids = count(1)  # next() is one step for every thread
        self._pending: dict[bytes, Pending] = {}
        self._unsent: list[Pending] = []
        self._subscribers: dict[bytes, OnPush] = {}
        self._ended = ""  # why there will be no more replies

    def __len__(self) -> int:
        """How many calls wait for an answer."""
        return len(self._pending)

    @property
    def subscribed(self) -> bool:
        """True while the other end may push at any time."""
        return bool(self._subscribers)

    def call(
        self,
        method: str,
        params: bytes,
        on_reply: OnReply,
        on_progress: Callable[[Raw], object] | None = None,
    ) -> Pending:
        """Queue a call. ``on_reply(outcome)`` is called exactly once, unless it is cancelled."""
        pending = self._expect(on_reply, on_progress)
        self._send(request(method, params, pending.id))
        return pending

    def notify(self, method: str, params: bytes) -> None:
        """Queue a notification."""
        self._send(request(method, params))

    def batch(self, entries: Iterable[tuple[str, bytes, OnReply | None]]) -> list[Pending]:
        """Queue a batch of ``(method, params, on_reply)``; without on_reply: a notification."""
        group: list[Pending] = []
        parts: list[bytes] = []
        for method, params, on_reply in entries:
            if on_reply is None:
                parts.append(request(method, params))
                continue
            pending = self._expect(on_reply, None)
            pending.group = group
            group.append(pending)
            parts.append(request(method, params, pending.id))
        if not parts:
            raise ValueError("an empty batch")
        self._send(b"[" + b",".join(parts) + b"]")
        return group

    def subscribe(
        self,
        namespace: str,
        params: bytes,
        on_push: OnPush,
        on_reply: OnReply,
    ) -> Pending:
        """Queue a ``<namespace>_subscribe``. No push is missed: the reply is looked at first."""

        def subscribed(outcome: Outcome) -> None:
            if not isinstance(outcome, Exception):
                self._subscribers[bytes(outcome)] = on_push
                if self._ended:  # just now, by another thread
                    self._end_subscriptions()
            on_reply(outcome)

        return self.call(f"{namespace}_subscribe", params, subscribed)

    def forget_subscription(self, id: bytes) -> None:
        """Drop what is still pushed for a subscription. ``id`` is JSON."""
        self._subscribers.pop(id, None)

    def cancel(self, pending: Pending) -> None:
        """Give a call up: tell the other end, drop its reply should it still come."""
        if self._pending.pop(pending.id, None) is not None:
            self._send(request("$/cancelRequest", b'{"id":' + pending.id + b"}"))

    def taken(self) -> list[Pending]:
        """Mark all queued calls as sent and return them. The session's ``take`` does so; where
        the write then wrote not one byte, the shell sets ``sent`` back."""
        unsent = self._unsent[:]
        del self._unsent[: len(unsent)]
        for pending in unsent:
            pending.sent = True
        return unsent

    def fail_all(self, reason: str) -> None:
        """No more replies will come: end every call in ConnectionLost, now and from now on."""
        self._ended = self._ended or reason
        self._end_subscriptions()
        while self._pending:
            try:
                _, pending = self._pending.popitem()
            except KeyError:  # another thread was quicker
                return
            pending.on_reply(ConnectionLost(reason, maybe_executed=pending.sent))

    def _end_subscriptions(self) -> None:
        while self._subscribers:
            try:
                _, on_push = self._subscribers.popitem()
            except KeyError:
                return
            on_push(ConnectionLost(self._ended, maybe_executed=True))

    def settle(self, reply: Message) -> None:
        """Take a reply."""
        pending = self._pending.pop(bytes(reply.id), None)
        if pending is None:
            self._settle_stray(reply)
        else:
            pending.on_reply(_outcome(reply))

    def settle_batch(self, replies: list[Message]) -> None:
        """Take the reply to a batch; what it lacks will not come any more."""
        found = (self._pending.get(bytes(reply.id)) for reply in replies)
        groups = {id(p.group): p.group for p in found if p is not None and p.group is not None}
        for reply in replies:
            self.settle(reply)
        for pending in (p for group in groups.values() for p in group):
            if self._pending.pop(pending.id, None) is not None:
                pending.on_reply(ProtocolError("the reply to the batch lacks this call"))

    def take_push(self, params: Raw) -> None:
        """Take a ``<namespace>_subscription``. Raises what msgspec raises on bad params."""
        push = _decode_push(params)
        key = bytes(push.subscription)
        on_push = self._subscribers.get(key)
        if push.error or push.end:
            self._subscribers.pop(key, None)
        if on_push is None:
            self.strays += 1
        else:
            on_push(push)

    def take_progress(self, params: Raw) -> None:
        """Take a ``$/progress``. Raises what msgspec raises on bad params."""
        progress = _decode_progress(params)
        pending = self._pending.get(bytes(progress.token))
        if pending is None:
            self.strays += 1
        elif pending.on_progress is not None:
            pending.on_progress(progress.value)

    def _expect(self, on_reply: OnReply, on_progress: Callable[[Raw], object] | None) -> Pending:
        if self._ended:
            raise ConnectionLost(self._ended, maybe_executed=False)
        pending = Pending(b"%d" % next(self._ids), on_reply, on_progress)
        self._pending[pending.id] = pending
        self._unsent.append(pending)
        if self._ended:  # just now, by another thread, which may have missed this one
            self.fail_all(self._ended)
        return pending

    def _settle_stray(self, reply: Message) -> None:
        """A reply to nothing. An error without an id answers what could not be read: where only
        one thing waits, it is meant for that."""
        self.strays += 1
        waiting = list(self._pending.values())
        if bytes(reply.id) not in (b"", b"null") or not reply.error or not waiting:
            return
        group = waiting[0].group
        if len(waiting) == 1 or (group and all(p.group is group for p in waiting)):
            for pending in waiting:
                if self._pending.pop(pending.id, None) is not None:
                    pending.on_reply(_outcome(reply))


def _outcome(reply: Message) -> Outcome:
    # An error of null beside a result is how JSON-RPC 1.0 spells success.
    if reply.error and bytes(reply.error) != b"null":
        if reply.result and bytes(reply.result) != b"null":
            return ProtocolError("a reply with both a result and an error")
        try:
            return read_error(reply.error)
        except ProtocolError as error:
            return error
    return reply.result or ProtocolError("a reply with neither a result nor an error")
