"""Parser of JSON-RPC 2.0 messages: JSON text to the records of ``envelopes``. Sans-I/O.

``session`` interprets a message, and ``binding`` its params.

One strict decoder handles the common case. Only a message that it rejects is decoded a second time,
slowly, to distinguish a parse error (-32700) from an invalid request (-32600), and to find the id.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw

from npipe.errors import InvalidRequest, ParseError, ProtocolError, RPCError
from npipe.rpc.wire.envelopes import (
    ABSENT,
    BAD_JSON,
    ErrorObject,
    InvalidMessage,
    MalformedReply,
    Message,
    Parsed,
    named_error,
)
from npipe.rpc.wire.malformed import split_array, split_object

__all__ = ["parse", "parse_lines", "parse_valid", "read_error", "read_members", "trace_id"]

# msgspec's messages for this error are misleading, so it is detected separately.
_LONE_SURROGATE = re.compile(
    rb"(?<!\\)(?:\\\\)*(?:\\u[dD][89abAB]..(?!\\u[dD][c-fC-F])|"
    rb"(?<!\\u[dD][89abAB]..)\\u[dD][c-fC-F])"
)
_WHOLE_ID = re.compile(
    rb"null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|"
    rb'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"'
)
_NO_ID: Final = b"{[tf"  # first bytes of JSON values that are not ids


# Names that compiled code finds without a look into the module's dict.
_ABSENT: Final = ABSENT
_UNSET: Final = UNSET
_decode_message: Final = msgspec.json.Decoder(Message).decode
_decode_messages: Final = msgspec.json.Decoder(list[Message]).decode
_decode_items: Final = msgspec.json.Decoder(list[Raw]).decode
_decode_object: Final = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_object_of_any: Final = msgspec.json.Decoder(dict[str, Any]).decode
_decode_error: Final = msgspec.json.Decoder(ErrorObject).decode

_find_trace_id = re.compile(rb'"traceparent":"[0-9a-f]{2}-([0-9a-f]{32})-').search


def parse(data: bytes) -> Parsed:
    """Decode one complete message: a single one, or a batch as a list."""
    try:
        if not data.isascii():
            data.decode()  # msgspec does not check the UTF-8 inside a Raw, and an id is echoed
    except UnicodeDecodeError:
        return _parse_slowly(data)
    message = parse_valid(data)
    return _parse_slowly(data) if message is None else message


def parse_valid(data: bytes) -> Message | list[Message | InvalidMessage] | None:
    """Decode one valid message; None if ``parse`` is needed.

    Args:
        data: UTF-8, valid JSON or not.
    """
    try:
        if data[:1] == b"[":
            messages = _decode_messages(data)
            for each in messages:
                if not _is_sound(each):
                    return None
            return list[Message | InvalidMessage](messages)
        message = _decode_message(data)
    except BAD_JSON:
        return None
    return message if _is_sound(message) else None


def parse_lines(lines: list[bytes]) -> list[Message]:
    """Decode valid messages, up to the first that needs ``parse``: a batch, or an invalid one.

    Args:
        lines: ASCII bytes, valid JSON or not.
    """
    messages: list[Message] = []
    try:
        for line in lines:
            message = _decode_message(line)
            if not _is_sound(message):
                break
            messages.append(message)
    except BAD_JSON:
        pass
    return messages


def _is_sound(message: Message) -> bool:
    # A message is a request or a reply, never both; an id is a string, a number or null.
    if (message.result is _ABSENT is message.error) is (message.method is _UNSET):
        return False
    id = message.id
    # A concatenation takes half the time of ``bytes``.
    return id is _ABSENT or (b"" + id)[0] not in _NO_ID


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
    return InvalidMessage(
        InvalidRequest(_why_invalid(members, id, is_id)), id if is_id else b"null"
    )


def _why_invalid(members: Mapping[str, Raw], id: bytes, is_id: bool) -> str:
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


def read_error(raw: Raw) -> RPCError:
    """Decode the error object of a reply. Raises ProtocolError if it is not one."""
    try:
        error = _decode_error(raw)
        data = msgspec.json.decode(error.data) if error.data else None
    except BAD_JSON as fault:
        raise ProtocolError(f"a reply has an invalid error object: {fault}") from None
    return named_error(error.code, error.message, data)


def trace_id(members: bytes) -> str:
    """Return the trace id in the result of ``trace_members``; empty without a valid one."""
    found = _find_trace_id(members) if members else None
    return found[1].decode() if found else ""


def read_members(members: bytes) -> dict[str, str]:
    """Decode the result of ``trace_members``. Values that are not strings are omitted."""
    found = _decode_object_of_any(b"{" + members[1:] + b"}")
    return {name: text for name, text in found.items() if isinstance(text, str)}
