"""MessagePack-RPC: calls, replies and notifications as arrays. Sans-I/O.

A call is ``[0, id, method, params]``, its reply ``[1, id, error, result]``, a notification
``[2, method, params]``. Specification:
https://github.com/msgpack-rpc/msgpack-rpc/blob/master/spec.md. Its params are arrays only; the
objects that this library sends as params (of ``$/cancelRequest``, ``$/progress`` and subscription
notifications) are the single item of an array. The specification does not define errors: here an
error is ``[code, message]`` or ``[code, message, data]``, and Neovim's ``[type, message]`` is
decoded in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Raw

from npipe.errors import InvalidRequest, ParseError, ProtocolError, RPCError
from npipe.rpc.wire.encoding import reply_id
from npipe.rpc.wire.envelopes import ABSENT, BAD_DATA, InvalidMessage, Message, Parsed, named_error
from npipe.rpc.wire.msgpack import MessagePack
from npipe.rpc.wire.msgpack_stream import MessagePackStream

__all__ = ["MessagePackRPC"]

CALL, REPLY, NOTIFICATION = b"\x00", b"\x01", b"\x02"
NIL = b"\xc0"
NO_PARAMS = b"\x90"


class MessagePackRPC(MessagePack):
    """MessagePack-RPC as used by Neovim. It has no batches: their calls are sent one by one."""

    framing = MessagePackStream

    def parse(self, data: bytes) -> Parsed:
        try:
            match [bytes(item) for item in self.items(data)]:
                case [kind, id, method, params] if kind == CALL:
                    return self._request(Raw(id), method, params)
                case [kind, method, params] if kind == NOTIFICATION:
                    return self._request(ABSENT, method, params)
                case [kind, id, error, result] if kind == REPLY:
                    own_id = reply_id(self.decode(id))
                    if error != NIL:
                        return Message("2.0", own_id, error=Raw(error))
                    return Message("2.0", own_id, result=Raw(result))
        except BAD_DATA as error:
            return InvalidMessage(ParseError(f"parse error: {error}"), b"")
        return InvalidMessage(InvalidRequest("no message of MessagePack-RPC"), b"")

    def _request(self, id: Raw, method: bytes, params: bytes) -> Parsed:
        name = self.decode(method)
        if isinstance(name, bytes):  # pynvim sends some names as bytes
            name = name.decode()
        if not isinstance(name, str):
            return InvalidMessage(InvalidRequest("the method must be a string"), bytes(id))
        if id is ABSENT and (name[:2] == "$/" or name.endswith("_subscription")):
            items = self.items(params)
            if len(items) == 1:
                params = bytes(items[0])
        if id is not ABSENT and self.kind(bytes(id)) in ("array", "object"):
            return InvalidMessage(InvalidRequest("the id must be a number"), b"")
        return Message("2.0", id, name, Raw(params))

    def read_error(self, data: bytes) -> RPCError | ProtocolError:
        """Decode an error. A value other than ``[code, message]`` becomes the message."""
        try:
            value = self.decode(data)
        except BAD_DATA as error:
            return ProtocolError(f"a reply has an invalid error: {error}")
        match value:
            case [int(code), str(message), *rest]:
                return named_error(code, message, rest[0] if rest else None)
            case {"code": int(code), "message": str(message)}:
                return named_error(code, message, value.get("data"))
        return RPCError(value if isinstance(value, str) else repr(value), data=value)

    def request(
        self, method: str, params: bytes = b"", id: bytes = b"", members: bytes = b""
    ) -> bytes:
        params = params or NO_PARAMS
        if self.kind(params) != "array":
            if id:
                raise ValueError("MessagePack-RPC has parameters by position only")
            params = self.array([params])
        if id:
            return b"\x94" + CALL + self.encode(int(id)) + self.encode(method) + params
        return b"\x93" + NOTIFICATION + self.encode(method) + params

    def result_reply(self, id: bytes, result: bytes) -> bytes:
        return b"\x94" + REPLY + id + NIL + result

    def error_reply(self, id: bytes, error: RPCError) -> bytes:
        return self.raw_error_reply(id or NIL, self.error_object(error))

    def raw_error_reply(self, id: bytes, error: bytes) -> bytes:
        parts = self.array([bytes(value) for value in self.members(error).values()])
        return b"\x94" + REPLY + id + parts + NIL

    def batch(self, messages: Sequence[bytes]) -> bytes:
        return b"".join(messages)
