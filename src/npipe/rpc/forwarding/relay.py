"""Forwarding of messages from one session to another: the core of a proxy.

Sans-I/O. Only envelopes are decoded: params and results stay encoded. Each side assigns its own
ids, so ids are translated, also those in ``$/cancelRequest`` and ``$/progress``.
"""

from __future__ import annotations

from msgspec import Raw

from npipe.errors import ConnectionLost, InvalidParams, RPCError
from npipe.rpc.service.dispatcher import LIMIT_EXCEEDED
from npipe.rpc.session.pending_calls import Outcome, Pending
from npipe.rpc.session.served_calls import BatchItem
from npipe.rpc.session.session import Session
from npipe.rpc.wire.encoding import Encoding
from npipe.rpc.wire.envelopes import BAD_DATA, Message, UndecodableReply
from npipe.rpc.wire.json_text import trace_members

__all__ = ["Relay", "forwarded_reply", "join_sessions", "transcode"]


def join_sessions(one: Session, other: Session) -> None:
    """Forward the calls and notifications of each session to the other."""
    Relay(one, other).start()
    Relay(other, one).start()


class Relay:
    """One direction: sends the messages of ``source`` on ``target``."""

    def __init__(self, source: Session, target: Session) -> None:
        self._source = source
        self._target = target
        self._pending: dict[bytes, Pending] = {}  # calls of the source, by the source's ids

    def start(self) -> None:
        """Receive the calls and notifications of the source from now on."""
        self._source.become_proxy(self, self._pending)

    def __call__(self, message: Message, id: bytes, batch: BatchItem | None) -> None:
        """Forward a message. Raises RPCError if it cannot be forwarded."""
        method = str(message.method)
        if id:
            self._pass_call(message, id, batch)
            return
        try:
            if method == "$/cancelRequest":
                self._cancel(self._source.encoding.read_cancelled(message.params))
            elif method == "$/progress":  # of a call forwarded to this side
                self._source.outgoing_calls.take_progress(message.params)
            else:
                self._target.outgoing_calls.notify(
                    method, self._params(message), members=trace_members(message)
                )
        except BAD_DATA:
            self._source.outgoing_calls.unmatched += 1
        self._source.deliver(id, batch, b"")

    def _pass_call(self, message: Message, id: bytes, batch: BatchItem | None) -> None:
        if len(self._pending) >= self._source.limits.calls:
            most = self._source.limits.calls
            raise RPCError(f"more than {most} calls in flight", code=LIMIT_EXCEEDED)

        def on_reply(outcome: Outcome) -> None:
            self._pending.pop(id, None)
            reply = forwarded_reply(id, outcome, self._target.encoding, self._source.encoding)
            self._source.deliver(id, batch, reply)

        def on_progress(value: Raw) -> None:
            encoding = self._source.encoding
            upstream = self._target.encoding
            text = transcode(value, upstream, encoding) if value else encoding.encode(None)
            self._source.send(encoding.progress(id, text))

        params = self._params(message)
        try:
            self._pending[id] = self._target.outgoing_calls.call(
                str(message.method), params, on_reply, on_progress, members=trace_members(message)
            )
        except ConnectionLost as error:  # the other side has ended; this one will follow
            on_reply(error)

    def _params(self, message: Message) -> bytes:
        """Return the params in the encoding of the other side. Raises RPCError."""
        if not message.params:
            return b""
        try:
            return transcode(message.params, self._source.encoding, self._target.encoding)
        except Exception as error:  # an encoding may raise any exception for unsupported values
            raise InvalidParams(f"the params cannot be passed on: {error}") from None

    def _cancel(self, id: bytes) -> None:
        """Forward a cancellation with the id of the other side.

        The reply to the cancelled call is forwarded as any other.
        """
        pending = self._pending.get(id)
        if pending is not None:
            self._target.send(self._target.encoding.cancel(pending.ids[0]))


def transcode(data: bytes, source: Encoding, target: Encoding) -> bytes:
    """Convert a value to another encoding; unchanged if both encodings are the same."""
    if type(source) is type(target):
        return bytes(data)
    return target.encode(source.decode(data))


def forwarded_reply(id: bytes, outcome: Outcome, upstream: Encoding, client: Encoding) -> bytes:
    """Make the reply to a forwarded call.

    Args:
        id: The id of the call, encoded by the client.
        outcome: The outcome of the upstream call.
        upstream: The encoding of the server.
        client: The encoding of the client.
    """
    if isinstance(outcome, UndecodableReply) and type(upstream) is type(client):
        # Forward the received bytes: the client may be able to decode them.
        if outcome.error and outcome.error != client.null:
            return client.raw_error_reply(id, outcome.error)
        return client.result_reply(id, outcome.result or client.null)
    if not isinstance(outcome, Exception):
        try:
            return client.result_reply(id, transcode(outcome, upstream, client))
        except Exception as error:  # an encoding may raise any exception for unsupported values
            outcome = RPCError(f"upstream: the result cannot be passed on: {error}")
    if isinstance(outcome, ConnectionLost):
        data = {"maybe_executed": outcome.maybe_executed}
        outcome = RPCError(f"upstream: {outcome}", data=data)
    elif not isinstance(outcome, RPCError):  # no JSON-RPC
        outcome = RPCError(f"upstream: {outcome}")
    return client.error_reply(id, outcome)
