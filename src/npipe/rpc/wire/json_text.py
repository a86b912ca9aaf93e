"""Messages of JSON-RPC 2.0 as JSON text. Sans-I/O.

Envelopes are concatenated, which is three times as fast as encoding a record. Their members have
the order that geth uses.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw

from npipe.errors import RPCError
from npipe.rpc.wire.envelopes import Message

__all__ = [
    "encode",
    "encode_members",
    "error_object",
    "error_reply",
    "reply",
    "request",
    "result_reply",
    "trace_members",
]

_encode: Final = msgspec.json.Encoder().encode


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


def result_reply(id: bytes, result: bytes) -> bytes:
    """Encode the reply to a call that succeeded. ``result`` is JSON."""
    return b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (id, result)


def reply(id: bytes, result: Any) -> bytes:
    """Encode the reply to a call that succeeded, with a result that is not encoded yet."""
    text = _encode(result)
    if type(result) is not str and text.find(b"null") >= 0:
        text = encode(result)  # which looks for NaN
    return b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (id, text)


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
_find_nan: Final = re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]").search
_encode_msgpack: Final = msgspec.msgpack.Encoder().encode


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
