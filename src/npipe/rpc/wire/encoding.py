"""Encodings: values and JSON-RPC envelopes as bytes. Sans-I/O.

``Encoding`` is the extension point. A subclass defines how one value is encoded and decoded; the
other methods derive JSON-RPC's envelopes, as objects of that encoding, from these two. JSON and
MessagePack override more methods for speed: they keep ids, params and results as received bytes
until their values are needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import msgspec
from msgspec import Raw

from npipe.errors import InvalidRequest, ParseError, ProtocolError, RPCError
from npipe.rpc.wire.envelopes import (
    ABSENT,
    BAD_DATA,
    InvalidMessage,
    Message,
    Parsed,
    Progress,
    Push,
    ResultReply,
    named_error,
)
from npipe.rpc.wire.values import ValueEncoding

__all__ = ["Encoding", "is_nothing", "reply_id"]


class Encoding(ValueEncoding):
    """Encoding of values and messages. Stateless: one object serves every connection.

    A subclass defines ``encode`` and ``decode``. Its messages are JSON-RPC objects, each preceded
    by its length in four bytes, unless ``framing`` names another framing.

    Attributes:
        framing: The default framing: a name that ``rpc.connect(codec=)`` takes, or a class as
            described by ``npipe.rpc.wire.framing.Framing``.
    """

    framing: ClassVar[Any] = "length-prefix"

    # Envelopes, from bytes

    def parse(self, data: bytes) -> Parsed:
        """Parse one complete message: a request, a reply, or a batch (JSON-RPC 2.0, section 6).

        Args:
            data: The encoded message.

        Returns:
            The message, or a list for a batch. An ``InvalidMessage`` replaces each part that is
            not valid (JSON-RPC 2.0, section 5.1: -32700 and -32600).
        """
        try:
            value = self.decode(data)
        except BAD_DATA as error:
            return InvalidMessage(ParseError(f"parse error: {error}"), b"")
        if not isinstance(value, list):
            return self._envelope(value)
        return [
            InvalidMessage(InvalidRequest("a batch in a batch"), b"")
            if isinstance(item, list)
            else self._envelope(item)
            for item in value
        ]

    def _envelope(self, value: Any) -> Message | InvalidMessage:
        if not isinstance(value, Mapping):
            return InvalidMessage(InvalidRequest("not an object"), b"")
        id = value.get("id", ABSENT)
        is_id = id is None or (isinstance(id, str | int | float) and not isinstance(id, bool))
        if "method" not in value and ("result" in value or "error" in value):
            # A reply, even if it is invalid. An error member of null beside a result is ignored.
            error = value.get("error")
            member, part = ("result", value.get("result")) if error is None else ("error", error)
            own_id = reply_id(id) if is_id else ABSENT
            raw = Raw(self.encode(part))
            if member == "result":
                return Message("2.0", own_id, result=raw)
            return Message("2.0", own_id, error=raw)
        raw_id = Raw(self.encode(id)) if is_id else ABSENT
        wrong = _what_is_wrong(value, is_id=is_id or id is ABSENT)
        if wrong:
            return InvalidMessage(InvalidRequest(wrong), bytes(raw_id))
        params = Raw(self.encode(value["params"])) if "params" in value else ABSENT
        return Message("2.0", raw_id, value["method"], params)

    def parse_results(self, data: bytes) -> list[ResultReply] | None:
        """Parse a batch of replies in one go, if every call succeeded.

        Args:
            data: The encoded message.

        Returns:
            The replies. None if it is another message, or this encoding has no quick way: then
            ``parse`` is called.
        """
        return None

    def read_push(self, params: bytes) -> Push:
        """Decode the params of a ``<namespace>_subscription`` notification. Raises as ``decode``.

        Args:
            params: The encoded params.

        Returns:
            The id of the subscription with an item, an error or the end.
        """
        members = self.members(params)
        end = self.decode(members["end"], bool) if "end" in members else False
        result, error = members.get("result", ABSENT), members.get("error", ABSENT)
        return Push(_member(members, "subscription"), result, error, end)

    def read_progress(self, params: bytes) -> Progress:
        """Decode the params of a ``$/progress`` notification (LSP). Raises as ``decode``.

        Args:
            params: The encoded params.

        Returns:
            The token, which is the id of a call, and the encoded value.
        """
        members = self.members(params)
        token = reply_id(self.decode(_member(members, "token")))
        return Progress(token, members.get("value", ABSENT))

    def read_cancelled(self, params: bytes) -> bytes:
        """Decode the params of a ``$/cancelRequest`` notification (LSP). Raises as ``decode``.

        Args:
            params: The encoded params.

        Returns:
            The encoded id of the call to cancel.
        """
        return bytes(_member(self.members(params), "id"))

    def read_error(self, data: bytes) -> RPCError | ProtocolError:
        """Decode the error object of a reply (JSON-RPC 2.0, section 5.1).

        Args:
            data: The encoded error object.

        Returns:
            The error; a ProtocolError if ``data`` is not an error object.
        """
        try:
            members = self.members(data)
            code = self.decode(_member(members, "code"), int)
            message = self.decode(members["message"], str) if "message" in members else ""
            extra = self.decode(members["data"]) if "data" in members else None
        except BAD_DATA as error:
            return ProtocolError(f"a reply has an invalid error object: {error}")
        return named_error(code, message, extra)

    # Envelopes, to bytes. The id of a request is a number in decimal digits; the id of a reply is
    # the encoded id of the request. Empty: no id.

    def request(
        self, method: str, params: bytes = b"", id: bytes = b"", members: bytes = b""
    ) -> bytes:
        """Encode a request object (JSON-RPC 2.0, section 4).

        Args:
            method: The name of the method.
            params: The encoded params; empty: no ``params`` member.
            id: The id of an outgoing call, in decimal digits; empty: a notification.
            members: Further encoded members, such as ``traceparent``. Only JSON encodes them.

        Returns:
            The encoded request.
        """
        parts = {"jsonrpc": self.encode("2.0")}
        if id:
            parts["id"] = self.encode(int(id))
        parts["method"] = self.encode(method)
        if params:
            parts["params"] = params
        return self.object(parts)

    def cancel(self, id: bytes) -> bytes:
        """Encode a ``$/cancelRequest`` notification (LSP) for an outgoing call.

        Args:
            id: The id of the call, in decimal digits.

        Returns:
            The encoded notification.
        """
        return self.request("$/cancelRequest", self.object({"id": self.encode(int(id))}))

    def progress(self, id: bytes, value: bytes) -> bytes:
        """Encode a ``$/progress`` notification (LSP) for a served call.

        Args:
            id: The encoded id of the call, used as the token.
            value: The encoded value.

        Returns:
            The encoded notification.
        """
        return self.request("$/progress", self.object({"token": id, "value": value}))

    def reply(self, id: bytes, result: Any) -> bytes:
        """Encode the reply to a call that succeeded.

        Args:
            id: The encoded id of the call.
            result: The result, not encoded yet.

        Returns:
            The encoded reply.
        """
        return self.result_reply(id, self.encode(result))

    def result_reply(self, id: bytes, result: bytes) -> bytes:
        """Encode the reply to a call that succeeded, from an encoded result.

        Args:
            id: The encoded id of the call.
            result: The encoded result.

        Returns:
            The encoded reply.
        """
        return self.object({"jsonrpc": self.encode("2.0"), "id": id, "result": result})

    def error_reply(self, id: bytes, error: RPCError) -> bytes:
        """Encode the reply to a call that failed.

        Args:
            id: The encoded id of the call; empty: null, for a message that could not be parsed
                (JSON-RPC 2.0, section 5).
            error: The error.

        Returns:
            The encoded reply.
        """
        return self.raw_error_reply(id or self.null, self.error_object(error))

    def raw_error_reply(self, id: bytes, error: bytes) -> bytes:
        """Encode the reply to a call that failed, from an encoded error object.

        Args:
            id: The encoded id of the call.
            error: The encoded error object.

        Returns:
            The encoded reply.
        """
        return self.object({"jsonrpc": self.encode("2.0"), "id": id, "error": error})

    def error_object(self, error: RPCError) -> bytes:
        """Encode an error object: ``code``, ``message`` and ``data`` (JSON-RPC 2.0, section 5.1).

        Args:
            error: The error. Its data is omitted if it cannot be encoded.

        Returns:
            The encoded error object.
        """
        # A lone surrogate cannot be encoded in UTF-8.
        message = error.message.encode(errors="replace").decode()
        body: dict[str, Any] = {"code": error.code, "message": message}
        if error.data is not None:
            try:
                return self.encode({**body, "data": error.data})
            except Exception:  # a user's encoding may raise any exception
                pass
        return self.encode(body)

    def requests(self, entries: Sequence[tuple[int, str, Any]]) -> bytes:
        """Encode a batch of calls (JSON-RPC 2.0, section 6).

        Args:
            entries: The id, the method and the params of each call. Empty params are omitted.

        Returns:
            The encoded batch.
        """
        return self.batch(
            [
                self.request(
                    method, b"" if is_nothing(params) else self.encode(params), b"%d" % number
                )
                for number, method, params in entries
            ]
        )

    def batch(self, messages: Sequence[bytes]) -> bytes:
        """Join encoded messages to a batch.

        Args:
            messages: The encoded messages.

        Returns:
            The encoded batch.
        """
        return self.array(messages)

    def pusher(self, method: str, id: str) -> Callable[[str, bytes], bytes]:
        """Make an encoder for the notifications of one subscription.

        Args:
            method: The method of the notifications, such as "eth_subscription".
            id: The id of the subscription.

        Returns:
            A function of a member name ("result", "error" or "end") and its encoded value, which
            returns the encoded notification.
        """
        subscription = self.encode(id)
        return lambda member, value: self.request(
            method, self.object({"subscription": subscription, member: value})
        )


def _member(members: Mapping[str, Raw], name: str) -> Raw:
    if name not in members:
        raise msgspec.ValidationError(f"the member {name} is missing")
    return members[name]


def is_nothing(params: Any) -> bool:
    """Tell whether params are absent: an empty sequence. An empty mapping counts as present."""
    if type(params) is tuple or type(params) is list:  # without the 150 ns that an ABC takes
        return not params
    return type(params) is not Raw and not params and not isinstance(params, Mapping)


def reply_id(id: Any) -> Raw:
    """Encode the id of a reply as JSON, the key of the pending calls in every encoding."""
    return Raw(msgspec.json.encode(id))


def _what_is_wrong(value: Mapping[str, Any], *, is_id: bool) -> str:
    if not is_id:
        return "the id must be a string, a number or null"
    if value.get("jsonrpc") != "2.0":
        return 'jsonrpc must be "2.0"'
    if "method" not in value:
        return "the method is missing"
    if not isinstance(value["method"], str):
        return "the method must be a string"
    if "result" in value or "error" in value:
        return "a message cannot be both a request and a reply"
    return ""
