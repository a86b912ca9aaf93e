"""Records of JSON-RPC 2.0 messages, which msgspec decodes from bytes and encodes to bytes.

Only the envelope is decoded: id, params, result and error stay the received bytes
(``msgspec.Raw``), so that an id is echoed byte for byte and a proxy copies nothing twice.

This module is never compiled: a compiled class loses the annotations that msgspec reads.
"""

from __future__ import annotations

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

__all__ = [
    "ABSENT",
    "BAD_DATA",
    "BAD_JSON",
    "CancelParams",
    "ErrorObject",
    "InvalidMessage",
    "MalformedReply",
    "Message",
    "OutgoingRequest",
    "Parsed",
    "Progress",
    "Push",
    "ResultReply",
    "UndecodableReply",
    "named_error",
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
        self.result: bytes = bytes(reply.result)
        self.error: bytes = bytes(reply.error)


class ErrorObject(msgspec.Struct):
    """The error object of a reply (JSON-RPC 2.0, section 5.1)."""

    code: int
    message: str = ""
    data: Raw = ABSENT


class ResultReply(msgspec.Struct, gc=False):
    """A reply with a result, in a batch whose replies are complete and in order: the usual case."""

    jsonrpc: Literal["2.0"]
    id: int
    result: Raw
    error: None = None
    method: None = None


class OutgoingRequest(msgspec.Struct, gc=False, tag_field="jsonrpc", tag="2.0"):
    """A request of a batch that is encoded in one go."""

    id: int
    method: str
    params: Any | UnsetType = UNSET


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


class CancelParams(msgspec.Struct, gc=False):
    """The params of a ``$/cancelRequest`` notification (LSP)."""

    id: Raw


Parsed = Message | InvalidMessage | list[Message | InvalidMessage]


def named_error(code: int, message: str, data: Any) -> RPCError:
    """Return an error of the class for its code."""
    return _NAMED.get(code, RPCError)(message, code=code, data=data)
