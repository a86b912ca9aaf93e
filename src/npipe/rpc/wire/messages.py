"""Envelopes of JSON-RPC 2.0: decode bytes to records, and encode records to bytes.

Sans-I/O. Only the envelope is decoded: id, params, result and error stay the received bytes
(``msgspec.Raw``), so that an id is echoed byte for byte and a proxy copies nothing twice.
``session`` interprets a message, and ``binding`` its params.

One strict decoder handles the common case. Only a message that it rejects is decoded a second time,
slowly, to distinguish a parse error (-32700) from an invalid request (-32600), and to find the id.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

from npipe.errors import (
    InternalError,
    InvalidParams,
    InvalidRequest,
    MethodNotFound,
    ParseError,
    ProtocolError,
    RPCError,
)
from npipe.rpc.wire.malformed import split_array, split_object

__all__ = [
    "InvalidMessage",
    "MalformedReply",
    "Message",
    "Parsed",
    "Progress",
    "Push",
    "UndecodableReply",
    "encode",
    "encode_members",
    "error_reply",
    "parse",
    "read_members",
    "request",
    "result_reply",
    "trace_members",
]

# Exceptions of msgspec for invalid JSON. UnicodeDecodeError is not a DecodeError, and too deep
# nesting raises RecursionError.
BAD_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
# Exceptions of any encoding's ``decode`` for invalid data, or for data of another type.
BAD_DATA = (*BAD_JSON, ValueError, EOFError)
ABSENT = Raw()
# The classes of the codes in JSON-RPC 2.0. Not RPCError's subclasses: a program may add its own.
_NAMED = {
    kind.code: kind
    for kind in (ParseError, InvalidRequest, MethodNotFound, InvalidParams, InternalError)
}
# msgspec's messages for this error are misleading, so it is detected separately.
_LONE_SURROGATE = re.compile(
    rb"(?<!\\)(?:\\\\)*(?:\\u[dD][89abAB]..(?!\\u[dD][c-fC-F])|"
    rb"(?<!\\u[dD][89abAB]..)\\u[dD][c-fC-F])"
)
_WHOLE_ID = re.compile(
    rb'null|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|"(?:[^"\\\x00-\x1f]|\\[^\x00-\x1f])*"'
)
_NO_ID = frozenset((b"{", b"[", b"t", b"f"))  # first bytes of JSON values that are not ids


class Message(msgspec.Struct, gc=False):
    """A request, a notification or a reply. An absent member is UNSET or an empty Raw."""

    jsonrpc: Literal["2.0"]
    id: Raw = ABSENT
    method: str | UnsetType = UNSET
    params: Raw = ABSENT
    result: Raw = ABSENT
    error: Raw = ABSENT
    traceparent: Raw = ABSENT
    tracestate: Raw = ABSENT


class MalformedReply(Message):
    """A reply that is not valid JSON, but whose members could be separated."""

    reason: str = ""


class InvalidMessage(msgspec.Struct, gc=False):
    """An invalid message: the error to reply with, and the id if it could be read.

    ``request`` is a call of which only the params are invalid JSON: a proxy forwards it.
    """

    error: RPCError
    id: bytes = b"null"
    request: Message | None = None


class UndecodableReply(ProtocolError):
    """A reply that ends its call although its text cannot be decoded. A proxy forwards it.

    Attributes:
        result, error: The members as received; empty: absent.
    """

    def __init__(self, reply: MalformedReply) -> None:
        id = bytes(reply.id).decode()
        super().__init__(f"the reply to the call {id} cannot be decoded: {reply.reason}")
        self.result = bytes(reply.result)
        self.error = bytes(reply.error)


class _Error(msgspec.Struct):
    code: int
    message: str = ""
    data: Raw = ABSENT


_decode_message = msgspec.json.Decoder(Message).decode
_decode_messages = msgspec.json.Decoder(list[Message]).decode
_decode_items = msgspec.json.Decoder(list[Raw]).decode
_decode_object = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_object_of_any = msgspec.json.Decoder(dict[str, Any]).decode
_decode_error = msgspec.json.Decoder(_Error).decode
_encode = msgspec.json.Encoder().encode


class Push(msgspec.Struct, gc=False):
    """The params of a ``<namespace>_subscription`` notification.

    Beyond geth's two members, ``error`` is the error that ended the subscription, and ``end`` marks
    its regular end.
    """

    subscription: Raw
    result: Raw = ABSENT
    error: Raw = ABSENT
    end: bool = False


class Progress(msgspec.Struct, gc=False):
    """The params of a ``$/progress`` notification (LSP)."""

    token: Raw
    value: Raw = ABSENT


Parsed = Message | InvalidMessage | list[Message | InvalidMessage]


def parse(data: bytes) -> Parsed:
    """Decode one complete message: a single one, or a batch as a list."""
    try:
        if not data.isascii():
            data.decode()  # msgspec does not check the UTF-8 inside a Raw, and an id is echoed
        if data[:1] != b"[":
            message = _decode_message(data)
            if _is_sound(message):
                return message
            return _second_look(data)
        messages = _decode_messages(data)
        if all(map(_is_sound, messages)):
            return list[Message | InvalidMessage](messages)
    except BAD_JSON:
        pass
    return _parse_slowly(data)


def parse_one(data: bytes) -> Message | None:
    """Decode one valid message that is not a batch; None if ``parse`` is needed.

    Args:
        data: ASCII bytes, valid JSON or not.
    """
    try:
        message = _decode_message(data)
    except BAD_JSON:
        return None
    return message if _is_sound(message) else None


def _is_sound(message: Message) -> bool:
    # A message is a request or a reply, never both; an id is a string, a number or null.
    if (message.result is ABSENT is message.error) is (message.method is UNSET):
        return False
    return message.id is ABSENT or bytes(message.id)[:1] not in _NO_ID


def _parse_slowly(data: bytes) -> Parsed:
    is_batch = data.lstrip()[:1] == b"["
    try:
        data.decode()
        if not is_batch:
            return _second_look(data)
        items = [bytes(item) for item in _decode_items(data)]
    except BAD_JSON as error:
        return _parse_malformed_batch(data, error) if is_batch else _parse_malformed(data, error)
    return [_parse_item(item) for item in items]


def _parse_item(data: bytes) -> Message | InvalidMessage:
    message = parse(data)
    return (
        InvalidMessage(InvalidRequest("a batch in a batch"))
        if isinstance(message, list)
        else message
    )


def _parse_malformed_batch(data: bytes, error: Exception) -> Parsed:
    """Split a malformed batch of replies, because each ends a call. Calls in it are rejected."""
    items = split_array(data) or ()
    if items and all(item[:1] == b"{" for item in items):
        replies = [_parse_item(item) for item in items]
        if all(isinstance(r, Message) and r.method is UNSET for r in replies):
            return replies
    return InvalidMessage(ParseError(_reason(error, data)))


def _parse_malformed(data: bytes, error: Exception) -> Message | InvalidMessage:
    """Read the parts of a message that is not JSON: the call that it answers, or its id."""
    members, is_whole = split_object(data)
    id = members.get(b"id", b"")
    id = id if _is_readable_id(id) else b""
    reason = _reason(error, data)
    if id and b"method" not in members and (b"result" in members or b"error" in members):
        result, fault = (Raw(members.get(name, b"")) for name in (b"result", b"error"))
        return MalformedReply("2.0", Raw(id), result=result, error=fault, reason=reason)
    request = None
    if id and is_whole and members.get(b"jsonrpc") == b'"2.0"':
        try:
            method = msgspec.json.decode(members[b"method"], type=str)
        except (KeyError, *BAD_JSON):
            pass
        else:
            request = Message("2.0", Raw(id), method, Raw(members.get(b"params", b"")))
    return InvalidMessage(ParseError(reason), id or b"null", request)


def _is_readable_id(id: bytes) -> bool:
    """Tell whether the id of a malformed message can be echoed: UTF-8, and one whole scalar."""
    try:
        id.decode()
    except UnicodeDecodeError:
        return False
    return _WHOLE_ID.fullmatch(id) is not None


def _second_look(data: bytes) -> Message | InvalidMessage:
    """Return the error of a message that the strict decoder rejected. Raises as msgspec does."""
    try:
        members = _decode_object(data)
    except msgspec.ValidationError:
        return InvalidMessage(InvalidRequest("not an object"))
    id = bytes(members.get("id", ABSENT))
    is_id = id[:1] not in b"{[tf" if id else False
    if "method" not in members and ("result" in members or "error" in members):
        # A reply, even if it is invalid. It is never answered, or two ends could answer each
        # other's errors for ever. Its version is not checked: only the id is needed.
        return Message(
            "2.0",
            Raw(id) if is_id else ABSENT,
            result=members.get("result", ABSENT),
            error=members.get("error", ABSENT),
        )
    return InvalidMessage(InvalidRequest(_complaint(members, id, is_id)), id if is_id else b"null")


def _complaint(members: Mapping[str, Raw], id: bytes, is_id: bool) -> str:
    if id and not is_id:
        return "the id must be a string, a number or null"
    if bytes(members.get("jsonrpc", ABSENT)) != b'"2.0"':
        return 'jsonrpc must be "2.0"'
    if "method" not in members:
        return "the method is missing"
    if bytes(members["method"])[:1] != b'"':
        return "the method must be a string"
    return "a message cannot be both a request and a reply"


def _reason(error: Exception, data: bytes) -> str:
    if isinstance(error, RecursionError):
        return "parse error: nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return "parse error: not UTF-8"
    if _LONE_SURROGATE.search(data):
        return "parse error: a surrogate escape without its other half"
    return f"parse error: {error}"


# Encoding by concatenation, which is three times as fast as encoding a record. The members have
# the order that geth uses.


def request(method: str, params: bytes = b"", id: bytes = b"", members: bytes = b"") -> bytes:
    """Encode a call, or without an id a notification. ``params`` is JSON; empty: omitted.

    ``members`` are further members, as returned by ``encode_members``.
    """
    head = b'{"jsonrpc":"2.0",' + (b'"id":' + id + b"," if id else b"")
    tail = b',"params":' + params + members + b"}" if params else members + b"}"
    return head + b'"method":' + _encode(method) + tail


def encode_members(members: Mapping[str, str]) -> bytes:
    """Encode members for the end of an object: each is preceded by a comma."""
    return b"".join(b",%b:%b" % (_encode(name), _encode(text)) for name, text in members.items())


def trace_members(message: Message) -> bytes:
    """Return the trace members (W3C Trace Context), in the form of ``encode_members``.

    They are forwarded unchanged; the reader of the trace validates them.
    """
    if not message.traceparent:
        return b""
    state = b',"tracestate":' + message.tracestate if message.tracestate else b""
    return b',"traceparent":' + message.traceparent + state


def read_members(members: bytes) -> dict[str, str]:
    """Decode the result of ``trace_members``. Values that are not strings are omitted."""
    found = _decode_object_of_any(b"{" + members[1:] + b"}")
    return {name: text for name, text in found.items() if isinstance(text, str)}


def result_reply(id: bytes, result: bytes) -> bytes:
    """Encode the reply to a call that succeeded. ``result`` is JSON."""
    return b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (id, result)


def reply(id: bytes, result: Any) -> bytes:
    """Encode the reply to a call that succeeded, with a result that is not encoded yet."""
    return b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (id, encode(result))


def error_reply(id: bytes, error: RPCError) -> bytes:
    """Encode the reply to a call that failed. Data that cannot be encoded is omitted."""
    return b'{"jsonrpc":"2.0","id":' + id + b',"error":' + error_object(error) + b"}"


def error_object(error: RPCError) -> bytes:
    """Encode the error object: ``code``, ``message`` and ``data``."""
    message = error.message.encode(errors="replace").decode()  # replaces lone surrogates
    body: dict[str, Any] = {"code": error.code, "message": message}
    if error.data is not None:
        try:
            return encode({**body, "data": error.data})
        except Exception:  # encoding a user's object may raise any exception
            pass
    return _encode(body)


def read_error(raw: Raw) -> RPCError:
    """Decode the error object of a reply. Raises ProtocolError if it is not one."""
    try:
        error = _decode_error(raw)
        data = msgspec.json.decode(error.data) if error.data else None
    except BAD_JSON as fault:
        raise ProtocolError(f"the error object of a reply is not one: {fault}") from None
    return named_error(error.code, error.message, data)


def named_error(code: int, message: str, data: Any) -> RPCError:
    """Return an error of the class for its code."""
    return _NAMED.get(code, RPCError)(message, code=code, data=data)


def encode(value: Any) -> bytes:
    """Encode a value as compact JSON.

    Raises:
        ValueError: NaN or infinite, which JSON does not have.
        TypeError: The value has no JSON form.
    """
    data = _encode(value)
    # msgspec writes NaN as null, so only text with a null is checked. (``find``, because ``in``
    # takes three times as long.)
    if type(value) is str or data.find(b"null") < 0 or value is None:
        return data
    if _may_hold_nan(value) and _holds_nan(value):
        raise ValueError("NaN and Infinity have no form in JSON")
    return data


# In MessagePack a float is 0xcb and its eight bytes: NaN and infinities have a fixed exponent. A
# fast filter without false negatives, before the slower traversal in Python.
_find_nan = re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]").search
_encode_msgpack = msgspec.msgpack.Encoder().encode


def _may_hold_nan(value: Any) -> bool:
    try:
        return _find_nan(_encode_msgpack(value)) is not None
    except Exception:  # big integers and Raw have no MessagePack form: traverse the value
        return True


def _holds_nan(value: Any) -> bool:
    return any(not math.isfinite(number) for number in _floats(value))


def _floats(value: Any) -> Iterator[float]:
    if isinstance(value, float):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _floats(key)
            yield from _floats(item)
    elif isinstance(value, Sequence | set | frozenset) and not isinstance(value, str | bytes):
        for item in value:
            yield from _floats(item)
    elif not isinstance(value, str | bytes | int | Raw | None):
        names = getattr(value, "__struct_fields__", getattr(value, "__dataclass_fields__", ()))
        for name in names or ():
            yield from _floats(getattr(value, name, None))
