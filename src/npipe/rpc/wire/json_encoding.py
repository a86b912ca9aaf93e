"""JSON encoding, with the fast functions of ``messages`` and ``json_text``. Sans-I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import msgspec
from msgspec import UNSET, Raw

from npipe.errors import ProtocolError, RPCError
from npipe.rpc.wire import json_text, messages
from npipe.rpc.wire.encoding import Encoding, is_nothing
from npipe.rpc.wire.envelopes import (
    BAD_JSON,
    CancelParams,
    OutgoingRequest,
    Parsed,
    Progress,
    Push,
    ResultReply,
)
from npipe.rpc.wire.json_stream import JSONStream, check_json_depth

__all__ = ["JSON"]


_decode = msgspec.json.decode
_encode = msgspec.json.Encoder().encode
_decode_items = msgspec.json.Decoder(list[Raw]).decode
_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_results = msgspec.json.Decoder(list[ResultReply]).decode
_decode_progress = msgspec.json.Decoder(Progress).decode
_decode_push = msgspec.json.Decoder(Push).decode
_decode_cancel = msgspec.json.Decoder(CancelParams).decode
_KINDS = {b"[": "array", b"{": "object", b"n": "null", b"": "null"}


class JSON(Encoding):
    """JSON-RPC 2.0 in JSON, as specified."""

    framing: ClassVar[Any] = JSONStream
    null = b"null"

    def text(self, data: bytes) -> str:
        return bytes(data).decode(errors="replace")

    def encode(self, value: Any) -> bytes:
        return json_text.encode(value)

    def decode(self, data: bytes, type: Any = Any) -> Any:
        return _decode(data, type=type)

    def decoder(self, type: Any) -> Callable[[bytes], Any]:
        return msgspec.json.Decoder(type).decode

    def array(self, items: Sequence[bytes]) -> bytes:
        return b"[" + b",".join(items) + b"]"

    def object(self, members: Mapping[str, bytes]) -> bytes:
        parts = (json_text.encode(name) + b":" + value for name, value in members.items())
        return b"{" + b",".join(parts) + b"}"

    def items(self, data: bytes) -> list[Raw]:
        return _decode_items(data)

    def members(self, data: bytes) -> dict[str, Raw]:
        return _decode_members(data)

    def kind(self, data: bytes) -> str:
        return _KINDS.get(bytes(data[:1]), "other")

    def check_depth(self, data: bytes, most: int) -> None:
        check_json_depth(data, most)

    def parse(self, data: bytes) -> Parsed:
        return messages.parse(data)

    def parse_results(self, data: bytes) -> list[ResultReply] | None:
        if data[:1] != b"[":
            return None
        try:
            if not data.isascii():
                data.decode()  # msgspec does not check the UTF-8 inside a Raw
            return _decode_results(data)
        except BAD_JSON:
            return None

    def read_push(self, params: bytes) -> Push:
        return _decode_push(params)

    def read_progress(self, params: bytes) -> Progress:
        return _decode_progress(params)

    def read_cancelled(self, params: bytes) -> bytes:
        return bytes(_decode_cancel(params).id)

    def read_error(self, data: bytes) -> RPCError | ProtocolError:
        try:
            return messages.read_error(Raw(data))
        except ProtocolError as error:
            return error

    def request(
        self, method: str, params: bytes = b"", id: bytes = b"", members: bytes = b""
    ) -> bytes:
        return json_text.request(method, params, id, members)

    def cancel(self, id: bytes) -> bytes:
        return json_text.request("$/cancelRequest", b'{"id":' + id + b"}")

    def progress(self, id: bytes, value: bytes) -> bytes:
        return json_text.request("$/progress", b'{"token":' + id + b',"value":' + value + b"}")

    def reply(self, id: bytes, result: Any) -> bytes:
        return json_text.reply(id, result)

    def result_reply(self, id: bytes, result: bytes) -> bytes:
        return json_text.result_reply(id, result)

    def error_reply(self, id: bytes, error: RPCError) -> bytes:
        return json_text.error_reply(id or b"null", error)

    def raw_error_reply(self, id: bytes, error: bytes) -> bytes:
        return b'{"jsonrpc":"2.0","id":%b,"error":%b}' % (id, error)

    def error_object(self, error: RPCError) -> bytes:
        return json_text.error_object(error)

    def requests(self, entries: Sequence[tuple[int, str, Any]]) -> bytes:
        requests = [
            OutgoingRequest(number, method)
            if is_nothing(params)
            else OutgoingRequest(number, method, params)
            for number, method, params in entries
        ]
        if all(request.params is UNSET for request in requests):  # then there is no NaN
            return _encode(requests)
        return json_text.encode(requests)

    def pusher(self, method: str, id: str) -> Callable[[str, bytes], bytes]:
        head = b'{"jsonrpc":"2.0","method":%b,"params":{"subscription":"%b","' % (
            json_text.encode(method),
            id.encode(),
        )
        return lambda member, value: head + member.encode() + b'":' + value + b"}}"
