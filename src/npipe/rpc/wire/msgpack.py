"""MessagePack encoding: JSON-RPC objects as maps, compatible with StreamJsonRpc. Sans-I/O.

Bytes and extension types (``msgspec.msgpack.Ext``) are preserved, a string that is not UTF-8 is
decoded as bytes, and NaN can be encoded. Ids, params and results stay the received bytes until
their values are needed, as with JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Raw

from npipe.rpc.wire.encoding import Encoding, reply_id
from npipe.rpc.wire.envelopes import ABSENT, BAD_DATA, InvalidMessage, Message, Parsed, Push
from npipe.rpc.wire.msgpack_stream import check_depth, with_bytes

__all__ = ["MessagePack"]

_decode = msgspec.msgpack.decode
_encode = msgspec.msgpack.Encoder().encode
_decode_message = msgspec.msgpack.Decoder(Message).decode
_decode_messages = msgspec.msgpack.Decoder(list[Message]).decode
_decode_items = msgspec.msgpack.Decoder(list[Raw]).decode
_decode_members = msgspec.msgpack.Decoder(dict[str, Raw]).decode
_decode_push = msgspec.msgpack.Decoder(Push).decode
_VERSION = _encode("2.0")
_ID_FIRST_BYTES = frozenset(
    (
        0xC0,
        *range(0x80),
        *range(0xA0, 0xC0),
        *range(0xCA, 0xD4),
        0xD9,
        0xDA,
        0xDB,
        *range(0xE0, 0x100),
    )
)  # null, numbers, strings
NIL = b"\xc0"


class MessagePack(Encoding):
    """JSON-RPC objects as maps, in the framing of ``LengthHeaderMessageHandler``."""

    def encode(self, value: Any) -> bytes:
        return _encode(value)

    def decode(self, data: bytes, type: Any = Any) -> Any:
        try:
            return _decode(data, type=type)
        except UnicodeDecodeError:
            return _decode(with_bytes(bytes(data)), type=type)

    def decoder(self, type: Any) -> Callable[[bytes], Any]:
        decode = msgspec.msgpack.Decoder(type).decode

        def decode_any(data: bytes) -> Any:
            try:
                return decode(data)
            except UnicodeDecodeError:
                return decode(with_bytes(bytes(data)))

        return decode_any

    def array(self, items: Sequence[bytes]) -> bytes:
        return head_of_array(len(items)) + b"".join(items)

    def object(self, members: Mapping[str, bytes]) -> bytes:
        parts = [_encode(name) + value for name, value in members.items()]
        return bytes((0x80 | len(parts),)) + b"".join(parts)  # at most five members are passed

    def items(self, data: bytes) -> list[Raw]:
        return _decode_items(data)

    def members(self, data: bytes) -> dict[str, Raw]:
        return _decode_members(data)

    def kind(self, data: bytes) -> str:
        first = data[0] if data else 0xC0
        if 0x90 <= first <= 0x9F or first in (0xDC, 0xDD):
            return "array"
        if 0x80 <= first <= 0x8F or first in (0xDE, 0xDF):
            return "object"
        return "null" if first == 0xC0 else "other"

    def check_depth(self, data: bytes, most: int) -> None:
        check_depth(data, most)

    def parse(self, data: bytes) -> Parsed:
        try:
            if self.kind(data) == "array":
                messages = _decode_messages(data)
                if all(map(_is_sound, messages)):
                    return list[Message | InvalidMessage](map(_normal, messages))
            else:
                message = _decode_message(data)
                if _is_sound(message):
                    return _normal(message)
        except BAD_DATA:
            pass
        return super().parse(data)

    def read_push(self, params: bytes) -> Push:
        return _decode_push(params)

    def request(
        self, method: str, params: bytes = b"", id: bytes = b"", members: bytes = b""
    ) -> bytes:
        size = 2 + bool(params) + bool(id)
        own_id = b"\xa2id" + _encode(int(id)) if id else b""
        head = bytes((0x80 | size,)) + b"\xa7jsonrpc" + _VERSION + own_id
        return head + b"\xa6method" + _encode(method) + (b"\xa6params" + params if params else b"")

    def result_reply(self, id: bytes, result: bytes) -> bytes:
        return b"\x83\xa7jsonrpc" + _VERSION + b"\xa2id" + id + b"\xa6result" + result


def head_of_array(size: int) -> bytes:
    """Return the bytes that precede the items of an array."""
    if size < 16:
        return bytes((0x90 | size,))
    return (
        b"\xdc" + size.to_bytes(2, "big") if size < 1 << 16 else b"\xdd" + size.to_bytes(4, "big")
    )


def _is_sound(message: Message) -> bool:
    # A message is a request or a reply, never both; an id is a string, a number or null.
    is_reply = bool(message.result or message.error)
    if is_reply is (message.method is not UNSET):
        return False
    return not message.id or bytes(message.id)[0] in _ID_FIRST_BYTES


def _normal(message: Message) -> Message:
    """Convert a reply to the session's form: the id in JSON, an error of null removed.

    The trace members are dropped, because only JSON supports them.
    """
    message.traceparent = ABSENT
    if message.method is UNSET:
        if message.id:
            message.id = reply_id(_decode(message.id))
        error, result = bytes(message.error), bytes(message.result)  # a Raw equals no bytes
        if error == NIL:
            message.error = ABSENT
            message.result = Raw(result or NIL)
        elif error and result == NIL:
            message.result = ABSENT
    return message
