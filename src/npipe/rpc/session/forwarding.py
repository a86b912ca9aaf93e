"""Passing on what one session receives to another: the way of a message through a proxy.

Sans-I/O. Only envelopes are looked at: params and results stay the bytes that came. Each side
numbers its own calls, so ids are translated, also where one message names another's id.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw

from npipe.errors import ConnectionLost, RPCError
from npipe.rpc.service.dispatcher import LIMIT_EXCEEDED
from npipe.rpc.session.pending_calls import Outcome, Pending
from npipe.rpc.session.served_calls import ServedBatch
from npipe.rpc.session.session import Session
from npipe.rpc.wire.messages import (
    BAD_JSON,
    Message,
    UndecodableReply,
    error_reply,
    request,
    result_reply,
    trace_members,
)

__all__ = ["Relay", "decode_cancel", "forwarded_reply", "join_sessions"]


class _Cancel(msgspec.Struct, gc=False):
    id: Raw


decode_cancel = msgspec.json.Decoder(_Cancel).decode


def join_sessions(one: Session, other: Session) -> None:
    """Have each pass on to the other the calls and notifications that it receives."""
    one.become_proxy()
    other.become_proxy()
    one.forward = Relay(one, other)
    other.forward = Relay(other, one)


class Relay:
    """One direction: sends over ``target`` what ``source`` receives."""

    def __init__(self, source: Session, target: Session) -> None:
        self._source = source
        self._target = target
        self._pending: dict[bytes, Pending] = {}  # calls of the source, by their ids there
        source.forwarded_calls = self._pending

    def __call__(self, message: Message, id: bytes, batch: tuple[ServedBatch, int] | None) -> None:
        """Pass a message on. Raises RPCError where it cannot be."""
        method = str(message.method)
        if id:
            self._pass_call(message, id, batch)
            return
        try:
            if method == "$/cancelRequest":
                self._cancel(bytes(decode_cancel(message.params).id))
            elif method == "$/progress":  # about a call that we made in the other's name
                self._source.outgoing_calls.take_progress(message.params)
            else:
                self._target.outgoing_calls.notify(
                    method, bytes(message.params), members=trace_members(message)
                )
        except BAD_JSON:
            self._source.outgoing_calls.unmatched += 1
        self._source.deliver(id, batch, b"")

    def _pass_call(
        self, message: Message, id: bytes, batch: tuple[ServedBatch, int] | None
    ) -> None:
        if len(self._pending) >= self._source.limits.calls:
            most = self._source.limits.calls
            raise RPCError(f"more than {most} calls in flight", code=LIMIT_EXCEEDED)

        def on_reply(outcome: Outcome) -> None:
            self._pending.pop(id, None)
            self._source.deliver(id, batch, forwarded_reply(id, outcome))

        def on_progress(value: Raw) -> None:
            text = b'{"token":%b,"value":%b}' % (id, bytes(value) or b"null")
            self._source.send(request("$/progress", text))

        try:
            self._pending[id] = self._target.outgoing_calls.call(
                str(message.method),
                bytes(message.params),
                on_reply,
                on_progress,
                members=trace_members(message),
            )
        except ConnectionLost as error:  # the other side has just ended; this one follows
            self._source.deliver(id, batch, forwarded_reply(id, error))

    def _cancel(self, id: bytes) -> None:
        """Pass it on with the id there; the answer that it brings is passed back as any other."""
        pending = self._pending.get(id)
        if pending is not None:
            self._target.outgoing_calls.notify("$/cancelRequest", b'{"id":%b}' % pending.ids[0])


def forwarded_reply(id: bytes, outcome: Outcome) -> bytes:
    """Make the reply to a call that was passed on."""
    if not isinstance(outcome, Exception):
        return result_reply(id, bytes(outcome))
    if isinstance(outcome, UndecodableReply):  # the bytes that came: its reader may know them
        if outcome.error and outcome.error != b"null":
            return b'{"jsonrpc":"2.0","id":%b,"error":%b}' % (id, outcome.error)
        return result_reply(id, outcome.result or b"null")
    if isinstance(outcome, ConnectionLost):
        data = {"maybe_executed": outcome.maybe_executed}
        outcome = RPCError(f"upstream: {outcome}", data=data)
    elif not isinstance(outcome, RPCError):  # no JSON-RPC
        outcome = RPCError(f"upstream: {outcome}")
    return error_reply(id, outcome)
