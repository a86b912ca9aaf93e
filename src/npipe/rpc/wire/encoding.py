"""How values and envelopes are written as bytes: what a codec is, beside its framing. Sans-I/O.

``Encoding`` is the documented seam. A subclass says how one value is written and read; that is
enough, and the rest (JSON-RPC's envelopes as objects of that encoding) follows from it. JSON and
MessagePack override the rest to be quick: they leave ids, params and results as the bytes that
came until somebody wants their value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import msgspec
from msgspec import Raw

from npipe.errors import InvalidRequest, ParseError, ProtocolError, RPCError
from npipe.rpc.wire.messages import (
    ABSENT,
    BAD_DATA,
    InvalidMessage,
    Message,
    Parsed,
    Progress,
    Push,
    named_error,
)

__all__ = ["Encoding", "is_nothing", "reply_id"]


class Encoding:
    """How values are written. It holds no state: one object serves every connection.

    A subclass needs ``encode`` and ``decode``. Its messages are JSON-RPC's objects, each behind
    four bytes with its length, unless ``framing`` names another one.

    Attributes:
        framing: The framing that goes with it: a name that ``rpc.connect(codec=)`` knows, or a
            class as ``npipe.rpc.wire.framing.Framing`` describes it.
    """

    framing: ClassVar[Any] = "length-prefix"

    # A subclass says:

    def encode(self, value: Any) -> bytes:
        """Write one value.

        Raises:
            TypeError, ValueError, OverflowError: The value has no form in this encoding.
        """
        raise NotImplementedError

    def decode(self, data: bytes, type: Any = Any) -> Any:
        """Read one value, which takes up all of ``data``, as ``type``.

        ``msgspec.convert`` turns what a library decodes into a type, and
        ``msgspec.to_builtins`` the other way round.

        Raises:
            ValueError, msgspec.DecodeError: ``data`` is not of this encoding, or not of this type.
        """
        raise NotImplementedError

    # What follows from it: values

    def decoder(self, type: Any) -> Callable[[bytes], Any]:
        """Return a function that reads a value of one type."""
        return lambda data: self.decode(data, type)

    def array(self, items: Sequence[bytes]) -> bytes:
        """Write an array of values that are written already."""
        return self.encode([self.decode(item) for item in items])

    def object(self, members: Mapping[str, bytes]) -> bytes:
        """Write an object of values that are written already."""
        return self.encode({name: self.decode(value) for name, value in members.items()})

    def items(self, data: bytes) -> list[Raw]:
        """Split an array. Raises as ``decode`` does."""
        return [Raw(self.encode(item)) for item in self.decode(data, list[Any])]

    def members(self, data: bytes) -> dict[str, Raw]:
        """Split an object. Raises as ``decode`` does."""
        values = self.decode(data, dict[str, Any])
        return {name: Raw(self.encode(value)) for name, value in values.items()}

    def kind(self, data: bytes) -> str:
        """Return "array", "object", "null" or "other"; of nothing at all, "null"."""
        if not data:
            return "null"
        value = self.decode(data)
        if isinstance(value, list | tuple):
            return "array"
        return "object" if isinstance(value, Mapping) else "null" if value is None else "other"

    def check_depth(self, data: bytes, most: int) -> None:
        """Raise ProtocolError for a message that nests deeper than ``most``."""
        try:
            level = [self.decode(data)]
        except RecursionError:
            raise ProtocolError(f"a message nests deeper than {most}") from None
        except BAD_DATA:
            return  # ``parse`` says so
        for _ in range(most + 1):
            level = [item for value in level for item in _inside(value)]
            if not level:
                return
        raise ProtocolError(f"a message nests deeper than {most}")

    # Envelopes, from bytes

    def parse(self, data: bytes) -> Parsed:
        """Read one complete message: a single one, or a batch as a list."""
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
            # A reply, whatever else is wrong with it. An error of null beside a result is none.
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

    def read_push(self, params: bytes) -> Push:
        """Read the params of a ``<namespace>_subscription``. Raises as ``decode`` does."""
        members = self.members(params)
        end = self.decode(members["end"], bool) if "end" in members else False
        result, error = members.get("result", ABSENT), members.get("error", ABSENT)
        return Push(_member(members, "subscription"), result, error, end)

    def read_progress(self, params: bytes) -> Progress:
        """Read the params of a ``$/progress``. Raises as ``decode`` does."""
        members = self.members(params)
        token = reply_id(self.decode(_member(members, "token")))
        return Progress(token, members.get("value", ABSENT))

    def read_cancelled(self, params: bytes) -> bytes:
        """Return the id that a ``$/cancelRequest`` names. Raises as ``decode`` does."""
        return bytes(_member(self.members(params), "id"))

    def read_error(self, data: bytes) -> RPCError | ProtocolError:
        """Read the error object of a reply; for one that is none, return a ProtocolError."""
        try:
            members = self.members(data)
            code = self.decode(_member(members, "code"), int)
            message = self.decode(members["message"], str) if "message" in members else ""
            extra = self.decode(members["data"]) if "data" in members else None
        except BAD_DATA as error:
            return ProtocolError(f"the error object of a reply is not one: {error}")
        return named_error(code, message, extra)

    # Envelopes, to bytes. Of a request the id is the decimal digits of a number of our own; of a
    # reply, what the request had there. Empty: there is none.

    def request(
        self, method: str, params: bytes = b"", id: bytes = b"", members: bytes = b""
    ) -> bytes:
        """Write a call; without an id a notification; without params it has none. Only JSON
        writes ``members``, which carry a trace."""
        parts = {"jsonrpc": self.encode("2.0")}
        if id:
            parts["id"] = self.encode(int(id))
        parts["method"] = self.encode(method)
        if params:
            parts["params"] = params
        return self.object(parts)

    def cancel(self, id: bytes) -> bytes:
        """Write the ``$/cancelRequest`` of a call of our own."""
        return self.request("$/cancelRequest", self.object({"id": self.encode(int(id))}))

    def progress(self, id: bytes, value: bytes) -> bytes:
        """Write a ``$/progress`` for a call that is served."""
        return self.request("$/progress", self.object({"token": id, "value": value}))

    def reply(self, id: bytes, result: Any) -> bytes:
        """Write the reply to a call, with a result that is not written yet."""
        return self.result_reply(id, self.encode(result))

    def result_reply(self, id: bytes, result: bytes) -> bytes:
        """Write the reply to a call that succeeded."""
        return self.object({"jsonrpc": self.encode("2.0"), "id": id, "result": result})

    def error_reply(self, id: bytes, error: RPCError) -> bytes:
        """Write the reply to a call that failed. Without an id: to what could not be read."""
        members = {"jsonrpc": self.encode("2.0"), "id": id or self.encode(None)}
        return self.object(members | {"error": self.error_object(error)})

    def error_object(self, error: RPCError) -> bytes:
        """Write ``{"code", "message", "data"}``. Data that cannot be written is left out."""
        # A lone surrogate is no text in any encoding.
        message = error.message.encode(errors="replace").decode()
        body: dict[str, Any] = {"code": error.code, "message": message}
        if error.data is not None:
            try:
                return self.encode({**body, "data": error.data})
            except Exception:  # whatever an object's encoding raises
                pass
        return self.encode(body)

    def requests(self, entries: Sequence[tuple[int, str, Any]]) -> bytes:
        """Write a batch of calls: (number, method, params). Params of nothing are left out."""
        return self.batch(
            [
                self.request(
                    method, b"" if is_nothing(params) else self.encode(params), b"%d" % number
                )
                for number, method, params in entries
            ]
        )

    def batch(self, messages: Sequence[bytes]) -> bytes:
        """Write the messages of a batch as one."""
        return self.array(messages)

    def pusher(self, method: str, id: str) -> Callable[[str, bytes], bytes]:
        """Return ``push(member, value)``, which writes the pushes of one subscription."""
        subscription = self.encode(id)
        return lambda member, value: self.request(
            method, self.object({"subscription": subscription, member: value})
        )


def _inside(value: Any) -> Sequence[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    return value if isinstance(value, list | tuple) else ()


def _member(members: Mapping[str, Raw], name: str) -> Raw:
    if name not in members:
        raise msgspec.ValidationError(f"the member {name} is missing")
    return members[name]


def is_nothing(params: Any) -> bool:
    """Say whether there are no params: an empty sequence. An empty mapping is one."""
    return type(params) is not Raw and not params and not isinstance(params, Mapping)


def reply_id(id: Any) -> Raw:
    """Write the id of a reply as JSON: so the calls that wait are listed, in any encoding."""
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
